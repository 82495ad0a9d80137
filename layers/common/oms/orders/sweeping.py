"""Nothing waits for ever: orders whose deadline has passed are ended, driven on, or brought before a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from oms.fulfillment.shipments import DynamoShipments
from oms.orders.backordering import FillBackorders
from oms.orders.deadlines import SECURE_BEFORE
from oms.orders.ending import EndOrders
from oms.orders.exchanging import give_credit_back
from oms.orders.model import OPEN, Effect, Event, Hold, Order, Status
from oms.orders.reservation import Reservations
from oms.orders.returns import ReturnOrders
from oms.orders.store import DEADLINE_SHARDS, Change, DynamoOrders
from oms.payments.cases import ORDER_WITHOUT_PAYMENT, Cases
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text

_HOLD_EXTENSION = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SweepOrders:
    """Takes up overdue orders by the deadline index; each one is read again before anything is decided."""

    orders: DynamoOrders
    reservations: Reservations
    ending: EndOrders
    returns: ReturnOrders
    clock: Clock
    backorders: FillBackorders
    time_left: Callable[[], float]
    """Seconds this run may still take."""

    def run(self) -> dict[str, int]:
        """One pass over every shard; returns how many orders were looked at and how many could not be settled."""
        seen = failed = 0
        for shard in range(DEADLINE_SHARDS):
            for order_id in self.orders.due(shard, self.clock()):
                if self.time_left() < 5:
                    return {"seen": seen, "failed": failed}
                seen += 1
                try:
                    self.take_up(order_id)
                except Exception:
                    # One order that cannot be settled must not keep the others waiting; the next run meets it again.
                    failed += 1
                    telemetry.count("SweepFailures")
                    telemetry.logger.exception("sweep_failed", order_id=order_id)
        return {"seen": seen, "failed": failed}

    def take_up(self, order_id: str) -> None:
        """Do what an overdue order needs."""
        order = self.orders.get_draft_or_order(order_id)
        if order is None:
            return
        now = self.clock()
        if not order.committed:
            self.reservations.undo_draft(order_id, now)
        elif order.status is Status.PLACED and order.expires_at <= to_text(now):
            self.ending.expire(order_id)
        elif Effect.RELEASE_STOCK in order.effects:
            self.reservations.finish_release(order_id, now)
        elif Effect.RETURN_CREDIT in order.effects:
            give_credit_back(self.orders, order, now)
        else:
            for sku in order.oversold if order.status in OPEN else ():
                self.backorders.fill(sku)
            if order.return_deadline and order.return_deadline <= to_text(now):
                self.returns.lapse(order_id)
            if order.collect_by and order.collect_by <= to_text(now):
                self.ending.end_uncollected(order_id)
            elif order.collect_remind_at and order.collect_remind_at <= to_text(now):
                self.orders.change(order_id, self._remind, now)
            self.orders.change(order_id, self._drive_on, now)

    def _remind(self, order: Order) -> Change | None:
        """Tell the customer once that parcels wait, and until when."""
        if order.status not in OPEN or order.holds or not order.collect_remind_at:
            return None
        parcels = DynamoShipments(self.orders.table).of(order.order_id)
        waiting = next((parcel for parcel in parcels if parcel.waits_for_customer), None)
        if waiting is None or order.collect_remind_at > to_text(self.clock()):
            return None
        data = {"shipment": waiting.number, "facility": waiting.facility, "until": order.collect_by}
        return Change(replace(order, collect_remind_at=""), Event("PickupReminder", "system", "deadline passed", data))

    def _drive_on(self, order: Order) -> Change | None:
        """Show the order to the stream once more, and give overdue holds to their owners again."""
        now = self.clock()
        lapsing = (
            bool(order.payment.authorized)
            and order.status in OPEN
            and Effect.SECURE_AUTHORIZATION not in order.effects
            and from_text(order.payment.authorized_until) - SECURE_BEFORE <= now
        )
        if lapsing:
            telemetry.count("AuthorizationsLapsing")
            until = {"until": order.payment.authorized_until}
            event = Event("AuthorizationLapses", "system", "deadline passed", until)
            return Change(order.with_effects(Effect.SECURE_AUTHORIZATION), event)
        if order.payment.credit and order.payment.due_at <= to_text(now) and "payment" not in order.holds:
            telemetry.count("InvoicesOverdue")
            hold = Hold("the invoice is overdue", "finance", to_text(now), to_text(now + _HOLD_EXTENSION))
            event = Event("InvoiceOverdue", "system", "deadline passed", {"credit": order.payment.credit})
            missing = {"order_id": order.order_id, "due": order.payment.credit}
            case = Cases(self.orders.table).opening(ORDER_WITHOUT_PAYMENT, order.order_id, now, missing)
            return Change(replace(order, holds={**order.holds, "payment": hold}), event, [case])
        late = {kind: hold for kind, hold in order.holds.items() if hold.deadline <= to_text(now)}
        if not order.effects and not late and order.status is not Status.IN_FULFILLMENT:
            return None
        telemetry.count("EffectsRedriven")
        if late:
            telemetry.count("HoldsOverdue", len(late))
            telemetry.logger.warning("holds_overdue", order_id=order.order_id, holds=sorted(late))
        extended = {kind: replace(hold, deadline=to_text(now + _HOLD_EXTENSION)) for kind, hold in late.items()}
        again = replace(order, redriven=order.redriven + 1, holds={**order.holds, **extended})
        data = {"effects": [effect.value for effect in order.effects], "holds": sorted(late)}
        return Change(again, Event("DeadlinePassed", "system", "deadline passed", data))
