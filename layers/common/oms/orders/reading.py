"""An order as its customer and the staff see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oms.fulfillment.shipments import shipment_view
from oms.orders.model import OPEN, Order, Totals
from oms.orders.store import DynamoOrders
from oms.payments.coverage import due

if TYPE_CHECKING:
    from oms.orders.placing import Placement
    from oms.payments.port import Intent


def placement_view(placement: Placement) -> dict[str, Any]:
    """The answer to a placement. Every part of it is fixed when the order is made, so a repeat gets the same."""
    order = placement.order
    return {
        "order_id": order.order_id,
        "status": "placed" if placement.client_secret else "confirmed",
        "currency": order.currency,
        "total": order.totals.total,
        "totals": totals_view(order),
        "payment": {"provider": order.payment.provider, "client_secret": placement.client_secret or None},
        "order_token": placement.order_token,
        "expires_at": order.expires_at,
        "backordered": backordered_view(order),
    }


def payment_view(order: Order, intent: Intent) -> dict[str, Any]:
    """What a browser needs to pay an order. The secret is the provider's and kept nowhere."""
    return {
        "provider": order.payment.provider,
        "client_secret": intent.client_secret,
        "amount": intent.amount,
        "currency": intent.currency,
        "expires_at": order.expires_at,
    }


def backordered_view(order: Order) -> list[dict[str, Any]]:
    """What the customer was told has to be waited for, by line."""
    skus = {line.number: line.sku for line in order.lines}
    return [
        {
            "line": told.line,
            "sku": skus[told.line],
            "quantity": told.quantity,
            "expected_at": told.expected_at or None,
        }
        for told in order.backordered
    ]


def totals_view(order: Order) -> dict[str, int]:
    """What an order's total is made of, in minor units."""
    return totals_of(order.totals)


def coupons_view(order: Order) -> list[dict[str, Any]]:
    """What each of an order's coupons took off."""
    return [{"code": each.code, "discount": each.discount, "shipping": each.shipping} for each in order.coupons]


def totals_of(totals: Totals) -> dict[str, int]:
    """What a total is made of, in minor units."""
    return {
        "items": totals.items,
        "shipping": totals.shipping,
        "tax": totals.tax,
        "discount": totals.discount,
        "total": totals.total,
    }


def order_view(orders: DynamoOrders, order: Order, *, staff: bool, collection_code: str = "") -> dict[str, Any]:
    """The order with its payments, shipments and refunds; holds, priority and version are for staff, and the code with
    which parcels are collected is for the customer."""
    shipments = [shipment_view(item) for item in orders.parts(order.order_id, "SHIPMENT#")]
    refunds = orders.parts(order.order_id, "REFUND#")
    waiting = order.waiting() if order.status in OPEN else {}
    view: dict[str, Any] = {
        "order_id": order.order_id,
        "channel": order.channel,
        "status": order.status.value,
        "placed_at": order.placed_at,
        "expires_at": order.expires_at if order.status.value == "placed" else None,
        "customer": {key: value for key, value in order.customer.items() if key != "id" or staff},
        "shipping_address": dict(order.address),
        "shipping_method": order.shipping_method,
        "lines": [
            {
                "line": line.number,
                "sku": line.sku,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
                "discount": line.discount,
                "tax": line.tax,
                "cancelled": line.cancelled,
                "shipped": line.shipped,
            }
            for line in order.lines
        ],
        "backordered": [{**told, "waiting": waiting.get(told["line"], 0)} for told in backordered_view(order)],
        "currency": order.currency,
        "total": order.totals.total,
        "totals": totals_view(order),
        "payment": {
            "status": order.payment.status,
            "provider": order.payment.provider,
            "authorized": order.payment.authorized,
            "captured": order.payment.captured,
            "refunded": order.payment.refunded,
            "refund_due": order.payment.refund_due,
            "disputed": order.payment.disputed,
            "credit": order.payment.credit,
            "due": due(order),
            "capture": order.payment.capture or "automatic",
            "authorization_expires_at": order.payment.authorized_until or None,
            "due_at": order.payment.due_at or None,
        },
        "refunds": [_refund_view(item) for item in refunds],
        "shipments": shipments,
        "backordered_at": order.backordered_at or None,
        "delivered_at": order.delivered_at or None,
        "collect_by": (order.collect_by if order.status in OPEN else "") or None,
        "collection_code": collection_code or None,
        "counter": order.counter or None,
        "taken_at": order.taken_at or None,
    }
    if order.coupons:
        view["coupons"] = coupons_view(order)
    if order.promised_for:
        view["deliver_by"] = order.promised_for
    if order.note:
        view["note"] = order.note
    if staff:
        view.update(
            external_id=order.external_id or None,
            priority={
                "score": order.priority_score,
                "codes": order.priority_codes,
                "rules": order.priority_rules,
            },
            holds={
                kind: {
                    "reason": hold.reason,
                    "owner": hold.owner,
                    "since": hold.since,
                    "deadline": hold.deadline,
                }
                for kind, hold in order.holds.items()
            },
            oversold=dict(order.oversold),
            pending=[effect.value for effect in order.effects],
            version=order.version,
        )
    return view


def _refund_view(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "refund_id": item["refund_id"],
        "provider": item.get("provider", "stripe"),
        "amount": item["amount"],
        "currency": item["currency"],
        "status": item["status"],
        "reason": item["reason"],
        "requested_at": item["requested_at"],
    }
