"""Planning: which parcels are picked how, and together with which others. Pure: parcels in, walks out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from oms.fulfillment.floorplan import FloorPlan, MethodRule, Rules, Site
from oms.fulfillment.picking.batching import Effort
from oms.fulfillment.picking.planner import ShipmentPicks, SingleBlockPlanner, WalkPlan, WalkPlanner
from oms.fulfillment.picking.planner import Walk as Way
from oms.runtime.clock import to_text

MAX_PARCELS = 40
"""On one walk: each is written in the transaction that releases it, and read whenever somebody scans."""


class Place(NamedTuple):
    """Where units of a SKU are picked: the bin, and the lot (``lot_key``) where its units are told apart."""

    bin: str
    sku: str
    lot: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A parcel that waits to be picked: units by bin and SKU, its place in the queue, and until when it has to leave
    (empty when nobody said)."""

    shipment_id: str
    places: Mapping[Place, int]
    rank: str
    codes: str = ""
    due: str = ""

    @property
    def units(self) -> int:
        return sum(self.places.values())

    def bins(self) -> dict[str, int]:
        """Units by bin."""
        total: Counter[str] = Counter()
        for place, units in self.places.items():
            total[place.bin] += units
        return dict(total)


@dataclass(frozen=True, slots=True)
class PlannedStop:
    """Units of a SKU in a bin, by parcel."""

    bin: str
    sku: str
    need: Mapping[str, int]
    lot: str = ""


@dataclass(frozen=True, slots=True)
class PlannedWalk:
    """One picker's way."""

    zone: str
    stops: tuple[PlannedStop, ...]
    length_cm: int

    @property
    def units(self) -> int:
        return sum(sum(stop.need.values()) for stop in self.stops)


@dataclass(frozen=True, slots=True)
class Release:
    """Parcels that are picked together, on one walk or (``zone``) on one in each zone: released whole or not at all."""

    method: str
    rank: str
    shipment_ids: tuple[str, ...]
    walks: tuple[PlannedWalk, ...]
    cut_off: str = ""

    @property
    def units(self) -> int:
        return sum(walk.units for walk in self.walks)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What to release, the most urgent first, and the parcels whose wave is not due yet."""

    releases: tuple[Release, ...]
    not_yet: tuple[str, ...] = ()

    @property
    def length_cm(self) -> int:
        return sum(walk.length_cm for release in self.releases for walk in release.walks)


def method_of(waiting: Waiting, rules: Rules, site: Site | None) -> str:
    """The method of a parcel: that of the first rule which fits. Cluster carts need slots, waves a time to leave by,
    zones a parcel that lies in several; a parcel that no rule fits is picked alone."""
    zones = {site.zone_of(place.bin) for place in waiting.places} - {""} if site else set()
    for rule in rules.methods:
        if _fits(rule, waiting, len(zones)) and _possible(rule, waiting, rules, len(zones)):
            return rule.method
    return "single"


def _fits(rule: MethodRule, waiting: Waiting, zones: int) -> bool:
    return (
        (rule.min_units is None or waiting.units >= rule.min_units)
        and (rule.max_units is None or waiting.units <= rule.max_units)
        and (rule.min_zones is None or zones >= rule.min_zones)
        and (not rule.codes or bool(set(rule.codes) & set(waiting.codes)))
    )


def _possible(rule: MethodRule, waiting: Waiting, rules: Rules, zones: int) -> bool:
    if rule.method == "cluster":
        return rules.cart_slots > 0
    if rule.method == "wave":
        return bool(waiting.due)
    return rule.method != "zone" or zones > 1


def arrange(queue: Iterable[Waiting], plan: FloorPlan, now: datetime, *, all_waves: bool = False) -> Arrangement:
    """Walks for these parcels. A wave is held back until its lead time before the cut-off, unless ``all_waves``."""
    ordered = sorted(queue, key=lambda each: urgency(each, now, plan.rules))
    by_method: dict[tuple[str, str], list[Waiting]] = {}
    not_yet: list[str] = []
    soon = to_text(now + timedelta(minutes=plan.rules.lead_minutes))
    for waiting in ordered:
        method = method_of(waiting, plan.rules, plan.site)
        if method == "wave" and waiting.due > soon and not all_waves:
            not_yet.append(waiting.shipment_id)
            continue
        by_method.setdefault((method, waiting.due if method == "wave" else ""), []).append(waiting)
    releases: list[Release] = []
    for (method, cut_off), group in by_method.items():
        releases += _grouped(method, cut_off, group, plan)
    place = {waiting.shipment_id: number for number, waiting in enumerate(ordered)}
    releases.sort(key=lambda release: min(place[shipment_id] for shipment_id in release.shipment_ids))
    return Arrangement(tuple(releases), tuple(not_yet))


def urgency(waiting: Waiting, now: datetime, rules: Rules) -> tuple[bool, str, str]:
    """The order of release: what has to leave within the lead time by when it has to, then by rank."""
    soon = bool(waiting.due) and waiting.due <= to_text(now + timedelta(minutes=rules.lead_minutes))
    return (not soon, waiting.due if soon else "", waiting.rank)


def _grouped(method: str, cut_off: str, group: Sequence[Waiting], plan: FloorPlan) -> list[Release]:
    known = {waiting.shipment_id: waiting for waiting in group}
    planner = _planner(method, plan)
    if method == "single":
        ways = [Way((waiting.shipment_id,), (), waiting.units, 0) for waiting in group]
    else:
        ways = _ways(planner, method, group)
    releases: list[Release] = []
    for way in ways:
        for ids in _parts(way.shipment_ids):
            members = [known[shipment_id] for shipment_id in ids]
            walks = _walks(method, members, planner, plan.site)
            rank = min(member.rank for member in members)
            releases.append(Release(method, rank, tuple(ids), walks, cut_off))
    return releases


def _planner(method: str, plan: FloorPlan) -> WalkPlanner:
    rules = plan.rules
    capacity = rules.cart_slots if method == "cluster" else rules.walk_units
    if plan.site is None:
        return ByName(capacity)
    return SingleBlockPlanner(plan.site.scheme, capacity, effort=Effort(seconds=rules.search_seconds))


def _ways(planner: WalkPlanner, method: str, group: Sequence[Waiting]) -> list[Way]:
    size = 1 if method == "cluster" else None
    told = [ShipmentPicks(waiting.shipment_id, waiting.bins(), size) for waiting in group]
    planned = planner.plan(told)
    alone = [Way((shipment_id,), (), 0, 0) for shipment_id in planned.without_place]
    return [*planned.walks, *alone]


def _parts(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + MAX_PARCELS] for start in range(0, len(ids), MAX_PARCELS)]


def _walks(method: str, members: Sequence[Waiting], planner: WalkPlanner, site: Site | None) -> tuple[PlannedWalk, ...]:
    """The stops of these parcels in walking order: one way, or one in each zone."""
    need: dict[Place, dict[str, int]] = {}
    for member in members:
        for place, units in member.places.items():
            need.setdefault(place, {})[member.shipment_id] = units
    zones: dict[str, list[Place]] = {}
    for place in need:
        zone = site.zone_of(place.bin) if site and method == "zone" else ""
        zones.setdefault(zone, []).append(place)
    walks: list[PlannedWalk] = []
    for zone, places in sorted(zones.items()):
        # As one order that fits whatever the cart takes: the grouping is done, only the way is asked for.
        known = [each.bin for each in places if site is None or site.scheme.spot(each.bin)]
        planned = planner.plan([ShipmentPicks("way", dict.fromkeys(known, 1), 1)] if known else [])
        names = list(planned.walks[0].bins) if planned.walks else []
        rank = {name: number for number, name in enumerate(names)}
        ordered = sorted(places, key=lambda place: (rank.get(place.bin, len(rank)), place))
        stops = tuple(PlannedStop(place.bin, place.sku, need[place], place.lot) for place in ordered)
        walks.append(PlannedWalk(zone, stops, planned.walks[0].length if planned.walks else 0))
    return tuple(walks)


@dataclass(frozen=True, slots=True)
class ByName:
    """``WalkPlanner`` for a floor that nobody has measured: parcels in their order until the cart is full, and bins by
    their names, which in most houses run along the aisles. Lengths are unknown, and 0."""

    capacity: int

    def plan(self, shipments: Sequence[ShipmentPicks]) -> WalkPlan:
        """Walks in the order of the parcels."""
        carts: list[list[ShipmentPicks]] = []
        left = 0
        for shipment in shipments:
            size = shipment.units if shipment.size is None else shipment.size
            if not carts or size > left:
                carts.append([])
                left = self.capacity
            carts[-1].append(shipment)
            left -= size
        return WalkPlan(tuple(self._walk(cart) for cart in carts))

    def _walk(self, cart: Sequence[ShipmentPicks]) -> Way:
        names = sorted({name for shipment in cart for name in shipment.bins})
        return Way(tuple(each.shipment_id for each in cart), tuple(names), sum(each.units for each in cart), 0)
