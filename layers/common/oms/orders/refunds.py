"""Asking for money back: written with the change that owes it, carried out afterwards by ``oms.payments.settle``.

A refund is a machine of its own: requested → sent → succeeded. Money that a provider of ours cannot send (cash, a
marketplace's) waits ``by_hand`` until somebody records that it was given back. A refund that fails, at once or after it
was sent, stays due until finance sends it again, gives it back in another way, or withdraws it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from oms.orders.model import Effect, Order
from oms.orders.store import order_key
from oms.payments import ledger
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Item, Table, Write

NEXT: Mapping[str, frozenset[str]] = {
    "requested": frozenset({"sent", "succeeded", "failed", "by_hand", "withdrawn"}),
    "sent": frozenset({"succeeded", "failed"}),
    "by_hand": frozenset({"succeeded", "withdrawn"}),
    "failed": frozenset({"requested", "succeeded", "withdrawn"}),
    "succeeded": frozenset({"failed"}),
    "withdrawn": frozenset(),
}
"""A bank may send a refund back days after it had succeeded."""

STILL_DUE = frozenset({"requested", "failed", "by_hand"})
"""States in which the customer has not got the money yet."""


def request_refund(
    table: Table,
    order: Order,
    amount: int,
    reason: str,
    now: datetime,
    *,
    intent: str = "",
    provider: str = "stripe",
    concession: bool = False,
) -> tuple[Order, list[Write]]:
    """The order owing ``amount`` back, never more than was captured and is not on its way back already, and the
    actions that record the request, one for each payment that has to give. Nothing at all when nothing can be owed.

    ``intent`` names the payment (of ``provider``) to refund; without it, the payments in the ledger give, the largest
    first. A ``concession`` is given though the goods stay the customer's: the order costs so much less.
    """
    payment = order.payment
    amount = min(amount, payment.captured - payment.refunded - payment.refund_due - payment.disputed)
    portions = [(provider, intent, amount)] if intent else list(_portions(table, order, amount))
    owed = sum(portion for *_, portion in portions)
    if owed <= 0:
        return order, []
    number = order.version + 1
    writes = []
    for index, (giver, payment_id, portion) in enumerate(portions):
        part = f".{index}" if index else ""
        refund_id = f"{order.order_id}:{number}{part}"
        item = {
            "pk": order_key(order.order_id),
            "sk": f"REFUND#{number:06d}{part}",
            "entity": "refund",
            "refund_id": refund_id,
            "provider": giver,
            "amount": portion,
            "currency": order.currency,
            "intent": payment_id,
            "reason": reason,
            "status": "requested",
            "requested_at": to_text(now),
        }
        if concession:
            item["concession"] = True
        entry = ledger.Entry("refund_due", giver, refund_id, portion, order.currency, reason, intent=payment_id)
        payment = ledger.with_entry(payment, entry)
        writes += [table.put("refund", item), ledger.append(table, order.order_id, entry, now)]
    if concession:
        payment = replace(payment, conceded=payment.conceded + owed)
    return replace(order, payment=payment).with_effects(Effect.REFUND), writes


def take_credit_back(table: Table, order: Order, refund: Item, refunds: Sequence[Item]) -> tuple[Order, list[Write]]:
    """The order without the credit that a refund was given for, once none of that credit's refunds (``refunds`` are all
    of the order) is owed any more: its units may be credited or returned again. Nothing for other refunds."""
    number = str(refund["sk"]).removeprefix("REFUND#").partition(".")[0]
    credit = table.get(order_key(order.order_id), f"CREDIT#{number}")
    owed = [
        each
        for each in refunds
        if each["sk"].removeprefix("REFUND#").partition(".")[0] == number
        and each["refund_id"] != refund["refund_id"]
        and each["status"] != "withdrawn"
    ]
    if credit is None or credit.get("withdrawn") or owed:
        return order, []
    units = credit.get("units", {})
    lines = tuple(replace(each, credited=each.credited - units.get(str(each.number), 0)) for each in order.lines)
    key = (order_key(order.order_id), f"CREDIT#{number}")
    mark = table.update("credit", key, "SET withdrawn = :yes", "attribute_not_exists(withdrawn)", values={":yes": True})
    return replace(order, lines=lines), [mark]


def _portions(table: Table, order: Order, amount: int) -> Iterator[tuple[str, str, int]]:
    """Which payments give how much: what each captured, less what was asked back of it before."""
    left: Counter[str] = Counter()
    providers: dict[str, str] = {}
    for entry in table.query(order_key(order.order_id), "MONEY#captured#"):
        if entry["currency"] == order.currency:
            payment_id = entry.get("intent") or entry["object_id"]
            left[payment_id] += entry["amount"]
            providers[payment_id] = entry["provider"]
    for refund in table.query(order_key(order.order_id), "REFUND#"):
        if refund["status"] != "withdrawn":
            left[refund["intent"]] -= refund["amount"]
    for payment_id, captured in left.most_common():
        portion = min(amount, captured)
        if portion > 0:
            amount -= portion
            yield providers[payment_id], payment_id, portion
