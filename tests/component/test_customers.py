"""Customers: one profile of each person, kept by the stream exactly once and equal to what the orders say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from oms.channels.port import ExternalAddress, ExternalLine, ExternalOrder, PersonDemand
from oms.orders.model import Event, Order
from oms.orders.placing import customer_id_for
from oms.orders.store import Change
from oms.runtime.dynamo import from_item
from tests.component.test_messages import relay
from tests.component.test_returns import ask
from tests.support.floor import Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop, checkout

ADA = customer_id_for("ada@example.com")


def keep(shop: Shop, *order_ids: str) -> bool:
    """Give the keeper a message of each order; whether all of them are done."""
    bodies = [json.dumps({"order_id": order_id, "number": 1, "type": "any"}) for order_id in order_ids]
    records = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
    answer = import_module("functions.customer_service.keep").handler({"Records": records}, Context())
    return bool(answer == {"batchItemFailures": []})


def kept(shop: Shop, *orders: Answer | Order | str) -> None:
    """Let orders count as they are now."""
    ids = [each if isinstance(each, str) else _id_of(each) for each in orders]
    assert keep(shop, *ids)


def _id_of(order: Answer | Order) -> str:
    return order.order_id if isinstance(order, Order) else str(order.body["order_id"])


def profile(shop: Shop, customer_id: str = ADA) -> Any:
    """The customer as an agent sees them; None when there is no such customer."""
    path = {"id": customer_id}
    answer = shop.call("customer_service.customers", "GET /customers/{id}", path=path, staff=STAFF_CLAIMS)
    assert answer.status in (200, 404), answer
    return answer.body if answer.status == 200 else None


def figures(shop: Shop, customer_id: str = ADA) -> tuple[int, int, dict[str, int]]:
    """Orders, units and money of a customer."""
    shown = profile(shop, customer_id)
    return shown["orders"], shown["units"], shown["spent"]


def buy(shop: Shop, *lines: tuple[str, int], key: str = "checkout-0001", **changes: Any) -> Answer:
    """An order that was paid."""
    placed = shop.place(checkout(*lines or (("SHIRT", 2),), **changes), key=key)
    assert placed.status == 201, placed
    shop.pay(placed)
    shop.deliver_all()
    return placed


def sold(shop: Shop, channel: str, buyer: str, email: str = "", external_id: str = "receipt-1") -> Order:
    """A marketplace's order of two mugs."""
    external = ExternalOrder(
        external_id=external_id,
        buyer_id=buyer,
        buyer_name="Ada B.",
        buyer_email=email or None,
        address=ExternalAddress("Ada B.", "1 Navy Yard", "Arlington", "22202", "US", region="VA"),
        lines=(ExternalLine("line-1", "MUG", "Mug", 2, 500),),
        currency="USD",
        items_total=1000,
        shipping_total=0,
        tax_total=0,
        discount_total=0,
        grand_total=1000,
        paid=True,
        cancelled=False,
        placed_at=shop.now,
        updated_at=shop.now,
    )
    order = shop.app.placing.take_in(channel, external)
    assert order is not None
    return order


def person(email: str) -> dict[str, Any]:
    return {"customer": {"email": email, "name": "Ada Byron"}}


class Client:
    """DynamoDB, where something happens before or after the next transaction, once."""

    def __init__(self, client: Any, before: Callable[[], object] | None, after: Callable[[], object] | None) -> None:
        self._client, self._before, self._after = client, before, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **asked: Any) -> Any:
        before, self._before = self._before, None
        if before:
            before()
        answer = self._client.transact_write_items(**asked)
        after, self._after = self._after, None
        if after:
            after()
        return answer


def meanwhile(
    shop: Shop, *, before: Callable[[], object] | None = None, after: Callable[[], object] | None = None
) -> None:
    """Let something happen at the next transaction on the orders table."""
    table = shop.app.orders.table
    table.client = Client(getattr(table.client, "_client", table.client), before, after)


def dies() -> None:
    """The process ends here."""
    raise RuntimeError("killed")


@pytest.fixture(autouse=True)
def _stocked(shop: Shop) -> None:
    shop.stock_up("SHIRT", 100)
    shop.stock_up("MUG", 100, price=500)


class TestWhatAnOrderAddsToItsCustomer:
    def test_a_paid_order_makes_its_customer_known(self, shop: Shop) -> None:
        order = buy(shop, ("SHIRT", 2), ("MUG", 1))
        kept(shop, order)
        told = profile(shop)
        assert (told["name"], told["email"]) == ("Ada Byron", "ada@example.com")
        assert figures(shop) == (1, 3, {"USD": order.body["total"]})
        assert (told["channels"], told["countries"], told["payment_methods"]) == ({"web": 1}, {"US": 1}, {"stripe": 1})
        assert told["addresses"][0]["city"] == "Portland"
        assert told["first_order_at"] == told["last_order_at"]

    def test_an_order_that_nobody_paid_makes_nobody_a_customer(self, shop: Shop) -> None:
        order = shop.place()
        kept(shop, order)
        assert profile(shop) is None
        shop.later(hours=1)
        shop.sweep()
        kept(shop, order)
        assert profile(shop) is None

    def test_an_order_that_was_cancelled_counts_for_nothing_and_its_customer_stays_known(self, shop: Shop) -> None:
        first = buy(shop)
        shop.later(days=1)
        second = buy(shop, ("MUG", 1), key="checkout-0002")
        kept(shop, first, second)
        assert figures(shop)[0] == 2
        for order in (second, first):
            shop.cancel(order)
            shop.settle(order)
            kept(shop, order)
        told = profile(shop)
        assert (told["orders"], told["cancelled_orders"], told["units"], told["spent"]) == (0, 2, 0, {})
        assert (told["name"], told["last_order_at"]) == ("Ada Byron", None)

    def test_what_is_given_back_is_not_spent(self, shop: Shop) -> None:
        order = buy(shop)
        kept(shop, order)
        shop.refund_in_dashboard(order, 500)
        shop.news()
        kept(shop, order)
        assert figures(shop)[2] == {"USD": order.body["total"] - 500}

    def test_a_line_that_was_cancelled_and_an_edit_change_units_and_money(self, shop: Shop) -> None:
        order = buy(shop, ("SHIRT", 2), ("MUG", 3))
        kept(shop, order)
        shop.cancel(order, {"lines": [{"line": 2, "quantity": 1}]}, key="cancel-0001")
        shop.settle(order)
        kept(shop, order)
        now = shop.app.orders.require(order.body["order_id"])
        assert now.payment.refunded
        assert figures(shop) == (1, 4, {"USD": now.payment.captured - now.payment.refunded})

    def test_units_that_come_back_are_not_counted(self, shop: Shop) -> None:
        floor = Floor(shop)
        order = buy(shop, ("SHIRT", 2))
        kept(shop, order)
        floor.settle()
        floor.do_all()
        asked = ask(shop, order, (1, 1, "changed_mind"))
        assert asked.status == 201, asked
        kept(shop, order)
        assert figures(shop)[1] == 1

    def test_another_address_is_the_latest(self, shop: Shop) -> None:
        order = buy(shop)
        kept(shop, order)
        elsewhere = {**checkout()["shipping_address"], "line1": "1 Other Street", "postal_code": "97301"}
        shop.app.editing.change_address(order.body["order_id"], elsewhere, actor="staff:kim")
        kept(shop, order)
        assert [address["line1"] for address in profile(shop)["addresses"]] == ["1 Other Street"]

    def test_a_marketplace_s_order_counts_when_it_is_taken_in(self, shop: Shop) -> None:
        order = sold(shop, "etsy", "77")
        kept(shop, order)
        told = profile(shop, order.customer["id"])
        assert (told["orders"], told["spent"], told["payment_methods"]) == (1, {"USD": 1000}, {"etsy": 1})

    def test_buyers_whom_a_channel_does_not_name_are_not_all_one(self, shop: Shop) -> None:
        orders = [sold(shop, "shopify", "", external_id=f"order-{number}") for number in range(2)]
        kept(shop, *orders)
        assert len({order.customer["id"] for order in orders}) == 2

    def test_a_till_s_tender_says_how_it_was_paid(self, shop: Shop) -> None:
        order = shop.place()
        shop.app.tenders.record(
            order.body["order_id"], "cash", order.body["total"], reference="till 3", agent="staff:kim", key="tender-1"
        )
        kept(shop, order)
        assert profile(shop)["payment_methods"] == {"cash": 1}

    def test_the_listener_is_told_of_what_may_change_a_profile(self, shop: Shop) -> None:
        relay(shop, buy(shop))
        assert [message["type"] for message in shop.queued("customers")] == ["OrderPlaced", "PaymentCaptured"]


class TestExactlyOnce:
    def test_a_message_again_changes_nothing(self, shop: Shop) -> None:
        orders = [buy(shop), buy(shop, ("MUG", 3), key="checkout-0002")]
        kept(shop, *orders)
        before = profile(shop)
        kept(shop, *orders * 3)
        assert profile(shop) == before

    def test_messages_in_any_order_lead_to_the_same(self, shop: Shop) -> None:
        orders = []
        for number in range(3):
            orders.append(buy(shop, ("MUG", number + 1), key=f"checkout-{number:04}"))
            shop.later(days=1)
        shop.cancel(orders[0])
        shop.settle(orders[0])
        kept(shop, *reversed(orders))
        assert figures(shop) == (2, 5, {"USD": sum(order.body["total"] for order in orders[1:])})
        assert profile(shop)["first_order_at"] == shop.read(orders[1])["placed_at"]

    def test_who_read_an_older_version_writes_nothing_over_a_newer_one(self, shop: Shop) -> None:
        order = buy(shop)

        def cancelled_and_counted() -> None:
            shop.cancel(order)
            shop.settle(order)
            kept(shop, order)

        meanwhile(shop, before=cancelled_and_counted)
        kept(shop, order)
        assert (profile(shop)["orders"], profile(shop)["cancelled_orders"]) == (0, 1)

    def test_who_dies_before_or_after_the_write_is_followed_by_one_who_finishes(self, shop: Shop) -> None:
        order = buy(shop)
        meanwhile(shop, before=dies)
        assert not keep(shop, order.body["order_id"])
        assert profile(shop) is None
        meanwhile(shop, after=dies)
        assert not keep(shop, order.body["order_id"])
        once = figures(shop)
        kept(shop, order)
        assert figures(shop) == once == (1, 2, {"USD": order.body["total"]})

    def test_two_orders_of_one_customer_at_once_both_count(self, shop: Shop) -> None:
        first, second = buy(shop), buy(shop, ("MUG", 3), key="checkout-0002")
        meanwhile(shop, before=lambda: kept(shop, second))
        kept(shop, first)
        assert figures(shop) == (2, 5, {"USD": first.body["total"] + second.body["total"]})


class TestForgetting:
    def erase(self, shop: Shop, *orders: Answer) -> None:
        """What a demand does to orders that have ended."""
        ids = tuple(order.body["order_id"] for order in orders)

        def forgotten(order: Order) -> Change:
            after = replace(order, customer={"id": customer_id_for(f"erased:{order.order_id}")}, address={})
            return Change(after, Event("PersonErased", "system", "demand"))

        for order_id in ids:
            shop.app.orders.change(order_id, forgotten, shop.now)
        kept(shop, *ids)

    def test_of_a_person_who_was_forgotten_nothing_stays(self, shop: Shop) -> None:
        orders = [buy(shop), buy(shop, ("MUG", 1), key="checkout-0002")]
        kept(shop, *orders)
        self.erase(shop, orders[0])
        assert figures(shop)[0] == 1
        self.erase(shop, orders[1])
        assert profile(shop) is None
        told = [item for item in _everything(shop) if not item["pk"].startswith(("ORDER#", "INBOX#"))]
        assert not [item for item in told if ADA in str(item)]
        assert not [item for item in told if "Ada" in str(item) or "97201" in str(item)]

    def test_a_demand_is_heard_of_like_any_event(self, shop: Shop) -> None:
        order = sold(shop, "etsy", "77")
        kept(shop, order)
        shop.app.ending.cancel_by_channel(order.order_id, "etsy")
        shop.app.demands.record("etsy", "demand-1", PersonDemand("erase", buyer_ids=("77",)))
        assert shop.app.serving_people.carry_out("etsy", "demand-1", lambda: 60.0)
        kept(shop, order)
        assert profile(shop, order.customer["id"]) is None


def test_who_is_no_agent_sees_no_customer(shop: Shop) -> None:
    warehouse = {**STAFF_CLAIMS, "cognito:groups": "[warehouse]"}
    answer = shop.call("customer_service.customers", "GET /customers/{id}", path={"id": "x"}, staff=warehouse)
    assert answer.status == 403


def _everything(shop: Shop) -> list[dict[str, Any]]:
    table = shop.app.orders.table
    pages = table.client.get_paginator("scan").paginate(TableName=table.name)

    return [from_item(item) for page in pages for item in page["Items"]]
