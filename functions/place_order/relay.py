"""The orders stream: hands work for the payment provider and the marketplaces to their queues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.fulfillment.voiding import SETTLED_AFTER
from oms.orders.relaying import new_effects, wants_labels_voided, wants_payment_work, wants_shipment_confirmation
from oms.runtime.batch import process_stream
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Pass on what an order newly asks for; a message twice is harmless."""
    effects = new_effects(record)
    order_id = record["dynamodb"]["Keys"]["pk"]["S"].removeprefix("ORDER#")
    settings = app().settings
    if wants_payment_work(effects):
        _send(settings.require("payment_work_queue_url"), order_id)
    if wants_shipment_confirmation(effects):
        _send(settings.require("shipment_confirm_queue_url"), order_id)
    if wants_labels_voided(effects):
        # Not at once: a step that was shipping when the order died may be buying the label just now.
        _send(settings.require("shipment_confirm_queue_url"), order_id, int(SETTLED_AFTER.total_seconds()) + 5)


def _send(queue_url: str, order_id: str, delay: int = 0) -> None:
    message = json.dumps({"order_id": order_id})
    app().sqs.send_message(QueueUrl=queue_url, MessageBody=message, DelaySeconds=delay)


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_stream(event, handle)
