"""Every quarter of an hour: parcels of which nothing was heard, and those that have needed a person for too long."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.fulfillment.carrier import CarrierUnavailable
from oms.fulfillment.tracking import PollTrackers, Troubles
from oms.runtime import telemetry
from oms.runtime.telemetry import entry_point


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Lambda entry; the result counts trackers asked, news, and parcels whose owner is late."""
    parts = app()

    def time_left() -> float:
        return float(context.get_remaining_time_in_millis()) / 1000

    report = {"overdue": Troubles(parts.orders, parts.clock).remind(time_left)}
    try:
        report |= PollTrackers(parts.orders, parts.clock, lambda: parts.carrier, parts.returns).run(time_left)
    except CarrierUnavailable as unavailable:
        # Whoever was not asked is still due: the next run asks.
        telemetry.count("TrackerPollFailures")
        telemetry.logger.warning("tracker_poll_postponed", detail=str(unavailable))
    telemetry.logger.info("parcels_tracked", parcels=report)
    return report
