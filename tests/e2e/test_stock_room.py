"""Units on their way, counted, ordered and waited for, on the deployed stack."""

from __future__ import annotations

from typing import Any

import pytest

from local.client import Client
from local.reports import Stage
from tests.e2e.people import People


@pytest.fixture
def people(client: Client, stage: Stage) -> People:
    return People(client, stage)


def test_units_are_transferred_counted_bought_and_set_apart_and_the_number_is_explained(
    people: People, sku: str
) -> None:
    client = people.client
    client.stock_up(sku, 10, low_stock_at=30)
    sent = {"sku": sku, "quantity": 4, "origin": "main", "target": "store", "reason": "rebalance"}
    transfer = people.ask("ops", "POST", "/transfers", sent)
    assert (client.stock(sku)["available"], client.stock(sku)["supplies"][0]["quantity"]) == (6, 4)
    path = f"/transfers/{transfer['transfer_id']}"
    assert people.ask("ops", "GET", path)["state"] == "in_transit"
    assert people.ask("ops", "POST", f"{path}/receipt", {"quantity": 3})["difference"] == -1
    assert transfer["transfer_id"] not in str(people.ask("ops", "GET", "/transfers"))

    count = people.ask("ops", "POST", "/counts", {"skus": [sku], "reason": "monthly"})
    path = f"/counts/{count['count_id']}"
    assert "expected" not in str(people.ask("warehouse", "GET", path)), "a count is blind"
    people.ask("warehouse", "POST", f"{path}/results", {"sku": sku, "quantity": 5})
    (found,) = people.ask("ops", "GET", f"{path}/variance")["results"]
    assert (found["variance"], found["state"]) == (-1, "applied")
    assert people.ask("ops", "GET", "/counts")["counts"] is not None

    bought = people.ask("ops", "POST", "/purchases", {"vendor": "Mill", "lines": [{"sku": sku, "quantity": 20}]})
    path = f"/purchases/{bought['purchase_id']}"
    people.ask("ops", "POST", f"{path}/receipts", {"sku": sku, "quantity": 12})
    assert people.ask("ops", "GET", path)["lines"][0]["difference"] == -8
    assert people.ask("ops", "POST", f"{path}/close", {"reason": "mill burnt down"})["state"] == "closed"
    assert client.stock(sku)["available"] == 5 + 3 + 12
    boat = {"kind": "en_route", "quantity": 7, "expected_at": "2030-01-01T00:00:00Z"}
    people.ask("ops", "PUT", f"/stock/{sku}/supplies/boat", boat)
    assert [each["quantity"] for each in client.stock(sku)["supplies"]] == [7]

    for kind, units in (("damage", 2), ("scrap", 1), ("quarantine", 3), ("release", 1)):
        client.move_stock(kind, sku, units, reason="water").expect(201)
    people.ask(
        "ops",
        "POST",
        "/stock/movements",
        {"type": "put_away", "sku": sku, "quantity": 2, "to_bin": "01-01", "reason": "sorted"},
    )
    stock = client.stock(sku)
    main = stock["facilities"]["main"]
    assert (stock["available"], main["damaged"], main["quarantined"], main["bins"]["01-01"]) == (16, 1, 2, 2)
    people.ask("ops", "PUT", "/facilities/main/zones/front", {"name": "Front", "bins": ["01-01"]})
    assert "front" in str(people.ask("ops", "GET", "/facilities/main/zones"))
    told = people.ask("ops", "GET", f"/explain/stock/{sku}")
    assert (told["number"], told["adds_up"]) == (16, True)
    people.until("what runs low is noticed", lambda: sku in str(people.ask("ops", "GET", "/alerts/stock")))
    assert {each["channel"] for each in people.ask("ops", "GET", "/channels")["channels"]} >= {"etsy", "amazon"}


def test_an_order_that_waits_for_stock_gets_what_comes_in_and_is_sent(people: People, sku: str) -> None:
    client = people.client
    client.stock_up(sku, 1, backorder=True)
    placed = people.paid((sku, 3))
    assert client.order(placed)["backordered"][0]["waiting"] == 2
    client.move_stock("receive", sku, 5, reason="delivery").expect(201)
    people.until("it waits for nothing", lambda: client.order(placed)["backordered"][0]["waiting"] == 0)
    order = client.order(placed)
    assert order["backordered"][0]["quantity"] == 2
    people.pick_and_pack(placed)
    people.until("it is sent", lambda: client.order(placed)["status"] == "completed")
    stock = client.stock(sku)
    assert (stock["available"], stock["on_hand"]) == (3, 3)


def test_an_import_is_uploaded_by_link_and_can_be_stopped(people: People, sku: str) -> None:
    client = people.client
    job = people.ask("ops", "POST", "/products/imports", {"format": "csv"})
    body = f"sku,title,price,currency\n{sku},Mug,1.50,USD\n".encode()
    sent = client.request("PUT", job["upload"]["url"], body, {"content-type": "text/csv"})
    assert sent.status == 200
    people.ask("ops", "POST", f"/products/imports/{job['id']}/start")

    def read() -> Any:
        return people.ask("ops", "GET", f"/products/imports/{job['id']}")

    people.until("the import ends", lambda: read()["status"] in ("completed", "failed"))
    assert (read()["status"], read()["counts"]) == ("completed", {"created": 1})
    other = people.ask("ops", "POST", "/products/imports", {"format": "csv"})
    assert people.ask("ops", "POST", f"/products/imports/{other['id']}/cancel")["status"] == "cancelled"
    assert client.api("PATCH", f"/products/{sku}", {"title": "A mug"}, staff="ops", key=client.new_key()).status == 200
    assert [each["title"] for each in people.ask("ops", "GET", f"/products?sku={sku}")["products"]] == ["A mug"]
