"""How figures are shown: Markdown tables for the record, lines of progress for whoever waits."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head, and columns after the first are set right."""
    head, *body = rows
    lines = [_row(head), _row(["---", *("---:" for _ in head[1:])])]
    return "\n".join([*lines, *(_row(row) for row in body)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


class Progress:
    """Says what is being measured, at most once a second."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._last = 0.0

    def say(self, text: str) -> None:
        """One line with the time since the start."""
        self._last = time.perf_counter()
        print(f"{self._last - self._began:6.1f} s  {text}", file=sys.stderr, flush=True)

    def step(self, what: str, done: int, total: int) -> None:
        """A line of progress, unless the last one is hardly old."""
        if time.perf_counter() - self._last >= 1.0:
            self.say(f"{what}: {done} of {total}")
