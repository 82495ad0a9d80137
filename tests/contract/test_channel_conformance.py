"""What every channel must do, run against its simulated marketplace: every adapter takes part."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from oms.channels.port import (
    Callback,
    Channel,
    ChannelRefused,
    ChannelThrottled,
    ChannelUnavailable,
    ListingRef,
    Quantity,
    Reason,
    ShippedParcel,
    SignatureInvalid,
)
from oms.channels.registry import UnknownChannel, build
from oms.runtime.outbound import HttpRequest, HttpResponse, Unreachable
from tests.support.marketplaces import (
    CHANNELS,
    Rig,
    Settings,
    connect,
    ebay_callback,
    etsy_callback,
    shopify_callback,
    webhook_callback,
)

QUANTITY_WRITES = {
    "etsy": "updateListingInventory",
    "ebay": "bulkUpdatePriceQuantity",
    "shopify": "inventorySetQuantities",
    "amazon": "patchListingsItem",
    "webhook": "inventory.set",
}
SHIPMENT_WRITES = {
    "etsy": "createReceiptShipment",
    "ebay": "createShippingFulfillment",
    "shopify": "fulfillmentCreate",
    "amazon": "confirmShipment",
    "webhook": "order.shipped",
}
UNKNOWN_LISTINGS = {"etsy": "999", "ebay": "999", "shopify": "999", "amazon": "NO-SUCH-SKU", "webhook": "999"}
LAPSED = {"webhook": ("signing_secret", "whsec_bGFwc2Vk")}


@pytest.fixture(params=CHANNELS)
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.param)


def a_parcel(rig: Rig, tracking: str = "9400100000000000000001", carrier: str = "USPS") -> ShippedParcel:
    return ShippedParcel(carrier, tracking, rig.moment)


def push(rig: Rig, listing: ListingRef, quantity: int) -> None:
    (result,) = rig.channel.push_quantities([Quantity(listing, quantity)])
    assert result.accepted, result.detail


# Registry.


def test_a_channel_is_built_by_its_name(rig: Rig) -> None:
    assert rig.channel.name == rig.name


def test_an_unknown_channel_is_refused() -> None:
    class NoSecrets:
        def get(self, secret_id: str) -> dict[str, str]:
            raise AssertionError(secret_id)

    def never(request: HttpRequest, *, timeout: float) -> HttpResponse:
        raise AssertionError(request)

    with pytest.raises(UnknownChannel):
        build("nowhere", Settings(), NoSecrets(), never)


def test_a_renewed_token_is_used_without_a_restart(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    name, lapsed = LAPSED.get(rig.name, ("access_token", "lapsed"))
    token, rig.secret[name] = rig.secret[name], lapsed
    with pytest.raises(ChannelUnavailable):
        rig.channel.read_quantities([listing])
    rig.secret[name] = token
    assert rig.channel.read_quantities([listing]) == {"A": 5}


# Quantities.


def test_a_pushed_quantity_is_shown_and_read_back(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    (result,) = rig.channel.push_quantities([Quantity(listing, 7)])
    assert (result.sku, result.accepted, result.quantity) == ("A", True, 7)
    assert rig.shown("A") == 7
    assert rig.channel.read_quantities([listing]) == {"A": 7}


def test_a_listing_goes_to_zero_and_comes_back(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    for quantity in (0, 0, 4, 0, 1):
        push(rig, listing, quantity)
        assert rig.shown("A") == quantity
        assert rig.channel.read_quantities([listing]) == {"A": quantity}


def test_a_listing_that_sold_out_comes_back(rig: Rig) -> None:
    listing = rig.list_sku("A", 2)
    rig.buy({"A": 2})
    assert rig.channel.read_quantities([listing]) == {"A": 0}
    push(rig, listing, 3)
    assert rig.shown("A") == 3


def test_a_listing_that_begins_at_zero_can_be_filled(rig: Rig) -> None:
    listing = rig.list_sku("A", 0)
    assert rig.shown("A") == 0
    push(rig, listing, 6)
    assert rig.shown("A") == 6


def test_a_sale_shows_in_what_is_read(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.buy({"A": 2})
    assert rig.channel.read_quantities([listing]) == {"A": 3}


def test_a_quantity_beyond_the_ceiling_is_clamped_and_said(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    ceiling = rig.channel.limits.max_quantity
    (result,) = rig.channel.push_quantities([Quantity(listing, ceiling + 1)])
    assert (result.accepted, result.quantity) == (True, ceiling)
    assert rig.shown("A") == ceiling


def test_a_negative_quantity_is_shown_as_zero(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    push(rig, listing, -3)
    assert rig.shown("A") == 0


def test_a_full_batch_is_taken_and_one_more_is_the_callers_mistake(rig: Rig) -> None:
    size = rig.channel.limits.batch_size
    rows = [Quantity(rig.list_sku(f"SKU-{n}", 1), n + 2) for n in range(size + 1)]
    with pytest.raises(ValueError, match="at most"):
        rig.channel.push_quantities(rows)
    results = rig.channel.push_quantities(rows[:size])
    assert [result.sku for result in results] == [row.listing.sku for row in rows[:size]]
    assert all(result.accepted for result in results)
    shown = rig.channel.read_quantities([row.listing for row in rows])
    assert shown == {**{f"SKU-{n}": n + 2 for n in range(size)}, f"SKU-{size}": 1}


def test_one_refused_row_does_not_hold_up_the_others(rig: Rig) -> None:
    rows = [Quantity(rig.list_sku(sku, 1), 9) for sku in ("A", "B", "C")]
    rig.faults(reject_skus=["B"])
    results = rig.channel.push_quantities(rows)
    assert [result.accepted for result in results] == [True, False, True]
    assert results[1].detail
    assert not results[1].retryable
    assert [rig.shown(sku) for sku in ("A", "B", "C")] == [9, 1, 9]


def test_a_listing_that_the_channel_does_not_know_is_refused_and_absent(rig: Rig) -> None:
    known = rig.list_sku("A", 5)
    unknown = ListingRef("GONE", UNKNOWN_LISTINGS[rig.name])
    results = rig.channel.push_quantities([Quantity(unknown, 3), Quantity(known, 6)])
    assert [(result.accepted, result.retryable) for result in results] == [(False, False), (True, False)]
    assert rig.channel.read_quantities([unknown, known]) == {"A": 6}


def test_more_listings_than_one_call_takes_are_read_in_several(rig: Rig) -> None:
    listings = [rig.list_sku(f"SKU-{n}", 1) for n in range(103)]
    assert len(rig.channel.read_quantities(listings)) == 103


def test_nothing_to_push_or_read_asks_nothing(rig: Rig) -> None:
    assert rig.channel.push_quantities([]) == []
    assert rig.channel.read_quantities([]) == {}
    assert rig.exchanges == []


# Trouble.


@pytest.fixture(
    params=["push", "read", "fetch", "since", "confirm"],
)
def call(request: pytest.FixtureRequest, rig: Rig) -> Callable[[], object]:
    listing = rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1})
    channel: Channel = rig.channel
    calls: dict[str, Callable[[], object]] = {
        "push": lambda: channel.push_quantities([Quantity(listing, 3)]),
        "read": lambda: channel.read_quantities([listing]),
        "fetch": lambda: channel.fetch_order(order_id),
        "since": lambda: list(channel.orders_since(rig.moment)),
        "confirm": lambda: channel.confirm_shipment(order_id, a_parcel(rig)),
    }
    return calls[request.param]


def test_a_throttled_call_says_how_long_to_wait(rig: Rig, call: Callable[[], object]) -> None:
    rig.faults(throttle=1, retry_after=17)
    with pytest.raises(ChannelThrottled) as caught:
        call()
    assert caught.value.retry_after == 17
    call()


def test_a_throttle_that_names_no_time_still_asks_for_a_pause(rig: Rig, call: Callable[[], object]) -> None:
    rig.faults(throttle=1, retry_after=None)
    with pytest.raises(ChannelThrottled) as caught:
        call()
    assert caught.value.retry_after > 0


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_failing_channel_is_unavailable_and_recovers(rig: Rig, call: Callable[[], object], status: int) -> None:
    rig.faults(fail=1, status=status)
    with pytest.raises(ChannelUnavailable):
        call()
    call()


def test_a_channel_that_does_not_answer_is_unavailable(rig: Rig) -> None:
    def silent(request: HttpRequest, *, timeout: float) -> HttpResponse:
        raise Unreachable("cut off")

    with pytest.raises(ChannelUnavailable):
        connect(rig.name, lambda: rig.secret, silent).fetch_order("1")


def test_an_error_page_in_place_of_json_is_unavailable(rig: Rig) -> None:
    def portal(request: HttpRequest, *, timeout: float) -> HttpResponse:
        return HttpResponse(200, {}, b"<html>")

    with pytest.raises(ChannelUnavailable):
        connect(rig.name, lambda: rig.secret, portal).fetch_order("1")


def test_a_write_whose_answer_was_lost_can_be_repeated(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.faults(lose_answers=1, operations=[QUANTITY_WRITES[rig.name]])
    with pytest.raises(ChannelUnavailable):
        rig.channel.push_quantities([Quantity(listing, 8)])
    push(rig, listing, 8)
    assert rig.shown("A") == 8


# Orders.


def test_an_order_is_the_same_by_callback_and_by_polling(rig: Rig) -> None:
    rig.list_sku("A", 5)
    rig.list_sku("B", 5, price_minor=250)
    start = rig.moment
    order_id = rig.buy(
        {"A": 2, "B": 1},
        buyer={"name": "Ada Buyer", "email": "ada@example.org", "country": "CA", "line2": "Flat 2"},
        shipping_minor=599,
        tax_minor=312,
        discount_minor=100,
    )
    notices = [each for one in rig.callbacks() for each in rig.hear(one)]
    assert {(each.kind, each.external_id) for each in notices} == {("order.created", order_id)}
    fetched = rig.channel.fetch_order(order_id)
    assert list(rig.channel.orders_since(start)) == [fetched]
    assert fetched is not None
    assert [(line.sku, line.quantity, line.unit_price) for line in fetched.lines] == [
        ("A", 2, 1999),
        ("B", 1, 250),
    ]
    assert (fetched.items_total, fetched.shipping_total, fetched.tax_total) == (4248, 599, 312)
    assert (fetched.discount_total, fetched.grand_total, fetched.currency) == (100, 5059, "USD")
    assert (fetched.buyer_name, fetched.buyer_email) == ("Ada Buyer", "ada@example.org")
    assert (fetched.address.country, fetched.address.line2) == ("CA", "Flat 2")
    assert fetched.paid
    assert not fetched.cancelled
    assert fetched.placed_at == rig.moment


def test_a_buyer_without_an_address_to_write_to_is_taken(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order = rig.channel.fetch_order(rig.buy({"A": 1}))
    assert order is not None
    assert order.buyer_email is None


@pytest.mark.parametrize("order_id", ["12345", "no-such", "../../users/me", "1?x=2", "٣"])
def test_an_unknown_order_is_none(rig: Rig, order_id: str) -> None:
    assert rig.channel.fetch_order(order_id) is None


def test_every_page_of_changes_is_read_oldest_first(rig: Rig) -> None:
    rig.list_sku("A", 300)
    rig.control("POST", "faults", {"callbacks": "never"})
    since = rig.moment
    placed = []
    for number in range(230):
        rig.now += number % 3
        placed.append(rig.buy({"A": 1}))
    orders = list(rig.channel.orders_since(since))
    assert sorted(order.external_id for order in orders) == sorted(placed)
    assert [order.updated_at for order in orders] == sorted(order.updated_at for order in orders)


def test_an_order_that_changed_a_moment_before_the_mark_is_read_again(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1})
    rig.now += 120
    assert [order.external_id for order in rig.channel.orders_since(rig.moment)] == [order_id]


def test_orders_from_long_before_the_mark_are_left_out(rig: Rig) -> None:
    rig.list_sku("A", 5)
    rig.buy({"A": 1})
    rig.now += 7200
    assert list(rig.channel.orders_since(rig.moment)) == []


def test_a_cancelled_order_is_seen_as_cancelled(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1})
    rig.now += 5
    rig.control("POST", "cancel", {"order_id": order_id})
    (order,) = rig.channel.orders_since(rig.moment)
    assert order.cancelled
    assert order.updated_at > order.placed_at


def test_an_order_that_cannot_be_read_hides_no_other(rig: Rig) -> None:
    rig.list_sku("A", 9)
    placed = [rig.buy({"A": 1}) for _ in range(3)]
    rig.faults(garbled_orders=[placed[1]])
    found = [order.external_id for order in rig.channel.orders_since(rig.moment)]
    assert sorted(found) == sorted([placed[0], placed[2]])
    with pytest.raises(ChannelRefused):
        rig.channel.fetch_order(placed[1])


# Shipments.


def test_a_shipment_told_twice_is_one(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 2})
    rig.channel.confirm_shipment(order_id, a_parcel(rig))
    rig.channel.confirm_shipment(order_id, a_parcel(rig))
    (shipment,) = rig.report(order_id)["shipments"]
    assert shipment["tracking_number"] == "9400100000000000000001"
    assert rig.calls(SHIPMENT_WRITES[rig.name]) == 1


def test_a_shipment_whose_answer_was_lost_is_told_once(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 2})
    rig.faults(lose_answers=1, operations=[SHIPMENT_WRITES[rig.name]])
    with pytest.raises(ChannelUnavailable):
        rig.channel.confirm_shipment(order_id, a_parcel(rig))
    rig.channel.confirm_shipment(order_id, a_parcel(rig))
    assert len(rig.report(order_id)["shipments"]) == 1


def test_two_parcels_of_an_order_are_two_shipments(rig: Rig) -> None:
    rig.list_sku("A", 5)
    rig.list_sku("B", 5)
    order_id = rig.buy({"A": 1, "B": 1})
    order = rig.channel.fetch_order(order_id)
    assert order is not None
    for number, line in enumerate(order.lines):
        parcel = replace(a_parcel(rig, f"94001{number}"), lines={line.external_line_id: line.quantity})
        rig.channel.confirm_shipment(order_id, parcel)
    shipments = rig.report(order_id)["shipments"]
    assert [each["tracking_number"] for each in shipments] == ["940010", "940011"]


def test_a_carrier_that_the_channel_does_not_know_still_carries(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1})
    rig.channel.confirm_shipment(order_id, a_parcel(rig, carrier="Pigeon Post"))
    assert rig.report(order_id)["shipments"][0]["carrier"].lower() == "other"


def test_a_parcel_without_tracking_is_told_once(rig: Rig) -> None:
    rig.list_sku("A", 5, price_minor=500)
    order_id = rig.buy({"A": 1})
    rig.channel.confirm_shipment(order_id, a_parcel(rig, ""))
    rig.channel.confirm_shipment(order_id, a_parcel(rig, ""))
    assert rig.calls(SHIPMENT_WRITES[rig.name]) == 1


def test_a_shipment_of_an_unknown_order_is_refused(rig: Rig) -> None:
    with pytest.raises(ChannelRefused):
        rig.channel.confirm_shipment("12345", a_parcel(rig))


# Callbacks.


def test_a_repeated_callback_names_the_same_event(rig: Rig) -> None:
    rig.list_sku("A", 5)
    rig.faults(callbacks="twice")
    rig.buy({"A": 1})
    first, second = (rig.hear(each) for each in rig.callbacks())
    assert first == second


def test_a_lost_callback_is_made_good_by_polling(rig: Rig) -> None:
    rig.list_sku("A", 5)
    rig.faults(callbacks="never")
    order_id = rig.buy({"A": 1})
    assert rig.callbacks() == []
    assert [order.external_id for order in rig.channel.orders_since(rig.moment)] == [order_id]


def test_a_late_callback_is_signed_when_it_leaves(rig: Rig) -> None:
    rig.list_sku("A", 5)
    rig.faults(callbacks="held", hold_seconds=3600)
    rig.buy({"A": 1})
    assert rig.callbacks() == []
    rig.now += 3600
    rig.control("POST", "deliver")
    (callback,) = rig.callbacks()
    assert rig.hear(callback)


def test_callbacks_may_come_the_other_way_round(rig: Rig) -> None:
    rig.list_sku("A", 5)
    rig.faults(callbacks="reversed", hold_seconds=3600)
    orders = [rig.buy({"A": 1}) for _ in range(2)]
    rig.control("POST", "deliver")
    named = [notice.external_id for callback in rig.callbacks() for notice in rig.hear(callback)]
    assert list(dict.fromkeys(named)) == orders[::-1]


def etsy_forgeries(rig: Rig) -> Iterator[tuple[str, Callback, timedelta]]:
    now = timedelta()
    path = "https://openapi.etsy.com/v3/application/shops/1001/receipts/1"
    event = {"event_type": "order.paid", "resource_url": path, "shop_id": 1001}
    body = json.dumps(event).encode()
    good = etsy_callback(body, rig.now)
    for name in good.headers:
        bare = {key: value for key, value in good.headers.items() if key != name}
        yield f"no {name}", replace(good, headers=bare), now
    signature = good.headers["webhook-signature"]
    for name, value in (
        ("webhook-id", "msg_other"),
        ("webhook-timestamp", str(int(rig.now) + 1)),
        ("webhook-timestamp", "soon"),
        ("webhook-timestamp", "-1"),
        ("webhook-timestamp", "9" * 40),
        ("webhook-signature", ""),
        ("webhook-signature", "v1,"),
        ("webhook-signature", signature.replace("v1,", "v2,")),
        ("webhook-signature", signature[:-2] + "é="),
    ):
        yield f"{name} {value}", replace(good, headers={**good.headers, name: value}), now
    yield "body changed", replace(good, body=body + b" "), now
    yield "another secret", etsy_callback(body, rig.now, secret="whsec_b3RoZXIgc2VjcmV0"), now
    yield "too old", good, timedelta(seconds=301)
    yield "from the future", good, timedelta(seconds=-301)
    for name, wrong in (
        ("another shop", {**event, "shop_id": 2002}),
        ("no receipt", {**event, "resource_url": "https://openapi.etsy.com/v3/application/users/1"}),
        ("a receipt and more", {**event, "resource_url": path + "/../../../users/me"}),
        ("no event", {"shop_id": 1001}),
        ("a list", [event]),
    ):
        yield name, etsy_callback(json.dumps(wrong).encode(), rig.now), now
    yield "no JSON", etsy_callback(b"\xff{", rig.now), now


def ebay_forgeries(rig: Rig) -> Iterator[tuple[str, Callback, timedelta]]:
    now = timedelta()
    data = {"order": {"orderId": "10-10001-54322", "orderLineItems": []}}
    envelope = {
        "metadata": {"topic": "ORDER_CONFIRMATION", "schemaVersion": "1.0", "deprecated": False},
        "notification": {"notificationId": "n-1", "data": data},
    }
    body = json.dumps(envelope).encode()
    good = ebay_callback(body)
    yield "no header", replace(good, headers={}), now
    for name, value in (("empty", ""), ("no base64", "%%%"), ("no JSON", "aGVsbG8="), ("a list", "W10=")):
        yield name, replace(good, headers={"x-ebay-signature": value}), now
    for claim, value in (
        ("alg", "hmac"),
        ("alg", "none"),
        ("digest", "MD5"),
        ("digest", "SHA256"),
        ("kid", "5d4d7a52-0001-4000-8000-000000000002"),
        ("kid", "../../../sell/account/v1/privilege"),
        ("kid", "https://evil.example/key"),
        ("kid", ""),
        ("signature", ""),
        ("signature", "AAAA"),
        ("signature", "not base64"),
    ):
        yield f"{claim} {value}", ebay_callback(body, **{claim: value}), now
    yield "body changed", replace(good, body=body + b" "), now
    yield "signature of another body", replace(ebay_callback(b"{}"), body=body), now
    for name, wrong in (
        ("no order", {**envelope, "notification": {"notificationId": "n", "data": {}}}),
        ("order without id", {**envelope, "notification": {"notificationId": "n", "data": {"order": {}}}}),
        ("no notification", {"metadata": envelope["metadata"]}),
        ("a list", [envelope]),
    ):
        yield name, ebay_callback(json.dumps(wrong).encode()), now
    yield "no JSON", ebay_callback(b"\xff{"), now


def shopify_forgeries(rig: Rig) -> Iterator[tuple[str, Callback, timedelta]]:
    now = timedelta()
    body = json.dumps({"id": 2**53 + 1, "admin_graphql_api_id": "gid://shopify/Order/1"}).encode()
    good = shopify_callback(body)
    for name in good.headers:
        if name != "x-shopify-topic":
            yield f"no {name}", replace(good, headers={k: v for k, v in good.headers.items() if k != name}), now
    signature = good.headers["x-shopify-hmac-sha256"]
    for value in ("", "=", signature.lower(), signature[:-4], signature + "é", "0" * 64):
        yield f"signature {value}", shopify_callback(body, hmac_sha256=value), now
    yield "body changed", replace(good, body=body + b" "), now
    yield "signature of another body", replace(shopify_callback(b"{}"), body=body), now
    yield "another secret", shopify_callback(body, secret="shpss_other"), now
    yield "another shop", shopify_callback(body, shop_domain="other.myshopify.com"), now
    for name, wrong in (
        ("no id", {}),
        ("an id as a float", {"id": 9.007199254740993e15}),
        ("an id as text", {"id": "1/../2"}),
        ("an id below one", {"id": -1}),
        ("a truth for an id", {"id": True}),
        ("a list", [1]),
    ):
        yield name, shopify_callback(json.dumps(wrong).encode()), now
    yield "no JSON", shopify_callback(b"\xff{"), now
    yield "a demand without a shop", shopify_callback(b"{}", topic="shop/redact"), now
    other = json.dumps({"shop_domain": "other.myshopify.com", "customer": {"id": 1}}).encode()
    yield "another shop's demand", shopify_callback(other, topic="customers/redact"), now
    yield "an order as a demand", shopify_callback(body, topic="customers/redact"), now


def amazon_forgeries(rig: Rig) -> Iterator[tuple[str, Callback, timedelta]]:
    """Nothing that comes over HTTP can be Amazon's, however well it is made."""
    rig.list_sku("A", 5)
    rig.buy({"A": 1})
    (message,) = rig.callbacks()
    yield "a true message", message, timedelta()
    yield "no body", replace(message, body=b""), timedelta()
    for name, value in (
        ("authorization", "Bearer Atza|sim-token"),
        ("x-amz-access-token", "Atza|sim-token"),
        ("x-amz-sns-message-type", "Notification"),
        ("x-amzn-signature", "AAAA"),
        ("user-agent", "Amazon Simple Queue Service"),
    ):
        yield name, replace(message, headers={**message.headers, name: value}), timedelta()


def webhook_forgeries(rig: Rig) -> Iterator[tuple[str, Callback, timedelta]]:
    now = timedelta()
    rig.list_sku("A", 5)
    rig.buy({"A": 1})
    (good,) = rig.callbacks()
    rig.delivered.clear()
    for name in good.headers:
        if name.startswith("webhook-"):
            yield f"no {name}", replace(good, headers={k: v for k, v in good.headers.items() if k != name}), now
    signature = good.headers["webhook-signature"]
    for name, value in (
        ("webhook-id", "msg_other"),
        ("webhook-id", ""),
        ("webhook-timestamp", str(int(rig.now) + 1)),
        ("webhook-timestamp", "now"),
        ("webhook-signature", ""),
        ("webhook-signature", signature.replace("v1,", "v1a,")),
        ("webhook-signature", signature[:-2] + "é="),
    ):
        yield f"{name} {value}", replace(good, headers={**good.headers, name: value}), now
    yield "body changed", replace(good, body=good.body + b" "), now
    yield "what we say said back", webhook_callback(good.body, rig.now, secret=rig.secret["signing_secret"]), now
    yield "too old", good, timedelta(seconds=301)
    yield "from the future", good, timedelta(seconds=-301)
    for name, wrong in (
        ("no order", {"type": "order.created", "data": {}}),
        ("an order with a path", {"type": "order.created", "data": {"id": "../x"}}),
        ("an order with a number", {"type": "order.created", "data": {"id": 7}}),
        ("a list", []),
    ):
        yield name, webhook_callback(json.dumps(wrong).encode(), rig.now), now
    yield "no JSON", webhook_callback(b"\xff{", rig.now), now


FORGERIES = {
    "etsy": etsy_forgeries,
    "ebay": ebay_forgeries,
    "shopify": shopify_forgeries,
    "amazon": amazon_forgeries,
    "webhook": webhook_forgeries,
}


def test_no_forged_or_foreign_callback_is_believed(rig: Rig) -> None:
    forgeries = list(FORGERIES[rig.name](rig))
    assert len(forgeries) >= 7
    believed = []
    for name, callback, later in forgeries:
        with suppress(SignatureInvalid):
            rig.channel.read_callback(callback, rig.moment + later)
            believed.append(name)
    assert believed == []


def test_no_call_leaves_the_configured_host(rig: Rig) -> None:
    for _, callback, later in FORGERIES[rig.name](rig):
        with pytest.raises(SignatureInvalid):
            rig.channel.read_callback(callback, rig.moment + later)
    assert {request.url.split("/")[2] for request, _ in rig.exchanges} <= {rig.name}
    assert all("evil" not in request.url and ".." not in request.url for request, _ in rig.exchanges)


# After-sales: what the contract allows, and a plain refusal of what it does not.


def test_an_order_is_cancelled_there_once_or_it_is_said_that_it_cannot_be(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 2})
    if not rig.channel.capabilities.cancels:
        with pytest.raises(ChannelRefused):
            rig.channel.cancel_order(order_id, Reason.OUT_OF_STOCK)
        assert not rig.report(order_id)["cancelled"]
        return
    for _ in range(2):
        rig.channel.cancel_order(order_id, Reason.OUT_OF_STOCK)
    assert rig.report(order_id)["cancelled"]
    shown = rig.channel.fetch_order(order_id)
    assert shown is not None
    assert shown.cancelled


def test_money_is_given_back_there_once_or_it_is_said_that_it_cannot_be(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 2})
    if not rig.channel.capabilities.refunds:
        with pytest.raises(ChannelRefused):
            rig.channel.refund_up_to(order_id, 500, Reason.RETURNED)
        return
    for total in (500, 500, 1250, 500):
        rig.channel.refund_up_to(order_id, total, Reason.RETURNED)
    shown = rig.channel.fetch_order(order_id)
    assert shown is not None
    assert shown.refunded_total == 1250
