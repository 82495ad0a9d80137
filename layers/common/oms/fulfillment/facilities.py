"""Facilities: where parcels leave from, what lies there, and what turns out to be missing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from oms.fulfillment.carrier import Address
from oms.inventory.store import DynamoInventory, sku_key
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Write

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


def bins(inventory: DynamoInventory, facility: str, skus: Iterable[str]) -> dict[str, str]:
    """The bin in which each SKU lies at a facility; SKUs without one are absent."""
    items = inventory.table.batch_get([(sku_key(sku), f"LOCATION#{facility}") for sku in skus])
    return {item["sku"]: item["bin"] for item in items if item.get("bin")}


def free_units(inventory: DynamoInventory, skus: Iterable[str]) -> dict[str, dict[str, int]]:
    """Units by facility and SKU that no parcel claims yet."""
    free: dict[str, dict[str, int]] = {}
    for sku in skus:
        for facility, place in inventory.locations(sku).items():
            units = place.on_hand - place.damaged - place.allocated
            if units > 0:
                free.setdefault(facility, {})[sku] = units
    return free


@dataclass(frozen=True, slots=True)
class Loss:
    """Allocated units that are not there, and ``freed`` further ones of the SKU that are set free with them."""

    sku: str
    facility: str
    quantity: int
    freed: int = 0


def write_off(
    inventory: DynamoInventory, loss: Loss, *, reason: str, actor: str, cause: str, now: datetime
) -> list[Write]:
    """The actions that take a loss off the books, with the movement that says why."""
    at = to_text(now)
    place = inventory.table.update(
        f"write off {loss.sku}",
        (sku_key(loss.sku), f"LOCATION#{loss.facility}"),
        "SET on_hand = on_hand - :lost, allocated = allocated - :both, unallocated = unallocated + :freed, "
        "updated_at = :now",
        "allocated >= :both AND on_hand >= :lost",
        values={":lost": loss.quantity, ":freed": loss.freed, ":both": loss.quantity + loss.freed, ":now": at},
    )
    movement_id = hashlib.sha256(f"{cause}\x1f{loss.sku}".encode()).hexdigest()[:20]
    movement = {
        "pk": sku_key(loss.sku),
        "sk": f"MOVEMENT#{at}#{movement_id}",
        "entity": "movement",
        "movement_id": movement_id,
        "type": "short",
        "sku": loss.sku,
        "quantity": loss.quantity,
        "change": -loss.quantity,
        "facility": loss.facility,
        "bin": "",
        "reason": reason,
        "actor": actor,
        "at": at,
    }
    return [place, inventory.table.put("journal", movement)]


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
