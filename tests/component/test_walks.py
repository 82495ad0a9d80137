"""Work released to a floor: waves, walks under a lease, and parcels that drop out on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from functions.fulfillment import plan
from oms.fulfillment.calendars import Calendar
from oms.fulfillment.facilities import Facility, save_facility
from oms.inventory.counting import CountStock
from oms.inventory.model import Movement
from tests.component.test_fulfillment import paid
from tests.support.floor import ORIGIN, Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop

LAYOUT = {
    "aisles": 4,
    "cells": 10,
    "aisle_spacing_cm": 300,
    "cell_length_cm": 100,
    "front_offset_cm": 100,
    "back_offset_cm": 100,
}


@pytest.fixture
def floor(shop: Shop) -> Floor:
    return Floor(shop)


def call(floor: Floor, route: str, body: Any = None, who: str = "kim", key: str = "", **path: str) -> Answer:
    staff = {**STAFF_CLAIMS, "cognito:username": who}
    headers = {"idempotency-key": key} if key else {}
    return floor.shop.call("fulfillment.warehouse_api", route, body, path=path, headers=headers, staff=staff)


def put(floor: Floor, what: str, body: Mapping[str, Any]) -> Answer:
    return call(floor, f"PUT /warehouse/{{facility}}/{what}", body, facility="main")


def wave(floor: Floor, key: str = "wave-0001") -> Any:
    answer = call(floor, "POST /warehouse/{facility}/waves", {}, key=key, facility="main")
    assert answer.status == 201, answer
    return answer.body


def next_walk(floor: Floor, who: str = "kim") -> Any:
    answer = call(floor, "POST /warehouse/{facility}/next", who=who, facility="main")
    assert answer.status == 200, answer
    return answer.body["walk"]


def on(floor: Floor, walk: Mapping[str, Any], what: str, body: Any = None, who: str = "kim", key: str = "") -> Answer:
    return call(floor, f"POST /warehouse/walks/{{id}}/{what}", body, who=who, key=key, id=walk["walk_id"])


def pick_all(floor: Floor, walk: Mapping[str, Any], who: str = "kim") -> Answer:
    """Pick every stop and complete the walk."""
    for stop in walk["stops"]:
        if stop["remaining"]:
            scan = {"sku": stop["sku"], "quantity": stop["remaining"], "bin": stop["bin"]}
            answer = on(floor, walk, "scans", scan, who)
            assert answer.status == 200, answer
    return on(floor, walk, "complete", who=who)


def stocked(floor: Floor, **rules: Any) -> None:
    assert put(floor, "layout", LAYOUT).status == 200
    assert put(floor, "rules", {"search_seconds": 0, **rules}).status == 200
    floor.shop.stock_up("SHIRT", 20, barcodes=("4006381333931",))
    floor.shop.stock_up("MUG", 20)


def test_small_orders_are_picked_on_one_walk_and_packed_and_shipped_apart(floor: Floor) -> None:
    stocked(floor)
    orders = [paid(floor, ("SHIRT", 1), ("MUG", 1), key=f"checkout-000{n}") for n in range(3)]
    released = wave(floor)
    assert wave(floor) == released, "the same key makes no second wave"
    (told,) = released["walks"]
    assert (told["method"], told["units"], len(told["shipments"])) == ("batch", 6, 3)
    assert floor.work("pick")["tasks"] == [], "nobody picks by task what is on a walk"
    alone = floor.post(f"{told['shipments'][0]}-pick", "scans", {"sku": "SHIRT"})
    assert (alone.status, alone.body["code"]) == (409, "on_a_walk")

    walk = next_walk(floor)
    assert next_walk(floor, "lee") is None, "a lease is one picker's"
    assert on(floor, walk, "scans", {"bin": "A-01"}, "lee").body["code"] == "walk_not_yours"
    assert on(floor, walk, "complete").body["code"] == "walk_incomplete"
    first = on(floor, walk, "scans", {"barcode": "4006381333931", "bin": "A-01"}, key="scan-0001")
    assert first.body["remaining"] == 2
    assert on(floor, walk, "scans", {"barcode": "4006381333931", "bin": "A-01"}, key="scan-0001") == first
    assert on(floor, walk, "scans", {"sku": "HAT"}).body["code"] == "wrong_item"
    assert on(floor, walk, "scans", {"sku": "MUG", "bin": "B-02"}).body["code"] == "wrong_bin"
    done = pick_all(floor, call(floor, "GET /warehouse/walks/{id}", id=walk["walk_id"]).body)
    assert (done.status, done.body["state"]) == (200, "picked")
    assert on(floor, walk, "complete") == done
    assert call(floor, "GET /warehouse/waves/{id}", id=released["wave_id"]).body["walks"][0]["state"] == "picked"

    floor.do_all()
    assert [floor.shop.read(order)["status"] for order in orders] == ["completed"] * 3
    assert floor.place("SHIRT") == (17, 0)


def test_a_dead_battery_hands_the_walk_on_with_what_was_picked(floor: Floor) -> None:
    stocked(floor, lease_minutes=10)
    paid(floor, ("SHIRT", 2))
    wave(floor)
    walk = next_walk(floor)
    on(floor, walk, "scans", {"sku": "SHIRT", "bin": "A-01"})
    floor.shop.later(minutes=11)
    taken = next_walk(floor, "lee")
    assert (taken["walk_id"], taken["picked"], taken["picker"]) == (walk["walk_id"], 1, "staff:lee")
    late = on(floor, walk, "scans", {"sku": "SHIRT", "bin": "A-01"})
    assert (late.status, late.body["code"], late.body["picker"]) == (409, "walk_not_yours", "staff:lee")
    assert on(floor, walk, "hand-over", who="lee").body["picker"] is None
    assert next_walk(floor)["walk_id"] == walk["walk_id"]


def test_a_cancelled_parcel_drops_out_of_its_walk_and_its_units_are_put_back(floor: Floor) -> None:
    stocked(floor)
    dead, alive = (paid(floor, ("SHIRT", 2), key=f"checkout-000{n}") for n in range(2))
    wave(floor)
    walk = next_walk(floor)
    on(floor, walk, "scans", {"sku": "SHIRT", "quantity": 4, "bin": "A-01"})
    assert floor.shop.cancel(dead).status == 200
    floor.settle()
    done = on(floor, walk, "complete")
    assert (done.status, done.body["put_back"], done.body["units"]) == (200, {"SHIRT": 2}, 2)
    (back,) = call(floor, "GET /warehouse/{facility}/putbacks", facility="main").body["putbacks"]
    assert back["units"] == [{"sku": "SHIRT", "quantity": 2, "bin": "A-01"}]
    assert call(floor, "POST /warehouse/putbacks/{id}/done", id=back["putback_id"]).body["done_at"]
    assert call(floor, "GET /warehouse/{facility}/putbacks", facility="main").body["putbacks"] == []
    floor.do_all()
    assert floor.shop.read(alive)["status"] == "completed"
    assert floor.place("SHIRT") == (18, 0)


def test_a_short_parcel_leaves_the_walk_keeps_what_it_got_and_is_sourced_again(floor: Floor) -> None:
    stocked(floor)
    first, last = (paid(floor, ("SHIRT", 2), ("MUG", 1), key=f"checkout-000{n}") for n in range(2))
    wave(floor)
    walk = next_walk(floor)
    on(floor, walk, "scans", {"sku": "MUG", "quantity": 2, "bin": "A-01"})
    on(floor, walk, "scans", {"sku": "SHIRT", "quantity": 3, "bin": "A-01"})
    missing = {"bin": "A-01", "sku": "SHIRT", "quantity": 1, "reason": "bin is empty"}
    assert on(floor, walk, "short", {**missing, "quantity": 2}).body["code"] == "too_many"
    short = on(floor, walk, "short", missing)
    assert short.status == 200, short
    assert len(short.body["short"]) == 1
    done = on(floor, walk, "complete").body
    assert (done["state"], done["put_back"]) == ("picked", {}), "what the short parcel got is its own"
    (count,) = CountStock(floor.shop.app.inventory, floor.shop.app.clock).open_at("main", None)["counts"]
    assert (count["bin"], count["to_count"]) == ("A-01", ["SHIRT"])
    assert floor.shop.available("SHIRT") == 16
    floor.do_all()
    assert [floor.shop.read(order)["status"] for order in (first, last)] == ["completed"] * 2
    assert floor.place("SHIRT") == (15, 0)
    assert floor.shop.identity_holds("SHIRT", "MUG")


def test_the_schedule_releases_up_to_the_cap_and_a_wave_nobody_began_is_taken_back(floor: Floor) -> None:
    stocked(floor, automatic=True, work_in_process=3, walk_units=3)
    for n in range(3):
        paid(floor, ("SHIRT", 2), key=f"checkout-000{n}")
    assert plan.handler({}, Context()) == {"main": {"released": 1, "ended": 0}}
    floor.shop.later(minutes=1)
    assert plan.handler({}, Context()) == {"main": {"released": 0, "ended": 0}}
    (shown,) = call(floor, "GET /warehouse/{facility}/waves", facility="main").body["waves"]
    assert (shown["left_out"], len(shown["walk_ids"])) == (0, 1)
    taken = call(floor, "POST /warehouse/waves/{id}/cancel", id=shown["wave_id"]).body
    assert [walk["state"] for walk in taken["walks"]] == ["cancelled"]
    assert len(floor.work("pick")["tasks"]) == 3
    assert wave(floor, key="wave-0002")["left_out"] == 2
    preview = call(floor, "POST /warehouse/{facility}/waves/preview", facility="main").body
    assert (preview["in_process"], len(preview["walks"])) == (2, 2)


def test_a_wave_for_a_cut_off_takes_the_parcels_of_that_collection_when_it_is_near(floor: Floor) -> None:
    stocked(floor, automatic=True, methods=[{"method": "wave"}])
    hours = Calendar(cut_offs={"express": "12:00", "*": "17:00"})
    save_facility(floor.shop.app.inventory, Facility("main", ORIGIN, calendar=hours), floor.shop.now)
    paid(floor, ("SHIRT", 1), key="checkout-0001")
    express = paid(floor, ("SHIRT", 1), key="checkout-0002", shipping_method="express")
    assert plan.handler({}, Context()) == {"main": {"released": 0, "ended": 0}}
    noon = {"cut_off": "2026-11-23T12:00:00.000Z"}
    previewed = call(floor, "POST /warehouse/{facility}/waves/preview", noon, facility="main").body["walks"]
    floor.shop.later(minutes=90)
    assert plan.handler({}, Context()) == {"main": {"released": 1, "ended": 0}}
    walk = next_walk(floor)
    assert [each["shipment_id"] for each in walk["shipments"]] == [f"{express.body['order_id']}.1"]
    assert [(each["shipments"], each["cut_off"]) for each in previewed] == [
        ([f"{express.body['order_id']}.1"], noon["cut_off"])
    ]


def test_a_short_that_another_bin_makes_good_asks_for_one_count_of_the_empty_one(floor: Floor) -> None:
    stocked(floor)
    shop = floor.shop
    away = Movement("put_away", "SHIRT", 10, "main", "A-01", "sorted", "staff:kim", "away", shop.now, to_bin="B-01")
    shop.app.inventory.move(away)
    paid(floor, ("SHIRT", 2))
    wave(floor)
    walk = next_walk(floor)
    missing = {"bin": walk["stops"][0]["bin"], "sku": "SHIRT", "quantity": 2, "reason": "bin is empty"}
    assert on(floor, walk, "short", missing).body["short"] == []
    assert on(floor, walk, "short", missing).body["code"] == "too_many", "there is nothing left to miss"
    (count,) = CountStock(shop.app.inventory, shop.app.clock).open_at("main", None)["counts"]
    assert (count["bin"], count["to_count"]) == (missing["bin"], ["SHIRT"])


def test_a_completed_walk_whose_server_died_is_finished_by_the_schedule(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    stocked(floor, automatic=True)
    orders = [paid(floor, ("SHIRT", 1), key=f"checkout-000{n}") for n in range(2)]
    wave(floor)
    walk = next_walk(floor)
    brought: list[str] = []
    bring = "oms.fulfillment.floor.Floor.bring"
    from oms.fulfillment.floor import Floor as Work

    real = Work.bring

    def dies(self: Work, shipment_id: str, *rest: Any) -> Any:
        if brought:
            raise MemoryError
        brought.append(shipment_id)
        return real(self, shipment_id, *rest)

    monkeypatch.setattr(bring, dies)
    assert pick_all(floor, walk).status == 500
    monkeypatch.setattr(bring, real)
    plan.handler({}, Context())
    floor.do_all()
    assert [floor.shop.read(order)["status"] for order in orders] == ["completed"] * 2


def test_a_parcel_from_two_zones_is_picked_when_both_walks_are_done(floor: Floor) -> None:
    stocked(floor)
    zones = [
        {"name": "left", "first_aisle": 1, "last_aisle": 1},
        {"name": "right", "first_aisle": 2, "last_aisle": 4},
    ]
    assert put(floor, "layout", {**LAYOUT, "zones": zones, "bins": {"A-01": {"aisle": 1, "cell": 1}}}).status == 200
    floor.shop.stock_up("HAT", 5)
    now = floor.shop.now
    away = Movement("put_away", "HAT", 5, "main", "A-01", "sorted", "staff:kim", "away", now, to_bin="03-04")
    floor.shop.app.inventory.move(away)
    order = paid(floor, ("SHIRT", 1), ("HAT", 1))
    assert [walk["zone"] for walk in wave(floor)["walks"]] == ["left", "right"]
    left, right = next_walk(floor), next_walk(floor, "lee")
    assert pick_all(floor, left).status == 200
    floor.settle()
    assert floor.shop.read(order)["shipments"][0]["status"] == "picking"
    assert pick_all(floor, right, "lee").status == 200
    floor.do_all()
    assert floor.shop.read(order)["status"] == "completed"


def test_a_layout_that_makes_no_floor_is_refused_field_by_field(floor: Floor) -> None:
    assert put(floor, "layout", {**LAYOUT, "aisles": 0}).status == 422
    assert put(floor, "layout", {**LAYOUT, "zones": [{"name": "a", "first_aisle": 1, "last_aisle": 9}]}).status == 422
    assert put(floor, "layout", {**LAYOUT, "bins": {"X": {"aisle": 1, "cell": 11}}}).status == 422
    assert put(floor, "rules", {"methods": [{"method": "teleport"}]}).status == 422
    ops = {"cognito:groups": "[warehouse]"}
    route = "PUT /warehouse/{facility}/layout"
    answer = floor.shop.call("fulfillment.warehouse_api", route, LAYOUT, path={"facility": "main"}, staff=ops)
    assert answer.status == 403
