"""People: one profile per person over all channels, made of the identities that are known to be one.

An identity is what an order names, the hash of an e-mail or of a marketplace's buyer. A person is one or more of them
under the id of the first. What is known of each identity stays its own within the person's item and the profile is the
sum, so that joining people moves identities and parting them moves them back, and nothing is worked out again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from oms.customers import finding
from oms.customers.figures import CONTACT, MAX_ADDRESSES, Figures, figures_from_item, figures_to_item
from oms.customers.matching import KINDS, claim, claim_key
from oms.orders.model import home_seed
from oms.orders.store import order_key
from oms.runtime.clock import from_text, to_text
from oms.runtime.dynamo import Item, Table, Write

SHARDS = 16
"""Over so many partitions people are spread: all of them are so many queries."""
MAX_IDENTITIES = 20
"""So many identities are one person at most: all of them are one item."""


def customer_key(customer_id: str) -> str:
    """The partition of what belongs to one identity."""
    return f"CUSTOMER#{customer_id}"


def person_key(person_id: str) -> tuple[str, str]:
    """Where a person's item stands."""
    return f"PEOPLE#{home_seed(person_id) % SHARDS}", person_id


def identity_key(customer_id: str) -> tuple[str, str]:
    """Where it stands to which person an identity belongs."""
    return customer_key(customer_id), "IDENTITY"


def link(customer_id: str, person_id: str, now: datetime) -> Item:
    """The item that says so."""
    pk, sk = identity_key(customer_id)
    return {"pk": pk, "sk": sk, "entity": "identity", "person_id": person_id, "since": to_text(now)}


def contribution_key(customer_id: str, order_id: str) -> tuple[str, str]:
    """Where an order's part in its customer's figures stands."""
    return customer_key(customer_id), f"CONTRIB#{order_id}"


def contributed_key(order_id: str) -> tuple[str, str]:
    """Where it stands to whom an order contributes, and from which of its versions."""
    return order_key(order_id), "CONTRIB"


def merges_key(person_id: str) -> str:
    """The partition of what was joined to a person, and parted again."""
    return f"PERSON#{person_id}"


@dataclass(frozen=True, slots=True)
class Identity:
    """One identity within a person."""

    figures: Figures = field(default_factory=Figures)
    marketing: bool = False
    """Whether this customer asked for marketing."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """What agents wrote down, and goes before what orders say: ``name``, ``phone``, ``addresses``, ``note``."""
    verified: Mapping[str, str] = field(default_factory=dict)
    """E-mail and phone that are known to be this person's own."""
    claims: tuple[str, ...] = ()
    """Kind and digest of what was first verified by this identity: whoever verifies the same is joined to it."""
    apart: tuple[str, ...] = ()
    """Identities that somebody parted from this one: never joined to it by itself again."""

    def contact(self, name: str) -> str:
        """What agents wrote down, or what the latest order that tells it says."""
        told = self.figures.contact.get(name)
        return str(self.said.get(name) or (told["value"] if told else ""))

    def addresses(self) -> list[Mapping[str, str]]:
        """Those of orders, the latest first, after those that agents wrote down."""
        return [*self.said.get("addresses", ()), *(told["address"] for told in self.figures.addresses)]

    def terms(self) -> frozenset[str]:
        """Everything by which the identity is found."""
        told = {name: value["value"] for name, value in self.figures.contact.items()}
        addresses = self.addresses()
        return frozenset(
            finding.terms(
                names=[
                    *_given([self.said.get("name"), told.get("name")]),
                    *_given(address.get("name") for address in addresses),
                ],
                emails=_given([told.get("email")]),
                phones=_given([self.said.get("phone"), told.get("phone")]),
                postcodes=_given(address.get("postal_code") for address in addresses),
            )
        )


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
    """The latest first, those that agents wrote down before those of orders."""
    note: str
    verified: tuple[str, ...]
    """Which of ``email`` and ``phone`` are known to be this person's own."""
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
    """Whether marketing is welcome: they asked for it as one of their identities."""
    version: int

    @property
    def days_between_orders(self) -> int | None:
        """How often they buy: whole days from one order to the next on average; None for a single one."""
        if self.orders < 2:
            return None
        span = from_text(self.last_order_at) - from_text(self.first_order_at)
        return span.days // (self.orders - 1)


@dataclass(frozen=True, slots=True)
class Person:
    """A person as stored. ``version`` counts the changes, over all times that a person of this id was there."""

    person_id: str
    identities: Mapping[str, Identity] = field(default_factory=dict)
    version: int = 0
    stored: bool = False
    """Whether there is such an item."""

    def with_identity(self, customer_id: str, identity: Identity | None) -> Person:
        """The person with an identity as given, or without it."""
        others = {name: each for name, each in self.identities.items() if name != customer_id}
        return replace(self, identities={**others, customer_id: identity} if identity else others)

    @property
    def lead(self) -> str:
        """The identity that holds what is said of the whole person: the first, as long as it is there."""
        return self.person_id if self.person_id in self.identities else min(self.identities)

    def is_apart_from(self, other: Person) -> bool:
        """Whether somebody parted the two."""
        return any(
            set(identity.apart) & theirs.identities.keys()
            for mine, theirs in ((self, other), (other, self))
            for identity in mine.identities.values()
        )

    def profile(self) -> Profile:
        """The sum over the identities."""
        ordered = sorted(self.identities.items(), key=lambda each: (each[0] != self.person_id, each[0]))
        identities = [identity for _, identity in ordered]
        each = [identity.figures for identity in identities]
        said = [address for identity in identities for address in identity.said.get("addresses", ())]
        dated = sorted((told for figures in each for told in figures.addresses), key=_told_at, reverse=True)
        times = [moment for figures in each for moment in (figures.first_order_at, figures.last_order_at) if moment]
        contact = {name: _contact(identities, name) for name in CONTACT}
        proven = {claim(kind, value) for identity in identities for kind, value in identity.verified.items()}
        return Profile(
            person_id=self.person_id,
            identities=tuple(name for name, _ in ordered),
            **contact,
            addresses=tuple(_different([*said, *(told["address"] for told in dated)])[: 2 * MAX_ADDRESSES]),
            note="\n".join(_given(identity.said.get("note") for identity in identities)),
            verified=tuple(kind for kind in KINDS if claim(kind, contact[kind]) in proven),
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
            marketing=any(identity.marketing for identity in identities),
            version=self.version,
        )


@dataclass(frozen=True, slots=True)
class People:
    """People in the orders table: reading them, and the actions that change them."""

    table: Table

    def person_of(self, customer_id: str) -> str:
        """The id of the person that an identity belongs to: its own, as long as it was joined to nobody."""
        item = self.table.get(*identity_key(customer_id))
        return str(item["person_id"]) if item else customer_id

    def person(self, person_id: str) -> Person:
        """A person by their own id; without identities when there is none."""
        item = self.table.get(*person_key(person_id))
        return person_from_item(item) if item else Person(person_id)

    def of(self, customer_id: str) -> Person:
        """The person that an identity belongs to; without identities when there is none."""
        return self.person(self.person_of(customer_id))

    def profile(self, customer_id: str) -> Profile | None:
        """The profile of the person that an identity belongs to; None for one who never bought anything."""
        person = self.of(customer_id)
        return person.profile() if person.stored else None

    def in_shard(self, shard: int, after: str = "") -> Iterator[Person]:
        """Everybody in one of the ``SHARDS``, by id, from behind ``after``."""
        return map(person_from_item, self.table.query(f"PEOPLE#{shard}", after=after))

    def found(self, words: Sequence[str], limit: int) -> list[Person]:
        """People of whom one identity is found by all these beginnings, the longest first; at most so many."""
        people: dict[str, Person] = {}
        for entries in _batches(self.table.query(*finding.place(words[0]), limit=_LOOKED_AT), _BATCH):
            ids = list(dict.fromkeys(entry["identity"] for entry in entries))
            links = {item["pk"]: item["person_id"] for item in self.table.batch_get([identity_key(one) for one in ids])}
            wanted = {one: links.get(customer_key(one), one) for one in ids}
            items = self.table.batch_get([person_key(person_id) for person_id in wanted.values()])
            read = {person.person_id: person for person in map(person_from_item, items)}
            for one, person_id in wanted.items():
                person = read.get(person_id)
                identity = person.identities.get(one) if person else None
                if person and identity and finding.matches(identity.terms(), words):
                    people.setdefault(person_id, person)
                    if len(people) == limit:
                        return list(people.values())
        return list(people.values())

    def writes(self, now: datetime, *changes: tuple[Person, Person]) -> list[Write]:
        """The actions that make people as they are into others, over the versions that were read, with the links of
        their identities and what they are found by. A person without identities is deleted."""
        was = {name: (old.person_id, each) for old, _ in changes for name, each in old.identities.items()}
        now_is = {name: (new.person_id, each) for _, new in changes for name, each in new.identities.items()}
        writes = [self._person(old, new) for old, new in changes if old.identities != new.identities]
        for name in sorted(was.keys() | now_is.keys()):
            before, after = was.get(name), now_is.get(name)
            writes += self._link(name, before and before[0], after and after[0], now)
            if before and not after:
                writes += [self.unclaimed(each, name) for each in before[1].claims]
            gone, come = before[1].terms() if before else frozenset(), after[1].terms() if after else frozenset()
            writes += [self.table.put("find", finding.entry(term, name), None) for term in sorted(come - gone)]
            for term in sorted(gone - come):
                entry = finding.entry(term, name)
                writes.append(self.table.delete("find", (entry["pk"], entry["sk"]), None))
        return writes

    def _person(self, old: Person, new: Person) -> Write:
        condition = "version = :seen" if old.stored else "attribute_not_exists(pk)"
        values = {":seen": old.version} if old.stored else None
        if not new.identities:
            return self.table.delete("person", person_key(new.person_id), condition, values=values)
        return self.table.put("person", person_to_item(replace(new, version=old.version + 1)), condition, values=values)

    def unclaimed(self, claimed: str, name: str) -> Write:
        """The action that ends an identity's claim, if it is its own."""
        condition = "attribute_not_exists(pk) OR #identity = :me"
        return self.table.delete(
            "claim", claim_key(claimed), condition, names={"#identity": "identity"}, values={":me": name}
        )

    def _link(self, name: str, before: str | None, after: str | None, now: datetime) -> list[Write]:
        if before == after:
            return []
        if after is None:
            return [self.table.delete("identity", identity_key(name), None)]
        # A new identity's link may be there already where its person was lost.
        condition = "person_id = :before" if before else "attribute_not_exists(pk) OR person_id = :before"
        return [self.table.put("identity", link(name, after, now), condition, values={":before": before or after})]


_BATCH = 50
_LOOKED_AT = 500
"""So many entries are read for one search: who types a name that is more common adds a second word that is not."""


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
    return Person(item["sk"], identities, item["version"], stored=True)


def _identity_to_item(identity: Identity) -> Item:
    told = {spec.name: getattr(identity, spec.name) for spec in fields(identity) if spec.name != "figures"}
    return {"figures": figures_to_item(identity.figures), **{name: value for name, value in told.items() if value}}


def _identity_from_item(item: Item) -> Identity:
    lists = {name: tuple(item.get(name, ())) for name in ("claims", "apart")}
    return Identity(**{**item, "figures": figures_from_item(item["figures"]), **lists})


def _contact(identities: Sequence[Identity], name: str) -> str:
    said = next(iter(_given(identity.said.get(name) for identity in identities)), "")
    told = [each.figures.contact[name] for each in identities if name in each.figures.contact]
    return said or (str(max(told, key=_told_at)["value"]) if told else "")


def _told_at(told: Mapping[str, Any]) -> str:
    return str(told["at"])


def _given(values: Iterable[Any]) -> list[str]:
    return [str(value) for value in values if value]


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


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
