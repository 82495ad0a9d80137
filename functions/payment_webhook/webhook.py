"""POST /webhooks/stripe: what the payment provider tells us."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.orders.finding import CHARGED
from oms.payments.apply import read_event
from oms.payments.news import NEWS
from oms.payments.port import WebhookRejected
from oms.payments.watching import essence
from oms.runtime import errors, telemetry
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point

ATTEMPTS = 2
"""An answer takes no longer than one transaction's work, done twice at most; the queue has the patience."""
PAID = ("payment_intent.succeeded", "payment_intent.amount_capturable_updated")


def receive(request: ApiRequest) -> ApiResponse:
    """Verify on the raw body and apply at once; what has to be read first or cannot be applied now is queued."""
    signature = request.headers.get("stripe-signature", "")
    try:
        event = app().gateway().verify_event(request.body, signature, app().clock().timestamp())
    except WebhookRejected as rejected:
        telemetry.count("WebhooksRejected")
        raise errors.WebhookRefused(f"The webhook was refused: {rejected}.") from None
    app().webhook_mark.came(app().clock())
    fact = read_event(event)
    try:
        if fact:
            app().payments.apply(fact, attempts=ATTEMPTS)
        elif event["type"] in NEWS or event["type"] == CHARGED:
            app().queue_payment_event(essence(event))
        elif event["type"] in PAID:
            about = event["data"]["object"]
            telemetry.count("PaymentsUnmatched")
            app().unmatched(about["id"], "", int(about["amount"]), about["currency"].upper())
    except Exception:
        telemetry.logger.exception("payment_event_queued", event_id=event["id"])
        app().queue_payment_event(essence(event))
    return ApiResponse(200, {"received": True})


ROUTES = {"POST /webhooks/stripe": receive}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
