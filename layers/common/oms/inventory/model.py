"""Products and stock in the trade's words. Quantities are whole units, money is minor units."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

DOCK = "DOCK"
"""The bin of units that nobody has put away: every facility has one."""
PACKING = "PACKING"
"""Where picked units wait until their parcel leaves."""
DAMAGED = "DAMAGED"
QUARANTINE = "QUARANTINE"
STAGING = frozenset({DOCK, PACKING, DAMAGED, QUARANTINE})
"""Bins that exist without being made."""
_NOT_PICKED_FROM = frozenset({PACKING, DAMAGED, QUARANTINE})


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
    barcode_kinds: Mapping[str, str] = field(default_factory=dict)
    """The kind of each barcode (``inventory.barcodes``); a code that is not named here is the merchant's own."""
    track: tuple[str, ...] = ()
    """What the floor must capture of every unit: ``serial``, ``lot``, ``expiry``."""
    min_life_days: int = 0
    """Days that a lot must keep yet to be sold."""
    hs_code: str = ""
    """The customs tariff number: the six digits of the Harmonized System, or more of a country's own."""
    origin_country: str = ""
    """Where it was made, ISO 3166-1 alpha-2."""
    kit: Mapping[str, int] = field(default_factory=dict)
    stripes: int = 1
    """Over how many counters a sale is spread."""
    stripe_span: int = 1
    """The most counters there ever were: all of them are read when every unit counts."""
    safety_stock: int = 0
    """Units that no channel is told of: what a channel sells before we hear of it comes out of them."""
    low_stock_at: int | None = None
    """An alert is raised when no more than so many units may be promised; None asks for none."""
    backorder: bool = False
    """Whether our own sales are accepted beyond the stock, to be filled from what comes in."""
    archived: bool = False
    """No longer sold; kept, because orders and parcels name it."""
    used_in: int = 0
    """How many kits contain it: it can be neither archived nor made a kit meanwhile."""
    imported: Mapping[str, Any] = field(default_factory=dict)
    """The row that an import last wrote: with it, a row that comes twice is known."""
    version: int = 0

    @property
    def tracks_lots(self) -> bool:
        """Whether its units are told apart by lot or expiry, in stock too."""
        return "lot" in self.track or "expiry" in self.track

    def keeps_until(self, now: datetime) -> str:
        """The day that a lot must keep until if it is to be sold now."""
        return (now + timedelta(days=self.min_life_days)).date().isoformat()

    def held_parts(self) -> Mapping[str, int]:
        """The parts that this kit holds on to; an archived one lets them go."""
        return {} if self.archived else self.kit

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


def lot_key(lot: str, expires: str) -> str:
    """A lot of a SKU as one text, in which the expiry stands first: texts sort as the lots expire."""
    return f"{expires}#{lot}" if lot or expires else ""


def lot_of(key: str) -> tuple[str, str]:
    """The lot's number and its expiry; empty where it has none."""
    expires, _, lot = key.partition("#")
    return lot, expires


def expires_before(key: str, day: str) -> bool:
    """Whether a lot does not keep until a day. What has no expiry keeps for ever."""
    return "" < lot_of(key)[1] < day


Shelf = tuple[str, str]
"""A bin, and a lot in it (``lot_key``); the lot is empty for units of which no lot is known."""


def by_lot(taken: Mapping[Shelf, int]) -> dict[str, int]:
    """Units by lot, without those of which none is known."""
    total: Counter[str] = Counter()
    for (_, key), units in taken.items():
        if key:
            total[key] += units
    return dict(sorted(total.items()))


@dataclass(frozen=True, slots=True)
class Location:
    """Units at one facility. ``on_hand`` is what is physically there, the sum of its ``bins``; ``allocated`` of it is
    meant for parcels, ``damaged`` and ``quarantined`` of it cannot be sold. ``lots`` are the units of a bin by lot, as
    far as they are known."""

    sku: str
    facility: str
    on_hand: int = 0
    allocated: int = 0
    damaged: int = 0
    bins: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0
    lots: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    spent: tuple[str, ...] = ()
    """The attributes of lots that are gone."""

    @property
    def sound(self) -> int:
        """Units that can be sold or are sold already."""
        return self.on_hand - self.damaged - self.quarantined

    @property
    def pickable(self) -> dict[str, int]:
        """Units by bin that a picker may take, in the order in which they should be: what was put away before what
        was not, and small rests first, so that bins become empty."""
        open_bins = [(name, units) for name, units in self.bins.items() if units > 0 and name not in _NOT_PICKED_FROM]
        return dict(sorted(open_bins, key=lambda entry: (entry[0] == DOCK, entry[1], entry[0])))

    def of_no_lot(self, name: str) -> int:
        """Units in a bin of which no lot is known."""
        return self.bins.get(name, 0) - sum(self.lots.get(name, {}).values())

    def shelves(self, name: str) -> dict[Shelf, int]:
        """The units in a bin by lot."""
        units = {**self.lots.get(name, {}), "": self.of_no_lot(name)}
        return {(name, key): count for key, count in units.items() if count > 0}

    def fefo(self, keeps_until: str = "") -> dict[Shelf, int]:
        """Units that a picker may take, in the order in which they should be: what expires first before what keeps
        longer, and in the bins' order otherwise. Lots that do not keep until the day are left out."""
        found = {shelf: units for name in self.pickable for shelf, units in self.shelves(name).items()}
        kept = [shelf for shelf in found if not expires_before(shelf[1], keeps_until)]
        return {shelf: found[shelf] for shelf in sorted(kept, key=lambda shelf: lot_of(shelf[1])[1] or "~")}

    def picks(self, quantity: int, first: str = "", lot: str = "", keeps_until: str = "") -> dict[Shelf, int]:
        """From which bins and lots ``quantity`` units are taken, ``lot`` in the bin ``first`` before the rest of the
        lot, then that bin before the others, and what does not keep until the day last; fewer when there are fewer."""
        chosen: dict[Shelf, int] = {}
        stands = self.fefo()

        def rank(shelf: Shelf) -> tuple[bool, bool, bool]:
            return (bool(lot) and shelf[1] != lot, shelf[0] != first, expires_before(shelf[1], keeps_until))

        for shelf in sorted(stands, key=rank):
            units = min(quantity - sum(chosen.values()), stands[shelf])
            if units > 0:
                chosen[shelf] = units
        return chosen

    def less(self, taken: Mapping[Shelf, int]) -> Location:
        """The place without these units."""
        bins, lots = dict(self.bins), {name: dict(units) for name, units in self.lots.items()}
        for (name, key), units in taken.items():
            bins[name] -= units
            if key:
                lots[name][key] -= units
        return replace(self, bins=bins, lots=lots)


@dataclass(frozen=True, slots=True)
class Movement:
    """A change of physical stock. ``key`` is the caller's idempotency key: one key, one movement.

    ``quantity`` is positive except for ``adjust``; of a ``count`` it is what was found. ``bin`` is where the units are
    or come from, ``to_bin`` where they go when both are ours.
    """

    kind: str
    sku: str
    quantity: int
    facility: str
    bin: str
    reason: str
    actor: str
    key: str
    at: datetime
    to_bin: str = ""
    cause: str = "operator"
    party: str = ""
    """The retailer of consigned units."""
    lots: Mapping[str, int] = field(default_factory=dict)
    """Of the units, those of each lot (``lot_key``); of a ``count``, what was found of each."""

    def digest(self) -> str:
        """What must be equal for two requests with one key to be the same request."""
        told = [self.kind, self.sku, str(self.quantity), self.facility, self.bin, self.to_bin, self.reason, self.party]
        told += [f"{key}={units}" for key, units in sorted(self.lots.items())]
        return hashlib.sha256("\x1f".join(told).encode()).hexdigest()

    @property
    def movement_id(self) -> str:
        """The same for every repeat of the request."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:20]


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
    """Cover ``quantity`` from stripes that hold ``stock`` units each: from one of them if one has enough, the home
    stripe or the next after it, else from the home stripe first and then the fullest.

    Returns less than ``quantity`` in total when there is less; the caller decides what that means.
    """
    home %= max(1, len(stock))
    whole = next((n for n in (*range(home, len(stock)), *range(home)) if stock[n] >= quantity > 0), None)
    if whole is not None:
        return [Take(sku, whole, quantity)]
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
