"""What a sales channel must be able to do, and the shapes that cross the border."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
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


@dataclass(frozen=True, slots=True)
class Notice:
    """What a verified callback says: something happened to this order. Thin on purpose: the order is fetched, unless
    the callback itself brought it."""

    kind: str
    """``order.created``, ``order.cancelled`` or ``order.shipped``; other events are not reported."""
    external_id: str
    event_id: str
    order: ExternalOrder | None = None


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


class Channel(Protocol):
    """One sales channel. Calls raise ``ChannelUnavailable`` / ``ChannelThrottled`` / ``ChannelRefused``."""

    name: str
    limits: Limits

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
