"""A simulated storefront of the merchant's own: one signed endpoint, whole orders in signed callbacks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from local.simulators.core import Clock, Deliver, Delivery, Request, Response
from local.simulators.marketplace import Handler, Marketplace, Purchase, Refused, TokenBucket, whole

SIGNING_SECRET = "whsec_" + base64.b64encode(b"storefront simulator: oms signs 1").decode()
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"storefront simulator: shop signs").decode()
MAX_QUANTITY = 999_999_999
_PAGE = 50
_TOLERANCE_SECONDS = 300


@dataclass(slots=True)
class _Item:
    sku: str
    title: str
    price: int
    currency: str
    quantity: int
    version: int = 0


class WebhookCore(Marketplace):
    """One storefront. Secrets and limits are keyword arguments and ``/_sim/config`` keys."""

    def __init__(
        self,
        clock: Clock,
        deliver: Deliver,
        *,
        signing_secret: str = SIGNING_SECRET,
        webhook_secret: str = WEBHOOK_SECRET,
        callback_url: str = "",
        per_second: int = 50,
        check_time: bool = True,
    ) -> None:
        super().__init__(clock, deliver, callback_url)
        self._secrets = {"signing_secret": signing_secret, "webhook_secret": webhook_secret}
        self._check_time = check_time
        self._second = TokenBucket(per_second, 1.0, clock)
        self._items: dict[str, _Item] = {}
        self._orders: dict[str, dict[str, Any]] = {}
        self._messages: dict[str, Handler] = {
            "inventory.set": self._set,
            "inventory.read": self._read_inventory,
            "order.read": self._read_order,
            "orders.read": self._read_orders,
            "order.shipped": self._shipped,
            "order.cancel": self._cancel_asked,
            "order.refund": self._refund_asked,
        }
        self.route("POST", "/oms", "oms", self._receive)

    def operation(self, name: str, request: Request) -> str:
        """The type of the message."""
        try:
            return str(request.json()["type"])
        except (ValueError, KeyError, TypeError):
            return name

    def authorize(self, request: Request) -> None:
        """The signature, and that it was made just now."""
        told, timestamp = request.headers, request.headers.get("webhook-timestamp", "")
        if not (timestamp.isascii() and timestamp.isdigit()):
            raise Refused(401, "Invalid timestamp")
        if self._check_time and abs(self.clock() - int(timestamp)) > _TOLERANCE_SECONDS:
            raise Refused(401, "The timestamp is too far from now")
        expected = sign(self._secrets["signing_secret"], told.get("webhook-id", ""), timestamp, request.body)
        if told.get("webhook-signature") != expected or not told.get("webhook-id"):
            raise Refused(401, "Invalid signature")

    def refusal(self, refused: Refused) -> Response:
        """One sentence."""
        return Response.of(refused.status, {"error": refused.message})

    def throttled(self, retry_after: float | None) -> Response:
        """429 with the seconds to wait."""
        headers = {} if retry_after is None else {"retry-after": str(max(1, math.ceil(retry_after)))}
        return Response.of(429, {"error": "Too many requests"}, headers)

    def limit(self) -> float:
        """So many messages a second."""
        return self._second.take()

    def configure(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Secrets, ``per_second`` and ``check_time``."""
        wanted = dict(told)
        if "per_second" in wanted:
            self._second = TokenBucket(int(wanted.pop("per_second")), 1.0, self.clock)
        self._check_time = bool(wanted.pop("check_time", self._check_time))
        if unknown := sorted(set(wanted) - set(self._secrets)):
            raise ValueError(f"no such setting: {', '.join(unknown)}")
        self._secrets.update({name: str(value) for name, value in wanted.items()})
        return {"endpoint": "/oms"}

    def put_on_sale(self, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A product page, known by its SKU."""
        sku = str(told["sku"])
        if sku not in self._items:
            self._items[sku] = _Item(
                sku,
                str(told.get("title") or sku),
                int(told.get("price_minor", 1000)),
                str(told.get("currency", "USD")),
                int(told.get("quantity", 0)),
            )
        return [{"sku": sku, "listing_id": f"page-{sku}"}]

    def shown(self, sku: str) -> int | None:
        """What the page shows."""
        item = self._items.get(sku)
        return None if item is None else max(0, item.quantity)

    def sell(self, purchase: Purchase) -> str:
        """The page's number falls, and the order is told once it is paid."""
        order_id = f"web-{self.next_number('order', 1001)}"
        lines: list[dict[str, Any]] = []
        for sku, quantity in purchase.lines:
            item = self._items[sku]
            item.quantity -= quantity
            line = {"id": f"{order_id}-{len(lines) + 1}", "sku": sku, "title": item.title}
            lines.append({**line, "quantity": quantity, "unit_price": item.price})
        self._orders[order_id] = self._new_order(order_id, lines, purchase)
        if purchase.paid:
            self._announce("order.created", order_id)
        return order_id

    def cancel(self, order_id: str) -> bool:
        """Told to us at once."""
        order = self._orders.get(order_id)
        if order is None:
            return False
        order["cancelled"] = True
        order["updated_at"] = max(order["updated_at"], self._now())
        self._announce("order.cancelled", order_id)
        return True

    def refund(self, order_id: str, amount: int, removed: Mapping[str, int]) -> bool:
        """Told to us at once."""
        order = self._orders.get(order_id)
        if order is None:
            return False
        order["refunded"] = order.get("refunded", 0) + amount
        order["updated_at"] = max(order["updated_at"], self._now())
        self._announce("order.updated", order_id)
        return True

    def order_report(self, order_id: str) -> dict[str, Any] | None:
        """As far as the storefront was told."""
        order = self._orders.get(order_id)
        if order is None:
            return None
        return {
            "order_id": order_id,
            "cancelled": order["cancelled"],
            "lines": [{"sku": each["sku"], "quantity": each["quantity"]} for each in order["lines"]],
            "shipments": order["shipments"],
        }

    # Messages.

    def _receive(self, request: Request, arguments: Mapping[str, str]) -> Response:
        message = request.json()
        handler = self._messages.get(message["type"])
        if handler is None:
            raise Refused(400, "Unknown type")
        return handler(request, message["data"])

    def _set(self, _: Request, data: Mapping[str, Any]) -> Response:
        return Response.of(200, {"results": [self._set_row(row) for row in data["quantities"]]})

    def _set_row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        item = self._items.get(row["sku"])
        quantity = whole(row["quantity"], 0, MAX_QUANTITY, "Invalid quantity")
        version = whole(row["version"], 0, 2**63, "Invalid version")
        if item is None or row["listing_id"] != f"page-{item.sku}":
            return {"sku": row["sku"], "accepted": False, "quantity": 0, "detail": "no such page"}
        if item.sku in self.faults.reject_skus:
            return {"sku": item.sku, "accepted": False, "quantity": item.quantity, "detail": "the page is locked"}
        if version >= item.version:
            item.quantity, item.version = quantity, version
        return {"sku": item.sku, "accepted": True, "quantity": item.quantity}

    def _read_inventory(self, _: Request, data: Mapping[str, Any]) -> Response:
        skus: Sequence[str] = [each["sku"] for each in data["listings"]]
        known = [self._items[sku] for sku in skus if sku in self._items]
        return Response.of(200, {"quantities": [{"sku": each.sku, "quantity": each.quantity} for each in known]})

    def _read_order(self, _: Request, data: Mapping[str, Any]) -> Response:
        order = self._orders.get(data["order_id"])
        return Response.of(200, {"order": None if order is None else self._as_shown(order)})

    def _read_orders(self, _: Request, data: Mapping[str, Any]) -> Response:
        start = json.loads(data["cursor"]) if data["cursor"] else [data["updated_since"], ""]
        found = sorted((each["updated_at"], each["id"]) for each in self._orders.values())
        rest = [key for key in found if key > tuple(start)]
        page = rest[:_PAGE]
        cursor = json.dumps(page[-1]) if len(rest) > _PAGE else None
        orders = [self._as_shown(self._orders[order_id]) for _, order_id in page]
        return Response.of(200, {"orders": orders, "cursor": cursor})

    def _shipped(self, _: Request, data: Mapping[str, Any]) -> Response:
        order = self._orders.get(data["order_id"])
        if order is None:
            raise Refused(400, "No such order")
        if all(each["shipment_id"] != data["shipment_id"] for each in order["shipments"]):
            order["shipments"].append({name: value for name, value in data.items() if name != "order_id"})
            order["updated_at"] = max(order["updated_at"], self._now())
        return Response.of(200, {})

    def _cancel_asked(self, _: Request, data: Mapping[str, Any]) -> Response:
        order = self._orders.get(data["order_id"])
        if order is None:
            raise Refused(400, "No such order")
        if not order["cancelled"]:
            self.cancel(order["id"])
        return Response.of(200, {})

    def _refund_asked(self, _: Request, data: Mapping[str, Any]) -> Response:
        order = self._orders.get(data["order_id"])
        if order is None:
            raise Refused(400, "No such order")
        total = whole(data["refunded_total"], 0, order["total"], "More than was paid")
        if total > order.get("refunded", 0):
            self.refund(order["id"], total - order.get("refunded", 0), {})
        return Response.of(200, {})

    def _as_shown(self, order: dict[str, Any]) -> dict[str, Any]:
        return self.legible(order["id"], order, "total")

    def _new_order(self, order_id: str, lines: list[dict[str, Any]], purchase: Purchase) -> dict[str, Any]:
        buyer = purchase.buyer
        name = str(buyer.get("name", "Sim Buyer"))
        items = sum(each["unit_price"] * each["quantity"] for each in lines)
        return {
            "id": order_id,
            "buyer": {"id": str(buyer.get("id", 2001)), "name": name, "email": buyer.get("email")},
            "address": {
                "name": name,
                "line1": str(buyer.get("line1", "12 Elm Street")),
                "line2": buyer.get("line2"),
                "city": str(buyer.get("city", "Portland")),
                "region": buyer.get("region", "OR"),
                "postal_code": str(buyer.get("postal_code", "97201")),
                "country": str(buyer.get("country", "US")),
            },
            "lines": lines,
            "currency": self._items[lines[0]["sku"]].currency,
            "shipping": purchase.shipping,
            "tax": purchase.tax,
            "discount": purchase.discount,
            "total": items + purchase.shipping + purchase.tax - purchase.discount,
            "paid": purchase.paid,
            "cancelled": False,
            "placed_at": self._now(),
            "updated_at": self._now(),
            "shipments": [],
        }

    def _now(self) -> str:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(self.clock()))
        return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def _announce(self, kind: str, order_id: str) -> None:
        payload = {"type": kind, "timestamp": self._now(), "data": self._orders[order_id]}
        body = json.dumps(payload, separators=(",", ":")).encode()
        message_id = f"msg_{self.next_number('message'):08d}"

        def build() -> Delivery:
            timestamp = str(int(self.clock()))
            headers = {
                "content-type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": timestamp,
                "webhook-signature": sign(self._secrets["webhook_secret"], message_id, timestamp, body),
            }
            return Delivery(self.callback_url, headers, body)

        self.notify(build)


def sign(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """By the Standard Webhooks scheme, written anew here: the simulator is to find mistakes in ours."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
