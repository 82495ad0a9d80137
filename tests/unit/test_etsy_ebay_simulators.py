"""The simulated marketplaces are strict, and the same script always gives the same story."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.simulators import ebay, etsy
from local.simulators.core import Delivery, Request, Response
from local.simulators.marketplace import Marketplace
from tests.support.marketplaces import START

ETSY = {"x-api-key": etsy.API_KEY, "authorization": f"Bearer {etsy.ACCESS_TOKEN}"}
EBAY = {"authorization": f"Bearer {ebay.ACCESS_TOKEN}"}
JSON = {"content-type": "application/json"}


def ask(core: Marketplace, method: str, target: str, headers: dict[str, str], payload: Any = None) -> Response:
    body = b"" if payload is None else json.dumps(payload).encode()
    return core.handle(Request.to(method, target, headers, body))


def sim(core: Marketplace, method: str, path: str, payload: Any = None) -> Response:
    return ask(core, method, f"/_sim/{path}", {}, payload)


@pytest.fixture
def shop() -> etsy.EtsyCore:
    core = etsy.EtsyCore(lambda: START, lambda delivery: None, per_second=1000)
    products = [{"sku": "S", "quantity": 5}, {"sku": "M", "quantity": 6}]
    sim(core, "POST", "listings", {"title": "Shirt", "products": products})
    return core


@pytest.fixture
def seller() -> ebay.EbayCore:
    core = ebay.EbayCore(lambda: START, lambda delivery: None)
    sim(core, "POST", "listings", {"sku": "A", "title": "A", "quantity": 5})
    return core


INVENTORY = "/v3/application/listings/500000001/inventory"


def a_write(*quantities: int, **changes: Any) -> dict[str, Any]:
    products = [
        {
            "sku": sku,
            "property_values": [{"property_id": 513, "value_ids": [9001 + n], "values": [sku]}],
            "offerings": [{"price": 10.0, "quantity": quantity, "is_enabled": True, "readiness_state_id": 71}],
        }
        for n, (sku, quantity) in enumerate(zip("SM", quantities, strict=True))
    ]
    on = {"quantity_on_property": [513], "sku_on_property": [513], "price_on_property": []}
    return {"products": products, **on, **changes}


def without(payload: dict[str, Any], key: str) -> dict[str, Any]:
    del payload["products"][0]["offerings"][0][key]
    return payload


def with_product(payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    payload["products"][0].update(more)
    return payload


def with_offering(payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    payload["products"][0]["offerings"][0].update(more)
    return payload


def test_etsy_takes_a_write_that_keeps_to_the_contract(shop: etsy.EtsyCore) -> None:
    assert ask(shop, "PUT", INVENTORY, {**ETSY, **JSON}, a_write(1, 998)).status == 200


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"products": []},
        a_write(0, 0),
        a_write(500, 500),
        a_write(1, 1, listing={}),
        a_write(1, 2, quantity_on_property=[]),
        a_write(1, 2, sku_on_property=[]),
        with_product(a_write(1, 2), product_id=7),
        with_product(a_write(1, 2), is_deleted=False),
        with_product(a_write(1, 2), property_values=[]),
        with_product(a_write(1, 2), property_values=[{"property_id": 513}]),
        with_offering(a_write(1, 2), offering_id=7),
        with_offering(a_write(1, 2), quantity=-1),
        with_offering(a_write(1, 2), quantity=1.5),
        with_offering(a_write(1, 2), quantity=True),
        with_offering(a_write(1, 2), quantity=1000),
        with_offering(a_write(1, 2), price={"amount": 1000, "divisor": 100, "currency_code": "USD"}),
        with_offering(a_write(1, 2), price=11.0),
        without(a_write(1, 2), "readiness_state_id"),
        without(a_write(1, 2), "is_enabled"),
    ],
)
def test_etsy_refuses_an_inventory_that_breaks_the_contract(shop: etsy.EtsyCore, payload: dict[str, Any]) -> None:
    answer = ask(shop, "PUT", INVENTORY, {**ETSY, **JSON}, payload)
    assert answer.status == 400
    assert set(answer.json()) == {"error"}
    assert sim(shop, "GET", "listings/S").json()["quantity"] == 5


def test_etsys_write_replaces_what_it_leaves_out(shop: etsy.EtsyCore) -> None:
    payload = a_write(1, 2)
    del payload["products"][1]
    assert ask(shop, "PUT", INVENTORY, {**ETSY, **JSON}, payload).status == 200
    assert sim(shop, "GET", "listings/M").status == 404


@pytest.mark.parametrize("missing", ["x-api-key", "authorization"])
def test_etsy_wants_both_credentials(shop: etsy.EtsyCore, missing: str) -> None:
    headers = {key: value for key, value in ETSY.items() if key != missing}
    assert ask(shop, "GET", INVENTORY, headers).status in (401, 403)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v3/application/shops/1001/receipts?limit=101", 400),
        ("/v3/application/shops/1001/receipts?limit=0", 400),
        ("/v3/application/shops/1001/receipts?min_last_modified=5", 400),
        ("/v3/application/shops/1001/receipts?sort_on=name", 400),
        ("/v3/application/shops/2002/receipts", 403),
        ("/v3/application/shops/1001/receipts/12", 404),
        ("/v3/application/listings/batch/inventory?listing_ids=500000001,7", 404),
        ("/v3/application/listings/batch/inventory", 400),
        ("/v3/application/listings/batch/inventory?listing_ids=" + ",".join(["1"] * 101), 400),
        (f"{INVENTORY}?includes=Shop", 400),
        ("/v3/application/nothing", 404),
    ],
)
def test_etsy_refuses_reads_outside_the_contract(shop: etsy.EtsyCore, target: str, status: int) -> None:
    assert ask(shop, "GET", target, ETSY).status == status


def test_etsy_tells_its_budget_with_every_answer(shop: etsy.EtsyCore) -> None:
    headers = ask(shop, "GET", INVENTORY, ETSY).headers
    assert headers["x-limit-per-second"] == "1000"
    assert headers["x-remaining-this-second"] == "999"
    assert headers["x-remaining-today"] == "9999"


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"tracking_code": "1", "carrier_name": "usps"}, 200),
        ({"tracking_code": "1"}, 400),
        ({"carrier_name": "usps"}, 400),
        ({"tracking_code": "1", "carrier_name": "Pigeon Post"}, 400),
        ({"tracking_code": "1", "carrier_name": "usps", "extra": 1}, 400),
    ],
)
def test_etsy_wants_carrier_and_code_together(shop: etsy.EtsyCore, payload: dict[str, Any], status: int) -> None:
    order = sim(shop, "POST", "purchases", {"lines": [{"sku": "S", "quantity": 1}]}).json()["order_id"]
    target = f"/v3/application/shops/1001/receipts/{order}/tracking"
    assert ask(shop, "POST", target, {**ETSY, **JSON}, payload).status == status


BULK = "/sell/inventory/v1/bulk_update_price_quantity"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"requests": []},
        {"requests": [{"sku": f"S{n}"} for n in range(26)]},
        {"requests": [{"sku": "A", "quantity": 3}]},
        {"requests": [{"sku": "A", "shipToLocationAvailability": {"amount": 3}}]},
        {"requests": [{"sku": "A", "shipToLocationAvailability": {"quantity": "3"}}]},
        {"requests": [{"sku": "A", "shipToLocationAvailability": {"quantity": -1}}]},
        {"requests": [{"sku": "A", "offers": [{"availableQuantity": 3}]}]},
        {"rows": []},
    ],
)
def test_ebay_refuses_a_bulk_update_that_breaks_the_contract(seller: ebay.EbayCore, payload: dict[str, Any]) -> None:
    answer = ask(seller, "POST", BULK, {**EBAY, **JSON}, payload)
    assert answer.status == 400
    assert answer.json()["errors"][0]["errorId"]


def test_ebay_wants_a_token_and_a_content_type(seller: ebay.EbayCore) -> None:
    payload = {"requests": [{"sku": "A"}]}
    assert ask(seller, "POST", BULK, JSON, payload).status == 401
    assert ask(seller, "POST", BULK, EBAY, payload).status == 415


def test_buyers_see_the_smaller_level(seller: ebay.EbayCore) -> None:
    payload = {"requests": [{"sku": "A", "shipToLocationAvailability": {"quantity": 9}}]}
    assert ask(seller, "POST", BULK, {**EBAY, **JSON}, payload).status == 200
    assert sim(seller, "GET", "listings/A").json()["quantity"] == 5


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=201", 400, 31100),
        ("offset=-1", 400, 31000),
        ("filter=colour:[red]", 400, 30700),
        ("filter=lastmodifieddate:[yesterday..]", 400, 30810),
        ("filter=lastmodifieddate:[..2025-01-01T00:00:00.000Z]", 400, 30820),
        ("filter=lastmodifieddate:[2025-02-01T00:00:00.000Z..2025-01-01T00:00:00.000Z]", 400, 30840),
        ("filter=lastmodifieddate:[2025-01-01T00:00:00.000Z..2099-01-01T00:00:00.000Z]", 400, 30850),
        ("filter=orderfulfillmentstatus:{NOT_STARTED}", 400, 30800),
        ("orderIds=" + ",".join(["1"] * 51), 400, 30900),
        ("filter=orderfulfillmentstatus:{NOT_STARTED|IN_PROGRESS}", 200, 0),
    ],
)
def test_ebay_reads_only_the_documented_filters(seller: ebay.EbayCore, query: str, status: int, code: int) -> None:
    answer = ask(seller, "GET", f"/sell/fulfillment/v1/order?{query}", EBAY)
    assert answer.status == status
    assert not code or answer.json()["errors"][0]["errorId"] == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"trackingNumber": "94 00"}, 32300),
        ({"shippingCarrierCode": None}, 32300),
        ({"shippedDate": "today"}, 32500),
        ({"lineItems": [{"lineItemId": "7", "quantity": 1}]}, 32200),
        ({"lineItems": [{"lineItemId": "10000000001", "quantity": 1}] * 2}, 32210),
    ],
)
def test_ebay_refuses_a_parcel_that_breaks_the_contract(
    seller: ebay.EbayCore, change: dict[str, Any], code: int
) -> None:
    order = sim(seller, "POST", "purchases", {"lines": [{"sku": "A", "quantity": 2}]}).json()["order_id"]
    parcel = {
        "lineItems": [{"lineItemId": "10000000001", "quantity": 1}],
        "trackingNumber": "9400",
        "shippingCarrierCode": "USPS",
        **change,
    }
    target = f"/sell/fulfillment/v1/order/{order}/shipping_fulfillment"
    answer = ask(seller, "POST", target, {**EBAY, **JSON}, parcel)
    assert answer.json()["errors"][0]["errorId"] == code


@pytest.mark.parametrize("core", ["shop", "seller"])
def test_a_marketplace_does_not_sell_what_it_does_not_show(core: str, request: pytest.FixtureRequest) -> None:
    marketplace = request.getfixturevalue(core)
    sku = {"shop": "S", "seller": "A"}[core]
    assert sim(marketplace, "POST", "purchases", {"lines": [{"sku": sku, "quantity": 6}]}).status == 409
    assert sim(marketplace, "POST", "purchases", {"lines": [{"sku": "?", "quantity": 1}]}).status == 404
    assert sim(marketplace, "GET", f"listings/{sku}").json()["quantity"] == 5


@pytest.mark.parametrize("core", ["shop", "seller"])
@pytest.mark.parametrize(
    ("method", "path", "payload"),
    [
        ("POST", "purchases", {}),
        ("POST", "purchases", {"lines": [{"sku": "S", "quantity": 0}]}),
        ("POST", "purchases", {"lines": []}),
        ("POST", "faults", {"typo": 1}),
        ("POST", "config", {"typo": 1}),
        ("POST", "listings", {}),
        ("POST", "cancel", {}),
        ("POST", "purchases", [1]),
    ],
)
def test_a_control_that_cannot_be_read_is_answered(
    core: str, method: str, path: str, payload: Any, request: pytest.FixtureRequest
) -> None:
    assert sim(request.getfixturevalue(core), method, path, payload).status == 400


@pytest.mark.parametrize(
    ("core", "body"),
    [("shop", b"{"), ("shop", b"[]"), ("seller", b"{"), ("seller", b"[1]"), ("seller", b"\xff")],
)
def test_a_body_that_cannot_be_read_is_answered(core: str, body: bytes, request: pytest.FixtureRequest) -> None:
    target = {"shop": ("PUT", INVENTORY, ETSY), "seller": ("POST", BULK, EBAY)}[core]
    answer = request.getfixturevalue(core).handle(Request.to(target[0], target[1], {**target[2], **JSON}, body))
    assert answer.status == 400


def test_latency_is_noted_for_the_host(seller: ebay.EbayCore) -> None:
    sim(seller, "POST", "faults", {"latency_ms": 250})
    answer = ask(seller, "GET", "/sell/fulfillment/v1/order", EBAY)
    assert answer.headers["x-sim-latency-ms"] == "250"


def test_the_last_calls_can_be_read(seller: ebay.EbayCore) -> None:
    for _ in range(3):
        ask(seller, "GET", "/sell/fulfillment/v1/order", EBAY)
    told = sim(seller, "GET", "calls?last=2").json()
    assert told["counts"] == {"getOrders": 3}
    assert [each["operation"] for each in told["last"]] == ["getOrders"] * 2


@pytest.mark.parametrize("make", [etsy.EtsyCore, ebay.EbayCore])
def test_the_same_script_gives_the_same_story(make: Any) -> None:
    def story() -> tuple[list[bytes], list[Delivery]]:
        delivered: list[Delivery] = []
        core = make(lambda: START, delivered.append, callback_url="https://shop.example/callbacks")
        answers = [
            sim(core, "POST", "listings", {"sku": "A", "quantity": 9}),
            sim(core, "POST", "purchases", {"lines": [{"sku": "A", "quantity": 1}]}),
            sim(core, "POST", "purchases", {"lines": [{"sku": "A", "quantity": 2}]}),
            sim(core, "GET", "listings/A"),
        ]
        return [each.body for each in answers], delivered

    assert story() == story()


def test_listing_a_sku_again_keeps_its_listing(shop: etsy.EtsyCore, seller: ebay.EbayCore) -> None:
    for core, sku in ((shop, "S"), (seller, "A")):
        told = {"skus": [{"sku": sku, "title": "again", "price_minor": 5, "currency": "USD"}]}
        first = sim(core, "POST", "listings", told).json()
        assert sim(core, "POST", "listings", told).json() == first
        assert sim(core, "GET", f"listings/{sku}").json()["quantity"] == 5
