"""One effect for each idempotency key of an order: the answer is kept beside it, in the transaction of the effect."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

from oms.orders.store import order_key
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Item, Table, Write

_DAYS = 35


def digest_of(body: Any) -> str:
    """What must be equal for two requests with one key to be the same request."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def answered(table: Table, order_id: str, kind: str, key: str, digest: str) -> Item | None:
    """What the request was answered, or None when it is new. Raises ``IdempotencyKeyReused``."""
    item = table.get(order_key(order_id), _sk(kind, key))
    if item is None:
        return None
    if item["digest"] != digest:
        raise errors.IdempotencyKeyReused("This key was used for another request; use a new key for a new one.")
    answer: Item = item["answer"]
    return answer


def answer_with(table: Table, order_id: str, kind: str, key: str, digest: str, answer: Item, now: datetime) -> Write:
    """The action that keeps an answer, or fails with the label ``once`` when the request had its effect."""
    return table.put(
        "once",
        {
            "pk": order_key(order_id),
            "sk": _sk(kind, key),
            "entity": "once",
            "digest": digest,
            "answer": answer,
            "at": to_text(now),
            "ttl": int((now + timedelta(days=_DAYS)).timestamp()),
        },
    )


def _sk(kind: str, key: str) -> str:
    return f"ONCE#{kind}#{hashlib.sha256(key.encode()).hexdigest()[:24]}"
