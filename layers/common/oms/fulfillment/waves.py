"""Waves: work released to a floor together, by a person or by the schedule, within what may be in process at once.

A wave is written with its plan before anything of it is released, and each release is one transaction: the walks, the
parcels that name them, and the count of what is in process. Whoever dies in between is followed by the same request
or the next run; two that plan at once release each parcel once, since a parcel's version decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from oms.fulfillment.facilities import facilities
from oms.fulfillment.floor import Floor
from oms.fulfillment.floorplan import FloorPlan, floor_plan
from oms.fulfillment.planning import Arrangement, Place, Release, Waiting, arrange
from oms.fulfillment.refusing import refusal
from oms.fulfillment.shipments import DynamoShipments, Shipment, shipment_from_item, work_rank
from oms.fulfillment.walking import Walking
from oms.fulfillment.walks import DynamoWalks, Stop, Walk, floor_key
from oms.inventory.model import DOCK, Shelf
from oms.inventory.store import DynamoInventory
from oms.orders.model import Payment
from oms.orders.store import DynamoOrders
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Item, Write
from oms.runtime.paging import Page

QUEUE_WINDOW = 500
"""So many waiting parcels, the most urgent ones, are planned at once: a wave's plan has to fit one item."""
_LEFT_BEHIND = timedelta(minutes=2)
"""After so long, whoever was releasing a wave has died."""
_RECENT = 10
_KEPT = timedelta(days=90)
PAGE = 25


@dataclass(frozen=True, slots=True)
class WaveRequest:
    """What somebody asks for: every waiting parcel, or those due by a cut-off, at most so many."""

    facility: str
    key: str
    actor: str
    cut_off: str = ""
    limit: int = QUEUE_WINDOW

    def digest(self) -> str:
        """What must be equal for two requests with one key to be the same."""
        return hashlib.sha256("\x1f".join((self.facility, self.cut_off, str(self.limit))).encode()).hexdigest()[:16]

    @property
    def wave_id(self) -> str:
        """Derived from the cause, so that a repeat meets its own wave."""
        return f"{self.facility}.{hashlib.sha256(f'{self.facility}|{self.key}'.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class PlanWork:
    """Planning, releasing and taking back the work of a floor."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    @property
    def walks(self) -> DynamoWalks:
        return DynamoWalks(self.orders.table)

    @property
    def shipments(self) -> DynamoShipments:
        return DynamoShipments(self.orders.table)

    # ---- planning --------------------------------------------------------------------------------------------------

    def preview(self, request: WaveRequest) -> dict[str, Any]:
        """What a wave would be, without releasing anything."""
        plan = floor_plan(self.inventory, request.facility)
        arrangement = self._arranged(request, plan)
        return {
            "facility": request.facility,
            "walks": [_plan_view(release) for release in arrangement.releases],
            "not_yet": list(arrangement.not_yet),
            "units": sum(release.units for release in arrangement.releases),
            "length_cm": arrangement.length_cm,
            "in_process": self.walks.in_process(request.facility),
            "work_in_process": plan.rules.work_in_process,
        }

    def release(self, request: WaveRequest) -> dict[str, Any]:
        """Plan and release a wave; the same key finds the wave it made and finishes what was not released yet.

        Raises ``IdempotencyKeyReused``, and ``NotFound`` for a facility that nobody entered.
        """
        if not facilities(self.inventory, [request.facility]):
            raise errors.NotFound("There is no such facility.")
        plan = floor_plan(self.inventory, request.facility)
        wave = self._find(request.wave_id) or self._begun(request, self._arranged(request, plan))
        if wave["digest"] != request.digest():
            raise errors.IdempotencyKeyReused("This key was used for another wave.")
        if wave["state"] == "releasing":
            wave = self._release(wave, plan)
        return self._view(wave)

    def run(self, facility: str) -> dict[str, int]:
        """One run of the schedule: finish what somebody left half done, then release what is due. Returns counts."""
        plan = floor_plan(self.inventory, facility)
        now = self.clock()
        ended = sum(self._settle(walk) for walk in list(self.walks.queued(facility)) if walk.state != "open")
        for wave in self._recent(facility, "", _RECENT):
            if wave["state"] == "releasing" and wave["created_at"] < to_text(now - _LEFT_BEHIND):
                self._release(wave, plan)
        room = plan.rules.work_in_process - (in_process := self.walks.in_process(facility))
        if room <= 0:
            return {"released": 0, "ended": ended}
        request = WaveRequest(facility, f"schedule {to_text(now)[:16]}", "system")
        arrangement = _fitting(self._arranged(request, plan), room, empty=not in_process)
        if not arrangement.releases:
            return {"released": 0, "ended": ended}
        released = self._release(self._begun(request, arrangement), plan)
        return {"released": len(released["walks"]), "ended": ended}

    def _begun(self, request: WaveRequest, arrangement: Arrangement) -> Item:
        """The wave written with its plan, or the one that was there before."""
        wave, table = self._planned(request, arrangement), self.orders.table
        try:
            table.transact([table.put("wave", wave)])
        except ConditionsFailed:
            return self._find(request.wave_id) or wave
        return wave

    def _arranged(self, request: WaveRequest, plan: FloorPlan) -> Arrangement:
        waiting = [each for each in self._queue(request) if not request.cut_off or "" < each.due <= request.cut_off]
        return arrange(waiting[: request.limit], plan, self.clock(), all_waves=bool(request.cut_off))

    def _queue(self, request: WaveRequest) -> list[Waiting]:
        """The parcels that nobody picks yet, with where their units are."""
        queue = {":queue": f"{request.facility}#pick"}
        found = self.orders.table.query_index("work", "work_queue = :queue", queue, limit=QUEUE_WINDOW)
        items = self.orders.table.batch_get([(item["pk"], item["sk"]) for item in found])
        shipments = [shipment for item in items if _free(shipment := shipment_from_item(item))]
        skus = sorted({sku for shipment in shipments for sku in shipment.required})
        places = self.inventory.locations_at(request.facility, skus)
        tracked = [sku for sku, place in places.items() if place.lots]
        products, now = self.inventory.products(tracked), self.clock()
        left = {
            sku: place.fefo(products[sku].keeps_until(now) if sku in products else "") for sku, place in places.items()
        }
        ids = list(dict.fromkeys(shipment.order_id for shipment in shipments))
        orders = {order.order_id: order for order in self.orders.read_all(ids)}
        return [
            replace(waiting_of(shipment, left), due=due_of(shipment, orders[shipment.order_id].payment))
            for shipment in sorted(shipments, key=work_rank)
        ]

    # ---- releasing -------------------------------------------------------------------------------------------------

    def _planned(self, request: WaveRequest, arrangement: Arrangement) -> Item:
        now = to_text(self.clock())
        return {
            "pk": floor_key(request.facility),
            "sk": _wave_sk(request.wave_id),
            "entity": "wave",
            "wave_id": request.wave_id,
            "facility": request.facility,
            "digest": request.digest(),
            "state": "releasing",
            "cut_off": request.cut_off,
            "actor": request.actor,
            "created_at": now,
            "releases": [_release_to_item(release) for release in arrangement.releases],
            "walks": [],
            "work_queue": f"{request.facility}#wave",
            "work_rank": f"{now}#{request.wave_id}",
            "ttl": int((self.clock() + _KEPT).timestamp()),
            "version": 1,
        }

    def _release(self, wave: Item, plan: FloorPlan) -> Item:
        """Release what the wave's plan names, as far as the floor takes it, and write down which walks there are."""
        released: list[str] = []
        full = False
        for number, told in enumerate(wave["releases"]):
            walks = list(_drafts(wave, number, told, plan.rules.lease_minutes, self.clock()))
            if self.walks.find(walks[0].walk_id):
                released += [walk.walk_id for walk in walks]
            elif not full:
                outcome = self._release_one(walks, plan)
                full = outcome == "full"
                if outcome == "released":
                    released += [walk.walk_id for walk in walks]
        after: Item = {
            **{name: value for name, value in wave.items() if name != "releases"},
            "state": "released",
            "walks": released,
            "left_out": len(wave["releases"]) - len({walk_id.rsplit("-", 1)[0] for walk_id in released}),
            "version": wave["version"] + 1,
        }
        table = self.orders.table
        try:
            table.transact([table.put("wave", after, "version = :seen", values={":seen": wave["version"]})])
        except ConditionsFailed:
            return self._find(wave["wave_id"]) or after
        telemetry.count("WalksReleased", len(released))
        telemetry.logger.info("wave_released", wave_id=wave["wave_id"], walks=len(released), full=full)
        return after

    def _release_one(self, walks: Sequence[Walk], plan: FloorPlan) -> str:
        """One transaction: ``released``, ``full`` when the floor takes no more, or ``taken`` when a parcel is no longer
        free."""
        names = {walk.walk_id: set().union(*(stop.need for stop in walk.stops)) for walk in walks}
        writes: list[Write] = []
        for shipment_id in walks[0].shipments:
            shipment = self.shipments.get(shipment_id)
            if not _free(shipment):
                return "taken"
            theirs = tuple(walk_id for walk_id, ids in names.items() if shipment_id in ids)
            writes.append(self.shipments.put(shipment, replace(shipment, walks=theirs)))
        writes += [self.walks.create(walk) for walk in walks]
        units = sum(walk.released for walk in walks)
        writes.append(self.walks.more_in_process(walks[0].facility, units, plan.rules.work_in_process))
        try:
            self.orders.table.transact(writes)
        except ConditionsFailed as failed:
            return "full" if failed.of("floor") else "taken"
        return "released"

    # ---- looking and taking back -----------------------------------------------------------------------------------

    def show(self, wave_id: str) -> dict[str, Any]:
        """A wave with its walks. Raises ``NotFound``."""
        wave = self._find(wave_id)
        if wave is None:
            raise errors.NotFound("There is no such wave.")
        return self._view(wave)

    def waves(self, facility: str, cursor: str | None) -> dict[str, Any]:
        """A page of a facility's waves, the newest first. Raises ``InvalidRequest``."""
        page = Page.of(cursor or "", PAGE)
        found = self._recent(facility, page.after, page.size + 1)
        shown, more = page.cut([(item["work_rank"], _wave_view(item)) for item in found])
        return {"facility": facility, "waves": shown, "next_cursor": more}

    def _recent(self, facility: str, before: str, limit: int) -> list[Item]:
        table = self.orders.table
        # A tilde stands behind every time.
        values = {":queue": f"{facility}#wave", ":before": before or "~"}
        condition = "work_queue = :queue AND work_rank < :before"
        keys = [
            (item["pk"], item["sk"])
            for item in table.query_index("work", condition, values, limit=limit, newest_first=True)
        ]
        return sorted(table.batch_get(keys), key=lambda item: str(item["work_rank"]), reverse=True)

    def cancel(self, wave_id: str) -> dict[str, Any]:
        """Take back every walk of a wave that nobody has begun; their parcels wait again. Raises ``NotFound``, and
        ``Conflict`` when all of it is being picked or done."""
        wave = self._find(wave_id)
        if wave is None:
            raise errors.NotFound("There is no such wave.")
        taken = [walk_id for walk_id in wave["walks"] if self._take_back(walk_id)]
        if not taken and not any(walk.state == "cancelled" for walk in self.walks.of(wave["walks"]).values()):
            raise refusal("wave_begun", "Every walk of this wave has been begun or done.")
        return self._view(wave)

    def _take_back(self, walk_id: str) -> bool:
        now = self.clock()

        def stop(walk: Walk) -> tuple[Walk, list[Write]] | None:
            begun = walk.held_by(now) or any(each.got for each in walk.stops)
            if walk.state != "open" or begun:
                return None
            return replace(walk, state="cancelling", picker="", lease_until=""), []

        walk = self.walks.change(walk_id, stop)
        return walk.state == "cancelling" and self._finish(walk)

    def _settle(self, walk: Walk) -> bool:
        """End a walk that whoever was ending it has left."""
        if walk.state == "cancelling":
            return self._finish(walk)
        floor = Floor(self.orders, self.inventory, self.clock)
        return Walking(floor).finish(walk, walk.picker).state == "picked"

    def _finish(self, walk: Walk) -> bool:
        """Set a cancelled walk's parcels free and take it off the count; again is harmless."""

        def free(shipment: Shipment) -> Shipment | None:
            if walk.walk_id not in shipment.walks:
                return None
            return replace(shipment, walks=tuple(each for each in shipment.walks if each != walk.walk_id))

        for shipment_id in walk.shipments:
            self.shipments.change(shipment_id, free)

        def ended(seen: Walk) -> tuple[Walk, list[Write]] | None:
            if seen.state != "cancelling":
                return None
            return replace(seen, state="cancelled"), [self.walks.less_in_process(seen)]

        return self.walks.change(walk.walk_id, ended).state == "cancelled"

    def _find(self, wave_id: str) -> Item | None:
        facility, _, rest = wave_id.partition(".")
        return self.orders.table.get(floor_key(facility), _wave_sk(wave_id)) if facility and rest else None

    def _view(self, wave: Mapping[str, Any]) -> dict[str, Any]:
        walks = self.walks.of(wave["walks"])
        ordered = [walks[walk_id] for walk_id in wave["walks"] if walk_id in walks]
        return {
            **_wave_view(wave),
            "walks": [
                {
                    "walk_id": walk.walk_id,
                    "method": walk.method,
                    "zone": walk.zone or None,
                    "state": walk.state,
                    "picker": walk.picker or None,
                    "shipments": list(walk.shipments),
                    "units": walk.released,
                    "remaining": walk.remaining if walk.state == "open" else 0,
                    "length_cm": walk.length_cm,
                }
                for walk in ordered
            ],
        }


def waiting_of(shipment: Shipment, left: Mapping[str, dict[Shelf, int]]) -> Waiting:
    """A parcel for the planner: what it still needs, from the bins and lots as those before it ``left`` them. Units
    that no bin has are looked for where the SKU was last, and a SKU that nobody put away is picked by eye."""
    needed = {sku: units - shipment.picked.get(sku, 0) for sku, units in shipment.required.items()}
    places: dict[Place, int] = {}
    for sku, units in needed.items():
        shelves = left.get(sku, {})
        for shelf in list(shelves):
            taken = min(units, shelves[shelf])
            if taken > 0:
                place = Place(_bin(shelf[0]), sku, shelf[1])
                places[place] = places.get(place, 0) + taken
                shelves[shelf] -= taken
                units -= taken
        if units > 0:
            last = next(reversed(shelves), (DOCK, ""))
            place = Place(_bin(last[0]), sku, last[1])
            places[place] = places.get(place, 0) + units
    return Waiting(shipment.shipment_id, places, work_rank(shipment), shipment.codes)


def due_of(shipment: Shipment, payment: Payment) -> str:
    """Until when a parcel has to leave: the collection that it has to catch, unless the customer's bank lets go of the
    money before. Then it is the first collection that it can catch, or that very moment if even this comes too late."""
    lapses = payment.authorized_until if payment.authorized else ""
    if not lapses or "" < shipment.ship_by <= lapses:
        return shipment.ship_by
    return shipment.carrier_cutoff if "" < shipment.carrier_cutoff <= lapses else lapses


def _bin(name: str) -> str:
    return "" if name == DOCK else name


def _fitting(arrangement: Arrangement, room: int, *, empty: bool) -> Arrangement:
    """The most urgent releases that the floor takes; an empty one takes any first."""
    kept: list[Release] = []
    for release in arrangement.releases:
        if release.units > room and (kept or not empty):
            break
        kept.append(release)
        room -= release.units
    return Arrangement(tuple(kept), arrangement.not_yet)


def _free(shipment: Shipment) -> bool:
    """Whether it waits to be picked and nobody has begun; one with everything picked only has to be completed."""
    task = shipment.task
    return bool(
        task
        and task.kind == "pick"
        and task.state == "open"
        and not task.started_by
        and not shipment.walks
        and any(units > shipment.picked.get(sku, 0) for sku, units in shipment.required.items())
    )


def _drafts(
    wave: Mapping[str, Any], number: int, told: Mapping[str, Any], lease_minutes: int, now: datetime
) -> Iterator[Walk]:
    """The walks of one release, under ids that follow from the wave."""
    shipments = tuple(told["shipments"])
    for part, walk in enumerate(told["walks"], start=1):
        stops = tuple(
            Stop(
                stop["bin"],
                stop["sku"],
                {shipments[int(index)]: units for index, units in stop["need"].items()},
                lot=stop.get("lot", ""),
            )
            for stop in walk["stops"]
        )
        yield Walk(
            walk_id=f"{wave['wave_id']}-{number + 1:03d}-{part}",
            facility=wave["facility"],
            method=told["method"],
            shipments=shipments,
            stops=stops,
            released=sum(stop.quantity for stop in stops),
            rank=told["rank"],
            released_at=to_text(now),
            wave=wave["wave_id"],
            zone=walk["zone"],
            lease_minutes=lease_minutes,
            length_cm=walk["length_cm"],
        )


def _release_to_item(release: Release) -> Item:
    number = {shipment_id: str(index) for index, shipment_id in enumerate(release.shipment_ids)}
    return {
        "method": release.method,
        "rank": release.rank,
        "shipments": list(release.shipment_ids),
        "walks": [
            {
                "zone": walk.zone,
                "length_cm": walk.length_cm,
                "stops": [
                    {
                        "bin": stop.bin,
                        "sku": stop.sku,
                        "need": {number[shipment_id]: units for shipment_id, units in stop.need.items()},
                        **({"lot": stop.lot} if stop.lot else {}),
                    }
                    for stop in walk.stops
                ],
            }
            for walk in release.walks
        ],
    }


def _plan_view(release: Release) -> dict[str, Any]:
    return {
        "method": release.method,
        "shipments": list(release.shipment_ids),
        "units": release.units,
        "length_cm": sum(walk.length_cm for walk in release.walks),
        "zones": [walk.zone for walk in release.walks if walk.zone],
        "cut_off": release.cut_off or None,
    }


def _wave_view(wave: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "wave_id": wave["wave_id"],
        "facility": wave["facility"],
        "state": wave["state"],
        "cut_off": wave["cut_off"] or None,
        "by": wave["actor"],
        "created_at": wave["created_at"],
        "walk_ids": list(wave["walks"]),
        "left_out": wave.get("left_out", 0),
    }


def _wave_sk(wave_id: str) -> str:
    return f"WAVE#{wave_id}"
