"""Why a number is what it is: the chain of causes from the first receipt to what a channel acknowledged.

Each link is read from a record of its own: movements from the journal, sales from what the stripes counted, dispatches
from the places. The sum is therefore a check and not a definition, and the answer says when it does not come out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from oms.inventory import backorders
from oms.inventory.model import Listing, Product
from oms.inventory.store import NET, ChannelState, DynamoInventory, StockLevel, sku_key
from oms.runtime.clock import from_text, to_text
from oms.runtime.dynamo import Item

_SHOWN = 50
"""So many of the latest movements are told one by one; the older ones are the opening balance."""


@dataclass(slots=True)
class Chain:
    """Links that add units to a running balance."""

    links: list[dict[str, Any]] = field(default_factory=list)
    balance: int = 0

    def add(self, what: str, units: int, **told: Any) -> None:
        """One more link."""
        self.balance += units
        self.links.append({"what": what, "units": units, "balance": self.balance, **told})


def explain(inventory: DynamoInventory, product: Product, channel: str | None) -> dict[str, Any]:
    """The chain for one stocked SKU, and on for one channel. Read while sales go on it may be a sale apart: then it
    says that it does not add up, and asking again settles it."""
    pk = sku_key(product.sku)
    items = {item["sk"]: item for item in inventory.table.query(pk) if not item["sk"].startswith("MOVEMENT#")}
    stripes = [item for sk, item in items.items() if sk.startswith("STOCK#")]
    available = sum(item["available"] for item in stripes)
    sold = Counter[str]()
    for item in stripes:
        sold.update({n.removeprefix(NET): units for n, units in item.items() if n.startswith(NET)})
    version = product.version + sum(item["version"] for item in stripes)
    queue = backorders.queue_of(inventory, product.sku)
    chain = _moved(list(inventory.table.query(pk, "MOVEMENT#")))
    for name, units in sorted(sold.items()):
        chain.add(f"sales on {name}, less what cancelled orders gave back", -units, channel=name)
    chain.add("given to waiting orders out of what came in for them", -queue.filled)
    chain.add("kept for orders that wait", -queue.earmarked, waiting=queue.waiting)
    wrong = []
    if chain.balance != available:
        wrong.append(f"the chain comes to {chain.balance} and {available} may be promised")
    wrong += _shelves(inventory, product.sku, items)
    answer: dict[str, Any] = {"sku": product.sku, "channel": channel, "number": available, "version": version}
    if channel:
        shown = _told(chain, items, channel, StockLevel(available, version, product.safety_stock), wrong)
        answer |= {"number": shown}
    return {**answer, "chain": chain.links, "adds_up": not wrong, "differences": wrong}


def _moved(movements: list[Item]) -> Chain:
    chain = Chain()
    older, latest = movements[:-_SHOWN], movements[-_SHOWN:]
    chain.add("opening balance", sum(_promised(item) for item in older), movements=len(older))
    for item in latest:
        told = {name: item[name] for name in ("movement_id", "type", "at", "actor", "reason", "cause")}
        chain.add(f"{item['type']} at {item['facility']}", _promised(item), **told)
    return chain


def _promised(item: Item) -> int:
    """By how much a movement changed what may be promised: units that a picker missed were promised already."""
    return 0 if item["type"] == "short" else int(item["change"])


def _shelves(inventory: DynamoInventory, sku: str, items: Mapping[str, Item]) -> list[str]:
    """Where what lies at a facility is not what movements brought there and parcels took away."""
    brought: Counter[str] = Counter()
    for item in inventory.table.query(sku_key(sku), "MOVEMENT#"):
        brought[item["facility"]] += item["on_hand"]
    wrong = []
    for sk, place in sorted(items.items()):
        if not sk.startswith("LOCATION#"):
            continue
        due = brought[place["facility"]] - place.get("dispatched", 0)
        if due != place["on_hand"]:
            wrong.append(f"{place['facility']} should have {due} units and has {place['on_hand']}")
    return wrong


def _told(chain: Chain, items: Mapping[str, Item], channel: str, level: StockLevel, wrong: list[str]) -> int | None:
    """The links from what may be promised to what the channel acknowledged."""
    listing = items.get(f"LISTING#{channel}")
    if listing is None:
        wrong.append(f"it is not listed on {channel}")
        return None
    names = ("sku", "channel", "listing_id", "buffer", "percent", "max_listed", "end_when")
    terms = Listing(**{name: listing[name] for name in names})
    chain.add("safety stock, told to no channel", level.for_channels - level.available)
    target = terms.quantity_for(level.for_channels)
    told = {name: listing[name] for name in ("buffer", "percent", "max_listed", "end_when")}
    chain.add(f"terms of the listing on {channel}", target - level.for_channels, **told)
    sync = items.get(f"SYNC#{channel}")
    state = ChannelState(**{n: sync[n] for n in ChannelState.__slots__ if n in sync}) if sync else ChannelState()
    if state.published is None:
        wrong.append(f"{channel} was never told")
        return None
    changed = ""
    if state.acknowledged_at and state.lag_ms is not None:
        changed = to_text(from_text(state.acknowledged_at) - timedelta(milliseconds=state.lag_ms))
    behind = level.version - state.published_version
    chain.add("message: the stock changed", 0, at=changed or None, version=state.published_version)
    asked = state.published - target
    chain.add(f"request: {channel} was asked to show {state.published}", asked, changes_since=behind)
    shown = state.acknowledged if state.acknowledged is not None else state.published
    chain.add(
        f"acknowledgement: {channel} shows {shown}",
        shown - state.published,
        at=state.acknowledged_at or None,
        version=state.acknowledged_version,
        **({"failure": state.failure} if state.failure else {}),
    )
    if asked and behind:
        wrong.append(f"{channel} was told {state.published}, and {target} is right since then: a push is due")
    if shown != state.published or state.failure:
        wrong.append(f"{channel} shows {shown} although asked for {state.published}")
    return shown
