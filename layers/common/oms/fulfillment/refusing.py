"""How the floor says no: a stable code, what was expected, and what came instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from oms.runtime import errors, telemetry


def refusal(code: str, detail: str, **extra: Any) -> errors.Conflict:
    """A conflict with a code of its own; ``extra`` joins the answer."""
    return errors.Conflict(detail, extra={"code": code, **extra})


def refuse_scan(code: str, detail: str, expected: Any, scanned: Mapping[str, Any]) -> NoReturn:
    """Raises the refusal of a scan, and counts it."""
    telemetry.count("WrongScans")
    raise refusal(code, detail, expected=expected, scanned=dict(scanned))
