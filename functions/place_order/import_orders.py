"""The channel events queue: marketplace orders that could not be taken in when they were announced."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Fetch one order as the channel shows it now, and take it in."""
    message = json.loads(record["body"])
    app().importing.take_up(message["channel"], message["external_id"])


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_queue(event, handle)
