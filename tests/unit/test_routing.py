"""Fewest parcels, soonest, cheapest, nearest, fullest; and calendars in the facility's own time."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfoNotFoundError

import pytest

from oms.fulfillment import calendars
from oms.fulfillment.calendars import Calendar, NeverOpen
from oms.fulfillment.routing import Rule, Rules, Source, kilometres, obtainable, plan
from oms.orders.model import Line, Order, Payment, Status, Totals

SHIRT, MUG, CAP = Line(1, "SHIRT", 1, 100), Line(2, "MUG", 1, 100), Line(3, "CAP", 1, 100)
LINES = {line.number: line for line in (SHIRT, MUG, CAP)}
WEEK = {day: ("09:00", "17:00") for day in ("mon", "tue", "wed", "thu", "fri")}


def order(**changes: object) -> Order:
    told = {
        "order_id": "o1",
        "channel": "web",
        "status": Status.CONFIRMED,
        "customer": {"id": "c"},
        "address": {"country": "US", "postal_code": "97201"},
        "lines": (SHIRT, MUG),
        "currency": "USD",
        "totals": Totals(200, 0, 0),
        "payment": Payment(),
        "placed_at": "t",
        "expires_at": "t",
    }
    return Order(**{**told, **changes})  # type: ignore[arg-type]


def sent(free: dict[str, dict[str, int]], sources: dict[str, Source] | None = None, **wanted: int) -> list[str]:
    numbers = {line.sku: line.number for line in LINES.values()}
    return sorted(p.facility for p in plan(LINES, {numbers[sku]: n for sku, n in wanted.items()}, free, sources))


def test_two_facilities_that_together_have_everything_beat_three_that_greed_would_ask() -> None:
    lines = {number: Line(number, sku, 1, 100) for number, sku in enumerate("ABCDEF", start=1)}
    free = {
        "big": dict.fromkeys("ABCD", 1),
        "left": dict.fromkeys("ABE", 1),
        "right": dict.fromkeys("CDF", 1),
    }
    found = plan(lines, dict.fromkeys(lines, 1), free)
    assert sorted(parcel.facility for parcel in found) == ["left", "right"]


def test_among_equals_rank_comes_first_then_time_then_cost_then_distance_then_stock() -> None:
    free = {"a": {"SHIRT": 9}, "b": {"SHIRT": 5}}
    assert sent(free, SHIRT=1) == ["a"]
    assert sent(free, {"a": Source(kilometres=9), "b": Source(kilometres=3)}, SHIRT=1) == ["b"]
    assert sent(free, {"a": Source(cost=1), "b": Source(cost=2, kilometres=0)}, SHIRT=1) == ["a"]
    assert sent(free, {"a": Source(late=1), "b": Source(cost=900)}, SHIRT=1) == ["b"]
    assert sent(free, {"a": Source(rank=0, late=3), "b": Source(rank=1)}, SHIRT=1) == ["a"]


def test_one_parcel_from_afar_beats_two_from_near() -> None:
    free = {"far": {"SHIRT": 1, "MUG": 1}, "near": {"SHIRT": 1}, "door": {"MUG": 1}}
    assert sent(free, {"far": Source(kilometres=5000), "near": Source(), "door": Source()}, SHIRT=1, MUG=1) == ["far"]


def test_what_can_be_had_is_counted_line_by_line_and_kits_stay_whole() -> None:
    kit = {1: Line(1, "SET", 3, 100, parts={"CUP": 1, "PLATE": 2})}
    assert obtainable(kit, {1: 3}, {"a": {"CUP": 2, "PLATE": 3}, "b": {"CUP": 1, "PLATE": 1}}) == {1: 1}
    assert obtainable(LINES, {1: 2, 2: 1}, {"a": {"SHIRT": 1}, "b": {"SHIRT": 1}}) == {1: 2}


def test_distance_rests_on_coordinates_or_else_on_postal_codes() -> None:
    portland, seattle = {"country": "US", "postal_code": "97201"}, {"country": "US", "postal_code": "98101"}
    assert kilometres(portland, (45.52, -122.68), seattle, (47.61, -122.33)) == 234
    assert kilometres(portland, None, seattle, None) > kilometres(portland, None, portland, None) == 0
    assert kilometres(portland, None, {"country": "CA", "postal_code": "97201"}, None) == 5000


def test_the_longest_known_prefix_of_a_postal_code_places_it() -> None:
    rules = Rules(places={"US-9": (40.0, -120.0), "US-972": (45.5, -122.6)})
    assert rules.place_of({"country": "US", "postal_code": "97201"}) == (45.5, -122.6)
    assert rules.place_of({"country": "US", "postal_code": "90210"}) == (40.0, -120.0)
    assert rules.place_of({"country": "DE", "postal_code": "97201"}) is None


@pytest.mark.parametrize(
    ("when", "applies"),
    [
        ({}, True),
        ({"countries": ("US", "CA")}, True),
        ({"countries": ("DE",)}, False),
        ({"skus": ("MUG",), "channels": ("web",)}, True),
        ({"skus": ("MUG",), "channels": ("etsy",)}, False),
        ({"methods": ("express",)}, False),
        ({"codes": ("R",)}, True),
    ],
)
def test_a_rule_applies_when_all_its_conditions_hold(when: dict[str, tuple[str, ...]], applies: bool) -> None:
    assert Rule("r", when).applies(order(priority_codes="LR")) is applies


def test_rules_add_up_the_first_preference_and_the_strictest_limit_hold() -> None:
    told = Rules(
        (
            Rule("a", prefer=("x",), exclude=("p",), max_parcels=3),
            Rule("b", prefer=("y",), exclude=("q",), max_parcels=2, whole=True),
            Rule("c", {"countries": ("DE",)}, max_parcels=1),
        )
    ).policy(order())
    assert (told.prefer, told.exclude, told.max_parcels, told.whole) == (("x",), frozenset("pq"), 2, True)
    assert told.because == ("a", "b")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "cutoff", "ship_by"),
    [
        ("2026-11-23T08:00", "2026-11-23T14:00", "2026-11-24T14:00"),
        ("2026-11-23T14:00", "2026-11-24T14:00", "2026-11-25T14:00"),
        ("2026-11-27T16:00", "2026-11-30T14:00", "2026-12-01T14:00"),
        ("2026-12-24T20:00", "2026-12-28T14:00", "2026-12-29T14:00"),
    ],
    ids=["before the cut-off", "at the cut-off", "over a weekend", "over Christmas"],
)
def test_a_parcel_catches_the_next_collection_of_a_working_day(now: str, cutoff: str, ship_by: str) -> None:
    calendar = Calendar("Europe/Berlin", WEEK, frozenset({"2026-12-25"}), {"*": "15:00"}, {"standard": 1})
    assert calendar.collections(at(now), "standard") == (at(cutoff), at(ship_by))
    assert calendar.collections(at(now), "express") == (at(cutoff), at(cutoff))


def test_the_clocks_going_back_do_not_move_a_collection() -> None:
    calendar = Calendar("Europe/Berlin", {}, frozenset(), {"*": "15:00"})
    assert calendar.collections(at("2026-10-24T00:00"), "standard")[0] == at("2026-10-24T13:00")
    assert calendar.collections(at("2026-10-25T00:00"), "standard")[0] == at("2026-10-25T14:00")


def test_a_day_without_room_is_passed_over_and_never_open_is_said() -> None:
    calendar = Calendar()
    full = {date(2026, 11, 23), date(2026, 11, 24)}
    assert calendar.collections(at("2026-11-23T08:00"), "standard", lambda day: day not in full)[0].day == 25
    with pytest.raises(NeverOpen):
        Calendar(opening={"mon": ("09:00", "17:00")}).collections(at("2026-11-23T08:00"), "standard", lambda day: False)


def test_without_zone_data_utc_works_and_any_other_zone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_there(name: str) -> None:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr(calendars, "ZoneInfo", nothing_there)
    monkeypatch.setattr(calendars, "available_timezones", set)
    assert calendars.Calendar().works_on(datetime(2026, 11, 23, tzinfo=UTC).date())
    assert calendars.Calendar().local_day(datetime(2026, 11, 23, 23, 30, tzinfo=UTC)).isoformat() == "2026-11-23"
    with pytest.raises(ValueError, match="only UTC works"):
        calendars.zone("Europe/Berlin")
