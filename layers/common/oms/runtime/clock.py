"""Time as the system sees it: aware, UTC, passed in, and written down as RFC 3339 to the millisecond."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The production clock."""
    return datetime.now(UTC)


def to_text(moment: datetime) -> str:
    """RFC 3339 with milliseconds and ``Z``: fixed width, so that text order is time order (indexes rely on it)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def from_text(text: str) -> datetime:
    """The inverse of ``to_text``."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def from_epoch(seconds: float) -> str:
    """Somebody else's epoch seconds as our text."""
    return to_text(datetime.fromtimestamp(seconds, UTC))
