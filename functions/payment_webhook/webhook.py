"""POST /webhooks/stripe: what the payment provider tells us."""

from __future__ import annotations

import json
from typing import Any

from oms.bootstrap import app
from oms.payments.apply import read_event
from oms.payments.port import WebhookRejected
from oms.runtime import errors, telemetry
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point


def receive(request: ApiRequest) -> ApiResponse:
    """Verify on the raw body and apply at once; what cannot be applied now is queued, never lost."""
    signature = request.headers.get("stripe-signature", "")
    try:
        event = app().gateway().verify_event(request.body, signature, app().clock().timestamp())
    except WebhookRejected as rejected:
        telemetry.count("WebhooksRejected")
        raise errors.WebhookRefused(f"The webhook was refused: {rejected}.") from None
    fact = read_event(event)
    if fact is None:
        return ApiResponse(200, {"received": True})
    try:
        app().payments.apply(fact)
    except Exception:
        telemetry.logger.exception("payment_event_queued", event_id=event["id"], order_id=fact.order_id)
        app().sqs.send_message(
            QueueUrl=app().settings.require("payment_events_queue_url"), MessageBody=json.dumps(_essence(event))
        )
    return ApiResponse(200, {"received": True})


def _essence(event: dict[str, Any]) -> dict[str, Any]:
    """The event without the client secret, which has no business in a queue."""
    intent = {key: value for key, value in event["data"]["object"].items() if key != "client_secret"}
    return {"id": event["id"], "type": event["type"], "data": {"object": intent}}


ROUTES = {"POST /webhooks/stripe": receive}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
