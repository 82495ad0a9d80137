"""The inventory table: every key, every item shape and every write of products, stock, places and listings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any

from oms.inventory.barcodes import INTERNAL, claims, lookup_key
from oms.inventory.finding import entries
from oms.inventory.model import DOCK, PACKING, Listing, Location, Movement, Product, Shelf, Take
from oms.runtime import errors
from oms.runtime.clock import from_text, to_text
from oms.runtime.dynamo import MAX_ACTIONS, ConditionsFailed, Contention, Item, Table, Write

_ATTEMPTS = 12
_SOLD = "sold_"


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What a channel last acknowledged for a SKU."""

    published: int | None = None
    published_version: int = 0
    acknowledged: int | None = None
    acknowledged_version: int = 0
    acknowledged_at: str = ""
    lag_ms: int | None = None
    failure: str = ""
    sold: int = 0
    """Units of this SKU that we knew the channel to have sold when it acknowledged."""
    asked: int | None = None
    """The least that was asked for since, of which it is not known whether the channel applied it."""
    asked_sold: int = 0
    """Units that we knew it to have sold when that was asked for."""
    presumed_at: str = ""
    """Since when units are held back that the channel seems to have sold, though we have no order for them."""
    revisions: int = 0
    revised_on: str = ""
    """How often the listing was changed on that day."""

    def revisions_on(self, day: str) -> int:
        """How often the listing was changed that day."""
        return self.revisions if self.revised_on == day else 0

    def is_acknowledged(self, quantity: int) -> bool:
        """Whether this quantity was the last one asked for, and the channel took it."""
        return self.acknowledged is not None and self.published == quantity and not self.failure


@dataclass(frozen=True, slots=True)
class StockLevel:
    """What may be promised now, with a version that grows with every change of it."""

    available: int
    version: int
    safety: int = 0
    """Units that channels are not told of."""
    sold: Mapping[str, int] = field(default_factory=dict)
    """Units that each channel ever sold of it, as far as we heard; a kit's parts do not tell."""

    @property
    def for_channels(self) -> int:
        """What channels may be told of."""
        return max(0, self.available - self.safety)


def sku_key(sku: str) -> str:
    """The partition of everything about a SKU."""
    return f"SKU#{sku}"


EXPIRING = "expiring"
"""The queue of SKUs by when to look at their lots."""


def expiry_key(sku: str) -> tuple[str, str]:
    """Where it stands when to look at a SKU's lots."""
    return sku_key(sku), "EXPIRY"


NET = "net_"
"""How the attributes of a stripe begin that count what the orders of a channel got out of it and did not give back."""


class DynamoInventory:
    """Reads and writes of the inventory table. Writers return ``Write`` actions where they belong to a larger
    transaction (a sale), and transact by themselves where they are the whole use case (a movement)."""

    def __init__(self, table: Table) -> None:
        self.table = table

    # ---- products ------------------------------------------------------------------------------------------------

    def products(self, skus: Iterable[str], *, fresh: bool = True) -> dict[str, Product]:
        """Products by SKU, strongly consistent; unknown SKUs are absent.

        Who can do with a product as it was a moment ago (``fresh=False``) halves the load on the item of a hot SKU;
        one that seems unknown is looked for again.
        """
        wanted = list(dict.fromkeys(skus))
        items = self.table.batch_get([(sku_key(sku), "PRODUCT") for sku in wanted], consistent=fresh)
        found = {item["sku"]: _product(item) for item in items}
        unseen = [] if fresh else [sku for sku in wanted if sku not in found]
        return {**found, **(self.products(unseen) if unseen else {})}

    def product(self, sku: str) -> Product | None:
        """One product."""
        return self.products([sku]).get(sku)

    def put_product(self, product: Product, now: datetime) -> Product:
        """Create or replace. Raises what ``change_product`` does."""
        return self.change_product(product.sku, lambda _: product, now)

    def change_product(self, sku: str, decide: Callable[[Product | None], Product], now: datetime) -> Product:
        """Put what ``decide`` makes of the product as it stands (None when there is none), or nothing when that is the
        same; ``decide`` is asked again when somebody else was faster.

        A barcode belongs to one SKU; a kit consists of products that are sold and are no kits. Raises ``Conflict``
        or ``InvalidRequest`` when that would not hold.
        """
        for attempt in range(_ATTEMPTS):
            seen = self.product(sku)
            wanted = decide(seen)
            stored = replace(
                wanted,
                version=(seen.version if seen else 0) + 1,
                stripe_span=max(wanted.stripes, seen.stripe_span if seen else 1),
                used_in=seen.used_in if seen else 0,
            )
            if seen and replace(stored, version=seen.version, imported=seen.imported) == seen:
                return seen
            if stored.used_in and (stored.kit or stored.archived):
                kits = ", ".join(self.kits_with(sku)[:5])
                what = "be a kit" if stored.kit else "be archived"
                raise errors.Conflict(f"{sku} is a part of {kits} and cannot {what} meanwhile.")
            writes = self._product_writes(stored, seen, now)
            if len(writes) > MAX_ACTIONS:
                raise errors.InvalidRequest(
                    "Too many words, specifications, vendors, barcodes and parts change at once.",
                    fields=[("(body)", f"{len(writes)} entries change, {MAX_ACTIONS} fit: use several requests")],
                )
            try:
                self.table.transact(writes)
            except ConditionsFailed as failed:
                self._explain(stored, failed)
                self.table.back_off(attempt)
                continue
            return stored
        raise Contention(f"product {sku}")

    def _explain(self, product: Product, failed: ConditionsFailed) -> None:
        """Raise what the caller can do something about; return when it is enough to try again."""
        wrong = []
        for refusal in failed.refusals:
            what, _, name = refusal.write.label.partition(" ")
            if what == "barcode":
                code, owner = claims_of(product)[name], (refusal.old or {}).get("sku", "another product")
                raise errors.Conflict(
                    f"Barcode {code} belongs to {owner}.", fields=[("barcodes", f"{code} belongs to {owner}")]
                )
            if what == "part":
                field = f"kit[{list(product.kit).index(name)}].sku"
                if refusal.old is None:
                    wrong.append((field, f"there is no product {name}"))
                else:
                    wrong.append((field, f"{name} is {'a kit itself' if refusal.old['kit'] else 'archived'}"))
        if wrong:
            raise errors.InvalidRequest("See errors for what to change.", fields=wrong)

    def entries_at(self, place: tuple[str, str], after: str, limit: int) -> Iterator[Item]:
        """Entries of the search index at a place (``inventory.finding``), behind a sort key."""
        return self.table.query(*place, after=after, limit=limit)

    def _product_writes(self, product: Product, seen: Product | None, now: datetime) -> list[Write]:
        pk = sku_key(product.sku)
        item = {
            "pk": pk,
            "sk": "PRODUCT",
            "entity": "product",
            "sku": product.sku,
            "title": product.title,
            "price": product.price,
            "currency": product.currency,
            "barcodes": list(product.barcodes),
            "barcode_kinds": dict(product.barcode_kinds),
            "specs": dict(product.specs),
            "weight_grams": product.weight_grams,
            "dimensions_mm": list(product.dimensions_mm) if product.dimensions_mm else None,
            "vendors": [dict(vendor) for vendor in product.vendors],
            "track": list(product.track),
            "min_life_days": product.min_life_days,
            "hs_code": product.hs_code,
            "origin_country": product.origin_country,
            "kit": dict(product.kit),
            "stripes": product.stripes,
            "stripe_span": product.stripe_span,
            "safety_stock": product.safety_stock,
            "low_stock_at": product.low_stock_at,
            "backorder": product.backorder,
            "archived": product.archived,
            "used_in": product.used_in,
            "imported": dict(product.imported),
            "version": product.version,
            "updated_at": to_text(now),
        }
        if seen:
            as_seen = {":seen": seen.version, ":used": seen.used_in}
            writes = [self.table.put("product", item, "version = :seen AND used_in = :used", values=as_seen)]
        else:
            writes = [self.table.put("product", item)]
        before, after = claims_of(seen) if seen else {}, claims_of(product)
        for code in sorted(after.keys() - before.keys()):
            claim = {"pk": f"BARCODE#{code}", "sk": "SKU", "entity": "barcode", "sku": product.sku}
            condition = "attribute_not_exists(pk) OR sku = :sku"
            writes.append(self.table.put(f"barcode {code}", claim, condition, values={":sku": product.sku}))
        for code in sorted(before.keys() - after.keys()):
            writes.append(self.table.delete(f"release {code}", (f"BARCODE#{code}", "SKU"), None))
        parts_before = seen.held_parts().keys() if seen else set()
        parts_after = product.held_parts().keys()
        for part in sorted(parts_after - parts_before):
            link = {"pk": sku_key(part), "sk": f"USEDIN#{product.sku}", "entity": "used_in", "kit": product.sku}
            condition = "attribute_exists(pk) AND size(kit) = :zero AND archived = :sold"
            values = {":one": 1, ":zero": 0, ":sold": False}
            key = (sku_key(part), "PRODUCT")
            writes.append(self.table.update(f"part {part}", key, "ADD used_in :one", condition, values=values))
            writes.append(self.table.put(f"link {part}", link, None))
        for part in sorted(parts_before - parts_after):
            key = (sku_key(part), "PRODUCT")
            writes.append(self.table.update(f"free {part}", key, "ADD used_in :less", values={":less": -1}))
            writes.append(self.table.delete(f"unlink {part}", (sku_key(part), f"USEDIN#{product.sku}"), None))
        terms = (product.kit, product.archived, product.safety_stock)
        if seen and (seen.kit, seen.archived, seen.safety_stock) != terms:
            # What channels may show has changed without any stock moving: the stream carries this to them.
            offer = {"pk": pk, "sk": "OFFER", "entity": "offer", "sku": product.sku, "changed_at": to_text(now)}
            writes.append(self.table.put("offer", offer, None))
        if seen and seen.min_life_days != product.min_life_days:
            writes.append(self.look_at_expiry(product.sku, now))
        return writes + self._entry_writes(product, seen)

    def _entry_writes(self, product: Product, seen: Product | None) -> list[Write]:
        before, after = entries(seen) if seen else {}, entries(product)
        writes = []
        for (pk, sk), words in after.items():
            if before.get((pk, sk)) != words:
                entry = {
                    "pk": pk,
                    "sk": sk,
                    "entity": "find",
                    "sku": product.sku,
                    **({"words": words} if words else {}),
                }
                writes.append(self.table.put("entry", entry, None))
        writes += [self.table.delete("entry", key, None) for key in before.keys() - after.keys()]
        return writes

    def sku_of_barcode(self, code: str) -> str | None:
        """The SKU that a barcode stands for."""
        item = self.table.get(f"BARCODE#{lookup_key(code)}", "SKU")
        return item["sku"] if item else None

    def kits_with(self, sku: str) -> list[str]:
        """The kits that contain a SKU."""
        return [item["kit"] for item in self.table.query(sku_key(sku), "USEDIN#")]

    # ---- what may be promised ------------------------------------------------------------------------------------

    def take(self, take: Take, cause: str, now: datetime, *, channel: str = "", listed: bool = False) -> Write:
        """The action that takes units from one stripe, or fails.

        For an order of a ``channel``, the stripe also counts what that channel's orders got out of it. ``listed`` says
        that the channel sold the SKU as such, and not within a kit: what it ever sold so is counted beside, since what
        the channel shows can then be told from what it should show.
        """
        net = ", #net = if_not_exists(#net, :zero) + :q" if channel else ""
        sold = " ADD #sold :q" if listed else ""
        names = {"#net": NET + channel, **({"#sold": _SOLD + channel} if listed else {})}
        values = {":q": take.quantity, ":one": 1, ":cause": cause, ":now": to_text(now)}
        return self.table.update(
            f"take {take.sku}",
            (sku_key(take.sku), f"STOCK#{take.stripe}"),
            f"SET available = available - :q, version = version + :one, cause = :cause, changed_at = :now{net}{sold}",
            "available >= :q",
            names=names if channel else None,
            values={**values, ":zero": 0} if channel else values,
        )

    def give(self, take: Take, cause: str, now: datetime, *, channel: str = "") -> Write:
        """The action that adds units to one stripe, making the stripe when it is the first time; ``channel`` is that of
        the order that gives them back."""
        net = ", #net = if_not_exists(#net, :zero) - :q" if channel else ""
        return self.table.update(
            f"give {take.sku}",
            (sku_key(take.sku), f"STOCK#{take.stripe}"),
            "SET entity = :entity, sku = :sku, available = if_not_exists(available, :zero) + :q, "
            f"version = if_not_exists(version, :zero) + :one, cause = :cause, changed_at = :now{net}",
            names={"#net": NET + channel} if channel else None,
            values={
                ":entity": "stock",
                ":sku": take.sku,
                ":q": take.quantity,
                ":zero": 0,
                ":one": 1,
                ":cause": cause,
                ":now": to_text(now),
            },
        )

    def stripes(self, product: Product) -> list[int]:
        """Every stripe's units as they stood at one moment: the only ground on which a sale may be refused."""
        return self.stripes_of([product])[product.sku]

    def stripes_of(self, products: Sequence[Product]) -> dict[str, list[int]]:
        """The same for several SKUs, each at one moment, in as few reads as its stripes fit.

        The moment includes the product, so stripes that were added since it was read are seen as well.
        """
        stock: dict[str, list[int]] = {}
        waiting = [(product.sku, product.stripe_span) for product in products]
        while waiting:
            group: list[tuple[str, int]] = []
            keys: list[tuple[str, str]] = []
            while waiting and len(keys) + waiting[0][1] + 1 <= MAX_ACTIONS:
                sku, span = waiting.pop(0)
                group.append((sku, span))
                keys += [(sku_key(sku), "PRODUCT"), *((sku_key(sku), f"STOCK#{n}") for n in range(span))]
            items = iter(self.table.snapshot(keys))
            for sku, span in group:
                product, *counters = islice(items, span + 1)
                if product and product["stripe_span"] > span:
                    waiting.append((sku, product["stripe_span"]))
                else:
                    stock[sku] = [item["available"] if item else 0 for item in counters]
        return stock

    def striped(self, product: Product) -> list[int]:
        """Units by stripe, each strongly consistent by itself: for looking, not for refusing."""
        items = self.table.query(sku_key(product.sku), "STOCK#")
        units = {int(item["sk"].removeprefix("STOCK#")): item["available"] for item in items}
        return [units.get(n, 0) for n in range(max(product.stripe_span, 1 + max(units, default=0)))]

    def level(self, sku: str) -> StockLevel:
        """What may be promised of a SKU, strongly consistent a stripe; the version grows with every change."""
        items = list(self.table.query(sku_key(sku), "STOCK#"))
        sold = Counter[str]()
        for item in items:
            sold.update({name.removeprefix(_SOLD): units for name, units in item.items() if name.startswith(_SOLD)})
        return StockLevel(
            sum(item["available"] for item in items), sum(item["version"] for item in items), sold=dict(sold)
        )

    def offered(self, products: Sequence[Product]) -> dict[str, int]:
        """What may be promised of each of these products as it stood a moment ago, in one read of many: to show, not to
        decide by."""
        parts = self.products({part for product in products for part in product.kit}, fresh=False)
        known = {**parts, **{product.sku: product for product in products}}
        stocked = [product for product in known.values() if not product.kit]
        keys = [(sku_key(product.sku), f"STOCK#{n}") for product in stocked for n in range(product.stripe_span)]
        units = Counter[str]()
        for item in self.table.batch_get(keys, consistent=False) if keys else ():
            units[item["sku"]] += item["available"]
        return {
            product.sku: 0 if product.archived else min(units[part] // each for part, each in product.parts(1).items())
            for product in products
        }

    def sellable(self, sku: str, product: Product | None = None) -> StockLevel:
        """What may be promised of a SKU or a kit: a kit is as many as its scarcest part allows. ``product`` saves a
        read to those who have it."""
        product = product or self.product(sku)
        if product and product.archived:
            return StockLevel(0, self.level(sku).version + product.version)
        if product is None:
            return self.level(sku)
        if not product.kit:
            level = self.level(sku)
            return StockLevel(level.available, level.version + product.version, product.safety_stock, level.sold)
        levels = {part: self.level(part) for part in product.kit}
        available = min(levels[part].available // each for part, each in product.kit.items())
        safe = {part: known.safety_stock for part, known in self.products(product.kit).items()}
        offered = min((levels[part].available - safe.get(part, 0)) // each for part, each in product.kit.items())
        version = product.version + sum(level.version for level in levels.values())
        return StockLevel(available, version, product.safety_stock + available - max(0, offered))

    # ---- places --------------------------------------------------------------------------------------------------

    def location(self, sku: str, facility: str) -> Location:
        """What lies at one facility; empty where nothing ever lay."""
        item = self.table.get(sku_key(sku), f"LOCATION#{facility}")
        return location_of(item) if item else Location(sku, facility)

    def locations_at(self, facility: str, skus: Iterable[str]) -> dict[str, Location]:
        """What lies of these SKUs at one facility; SKUs that never lay there are absent."""
        items = self.table.batch_get([(sku_key(sku), f"LOCATION#{facility}") for sku in skus])
        return {item["sku"]: location_of(item) for item in items}

    def locations(self, sku: str) -> dict[str, Location]:
        """Units by facility."""
        return {item["facility"]: location_of(item) for item in self.table.query(sku_key(sku), "LOCATION#")}

    def place(
        self,
        label: str,
        sku: str,
        facility: str,
        changes: Mapping[str, int],
        now: datetime,
        *,
        seen: Mapping[str, int] | None = None,
        spent: Sequence[str] = (),
    ) -> Write:
        """The action that changes what lies at a facility, or fails when one of the counters it lowers is too low.

        ``changes`` names counters (``on_hand``, ``allocated``, ``unallocated``, ``damaged``, ``quarantined``), bins
        (``bin#<code>``) and lots in them (``lot#<bin>#<expiry>#<lot>``); ``seen`` are values that must still be so, and
        ``spent`` lots of which nothing is left, which are forgotten.
        """
        change = _place_change(sku, facility, changes, to_text(now), seen, spent)
        return self.table.update(label, (sku_key(sku), f"LOCATION#{facility}"), **change)

    def allocate(self, sku: str, facility: str, quantity: int, now: datetime) -> Write:
        """The action that sets units at a facility aside for a parcel, or fails when too few are free."""
        changes = {"unallocated": -quantity, "allocated": quantity}
        return self.place(f"allocate {sku}", sku, facility, changes, now)

    def deallocate(
        self,
        sku: str,
        facility: str,
        quantity: int,
        now: datetime,
        *,
        picked: int = 0,
        lots: Mapping[str, int] | None = None,
    ) -> Write:
        """The action that sets allocated units free again; those that were ``picked``, of these ``lots``, go back to
        the dock."""
        changes = {"allocated": -quantity, "unallocated": quantity, **unpacked(picked, lots or {})}
        return self.place(f"deallocate {sku}", sku, facility, changes, now)

    def pick(self, place: Location, taken: Mapping[Shelf, int], now: datetime) -> Write:
        """The action that takes units out of their bins into packing (``Location.picks`` tells which)."""
        changes = on_shelves(taken, -1)
        for (_, key), units in taken.items():
            for name in (bin_name(PACKING), *([lot_name(PACKING, key)] if key else [])):
                changes[name] = changes.get(name, 0) + units
        return self.place(
            f"pick {place.sku}", place.sku, place.facility, changes, now, seen=unnamed_seen(place, taken) or None
        )

    def dispatch(
        self, sku: str, facility: str, quantity: int, now: datetime, lots: Mapping[str, int] | None = None
    ) -> Write:
        """The action that lets picked units, of these ``lots``, leave. It and ``hand_over`` are the only sale-side
        changes of ``on_hand``."""
        changes = {"on_hand": -quantity, "allocated": -quantity, bin_name(PACKING): -quantity, "dispatched": quantity}
        changes |= {lot_name(PACKING, key): -units for key, units in (lots or {}).items()}
        return self.place(f"dispatch {sku}", sku, facility, changes, now)

    def hand_over(self, place: Location, quantity: int, now: datetime) -> Write:
        """The action that lets units leave over the counter, out of whichever bins the record has them in, and of lots
        what expires first: nobody said which it was. It fails when they are claimed or gone since ``place`` was read.
        """
        taken = place.picks(quantity)
        changes = on_shelves(taken, -1)
        changes |= {"on_hand": -quantity, "unallocated": -quantity, "dispatched": quantity}
        return self.place(
            f"hand over {place.sku}", place.sku, place.facility, changes, now, seen=unnamed_seen(place, taken) or None
        )

    def look_at_expiry(self, sku: str, now: datetime) -> Write:
        """The action that has a SKU's lots looked at by the next run that takes off sale what has expired."""
        return self.table.update(
            "expiry",
            expiry_key(sku),
            "SET entity = :entity, sku = :sku, queue = :queue, queue_rank = :rank ADD noted :one",
            values={":entity": "expiry", ":sku": sku, ":queue": EXPIRING, ":rank": f"{to_text(now)}#{sku}", ":one": 1},
        )

    # ---- movements -----------------------------------------------------------------------------------------------

    def move(self, movement: Movement) -> dict[str, Any]:
        """Carry out a movement: see ``movements.move``."""
        from oms.inventory import movements

        return movements.move(self, movement)

    def movements(self, sku: str, limit: int = 100) -> list[Item]:
        """The latest movements, newest first."""
        return list(self.table.query(sku_key(sku), "MOVEMENT#", limit=limit, newest_first=True))

    # ---- listings and what channels acknowledged -------------------------------------------------------------------

    def put_listing(self, listing: Listing, now: datetime) -> None:
        """Set a channel's terms for a SKU; the stream tells the channel."""
        item = {
            "pk": sku_key(listing.sku),
            "sk": f"LISTING#{listing.channel}",
            "entity": "listing",
            "sku": listing.sku,
            "channel": listing.channel,
            "listing_id": listing.listing_id,
            "buffer": listing.buffer,
            "percent": listing.percent,
            "max_listed": listing.max_listed,
            "end_when": listing.end_when,
            "changed_at": to_text(now),
        }
        self.table.transact([self.table.put("listing", item, None)])

    def listings(self, sku: str) -> dict[str, Listing]:
        """A SKU's listings by channel."""
        return {item["channel"]: _listing(item) for item in self.table.query(sku_key(sku), "LISTING#")}

    def listings_of(self, channel: str, skus: Sequence[str]) -> dict[str, Listing]:
        """One channel's listings for these SKUs."""
        items = self.table.batch_get([(sku_key(sku), f"LISTING#{channel}") for sku in skus])
        return {item["sku"]: _listing(item) for item in items}

    def skus_listed_on(self, channel: str, after: str = "") -> Iterator[str]:
        """Every SKU listed on a channel behind ``after``, in order, by the index, page after page."""
        condition = "channel = :channel" + (" AND sku > :after" if after else "")
        values = {":channel": channel, **({":after": after} if after else {})}
        found = self.table.query_index("by-channel", condition, values)
        return (item["sku"] for item in found)

    def channel_states(self, channel: str, skus: Sequence[str]) -> dict[str, ChannelState]:
        """What the channel acknowledged for these SKUs."""
        items = self.table.batch_get([(sku_key(sku), f"SYNC#{channel}") for sku in skus])
        return {item["sku"]: _channel_state(item) for item in items}

    def states_of(self, sku: str) -> dict[str, ChannelState]:
        """What each channel acknowledged for a SKU."""
        return {item["sync_channel"]: _channel_state(item) for item in self.table.query(sku_key(sku), "SYNC#")}

    def lease(self, channel: str, sku: str, owner: str, now: datetime, until: datetime) -> bool:
        """Become the only one who pushes this SKU to this channel. What is pushed must be read afterwards, so that an
        older quantity can never follow a newer one."""
        write = self.table.update(
            "lease",
            (sku_key(sku), f"SYNC#{channel}"),
            "SET entity = :entity, sku = :sku, sync_channel = :channel, lease_owner = :owner, lease_until = :until",
            "attribute_not_exists(lease_until) OR lease_until < :now OR lease_owner = :owner",
            values={
                ":entity": "sync",
                ":sku": sku,
                ":channel": channel,
                ":owner": owner,
                ":now": to_text(now),
                ":until": to_text(until),
            },
        )
        return self.table.write_one(write)

    def end_lease(self, channel: str, sku: str, owner: str) -> None:
        """Let the next one push."""
        self._as_owner(channel, sku, owner, "REMOVE lease_until, lease_owner", {})

    def polled_until(self, channel: str) -> datetime | None:
        """Up to when the channel's orders were read; None before the first time."""
        item = self.table.get(f"CHANNEL#{channel}", "POLL")
        return from_text(item["polled_until"]) if item else None

    def set_polled_until(self, channel: str, moment: datetime) -> None:
        """Move the mark on, never back."""
        self.table.write_one(
            self.table.update(
                "polled",
                (f"CHANNEL#{channel}", "POLL"),
                "SET entity = :entity, polled_until = :to",
                "attribute_not_exists(polled_until) OR polled_until < :to",
                values={":entity": "poll", ":to": to_text(moment)},
            )
        )

    def record_acknowledged(
        self,
        channel: str,
        sku: str,
        owner: str,
        *,
        published: int,
        acknowledged: int,
        version: int,
        now: datetime,
        lag_ms: int | None,
        sold: int = 0,
        presumed_at: str = "",
        revisions: int = 0,
    ) -> None:
        """Write down what was asked for, what the channel shows (its own limits may make that less) and for which
        version of the stock, and end the lease."""
        self._as_owner(
            channel,
            sku,
            owner,
            "SET published = :asked, published_version = :v, acknowledged = :shown, acknowledged_version = :v, "
            "acknowledged_at = :now, lag_ms = :lag, sold = :sold, presumed_at = :presumed, revisions = :revisions, "
            "revised_on = :today REMOVE lease_until, lease_owner, failure, asked, asked_sold",
            {
                ":asked": published,
                ":shown": acknowledged,
                ":v": version,
                ":now": to_text(now),
                ":lag": lag_ms,
                ":sold": sold,
                ":presumed": presumed_at,
                ":revisions": revisions,
                ":today": to_text(now)[:10],
            },
        )

    def record_push_failure(
        self,
        channel: str,
        sku: str,
        owner: str,
        quantity: int,
        version: int,
        detail: str,
        unsure: tuple[int, int] | None = None,
    ) -> None:
        """Write down what was asked of the channel and why it refused, for people to read, and end the lease.
        ``unsure`` is the least that it may show by now, and what it had sold then, when it did not say no."""
        more = {":asked": unsure[0], ":sold": unsure[1]} if unsure else {}
        self._as_owner(
            channel,
            sku,
            owner,
            "SET published = :q, published_version = :v, failure = :detail"
            + (", asked = :asked, asked_sold = :sold" if more else "")
            + " REMOVE lease_until, lease_owner",
            {":q": quantity, ":v": version, ":detail": detail[:500], **more},
        )

    def _as_owner(self, channel: str, sku: str, owner: str, expression: str, values: Mapping[str, Any]) -> None:
        key = (sku_key(sku), f"SYNC#{channel}")
        self.table.write_one(
            self.table.update("sync", key, expression, "lease_owner = :owner", values={":owner": owner, **values})
        )


def claims_of(product: Product) -> dict[str, str]:
    """The keys under which a product's barcodes are found, each with its barcode."""
    return claims({code: product.barcode_kinds.get(code, INTERNAL) for code in product.barcodes})


def _product(item: Item) -> Product:
    return Product(
        sku=item["sku"],
        title=item["title"],
        price=item["price"],
        currency=item["currency"],
        barcodes=tuple(item["barcodes"]),
        specs=item["specs"],
        weight_grams=item["weight_grams"],
        dimensions_mm=tuple(item["dimensions_mm"]) if item["dimensions_mm"] else None,
        vendors=tuple(item["vendors"]),
        barcode_kinds=item.get("barcode_kinds", {}),
        track=tuple(item.get("track", ())),
        min_life_days=item.get("min_life_days", 0),
        hs_code=item.get("hs_code", ""),
        origin_country=item.get("origin_country", ""),
        kit=dict(sorted(item["kit"].items())),
        stripes=item["stripes"],
        stripe_span=item["stripe_span"],
        safety_stock=item.get("safety_stock", 0),
        low_stock_at=item.get("low_stock_at"),
        backorder=item.get("backorder", False),
        archived=item.get("archived", False),
        used_in=item.get("used_in", 0),
        imported=item.get("imported", {}),
        version=item["version"],
    )


def bin_name(code: str) -> str:
    """The attribute of a location that counts the units in a bin."""
    return f"bin#{code}"


_LOT = "lot#"


def lot_name(code: str, key: str) -> str:
    """The attribute of a location that counts the units of a lot in a bin."""
    return f"{_LOT}{code}#{key}"


def on_shelves(units: Mapping[Shelf, int], sign: int = 1) -> dict[str, int]:
    """The change of a location's bins and lots when these units come (or, with -1, go)."""
    changes: Counter[str] = Counter()
    for (name, key), count in units.items():
        changes[bin_name(name)] += sign * count
        if key:
            changes[lot_name(name, key)] += sign * count
    return dict(changes)


def unnamed_seen(place: Location, taken: Mapping[Shelf, int]) -> dict[str, int]:
    """What must still stand when units of no known lot are taken from bins that have lots too: how many of them there
    are is a difference, which no counter guards."""
    bins = {name for (name, key), units in taken.items() if units and not key and place.lots.get(name)}
    return {bin_name(name): place.bins.get(name, 0) for name in bins}


def unpacked(picked: int, lots: Mapping[str, int]) -> dict[str, int]:
    """The change of a location's bins when picked units go back to the dock."""
    if not picked:
        return {}
    changes = {bin_name(PACKING): -picked, bin_name(DOCK): picked}
    for key, units in lots.items():
        changes |= {lot_name(PACKING, key): -units, lot_name(DOCK, key): units}
    return changes


_COUNTERS = ("on_hand", "allocated", "unallocated", "damaged", "quarantined")


def _place_change(
    sku: str,
    facility: str,
    changes: Mapping[str, int],
    now: str,
    seen: Mapping[str, int] | None,
    spent: Sequence[str],
) -> dict[str, Any]:
    changed = [name for name, units in changes.items() if units]
    forgotten = [name for name in spent if name not in changed and name not in (seen or {})]
    names = list(dict.fromkeys((*_COUNTERS, *changed, *(seen or {}), *forgotten)))
    values: dict[str, Any] = {":entity": "location", ":sku": sku, ":facility": facility, ":now": now, ":zero": 0}
    sets = ["entity = :entity", "sku = :sku", "facility = :facility", "updated_at = :now"]
    conditions: list[str] = []
    for index, name in enumerate(names):
        change = changes.get(name, 0)
        if change or name in _COUNTERS:
            sets.append(f"#{index} = if_not_exists(#{index}, :zero)" + (f" + :{index}" if change else ""))
        if change:
            values[f":{index}"] = change
        if change < 0:
            conditions.append(f"#{index} >= :least{index}")
            values[f":least{index}"] = -change
        if seen and name in seen:
            absent = f"attribute_not_exists(#{index}) OR " if seen[name] == 0 else ""
            conditions.append(f"({absent}#{index} = :seen{index})")
            values[f":seen{index}"] = seen[name]
    removed = [f"#{names.index(name)}" for name in forgotten]
    conditions += [f"(attribute_not_exists({name}) OR {name} = :zero)" for name in removed]
    return {
        "expression": "SET " + ", ".join(sets) + (" REMOVE " + ", ".join(removed) if removed else ""),
        "condition": " AND ".join(conditions) or None,
        "names": {f"#{index}": name for index, name in enumerate(names)},
        "values": values,
    }


def location_of(item: Item) -> Location:
    """What lies at a facility, from its item."""
    bins = {name.removeprefix("bin#"): units for name, units in item.items() if name.startswith("bin#") and units}
    lots: dict[str, dict[str, int]] = {}
    for name, units in sorted(item.items()):
        if name.startswith(_LOT) and units:
            code, _, key = name.removeprefix(_LOT).partition("#")
            lots.setdefault(code, {})[key] = units
    return Location(
        sku=item["sku"],
        facility=item["facility"],
        on_hand=item["on_hand"],
        allocated=item["allocated"],
        damaged=item["damaged"],
        bins=dict(sorted(bins.items())),
        quarantined=item["quarantined"],
        lots=lots,
        spent=tuple(sorted(name for name, units in item.items() if name.startswith(_LOT) and not units)),
    )


def _listing(item: Item) -> Listing:
    return Listing(
        sku=item["sku"],
        channel=item["channel"],
        listing_id=item["listing_id"],
        buffer=item["buffer"],
        percent=item["percent"],
        max_listed=item["max_listed"],
        end_when=item["end_when"],
    )


def _channel_state(item: Item) -> ChannelState:
    return ChannelState(
        published=item.get("published"),
        published_version=item.get("published_version", 0),
        acknowledged=item.get("acknowledged"),
        acknowledged_version=item.get("acknowledged_version", 0),
        acknowledged_at=item.get("acknowledged_at", ""),
        lag_ms=item.get("lag_ms"),
        failure=item.get("failure", ""),
        sold=item.get("sold", 0),
        asked=item.get("asked"),
        asked_sold=item.get("asked_sold", 0),
        presumed_at=item.get("presumed_at", ""),
        revisions=item.get("revisions", 0),
        revised_on=item.get("revised_on", ""),
    )
