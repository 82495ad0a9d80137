"""How every channel stands, for the person who operates them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from oms.channels.health import DynamoHealth
from oms.channels.reconcile import CAUSES, DynamoReconciliations
from oms.inventory.store import DynamoInventory
from oms.runtime.clock import Clock, to_text


def overview(
    channels: Sequence[str], inventory: DynamoInventory, backlog: Callable[[str], int], clock: Clock
) -> dict[str, Any]:
    """One entry a channel: breaker, pause, calls of the day, lag, backlog, the last poll and the last reconcile."""
    return {"channels": [_entry(name, inventory, backlog, clock) for name in channels]}


def _entry(name: str, inventory: DynamoInventory, backlog: Callable[[str], int], clock: Clock) -> dict[str, Any]:
    now = clock()
    health = DynamoHealth(inventory.table, clock).read(name)
    polled = inventory.polled_until(name)
    today = health.day == to_text(now)[:10]
    return {
        "channel": name,
        "breaker": health.state,
        "paused_until": health.paused_until if health.is_left_alone(now) else None,
        "reason": health.reason or None,
        "calls_today": health.used if today else 0,
        "calls_per_day": health.per_day or None,
        "lag_ms": health.lag_ms,
        "acknowledged_at": health.acknowledged_at or None,
        "backlog": backlog(name),
        "polled_until": to_text(polled) if polled else None,
        "reconcile": _last_run(DynamoReconciliations(inventory.table).latest(name)),
    }


def _last_run(run: dict[str, Any] | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "started_at": run["started_at"],
        "finished_at": run["finished_at"],
        "compared": run["compared"],
        "behind": run["behind"],
        "drifted": run["drifted"],
        "causes": run["causes"],
        "differences": [{**each, "explanation": CAUSES[each["cause"]]} for each in run["examples"]],
        "failure": run["failure"] or None,
        "is_complete": not run["after"],
    }
