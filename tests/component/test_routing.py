"""Where orders leave from: rules, calendars, capacity, what waits for stock, and what a closed facility gives away."""

from __future__ import annotations

from typing import Any

import pytest

from oms.fulfillment.calendars import Calendar
from oms.fulfillment.facilities import Facility, save_facility
from oms.inventory.model import Movement
from tests.support.floor import ORIGIN, Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Shop, checkout

API = "fulfillment.shipping_api"
ADDRESS = {
    "name": "Store",
    "line1": "5 Front Street",
    "city": "Portland",
    "region": "OR",
    "postal_code": "97204",
    "country": "US",
}


@pytest.fixture
def floor(shop: Shop) -> Floor:
    return Floor(shop)


def site(floor: Floor, code: str, **more: Any) -> None:
    save_facility(floor.shop.app.inventory, Facility(code, ORIGIN, **more), floor.shop.now)


def stock(floor: Floor, sku: str, **places: int) -> None:
    """A product with so many units at each facility."""
    floor.shop.stock_up(sku, 0)
    for facility, units in places.items():
        receive(floor, sku, facility, units)


def receive(floor: Floor, sku: str, facility: str, units: int) -> None:
    shop = floor.shop
    key = f"receive-{sku}-{facility}-{shop.now}"
    shop.app.inventory.move(Movement("receive", sku, units, facility, "A-01", "delivery", "staff:kim", key, shop.now))


def paid(floor: Floor, *lines: tuple[str, int], key: str = "checkout-0001", **changes: object) -> Answer:
    placed = floor.shop.place(checkout(*lines, **changes), key=key)
    assert placed.status == 201, placed
    floor.shop.pay(placed)
    floor.shop.deliver_all()
    floor.settle()
    return placed


def parcels(floor: Floor, order: Answer) -> list[tuple[str, str]]:
    return [(one["facility"], one["status"]) for one in floor.shop.read(order)["shipments"]]


def call(floor: Floor, route: str, body: Any = None, **path: str) -> Answer:
    return floor.shop.call(API, route, body, path=path, staff=STAFF_CLAIMS)


def rules(floor: Floor, *told: dict[str, Any], version: int = 0) -> Answer:
    return call(floor, "PUT /routing/rules", {"version": version, "rules": list(told)})


def test_a_facility_is_entered_read_and_listed_and_its_parcels_know_when_to_leave(floor: Floor) -> None:
    told = {
        "address": ADDRESS,
        "kind": "store",
        "time_zone": "America/Los_Angeles",
        "opening": {day: {"opens": "09:00", "closes": "18:00"} for day in ("mon", "tue", "wed", "thu", "fri")},
        "holidays": ["2026-11-26"],
        "cut_offs": {"*": "16:00"},
        "handling_days": {"standard": 3},
        "coordinates": [45.5, -122.6],
    }
    put = call(floor, "PUT /facilities/{facility}", told, facility="store-5")
    assert put.status == 200, put
    assert call(floor, "GET /facilities/{facility}", facility="store-5").body == put.body
    listed = call(floor, "GET /facilities").body["facilities"]
    assert [each["facility"] for each in listed] == ["main", "store-5"]
    assert call(floor, "GET /facilities/{facility}", facility="nowhere").status == 404
    stock(floor, "SHIRT", **{"store-5": 5})
    order = paid(floor)
    (parcel,) = floor.shop.read(order)["shipments"]
    # Monday, 9:00 UTC; Thursday is a holiday, so the third working day after today is Friday.
    assert parcel["carrier_cutoff"] == "2026-11-24T00:00:00.000Z"
    assert parcel["ship_by"] == "2026-11-28T00:00:00.000Z"


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_zone": "Mars/Olympus"},
        {"holidays": ["26.11.2026"]},
        {"opening": {"mon": {"opens": "18:00", "closes": "09:00"}}},
        {"cut_offs": {"*": "25:00"}},
        {"kind": "shed"},
    ],
    ids=["zone", "holiday", "hours", "cut-off", "kind"],
)
def test_a_facility_that_makes_no_sense_is_refused(floor: Floor, wrong: dict[str, Any]) -> None:
    answer = call(floor, "PUT /facilities/{facility}", {"address": ADDRESS, **wrong}, facility="store-5")
    assert answer.status == 422


def test_rules_prefer_and_exclude_and_say_so_and_an_older_version_does_not_overwrite_them(floor: Floor) -> None:
    site(floor, "east")
    stock(floor, "SHIRT", main=9, east=5)
    assert (
        rules(floor, {"name": "domestic from the east", "when": {"countries": ["US"]}, "prefer": ["east"]}).status
        == 200
    )
    order = paid(floor)
    assert parcels(floor, order) == [("east", "allocated")]
    event = next(
        e for e in floor.shop.app.orders.verified_history(order.body["order_id"]) if e["type"] == "OrderAllocated"
    )
    assert event["data"]["rules"] == ["domestic from the east"]
    assert rules(floor, {"name": "late"}).status == 409
    assert rules(floor, {"name": "not the east", "exclude": ["east"]}, version=1).body["version"] == 2
    assert parcels(floor, paid(floor, key="checkout-0002")) == [("main", "allocated")]


def test_a_dry_run_says_what_rules_would_do_and_changes_nothing(floor: Floor) -> None:
    site(floor, "east")
    stock(floor, "SHIRT", main=9, east=5)
    order = paid(floor)
    tried = call(floor, "POST /routing/dry-runs", {"rules": [{"name": "east", "prefer": ["east"]}], "last": 10})
    assert tried.status == 200, tried
    assert tried.body["changed"] == 1
    (told,) = tried.body["orders"]
    assert (told["before"], told["after"], told["rules"]) == (["main"], ["east"], ["east"])
    refused = call(floor, "POST /routing/dry-runs", {"rules": [{"name": "nobody", "exclude": ["warehouse"]}]})
    assert refused.body["waiting"] == 1
    assert parcels(floor, order) == [("main", "allocated")]
    assert call(floor, "GET /routing/rules").body["rules"] == []


def test_a_full_day_sends_the_next_order_elsewhere_and_then_to_the_next_day(floor: Floor) -> None:
    weekdays = Calendar()
    site(floor, "main", daily_orders=1, calendar=weekdays)
    site(floor, "east")
    stock(floor, "SHIRT", main=9, east=2)
    orders = [paid(floor, key=f"checkout-000{number}") for number in (1, 2, 3)]
    sent = [floor.shop.read(order)["shipments"][0] for order in orders]
    assert [each["facility"] for each in sent] == ["main", "east", "main"]
    assert [each["ship_by"][:10] for each in sent] == ["2026-11-23", "2026-11-23", "2026-11-24"]


def test_what_is_there_leaves_and_the_rest_follows_when_stock_comes(floor: Floor) -> None:
    stock(floor, "SHIRT", main=5)
    stock(floor, "MUG", main=0, store=3)
    site(floor, "store", ships=False)
    order = paid(floor, ("SHIRT", 1), ("MUG", 1))
    assert floor.shop.read(order)["backordered_at"]
    floor.do_all()
    assert parcels(floor, order) == [("main", "shipped")]
    assert floor.shop.read(order)["status"] == "in_fulfillment"
    floor.shop.later(hours=1, minutes=1)
    floor.shop.sweep()
    floor.settle()
    assert parcels(floor, order) == [("main", "shipped")]
    receive(floor, "MUG", "main", 1)
    floor.shop.later(hours=1, minutes=1)
    floor.shop.sweep()
    floor.do_all()
    seen = floor.shop.read(order)
    assert (seen["status"], seen["backordered_at"]) == ("completed", None)
    assert floor.shop.identity_holds("SHIRT", "MUG")


def test_a_remainder_that_waits_too_long_is_put_before_a_person(floor: Floor) -> None:
    stock(floor, "SHIRT", main=5)
    stock(floor, "MUG", store=3)
    site(floor, "store", ships=False)
    order = paid(floor, ("SHIRT", 1), ("MUG", 1))
    floor.do_all()
    floor.shop.later(days=2, minutes=1)
    floor.shop.sweep()
    floor.settle()
    assert floor.order(order).holds.keys() == {"inventory"}


def test_an_order_that_must_not_be_split_waits_as_a_whole(floor: Floor) -> None:
    stock(floor, "SHIRT", main=5)
    stock(floor, "MUG", store=3)
    site(floor, "store", ships=False)
    rules(floor, {"name": "gifts together", "when": {"channels": ["web"]}, "whole": True})
    order = paid(floor, ("SHIRT", 1), ("MUG", 1))
    assert parcels(floor, order) == []
    assert floor.order(order).holds.keys() == {"inventory"}


def test_more_parcels_than_the_rules_allow_need_a_person(floor: Floor) -> None:
    site(floor, "east")
    stock(floor, "SHIRT", main=5)
    stock(floor, "MUG", east=3)
    rules(floor, {"name": "one parcel abroad", "max_parcels": 1})
    order = paid(floor, ("SHIRT", 1), ("MUG", 1))
    assert parcels(floor, order) == []
    assert "one parcel abroad" in floor.order(order).holds["inventory"].reason


def test_a_facility_that_closes_gives_what_nobody_began_to_another_one(floor: Floor) -> None:
    site(floor, "east")
    stock(floor, "SHIRT", main=9, east=5)
    order = paid(floor)
    begun = paid(floor, key="checkout-0002")
    task = next(t for t in floor.work("pick")["tasks"] if t["order_id"] == begun.body["order_id"])
    floor.post(task["task_id"], "start")
    assert parcels(floor, order) == [("main", "allocated")]
    closed = call(floor, "PUT /facilities/{facility}", {"address": ADDRESS, "active": False}, facility="main")
    assert closed.status == 200, closed
    floor.settle()
    assert parcels(floor, order) == [("main", "cancelled"), ("east", "allocated")]
    assert parcels(floor, begun) == [("main", "picking")]
    assert floor.work("pick", facility="east")["tasks"]
    assert floor.shop.identity_holds("SHIRT")
    assert floor.place("SHIRT", "east") == (5, 2)


def test_a_parcel_planned_while_its_facility_closed_is_taken_elsewhere_before_anybody_picks_it(floor: Floor) -> None:
    site(floor, "east")
    stock(floor, "SHIRT", main=9, east=5)
    placed = floor.shop.place(checkout())
    floor.shop.pay(placed)
    floor.shop.deliver_all()
    # The run allocates at main; the facility closes before the pick is offered, and nobody walks the open tasks.
    from oms.fulfillment.allocation import AllocateOrders

    app = floor.shop.app
    AllocateOrders(app.orders, app.inventory, app.clock).allocate(placed.body["order_id"], placed.body["order_id"])
    site(floor, "main", active=False)
    order = app.orders.require(placed.body["order_id"])
    floor.workflows.start_execution(
        stateMachineArn="", name=order.order_id, input=f'{{"order_id": "{order.order_id}"}}'
    )
    floor.settle()
    assert parcels(floor, placed) == [("main", "cancelled"), ("east", "allocated")]
