"""Payments, expiry and cancellation through the real handlers."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.support.shop import Shop, checkout


def ended_balance(shop: Shop) -> dict[str, int]:
    return shop.stripe_totals()


def test_a_webhook_told_five_times_has_one_effect(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    for delivery in list(shop.deliveries):
        for _ in range(5):
            assert shop.deliver(delivery).status == 200
    order = shop.read(placed)
    assert (order["status"], order["payment"]["captured"]) == ("confirmed", placed.body["total"])
    assert len(shop.app.orders.verified_history(placed.body["order_id"])) == 2


def test_events_may_come_in_any_order(shop: Shop) -> None:
    shop.stock_up("SHIRT", 30)
    for number, order_of_events in enumerate(itertools.permutations(range(3))):
        placed = shop.place(key=f"permutation-{number}")
        shop.pay(placed, "pm_card_chargeDeclined")
        shop.pay(placed)
        kinds = ("payment_intent.created", "payment_intent.payment_failed", "payment_intent.succeeded")
        events = [shop.waiting(kind) for kind in kinds]
        shop.deliveries.clear()
        for index in order_of_events:
            shop.deliver(events[index])
        assert shop.read(placed)["status"] == "confirmed"


def test_a_declined_card_leaves_the_order_to_expire_and_the_stock_comes_back_once(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed, "pm_card_chargeDeclined")
    shop.deliver_all()
    assert shop.read(placed)["payment"]["status"] == "failed"
    shop.later(minutes=29)
    shop.sweep()
    assert shop.available() == 8
    shop.later(minutes=2)
    for _ in range(3):
        shop.sweep()
    assert shop.available() == 10
    assert shop.read(placed)["status"] == "expired"
    assert shop.identity_holds("SHIRT")


def test_a_paid_order_cannot_expire(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    shop.deliver_all()
    shop.later(hours=2)
    shop.sweep()
    assert shop.read(placed)["status"] == "confirmed"
    assert shop.available() == 8


def test_money_for_an_expired_order_takes_its_stock_again(shop: Shop) -> None:
    shop.stock_up("SHIRT", 2)
    placed = shop.place()
    shop.pay(placed)
    shop.later(minutes=31)
    shop.sweep()
    assert shop.read(placed)["status"] == "expired"
    shop.deliver_all()
    assert shop.read(placed)["status"] == "confirmed"
    assert shop.available() == 0
    assert shop.identity_holds("SHIRT")


def test_money_for_an_expired_order_goes_back_when_its_stock_is_gone(shop: Shop) -> None:
    shop.stock_up("SHIRT", 2)
    placed = shop.place()
    shop.pay(placed)
    shop.later(minutes=31)
    shop.sweep()
    shop.place(checkout(("SHIRT", 1)), key="checkout-0002")
    shop.deliver_all()
    shop.settle(placed)
    shop.settle(placed)
    order = shop.read(placed)
    assert (order["status"], order["payment"]["status"]) == ("expired", "refunded")
    assert order["payment"]["refunded"] == placed.body["total"] == ended_balance(shop)["refunded"]
    assert shop.identity_holds("SHIRT")


def test_expiry_closes_the_intent_so_that_it_cannot_be_paid_any_more(shop: Shop) -> None:
    shop.stock_up("SHIRT", 2)
    placed = shop.place()
    shop.later(minutes=31)
    shop.sweep()
    shop.settle(placed)
    intent = placed.body["payment"]["client_secret"].split("_secret_")[0]
    assert shop.app.gateway().get_intent(intent).status == "canceled"
    assert shop.read(placed)["payment"]["status"] == "cancelled"
    shop.deliver_all()
    assert shop.app.orders.require(placed.body["order_id"]).effects == ()


def test_an_intent_that_was_paid_while_it_expired_is_not_lost(shop: Shop) -> None:
    shop.stock_up("SHIRT", 2)
    placed = shop.place()
    shop.later(minutes=31)
    shop.sweep()
    shop.pay(placed)
    shop.settle(placed)
    shop.deliver_all()
    assert shop.read(placed)["status"] == "confirmed"
    assert ended_balance(shop)["captured"] == placed.body["total"]


def test_cancelling_a_paid_order_gives_stock_and_money_back_once(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    shop.deliver_all()
    for _ in range(3):
        assert shop.cancel(placed).status == 200
    for _ in range(3):
        shop.settle(placed)
    shop.deliver_all()
    order = shop.read(placed)
    assert (order["status"], order["payment"]["status"]) == ("cancelled", "refunded")
    assert ended_balance(shop)["refunded"] == placed.body["total"]
    assert shop.available() == 10
    assert shop.identity_holds("SHIRT")


def test_a_payment_that_succeeds_after_the_cancellation_is_refunded(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    shop.cancel(placed)
    shop.deliver_all()
    shop.settle(placed)
    order = shop.read(placed)
    assert (order["status"], order["payment"]["status"]) == ("cancelled", "refunded")
    assert shop.available() == 10


def test_single_lines_can_be_cancelled_before_picking_with_their_share_of_the_money(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    shop.stock_up("MUG", 10, price=700)
    placed = shop.place(checkout(("SHIRT", 2), ("MUG", 3)))
    shop.pay(placed)
    shop.deliver_all()
    wanted = {"lines": [{"line": 2, "quantity": 2}], "reason": "changed my mind"}
    for _ in range(2):
        answer = shop.cancel(placed, wanted, key="cancel-0001")
        assert answer.status == 200, answer
    assert answer.body["lines"][1]["cancelled"] == 2
    assert answer.body["payment"]["refund_due"] == 1400
    assert (shop.available("SHIRT"), shop.available("MUG")) == (8, 9)
    shop.settle(placed)
    assert ended_balance(shop)["refunded"] == 1400
    assert shop.identity_holds("SHIRT", "MUG")
    more = shop.cancel(placed, {"lines": [{"line": 2, "quantity": 2}]}, key="cancel-0002")
    assert (more.status, more.body["errors"][0]["message"]) == (422, "line 2 has 1 units left")


@pytest.mark.parametrize("wrong", ["amount", "currency"])
def test_a_payment_that_does_not_match_is_held_for_a_person(shop: Shop, wrong: str) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    delivery = shop.waiting("payment_intent.succeeded")
    event = json.loads(delivery.body)
    if wrong == "amount":
        event["data"]["object"]["amount_received"] -= 1
    else:
        event["data"]["object"]["currency"] = "eur"
    assert shop.deliver(shop.signed_by_stripe(event)).status == 200
    order = shop.app.orders.require(placed.body["order_id"])
    assert (order.status.value, list(order.holds)) == ("placed", ["payment"])


def test_money_through_a_foreign_intent_goes_back_and_our_own_intent_is_closed(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    foreign = shop.foreign_intent(placed, 200)
    shop.deliver_all()
    order = shop.app.orders.require(placed.body["order_id"])
    assert (order.status, list(order.holds), order.payment.captured) == ("placed", ["payment"], 200)
    shop.later(minutes=31)
    shop.sweep()
    shop.settle(placed)
    shop.deliver_all()
    order = shop.app.orders.require(placed.body["order_id"])
    assert (order.status, order.effects, order.payment.refunded) == ("expired", (), 200)
    own = placed.body["payment"]["client_secret"].split("_secret_")[0]
    assert shop.app.gateway().get_intent(own).status == "canceled"
    assert shop.app.gateway().get_intent(foreign).status == "succeeded"
    assert ended_balance(shop)["refunded"] == 200


def test_an_order_paid_twice_keeps_one_payment(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    second = shop.foreign_intent(placed, placed.body["total"])
    shop.deliver_all()
    shop.settle(placed)
    order = shop.read(placed)
    assert (order["status"], order["payment"]["status"]) == ("confirmed", "partially_refunded")
    assert (order["payment"]["captured"], order["payment"]["refunded"]) == (
        2 * placed.body["total"],
        placed.body["total"],
    )
    (refund,) = shop.app.orders.parts(placed.body["order_id"], "REFUND#")
    assert refund["intent"] == second
    shop.cancel(placed)
    shop.settle(placed)
    assert ended_balance(shop)["refunded"] == 2 * placed.body["total"]


@pytest.mark.parametrize("damage", ["signature", "body", "old", "future", "missing"])
def test_a_webhook_that_cannot_be_proven_is_refused(shop: Shop, damage: str) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    delivery = shop.waiting("payment_intent.succeeded")
    headers, body = dict(delivery.headers), delivery.body
    if damage == "signature":
        headers = {name: value[:-1] + ("0" if value[-1] != "0" else "1") for name, value in headers.items()}
    elif damage == "body":
        body = body.replace(b"succeeded", b"succeedef")
    elif damage == "old":
        shop.later(seconds=301)
    elif damage == "future":
        shop.later(seconds=-301)
    else:
        headers = {}
    answer = shop.deliver(type(delivery)(delivery.url, headers, body))
    assert (answer.status, answer.body["code"]) == (400, "webhook_refused")
    assert shop.app.orders.require(placed.body["order_id"]).status == "placed"


def test_an_event_for_an_order_we_do_not_have_is_queued_without_its_secret(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    delivery = shop.waiting("payment_intent.succeeded")
    event = json.loads(delivery.body)
    event["data"]["object"]["metadata"]["order_id"] = "00000000-0000-0000-0000-000000000000"
    assert shop.deliver(shop.signed_by_stripe(event)).status == 200
    (message,) = shop.queued("payment-events")
    assert message["id"] == event["id"]
    assert "client_secret" not in json.dumps(message)
