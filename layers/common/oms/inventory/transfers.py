"""Transfers between facilities, in two phases: shipped out of one into transit, received at the other.

Units in transit are nobody's to sell: they leave what may be promised when they leave the shelf, and come back into it,
waiting orders first, when they are received. Until then they stand among the SKU's supplies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from oms.inventory import alerts, movements, operations, supplies
from oms.inventory.model import Movement, lot_of
from oms.inventory.store import DynamoInventory
from oms.runtime import errors
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Item

_QUEUE = "transfers"
_PAGE = 50
_SHOWN = (
    "transfer_id",
    "sku",
    "quantity",
    "origin",
    "target",
    "state",
    "received",
    "difference",
    "reason",
    "shipped_by",
    "shipped_at",
    "expected_at",
    "received_by",
    "received_at",
)


@dataclass(frozen=True, slots=True)
class Shipping:
    """What is to be transferred."""

    sku: str
    quantity: int
    origin: str
    target: str
    bin: str
    expected_at: str
    reason: str
    lots: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TransferStock:
    """The two phases and what is under way."""

    inventory: DynamoInventory
    clock: Clock

    def ship(self, shipping: Shipping, actor: str, key: str) -> dict[str, Any]:
        """Send units off, once per key. Raises ``NotFound``, ``Conflict`` and ``IdempotencyKeyReused``."""
        transfer_id = operations.id_of("transfer", key)
        told = {name: getattr(shipping, name) for name in Shipping.__slots__ if name != "lots" or shipping.lots}
        now = self.clock()

        def plan() -> operations.Step:
            product = movements.stocked(self.inventory, shipping.sku)
            movement = _movement("transfer_out", shipping, shipping.quantity, actor, transfer_id, now)
            effect = movements.effect_of(movement, self.inventory.location(shipping.sku, shipping.origin))
            item: Item = {
                "pk": f"TRANSFER#{transfer_id}",
                "sk": "TRANSFER",
                "entity": "transfer",
                "transfer_id": transfer_id,
                **{name: value for name, value in told.items() if name != "bin"},
                "state": "in_transit",
                "shipped_by": actor,
                "shipped_at": to_text(now),
                "queue": _QUEUE,
                "queue_rank": f"{shipping.expected_at or to_text(now)}#{transfer_id}",
            }
            supply = supplies.Supply(
                f"transfer.{transfer_id}",
                supplies.IN_TRANSIT,
                shipping.quantity,
                shipping.target,
                shipping.expected_at,
            )
            return _view(item), [
                self.inventory.table.put("transfer", item),
                supplies.put_supply(self.inventory, shipping.sku, supply, now),
                *movements.writes_of(self.inventory, product, movement, effect),
            ]

        return operations.carry_out(self.inventory, "transfer", key, told, now, plan)

    def receive(
        self,
        transfer_id: str,
        quantity: int,
        bin: str,
        actor: str,
        key: str,
        lots: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """Take in what arrived, which ends the transfer; more or less than was sent is written down as a difference.
        When all of it arrived, ``lots`` are those that were sent.

        Raises ``NotFound``, ``InvalidRequest`` when lots have to be told, and ``Conflict`` when it was received before.
        """
        now = self.clock()

        def plan() -> operations.Step:
            item = self._item(transfer_id)
            if item["state"] != "in_transit":
                raise errors.Conflict("This transfer was received before.")
            difference = quantity - item["quantity"]
            after = {
                **{name: value for name, value in item.items() if not name.startswith("queue")},
                "state": "received",
                "received": quantity,
                "difference": difference,
                "received_by": actor,
                "received_at": to_text(now),
            }
            writes = [
                self.inventory.table.put(
                    "transfer", after, "#state = :open", {"#state": "state"}, {":open": "in_transit"}
                ),
                self.inventory.table.delete(
                    "supply", supplies.supply_key(item["sku"], f"transfer.{transfer_id}"), None
                ),
            ]
            product = movements.stocked(self.inventory, item["sku"])
            came = lots or ({} if difference else item.get("lots", {}))
            shipping = Shipping(item["sku"], quantity, item["origin"], item["target"], bin, "", item["reason"], came)
            movement = _movement("transfer_in", shipping, quantity, actor, transfer_id, now)
            if difference:
                movement = replace(movement, reason=f"{item['quantity']} were sent, {quantity} arrived")
            effect = movements.effect_of(movement, self.inventory.location(item["sku"], item["target"]))
            return _view(after), [*writes, *movements.writes_of(self.inventory, product, movement, effect)]

        told: dict[str, Any] = {"transfer": transfer_id, "quantity": quantity, "bin": bin}
        if lots:
            told["lots"] = lots
        return operations.carry_out(self.inventory, "transfer-receipt", key, told, now, plan)

    def show(self, transfer_id: str) -> dict[str, Any]:
        """One transfer. Raises ``NotFound``."""
        return _view(self._item(transfer_id))

    def under_way(self, cursor: str | None) -> dict[str, Any]:
        """A page of what is in transit, the earliest expected first."""
        found, more = alerts.queued(self.inventory, _QUEUE, cursor, _PAGE)
        return {"transfers": [_view(item) for item in found], "next_cursor": more}

    def _item(self, transfer_id: str) -> Item:
        item = self.inventory.table.get(f"TRANSFER#{transfer_id}", "TRANSFER")
        if item is None:
            raise errors.NotFound("There is no such transfer.")
        return item


def _movement(kind: str, shipping: Shipping, quantity: int, actor: str, transfer_id: str, now: datetime) -> Movement:
    cause = f"transfer:{transfer_id}"
    facility = shipping.origin if kind == "transfer_out" else shipping.target
    return Movement(
        kind,
        shipping.sku,
        quantity,
        facility,
        shipping.bin,
        shipping.reason,
        actor,
        f"{cause}:{kind}",
        now,
        cause=cause,
        lots=shipping.lots,
    )


def _view(item: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: item.get(name) if item.get(name) != "" else None for name in _SHOWN}
    named = [(*lot_of(key), units) for key, units in sorted(item.get("lots", {}).items())]
    return {
        **shown,
        "lots": [{"lot": lot or None, "expires": expires or None, "units": units} for lot, expires, units in named],
    }
