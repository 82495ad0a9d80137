"""The process that hosts the simulators, over real sockets on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from local.simulators.core import Clock, Deliver, Delivery, Request, Response
from local.simulators.server import Courier, Host, Simulators, every_core
from oms.payments.gateway import StripeGateway


class Echo:
    """A core that answers with what it was asked, and fails when told to."""

    def __init__(self, deliver: Deliver) -> None:
        self.deliver = deliver

    def handle(self, request: Request) -> Response:
        if request.path == "/broken":
            raise RuntimeError("a bug")
        return Response.of(200, {"method": request.method, "path": request.path, "query": dict(request.query)})


@pytest.fixture
def simulators() -> Iterator[Simulators]:
    clock: Clock = time.time
    hosted = Simulators(0, {**every_core(clock, seed="7"), "echo": Echo})
    thread = threading.Thread(target=hosted.serve)
    thread.start()
    yield hosted
    hosted.stop()
    thread.join(timeout=5)
    assert not thread.is_alive()


@pytest.fixture
def connection(simulators: Simulators) -> Iterator[HTTPConnection]:
    parts = urlsplit(simulators.url)
    line = HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    yield line
    line.close()


def ask(line: HTTPConnection, method: str, target: str, told: object = None) -> tuple[int, object]:
    line.request(method, target, None if told is None else json.dumps(told))
    answer = line.getresponse()
    return answer.status, json.loads(answer.read() or b"null")


def test_every_simulator_is_there(connection: HTTPConnection) -> None:
    status, told = ask(connection, "GET", "/healthz")
    assert status == 200
    assert isinstance(told, dict)
    assert {"stripe", "easypost", "etsy", "ebay", "shopify", "amazon", "webhook"} <= set(told["simulators"])


def test_a_core_never_sees_its_prefix(connection: HTTPConnection) -> None:
    _, told = ask(connection, "PUT", "/echo/a/b?c=1&c=2")
    assert told == {"method": "PUT", "path": "/a/b", "query": {"c": ["1", "2"]}}


def test_one_connection_serves_many_requests(connection: HTTPConnection) -> None:
    assert [ask(connection, "GET", path)[0] for path in ("/echo/x", "/nowhere/x", "/healthz")] == [
        200,
        404,
        200,
    ]


def test_a_bug_in_a_core_is_a_500_and_not_the_end(connection: HTTPConnection) -> None:
    assert [ask(connection, "GET", f"/echo/{path}")[0] for path in ("broken", "fine")] == [500, 200]


def test_the_official_sdk_works_under_the_prefix(simulators: Simulators) -> None:
    gateway = StripeGateway("sk_test_1", ["whsec_local"], api_base=f"{simulators.url}/stripe")
    intent = gateway.open_intent("order-1", 2500, "EUR")
    assert gateway.get_intent(intent.id) == intent


def test_a_delivery_is_tried_until_it_is_taken() -> None:
    attempts: list[Delivery] = []
    answers = [500, 0, 200]
    taken = threading.Event()

    def post(delivery: Delivery) -> int:
        attempts.append(delivery)
        if len(attempts) == len(answers):
            taken.set()
        return answers[len(attempts) - 1]

    courier = Courier(post, first_pause=0.01)
    build: Callable[[Deliver], Echo] = Echo
    courier.take(Host(build, lambda _: None), Delivery("http://oms.example", {}, b"{}"))
    courier.start()
    assert taken.wait(5)
    courier.stop()
    assert len(attempts) == 3
