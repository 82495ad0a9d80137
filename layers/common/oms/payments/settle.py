"""Carrying out what orders owe the payment provider: intents to cancel, refunds to make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from oms.orders.model import Effect, Event, Hold, Order
from oms.orders.store import AlreadyApplied, Change, DynamoOrders, order_key
from oms.payments import ledger
from oms.payments.apply import PROVIDER, ApplyPayments, IntentFact
from oms.payments.port import Intent, PaymentGateway, PaymentRefused, Refund
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Item


class NotSettledYet(Exception):
    """The provider is still at work on it: ask again."""


@dataclass(frozen=True, slots=True)
class SettlePayments:
    """Safe to repeat: every call to the provider has a key made from its cause, every result one ledger entry."""

    orders: DynamoOrders
    gateway: PaymentGateway
    payments: ApplyPayments
    clock: Clock

    def settle(self, order_id: str) -> None:
        """Do whatever is due for an order now. Raises ``NotSettledYet`` and the gateway's unavailability."""
        order = self.orders.get(order_id)
        if order is None:
            return
        if Effect.CANCEL_INTENT in order.effects:
            self._cancel_intent(order)
        if Effect.REFUND in order.effects:
            for item in self.orders.parts(order_id, "REFUND#"):
                if item["status"] == "requested":
                    self._refund(order, item)

    def _cancel_intent(self, order: Order) -> None:
        # Placement does not write the intent down; its key is the order's id, so asking again meets the same one.
        intent_id = (
            order.payment.intent or self.gateway.open_intent(order.order_id, order.totals.total, order.currency).id
        )
        intent = self.gateway.cancel_intent(intent_id)
        if intent.status == "processing":
            raise NotSettledYet(order.order_id)
        self.payments.apply(_fact(order, intent))
        self.orders.change(order.order_id, _no_longer(Effect.CANCEL_INTENT, intent), self.clock())

    def _refund(self, order: Order, item: Item) -> None:
        telemetry.count("RefundsRequested")
        try:
            refund = self.gateway.refund(
                item["intent"], item["amount"], refund_id=item["refund_id"], reason="requested_by_customer"
            )
        except PaymentRefused as refused:
            self._record_failure(order.order_id, item, refused.code)
            return
        if refund.status in ("failed", "canceled"):
            self._record_failure(order.order_id, item, refund.status)
            return
        self._record(order.order_id, item, refund)

    def _record(self, order_id: str, item: Item, refund: Refund) -> None:
        now = self.clock()
        entry = ledger.Entry("refunded", PROVIDER, refund.id, refund.amount, refund.currency, item["refund_id"])

        def decide(order: Order) -> Change | None:
            order = replace(order, payment=ledger.with_entry(order.payment, entry))
            if not order.payment.refund_due:
                order = order.without_effect(Effect.REFUND)
            event = Event("RefundSent", PROVIDER, item["reason"], {"refund": refund.id, "amount": refund.amount})
            writes = [
                ledger.append(self.orders.table, order_id, entry, now),
                self.orders.table.update(
                    "refund",
                    (order_key(order_id), item["sk"]),
                    "SET #s = :sent, provider_refund = :id, sent_at = :now",
                    "#s = :requested",
                    names={"#s": "status"},
                    values={":sent": "sent", ":requested": "requested", ":id": refund.id, ":now": to_text(now)},
                ),
            ]
            return Change(order, event, writes)

        try:
            self.orders.change(order_id, decide, now)
        except (AlreadyApplied, ConditionsFailed):
            return  # Another worker recorded the same refund first.

    def _record_failure(self, order_id: str, item: Item, code: str) -> None:
        now = self.clock()

        def decide(order: Order) -> Change | None:
            due = max(0, order.payment.refund_due - item["amount"])
            hold = Hold(f"refund failed: {code}", "finance", to_text(now), to_text(now + timedelta(days=1)))
            order = replace(
                order,
                payment=replace(order.payment, refund_due=due),
                holds={**order.holds, "payment": hold},
            )
            if not due:
                order = order.without_effect(Effect.REFUND)
            event = Event("RefundFailed", PROVIDER, item["reason"], {"code": code, "amount": item["amount"]})
            mark = self.orders.table.update(
                "refund",
                (order_key(order_id), item["sk"]),
                "SET #s = :failed, failure = :code, failed_at = :now",
                "#s = :requested",
                names={"#s": "status"},
                values={":failed": "failed", ":requested": "requested", ":code": code, ":now": to_text(now)},
            )
            return Change(order, event, [mark])

        try:
            self.orders.change(order_id, decide, now)
        except ConditionsFailed:
            return
        telemetry.count("RefundsFailed")
        telemetry.logger.error("refund_failed", order_id=order_id, refund_id=item["refund_id"], code=code)


def _fact(order: Order, intent: Intent) -> IntentFact:
    """What the provider answered, as if an event had told it: the source makes it one effect however often we ask."""
    if intent.status == "succeeded":
        kind, amount = "succeeded", intent.amount_received
    else:
        kind, amount = "canceled", intent.amount
    return IntentFact(kind, order.order_id, intent.id, amount, intent.currency, f"settle:{intent.id}:{intent.status}")


def _no_longer(effect: Effect, intent: Intent) -> Callable[[Order], Change | None]:
    def decide(order: Order) -> Change | None:
        if effect not in order.effects:
            return None
        event = Event("IntentClosed", PROVIDER, f"{intent.id} is {intent.status}")
        return Change(order.without_effect(effect), event)

    return decide
