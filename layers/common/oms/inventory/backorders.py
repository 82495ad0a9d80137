"""Units that were sold before they were there: the queue of orders that wait for a SKU, and what comes in for them.

Each waiting order has an item in the SKU's partition, sorted by its priority and then its age, so the queue is one
query. ``BACKORDERS`` beside them counts the units that are waited for and those that came in for them already (the
pool). Whoever brings units in writes on the condition that nobody joined the queue in between, so what is waited for
goes into the pool in the very transaction that receives it, and no sale can take it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from oms.inventory.model import Product, Take, even_shares
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Write

if TYPE_CHECKING:
    from oms.inventory.store import DynamoInventory

QUEUE = "BACKORDERS"
_TOP_SCORE = 9999
_LISTED = "backorders"
"""Where the index ``queues`` lists the SKUs that ever had a queue."""


@dataclass(frozen=True, slots=True)
class Queue:
    """How many units of a SKU orders wait for, and how many of them lie ready in the pool."""

    waiting: int = 0
    earmarked: int = 0
    version: int = 0
    filled: int = 0
    """Units that went out of the pool to orders."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One order in the queue."""

    order_id: str
    units: int


def rank(score: int, placed_at: str) -> str:
    """The place in the queue as text that sorts: higher priority first, then the older order."""
    return f"{_TOP_SCORE - min(score, _TOP_SCORE):04d}#{placed_at}"


def queue_of(inventory: DynamoInventory, sku: str) -> Queue:
    """The queue's counts, strongly consistent."""
    item = inventory.table.get(_pk(sku), QUEUE)
    return Queue(item["waiting"], item["earmarked"], item["version"], item["filled"]) if item else Queue()


def waiting_orders(inventory: DynamoInventory, sku: str, limit: int) -> list[Waiting]:
    """The first orders of the queue."""
    found = inventory.table.query(_pk(sku), "BACKORDER#", limit=limit)
    return [Waiting(item["order_id"], item["units"]) for item in found]


def unsettled(inventory: DynamoInventory) -> Iterator[str]:
    """SKUs that orders wait for or whose pool holds units, by the index: a while behind, and seldom many."""
    for item in inventory.table.query_index("queues", "queue = :queue", {":queue": _LISTED}):
        if item["waiting"] or item["earmarked"]:
            yield str(item["sku"])


def changed(
    inventory: DynamoInventory,
    order_id: str,
    place: str,
    before: Mapping[str, int],
    after: Mapping[str, int],
    now: datetime,
    *,
    from_pool: Mapping[str, int] | None = None,
) -> list[Write]:
    """The actions that keep the queues true to an order whose units without stock change from ``before`` to ``after``.

    They belong into the transaction that changes the order. ``place`` is its ``rank``; ``from_pool`` are units that it
    is given out of the pools.
    """
    writes: list[Write] = []
    for sku in sorted({*before, *after}):
        units, change = after.get(sku, 0), after.get(sku, 0) - before.get(sku, 0)
        if not change:
            continue
        key = (_pk(sku), f"BACKORDER#{place}#{order_id}")
        if units:
            item = {"pk": key[0], "sk": key[1], "entity": "backorder", "sku": sku, "order_id": order_id}
            writes.append(inventory.table.put(f"waiting {sku}", {**item, "units": units}, None))
        else:
            writes.append(inventory.table.delete(f"waiting {sku}", key))
        given = (from_pool or {}).get(sku, 0)
        writes.append(_counted(inventory, sku, now, waiting=change, pool=-given, filled=given))
    return writes


def arrival(inventory: DynamoInventory, product: Product, quantity: int, cause: str, now: datetime) -> list[Write]:
    """The actions that offer ``quantity`` units that came in: to the orders that wait, and the rest for sale.

    They fail with the label ``queue`` when somebody joined or left the queue since it was read here.
    """
    queue = queue_of(inventory, product.sku)
    kept = min(quantity, max(0, queue.waiting - queue.earmarked))
    offered = [Take(product.sku, n, share) for n, share in enumerate(even_shares(quantity - kept, product.stripes))]
    gives = [inventory.give(give, cause, now) for give in offered if give.quantity]
    if kept:
        return [_counted(inventory, product.sku, now, pool=kept, seen=queue), *gives]
    unchanged = "version = :seen" if queue.version else "attribute_not_exists(pk)"
    values = {":seen": queue.version} if queue.version else None
    return [inventory.table.check("queue", (_pk(product.sku), QUEUE), unchanged, values=values), *gives]


def surplus(inventory: DynamoInventory, product: Product, now: datetime) -> Sequence[Write]:
    """The actions that put on sale what lies in the pool and nobody waits for any more; none when there is nothing."""
    queue = queue_of(inventory, product.sku)
    left = queue.earmarked - queue.waiting
    if left <= 0:
        return ()
    offered = [Take(product.sku, n, share) for n, share in enumerate(even_shares(left, product.stripes))]
    gives = [inventory.give(give, "backorders:surplus", now) for give in offered if give.quantity]
    return [_counted(inventory, product.sku, now, pool=-left, seen=queue), *gives]


def _counted(
    inventory: DynamoInventory,
    sku: str,
    now: datetime,
    *,
    waiting: int = 0,
    pool: int = 0,
    filled: int = 0,
    seen: Queue | None = None,
) -> Write:
    values = {":zero": 0, ":one": 1, ":w": waiting, ":p": pool, ":f": filled, ":entity": _LISTED, ":sku": sku}
    conditions = []
    if waiting < 0:
        conditions.append("waiting >= :left")
        values[":left"] = -waiting
    if pool < 0:
        conditions.append("earmarked >= :taken")
        values[":taken"] = -pool
    if seen:
        conditions.append("version = :seen")
        values[":seen"] = seen.version
    return inventory.table.update(
        "queue",
        (_pk(sku), QUEUE),
        "SET entity = :entity, queue = :entity, sku = :sku, queue_rank = :sku, "
        "waiting = if_not_exists(waiting, :zero) + :w, "
        "earmarked = if_not_exists(earmarked, :zero) + :p, filled = if_not_exists(filled, :zero) + :f, "
        "version = if_not_exists(version, :zero) + :one, changed_at = :now",
        " AND ".join(conditions) or None,
        values={**values, ":now": to_text(now)},
    )


def _pk(sku: str) -> str:
    return f"SKU#{sku}"
