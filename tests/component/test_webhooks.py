"""The merchant's systems are told: numbered without gaps, signed, in order, until they have it, and again if asked."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest

from oms.channels import standard_webhooks
from oms.channels.port import Callback
from oms.runtime.outbound import HttpRequest, HttpResponse
from tests.support.shop import Answer, Context, Shop, _everything

OPS = {"cognito:groups": "[ops]", "cognito:username": "olga"}
URL = "https://erp.merchant.example/hooks"
ALL = ["order.placed", "payment.captured", "order.cancelled", "refund.sent"]


def ask(shop: Shop, route: str, body: Any = None, key: str = "", **path: str) -> Answer:
    headers = {"idempotency-key": key} if key else {}
    return shop.call("messages.api", route, body, headers=headers, path=path, staff=OPS)


def subscribe(shop: Shop, key: str = "erp-0001", **changes: Any) -> Any:
    body = {"url": URL, "types": ALL, **changes}
    answer = ask(shop, "POST /webhooks/subscriptions", body, key)
    assert answer.status == 201, answer
    return answer.body


def publish(shop: Shop, order: Answer, number: int) -> None:
    message = json.dumps({"order_id": order.body["order_id"], "number": number, "type": "any"})
    event = {"Records": [{"messageId": "m", "body": message}]}
    assert import_module("functions.messages.publish").handler(event, Context()) == {"batchItemFailures": []}


def deliver(shop: Shop, subscription: Any) -> None:
    message = json.dumps({"subscription_id": subscription["subscription_id"]})
    event = {"Records": [{"messageId": "m", "body": message}]}
    assert import_module("functions.messages.deliver").handler(event, Context()) == {"batchItemFailures": []}


def heard(shop: Shop) -> list[tuple[int, str]]:
    return [(each.told["sequence"], each.told["type"]) for each in shop.subscriber.heard]


def cancelled(shop: Shop) -> Answer:
    """A paid order that was cancelled and refunded: six events or so."""
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    shop.deliver_all()
    shop.cancel(placed)
    shop.settle(placed)
    return placed


def test_a_subscriber_hears_each_event_once_in_turn_and_can_prove_it(shop: Shop) -> None:
    subscription = subscribe(shop)
    order = cancelled(shop)
    for number in (2, 1, 4, 4, 3):
        publish(shop, order, number)
    deliver(shop, subscription)
    assert heard(shop) == [(1, "order.placed"), (2, "payment.captured"), (3, "order.cancelled"), (4, "refund.sent")]
    first = shop.subscriber.heard[0]
    callback = Callback("POST", first.headers, {}, first.body)
    standard_webhooks.verify(callback, [subscription["secret"]], shop.now, whose="ours")
    assert "ada" not in first.body.decode().lower()
    log = ask(shop, "GET /webhooks/subscriptions/{id}/deliveries", id=subscription["subscription_id"]).body
    assert [(each["sequence"], each["status"]) for each in log["deliveries"]] == [
        (number, "delivered") for number in (4, 3, 2, 1)
    ]


def test_a_subscriber_that_fails_holds_its_turn_and_gets_all_of_it_later(shop: Shop) -> None:
    subscription = subscribe(shop, include=["customer"])
    order = cancelled(shop)
    publish(shop, order, 2)
    shop.subscriber.status = 503
    deliver(shop, subscription)
    deliver(shop, subscription)
    state = ask(shop, "GET /webhooks/subscriptions/{id}", id=subscription["subscription_id"]).body["delivery"]
    assert (state["delivered"], state["attempts"], state["last"]) == (0, 1, 2)
    shop.subscriber.status = 200
    shop.later(seconds=6)
    assert import_module("functions.messages.deliver").handler({}, Context()) == {"woken": 1}
    deliver(shop, subscription)
    assert [number for number, _ in heard(shop)] == [1, 2]
    assert shop.subscriber.heard[0].told["order"]["customer"]["email"] == "ada@example.com"


def test_after_days_of_failing_it_is_disabled_and_once_enabled_goes_on_where_it_stopped(shop: Shop) -> None:
    subscription = subscribe(shop)
    id = subscription["subscription_id"]
    publish(shop, cancelled(shop), 2)
    shop.subscriber.status = 500
    for _ in range(14):
        deliver(shop, subscription)
        shop.later(days=1)
    told = ask(shop, "GET /webhooks/subscriptions/{id}", id=id).body
    assert (told["status"], told["reason"][:13]) == ("disabled", "failing since")
    shop.subscriber.status = 200
    ask(shop, "PATCH /webhooks/subscriptions/{id}", {"enabled": True}, id=id)
    deliver(shop, subscription)
    assert [number for number, _ in heard(shop)] == [1, 2]


def test_one_that_is_gone_is_disabled_at_once(shop: Shop) -> None:
    subscription = subscribe(shop)
    publish(shop, cancelled(shop), 2)
    shop.subscriber.status = 410
    deliver(shop, subscription)
    told = ask(shop, "GET /webhooks/subscriptions/{id}", id=subscription["subscription_id"]).body
    assert (told["status"], told["reason"]) == ("disabled", "gone")
    shop.subscriber.status = 200
    shop.later(days=1)
    assert import_module("functions.messages.deliver").handler({}, Context()) == {"woken": 0}
    assert heard(shop) == []


def test_who_dies_while_delivering_is_followed_once_his_lease_has_ended(shop: Shop) -> None:
    subscription = subscribe(shop)
    publish(shop, cancelled(shop), 2)
    works = shop.app.delivering.transport

    def dies(request: HttpRequest, *, timeout: float) -> HttpResponse:
        works(request, timeout=timeout)
        raise KeyboardInterrupt

    object.__setattr__(shop.app.delivering, "transport", dies)
    with pytest.raises(KeyboardInterrupt):
        deliver(shop, subscription)
    object.__setattr__(shop.app.delivering, "transport", works)
    deliver(shop, subscription)
    assert heard(shop) == [(1, "order.placed")]
    shop.later(seconds=91)
    assert import_module("functions.messages.deliver").handler({}, Context()) == {"woken": 1}
    deliver(shop, subscription)
    assert [number for number, _ in heard(shop)] == [1, 1, 2]
    assert len({each.headers["webhook-id"] for each in shop.subscriber.heard}) == 2


def test_a_long_log_is_read_by_pages_from_its_end(shop: Shop) -> None:
    subscription = subscribe(shop)
    id = subscription["subscription_id"]
    kept = shop.app.subscriptions
    events = [{"n": n, "type": "OrderPlaced", "at": "2026-11-24T00:00:00.000Z", "data": {}} for n in range(1, 61)]
    assert kept.append(kept.require(id), "order-1", events, shop.now) == 60

    def page(**query: str) -> Answer:
        route = "GET /webhooks/subscriptions/{id}/deliveries"
        return shop.call("messages.api", route, path={"id": id}, query=query, staff=OPS)

    first = page().body
    second = page(cursor=first["next_cursor"]).body
    seen = [each["sequence"] for each in (*first["deliveries"], *second["deliveries"])]
    assert (seen, second["next_cursor"]) == ([*range(60, 0, -1)], None)
    assert page(cursor="x").status == 422


def test_who_is_unsubscribed_is_forgotten_and_told_nothing_more(shop: Shop) -> None:
    gone, stays = subscribe(shop), subscribe(shop, "erp-0002", types=["order.placed"])
    order = cancelled(shop)
    publish(shop, order, 2)
    assert ask(shop, "DELETE /webhooks/subscriptions/{id}", id=gone["subscription_id"]).status == 200
    deliver(shop, gone)
    publish(shop, order, 4)
    assert heard(shop) == []
    listed = ask(shop, "GET /webhooks/subscriptions").body["subscriptions"]
    assert [each["subscription_id"] for each in listed] == [stays["subscription_id"]]
    assert "secret" not in listed[0]
    for route in ("GET /webhooks/subscriptions/{id}", "DELETE /webhooks/subscriptions/{id}"):
        assert ask(shop, route, id=gone["subscription_id"]).status == 404
    again = ask(shop, "POST /webhooks/subscriptions", {"url": URL, "types": ALL}, "erp-0001")
    assert again.body["code"] == "idempotency_key_reused"


def test_the_log_is_played_again_from_a_number(shop: Shop) -> None:
    subscription = subscribe(shop)
    id = subscription["subscription_id"]
    publish(shop, cancelled(shop), 4)
    deliver(shop, subscription)
    assert ask(shop, "POST /webhooks/subscriptions/{id}/replay", {"sequence": 3}, id=id).body == {"from": 3, "to": 4}
    deliver(shop, subscription)
    assert [number for number, _ in heard(shop)] == [1, 2, 3, 4, 3, 4]
    assert shop.subscriber.heard[2].headers["webhook-id"] == shop.subscriber.heard[4].headers["webhook-id"]
    assert ask(shop, "POST /webhooks/subscriptions/{id}/replay", {"sequence": 9}, id=id).status == 422


def test_a_secret_is_shown_to_its_maker_and_two_sign_while_one_replaces_the_other(shop: Shop) -> None:
    subscription = subscribe(shop)
    id = subscription["subscription_id"]
    assert subscribe(shop) == subscription
    again = ask(shop, "POST /webhooks/subscriptions", {"url": URL, "types": ["order.placed"]}, "erp-0001")
    assert again.body["code"] == "idempotency_key_reused"
    rotated = ask(shop, "POST /webhooks/subscriptions/{id}/secret", {"hours": 1}, "rotate-01", id=id).body
    assert ask(shop, "POST /webhooks/subscriptions/{id}/secret", {"hours": 1}, "rotate-01", id=id).body == rotated
    publish(shop, cancelled(shop), 2)
    deliver(shop, subscription)
    told = shop.subscriber.heard[0]
    for secret in (subscription["secret"], rotated["secret"]):
        standard_webhooks.verify(Callback("POST", told.headers, {}, told.body), [secret], shop.now, whose="ours")
    kept = json.dumps([str(item) for item in _everything(shop.app.orders.table)])
    assert subscription["secret"] not in kept
    assert rotated["secret"] not in kept
    assert "secret" not in ask(shop, "GET /webhooks/subscriptions/{id}", id=id).body


def test_an_address_of_ours_is_not_subscribed(shop: Shop) -> None:
    answer = ask(shop, "POST /webhooks/subscriptions", {"url": "https://169.254.169.254/", "types": ALL}, "erp-0001")
    assert (answer.status, answer.body["errors"][0]["field"]) == (422, "url")
