"""What the tests look at behind the API, and the ways in which they make things go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

from local.client import Answer, Client, promised

LATER = (0, 429, 500, 502, 503, 504)


class Inside:
    """The tables, the workflow, the queues and the processes of the running cloud."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.endpoints = client.endpoints

    # ---- tables and workflows ------------------------------------------------------------------------------------

    def parts(self, order_id: str, prefix: str) -> list[dict[str, Any]]:
        """Items of an order whose sort key begins so, as DynamoDB has them."""
        answer = self._client.aws("dynamodb").query(
            TableName=self.endpoints["orders_table"],
            KeyConditionExpression="pk = :order AND begins_with(sk, :prefix)",
            ExpressionAttributeValues={":order": {"S": f"ORDER#{order_id}"}, ":prefix": {"S": prefix}},
            ConsistentRead=True,
        )
        items: list[dict[str, Any]] = answer["Items"]
        return items

    def history(self, order_id: str) -> list[str]:
        """The types of an order's events, in order."""
        return [item["type"]["S"] for item in self.parts(order_id, "EVENT#")]

    def money(self, order_id: str) -> list[str]:
        """The kinds of an order's ledger entries."""
        return [item["kind"]["S"] for item in self.parts(order_id, "MONEY#")]

    def runs(self, order_id: str) -> list[str]:
        """The states of the order's workflow runs."""
        states = self._client.aws("stepfunctions")
        found = states.list_executions(stateMachineArn=self.endpoints["state_machine_arn"], maxResults=1000)
        return [run["status"] for run in found["executions"] if run["name"].startswith(order_id)]

    def intents(self, order_id: str) -> list[Any]:
        """Stripe's payment intents for an order."""
        found: list[Any] = self._client.sim("stripe", "GET", f"/_sim/intents?order_id={order_id}").expect(200)
        return found

    def adds_up(self, sku: str, placements: Iterable[dict[str, Any]]) -> bool:
        """Whether the units available and those promised to these orders (all that have the SKU) are those on hand."""
        owed = sum(promised(self._client.order(placed)).get(sku, 0) for placed in placements)
        stock = self._client.stock(sku)
        return bool(stock["available"] + owed == stock["on_hand"] - stock["damaged"])

    def hand_over(self, function: str, message: dict[str, Any]) -> None:
        """Give a function a message of its queue now, with the rights of its own role."""
        record = {"messageId": "by-hand", "body": json.dumps(message), "attributes": {"ApproximateReceiveCount": "1"}}
        answer = self._client.aws("lambda").invoke(
            FunctionName=self._client.resource(function),
            Qualifier="live",
            Payload=json.dumps({"Records": [record]}).encode(),
        )
        assert json.loads(answer["Payload"].read()) == {"batchItemFailures": []}

    # ---- processes -----------------------------------------------------------------------------------------------

    def workers(self, function: str) -> list[int]:
        """The processes in which this cloud runs a function."""
        listed = subprocess.run(
            ["ps", "-ww", "-eo", "pid=,command="], capture_output=True, text=True, check=True
        ).stdout
        place = self.endpoints["logs"]
        rows = (row.split(None, 1) for row in listed.splitlines())
        return [int(pid) for pid, command in rows if place in command and f"-{function}-" in command]

    def kill(self, *workers: int) -> None:
        """End processes as an operating system that is out of memory does."""
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


class Crowd:
    """Stands between a simulator and the API and passes on each delivery five times at once."""

    def __init__(self, target: str, copies: int = 5) -> None:
        self.statuses: list[list[int]] = []
        """For each delivery, what the copies were answered."""
        self.bodies: list[Any] = []
        pool = urllib3.PoolManager(maxsize=copies * 4, retries=False)
        crowd = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length")}

                def send(_: int) -> int:
                    return pool.request("POST", target, body=body, headers=headers, timeout=60.0).status

                with ThreadPoolExecutor(copies) as together:
                    statuses = list(together.map(send, range(copies)))
                crowd.bodies.append(json.loads(body))
                crowd.statuses.append(statuses)
                self.send_response(max(statuses))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def types(self) -> list[str]:
        """Which events came, for senders that name them."""
        return [body.get("type", "") for body in self.bodies]


@contextmanager
def crowded(client: Client, simulator: str, path: str) -> Iterator[Crowd]:
    """Everything that a simulator sends comes five times at once."""
    home = client.endpoints["api"] + path
    with Crowd(home) as crowd:
        client.sim(simulator, "POST", "/_sim/config", {"callback_url": crowd.url}).expect(200)
        try:
            yield crowd
        finally:
            client.sim(simulator, "POST", "/_sim/config", {"callback_url": home}).expect(200)


def persist(send: Callable[[], Answer], times: int = 20) -> Answer:
    """Send the same request again while the answer is "later"."""
    pause = threading.Event()
    for attempt in range(times):
        answer = send()
        if answer.status not in LATER:
            return answer
        pause.wait(min(2.0, 0.1 * 2**attempt))
    return answer
