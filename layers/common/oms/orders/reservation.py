"""Taking the stock of an order: in the transaction that creates it, or, for very large ones, in chunks behind a draft.

A sale takes from the stripe that the order's id points to, from another while somebody is writing there, and steals
from any when those are short. It is refused only on the evidence of one snapshot of all stripes, so never while units
remain. A marketplace's sale has happened already: it takes what there is, and the rest is written down as oversold; so
does a sale of ours of a product that may be backordered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from oms.inventory.backorders import queue_of
from oms.inventory.model import Product, Take, home_stripe, spread
from oms.inventory.store import DynamoInventory
from oms.inventory.supplies import expected_for, supplies_of
from oms.orders.backordering import queue_writes
from oms.orders.model import Backordered, Effect, Event, Order, home_seed
from oms.orders.store import Change, DynamoOrders, OrderExists, order_key
from oms.runtime import errors
from oms.runtime.dynamo import ConditionsFailed, Conflicted, Contention, Write

INLINE_SKUS = 45
"""So many SKUs are taken with the order itself; more would make one conflict too likely and the limit too near."""
CHUNK_SKUS = 40
_ATTEMPTS = 24


@dataclass(slots=True)
class Plan:
    """Which stripes to take an order of ``channel`` from. It starts at every SKU's home stripe, goes on to the next
    while somebody else writes there, and learns from refusals."""

    wanted: Mapping[str, int]
    products: Mapping[str, Product]
    channel: str
    seed: int
    may_oversell: bool
    takes: dict[str, list[Take]]
    oversold: dict[str, int]
    hops: dict[str, int] = field(default_factory=dict)
    """By SKU, how many stripes were passed by because somebody was writing there."""
    learned: set[str] = field(default_factory=set)
    listed: frozenset[str] = frozenset()
    """What a marketplace sold as such, and not within kits: only that is counted as its sale."""

    @classmethod
    def start(
        cls, wanted: Mapping[str, int], products: Mapping[str, Product], order: Order, *, may_oversell: bool
    ) -> Plan:
        """Everything from the home stripe: right nearly always, and it needs no read."""
        seed = home_seed(order.order_id)
        takes = {
            sku: [Take(sku, home_stripe(seed, products[sku].stripes), units)] for sku, units in wanted.items() if units
        }
        return cls(wanted, products, order.channel, seed, may_oversell, takes, {})

    def _home(self, sku: str) -> int:
        return home_stripe(self.seed + self.hops.get(sku, 0), self.products[sku].stripes)

    def hop(self, skus: Iterable[str], inventory: DynamoInventory) -> None:
        """Go on to the next stripes of SKUs whose present ones are busy: others are more likely free than these are
        soon. SKUs that were short once are looked at again."""
        again = []
        for sku in skus:
            if sku not in self.takes or self.products[sku].stripes == 1:
                continue
            self.hops[sku] = self.hops.get(sku, 0) + 1
            if sku in self.learned:
                again.append(sku)
            else:
                self.takes[sku] = [Take(sku, self._home(sku), self.wanted[sku])]
        if again:
            self.learn(dict.fromkeys(again), inventory)

    def learn(self, refused: Mapping[str, object], inventory: DynamoInventory) -> None:
        """Plan refused SKUs again. A look at each stripe by itself is enough to find units, since it disturbs nobody;
        only a snapshot of all of them proves that there are too few: then ``OutOfStock`` is raised."""
        missing: list[dict[str, object]] = []
        unproven: list[Product] = []
        for sku in sorted(refused):
            self.learned.add(sku)
            if self.products[sku].stripe_span == 1 or not self._covered(sku, inventory.striped(self.products[sku])):
                unproven.append(self.products[sku])
        stock = inventory.stripes_of(unproven)
        for sku in sorted(stock):
            if self._covered(sku, stock[sku]):
                continue
            takes = spread(sku, self.wanted[sku], stock[sku], self._home(sku))
            self.takes[sku] = takes
            self.oversold[sku] = self.wanted[sku] - sum(take.quantity for take in takes)
            if not (self.may_oversell or self.products[sku].backorder):
                missing.append({"sku": sku, "requested": self.wanted[sku], "available": sum(stock[sku])})
        if missing:
            names = ", ".join(str(entry["sku"]) for entry in missing)
            raise errors.OutOfStock(f"Not enough stock of {names}.", extra={"items": missing})

    def _covered(self, sku: str, stock: Sequence[int]) -> bool:
        """Take what is wanted from stripes that hold so much, if they hold enough."""
        if sum(stock) < self.wanted[sku]:
            return False
        self.takes[sku] = spread(sku, self.wanted[sku], stock, self._home(sku))
        self.oversold.pop(sku, None)
        return True

    def writes(self, inventory: DynamoInventory, cause: str, now: datetime) -> list[Write]:
        """The actions that take the planned units, in SKU order."""
        return [
            inventory.take(take, cause, now, channel=self.channel, listed=sku in self.listed)
            for sku in sorted(self.takes)
            for take in self.takes[sku]
        ]


_TAKE = "take "


def _refused_skus(failed: ConditionsFailed) -> dict[str, object]:
    prefix = _TAKE
    return {
        refusal.write.label.removeprefix(prefix): refusal.old
        for refusal in failed.refusals
        if refusal.write.label.startswith(prefix)
    }


def take_with(
    plan: Plan,
    inventory: DynamoInventory,
    cause: str,
    now: datetime,
    attempt: Callable[[Plan, list[Write]], Order],
) -> Order:
    """Call ``attempt`` with the planned takes until they hold. It raises ``ConditionsFailed`` when one did not, and
    ``Conflicted`` when somebody was writing the same items."""
    for number in range(_ATTEMPTS):
        try:
            return attempt(plan, plan.writes(inventory, cause, now))
        except Conflicted as clash:
            busy = {write.label.removeprefix(_TAKE) for write in clash.writes if write.label.startswith(_TAKE)}
            inventory.table.back_off(number if any(_alone(plan, sku) for sku in busy) or not busy else 0)
            plan.hop(busy, inventory)
        except ConditionsFailed as failed:
            refused = _refused_skus(failed)
            if not refused or len(refused) != len(failed.refusals):
                raise
            plan.learn(refused, inventory)
            if number:
                inventory.table.back_off(number)
    raise Contention(f"stock for {cause}")


def _alone(plan: Plan, sku: str) -> bool:
    return plan.products[sku].stripes == 1


@dataclass(frozen=True, slots=True)
class Placed:
    """An order as it comes into being: with its first events, and with what is written beside it."""

    order: Order
    events: tuple[Event, ...]
    writes: tuple[Write, ...] = ()


Finish = Callable[[Order, Event], Placed]
"""What else happens in the moment of placing, told what the order lacks. It is asked again at every attempt."""


class Reservations:
    """Creates orders together with their stock, and gives stock back when orders die."""

    def __init__(self, orders: DynamoOrders, inventory: DynamoInventory) -> None:
        self.orders = orders
        self.inventory = inventory

    def create(
        self,
        order: Order,
        event: Event,
        products: Mapping[str, Product],
        now: datetime,
        *,
        may_oversell: bool = False,
        writes: tuple[Write, ...] = (),
        finish: Finish | None = None,
    ) -> Order:
        """Create the order with its stock, all or nothing.

        Raises ``OutOfStock``, ``OrderExists`` with what was found, ``Contention``, and ``ConditionsFailed`` when a
        condition of ``writes`` or of what ``finish`` writes does not hold. They join the transaction that makes the
        order exist, and so do its places in the queues for what it lacks.
        """
        wanted = order.owed()
        if len(wanted) > INLINE_SKUS - len(writes):
            return self._create_in_chunks(order, event, wanted, products, now, may_oversell, writes, finish)
        plan = Plan.start(wanted, products, order, may_oversell=may_oversell)
        if order.external_id:
            parts = {part for line in order.lines for part in line.parts}
            plan.listed = frozenset(line.sku for line in order.lines if line.sku not in parts)

        def attempt(plan: Plan, takes: list[Write]) -> Order:
            short, told = self._with_lack(order, event, plan.oversold, promised=not may_oversell)
            placed = finish(short, told) if finish else Placed(short, (told,))
            created, creation = self.orders.creation(placed.order, placed.events[0], now, *placed.events[1:])
            queued = queue_writes(self.inventory, None, created, now)
            try:
                self.orders.table.transact([*creation, *writes, *placed.writes, *takes, *queued], patient=False)
            except ConditionsFailed as failed:
                self._raise_if_exists(order.order_id, failed)
                raise
            return created

        return take_with(plan, self.inventory, f"order:{order.order_id}", now, attempt)

    def _with_lack(
        self, order: Order, event: Event, oversold: Mapping[str, int], *, promised: bool
    ) -> tuple[Order, Event]:
        """The order and its first event with the units that there is no stock for; a sale of ours (``promised``) says
        by line when they should come."""
        short = replace(order, oversold={sku: units for sku, units in sorted(oversold.items()) if units})
        if not (short.oversold and promised):
            return short, event
        due = {sku: self._expected(sku, units) for sku, units in short.oversold.items()}
        told = []
        for number, units in short.waiting().items():
            line = next(each for each in short.lines if each.number == number)
            dates = [due[sku] for sku in line.units(1) if sku in due]
            told.append(Backordered(number, units, max(dates) if all(dates) else ""))
        facts = {sku: {"units": units, "expected_at": due[sku] or None} for sku, units in short.oversold.items()}
        return replace(short, backordered=tuple(told)), replace(event, data={**event.data, "backordered": facts})

    def _expected(self, sku: str, units: int) -> str:
        """When what is on its way should cover so many units more, after those that are waited for already."""
        queue = queue_of(self.inventory, sku)
        return expected_for(supplies_of(self.inventory, sku), queue.waiting - queue.earmarked + units)

    def _raise_if_exists(self, order_id: str, failed: ConditionsFailed) -> None:
        if failed.of("order"):
            found = self.orders.get_draft_or_order(order_id)
            if found is None:
                raise Contention(f"order {order_id} is being undone")
            raise OrderExists(found)

    # ---- very large orders -----------------------------------------------------------------------------------------

    def _create_in_chunks(
        self,
        order: Order,
        event: Event,
        wanted: Mapping[str, int],
        products: Mapping[str, Product],
        now: datetime,
        may_oversell: bool,
        writes: tuple[Write, ...],
        finish: Finish | None,
    ) -> Order:
        chunks = _chunks(wanted)
        order = replace(order, chunks=len(chunks))
        try:
            self.orders.table.transact([self.orders.draft(order, now)])
        except ConditionsFailed as failed:
            found = self.orders.get_draft_or_order(order.order_id)
            if found is None:
                raise Contention(f"order {order.order_id} is being undone") from None
            if found.committed or found.request_digest != order.request_digest:
                raise OrderExists(found) from failed
            # A draft of the same request: its maker died or is beside us. Every step is safe to take twice.
        oversold: dict[str, int] = {}
        try:
            for number, chunk in enumerate(chunks):
                oversold.update(self._take_chunk(order, number, chunk, products, now, may_oversell))
        except errors.OutOfStock:
            self.undo_draft(order.order_id, now)
            raise
        short, told = self._with_lack(order, event, oversold, promised=not may_oversell)
        placed = finish(short, told) if finish else Placed(short, (told,))
        committed, commit = self.orders.commit_draft(placed.order, placed.events[0], now, *placed.events[1:])
        try:
            self.orders.table.transact([*commit, *writes, *placed.writes])
        except ConditionsFailed as failed:
            self._raise_if_committed(order.order_id, failed)
            self.undo_draft(order.order_id, now)
            raise
        return committed

    def _raise_if_committed(self, order_id: str, failed: ConditionsFailed) -> None:
        found = self.orders.get_draft_or_order(order_id)
        if found and found.committed:
            raise OrderExists(found)
        if failed.of("order") or failed.of("draft"):
            raise Contention(f"order {order_id} is being undone")

    def _take_chunk(
        self,
        order: Order,
        number: int,
        chunk: Mapping[str, int],
        products: Mapping[str, Product],
        now: datetime,
        may_oversell: bool,
    ) -> dict[str, int]:
        """Take one chunk unless it was taken already; returns what it oversold."""
        key = (order_key(order.order_id), f"RESERVATION#{number:03d}")
        plan = Plan.start(chunk, products, order, may_oversell=may_oversell)

        def attempt(plan: Plan, takes: list[Write]) -> Order:
            held = {sku: units - plan.oversold.get(sku, 0) for sku, units in chunk.items()}
            mark = {
                "pk": key[0],
                "sk": key[1],
                "entity": "reservation",
                "units": held,
                "oversold": dict(plan.oversold),
            }
            alive = self.orders.table.check(
                "draft",
                (key[0], "ORDER"),
                "committed = :no AND attribute_not_exists(aborting)",
                values={":no": False},
            )
            self.orders.table.transact([alive, self.orders.table.put("reservation", mark), *takes])
            return order

        try:
            take_with(plan, self.inventory, f"order:{order.order_id}", now, attempt)
        except ConditionsFailed as failed:
            there = self.orders.table.get(*key)
            if there is None or failed.of("draft"):
                self._raise_if_committed(order.order_id, failed)
                raise
            taken: dict[str, int] = there["oversold"]
            return taken
        return plan.oversold

    def undo_draft(self, order_id: str, now: datetime) -> None:
        """Give back whatever a draft took and remove it; repeating is harmless, and a committed order is left alone."""
        key = (order_key(order_id), "ORDER")
        mark = self.orders.table.update(
            "draft", key, "SET aborting = :yes", "committed = :no", values={":yes": True, ":no": False}
        )
        try:
            self.orders.table.transact([mark])
        except ConditionsFailed:
            return
        draft = self.orders.get_draft_or_order(order_id)
        if draft is None:
            return  # Somebody else has just undone it.
        for item in self.orders.parts(order_id, "RESERVATION#"):
            gives = self._gives(item["units"], draft, now)
            try:
                self.orders.table.transact([self.orders.table.delete("reservation", (item["pk"], item["sk"])), *gives])
            except ConditionsFailed:
                continue  # Somebody else undid this chunk.
        gone = self.orders.table.delete("draft", key, "aborting = :yes", values={":yes": True})
        try:
            self.orders.table.transact([gone])
        except ConditionsFailed:
            return

    # ---- giving back -----------------------------------------------------------------------------------------------

    def _gives(self, units: Mapping[str, int], order: Order, now: datetime) -> list[Write]:
        wanted = {sku: quantity for sku, quantity in units.items() if quantity > 0}
        products = self.inventory.products(wanted)
        seed = home_seed(order.order_id)
        return [
            self.inventory.give(
                Take(sku, home_stripe(seed, products[sku].stripes if sku in products else 1), quantity),
                f"order:{order.order_id}",
                now,
                channel=order.channel,
            )
            for sku, quantity in sorted(wanted.items())
        ]

    def release(self, order: Order, now: datetime, units: Mapping[str, int] | None = None) -> tuple[Order, list[Write]]:
        """How a dying order gives back what it holds (or ``units`` of it): at once, or, when that is more than one
        transaction should carry, as an effect that ``finish_release`` carries out."""
        held = order.held_stock() if units is None else units
        if len(held) > INLINE_SKUS:
            return order.with_effects(Effect.RELEASE_STOCK), []
        return order, self._gives(held, order, now)

    def finish_release(self, order_id: str, now: datetime) -> None:
        """Give a very large dead order's stock back, chunk by chunk, each exactly once."""
        order = self.orders.require(order_id)
        if Effect.RELEASE_STOCK not in order.effects:
            return
        for number, chunk in enumerate(_chunks(order.held_stock())):
            mark = {
                "pk": order_key(order_id),
                "sk": f"RELEASE#{number:03d}",
                "entity": "release",
                "units": dict(chunk),
            }
            try:
                self.orders.table.transact([self.orders.table.put("release", mark), *self._gives(chunk, order, now)])
            except ConditionsFailed:
                continue  # Given back before.

        def done(order: Order) -> Change | None:
            if Effect.RELEASE_STOCK not in order.effects:
                return None
            return Change(order.without_effect(Effect.RELEASE_STOCK), Event("StockReleased", "system", "order ended"))

        self.orders.change(order_id, done, now)


def _chunks(units: Mapping[str, int]) -> list[dict[str, int]]:
    ordered = sorted(units.items())
    return [dict(ordered[start : start + CHUNK_SKUS]) for start in range(0, len(ordered), CHUNK_SKUS)]
