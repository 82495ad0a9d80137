"""An order's whole story, told to whoever answers the phone."""

from __future__ import annotations

from typing import Any

from tests.component.test_messages import Mailbox, notify
from tests.component.test_shipping import seen, shipped
from tests.support.floor import Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Shop

PICKER = {"cognito:groups": "[warehouse]", "cognito:username": "pat"}


def timeline(shop: Shop, order: Answer, staff: Any = STAFF_CLAIMS) -> Any:
    path = {"id": order.body["order_id"]}
    answer = shop.call("customer_service.api", "GET /orders/{id}/timeline", path=path, staff=staff)
    assert answer.status == 200, answer
    return answer.body


def post(shop: Shop, order: Answer, route: str, body: Any) -> None:
    headers, path = {"idempotency-key": "post-0001"}, {"id": order.body["order_id"]}
    answer = shop.call("customer_service.api", route, body, path=path, headers=headers, staff=STAFF_CLAIMS)
    assert answer.status in (200, 201), answer


def test_the_story_is_told_in_words_with_all_that_stands_beside_the_history(shop: Shop) -> None:
    mailbox = Mailbox()
    object.__setattr__(shop.app.telling, "notifier", lambda: mailbox)
    floor = Floor(shop)
    shop.stock_up("SHIRT", 10, title="Blue shirt")
    order = shipped(floor, ("SHIRT", 2))
    assert notify(shop, order, 2)
    for delivery in seen(floor, order, "in_transit"):
        shop.deliver(delivery)
    shop.later(minutes=1)
    post(shop, order, "POST /orders/{id}/notes", {"text": "asks for the gate code", "by_customer": True})
    told = timeline(shop, order)
    assert told["proven"]
    sentences = [entry["sentence"] for entry in told["story"]]
    number = shop.read(order)["shipments"][0]["tracking_number"]
    carrier = shop.read(order)["shipments"][0]["carrier"]
    for expected in (
        "The customer ordered 2 units for $45.97 through the web shop.",
        "Stripe took $45.97 for the order.",
        "The system planned parcel 1 from main.",
        "kim picked parcel 1 at main.",
        f"Parcel 1 by {carrier} {number} left main.",
        "The customer was told that the order is confirmed.",
        "kim wrote down what the customer said.",
    ):
        assert expected in sentences, sentences
    assert any(sentence.startswith(f"{carrier} saw parcel 1: in transit") for sentence in sentences), sentences
    moments = [entry["at"] for entry in told["story"]]
    assert moments == sorted(moments)
    first = told["story"][0]
    assert (first["who"], first["through"], first["number"]) == ("customer", "web", 1)
    assert told["story"][-1]["text"] == "asks for the gate code"


def test_the_floor_reads_the_story_without_the_customer_s_words(shop: Shop) -> None:
    shop.stock_up()
    order = shop.place()
    post(shop, order, "POST /orders/{id}/notes", {"text": "asks for the gate code"})
    assert [entry["text"] for entry in timeline(shop, order, PICKER)["story"]] == [None, None]


def test_an_open_hold_stands_in_the_story_with_its_owner(shop: Shop) -> None:
    shop.stock_up()
    order = shop.place()
    shop.later(minutes=1)
    body = {"kind": "fraud", "reason": "card from far away", "owner": "risk", "hours": 2}
    post(shop, order, "POST /orders/{id}/holds", body)
    *_, event, hold = timeline(shop, order)["story"]
    assert event["sentence"] == "kim put a fraud hold on the order, for risk to decide. Reason: card from far away."
    assert hold["sentence"] == (
        "Since then a fraud hold stops the order: card from far away. Risk decides by 23 November 2026, 11:01 UTC."
    )


def test_why_it_is_late_is_answered_from_the_deadlines(shop: Shop) -> None:
    def outlook() -> Any:
        path = {"id": order.body["order_id"]}
        answer = shop.call("customer_service.api", "GET /orders/{id}/outlook", path=path, staff=PICKER)
        assert answer.status == 200, answer
        return answer.body

    floor = Floor(shop)
    shop.stock_up()
    order = shop.place()
    assert [wait["on"] for wait in outlook()["waits"]] == ["payment"]
    shop.pay(order)
    shop.deliver_all()
    assert [wait["on"] for wait in outlook()["waits"]] == ["start"]
    floor.settle()
    told = outlook()
    assert [(wait["on"], wait["owner"]) for wait in told["waits"]] == [("pick", "the floor of main")]
    assert not told["late"]
    shop.later(days=9)
    assert outlook()["late"]
    floor.do_all()
    told = outlook()
    assert ([wait["on"] for wait in told["waits"]], told["late"]) == (["delivery"], True)
