"""Routes of one walk through the block, by six policies, and how long they are.

Each policy is two pure functions: a length, which batching asks for very often, and a path with exactly that length.
The optimal policy is the dynamic programme of Ratliff and Rosenthal (1983): aisle by aisle it keeps the best way to
walk everything so far, for every way in which the rest may be joined on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from oms.fulfillment.picking.layout import Layout, Spot

_NEVER: Final = 1 << 60
_REMEMBERED: Final = 400_000


@dataclass(frozen=True, slots=True)
class Route:
    """A walk from the depot and back. ``path`` names every pick and every turn; between two neighbours the way is
    straight."""

    path: tuple[Spot, ...]
    length: int

    def picks(self, layout: Layout) -> list[Spot]:
        """The cells of the path in the order in which they are first reached."""
        return list(dict.fromkeys(spot for spot in self.path if layout.has(spot)))


class AisleCost(NamedTuple):
    """What it costs to visit all picks of one aisle without passing through."""

    front: int
    """In from the front as far as needed, and out again."""
    back: int
    gap: int
    """From both ends, leaving out the widest way between two picks."""
    halves: int
    """From both ends, each as far as the middle requires."""
    least: int
    """The least of ``front``, ``back`` and ``gap``."""


Costs = Sequence[AisleCost | None]
"""By aisle up to the last with picks; None where there is nothing to pick."""
Aisles = Sequence[tuple[int, Sequence[int]]]
"""The aisles with picks from left to right, each with its cells from the back to the front."""


def _cells(mask: int) -> list[int]:
    return [cell for cell, digit in enumerate(reversed(f"{mask:b}")) if digit == "1"]


class _Gauge:
    """Works out ``AisleCost`` from the cells of an aisle as a mask."""

    def __init__(self, layout: Layout) -> None:
        whole, depths = layout.aisle_length, [layout.depth(cell) for cell in range(layout.cells)]
        self._twice, self._twice_cell = 2 * whole, 2 * layout.cell_length
        self._front = [2 * depth for depth in depths]
        self._back = [2 * (whole - depth) for depth in depths]
        self._behind = _behind_middle(layout)

    def __call__(self, mask: int) -> AisleCost:
        deepest = (mask & -mask).bit_length() - 1
        front, back = self._front[deepest], self._back[mask.bit_length() - 1]
        least = front if front < back else back
        gap = _NEVER
        if mask & (mask - 1):
            # The longest run of noughts between two ones, found where Python is fast.
            empty = len(max(f"{mask >> deepest:b}".split("1")))
            gap = self._twice - (empty + 1) * self._twice_cell
            if gap < least:
                least = gap
        behind = self._behind
        near, far = mask >> behind, mask & ((1 << behind) - 1)
        halves = self._front[behind + (near & -near).bit_length() - 1] if near else 0
        if far:
            halves += self._back[far.bit_length() - 1]
        return AisleCost(front, back, gap, halves, least)


def _behind_middle(layout: Layout) -> int:
    """How many cells are nearer to the back than to the front."""
    if not layout.cell_length:
        return layout.cells if layout.front_offset > layout.back_offset else 0
    # Twice the depth exceeds the aisle's length: front − back + (cells − 1 − 2·cell) · cell_length > 0.
    room = layout.front_offset - layout.back_offset + (layout.cells - 1) * layout.cell_length
    return min(layout.cells, max(0, -(-room // (2 * layout.cell_length))))


# ---- lengths -------------------------------------------------------------------------------------------------------


def _across(layout: Layout, costs: Costs) -> int:
    """What all simple policies walk along the cross-aisles: to the last aisle and back."""
    return 2 * (len(costs) - 1) * layout.aisle_spacing


def _s_shape_length(layout: Layout, costs: Costs) -> int:
    picked = [cost for cost in costs if cost]
    through = len(picked) // 2 * 2 * layout.aisle_length
    return _across(layout, costs) + through + (picked[-1].front if len(picked) % 2 else 0)


def _return_length(layout: Layout, costs: Costs) -> int:
    return _across(layout, costs) + sum(cost.front for cost in costs if cost)


def _around_length(layout: Layout, costs: Costs, between: Callable[[AisleCost], int]) -> int:
    """Through the first and the last aisle, and from both ends into those between."""
    picked = [cost for cost in costs if cost]
    if len(picked) == 1:
        return _across(layout, costs) + picked[0].front
    return _across(layout, costs) + 2 * layout.aisle_length + sum(map(between, picked[1:-1]))


def _midpoint_length(layout: Layout, costs: Costs) -> int:
    return _around_length(layout, costs, lambda cost: cost.halves)


def _largest_gap_length(layout: Layout, costs: Costs) -> int:
    return _around_length(layout, costs, lambda cost: cost.least)


def _composite_length(layout: Layout, costs: Costs) -> int:
    through = layout.aisle_length
    front, back = 0, _NEVER
    for cost in costs:
        if cost:
            front, back = min(front + cost.front, back + through), min(back + cost.back, front + through)
    return _across(layout, costs) + front


def _optimal_length(layout: Layout, costs: Costs) -> int:
    """The states of ``_JOINING`` unrolled: this is where batching spends its time."""
    through, along = layout.aisle_length, 2 * layout.aisle_spacing
    odd = back = joined = apart = _NEVER
    front = 0
    first = True
    for cost in costs:
        if not first:
            odd += along
            either = joined + along
            front = either if joined < front else front + along
            back = either if joined < back else back + along
            joined = either + along
            apart += 2 * along
        first = False
        even = front if front < back else back
        if apart < even:
            even = apart
        if joined < even:
            even = joined
        crossed = even + through
        passed = odd + through
        if cost is None:
            if crossed < odd:
                odd = crossed
            if passed < joined:
                joined = passed
            continue
        near, far, gap, _, least = cost
        odd += least
        if crossed < odd:
            odd = crossed
        joined += least
        if passed < joined:
            joined = passed
        apart += least
        begun = front + (far if far < gap else gap)
        if begun < apart:
            apart = begun
        begun = back + (near if near < gap else gap)
        if begun < apart:
            apart = begun
        front += near
        back += far
    return min(front, back, joined)


# ---- paths ---------------------------------------------------------------------------------------------------------


def _turn(layout: Layout, aisle: int, cells: Sequence[int], *, front: bool) -> list[Spot]:
    """In from one end, past all the cells, and out where we came in; nothing when there are no cells."""
    if not cells:
        return []
    end = layout.front(aisle) if front else layout.back(aisle)
    return [end, *(Spot(aisle, cell) for cell in (reversed(cells) if front else cells)), end]


def _pass(layout: Layout, aisle: int, cells: Sequence[int], *, front: bool) -> list[Spot]:
    """From one end through to the other."""
    spots = [layout.back(aisle), *(Spot(aisle, cell) for cell in cells), layout.front(aisle)]
    return spots[::-1] if front else spots


def _s_shape_path(layout: Layout, aisles: Aisles) -> list[Spot]:
    path: list[Spot] = []
    front = True
    for number, (aisle, cells) in enumerate(aisles, start=1):
        if front and number == len(aisles):
            path += _turn(layout, aisle, cells, front=True)
        else:
            path += _pass(layout, aisle, cells, front=front)
            front = not front
    return path


def _return_path(layout: Layout, aisles: Aisles) -> list[Spot]:
    return [spot for aisle, cells in aisles for spot in _turn(layout, aisle, cells, front=True)]


def _around_path(layout: Layout, aisles: Aisles, split: Callable[[Layout, Sequence[int]], int]) -> list[Spot]:
    """``split`` says how many cells of an aisle are picked from the back."""
    if len(aisles) == 1:
        return _return_path(layout, aisles)
    (first, first_cells), *between, (last, last_cells) = aisles
    parts = [(aisle, cells, split(layout, cells)) for aisle, cells in between]
    path = _pass(layout, first, first_cells, front=True)
    for aisle, cells, count in parts:
        path += _turn(layout, aisle, cells[:count], front=False)
    path += _pass(layout, last, last_cells, front=False)
    for aisle, cells, count in reversed(parts):
        path += _turn(layout, aisle, cells[count:], front=True)
    return path


def _beyond_middle(layout: Layout, cells: Sequence[int]) -> int:
    behind = _behind_middle(layout)
    return sum(cell < behind for cell in cells)


def _beyond_gap(layout: Layout, cells: Sequence[int]) -> int:
    """How many cells lie behind the widest gap, the ends of the aisle included."""
    depths = [layout.depth(cell) for cell in (-1, *cells, layout.cells)]
    gaps = [before - after for before, after in pairwise(depths)]
    return gaps.index(max(gaps))


def _midpoint_path(layout: Layout, aisles: Aisles) -> list[Spot]:
    return _around_path(layout, aisles, _beyond_middle)


def _largest_gap_path(layout: Layout, aisles: Aisles) -> list[Spot]:
    return _around_path(layout, aisles, _beyond_gap)


def _composite_path(layout: Layout, aisles: Aisles) -> list[Spot]:
    through = layout.aisle_length
    front: tuple[int, list[Spot]] = (0, [])
    back: tuple[int, list[Spot]] = (_NEVER, [])
    for aisle, cells in aisles:
        near, far = 2 * layout.depth(cells[0]), 2 * (through - layout.depth(cells[-1]))
        at_front = (
            (front[0] + near, front[1] + _turn(layout, aisle, cells, front=True))
            if front[0] + near <= back[0] + through
            else (back[0] + through, back[1] + _pass(layout, aisle, cells, front=False))
        )
        at_back = (
            (back[0] + far, back[1] + _turn(layout, aisle, cells, front=False))
            if back[0] + far <= front[0] + through
            else (front[0] + through, front[1] + _pass(layout, aisle, cells, front=True))
        )
        front, back = at_front, at_back
    return front[1]


# How what has been walked so far meets the cross-aisles at the current aisle: once at either end ("odd"), twice at the
# front or the back only, or twice at both ends, in one piece ("joined") or in two ("apart"). Only one piece may end.
# The original may also walk an aisle twice from end to end. In one block that is never needed: to walk it once, and
# once the aisle in which the two strands that it joins come to their end, is no longer.
_START: Final = "front"
_ENDS: Final = ("front", "back", "joined")
_JOINING: Final[Mapping[str, Mapping[str, str]]] = {
    "odd": {"through": "joined", "front": "odd", "back": "odd", "gap": "odd"},
    "front": {"through": "odd", "front": "front", "back": "apart", "gap": "apart"},
    "back": {"through": "odd", "front": "apart", "back": "back", "gap": "apart"},
    "joined": {"through": "odd", "front": "joined", "back": "joined", "gap": "joined"},
    "apart": {"through": "odd", "front": "apart", "back": "apart", "gap": "apart"},
}
"""State before an aisle → what is walked in it → state after."""
_ALONG: Final[Mapping[str, Mapping[tuple[int, int], str]]] = {
    "odd": {(1, 1): "odd"},
    "front": {(2, 0): "front"},
    "back": {(0, 2): "back"},
    "joined": {(2, 0): "front", (0, 2): "back", (2, 2): "joined"},
    "apart": {(2, 2): "apart"},
}
"""State after an aisle → how often the front and the back are walked to the next one → state before that."""


class _Partial(NamedTuple):
    """The best way to a state: what was walked in each aisle, and between it and the next."""

    cost: int
    inside: tuple[str, ...]
    between: tuple[tuple[int, int], ...]


def _optimal_path(layout: Layout, aisles: Aisles) -> list[Spot]:
    cells_of = dict(aisles)
    last = max(cells_of)
    best = {_START: _Partial(0, (), ())}
    for aisle in range(last + 1):
        inside: dict[str, _Partial] = {}
        for state, partial in best.items():
            for way, cost in _ways(layout, cells_of.get(aisle)).items():
                after = state if way == "none" else _JOINING[state].get(way)
                if after is not None:
                    found = _Partial(partial.cost + cost, (*partial.inside, way), partial.between)
                    inside[after] = min(inside.get(after, found), found)
        if aisle == last:
            best = inside
            break
        best = {}
        for state, partial in inside.items():
            for walks, after in _ALONG[state].items():
                cost = partial.cost + sum(walks) * layout.aisle_spacing
                found = _Partial(cost, partial.inside, (*partial.between, walks))
                best[after] = min(best.get(after, found), found)
    chosen = min(best[state] for state in _ENDS if state in best)
    return _circuit(layout.home, _edges(layout, cells_of, chosen))


def _ways(layout: Layout, cells: Sequence[int] | None) -> dict[str, int]:
    """What may be walked in an aisle, with its cost."""
    ways = {"through": layout.aisle_length}
    if cells is None:
        return {"none": 0, **ways}
    cost = _Gauge(layout)(sum(1 << cell for cell in cells))
    ways |= {"front": cost.front, "back": cost.back}
    return ways if len(cells) == 1 else {**ways, "gap": cost.gap}


def _edges(layout: Layout, cells_of: Mapping[int, Sequence[int]], chosen: _Partial) -> list[tuple[Spot, Spot]]:
    """Every straight walk of a solution, as often as it is walked."""
    edges: list[tuple[Spot, Spot]] = []
    for aisle, way in enumerate(chosen.inside):
        cells = cells_of.get(aisle, ())
        line = [layout.back(aisle), *(Spot(aisle, cell) for cell in cells), layout.front(aisle)]
        ways = list(pairwise(line))
        if way == "through":
            edges += ways
        elif way != "none":
            left_out = {"front": 0, "back": len(ways) - 1}.get(way)
            if left_out is None:
                left_out = max(range(1, len(ways) - 1), key=lambda number: layout.step(*ways[number]))
            edges += 2 * (ways[:left_out] + ways[left_out + 1 :])
    for aisle, (front, back) in enumerate(chosen.between):
        edges += front * [(layout.front(aisle), layout.front(aisle + 1))]
        edges += back * [(layout.back(aisle), layout.back(aisle + 1))]
    return edges


def _circuit(start: Spot, edges: Iterable[tuple[Spot, Spot]]) -> list[Spot]:
    """A walk over every edge once, which exists because every spot has an even number of them (Hierholzer)."""
    links: defaultdict[Spot, list[tuple[Spot, int]]] = defaultdict(list)
    for number, (one, other) in enumerate(edges):
        links[one].append((other, number))
        links[other].append((one, number))
    walked: set[int] = set()
    stack, path = [start], []
    while stack:
        open_links = links[stack[-1]]
        while open_links and open_links[-1][1] in walked:
            open_links.pop()
        if open_links:
            spot, number = open_links.pop()
            walked.add(number)
            stack.append(spot)
        else:
            path.append(stack.pop())
    return path


def _tidied(layout: Layout, path: Iterable[Spot]) -> tuple[Spot, ...]:
    """The path from home to home without the spots that are merely passed: on a cross-aisle, or for the second time."""
    tidy: list[Spot] = []
    for spot in (layout.home, *path, layout.home):
        if tidy and tidy[-1] == spot:
            continue
        if len(tidy) > 1 and _between(tidy[-2], tidy[-1], spot):
            passed = tidy.pop()
            if layout.has(passed) and passed not in tidy:
                tidy.append(passed)
        tidy.append(spot)
    return tuple(tidy)


def _between(before: Spot, spot: Spot, after: Spot) -> bool:
    """Whether the second of three spots in a row lies on the straight way from the first to the third."""
    if before.cell == spot.cell == after.cell:
        return before.aisle < spot.aisle < after.aisle or before.aisle > spot.aisle > after.aisle
    if before.aisle == spot.aisle == after.aisle:
        return before.cell < spot.cell < after.cell or before.cell > spot.cell > after.cell
    return False


# ---- policies ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """How pickers find their way."""

    name: str
    length: Callable[[Layout, Costs], int]
    path: Callable[[Layout, Aisles], list[Spot]]

    def route(self, layout: Layout, spots: Iterable[Spot]) -> Route:
        """The route past these cells; nobody walks for none. Raises ``ValueError`` for cells that do not exist."""
        bits = layout.bits(spots)
        if not bits:
            return Route((layout.home,), 0)
        aisles = [(aisle, _cells(mask)) for aisle, mask in enumerate(layout.masks(bits)) if mask]
        return Route(_tidied(layout, self.path(layout, aisles)), Meter(layout, self)(bits))


OPTIMAL: Final = Policy("optimal", _optimal_length, _optimal_path)
POLICIES: Final[Mapping[str, Policy]] = {
    policy.name: policy
    for policy in (
        OPTIMAL,
        Policy("s-shape", _s_shape_length, _s_shape_path),
        Policy("largest-gap", _largest_gap_length, _largest_gap_path),
        Policy("return", _return_length, _return_path),
        Policy("midpoint", _midpoint_length, _midpoint_path),
        Policy("composite", _composite_length, _composite_path),
    )
}


class Meter:
    """The lengths of one policy's routes for sets of cells (``Layout.bits``), each worked out once."""

    def __init__(self, layout: Layout, policy: Policy) -> None:
        self._layout = layout
        self._length = policy.length
        self._around = 2 * layout.depot_offset
        self._lengths: dict[int, int] = {0: 0}
        self._gauge = _Gauge(layout)
        self._aisles: dict[int, AisleCost] = {}
        self._cells, self._whole = layout.cells, (1 << layout.cells) - 1

    def __call__(self, bits: int) -> int:
        """How long the route past these cells is."""
        known = self._lengths.get(bits)
        if known is not None:
            return known
        costs, aisles, rest = [], self._aisles, bits
        while rest:
            mask = rest & self._whole
            rest >>= self._cells
            cost = aisles.get(mask)
            if cost is None and mask:
                cost = aisles[mask] = self._gauge(mask)
            costs.append(cost)
        length = self._around + self._length(self._layout, costs)
        if len(self._lengths) >= _REMEMBERED:
            self._lengths = {0: 0}
        self._lengths[bits] = length
        return length
