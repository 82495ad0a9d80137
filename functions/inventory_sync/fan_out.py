"""The inventory stream: one message per (channel, SKU) that has to look at its quantity."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.channels.outgoing import send_changes
from oms.channels.sync import changes_in
from oms.runtime.telemetry import entry_point


@entry_point
def handler(event: dict[str, Any], context: Any) -> None:
    """Lambda entry: a batch's changes of one SKU become one message a channel. A batch that fails comes again, and is
    halved until the record at fault stands alone."""
    queues = app().settings.channel_queue_urls
    for channel, changes in changes_in(event["Records"], app().inventory, sorted(queues)).items():
        send_changes(app().sqs, queues[channel], changes)
