"""Payments through Stripe's official SDK. The only module that imports ``stripe``, which is slow to load."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import stripe

from oms.payments.port import (
    Dispute,
    DisputeMovement,
    FraudWarning,
    Intent,
    Movement,
    PaymentProviderUnavailable,
    PaymentRefused,
    Refund,
    WebhookRejected,
)
from oms.runtime.clock import from_epoch
from oms.runtime.outbound import HttpRequest, Transport, Unreachable, urllib3_transport

if TYPE_CHECKING:
    from stripe.params import (
        BalanceTransactionListParamsCreated,
        DisputeUpdateParamsEvidence,
        EventListParams,
        PaymentIntentCaptureParams,
        PaymentIntentCreateParams,
        RefundCreateParams,
    )

API_VERSION = "2026-10-28.endive"
"""What stripe 16.1 sends by itself; pinned, so that an upgrade of the SDK cannot change it unnoticed."""

READ_SECONDS = 8.0
"""Longest wait for an answer; connecting has two seconds (see ``urllib3_transport``)."""

TOLERANCE_SECONDS = 300
KEYS = 3
"""Idempotency keys tried for one cause."""

_T = TypeVar("_T")
_REASONS = {"duplicate", "fraudulent", "requested_by_customer"}

# The SDK's telemetry keeps a random id in the home directory; its debug log shows client secrets.
stripe.enable_telemetry = False
logging.getLogger("stripe").setLevel(logging.WARNING)


class TransportClient(stripe.HTTPClient):
    """The SDK's HTTP over our ``Transport``: limited in time and replaceable like all our calls."""

    name = "oms"

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._transport = transport

    def request(  # type: ignore[override]  # the SDK's annotation says str where it also takes bytes
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send once."""
        body = post_data.encode() if isinstance(post_data, str) else post_data or b""
        try:
            answer = self._transport(HttpRequest(method.upper(), url, dict(headers or {}), body), timeout=READ_SECONDS)
        except Unreachable as error:
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call]
                "Stripe did not answer.", should_retry=True
            ) from error
        return answer.body, answer.status, answer.headers


class StripeGateway:
    """``PaymentGateway`` on Stripe PaymentIntents."""

    def __init__(
        self,
        api_key: str,
        webhook_secrets: Sequence[str],
        *,
        api_base: str,
        account: str = "",
        http_client: stripe.HTTPClient | None = None,
        max_network_retries: int = 1,
    ) -> None:
        self._webhook_secrets = tuple(webhook_secrets)
        self._account = account
        self._live = "_live_" in api_key
        self._stripe = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            base_addresses={"api": api_base.rstrip("/")},
            http_client=http_client or TransportClient(urllib3_transport()),
            max_network_retries=max_network_retries,
        )

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
        """The order's intent, or that of a ``part`` of it, made on the first call; repeats meet the same one."""
        params: PaymentIntentCreateParams = {
            "amount": amount,
            "currency": currency.lower(),
            "automatic_payment_methods": {"enabled": True},
            "metadata": {"order_id": order_id},
        }
        if manual_capture:
            params["capture_method"] = "manual"
            # Not every account or card may be captured in parts; the charge says which it is.
            params["payment_method_options"] = {"card": {"request_multicapture": "if_available"}}
        if keep_card:
            params["setup_future_usage"] = "off_session"

        def create(key: str) -> Intent:
            created = self._stripe.v1.payment_intents.create(params, {"idempotency_key": key})
            return _intent(created)

        # An intent made behind a stored failure stays unpaid: nobody was ever given its client secret.
        return _past_stored_failures(create, f"pi:{order_id}:{part}" if part else f"pi:{order_id}")

    def renew_intent(self, intent_id: str, amount: int, *, order_id: str, key: str) -> Intent:
        """Have ``amount`` set aside anew by the card that was kept with an intent."""

        def renew(key: str) -> Intent:
            # Keys are forgotten after a day, and failures stay under them: what is there decides.
            old = self._stripe.v1.payment_intents.retrieve(intent_id, {"expand": ["payment_method"]})
            method = old.payment_method
            if not isinstance(method, stripe.PaymentMethod):
                raise PaymentRefused("No card was kept.", "no_card_kept")
            customer = _id(method.customer)
            if customer:
                found = self._stripe.v1.payment_intents.list(
                    {"customer": customer, "expand": ["data.latest_charge"], "limit": 100}
                )
                for each in found.auto_paging_iter():
                    if _metadata(each).get("renews") == intent_id and each.status != "requires_payment_method":
                        return _intent(each)
            else:
                # Stripe lends a card out again only through a customer; this one has no name, and is the order's own.
                customer = self._stripe.v1.customers.create(
                    {"payment_method": method.id, "metadata": {"order_id": order_id}},
                    {"idempotency_key": f"{key}:customer"},
                ).id
            params: PaymentIntentCreateParams = {
                "amount": amount,
                "currency": old.currency,
                "customer": customer,
                "payment_method": method.id,
                "off_session": True,
                "confirm": True,
                "capture_method": "manual",
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                "payment_method_options": {"card": {"request_multicapture": "if_available"}},
                "metadata": {"order_id": order_id, "renews": intent_id},
                "expand": ["latest_charge"],
            }
            return _intent(self._stripe.v1.payment_intents.create(params, {"idempotency_key": key}))

        return _past_stored_failures(renew, key)

    def get_intent(self, intent_id: str) -> Intent:
        """The intent as Stripe shows it now."""
        with _errors_in_our_words():
            return _intent(self._stripe.v1.payment_intents.retrieve(intent_id, {"expand": ["latest_charge"]}))

    def find_intent(self, order_id: str) -> Intent | None:
        """The newest intent made for an order; Stripe's search is up to a minute behind."""
        with _errors_in_our_words():
            found = self._stripe.v1.payment_intents.search({"query": f"metadata['order_id']:'{order_id}'", "limit": 1})
            return _intent(found.data[0]) if found.data else None

    def capture_intent(self, intent_id: str, amount: int, *, received: int, final: bool, key: str) -> Intent:
        """Take part of what was authorised, or all of it, on top of what was ``received``."""

        params: PaymentIntentCaptureParams = {"amount_to_capture": amount}
        if not final:
            params["final_capture"] = False  # Only accounts that may capture in parts know this parameter.

        first = key

        def capture(key: str) -> Intent:
            if key != first and (now := self.get_intent(intent_id)).amount_received > received:
                return now  # The failure that Stripe stored had its effect.
            return _intent(self._stripe.v1.payment_intents.capture(intent_id, params, {"idempotency_key": key}))

        return _past_stored_failures(capture, key)

    def cancel_intent(self, intent_id: str) -> Intent:
        """Cancel if that is still possible; the intent that comes back says what it is now."""
        # No key of ours: Stripe would keep a refusal for a day, and the payment may fail meanwhile.
        try:
            with _errors_in_our_words():
                return _intent(self._stripe.v1.payment_intents.cancel(intent_id))
        except PaymentRefused as refusal:
            if refusal.code != "payment_intent_unexpected_state":
                raise
        return self.get_intent(intent_id)

    def refund(self, intent_id: str, amount: int, *, refund_id: str, reason: str) -> Refund:
        """Give ``amount`` back, once per ``refund_id`` however late it is repeated."""
        params: RefundCreateParams = {
            "payment_intent": intent_id,
            "amount": amount,
            "metadata": {"refund_id": refund_id, "reason": reason[:500]},
        }
        if reason in _REASONS:
            params["reason"] = reason

        def create(key: str) -> Refund:
            # Stripe forgets keys after a day, and keeps failures under them: the metadata decides.
            found = self._find_refund(intent_id, refund_id)
            return found or _refund(self._stripe.v1.refunds.create(params, {"idempotency_key": key}))

        return _past_stored_failures(create, f"refund:{refund_id}")

    def verify_event(self, body: bytes, signature: str, now: float) -> dict[str, Any]:
        """The event, once any of the webhook secrets fits the raw body and the time is near ``now``."""
        if not any(_signed_with(secret, body, signature) for secret in self._webhook_secrets):
            raise WebhookRejected("signature")
        if abs(now - _timestamp(signature)) > TOLERANCE_SECONDS:
            raise WebhookRejected("timestamp")
        try:
            event = json.loads(body)
        except ValueError:
            event = None
        if not isinstance(event, dict) or event.get("object") != "event":
            raise WebhookRejected("body")
        if bool(event.get("livemode")) is not self._live:
            raise WebhookRejected("livemode")
        if event.get("account") and event["account"] != self._account:
            raise WebhookRejected("account")
        return event

    def refunded(self, intent_id: str) -> int:
        """What has been sent back of a payment, refunds under way included."""
        with _errors_in_our_words():
            refunds = self._stripe.v1.refunds.list({"payment_intent": intent_id, "limit": 100})
            gone = ("failed", "canceled")
            return sum(each.amount for each in refunds.auto_paging_iter() if each.status not in gone)

    def get_refund(self, provider_refund: str) -> Refund:
        """The refund as Stripe shows it now."""
        with _errors_in_our_words():
            return _refund(self._stripe.v1.refunds.retrieve(provider_refund))

    def get_dispute(self, dispute_id: str) -> Dispute:
        """The dispute as Stripe shows it now."""
        with _errors_in_our_words():
            return _dispute(self._stripe.v1.disputes.retrieve(dispute_id))

    def submit_evidence(self, dispute_id: str, evidence: Mapping[str, str], *, key: str) -> Dispute:
        """Hand the evidence in for good."""
        told = cast("DisputeUpdateParamsEvidence", dict(evidence))

        def submit(key: str) -> Dispute:
            return _dispute(
                self._stripe.v1.disputes.update(
                    dispute_id, {"evidence": told, "submit": True}, {"idempotency_key": key}
                )
            )

        return _past_stored_failures(submit, key)

    def get_warning(self, warning_id: str) -> FraudWarning:
        """An early fraud warning (``issfr_…``) or a review (``prv_…``) as Stripe shows it now."""
        with _errors_in_our_words():
            if warning_id.startswith("prv_"):
                review = self._stripe.v1.reviews.retrieve(warning_id)
                return FraudWarning(
                    review.id,
                    _id(review.payment_intent),
                    review.reason,
                    review.open,
                    review.closed_reason == "approved",
                )
            early = self._stripe.v1.radar.early_fraud_warnings.retrieve(warning_id)
            return FraudWarning(early.id, _id(early.payment_intent), early.fraud_type, early.actionable)

    def movements(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Every balance transaction of a window with what it is about."""
        window: BalanceTransactionListParamsCreated = {"gte": int(since.timestamp()), "lt": int(until.timestamp())}
        with _errors_in_our_words():
            found = self._stripe.v1.balance_transactions.list(
                {"created": window, "expand": ["data.source"], "limit": 100}
            )
            for each in found.auto_paging_iter():
                yield _movement(each.to_dict())

    def events(self, since: datetime, types: Sequence[str], *, undelivered: bool) -> Iterator[dict[str, Any]]:
        """Events from ``since`` on, newest first."""
        params: EventListParams = {"created": {"gte": int(since.timestamp())}, "types": list(types), "limit": 100}
        if undelivered:
            params["delivery_success"] = False
        with _errors_in_our_words():
            for event in self._stripe.v1.events.list(params).auto_paging_iter():
                yield event.to_dict()

    def _find_refund(self, intent_id: str, refund_id: str) -> Refund | None:
        refunds = self._stripe.v1.refunds.list({"payment_intent": intent_id, "limit": 100})
        for refund in refunds.auto_paging_iter():
            if _metadata(refund).get("refund_id") == refund_id:
                return _refund(refund)
        return None


def _past_stored_failures(attempt: Callable[[str], _T], key: str) -> _T:
    """Call with ``key``; where Stripe only repeats a failure that it stored under it, with the next key."""
    for number in range(1, KEYS + 1):
        try:
            with _errors_in_our_words():
                return attempt(key if number == 1 else f"{key}:{number}")
        except _StoredFailure:
            continue
    raise PaymentProviderUnavailable("Stripe only repeats stored failures.")


class _StoredFailure(PaymentProviderUnavailable):
    """A failure that Stripe keeps for its idempotency key: asking again with the same key is useless."""


@contextmanager
def _errors_in_our_words() -> Iterator[None]:
    # ``from None``: the SDK's errors carry whole answers, client secrets included, and must end here.
    try:
        yield
    except (stripe.CardError, stripe.InvalidRequestError) as error:
        raise PaymentRefused(str(error), error.code or "invalid_request") from None
    except stripe.IdempotencyError as error:
        raise PaymentRefused(str(error), "idempotency_error") from None
    except stripe.StripeError as error:
        # Also a refused API key: that is for operators to mend, not an answer about this payment.
        replayed = (error.headers or {}).get("idempotent-replayed") == "true"
        unavailable = _StoredFailure if replayed else PaymentProviderUnavailable
        raise unavailable(f"{type(error).__name__} (HTTP {error.http_status}): {error.request_id}") from None


def _signed_with(secret: str, body: bytes, signature: str) -> bool:
    try:
        # No tolerance here: the SDK would measure it against the wall clock, and accept the future.
        return bool(stripe.WebhookSignature.verify_header(body, signature, secret, tolerance=None))
    except (stripe.SignatureVerificationError, ValueError, TypeError):
        return False


def _timestamp(signature: str) -> int:
    """The first ``t=``, which is the one that the SDK has verified."""
    return next(int(item.split("=", 2)[1]) for item in signature.split(",") if item.startswith("t="))


def _intent(found: stripe.PaymentIntent) -> Intent:
    charge = found.latest_charge
    card: Any = None
    if isinstance(charge, stripe.Charge) and charge.payment_method_details:
        card = charge.payment_method_details.to_dict().get("card")
    before = (card or {}).get("capture_before")
    return Intent(
        id=found.id,
        status=found.status,
        amount=found.amount,
        amount_received=found.amount_received,
        amount_capturable=found.amount_capturable,
        currency=found.currency.upper(),
        order_id=_metadata(found).get("order_id", ""),
        client_secret=found.client_secret or "",
        charge_id=charge.id if isinstance(charge, stripe.Charge) else charge,
        capture_before=from_epoch(before) if before else "",
        multicapture=((card or {}).get("multicapture") or {}).get("status") == "available",
        renews=_metadata(found).get("renews", ""),
    )


def _refund(found: stripe.Refund) -> Refund:
    told = found.to_dict()
    return Refund(
        found.id,
        found.status or "pending",
        found.amount,
        found.currency.upper(),
        _id(found.payment_intent),
        _metadata(found).get("refund_id", ""),
        told.get("failure_reason") or "",
    )


def _dispute(found: stripe.Dispute) -> Dispute:
    due = found.evidence_details.due_by
    return Dispute(
        found.id,
        found.status,
        found.reason,
        found.amount,
        found.currency.upper(),
        _id(found.payment_intent),
        from_epoch(due) if due else "",
        tuple(
            DisputeMovement(each.id, -each.amount, each.fee, each.currency.upper())
            for each in found.balance_transactions
        ),
    )


def _movement(told: Mapping[str, Any]) -> Movement:
    source: Mapping[str, Any] = told["source"] if isinstance(told["source"], dict) else {"id": told["source"] or ""}
    metadata = source.get("metadata") or {}
    return Movement(
        told["id"],
        told["type"],
        source["id"],
        told["amount"],
        told["fee"],
        told["currency"].upper(),
        from_epoch(told["created"]),
        metadata.get("order_id") or metadata.get("refund_id", "").partition(":")[0],
        source.get("payment_intent") or "",
    )


def _id(found: Any) -> str:
    """An id, whether or not the object came with it."""
    return str(getattr(found, "id", found) or "")


def _metadata(found: stripe.PaymentIntent | stripe.Refund) -> dict[str, str]:
    return found.metadata.to_dict() if found.metadata else {}
