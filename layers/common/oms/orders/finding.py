"""Finding an order by anything that a caller can say.

Each thing that finds an order is an item of its own under a keyed digest of it, so a copy of the index names nobody.
The entries are kept by the stream: ``FOUND`` beside the order remembers which there are and from which version of the
order, so a message twice, late or out of turn changes nothing, and what an edit or an erasure took away is found no
more. Whatever the index says, an order is shown only if it answers to the search as it is now.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from oms.fulfillment.shipments import DynamoShipments, Shipment
from oms.inventory.finding import folded, words
from oms.orders.listing import summary
from oms.orders.model import Order, order_id_for
from oms.orders.returning import return_from_item
from oms.orders.store import DynamoOrders, order_key
from oms.runtime import errors
from oms.runtime.clock import Clock, from_epoch
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Write

CHARGED = "charge.succeeded"
"""The provider's event that tells the last four digits of a card."""
MARKETPLACES = ("amazon", "ebay", "etsy", "shopify", "webhook")
MOST = 25
"""So many orders are shown for one search, the newest first."""
_MOST_TERMS = 80
"""So many entries an order has at most: all of them change in one transaction."""
_ATTEMPTS = 12
_TAIL = 9
"""A phone is found by its last digits, with its country's code or without."""
_SHORT = re.compile(r"#?([0-9a-fA-F]{8})")
_CARD = re.compile(r"(?:\*|x|•|\s)*(\d{4})[\s,;on]+(\d{4}-\d{2}-\d{2})")
_PHONE = re.compile(r"\+?[0-9 ().\-/]{6,30}")
_STORED_BESIDE = frozenset({"tracking", "card"})
_NAMED = "attribute_exists(customer.email) OR attribute_exists(customer.#name)"


@dataclass(frozen=True, slots=True, order=True)
class Term:
    """One thing that a caller may say. ``kind`` is short, email, phone, name, card or tracking."""

    kind: str
    value: str


def keys_of(order: Order, tracking: Iterable[str] = (), cards: Iterable[Mapping[str, Any]] = ()) -> frozenset[Term]:
    """Everything that finds an order: ``tracking`` are the numbers of its parcels and returns, ``cards`` what is noted
    of the cards that paid. A person who was forgotten is found by nothing but the order's own number."""
    found = {_short(order)}
    if not {"email", "name"} & order.customer.keys():
        return frozenset(found)
    if order.customer.get("email"):
        found.add(Term("email", folded(order.customer["email"])))
    tail = _digits(order.customer.get("phone", ""))
    if tail:
        found.add(Term("phone", tail))
    postcode = _bare(order.address.get("postal_code", ""))
    names = [*words(order.customer.get("name", "")), *words(order.address.get("name", ""))]
    found |= {Term("name", f"{name}|{postcode}") for name in names if postcode}
    found |= {Term("tracking", _bare(number)) for number in tracking if number}
    found |= {Term("card", f"{card['last4']}|{day}") for card in cards for day in {card["on"], order.placed_at[:10]}}
    return frozenset(sorted(found, key=lambda term: term.kind in _STORED_BESIDE)[:_MOST_TERMS])


def asked(said: str) -> list[list[Term]]:
    """What somebody's words may mean: each meaning is terms that must all be an order's. Numbers that need no index are
    not among them."""
    said = said.strip()
    meanings: list[list[Term]] = []
    if short := _SHORT.fullmatch(said):
        meanings.append([Term("short", short[1].lower())])
    if "@" in said:
        meanings.append([Term("email", folded(said))])
    if card := _CARD.fullmatch(said):
        meanings += by_card(card[1], card[2])
    if _PHONE.fullmatch(said) and _digits(said):
        meanings.append([Term("phone", _digits(said))])
    parts = said.replace(",", " ").split()
    for split in (1, 2):
        name, postcode = " ".join(parts[:-split]), " ".join(parts[-split:])
        if words(name) and any(each.isdigit() for each in postcode):
            meanings.append(by_name(name, postcode))
    if len(_bare(said)) >= 8:
        meanings.append([Term("tracking", _bare(said))])
    return meanings


def by_name(name: str, postcode: str) -> list[Term]:
    """Every word of a name at a postcode; the longest is looked for."""
    return [Term("name", f"{word}|{_bare(postcode)}") for word in sorted(words(name), key=len, reverse=True)]


def by_card(last4: str, day: str) -> list[list[Term]]:
    """Four digits on a day or one beside it: banks and time zones do not agree on days. Raises ``InvalidRequest``."""
    try:
        told = date.fromisoformat(day)
    except ValueError:
        raise errors.InvalidRequest(
            "See errors for what to change.", fields=[("date", "a day such as 2026-11-23")]
        ) from None
    return [[Term("card", f"{last4}|{told + timedelta(days=each)}")] for each in (0, -1, 1)]


def _short(order: Order) -> Term:
    return Term("short", order.order_id[:8])


def _digits(phone: str) -> str:
    digits = re.sub(r"\D", "", phone)
    return digits[-_TAIL:] if len(digits) >= 6 else ""


def _bare(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", folded(text))


@dataclass(frozen=True, slots=True)
class FindOrders:
    """Keeps the entries and looks orders up. ``keys`` are those of order tokens, the signing one first: what an older
    one made is found until its order changes next."""

    orders: DynamoOrders
    clock: Clock
    keys: Callable[[], Sequence[str]]

    # ---- keeping ---------------------------------------------------------------------------------------------------

    def keep(self, order_id: str, *, again: bool = False) -> None:
        """Let an order be found by what it says now; ``again`` when something beside it has changed that no version
        tells. Raises ``Contention``."""
        table = self.orders.table
        for attempt in range(_ATTEMPTS):
            order = self.orders.get(order_id)
            if order is None:
                return
            seen = table.get(*_found_key(order_id))
            if seen and (seen["version"] > order.version or (seen["version"] == order.version and not again)):
                return
            found, *changes = self._writes(order, seen, self._terms(order), order.version)
            if seen and seen["version"] == order.version and not changes:
                return
            try:
                table.transact([found, *changes])
            except ConditionsFailed:
                table.back_off(attempt)
                continue
            return
        raise Contention(f"index of order {order_id}")

    def note_card(self, event_id: str, charge: Mapping[str, Any]) -> None:
        """Keep the last four digits of a card that paid for an order of ours, as the provider told them, and nothing
        else of it; again is harmless. An order whose person was forgotten keeps none."""
        order_id, last4 = charge.get("order_id", ""), charge.get("last4", "")
        table = self.orders.table
        heard = self.orders.inbox("stripe", event_id, self.clock())
        if not order_id or not last4:
            self._heard(heard)
            return
        item = {
            "pk": order_key(order_id),
            "sk": f"CARD#{charge['id']}",
            "entity": "card",
            "last4": last4,
            "on": from_epoch(charge["created"])[:10],
        }
        names = {"#name": "name"}
        try:
            table.transact(
                [
                    table.put("card", item, None),
                    table.check("order", (order_key(order_id), "ORDER"), _NAMED, names),
                    heard,
                ]
            )
        except ConditionsFailed as failed:
            if failed.of("order"):
                self._heard(heard)
                return
            # It was kept before, by somebody who may have died before the order could be found by it.
        self.keep(order_id, again=True)

    def _heard(self, heard: Write) -> None:
        """Remember an event that changed nothing, so that it does not look like one that never came."""
        with suppress(ConditionsFailed):
            self.orders.table.transact([heard])

    def forgetting(self, order: Order) -> list[Write]:
        """The actions that leave nothing of a person in the index, for the transaction that forgets them; one of them
        fails with the label ``found`` when the index moved meanwhile."""
        seen = self.orders.table.get(*_found_key(order.order_id))
        cards = self.orders.parts(order.order_id, "CARD#")
        return [
            *self._writes(order, seen, frozenset({_short(order)}), order.version + 1),
            *(self.orders.table.delete("card", (card["pk"], card["sk"]), None) for card in cards),
        ]

    def _writes(self, order: Order, seen: Item | None, terms: Iterable[Term], version: int) -> list[Write]:
        table = self.orders.table
        key, *_ = self.keys()
        wanted = {_digest(key, term) for term in terms}
        known = set(seen["digests"]) if seen else set[str]()
        pk, sk = _found_key(order.order_id)
        count = seen["count"] if seen else 0
        found = {"pk": pk, "sk": sk, "entity": "found", "version": version, "count": count + 1}
        condition = "#count = :seen" if seen else "attribute_not_exists(pk)"
        names, values = ({"#count": "count"}, {":seen": count}) if seen else (None, None)
        rank = f"{order.placed_at}#{order.order_id}"
        entry = {"sk": rank, "entity": "found_by", "order_id": order.order_id}
        return [
            table.put("found", {**found, "digests": sorted(wanted)}, condition, names, values),
            *(table.delete("entry", (_entry_pk(each), rank), None) for each in sorted(known - wanted)),
            *(table.put("entry", {"pk": _entry_pk(each), **entry}, None) for each in sorted(wanted - known)),
        ]

    def _terms(self, order: Order) -> frozenset[Term]:
        labels = [parcel.label for parcel in self._parcels(order)]
        back = [return_from_item(item).label for item in self.orders.parts(order.order_id, "RETURN#")]
        tracking = [label.tracking_number for label in (*labels, *back) if label]
        return keys_of(order, tracking, self.orders.parts(order.order_id, "CARD#"))

    def _parcels(self, order: Order) -> list[Shipment]:
        return DynamoShipments(self.orders.table).of(order.order_id)

    # ---- finding ---------------------------------------------------------------------------------------------------

    def find(self, said: Mapping[str, str]) -> dict[str, Any]:
        """The orders that answer to what was said, the newest first, and by what. ``said`` is ``q`` (anything) or one
        of number, email, phone, tracking, name with postcode, last4 with date. Raises ``InvalidRequest``."""
        numbers, meanings = _meant(said)
        found: dict[str, tuple[Order, str]] = {}
        for order in self.orders.read_all(list(dict.fromkeys(each for number in numbers for each in _ids(number)))):
            found[order.order_id] = (order, "number")
        more = False
        for terms in meanings:
            ids = self._look_up(terms[0])
            more |= len(ids) > MOST
            for order in self.orders.read_all([each for each in ids[:MOST] if each not in found]):
                if self._answers(order, terms):
                    found[order.order_id] = (order, terms[0].kind)
        shown = sorted(found.values(), key=lambda each: each[0].placed_at, reverse=True)
        told = [{**summary(order), "found_by": "number" if kind == "short" else kind} for order, kind in shown[:MOST]]
        return {"orders": told, "more": more or len(shown) > MOST}

    def _look_up(self, term: Term) -> list[str]:
        found: list[str] = []
        for key in self.keys():
            entries = self.orders.table.query(_entry_pk(_digest(key, term)), limit=MOST + 1, newest_first=True)
            found += [entry["order_id"] for entry in entries]
        return list(dict.fromkeys(found))

    def _answers(self, order: Order, terms: Sequence[Term]) -> bool:
        beside = any(term.kind in _STORED_BESIDE for term in terms)
        return set(terms) <= (self._terms(order) if beside else keys_of(order))


def _meant(said: Mapping[str, str]) -> tuple[list[str], list[list[Term]]]:
    """Numbers that name an order by themselves, and what else was meant."""
    given = {name: value.strip() for name, value in said.items() if value.strip()}
    match given:
        case {"q": anything}:
            return [anything], asked(anything)
        case {"number": number}:
            short = _SHORT.fullmatch(number)
            return [number], [[Term("short", short[1].lower())]] if short else []
        case {"email": email}:
            return [], [[Term("email", folded(email))]]
        case {"phone": phone} if _digits(phone):
            return [], [[Term("phone", _digits(phone))]]
        case {"tracking": number}:
            return [], [[Term("tracking", _bare(number))]]
        case {"name": name, "postcode": postcode} if words(name):
            return [], [by_name(name, postcode)]
        case {"last4": last4, "date": day} if re.fullmatch(r"\d{4}", last4):
            return [], by_card(last4, day)
    what = "q; or number, email, phone, tracking, name with postcode, or last4 with date"
    raise errors.InvalidRequest("See errors for what to change.", fields=[("q", what)])


def _ids(number: str) -> Iterator[str]:
    """The orders that a whole number may name: one of ours, a parcel's, or a marketplace's."""
    whole, _, parcel = number.partition(".")
    try:
        yield str(uuid.UUID(whole if parcel.isdigit() else number))
    except ValueError:
        yield from (order_id_for(channel, number.removeprefix("#")) for channel in MARKETPLACES)


def _found_key(order_id: str) -> tuple[str, str]:
    return order_key(order_id), "FOUND"


def _entry_pk(digest: str) -> str:
    return f"FIND#order#{digest}"


def _digest(key: str, term: Term) -> str:
    said = f"find\x1f{term.kind}\x1f{term.value}"
    return hmac.new(key.encode(), said.encode(), hashlib.sha256).hexdigest()[:32]
