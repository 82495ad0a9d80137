"""The bare problem that the batching methods share: sets of cells, sizes, a capacity and a measure of length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oms.fulfillment.picking.routing import Meter

Group = tuple[int, ...]
"""Orders of one walk, by number."""
Groups = Sequence[Group]


@dataclass(frozen=True, slots=True)
class Problem:
    """Orders are numbers from 0; ``bits`` are their cells (``Layout.bits``) and ``sizes`` their items."""

    bits: tuple[int, ...]
    sizes: tuple[int, ...]
    capacity: int
    meter: Meter

    @property
    def orders(self) -> range:
        return range(len(self.sizes))

    def alone(self, index: int) -> int:
        """The length of a walk for one order."""
        return self.meter(self.bits[index])

    def united(self, group: Iterable[int]) -> int:
        """The cells of several orders."""
        bits = 0
        for index in group:
            bits |= self.bits[index]
        return bits

    def total(self, groups: Groups) -> int:
        """The length of all walks."""
        return sum(self.meter(self.united(group)) for group in groups)
