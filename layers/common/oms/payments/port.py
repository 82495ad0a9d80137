"""What a payment provider must be able to do, in words that are ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


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


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back. ``status``: pending, requires_action, succeeded, failed, canceled."""

    id: str
    status: str
    amount: int
    currency: str


class PaymentGateway(Protocol):
    """Every call that moves money takes the caller's key and does its work once per key."""

    def open_intent(self, order_id: str, amount: int, currency: str, *, manual_capture: bool = False) -> Intent:
        """The order's intent, made on the first call; the key is the order's id, so repeats meet the same one."""
        ...

    def get_intent(self, intent_id: str) -> Intent:
        """The intent as the provider shows it now."""
        ...

    def cancel_intent(self, intent_id: str) -> Intent:
        """Cancel if that is still possible; the intent that comes back says what it is now (perhaps succeeded)."""
        ...

    def refund(self, intent_id: str, amount: int, *, refund_id: str, reason: str) -> Refund:
        """Give ``amount`` back. ``refund_id`` is ours: it is the idempotency key and stands in the metadata."""
        ...

    def verify_event(self, body: bytes, signature: str, now: float) -> dict[str, Any]:
        """The event as a dict, once its signature on the raw body holds. Raises ``WebhookRejected``."""
        ...


class WebhookRejected(Exception):
    """A webhook whose sender or time cannot be trusted; the message names the failed check."""
