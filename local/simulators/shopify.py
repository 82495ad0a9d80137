"""A simulated Shopify: one shop's stock, orders, fulfilments and signed callbacks, by the GraphQL Admin API."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    IntValueNode,
    OperationDefinitionNode,
    VariableNode,
    build_schema,
    execute_sync,
    get_directive_values,
    get_named_type,
    parse,
    validate,
)

from local.simulators.core import Clock, Deliver, Delivery, Request, Response
from local.simulators.marketplace import Marketplace, Purchase, Refused, TokenBucket

SHOP_DOMAIN = "sim-shop.myshopify.com"
ACCESS_TOKEN = "shpat_sim_token"  # noqa: S105 - the simulator's own
WEBHOOK_SECRET = "shpss_sim_secret"  # noqa: S105
LOCATION_ID = "70000000001"

MAX_QUANTITY = 1_000_000_000
MAX_ROWS = 250
MAX_COST = 1_000
_FIRST_ORDER = 2**53 + 1
"""Beyond what a float can tell apart, as real ids may be."""
_VERSION = "2026-10"
_REASONS = frozenset({"correction", "cycle_count_available", "damaged", "other", "received", "restock", "shrinkage"})
_SINCE = re.compile(r"updated_at:>='(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)'")
_SCHEMA = build_schema(
    """
    directive @idempotent(key: String!) on FIELD
    scalar DateTime
    scalar Decimal
    scalar URL
    type Query {
      inventoryItem(id: ID!): InventoryItem
      order(id: ID!): Order
      orders(first: Int, after: String, sortKey: OrderSortKeys = PROCESSED_AT, query: String): OrderConnection!
      fulfillmentOrder(id: ID!): FulfillmentOrder
    }
    type Mutation {
      inventorySetQuantities(input: InventorySetQuantitiesInput!): InventorySetQuantitiesPayload
      fulfillmentCreate(fulfillment: FulfillmentInput!, message: String): FulfillmentCreatePayload
      orderCancel(
        orderId: ID!, reason: OrderCancelReason!, restock: Boolean!, notifyCustomer: Boolean,
        refundMethod: OrderCancelRefundMethodInput, staffNote: String
      ): OrderCancelPayload
    }
    enum OrderCancelReason { CUSTOMER DECLINED FRAUD INVENTORY OTHER STAFF }
    input OrderCancelRefundMethodInput { originalPaymentMethodsRefund: Boolean }
    type Job { id: ID! done: Boolean! }
    type OrderCancelUserError { code: String field: [String!] message: String! }
    type OrderCancelPayload { job: Job orderCancelUserErrors: [OrderCancelUserError!]! }
    enum OrderSortKeys { CREATED_AT ID PROCESSED_AT UPDATED_AT }
    type PageInfo { hasNextPage: Boolean! endCursor: String }
    type MoneyV2 { amount: Decimal! currencyCode: String! }
    type MoneyBag { shopMoney: MoneyV2! }
    type Location { id: ID! }
    type InventoryItem { id: ID! sku: String inventoryLevel(locationId: ID!): InventoryLevel }
    type InventoryLevel { id: ID! quantities(names: [String!]!): [InventoryQuantity!]! }
    type InventoryQuantity { name: String! quantity: Int! updatedAt: DateTime }
    type Customer { id: ID! displayName: String! }
    type MailingAddress {
      name: String address1: String address2: String city: String provinceCode: String zip: String
      countryCodeV2: String
    }
    type OrderConnection { nodes: [Order!]! pageInfo: PageInfo! }
    type Order {
      id: ID! name: String! createdAt: DateTime! updatedAt: DateTime! cancelledAt: DateTime currencyCode: String!
      email: String displayFinancialStatus: String displayFulfillmentStatus: String! customer: Customer
      shippingAddress: MailingAddress billingAddress: MailingAddress
      currentShippingPriceSet: MoneyBag! currentTotalTaxSet: MoneyBag! currentTotalDiscountsSet: MoneyBag!
      currentTotalPriceSet: MoneyBag! totalRefundedSet: MoneyBag!
      lineItems(first: Int, after: String): LineItemConnection!
      fulfillments(first: Int): [Fulfillment!]!
      fulfillmentOrders(first: Int, after: String): FulfillmentOrderConnection!
    }
    type LineItemConnection { nodes: [LineItem!]! pageInfo: PageInfo! }
    type LineItem {
      id: ID! sku: String title: String! quantity: Int! currentQuantity: Int! originalUnitPriceSet: MoneyBag!
    }
    type Fulfillment {
      id: ID! status: String! location: Location trackingInfo(first: Int): [FulfillmentTrackingInfo!]!
    }
    type FulfillmentTrackingInfo { company: String number: String url: URL }
    type FulfillmentOrderConnection { nodes: [FulfillmentOrder!]! pageInfo: PageInfo! }
    type FulfillmentOrder {
      id: ID! status: String! assignedLocation: FulfillmentOrderAssignedLocation!
      lineItems(first: Int, after: String): FulfillmentOrderLineItemConnection!
    }
    type FulfillmentOrderAssignedLocation { location: Location }
    type FulfillmentOrderLineItemConnection { nodes: [FulfillmentOrderLineItem!]! pageInfo: PageInfo! }
    type FulfillmentOrderLineItem { id: ID! remainingQuantity: Int! lineItem: LineItem! }
    input InventorySetQuantitiesInput {
      name: String! reason: String! referenceDocumentUri: String quantities: [InventoryQuantityInput!]!
    }
    input InventoryQuantityInput {
      inventoryItemId: ID! locationId: ID! quantity: Int! changeFromQuantity: Int
    }
    type InventorySetQuantitiesPayload {
      inventoryAdjustmentGroup: InventoryAdjustmentGroup userErrors: [InventorySetQuantitiesUserError!]!
    }
    type InventoryAdjustmentGroup { id: ID! changes(quantityNames: [String!]): [InventoryChange!]! }
    type InventoryChange { name: String! delta: Int! quantityAfterChange: Int item: InventoryItem }
    type InventorySetQuantitiesUserError { code: String field: [String!] message: String! }
    input FulfillmentInput {
      lineItemsByFulfillmentOrder: [FulfillmentOrderLineItemsInput!]! notifyCustomer: Boolean = false
      trackingInfo: FulfillmentTrackingInput
    }
    input FulfillmentOrderLineItemsInput {
      fulfillmentOrderId: ID! fulfillmentOrderLineItems: [FulfillmentOrderLineItemInput!]
    }
    input FulfillmentOrderLineItemInput { id: ID! quantity: Int! }
    input FulfillmentTrackingInput { company: String number: String url: URL }
    type FulfillmentCreatePayload { fulfillment: Fulfillment userErrors: [UserError!]! }
    type UserError { field: [String!] message: String! }
    schema { query: Query mutation: Mutation }
    """
)


@dataclass(slots=True)
class _Item:
    """One SKU's stock at one location. What is sold but not shipped counts as committed."""

    item_id: str
    sku: str
    title: str
    price: int
    currency: str
    location: str
    available: int
    updated: str
    committed: int = 0

    def row(self) -> dict[str, Any]:
        return {"id": self.item_id, "sku": self.sku, "inventoryLevel": self._level}

    def _level(self, _: GraphQLResolveInfo, locationId: str) -> dict[str, Any] | None:
        if locationId != self.location:
            return None
        amounts = {
            "available": self.available,
            "committed": self.committed,
            "on_hand": self.available + self.committed,
        }

        def quantities(_: GraphQLResolveInfo, names: Sequence[str]) -> list[dict[str, Any]]:
            return [{"name": name, "quantity": amounts[name], "updatedAt": self.updated} for name in names]

        return {"id": self.item_id.replace("Item", "Level"), "quantities": quantities}


@dataclass(slots=True)
class _Order:
    shown: dict[str, Any]
    lines: list[dict[str, Any]]
    to_ship: list[dict[str, Any]]
    fulfillments: list[dict[str, Any]]
    mails: int = 0


class ShopifyCore(Marketplace):
    """One shop. Credentials, limits and subscriptions are keywords and ``/_sim/config`` keys."""

    def __init__(
        self,
        clock: Clock,
        deliver: Deliver,
        *,
        access_token: str = ACCESS_TOKEN,
        webhook_secret: str = WEBHOOK_SECRET,
        shop_domain: str = SHOP_DOMAIN,
        callback_url: str = "",
        points: int = 2_000,
        points_per_second: int = 100,
    ) -> None:
        super().__init__(clock, deliver, callback_url)
        self._credentials = {
            "access_token": access_token,
            "webhook_secret": webhook_secret,
            "shop_domain": shop_domain,
        }
        self._topics = {"orders/paid", "orders/updated", "orders/cancelled", "orders/fulfilled"}
        self._restore = points_per_second
        self._points = TokenBucket(points, points / points_per_second, clock)
        self._items: dict[str, _Item] = {}
        self._by_sku: dict[str, _Item] = {}
        self._orders: dict[str, _Order] = {}
        self._attempts: dict[str, tuple[Any, dict[str, Any]]] = {}
        self.route("POST", f"/admin/api/{_VERSION}/graphql.json", "graphql", self._graphql)
        self.control("POST", "/_sim/privacy", "privacy", self._sim_privacy)

    def operation(self, name: str, request: Request) -> str:
        """The first field that is asked for."""
        try:
            definition = parse(request.json()["query"]).definitions[0]
        except (GraphQLError, ValueError, KeyError, TypeError):
            return name
        fields = definition.selection_set.selections if isinstance(definition, OperationDefinitionNode) else ()
        return next((field.name.value for field in fields if isinstance(field, FieldNode)), name)

    def authorize(self, request: Request) -> None:
        """An access token, and JSON."""
        if request.headers.get("x-shopify-access-token") != self._credentials["access_token"]:
            raise Refused(401, "[API] Invalid API key or access token (unrecognized login or wrong password)")
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise Refused(415, "Unsupported media type")

    def refusal(self, refused: Refused) -> Response:
        """Outside GraphQL, errors are one sentence."""
        return Response.of(refused.status, {"errors": refused.message})

    def throttled(self, retry_after: float | None) -> Response:
        """A 200 that says what the query would have cost, or keeps it to itself."""
        answer: dict[str, Any] = {"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}
        if retry_after is not None:
            asked = self._points.left() + round(retry_after * self._restore)
            answer["extensions"] = self._cost(asked, None)
        return Response.of(200, answer)

    def limit(self) -> float:
        """Points are taken once the query is read."""
        return 0.0

    def configure(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Credentials, ``points``, ``points_per_second`` and the subscribed ``topics``."""
        wanted = dict(told)
        self._topics = {str(each) for each in wanted.pop("topics", self._topics)}
        self._restore = int(wanted.pop("points_per_second", self._restore))
        points = int(wanted.pop("points", self._points.capacity))
        self._points = TokenBucket(points, points / self._restore, self.clock)
        if unknown := sorted(set(wanted) - set(self._credentials)):
            raise ValueError(f"no such setting: {', '.join(unknown)}")
        self._credentials.update({name: str(value) for name, value in wanted.items()})
        return {"shop_domain": self._credentials["shop_domain"], "location_id": LOCATION_ID}

    def put_on_sale(self, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A variant with its inventory item, whose number is the listing's id; ``location_id`` may be told."""
        sku = str(told["sku"])
        if sku not in self._by_sku:
            item = _Item(
                _gid("InventoryItem", self.next_number("item", 43_729_076_001)),
                sku,
                str(told.get("title") or sku),
                int(told.get("price_minor", 1000)),
                str(told.get("currency", "USD")),
                _gid("Location", told.get("location_id", LOCATION_ID)),
                int(told.get("quantity", 0)),
                self._now(),
            )
            self._by_sku[sku] = self._items[item.item_id] = item
        return [{"sku": sku, "listing_id": self._by_sku[sku].item_id.rpartition("/")[2]}]

    def shown(self, sku: str) -> int | None:
        """What is available; an app may have set it below nothing."""
        item = self._by_sku.get(sku)
        return None if item is None else max(0, item.available)

    def sell(self, purchase: Purchase) -> str:
        """What was available is committed, and the shop's fulfilment orders follow its locations."""
        number = str(self.next_number("order", _FIRST_ORDER))
        lines = []
        to_ship: dict[str, dict[str, Any]] = {}
        for sku, quantity in purchase.lines:
            item = self._by_sku[sku]
            item.available -= quantity
            item.committed += quantity
            item.updated = self._now()
            line = {
                "id": _gid("LineItem", self.next_number("line", _FIRST_ORDER)),
                "sku": sku,
                "title": item.title,
                "quantity": quantity,
                "currentQuantity": quantity,
                "originalUnitPriceSet": _bag(item.price, item.currency),
            }
            lines.append(line)
            assigned = to_ship.setdefault(item.location, self._new_fulfillment_order(item.location, number))
            part = _gid("FulfillmentOrderLineItem", self.next_number("part", 9_001))
            assigned["parts"].append({"id": part, "remainingQuantity": quantity, "lineItem": line})
        order = _Order(self._new_order(number, lines, purchase), lines, list(to_ship.values()), [])
        self._orders[order.shown["id"]] = order
        self._announce("orders/create", order)
        if purchase.paid:
            self._announce("orders/paid", order)
        return number

    def cancel(self, order_id: str) -> bool:
        """Restocked at the shop, as its own page proposes."""
        order = self._orders.get(_gid("Order", order_id))
        if order is None:
            return False
        for line in order.lines:
            item = self._by_sku[line["sku"]]
            item.available += line["currentQuantity"]
            item.committed -= line["currentQuantity"]
            item.updated = self._now()
            line["currentQuantity"] = 0
        for each in order.to_ship:
            each["status"] = "CANCELLED"
        order.shown["cancelledAt"] = self._now()
        self._touch(order)
        self._announce("orders/cancelled", order)
        return True

    def refund(self, order_id: str, amount: int, removed: Mapping[str, int]) -> bool:
        """Units that are taken out are restocked at the shop."""
        order = self._orders.get(_gid("Order", order_id))
        if order is None:
            return False
        currency = order.shown["currencyCode"]
        before = order.shown["totalRefundedSet"]["shopMoney"]["amount"]
        order.shown["totalRefundedSet"] = _bag(round(float(before) * 100) + amount, currency)
        order.shown["displayFinancialStatus"] = "PARTIALLY_REFUNDED"
        for line in order.lines:
            units = min(removed.get(line["sku"], 0), line["currentQuantity"])
            line["currentQuantity"] -= units
            self._by_sku[line["sku"]].available += units
            self._by_sku[line["sku"]].committed -= units
        self._touch(order)
        self._announce("orders/updated", order)
        return True

    def order_report(self, order_id: str) -> dict[str, Any] | None:
        """With how often the buyer was written to."""
        order = self._orders.get(_gid("Order", order_id))
        if order is None:
            return None
        return {
            "order_id": order_id,
            "cancelled": order.shown["cancelledAt"] is not None,
            "lines": [{"sku": each["sku"], "quantity": each["quantity"]} for each in order.lines],
            "shipments": [
                {
                    "carrier": each["tracking"].get("company"),
                    "tracking_number": each["tracking"].get("number"),
                    "location": each["location"]["id"],
                    "lines": each["lines"],
                }
                for each in order.fulfillments
            ],
            "mails": order.mails,
        }

    def _sim_privacy(self, request: Request, _: Mapping[str, str]) -> Response:
        told = request.json()
        self.announce_privacy(str(told["topic"]), told["payload"])
        return Response.of(200, {})

    def announce_privacy(self, topic: str, payload: Mapping[str, Any]) -> None:
        """What every app has to honour: ``customers/redact`` and its like."""
        body = {"shop_id": 548380009, "shop_domain": self._credentials["shop_domain"], **payload}
        self._send(topic, json.dumps(body, separators=(",", ":")).encode())

    # GraphQL.

    def _graphql(self, request: Request, _: Mapping[str, str]) -> Response:
        asked = request.json()
        try:
            document = parse(asked["query"])
        except GraphQLError as error:
            return _errors([error])
        if wrong := validate(_SCHEMA, document):
            return _errors(wrong)
        (operation,) = document.definitions
        if not isinstance(operation, OperationDefinitionNode):
            raise Refused(400, "One operation is expected")
        cost = _cost_of(operation, asked.get("variables") or {})
        if cost > MAX_COST:
            message = f"Query cost is {cost}, which exceeds the single query max cost limit ({MAX_COST})."
            dear = {"message": message, "extensions": {"code": "MAX_COST_EXCEEDED", "cost": cost}}
            return Response.of(200, {"errors": [dear]})
        if (wait := self._points.take(cost)) > 0:
            return self.throttled(wait)
        result = execute_sync(_SCHEMA, document, self._root(), variable_values=asked.get("variables") or {})
        answer: dict[str, Any] = dict(result.formatted)
        answer["extensions"] = self._cost(cost, cost)
        return Response.of(200, answer)

    def _root(self) -> dict[str, Callable[..., Any]]:
        return {
            "inventoryItem": lambda _, id: self._items[id].row() if id in self._items else None,
            "order": lambda _, id: self._order_row(self._orders[id]) if id in self._orders else None,
            "orders": self._list_orders,
            "fulfillmentOrder": self._fulfillment_order,
            "inventorySetQuantities": self._set_quantities,
            "fulfillmentCreate": self._fulfill,
            "orderCancel": self._cancel_asked,
        }

    def _cost(self, asked: int, actual: int | None) -> dict[str, Any]:
        status = {
            "maximumAvailable": float(self._points.capacity),
            "currentlyAvailable": self._points.left(),
            "restoreRate": float(self._restore),
        }
        return {"cost": {"requestedQueryCost": asked, "actualQueryCost": actual, "throttleStatus": status}}

    # Inventory.

    def _set_quantities(self, info: GraphQLResolveInfo, input: Mapping[str, Any]) -> dict[str, Any]:
        directive = _SCHEMA.get_directive("idempotent")
        told = directive and get_directive_values(directive, info.field_nodes[0], info.variable_values)
        if not told:
            raise GraphQLError("The @idempotent directive is required for this mutation but was not provided.")
        rows = input["quantities"]
        if len(rows) > MAX_ROWS:
            raise GraphQLError(
                f"The input array size of {len(rows)} is greater than the maximum allowed of {MAX_ROWS}."
            )
        if any("changeFromQuantity" not in row for row in rows):
            raise GraphQLError("changeFromQuantity has to be given; null skips the comparison.")
        key = told["key"]
        if key in self._attempts:
            before, answer = self._attempts[key]
            if before != input:
                return _not_set([_set_error("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", "The key was used otherwise.")])
            if answer["userErrors"]:
                return _not_set([_set_error("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "Retry with a new key.")])
            return answer
        errors = self._complaints(input)
        answer = _not_set(errors) if errors else self._apply(rows)
        self._attempts[key] = (dict(input), answer)
        return answer

    def _complaints(self, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        if told["name"] != "available":
            return [_set_error("INVALID_NAME", "This shop's apps set what is available.")]
        if told["reason"] not in _REASONS:
            return [_set_error("INVALID_REASON", "The specified reason is invalid.")]
        errors = []
        met: set[tuple[str, str]] = set()
        for place, row in enumerate(told["quantities"]):
            code = self._complaint(row, met)
            if code:
                name = "changeFromQuantity" if code == "CHANGE_FROM_QUANTITY_STALE" else "quantity"
                field = ["input", "quantities", str(place), name]
                errors.append({"code": code, "field": field, "message": code.replace("_", " ").capitalize() + "."})
        return errors

    def _complaint(self, row: Mapping[str, Any], met: set[tuple[str, str]]) -> str:
        item = self._items.get(row["inventoryItemId"])
        pair = (row["inventoryItemId"], row["locationId"])
        if pair in met:
            return "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR"
        met.add(pair)
        if item is None:
            return "INVALID_INVENTORY_ITEM"
        if row["locationId"] != item.location:
            return "INVALID_LOCATION"
        if item.sku in self.faults.reject_skus:
            return "NON_MUTABLE_INVENTORY_ITEM"
        if row["quantity"] < 0:
            return "INVALID_QUANTITY_NEGATIVE"
        if row["quantity"] > MAX_QUANTITY:
            return "INVALID_QUANTITY_TOO_HIGH"
        stale = row["changeFromQuantity"] is not None and row["changeFromQuantity"] != item.available
        return "CHANGE_FROM_QUANTITY_STALE" if stale else ""

    def _apply(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        changes = []
        for row in rows:
            item = self._items[row["inventoryItemId"]]
            delta = row["quantity"] - item.available
            item.available, item.updated = row["quantity"], self._now()
            if delta:
                change = {"name": "available", "delta": delta, "quantityAfterChange": item.available}
                changes.append({**change, "item": item.row()})
        group = {
            "id": _gid("InventoryAdjustmentGroup", self.next_number("group")),
            "changes": lambda _, quantityNames=None: changes,
        }
        return {"inventoryAdjustmentGroup": group, "userErrors": []}

    # Orders.

    def _list_orders(
        self,
        _: GraphQLResolveInfo,
        query: str = "",
        sortKey: str = "PROCESSED_AT",
        **page: Any,
    ) -> dict[str, Any]:
        since = _SINCE.fullmatch(query)
        if since is None or sortKey != "UPDATED_AT":
            raise GraphQLError("This shop is searched by updated_at only.")
        found = [self._order_row(each) for each in self._orders.values() if each.shown["updatedAt"] >= since.group(1)]
        return _page(found, lambda order: [order["updatedAt"], int(order["id"].rpartition("/")[2])], **page)

    def _order_row(self, order: _Order) -> dict[str, Any]:
        row = {
            **order.shown,
            "lineItems": lambda _, **page: _page(order.lines, lambda line: [line["id"]], **page),
            "fulfillments": lambda _, first=None: order.fulfillments[:first],
            "fulfillmentOrders": lambda _, **page: _page(
                [_fulfillment_order_row(each) for each in order.to_ship], lambda each: [each["id"]], **page
            ),
        }
        if order.shown["id"].rpartition("/")[2] in self.faults.garbled_orders:
            row["currentTotalPriceSet"] = {"shopMoney": {"amount": "?", "currencyCode": row["currencyCode"]}}
        return row

    def _fulfillment_order(self, _: GraphQLResolveInfo, id: str) -> dict[str, Any] | None:
        each = next((each for order in self._orders.values() for each in order.to_ship if each["id"] == id), None)
        return None if each is None else _fulfillment_order_row(each)

    def _cancel_asked(
        self, _: GraphQLResolveInfo, orderId: str, reason: str, restock: bool, **more: Any
    ) -> dict[str, Any]:
        order = self._orders.get(orderId)
        if order is None or order.shown["cancelledAt"]:
            error = {"code": "INVALID", "field": ["orderId"], "message": "Cannot cancel order."}
            return {"job": None, "orderCancelUserErrors": [error]}
        self.cancel(orderId.rpartition("/")[2])
        if (more.get("refundMethod") or {}).get("originalPaymentMethodsRefund"):
            order.shown["displayFinancialStatus"] = "REFUNDED"
            order.shown["totalRefundedSet"] = order.shown["currentTotalPriceSet"]
        job = {"id": f"gid://shopify/Job/{self.next_number('job')}", "done": False}
        return {"job": job, "orderCancelUserErrors": []}

    def _fulfill(
        self, _: GraphQLResolveInfo, fulfillment: Mapping[str, Any], message: str | None = None
    ) -> dict[str, Any]:
        known = {each["id"]: (order, each) for order in self._orders.values() for each in order.to_ship}
        told = fulfillment["lineItemsByFulfillmentOrder"]
        if any(each["fulfillmentOrderId"] not in known for each in told):
            return _user_error("The fulfillment order does not exist.")
        chosen = [known[each["fulfillmentOrderId"]] for each in told]
        if len({(id(order), each["location"]) for order, each in chosen}) != 1:
            return _user_error("All fulfillment orders must be of one order and one location.")
        order = chosen[0][0]
        moves: list[tuple[dict[str, Any], int]] = []
        for wanted, (_order_of, each) in zip(told, chosen, strict=True):
            if each["status"] not in ("OPEN", "IN_PROGRESS"):
                return _user_error(f"The fulfillment order is {each['status'].lower()}.")
            parts = {part["id"]: part for part in each["parts"]}
            lines = wanted.get("fulfillmentOrderLineItems")
            if lines is None:
                lines = [{"id": name, "quantity": part["remainingQuantity"]} for name, part in parts.items()]
            for line in lines:
                part = parts.get(line["id"])
                if part is None or not 0 < line["quantity"] <= part["remainingQuantity"]:
                    return _user_error("Invalid fulfillment order line item quantity requested.")
                moves.append((part, line["quantity"]))
        for part, quantity in moves:
            part["remainingQuantity"] -= quantity
            self._by_sku[part["lineItem"]["sku"]].committed -= quantity
        tracking = dict(fulfillment.get("trackingInfo") or {})
        made = {
            "id": _gid("Fulfillment", self.next_number("fulfillment", 255_858_046)),
            "status": "SUCCESS",
            "location": {"id": chosen[0][1]["location"]},
            "trackingInfo": [tracking] if tracking else [],
            "tracking": tracking,
            "lines": {part["lineItem"]["id"].rpartition("/")[2]: quantity for part, quantity in moves},
        }
        order.fulfillments.append(made)
        order.mails += bool(fulfillment["notifyCustomer"])
        for each in order.to_ship:
            if not any(part["remainingQuantity"] for part in each["parts"]):
                each["status"] = "CLOSED"
        left = any(each["status"] != "CLOSED" for each in order.to_ship)
        order.shown["displayFulfillmentStatus"] = "PARTIALLY_FULFILLED" if left else "FULFILLED"
        self._touch(order)
        self._announce("orders/partially_fulfilled" if left else "orders/fulfilled", order)
        return {"fulfillment": made, "userErrors": []}

    def _new_fulfillment_order(self, location: str, number: str) -> dict[str, Any]:
        serial = self.next_number("fulfillment order", 1_046_000_001)
        return {"id": _gid("FulfillmentOrder", serial), "status": "OPEN", "location": location, "parts": []}

    def _new_order(self, number: str, lines: list[dict[str, Any]], purchase: Purchase) -> dict[str, Any]:
        currency = lines[0]["originalUnitPriceSet"]["shopMoney"]["currencyCode"]
        items = sum(self._by_sku[each["sku"]].price * each["quantity"] for each in lines)
        buyer = purchase.buyer
        address = {
            "name": str(buyer.get("name", "Sim Buyer")),
            "address1": str(buyer.get("line1", "12 Elm Street")),
            "address2": buyer.get("line2"),
            "city": str(buyer.get("city", "Portland")),
            "provinceCode": buyer.get("region", "OR"),
            "zip": str(buyer.get("postal_code", "97201")),
            "countryCodeV2": str(buyer.get("country", "US")),
        }
        return {
            "id": _gid("Order", number),
            "name": f"#{1000 + self.next_number('name')}",
            "createdAt": self._now(),
            "updatedAt": self._now(),
            "cancelledAt": None,
            "currencyCode": currency,
            "email": buyer.get("email"),
            "displayFinancialStatus": "PAID" if purchase.paid else "PENDING",
            "displayFulfillmentStatus": "UNFULFILLED",
            "customer": {"id": _gid("Customer", buyer.get("id", 2001)), "displayName": address["name"]},
            "shippingAddress": address,
            "billingAddress": address,
            "currentShippingPriceSet": _bag(purchase.shipping, currency),
            "currentTotalTaxSet": _bag(purchase.tax, currency),
            "currentTotalDiscountsSet": _bag(purchase.discount, currency),
            "totalRefundedSet": _bag(0, currency),
            "currentTotalPriceSet": _bag(items + purchase.shipping + purchase.tax - purchase.discount, currency),
        }

    def _touch(self, order: _Order) -> None:
        order.shown["updatedAt"] = max(order.shown["updatedAt"], self._now())

    def _now(self) -> str:
        return datetime.fromtimestamp(int(self.clock()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # Callbacks.

    def _announce(self, topic: str, order: _Order) -> None:
        if topic not in self._topics:
            return
        shown = order.shown
        payload = {
            "id": int(shown["id"].rpartition("/")[2]),
            "admin_graphql_api_id": shown["id"],
            "name": shown["name"],
            "created_at": shown["createdAt"],
            "updated_at": shown["updatedAt"],
            "cancelled_at": shown["cancelledAt"],
            "currency": shown["currencyCode"],
            "financial_status": shown["displayFinancialStatus"].lower(),
            "total_price": shown["currentTotalPriceSet"]["shopMoney"]["amount"],
            "line_items": [{"sku": each["sku"], "quantity": each["quantity"]} for each in order.lines],
        }
        self._send(topic, json.dumps(payload, separators=(",", ":")).encode())

    def _send(self, topic: str, body: bytes) -> None:
        serial = self.next_number("event")

        def build() -> Delivery:
            headers = {
                "content-type": "application/json",
                "x-shopify-topic": topic,
                "x-shopify-shop-domain": self._credentials["shop_domain"],
                "x-shopify-api-version": _VERSION,
                "x-shopify-webhook-id": f"00000000-0000-4000-8000-{serial:012d}",
                "x-shopify-event-id": f"00000000-0000-4000-9000-{serial:012d}",
                "x-shopify-triggered-at": self._now(),
                "x-shopify-hmac-sha256": sign(body, self._credentials["webhook_secret"]),
            }
            return Delivery(self.callback_url, headers, body)

        self.notify(build)


def sign(body: bytes, secret: str = WEBHOOK_SECRET) -> str:
    """As Shopify signs: over the raw body alone."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def _gid(kind: str, number: object) -> str:
    return f"gid://shopify/{kind}/{number}"


def _bag(minor: int, currency: str) -> dict[str, Any]:
    amount = str(minor) if currency == "JPY" else f"{minor // 100}.{minor % 100:02d}"
    return {"shopMoney": {"amount": amount, "currencyCode": currency}}


def _errors(errors: Sequence[GraphQLError]) -> Response:
    return Response.of(200, {"errors": [error.formatted for error in errors]})


def _set_error(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "field": ["input"], "message": message}


def _not_set(errors: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"inventoryAdjustmentGroup": None, "userErrors": errors}


def _user_error(message: str) -> dict[str, Any]:
    return {"fulfillment": None, "userErrors": [{"field": ["fulfillment"], "message": message}]}


def _fulfillment_order_row(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": told["id"],
        "status": told["status"],
        "assignedLocation": {"location": {"id": told["location"]}},
        "lineItems": lambda _, **page: _page(told["parts"], lambda part: [part["id"]], **page),
    }


def _page(
    nodes: Sequence[dict[str, Any]],
    key: Callable[[dict[str, Any]], list[Any]],
    first: int | None = None,
    after: str | None = None,
) -> dict[str, Any]:
    """A page in the order of the keys. Cursors are keys, so that a place holds whatever happens to other nodes."""
    if first is None or not 1 <= first <= 250:
        raise GraphQLError("first has to be between 1 and 250.")
    start = json.loads(base64.b64decode(after)) if after else []
    rest = sorted((node for node in nodes if key(node) > start), key=key)
    page = rest[:first]
    cursor = base64.b64encode(json.dumps(key(page[-1])).encode()).decode() if page else None
    return {"nodes": page, "pageInfo": {"hasNextPage": len(rest) > first, "endCursor": cursor}}


def _cost_of(operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> int:
    """By the published rule: an object costs a point, a scalar none, a list as many as are asked for, a change ten."""
    root = _SCHEMA.get_root_type(operation.operation)
    asked = _cost_of_fields(operation, root, variables)
    return asked + 10 if operation.operation.value == "mutation" else max(1, asked)


def _cost_of_fields(node: Any, parent: Any, variables: Mapping[str, Any]) -> int:
    total = 0
    for field in node.selection_set.selections if node.selection_set else ():
        if not isinstance(field, FieldNode) or not isinstance(parent, GraphQLObjectType):
            continue
        kind = get_named_type(parent.fields[field.name.value].type)
        if not isinstance(kind, GraphQLObjectType) or field.name.value in ("pageInfo", "userErrors"):
            continue
        inside = _cost_of_fields(field, kind, variables)
        times = _first(field, variables)
        total += 1 + times * inside if kind.name.endswith("Connection") else times * (1 + inside)
    return total


def _first(field: FieldNode, variables: Mapping[str, Any]) -> int:
    for argument in field.arguments:
        if argument.name.value == "first":
            if isinstance(argument.value, IntValueNode):
                return int(argument.value.value)
            if isinstance(argument.value, VariableNode):
                return int(variables.get(argument.value.name.value) or 1)
    return 1
