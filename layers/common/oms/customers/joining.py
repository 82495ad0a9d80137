"""Joining people who are one, by what was verified or by hand, and parting them again.

Joining moves identities, so parting moves them back: both profiles are then as if they had never been one, and what was
ordered in between counts for whoever ordered it. Each joining is recorded with who, why and when, and stays recorded.
Whom somebody parted is never joined by itself again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from oms.customers.matching import claim, claim_key, counts, verified_email
from oms.customers.people import MAX_IDENTITIES, People, Person, merges_key
from oms.orders.store import DynamoOrders
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Write

SYSTEM = "system"
_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class _Why:
    """Why two people are joined: in words, by what (``email``, ``phone``, ``hand``), by whom, and on which request."""

    reason: str
    by_what: str
    actor: str
    key: str = ""
    asked: str = ""


@dataclass(frozen=True, slots=True)
class JoinPeople:
    """Which identities are one person."""

    orders: DynamoOrders
    people: People
    clock: Clock

    # ---- by what is verified -------------------------------------------------------------------------------------

    def match(self, order_id: str) -> None:
        """Join an order's customer to whoever verified the same e-mail, if this order verifies it. Again is harmless.

        Raises ``Contention``.
        """
        order = self.orders.get(order_id)
        email = order.customer.get("email", "") if order else ""
        if order is None or not email or not counts(order):
            return
        customer_id = order.customer["id"]
        identity = self.people.of(customer_id).identities.get(customer_id)
        if identity is None or claim("email", email) in identity.claims:
            return
        if identity.verified.get("email") != email:
            email = verified_email(order, self.orders.parts(order_id, "MAIL#"), self.clock())
        if email:
            self.claim(customer_id, "email", email)

    def claim(self, customer_id: str, kind: str, value: str) -> None:
        """An identity's ``email`` or ``phone`` is verified: whoever verified the same first and it are one person.

        Raises ``Contention``.
        """
        name = claim(kind, value)
        for attempt in range(_ATTEMPTS):
            person = self.people.of(customer_id)
            identity = person.identities.get(customer_id)
            if identity is None:
                return
            verified = replace(identity, verified={**identity.verified, kind: value})
            item = self.people.table.get(*claim_key(name))
            owner = item["identity"] if item else ""
            first = self.people.of(owner) if owner else None
            if first and owner not in first.identities:
                first = None  # Somebody who was forgotten.
            if first and first.person_id != person.person_id and _may_join(first, person):
                why = _Why(f"the same verified {kind}", kind, SYSTEM)
                writes = self._joining(first, person.with_identity(customer_id, verified), why)
            elif first:
                writes = self.people.writes(self.clock(), (person, person.with_identity(customer_id, verified)))
            else:
                mine = replace(verified, claims=tuple(sorted({*identity.claims, name})))
                writes = self.people.writes(self.clock(), (person, person.with_identity(customer_id, mine)))
                writes.append(self._claim(name, customer_id, owner))
            try:
                if writes:
                    self.people.table.transact(writes)
            except ConditionsFailed:
                self.people.table.back_off(attempt)
                continue
            telemetry.logger.info("customer_verified", kind=kind)
            return
        raise Contention(f"customer {customer_id}")

    # ---- by hand -------------------------------------------------------------------------------------------------

    def join(self, customer_id: str, other_id: str, *, reason: str, actor: str, key: str) -> Item:
        """Make two people one, under the first one's id; the record of it. One ``key`` joins once.

        Raises ``NotFound``, ``Conflict`` when they are one person already or would be too many identities,
        ``IdempotencyKeyReused``, ``Contention``.
        """
        why = _Why(reason, "hand", actor, key, other_id)
        for attempt in range(_ATTEMPTS):
            first, other = self.people.of(customer_id), self.people.of(other_id)
            if not first.stored:
                raise errors.NotFound("There is no such customer.")
            done = next((item for item in self.records(first) if item["key"] == key), None)
            if done:
                if (done["asked"], done["reason"]) != (other_id, reason):
                    raise errors.IdempotencyKeyReused("This key joined somebody else.")
                return done
            if not other.stored:
                raise errors.NotFound("There is no customer to join with.")
            if first.person_id == other.person_id:
                raise errors.Conflict("They are one customer already.", extra={"code": "one_customer"})
            if len(first.identities) + len(other.identities) > MAX_IDENTITIES:
                raise errors.Conflict(f"One customer has at most {MAX_IDENTITIES} identities.")
            try:
                self.people.table.transact(self._joining(first, other, why))
            except ConditionsFailed:
                self.people.table.back_off(attempt)
                continue
            telemetry.logger.info("customers_joined", merge_id=_merge_id(first, other))
            return self._record(first.person_id, _merge_id(first, other))
        raise Contention(f"customer {customer_id}")

    def part(self, customer_id: str, merge_id: str, *, actor: str) -> Item:
        """Take a joining back; the record of it. Again is harmless. Raises ``NotFound`` and ``Contention``."""
        for attempt in range(_ATTEMPTS):
            person = self.people.of(customer_id)
            record = next((item for item in self.records(person) if item["merge_id"] == merge_id), None)
            if record is None:
                raise errors.NotFound("There is no such joining of this customer.")
            if record.get("undone_at"):
                return record
            try:
                self.people.table.transact(self._parting(person, record, actor))
            except ConditionsFailed:
                self.people.table.back_off(attempt)
                continue
            telemetry.logger.info("customers_parted", merge_id=merge_id)
            return self._record(record["kept"], merge_id)
        raise Contention(f"customer {customer_id}")

    def records(self, person: Person) -> list[Item]:
        """Every joining that made this person or one of those that became it, undone ones too, the latest first."""
        ids = {person.person_id, *person.identities}
        found = [item for each in ids for item in self.people.table.query(merges_key(each), "MERGE#")]
        return sorted(found, key=lambda item: (item["at"], item["merge_id"]), reverse=True)

    # ---- writing -------------------------------------------------------------------------------------------------

    def _claim(self, name: str, customer_id: str, owner: str) -> Write:
        pk, sk = claim_key(name)
        item = {"pk": pk, "sk": sk, "entity": "claim", "identity": customer_id}
        if not owner:
            return self.people.table.put("claim", item)
        names, values = {"#identity": "identity"}, {":owner": owner}
        return self.people.table.put("claim", item, "#identity = :owner", names=names, values=values)

    def _joining(self, first: Person, other: Person, why: _Why) -> list[Write]:
        now, merge_id = self.clock(), _merge_id(first, other)
        both = replace(first, identities={**first.identities, **other.identities})
        record = {
            "pk": merges_key(first.person_id),
            "sk": f"MERGE#{merge_id}",
            "entity": "merge",
            "merge_id": merge_id,
            "kept": first.person_id,
            "joined": other.person_id,
            "joined_version": other.version,
            "identities": sorted(other.identities),
            "asked": why.asked,
            "reason": why.reason,
            "by_what": why.by_what,
            "by": why.actor,
            "key": why.key,
            "at": to_text(now),
        }
        gone = replace(other, identities={})
        return [*self.people.writes(now, (first, both), (other, gone)), self.people.table.put("merge", record)]

    def _parting(self, person: Person, record: Item, actor: str) -> list[Write]:
        now = self.clock()
        # Those that were parted or forgotten since are not there to be moved.
        moved = {name: person.identities[name] for name in record["identities"] if name in person.identities}
        left = {name: each for name, each in person.identities.items() if name not in moved}
        writes: list[Write] = []
        if moved and record["joined"] != person.person_id:
            apart = {name: replace(each, apart=tuple(sorted({*each.apart, *left}))) for name, each in moved.items()}
            target = self.people.person(record["joined"])
            if not target.stored:
                # So that who still holds what it was before cannot take it for the same.
                target = replace(target, version=record["joined_version"])
            again = replace(target, identities={**target.identities, **apart})
            writes = self.people.writes(now, (person, replace(person, identities=left)), (target, again))
        undone = {**record, "undone_at": to_text(now), "undone_by": actor}
        return [*writes, self.people.table.put("merge", undone, "attribute_not_exists(undone_at)")]

    def _record(self, person_id: str, merge_id: str) -> Item:
        item = self.people.table.get(merges_key(person_id), f"MERGE#{merge_id}")
        if item is None:
            raise errors.NotFound("This customer was forgotten.")
        return item


def _may_join(first: Person, other: Person) -> bool:
    return not first.is_apart_from(other) and len(first.identities) + len(other.identities) <= MAX_IDENTITIES


def _merge_id(first: Person, other: Person) -> str:
    """Names a joining by what was joined: the same at each try, and another one when it happens once more."""
    told = f"{first.person_id} {other.person_id} {other.version}"
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def merge_view(record: Mapping[str, Any]) -> dict[str, Any]:
    """A joining as staff see it."""
    return {
        "merge_id": record["merge_id"],
        "kept": record["kept"],
        "joined": record["joined"],
        "identities": list(record["identities"]),
        "reason": record["reason"],
        "by_what": record["by_what"],
        "by": record["by"],
        "at": record["at"],
        "undone_at": record.get("undone_at"),
        "undone_by": record.get("undone_by"),
    }
