"""Facilities: where parcels leave from, what lies there, and what turns out to be missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from oms.fulfillment.carrier import Address
from oms.inventory.model import DOCK
from oms.inventory.store import DynamoInventory
from oms.runtime.clock import to_text

DEFAULT_FACILITY = "main"


class FacilityUnknown(Exception):
    """Parcels are to leave from a facility whose address nobody entered."""


def facility_key(code: str) -> str:
    """The partition of a facility."""
    return f"FACILITY#{code}"


def put_facility(inventory: DynamoInventory, address: Address, now: datetime, code: str = DEFAULT_FACILITY) -> None:
    """Create or replace a facility; ``address`` is what carriers print as the sender."""
    item = {
        "pk": facility_key(code),
        "sk": "FACILITY",
        "entity": "facility",
        "code": code,
        "address": {name: value for name in Address.__slots__ if (value := getattr(address, name))},
        "updated_at": to_text(now),
    }
    inventory.table.transact([inventory.table.put("facility", item, None)])


def facility_address(inventory: DynamoInventory, code: str) -> Address:
    """Where parcels of a facility come from. Raises ``FacilityUnknown``."""
    item = inventory.table.get(facility_key(code), "FACILITY")
    if item is None:
        raise FacilityUnknown(f"facility {code} has no address: enter it with put_facility")
    return Address(**item["address"])


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of a facility's floor, with the bins in it."""

    code: str
    name: str
    bins: tuple[str, ...]


def put_zone(inventory: DynamoInventory, facility: str, zone: Zone, now: datetime) -> None:
    """Create or replace a zone."""
    item = {
        "pk": facility_key(facility),
        "sk": f"ZONE#{zone.code}",
        "entity": "zone",
        "code": zone.code,
        "name": zone.name,
        "bins": list(zone.bins),
        "updated_at": to_text(now),
    }
    inventory.table.transact([inventory.table.put("zone", item, None)])


def zones(inventory: DynamoInventory, facility: str) -> list[Zone]:
    """A facility's zones, by code."""
    found = inventory.table.query(facility_key(facility), "ZONE#")
    return [Zone(item["code"], item["name"], tuple(item["bins"])) for item in found]


def bins(inventory: DynamoInventory, facility: str, skus: Iterable[str]) -> dict[str, str]:
    """The bin to pick each SKU from at a facility; SKUs that nobody put away are absent."""
    places = inventory.locations_at(facility, skus)
    first = {sku: next(iter(place.pickable), DOCK) for sku, place in places.items()}
    return {sku: name for sku, name in first.items() if name != DOCK}


def free_units(inventory: DynamoInventory, skus: Iterable[str]) -> dict[str, dict[str, int]]:
    """Units by facility and SKU that no parcel claims yet."""
    free: dict[str, dict[str, int]] = {}
    for sku in skus:
        for facility, place in inventory.locations(sku).items():
            units = place.sound - place.allocated
            if units > 0:
                free.setdefault(facility, {})[sku] = units
    return free


def address_of(order_address: Mapping[str, str], customer: Mapping[str, str]) -> Address:
    """An order's address in the carrier's terms."""
    return Address(
        name=order_address["name"],
        line1=order_address["line1"],
        city=order_address["city"],
        postal_code=order_address["postal_code"],
        country=order_address["country"],
        line2=order_address.get("line2", ""),
        region=order_address.get("region", ""),
        phone=customer.get("phone", ""),
        email=customer.get("email", ""),
    )
