"""Taking up one marketplace order: as the channel shows it now, whatever the message about it said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oms.channels.port import Channel
from oms.orders.ending import EndOrders
from oms.orders.model import order_id_for
from oms.orders.placing import PlaceOrders


class OrderUnknownToChannel(Exception):
    """The channel announced an order that it does not show (yet)."""


@dataclass(frozen=True, slots=True)
class ImportOrders:
    """Idempotent: the order's id follows from the channel's, so callbacks, repeats and polling meet the same order."""

    channel: Callable[[str], Channel]
    placing: PlaceOrders
    ending: EndOrders

    def take_up(self, name: str, external_id: str) -> None:
        """Take the order in, or cancel ours if the channel cancelled it. Raises ``OrderUnknownToChannel`` and the
        channel's own errors."""
        external = self.channel(name).fetch_order(external_id)
        if external is None:
            raise OrderUnknownToChannel(f"{name} {external_id}")
        order = self.placing.take_in(name, external)
        if external.cancelled and order is not None:
            self.ending.cancel_by_channel(order_id_for(name, external_id), name)
