"""Orders a second: eight buyers, each a process with the real handler, at one DynamoDB Local."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks import dynamodb_local, shop
from benchmarks.report import Progress, table

BUYERS = 8
SKUS = tuple(f"SKU-{number:02d}" for number in range(50))
SCARCE, UNITS, RIVALS = "SCARCE", 20, 64
# What other systems sold on two cores with eight buyers (design section 10), measured elsewhere and not run beside us.
ANCHORS = "Vendure 3.7: 6 to 8, Saleor 3.24: 1.6 to 1.9, Medusa 2.21: 1.4"
AIM = 25 * 8
_WARM_UP = 100
"""Orders of each buyer before the clock starts: Java compiles while it runs."""
_PATIENCE = 40


@dataclass(frozen=True, slots=True)
class Result:
    """What one run on DynamoDB Local showed."""

    orders: int
    seconds: float
    milliseconds: Sequence[float]
    cpu: float
    """Milliseconds of the buyers' processes, for one order."""
    database: float | None
    """Milliseconds of the database's process, for one order."""
    rivals: Counter[str]
    left: int

    def percentile(self, share: float) -> float:
        """The time within which this share of the placements was answered."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(progress: Progress, orders: int = 200) -> Result | str:
    """Let every buyer place so many orders, then let 64 want the last 20 units. A sentence where it cannot be run."""
    try:
        with dynamodb_local.running(progress) as (endpoint, process):
            return _measure(progress, endpoint, process, orders)
    except dynamodb_local.Unavailable as unavailable:
        return str(unavailable)


def _measure(progress: Progress, endpoint: str, process: int, orders: int) -> Result:
    progress.say("throughput: 50 products")
    client = shop.dynamodb_client(endpoint_url=endpoint)
    for definition in shop.template().tables:
        client.create_table(**{name: value for name, value in definition.items() if name != "SSESpecification"})
    app = shop.open_shop(client)
    shop.stock_up(app, SKUS, 1_000_000)
    shop.stock_up(app, [SCARCE], UNITS)

    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    start = context.Barrier(BUYERS + 1)
    buyers = [
        context.Process(target=_buyer, args=(endpoint, number, orders, start, answers)) for number in range(BUYERS)
    ]
    for buyer in buyers:
        buyer.start()
    try:
        progress.say("throughput: buyers warm up")
        start.wait(timeout=300)
        progress.say(f"throughput: {BUYERS} buyers place {orders} orders each")
        began, database = time.perf_counter(), _cpu_of(process)
        told = [answers.get(timeout=300) for _ in buyers]
        seconds = time.perf_counter() - began
        database_after = _cpu_of(process)
        progress.say(f"throughput: {RIVALS} buyers want the last {UNITS}")
        start.wait(timeout=120)
        rivals: Counter[str] = sum((answers.get(timeout=300) for _ in buyers), Counter())
    finally:
        for buyer in buyers:
            buyer.join(timeout=10)
            buyer.kill()
    placed = BUYERS * orders
    return Result(
        orders=placed,
        seconds=seconds,
        milliseconds=[1000 * each for times, _ in told for each in times],
        cpu=1000 * sum(cpu for _, cpu in told) / placed,
        database=None if database is None or database_after is None else 1000 * (database_after - database) / placed,
        rivals=rivals,
        left=app.inventory.level(SCARCE).available,
    )


def _buyer(endpoint: str, number: int, orders: int, start: Any, answers: Any) -> None:
    """One process: its own orders, one after the other, and then eight rivals at once."""
    shop.open_shop(shop.dynamodb_client(endpoint_url=endpoint))
    handler = import_module("functions.place_order.api").handler
    with shop.logs_in(StringIO()):
        for turn in range(_WARM_UP):
            _place(handler, SKUS[(number * 7 + turn) % len(SKUS)], f"warm-up-{number}-{turn}")
        start.wait()
        before = time.process_time()
        times = []
        for turn in range(orders):
            began = time.perf_counter()
            status = _place(handler, SKUS[(number * 7 + turn) % len(SKUS)], f"order-{number}-{turn}")
            times.append(time.perf_counter() - began)
            if status != 201:
                raise RuntimeError(f"an order was answered {status}")
        answers.put((times, time.process_time() - before))

        seen: Counter[str] = Counter()
        gate = threading.Barrier(RIVALS // BUYERS + 1)

        def rival(name: str) -> None:
            gate.wait()
            seen[str(_place(handler, SCARCE, name))] += 1

        threads = [threading.Thread(target=rival, args=(f"rival-{number}-{each}",)) for each in range(RIVALS // BUYERS)]
        for thread in threads:
            thread.start()
        start.wait()
        gate.wait()
        for thread in threads:
            thread.join()
        answers.put(seen)


def _place(handler: Any, sku: str, key: str) -> int:
    """Place one unit; who is told to come back does so, as a browser would."""
    status = 503
    for _ in range(_PATIENCE):
        answer = shop.place(handler, shop.checkout([sku]), f"throughput-{key}")
        status = int(answer["statusCode"])
        if status != 503:
            return status
        time.sleep(float(answer["headers"].get("retry-after", "1")))
    return status


def _cpu_of(process: int) -> float | None:
    """Seconds of CPU that a process has used, where the system tells."""
    with suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return None


def render(result: Result | str, in_process: str) -> str:
    """The section of the report."""
    lines = ["## CPU per order and orders a second", "", in_process, ""]
    if isinstance(result, str):
        return "\n".join([*lines, f"Orders a second were **not measured**: {result}"])
    rate = result.orders / result.seconds
    verdict = "met" if rate >= AIM else "missed"
    sold = result.rivals["201"]
    refused = result.rivals["409"]
    other = sum(result.rivals.values()) - sold - refused
    rows = [
        [f"{BUYERS} buyers, {len(SKUS)} SKUs, {result.orders:,} one-line orders", ""],
        ["orders a second", f"{rate:.0f}"],
        ["answered within, median", f"{result.percentile(0.5):.0f} ms"],
        ["answered within, 99 of 100", f"{result.percentile(0.99):.0f} ms"],
        ["CPU of our process, an order", f"{result.cpu:.1f} ms"],
        ["CPU of the database, an order", "not told" if result.database is None else f"{result.database:.1f} ms"],
        [f"{RIVALS} buyers for {UNITS} units: sold", str(sold)],
        ["refused as out of stock", str(refused)],
        ["anything else", str(other)],
        ["left", str(result.left)],
    ]
    return "\n".join(
        [
            *lines,
            f"**{rate:.0f} orders a second** on DynamoDB Local {dynamodb_local.VERSION} (AWS's own, in memory), which",
            f"shares the machine's cores with the buyers (aim: {AIM}: {verdict}). **{sold} of {UNITS} units sold** to",
            f"{RIVALS} buyers at once. The aim is 25 times the best of {ANCHORS},",
            "which were measured earlier on two cores and not beside this run.",
            "",
            "Each buyer is a process that calls the handler of `POST /orders` as API Gateway would, with a Stripe",
            "simulator of its own; requests are signed and go over HTTP. No API Gateway and no Lambda are in the way.",
            f"{_WARM_UP} orders of each buyer went before, since Java compiles while it runs.",
            "",
            table(rows),
        ]
    )
