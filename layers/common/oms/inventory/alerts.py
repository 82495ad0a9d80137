"""Alerts about stock: little left, or sold beyond it. Each is raised once and stays until its cause is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from oms.inventory.backorders import Queue
from oms.inventory.model import Product
from oms.inventory.store import DynamoInventory, sku_key
from oms.runtime import telemetry
from oms.runtime.clock import to_text
from oms.runtime.paging import Page

LOW, OVERSOLD = "low_stock", "oversold"
_METRICS = {LOW: "LowStockAlerts", OVERSOLD: "OversoldAlerts"}
_OPEN = "alerts"
_PAGE = 50


@dataclass(frozen=True, slots=True)
class Finding:
    """What an alert is about: so many units, against so many."""

    kind: str
    units: int
    threshold: int


def findings(product: Product, available: int, queue: Queue) -> dict[str, Finding]:
    """The alerts that a product's stock deserves now, by kind."""
    found = {}
    if product.low_stock_at is not None and available <= product.low_stock_at:
        found[LOW] = Finding(LOW, available, product.low_stock_at)
    lacking = queue.waiting - queue.earmarked
    if lacking > 0 and not product.backorder:
        found[OVERSOLD] = Finding(OVERSOLD, lacking, 0)
    return found


def review(inventory: DynamoInventory, product: Product, available: int, queue: Queue, now: datetime) -> None:
    """Raise what is due and clear what is over; repeating changes nothing."""
    due = findings(product, available, queue)
    items = {item["kind"]: item for item in inventory.table.query(sku_key(product.sku), "ALERT#")}
    for kind in (LOW, OVERSOLD):
        stands = kind in items and "cleared_at" not in items[kind]
        if kind in due and not stands:
            _raise(inventory, product.sku, due[kind], now)
        elif kind not in due and stands:
            _clear(inventory, product.sku, kind, now)


def _raise(inventory: DynamoInventory, sku: str, finding: Finding, now: datetime) -> None:
    at = to_text(now)
    write = inventory.table.update(
        "alert",
        (sku_key(sku), f"ALERT#{finding.kind}"),
        "SET entity = :entity, sku = :sku, kind = :kind, units = :units, threshold = :threshold, raised_at = :now, "
        "queue = :queue, queue_rank = :rank REMOVE cleared_at",
        "attribute_not_exists(pk) OR attribute_exists(cleared_at)",
        values={
            ":entity": "alert",
            ":sku": sku,
            ":kind": finding.kind,
            ":units": finding.units,
            ":threshold": finding.threshold,
            ":now": at,
            ":queue": _OPEN,
            ":rank": f"{at}#{sku}#{finding.kind}",
        },
    )
    if inventory.table.write_one(write):
        telemetry.count(_METRICS[finding.kind])
        telemetry.logger.warning("stock_alert", sku=sku, kind=finding.kind, units=finding.units)


def _clear(inventory: DynamoInventory, sku: str, kind: str, now: datetime) -> None:
    inventory.table.write_one(
        inventory.table.update(
            "alert",
            (sku_key(sku), f"ALERT#{kind}"),
            "SET cleared_at = :now REMOVE queue, queue_rank",
            "attribute_exists(pk) AND attribute_not_exists(cleared_at)",
            values={":now": to_text(now)},
        )
    )


def open_alerts(inventory: DynamoInventory, cursor: str | None) -> dict[str, Any]:
    """A page of the alerts that stand, oldest first, by the index. Raises ``InvalidRequest``."""
    found, more = queued(inventory, _OPEN, cursor, _PAGE)
    shown = ("sku", "kind", "units", "threshold", "raised_at")
    return {"alerts": [{name: item[name] for name in shown} for item in found], "next_cursor": more}


def queued(
    inventory: DynamoInventory, queue: str, cursor: str | None, page: int
) -> tuple[list[Mapping[str, Any]], str | None]:
    """A page of what stands in a queue of the ``queues`` index, and where the next one begins."""
    shown = Page.of(cursor or "", page)
    found = list(
        inventory.table.query_index(
            "queues",
            "queue = :queue AND queue_rank > :after",
            {":queue": queue, ":after": shown.after or " "},
            limit=page + 1,
        )
    )
    return shown.cut([(item["queue_rank"], item) for item in found])
