"""Proof for few orders: every group that fits is a column of a set partitioning problem, which is solved by the linear
relaxation and a search among the columns whose reduced cost leaves them a chance.

The relaxation is solved in floating point, but nothing rests on it: its prices are rounded and lowered until they are
feasible in integers, and only that is used for pruning.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from math import gcd
from typing import Final, NamedTuple

from oms.fulfillment.picking.groups import Group, Groups, Problem

_MOST_COLUMNS: Final = 120_000
_SCALE: Final = 1 << 24
_PORTION: Final = 2_000


class Column(NamedTuple):
    """A group that fits, and its walk's length."""

    members: Group
    length: int


class _OutOfTimeError(Exception):
    """The clock has run past the end."""


def prove(problem: Problem, known: Groups, end: float, clock: Callable[[], float]) -> tuple[Groups, bool]:
    """The known batches or better ones, and whether they are the best of all; too little time, or too many possible
    groups, do not allow to be sure."""
    if not known:
        return known, True
    try:
        columns = fitting_groups(problem, end, clock)
        if columns is None:
            return known, False
        return _cheapest(problem, columns, _worth(problem, columns, end, clock), known, end, clock)
    except _OutOfTimeError:
        return known, False


def lower_bound(problem: Problem, end: float, clock: Callable[[], float]) -> int | None:
    """A total that no batches can undercut; None when there is no time, or too many groups, to say."""
    try:
        columns = fitting_groups(problem, end, clock)
        return None if columns is None else -(-_worth(problem, columns, end, clock).bound // _SCALE)
    except _OutOfTimeError:
        return None


def fitting_groups(problem: Problem, end: float, clock: Callable[[], float]) -> list[Column] | None:
    """Every group of orders within the capacity; None when there are more than can be handled."""
    columns: list[Column] = []
    smallest = [0] * (len(problem.sizes) + 1)
    smallest[-1] = problem.capacity + 1
    for index in reversed(problem.orders):
        smallest[index] = min(problem.sizes[index], smallest[index + 1])
    stack: list[tuple[Group, int, int]] = [((), 0, problem.capacity)]
    while stack:
        members, bits, room = stack.pop()
        first = members[-1] + 1 if members else 0
        for index in range(first, len(problem.sizes)):
            if smallest[index] > room:
                break
            size = problem.sizes[index]
            if size <= room:
                group, united = (*members, index), bits | problem.bits[index]
                columns.append(Column(group, problem.meter(united)))
                stack.append((group, united, room - size))
        if len(columns) > _MOST_COLUMNS:
            return None
        _watch(end, clock)
    return columns


def _watch(end: float, clock: Callable[[], float]) -> None:
    if clock() >= end:
        raise _OutOfTimeError


class _Worth(NamedTuple):
    """What each order, and each walk up to the ``fewest`` that are needed, adds to a bound: ``_SCALE`` to the unit, and
    no group is worth more than its walk is long."""

    orders: Sequence[int]
    walk: int
    fewest: int

    @property
    def bound(self) -> int:
        return sum(self.orders) + self.fewest * self.walk

    def left(self, column: Column) -> int:
        """The reduced cost of a group, which is never negative."""
        worth = self.walk
        for index in column.members:
            worth += self.orders[index]
        return column.length * _SCALE - worth


def _worth(problem: Problem, columns: Sequence[Column], end: float, clock: Callable[[], float]) -> _Worth:
    fewest = -(-sum(problem.sizes) // problem.capacity)
    *prices, walk = _prices(len(problem.sizes), fewest, columns, end, clock)
    worth = _Worth([round(price * _SCALE) for price in prices], max(0, round(walk * _SCALE)), fewest)
    lowered = list(worth.orders)
    worth = worth._replace(orders=lowered)
    for column in columns:
        lowered[column.members[0]] += min(0, worth.left(column))
    return worth


def _prices(count: int, fewest: int, columns: Sequence[Column], end: float, clock: Callable[[], float]) -> list[float]:
    """What each order is worth in the linear relaxation and, last, each of the walks that are needed at least: the
    revised simplex method, begun from the single orders.

    The right-hand sides are disturbed a little, so that no step stands still; prices stay valid whatever they are.
    """
    chance = random.Random(0)  # noqa: S311 - variety, not secrecy
    singles = {column.members[0]: column.length for column in columns if len(column.members) == 1}
    # The last row counts walks; its column of the basis is what there is beyond the fewest, and costs nothing.
    costs = [*(float(singles[index]) for index in range(count)), 0.0]
    inverse = [[float(row == column) for column in range(count + 1)] for row in range(count)]
    inverse.append([1.0] * count + [-1.0])
    values = [1 + chance.random() * 1e-4 for _ in range(count)]
    values.append(sum(values) - fewest)
    begin, tolerance = 0, 1e-9 * (1 + max(costs))
    while True:
        _watch(end, clock)
        prices = [
            sum(cost * row[index] for cost, row in zip(costs, inverse, strict=True)) for index in range(count + 1)
        ]
        entering, begin = _entering(columns, prices, begin, -tolerance)
        if entering is not None:
            length = float(entering.length)
            enters = [row[count] + sum(row[index] for index in entering.members) for row in inverse]
        elif prices[count] < -tolerance:
            length, enters = 0.0, [-row[count] for row in inverse]
        else:
            return prices
        ratios = [(values[row] / enters[row], row) for row in range(count + 1) if enters[row] > 1e-9]
        if not ratios:
            return prices  # only by rounding: costs are not negative, so no column can be used without end
        step, leaving = min(ratios)
        pivot = inverse[leaving] = [each / enters[leaving] for each in inverse[leaving]]
        for row in range(count + 1):
            factor = enters[row]
            if row != leaving and factor:
                inverse[row] = [each - factor * other for each, other in zip(inverse[row], pivot, strict=True)]
                values[row] -= factor * step
        values[leaving] = step
        costs[leaving] = length


def _entering(
    columns: Sequence[Column], prices: Sequence[float], begin: int, least: float
) -> tuple[Column | None, int]:
    """The best of the first portion of columns that has any worth more than its walk, and where to go on next time."""
    walk = prices[-1]
    found = None
    for offset in range(0, len(columns), _PORTION):
        start = (begin + offset) % len(columns)
        for column in columns[start : start + _PORTION]:
            reduced = column.length - walk
            for index in column.members:
                reduced -= prices[index]
            if reduced < least:
                found, least = column, reduced
        if found is not None:
            return found, start
    return None, begin


def _cheapest(
    problem: Problem,
    columns: Sequence[Column],
    worth: _Worth,
    known: Groups,
    end: float,
    clock: Callable[[], float],
) -> tuple[Groups, bool]:
    """The known batches, or better ones, and whether all that could be better have been tried."""
    best = known
    # All lengths are multiples of this, so whatever is better is better by as much.
    unit = gcd(*(column.length for column in columns)) or 1
    slack = (problem.total(known) - unit) * _SCALE - worth.bound
    promising = sorted((left, column.members) for column in columns if (left := worth.left(column)) <= slack)
    # Orders in the order of how few groups they have left: what is hard to place is placed first.
    having = Counter(index for _, members in promising for index in members)
    rank = {index: place for place, index in enumerate(sorted(problem.orders, key=lambda index: having[index]))}
    by_first: list[list[tuple[int, int, Group]]] = [[] for _ in problem.orders]
    for left, members in promising:
        places = [rank[index] for index in members]
        by_first[min(places)].append((left, sum(1 << place for place in places), members))
    everything = (1 << len(problem.sizes)) - 1
    reached: dict[tuple[int, int], int] = {}

    def place(covered: int, spent: int, groups: tuple[Group, ...]) -> None:
        nonlocal best, slack
        if covered == everything:
            best, slack = groups, spent - unit * _SCALE
            return
        _watch(end, clock)
        # The same orders in as many walks, reached for no more: all that could follow has been tried.
        if reached.get((covered, len(groups)), spent + 1) <= spent:
            return
        reached[covered, len(groups)] = spent
        if len(groups) >= worth.fewest:
            spent += worth.walk
        first = (~covered & (covered + 1)).bit_length() - 1
        for left, mask, members in by_first[first]:
            if spent + left > slack:
                break
            if not mask & covered:
                place(covered | mask, spent + left, (*groups, members))

    try:
        place(0, 0, ())
    except _OutOfTimeError:
        return best, False
    return best, True
