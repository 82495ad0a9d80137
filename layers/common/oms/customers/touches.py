"""Which events of an order mean that a person had to touch it.

A touch is what a member of staff did to an order that would have gone through by itself had nothing been wrong with it.
The work that every order asks for is none: selling it by phone or at a counter, picking, packing and handing over,
taking a return in at the dock. What the customer did themselves is none either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

TOUCHES: Mapping[str, str] = {
    "AddressChanged": "the address was changed by us",
    "EvidenceConfirmed": "a dispute was answered",
    "HoldReleased": "a hold had to be released",
    "LabelledByHand": "a label was bought by hand",
    "LinesCancelled": "part of it was cancelled by us",
    "NoteAdded": "somebody had to talk about it",
    "OrderCancelled": "it was cancelled by us",
    "OrderEdited": "it was changed by us",
    "OrderHeld": "somebody stopped it",
    "ParcelExceptionClosed": "a parcel was in trouble",
    "PickShort": "a picker did not find the goods",
    "PurchaseDeclined": "a vendor would not send it",
    "RefundRequested": "an agent gave money back",
    "RefundRetried": "a refund had failed",
    "RefundSucceeded": "a refund was given by hand",
    "RefundWithdrawn": "a refund was withdrawn",
    "ReturnApproved": "a return had to be decided",
    "ReturnCancelled": "a return was cancelled by us",
    "ReturnClosed": "a return was closed by us",
    "ReturnRejected": "a return was rejected",
    "ReturnRequested": "a return was opened by us",
    "ReturnSent": "a return was noted as sent by us",
}
"""By type of event, the reason in words, when staff did it."""

ORDINARY: Mapping[str, str] = {
    "OrderPlaced": "selling by phone or at a counter",
    "PaymentCaptured": "taking the money there",
    "CreditGranted": "giving an invoice there",
    "PaymentLinkSent": "letting a caller pay",
    "PickingStarted": "the floor",
    "ShipmentPicked": "the floor",
    "ShipmentPacked": "the floor",
    "ShipmentCollected": "the counter",
    "PurchaseConfirmed": "a vendor who sends for us",
    "ReturnReceived": "the dock",
    "ReturnRefunded": "the dock",
    "ReturnExchanged": "the dock",
}
"""What staff do for orders with which nothing is wrong."""


def reasons(events: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Why an order was touched: types of event, those about holds with the kind, such as ``HoldReleased:fraud``."""
    found = set()
    for event in events:
        if event["type"] in TOUCHES and event["actor"].startswith("staff:"):
            kind = event["data"].get("hold")
            found.add(f"{event['type']}:{kind}" if kind else event["type"])
    return frozenset(found)


def in_words(reason: str) -> str:
    """A reason as the report tells it."""
    event_type, _, kind = reason.partition(":")
    words = TOUCHES.get(event_type, event_type)
    return f"{words} ({kind})" if kind else words
