"""What is Etsy's alone: whole inventories, variants that share a ceiling, thin callbacks, mails to buyers."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from oms.channels.port import (
    ChannelRefused,
    ChannelThrottled,
    ListingRef,
    Quantity,
    ShippedParcel,
    SignatureInvalid,
)
from tests.support.marketplaces import Rig, answering, etsy_callback

PUT = "updateListingInventory"


@pytest.fixture
def rig() -> Rig:
    return Rig("etsy")


def variants(rig: Rig, quantities: dict[str, int], **more: Any) -> dict[str, ListingRef]:
    """One listing with a product for each SKU."""
    products = [
        {"sku": sku, "quantity": quantity, "price_minor": 1000 + 99 * position}
        for position, (sku, quantity) in enumerate(quantities.items())
    ]
    told = {"title": "Shirt", "currency": "USD", "products": products, **more}
    listed = rig.control("POST", "listings", told)["listings"]
    return {each["sku"]: ListingRef(each["sku"], each["listing_id"]) for each in listed}


def push(rig: Rig, listings: dict[str, ListingRef], wanted: dict[str, int]) -> list[tuple[bool, int]]:
    rows = [Quantity(listings[sku], quantity) for sku, quantity in wanted.items()]
    return [(each.accepted, each.quantity) for each in rig.channel.push_quantities(rows)]


def shown(rig: Rig, *skus: str) -> list[int]:
    return [rig.shown(sku) for sku in skus]


def inventories(rig: Rig) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request, _ in rig.exchanges if request.method == "PUT"]


def event(rig: Rig, **told: Any) -> bytes:
    path = "https://openapi.etsy.com/v3/application/shops/1001/receipts/77"
    return json.dumps({"event_type": "order.paid", "resource_url": path, "shop_id": 1001, **told}).encode()


# Quantities.


def test_one_sku_among_several_changes_without_touching_the_others(rig: Rig) -> None:
    listings = variants(rig, {"S": 5, "M": 6, "L": 7})
    assert push(rig, listings, {"M": 2}) == [(True, 2)]
    assert shown(rig, "S", "M", "L") == [5, 2, 7]
    (body,) = inventories(rig)
    assert [each["offerings"][0]["price"] for each in body["products"]] == [10.0, 10.99, 11.98]


def test_the_inventory_is_sent_back_in_the_form_that_a_write_takes(rig: Rig) -> None:
    listings = variants(rig, {"S": 5, "M": 6})
    push(rig, listings, {"S": 1})
    (body,) = inventories(rig)
    assert set(body) == {
        "products",
        "price_on_property",
        "quantity_on_property",
        "sku_on_property",
        "readiness_state_on_property",
    }
    assert body["products"][0] == {
        "sku": "S",
        "property_values": [
            {
                "property_id": 513,
                "property_name": "Size",
                "scale_id": None,
                "value_ids": [9001],
                "values": ["option 1"],
            }
        ],
        "offerings": [{"price": 10.0, "quantity": 1, "is_enabled": True, "readiness_state_id": 71}],
    }


def test_variants_that_share_one_quantity_are_taken_apart(rig: Rig) -> None:
    listings = variants(rig, {"S": 5, "M": 5}, shared=True)
    assert push(rig, listings, {"S": 2}) == [(True, 2)]
    assert shown(rig, "S", "M") == [2, 5]
    assert inventories(rig)[0]["quantity_on_property"] == [513]


def test_all_variants_together_stay_under_the_ceiling(rig: Rig) -> None:
    listings = variants(rig, {"S": 400, "M": 400})
    assert push(rig, listings, {"S": 800}) == [(True, 599)]
    assert shown(rig, "S", "M") == [599, 400]


def test_a_decrease_makes_room_for_an_increase_in_the_same_batch(rig: Rig) -> None:
    listings = variants(rig, {"S": 400, "M": 599})
    assert push(rig, listings, {"S": 900, "M": 99}) == [(True, 900), (True, 99)]


def test_rows_of_one_listing_share_one_write(rig: Rig) -> None:
    listings = variants(rig, {"S": 5, "M": 6})
    push(rig, listings, {"S": 1, "M": 2})
    assert rig.calls(PUT) == 1
    assert shown(rig, "S", "M") == [1, 2]


def test_a_quantity_that_stands_already_is_not_written(rig: Rig) -> None:
    listings = variants(rig, {"S": 5})
    assert push(rig, listings, {"S": 5}) == [(True, 5)]
    assert rig.calls(PUT) == 0


def test_one_variant_at_zero_leaves_the_listing_on_sale(rig: Rig) -> None:
    listings = variants(rig, {"S": 5, "M": 6})
    push(rig, listings, {"S": 0})
    assert shown(rig, "S", "M") == [0, 6]
    assert rig.calls("updateListing") == 0


def test_the_last_variant_at_zero_takes_the_listing_off_sale(rig: Rig) -> None:
    listings = variants(rig, {"S": 5, "M": 6})
    push(rig, listings, {"S": 0, "M": 0})
    assert shown(rig, "S", "M") == [0, 0]
    (request,) = [request for request, _ in rig.exchanges if request.method == "PATCH"]
    assert request.body == b"state=inactive"


def test_a_listing_that_returns_brings_no_stale_variant_back(rig: Rig) -> None:
    listings = variants(rig, {"S": 5, "M": 6})
    push(rig, listings, {"S": 0})
    push(rig, listings, {"M": 0})
    push(rig, listings, {"S": 3})
    assert shown(rig, "S", "M") == [3, 0]


def test_quantities_are_written_before_a_listing_goes_back_on_sale(rig: Rig) -> None:
    listings = variants(rig, {"S": 5})
    push(rig, listings, {"S": 0})
    rig.exchanges.clear()
    push(rig, listings, {"S": 2})
    assert [request.method for request, _ in rig.exchanges] == ["GET", "PUT", "PATCH"]


def test_a_sale_between_two_pushes_is_not_undone_for_other_variants(rig: Rig) -> None:
    listings = variants(rig, {"S": 5, "M": 6})
    push(rig, listings, {"S": 4})
    rig.buy({"M": 2})
    push(rig, listings, {"S": 3})
    assert shown(rig, "S", "M") == [3, 4]


@pytest.mark.parametrize("state", ["draft", "expired"])
def test_a_listing_that_the_seller_ended_is_left_alone(state: str) -> None:
    offering = {
        "quantity": 1,
        "is_enabled": True,
        "price": {"amount": 100, "divisor": 100, "currency_code": "USD"},
        "readiness_state_id": None,
    }
    inventory = {"products": [{"sku": "A", "offerings": [offering]}], "listing": {"state": state}}
    channel = answering("etsy", (200, inventory), (200, inventory))
    (zero,) = channel.push_quantities([Quantity(ListingRef("A", "5"), 0)])
    assert (zero.accepted, zero.quantity) == (True, 0)
    (some,) = channel.push_quantities([Quantity(ListingRef("A", "5"), 3)])
    assert (some.accepted, some.detail) == (False, f"the listing is {state}")


def test_a_sku_spread_over_several_quantities_is_refused_not_guessed(rig: Rig) -> None:
    offering = {"quantity": 1, "is_enabled": True, "price": {"amount": 1, "divisor": 1}}
    values = [{"property_id": 1, "value_ids": [number], "values": ["x"]} for number in (1, 2)]
    products = [{"sku": "A", "offerings": [offering], "property_values": [value]} for value in values]
    inventory = {
        "products": products,
        "quantity_on_property": [1],
        "listing": {"state": "active"},
    }
    channel = answering("etsy", (200, inventory))
    (result,) = channel.push_quantities([Quantity(ListingRef("A", "5"), 3)])
    assert (result.accepted, result.retryable) == (False, False)


def test_an_answer_that_shows_another_number_is_not_accepted(rig: Rig) -> None:
    offering = {"quantity": 1, "is_enabled": True, "price": {"amount": 1, "divisor": 1}}
    inventory = {"products": [{"sku": "A", "offerings": [offering]}], "listing": {"state": "active"}}
    channel = answering("etsy", (200, inventory), (200, inventory))
    (result,) = channel.push_quantities([Quantity(ListingRef("A", "5"), 3)])
    assert (result.accepted, result.quantity, result.retryable) == (False, 1, True)


def test_a_throttle_midway_keeps_what_is_done_and_asks_no_further(rig: Rig) -> None:
    rows = [Quantity(rig.list_sku(sku, 1), 9) for sku in ("A", "B", "C")]
    rig.faults(skip=2, throttle=1)
    results = rig.channel.push_quantities(rows)
    assert [(each.accepted, each.retryable) for each in results] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    assert rig.calls("getListingInventory") == 2


def test_one_listing_that_fails_does_not_hold_up_the_rest(rig: Rig) -> None:
    rows = [Quantity(rig.list_sku(sku, 1), 9) for sku in ("A", "B")]
    rig.faults(fail=1, status=500)
    results = rig.channel.push_quantities(rows)
    assert [(each.accepted, each.retryable) for each in results] == [(False, True), (True, False)]


def test_a_conflict_with_another_change_is_worth_repeating(rig: Rig) -> None:
    row = Quantity(rig.list_sku("A", 1), 9)
    other = Quantity(rig.list_sku("B", 1), 9)
    rig.faults(fail=1, status=409, operations=[PUT])
    results = rig.channel.push_quantities([row, other])
    assert [each.retryable for each in results] == [True, False]


def test_a_listing_id_that_is_no_number_never_reaches_a_url(rig: Rig) -> None:
    (result,) = rig.channel.push_quantities([Quantity(ListingRef("A", "1/../2"), 3)])
    assert not result.accepted
    assert rig.channel.read_quantities([ListingRef("A", "1,2")]) == {}
    assert rig.exchanges == []


def test_an_unknown_listing_costs_a_read_only_a_few_more_calls(rig: Rig) -> None:
    listings = [rig.list_sku(f"SKU-{n}", 1) for n in range(31)]
    listings.insert(13, ListingRef("GONE", "999"))
    assert len(rig.channel.read_quantities(listings)) == 31
    assert rig.calls("getListingsInventoryByListingIds") == 11


# Callbacks.


def test_a_bare_signature_is_believed_as_documented(rig: Rig) -> None:
    callback = etsy_callback(event(rig), rig.now, prefix="")
    assert rig.channel.read_callback(callback, rig.moment)[0].external_id == "77"


def test_one_good_signature_in_a_list_is_enough(rig: Rig) -> None:
    callback = etsy_callback(event(rig), rig.now)
    several = "v1,AAAA v1a,BBBB " + callback.headers["webhook-signature"]
    callback = replace(callback, headers={**callback.headers, "webhook-signature": several})
    assert rig.channel.read_callback(callback, rig.moment)


def test_both_secrets_hold_while_one_is_replaced(rig: Rig) -> None:
    (old,) = rig.secret["webhook_secrets"]
    new = "whsec_" + base64.b64encode(b"the secret that comes next").decode()
    rig.secret["webhook_secrets"] = [new, old]
    for secret in (new, old):
        assert rig.channel.read_callback(etsy_callback(event(rig), rig.now, secret=secret), rig.moment)


def test_without_a_secret_nobody_is_believed(rig: Rig) -> None:
    rig.secret["webhook_secrets"] = []
    with pytest.raises(SignatureInvalid):
        rig.channel.read_callback(etsy_callback(event(rig), rig.now), rig.moment)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_***"])
def test_a_secret_that_cannot_be_one_is_our_mistake_not_the_senders(rig: Rig, secret: str) -> None:
    callback = etsy_callback(event(rig), rig.now)
    rig.secret["webhook_secrets"] = [secret]
    with pytest.raises(ValueError, match="Etsy webhook secret"):
        rig.channel.read_callback(callback, rig.moment)


@pytest.mark.parametrize("seconds", [-300, 300])
def test_five_minutes_either_way_are_forgiven(rig: Rig, seconds: int) -> None:
    callback = etsy_callback(event(rig), rig.now + seconds)
    assert rig.channel.read_callback(callback, rig.moment)


def test_the_url_in_a_callback_is_never_followed(rig: Rig) -> None:
    evil = "http://169.254.169.254/v3/application/shops/1001/receipts/77"
    callback = etsy_callback(event(rig, resource_url=evil), rig.now)
    (notice,) = rig.channel.read_callback(callback, rig.moment)
    assert rig.exchanges == []
    assert rig.channel.fetch_order(notice.external_id) is None
    assert [request.url for request, _ in rig.exchanges] == ["http://etsy/v3/application/shops/1001/receipts/77"]


@pytest.mark.parametrize(
    ("told", "kinds"),
    [
        ("order.paid", ["order.created"]),
        ("order.canceled", ["order.cancelled"]),
        ("order.shipped", ["order.shipped"]),
        ("order.delivered", []),
        ("listing.updated", []),
    ],
)
def test_each_event_has_its_word(rig: Rig, told: str, kinds: list[str]) -> None:
    callback = etsy_callback(event(rig, event_type=told, shop_id="1001"), rig.now)
    assert [each.kind for each in rig.channel.read_callback(callback, rig.moment)] == kinds


def test_a_cancellation_is_told_by_callback(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1})
    rig.control("POST", "cancel", {"order_id": order_id})
    kinds = [rig.channel.read_callback(each, rig.moment)[0].kind for each in rig.callbacks()]
    assert kinds == ["order.created", "order.cancelled"]


def test_etsy_puts_no_challenge(rig: Rig) -> None:
    assert rig.channel.challenge(etsy_callback(b"", rig.now)) is None


# Orders.


def a_receipt(rig: Rig, **changes: Any) -> dict[str, Any]:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1})
    rig.channel.fetch_order(order_id)
    return {**rig.exchanges[-1][1].json(), **changes}


def test_a_withheld_address_leaves_the_country(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order = rig.channel.fetch_order(rig.buy({"A": 1}, buyer={"address_withheld": True, "country": "DE"}))
    assert order is not None
    assert (order.address.country, order.address.line1, order.address.postal_code) == ("DE", "", "")


@pytest.mark.parametrize(
    ("changes", "cancelled"),
    [
        ({"status": "canceled"}, True),
        ({"status": "fully refunded", "is_shipped": False}, True),
        ({"status": "fully refunded", "is_shipped": True}, False),
        ({"status": "partially refunded"}, False),
    ],
)
def test_what_counts_as_cancelled(rig: Rig, changes: dict[str, Any], cancelled: bool) -> None:
    order = answering("etsy", (200, a_receipt(rig, **changes))).fetch_order("1")
    assert order is not None
    assert order.cancelled is cancelled


def test_the_day_by_which_it_is_to_leave_is_the_promised_one(rig: Rig) -> None:
    rig.list_sku("A", 5)
    told = rig.channel.fetch_order(rig.buy({"A": 1}, promised_at="2026-11-26T23:59:59Z"))
    assert told is not None
    assert told.promised_for == "2026-11-26"
    silent = rig.channel.fetch_order(rig.buy({"A": 1}))
    assert silent is not None
    assert silent.promised_for == ""


def test_an_order_that_is_not_paid_says_so(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order = rig.channel.fetch_order(rig.buy({"A": 1}, paid=False))
    assert order is not None
    assert not order.paid
    assert rig.callbacks() == []


def test_amounts_follow_their_currency(rig: Rig) -> None:
    yen = {"amount": 120000, "divisor": 100, "currency_code": "JPY"}
    receipt = a_receipt(rig)
    for name, value in receipt.items():
        if isinstance(value, dict) and "divisor" in value:
            receipt[name] = yen
    receipt["transactions"][0]["price"] = yen
    order = answering("etsy", (200, receipt)).fetch_order("1")
    assert order is not None
    assert (order.grand_total, order.lines[0].unit_price) == (1200, 1200)


@pytest.mark.parametrize(
    "money",
    [
        {"amount": 1001, "divisor": 1000, "currency_code": "USD"},
        {"amount": 1, "divisor": 0, "currency_code": "USD"},
        {"amount": 1, "divisor": 100, "currency_code": "EUR"},
    ],
)
def test_an_amount_that_makes_no_sense_is_refused_not_rounded(rig: Rig, money: dict[str, Any]) -> None:
    channel = answering("etsy", (200, a_receipt(rig, total_shipping_cost=money)))
    with pytest.raises(ChannelRefused):
        channel.fetch_order("1")


def test_a_receipt_that_changes_while_pages_are_read_hides_no_other(rig: Rig) -> None:
    rig.list_sku("A", 500)
    rig.faults(callbacks="never")
    since = rig.moment
    placed = []
    for _ in range(150):
        rig.now += 1
        placed.append(rig.buy({"A": 1}))
    found: list[str] = []
    for order in rig.channel.orders_since(since):
        if not found:
            rig.now += 1
            rig.control("POST", "cancel", {"order_id": placed[3]})
        found.append(order.external_id)
    assert set(found) == set(placed)
    assert found[-1] == placed[3]


def test_more_receipts_in_a_second_than_a_page_holds_are_all_read(rig: Rig) -> None:
    rig.list_sku("A", 500)
    rig.faults(callbacks="never")
    placed = [rig.buy({"A": 1}) for _ in range(201)]
    assert [order.external_id for order in rig.channel.orders_since(rig.moment)] == placed


# Shipments.


def test_the_buyer_is_mailed_once(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1})
    for number in ("9400 1000", "94001000"):
        rig.channel.confirm_shipment(order_id, ShippedParcel("USPS", number, rig.moment))
    assert rig.report(order_id)["mails"] == 1


def test_a_dear_order_without_tracking_is_refused_by_etsy(rig: Rig) -> None:
    rig.list_sku("A", 5)
    order_id = rig.buy({"A": 1})
    with pytest.raises(ChannelRefused, match="required"):
        rig.channel.confirm_shipment(order_id, ShippedParcel("USPS", "", rig.moment))


# Budgets.


def test_etsys_own_budget_says_when_to_return() -> None:
    rig = Rig("etsy")
    listing = rig.list_sku("A", 5)
    rig.control("POST", "config", {"per_second": 3})
    for _ in range(3):
        rig.channel.read_quantities([listing])
    with pytest.raises(ChannelThrottled) as caught:
        rig.channel.read_quantities([listing])
    rig.now += caught.value.retry_after
    assert rig.channel.read_quantities([listing]) == {"A": 5}


def test_the_days_budget_takes_longer(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.control("POST", "config", {"per_day": 10})
    for _ in range(10):
        rig.channel.read_quantities([listing])
    with pytest.raises(ChannelThrottled) as caught:
        rig.channel.read_quantities([listing])
    assert caught.value.retry_after == 8640
