"""What is eBay's alone: two levels of stock, answers by row, keys to fetch, accounts to forget."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from local.simulators.ebay import EbayCore
from oms.channels.ebay import UNKNOWN_KEYS_REMEMBERED, EbayChannel
from oms.channels.port import (
    Callback,
    ChannelRefused,
    ChannelThrottled,
    ChannelUnavailable,
    ListingRef,
    PersonDemand,
    Quantity,
    RowResult,
    ShippedParcel,
    SignatureInvalid,
)
from oms.runtime.outbound import HttpRequest
from tests.support.marketplaces import CALLBACK_URL, Rig, answering, ebay_callback

BULK = "bulkUpdatePriceQuantity"


@pytest.fixture
def rig() -> Rig:
    return Rig("ebay")


def push(rig: Rig, listing: ListingRef, quantity: int) -> RowResult:
    (result,) = rig.channel.push_quantities([Quantity(listing, quantity)])
    return result


def bulk_answer(*rows: dict[str, Any], status: int = 207) -> tuple[int, dict[str, Any]]:
    return status, {"responses": list(rows)}


# Quantities.


def test_both_levels_are_written_in_one_row(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    push(rig, listing, 3)
    assert json.loads(rig.exchanges[-1][0].body) == {
        "requests": [
            {
                "sku": "A",
                "shipToLocationAvailability": {"quantity": 3},
                "offers": [{"offerId": listing.listing_id, "availableQuantity": 3}],
            }
        ]
    }
    assert rig.calls(BULK) == 1


def test_a_sku_without_an_offer_is_written_at_its_own_level() -> None:
    sent: list[HttpRequest] = []
    channel = answering("ebay", bulk_answer({"sku": "A", "statusCode": 200}), sent=sent)
    (result,) = channel.push_quantities([Quantity(ListingRef("A", ""), 3)])
    assert result.accepted
    assert "offers" not in json.loads(sent[0].body)["requests"][0]


def test_the_reason_is_read_from_the_offers_row_when_the_skus_has_none(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.faults(reject_skus=["A"])
    result = push(rig, listing, 3)
    assert (result.accepted, result.detail) == (False, "25002 A user error has occurred.")


def test_without_out_of_stock_control_zero_withdraws_the_offer_and_stock_publishes_it(rig: Rig) -> None:
    rig.control("POST", "config", {"out_of_stock_control": False})
    listing = rig.list_sku("A", 5)
    assert push(rig, listing, 0).accepted
    assert rig.calls("withdrawOffer") == 1
    assert rig.channel.read_quantities([listing]) == {"A": 0}
    assert push(rig, listing, 0).accepted
    assert rig.calls("withdrawOffer") == 1
    assert push(rig, listing, 4) == RowResult("A", True, 4)
    assert rig.shown("A") == 4
    assert rig.calls("publishOffer") == 1


def test_with_out_of_stock_control_the_listing_stays(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    assert push(rig, listing, 0).accepted
    assert rig.calls("withdrawOffer") == 0


def test_where_the_sku_may_not_go_below_its_offer_it_follows_in_a_second_call(rig: Rig) -> None:
    rig.control("POST", "config", {"sku_before_offer": True})
    listing = rig.list_sku("A", 5)
    assert push(rig, listing, 2).accepted
    assert rig.channel.read_quantities([listing]) == {"A": 2}
    assert rig.calls(BULK) == 2


def test_where_one_call_takes_one_sku_rows_go_one_by_one(rig: Rig) -> None:
    rig.control("POST", "config", {"one_sku_per_call": True})
    rows = [Quantity(rig.list_sku(sku, 1), 4) for sku in ("A", "B", "C")]
    assert all(each.accepted for each in rig.channel.push_quantities(rows))
    assert rig.calls(BULK) == 4


def test_rows_that_a_throttle_kept_back_can_be_repeated(rig: Rig) -> None:
    rig.control("POST", "config", {"one_sku_per_call": True})
    rows = [Quantity(rig.list_sku(sku, 1), 4) for sku in ("A", "B", "C")]
    rig.faults(skip=2, throttle=1)
    results = rig.channel.push_quantities(rows)
    assert [(each.accepted, each.retryable) for each in results] == [
        (True, False),
        (False, True),
        (False, True),
    ]


def test_a_row_that_the_answer_leaves_out_is_repeated() -> None:
    channel = answering("ebay", bulk_answer({"sku": "B", "statusCode": 200}))
    (result,) = channel.push_quantities([Quantity(ListingRef("A", "1"), 3)])
    assert (result.accepted, result.retryable) == (False, True)


@pytest.mark.parametrize(
    "row",
    [
        {"sku": "A", "statusCode": 500},
        {"sku": "A", "statusCode": 400, "errors": [{"errorId": 25001, "message": "system"}]},
    ],
)
def test_a_row_that_ebay_itself_failed_is_repeated(row: dict[str, Any]) -> None:
    (result,) = answering("ebay", bulk_answer(row)).push_quantities([Quantity(ListingRef("A", "1"), 3)])
    assert (result.accepted, result.retryable) == (False, True)


def test_one_row_for_sku_and_offer_together_is_understood() -> None:
    channel = answering("ebay", bulk_answer({"sku": "A", "offerId": "1", "statusCode": 200}, status=200))
    (result,) = channel.push_quantities([Quantity(ListingRef("A", "1"), 3)])
    assert result == RowResult("A", True, 3)


def test_a_listing_takes_250_revisions_a_day(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    for number in range(250):
        assert push(rig, listing, number % 2 + 1).accepted
    assert not push(rig, listing, 9).accepted
    rig.now += 86_400
    assert push(rig, listing, 9).accepted


def test_trouble_while_trying_another_way_can_be_repeated(rig: Rig) -> None:
    rig.control("POST", "config", {"out_of_stock_control": False})
    listing = rig.list_sku("A", 5)
    rig.faults(fail=1, operations=["withdrawOffer"])
    result = push(rig, listing, 0)
    assert (result.accepted, result.retryable) == (False, True)
    assert push(rig, listing, 0).accepted


@pytest.mark.parametrize(("status", "error"), [(400, 25002), (500, 25001)])
def test_a_push_that_only_the_sku_took_is_not_later_taken_for_done(status: int, error: int) -> None:
    half = bulk_answer(
        {"sku": "A", "statusCode": 200},
        {"sku": "A", "offerId": "1", "statusCode": status, "errors": [{"errorId": error}]},
    )
    sent: list[HttpRequest] = []
    offer = (200, {"status": "PUBLISHED", "availableQuantity": 3})
    channel = answering("ebay", half, offer, bulk_answer({"sku": "A", "statusCode": 200}), sent=sent)
    (result,) = channel.push_quantities([Quantity(ListingRef("A", "1"), 10)])
    assert (result.accepted, result.retryable) == (False, status == 500)
    (row,) = json.loads(sent[-1].body)["requests"]
    assert row == {"sku": "A", "shipToLocationAvailability": {"quantity": 3}}


def test_an_offer_that_cannot_be_published_again_still_reads_as_nothing(rig: Rig) -> None:
    rig.control("POST", "config", {"out_of_stock_control": False})
    listing = rig.list_sku("A", 5)
    push(rig, listing, 0)
    rig.faults(fail=1, status=500, operations=["publishOffer"])
    assert push(rig, listing, 4).retryable
    assert rig.channel.read_quantities([listing]) == {"A": 0}
    assert push(rig, listing, 4).accepted
    assert rig.shown("A") == 4


def test_a_row_that_cannot_be_read_now_is_not_mistaken_for_a_missing_one() -> None:
    channel = answering("ebay", bulk_answer({"sku": "A", "statusCode": 500}))
    with pytest.raises(ChannelUnavailable):
        channel.read_quantities([ListingRef("A", "1")])


# Callbacks.


def notification(topic: str = "ORDER_CONFIRMATION", data: Any = None) -> bytes:
    envelope = {
        "metadata": {"topic": topic, "schemaVersion": "1.0", "deprecated": False},
        "notification": {"notificationId": "n-1", "data": data or {"order": {"orderId": "10-1-1"}}},
    }
    return json.dumps(envelope).encode()


def test_each_line_is_announced_and_all_name_one_order(rig: Rig) -> None:
    for sku in ("A", "B", "C"):
        rig.list_sku(sku, 5)
    order_id = rig.buy({"A": 1, "B": 1, "C": 1})
    notices = [each for one in rig.callbacks() for each in rig.channel.read_callback(one, rig.moment)]
    assert [each.external_id for each in notices] == [order_id] * 3
    assert len({each.event_id for each in notices}) == 3


def test_the_key_is_fetched_once_an_hour(rig: Rig) -> None:
    callback = ebay_callback(notification())
    for later, fetched in ((0, 1), (10, 1), (3600, 2)):
        rig.now += later
        rig.channel.read_callback(callback, rig.moment)
        assert rig.calls("getPublicKey") == fetched


def test_made_up_keys_cannot_use_up_our_calls(rig: Rig) -> None:
    for number in range(UNKNOWN_KEYS_REMEMBERED + 30):
        with pytest.raises(SignatureInvalid):
            rig.channel.read_callback(ebay_callback(notification(), kid=f"made-up-{number}"), rig.moment)
    assert rig.calls("getPublicKey") == UNKNOWN_KEYS_REMEMBERED
    rig.now += 3600
    assert rig.channel.read_callback(ebay_callback(notification()), rig.moment)


def test_a_key_known_before_the_flood_still_serves(rig: Rig) -> None:
    good = ebay_callback(notification())
    rig.channel.read_callback(good, rig.moment)
    for number in range(UNKNOWN_KEYS_REMEMBERED + 1):
        with pytest.raises(SignatureInvalid):
            rig.channel.read_callback(ebay_callback(notification(), kid=f"made-up-{number}"), rig.moment)
    assert rig.channel.read_callback(good, rig.moment)


def test_a_key_that_cannot_be_had_now_asks_for_another_delivery(rig: Rig) -> None:
    rig.faults(fail=1, operations=["getPublicKey"])
    with pytest.raises(ChannelUnavailable):
        rig.channel.read_callback(ebay_callback(notification()), rig.moment)
    assert rig.channel.read_callback(ebay_callback(notification()), rig.moment)


@pytest.mark.parametrize("key", ["", "-----BEGIN PUBLIC KEY-----AAAA-----END PUBLIC KEY-----", "no key"])
def test_an_answer_that_holds_no_usable_key_verifies_nothing(rig: Rig, key: str) -> None:
    channel = answering("ebay", (200, {"key": key, "algorithm": "ECDSA", "digest": "SHA1"}))
    with pytest.raises(SignatureInvalid):
        channel.read_callback(ebay_callback(notification()), rig.moment)


@pytest.mark.parametrize("topic", ["ITEM_MARKED_SHIPPED", "NEW_TOPIC"])
def test_other_topics_are_verified_and_name_no_order(rig: Rig, topic: str) -> None:
    callback = ebay_callback(notification(topic, {"userId": "u"}))
    assert rig.channel.read_callback(callback, rig.moment) == []


def test_a_deleted_account_is_named_only_by_a_verified_callback(rig: Rig) -> None:
    assert isinstance(rig.core, EbayCore)
    assert isinstance(rig.channel, EbayChannel)
    rig.core.announce_account_deletion("u-1", "ada")
    (callback,) = rig.callbacks()
    (notice,) = rig.channel.read_callback(callback, rig.moment)
    assert notice.event_id == "00000000-0000-4000-8000-000000000001"
    assert notice.demand == PersonDemand("erase", ("ada", "u-1"))
    (order,) = rig.channel.read_callback(ebay_callback(notification()), rig.moment)
    assert order.demand is None
    forged = Callback("POST", callback.headers, {}, callback.body.replace(b"ada", b"eve"))
    with pytest.raises(SignatureInvalid):
        rig.channel.read_callback(forged, rig.moment)


def test_the_challenge_is_answered_with_the_hash_of_code_token_and_endpoint(rig: Rig) -> None:
    told = rig.control("POST", "config", {"callback_url": CALLBACK_URL})
    callback = Callback("GET", {}, {"challenge_code": told["challenge_code"]}, b"")
    answer = rig.channel.challenge(callback)
    assert answer is not None
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"challengeResponse": told["challenge_response"]}
    plain = f"{told['challenge_code']}{rig.secret['verification_token']}{CALLBACK_URL}"
    assert told["challenge_response"] == hashlib.sha256(plain.encode()).hexdigest()


@pytest.mark.parametrize(
    "callback",
    [
        Callback("POST", {}, {"challenge_code": "x"}, b"{}"),
        Callback("GET", {}, {}, b""),
        Callback("GET", {}, {"challenge_code": ""}, b""),
    ],
)
def test_what_is_no_challenge_gets_no_answer(rig: Rig, callback: Callback) -> None:
    assert rig.channel.challenge(callback) is None


# Orders.


def an_order(rig: Rig, **changes: Any) -> dict[str, Any]:
    rig.list_sku("A", 9)
    rig.channel.fetch_order(rig.buy({"A": 3}))
    return {**rig.exchanges[-1][1].json(), **changes}


def usd(value: str) -> dict[str, str]:
    return {"value": value, "currency": "USD"}


def test_a_purchase_whose_payment_is_pending_is_not_shown(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1}, paid=False)
    assert rig.channel.fetch_order(order_id) is None
    assert list(rig.channel.orders_since(rig.moment)) == []
    assert rig.callbacks() == []


def test_amounts_are_read_as_text_whatever_their_digits(rig: Rig) -> None:
    prices = {
        "priceSubtotal": usd("4085.0"),
        "priceDiscount": usd("-85.1"),
        "deliveryCost": usd("10.00"),
        "deliveryDiscount": usd("-2.5"),
        "tax": usd("0.1"),
        "adjustment": usd("1"),
        "total": usd("4008.50"),
    }
    order = answering("ebay", (200, an_order(rig, pricingSummary=prices))).fetch_order("1")
    assert order is not None
    assert (order.items_total, order.shipping_total, order.tax_total) == (408500, 1000, 10)
    assert (order.discount_total, order.grand_total) == (8660, 400850)
    parts = order.items_total + order.shipping_total + order.tax_total - order.discount_total
    assert parts == order.grand_total


def test_ebays_own_fee_is_told_apart_unless_it_is_in_a_currency_of_the_sellers(rig: Rig) -> None:
    for fee, told in ((usd("2.45"), 245), ({"value": "2.30", "currency": "EUR"}, 0), (None, 0)):
        order = answering("ebay", (200, an_order(rig, totalMarketplaceFee=fee))).fetch_order("1")
        assert order is not None
        assert order.fees == told


@pytest.mark.parametrize("value", ["1.001", "NaN", "Infinity", "ten"])
def test_an_amount_that_makes_no_sense_is_refused_not_rounded(rig: Rig, value: str) -> None:
    channel = answering("ebay", (200, an_order(rig, pricingSummary={"total": usd(value)})))
    with pytest.raises(ChannelRefused):
        channel.fetch_order("1")


def test_the_first_day_that_a_line_was_promised_for_is_the_order_s(rig: Rig) -> None:
    told = an_order(rig)
    (line,) = told["lineItems"]
    days = ("2026-12-02T08:00:00.000Z", "2026-11-30T08:00:00.000Z", None)
    told["lineItems"] = [
        {**line, "lineItemId": str(number), "lineItemFulfillmentInstructions": {"maxEstimatedDeliveryDate": day}}
        for number, day in enumerate(days)
    ]
    order = answering("ebay", (200, told)).fetch_order("1")
    assert order is not None
    assert order.promised_for == "2026-11-30"


def test_an_order_to_be_collected_has_only_a_country(rig: Rig) -> None:
    order = answering("ebay", (200, an_order(rig, fulfillmentStartInstructions=[]))).fetch_order("1")
    assert order is not None
    assert (order.address.country, order.address.line1, order.buyer_name) == ("US", "", "")


def test_a_legacy_listing_may_lack_its_sku(rig: Rig) -> None:
    told = an_order(rig)
    del told["lineItems"][0]["sku"]
    order = answering("ebay", (200, told)).fetch_order("1")
    assert order is not None
    assert (order.lines[0].sku, order.lines[0].quantity, order.lines[0].unit_price) == ("", 3, 1999)


@pytest.mark.parametrize(
    ("changes", "cancelled", "paid"),
    [
        ({"cancelStatus": {"cancelState": "CANCELED"}}, True, True),
        ({"cancelStatus": {"cancelState": "IN_PROGRESS"}}, False, True),
        ({"orderPaymentStatus": "FULLY_REFUNDED"}, True, True),
        ({"orderPaymentStatus": "FULLY_REFUNDED", "orderFulfillmentStatus": "FULFILLED"}, False, True),
        ({"orderPaymentStatus": "FAILED"}, False, False),
    ],
)
def test_what_counts_as_cancelled_and_as_paid(rig: Rig, changes: dict[str, Any], cancelled: bool, paid: bool) -> None:
    order = answering("ebay", (200, an_order(rig, **changes))).fetch_order("1")
    assert order is not None
    assert (order.cancelled, order.paid) == (cancelled, paid)


def test_a_refusal_for_another_reason_is_not_an_unknown_order() -> None:
    channel = answering("ebay", (400, {"errors": [{"errorId": 32800, "message": "field group"}]}))
    with pytest.raises(ChannelRefused):
        channel.fetch_order("1")


# Shipments.


def test_the_tracking_number_loses_what_ebay_does_not_take(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 2})
    for number in ("9400 1000-0001", "940010000001"):
        rig.channel.confirm_shipment(order_id, ShippedParcel("DHLExpress", number, rig.moment))
    (shipment,) = rig.report(order_id)["shipments"]
    assert (shipment["tracking_number"], shipment["carrier"]) == ("940010000001", "DHL")
    assert list(shipment["lines"].values()) == [2]


def test_a_parcel_without_lines_holds_what_has_not_left(rig: Rig) -> None:
    for sku in ("A", "B"):
        rig.list_sku(sku, 5)
    order_id = rig.buy({"A": 2, "B": 1})
    order = rig.channel.fetch_order(order_id)
    assert order is not None
    first, second = (line.external_line_id for line in order.lines)
    rig.channel.confirm_shipment(order_id, ShippedParcel("UPS", "1Z1", rig.moment, {first: 1}))
    rig.channel.confirm_shipment(order_id, ShippedParcel("UPS", "1Z2", rig.moment))
    assert [each["lines"] for each in rig.report(order_id)["shipments"]] == [
        {first: 1},
        {first: 1, second: 1},
    ]


def test_a_parcel_with_more_than_was_ordered_is_refused_by_ebay(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1})
    order = rig.channel.fetch_order(order_id)
    assert order is not None
    lines = {order.lines[0].external_line_id: 2}
    with pytest.raises(ChannelRefused):
        rig.channel.confirm_shipment(order_id, ShippedParcel("UPS", "1Z1", rig.moment, lines))


# Budgets.


def test_the_days_calls_come_to_an_end(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.control("POST", "config", {"per_day": 2})
    for _ in range(2):
        rig.channel.read_quantities([listing])
    with pytest.raises(ChannelThrottled) as caught:
        rig.channel.read_quantities([listing])
    assert caught.value.retry_after == 43_200
