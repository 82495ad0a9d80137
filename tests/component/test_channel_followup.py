"""What channels do to an order after they sold it, and what they demand for a person: each has its effect once."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest

from oms.orders.notes import NoteForm
from oms.runtime import errors
from tests.component.test_channels import buys, control, on_sale
from tests.support.shop import Context, Shop

REFUNDING = ("etsy", "ebay", "shopify", "webhook")


def sold(shop: Shop, channel: str, quantity: int = 3) -> str:
    shop.stock_up("SHIRT", 10)
    on_sale(shop, channel, "SHIRT", 10)
    external = buys(shop, channel, quantity)
    shop.deliver_all()
    return external


def worker(shop: Shop) -> None:
    records = [{"messageId": str(n), "body": json.dumps(body)} for n, body in enumerate(shop.queued("channel-events"))]
    result = import_module("functions.place_order.import_orders").handler({"Records": records}, Context())
    assert result == {"batchItemFailures": []}
    shop.serve_people()


def poll(shop: Shop) -> None:
    shop.later(minutes=5)
    import_module("functions.place_order.poll_channels").handler({}, Context())
    shop.serve_people()


def history(shop: Shop, channel: str, external: str) -> list[Any]:
    return shop.app.orders.verified_history(shop.order_of(channel, external).order_id)


@pytest.mark.parametrize("channel", REFUNDING)
def test_a_partial_refund_on_the_channel_is_one_entry_in_the_ledger(shop: Shop, channel: str) -> None:
    external = sold(shop, channel)
    for amount in (500, 200):
        control(shop, channel, "POST", "/_sim/refunds", {"order_id": external, "amount_minor": amount})
        shop.deliver_all()
        poll(shop)
        poll(shop)
    order = shop.order_of(channel, external)
    assert (order.status, order.payment.status, order.payment.refunded) == ("confirmed", "partially_refunded", 700)
    entries = shop.app.orders.parts(order.order_id, "MONEY#refunded#")
    assert sorted(entry["amount"] for entry in entries) == [200, 500]
    assert shop.available() == 7


def test_units_taken_out_of_an_order_at_shopify_are_for_sale_again(shop: Shop) -> None:
    external = sold(shop, "shopify")
    told = {"order_id": external, "amount_minor": 1999, "removed": {"SHIRT": 1}}
    control(shop, "shopify", "POST", "/_sim/refunds", told)
    for delivery in list(shop.deliveries):
        shop.deliver(delivery)
        shop.deliver(delivery)
    order = shop.order_of("shopify", external)
    assert (order.lines[0].cancelled, order.payment.refunded) == (1, 1999)
    assert shop.available() == 8
    assert shop.identity_holds("SHIRT")


def test_an_order_whose_units_were_all_taken_out_is_cancelled(shop: Shop) -> None:
    external = sold(shop, "shopify")
    told = {"order_id": external, "amount_minor": 5997, "removed": {"SHIRT": 3}}
    control(shop, "shopify", "POST", "/_sim/refunds", told)
    shop.deliver_all()
    order = shop.order_of("shopify", external)
    assert (order.status, order.payment.status) == ("cancelled", "refunded")
    assert shop.available() == 10


def test_a_pending_order_at_amazon_holds_its_stock_and_ships_only_when_it_is_paid(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    on_sale(shop, "amazon", "SHIRT", 10)
    lines = [{"sku": "SHIRT", "quantity": 3}]
    external = control(shop, "amazon", "POST", "/_sim/purchases", {"lines": lines, "paid": False})["order_id"]
    shop.deliver_all()
    order = shop.order_of("amazon", external)
    assert (order.status, order.payment.status, order.effects) == ("placed", "pending", ())
    assert shop.available() == 7
    shop.amazon.pay(external)
    poll(shop)
    poll(shop)
    order = shop.order_of("amazon", external)
    assert (order.status, order.payment.captured) == ("confirmed", order.totals.total)
    assert [str(effect) for effect in order.effects] == ["start_fulfillment"]
    assert (order.currency, shop.available()) == ("USD", 7)
    assert shop.identity_holds("SHIRT")


def test_a_pending_order_that_amazon_cancels_gives_its_stock_back(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    on_sale(shop, "amazon", "SHIRT", 10)
    lines = [{"sku": "SHIRT", "quantity": 3}]
    external = control(shop, "amazon", "POST", "/_sim/purchases", {"lines": lines, "paid": False})["order_id"]
    shop.deliver_all()
    control(shop, "amazon", "POST", "/_sim/cancel", {"order_id": external})
    shop.deliver_all()
    assert shop.order_of("amazon", external).status == "cancelled"
    assert shop.available() == 10


def test_a_deleted_ebay_account_is_forgotten_once_its_orders_have_ended(shop: Shop) -> None:
    external = sold(shop, "ebay")
    before = shop.order_of("ebay", external)
    username = shop.ebay._orders[external]["buyer"]["username"]
    shop.ebay.announce_account_deletion("u-1", username)
    for delivery in list(shop.deliveries):
        assert shop.deliver(delivery).status == 200
        assert shop.deliver(delivery).status == 200
    shop.deliveries.clear()
    worker(shop)
    assert shop.order_of("ebay", external).customer["name"] == before.customer["name"]  # It has to be shipped first.
    control(shop, "ebay", "POST", "/_sim/cancel", {"order_id": external})
    shop.app.importing.take_up("ebay", external)
    poll(shop)
    order = shop.order_of("ebay", external)
    assert set(order.customer) == {"id"}
    assert order.customer["id"] != before.customer["id"]
    assert dict(order.address) == {"country": before.address["country"]}
    assert [event["type"] for event in history(shop, "ebay", external)][-1] == "PersonErased"
    assert list(shop.app.demands.open_demands()) == []
    poll(shop)
    assert len(history(shop, "ebay", external)) == order.version


def test_a_redacted_customer_of_shopify_is_forgotten(shop: Shop) -> None:
    external = sold(shop, "shopify")
    control(shop, "shopify", "POST", "/_sim/cancel", {"order_id": external})
    shop.deliver_all()
    order_id, said = shop.order_of("shopify", external).order_id, NoteForm(text="Ada called", by_customer=False)
    shop.app.notes.add(order_id, said, author="staff:kim", key="note-0001")
    shop.shopify.announce_privacy("customers/redact", {"customer": {"id": 1}, "orders_to_redact": [int(external)]})
    shop.deliver_all()
    worker(shop)
    assert set(shop.order_of("shopify", external).customer) == {"id"}
    assert [note.get("text") for note in shop.app.notes.listed(order_id)] == [None]
    with pytest.raises(errors.Conflict):
        shop.app.notes.add(order_id, said, author="staff:kim", key="note-0002")


def test_a_demand_that_only_a_person_can_answer_stays_open_and_is_noticed(shop: Shop) -> None:
    shop.shopify.announce_privacy("customers/data_request", {"customer": {"id": 1}, "orders_requested": []})
    shop.deliver_all()
    worker(shop)
    assert shop.app.serving_people.run(lambda: 60.0) == {"open": 1, "overdue": 0}
    shop.later(days=26)
    assert shop.app.serving_people.run(lambda: 60.0) == {"open": 1, "overdue": 1}


def test_a_person_of_ours_answers_a_demand_and_closes_it_once(shop: Shop) -> None:
    def call(route: str, body: Any = None, **path: str) -> Any:
        staff = {"cognito:groups": "[ops]", "cognito:username": "olga"}
        return shop.call("customer_service.customers", route, body, path=path, staff=staff)

    shop.shopify.announce_privacy("customers/data_request", {"customer": {"id": 1}, "orders_requested": []})
    shop.deliver_all()
    (demand,) = call("GET /persons/demands").body["demands"]
    assert (demand["channel"], demand["needs_somebody"]) == ("shopify", True)
    route, told = "POST /persons/demands/{id}/close", {"outcome": "handed_over"}
    first = call(route, told, id=demand["demand_id"])
    assert (first.status, first.body["outcome"], first.body["done_by"]) == (200, "handed_over", "staff:olga")
    assert call(route, {"outcome": "refused"}, id=demand["demand_id"]).body == first.body
    assert call("GET /persons/demands").body["demands"] == []
    assert call(route, told, id="shopify.none").status == 404


def test_what_was_handed_in_against_a_dispute_is_forgotten_with_its_person(shop: Shop) -> None:
    external = sold(shop, "shopify")
    control(shop, "shopify", "POST", "/_sim/cancel", {"order_id": external})
    shop.deliver_all()
    order_id, table = shop.order_of("shopify", external).order_id, shop.app.orders.table
    told = {"evidence": {"customer_name": "Grace Hopper"}, "evidence_status": "submitted", "status": "lost"}
    item = {"pk": f"ORDER#{order_id}", "sk": "DISPUTE#dp_1", "entity": "dispute", **told}
    table.transact([table.put("dispute", item)])
    shop.shopify.announce_privacy("customers/redact", {"customer": {"id": 1}, "orders_to_redact": [int(external)]})
    shop.deliver_all()
    worker(shop)
    (kept,) = shop.app.orders.parts(order_id, "DISPUTE#")
    assert ("evidence" in kept, kept["evidence_status"]) == (False, "submitted")
