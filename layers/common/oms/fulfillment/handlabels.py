"""Labels by hand: a carrier that no adapter knows, or a parcel that ours refuses. Somebody types in the tracking."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oms.fulfillment.shipments import LEFT, DynamoShipments, Label, Shipment, change_with_shipments, parse_shipment_id
from oms.orders.model import Effect, Event, Order
from oms.orders.store import Change, DynamoOrders
from oms.runtime import errors
from oms.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class LabelByHand:
    """Putting a label on a parcel that has not left."""

    orders: DynamoOrders
    clock: Clock

    def put(self, shipment_id: str, carrier: str, service: str, tracking_number: str, actor: str) -> Shipment:
        """The parcel leaves with this label and no other; one that a carrier's adapter may have sold for it before is
        given back. An ``address`` hold, with which a refusing carrier stopped the order, ends. Again is harmless.

        Raises ``NotFound``, and ``Conflict`` when the parcel has left or ended.
        """
        order_id, number = parse_shipment_id(shipment_id)
        shipments = DynamoShipments(self.orders.table)

        def decide(order: Order) -> Change | None:
            seen = shipments.get(shipment_id)
            label = Label(carrier, service, tracking_number, "", "", 0, order.currency)
            if seen.label == label:
                return None
            if seen.status in LEFT or not seen.open:
                raise errors.Conflict(f"The parcel is {seen.status.value}: it keeps its label.")
            spare = (*seen.spare_labels, seen.carrier_shipment_id) if seen.carrier_shipment_id else seen.spare_labels
            after = replace(seen, label=label, carrier_shipment_id="", spare_labels=spare)
            holds = {kind: hold for kind, hold in order.holds.items() if kind != "address"}
            changed = replace(order, holds=holds)
            if spare:
                changed = changed.with_effects(Effect.VOID_LABEL)
            event = Event("LabelledByHand", actor, "by hand", {"shipment": number, "carrier": carrier})
            return Change(changed, event, [shipments.put(seen, after)])

        change_with_shipments(self.orders, order_id, decide, self.clock())
        return shipments.get(shipment_id)
