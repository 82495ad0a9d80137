"""Everything that is kept of a person, as one document in a file behind a link that ends.

It is made from what is stored and not from what a page shows, so what is kept of an identity is in it by itself,
however new. Left out is what is no data of theirs: who of the staff did something, keys, digests, what the system notes
for itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from oms.customers.demands import KeepDemands
from oms.customers.erasure import EraseCustomers
from oms.customers.people import People, Profile, customer_key
from oms.orders import history
from oms.orders.model import Order
from oms.orders.reading import order_view
from oms.orders.store import DynamoOrders, order_key
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import Item
from oms.runtime.files import Files

LINK_SECONDS = 900
KEPT = timedelta(days=7)
"""The bucket deletes an export then (the rule ``exports`` in the template)."""
_AGAIN = KEPT - timedelta(days=1)
_LEFT_OUT = frozenset(
    {"pk", "sk", "hash", "ttl", "version", "work_queue", "work_rank", "raw", "agent", "actor", "by", "asked_by"}
    | {"author", "changed_by", "confirmed_by", "closed_by", "digests", "tracker_id", "entity"}
)
_BESIDE: Mapping[str, str] = {
    "card": "cards",
    "credit": "goodwill",
    "dispute": "disputes",
    "mail": "messages",
    "money": "payments",
    "note": "notes",
    "refund": "refunds",
    "return": "returns",
    "sighting": "carriers_said",
}
"""What of the items beside an order is told, and under which name."""


@dataclass(frozen=True, slots=True)
class ExportPeople:
    """Makes the documents."""

    orders: DynamoOrders
    demands: KeepDemands
    erasing: EraseCustomers
    people: People
    files: Files
    clock: Clock

    def carry_out(self, demand: Item) -> None:
        """Make the file of a demand to tell a person's data, unless there is one that lasts. Again is harmless.

        The demand stays open until somebody has handed the file over and closes it.
        """
        now = self.clock()
        if demand.get("made_at") and from_text(demand["made_at"]) > now - _AGAIN:
            return
        customers, order_ids = self.erasing.concerned(demand)
        told = {"made_at": to_text(now), **self.told(customers, order_ids)}
        body = json.dumps(told, ensure_ascii=False, indent=2, default=_plain).encode()
        self.files.put(_file_of(demand), body, "application/json")
        self.demands.note(demand, made_at=to_text(now))
        telemetry.logger.info("person_exported", channel=demand["channel"], orders=len(order_ids))

    def link(self, demand: Item) -> str | None:
        """A link to a demand's file that ends after ``LINK_SECONDS``; None as long as there is none."""
        made_at = demand.get("made_at")
        if not made_at or from_text(made_at) <= self.clock() - KEPT:
            return None
        return self.files.download_link(_file_of(demand), LINK_SECONDS, "personal-data.json")

    def told(self, customers: Sequence[str], order_ids: Sequence[str]) -> dict[str, Any]:
        """What is kept of these identities and in these orders."""
        profiles = {person.person_id: person.profile() for person in map(self.people.of, customers) if person.stored}
        orders = sorted(self.orders.read_all(order_ids), key=lambda order: (order.placed_at, order.order_id))
        return {
            "identities": list(customers),
            "profiles": [_profile(profile) for _, profile in sorted(profiles.items())],
            "kept_by_identity": {each: self._kept(each) for each in customers},
            "orders": [self._order(order) for order in orders],
        }

    def _kept(self, customer_id: str) -> list[dict[str, Any]]:
        items = self.orders.table.query(customer_key(customer_id))
        # Contributions repeat what the orders say, and the identity's item is a link of ours.
        return [_told(item, kind=True) for item in items if item["entity"] not in ("contribution", "identity")]

    def _order(self, order: Order) -> dict[str, Any]:
        parts = list(self.orders.table.query(order_key(order.order_id)))
        beside: dict[str, list[dict[str, Any]]] = {}
        for item in parts:
            if item["entity"] in _BESIDE:
                beside.setdefault(_BESIDE[item["entity"]], []).append(_told(item))
        events = [item for item in parts if item["entity"] == "event"]
        return {
            **order_view(self.orders, order, staff=False),
            "gift": dict(order.gift) or None,
            "external_id": order.external_id or None,
            **beside,
            "history": [
                {"at": event["at"], "what": event["type"], "who": _who(event["actor"]), "why": history.why(event)}
                for event in events
            ],
        }


def _profile(profile: Profile) -> dict[str, Any]:
    told = {name: getattr(profile, name) for name in Profile.__slots__ if name != "version"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


def _told(item: Item, *, kind: bool = False) -> dict[str, Any]:
    told = {name: value for name, value in item.items() if name not in _LEFT_OUT}
    return {"kind": item["entity"], **told} if kind else told


def _who(actor: str) -> str:
    return "staff" if actor.startswith("staff:") else actor


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _file_of(demand: Item) -> str:
    return f"exports/persons/{demand['channel']}/{demand['event_id']}.json"
