"""The last units go to exactly so many buyers, and everything that comes five times happens once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.client import Answer, Client, checkout
from local.reports import Stage
from tests.e2e.inside import Inside, crowded, persist

BUYERS = 64
PATIENCE = 40.0


@pytest.mark.parametrize("stripes", [1, 4])
def test_of_64_buyers_at_once_exactly_20_get_the_20_units(
    client: Client, inside: Inside, sku: str, stripes: int
) -> None:
    client.stock_up(sku, 20, stripes=stripes)

    def buy(number: int) -> Answer:
        return persist(lambda: client.place(checkout((sku, 1)), key=f"{sku}-buyer-{number:03d}"))

    with ThreadPoolExecutor(BUYERS) as together:
        answers = list(together.map(buy, range(BUYERS)))

    assert Counter(answer.status for answer in answers) == {201: 20, 409: BUYERS - 20}
    refused = [answer.body for answer in answers if answer.status == 409]
    assert {body["code"] for body in refused} == {"out_of_stock"}
    assert all(body["items"] == [{"sku": sku, "requested": 1, "available": 0}] for body in refused)
    assert client.stock(sku)["available"] == 0
    assert inside.adds_up(sku, [answer.body for answer in answers if answer.status == 201])


def test_the_same_order_sent_five_times_at_once_is_one_order(client: Client, inside: Inside, sku: str) -> None:
    client.stock_up(sku, 20)
    body, key = checkout((sku, 3)), client.new_key()

    with ThreadPoolExecutor(5) as together:
        answers = list(together.map(lambda _: persist(lambda: client.place(body, key)), range(5)))

    first = answers[0].expect(201)
    assert all(answer.expect(201) == first for answer in answers)
    assert client.stock(sku)["available"] == 17
    assert len(inside.intents(first["order_id"])) == 1
    other = client.place(checkout((sku, 4)), key)
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")


def test_a_payment_told_five_times_at_once_is_one_payment(
    client: Client, inside: Inside, stage: Stage, sku: str
) -> None:
    client.stock_up(sku, 10)
    placed = client.place(checkout((sku, 2))).expect(201)

    with crowded(client, "stripe", "/webhooks/stripe") as crowd:
        client.pay(placed).expect(200)
        stage.wait("the payment is told", lambda: "payment_intent.succeeded" in crowd.types(), PATIENCE)
    stage.wait("fulfilment begins", lambda: client.task_of(placed["order_id"], "pick") is not None, PATIENCE)

    assert all(status == 200 for statuses in crowd.statuses for status in statuses)
    order = client.order(placed)
    assert order["payment"]["captured"] == order["total"]
    assert inside.money(placed["order_id"]) == ["captured"]
    assert inside.history(placed["order_id"]).count("PaymentCaptured") == 1
    assert inside.runs(placed["order_id"]) == ["RUNNING"]
    assert client.stock(sku)["available"] == 8


@pytest.mark.parametrize("channel", ["etsy", "ebay"])
def test_a_sale_told_five_times_at_once_is_one_sale(
    client: Client, inside: Inside, stage: Stage, sku: str, channel: str
) -> None:
    client.stock_up(sku, 50)
    client.list_on(channel, sku)
    stage.wait("the channel shows the stock", lambda: client.shown(channel, sku) == 50, PATIENCE)

    with crowded(client, channel, f"/channels/{channel}/callbacks") as crowd:
        external_id = client.buy_on(channel, [(sku, 7)])
        stage.wait("the sale is told", lambda: bool(crowd.statuses), PATIENCE)
    stage.wait("the order is to be picked", lambda: _tasks(client, sku) != [], PATIENCE)
    stage.wait("the channel has the new stock", lambda: _acknowledged(client, channel, sku) == 43, PATIENCE)

    assert all(status == 200 for statuses in crowd.statuses for status in statuses)
    assert client.stock(sku)["available"] == client.shown(channel, sku) == 43
    (order_id,) = _tasks(client, sku)
    order = client.order_as_staff(order_id)
    assert (order["channel"], order["external_id"]) == (channel, external_id)
    assert order["oversold"] == {}
    assert inside.history(order_id).count("OrderPlaced") == 1
    assert inside.money(order_id) == ["captured"]
    assert inside.runs(order_id) == ["RUNNING"]


def _tasks(client: Client, sku: str) -> list[str]:
    return [task["order_id"] for task in client.open_tasks() if any(unit["sku"] == sku for unit in task["units"])]


def _acknowledged(client: Client, channel: str, sku: str) -> int | None:
    state = client.stock(sku)["channels"].get(channel, {})
    quantity: int | None = state.get("acknowledged")
    return quantity
