"""What placing an order asks of DynamoDB, and of this machine's processor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from typing import Any

from benchmarks import shop
from benchmarks.meter import Meter, connect, straight
from benchmarks.report import Progress, table
from tests.simulation.backend import Cloud

SIZES = (1, 5, 10, 45, 100)
AIM_AT_TEN = 24
ANCHOR_AT_TEN = 46


@dataclass(frozen=True, slots=True)
class Placement:
    """One order's cost at the database."""

    lines: int
    trips: int
    transactions: int
    write_units: float
    index_units: float
    read_units: float


@dataclass(frozen=True, slots=True)
class Result:
    """Costs by size of the order, and milliseconds of CPU for a one-line order."""

    placements: Sequence[Placement]
    orders: int
    cpu: float
    database: float
    stripe: float


def measure(progress: Progress, orders: int = 300) -> Result:
    """Place orders of every size, then many of one line."""
    template = shop.template()
    cloud = Cloud(template, straight)
    cloud.reset()
    meter = Meter(cloud)
    stripe = shop.Stripe()
    app = shop.open_shop(connect(shop.dynamodb_client(), cloud), stripe)
    handler = import_module("functions.place_order.api").handler
    skus = [f"SKU-{number:03d}" for number in range(max(SIZES))]
    progress.say(f"placing: {len(skus)} products")
    shop.stock_up(app, skus, 10_000)
    with shop.logs_in(StringIO()):
        _place(handler, skus[:1], "warm-up")
        placements = [_placement(handler, meter, skus[:size]) for size in SIZES]
        times = []
        for number in range(orders):
            progress.step("placing: CPU", number, orders)
            before = (time.process_time(), meter.cpu, stripe.cpu)
            _place(handler, [skus[number % len(skus)]], f"cpu-{number:06d}")
            after = (time.process_time(), meter.cpu, stripe.cpu)
            whole, database, payment = (end - start for end, start in zip(after, before, strict=True))
            times.append((whole - database - payment, database, payment))
    return Result(placements, orders, *(1000 * statistics.median(column) for column in zip(*times, strict=True)))


def _place(handler: Any, skus: Sequence[str], key: str) -> None:
    answer = shop.place(handler, shop.checkout(skus), f"benchmark-{key}")
    if answer["statusCode"] != 201:
        raise RuntimeError(f"a placement was answered {answer['statusCode']}: {answer['body']}")


def _placement(handler: Any, meter: Meter, skus: Sequence[str]) -> Placement:
    meter.reset()
    _place(handler, skus, f"size-{len(skus)}")
    return Placement(
        len(skus),
        meter.round_trips(),
        meter.calls["dynamodb.TransactWriteItems"],
        meter.write_units,
        meter.index_units,
        meter.read_units,
    )


def render_cost(result: Result) -> str:
    """The section about round trips and units."""
    rows = [
        ["lines (distinct SKUs)", "round trips", "write transactions", "write units", "of these, indexes", "read units"]
    ]
    rows += [
        [
            str(each.lines),
            str(each.trips),
            str(each.transactions),
            f"{each.write_units:g}",
            f"{each.index_units:g}",
            f"{each.read_units:g}",
        ]
        for each in result.placements
    ]
    ten = next(each for each in result.placements if each.lines == 10)
    verdict = "met" if ten.write_units <= AIM_AT_TEN else "missed"
    return "\n".join(
        [
            "## What a placement asks of DynamoDB",
            "",
            f"**{ten.write_units:g} write units at 10 lines**, {ten.index_units:g} of them for indexes, in",
            f"{ten.transactions} transaction and {ten.trips} round trips (aim: {AIM_AT_TEN} units in one transaction:",
            f"{verdict}; the usual way, Powertools idempotency and an item a line: {ANCHOR_AT_TEN} in 3 round trips).",
            "",
            "`POST /orders` through the real handler, on MiniStack's DynamoDB in process. Write units are the",
            "service's own `ConsumedCapacity` (`ReturnConsumedCapacity: INDEXES`); a write in a transaction costs two",
            "units a started KB. Read units follow DynamoDB's rule from the sizes of the items read.",
            "",
            table(rows),
        ]
    )


def render_cpu(result: Result) -> str:
    """The part about CPU in process."""
    rows = [
        ["a one-line order", "CPU"],
        ["our function with botocore, pydantic and the Stripe SDK", f"{result.cpu:.1f} ms"],
        ["MiniStack's DynamoDB, not ours", f"{result.database:.1f} ms"],
        ["the Stripe simulator, not ours", f"{result.stripe:.1f} ms"],
    ]
    return "\n".join(
        [
            f"In one process, median of {result.orders} warm placements; requests are signed and parsed as always, and",
            "answered where botocore would open its connection:",
            "",
            table(rows),
        ]
    )
