"""POST /webhooks/carriers/{carrier}: where a parcel was seen."""

from __future__ import annotations

import json
from typing import Any

from oms.bootstrap import app
from oms.fulfillment.easypost import SignatureInvalid, read_tracker, verify
from oms.fulfillment.tracking import TrackParcels
from oms.runtime import errors, telemetry
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point


def receive(request: ApiRequest) -> ApiResponse:
    """Verify on the raw body and take it in at once. What cannot be taken in is refused, so that the carrier tells it
    again, and asked for by the poll in the end: nothing needs to be queued."""
    carrier = request.path["carrier"]
    if carrier != "easypost":
        raise errors.NotFound(f"There is no carrier {carrier}.")
    parts = app()
    secrets = parts.secrets.get(parts.settings.require("carrier_secret_id"))["webhook_secrets"]
    try:
        verify(request.body, request.headers.get("x-hmac-signature", ""), secrets)
    except SignatureInvalid as invalid:
        telemetry.count("WebhooksRejected")
        raise errors.WebhookRefused(f"The webhook was refused: {invalid}.") from None
    try:
        event = json.loads(request.body)
        told = event["result"]
        sighting = read_tracker(told) if told["object"] == "Tracker" else None
    except (ValueError, KeyError, TypeError):
        raise errors.MalformedRequest("This is no event about a tracker.") from None
    if sighting:
        TrackParcels(parts.orders, parts.clock, parts.returns).take_in(sighting, request.body.decode())
    return ApiResponse(200, {"received": True})


ROUTES = {"POST /webhooks/carriers/{carrier}": receive}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
