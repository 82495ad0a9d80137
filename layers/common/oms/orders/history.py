"""The chain of hashes that proves an order's history: nothing edited, removed or moved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any


class HistoryBroken(Exception):
    """The history does not prove itself; the message says at which event."""


def link(previous: bytes, number: int, at: str, event: Mapping[str, Any]) -> bytes:
    """The hash of an event: over the hash before it and its own content in one canonical spelling."""
    content = {"n": number, "at": at, **{key: event[key] for key in ("type", "actor", "cause", "data")}}
    spelled = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(previous + spelled.encode()).digest()


def verify(events: Iterable[Mapping[str, Any]], head: bytes, version: int) -> None:
    """Check a whole history against the order's head and version. Raises ``HistoryBroken``."""
    previous, number = b"", 0
    for number, event in enumerate(events, start=1):
        if event["n"] != number:
            raise HistoryBroken(f"event {number} is missing")
        if link(previous, number, event["at"], event) != event["hash"]:
            raise HistoryBroken(f"event {number} was changed")
        previous = event["hash"]
    if number != version or previous != head:
        raise HistoryBroken(f"the order is at version {version}, its history at {number}")
