"""Customers: one profile of each person, kept by the stream exactly once and equal to what the orders say."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest

from oms.orders.store import order_key
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop, checkout


def keep(shop: Shop, *order_ids: str) -> None:
    """Give the keeper a message of each order."""
    bodies = [json.dumps({"order_id": order_id, "number": 1, "type": "any"}) for order_id in order_ids]
    records = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
    answer = import_module("functions.customer_service.keep").handler({"Records": records}, Context())
    assert answer == {"batchItemFailures": []}


def customer_of(shop: Shop, order: Answer) -> str:
    return shop.app.orders.require(order.body["order_id"]).customer["id"]


def profile(shop: Shop, customer_id: str) -> Any:
    """The customer as an agent sees them."""
    path = {"id": customer_id}
    answer = shop.call("customer_service.customers", "GET /customers/{id}", path=path, staff=STAFF_CLAIMS)
    assert answer.status == 200, answer
    return answer.body


def buy(shop: Shop, *lines: tuple[str, int], key: str = "checkout-0001", **changes: Any) -> Answer:
    """An order that was paid."""
    placed = shop.place(checkout(*lines, **changes), key=key)
    assert placed.status == 201, placed
    shop.pay(placed)
    shop.deliver_all()
    return placed


@pytest.fixture(autouse=True)
def _stocked(shop: Shop) -> None:
    shop.stock_up("SHIRT", 100)
    shop.stock_up("MUG", 100, price=500)


class TestWhatAnOrderAddsToItsCustomer:
    def test_a_paid_order_makes_its_customer_known(self, shop: Shop) -> None:
        order = buy(shop, ("SHIRT", 2), ("MUG", 1))
        keep(shop, order.body["order_id"])
        told = profile(shop, customer_of(shop, order))
        assert (told["name"], told["email"]) == ("Ada Byron", "ada@example.com")
        assert (told["orders"], told["units"], told["spent"]) == (1, 3, {"USD": order.body["total"]})
        assert (told["channels"], told["countries"], told["payment_methods"]) == ({"web": 1}, {"US": 1}, {"stripe": 1})
        assert told["addresses"][0]["city"] == "Portland"

    def test_an_order_that_nobody_paid_makes_nobody_a_customer(self, shop: Shop) -> None:
        order = shop.place()
        keep(shop, order.body["order_id"])
        path = {"id": customer_of(shop, order)}
        answer = shop.call("customer_service.customers", "GET /customers/{id}", path=path, staff=STAFF_CLAIMS)
        assert answer.status == 404

    def test_a_message_again_changes_nothing(self, shop: Shop) -> None:
        first, second = buy(shop), buy(shop, ("MUG", 3), key="checkout-0002")
        keep(shop, first.body["order_id"], second.body["order_id"])
        before = profile(shop, customer_of(shop, first))
        keep(shop, *[first.body["order_id"], second.body["order_id"]] * 3)
        assert profile(shop, customer_of(shop, first)) == before
        assert before["orders"] == 2

    def test_the_listener_is_told_of_what_changes_a_contribution(self, shop: Shop) -> None:
        from tests.component.test_messages import relay

        relay(shop, buy(shop))
        assert [message["type"] for message in shop.queued("customers")] == ["OrderPlaced", "PaymentCaptured"]


def test_who_is_no_agent_sees_no_customer(shop: Shop) -> None:
    warehouse = {**STAFF_CLAIMS, "cognito:groups": "[warehouse]"}
    answer = shop.call("customer_service.customers", "GET /customers/{id}", path={"id": "x"}, staff=warehouse)
    assert answer.status == 403


def contributions(shop: Shop, customer_id: str) -> list[dict[str, Any]]:
    """What is kept of each order of one identity."""
    return list(shop.app.orders.table.query(f"CUSTOMER#{customer_id}", "CONTRIB#"))


def contributed(shop: Shop, order: Answer) -> Any:
    """To whom an order contributes, and from which version."""
    return shop.app.orders.table.get(order_key(order.body["order_id"]), "CONTRIB")
