"""The list of orders as staff browse it: everybody's or one customer's, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import dropwhile, islice
from typing import Any

from oms.orders.model import Order, Status
from oms.orders.store import DynamoOrders
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.paging import Page

PAGE = 50
_LOOKS = 400
"""So many orders are read for one page at most: of a rare state, pages may be short."""
_CHUNK = 100
_MONTHS = 12
"""So far back one page looks."""


def list_orders(
    orders: DynamoOrders,
    now: datetime,
    *,
    customers: Sequence[str] = (),
    status: str = "",
    channel: str = "",
    cursor: str = "",
) -> dict[str, Any]:
    """A page of orders with what a list shows of each, everybody's or those of some customers. A page may hold fewer
    than there are: only a cursor of null is the end. Raises ``InvalidRequest``."""
    if status and status not in {known.value for known in Status}:
        wrong = [("status", f"one of {', '.join(known.value for known in Status)}")]
        raise errors.InvalidRequest("See errors for what to change.", fields=wrong)
    after = Page.of(cursor, PAGE).after
    until = after.partition("#")[0] or to_text(now)
    placed = orders.placed_by(customers, until) if customers else orders.placed_until(until, _MONTHS)
    if after:
        # Several orders of one millisecond come in an order of the index's own, which stays the same.
        placed = islice(dropwhile(lambda found: _key(*found) != after, placed), 1, None)
    shown: list[Order] = []
    for _ in range(_LOOKS // _CHUNK):
        chunk = list(islice(placed, _CHUNK))
        read = {order.order_id: order for order in orders.read_all([order_id for _, order_id in chunk])}
        for at, order_id in chunk:
            after = _key(at, order_id)
            order = read.get(order_id)
            if order and status in ("", order.status) and channel in ("", order.channel):
                shown.append(order)
                if len(shown) == PAGE:
                    return _page(shown, after)
        if len(chunk) < _CHUNK:
            return _page(shown, "")
    return _page(shown, after)


def _key(at: str, order_id: str) -> str:
    return f"{at}#{order_id}"


def _page(shown: list[Order], after: str) -> dict[str, Any]:
    return {"orders": [summary(order) for order in shown], "next_cursor": Page.cursor(after) if after else None}


def summary(order: Order) -> dict[str, Any]:
    """One line of a list."""
    return {
        "order_id": order.order_id,
        "channel": order.channel,
        "external_id": order.external_id or None,
        "status": order.status.value,
        "placed_at": order.placed_at,
        "customer_id": order.customer["id"],
        "customer_name": order.customer.get("name", ""),
        "lines": len(order.lines),
        "units": sum(line.quantity for line in order.lines),
        "currency": order.currency,
        "total": order.totals.total,
        "payment_status": order.payment.status,
        "priority": {"score": order.priority_score, "codes": order.priority_codes},
        "holds": sorted(order.holds),
    }
