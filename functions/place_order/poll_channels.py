"""Every five minutes: marketplace orders whose callbacks did not reach us."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.channels.port import ChannelUnavailable
from oms.channels.registry import channel_names
from oms.runtime import telemetry
from oms.runtime.telemetry import entry_point

_RESERVE_MS = 15_000


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Lambda entry; the result counts the orders that were looked at, by channel."""
    report: dict[str, int] = {}
    for name in channel_names():
        try:
            report[name] = app().importing.poll(name, lambda: context.get_remaining_time_in_millis() > _RESERVE_MS)
        except ChannelUnavailable as unavailable:
            # The mark has not moved, so the next poll reads what this one could not.
            telemetry.count("ChannelPollFailures", channel=name)
            telemetry.logger.warning("poll_postponed", channel=name, detail=str(unavailable))
    telemetry.logger.info("channels_polled", orders=report)
    return report
