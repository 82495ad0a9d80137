"""What disagrees about money and waits for somebody: breaks, payments without an order, orders without a payment,
and what tills charged beside our prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.dynamo import ConditionsFailed, Item, Table, Write

BREAK = "break"
PAYMENT_WITHOUT_ORDER = "payment_without_order"
ORDER_WITHOUT_PAYMENT = "order_without_payment"
CASE_QUEUE = "case"
"""The queue of work in which open cases stand, by deadline; without one, by when they were opened."""
PRICE_DIFFERENCE = "price_difference"
"""A till charged what is not our price; the sale stands as it was made."""
KINDS = (BREAK, PAYMENT_WITHOUT_ORDER, ORDER_WITHOUT_PAYMENT, PRICE_DIFFERENCE)


def case_key(kind: str) -> str:
    """The partition of a kind's cases; the open ones sort by id under ``OPEN#``."""
    return f"CASE#{kind}"


@dataclass(frozen=True, slots=True)
class Cases:
    """Records beside the orders: opening one twice is one case, closing one keeps it with who and why."""

    table: Table

    def opening(self, kind: str, case_id: str, now: datetime, data: Mapping[str, Any], deadline: str = "") -> Write:
        """The action that opens a case (or opens it anew), for a transaction of somebody else's."""
        return self.table.put("case", _case(kind, case_id, now, data, deadline), None)

    def open(self, kind: str, case_id: str, now: datetime, data: Mapping[str, Any], deadline: str = "") -> bool:
        """Open a case by itself; False when it is known, open or closed with the same facts."""
        closed = self.table.get(case_key(kind), f"CLOSED#{case_id}")
        if closed and closed["data"] == dict(data):
            return False
        try:
            self.table.transact([self.table.put("case", _case(kind, case_id, now, data, deadline))])
        except ConditionsFailed:
            return False
        return True

    def listed(self, kind: str, *, closed: bool, limit: int, after: str = "") -> tuple[list[Item], str]:
        """A page of cases, and the id to go on after; empty when there is no more."""
        state = "CLOSED#" if closed else "OPEN#"
        start = f"{state}{after}" if after else ""
        found = list(self.table.query(case_key(kind), state, limit=limit, after=start))
        return found, str(found[-1]["case_id"]) if len(found) == limit else ""

    def overdue(self, kind: str, now: datetime) -> list[Item]:
        """Open cases whose deadline has passed."""
        items = self.table.query(case_key(kind), "OPEN#")
        return [item for item in items if item["deadline"] and item["deadline"] <= to_text(now)]

    def close(self, kind: str, case_id: str, *, outcome: str, actor: str, now: datetime) -> Item:
        """Close a case; again is harmless. Raises ``NotFound``."""
        item = self.table.get(case_key(kind), f"OPEN#{case_id}")
        if item is None:
            closed = self.table.get(case_key(kind), f"CLOSED#{case_id}")
            if closed is None:
                raise errors.NotFound("There is no such case.")
            return closed
        kept = {name: value for name, value in item.items() if name not in ("work_queue", "work_rank")}
        done = {
            **kept,
            "sk": f"CLOSED#{case_id}",
            "status": "closed",
            "outcome": outcome,
            "closed_by": actor,
            "closed_at": to_text(now),
        }
        try:
            self.table.transact(
                [self.table.delete("case", (item["pk"], item["sk"])), self.table.put("case", done, None)]
            )
        except ConditionsFailed:
            return self.close(kind, case_id, outcome=outcome, actor=actor, now=now)
        return done


def _case(kind: str, case_id: str, now: datetime, data: Mapping[str, Any], deadline: str) -> Item:
    return {
        "pk": case_key(kind),
        "sk": f"OPEN#{case_id}",
        "entity": "case",
        "kind": kind,
        "case_id": case_id,
        "status": "open",
        "data": dict(data),
        "opened_at": to_text(now),
        "deadline": deadline,
        "work_queue": CASE_QUEUE,
        "work_rank": f"{deadline or to_text(now)}#{kind}#{case_id}",
    }


def case_view(item: Mapping[str, Any]) -> dict[str, Any]:
    """A case as operators see it."""
    return {
        "kind": item["kind"],
        "case_id": item["case_id"],
        "status": item["status"],
        "data": item["data"],
        "opened_at": item["opened_at"],
        "deadline": item["deadline"] or None,
        "outcome": item.get("outcome"),
        "closed_by": item.get("closed_by"),
        "closed_at": item.get("closed_at"),
    }
