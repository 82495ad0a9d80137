"""Processes that die, and neighbours that do not answer: nothing stays half done, nothing is lost."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from local.client import Answer, Client, checkout
from local.redrive import Stack
from local.reports import Stage
from tests.e2e.inside import Inside, persist

PATIENCE = 40.0
SLOW_INTENT = {"next": [{"method": "POST", "path": "payment_intents", "latency_ms": 4000}]}


def test_a_worker_killed_while_stripe_is_asked_leaves_an_order_that_a_retry_completes(
    client: Client, inside: Inside, stage: Stage, sku: str
) -> None:
    client.stock_up(sku, 10)
    body, key = checkout((sku, 3)), client.new_key()
    client.sim("stripe", "POST", "/_sim/faults", SLOW_INTENT).expect(200)

    with ThreadPoolExecutor(1) as shopper:
        first = shopper.submit(client.place, body, key)
        stage.wait("the stock is taken", lambda: client.stock(sku)["available"] == 7, PATIENCE, every=0.05)
        assert not first.done()
        inside.kill(*inside.workers("PlaceOrderFunction"))
        assert first.result().status >= 500

    placed = persist(lambda: client.place(body, key)).expect(201)
    assert client.stock(sku)["available"] == 7
    assert inside.adds_up(sku, [placed])
    assert len(inside.intents(placed["order_id"])) == 1
    assert inside.history(placed["order_id"]) == ["OrderPlaced"]
    client.pay(placed).expect(200)
    stage.wait("it can be paid", lambda: client.order(placed)["payment"]["status"] == "captured", PATIENCE)


@pytest.mark.slow
def test_workers_killed_at_any_moment_leave_nothing_half_done(client: Client, inside: Inside, sku: str) -> None:
    many = [f"{sku}-{number:02d}" for number in range(48)]
    with ThreadPoolExecutor(8) as clerks:
        list(clerks.map(lambda each: client.stock_up(each, 60), [sku, *many]))
    # Every fourth order has more SKUs than one transaction takes, so it is built up in steps.
    bodies = [checkout(*((each, 1) for each in (many if n % 4 == 0 else [sku, many[0]]))) for n in range(16)]
    keys = [f"{sku}-killed-{n:03d}" for n in range(len(bodies))]
    chance, over = random.Random(20101201), threading.Event()

    def reap() -> None:
        while not over.wait(chance.uniform(0.05, 0.3)):
            if workers := inside.workers("PlaceOrderFunction"):
                inside.kill(chance.choice(workers))

    def place(number: int) -> Answer:
        return client.place(bodies[number], keys[number])

    reaper = threading.Thread(target=reap)
    reaper.start()
    with ThreadPoolExecutor(6) as together:
        under_fire = list(together.map(place, range(len(bodies))))
    over.set()
    reaper.join()
    placements: list[Any] = [persist(partial(place, number)).expect(201) for number in range(len(bodies))]

    assert any(answer.status != 201 for answer in under_fire), "no worker was hit: the test proves nothing"
    assert len({placed["order_id"] for placed in placements}) == len(bodies)
    assert all(inside.adds_up(each, placements) for each in (sku, many[0], many[1], many[-1]))
    for placed, body in zip(placements, bodies, strict=True):
        assert len(inside.intents(placed["order_id"])) == 1
        assert [line["sku"] for line in client.order(placed)["lines"]] == [line["sku"] for line in body["lines"]]


def test_an_order_stands_while_stripe_is_down_and_a_retry_completes_it(
    client: Client, inside: Inside, sku: str
) -> None:
    client.stock_up(sku, 5)
    body, key = checkout((sku, 1)), client.new_key()
    client.sim("stripe", "POST", "/_sim/faults", {"down": True}).expect(200)
    try:
        answer = client.place(body, key)
    finally:
        client.sim("stripe", "POST", "/_sim/faults", {}).expect(200)
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert client.stock(sku)["available"] == 4
    placed = client.place(body, key).expect(201)
    assert placed["order_id"] == answer.body["order_id"]
    assert inside.adds_up(sku, [placed])


def test_a_sale_that_could_not_be_fetched_waits_as_a_dead_letter_and_is_played_back(
    client: Client, stage: Stage, sku: str
) -> None:
    client.stock_up(sku, 20)
    client.list_on("etsy", sku)
    stage.wait("Etsy shows the stock", lambda: client.shown("etsy", sku) == 20, PATIENCE)
    sqs, stack = client.aws("sqs"), Stack.named(client.endpoints["stack"], client.aws)
    dead = stack.dead_letters()["ChannelEventsDeadLetters"]
    queue = client.resource("ChannelEventsQueue")
    seconds = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    # Five tries of three minutes each are right in production, and too long to watch.
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    client.sim("etsy", "POST", "/_sim/faults", {"fail": 1000}).expect(200)
    try:
        client.buy_on("etsy", [(sku, 5)])
        stage.wait("it is a dead letter", lambda: stack.waiting(dead) == 1, PATIENCE, every=0.5)
    finally:
        client.sim("etsy", "POST", "/_sim/faults", {"reset": True}).expect(200)
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=seconds)
    assert client.stock(sku)["available"] == 20

    assert stack.redrive("ChannelEventsQueue") == 1
    stage.wait("the sale is in the books", lambda: client.stock(sku)["available"] == 15, PATIENCE)
    assert stack.waiting(dead) == 0
