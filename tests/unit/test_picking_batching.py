"""Batches of orders: complete, within the cart, never worse than savings, and best where that can be proven."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oms.fulfillment.picking import batching, exact, search
from oms.fulfillment.picking.batching import (
    METHODS,
    WINDOW,
    Effort,
    Instance,
    Pick,
    PickOrder,
    Solution,
    order_of,
    solve,
)
from oms.fulfillment.picking.groups import Group, Groups, Problem
from oms.fulfillment.picking.layout import Layout, Spot
from oms.fulfillment.picking.routing import OPTIMAL, POLICIES, Meter, Policy

FLOOR = Layout(aisles=4, cells=8, aisle_spacing=5, cell_length=1, front_offset=1, back_offset=1, depot_offset=1)
QUICK = Effort(seconds=10, rounds=60)
EVERY_METHOD = pytest.mark.parametrize("method", METHODS)


@st.composite
def instances(draw: st.DrawFn, most: int = 9) -> Instance:
    spot = st.builds(Spot, st.integers(0, FLOOR.aisles - 1), st.integers(0, FLOOR.cells - 1))
    picks = st.lists(st.builds(Pick, spot, st.integers(1, 2)), min_size=1, max_size=4)
    orders = draw(st.lists(picks, max_size=most))
    named = tuple(PickOrder(f"order-{number}", tuple(each)) for number, each in enumerate(orders))
    return Instance(FLOOR, draw(st.integers(8, 20)), named)


def a_day(orders: int, seed: int = 1, capacity: int = 12) -> Instance:
    chance = random.Random(seed)

    def spots() -> list[Spot]:
        return [
            Spot(chance.randrange(FLOOR.aisles), chance.randrange(FLOOR.cells)) for _ in range(chance.randint(1, 5))
        ]

    return Instance(FLOOR, capacity, tuple(order_of(f"order-{number}", spots()) for number in range(orders)))


def problem_of(instance: Instance) -> Problem:
    return batching.bare(instance, instance.orders, Meter(instance.layout, OPTIMAL))


def partitions(problem: Problem, left: tuple[int, ...]) -> Iterator[Groups]:
    """Every way to put the orders into groups that fit."""
    if not left:
        yield []
        return
    first, *others = left
    for choice in range(1 << len(others)):
        group: Group = (first, *(index for place, index in enumerate(others) if choice >> place & 1))
        if sum(problem.sizes[index] for index in group) <= problem.capacity:
            rest = tuple(index for index in others if index not in group)
            for groups in partitions(problem, rest):
                yield [group, *groups]


def check(instance: Instance, solution: Solution) -> None:
    ids = [order.order_id for batch in solution.batches for order in batch.orders]
    assert sorted(ids) == sorted(order.order_id for order in instance.orders)
    for batch in solution.batches:
        assert 0 < batch.items == sum(order.items for order in batch.orders) <= instance.capacity
        assert {pick.spot for order in batch.orders for pick in order.picks} == set(batch.route.picks(instance.layout))
    assert solution.total == sum(instance.layout.walked(batch.route.path) for batch in solution.batches)


@EVERY_METHOD
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=40)
@given(instance=instances(), policy=st.sampled_from(list(POLICIES.values())))
def test_every_order_is_in_one_batch_that_fits(method: str, instance: Instance, policy: Policy) -> None:
    check(instance, solve(instance, method, policy, QUICK))


@settings(deadline=None, max_examples=40)
@given(instance=instances(), policy=st.sampled_from(list(POLICIES.values())))
def test_the_search_is_never_worse_than_any_other_method(instance: Instance, policy: Policy) -> None:
    totals = {method: solve(instance, method, policy, QUICK).total for method in METHODS}
    assert totals["best"] == min(totals.values())


@settings(deadline=None, max_examples=30)
@given(instance=instances(most=7))
def test_a_proven_total_is_the_least_of_all_partitions(instance: Instance) -> None:
    problem = problem_of(instance)
    least = min(problem.total(groups) for groups in partitions(problem, tuple(problem.orders)))
    solution = solve(instance, effort=QUICK)
    assert solution.proven
    assert solution.total == least


@settings(deadline=None, max_examples=30)
@given(instance=instances(most=7))
def test_the_proof_mends_a_bad_start_and_its_bound_is_below_every_total(instance: Instance) -> None:
    problem, ticks = problem_of(instance), count()
    start = batching.single(problem)
    found, proven = exact.prove(problem, start, 1e9, lambda: float(next(ticks)))
    assert proven
    assert problem.total(found) == solve(instance, effort=QUICK).total
    bound = exact.lower_bound(problem, 1e9, lambda: 0.0)
    assert bound is not None
    assert bound <= problem.total(found)


def test_a_proof_without_time_is_no_proof() -> None:
    problem = problem_of(a_day(12))
    start = batching.savings(problem)
    assert exact.prove(problem, start, 0.0, lambda: 1.0) == (start, False)
    assert exact.lower_bound(problem, 0.0, lambda: 1.0) is None


def test_a_proof_that_is_cut_short_keeps_what_it_found() -> None:
    problem = problem_of(a_day(12))
    start = batching.single(problem)
    totals: list[int] = []
    for time_given in range(0, 3_000, 100):
        ticks = count()
        found, proven = exact.prove(problem, start, float(time_given), lambda ticks=ticks: float(next(ticks)))  # type: ignore[misc]
        totals.append(problem.total(found))
        if proven:
            break
    assert proven
    assert totals == sorted(totals, reverse=True)
    assert totals[0] > totals[-1]


def test_a_proof_is_not_attempted_among_too_many_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_MOST_COLUMNS", 20)
    solution = solve(a_day(12), effort=QUICK)
    assert not solution.proven
    check(a_day(12), solution)


def test_the_same_seed_and_rounds_find_the_same() -> None:
    instance = a_day(40)
    assert solve(instance, effort=Effort(60, 80, seed=3)) == solve(instance, effort=Effort(60, 80, seed=3))


def test_the_search_improves_on_savings_and_ends_in_time() -> None:
    instance, now = a_day(40), count()
    problem = problem_of(instance)
    start = batching.savings(problem)
    found = search.improved(problem, start, 40.0, None, 1, lambda: float(next(now)))
    assert problem.total(found) < problem.total(start)
    assert next(now) < 45
    assert search.improved(problem, start, 40.0, None, 1, lambda: 41.0) == start


def test_a_batch_in_the_order_of_coming_is_closed_by_what_does_not_fit() -> None:
    sizes = (3, 4, 5, 1)
    orders = tuple(order_of(str(number), [Pick(Spot(0, 0), size)]) for number, size in enumerate(sizes))
    solution = solve(Instance(FLOOR, 8, orders), "fcfs")
    assert [[order.order_id for order in batch.orders] for batch in solution.batches] == [["0", "1"], ["2", "3"]]


def test_savings_unites_orders_of_one_aisle() -> None:
    far, near = Spot(3, 0), Spot(0, 7)
    orders = tuple(order_of(str(number), [spot]) for number, spot in enumerate((far, near, far, near)))
    for method in ("savings", "seed", "best"):
        solution = solve(Instance(FLOOR, 2, orders), method)
        batches = sorted(sorted(order.order_id for order in batch.orders) for batch in solution.batches)
        assert batches == [["0", "2"], ["1", "3"]]


def test_what_saves_nothing_is_not_united() -> None:
    orders = (order_of("a", [Spot(0, 0)]), order_of("b", [Spot(3, 7)]))
    for method in ("savings", "seed"):
        assert len(solve(Instance(FLOOR, 2, orders), method, POLICIES["s-shape"]).batches) == 1
    # Two aisles make an S-shape pass through both, which is longer than turning in each.
    near = Layout(aisles=2, cells=50, aisle_spacing=1, cell_length=1, front_offset=1, back_offset=1)
    shallow = (order_of("a", [Spot(0, 49)]), order_of("b", [Spot(1, 49)]))
    for method in ("savings", "seed", "best"):
        assert len(solve(Instance(near, 2, shallow), method, POLICIES["s-shape"]).batches) == 2


@pytest.mark.parametrize("method", ["best", "savings", "seed"])
def test_many_orders_are_batched_in_windows_of_their_urgency(method: str) -> None:
    instance = a_day(2 * WINDOW + 1)
    solution = solve(instance, method, effort=Effort(60, 5))
    check(instance, solution)
    assert not solution.proven
    rank = {order.order_id: number for number, order in enumerate(instance.orders)}
    for batch in solution.batches:
        assert len({rank[order.order_id] // WINDOW for order in batch.orders}) == 1


def test_nothing_to_pick_is_no_batch() -> None:
    solution = solve(Instance(FLOOR, 5, ()))
    assert (solution.batches, solution.total, solution.proven) == ((), 0, True)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (PickOrder("a", ()), "has no picks"),
        (PickOrder("a", (Pick(Spot(0, 0), 0),)), "quantity below 1"),
        (PickOrder("a", (Pick(Spot(0, 0), 9),)), "has 9 items"),
        (PickOrder("a", (Pick(Spot(9, 0)),)), "no cell 0 in aisle 9"),
    ],
)
def test_an_order_that_cannot_be_picked_is_refused(order: PickOrder, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Instance(FLOOR, 8, (order,))
