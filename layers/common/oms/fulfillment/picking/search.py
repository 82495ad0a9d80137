"""Improving batches by ruin and recreate: orders that lie near one another are taken out and put back where they cost
least, and what comes of it is accepted by a threshold that falls with time (simulated annealing)."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import log
from typing import Final, NamedTuple

from oms.fulfillment.picking.groups import Groups, Problem

_HOT, _COLD = 0.004, 0.00005
"""Temperatures, as shares of the total at the start."""
_TAKEN: Final = 12
_OVERLOOKED: Final = 0.02
"""How often the best place for an order is not looked at: variety for little."""


class _Walk(NamedTuple):
    members: tuple[int, ...]
    load: int
    bits: int
    length: int


def improved(
    problem: Problem, start: Groups, end: float, rounds: int | None, seed: int, clock: Callable[[], float]
) -> Groups:
    """The best batches that are found before ``end`` (of the clock) or within so many rounds; never worse than
    ``start``. With ``rounds`` and time enough, the same seed finds the same."""
    if len(problem.sizes) < 2 or clock() >= end:
        return start
    chance = random.Random(seed)  # noqa: S311 - variety, not secrecy
    near = _neighbours(problem)
    current = [_walk(problem, group) for group in start]
    total = best_total = sum(walk.length for walk in current)
    best = current
    began, hot, cold = clock(), _HOT * total + 1e-9, _COLD * total + 1e-9
    progress, heat, number = 0.0, hot, 0
    while progress < 1.0:
        if number % 16 == 0:
            now = clock()
            if now >= end:
                break
            progress = number / rounds if rounds else (now - began) / (end - began)
            heat = hot * (cold / hot) ** min(progress, 1.0)
        number += 1
        kept, taken = _ruin(problem, current, near, chance)
        after, after_total = _recreate(problem, kept, taken, chance)
        if after_total < total - heat * log(chance.random() or 1e-300):
            current, total = after, after_total
            if total < best_total:
                best, best_total = current, total
    return [walk.members for walk in best]


def _walk(problem: Problem, members: tuple[int, ...]) -> _Walk:
    bits = problem.united(members)
    return _Walk(members, sum(problem.sizes[index] for index in members), bits, problem.meter(bits))


def _neighbours(problem: Problem) -> list[list[int]]:
    """For each order all orders, itself first, by the share of the walking that picking both at once saves."""
    alone = [problem.alone(index) for index in problem.orders]
    shares = [[0.0] * len(alone) for _ in alone]
    for one in problem.orders:
        for other in range(one):
            apart = alone[one] + alone[other]
            together = problem.meter(problem.bits[one] | problem.bits[other])
            shares[one][other] = shares[other][one] = 1 - together / apart if apart else 0.0
        shares[one][one] = 2.0
    return [sorted(problem.orders, key=share.__getitem__, reverse=True) for share in shares]


def _ruin(
    problem: Problem, walks: list[_Walk], near: list[list[int]], chance: random.Random
) -> tuple[list[_Walk], list[int]]:
    """Take orders out of walks that neighbours of a random order are on: whole walks, or some of each."""
    home = {index: number for number, walk in enumerate(walks) for index in walk.members}
    wanted = chance.randint(2, min(_TAKEN, len(home)))
    share = chance.choice((0.3, 0.5, 1.0))
    taken: list[int] = []
    touched: set[int] = set()
    for index in near[chance.randrange(len(near))]:
        number = home[index]
        if number in touched or chance.random() < 0.2:
            continue
        touched.add(number)
        members = walks[number].members
        if share == 1.0:
            taken += members
        else:
            count = max(1, round(share * len(members)))
            others = [other for other in members if other != index]
            taken += [index, *chance.sample(others, count - 1)]
        if len(taken) >= wanted:
            break
    gone = set(taken)
    kept = [walk for number, walk in enumerate(walks) if number not in touched]
    for number in touched:
        rest = tuple(index for index in walks[number].members if index not in gone)
        if rest:
            kept.append(_walk(problem, rest))
    return kept, taken


def _recreate(problem: Problem, walks: list[_Walk], taken: list[int], chance: random.Random) -> tuple[list[_Walk], int]:
    """Put every order where it lengthens the walking least."""
    meter, capacity, draw = problem.meter, problem.capacity, chance.random
    chance.shuffle(taken)
    way = chance.randrange(3)
    if way == 1:
        taken.sort(key=lambda index: -problem.sizes[index])
    elif way == 2:
        taken.sort(key=lambda index: -problem.alone(index))
    for index in taken:
        bits, size = problem.bits[index], problem.sizes[index]
        room = capacity - size
        length = meter(bits)
        least, place = length, -1
        for number, walk in enumerate(walks):
            if walk.load <= room:
                longer = meter(walk.bits | bits) - walk.length
                if longer < least and draw() > _OVERLOOKED:
                    least, place, length = longer, number, walk.length + longer
        if place < 0:
            walks.append(_Walk((index,), size, bits, meter(bits)))
        else:
            walk = walks[place]
            walks[place] = _Walk((*walk.members, index), walk.load + size, walk.bits | bits, length)
    return walks, sum(walk.length for walk in walks)
