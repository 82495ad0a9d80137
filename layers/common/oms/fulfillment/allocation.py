"""Allocating: which facility sends which units of an order, and setting them aside there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from oms.fulfillment.calendars import NeverOpen
from oms.fulfillment.carrier import Address
from oms.fulfillment.dropship import declined_by
from oms.fulfillment.facilities import Facility, claim_room, facilities, free_units, has_room
from oms.fulfillment.pausing import ALIVE, held, require_released, require_run
from oms.fulfillment.routing import (
    PARCEL_SKUS,
    Free,
    Parcel,
    Policy,
    Rules,
    Source,
    StockMissing,
    kilometres,
    obtainable,
    plan,
)
from oms.fulfillment.rules import current_rules
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
from oms.orders.model import Effect, Event, Order, Status, home_seed
from oms.orders.reservation import INLINE_SKUS
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Contention, Write

_MAX_STEPS = 60
BACKORDER_FOR = timedelta(days=2)
"""How long a remainder waits for stock by itself before a person has to decide."""


@dataclass(frozen=True, slots=True)
class Site:
    """A facility that may send an order, the collection that a parcel can catch there, and the one that it must."""

    facility: Facility
    cutoff: datetime
    ship_by: datetime


@dataclass(frozen=True, slots=True)
class Routing:
    """Everything that decides where an order leaves from, read once."""

    policy: Policy
    sites: Mapping[str, Site]
    free: Free
    sources: Mapping[str, Source]


@dataclass(frozen=True, slots=True)
class RouteOrders:
    """Which facilities may send an order now, and what each is worth to it."""

    inventory: DynamoInventory

    def routing(self, order: Order, free: Free, rules: Rules, now: datetime) -> Routing:
        """``free`` is what lies unclaimed. A facility that nobody entered is a warehouse that is always open."""
        policy = rules.policy(order)
        known = facilities(self.inventory, free)
        units = sum(order.owed().values())
        sites: dict[str, Site] = {}
        for code in free:
            facility = known.get(code) or Facility(code, Address("", "", "", "", ""))
            if code in policy.exclude or facility.kind in policy.exclude or not facility.active:
                continue
            if not (facility.pickup if order.shipping_method == "pickup" else facility.ships):
                continue

            def room(day: date, facility: Facility = facility) -> bool:
                return has_room(self.inventory, facility, day, units)

            try:
                cutoff, ship_by = facility.calendar.collections(now, order.shipping_method, room)
            except NeverOpen:
                continue
            sites[code] = Site(facility, cutoff, ship_by)
        soonest = min((site.cutoff for site in sites.values()), default=now)
        there = rules.place_of(order.address)
        sources = {
            code: Source(
                rank=policy.prefer.index(code) if code in policy.prefer else len(policy.prefer),
                late=(site.cutoff - soonest).days,
                cost=site.facility.cost,
                kilometres=kilometres(
                    {"country": site.facility.address.country, "postal_code": site.facility.address.postal_code},
                    site.facility.point,
                    order.address,
                    there,
                ),
            )
            for code, site in sites.items()
        }
        return Routing(policy, sites, {code: free[code] for code in sites}, sources)


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
            change = self._cover(order, now)
            if change:
                return change
        shipments = self.shipments.of(order.order_id)
        missing = _missing(order, shipments)
        lines = {line.number: line for line in order.lines}
        wanted = {
            number: units
            for number, units in missing.items()
            if not lines[number].units(1).keys() & order.oversold.keys()
        }
        skus = sorted({sku for number in wanted for sku in lines[number].units(1)})
        free = {
            code: units
            for code, units in free_units(self.inventory, skus).items()
            if code not in declined_by(shipments)
        }
        found = RouteOrders(self.inventory).routing(order, free, current_rules(self.inventory), now)
        # A short pick or a rule makes the order wait as a whole; otherwise what is there leaves, and the rest follows.
        whole = found.policy.whole or any(one.status is ShipmentStatus.SHORT for one in shipments)
        if not whole:
            wanted = obtainable(lines, wanted, found.free)
        under_way = any(one.status is not ShipmentStatus.CANCELLED for one in shipments)
        if (whole and wanted != missing) or (missing and not wanted and not under_way):
            return self._lacking(order, missing, now)
        try:
            parcels = plan(lines, wanted, found.free, found.sources)
        except StockMissing:
            return self._lacking(order, missing, now)
        limit = found.policy.max_parcels
        if limit and len({parcel.facility for parcel in parcels}) > limit:
            rules = ", ".join(found.policy.because)
            event = Event("SplitRefused", "system", "allocate", {"rules": list(found.policy.because)})
            return self._waiting(order, f"needs more than {limit} parcels: {rules}", event, now)
        return self._allocated(order, shipments, parcels, found, wanted != missing, now)

    def _lacking(self, order: Order, missing: Mapping[int, int], now: datetime) -> Change:
        """Wait for a person, because nothing can leave as it should."""
        if order.oversold:
            return self._awaiting(order, now)
        names = ", ".join(sorted({sku for number in missing for sku in order.lines[number - 1].units(1)}))
        return self._waiting(order, f"no facility has: {names}", Event("StockMissing", "system", "allocate"), now)

    def _allocated(
        self,
        order: Order,
        shipments: list[Shipment],
        parcels: list[Parcel],
        found: Routing,
        backordered: bool,
        now: datetime,
    ) -> Change:
        """As many of the parcels as one transaction takes; with the last of them, a remainder is backordered."""
        writes = [write for shipment in shipments for write in self._resumed(shipment)]
        places: Counter[tuple[str, str]] = Counter()
        made: list[Shipment] = []
        for parcel in parcels:
            site = found.sites[parcel.facility]
            shipment = replace(
                planned(order, order.shipments + len(made) + 1, parcel.facility, parcel.lines, now),
                ship_by=to_text(site.ship_by),
                carrier_cutoff=to_text(site.cutoff),
            )
            more = {(sku, parcel.facility) for sku in shipment.required}
            if made and len(places.keys() | more) + len(made) > PARCEL_SKUS:
                break
            places.update({(sku, parcel.facility): units for sku, units in shipment.required.items()})
            made.append(shipment.moved_to(ShipmentStatus.ALLOCATED))
        writes += [self.shipments.create(shipment) for shipment in made]
        writes += [
            self.inventory.allocate(sku, facility, units, now) for (sku, facility), units in sorted(places.items())
        ]
        writes += self._room(made, found)
        after = order if order.status is Status.IN_FULFILLMENT else order.moved_to(Status.IN_FULFILLMENT)
        after = replace(after, shipments=order.shipments + len(made))
        data: dict[str, object] = {
            "shipments": {str(shipment.number): shipment.facility for shipment in made},
            "run": order.runs,
        }
        if found.policy.because:
            data["rules"] = list(found.policy.because)
        if len(made) == len(parcels):
            after = after.without_effect(Effect.START_FULFILLMENT)
            after = replace(after, backordered_at=(order.backordered_at or to_text(now)) if backordered else "")
            if backordered:
                data["backordered"] = True
                telemetry.count("Backorders")
        return Change(after, Event("OrderAllocated", "system", "workflow", data), writes)

    def _room(self, made: list[Shipment], found: Routing) -> list[Write]:
        """The actions that claim room for new parcels at facilities that have only so much of it."""
        claims: Counter[tuple[str, date]] = Counter()
        units: Counter[tuple[str, date]] = Counter()
        for shipment in made:
            site = found.sites[shipment.facility]
            if site.facility.limited:
                day = shipment.facility, site.facility.calendar.local_day(site.cutoff)
                claims[day] += 1
                units[day] += sum(shipment.required.values())
        return [
            claim_room(self.inventory, found.sites[code].facility, day, count, units[code, day])
            for (code, day), count in claims.items()
        ]

    def _resumed(self, shipment: Shipment) -> list[Write]:
        """The action that sends a short parcel on its way again, or ends it when nothing of it is left."""
        if shipment.status is not ShipmentStatus.SHORT:
            return []
        status = ShipmentStatus.ALLOCATED if shipment.units else ShipmentStatus.CANCELLED
        return [self.shipments.put(shipment, replace(shipment.moved_to(status), task=None))]

    def _cover(self, order: Order, now: datetime) -> Change | None:
        """Take what a very large order was promised without stock, since it does not queue; None when there is none."""
        if not order.chunks:
            return None
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
            return None
        still = {sku: units for sku, units in order.oversold.items() if sku not in covered}
        data = {"units": {sku: order.oversold[sku] for sku in sorted(covered)}}
        cause, channel = f"order:{order.order_id}", order.channel
        writes = [self.inventory.take(take, cause, now, channel=channel) for take in takes]
        return Change(replace(order, oversold=still), Event("OversoldCovered", "system", "allocate", data), writes)

    def _awaiting(self, order: Order, now: datetime) -> Change:
        event = Event("StockAwaited", "system", "allocate", {"units": dict(order.oversold)})
        return self._waiting(order, f"{AWAITS_STOCK}: {', '.join(sorted(order.oversold))}", event, now)

    def _waiting(self, order: Order, reason: str, event: Event, now: datetime) -> Change:
        telemetry.count("AllocationsHeld")
        telemetry.logger.warning("allocation_held", order_id=order.order_id, reason=reason)
        return Change(held(order, "inventory", reason, "customer service", now), event)


def _missing(order: Order, shipments: list[Shipment]) -> dict[int, int]:
    """Units by line that are owed and that no parcel carries."""
    missing = {line.number: line.open for line in order.lines}
    for shipment in shipments:
        if shipment.open:
            for number, units in shipment.lines(order).items():
                missing[number] -= units
    return {number: units for number, units in missing.items() if units > 0}


def could_go_on(inventory: DynamoInventory, order: Order, shipments: list[Shipment], now: datetime) -> bool:
    """Whether units have come for a remainder that was backordered. ``allocate`` decides; this only asks."""
    missing = _missing(order, shipments)
    lines = {line.number: line for line in order.lines}
    skus = sorted({sku for number in missing for sku in lines[number].units(1)})
    if any(inventory.level(sku).available >= units for sku, units in order.oversold.items()):
        return True
    wanted = {number: n for number, n in missing.items() if not lines[number].units(1).keys() & order.oversold.keys()}
    refused = declined_by(shipments)
    free = {code: units for code, units in free_units(inventory, skus).items() if code not in refused}
    found = RouteOrders(inventory).routing(order, free, current_rules(inventory), now)
    return bool(obtainable(lines, wanted, found.free))
