"""Generated instances in the style of the published ones: one block, ten aisles, orders of 5 to 25 items.

The measures are those of the usual test warehouse: aisles five cells apart, one cell to the cross-aisle, one and a half
to the depot. Lengths are in half cells, so that all are integers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from oms.fulfillment.picking.batching import Instance, PickOrder, order_of
from oms.fulfillment.picking.layout import Layout, Spot

UNIT = 2
"""Units of length to a cell."""
AISLES = 10


@dataclass(frozen=True, slots=True)
class Case:
    """One instance, by what it is made from."""

    orders: int
    cells: int
    capacity: int
    storage: str

    @property
    def name(self) -> str:
        return f"{self.orders}-{self.cells}-{self.capacity}-{self.storage}"

    @property
    def small(self) -> bool:
        return self.orders <= 20

    def instance(self) -> Instance:
        """The same instance every time."""
        chance = random.Random(self.name)
        made = tuple(
            order_of(f"order-{number}", (_spot(self, chance) for _ in range(chance.randint(5, 25))))
            for number in range(self.orders)
        )
        return Instance(layout(self.cells), self.capacity, made)


def layout(cells: int) -> Layout:
    """The warehouse with aisles of so many cells."""
    return Layout(AISLES, cells, 5 * UNIT, UNIT, UNIT, UNIT, 3)


def cases() -> Iterator[Case]:
    """Few orders in short and in long aisles, then more."""
    for orders, cells in ((20, 10), (20, 45), (60, 25), (100, 45)):
        for storage in ("uniform", "abc"):
            for capacity in (30, 45, 60, 75):
                yield Case(orders, cells, capacity, storage)


def open_shipments(count: int) -> Instance:
    """Shipments as a shop has them: 1 to 4 units each, in the large warehouse with storage by class."""
    case = Case(count, 45, 30, "abc")
    chance = random.Random(count)
    orders: list[PickOrder] = []
    for number in range(count):
        orders.append(order_of(f"shipment-{number}", [_spot(case, chance) for _ in range(chance.randint(1, 4))]))
    return Instance(layout(case.cells), case.capacity, tuple(orders))


def _spot(case: Case, chance: random.Random) -> Spot:
    """By class: 52 % of the demand lies in the first aisle, 36 % in the next three, 12 % in the others."""
    if case.storage == "uniform":
        aisle = chance.randrange(AISLES)
    else:
        aisle = chance.choices((0, chance.randint(1, 3), chance.randint(4, AISLES - 1)), (52, 36, 12))[0]
    return Spot(aisle, chance.randrange(case.cells))
