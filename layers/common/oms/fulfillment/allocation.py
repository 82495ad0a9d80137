"""Allocating: which facility sends which units of an order, and setting them aside there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from oms.fulfillment.facilities import free_units
from oms.fulfillment.pausing import ALIVE, held, require_released, require_run
from oms.fulfillment.shipments import (
    DynamoShipments,
    Shipment,
    ShipmentStatus,
    change_with_shipments,
    planned,
)
from oms.inventory.model import Take, home_stripe, spread
from oms.inventory.store import DynamoInventory
from oms.orders.backordering import AWAITS_STOCK, FillBackorders
from oms.orders.model import Effect, Event, Line, Order, Status, home_seed
from oms.orders.reservation import INLINE_SKUS
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock
from oms.runtime.dynamo import Contention, Write

PARCEL_SKUS = INLINE_SKUS
"""One parcel, and one allocating transaction, touches so many SKUs at most (or one kit, if that alone has more)."""
_MAX_STEPS = 60

Free = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A parcel to be: ``lines`` maps line numbers to units of the line."""

    facility: str
    lines: Mapping[int, int]


class StockMissing(Exception):
    """The facilities together lack units of these SKUs; the message names them."""


def plan(lines: Mapping[int, Line], wanted: Mapping[int, int], free: Free) -> list[Parcel]:
    """Which facility sends what: one that has everything (the one with most stock), otherwise the fewest parcels that
    greed finds. Kits stay together. Raises ``StockMissing``.
    """
    left = {number: units for number, units in wanted.items() if units}
    stock = {facility: dict(units) for facility, units in free.items()}
    parcels: list[Parcel] = []
    while left:
        offers = {facility: _carried(lines, left, units) for facility, units in stock.items()}
        if not any(offers.values()):
            raise StockMissing(", ".join(sorted({sku for number in left for sku in lines[number].units(1)})))
        skus = {sku for number in left for sku in lines[number].units(1)}
        facility = max(
            sorted(offers),
            key=lambda name: (sum(offers[name].values()), sum(stock[name].get(sku, 0) for sku in skus)),
        )
        offer = offers[facility]
        for number, units in offer.items():
            left[number] -= units
            for sku, quantity in lines[number].units(units).items():
                stock[facility][sku] -= quantity
        left = {number: units for number, units in left.items() if units}
        parcels.extend(Parcel(facility, part) for part in _split(lines, offer))
    return parcels


def _carried(lines: Mapping[int, Line], left: Mapping[int, int], units: Mapping[str, int]) -> dict[int, int]:
    """How much of what is left a facility with these units could send."""
    rest = dict(units)
    carried: dict[int, int] = {}
    for number, wanted in sorted(left.items()):
        needs = lines[number].units(1)
        count = min(wanted, *(rest.get(sku, 0) // each for sku, each in needs.items()))
        if count:
            carried[number] = count
            for sku, each in needs.items():
                rest[sku] -= each * count
    return carried


def _split(lines: Mapping[int, Line], offer: Mapping[int, int]) -> Iterator[dict[int, int]]:
    part: dict[int, int] = {}
    skus: set[str] = set()
    for number, units in offer.items():
        more = skus | set(lines[number].units(1))
        if part and len(more) > PARCEL_SKUS:
            yield part
            part, more = {}, set(lines[number].units(1))
        part[number] = units
        skus = more
    if part:
        yield part


@dataclass(frozen=True, slots=True)
class AllocateOrders:
    """The first step of a run."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    @property
    def shipments(self) -> DynamoShipments:
        return DynamoShipments(self.orders.table)

    def allocate(self, order_id: str, run: str) -> list[str]:
        """Set the order's units aside and return the ids of its parcels that have to leave; none for a dead order.

        Repeating returns the same parcels. An order that stopped goes on: short parcels with what they have, and what
        no parcel carries yet gets new ones. Units that were promised without stock are taken from stock that came
        since; as long as there is too little, the order waits under an ``inventory`` hold.
        Raises ``OrderHeld`` and ``RunSuperseded``.
        """
        self._fill(order_id)
        for _ in range(_MAX_STEPS):
            order = change_with_shipments(self.orders, order_id, lambda seen: self._step(seen, run), self.clock())
            if order.status not in ALIVE:
                return []
            require_released(order)
            require_run(order, run)
            if Effect.START_FULFILLMENT not in order.effects:
                return [shipment.shipment_id for shipment in self.shipments.of(order_id) if shipment.open]
        raise Contention(f"allocating order {order_id}")

    def _fill(self, order_id: str) -> None:
        """Look for what the order lacks; those that wait longer are served first."""
        order = self.orders.require(order_id)
        if order.status in ALIVE and not order.holds:
            for sku in order.oversold:
                FillBackorders(self.orders, self.inventory, self.clock).fill(sku)

    def _step(self, order: Order, run: str) -> Change | None:
        """As much of the allocation as fits one transaction; the effect goes with the last of it."""
        if order.status not in ALIVE or order.holds or Effect.START_FULFILLMENT not in order.effects:
            return None
        require_run(order, run)
        now = self.clock()
        if order.oversold:
            return self._cover(order, now)
        shipments = self.shipments.of(order.order_id)
        missing = _missing(order, shipments)
        lines = {line.number: line for line in order.lines}
        skus = sorted({sku for number in missing for sku in lines[number].units(1)})
        try:
            parcels = plan(lines, missing, free_units(self.inventory, skus))
        except StockMissing as lacking:
            return self._waiting(order, f"no facility has: {lacking}", Event("StockMissing", "system", "allocate"), now)
        return self._allocated(order, shipments, parcels, now)

    def _allocated(self, order: Order, shipments: list[Shipment], parcels: list[Parcel], now: datetime) -> Change:
        """As many of the parcels as one transaction takes."""
        writes = [write for shipment in shipments for write in self._resumed(shipment)]
        places: Counter[tuple[str, str]] = Counter()
        made: list[Shipment] = []
        for parcel in parcels:
            shipment = planned(order, order.shipments + len(made) + 1, parcel.facility, parcel.lines, now)
            more = {(sku, parcel.facility) for sku in shipment.required}
            if made and len(places.keys() | more) + len(made) > PARCEL_SKUS:
                break
            places.update({(sku, parcel.facility): units for sku, units in shipment.required.items()})
            made.append(shipment.moved_to(ShipmentStatus.ALLOCATED))
        writes += [self.shipments.create(shipment) for shipment in made]
        writes += [
            self.inventory.allocate(sku, facility, units, now) for (sku, facility), units in sorted(places.items())
        ]
        after = order if order.status is Status.IN_FULFILLMENT else order.moved_to(Status.IN_FULFILLMENT)
        after = replace(after, shipments=order.shipments + len(made))
        if len(made) == len(parcels):
            after = after.without_effect(Effect.START_FULFILLMENT)
        data = {"shipments": {str(shipment.number): shipment.facility for shipment in made}, "run": order.runs}
        return Change(after, Event("OrderAllocated", "system", "workflow", data), writes)

    def _resumed(self, shipment: Shipment) -> list[Write]:
        """The action that sends a short parcel on its way again, or ends it when nothing of it is left."""
        if shipment.status is not ShipmentStatus.SHORT:
            return []
        status = ShipmentStatus.ALLOCATED if shipment.units else ShipmentStatus.CANCELLED
        return [self.shipments.put(shipment, replace(shipment.moved_to(status), task=None))]

    def _cover(self, order: Order, now: datetime) -> Change:
        """Wait for what was promised without stock; a very large order, which does not queue, takes it here."""
        if not order.chunks:
            return self._awaiting(order, now)
        products = self.inventory.products(order.oversold)
        takes: list[Take] = []
        covered: set[str] = set()
        for sku, units in sorted(order.oversold.items()):
            if sku not in products:
                continue
            product = products[sku]
            home = home_stripe(home_seed(order.order_id), product.stripes)
            found = spread(sku, units, self.inventory.stripes(product), home)
            if sum(take.quantity for take in found) == units and len(takes) + len(found) <= INLINE_SKUS:
                takes += found
                covered.add(sku)
        if not covered:
            return self._awaiting(order, now)
        still = {sku: units for sku, units in order.oversold.items() if sku not in covered}
        data = {"units": {sku: order.oversold[sku] for sku in sorted(covered)}}
        writes = [self.inventory.take(take, f"order:{order.order_id}", now) for take in takes]
        return Change(replace(order, oversold=still), Event("OversoldCovered", "system", "allocate", data), writes)

    def _awaiting(self, order: Order, now: datetime) -> Change:
        event = Event("StockAwaited", "system", "allocate", {"units": dict(order.oversold)})
        return self._waiting(order, f"{AWAITS_STOCK}: {', '.join(sorted(order.oversold))}", event, now)

    def _waiting(self, order: Order, reason: str, event: Event, now: datetime) -> Change:
        telemetry.count("AllocationsHeld")
        telemetry.logger.warning("allocation_held", order_id=order.order_id, reason=reason)
        return Change(held(order, "inventory", reason, "customer_service", now), event)


def _missing(order: Order, shipments: list[Shipment]) -> dict[int, int]:
    """Units by line that are owed and that no parcel carries."""
    missing = {line.number: line.open for line in order.lines}
    for shipment in shipments:
        if shipment.open:
            for number, units in shipment.lines(order).items():
                missing[number] -= units
    return {number: units for number, units in missing.items() if units > 0}
