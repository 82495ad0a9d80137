"""What a payment provider tells us becomes part of the order: once, in any order, however late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from oms.customers.rewards import given_again
from oms.inventory.model import home_stripe, spread
from oms.inventory.store import DynamoInventory
from oms.orders.coupon_book import redeemed_again
from oms.orders.holding import covered
from oms.orders.model import Effect, Event, Hold, Order, Status, home_seed
from oms.orders.refunds import request_refund
from oms.orders.store import AlreadyApplied, Change, DynamoOrders
from oms.payments import ledger
from oms.payments.cases import ORDER_WITHOUT_PAYMENT, Cases
from oms.payments.coverage import overpaid, owed
from oms.payments.port import Intent
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Write

PROVIDER = "stripe"
AUTHORIZATION_LIFE = timedelta(days=7)
"""How long the provider keeps money set aside unless it says otherwise."""
_ATTEMPTS = 8


class OrderNotYetVisible(Exception):
    """The event names an order that we do not have (yet): worth trying again, and worth an alarm if that goes on."""


@dataclass(frozen=True, slots=True)
class IntentFact:
    """What a payment intent looked like at some moment, in our words; perhaps not the latest."""

    kind: str
    """succeeded, capturable, processing, failed or canceled."""
    order_id: str
    intent: str
    amount: int
    """What came, or may be taken; for the other kinds what the intent is over."""
    currency: str
    source: str
    """The event's id: one effect per source."""
    detail: str = ""
    received: int = 0
    """What was captured of it until then."""
    capture_before: str = ""
    """Until when what may be taken can be taken, if somebody has asked."""
    renews: str = ""
    """The intent whose place this one takes."""


_KINDS = {
    "payment_intent.succeeded": ("succeeded", "amount_received"),
    "payment_intent.amount_capturable_updated": ("capturable", "amount_capturable"),
    "payment_intent.processing": ("processing", "amount"),
    "payment_intent.payment_failed": ("failed", "amount"),
    "payment_intent.canceled": ("canceled", "amount"),
}
_STATUSES = {
    "succeeded": "succeeded",
    "requires_capture": "capturable",
    "processing": "processing",
    "canceled": "canceled",
}


def read_event(event: Mapping[str, Any]) -> IntentFact | None:
    """The fact that an event about a payment intent carries; None for other types and for intents not of ours."""
    known = _KINDS.get(event["type"])
    if known is None:
        return None
    kind, amount_field = known
    intent = event["data"]["object"]
    order_id = (intent.get("metadata") or {}).get("order_id")
    if not order_id:
        return None
    failure = (intent.get("last_payment_error") or {}).get("code") or ""
    return IntentFact(
        kind,
        order_id,
        intent["id"],
        int(intent[amount_field]),
        intent["currency"].upper(),
        event["id"],
        failure,
        int(intent["amount_received"]),
        renews=intent["metadata"].get("renews", ""),
    )


def fact_of(intent: Intent, order_id: str, source: str) -> IntentFact | None:
    """The fact that an intent as the provider shows it now amounts to; None while nothing has come of it."""
    kind = _STATUSES.get(intent.status)
    if kind is None:
        return None
    amounts = {"succeeded": intent.amount_received, "capturable": intent.amount_capturable}
    return IntentFact(
        kind,
        order_id,
        intent.id,
        amounts.get(kind, intent.amount),
        intent.currency,
        source,
        received=intent.amount_received,
        capture_before=intent.capture_before,
        renews=intent.renews,
    )


@dataclass(frozen=True, slots=True)
class ApplyPayments:
    """Applies facts to orders. Every fact is one transaction with its inbox item, so repeating changes nothing."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    def apply(self, fact: IntentFact, *, attempts: int = _ATTEMPTS) -> None:
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
            elif fact.kind == "processing":
                change = _processing(order, fact)
            elif fact.kind == "failed":
                change = _failed(order, fact)
            else:
                change = self._canceled(order, fact, now)
            if change is None:
                return None
            return replace(change, writes=[*change.writes, self.orders.inbox(PROVIDER, fact.source, now)])

        for attempt in range(attempts):
            try:
                after = self.orders.change(fact.order_id, decide, now, attempts=max(2, attempts))
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

    def _money(self, order: Order, fact: IntentFact, now: datetime) -> Change | None:
        kind = "captured" if fact.kind == "succeeded" else "authorized"
        data = {"intent": fact.intent, "amount": fact.amount, "currency": fact.currency}
        if fact.currency != order.currency:
            # Not this order's money: in the ledger as it came, outside the sums, and a person decides.
            entry = ledger.Entry(kind, PROVIDER, fact.intent, fact.amount, fact.currency, fact.source)
            event = Event("PaymentMismatched", PROVIDER, fact.source, data)
            writes = [ledger.append(self.orders.table, order.order_id, entry, now)]
            return Change(_held(order, f"paid in {fact.currency}, owed in {order.currency}", now), event, writes)
        entries = self._news(order, fact)
        if not entries:
            return None
        expected = {order.totals.total, order.totals.total - order.payment.covers}
        paid_before, covered_before = order.payment.captured, order.payment.covers
        writes = []
        for entry in entries:
            order = replace(order, payment=ledger.with_entry(order.payment, entry))
            writes.append(ledger.append(self.orders.table, order.order_id, entry, now))
        if fact.renews and fact.renews == order.payment.intent:
            # From now on parcels are paid from this one; the old one is let go by whoever asked for it.
            order = replace(order, payment=replace(order.payment, intent=fact.intent, authorized_until=""))
        came = sum(entry.amount for entry in entries if entry.kind == "captured")
        event = Event("PaymentCaptured" if came else "PaymentAuthorized", PROVIDER, fact.source, data)
        if order.payment.authorized and (fact.capture_before or not order.payment.authorized_until):
            until = fact.capture_before or to_text(now + AUTHORIZATION_LIFE)
            order = replace(order, payment=replace(order.payment, authorized_until=until))
            if not fact.capture_before:
                order = order.with_effects(Effect.READ_AUTHORIZATION)
        if came and paid_before >= order.totals.total:
            return self._give_back(order, fact, came, "paid twice", event, writes, now)
        if order.status is Status.PLACED:
            if fact.amount not in expected:
                reason = f"paid {fact.amount}, owed {order.totals.total - covered_before}"
                return Change(_held(order, reason, now), replace(event, type="PaymentMismatched"), writes)
            order = order.moved_to(Status.CONFIRMED).with_effects(Effect.START_FULFILLMENT)
            surplus = min(came, order.payment.covers - order.totals.total)
            if surplus > 0 and "payment" not in order.holds:
                # The card paid all of it though a till had taken a part.
                return self._give_back(order, fact, surplus, "paid twice", event, writes, now)
            return Change(order, event, writes)
        if order.status is Status.EXPIRED:
            revived, gifts = given_again(self.orders.table, order)
            takes = None if fact.amount != order.totals.total else self._retake(revived, now)
            coupons = None if takes is None else redeemed_again(self.orders.table, order)
            if takes is not None and coupons is not None:
                again = revived.moved_to(Status.CONFIRMED).without_effect(Effect.CANCEL_INTENT)
                event = replace(event, data={**data, "stock": "taken again"})
                return Change(again.with_effects(Effect.START_FULFILLMENT), event, [*writes, *takes, *coupons, *gifts])
            return self._give_back(
                order, fact, came, "the order had expired and its stock or its coupon was gone", event, writes, now
            )
        if order.status is Status.CANCELLED:
            return self._give_back(order, fact, came, "the order was cancelled", event, writes, now)
        surplus = min(came, overpaid(order))
        if surplus > 0 and "payment" not in order.holds:
            # A line was cancelled, or a till took a part, while the money was on its way.
            return self._give_back(covered(order), fact, surplus, "more than is owed", event, writes, now)
        return Change(covered(order), event, writes)

    def _news(self, order: Order, fact: IntentFact) -> list[ledger.Entry]:
        """What the fact tells that the ledger does not know yet.

        An intent only ever receives more and ends once, so an older picture of it adds nothing: events may come in any
        order. Captures of one intent are numbered by what had been received with them.
        """
        booked = self._booked(order, fact.intent)
        over = fact.kind == "succeeded"
        received = fact.amount if over else fact.received
        entries: list[ledger.Entry] = []
        waiting = booked["authorized"] - booked["drawn"] - booked["released"]
        first = not booked["authorized"] and not booked["captured"]
        if not over and first and fact.amount > 0 and not _is_closed(order, fact.intent):
            whole = fact.amount + received
            entries.append(ledger.Entry("authorized", PROVIDER, fact.intent, whole, fact.currency, fact.source))
            waiting = whole
        if received > booked["captured"]:
            more = received - booked["captured"]
            drawn = min(waiting, more)
            name = fact.intent if over and not booked["captured"] else f"{fact.intent}#{received}"
            on_credit = min(order.payment.credit, more)
            entries.append(
                ledger.Entry(
                    "captured",
                    PROVIDER,
                    name,
                    more,
                    fact.currency,
                    fact.source,
                    intent=fact.intent,
                    drawn=drawn,
                    on_credit=on_credit,
                )
            )
            waiting -= drawn
        if over and waiting:
            entries.append(ledger.Entry("released", PROVIDER, fact.intent, waiting, fact.currency, fact.source))
        return entries

    def _booked(self, order: Order, intent: str) -> Counter[str]:
        """What the ledger says of one intent."""
        if order.payment.status in ("none", "pending", "processing", "failed"):
            return Counter()
        entries = self.orders.parts(order.order_id, "MONEY#")
        return ledger.sums(
            entry
            for entry in entries
            if entry.get("intent", entry["object_id"]) == intent and entry["currency"] == order.currency
        )

    def _give_back(
        self, order: Order, fact: IntentFact, came: int, reason: str, event: Event, writes: list[Write], now: datetime
    ) -> Change:
        event = replace(event, data={**event.data, "given_back": reason})
        if not came:
            return Change(order.with_effects(Effect.CANCEL_INTENT), event, writes)
        if not order.payment.authorized:
            order = order.without_effect(Effect.CANCEL_INTENT)
        order, refund = request_refund(self.orders.table, order, came, reason, now, intent=fact.intent)
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
            cause, channel = f"order:{order.order_id}", order.channel
            writes += [self.inventory.take(take, cause, now, channel=channel) for take in takes]
        return writes

    def _canceled(self, order: Order, fact: IntentFact, now: datetime) -> Change | None:
        booked = self._booked(order, fact.intent)
        if fact.intent != order.payment.intent:
            return self._let_go(order, fact, booked, now)
        if booked["released"] or order.payment.status == "cancelled":
            return None
        if not booked["authorized"] and booked["captured"]:
            return None
        writes: list[Write] = []
        # What was captured before it was given up is ours all the same.
        for entry in self._last_words(order, fact, booked):
            order = replace(order, payment=ledger.with_entry(order.payment, entry))
            writes.append(ledger.append(self.orders.table, order.order_id, entry, now))
        if not writes:
            order = replace(order, payment=replace(order.payment, status="cancelled"))
        order = order.without_effect(Effect.CANCEL_INTENT).without_effect(Effect.SECURE_AUTHORIZATION)
        order = order.without_effect(Effect.READ_AUTHORIZATION)
        if order.status in (Status.CONFIRMED, Status.IN_FULFILLMENT) and order.payment.covers < owed(order):
            order = _held(order, "the payment was cancelled", now)
            missing = {"order_id": order.order_id, "intent": fact.intent, "due": owed(order) - order.payment.settled}
            cases = Cases(self.orders.table)
            writes.append(cases.opening(ORDER_WITHOUT_PAYMENT, order.order_id, now, missing))
        return Change(order, Event("PaymentCancelled", PROVIDER, fact.source, {"intent": fact.intent}), writes)

    def _let_go(self, order: Order, fact: IntentFact, booked: Counter[str], now: datetime) -> Change | None:
        """An intent that was renewed has ended, its successor standing in for it."""
        if booked["released"] or not booked["authorized"]:
            return None
        writes = []
        for entry in self._last_words(order, fact, booked):
            order = replace(order, payment=ledger.with_entry(order.payment, entry))
            writes.append(ledger.append(self.orders.table, order.order_id, entry, now))
        if not writes:
            return None
        return Change(order, Event("AuthorizationReleased", PROVIDER, fact.source, {"intent": fact.intent}), writes)

    def _last_words(self, order: Order, fact: IntentFact, booked: Counter[str]) -> Iterator[ledger.Entry]:
        waiting = booked["authorized"] - booked["drawn"]
        more = fact.received - booked["captured"]
        if more > 0:
            drawn = min(waiting, more)
            name = f"{fact.intent}#{fact.received}"
            yield ledger.Entry(
                "captured", PROVIDER, name, more, fact.currency, fact.source, intent=fact.intent, drawn=drawn
            )
            waiting -= drawn
        if waiting > 0:
            yield ledger.Entry("released", PROVIDER, fact.intent, waiting, fact.currency, fact.source)


def _with_intent(order: Order, intent: str) -> Order:
    return replace(order, payment=replace(order.payment, intent=intent))


def _is_closed(order: Order, intent: str) -> bool:
    """Whether we know that the intent was cancelled: an older picture of it counts for nothing then."""
    return order.payment.intent == intent and order.payment.status == "cancelled"


def _processing(order: Order, fact: IntentFact) -> Change | None:
    if order.status is not Status.PLACED or order.payment.status not in ("pending", "failed"):
        return None
    underway = replace(order, payment=replace(order.payment, status="processing"))
    return Change(underway, Event("PaymentProcessing", PROVIDER, fact.source, {"intent": fact.intent}))


def _failed(order: Order, fact: IntentFact) -> Change | None:
    if order.status is not Status.PLACED or order.payment.status not in ("pending", "processing", "failed"):
        return None
    failed = replace(order, payment=replace(order.payment, status="failed"))
    event = Event("PaymentFailed", PROVIDER, fact.source, {"intent": fact.intent, "code": fact.detail})
    return Change(failed, event)


def _held(order: Order, reason: str, now: datetime) -> Order:
    hold = Hold(reason, "finance", to_text(now), to_text(now + timedelta(days=1)))
    return replace(order, holds={**order.holds, "payment": hold})
