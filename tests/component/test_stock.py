"""Products, stock movements and what the stock route tells."""

from __future__ import annotations

from typing import Any

import pytest

from oms.inventory.movements import return_units
from oms.runtime.dynamo import ConditionsFailed
from tests.support.shop import STAFF_CLAIMS, Answer, Shop, checkout

SHIRT: dict[str, Any] = {
    "sku": "SHIRT",
    "title": "A shirt",
    "price": {"amount": 1999, "currency": "USD"},
    "barcodes": ["4006381333931"],
}


def put(shop: Shop, body: dict[str, Any], **staff: str) -> Answer:
    return shop.call(
        "inventory_sync.stock_api",
        "PUT /products/{sku}",
        body,
        path={"sku": body["sku"]},
        staff={**STAFF_CLAIMS, **staff},
    )


def move(shop: Shop, key: str, **movement: Any) -> Answer:
    body = {"type": "receive", "sku": "SHIRT", "quantity": 5, "reason": "delivery", **movement}
    return shop.call(
        "inventory_sync.stock_api",
        "POST /stock/movements",
        body,
        headers={"idempotency-key": key},
        staff=STAFF_CLAIMS,
    )


def stock(shop: Shop, sku: str = "SHIRT") -> Any:
    return shop.call("inventory_sync.stock_api", "GET /stock/{sku}", path={"sku": sku}, staff=STAFF_CLAIMS).body


def test_a_product_is_shown_as_it_was_put(shop: Shop) -> None:
    assert put(shop, SHIRT).status == 200
    answer = shop.call("inventory_sync.stock_api", "GET /products/{sku}", path={"sku": "SHIRT"}, staff=STAFF_CLAIMS)
    assert answer.body["barcodes"] == ["4006381333931"]
    assert answer.body["version"] == 1
    assert put(shop, {**SHIRT, "barcodes": []}).body["version"] == 2
    assert shop.app.inventory.sku_of_barcode("4006381333931") is None


def test_a_barcode_belongs_to_one_product(shop: Shop) -> None:
    put(shop, SHIRT)
    answer = put(shop, {**SHIRT, "sku": "MUG"})
    assert (answer.status, answer.body["errors"][0]["message"]) == (409, "4006381333931 belongs to SHIRT")


def test_only_operators_change_products(shop: Shop) -> None:
    answer = put(shop, SHIRT, **{"cognito:groups": "[warehouse]"})
    assert (answer.status, answer.body["code"]) == (403, "forbidden")


def test_a_kit_needs_parts_that_exist_and_are_no_kits(shop: Shop) -> None:
    put(shop, SHIRT)
    kit = {
        **SHIRT,
        "sku": "SET",
        "barcodes": [],
        "kit": [{"sku": "SHIRT", "quantity": 2}, {"sku": "NO", "quantity": 1}],
    }
    assert put(shop, kit).body["errors"] == [{"field": "kit[1].sku", "message": "there is no product NO"}]
    assert put(shop, {**kit, "kit": kit["kit"][:1]}).status == 200
    move(shop, "receive-0001", quantity=5)
    assert stock(shop, "SET")["available"] == 2


def test_a_movement_sent_twice_moves_once(shop: Shop) -> None:
    put(shop, SHIRT)
    first = move(shop, "receive-0001")
    assert move(shop, "receive-0001") == first
    assert move(shop, "receive-0001", quantity=6).body["code"] == "idempotency_key_reused"
    assert stock(shop)["available"] == 5


def test_every_kind_of_movement_keeps_the_identity(shop: Shop) -> None:
    put(shop, {**SHIRT, "stripes": 3})
    move(shop, "receive-0001", quantity=20)
    shop.place(checkout(("SHIRT", 4)))
    move(shop, "adjust-00001", type="adjust", quantity=-3, reason="lost in the stairwell")
    move(shop, "damage-00001", type="damage", quantity=2, reason="water")
    move(shop, "count-000001", type="count", quantity=16, reason="cycle count")
    told = stock(shop)
    assert (told["on_hand"], told["damaged"], told["available"], told["reserved"]) == (18, 2, 12, 4)
    assert shop.identity_holds("SHIRT")


def test_units_that_are_promised_cannot_be_adjusted_away(shop: Shop) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=5)
    shop.place(checkout(("SHIRT", 4)))
    answer = move(shop, "adjust-00001", type="adjust", quantity=-2, reason="shrinkage")
    assert (answer.status, answer.body["available"]) == (409, 1)
    assert shop.identity_holds("SHIRT")


@pytest.mark.parametrize(
    ("change", "field"),
    [({"quantity": 0}, "(body)"), ({"reason": ""}, "reason"), ({"type": "vanish"}, "type"), ({"sku": "?"}, "sku")],
)
def test_a_movement_with_errors_names_the_field(shop: Shop, change: dict[str, Any], field: str) -> None:
    put(shop, SHIRT)
    answer = move(shop, "receive-0001", **change)
    assert answer.status == 422
    assert field in [error["field"] for error in answer.body["errors"]]


def bins(shop: Shop) -> dict[str, int]:
    return dict(stock(shop)["facilities"]["main"]["bins"])


def test_units_lie_in_the_bin_they_were_received_into_and_move_between_bins(shop: Shop) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=6)
    move(shop, "receive-0002", quantity=4, bin="A-01")
    assert bins(shop) == {"A-01": 4, "DOCK": 6}
    assert move(shop, "put-away-001", type="put_away", quantity=5, bin="DOCK", to_bin="B-02").body["change"] == 0
    assert bins(shop) == {"A-01": 4, "B-02": 5, "DOCK": 1}
    refused = move(shop, "put-away-002", type="put_away", quantity=5, bin="A-01", to_bin="B-02")
    assert (refused.status, refused.body["available"]) == (409, 4)


def test_a_count_is_of_one_bin(shop: Shop) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=6, bin="A-01")
    move(shop, "receive-0002", quantity=4, bin="B-02")
    assert move(shop, "count-000001", type="count", quantity=3, bin="B-02").body["change"] == -1
    assert (stock(shop)["available"], bins(shop)) == (9, {"A-01": 6, "B-02": 3})


def test_quarantined_units_are_sold_only_after_their_release(shop: Shop) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=6, bin="A-01")
    move(shop, "quarantine-1", type="quarantine", quantity=4, bin="A-01", reason="smells")
    assert (stock(shop)["available"], stock(shop)["quarantined"]) == (2, 4)
    assert move(shop, "release-0001", type="release", quantity=5).status == 409
    move(shop, "release-0002", type="release", quantity=3, bin="A-01")
    assert (stock(shop)["available"], bins(shop)) == (5, {"A-01": 5, "QUARANTINE": 1})
    assert shop.identity_holds("SHIRT")


def test_damaged_units_are_scrapped_and_no_others(shop: Shop) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=6)
    move(shop, "damage-00001", type="damage", quantity=2, reason="water")
    assert move(shop, "scrap-000001", type="scrap", quantity=3).status == 409
    assert move(shop, "scrap-000002", type="scrap", quantity=2).body["on_hand"] == -2
    assert (stock(shop)["on_hand"], stock(shop)["damaged"], bins(shop)) == (4, 0, {"DOCK": 4})


@pytest.mark.parametrize(("to", "available", "quarantined"), [("stock", 3, 0), ("quarantine", 1, 2)])
def test_a_return_comes_back_once(shop: Shop, to: str, available: int, quarantined: int) -> None:
    put(shop, SHIRT)
    move(shop, "receive-0001", quantity=1)
    told: Any = {"cause": "return:R1:1", "reason": "too small", "actor": "staff:kim"}

    def come_back() -> None:
        writes = return_units(shop.app.inventory, "SHIRT", 2, facility="main", to=to, now=shop.now, **told)
        shop.app.inventory.table.transact(writes)

    come_back()
    shop.later(seconds=5)
    with pytest.raises(ConditionsFailed) as again:
        come_back()
    assert again.value.of("journal")
    assert (stock(shop)["available"], stock(shop)["quarantined"]) == (available, quarantined)
    assert shop.identity_holds("SHIRT")


def test_zones_say_which_bins_a_facility_has(shop: Shop) -> None:
    path = {"facility": "main", "zone": "small-parts"}
    body = {"name": "Small parts", "bins": ["A-01", "A-02"]}
    route = "PUT /facilities/{facility}/zones/{zone}"
    told = shop.call("inventory_sync.stock_api", route, body, path=path, staff=STAFF_CLAIMS).body
    listed = shop.call(
        "inventory_sync.stock_api", "GET /facilities/{facility}/zones", path={"facility": "main"}, staff=STAFF_CLAIMS
    )
    assert listed.body == {"zones": [told]}
