"""Keeping every channel true to the record: what changed, for whom, and what the channel said to it.

A message says only that a SKU changed. The quantity is read when it is sent, under a lease of that SKU on that
channel, so a late or repeated message cannot put an older number over a newer one, and a thousand sales of one SKU
cost a channel a handful of calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from oms.channels.health import DynamoHealth
from oms.channels.port import (
    Channel,
    ChannelThrottled,
    ChannelUnavailable,
    ExternalOrder,
    ListingRef,
    Quantity,
    RowResult,
)
from oms.inventory.model import Listing
from oms.inventory.store import ChannelState, DynamoInventory, StockLevel
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import from_item

LEASE = timedelta(seconds=60)
"""Longer than a push with its time-outs can take."""
_UNHEARD_WINDOW = timedelta(hours=6)
"""How far back a channel's orders are read at most when it shows fewer units than we know of."""
_PRESUMED_FOR = timedelta(minutes=20)
"""Longer than a message of the channel, or a poll, takes to tell of a sale."""
_SHORT_WAIT = 3.0
_PATIENCE = 4
_LAST_REVISIONS = 10
"""Of a day's changes of a listing, kept for showing nothing."""
_PLENTY = 5
"""Units; a listing with fewer is never kept from being exact."""

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
class Target:
    """What a channel should show of a SKU, and the stock that this follows from."""

    quantity: int
    level: StockLevel
    held_back: int = 0
    """Units that the channel seems to have sold without our having its order yet: they are not offered again."""


@dataclass(frozen=True, slots=True)
class SyncChannel:
    """Pushes changed SKUs to one channel."""

    channel: Channel
    inventory: DynamoInventory
    health: DynamoHealth
    take_in: Callable[[str, ExternalOrder], object]
    clock: Clock
    owner: str
    """This run's name on its leases."""
    sleep: Callable[[float], None] = time.sleep

    def push(self, changed: Sequence[Changed]) -> dict[str, str]:
        """Bring the channel up to date for these SKUs; returns the SKUs to try again, with the reason.

        What has to show nothing goes first. Raises ``ChannelUnavailable`` (also throttled) when the channel as a whole
        cannot be reached now, or is not to be asked now.
        """
        name = self.channel.name
        latest = {change.sku: change for change in sorted(changed, key=lambda change: change.force)}
        listings = self.inventory.listings_of(name, list(latest))
        states = self.inventory.channel_states(name, list(listings))
        wanted: dict[str, int] = {}
        for sku, listing in listings.items():
            target = self._target(listing)
            if latest[sku].force or not _is_acknowledged(target, states.get(sku)):
                wanted[sku] = target.quantity
        again: dict[str, str] = {}
        for batch in _batches(sorted(wanted, key=lambda sku: (wanted[sku] > 0, sku)), self.channel.limits.batch_size):
            urgent = wanted[batch[0]] == 0
            self._admit(len(batch), urgent=urgent)
            again.update(self._push_leased({sku: listings[sku] for sku in batch}, latest))
        return again

    def _admit(self, rows: int, *, urgent: bool) -> None:
        """Wait for the channel's rate, if that is short. Raises ``ChannelThrottled`` when it is not."""
        calls = self.channel.limits.calls(rows)
        for _ in range(_PATIENCE):
            wait = self.health.admit(self.channel.name, self.channel.limits, self.owner, calls, urgent=urgent)
            if not wait:
                return
            if wait > _SHORT_WAIT:
                break
            self.sleep(wait)
        raise ChannelThrottled(f"{self.channel.name} is not to be asked now", wait)

    def _push_leased(self, listings: Mapping[str, Listing], changed: Mapping[str, Changed]) -> dict[str, str]:
        name, again = self.channel.name, {}
        leased: dict[str, Listing] = {}
        try:
            for sku, listing in listings.items():
                now = self.clock()
                if self.inventory.lease(name, sku, self.owner, now, now + LEASE):
                    leased[sku] = listing
                else:
                    again[sku] = "someone else is pushing it"
            lags: list[int] = []
            if leased:
                again.update(self._push_batch(leased, changed, lags))
            leased.clear()
        except ChannelThrottled as throttled:
            self.health.throttled(name, self.channel.limits, throttled.retry_after)
            raise
        except ChannelUnavailable as unavailable:
            self.health.failed(name, str(unavailable))
            raise
        finally:
            for sku in leased:
                self.inventory.end_lease(name, sku, self.owner)
        self.health.succeeded(name, self.channel.quota(), max(lags, default=None))
        return again

    def _target(self, listing: Listing) -> Target:
        level = self.inventory.sellable(listing.sku)
        return Target(min(listing.quantity_for(level.for_channels), self.channel.limits.max_quantity), level)

    def _push_batch(
        self, listings: Mapping[str, Listing], changed: Mapping[str, Changed], lags: list[int]
    ) -> dict[str, str]:
        name, now = self.channel.name, self.clock()
        refs = {sku: ListingRef(sku, listing.listing_id) for sku, listing in listings.items()}
        shown = self.channel.read_quantities(list(refs.values()))
        states = self.inventory.channel_states(name, list(listings))
        wanted = self._targets(listings)
        unheard = self._unheard(wanted, shown, states)
        late = bool(self.channel.limits.orders_lag)
        # Before its first push a listing may have been selling for long, which a search does show.
        searched = {
            sku: units
            for sku, units in unheard.items()
            if not late or sku not in states or states[sku].acknowledged is None
        }
        if searched:
            self._hear_of_sales(searched, states)
            wanted = self._targets(listings)
        missing = {sku: units for sku, units in unheard.items() if sku not in searched}
        wanted |= self._held_back(wanted, missing, states)
        again: dict[str, str] = {}
        # What a channel shows may be only part of what it keeps, so a push that failed is made again all the same.
        unsure = {sku for sku in listings if changed[sku].force or (sku in states and states[sku].failure)}
        rows: list[Quantity] = []
        for sku, target in list(wanted.items()):
            if shown.get(sku) == target.quantity and sku not in unsure:
                continue
            if self._has_revisions_left(target, states.get(sku), now):
                rows.append(Quantity(refs[sku], target.quantity, shown.get(sku), target.level.version))
                continue
            # The reconcile asks again; what has to show nothing, or little, is never kept waiting.
            wanted.pop(sku)
            telemetry.count("ChannelRevisionsPaced", channel=name)
            self.inventory.end_lease(name, sku, self.owner)
        pushed = {row.listing.sku for row in rows}
        results = {sku: RowResult(sku, True, each.quantity) for sku, each in wanted.items() if sku not in pushed}
        if rows:
            telemetry.count("ChannelPushes", channel=name)
            results.update((result.sku, result) for result in self.channel.push_quantities(rows))
        for sku, target in wanted.items():
            result = results.get(sku) or RowResult(sku, False, 0, "the channel said nothing of it", retryable=True)
            if result.accepted:
                lag_ms = self._acknowledged(
                    sku, target, result.quantity, changed[sku], states.get(sku), revised=sku in pushed
                )
                lags += [] if lag_ms is None else [lag_ms]
                continue
            version = target.level.version
            least = self._least_shown(target, states.get(sku)) if result.retryable else None
            self.inventory.record_push_failure(name, sku, self.owner, target.quantity, version, result.detail, least)
            telemetry.count("ChannelPushFailures", channel=name)
            telemetry.logger.warning("push_refused", channel=name, sku=sku, detail=result.detail)
            if result.retryable:
                again[sku] = result.detail
        return again

    def _targets(self, listings: Mapping[str, Listing]) -> dict[str, Target]:
        return {sku: self._target(listing) for sku, listing in listings.items()}

    def _unheard(
        self, wanted: Mapping[str, Target], shown: Mapping[str, int], states: Mapping[str, ChannelState]
    ) -> dict[str, int]:
        """The publish race: units by SKU that a channel lacks of what it should show. It has sold them, or somebody
        edited the listing; to push now could put sold units on sale again."""
        missing = {}
        for sku, target in wanted.items():
            if sku in shown and shown[sku] != target.quantity:
                missing[sku] = units_missing(self.channel.name, shown[sku], target.level, states.get(sku))
        return {sku: units for sku, units in missing.items() if units > 0}

    def _hear_of_sales(self, unheard: Mapping[str, int], states: Mapping[str, ChannelState]) -> None:
        """Take in the channel's orders since it last acknowledged one of these."""
        earliest = self.clock() - _UNHEARD_WINDOW
        known = [states[sku].acknowledged_at for sku in unheard if sku in states and states[sku].acknowledged_at]
        since = max(earliest, from_text(min(known))) if len(known) == len(unheard) else earliest
        for order in self.channel.orders_since(since):
            self.take_in(self.channel.name, order)

    def _held_back(
        self, wanted: Mapping[str, Target], unheard: Mapping[str, int], states: Mapping[str, ChannelState]
    ) -> dict[str, Target]:
        """Targets of a channel whose searches are late: what it seems to have sold stays off sale until its message
        comes, or until so much time has passed that the listing must have been edited."""
        now = self.clock()
        held: dict[str, Target] = {}
        for sku, units in unheard.items():
            state, target = states.get(sku), wanted[sku]
            since = from_text(state.presumed_at) if state and state.presumed_at else now
            if now - since < _PRESUMED_FOR:
                quantity = max(0, target.quantity - units)
                held[sku] = Target(quantity, target.level, target.quantity - quantity)
        return held

    def _least_shown(self, target: Target, state: ChannelState | None) -> tuple[int, int]:
        """The least that the channel may show once it applies what it was asked for, now or before, and the units that
        it had sold by then as far as we know."""
        sold = target.level.sold.get(self.channel.name, 0) + target.held_back
        if state is None or state.asked is None:
            return target.quantity, sold
        return min(target.quantity, state.asked - max(0, sold - state.asked_sold)), sold

    def _has_revisions_left(self, target: Target, state: ChannelState | None, now: datetime) -> bool:
        """Whether the day's budget of changes allows one more now: from its half on, listings with plenty wait."""
        allowed = self.channel.limits.revisions_per_day
        if not allowed or state is None:
            return True
        used = state.revisions_on(to_text(now)[:10])
        left = allowed - used - (_LAST_REVISIONS if target.quantity > 0 else 0)
        if left <= 0:
            return False
        if used < allowed // 2 or target.quantity <= _PLENTY or not state.acknowledged_at:
            return True
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return now - from_text(state.acknowledged_at) >= (midnight - now) / left

    def _acknowledged(
        self,
        sku: str,
        target: Target,
        shown: int,
        change: Changed,
        before: ChannelState | None,
        *,
        revised: bool,
    ) -> int | None:
        now, name = self.clock(), self.channel.name
        lag_ms = _milliseconds_since(change.changed_at, now)
        presumed_at = ""
        if target.held_back:
            presumed_at = before.presumed_at if before and before.presumed_at else to_text(now)
        self.inventory.record_acknowledged(
            name,
            sku,
            self.owner,
            published=target.quantity,
            acknowledged=shown,
            version=target.level.version,
            now=now,
            lag_ms=lag_ms,
            sold=target.level.sold.get(name, 0) + target.held_back,
            presumed_at=presumed_at,
            revisions=(before.revisions_on(to_text(now)[:10]) if before else 0) + revised,
        )
        if lag_ms is not None:
            telemetry.milliseconds("ChannelLag", lag_ms, channel=name)
        telemetry.logger.info("channel_acknowledged", channel=name, sku=sku, quantity=shown, lag_ms=lag_ms)
        return lag_ms


def units_missing(channel: str, shown: int, level: StockLevel, state: ChannelState | None) -> int:
    """How many units fewer a channel shows than it should. Below zero it shows more than it has to. A listing that we
    never pushed may have been selling already."""
    if state is None or state.acknowledged is None:
        return shown
    return min(due(channel, level, state)) - shown


def due(channel: str, level: StockLevel, state: ChannelState) -> tuple[int, int]:
    """What a channel should show, by what it acknowledged and by what it was asked for since and may apply at any time
    (the same where there is nothing of that kind), each less what we heard it sold from then on."""
    sold = level.sold.get(channel, 0)
    by_word = (state.acknowledged or 0) - max(0, sold - state.sold)
    asked = by_word if state.asked is None else state.asked - max(0, sold - state.asked_sold)
    return by_word, asked


def _is_acknowledged(target: Target, state: ChannelState | None) -> bool:
    return (
        state is not None
        and state.is_acknowledged(target.quantity)
        and state.acknowledged_version >= target.level.version
    )


def _milliseconds_since(text: str, now: datetime) -> int | None:
    return max(0, int((now - from_text(text)).total_seconds() * 1000)) if text else None


def _batches(items: Sequence[T] | Iterator[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
