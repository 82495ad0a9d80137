"""The shipment confirm queue: tells a marketplace the tracking numbers of an order's parcels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.fulfillment.confirmation import ConfirmShipments
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Confirm what one order has shipped; again is harmless."""
    parts = app()
    ConfirmShipments(parts.orders, parts.clock, parts.channel).confirm(json.loads(record["body"])["order_id"])


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_queue(event, handle)
