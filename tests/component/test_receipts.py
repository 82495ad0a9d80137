"""Receipts: what was sold, the tax, and how it was paid, for the customer and for staff."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.shop import Answer, Shop, checkout
from tests.support.till import AGENT, CARD, OPS, TILL, by_phone, over_the_counter, sell, with_a_store

GERMANY = {
    "name": "Ada Byron",
    "line1": "Hauptstr. 1",
    "city": "Berlin",
    "postal_code": "10115",
    "country": "DE",
}


@pytest.fixture
def store(shop: Shop) -> Shop:
    """A warehouse with ten shirts and mugs, and a store with five shirts."""
    return with_a_store(shop)


def receipt(shop: Shop, placed: Answer, **query: str) -> Answer:
    return shop.call(
        "place_order.staff",
        "GET /orders/{id}/receipt",
        path={"id": placed.body["order_id"]},
        query=query,
        headers={"order-token": placed.body["order_token"]},
    )


def test_a_receipt_of_a_counter_sale_tells_goods_payment_and_store(store: Shop) -> None:
    discount = {"percent": 10, "reason": "loyalty"}
    body = over_the_counter(payment=CARD, discount=discount, taken_at="2026-11-23T08:50:00Z")
    told = receipt(store, sell(store, body)).body
    assert told["merchant"]["name"] == "Corner Shop"
    assert told["merchant"]["store"]
    assert (told["sold_at"], told["customer"]) == ("2026-11-23T08:50:00.000Z", None)
    (line,) = told["lines"]
    assert (line["title"], line["quantity"], line["discount"], line["gross"]) == ("Shirt", 2, 399, 3599)
    assert (told["discount"], told["total"], told["due"]) == (399, 3599, 0)
    assert told["payments"] == [
        {
            "kind": "paid",
            "method": "card_terminal",
            "amount": 3599,
            "reference": "terminal 7, 0042",
            "at": "2026-11-23T08:50:00.000Z",
        }
    ]


def test_a_receipt_adds_up_with_its_tax_by_rate(store: Shop) -> None:
    body = by_phone(("SHIRT", 3), ("MUG", 1), shipping_address=GERMANY, discount={"amount": 101, "reason": "goodwill"})
    told = receipt(store, sell(store, body, staff=AGENT)).body
    assert told["taxes"][0]["basis_points"] == 1900
    assert told["taxes"][0]["net"] + told["taxes"][0]["tax"] == told["total"] == told["due"]
    assert sum(line["gross"] for line in told["lines"]) + 599 + round(599 * 0.19) == told["total"]
    assert [(each["kind"], each["method"]) for each in told["payments"]] == [("on_account", "invoice")]


def test_what_was_cancelled_and_given_back_shows(store: Shop) -> None:
    sold = sell(store, over_the_counter(("SHIRT", 7)))
    order_id = sold.body["order_id"]
    store.app.ending.cancel_lines(order_id, {1: 2}, reason="scanned twice", actor="staff:sam", key="cancel-1")
    store.settle(sold)
    (item,) = store.app.orders.parts(order_id, "REFUND#")
    store.app.tenders.given_back(order_id, item["refund_id"], method="cash", reference="till 3", agent="staff:sam")
    told = receipt(store, sold).body
    assert (told["lines"][0]["quantity"], told["total"]) == (5, 5 * 1999)
    assert [(each["kind"], each["amount"]) for each in told["payments"]] == [("paid", 13_993), ("refunded", 3998)]


def test_a_receipt_is_printed_as_a_slip(store: Shop) -> None:
    slip = receipt(store, sell(store, over_the_counter()), format="pdf")
    assert (slip.status, slip.headers["content-type"], slip.body[:5]) == (200, "application/pdf", b"%PDF-")


def test_there_is_no_receipt_before_anything_was_paid(store: Shop) -> None:
    placed = store.place(checkout())
    unpaid = receipt(store, placed)
    assert (unpaid.status, unpaid.body["code"]) == (409, "nothing_paid")
    store.pay(placed)
    store.deliver_all()
    assert receipt(store, placed).body["payments"][0]["method"] == "stripe"


def test_a_receipt_is_for_whoever_has_the_order_s_token(store: Shop) -> None:
    placed = sell(store, over_the_counter())
    other = sell(store, over_the_counter(("SHIRT", 1)), "till-3-0002")
    wrong: dict[str, Any] = {**placed.body, "order_token": other.body["order_token"]}
    assert receipt(store, Answer(201, {}, wrong)).status == 404


def test_as_one_types_price_and_stock_are_found(store: Shop) -> None:
    for staff in (AGENT, TILL, OPS):
        found = store.call("inventory_sync.stock_api", "GET /products", query={"q": "shi"}, staff=staff)
        (product,) = found.body["products"]
        assert (product["price"]["amount"], product["available"]) == (1999, 15)


def test_a_kit_is_found_with_as_many_as_its_parts_allow(store: Shop) -> None:
    store.stock_up("SET", 0, price=2200, kit={"SHIRT": 4, "MUG": 1})
    found = store.call("inventory_sync.stock_api", "GET /products", query={"q": "set"}, staff=TILL)
    assert [product["available"] for product in found.body["products"]] == [3]
