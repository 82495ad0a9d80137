"""The queue of exports of people: each message is an order to go on with one."""

from __future__ import annotations

import json
from typing import Any

from oms.bootstrap import app
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point

SPARE_MS = 60_000
"""Time enough for the chunk that is being read, and for queueing the rest."""


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""

    def has_time() -> bool:
        return bool(context.get_remaining_time_in_millis() > SPARE_MS)

    return process_queue(
        event, lambda record: app().campaign_exports.work(json.loads(record["body"])["export_id"], has_time)
    )
