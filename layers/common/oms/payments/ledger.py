"""The money ledger: one append-only entry per thing a provider did, and the sums that follow from the entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from oms.orders.model import Payment
from oms.orders.store import order_key
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Table, Write


@dataclass(frozen=True, slots=True)
class Entry:
    """Money that moved (or was set aside). ``kind`` is authorized, captured, refunded or released; ``object_id`` is
    the provider's object, so that one fact told twice is one entry. Amounts are minor units."""

    kind: str
    provider: str
    object_id: str
    amount: int
    currency: str
    cause: str

    @property
    def sk(self) -> str:
        return f"MONEY#{self.kind}#{self.object_id}"


def append(table: Table, order_id: str, entry: Entry, now: datetime) -> Write:
    """The action that writes an entry, or fails with the label ``money`` when the fact is known."""
    return table.put(
        "money",
        {
            "pk": order_key(order_id),
            "sk": entry.sk,
            "entity": "money",
            "kind": entry.kind,
            "provider": entry.provider,
            "object_id": entry.object_id,
            "amount": entry.amount,
            "currency": entry.currency,
            "cause": entry.cause,
            "at": to_text(now),
        },
    )


def sums(entries: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Totals by kind."""
    total = {"authorized": 0, "captured": 0, "refunded": 0, "released": 0}
    for entry in entries:
        total[entry["kind"]] += entry["amount"]
    return total


def with_entry(payment: Payment, entry: Entry) -> Payment:
    """The payment summary after an entry, its status derived from the sums."""
    if entry.kind == "authorized":
        payment = replace(payment, authorized=payment.authorized + entry.amount)
    elif entry.kind == "released":
        payment = replace(payment, authorized=payment.authorized - entry.amount)
    elif entry.kind == "captured":
        payment = replace(payment, captured=payment.captured + entry.amount)
    elif entry.kind == "refunded":
        due = max(0, payment.refund_due - entry.amount)
        payment = replace(payment, refunded=payment.refunded + entry.amount, refund_due=due)
    return replace(payment, provider=entry.provider, status=_status(payment))


def _status(payment: Payment) -> str:
    if payment.captured:
        if payment.refunded >= payment.captured:
            return "refunded"
        return "partially_refunded" if payment.refunded else "captured"
    return "authorized" if payment.authorized else "cancelled"
