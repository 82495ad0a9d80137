"""Every minute: floors that plan by themselves get their next work, and what was left half ended is ended."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.fulfillment.floorplan import planned_facilities
from oms.fulfillment.waves import PlanWork
from oms.runtime.telemetry import entry_point, logger


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, dict[str, int]]:
    """Lambda entry; the result counts walks released and ended by facility."""
    parts = app()
    planner = PlanWork(parts.orders, parts.inventory, parts.clock)
    result = {facility: planner.run(facility) for facility in planned_facilities(parts.inventory)}
    logger.info("floors_planned", floors=result)
    return result
