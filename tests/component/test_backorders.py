"""Orders that wait for stock: who is served first, that nobody else is, and that they go on by themselves."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from oms.inventory.backorders import queue_of
from oms.inventory.model import Movement
from oms.inventory.supplies import Supply, put_supply
from oms.inventory.watching import WatchStock
from oms.orders.model import Order
from tests.support.shop import STAFF_CLAIMS, Context, Shop, checkout

EXPRESS = {"shipping_method": "express"}


def receive(shop: Shop, units: int, key: str = "more") -> None:
    shop.app.inventory.move(Movement("receive", "SHIRT", units, "main", "A-01", "delivery", "kim", key, shop.now))


def look(shop: Shop) -> None:
    WatchStock(shop.app.inventory, shop.app.backorders.fill, shop.app.clock).look("SHIRT")


def placed(shop: Shop, key: str, units: int, **changes: Any) -> str:
    answer = shop.place(checkout(("SHIRT", units), **changes), key)
    assert answer.status == 201, answer
    return str(answer.body["order_id"])


def order(shop: Shop, order_id: str) -> Order:
    return shop.app.orders.require(order_id)


def test_a_product_that_may_be_backordered_is_sold_beyond_its_stock(shop: Shop) -> None:
    shop.stock_up(quantity=1, backorder=True)
    supply = Supply("boat", "en_route", 5, "", "2026-12-24T08:00:00.000Z")
    shop.app.inventory.table.transact([put_supply(shop.app.inventory, "SHIRT", supply, shop.now)])
    answer = shop.place(checkout(("SHIRT", 3)), "checkout-1")
    first, told = answer.body["order_id"], {"line": 1, "sku": "SHIRT", "quantity": 2}
    assert answer.body["backordered"] == [{**told, "expected_at": "2026-12-24T08:00:00.000Z"}]
    event = shop.app.orders.verified_history(first)[0]
    assert event["data"]["backordered"] == {"SHIRT": {"units": 2, "expected_at": "2026-12-24T08:00:00.000Z"}}
    assert dict(order(shop, first).oversold) == {"SHIRT": 2}
    assert (queue_of(shop.app.inventory, "SHIRT").waiting, shop.available()) == (2, 0)
    assert shop.identity_holds("SHIRT")


def test_what_was_promised_stays_as_it_was_told_while_the_units_come_in(shop: Shop) -> None:
    shop.stock_up(quantity=0, backorder=True)
    answer = shop.place(checkout(("SHIRT", 2)), "checkout-1")
    told = {"line": 1, "sku": "SHIRT", "quantity": 2, "expected_at": None}
    assert (answer.body["backordered"], shop.read(answer)["backordered"]) == ([told], [{**told, "waiting": 2}])
    supply = Supply("boat", "en_route", 5, "", "2026-12-24T08:00:00.000Z")
    shop.app.inventory.table.transact([put_supply(shop.app.inventory, "SHIRT", supply, shop.now)])
    receive(shop, 1)
    look(shop)
    assert shop.place(checkout(("SHIRT", 2)), "checkout-1") == answer
    assert shop.read(answer)["backordered"] == [{**told, "waiting": 1}]


def test_what_comes_in_is_kept_for_those_who_wait_in_the_receiving_transaction(shop: Shop) -> None:
    shop.stock_up(quantity=0, backorder=True)
    placed(shop, "checkout-1", 2)
    receive(shop, 5)
    assert (queue_of(shop.app.inventory, "SHIRT").earmarked, shop.available()) == (2, 3)
    assert shop.identity_holds("SHIRT")


def test_priority_comes_before_age_and_age_before_everything_else(shop: Shop) -> None:
    shop.stock_up(quantity=0, backorder=True)
    old = placed(shop, "checkout-1", 2)
    shop.later(minutes=1)
    young = placed(shop, "checkout-2", 2)
    shop.later(minutes=1)
    rush = placed(shop, "checkout-3", 2, **EXPRESS)
    receive(shop, 3)
    look(shop)
    assert [dict(order(shop, each).oversold) for each in (rush, old, young)] == [{}, {"SHIRT": 1}, {"SHIRT": 2}]
    assert shop.identity_holds("SHIRT")


def test_an_order_that_died_leaves_the_queue_and_its_units_go_on_sale(shop: Shop) -> None:
    shop.stock_up(quantity=0, backorder=True)
    answer = shop.place(checkout(("SHIRT", 2)), "checkout-1")
    receive(shop, 2)
    assert shop.cancel(answer).status == 200
    look(shop)
    queue = queue_of(shop.app.inventory, "SHIRT")
    assert (queue.waiting, queue.earmarked, shop.available()) == (0, 0, 2)
    assert shop.identity_holds("SHIRT")


def test_an_order_that_joins_while_units_are_received_is_not_overlooked(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.stock_up(quantity=0, backorder=True)
    table = shop.app.inventory.table
    transact, joined = type(table).transact, list[str]()

    def between(self: Any, writes: Any, **how: bool) -> None:
        if not joined and any(write.label == "once" for write in writes):
            joined.append(placed(shop, "checkout-1", 2))
        transact(self, writes, **how)

    monkeypatch.setattr(type(table), "transact", between)
    receive(shop, 2)
    assert (queue_of(shop.app.inventory, "SHIRT").earmarked, shop.available()) == (2, 0)


def test_alerts_are_raised_once_and_cleared(shop: Shop) -> None:
    shop.stock_up(quantity=3, low_stock_at=2)
    placed(shop, "checkout-1", 1)
    look(shop)
    shop.later(minutes=1)
    look(shop)

    def alerts() -> Any:
        return shop.call("inventory_sync.stock_api", "GET /alerts/stock", staff=STAFF_CLAIMS).body["alerts"]

    (alert,) = alerts()
    assert (alert["kind"], alert["units"], alert["threshold"]) == ("low_stock", 2, 2)
    receive(shop, 5)
    look(shop)
    assert alerts() == []


def test_a_queue_whose_stream_record_was_lost_is_taken_up_by_the_clock(shop: Shop) -> None:
    shop.stock_up(quantity=0, backorder=True)
    first, second = placed(shop, "checkout-1", 2), shop.place(checkout(("SHIRT", 1)), "checkout-2")
    receive(shop, 3)
    assert shop.cancel(second).status == 200
    assert (queue_of(shop.app.inventory, "SHIRT").earmarked, shop.available()) == (3, 0)
    for _ in range(2):
        import_module("functions.inventory_sync.reconcile").handler({}, Context())
        assert dict(order(shop, first).oversold) == {}
        assert (queue_of(shop.app.inventory, "SHIRT").earmarked, shop.available()) == (0, 1)
    assert shop.identity_holds("SHIRT")
