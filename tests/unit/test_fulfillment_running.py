"""Which changes in the stream start, stop or wake a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from oms.fulfillment.running import RunFulfillment, StepFunctions
from oms.orders.model import Order
from oms.orders.store import order_from_item

ORDER: dict[str, Any] = {
    "pk": "ORDER#o1",
    "sk": "ORDER",
    "entity": "order",
    "status": "confirmed",
    "channel": "web",
    "customer": {},
    "customer_id": "c1",
    "address": {},
    "lines": [{"sku": "SHIRT", "qty": 1, "price": 100}],
    "currency": "USD",
    "totals": {"items": 100},
    "payment": {"status": "captured", "captured": 100},
    "created_at": "t",
    "expires_at": "t",
    "digest": b"",
    "version": 2,
    "head": b"",
    "effects": ["start_fulfillment"],
}
HOLD = {"reason": "r", "owner": "o", "since": "t", "deadline": "t"}


@dataclass
class RecordedWorkflows:
    """Says what it was asked to do."""

    calls: list[tuple[str, ...]] = field(default_factory=list)

    def start(self, name: str, order_id: str) -> bool:
        self.calls.append(("start", name))
        return True

    def running(self, name: str) -> bool:
        return True

    def stop(self, name: str) -> None:
        self.calls.append(("stop", name))

    def succeed(self, token: str) -> None:
        self.calls.append(("succeed", token))

    def fail(self, token: str, error: str) -> None:
        self.calls.append(("fail", token, error))


@dataclass
class OneOrder:
    """Orders of which there is one."""

    item: dict[str, Any]

    def require(self, order_id: str) -> Order:
        return order_from_item(self.item)


def told(old: dict[str, Any], new: dict[str, Any], now: dict[str, Any] | None = None) -> list[tuple[str, ...]]:
    """What a change from ``old`` to ``new`` sets in motion while the order stands as ``now``."""
    workflows = RecordedWorkflows()
    running = RunFulfillment(OneOrder(now or new), None, workflows, lambda: datetime.now(UTC))  # type: ignore[arg-type]
    if new["entity"] == "order":
        running.order_changed(old, new)
    else:
        running.shipment_changed(old, new)
    return workflows.calls


def test_a_confirmed_order_starts_once() -> None:
    placed = {**ORDER, "status": "placed", "effects": []}
    assert told(placed, ORDER) == [("start", "o1")]
    assert told(ORDER, {**ORDER, "version": 3}) == []
    assert told(ORDER, {**ORDER, "redriven": 1}) == [("start", "o1")]


def test_a_restart_has_a_name_of_its_own_and_ends_its_predecessor() -> None:
    assert told(ORDER, {**ORDER, "runs": 2}) == [("start", "o1-2"), ("stop", "o1-1")]


def test_a_draft_does_not_start_before_it_is_committed() -> None:
    draft = {**ORDER, "committed": False}
    assert told({}, draft) == []
    assert told(draft, ORDER) == [("start", "o1")]


def test_a_held_order_starts_with_its_release() -> None:
    held = {**ORDER, "holds": {"fraud": HOLD}}
    assert told({}, held) == []
    assert told(held, ORDER) == [("start", "o1")]


def test_what_the_order_is_now_decides_and_not_the_record() -> None:
    assert told({}, ORDER, now={**ORDER, "status": "in_fulfillment", "effects": []}) == []
    assert told({}, ORDER, now={**ORDER, "holds": {"fraud": HOLD}}) == []


def test_the_end_of_a_task_wakes_the_step_that_waits() -> None:
    task = {"kind": "pick", "token": "t1", "state": "open"}
    open_, done, short = (
        {"entity": "shipment", "task": {**task, "state": state}} for state in ("open", "done", "short")
    )
    assert told(open_, done) == [("succeed", "t1")]
    assert told(open_, short) == [("fail", "t1", "ShortPick")]
    assert told(done, {**done, "version": 9}) == []
    assert told({}, open_) == []


def test_only_answers_to_waits_that_are_over_are_forgiven() -> None:
    from botocore.exceptions import ClientError

    class Client:
        def __init__(self, code: str) -> None:
            self.code = code

        def send_task_success(self, **_: Any) -> None:
            raise ClientError({"Error": {"Code": self.code, "Message": ""}}, "SendTaskSuccess")

    for code in ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken"):
        StepFunctions(Client(code), "arn").succeed("t1")
    with pytest.raises(ClientError):
        StepFunctions(Client("ThrottlingException"), "arn").succeed("t1")
