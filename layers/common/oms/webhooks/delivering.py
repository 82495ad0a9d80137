"""Bringing a subscription's log to its subscriber: one at a time, in order, again and again, and at last no more.

The cursor says up to which number the subscriber has everything. One worker at a time moves it, under a lease; an entry
that is not taken holds those after it, so a subscriber sees its numbers in turn. Pauses grow to a day; after five days
of failing, the subscription is disabled, and its log goes on growing for a replay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from oms.channels import standard_webhooks
from oms.orders.store import DynamoOrders, order_key
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import Item
from oms.runtime.outbound import HttpRequest, Transport, Unreachable
from oms.webhooks.events import PUBLIC, payload
from oms.webhooks.subscriptions import ACTIVE, DISABLED, KeepSubscriptions, Subscription

PAUSES = tuple(
    timedelta(seconds=seconds) for seconds in (5, 60, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
GIVE_UP = timedelta(days=5)
LEASE = timedelta(seconds=90)
"""Longer than the function may run."""
LONGEST_DELAY = timedelta(minutes=15)
"""SQS delays no message for longer; the minute's drive wakes what waits longer."""
_SECONDS = 10.0
_RESERVE_MS = 16_000
_WHOSE = "a subscription's"


@dataclass(frozen=True, slots=True)
class PublishEvents:
    """Numbers an order's events for everybody who wants them."""

    orders: DynamoOrders
    subscriptions: KeepSubscriptions
    wake: Callable[[str, int], None]
    """Queue a delivery of a subscription, so many seconds from now."""
    clock: Clock

    def publish(self, order_id: str, number: int) -> None:
        """Every public event of the order up to ``number`` that is not in the logs yet, in turn."""
        subscriptions = self.subscriptions.all()
        if not subscriptions:
            return
        public = [
            event for event in self.orders.parts(order_id, "EVENT#") if event["n"] <= number and event["type"] in PUBLIC
        ]
        for subscription in subscriptions:
            if self.subscriptions.append(subscription, order_id, public, self.clock()):
                self.wake(subscription.id, 0)


@dataclass(frozen=True, slots=True)
class DeliverWebhooks:
    """Sends what a subscription has not got yet."""

    orders: DynamoOrders
    subscriptions: KeepSubscriptions
    transport: Transport
    wake: Callable[[str, int], None]
    clock: Clock

    def deliver(self, id: str, owner: str, remaining_ms: Callable[[], int]) -> None:
        """All that is due, while there is time. Whoever finds another at work leaves it to him: he looks once more
        after he has let go."""
        while self._due(id):
            if not self._take(id, owner):
                return
            pause = self._run(id, owner, remaining_ms)
            self.subscriptions.update_cursor(id, "REMOVE lease, lease_until", "lease = :owner", {":owner": owner})
            if pause is not None:
                if pause <= LONGEST_DELAY:
                    self.wake(id, int(pause.total_seconds()))
                return

    def drive(self) -> int:
        """Wake every subscription that has something due, whatever became of its messages; how many they were."""
        due = [each.id for each in self.subscriptions.all() if self._due(each.id)]
        for id in due:
            self.wake(id, 0)
        return len(due)

    def resume(self, id: str) -> None:
        """Begin anew where it stopped, with a clean slate."""
        self.subscriptions.update_cursor(
            id,
            "SET attempts = :none REMOVE next_attempt_at, failing_since",
            "attribute_exists(pk)",
            {":none": 0},
        )
        self.wake(id, 0)

    def replay(self, id: str, first: int) -> int:
        """Deliver again from a number on (or skip to one); the last number there is.

        Raises ``NotFound``, and ``InvalidRequest`` for a number that is not in the log.
        """
        last, _ = self.subscriptions.state(id)
        if first != last + 1 and self.subscriptions.entry(id, first) is None:
            wrong = f"is not in the log, which ends at {last}"
            raise errors.InvalidRequest("See errors for what to change.", fields=[("sequence", wrong)])
        self.subscriptions.update_cursor(
            id,
            "SET delivered = :before, attempts = :none REMOVE next_attempt_at, failing_since, lease, lease_until",
            "attribute_exists(pk)",
            {":before": first - 1, ":none": 0},
        )
        self.wake(id, 0)
        return last

    # ---- one run ---------------------------------------------------------------------------------------------------

    def _due(self, id: str) -> bool:
        subscription = self.subscriptions.get(id)
        if subscription is None or subscription.status != ACTIVE:
            return False
        try:
            last, cursor = self.subscriptions.state(id)
        except errors.NotFound:
            return False
        return bool(last > cursor["delivered"] and cursor.get("next_attempt_at", "") <= to_text(self.clock()))

    def _take(self, id: str, owner: str) -> bool:
        now = self.clock()
        return self.subscriptions.update_cursor(
            id,
            "SET lease = :owner, lease_until = :until",
            "attribute_exists(pk) AND (attribute_not_exists(lease_until) OR lease_until < :now)",
            {":owner": owner, ":until": to_text(now + LEASE), ":now": to_text(now)},
        )

    def _run(self, id: str, owner: str, remaining_ms: Callable[[], int]) -> timedelta | None:
        """Deliver in turn; how long to wait before going on, or None when nothing is left to do."""
        while True:
            subscription = self.subscriptions.get(id)
            if subscription is None or subscription.status != ACTIVE:
                return None
            last, cursor = self.subscriptions.state(id)
            seq = cursor["delivered"] + 1
            if seq > last:
                return None
            if remaining_ms() < _RESERVE_MS:
                return timedelta()
            entry = self.subscriptions.entry(id, seq)
            if entry is None:
                telemetry.count("WebhooksTooOld")
                telemetry.logger.warning("webhook_too_old", subscription_id=id, sequence=seq)
            else:
                answer = self._send(subscription, entry)
                now = self.clock()
                attempts = cursor.get("attempts", 0) + 1
                facts = {"attempts": attempts, "answer": answer, "tried_at": to_text(now)}
                if not 200 <= answer < 300:
                    self.subscriptions.update_entry(id, seq, status="failing", **facts)
                    return self._failed(subscription, cursor, owner, attempts, answer, now)
                self.subscriptions.update_entry(id, seq, status="delivered", **facts)
            # A replay that was asked for meanwhile has moved the cursor and taken the lease away: it wins.
            moved = self.subscriptions.update_cursor(
                id,
                "SET delivered = :seq, attempts = :none REMOVE next_attempt_at, failing_since",
                "delivered = :before AND lease = :owner",
                {":seq": seq, ":before": seq - 1, ":none": 0, ":owner": owner},
            )
            if not moved:
                return None

    def _failed(
        self, subscription: Subscription, cursor: Item, owner: str, attempts: int, answer: int, now: datetime
    ) -> timedelta | None:
        since = cursor.get("failing_since") or to_text(now)
        if answer == 410 or now - from_text(since) >= GIVE_UP:
            self._disable(subscription, "gone" if answer == 410 else f"failing since {since}")
            return None
        pause = PAUSES[min(attempts, len(PAUSES)) - 1]
        self.subscriptions.update_cursor(
            subscription.id,
            "SET attempts = :attempts, failing_since = :since, next_attempt_at = :next",
            "delivered = :delivered AND lease = :owner",
            {
                ":attempts": attempts,
                ":since": since,
                ":next": to_text(now + pause),
                ":delivered": cursor["delivered"],
                ":owner": owner,
            },
        )
        return pause

    def _disable(self, subscription: Subscription, reason: str) -> None:
        try:
            self.subscriptions.change(subscription, status=DISABLED, reason=reason)
        except errors.Conflict:
            return  # Somebody changed it just now: the next failure decides anew.
        telemetry.count("WebhooksDisabled")
        telemetry.logger.warning("webhook_disabled", subscription_id=subscription.id, reason=reason)

    def _send(self, subscription: Subscription, entry: Item) -> int:
        """The subscriber's status, or 0 when no answer came."""
        order = self.orders.get(entry["order_id"])
        shipment = None
        if entry["type"] == "shipment.shipped":
            sk = f"SHIPMENT#{entry['data']['shipment']:03d}"
            shipment = self.orders.table.get(order_key(entry["order_id"]), sk)
        told = payload(entry, order, shipment, subscription.include)
        body = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
        secrets = self.subscriptions.signing_secrets(subscription, self.clock())
        headers = {"content-type": "application/json", **signed(body, entry, subscription.id, secrets, self.clock())}
        try:
            return self.transport(HttpRequest("POST", subscription.url, headers, body), timeout=_SECONDS).status
        except Unreachable:
            return 0


def signed(body: bytes, entry: Mapping[str, Any], id: str, secrets: Iterable[str], now: datetime) -> dict[str, str]:
    """The headers of a message: its id is the same at every attempt, and every active secret signs it."""
    each = [standard_webhooks.sign(secret, f"msg_{id}_{entry['seq']}", now, body, whose=_WHOSE) for secret in secrets]
    return {**each[0], "webhook-signature": " ".join(headers["webhook-signature"] for headers in each)}
