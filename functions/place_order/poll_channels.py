"""Every five minutes: tokens that lapse soon, orders whose callbacks did not reach us, demands about people's data."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.channels.port import ChannelRefused, ChannelUnavailable
from oms.channels.registry import channel_names
from oms.runtime import telemetry
from oms.runtime.telemetry import entry_point

_RESERVE_MS = 15_000


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Lambda entry; the result counts the orders that were looked at, by channel; one that is down is left alone."""
    _renew_tokens(context.aws_request_id)
    report: dict[str, int] = {}
    for name in channel_names():
        if app().health.read(name).is_left_alone(app().clock()):
            continue
        try:
            report[name] = app().importing.poll(name, lambda: context.get_remaining_time_in_millis() > _RESERVE_MS)
        except ChannelUnavailable as unavailable:
            # The mark has not moved, so the next poll reads what this one could not.
            telemetry.count("ChannelPollFailures", channel=name)
            telemetry.logger.warning("poll_postponed", channel=name, detail=str(unavailable))
    app().queue_open_demands()
    telemetry.logger.info("channels_polled", orders=report)
    return report


def _renew_tokens(owner: str) -> None:
    for name in channel_names():
        try:
            app().renew_token(name, owner)
        except (ChannelUnavailable, ChannelRefused) as error:
            # The next run asks again; there are four before the token lapses.
            telemetry.count("ChannelTokenFailures", channel=name)
            telemetry.logger.error("channel_token_not_renewed", channel=name, detail=str(error))
