"""Purchase orders: what was ordered from a vendor, when it should come, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from oms.inventory import alerts, movements, operations, supplies
from oms.inventory.model import Movement
from oms.inventory.store import DynamoInventory
from oms.runtime import errors
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Item, Write

_QUEUE = "purchases"
_PAGE = 50


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one line."""

    sku: str
    quantity: int
    facility: str
    bin: str
    lots: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PurchaseStock:
    """Ordering, receiving and closing."""

    inventory: DynamoInventory
    clock: Clock

    def order(self, vendor: str, lines: Mapping[str, int], expected_at: str, actor: str, key: str) -> dict[str, Any]:
        """Order ``lines`` (units by SKU), once per key; without a date the longest of the products' lead times for this
        vendor tells. Raises ``NotFound``, ``Conflict`` and ``IdempotencyKeyReused``."""
        now, purchase_id = self.clock(), operations.id_of("purchase", key)
        told = {"vendor": vendor, "lines": dict(lines), "expected_at": expected_at}

        def plan() -> operations.Step:
            days = 0
            for sku in lines:
                terms = movements.stocked(self.inventory, sku).vendors
                days = max([days, *(term.get("lead_time_days") or 0 for term in terms if term["vendor"] == vendor)])
            due = expected_at or (to_text(now + timedelta(days=days)) if days else "")
            item: Item = {
                "pk": f"PURCHASE#{purchase_id}",
                "sk": "PURCHASE",
                "entity": "purchase",
                "purchase_id": purchase_id,
                "vendor": vendor,
                "lines": {sku: {"ordered": units, "received": 0} for sku, units in lines.items()},
                "state": "open",
                "expected_at": due,
                "ordered_by": actor,
                "ordered_at": to_text(now),
                "version": 1,
                "queue": _QUEUE,
                "queue_rank": f"{due or '~'}#{purchase_id}",
            }
            coming = [self._supply(item, sku) for sku in lines]
            return _view(item), [self.inventory.table.put("purchase", item), *coming]

        return operations.carry_out(self.inventory, "purchase", key, told, now, plan)

    def receive(self, purchase_id: str, receipt: Receipt, actor: str, key: str) -> dict[str, Any]:
        """Take in units of one line, waiting orders first; more than was ordered is taken in and told as well. With the
        last line the purchase closes. Raises ``NotFound``, ``InvalidRequest`` when lots have to be told, and
        ``Conflict`` when it is closed or has no such line."""
        now = self.clock()

        def plan() -> operations.Step:
            item = self._open(purchase_id)
            line = item["lines"].get(receipt.sku)
            if line is None:
                raise errors.Conflict(f"{receipt.sku} was not ordered with this purchase.")
            came = {**line, "received": line["received"] + receipt.quantity}
            after = {**item, "lines": {**item["lines"], receipt.sku: came}}
            if all(each["received"] >= each["ordered"] for each in after["lines"].values()):
                after |= {"state": "closed", "closed_at": to_text(now), "closed_because": "all of it came"}
            product = movements.stocked(self.inventory, receipt.sku)
            cause = f"purchase:{purchase_id}"
            movement = Movement(
                "receive",
                receipt.sku,
                receipt.quantity,
                receipt.facility,
                receipt.bin,
                f"from {item['vendor']}",
                actor,
                f"{cause}:{key}",
                now,
                cause=cause,
                lots=receipt.lots,
            )
            effect = movements.effect_of(movement, self.inventory.location(receipt.sku, receipt.facility))
            return _view(after), [
                self._put(item, after),
                self._supply(after, receipt.sku),
                *movements.writes_of(self.inventory, product, movement, effect),
            ]

        told = {"purchase": purchase_id, **_told(receipt)}
        return operations.carry_out(self.inventory, "purchase-receipt", key, told, now, plan)

    def close(self, purchase_id: str, reason: str, actor: str, key: str) -> dict[str, Any]:
        """Expect nothing more of a purchase. Raises ``NotFound``, and ``Conflict`` when it is closed."""
        now = self.clock()

        def plan() -> operations.Step:
            item = self._open(purchase_id)
            after = {**item, "state": "closed", "closed_at": to_text(now), "closed_because": reason, "closed_by": actor}
            return _view(after), [self._put(item, after), *(self._supply(after, sku) for sku in item["lines"])]

        told = {"purchase": purchase_id, "reason": reason}
        return operations.carry_out(self.inventory, "purchase-close", key, told, now, plan)

    def show(self, purchase_id: str) -> dict[str, Any]:
        """One purchase. Raises ``NotFound``."""
        return _view(self._item(purchase_id))

    def still_open(self, cursor: str | None) -> dict[str, Any]:
        """A page of purchases that something is expected of, the earliest first."""
        found, more = alerts.queued(self.inventory, _QUEUE, cursor, _PAGE)
        return {"purchases": [_view(item) for item in found], "next_cursor": more}

    def _supply(self, item: Item, sku: str) -> Write:
        line = item["lines"][sku]
        left = max(0, line["ordered"] - line["received"]) if item["state"] == "open" else 0
        supply = supplies.Supply(
            f"purchase.{item['purchase_id']}", supplies.PURCHASED, left, item["vendor"], item["expected_at"]
        )
        return supplies.put_supply(self.inventory, sku, supply, self.clock())

    def _put(self, seen: Item, after: Item) -> Write:
        kept = after if after["state"] == "open" else {n: v for n, v in after.items() if not n.startswith("queue")}
        item = {**kept, "version": seen["version"] + 1}
        return self.inventory.table.put("purchase", item, "version = :seen", values={":seen": seen["version"]})

    def _item(self, purchase_id: str) -> Item:
        item = self.inventory.table.get(f"PURCHASE#{purchase_id}", "PURCHASE")
        if item is None:
            raise errors.NotFound("There is no such purchase.")
        return item

    def _open(self, purchase_id: str) -> Item:
        item = self._item(purchase_id)
        if item["state"] != "open":
            raise errors.Conflict("This purchase is closed.")
        return item


def _told(receipt: Receipt) -> dict[str, Any]:
    """A receipt as it was told; lots only where there are any."""
    told = {name: getattr(receipt, name) for name in Receipt.__slots__}
    return told if receipt.lots else {name: value for name, value in told.items() if name != "lots"}


def _view(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "purchase_id": item["purchase_id"],
        "vendor": item["vendor"],
        "state": item["state"],
        "expected_at": item["expected_at"] or None,
        "ordered_at": item["ordered_at"],
        "ordered_by": item["ordered_by"],
        "lines": [
            {"sku": sku, **line, "difference": line["received"] - line["ordered"]}
            for sku, line in sorted(item["lines"].items())
        ],
        "closed_at": item.get("closed_at"),
        "closed_because": item.get("closed_because"),
    }
