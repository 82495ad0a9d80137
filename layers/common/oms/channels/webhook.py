"""The merchant's own storefront: one endpoint, signed messages both ways (Standard Webhooks), whole orders.

We POST ``{"type", "timestamp", "data"}`` to ``/oms`` of the storefront, which answers JSON:

* ``inventory.set`` ``{"quantities": [{"sku", "listing_id", "quantity", "version"}]}`` →
  ``{"results": [{"sku", "accepted", "quantity", "detail"?, "retryable"?}]}``. A storefront that keeps the versions
  drops what is older than what it has.
* ``inventory.read`` ``{"listings": [{"sku", "listing_id"}]}`` → ``{"quantities": [{"sku", "quantity"}]}``
* ``order.read`` ``{"order_id"}`` → ``{"order": {…} | null}``
* ``orders.read`` ``{"updated_since", "cursor"}`` → ``{"orders": […], "cursor": … | null}``, oldest change first
* ``order.shipped`` ``{"order_id", "shipment_id", "carrier", "carrier_name", "tracking_number", "shipped_at",
  "lines"}``: an empty list of lines means everything that has not left
* ``order.cancel`` ``{"order_id", "reason"}`` and ``order.refund`` ``{"order_id", "refunded_total", "reason"}``, whose
  total is that of all refunds: both may come again

The storefront POSTs ``order.created``, ``order.updated`` and ``order.cancelled`` to us in the same envelope, with the
whole order as ``data``. Amounts are integers in minor units, times RFC 3339.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from oms.channels import standard_webhooks
from oms.channels.http import HttpChannel
from oms.channels.port import (
    Callback,
    Capabilities,
    ChannelRefused,
    ChannelUnavailable,
    ExternalAddress,
    ExternalLine,
    ExternalOrder,
    Limits,
    ListingRef,
    Notice,
    Quantity,
    Reason,
    RowResult,
    ShippedParcel,
    SignatureInvalid,
)
from oms.channels.reading import bare, read_order, read_orders
from oms.runtime.clock import from_text, to_text

MAX_QUANTITY = 999_999_999
POLL_OVERLAP = timedelta(minutes=10)
_PATH = "/oms"
_BATCH = 100
_PAUSE_SECONDS = 1.0
_WHOSE = "a storefront's"
_KINDS = {
    "order.created": "order.created",
    "order.updated": "order.created",
    "order.cancelled": "order.cancelled",
}
_ORDER_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_CARRIERS = frozenset({"usps", "ups", "fedex", "dhl", "dhlexpress"})


@dataclass(frozen=True, slots=True)
class WebhookCredentials:
    """``signing_secret`` signs what we say; ``webhook_secrets`` are the storefront's, two while one is replaced."""

    signing_secret: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def parse(cls, secret: Mapping[str, Any]) -> WebhookCredentials:
        """From the secret's JSON; ``KeyError`` names what is missing."""
        return cls(str(secret["signing_secret"]), tuple(secret["webhook_secrets"]))


class WebhookChannel(HttpChannel[WebhookCredentials]):
    """Adapter for one storefront of the merchant's own."""

    name = "webhook"
    pause_seconds = _PAUSE_SECONDS
    _known = WebhookCredentials
    capabilities = Capabilities(cancels=True, refunds=True)
    limits = Limits(batch_size=_BATCH, max_quantity=MAX_QUANTITY, requests_per_second=10.0)

    def read_callback(self, callback: Callback, now: datetime) -> Sequence[Notice]:
        """Verify, then hand over the order that came along. One that cannot be read is left to be fetched."""
        event_id = standard_webhooks.verify(callback, self._credentials().webhook_secrets, now, whose=_WHOSE)
        try:
            message = json.loads(callback.body)
            kind, data = str(message["type"]), message["data"]
            order_id = data["id"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SignatureInvalid("the body is not a storefront's event") from error
        if kind not in _KINDS:
            return []
        if not isinstance(order_id, str) or not _ORDER_ID.fullmatch(order_id):
            raise SignatureInvalid("the event does not name an order")
        try:
            order = read_order(self.name, _order, data)
        except ChannelRefused:
            order = None
        return [Notice(_KINDS[kind], order_id, event_id, order)]

    def fetch_order(self, external_id: str) -> ExternalOrder | None:
        """The order as the storefront keeps it."""
        order = self._read(external_id)
        return None if order is None else read_order(self.name, _order, order)

    def orders_since(self, since: datetime) -> Iterator[ExternalOrder]:
        """Orders changed since then, less an overlap, as the storefront pages them."""
        asked = {"updated_since": to_text(since - POLL_OVERLAP)}
        cursor: str | None = None
        seen: set[str | None] = set()
        while cursor not in seen:
            seen.add(cursor)
            page = self._say("orders.read", {**asked, "cursor": cursor})
            yield from read_orders(self.name, _order, "id", page.get("orders") or [])
            cursor = page.get("cursor")
            if cursor is None:
                return
        raise ChannelUnavailable("the storefront's pages go round in a circle")

    def read_quantities(self, listings: Sequence[ListingRef]) -> Mapping[str, int]:
        """What the storefront shows, asked for in batches."""
        shown: dict[str, int] = {}
        for start in range(0, len(listings), _BATCH):
            asked = [{"sku": each.sku, "listing_id": each.listing_id} for each in listings[start : start + _BATCH]]
            answer = self._say("inventory.read", {"listings": asked})
            shown.update({str(each["sku"]): int(each["quantity"]) for each in answer.get("quantities") or []})
        wanted = {each.sku for each in listings}
        return {sku: quantity for sku, quantity in shown.items() if sku in wanted}

    def push_quantities(self, rows: Sequence[Quantity]) -> Sequence[RowResult]:
        """One message for all rows; each counts only if the answer says so of it."""
        if len(rows) > self.limits.batch_size:
            raise ValueError(f"at most {self.limits.batch_size} rows")
        if not rows:
            return []
        quantities = [
            {
                "sku": row.listing.sku,
                "listing_id": row.listing.listing_id,
                "quantity": min(max(0, row.quantity), MAX_QUANTITY),
                "version": row.version,
            }
            for row in rows
        ]
        answer = self._say("inventory.set", {"quantities": quantities})
        told = {str(each.get("sku")): each for each in answer.get("results") or []}
        return [_result(row, told.get(row.listing.sku)) for row in rows]

    def confirm_shipment(self, external_id: str, parcel: ShippedParcel) -> None:
        """Tell of the parcel unless the order shows it. The shipment's id and the message's follow from the parcel."""
        order = self._read(external_id)
        if order is None:
            raise ChannelRefused(f"the storefront knows no order {external_id}")
        cause = bare(parcel.tracking_number) or json.dumps(sorted(parcel.lines.items()))
        shipment_id = "ship_" + hashlib.sha256(f"{external_id}|{cause}".encode()).hexdigest()[:24]
        if any(each.get("shipment_id") == shipment_id for each in order.get("shipments") or []):
            return
        data = {
            "order_id": external_id,
            "shipment_id": shipment_id,
            "carrier": _carrier(parcel.carrier),
            "carrier_name": parcel.carrier,
            "tracking_number": parcel.tracking_number,
            "shipped_at": to_text(parcel.shipped_at),
            "lines": [{"id": line, "quantity": quantity} for line, quantity in parcel.lines.items()],
        }
        self._say("order.shipped", data, message_id=shipment_id)

    def cancel_order(self, external_id: str, reason: Reason) -> None:
        """The storefront gives the money back itself."""
        message_id = "cancel_" + hashlib.sha256(external_id.encode()).hexdigest()[:24]
        self._say("order.cancel", {"order_id": external_id, "reason": str(reason)}, message_id=message_id)

    def refund_up_to(self, external_id: str, total: int, reason: Reason) -> None:
        """Told as the sum of all refunds; the message's id follows from it."""
        message_id = "refund_" + hashlib.sha256(f"{external_id}|{total}".encode()).hexdigest()[:24]
        data = {"order_id": external_id, "refunded_total": total, "reason": str(reason)}
        self._say("order.refund", data, message_id=message_id)

    def _read(self, external_id: str) -> dict[str, Any] | None:
        if not _ORDER_ID.fullmatch(external_id):
            return None
        order = self._say("order.read", {"order_id": external_id}).get("order")
        return order if isinstance(order, dict) else None

    def _say(self, kind: str, data: Mapping[str, Any], message_id: str = "") -> dict[str, Any]:
        """One signed message and its answer. Its id follows from what it says and when, unless the cause gives one."""
        now = self._clock()
        secret = self._credentials().signing_secret

        def sign(body: bytes) -> Mapping[str, str]:
            told = message_id or "msg_" + hashlib.sha256(body).hexdigest()[:24]
            return standard_webhooks.sign(secret, told, now, body, whose=_WHOSE)

        payload = {"type": kind, "timestamp": to_text(now), "data": data}
        return self._api.document(self._api.send("POST", _PATH, payload=payload, sign=sign))


def _result(row: Quantity, told: Mapping[str, Any] | None) -> RowResult:
    sku = row.listing.sku
    if told is None:
        return RowResult(sku, False, 0, "the storefront's answer leaves this SKU out", retryable=True)
    quantity, detail = int(told.get("quantity") or 0), str(told.get("detail") or "")
    if told.get("accepted") is not True:
        return RowResult(sku, False, quantity, detail or "refused without a reason", bool(told.get("retryable")))
    return RowResult(sku, True, quantity, detail)


def _order(order: Mapping[str, Any]) -> ExternalOrder:
    buyer, address = order["buyer"], order["address"]
    lines = tuple(
        ExternalLine(
            external_line_id=str(line["id"]),
            sku=str(line["sku"]),
            title=str(line.get("title") or ""),
            quantity=_whole(line["quantity"]),
            unit_price=_whole(line["unit_price"]),
        )
        for line in order["lines"]
    )
    return ExternalOrder(
        external_id=str(order["id"]),
        buyer_id=str(buyer.get("id") or order["id"]),
        buyer_name=buyer.get("name") or "",
        buyer_email=buyer.get("email") or None,
        address=ExternalAddress(
            name=address.get("name") or buyer.get("name") or "",
            line1=address.get("line1") or "",
            line2=address.get("line2") or "",
            city=address.get("city") or "",
            region=address.get("region") or "",
            postal_code=address.get("postal_code") or "",
            country=str(address["country"]),
        ),
        lines=lines,
        currency=str(order["currency"]),
        items_total=sum(line.unit_price * line.quantity for line in lines),
        shipping_total=_whole(order.get("shipping", 0)),
        tax_total=_whole(order.get("tax", 0)),
        discount_total=_whole(order.get("discount", 0)),
        grand_total=_whole(order["total"]),
        paid=order["paid"] is True,
        cancelled=order["cancelled"] is True,
        placed_at=_moment(order["placed_at"]),
        updated_at=_moment(order["updated_at"]),
        refunded_total=_whole(order.get("refunded", 0)),
    )


def _whole(value: Any) -> int:
    """An amount or a number of units: a whole number that is not below zero, and never a float."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("an amount is not a whole number")
    return value


def _moment(text: str) -> datetime:
    moment = from_text(text)
    if moment.tzinfo is None:
        raise ValueError("a time has no offset")
    return moment.astimezone(UTC)


def _carrier(name: str) -> str:
    carrier = bare(name).lower()
    return carrier if carrier in _CARRIERS else "other"
