"""On schedules: events that never reached us, the books against the provider's, cases that wait too long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from oms.bootstrap import app
from oms.runtime.telemetry import entry_point, logger


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Lambda entry; ``hours`` in the event is how far back the books are compared, without it only events are asked
    for."""
    watching = app().watching(lambda: context.get_remaining_time_in_millis() / 1000)
    report = watching.poll()
    if "hours" in event:
        report |= watching.give_back_unmatched() | watching.reconcile(timedelta(hours=event["hours"]))
    logger.info("payments_watched", counts=report)
    return report
