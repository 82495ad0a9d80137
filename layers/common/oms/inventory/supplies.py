"""Units that are ours, or will be, and are not at our facilities: on their way, at vendors, at retailers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from oms.inventory.model import Movement
from oms.inventory.store import DynamoInventory, sku_key
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Item, Write

EN_ROUTE, AT_VENDOR, AT_RETAILER, PURCHASED, IN_TRANSIT = "en_route", "at_vendor", "at_retailer", "purchase", "transfer"
COMING = frozenset({EN_ROUTE, AT_VENDOR, PURCHASED, IN_TRANSIT})
"""Kinds whose units come to us by themselves; a retailer's do not."""
CONSIGNED = frozenset({"consign", "consign_sold", "consign_return"})


@dataclass(frozen=True, slots=True)
class Supply:
    """So many units of a SKU, with whom they are and when they are expected."""

    supply_id: str
    kind: str
    quantity: int
    party: str = ""
    expected_at: str = ""

    def view(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "supply": self.supply_id,
            "kind": self.kind,
            "quantity": self.quantity,
            "party": self.party or None,
            "expected_at": self.expected_at or None,
        }


def supply_key(sku: str, supply_id: str) -> tuple[str, str]:
    """Where a supply stands: beside the stock of its SKU."""
    return sku_key(sku), f"SUPPLY#{supply_id}"


def supplies_of(inventory: DynamoInventory, sku: str) -> list[Supply]:
    """What is outside, the earliest expected first, what nobody dated last."""
    found = [_supply(item) for item in inventory.table.query(sku_key(sku), "SUPPLY#")]
    return sorted((each for each in found if each.quantity), key=lambda each: (each.expected_at or "~", each.supply_id))


def put_supply(inventory: DynamoInventory, sku: str, supply: Supply, now: datetime) -> Write:
    """The action that writes a supply as it is now, or takes it away when nothing is left of it."""
    key = supply_key(sku, supply.supply_id)
    if not supply.quantity:
        return inventory.table.delete("supply", key, None)
    item = {
        "pk": key[0],
        "sk": key[1],
        "entity": "supply",
        "sku": sku,
        "supply_id": supply.supply_id,
        "kind": supply.kind,
        "quantity": supply.quantity,
        "party": supply.party,
        "expected_at": supply.expected_at,
        "updated_at": to_text(now),
    }
    return inventory.table.put("supply", item, None)


def consigned(inventory: DynamoInventory, movement: Movement) -> Write:
    """The action that changes what a retailer has of ours, or fails when that is too little."""
    change = movement.quantity if movement.kind == "consign" else -movement.quantity
    values = {
        ":entity": "supply",
        ":sku": movement.sku,
        ":id": f"retailer.{movement.party}",
        ":kind": AT_RETAILER,
        ":party": movement.party,
        ":none": "",
        ":zero": 0,
        ":change": change,
        ":now": to_text(movement.at),
    }
    if change < 0:
        values[":least"] = -change
    return inventory.table.update(
        "supply",
        supply_key(movement.sku, f"retailer.{movement.party}"),
        "SET entity = :entity, sku = :sku, supply_id = :id, kind = :kind, party = :party, expected_at = :none, "
        "quantity = if_not_exists(quantity, :zero) + :change, updated_at = :now",
        "quantity >= :least" if change < 0 else None,
        values=values,
    )


def expected_for(supplies: Sequence[Supply], waiting: int) -> str:
    """When the last of so many waiting units should be here; empty when what is on its way does not suffice or has no
    date."""
    for supply in supplies:
        if supply.kind not in COMING or not supply.expected_at:
            continue
        waiting -= supply.quantity
        if waiting <= 0:
            return supply.expected_at
    return ""


def _supply(item: Item) -> Supply:
    return Supply(item["supply_id"], item["kind"], item["quantity"], item["party"], item["expected_at"])
