"""All profiles made anew from the orders, into the same items, while the shop goes on selling.

Orders are gone through month by month, and each is let count as it is now; then people are gone through, and what each
identity's figures, consent and search entries should be is held against what they are. Every step is one that the
stream takes too, under the same conditions, so neither can undo the other. A run that is out of time says where the
next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import dropwhile, islice
from typing import Any

from oms.customers import finding
from oms.customers.keeping import KeepPeople
from oms.customers.people import SHARDS, Person, contributed_key, link, person_key
from oms.orders.store import DynamoOrders, months_back
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Item

MONTHS = 120
"""So far back there may be orders: a month without any costs four empty queries."""
ENOUGH = 10.0
"""Seconds that must be left to go on with one more."""


@dataclass(frozen=True, slots=True)
class RebuildPeople:
    """Safe to repeat, to stop and to run twice at once."""

    orders: DynamoOrders
    keeping: KeepPeople
    clock: Clock
    beside: Callable[[str], None]
    """Puts right what else the stream keeps of an order."""

    def go_on(self, told: dict[str, Any], time_left: Callable[[], float]) -> dict[str, Any]:
        """One run from where ``told`` says, ``{}`` for the beginning, with so many seconds left.

        Answers ``orders`` and ``people`` that were looked at, how many of each ``differed``, and ``next``: what to call
        it with again, None when all is done.
        """
        at = {"until": to_text(self.clock()), "month": 0, "shard": -1, "after": "", **told}
        counted = {"orders": 0, "orders_differed": 0, "people": 0, "people_differed": 0}
        for step in self._orders(at, counted) if at["shard"] < 0 else self._people(at, counted):
            if time_left() < ENOUGH:
                return {**counted, "next": step}
        if at["shard"] < 0:
            return {**counted, "next": {**at, "shard": 0, "after": ""}}
        return {**counted, "next": None}

    def _orders(self, at: dict[str, Any], counted: dict[str, int]) -> Iterator[dict[str, Any]]:
        """Let every order count; where to go on after each."""
        after: str = at["after"]
        for number, month in islice(enumerate(months_back(at["until"])), at["month"], MONTHS):
            placed = self.orders.placed_in(month, after.partition("#")[0] or at["until"])
            if after:
                # Several orders of one millisecond come in an order of the index's own, which stays the same.
                placed = _behind(after, placed)
            for found in placed:
                counted["orders"] += 1
                counted["orders_differed"] += self.keeping.keep(found[1], again=True)
                self.beside(found[1])
                yield {**at, "month": number, "after": "#".join(found)}
            after = ""
            yield {**at, "month": number + 1, "after": ""}

    def _people(self, at: dict[str, Any], counted: dict[str, int]) -> Iterator[dict[str, Any]]:
        """Hold every person against their orders; where to go on after each."""
        after = at["after"]
        for shard in range(at["shard"], SHARDS):
            for person in self.keeping.people.in_shard(shard, after):
                counted["people"] += 1
                counted["people_differed"] += self._differs(person)
                yield {**at, "shard": shard, "after": person.person_id}
            after = ""

    def _differs(self, person: Person) -> bool:
        """Put a person right; whether anything was wrong."""
        differed = False
        for customer_id in person.identities:
            differed |= self._drop_strangers(customer_id)
            differed |= self.keeping.refresh(customer_id)
        return self._list(person.person_id) or differed

    def _drop_strangers(self, customer_id: str) -> bool:
        """Take away what orders say that belong to somebody else."""
        table = self.orders.table
        said = {each.order_id for each in self.keeping.contributions(customer_id)}
        marks = table.batch_get([contributed_key(order_id) for order_id in sorted(said)])
        theirs = {mark["pk"].removeprefix("ORDER#") for mark in marks if mark["identity"] == customer_id}
        for order_id in sorted(said - theirs):
            try:
                self.keeping.drop(customer_id, order_id)
            except ConditionsFailed:
                continue  # The stream is at it.
        return bool(said - theirs)

    def _list(self, person_id: str) -> bool:
        """Write the links and search entries that a person lacks, as long as they are as they were read; whether any
        was missing."""
        people, table = self.keeping.people, self.orders.table
        person = people.person(person_id)
        wanted: list[Item] = [link(name, person_id, self.clock()) for name in person.identities]
        for name, identity in person.identities.items():
            wanted += [finding.entry(term, name) for term in identity.terms()]
        known = {(item["pk"], item["sk"]) for item in table.batch_get([(each["pk"], each["sk"]) for each in wanted])}
        missing = [each for each in wanted if (each["pk"], each["sk"]) not in known]
        for start in range(0, len(missing), _AT_ONCE):
            writes = [table.put("listed", each) for each in missing[start : start + _AT_ONCE]]
            same = table.check("person", person_key(person_id), "version = :seen", values={":seen": person.version})
            try:
                table.transact([same, *writes])
            except ConditionsFailed:
                break  # The stream has just written them, with whatever else has changed.
        return bool(missing)


_AT_ONCE = 50


def _behind(last: str, placed: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return islice(dropwhile(lambda found: "#".join(found) != last, placed), 1, None)
