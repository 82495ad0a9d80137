"""The floor: one rectangular block of parallel aisles between a front and a back cross-aisle.

Cells are counted from the back, as in the published instances; the depot is at the front of the first aisle. All
distances are integers: whoever has decimals chooses a smaller unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


class Spot(NamedTuple):
    """Where a picker can stand: ``cell`` 0 is the rearmost; ``-1`` is the back cross-aisle and ``layout.cells`` the
    front one."""

    aisle: int
    cell: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The measures of the block. ``depot_offset`` leads from the depot to the front cross-aisle at the first aisle and
    is walked twice on every route. Raises ``ValueError`` for measures that make no floor.
    """

    aisles: int
    cells: int
    aisle_spacing: int
    cell_length: int
    front_offset: int
    back_offset: int
    depot_offset: int = 0

    def __post_init__(self) -> None:
        if self.aisles < 1 or self.cells < 1:
            raise ValueError("a floor has at least one aisle and one cell")
        if min(self.aisle_spacing, self.cell_length, self.front_offset, self.back_offset, self.depot_offset) < 0:
            raise ValueError("distances are not negative")

    @property
    def aisle_length(self) -> int:
        """From one cross-aisle to the other."""
        return self.front_offset + (self.cells - 1) * self.cell_length + self.back_offset

    @property
    def home(self) -> Spot:
        """Where every route enters and leaves the block."""
        return Spot(0, self.cells)

    def front(self, aisle: int) -> Spot:
        """The front end of an aisle."""
        return Spot(aisle, self.cells)

    def back(self, aisle: int) -> Spot:
        """The back end of an aisle."""
        return Spot(aisle, -1)

    def has(self, spot: Spot) -> bool:
        """Whether something can be stored there."""
        return 0 <= spot.aisle < self.aisles and 0 <= spot.cell < self.cells

    def depth(self, cell: int) -> int:
        """The distance of a cell, or of a cross-aisle, from the front cross-aisle."""
        if cell == self.cells:
            return 0
        if cell == -1:
            return self.aisle_length
        return self.front_offset + (self.cells - 1 - cell) * self.cell_length

    def step(self, start: Spot, end: Spot) -> int:
        """The way between two spots of one aisle or of one cross-aisle. Raises ``ValueError`` for other pairs."""
        if start.aisle == end.aisle:
            return abs(self.depth(start.cell) - self.depth(end.cell))
        if start.cell == end.cell and start.cell in (-1, self.cells):
            return abs(start.aisle - end.aisle) * self.aisle_spacing
        raise ValueError(f"nobody can walk straight from {start} to {end}")

    def walked(self, path: Sequence[Spot]) -> int:
        """The length of a path, and of the way between it and the depot unless the path goes nowhere."""
        if len(path) < 2:
            return 0
        between = sum(self.step(start, end) for start, end in pairwise(path))
        return between + 2 * self.depot_offset

    def bits(self, spots: Iterable[Spot]) -> int:
        """A set of cells as one number, which unites with others by ``|``. Raises ``ValueError`` for other places."""
        united = 0
        for spot in spots:
            if not self.has(spot):
                raise ValueError(f"there is no cell {spot.cell} in aisle {spot.aisle}")
            united |= 1 << (spot.aisle * self.cells + spot.cell)
        return united

    def masks(self, bits: int) -> Iterator[int]:
        """The cells of each aisle, up to the last one that has any."""
        whole = (1 << self.cells) - 1
        while bits:
            yield bits & whole
            bits >>= self.cells
