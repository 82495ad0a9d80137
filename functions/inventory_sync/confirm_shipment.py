"""The shipment confirm queue: marketplaces hear of parcels that left, and spare labels go back to the carrier."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.fulfillment.confirmation import ConfirmShipments
from oms.fulfillment.voiding import VoidLabels
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Settle what one order's parcels call for; again is harmless."""
    parts = app()
    order_id = json.loads(record["body"])["order_id"]
    ConfirmShipments(parts.orders, parts.clock, parts.channel).confirm(order_id)
    VoidLabels(parts.orders, parts.clock, lambda: parts.carrier).void(order_id)


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_queue(event, handle)
