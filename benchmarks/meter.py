"""Counts what DynamoDB charges for, between our code and the in-process service."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from tests.simulation.backend import Answer, Call, Cloud, dynamodb
from tests.simulation.faults import Execute

_WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"})


class Meter:
    """Round trips and units since the last ``reset``; put it on a cloud with ``Meter(cloud)``.

    Write units are what the service reports as ``ConsumedCapacity`` with its indexes. Read units follow DynamoDB's
    rule from the sizes of the items in the answer, because MiniStack reports reads at a flat rate.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._execute = cloud.execute
        cloud.execute = self.execute  # type: ignore[method-assign]
        self.cpu = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self.calls: Counter[str] = Counter()
        self.write_units = 0.0
        self.index_units = 0.0
        self.read_units = 0.0
        self.failed = 0

    def execute(self, service: str, operation: str, data: Mapping[str, Any]) -> Answer:
        """Carry out one call and count it."""
        self.calls[f"{service}.{operation}"] += 1
        measured = service == "dynamodb" and operation in _WRITES
        began = time.thread_time()
        answer = self._execute(service, operation, {**data, "ReturnConsumedCapacity": "INDEXES"} if measured else data)
        self.cpu += time.thread_time() - began
        if service == "dynamodb":
            status, _, body = answer
            self._count(operation, data, json.loads(body) if status == 200 else None)
        return answer

    def round_trips(self, service: str = "dynamodb") -> int:
        """Calls to one service."""
        return sum(count for name, count in self.calls.items() if name.startswith(f"{service}."))

    def _count(self, operation: str, data: Mapping[str, Any], payload: Mapping[str, Any] | None) -> None:
        if payload is None:
            self.failed += 1
        elif operation in _WRITES:
            told = payload["ConsumedCapacity"]
            for entry in told if isinstance(told, list) else [told]:
                indexes = entry.get("GlobalSecondaryIndexes", {}).values()
                self.index_units += sum(index["CapacityUnits"] for index in indexes)
                self.write_units += entry["CapacityUnits"]
        else:
            self.read_units += read_units(operation, data, payload)


def read_units(operation: str, data: Mapping[str, Any], payload: Mapping[str, Any]) -> float:
    """What a read costs: 4 KB a unit, half for an eventually consistent read, double in a transaction."""
    match operation:
        case "GetItem":
            factor = 1.0 if data.get("ConsistentRead") else 0.5
            return factor * _fours(_size(payload.get("Item")))
        case "BatchGetItem":
            units = 0.0
            for table, request in data["RequestItems"].items():
                found = payload["Responses"].get(table, [])
                absent = len(request["Keys"]) - len(found)
                factor = 1.0 if request.get("ConsistentRead") else 0.5
                units += factor * (absent + sum(_fours(_size(item)) for item in found))
            return units
        case "TransactGetItems":
            return 2.0 * sum(_fours(_size(entry.get("Item"))) for entry in payload["Responses"])
        case "Query":
            factor = 1.0 if data.get("ConsistentRead") else 0.5
            return factor * _fours(sum(_size(item) for item in payload["Items"]))
        case _:
            raise ValueError(f"nobody has said what {operation} costs")


def _size(item: Mapping[str, Any] | None) -> int:
    return int(dynamodb._item_size_bytes(item)) if item else 0


def _fours(size: int) -> int:
    return max(1, math.ceil(size / 4096))


def straight(call: Call, execute: Execute) -> Answer:
    """A gate that is always open."""
    return execute()


def connect(client: Any, cloud: Cloud) -> Any:
    """Let a client's requests end at ``cloud``, after everything that botocore does but the network."""

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        return cloud.send(request)

    client.meta.events.register("before-send", answer)
    return client
