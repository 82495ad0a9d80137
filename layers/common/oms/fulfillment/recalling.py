"""Recalls: which parcels got units of a lot, and what of it is still in the house."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from oms.fulfillment.shipments import Shipment, ShipmentStatus, shipment_from_item, shipment_key
from oms.inventory.model import lot_of
from oms.inventory.store import DynamoInventory
from oms.orders.store import DynamoOrders
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Write
from oms.runtime.paging import Page

PAGE = 50


def lot_partition(sku: str, name: str) -> str:
    """The partition of a lot's parcels. ``name`` is its number, or its expiry where it has no number."""
    return f"LOT#{sku}#{name}"


def note_parcel(inventory: DynamoInventory, sku: str, name: str, shipment_id: str, now: datetime) -> Write:
    """The action that notes that units of a lot were packed into a parcel; again changes nothing. What the parcel has
    of it stands on the parcel."""
    item = {
        "pk": lot_partition(sku, name),
        "sk": shipment_id,
        "entity": "lot_parcel",
        "lot": name,
        "shipment_id": shipment_id,
        "at": to_text(now),
    }
    return inventory.table.put("lot", item, None)


def recall(orders: DynamoOrders, inventory: DynamoInventory, sku: str, name: str, cursor: str) -> dict[str, Any]:
    """Where a lot is: what lies of it in which bins, and a page of the parcels that got it, with their orders; those
    that were cancelled, or packed anew as another parcel, are left out. Raises ``InvalidRequest``."""
    page = Page.of(cursor, PAGE)
    found = inventory.table.query(lot_partition(sku, name), after=page.after, limit=PAGE + 1)
    ids, following = page.cut([(item["sk"], item["shipment_id"]) for item in found])
    items = orders.table.batch_get([shipment_key(each) for each in ids])
    parcels = sorted(map(shipment_from_item, items), key=lambda each: each.shipment_id)
    return {
        "sku": sku,
        "lot": name,
        "stock": [
            {"facility": facility, "bin": bin_code, "expires": lot_of(key)[1] or None, "units": units}
            for facility, place in sorted(inventory.locations(sku).items())
            for bin_code, lots in place.lots.items()
            for key, units in lots.items()
            if name == (lot_of(key)[0] or lot_of(key)[1])
        ],
        "shipments": [
            _view(parcel, units)
            for parcel in parcels
            if parcel.status is not ShipmentStatus.CANCELLED and (units := _of_lot(parcel, sku, name))
        ],
        "next_cursor": following,
    }


def _of_lot(parcel: Shipment, sku: str, name: str) -> int:
    return sum(each.quantity for each in parcel.captures if each.sku == sku and name == (each.lot or each.expires))


def _view(parcel: Shipment, units: int) -> dict[str, Any]:
    return {
        "order_id": parcel.order_id,
        "shipment": parcel.number,
        "status": parcel.status.value,
        "units": units,
        "shipped_at": parcel.shipped_at or None,
    }
