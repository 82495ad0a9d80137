"""Re-sourcing: what a facility cannot send any more is given to another one that can."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oms.fulfillment.facilities import facilities
from oms.fulfillment.pausing import ALIVE, RunSuperseded, begun_anew
from oms.fulfillment.shipments import (
    DynamoShipments,
    ShipmentStatus,
    change_with_shipments,
    freed_places,
    parse_shipment_id,
)
from oms.inventory.store import DynamoInventory
from oms.orders.model import Event, Order
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text

_AT_ONCE = 200
"""So many parcels are moved when a facility closes; the others are moved when their tasks are offered again."""


@dataclass(frozen=True, slots=True)
class ResourceParcels:
    """Taking parcels that nobody began away from a facility that closed."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    def require_open(self, shipment_id: str) -> None:
        """Before a pick is offered: raises ``RunSuperseded`` when the parcel was taken from a facility that closed,
        however late that is seen; the next run plans it anew."""
        shipment = DynamoShipments(self.orders.table).get(shipment_id)
        found = facilities(self.inventory, [shipment.facility]).get(shipment.facility)
        if found and not found.active and self.leave(shipment_id):
            raise RunSuperseded(f"{shipment.facility} is closed")

    def close(self, facility: str) -> int:
        """Move what waits to be picked at a facility that has closed; how many parcels."""
        keys = [
            (item["pk"], item["sk"])
            for kind in ("pick", "vendor")
            for item in self.orders.table.query_index(
                "work", "work_queue = :queue", {":queue": f"{facility}#{kind}"}, limit=_AT_ONCE
            )
        ]
        found = [item for item in self.orders.table.batch_get(keys) if item.get("entity") == "shipment"]
        return sum(self.leave(str(item["shipment_id"])) for item in found if item["facility"] == facility)

    def leave(self, shipment_id: str) -> bool:
        """Set a parcel's units free and ask for a run that plans them elsewhere; False when somebody has begun it.

        The order's next run begins with the change itself, and what no facility has waits as it always does.
        """
        order_id, _ = parse_shipment_id(shipment_id)
        now = self.clock()
        left = False

        def decide(order: Order) -> Change | None:
            nonlocal left
            left = False
            shipments = DynamoShipments(self.orders.table)
            shipment = shipments.get(shipment_id)
            if order.status not in ALIVE or shipment.status is not ShipmentStatus.ALLOCATED:
                return None
            if shipment.task and shipment.task.started_by:
                return None
            left = True
            after = replace(shipment.moved_to(ShipmentStatus.CANCELLED), task=None, cancelled_at=to_text(now))
            event = Event(
                "ParcelResourced",
                "system",
                "the facility is closed",
                {"shipment": shipment.number, "facility": shipment.facility},
            )
            writes = [shipments.put(shipment, after), *freed_places(self.inventory, [shipment], now)]
            return Change(begun_anew(order), event, writes)

        change_with_shipments(self.orders, order_id, decide, now)
        if left:
            telemetry.count("ParcelsResourced")
            telemetry.logger.info("parcel_resourced", shipment_id=shipment_id)
        return left
