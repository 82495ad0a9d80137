"""Taking units out of parcels that have not left: first what no parcel carries, then out of the parcel that is least
far on its way. What was picked of them goes back to its shelf, and the other parcels go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from oms.fulfillment.putbacks import put_back
from oms.fulfillment.shipments import (
    DynamoShipments,
    Shipment,
    ShipmentStatus,
    freed_places,
    lots_given_back,
    lots_less,
    units_of,
)
from oms.inventory.store import DynamoInventory
from oms.orders.model import Order
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Table, Write

_EASIEST_FIRST = (
    ShipmentStatus.PLANNED,
    ShipmentStatus.ALLOCATED,
    ShipmentStatus.SHORT,
    ShipmentStatus.PICKING,
    ShipmentStatus.PICKED,
    ShipmentStatus.PACKED,
)


@dataclass(slots=True)
class Withdrawal:
    """What taking units out of an order's parcels means for the order, and the actions that do it."""

    shipments: int
    """How many parcels the order has had."""
    writes: list[Write] = field(default_factory=list)
    restarts: bool = False
    """A parcel ended or was replaced, so the run that knows it has to be followed by another."""
    returned: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Picked units by SKU and facility that leave packing."""
    lots: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    """Those of them whose lot is known."""
    spare_label: bool = False
    """A parcel ended that a carrier knew already."""


def withdraw(
    table: Table, inventory: DynamoInventory, order: Order, wanted: Mapping[int, int], now: datetime
) -> Withdrawal:
    """Take ``wanted`` units by line, none of them more than the line has open, out of the order's parcels.

    Everything is written under the versions that are read here: a scan, a completed task or a departure in between
    makes the transaction fail.
    """
    found = Withdrawal(order.shipments)
    shipments = [shipment for shipment in DynamoShipments(table).of(order.order_id) if shipment.open]
    shipments.sort(key=lambda shipment: (_EASIEST_FIRST.index(shipment.status), -shipment.number))
    carried = [(shipment, shipment.lines(order)) for shipment in shipments]
    left = {
        number: units - min(units, order.lines[number - 1].open - sum(lines.get(number, 0) for _, lines in carried))
        for number, units in wanted.items()
    }
    freed: Counter[tuple[str, str]] = Counter()
    for shipment, lines in carried:
        out = {number: min(units, lines.get(number, 0)) for number, units in left.items()}
        if not any(out.values()):
            continue
        kept = {number: units - out.get(number, 0) for number, units in lines.items() if units > out.get(number, 0)}
        if vendors := _with_vendor(shipment):
            kept = {}
            freed.update({(sku, shipment.facility): units for sku, units in shipment.required.items()})
        _shrink(table, order, shipment, kept, found, now)
        for number, units in out.items():
            left[number] -= units
            if vendors:
                continue
            for sku, quantity in order.lines[number - 1].units(units).items():
                freed[sku, shipment.facility] += quantity
    found.writes += [
        inventory.deallocate(
            sku, facility, units, now, picked=found.returned[sku, facility], lots=found.lots.get((sku, facility))
        )
        for (sku, facility), units in sorted((+freed).items())
    ]
    return found


def repack(table: Table, inventory: DynamoInventory, order: Order, now: datetime) -> Withdrawal:
    """Have every packed box of the order packed anew, as parcels of their own without the labels that the old ones may
    have; what vendors were asked to send to the old address is planned anew."""
    found, recalled = Withdrawal(order.shipments), list[Shipment]()
    for shipment in DynamoShipments(table).of(order.order_id):
        if shipment.open and shipment.purchase:
            _shrink(table, order, shipment, {}, found, now)
            recalled.append(shipment)
        elif shipment.status is ShipmentStatus.PACKED:
            _shrink(table, order, shipment, shipment.lines(order), found, now)
    found.writes += freed_places(inventory, recalled, now)
    return found


def _with_vendor(shipment: Shipment) -> bool:
    """Whether only a vendor could open the box: what would stay in it is planned anew."""
    return shipment.purchase is not None and shipment.status is ShipmentStatus.PACKED


def _shrink(
    table: Table, order: Order, shipment: Shipment, kept: Mapping[int, int], found: Withdrawal, now: datetime
) -> None:
    smaller = replace(shipment, units=units_of(order, kept))
    required = smaller.required
    back = {sku: seen - min(seen, required.get(sku, 0)) for sku, seen in shipment.picked.items()}
    found.returned.update({(sku, shipment.facility): units for sku, units in back.items()})
    lots = lots_given_back(shipment, back)
    for sku, by_lot in lots.items():
        found.lots.setdefault((sku, shipment.facility), Counter()).update(by_lot)
    found.writes += put_back(table, shipment, back, now, lots)
    parcels = DynamoShipments(table)
    smaller = replace(
        smaller,
        picked=_at_most(shipment.picked, required),
        packed=_at_most(shipment.packed, required),
        lots=lots_less(shipment, lots),
    )
    if kept and shipment.status is not ShipmentStatus.PACKED:
        found.writes.append(parcels.put(shipment, smaller))
        return
    ended = replace(shipment.moved_to(ShipmentStatus.CANCELLED), task=None, cancelled_at=to_text(now))
    found.writes.append(parcels.put(shipment, ended))
    found.restarts = True
    found.spare_label = found.spare_label or bool(shipment.carrier_shipment_id)
    if kept:
        # A packed box is opened: what stays is packed anew as a parcel of its own, under whose number no label was
        # ever bought, whatever the step that ships the old one is doing just now.
        found.shipments += 1
        again = replace(
            smaller,
            number=found.shipments,
            status=ShipmentStatus.PICKED,
            packed={},
            task=None,
            scans=(),
            captures=(),
            carrier_shipment_id="",
            ready_at="",
            created_at=to_text(now),
            version=1,
        )
        found.writes.append(parcels.create(again))


def _at_most(seen: Mapping[str, int], required: Mapping[str, int]) -> dict[str, int]:
    return {sku: min(units, required[sku]) for sku, units in seen.items() if required.get(sku)}
