"""How orders end before their time: cancelled by someone who may, or expired unpaid. Stock and money go back once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from oms.customers import rewards
from oms.fulfillment.pausing import begun_anew, held
from oms.fulfillment.putbacks import put_back
from oms.fulfillment.shipments import cancellation, change_with_shipments, knows_carrier, shipment_from_item
from oms.fulfillment.withdrawing import withdraw
from oms.inventory.store import DynamoInventory
from oms.orders import pricing
from oms.orders.backordering import queue_writes
from oms.orders.coupon_book import give_back
from oms.orders.exchanging import give_credit_back
from oms.orders.model import Effect, Event, Hold, Order, Status
from oms.orders.refunds import request_refund
from oms.orders.reservation import Reservations
from oms.orders.store import AlreadyApplied, Change, DynamoOrders
from oms.payments import ledger
from oms.payments.coverage import overpaid
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Write

MOST_WRITES = 85
"""So many actions that give stock back and empty parcels leave room in one transaction for the rest of a change."""


@dataclass(frozen=True, slots=True)
class EndOrders:
    """Cancelling and expiring."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    @property
    def reservations(self) -> Reservations:
        return Reservations(self.orders, self.inventory)

    def cancel(self, order_id: str, *, reason: str, actor: str, key: str = "") -> Order:
        """Cancel all of the order that has not left; again is harmless.

        When parcels have left, the rest is cancelled and the order is complete; only under a ``key`` is a repeat of
        that known as one. Raises ``NotFound``, ``AlreadyApplied``, and ``Conflict`` when nothing is left to cancel or
        a marketplace owns the sale.
        """
        now = self.clock()
        once = f"{order_id}:{key}"

        def decide(order: Order) -> Change | None:
            if order.status in (Status.CANCELLED, Status.EXPIRED):
                return None
            _require_ours(order)
            event = Event("OrderCancelled", actor, reason)
            if not any(line.shipped for line in order.lines):
                return self._death(order, Status.CANCELLED, event, reason)
            if key and self.orders.has_seen("cancel", once):
                raise AlreadyApplied
            rest = {line.number: line.open for line in order.lines if line.open}
            if not rest:
                raise _gone()
            inbox = [self.orders.inbox("cancel", once, now)] if key else []
            return self._without_lines(order, rest, replace(event, type="LinesCancelled"), reason, inbox, now)

        return self._end(order_id, decide, "OrdersCancelled")

    def cancel_by_channel(self, order_id: str, channel: str) -> Order:
        """A marketplace cancelled its sale and gave the buyer's money back itself.

        A parcel that has left cannot be called back: the order is held for a person instead.
        """

        def decide(order: Order) -> Change | None:
            if order.status in (Status.CANCELLED, Status.EXPIRED):
                return None
            now = self.clock()
            if order.status is Status.COMPLETED or any(line.shipped for line in order.lines):
                return None if "operator" in order.holds else _too_late(order, channel, now)
            owed = order.payment.captured - order.payment.refunded
            event = Event("OrderCancelled", f"channel:{channel}", f"{channel} cancelled {order.external_id}")
            change = self._death(order, Status.CANCELLED, event, event.cause)
            if owed <= 0:
                return change
            # The marketplace gave the buyer what is owed: nothing is to be asked back by us.
            given = f"{order.external_id}-cancelled"
            payment, entries = order.payment, []
            for kind, amount in (("refund_due", owed - order.payment.refund_due), ("refunded", owed)):
                entry = ledger.Entry(kind, channel, given, amount, order.currency, event.cause)
                if amount:
                    payment = ledger.with_entry(payment, entry)
                    entries.append(ledger.append(self.orders.table, order_id, entry, now))
            return replace(
                change,
                order=replace(change.order, payment=payment).without_effect(Effect.REFUND),
                writes=[*(write for write in change.writes if write.label not in ("refund", "money")), *entries],
            )

        return self._end(order_id, decide, "OrdersCancelled")

    def expire(self, order_id: str) -> Order:
        """End an order that was not paid in time; anything else is left as it is."""

        def decide(order: Order) -> Change | None:
            if order.status is not Status.PLACED or order.expires_at > to_text(self.clock()):
                return None
            event = Event("OrderExpired", "system", "not paid in time")
            return self._death(order, Status.EXPIRED, event, event.cause)

        return self._end(order_id, decide, "OrdersExpired")

    def end_uncollected(self, order_id: str) -> Order:
        """End what an order's customer did not collect in time, with whatever else of it has not left; its money goes
        back. A marketplace's sale is its own to cancel: a person is asked. Anything else is left as it is."""

        def decide(order: Order) -> Change | None:
            now = self.clock()
            if order.status is not Status.IN_FULFILLMENT or order.holds:
                return None
            if not order.collect_by or order.collect_by > to_text(now):
                return None
            reason = "not collected in time"
            order = replace(order, collect_by="", collect_remind_at="")
            if order.external_id:
                event = Event("PickupOverdue", "system", reason)
                return Change(held(order, "operator", reason, "customer service", now), event)
            if not any(line.shipped for line in order.lines):
                return self._death(order, Status.CANCELLED, Event("OrderCancelled", "system", reason), reason)
            rest = {line.number: line.open for line in order.lines if line.open}
            return self._without_lines(order, rest, Event("LinesCancelled", "system", reason), reason, [], now)

        return self._end(order_id, decide, "PickupsExpired")

    def cancel_lines(self, order_id: str, wanted: Mapping[int, int], *, reason: str, actor: str, key: str) -> Order:
        """Cancel units of some lines (by line number) of a paid order that have not left, whatever the warehouse is
        doing with them: parcels that carry them lose them, the others go on.

        One ``key`` has one effect: again raises ``AlreadyApplied``. Cancelling all that is left cancels the order, or
        completes it when some of it has left. Raises ``Conflict``, and ``InvalidRequest`` for more units than a line
        still has.
        """
        now = self.clock()
        once = f"{order_id}:{key}"

        def decide(order: Order) -> Change | None:
            if self.orders.has_seen("cancel-lines", once):
                raise AlreadyApplied
            _require_ours(order)
            if order.exchange_of:
                raise errors.Conflict("An exchange can only be cancelled whole.", extra={"code": "exchange"})
            if order.status is Status.COMPLETED:
                raise _gone()
            if order.status not in (Status.CONFIRMED, Status.IN_FULFILLMENT):
                raise errors.Conflict(
                    f"Single lines can be cancelled between payment and dispatch; this order is {order.status.value}.",
                    extra={"code": "not_cancellable"},
                )
            wrong = [
                (f"lines[{index}]", f"line {number} has {_open(order, number)} units left")
                for index, (number, units) in enumerate(wanted.items())
                if units > _open(order, number)
            ]
            if wrong:
                raise errors.InvalidRequest("See errors for what to change.", fields=wrong)
            inbox = [self.orders.inbox("cancel-lines", once, now)]
            # Nobody is sent a gift alone.
            everything = all(line.open == wanted.get(line.number, 0) for line in order.bought)
            if everything and not any(line.shipped for line in order.lines):
                event = Event("OrderCancelled", actor, reason)
                change = self._death(order, Status.CANCELLED, event, reason)
                return replace(change, writes=[*change.writes, *inbox])
            return self._without_lines(order, wanted, Event("LinesCancelled", actor, reason), reason, inbox, now)

        return self._end(order_id, decide, None)

    def _without_lines(
        self, order: Order, wanted: Mapping[int, int], event: Event, reason: str, inbox: list[Write], now: datetime
    ) -> Change:
        after, gives = without_units(self.orders, self.inventory, order, wanted, now)
        owed = pricing.refund_for_lines(wanted, order.lines)
        # Of money that is only authorised, less will be taken; only what we have too much of goes back.
        owed = min(owed, overpaid(after)) if after.payment.authorized else owed
        after, refund = request_refund(self.orders.table, after, owed, reason, now)
        data = {"units": {str(number): quantity for number, quantity in wanted.items()}, "refund": owed}
        return Change(after, replace(event, data=data), [*gives, *refund, *inbox])

    def _death(self, order: Order, status: Status, event: Event, reason: str) -> Change:
        """The change that ends an order: its stock back, its parcels stopped, its money on the way back."""
        now = self.clock()
        if order.status is Status.COMPLETED or any(line.shipped for line in order.lines):
            raise _gone()
        shipments = self.orders.parts(order.order_id, "SHIPMENT#")
        stops = cancellation(self.orders.table, self.inventory, shipments, now)
        for shipment in map(shipment_from_item, shipments):
            if shipment.open:
                stops += put_back(self.orders.table, shipment, shipment.picked, now, shipment.lots)
        after = order.moved_to(status).without_effect(Effect.START_FULFILLMENT)
        after, gives = self.reservations.release(after, now)
        gives += queue_writes(self.inventory, order, after, now)
        if order.status is Status.IN_FULFILLMENT:
            after = after.with_effects(Effect.STOP_FULFILLMENT)
        if knows_carrier(shipments):
            after = after.with_effects(Effect.VOID_LABEL)
        if not order.external_id and order.payment.captured < order.totals.total:
            # Whatever came so far did not pay for the order, so its own intent can still be paid.
            after = after.with_effects(Effect.CANCEL_INTENT)
        if order.exchange_of:
            after = after.with_effects(Effect.RETURN_CREDIT)
        after, refund = request_refund(self.orders.table, after, order.payment.captured, reason, now)
        gives += [*give_back(self.orders.table, order.coupons), *rewards.give_back(self.orders.table, order)]
        return Change(replace(after, holds={}), event, [*gives, *stops, *refund])

    def _end(self, order_id: str, decide: Callable[[Order], Change | None], metric: str | None) -> Order:
        """Apply the decision; begin again when a shipment or a stripe moved on in between."""
        counted = False

        def watched(order: Order) -> Change | None:
            nonlocal counted
            change = decide(order)
            counted = change is not None
            return change

        order = change_with_shipments(self.orders, order_id, watched, self.clock())
        if Effect.RELEASE_STOCK in order.effects:
            self.reservations.finish_release(order_id, self.clock())
            order = self.orders.require(order_id)
        if Effect.RETURN_CREDIT in order.effects:
            give_credit_back(self.orders, order, self.clock())
            order = self.orders.require(order_id)
        if counted and metric:
            telemetry.count(metric)
            telemetry.logger.info("order_ended", order_id=order_id, status=order.status.value)
        return order


def without_units(
    orders: DynamoOrders, inventory: DynamoInventory, order: Order, wanted: Mapping[int, int], now: datetime
) -> tuple[Order, list[Write]]:
    """The order without ``wanted`` units by line, and the actions that give their stock back and take them out of its
    parcels. With the last open unit an order of which something has left is complete.

    Raises ``Conflict`` for more than one transaction should carry.
    """
    units: dict[str, int] = {}
    for line in order.lines:
        for sku, quantity in line.units(wanted.get(line.number, 0)).items():
            units[sku] = units.get(sku, 0) + quantity
    # Units that never existed cannot be given back: oversold ones go first.
    oversold = {sku: max(0, short - units.get(sku, 0)) for sku, short in order.oversold.items()}
    held = {sku: quantity - (order.oversold.get(sku, 0) - oversold.get(sku, 0)) for sku, quantity in units.items()}
    lines = tuple(replace(line, cancelled=line.cancelled + wanted.get(line.number, 0)) for line in order.lines)
    after = replace(order, lines=lines, oversold={sku: short for sku, short in oversold.items() if short})
    after, gives = Reservations(orders, inventory).release(after, now, {sku: n for sku, n in held.items() if n})
    taken = withdraw(orders.table, inventory, order, wanted, now)
    if Effect.RELEASE_STOCK in after.effects or len(gives) + len(taken.writes) > MOST_WRITES:
        raise errors.Conflict("Too many lines at once: cancel at most 45 SKUs in one request.")
    after = replace(after, shipments=taken.shipments)
    if taken.spare_label:
        after = after.with_effects(Effect.VOID_LABEL)
    if order.oversold and not after.oversold:
        # Nothing is missing any more, so nobody need wait for it.
        after = replace(after, holds={kind: hold for kind, hold in after.holds.items() if kind != "inventory"})
    if not any(line.open for line in after.lines):
        after = after.moved_to(Status.COMPLETED).without_effect(Effect.START_FULFILLMENT)
        kept = {kind: hold for kind, hold in after.holds.items() if kind == "dispute"}
        after = replace(after.with_effects(Effect.STOP_FULFILLMENT), holds=kept)
    elif taken.restarts and Effect.START_FULFILLMENT not in after.effects:
        after = begun_anew(after)
    return after, [*gives, *queue_writes(inventory, order, after, now), *taken.writes]


def _require_ours(order: Order) -> None:
    if order.external_id:
        raise errors.Conflict(
            f"This sale belongs to {order.channel}: cancel it there, and it ends here too.",
            extra={"code": "channel_owns_sale"},
        )


def _gone() -> errors.Conflict:
    return errors.Conflict("Parcels have left: this is a matter for a return now.", extra={"code": "already_left"})


def _too_late(order: Order, channel: str, now: datetime) -> Change:
    hold = Hold(
        f"{channel} cancelled after dispatch", "customer service", to_text(now), to_text(now + timedelta(days=2))
    )
    event = Event("CancelledAfterDispatch", f"channel:{channel}", hold.reason)
    return Change(replace(order, holds={**order.holds, "operator": hold}), event)


def _open(order: Order, number: int) -> int:
    return order.lines[number - 1].open if number <= len(order.lines) else 0
