"""A warehouse in a test: the workflow's own definition walked step by step, and people who pick and pack.

``Floor.settle`` plays the orders stream to ``start`` and lets executions run until everybody waits for somebody.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.simulators.core import Request
from oms.fulfillment.carrier import Address
from oms.fulfillment.facilities import put_facility
from oms.orders.model import Event, Hold, Order
from oms.orders.store import Change
from oms.runtime.clock import to_text
from oms.runtime.dynamo import to_item
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop, _everything

DEFINITION = json.loads(Path("functions/fulfillment/pick_pack_ship.asl.json").read_text())
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:pick-pack-ship"
ORIGIN = Address("Our warehouse", "1 Dock Street", "Portland", "97209", "US", region="OR")

Walk = Generator[set[str], tuple[str, str], Any]


class StateFailed(Exception):
    """An error that Retry and Catch may name."""


@dataclass
class Execution:
    """One run: what it waits for, and how it ended."""

    name: str
    walk: Walk
    status: str = "RUNNING"
    error: str = ""
    waits: set[str] = field(default_factory=set)


class StepFunctionsClient:
    """As much of Step Functions as we call, on virtual executions."""

    def __init__(self) -> None:
        self.executions: dict[str, Execution] = {}
        self.answers: list[tuple[str, str]] = []
        self.states: list[str] = []
        self._tokens = 0

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> None:
        if name in self.executions:
            raise _refused("ExecutionAlreadyExists")
        self.executions[name] = Execution(name, self._machine(DEFINITION, json.loads(input), name))

    def describe_execution(self, *, executionArn: str) -> dict[str, str]:
        return {"status": self._named(executionArn).status}

    def stop_execution(self, *, executionArn: str, error: str, cause: str) -> None:
        execution = self._named(executionArn)
        if execution.status == "RUNNING":
            execution.status, execution.waits = "ABORTED", set()

    def send_task_success(self, *, taskToken: str, output: str) -> None:
        self._answer(taskToken, "")

    def send_task_failure(self, *, taskToken: str, error: str) -> None:
        self._answer(taskToken, error)

    def time_out(self, token: str) -> None:
        """Let a wait run out."""
        self._answer(token, "States.Timeout")

    def _answer(self, token: str, error: str) -> None:
        if not any(token in execution.waits for execution in self.executions.values()):
            raise _refused("TaskTimedOut")
        self.answers.append((token, error))

    def _named(self, arn: str) -> Execution:
        machine, _, name = arn.rpartition(":")
        assert machine == MACHINE.replace(":stateMachine:", ":execution:")
        if name not in self.executions:
            raise _refused("ExecutionDoesNotExist")
        return self.executions[name]

    # ---- walking -------------------------------------------------------------------------------------------------

    def advance(self) -> bool:
        """Let every execution go as far as it can; whether any of them moved."""
        moved = False
        for execution in list(self.executions.values()):
            if execution.status == "RUNNING" and not execution.waits:
                moved = True
                self._go(execution, None)
        while self.answers:
            answer = self.answers.pop(0)
            for execution in self.executions.values():
                if answer[0] in execution.waits:
                    moved = True
                    self._go(execution, answer)
        return moved

    def _go(self, execution: Execution, answer: tuple[str, str] | None) -> None:
        try:
            execution.waits = next(execution.walk) if answer is None else execution.walk.send(answer)
        except StopIteration:
            execution.status, execution.waits = "SUCCEEDED", set()
        except StateFailed as failure:
            execution.status, execution.error, execution.waits = "FAILED", str(failure), set()

    def _machine(self, machine: Mapping[str, Any], data: Any, run: str) -> Walk:
        name = machine["StartAt"]
        while True:
            state = machine["States"][name]
            self.states.append(name)
            try:
                if state["Type"] == "Succeed":
                    return data
                if state["Type"] == "Fail":
                    raise StateFailed(state["Error"])
                work = self._map if state["Type"] == "Map" else self._task
                result = yield from work(state, data, run)
                if state.get("OutputPath") == "$.Payload":
                    data = result
            except StateFailed as failure:
                handler = next((each for each in state.get("Catch", ()) if _names(each, failure)), None)
                if handler is None:
                    raise
                data = {**data, "failure": {"Error": str(failure)}}
                name = handler["Next"]
                continue
            if state.get("End"):
                return data
            name = state["Next"]

    def _task(self, state: Mapping[str, Any], data: Any, run: str) -> Walk:
        made: dict[int, int] = {}
        while True:
            self._tokens += 1
            token = f"token-{self._tokens}"
            try:
                result = _invoke(state["Parameters"]["Payload"], data, run, token)
                if state["Resource"].endswith(".waitForTaskToken"):
                    _, error = yield {token}
                    if error:
                        raise StateFailed(error)
                return result
            except StateFailed as failure:
                rules = state["Retry"]
                number = next((n for n, rule in enumerate(rules) if _names(rule, failure)), None)
                if number is None or made.get(number, 0) >= rules[number]["MaxAttempts"]:
                    raise
                made[number] = made.get(number, 0) + 1

    def _map(self, state: Mapping[str, Any], data: Any, run: str) -> Walk:
        branches: list[tuple[Walk, set[str]]] = []
        for item in data["shipments"]:
            walk = self._machine(state["ItemProcessor"], {"order_id": data["order_id"], "shipment": item}, run)
            waits = _step(walk, None)
            if waits is not None:
                branches.append((walk, waits))
        while branches:
            answer = yield set().union(*(waits for _, waits in branches))
            moved = [(walk, _step(walk, answer) if answer[0] in waits else waits) for walk, waits in branches]
            branches = [(walk, waits) for walk, waits in moved if waits is not None]
        return data


def _step(walk: Walk, answer: tuple[str, str] | None) -> set[str] | None:
    try:
        return next(walk) if answer is None else walk.send(answer)
    except StopIteration:
        return None


def _names(rule: Mapping[str, Any], failure: StateFailed) -> bool:
    return str(failure) in rule["ErrorEquals"] or "States.ALL" in rule["ErrorEquals"]


def _invoke(template: Mapping[str, Any], data: Any, run: str, token: str) -> Any:
    context = {"$$.Execution.Name": run, "$$.Task.Token": token}
    payload: dict[str, Any] = {}
    for key, value in template.items():
        if not key.endswith(".$"):
            payload[key] = value
        elif value in context:
            payload[key[:-2]] = context[value]
        else:
            found = data
            for part in value.removeprefix("$.").split("."):
                found = found[part]
            payload[key[:-2]] = found
    try:
        return import_module("functions.fulfillment.workflow").handler(payload, Context())
    except Exception as error:
        raise StateFailed(type(error).__name__) from error


def _refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "operation")


class Floor:
    """The warehouse of a shop."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.workflows = StepFunctionsClient()
        self.deaf = False
        self._seen: dict[tuple[str, str], dict[str, Any]] = {}
        shop.app.stepfunctions = shop.rights.of("states", self.workflows)
        object.__setattr__(shop.app.settings, "state_machine_arn", MACHINE)
        put_facility(shop.app.inventory, ORIGIN, shop.now)

    def settle(self) -> None:
        """Stream, executions, stream, … until nothing moves."""
        for _ in range(60):
            if not (self._stream() | self.workflows.advance()):
                return
        raise AssertionError("the workflow does not come to rest")

    def _stream(self) -> bool:
        """Play what changed in the orders table to ``start``; lost while ``deaf``."""
        now = {(item["pk"], item["sk"]): item for item in _everything(self.shop.app.orders.table)}
        records = [
            {
                "dynamodb": {
                    "SequenceNumber": str(number),
                    "Keys": to_item({"pk": key[0], "sk": key[1]}),
                    "NewImage": to_item(item),
                    **({"OldImage": to_item(self._seen[key])} if key in self._seen else {}),
                }
            }
            for number, (key, item) in enumerate(now.items())
            if self._seen.get(key) != item and item["entity"] in ("order", "shipment")
        ]
        self._seen = now
        if records and not self.deaf:
            result = import_module("functions.fulfillment.start").handler({"Records": records}, Context())
            assert result == {"batchItemFailures": []}
        return bool(records)

    # ---- people ----------------------------------------------------------------------------------------------------

    def work(self, kind: str | None = None, facility: str = "main", cursor: str | None = None) -> Any:
        """The tasks that the floor shows."""
        query = {name: value for name, value in (("kind", kind), ("cursor", cursor)) if value}
        answer = self.shop.call(
            "fulfillment.warehouse_api",
            "GET /warehouse/{facility}/work",
            path={"facility": facility},
            query=query,
            staff=STAFF_CLAIMS,
        )
        assert answer.status == 200, answer
        return answer.body

    def post(self, task: str, what: str, body: Any = None, key: str = "", staff: Any = STAFF_CLAIMS) -> Answer:
        """One call of a scanner."""
        headers = {"idempotency-key": key} if key else {}
        route = f"POST /warehouse/tasks/{{id}}/{what}"
        return self.shop.call("fulfillment.warehouse_api", route, body, path={"id": task}, headers=headers, staff=staff)

    def do(self, task: Mapping[str, Any]) -> None:
        """Scan everything that a task still asks for, and complete it."""
        for unit in task["units"]:
            for scan in unit["lots"] or [{"quantity": unit["remaining"]}]:
                if scan["quantity"]:
                    told = {name: value for name, value in scan.items() if value is not None}
                    answer = self.post(task["task_id"], "scans", {"sku": unit["sku"], **told})
                    assert answer.status == 200, answer
        answer = self.post(task["task_id"], "complete")
        assert answer.status == 200, answer
        self.settle()

    def do_all(self) -> None:
        """Work until nothing is left to do."""
        self.settle()
        while tasks := self.work()["tasks"]:
            self.do(tasks[0])

    def label_count(self) -> int:
        """How many labels are paid for: bought and not given back."""
        labels = self.shop.easypost.handle(Request.to("GET", "/_sim/labels")).json()
        return sum(1 for label in labels if not label["refund_status"])

    def carrier_fails(self, *faults: Mapping[str, Any], down: bool = False) -> None:
        """The carrier's next answers go wrong."""
        body = json.dumps({"down": down, "next": list(faults)}).encode()
        self.shop.easypost.handle(Request.to("POST", "/_sim/faults", {"content-type": "application/json"}, body))

    def hold(self, order_id: str, kind: str = "operator") -> None:
        """A person stops an order."""
        now = to_text(self.shop.now)

        def held(order: Order) -> Change:
            holds = {**order.holds, kind: Hold("a question", "kim", now, now)}
            return Change(replace(order, holds=holds), Event("HoldPlaced", "staff:kim", "a question"))

        self.shop.app.orders.change(order_id, held, self.shop.now)

    def release(self, order_id: str) -> None:
        """A person lets an order go on."""

        def released(order: Order) -> Change:
            return Change(replace(order, holds={}), Event("HoldReleased", "staff:kim", "solved"))

        self.shop.app.orders.change(order_id, released, self.shop.now)
        self.settle()

    def order(self, placed: Answer) -> Order:
        """The order as it is kept."""
        return self.shop.app.orders.require(placed.body["order_id"])

    def place(self, sku: str = "SHIRT", facility: str = "main") -> tuple[int, int]:
        """On hand and allocated at a facility."""
        place = self.shop.app.inventory.locations(sku)[facility]
        return place.on_hand, place.allocated
