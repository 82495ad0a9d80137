"""Nobody is kept for ever: people go out of orders that are older than the law wants them, without being asked for.

A walk through the months, from the oldest on, that remembers how far it came; months that are done are not looked at
again. An order that must wait, for a dispute or by law, becomes a demand of its own, so the walk goes on and somebody
sees what waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from oms.customers.erasure import EraseCustomers
from oms.orders.store import DynamoOrders, months_back
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed

_KEY = ("PERSONS", "RETENTION")
_FIRST = 20 * 12
"""The first walk begins so many months before the first that is due: no shop is older."""
_PAGE = 50
"""More than are placed within one millisecond."""
_RESERVE = 10.0
"""Seconds that a page takes at most."""


@dataclass(frozen=True, slots=True)
class RetainOrders:
    """Forgets by the month: an order's person goes up to a month after its ``years``; never when that is 0."""

    orders: DynamoOrders
    erasing: EraseCustomers
    clock: Clock
    years: int

    def run(self, time_left: Callable[[], float]) -> int:
        """Go on as long as there is time; how many orders were cleared. Again, or twice at once, is harmless."""
        if not self.years:
            return 0
        last = _before(self.clock(), self.years)
        mark = self.orders.table.get(*_KEY) or {}
        month = mark.get("month") or next(islice(months_back(last), _FIRST, None))
        if month > last:
            return 0
        until, count, in_time = mark.get("until") or _end(month), 0, True
        while month <= last and in_time:
            page = list(islice(self.orders.placed_in(month, until), _PAGE))
            found = self.orders.read_all([order_id for _, order_id in page])
            count += self.erasing.forget_all(found, f"older than {self.years} years")
            if len(page) == _PAGE and page[-1][0] < until:
                until = page[-1][0]
            else:
                month = _after(month)
                until = _end(month)
            in_time = time_left() > _RESERVE
        if not self._note(mark, month, until):
            return count
        if count:
            telemetry.count("OrdersPastRetention", count)
            telemetry.logger.info("retention_walked", orders=count, month=month)
        return count

    def _note(self, mark: dict[str, str], month: str, until: str) -> bool:
        """Write down how far it came, unless somebody else did meanwhile, who then came about as far."""
        pk, sk = _KEY
        item = {"pk": pk, "sk": sk, "entity": "retention", "month": month, "until": until, "at": to_text(self.clock())}
        condition = "#at = :seen" if mark else "attribute_not_exists(pk)"
        names, values = ({"#at": "at"}, {":seen": mark["at"]}) if mark else (None, None)
        try:
            self.orders.table.transact([self.orders.table.put("mark", item, condition, names, values)])
        except ConditionsFailed:
            return False
        return True


def _before(now: datetime, years: int) -> str:
    """The last month all of which is so many years old."""
    return next(islice(months_back(to_text(now)), 12 * years + 1, None))


def _end(month: str) -> str:
    return f"{month}-99"


def _after(month: str) -> str:
    year, number = int(month[:4]), int(month[5:7])
    return f"{year:04d}-{number + 1:02d}" if number < 12 else f"{year + 1:04d}-01"
