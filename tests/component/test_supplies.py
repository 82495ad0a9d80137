"""Units outside and on their way: transfers, purchases, consignment, counts, and why a number is what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.component.test_channels import buys, on_sale, spread_word
from tests.component.test_stock import bins, move, put, stock
from tests.support.shop import STAFF_CLAIMS, Answer, Shop, checkout

SHIRT: dict[str, Any] = {"sku": "SHIRT", "title": "A shirt", "price": {"amount": 1999, "currency": "USD"}}


def call(
    shop: Shop, route: str, body: Any = None, key: str = "", query: Mapping[str, str] | None = None, **path: str
) -> Answer:
    headers = {"idempotency-key": key} if key else {}
    return shop.call(
        "inventory_sync.stock_api", route, body, headers=headers, path=path, query=query, staff=STAFF_CLAIMS
    )


def supplies(shop: Shop) -> list[tuple[str, int]]:
    return [(each["kind"], each["quantity"]) for each in stock(shop)["supplies"]]


@pytest.mark.parametrize("arrived", [3, 4, 6])
def test_a_transfer_is_on_its_way_until_it_is_received_and_differences_are_written_down(
    shop: Shop, arrived: int
) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=10, bin="A-01")
    body = {"sku": "SHIRT", "quantity": 4, "origin": "main", "target": "store-2", "bin": "A-01", "reason": "rebalance"}
    sent = call(shop, "POST /transfers", body, "transfer-0001")
    assert call(shop, "POST /transfers", body, "transfer-0001") == sent
    assert (stock(shop)["available"], supplies(shop)) == (6, [("transfer", 4)])
    assert shop.identity_holds("SHIRT")
    transfer = sent.body["transfer_id"]
    assert call(shop, "GET /transfers").body["transfers"] == [sent.body]
    route = "POST /transfers/{id}/receipt"
    got = call(shop, route, {"quantity": arrived, "bin": "B-01"}, "receipt-00001", id=transfer)
    assert (got.body["state"], got.body["difference"]) == ("received", arrived - 4)
    assert call(shop, route, {"quantity": 1}, "receipt-00002", id=transfer).status == 409
    told = stock(shop)
    assert (told["available"], told["facilities"]["store-2"]["bins"], told["supplies"]) == (
        6 + arrived,
        {"B-01": arrived},
        [],
    )
    assert shop.identity_holds("SHIRT")
    assert call(shop, "GET /transfers").body["transfers"] == []


def test_what_is_on_its_way_may_say_when_it_is_expected(shop: Shop) -> None:
    put(shop, SHIRT)
    body = {"kind": "en_route", "quantity": 7, "expected_at": "2026-12-24T09:00:00+01:00"}
    put_boat = "PUT /stock/{sku}/supplies/{supply}"
    assert call(shop, put_boat, body, sku="SHIRT", supply="boat").status == 200
    assert stock(shop)["supplies"][0]["expected_at"] == "2026-12-24T08:00:00.000Z"
    for wrong in ("tomorrow", "2026-12-24T09:00:00", "0001-01-01T00:00:00+14:00", 1_798_000_000):
        refused = call(shop, put_boat, {**body, "expected_at": wrong}, sku="SHIRT", supply="boat")
        assert (refused.status, refused.body["errors"][0]["field"]) == (422, "expected_at"), wrong


def test_promised_units_cannot_be_transferred_away(shop: Shop) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=5)
    shop.place(checkout(("SHIRT", 3)))
    body = {"sku": "SHIRT", "quantity": 4, "origin": "main", "target": "store-2", "reason": "rebalance"}
    assert call(shop, "POST /transfers", body, "transfer-0001").status == 409
    assert shop.identity_holds("SHIRT")


def test_a_purchase_is_received_line_by_line_with_more_or_less_than_ordered(shop: Shop) -> None:
    put(shop, {**SHIRT, "vendors": [{"vendor": "Mill", "lead_time_days": 10}]})
    put(shop, {**SHIRT, "sku": "MUG"})
    body = {"vendor": "Mill", "lines": [{"sku": "SHIRT", "quantity": 5}, {"sku": "MUG", "quantity": 4}]}
    ordered = call(shop, "POST /purchases", body, "purchase-0001").body
    assert ordered["expected_at"].startswith("2026-12-03")
    assert supplies(shop) == [("purchase", 5)]
    route, purchase = "POST /purchases/{id}/receipts", ordered["purchase_id"]
    first = call(shop, route, {"sku": "SHIRT", "quantity": 2}, "receipt-00001", id=purchase)
    assert call(shop, route, {"sku": "SHIRT", "quantity": 2}, "receipt-00001", id=purchase) == first
    assert (supplies(shop), stock(shop)["available"]) == ([("purchase", 3)], 2)
    over = call(shop, route, {"sku": "SHIRT", "quantity": 4}, "receipt-00002", id=purchase).body
    assert [line["difference"] for line in over["lines"]] == [-4, 1]
    closed = call(shop, "POST /purchases/{id}/close", {"reason": "mill burnt down"}, "close-000001", id=purchase).body
    assert (closed["state"], closed["closed_because"]) == ("closed", "mill burnt down")
    assert (supplies(shop), stock(shop, "MUG")["supplies"]) == ([], [])
    assert call(shop, "GET /purchases").body["purchases"] == []


def test_consigned_units_are_at_the_retailer_until_sold_or_sent_back(shop: Shop) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=10)
    move(shop, "consign-0001", type="consign", quantity=6, retailer="Corner shop")
    assert (stock(shop)["available"], supplies(shop)) == (4, [("at_retailer", 6)])
    move(shop, "consign-0002", type="consign_sold", quantity=4, retailer="Corner shop")
    move(shop, "consign-0003", type="consign_return", quantity=1, retailer="Corner shop")
    assert (stock(shop)["available"], supplies(shop)) == (5, [("at_retailer", 1)])
    assert move(shop, "consign-0004", type="consign_sold", quantity=2, retailer="Corner shop").status == 409
    assert shop.identity_holds("SHIRT")


def test_a_count_is_blind_until_it_is_done_and_then_told_with_its_differences(shop: Shop) -> None:
    put(shop, SHIRT)
    put(shop, {**SHIRT, "sku": "MUG"})
    move(shop, "receive-0001", quantity=5, bin="A-01")
    move(shop, "receive-0002", quantity=3, bin="A-01", sku="MUG")
    shop.place(checkout(("MUG", 3)))
    body = {"bin": "A-01", "skus": ["SHIRT", "MUG"], "reason": "monthly"}
    asked = call(shop, "POST /counts", body, "count-task-01").body
    count = asked["count_id"]
    route = "POST /counts/{id}/results"
    half = call(shop, route, {"sku": "SHIRT", "quantity": 4}, "found-000001", id=count).body
    assert (half["to_count"], "expected" in str(half)) == (["MUG"], False)
    assert call(shop, "GET /counts/{id}/variance", id=count).status == 409
    call(shop, route, {"sku": "MUG", "quantity": 2}, "found-000002", id=count)
    report = call(shop, "GET /counts/{id}/variance", id=count).body
    assert [(each["sku"], each["variance"], each["state"]) for each in report["results"]] == [
        ("MUG", -1, "disputed"),
        ("SHIRT", -1, "applied"),
    ]
    assert (bins(shop), stock(shop, "MUG")["on_hand"]) == ({"A-01": 4}, 3)
    assert call(shop, "GET /counts").body["counts"] == []
    assert shop.identity_holds("SHIRT", "MUG")


def test_a_number_is_explained_by_a_chain_that_adds_up(shop: Shop) -> None:
    put(shop, {**SHIRT, "safety_stock": 2})
    move(shop, "receive-0001", quantity=20)
    shop.later(seconds=1)
    move(shop, "damage-00001", type="damage", quantity=1, reason="water")
    placed = shop.place(checkout(("SHIRT", 4)))
    shop.place(checkout(("SHIRT", 3)), "checkout-0002")
    shop.cancel(placed)
    shop.list_on("etsy", buffer=1)
    told = call(shop, "GET /explain/stock/{sku}", sku="SHIRT").body
    assert (told["number"], told["adds_up"], told["chain"][-1]["balance"]) == (16, True, 16)
    assert [link["units"] for link in told["chain"]][:4] == [0, 20, -1, -3]
    unheard = call(shop, "GET /explain/stock/{sku}", sku="SHIRT", query={"channel": "etsy"}).body
    assert (unheard["adds_up"], unheard["differences"]) == (False, ["etsy was never told"])
    assert unheard["chain"][-1]["balance"] == 13


def test_why_484(shop: Shop) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=500)
    for channel in ("etsy", "ebay"):
        on_sale(shop, channel, "SHIRT", 0)
    spread_word(shop)
    buys(shop, "etsy", 6)
    buys(shop, "ebay", 10)
    shop.deliver_all()
    spread_word(shop)
    told = call(shop, "GET /explain/stock/{sku}", sku="SHIRT", query={"channel": "etsy"}).body
    assert (told["number"], told["adds_up"], told["differences"]) == (484, True, [])
    assert [(link["what"], link["units"], link["balance"]) for link in told["chain"]] == [
        ("opening balance", 0, 0),
        ("receive at main", 500, 500),
        ("sales on ebay, less what cancelled orders gave back", -10, 490),
        ("sales on etsy, less what cancelled orders gave back", -6, 484),
        ("given to waiting orders out of what came in for them", 0, 484),
        ("kept for orders that wait", 0, 484),
        ("safety stock, told to no channel", 0, 484),
        ("terms of the listing on etsy", 0, 484),
        ("message: the stock changed", 0, 484),
        ("request: etsy was asked to show 484", 0, 484),
        ("acknowledgement: etsy shows 484", 0, 484),
    ]
    received, (message, request, acknowledged) = told["chain"][1], told["chain"][-3:]
    assert (received["actor"], received["reason"]) == ("staff:kim", "delivery")
    assert message["version"] == acknowledged["version"] == told["version"]
    assert (request["changes_since"], message["at"] <= acknowledged["at"]) == (0, True)


def test_a_sale_that_the_channel_was_not_told_of_yet_is_a_push_that_is_due(shop: Shop) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=500)
    on_sale(shop, "etsy", "SHIRT", 0)
    spread_word(shop)
    shop.place(checkout(("SHIRT", 6)))
    told = call(shop, "GET /explain/stock/{sku}", sku="SHIRT", query={"channel": "etsy"}).body
    assert (told["number"], told["adds_up"], told["chain"][-2]["changes_since"]) == (500, False, 1)
    assert told["differences"] == ["etsy was told 500, and 494 is right since then: a push is due"]


def test_a_chain_that_does_not_add_up_says_so(shop: Shop) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=20)
    table = shop.app.inventory.table
    table.client.update_item(
        TableName=table.name,
        Key=table.key("SKU#SHIRT", "STOCK#0"),
        UpdateExpression="SET available = :n",
        ExpressionAttributeValues={":n": {"N": "18"}},
    )
    told = call(shop, "GET /explain/stock/{sku}", sku="SHIRT").body
    assert (told["adds_up"], told["differences"]) == (False, ["the chain comes to 20 and 18 may be promised"])
