"""Which messages an order calls for: a rule over its history and its present state, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from oms.orders.model import Order, Status
from oms.orders.paying import CARD_LINK, unpayable
from oms.runtime.clock import from_text

MAIL_QUEUE = "mail"
"""In the index of work: mails that did not arrive, or may not have, by deadline."""
TOO_LATE = timedelta(days=3)
"""What happened longer ago is told only when it is asked for by name: nobody wants last month's confirmation."""
SECOND_THOUGHTS = timedelta(minutes=5)
"""How long somebody whose card was declined has to try another one before we remind them."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of message. ``required`` ones are owed to the customer whatever their preferences say."""

    name: str
    causes: tuple[str, ...]
    """The types of event that may call for it."""
    required: bool = False


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("confirmed", ("PaymentCaptured", "PaymentAuthorized", "HoldReleased", "OrderPlaced"), required=True),
        Kind("payment_failed", ("PaymentFailed",)),
        # Who orders by phone to pay by a link gets it with the order.
        Kind("payment_link", ("PaymentLinkSent", "OrderPlaced"), required=True),
        Kind("reward_earned", ("RewardEarned",)),
        Kind("expired", ("OrderExpired",)),
        Kind("lines_cancelled", ("LinesCancelled",), required=True),
        Kind("cancelled", ("OrderCancelled",), required=True),
        Kind("shipped", ("ShipmentShipped",)),
        Kind("ready_for_pickup", ("ShipmentReady",), required=True),
        Kind("pickup_reminder", ("PickupReminder",)),
        Kind("refunded", ("RefundSent",), required=True),
        # Whose return is approved when he asks for it has read so in the answer.
        Kind("return_approved", ("ReturnApproved",), required=True),
        Kind("return_label", ("ReturnLabelled",), required=True),
        Kind("question", ("NoteAdded",), required=True),
    )
}

CAUSES = frozenset(cause for kind in KINDS.values() for cause in kind.causes)

VENDOR_KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("purchase_requested", ("PurchaseRequested",), required=True),
        Kind("purchase_reduced", ("PurchaseReduced",), required=True),
        # A vendor who declines knows; one whose time ran out does not.
        Kind("purchase_cancelled", ("PurchaseCancelled", "PurchaseDeclined"), required=True),
    )
}
"""Messages to vendors who send for us."""
WITHDRAWALS = frozenset({"OrderCancelled", "LinesCancelled", "OrderEdited", "AddressChanged", "ParcelResourced"})
"""What may take units away from a vendor who was asked for them."""
VENDOR_CAUSES = WITHDRAWALS | {cause for kind in VENDOR_KINDS.values() for cause in kind.causes}

# Marketplaces write to their buyers themselves and forbid sellers to; they give us no address of theirs either.
CHANNELS_THAT_TELL = frozenset({"amazon", "ebay", "etsy", "shopify"})

_PAID = frozenset({Status.CONFIRMED, Status.IN_FULFILLMENT, Status.COMPLETED})


@dataclass(frozen=True, slots=True)
class Due:
    """One message that an order calls for. ``about`` tells messages of one kind apart: a parcel's number, say."""

    kind: str
    about: str
    number: int
    """Of the event that calls for it."""
    at: str
    data: Mapping[str, Any]


def due_messages(order: Order, events: Iterable[Mapping[str, Any]], now: datetime) -> Iterator[Due]:
    """What the customer should have been told by now, oldest cause first, one for each thing to tell."""
    if order.channel in CHANNELS_THAT_TELL:
        return
    given: set[tuple[str, str]] = set()
    for event in events:
        for kind in KINDS.values():
            about = _about(kind.name, order, event, now) if event["type"] in kind.causes else None
            if about is not None and (kind.name, about) not in given:
                given.add((kind.name, about))
                yield Due(kind.name, about, event["n"], event["at"], event["data"])


def _about(kind: str, order: Order, event: Mapping[str, Any], now: datetime) -> str | None:
    """What the message would be about, or None when this event calls for none as things stand."""
    match kind:
        case "confirmed":
            # An order of ours is placed unpaid; one that was paid elsewhere is confirmed from the first.
            early = event["type"] == "OrderPlaced" and event["data"].get("status") == "placed"
            other = event["type"] == "HoldReleased" and event["data"].get("hold") != "payment"
            return "order" if order.status in _PAID and not early and not other else None
        case "payment_failed":
            waited = now - from_text(event["at"]) >= SECOND_THOUGHTS
            return "order" if waited and order.status is Status.PLACED and order.payment.status == "failed" else None
        case "question":
            return str(event["n"]) if event["data"].get("question") else None
        case "payment_link":
            asked = event["type"] == "PaymentLinkSent" or event["data"].get("method") == CARD_LINK
            return str(event["n"]) if asked and not unpayable(order, now) else None
        case "expired":
            return "order" if order.status is Status.EXPIRED else None
        case "cancelled":
            return "order" if order.status is Status.CANCELLED else None
        case "ready_for_pickup" | "pickup_reminder":
            # Who has collected it, or whose order has ended, need not come.
            return (
                str(event["data"]["shipment"]) if order.collect_by and order.status is Status.IN_FULFILLMENT else None
            )
        case "shipped":
            return str(event["data"]["shipment"])
        case "return_approved" | "return_label":
            return str(event["data"]["return"])
        case _:
            return str(event["n"])
