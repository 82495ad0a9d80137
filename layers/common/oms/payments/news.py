"""What a provider tells of refunds, disputes, fraud warnings and reviews: a hint each, upon which the object is read.

Whatever is read is newer than the event, so events may come in any order, late and often: a status only moves forward,
and money is booked once by the provider's own balance transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from oms.orders.ending import EndOrders
from oms.orders.model import OPEN, Event, Hold, Order
from oms.orders.refunds import NEXT, request_refund
from oms.orders.store import AlreadyApplied, Change, DynamoOrders, order_key
from oms.payments import ledger
from oms.payments.apply import PROVIDER, OrderNotYetVisible
from oms.payments.port import Dispute, FraudWarning, PaymentGateway, Refund
from oms.payments.settle import held_for_refund, mark_refund
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import ConditionsFailed, Item, Write

REFUNDS = ("refund.created", "refund.updated", "refund.failed")
DISPUTES = (
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
DOUBTS = ("radar.early_fraud_warning.created", "review.opened", "review.closed")
NEWS = (*REFUNDS, *DISPUTES, *DOUBTS)

DECIDED = frozenset({"won", "lost", "warning_closed", "prevented"})
"""Last words about a dispute. The provider adds statuses: one that we do not know is not the last."""
REVIEW_WITHIN = timedelta(hours=24)
EVIDENCE_MARGIN = timedelta(days=2)
"""How long before the provider's own deadline evidence should be in."""
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class ProviderNews:
    """Applies them to orders; every effect stands in one transaction with what makes it happen once."""

    orders: DynamoOrders
    gateway: PaymentGateway
    ending: EndOrders
    clock: Clock
    fraud_action: str = "hold"
    """What a fraud warning does: ``hold`` the order, or ``refund`` it."""

    def take_up(self, kind: str, object_id: str) -> None:
        """Read the object that an event is about and apply it. Raises ``OrderNotYetVisible`` and the gateway's
        unavailability; what is not about an order of ours is left alone."""
        if kind in REFUNDS:
            self._refund(self.gateway.get_refund(object_id))
        elif kind in DISPUTES:
            self._dispute(self.gateway.get_dispute(object_id))
        elif kind in DOUBTS:
            self._doubt(self.gateway.get_warning(object_id))

    def _order_of(self, intent: str) -> str:
        return self.gateway.get_intent(intent).order_id if intent else ""

    def _change(self, order_id: str, decide: Callable[[Order], Change | None]) -> None:
        """Apply; when a part beside the order moved meanwhile, decide again."""
        for attempt in range(_ATTEMPTS):
            try:
                self.orders.change(order_id, decide, self.clock())
            except AlreadyApplied:
                return
            except errors.NotFound:
                raise OrderNotYetVisible(order_id) from None
            except ConditionsFailed:
                self.orders.table.back_off(attempt)
                continue
            return

    # ---- refunds -------------------------------------------------------------------------------------------------

    def _refund(self, refund: Refund) -> None:
        ours = refund.refund_id.partition("#")[0]
        if ours.startswith("unmatched:"):
            return  # Money that never had an order.
        order_id = ours.partition(":")[0] or self._order_of(refund.intent)
        if not order_id:
            return
        now = self.clock()

        def decide(order: Order) -> Change | None:
            known = self.orders.parts(order_id, "REFUND#")
            item = next((each for each in known if ours and each["refund_id"] == ours), None)
            if item is None and not ours:
                item = next((each for each in known if each["refund_id"] == refund.id), None)
                if item is None:
                    return self._foreign(order, refund, now) if refund.status in ("pending", "succeeded") else None
            if item is None or (item.get("provider_refund") or refund.id) != refund.id:
                return None  # An earlier attempt than the one that counts.
            return self._moved_on(order, item, refund, now)

        self._change(order_id, decide)

    def _moved_on(self, order: Order, item: Item, refund: Refund, now: datetime) -> Change | None:
        status = {"succeeded": "succeeded", "failed": "failed", "canceled": "failed"}.get(refund.status)
        if status is None or status == item["status"] or status not in NEXT[item["status"]]:
            return None
        if item["status"] in ("requested", "failed") and not item.get("provider_refund"):
            return None  # Whoever made it writes it down; nothing was booked that could be wrong.
        data = {"refund": refund.id, "amount": refund.amount}
        if status == "succeeded":
            if item["status"] != "sent":
                return None
            mark = mark_refund(self.orders, order.order_id, item, "succeeded", {"succeeded_at": to_text(now)})
            return Change(order, Event("RefundSucceeded", PROVIDER, refund.id, data), [mark])
        # The bank sent it back: the money is ours again, and still due.
        entry = ledger.Entry(
            "refund_failed", PROVIDER, refund.id, refund.amount, refund.currency, refund.id, intent=item["intent"]
        )
        after = replace(order, payment=ledger.with_entry(order.payment, entry))
        after = held_for_refund(after, f"refund failed: {refund.failure or refund.status}", now)
        changes = {"failure": refund.failure or refund.status, "failed_at": to_text(now)}
        telemetry.count("RefundsFailed")
        return Change(
            after,
            Event("RefundFailed", PROVIDER, refund.id, {**data, "code": refund.failure or refund.status}),
            [
                ledger.append(self.orders.table, order.order_id, entry, now),
                mark_refund(self.orders, order.order_id, item, "failed", changes),
            ],
        )

    def _foreign(self, order: Order, refund: Refund, now: datetime) -> Change:
        """Somebody refunded in the provider's dashboard: it is in our books like our own."""
        item = {
            "pk": order_key(order.order_id),
            "sk": f"REFUND#{refund.id}",
            "entity": "refund",
            "refund_id": refund.id,
            "provider": PROVIDER,
            "amount": refund.amount,
            "currency": refund.currency,
            "intent": refund.intent,
            "reason": "made at the provider",
            "status": "succeeded" if refund.status == "succeeded" else "sent",
            "provider_refund": refund.id,
            "requested_at": to_text(now),
        }
        writes = [self.orders.table.put("refund", item)]
        payment = order.payment
        for kind in ("refund_due", "refunded"):
            entry = ledger.Entry(
                kind, PROVIDER, refund.id, refund.amount, refund.currency, refund.id, intent=refund.intent
            )
            payment = ledger.with_entry(payment, entry)
            writes.append(ledger.append(self.orders.table, order.order_id, entry, now))
        data = {"refund": refund.id, "amount": refund.amount}
        return Change(replace(order, payment=payment), Event("RefundFound", PROVIDER, refund.id, data), writes)

    # ---- disputes ------------------------------------------------------------------------------------------------

    def _dispute(self, dispute: Dispute) -> None:
        order_id = self._order_of(dispute.intent)
        if not order_id:
            return
        now = self.clock()

        def decide(order: Order) -> Change | None:
            item = self.orders.table.get(order_key(order_id), f"DISPUTE#{dispute.id}")
            booked = {entry["sk"] for entry in self.orders.parts(order_id, "MONEY#")}
            entries = [entry for entry in _dispute_entries(dispute) if entry.sk not in booked]
            stale = item is not None and (item["status"] == dispute.status or item["status"] in DECIDED)
            if stale and not entries:
                return None
            for entry in entries:
                order = replace(order, payment=ledger.with_entry(order.payment, entry))
            writes: list[Write] = [ledger.append(self.orders.table, order_id, entry, now) for entry in entries]
            status = item["status"] if item and item["status"] in DECIDED else dispute.status
            writes.append(self._dispute_item(order_id, item, dispute, status, now))
            order = _held_for_dispute(order, dispute, status, now)
            data = {"dispute": dispute.id, "status": status, "amount": dispute.amount, "reason": dispute.reason}
            name = "DisputeOpened" if item is None else "DisputeClosed" if status in DECIDED else "DisputeUpdated"
            return Change(order, Event(name, PROVIDER, dispute.id, data), writes)

        self._change(order_id, decide)
        if dispute.status not in DECIDED:
            telemetry.count("DisputesOpen")

    def _dispute_item(self, order_id: str, item: Item | None, dispute: Dispute, status: str, now: datetime) -> Write:
        if item is None:
            return self.orders.table.put(
                "dispute",
                {
                    "pk": order_key(order_id),
                    "sk": f"DISPUTE#{dispute.id}",
                    "entity": "dispute",
                    "dispute_id": dispute.id,
                    "status": status,
                    "reason": dispute.reason,
                    "amount": dispute.amount,
                    "currency": dispute.currency,
                    "intent": dispute.intent,
                    "due_by": dispute.due_by,
                    "opened_at": to_text(now),
                },
            )
        return self.orders.table.update(
            "dispute",
            (order_key(order_id), item["sk"]),
            "SET #s = :to, due_by = :due, updated_at = :now",
            "#s = :from",
            {"#s": "status"},
            {":to": status, ":from": item["status"], ":due": dispute.due_by, ":now": to_text(now)},
        )

    # ---- doubts --------------------------------------------------------------------------------------------------

    def _doubt(self, warning: FraudWarning) -> None:
        order_id = self._order_of(warning.intent)
        if not order_id:
            return
        now = self.clock()

        def decide(order: Order) -> Change | None:
            key = f"{warning.id}:{'open' if warning.open else 'closed'}"
            if self.orders.has_seen(PROVIDER, key):
                return None
            seen = self.orders.inbox(PROVIDER, key, now)
            data: dict[str, Any] = {"warning": warning.id, "reason": warning.reason}
            if not warning.open and warning.id.startswith("prv_"):
                held = order.holds.get("fraud")
                if not (warning.approved and held and warning.id in held.reason):
                    return Change(order, Event("ReviewClosed", PROVIDER, warning.id, data), [seen])
                rest = {kind: hold for kind, hold in order.holds.items() if kind != "fraud"}
                return Change(replace(order, holds=rest), Event("ReviewApproved", PROVIDER, warning.id, data), [seen])
            event = Event("FraudSuspected", PROVIDER, warning.id, data)
            if order.status not in OPEN or "fraud" in order.holds:
                return Change(order, event, [seen])
            deadline = to_text(now + REVIEW_WITHIN)
            hold = Hold(f"{warning.id}: {warning.reason}", "risk", to_text(now), deadline)
            return Change(replace(order, holds={**order.holds, "fraud": hold}), event, [seen])

        self._change(order_id, decide)
        telemetry.count("FraudWarnings")
        if self.fraud_action == "refund" and warning.id.startswith("issfr_"):
            self._give_up(order_id, warning)

    def _give_up(self, order_id: str, warning: FraudWarning) -> None:
        """Refund before the bank takes the money back with a fee on top; a parcel that has left is not called back."""
        reason = f"fraud warning {warning.id}"
        try:
            self.ending.cancel(order_id, reason=reason, actor="system")
        except errors.Conflict:
            now = self.clock()

            def decide(order: Order) -> Change | None:
                after, refund = request_refund(self.orders.table, order, order.payment.captured, reason, now)
                if not refund:
                    return None
                return Change(after, Event("RefundRequested", "system", reason), refund)

            self._change(order_id, decide)


def _dispute_entries(dispute: Dispute) -> list[ledger.Entry]:
    """What banks moved: each movement is keyed by the provider's own balance transaction."""
    entries = []
    for moved in dispute.movements:
        if moved.amount:
            kind = "disputed" if moved.amount > 0 else "dispute_won"
            entries.append(
                ledger.Entry(
                    kind, PROVIDER, moved.id, abs(moved.amount), moved.currency, dispute.id, intent=dispute.intent
                )
            )
        if moved.fee > 0:
            entries.append(
                ledger.Entry("fee", PROVIDER, moved.id, moved.fee, moved.currency, dispute.id, intent=dispute.intent)
            )
    if dispute.status == "lost":
        entries.append(
            ledger.Entry(
                "dispute_lost",
                PROVIDER,
                dispute.id,
                dispute.amount,
                dispute.currency,
                dispute.id,
                intent=dispute.intent,
            )
        )
    return entries


def _held_for_dispute(order: Order, dispute: Dispute, status: str, now: datetime) -> Order:
    if status == "won":
        return replace(order, holds={kind: hold for kind, hold in order.holds.items() if kind != "dispute"})
    if status in DECIDED and status != "lost":
        return replace(order, holds={kind: hold for kind, hold in order.holds.items() if kind != "dispute"})
    if status == "lost":
        if order.status not in OPEN:
            return replace(order, holds={kind: hold for kind, hold in order.holds.items() if kind != "dispute"})
        reason, deadline = f"{dispute.id} was lost", now + REVIEW_WITHIN
    else:
        due = from_text(dispute.due_by) - EVIDENCE_MARGIN if dispute.due_by else now + timedelta(days=5)
        reason, deadline = f"{dispute.id}: {dispute.reason}", max(due, now + timedelta(hours=1))
    hold = Hold(reason, "disputes", to_text(now), to_text(deadline))
    return replace(order, holds={**order.holds, "dispute": hold})
