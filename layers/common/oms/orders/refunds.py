"""Asking for money back: written with the change that owes it, carried out afterwards by ``oms.payments.settle``."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from oms.orders.model import Effect, Order
from oms.orders.store import order_key
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Table, Write


def request_refund(
    table: Table, order: Order, amount: int, reason: str, now: datetime, *, intent: str = ""
) -> tuple[Order, list[Write]]:
    """The order owing ``amount`` back, never more than was captured and is not on its way back already, and the
    action that records the request. Nothing at all when nothing can be owed. ``intent`` is the payment to refund when
    that is not the order's own."""
    payment = order.payment
    amount = min(amount, payment.captured - payment.refunded - payment.refund_due)
    if amount <= 0:
        return order, []
    number = order.version + 1
    item = {
        "pk": order_key(order.order_id),
        "sk": f"REFUND#{number:06d}",
        "entity": "refund",
        "refund_id": f"{order.order_id}:{number}",
        "amount": amount,
        "currency": order.currency,
        "intent": intent or order.payment.intent,
        "reason": reason,
        "status": "requested",
        "requested_at": to_text(now),
    }
    owing = replace(order, payment=replace(payment, refund_due=payment.refund_due + amount))
    return owing.with_effects(Effect.REFUND), [table.put("refund", item)]
