"""Goods that are handed over where they are sold: they leave the books of the store without a picker and a carrier.

What was sold has gone, whatever the books say. So what they have leaves them with the sale; what they do not have stays
on the order, under a hold, and the store is asked to count. Once the books are right, handing over again lets it leave;
and when the store had more than its books, what was missing comes onto them and leaves them in one step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from oms.fulfillment.dispatch import PAID_FOR
from oms.fulfillment.shipments import DynamoShipments, ShipmentStatus, change_with_shipments, planned
from oms.inventory.counting import asked_by_short
from oms.inventory.model import DOCK, Location, Movement, Take, home_stripe
from oms.inventory.movements import Effect, journal, record_of
from oms.inventory.store import DynamoInventory
from oms.orders.backordering import queue_writes
from oms.orders.model import Event, Hold, Order, Status, home_seed
from oms.orders.store import Change, DynamoOrders
from oms.payments.coverage import money_needed
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Contention, Write

PLACES_AT_ONCE = 20
"""So many SKUs leave a store in one transaction, beside what else may be in it."""
MISSING = "gone over the counter, but not on the books"
"""How the reason of the hold begins; it does not end by itself."""
_OWNER = "store"
_COUNT_WITHIN = timedelta(days=1)
_MOST_STEPS = 12
_ALIVE = frozenset({Status.CONFIRMED, Status.IN_FULFILLMENT})


@dataclass(frozen=True, slots=True)
class HandedOver:
    """An order of which goods left a store: the order after it, the number of the parcel that they make (0 when the
    books let nothing go), and what they need in money."""

    order: Order
    parcel: int
    writes: tuple[Write, ...]
    needed: int = 0

    def event(self, actor: str, cause: str) -> Event:
        """What history tells of it."""
        data = {"shipment": self.parcel, "facility": self.order.counter, "needed": self.needed}
        return Event("ShipmentCollected", actor, cause, data)


def hand_over(
    orders: DynamoOrders, inventory: DynamoInventory, order: Order, places: Mapping[str, Location], now: datetime
) -> HandedOver:
    """As much of an order as its store's books let go, and one transaction takes; ``places`` is what lies there by SKU.

    The order is completed when nothing of it is left. What is left is held.
    """
    gone = _what_leaves(order, places)
    writes = [inventory.hand_over(places[sku], units, now) for sku, units in _units(order, gone).items()]
    return _after(orders, order, gone, writes, now)


def _after(
    orders: DynamoOrders, order: Order, gone: Mapping[int, int], writes: list[Write], now: datetime
) -> HandedOver:
    """The order of which these units by line went over the counter, with the parcel that they make."""
    lines = tuple(replace(line, shipped=line.shipped + gone.get(line.number, 0)) for line in order.lines)
    after = replace(order, lines=lines)
    if gone:
        shipment = planned(order, order.shipments + 1, order.counter, gone, now)
        shipment = replace(
            shipment,
            status=ShipmentStatus.DELIVERED,
            picked=shipment.required,
            packed=shipment.required,
            shipped_at=to_text(now),
            delivered_at=to_text(now),
        )
        writes = [*writes, DynamoShipments(orders.table).create(shipment)]
        status = Status.IN_FULFILLMENT if any(line.open for line in lines) else Status.COMPLETED
        after = replace(after, status=status, shipments=shipment.number)
    others = {kind: hold for kind, hold in order.holds.items() if kind != "inventory"}
    if any(line.open for line in lines):
        hold = order.holds.get("inventory") or Hold(MISSING, _OWNER, to_text(now), to_text(now + _COUNT_WITHIN))
        after = replace(after, holds={**others, "inventory": hold})
    else:
        after = replace(after, holds=others, delivered_at=to_text(now))
    return HandedOver(after, after.shipments if gone else 0, tuple(writes), money_needed(after))


def missing(order: Order) -> dict[str, int]:
    """Units by SKU that went over the counter and have not left the books."""
    return order.owed() if order.counter else {}


def _units(order: Order, gone: Mapping[int, int]) -> dict[str, int]:
    """The stocked units behind units of lines."""
    total = Counter[str]()
    for line in order.lines:
        total.update(line.units(gone.get(line.number, 0)))
    return {sku: units for sku, units in sorted(total.items()) if units}


def _what_leaves(order: Order, places: Mapping[str, Location]) -> dict[int, int]:
    """Units by line that are at the store, unclaimed, and that the order has stock for."""
    free = Counter[str]()
    held = order.held_stock()
    for sku, place in places.items():
        free[sku] = max(0, min(place.sound - place.allocated, sum(place.pickable.values()), held.get(sku, 0)))
    gone: dict[int, int] = {}
    touched: set[str] = set()
    for line in order.lines:
        each = line.units(1)
        units = min(line.open, *(free[sku] // count for sku, count in each.items()))
        if units <= 0 or len(touched | each.keys()) > PLACES_AT_ONCE:
            continue
        touched |= each.keys()
        free.subtract(line.units(units))
        gone[line.number] = units
    return gone


@dataclass(frozen=True, slots=True)
class CounterSales:
    """What is left of sales at a counter."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    def places(self, order: Order) -> dict[str, Location]:
        """What lies of an order's units at its store."""
        skus = sorted({sku for line in order.lines for sku in line.units(1)})
        found = self.inventory.locations_at(order.counter, skus)
        return {sku: found.get(sku) or Location(sku, order.counter) for sku in skus}

    def go_on(self, order_id: str, *, actor: str, found: str = "") -> Order:
        """Let what went over the counter leave the books, as far as they have it by now; again is harmless.

        The store is asked to count what it still seems not to have, once an order and SKU, unless somebody says why
        the goods were there all the same (``found``): then they come onto the books and leave them.
        Raises ``NotFound``, and ``Conflict`` for an order of which nothing was handed over where it was sold.
        """
        for _ in range(_MOST_STEPS):
            left = self.orders.require(order_id).owed()
            order = change_with_shipments(
                self.orders, order_id, lambda seen: self._step(seen, actor, found), self.clock()
            )
            if order.owed() in ({}, left):
                self._have_counted(order, actor)
                return order
        raise Contention(f"handing over order {order_id}")

    def _have_counted(self, order: Order, actor: str) -> None:
        now = self.clock()
        for sku in order.promised():
            place = self.inventory.location(sku, order.counter)
            bin = next(iter(place.pickable), DOCK)
            cause = f"counter:{order.order_id}"
            asked = asked_by_short(self.inventory, order.counter, bin, sku, cause, actor, now, reason=MISSING)
            if asked:
                self.inventory.table.transact(asked)

    def _step(self, order: Order, actor: str, reason: str) -> Change | None:
        if not order.counter:
            raise errors.Conflict(
                "This order is sent or collected: nothing was handed over with its sale.", extra={"code": "no_counter"}
            )
        if order.status not in _ALIVE or order.holds.keys() - {"inventory"}:
            return None
        now = self.clock()
        left = hand_over(self.orders, self.inventory, order, self.places(order), now)
        if not left.parcel and reason and order.owed():
            left = self._found(order, reason, actor, now)
        if not left.parcel:
            return None
        if order.payment.settled < left.needed:
            raise errors.Conflict("Money does not cover what went over the counter.", extra={"code": "unpaid"})
        event = left.event(actor, reason or "handed over")
        return Change(left.order, event, list(left.writes), PAID_FOR, {":needed": left.needed})

    def _found(self, order: Order, reason: str, actor: str, now: datetime) -> HandedOver:
        """What is missing comes onto the store's books and leaves them, so what lies there stays as it is. What was
        taken for it from elsewhere may be promised again; what it was oversold is oversold no more."""
        gone: dict[int, int] = {}
        touched: set[str] = set()
        for line in order.lines:
            if line.open and len(touched | line.units(1).keys()) <= PLACES_AT_ONCE:
                touched |= line.units(1).keys()
                gone[line.number] = line.open
        units, writes, oversold = _units(order, gone), list[Write](), dict(order.oversold)
        products = self.inventory.products(units)
        cause = f"order:{order.order_id}"
        for sku, quantity in units.items():
            lacking = min(quantity, oversold.pop(sku, 0))
            key = f"{cause}:{order.version}"
            movement = Movement("adjust", sku, quantity, order.counter, DOCK, reason, actor, key, now, cause=cause)
            record = record_of(movement, Effect({"on_hand": quantity}))
            writes.append(journal(self.inventory, record))
            changes = {"dispatched": quantity}
            writes.append(self.inventory.place(f"hand over {sku}", sku, order.counter, changes, now))
            if quantity > lacking:
                home = home_stripe(home_seed(order.order_id), products[sku].stripes)
                give = Take(sku, home, quantity - lacking)
                writes.append(self.inventory.give(give, cause, now, channel=order.channel))
        left = _after(self.orders, replace(order, oversold=oversold), gone, writes, now)
        telemetry.count("CounterSalesMended")
        return replace(left, writes=(*left.writes, *queue_writes(self.inventory, order, left.order, now)))
