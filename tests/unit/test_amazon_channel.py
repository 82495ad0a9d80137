"""What is Amazon's alone: accepted is not applied, quotas that answers tell, messages by queue, pending orders."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from oms.channels.amazon import parse_notification
from oms.channels.port import (
    Callback,
    ChannelRefused,
    ChannelThrottled,
    ChannelUnavailable,
    ListingRef,
    Quantity,
    ShippedParcel,
    SignatureInvalid,
)
from oms.runtime.outbound import HttpRequest
from tests.support.marketplaces import Rig, answering

PATCH = "patchListingsItem"


@pytest.fixture
def rig() -> Rig:
    return Rig("amazon")


# Quantities.


def test_accepted_is_not_applied(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.control("POST", "config", {"apply_seconds": 60})
    (result,) = rig.channel.push_quantities([Quantity(listing, 3)])
    assert (result.accepted, result.retryable, result.quantity) == (False, True, 5)
    rig.now += 60
    (again,) = rig.channel.push_quantities([Quantity(listing, 3)])
    assert (again.accepted, again.quantity) == (True, 3)


def test_the_last_word_holds_whatever_is_under_way(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.control("POST", "config", {"apply_seconds": 60})
    for quantity in (3, 5):
        rig.channel.push_quantities([Quantity(listing, quantity)])
    rig.now += 60
    assert rig.channel.read_quantities([listing]) == {"A": 5}


def test_only_our_own_channel_of_a_listing_is_touched(rig: Rig) -> None:
    rig.channel.push_quantities([Quantity(rig.list_sku("A", 5), 3)])
    (request,) = [request for request, _ in rig.exchanges if request.method == "PATCH"]
    (patch,) = json.loads(request.body)["patches"]
    assert patch["op"] == "merge"
    assert patch["value"] == [{"fulfillment_channel_code": "DEFAULT", "quantity": 3}]


def test_a_200_that_says_invalid_is_a_refusal(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.faults(reject_skus=["A"])
    (result,) = rig.channel.push_quantities([Quantity(listing, 3)])
    assert (result.accepted, result.retryable) == (False, False)
    assert "Quantity" in result.detail


def test_what_amazon_fulfils_is_not_ours_to_count(rig: Rig) -> None:
    listing = rig.list_sku("A", 5, by_amazon=True)
    assert rig.channel.read_quantities([listing]) == {}


def test_amazons_own_sku_may_differ_and_hold_anything(rig: Rig) -> None:
    rig.list_sku("a/b c?d", 5)
    listing = ListingRef("OURS", "a/b c?d")
    assert rig.channel.read_quantities([listing]) == {"OURS": 5}
    assert rig.exchanges[0][0].url.split("?")[0].endswith("/a%2Fb%20c%3Fd")


def test_a_throttle_midway_keeps_what_is_done_and_asks_no_further(rig: Rig) -> None:
    rows = [Quantity(rig.list_sku(sku, 1), 9) for sku in ("A", "B", "C")]
    rig.faults(skip=2, throttle=1)
    results = rig.channel.push_quantities(rows)
    assert [(each.accepted, each.retryable) for each in results] == [(True, False), (False, True), (False, True)]
    assert rig.calls(PATCH) == 2


# Quotas.


def test_the_rate_of_an_answer_tells_how_long_to_wait() -> None:
    rig = Rig("amazon")
    listing = rig.list_sku("A", 5)
    rig.control("POST", "config", {"rate_factor": 0.1})
    rig.channel.read_quantities([listing])
    with pytest.raises(ChannelThrottled) as caught:
        rig.channel.read_quantities([listing])
    assert caught.value.retry_after == 2
    rig.now += 2
    assert rig.channel.read_quantities([listing]) == {"A": 5}


def test_a_rate_that_was_learned_serves_an_answer_that_tells_none(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.faults(throttle=1, retry_after=40)
    with pytest.raises(ChannelThrottled):
        rig.channel.read_quantities([listing])
    rig.faults(throttle=1, retry_after=None)
    with pytest.raises(ChannelThrottled) as caught:
        rig.channel.read_quantities([listing])
    assert caught.value.retry_after == 40


def test_searching_is_so_rare_that_one_throttle_costs_minutes(rig: Rig) -> None:
    rig.faults(throttle=1, retry_after=None)
    with pytest.raises(ChannelThrottled) as caught:
        list(rig.channel.orders_since(rig.moment))
    assert caught.value.retry_after > 170


# Messages.


def message(rig: Rig, **changes: Any) -> dict[str, Any]:
    rig.list_sku("A", 5)
    rig.buy({"A": 1})
    told: dict[str, Any] = json.loads(rig.delivered[-1].body)
    told["Payload"]["OrderChangeNotification"].update(changes)
    return told


def test_a_message_of_the_queue_names_the_order_and_itself(rig: Rig) -> None:
    told = message(rig)
    notice = parse_notification(json.dumps(told), rig.secret["seller_id"])
    assert notice is not None
    assert notice.kind == "order.created"
    assert notice.external_id == told["Payload"]["OrderChangeNotification"]["AmazonOrderId"]
    assert notice.event_id == told["NotificationMetadata"]["NotificationId"]


def test_eventbridge_puts_it_into_an_envelope(rig: Rig) -> None:
    told = message(rig)
    envelope = {"version": "0", "source": "aws.partner/sellingpartnerapi.amazon.com/1/a", "detail": told}
    assert parse_notification(json.dumps(envelope)) == parse_notification(json.dumps(told).encode())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("Pending", "order.created"),
        ("Unshipped", "order.created"),
        ("Canceled", "order.cancelled"),
        ("PartiallyShipped", "order.shipped"),
        ("Shipped", "order.shipped"),
    ],
)
def test_each_status_has_its_word(rig: Rig, status: str, kind: str) -> None:
    told = message(rig)
    told["Payload"]["OrderChangeNotification"]["Summary"]["OrderStatus"] = status
    notice = parse_notification(json.dumps(told))
    assert notice is not None
    assert notice.kind == kind


def test_what_concerns_nothing_of_ours_is_left(rig: Rig) -> None:
    assert parse_notification(json.dumps(message(rig)), "ANOTHER") is None
    assert parse_notification(json.dumps({**message(rig), "NotificationType": "FEED_PROCESSING_FINISHED"})) is None
    told = message(rig)
    told["Payload"]["OrderChangeNotification"]["Summary"]["FulfillmentType"] = "AFN"
    assert parse_notification(json.dumps(told)) is None


@pytest.mark.parametrize("wrong", ["", "[]", "1", "no json", '{"NotificationType": "ORDER_CHANGE"}', "[" * 9999])
def test_a_message_that_cannot_be_read_is_left_to_the_queue(wrong: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what json raises is one as well
        parse_notification(wrong)


@pytest.mark.parametrize("order_id", ["", "../../x", "1?x=2", 7.5])
def test_a_message_without_an_order_of_amazons_is_left_to_the_queue(rig: Rig, order_id: object) -> None:
    told = message(rig, AmazonOrderId=order_id)
    with pytest.raises(ValueError, match="order"):
        parse_notification(json.dumps(told))


def test_nothing_over_http_is_amazons(rig: Rig) -> None:
    body = json.dumps(message(rig)).encode()
    with pytest.raises(SignatureInvalid):
        rig.channel.read_callback(Callback("POST", {}, {}, body), rig.moment)
    assert rig.channel.challenge(Callback("GET", {}, {"challenge_code": "1"}, b"")) is None


# Orders.


def test_a_pending_order_is_not_paid_and_shows_no_amounts(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1}, paid=False)
    order = rig.channel.fetch_order(order_id)
    assert order is not None
    assert (order.paid, order.cancelled, order.grand_total) == (False, False, 0)
    assert [(line.sku, line.quantity) for line in order.lines] == [("A", 1)]
    assert rig.shown("A") == 4
    rig.core.pay(order_id)  # type: ignore[attr-defined]
    paid = rig.channel.fetch_order(order_id)
    assert paid is not None
    assert (paid.paid, paid.grand_total, paid.currency) == (True, 1999, "USD")


def test_the_end_of_the_window_is_the_promised_day(rig: Rig) -> None:
    rig.list_sku("A", 5)
    told = rig.channel.fetch_order(rig.buy({"A": 1}, promised_at="2026-11-30T23:59:59Z"))
    assert told is not None
    assert told.promised_for == "2026-11-30"


def test_what_amazon_ships_itself_is_never_ours_to_ship(rig: Rig) -> None:
    rig.list_sku("A", 5, by_amazon=True)
    order = rig.channel.fetch_order(rig.buy({"A": 1}))
    assert order is not None
    assert not order.paid
    assert list(rig.channel.orders_since(rig.moment)) == []


def test_a_search_that_shows_nothing_of_the_last_minutes_is_made_good_by_the_next(rig: Rig) -> None:
    rig.control("POST", "config", {"search_lag_seconds": 120})
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1})
    mark = rig.moment
    assert list(rig.channel.orders_since(mark - timedelta(hours=1))) == []
    rig.now += 300
    assert [each.external_id for each in rig.channel.orders_since(mark)] == [order_id]


def an_order(rig: Rig, **changes: Any) -> dict[str, Any]:
    rig.list_sku("A", 9)
    rig.channel.fetch_order(rig.buy({"A": 2}))
    return {"order": {**rig.exchanges[-1][1].json()["order"], **changes}}


@pytest.mark.parametrize("amount", ["1.001", "NaN", "many"])
def test_an_amount_that_makes_no_sense_is_refused_not_rounded(rig: Rig, amount: str) -> None:
    proceeds = {"grandTotal": {"amount": amount, "currencyCode": "USD"}}
    with pytest.raises(ChannelRefused):
        answering("amazon", (200, an_order(rig, proceeds=proceeds))).fetch_order("1")


def test_two_buyers_without_an_address_are_two(rig: Rig) -> None:
    rig.list_sku("A", 9)
    found = [rig.channel.fetch_order(rig.buy({"A": 1})) for _ in range(2)]
    assert len({each.buyer_id for each in found if each}) == 2


def test_a_lapsed_token_and_a_missing_right_look_alike(rig: Rig) -> None:
    channel = answering("amazon", (403, {"errors": [{"code": "Unauthorized", "message": "denied"}]}))
    with pytest.raises(ChannelUnavailable):
        channel.fetch_order("1")


# Shipments.


def test_a_package_that_amazon_is_slow_to_show_stays_one(rig: Rig) -> None:
    requests: list[HttpRequest] = []
    unseen = an_order(rig)
    answers = [(200, unseen), (204, None)] * 2
    channel = answering("amazon", *answers, sent=requests)
    for _ in range(2):
        channel.confirm_shipment("1", ShippedParcel("UPS", "1Z 999", rig.moment))
    first, second = (json.loads(request.body)["packageDetail"] for request in requests if request.method == "POST")
    assert first["packageReferenceId"] == second["packageReferenceId"]
    assert first["packageReferenceId"].isdigit()


def test_a_part_of_an_order_is_confirmed_once(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 3})
    order = rig.channel.fetch_order(order_id)
    assert order is not None
    for number in ("1Z 999", "1z999"):
        parcel = ShippedParcel("UPS", number, rig.moment, {order.lines[0].external_line_id: 1})
        rig.channel.confirm_shipment(order_id, parcel)
    assert rig.calls("confirmShipment") == 1


def test_a_repeated_package_number_is_the_same_package(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 3})
    order = rig.channel.fetch_order(order_id)
    assert order is not None
    parcel = ShippedParcel("UPS", "1Z999", rig.moment, {order.lines[0].external_line_id: 1})
    rig.channel.confirm_shipment(order_id, parcel)
    (request,) = [request for request, _ in rig.exchanges if request.method == "POST"]
    rig.core.handle(_as_request(request))
    assert len(rig.report(order_id)["shipments"]) == 1


def test_another_carrier_is_named(rig: Rig) -> None:
    rig.list_sku("A", 5)
    rig.channel.confirm_shipment(rig.buy({"A": 1}), ShippedParcel("Pigeon Post", "7", rig.moment))
    (request,) = [request for request, _ in rig.exchanges if request.method == "POST"]
    detail = json.loads(request.body)["packageDetail"]
    assert (detail["carrierCode"], detail["carrierName"]) == ("Other", "Pigeon Post")


def test_a_pending_order_cannot_be_confirmed(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1}, paid=False)
    with pytest.raises(ChannelRefused):
        rig.channel.confirm_shipment(order_id, ShippedParcel("UPS", "1", rig.moment))


def _as_request(request: HttpRequest) -> Any:
    from local.simulators.core import Request

    target = request.url.removeprefix("http://amazon")
    return Request.to(request.method, target, request.headers, replace(request).body)
