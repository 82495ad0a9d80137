"""How local tools show progress and figures: a line that lives while one waits, a bar, a table, percentiles."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of the values do not exceed; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__int__() - 1)]


def table(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> str:
    """The first row as a heading; text to the left, everything that starts with a digit or a sign to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: Sequence[str], fill: str = " ") -> str:
        cells = []
        for position, (cell, width) in enumerate(zip(row, widths, strict=True)):
            right = position > 0 and all(_is_figure(each[position]) for each in rows[1:])
            cells.append(cell.rjust(width, fill) if right else cell.ljust(width, fill))
        return (indent + "  ".join(cells)).rstrip()

    return "\n".join([line(rows[0]), line([""] * len(widths), "─"), *(line(row) for row in rows[1:])])


def money(amount: int, currency: str) -> str:
    """Minor units as people write them: ``1,234.56 USD``."""
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100:,}.{abs(amount) % 100:02d} {currency}"


class Bar:
    """A progress bar with its rate; where the output is no terminal, a line at every tenth."""

    def __init__(self, label: str, total: int, out: TextIO | None = None) -> None:
        self._label = label
        self._total = total
        self._out = out or sys.stdout
        self._live = self._out.isatty()
        self._done = 0
        self._tenth = 0
        self._drawn = 0.0
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def step(self) -> None:
        """One more is done. Any thread may say so."""
        with self._lock:
            self._done += 1
            now = time.monotonic()
            tenth = self._done * 10 // max(1, self._total)
            if self._live and (now - self._drawn > 0.1 or self._done == self._total):
                self._drawn = now
                self._out.write(f"\r{self._text()}\033[K")
            elif not self._live and tenth > self._tenth:
                self._tenth = tenth
                self._out.write(self._text() + "\n")
            self._out.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._live:
            self._out.write(f"\r{self._text()}\033[K\n")
            self._out.flush()

    def _text(self) -> str:
        spent = time.monotonic() - self._started
        filled = self._done * 24 // max(1, self._total)
        rate = self._done / spent if spent else 0.0
        bar = "█" * filled + "·" * (24 - filled)
        return f"  {self._label:<22} {bar} {self._done:>6}/{self._total}  {rate:6.1f}/s  {spent:5.1f} s"


class Stage:
    """A told story: each line with the time since the beginning, and a sign of life while something is awaited."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._live = self._out.isatty()
        self.started = time.monotonic()

    def heading(self, text: str) -> None:
        """A new chapter."""
        self._out.write(f"\n  {text}\n")
        self._out.flush()

    def tell(self, text: str, sign: str = "·") -> None:
        """Something happened."""
        self._out.write(f"{self._clock()} {sign} {text}\n")
        self._out.flush()

    def wait(self, what: str, until: Callable[[], bool], seconds: float, every: float = 0.1) -> float:
        """Wait for something and tell when it is there; how long it took. Raises ``TimedOut``."""
        with self._waiting(what) as begun:
            while not until():
                if time.monotonic() - begun > seconds:
                    raise TimedOut(f"{what}: not within {seconds:g} s")
                time.sleep(every)
        self.tell(what, "✓")
        return time.monotonic() - begun

    @contextmanager
    def _waiting(self, what: str) -> Iterator[float]:
        begun = time.monotonic()
        done = threading.Event()

        def show() -> None:
            frame = 0
            while not done.wait(0.12 if self._live else 5.0):
                spent = time.monotonic() - begun
                if self._live:
                    self._out.write(f"\r{self._clock()} {_FRAMES[frame % len(_FRAMES)]} {what} … {spent:.0f} s\033[K")
                else:
                    self._out.write(f"{self._clock()} … {what}: waiting for {spent:.0f} s\n")
                self._out.flush()
                frame += 1

        shower = threading.Thread(target=show, daemon=True)
        shower.start()
        try:
            yield begun
        finally:
            done.set()
            shower.join()
            if self._live:
                self._out.write("\r\033[K")

    def _clock(self) -> str:
        return f"  {time.monotonic() - self.started:6.2f} s "


class TimedOut(Exception):
    """What was awaited did not come."""


def _is_figure(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell[0] in "-+–"
