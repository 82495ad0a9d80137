"""Products: patched at the same time, archived, consisting of one another, and found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from oms.channels.sync import changes_in
from oms.runtime.dynamo import to_item
from tests.support.shop import STAFF_CLAIMS, Answer, Shop, checkout, open_shop


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """One shop for all: every test has products of its own."""
    with open_shop() as opened:
        yield opened


def call(shop: Shop, method: str, sku: str, body: Any = None, **headers: str) -> Answer:
    route = f"{method} /products/{{sku}}"
    return shop.call("inventory_sync.stock_api", route, body, path={"sku": sku}, headers=headers, staff=STAFF_CLAIMS)


def put(shop: Shop, sku: str, **changes: Any) -> Answer:
    told = {"sku": sku, "title": sku.title(), "price": {"amount": 1999, "currency": "USD"}, **changes}
    return call(shop, "PUT", sku, told)


def find(shop: Shop, **query: str) -> list[str]:
    """The SKUs that a search finds, all pages of it."""
    found: list[str] = []
    asked: dict[str, str] = dict(query)
    while True:
        answer = shop.call("inventory_sync.stock_api", "GET /products", query=asked, staff=STAFF_CLAIMS)
        assert answer.status == 200, answer
        found += [product["sku"] for product in answer.body["products"]]
        if not answer.body["next_cursor"]:
            return found
        asked["cursor"] = answer.body["next_cursor"]


def message(answer: Answer) -> str:
    (entry,) = answer.body["errors"]
    return f"{entry['field']}: {entry['message']}"


class TestPatch:
    def test_a_patch_changes_what_it_names_and_null_removes(self, shop: Shop) -> None:
        put(shop, "P1", specs={"color": "blue", "size": "M"}, weight_grams=200, hs_code="610910", origin_country="PT")
        patch = {"title": "New", "specs": {"color": None, "fit": "slim"}, "weight_grams": None}
        told = call(shop, "PATCH", "P1", patch).body
        assert (told["title"], told["specs"], told["weight_grams"]) == ("New", {"size": "M", "fit": "slim"}, 0)
        assert (told["hs_code"], told["origin_country"]) == ("610910", "PT")

    def test_patches_at_the_same_time_do_not_lose_one_another(self, shop: Shop) -> None:
        put(shop, "P2", specs={"a": "0", "b": "0"})
        client = shop.app.inventory.table.client
        write, others = client.transact_write_items, iter(["b", "c"])

        def overtaken(**request: Any) -> Any:
            if other := next(others, None):
                call(shop, "PATCH", "P2", {"specs": {other: "1"}})
            return write(**request)

        client.transact_write_items = overtaken
        try:
            told = call(shop, "PATCH", "P2", {"specs": {"a": "1"}}).body
        finally:
            client.transact_write_items = write
        assert told["specs"] == {"a": "1", "b": "1", "c": "1"}

    def test_a_patch_of_what_was_read_is_refused_when_it_has_changed(self, shop: Shop) -> None:
        put(shop, "P3")
        etag = call(shop, "GET", "P3").headers["etag"]
        assert call(shop, "PATCH", "P3", {"title": "First"}, **{"if-match": etag}).status == 200
        late = call(shop, "PATCH", "P3", {"title": "Second"}, **{"if-match": etag})
        assert (late.status, late.body["version"]) == (412, 2)
        assert call(shop, "PATCH", "P3", {"title": "Second", "version": 1}).status == 412
        assert call(shop, "GET", "P3").body["title"] == "First"

    def test_nothing_is_written_when_nothing_changes(self, shop: Shop) -> None:
        put(shop, "P4")
        assert put(shop, "P4").body["version"] == 1

    def test_a_patch_says_what_is_wrong(self, shop: Shop) -> None:
        put(shop, "P5")
        assert message(call(shop, "PATCH", "P5", {"price": {"amount": 0}})).startswith("price.amount")
        assert message(call(shop, "PATCH", "P5", {"colour": "red"})).startswith("colour")
        assert message(call(shop, "PATCH", "P5", {"sku": "P6"})).startswith("sku")
        assert call(shop, "PATCH", "NONE", {"title": "x"}).status == 404


class TestArchive:
    def test_an_archived_product_is_not_sold_and_shown_by_no_channel(self, shop: Shop) -> None:
        shop.stock_up("A1", 5)
        call(shop, "PATCH", "A1", {"archived": True})
        refused = shop.place(checkout(("A1", 1)), key="archived-0001")
        assert (refused.status, message(refused)) == (422, "lines[0].sku: A1 is no longer sold")
        assert shop.app.inventory.sellable("A1").available == 0
        call(shop, "PATCH", "A1", {"archived": False})
        assert shop.place(checkout(("A1", 1)), key="archived-0002").status == 201

    def test_channels_hear_of_it(self, shop: Shop) -> None:
        shop.stock_up("A2", 5)
        shop.list_on("etsy", "A2")
        call(shop, "PATCH", "A2", {"archived": True})
        offer = shop.app.inventory.table.get("SKU#A2", "OFFER")
        assert offer
        changes = changes_in([{"dynamodb": {"NewImage": to_item(offer)}}], shop.app.inventory, ["ebay", "etsy"])
        assert [change.sku for change in changes["etsy"]] == ["A2"]

    def test_putting_it_leaves_it_archived(self, shop: Shop) -> None:
        put(shop, "A3")
        call(shop, "PATCH", "A3", {"archived": True})
        assert put(shop, "A3", title="Other").body["archived"] is True


class TestKits:
    def test_a_part_stays_a_part_while_a_kit_uses_it(self, shop: Shop) -> None:
        put(shop, "K-PART")
        put(shop, "K-OTHER")
        kit = [{"sku": "K-PART", "quantity": 2}]
        put(shop, "K-SET", kit=kit)
        assert message(put(shop, "K-SETS", kit=[{"sku": "K-SET", "quantity": 1}])).endswith("K-SET is a kit itself")
        gone = call(shop, "PATCH", "K-PART", {"archived": True})
        assert (gone.status, gone.body["detail"]) == (
            409,
            "K-PART is a part of K-SET and cannot be archived meanwhile.",
        )
        assert call(shop, "PATCH", "K-PART", {"kit": [{"sku": "K-OTHER", "quantity": 1}]}).status == 409
        call(shop, "PATCH", "K-SET", {"archived": True})
        assert call(shop, "PATCH", "K-PART", {"archived": True}).status == 200
        back = call(shop, "PATCH", "K-SET", {"archived": False})
        assert message(back) == "kit[0].sku: K-PART is archived"

    def test_a_part_that_becomes_a_kit_meanwhile_is_noticed(self, shop: Shop) -> None:
        for sku in ("R-PART", "R-OTHER"):
            put(shop, sku)
        client = shop.app.inventory.table.client
        write, once = client.transact_write_items, iter([1])

        def overtaken(**request: Any) -> Any:
            if next(once, None):
                put(shop, "R-SET", kit=[{"sku": "R-PART", "quantity": 1}])
            return write(**request)

        client.transact_write_items = overtaken
        try:
            answer = put(shop, "R-PART", kit=[{"sku": "R-OTHER", "quantity": 1}])
        finally:
            client.transact_write_items = write
        assert answer.status == 409


@pytest.fixture(scope="module")
def goods(shop: Shop) -> None:
    """Some products to be found."""
    acme: Mapping[str, Any] = {"vendor": "Acme Ltd", "vendor_sku": "AC-77", "cost": 450, "lead_time_days": 9}
    put(shop, "Z-RED-M", title="Crème Cotton-Shirt, red", specs={"Color": "Red"}, vendors=[acme])
    put(shop, "Z-RED-L", title="Cotton shirts red", specs={"Color": "red"}, barcodes=["036000291452"])
    put(shop, "Z-BLUE", title="Shirt shirting blue", specs={"Color": "blue"})
    put(shop, "Z-OLD", title="Shirt of old")
    call(shop, "PATCH", "Z-OLD", {"archived": True})


@pytest.mark.usefixtures("goods")
class TestFinding:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"q": "shi"}, ["Z-BLUE", "Z-RED-M", "Z-RED-L"]),
            ({"q": "CREME shirt"}, ["Z-RED-M"]),
            ({"q": "re cott"}, ["Z-RED-M", "Z-RED-L"]),
            ({"q": "shirt", "archived": "any"}, ["Z-OLD", "Z-BLUE", "Z-RED-M", "Z-RED-L"]),
            ({"q": "shirt", "archived": "true"}, ["Z-OLD"]),
            ({"sku": "z-red"}, ["Z-RED-L", "Z-RED-M"]),
            ({"sku": "z-red", "q": "shirts"}, ["Z-RED-L"]),
            ({"barcode": "0036000291452"}, ["Z-RED-L"]),
            ({"barcode": "4006381333931"}, []),
            ({"vendor": "ACME ltd"}, ["Z-RED-M"]),
            ({"vendor": "acme ltd", "vendor_sku": "ac-"}, ["Z-RED-M"]),
            ({"vendor": "acme ltd", "vendor_sku": "b"}, []),
            ({"spec": "color:RED"}, ["Z-RED-L", "Z-RED-M"]),
            ({"spec": "color:red", "q": "creme"}, ["Z-RED-M"]),
        ],
    )
    def test_products_are_found(self, shop: Shop, query: dict[str, str], found: list[str]) -> None:
        assert sorted(find(shop, **query)) == sorted(found)
        assert find(shop, limit="1", **query) == find(shop, **query)

    def test_what_is_no_longer_true_is_no_longer_found(self, shop: Shop) -> None:
        put(shop, "Y-1", title="Lantern", specs={"Fuel": "oil"}, vendors=[{"vendor": "Dietz"}], barcodes=["Y-CODE"])
        put(shop, "Y-1", title="Lamp")
        assert [find(shop, **query) for query in ({"q": "lant"}, {"spec": "fuel:oil"}, {"vendor": "dietz"})] == [[]] * 3
        assert find(shop, q="lam") == ["Y-1"]
        assert find(shop, barcode="Y-CODE") == []

    def test_all_products_are_listed_by_sku(self, shop: Shop) -> None:
        put(shop, "1-FIRST")
        everything = find(shop, archived="any", limit="3")
        assert everything == sorted(set(everything), key=str.lower)
        assert {"1-FIRST", "Z-OLD", "Z-RED-M"} <= set(everything)

    def test_a_search_that_makes_no_sense_is_refused(self, shop: Shop) -> None:
        for query in ({"vendor_sku": "A"}, {"spec": "red"}, {"cursor": "x"}, {"limit": "0"}, {"colour": "red"}):
            assert shop.call("inventory_sync.stock_api", "GET /products", query=query, staff=STAFF_CLAIMS).status == 422

    def test_listings_are_shown_with_the_product(self, shop: Shop) -> None:
        put(shop, "L-1")
        shop.list_on("etsy", "L-1", buffer=2)
        assert call(shop, "GET", "L-1").body["listings"]["etsy"]["buffer"] == 2
