"""A store with a till, and what agents and tills send."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from oms.fulfillment.facilities import Facility, save_facility
from oms.inventory.model import Movement
from oms.messages.kinds import Due, due_messages
from oms.orders.model import Order
from tests.support.floor import ORIGIN
from tests.support.shop import Answer, Shop, checkout

AGENT = {"cognito:groups": "[agent]", "cognito:username": "kim"}
TILL = {"cognito:groups": "[pos]", "cognito:username": "till-3"}
OPS = {"cognito:groups": "[ops]", "cognito:username": "sam"}
_DELIVERIES = count()
CASH = {"method": "cash"}
CARD = {"method": "card_terminal", "reference": "terminal 7, 0042"}


def with_a_store(shop: Shop) -> Shop:
    """A warehouse with ten shirts and mugs, and a store with five shirts."""
    shop.stock_up("SHIRT", 10)
    shop.stock_up("MUG", 10, price=500)
    return open_a_store(shop)


def open_a_store(shop: Shop) -> Shop:
    """A store with five shirts."""
    save_facility(shop.app.inventory, Facility("store", ORIGIN, kind="store", pickup=True, ships=False), shop.now)
    deliver(shop, "SHIRT", 5)
    return shop


def deliver(shop: Shop, sku: str, units: int) -> None:
    """Units come to the store."""
    key = f"to-the-store-{sku}-{next(_DELIVERIES)}"
    shop.app.inventory.move(Movement("receive", sku, units, "store", "S-01", "delivered", "staff:kim", key, shop.now))


def sell(shop: Shop, body: Mapping[str, Any], key: str = "till-3-0001", staff: Mapping[str, str] = TILL) -> Answer:
    """Send what an agent or a till sends."""
    return shop.call(
        "place_order.staff", "POST /staff/orders", dict(body), headers={"idempotency-key": key}, staff=staff
    )


def over_the_counter(*lines: tuple[str, int], **changes: Any) -> dict[str, Any]:
    """What a till sends of a sale whose goods have left with the customer."""
    body = {
        "channel": "pos",
        "counter": "store",
        "currency": "USD",
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines or (("SHIRT", 2),)],
        "payment": CASH,
    }
    return {**body, **changes}


def by_phone(*lines: tuple[str, int], **changes: Any) -> dict[str, Any]:
    """An order that an agent takes."""
    return {**checkout(*lines), "channel": "phone", "payment": {"method": "invoice"}, **changes}


def order_of(shop: Shop, answer: Answer) -> Order:
    """The order of an answer."""
    return shop.app.orders.require(answer.body["order_id"])


def history(shop: Shop, answer: Answer) -> list[str]:
    """The order's events, proven."""
    return [event["type"] for event in shop.app.orders.verified_history(answer.body["order_id"])]


def mails(shop: Shop, answer: Answer) -> list[str]:
    """The kinds of message that the order calls for."""
    events = shop.app.orders.parts(answer.body["order_id"], "EVENT#")
    return [due.kind for due in due_messages(order_of(shop, answer), events, shop.now)]


def at_the_store(shop: Shop, sku: str = "SHIRT") -> int:
    """Units on hand at the store."""
    return shop.app.inventory.location(sku, "store").on_hand


def due_of(shop: Shop, answer: Answer, kind: str) -> Due:
    """The message of a kind that the order calls for."""
    events = shop.app.orders.parts(answer.body["order_id"], "EVENT#")
    return next(due for due in due_messages(order_of(shop, answer), events, shop.now) if due.kind == kind)
