"""Pages of a list in an order of its own: an opaque cursor stands for the last key that was shown."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from oms.runtime import errors

Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page begins, and how long it is."""

    after: str
    """The key after which it begins; empty at the start."""
    size: int

    @classmethod
    def of(cls, cursor: str, size: int) -> Page:
        """The page that a cursor asks for. Raises ``InvalidRequest``."""
        try:
            return cls(base64.urlsafe_b64decode(cursor.encode("ascii")).decode(), size)
        except (binascii.Error, ValueError):
            wrong = [("cursor", "take it from next_cursor")]
            raise errors.InvalidRequest("See errors for what to change.", fields=wrong) from None

    @staticmethod
    def cursor(after: str) -> str:
        """The cursor of the page that begins after a key."""
        return base64.urlsafe_b64encode(after.encode()).decode()

    def cut(self, found: Sequence[tuple[str, Shown]]) -> tuple[list[Shown], str | None]:
        """The page out of one more than it holds, by key, and the cursor of the next page if there is one."""
        shown = list(found[: self.size])
        more = self.cursor(shown[-1][0]) if len(found) > self.size else None
        return [each for _, each in shown], more
