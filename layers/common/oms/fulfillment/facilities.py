"""Facilities: where parcels leave from and when, how much they can do in a day, what lies there, and what turns out
to be missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from oms.fulfillment.calendars import Calendar
from oms.fulfillment.carrier import Address
from oms.inventory.model import DOCK
from oms.inventory.store import DynamoInventory
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Item, Write

DEFAULT_FACILITY = "main"
WAREHOUSE, STORE, VENDOR = KINDS = ("warehouse", "store", "vendor")
_COUNTED_FOR = timedelta(days=35)
_LIST = "FACILITIES"


@dataclass(frozen=True, slots=True)
class Facility:
    """A warehouse, a store, or a vendor who sends for us. ``daily_orders`` and ``daily_units`` are what it can do in a
    day; ``cost`` is minor units for each parcel; ``point`` is latitude and longitude."""

    code: str
    address: Address
    kind: str = WAREHOUSE
    calendar: Calendar = field(default_factory=Calendar)
    daily_orders: int | None = None
    daily_units: int | None = None
    ships: bool = True
    pickup: bool = False
    active: bool = True
    cost: int = 0
    point: tuple[float, float] | None = None
    email: str = ""
    """Where a vendor is told what to send."""

    @property
    def limited(self) -> bool:
        """Whether a day there can be full."""
        return self.daily_orders is not None or self.daily_units is not None


class FacilityUnknown(Exception):
    """Parcels are to leave from a facility whose address nobody entered."""


def facility_key(code: str) -> str:
    """The partition of a facility."""
    return f"FACILITY#{code}"


def put_facility(inventory: DynamoInventory, address: Address, now: datetime, code: str = DEFAULT_FACILITY) -> None:
    """Create or replace a plain warehouse that is always open; ``address`` is what carriers print as the sender."""
    save_facility(inventory, Facility(code, address), now)


def save_facility(inventory: DynamoInventory, facility: Facility, now: datetime) -> None:
    """Create or replace a facility, and list it."""
    item = {
        "pk": facility_key(facility.code),
        "sk": "FACILITY",
        "entity": "facility",
        **_facility_to_item(facility),
        "updated_at": to_text(now),
    }
    listed = {"pk": _LIST, "sk": facility.code, "entity": "facility_listed", "code": facility.code}
    inventory.table.transact([inventory.table.put("facility", item, None), inventory.table.put("listed", listed, None)])


def facility_codes(inventory: DynamoInventory) -> list[str]:
    """Every facility that was entered."""
    return [item["code"] for item in inventory.table.query(_LIST, "")]


def facilities(inventory: DynamoInventory, codes: Iterable[str]) -> dict[str, Facility]:
    """Facilities by code; those that nobody entered are absent."""
    items = inventory.table.batch_get([(facility_key(code), "FACILITY") for code in sorted(set(codes))])
    return {item["code"]: _facility(item) for item in items}


def facility_address(inventory: DynamoInventory, code: str) -> Address:
    """Where parcels of a facility come from. Raises ``FacilityUnknown``."""
    found = facilities(inventory, [code]).get(code)
    if found is None:
        raise FacilityUnknown(f"facility {code} has no address: enter it with put_facility")
    return found.address


def has_room(inventory: DynamoInventory, facility: Facility, day: date, units: int) -> bool:
    """Whether a facility can take one more parcel of so many units on a day. ``claim_room`` is the guard."""
    if not facility.limited:
        return True
    item = inventory.table.get(facility_key(facility.code), _day_sk(day)) or {}
    orders_fit = facility.daily_orders is None or int(item.get("orders", 0)) < facility.daily_orders
    return orders_fit and (facility.daily_units is None or int(item.get("units", 0)) + units <= facility.daily_units)


def claim_room(inventory: DynamoInventory, facility: Facility, day: date, parcels: int, units: int) -> Write:
    """The action that takes so many parcels of a day's capacity, or fails when it is full. Room is not given back: what
    was planned and cancelled has cost the floor its time."""
    conditions = []
    values: dict[str, Any] = {":parcels": parcels, ":units": units, ":ttl": _ends(day), ":entity": "facility_day"}
    if facility.daily_orders is not None:
        conditions.append("(attribute_not_exists(orders) OR orders <= :orders_left)")
        values[":orders_left"] = facility.daily_orders - parcels
    if facility.daily_units is not None:
        conditions.append("(attribute_not_exists(units) OR units <= :units_left)")
        values[":units_left"] = facility.daily_units - units
    return inventory.table.update(
        f"room {facility.code}",
        (facility_key(facility.code), _day_sk(day)),
        "SET entity = :entity, #ttl = :ttl ADD orders :parcels, units :units",
        " AND ".join(conditions),
        names={"#ttl": "ttl"},
        values=values,
    )


def _day_sk(day: date) -> str:
    return f"DAY#{day.isoformat()}"


def _ends(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() + _COUNTED_FOR.total_seconds())


def _facility_to_item(facility: Facility) -> Item:
    calendar = facility.calendar
    item: Item = {
        "code": facility.code,
        "kind": facility.kind,
        "address": {name: value for name in Address.__slots__ if (value := getattr(facility.address, name))},
    }
    optional: dict[str, Any] = {
        "time_zone": calendar.time_zone if calendar.time_zone != "UTC" else "",
        "opening": {day: list(hours) for day, hours in calendar.opening.items()},
        "holidays": sorted(calendar.holidays),
        "cut_offs": dict(calendar.cut_offs),
        "handling_days": dict(calendar.handling_days),
        "cost": facility.cost,
        "pickup": facility.pickup,
        "no_shipping": not facility.ships,
        "closed": not facility.active,
        "email": facility.email,
        # Items hold no floats.
        "point": [str(each) for each in facility.point] if facility.point else None,
    }
    item.update({key: value for key, value in optional.items() if value})
    if facility.daily_orders is not None:
        item["daily_orders"] = facility.daily_orders
    if facility.daily_units is not None:
        item["daily_units"] = facility.daily_units
    return item


def _facility(item: Mapping[str, Any]) -> Facility:
    point = item.get("point")
    return Facility(
        code=item["code"],
        address=Address(**item["address"]),
        kind=item.get("kind", WAREHOUSE),
        calendar=Calendar(
            time_zone=item.get("time_zone", "UTC"),
            opening={day: (hours[0], hours[1]) for day, hours in item.get("opening", {}).items()},
            holidays=frozenset(item.get("holidays", ())),
            cut_offs=item.get("cut_offs", {}),
            handling_days=item.get("handling_days", {}),
        ),
        daily_orders=item.get("daily_orders"),
        daily_units=item.get("daily_units"),
        ships=not item.get("no_shipping", False),
        pickup=item.get("pickup", False),
        active=not item.get("closed", False),
        cost=item.get("cost", 0),
        point=(float(point[0]), float(point[1])) if point else None,
        email=item.get("email", ""),
    )


def facility_view(facility: Facility) -> dict[str, Any]:
    """A facility as staff see it."""
    calendar = facility.calendar
    address = {name: getattr(facility.address, name) for name in Address.__slots__}
    return {
        "facility": facility.code,
        "kind": facility.kind,
        "address": {name: value for name, value in address.items() if value and name not in ("phone", "email")},
        "phone": facility.address.phone or None,
        "email": facility.email or None,
        "time_zone": calendar.time_zone,
        "opening": {day: list(hours) for day, hours in calendar.opening.items()},
        "holidays": sorted(calendar.holidays),
        "cut_offs": dict(calendar.cut_offs),
        "handling_days": dict(calendar.handling_days),
        "daily_orders": facility.daily_orders,
        "daily_units": facility.daily_units,
        "ships": facility.ships,
        "pickup": facility.pickup,
        "active": facility.active,
        "cost": facility.cost,
        "coordinates": list(facility.point) if facility.point else None,
    }


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
