"""Edits of paid orders before picking: a preview, and exactly that in one transaction; and other addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.floor import Floor
from tests.support.shop import Answer, Shop, checkout

ELSEWHERE = {
    "name": "Ada Byron",
    "line1": "1 Other Street",
    "city": "Salem",
    "region": "OR",
    "postal_code": "97301",
    "country": "US",
}


@pytest.fixture
def floor(shop: Shop) -> Floor:
    shop.stock_up("SHIRT", 10)
    shop.stock_up("MUG", 10, price=700)
    return Floor(shop)


def paid(floor: Floor) -> Answer:
    placed = floor.shop.place(checkout(("SHIRT", 2)))
    floor.shop.pay(placed)
    floor.shop.deliver_all()
    floor.settle()
    return placed


def call(shop: Shop, order: Answer, route: str, body: Any, key: str = "") -> Answer:
    headers = {"order-token": order.body["order_token"], **({"idempotency-key": key} if key else {})}
    return shop.call("customer_service.aftersales", route, body, path={"id": order.body["order_id"]}, headers=headers)


def preview(shop: Shop, order: Answer, body: Mapping[str, Any]) -> Any:
    answer = call(shop, order, "POST /orders/{id}/edits/preview", body)
    assert answer.status == 200, answer
    return answer.body


def confirm(shop: Shop, order: Answer, body: Mapping[str, Any], shown: Any, key: str = "edit-0001") -> Answer:
    return call(shop, order, "POST /orders/{id}/edits", {**body, "preview": shown["preview"]}, key)


def test_what_an_edit_costs_more_is_asked_for_and_the_order_waits_until_it_is_paid(floor: Floor) -> None:
    shop = floor.shop
    order = paid(floor)
    body = {"lines": [{"line": 1, "quantity": 3}, {"sku": "MUG", "quantity": 1}]}
    shown = preview(shop, order, body)
    assert (shown["due"], shown["refund"]) == (1999 + 700, 0)
    assert shown["stock"][0] == {"sku": "MUG", "needed": 1, "available": 10, "enough": True}
    answers = [confirm(shop, order, body, shown) for _ in range(2)]
    assert answers[0].status == 200, answers
    assert answers[0].body == answers[1].body
    assert confirm(shop, order, {"lines": [{"line": 1, "quantity": 1}]}, shown).status == 422
    assert (shop.available("SHIRT"), shop.available("MUG")) == (7, 9)
    floor.settle()
    assert (list(floor.order(order).holds), floor.work()["tasks"]) == (["payment"], [])

    secret = answers[0].body["client_secret"].split("_secret_")[0]
    shop._control("/_sim/pay", {"payment_intent": secret, "payment_method": "pm_card_visa"})
    shop.deliver_all()
    assert floor.order(order).holds == {}
    floor.do_all()
    seen = shop.read(order)
    assert (seen["status"], seen["payment"]["captured"]) == ("completed", 2 * 1999 + 599 + 1999 + 700)
    assert shop.stripe_totals()["captured"] == seen["payment"]["captured"]
    assert shop.identity_holds("SHIRT", "MUG")
    shop.app.orders.verified_history(order.body["order_id"])


def test_what_an_edit_costs_less_goes_back_and_the_order_is_allocated_anew(floor: Floor) -> None:
    shop = floor.shop
    order = paid(floor)
    body = {"lines": [{"line": 1, "quantity": 0}, {"sku": "MUG", "quantity": 2}]}
    shown = preview(shop, order, body)
    assert (shown["due"], shown["refund"]) == (0, 2 * 1999 - 1400)
    assert confirm(shop, order, body, shown).body["client_secret"] is None
    floor.settle()
    assert [unit["sku"] for task in floor.work()["tasks"] for unit in task["units"]] == ["MUG"]
    assert (floor.place("SHIRT"), shop.available("SHIRT")) == ((10, 0), 10)
    floor.do_all()
    shop.settle(order)
    assert shop.read(order)["status"] == "completed"
    assert shop.stripe_totals()["refunded"] == 2 * 1999 - 1400
    assert shop.identity_holds("SHIRT", "MUG")


def test_a_preview_holds_only_for_the_order_it_was_made_for(floor: Floor) -> None:
    shop = floor.shop
    order = paid(floor)
    body = {"lines": [{"line": 1, "quantity": 20}]}
    shown = preview(shop, order, body)
    assert shown["stock"][0]["enough"] is False
    assert confirm(shop, order, body, shown).body["code"] == "out_of_stock"
    floor.post(floor.work()["tasks"][0]["task_id"], "start")
    outdated = confirm(shop, order, body, shown)
    assert (outdated.status, outdated.body["code"]) == (409, "preview_outdated")
    begun = call(shop, order, "POST /orders/{id}/edits/preview", body)
    assert (begun.status, begun.body["code"]) == (409, "picking_begun")
    assert (
        call(
            shop, Answer(201, {}, {**order.body, "order_token": "1.x"}), "PATCH /orders/{id}/address", ELSEWHERE
        ).status
        == 404
    )


def test_a_packed_box_gets_another_label_when_the_address_changes(floor: Floor) -> None:
    shop = floor.shop
    order = paid(floor)
    floor.do(floor.work("pick")["tasks"][0])
    real = shop.app.transport

    def moved_meanwhile(request: Any, *, timeout: float) -> Any:
        answer = real(request, timeout=timeout)
        if request.url.endswith("/buy"):
            shop.app.transport = real
            moved = call(shop, order, "PATCH /orders/{id}/address", ELSEWHERE)
            assert (moved.status, moved.body["shipping_address"]["city"]) == (200, "Salem")
        return answer

    shop.app.transport = moved_meanwhile
    floor.do(floor.work("pack")["tasks"][0])
    floor.do_all()
    assert [each["status"] for each in shop.read(order)["shipments"]] == ["cancelled", "shipped"]
    assert floor.label_count() == 1
    late = call(shop, order, "PATCH /orders/{id}/address", {**ELSEWHERE, "line1": "2 Other Street"})
    assert (late.status, late.body["code"]) == (409, "not_editable")
    wrong = call(shop, order, "PATCH /orders/{id}/address", {**ELSEWHERE, "postal_code": "x"})
    assert wrong.status == 422


def test_what_joins_an_order_is_taxed(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("TEA", 10, price=1000, currency="GBP")
    shop.stock_up("CUP", 10, price=500, currency="GBP")
    address = {"name": "Ada", "line1": "1 Row", "city": "London", "postal_code": "SW1A 1AA", "country": "GB"}
    order = shop.place(checkout(("TEA", 1), currency="GBP", shipping_address=address))
    shop.pay(order)
    shop.deliver_all()
    floor.settle()
    body = {"lines": [{"sku": "CUP", "quantity": 2}]}
    shown = preview(shop, order, body)
    assert shown["due"] == 1000 + 200
    assert confirm(shop, order, body, shown).status == 200
    assert [(line.tax, line.discount) for line in floor.order(order).lines] == [(200, 0), (200, 0)]
