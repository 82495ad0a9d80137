"""A whole shop in one process: the real handlers on moto's tables, with simulator cores in place of other people.

Time stands still until a test moves it. Webhooks and callbacks wait in ``deliveries`` until a test hands them over,
as often and in whatever order it likes. Streams are not moto's (see docs/conventions of the project): what they would
carry is asked for explicitly.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
from aws_lambda_powertools.metrics import Metrics
from jsonschema import Draft202012Validator
from moto import mock_aws

from local import openapi
from local.simulators.amazon import AmazonCore
from local.simulators.core import Core, Delivery, Request
from local.simulators.easypost import EasyPostCore
from local.simulators.ebay import EbayCore
from local.simulators.etsy import EtsyCore
from local.simulators.inprocess import transport_to
from local.simulators.shopify import ShopifyCore
from local.simulators.stripe import StripeCore, sign
from local.simulators.subscriber import SubscriberCore
from local.simulators.webhook import WebhookCore
from oms import bootstrap
from oms.inventory.backorders import queue_of
from oms.inventory.model import Listing, Movement, Product
from oms.orders.model import Order, order_id_for
from oms.runtime.clock import to_text
from oms.runtime.dynamo import from_item, to_item
from oms.runtime.settings import Settings
from tests.simulation.template import load
from tests.support import swift_moto
from tests.support.rights import Watch, WatchedSecrets

swift_moto.hurry()

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
API = "https://api.shop.test"
QUEUES = (
    *("payment-work", "payment-events", "channel-events", "shipment-confirm"),
    *("messages", "public-events", "deliveries", "catalogue-jobs", "customers", "campaign-exports"),
)
CHANNELS = ("etsy", "ebay", "shopify", "amazon", "webhook")
STRIPE_SECRET = "whsec_test"
CARRIER_SECRET = "s\u00e9cret of the carrier"
STAFF_CLAIMS = {"cognito:groups": "[agent ops pos warehouse]", "cognito:username": "kim"}


@dataclass
class Context:
    """What Lambda tells a handler about its invocation."""

    aws_request_id: str = "invocation-1"
    function_name: str = "function"
    remaining_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass(frozen=True)
class Answer:
    """An HTTP answer from a handler."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass
class Shop:
    """Handles requests as API Gateway would and keeps what leaves the system."""

    now: datetime = START
    deliveries: list[Delivery] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Calls that the role of the function that made them does not allow."""

    def __post_init__(self) -> None:
        clock = lambda: self.now.timestamp()  # noqa: E731
        self.stripe = StripeCore(
            clock, self.deliveries.append, callback_url=f"{API}/webhooks/stripe", webhook_secret=STRIPE_SECRET
        )
        self.etsy = EtsyCore(clock, self.deliveries.append, callback_url=f"{API}/channels/etsy/callbacks")
        self.ebay = EbayCore(clock, self.deliveries.append, callback_url=f"{API}/channels/ebay/callbacks")
        self.shopify = ShopifyCore(clock, self.deliveries.append, callback_url=f"{API}/channels/shopify/callbacks")
        self.amazon = AmazonCore(
            clock,
            self.deliveries.append,
            callback_url="sqs+https://sqs.test/amazon-events",
            apply_seconds=0.0,
            search_lag_seconds=0.0,
        )
        self.webhook = WebhookCore(clock, self.deliveries.append, callback_url=f"{API}/channels/webhook/callbacks")
        self.easypost = EasyPostCore(
            clock,
            self.deliveries.append,
            callback_url=f"{API}/webhooks/carriers/easypost",
            webhook_secret=CARRIER_SECRET,
        )
        cores: dict[str, Core] = {
            "stripe": self.stripe,
            "etsy": self.etsy,
            "ebay": self.ebay,
            "shopify": self.shopify,
            "amazon": self.amazon,
            "webhook": self.webhook,
            "easypost": self.easypost,
        }
        for table in load().tables:
            definition = {key: value for key, value in table.items() if key != "SSESpecification"}
            boto3.client("dynamodb").create_table(**definition)
        boto3.client("s3").create_bucket(Bucket="files")
        sqs = boto3.client("sqs")
        self.queues = {
            name: sqs.create_queue(QueueName=_logical(name, "Queue"))["QueueUrl"] for name in (*QUEUES, *CHANNELS)
        }
        secrets = self._secrets()
        names = {"files": "FilesBucket"} | {name: _logical(name, "Secret") for name in secrets}
        self.rights = Watch(self.refused.add, names)
        orders, inventory = (table["TableName"] for table in load().tables)
        self.app = bootstrap.App(
            settings=Settings(
                orders_table=orders,
                inventory_table=inventory,
                stage="test",
                payment_work_queue_url=self.queues["payment-work"],
                payment_events_queue_url=self.queues["payment-events"],
                channel_events_queue_url=self.queues["channel-events"],
                shipment_confirm_queue_url=self.queues["shipment-confirm"],
                messages_queue_url=self.queues["messages"],
                public_events_queue_url=self.queues["public-events"],
                customers_queue_url=self.queues["customers"],
                campaign_exports_queue_url=self.queues["campaign-exports"],
                orders_table_arn=f"arn:aws:dynamodb:us-east-1:123456789012:table/{orders}",
                deliveries_queue_url=self.queues["deliveries"],
                sealing_secret_id="sealing",
                mail_from="orders@shop.test",
                merchant_name="Corner Shop",
                staff_limits={
                    "agent": {"percent": 15, "amount": 5000, "invoice": 50_000},
                    "pos": {"percent": 10, "amount": 2000, "invoice": 0},
                    "ops": {"percent": 100, "amount": 1_000_000, "invoice": 10_000_000},
                },
                merchant_pay_url="https://shop.test/pay/{order_id}#{token}",
                channel_queue_urls={name: self.queues[name] for name in CHANNELS},
                stripe_api_base="http://stripe",
                etsy_api_base="http://etsy",
                ebay_api_base="http://ebay",
                shopify_api_base="http://shopify",
                amazon_api_base="http://amazon",
                webhook_api_base="http://webhook",
                carrier_api_base="http://easypost",
                stripe_secret_id="stripe",
                order_token_secret_id="order-token",
                etsy_secret_id="etsy",
                ebay_secret_id="ebay",
                shopify_secret_id="shopify",
                amazon_secret_id="amazon",
                webhook_secret_id="webhook",
                carrier_secret_id="carrier",
                files_bucket="files",
                catalogue_jobs_queue_url=self.queues["catalogue-jobs"],
                import_rows_at_once=1,
            ),
            clock=lambda: self.now,
            client=self.rights.client,
        )
        self.app.secrets = WatchedSecrets(self.rights)
        self.app.transport = transport_to(cores)
        self.subscriber = SubscriberCore(clock, self.deliveries.append)
        self.app.subscriber_transport = transport_to({"erp.merchant.example": self.subscriber})
        for name, value in secrets.items():
            boto3.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(value))
        bootstrap.use(self.app)

    def _secrets(self) -> dict[str, Any]:
        from local.simulators import amazon, ebay, etsy, shopify, webhook

        return {
            "stripe": {"api_key": "sk_test_local", "webhook_secrets": [STRIPE_SECRET]},
            "sealing": {"keys": ["a key that seals"]},
            "order-token": {"keys": ["a key of the test's own"]},
            "etsy": {
                "api_key": etsy.API_KEY,
                "access_token": etsy.ACCESS_TOKEN,
                "shop_id": etsy.SHOP_ID,
                "webhook_secrets": [etsy.WEBHOOK_SECRET],
            },
            "ebay": {
                "access_token": ebay.ACCESS_TOKEN,
                "verification_token": ebay.VERIFICATION_TOKEN,
                "endpoint": f"{API}/channels/ebay/callbacks",
                "marketplace_id": "EBAY_US",
                "merchant_location_key": "main",
            },
            "shopify": {
                "access_token": shopify.ACCESS_TOKEN,
                "shop_domain": shopify.SHOP_DOMAIN,
                "location_id": shopify.LOCATION_ID,
                "webhook_secrets": [shopify.WEBHOOK_SECRET],
            },
            "amazon": {
                "access_token": amazon.ACCESS_TOKEN,
                "seller_id": amazon.SELLER_ID,
                "marketplace_id": amazon.MARKETPLACE_ID,
            },
            "webhook": {
                "signing_secret": webhook.SIGNING_SECRET,
                "webhook_secrets": [webhook.WEBHOOK_SECRET],
            },
            "carrier": {"api_key": "EZTK_local", "webhook_secrets": [CARRIER_SECRET]},
        }

    def later(self, **delta: float) -> None:
        """Let time pass."""
        self.now += timedelta(**delta)

    # ---- requests ------------------------------------------------------------------------------------------------

    def call(
        self,
        entry: str,
        route: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        staff: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call a handler, for example ``call("place_order.api", "POST /orders", {...})``."""
        event: dict[str, Any] = {
            "version": "2.0",
            "routeKey": route,
            "headers": {"content-type": "application/json", **(headers or {})},
            "pathParameters": dict(path or {}),
            "queryStringParameters": dict(query or {}),
            "requestContext": {"requestId": "req-1"},
            "isBase64Encoded": False,
        }
        if staff is not None:
            event["requestContext"]["authorizer"] = {"jwt": {"claims": dict(staff)}}
        if body is not None:
            event["body"] = body if isinstance(body, str) else json.dumps(body)
        answer = import_module(f"functions.{entry}").handler(event, Context())
        if answer["isBase64Encoded"]:
            return Answer(answer["statusCode"], answer["headers"], b64decode(answer["body"]))
        told = Answer(answer["statusCode"], answer["headers"], json.loads(answer["body"]) if answer["body"] else None)
        _keeps_the_contract(route, told)
        return told

    def place(self, body: Mapping[str, Any] | None = None, key: str = "checkout-0001") -> Answer:
        """Place a shopper's order."""
        return self.call("place_order.api", "POST /orders", body or checkout(), headers={"idempotency-key": key})

    def read(self, placed: Answer | Mapping[str, Any]) -> Any:
        """The order as its customer sees it."""
        told = placed.body if isinstance(placed, Answer) else placed
        answer = self.call(
            "place_order.api",
            "GET /orders/{id}",
            path={"id": told["order_id"]},
            headers={"order-token": told["order_token"]},
        )
        assert answer.status == 200, answer
        return answer.body

    def pay(self, placed: Answer, method: str = "pm_card_visa") -> None:
        """Confirm the payment in the customer's browser; the webhooks wait in ``deliveries``."""
        intent = placed.body["payment"]["client_secret"].split("_secret_")[0]
        body = json.dumps({"payment_intent": intent, "payment_method": method}).encode()
        answer = self.stripe.handle(Request.to("POST", "/_sim/pay", {"content-type": "application/json"}, body))
        assert answer.status in (200, 402), answer

    def deliver(self, delivery: Delivery) -> Answer:
        """Hand one webhook or callback to the API, and what Amazon sends to its queue to whoever consumes it."""
        if delivery.url.startswith("sqs+"):
            record = {"messageId": "m1", "body": delivery.body.decode()}
            result = import_module("functions.place_order.import_orders").handler({"Records": [record]}, Context())
            return Answer(500 if result["batchItemFailures"] else 200, {}, result)
        path = urlsplit(delivery.url).path
        if path == "/webhooks/stripe":
            return self.call(
                "payment_webhook.webhook", "POST /webhooks/stripe", delivery.body.decode(), headers=delivery.headers
            )
        if path == "/webhooks/carriers/easypost":
            return self.call(
                "fulfillment.carrier_webhook",
                "POST /webhooks/carriers/{carrier}",
                delivery.body.decode(),
                headers=delivery.headers,
                path={"carrier": "easypost"},
            )
        channel = path.split("/")[2]
        headers = {name.lower(): value for name, value in delivery.headers.items()}
        return self.call(
            "place_order.callback",
            "POST /channels/{channel}/callbacks",
            delivery.body.decode(),
            headers=headers,
            path={"channel": channel},
        )

    def deliver_all(self) -> None:
        """Hand over everything that waits, in order. Stripe signs each attempt anew, however late it is."""
        while self.deliveries:
            delivery = self.deliveries.pop(0)
            if delivery.url.endswith("/webhooks/stripe"):
                delivery = self.signed_by_stripe(json.loads(delivery.body))
            answer = self.deliver(delivery)
            assert answer.status == 200, answer

    def settle(self, placed: Answer) -> None:
        """Run the payment worker for an order, as its queue would."""
        record = {"messageId": "m1", "body": json.dumps({"order_id": placed.body["order_id"]})}
        result = import_module("functions.payment_webhook.settle").handler({"Records": [record]}, Context())
        assert result == {"batchItemFailures": []}, result

    def news(self) -> None:
        """Hand every waiting webhook over and work off the payment events that had to be read first."""
        self.deliver_all()
        while messages := self.queued("payment-events"):
            records = [{"messageId": str(n), "body": json.dumps(body)} for n, body in enumerate(messages)]
            result = import_module("functions.payment_webhook.apply_event").handler({"Records": records}, Context())
            assert result == {"batchItemFailures": []}, result

    def watch(self, hours: int | None = None, seconds: int = 900) -> Any:
        """Run the scheduled look at Stripe, with so much time for it."""
        context = Context(remaining_ms=seconds * 1000)
        return import_module("functions.payment_webhook.watch").handler({"hours": hours} if hours else {}, context)

    def stripe_plays(self, path: str, **told: Any) -> Any:
        """Somebody else does something at Stripe: a bank, a reviewer, bad luck."""
        answer = self._control(f"/_sim/{path}", told)
        assert answer.status == 200, answer
        return answer.json()

    def intent_of(self, placed: Answer) -> str:
        """The id of the order's own intent."""
        return str(placed.body["payment"]["client_secret"].split("_secret_")[0])

    def cancel(self, placed: Answer, body: Any = None, key: str = "") -> Answer:
        """Cancel as the order's customer."""
        headers = {"order-token": placed.body["order_token"], **({"idempotency-key": key} if key else {})}
        path = {"id": placed.body["order_id"]}
        return self.call("place_order.api", "POST /orders/{id}/cancel", body, headers=headers, path=path)

    def foreign_intent(self, placed: Answer, amount: int) -> str:
        """Somebody makes another intent for the order in Stripe's dashboard, and it is paid; its id."""
        form = {
            "amount": str(amount),
            "currency": "usd",
            "metadata[order_id]": placed.body["order_id"],
            "automatic_payment_methods[enabled]": "true",
        }
        headers = {"authorization": "Bearer sk_test_local", "content-type": "application/x-www-form-urlencoded"}
        request = Request.to("POST", "/v1/payment_intents", headers, urlencode(form).encode())
        intent = str(self.stripe.handle(request).json()["id"])
        assert self._control("/_sim/pay", {"payment_intent": intent, "payment_method": "pm_card_visa"}).status == 200
        return intent

    def refund_in_dashboard(self, placed: Answer, amount: int) -> None:
        """Somebody refunds part of the order's payment in Stripe's dashboard."""
        form = urlencode({"payment_intent": self.intent_of(placed), "amount": amount})
        headers = {"authorization": "Bearer sk_test_local", "content-type": "application/x-www-form-urlencoded"}
        assert self.stripe.handle(Request.to("POST", "/v1/refunds", headers, form.encode())).status == 200

    def stripe_is(self, *, down: bool) -> None:
        """Stripe stops answering, or answers again."""
        assert self._control("/_sim/faults", {"down": down}).status == 200

    def stripe_totals(self) -> dict[str, int]:
        """What Stripe says was captured and refunded, in minor units."""
        totals = self.stripe.handle(Request.to("GET", "/_sim/totals")).json()
        return dict(totals["currencies"]["usd"])

    def _control(self, path: str, body: Any) -> Any:
        return self.stripe.handle(
            Request.to("POST", path, {"content-type": "application/json"}, json.dumps(body).encode())
        )

    def signed_by_stripe(self, event: Mapping[str, Any]) -> Delivery:
        """A webhook with this event and a good signature."""
        body = json.dumps(event).encode()
        header = sign(STRIPE_SECRET, int(self.now.timestamp()), body)
        return Delivery(f"{API}/webhooks/stripe", {"stripe-signature": header}, body)

    def waiting(self, kind: str) -> Delivery:
        """The one webhook of this type that waits to be delivered."""
        (delivery,) = [waiting for waiting in self.deliveries if json.loads(waiting.body).get("type") == kind]
        return delivery

    def queued(self, name: str) -> list[Any]:
        """The bodies of the messages that wait in a queue."""
        answer = boto3.client("sqs").receive_message(QueueUrl=self.queues[name], MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    def serve_people(self) -> None:
        """Work off what waits in the customers queue, such as what people demand of their data."""
        while messages := self.queued("customers"):
            records = [{"messageId": str(n), "body": json.dumps(body)} for n, body in enumerate(messages)]
            result = import_module("functions.customer_service.keep").handler({"Records": records}, Context())
            assert result == {"batchItemFailures": []}, result

    def sweep(self) -> Any:
        """Run the minute's sweep."""
        return import_module("functions.place_order.sweep").handler({}, Context())

    # ---- the record ------------------------------------------------------------------------------------------------

    def stock_up(
        self, sku: str = "SHIRT", quantity: int = 10, *, lots: Mapping[str, int] | None = None, **product: Any
    ) -> None:
        """A product with stock at the main facility, of these lots (``2027-01-31#L-1``) where it tracks them."""
        self.app.inventory.put_product(
            Product(**{"sku": sku, "title": sku.title(), "price": 1999, "currency": "USD", **product}), self.now
        )
        if quantity:
            self.app.inventory.move(
                Movement(
                    "receive",
                    sku,
                    quantity,
                    "main",
                    "A-01",
                    "delivery",
                    "staff:kim",
                    f"receive-{sku}",
                    self.now,
                    lots=lots or {},
                )
            )

    def stock_many(self, skus: Sequence[str], quantity: int) -> None:
        """Many products with stock, written without transactions: moto copies its tables for each one."""
        table = self.app.inventory.table
        for sku in skus:
            product = Product(sku=sku, title=sku, price=100, currency="USD", version=1)
            write, *_ = self.app.inventory._product_writes(product, None, self.now)
            stock = {"pk": f"SKU#{sku}", "sk": "STOCK#0", "entity": "stock", "sku": sku}
            place = {"pk": f"SKU#{sku}", "sk": "LOCATION#main", "entity": "location", "sku": sku, "facility": "main"}
            counted = {"on_hand": quantity, "unallocated": quantity, "allocated": 0, "damaged": 0, "quarantined": 0}
            counted["bin#A-01"] = quantity
            for item in (
                write.action["Put"]["Item"],
                to_item({**stock, "available": quantity, "version": 1, "changed_at": to_text(self.now)}),
                to_item({**place, **counted}),
            ):
                table.client.put_item(TableName=table.name, Item=item)

    def list_on(self, channel: str, sku: str = "SHIRT", **terms: Any) -> None:
        """A listing on a channel."""
        self.app.inventory.put_listing(Listing(sku, channel, terms.pop("listing_id", sku), **terms), self.now)

    def available(self, sku: str = "SHIRT") -> int:
        """What may still be promised."""
        return self.app.inventory.level(sku).available

    def order_of(self, channel: str, external_id: str) -> Order:
        """Our order for a marketplace's."""
        return self.app.orders.require(order_id_for(channel, external_id))

    def identity_holds(self, *skus: str) -> bool:
        """Whether available + earmarked + (promised − oversold) = sound units on hand, for each SKU, and the bins of
        each place add up to what lies there, and so do the lots of each bin where they are tracked."""
        items = list(_everything(self.app.orders.table))
        for sku in skus:
            held = 0
            for item in items:
                if item["entity"] == "order":
                    order = self.app.orders.get(item["pk"].removeprefix("ORDER#"))
                    if order:
                        held += order.promised().get(sku, 0) - order.oversold.get(sku, 0) * bool(order.promised())
            places = self.app.inventory.locations(sku).values()
            pool = queue_of(self.app.inventory, sku).earmarked
            if self.available(sku) + pool + held != sum(place.sound for place in places):
                return False
            if any(sum(place.bins.values()) != place.on_hand for place in places):
                return False
            product = self.app.inventory.product(sku)
            if (
                product
                and product.tracks_lots
                and any(place.of_no_lot(name) for place in places for name in place.bins)
            ):
                return False
        return True


def _logical(name: str, kind: str) -> str:
    """``payment-work`` as the template calls it: ``PaymentWorkQueue``."""
    return "".join(part.title() for part in name.split("-")) + kind


@cache
def _schema(route: str, status: int) -> Draft202012Validator:
    """What ``docs/openapi.json`` promises of an answer. ``KeyError`` for an answer that it does not know."""
    document = openapi.document()
    method, path = route.split(" ")
    (content,) = document["paths"][path][method.lower()]["responses"][str(status)]["content"].values()
    return Draft202012Validator({**content["schema"], "components": document["components"]})


def _keeps_the_contract(route: str, answer: Answer) -> None:
    _schema(route, answer.status).validate(answer.body)


def _everything(table: Any) -> Iterator[dict[str, Any]]:
    for page in table.client.get_paginator("scan").paginate(TableName=table.name):
        yield from (from_item(item) for item in page["Items"])


def checkout(*lines: tuple[str, int], **changes: Any) -> dict[str, Any]:
    """The body of a placement."""
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
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines or (("SHIRT", 2),)],
        "currency": "USD",
    }
    return {**body, **changes}


@contextmanager
def open_shop() -> Iterator[Shop]:
    """A shop on fresh moto tables, with nothing counted yet: tests share one process and its metrics."""
    Metrics().clear_metrics()
    with mock_aws():
        shop = Shop()
        try:
            yield shop
        finally:
            bootstrap.use(None)
        assert not shop.refused, "\n".join(sorted(shop.refused))
