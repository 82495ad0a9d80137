"""A channel's adapter wired to its simulated marketplace in process, with hands to buy and to sabotage."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local.simulators import amazon as amazon_simulator
from local.simulators import ebay as ebay_simulator
from local.simulators import etsy as etsy_simulator
from local.simulators import shopify as shopify_simulator
from local.simulators import webhook as webhook_simulator
from local.simulators.core import Delivery, Request
from local.simulators.inprocess import transport_to
from local.simulators.marketplace import Marketplace
from oms.channels import registry
from oms.channels.amazon import parse_notification
from oms.channels.port import Callback, Channel, ListingRef, Notice
from oms.runtime.outbound import HttpRequest, HttpResponse, Transport

START = 1_763_900_000.0
CALLBACK_URL = "https://shop.example/channels/callbacks"

SECRETS: dict[str, dict[str, Any]] = {
    "etsy": {
        "api_key": etsy_simulator.API_KEY,
        "access_token": etsy_simulator.ACCESS_TOKEN,
        "shop_id": str(etsy_simulator.SHOP_ID),
        "webhook_secrets": [etsy_simulator.WEBHOOK_SECRET],
    },
    "ebay": {
        "access_token": ebay_simulator.ACCESS_TOKEN,
        "verification_token": ebay_simulator.VERIFICATION_TOKEN,
        "endpoint": CALLBACK_URL,
        "marketplace_id": ebay_simulator.MARKETPLACE_ID,
        "merchant_location_key": "main",
    },
    "shopify": {
        "access_token": shopify_simulator.ACCESS_TOKEN,
        "shop_domain": shopify_simulator.SHOP_DOMAIN,
        "location_id": shopify_simulator.LOCATION_ID,
        "webhook_secrets": [shopify_simulator.WEBHOOK_SECRET],
    },
    "amazon": {
        "access_token": amazon_simulator.ACCESS_TOKEN,
        "seller_id": amazon_simulator.SELLER_ID,
        "marketplace_id": amazon_simulator.MARKETPLACE_ID,
    },
    "webhook": {
        "signing_secret": webhook_simulator.SIGNING_SECRET,
        "webhook_secrets": [webhook_simulator.WEBHOOK_SECRET],
    },
}
CHANNELS = registry.channel_names()


@dataclass
class Settings:
    """As much of the environment as the registry reads."""

    etsy_api_base: str = "http://etsy"
    ebay_api_base: str = "http://ebay"
    shopify_api_base: str = "http://shopify"
    amazon_api_base: str = "http://amazon"
    webhook_api_base: str = "http://webhook"
    etsy_secret_id: str = "etsy"
    ebay_secret_id: str = "ebay"
    shopify_secret_id: str = "shopify"
    amazon_secret_id: str = "amazon"
    webhook_secret_id: str = "webhook"


def connect(name: str, secret: Callable[[], Mapping[str, Any]], transport: Transport) -> Channel:
    """A channel as a deployment builds it."""

    class Source:
        def get(self, secret_id: str) -> Mapping[str, Any]:
            assert secret_id == name
            return secret()

    return registry.build(name, Settings(), Source(), transport)


@dataclass
class Rig:
    """One channel and its marketplace."""

    name: str
    core: Marketplace = field(init=False)
    channel: Channel = field(init=False)
    secret: dict[str, Any] = field(init=False)
    now: float = START
    delivered: list[Delivery] = field(default_factory=list)
    exchanges: list[tuple[HttpRequest, HttpResponse]] = field(default_factory=list)

    def __post_init__(self) -> None:
        cores: dict[str, Callable[..., Marketplace]] = {
            "etsy": etsy_simulator.EtsyCore,
            "ebay": ebay_simulator.EbayCore,
            "shopify": shopify_simulator.ShopifyCore,
            "amazon": amazon_simulator.AmazonCore,
            "webhook": webhook_simulator.WebhookCore,
        }
        # Time stands still between calls, so budgets would never refill: tests of budgets set their own.
        plenty: dict[str, dict[str, Any]] = {
            "etsy": {"per_second": 10_000, "per_day": 100_000},
            "ebay": {"per_day": 100_000},
            "shopify": {"points": 1_000_000},
            "amazon": {"rate_factor": 1_000, "apply_seconds": 0, "search_lag_seconds": 0},
            # The adapter signs by the clock on the wall, and the storefront's stands still.
            "webhook": {"per_second": 10_000, "check_time": False},
        }
        self.core = cores[self.name](
            lambda: self.now, self.delivered.append, callback_url=CALLBACK_URL, **plenty[self.name]
        )
        self.secret = dict(SECRETS[self.name])
        send = transport_to({self.name: self.core})

        def recorded(request: HttpRequest, *, timeout: float) -> HttpResponse:
            response = send(request, timeout=timeout)
            self.exchanges.append((request, response))
            return response

        self.channel = connect(self.name, lambda: self.secret, recorded)

    @property
    def moment(self) -> datetime:
        """The marketplace's time."""
        return datetime.fromtimestamp(self.now, UTC)

    def control(self, method: str, path: str, payload: Any = None, status: int = 0) -> Any:
        """Call a ``/_sim`` route; any 2xx will do unless a status is named."""
        body = b"" if payload is None else json.dumps(payload).encode()
        answer = self.core.handle(Request.to(method, f"/_sim/{path}", {}, body))
        assert answer.status == status if status else answer.status < 300, answer.body
        return answer.json()

    def list_sku(self, sku: str, quantity: int = 5, **more: Any) -> ListingRef:
        """Put a SKU on sale."""
        told = {"sku": sku, "title": f"The {sku}", "price_minor": 1999, "currency": "USD", **more}
        listed = self.control("POST", "listings", {**told, "quantity": quantity})["listings"]
        return ListingRef(sku, listed[0]["listing_id"])

    def shown(self, sku: str) -> int:
        """What buyers see."""
        return int(self.control("GET", f"listings/{sku}")["quantity"])

    def buy(self, lines: Mapping[str, int], **more: Any) -> str:
        """A buyer orders; the order's id."""
        wanted = [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]
        return str(self.control("POST", "purchases", {"lines": wanted, **more})["order_id"])

    def report(self, order_id: str) -> Any:
        """What the marketplace was told of an order."""
        return self.control("GET", f"orders/{order_id}")

    def faults(self, **told: Any) -> None:
        """From now on, these faults and no others."""
        self.control("POST", "faults", {"reset": True, **told})

    def callbacks(self) -> list[Callback]:
        """The callbacks that arrived, oldest first."""
        return [arrived(each) for each in self.delivered]

    def hear(self, callback: Callback) -> list[Notice]:
        """What a callback says to us; Amazon's come by queue."""
        if self.name != "amazon":
            return list(self.channel.read_callback(callback, self.moment))
        notice = parse_notification(callback.body, self.secret["seller_id"])
        return [] if notice is None else [notice]

    def calls(self, operation: str) -> int:
        """How often the marketplace was asked for an operation."""
        return int(self.control("GET", "calls")["counts"].get(operation, 0))


def arrived(delivery: Delivery) -> Callback:
    """A delivery as our endpoint sees it."""
    return Callback("POST", {k.lower(): v for k, v in delivery.headers.items()}, {}, delivery.body)


def etsy_callback(
    body: bytes,
    moment: float,
    *,
    secret: str = etsy_simulator.WEBHOOK_SECRET,
    message_id: str = "msg_test",
    prefix: str = "v1,",
) -> Callback:
    """A callback signed as Etsy signs."""
    timestamp = str(int(moment))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": prefix + base64.b64encode(digest).decode(),
    }
    return Callback("POST", headers, {}, body)


def ebay_callback(body: bytes, **claims: str) -> Callback:
    """A callback signed as eBay signs; ``claims`` replace parts of the signature header."""
    header = json.loads(base64.b64decode(ebay_simulator.sign(body)))
    encoded = base64.b64encode(json.dumps({**header, **claims}).encode()).decode()
    return Callback("POST", {"x-ebay-signature": encoded}, {}, body)


def webhook_callback(
    body: bytes, moment: float, *, secret: str = webhook_simulator.WEBHOOK_SECRET, message_id: str = "msg_test"
) -> Callback:
    """A callback signed as a storefront signs."""
    return etsy_callback(body, moment, secret=secret, message_id=message_id)


def shopify_callback(body: bytes, *, secret: str = shopify_simulator.WEBHOOK_SECRET, **headers: str) -> Callback:
    """A callback signed as Shopify signs; ``headers`` are told without ``x-shopify-``, with ``_`` for ``-``."""
    told = {
        "topic": "orders/paid",
        "shop-domain": shopify_simulator.SHOP_DOMAIN,
        "webhook-id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
        "hmac-sha256": shopify_simulator.sign(body, secret),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return Callback("POST", {f"x-shopify-{name}": value for name, value in told.items()}, {}, body)


def answering(name: str, *answers: tuple[int, Any], sent: list[HttpRequest] | None = None) -> Channel:
    """A channel whose marketplace gives these answers, in turn, whatever is asked."""
    waiting = list(answers)

    def send(request: HttpRequest, *, timeout: float) -> HttpResponse:
        if sent is not None:
            sent.append(request)
        status, payload = waiting.pop(0)
        return HttpResponse(status, {}, json.dumps(payload).encode())

    return connect(name, lambda: SECRETS[name], send)
