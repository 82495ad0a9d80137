"""Our ledger held against the provider from our side: what we wrote down and the provider has nothing of.

The provider's balance tells of what moved there; an entry that it never moved for shows only when somebody starts from
the entries. Orders placed lately are looked at with every window; all whose money is still open once a day, by a walk
through the months that goes on where the last run stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from oms.orders.model import OPEN, Order
from oms.orders.store import DynamoOrders
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import Item, Table

PROVIDER = "stripe"
SETTLES_WITHIN = timedelta(minutes=15)
"""How long an event may take before its absence means something."""
WALK_MONTHS = 13
"""How far back the daily walk goes: a bank may take money back for about so long."""
WALK_EVERY = timedelta(hours=20)
RESERVE = 60.0
"""Seconds of a run that the walk leaves."""
_AT_ONCE = 100
_WALK = ("PROVIDER#stripe", "WALK")

Compare = Callable[[str, str, list[Item]], int]
"""Hold the entries of one payment (by order and intent) against the provider; how many breaks were found."""


@dataclass(frozen=True, slots=True)
class AuditLedger:
    """Mends nothing: every break goes to ``compare``."""

    orders: DynamoOrders
    clock: Clock
    compare: Compare
    time_left: Callable[[], float]
    """Seconds this run may still take."""

    def window(self, since: datetime, moved: Collection[str]) -> int:
        """Look at the entries made from ``since`` on of orders placed from then on; the payments in ``moved`` were
        compared already, from the provider's side."""
        now = self.clock()
        months = (now.year - since.year) * 12 + now.month - since.month + 1
        breaks = 0
        for chunk in _chunks(self._placed(to_text(now), months, to_text(since))):
            if self.time_left() < RESERVE:
                break  # The daily walk meets the rest.
            for order in self.orders.read_all([order_id for _, order_id in chunk]):
                breaks += self._look_at(order, since, moved)
        return breaks

    def walk(self) -> dict[str, int]:
        """Go on with the walk over all orders whose money is open, or begin one when the last is a day old."""
        now, table = self.clock(), self.orders.table
        mark = table.get(*_WALK) or {}
        at = mark.get("at", "")
        if not at:
            if mark and now - from_text(mark["began_at"]) < WALK_EVERY:
                return {"walked": 0, "walk_breaks": 0}
            mark, at = {"began_at": to_text(now)}, f"{to_text(now)} "
        placed_at, _, order_id = at.partition(" ")
        months = WALK_MONTHS - _months_between(from_text(placed_at), from_text(mark["began_at"]))
        found = self._placed(placed_at, months, "")
        rest = (each for each in found if not order_id or each < (placed_at, order_id))
        walked = breaks = 0
        for chunk in _chunks(rest):
            for order in self.orders.read_all([order_id for _, order_id in chunk]):
                if _is_open(order):
                    walked += 1
                    breaks += self._look_at(order, None, ())
            at = " ".join(chunk[-1])
            if self.time_left() < RESERVE:
                break
        else:
            at = ""  # All of them were seen.
        _remember(table, mark["began_at"], at)
        return {"walked": walked, "walk_breaks": breaks}

    def _placed(self, until: str, months: int, since: str) -> Iterator[tuple[str, str]]:
        for placed_at, order_id in self.orders.placed_until(until, months):
            if placed_at < since:
                return
            yield placed_at, order_id

    def _look_at(self, order: Order, since: datetime | None, moved: Collection[str]) -> int:
        by_intent: dict[str, list[Item]] = {}
        for entry in self.orders.parts(order.order_id, "MONEY#"):
            if entry["provider"] == PROVIDER and entry["kind"] != "fee" and (intent := intent_of(entry)):
                by_intent.setdefault(intent, []).append(entry)
        breaks = 0
        for intent, entries in by_intent.items():
            if intent not in moved and _is_due(entries, since, self.clock()):
                breaks += self.compare(order.order_id, intent, entries)
        return breaks


def intent_of(entry: Item) -> str:
    """The payment that an entry belongs to; empty for what is only ours."""
    return str(entry.get("intent") or (entry["object_id"] if entry["kind"] in _OF_INTENTS else ""))


_OF_INTENTS = frozenset({"authorized", "released", "captured"})
"""Kinds whose object is the payment itself unless they say otherwise."""


def _is_due(entries: Iterable[Item], since: datetime | None, now: datetime) -> bool:
    """Whether something was written lately, and nothing so lately that more may be on its way."""
    latest = max(entry["at"] for entry in entries)
    return latest <= to_text(now - SETTLES_WITHIN) and (since is None or latest >= to_text(since))


def _is_open(order: Order) -> bool:
    payment = order.payment
    return order.status in OPEN or bool(payment.authorized or payment.refund_due or payment.disputed)


def _chunks(placed: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    while chunk := list(islice(placed, _AT_ONCE)):
        yield chunk


def _months_between(early: datetime, late: datetime) -> int:
    return (late.year - early.year) * 12 + late.month - early.month


def _remember(table: Table, began_at: str, at: str) -> None:
    values = {":began": began_at, ":at": at, ":mark": "mark"}
    sets = "SET began_at = :began, #at = :at, entity = :mark"
    table.write_one(table.update("mark", _WALK, sets, None, {"#at": "at"}, values))
