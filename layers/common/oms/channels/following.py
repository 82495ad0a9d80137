"""What a channel does to an order after it sold it: it gives money back, takes units out, or cancels it altogether."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from oms.channels.port import ExternalOrder
from oms.fulfillment.shipments import change_with_shipments
from oms.inventory.store import DynamoInventory
from oms.orders.ending import EndOrders, without_units
from oms.orders.model import Event, Hold, Order, Status
from oms.orders.store import AlreadyApplied, Change, DynamoOrders
from oms.payments import ledger
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Write


@dataclass(frozen=True, slots=True)
class FollowChannel:
    """Brings our order to what the channel shows. Each step is told by sums that only grow, so that a message twice or
    late changes nothing twice."""

    orders: DynamoOrders
    inventory: DynamoInventory
    ending: EndOrders
    clock: Clock

    def follow(self, order: Order, channel: str, external: ExternalOrder) -> None:
        """Cancel, reduce and write down refunds as the channel did."""
        if external.cancelled or _nothing_left(order, external):
            self.ending.cancel_by_channel(order.order_id, channel)
            return
        if not _missing(order, external) and external.refunded_total <= order.payment.refunded:
            return
        now = self.clock()

        def decide(order: Order) -> Change | None:
            return self._change(order, channel, external, now)

        try:
            change_with_shipments(self.orders, order.order_id, decide, now)
        except AlreadyApplied:
            return
        telemetry.logger.info("channel_changed_order", order_id=order.order_id, channel=channel)

    def _change(self, order: Order, channel: str, external: ExternalOrder, now: datetime) -> Change | None:
        if order.status in (Status.CANCELLED, Status.EXPIRED):
            return None
        missing = _missing(order, external)
        open_units = {line.number: line.open for line in order.lines}
        wanted = {number: min(units, open_units[number]) for number, units in missing.items() if open_units[number]}
        back = min(external.refunded_total, order.payment.captured) - order.payment.refunded
        after, writes = order, list[Write]()
        data: dict[str, Any] = {}
        if wanted:
            after, writes = without_units(self.orders, self.inventory, order, wanted, now)
            data["units"] = {str(number): units for number, units in wanted.items()}
        cause = f"{channel} order {order.external_id}"
        if back > 0:
            object_id = f"{order.external_id}-refunded-{external.refunded_total}"
            entry = ledger.Entry("refunded", channel, object_id, back, order.currency, cause)
            after = replace(after, payment=ledger.with_entry(after.payment, entry))
            writes.append(ledger.append(self.orders.table, order.order_id, entry, now))
            data["refund"] = back
        if sum(missing.values()) > sum(wanted.values()) and "operator" not in after.holds and after.status in _MOVING:
            # Units that left already were taken out there: they come back, or they do not.
            deadline = to_text(now + timedelta(days=2))
            hold = Hold(f"{channel} took out units that have left", "customer service", to_text(now), deadline)
            after = replace(after, holds={**after.holds, "operator": hold})
        if after == order:
            return None
        kind = "LinesCancelled" if wanted else "RefundSent"
        return Change(after, Event(kind, f"channel:{channel}", cause, data), writes)


_MOVING = frozenset({Status.CONFIRMED, Status.IN_FULFILLMENT})


def _missing(order: Order, external: ExternalOrder) -> dict[int, int]:
    """Units by line of ours that the channel does not show any more."""
    if not external.lines_show_what_is_left:
        return {}
    left = {line.external_line_id: line.quantity for line in external.lines}
    missing = {
        line.number: line.quantity - line.cancelled - left.get(line.external_id, 0)
        for line in order.lines
        if line.external_id
    }
    return {number: units for number, units in missing.items() if units > 0}


def _nothing_left(order: Order, external: ExternalOrder) -> bool:
    return external.lines_show_what_is_left and not external.lines and bool(order.lines)
