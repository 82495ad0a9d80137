"""The money ledger: one append-only entry per thing that happened to money, each a journal of its own in double entry.

Debits are positive and credits negative, in minor units, and the postings of an entry add up to zero. An order's
balances are the sums of its postings. What is only set aside stands in two memorandum accounts that mirror each other,
so that an authorisation never looks like money.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from oms.orders.model import Payment
from oms.orders.store import order_key
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Item, Table, Write

CUSTOMER = "customer"
"""Credited with what the customer paid, debited with what is owed back."""
RECEIVABLE = "receivable"
"""Invoices on terms that are not paid yet."""
REFUNDS_PAYABLE = "refunds_payable"
"""What we owe back and have not sent."""
DISPUTES = "disputes"
"""What banks took back while they decide."""
SET_ASIDE, PROMISED = "authorizations", "authorizations_contra"
"""The memorandum pair."""


def clearing(provider: str) -> str:
    """Where a provider keeps our money, or a till or bank account does."""
    return f"clearing:{provider}"


def fees(provider: str) -> str:
    """What a provider charges us: never mixed with what customers pay."""
    return f"fees:{provider}"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened to money.

    ``kind``: authorized, released, captured, credit, refund_due, refunded, refund_failed, refund_withdrawn, disputed,
    dispute_won, dispute_lost, fee. ``object_id`` is the provider's object (or ours, for what only we know), so that one
    fact told twice is one entry. Amounts are minor units and positive.
    """

    kind: str
    provider: str
    object_id: str
    amount: int
    currency: str
    cause: str
    intent: str = ""
    """The payment that the money belongs to, where ``object_id`` names a part of it."""
    drawn: int = 0
    """How much of a capture was authorised before."""
    on_credit: int = 0
    """How much of a capture pays an invoice."""
    fee: int = 0
    """What whoever took the money kept of it for themselves."""
    reference: str = ""
    """A terminal's receipt, an invoice's number."""
    agent: str = ""
    taken_at: str = ""
    """When a till took it by its own clock; when it was written is ours."""

    @property
    def sk(self) -> str:
        return f"MONEY#{self.kind}#{self.object_id}"

    @property
    def postings(self) -> dict[str, int]:
        """Account by account, debits positive."""
        return _postings(self.kind, self.provider, self.amount, self.drawn, self.on_credit, self.fee)


def _postings(
    kind: str, provider: str, amount: int, drawn: int = 0, on_credit: int = 0, fee: int = 0
) -> dict[str, int]:
    at = clearing(provider)
    pairs: dict[str, list[tuple[str, str, int]]] = {
        "authorized": [(SET_ASIDE, PROMISED, amount)],
        "released": [(PROMISED, SET_ASIDE, amount)],
        "captured": [
            (at, CUSTOMER, amount - on_credit),
            (at, RECEIVABLE, on_credit),
            (PROMISED, SET_ASIDE, drawn),
            (fees(provider), at, fee),
        ],
        "credit": [(RECEIVABLE, CUSTOMER, amount)],
        "refund_due": [(CUSTOMER, REFUNDS_PAYABLE, amount)],
        "refunded": [(REFUNDS_PAYABLE, at, amount)],
        "refund_failed": [(at, REFUNDS_PAYABLE, amount)],
        "refund_withdrawn": [(REFUNDS_PAYABLE, CUSTOMER, amount)],
        "disputed": [(DISPUTES, at, amount)],
        "dispute_won": [(at, DISPUTES, amount)],
        "dispute_lost": [(CUSTOMER, DISPUTES, amount)],
        "fee": [(fees(provider), at, amount)],
    }
    total: Counter[str] = Counter()
    for debit, credit, units in pairs[kind]:
        total[debit] += units
        total[credit] -= units
    return {account: units for account, units in sorted(total.items()) if units}


def append(table: Table, order_id: str, entry: Entry, now: datetime) -> Write:
    """The action that writes an entry, or fails with the label ``money`` when the fact is known."""
    item: Item = {
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
        "postings": entry.postings,
    }
    optional = {
        "intent": entry.intent,
        "drawn": entry.drawn,
        "on_credit": entry.on_credit,
        "fee": entry.fee,
        "reference": entry.reference,
        "agent": entry.agent,
        "taken_at": entry.taken_at,
    }
    return table.put("money", {**item, **{name: value for name, value in optional.items() if value}})


def sums(entries: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Totals by kind; ``drawn`` and ``on_credit`` are the parts of captures that were authorised or owed before, and
    ``fee`` counts what was kept of captures as well."""
    total: Counter[str] = Counter()
    for entry in entries:
        total[entry["kind"]] += entry["amount"]
        total["drawn"] += entry.get("drawn", 0)
        total["on_credit"] += entry.get("on_credit", 0)
        total["fee"] += entry.get("fee", 0)
    return total


def postings_of(entry: Mapping[str, Any]) -> dict[str, int]:
    """The postings of a stored entry; those from before double entry are worked out from what they say."""
    if "postings" in entry:
        return dict(entry["postings"])
    return _postings(entry["kind"], entry["provider"], entry["amount"])


def balances(entries: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Each account's balance, debits positive."""
    total: Counter[str] = Counter()
    for entry in entries:
        total.update(postings_of(entry))
    return {account: units for account, units in sorted(total.items()) if units}


def with_entry(payment: Payment, entry: Entry) -> Payment:
    """The payment summary after an entry, its status derived from the sums."""
    amount = entry.amount
    match entry.kind:
        case "authorized":
            payment = replace(payment, authorized=payment.authorized + amount)
        case "released":
            payment = replace(payment, authorized=payment.authorized - amount)
        case "captured":
            payment = replace(
                payment,
                captured=payment.captured + amount,
                authorized=payment.authorized - entry.drawn,
                credit=payment.credit - entry.on_credit,
            )
        case "credit":
            payment = replace(payment, credit=payment.credit + amount)
        case "refund_due":
            payment = replace(payment, refund_due=payment.refund_due + amount)
        case "refunded":
            payment = replace(payment, refunded=payment.refunded + amount, refund_due=payment.refund_due - amount)
        case "refund_failed":
            payment = replace(payment, refunded=payment.refunded - amount, refund_due=payment.refund_due + amount)
        case "refund_withdrawn":
            payment = replace(payment, refund_due=payment.refund_due - amount)
        case "disputed":
            payment = replace(payment, disputed=payment.disputed + amount)
        case "dispute_won":
            payment = replace(payment, disputed=payment.disputed - amount)
        case _:
            return payment
    if not payment.authorized:
        payment = replace(payment, authorized_until="")
    if not payment.credit:
        payment = replace(payment, due_at="")
    return replace(payment, provider=entry.provider, status=_status(payment))


def _status(payment: Payment) -> str:
    if payment.disputed:
        return "disputed"
    if payment.captured:
        if payment.refunded >= payment.captured:
            return "refunded"
        return "partially_refunded" if payment.refunded else "captured"
    if payment.credit:
        return "credit"
    return "authorized" if payment.authorized else "cancelled"
