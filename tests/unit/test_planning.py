"""Which parcels are picked how, and a walk's own rules: scans, totes, parcels that drop out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oms.fulfillment.floorplan import FloorPlan, MethodRule, Rules, Site, Zone, site_from
from oms.fulfillment.planning import MAX_PARCELS, Place, Waiting, arrange, method_of
from oms.fulfillment.shipments import Shipment, ShipmentStatus, Unit
from oms.fulfillment.walks import Stop, Walk, walk_from_item, walk_to_item
from oms.fulfillment.waves import due_of
from oms.orders.model import Payment
from oms.runtime.clock import to_text
from oms.runtime.errors import Conflict

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LAYOUT = {
    "aisles": 4,
    "cells": 10,
    "aisle_spacing_cm": 300,
    "cell_length_cm": 100,
    "front_offset_cm": 100,
    "back_offset_cm": 100,
    "depot_offset_cm": 0,
}
SITE = site_from(LAYOUT)
ZONED = Site(SITE.scheme, (Zone("left", 1, 2), Zone("right", 3, 4)))


def waiting(name: str, *bins: str, units: int = 1, codes: str = "", due: str = "") -> Waiting:
    places = {Place(bin_name, f"SKU-{bin_name}"): units for bin_name in bins}
    return Waiting(name, places, f"9999#{name}", codes, due)


def plan(site: Site | None = SITE, **rules: Any) -> FloorPlan:
    return FloorPlan("main", site, Rules(**{"search_seconds": 0, **rules}))


class TestMethods:
    def test_a_rush_order_and_a_large_one_are_picked_alone_and_small_ones_together(self) -> None:
        rules = Rules()
        assert method_of(waiting("a.1", "01-01", codes="R"), rules, SITE) == "single"
        assert method_of(waiting("a.1", "01-01", units=12), rules, SITE) == "single"
        assert method_of(waiting("a.1", "01-01"), rules, SITE) == "batch"

    def test_carts_with_totes_and_zones_are_used_where_there_are_any(self) -> None:
        assert method_of(waiting("a.1", "01-01"), Rules(cart_slots=6), SITE) == "cluster"
        assert method_of(waiting("a.1", "01-01", "04-02"), Rules(), ZONED) == "zone"
        assert method_of(waiting("a.1", "01-01", "02-02"), Rules(), ZONED) == "batch"

    def test_a_merchant_s_own_rules_decide_in_their_order(self) -> None:
        rules = Rules(methods=(MethodRule("wave"), MethodRule("batch", max_units=3)))
        due = to_text(NOW + timedelta(hours=3))
        assert method_of(waiting("a.1", "01-01", due=due), rules, SITE) == "wave"
        assert method_of(waiting("a.1", "01-01"), rules, SITE) == "batch"
        assert method_of(waiting("a.1", "01-01", units=4), rules, SITE) == "single"


class TestArranging:
    def test_every_parcel_is_on_exactly_one_release_within_the_cart(self) -> None:
        queue = [waiting(f"o{n}.1", f"0{n % 4 + 1}-0{n % 9 + 1}", units=n % 5 + 1) for n in range(40)]
        releases = arrange(queue, plan(walk_units=12), NOW).releases
        seen = [shipment_id for release in releases for shipment_id in release.shipment_ids]
        assert sorted(seen) == sorted(each.shipment_id for each in queue)
        assert all(release.units <= 12 for release in releases)

    def test_stops_are_in_walking_order_and_say_what_each_parcel_gets(self) -> None:
        queue = [waiting("a.1", "01-09"), waiting("b.1", "01-02"), waiting("c.1", "01-09", units=2)]
        (release,) = arrange(queue, plan(), NOW).releases
        (walk,) = release.walks
        assert [(stop.bin, stop.need) for stop in walk.stops] in (
            [("01-02", {"b.1": 1}), ("01-09", {"a.1": 1, "c.1": 2})],
            [("01-09", {"a.1": 1, "c.1": 2}), ("01-02", {"b.1": 1})],
        )
        assert walk.length_cm == 2 * 900

    def test_a_zone_has_a_walk_of_its_own_and_the_parcel_waits_for_both(self) -> None:
        queue = [waiting("a.1", "01-01", "04-01"), waiting("b.1", "02-01", "03-03")]
        (release,) = arrange(queue, plan(ZONED), NOW).releases
        assert [walk.zone for walk in release.walks] == ["left", "right"]
        assert [{stop.bin for stop in walk.stops} for walk in release.walks] == [{"01-01", "02-01"}, {"04-01", "03-03"}]

    def test_a_cart_takes_one_parcel_a_slot_however_many_units(self) -> None:
        queue = [waiting(f"o{n}.1", "01-01", units=6) for n in range(5)]
        releases = arrange(queue, plan(cart_slots=2, walk_units=6), NOW).releases
        assert sorted(len(release.shipment_ids) for release in releases) == [1, 2, 2]

    def test_a_wave_waits_for_its_lead_time_and_then_leaves_together(self) -> None:
        soon, later = to_text(NOW + timedelta(minutes=90)), to_text(NOW + timedelta(hours=5))
        queue = [
            waiting("a.1", "01-01", due=soon),
            waiting("b.1", "01-02", due=soon),
            waiting("c.1", "01-03", due=later),
        ]
        found = arrange(queue, plan(methods=(MethodRule("wave"),)), NOW)
        assert [(release.shipment_ids, release.cut_off) for release in found.releases] == [(("a.1", "b.1"), soon)]
        assert found.not_yet == ("c.1",)

    def test_what_has_to_leave_soon_comes_before_what_ranks_higher(self) -> None:
        soon = to_text(NOW + timedelta(minutes=30))
        queue = [replace(waiting("a.1", "01-01", codes="R"), rank="0"), waiting("b.1", "01-02", codes="R", due=soon)]
        releases = arrange(queue, plan(), NOW).releases
        assert [release.shipment_ids for release in releases] == [("b.1",), ("a.1",)]

    def test_a_parcel_is_due_at_its_collection_or_before_the_money_lapses(self) -> None:
        first, last = "2026-11-23T17:00:00.000Z", "2026-11-24T17:00:00.000Z"
        units = (Unit(1, "SHIRT", 1),)
        parcel = Shipment("o", 1, "main", ShipmentStatus.ALLOCATED, units, ship_by=last, carrier_cutoff=first)

        def due(lapses: str, authorized: int = 500) -> str:
            return due_of(parcel, Payment(authorized=authorized, authorized_until=lapses))

        assert due_of(parcel, Payment()) == last
        assert due("2026-11-25T00:00:00.000Z") == last
        assert due("2026-11-24T12:00:00.000Z") == first, "the last collection before the bank lets go"
        assert due("2026-11-23T12:00:00.000Z") == "2026-11-23T12:00:00.000Z"
        assert due("2026-11-23T12:00:00.000Z", authorized=0) == last, "the money is here"
        unplanned = replace(parcel, ship_by="", carrier_cutoff="")
        assert due_of(unplanned, Payment()) == ""

    def test_bins_without_a_place_and_floors_without_a_layout_still_work(self) -> None:
        queue = [waiting("a.1", "shelf"), waiting("b.1", "01-01"), waiting("c.1", "")]
        for site in (SITE, None):
            releases = arrange(queue, plan(site), NOW).releases
            assert sorted(each for release in releases for each in release.shipment_ids) == ["a.1", "b.1", "c.1"]

    def test_no_walk_has_more_parcels_than_one_transaction_releases(self) -> None:
        queue = [waiting(f"o{n:03d}.1", "01-01") for n in range(100)]
        releases = arrange(queue, plan(walk_units=1000), NOW).releases
        assert max(len(release.shipment_ids) for release in releases) <= MAX_PARCELS


# ---- a walk's own rules ----------------------------------------------------------------------------------------------


def a_walk(method: str = "batch") -> Walk:
    stops = (Stop("01-02", "MUG", {"a.1": 1, "b.1": 2}), Stop("02-05", "HAT", {"b.1": 1}))
    return Walk("main.w-1", "main", method, ("a.1", "b.1"), stops, 4, "9999#x", to_text(NOW))


def refused(call: object, *arguments: object) -> str:
    with pytest.raises(Conflict) as caught:
        call(*arguments)  # type: ignore[operator]
    assert "expected" in caught.value.extra
    return str(caught.value.extra["code"])


class TestWalk:
    def test_units_go_to_parcels_in_their_order(self) -> None:
        walk, stop = a_walk().at_bin("01-02").picked("MUG", 2, "", "", {})
        assert stop.got == {"a.1": 1, "b.1": 1}
        assert (stop.remaining, walk.remaining, walk.got_for("b.1")) == (1, 2, {"MUG": 1})

    @pytest.mark.parametrize(
        ("sku", "quantity", "where", "code"),
        [
            ("SOCK", 1, "01-02", "wrong_item"),
            ("HAT", 1, "01-02", "wrong_bin"),
            ("MUG", 4, "01-02", "too_many"),
            ("MUG", 1, "", "bin_needed"),
        ],
    )
    def test_a_wrong_scan_is_told_apart(self, sku: str, quantity: int, where: str, code: str) -> None:
        assert refused(a_walk().picked, sku, quantity, where, "", {}) == code

    def test_a_bin_with_nothing_to_pick_is_refused_with_the_next_one(self) -> None:
        assert refused(a_walk().at_bin, "09-09") == "wrong_bin"

    def test_on_a_cart_each_item_goes_into_the_tote_of_a_parcel_that_needs_it(self) -> None:
        walk = a_walk("cluster").with_tote("a.1", "T-1").with_tote("b.1", "T-2")
        assert refused(walk.picked, "HAT", 1, "02-05", "T-1", {}) == "wrong_tote"
        assert refused(walk.picked, "HAT", 1, "02-05", "", {}) == "tote_needed"
        assert refused(walk.picked, "MUG", 2, "01-02", "T-1", {}) == "too_many"
        assert walk.picked("MUG", 2, "01-02", "T-2", {})[0].got_for("b.1") == {"MUG": 2}
        assert refused(walk.with_tote, "a.1", "T-2") == "wrong_tote"
        assert refused(a_walk("cluster").with_tote("a.1", "T-1").with_tote, "b.1", "T-1") == "tote_in_use"

    def test_a_bin_that_is_skipped_comes_last(self) -> None:
        assert [stop.bin for stop in a_walk().skipped("01-02").stops] == ["02-05", "01-02"]

    def test_a_parcel_that_drops_out_leaves_its_units_to_be_put_back(self) -> None:
        walk, _ = a_walk().picked("MUG", 3, "01-02", "", {})
        assert walk.at_most("b.1", {}).put_back == {"MUG": 2}
        assert [stop.need for stop in walk.at_most("b.1", {}).stops] == [{"a.1": 1}]
        fewer = walk.at_most("b.1", {"MUG": 1, "HAT": 1})
        assert (fewer.put_back, fewer.got_for("b.1"), fewer.remaining) == ({"MUG": 1}, {"MUG": 1}, 1)
        assert fewer.at_most("b.1", {"MUG": 1, "HAT": 1}) == fewer

    def test_another_bin_takes_the_place_of_an_empty_one_next(self) -> None:
        walk, stop = a_walk().picked("MUG", 1, "01-02", "", {})
        moved = walk.moved(stop, 2, "03-01")
        assert [(each.bin, each.need) for each in moved.stops] == [
            ("01-02", {"a.1": 1}),
            ("03-01", {"b.1": 2}),
            ("02-05", {"b.1": 1}),
        ]
        assert moved.remaining == walk.remaining

    def test_it_is_kept_as_it_is(self) -> None:
        walk, _ = a_walk("cluster").with_tote("b.1", "T-2").picked("MUG", 2, "01-02", "T-2", {})
        walk = walk.leased("staff:kim", NOW)
        assert walk_from_item(walk_to_item(walk)) == walk
        assert walk.held_by(NOW + timedelta(minutes=14)) == "staff:kim"
        assert walk.held_by(NOW + timedelta(minutes=15)) == ""
