"""Whether an order can be paid by its own intent as things stand: what its payment and a link to it are answered by."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from oms.orders.model import Order, Status
from oms.payments.port import Intent
from oms.runtime import errors
from oms.runtime.clock import to_text

PROVIDER = "stripe"
CARD_LINK = "card_link"
"""The method of an order by phone that its customer pays by a link: no tender, but the order's own intent."""
_ENDED: Mapping[Status, str] = {Status.CANCELLED: "cancelled", Status.EXPIRED: "expired"}
_TOLD: Mapping[str, str] = {
    "cancelled": "The order was cancelled: nothing is to be paid.",
    "expired": "The order has expired: nothing is to be paid.",
    "paid": "The order is paid.",
    "part_paid": "Part of the order is paid: its intent would take the whole once more.",
    "paid_elsewhere": "The order is paid where it was sold.",
    "processing": "A payment is on its way.",
}


def unpayable(order: Order, now: datetime) -> str:
    """Why the order cannot be paid any more, or not now, as a stable code; empty while it can."""
    payment = order.payment
    if order.status is not Status.PLACED:
        return _ENDED.get(order.status, "paid")
    if payment.provider != PROVIDER and not payment.covers:
        return "paid_elsewhere"
    if payment.covers:
        return "part_paid"
    if order.expires_at <= to_text(now):
        return "expired"
    return "processing" if payment.status == "processing" else ""


def spent(intent: Intent) -> str:
    """The same of the intent, which may know more than we have been told."""
    match intent.status:
        case "succeeded" | "requires_capture":
            return "paid"
        case "canceled":
            return "cancelled"
        case "processing":
            return "processing"
    return ""


def not_payable(code: str) -> errors.Conflict:
    """The answer to whoever asks for the payment of an order that cannot be paid."""
    return errors.Conflict(_TOLD[code], extra={"code": code})
