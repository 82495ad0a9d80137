"""The floor: what a picker or packer is shown, what a scan does, and what happens when units are not there.

The truth about work is here and not in the workflow: a task is done when its shipment says so, and the stream tells
the workflow. A refused scan changes nothing and says what was expected.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from oms.fulfillment.floorplan import floor_plan
from oms.fulfillment.lots import NO_LOT, LotRead, chosen, lot_view, shelves_view, to_take
from oms.fulfillment.packing import BoxTold, boxed, captured
from oms.fulfillment.pausing import begun_anew
from oms.fulfillment.putbacks import put_back
from oms.fulfillment.recalling import note_parcel
from oms.fulfillment.refusing import refusal, refuse_scan
from oms.fulfillment.shipments import (
    DONE_IN,
    Box,
    Capture,
    DynamoShipments,
    Scan,
    Shipment,
    ShipmentStatus,
    Task,
    change_with_shipments,
    lots_given_back,
    lots_less,
    parse_shipment_id,
    shipment_from_item,
    units_of,
)
from oms.inventory.barcodes import read_barcode
from oms.inventory.counting import asked_by_short
from oms.inventory.model import DOCK, Location, Product, Shelf, by_lot
from oms.inventory.movements import Loss, write_off
from oms.inventory.store import DynamoInventory
from oms.orders.backordering import queue_writes
from oms.orders.model import Event, Order
from oms.orders.store import Change, DynamoOrders
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock
from oms.runtime.dynamo import ConditionsFailed, Contention, Write

KINDS = ("pack", "pick")
"""In the order in which work is shown: what has been picked leaves first."""
PAGE = 25
_REMEMBERED_SCANS = 20
_ATTEMPTS = 8
_DONE_EVENT = {"pick": "ShipmentPicked", "pack": "ShipmentPacked"}
_DONE = {"pick": ShipmentStatus.PICKED, "pack": ShipmentStatus.PACKED}

Step = tuple[Shipment, Event | None, Sequence[Write]]
"""A shipment as it should be, the event if its status changed, and what else must happen with it."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What the scanner read: a barcode or a SKU, so many, and perhaps the bin it was taken from."""

    sku: str = ""
    barcode: str = ""
    quantity: int = 1
    bin: str = ""
    serial: str = ""
    lot: str = ""
    expires: str = ""
    """The day after which it must not be sold, as ``2027-01-31``."""

    def digest(self) -> str:
        """What must be equal for two scans with one key to be the same scan."""
        told = (self.sku, self.barcode, str(self.quantity), self.bin, self.serial, self.lot, self.expires)
        return hashlib.sha256("\x1f".join(told).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class WalkPart:
    """What a walk has got for one parcel: by SKU, from which bin, of which lot and how many units; and in which
    tote they are."""

    walk_id: str
    got: Mapping[str, Sequence[tuple[str, str, int]]]
    tote: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """Units that are not in their bin."""

    sku: str
    quantity: int
    bin: str
    lot: LotRead = NO_LOT
    cause: str = ""
    """What several parcels went short by."""


def task_id(shipment_id: str, kind: str) -> str:
    """A task's id in URLs: ``<order id>.<number>-<kind>``."""
    return f"{shipment_id}-{kind}"


def parse_task_id(text: str) -> tuple[str, str]:
    """The shipment's id and the kind. Raises ``NotFound`` for anything that is no task's id."""
    shipment_id, _, kind = text.rpartition("-")
    if kind not in KINDS:
        raise errors.NotFound("There is no such task.")
    parse_shipment_id(shipment_id)
    return shipment_id, kind


@dataclass(frozen=True, slots=True)
class Floor:
    """The use cases of the warehouse's devices."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    @property
    def shipments(self) -> DynamoShipments:
        return DynamoShipments(self.orders.table)

    # ---- looking -------------------------------------------------------------------------------------------------

    def work(self, facility: str, kind: str | None, cursor: str | None) -> dict[str, Any]:
        """A page of open tasks, the most urgent first. Raises ``InvalidRequest``."""
        if kind is not None and kind not in KINDS:
            raise errors.InvalidRequest("See errors for what to change.", fields=[("kind", "pick or pack")])
        kinds = [kind] if kind else list(KINDS)
        after = ""
        if cursor:
            current, after = _read_cursor(cursor)
            if current not in kinds:
                raise _bad_cursor()
            kinds = kinds[kinds.index(current) :]
        queued: list[tuple[str, Mapping[str, Any]]] = []
        for each in kinds:
            found = self.orders.table.query_index(
                "work",
                "work_queue = :queue AND work_rank > :after",
                # No rank is empty, so an empty text stands before all of them; keys may not be empty, hence the space.
                {":queue": f"{facility}#{each}", ":after": after or " "},
                limit=PAGE + 1 - len(queued),
            )
            queued += [(each, item) for item in found]
            after = ""
            if len(queued) > PAGE:
                break
        page = queued[:PAGE]
        more = _cursor(page[-1][0], str(page[-1][1]["work_rank"])) if len(queued) > PAGE else None
        return {"facility": facility, "tasks": self._tasks(facility, page), "next_cursor": more}

    def _tasks(self, facility: str, page: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """The indexed tasks as they are now; what was finished meanwhile is left out."""
        items = self.orders.table.batch_get([(item["pk"], item["sk"]) for _, item in page])
        by_key = {(item["pk"], item["sk"]): shipment_from_item(item) for item in items}
        current: list[tuple[Shipment, Task]] = []
        for kind, item in page:
            shipment = by_key.get((item["pk"], item["sk"]))
            task = shipment.task if shipment else None
            if shipment and task and task.state == "open" and task.kind == kind:
                current.append((shipment, task))
        skus = sorted({sku for shipment, _ in current for sku in shipment.required})
        products, places = self.inventory.products(skus), self.inventory.locations_at(facility, skus)
        return [_task_view(shipment, task.kind, products, places, self.clock()) for shipment, task in current]

    def _shown(self, shipment: Shipment, kind: str) -> dict[str, Any]:
        skus = list(shipment.required)
        products, places = self.inventory.products(skus), self.inventory.locations_at(shipment.facility, skus)
        return _task_view(shipment, kind, products, places, self.clock())

    # ---- working -------------------------------------------------------------------------------------------------

    def start(self, task: str, actor: str) -> dict[str, Any]:
        """Begin a task and show it; again is harmless. Raises ``NotFound`` and ``Conflict``."""
        shipment_id, kind = parse_task_id(task)

        def begun(shipment: Shipment) -> Step | None:
            _require_open(shipment, kind)
            after, event = _begun(shipment, kind, actor)
            return (after, event, ()) if after is not shipment else None

        return self._shown(self._work_on(shipment_id, begun), kind)

    def scan(self, task: str, scanned: Scanned, actor: str, key: str = "") -> dict[str, Any]:
        """Count items into a task. One ``key`` counts once and is answered alike.

        Raises ``NotFound``, ``IdempotencyKeyReused``, and ``Conflict`` with ``code``, ``expected`` and ``scanned``
        when it is the wrong item, too many, from the wrong bin, or the task is not open.
        """
        shipment_id, kind = parse_task_id(task)
        marker = hashlib.sha256(f"{kind}\x1f{key}".encode()).hexdigest()[:16] if key else ""
        digest, scanned = scanned.digest(), _read(scanned)
        sku = scanned.sku or self.inventory.sku_of_barcode(scanned.barcode) or ""
        counted = Scan(marker, digest, sku, 0)
        product = self.inventory.product(sku) if sku else None
        track = product.track if product else ()

        def count(shipment: Shipment) -> Step | None:
            nonlocal counted
            known = next((scan for scan in shipment.scans if scan.key == marker), None) if marker else None
            if known:
                if known.digest != counted.digest:
                    raise errors.IdempotencyKeyReused("This key was used for another scan.")
                counted = known
                return None
            _require_open(shipment, kind)
            place = self.inventory.location(sku, shipment.facility) if kind == "pick" and sku else None
            _check(shipment, kind, sku, scanned, place)
            after, event = _begun(shipment, kind, actor)
            now = self.clock()
            total = after.scanned(kind).get(sku, 0) + scanned.quantity
            counted = replace(counted, scanned=total)
            seen = {**after.scanned(kind), sku: total}
            after = replace(after, picked=seen) if kind == "pick" else replace(after, packed=seen)
            if kind == "pack":
                after = captured(
                    after, Capture(sku, scanned.quantity, scanned.serial, scanned.lot, scanned.expires), track, now
                )
            if marker:
                after = replace(after, scans=(*after.scans, counted)[-_REMEMBERED_SCANS:])
            if kind == "pack":
                return after, event, [*self._packed_lot(after, sku, scanned, now)]
            taken = {}
            if place:
                taken = self._picks(shipment, place, product, scanned, now)
            writes = [self.inventory.pick(place, taken, now)] if place else []
            return with_lots(after, sku, by_lot(taken)), event, writes

        shipment = self._work_on(shipment_id, count)
        required = shipment.required.get(counted.sku, 0)
        return {
            "task_id": task,
            "sku": counted.sku,
            "quantity": required,
            "scanned": counted.scanned,
            "remaining": max(0, required - counted.scanned),
        }

    def short(
        self,
        task: str,
        sku: str,
        quantity: int,
        reason: str,
        actor: str,
        *,
        bin: str = "",
        lot: LotRead = NO_LOT,
        on_walks: bool = False,
        cause: str = "",
    ) -> dict[str, Any]:
        """Say that units to be picked are not there.

        They leave the books at once with a movement that says why; the parcel stops, and the order's next run takes
        their like from wherever some are, or puts the order before a person. Somebody is asked to count the bin, once
        a ``cause`` that several parcels may share. ``bin`` and ``lot`` are what was looked for; ``on_walks`` also
        stops a parcel that other walks bring units of. Raises ``NotFound``, and ``Conflict`` when the task is no open
        pick or has seen those units.
        """
        shipment_id, kind = parse_task_id(task)
        if kind != "pick":
            raise refusal("not_a_pick", "Only a pick can be short; report damage while packing as a stock movement.")

        def missing(order: Order) -> Change:
            shipment = self.shipments.get(shipment_id)
            _require_open(shipment, kind, on_walks=on_walks)
            required, seen = shipment.required.get(sku, 0), shipment.picked.get(sku, 0)
            if quantity > required - seen:
                raise refusal(
                    "too_many",
                    f"{max(0, required - seen)} units of {sku} are still to be picked, so {quantity} cannot be short.",
                    expected=_expected(shipment, kind),
                    scanned={"sku": sku, "quantity": quantity},
                )
            return self._without(order, shipment, Missing(sku, quantity, bin, lot, cause), reason, actor)

        order_id, _ = parse_shipment_id(shipment_id)
        order = change_with_shipments(self.orders, order_id, missing, self.clock())
        telemetry.count("ShortPicks")
        telemetry.logger.warning("short_pick", shipment_id=shipment_id, sku=sku, quantity=quantity)
        return {
            "task_id": task,
            "state": "short",
            "sku": sku,
            "short": quantity,
            "holds": sorted(order.holds),
        }

    def complete(self, task: str, actor: str, told: BoxTold | None = None) -> dict[str, Any]:
        """Finish a task whose units have all been scanned; again gives the same answer. A packed parcel may come with
        what the scale shows and the carton it is in.

        Raises ``NotFound``, and ``Conflict`` naming what is missing, or what is wrong with the weight or the carton.
        """
        shipment_id, kind = parse_task_id(task)
        told = told or BoxTold()

        def done(shipment: Shipment) -> Step | None:
            if shipment.status in DONE_IN[kind]:
                return None
            _require_open(shipment, kind)
            lacking = [entry for entry in _expected(shipment, kind) if entry["remaining"]]
            if lacking:
                names = ", ".join(f"{entry['remaining']} of {entry['sku']}" for entry in lacking)
                raise refusal("task_incomplete", f"Still to be scanned: {names}.", expected=lacking)
            # A parcel that went on after a short pick may have all it needs before anybody begins.
            begun, _ = _begun(shipment, kind, actor)
            after = replace(begun.moved_to(_DONE[kind]), task=_ended(begun, "done"))
            data = _which(shipment)
            if kind == "pack":
                after = replace(after, box=self._boxed(shipment, told), tote="")
                if after.box:
                    data |= {"weight_grams": after.box.weight_grams, "carton": after.box.carton}
            return after, Event(_DONE_EVENT[kind], actor, told.reason or "warehouse", data), ()

        self._work_on(shipment_id, done)
        return {"task_id": task, "state": "done", "status": _DONE[kind].value}

    def bring(self, shipment_id: str, part: WalkPart, actor: str) -> Shipment:
        """Give a parcel what a walk has got for it. The last of its walks completes its pick, and the workflow goes on;
        a parcel that does not name the walk any more is left as it is."""

        def begun(shipment: Shipment) -> Step | None:
            if part.walk_id not in shipment.walks:
                return None
            after, event = _begun(shipment, "pick", actor)
            return (after, event, ()) if event else None

        def arrived(shipment: Shipment) -> Step | None:
            if part.walk_id not in shipment.walks:
                return None
            after, taken = self._brought(shipment, part)
            if after.walks or any(entry["remaining"] for entry in _expected(after, "pick")):
                return after, None, taken
            done = replace(after.moved_to(ShipmentStatus.PICKED), task=_ended(after, "done"))
            return done, Event(_DONE_EVENT["pick"], actor, f"walk {part.walk_id}", _which(shipment)), taken

        self._work_on(shipment_id, begun)
        return self._work_on(shipment_id, arrived)

    def _boxed(self, shipment: Shipment, told: BoxTold) -> Box | None:
        if not told.weight_grams and not told.carton:
            return None
        products = self.inventory.products(shipment.required)
        return boxed(shipment, told, products, floor_plan(self.inventory, shipment.facility))

    def _brought(self, shipment: Shipment, part: WalkPart) -> tuple[Shipment, list[Write]]:
        """The parcel with what a walk has brought, waiting for its other walks, and the actions that take the units
        out of their bins."""
        now, required = self.clock(), shipment.required
        picked, taken = dict(shipment.picked), list[Write]()
        for sku, got in sorted(part.got.items()):
            more = min(sum(units for _, _, units in got), required.get(sku, 0) - picked.get(sku, 0))
            if more > 0:
                place = left = self.inventory.location(sku, shipment.facility)
                chosen: Counter[Shelf] = Counter()
                for name, lot, units in got:
                    share = left.picks(min(units, more - chosen.total()), name, lot, now.date().isoformat())
                    chosen.update(share)
                    left = left.less(share)
                taken.append(self.inventory.pick(place, chosen, now))
                picked[sku] = picked.get(sku, 0) + more
                shipment = with_lots(shipment, sku, by_lot(chosen))
        walks = tuple(each for each in shipment.walks if each != part.walk_id)
        walked = (*shipment.walked, part.walk_id)
        return replace(shipment, picked=picked, walks=walks, walked=walked, tote=part.tote or shipment.tote), taken

    # ---- inside --------------------------------------------------------------------------------------------------

    def _picks(
        self, shipment: Shipment, place: Location, product: Product | None, scanned: Scanned, now: datetime
    ) -> dict[Shelf, int]:
        """The shelf that scanned units come from. Raises ``Conflict`` when it is not one that the picker was told."""
        if not place.lots:
            return place.picks(scanned.quantity, scanned.bin)
        remaining = shipment.required[place.sku] - shipment.picked.get(place.sku, 0)
        told = {"sku": place.sku, "quantity": scanned.quantity, "lot": scanned.lot, "expires": scanned.expires}
        what = {name: value for name, value in told.items() if value}
        read = LotRead(scanned.lot, scanned.expires)
        return chosen(place, product, remaining, scanned.quantity, scanned.bin, read, now, what)

    def _packed_lot(self, shipment: Shipment, sku: str, scanned: Scanned, now: datetime) -> list[Write]:
        """The action that notes which parcel got units of a lot; none when no lot was read."""
        name = scanned.lot or scanned.expires
        return [note_parcel(self.inventory, sku, name, shipment.shipment_id, now)] if name else []

    def _work_on(self, shipment_id: str, decide: Callable[[Shipment], Step | None]) -> Shipment:
        """Change a shipment: together with its order when there is an event, else alone."""
        shipments = self.shipments
        for attempt in range(_ATTEMPTS):
            seen = shipments.get(shipment_id)
            decision = decide(seen)
            if decision is None:
                return seen
            after, event, more = decision
            writes = [shipments.put(seen, after), *more]
            try:
                if event is None:
                    shipments.table.transact(writes)
                else:
                    order = self.orders.require(seen.order_id)
                    self.orders.apply(order, Change(order, event, writes), self.clock())
            except ConditionsFailed:
                shipments.table.back_off(attempt)
                continue
            return replace(after, version=seen.version + 1)
        raise Contention(f"shipment {shipment_id}")

    def _without(self, order: Order, shipment: Shipment, missing: Missing, reason: str, actor: str) -> Change:
        """The change that takes missing units out of a parcel and off the books, and begins the order anew."""
        now, sku, quantity = self.clock(), missing.sku, missing.quantity
        kept, freed = _taken_out(order, shipment, sku, quantity)
        required = kept.required
        picked = {name: min(units, required[name]) for name, units in kept.picked.items() if name in required}
        after = replace(kept.moved_to(ShipmentStatus.SHORT), picked=picked, task=_ended(shipment, "short"))
        back = {name: units - picked.get(name, 0) for name, units in shipment.picked.items()}
        lots = lots_given_back(shipment, back)
        place = self.inventory.location(sku, shipment.facility)
        lot = next((key for there in place.lots.values() for key in there if missing.lot.names(key)), "")
        after = replace(after, lots=lots_less(shipment, lots))
        cause = f"short:{shipment.shipment_id}:{shipment.version}"
        writes: list[Write] = [self.shipments.put(shipment, after)]
        writes += write_off(
            self.inventory,
            Loss(
                sku,
                shipment.facility,
                quantity,
                freed.pop(sku, 0),
                back.get(sku, 0),
                missing.bin,
                lot,
                lots.get(sku, {}),
            ),
            reason=reason,
            actor=actor,
            cause=cause,
            now=now,
        )
        writes += [
            self.inventory.deallocate(
                name, shipment.facility, units, now, picked=back.get(name, 0), lots=lots.get(name)
            )
            for name, units in sorted(freed.items())
        ]
        where = missing.bin or next(iter(place.picks(quantity, lot=lot)), (DOCK, ""))[0]
        writes += asked_by_short(self.inventory, shipment.facility, where, sku, missing.cause or cause, actor, now)
        writes += put_back(self.orders.table, shipment, back, now, lots)
        oversold = {**order.oversold, sku: order.oversold.get(sku, 0) + quantity}
        again = begun_anew(replace(order, oversold=oversold))
        writes += queue_writes(self.inventory, order, again, now)
        data = {**_which(shipment), "sku": sku, "units": quantity}
        return Change(again, Event("PickShort", actor, reason, data), writes)


def _check(shipment: Shipment, kind: str, sku: str, scanned: Scanned, place: Location | None) -> None:
    """Raises ``Conflict`` unless this item belongs in the parcel now."""
    expected = _expected(shipment, kind)
    what = {"sku": sku or None, "barcode": scanned.barcode or None, "quantity": scanned.quantity}
    wanted = next((entry for entry in expected if entry["sku"] == sku), None)
    if not sku:
        refuse_scan("unknown_barcode", f"No product has the barcode {scanned.barcode}.", expected, what)
    elif wanted is None:
        names = ", ".join(str(entry["sku"]) for entry in expected if entry["remaining"]) or "nothing more"
        refuse_scan("wrong_item", f"This parcel needs {names}; scanned was {sku}.", expected, what)
    elif scanned.quantity > wanted["remaining"]:
        told = f"{wanted['remaining']} more of {sku} belong in this parcel; scanned were {scanned.quantity}."
        refuse_scan("too_many", told, expected, what)
    if scanned.bin and place and scanned.bin not in place.pickable:
        first = next(iter(place.pickable), None)
        told = f"{sku} is to be picked from {first}, not from {scanned.bin}."
        refuse_scan("wrong_bin", told, expected, {**what, "bin": scanned.bin, "expected_bin": first})


def _taken_out(order: Order, shipment: Shipment, sku: str, quantity: int) -> tuple[Shipment, Counter[str]]:
    """The parcel without the lines' units that the missing ones leave incomplete, and by SKU the other units that
    those would have taken: a kit that lacks a part does not leave, so its other parts become free."""
    lines = shipment.lines(order)
    freed: Counter[str] = Counter({sku: -quantity})
    left = quantity
    for number in sorted(lines, key=lambda each: (len(order.lines[each - 1].parts), each)):
        line = order.lines[number - 1]
        each = line.units(1).get(sku, 0)
        if left <= 0 or not each:
            continue
        count = min(lines[number], -(-left // each))
        lines[number] -= count
        freed.update(line.units(count))
        left -= count * each
    return replace(shipment, units=units_of(order, lines)), +freed


def _begun(shipment: Shipment, kind: str, actor: str) -> tuple[Shipment, Event | None]:
    """The shipment with its task begun, and the event if that moves the shipment on."""
    task = shipment.task
    if task and not task.started_by:
        shipment = replace(shipment, task=replace(task, started_by=actor))
    if kind == "pick" and shipment.status is ShipmentStatus.ALLOCATED:
        return shipment.moved_to(ShipmentStatus.PICKING), Event("PickingStarted", actor, "warehouse", _which(shipment))
    return shipment, None


def _ended(shipment: Shipment, state: str) -> Task | None:
    return replace(shipment.task, state=state) if shipment.task else None


def _require_open(shipment: Shipment, kind: str, *, on_walks: bool = False) -> None:
    """Raises ``Conflict`` unless there is such a task to do now that no walk does."""
    task = shipment.task
    if kind == "pick" and shipment.walks and not on_walks:
        told = f"This parcel is picked on {' and '.join(shipment.walks)}."
        raise refusal("on_a_walk", told, walks=list(shipment.walks))
    if task is None or task.kind != kind or task.state != "open":
        raise refusal(
            "task_not_open",
            f"There is no {kind} to do for this parcel now: it is {shipment.status.value}.",
            shipment_status=shipment.status.value,
        )


def _which(shipment: Shipment) -> dict[str, Any]:
    return {"shipment": shipment.number, "facility": shipment.facility}


def _expected(shipment: Shipment, kind: str) -> list[dict[str, Any]]:
    """By SKU: how many belong in the parcel and how many are still to be scanned."""
    seen = shipment.scanned(kind)
    return [
        {"sku": sku, "quantity": units, "scanned": seen.get(sku, 0), "remaining": units - seen.get(sku, 0)}
        for sku, units in shipment.required.items()
    ]


def _read(scanned: Scanned) -> Scanned:
    """The scan with what its barcode says of the unit."""
    told = read_barcode(scanned.barcode)
    return replace(
        scanned,
        barcode=told.code,
        lot=scanned.lot or told.lot,
        expires=scanned.expires or told.expires,
        serial=scanned.serial or told.serial,
    )


def with_lots(shipment: Shipment, sku: str, lots: Mapping[str, int]) -> Shipment:
    """The parcel with more picked units of known lots."""
    if not lots:
        return shipment
    return replace(shipment, lots={**shipment.lots, sku: dict(Counter(shipment.lots.get(sku, {})) + Counter(lots))})


def _from(shipment: Shipment, kind: str, sku: str, product: Product | None, place: Location, now: datetime) -> Any:
    """Where units of a SKU are to be taken from: in a pick by bin and lot, while packing the lots that were picked."""
    if kind == "pack":
        return [{**lot_view(key), "quantity": units} for key, units in sorted(shipment.lots.get(sku, {}).items())]
    if not place.lots:
        return []
    remaining = shipment.required[sku] - shipment.picked.get(sku, 0)
    return shelves_view(to_take(place, product, remaining, now))


def _bin_of(product: Product | None, place: Location, now: datetime) -> str | None:
    """The bin to go to first; none for what nobody put away."""
    name = next(iter(place.fefo(product.keeps_until(now) if product and place.lots else "")), (DOCK, ""))[0]
    return name if name != DOCK else None


def _task_view(
    shipment: Shipment, kind: str, products: Mapping[str, Product], places: Mapping[str, Location], now: datetime
) -> dict[str, Any]:
    task, nowhere = shipment.task, Location("", shipment.facility)
    return {
        "task_id": task_id(shipment.shipment_id, kind),
        "kind": kind,
        "state": task.state if task else "done",
        "order_id": shipment.order_id,
        "shipment": shipment.number,
        "status": shipment.status.value,
        "facility": shipment.facility,
        "priority": {"score": shipment.score, "codes": shipment.codes},
        "placed_at": shipment.placed_at,
        "deadline": task.deadline if task else None,
        "started_by": (task.started_by if task else "") or None,
        "tote": shipment.tote or None,
        "units": [
            {
                **entry,
                "title": products[entry["sku"]].title if entry["sku"] in products else None,
                "barcodes": list(products[entry["sku"]].barcodes) if entry["sku"] in products else [],
                "bin": _bin_of(products.get(entry["sku"]), places.get(entry["sku"], nowhere), now),
                "lots": _from(
                    shipment, kind, entry["sku"], products.get(entry["sku"]), places.get(entry["sku"], nowhere), now
                ),
                "track": list(products[entry["sku"]].track) if entry["sku"] in products else [],
            }
            for entry in _expected(shipment, kind)
        ],
    }


def _cursor(kind: str, rank: str) -> str:
    return base64.urlsafe_b64encode(f"{kind}|{rank}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[str, str]:
    try:
        kind, _, rank = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
    except (binascii.Error, ValueError):
        raise _bad_cursor() from None
    if not rank:
        raise _bad_cursor()
    return kind, rank


def _bad_cursor() -> errors.InvalidRequest:
    return errors.InvalidRequest("See errors for what to change.", fields=[("cursor", "take it from next_cursor")])
