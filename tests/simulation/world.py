"""One seed's story: shoppers, marketplaces, operators, pickers and bad luck, then healing, rest, and the reckoning."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from oms.bootstrap import App
from oms.fulfillment.facilities import put_facility
from oms.fulfillment.floorplan import Rules, put_rules
from oms.inventory.model import Listing, Movement, Product
from oms.orders.coupons import Coupon
from oms.runtime.clock import from_text
from oms.webhooks.events import TYPES
from tests.simulation import actors, staff
from tests.simulation.checkers import Inspector, Violation
from tests.simulation.determinism import EPOCH
from tests.simulation.faults import Plane
from tests.simulation.pumps import Pump, SchedulePump, StreamPump, redrive
from tests.simulation.roads import Roads
from tests.simulation.scheduler import Task
from tests.simulation.system import CHANNELS, System

MAX_STEPS = 6000
MAX_STEPS_TO_REST = 20_000
"""More: what waits for the deadline of a hold or for a collection waits for days, and every schedule runs meanwhile."""


@dataclass(slots=True)
class Result:
    """What one run showed."""

    seed: int
    digest: str
    steps: int
    calls: int
    looks: int
    virtual_seconds: float
    struck: Counter[tuple[str, str]]
    seen: Counter[str]
    tally: Counter[str]
    violation: str = ""
    trace: str = ""
    orders: dict[str, int] = field(default_factory=dict)


class World:
    """Runs one seed."""

    def __init__(self, seed: int, *, keep_trace: bool = False, faults: bool = True) -> None:
        self.seed = seed
        self.rng = random.Random(f"world {seed}")
        fault_rng = random.Random(f"faults {seed}")
        plane = Plane.drawn(fault_rng) if faults and seed % 10 else Plane(fault_rng)
        self.system = System(seed, plane, keep_trace=keep_trace)
        self.inspector = Inspector(self.system)
        self.tally: Counter[str] = Counter()
        self.skus: list[str] = []
        self.stock_rng = random.Random(f"stock {seed}")
        self.money_rng = random.Random(f"money {seed}")
        self.backordered: set[str] = set()
        """Products whose sales are accepted beyond the stock."""
        self.wanted: dict[str, Mapping[str, int]] = {}
        """What one unit of a SKU takes from stock."""
        self.planned: set[str] = set()
        """Facilities whose work is released in walks."""
        self.actors: list[Task] = []
        self.steps = 0
        self.healed = False

    def run(self) -> Result:
        """The whole story. A broken promise ends it and is told in the result."""
        violation = ""
        with self.system.running():
            try:
                self._furnish()
                self._chaos()
                self._heal()
                self._rest()
            except Violation as broken:
                violation = str(broken)
            return Result(
                self.seed,
                self.system.trace.digest(),
                self.steps,
                self.system.cloud.calls,
                self.inspector.looks,
                self.system.clock.now - EPOCH,
                self.system.plane.struck,
                self.system.plane.seen,
                self.tally,
                violation,
                self.system.trace.text(),
                Counter(item["status"] for _, item in self.inspector.books.orders()),
            )

    # ---- before the story ----------------------------------------------------------------------------------------

    def _furnish(self) -> None:
        """A small shop: few units, so that everybody wants the same ones."""
        system, rng = self.system, self.rng
        app = system._app(system.template.function_at("inventory_sync/stock_api"))
        now = datetime.fromtimestamp(EPOCH, UTC)
        for name in "ABC"[: rng.randint(1, 3)]:
            stripes = rng.choice((1, 1, 2, 3))
            product = Product(name, name, 1000 + 100 * ord(name), "USD", (f"code-{name}",), {}, 200, stripes=stripes)
            if self.stock_rng.random() < 0.25:
                self.backordered.add(name)
            app.inventory.put_product(replace(product, backorder=name in self.backordered), now)
            self.skus.append(name)
            self.wanted[name] = {name: 1}
        if len(self.skus) > 1 and rng.random() < 0.4:
            app.inventory.put_product(Product("KIT", "Kit", 3000, "USD", ("code-KIT",), kit={"A": 1, "B": 2}), now)
            self.skus.append("KIT")
            self.wanted["KIT"] = {"A": 1, "B": 2}
        for sku in self.stocked:
            for facility in ("main", "east")[: rng.choice((1, 1, 2))]:
                actors.receive(app, sku, rng.randint(1, 6), facility, now)
        for channel in CHANNELS:
            for sku in self.skus:
                if rng.random() < 0.6:
                    told = {"sku": sku, "title": sku, "price_minor": 2500, "currency": "USD", "quantity": 0}
                    listed = system.control(channel, "POST", "/_sim/listings", told).json()["listings"][0]
                    buffer = rng.choice((0, 0, 1))
                    maximum = rng.choice((None, None, 3))
                    listing = Listing(sku, channel, listed["listing_id"], buffer=buffer, max_listed=maximum)
                    app.inventory.put_listing(listing, now)
        for facility in ("main", "east"):
            put_facility(app.inventory, staff.DOCK, now, facility)
        app.coupons.add(
            Coupon(actors.COUPON, "percent", percent=10, limit=2, per_customer=1, per_address=50),
            actor="staff:kim",
            now=now,
        )
        merchant = system._app(system.template.function_at("messages/api"))
        merchant.subscriptions.create("https://subscriber.test/", sorted(TYPES), (), "a system of the merchant's", now)
        self._plan_floors(app, now)
        system.pumps += [staff.Floor(self), staff.Walkers(self), staff.Desk(self), Roads(self)]
        self.inspector.look()

    def _plan_floors(self, app: App, now: datetime) -> None:
        """In half of the stories the schedule releases the work of a floor; a dice of its own leaves the others as they
        were."""
        rng = random.Random(f"floor {self.seed}")
        for facility in ("main", "east"):
            if rng.random() < 0.5:
                rules = Rules(
                    automatic=True,
                    work_in_process=rng.choice((2, 5, 400)),
                    walk_units=rng.choice((2, 4, 30)),
                    cart_slots=rng.choice((0, 0, 3)),
                    lease_minutes=rng.choice((1, 15)),
                    search_seconds=0,
                )
                put_rules(app.inventory, facility, rules, now)
                self.planned.add(facility)

    @property
    def stocked(self) -> list[str]:
        """SKUs with stock of their own."""
        return [sku for sku in self.skus if self.wanted[sku] == {sku: 1}]

    # ---- the story -----------------------------------------------------------------------------------------------

    def spawn(self, name: str, body: Callable[[], None], delay: float = 0.0) -> Task:
        """Let an actor begin."""

        def begin() -> None:
            if delay:
                self.system.scheduler.sleep(delay)
            body()

        task = self.system.scheduler.spawn(name, begin, on_done=self._actor_done)
        self.actors.append(task)
        return task

    def _actor_done(self, task: Task) -> None:
        self.actors.remove(task)
        if task.error is not None:
            raise task.error

    def _chaos(self) -> None:
        rng = self.rng
        for number in range(rng.randint(2, 6)):
            self.spawn(
                f"shopper {number}", actors.bind(actors.shopper, self, number), rng.choice((0, 0, rng.uniform(0, 20)))
            )
        for number in range(rng.randint(0, 3)):
            self.spawn(f"buyer {number}", actors.bind(actors.marketplace_buyer, self, number), rng.uniform(1, 40))
        for number in range(rng.randint(0, 2)):
            self.spawn(f"ops {number}", actors.bind(actors.operator, self, number), rng.uniform(0, 30))
        for number in range(self.stock_rng.choice((0, 0, 1, 2))):
            begins = self.stock_rng.uniform(0, 30)
            self.spawn(f"stock clerk {number}", actors.bind(actors.stock_clerk, self, number), begins)
        for number in range(self.money_rng.choice((0, 0, 0, 1))):
            begins = self.money_rng.uniform(0, 20)
            self.spawn(f"till {number}", actors.bind(actors.till, self, number), begins)
        if self.money_rng.random() < 0.3:
            self.spawn("bank", actors.bind(actors.bank, self), self.money_rng.uniform(5, 60))
        for name in ("stripe_down", "channel_down"):
            if rng.random() < self.system.plane.rates.get(name, 0.0) * 2:
                self.spawn(name, actors.bind(actors.outage, self, name), rng.uniform(0, 30))
        while self.actors and self.steps < MAX_STEPS:
            self._step()

    def _heal(self) -> None:
        self.system.plane.heal()
        self.system.gate.outages.clear()
        self.healed = True
        self.system.trace.note(self.system.clock.now, "world", "healed")

    def _rest(self) -> None:
        """Run on until nothing moves any more, then check that everything has come to its end."""
        limit = self.steps + MAX_STEPS_TO_REST
        quiet = 0
        for _ in range(60):
            while self._busy():
                self._step()
                if self.steps > limit:
                    raise Violation("rest", f"no rest after {MAX_STEPS_TO_REST} steps: {self._who()}")
            if redrive(self.system.cloud):
                continue
            deadline = self._next_deadline()
            if deadline is None:
                # Reconciling may find something to do, which may wake others; the third time it has nothing to say.
                quiet += 1
                if quiet > 2:
                    break
                self._tick_all()
                continue
            quiet = 0
            if self._delivered():
                continue
            self.system.clock.advance_to(deadline + 0.001)
            self._tick_all("sweep")
        else:
            raise Violation("rest", f"orders keep having deadlines: {self._next_deadline()}")
        self.inspector.look_at_everything()
        self.inspector.at_rest()

    def _delivered(self) -> bool:
        """What orders still wait for, and nobody was told to look at, comes in at last. Returns whether any did."""
        came = False
        app = self.system._app(self.system.template.function_at("inventory_sync/stock_api"))
        now = datetime.fromtimestamp(self.system.clock.now, UTC)
        lacking = Counter[str]()
        for _, item in self.inspector.books.orders():
            if item.get("backordered_at") and not item.get("holds"):
                lacking.update(item.get("oversold", {}))
        for sku, units in sorted(lacking.items()):
            key = f"at-last-{sku}-{self.steps}"
            app.inventory.move(Movement("receive", sku, units, "main", "A1", "delivery", "system", key, now))
            came = True
        self.inspector.look()
        return came

    def _busy(self) -> bool:
        return bool(self.system.scheduler.tasks_of_interest() or any(not pump.idle() for pump in self.system.pumps))

    def _tick_all(self, only: str = "") -> None:
        for pump in self.system.pumps:
            if isinstance(pump, SchedulePump) and only in pump.name:
                pump.fire()

    def _next_deadline(self) -> float | None:
        moments = []
        for _, item in self.inspector.books.orders():
            if "next_deadline" not in item:
                continue
            waiting = item["status"] == "placed" or item.get("effects") or item.get("committed") is False
            waiting = waiting or (item["status"] in {"confirmed", "in_fulfillment"} and not item.get("holds"))
            if waiting:
                moments.append(from_text(item["next_deadline"]).timestamp())
        return min(moments) if moments else None

    def _who(self) -> str:
        tasks = [f"{task.name} ({task.pending})" for task in self.system.scheduler.tasks]
        pumps = [pump.name for pump in self.system.pumps if not pump.idle()]
        return ", ".join([*tasks, *pumps][:12])

    # ---- one step ------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Let one task go on, or one delivery happen, or some time pass."""
        self.steps += 1
        system, rng = self.system, self.rng
        now = system.clock.now
        tasks = system.scheduler.runnable()
        pumps = [pump for pump in system.pumps if pump.ready(now)]
        options = len(tasks) + len(pumps)
        if options and rng.random() < 0.97:
            choice = rng.randrange(options)
            if choice < len(tasks):
                system.scheduler.resume(tasks[choice])
            else:
                pumps[choice - len(tasks)].deliver(now)
        elif options:
            system.clock.advance(rng.choice((0.01, 0.1, 1.0, 5.0)))
        else:
            self._leap()
        self.inspector.look()

    def _leap(self) -> None:
        """Nothing can happen now: go to the next moment at which something can."""
        now = self.system.clock.now
        moments = [moment for moment in (self.system.scheduler.next_wake(), self._next_deadline()) if moment]
        schedules: list[float] = []
        for pump in self.system.pumps:
            moment = pump.next_time(now)
            if moment is not None:
                (schedules if isinstance(pump, SchedulePump) else moments).append(moment)
        later = [moment for moment in moments if moment > now] or schedules
        if not later or self.rng.random() < 0.1:
            later = schedules or [now + 60.0]
        self.system.clock.advance_to(min(later))


def stream_lag(pumps: list[Pump]) -> int:
    """Records that streams have given up on."""
    return sum(len(pump.abandoned) for pump in pumps if isinstance(pump, StreamPump))
