"""Offering tasks: the workflow's token on the shipment, and the shipment in the queue of work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from oms.fulfillment.pausing import ALIVE, ParcelClosed, require_released, require_run
from oms.fulfillment.shipments import DONE_IN, DynamoShipments, Shipment, ShipmentStatus, Task
from oms.orders.store import DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text

TASK_TIMEOUT = timedelta(hours=8)
"""How long the workflow waits for a task before it offers it again; the state machine says the same."""

_OFFERED_IN = {
    "pick": frozenset({ShipmentStatus.ALLOCATED, ShipmentStatus.PICKING}),
    "pack": frozenset({ShipmentStatus.PICKED}),
    "vendor": frozenset({ShipmentStatus.ALLOCATED}),
}


@dataclass(frozen=True, slots=True)
class OfferTasks:
    """The steps of a run that wait for a person."""

    orders: DynamoOrders
    clock: Clock

    @property
    def shipments(self) -> DynamoShipments:
        return DynamoShipments(self.orders.table)

    def offer(self, shipment_id: str, kind: str, token: str, run: str) -> Shipment:
        """Put a task into the queue of work under this token; a token offered before is dead from now on.

        What has been done already (before a restart, or while the answer was lost) is offered as done, so the workflow
        is told at once. Raises ``OrderHeld``, ``RunSuperseded`` and ``ParcelClosed``.
        """
        expired = False

        def decide(shipment: Shipment) -> Shipment | None:
            nonlocal expired
            order = self.orders.require(shipment.order_id)
            if order.status not in ALIVE:
                raise ParcelClosed(f"order is {order.status.value}")
            require_run(order, run)
            require_released(order)
            before = shipment.task
            if before and before.token == token:
                return None
            done = shipment.status in DONE_IN[kind]
            if not done and shipment.status not in _OFFERED_IN[kind]:
                raise ParcelClosed(f"shipment is {shipment.status.value}")
            now = self.clock()
            again = before is not None and before.kind == kind
            expired = bool(before and again and before.state == "open" and before.deadline <= to_text(now))
            task = Task(
                kind=kind,
                token=token,
                state="done" if done else "open",
                offered_at=to_text(now),
                deadline=to_text(now + TASK_TIMEOUT),
                attempts=before.attempts + 1 if before and again else 1,
                started_by=before.started_by if before and again else "",
            )
            return replace(shipment, task=task)

        offered = self.shipments.change(shipment_id, decide)
        if expired:
            telemetry.count("WorkflowTimeouts")
            telemetry.logger.warning("task_timed_out", shipment_id=shipment_id, kind=kind, attempts=_attempts(offered))
        return offered


def _attempts(shipment: Shipment) -> int:
    return shipment.task.attempts if shipment.task else 0
