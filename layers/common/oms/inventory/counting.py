"""Cycle counts: somebody is asked to count a bin, without being told what should be there.

Each result is compared with the record at the moment it is written. A difference becomes a ``count`` movement, unless
the missing units are promised already: then it is disputed, changes nothing, and somebody has to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from oms.inventory import alerts, movements, operations
from oms.inventory.model import Movement
from oms.inventory.store import DynamoInventory
from oms.runtime import errors
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Item, Write

_PAGE = 50


@dataclass(frozen=True, slots=True)
class CountStock:
    """Asking for counts, counting, and what came out."""

    inventory: DynamoInventory
    clock: Clock

    def ask(self, facility: str, bin: str, skus: list[str], reason: str, actor: str, key: str) -> dict[str, Any]:
        """Ask for a count, once per key. Raises ``NotFound``, ``Conflict`` and ``IdempotencyKeyReused``."""
        now, count_id = self.clock(), operations.id_of("count", key)
        told = {"facility": facility, "bin": bin, "skus": skus, "reason": reason}

        def plan() -> operations.Step:
            for sku in skus:
                movements.stocked(self.inventory, sku)
            item = _asked(count_id, told, actor, now)
            return _blind(item), [self.inventory.table.put("count", item)]

        return operations.carry_out(self.inventory, "count", key, told, now, plan)

    def open_at(self, facility: str, cursor: str | None) -> dict[str, Any]:
        """A page of what is to be counted at a facility, the oldest first."""
        found, more = alerts.queued(self.inventory, f"counts#{facility}", cursor, _PAGE)
        return {"counts": [_blind(item) for item in found], "next_cursor": more}

    def found(
        self, count_id: str, sku: str, quantity: int, actor: str, key: str, lots: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Write down what somebody counted, once a SKU; the answer says nothing of what was expected.

        Raises ``NotFound``, ``InvalidRequest`` when it has to be told how many of each lot, and ``Conflict`` when that
        SKU was counted before or is not asked for.
        """
        now = self.clock()

        def plan() -> operations.Step:
            item = self._item(count_id)
            if sku not in item["skus"] or sku in item["results"]:
                raise errors.Conflict(f"{sku} is not to be counted here, or was counted before.")
            cause = f"count:{count_id}"
            movement = Movement(
                "count",
                sku,
                quantity,
                item["facility"],
                item["bin"],
                item["reason"],
                actor,
                f"{cause}:{sku}",
                now,
                cause=cause,
                lots=lots or {},
            )
            place = self.inventory.location(sku, item["facility"])
            expected = place.bins.get(item["bin"], 0)
            writes: list[Write] = []
            state = "applied"
            try:
                if -(quantity - expected) > place.sound - place.allocated:
                    raise errors.Conflict("The missing units are in parcels.")
                effect = movements.effect_of(movement, place)
                product = movements.stocked(self.inventory, sku)
                writes = movements.writes_of(self.inventory, product, movement, effect)
            except errors.Conflict:
                state = "disputed"
            result = {
                "found": quantity,
                "expected": expected,
                "variance": quantity - expected,
                "state": state,
                "by": actor,
                "at": to_text(now),
            }
            results = {**item["results"], sku: result}
            after = {**item, "results": results, "version": item["version"] + 1}
            if len(results) == len(item["skus"]):
                after = {name: value for name, value in after.items() if not name.startswith("queue")}
                after |= {"state": "done", "done_at": to_text(now)}
            put = self.inventory.table.put("count", after, "version = :seen", values={":seen": item["version"]})
            return _blind(after), [put, *writes]

        told: dict[str, Any] = {"count": count_id, "sku": sku, "quantity": quantity}
        if lots:
            told["lots"] = lots
        return operations.carry_out(self.inventory, "count-result", key, told, now, plan)

    def show(self, count_id: str) -> dict[str, Any]:
        """What is to be counted, for whoever counts. Raises ``NotFound``."""
        return _blind(self._item(count_id))

    def report(self, count_id: str) -> dict[str, Any]:
        """The differences of a count. Raises ``NotFound``, and ``Conflict`` while it goes on."""
        item = self._item(count_id)
        if item["state"] != "done":
            raise errors.Conflict("This count goes on: its differences are shown once it is done.")
        results: Mapping[str, Mapping[str, Any]] = item["results"]
        return {
            **_blind(item),
            "results": [{"sku": sku, **result} for sku, result in sorted(results.items())],
            "variance": sum(result["variance"] for result in results.values()),
            "absolute_variance": sum(abs(result["variance"]) for result in results.values()),
        }

    def _item(self, count_id: str) -> Item:
        item = self.inventory.table.get(f"COUNT#{count_id}", "COUNT")
        if item is None:
            raise errors.NotFound("There is no such count.")
        return item


def asked_by_short(
    inventory: DynamoInventory,
    facility: str,
    bin: str,
    sku: str,
    cause: str,
    actor: str,
    now: datetime,
    *,
    reason: str = "a pick was short",
) -> list[Write]:
    """The action that asks for a count of the bin where units were not found, in the transaction that says so: once a
    ``cause``, however many parcels go short by it."""
    count_id = operations.id_of("count", f"{cause}|{bin}|{sku}")
    if inventory.table.get(f"COUNT#{count_id}", "COUNT"):
        return []
    told = {"facility": facility, "bin": bin, "skus": [sku], "reason": reason}
    return [inventory.table.put("count", _asked(count_id, told, actor, now))]


def _asked(count_id: str, told: Mapping[str, Any], actor: str, now: datetime) -> Item:
    return {
        "pk": f"COUNT#{count_id}",
        "sk": "COUNT",
        "entity": "count",
        "count_id": count_id,
        **told,
        "results": {},
        "state": "open",
        "asked_by": actor,
        "asked_at": to_text(now),
        "version": 1,
        **_queued(told["facility"], to_text(now), count_id),
    }


def _queued(facility: str, at: str, count_id: str) -> dict[str, str]:
    return {"queue": f"counts#{facility}", "queue_rank": f"{at}#{count_id}"}


def _blind(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "count_id": item["count_id"],
        "facility": item["facility"],
        "bin": item["bin"],
        "state": item["state"],
        "reason": item["reason"],
        "to_count": [sku for sku in item["skus"] if sku not in item["results"]],
        "counted": sorted(item["results"]),
        "asked_at": item["asked_at"],
    }
