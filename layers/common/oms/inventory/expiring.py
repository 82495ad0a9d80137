"""Expired stock: taken off sale by the clock, once, with a movement that says why.

One mark a SKU says when to look at it next. Whatever brings units of a lot onto a shelf moves that moment to now, and
so does a changed minimum life: the next look works out the moment after that by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from oms.inventory.model import DAMAGED, QUARANTINE, Location, Movement, Product, expires_before, lot_of
from oms.inventory.movements import effect_of, writes_of
from oms.inventory.store import EXPIRING, DynamoInventory, expiry_key
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Write

_ATTEMPTS = 12
_AT_ONCE = 200
_AGAIN = timedelta(hours=1)
"""Expired units that are promised, or picked already, are looked at again after so long."""
_OFF_SALE = frozenset({DAMAGED, QUARANTINE})


@dataclass(frozen=True, slots=True)
class TakeOffExpired:
    """Puts into quarantine what may not be sold any more."""

    inventory: DynamoInventory
    clock: Clock

    def run(self) -> dict[str, int]:
        """Look at every SKU whose moment has come; returns how many there were and how many failed."""
        due = {":queue": EXPIRING, ":now": f"{to_text(self.clock())}~"}
        found = self.inventory.table.query_index("queues", "queue = :queue AND queue_rank < :now", due, limit=_AT_ONCE)
        seen = failed = 0
        for item in list(found):
            seen += 1
            try:
                self.look(item["sku"])
            except Exception:
                # One SKU that cannot be settled must not keep the others waiting; the next run meets it again.
                failed += 1
                telemetry.count("SweepFailures")
                telemetry.logger.exception("expiry_failed", sku=item["sku"])
        return {"seen": seen, "failed": failed}

    def look(self, sku: str) -> None:
        """Take off sale what a SKU has of expired lots, as far as nobody was promised it, and note when to look again.

        Each lot in each bin is one movement, in the transaction that counts the mark on: two who look at once, or one
        who comes again, move it once. Raises ``Contention``.
        """
        attempt = 0
        while attempt < _ATTEMPTS:
            mark = self.inventory.table.get(*expiry_key(sku))
            product = self.inventory.product(sku)
            if mark is None or product is None:
                return
            now = self.clock()
            places = self.inventory.locations(sku)
            free = sum(self.inventory.stripes(product))
            until = product.keeps_until(now)
            try:
                moved = self._move_one(product, places, free, mark, until, now)
                if not moved:
                    self.inventory.table.transact([self._again(product, places, mark, until, now)])
                    return
            except (ConditionsFailed, errors.Conflict):
                # Units were sold or moved since they were read.
                self.inventory.table.back_off(attempt)
                attempt += 1
        raise Contention(f"expiry of {sku}")

    def _move_one(
        self,
        product: Product,
        places: Mapping[str, Location],
        free: int,
        mark: Mapping[str, Any],
        until: str,
        now: datetime,
    ) -> bool:
        for facility, place in sorted(places.items()):
            for (name, key), there in place.fefo().items():
                units = min(there, place.sound - place.allocated, free)
                if units <= 0 or not expires_before(key, until):
                    continue
                cause = f"expiry:{product.sku}:{mark['noted']}"
                movement = Movement(
                    kind="quarantine",
                    sku=product.sku,
                    quantity=units,
                    facility=facility,
                    bin=name,
                    reason="expired",
                    actor="system",
                    key=cause,
                    at=now,
                    cause=cause,
                    lots={key: units},
                )
                noted = self.inventory.table.update(
                    "expiry",
                    expiry_key(product.sku),
                    "ADD noted :one",
                    "noted = :seen",
                    values={":one": 1, ":seen": mark["noted"]},
                )
                writes = writes_of(self.inventory, product, movement, effect_of(movement, place))
                self.inventory.table.transact([noted, *writes])
                telemetry.logger.warning("stock_expired", sku=product.sku, facility=facility, units=units)
                return True
        return False

    def _again(
        self, product: Product, places: Mapping[str, Location], mark: Mapping[str, Any], until: str, now: datetime
    ) -> Write:
        """The action that notes when to look next, unless something came since the mark was read."""
        lots = {
            key
            for place in places.values()
            for name, units in place.lots.items()
            if name not in _OFF_SALE
            for key in units
            if lot_of(key)[1]
        }
        values: dict[str, Any] = {":seen": mark["noted"]}
        if not lots:
            return self.inventory.table.update(
                "expiry", expiry_key(product.sku), "REMOVE queue, queue_rank", "noted = :seen", values=values
            )
        first = min(lots)
        moment = to_text(now + _AGAIN)
        if not expires_before(first, until):
            day = date.fromisoformat(lot_of(first)[1]) + timedelta(days=1 - product.min_life_days)
            moment = to_text(datetime(day.year, day.month, day.day, tzinfo=now.tzinfo))
        return self.inventory.table.update(
            "expiry",
            expiry_key(product.sku),
            "SET queue = :queue, queue_rank = :rank",
            "noted = :seen",
            values={**values, ":queue": EXPIRING, ":rank": f"{moment}#{product.sku}"},
        )
