"""Orders fulfilled a minute: scripted pickers at the local cloud, from the first pick until the last parcel left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.report import Progress, table
from local import cloud
from local.client import Client, checkout

ORDERS, PICKERS, SKUS = 60, 4, 10
PATIENCE = 900.0
"""Seconds until what is not done is told as not done."""
_PAUSE = 0.5


@dataclass(slots=True)
class Shift:
    """What the pickers did together."""

    claimed: set[str] = field(default_factory=set)
    packed: set[str] = field(default_factory=set)
    scans: dict[int, list[float]] = field(default_factory=dict)
    """Seconds until each scan was answered, by picker."""
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def claim(self, tasks: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """The first task that no colleague works on."""
        with self.lock:
            found = next((task for task in tasks if task["task_id"] not in self.claimed), None)
            if found:
                self.claimed.add(found["task_id"])
            return found


@dataclass(frozen=True, slots=True)
class Result:
    """One shift: orders that left, after how many seconds, and how long each scan took, by picker."""

    orders: int
    left: int
    seconds: float
    scans: Mapping[int, Sequence[float]]
    refused: int


def measure(progress: Progress, orders: int = ORDERS) -> Result:
    """Start a cloud, sell ``orders`` orders of two lines, and let the pickers work until all of them have left."""
    progress.say("floor: the local cloud starts")
    with _only_the_built_layer(), cloud.running() as endpoints:
        client = Client(endpoints, connections=PICKERS + 8, timeout=120.0)
        skus = [client.stock_up(f"FLOOR-{number:02d}", 10 * orders) for number in range(SKUS)]
        with ThreadPoolExecutor(4) as shoppers:
            placed = list(shoppers.map(lambda number: _sold(client, skus, number), range(orders)))
        progress.say(f"floor: {PICKERS} pickers, {orders} orders")
        shift, began = Shift(), time.perf_counter()
        end = began + PATIENCE
        pickers = [threading.Thread(target=_work, args=(client, shift, each, orders, end)) for each in range(PICKERS)]
        for picker in pickers:
            picker.start()
        for picker in pickers:
            picker.join()
        waiting = list(placed)
        while waiting and time.perf_counter() < end:
            waiting = [order for order in waiting if client.order(order)["status"] != "completed"]
            time.sleep(_PAUSE)
        seconds = time.perf_counter() - began
    return Result(orders, orders - len(waiting), seconds, shift.scans, shift.refused)


def _sold(client: Client, skus: Sequence[str], number: int) -> Any:
    lines = ((skus[number % SKUS], 1 + number % 2), (skus[(number * 3 + 1) % SKUS], 1))
    placed = client.place(checkout(*dict(lines).items())).expect(201)
    client.pay(placed).expect(200)
    return placed


def _work(client: Client, shift: Shift, picker: int, orders: int, end: float) -> None:
    """One picker: the next work, every unit scanned by itself, until everything is packed."""
    times = shift.scans.setdefault(picker, [])
    while len(shift.packed) < orders and time.perf_counter() < end:
        page = client.api("GET", "/warehouse/main/work", staff="warehouse").expect(200)
        task = shift.claim(page["tasks"])
        if task is None:
            time.sleep(_PAUSE)
            continue
        client.task(task["task_id"], "start").expect(200)
        for unit in task["units"]:
            for _ in range(unit["remaining"]):
                answer = client.task(task["task_id"], "scans", {"sku": unit["sku"]})
                times.append(answer.seconds)
                shift.refused += answer.status != 200
        client.task(task["task_id"], "complete").expect(200)
        if task["kind"] == "pack":
            shift.packed.add(task["order_id"])


@contextmanager
def _only_the_built_layer() -> Iterator[None]:
    """The cloud's functions find our code in their layer, as they do in AWS, and not where this process has it from."""
    path = os.environ.pop("PYTHONPATH", None)
    try:
        yield
    finally:
        if path is not None:
            os.environ["PYTHONPATH"] = path


def render(result: Result) -> str:
    """The section of the report."""
    scans = sorted(each for times in result.scans.values() for each in times)
    by_picker = [len(times) for times in result.scans.values()]
    rate = 60 * result.left / result.seconds
    rows = [
        [f"{PICKERS} pickers, {result.orders} orders of one to two lines", ""],
        ["orders that left", f"{result.left}"],
        ["orders a minute", f"{rate:.1f}"],
        ["scans of a picker, least and most", f"{min(by_picker)} and {max(by_picker)}"],
        ["scans a minute, all pickers", f"{60 * len(scans) / result.seconds:.0f}"],
        ["a scan is answered within, p50", f"{1000 * _share(scans, 0.5):.0f} ms"],
        ["p95", f"{1000 * _share(scans, 0.95):.0f} ms"],
        ["scans refused", f"{result.refused}"],
    ]
    return "\n".join(
        [
            "## Orders fulfilled a minute",
            "",
            f"**{rate:.1f} orders a minute** picked, packed, labelled and gone through the local cloud: API, workflow,",
            "streams, queues and simulators on one machine, roles enforced. Scripted pickers ask for the next work",
            "and scan every unit twice, as it is picked and as it is packed; they do not walk: the system is measured.",
            "",
            table(rows),
        ]
    )


def _share(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
