"""The customers queue: events of orders after which what is kept of customers, or counted of orders, may change.

Called by hand (``make customers``) it makes profiles anew, as far as its time lasts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point


def record(order_id: str) -> None:
    """Let an order count as it is now; a message twice, late or out of turn is harmless."""
    app().keeping.keep(order_id)
    app().earning.earn(order_id)
    app().joining.match(order_id)
    app().finding.keep(order_id)
    app().touches.keep(order_id)


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    if "Records" not in event:
        return app().rebuilding_people.go_on(event, lambda: context.get_remaining_time_in_millis() / 1000)
    kept: set[str] = set()

    def keep(message: Mapping[str, Any]) -> None:
        # All messages of a batch were there before the order is read: one look at it answers them all.
        order_id = json.loads(message["body"])["order_id"]
        if order_id not in kept:
            record(order_id)
            kept.add(order_id)

    return process_queue(event, keep)
