"""A simulated Amazon: one seller's listings, orders and packages, by the Selling Partner API, with ORDER_CHANGE."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from local.simulators.core import Clock, Deliver, Delivery, Request, Response
from local.simulators.marketplace import Handler, Marketplace, Purchase, Refused, TokenBucket, Tokens, only, whole

ACCESS_TOKEN = "Atza|sim-token"  # noqa: S105 - the simulator's own
REFRESH_TOKEN = "refresh-token-0"  # noqa: S105 - the simulator's own
CLIENT = ("sim-client", "sim-client-secret")
_TOKEN = "/auth/o2/token"  # noqa: S105 - a path
SELLER_ID = "A2SIMSELLER001"
MARKETPLACE_ID = "ATVPDKIKX0DER"

MAX_QUANTITY = 99_999_999
_RATES = {
    "getListingsItem": (5.0, 10),
    "patchListingsItem": (5.0, 5),
    "searchOrders": (0.0056, 20),
    "getOrder": (0.5, 30),
    "confirmShipment": (2.0, 10),
}
"""Calls a second and at once."""
_PARTS = {
    "BUYER": ("buyer",),
    "RECIPIENT": ("recipient",),
    "PROCEEDS": ("proceeds",),
    "FULFILLMENT": (),
    "PACKAGES": ("packages",),
}
_NOTICE_STATUS = {
    "PENDING": "Pending",
    "UNSHIPPED": "Unshipped",
    "PARTIALLY_SHIPPED": "PartiallyShipped",
    "SHIPPED": "Shipped",
    "CANCELLED": "Canceled",
}


@dataclass(slots=True)
class _Item:
    sku: str
    title: str
    price: int
    currency: str
    quantity: int
    by_amazon: bool = False


@dataclass(frozen=True, slots=True)
class _Submission:
    due: float
    sku: str
    quantity: int


class AmazonCore(Marketplace):
    """One seller in one marketplace. Credentials and delays are keywords and ``/_sim/config`` keys."""

    def __init__(
        self,
        clock: Clock,
        deliver: Deliver,
        *,
        access_token: str = ACCESS_TOKEN,
        refresh_token: str = REFRESH_TOKEN,
        client_id: str = CLIENT[0],
        client_secret: str = CLIENT[1],
        token_seconds: float = 0.0,
        seller_id: str = SELLER_ID,
        marketplace_id: str = MARKETPLACE_ID,
        callback_url: str = "",
        apply_seconds: float = 2.0,
        search_lag_seconds: float = 120.0,
        rate_factor: float = 1.0,
    ) -> None:
        super().__init__(clock, deliver, callback_url)
        self.tokens = Tokens(clock, access_token, refresh_token, seconds=token_seconds, rotates=True)
        self._credentials = {
            "client_id": client_id,
            "client_secret": client_secret,
            "seller_id": seller_id,
            "marketplace_id": marketplace_id,
        }
        self._delays = {"apply_seconds": apply_seconds, "search_lag_seconds": search_lag_seconds}
        self._items: dict[str, _Item] = {}
        self._submissions: list[_Submission] = []
        self._orders: dict[str, dict[str, Any]] = {}
        self._searches: dict[str, tuple[str, int]] = {}
        self._set_rates(rate_factor)
        item, order = "/listings/2021-08-01/items/{seller}/{sku}", "/orders/2026-01-01/orders"
        self.route("POST", _TOKEN, "renewToken", self._renew)
        self._metered("GET", item, "getListingsItem", self._get_item)
        self._metered("PATCH", item, "patchListingsItem", self._patch_item)
        self._metered("GET", order, "searchOrders", self._search)
        self._metered("GET", f"{order}/{{order}}", "getOrder", self._get_order)
        self._metered("POST", "/orders/v0/orders/{order}/shipmentConfirmation", "confirmShipment", self._ship)

    def handle(self, request: Request) -> Response:
        """Submissions that are due take effect first."""
        self._settle()
        return super().handle(request)

    def authorize(self, request: Request) -> None:
        """Login with Amazon's token; one that lapsed is denied like a missing permission."""
        if request.path == _TOKEN:
            return
        if not self.tokens.accepts(request.headers.get("x-amz-access-token", "")):
            raise Refused(403, "Access to requested resource is denied.")

    def _renew(self, request: Request, _: Mapping[str, str]) -> Response:
        return self.tokens.renew(request, {name: self._credentials[name] for name in ("client_id", "client_secret")})

    def refusal(self, refused: Refused) -> Response:
        """Amazon's errors are a list with codes in words."""
        codes = {400: "InvalidInput", 403: "Unauthorized", 404: "NotFound", 429: "QuotaExceeded"}
        error = {"code": codes.get(refused.status, "InternalFailure"), "message": refused.message, "details": ""}
        return Response.of(refused.status, {"errors": [error]})

    def throttled(self, retry_after: float | None) -> Response:
        """429; the time to wait follows from the rate, which not every answer tells."""
        headers = {} if retry_after is None else {"x-amzn-ratelimit-limit": repr(1 / retry_after)}
        answer = self.refusal(Refused(429, "You exceeded your quota for the requested resource."))
        return Response(429, {**answer.headers, **headers}, answer.body)

    def limit(self) -> float:
        """Every operation has a budget of its own: see ``_metered``."""
        return 0.0

    def configure(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Credentials, ``apply_seconds``, ``search_lag_seconds`` and ``rate_factor`` (1: as published)."""
        wanted = dict(told)
        if "rate_factor" in wanted:
            self._set_rates(float(wanted.pop("rate_factor")))
        if "access_token" in wanted:
            refresh, seconds = wanted.pop("refresh_token", REFRESH_TOKEN), float(wanted.pop("token_seconds", 0))
            self.tokens.start(str(wanted.pop("access_token")), str(refresh), seconds)
        for name in self._delays:
            self._delays[name] = float(wanted.pop(name, self._delays[name]))
        if unknown := sorted(set(wanted) - set(self._credentials)):
            raise ValueError(f"no such setting: {', '.join(unknown)}")
        self._credentials.update({name: str(value) for name, value in wanted.items()})
        return {"seller_id": self._credentials["seller_id"], **self._delays}

    def put_on_sale(self, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A listing is known by the seller's SKU. ``"by_amazon": true`` makes it one that Amazon fulfils."""
        sku = str(told["sku"])
        if sku not in self._items:
            self._items[sku] = _Item(
                sku,
                str(told.get("title") or sku),
                int(told.get("price_minor", 1000)),
                str(told.get("currency", "USD")),
                int(told.get("quantity", 0)),
                bool(told.get("by_amazon")),
            )
        return [{"sku": sku, "listing_id": sku}]

    def shown(self, sku: str) -> int | None:
        """What is applied."""
        item = self._items.get(sku)
        return None if item is None else max(0, item.quantity)

    def sell(self, purchase: Purchase) -> str:
        """Amazon lowers the listing itself, already for an order whose payment is pending."""
        number = self.next_number("order")
        order_id = f"902-{1_000_000 + number:07d}-{2_000_000 + number:07d}"
        items = []
        for sku, quantity in purchase.lines:
            self._items[sku].quantity -= quantity
            items.append(self._order_item(self._items[sku], quantity))
        self._orders[order_id] = self._new_order(order_id, items, purchase)
        self._announce(order_id)
        return order_id

    def pay(self, order_id: str) -> None:
        """The payment of a pending order comes through."""
        order = self._orders[order_id]
        order["fulfillment"]["fulfillmentStatus"] = "UNSHIPPED"
        self._touch(order)
        self._announce(order_id)

    def cancel(self, order_id: str) -> bool:
        """What was ordered is zero from then on only in Amazon's reports; the order keeps its items."""
        order = self._orders.get(order_id)
        if order is None:
            return False
        order["fulfillment"]["fulfillmentStatus"] = "CANCELLED"
        self._touch(order)
        self._announce(order_id)
        return True

    def order_report(self, order_id: str) -> dict[str, Any] | None:
        """With the lines of each package."""
        order = self._orders.get(order_id)
        if order is None:
            return None
        return {
            "order_id": order_id,
            "cancelled": order["fulfillment"]["fulfillmentStatus"] == "CANCELLED",
            "lines": [
                {"sku": each["product"]["sellerSku"], "quantity": each["quantityOrdered"]}
                for each in order["orderItems"]
            ],
            "shipments": [
                {
                    "carrier": each["carrier"],
                    "tracking_number": each["trackingNumber"],
                    "lines": {line["orderItemId"]: line["quantity"] for line in each["packageItems"]},
                }
                for each in order["packages"]
            ],
        }

    # Listings.

    def _get_item(self, request: Request, arguments: Mapping[str, str]) -> Response:
        item = self._item(request, arguments)
        if item is None:
            raise Refused(404, "Resource not found.")
        answer: dict[str, Any] = {"sku": item.sku}
        parts = _parts(request, {"summaries", "fulfillmentAvailability"}, "summaries")
        if "summaries" in parts:
            now = self._now()
            answer["summaries"] = [
                {
                    "marketplaceId": self._credentials["marketplace_id"],
                    "productType": "PRODUCT",
                    "status": ["BUYABLE", "DISCOVERABLE"] if item.quantity > 0 else ["DISCOVERABLE"],
                    "itemName": item.title,
                    "createdDate": now,
                    "lastUpdatedDate": now,
                }
            ]
        if "fulfillmentAvailability" in parts:
            code = "AMAZON_NA" if item.by_amazon else "DEFAULT"
            answer["fulfillmentAvailability"] = [
                {"fulfillmentChannelCode": code, **({} if item.by_amazon else {"quantity": max(0, item.quantity)})}
            ]
        return Response.of(200, answer)

    def _patch_item(self, request: Request, arguments: Mapping[str, str]) -> Response:
        item = self._item(request, arguments)
        told = only(request.json(), {"productType", "patches"}, {"productType", "patches"}, "Invalid request body.")
        if item is None:
            raise Refused(400, f"SKU {arguments['sku']} not found.")
        quantities = [self._patched(each) for each in told["patches"]]
        submission = f"{self.next_number('submission'):032x}"
        answer: dict[str, Any] = {"sku": item.sku, "submissionId": submission, "issues": []}
        if item.sku in self.faults.reject_skus or max(quantities) > MAX_QUANTITY:
            issue = {
                "code": "4000001",
                "message": "The provided value for 'Quantity' is invalid.",
                "severity": "ERROR",
                "attributeNames": ["fulfillment_availability"],
                "categories": ["INVALID_ATTRIBUTE"],
            }
            return Response.of(200, {**answer, "status": "INVALID", "issues": [issue]})
        due = self.clock() + self._delays["apply_seconds"]
        self._submissions += [_Submission(due, item.sku, quantity) for quantity in quantities]
        self._settle()
        return Response.of(200, {**answer, "status": "ACCEPTED"})

    @staticmethod
    def _patched(patch: Any) -> int:
        wanted = only(patch, {"op", "path", "value"}, {"op", "path", "value"}, "Invalid patch.")
        if wanted["op"] not in ("replace", "merge") or wanted["path"] != "/attributes/fulfillment_availability":
            raise Refused(400, "Invalid patch.")
        (value,) = wanted["value"]
        keys = {"fulfillment_channel_code", "quantity"}
        if only(value, keys, keys, "Invalid value.")["fulfillment_channel_code"] != "DEFAULT":
            raise Refused(400, "Invalid fulfillment channel code.")
        return whole(value["quantity"], 0, 2**31, "Invalid quantity.")

    def _item(self, request: Request, arguments: Mapping[str, str]) -> _Item | None:
        if arguments["seller"] != self._credentials["seller_id"]:
            raise Refused(403, "Access to requested resource is denied.")
        if request.first("marketplaceIds") != self._credentials["marketplace_id"]:
            raise Refused(400, "Invalid 'marketplaceIds' provided.")
        return self._items.get(arguments["sku"])

    def _settle(self) -> None:
        now = self.clock()
        for each in [each for each in self._submissions if each.due <= now]:
            self._items[each.sku].quantity = each.quantity
        self._submissions = [each for each in self._submissions if each.due > now]

    # Orders.

    def _search(self, request: Request, _: Mapping[str, str]) -> Response:
        if bool(request.first("createdAfter")) == bool(request.first("lastUpdatedAfter")):
            raise Refused(400, "Exactly one of createdAfter and lastUpdatedAfter is required.")
        after, field = request.first("lastUpdatedAfter"), "lastUpdatedTime"
        if not after:
            after, field = request.first("createdAfter"), "createdTime"
        size = int(request.first("maxResultsPerPage", "100"))
        if not 1 <= size <= 100 or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", after):
            raise Refused(400, "Invalid input.")
        parts = _parts(request, set(_PARTS), "")
        token = request.first("paginationToken")
        if token and self._searches.get(token, ("", 0))[0] != after:
            raise Refused(400, "Invalid paginationToken.")
        start = self._searches[token][1] if token else 0
        until = self._time(self.clock() - self._delays["search_lag_seconds"])
        by = request.first("fulfilledBy")
        # Newest first, as nothing promises another order.
        found = [
            order
            for order in reversed(self._orders.values())
            if after[:19] <= order[field][:19]
            and order["lastUpdatedTime"] <= until
            and by in ("", order["fulfillment"]["fulfilledBy"])
        ]
        answer: dict[str, Any] = {
            "orders": [self._as_shown(each, parts) for each in found[start : start + size]],
            "lastUpdatedBefore": until,
        }
        if len(found) > start + size:
            token = f"page-{self.next_number('page')}"
            self._searches[token] = (after, start + size)
            answer["pagination"] = {"nextToken": token}
        return Response.of(200, answer)

    def _get_order(self, request: Request, arguments: Mapping[str, str]) -> Response:
        parts = _parts(request, set(_PARTS), "")
        return Response.of(200, {"order": self._as_shown(self._known(arguments), parts)})

    def _as_shown(self, order: dict[str, Any], parts: set[str]) -> dict[str, Any]:
        shown = self.legible(order["orderId"], order, "proceeds")
        hidden = {name for part, names in _PARTS.items() if part not in parts for name in names}
        if order["fulfillment"]["fulfillmentStatus"] == "PENDING":
            hidden |= {"buyer", "recipient", "proceeds"}
        return {name: value for name, value in shown.items() if name not in hidden}

    def _ship(self, request: Request, arguments: Mapping[str, str]) -> Response:
        order = self._known(arguments)
        needed = {"marketplaceId", "packageDetail"}
        told = only(request.json(), {*needed, "codCollectionMethod"}, needed, "Invalid request body.")
        needed = {"packageReferenceId", "carrierCode", "trackingNumber", "shipDate", "orderItems"}
        allowed = {*needed, "carrierName", "shippingMethod", "shipFromSupplySourceId"}
        package = only(told["packageDetail"], allowed, needed, "Invalid package detail.")
        status = order["fulfillment"]["fulfillmentStatus"]
        if status not in ("UNSHIPPED", "PARTIALLY_SHIPPED"):
            raise Refused(400, f"An order that is {status} cannot be confirmed.")
        reference = package["packageReferenceId"]
        if not re.fullmatch(r"[1-9][0-9]*", reference):
            raise Refused(400, "packageReferenceId has to be a positive number.")
        if package["carrierCode"] == "Other" and not package.get("carrierName"):
            raise Refused(400, "carrierName is required.")
        before = [each for each in order["packages"] if each["packageReferenceId"] == reference]
        for each in before:
            self._carry(order, each["packageItems"], -1)
        order["packages"] = [each for each in order["packages"] if each not in before]
        self._carry(order, package["orderItems"], 1)
        order["packages"].append(
            {
                "packageReferenceId": reference,
                "createdTime": self._now(),
                "packageStatus": {"status": "SHIPPED"},
                "carrier": package["carrierCode"],
                "shipTime": package["shipDate"],
                "trackingNumber": package["trackingNumber"],
                "packageItems": package["orderItems"],
            }
        )
        left = any(each["fulfillment"]["quantityUnfulfilled"] for each in order["orderItems"])
        order["fulfillment"]["fulfillmentStatus"] = "PARTIALLY_SHIPPED" if left else "SHIPPED"
        self._touch(order)
        self._announce(order["orderId"])
        return Response(204)

    @staticmethod
    def _carry(order: Mapping[str, Any], lines: list[dict[str, Any]], sign: int) -> None:
        items = {each["orderItemId"]: each["fulfillment"] for each in order["orderItems"]}
        for line in lines:
            fulfillment = items.get(line["orderItemId"])
            moved = sign * line["quantity"]
            if fulfillment is None or line["quantity"] < 1 or moved > fulfillment["quantityUnfulfilled"]:
                raise Refused(400, "Invalid order items.")
            fulfillment["quantityFulfilled"] += moved
            fulfillment["quantityUnfulfilled"] -= moved

    def _known(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        order = self._orders.get(arguments["order"])
        if order is None:
            raise Refused(404, "The resource specified does not exist.")
        return order

    def _order_item(self, item: _Item, quantity: int) -> dict[str, Any]:
        return {
            "orderItemId": str(self.next_number("line", 79_039_765_272_157)),
            "quantityOrdered": quantity,
            "product": {
                "asin": "B08N5WRWNW",
                "title": item.title,
                "sellerSku": item.sku,
                "price": {"unitPrice": _money(item.price, item.currency)},
            },
            "fulfillment": {"quantityFulfilled": 0, "quantityUnfulfilled": quantity},
        }

    def _new_order(self, order_id: str, items: list[dict[str, Any]], purchase: Purchase) -> dict[str, Any]:
        sold = [(self._items[sku], quantity) for sku, quantity in purchase.lines]
        currency = sold[0][0].currency
        value = sum(item.price * quantity for item, quantity in sold)
        parts = {
            "ITEM": value,
            "SHIPPING": purchase.shipping,
            "TAX": purchase.tax,
            "DISCOUNT": -purchase.discount,
        }
        buyer = purchase.buyer
        name = str(buyer.get("name", "Sim Buyer"))
        address = {
            "name": name,
            "addressLine1": str(buyer.get("line1", "12 Elm Street")),
            "addressLine2": buyer.get("line2") or "",
            "city": str(buyer.get("city", "Portland")),
            "stateOrRegion": str(buyer.get("region", "OR")),
            "postalCode": str(buyer.get("postal_code", "97201")),
            "countryCode": str(buyer.get("country", "US")),
        }
        email = {"buyerEmail": str(buyer["email"])} if buyer.get("email") else {}
        return {
            "orderId": order_id,
            "createdTime": self._now(),
            "lastUpdatedTime": self._now(),
            "salesChannel": {"channelName": "AMAZON", "marketplaceId": self._credentials["marketplace_id"]},
            "buyer": {"buyerName": name, **email},
            "recipient": {"deliveryAddress": address},
            "proceeds": {
                "grandTotal": _money(sum(parts.values()), currency),
                "breakdowns": [
                    {"type": kind, "subtotal": _money(amount, currency)} for kind, amount in parts.items() if amount
                ],
            },
            "fulfillment": {
                "fulfillmentStatus": "UNSHIPPED" if purchase.paid else "PENDING",
                "fulfilledBy": "AMAZON" if any(item.by_amazon for item, _ in sold) else "MERCHANT",
                **({"deliverByWindow": {"latestDateTime": purchase.promised_at}} if purchase.promised_at else {}),
            },
            "orderItems": items,
            "packages": [],
        }

    def _touch(self, order: dict[str, Any]) -> None:
        order["lastUpdatedTime"] = max(order["lastUpdatedTime"], self._now())

    def _now(self) -> str:
        return self._time(self.clock())

    @staticmethod
    def _time(moment: float) -> str:
        return (datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(moment))).strftime("%Y-%m-%dT%H:%M:%SZ")

    # Notifications and budgets.

    def _announce(self, order_id: str) -> None:
        """An ORDER_CHANGE message, to whatever stands for the queue: at least once, and not signed."""
        order = self._orders[order_id]
        items = order["orderItems"]
        shipped = sum(each["fulfillment"]["quantityFulfilled"] for each in items)
        fulfillment = order["fulfillment"]
        message = {
            "NotificationVersion": "1.0",
            "NotificationType": "ORDER_CHANGE",
            "PayloadVersion": "1.0",
            "EventTime": self._now(),
            "Payload": {
                "OrderChangeNotification": {
                    "NotificationLevel": "OrderLevel",
                    "SellerId": self._credentials["seller_id"],
                    "AmazonOrderId": order_id,
                    "OrderChangeType": "OrderStatusChange",
                    "OrderChangeTrigger": {"TimeOfOrderChange": self._now(), "ChangeReason": "Order status change"},
                    "Summary": {
                        "MarketplaceId": self._credentials["marketplace_id"],
                        "OrderStatus": _NOTICE_STATUS[fulfillment["fulfillmentStatus"]],
                        "PurchaseDate": order["createdTime"],
                        "DestinationPostalCode": order["recipient"]["deliveryAddress"]["postalCode"],
                        "FulfillmentType": "AFN" if fulfillment["fulfilledBy"] == "AMAZON" else "MFN",
                        "OrderType": "StandardOrder",
                        "NumberOfItemsShipped": shipped,
                        "NumberOfItemsUnshipped": sum(each["quantityOrdered"] for each in items) - shipped,
                        "OrderItems": [
                            {
                                "OrderItemId": each["orderItemId"],
                                "SellerSKU": each["product"]["sellerSku"],
                                "SupplySourceId": "sim-supply-source",
                                "Quantity": each["quantityOrdered"],
                                "QuantityShipped": each["fulfillment"]["quantityFulfilled"],
                            }
                            for each in items
                        ],
                    },
                }
            },
            "NotificationMetadata": {
                "ApplicationId": "app-id-sim",
                "SubscriptionId": "subscription-id-sim",
                "PublishTime": self._now(),
                "NotificationId": f"00000000-0000-4000-8000-{self.next_number('notification'):012d}",
            },
        }
        body = json.dumps(message, separators=(",", ":")).encode()
        self.notify(lambda: Delivery(self.callback_url, {"content-type": "application/json"}, body))

    def _set_rates(self, factor: float) -> None:
        self._rates: dict[str, tuple[float, TokenBucket]] = {}
        for name, (rate, burst) in _RATES.items():
            capacity = max(1, round(burst * factor))
            self._rates[name] = rate * factor, TokenBucket(capacity, capacity / (rate * factor), self.clock)

    def _metered(self, method: str, path: str, name: str, handler: Handler) -> None:
        def within_budget(request: Request, arguments: Mapping[str, str]) -> Response:
            rate, bucket = self._rates[name]
            headers = {"x-amzn-ratelimit-limit": f"{rate:.4f}"}
            if bucket.take() > 0:
                answer = self.throttled(None)
            else:
                try:
                    answer = handler(request, arguments)
                except Refused as refused:
                    answer = self.refusal(refused)
            return Response(answer.status, {**answer.headers, **headers}, answer.body)

        self.route(method, path, name, within_budget)


def _money(minor: int, currency: str) -> dict[str, str]:
    sign, amount = ("-" if minor < 0 else ""), abs(minor)
    text = str(amount) if currency == "JPY" else f"{amount // 100}.{amount % 100:02d}"
    return {"amount": sign + text, "currencyCode": currency}


def _parts(request: Request, known: set[str], default: str) -> set[str]:
    wanted = {each for each in request.first("includedData", default).split(",") if each}
    if wanted - known:
        raise Refused(400, "Invalid 'includedData' provided.")
    return wanted
