"""What follows from a change of stock inside the house: orders filled, stripes evened out, alerts raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oms.inventory import alerts, backorders, stripes
from oms.inventory.store import DynamoInventory
from oms.runtime.clock import Clock
from oms.runtime.dynamo import from_attribute


def skus_in(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The SKUs whose stock, queue or terms changed in a batch of the inventory table's stream, each once."""
    images = (record["dynamodb"].get("NewImage", {}) for record in records)
    return sorted({str(from_attribute(image["sku"])) for image in images if "sku" in image})


@dataclass(frozen=True, slots=True)
class WatchStock:
    """Looks at SKUs as they are now; a record twice, late or lost does no harm."""

    inventory: DynamoInventory
    fill: Callable[[str], int]
    clock: Clock

    def look(self, sku: str) -> None:
        """Do what the SKU's stock calls for. Raises ``Contention``."""
        product = self.inventory.product(sku)
        if product is None or product.kit:
            return
        queue = backorders.queue_of(self.inventory, sku)
        if queue.waiting or queue.earmarked:
            self.fill(sku)
            queue = backorders.queue_of(self.inventory, sku)
        stock = self.inventory.striped(product)
        if stripes.uneven(stock, product.stripes):
            stripes.rebalance(self.inventory, product, self.clock(), stock)
        alerts.review(self.inventory, product, sum(stock), queue, self.clock())
