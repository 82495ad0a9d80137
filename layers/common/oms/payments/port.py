"""What a payment provider must be able to do, in words that are ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

KEYS_LAST = timedelta(hours=20)
"""The provider forgets idempotency keys after a day: from then on an intent is found by its metadata."""


class PaymentProviderUnavailable(Exception):
    """No usable answer: unreachable, 5xx, 409 or 429. Safe to repeat with the same key."""


class PaymentRefused(Exception):
    """The provider understood and said no. ``code`` is the provider's own."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Intent:
    """A payment being collected. Amounts are minor units of ``currency`` (upper case)."""

    id: str
    status: str
    """Stripe's words: requires_payment_method, requires_action, processing, requires_capture, canceled, succeeded."""
    amount: int
    amount_received: int
    amount_capturable: int
    currency: str
    order_id: str
    client_secret: str
    """For the customer's browser only: never stored, never logged."""
    charge_id: str | None = None
    capture_before: str = ""
    """Until when an authorisation can be captured, RFC 3339; empty when the provider does not say."""
    multicapture: bool = False
    """Whether it may be captured in several parts."""
    renews: str = ""
    """The intent whose place it takes."""


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back. ``status``: pending, requires_action, succeeded, failed, canceled."""

    id: str
    status: str
    amount: int
    currency: str
    intent: str = ""
    refund_id: str = ""
    """Ours, when we made it."""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class DisputeMovement:
    """Money that a bank took (positive) or gave back (negative) over a dispute; ``fee`` is the provider's own."""

    id: str
    amount: int
    fee: int
    currency: str


@dataclass(frozen=True, slots=True)
class Dispute:
    """A customer's bank questions a payment. ``status`` is the provider's word, and more of them may come."""

    id: str
    status: str
    reason: str
    amount: int
    currency: str
    intent: str
    due_by: str
    """By when evidence has to be there, RFC 3339; empty when none is wanted."""
    movements: tuple[DisputeMovement, ...]


@dataclass(frozen=True, slots=True)
class FraudWarning:
    """A fraud warning or a review: something about a payment that a person has to look at."""

    id: str
    intent: str
    reason: str
    open: bool
    approved: bool = False
    """A closed review that found nothing wrong."""


@dataclass(frozen=True, slots=True)
class Movement:
    """A movement of our balance at the provider: what every reconciliation starts from."""

    id: str
    kind: str
    """charge, refund, refund_failure, adjustment …"""
    source: str
    amount: int
    """Negative when money leaves."""
    fee: int
    currency: str
    at: str
    order_id: str
    """From the metadata of what it is about; empty when it is not of ours."""
    intent: str


class PaymentGateway(Protocol):
    """Every call that moves money takes the caller's key and does its work once per key."""

    def open_intent(
        self,
        order_id: str,
        amount: int,
        currency: str,
        *,
        manual_capture: bool = False,
        keep_card: bool = False,
        part: str = "",
    ) -> Intent:
        """The order's intent, made on the first call; the key is the order's id, so repeats meet the same one.
        ``keep_card``: the card may be asked again without its holder, by ``renew_intent``. ``part`` names a further
        payment of the order, for what it came to cost more."""
        ...

    def renew_intent(self, intent_id: str, amount: int, *, order_id: str, key: str) -> Intent:
        """Have ``amount`` set aside anew by the card that was kept with an intent, its holder being away: one intent
        for the one that it renews, however late it is asked for again. The old one stays as it is. Raises
        ``PaymentRefused``."""
        ...

    def get_intent(self, intent_id: str) -> Intent:
        """The intent as the provider shows it now."""
        ...

    def cancel_intent(self, intent_id: str) -> Intent:
        """Cancel if that is still possible; the intent that comes back says what it is now (perhaps succeeded)."""
        ...

    def capture_intent(self, intent_id: str, amount: int, *, received: int, final: bool, key: str) -> Intent:
        """Take ``amount`` of what was authorised, ``received`` having been taken before; ``final`` lets the rest go.
        Raises ``PaymentRefused``."""
        ...

    def find_intent(self, order_id: str) -> Intent | None:
        """The newest intent made for an order, by its metadata: after a day its key is forgotten."""
        ...

    def refunded(self, intent_id: str) -> int:
        """What has been sent back of a payment, refunds under way included."""
        ...

    def get_refund(self, provider_refund: str) -> Refund:
        """The refund as the provider shows it now."""
        ...

    def get_dispute(self, dispute_id: str) -> Dispute:
        """The dispute as the provider shows it now."""
        ...

    def submit_evidence(self, dispute_id: str, evidence: Mapping[str, str], *, key: str) -> Dispute:
        """Hand in what speaks for us; it cannot be taken back."""
        ...

    def get_warning(self, warning_id: str) -> FraudWarning:
        """A fraud warning or review as the provider shows it now."""
        ...

    def movements(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Every movement of our balance in a window, page after page."""
        ...

    def events(self, since: datetime, types: Sequence[str], *, undelivered: bool) -> Iterator[dict[str, Any]]:
        """Events from ``since`` on, newest first; ``undelivered`` asks only for those that never reached us."""
        ...

    def refund(self, intent_id: str, amount: int, *, refund_id: str, reason: str) -> Refund:
        """Give ``amount`` back. ``refund_id`` is ours: it is the idempotency key and stands in the metadata."""
        ...

    def verify_event(self, body: bytes, signature: str, now: float) -> dict[str, Any]:
        """The event as a dict, once its signature on the raw body holds. Raises ``WebhookRejected``."""
        ...


class WebhookRejected(Exception):
    """A webhook whose sender or time cannot be trusted; the message names the failed check."""
