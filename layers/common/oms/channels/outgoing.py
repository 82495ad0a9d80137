"""Messages to the channel queues: which SKU changed, and when."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from oms.channels.sync import Changed

_BATCH = 10
"""What SQS takes in one call."""


class NotAllSent(Exception):
    """Some messages were not accepted; sending all of them again is harmless."""


def send_changes(sqs: Any, queue_url: str, changes: Sequence[Changed]) -> None:
    """Queue changes for one channel. Raises ``NotAllSent``."""
    for start in range(0, len(changes), _BATCH):
        entries = [
            {"Id": str(index), "MessageBody": _spell(change)}
            for index, change in enumerate(changes[start : start + _BATCH])
        ]
        answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
        if answer.get("Failed"):
            raise NotAllSent(", ".join(failure["Code"] for failure in answer["Failed"]))


def read_change(record: Mapping[str, Any]) -> Changed:
    """The change that a queue record tells of. Raises ``ValueError`` when it tells of none."""
    message = json.loads(record["body"])
    try:
        return Changed(str(message["sku"]), str(message["changed_at"]), bool(message.get("force")))
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError("no change of a SKU") from error


def _spell(change: Changed) -> str:
    message: dict[str, Any] = {"sku": change.sku, "changed_at": change.changed_at}
    if change.force:
        message["force"] = True
    return json.dumps(message)
