"""The share of orders that nobody had to touch, and why the others were touched.

Beside each order stands what was counted of it. A message only names an order: its history is read, and what it says
that was not counted yet is added to the counters of the day on which the order was placed, in the transaction that
remembers it. Reasons are only ever added, so a message twice, late or out of turn counts nothing twice. The metrics say
the same for the dashboard, and may count twice what the counters do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from oms.customers.touches import in_words, reasons
from oms.orders.model import Order, Status, home_seed
from oms.orders.store import DynamoOrders, order_key
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Write

SHARDS = 8
"""Over how many items a day's counts are spread: transactions on one item stand in each other's way."""
MOST_DAYS = 92
_ATTEMPTS = 12
_ENDED = frozenset({Status.COMPLETED, Status.CANCELLED})
_REASON = "reason#"


@dataclass(frozen=True, slots=True)
class CountTouches:
    """Keeps the counters, and reads them."""

    orders: DynamoOrders
    clock: Clock

    def keep(self, order_id: str) -> None:
        """Count what an order's history says and was not counted yet. Raises ``Contention``."""
        for attempt in range(_ATTEMPTS):
            order = self.orders.get(order_id)
            # What was never paid was no order of anybody's; once it counts it counts for good.
            if order is None or order.status in (Status.PLACED, Status.EXPIRED):
                return
            item = self.orders.table.get(*_key(order_id))
            known = frozenset(item["reasons"]) if item else frozenset()
            ended = bool(item and item["ended"])
            found = known | reasons(self.orders.parts(order_id, "EVENT#"))
            ends = ended or order.status in _ENDED
            if item and found == known and ends == ended:
                return
            writes = [self._remember(order, item, found, ends), *self._count(order, item, found - known, found)]
            try:
                self.orders.table.transact(writes)
            except ConditionsFailed:
                self.orders.table.back_off(attempt)
                continue
            for reason in sorted(found - known):
                telemetry.count(f"TouchReason{reason.partition(':')[0]}")
            if ends and not ended:
                telemetry.count("OrdersTouched" if found else "OrdersUntouched")
            return
        raise Contention(f"touches of order {order_id}")

    def report(self, first: date, last: date) -> dict[str, Any]:
        """The share from one day to another, both included, by when orders were placed; the reasons ranked.

        Raises ``InvalidRequest`` for days in the wrong order or too many.
        """
        if not first <= last <= first + timedelta(days=MOST_DAYS - 1):
            wrong = [("to", f"not before from, and at most {MOST_DAYS} days together")]
            raise errors.InvalidRequest("See errors for what to change.", fields=wrong)
        by_day: dict[str, Counter[str]] = {}
        why: Counter[str] = Counter()
        for item in self._items(first, last):
            day = by_day.setdefault(item["sk"].partition("#")[0], Counter())
            day.update(orders=item.get("orders", 0), touched=item.get("touched", 0))
            for name, count in item.items():
                if name.startswith(_REASON):
                    why[name.removeprefix(_REASON)] += count
        orders = sum(day["orders"] for day in by_day.values())
        touched = sum(day["touched"] for day in by_day.values())
        ranked = sorted(why.items(), key=lambda each: (-each[1], each[0]))
        return {
            "from": first.isoformat(),
            "to": last.isoformat(),
            "orders": orders,
            "untouched": orders - touched,
            "share_untouched": round((orders - touched) / orders, 4) if orders else None,
            "reasons": [{"reason": reason, "words": in_words(reason), "orders": count} for reason, count in ranked],
            "days": [
                {"day": day, "orders": count["orders"], "untouched": count["orders"] - count["touched"]}
                for day, count in sorted(by_day.items())
            ],
        }

    def _remember(self, order: Order, item: Item | None, found: frozenset[str], ends: bool) -> Write:
        pk, sk = _key(order.order_id)
        version = item["version"] + 1 if item else 1
        stored = {"pk": pk, "sk": sk, "entity": "touches", "reasons": sorted(found), "ended": ends, "version": version}
        if item is None:
            return self.orders.table.put("touches", stored)
        return self.orders.table.put("touches", stored, "version = :seen", values={":seen": item["version"]})

    def _count(self, order: Order, item: Item | None, new: frozenset[str], found: frozenset[str]) -> list[Write]:
        adds: dict[str, str] = {}
        if item is None:
            adds["#orders"] = "orders"
        if found and not (item and item["reasons"]):
            adds["#touched"] = "touched"
        adds |= {f"#r{number}": f"{_REASON}{reason}" for number, reason in enumerate(sorted(new))}
        if not adds:
            return []
        day = order.placed_at[:10]
        key = (_month_key(day[:7]), f"{day}#{home_seed(order.order_id) % SHARDS}")
        return [
            self.orders.table.update(
                "counter",
                key,
                f"SET entity = :entity ADD {', '.join(f'{name} :one' for name in adds)}",
                names=adds,
                values={":one": 1, ":entity": "touch_counter"},
            )
        ]

    def _items(self, first: date, last: date) -> Iterator[Item]:
        months = sorted({(first + timedelta(days=each)).isoformat()[:7] for each in range((last - first).days + 1)})
        for month in months:
            for item in self.orders.table.query(_month_key(month)):
                if first.isoformat() <= item["sk"].partition("#")[0] <= last.isoformat():
                    yield item


def _key(order_id: str) -> tuple[str, str]:
    return order_key(order_id), "TOUCHES"


def _month_key(month: str) -> str:
    return f"TOUCHES#{month}"


def day_of(text: str, name: str) -> date:
    """A day such as ``2026-11-23``. Raises ``InvalidRequest``."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        wrong = [(name, "a day such as 2026-11-23")]
        raise errors.InvalidRequest("See errors for what to change.", fields=wrong) from None
