"""Stripe's side of a webhook endpoint: signing, and the record of every attempt to deliver."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

from local.simulators.core import Clock, Deliver, Delivery

GIVE_UP_AFTER = 15
"""Attempts before an event counts as undeliverable; it can still be listed and sent again by hand."""


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """The ``Stripe-Signature`` header: the whole secret is the key."""
    digest = hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


@dataclass(slots=True)
class Record:
    """One event and one endpoint."""

    event: dict[str, Any]
    url: str
    attempts: list[dict[str, int]] = field(default_factory=list)


class Endpoint:
    """The merchant's webhook endpoint, once it is known."""

    def __init__(self, clock: Clock, deliver: Deliver, url: str, secret: str) -> None:
        self._clock = clock
        self._deliver = deliver
        self.url = url
        self.secret = secret
        self.enabled = {"*"}
        """Event types that the merchant subscribed to."""
        self._records: dict[str, Record] = {}

    def send(self, event: dict[str, Any]) -> None:
        """Hand the event to the host; as from Stripe's dashboard, it may be sent again at any time."""
        if not self.url or not self.enabled & {"*", event["type"]}:
            return
        event["pending_webhooks"] = 1
        record = self._records.setdefault(event["id"], Record(event, self.url))
        record.url = self.url
        self._deliver(self._delivery(record))

    def delivered(self, delivery: Delivery, status: int) -> Delivery | None:
        """Note an attempt (status 0: no answer). What comes back is to be tried next, freshly signed."""
        record = self._records.get(str(json.loads(delivery.body)["id"]))
        if record is None:
            return None
        record.attempts.append({"at": int(self._clock()), "status": status})
        if 200 <= status < 300:
            record.event["pending_webhooks"] = 0
            return None
        return self._delivery(record) if len(record.attempts) < GIVE_UP_AFTER else None

    def report(self) -> list[dict[str, Any]]:
        """Everything sent, oldest first."""
        return [
            {
                "event": record.event["id"],
                "type": record.event["type"],
                "url": record.url,
                "attempts": record.attempts,
                "delivered": record.event["pending_webhooks"] == 0,
            }
            for record in self._records.values()
        ]

    def _delivery(self, record: Record) -> Delivery:
        body = json.dumps(record.event, indent=2).encode()
        headers = {
            "content-type": "application/json; charset=utf-8",
            "stripe-signature": sign(self.secret, int(self._clock()), body),
            "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        return Delivery(record.url, headers, body)
