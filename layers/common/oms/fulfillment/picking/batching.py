"""Which orders are picked on one walk: methods from none at all to a search, all within the cart's capacity.

Orders are never split. Above ``WINDOW`` orders the work is cut into windows in the order in which it was given (which
is its urgency) and each is batched by itself, so that the effort grows with the orders and not with their square.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from oms.fulfillment.picking import exact, search
from oms.fulfillment.picking.groups import Group, Groups, Problem
from oms.fulfillment.picking.layout import Layout, Spot
from oms.fulfillment.picking.routing import OPTIMAL, Meter, Policy, Route

WINDOW: Final = 150
EXACT_ORDERS: Final = 20
"""So many orders at most are solved to a proof, if the time allows."""


class Pick(NamedTuple):
    """Units to be taken from a cell."""

    spot: Spot
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class PickOrder:
    """What has to be collected together."""

    order_id: str
    picks: tuple[Pick, ...]
    size: int | None = None
    """What it takes of the capacity where that is not its items: one slot of a cart, for example."""

    @property
    def items(self) -> int:
        """How much of the capacity it takes."""
        return sum(pick.quantity for pick in self.picks) if self.size is None else self.size


@dataclass(frozen=True, slots=True)
class Instance:
    """A problem: a floor, what one walk can carry, and orders. Raises ``ValueError`` for orders that cannot be picked
    in one walk or name cells that do not exist."""

    layout: Layout
    capacity: int
    orders: tuple[PickOrder, ...]

    def __post_init__(self) -> None:
        for order in self.orders:
            if not order.picks:
                raise ValueError(f"order {order.order_id} has no picks")
            if any(pick.quantity < 1 for pick in order.picks):
                raise ValueError(f"order {order.order_id} has a quantity below 1")
            if order.items > self.capacity:
                raise ValueError(f"order {order.order_id} has {order.items} items, and a walk takes {self.capacity}")
            self.layout.bits(pick.spot for pick in order.picks)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a search may go on: seconds, and rounds where the same answer is wanted on every machine."""

    seconds: float = 4.0
    rounds: int | None = None
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Orders that are picked together, and the walk."""

    orders: tuple[PickOrder, ...]
    route: Route

    @property
    def items(self) -> int:
        return sum(order.items for order in self.orders)


@dataclass(frozen=True, slots=True)
class Solution:
    """Batches that hold every order once. ``proven``: no other batches have a smaller total under the policy."""

    batches: tuple[Batch, ...]
    proven: bool = False

    @property
    def total(self) -> int:
        """The length of all walks."""
        return sum(batch.route.length for batch in self.batches)


class _Found(NamedTuple):
    groups: Groups
    proven: bool = False


def solve(
    instance: Instance,
    method: str = "best",
    policy: Policy = OPTIMAL,
    effort: Effort | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Solution:
    """Batches and their routes. Raises ``KeyError`` for a method that does not exist."""
    batch = METHODS[method]
    effort = effort or Effort()
    end = clock() + effort.seconds
    windows = list(_windows(instance.orders))
    meter = Meter(instance.layout, policy)
    batches: list[Batch] = []
    proven = len(windows) <= 1
    for number, orders in enumerate(windows):
        problem = bare(instance, orders, meter)
        share = replace(effort, seconds=max(0.0, end - clock()) / (len(windows) - number))
        found = batch(problem, share, clock)
        proven &= found.proven
        for group in found.groups:
            members = tuple(orders[index] for index in group)
            spots = (pick.spot for order in members for pick in order.picks)
            batches.append(Batch(members, policy.route(instance.layout, spots)))
    return Solution(tuple(batches), proven)


def bare(instance: Instance, orders: Sequence[PickOrder], meter: Meter) -> Problem:
    """The problem of batching these orders of an instance, without names."""
    return Problem(
        tuple(instance.layout.bits(pick.spot for pick in order.picks) for order in orders),
        tuple(order.items for order in orders),
        instance.capacity,
        meter,
    )


def _windows(orders: Sequence[PickOrder]) -> Iterator[Sequence[PickOrder]]:
    for start in range(0, len(orders), WINDOW):
        yield orders[start : start + WINDOW]


# ---- methods -------------------------------------------------------------------------------------------------------


def single(problem: Problem) -> Groups:
    """Every order by itself."""
    return [(index,) for index in problem.orders]


def first_come_first_served(problem: Problem) -> Groups:
    """Orders as they come; a batch is closed by the first order that does not fit."""
    groups: list[list[int]] = []
    room = 0
    for index in problem.orders:
        if problem.sizes[index] > room:
            groups.append([])
            room = problem.capacity
        groups[-1].append(index)
        room -= problem.sizes[index]
    return [tuple(group) for group in groups]


def savings(problem: Problem) -> Groups:
    """Clarke and Wright, with the savings worked out anew for every batch that comes about: unite the two batches whose
    union saves most, until nothing is saved any more."""
    alive: dict[int, Group] = {index: (index,) for index in problem.orders}
    bits, sizes = dict(enumerate(problem.bits)), dict(enumerate(problem.sizes))
    unions: list[tuple[int, int, int]] = []

    def consider(one: int, other: int) -> None:
        if sizes[one] + sizes[other] <= problem.capacity:
            saved = problem.meter(bits[one]) + problem.meter(bits[other]) - problem.meter(bits[one] | bits[other])
            if saved > 0:
                heapq.heappush(unions, (-saved, one, other))

    for other in problem.orders:
        for one in range(other):
            consider(one, other)
    while unions:
        _, one, other = heapq.heappop(unions)
        if one in alive and other in alive:
            union = len(bits)
            bits[union], sizes[union] = bits[one] | bits[other], sizes[one] + sizes[other]
            group = alive.pop(one) + alive.pop(other)
            for each in alive:
                consider(each, union)
            alive[union] = group
    return list(alive.values())


def seed(problem: Problem) -> Groups:
    """Begin a batch with the order that walks furthest, and add the order that saves most as long as one fits."""
    left = sorted(problem.orders, key=lambda index: (-problem.alone(index), index))
    groups: list[Group] = []
    while left:
        members = [left.pop(0)]
        bits, room = problem.bits[members[0]], problem.capacity - problem.sizes[members[0]]
        while fitting := [index for index in left if problem.sizes[index] <= room]:
            length = problem.meter(bits)
            saved = {
                index: length + problem.alone(index) - problem.meter(bits | problem.bits[index]) for index in fitting
            }
            chosen = max(fitting, key=lambda index: saved[index])
            if saved[chosen] <= 0:
                break
            left.remove(chosen)
            members.append(chosen)
            bits, room = bits | problem.bits[chosen], room - problem.sizes[chosen]
        groups.append(tuple(members))
    return groups


def best(problem: Problem, effort: Effort, clock: Callable[[], float]) -> _Found:
    """The search, begun from the best of the simple methods: never worse than any of them. Few orders are searched
    for a third of the time at most; the rest is for the proof, or for more searching where none can be attempted."""
    end = clock() + effort.seconds
    start = min((method(problem) for method in (savings, seed, first_come_first_served, single)), key=problem.total)
    if len(problem.sizes) > EXACT_ORDERS:
        return _Found(search.improved(problem, start, end, effort.rounds, effort.seed, clock))
    middle = clock() + (end - clock()) / 3
    found = search.improved(problem, start, middle, effort.rounds or _FEW_ROUNDS, effort.seed, clock)
    found, proven = exact.prove(problem, found, end, clock)
    if not proven:
        found = search.improved(problem, found, end, effort.rounds, effort.seed + 1, clock)
    return _Found(found, proven)


_FEW_ROUNDS: Final = 3_000
Method = Callable[[Problem, Effort, Callable[[], float]], _Found]


def _plain(method: Callable[[Problem], Groups]) -> Method:
    return lambda problem, effort, clock: _Found(method(problem))


METHODS: Final[Mapping[str, Method]] = {
    "best": best,
    "savings": _plain(savings),
    "seed": _plain(seed),
    "fcfs": _plain(first_come_first_served),
    "single": _plain(single),
}


def order_of(order_id: str, spots: Iterable[Spot | Pick]) -> PickOrder:
    """An order, shortly: one unit from each spot unless a pick says otherwise."""
    return PickOrder(order_id, tuple(spot if isinstance(spot, Pick) else Pick(spot) for spot in spots))
