"""The machine in words, without its name: figures mean little without it."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path


def describe() -> str:
    """One sentence."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [f"{cores} cores of {_processor()}"]
    memory = _memory()
    if memory:
        parts.append(f"{memory} GiB of memory")
    parts += [platform.system(), f"Python {platform.python_version()}"]
    return ", ".join(parts)


def load() -> str:
    """How busy it was in the last minute, in processes that wanted to run."""
    with suppress(OSError, AttributeError):
        return f"{os.getloadavg()[0]:.1f}"
    return "not told"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> int:
    with suppress(OSError, ValueError, AttributeError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return 0
