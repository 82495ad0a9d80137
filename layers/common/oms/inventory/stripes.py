"""Evening out a SKU's stripes: sales drain some faster than others, and a changed number leaves units behind.

Nothing depends on it: a sale steals from other stripes when its own is short. It only makes that rare. Each round moves
units between a few stripes in one transaction, so it is cheap and seldom in a sale's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from oms.inventory.model import Product, Take, even_shares
from oms.inventory.store import DynamoInventory
from oms.runtime.dynamo import ConditionsFailed, Contention

CAUSE = "rebalance"
_PAIRS = 4
"""So many pairs of stripes change in one transaction."""
_ROUNDS = 4
_LOW = 4
"""A stripe is low with less than this part of the average."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Units to move from one stripe to another."""

    source: int
    target: int
    units: int


def uneven(stock: Sequence[int], stripes: int) -> bool:
    """Whether it is worth while: a retired stripe holds units, or one in use is low although there is enough."""
    if any(stock[stripes:]):
        return True
    mean = sum(stock) // max(1, stripes)
    return mean >= _LOW and min(stock[:stripes], default=0) * _LOW < mean


def shifts(stock: Sequence[int], stripes: int, pairs: int = _PAIRS) -> list[Shift]:
    """The moves that even out most, each stripe in one of them at most: retired stripes are emptied first, then the
    fullest gives to the emptiest."""
    wanted = [*even_shares(sum(stock), stripes), *[0] * (len(stock) - stripes)]
    over = {n: units - wanted[n] for n, units in enumerate(stock) if units > wanted[n]}
    under = {n: wanted[n] - units for n, units in enumerate(stock) if units < wanted[n]}
    sources = sorted(over, key=lambda n: (n < stripes, -over[n], n))
    targets = sorted(under, key=lambda n: (-under[n], n))
    moves = [
        Shift(source, target, min(over[source], under[target]))
        for source, target in zip(sources, targets, strict=False)
    ]
    return moves[:pairs]


def rebalance(inventory: DynamoInventory, product: Product, now: datetime, stock: Sequence[int] | None = None) -> bool:
    """Even out what ``product``'s stripes hold, a few at a time; returns whether anything moved.

    Sales that come between win: what could not be moved is left for the next time.
    """
    moved = False
    for _ in range(_ROUNDS):
        stock = inventory.striped(product) if stock is None else stock
        plan = shifts(stock, product.stripes) if uneven(stock, product.stripes) else []
        stock = None
        if not plan:
            break
        writes = [inventory.take(Take(product.sku, move.source, move.units), CAUSE, now) for move in plan]
        writes += [inventory.give(Take(product.sku, move.target, move.units), CAUSE, now) for move in plan]
        try:
            inventory.table.transact(writes)
        except (ConditionsFailed, Contention):
            break
        moved = True
    return moved
