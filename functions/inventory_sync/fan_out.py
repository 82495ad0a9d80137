"""The inventory stream: one message per (channel, SKU) that has to look at its quantity."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.channels.outgoing import send_changes
from oms.channels.sync import Changed, targets_of
from oms.runtime import telemetry
from oms.runtime.telemetry import entry_point


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry: a batch's changes of one SKU become one message a channel."""
    earliest: dict[tuple[str, str], str] = {}
    failed: list[str] = []
    for record in event["Records"]:
        try:
            targets = targets_of(record, app().inventory)
        except Exception:
            telemetry.logger.exception("record_failed", record=record["eventID"])
            failed.append(record["dynamodb"]["SequenceNumber"])
            break
        for channel, sku, changed_at in targets:
            earliest[channel, sku] = min(changed_at, earliest.get((channel, sku), changed_at))
    by_channel: dict[str, list[Changed]] = {}
    for (channel, sku), changed_at in sorted(earliest.items()):
        by_channel.setdefault(channel, []).append(Changed(sku, changed_at))
    for channel, changes in by_channel.items():
        send_changes(app().sqs, app().settings.channel_queue_urls[channel], changes)
    return {"batchItemFailures": [{"itemIdentifier": sequence} for sequence in failed]}
