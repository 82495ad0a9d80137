"""Priority: the merchant's rules give each order its codes and its score, and a dry run says what others would give."""

from __future__ import annotations

from dataclasses import replace

import pypdfium2
import pytest
from botocore.exceptions import ClientError

from oms.customers.people import People
from oms.orders.editing import Edit
from oms.orders.priority import CODES, Rules
from oms.orders.priority_rules import current_rules, put_rules, rehearse
from oms.runtime import errors
from tests.component.test_channels import buys, on_sale
from tests.component.test_fulfillment import paid
from tests.component.test_walks import call, next_walk, stocked, wave
from tests.support.floor import Floor
from tests.support.shop import Answer, Shop, checkout


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
    assert (told(shop, first), told(shop, second)) == (("N", 5, 0), ("M", 7, 1))
    assert current_rules(shop.app.orders.table) == written
    assert shop.app.orders.table.get("PRIORITY", "VERSION#000001") is not None
    with pytest.raises(errors.Conflict):
        write(shop, Rules())


def test_an_order_for_a_promised_day_says_so(shop: Shop) -> None:
    shop.stock_up("SHIRT", 20)
    placed = shop.place(checkout(deliver_by="2026-11-26"))
    assert told(shop, placed.body["order_id"]) == ("NP", 35, 0)
    assert shop.read(placed)["deliver_by"] == "2026-11-26"
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
        (small, "N", {"score": 25, "codes": "LN"}),
        (large, "LMN", {"score": 35, "codes": "LMN"}),
    ]
    assert (found["changed"], found["codes_before"]["L"], found["codes_after"]["L"]) == (1, 1, 2)
    assert told(shop, small) == ("N", 5, 0)


def test_operators_replace_and_rehearse_the_rules(shop: Shop) -> None:
    def ask(route: str, body: object = None, group: str = "ops") -> Answer:
        staff = {"cognito:groups": f"[{group}]", "cognito:username": "kim"}
        return shop.call("customer_service.customers", route, body, staff=staff)

    shop.stock_up("SHIRT", 20)
    shop.place(checkout(("SHIRT", 12)))
    rules = ask("GET /priority/rules", group="warehouse").body
    rules["weights"] = {"M": 3}
    tried = ask("POST /priority/rehearsals", {**rules, "last": 5}).body
    assert (tried["orders"][0]["before"]["codes"], tried["orders"][0]["after"]) == ("LMN", {"score": 3, "codes": "M"})
    assert ask("PUT /priority/rules", rules).body == {**rules, "version": 1}
    assert ask("PUT /priority/rules", rules).status == 409
    assert ask("PUT /priority/rules", {**rules, "rush_methods": ["teleport"]}).status == 422
    assert ask("PUT /priority/rules", {**rules, "weights": {"X": 1}}).status == 422
    assert ask("PUT /priority/rules", rules, group="agent").status == 403


def test_a_frequent_customer_is_known_from_their_profile_and_a_profile_that_cannot_be_read_stops_no_sale(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.stock_up("SHIRT", 20)
    for number in range(3):
        placed = shop.place(key=f"order-000{number}")
        shop.pay(placed)
        shop.deliver_all()
        shop.app.keeping.keep(placed.body["order_id"])
    frequent = shop.place(key="order-0009").body["order_id"]
    assert told(shop, frequent)[0] == "F"

    def fails(_: object, customer_id: str) -> None:
        raise ClientError({"Error": {"Code": "InternalServerError"}}, "GetItem")

    monkeypatch.setattr(People, "profile", fails)
    assert told(shop, shop.place(key="order-0010").body["order_id"])[0] == ""


def test_a_marketplace_s_orders_are_rated_too(shop: Shop) -> None:
    shop.stock_up("SHIRT", 20)
    on_sale(shop, "etsy", "SHIRT", 20)
    write(shop, replace(Rules(), many_units=2))
    external = buys(shop, "etsy", 2)
    shop.deliver_all()
    order = shop.order_of("etsy", external)
    assert (order.priority_codes, order.orders_before, order.priority_rules) == ("MN", 0, 1)


@pytest.mark.parametrize("channel", ["etsy", "ebay", "amazon"])
def test_a_marketplace_s_order_that_is_promised_for_a_day_says_so(shop: Shop, channel: str) -> None:
    shop.stock_up("SHIRT", 20)
    on_sale(shop, channel, "SHIRT", 20)
    soon = buys(shop, channel, 1, promised_at="2026-11-26T12:00:00.000Z")
    late = buys(shop, channel, 1, promised_at="2026-12-24T12:00:00.000Z")
    shop.deliver_all()
    order = shop.order_of(channel, soon)
    assert (order.promised_for, "P" in order.priority_codes) == ("2026-11-26", True)
    later = shop.order_of(channel, late)
    assert (later.promised_for, "P" in later.priority_codes) == ("2026-12-24", False)


def test_a_promised_day_is_known_when_a_pending_order_is_paid(shop: Shop) -> None:
    shop.stock_up("SHIRT", 20)
    on_sale(shop, "amazon", "SHIRT", 20)
    external = buys(shop, "amazon", 1, paid=False, promised_at="2026-11-26T12:00:00.000Z")
    shop.deliver_all()
    assert shop.order_of("amazon", external).status == "placed"
    shop.amazon.pay(external)
    shop.deliver_all()
    order = shop.order_of("amazon", external)
    assert (order.status, order.promised_for, "P" in order.priority_codes) == ("confirmed", "2026-11-26", True)


@pytest.mark.parametrize(("before", "letters"), [(0, "NP"), (3, "FP")])
def test_the_warehouse_sees_the_codes_in_its_queue_and_on_paper(shop: Shop, before: int, letters: str) -> None:
    floor = Floor(shop)
    stocked(floor)
    shop.app.placing = replace(shop.app.placing, orders_of=lambda _: before)
    paid(floor, ("SHIRT", 1), deliver_by="2026-11-26")
    (task,) = floor.work()["tasks"]
    assert task["priority"]["codes"] == letters
    wave(floor)
    walk = next_walk(floor)
    assert [each["codes"] for each in walk["shipments"]] == [letters]
    listed = call(floor, "GET /warehouse/walks/{id}/pick-list", id=walk["walk_id"])
    slip = call(floor, "GET /warehouse/shipments/{id}/packing-slip", id=walk["shipments"][0]["shipment_id"])
    assert letters in words(listed)
    assert [word for word in words(slip) if word in tuple(CODES)] == list(letters)


def words(printed: Answer) -> list[str]:
    """What stands on the first page."""
    page = pypdfium2.PdfDocument(printed.body)[0]
    return str(page.get_textpage().get_text_range()).split()
