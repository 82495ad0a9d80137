"""People: one profile per person over all channels, made of the identities that are known to be one.

An identity is what an order names, the hash of an e-mail or of a marketplace's buyer. A person is one or more of them
under the id of the first. Each identity's figures stay its own within the person's item and the profile is their sum,
so that joining persons moves figures and parting them moves them back, and nothing has to be worked out again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from oms.customers.figures import CONTACT, MAX_ADDRESSES, Figures, figures_from_item, figures_to_item
from oms.orders.model import home_seed
from oms.orders.store import order_key
from oms.runtime.dynamo import Item, Table, Write

SHARDS = 16
"""Over so many partitions people are spread: all of them are so many queries."""


def customer_key(customer_id: str) -> str:
    """The partition of what belongs to one identity."""
    return f"CUSTOMER#{customer_id}"


def person_key(person_id: str) -> tuple[str, str]:
    """Where a person's item stands."""
    return f"PEOPLE#{home_seed(person_id) % SHARDS}", person_id


def identity_key(customer_id: str) -> tuple[str, str]:
    """Where it stands to which person an identity belongs."""
    return customer_key(customer_id), "IDENTITY"


def contribution_key(customer_id: str, order_id: str) -> tuple[str, str]:
    """Where an order's part in its customer's figures stands."""
    return customer_key(customer_id), f"CONTRIB#{order_id}"


def contributed_key(order_id: str) -> tuple[str, str]:
    """Where it stands to whom an order contributes, and from which of its versions."""
    return order_key(order_id), "CONTRIB"


@dataclass(frozen=True, slots=True)
class Identity:
    """One identity within a person."""

    figures: Figures = field(default_factory=Figures)
    marketing: bool = False
    """Whether this customer asked for marketing."""

    def contact(self, name: str) -> str:
        """What the latest order that tells it says."""
        told = self.figures.contact.get(name)
        return told["value"] if told else ""


@dataclass(frozen=True, slots=True)
class Profile:
    """A person as the shop knows them: the sum over their identities. Amounts are minor units by currency, times
    RFC 3339 text; everything counts confirmed orders that were not cancelled."""

    person_id: str
    identities: tuple[str, ...]
    name: str
    email: str
    phone: str
    addresses: tuple[Mapping[str, str], ...]
    """The latest first."""
    orders: int
    cancelled: int
    units: int
    spent: Mapping[str, int]
    """Captured less refunded."""
    channels: Mapping[str, int]
    countries: Mapping[str, int]
    methods: Mapping[str, int]
    skus: Mapping[str, int]
    """Units by SKU, of each identity those that it bought most."""
    first_order_at: str
    last_order_at: str
    marketing: bool
    """Whether marketing is welcome: somebody who asked for it as one of their identities."""
    version: int


@dataclass(frozen=True, slots=True)
class Person:
    """A person as stored. ``version`` counts the changes; 0 is one that is not written yet."""

    person_id: str
    identities: Mapping[str, Identity] = field(default_factory=dict)
    version: int = 0

    def profile(self) -> Profile:
        """The sum over the identities."""
        each = [identity.figures for identity in self.identities.values()]
        addresses = sorted((told for figures in each for told in figures.addresses), key=_told_at, reverse=True)
        times = [moment for figures in each for moment in (figures.first_order_at, figures.last_order_at) if moment]
        contact = {name: self._contact(name) for name in CONTACT}
        return Profile(
            person_id=self.person_id,
            identities=tuple(sorted(self.identities)),
            **contact,
            addresses=tuple(_different([told["address"] for told in addresses])[:MAX_ADDRESSES]),
            orders=sum(figures.orders for figures in each),
            cancelled=sum(figures.cancelled for figures in each),
            units=sum(figures.units for figures in each),
            spent=_sum([figures.spent for figures in each]),
            channels=_sum([figures.channels for figures in each]),
            countries=_sum([figures.countries for figures in each]),
            methods=_sum([figures.methods for figures in each]),
            skus=_sum([figures.skus for figures in each]),
            first_order_at=min(times, default=""),
            last_order_at=max(times, default=""),
            marketing=any(identity.marketing for identity in self.identities.values()),
            version=self.version,
        )

    def _contact(self, name: str) -> str:
        told = [each.figures.contact[name] for each in self.identities.values() if name in each.figures.contact]
        return max(told, key=_told_at)["value"] if told else ""


@dataclass(frozen=True, slots=True)
class People:
    """People in the orders table: reading them, and the action that writes one."""

    table: Table

    def person_of(self, customer_id: str) -> str:
        """The id of the person that an identity belongs to: its own, as long as it was joined to nobody."""
        item = self.table.get(*identity_key(customer_id))
        return str(item["person_id"]) if item else customer_id

    def person(self, person_id: str) -> Person | None:
        """A person by their own id."""
        item = self.table.get(*person_key(person_id))
        return person_from_item(item) if item else None

    def profile(self, customer_id: str) -> Profile | None:
        """The profile of the person that an identity belongs to; None for one who never bought anything."""
        person = self.person(self.person_of(customer_id))
        return person.profile() if person else None

    def in_shard(self, shard: int, after: str = "") -> Iterator[Person]:
        """Everybody in one of the ``SHARDS``, by id, from behind ``after``."""
        return map(person_from_item, self.table.query(f"PEOPLE#{shard}", after=after))

    def write(self, person: Person) -> Write:
        """The action that writes a person over the version that was read, or deletes one without identities."""
        condition = "version = :seen" if person.version else "attribute_not_exists(pk)"
        values = {":seen": person.version} if person.version else None
        if not person.identities:
            return self.table.delete("person", person_key(person.person_id), condition, values=values)
        item = person_to_item(replace(person, version=person.version + 1))
        return self.table.put("person", item, condition, values=values)


def person_to_item(person: Person) -> Item:
    """A person as an item."""
    pk, sk = person_key(person.person_id)
    return {
        "pk": pk,
        "sk": sk,
        "entity": "person",
        "identities": {name: _identity_to_item(each) for name, each in person.identities.items()},
        "version": person.version,
    }


def person_from_item(item: Item) -> Person:
    """The inverse of ``person_to_item``."""
    identities = {name: _identity_from_item(each) for name, each in item["identities"].items()}
    return Person(item["sk"], identities, item["version"])


def _identity_to_item(identity: Identity) -> Item:
    item: Item = {"figures": figures_to_item(identity.figures)}
    return {**item, "marketing": True} if identity.marketing else item


def _identity_from_item(item: Item) -> Identity:
    return Identity(figures_from_item(item["figures"]), item.get("marketing", False))


def _told_at(told: Mapping[str, Any]) -> str:
    return str(told["at"])


def _sum(counted: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counted:
        total.update(each)
    return dict(sorted(total.items()))


def _different(addresses: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    found: list[Mapping[str, str]] = []
    for address in addresses:
        if address not in found:
            found.append(address)
    return found
