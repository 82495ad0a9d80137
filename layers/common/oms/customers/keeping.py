"""Profiles kept by the stream: each order counts once, as it is now, whatever is told, how often and in what order.

What an order contributes is an item of its own with the version of the order that it was made from. A message only
names an order; it is read again, and its contribution and its customer's figures change in one transaction that only a
newer version of the order can pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from oms.customers.figures import (
    Contribution,
    Figures,
    changed,
    contribution_from_item,
    contribution_of,
    contribution_to_item,
    folded,
)
from oms.customers.people import (
    Identity,
    People,
    Person,
    contributed_key,
    contribution_key,
    customer_key,
    identity_key,
)
from oms.messages.preferences import KeepPreferences
from oms.orders.model import Order, Status
from oms.orders.store import DynamoOrders
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Write

_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class KeepPeople:
    """The one writer of contributions and figures."""

    orders: DynamoOrders
    people: People
    preferences: KeepPreferences
    clock: Clock

    def keep(self, order_id: str) -> None:
        """Let an order count as it is now. Again, late or out of turn changes nothing. Raises ``Contention``."""
        for attempt in range(_ATTEMPTS):
            order = self.orders.get(order_id)
            # Neither state follows upon one that counts, so nothing was ever contributed that would have to go.
            if order is None or order.status in (Status.PLACED, Status.EXPIRED):
                return
            try:
                if self._kept(order):
                    return
            except ConditionsFailed:
                self.people.table.back_off(attempt)
        raise Contention(f"customer of order {order_id}")

    def _kept(self, order: Order) -> bool:
        """Whether nothing is left to do; one write at most."""
        table = self.people.table
        item = table.get(*contributed_key(order.order_id))
        known, seen = (item["customer_id"], item["version"]) if item else ("", 0)
        if seen >= order.version:
            return True
        new = contribution_of(order, self.orders.parts(order.order_id, "MONEY#"))
        customer_id = order.customer["id"] if new else ""
        if known and known != customer_id:
            # Somebody else's from now on, or nobody's: first it goes from whom it was counted for.
            self._write(order, known, None, seen, "", order.version if not new else seen)
            return not new
        if not customer_id:
            table.transact([self._contributed(order, seen, "", order.version)])
        else:
            self._write(order, customer_id, new, seen, customer_id, order.version)
        return True

    def _write(
        self, order: Order, customer_id: str, new: Contribution | None, seen: int, owner: str, version: int
    ) -> None:
        """Change one order's contribution to one identity, with the figures, and note who has it from which version."""
        table = self.people.table
        old_item = table.get(*contribution_key(customer_id, order.order_id))
        old = contribution_from_item(old_item) if old_item else None
        mark = self._contributed(order, seen, owner, version)
        if old and new and old.told() == new.told():
            table.transact([mark])
            return
        linked = table.get(*identity_key(customer_id))
        person_id = linked["person_id"] if linked else customer_id
        person = self.people.person(person_id) or Person(person_id)
        before = person.identities.get(customer_id, Identity())
        figures = changed(before.figures, old, new)
        if figures is None:
            figures = folded([*self._others(customer_id, order.order_id), *([new] if new else [])])
        identities = dict(person.identities)
        if figures.empty:
            identities.pop(customer_id, None)
        else:
            marketing = self.preferences.read(customer_id).marketing
            identities[customer_id] = replace(before, figures=figures, marketing=marketing)
        table.transact(
            [
                mark,
                self._contribution(customer_id, order.order_id, new),
                self.people.write(replace(person, identities=identities)),
                *self._link(customer_id, person_id, linked is not None, figures),
            ]
        )

    def _others(self, customer_id: str, order_id: str) -> list[Contribution]:
        items = self.people.table.query(customer_key(customer_id), "CONTRIB#")
        return [contribution_from_item(item) for item in items if item["order_id"] != order_id]

    def _contributed(self, order: Order, seen: int, owner: str, version: int) -> Write:
        pk, sk = contributed_key(order.order_id)
        item = {"pk": pk, "sk": sk, "entity": "contributed", "customer_id": owner, "version": version}
        condition = "version = :seen" if seen else "attribute_not_exists(pk)"
        return self.people.table.put("contributed", item, condition, values={":seen": seen} if seen else None)

    def _contribution(self, customer_id: str, order_id: str, new: Contribution | None) -> Write:
        pk, sk = contribution_key(customer_id, order_id)
        if new is None:
            return self.people.table.delete("contribution", (pk, sk), None)
        item = {"pk": pk, "sk": sk, "entity": "contribution", **contribution_to_item(new)}
        return self.people.table.put("contribution", item, None)

    def _link(self, customer_id: str, person_id: str, linked: bool, figures: Figures) -> list[Write]:
        """An identity is linked as long as it has figures."""
        table = self.people.table
        if figures.empty:
            return [table.delete("identity", identity_key(customer_id), None)] if linked else []
        if linked:
            return []
        pk, sk = identity_key(customer_id)
        item: Mapping[str, str] = {
            "pk": pk,
            "sk": sk,
            "entity": "identity",
            "person_id": person_id,
            "since": to_text(self.clock()),
        }
        return [table.put("identity", item)]
