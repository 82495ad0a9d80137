"""Everything that a test makes our code say: log lines with their tracebacks, whatever else is logged, and what is
printed."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from oms.runtime import telemetry


@contextmanager
def everything_said() -> Iterator[io.StringIO]:
    """A buffer that fills with it. Other people's loggers are heard from INFO on, which is more than Lambda has."""
    said = io.StringIO()
    heard = logging.StreamHandler(said)
    heard.setFormatter(telemetry.logger.registered_formatter)
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(heard)
    root.setLevel(logging.INFO)
    try:
        with redirect_stdout(said), redirect_stderr(said):
            yield said
    finally:
        root.setLevel(before)
        root.removeHandler(heard)
