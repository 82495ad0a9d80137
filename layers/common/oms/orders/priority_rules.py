"""The merchant's priority rules as they are kept, every earlier version beside the current one; and dry runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

from oms.orders.model import Order
from oms.orders.priority import CODES, Rules, rated
from oms.orders.store import DynamoOrders
from oms.runtime import rules as kept
from oms.runtime.dynamo import Item, Table

_KIND = "PRIORITY"


def current_rules(table: Table) -> Rules:
    """The rules as they are now; what is usual if nobody wrote any."""
    item = kept.current(table, _KIND)
    return rules_from_item(item) if item else Rules()


def put_rules(table: Table, rules: Rules, *, actor: str, now: datetime) -> Rules:
    """Replace version ``rules.version`` by these rules. Orders that were rated by others say by which.
    Raises ``Conflict``."""
    after = replace(rules, version=rules.version + 1)
    kept.put(table, _KIND, "priority_rules", rules_to_item(after), seen=rules.version, actor=actor, now=now)
    return after


def rules_to_item(rules: Rules) -> Item:
    """Rules as an item, and as staff write and read them."""
    return {
        "version": rules.version,
        "weights": dict(rules.weights),
        "many_units": rules.many_units,
        "large_ticket": dict(rules.large_ticket),
        "frequent_orders": rules.frequent_orders,
        "rush_methods": list(rules.rush_methods),
        "promised_days": rules.promised_days,
    }


def rules_from_item(item: Item) -> Rules:
    """The inverse of ``rules_to_item``."""
    return Rules(
        weights=item["weights"],
        many_units=item["many_units"],
        large_ticket=item["large_ticket"],
        frequent_orders=item["frequent_orders"],
        rush_methods=tuple(item["rush_methods"]),
        promised_days=item["promised_days"],
        version=item["version"],
    )


def rehearse(orders: DynamoOrders, rules: Rules, last: int, now: datetime) -> dict[str, Any]:
    """What the rules would make of the last orders, the newest first, beside what they are; nothing is written."""
    tried = [(order, rated(order, rules)) for order in orders.latest(last, now)]
    return {
        "orders": [_beside(before, after) for before, after in tried],
        "changed": sum(_told(before) != _told(after) for before, after in tried),
        "codes_before": _counted([before for before, _ in tried]),
        "codes_after": _counted([after for _, after in tried]),
    }


def _beside(before: Order, after: Order) -> dict[str, Any]:
    return {
        "order_id": before.order_id,
        "placed_at": before.placed_at,
        "before": {**_told(before), "rules": before.priority_rules},
        "after": _told(after),
        "changed": _told(before) != _told(after),
    }


def _told(order: Order) -> dict[str, Any]:
    return {"score": order.priority_score, "codes": order.priority_codes}


def _counted(orders: list[Order]) -> dict[str, int]:
    given = Counter(code for order in orders for code in order.priority_codes)
    return {code: given[code] for code in CODES}
