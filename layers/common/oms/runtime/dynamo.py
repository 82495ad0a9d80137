"""DynamoDB as this system uses it: plain items in and out, and transactions that say why they were refused."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, Any]

MAX_ACTIONS = 100
"""DynamoDB's limit on the actions of one transaction."""

_ATTEMPTS = 10
_BASE_DELAY, _MAX_DELAY = 0.02, 0.6
# Nothing was written when a transaction is cancelled for these alone, so the same transaction may be sent again.
_RETRYABLE = frozenset(
    {
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
    }
)


class Contention(Exception):
    """Others kept writing the same items until our patience ran out. Nothing was written; try again shortly."""


class Conflicted(Exception):
    """Somebody is writing the items of these actions just now. Nothing was written; other items may be free."""

    def __init__(self, writes: Sequence[Write]) -> None:
        super().__init__(", ".join(write.label for write in writes))
        self.writes = tuple(writes)


@dataclass(frozen=True, slots=True)
class Write:
    """One action of a transaction. ``label`` names it when its condition fails."""

    label: str
    action: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A condition that did not hold, with the item as it stood (None when there was none)."""

    write: Write
    old: Item | None


class ConditionsFailed(Exception):
    """The transaction wrote nothing because of these conditions, in the order of its actions."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__(", ".join(refusal.write.label for refusal in refusals))
        self.refusals = tuple(refusals)

    def of(self, label: str) -> Refusal | None:
        """The refusal of the action with this label, if that is one of those that failed."""
        return next((refusal for refusal in self.refusals if refusal.write.label == label), None)


def to_attribute(value: Any) -> dict[str, Any]:
    """A Python value as a DynamoDB attribute. Floats are refused: money and counts are integers."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if value is None:
        return {"NULL": True}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, Mapping):
        return {"M": {key: to_attribute(inner) for key, inner in value.items()}}
    if isinstance(value, list | tuple):
        return {"L": [to_attribute(inner) for inner in value]}
    raise TypeError(f"{type(value).__name__} has no place in an item")


def from_attribute(attribute: Mapping[str, Any]) -> Any:
    """The inverse of ``to_attribute``; numbers come back as ``int``."""
    ((kind, value),) = attribute.items()
    if kind == "N":
        return int(value)
    if kind == "M":
        return {key: from_attribute(inner) for key, inner in value.items()}
    if kind == "L":
        return [from_attribute(inner) for inner in value]
    if kind == "NULL":
        return None
    return value


def to_item(values: Mapping[str, Any]) -> dict[str, Any]:
    """A whole item for the wire."""
    return {key: to_attribute(value) for key, value in values.items()}


def from_item(item: Mapping[str, Any]) -> Item:
    """A whole item from the wire or from a stream record."""
    return {key: from_attribute(value) for key, value in item.items()}


def _condition(condition: str | None, names: Mapping[str, str] | None, values: Mapping[str, Any] | None) -> Item:
    clause: Item = {}
    if condition:
        clause["ConditionExpression"] = condition
        clause["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    if names:
        clause["ExpressionAttributeNames"] = dict(names)
    if values:
        clause["ExpressionAttributeValues"] = to_item(values)
    return clause


@dataclass(slots=True)
class Consumed:
    """Write units that transactions consumed; filled only while measuring."""

    write_units: float = 0.0
    transactions: int = 0


@dataclass(slots=True)
class Table:
    """One table. Reads are strongly consistent unless they go through an index."""

    client: Any
    name: str
    consumed: Consumed | None = None
    sleep: Callable[[float], None] = field(default=time.sleep)
    jitter: Callable[[], float] = field(default=random.random)

    # ---- actions -------------------------------------------------------------------------------------------------

    def put(
        self,
        label: str,
        item: Mapping[str, Any],
        condition: str | None = "attribute_not_exists(pk)",
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Write:
        """Put an item; by default only where there is none."""
        return Write(
            label,
            {"Put": {"TableName": self.name, "Item": to_item(item), **_condition(condition, names, values)}},
        )

    def update(
        self,
        label: str,
        key: tuple[str, str],
        expression: str,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Write:
        """Update one item in place."""
        action = {
            "TableName": self.name,
            "Key": self.key(*key),
            "UpdateExpression": expression,
            **_condition(condition, names, values),
        }
        return Write(label, {"Update": action})

    def delete(
        self,
        label: str,
        key: tuple[str, str],
        condition: str | None = "attribute_exists(pk)",
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Write:
        """Delete one item; by default only where there is one."""
        action = {"TableName": self.name, "Key": self.key(*key), **_condition(condition, names, values)}
        return Write(label, {"Delete": action})

    def check(
        self,
        label: str,
        key: tuple[str, str],
        condition: str,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Write:
        """Write nothing, but let the transaction depend on another item."""
        action = {"TableName": self.name, "Key": self.key(*key), **_condition(condition, names, values)}
        return Write(label, {"ConditionCheck": action})

    @staticmethod
    def key(pk: str, sk: str) -> Item:
        """A primary key for the wire."""
        return {"pk": {"S": pk}, "sk": {"S": sk}}

    # ---- writing -------------------------------------------------------------------------------------------------

    def transact(self, writes: Sequence[Write], *, patient: bool = True) -> None:
        """All of it or nothing.

        The SDK repeats a lost answer under the same request token, so the transaction happens once. Conflicts are
        repeated here, which no SDK mode does. Raises ``ConditionsFailed`` when a condition did not hold and
        ``Contention`` when conflicts outlast the attempts; who is not ``patient`` gets ``Conflicted`` at the first one.
        """
        for attempt in range(_ATTEMPTS):
            extra = {"ReturnConsumedCapacity": "TOTAL"} if self.consumed else {}
            try:
                answer = self.client.transact_write_items(TransactItems=[write.action for write in writes], **extra)
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionCanceledException":
                    raise
                reasons = error.response.get("CancellationReasons", [])
                codes = {reason.get("Code", "None") for reason in reasons} - {"None"}
                if "ConditionalCheckFailed" in codes:
                    raise ConditionsFailed(list(_refusals(writes, reasons))) from None
                if not codes or not codes <= _RETRYABLE:
                    raise
                if not patient:
                    raise Conflicted(list(_conflicting(writes, reasons))) from None
                self.back_off(attempt)
                continue
            if self.consumed:
                self.consumed.transactions += 1
                units = (entry.get("CapacityUnits", 0.0) for entry in answer.get("ConsumedCapacity", []))
                self.consumed.write_units += sum(units)
            return
        raise Contention(f"{len(writes)} actions on {self.name}")

    def write_one(self, write: Write) -> bool:
        """One update by itself, at half the price of a transaction; False when its condition did not hold.

        Only for updates that set values: one that adds would be applied twice when its answer is lost.
        """
        try:
            self.client.update_item(**write.action["Update"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def back_off(self, attempt: int) -> None:
        """Full jitter, so that those who collided do not collide again."""
        self.sleep(self.jitter() * min(_MAX_DELAY, _BASE_DELAY * 2**attempt))

    # ---- reading -------------------------------------------------------------------------------------------------

    def get(self, pk: str, sk: str) -> Item | None:
        """One item, strongly consistent."""
        answer = self.client.get_item(TableName=self.name, Key=self.key(pk, sk), ConsistentRead=True)
        return from_item(answer["Item"]) if "Item" in answer else None

    def batch_get(self, keys: Sequence[tuple[str, str]], *, consistent: bool = True) -> list[Item]:
        """Many items, strongly consistent unless told otherwise, in no particular order; absent ones are left out."""
        found: list[Item] = []
        pending = [self.key(*key) for key in dict.fromkeys(keys)]
        attempt = 0
        while pending:
            request = {self.name: {"Keys": pending[:100], "ConsistentRead": consistent}}
            answer = self.client.batch_get_item(RequestItems=request)
            found.extend(from_item(item) for item in answer["Responses"].get(self.name, []))
            unprocessed = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            pending = unprocessed + pending[100:]
            if unprocessed:
                self.back_off(attempt)
                attempt += 1
        return found

    def snapshot(self, keys: Sequence[tuple[str, str]]) -> list[Item | None]:
        """Up to 100 items as they stood at one moment, in the order of the keys: what a refusal may rest on."""
        for attempt in range(_ATTEMPTS):
            try:
                answer = self.client.transact_get_items(
                    TransactItems=[{"Get": {"TableName": self.name, "Key": self.key(*key)}} for key in keys]
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionCanceledException":
                    raise
                codes = {reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])}
                if not codes <= _RETRYABLE | {"None"}:
                    raise
                self.back_off(attempt)
                continue
            return [from_item(entry["Item"]) if entry.get("Item") else None for entry in answer["Responses"]]
        raise Contention(f"snapshot of {len(keys)} items in {self.name}")

    def query(
        self, pk: str, prefix: str = "", *, limit: int | None = None, newest_first: bool = False, after: str = ""
    ) -> Iterator[Item]:
        """Items of one partition whose sort key starts with ``prefix``, strongly consistent, every page; those that
        come behind the sort key ``after`` when it is given."""
        request: Item = {
            "TableName": self.name,
            "KeyConditionExpression": "pk = :pk" + (" AND begins_with(sk, :sk)" if prefix else ""),
            "ExpressionAttributeValues": to_item({":pk": pk, **({":sk": prefix} if prefix else {})}),
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
        }
        if after:
            request["ExclusiveStartKey"] = self.key(pk, after)
        return self._pages(request, limit)

    def query_index(
        self,
        index: str,
        condition: str,
        values: Mapping[str, Any],
        *,
        limit: int | None = None,
        newest_first: bool = False,
        names: Mapping[str, str] | None = None,
        page_size: int | None = None,
    ) -> Iterator[Item]:
        """Items by a secondary index, every page. It may lag: never decide from it, read the item again.

        ``page_size`` is what one request reads, for those who may stop early."""
        request: Item = {
            "TableName": self.name,
            "IndexName": index,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": to_item(values),
            "ScanIndexForward": not newest_first,
        }
        if names:
            request["ExpressionAttributeNames"] = dict(names)
        if page_size:
            request["Limit"] = page_size
        return self._pages(request, limit)

    def _pages(self, request: Item, limit: int | None) -> Iterator[Item]:
        given = 0
        while True:
            if limit is not None:
                request["Limit"] = limit - given
            answer = self.client.query(**request)
            for item in answer["Items"]:
                yield from_item(item)
                given += 1
            if "LastEvaluatedKey" not in answer or (limit is not None and given >= limit):
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _conflicting(writes: Sequence[Write], reasons: Iterable[Mapping[str, Any]]) -> Iterator[Write]:
    for write, reason in zip(writes, reasons, strict=False):
        if reason.get("Code") in _RETRYABLE:
            yield write


def _refusals(writes: Sequence[Write], reasons: Iterable[Mapping[str, Any]]) -> Iterator[Refusal]:
    for write, reason in zip(writes, reasons, strict=False):
        if reason.get("Code") == "ConditionalCheckFailed":
            old = reason.get("Item")
            yield Refusal(write, from_item(old) if old else None)
