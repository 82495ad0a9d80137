"""Returns in the trade's words: their states, what came back in which condition, and what that is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from oms.orders import pricing
from oms.orders.model import Line, Order
from oms.orders.store import order_key
from oms.runtime import errors
from oms.runtime.dynamo import Item, Table, Write

UNDELIVERABLE = "undeliverable"
"""The carrier brings a parcel back: nobody asks for such a return, it opens by itself."""
OURS = frozenset({"damaged", "wrong_item", "not_as_described", "late", UNDELIVERABLE})
"""Reasons for which the shop answers: nothing is kept back, and the label is on the shop."""
REASONS = (*sorted(OURS - {UNDELIVERABLE}), "changed_mind", "too_large", "too_small", "ordered_by_mistake", "other")


class ReturnStatus(StrEnum):
    """Where a return stands."""

    REQUESTED = "requested"
    APPROVED = "approved"
    IN_TRANSIT = "in_transit"
    RECEIVED = "received"
    INSPECTED = "inspected"
    REFUNDED = "refunded"
    EXCHANGED = "exchanged"
    REJECTED = "rejected"
    CLOSED = "closed"
    CANCELLED = "cancelled"


# Customers send things without waiting for us, so a parcel may come while its return is only asked for.
NEXT: Mapping[ReturnStatus, frozenset[ReturnStatus]] = {
    ReturnStatus.REQUESTED: frozenset(
        {ReturnStatus.APPROVED, ReturnStatus.RECEIVED, ReturnStatus.REJECTED, ReturnStatus.CANCELLED}
    ),
    ReturnStatus.APPROVED: frozenset(
        {ReturnStatus.IN_TRANSIT, ReturnStatus.RECEIVED, ReturnStatus.CANCELLED, ReturnStatus.CLOSED}
    ),
    ReturnStatus.IN_TRANSIT: frozenset({ReturnStatus.RECEIVED, ReturnStatus.CLOSED}),
    ReturnStatus.RECEIVED: frozenset({ReturnStatus.INSPECTED}),
    ReturnStatus.INSPECTED: frozenset(
        {ReturnStatus.REFUNDED, ReturnStatus.EXCHANGED, ReturnStatus.REJECTED, ReturnStatus.CLOSED}
    ),
    ReturnStatus.REFUNDED: frozenset(),
    ReturnStatus.EXCHANGED: frozenset(),
    ReturnStatus.REJECTED: frozenset(),
    ReturnStatus.CLOSED: frozenset(),
    ReturnStatus.CANCELLED: frozenset(),
}

OPEN = frozenset(status for status, after in NEXT.items() if after)
"""States in which somebody still has to do something."""
OURS_TO_DO = frozenset({ReturnStatus.REQUESTED, ReturnStatus.RECEIVED})
"""States in which somebody of ours has to act, and not the customer or a carrier."""
RETURN_QUEUE = "return"
UNDERWAY = frozenset({ReturnStatus.REQUESTED, ReturnStatus.APPROVED, ReturnStatus.IN_TRANSIT})
"""States in which nothing has come back yet."""


@dataclass(frozen=True, slots=True)
class ReturnPolicy:
    """The shop's terms; those about money are written on each return when it is asked for."""

    window_days: int = 30
    """So many days after the last parcel left a customer may ask."""
    send_days: int = 14
    restocking_percent: int = 0
    """Kept back of what comes back as new for the customer's own reasons."""
    damaged_percent: int = 100
    """Kept back of what comes back damaged for the customer's own reasons."""
    label_paid_by: str = "customer"
    """customer or merchant, when the reasons are the customer's own."""
    approval: str = "policy"
    """policy: within the window at once; agent: somebody decides."""


@dataclass(frozen=True, slots=True)
class ReturnLine:
    """Units of an order's line that come back."""

    line: int
    quantity: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReturnLabel:
    """The label with which the customer sends it."""

    carrier: str
    tracking_number: str
    tracker_id: str
    url: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Return:
    """One return of an order. ``graded`` counts stocked units that came back, by grade and SKU."""

    order_id: str
    number: int
    status: ReturnStatus
    lines: tuple[ReturnLine, ...]
    requested_by: str
    requested_at: str
    deadline: str
    exchange: Mapping[str, int] = field(default_factory=dict)
    """What the customer wants instead of money, units by SKU."""
    restocking_percent: int = 0
    damaged_percent: int = 0
    label_paid_by: str = "customer"
    facility: str = ""
    carrier_shipment_id: str = ""
    label: ReturnLabel | None = None
    graded: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    worth: int = 0
    refunded: int = 0
    exchange_order: str = ""
    version: int = 1

    @property
    def return_id(self) -> str:
        return f"{self.order_id}.{self.number}"

    def moved_to(self, status: ReturnStatus) -> Return:
        """The return in another state. Raises ``Conflict`` for a move that the table does not allow."""
        if status not in NEXT[self.status]:
            raise errors.Conflict(
                f"The return is {self.status.value}.",
                extra={"code": "return_state", "return_status": self.status.value},
            )
        return replace(self, status=status)

    def expected(self, order: Order) -> dict[str, int]:
        """Stocked units by SKU that should come back."""
        units: Counter[str] = Counter()
        for line in self.lines:
            units.update(order.lines[line.line - 1].units(line.quantity))
        return dict(sorted(units.items()))

    def came(self, sku: str) -> int:
        """Units of a SKU that came back, whatever their condition."""
        return sum(units.get(sku, 0) for units in self.graded.values())


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an inspected return is worth. ``accepted`` are units by line that came back; ``fee`` is what the label
    costs the customer."""

    accepted: Mapping[int, int]
    worth: int
    fee: int


def settlement(order: Order, found: Return) -> Settlement:
    """What the customer gets for what came back, in minor units.

    A kit counts when all of it came back, and as damaged when a part of it is. Whatever the shop has to answer for is
    paid in full, shipping too when nothing of the order stays with the customer.
    """
    good, bad = Counter(found.graded.get("resellable", {})), Counter(found.graded.get("damaged", {}))
    accepted: dict[int, int] = {}
    worth = 0
    for each in found.lines:
        line = order.lines[each.line - 1]
        parts = line.units(1)
        sound = min(each.quantity, *(good[sku] // count for sku, count in parts.items()))
        good.subtract({sku: count * sound for sku, count in parts.items()})
        spoiled = min(each.quantity - sound, *((good[sku] + bad[sku]) // count for sku, count in parts.items()))
        for sku, count in parts.items():
            from_bad = min(bad[sku], count * spoiled)
            bad[sku] -= from_bad
            good[sku] -= count * spoiled - from_bad
        accepted[each.line] = sound + spoiled
        worth += _worth(line, each, sound, spoiled, found)
    ours = any(each.reason in OURS for each in found.lines)
    if ours and _nothing_stays(order, found, accepted):
        worth += pricing.shipping_paid(order.totals, order.lines)
    fee = 0
    if found.label and not ours and found.label_paid_by == "customer" and found.label.currency == order.currency:
        fee = min(worth, found.label.amount)
    return Settlement(accepted, worth - fee, fee)


def _worth(line: Line, each: ReturnLine, sound: int, spoiled: int, found: Return) -> int:
    given = line.cancelled + line.credited + line.returned - each.quantity
    for_sound = pricing.value_of(line, sound, given)
    for_spoiled = pricing.value_of(line, spoiled, given + sound)
    if each.reason in OURS:
        return for_sound + for_spoiled
    kept_back = for_sound * found.restocking_percent + for_spoiled * found.damaged_percent
    return for_sound + for_spoiled - kept_back // 100


def _nothing_stays(order: Order, found: Return, accepted: Mapping[int, int]) -> bool:
    coming = {each.line: each.quantity for each in found.lines}
    return all(
        line.quantity - line.cancelled
        == line.returned - coming.get(line.number, 0) + accepted.get(line.number, 0) + line.credited
        for line in order.lines
    )


# ---- items and views -------------------------------------------------------------------------------------------------


def put_return(table: Table, seen: Return | None, after: Return) -> Write:
    """The action that writes a return, or fails when somebody changed it since ``seen``."""
    if seen is None:
        return table.put("return", _to_item(after))
    item = _to_item(replace(after, version=seen.version + 1))
    return table.put("return", item, "version = :seen", values={":seen": seen.version})


def return_key(order_id: str, number: int) -> tuple[str, str]:
    """Where a return stands."""
    return order_key(order_id), f"RETURN#{number:03d}"


def _to_item(found: Return) -> Item:
    pk, sk = return_key(found.order_id, found.number)
    item: Item = {
        "pk": pk,
        "sk": sk,
        "entity": "return",
        "number": found.number,
        "status": str(found.status),
        "lines": [{"line": line.line, "quantity": line.quantity, "reason": line.reason} for line in found.lines],
        "requested_by": found.requested_by,
        "requested_at": found.requested_at,
        "deadline": found.deadline,
        "label_paid_by": found.label_paid_by,
        "version": found.version,
    }
    label = found.label
    optional = {
        "exchange": dict(found.exchange),
        "restocking_percent": found.restocking_percent,
        "damaged_percent": found.damaged_percent,
        "facility": found.facility,
        "carrier_shipment_id": found.carrier_shipment_id,
        "label": label and {name: getattr(label, name) for name in ReturnLabel.__slots__},
        "graded": {grade: dict(units) for grade, units in found.graded.items()},
        "worth": found.worth,
        "refunded": found.refunded,
        "exchange_order": found.exchange_order,
    }
    item.update({key: value for key, value in optional.items() if value})
    if found.status in OURS_TO_DO:
        item |= {"work_queue": RETURN_QUEUE, "work_rank": f"{found.deadline}#{found.return_id}"}
    return item


def return_from_item(item: Item) -> Return:
    """The inverse of what ``put_return`` writes."""
    return Return(
        order_id=item["pk"].removeprefix("ORDER#"),
        number=item["number"],
        status=ReturnStatus(item["status"]),
        lines=tuple(ReturnLine(**line) for line in item["lines"]),
        requested_by=item["requested_by"],
        requested_at=item["requested_at"],
        deadline=item["deadline"],
        exchange=item.get("exchange", {}),
        restocking_percent=item.get("restocking_percent", 0),
        damaged_percent=item.get("damaged_percent", 0),
        label_paid_by=item["label_paid_by"],
        facility=item.get("facility", ""),
        carrier_shipment_id=item.get("carrier_shipment_id", ""),
        label=ReturnLabel(**item["label"]) if "label" in item else None,
        graded=item.get("graded", {}),
        worth=item.get("worth", 0),
        refunded=item.get("refunded", 0),
        exchange_order=item.get("exchange_order", ""),
        version=item["version"],
    )


def return_view(found: Return) -> dict[str, Any]:
    """A return as its customer, the agents and the warehouse see it."""
    label = found.label
    return {
        "return_id": found.return_id,
        "order_id": found.order_id,
        "number": found.number,
        "status": found.status.value,
        "requested_at": found.requested_at,
        "deadline": found.deadline if found.status in OPEN else None,
        "lines": [{"line": line.line, "quantity": line.quantity, "reason": line.reason} for line in found.lines],
        "exchange": [{"sku": sku, "quantity": units} for sku, units in found.exchange.items()],
        "facility": found.facility or None,
        "label": label
        and {
            "carrier": label.carrier,
            "tracking_number": label.tracking_number,
            "url": label.url,
            "amount": label.amount,
            "currency": label.currency,
        },
        "received": {grade: dict(units) for grade, units in found.graded.items()},
        "worth": found.worth,
        "refunded": found.refunded,
        "exchange_order": found.exchange_order or None,
    }
