"""What a sales channel must be able to do, and the shapes that cross the border."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from oms.runtime.outbound import HttpResponse


class SignatureInvalid(Exception):
    """A callback whose sender cannot be proven; the message says which check failed, never the secret."""


class ChannelUnavailable(Exception):
    """The channel did not answer, or answered 5xx: try the whole call again later."""


class ChannelThrottled(ChannelUnavailable):
    """The channel asked for a pause. ``retry_after`` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ChannelRefused(Exception):
    """The channel understood and said no: repeating the same call is pointless."""


@dataclass(frozen=True, slots=True)
class Callback:
    """An incoming callback as received: raw body, lower-case header names."""

    method: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ExternalLine:
    """One line of a channel's order. ``unit_price`` is in minor units."""

    external_line_id: str
    sku: str
    title: str
    quantity: int
    unit_price: int


@dataclass(frozen=True, slots=True)
class ExternalAddress:
    """Where the buyer wants it. Channels may withhold parts, so only the country is certain."""

    name: str
    line1: str
    city: str
    postal_code: str
    country: str
    line2: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class ExternalOrder:
    """A channel's order in our words. Amounts are minor units of ``currency``; times are aware UTC."""

    external_id: str
    buyer_id: str
    buyer_name: str
    buyer_email: str | None
    address: ExternalAddress
    lines: tuple[ExternalLine, ...]
    currency: str
    items_total: int
    shipping_total: int
    tax_total: int
    discount_total: int
    grand_total: int
    paid: bool
    cancelled: bool
    placed_at: datetime
    updated_at: datetime
    refunded_total: int = 0
    """What the channel gave back to the buyer, all refunds together."""
    fees: int = 0
    """What the channel charges us for the sale, where the order itself tells."""
    reserves: bool = False
    """Not paid yet, and yet the channel has taken the units off sale: they must not be sold to anybody else."""
    lines_show_what_is_left: bool = False
    """Units that were cancelled or taken back on the channel are gone from the lines."""
    promised_for: str = ""
    """The day on which the buyer was told to have it, or, where the channel tells only that, by which it must leave."""


def promised_day(moments: Iterable[datetime]) -> str:
    """The first of the days, in UTC, on which something was promised; empty when nothing was."""
    return min((moment.astimezone(UTC).date().isoformat() for moment in moments), default="")


@dataclass(frozen=True, slots=True)
class PersonDemand:
    """What the law lets a person, or a shop that leaves, demand through the channel.

    ``kind`` is ``erase`` or ``report``. Whom it concerns: buyers and orders as the channel names them.
    """

    kind: str
    buyer_ids: tuple[str, ...] = ()
    order_ids: tuple[str, ...] = ()
    everybody: bool = False
    """All who bought there."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a verified callback says: something happened to this order. Thin on purpose: the order is fetched, unless
    the callback itself brought it."""

    kind: str
    """``order.created``, ``order.cancelled`` or ``order.shipped``; other events are not reported."""
    external_id: str
    event_id: str
    order: ExternalOrder | None = None
    demand: PersonDemand | None = None
    """Set when the callback is about a person's data and not about an order."""


@dataclass(frozen=True, slots=True)
class ListingRef:
    """How the channel knows a SKU: Etsy's listing id, eBay's offer id."""

    sku: str
    listing_id: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """The absolute quantity that a listing should show, and why.

    ``seen`` is what it showed when that was decided, if it was read: a channel with compare-and-set changes the
    listing only from there. ``version`` is that of the stock behind the number.
    """

    listing: ListingRef
    quantity: int
    seen: int | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class RowResult:
    """The channel's word on one row of a push. A 200 for the call says nothing about the row."""

    sku: str
    accepted: bool
    quantity: int
    """What the channel shows now, as far as its answer tells: may be clamped below what was asked."""
    detail: str = ""
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class ShippedParcel:
    """What the channel is told of a parcel. ``lines`` maps the channel's line id to the quantity inside."""

    carrier: str
    tracking_number: str
    shipped_at: datetime
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the channel can take. ``max_quantity`` is the largest number one listing may show."""

    batch_size: int
    max_quantity: int
    requests_per_second: float
    requests_per_day: int = 0
    """0 where no number is published; what the channel's answers say replaces it."""
    calls_per_batch: int = 2
    """Reading and setting a batch."""
    calls_per_row: int = 0
    """What each row of a batch costs beside that."""
    revisions_per_day: int = 0
    """How often one listing may be changed in a calendar day; 0 is as often as one likes."""
    orders_lag: timedelta = timedelta(0)
    """How long an order stays unseen by ``orders_since``."""

    def calls(self, rows: int) -> int:
        """What a push of so many rows costs in calls."""
        return self.calls_per_batch + self.calls_per_row * rows


@dataclass(frozen=True, slots=True)
class Quota:
    """What the channel's latest answers said of its limits; 0 and None where they said nothing."""

    per_second: float = 0.0
    per_day: int = 0
    remaining_today: int | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a channel's contract lets the seller do to an order by its API."""

    cancels: bool = False
    refunds: bool = False


class Reason(StrEnum):
    """Why an order is cancelled or money given back, for the channel's own vocabulary."""

    BUYER_ASKED = "buyer_asked"
    OUT_OF_STOCK = "out_of_stock"
    RETURNED = "returned"
    OTHER = "other"


class Channel(Protocol):
    """One sales channel. Calls raise ``ChannelUnavailable`` / ``ChannelThrottled`` / ``ChannelRefused``."""

    name: str
    limits: Limits
    capabilities: Capabilities

    def quota(self) -> Quota:
        """What the channel's latest answers said of its limits."""
        ...

    def challenge(self, callback: Callback) -> HttpResponse | None:
        """The answer to an endpoint-ownership challenge, or None when this is not one."""
        ...

    def read_callback(self, callback: Callback, now: datetime) -> Sequence[Notice]:
        """Verify the sender on the raw body, then say what happened. Raises ``SignatureInvalid``."""
        ...

    def fetch_order(self, external_id: str) -> ExternalOrder | None:
        """The order as the channel shows it now; None when the channel does not know it."""
        ...

    def orders_since(self, since: datetime) -> Iterable[ExternalOrder]:
        """Orders changed since then, oldest change first, every page."""
        ...

    def read_quantities(self, listings: Sequence[ListingRef]) -> Mapping[str, int]:
        """What each listing shows now, by SKU; a listing the channel does not know is absent."""
        ...

    def push_quantities(self, rows: Sequence[Quantity]) -> Sequence[RowResult]:
        """Set absolute quantities, at most ``limits.batch_size`` rows; one result a row, in the rows' order."""
        ...

    def confirm_shipment(self, external_id: str, parcel: ShippedParcel) -> None:
        """Tell the buyer's marketplace that a parcel left. Safe to repeat: reads before it writes."""
        ...

    def cancel_order(self, external_id: str, reason: Reason) -> None:
        """Cancel the whole order there; the channel gives the money back. Again is harmless.

        Raises ``ChannelRefused`` where the contract has no such thing: see ``capabilities``.
        """
        ...

    def refund_up_to(self, external_id: str, total: int, reason: Reason) -> None:
        """Give back so much that all refunds of the order together are ``total``, in minor units of its currency.

        A sum, so that repeating it gives nothing twice. Raises ``ChannelRefused`` where the contract has no such thing.
        """
        ...
