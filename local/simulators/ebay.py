"""A simulated eBay: one seller's items, offers, orders, fulfilments and ECDSA-signed notifications."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.simulators.core import Clock, Deliver, Delivery, Request, Response
from local.simulators.marketplace import Marketplace, Purchase, Refused, TokenBucket, Tokens, only, whole

ACCESS_TOKEN = "ebay-sim-token"  # noqa: S105 - the simulator's own
REFRESH_TOKEN = "refresh-token-0"  # noqa: S105 - the simulator's own
CLIENT = ("sim-client", "sim-client-secret")
_TOKEN = "/identity/v1/oauth2/token"  # noqa: S105 - a path
VERIFICATION_TOKEN = "ebay-sim-verification-token-0123456789"  # noqa: S105
MARKETPLACE_ID = "EBAY_US"
KEY_ID = "5d4d7a52-0001-4000-8000-000000000001"
_PRIVATE_NUMBER = 0x6F6D732D73696D2D656261792D6B6579  # a fixed key, so that runs can be replayed

MAX_ROWS = 25
REVISIONS_PER_DAY = 250
_INVENTORY = "/sell/inventory/v1"
_FULFILLMENT = "/sell/fulfillment/v1"
FEE_PERCENT = 13
"""What of a sale eBay keeps."""
_DATE = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"
_DATES = re.compile(rf"\[{_DATE}?\.\.{_DATE}?\]")
_STATUSES = {
    "{NOT_STARTED|IN_PROGRESS}": {"NOT_STARTED", "IN_PROGRESS"},
    "{FULFILLED|IN_PROGRESS}": {"FULFILLED", "IN_PROGRESS"},
}


@dataclass(slots=True)
class _Item:
    """One SKU and its offer. Buyers see the smaller of the two quantities while the offer is published."""

    sku: str
    title: str
    offer_id: str
    listing_id: str
    price: int
    currency: str
    quantity: int
    offered: int
    published: bool = True

    @property
    def shown(self) -> int:
        return min(self.quantity, self.offered) if self.published else 0


class EbayCore(Marketplace):
    """One seller's account. Credentials, limits and switches are keywords and ``/_sim/config`` keys."""

    def __init__(
        self,
        clock: Clock,
        deliver: Deliver,
        *,
        access_token: str = ACCESS_TOKEN,
        refresh_token: str = REFRESH_TOKEN,
        client: tuple[str, str] = CLIENT,
        token_seconds: float = 0.0,
        verification_token: str = VERIFICATION_TOKEN,
        callback_url: str = "",
        out_of_stock_control: bool = True,
        one_sku_per_call: bool = False,
        sku_before_offer: bool = False,
        per_day: int = 5_000,
    ) -> None:
        super().__init__(clock, deliver, callback_url)
        self.tokens = Tokens(clock, access_token, refresh_token, seconds=token_seconds, rotates=False)
        self._client = client
        self._verification_token = verification_token
        self._switches = {
            "out_of_stock_control": out_of_stock_control,
            "one_sku_per_call": one_sku_per_call,
            "sku_before_offer": sku_before_offer,
        }
        self._day = TokenBucket(per_day, 86_400.0, clock)
        self._items: dict[str, _Item] = {}
        self._orders: dict[str, dict[str, Any]] = {}
        self._fulfillments: dict[str, list[dict[str, Any]]] = {}
        self._revisions: Counter[tuple[str, str]] = Counter()
        order, offer = f"{_FULFILLMENT}/order", f"{_INVENTORY}/offer/{{offer}}"
        bulk = f"{_INVENTORY}/bulk_update_price_quantity"
        self.route("POST", _TOKEN, "renewToken", self._renew)
        self.route("POST", bulk, "bulkUpdatePriceQuantity", self._bulk_update)
        self.route("POST", f"{_INVENTORY}/bulk_get_inventory_item", "bulkGetInventoryItem", self._bulk_get)
        self.route("GET", offer, "getOffer", self._get_offer)
        self.route("POST", f"{offer}/withdraw", "withdrawOffer", self._withdraw)
        self.route("POST", f"{offer}/publish", "publishOffer", self._publish)
        self.route("GET", order, "getOrders", self._get_orders)
        self.route("GET", f"{order}/{{order}}", "getOrder", self._get_order)
        parcels = f"{order}/{{order}}/shipping_fulfillment"
        self.route("POST", f"{_FULFILLMENT}/order/{{order}}/issue_refund", "issueRefund", self._issue_refund)
        self.route("GET", parcels, "getShippingFulfillments", self._get_fulfillments)
        self.route("POST", parcels, "createShippingFulfillment", self._ship)
        self.route("GET", "/commerce/notification/v1/public_key/{key}", "getPublicKey", self._get_key)
        self.control("POST", "/_sim/privacy", "privacy", self._sim_privacy)

    def authorize(self, request: Request) -> None:
        """A bearer token; requests with a body must say that it is JSON."""
        if request.path == _TOKEN:
            return
        if not self.tokens.accepts(request.headers.get("authorization", "").removeprefix("Bearer ")):
            raise Refused(401, "Invalid access token", 1001)
        if request.method == "POST" and request.body:
            kind = request.headers.get("content-type", "")
            if not kind.startswith("application/json"):
                raise Refused(415, "Unsupported media type", 2004)

    def _renew(self, request: Request, _: Mapping[str, str]) -> Response:
        proof = base64.b64encode(":".join(self._client).encode()).decode()
        if request.headers.get("authorization") != f"Basic {proof}":
            return Response.of(401, {"error": "invalid_client"})
        return self.tokens.renew(request, {})

    def refusal(self, refused: Refused) -> Response:
        """eBay's errors are a list."""
        return Response.of(refused.status, {"errors": [_error(refused.code or 25001, refused.message)]})

    def throttled(self, retry_after: float | None) -> Response:
        """429; the time to wait is a courtesy of this simulator."""
        headers = {} if retry_after is None else {"retry-after": str(max(1, math.ceil(retry_after)))}
        return Response.of(429, {"errors": [_error(2001, "Too many requests.")]}, headers)

    def limit(self) -> float:
        """The day's calls."""
        return self._day.take()

    def configure(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Answers the challenge that eBay would put to the callback's URL, and the proof that it expects."""
        wanted = dict(told)
        if "access_token" in wanted:
            refresh, seconds = wanted.pop("refresh_token", REFRESH_TOKEN), float(wanted.pop("token_seconds", 0))
            self.tokens.start(str(wanted.pop("access_token")), str(refresh), seconds)
        if "client_id" in wanted:
            self._client = (str(wanted.pop("client_id")), str(wanted.pop("client_secret")))
        self._verification_token = str(wanted.pop("verification_token", self._verification_token))
        if "per_day" in wanted:
            self._day = TokenBucket(int(wanted.pop("per_day")), 86_400.0, self.clock)
        if unknown := sorted(set(wanted) - set(self._switches)):
            raise ValueError(f"no such setting: {', '.join(unknown)}")
        self._switches.update({name: bool(value) for name, value in wanted.items()})
        code = f"challenge-{self.next_number('challenge')}"
        proof = hashlib.sha256(f"{code}{self._verification_token}{self.callback_url}".encode()).hexdigest()
        return {"challenge_code": code, "challenge_response": proof, "key_id": KEY_ID}

    def put_on_sale(self, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        """An inventory item and its published offer; ``listing_id`` is the offer's id."""
        sku = str(told["sku"])
        if len(sku) > 50:
            raise ValueError("a SKU has at most 50 characters")
        if sku not in self._items:
            quantity = int(told.get("quantity", 0))
            self._items[sku] = _Item(
                sku,
                str(told.get("title") or sku),
                str(self.next_number("offer", 9_000_000_001)),
                str(self.next_number("listing", 110_000_000_001)),
                int(told.get("price_minor", 1000)),
                str(told.get("currency", "USD")),
                quantity,
                quantity,
                published=quantity > 0 or self._switches["out_of_stock_control"],
            )
        return [{"sku": sku, "listing_id": self._items[sku].offer_id}]

    def shown(self, sku: str) -> int | None:
        """The smaller of the two levels."""
        item = self._items.get(sku)
        return None if item is None else item.shown

    def sell(self, purchase: Purchase) -> str:
        """Both levels fall; one notification goes out for each line. Unpaid orders stay hidden."""
        number = self.next_number("order")
        order_id = f"{number % 90 + 10:02d}-{10000 + number:05d}-{54321 + number:05d}"
        lines = []
        for sku, quantity in purchase.lines:
            item = self._items[sku]
            item.quantity -= quantity
            item.offered -= quantity
            lines.append(self._line(item, quantity))
        self._orders[order_id] = self._new_order(order_id, lines, purchase)
        self._fulfillments[order_id] = []
        if purchase.paid:
            for line in lines:
                self._announce(order_id, line)
        return order_id

    def cancel(self, order_id: str) -> bool:
        """No notification tells of it: only reading the order shows it."""
        order = self._orders.get(order_id)
        if order is None:
            return False
        order["cancelStatus"] = {
            "cancelState": "CANCELED",
            "cancelledDate": self._now(),
            "cancelRequests": [],
        }
        order["lastModifiedDate"] = self._now()
        return True

    def refund(self, order_id: str, amount: int, removed: Mapping[str, int]) -> bool:
        """Told by no notification: only reading the order shows it."""
        order = self._orders.get(order_id)
        if order is None:
            return False
        refunds = order["paymentSummary"]["refunds"]
        currency = order["pricingSummary"]["total"]["currency"]
        refunds.append(
            {
                "amount": _amount(amount, currency),
                "refundDate": self._now(),
                "refundId": f"refund-{order_id}-{len(refunds) + 1}",
                "refundStatus": "REFUNDED",
            }
        )
        order["orderPaymentStatus"] = "PARTIALLY_REFUNDED"
        order["lastModifiedDate"] = self._now()
        return True

    def order_report(self, order_id: str) -> dict[str, Any] | None:
        """With the lines of each parcel."""
        order = self._orders.get(order_id)
        if order is None:
            return None
        return {
            "order_id": order_id,
            "cancelled": order["cancelStatus"]["cancelState"] == "CANCELED",
            "lines": [{"sku": each["sku"], "quantity": each["quantity"]} for each in order["lineItems"]],
            "shipments": [
                {
                    "carrier": each.get("shippingCarrierCode"),
                    "tracking_number": each.get("shipmentTrackingNumber"),
                    "lines": {line["lineItemId"]: line["quantity"] for line in each["lineItems"]},
                }
                for each in self._fulfillments[order_id]
            ],
        }

    def _sim_privacy(self, request: Request, _: Mapping[str, str]) -> Response:
        buyer = self._orders[str(request.json()["order_id"])]["buyer"]
        self.announce_account_deletion("sim", buyer["username"])
        return Response.of(200, {})

    def announce_account_deletion(self, user_id: str, username: str) -> None:
        """What eBay sends to every application when a user leaves."""
        data = {"username": username, "userId": user_id, "eiasToken": "sim"}
        self._send("MARKETPLACE_ACCOUNT_DELETION", data)

    # Inventory.

    def _bulk_update(self, request: Request, _: Mapping[str, str]) -> Response:
        rows = self._rows(request, {"sku", "shipToLocationAvailability", "offers"})
        if self._switches["one_sku_per_call"] and len(rows) > 1:
            raise Refused(400, "Only one SKU can be updated per call.", 25709)
        responses = [answer for row in rows for answer in self._update_row(row)]
        return Response.of(_overall(responses), {"responses": responses})

    def _update_row(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        sku = str(row.get("sku", ""))
        level = row.get("shipToLocationAvailability")
        offers = row.get("offers", [])
        if level is not None:
            only(level, {"quantity", "availabilityDistributions"}, set(), "Invalid shipToLocationAvailability")
        for offer in offers:
            only(offer, {"offerId", "availableQuantity", "price"}, {"offerId"}, "Invalid offers")
        item = self._items.get(sku)
        if item is None:
            return [_row(404, sku, errors=[_error(25710, f"SKU {sku} could not be found.")])]
        if len(offers) > 1 or any(offer["offerId"] != item.offer_id for offer in offers):
            return [_row(400, sku, errors=[_error(25002, "An offer is not this SKU's, or is repeated.")])]
        total = self._quantity(level or {}, "quantity", item.quantity)
        offered = self._quantity(offers[0] if offers else {}, "availableQuantity", item.offered)
        complaint = self._complaint(item, bool(offers), total, offered)
        if complaint is not None and offers:
            # The reason stands on the offer's row; the SKU's row only fails, as seen in life.
            return [_row(400, sku), _row(400, sku, item.offer_id, [complaint])]
        if complaint is not None:
            return [_row(400, sku, errors=[complaint])]
        answers = []
        if level is not None:
            floor = item.offered if self._switches["sku_before_offer"] else offered
            if item.published and total < floor:
                answers.append(_row(400, sku, errors=[_error(25004, "The listing has an invalid quantity.")]))
            else:
                item.quantity = total
                answers.append(_row(200, sku))
        if offers:
            item.offered = offered
            self._revisions[(item.listing_id, self._now()[:10])] += 1
            answers.append(_row(200, sku, item.offer_id))
        return answers

    def _complaint(self, item: _Item, with_offer: bool, total: int, offered: int) -> dict[str, Any] | None:
        if item.sku in self.faults.reject_skus:
            return _error(25002, "A user error has occurred.")
        if with_offer and not item.published:
            return _error(25002, "The offer is not published.")
        if with_offer and self._revisions[(item.listing_id, self._now()[:10])] >= REVISIONS_PER_DAY:
            return _error(25002, "The listing has been revised too often today.")
        at_zero = item.published and min(total, offered) == 0
        if at_zero and not self._switches["out_of_stock_control"]:
            return _error(25004, "The listing has an invalid quantity.")
        return None

    def _bulk_get(self, request: Request, _: Mapping[str, str]) -> Response:
        rows = self._rows(request, {"sku"})
        if len({row["sku"] for row in rows}) < len(rows):
            raise Refused(400, "SKU should be unique in the request.", 25734)
        responses = [self._shown_item(str(row["sku"])) for row in rows]
        return Response.of(_overall(responses), {"responses": responses})

    def _shown_item(self, sku: str) -> dict[str, Any]:
        item = self._items.get(sku)
        if item is None:
            return _row(404, sku, errors=[_error(25702, f"SKU {sku} is not available in the system")])
        inventory = {
            "sku": sku,
            "locale": "en_US",
            "condition": "NEW",
            "product": {"title": item.title},
            "availability": {"shipToLocationAvailability": {"quantity": item.quantity}},
        }
        return {**_row(200, sku), "inventoryItem": inventory}

    def _get_offer(self, _: Request, arguments: Mapping[str, str]) -> Response:
        item = self._by_offer(arguments)
        return Response.of(
            200,
            {
                "offerId": item.offer_id,
                "sku": item.sku,
                "marketplaceId": MARKETPLACE_ID,
                "format": "FIXED_PRICE",
                "availableQuantity": item.offered,
                "pricingSummary": {"price": _amount(item.price, item.currency)},
                "status": "PUBLISHED" if item.published else "UNPUBLISHED",
            },
        )

    def _withdraw(self, _: Request, arguments: Mapping[str, str]) -> Response:
        item = self._by_offer(arguments)
        if not item.published:
            raise Refused(400, "The offer is not published.", 25713)
        item.published = False
        return Response.of(200, {"listingId": item.listing_id})

    def _publish(self, _: Request, arguments: Mapping[str, str]) -> Response:
        item = self._by_offer(arguments)
        if not item.published:
            if item.quantity < 1:
                raise Refused(400, "The unpublished offer has an invalid quantity.", 25004)
            item.published = True
            item.offered = min(item.offered, item.quantity) or item.quantity
            item.listing_id = str(self.next_number("listing", 110_000_000_001))
        return Response.of(200, {"listingId": item.listing_id})

    def _rows(self, request: Request, allowed: set[str]) -> list[dict[str, Any]]:
        told = only(request.json(), {"requests"}, {"requests"}, "Invalid request.")
        rows = told["requests"]
        if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_ROWS:
            raise Refused(400, f"The number of rows cannot exceed {MAX_ROWS}.", 25727)
        return [only(row, allowed, {"sku"}, "Invalid request.") for row in rows]

    @staticmethod
    def _quantity(told: Mapping[str, Any], name: str, default: int) -> int:
        return whole(told[name], 0, 2**31 - 1, f"Invalid value for {name}.") if name in told else default

    def _by_offer(self, arguments: Mapping[str, str]) -> _Item:
        for item in self._items.values():
            if item.offer_id == arguments["offer"]:
                return item
        raise Refused(404, "The offer is not available.", 25713)

    # Orders.

    def _get_orders(self, request: Request, _: Mapping[str, str]) -> Response:
        if unknown := set(request.query) - {"filter", "limit", "offset", "orderIds", "fieldGroups"}:
            raise Refused(400, f"Invalid parameter {sorted(unknown)[0]}", 30700)
        limit = self._parameter(request, "limit", 50, 1, 200, 31100)
        offset = self._parameter(request, "offset", 0, 0, 2**31, 31000)
        visible = [order for order in self._orders.values() if order["orderPaymentStatus"] != "PENDING"]
        if ids := request.first("orderIds"):
            if ids.count(",") >= 50:
                raise Refused(400, "Exceeded maximum number of order IDs", 30900)
            found = [order for order in visible if order["orderId"] in ids.split(",")]
        else:
            found = self._filtered(visible, request.first("filter"))
        found.sort(key=lambda order: (order["creationDate"], order["orderId"]), reverse=True)
        page = [self._as_shown(order) for order in found[offset : offset + limit]]
        answer: dict[str, Any] = {"orders": page, "total": len(found), "limit": limit, "offset": offset}
        answer["href"] = f"https://api.ebay.com{_FULFILLMENT}/order?limit={limit}&offset={offset}"
        if offset + limit < len(found):
            answer["next"] = f"https://api.ebay.com{_FULFILLMENT}/order?limit={limit}&offset={offset + limit}"
        return Response.of(200, answer)

    def _filtered(self, orders: list[dict[str, Any]], told: str) -> list[dict[str, Any]]:
        filters = dict(each.partition(":")[::2] for each in told.split(",") if each)
        statuses = filters.pop("orderfulfillmentstatus", None)
        created, modified = filters.pop("creationdate", None), filters.pop("lastmodifieddate", None)
        if filters:
            raise Refused(400, f"Invalid filter name: {sorted(filters)[0]}", 30700)
        if statuses is not None and statuses not in _STATUSES:
            raise Refused(400, "Invalid filter value for filter orderfulfillmentstatus", 30800)
        key = "creationDate" if created is not None else "lastModifiedDate"
        window = created if created is not None else modified
        low, high = self._window(window) if window is not None else ("", "9")
        return [
            order
            for order in orders
            if low <= order[key] <= high
            and (statuses is None or order["orderFulfillmentStatus"] in _STATUSES[statuses])
        ]

    def _window(self, told: str) -> tuple[str, str]:
        match = _DATES.fullmatch(told)
        if match is None:
            raise Refused(400, "Invalid date format", 30810)
        low, high = match.group(1), match.group(2) or self._now()
        if low is None:
            raise Refused(400, "Start date is missing", 30820)
        if low > high:
            raise Refused(400, "Start date should be before end date", 30840)
        if high > self._now():
            raise Refused(400, "Start and end dates can't be in the future", 30850)
        return low, high

    @staticmethod
    def _parameter(request: Request, name: str, default: int, low: int, high: int, code: int) -> int:
        text = request.first(name, str(default))
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise Refused(400, f"Invalid {name}: {text}", code)
        return int(text)

    def _get_order(self, _: Request, arguments: Mapping[str, str]) -> Response:
        return Response.of(200, self._as_shown(self._order(arguments, 404)))

    def _get_fulfillments(self, _: Request, arguments: Mapping[str, str]) -> Response:
        order = self._order(arguments, 400)
        found = self._fulfillments[order["orderId"]]
        return Response.of(200, {"fulfillments": found, "total": len(found), "warnings": []})

    def _issue_refund(self, request: Request, arguments: Mapping[str, str]) -> Response:
        order = self._order(arguments, 400)
        allowed = {"reasonForRefund", "comment", "refundItems", "orderLevelRefundAmount"}
        told = only(request.json(), allowed, {"reasonForRefund", "orderLevelRefundAmount"}, "Invalid refund")
        wanted = only(told["orderLevelRefundAmount"], {"value", "currency"}, {"value", "currency"}, "Invalid amount")
        paid = order["pricingSummary"]["total"]
        given = sum(float(each["amount"]["value"]) for each in order["paymentSummary"]["refunds"])
        if wanted["currency"] != paid["currency"] or given + float(wanted["value"]) > float(paid["value"]):
            raise Refused(400, "The refund is more than was paid.")
        self.refund(order["orderId"], round(float(wanted["value"]) * 100), {})
        return Response.of(
            200, {"refundId": order["paymentSummary"]["refunds"][-1]["refundId"], "refundStatus": "PENDING"}
        )

    def _ship(self, request: Request, arguments: Mapping[str, str]) -> Response:
        order = self._order(arguments, 400)
        allowed = {"lineItems", "shippedDate", "shippingCarrierCode", "trackingNumber"}
        told = only(request.json(), allowed, {"lineItems"}, "Invalid input data")
        tracking, carrier = told.get("trackingNumber"), told.get("shippingCarrierCode")
        if bool(tracking) != bool(carrier) or (tracking and not re.fullmatch(r"[0-9A-Za-z]+", tracking)):
            raise Refused(400, "Invalid shipment tracking number or carrier", 32300)
        if not re.fullmatch(_DATE, told.get("shippedDate", self._now())):
            raise Refused(400, "Invalid shipped date", 32500)
        left = self._left(order)
        packed: dict[str, int] = {}
        for line in told["lineItems"]:
            only(line, {"lineItemId", "quantity"}, {"lineItemId"}, "Invalid input data")
            line_id = line["lineItemId"]
            if line_id in packed:
                raise Refused(400, "Duplicate line item in the request", 32210)
            if line_id not in left:
                raise Refused(400, f"Invalid line item id: {line_id}", 32200)
            packed[line_id] = whole(line.get("quantity", left[line_id]), 1, left[line_id], "Invalid input data")
        fulfillment: dict[str, Any] = {
            "fulfillmentId": tracking or "999",
            "lineItems": [{"lineItemId": line, "quantity": quantity} for line, quantity in packed.items()],
            "shippedDate": told.get("shippedDate", self._now()),
        }
        if tracking:
            fulfillment |= {"shipmentTrackingNumber": tracking, "shippingCarrierCode": carrier}
        self._fulfillments[order["orderId"]].append(fulfillment)
        remaining = self._left(order)
        for line in order["lineItems"]:
            line["lineItemFulfillmentStatus"] = "IN_PROGRESS" if line["lineItemId"] in remaining else "FULFILLED"
        order["orderFulfillmentStatus"] = "IN_PROGRESS" if remaining else "FULFILLED"
        order["lastModifiedDate"] = self._now()
        path = f"{_FULFILLMENT}/order/{order['orderId']}/shipping_fulfillment/{fulfillment['fulfillmentId']}"
        return Response(201, {"location": f"https://api.ebay.com{path}"})

    def _left(self, order: Mapping[str, Any]) -> dict[str, int]:
        left = {line["lineItemId"]: line["quantity"] for line in order["lineItems"]}
        for fulfillment in self._fulfillments[order["orderId"]]:
            for line in fulfillment["lineItems"]:
                left[line["lineItemId"]] -= line["quantity"]
        return {line: quantity for line, quantity in left.items() if quantity}

    def _as_shown(self, order: dict[str, Any]) -> dict[str, Any]:
        return self.legible(order["orderId"], order, "pricingSummary")

    def _order(self, arguments: Mapping[str, str], status: int) -> dict[str, Any]:
        order = self._orders.get(arguments["order"])
        if order is None or order["orderPaymentStatus"] == "PENDING":
            raise Refused(status, f"Invalid order ID: {arguments['order']}", 32100)
        return order

    def _line(self, item: _Item, quantity: int) -> dict[str, Any]:
        cost = _amount(item.price * quantity, item.currency)
        return {
            "lineItemId": str(self.next_number("line", 10_000_000_001)),
            "legacyItemId": item.listing_id,
            "sku": item.sku,
            "title": item.title,
            "lineItemCost": cost,
            "quantity": quantity,
            "soldFormat": "FIXED_PRICE",
            "listingMarketplaceId": MARKETPLACE_ID,
            "purchaseMarketplaceId": MARKETPLACE_ID,
            "lineItemFulfillmentStatus": "NOT_STARTED",
            "total": dict(cost),
            "deliveryCost": {"shippingCost": _amount(0, item.currency)},
            "appliedPromotions": [],
            "taxes": [],
            "refunds": [],
        }

    def _new_order(self, order_id: str, lines: list[dict[str, Any]], purchase: Purchase) -> dict[str, Any]:
        currency = lines[0]["lineItemCost"]["currency"]
        if purchase.promised_at:
            for line in lines:
                line["lineItemFulfillmentInstructions"] = {"maxEstimatedDeliveryDate": purchase.promised_at}
        items = sum(self._items[each["sku"]].price * each["quantity"] for each in lines)
        total = items + purchase.shipping + purchase.tax - purchase.discount
        prices = {
            "priceSubtotal": _amount(items, currency),
            "deliveryCost": _amount(purchase.shipping, currency),
            "total": _amount(total, currency),
        }
        if purchase.tax:
            prices["tax"] = _amount(purchase.tax, currency)
        if purchase.discount:
            prices["priceDiscount"] = _amount(-purchase.discount, currency)
        buyer = purchase.buyer
        country = str(buyer.get("country", "US"))
        address = {
            "addressLine1": str(buyer.get("line1", "12 Elm Street")),
            "city": str(buyer.get("city", "Portland")),
            "stateOrProvince": str(buyer.get("region", "OR")),
            "postalCode": str(buyer.get("postal_code", "97201")),
            "countryCode": country,
        }
        if buyer.get("line2"):
            address["addressLine2"] = str(buyer["line2"])
        ship_to = {"fullName": str(buyer.get("name", "Sim Buyer")), "contactAddress": address}
        if buyer.get("email"):
            ship_to["email"] = str(buyer["email"])
        status = "PAID" if purchase.paid else "PENDING"
        return {
            "orderId": order_id,
            "legacyOrderId": order_id,
            "creationDate": self._now(),
            "lastModifiedDate": self._now(),
            "orderFulfillmentStatus": "NOT_STARTED",
            "orderPaymentStatus": status,
            "sellerId": "sim-seller",
            "buyer": {
                "username": str(buyer.get("id", "sim-buyer")),
                "taxAddress": {"countryCode": country},
            },
            "pricingSummary": prices,
            "cancelStatus": {"cancelState": "NONE_REQUESTED", "cancelRequests": []},
            "paymentSummary": {
                "totalDueSeller": _amount(total, currency),
                "refunds": [],
                "payments": [
                    {
                        "paymentMethod": "EBAY",
                        "paymentReferenceId": f"sim-{order_id}",
                        "paymentDate": self._now(),
                        "amount": _amount(total, currency),
                        "paymentStatus": status,
                    }
                ],
            },
            "fulfillmentStartInstructions": [
                {
                    "fulfillmentInstructionsType": "SHIP_TO",
                    "ebaySupportedFulfillment": False,
                    "shippingStep": {"shipTo": ship_to, "shippingServiceCode": "USPSPriority"},
                }
            ],
            "fulfillmentHrefs": [],
            "lineItems": lines,
            "totalFeeBasisAmount": _amount(total, currency),
            "totalMarketplaceFee": _amount(total * FEE_PERCENT // 100, currency),
        }

    # Notifications.

    def _get_key(self, _: Request, arguments: Mapping[str, str]) -> Response:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        if arguments["key"] != KEY_ID:
            raise Refused(404, "The specified key id is invalid.", 195001)
        key = _private_key().public_key()
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return Response.of(200, {"key": pem.replace("\n", ""), "algorithm": "ECDSA", "digest": "SHA1"})

    def _announce(self, order_id: str, line: Mapping[str, Any]) -> None:
        listed = {
            "orderLineItemId": line["lineItemId"],
            "listingId": line["legacyItemId"],
            "quantity": line["quantity"],
        }
        data = {
            "user": {"userId": "SimSellerId", "username": "sim-seller"},
            "order": {"orderId": order_id, "orderLineItems": [listed]},
        }
        self._send("ORDER_CONFIRMATION", data)

    def _send(self, topic: str, data: Mapping[str, Any]) -> None:
        notification_id = f"00000000-0000-4000-8000-{self.next_number('notification'):012d}"
        happened = self._now()

        def build() -> Delivery:
            envelope = {
                "metadata": {"topic": topic, "schemaVersion": "1.0", "deprecated": False},
                "notification": {
                    "notificationId": notification_id,
                    "eventDate": happened,
                    "publishDate": self._now(),
                    "publishAttemptCount": 1,
                    "data": data,
                },
            }
            body = json.dumps(envelope, separators=(",", ":")).encode()
            headers = {"content-type": "application/json", "x-ebay-signature": sign(body)}
            return Delivery(self.callback_url, headers, body)

        self.notify(build)

    def _now(self) -> str:
        moment = datetime.fromtimestamp(self.clock(), UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def sign(body: bytes) -> str:
    """The value of ``X-EBAY-SIGNATURE`` for a body; the same body always gets the same signature."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    algorithm = ec.ECDSA(hashes.SHA1(), deterministic_signing=True)  # noqa: S303 - what eBay signs with
    signature = _private_key().sign(body, algorithm)
    header = {
        "alg": "ecdsa",
        "kid": KEY_ID,
        "signature": base64.b64encode(signature).decode(),
        "digest": "SHA1",
    }
    return base64.b64encode(json.dumps(header, separators=(",", ":")).encode()).decode()


def _private_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.derive_private_key(_PRIVATE_NUMBER, ec.SECP256R1())


def _amount(minor: int, currency: str) -> dict[str, str]:
    sign_, units = "-" if minor < 0 else "", abs(minor)
    return {"value": f"{sign_}{units // 100}.{units % 100:02d}", "currency": currency}


def _error(code: int, message: str) -> dict[str, Any]:
    return {
        "errorId": code,
        "domain": "API_SIM",
        "category": "REQUEST",
        "message": message,
        "longMessage": message,
    }


def _row(status: int, sku: str, offer_id: str = "", errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {"statusCode": status, "sku": sku, "errors": errors or [], "warnings": []}
    return {**row, "offerId": offer_id} if offer_id else row


def _overall(responses: list[dict[str, Any]]) -> int:
    return 200 if all(row["statusCode"] == 200 for row in responses) else 207
