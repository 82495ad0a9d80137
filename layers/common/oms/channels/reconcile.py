"""Reading back what every channel shows: differences are explained, repaired, and written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from oms.channels.port import Channel, ExternalOrder, ListingRef
from oms.channels.sync import Changed, due, units_missing
from oms.inventory.model import Listing
from oms.inventory.store import ChannelState, DynamoInventory, StockLevel
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import Item, Table

KEPT = timedelta(days=35)
EXAMPLES = 50
"""How many differences one record names; all are counted."""
_UNHEARD_WINDOW = timedelta(hours=24)

CAUSES: Mapping[str, str] = {
    "never_pushed": "the listing was never told a quantity",
    "refused": "the channel refused the last push",
    "lost_push": "our push did not reach the channel",
    "sale_unheard": "the channel had sold units that we had not heard of",
    "edited_there": "somebody changed the quantity at the channel",
    "gone_there": "the channel does not know the listing any more",
}
"""Who was wrong, and why."""


@dataclass(slots=True)
class Report:
    """What a run over a channel's listings found. ``after`` is where the next run goes on; empty when it was all."""

    channel: str
    started_at: str
    compared: int = 0
    behind: int = 0
    drifted: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""
    after: str = ""


class DynamoReconciliations:
    """The records of the runs, in the inventory table: the latest by itself, and each for five weeks."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def latest(self, channel: str) -> Item | None:
        """The last run's record."""
        return self.table.get(f"CHANNEL#{channel}", "RECONCILE")

    def record(self, report: Report, now: datetime) -> None:
        """Keep a run."""
        told = {
            "pk": f"CHANNEL#{report.channel}",
            "entity": "reconcile",
            "started_at": report.started_at,
            "finished_at": to_text(now),
            "compared": report.compared,
            "behind": report.behind,
            "drifted": report.drifted,
            "causes": dict(report.causes),
            "examples": report.examples,
            "failure": report.failure,
            "after": report.after,
        }
        latest = self.table.put("latest", {**told, "sk": "RECONCILE"}, None)
        kept = {**told, "sk": f"RECONCILE#{report.started_at}", "ttl": int((now + KEPT).timestamp())}
        self.table.transact([latest, self.table.put("run", kept, None)])


@dataclass(frozen=True, slots=True)
class ReconcileChannel:
    """Compares what a channel shows with what it should show, and has differences pushed again."""

    channel: Channel
    inventory: DynamoInventory
    records: DynamoReconciliations
    take_in: Callable[[str, ExternalOrder], object]
    send: Callable[[Sequence[Changed]], None]
    clock: Clock
    page: int = 100

    def run(self, has_time: Callable[[], bool]) -> Report:
        """Walk over every listing by the index, on from where the last run had to stop. Raises the channel's errors
        once what was found until then is written down."""
        last = self.records.latest(self.channel.name)
        report = Report(self.channel.name, to_text(self.clock()), after=last["after"] if last else "")
        try:
            for batch in _batches(self.inventory.skus_listed_on(self.channel.name, report.after), self.page):
                if report.compared and not has_time():
                    break
                self._compare(batch, report)
                report.after = batch[-1]
            else:
                report.after = ""
        except Exception as error:
            report.failure = f"{type(error).__name__}: {error}"[:300]
            raise
        finally:
            self.records.record(report, self.clock())
        telemetry.logger.info(
            "channel_reconciled",
            channel=report.channel,
            compared=report.compared,
            behind=report.behind,
            drifted=report.drifted,
            causes=dict(report.causes),
        )
        return report

    def _compare(self, skus: Sequence[str], report: Report) -> None:
        name = self.channel.name
        listings = self.inventory.listings_of(name, skus)
        shown = self.channel.read_quantities([ListingRef(sku, listing.listing_id) for sku, listing in listings.items()])
        states = self.inventory.channel_states(name, skus)
        levels = {sku: self.inventory.sellable(sku) for sku in listings}
        short = [sku for sku in listings if sku in shown and self._lacks(sku, shown[sku], levels[sku], states) > 0]
        heard: set[str] = set()
        if short:
            heard = self._hear_of_sales(short, shown, states)
            levels |= {sku: self.inventory.sellable(sku) for sku in short}
        wrong: list[Changed] = []
        for sku, listing in listings.items():
            report.compared += 1
            target = self._quantity(listing, levels[sku])
            state = states.get(sku)
            behind = state is None or not state.is_acknowledged(target)
            differs = shown.get(sku) != target
            if not behind and not differs:
                continue
            wrong.append(Changed(sku, to_text(self.clock()), force=True))
            report.behind += behind and sku not in heard
            drifted = self._drifted(sku, shown, levels[sku], state) or sku in heard
            report.drifted += drifted
            cause = _cause(state, sku in shown, drifted=drifted, heard=sku in heard)
            report.causes[cause] += 1
            if drifted:
                telemetry.count("ChannelDrift", channel=name)
            if len(report.examples) < EXAMPLES:
                report.examples.append({"sku": sku, "shown": shown.get(sku), "should_show": target, "cause": cause})
            telemetry.logger.warning(
                "channel_differs", channel=name, sku=sku, shown=shown.get(sku), record=target, cause=cause
            )
        if wrong:
            self.send(wrong)

    def _quantity(self, listing: Listing, level: StockLevel) -> int:
        return min(listing.quantity_for(level.for_channels), self.channel.limits.max_quantity)

    def _lacks(self, sku: str, shown: int, level: StockLevel, states: Mapping[str, ChannelState]) -> int:
        return units_missing(self.channel.name, shown, level, states.get(sku)) if sku in states else 0

    def _drifted(self, sku: str, shown: Mapping[str, int], level: StockLevel, state: ChannelState | None) -> bool:
        """Whether the channel shows anything but what it acknowledged or was asked for, less what it sold since."""
        if state is None or state.acknowledged is None:
            return False
        if sku not in shown:
            return True
        expected = due(self.channel.name, level, state)
        return not min(expected) <= shown[sku] <= max(expected)

    def _hear_of_sales(
        self, short: Sequence[str], shown: Mapping[str, int], states: Mapping[str, ChannelState]
    ) -> set[str]:
        """Take in the channel's orders; the SKUs whose missing units they explain."""
        now = self.clock()
        known = [states[sku].acknowledged_at for sku in short if states[sku].acknowledged_at]
        since = max(now - _UNHEARD_WINDOW, from_text(min(known))) if known else now - _UNHEARD_WINDOW
        before = {sku: self.inventory.sellable(sku) for sku in short}
        for order in self.channel.orders_since(since):
            self.take_in(self.channel.name, order)
        after = {sku: self.inventory.sellable(sku) for sku in short}
        return {sku for sku in short if after[sku].version != before[sku].version}


def _cause(state: ChannelState | None, known_there: bool, *, drifted: bool, heard: bool) -> str:
    if not known_there:
        return "gone_there"
    if state is None or state.acknowledged is None:
        return "never_pushed" if state is None or not state.failure else "refused"
    if heard:
        return "sale_unheard"
    if drifted:
        return "edited_there"
    return "refused" if state.failure else "lost_push"


def _batches(items: Iterator[str], size: int) -> Iterator[list[str]]:
    while batch := list(islice(items, size)):
        yield batch
