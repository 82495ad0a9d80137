"""Every minute: orders whose deadline has passed, and stock that has expired."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.inventory.expiring import TakeOffExpired
from oms.orders.sweeping import SweepOrders
from oms.runtime.telemetry import entry_point, logger


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Lambda entry; the result counts orders and SKUs looked at, and those that could not be settled."""
    parts = app()
    sweep = SweepOrders(
        parts.orders,
        parts.reservations,
        parts.ending,
        parts.returns,
        parts.clock,
        parts.backorders,
        lambda: context.get_remaining_time_in_millis() / 1000,
    )
    orders, expired = sweep.run(), TakeOffExpired(parts.inventory, parts.clock).run()
    logger.info("swept", orders=orders, expired=expired)
    return {name: orders[name] + expired[name] for name in orders}
