"""The steps of the workflow: allocate, offer_pick, offer_pack, ship, and park when one of them failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oms.bootstrap import app
from oms.fulfillment.allocation import AllocateOrders
from oms.fulfillment.dispatch import ShipParcels
from oms.fulfillment.dropship import DropShip
from oms.fulfillment.offering import OfferTasks
from oms.fulfillment.pausing import PauseFulfillment
from oms.fulfillment.resourcing import ResourceParcels
from oms.runtime.telemetry import entry_point

Event = dict[str, Any]


def allocate(event: Event) -> Event:
    """Set the order's units aside; the answer lists its parcels."""
    parts = app()
    shipments = AllocateOrders(parts.orders, parts.inventory, parts.clock).allocate(event["order_id"], event["run"])
    return {"order_id": event["order_id"], "shipments": shipments}


def offer_pick(event: Event) -> Event:
    """Put a pick into the queue of work under the step's token, unless the facility has closed meanwhile; where a
    vendor sends the parcel, ask the vendor instead."""
    parts = app()
    ResourceParcels(parts.orders, parts.inventory, parts.clock).require_open(event["shipment"])
    vendors = DropShip(parts.orders, parts.inventory, parts.clock)
    if vendors.sends(event["shipment"]):
        vendors.ask(event["shipment"], event["task_token"], event["run"])
        return {"shipment": event["shipment"]}
    return _offer(event, "pick")


def offer_pack(event: Event) -> Event:
    """Put a pack into the queue of work under the step's token."""
    return _offer(event, "pack")


def _offer(event: Event, kind: str) -> Event:
    parts = app()
    OfferTasks(parts.orders, parts.clock).offer(event["shipment"], kind, event["task_token"], event["run"])
    return {"shipment": event["shipment"]}


def ship(event: Event) -> Event:
    """Label the parcel and let it leave."""
    parts = app()
    shipping = ShipParcels(
        parts.orders, parts.inventory, parts.clock, lambda: parts.carrier, parts.capturing.for_parcel
    )
    return {"shipment": shipping.ship(event["shipment"], event["run"]).shipment_id}


def park(event: Event) -> Event:
    """Leave the order so that it is seen, and so that a later run can go on."""
    _pausing().park(event["order_id"], event["run"], event["error"], event.get("shipment", ""))
    return {"order_id": event["order_id"]}


def _pausing() -> PauseFulfillment:
    return PauseFulfillment(app().orders, app().clock)


STEPS: dict[str, Callable[[Event], Event]] = {
    "allocate": allocate,
    "offer_pick": offer_pick,
    "offer_pack": offer_pack,
    "ship": ship,
    "park": park,
}


@entry_point
def handler(event: Event, context: Any) -> Event:
    """Lambda entry; errors reach the state machine by their class's name."""
    with _pausing().parking(event["order_id"], event["run"], event.get("shipment", "")):
        return STEPS[event["step"]](event)
