"""Bins and stripes: where units are taken from, and how stripes are evened out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oms.inventory.model import Location
from oms.inventory.stripes import shifts, uneven

STOCK = st.lists(st.integers(0, 500), min_size=1, max_size=32)


def test_small_rests_are_picked_first_and_the_dock_last() -> None:
    place = Location("SHIRT", "main", 12, bins={"DOCK": 1, "B-02": 6, "A-01": 2, "PACKING": 2, "DAMAGED": 1})
    assert list(place.pickable) == ["A-01", "B-02", "DOCK"]
    assert place.picks(4) == {("A-01", ""): 2, ("B-02", ""): 2}
    assert place.picks(4, "DOCK") == {("DOCK", ""): 1, ("A-01", ""): 2, ("B-02", ""): 1}


@given(STOCK, st.integers(1, 32))
def test_evening_out_moves_units_and_makes_none(stock: list[int], stripes: int) -> None:
    stripes = min(stripes, len(stock))
    after = list(stock)
    for shift in shifts(stock, stripes, pairs=99):
        after[shift.source] -= shift.units
        after[shift.target] += shift.units
    assert sum(after) == sum(stock)
    assert min(after) >= 0
    touched = [n for shift in shifts(stock, stripes) for n in (shift.source, shift.target)]
    assert len(touched) == len(set(touched))


@given(STOCK, st.integers(1, 32))
def test_evening_out_comes_to_an_end(stock: list[int], stripes: int) -> None:
    stripes = min(stripes, len(stock))
    for _ in range(3 * len(stock)):
        if not uneven(stock, stripes):
            return
        for shift in shifts(stock, stripes):
            stock[shift.source] -= shift.units
            stock[shift.target] += shift.units
    raise AssertionError(f"still uneven: {stock}")
