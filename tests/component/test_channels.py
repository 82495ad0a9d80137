"""Channels: orders in, quantities out, through the real handlers against the marketplaces' simulators."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest

from local.simulators.core import Request
from oms.payments import ledger
from oms.runtime.dynamo import to_item
from tests.support.shop import STAFF_CLAIMS, Context, Shop

CHANNELS = ("etsy", "ebay", "shopify", "amazon", "webhook")


def control(shop: Shop, channel: str, method: str, path: str, body: Any = None) -> Any:
    raw = b"" if body is None else json.dumps(body).encode()
    answer = getattr(shop, channel).handle(Request.to(method, path, {"content-type": "application/json"}, raw))
    assert answer.status < 300, answer
    return answer.json()


def on_sale(shop: Shop, channel: str, sku: str, quantity: int) -> None:
    row = {"sku": sku, "title": sku, "price_minor": 1999, "currency": "USD", "quantity": quantity}
    (listed,) = control(shop, channel, "POST", "/_sim/listings", {"skus": [row]})["listings"]
    shop.list_on(channel, sku, listing_id=str(listed["listing_id"]))


def shown(shop: Shop, channel: str, sku: str = "SHIRT") -> int:
    return int(control(shop, channel, "GET", f"/_sim/listings/{sku}")["quantity"])


def buys(shop: Shop, channel: str, quantity: int, sku: str = "SHIRT", **told: Any) -> str:
    body = {"lines": [{"sku": sku, "quantity": quantity}], "buyer": {"name": "Bo"}, **told}
    return str(control(shop, channel, "POST", "/_sim/purchases", body)["order_id"])


def record_of(shop: Shop, sku: str = "SHIRT") -> dict[str, Any]:
    """A stream record of the SKU's first stripe as it stands."""
    item = shop.app.inventory.table.get(f"SKU#{sku}", "STOCK#0")
    assert item is not None
    return {"eventID": "1", "dynamodb": {"SequenceNumber": "1", "NewImage": to_item(item)}}


def spread_word(shop: Shop, sku: str = "SHIRT") -> None:
    """The stream and the channel queues do their work."""
    fan_out(shop, [record_of(shop, sku)])
    for channel in CHANNELS:
        messages = shop.queued(channel)
        if messages:
            assert push(shop, channel, messages) == []


def fan_out(shop: Shop, records: list[dict[str, Any]]) -> Any:
    return import_module("functions.inventory_sync.fan_out").handler({"Records": records}, Context())


def push(shop: Shop, channel: str, messages: list[Any]) -> list[str]:
    shop.later(seconds=2)  # The marketplaces count calls a second.
    object.__setattr__(shop.app.settings, "channel", channel)
    arn = "arn:aws:sqs:us-east-1:123456789012:" + shop.queues[channel].rsplit("/", 1)[-1]
    records = [
        {
            "messageId": f"m{n}",
            "body": json.dumps(body),
            "eventSourceARN": arn,
            "receiptHandle": "gone",
            "attributes": {"ApproximateReceiveCount": "1"},
        }
        for n, body in enumerate(messages)
    ]
    result = import_module("functions.inventory_sync.sync_channel").handler({"Records": records}, Context())
    return [failure["itemIdentifier"] for failure in result["batchItemFailures"]]


@pytest.fixture
def listed(shop: Shop) -> Shop:
    """500 shirts, on sale on both channels."""
    shop.stock_up("SHIRT", 500)
    for channel in CHANNELS:
        on_sale(shop, channel, "SHIRT", 0)
    spread_word(shop)
    assert {shown(shop, channel) for channel in CHANNELS} == {500}
    return shop


def test_what_a_marketplace_keeps_of_a_sale_is_in_the_books_and_not_in_what_the_buyer_paid(listed: Shop) -> None:
    order = listed.order_of("ebay", _delivered(listed, "ebay"))
    kept = order.totals.total * 13 // 100
    accounts = ledger.balances(listed.app.orders.parts(order.order_id, "MONEY#"))
    assert accounts == {
        "clearing:ebay": order.totals.total - kept,
        "customer": -order.totals.total,
        "fees:ebay": kept,
    }
    assert (order.payment.captured, order.payment.settled) == (order.totals.total, order.totals.total)


def _delivered(shop: Shop, channel: str) -> str:
    external = buys(shop, channel, 2)
    shop.deliver_all()
    return external


def test_six_sold_on_etsy_and_ten_on_ebay_leave_484_everywhere(listed: Shop) -> None:
    buys(listed, "etsy", 6)
    buys(listed, "ebay", 10)
    listed.deliver_all()
    assert listed.available() == 484
    spread_word(listed)
    assert {shown(listed, channel) for channel in CHANNELS} == {484}
    told = listed.call("inventory_sync.stock_api", "GET /stock/{sku}", path={"sku": "SHIRT"}, staff=STAFF_CLAIMS).body
    assert {name: state["acknowledged"] for name, state in told["channels"].items()} == dict.fromkeys(CHANNELS, 484)
    assert listed.identity_holds("SHIRT")


@pytest.mark.parametrize("channel", CHANNELS)
def test_an_order_announced_five_times_is_taken_in_once(listed: Shop, channel: str) -> None:
    buys(listed, channel, 6)
    for delivery in list(listed.deliveries):
        for _ in range(5):
            assert listed.deliver(delivery).status == 200
    assert listed.available() == 494


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_marketplace_sale_without_stock_is_recorded_as_oversold(shop: Shop, channel: str) -> None:
    shop.stock_up("SHIRT", 4)
    on_sale(shop, channel, "SHIRT", 10)
    external = buys(shop, channel, 6)
    shop.deliver_all()
    order = shop.order_of(channel, external)
    assert (order.status, dict(order.oversold)) == ("confirmed", {"SHIRT": 2})
    assert shop.available() == 0
    assert shop.identity_holds("SHIRT")


@pytest.mark.parametrize("channel", [name for name in CHANNELS if name != "amazon"])
def test_units_sold_while_we_push_are_heard_of_first(listed: Shop, channel: str) -> None:
    buys(listed, channel, 6)
    listed.deliveries.clear()  # The callback is lost; then something else changes the stock.
    listed.place()
    spread_word(listed)
    assert listed.available() == 500 - 6 - 2
    assert shown(listed, channel) == 492
    assert listed.identity_holds("SHIRT")


def test_what_is_acknowledged_is_not_pushed_again(listed: Shop) -> None:
    before = control(listed, "ebay", "GET", "/_sim/calls")["counts"]
    spread_word(listed)
    assert control(listed, "ebay", "GET", "/_sim/calls")["counts"] == before


def test_a_thousand_messages_of_one_sku_are_one_push(listed: Shop) -> None:
    listed.place()
    before = sum(control(listed, "ebay", "GET", "/_sim/calls")["counts"].values())
    message = {"sku": "SHIRT", "changed_at": "2026-11-23T09:00:00.000Z"}
    assert push(listed, "ebay", [message] * 1000) == []
    assert sum(control(listed, "ebay", "GET", "/_sim/calls")["counts"].values()) - before == 2
    assert shown(listed, "ebay") == 498


def test_a_channel_that_throttles_gets_its_messages_back_later(listed: Shop) -> None:
    listed.place()
    control(listed, "ebay", "POST", "/_sim/faults", {"throttle": 5})
    message = {"sku": "SHIRT", "changed_at": "2026-11-23T09:00:00.000Z"}
    assert push(listed, "ebay", [message, message]) == ["m0", "m1"]
    control(listed, "ebay", "POST", "/_sim/faults", {"reset": True})
    listed.later(minutes=2)
    assert push(listed, "ebay", [message]) == []
    assert shown(listed, "ebay") == 498


def test_nobody_pushes_while_another_holds_the_lease(listed: Shop) -> None:
    listed.place()
    until = listed.now.replace(minute=1)
    assert listed.app.inventory.lease("ebay", "SHIRT", "someone else", listed.now, until)
    message = {"sku": "SHIRT", "changed_at": "2026-11-23T09:00:00.000Z"}
    assert push(listed, "ebay", [message]) == ["m0"]
    assert shown(listed, "ebay") == 500
    listed.later(minutes=2)
    assert push(listed, "ebay", [message]) == []
    assert shown(listed, "ebay") == 498


def test_terms_of_a_listing_change_what_the_channel_shows(listed: Shop) -> None:
    for terms, quantity in [({"buffer": 100}, 400), ({"percent": 50}, 250), ({"max_listed": 30}, 30)]:
        known = listed.app.inventory.listings("SHIRT")["ebay"]
        listed.list_on("ebay", "SHIRT", listing_id=known.listing_id, **terms)
        push(listed, "ebay", [{"sku": "SHIRT", "changed_at": ""}])
        assert shown(listed, "ebay") == quantity


@pytest.mark.parametrize("channel", CHANNELS)
def test_sold_out_and_back(listed: Shop, channel: str) -> None:
    known = listed.app.inventory.listings("SHIRT")[channel]
    listed.list_on(channel, "SHIRT", listing_id=known.listing_id, end_when=500)
    push(listed, channel, [{"sku": "SHIRT", "changed_at": ""}])
    assert shown(listed, channel) == 0
    listed.list_on(channel, "SHIRT", listing_id=known.listing_id)
    push(listed, channel, [{"sku": "SHIRT", "changed_at": ""}])
    assert shown(listed, channel) == 500


@pytest.mark.parametrize("channel", CHANNELS)
def test_an_order_cancelled_on_the_channel_ends_here_and_its_stock_returns(listed: Shop, channel: str) -> None:
    external = buys(listed, channel, 6)
    listed.deliver_all()
    control(listed, channel, "POST", "/_sim/cancel", {"order_id": external})
    listed.deliver_all()
    listed.app.importing.take_up(channel, external)
    order = listed.order_of(channel, external)
    assert (order.status, order.payment.status) == ("cancelled", "refunded")
    assert listed.available() == 500
    assert listed.identity_holds("SHIRT")


@pytest.mark.parametrize("channel", [name for name in CHANNELS if name != "amazon"])
def test_a_callback_that_cannot_be_proven_is_refused(listed: Shop, channel: str) -> None:
    buys(listed, channel, 6)
    delivery = listed.deliveries.pop(0)
    forged = type(delivery)(delivery.url, delivery.headers, delivery.body + b" ")
    answer = listed.deliver(forged)
    assert (answer.status, answer.body["code"]) == (412, "signature_rejected")
    assert listed.available() == 500


def test_nobody_is_taken_for_amazon_over_http(listed: Shop) -> None:
    buys(listed, "amazon", 6)
    body, path = listed.deliveries[0].body.decode(), {"channel": "amazon"}
    answer = listed.call("place_order.callback", "POST /channels/{channel}/callbacks", body, path=path)
    assert (answer.status, answer.body["code"]) == (412, "signature_rejected")
    assert listed.available() == 500


@pytest.mark.parametrize("channel", [name for name in CHANNELS if name != "amazon"])
def test_a_callback_whose_order_cannot_be_fetched_is_queued(listed: Shop, channel: str) -> None:
    external = buys(listed, channel, 6)
    delivery = listed.deliveries.pop(0)
    control(listed, channel, "POST", "/_sim/faults", {"throttle": 20})
    assert listed.deliver(delivery).status in (200, 503)
    control(listed, channel, "POST", "/_sim/faults", {"reset": True})
    listed.later(minutes=2)
    for message in listed.queued("channel-events"):
        assert message == {"channel": channel, "external_id": external}
        event = {"Records": [{"messageId": "m", "body": json.dumps(message)}]}
        assert import_module("functions.place_order.import_orders").handler(event, Context()) == {
            "batchItemFailures": []
        }
    assert listed.available() in (494, 500)


def test_a_kit_is_told_to_channels_when_a_part_is_sold(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    shop.stock_up("SET", 0, kit={"SHIRT": 3})
    on_sale(shop, "ebay", "SET", 1)
    spread_word(shop)
    assert shown(shop, "ebay", "SET") == 3
    shop.place()
    spread_word(shop)
    assert shown(shop, "ebay", "SET") == 2


def test_reconcile_finds_what_is_behind_and_what_drifted(listed: Shop) -> None:
    listed.place()  # No stream tells the channels: both are behind.
    report = import_module("functions.inventory_sync.reconcile").handler({}, Context())
    assert {name: counts["behind"] for name, counts in report.items()} == dict.fromkeys(CHANNELS, 1)
    for channel in CHANNELS:
        assert push(listed, channel, listed.queued(channel)) == []
        assert shown(listed, channel) == 498
    report = import_module("functions.inventory_sync.reconcile").handler({}, Context())
    assert report["etsy"] == {"compared": 1, "behind": 0, "drifted": 0}
    buys(listed, "etsy", 1)  # Not heard of: the channel drifted from what it acknowledged.
    listed.deliveries.clear()
    report = import_module("functions.inventory_sync.reconcile").handler({}, Context())
    assert report["etsy"] == {"compared": 1, "behind": 0, "drifted": 1, "sale_unheard": 1}
    assert push(listed, "etsy", listed.queued("etsy")) == []
    assert (listed.available(), shown(listed, "etsy")) == (497, 497)


@pytest.mark.parametrize("channel", CHANNELS)
def test_an_order_whose_callback_was_lost_is_found_by_polling(listed: Shop, channel: str) -> None:
    external = buys(listed, channel, 2)
    listed.deliveries.clear()
    listed.place()  # As many units are sold here, so the quantities look as they should.
    listed.later(minutes=5)
    poll = import_module("functions.place_order.poll_channels").handler
    assert poll({}, Context())[channel] == 1
    assert listed.available() == 496
    control(listed, channel, "POST", "/_sim/cancel", {"order_id": external})
    listed.deliveries.clear()
    listed.later(minutes=5)
    poll({}, Context())
    assert listed.order_of(channel, external).status == "cancelled"
    assert listed.available() == 498


def test_a_poll_that_runs_out_of_time_is_continued(listed: Shop) -> None:
    poll = import_module("functions.place_order.poll_channels").handler
    for _ in range(3):
        buys(listed, "ebay", 1)
        listed.later(minutes=20)  # Beyond the overlap with which a channel is read again.
    listed.deliveries.clear()
    for left in (499, 498, 497):
        poll({}, Context(remaining_ms=0))
        assert listed.available() == left
    poll({}, Context())
    assert listed.available() == 497


def test_a_message_that_cannot_be_read_does_not_hold_up_the_others(listed: Shop) -> None:
    listed.place()
    message = {"sku": "SHIRT", "changed_at": "2026-11-23T09:00:00.000Z"}
    assert push(listed, "ebay", [[], message, 7, {"sku": "SHIRT"}, "x"]) == ["m0", "m2", "m3", "m4"]
    assert shown(listed, "ebay") == 498


def test_an_unknown_channel_is_not_found(shop: Shop) -> None:
    answer = shop.call("place_order.callback", "POST /channels/{channel}/callbacks", {}, path={"channel": "bazaar"})
    assert answer.status == 404


def test_ebay_is_answered_its_challenge(shop: Shop) -> None:
    answer = shop.call(
        "place_order.callback",
        "GET /channels/{channel}/callbacks",
        path={"channel": "ebay"},
        query={"challenge_code": "a-code"},
    )
    assert answer.status == 200
    assert len(answer.body["challengeResponse"]) == 64
