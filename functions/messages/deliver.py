"""The deliveries queue, and every minute: what subscribers have not got yet is sent to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry: messages name subscriptions; the clock's call names none and wakes all that have something due."""
    if "Records" not in event:
        return {"woken": app().delivering.drive()}

    def handle(record: Mapping[str, Any]) -> None:
        subscription = json.loads(record["body"])["subscription_id"]
        app().delivering.deliver(subscription, context.aws_request_id, context.get_remaining_time_in_millis)

    return process_queue(event, handle)
