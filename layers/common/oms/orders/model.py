"""Orders in the trade's words: lines, totals, holds, payment summary, and the legal moves between states."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

_NAMESPACE = uuid.UUID("9f6b0c1e-5f0a-5d0e-9c3b-6a1d2f7e4b58")


class Status(StrEnum):
    """Where an order stands. Payment and shipments are machines of their own; none implies another."""

    PLACED = "placed"
    CONFIRMED = "confirmed"
    IN_FULFILLMENT = "in_fulfillment"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


# Money that arrives for an expired order may take its stock again: hence expired → confirmed.
NEXT: Mapping[Status, frozenset[Status]] = {
    Status.PLACED: frozenset({Status.CONFIRMED, Status.CANCELLED, Status.EXPIRED}),
    Status.CONFIRMED: frozenset({Status.IN_FULFILLMENT, Status.CANCELLED}),
    Status.IN_FULFILLMENT: frozenset({Status.COMPLETED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.EXPIRED: frozenset({Status.CONFIRMED}),
}

HOLD_KINDS = frozenset({"payment", "fraud", "address", "inventory", "operator", "dispute"})

OPEN = frozenset({Status.PLACED, Status.CONFIRMED, Status.IN_FULFILLMENT})
"""States in which an order's undispatched units are promised."""


class IllegalTransition(Exception):
    """A move that the table does not allow: a defect in our code, never the caller's mistake."""


class Effect(StrEnum):
    """Work outside the database that an order's state calls for. Written with the change that causes it, taken off
    by the change that proves it done, and carried out by whoever the stream (or, later, the sweep) wakes."""

    START_FULFILLMENT = "start_fulfillment"
    STOP_FULFILLMENT = "stop_fulfillment"
    CANCEL_INTENT = "cancel_intent"
    REFUND = "refund"
    READ_AUTHORIZATION = "read_authorization"
    SECURE_AUTHORIZATION = "secure_authorization"
    SUBMIT_EVIDENCE = "submit_evidence"
    CONFIRM_SHIPMENT = "confirm_shipment"
    VOID_LABEL = "void_label"
    RELEASE_STOCK = "release_stock"
    RETURN_CREDIT = "return_credit"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``discount`` and ``tax`` are for the whole line, and tax is on what the discount leaves of the price;
    ``parts`` is what one unit takes from stock when it is a kit."""

    number: int
    sku: str
    quantity: int
    unit_price: int
    discount: int = 0
    tax: int = 0
    cancelled: int = 0
    shipped: int = 0
    returned: int = 0
    """Shipped units that a return claims or has brought back."""
    credited: int = 0
    """Shipped units whose price was given back without a return."""
    parts: Mapping[str, int] = field(default_factory=dict)
    external_id: str = ""

    @property
    def open(self) -> int:
        """Units still owed to the customer."""
        return self.quantity - self.cancelled - self.shipped

    @property
    def kept(self) -> int:
        """Shipped units that were neither sent back nor paid back."""
        return self.shipped - self.returned - self.credited

    def units(self, quantity: int) -> dict[str, int]:
        """The stocked units behind ``quantity`` of this line."""
        if not self.parts:
            return {self.sku: quantity}
        return {part: each * quantity for part, each in self.parts.items()}


@dataclass(frozen=True, slots=True)
class Totals:
    """Minor units of the order's currency; ``total`` is what the customer owes. ``discount`` is the lines' discounts
    and what an exchange's return was worth."""

    items: int
    shipping: int
    tax: int
    discount: int = 0

    @property
    def total(self) -> int:
        return self.items + self.shipping + self.tax - self.discount


ON_SHIPMENT = "on_shipment"
"""The capture mode in which money is only authorised when the order is paid, and taken as its parcels leave."""
RENEW = "renew"
"""What happens to an authorisation that would lapse: it is renewed, not taken early."""


@dataclass(frozen=True, slots=True)
class Payment:
    """The ledger's sums, written in the transaction that writes the entry they come from."""

    status: str = "none"
    """none, pending, processing, authorized, credit, captured, partially_refunded, refunded, failed, cancelled,
    disputed."""
    provider: str = ""
    intent: str = ""
    authorized: int = 0
    """Set aside by the customer's bank and neither taken nor let go yet."""
    captured: int = 0
    refunded: int = 0
    refund_due: int = 0
    """Asked for and not yet given back, failed attempts included."""
    disputed: int = 0
    """Taken back by banks, while a dispute lasts or for good."""
    credit: int = 0
    """Granted by an invoice on terms and not paid yet."""
    conceded: int = 0
    """What the customer need not pay of the total, the goods staying theirs: goodwill."""
    capture: str = ""
    """``on_shipment``, or empty: taken when it is paid."""
    authorized_until: str = ""
    """When the open authorisation lapses, RFC 3339; empty without one."""
    renew: bool = False
    """Whether its authorisation is renewed before it lapses, not taken early: its card was kept for that."""
    due_at: str = ""
    """By when an invoice is to be paid."""

    @property
    def settled(self) -> int:
        """Money we have, or have given credit for, less what goes back."""
        return self.captured + self.credit - self.refunded - self.refund_due - self.disputed

    @property
    def covers(self) -> int:
        """Money that stands behind the order: settled, or authorised and still to be taken."""
        return self.settled + self.authorized


@dataclass(frozen=True, slots=True)
class Hold:
    """Why an order must not move on, who has to act, and by when. Times are RFC 3339 text."""

    reason: str
    owner: str
    since: str
    deadline: str


@dataclass(frozen=True, slots=True)
class Backordered:
    """Units of a line that were sold before they were there, and when they should come (RFC 3339 text, empty when
    nothing dated is on its way): what the customer was told when the order was made."""

    line: int
    quantity: int
    expected_at: str = ""


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A coupon that an order carries: what it took off the goods and off the shipping, and where its use is counted."""

    code: str
    discount: int
    shipping: int
    stripe: int
    counted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewarded:
    """A reward that came with an order as a gift: whose it is, for which milestone, and on which line."""

    customer_id: str
    milestone: str
    line: int


@dataclass(frozen=True, slots=True)
class Order:
    """One order. ``version`` counts its changes and numbers its history."""

    order_id: str
    channel: str
    status: Status
    customer: Mapping[str, str]
    address: Mapping[str, str]
    lines: tuple[Line, ...]
    currency: str
    totals: Totals
    payment: Payment
    placed_at: str
    expires_at: str
    request_digest: bytes = b""
    external_id: str = ""
    shipping_method: str = "standard"
    note: str = ""
    gift: Mapping[str, str] = field(default_factory=dict)
    """Not empty for a gift: how to ``wrap`` it, and the ``message`` that goes with it."""
    priority_score: int = 0
    priority_codes: str = ""
    priority_rules: int = 0
    """The version of the rules that gave the codes; 0 for what holds until somebody writes rules."""
    orders_before: int | None = None
    """How many orders the customer had when this one was placed; None when nobody knew."""
    promised_for: str = ""
    """The day on which the customer was told to have it, such as ``2026-12-24``; empty when no day was."""
    holds: Mapping[str, Hold] = field(default_factory=dict)
    oversold: Mapping[str, int] = field(default_factory=dict)
    """Units by SKU that were promised and that there is no stock for: sold by a marketplace or on backorder, or not
    found by a picker."""
    backordered: tuple[Backordered, ...] = ()
    """What our own customer was told has to be waited for. It stays as it was told; ``waiting`` says how it stands."""
    effects: tuple[Effect, ...] = ()
    redriven: int = 0
    runs: int = 0
    """How often fulfilment began anew after it had stopped: names the order's latest workflow run."""
    shipments: int = 0
    backordered_at: str = ""
    """Since when a remainder waits for stock while the rest goes ahead."""
    delivered_at: str = ""
    """When the last of its parcels reached its door; empty as long as one has not."""
    returns: int = 0
    """How many returns were asked for: numbers the next one."""
    collect_by: str = ""
    """Until when parcels wait at a counter for their customer; empty when none does."""
    collect_remind_at: str = ""
    """When the customer is reminded of them; empty once that has been done."""
    return_deadline: str = ""
    """By when somebody has to do something about an open return; empty when none is open."""
    exchange_of: str = ""
    """The return that this order is the exchange for; its discount is what the return was worth."""
    moved_credit: int = 0
    """Minor units of what was captured that pay for exchanges: not to be given back once more."""
    counter: str = ""
    """The store in which its goods were handed over when it was sold; empty when they are sent or collected later."""
    taken_at: str = ""
    """When it was sold by the clock of a till that tells us later; ``placed_at`` is always ours."""
    coupons: tuple[Redeemed, ...] = ()
    """As they were redeemed; an order that ended before anything left has given them back."""
    rewards: tuple[Rewarded, ...] = ()
    """Gifts that were earned before; they wait for another order when this one ends before anything left."""
    chunks: int = 0
    """Into how many reservations a very large order's stock was split; 0 when it was taken with the order."""
    committed: bool = True
    """False while a very large order is still taking its stock: to everybody else it does not exist yet."""
    version: int = 0
    head: bytes = b""
    """The hash of the latest event."""

    @property
    def bought(self) -> tuple[Line, ...]:
        """The lines without those of gifts."""
        given = {reward.line for reward in self.rewards}
        return tuple(line for line in self.lines if line.number not in given)

    def moved_to(self, status: Status) -> Order:
        """The order in another state. Raises ``IllegalTransition``."""
        if status not in NEXT[self.status]:
            raise IllegalTransition(f"{self.status} → {status}")
        return replace(self, status=status)

    def with_effects(self, *effects: Effect) -> Order:
        """The order with more outside work due."""
        return replace(self, effects=tuple(dict.fromkeys((*self.effects, *effects))))

    def without_effect(self, effect: Effect) -> Order:
        """The order with one piece of outside work done."""
        return replace(self, effects=tuple(kept for kept in self.effects if kept is not effect))

    def promised(self) -> dict[str, int]:
        """Units by SKU that this order still holds, oversold ones included; none unless it is open."""
        if self.status not in OPEN:
            return {}
        return self.owed()

    def owed(self) -> dict[str, int]:
        """Units by SKU on lines neither cancelled nor shipped, whatever the state."""
        total: dict[str, int] = {}
        for line in self.lines:
            for sku, units in line.units(line.open).items():
                total[sku] = total.get(sku, 0) + units
        return dict(sorted((sku, units) for sku, units in total.items() if units))

    def waiting(self) -> dict[int, int]:
        """Units by line that there is no stock for: the first lines are served first."""
        left, lacking = dict(self.oversold), dict[int, int]()
        for line in reversed(self.lines):
            for sku, each in line.units(1).items():
                missing = min(left.get(sku, 0), each * line.open)
                if missing:
                    left[sku] -= missing
                    lacking[line.number] = max(lacking.get(line.number, 0), -(-missing // each))
        return dict(sorted(lacking.items()))

    def held_stock(self) -> dict[str, int]:
        """Units by SKU that were really taken from ``available`` for what is still owed."""
        return {sku: units - self.oversold.get(sku, 0) for sku, units in self.owed().items()}


def order_id_for(channel: str, key: str) -> str:
    """The id of the order that this channel's key stands for: a retry meets its own order."""
    return str(uuid.uuid5(_NAMESPACE, f"{channel}\x1f{key}"))


def home_seed(order_id: str) -> int:
    """A number spread evenly over orders, for choosing stripes and index shards."""
    return int.from_bytes(hashlib.blake2s(order_id.encode(), digest_size=4).digest(), "big")


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of an order's history. ``data`` holds no personal data: history outlives the person's erasure."""

    type: str
    actor: str
    cause: str
    data: Mapping[str, Any] = field(default_factory=dict)
