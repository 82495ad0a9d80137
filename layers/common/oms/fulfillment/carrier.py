"""What a carrier must be able to do, in words that are ours."""

from __future__ import annotations

from dataclasses import dataclass
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


class Carrier(Protocol):
    """Calls raise ``CarrierUnavailable`` or ``CarrierRefused``."""

    def quote(self, reference: str, origin: Address, destination: Address, parcel: Parcel) -> Quote:
        """Make the carrier's shipment under our ``reference`` and read its rates."""
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
