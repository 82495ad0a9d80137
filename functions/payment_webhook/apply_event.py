"""The payment events queue: events that could not be applied when they came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.orders.finding import CHARGED
from oms.payments.apply import OrderNotYetVisible, read_event
from oms.runtime import telemetry
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Apply one event; a payment whose order stays unknown is a case, and ends in the dead-letter queue."""
    event = json.loads(record["body"])
    if event["type"] == CHARGED:
        app().finding.note_card(event["id"], event["data"]["object"])
        return
    fact = read_event(event)
    if fact is None:
        app().news().take_up(event["type"], event["data"]["object"]["id"])
        return
    try:
        app().payments.apply(fact)
    except OrderNotYetVisible:
        telemetry.count("PaymentsUnmatched")
        app().unmatched(fact.intent, fact.order_id, fact.amount, fact.currency)
        raise


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_queue(event, handle)
