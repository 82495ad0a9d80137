"""The public events queue: events of orders that get their numbers in the logs of the merchant's own systems."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Append this event, and any before it that is missing, to every subscription that wants it."""
    message = json.loads(record["body"])
    app().publishing.publish(message["order_id"], message["number"])


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_queue(event, handle)
