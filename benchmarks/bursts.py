"""How many calls a burst of orders costs the channels, and how soon they acknowledge it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from aws_lambda_powertools.metrics import MetricUnit

from benchmarks import shop
from benchmarks.life import Life
from benchmarks.report import Progress, table
from oms.runtime import telemetry
from tests.simulation.system import CHANNELS

ORDERS, SKUS, UNITS = 1000, 50, 500
DURATIONS = (1, 10)
AIM_BULK = 80
BULK = ("ebay", "shopify", "webhook")
"""They take many quantities in one call; Etsy and Amazon take one listing at a time."""
ANSWER_SECONDS = 0.15
"""How long a marketplace takes to answer."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Calls to each channel while orders came for so many seconds, and until it agreed with the record."""

    seconds: int
    calls: Mapping[str, int]
    lags: Mapping[str, Sequence[float]]
    """Milliseconds from the change of stock to each acknowledgement."""
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
        life.furnish(dict.fromkeys(skus, UNITS), CHANNELS)
        life.system.clock.advance(60)  # the simulators' budgets are full again
        life.reset()
        life.last_calls.clear()
        lags: dict[str, list[float]] = {channel: [] for channel in CHANNELS}
        telemetry._record = partial(_note_lag, lags)
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
    calls: Counter[str] = Counter()
    for call, count in usage.outside.items():
        service = call.split(" ")[0]
        if service in CHANNELS:
            calls[service] += count
    return Burst(
        seconds,
        calls,
        lags,
        {channel: life.refused[channel] for channel in CHANNELS},
        {channel: max(0.0, life.last_calls.get(channel, over) - over) for channel in CHANNELS},
    )


def _note_lag(lags: dict[str, list[float]], name: str, value: float, unit: MetricUnit, channel: str | None) -> None:
    if name == "ChannelLag" and channel:
        lags[channel].append(value)


def render(result: Result) -> str:
    """The section of the report."""
    rows = [["burst", "channel", "calls", "refused with 429", "known after, p50", "p95", "caught up after"]]
    for burst in result.bursts:
        for channel in CHANNELS:
            lags = sorted(burst.lags[channel])
            rows.append(
                [
                    f"{result.orders:,} orders in {burst.seconds} s",
                    channel,
                    f"{burst.calls[channel]:,}",
                    str(burst.refused[channel]),
                    _milliseconds(lags, 0.5),
                    _milliseconds(lags, 0.95),
                    f"{burst.caught_up[channel]:.0f} s",
                ]
            )
    bulk = {channel: max(burst.calls[channel] for burst in result.bursts) for channel in BULK}
    worst = max(bulk, key=lambda channel: bulk[channel])
    verdict = "met" if bulk[worst] <= AIM_BULK else "missed"
    together = max(sum(burst.calls.values()) for burst in result.bursts)
    return "\n".join(
        [
            "## What a burst of orders costs the channels",
            "",
            f"**{bulk[worst]} calls to {worst}**, the most among the channels with bulk calls, in the worse of two",
            f"bursts (aim: at most {AIM_BULK}: {verdict}), and {together} to all five. One push an order would be",
            f"{result.orders:,} calls to each and {result.orders * len(CHANNELS):,} to all, reads not counted.",
            "",
            f"{result.orders:,} one-line orders over {SKUS} SKUs, through the real handlers in virtual time, with",
            "the simulators and their rate limits in process; a marketplace answers after",
            f"{1000 * ANSWER_SECONDS:.0f} ms. A second's orders reach the fan-out together, as the channels' batching",
            "window of a second collects them. Etsy and Amazon have no bulk call for quantities: each changed SKU is a",
            "read and a push there, and they take 10 and 5 calls a second. At the end all agreed with the record",
            "for every SKU. *Known after* is from the change of stock to the acknowledgement, *caught up after* from",
            "the last order to the last call.",
            "",
            table(rows),
        ]
    )


def _milliseconds(lags: Sequence[float], share: float) -> str:
    return f"{lags[min(len(lags) - 1, int(len(lags) * share))]:,.0f} ms" if lags else "-"
