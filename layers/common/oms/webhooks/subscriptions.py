"""Subscriptions and their logs: every item shape, and the one write that gives an event its number.

A subscription's log is numbered without gaps: the write that appends an entry takes the next number from the head,
under the condition that nobody took it before. With it goes a mark of how far an order's events are in the log, so an
event that is announced twice, or after a later one of its order, is neither appended twice nor out of turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from oms.orders.model import order_id_for
from oms.runtime import errors
from oms.runtime.clock import from_text, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Table
from oms.webhooks.events import PUBLIC
from oms.webhooks.sealing import Sealer, new_secret

KEPT = timedelta(days=30)
"""How long the log can be looked at and replayed."""
ACTIVE, DISABLED = "active", "disabled"
_ALL = "WEBHOOKS"
_ATTEMPTS = 10
_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who wants to hear of what, and where. ``secrets`` are sealed, each with the time until which it signs."""

    id: str
    url: str
    types: frozenset[str]
    include: frozenset[str]
    status: str
    created_at: str
    reason: str = ""
    version: int = 1
    rotation: str = ""
    """The key of the request that made the newest secret, so that its repeat makes no other."""
    secrets: tuple[tuple[bytes, str], ...] = field(default=(), repr=False)


class KeepSubscriptions:
    """Subscriptions, their logs, and how far each was delivered."""

    def __init__(self, table: Table, sealer: Sealer) -> None:
        self.table = table
        self.sealer = sealer

    # ---- subscriptions ---------------------------------------------------------------------------------------------

    def all(self) -> list[Subscription]:
        """Every subscription, oldest first."""
        found = [_subscription(item) for item in self.table.query(_ALL, "SUBSCRIPTION#")]
        return sorted(found, key=lambda each: (each.created_at, each.id))

    def get(self, id: str) -> Subscription | None:
        """One of them, or None."""
        item = self.table.get(_ALL, f"SUBSCRIPTION#{id}")
        return _subscription(item) if item else None

    def require(self, id: str) -> Subscription:
        """One of them. Raises ``NotFound``."""
        found = self.get(id)
        if found is None:
            raise errors.NotFound("There is no such subscription.")
        return found

    def create(
        self, url: str, types: Iterable[str], include: Iterable[str], key: str, now: datetime
    ) -> tuple[Subscription, str]:
        """A subscription to what happens from now on, and its secret. The same key gets the same again.

        Raises ``IdempotencyKeyReused``.
        """
        id = order_id_for("webhook-subscription", key)
        secret = new_secret()
        made = Subscription(
            id,
            url,
            frozenset(types),
            frozenset(include),
            ACTIVE,
            to_text(now),
            secrets=((self.sealer.seal(secret, id), ""),),
        )
        asked = _digest(made)
        head = {"pk": _log_key(id), "sk": "HEAD", "entity": "webhook_head", "last": 0}
        cursor = {"pk": _log_key(id), "sk": "CURSOR", "entity": "webhook_cursor", "delivered": 0, "attempts": 0}
        try:
            self.table.transact(
                [
                    self.table.put("subscription", {**_item(made), "asked": asked}),
                    self.table.put("head", head),
                    self.table.put("cursor", cursor),
                ]
            )
        except ConditionsFailed:
            item = self.table.get(_ALL, f"SUBSCRIPTION#{id}")
            if item is None or item["asked"] != asked:
                raise errors.IdempotencyKeyReused("This key made another subscription, or one that is gone.") from None
            made = _subscription(item)
            secret = self.sealer.open(made.secrets[0][0], id)
        return made, secret

    def change(self, seen: Subscription, **changes: Any) -> Subscription:
        """Write a subscription's new state. Raises ``Conflict`` when it changed since it was read."""
        after = replace(seen, **changes, version=seen.version + 1)
        item = _item(after)
        names = {f"#{n}": name for n, name in enumerate(item) if name not in ("pk", "sk")}
        update = self.table.update(
            "subscription",
            (item["pk"], item["sk"]),
            "SET " + ", ".join(f"{alias} = :{alias[1:]}" for alias in names),
            "version = :seen",
            names=names,
            values={":seen": seen.version, **{f":{alias[1:]}": item[name] for alias, name in names.items()}},
        )
        try:
            self.table.transact([update])
        except ConditionsFailed:
            raise errors.Conflict("The subscription was changed at the same moment: read it again.") from None
        return after

    def rotate(self, seen: Subscription, until: datetime, key: str) -> tuple[Subscription, str]:
        """A new secret beside the present one, which signs until then as well. The same key gets the same again."""
        if key == seen.rotation:
            return seen, self.sealer.open(seen.secrets[0][0], seen.id)
        secret = new_secret()
        old = tuple((sealed, ends or to_text(until)) for sealed, ends in seen.secrets[:1])
        fresh = (self.sealer.seal(secret, seen.id), "")
        return self.change(seen, secrets=(fresh, *old), rotation=key), secret

    def delete(self, id: str, now: datetime) -> None:
        """Forget a subscription. Its head stays while its log does, so that its key makes no other on top of it."""
        self.require(id)
        self.table.transact(
            [
                self.table.delete("subscription", (_ALL, f"SUBSCRIPTION#{id}")),
                self.table.delete("cursor", (_log_key(id), "CURSOR")),
                self.table.update(
                    "head",
                    (_log_key(id), "HEAD"),
                    "SET #ttl = :ttl",
                    names={"#ttl": "ttl"},
                    values={":ttl": int((now + KEPT + timedelta(days=1)).timestamp())},
                ),
            ]
        )

    def signing_secrets(self, subscription: Subscription, now: datetime) -> list[str]:
        """The secrets that sign now: one, or two during a rotation."""
        return [
            self.sealer.open(sealed, subscription.id)
            for sealed, until in subscription.secrets
            if not until or from_text(until) > now
        ]

    # ---- the log ---------------------------------------------------------------------------------------------------

    def append(
        self, subscription: Subscription, order_id: str, events: Sequence[Mapping[str, Any]], now: datetime
    ) -> int:
        """Number and keep those of an order's events that are not in the log yet; how many they were.

        Raises ``Contention``.
        """
        wanted = [
            event
            for event in events
            if PUBLIC.get(event["type"]) in subscription.types and event["at"] >= subscription.created_at
        ]
        pk, appended = _log_key(subscription.id), 0
        for attempt in range(_ATTEMPTS):
            items = {item["sk"]: item for item in self.table.batch_get([(pk, "HEAD"), (pk, f"ORDER#{order_id}")])}
            if "HEAD" not in items:
                return appended
            last, mark = items["HEAD"]["last"], items.get(f"ORDER#{order_id}", {}).get("upto", 0)
            fresh = [event for event in wanted if event["n"] > mark][:_AT_ONCE]
            if not fresh:
                return appended
            ttl = int((now + KEPT).timestamp())
            marked = {"pk": pk, "sk": f"ORDER#{order_id}", "entity": "webhook_mark", "upto": fresh[-1]["n"], "ttl": ttl}
            writes = [
                self.table.update(
                    "head",
                    (pk, "HEAD"),
                    "SET #last = :new",
                    "#last = :seen",
                    names={"#last": "last"},
                    values={":new": last + len(fresh), ":seen": last},
                ),
                self.table.put("mark", marked, "attribute_not_exists(pk) OR upto = :mark", values={":mark": mark}),
            ]
            for seq, event in enumerate(fresh, last + 1):
                entry = {
                    "pk": pk,
                    "sk": log_sort_key(seq),
                    "entity": "webhook_entry",
                    "seq": seq,
                    "order_id": order_id,
                    "n": event["n"],
                    "type": PUBLIC[event["type"]],
                    "at": event["at"],
                    "data": event["data"],
                    "status": "waiting",
                    "ttl": ttl,
                }
                writes.append(self.table.put("entry", entry))
            try:
                self.table.transact(writes)
            except ConditionsFailed:
                self.table.back_off(attempt)
                continue
            appended += len(fresh)
        raise Contention(f"log of subscription {subscription.id}")

    def state(self, id: str) -> tuple[int, Item]:
        """The last number given, and the cursor. Raises ``NotFound``."""
        items = {item["sk"]: item for item in self.table.batch_get([(_log_key(id), "HEAD"), (_log_key(id), "CURSOR")])}
        if len(items) < 2:
            raise errors.NotFound("There is no such subscription.")
        return items["HEAD"]["last"], items["CURSOR"]

    def entry(self, id: str, seq: int) -> Item | None:
        """One entry of the log; None once it is too old."""
        return self.table.get(_log_key(id), log_sort_key(seq))

    def entries(self, id: str, newest: int, limit: int) -> list[Item]:
        """Entries from number ``newest`` down, newest first."""
        keys = [(_log_key(id), log_sort_key(seq)) for seq in range(newest, max(0, newest - limit), -1)]
        return sorted(self.table.batch_get(keys), key=lambda item: -item["seq"])

    def update_entry(self, id: str, seq: int, **facts: Any) -> None:
        """Write down what became of an entry."""
        self.table.write_one(
            self.table.update(
                "entry",
                (_log_key(id), log_sort_key(seq)),
                "SET " + ", ".join(f"#{name} = :{name}" for name in facts),
                "attribute_exists(pk)",
                names={f"#{name}": name for name in facts},
                values={f":{name}": value for name, value in facts.items()},
            )
        )

    def update_cursor(self, id: str, expression: str, condition: str, values: Mapping[str, Any]) -> bool:
        """Move the cursor; False when the condition does not hold."""
        return self.table.write_one(
            self.table.update("cursor", (_log_key(id), "CURSOR"), expression, condition, values=values)
        )


def log_sort_key(seq: int) -> str:
    """Numbers in the order of their text."""
    return f"LOG#{seq:012d}"


def _log_key(id: str) -> str:
    return f"WEBHOOK#{id}"


def _digest(subscription: Subscription) -> bytes:
    asked = [subscription.url, sorted(subscription.types), sorted(subscription.include)]
    return sha256(json.dumps(asked).encode()).digest()


def _item(subscription: Subscription) -> Item:
    return {
        "pk": _ALL,
        "sk": f"SUBSCRIPTION#{subscription.id}",
        "entity": "webhook_subscription",
        "url": subscription.url,
        "types": sorted(subscription.types),
        "include": sorted(subscription.include),
        "status": subscription.status,
        "created_at": subscription.created_at,
        "reason": subscription.reason,
        "version": subscription.version,
        "rotation": subscription.rotation,
        "secrets": [{"sealed": sealed, "until": until} for sealed, until in subscription.secrets],
    }


def _subscription(item: Item) -> Subscription:
    return Subscription(
        item["sk"].removeprefix("SUBSCRIPTION#"),
        item["url"],
        frozenset(item["types"]),
        frozenset(item["include"]),
        item["status"],
        item["created_at"],
        item["reason"],
        item["version"],
        item["rotation"],
        tuple((secret["sealed"], secret["until"]) for secret in item["secrets"]),
    )
