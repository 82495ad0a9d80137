"""The messages queue: events of orders of which their customers, or vendors who send for us, should be told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Tell customer and vendors what this event, and any before it, calls for; neither waits for the other's mail."""
    message = json.loads(record["body"])
    try:
        app().tell_vendors(message["order_id"], message["number"], message["type"])
    finally:
        app().telling.tell(message["order_id"], message["number"])


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_queue(event, handle)
