"""Taking up marketplace orders: as the channel shows them now, whatever the message about them said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from oms.channels.following import FollowChannel
from oms.channels.port import Channel, ExternalOrder
from oms.inventory.store import DynamoInventory
from oms.orders.placing import PlaceOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock

FIRST_POLL = timedelta(days=1)
"""How far back a channel is read that was never polled before."""


class OrderUnknownToChannel(Exception):
    """The channel announced an order that it does not show (yet)."""


@dataclass(frozen=True, slots=True)
class ImportOrders:
    """Idempotent: the order's id follows from the channel's, so callbacks, repeats and polling meet the same order."""

    channel: Callable[[str], Channel]
    placing: PlaceOrders
    following: FollowChannel
    inventory: DynamoInventory
    queue: Callable[[str, str], None]
    """Keeps (channel, external id) for another try."""
    clock: Clock

    def take_up(self, name: str, external_id: str) -> None:
        """Take the order in, or cancel ours if the channel cancelled it. Raises ``OrderUnknownToChannel`` and the
        channel's own errors."""
        external = self.channel(name).fetch_order(external_id)
        if external is None:
            raise OrderUnknownToChannel(f"{name} {external_id}")
        self.take(name, external)

    def take(self, name: str, external: ExternalOrder) -> None:
        """Take in an order that was just read, and what the channel did to it since."""
        order = self.placing.take_in(name, external)
        if order is not None:
            self.following.follow(order, name, external)

    def poll(self, name: str, has_time: Callable[[], bool]) -> int:
        """Take in whatever changed on the channel since the last poll: callbacks get lost. Returns how many orders.

        The mark up to which the channel was read moves on only past orders that were taken in or queued, so a poll
        that is cut short is continued by the next one. Raises the channel's own errors.
        """
        started = self.clock()
        mark = self.inventory.polled_until(name) or started - FIRST_POLL
        seen = 0
        for external in self.channel(name).orders_since(mark):
            try:
                self.take(name, external)
            except Exception:
                telemetry.logger.exception("polled_order_queued", channel=name, external_id=external.external_id)
                self.queue(name, external.external_id)
            seen += 1
            if external.updated_at > mark and not has_time():
                # Oldest change first: everything up to here is done, and at least one order was new.
                self.inventory.set_polled_until(name, external.updated_at)
                return seen
        self.inventory.set_polled_until(name, started)
        return seen
