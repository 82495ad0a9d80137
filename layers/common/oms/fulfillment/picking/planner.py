"""The port through which the warehouse asks for walks, and its implementation for floors of one block.

The warehouse knows shipments and bins by name; the optimiser knows cells. ``BinScheme`` leads from one to the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from oms.fulfillment.picking.batching import Effort, Instance, Pick, PickOrder, solve
from oms.fulfillment.picking.layout import Layout, Spot
from oms.fulfillment.picking.routing import OPTIMAL, Policy


@dataclass(frozen=True, slots=True)
class ShipmentPicks:
    """What one shipment needs from where: units by bin. It is never split between walks."""

    shipment_id: str
    bins: Mapping[str, int]
    size: int | None = None
    """What it takes of a walk's capacity where that is not its units: one tote of a cluster cart, for example."""

    @property
    def units(self) -> int:
        return sum(self.bins.values())


@dataclass(frozen=True, slots=True)
class Walk:
    """Shipments that are picked together, and the bins in walking order."""

    shipment_ids: tuple[str, ...]
    bins: tuple[str, ...]
    units: int
    length: int


@dataclass(frozen=True, slots=True)
class WalkPlan:
    """Every shipment is on exactly one walk or among those without a place, which are picked singly and by eye."""

    walks: tuple[Walk, ...]
    without_place: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        return sum(walk.length for walk in self.walks)


class WalkPlanner(Protocol):
    """Whoever groups shipments into walks."""

    def plan(self, shipments: Sequence[ShipmentPicks]) -> WalkPlan:
        """Walks for these shipments, given in the order of their urgency. A shipment beyond a cart's capacity gets a
        walk of its own."""
        ...


_NAME: Final = r"(?P<aisle>[0-9]{1,4}|[A-Z])-(?P<cell>[0-9]{1,4})(?:[-.].*)?"


@dataclass(frozen=True, slots=True)
class BinScheme:
    """Where the bins of a facility are: by name, unless ``places`` says otherwise.

    A name reads ``<aisle>-<cell>``, then anything after a hyphen or a dot (side, level): ``07-12-B`` and ``G-12`` are
    both the twelfth cell of the seventh aisle. Aisles and cells are counted from 1, cells from the front, as signs in a
    warehouse are; ``cells_from_back`` turns that round.
    """

    layout: Layout
    places: Mapping[str, Spot] = field(default_factory=dict)
    cells_from_back: bool = False

    def spot(self, name: str) -> Spot | None:
        """The cell of a bin; None when the name says nothing or there is no such cell."""
        spot = self.places.get(name) or self._read(name)
        return spot if spot and self.layout.has(spot) else None

    def _read(self, name: str) -> Spot | None:
        match = re.fullmatch(_NAME, name)
        if match is None:
            return None
        aisle, cell = match["aisle"], int(match["cell"])
        number = int(aisle) if aisle.isdigit() else ord(aisle) - ord("A") + 1
        return Spot(number - 1, cell - 1 if self.cells_from_back else self.layout.cells - cell)


@dataclass(frozen=True, slots=True)
class SingleBlockPlanner:
    """``WalkPlanner`` for a rectangular block: ``capacity`` units to a walk."""

    bins: BinScheme
    capacity: int
    method: str = "best"
    policy: Policy = OPTIMAL
    effort: Effort = field(default_factory=Effort)

    def plan(self, shipments: Sequence[ShipmentPicks]) -> WalkPlan:
        """Walks in the order of their most urgent shipment."""
        together: list[PickOrder] = []
        walks: list[Walk] = []
        without_place: list[str] = []
        for shipment in shipments:
            order = self._order(shipment)
            if order is None:
                without_place.append(shipment.shipment_id)
            elif order.items > self.capacity:
                walks += self._walks([order], order.items, [shipment])
            else:
                together.append(order)
        walks += self._walks(together, self.capacity, shipments)
        rank = {shipment.shipment_id: number for number, shipment in enumerate(shipments)}
        walks.sort(key=lambda walk: min(rank[shipment_id] for shipment_id in walk.shipment_ids))
        return WalkPlan(tuple(walks), tuple(without_place))

    def _order(self, shipment: ShipmentPicks) -> PickOrder | None:
        picks = [(self.bins.spot(name), units) for name, units in shipment.bins.items()]
        known = tuple(Pick(spot, units) for spot, units in picks if spot is not None)
        if not known or len(known) < len(picks):
            return None
        return PickOrder(shipment.shipment_id, known, shipment.size)

    def _walks(self, orders: list[PickOrder], capacity: int, shipments: Sequence[ShipmentPicks]) -> list[Walk]:
        layout = self.bins.layout
        named = {shipment.shipment_id: shipment.bins for shipment in shipments}
        solution = solve(Instance(layout, capacity, tuple(orders)), self.method, self.policy, self.effort)
        walks: list[Walk] = []
        for batch in solution.batches:
            ids = tuple(order.order_id for order in batch.orders)
            rank = {spot: number for number, spot in enumerate(batch.route.picks(layout))}
            names = {name for shipment_id in ids for name in named[shipment_id]}
            places = {name: spot for name in names if (spot := self.bins.spot(name)) is not None}
            ordered = sorted(places, key=lambda name: (rank[places[name]], name))
            walks.append(Walk(ids, tuple(ordered), batch.items, batch.route.length))
        return walks
