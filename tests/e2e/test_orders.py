"""Lives of orders: abandoned, cancelled, and sold and shipped for a marketplace."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from local.client import Client, checkout, gtin
from local.reports import Stage
from tests.e2e.conftest import Abandoned
from tests.e2e.inside import Inside

PATIENCE = 40.0


def offered_task(client: Client, stage: Stage, order_id: str, kind: str) -> Any:
    """Wait until the warehouse is offered this task of an order."""
    stage.wait(f"a {kind} is offered", lambda: client.task_of(order_id, kind) is not None, PATIENCE)
    return client.task_of(order_id, kind)


def test_an_order_cancelled_before_dispatch_gives_stock_and_money_back_and_stops_the_work(
    client: Client, inside: Inside, stage: Stage, sku: str
) -> None:
    client.stock_up(sku, 10)
    placed = client.place(checkout((sku, 4))).expect(201)
    client.pay(placed).expect(200)
    task = offered_task(client, stage, placed["order_id"], "pick")

    client.cancel(placed).expect(200)

    stage.wait("the money is given back", lambda: client.order(placed)["payment"]["status"] == "refunded", PATIENCE)
    stage.wait("the work is stopped", lambda: inside.runs(placed["order_id"]) == ["ABORTED"], PATIENCE)
    order = client.order(placed)
    assert order["status"] == "cancelled"
    assert order["payment"]["refunded"] == order["payment"]["captured"] == order["total"]
    stage.wait(
        "the refund has arrived",
        lambda: [refund["status"] for refund in client.order(placed)["refunds"]] == ["succeeded"],
        PATIENCE,
    )
    assert {shipment["status"] for shipment in order["shipments"]} == {"cancelled"}
    stock = client.stock(sku)
    assert (stock["available"], stock["allocated"], stock["reserved"], stock["on_hand"]) == (10, 0, 0, 10)
    assert client.task_of(placed["order_id"], "pick") is None
    assert client.task(task["task_id"], "scans", {"sku": sku}).status == 409
    assert client.cancel(placed).expect(200)["status"] == "cancelled"


def test_a_marketplace_hears_of_its_parcel(client: Client, stage: Stage, sku: str) -> None:
    client.stock_up(sku, 10, barcodes=[gtin(f"9{int(sku[5:], 16):011d}")])
    client.list_on("ebay", sku)
    stage.wait("eBay shows the stock", lambda: client.shown("ebay", sku) == 10, PATIENCE)
    external_id = client.buy_on("ebay", [(sku, 2)])
    found: list[str] = []

    def offered() -> bool:
        found[:] = [t["order_id"] for t in client.open_tasks() if any(unit["sku"] == sku for unit in t["units"])]
        return bool(found)

    stage.wait("its order is to be picked", offered, PATIENCE)
    for kind in ("pick", "pack"):
        task = offered_task(client, stage, found[0], kind)
        client.task(task["task_id"], "start").expect(200)
        client.task(task["task_id"], "scans", {"barcode": task["units"][0]["barcodes"][0], "quantity": 2}).expect(200)
        client.task(task["task_id"], "complete").expect(200)

    def told() -> list[dict[str, object]]:
        report = client.sim("ebay", "GET", f"/_sim/orders/{external_id}").expect(200)
        shipments: list[dict[str, object]] = report["shipments"]
        return shipments

    stage.wait("eBay is told", lambda: len(told()) == 1, PATIENCE)
    order = client.order_as_staff(found[0])
    tracking = order["shipments"][0]["tracking_number"]
    assert tracking
    assert tracking in str(told()[0])
    stock = client.stock(sku)
    assert (stock["available"], stock["on_hand"], stock["allocated"]) == (8, 8, 0)


def test_a_declined_card_ships_nothing(client: Client, inside: Inside, sku: str) -> None:
    client.stock_up(sku, 3)
    placed = client.place(checkout((sku, 1))).expect(201)
    assert client.pay(placed, "pm_card_visa_chargeDeclined").status == 402
    order = client.order(placed)
    assert (order["status"], order["payment"]["captured"], order["shipments"]) == ("placed", 0, [])
    assert inside.runs(placed["order_id"]) == []


def test_an_order_that_nobody_pays_gives_its_stock_back_exactly_once(
    client: Client, inside: Inside, stage: Stage, abandoned: Abandoned
) -> None:
    placed = abandoned.placed
    left = (datetime.fromisoformat(placed["expires_at"]) - datetime.now(UTC)).total_seconds()
    time.sleep(max(0.0, left) + 0.1)

    with ThreadPoolExecutor(3) as together:
        swept = list(together.map(lambda _: client.sweep(), range(3)))

    assert all(run["failed"] == 0 for run in swept)
    assert client.order(placed)["status"] == "expired"
    stock = client.stock(abandoned.sku)
    assert (stock["available"], stock["on_hand"]) == (abandoned.received, abandoned.received)
    assert inside.history(placed["order_id"]).count("OrderExpired") == 1
    stage.wait(
        "the payment is called off",
        lambda: {each["status"] for each in inside.intents(placed["order_id"])} == {"canceled"},
        PATIENCE,
    )
    assert client.pay(placed).status >= 400
