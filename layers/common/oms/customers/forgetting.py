"""What names a person in an order and beside it, and how it goes. docs/privacy.md is this list in words.

What a shop has to keep stays: what was sold, for how much, to which country, and the history, whose chain holds no
person. Parts that are written beside the order go first, each by itself and as often as it takes; the order goes last,
under its version, and with it whatever came in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from oms.fulfillment.tracking import tracker_key
from oms.orders.model import OPEN, Order
from oms.orders.placing import customer_id_for
from oms.orders.returning import OPEN as OPEN_RETURNS
from oms.orders.store import DynamoOrders, order_key
from oms.payments.news import DECIDED
from oms.runtime.dynamo import Item, Table, Write

REMOVED: Mapping[str, tuple[str, ...]] = {
    "event": ("said",),
    "note": ("text", "work_queue", "work_rank"),
    "dispute": ("evidence",),
    "sighting": ("raw",),
}
"""By kind of item, what goes without a trace."""
BLANKED: Mapping[str, tuple[str, ...]] = {
    "credit": ("note",),
    "refund": ("reason",),
    "return": ("label.tracking_number", "label.tracker_id", "label.url"),
    "shipment": ("label.tracking_number", "label.tracker_id", "label.label_url", "tracking.detail"),
    "sighting": ("detail", "tracker_id"),
    "trouble": ("detail",),
}
"""By kind of item, texts that become empty: their readers expect one."""
_REASONED = frozenset({"refund_due", "refund_withdrawn"})
"""Entries of the ledger whose cause is what somebody wrote."""
_KEPT_OF_AN_ADDRESS = ("country",)
_MOVING_REFUNDS = frozenset({"requested", "sent", "failed", "by_hand"})
_AT_ONCE = 60
_WITH_THE_ORDER = 8
"""So many parts go in the order's own transaction at most, which what finds the order needs as well."""


def needed_for(order: Order, parts: Sequence[Item]) -> str:
    """What an order's person is still needed for; empty when for nothing."""
    if order.status in OPEN:
        return "order"
    if order.payment.credit:
        return "invoice"
    for item in parts:
        match item["entity"], item.get("status"):
            case "return", status if status in OPEN_RETURNS:
                return "return"
            case "refund", status if status in _MOVING_REFUNDS:
                return "refund"
            case "dispute", status if status not in DECIDED:
                return "dispute"
            case "trouble", _ if "work_queue" in item:
                return "parcel"
    return ""


def without_person(order: Order) -> Order:
    """The order as it stays."""
    return replace(
        order,
        customer={"id": customer_id_for(f"erased:{order.order_id}")},
        address={name: order.address[name] for name in _KEPT_OF_AN_ADDRESS if name in order.address},
        note="",
        rewards=(),
        coupons=tuple(replace(coupon, counted=()) for coupon in order.coupons),
        gift={name: text for name, text in order.gift.items() if name != "message"},
        holds={kind: replace(hold, reason="") for kind, hold in order.holds.items()},
        # It could be guessed from: whoever asks the same again now gets another answer.
        request_digest=b"",
    )


def parts_of(orders: DynamoOrders, order_id: str) -> list[Item]:
    """Everything kept beside an order, the order itself not."""
    return [item for item in orders.table.query(order_key(order_id)) if item["sk"] != "ORDER"]


def clear(orders: DynamoOrders, order_id: str) -> None:
    """Clear what stands beside an order down to what goes with it. Again is harmless."""
    while len(writes := list(cleared(orders.table, parts_of(orders, order_id)))) > _WITH_THE_ORDER:
        orders.table.transact(writes[:_AT_ONCE])


def cleared(table: Table, parts: Sequence[Item]) -> Iterator[Write]:
    """The actions that clear these items; none for one that is clear."""
    for item in parts:
        tracker = item.get("label", {}).get("tracker_id") if item["entity"] in ("shipment", "return") else ""
        if tracker:
            # A carrier that still has something to tell, such as who signed, finds nobody to tell it of.
            yield table.delete("tracker", (tracker_key(tracker), "TRACKER"), None)
        yield from _cleared(table, item)


def _cleared(table: Table, item: Item) -> Iterator[Write]:
    removed = [name for name in REMOVED.get(item["entity"], ()) if name in item]
    blanked = [path for path in BLANKED.get(item["entity"], ()) if _at(item, path)]
    if item["entity"] == "money" and item["kind"] in _REASONED and item["cause"]:
        blanked.append("cause")
    if not removed and not blanked:
        return
    names: dict[str, str] = {}
    sets = [f"{_named(path, names)} = :none" for path in blanked]
    values: dict[str, Any] = {":none": ""} if sets else {}
    condition = "attribute_exists(pk)"
    if "version" in item:
        # Who holds the item as it was must not write it back.
        names["#version"] = "version"
        sets.append("#version = :next")
        values |= {":seen": item["version"], ":next": item["version"] + 1}
        condition = "#version = :seen"
    expression = " ".join(
        [
            *(["SET " + ", ".join(sets)] if sets else []),
            *(["REMOVE " + ", ".join(_named(name, names) for name in removed)] if removed else []),
        ]
    )
    yield table.update("part", (item["pk"], item["sk"]), expression, condition, names, values or None)


def _at(item: Item, path: str) -> Any:
    found: Any = item
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _named(path: str, names: dict[str, str]) -> str:
    parts = path.split(".")
    names.update({f"#{name}": name for name in parts})
    return ".".join(f"#{name}" for name in parts)
