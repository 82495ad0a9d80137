"""Profiles made anew from the orders are the ones that the stream kept, whatever was lost in between."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from local.customers import rebuild
from tests.component.test_customers import ADA, _everything, buy, figures, kept, meanwhile, profile, sold
from tests.component.test_customers_joined import found, join
from tests.support.shop import Context, Shop

KEPT = ("contributed", "contribution", "person", "identity", "find")


@pytest.fixture(autouse=True)
def _history(shop: Shop) -> None:
    """Orders of two people over three months: paid, refunded, cancelled, never paid, sold elsewhere."""
    shop.stock_up("SHIRT", 100)
    shop.stock_up("MUG", 100, price=500)
    orders: list[Any] = []
    for number in range(3):
        orders.append(buy(shop, ("SHIRT", 1), ("MUG", number + 1), key=f"checkout-{number:04}"))
        orders.append(sold(shop, "etsy", "77", external_id=f"receipt-{number}"))
        orders.append(shop.place(key=f"checkout-1{number:04}"))
        kept(shop, *orders)
        shop.later(days=31)
    shop.cancel(orders[0])
    shop.settle(orders[0])
    shop.refund_in_dashboard(orders[3], 300)
    shop.news()
    kept(shop, *orders)


def run(shop: Shop, at: dict[str, Any] | None = None, seconds: int = 60) -> dict[str, Any]:
    handler = import_module("functions.customer_service.keep").handler
    answer: dict[str, Any] = handler(at or {}, Context(remaining_ms=seconds * 1000))
    return answer


def rebuilt(shop: Shop, seconds: int = 60) -> dict[str, int]:
    """Make everything anew; how many orders and people differed."""
    counted = rebuild(lambda at: run(shop, at, seconds))
    return {name: counted[f"{name}_differed"] for name in ("orders", "people")}


def state(shop: Shop) -> dict[tuple[str, str], dict[str, Any]]:
    """All that is kept of customers, but for how often and when it was written."""
    items = (item for item in _everything(shop) if item["entity"] in KEPT)
    beside = {"person": {"version"}, "identity": {"since"}}
    return {
        (item["pk"], item["sk"]): {
            name: value for name, value in item.items() if name not in beside.get(item["entity"], set())
        }
        for item in items
    }


def lose(shop: Shop, *entities: str) -> None:
    """Delete every item of these kinds."""
    table = shop.app.orders.table
    for item in _everything(shop):
        if item["entity"] in entities:
            table.client.delete_item(TableName=table.name, Key=table.key(item["pk"], item["sk"]))


def test_what_the_stream_kept_is_what_the_orders_say(shop: Shop) -> None:
    before = state(shop)
    assert rebuilt(shop) == {"orders": 0, "people": 0}
    assert state(shop) == before


@pytest.mark.parametrize("lost", [KEPT, ("person",), ("find",), ("contribution",), ("contributed",), ("identity",)])
def test_whatever_was_lost_is_there_again(shop: Shop, lost: tuple[str, ...]) -> None:
    before = state(shop)
    lose(shop, *lost)
    rebuilt(shop)
    assert state(shop) == before
    assert rebuilt(shop) == {"orders": 0, "people": 0}


def test_figures_that_somebody_spoilt_are_put_right_and_counted(shop: Shop) -> None:
    before = state(shop)
    table = shop.app.orders.table
    (key,) = [key for key, item in before.items() if item["entity"] == "person" and ADA in item["identities"]]
    names = {"#orders": "orders", "#ada": ADA}
    table.write_one(
        table.update("spoil", key, "SET identities.#ada.figures.#orders = :n", names=names, values={":n": 99})
    )
    assert rebuilt(shop) == {"orders": 0, "people": 1}
    assert state(shop) == before


def test_an_order_that_counts_for_somebody_else_is_taken_back(shop: Shop) -> None:
    before = state(shop)
    table = shop.app.orders.table
    (stranger,) = [
        item for (pk, _), item in before.items() if item["entity"] == "contribution" and ADA in pk and item["counts"]
    ][:1]
    etsy = sold(shop, "etsy", "77", external_id="receipt-0").customer["id"]
    table.transact([table.put("stranger", {**stranger, "pk": f"CUSTOMER#{etsy}"}, None)])
    assert rebuilt(shop)["people"] == 1
    assert state(shop) == before


def test_joined_people_stay_joined(shop: Shop) -> None:
    etsy = sold(shop, "etsy", "77", external_id="receipt-0").customer["id"]
    join(shop, ADA, etsy)
    before = profile(shop)
    assert rebuilt(shop) == {"orders": 0, "people": 0}
    assert profile(shop) == before


def test_a_run_that_is_out_of_time_goes_on_where_it_stopped(shop: Shop) -> None:
    before = state(shop)
    lose(shop, *KEPT)
    assert run(shop, seconds=5)["next"]
    rebuilt(shop, seconds=5)
    assert state(shop) == before


def test_the_shop_goes_on_meanwhile(shop: Shop) -> None:
    lose(shop, "person")
    orders = figures_of_orders(shop)
    late = buy(shop, ("MUG", 1), key="checkout-late")
    meanwhile(shop, before=lambda: kept(shop, late))
    rebuilt(shop)
    assert figures(shop)[0] == orders + 1
    assert rebuilt(shop) == {"orders": 0, "people": 0}
    assert found(shop, "ada byr") == ["Ada Byron"]


def figures_of_orders(shop: Shop) -> int:
    """Ada's orders that count, by the orders themselves."""
    placed = shop.app.orders.placed_by([ADA], "9999")
    statuses = [shop.app.orders.require(order_id).status.value for _, order_id in placed]
    return sum(status in ("confirmed", "in_fulfillment", "completed") for status in statuses)
