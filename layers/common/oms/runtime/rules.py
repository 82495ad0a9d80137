"""Rules that a merchant changes without a deploy: one current set, every earlier version beside it, and at hand for
functions that ask at every order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from oms.runtime import errors
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Item, Table

_CURRENT = "RULES"
_FRESH_FOR = timedelta(seconds=60)
Rules = TypeVar("Rules")


def current(table: Table, kind: str) -> Item | None:
    """The rules of a kind as they are now, or None if nobody wrote any."""
    return table.get(kind, _CURRENT)


def put(table: Table, kind: str, entity: str, rules: Item, *, seen: int, actor: str, now: datetime) -> None:
    """Replace version ``seen`` (0 for none) by rules, whose ``version`` is the next one; the old ones stay readable.
    Raises ``Conflict`` when somebody replaced them first."""
    told = {**rules, "entity": entity, "by": actor, "at": to_text(now)}
    condition = "version = :seen" if seen else "attribute_not_exists(pk)"
    values = {":seen": seen} if seen else None
    try:
        table.transact(
            [
                table.put("rules", {"pk": kind, "sk": _CURRENT, **told}, condition, values=values),
                table.put("version", {"pk": kind, "sk": f"VERSION#{rules['version']:06d}", **told}),
            ]
        )
    except ConditionsFailed:
        raise errors.Conflict("Somebody changed the rules in between: read them again.") from None


@dataclass(slots=True)
class AtHand(Generic[Rules]):
    """The current rules for somebody who asks at every order: up to a minute old."""

    read: Callable[[], Rules]
    clock: Clock
    _kept: tuple[datetime, Rules] | None = field(default=None, repr=False)

    def __call__(self) -> Rules:
        now = self.clock()
        if self._kept is None or not self._kept[0] <= now < self._kept[0] + _FRESH_FOR:
            self._kept = (now, self.read())
        return self._kept[1]
