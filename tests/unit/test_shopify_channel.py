"""What is Shopify's alone: compare-and-set, keyed requests, points, refusals within a 200, privacy demands."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from oms.channels.port import (
    ChannelRefused,
    ChannelThrottled,
    ChannelUnavailable,
    ListingRef,
    Quantity,
    RowResult,
    ShippedParcel,
    SignatureInvalid,
)
from oms.channels.shopify import ShopifyChannel
from oms.runtime.outbound import HttpRequest
from tests.support.marketplaces import SECRETS, Rig, answering, shopify_callback

SET = "inventorySetQuantities"
LEVEL = {"inventoryLevel": {"quantities": [{"quantity": 5, "updatedAt": "2026-11-23T10:00:00Z"}]}}


@pytest.fixture
def rig() -> Rig:
    return Rig("shopify")


def sent(requests: list[HttpRequest], operation: str) -> list[dict[str, Any]]:
    told = [json.loads(request.body) for request in requests]
    return [each["variables"] for each in told if operation in each["query"]]


def written(rig: Rig) -> list[dict[str, Any]]:
    return sent([request for request, _ in rig.exchanges], SET)


def answer(errors: list[dict[str, Any]], changes: dict[str, int] | None = None) -> tuple[int, dict[str, Any]]:
    told = [
        {"item": {"id": f"gid://shopify/InventoryItem/{item}"}, "quantityAfterChange": quantity}
        for item, quantity in (changes or {}).items()
    ]
    group = None if errors else {"changes": told}
    return 200, {"data": {SET: {"inventoryAdjustmentGroup": group, "userErrors": errors}}}


def error(code: str, row: int | None = None) -> dict[str, Any]:
    field = ["input"] if row is None else ["input", "quantities", str(row), "quantity"]
    return {"code": code, "field": field, "message": code.lower()}


def push_to(*answers: tuple[int, Any], seen: int | None = None) -> tuple[RowResult, list[HttpRequest]]:
    """Push 3 to an item that shows 5, where Shopify gives these answers after the first reading."""
    requests: list[HttpRequest] = []
    channel = answering("shopify", (200, {"data": {"i0": LEVEL}}), *answers, sent=requests)
    (result,) = channel.push_quantities([Quantity(ListingRef("A", "7"), 3, seen)])
    return result, requests


# Compare and set.


def test_a_quantity_is_changed_from_what_shopify_shows(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.channel.push_quantities([Quantity(listing, 3, seen=5)])
    (call,) = written(rig)
    (row,) = call["input"]["quantities"]
    assert (row["changeFromQuantity"], row["quantity"]) == (5, 3)
    assert row["inventoryItemId"] == f"gid://shopify/InventoryItem/{listing.listing_id}"
    assert row["locationId"] == f"gid://shopify/Location/{rig.secret['location_id']}"


def test_a_sale_since_the_caller_looked_is_not_undone(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.buy({"A": 2})
    (result,) = rig.channel.push_quantities([Quantity(listing, 5, seen=5)])
    assert (result.accepted, result.retryable, result.quantity) == (False, True, 3)
    assert rig.shown("A") == 3
    assert written(rig) == []


def test_a_sale_between_our_reading_and_our_writing_is_not_undone() -> None:
    sold = {"inventoryLevel": {"quantities": [{"quantity": 4, "updatedAt": "2026-11-23T10:00:01Z"}]}}
    stale = answer([error("CHANGE_FROM_QUANTITY_STALE", 0)])
    result, _ = push_to(stale, (200, {"data": {"i0": sold}}))
    assert (result.accepted, result.retryable, result.quantity) == (False, True, 4)
    assert "heard of" in result.detail


def test_the_simulated_shop_refuses_a_stale_change(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.channel.push_quantities([Quantity(listing, 3)])
    rig.buy({"A": 1})
    stale = json.loads(rig.exchanges[-1][0].body)
    stale["variables"]["key"] = "another"
    request = replace(rig.exchanges[-1][0], body=json.dumps(stale).encode())
    told = rig.core.handle(_as_request(request)).json()["data"][SET]
    assert [each["code"] for each in told["userErrors"]] == ["CHANGE_FROM_QUANTITY_STALE"]


def test_a_faulty_row_does_not_hold_up_the_others(rig: Rig) -> None:
    rows = [Quantity(rig.list_sku(sku, 1), 9) for sku in ("A", "B", "C")]
    rig.faults(reject_skus=["B"])
    results = rig.channel.push_quantities(rows)
    assert [each.accepted for each in results] == [True, False, True]
    assert [len(call["input"]["quantities"]) for call in written(rig)] == [3, 2]


def test_two_hundred_and_fifty_rows_are_one_reading_and_one_writing(rig: Rig) -> None:
    rows = [Quantity(rig.list_sku(f"S{number}", 1), 2) for number in range(250)]
    assert all(result.accepted for result in rig.channel.push_quantities(rows))
    assert len(rig.exchanges) == 2


def test_a_quantity_that_stands_already_is_not_written(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    (result,) = rig.channel.push_quantities([Quantity(listing, 5)])
    assert result.accepted
    assert written(rig) == []


def test_an_item_of_another_location_is_not_ours(rig: Rig) -> None:
    listing = rig.list_sku("A", 5, location_id="70000000002")
    assert rig.channel.read_quantities([listing]) == {}
    (result,) = rig.channel.push_quantities([Quantity(listing, 3)])
    assert (result.accepted, result.retryable) == (False, False)


def test_an_answer_that_shows_another_number_is_not_accepted() -> None:
    for changes in ({"7": 4}, {}):
        result, _ = push_to(answer([], changes))
        assert (result.accepted, result.retryable) == (False, True)


# Keys.


def test_the_same_cause_has_the_same_key_and_another_has_another() -> None:
    def key(version: int, since: str = "2026-11-23T10:00:00Z") -> str:
        level = {"inventoryLevel": {"quantities": [{"quantity": 5, "updatedAt": since}]}}
        requests: list[HttpRequest] = []
        channel = answering("shopify", (200, {"data": {"i0": level}}), answer([], {"7": 3}), sent=requests)
        channel.push_quantities([Quantity(ListingRef("A", "7"), 3, 5, version)])
        return str(sent(requests, SET)[0]["key"])

    assert key(1) == key(1)
    assert len({key(1), key(2), key(1, "2026-11-23T10:00:09Z")}) == 3


def test_a_key_whose_attempt_failed_is_replaced() -> None:
    failed = answer([error("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED")])
    result, requests = push_to(failed, answer([], {"7": 3}))
    assert result.accepted
    first, second = (each["key"] for each in sent(requests, SET))
    assert first != second


def test_keys_are_not_replaced_for_ever() -> None:
    result, requests = push_to(*[answer([error("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED")])] * 3)
    assert (result.accepted, result.retryable) == (False, True)
    assert len(sent(requests, SET)) == 3


def test_the_same_request_under_way_is_worth_waiting_for() -> None:
    result, _ = push_to(answer([error("IDEMPOTENCY_CONCURRENT_REQUEST")]))
    assert (result.accepted, result.retryable) == (False, True)


def test_a_refusal_of_the_whole_is_a_refusal_of_each_row() -> None:
    result, _ = push_to(answer([error("INVALID_REASON")]))
    assert (result.accepted, result.retryable) == (False, False)
    assert "INVALID_REASON" in result.detail


def test_the_simulated_shop_repeats_its_answer_for_a_repeated_key(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.channel.push_quantities([Quantity(listing, 3)])
    rig.buy({"A": 1})
    request = _as_request(rig.exchanges[-1][0])
    told = rig.core.handle(request).json()["data"][SET]
    assert told["userErrors"] == []
    assert rig.shown("A") == 2


def test_the_simulated_shop_wants_a_key(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.channel.push_quantities([Quantity(listing, 3)])
    bare = json.loads(rig.exchanges[-1][0].body)
    bare["query"] = bare["query"].replace("@idempotent(key: $key)", "").replace(", $key: String!", "")
    request = replace(rig.exchanges[-1][0], body=json.dumps(bare).encode())
    assert "idempotent" in rig.core.handle(_as_request(request)).json()["errors"][0]["message"]


def _as_request(request: HttpRequest) -> Any:
    from local.simulators.core import Request

    return Request.to(request.method, request.url.removeprefix("http://shopify"), request.headers, request.body)


# Answers.


def test_a_throttle_waits_for_the_points_that_are_missing() -> None:
    cost = {
        "requestedQueryCost": 752,
        "throttleStatus": {"maximumAvailable": 2000, "currentlyAvailable": 152, "restoreRate": 100},
    }
    errors = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]
    channel = answering("shopify", (200, {"errors": errors, "extensions": {"cost": cost}}))
    with pytest.raises(ChannelThrottled) as caught:
        channel.fetch_order("1")
    assert caught.value.retry_after == 6


def test_points_come_back_with_time(rig: Rig) -> None:
    listings = [rig.list_sku(f"S{number}", 1) for number in range(250)]
    rig.control("POST", "config", {"points": 1000, "points_per_second": 100})
    rig.channel.read_quantities(listings)
    with pytest.raises(ChannelThrottled) as caught:
        rig.channel.read_quantities(listings)
    assert caught.value.retry_after == 5
    rig.now += 5
    assert len(rig.channel.read_quantities(listings)) == 250


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ([{"message": "?", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}], ChannelUnavailable),
        ([{"message": "?", "extensions": {"code": "ACCESS_DENIED"}}], ChannelRefused),
        ([{"message": "Field 'x' doesn't exist"}], ChannelRefused),
        ("Not Found", ChannelRefused),
    ],
)
def test_errors_within_a_200_are_errors(errors: Any, raised: type[Exception]) -> None:
    with pytest.raises(raised):
        answering("shopify", (200, {"errors": errors})).fetch_order("1")


def test_an_answer_without_data_is_none() -> None:
    with pytest.raises(ChannelUnavailable):
        answering("shopify", (200, {})).fetch_order("1")


def test_an_id_that_is_no_number_never_reaches_shopify(rig: Rig) -> None:
    listing = ListingRef("A", "7) { id } shop { name } #")
    assert rig.channel.read_quantities([listing]) == {}
    (result,) = rig.channel.push_quantities([Quantity(listing, 3)])
    assert not result.accepted
    assert rig.channel.fetch_order("1 OR 1") is None
    assert rig.exchanges == []


# Callbacks.


def event(**told: Any) -> bytes:
    return json.dumps({"id": 2**53 + 1, **told}).encode()


def test_an_id_beyond_what_a_float_holds_stays_exact(rig: Rig) -> None:
    (notice,) = rig.channel.read_callback(shopify_callback(event()), rig.moment)
    assert notice.external_id == "9007199254740993"


def test_an_order_with_such_an_id_is_fetched_by_it(rig: Rig) -> None:
    rig.list_sku("A", 5)
    rig.list_sku("B", 5)
    orders = [rig.buy({sku: 1}) for sku in ("A", "B")]
    found = [rig.channel.fetch_order(each) for each in orders]
    assert [each.lines[0].sku for each in found if each] == ["A", "B"]


def test_the_old_secret_holds_while_it_is_replaced(rig: Rig) -> None:
    (old,) = rig.secret["webhook_secrets"]
    rig.secret["webhook_secrets"] = ["shpss_next", old]
    for secret in ("shpss_next", old):
        assert rig.channel.read_callback(shopify_callback(event(), secret=secret), rig.moment)
    rig.secret["webhook_secrets"] = ["shpss_next"]
    with pytest.raises(SignatureInvalid):
        rig.channel.read_callback(shopify_callback(event(), secret=old), rig.moment)


def test_headers_without_the_x_are_read_as_well(rig: Rig) -> None:
    callback = shopify_callback(event())
    bare = replace(callback, headers={name.removeprefix("x-"): value for name, value in callback.headers.items()})
    assert rig.channel.read_callback(bare, rig.moment) == rig.channel.read_callback(callback, rig.moment)


def test_without_a_secret_nobody_is_believed(rig: Rig) -> None:
    rig.secret["webhook_secrets"] = []
    with pytest.raises(SignatureInvalid):
        rig.channel.read_callback(shopify_callback(event()), rig.moment)


def test_an_empty_secret_is_our_mistake_not_the_senders(rig: Rig) -> None:
    rig.secret["webhook_secrets"] = [""]
    with pytest.raises(ValueError, match="secret is empty"):
        rig.channel.read_callback(shopify_callback(event(), secret=""), rig.moment)


@pytest.mark.parametrize(
    ("topic", "kinds"),
    [
        ("orders/create", ["order.created"]),
        ("orders/paid", ["order.created"]),
        ("orders/updated", ["order.created"]),
        ("orders/cancelled", ["order.cancelled"]),
        ("orders/fulfilled", ["order.shipped"]),
        ("orders/partially_fulfilled", ["order.shipped"]),
        ("products/update", []),
    ],
)
def test_each_topic_has_its_word(rig: Rig, topic: str, kinds: list[str]) -> None:
    notices = rig.channel.read_callback(shopify_callback(event(), topic=topic), rig.moment)
    assert [each.kind for each in notices] == kinds


@pytest.mark.parametrize(
    ("topic", "told", "customer", "orders"),
    [
        (
            "customers/redact",
            {"customer": {"id": 191167, "email": "a@b.c"}, "orders_to_redact": [299938, 280263]},
            "191167",
            ("299938", "280263"),
        ),
        ("customers/data_request", {"customer": {"id": 191167}, "orders_requested": [299938]}, "191167", ("299938",)),
        ("shop/redact", {}, "", ()),
    ],
)
def test_a_privacy_demand_is_verified_and_read(
    rig: Rig, topic: str, told: dict[str, Any], customer: str, orders: tuple[str, ...]
) -> None:
    body = json.dumps({"shop_id": 1, "shop_domain": SECRETS["shopify"]["shop_domain"], **told}).encode()
    channel = rig.channel
    assert isinstance(channel, ShopifyChannel)
    callback = shopify_callback(body, topic=topic)
    (notice,) = channel.read_callback(callback, rig.moment)
    demand = notice.demand
    assert demand is not None
    assert demand.kind == ("report" if topic == "customers/data_request" else "erase")
    assert (demand.buyer_ids, demand.order_ids) == ((customer,) if customer else (), orders)
    assert demand.everybody == (topic == "shop/redact")
    with pytest.raises(SignatureInvalid):
        channel.read_callback(replace(callback, body=body + b" "), rig.moment)


def test_an_order_is_no_privacy_demand(rig: Rig) -> None:
    (notice,) = rig.channel.read_callback(shopify_callback(event()), rig.moment)
    assert notice.demand is None


# Orders.


def an_order(rig: Rig, **changes: Any) -> dict[str, Any]:
    rig.list_sku("A", 9)
    rig.channel.fetch_order(rig.buy({"A": 2}))
    order = rig.exchanges[-1][1].json()["data"]["order"]
    return {"data": {"order": {**order, **changes}}}


@pytest.mark.parametrize(
    ("payment", "paid"),
    [
        ("PAID", True),
        ("PARTIALLY_REFUNDED", True),
        ("AUTHORIZED", False),
        ("PENDING", False),
        ("PARTIALLY_PAID", False),
        ("VOIDED", False),
        (None, False),
    ],
)
def test_only_captured_money_is_payment(rig: Rig, payment: str | None, paid: bool) -> None:
    order = answering("shopify", (200, an_order(rig, displayFinancialStatus=payment))).fetch_order("1")
    assert order is not None
    assert order.paid is paid


@pytest.mark.parametrize(
    ("changes", "cancelled"),
    [
        ({"cancelledAt": "2026-11-23T10:00:00Z"}, True),
        ({"displayFinancialStatus": "REFUNDED"}, True),
        ({"displayFinancialStatus": "REFUNDED", "displayFulfillmentStatus": "FULFILLED"}, False),
        ({"displayFinancialStatus": "PARTIALLY_REFUNDED"}, False),
    ],
)
def test_what_counts_as_cancelled(rig: Rig, changes: dict[str, Any], cancelled: bool) -> None:
    order = answering("shopify", (200, an_order(rig, **changes))).fetch_order("1")
    assert order is not None
    assert order.cancelled is cancelled


def test_a_line_that_was_edited_out_does_not_ship(rig: Rig) -> None:
    told = an_order(rig)
    lines = told["data"]["order"]["lineItems"]["nodes"]
    lines.append({**lines[0], "id": "gid://shopify/LineItem/5", "currentQuantity": 0})
    lines[0]["currentQuantity"] = 1
    order = answering("shopify", (200, told)).fetch_order("1")
    assert order is not None
    assert [line.quantity for line in order.lines] == [1]


def test_an_order_without_customer_or_address_is_read(rig: Rig) -> None:
    told = an_order(rig, customer=None, shippingAddress=None, email=None)
    order = answering("shopify", (200, told)).fetch_order("1")
    assert order is not None
    assert (order.buyer_id, order.buyer_email, order.address.line1, order.address.country) == ("", None, "", "US")


def test_an_order_of_many_lines_is_read_whole(rig: Rig) -> None:
    lines = {f"S{number}": 1 for number in range(130)}
    for sku in lines:
        rig.list_sku(sku, 1)
    order = rig.channel.fetch_order(rig.buy(lines))
    assert order is not None
    assert {line.sku for line in order.lines} == set(lines)


@pytest.mark.parametrize("amount", ["1.001", "NaN", "many"])
def test_an_amount_that_makes_no_sense_is_refused_not_rounded(rig: Rig, amount: str) -> None:
    bag = {"shopMoney": {"amount": amount, "currencyCode": "USD"}}
    with pytest.raises(ChannelRefused):
        answering("shopify", (200, an_order(rig, currentTotalTaxSet=bag))).fetch_order("1")


def test_mixed_currencies_are_refused(rig: Rig) -> None:
    bag = {"shopMoney": {"amount": "1.00", "currencyCode": "EUR"}}
    with pytest.raises(ChannelRefused):
        answering("shopify", (200, an_order(rig, currentShippingPriceSet=bag))).fetch_order("1")


# Shipments.


def test_the_buyer_is_mailed_once(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 2})
    for number in ("9400 1000", "94001000"):
        rig.channel.confirm_shipment(order_id, ShippedParcel("USPS", number, rig.moment))
    assert rig.report(order_id)["mails"] == 1


def test_a_parcel_from_two_of_shopifys_locations_is_told_once_for_each(rig: Rig) -> None:
    rig.list_sku("A", 5)
    rig.list_sku("B", 5, location_id="70000000002")
    order_id = rig.buy({"A": 1, "B": 1})
    rig.faults(skip=1, fail=1, operations=["fulfillmentCreate"])
    parcel = ShippedParcel("UPS", "1Z999", rig.moment)
    with pytest.raises(ChannelUnavailable):
        rig.channel.confirm_shipment(order_id, parcel)
    rig.channel.confirm_shipment(order_id, parcel)
    shipments = rig.report(order_id)["shipments"]
    assert len({each["location"] for each in shipments}) == len(shipments) == 2


def test_only_what_the_parcel_holds_is_fulfilled(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 3})
    order = rig.channel.fetch_order(order_id)
    assert order is not None
    line = order.lines[0].external_line_id
    for number in ("1", "2"):
        rig.channel.confirm_shipment(order_id, ShippedParcel("UPS", number, rig.moment, {line: 1}))
    assert [each["lines"] for each in rig.report(order_id)["shipments"]] == [{line: 1}, {line: 1}]


def test_a_cancelled_order_has_nothing_to_fulfil(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1})
    rig.control("POST", "cancel", {"order_id": order_id})
    rig.channel.confirm_shipment(order_id, ShippedParcel("UPS", "1", rig.moment))
    assert rig.report(order_id)["shipments"] == []


def shipping_answers(status: str, made: dict[str, Any]) -> list[tuple[int, Any]]:
    """A fulfilment with number 1, one unit left at its location, and the answer to another fulfilment."""
    location = {"location": {"id": "gid://shopify/Location/1"}}
    line = {"id": "gid://shopify/FulfillmentOrderLineItem/1", "remainingQuantity": 1}
    lines = {"nodes": [{**line, "lineItem": {"id": "gid://shopify/LineItem/1"}}], "pageInfo": {"hasNextPage": False}}
    left = {"id": "gid://shopify/FulfillmentOrder/1", "status": "OPEN", "assignedLocation": location}
    page = {"nodes": [{**left, "lineItems": lines}], "pageInfo": {"hasNextPage": False}}
    told = {"status": status, **location, "trackingInfo": [{"number": "1"}]}
    return [
        (200, {"data": {"order": {"fulfillments": [told]}}}),
        (200, {"data": {"order": {"fulfillmentOrders": page}}}),
        (200, {"data": {"fulfillmentCreate": made}}),
    ]


@pytest.mark.parametrize(("status", "calls"), [("SUCCESS", 2), ("CANCELLED", 3)])
def test_a_fulfilment_that_was_cancelled_may_be_told_again(rig: Rig, status: str, calls: int) -> None:
    requests: list[HttpRequest] = []
    made = {"fulfillment": {"id": "gid://shopify/Fulfillment/2"}, "userErrors": []}
    channel = answering("shopify", *shipping_answers(status, made), sent=requests)
    channel.confirm_shipment("1", ShippedParcel("UPS", "1", rig.moment))
    assert len(requests) == calls


def test_a_refused_shipment_is_refused(rig: Rig) -> None:
    refused = {"fulfillment": None, "userErrors": [{"field": None, "message": "not now"}]}
    channel = answering("shopify", *shipping_answers("CANCELLED", refused))
    with pytest.raises(ChannelRefused, match="not now"):
        channel.confirm_shipment("1", ShippedParcel("UPS", "1", rig.moment))
