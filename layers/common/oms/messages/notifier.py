"""The port through which a message leaves, and what can go wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one person, as text and as HTML. ``tags`` come back with what happens to it."""

    to: str = field(repr=False)
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    tags: Mapping[str, str] = field(default_factory=dict)


class NotSent(Exception):
    """It has certainly not left; later it may."""


class Refused(Exception):
    """It has not left and never will as it is. ``str`` is the service's code."""


class Uncertain(Exception):
    """No answer came: it may or may not have left."""


class Notifier(Protocol):
    """Sends once. It never repeats by itself: only the caller knows what was claimed."""

    def send(self, mail: Mail) -> str:
        """The service's id of the mail. Raises ``NotSent``, ``Refused`` and ``Uncertain``."""
        ...
