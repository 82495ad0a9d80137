"""Put-backs: units that somebody had picked for a parcel and that belong on their shelf again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from oms.fulfillment.facilities import bins
from oms.fulfillment.shipments import Shipment
from oms.inventory.store import DynamoInventory
from oms.orders.store import order_key
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Item, Table, Write
from oms.runtime.paging import Page

QUEUE = "putback"
PAGE = 25


def put_back(table: Table, shipment: Shipment, units: Mapping[str, int], now: datetime) -> list[Write]:
    """The action that asks the warehouse to put ``units`` by SKU back; none when nothing was picked.

    ``shipment`` is the parcel as it was read: its version makes the put-back one of its own.
    """
    picked = {sku: quantity for sku, quantity in sorted(units.items()) if quantity > 0}
    if not picked:
        return []
    number = f"{shipment.number:03d}.{shipment.version}"
    item = {
        "pk": order_key(shipment.order_id),
        "sk": f"PUTBACK#{number}",
        "entity": "putback",
        "putback_id": f"{shipment.order_id}.{number}",
        "facility": shipment.facility,
        "shipment": shipment.number,
        "units": picked,
        "asked_at": to_text(now),
        "work_queue": f"{shipment.facility}#{QUEUE}",
        "work_rank": f"{to_text(now)}#{shipment.shipment_id}",
    }
    return [table.put("putback", item)]


def open_put_backs(table: Table, inventory: DynamoInventory, facility: str, cursor: str) -> dict[str, Any]:
    """A page of what a facility has to put back, the oldest first, with the bins. Raises ``InvalidRequest``."""
    page = Page.of(cursor, PAGE)
    found = table.query_index(
        "work",
        "work_queue = :queue AND work_rank > :after",
        {":queue": f"{facility}#{QUEUE}", ":after": page.after or " "},
        limit=PAGE + 1,
    )
    keys, following = page.cut([(item["work_rank"], (item["pk"], item["sk"])) for item in found])
    items = {(item["pk"], item["sk"]): item for item in table.batch_get(keys)}
    current = [items[key] for key in keys if key in items and "work_queue" in items[key]]
    places = bins(inventory, facility, sorted({sku for item in current for sku in item["units"]}))
    return {
        "facility": facility,
        "putbacks": [_view(item, places) for item in current],
        "next_cursor": following,
    }


def put_back_done(table: Table, inventory: DynamoInventory, putback_id: str, actor: str, now: datetime) -> Item:
    """Somebody has put the units back; again is harmless. Raises ``NotFound``."""
    order_id, _, number = putback_id.partition(".")
    key = (order_key(order_id), f"PUTBACK#{number}")
    table.write_one(
        table.update(
            "putback",
            key,
            "SET done_at = :now, done_by = :who REMOVE work_queue, work_rank",
            "attribute_exists(work_queue)",
            values={":now": to_text(now), ":who": actor},
        )
    )
    item = table.get(*key)
    if item is None:
        raise errors.NotFound("There is no such put-back.")
    return _view(item, bins(inventory, item["facility"], sorted(item["units"])))


def _view(item: Item, places: Mapping[str, str]) -> dict[str, Any]:
    return {
        "putback_id": item["putback_id"],
        "facility": item["facility"],
        "order_id": item["pk"].removeprefix("ORDER#"),
        "shipment": item["shipment"],
        "units": [{"sku": sku, "quantity": units, "bin": places.get(sku)} for sku, units in item["units"].items()],
        "asked_at": item["asked_at"],
        "done_at": item.get("done_at"),
    }
