"""A shop in this process: the real handlers on a DynamoDB of the caller's choice, and Stripe's simulator."""

from __future__ import annotations

import json
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import boto3
from botocore.config import Config

from local.simulators.inprocess import transport_to
from local.simulators.stripe import StripeCore
from oms import bootstrap
from oms.inventory.model import Movement, Product
from oms.runtime.outbound import HttpRequest, HttpResponse
from oms.runtime.settings import Settings
from oms.runtime.telemetry import logger
from tests.simulation import template as templates

KEYS = {"aws_access_key_id": "benchmark", "aws_secret_access_key": "benchmark", "region_name": "us-east-1"}
SECRETS: dict[str, dict[str, Any]] = {
    "StripeSecret": {"api_key": "sk_test_benchmark", "webhook_secrets": ["whsec_benchmark"]},
    "OrderTokenSecret": {"keys": ["a key for the benchmarks' order tokens"]},
}
_PRICE = 1999


for _name in ("dynamodb", "sqs"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@contextmanager
def logs_in(sink: StringIO) -> Iterator[None]:
    """What functions log and the metrics that they print go to ``sink`` instead of the terminal."""
    handlers = [each for each in logging.getLogger(logger.name).handlers if isinstance(each, logging.StreamHandler)]
    streams = [each.stream for each in handlers]
    for each in handlers:
        each.setStream(sink)
    try:
        with redirect_stdout(sink), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, stream in zip(handlers, streams, strict=True):
            each.setStream(stream)


def template() -> templates.Template:
    """What ``template.yaml`` says, with Stripe at a host that the transport knows."""
    return templates.load(parameters=(("StripeApiBase", "http://stripe"),))


class SecretsClient:
    """As much of Secrets Manager as a placement asks for."""

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:
        return {"SecretString": json.dumps(SECRETS[SecretId])}


class Stripe:
    """Stripe's simulator behind the product's transport, one request at a time, with the CPU that it took."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self._send = transport_to({"stripe": StripeCore(time.time, lambda delivery: None)})
        self._lock = threading.Lock()

    def __call__(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        with self._lock:
            began = time.thread_time()
            try:
                return self._send(request, timeout=timeout)
            finally:
                self.cpu += time.thread_time() - began


def open_shop(dynamodb: Any, stripe: Stripe | None = None) -> bootstrap.App:
    """The application of ``place_order/api`` with the environment that the template gives it."""
    clients: dict[str, Any] = {"dynamodb": dynamodb, "secretsmanager": SecretsClient()}
    function = template().function_at("place_order/api")
    app = bootstrap.App(
        settings=Settings.from_environment(function.environment),
        clock=lambda: datetime.now(UTC),
        client=clients.__getitem__,
    )
    app.transport = stripe or Stripe()
    bootstrap.use(app)
    return app


def dynamodb_client(**where: Any) -> Any:
    """A client of DynamoDB with the product's retries and time limits."""
    return client("dynamodb", **where)


def client(service: str, **where: Any) -> Any:
    """A client with the product's retries and time limits."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=16,
    )
    make: Any = boto3.client  # its stubs want every argument by name
    return make(service, config=config, **KEYS, **where)


def stock_up(app: bootstrap.App, skus: Sequence[str], units: int, *, stripes: int = 1) -> None:
    """Products with units of each at the main facility."""
    now = app.clock()
    for sku in skus:
        app.inventory.put_product(Product(sku, sku.title(), _PRICE, "USD", stripes=stripes), now)
        app.inventory.move(Movement("receive", sku, units, "main", "A-01", "opening stock", "benchmark", sku, now))


def checkout(skus: Sequence[str], quantity: int = 1) -> dict[str, Any]:
    """What a storefront sends: one line a SKU."""
    return {
        "customer": {"email": "ada@example.com", "name": "Ada Lovelace"},
        "shipping_address": {
            "name": "Ada Lovelace",
            "line1": "1 Main Street",
            "city": "Springfield",
            "region": "IL",
            "postal_code": "62701",
            "country": "US",
        },
        "lines": [{"sku": sku, "quantity": quantity} for sku in skus],
        "currency": "USD",
    }


class Context:
    """What Lambda passes beside the event."""

    aws_request_id = "00000000-0000-4000-8000-000000000000"
    function_name = "place_order"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def place(handler: Callable[[dict[str, Any], Any], Any], body: Mapping[str, Any], key: str) -> dict[str, Any]:
    """One ``POST /orders`` as API Gateway hands it to the function."""
    event = {
        "version": "2.0",
        "routeKey": "POST /orders",
        "headers": {"content-type": "application/json", "idempotency-key": key},
        "requestContext": {"requestId": "benchmark"},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
    answer: dict[str, Any] = handler(event, Context())
    return answer
