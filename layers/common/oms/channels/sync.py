"""Keeping every channel true to the record: what changed, for whom, and what the channel said to it.

A message says only that a SKU changed. The quantity is read when it is sent, under a lease of that SKU on that
channel, so a late or repeated message cannot put an older number over a newer one, and a thousand sales of one SKU
cost a channel a handful of calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from oms.channels.port import Channel, ExternalOrder, ListingRef, Quantity, RowResult
from oms.inventory.model import Listing
from oms.inventory.store import ChannelState, DynamoInventory, StockLevel
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import from_item

LEASE = timedelta(seconds=60)
"""Longer than a push with its time-outs can take."""
_UNHEARD_WINDOW = timedelta(hours=6)
"""How far back a channel's orders are read when it shows fewer units than we know of."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Changed:
    """A SKU that a channel should look at. ``force`` pushes although the record says it was acknowledged."""

    sku: str
    changed_at: str
    force: bool = False


def changes_in(
    records: Sequence[Mapping[str, Any]], inventory: DynamoInventory, channels: Sequence[str]
) -> dict[str, list[Changed]]:
    """What each channel has to hear of a batch of the inventory table's stream: every SKU once, with the time of its
    earliest change.

    Listings are read for the whole batch at once, so a burst over many SKUs costs a few reads.
    """
    stock: dict[str, str] = {}
    told: dict[tuple[str, str], str] = {}
    for record in records:
        image = record["dynamodb"].get("NewImage")
        item = from_item(image) if image else {"entity": "removed"}
        if item["entity"] in ("stock", "offer"):
            _earliest(stock, item["sku"], item["changed_at"])
        elif item["entity"] == "listing" and item["channel"] in channels:
            _earliest(told, (item["channel"], item["sku"]), item["changed_at"])
    for sku, changed_at in list(stock.items()):
        for kit in inventory.kits_with(sku):
            _earliest(stock, kit, changed_at)
    for channel in channels:
        for sku in inventory.listings_of(channel, sorted(stock)):
            _earliest(told, (channel, sku), stock[sku])
    changes: dict[str, list[Changed]] = {}
    for (channel, sku), changed_at in sorted(told.items()):
        changes.setdefault(channel, []).append(Changed(sku, changed_at))
    return changes


def _earliest(times: dict[T, str], key: T, moment: str) -> None:
    times[key] = min(moment, times.get(key, moment))


@dataclass(frozen=True, slots=True)
class SyncChannel:
    """Pushes changed SKUs to one channel."""

    channel: Channel
    inventory: DynamoInventory
    take_in: Callable[[str, ExternalOrder], object]
    clock: Clock
    owner: str
    """This run's name on its leases."""

    def push(self, changed: Sequence[Changed]) -> dict[str, str]:
        """Bring the channel up to date for these SKUs; returns the SKUs to try again, with the reason.

        Raises ``ChannelUnavailable`` (also throttled) when the channel as a whole cannot be reached now.
        """
        name = self.channel.name
        latest = {change.sku: change for change in sorted(changed, key=lambda change: change.force)}
        listings = self.inventory.listings_of(name, list(latest))
        states = self.inventory.channel_states(name, list(listings))
        again: dict[str, str] = {}
        leased: dict[str, Listing] = {}
        try:
            for sku, listing in listings.items():
                if not latest[sku].force and self._is_acknowledged(listing, states.get(sku)):
                    continue
                now = self.clock()
                if self.inventory.lease(name, sku, self.owner, now, now + LEASE):
                    leased[sku] = listing
                else:
                    again[sku] = "someone else is pushing it"
            for batch in _batches(sorted(leased), self.channel.limits.batch_size):
                refs = {sku: leased[sku] for sku in batch}
                again.update(self._push_batch(refs, latest))
                for sku in batch:
                    leased.pop(sku)
        finally:
            for sku in leased:
                self.inventory.end_lease(name, sku, self.owner)
        return again

    def _target(self, listing: Listing) -> tuple[int, StockLevel]:
        level = self.inventory.sellable(listing.sku)
        return min(listing.quantity_for(level.for_channels), self.channel.limits.max_quantity), level

    def _is_acknowledged(self, listing: Listing, state: ChannelState | None) -> bool:
        if state is None:
            return False
        quantity, level = self._target(listing)
        return state.is_acknowledged(quantity) and state.acknowledged_version >= level.version

    def _push_batch(self, listings: Mapping[str, Listing], changed: Mapping[str, Changed]) -> dict[str, str]:
        name = self.channel.name
        refs = {sku: ListingRef(sku, listing.listing_id) for sku, listing in listings.items()}
        shown = self.channel.read_quantities(list(refs.values()))
        states = self.inventory.channel_states(name, list(listings))
        wanted = self._targets(listings)
        if self._hear_of_sales(wanted, shown, states):
            wanted = self._targets(listings)
        # What a channel shows may be only part of what it keeps, so a push that failed is made again all the same.
        unsure = {sku for sku in listings if changed[sku].force or (sku in states and states[sku].failure)}
        rows = [
            Quantity(refs[sku], quantity, shown.get(sku), level.version)
            for sku, (quantity, level) in wanted.items()
            if shown.get(sku) != quantity or sku in unsure
        ]
        pushed = {row.listing.sku for row in rows}
        results = {sku: RowResult(sku, True, quantity) for sku, (quantity, _) in wanted.items() if sku not in pushed}
        if rows:
            telemetry.count("ChannelPushes", channel=name)
            results.update((result.sku, result) for result in self.channel.push_quantities(rows))
        again: dict[str, str] = {}
        for sku, (quantity, level) in wanted.items():
            result = results.get(sku) or RowResult(sku, False, 0, "the channel said nothing of it", retryable=True)
            if result.accepted:
                self._acknowledged(sku, quantity, result.quantity, level, changed[sku])
                continue
            self.inventory.record_push_failure(name, sku, self.owner, quantity, level.version, result.detail)
            telemetry.count("ChannelPushFailures", channel=name)
            telemetry.logger.warning("push_refused", channel=name, sku=sku, detail=result.detail)
            if result.retryable:
                again[sku] = result.detail
        return again

    def _targets(self, listings: Mapping[str, Listing]) -> dict[str, tuple[int, StockLevel]]:
        return {sku: self._target(listing) for sku, listing in listings.items()}

    def _hear_of_sales(
        self,
        wanted: Mapping[str, tuple[int, StockLevel]],
        shown: Mapping[str, int],
        states: Mapping[str, ChannelState],
    ) -> bool:
        """The publish race: a channel that shows fewer units than it acknowledged has sold some, or was edited. Its
        orders come first, or the push would put the sold units on sale again. Returns whether they were read."""
        for sku, (quantity, _) in wanted.items():
            if sku not in shown or shown[sku] == quantity:
                continue
            known = states[sku].acknowledged if sku in states else None
            # A listing that we never pushed may have been selling already.
            may_have_sold = shown[sku] > 0 if known is None else shown[sku] < known
            if may_have_sold:
                for order in self.channel.orders_since(self.clock() - _UNHEARD_WINDOW):
                    self.take_in(self.channel.name, order)
                return True
        return False

    def _acknowledged(self, sku: str, asked: int, shown: int, level: StockLevel, change: Changed) -> None:
        now = self.clock()
        lag_ms = _milliseconds_since(change.changed_at, now)
        self.inventory.record_acknowledged(
            self.channel.name,
            sku,
            self.owner,
            published=asked,
            acknowledged=shown,
            version=level.version,
            now=now,
            lag_ms=lag_ms,
        )
        if lag_ms is not None:
            telemetry.milliseconds("ChannelLag", lag_ms, channel=self.channel.name)
        telemetry.logger.info("channel_acknowledged", channel=self.channel.name, sku=sku, quantity=shown, lag_ms=lag_ms)


@dataclass(frozen=True, slots=True)
class ReconcileChannel:
    """Compares what a channel shows with what it should show, and has differences pushed again."""

    channel: Channel
    inventory: DynamoInventory
    send: Callable[[Sequence[Changed]], None]
    clock: Clock
    page: int = 100

    def run(self, has_time: Callable[[], bool]) -> dict[str, int]:
        """Walk over every listing by the index; returns how many were compared, behind and drifted."""
        seen = {"compared": 0, "behind": 0, "drifted": 0}
        skus = self.inventory.skus_listed_on(self.channel.name)
        for batch in _batches(skus, self.page):
            if not has_time():
                break
            self._compare(batch, seen)
        telemetry.logger.info("channel_reconciled", channel=self.channel.name, listings=seen)
        return seen

    def _compare(self, skus: Sequence[str], seen: dict[str, int]) -> None:
        name = self.channel.name
        listings = self.inventory.listings_of(name, skus)
        states = self.inventory.channel_states(name, skus)
        shown = self.channel.read_quantities([ListingRef(sku, listing.listing_id) for sku, listing in listings.items()])
        now = self.clock()
        wrong: list[Changed] = []
        for sku, listing in listings.items():
            seen["compared"] += 1
            level = self.inventory.sellable(sku)
            target = min(listing.quantity_for(level.for_channels), self.channel.limits.max_quantity)
            state = states.get(sku)
            behind = state is None or not state.is_acknowledged(target)
            drifted = state is not None and not behind and shown.get(sku) != state.acknowledged
            seen["behind"] += behind
            seen["drifted"] += drifted
            if drifted:
                telemetry.count("ChannelDrift", channel=name)
                telemetry.logger.warning("channel_drifted", channel=name, sku=sku, shown=shown.get(sku), record=target)
            if behind or drifted:
                wrong.append(Changed(sku, to_text(now), force=True))
        if wrong:
            self.send(wrong)


def _milliseconds_since(text: str, now: datetime) -> int | None:
    return max(0, int((now - from_text(text)).total_seconds() * 1000)) if text else None


def _batches(items: Sequence[T] | Iterator[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
