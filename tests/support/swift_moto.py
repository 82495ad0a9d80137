"""moto's DynamoDB without its detours: the same answers and the same rules, several times as fast.

It copies whole tables before every transaction, and walks every answer along the service's model although DynamoDB's
answers are JSON as they stand. A component test spends most of its time there.
"""

from __future__ import annotations

import base64
import copy
import json
from functools import cache
from typing import Any

import moto.core.responses
import moto.core.utils
import moto.dynamodb.models
from moto.core.responses import BaseResponse
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler


class _CopyingLess:
    """``copy`` as moto's models see it: of a table, only what a transaction can put back."""

    copy = staticmethod(copy.copy)

    @staticmethod
    def deepcopy(value: Any, memo: dict[int, Any] | None = None) -> Any:
        if not isinstance(value, Table):
            return copy.deepcopy(value, memo)
        kept = copy.copy(value)
        kept.items = copy.copy(value.items)
        for key, inner in value.items.items():
            kept.items[key] = dict(inner) if isinstance(inner, dict) else inner
        if kept.stream_shard:
            kept.stream_shard = copy.copy(kept.stream_shard)
            kept.stream_shard.items = list(kept.stream_shard.items)
            kept.stream_shard.table = kept
        return kept


def _update_detached(self: DynamoDBBackend, table_name: str, key: dict[str, Any], *args: Any, **named: Any) -> Any:
    """Items are updated in place, which a shallow copy of the table would see: the table gets one of its own first."""
    table = self.get_table(table_name)
    partition = table.items.get(DynamoType(key[table.hash_key_attr]))
    if partition is not None:
        sort = DynamoType(key[str(table.range_key_attr)])
        if sort in partition:
            partition[sort] = copy.deepcopy(partition[sort])
    return _update_item(self, table_name, key, *args, **named)


def _serialized(self: BaseResponse, action_result: Any) -> Any:
    result = action_result.result
    if not isinstance(result, dict) or "TableDescription" in result or "Table" in result:
        return _by_the_model(self, action_result)
    headers = {"Content-Type": "application/x-amz-json-1.0", **self.response_headers}
    return 200, headers, json.dumps(result, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.to_json()


_update_item = DynamoDBBackend.update_item
_by_the_model = DynamoHandler.serialized


def hurry() -> None:
    """Put the short cuts in place, once and for the whole process."""
    vars(moto.dynamodb.models)["copy"] = _CopyingLess
    DynamoDBBackend.update_item = _update_detached  # type: ignore[method-assign]
    DynamoHandler.serialized = _serialized  # type: ignore[method-assign]
    # The names of a class's methods, asked for at every call.
    vars(moto.core.responses)["method_names_from_class"] = cache(moto.core.utils.method_names_from_class)
