"""What staff see and do about orders."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.shop import STAFF_CLAIMS, Answer, Shop, checkout

AGENT = {"cognito:groups": "[agent]", "cognito:username": "sam"}
OPS = {"cognito:groups": "[ops]", "cognito:username": "sam"}


def ask(shop: Shop, route: str, order: Answer, body: Any = None, staff: dict[str, str] = AGENT, **path: str) -> Answer:
    return shop.call("customer_service.api", route, body, path={"id": order.body["order_id"], **path}, staff=staff)


@pytest.fixture
def paid(shop: Shop) -> Answer:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    shop.deliver_all()
    return placed


def test_the_timeline_tells_who_did_what_and_proves_it(shop: Shop, paid: Answer) -> None:
    told = ask(shop, "GET /orders/{id}/timeline", paid).body
    assert told["proven"]
    assert [(event["what"], event["who"]) for event in told["events"]] == [
        ("OrderPlaced", "customer"),
        ("PaymentCaptured", "stripe"),
    ]


def test_a_timeline_that_was_tampered_with_says_so(shop: Shop, paid: Answer) -> None:
    table = shop.app.orders.table
    key = {"pk": {"S": f"ORDER#{paid.body['order_id']}"}, "sk": {"S": "EVENT#000002"}}
    table.client.update_item(
        TableName=table.name,
        Key=key,
        UpdateExpression="SET actor = :who",
        ExpressionAttributeValues={":who": {"S": "nobody"}},
    )
    told = ask(shop, "GET /orders/{id}/timeline", paid).body
    assert (told["proven"], told["broken"]) == (False, "event 2 was changed")


def test_history_holds_no_personal_data(shop: Shop, paid: Answer) -> None:
    told = json.dumps(ask(shop, "GET /orders/{id}/timeline", paid).body)
    for person in ("ada@example.com", "Ada", "Analytical Row", "97201"):
        assert person not in told


def test_a_hold_stops_an_order_until_it_is_released(shop: Shop, paid: Answer) -> None:
    body = {"kind": "fraud", "reason": "card from another country", "owner": "risk", "hours": 2}
    held = ask(shop, "POST /orders/{id}/holds", paid, body)
    assert held.body["holds"]["fraud"]["owner"] == "risk"
    again = ask(shop, "POST /orders/{id}/holds", paid, body)
    assert again.body["version"] == held.body["version"]
    refused = ask(shop, "DELETE /orders/{id}/holds/{kind}", paid, {"reason": "called them"}, kind="fraud")
    assert refused.status == 403
    released = ask(shop, "DELETE /orders/{id}/holds/{kind}", paid, {"reason": "called them"}, OPS, kind="fraud")
    assert released.body["holds"] == {}
    events = ask(shop, "GET /orders/{id}/timeline", paid).body["events"]
    assert [(event["what"], event["who"]) for event in events[2:]] == [
        ("OrderHeld", "staff:sam"),
        ("HoldReleased", "staff:sam"),
    ]


def test_open_holds_are_a_list_by_kind_and_owner(shop: Shop, paid: Answer) -> None:
    ask(shop, "POST /orders/{id}/holds", paid, {"kind": "fraud", "reason": "odd", "owner": "risk", "hours": 1})

    def listed(**query: str) -> list[Any]:
        return list(shop.call("customer_service.api", "GET /holds", query=query, staff=AGENT).body["holds"])

    (hold,) = listed(kind="fraud")
    assert (hold["order_id"], hold["owner"], hold["overdue"]) == (paid.body["order_id"], "risk", False)
    shop.later(hours=2)
    assert [each["overdue"] for each in listed(kind="fraud", owner="risk")] == [True]
    assert (listed(kind="fraud", owner="finance"), listed(kind="payment")) == ([], [])
    ask(shop, "DELETE /orders/{id}/holds/{kind}", paid, {"reason": "called them"}, OPS, kind="fraud")
    assert listed(kind="fraud") == []


def test_an_overdue_hold_is_brought_before_its_owner_again(shop: Shop, paid: Answer) -> None:
    ask(shop, "POST /orders/{id}/holds", paid, {"kind": "fraud", "reason": "odd", "hours": 1})
    shop.later(hours=2)
    shop.sweep()
    order = shop.app.orders.require(paid.body["order_id"])
    assert (order.redriven, order.status) == (1, "confirmed")
    shop.sweep()
    assert shop.app.orders.require(paid.body["order_id"]).redriven == 1


def test_releasing_a_payment_hold_accepts_what_was_paid(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    event = json.loads(shop.waiting("payment_intent.succeeded").body)
    event["data"]["object"]["amount_received"] -= 1
    shop.deliver(shop.signed_by_stripe(event))
    order = ask(shop, "DELETE /orders/{id}/holds/{kind}", placed, {"reason": "a cent"}, OPS, kind="payment").body
    assert (order["status"], order["pending"]) == ("confirmed", ["start_fulfillment"])


def test_an_ended_order_cannot_be_held(shop: Shop, paid: Answer) -> None:
    shop.cancel(paid)
    answer = ask(shop, "POST /orders/{id}/holds", paid, {"kind": "fraud", "reason": "odd"})
    assert answer.status == 409


def test_pickers_may_read_but_not_hold(shop: Shop, paid: Answer) -> None:
    picker = {"cognito:groups": "[warehouse]"}
    assert ask(shop, "GET /orders/{id}/timeline", paid, staff=picker).status == 200
    answer = ask(shop, "POST /orders/{id}/holds", paid, {"kind": "fraud", "reason": "odd"}, staff=picker)
    assert answer.status == 403


def test_an_unknown_order_or_hold_is_not_found(shop: Shop, paid: Answer) -> None:
    ghost = Answer(201, {}, {"order_id": "00000000-0000-5000-8000-000000000000"})
    assert ask(shop, "GET /orders/{id}/timeline", ghost).status == 404
    assert ask(shop, "DELETE /orders/{id}/holds/{kind}", paid, {"reason": "why not"}, kind="mood").status == 404


def test_operators_enter_where_parcels_come_from(shop: Shop) -> None:
    address = {"name": "Shop", "line1": "1 Dock", "city": "Portland", "region": "OR", "postal_code": "97201"}
    answer = shop.call(
        "fulfillment.shipping_api",
        "PUT /facilities/{facility}",
        {"address": {**address, "country": "US"}},
        path={"facility": "main"},
        staff=STAFF_CLAIMS,
    )
    assert answer.status == 200
    wrong = shop.call(
        "fulfillment.shipping_api",
        "PUT /facilities/{facility}",
        {"address": {**address, "country": "US"}},
        path={"facility": "Main Hall"},
        staff=STAFF_CLAIMS,
    )
    assert wrong.status == 422


def listed(shop: Shop, **query: str) -> Any:
    answer = shop.call("customer_service.api", "GET /orders", query=query, staff=STAFF_CLAIMS)
    assert answer.status == 200, answer
    return answer.body


def test_orders_are_listed_newest_first_page_by_page_and_none_is_lost(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oms.orders.listing.PAGE", 2)
    shop.stock_up()
    placed = []
    for number in range(5):
        placed.append(shop.place(checkout(("SHIRT", 1)), key=f"checkout-{number:04d}").body["order_id"])
        if number % 2:
            shop.later(days=20)  # Two orders a moment, over several months.
    first = listed(shop)
    seen = [entry["order_id"] for entry in first["orders"]]
    cursor = first["next_cursor"]
    while cursor:
        page = listed(shop, cursor=cursor)
        seen += [entry["order_id"] for entry in page["orders"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == sorted(placed)
    assert seen[0] == placed[-1]
    moments = [shop.app.orders.require(order_id).placed_at for order_id in seen]
    assert moments == sorted(moments, reverse=True)


def test_the_list_is_narrowed_by_customer_and_status(shop: Shop) -> None:
    shop.stock_up()
    ada = shop.place(checkout(("SHIRT", 1)))
    bob = shop.place(
        checkout(("SHIRT", 1), customer={"email": "bob@example.com", "name": "Bob"}), key="checkout-of-bob"
    )
    shop.cancel(ada)
    assert [entry["order_id"] for entry in listed(shop, status="cancelled")["orders"]] == [ada.body["order_id"]]
    customer = shop.app.orders.require(bob.body["order_id"]).customer["id"]
    assert [entry["order_id"] for entry in listed(shop, customer=customer)["orders"]] == [bob.body["order_id"]]
    assert listed(shop, channel="etsy")["orders"] == []
    refused = shop.call("customer_service.api", "GET /orders", query={"status": "lost"}, staff=STAFF_CLAIMS)
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "status")
