"""From an order to a mail: the figures in the customer's words, then the templates of the language.

A message has two templates: ``<language>/<kind>.txt``, which also holds the subject, and ``<language>/<kind>.html``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from oms.fulfillment.shipments import Shipment
from oms.messages.kinds import Due
from oms.messages.languages import Language, language
from oms.orders.model import Order
from oms.runtime.clock import from_text

if TYPE_CHECKING:
    from jinja2 import Environment

    from oms.orders.returning import Return

_BLANK_LINES = re.compile(r"\n[ \n]*\n\n|\n( *\n){2,}")
_TEMPLATES = Path(__file__).parent / "templates"
_TRACKING: Mapping[str, str] = {
    "usps": "https://tools.usps.com/go/TrackConfirmAction?tLabels={}",
    "ups": "https://www.ups.com/track?tracknum={}",
    "fedex": "https://www.fedex.com/fedextrack/?trknbr={}",
    "dhl": "https://www.dhl.com/en/express/tracking.html?AWB={}",
    "dhlexpress": "https://www.dhl.com/en/express/tracking.html?AWB={}",
}


@dataclass(frozen=True, slots=True)
class Merchant:
    """Who writes. ``order_url`` may hold ``{order_id}``, ``pay_url`` the order's ``{token}`` as well; ``zone`` is the
    name of the shop's time zone."""

    name: str
    colour: str = "#1f4f8b"
    logo_url: str = ""
    reply_to: str = ""
    order_url: str = ""
    pay_url: str = ""
    zone: str = "UTC"
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Collection:
    """Where a parcel waits, and the code with which it is collected."""

    code: str
    place: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message ready to be sent."""

    subject: str
    text: str
    html: str


def render(
    due: Due,
    order: Order,
    merchant: Merchant,
    titles: Mapping[str, str],
    shipment: Shipment | None = None,
    coming: Return | None = None,
    collection: Collection | None = None,
    token: str = "",
    question: str = "",
) -> Rendered:
    """The message as it stands now. ``titles`` are the catalogue's, by SKU; ``shipment`` is the parcel that it is
    about, ``coming`` the return, ``collection`` where the parcel waits, ``token`` what opens the order, and
    ``question`` what an agent asks."""
    speaks = language(merchant.language)
    facts = _facts(due, order, merchant, titles, shipment, coming, collection, token, speaks)
    facts["question"] = question
    return _rendered(due.kind, facts, speaks)


def render_purchase(
    due: Due, order: Order, merchant: Merchant, titles: Mapping[str, str], shipment: Shipment, until: str
) -> Rendered:
    """A message to the vendor who was asked for this parcel: what to send, where to, and by when to answer (``until``),
    or what not to send any more. Of the customer it says nothing else."""
    speaks = language(merchant.language)
    asked = due.kind == "purchase_requested"

    def rows(units: Mapping[str, int]) -> list[dict[str, Any]]:
        named = [(sku, int(quantity)) for sku, quantity in sorted(units.items()) if quantity]
        return [{"title": titles.get(sku, sku), "sku": sku, "quantity": units, "amount": ""} for sku, units in named]

    facts = {
        "language": speaks.code,
        "merchant": merchant,
        "purchase": {
            "number": f"{order_number(order)}-{shipment.number}",
            "id": shipment.shipment_id,
            "until": speaks.moment(from_text(until), _zone(merchant.zone)) if until else "",
        },
        "lines": rows(shipment.required if asked else due.data.get("units", shipment.required)),
        "left": rows(due.data.get("left", {})),
        "address": _address(order.address) if asked else [],
    }
    return _rendered(due.kind, facts, speaks)


def _rendered(kind: str, facts: dict[str, Any], speaks: Language) -> Rendered:
    text = _environment("text").get_template(f"{speaks.code}/{kind}.txt")
    subject = " ".join("".join(text.blocks["subject"](text.new_context(facts))).split())
    html = _environment("html").get_template(f"{speaks.code}/{kind}.html").render(facts, subject=subject)
    return Rendered(subject, _BLANK_LINES.sub("\n\n", text.render(facts)).strip() + "\n", html)


@cache
def _environment(kind: str) -> Environment:
    """Templates of plain text or of pages: a page escapes whatever a person wrote, text has nothing to escape."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=kind == "html",  # noqa: S701 - every page is
        undefined=StrictUndefined,
        trim_blocks=kind == "html",
        lstrip_blocks=True,
        auto_reload=False,
    )


def _facts(
    due: Due,
    order: Order,
    merchant: Merchant,
    titles: Mapping[str, str],
    shipment: Shipment | None,
    coming: Return | None,
    collection: Collection | None,
    token: str,
    speaks: Language,
) -> dict[str, Any]:
    zone = _zone(merchant.zone)

    def money(minor: int) -> str:
        return speaks.money(minor, order.currency)

    def moment(text: str) -> str:
        return speaks.moment(from_text(text), zone)

    totals = order.totals
    given_back = order.payment.refunded + order.payment.refund_due
    owed_back = {"refunded": due.data.get("amount"), "lines_cancelled": due.data.get("refund")}.get(
        due.kind, given_back
    )
    return {
        "language": speaks.code,
        "merchant": merchant,
        "customer": {"name": order.customer.get("name", "")},
        "order": {
            "number": order_number(order),
            "url": merchant.order_url.replace("{order_id}", order.order_id).replace("{token}", token),
            "pay_url": merchant.pay_url.replace("{order_id}", order.order_id).replace("{token}", token),
            "placed_at": moment(order.placed_at),
            "expires_at": moment(order.expires_at),
        },
        "lines": list(_lines(due, order, titles, shipment, coming, money)),
        "totals": {
            "goods": money(totals.items),
            "shipping": money(totals.shipping),
            "tax": money(totals.tax) if totals.tax else "",
            "discount": money(-totals.discount) if totals.discount else "",
            "total": money(totals.total),
        },
        "address": _address(order.address),
        "parcel": _parcel(order, shipment),
        "back": {"by": moment(coming.deadline) if coming else "", "label": coming.label if coming else None},
        "collection": {
            "code": collection.code if collection else "",
            "place": list(collection.place) if collection else [],
            "until": moment(order.collect_by) if order.collect_by else "",
        },
        "reward": _reward(due.data, titles, money),
        "refund": money(owed_back) if owed_back else "",
        "paid": money(order.payment.captured),
        "given_back": money(order.payment.refunded),
    }


def order_number(order: Order) -> str:
    """What a customer calls the order."""
    return order.external_id or order.order_id[:8].upper()


def _lines(
    due: Due,
    order: Order,
    titles: Mapping[str, str],
    shipment: Shipment | None,
    coming: Return | None,
    money: Any,
) -> Any:
    if coming is not None:
        for each in coming.lines:
            sku = order.lines[each.line - 1].sku
            yield {"title": titles.get(sku, sku), "sku": sku, "quantity": each.quantity, "amount": ""}
        return
    if shipment is not None:
        for unit in shipment.units:
            yield {"title": titles.get(unit.sku, unit.sku), "sku": unit.sku, "quantity": unit.quantity, "amount": ""}
        return
    cancelled = due.data.get("units", {}) if due.kind == "lines_cancelled" else None
    for line in order.lines:
        whole = line.quantity if due.kind in ("cancelled", "expired") else line.quantity - line.cancelled
        quantity = whole if cancelled is None else int(cancelled.get(str(line.number), 0))
        if quantity:
            yield {
                "title": titles.get(line.sku, line.sku),
                "sku": line.sku,
                "quantity": quantity,
                "amount": money(quantity * line.unit_price),
            }


def _parcel(order: Order, shipment: Shipment | None) -> dict[str, Any]:
    if shipment is None:
        return {"last": True, "carrier": "", "tracking_number": "", "url": ""}
    label = shipment.label
    number = label.tracking_number if label else ""
    carrier = label.carrier if label else ""
    pattern = _TRACKING.get(carrier.lower().replace(" ", ""), "")
    return {
        "last": not any(line.open for line in order.lines),
        "carrier": carrier,
        "tracking_number": number,
        "url": pattern.format(quote(number)) if pattern and number else "",
    }


def _reward(data: Mapping[str, Any], titles: Mapping[str, str], money: Any) -> dict[str, Any]:
    """What somebody earned, as far as the message is about that."""
    worth = {"percent": f"{data.get('percent')}%", "amount": money(data.get("amount") or 0), "shipping": "the shipping"}
    sku = data.get("sku", "")
    return {
        "code": data.get("coupon", ""),
        "worth": worth.get(data.get("takes_off", ""), ""),
        "days": data.get("days", 0),
        "gift": titles.get(sku, sku),
    }


def _address(address: Mapping[str, str]) -> list[str]:
    town = " ".join(filter(None, (address.get("city"), address.get("region"), address.get("postal_code"))))
    rows = (address.get("name"), address.get("line1"), address.get("line2"), town, address.get("country"))
    return [row for row in rows if row]


def _zone(name: str) -> tzinfo:
    """The shop's zone; UTC where the machine does not know it."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
