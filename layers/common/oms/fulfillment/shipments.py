"""Shipments: the parcels of an order, from the plan to the door, and the task that somebody in the warehouse has.

A change of a shipment's status is written together with a change of its order, so the order's history tells it. What
happens within a status (a scan, a new task) changes the shipment alone, under its own version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from oms.inventory.store import DynamoInventory
from oms.orders.model import Order
from oms.orders.store import Change, DynamoOrders, order_key
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Table, Write

_ATTEMPTS = 8
_TOP_SCORE = 9999
INLINE_PLACES = 45
"""So many places give their units back in the transaction that cancels; more is left to ``finish_cancellation``."""


class ShipmentStatus(StrEnum):
    """Where a parcel stands."""

    PLANNED = "planned"
    ALLOCATED = "allocated"
    PICKING = "picking"
    PICKED = "picked"
    PACKED = "packed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    SHORT = "short"
    CANCELLED = "cancelled"
    RETURNED = "returned"


# A short parcel goes on with what it has (back to allocated) once the order is released, or ends when it has nothing.
NEXT: Mapping[ShipmentStatus, frozenset[ShipmentStatus]] = {
    ShipmentStatus.PLANNED: frozenset({ShipmentStatus.ALLOCATED, ShipmentStatus.CANCELLED}),
    ShipmentStatus.ALLOCATED: frozenset({ShipmentStatus.PICKING, ShipmentStatus.SHORT, ShipmentStatus.CANCELLED}),
    ShipmentStatus.PICKING: frozenset({ShipmentStatus.PICKED, ShipmentStatus.SHORT, ShipmentStatus.CANCELLED}),
    ShipmentStatus.SHORT: frozenset({ShipmentStatus.ALLOCATED, ShipmentStatus.CANCELLED}),
    ShipmentStatus.PICKED: frozenset({ShipmentStatus.PACKED, ShipmentStatus.CANCELLED}),
    ShipmentStatus.PACKED: frozenset({ShipmentStatus.SHIPPED, ShipmentStatus.CANCELLED}),
    ShipmentStatus.SHIPPED: frozenset({ShipmentStatus.DELIVERED, ShipmentStatus.RETURNED}),
    ShipmentStatus.DELIVERED: frozenset({ShipmentStatus.RETURNED}),
    ShipmentStatus.CANCELLED: frozenset(),
    ShipmentStatus.RETURNED: frozenset(),
}

LEFT = frozenset({ShipmentStatus.SHIPPED, ShipmentStatus.DELIVERED, ShipmentStatus.RETURNED})
"""The parcel is out of the building."""
DONE_IN = {
    "pick": LEFT | {ShipmentStatus.PICKED, ShipmentStatus.PACKED},
    "pack": LEFT | {ShipmentStatus.PACKED},
    "vendor": LEFT | {ShipmentStatus.PICKED, ShipmentStatus.PACKED},
}
"""The statuses in which a task of a kind has been done."""


class IllegalMove(Exception):
    """A move that the table does not allow: a defect in our code, never the caller's mistake."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Stocked units in a parcel, and the order line that they serve."""

    line: int
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Task:
    """Work for a person. ``token`` is the workflow's, which waits for it."""

    kind: str
    """pick, pack, or vendor: somebody else does both."""
    token: str
    state: str
    """open, done or short."""
    offered_at: str
    deadline: str
    attempts: int = 1
    started_by: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan that counted, remembered so that the same scan sent again does not count twice."""

    key: str
    digest: str
    sku: str
    scanned: int


@dataclass(frozen=True, slots=True)
class Label:
    """A carrier's label on the parcel."""

    carrier: str
    service: str
    tracking_number: str
    tracker_id: str
    label_url: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Box:
    """A parcel as it was packed: grams, the carton's code, and its outer sides in millimetres. What is not known is
    empty, or 0."""

    weight_grams: int = 0
    carton: str = ""
    length_mm: int = 0
    width_mm: int = 0
    height_mm: int = 0


@dataclass(frozen=True, slots=True)
class Capture:
    """What was read from units as they were packed: a serial number each, or the lot and the expiry of several."""

    sku: str
    quantity: int
    serial: str = ""
    lot: str = ""
    expires: str = ""


@dataclass(frozen=True, slots=True)
class Purchase:
    """What a vendor who sends the parcel for us was asked: ``state`` is asked, confirmed, declined or cancelled;
    ``units`` by SKU are what the vendor is to send as far as the order's history says."""

    state: str
    asked_at: str
    deadline: str
    units: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tracking:
    """Where the carrier last saw the parcel: ``status`` in our words, ``at`` the scan, ``heard_at`` when we heard."""

    status: str
    at: str
    detail: str
    heard_at: str


@dataclass(frozen=True, slots=True)
class Shipment:
    """One parcel. ``picked`` and ``packed`` count scans by SKU; ``version`` counts changes."""

    order_id: str
    number: int
    facility: str
    status: ShipmentStatus
    units: tuple[Unit, ...]
    score: int = 0
    codes: str = ""
    placed_at: str = ""
    created_at: str = ""
    ship_by: str = ""
    """The collection that it has to catch."""
    carrier_cutoff: str = ""
    """The first collection that it can catch."""
    picked: Mapping[str, int] = field(default_factory=dict)
    packed: Mapping[str, int] = field(default_factory=dict)
    lots: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of the picked units, by SKU, those of each lot (``lot_key``)."""
    task: Task | None = None
    walks: tuple[str, ...] = ()
    """The walks that still have to bring units of it: while there are any, nobody picks it by its task."""
    walked: tuple[str, ...] = ()
    """The walks that have brought what they got for it."""
    tote: str = ""
    """Where its picked units are until they are packed."""
    box: Box | None = None
    captures: tuple[Capture, ...] = ()
    """In the order of packing."""
    scans: tuple[Scan, ...] = ()
    carrier_shipment_id: str = ""
    label: Label | None = None
    spare_labels: tuple[str, ...] = ()
    """Carriers' shipments that were replaced: their labels go back."""
    purchase: Purchase | None = None
    ready_at: str = ""
    """Since when it waits at a counter to be collected."""
    manifest_id: str = ""
    shipped_at: str = ""
    tracking: Tracking | None = None
    delivered_at: str = ""
    told_at: str = ""
    """When the marketplace was told of it."""
    telling_until: str = ""
    """Until when somebody is telling it: two at once would tell it twice."""
    cancelled_at: str = ""
    owes_places: bool = False
    """Cancelled, but its units are not set free at their places yet."""
    version: int = 1

    @property
    def shipment_id(self) -> str:
        return f"{self.order_id}.{self.number}"

    @property
    def may_have_spare_label(self) -> bool:
        """Cancelled or labelled anew when a carrier knew it already: a label may have been bought that no parcel will
        carry."""
        return bool(self.spare)

    @property
    def spare(self) -> tuple[str, ...]:
        """The carrier's shipments whose labels no parcel will carry."""
        if self.status is ShipmentStatus.CANCELLED and self.carrier_shipment_id:
            return (*self.spare_labels, self.carrier_shipment_id)
        return self.spare_labels

    @property
    def open(self) -> bool:
        """Whether somebody still has to do something for it to leave."""
        return self.status not in LEFT and self.status is not ShipmentStatus.CANCELLED

    @property
    def waits_for_customer(self) -> bool:
        """Whether it lies packed at a counter and somebody has to come for it."""
        return bool(self.ready_at) and self.status is ShipmentStatus.PACKED

    @property
    def required(self) -> dict[str, int]:
        """Units by SKU that belong in the parcel."""
        total: Counter[str] = Counter()
        for unit in self.units:
            total[unit.sku] += unit.quantity
        return dict(sorted(total.items()))

    def scanned(self, kind: str) -> Mapping[str, int]:
        """Units by SKU that the task has seen so far."""
        return self.picked if kind == "pick" else self.packed

    def lines(self, order: Order) -> dict[int, int]:
        """What the parcel carries in units of the order's lines: a kit counts once, not its parts."""
        carried: dict[int, int] = {}
        for unit in self.units:
            carried[unit.line] = unit.quantity // order.lines[unit.line - 1].units(1)[unit.sku]
        return carried

    def moved_to(self, status: ShipmentStatus) -> Shipment:
        """The shipment in another status; one that stops is on no walk any more. Raises ``IllegalMove``."""
        if status not in NEXT[self.status]:
            raise IllegalMove(f"{self.status} → {status}")
        stops = status in (ShipmentStatus.SHORT, ShipmentStatus.CANCELLED)
        return replace(self, status=status, walks=() if stops else self.walks)


def parse_shipment_id(shipment_id: str) -> tuple[str, int]:
    """The order's id and the number. Raises ``NotFound`` for anything that is no shipment's id."""
    order_id, _, number = shipment_id.rpartition(".")
    if not order_id or not (number.isascii() and number.isdigit()):
        raise errors.NotFound("There is no such shipment.")
    return order_id, int(number)


def shipment_key(shipment_id: str) -> tuple[str, str]:
    """Where a shipment is kept. Raises ``NotFound`` for anything that is no shipment's id."""
    order_id, number = parse_shipment_id(shipment_id)
    return order_key(order_id), _sk(number)


class DynamoShipments:
    """Shipments beside their order in the orders table."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def get(self, shipment_id: str) -> Shipment:
        """One shipment. Raises ``NotFound``."""
        order_id, number = parse_shipment_id(shipment_id)
        item = self.table.get(order_key(order_id), _sk(number))
        if item is None:
            raise errors.NotFound("There is no such shipment.")
        return shipment_from_item(item)

    def of(self, order_id: str) -> list[Shipment]:
        """An order's shipments by number, cancelled ones included."""
        return [shipment_from_item(item) for item in self.table.query(order_key(order_id), "SHIPMENT#")]

    def create(self, shipment: Shipment) -> Write:
        """The action that writes a new shipment, or fails when the number is taken."""
        return self.table.put(f"shipment {shipment.number}", shipment_to_item(shipment))

    def put(self, seen: Shipment, after: Shipment) -> Write:
        """The action that writes a changed shipment, or fails when somebody changed it since ``seen``."""
        return _put(self.table, seen, after)

    def change(self, shipment_id: str, decide: Callable[[Shipment], Shipment | None]) -> Shipment:
        """Change a shipment alone: read, decide, write under the version that was read, and again when somebody came
        between. Raises ``NotFound`` and ``Contention``."""
        for attempt in range(_ATTEMPTS):
            seen = self.get(shipment_id)
            after = decide(seen)
            if after is None:
                return seen
            try:
                self.table.transact([self.put(seen, after)])
            except ConditionsFailed:
                self.table.back_off(attempt)
                continue
            return replace(after, version=seen.version + 1)
        raise Contention(f"shipment {shipment_id}")


def change_with_shipments(
    orders: DynamoOrders, order_id: str, decide: Callable[[Order], Change | None], now: datetime
) -> Order:
    """``orders.change`` for decisions that write shipments and places too: begun again when one of those moved on.

    ``decide`` reads them itself, each time. Raises ``NotFound`` and ``Contention``.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return orders.change(order_id, decide, now)
        except ConditionsFailed:
            orders.table.back_off(attempt)
    raise Contention(f"shipments of order {order_id}")


# ---- cancelling ------------------------------------------------------------------------------------------------------


def cancellation(
    orders_table: Table, inventory: DynamoInventory, shipment_items: Sequence[Item], now: datetime
) -> list[Write]:
    """The actions that cancel an order's parcels under their versions and set their units free.

    Where that is more than one transaction should carry, the parcels are marked and ``finish_cancellation`` frees the
    units. Raises ``Conflict`` when a parcel has left.
    """
    shipments = [shipment_from_item(item) for item in shipment_items]
    if any(shipment.status in LEFT for shipment in shipments):
        raise errors.Conflict("A parcel has left: this is a matter for a return now.")
    stopped = [shipment for shipment in shipments if shipment.open]
    freed = freed_places(inventory, stopped, now)
    at_once = len(freed) + len(stopped) <= INLINE_PLACES
    writes = [
        _put(
            orders_table,
            shipment,
            replace(
                shipment.moved_to(ShipmentStatus.CANCELLED),
                task=None,
                owes_places=not at_once,
                cancelled_at=to_text(now),
            ),
        )
        for shipment in stopped
    ]
    return [*writes, *freed] if at_once else writes


def knows_carrier(shipment_items: Sequence[Item]) -> bool:
    """Whether a carrier knows of any of these parcels, so that a label may have been bought."""
    return any(item.get("carrier_shipment_id") for item in shipment_items)


def finish_cancellation(shipments: DynamoShipments, inventory: DynamoInventory, order_id: str, now: datetime) -> None:
    """Set free what a very large cancelled order still holds, parcel by parcel, each exactly once."""
    for shipment in shipments.of(order_id):
        if not shipment.owes_places:
            continue
        done = shipments.put(shipment, replace(shipment, owes_places=False))
        try:
            shipments.table.transact([done, *freed_places(inventory, [shipment], now)])
        except ConditionsFailed:
            if shipments.get(shipment.shipment_id).owes_places:
                raise


def freed_places(inventory: DynamoInventory, shipments: Sequence[Shipment], now: datetime) -> list[Write]:
    """The actions that set these parcels' units free, one for each SKU and facility; picked ones wait on the dock."""
    held: Counter[tuple[str, str]] = Counter()
    picked: Counter[tuple[str, str]] = Counter()
    lots: dict[tuple[str, str], Counter[str]] = {}
    for shipment in shipments:
        for unit in shipment.units:
            held[unit.sku, shipment.facility] += unit.quantity
        for sku, units in shipment.picked.items():
            picked[sku, shipment.facility] += units
        for sku, by_lot in shipment.lots.items():
            lots.setdefault((sku, shipment.facility), Counter()).update(by_lot)
    return [
        inventory.deallocate(sku, facility, quantity, now, picked=picked[sku, facility], lots=lots.get((sku, facility)))
        for (sku, facility), quantity in sorted(held.items())
    ]


def lots_given_back(shipment: Shipment, back: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """By SKU, of which lots units are that a parcel gives ``back``: of no known one first, then what keeps longest."""
    given: dict[str, dict[str, int]] = {}
    for sku, units in back.items():
        lots = shipment.lots.get(sku, {})
        left = units - (shipment.picked.get(sku, 0) - sum(lots.values()))
        for key in sorted(lots, reverse=True):
            taken = min(left, lots[key])
            if taken > 0:
                given.setdefault(sku, {})[key] = taken
                left -= taken
    return given


def lots_less(shipment: Shipment, given: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """A parcel's lots without these."""
    kept = {
        sku: {key: units - given.get(sku, {}).get(key, 0) for key, units in lots.items()}
        for sku, lots in shipment.lots.items()
    }
    some = {sku: {key: units for key, units in lots.items() if units} for sku, lots in kept.items()}
    return {sku: lots for sku, lots in some.items() if lots}


# ---- items and views -------------------------------------------------------------------------------------------------


def _sk(number: int) -> str:
    return f"SHIPMENT#{number:03d}"


def _put(table: Table, seen: Shipment, after: Shipment) -> Write:
    item = shipment_to_item(replace(after, version=seen.version + 1))
    return table.put(f"shipment {seen.number}", item, "version = :seen", values={":seen": seen.version})


def work_rank(shipment: Shipment) -> str:
    """The place in the queue of work as text that sorts: higher priority first, then the older order."""
    return f"{_TOP_SCORE - min(shipment.score, _TOP_SCORE):04d}#{shipment.placed_at}#{shipment.shipment_id}"


def shipment_to_item(shipment: Shipment) -> Item:
    """The shipment's item; it stands in the queue of work (and its index) only while a task is open that no
    walk does."""
    item: Item = {
        "pk": order_key(shipment.order_id),
        "sk": _sk(shipment.number),
        "entity": "shipment",
        "shipment_id": shipment.shipment_id,
        "facility": shipment.facility,
        "status": str(shipment.status),
        "units": [{"line": unit.line, "sku": unit.sku, "quantity": unit.quantity} for unit in shipment.units],
        "placed_at": shipment.placed_at,
        "created_at": shipment.created_at,
        "version": shipment.version,
    }
    task, label, tracking = shipment.task, shipment.label, shipment.tracking
    optional = {
        "score": shipment.score,
        "codes": shipment.codes,
        "ship_by": shipment.ship_by,
        "carrier_cutoff": shipment.carrier_cutoff,
        "picked": dict(shipment.picked),
        "packed": dict(shipment.packed),
        "lots": {sku: dict(lots) for sku, lots in shipment.lots.items()},
        "task": task
        and {
            "kind": task.kind,
            "token": task.token,
            "state": task.state,
            "offered_at": task.offered_at,
            "deadline": task.deadline,
            "attempts": task.attempts,
            "started_by": task.started_by,
        },
        "scans": [
            {"key": scan.key, "digest": scan.digest, "sku": scan.sku, "scanned": scan.scanned}
            for scan in shipment.scans
        ],
        "walks": list(shipment.walks),
        "walked": list(shipment.walked),
        "tote": shipment.tote,
        "box": asdict(shipment.box) if shipment.box else None,
        "captures": [_without_blanks(asdict(capture)) for capture in shipment.captures],
        "carrier_shipment_id": shipment.carrier_shipment_id,
        "label": label
        and {
            "carrier": label.carrier,
            "service": label.service,
            "tracking_number": label.tracking_number,
            "tracker_id": label.tracker_id,
            "label_url": label.label_url,
            "amount": label.amount,
            "currency": label.currency,
        },
        "spare_labels": list(shipment.spare_labels),
        "purchase": asdict(shipment.purchase) if shipment.purchase else None,
        "ready_at": shipment.ready_at,
        "manifest_id": shipment.manifest_id,
        "shipped_at": shipment.shipped_at,
        "tracking": tracking
        and {
            "status": tracking.status,
            "at": tracking.at,
            "detail": tracking.detail,
            "heard_at": tracking.heard_at,
        },
        "delivered_at": shipment.delivered_at,
        "told_at": shipment.told_at,
        "telling_until": shipment.telling_until,
        "cancelled_at": shipment.cancelled_at,
        "owes_places": shipment.owes_places,
    }
    item.update({key: value for key, value in optional.items() if value})
    if task and task.state == "open" and not (task.kind == "pick" and shipment.walks):
        item["work_queue"] = f"{shipment.facility}#{task.kind}"
        item["work_rank"] = work_rank(shipment)
    elif shipment.waits_for_customer:
        item["work_queue"] = f"{shipment.facility}#pickup"
        item["work_rank"] = f"{shipment.ready_at}#{shipment.shipment_id}"
    elif shipment.status is ShipmentStatus.SHIPPED and label and label.tracker_id and not shipment.manifest_id:
        item["work_queue"] = f"{shipment.facility}#manifest"
        item["work_rank"] = f"{label.carrier}#{shipment.shipped_at}#{shipment.shipment_id}"
    return item


def shipment_from_item(item: Mapping[str, Any]) -> Shipment:
    """The inverse of ``shipment_to_item``."""
    order_id, number = parse_shipment_id(item["shipment_id"])
    return Shipment(
        order_id=order_id,
        number=number,
        facility=item["facility"],
        status=ShipmentStatus(item["status"]),
        units=tuple(Unit(**unit) for unit in item["units"]),
        score=item.get("score", 0),
        codes=item.get("codes", ""),
        ship_by=item.get("ship_by", ""),
        carrier_cutoff=item.get("carrier_cutoff", ""),
        placed_at=item["placed_at"],
        created_at=item["created_at"],
        picked=item.get("picked", {}),
        packed=item.get("packed", {}),
        lots=item.get("lots", {}),
        task=Task(**item["task"]) if "task" in item else None,
        scans=tuple(Scan(**scan) for scan in item.get("scans", [])),
        walks=tuple(item.get("walks", ())),
        walked=tuple(item.get("walked", ())),
        tote=item.get("tote", ""),
        box=Box(**item["box"]) if "box" in item else None,
        captures=tuple(Capture(**capture) for capture in item.get("captures", ())),
        carrier_shipment_id=item.get("carrier_shipment_id", ""),
        label=Label(**item["label"]) if "label" in item else None,
        spare_labels=tuple(item.get("spare_labels", ())),
        purchase=Purchase(**item["purchase"]) if "purchase" in item else None,
        ready_at=item.get("ready_at", ""),
        manifest_id=item.get("manifest_id", ""),
        shipped_at=item.get("shipped_at", ""),
        tracking=Tracking(**item["tracking"]) if "tracking" in item else None,
        delivered_at=item.get("delivered_at", ""),
        told_at=item.get("told_at", ""),
        telling_until=item.get("telling_until", ""),
        cancelled_at=item.get("cancelled_at", ""),
        owes_places=item.get("owes_places", False),
        version=item["version"],
    )


def _without_blanks(values: Mapping[str, Any]) -> Item:
    return {name: value for name, value in values.items() if value}


def shipment_view(item: Mapping[str, Any]) -> dict[str, Any]:
    """A shipment as its customer sees it."""
    shipment = shipment_from_item(item)
    label, tracking = shipment.label, shipment.tracking
    return {
        "number": shipment.number,
        "status": shipment.status.value,
        "facility": shipment.facility,
        "units": [{"line": unit.line, "sku": unit.sku, "quantity": unit.quantity} for unit in shipment.units],
        "carrier": label.carrier if label else None,
        "service": label.service if label else None,
        "tracking_number": label.tracking_number if label else None,
        "ship_by": shipment.ship_by or None,
        "carrier_cutoff": shipment.carrier_cutoff or None,
        "ready_at": shipment.ready_at or None,
        "shipped_at": shipment.shipped_at or None,
        "tracking": {"status": tracking.status, "at": tracking.at} if tracking else None,
        "delivered_at": shipment.delivered_at or None,
    }


def planned(order: Order, number: int, facility: str, lines: Mapping[int, int], now: datetime) -> Shipment:
    """A new parcel of an order: ``lines`` maps line numbers to units of the line."""
    return Shipment(
        order_id=order.order_id,
        number=number,
        facility=facility,
        status=ShipmentStatus.PLANNED,
        units=units_of(order, lines),
        score=order.priority_score,
        codes=order.priority_codes,
        placed_at=order.placed_at,
        created_at=to_text(now),
    )


def units_of(order: Order, lines: Mapping[int, int]) -> tuple[Unit, ...]:
    """The stocked units behind ``lines``, which maps line numbers to units of the line."""
    return tuple(
        Unit(number, sku, quantity)
        for number, count in sorted(lines.items())
        for sku, quantity in sorted(order.lines[number - 1].units(count).items())
        if quantity
    )
