"""Amazon (Selling Partner API): a quantity that is accepted is not yet applied, and news come by queue, not by call."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from oms.channels.amounts import minor_from_text
from oms.channels.http import HttpChannel
from oms.channels.port import (
    Callback,
    Capabilities,
    ChannelRefused,
    ChannelThrottled,
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
    promised_day,
)
from oms.channels.reading import bare, read_order, read_orders
from oms.runtime.clock import Clock, from_text, to_text, utc_now
from oms.runtime.outbound import HttpResponse, Transport

MAX_QUANTITY = 99_999_999
POLL_OVERLAP = timedelta(minutes=15)
"""Wide, since a search shows nothing of the last two minutes and is allowed every three."""
_BATCH = 5
"""What may be asked of the listings at once before their rate counts."""
_PAGE = 100
_ITEMS = "/listings/2021-08-01/items"
_ORDERS = "/orders/2026-01-01/orders"
_RATES = {
    "getListingsItem": 5.0,
    "patchListingsItem": 5.0,
    "searchOrders": 0.0056,
    "getOrder": 0.5,
    "confirmShipment": 2.0,
}
"""Calls a second as published; what an answer says of its operation replaces them."""

_ORDER_PARTS = "BUYER,RECIPIENT,PROCEEDS,FULFILLMENT"
_ORDER_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_PENDING = frozenset({"PENDING_AVAILABILITY", "PENDING"})
_KINDS = {"Canceled": "order.cancelled", "Shipped": "order.shipped", "PartiallyShipped": "order.shipped"}
_CARRIERS = {"usps": "USPS", "ups": "UPS", "fedex": "FedEx", "dhl": "DHL", "dhlexpress": "DHL"}


@dataclass(frozen=True, slots=True)
class AmazonCredentials:
    """``access_token`` is Login with Amazon's, which lasts an hour: whoever keeps the secret renews it."""

    access_token: str = field(repr=False)
    seller_id: str
    marketplace_id: str

    @classmethod
    def parse(cls, secret: Mapping[str, Any]) -> AmazonCredentials:
        """From the secret's JSON; ``KeyError`` names what is missing."""
        return cls(str(secret["access_token"]), str(secret["seller_id"]), str(secret["marketplace_id"]))


def parse_notification(body: str | bytes, seller_id: str = "") -> Notice | None:
    """What a message of Amazon's queue says, or None when it concerns nothing that we ship.

    Such messages carry no signature: the queue's policy is what proves the sender, so this must never be given
    what came in over HTTP. EventBridge puts the same message into an envelope. Raises ``ValueError`` when it
    cannot be read, which leaves it to the queue's retries. With ``seller_id`` another seller's are left alone.
    """
    try:
        message = json.loads(body)
        message = message.get("detail", message)
        kind = message.get("NotificationType") or message.get("notificationType")
        if kind != "ORDER_CHANGE":
            return None
        payload = message.get("Payload") or message["payload"]
        change = payload.get("OrderChangeNotification") or payload["orderChangeNotification"]
        summary = change["Summary"]
        order_id, event_id = str(change["AmazonOrderId"]), str(message["NotificationMetadata"]["NotificationId"])
        seller, status = str(change.get("SellerId") or ""), str(summary.get("OrderStatus") or "")
        shipped_by = str(summary.get("FulfillmentType") or "")
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("the message is no notification of Amazon's") from error
    if not _ORDER_ID.fullmatch(order_id):
        raise ValueError("the notification does not name an order")
    if shipped_by == "AFN" or (seller_id and seller != seller_id):
        return None
    return Notice(_KINDS.get(status, "order.created"), order_id, event_id)


class AmazonChannel(HttpChannel[AmazonCredentials]):
    """Adapter for one seller in one marketplace. One serves a process: it learns the rates that answers tell."""

    name = "amazon"
    pause_seconds = 1.0
    _known = AmazonCredentials
    capabilities = Capabilities()
    limits = Limits(
        batch_size=_BATCH,
        max_quantity=MAX_QUANTITY,
        requests_per_second=10.0,
        calls_per_batch=0,
        calls_per_row=3,
        orders_lag=timedelta(minutes=2),
    )
    """Reads and patches have five calls a second each."""

    def __init__(
        self, base_url: str, credentials: Callable[[], AmazonCredentials], transport: Transport, clock: Clock = utc_now
    ) -> None:
        super().__init__(base_url, credentials, transport, clock)
        self._rates = dict(_RATES)

    def read_callback(self, callback: Callback, now: datetime) -> Sequence[Notice]:
        """Believes nobody: Amazon's notifications come by SQS or EventBridge (``parse_notification``)."""
        raise SignatureInvalid("Amazon does not call: its notifications come by queue")

    def fetch_order(self, external_id: str) -> ExternalOrder | None:
        """The order by Amazon's order id."""
        order = self._order(external_id, _ORDER_PARTS)
        return None if order is None else read_order(self.name, _order, order)

    def orders_since(self, since: datetime) -> Iterator[ExternalOrder]:
        """Orders changed since then, less an overlap. All pages are read first: Amazon promises no order of them."""
        moment = to_text(since - POLL_OVERLAP)
        marketplace = self._credentials().marketplace_id
        query: dict[str, str | int] = {
            "lastUpdatedAfter": moment,
            "marketplaceIds": marketplace,
            "fulfilledBy": "MERCHANT",
            "maxResultsPerPage": _PAGE,
            "includedData": _ORDER_PARTS,
        }
        found: dict[str, dict[str, Any]] = {}
        while True:
            page = self._api.document(self._call("searchOrders", "GET", _ORDERS, query=query))
            for order in page.get("orders") or []:
                found[str(order.get("orderId"))] = order
            token = (page.get("pagination") or {}).get("nextToken")
            if not token:
                break
            query["paginationToken"] = token
        by_change = sorted(found.values(), key=lambda order: str(order.get("lastUpdatedTime")))
        yield from read_orders(self.name, _order, "orderId", by_change)

    def read_quantities(self, listings: Sequence[ListingRef]) -> Mapping[str, int]:
        """What is applied for our own fulfilment; listings that only Amazon fulfils are not ours, and absent."""
        shown: dict[str, int] = {}
        for each in listings:
            quantity = self._shown(each)
            if quantity is not None:
                shown[each.sku] = quantity
        return shown

    def push_quantities(self, rows: Sequence[Quantity]) -> Sequence[RowResult]:
        """Patch each listing, and look whether it took effect.

        ``ACCEPTED`` means that Amazon will try. Until the listing shows the number the row comes back retryable;
        the next push says the same again, which changes nothing, and finds it applied. When Amazon stops answering
        midway the rows already done keep their result; it raises only if none is done.
        """
        if len(rows) > self.limits.batch_size:
            raise ValueError(f"at most {self.limits.batch_size} rows")
        results: list[RowResult] = []
        failure: ChannelUnavailable | None = None
        for row in rows:
            if failure is None:
                try:
                    results.append(self._push(row))
                    continue
                except ChannelRefused as error:
                    results.append(RowResult(row.listing.sku, False, 0, str(error)))
                    continue
                except ChannelUnavailable as error:
                    failure = error
            results.append(RowResult(row.listing.sku, False, 0, str(failure), retryable=True))
        if failure is not None and all(result.retryable for result in results):
            raise failure
        return results

    def confirm_shipment(self, external_id: str, parcel: ShippedParcel) -> None:
        """Confirm the parcel unless Amazon shows it. Without lines it holds everything that has not left.

        The package's number follows from the parcel: should Amazon be slow to show it, a repeat means the same
        package and not another one.
        """
        order = self._order(external_id, "FULFILLMENT,PACKAGES")
        if order is None:
            raise ChannelRefused(f"amazon knows no order {external_id}")
        tracking = bare(parcel.tracking_number)
        reference = _reference(tracking or json.dumps(sorted(parcel.lines.items())))
        for package in order.get("packages") or []:
            told = bare(str(package.get("trackingNumber") or ""))
            if package.get("packageReferenceId") == reference or (tracking and told == tracking):
                return
        lines = dict(parcel.lines) or _unshipped(order)
        if not lines:
            return
        detail = {
            "packageReferenceId": reference,
            **_carrier(parcel.carrier),
            "trackingNumber": parcel.tracking_number,
            "shipDate": to_text(parcel.shipped_at),
            "orderItems": [{"orderItemId": item, "quantity": quantity} for item, quantity in lines.items()],
        }
        payload = {"marketplaceId": self._credentials().marketplace_id, "packageDetail": detail}
        path = f"/orders/v0/orders/{external_id}/shipmentConfirmation"
        self._call("confirmShipment", "POST", path, payload=payload)

    def cancel_order(self, external_id: str, reason: Reason) -> None:
        """Amazon's API has no way to cancel: it is done in Seller Central, and ends here too."""
        raise ChannelRefused("amazon has no way to cancel an order")

    def refund_up_to(self, external_id: str, total: int, reason: Reason) -> None:
        """Amazon's API has no way to give money back."""
        raise ChannelRefused("amazon has no way to refund an order")

    def _headers(self) -> Mapping[str, str]:
        return {"x-amz-access-token": self._credentials().access_token, "user-agent": "oms/1 (Language=Python)"}

    def _call(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        payload: Any = None,
        also: Sequence[int] = (),
    ) -> HttpResponse:
        """Call, and learn the rate that this seller has: it is what tells how long to wait after a 429."""
        response = self._api.send(method, path, query=query, payload=payload, also=(403, 429, *also))
        told = response.headers.get("x-amzn-ratelimit-limit", "")
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,20})?", told) and float(told) > 0:
            self._rates[operation] = float(told)
        if response.status == 429:
            pause = round(1 / self._rates[operation], 3)
            raise ChannelThrottled(f"amazon's quota of {operation} is used up", pause)
        if response.status == 403:
            # An access token that lapsed is answered like a missing permission, and the next one may do.
            raise ChannelUnavailable(f"amazon denied access to {operation}")
        return response

    def _order(self, external_id: str, parts: str) -> dict[str, Any] | None:
        if not _ORDER_ID.fullmatch(external_id):
            return None
        query = {"includedData": parts}
        response = self._call("getOrder", "GET", f"{_ORDERS}/{external_id}", query=query, also=(400, 404))
        if response.status in (400, 404):
            return None
        order = self._api.document(response).get("order")
        if not isinstance(order, dict):
            raise ChannelUnavailable("amazon answered without the order")
        return order

    def _item(self, listing: ListingRef) -> str:
        """The listing's path. Amazon knows it by the seller's own SKU, which may differ from ours."""
        sku = quote(listing.listing_id or listing.sku, safe="")
        return f"{_ITEMS}/{quote(self._credentials().seller_id, safe='')}/{sku}"

    def _shown(self, listing: ListingRef) -> int | None:
        query = {"marketplaceIds": self._credentials().marketplace_id, "includedData": "fulfillmentAvailability"}
        response = self._call("getListingsItem", "GET", self._item(listing), query=query, also=(404,))
        if response.status == 404:
            return None
        for each in self._api.document(response).get("fulfillmentAvailability") or []:
            if each.get("fulfillmentChannelCode") == "DEFAULT":
                return int(each.get("quantity") or 0)
        return None

    def _push(self, row: Quantity) -> RowResult:
        sku, quantity = row.listing.sku, min(max(0, row.quantity), MAX_QUANTITY)
        # A merge leaves what Amazon itself fulfils of this listing alone.
        value = [{"fulfillment_channel_code": "DEFAULT", "quantity": quantity}]
        patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": value}
        payload = {"productType": "PRODUCT", "patches": [patch]}
        query = {"marketplaceIds": self._credentials().marketplace_id}
        response = self._call("patchListingsItem", "PATCH", self._item(row.listing), query=query, payload=payload)
        answer = self._api.document(response)
        if answer.get("status") != "ACCEPTED":
            return RowResult(sku, False, 0, _issues(answer) or f"amazon says {answer.get('status')}")
        shown = self._shown(row.listing)
        if shown == quantity:
            return RowResult(sku, True, quantity)
        return RowResult(sku, False, shown or 0, "amazon accepted it and has not applied it yet", retryable=True)


def _issues(answer: Mapping[str, Any]) -> str:
    wrong = [each for each in answer.get("issues") or [] if each.get("severity") == "ERROR"]
    return "; ".join(f"{each.get('code')} {each.get('message')}" for each in wrong)[:200]


def _unshipped(order: Mapping[str, Any]) -> dict[str, int]:
    left = {
        str(item["orderItemId"]): int((item.get("fulfillment") or {}).get("quantityUnfulfilled") or 0)
        for item in order["orderItems"]
    }
    return {item: quantity for item, quantity in left.items() if quantity > 0}


def _reference(cause: str) -> str:
    """A positive number, as Amazon wants packages numbered."""
    return str(int.from_bytes(hashlib.sha256(cause.encode()).digest()[:4], "big") or 1)


def _carrier(name: str) -> dict[str, str]:
    code = _CARRIERS.get(bare(name).lower())
    return {"carrierCode": code} if code else {"carrierCode": "Other", "carrierName": name or "Other"}


def _order(order: Mapping[str, Any]) -> ExternalOrder:
    status = str(order["fulfillment"]["fulfillmentStatus"])
    pending = status in _PENDING
    proceeds = order.get("proceeds") or {}
    items = [item for item in order["orderItems"] if int(item["quantityOrdered"]) > 0]
    if pending and "grandTotal" not in proceeds:
        # Before it is paid an order may hide its amounts; nobody ships or books it yet.
        currency, grand_total = "XXX", 0
    else:
        currency = str(proceeds["grandTotal"]["currencyCode"])
        grand_total = _minor(proceeds["grandTotal"], currency)

    def total(kind: str) -> int:
        parts = [each for each in proceeds.get("breakdowns") or [] if each["type"] == kind]
        return sum(_minor(each["subtotal"], currency) for each in parts)

    buyer = order.get("buyer") or {}
    where = (order.get("recipient") or {}).get("deliveryAddress") or {}
    name = where.get("name") or buyer.get("buyerName") or ""
    latest = (order["fulfillment"].get("deliverByWindow") or {}).get("latestDateTime")
    further = [where.get("addressLine2") or "", where.get("addressLine3") or ""]
    return ExternalOrder(
        external_id=str(order["orderId"]),
        # Amazon names no buyer: only the address that it made for this buyer and seller tells two apart.
        buyer_id=str(buyer.get("buyerEmail") or order["orderId"]),
        buyer_name=buyer.get("buyerName") or name,
        buyer_email=buyer.get("buyerEmail") or None,
        address=ExternalAddress(
            name=name,
            line1=where.get("addressLine1") or "",
            line2=", ".join(each for each in further if each),
            city=where.get("city") or "",
            region=where.get("stateOrRegion") or "",
            postal_code=where.get("postalCode") or "",
            country=where.get("countryCode") or "",
        ),
        lines=tuple(
            ExternalLine(
                external_line_id=str(item["orderItemId"]),
                sku=item["product"].get("sellerSku") or "",
                title=item["product"].get("title") or "",
                quantity=int(item["quantityOrdered"]),
                unit_price=_unit_price(item, currency),
            )
            for item in items
        ),
        currency=currency,
        items_total=total("ITEM"),
        shipping_total=total("SHIPPING"),
        tax_total=total("TAX"),
        discount_total=abs(total("DISCOUNT")),
        grand_total=grand_total,
        # A pending order holds Amazon's stock and must not ship; what Amazon fulfils itself is never ours to ship.
        paid=not pending and order["fulfillment"].get("fulfilledBy") != "AMAZON",
        cancelled=status == "CANCELLED",
        placed_at=from_text(order["createdTime"]).astimezone(UTC),
        updated_at=from_text(order["lastUpdatedTime"]).astimezone(UTC),
        reserves=pending and order["fulfillment"].get("fulfilledBy") != "AMAZON",
        promised_for=promised_day([from_text(latest)] if latest else []),
    )


def _unit_price(item: Mapping[str, Any], currency: str) -> int:
    price = (item["product"].get("price") or {}).get("unitPrice")
    return 0 if price is None or currency == "XXX" else _minor(price, currency)


def _minor(money: Mapping[str, Any], currency: str) -> int:
    if money["currencyCode"] != currency:
        raise ChannelRefused("an order mixes currencies")
    return minor_from_text(str(money["amount"]), currency)
