"""What agents write down of a person: it goes before what orders say, and stays whatever they say later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from oms.customers.joining import JoinPeople
from oms.customers.matching import KINDS
from oms.customers.people import People, Person, Profile
from oms.runtime import errors
from oms.runtime.clock import Clock
from oms.runtime.dynamo import ConditionsFailed, Contention, Write
from oms.runtime.http import field_problem

_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class ChangePeople:
    """The one writer of what is said of people and not of their orders."""

    people: People
    joining: JoinPeople
    clock: Clock

    def change(self, customer_id: str, said: Mapping[str, Any], expected: int | None) -> Profile:
        """Write down ``name``, ``phone``, ``addresses`` and ``note`` as far as they are given, None taking them away;
        ``verified`` names all of e-mail and phone that are known to be this person's own.

        Verifying joins them to whoever verified the same. Raises ``NotFound``, ``PreconditionFailed`` when
        ``expected`` is not the person's version, ``InvalidRequest`` and ``Contention``.
        """
        written = {name: value for name, value in said.items() if name != "verified"}
        wanted = said.get("verified")
        for attempt in range(_ATTEMPTS):
            person = self.people.of(customer_id)
            if not person.stored:
                raise errors.NotFound("There is no such customer.")
            if expected is not None and person.version != expected:
                raise errors.PreconditionFailed(
                    "The customer has changed since they were read.", extra={"version": person.version}
                )
            lead = person.identities[person.lead]
            kept = {name: value for name, value in {**lead.said, **written}.items() if value}
            changed = person.with_identity(person.lead, replace(lead, said=kept))
            taken: list[Write] = []
            if wanted is not None:
                changed, taken = self._doubted(changed, [kind for kind in KINDS if kind not in wanted])
            profile = changed.profile()
            missing = [kind for kind in wanted or () if not getattr(profile, kind)]
            if missing:
                raise field_problem([("verified", f"no {missing[0]} of this customer is known")])
            writes = self.people.writes(self.clock(), (person, changed))
            try:
                if writes:
                    self.people.table.transact([*writes, *taken])
            except ConditionsFailed:
                self.people.table.back_off(attempt)
                continue
            for kind in wanted or ():
                self.joining.claim(_holder(changed, kind), kind, getattr(profile, kind))
            return self.people.of(customer_id).profile()
        raise Contention(f"customer {customer_id}")

    def _doubted(self, person: Person, kinds: list[str]) -> tuple[Person, list[Write]]:
        """The person without these verifications, and the actions that end what they stood for."""
        taken: list[Write] = []
        for name, identity in person.identities.items():
            gone = [each for each in identity.claims if each.partition("#")[0] in kinds]
            verified = {kind: value for kind, value in identity.verified.items() if kind not in kinds}
            claims = tuple(each for each in identity.claims if each not in gone)
            person = person.with_identity(name, replace(identity, verified=verified, claims=claims))
            taken += [self.people.unclaimed(each, name) for each in gone]
        return person, taken


def _holder(person: Person, kind: str) -> str:
    """Which of a person's identities says their e-mail or phone."""
    value = getattr(person.profile(), kind)
    return next(name for name in sorted(person.identities) if person.identities[name].contact(kind) == value)
