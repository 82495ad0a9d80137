"""The chain of hashes that proves an order's history: nothing edited, removed or moved.

Why somebody did something is told in their own words, and those may name the customer. So what a person wrote stands
beside the event, and the chain holds only a salted digest of it: when the person is forgotten their words and the salt
go, the chain still holds, and nobody can find the words again by trying.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any


class HistoryBroken(Exception):
    """The history does not prove itself; the message says at which event."""


_SAID = "said:"
_SELVES = frozenset({"system", "stripe", "channel", "carrier"})
"""Actors that are no people: what they give as a cause is made of codes and ids."""
_OURS = frozenset(
    {"POST /orders", "address", "by hand", "collected", "edit", "note", "payment link", "return", "vendor", "warehouse"}
)
"""Causes in our words and not in the actor's."""


def told_apart(actor: str, cause: str) -> tuple[str, dict[str, Any]]:
    """The cause as the chain holds it, and the words that stand beside the event; none when nobody wrote them."""
    if actor.partition(":")[0] in _SELVES or cause in _OURS or not cause:
        return cause, {}
    said = {"text": cause, "salt": secrets.token_hex(8)}
    return _digest_of(said), {"said": said}


def why(event: Mapping[str, Any]) -> str:
    """Why an event happened; empty once the words of whoever said it were erased."""
    said = event.get("said")
    cause = str(event["cause"])
    return str(said["text"]) if said else "" if cause.startswith(_SAID) else cause


def _digest_of(said: Mapping[str, str]) -> str:
    return _SAID + hashlib.sha256(f"{said['salt']}\x1f{said['text']}".encode()).hexdigest()[:32]


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
        if event.get("said") and _digest_of(event["said"]) != event["cause"]:
            raise HistoryBroken(f"the words of event {number} were changed")
        previous = event["hash"]
    if number != version or previous != head:
        raise HistoryBroken(f"the order is at version {version}, its history at {number}")
