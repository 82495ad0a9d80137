"""Dry runs of routing rules: where the last orders would leave from, beside where they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from oms.fulfillment.allocation import RouteOrders
from oms.fulfillment.facilities import free_units
from oms.fulfillment.routing import Rules, StockMissing, obtainable, plan
from oms.fulfillment.shipments import DynamoShipments, ShipmentStatus
from oms.inventory.store import DynamoInventory
from oms.orders.model import Order
from oms.orders.store import DynamoOrders
from oms.runtime.clock import Clock, to_text

_MONTHS_BACK = 2
_PAGE = 25
BASIS = "each order by itself, on the stock that is free now and what the order took, at the facilities as they are now"


@dataclass(frozen=True, slots=True)
class RehearseRules:
    """Trying rules out; nothing is written."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    def run(self, rules: Rules, last: int, time_left: Callable[[], float]) -> dict[str, Any]:
        """What the rules would do to the last orders that were planned, the newest first; fewer if time runs out."""
        tried = []
        for order in islice(self._planned(), last):
            if time_left() < 3:
                break
            tried.append(self._try(order, rules))
        return {
            "basis": BASIS,
            "orders": tried,
            "changed": sum(each["changed"] for each in tried),
            "parcels_before": sum(len(each["before"]) for each in tried),
            "parcels_after": sum(len(each["after"]) for each in tried),
            "waiting": sum(bool(each["waits_for"]) for each in tried),
        }

    def _planned(self) -> Iterator[Order]:
        """Orders that have parcels, the newest first, through this month and the last."""
        placed = self.orders.placed_until(to_text(self.clock()), _MONTHS_BACK)
        while page := [order_id for _, order_id in islice(placed, _PAGE)]:
            yield from (order for order in self.orders.read_all(page) if order.shipments)

    def _try(self, order: Order, rules: Rules) -> dict[str, Any]:
        sent = [
            shipment
            for shipment in DynamoShipments(self.orders.table).of(order.order_id)
            if shipment.status is not ShipmentStatus.CANCELLED
        ]
        wanted: dict[int, int] = {}
        free = {code: dict(units) for code, units in free_units(self.inventory, _skus(order)).items()}
        for shipment in sent:
            for number, units in shipment.lines(order).items():
                wanted[number] = wanted.get(number, 0) + units
            for sku, units in shipment.required.items():
                place = free.setdefault(shipment.facility, {})
                place[sku] = place.get(sku, 0) + units
        found = RouteOrders(self.inventory).routing(order, free, rules, self.clock())
        lines = {line.number: line for line in order.lines}
        after: list[str] = []
        waits_for = ""
        try:
            some = wanted if found.policy.whole else obtainable(lines, wanted, found.free)
            after = sorted(parcel.facility for parcel in plan(lines, some, found.free, found.sources))
            if some != wanted:
                waits_for = "stock for the rest"
        except StockMissing:
            waits_for = "stock"
        limit = found.policy.max_parcels
        if limit and len(set(after)) > limit:
            after, waits_for = [], "a person: more parcels than the rules allow"
        before = sorted(shipment.facility for shipment in sent)
        return {
            "order_id": order.order_id,
            "before": before,
            "after": after,
            "changed": before != after,
            "rules": list(found.policy.because),
            "waits_for": waits_for or None,
            "kilometres": _distances(found.sources, after),
        }


def _skus(order: Order) -> list[str]:
    return sorted({sku for line in order.lines for sku in line.units(1)})


def _distances(sources: Mapping[str, Any], codes: list[str]) -> int:
    return sum(int(sources[code].kilometres) for code in codes)
