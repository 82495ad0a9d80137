"""Walks: what one picker collects on one way through the floor, for one parcel or for many.

A walk is released with its stops in walking order, held by one picker at a time under a lease, and ends when it has
brought its units to their parcels, each parcel by a write of its own. The parcels say which walks they still wait for;
a walk only believes them: a parcel that no longer names the walk drops out of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from oms.fulfillment.lots import NO_LOT, LotRead, lot_view, require_lot
from oms.fulfillment.refusing import refusal, refuse_scan
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Table, Write

REMEMBERED_SCANS = 20
_ATTEMPTS = 8
_SHOWN = 50

OPEN = frozenset({"open", "ending", "cancelling"})
"""Of which the floor's work in process still counts the units. ``open`` is for pickers, the others only have to end."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Units of one SKU in one bin: needed, and got so far, by parcel."""

    bin: str
    sku: str
    need: Mapping[str, int]
    got: Mapping[str, int] = field(default_factory=dict)
    lot: str = ""
    """The lot to take (``lot_key``), where units are told apart."""

    @property
    def quantity(self) -> int:
        return sum(self.need.values())

    @property
    def picked(self) -> int:
        return sum(self.got.values())

    @property
    def remaining(self) -> int:
        return self.quantity - self.picked

    def owed(self, shipment_id: str) -> int:
        """Units that a parcel still waits for here."""
        return self.need.get(shipment_id, 0) - self.got.get(shipment_id, 0)


@dataclass(frozen=True, slots=True)
class WalkScan:
    """A scan that had its effect, and what it was answered: sent again it has no other and gets the same."""

    key: str
    digest: str
    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk. ``released`` is what it weighs in the floor's work in process, in units."""

    walk_id: str
    facility: str
    method: str
    shipments: tuple[str, ...]
    stops: tuple[Stop, ...]
    released: int
    rank: str
    released_at: str
    wave: str = ""
    zone: str = ""
    length_cm: int = 0
    state: str = "open"
    """open, ending (bringing its units to the parcels), picked, cancelling, cancelled."""
    picker: str = ""
    lease_until: str = ""
    lease_minutes: int = 15
    at: str = ""
    """The bin that was scanned last."""
    totes: Mapping[str, str] = field(default_factory=dict)
    put_back: Mapping[str, int] = field(default_factory=dict)
    """Units on the cart that nobody wants any more."""
    scans: tuple[WalkScan, ...] = ()
    version: int = 1

    @property
    def remaining(self) -> int:
        return sum(stop.remaining for stop in self.stops)

    def slot(self, shipment_id: str) -> int:
        """The parcel's place on the cart, from 1."""
        return self.shipments.index(shipment_id) + 1

    def held_by(self, now: datetime) -> str:
        """Who has it, as long as the lease lasts."""
        return self.picker if self.lease_until > to_text(now) else ""

    def got_for(self, shipment_id: str) -> dict[str, int]:
        """Units by SKU that a parcel has got on this walk."""
        total: Counter[str] = Counter()
        for stop in self.stops:
            if units := stop.got.get(shipment_id, 0):
                total[stop.sku] += units
        return dict(total)

    # ---- changes ---------------------------------------------------------------------------------------------------

    def leased(self, picker: str, now: datetime) -> Walk:
        """The walk in somebody's hands, for a lease from now."""
        return replace(self, picker=picker, lease_until=to_text(now + timedelta(minutes=self.lease_minutes)))

    def given_up(self) -> Walk:
        """The walk as it is, for whoever comes next."""
        return replace(self, picker="", lease_until="", at="")

    def taken_for(self, shipment_id: str) -> dict[str, list[tuple[str, str, int]]]:
        """By SKU of a parcel: from which bin, of which lot, and how many units it has got."""
        found: dict[str, list[tuple[str, str, int]]] = {}
        for stop in self.stops:
            if units := stop.got.get(shipment_id, 0):
                found.setdefault(stop.sku, []).append((stop.bin, stop.lot, units))
        return found

    def at_most(self, shipment_id: str, wanted: Mapping[str, int]) -> Walk:
        """The walk with no more for a parcel than it still wants by SKU; what it has got beyond goes back to its
        bins."""
        left, back, stops = Counter(wanted), Counter(self.put_back), list[Stop]()
        for stop in self.stops:
            need, got = stop.need.get(shipment_id, 0), stop.got.get(shipment_id, 0)
            kept = min(need, max(0, left[stop.sku]))
            left[stop.sku] -= kept
            back[stop.sku] += max(0, got - kept)
            if kept < need:
                stop = replace(
                    stop,
                    need={each: units for each, units in {**stop.need, shipment_id: kept}.items() if units},
                    got={each: units for each, units in {**stop.got, shipment_id: min(got, kept)}.items() if units},
                )
            stops.append(stop)
        return replace(self, stops=tuple(stop for stop in stops if stop.need), put_back=dict(+back))

    def done_with(self, shipment_id: str) -> Walk:
        """The walk with nothing more to pick for a parcel that has what was got for it."""
        stops = (
            replace(
                stop,
                need={
                    each: stop.got.get(each, 0) if each == shipment_id else units for each, units in stop.need.items()
                },
            )
            for stop in self.stops
        )
        kept = (replace(stop, need={each: units for each, units in stop.need.items() if units}) for stop in stops)
        return replace(self, stops=tuple(stop for stop in kept if stop.need))

    def at_bin(self, name: str) -> Walk:
        """The picker stands at a bin. Raises ``Conflict`` (wrong_bin) when there is nothing to pick there."""
        if not any(stop.bin == name and stop.remaining for stop in self.stops):
            following = self.next_stop()
            wanted = following.bin if following else None
            told = f"Nothing is to be picked from {name}; the next bin is {wanted}."
            refuse_scan("wrong_bin", told, self.expected(), {"bin": name, "expected_bin": wanted})
        return replace(self, at=name)

    def with_tote(self, shipment_id: str, tote: str) -> Walk:
        """A tote for a parcel. Raises ``Conflict`` when the slot has another, or the tote another slot."""
        known = self.totes.get(shipment_id)
        if known and known != tote:
            told = f"Slot {self.slot(shipment_id)} has tote {known}."
            refuse_scan("wrong_tote", told, [{"slot": self.slot(shipment_id), "tote": known}], {"tote": tote})
        other = next((each for each, used in self.totes.items() if used == tote and each != shipment_id), None)
        if other:
            told = f"Tote {tote} is in slot {self.slot(other)}."
            refuse_scan("tote_in_use", told, [{"slot": self.slot(other), "tote": tote}], {"tote": tote})
        return replace(self, totes={**self.totes, shipment_id: tote})

    def picked(
        self,
        sku: str,
        quantity: int,
        bin_name: str,
        tote: str,
        scanned: Mapping[str, Any],
        lot: LotRead = NO_LOT,
    ) -> tuple[Walk, Stop]:
        """The walk with units taken from a bin, and the stop after it. ``bin_name`` may be empty when one was scanned.

        Raises ``Conflict`` (wrong_item, wrong_bin, bin_needed, capture_needed, wrong_lot, too_many, tote_needed,
        wrong_tote).
        """
        stop = self._stop_for(sku, bin_name, scanned, lot)
        if self.method == "cluster":
            wanted = [self._owner_of(tote, stop, scanned)]
        else:
            wanted = [shipment_id for shipment_id in self.shipments if stop.owed(shipment_id)]
        room = sum(stop.owed(shipment_id) for shipment_id in wanted)
        if quantity > room:
            told = f"{room} more of {sku} are to be picked here; scanned were {quantity}."
            refuse_scan("too_many", told, self.expected(), scanned)
        got, left = dict(stop.got), quantity
        for shipment_id in wanted:
            if units := min(left, stop.owed(shipment_id)):
                got[shipment_id] = got.get(shipment_id, 0) + units
                left -= units
        after = replace(stop, got=got)
        return replace(self._with(stop, after), at=stop.bin), after

    def skipped(self, name: str) -> Walk:
        """The walk with a bin's stops last: come again later. Raises ``Conflict`` (wrong_bin)."""
        walk = self.at_bin(name)
        later = [stop for stop in walk.stops if stop.bin == name and stop.remaining]
        return replace(walk, stops=tuple([stop for stop in walk.stops if stop not in later] + later), at="")

    def moved(self, stop: Stop, quantity: int, name: str, lot: str = "") -> Walk:
        """The walk with units of a stop to be taken from another bin, or of another lot, instead, next."""
        need, elsewhere, left = dict(stop.need), Counter[str](), quantity
        for shipment_id in reversed(self.shipments):
            if units := min(left, stop.owed(shipment_id)):
                need[shipment_id] -= units
                elsewhere[shipment_id] += units
                left -= units
        kept = replace(stop, need={each: units for each, units in need.items() if units})
        stops = [each for each in self.stops if each != stop]
        where = self.stops.index(stop)
        known = next((each for each in stops if (each.bin, each.sku, each.lot) == (name, stop.sku, lot)), None)
        if known:
            elsewhere.update(known.need)
            stops[stops.index(known)] = replace(known, need=dict(elsewhere))
        else:
            stops.insert(where, Stop(name, stop.sku, dict(elsewhere), lot=lot))
        return replace(self, stops=tuple([*stops[:where], kept, *stops[where:]] if kept.need else stops), at="")

    def remembering(self, scan: WalkScan) -> Walk:
        """The walk that knows this scan when it comes again."""
        return replace(self, scans=(*self.scans, scan)[-REMEMBERED_SCANS:]) if scan.key else self

    # ---- looking ---------------------------------------------------------------------------------------------------

    def next_stop(self) -> Stop | None:
        """Where to go now."""
        return next((stop for stop in self.stops if stop.remaining), None)

    def expected(self) -> list[dict[str, Any]]:
        """The next stops that are not done."""
        waiting = [stop for stop in self.stops if stop.remaining]
        return [
            {
                "bin": stop.bin or None,
                "sku": stop.sku,
                "quantity": stop.quantity,
                "remaining": stop.remaining,
                **lot_view(stop.lot),
            }
            for stop in waiting[:_SHOWN]
        ]

    def _stop_for(self, sku: str, bin_name: str, scanned: Mapping[str, Any], lot: LotRead) -> Stop:
        here = bin_name or self.at
        stops = [stop for stop in self.stops if stop.sku == sku]
        if not stops:
            names = ", ".join(sorted({stop.sku for stop in self.stops if stop.remaining})) or "nothing more"
            refuse_scan("wrong_item", f"This walk needs {names}; scanned was {sku}.", self.expected(), scanned)
        waiting = [stop for stop in stops if stop.remaining]
        if not waiting:
            refuse_scan("too_many", f"All of {sku} has been picked.", self.expected(), scanned)
        at_hand = [stop for stop in waiting if stop.bin == here]
        if at_hand:
            return at_hand[require_lot(sku, [stop.lot for stop in at_hand], lot, self.expected(), scanned)]
        if here:
            places = ", ".join(stop.bin or "no bin" for stop in waiting)
            told = f"{sku} is to be picked from {places}, not from {here}."
            refuse_scan("wrong_bin", told, self.expected(), {**scanned, "bin": here, "expected_bin": waiting[0].bin})
        if waiting[0].bin:
            refuse_scan("bin_needed", "Scan the bin before what is taken from it.", self.expected(), scanned)
        return waiting[require_lot(sku, [stop.lot for stop in waiting], lot, self.expected(), scanned)]

    def _owner_of(self, tote: str, stop: Stop, scanned: Mapping[str, Any]) -> str:
        into = [
            {"slot": self.slot(each), "tote": self.totes.get(each), "quantity": stop.owed(each)}
            for each in self.shipments
            if stop.owed(each)
        ]
        if not tote:
            raise refusal("tote_needed", "Scan the tote that the item goes into.", expected=into, scanned=dict(scanned))
        owner = next((each for each, used in self.totes.items() if used == tote), None)
        if owner is None or not stop.owed(owner):
            names = ", ".join(str(each["tote"] or f"slot {each['slot']}") for each in into)
            refuse_scan("wrong_tote", f"{stop.sku} goes into {names}, not into {tote}.", into, scanned)
        return owner

    def _with(self, stop: Stop, after: Stop) -> Walk:
        return replace(self, stops=tuple(after if each is stop or each == stop else each for each in self.stops))


def parse_walk_id(walk_id: str) -> str:
    """The facility of a walk. Raises ``NotFound`` for anything that is no walk's id."""
    facility, _, rest = walk_id.partition(".")
    if not facility or not rest:
        raise errors.NotFound("There is no such walk.")
    return facility


def walk_key(walk_id: str) -> tuple[str, str]:
    """Where a walk is kept."""
    return f"WALK#{walk_id}", "WALK"


def floor_key(facility: str) -> str:
    """The partition of a facility's work: the counter of what is in process, and its waves."""
    return f"FLOOR#{facility}"


class DynamoWalks:
    """Walks in the orders table."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def find(self, walk_id: str) -> Walk | None:
        """One walk, if there is one."""
        item = self.table.get(*walk_key(walk_id))
        return walk_from_item(item) if item else None

    def get(self, walk_id: str) -> Walk:
        """One walk. Raises ``NotFound``."""
        walk = self.find(walk_id)
        if walk is None:
            raise errors.NotFound("There is no such walk.")
        return walk

    def of(self, walk_ids: Iterable[str]) -> dict[str, Walk]:
        """Several walks by id."""
        found = (walk_from_item(item) for item in self.table.batch_get([walk_key(each) for each in walk_ids]))
        return {walk.walk_id: walk for walk in found}

    def queued(self, facility: str, limit: int | None = None) -> Iterator[Walk]:
        """Walks that are open or have to end, the most urgent first, as they are now, a page at a time."""
        ids: list[tuple[str, str]] = []
        queue = {":queue": f"{facility}#walk"}
        for item in self.table.query_index("work", "work_queue = :queue", queue, limit=limit):
            ids.append((item["pk"], item["sk"]))
            if len(ids) == _SHOWN:
                yield from self._read(ids)
                ids = []
        yield from self._read(ids)

    def _read(self, keys: list[tuple[str, str]]) -> Iterator[Walk]:
        found = {item["pk"]: walk_from_item(item) for item in self.table.batch_get(keys)} if keys else {}
        return (found[pk] for pk, _ in keys if pk in found and found[pk].state in OPEN)

    def create(self, walk: Walk) -> Write:
        """The action that writes a new walk, or fails when there is one."""
        return self.table.put("walk", walk_to_item(walk))

    def put(self, seen: Walk, after: Walk) -> Write:
        """The action that writes a changed walk, or fails when somebody changed it since ``seen``."""
        item = walk_to_item(replace(after, version=seen.version + 1))
        return self.table.put("walk", item, "version = :seen", values={":seen": seen.version})

    def in_process(self, facility: str) -> int:
        """Units on walks that have not ended."""
        item = self.table.get(floor_key(facility), "FLOOR")
        return item["units"] if item else 0

    def more_in_process(self, facility: str, units: int, cap: int) -> Write:
        """The action that counts released units, or fails when that is more than may be in process at once. A floor
        with nothing in process takes any one walk."""
        return self.table.update(
            "floor",
            (floor_key(facility), "FLOOR"),
            "SET entity = :entity, units = if_not_exists(units, :zero) + :units",
            "attribute_not_exists(units) OR units = :zero OR units <= :room",
            values={":entity": "floor", ":zero": 0, ":units": units, ":room": cap - units},
        )

    def less_in_process(self, walk: Walk) -> Write:
        """The action that takes an ended walk's units off the count."""
        return self.table.update(
            "floor",
            (floor_key(walk.facility), "FLOOR"),
            "SET units = units - :units",
            "units >= :units",
            values={":units": walk.released},
        )

    def change(self, walk_id: str, decide: Callable[[Walk], tuple[Walk, list[Write]] | None]) -> Walk:
        """Read, decide, write under the version that was read, and again when somebody came between.

        ``decide`` returns None when there is nothing to do. Raises ``NotFound`` and ``Contention``.
        """
        for attempt in range(_ATTEMPTS):
            seen = self.get(walk_id)
            decision = decide(seen)
            if decision is None:
                return seen
            after, more = decision
            try:
                self.table.transact([self.put(seen, after), *more])
            except ConditionsFailed:
                self.table.back_off(attempt)
                continue
            return replace(after, version=seen.version + 1)
        raise Contention(f"walk {walk_id}")


def walk_to_item(walk: Walk) -> Item:
    """The walk's item; it stands in the queue of work until it has ended."""
    pk, sk = walk_key(walk.walk_id)
    number = {shipment_id: index for index, shipment_id in enumerate(walk.shipments)}
    item: Item = {
        "pk": pk,
        "sk": sk,
        "entity": "walk",
        "walk_id": walk.walk_id,
        "facility": walk.facility,
        "method": walk.method,
        "state": walk.state,
        "shipments": list(walk.shipments),
        # Parcels by their number: a cart of thirty would name each of them at every stop.
        "stops": [
            {
                "bin": stop.bin,
                "sku": stop.sku,
                "need": {str(number[each]): units for each, units in stop.need.items()},
                "got": {str(number[each]): units for each, units in stop.got.items()},
                **({"lot": stop.lot} if stop.lot else {}),
            }
            for stop in walk.stops
        ],
        "released": walk.released,
        "rank": walk.rank,
        "released_at": walk.released_at,
        "lease_minutes": walk.lease_minutes,
        "version": walk.version,
    }
    optional = {
        "wave": walk.wave,
        "zone": walk.zone,
        "length_cm": walk.length_cm,
        "picker": walk.picker,
        "lease_until": walk.lease_until,
        "at": walk.at,
        "totes": dict(walk.totes),
        "put_back": dict(walk.put_back),
        "scans": [{"key": scan.key, "digest": scan.digest, "answer": dict(scan.answer)} for scan in walk.scans],
    }
    item.update({name: value for name, value in optional.items() if value})
    if walk.state in OPEN:
        item["work_queue"] = f"{walk.facility}#walk"
        item["work_rank"] = f"{walk.rank}#{walk.walk_id}"
    return item


def walk_from_item(item: Mapping[str, Any]) -> Walk:
    """The inverse of ``walk_to_item``."""
    shipments = tuple(item["shipments"])

    def by_parcel(units: Mapping[str, int]) -> dict[str, int]:
        return {shipments[int(index)]: count for index, count in units.items()}

    return Walk(
        walk_id=item["walk_id"],
        facility=item["facility"],
        method=item["method"],
        shipments=shipments,
        stops=tuple(
            Stop(stop["bin"], stop["sku"], by_parcel(stop["need"]), by_parcel(stop["got"]), stop.get("lot", ""))
            for stop in item["stops"]
        ),
        released=item["released"],
        rank=item["rank"],
        released_at=item["released_at"],
        wave=item.get("wave", ""),
        zone=item.get("zone", ""),
        length_cm=item.get("length_cm", 0),
        state=item["state"],
        picker=item.get("picker", ""),
        lease_until=item.get("lease_until", ""),
        lease_minutes=item["lease_minutes"],
        at=item.get("at", ""),
        totes=item.get("totes", {}),
        put_back=item.get("put_back", {}),
        scans=tuple(WalkScan(**scan) for scan in item.get("scans", ())),
        version=item["version"],
    )
