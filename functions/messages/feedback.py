"""The mail feedback queue: what SES says became of mails to customers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.runtime.batch import process_queue
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Write no more to an address that bounced for good or whose owner complained."""
    app().mail_feedback.hear(record["body"])


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_queue(event, handle)
