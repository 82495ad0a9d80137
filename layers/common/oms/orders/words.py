"""History in plain words: for each type of event the sentence that tells it to somebody on the phone.

A sentence is made from what the event itself holds, so it names no person but the staff who acted, and tells the same
for ever. A type that a later release invents is told by its name until it has words here; a test finds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from oms.messages.languages import language
from oms.orders import history
from oms.orders.model import Order
from oms.runtime.clock import from_text

_NAMES: Mapping[str, str] = {
    "stripe": "Stripe",
    "etsy": "Etsy",
    "ebay": "eBay",
    "shopify": "Shopify",
    "amazon": "Amazon",
    "webhook": "the partner shop",
    "web": "the web shop",
    "pos": "the till",
    "phone": "the phone",
    "system": "the system",
    "customer": "the customer",
}
_OVER: Mapping[str, str] = {"phone": "by phone", "pos": "over the counter"}
_ENGLISH = language("en")


def named(name: str) -> str:
    """How a channel, a provider or a part of ours is called in a sentence."""
    return _NAMES.get(name, name)


def who(actor: str) -> str:
    """An event's actor in words: ``staff:sam`` is sam."""
    kind, _, name = actor.partition(":")
    if kind == "carrier":
        return name or "the carrier"
    return named(name or kind)


def through(actor: str, order_channel: str) -> str:
    """By which way it came to us: an order's customer acts where they ordered."""
    kind, _, name = actor.partition(":")
    if kind == "customer":
        return order_channel
    return {"channel": name, "staff": "staff", "carrier": name or "carrier", "system": "automatic"}.get(kind, kind)


@dataclass(frozen=True, slots=True)
class Told:
    """An event and what is needed to put it into words. ``titles`` are the catalogue's, by SKU."""

    event: Mapping[str, Any]
    order: Order
    titles: Mapping[str, str] = field(default_factory=dict)
    carriers: Mapping[int, str] = field(default_factory=dict)
    """By parcel, the carrier with the tracking number, where there is a label."""

    @property
    def who(self) -> str:
        told = who(self.event["actor"])
        return begun(told) if told.startswith("the ") else told

    @property
    def why(self) -> str:
        return history.why(self.event) or "it was erased with the customer's data"

    def get(self, name: str) -> Any:
        """What the event holds under a name, or None."""
        return self.event["data"].get(name)

    def plain(self, name: str) -> str:
        """A code of the event as words; empty when it has none."""
        return str(self.get(name) or "").replace("_", " ")

    def money(self, name: str) -> str:
        """An amount of the event, written as people do; "an unknown amount" when the event has none."""
        minor = self.get(name)
        if minor is None:
            return "an unknown amount"
        return _ENGLISH.money(int(minor), self.get("currency") or self.order.currency)

    def moment(self, name: str) -> str:
        """A time of the event in words."""
        return moment(str(self.get(name) or ""))

    def parcel(self, *, by: bool = False) -> str:
        """Which parcel, and with ``by`` which carrier has it."""
        number = self.get("shipment")
        if not number:
            return "a parcel"
        carrier = self.carriers.get(int(number), "")
        return f"parcel {number}" + (f" by {carrier}" if by and carrier else "")

    @property
    def place(self) -> str:
        return f" at {self.get('facility')}" if self.get("facility") else ""

    def lines(self, name: str = "units") -> str:
        """Units by line or by SKU: "2 × Shirt, 1 × Mug"."""
        units: Mapping[str, int] = self.get(name) or {}
        parts = []
        for key, quantity in units.items():
            inside = key.isdigit() and 1 <= int(key) <= len(self.order.lines)
            sku = self.order.lines[int(key) - 1].sku if inside else key
            parts.append(f"{quantity} × {self.titles.get(sku, sku)}")
        return ", ".join(parts)


def begun(text: str) -> str:
    """The text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def moment(text: str) -> str:
    """A time in words; empty for none."""
    return _ENGLISH.moment(from_text(text), UTC) if text else ""


Maker = Callable[[Told], str]


def _placed(told: Told) -> str:
    if told.why.startswith("exchange for "):
        return f"The order was made as the exchange for return {told.why.rpartition('.')[2]} of another order."
    units = told.get("units")
    size = f"{units} unit{'' if units == 1 else 's'} for {told.money('total')}" if units else "the goods"
    number = f", as order {told.get('external_id')}" if told.get("external_id") else ""
    later: Mapping[str, Any] = told.get("backordered") or {}
    waits = ", ".join(f"{each['units']} × {told.titles.get(sku, sku)}" for sku, each in later.items())
    rest = f" {waits} had to be waited for." if waits else ""
    if told.event["actor"].startswith("staff:"):
        return f"{told.who} took an order of {size} {_OVER.get(told.order.channel, 'for the customer')}.{rest}"
    return f"{told.who} ordered {size} through {named(told.order.channel)}{number}.{rest}"


def _captured(told: Told) -> str:
    method = told.get("method")
    if method:
        return f"{told.who} took {told.money('amount')} by {str(method).replace('_', ' ')}."
    return f"{told.who} took {told.money('amount')} for the order."


def _cancelled_lines(told: Told) -> str:
    back = f"; {told.money('refund')} goes back" if told.get("refund") else ""
    return f"{told.who} cancelled {told.lines() or 'what had not left'}{back}. Reason: {told.why}."


def _credit(told: Told) -> str:
    if told.get("amount") is None:
        return f"{told.who} asked for the money to go back. Reason: {told.why}."
    kind = str(told.get("kind") or "refund")
    what = {"full": "in full", "amount": "as a sum", "lines": f"for {told.lines()}", "shipping": "for shipping"}
    reason = told.why.replace("_", " ")
    return f"{told.who} gave {told.money('amount')} back {what.get(kind, '')}. Reason: {reason}."


def _allocated(told: Told) -> str:
    parcels: Mapping[str, str] = told.get("shipments") or {}
    if not parcels:
        return "The system looked for the goods and found nothing that could leave yet."
    named_parcels = ", ".join(f"parcel {number} from {facility}" for number, facility in parcels.items())
    rest = " The rest waits for stock." if told.get("backordered") else ""
    return f"The system planned {named_parcels}.{rest}"


def _deadline(told: Told) -> str:
    holds = [str(hold) for hold in told.get("holds") or ()]
    if told.get("return"):
        return f"Return {told.get('return')} waited past its deadline; its owner was reminded."
    if holds:
        return f"The {' and '.join(holds)} hold waited past its deadline; its owner was reminded and has another day."
    effects = [str(effect).replace("_", " ") for effect in told.get("effects") or ()]
    if effects:
        return f"The system tried again what was due: {', '.join(effects)}."
    return "The system looked after the order, because nothing had happened for a while."


def _edited(told: Told) -> str:
    changes = []
    if told.get("lines"):
        changes.append(f"quantities to {told.lines('lines')}")
    if told.get("added"):
        changes.append(f"added {told.lines('added')}")
    if told.get("address"):
        changes.append("another address")
    money = ""
    if told.get("due"):
        money = f" {told.money('due')} more is to be paid."
    elif told.get("refund"):
        money = f" {told.money('refund')} goes back."
    return f"{told.who} changed the order: {'; '.join(changes) or 'nothing to see'}.{money}"


def _packed(told: Told) -> str:
    weight = f", {told.get('weight_grams')} g" if told.get("weight_grams") else ""
    return f"{told.who} packed {told.parcel()}{told.place}{weight}."


def _return_asked(told: Told) -> str:
    reasons = ", ".join(str(reason).replace("_", " ") for reason in told.get("reasons") or ())
    asked = "asked for" if told.get("status") == "requested" else "opened"
    return f"{told.who} {asked} return {told.get('return')} of {told.lines()}. Reason: {reasons or told.why}."


def _return_refunded(told: Told) -> str:
    missing = f" Missing: {told.lines('missing')}." if told.get("missing") else ""
    if not told.get("refund"):
        return f"{told.who} finished return {told.get('return')}: no money was owed for it.{missing}"
    return f"{told.who} finished return {told.get('return')}: {told.money('refund')} goes back.{missing}"


def _dispute(verb: str) -> Maker:
    def told_of(told: Told) -> str:
        reason = told.plain("reason")
        status = told.plain("status")
        return f"The customer's bank {verb} {told.money('amount')} ({reason or 'no reason given'}): {status}."

    return told_of


def _returned_to(word: str) -> Maker:
    def told_of(told: Told) -> str:
        return f"{told.who} {word} return {told.get('return')}. Reason: {told.why}."

    return told_of


def _paused(told: Told) -> str:
    error = str(told.get("error") or "")
    if error == "OrderHeld":
        return "Work on the order stopped, because a hold is on it."
    return f"Work on {told.parcel() if told.get('shipment') else 'the order'} failed ({error}); a person has to look."


SENTENCES: Mapping[str, Maker] = {
    # ---- placing and ending
    "OrderPlaced": _placed,
    "OrderCancelled": lambda told: f"{told.who} cancelled the order. Reason: {told.why}.",
    "OrderExpired": lambda told: "The order ended by itself, because it was not paid in time.",
    "CancelledAfterDispatch": lambda told: f"{told.who} cancelled the order after a parcel had left.",
    "LinesCancelled": _cancelled_lines,
    "OrderEdited": _edited,
    "AddressChanged": lambda told: (
        f"{told.who} changed the address (to {told.get('country')})"
        + ("; packed boxes are packed anew." if told.get("repacked") else ".")
    ),
    "RewardEarned": lambda told: f"The customer earned a reward: {told.get('coupon') or told.get('sku')} ({told.why}).",
    "RewardWithdrawn": lambda told: f"A reward that was not used was taken back ({told.why}).",
    "StockReleased": lambda told: "The units of the order went back on sale.",
    "PersonErased": lambda told: "The customer's name, address and words were erased, as they have the right to ask.",
    # ---- money
    "PaymentCaptured": _captured,
    "PaymentAuthorized": lambda told: f"{told.who} set {told.money('amount')} aside on the customer's card.",
    "PaymentFailed": lambda told: f"A payment failed ({told.plain('code') or 'no reason given'}).",
    "PaymentCancelled": lambda told: "The payment was called off; nothing was taken.",
    "PaymentMismatched": lambda told: f"{told.money('amount')} was paid, which is not what the order costs.",
    "PaymentProcessing": lambda told: "A payment is on its way; the bank has not confirmed it yet.",
    "PaymentLinkSent": lambda told: f"{told.who} had the customer sent a link to pay by.",
    "IntentClosed": lambda told: "The order's open payment was closed, so that it cannot be paid any more.",
    "AuthorizationRead": lambda told: (
        f"The bank keeps the money set aside until {told.moment('until') or 'it says otherwise'}."
    ),
    "AuthorizationLapses": lambda told: (
        f"The money set aside would be let go at {told.moment('until')}; the system takes it or renews it before."
    ),
    "AuthorizationSecured": lambda told: "The money set aside was made sure of.",
    "AuthorizationReleased": lambda told: "Money set aside on the customer's card was let go.",
    "CaptureRefused": lambda told: f"Stripe refused to take the money set aside ({told.why}); a payment hold is on it.",
    "InvoiceOverdue": lambda told: f"The invoice over {told.money('credit')} was not paid in time.",
    "CreditGranted": lambda told: f"{told.who} gave the customer an invoice over {told.money('amount')}.",
    "RefundRequested": _credit,
    "RefundSent": lambda told: f"{told.money('amount' if told.get('amount') else 'refund')} was sent back.",
    "RefundSucceeded": lambda told: (
        f"{told.money('amount')} reached the customer"
        + (f" by {told.plain('method')}, given by {told.who}." if told.get("method") else ".")
    ),
    "RefundFailed": lambda told: (
        f"Sending {told.money('amount')} back failed ({told.plain('code')}); it is still owed."
    ),
    "RefundRetried": lambda told: f"{told.who} had {told.money('amount')} sent back once more.",
    "RefundByHand": lambda told: (
        f"{told.money('amount')} has to be given back by a person: it was paid by {told.plain('provider')}."
    ),
    "RefundsCarriedOut": lambda told: "Every refund that was asked for has been sent.",
    "RefundFound": lambda told: f"{told.money('amount')} was sent back from Stripe's own dashboard.",
    "RefundWithdrawn": lambda told: f"{told.who} noted that {told.money('amount')} is not owed. Reason: {told.why}.",
    "DisputeOpened": _dispute("questions"),
    "DisputeUpdated": _dispute("looks into"),
    "DisputeClosed": _dispute("decided about"),
    "EvidenceConfirmed": lambda told: f"{told.who} approved the evidence for the dispute.",
    "EvidenceSubmitted": lambda told: f"The evidence for the dispute was handed in ({told.plain('outcome')}).",
    "FraudSuspected": lambda told: f"Stripe warns of fraud ({told.plain('reason')}).",
    "ReviewApproved": lambda told: "A review of the payment found nothing wrong; the fraud hold is off.",
    "ReviewClosed": lambda told: "A review of the payment was closed.",
    "ExchangeCancelled": lambda told: f"An exchange for this order ended; {told.money('refund')} goes back here.",
    "CreditReturned": lambda told: "What the returned goods were worth went back to the order they came from.",
    # ---- the floor
    "OrderAllocated": _allocated,
    "OversoldCovered": lambda told: f"Stock came for what was missing: {told.lines()}.",
    "StockAwaited": lambda told: f"The order waits for stock: {told.lines()}.",
    "StockMissing": lambda told: "No facility has what is still to be sent; an inventory hold is on the order.",
    "SplitRefused": lambda told: "The order would need more parcels than the rules allow; an inventory hold is on it.",
    "BackorderOverdue": lambda told: "What waits for stock has waited too long; a person has to decide.",
    "ParcelResourced": lambda told: f"{told.parcel()} leaves from elsewhere: {told.get('facility')} closed.",
    "PickingStarted": lambda told: f"{told.who} began to pick {told.parcel()}{told.place}.",
    "ShipmentPicked": lambda told: f"{told.who} picked {told.parcel()}{told.place}.",
    "ShipmentPacked": _packed,
    "PickShort": lambda told: (
        f"{told.who} did not find {told.get('units')} × {told.titles.get(str(told.get('sku')), told.get('sku'))} "
        f"for {told.parcel()}{told.place}. Reason: {told.why}."
    ),
    "ShipmentShipped": lambda told: f"{told.parcel(by=True)} left{told.place.replace(' at ', ' ')}.",
    "ShipmentReady": lambda told: f"{told.parcel()} waits to be collected{told.place} until {told.moment('until')}.",
    "PickupReminder": lambda told: f"The customer was reminded to collect {told.parcel()}{told.place}.",
    "ShipmentCollected": lambda told: (
        f"{told.who} handed {told.parcel()} over{told.place}, having seen the "
        f"{'collection code' if told.get('verified') == 'code' else told.get('verified') or 'customer'}."
    ),
    "PickupOverdue": lambda told: "Nobody collected the order in time; a person has to decide.",
    "PurchaseRequested": lambda told: f"{told.get('facility')} was asked to send {told.parcel()}.",
    "PurchaseConfirmed": lambda told: f"{told.get('facility')} will send {told.parcel()}.",
    "PurchaseReduced": lambda told: f"{told.get('facility')} is asked to send less of {told.parcel()}.",
    "PurchaseCancelled": lambda told: f"{told.get('facility')} is not asked for {told.parcel()} any more.",
    "PurchaseDeclined": lambda told: f"{told.get('facility')} will not send {told.parcel()}. Reason: {told.why}.",
    "ParcelUnpaid": lambda told: f"{told.parcel()} may not leave: {told.money('needed')} must be paid first.",
    "ParcelRefused": lambda told: f"The carrier refused {told.parcel()}; an address hold is on the order.",
    "LabelledByHand": lambda told: f"{told.who} put a label of {told.get('carrier')} on {told.parcel()}.",
    "LabelsVoided": lambda told: "Labels that no parcel will carry went back to the carrier.",
    "FulfillmentPaused": _paused,
    "FulfillmentRestarted": lambda told: f"Work on the order began anew, because {told.why}.",
    "FulfillmentStopped": lambda told: "Work on the order was stopped for good.",
    "ShipmentConfirmed": lambda told: f"{told.who} was told of every parcel.",
    "ConfirmationRefused": lambda told: f"{told.who} refused to be told of the parcel; a person has to look.",
    "ShipmentDelivered": lambda told: f"{told.parcel(by=True)} was delivered.",
    "ShipmentReturned": lambda told: f"{told.parcel(by=True)} could not be delivered and comes back.",
    "ParcelExceptionClosed": lambda told: f"{told.who} settled the trouble with {told.parcel()}. Reason: {told.why}.",
    # ---- people
    "OrderHeld": lambda told: (
        f"{told.who} put {with_article(str(told.get('hold')))} hold on the order, "
        f"for {told.get('owner')} to decide. Reason: {told.why}."
    ),
    "HoldReleased": lambda told: f"{told.who} took the {told.get('hold')} hold off. Reason: {told.why}.",
    "NoteAdded": lambda told: (
        f"{told.who} asked the customer something."
        if told.get("question")
        else f"{told.who} wrote down what the customer said."
        if told.get("by_customer") and told.event["actor"].startswith("staff:")
        else f"{told.who} wrote."
        if told.get("by_customer")
        else f"{told.who} kept a note."
    ),
    "DeadlinePassed": _deadline,
    # ---- returns
    "ReturnRequested": _return_asked,
    "ReturnApproved": _returned_to("approved"),
    "ReturnRejected": _returned_to("rejected"),
    "ReturnCancelled": _returned_to("cancelled"),
    "ReturnClosed": _returned_to("closed"),
    "ReturnSent": lambda told: f"Return {told.get('return')} is on its way to us.",
    "ReturnLabelled": lambda told: f"A label of {told.get('carrier')} was made for return {told.get('return')}.",
    "ReturnReceived": lambda told: f"{told.who} received return {told.get('return')}{told.place}.",
    "ReturnRefunded": _return_refunded,
    "ReturnExchanged": lambda told: f"{told.who} finished return {told.get('return')}: it is exchanged by a new order.",
}
"""For every type of event that this system writes."""


def sentence(told: Told) -> str:
    """The event in plain words."""
    maker = SENTENCES.get(told.event["type"])
    if maker is None:
        return f"{_spelled(told.event['type'])} ({who(told.event['actor'])})."
    words = _once(maker(told))
    return begun(words) if words.startswith(("a ", "an ", "parcel ")) else words


def _spelled(event_type: str) -> str:
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", event_type).lower()
    return begun(words)


def _once(text: str) -> str:
    """Reasons that people wrote with their own full stop end once."""
    return re.sub(r"([.!?])\.$", r"\1", text)


def with_article(word: str) -> str:
    """A hold's kind, say, with its article."""
    return f"{'an' if word[:1] in 'aeiou' else 'a'} {word}"
