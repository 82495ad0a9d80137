"""Walking: what a picker's device asks for and tells on a walk.

A walk belongs to one picker at a time, under a lease that every scan renews; when a battery dies the lease runs out and
the next who asks goes on where it stopped. A refused scan changes nothing and says what was expected; one sent again
under its key has one effect and one answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from oms.fulfillment.floor import Floor, WalkPart, task_id
from oms.fulfillment.lots import NO_LOT, LotRead, lot_view, refuse_expired
from oms.fulfillment.putbacks import put_back_of_walk
from oms.fulfillment.refusing import refusal, refuse_scan
from oms.fulfillment.shipments import Shipment, ShipmentStatus, shipment_from_item, shipment_key
from oms.fulfillment.walks import DynamoWalks, Stop, Walk, WalkScan
from oms.inventory import movements
from oms.inventory.barcodes import read_barcode
from oms.inventory.counting import asked_by_short
from oms.inventory.model import Movement, Product, Shelf, lot_key, lot_of
from oms.runtime import errors, telemetry
from oms.runtime.dynamo import ConditionsFailed, Write

_ATTEMPTS = 8
_CANDIDATES = 200


@dataclass(frozen=True, slots=True)
class WalkInput:
    """What the scanner read: a bin, an item, a tote, or several of them at once."""

    bin: str = ""
    sku: str = ""
    barcode: str = ""
    quantity: int = 1
    tote: str = ""
    slot: int = 0
    lot: str = ""
    expires: str = ""

    def digest(self) -> str:
        """What must be equal for two scans with one key to be the same scan."""
        told = (self.bin, self.sku, self.barcode, str(self.quantity), self.tote, str(self.slot), self.lot, self.expires)
        return hashlib.sha256("\x1f".join(told).encode()).hexdigest()[:16]

    def told(self) -> dict[str, Any]:
        """As a refusal repeats it."""
        names = ("bin", "sku", "barcode", "tote", "slot", "lot", "expires")
        read = {name: getattr(self, name) for name in names}
        named = {name: value for name, value in read.items() if value}
        return {**named, "quantity": self.quantity} if self.sku or self.barcode else named


@dataclass(frozen=True, slots=True)
class Walking:
    """The use cases of a picker's device on a walk."""

    floor: Floor

    @property
    def walks(self) -> DynamoWalks:
        return DynamoWalks(self.floor.orders.table)

    # ---- whose walk --------------------------------------------------------------------------------------------------

    def next(self, facility: str, picker: str) -> dict[str, Any]:
        """The walk that this picker has, or else the most urgent one that nobody has, from now on theirs; ``walk`` is
        null when there is none."""
        for attempt in range(_ATTEMPTS):
            now = self.floor.clock()
            free: Walk | None = None
            mine: Walk | None = None
            for walk in self.walks.queued(facility, _CANDIDATES):
                if walk.state == "open" and not walk.held_by(now):
                    free = free or walk
                elif walk.state == "open" and walk.picker == picker:
                    mine = walk
                    break
            found = mine or free
            if found is None:
                return {"facility": facility, "walk": None}
            try:
                taken = self._current(found).leased(picker, now)
                self.walks.table.transact([self.walks.put(found, taken)])
            except ConditionsFailed:
                self.walks.table.back_off(attempt)
                continue
            telemetry.logger.info("walk_taken", walk_id=found.walk_id, resumed=mine is not None)
            return {"facility": facility, "walk": self._view(replace(taken, version=found.version + 1))}
        raise refusal("busy_floor", "Others took every walk that was tried: ask again.")

    def show(self, walk_id: str) -> dict[str, Any]:
        """The pick list: stops in walking order with what each parcel gets. Raises ``NotFound``."""
        return self._view(self._current(self.walks.get(walk_id)))

    def start(self, walk_id: str, picker: str) -> dict[str, Any]:
        """Take this very walk, or show it again to whoever has it. Raises ``Conflict`` (walk_not_yours, walk_ended)."""
        return self._view(self._on(walk_id, picker, lambda walk: walk, may_take=True))

    def hand_over(self, walk_id: str, picker: str) -> dict[str, Any]:
        """Give the walk up as it is, for whoever asks next; what was picked stays picked."""
        return self._view(self._on(walk_id, picker, lambda walk: walk.given_up(), renew=False))

    # ---- scanning ----------------------------------------------------------------------------------------------------

    def scan(self, walk_id: str, read: WalkInput, picker: str, key: str = "") -> dict[str, Any]:
        """Take one scan in. Raises ``NotFound``, ``IdempotencyKeyReused``, and ``Conflict`` with ``code``, ``expected``
        and ``scanned``."""
        told = read_barcode(read.barcode)
        read = replace(read, lot=read.lot or told.lot, expires=read.expires or told.expires)
        sku = read.sku or (self.floor.inventory.sku_of_barcode(told.code) or "" if told.code else "")
        marker = hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""
        answer: Mapping[str, Any] = {}

        def take_in(walk: Walk) -> Walk | None:
            nonlocal answer
            known = next((scan for scan in walk.scans if scan.key == marker), None) if marker else None
            if known:
                if known.digest != read.digest():
                    raise errors.IdempotencyKeyReused("This key was used for another scan.")
                answer = known.answer
                return None
            after, answer = self._scanned(walk, read, sku)
            return after.remembering(WalkScan(marker, read.digest(), answer))

        self._on(walk_id, picker, take_in)
        return dict(answer)

    def skip(self, walk_id: str, name: str, picker: str) -> dict[str, Any]:
        """Leave a bin for the end of the walk. Raises ``Conflict`` (wrong_bin)."""
        return self._view(self._on(walk_id, picker, lambda walk: walk.skipped(name)))

    def _scanned(self, walk: Walk, read: WalkInput, sku: str) -> tuple[Walk, dict[str, Any]]:
        if read.barcode and not sku:
            refuse_scan("unknown_barcode", f"No product has the barcode {read.barcode}.", walk.expected(), read.told())
        if read.slot:
            walk = self._bound(walk, read)
        stop: Stop | None = None
        if sku:
            lot = LotRead(read.lot, read.expires)
            walk, stop = walk.picked(sku, read.quantity, read.bin, read.tote, {**read.told(), "sku": sku}, lot)
            known = stop.lot or lot_key(read.lot, read.expires)
            refuse_expired(known, self.floor.clock(), walk.expected(), read.told())
        elif read.bin:
            walk = walk.at_bin(read.bin)
        following = walk.next_stop()
        return walk, {
            "walk_id": walk.walk_id,
            "at": walk.at or None,
            "sku": sku or None,
            "picked": stop.picked if stop else None,
            "remaining": stop.remaining if stop else None,
            "walk_remaining": walk.remaining,
            "next": {"bin": following.bin or None, "sku": following.sku, **lot_view(following.lot)}
            if following
            else None,
        }

    def _bound(self, walk: Walk, read: WalkInput) -> Walk:
        """The walk with a tote in a slot."""
        if not 1 <= read.slot <= len(walk.shipments) or walk.method != "cluster":
            slots = [{"slot": walk.slot(each), "tote": walk.totes.get(each)} for each in walk.shipments]
            refuse_scan("no_such_slot", f"This walk has no slot {read.slot}.", slots, read.told())
        return walk.with_tote(walk.shipments[read.slot - 1], read.tote)

    # ---- short and complete ------------------------------------------------------------------------------------------

    def short(
        self, walk_id: str, name: str, sku: str, quantity: int, reason: str, picker: str, lot: LotRead = NO_LOT
    ) -> dict[str, Any]:
        """Say that units, perhaps of a certain lot, are not in their bin.

        Another bin of the house, or another lot, takes their place on the walk if it has so many; the missing ones
        leave the books then. Otherwise the parcels that are least urgent go short and drop out, with what they have
        got: see ``Floor.short``. Raises ``NotFound``, and ``Conflict`` (too_many) when that much is not to be picked
        there.
        """
        walk = self._on(walk_id, picker, lambda walk: walk)
        stop = _stop_of(walk, name, sku, lot)
        if stop is None or quantity > stop.remaining:
            left = stop.remaining if stop else 0
            raise refusal(
                "too_many",
                f"{left} units of {sku} are still to be picked from {name}, so {quantity} cannot be short.",
                expected=walk.expected(),
                scanned={"bin": name, "sku": sku, "quantity": quantity},
            )
        other = self._elsewhere(walk, stop, quantity)
        if other and self._adjusted(walk, stop, quantity, reason, picker):
            after = self._on(walk_id, picker, lambda seen: _moved(seen, stop, quantity, other))
            return {**self._view(after), "short": []}
        short: list[str] = []
        left, cause = quantity, f"walk:{_stands(walk, stop, quantity)}"
        for shipment_id in reversed(walk.shipments):
            units = min(left, stop.owed(shipment_id))
            if units:
                # What it has got is its own before it stops; whoever dies in between leaves a pick like any other.
                self.floor.bring(shipment_id, part_of(walk, shipment_id), picker)
                task = task_id(shipment_id, "pick")
                self.floor.short(
                    task,
                    sku,
                    units,
                    reason,
                    picker,
                    bin=name,
                    lot=LotRead(*lot_of(stop.lot)),
                    on_walks=True,
                    cause=cause,
                )
                short.append(shipment_id)
                left -= units
        after = self._on(walk_id, picker, lambda walk: walk)
        telemetry.logger.warning("walk_short", walk_id=walk_id, sku=sku, quantity=quantity, parcels=len(short))
        return {**self._view(after), "short": short}

    def _elsewhere(self, walk: Walk, stop: Stop, quantity: int) -> Shelf | None:
        """Another bin or lot of the house that has so many units and may be picked; none when there is none."""
        place = self.floor.inventory.location(stop.sku, walk.facility)
        product = self.floor.inventory.product(stop.sku) if place.lots else None
        shelves = place.fefo(product.keeps_until(self.floor.clock()) if product else "")
        here = (stop.bin, stop.lot)
        return next((shelf for shelf, units in shelves.items() if shelf != here and units >= quantity), None)

    def _adjusted(self, walk: Walk, stop: Stop, quantity: int, reason: str, actor: str) -> bool:
        """Take units off the books that are not in their bin; False when all that are left have been promised. The
        stop as it stands names the adjustment, so a repeat makes no second one."""
        stands = _stands(walk, stop, quantity)
        movement = Movement(
            kind="adjust",
            sku=stop.sku,
            quantity=-quantity,
            facility=walk.facility,
            bin=stop.bin,
            reason=reason,
            actor=actor,
            key=f"short-{stands}",
            at=self.floor.clock(),
            cause=f"walk:{walk.walk_id}",
            lots={stop.lot: quantity} if stop.lot else {},
        )
        try:
            inventory, now = self.floor.inventory, movement.at
            count = asked_by_short(inventory, walk.facility, stop.bin, stop.sku, f"walk:{stands}", actor, now)
            movements.move(inventory, movement, count)
        except errors.Conflict:
            return False
        telemetry.count("ShortPicks")
        return True

    def complete(self, walk_id: str, picker: str) -> dict[str, Any]:
        """End a walk whose units have all been picked: each parcel gets its own, by its own write, and the floor is
        relieved by the last. Again, or by somebody else after a crash, it goes on where it stopped.

        Raises ``NotFound``, and ``Conflict`` (walk_incomplete) naming what is missing.
        """

        def ending(walk: Walk) -> Walk:
            if walk.remaining:
                raise refusal(
                    "walk_incomplete", f"{walk.remaining} units are to be picked yet.", expected=walk.expected()
                )
            return replace(walk, state="ending")

        walk = self.walks.get(walk_id)
        if walk.state == "open":
            walk = self._on(walk_id, picker, ending)
        elif walk.state not in ("ending", "picked"):
            self._require_open(walk)
        return self._view(self.finish(walk, picker))

    def finish(self, walk: Walk, actor: str) -> Walk:
        """Bring an ending walk's units to its parcels and end it; again is harmless."""
        if walk.state != "ending":
            return walk
        for shipment_id in walk.shipments:
            self.floor.bring(shipment_id, part_of(walk, shipment_id), actor)

        def ended(seen: Walk) -> tuple[Walk, list[Write]] | None:
            if seen.state != "ending":
                return None
            for shipment_id, parcel in self._parcels(seen).items():
                # What was brought before the parcel was cancelled is put back on its order's account.
                if parcel.status is ShipmentStatus.CANCELLED and seen.walk_id not in parcel.walked:
                    seen = seen.at_most(shipment_id, {})
            back = put_back_of_walk(self.walks.table, seen.walk_id, seen.facility, seen.put_back, self.floor.clock())
            return replace(seen, state="picked", lease_until=""), [self.walks.less_in_process(seen), *back]

        done = self.walks.change(walk.walk_id, ended)
        telemetry.count("WalksPicked")
        telemetry.logger.info("walk_picked", walk_id=walk.walk_id, method=walk.method, parcels=len(walk.shipments))
        return done

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _on(
        self,
        walk_id: str,
        picker: str,
        change: Callable[[Walk], Walk | None],
        *,
        may_take: bool = False,
        renew: bool = True,
    ) -> Walk:
        """Change a walk that this picker has, as its parcels are now, and renew the lease. A lease that has run out is
        renewed as long as nobody else took the walk."""

        def decide(walk: Walk) -> tuple[Walk, list[Write]] | None:
            now = self.floor.clock()
            self._require_open(walk)
            holder = walk.held_by(now)
            if (holder and holder != picker) or (walk.picker != picker and not may_take):
                raise refusal(
                    "walk_not_yours",
                    "Another picker has this walk." if holder else "Ask for this walk before working on it.",
                    picker=holder or None,
                )
            after = change(self._current(walk))
            if after is None:
                return None
            return (after.leased(picker, now) if renew else after), []

        return self.walks.change(walk_id, decide)

    def _current(self, walk: Walk) -> Walk:
        """The walk with what its parcels still want of it: none for those that are cancelled, short or taken back, and
        less for those of which units were cancelled."""
        on_it = {shipment_id for stop in walk.stops for shipment_id in stop.need}
        for shipment_id, parcel in self._parcels(walk).items():
            if shipment_id not in on_it:
                continue
            if walk.walk_id in parcel.walks:
                wanted = {sku: units - parcel.picked.get(sku, 0) for sku, units in parcel.required.items()}
                walk = walk.at_most(shipment_id, wanted)
            elif walk.walk_id in parcel.walked:
                walk = walk.done_with(shipment_id)
            else:
                walk = walk.at_most(shipment_id, {})
        return walk

    def _parcels(self, walk: Walk) -> dict[str, Shipment]:
        items = self.floor.orders.table.batch_get([shipment_key(each) for each in walk.shipments])
        return {shipment.shipment_id: shipment for shipment in map(shipment_from_item, items)}

    def _require_open(self, walk: Walk) -> None:
        if walk.state != "open":
            raise refusal("walk_ended", f"This walk is {walk.state}.", state=walk.state)

    def _view(self, walk: Walk) -> dict[str, Any]:
        skus = sorted({stop.sku for stop in walk.stops})
        codes = {shipment_id: parcel.codes for shipment_id, parcel in self._parcels(walk).items()}
        return walk_view(walk, self.floor.inventory.products(skus), codes)


def _stands(walk: Walk, stop: Stop, quantity: int) -> str:
    """Names a short by the stop as it stood, so that a repeat is the same one."""
    told = f"{walk.walk_id}|{stop.bin}|{stop.sku}|{stop.lot}|{stop.quantity}|{stop.picked}|{quantity}"
    return hashlib.sha256(told.encode()).hexdigest()[:24]


def part_of(walk: Walk, shipment_id: str) -> WalkPart:
    """What a walk has got for one parcel."""
    return WalkPart(walk.walk_id, walk.taken_for(shipment_id), walk.totes.get(shipment_id, ""))


def _stop_of(walk: Walk, name: str, sku: str, lot: LotRead) -> Stop | None:
    """The stop at a bin that something is said of: of the lot that was named, else one that is not done."""
    found = [each for each in walk.stops if each.bin == name and each.sku == sku and lot.may_be(each.lot)]
    return next((each for each in found if each.remaining), found[0] if found else None)


def _moved(walk: Walk, short: Stop, quantity: int, other: Shelf) -> Walk:
    which = (short.bin, short.sku, short.lot)
    stop = next((each for each in walk.stops if (each.bin, each.sku, each.lot) == which), None)
    return walk.moved(stop, min(quantity, stop.remaining), *other) if stop else walk


def walk_view(walk: Walk, products: Mapping[str, Product], codes: Mapping[str, str]) -> dict[str, Any]:
    """A walk as the device shows it, and as the pick list prints it; ``codes`` are the priority codes by parcel."""
    return {
        "walk_id": walk.walk_id,
        "wave_id": walk.wave or None,
        "facility": walk.facility,
        "method": walk.method,
        "zone": walk.zone or None,
        "state": walk.state,
        "picker": walk.picker or None,
        "lease_until": walk.lease_until or None,
        "at": walk.at or None,
        "length_cm": walk.length_cm,
        "units": sum(stop.quantity for stop in walk.stops),
        "picked": sum(stop.picked for stop in walk.stops),
        "shipments": [
            {
                "shipment_id": each,
                "slot": walk.slot(each),
                "tote": walk.totes.get(each),
                "codes": codes.get(each, ""),
            }
            for each in walk.shipments
        ],
        "stops": [
            {
                "bin": stop.bin or None,
                "sku": stop.sku,
                "title": products[stop.sku].title if stop.sku in products else None,
                "barcodes": list(products[stop.sku].barcodes) if stop.sku in products else [],
                "quantity": stop.quantity,
                "picked": stop.picked,
                "remaining": stop.remaining,
                **lot_view(stop.lot),
                "into": [
                    {
                        "slot": walk.slot(each),
                        "tote": walk.totes.get(each),
                        "quantity": units,
                        "picked": stop.got.get(each, 0),
                    }
                    for each, units in stop.need.items()
                ],
            }
            for stop in walk.stops
        ],
        "put_back": dict(walk.put_back),
    }
