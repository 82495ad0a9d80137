"""Why is it late? What an order waits for now, whose turn it is, since when and until when, and what happens by itself
when nobody does anything; read from the deadlines that move it, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from oms.fulfillment.allocation import BACKORDER_FOR
from oms.fulfillment.shipments import LEFT, DynamoShipments, Shipment, ShipmentStatus
from oms.fulfillment.tracking import SILENT_AFTER
from oms.inventory.store import DynamoInventory
from oms.inventory.supplies import COMING, supplies_of
from oms.messages.languages import language
from oms.orders.deadlines import EFFECT, FULFILLMENT
from oms.orders.model import OPEN, Effect, Order, Status
from oms.orders.returning import Return, ReturnStatus, return_from_item
from oms.orders.store import DynamoOrders, order_key
from oms.orders.words import moment, named
from oms.payments.coverage import due
from oms.runtime.clock import from_text, to_text
from oms.runtime.dynamo import Item

CUSTOMER, SYSTEM = "the customer", "the system"
_REMINDED = "its owner is reminded and has another day"
_OFFERED_AGAIN = "the task is offered to the floor again"
_ENGLISH = language("en")

_EFFECTS: Mapping[Effect, str] = {
    Effect.START_FULFILLMENT: "work on the order to begin",
    Effect.STOP_FULFILLMENT: "work on the order to stop",
    Effect.CANCEL_INTENT: "the open payment to be closed",
    Effect.REFUND: "refunds to be sent",
    Effect.READ_AUTHORIZATION: "the bank's word on how long it keeps money set aside",
    Effect.SECURE_AUTHORIZATION: "money set aside to be made sure of",
    Effect.SUBMIT_EVIDENCE: "the evidence to be handed in",
    Effect.CONFIRM_SHIPMENT: "the marketplace to be told of the parcel",
    Effect.VOID_LABEL: "labels to go back to the carrier",
    Effect.RELEASE_STOCK: "units to go back on sale",
    Effect.RETURN_CREDIT: "the return's worth to go back",
}


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that the order waits for. Times are RFC 3339 text, ``until`` empty where nothing ends it by itself."""

    on: str
    """hold, payment, stock, start, pick, pack, vendor, departure, pickup, delivery, trouble, answer, return, refund,
    invoice or system."""
    about: str
    """Which hold, parcel, SKU, return or refund."""
    what: str
    owner: str
    since: str
    until: str
    then: str
    """What happens by itself when nobody does anything."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What stands beside the order. ``supplies`` holds by SKU when missing units are expected, ``changed_at`` when the
    order last changed."""

    changed_at: str
    shipments: Sequence[Shipment] = ()
    troubles: Sequence[Item] = ()
    returns: Sequence[Return] = ()
    refunds: Sequence[Item] = ()
    notes: Sequence[Item] = ()
    supplies: Mapping[str, str] = field(default_factory=dict)


def facts_of(orders: DynamoOrders, inventory: DynamoInventory, order: Order) -> Facts:
    """Reads what stands beside an order."""
    latest = list(orders.table.query(order_key(order.order_id), "EVENT#", limit=1, newest_first=True))
    supplies = {}
    for sku in order.oversold if order.status in OPEN else ():
        dated = [each.expected_at for each in supplies_of(inventory, sku) if each.kind in COMING and each.expected_at]
        supplies[sku] = min(dated, default="")
    return Facts(
        changed_at=latest[0]["at"],
        shipments=DynamoShipments(orders.table).of(order.order_id),
        troubles=[item for item in orders.parts(order.order_id, "TROUBLE#") if "work_queue" in item],
        returns=[return_from_item(item) for item in orders.parts(order.order_id, "RETURN#")],
        refunds=orders.parts(order.order_id, "REFUND#"),
        notes=[item for item in orders.parts(order.order_id, "NOTE#") if "work_queue" in item],
        supplies=supplies,
    )


def waits(order: Order, facts: Facts) -> list[Wait]:
    """Everything that the order waits for, what stops it first."""
    return [
        *_holds(order),
        *_money_to_come(order),
        *_stock(order, facts),
        *_start(order, facts),
        *(wait for parcel in facts.shipments for wait in _parcel(order, parcel)),
        *_troubles(facts),
        *_questions(facts),
        *(wait for one in facts.returns for wait in _return(one)),
        *_refunds(order, facts),
        *_effects(order, facts),
    ]


def outlook(order: Order, facts: Facts, now: datetime) -> dict[str, Any]:
    """The answer to "why is it late?": one sentence, and the facts that it is made from."""
    found = waits(order, facts)
    promised, expected = _promised(order, facts), _expected(order, facts, now)
    late = bool(promised) and (expected or to_text(now)) > promised
    return {
        "order_id": order.order_id,
        "status": order.status.value,
        "sentence": _sentence(order, found, promised, expected, late),
        "promised_at": promised or None,
        "expected_at": expected or None,
        "late": late,
        "waits": [
            {
                "on": wait.on,
                "about": wait.about or None,
                "what": wait.what,
                "owner": wait.owner,
                "since": wait.since,
                "until": wait.until or None,
                "overdue": bool(wait.until) and wait.until <= to_text(now),
                "then": wait.then,
            }
            for wait in found
        ],
    }


def _sentence(order: Order, found: Sequence[Wait], promised: str, expected: str, late: bool) -> str:
    if not found:
        return {
            Status.CANCELLED: "The order was cancelled and waits for nothing.",
            Status.EXPIRED: "The order was not paid in time, has ended, and waits for nothing.",
        }.get(order.status, "The order waits for nothing: all of it has arrived or was settled.")
    first = found[0]
    until = f", who has until {moment(first.until)}" if first.until else ""
    told = f"The order has waited for {first.what} since {moment(first.since)}; it is the turn of {first.owner}{until}"
    told += f". If nothing is done, {first.then}." if first.then else "."
    if late:
        by = (
            f" and is now expected to leave by {moment(expected)}"
            if expected
            else " and nobody can say yet when it will"
        )
        told += f" It was promised to leave by {moment(promised)}{by}."
    return told


# ---- what it waits for -----------------------------------------------------------------------------------------------


def _holds(order: Order) -> Iterator[Wait]:
    for kind, hold in sorted(order.holds.items(), key=lambda each: each[1].since):
        what = f"somebody to release the {kind} hold ({hold.reason})"
        yield Wait("hold", kind, what, hold.owner, hold.since, hold.deadline, _REMINDED)


def _money_to_come(order: Order) -> Iterator[Wait]:
    if order.status is Status.PLACED:
        then = "the order ends and its units go back on sale"
        if order.payment.status == "processing":
            what, owner = "the bank to confirm the payment", "the customer's bank"
        else:
            what, owner = f"the payment of {_ENGLISH.money(due(order), order.currency)}", CUSTOMER
        yield Wait("payment", "", what, owner, order.placed_at, order.expires_at, then)
    if order.payment.credit:
        what = f"the invoice over {_ENGLISH.money(order.payment.credit, order.currency)} to be paid"
        then = "a payment hold and a case bring it before finance"
        yield Wait("invoice", "", what, CUSTOMER, order.placed_at, order.payment.due_at, then)


def _stock(order: Order, facts: Facts) -> Iterator[Wait]:
    if order.status not in OPEN or not order.oversold:
        return
    since = order.backordered_at or order.placed_at
    until = to_text(from_text(since) + BACKORDER_FOR) if order.backordered_at and not order.holds else ""
    then = "an inventory hold asks a person to decide" if until else "it goes on by itself as soon as stock comes"
    for sku, units in sorted(order.oversold.items()):
        coming = facts.supplies.get(sku, "")
        when = f", expected {moment(coming)}" if coming else ", of which nothing dated is on its way"
        yield Wait("stock", sku, f"{units} units of {sku}{when}", "inventory", since, until, then)


def _start(order: Order, facts: Facts) -> Iterator[Wait]:
    if order.status is Status.CONFIRMED and not order.holds:
        until = to_text(from_text(facts.changed_at) + (EFFECT if order.effects else FULFILLMENT))
        yield Wait("start", "", "work on it to begin", SYSTEM, facts.changed_at, until, "the sweep asks for it again")


def _parcel(order: Order, parcel: Shipment) -> Iterator[Wait]:
    number, floor = f"parcel {parcel.number}", f"the floor of {parcel.facility}"
    task = parcel.task
    since = task.offered_at if task else parcel.created_at or order.placed_at
    until = task.deadline if task and task.state == "open" else parcel.ship_by
    match parcel.status:
        case ShipmentStatus.PLANNED | ShipmentStatus.ALLOCATED if parcel.purchase and parcel.purchase.state == "asked":
            asked = parcel.purchase
            what, then = f"{parcel.facility} to answer whether it sends {number}", "it is planned elsewhere"
            yield Wait("vendor", str(parcel.number), what, parcel.facility, asked.asked_at, asked.deadline, then)
        case ShipmentStatus.PLANNED | ShipmentStatus.ALLOCATED | ShipmentStatus.PICKING:
            yield Wait("pick", str(parcel.number), f"{number} to be picked", floor, since, until, _OFFERED_AGAIN)
        case ShipmentStatus.SHORT:
            what = f"other units for {number}"
            yield Wait("stock", str(parcel.number), what, "inventory", since, "", "the order's next run looks for them")
        case ShipmentStatus.PICKED:
            yield Wait("pack", str(parcel.number), f"{number} to be packed", floor, since, until, _OFFERED_AGAIN)
        case ShipmentStatus.PACKED if parcel.waits_for_customer:
            what, then = f"{number} to be collected", "the order ends and the money goes back"
            yield Wait("pickup", str(parcel.number), what, CUSTOMER, parcel.ready_at, order.collect_by, then)
        case ShipmentStatus.PACKED:
            what, then = f"{number} to get its label and leave", "the workflow tries again"
            yield Wait("departure", str(parcel.number), what, SYSTEM, since, parcel.ship_by, then)
        case ShipmentStatus.SHIPPED:
            heard = max(parcel.shipped_at, parcel.tracking.at if parcel.tracking else "")
            carrier = parcel.label.carrier if parcel.label else "the carrier"
            silent = to_text(from_text(heard) + SILENT_AFTER)
            what, then = f"{number} to arrive", "a person looks for it once nobody has scanned it for a week"
            yield Wait("delivery", str(parcel.number), what, carrier, parcel.shipped_at, silent, then)


def _troubles(facts: Facts) -> Iterator[Wait]:
    for item in facts.troubles:
        number = item["shipment_id"].rpartition(".")[2]
        what = f"somebody to look after parcel {number} ({item['kind'].replace('_', ' ')})"
        yield Wait("trouble", number, what, item["owner"], item["since"], item["deadline"], _REMINDED)


def _questions(facts: Facts) -> Iterator[Wait]:
    for item in facts.notes:
        ours = item.get("question", False)
        what = "the customer to answer a question" if ours else "us to reply to the customer"
        owner = CUSTOMER if ours else item["owner"]
        then = "it stays in the work list, overdue"
        yield Wait("answer", item["sk"].removeprefix("NOTE#"), what, owner, item["at"], item["deadline"], then)


_RETURNS: Mapping[ReturnStatus, tuple[str, str, str]] = {
    ReturnStatus.REQUESTED: ("a decision about return {}", "customer service", _REMINDED),
    ReturnStatus.APPROVED: ("the customer to send return {}", CUSTOMER, "the return closes by itself"),
    ReturnStatus.IN_TRANSIT: ("return {} to arrive", "the carrier", "the return closes by itself"),
    ReturnStatus.RECEIVED: ("return {} to be inspected", "returns", _REMINDED),
}


def _return(one: Return) -> Iterator[Wait]:
    if one.status in _RETURNS:
        what, owner, then = _RETURNS[one.status]
        yield Wait("return", str(one.number), what.format(one.number), owner, one.requested_at, one.deadline, then)


def _refunds(order: Order, facts: Facts) -> Iterator[Wait]:
    for item in facts.refunds:
        amount = _ENGLISH.money(item["amount"], item["currency"])
        provider = named(item.get("provider", "stripe"))
        match item["status"]:
            case "requested":
                what, owner, then = f"{amount} to be sent back", SYSTEM, "the sweep asks for it again"
            case "sent":
                what, owner, then = f"{amount} to reach the customer", f"{provider} and the customer's bank", ""
            case "failed" | "by_hand":
                what, owner, then = f"{amount} to be given back by a person", "finance", "the payment hold stays"
            case _:
                continue
        yield Wait("refund", item["refund_id"], what, owner, item["requested_at"], "", then)


def _effects(order: Order, facts: Facts) -> Iterator[Wait]:
    until = to_text(from_text(facts.changed_at) + EFFECT)
    for effect in order.effects:
        # Work begins once nothing holds the order, and refunds are told one by one.
        if effect not in (Effect.START_FULFILLMENT, Effect.REFUND):
            then = "the sweep asks for it again"
            yield Wait("system", effect.value, _EFFECTS[effect], SYSTEM, facts.changed_at, until, then)


# ---- promised and expected -------------------------------------------------------------------------------------------


def _promised(order: Order, facts: Facts) -> str:
    """By when the last of it should leave, as the customer was told or the parcels were planned; empty when nobody said
    anything."""
    told = [each.expected_at for each in order.backordered if each.expected_at]
    planned = [each.ship_by for each in facts.shipments if each.status is not ShipmentStatus.CANCELLED and each.ship_by]
    return max([*told, *planned], default="")


def _expected(order: Order, facts: Facts, now: datetime) -> str:
    """When the last of it left or, as things stand, will; empty when nobody can say."""
    alive = [each for each in facts.shipments if each.status is not ShipmentStatus.CANCELLED]
    if not any(line.open for line in order.lines):
        return max((each.shipped_at for each in alive if each.status in LEFT), default="")
    if order.status not in OPEN:
        return ""
    dates = [hold.deadline for hold in order.holds.values()]
    dates += [facts.supplies.get(sku, "") for sku in order.oversold]
    dates += [each.ship_by for each in alive if each.open]
    if not dates or "" in dates or max(dates) <= to_text(now):
        return ""
    return max(dates)
