"""Giving back labels that were bought for parcels which were cancelled or labelled anew before they left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from oms.fulfillment.carrier import Carrier
from oms.fulfillment.shipments import DynamoShipments
from oms.orders.model import Effect, Event, Order
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text

SETTLED_AFTER = timedelta(minutes=2)
"""Longer than a step that ships can run: whatever it was buying when the order died has been bought by then."""


class StillShipping(Exception):
    """A step that ships may be at work on a cancelled parcel still: ask again later."""


@dataclass(frozen=True, slots=True)
class VoidLabels:
    """Safe to repeat: a carrier takes a void twice, and is asked before."""

    orders: DynamoOrders
    clock: Clock
    carrier: Callable[[], Carrier]

    def void(self, order_id: str) -> None:
        """Give back every label that no parcel of the order carries. Raises ``StillShipping`` as long as one may yet be
        bought, and the carrier's own errors."""
        order = self.orders.get(order_id)
        if order is None or Effect.VOID_LABEL not in order.effects:
            return
        spare = [one for one in DynamoShipments(self.orders.table).of(order_id) if one.may_have_spare_label]
        carrier = self.carrier()
        for shipment in spare:
            for spare_label in shipment.spare:
                if carrier.find(spare_label).label:
                    carrier.void(spare_label)
                    telemetry.logger.info("label_voided", shipment_id=shipment.shipment_id)
        now = self.clock()
        if any(one.cancelled_at and from_text(one.cancelled_at) + SETTLED_AFTER > now for one in spare):
            raise StillShipping(order_id)

        def done(order: Order) -> Change | None:
            if Effect.VOID_LABEL not in order.effects:
                return None
            return Change(order.without_effect(Effect.VOID_LABEL), Event("LabelsVoided", "system", "order ended"))

        self.orders.change(order_id, done, now)
