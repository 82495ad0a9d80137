"""The simulated Shopify, Amazon and storefront refuse what breaks their contracts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.simulators import amazon, shopify, webhook
from local.simulators.core import Delivery, Request, Response
from local.simulators.marketplace import Purchase

START = 1_763_900_000.0
SET = """mutation($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) { userErrors { code } }
}"""


@pytest.fixture
def shop() -> shopify.ShopifyCore:
    core = shopify.ShopifyCore(lambda: START, lambda _: None)
    core.put_on_sale({"sku": "A", "quantity": 5})
    return core


def graphql(core: shopify.ShopifyCore, query: str, token: str = shopify.ACCESS_TOKEN, **variables: Any) -> Response:
    headers = {"x-shopify-access-token": token, "content-type": "application/json"}
    body = json.dumps({"query": query, "variables": variables}).encode()
    return core.handle(Request.to("POST", "/admin/api/2026-10/graphql.json", headers, body))


def set_row(core: shopify.ShopifyCore, key: str = "k", told: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    row = {
        "inventoryItemId": core._by_sku["A"].item_id,
        "locationId": f"gid://shopify/Location/{shopify.LOCATION_ID}",
        "quantity": 3,
        "changeFromQuantity": 5,
        **changes,
    }
    wanted = {"name": "available", "reason": "correction", "quantities": [row], **(told or {})}
    answer = graphql(core, SET, input=wanted, key=key).json()
    return [each["code"] for each in answer["data"]["inventorySetQuantities"]["userErrors"]]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"changeFromQuantity": 4}, "CHANGE_FROM_QUANTITY_STALE"),
        ({"quantity": -1}, "INVALID_QUANTITY_NEGATIVE"),
        ({"quantity": 1_000_000_001}, "INVALID_QUANTITY_TOO_HIGH"),
        ({"inventoryItemId": "gid://shopify/InventoryItem/1"}, "INVALID_INVENTORY_ITEM"),
        ({"locationId": "gid://shopify/Location/1"}, "INVALID_LOCATION"),
        ({"told": {"name": "reserved"}}, "INVALID_NAME"),
        ({"told": {"reason": "because"}}, "INVALID_REASON"),
    ],
)
def test_shopify_says_what_is_wrong_with_a_row(shop: shopify.ShopifyCore, changes: dict[str, Any], code: str) -> None:
    assert set_row(shop, **changes) == [code]
    assert shop.shown("A") == 5


def test_shopify_skips_the_comparison_for_null_only(shop: shopify.ShopifyCore) -> None:
    assert set_row(shop, changeFromQuantity=None) == []
    item = shop._by_sku["A"].item_id
    row = {"inventoryItemId": item, "locationId": "x", "quantity": 1}
    wanted = {"name": "available", "reason": "correction", "quantities": [row]}
    assert "changeFromQuantity" in graphql(shop, SET, input=wanted, key="z").json()["errors"][0]["message"]


def test_shopify_remembers_keys(shop: shopify.ShopifyCore) -> None:
    assert set_row(shop, "one") == []
    assert set_row(shop, "one") == []
    assert set_row(shop, "one", quantity=2) == ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]
    assert set_row(shop, "two", quantity=9) == ["CHANGE_FROM_QUANTITY_STALE"]
    assert set_row(shop, "two", quantity=9) == ["IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"]


@pytest.mark.parametrize(
    "query",
    [
        "query {",
        "{ shop { name } }",
        "{ orders(first: 1) { nodes { nothing } } }",
        '{ order(id: "1") { fulfillments } }',
    ],
)
def test_shopify_refuses_a_query_that_its_schema_does_not_know(shop: shopify.ShopifyCore, query: str) -> None:
    answer = graphql(shop, query)
    assert answer.status == 200
    assert answer.json()["errors"]


def test_shopify_refuses_a_query_that_costs_too_much(shop: shopify.ShopifyCore) -> None:
    query = '{ orders(first: 250, query: "x") { nodes { lineItems(first: 250) { nodes { id } } } } }'
    assert graphql(shop, query).json()["errors"][0]["extensions"]["code"] == "MAX_COST_EXCEEDED"


def test_shopify_wants_its_token(shop: shopify.ShopifyCore) -> None:
    assert graphql(shop, "{ order }", token="wrong").status == 401


def test_shopify_fulfils_one_order_at_one_location_at_a_time(shop: shopify.ShopifyCore) -> None:
    shop.put_on_sale({"sku": "B", "quantity": 5, "location_id": "8"})
    number = shop.sell(Purchase((("A", 1), ("B", 1))))
    orders = shop._orders[f"gid://shopify/Order/{number}"].to_ship
    query = """mutation($f: FulfillmentInput!) { fulfillmentCreate(fulfillment: $f) { userErrors { message } } }"""
    told = {"lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": each["id"]} for each in orders]}
    (error,) = graphql(shop, query, f=told).json()["data"]["fulfillmentCreate"]["userErrors"]
    assert "one location" in error["message"]
    told = {"lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": orders[0]["id"]}]}
    assert graphql(shop, query, f=told).json()["data"]["fulfillmentCreate"]["userErrors"] == []
    (error,) = graphql(shop, query, f=told).json()["data"]["fulfillmentCreate"]["userErrors"]
    assert "closed" in error["message"]


def test_shopify_announces_what_is_subscribed_to() -> None:
    sent: list[Delivery] = []
    core = shopify.ShopifyCore(lambda: START, sent.append, callback_url="https://shop.example/cb")
    core.put_on_sale({"sku": "A", "quantity": 5})
    core.sell(Purchase((("A", 1),), paid=False))
    assert sent == []
    core.configure({"topics": ["orders/create"]})
    core.sell(Purchase((("A", 1),), paid=False))
    core.announce_privacy("customers/redact", {"customer": {"id": 1}, "orders_to_redact": []})
    assert [each.headers["x-shopify-topic"] for each in sent] == ["orders/create", "customers/redact"]


# Amazon.


@pytest.fixture
def seller() -> amazon.AmazonCore:
    core = amazon.AmazonCore(lambda: START, lambda _: None)
    core.put_on_sale({"sku": "A", "quantity": 5})
    return core


def ask(core: amazon.AmazonCore, method: str, target: str, payload: Any = None) -> Response:
    body = b"" if payload is None else json.dumps(payload).encode()
    headers = {"x-amz-access-token": amazon.ACCESS_TOKEN, "content-type": "application/json"}
    return core.handle(Request.to(method, target, headers, body))


ITEM = f"/listings/2021-08-01/items/{amazon.SELLER_ID}/A?marketplaceIds={amazon.MARKETPLACE_ID}"
VALUE = {"fulfillment_channel_code": "DEFAULT", "quantity": 3}
GOOD = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": [VALUE]}


@pytest.mark.parametrize(
    "patch",
    [
        {**GOOD, "op": "delete"},
        {**GOOD, "path": "/attributes/fulfillment_availability/0/quantity"},
        {**GOOD, "value": [{**VALUE, "quantity": -1}]},
        {**GOOD, "value": [{**VALUE, "quantity": 1.5}]},
        {**GOOD, "value": [{**VALUE, "fulfillment_channel_code": "AMAZON_NA"}]},
        {**GOOD, "value": []},
        {"op": "merge"},
    ],
)
def test_amazon_refuses_a_patch_that_breaks_the_contract(seller: amazon.AmazonCore, patch: dict[str, Any]) -> None:
    assert ask(seller, "PATCH", ITEM, {"productType": "PRODUCT", "patches": [patch]}).status == 400


def test_amazon_takes_a_patch_and_applies_it_later() -> None:
    now = [START]
    core = amazon.AmazonCore(lambda: now[0], lambda _: None, apply_seconds=30)
    core.put_on_sale({"sku": "A", "quantity": 5})
    assert ask(core, "PATCH", ITEM, {"productType": "PRODUCT", "patches": [GOOD]}).json()["status"] == "ACCEPTED"
    availability = f"{ITEM}&includedData=fulfillmentAvailability"
    shown = []
    for seconds in (0, 29, 30):
        now[0] = START + seconds
        shown.append(ask(core, "GET", availability).json()["fulfillmentAvailability"][0]["quantity"])
    assert shown == [5, 5, 3]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "createdAfter=2026-01-01T00:00:00Z&lastUpdatedAfter=2026-01-01T00:00:00Z",
        "lastUpdatedAfter=yesterday",
        "lastUpdatedAfter=2026-01-01T00:00:00Z&maxResultsPerPage=101",
        "lastUpdatedAfter=2026-01-01T00:00:00Z&includedData=EVERYTHING",
        "lastUpdatedAfter=2026-01-01T00:00:00Z&paginationToken=guess",
    ],
)
def test_amazon_refuses_a_search_that_breaks_the_contract(seller: amazon.AmazonCore, query: str) -> None:
    assert ask(seller, "GET", f"/orders/2026-01-01/orders?{query}").status == 400


def test_amazon_lets_twenty_searches_pass_and_then_one_in_three_minutes(seller: amazon.AmazonCore) -> None:
    search = "/orders/2026-01-01/orders?lastUpdatedAfter=2026-01-01T00:00:00Z"
    assert [ask(seller, "GET", search).status for _ in range(21)] == [200] * 20 + [429]
    answer = ask(seller, "GET", search)
    assert answer.json()["errors"][0]["code"] == "QuotaExceeded"
    assert answer.headers["x-amzn-ratelimit-limit"] == "0.0056"


@pytest.mark.parametrize(
    "changes",
    [
        {"packageReferenceId": "PKG-1"},
        {"packageReferenceId": "0"},
        {"carrierCode": "Other"},
        {"orderItems": [{"orderItemId": "1", "quantity": 1}]},
        {"orderItems": "too many"},
        {"trackingNumber": None, "surprise": 1},
    ],
)
def test_amazon_refuses_a_confirmation_that_breaks_the_contract(
    seller: amazon.AmazonCore, changes: dict[str, Any]
) -> None:
    order_id = seller.sell(Purchase((("A", 2),)))
    item = seller._orders[order_id]["orderItems"][0]["orderItemId"]
    if changes.get("orderItems") == "too many":
        changes = {"orderItems": [{"orderItemId": item, "quantity": 3}]}
    detail = {
        "packageReferenceId": "1",
        "carrierCode": "UPS",
        "trackingNumber": "1Z",
        "shipDate": "2026-11-23T10:00:00Z",
        "orderItems": [{"orderItemId": item, "quantity": 1}],
    }
    path = f"/orders/v0/orders/{order_id}/shipmentConfirmation"
    told = {"marketplaceId": amazon.MARKETPLACE_ID, "packageDetail": {**detail, **changes}}
    assert ask(seller, "POST", path, told).status == 400
    assert ask(seller, "POST", path, {**told, "packageDetail": detail}).status == 204


# All of them.


@pytest.mark.parametrize("make", [shopify.ShopifyCore, amazon.AmazonCore, webhook.WebhookCore])
def test_unknown_settings_and_faults_are_refused(make: Any) -> None:
    core = make(lambda: START, lambda _: None)
    for path in ("config", "faults"):
        assert core.handle(Request.to("POST", f"/_sim/{path}", {}, b'{"no_such": 1}')).status == 400
    assert core.handle(Request.to("GET", "/_sim/listings/NEVER")).status == 404
    assert core.handle(Request.to("GET", "/_sim/orders/1")).status == 404
    assert core.handle(Request.to("POST", "/nowhere")).status == 404
