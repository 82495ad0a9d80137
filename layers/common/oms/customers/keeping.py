"""Profiles kept by the stream: each order counts once, as it is now, whatever is told, how often and in what order.

What an order contributes is an item of its own with the version of the order that it was made from. A message only
names an order; it is read again, and its contribution and its customer's figures change in one transaction that only a
newer version of the order can pass.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    merges_key,
)
from oms.messages.preferences import KeepPreferences, Wish
from oms.orders.model import Order, Status
from oms.orders.store import DynamoOrders
from oms.runtime.clock import Clock
from oms.runtime.dynamo import ConditionsFailed, Contention, Write

_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to write next; whether it changes anything but versions, and whether all is done then."""

    writes: Sequence[Write] = ()
    differs: bool = False
    last: bool = True


@dataclass(frozen=True, slots=True)
class KeepPeople:
    """The one writer of contributions and figures."""

    orders: DynamoOrders
    people: People
    preferences: KeepPreferences
    clock: Clock

    def keep(self, order_id: str, *, again: bool = False) -> bool:
        """Let an order count as it is now; whether that changed a profile. A message again, late or out of turn does
        not. ``again`` looks at orders too that were counted in their present version. Raises ``Contention``."""
        differed = False
        for attempt in range(_ATTEMPTS):
            order = self.orders.get(order_id)
            # Neither state follows upon one that counts, so nothing was ever contributed that would have to go.
            if order is None or order.status in (Status.PLACED, Status.EXPIRED):
                return differed
            plan = self._plan(order, again)
            try:
                if plan.writes:
                    self.people.table.transact(plan.writes)
            except ConditionsFailed:
                self.people.table.back_off(attempt)
                continue
            differed |= plan.differs
            if plan.last:
                return differed
        raise Contention(f"customer of order {order_id}")

    def refresh(self, customer_id: str) -> bool:
        """Add an identity's orders up anew and read its consent again; whether anything differed.

        Raises ``Contention``.
        """
        for attempt in range(_ATTEMPTS):
            person = self.people.of(customer_id)
            known = person.identities.get(customer_id, Identity())
            fresh = self._with_figures(customer_id, known, folded(self.contributions(customer_id)))
            if fresh == person.identities.get(customer_id):
                return False
            try:
                self.people.table.transact(self._changing(person, customer_id, fresh))
            except ConditionsFailed:
                self.people.table.back_off(attempt)
                continue
            return True
        raise Contention(f"customer {customer_id}")

    def prefer(self, customer_id: str, wish: Wish) -> None:
        """Replace what a customer wants to hear of, where messages and where profiles are looked up, in one
        transaction: nobody is on a list whose consent is withdrawn. Again is harmless. Raises ``Contention``."""
        for attempt in range(_ATTEMPTS):
            person = self.people.of(customer_id)
            writes = self.preferences.changing(customer_id, wish, self.clock())
            known = person.identities.get(customer_id)
            if known:
                changed = person.with_identity(customer_id, replace(known, marketing=wish.marketing))
                writes += self.people.writes(self.clock(), (person, changed))
            try:
                if writes:
                    self.people.table.transact(writes)
            except ConditionsFailed:
                self.people.table.back_off(attempt)
                continue
            # Their first order may have come to be counted meanwhile.
            self.refresh(customer_id)
            return
        raise Contention(f"customer {customer_id}")

    def drop(self, customer_id: str, order_id: str) -> None:
        """Take back what an order says of a customer to whom it does not contribute. Raises ``ConditionsFailed`` when
        it does, or when they are being written."""
        table = self.people.table
        names, values = {"#identity": "identity"}, {":me": customer_id}
        condition = "attribute_not_exists(pk) OR #identity <> :me"
        check = table.check("contributed", contributed_key(order_id), condition, names=names, values=values)
        table.transact([check, *self._counting(customer_id, order_id, None)])

    def _plan(self, order: Order, again: bool) -> _Plan:
        item = self.people.table.get(*contributed_key(order.order_id))
        known, seen = (item["identity"], item["version"]) if item else ("", 0)
        if seen >= order.version and not again:
            return _Plan()
        new = contribution_of(order, self.orders.parts(order.order_id, "MONEY#"))
        owner = order.customer["id"] if new else ""
        if known and known != owner:
            # Somebody else's from now on, or nobody's: first it goes from whom it was counted for.
            mark = self._mark(order, seen, "", seen if owner else order.version)
            return _Plan([mark, *self._counting(known, order.order_id, None)], differs=True, last=not owner)
        mark = self._mark(order, seen, owner, order.version)
        changes = self._counting(owner, order.order_id, new) if owner else []
        if changes:
            return _Plan([mark, *changes], differs=True)
        return _Plan([mark] if seen < order.version else [])

    def _mark(self, order: Order, seen: int, owner: str, version: int) -> Write:
        """To whom the order contributes, from which version on: what a message that comes late cannot pass."""
        pk, sk = contributed_key(order.order_id)
        item = {"pk": pk, "sk": sk, "entity": "contributed", "identity": owner, "version": version}
        condition = "version = :seen" if seen else "attribute_not_exists(pk)"
        return self.people.table.put("contributed", item, condition, values={":seen": seen} if seen else None)

    def _counting(self, customer_id: str, order_id: str, new: Contribution | None) -> list[Write]:
        """The actions that let an order say ``new`` of a customer; none when it says so already."""
        table = self.people.table
        pk, sk = contribution_key(customer_id, order_id)
        # The person first: whoever changes a contribution changes its person's version, so what is read after it holds.
        person = self.people.of(customer_id)
        item = table.get(pk, sk)
        old = contribution_from_item(item) if item else None
        known = person.identities.get(customer_id)
        if (old and old.told()) == (new and new.told()) and (known or not old):
            return []
        identity = known or Identity()
        # Without figures there is nothing to take a difference from.
        figures = changed(identity.figures, old, new) if known or not old else None
        if figures is None:
            others = [each for each in self.contributions(customer_id) if each.order_id != order_id]
            figures = folded([*others, *([new] if new else [])])
        stored = {"pk": pk, "sk": sk, "entity": "contribution", **contribution_to_item(new)} if new else None
        return [
            table.put("contribution", stored, None) if stored else table.delete("contribution", (pk, sk), None),
            *self._changing(person, customer_id, self._with_figures(customer_id, identity, figures)),
        ]

    def _changing(self, person: Person, customer_id: str, identity: Identity | None) -> list[Write]:
        """The actions that change an identity within its person. Of one that is gone nothing stays."""
        writes = self.people.writes(self.clock(), (person, person.with_identity(customer_id, identity)))
        if identity is None:
            records = self.people.table.query(merges_key(customer_id))
            writes += [self.people.table.delete("merge", (item["pk"], item["sk"]), None) for item in records]
        return writes

    def _with_figures(self, customer_id: str, identity: Identity, figures: Figures) -> Identity | None:
        if figures.empty:
            return None
        return replace(identity, figures=figures, marketing=self.preferences.read(customer_id).marketing)

    def contributions(self, customer_id: str) -> list[Contribution]:
        """What is kept of each order of one identity."""
        return [contribution_from_item(item) for item in self.people.table.query(customer_key(customer_id), "CONTRIB#")]
