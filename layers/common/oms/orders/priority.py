"""The short codes that tell the warehouse what an order is: M many items, L large ticket, R rush."""

from __future__ import annotations

from collections.abc import Sequence

from oms.orders.model import Line, Totals

MANY_UNITS = 5
LARGE_TICKET = 20_000
_WEIGHTS = {"M": 10, "L": 20, "R": 40}


def rate(lines: Sequence[Line], totals: Totals, shipping_method: str) -> tuple[int, str]:
    """Score (higher first) and codes, for example ``(60, "LR")``."""
    holds = {
        "L": totals.total >= LARGE_TICKET,
        "M": sum(line.quantity for line in lines) >= MANY_UNITS,
        "R": shipping_method == "express",
    }
    codes = "".join(code for code, applies in holds.items() if applies)
    return sum(_WEIGHTS[code] for code in codes), codes
