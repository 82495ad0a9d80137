"""An order's whole story for whoever answers the phone: its proven history in plain words, and between the events what
is kept beside it: mails, carriers' sightings, notes, and the holds that last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from oms.fulfillment.shipments import DynamoShipments
from oms.inventory.store import DynamoInventory
from oms.messages.kinds import VENDOR_KINDS
from oms.orders import history
from oms.orders.model import Order
from oms.orders.store import DynamoOrders
from oms.orders.words import Told, begun, moment, named, sentence, through, who, with_article
from oms.runtime.dynamo import Item

_MAILS: Mapping[str, str] = {
    "confirmed": "that the order is confirmed",
    "payment_failed": "that the payment failed",
    "reward_earned": "word of a reward",
    "payment_link": "the link by which to pay",
    "expired": "that the order has expired",
    "lines_cancelled": "that part of the order was cancelled",
    "cancelled": "that the order was cancelled",
    "shipped": "that a parcel has left",
    "ready_for_pickup": "that the order can be collected",
    "pickup_reminder": "a reminder to collect the order",
    "refunded": "that money goes back",
    "return_approved": "that the return is approved",
    "return_label": "the label for the return",
    "question": "what we would like to know",
    "purchase_requested": "what to send",
    "purchase_reduced": "to send less",
    "purchase_cancelled": "not to send it",
}
_FATES: Mapping[str, str] = {
    "sent": "The customer was told {what}.",
    "sending": "The customer is being told {what}.",
    "waiting": "The customer is still to be told {what}: the mail could not leave yet.",
    "uncertain": "The customer may or may not have been told {what}: nobody knows whether the mail left.",
    "failed": "The customer could not be told {what}: the mail was refused.",
    "suppressed": "The customer was not told {what}: {reason}.",
    "bounced": "The customer was told {what}, but the mail came back.",
    "complained": "The customer was told {what}, and complained of the mail.",
}


def timeline_view(orders: DynamoOrders, inventory: DynamoInventory, order: Order, *, private: bool) -> dict[str, Any]:
    """The order's ``events`` as its chain of hashes proves them, and its ``story``: the same with everything that
    stands beside them, in the order of time. ``proven`` says whether the chain holds, ``broken`` where it does not. The
    words of notes are only for those who may see them (``private``)."""
    parts = {
        prefix: orders.parts(order.order_id, prefix)
        for prefix in ("EVENT#", "MAIL#", "VENDORMAIL#", "SIGHTING#", "NOTE#")
    }
    events = parts["EVENT#"]
    broken = None
    try:
        history.verify(events, order.head, order.version)
    except history.HistoryBroken as error:
        broken = str(error)
    titles = {sku: product.title for sku, product in inventory.products(_skus(order, events)).items()}
    carriers = {
        parcel.number: f"{parcel.label.carrier} {parcel.label.tracking_number}".strip()
        for parcel in DynamoShipments(orders.table).of(order.order_id)
        if parcel.label
    }
    sentences = {event["n"]: sentence(Told(event, order, titles, carriers)) for event in events}
    told = {int(note["sk"].removeprefix("NOTE#")): note for note in parts["NOTE#"]}
    story = [
        *(_event(event, order, sentences[event["n"]], told.get(event["n"]), private) for event in events),
        *(_mail(mail) for prefix in ("MAIL#", "VENDORMAIL#") for mail in parts[prefix]),
        *(_sighting(sighting, carriers) for sighting in parts["SIGHTING#"]),
        *_holds(order),
    ]
    # Of one moment, what happened comes before what followed from it.
    story.sort(key=lambda entry: (entry["at"], entry["kind"] != "event", entry["number"] or 0))
    return {
        "order_id": order.order_id,
        "status": order.status.value,
        "proven": broken is None,
        "broken": broken,
        "events": [
            {
                "number": event["n"],
                "at": event["at"],
                "what": event["type"],
                "who": event["actor"],
                "why": history.why(event),
                "data": event["data"],
                "sentence": sentences[event["n"]],
            }
            for event in events
        ],
        "story": story,
    }


def _skus(order: Order, events: list[Item]) -> list[str]:
    named_in = {line.sku for line in order.lines}
    for event in events:
        for name in ("units", "added"):
            units = event["data"].get(name)
            named_in |= {sku for sku in units if not sku.isdigit()} if isinstance(units, Mapping) else set()
        if event["data"].get("sku"):
            named_in.add(event["data"]["sku"])
    return sorted(named_in)


def _entry(kind: str, at: str, actor: str, channel: str, words: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "at": at,
        "number": more.get("number"),
        "what": more["what"],
        "who": actor,
        "through": channel,
        "why": more.get("why"),
        "sentence": words,
        "text": more.get("text"),
    }


def _event(event: Item, order: Order, words: str, note: Item | None, private: bool) -> dict[str, Any]:
    text = note.get("text") if note and private else None
    kind = "note" if note else "event"
    return _entry(
        kind,
        event["at"],
        event["actor"],
        through(event["actor"], order.channel),
        words,
        number=event["n"],
        what=event["type"],
        # What a person gave as the reason; of the rest the cause is a word of the machine's own.
        why=(history.why(event) or None) if "Reason: " in words else None,
        text=text,
    )


def _mail(mail: Item) -> dict[str, Any]:
    what = _MAILS.get(mail["kind"], f"about {mail['kind'].replace('_', ' ')}")
    fate = _FATES.get(mail["status"], "A mail to the customer ({what}) is " + mail["status"] + ".")
    if mail["kind"] in VENDOR_KINDS:
        fate = fate.replace("customer", "vendor")
    words = fate.format(what=what, reason=mail.get("reason") or "no reason was kept")
    if mail["copy"]:
        words = f"{begun(who(mail['actor']))} had it sent again: {words[:1].lower()}{words[1:]}"
    if mail.get("settled"):
        words += f" {begun(who(mail['settled_by']))} noted: {mail['settled'].replace('_', ' ')}."
    return _entry("mail", mail["at"], mail["actor"], "mail", words, what=mail["kind"], why=mail.get("reason"))


def _sighting(sighting: Item, carriers: Mapping[int, str]) -> dict[str, Any]:
    number = int(sighting["sk"].split("#")[1])
    carrier = carriers.get(number, "").partition(" ")[0] or "the carrier"
    status = sighting["status"].replace("_", " ")
    detail = f" ({sighting['detail'].replace('_', ' ')})" if sighting.get("detail") else ""
    words = f"{begun(carrier)} saw parcel {number}: {status}{detail}."
    return _entry(
        "sighting", sighting["at"], f"carrier:{carrier}", named(carrier), words, what=sighting["status"], why=None
    )


def _holds(order: Order) -> Iterator[dict[str, Any]]:
    for kind, hold in order.holds.items():
        words = (
            f"Since then {with_article(kind)} hold stops the order: {hold.reason}. "
            f"{begun(hold.owner.replace('_', ' '))} decides by {moment(hold.deadline)}."
        )
        yield _entry("hold", hold.since, "system", "automatic", words, what=kind, why=hold.reason)
