"""Asking for money back: written with the change that owes it, carried out afterwards by ``oms.payments.settle``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
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
    actions that record the request, one for each payment that has to give. Nothing at all when nothing can be owed.

    ``intent`` names the payment to refund; without it, the payments in the ledger give, the largest first.
    """
    payment = order.payment
    amount = min(amount, payment.captured - payment.refunded - payment.refund_due)
    portions = [(intent, amount)] if intent else list(_portions(table, order, amount))
    owed = sum(portion for _, portion in portions)
    if owed <= 0:
        return order, []
    number = order.version + 1
    writes = []
    for index, (payment_intent, portion) in enumerate(portions):
        part = f".{index}" if index else ""
        item = {
            "pk": order_key(order.order_id),
            "sk": f"REFUND#{number:06d}{part}",
            "entity": "refund",
            "refund_id": f"{order.order_id}:{number}{part}",
            "amount": portion,
            "currency": order.currency,
            "intent": payment_intent,
            "reason": reason,
            "status": "requested",
            "requested_at": to_text(now),
        }
        writes.append(table.put("refund", item))
    owing = replace(order, payment=replace(payment, refund_due=payment.refund_due + owed))
    return owing.with_effects(Effect.REFUND), writes


def _portions(table: Table, order: Order, amount: int) -> Iterator[tuple[str, int]]:
    """Which payments give how much: what each captured, less what was asked back of it before."""
    left: Counter[str] = Counter()
    for entry in table.query(order_key(order.order_id), "MONEY#captured#"):
        if entry["currency"] == order.currency:
            left[entry["object_id"]] += entry["amount"]
    for refund in table.query(order_key(order.order_id), "REFUND#"):
        if refund["status"] != "failed":
            left[refund["intent"]] -= refund["amount"]
    for intent, captured in left.most_common():
        portion = min(amount, captured)
        if portion > 0:
            amount -= portion
            yield intent, portion
