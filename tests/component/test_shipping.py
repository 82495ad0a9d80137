"""Parcels on their way: what carriers tell of them, late, twice and out of order, and who hears of trouble."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.fulfillment import track_parcels
from functions.inventory_sync import confirm_shipment
from local.simulators.core import Delivery, Request
from oms.orders.model import Order
from tests.support.floor import Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop, checkout


@pytest.fixture
def floor(shop: Shop) -> Floor:
    return Floor(shop)


def shipped(floor: Floor, *lines: tuple[str, int], key: str = "checkout-0001", **changes: object) -> Answer:
    """An order whose parcel has left."""
    shop = floor.shop
    placed = shop.place(checkout(*lines, **changes), key=key)
    assert placed.status == 201, placed
    shop.pay(placed)
    shop.deliver_all()
    floor.do_all()
    shop.deliveries.clear()
    return placed


def carrier(shop: Shop, path: str, **told: Any) -> None:
    answer = shop.easypost.handle(Request.to("POST", f"/_sim/{path}", {}, json.dumps(told).encode()))
    assert answer.status == 200, answer


def seen(floor: Floor, order: Answer, status: str, **more: str) -> list[Delivery]:
    """The carrier scans the order's parcel some minutes later; the webhooks that leave for us."""
    shop = floor.shop
    shop.later(minutes=30)
    (parcel,) = shop.read(order)["shipments"]
    carrier(shop, "track", tracking_code=parcel["tracking_number"], status=status, **more)
    sent, shop.deliveries[:] = list(shop.deliveries), []
    return sent


def parcel_of(floor: Floor, order: Answer) -> Any:
    (parcel,) = floor.shop.read(order)["shipments"]
    return parcel


def exceptions(floor: Floor) -> list[Any]:
    answer = floor.shop.call("customer_service.api", "GET /parcels/exceptions", staff=STAFF_CLAIMS)
    assert answer.status == 200, answer
    found: list[Any] = answer.body["parcels"]
    return found


def events(floor: Floor, order: Answer) -> list[str]:
    return [event["type"] for event in floor.shop.app.orders.verified_history(order.body["order_id"])]


def stored(floor: Floor, order: Answer) -> Order:
    return floor.shop.app.orders.require(order.body["order_id"])


def test_a_parcel_is_followed_to_its_door_however_the_carrier_s_words_arrive(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = shipped(floor)
    first = seen(floor, order, "in_transit")
    second = seen(floor, order, "out_for_delivery")
    third = seen(floor, order, "delivered")
    for delivery in (*second, *second, *first, *third, *second, *third):
        assert floor.shop.deliver(delivery).status == 200
    assert parcel_of(floor, order)["status"] == "delivered"
    assert parcel_of(floor, order)["tracking"] == {"status": "delivered", "at": "2026-11-23T10:30:00.000Z"}
    assert floor.shop.read(order)["delivered_at"] == "2026-11-23T10:30:00.000Z"
    assert events(floor, order).count("ShipmentDelivered") == 1
    kept = floor.shop.app.orders.parts(order.body["order_id"], "SIGHTING#")
    assert [item["status"] for item in kept] == ["in_transit", "out_for_delivery", "delivered"]
    assert json.loads(kept[0]["raw"])["result"]["status"] == "in_transit"


def test_a_webhook_that_the_carrier_did_not_sign_is_refused_and_changes_nothing(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = shipped(floor)
    (delivery,) = seen(floor, order, "delivered")
    for forged in (
        Delivery(delivery.url, {**delivery.headers, "x-hmac-signature": "hmac-sha256-hex=00"}, delivery.body),
        Delivery(delivery.url, {"content-type": "application/json"}, delivery.body),
        Delivery(delivery.url, delivery.headers, delivery.body.replace(b"delivered", b"in_transit")),
    ):
        answer = floor.shop.deliver(forged)
        assert (answer.status, answer.body["code"]) == (400, "webhook_refused")
    assert parcel_of(floor, order)["tracking"] is None


def test_trouble_on_the_way_is_put_before_a_person_and_ends_when_the_parcel_moves(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = shipped(floor)
    for delivery in seen(floor, order, "failure"):
        floor.shop.deliver(delivery)
    (trouble,) = exceptions(floor)
    assert (trouble["kind"], trouble["owner"]) == ("exception", "customer service")
    floor.shop.later(days=1, minutes=1)
    assert track_parcels.handler({}, Context())["overdue"] == 1
    assert track_parcels.handler({}, Context())["overdue"] == 0
    for delivery in seen(floor, order, "in_transit"):
        floor.shop.deliver(delivery)
    assert exceptions(floor) == []
    assert parcel_of(floor, order)["tracking"]["status"] == "in_transit"


def test_a_returned_parcel_waits_for_after_sales_until_somebody_closes_it(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = shipped(floor)
    for delivery in seen(floor, order, "return_to_sender") * 2:
        floor.shop.deliver(delivery)
    (back,) = floor.shop.app.returns.of(order.body["order_id"])
    assert (back.status.value, back.facility, back.label_paid_by) == ("in_transit", "main", "merchant")
    assert [(line.line, line.quantity, line.reason) for line in back.lines] == [(1, 2, "undeliverable")]
    assert parcel_of(floor, order)["status"] == "returned"
    assert floor.shop.read(order)["delivered_at"] is None
    (trouble,) = exceptions(floor)
    assert (trouble["kind"], trouble["owner"]) == ("returned", "returns")
    closed = floor.shop.call(
        "customer_service.api",
        "DELETE /parcels/{id}/exception",
        {"reason": "received at the dock"},
        path={"id": trouble["shipment_id"]},
        staff=STAFF_CLAIMS,
    )
    assert closed.body["closed_at"]
    assert exceptions(floor) == []
    assert events(floor, order)[-2:] == ["ShipmentReturned", "ParcelExceptionClosed"]


def test_what_a_lost_webhook_would_have_told_is_asked_for(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = shipped(floor)
    assert seen(floor, order, "delivered")
    assert track_parcels.handler({}, Context()) == {"overdue": 0, "asked": 0, "news": 0}
    floor.shop.later(hours=12)
    assert track_parcels.handler({}, Context()) == {"overdue": 0, "asked": 1, "news": 1}
    assert parcel_of(floor, order)["status"] == "delivered"
    floor.shop.later(days=1)
    assert track_parcels.handler({}, Context())["asked"] == 0


def test_a_parcel_that_nobody_scans_is_looked_for(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    shipped(floor)
    floor.shop.later(days=8)
    floor.carrier_fails(down=True)
    assert track_parcels.handler({}, Context()) == {"overdue": 0}
    floor.carrier_fails(down=False)
    assert track_parcels.handler({}, Context())["asked"] == 1
    (trouble,) = exceptions(floor)
    assert trouble["kind"] == "silent"


# ---- papers ----------------------------------------------------------------------------------------------------------


def api(floor: Floor, route: str, body: Any = None, **path: str) -> Answer:
    return floor.shop.call("fulfillment.shipping_api", route, body, path=path, staff=STAFF_CLAIMS)


def test_a_day_ends_with_a_manifest_of_what_left_and_the_names_of_what_is_late(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    for number in (1, 2):
        shipped(floor, key=f"checkout-000{number}")
    placed = floor.shop.place(checkout(), key="checkout-0003")
    floor.shop.pay(placed)
    floor.shop.deliver_all()
    floor.settle()
    floor.shop.later(days=1)
    floor.carrier_fails({"status": 500, "after_effect": True, "path": "/scan_forms"})
    assert api(floor, "POST /facilities/{facility}/close", facility="main").status == 503
    closed = api(floor, "POST /facilities/{facility}/close", facility="main")
    assert closed.status == 200, closed
    (manifest,) = closed.body["manifests"]
    assert (manifest["carrier"], manifest["parcels"]) == ("USPS", 2)
    assert [each["shipment_id"] for each in closed.body["late"]] == [f"{placed.body['order_id']}.1"]
    again = api(floor, "POST /facilities/{facility}/close", facility="main")
    assert again.body["manifests"] == []
    listed = api(floor, "GET /facilities/{facility}/manifests", facility="main")
    assert listed.body["manifests"] == [manifest]


def test_a_parcel_that_the_carrier_refuses_leaves_with_a_label_by_hand_and_the_spare_one_goes_back(
    floor: Floor,
) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 10)
    placed = shop.place(checkout())
    shop.pay(placed)
    shop.deliver_all()
    floor.settle()
    # The carrier sells a label and its answer says no: the order is held, and a label may be out there.
    floor.carrier_fails({"status": 422, "after_effect": True, "path": "/buy"})
    floor.do_all()
    assert floor.order(placed).holds.keys() == {"address"}
    assert floor.label_count() == 1
    parcel = f"{placed.body['order_id']}.1"
    told = {"carrier": "Bike Courier", "tracking_number": "BC-2026-17"}
    assert api(floor, "PUT /parcels/{id}/label", told, id=parcel).status == 200
    assert api(floor, "PUT /parcels/{id}/label", told, id=parcel).status == 200
    floor.do_all()
    (seen,) = shop.read(placed)["shipments"]
    assert (seen["status"], seen["carrier"], seen["tracking_number"]) == ("shipped", "Bike Courier", "BC-2026-17")
    record = {"messageId": "m1", "body": json.dumps({"order_id": placed.body["order_id"]})}
    assert confirm_shipment.handler({"Records": [record]}, Context()) == {"batchItemFailures": []}
    assert floor.label_count() == 0
    late = api(floor, "PUT /parcels/{id}/label", {**told, "tracking_number": "BC-2026-18"}, id=parcel)
    assert late.status == 409
