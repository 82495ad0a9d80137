"""The share of orders that nobody had to touch, and why the others were touched."""

from __future__ import annotations

from typing import Any

import pytest

from oms.runtime.dynamo import Table
from tests.component.test_customers import buy, kept
from tests.component.test_messages import relay
from tests.support.floor import Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Shop, checkout


def report(shop: Shop, **query: str) -> Any:
    answer = shop.call("customer_service.api", "GET /reports/automation", query=query, staff=STAFF_CLAIMS)
    assert answer.status == 200, answer
    return answer.body


def post(shop: Shop, order: Answer, route: str, body: Any) -> None:
    headers, path = {"idempotency-key": "post-0001"}, {"id": order.body["order_id"]}
    answer = shop.call("customer_service.api", route, body, path=path, headers=headers, staff=STAFF_CLAIMS)
    assert answer.status in (200, 201), answer


def orders(shop: Shop, count: int) -> list[Answer]:
    shop.stock_up("SHIRT", 50)
    return [buy(shop, ("SHIRT", 1), key=f"checkout-{number:04d}") for number in range(count)]


def test_the_share_and_the_reasons_are_reported_by_the_day_on_which_orders_were_placed(shop: Shop) -> None:
    one, two, three, four = orders(shop, 4)
    for order in (one, two):
        post(shop, order, "POST /orders/{id}/holds", {"kind": "address", "reason": "no house number"})
    post(shop, one, "POST /orders/{id}/notes", {"text": "called"})
    shop.cancel(three)
    kept(shop, one, two, three, four)
    told = report(shop)
    assert (told["orders"], told["untouched"], told["share_untouched"]) == (4, 2, 0.5)
    assert [(each["reason"], each["orders"]) for each in told["reasons"]] == [
        ("OrderHeld:address", 2),
        ("NoteAdded", 1),
    ]
    assert told["reasons"][0]["words"] == "somebody stopped it (address)"
    assert told["days"] == [{"day": "2026-11-23", "orders": 4, "untouched": 2}]
    assert report(shop, **{"from": "2026-11-20", "to": "2026-11-22"})["share_untouched"] is None


def test_messages_twice_late_or_out_of_turn_count_an_order_and_a_reason_once(shop: Shop) -> None:
    (order,) = orders(shop, 1)
    kept(shop, order, order)
    for text in ("called", "called again"):
        body, path = {"text": text}, {"id": order.body["order_id"]}
        key = {"idempotency-key": f"note-{text}"}
        shop.call("customer_service.api", "POST /orders/{id}/notes", body, path=path, headers=key, staff=STAFF_CLAIMS)
        kept(shop, order, order)
    told = report(shop)
    assert (told["orders"], told["untouched"]) == (1, 0)
    assert [each["orders"] for each in told["reasons"]] == [1]


def test_who_dies_before_writing_leaves_it_to_the_next_and_two_at_once_count_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = orders(shop, 1)
    post(shop, order, "POST /orders/{id}/notes", {"text": "called"})
    order_id, transact = order.body["order_id"], Table.transact
    came_between: list[str] = []

    def interleaved(self: Table, writes: Any, **more: Any) -> None:
        if not came_between and any(write.label == "touches" for write in writes):
            came_between.append("the other")
            shop.app.touches.keep(order_id)
        transact(self, writes, **more)

    monkeypatch.setattr(Table, "transact", interleaved)
    shop.app.touches.keep(order_id)
    assert came_between
    told = report(shop)
    assert (told["orders"], told["untouched"], [each["orders"] for each in told["reasons"]]) == (1, 0, [1])


def test_the_floor_s_ordinary_work_touches_nothing_and_what_goes_wrong_there_does(shop: Shop) -> None:
    floor = Floor(shop)
    smooth, short = orders(shop, 2)
    floor.settle()
    tasks = floor.work()["tasks"]
    by_order = {task["task_id"].rpartition(".")[0]: task for task in tasks}
    unlucky = by_order[short.body["order_id"]]
    missing = {"sku": "SHIRT", "quantity": 1, "reason": "bin is empty"}
    assert floor.post(unlucky["task_id"], "short", missing).status == 200
    floor.do_all()
    kept(shop, smooth, short)
    told = report(shop)
    assert (told["orders"], told["untouched"]) == (2, 1)
    assert [each["reason"] for each in told["reasons"]] == ["PickShort"]


def test_unpaid_orders_do_not_count(shop: Shop) -> None:
    shop.stock_up()
    kept(shop, shop.place(checkout(("SHIRT", 1))))
    assert report(shop)["orders"] == 0


def test_touches_reach_the_counter_through_the_relay(shop: Shop) -> None:
    (order,) = orders(shop, 1)
    post(shop, order, "POST /orders/{id}/holds", {"kind": "operator", "reason": "no reason"})
    relay(shop, order)
    types = [message["type"] for message in shop.queued("customers")]
    assert "OrderHeld" in types


def test_a_report_asks_for_days_in_order(shop: Shop) -> None:
    for query in ({"from": "soon"}, {"from": "2026-11-24", "to": "2026-11-23"}, {"from": "2024-01-01"}):
        answer = shop.call("customer_service.api", "GET /reports/automation", query=query, staff=STAFF_CLAIMS)
        assert answer.status == 422, answer
