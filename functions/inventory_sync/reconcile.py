"""Every quarter of an hour: what each channel shows against the record, and orders that wait for what is there."""

from __future__ import annotations

from functools import partial
from typing import Any

from oms.bootstrap import app
from oms.channels.outgoing import send_changes
from oms.channels.port import ChannelRefused, ChannelUnavailable
from oms.runtime import telemetry
from oms.runtime.telemetry import entry_point

_RESERVE_MS = 10_000


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, dict[str, int]]:
    """Lambda entry; the result counts listings compared, behind, drifted and why, by channel. A channel that is down is
    left alone."""
    report: dict[str, dict[str, int]] = {}

    def time_left() -> bool:
        return bool(context.get_remaining_time_in_millis() > _RESERVE_MS)

    app().backorders.fill_all(time_left)
    for name, queue_url in sorted(app().settings.channel_queue_urls.items()):
        if app().health.read(name).is_left_alone(app().clock()):
            continue
        reconcile = app().reconciling(name, partial(send_changes, app().sqs, queue_url))
        try:
            found = reconcile.run(time_left)
            report[name] = {
                "compared": found.compared,
                "behind": found.behind,
                "drifted": found.drifted,
                **found.causes,
            }
        except (ChannelUnavailable, ChannelRefused) as unavailable:
            # The next run meets it again; the other channels are not kept waiting.
            telemetry.count("ChannelPushFailures", channel=name)
            telemetry.logger.warning("reconcile_postponed", channel=name, detail=str(unavailable))
    return report
