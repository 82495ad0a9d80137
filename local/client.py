"""Everybody who talks to a running cloud: shoppers, staff, marketplaces, the card networks, and whoever looks inside.

The story, the replay, the end-to-end tests and the benchmarks all speak through this, over HTTP, as the world would.
"""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import boto3
import urllib3
from stdnum import ean

from local.cloud import Endpoints


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and after how many seconds. ``status`` 0: nothing did."""

    status: int
    body: Any
    headers: Mapping[str, str]
    seconds: float

    def expect(self, *statuses: int) -> Any:
        """The body, if the status is one of these. Raises ``Unexpected``."""
        if self.status not in (statuses or (200, 201)):
            raise Unexpected(f"expected {statuses or (200, 201)}, but the answer was {self.status}: {self.body}")
        return self.body


class Unexpected(Exception):
    """An answer that the caller cannot go on with."""


class Client:
    """One connection pool to the API and the simulators. Safe to share between threads."""

    def __init__(self, endpoints: Endpoints, *, connections: int = 16, timeout: float = 60.0) -> None:
        self.endpoints = endpoints
        self._pool = urllib3.PoolManager(num_pools=4, maxsize=connections, block=False, retries=False)
        self._timeout = timeout
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """One request, never repeated. ``bytes`` are sent as they are, anything else as JSON."""
        sent = {"content-type": "application/json", **(headers or {})}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        started = time.perf_counter()
        try:
            answer = self._pool.request(method, url, body=content, headers=sent, timeout=timeout or self._timeout)
            status, received, named = answer.status, answer.data, dict(answer.headers.items())
        except urllib3.exceptions.HTTPError as error:
            status, received, named = 0, json.dumps(str(error)).encode(), {}
        seconds = time.perf_counter() - started
        return Answer(status, _read(received), {name.lower(): value for name, value in named.items()}, seconds)

    def api(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        staff: str | None = None,
        key: str | None = None,
        order_token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A call of our API: with a member of staff's token, an idempotency key, an order's token, or none of them."""
        sent = dict(headers or {})
        if staff:
            sent["authorization"] = f"Bearer {self.endpoints['tokens'][staff]}"
        if key:
            sent["idempotency-key"] = key
        if order_token:
            sent["order-token"] = order_token
        return self.request(method, self.endpoints["api"] + path, body, sent)

    def new_key(self) -> str:
        """An idempotency key that nobody has used."""
        return f"{self._run}-{next(self._numbers):08d}"

    # ---- the merchant --------------------------------------------------------------------------------------------

    def put_product(self, sku: str, *, price: int = 1999, currency: str = "USD", **more: Any) -> Answer:
        """Create or replace a product."""
        body = {"sku": sku, "title": sku, "price": {"amount": price, "currency": currency}, **more}
        return self.api("PUT", f"/products/{quote(sku, safe='')}", body, staff="ops")

    def move_stock(self, kind: str, sku: str, quantity: int, *, reason: str, key: str | None = None) -> Answer:
        """Receive, adjust, damage or count units at the main facility."""
        body = {"type": kind, "sku": sku, "quantity": quantity, "reason": reason}
        return self.api("POST", "/stock/movements", body, staff="ops", key=key or self.new_key())

    def stock(self, sku: str) -> Any:
        """What ``GET /stock`` says of a SKU."""
        return self.api("GET", f"/stock/{quote(sku, safe='')}", staff="ops").expect(200)

    def stock_up(self, sku: str, quantity: int, **product: Any) -> str:
        """A product with stock; its SKU."""
        self.put_product(sku, **product).expect(200)
        if quantity:
            self.move_stock("receive", sku, quantity, reason="delivery").expect(201)
        return sku

    def list_on(self, channel: str, sku: str, **terms: Any) -> str:
        """Put a SKU on sale at a marketplace's simulator and tell the system of the listing; the listing's id."""
        product = self.api("GET", f"/products/{quote(sku, safe='')}", staff="ops").expect(200)
        offer = {"sku": sku, "title": product["title"], "price_minor": product["price"]["amount"]}
        offer["currency"] = product["price"]["currency"]
        (listed,) = self.sim(channel, "POST", "/_sim/listings", offer).expect(201)["listings"]
        path = f"/stock/{quote(sku, safe='')}/listings/{channel}"
        self.api("PUT", path, {"listing_id": listed["listing_id"], **terms}, staff="ops").expect(200)
        return str(listed["listing_id"])

    # ---- shoppers ------------------------------------------------------------------------------------------------

    def place(self, body: Mapping[str, Any], key: str | None = None) -> Answer:
        """``POST /orders``."""
        return self.api("POST", "/orders", body, key=key or self.new_key())

    def pay(self, placed: Mapping[str, Any], method: str = "pm_card_visa") -> Answer:
        """Confirm the payment as the shopper's browser does: 200, or 402 for a declined card."""
        told = {"payment_intent": placed["payment"]["client_secret"], "payment_method": method}
        return self.sim("stripe", "POST", "/_sim/pay", told)

    def order(self, placed: Mapping[str, Any]) -> Any:
        """The order as its customer sees it."""
        return self.api("GET", f"/orders/{placed['order_id']}", order_token=placed["order_token"]).expect(200)

    def order_as_staff(self, order_id: str) -> Any:
        """The order as an agent sees it."""
        return self.api("GET", f"/orders/{order_id}", staff="agent").expect(200)

    def cancel(self, placed: Mapping[str, Any], body: Any = None, key: str | None = None) -> Answer:
        """Cancel as the order's customer: the whole, or some lines."""
        path = f"/orders/{placed['order_id']}/cancel"
        return self.api("POST", path, body, order_token=placed["order_token"], key=key)

    # ---- the warehouse -------------------------------------------------------------------------------------------

    def open_tasks(self, facility: str = "main") -> list[Any]:
        """All open picks and packs of a facility."""
        tasks: list[Any] = []
        query: dict[str, str] = {}
        while True:
            path = f"/warehouse/{facility}/work" + (f"?{urlencode(query)}" if query else "")
            page = self.api("GET", path, staff="warehouse").expect(200)
            tasks += page["tasks"]
            if not page["next_cursor"]:
                return tasks
            query["cursor"] = page["next_cursor"]

    def task_of(self, order_id: str, kind: str) -> Any | None:
        """The order's first open task of this kind, if it is there yet."""
        return next((t for t in self.open_tasks() if t["order_id"] == order_id and t["kind"] == kind), None)

    def task(self, task_id: str, verb: str, body: Any = None) -> Answer:
        """Start, scan, short or complete a task."""
        return self.api("POST", f"/warehouse/tasks/{task_id}/{verb}", body, staff="warehouse", key=self.new_key())

    # ---- everybody outside ---------------------------------------------------------------------------------------

    def sim(self, name: str, method: str, path: str, body: Any = None) -> Answer:
        """A call of a simulator: ``stripe``, ``carrier`` or a channel."""
        base = self.endpoints[name] if name in ("stripe", "carrier") else self.endpoints["channels"][name]
        return self.request(method, base + path, body)

    def buy_on(self, channel: str, lines: Sequence[tuple[str, int]], buyer: str = "Grace Hopper") -> str:
        """A purchase on a marketplace; its order id there."""
        wanted = [{"sku": sku, "quantity": quantity} for sku, quantity in lines]
        purchase = {"lines": wanted, "buyer": {"name": buyer}}
        return str(self.sim(channel, "POST", "/_sim/purchases", purchase).expect(201)["order_id"])

    def shown(self, channel: str, sku: str) -> int:
        """What a marketplace's buyers see."""
        path = f"/_sim/listings/{quote(sku, safe='')}"
        return int(self.sim(channel, "GET", path).expect(200)["quantity"])

    def mails(self, placed: Mapping[str, Any]) -> dict[str, str]:
        """The mails about an order that reached its customer's mailbox: whom each went to, by its subject."""
        told = self.request("GET", f"{self.endpoints['mailbox']}_sim/mails").expect(200)["mails"]
        return {mail["subject"]: mail["to"] for mail in told if mail["tags"].get("order") == placed["order_id"]}

    # ---- the cloud -----------------------------------------------------------------------------------------------

    def aws(self, service: str) -> Any:
        """A client of the local cloud with its root's rights."""
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.endpoints["aws_endpoint"],
            region_name=self.endpoints["region"],
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the local cloud's root
        )

    def resource(self, logical_id: str) -> str:
        """The name or address of a resource of the template."""
        cloudformation = self.aws("cloudformation")
        found = cloudformation.describe_stack_resources(StackName=self.endpoints["stack"])["StackResources"]
        return next(str(r["PhysicalResourceId"]) for r in found if r["LogicalResourceId"] == logical_id)

    def sweep(self) -> Any:
        """Run now what the schedule runs every minute; how many orders it looked at and how many it failed at."""
        answer = self.aws("lambda").invoke(FunctionName=self.resource("SweepFunction"), Qualifier="live", Payload=b"{}")
        result = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise Unexpected(f"the sweep failed: {result}")
        return result


def gtin(digits: str) -> str:
    """``digits`` with their check digit: a barcode that the catalogue takes."""
    return digits + str(ean.calc_check_digit(digits))


def checkout(*lines: tuple[str, int], **changes: Any) -> dict[str, Any]:
    """The body of a placement: an address that its country's post would deliver to."""
    body: dict[str, Any] = {
        "customer": {"email": "ada@example.com", "name": "Ada Byron"},
        "shipping_address": {
            "name": "Ada Byron",
            "line1": "12 Analytical Row",
            "city": "Portland",
            "region": "OR",
            "postal_code": "97201",
            "country": "US",
        },
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
        "currency": "USD",
    }
    return {**body, **changes}


def promised(order: Mapping[str, Any]) -> dict[str, int]:
    """Units by SKU that an order, as the API shows it, still owes its customer."""
    units: dict[str, int] = {}
    if order["status"] in ("placed", "confirmed", "in_fulfillment"):
        for line in order["lines"]:
            owed = line["quantity"] - line["cancelled"] - line["shipped"]
            units[line["sku"]] = units.get(line["sku"], 0) + owed
    return {sku: owed for sku, owed in units.items() if owed}


def _read(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")
