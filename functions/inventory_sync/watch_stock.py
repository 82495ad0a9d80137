"""The inventory stream: fills waiting orders, evens stripes out and raises alerts, for each SKU once a batch."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.inventory.watching import WatchStock, skus_in
from oms.runtime.telemetry import entry_point


@entry_point
def handler(event: dict[str, Any], context: Any) -> None:
    """Lambda entry. A batch that fails comes again, and is halved until the record at fault stands alone."""
    watch = WatchStock(app().inventory, app().backorders.fill, app().clock)
    for sku in skus_in(event["Records"]):
        watch.look(sku)
