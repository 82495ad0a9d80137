"""An operator's request, carried out once under its key: the marker is part of the transaction that it marks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from oms.inventory.store import DynamoInventory
from oms.runtime import errors
from oms.runtime.dynamo import ConditionsFailed, Contention, Write

_REPLAY_WINDOW = timedelta(days=35)
_ATTEMPTS = 12

Step = tuple[dict[str, Any], Sequence[Write]]
"""The answer, and the actions that make it true."""


def carry_out(
    inventory: DynamoInventory,
    name: str,
    key: str,
    told: Mapping[str, Any],
    now: datetime,
    plan: Callable[[], Step],
) -> dict[str, Any]:
    """Plan and write until it holds, and return the answer; the same ``key`` and ``told`` get the same answer.

    Raises ``IdempotencyKeyReused``, ``Contention`` and whatever ``plan`` raises.
    """
    marker = f"OPERATION#{name}#{key}"
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()

    def replayed() -> dict[str, Any] | None:
        done = inventory.table.get(marker, "OPERATION")
        if done and done["digest"] != digest:
            raise errors.IdempotencyKeyReused("This key was used for another request.")
        return done["record"] if done else None

    for attempt in range(_ATTEMPTS):
        if (known := replayed()) is not None:
            return known
        try:
            answer, writes = plan()
        except errors.DomainError:
            # Perhaps the same request, sent twice, has just done what cannot be done again.
            if (known := replayed()) is not None:
                return known
            raise
        once = {
            "pk": marker,
            "sk": "OPERATION",
            "entity": "operation",
            "digest": digest,
            "record": answer,
            "ttl": int((now + _REPLAY_WINDOW).timestamp()),
        }
        try:
            inventory.table.transact([inventory.table.put("once", once), *writes])
        except ConditionsFailed:
            inventory.table.back_off(attempt)
            continue
        return answer
    raise Contention(name)


def id_of(name: str, key: str) -> str:
    """The id of what a request makes: the same for every repeat."""
    return hashlib.sha256(f"{name}\x1f{key}".encode()).hexdigest()[:20]
