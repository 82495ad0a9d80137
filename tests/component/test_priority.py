"""Priority: the merchant's rules give each order its codes and its score, and a dry run says what others would give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oms.orders.editing import Edit
from oms.orders.priority import Rules
from oms.orders.priority_rules import current_rules, put_rules, rehearse
from oms.runtime import errors
from tests.support.floor import Floor
from tests.support.shop import Shop, checkout


def told(shop: Shop, order_id: str) -> tuple[str, int, int]:
    order = shop.app.orders.require(order_id)
    return order.priority_codes, order.priority_score, order.priority_rules


def write(shop: Shop, rules: Rules) -> Rules:
    return put_rules(shop.app.orders.table, rules, actor="staff:kim", now=shop.now)


def test_new_rules_hold_for_orders_from_a_minute_later_on_and_old_ones_stay_readable(shop: Shop) -> None:
    shop.stock_up("SHIRT", 20)
    first = shop.place(key="order-0001").body["order_id"]
    written = write(shop, replace(Rules(), many_units=2, weights={"M": 7}))
    assert written.version == 1
    shop.later(seconds=61)
    second = shop.place(key="order-0002").body["order_id"]
    assert (told(shop, first), told(shop, second)) == (("", 0, 0), ("M", 7, 1))
    assert current_rules(shop.app.orders.table) == written
    assert shop.app.orders.table.get("PRIORITY", "VERSION#000001") is not None
    with pytest.raises(errors.Conflict):
        write(shop, Rules())


def test_an_order_for_a_promised_day_says_so(shop: Shop) -> None:
    shop.stock_up("SHIRT", 20)
    placed = shop.place(checkout(deliver_by="2026-11-27"))
    assert told(shop, placed.body["order_id"]) == ("P", 30, 0)
    assert shop.read(placed)["deliver_by"] == "2026-11-27"
    for wrong in ("2026-11-22", "soon"):
        assert shop.place(checkout(deliver_by=wrong), key=f"wrong-{wrong}").status == 422


@pytest.mark.parametrize(("before", "codes"), [(None, ""), (0, "N"), (1, ""), (3, "F")])
def test_what_is_known_of_the_customer_gives_codes_and_is_kept_with_the_order(
    shop: Shop, before: int | None, codes: str
) -> None:
    shop.stock_up("SHIRT", 20)
    shop.app.placing = replace(shop.app.placing, orders_of=lambda _: before)
    order_id = shop.place().body["order_id"]
    assert told(shop, order_id)[0] == codes
    assert shop.app.orders.require(order_id).orders_before == before


def test_an_edit_rates_the_order_again_by_the_rules_of_its_moment(shop: Shop) -> None:
    shop.stock_up("SHIRT", 20)
    floor = Floor(shop)
    shop.app.placing = replace(shop.app.placing, orders_of=lambda _: 0)
    placed = shop.place()
    shop.pay(placed)
    shop.deliver_all()
    floor.settle()
    order_id = placed.body["order_id"]
    write(shop, replace(Rules(), many_units=6))
    edit = Edit({1: 7}, {}, None)
    shown = shop.app.editing.preview(order_id, edit)["preview"]
    shop.app.editing.confirm(order_id, edit, shown, actor="staff:kim", key="edit-0001")
    assert told(shop, order_id) == ("MN", 15, 1)


def test_a_dry_run_shows_what_rules_would_make_of_the_last_orders_and_writes_nothing(shop: Shop) -> None:
    shop.stock_up("SHIRT", 20)
    large = shop.place(checkout(("SHIRT", 12)), key="order-0001").body["order_id"]
    shop.later(minutes=1)
    small = shop.place(checkout(("SHIRT", 1)), key="order-0002").body["order_id"]
    found = rehearse(shop.app.orders, replace(Rules(), large_ticket={"USD": 1}), 10, shop.now)
    assert [(one["order_id"], one["before"]["codes"], one["after"]) for one in found["orders"]] == [
        (small, "", {"score": 20, "codes": "L"}),
        (large, "LM", {"score": 30, "codes": "LM"}),
    ]
    assert (found["changed"], found["codes_before"]["L"], found["codes_after"]["L"]) == (1, 1, 2)
    assert told(shop, small) == ("", 0, 0)
