"""Stripe's objects on the wire, as API version 2026-10-28.endive shows them to a merchant who takes cards."""

from __future__ import annotations

import hashlib
from typing import Any

from local.simulators.stripe.cards import Card

API_VERSION = "2026-10-28.endive"
Json = dict[str, Any]

_NO_ADDRESS = {
    "city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None,
}  # fmt: skip


def intent(intent_id: str, created: int, params: Json) -> Json:
    """A payment intent that has not met a payment method yet."""
    guard = hashlib.sha256(intent_id.encode()).hexdigest()[:25]
    automatic = params.get("automatic_payment_methods")
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": params["amount"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": (
            {"enabled": True, "allow_redirects": automatic.get("allow_redirects", "always")}
            if automatic and automatic["enabled"]
            else None
        ),
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": params.get("capture_method", "automatic_async"),
        "client_secret": f"{intent_id}_secret_{guard}",
        "confirmation_method": "automatic",
        "created": created,
        "currency": params["currency"],
        "customer": params.get("customer"),
        "customer_account": None,
        "description": params.get("description"),
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": params.get("metadata", {}),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card", "us_bank_account"] if automatic else ["card"],
        "processing": None,
        "receipt_email": params.get("receipt_email"),
        "review": None,
        "setup_future_usage": params.get("setup_future_usage"),
        "shipping": params.get("shipping"),
        "source": None,
        "statement_descriptor": params.get("statement_descriptor"),
        "statement_descriptor_suffix": params.get("statement_descriptor_suffix"),
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }


def customer(customer_id: str, created: int, params: Json) -> Json:
    """Somebody whose payment methods may be used again."""
    return {
        "id": customer_id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": created,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": customer_id[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": params.get("metadata", {}),
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def payment_method(method_id: str, created: int, card: Card | None) -> Json:
    """What the customer pays with: a card, or without one a bank debit."""
    return {
        "id": method_id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {"address": dict(_NO_ADDRESS), "email": None, "name": None, "phone": None},
        "created": created,
        "customer": None,
        "livemode": False,
        "metadata": {},
        **_instrument(card, on_charge=False),
    }


def charge(
    charge_id: str, created: int, of: Json, method: Json, card: Card | None, *, before: int, multicapture: bool
) -> Json:
    """One attempt to take the intent's money; one that is only authorised has to be captured ``before`` it lapses."""
    details = _instrument(card, on_charge=True)
    if card and of["capture_method"] == "manual":
        details["card"] |= {
            "capture_before": before,
            "multicapture": {"status": "available" if multicapture else "unavailable"},
        }
    return {
        "id": charge_id,
        "object": "charge",
        "amount": of["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": of["statement_descriptor"],
        "captured": False,
        "created": created,
        "currency": of["currency"],
        "customer": of["customer"],
        "description": of["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(of["metadata"]),
        "on_behalf_of": None,
        "outcome": {
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 12,
            "seller_message": "Payment complete.",
            "type": "authorized",
        },
        "paid": False,
        "payment_intent": of["id"],
        "payment_method": method["id"],
        "payment_method_details": details,
        "receipt_email": of["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": of["shipping"],
        "source_transfer": None,
        "statement_descriptor": of["statement_descriptor"],
        "statement_descriptor_suffix": of["statement_descriptor_suffix"],
        "status": "pending",
        "transfer_data": None,
        "transfer_group": None,
    }


def refund(refund_id: str, created: int, of: Json, amount: int, params: Json, status: str) -> Json:
    """Money going back to where the charge took it from."""
    return {
        "id": refund_id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": of["id"],
        "created": created,
        "currency": of["currency"],
        "customer": of["customer"],
        "customer_account": None,
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "metadata": params.get("metadata", {}),
        "payment_intent": of["payment_intent"],
        "payment_method": of["payment_method"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }


def dispute(dispute_id: str, created: int, of: Json, reason: str) -> Json:
    """The card holder's bank takes a charge back."""
    return {
        "id": dispute_id,
        "object": "dispute",
        "amount": of["amount_captured"],
        "balance_transactions": [],
        "charge": of["id"],
        "created": created,
        "currency": of["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": created + 7 * 86_400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": of["payment_intent"],
        "payment_method_details": {
            "card": {"brand": "visa", "case_type": "chargeback", "network_reason_code": "10.4"},
            "type": "card",
        },
        "reason": reason,
        "status": "needs_response",
    }


def review(review_id: str, created: int, of: Json, reason: str) -> Json:
    """A payment that somebody at the merchant's has to look at."""
    return {
        "id": review_id,
        "object": "review",
        "billing_zip": None,
        "charge": of["id"],
        "closed_reason": None,
        "created": created,
        "ip_address": None,
        "ip_address_location": None,
        "livemode": False,
        "open": True,
        "opened_reason": reason,
        "payment_intent": of["payment_intent"],
        "reason": reason,
        "session": None,
    }


def fraud_warning(warning_id: str, created: int, of: Json, kind: str) -> Json:
    """The card holder's bank believes that a payment is fraud, before any dispute."""
    return {
        "id": warning_id,
        "object": "radar.early_fraud_warning",
        "actionable": True,
        "charge": of["id"],
        "created": created,
        "fraud_type": kind,
        "livemode": False,
        "payment_intent": of["payment_intent"],
    }


def balance_transaction(
    txn_id: str, created: int, currency: str, amount: int, kind: str, source: str, fee: int = 0
) -> Json:
    """A movement of the merchant's Stripe balance; ``amount`` is negative when money leaves it."""
    charged = {
        "amount": fee,
        "application": None,
        "currency": currency,
        "description": None,
        "type": "stripe_fee",
    }
    return {
        "id": txn_id,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": created + 2 * 86_400,
        "balance_type": "payments",
        "created": created,
        "currency": currency,
        "description": None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [charged] if fee else [],
        "net": amount - fee,
        "reporting_category": {"adjustment": "dispute", "refund_failure": "refund_failure"}.get(kind, kind),
        "source": source,
        "status": "pending",
        "type": kind,
    }


def event(event_id: str, created: int, kind: str, about: Json, before: Json | None, cause: Json) -> Json:
    """Something happened to ``about``; ``before`` holds what its changed fields were."""
    return {
        "id": event_id,
        "object": "event",
        "api_version": API_VERSION,
        "created": created,
        "data": {"object": about, **({"previous_attributes": before} if before else {})},
        "livemode": False,
        "pending_webhooks": 0,
        "request": cause,
        "type": kind,
    }


def _instrument(card: Card | None, *, on_charge: bool) -> Json:
    if card is None:
        bank = {
            "account_holder_type": "individual",
            "account_type": "checking",
            "bank_name": "STRIPE TEST BANK",
            "fingerprint": None,
            "last4": "6789",
            "routing_number": "110000000",
        }
        return {"type": "us_bank_account", "us_bank_account": bank}
    details: Json = {
        "brand": card.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": hashlib.sha256(card.number.encode()).hexdigest()[:16],
        "funding": card.funding,
        "last4": card.number[-4:],
        "wallet": None,
    }
    if on_charge:
        details |= {"installments": None, "mandate": None, "network": card.brand, "three_d_secure": None}
    else:
        details |= {
            "display_brand": card.brand,
            "generated_from": None,
            "networks": {"available": [card.brand], "preferred": None},
            "three_d_secure_usage": {"supported": True},
        }
    return {"card": details, "type": "card"}
