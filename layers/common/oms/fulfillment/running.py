"""Runs of the workflow: started, stopped and woken by what the stream shows of orders and shipments.

A record only says where to look; what is done follows from the order as it is now, so records that come twice, late or
together do no harm.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import ClientError

from oms.fulfillment.allocation import BACKORDER_FOR, could_go_on
from oms.fulfillment.pausing import ALIVE, begun_anew, held, run_name
from oms.fulfillment.shipments import DynamoShipments, finish_cancellation
from oms.inventory.store import DynamoInventory
from oms.orders.model import Effect, Event, Order, Status
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text

SHORT_PICK = "ShortPick"
"""The error with which a short pick ends the workflow's wait."""

_MACHINE, _EXECUTION = ":stateMachine:", ":execution:"
_WAIT_IS_OVER = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})


class Workflows(Protocol):
    """The engine that runs the workflow, in words that are ours."""

    def start(self, name: str, order_id: str) -> bool:
        """Start a run; False when a run of that name has ended. One that is running already is as good."""
        ...

    def running(self, name: str) -> bool:
        """Whether a run of that name is going on."""
        ...

    def stop(self, name: str) -> None:
        """Stop a run, if there is one."""
        ...

    def succeed(self, token: str) -> None:
        """Wake the step that waits for this token; nothing when nobody waits any more."""
        ...

    def fail(self, token: str, error: str) -> None:
        """End the wait with an error; nothing when nobody waits any more."""
        ...


class StepFunctions:
    """``Workflows`` on AWS Step Functions."""

    def __init__(self, client: Any, machine_arn: str) -> None:
        self._client = client
        self._machine_arn = machine_arn

    def start(self, name: str, order_id: str) -> bool:
        """Start an execution of this name."""
        try:
            self._client.start_execution(
                stateMachineArn=self._machine_arn, name=name, input=json.dumps({"order_id": order_id})
            )
        except ClientError as error:
            if _code(error) != "ExecutionAlreadyExists":
                raise
            return self.running(name)
        return True

    def running(self, name: str) -> bool:
        """Whether the execution of this name is running."""
        try:
            answer = self._client.describe_execution(executionArn=self._execution_arn(name))
        except ClientError as error:
            if _code(error) != "ExecutionDoesNotExist":
                raise
            return False
        return bool(answer["status"] == "RUNNING")

    def stop(self, name: str) -> None:
        """Stop the execution of this name."""
        try:
            self._client.stop_execution(
                executionArn=self._execution_arn(name), error="OrderEnded", cause="the order was cancelled"
            )
        except ClientError as error:
            if _code(error) != "ExecutionDoesNotExist":
                raise

    def succeed(self, token: str) -> None:
        """Answer a task token."""
        self._answer(lambda: self._client.send_task_success(taskToken=token, output="{}"))

    def fail(self, token: str, error: str) -> None:
        """Answer a task token with an error."""
        self._answer(lambda: self._client.send_task_failure(taskToken=token, error=error))

    def _answer(self, send: Callable[[], Any]) -> None:
        try:
            send()
        except ClientError as error:
            if _code(error) not in _WAIT_IS_OVER:
                raise

    def _execution_arn(self, name: str) -> str:
        return f"{self._machine_arn.replace(_MACHINE, _EXECUTION)}:{name}"


@dataclass(frozen=True, slots=True)
class RunFulfillment:
    """What the stream of the orders table sets in motion."""

    orders: DynamoOrders
    inventory: DynamoInventory
    workflows: Workflows
    clock: Clock

    def order_changed(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Start or stop the order's run if this change, or the sweep, calls for it."""
        driven_on = old.get("redriven", 0) != new.get("redriven", 0)
        if Effect.STOP_FULFILLMENT in new.get("effects", ()):
            if driven_on or Effect.STOP_FULFILLMENT not in old.get("effects", ()):
                self.stop(_order_id(new))
        elif _ready(new) and (driven_on or not _ready(old) or old.get("runs", 0) != new.get("runs", 0)):
            self.start(_order_id(new))
        elif (driven_on or _was_given_units(old, new)) and _is_moving(new):
            self.revive(_order_id(new))

    def shipment_changed(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Tell the workflow that a task has ended."""
        task = new.get("task")
        if not task or task == old.get("task"):
            return
        if task["state"] == "done":
            self.workflows.succeed(task["token"])
        elif task["state"] == "short":
            self.workflows.fail(task["token"], SHORT_PICK)

    def start(self, order_id: str) -> None:
        """Start the run that the order asks for; where that one has ended without finishing, its successor."""
        order = self.orders.require(order_id)
        if not _wants_run(order):
            return
        name = run_name(order_id, order.runs)
        if self.workflows.start(name, order_id):
            telemetry.logger.info("fulfillment_started", order_id=order_id, run=name)
            if order.runs:
                # Its predecessor may still wait for a token that nobody will answer.
                self.workflows.stop(run_name(order_id, order.runs - 1))
            return
        self._begin_anew(order_id, order.runs, "its run had ended")

    def revive(self, order_id: str) -> None:
        """Give an order that should be moving a new run if its run is gone."""
        order = self.orders.require(order_id)
        if order.status is not Status.IN_FULFILLMENT or order.holds or Effect.START_FULFILLMENT in order.effects:
            return
        shipments = DynamoShipments(self.orders.table).of(order_id)
        if order.backordered_at and could_go_on(self.inventory, order, shipments, self.clock()):
            self._begin_anew(order_id, order.runs, "stock came for what was backordered")
        elif any(shipment.open and not shipment.waits_for_customer for shipment in shipments) or not (
            order.backordered_at or order.collect_by
        ):
            if not self.workflows.running(run_name(order_id, order.runs)):
                self._begin_anew(order_id, order.runs, "its run was lost")
        elif order.backordered_at and from_text(order.backordered_at) + BACKORDER_FOR <= self.clock():
            self._ask(order_id)

    def _ask(self, order_id: str) -> None:
        """Put an order whose remainder has waited too long before a person."""
        now = self.clock()

        def ask(order: Order) -> Change | None:
            if order.status is not Status.IN_FULFILLMENT or order.holds or not order.backordered_at:
                return None
            reason = f"backordered since {order.backordered_at}"
            return Change(
                held(order, "inventory", reason, "inventory", now), Event("BackorderOverdue", "system", "sweep")
            )

        self.orders.change(order_id, ask, now)

    def _begin_anew(self, order_id: str, runs: int, cause: str) -> None:
        """Ask for the next run, once; the stream brings it back here."""

        def again(order: Order) -> Change | None:
            if order.status not in ALIVE or order.runs != runs:
                return None
            return Change(begun_anew(order), Event("FulfillmentRestarted", "system", cause))

        self.orders.change(order_id, again, self.clock())

    def stop(self, order_id: str) -> None:
        """Stop every run of a dead order, set free what it still holds, and write down that it is done."""
        order = self.orders.require(order_id)
        if Effect.STOP_FULFILLMENT not in order.effects:
            return
        for number in range(order.runs + 1):
            self.workflows.stop(run_name(order_id, number))
        finish_cancellation(DynamoShipments(self.orders.table), self.inventory, order_id, self.clock())

        def stopped(order: Order) -> Change | None:
            if Effect.STOP_FULFILLMENT not in order.effects:
                return None
            return Change(
                order.without_effect(Effect.STOP_FULFILLMENT), Event("FulfillmentStopped", "system", "order ended")
            )

        self.orders.change(order_id, stopped, self.clock())


def _ready(image: Mapping[str, Any]) -> bool:
    """Whether the order as written asks for a run that may begin; a draft asks for nothing yet."""
    return (
        Effect.START_FULFILLMENT in image.get("effects", ()) and not image.get("holds") and image.get("committed", True)
    )


def _is_moving(image: Mapping[str, Any]) -> bool:
    return image["status"] == Status.IN_FULFILLMENT and not image.get("holds")


def _was_given_units(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether units came for a remainder that waits while the rest of the order goes ahead."""
    return "backordered_at" in new and old.get("oversold", {}) != new.get("oversold", {})


def _wants_run(order: Order) -> bool:
    return order.status in ALIVE and Effect.START_FULFILLMENT in order.effects and not order.holds


def _order_id(image: Mapping[str, Any]) -> str:
    return str(image["pk"]).removeprefix("ORDER#")


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
