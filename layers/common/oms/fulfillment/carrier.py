"""What a carrier must be able to do, in words that are ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class CarrierUnavailable(Exception):
    """No usable answer; whether a label was bought is unknown until the carrier is asked."""


class CarrierRefused(Exception):
    """The carrier understood and said no: a bad address, a parcel too heavy."""


@dataclass(frozen=True, slots=True)
class Address:
    """A postal address; ``country`` is ISO 3166 alpha-2."""

    name: str
    line1: str
    city: str
    postal_code: str
    country: str
    line2: str = ""
    region: str = ""
    phone: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is put on the scale: grams, and millimetres for length, width and height."""

    weight_grams: int
    length_mm: int = 200
    width_mm: int = 150
    height_mm: int = 100


@dataclass(frozen=True, slots=True)
class CustomsItem:
    """Goods of one kind in a parcel that crosses a border. ``value`` is minor units for all of them together, and
    ``weight_grams`` is for all of them too; ``origin_country`` is where they were made."""

    description: str
    quantity: int
    value: int
    currency: str
    weight_grams: int
    hs_code: str
    origin_country: str


@dataclass(frozen=True, slots=True)
class Customs:
    """What customs are told of a parcel; ``signer`` answers for it."""

    items: tuple[CustomsItem, ...]
    signer: str


@dataclass(frozen=True, slots=True)
class Rate:
    """An offer. ``amount`` is minor units of ``currency``."""

    id: str
    carrier: str
    service: str
    amount: int
    currency: str
    delivery_days: int | None


@dataclass(frozen=True, slots=True)
class Quote:
    """A carrier's shipment with its offers: costs nothing, and its id finds a label again after a crash."""

    carrier_shipment_id: str
    rates: tuple[Rate, ...]
    label: Label | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """A bought label."""

    carrier_shipment_id: str
    carrier: str
    service: str
    tracking_number: str
    tracker_id: str
    label_url: str
    amount: int
    currency: str


class TrackingStatus(StrEnum):
    """Where a parcel is, in words that every carrier's are mapped to."""

    UNKNOWN = "unknown"
    LABEL_CREATED = "label_created"
    IN_TRANSIT = "in_transit"
    OUT_FOR_DELIVERY = "out_for_delivery"
    AVAILABLE_FOR_PICKUP = "available_for_pickup"
    ATTEMPT_FAILED = "attempt_failed"
    EXCEPTION = "exception"
    DELIVERED = "delivered"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A parcel as its carrier last saw it. ``at`` is RFC 3339 text as the carrier tells it; codes are reused after a
    while, so ``tracker_id`` names the parcel and ``tracking_number`` does not."""

    tracker_id: str
    tracking_number: str
    status: TrackingStatus
    detail: str
    at: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A carrier's list of the parcels that it takes in one go."""

    manifest_id: str
    form_url: str
    tracking_numbers: tuple[str, ...]


class Carrier(Protocol):
    """Calls raise ``CarrierUnavailable`` or ``CarrierRefused``."""

    def quote(
        self,
        reference: str,
        origin: Address,
        destination: Address,
        parcel: Parcel,
        *,
        customs: Customs | None = None,
        is_return: bool = False,
    ) -> Quote:
        """Make the carrier's shipment under our ``reference`` and read its rates.

        ``is_return`` asks for the label with which ``destination`` sends the parcel back to ``origin``: the addresses
        are given as for the way there.
        """
        ...

    def find(self, carrier_shipment_id: str) -> Quote:
        """The shipment as the carrier shows it now, with its label if one was bought."""
        ...

    def buy(self, carrier_shipment_id: str, rate_id: str) -> Label:
        """Buy the label; a shipment that has one already answers with that one, never with a second."""
        ...

    def void(self, carrier_shipment_id: str) -> None:
        """Ask the money for an unused label back; repeating is harmless."""
        ...

    def sighting(self, tracker_id: str) -> Sighting:
        """Where the parcel is now."""
        ...

    def manifest(self, carrier_shipment_ids: Sequence[str]) -> Manifest:
        """List labelled parcels for the driver. A shipment can be on one manifest only: when one of them is on one
        already, that manifest is answered."""
        ...
