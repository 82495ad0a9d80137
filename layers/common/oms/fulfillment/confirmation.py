"""Telling a marketplace that its order has left: every parcel once, with its tracking number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from oms.channels.port import Channel, ChannelRefused, ShippedParcel
from oms.fulfillment.shipments import LEFT, DynamoShipments, Shipment
from oms.orders.model import Effect, Event, Hold, Order
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text

_HOLD_FOR = timedelta(days=1)
_TELLING = timedelta(seconds=60)
"""Longer than a call to a channel with its time-outs."""
_REASON_LENGTH = 200


class BeingTold(Exception):
    """Somebody else is telling the channel of this parcel just now: look again later."""


@dataclass(frozen=True, slots=True)
class ConfirmShipments:
    """Confirming shipped parcels to the channel that sold them."""

    orders: DynamoOrders
    clock: Clock
    channel: Callable[[str], Channel]

    def confirm(self, order_id: str) -> None:
        """Tell the channel of every parcel that it does not know of, and write down that it does.

        A parcel that leaves meanwhile is told as well. A channel that refuses (it may have cancelled its order) is not
        asked again: the order is put before a person. Raises ``ChannelUnavailable`` and
        ``BeingTold``.
        """
        shipments = DynamoShipments(self.orders.table)

        def told(order: Order) -> Change | None:
            if Effect.CONFIRM_SHIPMENT not in order.effects or _untold(shipments, order_id):
                return None
            return Change(
                order.without_effect(Effect.CONFIRM_SHIPMENT),
                Event("ShipmentConfirmed", f"channel:{order.channel}", "told of every parcel"),
            )

        order = self.orders.require(order_id)
        while Effect.CONFIRM_SHIPMENT in order.effects:
            try:
                for shipment in _untold(shipments, order_id):
                    if self._claim(shipments, shipment):
                        self._tell(order, shipment)
                        shipments.change(shipment.shipment_id, self._told)
            except ChannelRefused as refused:
                self._give_up(order_id, str(refused))
                return
            order = self.orders.change(order_id, told, self.clock())

    def _claim(self, shipments: DynamoShipments, shipment: Shipment) -> bool:
        """Become the only one who tells of this parcel for a while; False when it has been told. A marketplace writes
        to the buyer each time, and reading before writing does not keep two apart who do it at once.
        Raises ``BeingTold``."""
        now = self.clock()
        mine = False

        def claim(seen: Shipment) -> Shipment | None:
            nonlocal mine
            mine = not seen.told_at
            if seen.told_at:
                return None
            if seen.telling_until > to_text(now):
                raise BeingTold(seen.shipment_id)
            return replace(seen, telling_until=to_text(now + _TELLING))

        shipments.change(shipment.shipment_id, claim)
        return mine

    def _give_up(self, order_id: str, said: str) -> None:
        """Its words stay on the hold: they have no place in the history."""
        now = self.clock()

        def refused(order: Order) -> Change | None:
            if Effect.CONFIRM_SHIPMENT not in order.effects:
                return None
            reason = f"{order.channel} does not take the confirmation: {said}"[:_REASON_LENGTH]
            hold = Hold(reason, "customer service", to_text(now), to_text(now + _HOLD_FOR))
            after = replace(order.without_effect(Effect.CONFIRM_SHIPMENT), holds={**order.holds, "operator": hold})
            return Change(after, Event("ConfirmationRefused", f"channel:{order.channel}", "the channel refused"))

        order = self.orders.change(order_id, refused, now)
        telemetry.logger.warning("confirmation_refused", order_id=order_id, channel=order.channel)

    def _tell(self, order: Order, shipment: Shipment) -> None:
        parcel = ShippedParcel(
            carrier=shipment.label.carrier if shipment.label else "",
            tracking_number=shipment.label.tracking_number if shipment.label else "",
            shipped_at=from_text(shipment.shipped_at),
            lines=_channel_lines(order, shipment),
        )
        self.channel(order.channel).confirm_shipment(order.external_id, parcel)
        telemetry.count("ShipmentsConfirmed", channel=order.channel)
        telemetry.logger.info("shipment_confirmed", shipment_id=shipment.shipment_id, channel=order.channel)

    def _told(self, shipment: Shipment) -> Shipment | None:
        return None if shipment.told_at else replace(shipment, told_at=to_text(self.clock()), telling_until="")


def _untold(shipments: DynamoShipments, order_id: str) -> list[Shipment]:
    return [shipment for shipment in shipments.of(order_id) if shipment.status in LEFT and not shipment.told_at]


def _channel_lines(order: Order, shipment: Shipment) -> dict[str, int]:
    """What the parcel carries, by the channel's own line ids."""
    carried: Counter[str] = Counter()
    for number, units in shipment.lines(order).items():
        carried[order.lines[number - 1].external_id] += units
    return dict(carried)
