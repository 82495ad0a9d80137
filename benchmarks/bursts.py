"""How many calls a burst of orders costs the channels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import shop
from benchmarks.life import CHANNELS, Life
from benchmarks.report import Progress, table

ORDERS, SKUS, UNITS = 1000, 50, 500
DURATIONS = (1, 10)
AIM_BULK = 80
ANSWER_SECONDS = 0.15
"""How long a marketplace takes to answer."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Calls to each channel while orders came for so many seconds, and until it agreed with the record."""

    seconds: int
    reads: Mapping[str, int]
    pushes: Mapping[str, int]
    refused: Mapping[str, int]
    caught_up: Mapping[str, float]
    """Seconds of virtual time from the last order to the last call."""


@dataclass(frozen=True, slots=True)
class Result:
    """Bursts of the same orders, packed more or less tightly."""

    orders: int
    bursts: Sequence[Burst]


def measure(progress: Progress, orders: int = ORDERS) -> Result:
    """Place the orders in one second and in ten."""
    return Result(orders, [_burst(progress, orders, seconds) for seconds in DURATIONS])


def _burst(progress: Progress, orders: int, seconds: int) -> Burst:
    life = Life(dict.fromkeys(CHANNELS, ANSWER_SECONDS))
    skus = [f"SKU-{number:02d}" for number in range(SKUS)]
    with life.running():
        progress.say(f"burst in {seconds} s: {SKUS} products on {len(CHANNELS)} channels")
        life.furnish(dict.fromkeys(skus, UNITS))
        life.system.clock.advance(60)  # the simulators' budgets are full again
        life.reset()
        life.last_calls.clear()
        began = life.system.clock.now
        for second in range(seconds):
            for number in range(second * orders // seconds, (second + 1) * orders // seconds):
                progress.step(f"burst in {seconds} s: orders", number, orders)
                reply = life.request(
                    "place_order/api",
                    "POST /orders",
                    body=shop.checkout([skus[number * 7 % SKUS]]),
                    headers={"idempotency-key": f"burst-{number:05d}"},
                )
                if not reply.ok:
                    raise RuntimeError(f"an order was answered {reply.status}: {json.dumps(reply.body)}")
            life.run_until(began + second + 1)
        over = life.system.clock.now
        progress.say(f"burst in {seconds} s: until the channels have caught up")
        life.settle(horizon=900.0)
        usage = life.usage()
        for sku in skus:
            stock = life.system.cloud.item("InventoryTable", f"SKU#{sku}", "STOCK#0")
            record = int(stock["available"]["N"]) if stock else None
            shown = {channel: life.system.cores[channel].shown(sku) for channel in CHANNELS}
            if set(shown.values()) != {record}:
                raise RuntimeError(f"{sku}: {record} are available and the channels show {shown}")
    reads: Counter[str] = Counter()
    pushes: Counter[str] = Counter()
    for call, count in usage.outside.items():
        service, method, path = call.split(" ")
        if service in CHANNELS:
            (reads if method == "GET" or "bulk_get" in path else pushes)[service] += count
    return Burst(
        seconds,
        reads,
        pushes,
        {channel: life.refused[channel] for channel in CHANNELS},
        {channel: max(0.0, life.last_calls.get(channel, over) - over) for channel in CHANNELS},
    )


def render(result: Result) -> str:
    """The section of the report."""
    rows = [["burst", "channel", "calls", "of these, reads", "refused with 429", "caught up after"]]
    for burst in result.bursts:
        for channel in CHANNELS:
            total = burst.reads[channel] + burst.pushes[channel]
            rows.append(
                [
                    f"{result.orders:,} orders in {burst.seconds} s",
                    channel,
                    f"{total:,}",
                    f"{burst.reads[channel]:,}",
                    str(burst.refused[channel]),
                    f"{burst.caught_up[channel]:.0f} s",
                ]
            )
    bulk = max(burst.reads["ebay"] + burst.pushes["ebay"] for burst in result.bursts)
    together = max(sum(burst.reads.values()) + sum(burst.pushes.values()) for burst in result.bursts)
    verdict = "met" if bulk <= AIM_BULK else "missed"
    return "\n".join(
        [
            "## What a burst of orders costs the channels",
            "",
            f"**{bulk} calls to eBay**, which has bulk calls, in the worse of two bursts (aim: at most {AIM_BULK}:",
            f"{verdict}), and {together} to both channels. One push for every order would be",
            f"{result.orders:,} calls to each and {result.orders * len(CHANNELS):,} to both, reads not counted.",
            "",
            f"{result.orders:,} one-line orders over {SKUS} SKUs, through the real handlers in virtual time, with",
            "the Etsy and eBay simulators and their rate limits in process; a marketplace answers after",
            f"{1000 * ANSWER_SECONDS:.0f} ms. A second's orders reach the fan-out together, as the channels' batching",
            "window of a second collects them. Etsy has no bulk call for quantities: each changed SKU is a read and a",
            "push there, and it takes 10 calls a second. At the end both agreed with the record for every SKU.",
            "*Caught up after* is the time from the last order to the channel's last call.",
            "",
            table(rows),
        ]
    )
