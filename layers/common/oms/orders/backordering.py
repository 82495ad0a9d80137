"""Orders that wait for units: their places in the queues, and how what comes in reaches them, first come by priority.

Whatever changes an order's units without stock writes the queue in the same transaction, so the two cannot disagree.
Very large orders (taken in chunks) do not queue: they take what there is when somebody releases them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from oms.inventory import backorders
from oms.inventory.model import Product, Take, home_stripe, spread
from oms.inventory.store import DynamoInventory
from oms.orders.model import OPEN, Event, Order, home_seed
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock
from oms.runtime.dynamo import ConditionsFailed, Contention, Write

AWAITS_STOCK = "sold without stock"
SHORT_PICK = "short pick of"
"""How the reasons of ``inventory`` holds begin that end by themselves once the order has its units."""
_ATTEMPTS = 12
_MOST_FILLED = 100
"""So many orders one call fills at most; the stream shows the queue again and goes on."""


def queue_writes(
    inventory: DynamoInventory,
    before: Order | None,
    after: Order,
    now: datetime,
    from_pool: Mapping[str, int] | None = None,
) -> list[Write]:
    """The actions that keep the queues true to a change of an order, for the transaction of that change."""
    if after.chunks:
        return []
    place = backorders.rank(after.priority_score, after.placed_at)
    waited, waits = _waiting(before), _waiting(after)
    return backorders.changed(inventory, after.order_id, place, waited, waits, now, from_pool=from_pool)


def _waiting(order: Order | None) -> Mapping[str, int]:
    return order.oversold if order and order.status in OPEN else {}


@dataclass(frozen=True, slots=True)
class FillBackorders:
    """Gives units that came in to the orders that wait for them."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    def fill(self, sku: str) -> int:
        """Go through the queue of a SKU while there are units for it, out of the pool and then of what may be
        promised; what nobody waits for goes on sale. Returns how many units were given. Raises ``Contention``.

        An order that has all its units leaves its ``inventory`` hold, and its fulfilment goes on by itself.
        """
        given = 0
        product = self.inventory.product(sku)
        if product is None or product.kit:
            return given
        for _ in range(_MOST_FILLED):
            first = backorders.waiting_orders(self.inventory, sku, 1)
            if not first:
                self._sell_surplus(product)
                return given
            units = self._fill_one(product, first[0].order_id)
            if not units:
                return given
            given += units
            telemetry.count("BackordersFilled", units)
        return given

    def fill_all(self, time_left: Callable[[], bool]) -> int:
        """Take up every queue once more, for those whose stream record was lost; returns how many units were given."""
        given = 0
        for sku in backorders.unsettled(self.inventory):
            if not time_left():
                break
            try:
                given += self.fill(sku)
            except Contention:
                # Somebody is at it; the next run comes by again.
                telemetry.logger.info("backorders_contended", sku=sku)
        return given

    def _sell_surplus(self, product: Product) -> None:
        for attempt in range(_ATTEMPTS):
            writes = backorders.surplus(self.inventory, product, self.clock())
            if not writes:
                return
            try:
                self.inventory.table.transact(writes)
            except ConditionsFailed:
                self.inventory.table.back_off(attempt)
                continue
            return
        raise Contention(f"pool of {product.sku}")

    def _fill_one(self, product: Product, order_id: str) -> int:
        sku, now = product.sku, self.clock()
        given = 0

        def decide(order: Order) -> Change | None:
            nonlocal given
            wanted = order.oversold.get(sku, 0) if order.status in OPEN else 0
            pooled = min(wanted, backorders.queue_of(self.inventory, sku).earmarked)
            takes: list[Take] = []
            if wanted > pooled:
                home = home_stripe(home_seed(order_id), product.stripes)
                takes = spread(sku, wanted - pooled, self.inventory.stripes(product), home)
            given = pooled + sum(take.quantity for take in takes)
            if not given:
                return None
            oversold = {**order.oversold, sku: wanted - given}
            after = _released(replace(order, oversold={name: units for name, units in oversold.items() if units}))
            writes = queue_writes(self.inventory, order, after, now, {sku: pooled})
            writes += [self.inventory.take(take, f"order:{order_id}", now, channel=order.channel) for take in takes]
            return Change(after, Event("OversoldCovered", "system", "stock came in", {"units": {sku: given}}), writes)

        for attempt in range(_ATTEMPTS):
            try:
                self.orders.change(order_id, decide, now)
            except ConditionsFailed:
                self.inventory.table.back_off(attempt)
                continue
            return given
        raise Contention(f"backorder of {sku}")


def _released(order: Order) -> Order:
    """The order without the hold that only waited for units, once it has them all."""
    hold = order.holds.get("inventory")
    if order.oversold or hold is None or not hold.reason.startswith((AWAITS_STOCK, SHORT_PICK)):
        return order
    return replace(order, holds={kind: kept for kind, kept in order.holds.items() if kind != "inventory"})
