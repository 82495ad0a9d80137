"""Routes through a block of aisles: every policy against an independent walk, the optimal one against all orders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.fulfillment.picking.layout import Layout, Spot
from oms.fulfillment.picking.routing import OPTIMAL, POLICIES, Meter, Policy

LAYOUTS = st.builds(
    Layout,
    aisles=st.integers(1, 6),
    cells=st.integers(1, 9),
    aisle_spacing=st.integers(0, 9),
    cell_length=st.integers(0, 5),
    front_offset=st.integers(0, 4),
    back_offset=st.integers(0, 4),
    depot_offset=st.integers(0, 3),
)
EVERY_POLICY = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())


@st.composite
def floors(draw: st.DrawFn, most: int = 14) -> tuple[Layout, list[Spot]]:
    layout = draw(LAYOUTS)
    spot = st.builds(Spot, st.integers(0, layout.aisles - 1), st.integers(0, layout.cells - 1))
    return layout, draw(st.lists(spot, min_size=1, max_size=most, unique=True))


def depth(layout: Layout, cell: int) -> int:
    """From the front cross-aisle, told anew: -1 and ``cells`` are the cross-aisles."""
    inside = [layout.front_offset + number * layout.cell_length for number in range(layout.cells)]
    return [*reversed(inside), 0, inside[-1] + layout.back_offset][cell]


def apart(layout: Layout, one: Spot, other: Spot) -> int:
    """The shortest way between two spots by any cross-aisle."""
    near, far = depth(layout, one.cell), depth(layout, other.cell)
    if one.aisle == other.aisle:
        return abs(near - far)
    around = 2 * depth(layout, -1) - near - far
    return abs(one.aisle - other.aisle) * layout.aisle_spacing + min(near + far, around)


def shortest_tour(layout: Layout, spots: Sequence[Spot]) -> int:
    """The travelling salesman's tour of the depot and all spots (Held and Karp)."""
    everything = (1 << len(spots)) - 1
    best = {(1 << number, number): apart(layout, layout.home, spot) for number, spot in enumerate(spots)}
    for seen in range(1, everything + 1):
        for last, spot in enumerate(spots):
            if (seen, last) not in best:
                continue
            for number, following in enumerate(spots):
                if not seen >> number & 1:
                    key = (seen | 1 << number, number)
                    length = best[seen, last] + apart(layout, spot, following)
                    best[key] = min(best.get(key, length), length)
    inside = min(best[everything, last] + apart(layout, spot, layout.home) for last, spot in enumerate(spots))
    return inside + 2 * layout.depot_offset


def walked(layout: Layout, path: Sequence[Spot]) -> int:
    """The length of a path whose every step is along one aisle or one cross-aisle."""
    length = 2 * layout.depot_offset
    for start, end in pairwise(path):
        assert start.aisle == end.aisle or (start.cell == end.cell and start.cell in (-1, layout.cells))
        length += apart(layout, start, end)
    return length


@EVERY_POLICY
@given(floor=floors())
def test_a_route_visits_every_pick_and_is_as_long_as_it_says(policy: Policy, floor: tuple[Layout, list[Spot]]) -> None:
    layout, spots = floor
    route = policy.route(layout, spots)
    assert set(spots) == set(route.picks(layout)) == {spot for spot in route.path if layout.has(spot)}
    assert route.path[0] == route.path[-1] == layout.home
    assert route.length == walked(layout, route.path) == layout.walked(route.path)


@EVERY_POLICY
@given(floor=floors())
def test_no_policy_is_shorter_than_the_optimal_one(policy: Policy, floor: tuple[Layout, list[Spot]]) -> None:
    layout, spots = floor
    assert policy.route(layout, spots).length >= OPTIMAL.route(layout, spots).length


@given(floor=floors(most=8))
def test_the_optimal_route_is_as_short_as_the_shortest_tour(floor: tuple[Layout, list[Spot]]) -> None:
    layout, spots = floor
    assert OPTIMAL.route(layout, spots).length == shortest_tour(layout, spots)


@given(floor=floors(most=5))
def test_the_shortest_tour_is_what_trying_every_order_finds(floor: tuple[Layout, list[Spot]]) -> None:
    layout, spots = floor
    tours = ((layout.home, *order, layout.home) for order in permutations(spots))
    shortest = min(sum(apart(layout, start, end) for start, end in pairwise(tour)) for tour in tours)
    assert shortest_tour(layout, spots) == shortest + 2 * layout.depot_offset


@given(floor=floors(), more=st.data())
def test_one_more_pick_never_shortens_the_optimal_route_and_unions_never_cost_more(
    floor: tuple[Layout, list[Spot]], more: st.DataObject
) -> None:
    layout, spots = floor
    meter = Meter(layout, OPTIMAL)
    some = more.draw(st.lists(st.sampled_from(spots), unique=True))
    part, rest = layout.bits(some), layout.bits(set(spots) - set(some))
    assert max(meter(part), meter(rest)) <= meter(part | rest) <= meter(part) + meter(rest)


# Three aisles of five cells of 2, 10 apart, 1 to the cross-aisles; the aisle's length is 10.
SMALL = Layout(3, 5, 10, 2, 1, 1)
PICKS = [Spot(0, 4), Spot(0, 1), Spot(1, 2), Spot(2, 0), Spot(2, 4)]
"""Depths 1 and 7; 5; 9 and 1."""


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("s-shape", 40 + 20 + 18),
        ("return", 40 + 14 + 10 + 18),
        ("midpoint", 40 + 20 + 10),
        ("largest-gap", 40 + 20 + 10),
        ("composite", 40 + 10 + 10 + 10),
        ("optimal", 40 + 20 + 10),
    ],
)
def test_the_policies_walk_as_their_textbooks_say(name: str, length: int) -> None:
    assert POLICIES[name].route(SMALL, PICKS).length == length


def test_an_s_shape_leaves_its_last_odd_aisle_by_the_front() -> None:
    route = POLICIES["s-shape"].route(SMALL, PICKS)
    assert route.picks(SMALL) == [Spot(0, 4), Spot(0, 1), Spot(1, 2), Spot(2, 4), Spot(2, 0)]
    assert route.path[-3:] == (Spot(2, 0), SMALL.front(2), SMALL.home)


def test_spots_that_are_merely_passed_are_not_named() -> None:
    assert OPTIMAL.route(SMALL, [Spot(2, 4)]).path == (
        SMALL.home,
        SMALL.front(2),
        Spot(2, 4),
        SMALL.front(2),
        SMALL.home,
    )


@EVERY_POLICY
def test_nobody_walks_for_nothing(policy: Policy) -> None:
    route = policy.route(Layout(2, 2, 1, 1, 1, 1, depot_offset=4), [])
    assert (route.path, route.length) == ((Spot(0, 2),), 0)


@pytest.mark.parametrize("spot", [Spot(3, 0), Spot(0, 5), Spot(0, -1), Spot(-1, 0)])
def test_a_cell_that_does_not_exist_is_refused(spot: Spot) -> None:
    with pytest.raises(ValueError, match="there is no cell"):
        OPTIMAL.route(SMALL, [spot])


def test_a_path_through_the_shelves_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody can walk"):
        SMALL.walked([Spot(0, 2), Spot(1, 2)])


@pytest.mark.parametrize("measures", [(0, 5, 1, 1, 1, 1), (5, 0, 1, 1, 1, 1), (5, 5, -1, 1, 1, 1), (5, 5, 1, 1, 1, -1)])
def test_a_floor_needs_aisles_cells_and_distances(measures: tuple[int, int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"floor has|distances are"):
        Layout(*measures)
