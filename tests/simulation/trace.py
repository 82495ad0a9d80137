"""What happened, step by step: always hashed, kept as text only when somebody wants to read it."""

from __future__ import annotations

import hashlib

from tests.simulation.determinism import EPOCH


class Trace:
    """The run's log. Two runs are the same run exactly if their digests are equal."""

    def __init__(self, *, keep: bool = False) -> None:
        self.lines: list[str] | None = [] if keep else None
        self.steps = 0
        self._hash = hashlib.sha256()

    def note(self, now: float, who: str, what: str) -> None:
        """Add one step."""
        self.steps += 1
        line = f"{self.steps:5d} {_clock(now - EPOCH)} {who:<28.28} {what}"
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def digest(self) -> str:
        """The hash of everything so far."""
        return self._hash.hexdigest()

    def text(self) -> str:
        """The kept lines."""
        return "\n".join(self.lines or ())


def _clock(seconds: float) -> str:
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{int(days)}d{int(hours):02d}:{int(minutes):02d}:{rest:06.3f}"
