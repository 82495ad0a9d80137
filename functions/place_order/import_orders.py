"""The channel events queue and Amazon's own: orders to be fetched and taken in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.channels.amazon import parse_notification
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Fetch one order as the channel shows it now, and take it in; Amazon's notifications come as it spells them."""
    message = json.loads(record["body"])
    if "external_id" in message:
        app().importing.take_up(message["channel"], message["external_id"])
        return
    notice = parse_notification(record["body"])
    if notice is not None:
        app().importing.take_up("amazon", notice.external_id)


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_queue(event, handle)
