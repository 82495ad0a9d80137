"""What the local tools print: one line a step, with its time, and a sign of life on everything over a second."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Trouble(Exception):
    """Something that the person at the keyboard can mend; its text says how."""


def say(line: str = "") -> None:
    print(line, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print ``what``, a dot for every second it takes, and its time."""
    started = time.monotonic()
    done = threading.Event()
    print(f"  {what} ", end="", flush=True)

    def live() -> None:
        while not done.wait(1.0):
            print(".", end="", flush=True)

    ticker = threading.Thread(target=live, daemon=True)
    ticker.start()
    outcome = "failed after"
    try:
        yield
        outcome = "✓"
    finally:
        done.set()
        ticker.join()
        say(f" {outcome} {time.monotonic() - started:.1f} s")


def fail(trouble: Exception) -> int:
    """Print what went wrong; the exit code."""
    print(f"\n{trouble}", file=sys.stderr, flush=True)
    return 1
