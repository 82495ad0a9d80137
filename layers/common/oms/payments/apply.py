"""What a payment provider tells us becomes part of the order: once, in any order, however late."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from oms.inventory.model import home_stripe, spread
from oms.inventory.store import DynamoInventory
from oms.orders.model import Effect, Event, Hold, Order, Status, home_seed
from oms.orders.refunds import request_refund
from oms.orders.store import AlreadyApplied, Change, DynamoOrders
from oms.payments import ledger
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Write

PROVIDER = "stripe"
_ATTEMPTS = 8


class OrderNotYetVisible(Exception):
    """The event names an order that we do not have (yet): worth trying again, and worth an alarm if that goes on."""


@dataclass(frozen=True, slots=True)
class IntentFact:
    """What an event says about a payment intent, in our words."""

    kind: str
    """succeeded, capturable, failed or canceled."""
    order_id: str
    intent: str
    amount: int
    currency: str
    source: str
    """The event's id: one effect per source."""
    detail: str = ""


_KINDS = {
    "payment_intent.succeeded": ("succeeded", "amount_received"),
    "payment_intent.amount_capturable_updated": ("capturable", "amount_capturable"),
    "payment_intent.payment_failed": ("failed", "amount"),
    "payment_intent.canceled": ("canceled", "amount"),
}


def read_event(event: Mapping[str, Any]) -> IntentFact | None:
    """The fact that a Stripe event carries; None for types that do not concern us and for intents not of ours."""
    known = _KINDS.get(event["type"])
    if known is None:
        return None
    kind, amount_field = known
    intent = event["data"]["object"]
    order_id = (intent.get("metadata") or {}).get("order_id")
    if not order_id:
        if kind in ("succeeded", "capturable"):
            telemetry.count("PaymentsUnmatched")
            telemetry.logger.warning("payment_without_order", event_id=event["id"], intent=intent["id"])
        return None
    failure = (intent.get("last_payment_error") or {}).get("code") or ""
    return IntentFact(
        kind, order_id, intent["id"], int(intent[amount_field]), intent["currency"].upper(), event["id"], failure
    )


@dataclass(frozen=True, slots=True)
class ApplyPayments:
    """Applies facts to orders. Every fact is one transaction with its inbox item, so repeating changes nothing."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    def apply(self, fact: IntentFact) -> None:
        """Raises ``OrderNotYetVisible`` and ``Contention``; a fact that had its effect before is done quietly."""
        now = self.clock()
        before: Order | None = None

        def decide(order: Order) -> Change | None:
            nonlocal before
            before = order
            if not order.payment.intent and fact.amount == order.totals.total:
                # Our own intent is made over the total; one over another amount is somebody else's doing.
                order = _with_intent(order, fact.intent)
            change: Change | None
            if fact.kind in ("succeeded", "capturable"):
                change = self._money(order, fact, now)
            elif fact.kind == "failed":
                change = _failed(order, fact)
            else:
                change = self._canceled(order, fact, now)
            if change is None:
                return None
            return replace(change, writes=[*change.writes, self.orders.inbox(PROVIDER, fact.source, now)])

        for attempt in range(_ATTEMPTS):
            try:
                after = self.orders.change(fact.order_id, decide, now)
            except AlreadyApplied:
                return
            except errors.NotFound:
                raise OrderNotYetVisible(fact.order_id) from None
            except ConditionsFailed:
                self.orders.table.back_off(attempt)  # A stripe we meant to take from was emptied: plan again.
                continue
            self._tell(before, after, fact)
            return
        raise Contention(f"payment of {fact.order_id}")

    def _tell(self, before: Order | None, after: Order, fact: IntentFact) -> None:
        if before is None or before.version == after.version:
            return
        confirmed = before.status is not after.status and after.status is Status.CONFIRMED
        if confirmed:
            telemetry.count("PaymentsConfirmed")
        if fact.kind == "failed":
            telemetry.count("PaymentsFailed")
        telemetry.logger.info(
            "payment_applied", order_id=fact.order_id, kind=fact.kind, status=after.status.value, event_id=fact.source
        )

    def _money(self, order: Order, fact: IntentFact, now: datetime) -> Change:
        kind = "captured" if fact.kind == "succeeded" else "authorized"
        entry = ledger.Entry(kind, PROVIDER, fact.intent, fact.amount, fact.currency, fact.source)
        writes = [ledger.append(self.orders.table, order.order_id, entry, now)]
        data = {"intent": fact.intent, "amount": fact.amount, "currency": fact.currency}
        if fact.currency != order.currency:
            # Not this order's money: in the ledger as it came, outside the sums, and a person decides.
            event = Event("PaymentMismatched", PROVIDER, fact.source, data)
            return Change(_held(order, f"paid in {fact.currency}, owed in {order.currency}", now), event, writes)
        paid_before = order.payment.captured
        order = replace(order, payment=ledger.with_entry(order.payment, entry))
        name = "PaymentCaptured" if kind == "captured" else "PaymentAuthorized"
        event = Event(name, PROVIDER, fact.source, data)
        if kind == "captured" and paid_before >= order.totals.total and fact.intent != order.payment.intent:
            return self._give_back(order, fact, "paid twice", event, writes, now)
        if order.status is Status.PLACED:
            if fact.amount != order.totals.total:
                reason = f"paid {fact.amount}, owed {order.totals.total}"
                return Change(_held(order, reason, now), replace(event, type="PaymentMismatched"), writes)
            return Change(order.moved_to(Status.CONFIRMED).with_effects(Effect.START_FULFILLMENT), event, writes)
        if order.status is Status.EXPIRED:
            takes = None if fact.amount != order.totals.total else self._retake(order, now)
            if takes is not None:
                again = order.moved_to(Status.CONFIRMED).without_effect(Effect.CANCEL_INTENT)
                event = replace(event, data={**data, "stock": "taken again"})
                return Change(again.with_effects(Effect.START_FULFILLMENT), event, [*writes, *takes])
            return self._give_back(order, fact, "the order had expired and its stock was gone", event, writes, now)
        if order.status is Status.CANCELLED:
            return self._give_back(order, fact, "the order was cancelled", event, writes, now)
        return Change(order, event, writes)

    def _give_back(
        self, order: Order, fact: IntentFact, reason: str, event: Event, writes: list[Write], now: datetime
    ) -> Change:
        event = replace(event, data={**event.data, "given_back": reason})
        if fact.kind == "capturable":
            return Change(order.with_effects(Effect.CANCEL_INTENT), event, writes)
        order = order.without_effect(Effect.CANCEL_INTENT)
        order, refund = request_refund(self.orders.table, order, fact.amount, reason, now, intent=fact.intent)
        return Change(order, event, [*writes, *refund])

    def _retake(self, order: Order, now: datetime) -> list[Write] | None:
        """The actions that take the order's stock again, or None when it is gone (or too much for one transaction, or
        was never all there)."""
        if order.chunks or order.oversold or Effect.RELEASE_STOCK in order.effects:
            return None
        wanted = order.owed()
        products = self.inventory.products(wanted)
        writes: list[Write] = []
        for sku, units in wanted.items():
            if sku not in products:
                return None
            home = home_stripe(home_seed(order.order_id), products[sku].stripes)
            takes = spread(sku, units, self.inventory.stripes(products[sku]), home)
            if sum(take.quantity for take in takes) < units:
                return None
            writes += [self.inventory.take(take, f"order:{order.order_id}", now) for take in takes]
        return writes

    def _canceled(self, order: Order, fact: IntentFact, now: datetime) -> Change | None:
        if fact.intent != order.payment.intent or order.payment.status in ("captured", "refunded", "cancelled"):
            return None
        writes: list[Write] = []
        payment = replace(order.payment, status="cancelled")
        if order.payment.authorized:
            entry = ledger.Entry(
                "released", PROVIDER, fact.intent, order.payment.authorized, order.currency, fact.source
            )
            writes.append(ledger.append(self.orders.table, order.order_id, entry, now))
            payment = ledger.with_entry(order.payment, entry)
        order = replace(order, payment=payment).without_effect(Effect.CANCEL_INTENT)
        if order.status in (Status.CONFIRMED, Status.IN_FULFILLMENT):
            order = _held(order, "the payment was cancelled", now)
        return Change(order, Event("PaymentCancelled", PROVIDER, fact.source, {"intent": fact.intent}), writes)


def _with_intent(order: Order, intent: str) -> Order:
    return replace(order, payment=replace(order.payment, intent=intent))


def _failed(order: Order, fact: IntentFact) -> Change | None:
    if order.status is not Status.PLACED or order.payment.status not in ("pending", "failed"):
        return None
    failed = replace(order, payment=replace(order.payment, status="failed"))
    event = Event("PaymentFailed", PROVIDER, fact.source, {"intent": fact.intent, "code": fact.detail})
    return Change(failed, event)


def _held(order: Order, reason: str, now: datetime) -> Order:
    hold = Hold(reason, "finance", to_text(now), to_text(now + timedelta(days=1)))
    return replace(order, holds={**order.holds, "payment": hold})
