"""The roads: carriers scan parcels that left, in the order of travel; what they say of it comes by mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.checkers import Key
from tests.simulation.staff import _People

if TYPE_CHECKING:
    from tests.simulation.world import World

JOURNEYS = (
    ("pre_transit", "in_transit", "out_for_delivery", "delivered"),
    ("in_transit", "failure", "in_transit", "delivered"),
    ("in_transit", "return_to_sender"),
    ("in_transit",),
    ("delivered",),
)


class Roads(_People):
    """Each parcel makes one journey, as long as the chaos lasts."""

    name = "roads"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._gone: set[Key] = set()

    def _parcels(self) -> list[Key]:
        if self.world.healed:
            return []
        items = self.world.inspector.books.items["OrdersTable"]
        return sorted(
            key
            for key, item in items.items()
            if item["entity"] == "shipment"
            and item["status"] == "shipped"
            and "label" in item
            and key not in self._gone
        )

    def ready(self, now: float) -> bool:
        return bool(self._parcels())

    def idle(self) -> bool:
        return not self._busy

    def deliver(self, now: float) -> None:
        key = self._parcels()[0]
        self._gone.add(key)
        label = dict(self.world.inspector.books.items["OrdersTable"][key]["label"])
        self._errand(f"driver {key[0][6:14]}", key, lambda: self._drive(label))

    def _drive(self, label: dict[str, Any]) -> None:
        rng, system = self.world.rng, self.world.system
        for status in rng.choice(JOURNEYS):
            system.scheduler.sleep(rng.choice((0.0, 1.0, 600.0)))
            system.control("easypost", "POST", "/_sim/track", {"tracker": label["tracker_id"], "status": status})
            self.world.tally[f"scanned {status}"] += 1
