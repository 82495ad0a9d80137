"""Proof for few orders: every group that fits is a column of a set partitioning problem, which is solved by the linear
relaxation and a search among the columns whose reduced cost leaves them a chance.

The relaxation is solved in floating point, but nothing rests on it: its prices are rounded and lowered until they are
feasible in integers, and only that is used for pruning.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import gcd
from typing import Final, NamedTuple

from oms.fulfillment.picking.groups import Group, Groups, Problem

_MOST_COLUMNS: Final = 120_000
_SCALE: Final = 1 << 24


class Column(NamedTuple):
    """A group that fits, and its walk's length."""

    members: Group
    length: int


class _OutOfTimeError(Exception):
    """The clock has run past the end."""


def prove(problem: Problem, known: Groups, end: float, clock: Callable[[], float]) -> Groups | None:
    """The best batches of all, or None when the time or the number of possible groups does not allow to be sure."""
    if not known:
        return known
    try:
        columns = fitting_groups(problem, end, clock)
        if columns is None:
            return None
        prices = _feasible(columns, _prices(len(problem.sizes), columns, end, clock))
        return _cheapest(problem, columns, prices, known, end, clock)
    except _OutOfTimeError:
        return None


def lower_bound(problem: Problem, end: float, clock: Callable[[], float]) -> int | None:
    """A total that no batches can undercut; None when there is no time, or too many groups, to say."""
    try:
        columns = fitting_groups(problem, end, clock)
        if columns is None:
            return None
        prices = _feasible(columns, _prices(len(problem.sizes), columns, end, clock))
        return -(-sum(prices) // _SCALE)
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


def _prices(count: int, columns: Sequence[Column], end: float, clock: Callable[[], float]) -> list[float]:
    """What each order is worth in the linear relaxation: the revised simplex method, begun from the single orders.

    The right-hand sides are disturbed a little, so that no step stands still; prices stay valid whatever they are.
    """
    chance = random.Random(0)  # noqa: S311 - variety, not secrecy
    singles = {column.members[0]: column.length for column in columns if len(column.members) == 1}
    costs = [float(singles[index]) for index in range(count)]
    inverse = [[float(row == column) for column in range(count)] for row in range(count)]
    values = [1 + chance.random() * 1e-4 for _ in range(count)]
    prices = costs[:]
    while True:
        _watch(end, clock)
        chosen, least = None, -1e-7 * (1 + max(prices, default=0.0))
        for column in columns:
            reduced = float(column.length)
            for index in column.members:
                reduced -= prices[index]
            if reduced < least:
                chosen, least = column, reduced
        if chosen is None:
            return prices
        enters = [sum(row[index] for index in chosen.members) for row in inverse]
        ratios = [(values[row] / enters[row], row) for row in range(count) if enters[row] > 1e-9]
        step, leaving = min(ratios)
        pivot = inverse[leaving] = [each / enters[leaving] for each in inverse[leaving]]
        for row in range(count):
            factor = enters[row]
            if row != leaving and factor:
                inverse[row] = [each - factor * other for each, other in zip(inverse[row], pivot, strict=True)]
                values[row] -= factor * step
        values[leaving] = step
        costs[leaving] = float(chosen.length)
        prices = [sum(cost * row[index] for cost, row in zip(costs, inverse, strict=True)) for index in range(count)]


def _feasible(columns: Sequence[Column], prices: Sequence[float]) -> list[int]:
    """Prices in integers, ``_SCALE`` to the unit, such that no group is worth more than its walk."""
    whole = [round(price * _SCALE) for price in prices]
    for column in columns:
        excess = sum(whole[index] for index in column.members) - column.length * _SCALE
        if excess > 0:
            whole[column.members[0]] -= excess
    return whole


def _cheapest(
    problem: Problem,
    columns: Sequence[Column],
    prices: Sequence[int],
    known: Groups,
    end: float,
    clock: Callable[[], float],
) -> Groups:
    """The known batches, or better ones, after all that could be better have been tried."""
    best, bound = known, sum(prices)
    unit = 0
    for column in columns:
        unit = gcd(unit, column.length)
    unit = unit or 1
    slack = (problem.total(known) - unit) * _SCALE - bound
    reduced = [
        (column.length * _SCALE - sum(prices[index] for index in column.members), column.members) for column in columns
    ]
    reduced = sorted(entry for entry in reduced if entry[0] <= slack)
    # Orders in the order of how few groups they have left: what is hard to place is placed first.
    having = [sum(index in members for _, members in reduced) for index in problem.orders]
    rank = {index: place for place, index in enumerate(sorted(problem.orders, key=lambda index: having[index]))}
    by_first: list[list[tuple[int, int, Group]]] = [[] for _ in problem.orders]
    for cost, members in reduced:
        places = [rank[index] for index in members]
        by_first[min(places)].append((cost, sum(1 << place for place in places), members))
    everything = (1 << len(problem.sizes)) - 1

    def place(covered: int, spent: int, groups: tuple[Group, ...]) -> None:
        nonlocal best, slack
        if covered == everything:
            best, slack = groups, spent - unit * _SCALE
            return
        _watch(end, clock)
        first = (~covered & (covered + 1)).bit_length() - 1
        for cost, mask, members in by_first[first]:
            if spent + cost > slack:
                break
            if not mask & covered:
                place(covered | mask, spent + cost, (*groups, members))

    place(0, 0, ())
    return best
