"""A plain order from placement to parcel: what it uses, and what AWS asks for a thousand of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from benchmarks import prices, shop
from benchmarks.life import CHANNELS, Life, Usage
from benchmarks.report import Progress, table
from tests.simulation.system import Reply

AIM_DOLLARS, AIM_LOG_BYTES = 0.15, 4096
_SKU = "SHIRT"


@dataclass(frozen=True, slots=True)
class Result:
    """What one order used, and what had become of it."""

    usage: Usage
    log: str


def measure(progress: Progress) -> Result:
    """Play the life of an order twice; the second time, with warm caches, is measured."""
    life = Life()
    with life.running():
        progress.say("whole life: products, listings")
        life.furnish({_SKU: 1000})
        play(life, "first")
        life.reset()
        progress.say("whole life: one order, from placement to parcel")
        play(life, "second")
        return Result(life.usage(), life.log.getvalue())


def play(life: Life, name: str) -> None:
    """Place, pay, allocate, pick, pack, ship and tell both channels. Raises when the order does not get there."""
    system = life.system
    placed = _good(
        life.request(
            "place_order/api",
            "POST /orders",
            body=shop.checkout([_SKU]),
            headers={"idempotency-key": f"benchmark-{name}"},
        )
    )
    life.settle()
    secret = placed["payment"]["client_secret"]
    system.control("stripe", "POST", "/_sim/pay", {"payment_intent": secret, "payment_method": "pm_card_visa"})
    life.settle()
    for kind in ("pick", "pack"):
        work = _good(
            life.request(
                "fulfillment/warehouse_api",
                "GET /warehouse/{facility}/work",
                parameters={"facility": "main"},
                groups=("warehouse",),
            )
        )
        (task,) = [each for each in work["tasks"] if each["order_id"] == placed["order_id"]]
        if task["kind"] != kind:
            raise RuntimeError(f"a {kind} was expected, and the floor shows a {task['kind']}")
        _task(life, task["task_id"], "scans", {"sku": _SKU})
        _task(life, task["task_id"], "complete")
        life.settle()
    order = system.cloud.item("OrdersTable", f"ORDER#{placed['order_id']}", "ORDER")
    if order is None or order["status"]["S"] != "completed":
        raise RuntimeError(f"the order should be completed and is {order and order['status']['S']}")
    shown = {channel: system.cores[channel].shown(_SKU) for channel in CHANNELS}
    if len(set(shown.values())) != 1:
        raise RuntimeError(f"the channels disagree: {shown}")


def _task(life: Life, task: str, what: str, body: Any = None) -> None:
    route = f"POST /warehouse/tasks/{{id}}/{what}"
    headers = {"idempotency-key": f"{task}-{what}"}
    _good(
        life.request(
            "fulfillment/warehouse_api",
            route,
            parameters={"id": task},
            groups=("warehouse",),
            body=body,
            headers=headers,
        )
    )


def _good(reply: Reply) -> Any:
    if not reply.ok:
        raise RuntimeError(f"answered {reply.status}: {json.dumps(reply.body)}")
    return reply.body


def render(result: Result) -> str:
    """The section of the report."""
    usage = result.usage
    bill = prices.bill(usage)
    total = sum(line.dollars for line in bill)
    dollars = "met" if total <= AIM_DOLLARS else "missed"
    logs = "met" if usage.log_bytes <= AIM_LOG_BYTES else "missed"
    functions = [["function", "invocations", "calls to AWS", "to others", "CPU"]]
    functions += [
        [name, str(each.count), str(each.aws_calls), str(each.other_calls), f"{1000 * each.cpu:.1f} ms"]
        for name, each in sorted(usage.functions.items())
    ]
    rows = [["per order", "used", "list price", "USD for 1,000 orders"]]
    rows += [[line.what, f"{line.used:,.4g} {line.unit}", line.price, f"{line.dollars:.4f}"] for line in bill]
    rows.append(["**together**", "", "", f"**{total:.3f}**"])
    return "\n".join(
        [
            "## The whole life of a one-line order",
            "",
            f"**USD {total:.3f} for 1,000 orders** at AWS's list prices (aim: at most {AIM_DOLLARS}: {dollars}) and",
            f"**{usage.log_bytes:,} bytes of logs an order** (aim: at most {AIM_LOG_BYTES:,}: {logs}).",
            "",
            "Placed, paid by card, allocated, picked, packed and shipped as one parcel, and its stock told to two",
            "channels: the real handlers, wired as in `template.yaml`, in one process, on MiniStack's DynamoDB and SQS",
            "and the simulation's Step Functions. The order comes alone, so every change is an invocation of its own:",
            "under load batches are larger and the order is cheaper. The second of two orders is measured, with warm",
            "caches. Logs are what the functions print, metrics included, with CloudWatch's 26 bytes an event.",
            "",
            table(rows),
            "",
            f"Lambda's time is a model: CPU as measured here and stretched to {prices.MEMORY_MB} MB's share of a core",
            f"({prices.STRETCH:.1f} times), {prices.AWS_CALL_MS} ms a call to AWS and {prices.OTHER_CALL_MS} ms a call",
            "to anybody else. The prices are those of us-east-1, entered in November 2026 (`benchmarks/prices.py`).",
            "Not in the table, because no order causes it: the scheduled functions, polling of empty",
            "queues, secrets, alarms, custom metrics, storage and backups.",
            "",
            f"Step Functions, {len(usage.transitions)} transitions: {', '.join(usage.transitions)}. SQS: "
            + ", ".join(f"{count} {name}" for name, count in sorted(usage.sqs.items()))
            + f". Log events: {usage.log_events}. Write units of the indexes: {usage.index_units:g}.",
            "",
            table(functions),
            "",
            "Requests through API Gateway: "
            + ", ".join(f"{n} `{route}`" for route, n in sorted(usage.requests.items()))
            + ".",
        ]
    )
