"""Routing: which facilities send an order: in the fewest parcels, then soonest, then at the least cost and distance,
then from where most lies. A merchant's rules say what is preferred, excluded and allowed; they are data.

Distance is measured between coordinates where the facility and the destination have them: a facility's own, and the
rules' table of postal prefixes for the destination. Otherwise it is what the postal codes tell: the longer their common
beginning, the nearer, and another country is farther than any place in this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from oms.fulfillment.labelling import USUAL, Terms
from oms.orders.model import Line, Order
from oms.orders.reservation import INLINE_SKUS

PARCEL_SKUS = INLINE_SKUS
"""One parcel, and one allocating transaction, touches so many SKUs at most (or one kit, if that alone has more)."""
_TRIED_TOGETHER = 4
_TRIED_AT_ALL = 10
_EARTH_KM = 6371
_NEXT_PREFIX_KM = 300
_ABROAD_KM = 5000

Free = Mapping[str, Mapping[str, int]]
Point = tuple[float, float]


class StockMissing(Exception):
    """The facilities together lack units of these SKUs; the message names them."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A parcel to be: ``lines`` maps line numbers to units of the line."""

    facility: str
    lines: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Source:
    """What a facility means to one order: ``rank`` is its place among the preferred, ``late`` the days by which others
    could hand the parcel over sooner, ``cost`` minor units a parcel."""

    rank: int = 0
    late: int = 0
    cost: int = 0
    kilometres: int = 0


# ---- rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """``when`` maps ``countries``, ``skus``, ``channels``, ``methods`` and ``codes`` to values of which one must hold
    (priority codes are held letter by letter); an absent condition holds always."""

    name: str
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prefer: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_parcels: int | None = None
    whole: bool = False
    """Nothing leaves before everything can."""

    def applies(self, order: Order) -> bool:
        """Whether the rule speaks of this order."""
        told = {
            "countries": {order.address.get("country", "")},
            "skus": {sku for line in order.lines for sku in (line.sku, *line.parts)},
            "channels": {order.channel},
            "methods": {order.shipping_method},
            "codes": set(order.priority_codes),
        }
        return all(told[name] & set(values) for name, values in self.when.items())


@dataclass(frozen=True, slots=True)
class Policy:
    """What all rules together say about one order; ``because`` names those that applied."""

    prefer: tuple[str, ...] = ()
    exclude: frozenset[str] = frozenset()
    max_parcels: int | None = None
    whole: bool = False
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """A merchant's rules. ``places`` maps ``US-972`` (country and postal prefix) to a latitude and a longitude."""

    rules: tuple[Rule, ...] = ()
    places: Mapping[str, Point] = field(default_factory=dict)
    methods: Mapping[str, Terms] = field(default_factory=dict)
    """What shipping methods promise and which carriers they may use."""
    version: int = 0

    def terms(self, method: str) -> Terms:
        """What a shipping method promises."""
        return self.methods.get(method) or USUAL.get(method) or Terms()

    def policy(self, order: Order) -> Policy:
        """The first preference wins, exclusions add up, and the strictest limit holds."""
        found = [rule for rule in self.rules if rule.applies(order)]
        limits = [rule.max_parcels for rule in found if rule.max_parcels]
        return Policy(
            prefer=next((rule.prefer for rule in found if rule.prefer), ()),
            exclude=frozenset(code for rule in found for code in rule.exclude),
            max_parcels=min(limits, default=None),
            whole=any(rule.whole for rule in found),
            because=tuple(rule.name for rule in found),
        )

    def place_of(self, address: Mapping[str, str]) -> Point | None:
        """The coordinates of the longest postal prefix that we know of."""
        code = _plain(address.get("postal_code", ""))
        for length in range(len(code), 0, -1):
            found = self.places.get(f"{address.get('country', '')}-{code[:length]}")
            if found:
                return found
        return None


def kilometres(origin: Mapping[str, str], at: Point | None, destination: Mapping[str, str], there: Point | None) -> int:
    """How far it is, by coordinates if both are known and by postal codes if not."""
    if at and there:
        return round(_great_circle(at, there))
    if origin.get("country") != destination.get("country"):
        return _ABROAD_KM
    ours, theirs = _plain(origin.get("postal_code", "")), _plain(destination.get("postal_code", ""))
    common = 0
    while common < min(len(ours), len(theirs)) and ours[common] == theirs[common]:
        common += 1
    return _NEXT_PREFIX_KM * max(0, 4 - common)


def _plain(code: str) -> str:
    return code.replace(" ", "").replace("-", "").upper()


def _great_circle(one: Point, other: Point) -> float:
    (lat1, lon1), (lat2, lon2) = ((math.radians(a), math.radians(b)) for a, b in (one, other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(half)))


# ---- planning --------------------------------------------------------------------------------------------------------


def plan(
    lines: Mapping[int, Line], wanted: Mapping[int, int], free: Free, sources: Mapping[str, Source] | None = None
) -> list[Parcel]:
    """Which facility sends what. Of the fewest facilities that together have everything, those that are preferred,
    then soonest, cheapest, nearest and fullest; up to four together are tried out, more are found by greed. Kits stay
    together. Raises ``StockMissing``.
    """
    left = {number: units for number, units in wanted.items() if units}
    if not left:
        return []
    known = sources or {}
    skus = {sku for number in left for sku in lines[number].units(1)}
    useful = [code for code in sorted(free) if _carried(lines, left, free[code])]

    def worth(code: str) -> tuple[int, ...]:
        source = known.get(code, Source())
        return source.rank, source.late, source.cost, source.kilometres, -sum(free[code].get(sku, 0) for sku in skus)

    candidates = sorted(useful, key=lambda code: (worth(code), code))
    reach = {code: sum(_carried(lines, left, free[code]).values()) for code in useful}
    tried = sorted(candidates, key=lambda code: -reach[code])[:_TRIED_AT_ALL]
    for size in range(1, min(_TRIED_TOGETHER, len(tried)) + 1):
        best: tuple[tuple[int, ...], list[tuple[str, dict[int, int]]]] | None = None
        for some in combinations(tried, size):
            for order in _turns(some, worth, reach):
                shares = _filled(lines, left, free, order)
                if shares is None:
                    continue
                score = tuple(map(sum, zip(*(worth(code) for code, _ in shares), strict=True)))
                if best is None or score < best[0]:
                    best = (score, shares)
        if best:
            return [Parcel(code, part) for code, share in best[1] for part in _split(lines, share)]
    return _greedy(lines, left, free, worth)


def _turns(
    some: Iterable[str], worth: Callable[[str], tuple[int, ...]], reach: Mapping[str, int]
) -> list[tuple[str, ...]]:
    """In which order facilities are asked: the best first, or the one that carries most first."""
    best = tuple(sorted(some, key=lambda code: (worth(code), code)))
    most = tuple(sorted(best, key=lambda code: -reach[code]))
    return [best] if best == most else [most, best]


def _filled(
    lines: Mapping[int, Line], wanted: Mapping[int, int], free: Free, order: Iterable[str]
) -> list[tuple[str, dict[int, int]]] | None:
    """What each facility sends when they are asked one after the other; None when something is left."""
    left = dict(wanted)
    shares = []
    for code in order:
        share = _carried(lines, left, free[code])
        if share:
            shares.append((code, share))
        left = {number: units - share.get(number, 0) for number, units in left.items()}
        left = {number: units for number, units in left.items() if units}
    return None if left else shares


def _greedy(
    lines: Mapping[int, Line], wanted: Mapping[int, int], free: Free, worth: Callable[[str], tuple[int, ...]]
) -> list[Parcel]:
    """The one that carries most first, until everything is carried."""
    left = dict(wanted)
    parcels: list[Parcel] = []
    asked: set[str] = set()
    while left:
        offers = {code: _carried(lines, left, free[code]) for code in sorted(free) if code not in asked}
        offers = {code: offer for code, offer in offers.items() if offer}
        if not offers:
            raise StockMissing(", ".join(sorted({sku for number in left for sku in lines[number].units(1)})))
        code = min(offers, key=lambda name: (-sum(offers[name].values()), worth(name), name))
        asked.add(code)
        for number, units in offers[code].items():
            left[number] -= units
        left = {number: units for number, units in left.items() if units}
        parcels.extend(Parcel(code, part) for part in _split(lines, offers[code]))
    return parcels


def obtainable(lines: Mapping[int, Line], wanted: Mapping[int, int], free: Free) -> dict[int, int]:
    """As much of what is wanted as the facilities have between them, line by line in their order."""
    rest = {code: dict(units) for code, units in free.items()}
    found: dict[int, int] = {}
    for number, units in sorted(wanted.items()):
        for code in sorted(rest, key=lambda name: -sum(rest[name].values())):
            share = _carried(lines, {number: units - found.get(number, 0)}, rest[code]).get(number, 0)
            if share:
                found[number] = found.get(number, 0) + share
                for sku, each in lines[number].units(1).items():
                    rest[code][sku] -= each * share
    return found


def _carried(lines: Mapping[int, Line], left: Mapping[int, int], units: Mapping[str, int]) -> dict[int, int]:
    """How much of what is left a facility with these units could send."""
    rest = dict(units)
    carried: dict[int, int] = {}
    for number, wanted in sorted(left.items()):
        needs = lines[number].units(1)
        count = min(wanted, *(rest.get(sku, 0) // each for sku, each in needs.items()))
        if count > 0:
            carried[number] = count
            for sku, each in needs.items():
                rest[sku] -= each * count
    return carried


def _split(lines: Mapping[int, Line], offer: Mapping[int, int]) -> Iterator[dict[int, int]]:
    part: dict[int, int] = {}
    skus: set[str] = set()
    for number, units in offer.items():
        more = skus | set(lines[number].units(1))
        if part and len(more) > PARCEL_SKUS:
            yield part
            part, more = {}, set(lines[number].units(1))
        part[number] = units
        skus = more
    if part:
        yield part
