"""The payment events queue: events that could not be applied when they came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.payments.apply import OrderNotYetVisible, read_event
from oms.runtime import telemetry
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Apply one event; a payment whose order stays unknown ends in the dead-letter queue, with an alarm."""
    fact = read_event(json.loads(record["body"]))
    if fact is None:
        return
    try:
        app().payments.apply(fact)
    except OrderNotYetVisible:
        telemetry.count("PaymentsUnmatched")
        raise


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_queue(event, handle)
