"""The customers queue: events of orders after which what is kept of customers, or counted of orders, may change; and
what people demand of their data.

Called by hand (``make customers``) it makes profiles anew, as far as its time lasts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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


def serve(message: Mapping[str, Any], time_left: Callable[[], float]) -> None:
    """Carry out a demand that has just come, or, by the schedule, whatever is open; twice is harmless."""
    if "person_demand" in message:
        app().serving_people.carry_out(message["channel"], message["person_demand"], time_left)
    else:
        app().serving_people.run(time_left)


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""

    def time_left() -> float:
        return float(context.get_remaining_time_in_millis()) / 1000

    if "Records" not in event:
        return app().rebuilding_people.go_on(event, time_left)
    kept: set[str] = set()

    def keep(message: Mapping[str, Any]) -> None:
        told = json.loads(message["body"])
        if told.keys() & {"person_demand", "person_demands"}:
            serve(told, time_left)
        # All messages of a batch were there before the order is read: one look at it answers them all.
        elif told["order_id"] not in kept:
            record(told["order_id"])
            kept.add(told["order_id"])

    return process_queue(event, keep)
