"""Lots by the rules alone: which are taken, and that a movement never loses one."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from oms.fulfillment.shipments import Shipment, ShipmentStatus, lots_given_back, lots_less
from oms.inventory.barcodes import Read, read_barcode
from oms.inventory.model import Location, Movement, by_lot, expires_before, lot_key
from oms.inventory.movements import effect_of
from oms.inventory.store import location_of, on_shelves
from oms.runtime import errors

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
BINS = ("A-01", "B-02", "DOCK", "PACKING", "DAMAGED", "QUARANTINE")
KEYS = ("", lot_key("L-1", "2026-12-31"), lot_key("L-2", "2027-06-30"), lot_key("L-3", ""), lot_key("", "2026-11-01"))
shelves = some.dictionaries(
    some.tuples(some.sampled_from(BINS), some.sampled_from(KEYS)), some.integers(1, 9), max_size=12
)
KINDS = ("receive", "adjust", "damage", "quarantine", "release", "scrap", "put_away", "count", "transfer_out")


def place_of(stands: dict[tuple[str, str], int]) -> Location:
    counters = {"on_hand": sum(stands.values()), "allocated": 0, "damaged": 0, "quarantined": 0}
    return location_of({"sku": "SERUM", "facility": "main", **counters, **on_shelves(stands)})


@given(shelves, some.integers(1, 30), some.sampled_from(("", *BINS[:3])), some.sampled_from(KEYS))
def test_a_pick_takes_what_is_there_and_never_a_later_lot_before_an_earlier_one(
    stands: dict[tuple[str, str], int], units: int, first: str, lot: str
) -> None:
    place = place_of(stands)
    today = NOW.date().isoformat()
    assert not any(expires_before(key, today) for _, key in place.fefo(today))
    days = [lot_key("", key.partition("#")[0]) or "~" for _, key in place.fefo(today)]
    assert days == sorted(days)
    taken = place.picks(units, first, lot, today)
    assert sum(taken.values()) == min(units, sum(place.pickable.values()))
    assert all(0 < count <= stands[shelf] for shelf, count in taken.items())
    left = place.less(taken)
    assert sum(left.bins.values()) == sum(place.bins.values()) - sum(taken.values())


@given(
    shelves,
    some.sampled_from(KINDS),
    some.sampled_from(("", *BINS[:3])),
    some.dictionaries(some.sampled_from(KEYS[1:]), some.integers(1, 6), max_size=2),
    some.integers(0, 5),
)
def test_a_movement_keeps_bins_equal_to_their_lots_and_to_what_is_on_hand(
    stands: dict[tuple[str, str], int], kind: str, bin: str, lots: dict[str, int], unnamed: int
) -> None:
    place, units = place_of(stands), sum(lots.values()) + unnamed
    if not units and kind != "count":
        return
    movement = Movement(kind, "SERUM", units, "main", bin, "why", "kim", "key", NOW, to_bin="C-03", lots=lots)
    try:
        effect = effect_of(movement, place)
    except errors.Conflict:
        return
    after = Counter(on_shelves(stands)) + Counter({"on_hand": place.on_hand})
    after.update(effect.place)
    if any(count < 0 for name, count in after.items() if "#" in name):
        assert kind in ("release", "scrap"), "the write's condition refuses what is set aside and not there"
        return
    moved = location_of({"sku": "SERUM", "facility": "main", "allocated": 0, "damaged": 0, "quarantined": 0, **after})
    assert sum(moved.bins.values()) == moved.on_hand
    assert all(moved.of_no_lot(name) >= 0 for name in moved.bins)
    if kind == "count":
        name = bin or "DOCK"
        assert (moved.bins.get(name, 0), moved.lots.get(name, {})) == (units, lots)


@given(shelves, some.integers(0, 20))
def test_what_a_parcel_gives_back_and_what_it_keeps_are_what_it_had(
    stands: dict[tuple[str, str], int], back: int
) -> None:
    lots, picked = by_lot(stands), sum(stands.values())
    back = min(back, picked)
    parcel = Shipment("o", 1, "main", ShipmentStatus.PICKED, (), picked={"SERUM": picked}, lots={"SERUM": lots})
    given_back = lots_given_back(parcel, {"SERUM": back})
    kept = lots_less(parcel, given_back)
    total = Counter(given_back.get("SERUM", {})) + Counter(kept.get("SERUM", {}))
    assert total == Counter(lots)
    assert sum(given_back.get("SERUM", {}).values()) <= back
    assert sum(kept.get("SERUM", {}).values()) <= picked - back


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("(01)04006381333931(17)261231(10)L-1", Read("04006381333931", "L-1", "2026-12-31")),
        ("(01)04006381333931(10)L-1(17)261231(21)S9", Read("04006381333931", "L-1", "2026-12-31", "S9")),
        ("]C1010400638133393110L-1\x1d17261200", Read("04006381333931", "L-1", "2026-12-31")),
        ("]d2010400638133393117261231", Read("04006381333931", "", "2026-12-31")),
        ("4006381333931", Read("4006381333931")),
        ("(01)nonsense", Read("(01)nonsense")),
        ("(01)04006381333931(17)269931", Read("(01)04006381333931(17)269931")),
    ],
)
def test_a_gs1_barcode_tells_lot_and_expiry_and_any_other_only_itself(code: str, told: Read) -> None:
    assert read_barcode(code) == told
