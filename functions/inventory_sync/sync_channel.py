"""A channel's queue: pushes the quantities of changed SKUs to that channel."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.channels.outgoing import read_change
from oms.channels.port import ChannelThrottled, ChannelUnavailable
from oms.channels.sync import Changed
from oms.runtime import telemetry
from oms.runtime.telemetry import entry_point

_BUSY_SECONDS = 2
_PAUSE_SECONDS = 15
_LONGEST_PAUSE_SECONDS = 900
_PATIENT_TRIES = 4
_PATIENT_TRIES_THROTTLED = 12


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry: many messages of one SKU are one push; what did not get through comes back soon."""
    channel = app().settings.require("channel")
    changes: dict[str, Changed] = {}
    failed: dict[str, int] = {}
    throttled = False
    for record in event["Records"]:
        try:
            changes[record["messageId"]] = read_change(record)
        except ValueError:
            telemetry.logger.exception("message_unreadable", channel=channel)
            failed[record["messageId"]] = _PAUSE_SECONDS
    try:
        again = app().syncing(channel, context.aws_request_id).push(list(changes.values()))
        failed |= {message: _BUSY_SECONDS for message, change in changes.items() if change.sku in again}
    except ChannelUnavailable as unavailable:
        throttled = isinstance(unavailable, ChannelThrottled)
        pause = unavailable.retry_after if isinstance(unavailable, ChannelThrottled) else _PAUSE_SECONDS
        telemetry.count("ChannelPushFailures", channel=channel)
        telemetry.logger.warning("channel_unavailable", channel=channel, detail=str(unavailable), pause=pause)
        failed |= dict.fromkeys(changes, max(1, int(pause)))
    _come_back(event, failed, grows=not throttled)
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def _come_back(event: dict[str, Any], failed: dict[str, int], *, grows: bool) -> None:
    """Let failed messages return after their own pause rather than the queue's long visibility timeout. From the fifth
    try on the pause doubles; from the thirteenth, if the channel only wants to be asked more slowly."""
    for record in event["Records"]:
        if record["messageId"] not in failed:
            continue
        tries = int(record["attributes"]["ApproximateReceiveCount"])
        patient = _PATIENT_TRIES if grows else _PATIENT_TRIES_THROTTLED
        doublings = max(0, min(tries, patient + 10) - patient)
        pause = min(failed[record["messageId"]] * 2**doublings, _LONGEST_PAUSE_SECONDS)
        name = record["eventSourceARN"].rsplit(":", 1)[-1]
        url = next(url for url in app().settings.channel_queue_urls.values() if url.rsplit("/", 1)[-1] == name)
        try:
            app().sqs.change_message_visibility(
                QueueUrl=url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=pause
            )
        except Exception:
            telemetry.logger.exception("visibility_unchanged", queue=name)
