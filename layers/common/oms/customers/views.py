"""What staff are shown of people."""

from __future__ import annotations

from typing import Any

from oms.customers import finding
from oms.customers.joining import JoinPeople, merge_view
from oms.customers.people import People, Profile
from oms.runtime import errors
from oms.runtime.http import field_problem

SHOWN = 20
"""So many are shown while somebody types: who is not among them is found by typing more."""


def person_view(people: People, joining: JoinPeople, customer_id: str) -> dict[str, Any]:
    """The person that an identity belongs to, whole. Raises ``NotFound``."""
    person = people.of(customer_id)
    if not person.stored:
        raise errors.NotFound("There is no such customer.")
    profile = person.profile()
    return {
        **summary(profile),
        "identities": list(profile.identities),
        "addresses": [dict(address) for address in profile.addresses],
        "note": profile.note or None,
        "verified": list(profile.verified),
        "cancelled_orders": profile.cancelled,
        "units": profile.units,
        "channels": dict(profile.channels),
        "countries": dict(profile.countries),
        "payment_methods": dict(profile.methods),
        "first_order_at": profile.first_order_at or None,
        "days_between_orders": profile.days_between_orders,
        "marketing": profile.marketing,
        "merges": [merge_view(record) for record in joining.records(person)],
        "version": profile.version,
    }


def summary(profile: Profile) -> dict[str, Any]:
    """One line of a list."""
    return {
        "customer_id": profile.person_id,
        "name": profile.name,
        "email": profile.email or None,
        "phone": profile.phone or None,
        "orders": profile.orders,
        "spent": dict(profile.spent),
        "last_order_at": profile.last_order_at or None,
    }


def found_view(people: People, text: str) -> dict[str, Any]:
    """Who is found by the beginnings of words of a name, of an e-mail, a phone or a postcode. Raises
    ``InvalidRequest`` for a text that is too short."""
    wanted = finding.typed(text)
    if not wanted:
        raise field_problem(
            [("q", f"at least {finding.SHORTEST} letters or digits of a name, e-mail, phone or postcode")]
        )
    found = [person.profile() for person in people.found(wanted, SHOWN)]
    found.sort(key=lambda profile: profile.last_order_at, reverse=True)
    return {"customers": [summary(profile) for profile in found]}
