"""Shopify (GraphQL Admin API 2026-10): stock is set by compare-and-set, a 200 may be a refusal, callbacks are thin."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from oms.channels.amounts import minor_from_text
from oms.channels.http import LONGEST_PAUSE_SECONDS, HttpChannel
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
    PersonDemand,
    Quantity,
    Reason,
    RowResult,
    ShippedParcel,
    SignatureInvalid,
)
from oms.channels.reading import bare, read_order, read_orders
from oms.runtime.clock import from_text

MAX_QUANTITY = 1_000_000_000
POLL_OVERLAP = timedelta(minutes=10)
_PATH = "/admin/api/2026-10/graphql.json"
_BATCH = 250
"""The longest list that a Shopify mutation takes. Reading as many levels costs 750 of the 1,000 points of a query."""
_ATTEMPTS = 3
_PAUSE_SECONDS = 2.0
_KEYS = uuid.UUID("6f4d1f0e-52f3-5c1b-9a55-70b8a35c2d61")
"""The namespace of our idempotency keys."""

_KINDS = {
    "orders/create": "order.created",
    "orders/paid": "order.created",
    "orders/updated": "order.created",
    "orders/cancelled": "order.cancelled",
    "orders/fulfilled": "order.shipped",
    "orders/partially_fulfilled": "order.shipped",
}
_PRIVACY = frozenset({"customers/data_request", "customers/redact", "shop/redact"})
_PAID = frozenset({"PAID", "PARTIALLY_REFUNDED", "REFUNDED"})
_SPENT_KEYS = frozenset({"IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"})
_PASSING = frozenset({"CHANGE_FROM_QUANTITY_STALE", "IDEMPOTENCY_CONCURRENT_REQUEST"})
_SHIPPABLE = frozenset({"OPEN", "IN_PROGRESS"})
_CARRIERS = {"usps": "USPS", "ups": "UPS", "fedex": "FedEx", "dhl": "DHL Express", "dhlexpress": "DHL Express"}
_CANCEL_REASONS = {
    Reason.BUYER_ASKED: "CUSTOMER",
    Reason.OUT_OF_STOCK: "INVENTORY",
    Reason.RETURNED: "OTHER",
    Reason.OTHER: "OTHER",
}
_GID = re.compile(r"(?:gid://shopify/[A-Za-z]+/)?([0-9]{1,20})")

_LINES = """
  nodes { id sku title quantity currentQuantity originalUnitPriceSet { shopMoney { amount currencyCode } } }
  pageInfo { hasNextPage endCursor }
"""
_ORDER = f"""
  id createdAt updatedAt cancelledAt currencyCode email displayFinancialStatus displayFulfillmentStatus
  customer {{ id displayName }}
  shippingAddress {{ name address1 address2 city provinceCode zip countryCodeV2 }}
  billingAddress {{ countryCodeV2 }}
  currentShippingPriceSet {{ shopMoney {{ amount currencyCode }} }}
  currentTotalTaxSet {{ shopMoney {{ amount currencyCode }} }}
  currentTotalDiscountsSet {{ shopMoney {{ amount currencyCode }} }}
  currentTotalPriceSet {{ shopMoney {{ amount currencyCode }} }}
  totalRefundedSet {{ shopMoney {{ amount currencyCode }} }}
  lineItems(first: 20) {{ {_LINES} }}
"""
_GET_ORDER = f"query order($id: ID!) {{ order(id: $id) {{ {_ORDER} }} }}"
_GET_LINES = f"""query orderLines($id: ID!, $after: String) {{
  order(id: $id) {{ lineItems(first: 100, after: $after) {{ {_LINES} }} }}
}}"""
# Ten orders with twenty lines each stay under the 1,000 points that one query may cost.
_GET_ORDERS = f"""query orders($query: String!, $after: String) {{
  orders(first: 10, after: $after, sortKey: UPDATED_AT, query: $query) {{
    nodes {{ {_ORDER} }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}"""
_SET_QUANTITIES = """mutation setQuantities($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { changes(quantityNames: ["available"]) { quantityAfterChange item { id } } }
    userErrors { code field message }
  }
}"""
_GET_FULFILLMENTS = """query fulfillments($id: ID!) {
  order(id: $id) { fulfillments(first: 100) { status location { id } trackingInfo(first: 5) { number } } }
}"""
_TO_SHIP = """
  nodes { id remainingQuantity lineItem { id } }
  pageInfo { hasNextPage endCursor }
"""
_GET_FULFILLMENT_ORDERS = f"""query fulfillmentOrders($id: ID!, $after: String) {{
  order(id: $id) {{
    fulfillmentOrders(first: 10, after: $after) {{
      nodes {{ id status assignedLocation {{ location {{ id }} }} lineItems(first: 40) {{ {_TO_SHIP} }} }}
      pageInfo {{ hasNextPage endCursor }}
    }}
  }}
}}"""
_GET_TO_SHIP = f"""query linesToShip($id: ID!, $after: String) {{
  fulfillmentOrder(id: $id) {{ lineItems(first: 100, after: $after) {{ {_TO_SHIP} }} }}
}}"""
_FULFILL = """mutation fulfill($fulfillment: FulfillmentInput!) {
  fulfillmentCreate(fulfillment: $fulfillment) { fulfillment { id } userErrors { field message } }
}"""


_CANCEL = """mutation cancel($id: ID!, $reason: OrderCancelReason!) {
  orderCancel(
    orderId: $id
    reason: $reason
    restock: true
    notifyCustomer: true
    refundMethod: {originalPaymentMethodsRefund: true}
  ) { job { id } orderCancelUserErrors { code field message } }
}"""


@dataclass(frozen=True, slots=True)
class ShopifyCredentials:
    """``webhook_secrets`` are the app's client secrets: the old one holds while it is being replaced."""

    access_token: str = field(repr=False)
    shop_domain: str
    location_id: str
    webhook_secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def parse(cls, secret: Mapping[str, Any]) -> ShopifyCredentials:
        """From the secret's JSON; ``KeyError`` names what is missing."""
        return cls(
            str(secret["access_token"]),
            str(secret["shop_domain"]),
            str(secret["location_id"]),
            tuple(secret["webhook_secrets"]),
        )


@dataclass(frozen=True, slots=True)
class PrivacyRequest:
    """What Shopify demands for a person, or for a shop that left: ``topic`` says whether to tell or to erase."""

    topic: str
    event_id: str
    customer_id: str
    order_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Level:
    """What Shopify shows at our location, and since when."""

    quantity: int
    updated_at: str


class ShopifyChannel(HttpChannel[ShopifyCredentials]):
    """Adapter for one shop, whose stock of one location is ours to set."""

    name = "shopify"
    pause_seconds = _PAUSE_SECONDS
    _known = ShopifyCredentials
    capabilities = Capabilities(cancels=True)
    limits = Limits(batch_size=_BATCH, max_quantity=MAX_QUANTITY, requests_per_second=2.0)

    def read_callback(self, callback: Callback, now: datetime) -> Sequence[Notice]:
        """Verify, then name the order, or the person whose data is to be told or erased."""
        topic, event_id, payload = self._verified(callback)
        if topic in _PRIVACY:
            demand = self._privacy_request(topic, event_id, payload)
            kind = "report" if topic == "customers/data_request" else "erase"
            buyers = (demand.customer_id,) if demand.customer_id else ()
            everybody = topic == "shop/redact"
            return [Notice("person", "", event_id, demand=PersonDemand(kind, buyers, demand.order_ids, everybody))]
        if topic not in _KINDS:
            return []
        return [Notice(_KINDS[topic], _whole_id(payload.get("id")), event_id)]

    def fetch_order(self, external_id: str) -> ExternalOrder | None:
        """The order by its number, as text: Shopify's ids are beyond what a float can hold."""
        if not _GID.fullmatch(external_id):
            return None
        order = self._ask(_GET_ORDER, id=_gid("Order", external_id))["order"]
        return None if order is None else read_order(self.name, _order, self._with_all_lines(order))

    def orders_since(self, since: datetime) -> Iterator[ExternalOrder]:
        """Orders changed since then, less an overlap, by time of change.

        Cursors hold the place by value, so that an order which changes meanwhile shifts no other.
        """
        moment = (since - POLL_OVERLAP).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for order in self._pages(_GET_ORDERS, ("orders",), query=f"updated_at:>='{moment}'"):
            yield from read_orders(self.name, _order, "id", [self._with_all_lines(order)])

    def read_quantities(self, listings: Sequence[ListingRef]) -> Mapping[str, int]:
        """What is available at our location; an item that is not stocked there is absent."""
        levels = self._levels(listings)
        return {sku: level.quantity for sku, level in levels.items()}

    def push_quantities(self, rows: Sequence[Quantity]) -> Sequence[RowResult]:
        """Set what is available, each row only if Shopify still shows what the caller saw.

        Shopify lowers the number itself when it sells. A row that is no longer as it was seen is therefore not
        written but comes back retryable: the sale has to be heard of first. A call with a faulty row changes
        nothing, so the rows without fault are sent again without it.
        """
        if len(rows) > self.limits.batch_size:
            raise ValueError(f"at most {self.limits.batch_size} rows")
        if not rows:
            return []
        levels = self._levels([row.listing for row in rows])
        results: dict[int, RowResult] = {}
        waiting: dict[int, Quantity] = {}
        for index, row in enumerate(rows):
            level = levels.get(row.listing.sku)
            if level is None:
                results[index] = RowResult(row.listing.sku, False, 0, "shopify does not stock it at our location")
            elif level.quantity == _clamped(row):
                results[index] = RowResult(row.listing.sku, True, level.quantity)
            elif row.seen is not None and level.quantity != row.seen:
                results[index] = _sold_meanwhile(row, level.quantity)
            else:
                waiting[index] = row
        for attempt in range(_ATTEMPTS):
            done = self._set(waiting, levels, attempt) if waiting else {}
            results.update(done)
            waiting = {index: row for index, row in waiting.items() if index not in done}
        for index, row in waiting.items():
            results[index] = RowResult(row.listing.sku, False, 0, "shopify did not come to it", retryable=True)
        return [results[index] for index in range(len(rows))]

    def confirm_shipment(self, external_id: str, parcel: ShippedParcel) -> None:
        """Fulfil what the parcel holds, unless it is told already: Shopify writes to the buyer on every success.

        One fulfilment may not span locations, so a parcel is told once for each that Shopify assigned its lines
        to. Without lines it holds everything that is left.
        """
        number = external_id if _GID.fullmatch(external_id) else "0"
        told = self._ask(_GET_FULFILLMENTS, id=_gid("Order", number))["order"]
        if told is None:
            raise ChannelRefused(f"shopify knows no order {external_id}")
        tracking = bare(parcel.tracking_number)
        done = {_location(each) for each in told["fulfillments"] if tracking and _carries(each, tracking)}
        for location, lines in self._to_ship(number, parcel.lines).items():
            if location in done:
                continue
            wanted: dict[str, Any] = {"lineItemsByFulfillmentOrder": lines, "notifyCustomer": True}
            if tracking:
                wanted["trackingInfo"] = {"number": parcel.tracking_number, "company": _carrier(parcel.carrier)}
            answer = self._ask(_FULFILL, fulfillment=wanted)["fulfillmentCreate"] or {}
            if answer.get("userErrors") or not answer.get("fulfillment"):
                raise ChannelRefused(f"shopify refused the shipment: {_told(answer.get('userErrors') or [])}")

    def cancel_order(self, external_id: str, reason: Reason) -> None:
        """Shopify cancels later, gives the money back and restocks; a cancelled order is left alone."""
        number = external_id if _GID.fullmatch(external_id) else "0"
        order = self._ask(_GET_ORDER, id=_gid("Order", number))["order"]
        if order is None:
            raise ChannelRefused(f"shopify knows no order {external_id}")
        if order.get("cancelledAt"):
            return
        answer = self._ask(_CANCEL, id=_gid("Order", number), reason=_CANCEL_REASONS[reason])["orderCancel"] or {}
        if answer.get("orderCancelUserErrors"):
            raise ChannelRefused(f"shopify refused to cancel: {_told(answer['orderCancelUserErrors'])}")

    def refund_up_to(self, external_id: str, total: int, reason: Reason) -> None:
        """Shopify's refunds name the payments that they draw on, which we do not read."""
        raise ChannelRefused("shopify's refunds are made in its admin")

    def _headers(self) -> Mapping[str, str]:
        return {"x-shopify-access-token": self._credentials().access_token}

    def _ask(self, document: str, /, **variables: Any) -> dict[str, Any]:
        """One operation's data. An answer with errors is a failure, whatever its status says."""
        payload = {"query": document, "variables": variables}
        answer = self._api.document(self._api.send("POST", _PATH, payload=payload))
        if answer.get("errors"):
            raise _failure(answer)
        data = answer.get("data")
        if not isinstance(data, dict):
            raise ChannelUnavailable("shopify answered without data")
        return data

    def _pages(self, document: str, path: Sequence[str], /, **variables: Any) -> Iterator[dict[str, Any]]:
        after: str | None = variables.pop("after", None)
        while True:
            page: Any = self._ask(document, after=after, **variables)
            for name in path:
                page = page[name]
            yield from page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    def _with_all_lines(self, order: dict[str, Any]) -> dict[str, Any]:
        lines = order.get("lineItems") or {}
        if not (lines.get("pageInfo") or {}).get("hasNextPage"):
            return order
        more = self._pages(_GET_LINES, ("order", "lineItems"), id=order["id"], after=lines["pageInfo"]["endCursor"])
        return {**order, "lineItems": {"nodes": [*lines["nodes"], *more]}}

    def _levels(self, listings: Sequence[ListingRef]) -> dict[str, _Level]:
        known = [each for each in listings if _GID.fullmatch(each.listing_id)]
        found: dict[str, _Level] = {}
        for start in range(0, len(known), _BATCH):
            found.update(self._read_levels(known[start : start + _BATCH]))
        return found

    def _read_levels(self, listings: Sequence[ListingRef]) -> dict[str, _Level]:
        """One query for all: each item is asked for under a name of its own."""
        names = [f"i{index}" for index in range(len(listings))]
        level = 'inventoryLevel(locationId: $location) { quantities(names: ["available"]) { quantity updatedAt } }'
        items = " ".join(f"{name}: inventoryItem(id: ${name}) {{ {level} }}" for name in names)
        declared = "".join(f", ${name}: ID!" for name in names)
        ids = {name: _gid("InventoryItem", each.listing_id) for name, each in zip(names, listings, strict=True)}
        query = f"query levels($location: ID!{declared}) {{ {items} }}"
        data = self._ask(query, location=self._location(), **ids)
        levels: dict[str, _Level] = {}
        for name, each in zip(names, listings, strict=True):
            shown = ((data[name] or {}).get("inventoryLevel") or {}).get("quantities")
            if shown:
                levels[each.sku] = _Level(int(shown[0]["quantity"]), str(shown[0]["updatedAt"]))
        return levels

    def _set(self, rows: Mapping[int, Quantity], levels: Mapping[str, _Level], attempt: int) -> dict[int, RowResult]:
        """Ask once; returns the rows that are settled by the answer.

        The key follows from the cause: the versions of our stock, Shopify's levels as they stood since then, and the
        numbers they change to. A repeat of the call is thus one change, and the same change of a later day another.
        """
        location = self._location()
        indexes = list(rows)
        quantities = [
            {
                "inventoryItemId": _gid("InventoryItem", rows[index].listing.listing_id),
                "locationId": location,
                "quantity": _clamped(rows[index]),
                "changeFromQuantity": levels[rows[index].listing.sku].quantity,
            }
            for index in indexes
        ]
        cause = [(rows[index].version, levels[rows[index].listing.sku].updated_at) for index in indexes]
        key = str(uuid.uuid5(_KEYS, json.dumps([quantities, cause, attempt])))
        wanted = {"name": "available", "reason": "correction", "quantities": quantities}
        answer = self._ask(_SET_QUANTITIES, input=wanted, key=key)["inventorySetQuantities"] or {}
        errors = answer.get("userErrors") or []
        if any(error.get("code") in _SPENT_KEYS for error in errors):
            return {}
        faulty = {indexes[place]: error for error in errors if (place := _place(error, len(indexes))) is not None}
        if faulty:
            return self._faulty({index: (rows[index], error) for index, error in faulty.items()})
        if errors:
            return {index: _refused(row, errors[0]) for index, row in rows.items()}
        changes = (answer.get("inventoryAdjustmentGroup") or {}).get("changes") or []
        shown = {each["item"]["id"]: each["quantityAfterChange"] for each in changes if each.get("item")}
        asked = zip(indexes, quantities, strict=True)
        return {index: _confirmed(rows[index], shown.get(each["inventoryItemId"])) for index, each in asked}

    def _faulty(self, rows: Mapping[int, tuple[Quantity, Mapping[str, Any]]]) -> dict[int, RowResult]:
        stale = [row.listing for row, error in rows.values() if error.get("code") == "CHANGE_FROM_QUANTITY_STALE"]
        fresh = self._levels(stale)
        results = {}
        for index, (row, error) in rows.items():
            level = fresh.get(row.listing.sku)
            results[index] = _sold_meanwhile(row, level.quantity) if level else _refused(row, error)
        return results

    def _to_ship(self, number: str, lines: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
        """What is left of these lines (of all, without any), by location, as ``fulfillmentCreate`` takes it."""
        left = dict(lines)
        found: dict[str, list[dict[str, Any]]] = {}
        path = ("order", "fulfillmentOrders")
        for each in self._pages(_GET_FULFILLMENT_ORDERS, path, id=_gid("Order", number)):
            if each["status"] not in _SHIPPABLE:
                continue
            taken = []
            for line in self._lines_to_ship(each):
                line_id, units = _number(line["lineItem"]["id"]), int(line["remainingQuantity"])
                if lines:
                    units = min(units, left.get(line_id, 0))
                    left[line_id] = left.get(line_id, 0) - units
                if units > 0:
                    taken.append({"id": line["id"], "quantity": units})
            if taken:
                entry = {"fulfillmentOrderId": each["id"], "fulfillmentOrderLineItems": taken}
                found.setdefault(_location(each["assignedLocation"]), []).append(entry)
        return found

    def _lines_to_ship(self, fulfillment_order: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        lines = fulfillment_order["lineItems"]
        yield from lines["nodes"]
        if lines["pageInfo"]["hasNextPage"]:
            path, after = ("fulfillmentOrder", "lineItems"), lines["pageInfo"]["endCursor"]
            yield from self._pages(_GET_TO_SHIP, path, id=fulfillment_order["id"], after=after)

    def _location(self) -> str:
        return _gid("Location", self._credentials().location_id)

    def _privacy_request(self, topic: str, event_id: str, payload: Mapping[str, Any]) -> PrivacyRequest:
        # One app secret signs for every shop that the app is in, and only the body is signed.
        if payload.get("shop_domain") != self._credentials().shop_domain:
            raise SignatureInvalid("the body is no privacy demand of our shop")
        if topic == "shop/redact":
            return PrivacyRequest(topic, event_id, "", ())
        orders = payload.get("orders_to_redact") or payload.get("orders_requested") or []
        customer = payload.get("customer")
        if not isinstance(customer, dict) or not isinstance(orders, list):
            raise SignatureInvalid("the body is not a privacy demand")
        ids = tuple(_whole_id(each) for each in orders)
        return PrivacyRequest(topic, event_id, _whole_id(customer.get("id")), ids)

    def _verified(self, callback: Callback) -> tuple[str, str, dict[str, Any]]:
        """Topic, event id and payload of a callback whose signature holds over the body as it came.

        The signature does not cover the headers, so the topic and the shop are only hints: what a notice names
        is fetched, and a privacy demand has to hold what such demands hold.
        """
        credentials = self._credentials()
        _verify(callback, credentials.webhook_secrets)
        topic, shop = _header(callback, "topic"), _header(callback, "shop-domain")
        event_id = _header(callback, "webhook-id")
        if shop != credentials.shop_domain:
            raise SignatureInvalid("the event is another shop's")
        if not event_id:
            raise SignatureInvalid("the event has no id")
        try:
            payload = json.loads(callback.body)
        except (ValueError, RecursionError) as error:
            raise SignatureInvalid("the body is not a Shopify event") from error
        if not isinstance(payload, dict):
            raise SignatureInvalid("the body is not a Shopify event")
        return topic, event_id, payload


def _header(callback: Callback, name: str) -> str:
    """Shopify sends its headers with and without ``x-``."""
    return callback.headers.get(f"x-shopify-{name}") or callback.headers.get(f"shopify-{name}") or ""


def _verify(callback: Callback, secrets: Sequence[str]) -> None:
    offered = _header(callback, "hmac-sha256").encode()
    if not offered:
        raise SignatureInvalid("the signature header is missing")
    matched = False
    for secret in secrets:
        if not secret:
            raise ValueError("a Shopify webhook secret is empty")
        digest = hmac.new(secret.encode(), callback.body, hashlib.sha256).digest()
        matched |= hmac.compare_digest(base64.b64encode(digest), offered)
    if not matched:
        raise SignatureInvalid("no signature matches")


def _whole_id(value: Any) -> str:
    """An id of a payload as text. Such numbers do not fit a float, so one that arrived as a float is no id."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return str(value)
    raise SignatureInvalid("the event does not name what it is about")


def _failure(answer: Mapping[str, Any]) -> Exception:
    told = answer["errors"]
    errors: list[Any] = told if isinstance(told, list) else [{"message": str(told)}]
    codes = {(each.get("extensions") or {}).get("code") for each in errors if isinstance(each, dict)}
    said = f"shopify answered with errors: {_told(errors)}"
    if "THROTTLED" in codes:
        return ChannelThrottled(said, _pause(answer))
    if codes & {"INTERNAL_SERVER_ERROR", "TIMEOUT"}:
        return ChannelUnavailable(said)
    return ChannelRefused(said)


def _pause(answer: Mapping[str, Any]) -> float:
    """How long the points that a query asked for take to come back."""
    try:
        cost = answer["extensions"]["cost"]
        status = cost["throttleStatus"]
        missing = float(cost["requestedQueryCost"]) - float(status["currentlyAvailable"])
        seconds = missing / float(status["restoreRate"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return _PAUSE_SECONDS
    return min(seconds, LONGEST_PAUSE_SECONDS) if seconds > 0 else _PAUSE_SECONDS


def _told(errors: Sequence[Any]) -> str:
    known = [each for each in errors if isinstance(each, dict)]
    return "; ".join(f"{each.get('code') or ''} {each.get('message', '')}".strip() for each in known)[:200]


def _place(error: Mapping[str, Any], rows: int) -> int | None:
    """Which row an error is about: its field reads ``input, quantities, 3, changeFromQuantity``."""
    for part in error.get("field") or []:
        if str(part).isascii() and str(part).isdigit() and int(part) < rows:
            return int(part)
    return None


def _sold_meanwhile(row: Quantity, quantity: int) -> RowResult:
    detail = f"shopify shows {quantity} by now: its sales have to be heard of first"
    return RowResult(row.listing.sku, False, quantity, detail, retryable=True)


def _refused(row: Quantity, error: Mapping[str, Any]) -> RowResult:
    return RowResult(row.listing.sku, False, 0, _told([error]), retryable=error.get("code") in _PASSING)


def _confirmed(row: Quantity, shown: int | None) -> RowResult:
    """A row counts only if Shopify's answer shows its number."""
    if shown == _clamped(row):
        return RowResult(row.listing.sku, True, shown)
    return RowResult(row.listing.sku, False, shown or 0, "shopify answered with another quantity", retryable=True)


def _clamped(row: Quantity) -> int:
    return min(max(0, row.quantity), MAX_QUANTITY)


def _gid(kind: str, known: str) -> str:
    return f"gid://shopify/{kind}/{_number(known)}"


def _number(known: str) -> str:
    """The number of an id, given as such or within ``gid://shopify/…``."""
    match = _GID.fullmatch(known)
    if match is None:
        raise ChannelRefused(f"{known!r} is no Shopify id")
    return match.group(1)


def _location(holder: Mapping[str, Any]) -> str:
    return str((holder.get("location") or {}).get("id") or "")


def _carries(fulfillment: Mapping[str, Any], tracking: str) -> bool:
    told = {bare(each.get("number") or "") for each in fulfillment.get("trackingInfo") or []}
    return fulfillment.get("status") != "CANCELLED" and tracking in told


def _carrier(name: str) -> str:
    return _CARRIERS.get(bare(name).lower(), "Other")


def _order(order: Mapping[str, Any]) -> ExternalOrder:
    currency = str(order["currencyCode"])

    def money(bag: Mapping[str, Any] | None) -> int:
        if not bag:
            return 0
        if bag["shopMoney"]["currencyCode"] != currency:
            raise ChannelRefused("an order mixes currencies")
        return minor_from_text(str(bag["shopMoney"]["amount"]), currency)

    untouched = order.get("displayFulfillmentStatus") == "UNFULFILLED"
    payment = order.get("displayFinancialStatus")
    # A refund in full before anything left is a cancellation by another name.
    cancelled = bool(order.get("cancelledAt")) or (payment == "REFUNDED" and untouched)
    # What was edited out or taken back is gone; a cancelled order is shown as it was bought.
    units = "quantity" if cancelled else "currentQuantity"
    lines = tuple(
        ExternalLine(
            external_line_id=_number(line["id"]),
            sku=line.get("sku") or "",
            title=line.get("title") or "",
            quantity=int(line[units]),
            unit_price=money(line["originalUnitPriceSet"]),
        )
        for line in order["lineItems"]["nodes"]
        if int(line[units]) > 0
    )
    customer = order.get("customer") or {}
    where = order.get("shippingAddress") or {}
    name = where.get("name") or customer.get("displayName") or ""
    return ExternalOrder(
        external_id=_number(order["id"]),
        buyer_id=_number(customer["id"]) if customer else "",
        buyer_name=name,
        buyer_email=order.get("email") or None,
        address=ExternalAddress(
            name=name,
            line1=where.get("address1") or "",
            line2=where.get("address2") or "",
            city=where.get("city") or "",
            region=where.get("provinceCode") or "",
            postal_code=where.get("zip") or "",
            country=where.get("countryCodeV2") or (order.get("billingAddress") or {}).get("countryCodeV2") or "",
        ),
        lines=lines,
        currency=currency,
        items_total=sum(line.unit_price * line.quantity for line in lines),
        shipping_total=money(order.get("currentShippingPriceSet")),
        tax_total=money(order.get("currentTotalTaxSet")),
        discount_total=money(order.get("currentTotalDiscountsSet")),
        grand_total=money(order["currentTotalPriceSet"]),
        # An authorisation that was not captured is no payment: the order is taken in once the money is.
        paid=payment in _PAID,
        cancelled=cancelled,
        placed_at=from_text(order["createdAt"]).astimezone(UTC),
        updated_at=from_text(order["updatedAt"]).astimezone(UTC),
        refunded_total=money(order.get("totalRefundedSet")),
        lines_show_what_is_left=not cancelled,
    )
