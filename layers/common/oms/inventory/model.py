"""Products and stock in the trade's words. Quantities are whole units, money is minor units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Product:
    """What is sold. ``kit`` maps part SKUs to the units one kit contains; a kit has no stock of its own."""

    sku: str
    title: str
    price: int
    currency: str
    barcodes: tuple[str, ...] = ()
    specs: Mapping[str, str] = field(default_factory=dict)
    weight_grams: int = 0
    dimensions_mm: tuple[int, int, int] | None = None
    vendors: tuple[Mapping[str, Any], ...] = ()
    kit: Mapping[str, int] = field(default_factory=dict)
    stripes: int = 1
    """Over how many counters a sale is spread."""
    stripe_span: int = 1
    """The most counters there ever were: all of them are read when every unit counts."""
    version: int = 0

    def parts(self, quantity: int) -> dict[str, int]:
        """The stocked units that ``quantity`` of this product take."""
        if not self.kit:
            return {self.sku: quantity}
        return {part: each * quantity for part, each in self.kit.items()}


@dataclass(frozen=True, slots=True)
class Take:
    """Units to take from (or give back to) one stripe."""

    sku: str
    stripe: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Location:
    """Units at one facility. ``on_hand`` is what is physically there; ``allocated`` of it is meant for parcels."""

    sku: str
    facility: str
    on_hand: int = 0
    allocated: int = 0
    damaged: int = 0
    bins: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """A channel's terms for a SKU.

    ``buffer`` units are held back, ``percent`` of the rest is offered, never more than ``max_listed``; the listing
    ends (shows nothing) once no more than ``end_when`` units are left.
    """

    sku: str
    channel: str
    listing_id: str
    buffer: int = 0
    percent: int = 100
    max_listed: int | None = None
    end_when: int = 0

    def quantity_for(self, available: int) -> int:
        """What the channel should show while ``available`` units may be promised."""
        if available <= self.end_when:
            return 0
        offered = max(0, available - self.buffer) * self.percent // 100
        return offered if self.max_listed is None else min(offered, self.max_listed)


def demand(lines: Iterable[tuple[Product, int]]) -> dict[str, int]:
    """Stocked units by SKU over all lines, kits expanded, in SKU order (one item is touched once a transaction)."""
    total: dict[str, int] = {}
    for product, quantity in lines:
        for sku, units in product.parts(quantity).items():
            total[sku] = total.get(sku, 0) + units
    return dict(sorted(total.items()))


def home_stripe(seed: int, stripes: int) -> int:
    """The stripe that an order takes from first: spread by the order's own id."""
    return seed % max(1, stripes)


def spread(sku: str, quantity: int, stock: Sequence[int], home: int) -> list[Take]:
    """Cover ``quantity`` from stripes that hold ``stock`` units each: the home stripe first, then the fullest.

    Returns less than ``quantity`` in total when there is less; the caller decides what that means.
    """
    order = sorted(range(len(stock)), key=lambda stripe: (stripe != home, -stock[stripe], stripe))
    takes: list[Take] = []
    for stripe in order:
        units = min(quantity, stock[stripe])
        if units > 0:
            takes.append(Take(sku, stripe, units))
            quantity -= units
    return takes


def even_shares(quantity: int, stripes: int) -> list[int]:
    """``quantity`` in ``stripes`` shares that differ by one at most."""
    base, rest = divmod(quantity, max(1, stripes))
    return [base + (1 if index < rest else 0) for index in range(max(1, stripes))]
