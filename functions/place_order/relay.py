"""The orders stream: hands work for others to their queues, and events of orders to whoever listens for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.fulfillment.voiding import SETTLED_AFTER
from oms.orders.listening import listeners_of, order_event
from oms.orders.relaying import new_effects, wants_labels_voided, wants_payment_work, wants_shipment_confirmation
from oms.runtime.batch import process_stream
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Pass on what an order newly asks for, or what happened to it; a message twice is harmless."""
    event = order_event(record)
    if event is None:
        _pass_on_effects(record)
        return
    for queue, delay in listeners_of(event):
        _send(app().settings.require(queue), event, delay)


def _pass_on_effects(record: Mapping[str, Any]) -> None:
    effects = new_effects(record)
    work = {"order_id": record["dynamodb"]["Keys"]["pk"]["S"].removeprefix("ORDER#")}
    settings = app().settings
    if wants_payment_work(effects):
        _send(settings.require("payment_work_queue_url"), work)
    if wants_shipment_confirmation(effects):
        _send(settings.require("shipment_confirm_queue_url"), work)
    if wants_labels_voided(effects):
        # Not at once: a step that was shipping when the order died may be buying the label just now.
        _send(settings.require("shipment_confirm_queue_url"), work, int(SETTLED_AFTER.total_seconds()) + 5)


def _send(queue_url: str, message: Mapping[str, Any], delay: int = 0) -> None:
    app().sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(message), DelaySeconds=delay)


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_stream(event, handle)
