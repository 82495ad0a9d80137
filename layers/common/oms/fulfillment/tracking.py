"""Where parcels are after they left: what carriers tell, in whatever order they tell it, and what needs a person.

A carrier's word is kept as it came and believed by the time of its scan, never by the time of its arrival: a parcel's
stage never goes back. What is lost on the way is asked for by ``PollTrackers``.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from oms.fulfillment.carrier import Carrier, CarrierRefused, Sighting, TrackingStatus
from oms.fulfillment.shipments import (
    LEFT,
    DynamoShipments,
    Shipment,
    ShipmentStatus,
    Tracking,
    change_with_shipments,
    parse_shipment_id,
)
from oms.orders.model import Event, Order, Status
from oms.orders.returning import ReturnStatus
from oms.orders.store import Change, DynamoOrders, order_key
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Table, Write

if TYPE_CHECKING:
    from oms.orders.returns import ReturnOrders

POLL_EVERY = timedelta(hours=12)
"""A tracker that says nothing for so long is asked."""
SILENT_AFTER = timedelta(days=7)
"""A parcel that nobody has scanned for so long is looked for."""
GIVEN_UP_AFTER = timedelta(days=90)
KEPT_FOR = timedelta(days=400)
"""How long a carrier's own words are kept: a dispute may ask for them."""
PAGE = 50
TRACKING_QUEUE, TROUBLE_QUEUE = "tracking", "trouble"

_STAGES = {
    TrackingStatus.UNKNOWN: 0,
    TrackingStatus.LABEL_CREATED: 1,
    TrackingStatus.IN_TRANSIT: 2,
    TrackingStatus.OUT_FOR_DELIVERY: 2,
    TrackingStatus.AVAILABLE_FOR_PICKUP: 2,
    TrackingStatus.ATTEMPT_FAILED: 2,
    TrackingStatus.EXCEPTION: 2,
    TrackingStatus.DELIVERED: 3,
    TrackingStatus.RETURNED: 4,
}
FINAL = frozenset({TrackingStatus.DELIVERED, TrackingStatus.RETURNED})
_TROUBLE = frozenset({TrackingStatus.ATTEMPT_FAILED, TrackingStatus.EXCEPTION})
_SILENT = "silent"
_OWNERS: Mapping[str, tuple[str, timedelta]] = {
    TrackingStatus.ATTEMPT_FAILED: ("customer service", timedelta(days=1)),
    TrackingStatus.EXCEPTION: ("customer service", timedelta(days=1)),
    TrackingStatus.RETURNED: ("returns", timedelta(days=3)),
    _SILENT: ("customer service", timedelta(days=2)),
}
"""Who has to look at a parcel in trouble, and how soon. A returned one is where after-sales takes over."""
_RAW_LIMIT = 200_000
_ATTEMPTS = 8
_POSTPONED = timedelta(days=1)


def tracker_key(tracker_id: str) -> str:
    """The partition of what a carrier's tracker stands for."""
    return f"TRACKER#{tracker_id}"


def tracker(table: Table, shipment: Shipment, tracker_id: str, now: datetime) -> Write:
    """The action that ties a tracker to its parcel and lets the carrier be asked about it."""
    item = {
        "pk": tracker_key(tracker_id),
        "sk": "TRACKER",
        "entity": "tracker",
        "order_id": shipment.order_id,
        "shipment_id": shipment.shipment_id,
        "work_queue": TRACKING_QUEUE,
        "work_rank": _rank(now + POLL_EVERY, shipment.shipment_id),
    }
    return table.put("tracker", item, None)


def return_tracker(table: Table, return_id: str, tracker_id: str, now: datetime) -> Write:
    """The action that ties the tracker of a return's label to the return."""
    item = {
        "pk": tracker_key(tracker_id),
        "sk": "TRACKER",
        "entity": "tracker",
        "order_id": return_id.rpartition(".")[0],
        "return_id": return_id,
        "work_queue": TRACKING_QUEUE,
        "work_rank": _rank(now + POLL_EVERY, return_id),
    }
    return table.put("tracker", item, None)


def stage(status: TrackingStatus) -> int:
    """How far a parcel has come: it never comes less far."""
    return _STAGES[status]


def moves_on(seen: Tracking | None, told: Sighting) -> bool:
    """Whether a sighting is news: of a later stage and not from an earlier time, or of the same stage and later.

    On the way, trouble and travel may follow each other as often as they like; a parcel that arrived stays arrived.
    Carriers tell seconds, or minutes: of two sightings at one time the trouble counts, whichever comes first.
    """
    if seen is None:
        return True
    before, after = stage(TrackingStatus(seen.status)), stage(told.status)
    if after > before:
        return told.at >= seen.at
    if after != before or told.status in FINAL:
        return False
    return (told.at, told.status in _TROUBLE) > (seen.at, seen.status in _TROUBLE)


@dataclass(frozen=True, slots=True)
class TrackParcels:
    """Taking in what carriers tell of parcels."""

    orders: DynamoOrders
    clock: Clock
    returns: ReturnOrders

    @property
    def shipments(self) -> DynamoShipments:
        return DynamoShipments(self.orders.table)

    def take_in(self, told: Sighting, raw: str) -> bool:
        """Keep a sighting and move its parcel on if it is news; whether it was. A tracker that is no parcel's of ours
        (or not yet: its label is bought before the parcel leaves) changes nothing. Raises ``Contention``."""
        known = self.orders.table.get(tracker_key(told.tracker_id), "TRACKER")
        if known is None:
            telemetry.count("TrackersUnknown")
            return False
        told = replace(told, at=self._moment(told.at))
        if "return_id" in known:
            return self._comes_back(str(known["return_id"]), told)
        shipment_id = str(known["shipment_id"])
        if told.status in FINAL and moves_on(self.shipments.get(shipment_id).tracking, told):
            return self._arrive(shipment_id, told, raw)
        return self._travel(shipment_id, told, raw)

    def _comes_back(self, return_id: str, told: Sighting) -> bool:
        """A return that its carrier has is in transit; that it has come is for the dock to say."""
        if stage(told.status) < stage(TrackingStatus.IN_TRANSIT):
            return False
        order_id, _, number = return_id.rpartition(".")
        before = self.returns.require(order_id, int(number)).status
        return self.returns.on_its_way(order_id, int(number), "easypost").status is not before

    def _moment(self, at: str) -> str:
        """A carrier's time in our notation, never later than now: a clock that is fast would silence those that are
        right."""
        now = self.clock()
        try:
            moment = datetime.fromisoformat(at.replace("Z", "+00:00"))
        except ValueError:
            return to_text(now)
        return to_text(min(moment if moment.tzinfo else moment.replace(tzinfo=UTC), now))

    def _travel(self, shipment_id: str, told: Sighting, raw: str) -> bool:
        """A sighting that leaves the shipment's status as it is."""
        for attempt in range(_ATTEMPTS):
            seen = self.shipments.get(shipment_id)
            kept = self._kept(seen, told, raw)
            news = seen.status in LEFT and moves_on(seen.tracking, told)
            writes = [kept]
            if news:
                writes += [self.shipments.put(seen, self._seen(seen, told)), *self._trouble(seen, told)]
            try:
                self.orders.table.transact(writes)
            except ConditionsFailed as failed:
                if failed.of("sighting"):
                    return False
                self.orders.table.back_off(attempt)
                continue
            if news and told.status in _OWNERS:
                telemetry.count("ParcelExceptions")
                telemetry.logger.warning("parcel_in_trouble", shipment_id=shipment_id, status=told.status.value)
            return news
        raise Contention(f"tracking of {shipment_id}")

    def _arrive(self, shipment_id: str, told: Sighting, raw: str) -> bool:
        """A parcel reached its door, or came back: its order says so too."""
        order_id, _ = parse_shipment_id(shipment_id)
        now = self.clock()
        moved = False

        def decide(order: Order) -> Change | None:
            nonlocal moved
            moved = False
            parcels = self.shipments.of(order_id)
            seen = next(parcel for parcel in parcels if parcel.shipment_id == shipment_id)
            if seen.status not in LEFT or not moves_on(seen.tracking, told):
                return None
            moved = True
            delivered = told.status is TrackingStatus.DELIVERED
            after = self._seen(seen, told).moved_to(ShipmentStatus.DELIVERED if delivered else ShipmentStatus.RETURNED)
            if delivered:
                after = replace(after, delivered_at=told.at)
                others = [one for one in parcels if one.number != seen.number]
                if order.status is Status.COMPLETED and all(_is_done_with(one) for one in others):
                    order = replace(order, delivered_at=max([told.at, *(one.delivered_at for one in others)]))
            data, opens = {"shipment": seen.number, "at": told.at}, list[Write]()
            if not delivered:
                order, opens, number = self.returns.brought_back(order, seen)
                data |= {"return": number} if number else {}
            event = Event(
                "ShipmentDelivered" if delivered else "ShipmentReturned",
                f"carrier:{seen.label.carrier if seen.label else ''}",
                "the carrier says so",
                data,
            )
            writes = [
                *opens,
                self._kept(seen, told, raw, anew=True),
                self.shipments.put(seen, after),
                *self._trouble(seen, told),
                _asked_no_more(self.orders.table, told.tracker_id),
            ]
            return Change(order, event, writes)

        change_with_shipments(self.orders, order_id, decide, now)
        if moved:
            telemetry.count("ParcelsDelivered" if told.status is TrackingStatus.DELIVERED else "ParcelExceptions")
            telemetry.logger.info("parcel_arrived", shipment_id=shipment_id, status=told.status.value)
        return moved

    def _seen(self, shipment: Shipment, told: Sighting) -> Shipment:
        return replace(shipment, tracking=Tracking(told.status.value, told.at, told.detail, to_text(self.clock())))

    def _kept(self, shipment: Shipment, told: Sighting, raw: str, *, anew: bool = False) -> Write:
        """The carrier's words, once for each scan. They may name who signed for the parcel, so they go in time."""
        now = self.clock()
        item = {
            "pk": order_key(shipment.order_id),
            "sk": f"SIGHTING#{shipment.number:03d}#{told.at}#{told.status.value}",
            "entity": "sighting",
            "tracker_id": told.tracker_id,
            "status": told.status.value,
            "detail": told.detail,
            "at": told.at,
            "heard_at": to_text(now),
            "raw": raw if len(raw) <= _RAW_LIMIT else "",
            "ttl": int((now + KEPT_FOR).timestamp()),
        }
        return self.orders.table.put("sighting", item, None if anew else "attribute_not_exists(pk)")

    def _trouble(self, seen: Shipment, told: Sighting) -> list[Write]:
        """The actions that put the parcel before a person, or take it from there when it moves again."""
        table = self.orders.table
        if told.status in _OWNERS:
            return [trouble(table, seen, told.status.value, told.detail, self.clock())]
        return [_closed(table, seen, "carrier", self.clock())] if _in_trouble(table, seen) else []


def trouble(table: Table, shipment: Shipment, kind: str, detail: str, now: datetime) -> Write:
    """The action that puts a parcel into the queue of those that need a person, with an owner and a deadline."""
    owner, patience = _OWNERS[kind]
    deadline = to_text(now + patience)
    item = {
        "pk": order_key(shipment.order_id),
        "sk": _trouble_sk(shipment.number),
        "entity": "trouble",
        "shipment_id": shipment.shipment_id,
        "kind": kind,
        "detail": detail,
        "owner": owner,
        "since": to_text(now),
        "deadline": deadline,
        "work_queue": TROUBLE_QUEUE,
        "work_rank": _rank(now + patience, shipment.shipment_id),
    }
    return table.put("trouble", item, None)


@dataclass(frozen=True, slots=True)
class Troubles:
    """The parcels that need a person."""

    orders: DynamoOrders
    clock: Clock

    def page(self, cursor: str | None) -> dict[str, Any]:
        """A page of them, the most urgent first. Raises ``InvalidRequest`` for a cursor that is not ours."""
        found = list(
            self.orders.table.query_index(
                "work",
                "work_queue = :queue AND work_rank > :after",
                {":queue": TROUBLE_QUEUE, ":after": _read_cursor(cursor) if cursor else " "},
                limit=PAGE + 1,
            )
        )
        page = found[:PAGE]
        items = self.orders.table.batch_get([(item["pk"], item["sk"]) for item in page])
        shown = [_trouble_view(item) for item in items if "work_queue" in item]
        more = base64.urlsafe_b64encode(str(page[-1]["work_rank"]).encode()).decode() if len(found) > PAGE else None
        return {"parcels": sorted(shown, key=lambda each: each["deadline"]), "next_cursor": more}

    def close(self, shipment_id: str, *, reason: str, actor: str) -> dict[str, Any]:
        """Take a parcel out of the queue and say so in the order's history; again is harmless. Raises ``NotFound``."""
        order_id, number = parse_shipment_id(shipment_id)
        table = self.orders.table

        def found() -> Item:
            item = table.get(order_key(order_id), _trouble_sk(number))
            if item is None:
                raise errors.NotFound("There is no such exception.")
            return item

        def decide(order: Order) -> Change | None:
            item = found()
            if "work_queue" not in item:
                return None
            shipment = DynamoShipments(table).get(shipment_id)
            event = Event("ParcelExceptionClosed", actor, reason, {"shipment": number, "kind": item["kind"]})
            return Change(order, event, [_closed(table, shipment, actor, self.clock())])

        change_with_shipments(self.orders, order_id, decide, self.clock())
        return _trouble_view(found())

    def remind(self, time_left: Callable[[], float]) -> int:
        """Count the parcels whose deadline has passed, so that somebody is told, and give them another day."""
        now = self.clock()
        overdue = 0
        found = self.orders.table.query_index(
            "work", "work_queue = :queue AND work_rank <= :now", {":queue": TROUBLE_QUEUE, ":now": to_text(now)}
        )
        for key in found:
            if time_left() < 5:
                break
            later = now + _POSTPONED
            postponed = self.orders.table.update(
                "trouble",
                (key["pk"], key["sk"]),
                "SET deadline = :deadline, work_rank = :rank",
                "work_rank = :seen",
                values={
                    ":deadline": to_text(later),
                    ":rank": _rank(later, key["work_rank"].partition("#")[2]),
                    ":seen": key["work_rank"],
                },
            )
            with contextlib.suppress(ConditionsFailed):
                self.orders.table.transact([postponed])
                overdue += 1
                telemetry.count("ParcelExceptionsOverdue")
                telemetry.logger.warning("parcel_exception_overdue", shipment_id=key["work_rank"].partition("#")[2])
        return overdue


@dataclass(frozen=True, slots=True)
class PollTrackers:
    """Asking carriers about parcels of which nothing was heard."""

    orders: DynamoOrders
    clock: Clock
    carrier: Callable[[], Carrier]
    returns: ReturnOrders

    def run(self, time_left: Callable[[], float]) -> dict[str, int]:
        """One pass over the trackers that are due; how many were asked and how many had news. Raises
        ``CarrierUnavailable``."""
        report = {"asked": 0, "news": 0}
        found = self.orders.table.query_index(
            "work",
            "work_queue = :queue AND work_rank <= :now",
            {":queue": TRACKING_QUEUE, ":now": to_text(self.clock())},
        )
        for key in found:
            if time_left() < 30:
                break
            known = self.orders.table.get(key["pk"], key["sk"])
            if known and known.get("work_rank") == key["work_rank"]:
                report["asked"] += 1
                report["news"] += self._ask(known)
        return report

    def _ask(self, known: Item) -> bool:
        tracker_id = str(known["pk"]).removeprefix("TRACKER#")
        shipments = DynamoShipments(self.orders.table)
        news = False
        try:
            told = self.carrier().sighting(tracker_id)
            news = TrackParcels(self.orders, self.clock, self.returns).take_in(told, "")
        except CarrierRefused:
            telemetry.logger.warning("tracker_refused", tracker_id=tracker_id)
        now = self.clock()
        if "return_id" in known:
            order_id, _, number = str(known["return_id"]).rpartition(".")
            waits = self.returns.require(order_id, int(number)).status is ReturnStatus.APPROVED
            self._write(self._later(known, now) if waits else _asked_no_more(self.orders.table, tracker_id))
            return news
        shipment = shipments.get(known["shipment_id"])
        if shipment.status is not ShipmentStatus.SHIPPED or _left(shipment) + GIVEN_UP_AFTER < now:
            self._write(_asked_no_more(self.orders.table, tracker_id))
            return news
        if _heard(shipment) + SILENT_AFTER < now and not _in_trouble(self.orders.table, shipment):
            self._write(trouble(self.orders.table, shipment, _SILENT, "nobody has scanned it for a week", now))
            telemetry.count("ParcelExceptions")
        self._write(self._later(known, now))
        return news

    def _later(self, known: Item, now: datetime) -> Write:
        what = str(known.get("return_id") or known["shipment_id"])
        return self.orders.table.update(
            "tracker",
            (known["pk"], "TRACKER"),
            "SET work_rank = :rank",
            "work_rank = :seen",
            values={":rank": _rank(now + POLL_EVERY, what), ":seen": known["work_rank"]},
        )

    def _write(self, write: Write) -> None:
        """Somebody beside us may have done it."""
        with contextlib.suppress(ConditionsFailed):
            self.orders.table.transact([write])


def _asked_no_more(table: Table, tracker_id: str) -> Write:
    return table.update(
        "tracker", (tracker_key(tracker_id), "TRACKER"), "REMOVE work_queue, work_rank", "attribute_exists(pk)"
    )


def _closed(table: Table, shipment: Shipment, actor: str, now: datetime) -> Write:
    return table.update(
        "trouble",
        (order_key(shipment.order_id), _trouble_sk(shipment.number)),
        "SET closed_at = :now, closed_by = :actor REMOVE work_queue, work_rank",
        "attribute_exists(pk)",
        values={":now": to_text(now), ":actor": actor},
    )


def _in_trouble(table: Table, shipment: Shipment) -> bool:
    item = table.get(order_key(shipment.order_id), _trouble_sk(shipment.number))
    return item is not None and "work_queue" in item


def _is_done_with(shipment: Shipment) -> bool:
    return shipment.status in (ShipmentStatus.DELIVERED, ShipmentStatus.CANCELLED)


def _left(shipment: Shipment) -> datetime:
    return from_text(shipment.shipped_at)


def _heard(shipment: Shipment) -> datetime:
    return from_text(max(shipment.shipped_at, shipment.tracking.at if shipment.tracking else ""))


def _trouble_sk(number: int) -> str:
    return f"TROUBLE#{number:03d}"


def _rank(moment: datetime, shipment_id: str) -> str:
    return f"{to_text(moment)}#{shipment_id}"


def _trouble_view(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "shipment_id": item["shipment_id"],
        "order_id": str(item["pk"]).removeprefix("ORDER#"),
        "kind": item["kind"],
        "detail": item["detail"],
        "owner": item["owner"],
        "since": item["since"],
        "deadline": item["deadline"],
        "closed_at": item.get("closed_at"),
    }


def _read_cursor(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor.encode()).decode()
    except (binascii.Error, ValueError):
        raise errors.InvalidRequest("See errors for what to change.", fields=[("cursor", "not one of ours")]) from None
