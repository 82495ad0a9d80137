"""Holds: why an order must not move on, put there and taken off by people, each time with a reason; and the list of
those that are open, by kind and owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from oms.orders.model import HOLD_KINDS, OPEN, Effect, Event, Hold, Order, Status
from oms.orders.store import Change, DynamoOrders, hold_queue
from oms.payments.coverage import owed
from oms.runtime import errors
from oms.runtime.clock import Clock, to_text
from oms.runtime.paging import Page

PAGE = 50
_LAST = "\U0010ffff"
AWAITS_CUSTOMER = "the customer owes"
"""How the reason of a ``payment`` hold begins that ends by itself once the order is covered."""
RELEASED_BY: Mapping[str, tuple[str, ...]] = {
    "address": ("agent", "ops"),
    "dispute": ("ops",),
    "fraud": ("ops",),
    "inventory": ("agent", "ops"),
    "operator": ("agent", "ops"),
    "payment": ("ops",),
}
"""Who may let an order go on: where money is at stake, not the one who talks with the customer."""


def covered(order: Order) -> Order:
    """The order without the hold that waits for the customer's money, if what they owe is there."""
    hold = order.holds.get("payment")
    if hold is None or not hold.reason.startswith(AWAITS_CUSTOMER):
        return order
    if order.payment.covers < owed(order):
        return order
    return replace(order, holds={kind: each for kind, each in order.holds.items() if kind != "payment"})


@dataclass(frozen=True, slots=True)
class HoldOrders:
    """What staff do about holds; the system puts its own where it meets the reason."""

    orders: DynamoOrders
    clock: Clock

    def put(self, order_id: str, kind: str, *, reason: str, owner: str, hours: int, actor: str) -> Order:
        """Stop an open order until somebody releases it; the owner is reminded after ``hours``.

        Raises ``NotFound``, and ``Conflict`` when the order is not open.
        """
        now = self.clock()

        def decide(order: Order) -> Change | None:
            if order.status not in OPEN:
                raise errors.Conflict(f"The order is {order.status.value}: there is nothing to hold.")
            if kind in order.holds:
                return None
            hold = Hold(reason, owner, to_text(now), to_text(now + timedelta(hours=hours)))
            event = Event("OrderHeld", actor, reason, {"hold": kind, "owner": owner})
            return Change(replace(order, holds={**order.holds, kind: hold}), event)

        return self.orders.change(order_id, decide, now)

    def release(self, order_id: str, kind: str, *, reason: str, actor: str) -> Order:
        """Let an order go on as far as this hold is concerned; again is harmless.

        Releasing ``payment`` accepts money that was less or more than owed, so an order that waits for its payment is
        confirmed by it, if anything was paid at all. Raises ``NotFound``, and ``Conflict`` for goods that went over a
        counter and are not on the books: nobody could pick them.
        """

        def decide(order: Order) -> Change | None:
            if kind not in order.holds:
                return None
            if kind == "inventory" and order.counter and order.owed():
                raise errors.Conflict(
                    "Its goods went over the counter: hand over what the books have, or cancel the lines.",
                    extra={"code": "not_on_the_books"},
                )
            rest = {name: hold for name, hold in order.holds.items() if name != kind}
            after = replace(order, holds=rest)
            if kind == "payment" and order.status is Status.PLACED and order.payment.covers > 0:
                after = after.moved_to(Status.CONFIRMED).with_effects(Effect.START_FULFILLMENT)
            return Change(after, Event("HoldReleased", actor, reason, {"hold": kind}))

        return self.orders.change(order_id, decide, self.clock())

    def open_holds(self, kind: str, owner: str, cursor: str) -> dict[str, Any]:
        """A page of the open holds of a kind, by owner and then by deadline; of one owner when one is named.

        Raises ``InvalidRequest``.
        """
        if kind not in HOLD_KINDS:
            wrong = [("kind", f"one of {', '.join(sorted(HOLD_KINDS))}")]
            raise errors.InvalidRequest("See errors for what to change.", fields=wrong)
        table, page, now = self.orders.table, Page.of(cursor, PAGE), to_text(self.clock())
        first, last = (f"{owner}#", f"{owner}#{_LAST}") if owner else (" ", _LAST)
        found = table.query_index(
            "work",
            "work_queue = :queue AND work_rank BETWEEN :first AND :last",
            # The cursor's own rank was shown; the space makes the least rank after it.
            {":queue": hold_queue(kind), ":first": f"{page.after} " if page.after else first, ":last": last},
            limit=PAGE + 1,
        )
        keys, following = page.cut([(item["work_rank"], (item["pk"], item["sk"])) for item in found])
        items = {(item["pk"], item["sk"]): item for item in table.batch_get(keys)}
        return {
            "holds": [
                {
                    "order_id": items[key]["pk"].removeprefix("ORDER#"),
                    "kind": kind,
                    "reason": items[key]["reason"],
                    "owner": items[key]["owner"],
                    "since": items[key]["since"],
                    "deadline": items[key]["deadline"],
                    "overdue": items[key]["deadline"] <= now,
                }
                for key in keys
                if "work_queue" in items.get(key, {})
            ],
            "next_cursor": following,
        }
