"""Shipping: one label for each parcel, and the transaction with which the parcel leaves the books.

Unpaid never ships: the transaction carries the condition that money stands behind everything that has left and this
parcel. A label is bought once, however often the step is repeated: the carrier's shipment is written down before any
label is bought for it, and asked about before one is bought again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from oms.fulfillment.carrier import Carrier, CarrierRefused, Parcel, Quote
from oms.fulfillment.carrier import Label as CarrierLabel
from oms.fulfillment.facilities import address_of, facility_address
from oms.fulfillment.labelling import UNIT_GRAMS, choose_rate, customs_of
from oms.fulfillment.packing import as_packed
from oms.fulfillment.pausing import ALIVE, OrderHeld, ParcelClosed, held, require_released, require_run
from oms.fulfillment.rules import current_rules
from oms.fulfillment.shipments import (
    LEFT,
    DynamoShipments,
    Label,
    Shipment,
    ShipmentStatus,
    change_with_shipments,
    parse_shipment_id,
)
from oms.fulfillment.tracking import tracker
from oms.inventory.model import Product
from oms.inventory.store import DynamoInventory
from oms.orders.deadlines import COLLECT_REMIND_BEFORE, COLLECT_WITHIN
from oms.orders.model import Effect, Event, Order, Status
from oms.orders.store import Change, DynamoOrders
from oms.payments.coverage import money_needed
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text

PAID_FOR = "payment.covers >= :needed AND (attribute_not_exists(payment.settled) OR payment.settled >= :needed)"
"""What is only authorised may lapse, so it pays for no parcel; ``settled`` is absent where nothing is authorised."""
_REASON_LENGTH = 200


class CapturesMoney(Protocol):
    """``oms.payments.capturing.CaptureMoney.for_parcel``."""

    def __call__(self, order: Order, needed: int, *, last: bool, parcel: str) -> Order:
        """The order with the money for the parcel taken, as far as it can be."""
        ...


@dataclass(frozen=True, slots=True)
class ShipParcels:
    """The last step of a parcel's run."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock
    carrier: Callable[[], Carrier]
    capture: CapturesMoney
    """Takes what a parcel needs of the money that was only authorised."""

    @property
    def shipments(self) -> DynamoShipments:
        return DynamoShipments(self.orders.table)

    def ship(self, shipment_id: str, run: str) -> Shipment:
        """Label the parcel and let it leave; a parcel that has left is answered as it is. One that is picked up in
        store has no label: it waits at the counter and leaves when somebody collects it.

        Raises ``OrderHeld`` (also when the carrier refuses the address or money is missing: the hold is on the order
        then), ``ParcelClosed`` when the order has ended (a label that was bought is voided), ``RunSuperseded``,
        ``CarrierUnavailable`` and ``PaymentProviderUnavailable``.
        """
        order_id, _ = parse_shipment_id(shipment_id)
        # The order first: read the other way round, a parcel that leaves in between looks like one that never will.
        order = self.orders.require(order_id)
        shipment = self.shipments.get(shipment_id)
        if shipment.status in LEFT:
            return shipment
        if order.status not in ALIVE or not shipment.open:
            self._void(shipment)
            raise ParcelClosed(f"order is {order.status.value}, parcel {shipment.status.value}")
        require_run(order, run)
        require_released(order)
        if shipment.status is not ShipmentStatus.PACKED:
            raise ParcelClosed(f"parcel is {shipment.status.value}")
        after = _without(order, shipment)
        needed = money_needed(after)
        last = not any(line.open for line in after.lines)
        order = self.capture(order, needed, last=last, parcel=str(shipment.number))
        require_released(order)
        if order.payment.settled < needed:
            self._hold_unpaid(order_id, shipment_id)
            raise OrderHeld("payment")
        label: CarrierLabel | None = None
        if order.shipping_method == "pickup":
            return self._set_aside(order_id, shipment_id, run)
        if not shipment.label:
            try:
                shipment, label = self._label(order, shipment)
            except CarrierRefused as refused:
                self._hold_address(order_id, shipment.number, str(refused)[:_REASON_LENGTH])
                raise OrderHeld("address") from None
        return self._dispatch(order_id, shipment_id, run, label)

    # ---- the label -----------------------------------------------------------------------------------------------

    def _label(self, order: Order, shipment: Shipment) -> tuple[Shipment, CarrierLabel]:
        carrier = self.carrier()
        if shipment.carrier_shipment_id:
            quote = carrier.find(shipment.carrier_shipment_id)
        else:
            quote, shipment = self._quoted(carrier, order, shipment)
        if quote.label:
            return shipment, quote.label
        terms = current_rules(self.inventory).terms(order.shipping_method)
        days_left = terms.days_left(from_text(order.placed_at), self.clock())
        rate = choose_rate(quote.rates, terms, days_left)
        label = carrier.buy(quote.carrier_shipment_id, rate.id)
        telemetry.count("LabelsBought")
        return shipment, label

    def _quoted(self, carrier: Carrier, order: Order, shipment: Shipment) -> tuple[Quote, Shipment]:
        """The carrier's shipment, written down before anything is bought for it."""
        origin = facility_address(self.inventory, shipment.facility)
        skus = {*shipment.required, *(order.lines[number - 1].sku for number in shipment.lines(order))}
        products = self.inventory.products(sorted(skus))
        quote = carrier.quote(
            shipment.shipment_id,
            origin,
            address_of(order.address, order.customer),
            parcel_of(shipment, products),
            customs=customs_of(order, shipment, origin, products),
        )

        def remember(seen: Shipment) -> Shipment | None:
            if seen.carrier_shipment_id or not seen.open:
                return None
            return replace(seen, carrier_shipment_id=quote.carrier_shipment_id)

        shipment = self.shipments.change(shipment.shipment_id, remember)
        if not shipment.open:
            raise ParcelClosed(f"parcel is {shipment.status.value}")
        if shipment.carrier_shipment_id != quote.carrier_shipment_id:
            # Somebody beside us was first; their shipment is the one that counts.
            quote = carrier.find(shipment.carrier_shipment_id)
        return quote, shipment

    def _void(self, shipment: Shipment) -> None:
        """Give a label back that no parcel will carry."""
        if not shipment.carrier_shipment_id or shipment.label:
            return
        if self.carrier().find(shipment.carrier_shipment_id).label:
            self.carrier().void(shipment.carrier_shipment_id)
            telemetry.logger.info("label_voided", shipment_id=shipment.shipment_id)

    # ---- waiting at the counter ------------------------------------------------------------------------------------

    def _set_aside(self, order_id: str, shipment_id: str, run: str) -> Shipment:
        """Let a packed parcel wait at the counter, and tell its customer until when. The money has been taken: nobody
        has to pay there."""
        now = self.clock()

        def ready(order: Order) -> Change | None:
            shipment = self.shipments.get(shipment_id)
            if order.status not in ALIVE or shipment.ready_at or not shipment.open:
                return None
            require_run(order, run)
            require_released(order)
            until = now + COLLECT_WITHIN
            waiting = replace(shipment, task=None, ready_at=to_text(now))
            after = replace(order, collect_by=to_text(until), collect_remind_at=to_text(until - COLLECT_REMIND_BEFORE))
            data = {"shipment": shipment.number, "facility": shipment.facility, "until": to_text(until)}
            event = Event("ShipmentReady", "system", "workflow", data)
            return Change(after, event, [self.shipments.put(shipment, waiting)])

        change_with_shipments(self.orders, order_id, ready, now)
        shipment = self.shipments.get(shipment_id)
        if not shipment.ready_at:
            raise ParcelClosed(f"parcel is {shipment.status.value}")
        return shipment

    # ---- leaving -------------------------------------------------------------------------------------------------

    def _dispatch(self, order_id: str, shipment_id: str, run: str, label: CarrierLabel | None) -> Shipment:
        now = self.clock()
        left: Shipment | None = None

        def leave(order: Order) -> Change | None:
            nonlocal left
            left = None
            shipment = self.shipments.get(shipment_id)
            if shipment.status in LEFT:
                left = shipment
                return None
            if order.status not in ALIVE or not shipment.open:
                return None
            require_run(order, run)
            require_released(order)
            left = replace(
                shipment.moved_to(ShipmentStatus.SHIPPED),
                task=None,
                label=_kept(label) if label else shipment.label,
                shipped_at=to_text(now),
            )
            told = Event("ShipmentShipped", "system", "workflow")
            return departure(self.orders, self.inventory, order, shipment, left, told, now)

        order = change_with_shipments(self.orders, order_id, leave, now)
        if left is None:
            self._void(self.shipments.get(shipment_id))
            raise ParcelClosed(f"order is {order.status.value}")
        if order.holds:
            raise OrderHeld(", ".join(sorted(order.holds)))
        telemetry.count("ShipmentsDispatched")
        telemetry.logger.info("parcel_shipped", shipment_id=shipment_id, order_status=order.status.value)
        return left

    def _hold_unpaid(self, order_id: str, shipment_id: str) -> None:
        """Stop the order before a label is bought for a parcel that money does not cover."""
        now = self.clock()

        def stop(order: Order) -> Change | None:
            shipment = self.shipments.get(shipment_id)
            if order.status not in ALIVE or not shipment.open or order.holds:
                return None
            needed = money_needed(_without(order, shipment))
            if order.payment.settled >= needed:
                return None
            return _unpaid(order, shipment, needed, now)

        change_with_shipments(self.orders, order_id, stop, now)

    def _hold_address(self, order_id: str, shipment: int, reason: str) -> None:
        """Stop the order because the carrier does not take the parcel. Its words stay on the hold: they may tell the
        address, which has no place in the history."""
        now = self.clock()

        def stop(order: Order) -> Change | None:
            if order.status not in ALIVE or "address" in order.holds:
                return None
            event = Event("ParcelRefused", "system", "carrier", {"shipment": shipment})
            return Change(held(order, "address", reason, "customer service", now), event)

        self.orders.change(order_id, stop, now)


def departure(
    orders: DynamoOrders,
    inventory: DynamoInventory,
    order: Order,
    shipment: Shipment,
    left: Shipment,
    told: Event,
    now: datetime,
) -> Change:
    """The change with which a parcel leaves the books, ``told`` by an event, or the one that stops its order because
    money is missing."""
    after = _without(order, shipment)
    needed = money_needed(after)
    if order.payment.settled < needed:
        return _unpaid(order, shipment, needed, now)
    if not any(line.open for line in after.lines):
        after = after.moved_to(Status.COMPLETED)
    if order.external_id:
        after = after.with_effects(Effect.CONFIRM_SHIPMENT)
    data = {**told.data, "shipment": shipment.number, "facility": shipment.facility, "needed": needed}
    event = replace(told, data=data)
    writes = [DynamoShipments(orders.table).put(shipment, left)]
    writes += [
        inventory.dispatch(sku, shipment.facility, units, now, shipment.lots.get(sku))
        for sku, units in shipment.required.items()
    ]
    if left.label and left.label.tracker_id:
        writes.append(tracker(orders.table, left, left.label.tracker_id, now))
    if needed <= 0:
        return Change(after, event, writes)
    return Change(after, event, writes, PAID_FOR, {":needed": needed})


def _unpaid(order: Order, shipment: Shipment, needed: int, now: datetime) -> Change:
    data = {"shipment": shipment.number, "facility": shipment.facility, "needed": needed}
    event = Event("ParcelUnpaid", "system", "workflow", data)
    return Change(held(order, "payment", "money does not cover the parcel", "payments", now), event)


def _without(order: Order, shipment: Shipment) -> Order:
    """The order once the parcel has left."""
    carried = shipment.lines(order)
    lines = tuple(replace(line, shipped=line.shipped + carried.get(line.number, 0)) for line in order.lines)
    return replace(order, lines=lines)


def parcel_of(shipment: Shipment, products: Mapping[str, Product]) -> Parcel:
    """What the carrier is told: the parcel as it was packed, and where nobody said, a guess from its products."""
    return as_packed(shipment, _guessed(shipment, products))


def _guessed(shipment: Shipment, products: Mapping[str, Product]) -> Parcel:
    """The units' weight, and a box of their volume into which the longest of them fits."""
    grams, volume, largest = 0, 0, (1, 1, 1)
    measured = True
    for sku, units in shipment.required.items():
        product = products.get(sku)
        grams += units * (product.weight_grams if product and product.weight_grams else UNIT_GRAMS)
        if product is None or product.dimensions_mm is None:
            measured = False
            continue
        sides = sorted(product.dimensions_mm, reverse=True)
        volume += units * sides[0] * sides[1] * sides[2]
        largest = (max(largest[0], sides[0]), max(largest[1], sides[1]), max(largest[2], sides[2]))
    if not measured:
        return Parcel(grams)
    edge = math.ceil(volume ** (1 / 3))
    length, width = max(largest[0], edge), max(largest[1], edge)
    return Parcel(grams, length, width, max(largest[2], math.ceil(volume / (length * width))))


def _kept(label: CarrierLabel) -> Label:
    return Label(
        carrier=label.carrier,
        service=label.service,
        tracking_number=label.tracking_number,
        tracker_id=label.tracker_id,
        label_url=label.label_url,
        amount=label.amount,
        currency=label.currency,
    )
