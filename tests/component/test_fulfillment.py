"""From a paid order to its tracking number, through the real handlers and the workflow's own definition."""

from __future__ import annotations

import pytest

from tests.support.floor import Floor
from tests.support.shop import Answer, Shop, checkout


@pytest.fixture
def floor(shop: Shop) -> Floor:
    return Floor(shop)


def paid(floor: Floor, *lines: tuple[str, int], key: str = "checkout-0001", **changes: object) -> Answer:
    """A paid order whose workflow has run as far as it can."""
    shop = floor.shop
    placed = shop.place(checkout(*lines, **changes), key=key)
    assert placed.status == 201, placed
    shop.pay(placed)
    shop.deliver_all()
    floor.settle()
    return placed


def test_a_paid_order_is_picked_packed_shipped_and_shows_tracking(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 10, barcodes=("4006381333931",))
    order = paid(floor)
    assert shop.read(order)["status"] == "in_fulfillment"
    (task,) = floor.work("pick")["tasks"]
    assert task["units"][0]["bin"] == "A-01"
    assert task["units"][0]["barcodes"] == ["4006381333931"]
    assert shop.app.inventory.locations("SHIRT")["main"].allocated == 2

    floor.do_all()

    seen = shop.read(order)
    assert seen["status"] == "completed"
    (shipment,) = seen["shipments"]
    assert shipment["status"] == "shipped"
    assert shipment["tracking_number"]
    place = shop.app.inventory.locations("SHIRT")["main"]
    assert (place.on_hand, place.allocated) == (8, 0)
    assert shop.identity_holds("SHIRT")
    assert floor.workflows.states == ["Allocate", "Parcels", "Pick", "Pack", "Ship"]
    events = [event["type"] for event in shop.app.orders.verified_history(order.body["order_id"])]
    assert events[-5:] == ["OrderAllocated", "PickingStarted", "ShipmentPicked", "ShipmentPacked", "ShipmentShipped"]
