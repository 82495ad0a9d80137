"""Placing orders through the real handlers."""

from __future__ import annotations

import pytest

from tests.support.shop import Shop, checkout


def test_a_placed_order_takes_stock_and_can_be_paid(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    assert placed.status == 201, placed
    assert placed.body["total"] == 2 * 1999 + 599
    assert placed.body["payment"]["client_secret"].startswith("pi_")
    assert shop.available() == 8
    shop.pay(placed)
    shop.deliver_all()
    order = shop.read(placed)
    assert order["status"] == "confirmed"
    assert order["payment"]["captured"] == placed.body["total"]
    assert shop.identity_holds("SHIRT")


def test_the_same_request_gets_the_same_answer_however_late(shop: Shop) -> None:
    shop.stock_up("SHIRT", 2)
    first = shop.place()
    assert shop.place() == first
    shop.pay(first)
    shop.deliver_all()
    shop.later(days=3)
    assert shop.place() == first
    assert shop.available() == 0


def test_the_same_key_for_another_order_is_refused(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    shop.place()
    answer = shop.place(checkout(("SHIRT", 3)))
    assert (answer.status, answer.body["code"]) == (422, "idempotency_key_reused")
    assert shop.available() == 8


def test_out_of_stock_says_what_is_left_of_each_sku(shop: Shop) -> None:
    shop.stock_up("SHIRT", 1)
    shop.stock_up("MUG", 5)
    answer = shop.place(checkout(("SHIRT", 2), ("MUG", 6)))
    assert (answer.status, answer.body["code"]) == (409, "out_of_stock")
    assert answer.body["items"] == [
        {"sku": "MUG", "requested": 6, "available": 5},
        {"sku": "SHIRT", "requested": 2, "available": 1},
    ]
    assert shop.available("MUG") == 5


def test_lines_of_one_sku_are_taken_together(shop: Shop) -> None:
    shop.stock_up("SHIRT", 3)
    assert shop.place(checkout(("SHIRT", 2), ("SHIRT", 2))).status == 409
    assert shop.place(checkout(("SHIRT", 2), ("SHIRT", 1)), key="checkout-0002").status == 201


def test_a_sale_steals_from_other_stripes_before_it_is_refused(shop: Shop) -> None:
    shop.stock_up("SHIRT", 8, stripes=4)
    assert shop.place(checkout(("SHIRT", 7))).status == 201
    assert shop.place(checkout(("SHIRT", 1)), key="checkout-0002").status == 201
    assert shop.place(checkout(("SHIRT", 1)), key="checkout-0003").status == 409
    assert shop.identity_holds("SHIRT")


def test_a_kit_takes_its_parts(shop: Shop) -> None:
    shop.stock_up("SHIRT", 5)
    shop.stock_up("MUG", 3)
    shop.stock_up("SET", 0, kit={"SHIRT": 2, "MUG": 1})
    assert shop.place(checkout(("SET", 2), ("SHIRT", 1))).status == 201
    assert (shop.available("SHIRT"), shop.available("MUG")) == (0, 1)
    refused = shop.place(checkout(("SET", 1)), key="checkout-0002")
    assert refused.body["items"] == [{"sku": "SHIRT", "requested": 2, "available": 0}]


def test_an_order_of_very_many_skus_is_taken_whole_or_not_at_all(shop: Shop) -> None:
    skus = [f"SKU-{number:03d}" for number in range(50)]
    shop.stock_many(skus, 3)
    everything = [(sku, 2) for sku in skus]
    placed = shop.place(checkout(*everything))
    assert placed.status == 201
    assert shop.place(checkout(*everything)) == placed
    # Only the second chunk falls short, so the first one has to be given back.
    wanting = [(sku, 1) for sku in skus[:-5]] + [(sku, 2) for sku in skus[-5:]]
    refused = shop.place(checkout(*wanting), key="checkout-0002")
    assert refused.body["items"] == [{"sku": sku, "requested": 2, "available": 1} for sku in skus[-5:]]
    assert shop.identity_holds(*skus)
    assert {shop.available(sku) for sku in skus} == {1}
    shop.later(minutes=31)
    shop.sweep()
    assert {shop.available(sku) for sku in skus} == {3}
    assert shop.identity_holds(*skus)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lines": [{"sku": "SHIRT", "quantity": 0}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "SHIRT", "quantity": 1000}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "SHIRT", "quantity": "2"}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "SHIRT", "quantity": 1, "price": 1}]}, "lines[0].price"),
        ({"lines": []}, "lines"),
        ({"lines": [{"sku": "SHIRT", "quantity": 1}] * 201}, "lines"),
        ({"lines": [{"sku": "NOPE", "quantity": 1}]}, "lines[0].sku"),
        ({"currency": "EUR"}, "lines[0].sku"),
        ({"customer": {"email": "nobody", "name": "Ada"}}, "customer.email"),
        ({"customer": {"email": "ada@example.com", "name": "Ada", "vip": True}}, "customer.vip"),
        ({"total": 1}, "total"),
    ],
)
def test_a_form_with_errors_names_the_field(shop: Shop, change: dict[str, object], field: str) -> None:
    shop.stock_up("SHIRT", 10)
    answer = shop.place(checkout(**change))
    assert (answer.status, answer.body["code"]) == (422, "invalid_request"), answer
    assert field in [error["field"] for error in answer.body["errors"]]
    assert shop.available() == 10


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"postal_code": "9720"}, "postal_code"),
        ({"region": None}, "region"),
        ({"country": "XX"}, "country"),
    ],
)
def test_an_address_is_checked_by_the_rules_of_its_country(shop: Shop, change: dict[str, object], word: str) -> None:
    shop.stock_up("SHIRT", 10)
    address = {key: value for key, value in {**checkout()["shipping_address"], **change}.items() if value}
    answer = shop.place(checkout(shipping_address=address))
    assert answer.status == 422
    assert word in answer.body["errors"][0]["message"]


def test_tax_follows_the_country_and_shipping_the_method(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10, price=2500, currency="GBP")
    address = {
        "name": "Ada",
        "line1": "1 Row",
        "city": "London",
        "postal_code": "SW1A 1AA",
        "country": "GB",
    }
    answer = shop.place(checkout(shipping_address=address, currency="GBP", shipping_method="express"))
    assert answer.body["totals"] == {"items": 5000, "shipping": 999, "tax": 1000 + 200, "discount": 0, "total": 7199}


def test_a_body_that_is_not_json_or_too_large_is_told_so(shop: Shop) -> None:
    key = {"idempotency-key": "checkout-0001"}
    broken = shop.call("place_order.api", "POST /orders", '{"customer": ', headers=key)
    assert (broken.status, broken.body["code"]) == (400, "malformed_request")
    large = shop.call("place_order.api", "POST /orders", '"' + "x" * 262_144 + '"', headers=key)
    assert (large.status, large.body["code"]) == (413, "request_too_large")
    other = shop.call("place_order.api", "POST /orders", "a=b", headers={**key, "content-type": "text/plain"})
    assert other.status == 415


def test_a_placement_needs_an_idempotency_key(shop: Shop) -> None:
    answer = shop.call("place_order.api", "POST /orders", checkout())
    assert answer.body["errors"][0]["field"] == "Idempotency-Key"


def test_the_order_stands_when_stripe_is_down_and_a_retry_completes_it(shop: Shop) -> None:
    shop.stock_up("SHIRT", 2)
    shop.stripe_is(down=True)
    answer = shop.place()
    assert (answer.status, answer.body["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "5"
    assert shop.available() == 0
    shop.stripe_is(down=False)
    completed = shop.place()
    assert completed.status == 201
    assert completed.body["order_id"] == answer.body["order_id"]
    assert shop.available() == 0


def test_a_stranger_cannot_read_or_cancel_an_order(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    mine, other = shop.place(), shop.place(key="checkout-0002")
    for headers in ({}, {"order-token": other.body["order_token"]}, {"order-token": "0.x"}):
        for route in ("GET /orders/{id}", "POST /orders/{id}/cancel"):
            answer = shop.call("place_order.api", route, headers=headers, path={"id": mine.body["order_id"]})
            assert (answer.status, answer.body["code"]) == (404, "not_found")
    shop.later(days=91)
    late = shop.call(
        "place_order.api",
        "GET /orders/{id}",
        headers={"order-token": mine.body["order_token"]},
        path={"id": mine.body["order_id"]},
    )
    assert late.status == 404


def test_priority_codes_are_seen_by_staff(shop: Shop) -> None:
    shop.stock_up("SHIRT", 20)
    placed = shop.place(checkout(("SHIRT", 12), shipping_method="express"))
    order = shop.app.orders.require(placed.body["order_id"])
    assert (order.priority_codes, order.priority_score) == ("LMNR", 75)
