"""A flash sale of one SKU: our code under a model of what DynamoDB does to a hot key, on virtual time.

The model: an item takes 1,000 write units and 3,000 read units a second, a transaction's writes cost double; a
transaction locks its items for ``LOCKED`` seconds, and another one that meets a lock is cancelled at once with
``TransactionConflict``, a transactional read included; plain reads pass. Buyers come by a Poisson process and wait for
nobody. Everything else is the product: the same ``Reservations``, ``DynamoInventory`` and ``Table``.
"""

from __future__ import annotations

import heapq
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import greenlet
from botocore.exceptions import ClientError

from benchmarks.report import Progress, table
from oms.inventory.model import Product
from oms.inventory.store import DynamoInventory
from oms.inventory.stripes import rebalance
from oms.orders.model import Event, Line, Order, Payment, Status, Totals
from oms.orders.reservation import Reservations
from oms.orders.store import DynamoOrders
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Contention, Table, to_item

NETWORK = 0.0015
"""From the function to DynamoDB or back."""
READ = 0.002
LOCKED = 0.010
"""Between the two phases of a transaction: a single counter sells some 75 a second at most in AWS, no more than one
after the other here."""
WRITE_UNITS, READ_UNITS = 1000.0, 3000.0
UNITS = 6_000
AIM_RATE, AIM_P99 = 3000, 0.150
START = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
HOT = "HOT"

Key = tuple[str, str]


class VirtualTasks:
    """Greenlets on a clock that moves from one wake-up to the next."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, greenlet.greenlet]] = []
        self._count = 0
        self._hub = greenlet.getcurrent()

    def at(self, moment: float, body: Callable[[], None]) -> None:
        """Start a task at a moment."""
        self._push(moment, greenlet.greenlet(body, parent=self._hub))

    def _push(self, moment: float, task: greenlet.greenlet) -> None:
        self._count += 1
        heapq.heappush(self._due, (moment, self._count, task))

    def sleep(self, seconds: float) -> None:
        """Let others run until so much time has passed; in the hub, nothing waits."""
        current = greenlet.getcurrent()
        if current is not self._hub:
            self._push(self.now + seconds, current)
            self._hub.switch()

    def run(self) -> None:
        """Until nobody has anything left to do."""
        while self._due:
            self.now, _, task = heapq.heappop(self._due)
            task.switch()


@dataclass(slots=True)
class _Budget:
    units: float = 0.0
    at: float = 0.0


class ModelDynamo:
    """A DynamoDB client over one dictionary, with locks and budgets for each key."""

    def __init__(self, tasks: VirtualTasks) -> None:
        self.tasks = tasks
        self.items: dict[Key, dict[str, Any]] = {}
        self.stripes: dict[str, Key] = {}
        """Where the counters are, by sort key: the one partition that is queried."""
        self.locks: dict[Key, float] = {}
        self.calls: Counter[str] = Counter()
        self._budgets: dict[tuple[Key, bool], _Budget] = {}

    # ---- the client's face ---------------------------------------------------------------------------------------

    def transact_write_items(self, *, TransactItems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        self.calls["TransactWriteItems"] += 1
        self.tasks.sleep(NETWORK)
        actions = [next(iter(each.items())) for each in TransactItems]
        keys = [_key(action.get("Key") or action["Item"]) for _, action in actions]
        busy = [self.locks.get(key, 0.0) > self.tasks.now for key in keys]
        if any(busy):
            self._cancel(["TransactionConflict" if each else "None" for each in busy])
        poor = [not self._spend(key, 2.0, WRITE_UNITS, write=True) for key in keys]
        if any(poor):
            self._cancel(["ThrottlingError" if each else "None" for each in poor])
        failed = [not _holds(action, self.items.get(key)) for (_, action), key in zip(actions, keys, strict=True)]
        if any(failed):
            old = [self.items.get(key) for key in keys]
            self._cancel(["ConditionalCheckFailed" if each else "None" for each in failed], old)
        for key in keys:
            self.locks[key] = self.tasks.now + LOCKED
        self.tasks.sleep(LOCKED)
        for (kind, action), key in zip(actions, keys, strict=True):
            if kind == "Put":
                self.put(dict(action["Item"]))
            elif kind == "Update":
                self.put(_updated(action, self.items.get(key) or dict(action["Key"])))
        self.tasks.sleep(NETWORK)
        return {}

    def transact_get_items(self, *, TransactItems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        self.calls["TransactGetItems"] += 1
        self.tasks.sleep(NETWORK)
        keys = [_key(each["Get"]["Key"]) for each in TransactItems]
        busy = [self.locks.get(key, 0.0) > self.tasks.now for key in keys]
        if any(busy):
            self._cancel(["TransactionConflict" if each else "None" for each in busy], operation="TransactGetItems")
        found = [{"Item": self.items[key]} if key in self.items else {} for key in keys]
        self.tasks.sleep(READ + NETWORK)
        return {"Responses": found}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:
        self.calls["BatchGetItem"] += 1
        ((name, request),) = RequestItems.items()
        self.tasks.sleep(NETWORK)
        keys = [_key(key) for key in request["Keys"]]
        cost = 1.0 if request["ConsistentRead"] else 0.5
        affordable = [key for key in keys if self._spend(key, cost, READ_UNITS, write=False)]
        rest = [key for key in keys if key not in affordable]
        found = [self.items[key] for key in affordable if key in self.items]
        self.tasks.sleep(READ + NETWORK)
        left = {name: {"Keys": [Table.key(*key) for key in rest]}} if rest else {}
        return {"Responses": {name: found}, "UnprocessedKeys": left}

    def get_item(self, *, TableName: str, Key: Mapping[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        self.calls["GetItem"] += 1
        self.tasks.sleep(NETWORK + READ + NETWORK)
        found = self.items.get(_key(Key))
        return {"Item": found} if found else {}

    def query(self, **request: Any) -> dict[str, Any]:
        self.calls["Query"] += 1
        self.tasks.sleep(NETWORK)
        if request["ExpressionAttributeValues"][":sk"]["S"] != "STOCK#":
            raise ValueError(request)
        found = list(self.counters())
        self.tasks.sleep(READ + NETWORK)
        return {"Items": found}

    def counters(self) -> Iterator[dict[str, Any]]:
        """The stripes' items as they are now."""
        return (self.items[key] for _, key in sorted(self.stripes.items()))

    def put(self, item: dict[str, Any]) -> None:
        """Write an item beside the model's limits, and from inside it."""
        key = _key(item)
        self.items[key] = item
        if key[1].startswith("STOCK#"):
            self.stripes[key[1]] = key

    # ---- limits --------------------------------------------------------------------------------------------------

    def _spend(self, key: Key, units: float, rate: float, *, write: bool) -> bool:
        budget = self._budgets.setdefault((key, write), _Budget(rate, self.tasks.now))
        budget.units = min(rate, budget.units + (self.tasks.now - budget.at) * rate)
        budget.at = self.tasks.now
        if budget.units < units:
            return False
        budget.units -= units
        return True

    def _cancel(self, codes: Sequence[str], old: Sequence[Any] = (), *, operation: str = "TransactWriteItems") -> None:
        self.calls.update(code for code in set(codes) - {"None"})
        self.tasks.sleep(NETWORK)
        reasons: list[dict[str, Any]] = [{"Code": code} for code in codes]
        for reason, item in zip(reasons, old, strict=False):
            if item and reason["Code"] == "ConditionalCheckFailed":
                reason["Item"] = item
        answer: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
        raise ClientError(answer, operation)


def _key(item: Mapping[str, Any]) -> Key:
    return item["pk"]["S"], item["sk"]["S"]


def _holds(action: Mapping[str, Any], item: Mapping[str, Any] | None) -> bool:
    """The conditions that a sale and a movement of units between stripes use; another one is an error here."""
    for clause in action.get("ConditionExpression", "").split(" AND "):
        if clause == "attribute_not_exists(pk)":
            if item is not None:
                return False
        elif clause:
            name, sign, value = clause.split(" ")
            if sign != ">=":
                raise ValueError(clause)
            if item is None or int(item[name]["N"]) < int(action["ExpressionAttributeValues"][value]["N"]):
                return False
    return True


def _updated(action: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    after, values = dict(item), action["ExpressionAttributeValues"]
    expression = action["UpdateExpression"].removeprefix("SET ")
    for placeholder, name in action.get("ExpressionAttributeNames", {}).items():
        expression = expression.replace(placeholder, name)
    for clause in re.split(r", (?![^(]*\))", expression):
        name, _, term = clause.partition(" = ")
        parts = re.fullmatch(r"(?:if_not_exists\((\w+), (:\w+)\)|(\w+)|)\s*([+-])?\s*(:\w+)", term)
        if parts is None:
            raise ValueError(clause)
        source, default, plain, sign, value = parts.groups()
        if sign is None:
            after[name] = values[value]
            continue
        base = item.get(source or plain, values[default] if default else None)
        if base is None:
            raise ValueError(clause)
        after[name] = {"N": str(int(base["N"]) + (1 if sign == "+" else -1) * int(values[value]["N"]))}
    return after


# ---- the sale --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sale:
    """What became of the buyers."""

    stripes: str
    offered: float
    units: int
    left: int
    accepted: Sequence[tuple[float, float]]
    """When each accepted order was answered, and after how long."""
    refused_early: int
    """Refusals at a moment at which units remained during the whole request."""
    refused: int
    gave_up: int
    """Answered 503 after too many conflicts: no refusal, but no sale either."""
    calls: Mapping[str, int]

    @property
    def rate(self) -> float:
        """Accepted a second, between the first and the last twentieth: without the start and the end."""
        moments = sorted(moment for moment, _ in self.accepted)
        cut = len(moments) // 20
        first, last = moments[cut], moments[-cut - 1]
        return (len(moments) - 2 * cut - 1) / (last - first) if last > first else 0.0

    def percentile(self, part: float) -> float:
        """How long so many of the accepted orders took at most."""
        waits = sorted(wait for _, wait in self.accepted)
        return waits[min(len(waits) - 1, int(len(waits) * part))]


@dataclass(slots=True)
class FlashSale:
    """One run: ``plan`` maps moments to the number of stripes from then on."""

    stripes: int
    units: int
    rate: float
    buyers: int
    plan: Mapping[float, int] = field(default_factory=dict)
    seed: int = 1

    def run(self) -> Sale:
        """Sell until every buyer was answered."""
        tasks, rng = VirtualTasks(), random.Random(self.seed)
        client = ModelDynamo(tasks)
        make = lambda: Table(client, "table", sleep=tasks.sleep, jitter=rng.random)  # noqa: E731
        inventory, orders = DynamoInventory(make()), DynamoOrders(make())
        reservations = Reservations(orders, inventory)
        span = max(self.stripes, *self.plan.values()) if self.plan else self.stripes
        product = Product(HOT, "Hot", 1000, "USD", stripes=self.stripes, stripe_span=self.stripes, version=1)
        shape = {"product": product}

        def put(now: Product) -> None:
            shape["product"] = now
            write = inventory._product_writes(now, None, START)[0]
            client.put(dict(write.action["Put"]["Item"]))

        put(product)
        for number in range(self.stripes):
            share = self.units // self.stripes + (number < self.units % self.stripes)
            item = {"pk": f"SKU#{HOT}", "sk": f"STOCK#{number}", "entity": "stock", "sku": HOT}
            client.put(to_item({**item, "available": share, "version": 1}))
        accepted: list[tuple[float, float]] = []
        counted: Counter[str] = Counter()

        def left() -> int:
            return sum(_counts(client))

        def buy(number: int) -> None:
            began = tasks.now
            products = inventory.products([HOT], fresh=False)
            order = _order(number, tasks.now)
            try:
                reservations.create(order, Event("OrderPlaced", "customer", "flash sale"), products, _at(tasks.now))
            except errors.OutOfStock:
                counted["refused"] += 1
                counted["early"] += left() > 0
            except Contention:
                counted["gave up"] += 1
            else:
                accepted.append((tasks.now, tasks.now - began))

        def restripe(stripes: int) -> None:
            before = shape["product"]
            put(replace(before, stripes=stripes, stripe_span=max(stripes, before.stripe_span)))
            rebalance(inventory, shape["product"], _at(tasks.now))

        def watch() -> None:
            rebalance(inventory, shape["product"], _at(tasks.now))

        moment = 0.0
        for number in range(self.buyers):
            moment += rng.expovariate(self.rate)
            tasks.at(moment, partial(buy, number))
        for each, stripes in self.plan.items():
            tasks.at(each, partial(restripe, stripes))
        for tick in range(1, int(moment) + 2):
            # The stream wakes the watcher at most once a second.
            tasks.at(float(tick), watch)
        tasks.run()
        name = f"{self.stripes}" + "".join(f" → {stripes}" for stripes in self.plan.values())
        if left() + len(accepted) != self.units or min(_counts(client)) < 0 or span < len(_counts(client)):
            raise RuntimeError(f"{name}: {self.units} units, {len(accepted)} sold, {left()} left")
        return Sale(
            name,
            self.rate,
            self.units,
            left(),
            accepted,
            counted["early"],
            counted["refused"],
            counted["gave up"],
            client.calls,
        )


def _counts(client: ModelDynamo) -> list[int]:
    return [int(item["available"]["N"]) for item in client.counters()]


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _order(number: int, now: float) -> Order:
    at = to_text(_at(now))
    return Order(
        order_id=f"00000000-0000-5000-8000-{number:012d}",
        channel="web",
        status=Status.PLACED,
        customer={"id": f"{number:020d}", "email": "sam@example.org", "name": "Sam Shopper"},
        address={"name": "Sam Shopper", "line1": "1 Main Street", "city": "Springfield", "country": "US"},
        lines=(Line(1, HOT, 1, 1000),),
        currency="USD",
        totals=Totals(1000, 500, 0),
        payment=Payment(status="pending", provider="stripe"),
        placed_at=at,
        expires_at=at,
    )


@dataclass(frozen=True, slots=True)
class Result:
    """The sale with stripes, with their number changed meanwhile, and with a single counter."""

    striped: Sale
    changed: Sale
    single: Sale


def measure(progress: Progress, units: int = UNITS) -> Result:
    """Sell out at somewhat more than the rate aimed at."""
    buyers, rate = units + units // 10, 3300.0
    progress.say("hot SKU: 64 stripes")
    striped = FlashSale(64, units, rate, buyers).run()
    progress.say("hot SKU: stripes changed while selling")
    seconds = units / rate
    changed = FlashSale(32, units, rate, buyers, {seconds * 0.3: 64, seconds * 0.7: 48}).run()
    progress.say("hot SKU: a single counter")
    single = FlashSale(1, units, rate, buyers // 4).run()
    return Result(striped, changed, single)


def render(result: Result) -> str:
    """The section of the report."""
    sales = (result.striped, result.changed, result.single)
    head = ["stripes", "offered/s", "accepted/s", "p50", "p99", "units", "sold", "refused", "early", "answered 503"]
    rows = [head] + [
        [
            sale.stripes,
            f"{sale.offered:,.0f}",
            f"{sale.rate:,.0f}",
            f"{sale.percentile(0.5) * 1000:.0f} ms",
            f"{sale.percentile(0.99) * 1000:.0f} ms",
            f"{sale.units:,}",
            f"{len(sale.accepted):,}",
            f"{sale.refused:,}",
            str(sale.refused_early),
            f"{sale.gave_up:,}",
        ]
        for sale in sales
    ]
    best = result.striped
    met = best.rate >= AIM_RATE and best.percentile(0.99) <= AIM_P99 and not best.refused_early and not best.left
    ratio = best.rate / max(1.0, result.single.rate)
    p99, verdict = best.percentile(0.99) * 1000, "met" if met else "missed"
    return "\n".join(
        [
            "## One hot SKU",
            "",
            f"**{best.rate:,.0f} accepted sales a second** on one SKU, p99 {p99:.0f} ms",
            f"(aim: at least {AIM_RATE:,} and at most {AIM_P99 * 1000:.0f} ms, none oversold, none refused",
            f"while units remain: {verdict}). A single counter beside it sells {result.single.rate:,.0f} a second;",
            f"stripes sell {ratio:,.0f} times as many.",
            "",
            "The product's own code on virtual time, under a model of DynamoDB: an item takes",
            f"{WRITE_UNITS:,.0f} write units and {READ_UNITS:,.0f} read units a second, a transaction locks its",
            f"items for {LOCKED * 1000:.0f} ms, and one that meets a lock is cancelled; {NETWORK * 1000:.1f} ms to",
            "DynamoDB and as much back, no time for the function itself. *Early* are refusals while units",
            "remained; *503* are buyers who met conflicts until patience ran out.",
            "",
            table(rows),
        ]
    )
