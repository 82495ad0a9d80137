"""Carrying out what orders owe the payment provider: authorisations to mind, intents to cancel, refunds to make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from oms.orders.deadlines import SECURE_BEFORE
from oms.orders.model import ON_SHIPMENT, OPEN, Effect, Event, Hold, Order
from oms.orders.store import AlreadyApplied, Change, DynamoOrders, order_key
from oms.payments import ledger
from oms.payments.apply import PROVIDER, ApplyPayments, fact_of
from oms.payments.capturing import CaptureMoney
from oms.payments.coverage import owed
from oms.payments.port import KEYS_LAST, Intent, PaymentGateway, PaymentRefused, Refund
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import ConditionsFailed, Item

REFUND_FAILED, BY_HAND = "refund failed: ", "give back "
"""How the reasons of holds over refunds begin."""


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
        elif Effect.SECURE_AUTHORIZATION in order.effects:
            self._secure(order)
        elif Effect.READ_AUTHORIZATION in order.effects:
            self._read_authorization(order)
        if Effect.REFUND in order.effects:
            for item in self.orders.parts(order_id, "REFUND#"):
                if item["status"] == "requested":
                    self._refund(order, item)
            self._done(order_id, Effect.REFUND, "RefundsCarriedOut")
        if Effect.SUBMIT_EVIDENCE in order.effects:
            for item in self.orders.parts(order_id, "DISPUTE#"):
                if item.get("evidence_status") == "confirmed":
                    self._submit_evidence(order_id, item)

    # ---- intents -------------------------------------------------------------------------------------------------

    def _cancel_intent(self, order: Order) -> None:
        intent_id = order.payment.intent or self._intent_of(order)
        if not intent_id:
            self._done(order.order_id, Effect.CANCEL_INTENT, "IntentClosed")
            return
        intent = self.gateway.cancel_intent(intent_id)
        if intent.status == "processing":
            raise NotSettledYet(order.order_id)
        self._apply(order, intent)
        for item in self._renewals(order.order_id):
            self._let_go_of_renewed(order, item)
        after = self.orders.change(order.order_id, _no_longer(Effect.CANCEL_INTENT, intent), self.clock())
        if Effect.CANCEL_INTENT in after.effects:
            raise NotSettledYet(order.order_id)  # Another intent took this one's place meanwhile.

    def _intent_of(self, order: Order) -> str:
        # Placement does not write the intent down; its key is the order's id, so asking again meets the same one.
        if self.clock() - from_text(order.placed_at) > KEYS_LAST:
            found = self.gateway.find_intent(order.order_id)
            return found.id if found else ""
        return self.gateway.open_intent(
            order.order_id,
            order.totals.total,
            order.currency,
            manual_capture=order.payment.capture == ON_SHIPMENT,
            keep_card=order.payment.renew,
        ).id

    def _read_authorization(self, order: Order) -> None:
        intent = self.gateway.get_intent(order.payment.intent)
        until = intent.capture_before

        def decide(order: Order) -> Change | None:
            if Effect.READ_AUTHORIZATION not in order.effects or order.payment.intent != intent.id:
                return None
            after = order.without_effect(Effect.READ_AUTHORIZATION)
            if until and order.payment.authorized:
                after = replace(after, payment=replace(after.payment, authorized_until=until))
            return Change(after, Event("AuthorizationRead", PROVIDER, intent.id, {"until": until or None}))

        self.orders.change(order.order_id, decide, self.clock())

    def _secure(self, order: Order) -> None:
        capturing = CaptureMoney(self.orders, lambda: self.gateway, self.payments, self.clock)
        if not order.payment.renew or order.status not in OPEN or not self._renew(order):
            capturing.all_of(order)
        else:
            order = self.orders.require(order.order_id)
            if owed(order) <= order.payment.settled:
                capturing.all_of(order)  # Paid or dead meanwhile: nothing need be set aside any more.
        self._done(order.order_id, Effect.SECURE_AUTHORIZATION, "AuthorizationSecured")

    def _renew(self, order: Order) -> bool:
        """Have what is still owed set aside anew before the old authorisation is let go; False when the bank refuses.

        What is asked for is written down first, so that whoever repeats it asks for the same.
        """
        item = next(iter(self._renewals(order.order_id)), None)
        if item is None:
            if not order.payment.authorized:
                return False
            if from_text(order.payment.authorized_until) - SECURE_BEFORE > self.clock():
                return True  # Another worker has renewed it.
            item = self._renewal(order)
        if item is None or item["status"] != "requested":
            return item is not None and item["status"] == "done"
        try:
            intent = self.gateway.renew_intent(
                item["intent"], item["amount"], order_id=order.order_id, key=f"renew:{order.order_id}:{item['intent']}"
            )
        except PaymentRefused as refused:
            telemetry.count("RenewalsRefused")
            telemetry.logger.warning("renewal_refused", order_id=order.order_id, code=refused.code)
            self._mark_renewal(order.order_id, item, "refused")
            return False
        if intent.status not in ("requires_capture", "succeeded", "canceled"):
            raise NotSettledYet(order.order_id)
        self._apply(order, intent)
        self._let_go_of_renewed(order, item)
        telemetry.count("AuthorizationsRenewed")
        return True

    def _renewal(self, order: Order) -> Item | None:
        """Write down what is to be renewed, or find what was written down before; None when nothing is owed."""
        amount = owed(order) - order.payment.settled
        if amount <= 0:
            return None
        item: Item = {
            "pk": order_key(order.order_id),
            "sk": f"RENEWAL#{order.payment.intent}",
            "entity": "renewal",
            "intent": order.payment.intent,
            "amount": amount,
            "status": "requested",
            "requested_at": to_text(self.clock()),
        }
        try:
            self.orders.table.transact([self.orders.table.put("renewal", item)])
        except ConditionsFailed:
            return self.orders.table.get(item["pk"], item["sk"])
        return item

    def _renewals(self, order_id: str) -> list[Item]:
        """Renewals that are not over."""
        return [item for item in self.orders.parts(order_id, "RENEWAL#") if item["status"] == "requested"]

    def _let_go_of_renewed(self, order: Order, item: Item) -> None:
        self._apply(order, self.gateway.cancel_intent(item["intent"]))
        self._mark_renewal(order.order_id, item, "done")

    def _mark_renewal(self, order_id: str, item: Item, status: str) -> None:
        table = self.orders.table
        mark = table.update(
            "renewal",
            (order_key(order_id), item["sk"]),
            "SET #s = :to",
            "#s = :requested",
            {"#s": "status"},
            {":to": status, ":requested": "requested"},
        )
        try:
            table.transact([mark])
        except ConditionsFailed:
            return  # Another worker came first.

    def _apply(self, order: Order, intent: Intent) -> None:
        fact = fact_of(intent, order.order_id, f"settle:{intent.id}:{intent.status}")
        if fact:
            self.payments.apply(fact)

    def _done(self, order_id: str, effect: Effect, what: str) -> None:
        def decide(order: Order) -> Change | None:
            if effect not in order.effects:
                return None
            if effect is Effect.REFUND and self._requested(order_id):
                return None
            return Change(order.without_effect(effect), Event(what, "system", "done"))

        self.orders.change(order_id, decide, self.clock())

    # ---- refunds -------------------------------------------------------------------------------------------------

    def _refund(self, order: Order, item: Item) -> None:
        telemetry.count("RefundsRequested")
        provider = item.get("provider", PROVIDER)
        if provider != PROVIDER:
            self._leave_to_people(order.order_id, item, provider)
            return
        try:
            refund = self.gateway.refund(
                item["intent"], item["amount"], refund_id=attempt_id(item), reason="requested_by_customer"
            )
        except PaymentRefused as refused:
            self._record_failure(order.order_id, item, refused.code)
            return
        if refund.status in ("failed", "canceled"):
            self._record_failure(order.order_id, item, refund.failure or refund.status)
            return
        self._record(order.order_id, item, refund)

    def _record(self, order_id: str, item: Item, refund: Refund) -> None:
        now = self.clock()
        entry = ledger.Entry(
            "refunded", PROVIDER, refund.id, refund.amount, refund.currency, item["refund_id"], intent=item["intent"]
        )
        status = "succeeded" if refund.status == "succeeded" else "sent"

        def decide(order: Order) -> Change | None:
            order = replace(order, payment=ledger.with_entry(order.payment, entry))
            if not self._requested(order_id, but=item["sk"]):
                order = order.without_effect(Effect.REFUND)
            event = Event("RefundSent", PROVIDER, item["refund_id"], {"refund": refund.id, "amount": refund.amount})
            changes = {"provider_refund": refund.id, "sent_at": to_text(now)}
            return Change(
                order,
                event,
                [
                    ledger.append(self.orders.table, order_id, entry, now),
                    mark_refund(self.orders, order_id, item, status, changes),
                ],
            )

        try:
            self.orders.change(order_id, decide, now)
        except (AlreadyApplied, ConditionsFailed):
            return  # Another worker recorded the same refund first.

    def _record_failure(self, order_id: str, item: Item, code: str) -> None:
        now = self.clock()

        def decide(order: Order) -> Change | None:
            order = held_for_refund(order, f"{REFUND_FAILED}{code}", now)
            if not self._requested(order_id, but=item["sk"]):
                order = order.without_effect(Effect.REFUND)
            event = Event("RefundFailed", PROVIDER, item["refund_id"], {"code": code, "amount": item["amount"]})
            changes = {"failure": code, "failed_at": to_text(now)}
            return Change(order, event, [mark_refund(self.orders, order_id, item, "failed", changes)])

        try:
            self.orders.change(order_id, decide, now)
        except ConditionsFailed:
            return
        telemetry.count("RefundsFailed")
        telemetry.logger.error("refund_failed", order_id=order_id, refund_id=item["refund_id"], code=code)

    def _leave_to_people(self, order_id: str, item: Item, provider: str) -> None:
        """Money that we cannot send ourselves: a till's, a terminal's, a bank's, a marketplace's."""
        now = self.clock()

        def decide(order: Order) -> Change | None:
            order = held_for_refund(order, f"{BY_HAND}{item['amount']} {item['currency']} by {provider}", now)
            if not self._requested(order_id, but=item["sk"]):
                order = order.without_effect(Effect.REFUND)
            event = Event("RefundByHand", "system", item["refund_id"], {"provider": provider, "amount": item["amount"]})
            return Change(order, event, [mark_refund(self.orders, order_id, item, "by_hand", {})])

        try:
            self.orders.change(order_id, decide, now)
        except ConditionsFailed:
            return

    def _requested(self, order_id: str, but: str = "") -> bool:
        parts = self.orders.parts(order_id, "REFUND#")
        return any(item["status"] == "requested" and item["sk"] != but for item in parts)

    # ---- disputes ------------------------------------------------------------------------------------------------

    def _submit_evidence(self, order_id: str, item: Item) -> None:
        dispute_id = item["dispute_id"]
        try:
            dispute = self.gateway.submit_evidence(dispute_id, item["evidence"], key=f"evidence:{dispute_id}")
        except PaymentRefused as refused:
            outcome, status = refused.code, "refused"
            telemetry.count("EvidenceRefused")
        else:
            outcome, status = dispute.status, "submitted"
        now = self.clock()

        def decide(order: Order) -> Change | None:
            if Effect.SUBMIT_EVIDENCE not in order.effects:
                return None
            mark = self.orders.table.update(
                "dispute",
                (order_key(order_id), item["sk"]),
                "SET evidence_status = :done, submitted_at = :now",
                "evidence_status = :confirmed",
                values={":done": status, ":confirmed": "confirmed", ":now": to_text(now)},
            )
            event = Event("EvidenceSubmitted", PROVIDER, dispute_id, {"dispute": dispute_id, "outcome": outcome})
            return Change(order.without_effect(Effect.SUBMIT_EVIDENCE), event, [mark])

        try:
            self.orders.change(order_id, decide, now)
        except ConditionsFailed:
            return


def attempt_id(item: Mapping[str, Any]) -> str:
    """What the provider knows a refund by: each attempt that finance asked for is one of its own."""
    attempt = item.get("attempt", 1)
    return str(item["refund_id"]) if attempt == 1 else f"{item['refund_id']}#{attempt}"


def mark_refund(orders: DynamoOrders, order_id: str, item: Item, status: str, changes: Mapping[str, Any]) -> Any:
    """The action that moves a refund on, or fails with the label ``refund`` when it has moved meanwhile."""
    names = {"#s": "status", **{f"#{name}": name for name in changes}}
    values = {":to": status, ":from": item["status"], **{f":{name}": value for name, value in changes.items()}}
    sets = ", ".join(["#s = :to", *(f"#{name} = :{name}" for name in changes)])
    return orders.table.update("refund", (order_key(order_id), item["sk"]), f"SET {sets}", "#s = :from", names, values)


def held_for_refund(order: Order, reason: str, now: Any) -> Order:
    """The order before finance until the customer has the money."""
    hold = Hold(reason, "finance", to_text(now), to_text(now + timedelta(days=1)))
    return replace(order, holds={**order.holds, "payment": hold})


def without_refund_hold(order: Order, refunds: Iterable[Item], settled: Item) -> Order:
    """The order without the hold that finance has it by over a refund, unless another one still waits for a person."""
    hold = order.holds.get("payment")
    others = any(each["status"] in ("failed", "by_hand") and each["sk"] != settled["sk"] for each in refunds)
    if hold is None or others or not hold.reason.startswith((REFUND_FAILED, BY_HAND)):
        return order
    return replace(order, holds={kind: each for kind, each in order.holds.items() if kind != "payment"})


def _no_longer(effect: Effect, intent: Intent) -> Callable[[Order], Change | None]:
    def decide(order: Order) -> Change | None:
        if effect not in order.effects or order.payment.intent not in ("", intent.id):
            return None
        event = Event("IntentClosed", PROVIDER, f"{intent.id} is {intent.status}")
        return Change(order.without_effect(effect), event)

    return decide
