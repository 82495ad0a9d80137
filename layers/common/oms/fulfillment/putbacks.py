"""Put-backs: units that somebody had picked for a parcel and that belong on their shelf again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from oms.fulfillment.facilities import bins
from oms.fulfillment.lots import lot_view
from oms.fulfillment.shipments import Shipment
from oms.fulfillment.walks import floor_key
from oms.inventory.model import DOCK, Movement, Product
from oms.inventory.movements import effect_of, writes_of
from oms.inventory.store import DynamoInventory
from oms.orders.store import order_key
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Table, Write
from oms.runtime.http import field_problem
from oms.runtime.paging import Page

QUEUE = "putback"
PAGE = 25
_ATTEMPTS = 12
_WALK = "walk"


def put_back(
    table: Table,
    shipment: Shipment,
    units: Mapping[str, int],
    now: datetime,
    lots: Mapping[str, Mapping[str, int]] | None = None,
) -> list[Write]:
    """The action that asks the warehouse to put ``units`` by SKU back, of these ``lots`` by SKU; none when nothing was
    picked.

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
        **({"lots": {sku: dict(by_lot) for sku, by_lot in lots.items()}} if lots else {}),
        "asked_at": to_text(now),
        "work_queue": f"{shipment.facility}#{QUEUE}",
        "work_rank": f"{to_text(now)}#{shipment.shipment_id}",
    }
    return [table.put("putback", item)]


def put_back_of_walk(table: Table, walk_id: str, facility: str, units: Mapping[str, int], now: datetime) -> list[Write]:
    """The action that asks for what is left on a walk's cart to be put back; none when nothing is. The books have
    these units in their bins all along."""
    if not units:
        return []
    key = _key(f"{_WALK}.{walk_id}")
    item = {
        "pk": key[0],
        "sk": key[1],
        "entity": "putback",
        "putback_id": f"{_WALK}.{walk_id}",
        "facility": facility,
        "walk_id": walk_id,
        "units": dict(sorted(units.items())),
        "asked_at": to_text(now),
        "work_queue": f"{facility}#{QUEUE}",
        "work_rank": f"{to_text(now)}#{walk_id}",
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


def put_back_done(
    table: Table, inventory: DynamoInventory, putback_id: str, into: Mapping[str, str], actor: str, now: datetime
) -> dict[str, Any]:
    """Somebody has put the units back: they move off the dock with it, each SKU into the bin named in ``into``, else
    into the one that the list showed; a SKU without either stays on the dock.

    What a walk left over never left its bins on the books: it goes back there, and nothing moves. Again is harmless
    and answers as the first time. Raises ``NotFound``, and ``InvalidRequest`` for a SKU that is not part of it, or
    another bin for what a walk left over.
    """
    key = _key(putback_id)
    for attempt in range(_ATTEMPTS):
        item = table.get(*key)
        if item is None:
            raise errors.NotFound("There is no such put-back.")
        if strangers := sorted(into.keys() - item["units"].keys()):
            raise field_problem([("units", f"{sku} is not part of this put-back") for sku in strangers])
        if into and "walk_id" in item:
            raise field_problem([("units", "what a walk left over goes back to the bins that it came from")])
        if "work_queue" not in item:
            return _view(item, item["bins"])
        places = {**bins(inventory, item["facility"], sorted(item["units"])), **into}
        done = table.update(
            "putback",
            key,
            "SET done_at = :now, done_by = :who, bins = :bins REMOVE work_queue, work_rank",
            "attribute_exists(work_queue)",
            values={":now": to_text(now), ":who": actor, ":bins": places},
        )
        try:
            moves = [] if "walk_id" in item else _put_away(inventory, item, places, actor, now)
            table.transact([done, *moves])
        except ConditionsFailed:
            table.back_off(attempt)
    raise Contention(f"put-back {putback_id}")


def _put_away(
    inventory: DynamoInventory, item: Item, places: Mapping[str, str], actor: str, now: datetime
) -> list[Write]:
    """The movements from the dock into the bins. Units that a picker took from the dock meanwhile are on the shelf no
    more than on the dock: they are left out."""
    facility, writes = item["facility"], list[Write]()
    for sku, stands in sorted(inventory.locations_at(facility, places).items()):
        known, there = item.get("lots", {}).get(sku, {}), stands.lots.get(DOCK, {})
        lots = {key: min(count, there[key]) for key, count in known.items() if there.get(key)}
        units = min(item["units"][sku] - sum(known.values()), stands.of_no_lot(DOCK)) + sum(lots.values())
        if not units or places[sku] == DOCK:
            continue
        movement = Movement(
            kind="put_away",
            sku=sku,
            quantity=units,
            facility=facility,
            bin=DOCK,
            to_bin=places[sku],
            reason="put back",
            actor=actor,
            key=f"putback:{item['putback_id']}:{sku}",
            at=now,
            cause=f"order:{item['pk'].removeprefix('ORDER#')}",
            lots=lots,
        )
        writes += writes_of(inventory, Product(sku, "", 0, ""), movement, effect_of(movement, stands))
    return writes


def _key(putback_id: str) -> tuple[str, str]:
    owner, _, number = putback_id.partition(".")
    return (floor_key(number.partition(".")[0]) if owner == _WALK else order_key(owner)), f"PUTBACK#{number}"


def _view(item: Item, places: Mapping[str, str]) -> dict[str, Any]:
    return {
        "putback_id": item["putback_id"],
        "facility": item["facility"],
        "order_id": None if "walk_id" in item else item["pk"].removeprefix("ORDER#"),
        "shipment": item.get("shipment"),
        "walk_id": item.get("walk_id"),
        "units": [
            {"sku": sku, "quantity": units, "bin": places.get(sku), **_lots(item.get("lots", {}).get(sku, {}))}
            for sku, units in item["units"].items()
        ],
        "asked_at": item["asked_at"],
        "done_at": item.get("done_at"),
    }


def _lots(units: Mapping[str, int]) -> dict[str, Any]:
    """Units by lot, where any is known."""
    told = [{**lot_view(key), "quantity": count} for key, count in sorted(units.items())]
    return {"lots": told} if told else {}
