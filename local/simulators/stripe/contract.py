"""What each operation accepts, as published for 2026-10-28.endive."""

from __future__ import annotations

from local.simulators.stripe.forms import (
    Parser,
    choice,
    currency,
    flag,
    integer,
    mapping,
    metadata,
    moment,
    sequence,
    text,
    unmodelled,
)

EXPAND = sequence(text())
RETRIEVE: dict[str, Parser] = {"expand": EXPAND}
_PAGE: dict[str, Parser] = {
    "created": moment,
    "ending_before": text(),
    "expand": EXPAND,
    "limit": integer(1),
    "starting_after": text(),
}
LIST_INTENTS: dict[str, Parser] = {**_PAGE, **unmodelled("customer_account"), "customer": text()}
CREATE_CUSTOMER: dict[str, Parser] = {
    "expand": EXPAND,
    **unmodelled(
        "address balance business_name cash_balance description email individual_name invoice_prefix invoice_settings "
        "name next_invoice_sequence phone preferred_locales shipping source tax tax_exempt tax_id_data test_clock "
        "validate"
    ),
    "metadata": metadata,
    "payment_method": text(),
}
LIST_REFUNDS: dict[str, Parser] = {**_PAGE, "charge": text(), "payment_intent": text()}
SEARCH_INTENTS: dict[str, Parser] = {"expand": EXPAND, "limit": integer(1), "page": text(), "query": text()}
LIST_MOVEMENTS: dict[str, Parser] = {
    **_PAGE,
    **unmodelled("currency payout"),
    "source": text(),
    "type": text(),
}
LIST_EVENTS: dict[str, Parser] = {
    **_PAGE,
    "delivery_success": flag,
    "type": text(),
    "types": sequence(text()),
}
_ADDRESS = {name: text() for name in ("city", "country", "line1", "line2", "postal_code", "state")}
_SHIPPING = mapping(
    {
        "address": mapping(_ADDRESS),
        "carrier": text(),
        "name": text(),
        "phone": text(),
        "tracking_number": text(),
    },
    required=("address", "name"),
)
_METHOD_DATA = mapping(
    {"type": choice("card"), "card": mapping({"token": text()}, required=("token",))},
    required=("type", "card"),
)
_WORDS = {
    "description": text(1000),
    "metadata": metadata,
    "receipt_email": text(),
    "shipping": _SHIPPING,
    "statement_descriptor": text(22),
    "statement_descriptor_suffix": text(22),
}
_PAYING = {
    "error_on_requires_action": flag,
    "off_session": flag,
    "payment_method": text(),
    "payment_method_data": _METHOD_DATA,
    "return_url": text(),
}
_UNMODELLED = unmodelled(
    "allowed_payment_method_types amount_details customer_account excluded_payment_method_types hooks payment_details"
)
_OPTIONS = mapping({"card": mapping({"request_multicapture": choice("if_available", "never")})})
_OTHERS_MONEY = unmodelled("application_fee_amount transfer_data")
CREATE_INTENT: dict[str, Parser] = {
    "expand": EXPAND,
    **_UNMODELLED,
    **_OTHERS_MONEY,
    **unmodelled(
        "confirmation_method confirmation_token mandate mandate_data on_behalf_of "
        "payment_method_configuration radar_options transfer_group use_stripe_sdk"
    ),
    **_WORDS,
    **_PAYING,
    "amount": integer(1),
    "automatic_payment_methods": mapping(
        {"enabled": flag, "allow_redirects": choice("always", "never")}, required=("enabled",)
    ),
    "capture_method": choice("automatic", "automatic_async", "manual"),
    "confirm": flag,
    "currency": currency,
    "customer": text(),
    "payment_method_options": _OPTIONS,
    "setup_future_usage": choice("off_session", "on_session"),
}
UPDATE_INTENT: dict[str, Parser] = {
    "expand": EXPAND,
    **_UNMODELLED,
    **_OTHERS_MONEY,
    **unmodelled("customer payment_method_configuration payment_method_options setup_future_usage transfer_group"),
    **_WORDS,
    "amount": integer(1),
    "capture_method": choice("automatic", "automatic_async", "manual"),
    "currency": currency,
    "payment_method": text(),
    "payment_method_data": _METHOD_DATA,
}
CONFIRM_INTENT: dict[str, Parser] = {
    "expand": EXPAND,
    **{name: parser for name, parser in _UNMODELLED.items() if name != "customer_account"},
    **unmodelled(
        "amount_to_confirm capture_method confirmation_token mandate mandate_data payment_method_options radar_options "
        "receipt_email setup_future_usage shipping use_stripe_sdk"
    ),
    **_PAYING,
}
CAPTURE_INTENT: dict[str, Parser] = {
    "expand": EXPAND,
    **unmodelled("amount_details hooks payment_details statement_descriptor statement_descriptor_suffix"),
    **_OTHERS_MONEY,
    "amount_to_capture": integer(1),
    "final_capture": flag,
    "metadata": metadata,
}
CANCEL_INTENT: dict[str, Parser] = {
    "expand": EXPAND,
    "cancellation_reason": choice("abandoned", "duplicate", "fraudulent", "requested_by_customer"),
}
CREATE_REFUND: dict[str, Parser] = {
    "expand": EXPAND,
    **unmodelled("currency customer instructions_email origin refund_application_fee reverse_transfer"),
    "amount": integer(1),
    "charge": text(),
    "metadata": metadata,
    "payment_intent": text(),
    "reason": choice("duplicate", "fraudulent", "requested_by_customer"),
}
_EVIDENCE = (
    "access_activity_log billing_address cancellation_policy_disclosure cancellation_rebuttal customer_email_address "
    "customer_name customer_purchase_ip duplicate_charge_explanation duplicate_charge_id product_description "
    "refund_policy_disclosure refund_refusal_explanation service_date shipping_address shipping_carrier shipping_date "
    "shipping_tracking_number uncategorized_text"
)
_FILES = (
    "cancellation_policy customer_communication customer_signature duplicate_charge_documentation receipt "
    "refund_policy service_documentation shipping_documentation uncategorized_file enhanced_evidence"
)
UPDATE_DISPUTE: dict[str, Parser] = {
    "expand": EXPAND,
    **unmodelled("appeal intended_submission_method"),
    "evidence": mapping({**{name: text(150_000) for name in _EVIDENCE.split()}, **unmodelled(_FILES)}),
    "metadata": metadata,
    "submit": flag,
}
