"""Holds: why an order must not move on, put there and taken off by people, each time with a reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from oms.orders.model import OPEN, Effect, Event, Hold, Order, Status
from oms.orders.store import Change, DynamoOrders
from oms.runtime import errors
from oms.runtime.clock import Clock, to_text


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
        confirmed by it, if anything was paid at all. Raises ``NotFound``.
        """

        def decide(order: Order) -> Change | None:
            if kind not in order.holds:
                return None
            rest = {name: hold for name, hold in order.holds.items() if name != kind}
            after = replace(order, holds=rest)
            if kind == "payment" and order.status is Status.PLACED and order.payment.covers > 0:
                after = after.moved_to(Status.CONFIRMED).with_effects(Effect.START_FULFILLMENT)
            return Change(after, Event("HoldReleased", actor, reason, {"hold": kind}))

        return self.orders.change(order_id, decide, self.clock())
