"""What subscribers hear of, in words that outlive our own, and what a message holds. The contract is docs/webhooks.md.

A message tells what happened as it happened, and the order as it stands when the message is sent. So nothing about a
person is kept in the log, and what was erased is not told any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oms.fulfillment.shipments import shipment_view
from oms.orders.model import Order

VERSION = "1"

PUBLIC: Mapping[str, str] = {
    "OrderPlaced": "order.placed",
    "OrderHeld": "order.held",
    "HoldReleased": "order.released",
    "LinesCancelled": "order.lines_cancelled",
    "OrderCancelled": "order.cancelled",
    "OrderExpired": "order.expired",
    "PaymentAuthorized": "payment.authorized",
    "PaymentCaptured": "payment.captured",
    "PaymentFailed": "payment.failed",
    "RefundSent": "refund.sent",
    "RefundFailed": "refund.failed",
    "ShipmentShipped": "shipment.shipped",
    "PurchaseRequested": "purchase.requested",
    "PurchaseReduced": "purchase.reduced",
    "PurchaseCancelled": "purchase.cancelled",
    "PurchaseDeclined": "purchase.declined",
    "ShipmentReady": "shipment.ready_for_pickup",
    "ShipmentCollected": "shipment.collected",
}
TYPES = frozenset(PUBLIC.values())
PERSONAL = frozenset({"customer", "shipping_address"})
"""What a subscription may ask for besides ids and figures."""


def payload(
    entry: Mapping[str, Any], order: Order | None, shipment: Mapping[str, Any] | None, include: frozenset[str]
) -> dict[str, Any]:
    """The message for one entry of a subscription's log. ``order`` is None when there is no such order any more."""
    told: dict[str, Any] = {
        "version": VERSION,
        "sequence": entry["seq"],
        "type": entry["type"],
        "occurred_at": entry["at"],
        "order_id": entry["order_id"],
        "order_event": entry["n"],
        "data": entry["data"],
        "order": _order(order, include) if order else None,
    }
    if shipment is not None:
        view = shipment_view(shipment)
        told["shipment"] = {name: view[name] for name in ("number", "status", "carrier", "tracking_number", "units")}
    return told


def _order(order: Order, include: frozenset[str]) -> dict[str, Any]:
    view: dict[str, Any] = {
        "channel": order.channel,
        "external_id": order.external_id or None,
        "status": order.status.value,
        "placed_at": order.placed_at,
        "currency": order.currency,
        "total": order.totals.total,
        "captured": order.payment.captured,
        "refunded": order.payment.refunded,
        "customer_id": order.customer["id"],
        "lines": [
            {
                "line": line.number,
                "sku": line.sku,
                "quantity": line.quantity,
                "cancelled": line.cancelled,
                "shipped": line.shipped,
            }
            for line in order.lines
        ],
    }
    if "customer" in include:
        view["customer"] = {name: value for name, value in order.customer.items() if name != "id"}
    if "shipping_address" in include:
        view["shipping_address"] = dict(order.address)
    return view
