"""Errors that a caller can act on. The one table from error to HTTP answer is in ``oms.runtime.http``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class DomainError(Exception):
    """Something the caller asked for that the rules do not allow.

    ``detail`` is one sentence for a person; ``fields`` says what is wrong where; ``extra`` joins the answer as it is.
    """

    def __init__(
        self,
        detail: str,
        *,
        fields: Sequence[tuple[str, str]] = (),
        extra: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = tuple(fields)
        self.extra = dict(extra or {})
        self.retry_after = retry_after


class InvalidRequest(DomainError):
    """The form has errors, named field by field."""


class CardDataRefused(DomainError):
    """The body holds what reads like a card number; ``fields`` say where and never what."""


class MalformedRequest(DomainError):
    """Not the JSON we were promised."""


class RequestTooLarge(DomainError):
    """More than we read."""


class UnsupportedMedia(DomainError):
    """Not JSON."""


class Unauthenticated(DomainError):
    """Nobody we know, or a signature that does not hold."""


class SignatureRejected(DomainError):
    """A marketplace callback that cannot be proven; answered 412, which eBay asks for."""


class WebhookRefused(DomainError):
    """A payment provider's or a carrier's webhook that cannot be proven."""


class Forbidden(DomainError):
    """Somebody we know, who may not do this."""


class NotFound(DomainError):
    """There is no such thing, or it is not yours: both read the same."""


class Conflict(DomainError):
    """It cannot be done in the present state."""


class PreconditionFailed(DomainError):
    """It has changed since the caller read it (``If-Match``)."""


class IdempotencyKeyReused(DomainError):
    """The same key came with another body."""


class OutOfStock(DomainError):
    """Fewer units than asked; ``extra["items"]`` says what is left."""


class Unavailable(DomainError):
    """Something behind us does not answer. What was written stands; the same request completes it later."""
