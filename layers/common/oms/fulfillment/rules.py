"""The merchant's routing rules as they are kept: one current set, every earlier one beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from oms.fulfillment.labelling import Terms
from oms.fulfillment.routing import Rule, Rules
from oms.inventory.store import DynamoInventory
from oms.runtime import rules as kept
from oms.runtime.dynamo import Item

_KIND = "ROUTING"


def current_rules(inventory: DynamoInventory) -> Rules:
    """The rules as they are now; none if nobody wrote any."""
    item = kept.current(inventory.table, _KIND)
    return rules_from_item(item) if item else Rules()


def put_rules(inventory: DynamoInventory, rules: Rules, *, actor: str, now: datetime) -> Rules:
    """Replace version ``rules.version`` by these rules. Raises ``Conflict``."""
    after = replace(rules, version=rules.version + 1)
    kept.put(inventory.table, _KIND, "routing_rules", rules_to_item(after), seen=rules.version, actor=actor, now=now)
    return after


def rules_to_item(rules: Rules) -> Item:
    """Rules as an item; items hold no floats."""
    return {
        "version": rules.version,
        "rules": [
            {
                "name": rule.name,
                "when": {name: list(values) for name, values in rule.when.items()},
                "prefer": list(rule.prefer),
                "exclude": list(rule.exclude),
                "max_parcels": rule.max_parcels,
                "whole": rule.whole,
            }
            for rule in rules.rules
        ],
        "places": {prefix: [str(point[0]), str(point[1])] for prefix, point in rules.places.items()},
        "methods": {
            method: {"days": terms.days, "carriers": list(terms.carriers), "services": list(terms.services)}
            for method, terms in rules.methods.items()
        },
    }


def rules_from_item(item: Item) -> Rules:
    """The inverse of ``rules_to_item``."""
    return Rules(
        rules=tuple(
            Rule(
                name=told["name"],
                when={name: tuple(values) for name, values in told["when"].items()},
                prefer=tuple(told["prefer"]),
                exclude=tuple(told["exclude"]),
                max_parcels=told["max_parcels"],
                whole=told["whole"],
            )
            for told in item["rules"]
        ),
        places={prefix: (float(point[0]), float(point[1])) for prefix, point in item["places"].items()},
        methods={
            method: Terms(told["days"], tuple(told["carriers"]), tuple(told["services"]))
            for method, told in item.get("methods", {}).items()
        },
        version=item["version"],
    )


def rules_view(rules: Rules) -> dict[str, Any]:
    """Rules as staff write and read them."""
    told = rules_to_item(rules)
    told["places"] = {prefix: list(point) for prefix, point in rules.places.items()}
    return told
