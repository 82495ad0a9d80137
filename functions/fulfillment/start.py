"""The orders stream: starts and stops the workflow of an order, and wakes it when a task has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.fulfillment.running import RunFulfillment, StepFunctions
from oms.runtime.batch import process_stream
from oms.runtime.dynamo import from_item
from oms.runtime.telemetry import entry_point


def handle(record: Mapping[str, Any]) -> None:
    """Act on one change of an order or a shipment."""
    parts = app()
    workflows = StepFunctions(parts.stepfunctions, parts.settings.require("state_machine_arn"))
    running = RunFulfillment(parts.orders, parts.inventory, workflows, parts.clock)
    old = from_item(record["dynamodb"].get("OldImage", {}))
    new = from_item(record["dynamodb"].get("NewImage", {}))
    if new.get("entity") == "order":
        running.order_changed(old, new)
    elif new.get("entity") == "shipment":
        running.shipment_changed(old, new)


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return process_stream(event, handle)
