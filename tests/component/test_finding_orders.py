"""An order is found by anything that a caller can say, and by nothing that is not true of it any more."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from local.customers import rebuild
from oms.orders.finding import Term, asked, by_name
from oms.orders.model import Event, Order
from oms.orders.store import Change
from oms.runtime.dynamo import Table, from_item
from tests.component.test_channels import buys, on_sale
from tests.component.test_customers import buy, kept
from tests.component.test_shipping import shipped
from tests.support.floor import Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop, checkout

ADA = {"email": "ada@example.com", "name": "Ada Byron", "phone": "+1 (503) 555-0100"}


def found(shop: Shop, **query: str) -> list[tuple[str, str]]:
    answer = shop.call("customer_service.api", "GET /orders/find", query=query, staff=STAFF_CLAIMS)
    assert answer.status == 200, answer
    return [(each["order_id"], each["found_by"]) for each in answer.body["orders"]]


def adas(shop: Shop, key: str = "order-of-ada") -> Answer:
    shop.stock_up("SHIRT", 20)
    order = buy(shop, ("SHIRT", 1), key=key, customer=ADA)
    shop.news()
    kept(shop, order)
    return order


def entries(shop: Shop) -> list[dict[str, Any]]:
    table = shop.app.orders.table
    pages = table.client.get_paginator("scan").paginate(TableName=table.name)
    items = [from_item(item) for page in pages for item in page["Items"]]
    return [item for item in items if item["entity"] in ("found", "found_by", "card")]


@pytest.mark.parametrize(
    ("said", "by"),
    [
        ("ada@example.com", "email"),
        (" ADA@Example.com ", "email"),
        ("+1 (503) 555-0100", "phone"),
        ("503 5550100", "phone"),
        ("Ada Byron 97201", "name"),
        ("byron, 97201", "name"),
        ("4242 2026-11-23", "card"),
        ("4242, 2026-11-24", "card"),
    ],
)
def test_a_caller_says_it_in_one_line(shop: Shop, said: str, by: str) -> None:
    order = adas(shop)
    assert found(shop, q=said) == [(order.body["order_id"], by)]


def test_an_order_s_number_finds_it_whole_or_short(shop: Shop) -> None:
    order_id = adas(shop).body["order_id"]
    for said in (order_id, order_id.upper(), f"{order_id}.1", order_id[:8].upper(), f"#{order_id[:8]}"):
        assert found(shop, q=said) == [(order_id, "number")], said
        assert found(shop, number=said) == [(order_id, "number")], said


@pytest.mark.parametrize(
    "query",
    [
        {"email": "ada@example.com"},
        {"phone": "5035550100"},
        {"name": "Ada Byron", "postcode": "97201"},
        {"last4": "4242", "date": "2026-11-23"},
    ],
)
def test_a_form_asks_for_one_thing(shop: Shop, query: dict[str, str]) -> None:
    order = adas(shop)
    assert [order_id for order_id, _ in found(shop, **query)] == [order.body["order_id"]]


@pytest.mark.parametrize(
    "said",
    ["eve@example.com", "5035550101", "Ada Lovelace 97201", "Ada Byron 97202", "4242 2026-11-26", "1111 2026-11-23"],
)
def test_what_is_not_true_of_an_order_does_not_find_it(shop: Shop, said: str) -> None:
    adas(shop)
    assert found(shop, q=said) == []


def test_tracking_numbers_and_marketplaces_numbers_find_their_orders(shop: Shop) -> None:
    floor = Floor(shop)
    shop.stock_up("SHIRT", 20)
    order = shipped(floor, ("SHIRT", 1))
    kept(shop, order)
    number = shop.read(order)["shipments"][0]["tracking_number"]
    spaced = " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    for said in (number, number.lower(), spaced):
        assert (order.body["order_id"], "tracking") in found(shop, q=said)
    on_sale(shop, "etsy", "SHIRT", 10)
    external = buys(shop, "etsy", 1)
    shop.deliver_all()
    assert found(shop, q=external) == [(shop.order_of("etsy", external).order_id, "number")]


def test_an_edit_moves_what_finds_an_order(shop: Shop) -> None:
    order = adas(shop)
    order_id = order.body["order_id"]

    def moved(known: Order) -> Change:
        after = replace(
            known,
            customer={**known.customer, "email": "ada@new.example"},
            address={**known.address, "postal_code": "10001"},
        )
        return Change(after, Event("OrderEdited", "staff:sam", "edit"))

    shop.app.orders.change(order_id, moved, shop.now)
    # The index has not heard of it yet, and what it still says is not believed.
    assert found(shop, q="ada@example.com") == found(shop, q="Byron 97201") == []
    kept(shop, order)
    assert found(shop, q="ada@new.example") == [(order_id, "email")]
    assert found(shop, q="Byron 10001") == [(order_id, "name")]
    assert found(shop, q="4242 2026-11-23") == [(order_id, "card")]


def test_the_index_names_nobody(shop: Shop) -> None:
    adas(shop)
    told = json.dumps(entries(shop)).casefold()
    for person in ("ada", "byron", "5550100", "97201", "example.com"):
        assert person not in told


def test_messages_twice_or_late_change_nothing(shop: Shop) -> None:
    order = adas(shop)
    before = entries(shop)
    kept(shop, order, order)
    shop.app.finding.note_card("evt_none", {"id": "ch_none", "order_id": "", "last4": "4242", "created": 0})
    assert entries(shop) == before


def test_a_rebuild_from_the_orders_finds_them_again_and_counts_no_touch_twice(shop: Shop) -> None:
    order = adas(shop)
    before, touched = entries(shop), shop.app.orders.parts(order.body["order_id"], "TOUCHES")
    table = shop.app.orders.table
    for item in before:
        if item["entity"] != "card":
            table.client.delete_item(TableName=table.name, Key=table.key(item["pk"], item["sk"]))
    assert found(shop, q="ada@example.com") == []
    for _ in range(2):
        rebuild(lambda at: import_module("functions.customer_service.keep").handler(at or {}, Context()))
    assert entries(shop) == before
    assert shop.app.orders.parts(order.body["order_id"], "TOUCHES") == touched


def erase(shop: Shop, order: Answer) -> None:
    shop.settle(order)
    shop.news()
    assert shop.app.erasing.forget(order.body["order_id"], "demand web#demand-1") == ""


def test_erasing_a_person_leaves_nothing_that_finds_them(shop: Shop) -> None:
    order = adas(shop)
    order_id = order.body["order_id"]
    shop.cancel(order)
    kept(shop, order)
    erase(shop, order)
    left = entries(shop)
    assert [item["entity"] for item in left if item["pk"].startswith("ORDER#")] == ["found"]
    assert len([item for item in left if item["entity"] == "found_by"]) == 1
    kept(shop, order)
    late = {"id": "ch_late", "order_id": order_id, "last4": "4242", "created": int(shop.now.timestamp())}
    shop.app.finding.note_card("evt_late", late)
    assert entries(shop) == left
    for said in ("ada@example.com", "5035550100", "Byron 97201", "4242 2026-11-23"):
        assert found(shop, q=said) == []
    assert found(shop, q=order_id[:8]) == [(order_id, "number")]


def test_an_index_kept_while_a_person_is_erased_keeps_nothing_of_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = adas(shop)
    shop.cancel(order)
    transact = Table.transact
    came_between: list[str] = []

    def interleaved(self: Table, writes: Any, **more: Any) -> None:
        if not came_between and any(write.label == "card" for write in writes):
            came_between.append("the keeper")
            shop.app.finding.keep(order.body["order_id"])
        transact(self, writes, **more)

    monkeypatch.setattr(Table, "transact", interleaved)
    erase(shop, order)
    assert came_between
    assert len([item for item in entries(shop) if item["entity"] == "found_by"]) == 1


def test_a_new_key_finds_old_entries_until_they_are_written_anew(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    order = adas(shop)
    old = shop.app.token_keys()
    monkeypatch.setattr(type(shop.app), "token_keys", lambda self: ["a newer key", *old])
    monkeypatch.setitem(shop.app.__dict__, "finding", replace(shop.app.finding, keys=lambda: ["a newer key", *old]))
    assert found(shop, q="ada@example.com") == [(order.body["order_id"], "email")]
    shop.app.finding.keep(order.body["order_id"], again=True)
    monkeypatch.setitem(shop.app.__dict__, "finding", replace(shop.app.finding, keys=lambda: ["a newer key"]))
    assert found(shop, q="ada@example.com") == [(order.body["order_id"], "email")]


def test_the_newest_come_first_and_more_is_said(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oms.orders.finding.MOST", 2)
    ids = []
    for number in range(3):
        ids.append(adas(shop, key=f"order-{number:05d}").body["order_id"])
        shop.later(minutes=1)
    answer = shop.call("customer_service.api", "GET /orders/find", query={"email": ADA["email"]}, staff=STAFF_CLAIMS)
    assert [each["order_id"] for each in answer.body["orders"]] == ids[:0:-1]
    assert answer.body["more"]


@pytest.mark.parametrize("query", [{}, {"q": " "}, {"name": "Ada"}, {"last4": "42", "date": "2026-11-23"}])
def test_a_search_says_what_it_needs(shop: Shop, query: dict[str, str]) -> None:
    answer = shop.call("customer_service.api", "GET /orders/find", query=query, staff=STAFF_CLAIMS)
    assert (answer.status, answer.body["errors"][0]["field"]) == (422, "q")


def test_only_who_talks_to_customers_may_search(shop: Shop) -> None:
    picker = {"cognito:groups": "[warehouse]"}
    assert shop.call("customer_service.api", "GET /orders/find", query={"q": "x"}, staff=picker).status == 403


def test_a_name_with_a_british_postcode_is_understood() -> None:
    meanings = asked("Ada Byron SW1A 1AA")
    assert by_name("Ada Byron", "SW1A1AA") in meanings
    assert Term("name", "byron|sw1a1aa") == by_name("Ada Byron", "sw1a 1aa")[0]


def test_checkout_without_a_phone_is_found_by_the_rest(shop: Shop) -> None:
    shop.stock_up()
    order = shop.place(checkout(("SHIRT", 1)))
    kept(shop, order)
    assert found(shop, q="ada@example.com") == [(order.body["order_id"], "email")]
