"""Vendors who send for us: asked, confirmed with tracking, declined, or silent for too long."""

from __future__ import annotations

from typing import Any

import pytest

from oms.fulfillment.facilities import Facility, save_facility
from tests.component.test_fulfillment import paid
from tests.component.test_routing import call, stock
from tests.support.floor import ORIGIN, Floor
from tests.support.shop import Answer, Shop

LABEL = {"carrier": "UPS", "service": "Ground", "tracking_number": "1Z999AA10123456784"}


@pytest.fixture
def floor(shop: Shop) -> Floor:
    """A vendor who has all there is."""
    floor = Floor(shop)
    save_facility(shop.app.inventory, Facility("maker", ORIGIN, kind="vendor"), shop.now)
    stock(floor, "SHIRT", maker=5)
    return floor


def requests(floor: Floor) -> list[Any]:
    found: list[Any] = call(floor, "GET /vendors/{facility}/requests", facility="maker").body["requests"]
    return found


def answer(floor: Floor, what: str, order: Answer, body: Any) -> Answer:
    given = call(floor, f"POST /vendors/requests/{{id}}/{what}", body, id=f"{order.body['order_id']}.1")
    floor.settle()
    return given


def events(floor: Floor, order: Answer) -> list[str]:
    return [event["type"] for event in floor.shop.app.orders.verified_history(order.body["order_id"])]


def test_a_vendor_is_asked_and_the_parcel_leaves_with_the_vendor_s_tracking(floor: Floor) -> None:
    order = paid(floor)
    assert floor.work(facility="maker")["tasks"] == [], "nobody picks it on a floor of ours"
    (asked,) = requests(floor)
    assert (asked["state"], asked["deadline"]) == ("asked", "2026-11-24T09:00:00.000Z")
    assert events(floor, order).count("PurchaseRequested") == 1
    done = answer(floor, "confirm", order, LABEL)
    assert (done.status, done.body["state"]) == (200, "confirmed"), done
    assert answer(floor, "confirm", order, LABEL).status == 200, "again is harmless"
    other = answer(floor, "confirm", order, {**LABEL, "tracking_number": "another one"})
    assert (other.status, other.body["code"]) == (409, "not_asked")
    seen = floor.shop.read(order)
    assert (seen["status"], seen["shipments"][0]["tracking_number"]) == ("completed", LABEL["tracking_number"])
    assert (floor.place(facility="maker"), floor.label_count(), requests(floor)) == ((3, 0), 0, [])
    assert floor.shop.identity_holds("SHIRT")


def test_a_declined_parcel_is_planned_elsewhere_and_the_vendor_is_not_asked_again(floor: Floor) -> None:
    order = paid(floor)
    stock(floor, "SHIRT", main=5)
    assert answer(floor, "decline", order, {"reason": "out of stock"}).body["state"] == "declined"
    assert answer(floor, "decline", order, {"reason": "out of stock"}).status == 200, "again is harmless"
    assert (requests(floor), floor.place(facility="maker")) == ([], (5, 0))
    floor.do_all()
    seen = floor.shop.read(order)
    assert [each["facility"] for each in seen["shipments"] if each["status"] == "shipped"] == ["main"]
    assert seen["status"] == "completed"
    assert answer(floor, "confirm", order, LABEL).body["code"] == "not_asked"


def test_a_vendor_who_says_nothing_in_time_is_passed_over(floor: Floor) -> None:
    order = paid(floor)
    stock(floor, "SHIRT", main=5)
    floor.shop.later(hours=24, minutes=1)
    (waiting,) = [each for each in floor.workflows.executions.values() if each.status == "RUNNING"]
    floor.workflows.time_out(next(iter(waiting.waits)))
    floor.settle()
    assert events(floor, order).count("PurchaseDeclined") == 1
    floor.do_all()
    assert floor.shop.read(order)["status"] == "completed"
    assert floor.place(facility="maker") == (5, 0)


def test_a_cancelled_order_asks_nobody_any_more(floor: Floor) -> None:
    order = paid(floor)
    assert floor.shop.cancel(order).status == 200
    floor.settle()
    assert requests(floor) == []
    assert answer(floor, "confirm", order, LABEL).body["code"] == "not_asked"
    assert floor.place(facility="maker") == (5, 0)
