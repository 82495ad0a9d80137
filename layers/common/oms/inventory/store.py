"""The inventory table: every key, every item shape and every write of products, stock, places and listings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from oms.inventory.model import Listing, Location, Product, Take, even_shares, spread
from oms.runtime import errors
from oms.runtime.clock import from_text, to_text
from oms.runtime.dynamo import MAX_ACTIONS, ConditionsFailed, Contention, Item, Table, Write

_REPLAY_WINDOW = timedelta(days=35)
_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class Movement:
    """A change of physical stock. ``key`` is the caller's idempotency key: one key, one movement."""

    kind: str
    sku: str
    quantity: int
    facility: str
    bin: str
    reason: str
    actor: str
    key: str
    at: datetime

    def digest(self) -> str:
        """What must be equal for two requests with one key to be the same request."""
        told = (self.kind, self.sku, str(self.quantity), self.facility, self.bin, self.reason)
        return hashlib.sha256("\x1f".join(told).encode()).hexdigest()


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

    def is_acknowledged(self, quantity: int) -> bool:
        """Whether this quantity was the last one asked for, and the channel took it."""
        return self.acknowledged is not None and self.published == quantity and not self.failure


@dataclass(frozen=True, slots=True)
class StockLevel:
    """What may be promised now, with a version that grows with every change of it."""

    available: int
    version: int


def sku_key(sku: str) -> str:
    """The partition of everything about a SKU."""
    return f"SKU#{sku}"


class DynamoInventory:
    """Reads and writes of the inventory table. Writers return ``Write`` actions where they belong to a larger
    transaction (a sale), and transact by themselves where they are the whole use case (a movement)."""

    def __init__(self, table: Table) -> None:
        self.table = table

    # ---- products ------------------------------------------------------------------------------------------------

    def products(self, skus: Iterable[str]) -> dict[str, Product]:
        """Products by SKU, strongly consistent; unknown SKUs are absent."""
        items = self.table.batch_get([(sku_key(sku), "PRODUCT") for sku in skus])
        return {item["sku"]: _product(item) for item in items}

    def product(self, sku: str) -> Product | None:
        """One product."""
        return self.products([sku]).get(sku)

    def put_product(self, product: Product, now: datetime) -> Product:
        """Create or replace. A barcode belongs to one SKU. Raises ``Conflict`` when another product holds one."""
        for attempt in range(_ATTEMPTS):
            seen = self.product(product.sku)
            stored = Product(
                **{
                    **{name: getattr(product, name) for name in Product.__slots__},
                    "version": (seen.version if seen else 0) + 1,
                    "stripe_span": max(product.stripes, seen.stripe_span if seen else 1),
                }
            )
            try:
                self.table.transact(self._product_writes(stored, seen, now))
            except ConditionsFailed as failed:
                taken = [r for r in failed.refusals if r.write.label.startswith("barcode ")]
                if taken:
                    code = taken[0].write.label.removeprefix("barcode ")
                    owner = (taken[0].old or {}).get("sku", "another product")
                    raise errors.Conflict(
                        f"Barcode {code} belongs to {owner}.", fields=[("barcodes", f"{code} belongs to {owner}")]
                    ) from None
                self.table.back_off(attempt)
                continue
            return stored
        raise Contention(f"product {product.sku}")

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
            "specs": dict(product.specs),
            "weight_grams": product.weight_grams,
            "dimensions_mm": list(product.dimensions_mm) if product.dimensions_mm else None,
            "vendors": [dict(vendor) for vendor in product.vendors],
            "kit": dict(product.kit),
            "stripes": product.stripes,
            "stripe_span": product.stripe_span,
            "version": product.version,
            "updated_at": to_text(now),
        }
        if seen:
            writes = [self.table.put("product", item, "version = :seen", values={":seen": seen.version})]
        else:
            writes = [self.table.put("product", item)]
        before, after = set(seen.barcodes if seen else ()), set(product.barcodes)
        for code in sorted(after - before):
            claim = {"pk": f"BARCODE#{code}", "sk": "SKU", "entity": "barcode", "sku": product.sku}
            condition = "attribute_not_exists(pk) OR sku = :sku"
            writes.append(self.table.put(f"barcode {code}", claim, condition, values={":sku": product.sku}))
        for code in sorted(before - after):
            writes.append(self.table.delete(f"release {code}", (f"BARCODE#{code}", "SKU"), None))
        parts_before, parts_after = set(seen.kit if seen else ()), set(product.kit)
        for part in sorted(parts_after - parts_before):
            link = {"pk": sku_key(part), "sk": f"USEDIN#{product.sku}", "entity": "used_in", "kit": product.sku}
            writes.append(self.table.put(f"part {part}", link, None))
        for part in sorted(parts_before - parts_after):
            writes.append(self.table.delete(f"unlink {part}", (sku_key(part), f"USEDIN#{product.sku}"), None))
        return writes

    def sku_of_barcode(self, code: str) -> str | None:
        """The SKU that a barcode stands for."""
        item = self.table.get(f"BARCODE#{code}", "SKU")
        return item["sku"] if item else None

    def kits_with(self, sku: str) -> list[str]:
        """The kits that contain a SKU."""
        return [item["kit"] for item in self.table.query(sku_key(sku), "USEDIN#")]

    # ---- what may be promised ------------------------------------------------------------------------------------

    def take(self, take: Take, cause: str, now: datetime) -> Write:
        """The action that takes units from one stripe, or fails."""
        return self.table.update(
            f"take {take.sku}",
            (sku_key(take.sku), f"STOCK#{take.stripe}"),
            "SET available = available - :q, version = version + :one, cause = :cause, changed_at = :now",
            "available >= :q",
            values={":q": take.quantity, ":one": 1, ":cause": cause, ":now": to_text(now)},
        )

    def give(self, take: Take, cause: str, now: datetime) -> Write:
        """The action that adds units to one stripe, making the stripe when it is the first time."""
        return self.table.update(
            f"give {take.sku}",
            (sku_key(take.sku), f"STOCK#{take.stripe}"),
            "SET entity = :entity, sku = :sku, available = if_not_exists(available, :zero) + :q, "
            "version = if_not_exists(version, :zero) + :one, cause = :cause, changed_at = :now",
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
        """The same for several SKUs, each at one moment, in as few reads as its stripes fit."""
        stock: dict[str, list[int]] = {}
        waiting = list(products)
        while waiting:
            group: list[Product] = []
            keys: list[tuple[str, str]] = []
            while waiting and len(keys) + waiting[0].stripe_span <= MAX_ACTIONS:
                product = waiting.pop(0)
                group.append(product)
                keys += [(sku_key(product.sku), f"STOCK#{n}") for n in range(product.stripe_span)]
            units = iter([item["available"] if item else 0 for item in self.table.snapshot(keys)])
            for product in group:
                stock[product.sku] = list(islice(units, product.stripe_span))
        return stock

    def level(self, sku: str) -> StockLevel:
        """What may be promised of a SKU, strongly consistent a stripe; the version grows with every change."""
        items = list(self.table.query(sku_key(sku), "STOCK#"))
        return StockLevel(sum(item["available"] for item in items), sum(item["version"] for item in items))

    def sellable(self, sku: str, product: Product | None = None) -> StockLevel:
        """What may be promised of a SKU or a kit: a kit is as many as its scarcest part allows. ``product`` saves a
        read to those who have it."""
        product = product or self.product(sku)
        if product is None or not product.kit:
            return self.level(sku)
        levels = {part: self.level(part) for part in product.kit}
        available = min(levels[part].available // each for part, each in product.kit.items())
        return StockLevel(available, product.version + sum(level.version for level in levels.values()))

    # ---- places --------------------------------------------------------------------------------------------------

    def locations(self, sku: str) -> dict[str, Location]:
        """Units by facility."""
        return {item["facility"]: _location(item) for item in self.table.query(sku_key(sku), "LOCATION#")}

    def allocate(self, sku: str, facility: str, quantity: int, now: datetime) -> Write:
        """The action that sets units at a facility aside for a parcel, or fails when too few are free."""
        return self.table.update(
            f"allocate {sku}",
            (sku_key(sku), f"LOCATION#{facility}"),
            "SET unallocated = unallocated - :q, allocated = allocated + :q, updated_at = :now",
            "unallocated >= :q",
            values={":q": quantity, ":now": to_text(now)},
        )

    def deallocate(self, sku: str, facility: str, quantity: int, now: datetime) -> Write:
        """The action that sets allocated units free again."""
        return self.table.update(
            f"deallocate {sku}",
            (sku_key(sku), f"LOCATION#{facility}"),
            "SET unallocated = unallocated + :q, allocated = allocated - :q, updated_at = :now",
            "allocated >= :q",
            values={":q": quantity, ":now": to_text(now)},
        )

    def dispatch(self, sku: str, facility: str, quantity: int, now: datetime) -> Write:
        """The action that lets allocated units leave: the only sale-side change of ``on_hand``."""
        return self.table.update(
            f"dispatch {sku}",
            (sku_key(sku), f"LOCATION#{facility}"),
            "SET on_hand = on_hand - :q, allocated = allocated - :q, updated_at = :now",
            "allocated >= :q AND on_hand >= :q",
            values={":q": quantity, ":now": to_text(now)},
        )

    # ---- movements -----------------------------------------------------------------------------------------------

    def move(self, movement: Movement) -> dict[str, Any]:
        """Carry out a movement once per key and return it. Units are positive except for ``adjust``.

        receive adds; adjust adds or removes; damage sets units aside as unsellable; count sets what was counted.
        Raises ``NotFound`` for an unknown SKU, ``Conflict`` when it would take units that are already promised, and
        ``IdempotencyKeyReused``.
        """
        product = self.product(movement.sku)
        if product is None:
            raise errors.NotFound(f"There is no product {movement.sku}.")
        if product.kit:
            raise errors.Conflict(f"{movement.sku} is a kit: its stock is that of its parts.")
        marker_key = (f"OPERATION#movement#{movement.key}", "OPERATION")
        for attempt in range(_ATTEMPTS):
            done = self.table.get(*marker_key)
            if done:
                return self._replayed(movement, done)
            place = self.locations(movement.sku).get(movement.facility, Location(movement.sku, movement.facility))
            delta = _sellable_change(movement, place)
            record = self._record(movement, delta)
            writes = [self._marker(movement, record), self._journal(movement, record)]
            writes += self._place_writes(movement, delta, place)
            writes += self._promise_writes(movement, product, delta)
            try:
                self.table.transact(writes)
            except ConditionsFailed as failed:
                refused = failed.of("place")
                if refused and (refused.old or {}).get("unallocated", 0) < -delta:
                    raise errors.Conflict(
                        f"{movement.facility} does not have that many free units of {movement.sku}."
                    ) from None
                self.table.back_off(attempt)
                continue
            return record
        raise Contention(f"movement of {movement.sku}")

    def _replayed(self, movement: Movement, done: Item) -> dict[str, Any]:
        if done["digest"] != movement.digest():
            raise errors.IdempotencyKeyReused("This key was used for another movement.")
        record: dict[str, Any] = done["record"]
        return record

    def _record(self, movement: Movement, delta: int) -> dict[str, Any]:
        return {
            "movement_id": hashlib.sha256(movement.key.encode()).hexdigest()[:20],
            "type": movement.kind,
            "sku": movement.sku,
            "quantity": movement.quantity,
            "change": delta,
            "facility": movement.facility,
            "bin": movement.bin,
            "reason": movement.reason,
            "actor": movement.actor,
            "at": to_text(movement.at),
        }

    def _marker(self, movement: Movement, record: Mapping[str, Any]) -> Write:
        return self.table.put(
            "once",
            {
                "pk": f"OPERATION#movement#{movement.key}",
                "sk": "OPERATION",
                "entity": "operation",
                "digest": movement.digest(),
                "record": dict(record),
                "ttl": int((movement.at + _REPLAY_WINDOW).timestamp()),
            },
        )

    def _journal(self, movement: Movement, record: Mapping[str, Any]) -> Write:
        sk = f"MOVEMENT#{record['at']}#{record['movement_id']}"
        return self.table.put("journal", {"pk": sku_key(movement.sku), "sk": sk, "entity": "movement", **record})

    def _place_writes(self, movement: Movement, delta: int, place: Location) -> list[Write]:
        key = (sku_key(movement.sku), f"LOCATION#{movement.facility}")
        if delta == 0:
            return []
        # A damaged unit is still on the shelf, so on_hand keeps it while it stops being free.
        on_hand = 0 if movement.kind == "damage" else delta
        damaged = movement.quantity if movement.kind == "damage" else 0
        expression = (
            "SET entity = :entity, sku = :sku, facility = :facility, "
            "on_hand = if_not_exists(on_hand, :zero) + :on_hand, "
            "unallocated = if_not_exists(unallocated, :zero) + :free, "
            "allocated = if_not_exists(allocated, :zero), damaged = if_not_exists(damaged, :zero) + :damaged, "
            "updated_at = :now"
        )
        values: dict[str, Any] = {
            ":entity": "location",
            ":sku": movement.sku,
            ":facility": movement.facility,
            ":zero": 0,
            ":on_hand": on_hand,
            ":free": delta,
            ":damaged": damaged,
            ":now": to_text(movement.at),
        }
        if movement.bin:
            expression += ", bin = :bin"
            values[":bin"] = movement.bin
        conditions = []
        if delta < 0:
            conditions.append("unallocated >= :taken")
            values[":taken"] = -delta
        if movement.kind == "count" and place.on_hand:
            # What was counted is only right about the units that were there when the difference was worked out.
            conditions.append("on_hand = :seen")
            values[":seen"] = place.on_hand
        return [self.table.update("place", key, expression, " AND ".join(conditions) or None, values=values)]

    def _promise_writes(self, movement: Movement, product: Product, delta: int) -> list[Write]:
        cause = f"movement:{movement.kind}"
        if delta > 0:
            shares = even_shares(delta, product.stripes)
            gives = [Take(product.sku, stripe, units) for stripe, units in enumerate(shares) if units]
            return [self.give(give, cause, movement.at) for give in gives]
        if delta == 0:
            return []
        stock = self.stripes(product)
        if sum(stock) < -delta:
            raise errors.Conflict(
                f"Only {sum(stock)} units of {product.sku} are not promised to orders; {-delta} would be taken.",
                extra={"available": sum(stock)},
            )
        return [self.take(take, cause, movement.at) for take in spread(product.sku, -delta, stock, 0)]

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

    def skus_listed_on(self, channel: str) -> Iterator[str]:
        """Every SKU listed on a channel, by the index, page after page."""
        found = self.table.query_index("by-channel", "channel = :channel", {":channel": channel})
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
    ) -> None:
        """Write down what was asked for, what the channel shows (its own limits may make that less) and for which
        version of the stock, and end the lease."""
        self._as_owner(
            channel,
            sku,
            owner,
            "SET published = :asked, published_version = :v, acknowledged = :shown, acknowledged_version = :v, "
            "acknowledged_at = :now, lag_ms = :lag REMOVE lease_until, lease_owner, failure",
            {":asked": published, ":shown": acknowledged, ":v": version, ":now": to_text(now), ":lag": lag_ms},
        )

    def record_push_failure(self, channel: str, sku: str, owner: str, quantity: int, version: int, detail: str) -> None:
        """Write down what was asked of the channel and why it refused, for people to read, and end the lease."""
        self._as_owner(
            channel,
            sku,
            owner,
            "SET published = :q, published_version = :v, failure = :detail REMOVE lease_until, lease_owner",
            {":q": quantity, ":v": version, ":detail": detail[:500]},
        )

    def _as_owner(self, channel: str, sku: str, owner: str, expression: str, values: Mapping[str, Any]) -> None:
        key = (sku_key(sku), f"SYNC#{channel}")
        self.table.write_one(
            self.table.update("sync", key, expression, "lease_owner = :owner", values={":owner": owner, **values})
        )


def _sellable_change(movement: Movement, place: Location) -> int:
    """By how much the units that may be promised change."""
    if movement.kind == "damage":
        return -movement.quantity
    if movement.kind == "count":
        return movement.quantity - (place.on_hand - place.damaged)
    return movement.quantity


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
        kit=dict(sorted(item["kit"].items())),
        stripes=item["stripes"],
        stripe_span=item["stripe_span"],
        version=item["version"],
    )


def _location(item: Item) -> Location:
    bins = {item["bin"]: item["on_hand"]} if item.get("bin") else {}
    return Location(item["sku"], item["facility"], item["on_hand"], item["allocated"], item["damaged"], bins)


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
    )
