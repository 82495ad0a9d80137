"""What nobody told us: events that never reached us, money that disagrees with our books, cases that wait too long.

Nothing here mends money, with one exception that is announced in its case: a payment for an order that does not exist
goes back when its deadline passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from oms.orders.finding import CHARGED
from oms.orders.store import DynamoOrders
from oms.payments import ledger
from oms.payments.apply import PROVIDER, ApplyPayments, OrderNotYetVisible, fact_of
from oms.payments.auditing import SETTLES_WITHIN, AuditLedger, intent_of
from oms.payments.cases import BREAK, PAYMENT_WITHOUT_ORDER, Cases
from oms.payments.news import NEWS
from oms.payments.port import Movement, PaymentGateway, PaymentRefused
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import ConditionsFailed, Item, Table

INTENTS = (
    "payment_intent.succeeded",
    "payment_intent.amount_capturable_updated",
    "payment_intent.processing",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
)
TYPES = (*INTENTS, *NEWS, CHARGED)
"""Every event type that concerns us: what the webhook endpoint has to be subscribed to."""

_OURS = ("order_id", "renews")
"""What of an intent's metadata is ours."""
_MARK = ("PROVIDER#stripe", "WEBHOOKS")
_MARK_EVERY = timedelta(minutes=1)


class WebhookMark:
    """When the last webhook came, to the minute: most webhooks write nothing for it."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._written: datetime | None = None

    def came(self, now: datetime) -> None:
        """Remember that one came."""
        if self._written and now - self._written < _MARK_EVERY:
            return
        self._written = now
        values = {":now": to_text(now), ":mark": "mark"}
        self.table.write_one(self.table.update("mark", _MARK, "SET last_at = :now, entity = :mark", None, None, values))

    def last(self) -> datetime | None:
        """The last one, if any ever came."""
        item = self.table.get(*_MARK)
        return from_text(item["last_at"]) if item and "last_at" in item else None


def essence(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event without the client secret, which has no business in a queue, and without what will be read anyway."""
    about = event["data"]["object"]
    kept = {"id": about["id"]}
    if event["type"] in INTENTS:
        names = ("id", "amount", "amount_received", "amount_capturable", "currency", "status")
        failure = (about.get("last_payment_error") or {}).get("code")
        kept = {name: about[name] for name in names if name in about}
        kept |= {
            "metadata": {name: told for name, told in (about.get("metadata") or {}).items() if name in _OURS},
            "last_payment_error": {"code": failure} if failure else None,
        }
    if event["type"] == CHARGED:
        card = (about.get("payment_method_details") or {}).get("card") or {}
        kept |= {
            "order_id": (about.get("metadata") or {}).get("order_id", ""),
            "last4": card.get("last4") or "",
            "created": about["created"],
        }
    return {"id": event["id"], "type": event["type"], "data": {"object": kept}}


@dataclass(frozen=True, slots=True)
class WatchPayments:
    """The scheduled looks at the provider."""

    orders: DynamoOrders
    gateway: PaymentGateway
    payments: ApplyPayments
    clock: Clock
    queue: Callable[[Mapping[str, Any]], None]
    """Hands an event to whoever applies events."""
    refund_after: timedelta
    time_left: Callable[[], float]
    """Seconds this run may still take."""

    @property
    def cases(self) -> Cases:
        return Cases(self.orders.table)

    # ---- events that did not come --------------------------------------------------------------------------------

    def poll(self, window: timedelta = timedelta(hours=2)) -> dict[str, int]:
        """Take up events of ``window`` that the provider could not deliver, and all of them when no webhook has come
        for a quarter of an hour although there were some."""
        now = self.clock()
        late = [
            event
            for event in self.gateway.events(now - window, TYPES, undelivered=True)
            if event["created"] <= (now - SETTLES_WITHIN).timestamp()
        ]
        last = WebhookMark(self.orders.table).last()
        silent: list[dict[str, Any]] = []
        if last is None or now - last > SETTLES_WITHIN:
            since = max(last or now - window, now - window)
            silent = [
                event
                for event in self.gateway.events(since + timedelta(minutes=1), TYPES, undelivered=False)
                if event["created"] <= (now - SETTLES_WITHIN).timestamp()
            ]
        missed = {event["id"]: event for event in (*late, *silent)}
        found = [event for event in missed.values() if not self.orders.has_seen(PROVIDER, event["id"])]
        for event in reversed(found):
            self.queue(essence(event))
        if found:
            telemetry.count("WebhooksMissed", len(found))
            telemetry.logger.warning("webhooks_missed", events=len(found), silent=bool(silent))
        return {"missed": len(found)}

    # ---- books against the provider --------------------------------------------------------------------------------

    def reconcile(self, window: timedelta) -> dict[str, int]:
        """Hold every movement of our balance at the provider in ``window`` against the ledger, payment by payment, then
        the ledger's entries of the window against the provider, and go on with the daily walk over all open payments;
        each break is a case and counts for the alarm. Fees, of which only the balance tells, are entered."""
        now = self.clock()
        by_intent: dict[tuple[str, str], list[Movement]] = {}
        for movement in self.gateway.movements(now - window, now - SETTLES_WITHIN):
            if not movement.intent:
                continue  # Payouts and the provider's own charges.
            order_id = movement.order_id or self.gateway.get_intent(movement.intent).order_id
            by_intent.setdefault((order_id, movement.intent), []).append(movement)
        breaks = 0
        for (order_id, intent), movements in by_intent.items():
            breaks += self._compare(order_id, intent, movements, now)
        audit = AuditLedger(self.orders, self.clock, self._has_moved, self.time_left)
        breaks += audit.window(now - window, {intent for _, intent in by_intent})
        walk = audit.walk()
        breaks += walk.pop("walk_breaks")
        if breaks:
            telemetry.count("ReconciliationBreaks", breaks)
        return {"payments": len(by_intent), "breaks": breaks, **walk}

    def _has_moved(self, order_id: str, intent: str, entries: list[Item]) -> int:
        """Hold what we wrote down of a payment against what the provider has of it, which may be nothing."""
        booked = ledger.sums(entries)
        ours = {
            "captured": booked["captured"],
            "authorized": booked["authorized"] - booked["drawn"] - booked["released"],
            "refunded": booked["refunded"] - booked["refund_failed"],
        }
        theirs = dict.fromkeys(ours, 0)
        try:
            shown = self.gateway.get_intent(intent)
            theirs |= {"captured": shown.amount_received, "authorized": shown.amount_capturable}
            if ours["refunded"] or theirs["captured"]:
                theirs["refunded"] = self.gateway.refunded(intent)
        except PaymentRefused as refused:
            if refused.code != "resource_missing":
                raise
        return self._breaks(order_id, intent, {what: (ours[what], theirs[what]) for what in ours}, self.clock())

    def _compare(self, order_id: str, intent: str, movements: Iterable[Movement], now: datetime) -> int:
        if not order_id or self.orders.get(order_id) is None:
            return self._unmatched(order_id, intent, now)
        entries = [
            entry
            for entry in self.orders.parts(order_id, "MONEY#")
            if entry["provider"] == PROVIDER and intent_of(entry) == intent
        ]
        booked = ledger.sums(entries)
        shown = self.gateway.get_intent(intent)
        pairs = {"captured": (booked["captured"], shown.amount_received)}
        if booked["refunded"] or any(each.kind.startswith("refund") for each in movements):
            ours = booked["refunded"] - booked["refund_failed"]
            pairs["refunded"] = (ours, self.gateway.refunded(intent))
        disputed = {each.id: -each.amount for each in movements if each.kind == "adjustment" and each.amount}
        for movement_id, amount in disputed.items():
            known = sum(
                entry["amount"] * (1 if entry["kind"] == "disputed" else -1)
                for entry in entries
                if entry["object_id"] == movement_id and entry["kind"] in ("disputed", "dispute_won")
            )
            pairs[f"dispute {movement_id}"] = (known, amount)
        self._enter_fees(order_id, intent, entries, movements, now)
        return self._breaks(order_id, intent, pairs, now)

    def _breaks(self, order_id: str, intent: str, pairs: Mapping[str, tuple[int, int]], now: datetime) -> int:
        """A case for each figure that is not the same here (first) and there; how many are new."""
        found = 0
        for what, (ours, theirs) in pairs.items():
            if ours != theirs:
                data = {"order_id": order_id, "intent": intent, "what": what, "ledger": ours, "provider": theirs}
                found += self.cases.open(BREAK, f"{intent}:{what}", now, data)
        return found

    def _unmatched(self, order_id: str, intent: str, now: datetime) -> int:
        shown = self.gateway.get_intent(intent)
        if shown.amount_received == 0 or self.gateway.refunded(intent) >= shown.amount_received:
            return 0
        received, currency = shown.amount_received, shown.currency
        return open_unmatched(self.cases, intent, order_id, received, currency, now, self.refund_after)

    def _enter_fees(
        self, order_id: str, intent: str, entries: Iterable[Item], movements: Iterable[Movement], now: datetime
    ) -> None:
        known = {entry["object_id"] for entry in entries if entry["kind"] == "fee"}
        for each in movements:
            if each.fee <= 0 or each.id in known:
                continue
            entry = ledger.Entry("fee", PROVIDER, each.id, each.fee, each.currency, each.source, intent=intent)
            try:
                self.orders.table.transact([ledger.append(self.orders.table, order_id, entry, now)])
            except ConditionsFailed:
                continue

    # ---- payments without an order ---------------------------------------------------------------------------------

    def give_back_unmatched(self) -> dict[str, int]:
        """Apply payments whose order has turned up; send back those whose deadline has passed."""
        now = self.clock()
        returned = matched = 0
        for case in self.cases.overdue(PAYMENT_WITHOUT_ORDER, now):
            order_id, intent = case["data"]["order_id"], case["case_id"]
            shown = self.gateway.get_intent(intent)
            fact = fact_of(shown, order_id, f"case:{intent}:{shown.status}")
            try:
                if fact:
                    self.payments.apply(fact)
                outcome, matched = "matched", matched + 1
            except OrderNotYetVisible:
                left = shown.amount_received - self.gateway.refunded(intent)
                if left > 0:
                    self.gateway.refund(intent, left, refund_id=f"unmatched:{intent}", reason="requested_by_customer")
                outcome, returned = "refunded", returned + 1
            self.cases.close(PAYMENT_WITHOUT_ORDER, intent, outcome=outcome, actor="system", now=now)
        if returned:
            telemetry.count("UnmatchedRefunded", returned)
        return {"returned": returned, "matched": matched}


def open_unmatched(
    cases: Cases, intent: str, order_id: str, amount: int, currency: str, now: datetime, refund_after: timedelta
) -> bool:
    """Write down money that belongs to no order of ours.

    It goes back by itself after a while only where it names an order: other payments of the same account may be
    somebody else's business.
    """
    deadline = to_text(now + refund_after) if order_id else ""
    data = {"order_id": order_id, "intent": intent, "amount": amount, "currency": currency}
    return cases.open(PAYMENT_WITHOUT_ORDER, intent, now, data, deadline)
