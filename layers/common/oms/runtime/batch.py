"""Batches from streams and queues: each record stands alone, and only what failed comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from oms.runtime.telemetry import logger

Record = Mapping[str, Any]


def process_queue(event: Mapping[str, Any], handle: Callable[[Record], None]) -> dict[str, Any]:
    """Handle every message; those that failed are reported and come back after their visibility timeout."""
    failed = [record["messageId"] for record in event["Records"] if not _handled(record, record["messageId"], handle)]
    return _report(failed)


def process_stream(event: Mapping[str, Any], handle: Callable[[Record], None]) -> dict[str, Any]:
    """Handle records in order up to the first failure: the service resends from there, so no later record of the same
    item overtakes it."""
    for record in event["Records"]:
        sequence = record["dynamodb"]["SequenceNumber"]
        if not _handled(record, sequence, handle):
            return _report([sequence])
    return _report([])


def _handled(record: Record, identifier: str, handle: Callable[[Record], None]) -> bool:
    try:
        handle(record)
    except Exception:
        logger.exception("record_failed", record=identifier)
        return False
    return True


def _report(failed: list[str]) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
