"""Subscriptions and their logs as operators see them."""

from __future__ import annotations

from typing import Any

from oms.runtime.dynamo import Item
from oms.runtime.http import field_problem
from oms.webhooks.subscriptions import KeepSubscriptions, Subscription

_PAGE = 50


def subscription_view(subscription: Subscription, state: tuple[int, Item] | None = None) -> dict[str, Any]:
    """A subscription without its secrets; ``state`` adds how far it is delivered."""
    view: dict[str, Any] = {
        "subscription_id": subscription.id,
        "url": subscription.url,
        "types": sorted(subscription.types),
        "include": sorted(subscription.include),
        "status": subscription.status,
        "reason": subscription.reason or None,
        "created_at": subscription.created_at,
    }
    if state is not None:
        last, cursor = state
        view["delivery"] = {
            "last": last,
            "delivered": cursor["delivered"],
            "attempts": cursor.get("attempts", 0),
            "failing_since": cursor.get("failing_since"),
            "next_attempt_at": cursor.get("next_attempt_at"),
        }
    return view


def deliveries_view(subscriptions: KeepSubscriptions, subscription: Subscription, cursor: str) -> dict[str, Any]:
    """A page of the log, newest first. Raises ``InvalidRequest`` for a cursor that we did not give."""
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 12):
        raise field_problem([("cursor", "is not one of ours")])
    last, _ = subscriptions.state(subscription.id)
    newest = min(int(cursor), last) if cursor else last
    entries = subscriptions.entries(subscription.id, newest, _PAGE)
    return {
        "subscription_id": subscription.id,
        "deliveries": [
            {
                "sequence": entry["seq"],
                "type": entry["type"],
                "order_id": entry["order_id"],
                "order_event": entry["n"],
                "occurred_at": entry["at"],
                "status": entry["status"],
                "attempts": entry.get("attempts", 0),
                "answer": entry.get("answer"),
                "tried_at": entry.get("tried_at"),
            }
            for entry in entries
        ],
        "next_cursor": str(newest - _PAGE) if newest > _PAGE and entries else None,
    }
