"""What may be done about an order is what its routes do: every action offered works, every other one is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from oms.runtime.dynamo import from_item, to_item
from tests.component.test_channels import buys, on_sale
from tests.component.test_messages import Mailbox
from tests.component.test_shipping import seen, shipped
from tests.support.floor import Floor
from tests.support.shop import Answer, Shop, checkout
from tests.support.till import TILL, by_phone, deliver, open_a_store, over_the_counter, sell

AGENT = {"cognito:groups": "[agent]", "cognito:username": "sam"}
OPS = {"cognito:groups": "[ops]", "cognito:username": "kim"}
ENTRIES = (
    "place_order.api",
    "place_order.staff",
    "customer_service.api",
    "customer_service.aftersales",
    "messages.api",
)


class KnownStaff:
    """Takes a bearer token for the claims that it spells."""

    def claims(self, bearer: str) -> Any:
        return json.loads(bearer)


# ---- orders in many states -------------------------------------------------------------------------------------------


def placed(floor: Floor) -> str:
    return str(floor.shop.place(checkout(("SHIRT", 2), ("MUG", 1))).body["order_id"])


def paid(floor: Floor, method: str = "pm_card_visa") -> Answer:
    order = floor.shop.place(checkout(("SHIRT", 2), ("MUG", 1)))
    floor.shop.pay(order, method)
    floor.shop.deliver_all()
    return order


def confirmed(floor: Floor) -> str:
    return str(paid(floor).body["order_id"])


def allocated(floor: Floor) -> str:
    order = paid(floor)
    floor.settle()
    return str(order.body["order_id"])


def being_picked(floor: Floor) -> str:
    order_id = allocated(floor)
    floor.post(floor.work()["tasks"][0]["task_id"], "scans", {"sku": "SHIRT", "quantity": 1})
    return order_id


def held(floor: Floor) -> str:
    order_id = allocated(floor)
    for kind in ("fraud", "address"):
        floor.shop.app.holding.put(order_id, kind, reason="odd", owner="risk", hours=2, actor="staff:sam")
    return order_id


def overpaid(floor: Floor) -> str:
    order = floor.shop.place(checkout(("SHIRT", 2), ("MUG", 1)))
    floor.shop.pay(order)
    event = json.loads(floor.shop.waiting("payment_intent.succeeded").body)
    event["data"]["object"]["amount_received"] += 500
    floor.shop.deliver(floor.shop.signed_by_stripe(event))
    return str(order.body["order_id"])


def gone(floor: Floor) -> str:
    return str(shipped(floor, ("SHIRT", 2), ("MUG", 1)).body["order_id"])


def in_trouble(floor: Floor) -> str:
    order = shipped(floor, ("SHIRT", 2), ("MUG", 1))
    for delivery in seen(floor, order, "failure"):
        floor.shop.deliver(delivery)
    return str(order.body["order_id"])


def arrived(floor: Floor) -> str:
    order = shipped(floor, ("SHIRT", 2), ("MUG", 1))
    for delivery in seen(floor, order, "delivered"):
        floor.shop.deliver(delivery)
    return str(order.body["order_id"])


def coming_back(floor: Floor) -> str:
    order = shipped(floor, ("SHIRT", 2), ("MUG", 1))
    asked = floor.shop.call(
        "customer_service.aftersales",
        "POST /orders/{id}/returns",
        {"lines": [{"line": 1, "quantity": 2, "reason": "damaged"}, {"line": 2, "quantity": 1, "reason": "other"}]},
        path={"id": order.body["order_id"]},
        headers={"order-token": order.body["order_token"], "idempotency-key": "return-0001"},
    )
    assert asked.status == 201
    return str(order.body["order_id"])


def cancelled(floor: Floor) -> str:
    order = paid(floor)
    floor.shop.cancel(order)
    return str(order.body["order_id"])


def refund_failed(floor: Floor) -> str:
    order = paid(floor, "pm_card_refundFail")
    floor.shop.cancel(order)
    floor.shop.settle(order)
    floor.shop.later(minutes=5)
    floor.shop.stripe.tick()
    floor.shop.news()
    return str(order.body["order_id"])


def disputed(floor: Floor) -> str:
    order = paid(floor)
    floor.shop.stripe_plays("disputes", payment_intent=floor.shop.intent_of(order))
    floor.shop.news()
    return str(order.body["order_id"])


def expired(floor: Floor) -> str:
    order_id = placed(floor)
    floor.shop.later(hours=2)
    floor.shop.sweep()
    return order_id


def forgotten(floor: Floor) -> str:
    order = paid(floor)
    order_id = str(order.body["order_id"])
    floor.shop.cancel(order)
    floor.shop.settle(order)
    floor.shop.news()
    assert floor.shop.app.erasing.forget(order_id, "demand web#demand-1") == ""
    return order_id


def of_a_marketplace(floor: Floor) -> str:
    on_sale(floor.shop, "etsy", "SHIRT", 10)
    external = buys(floor.shop, "etsy", 2)
    floor.shop.deliver_all()
    return floor.shop.order_of("etsy", external).order_id


def on_invoice(floor: Floor) -> str:
    open_a_store(floor.shop)
    return str(sell(floor.shop, by_phone(), staff=OPS).body["order_id"])


def not_on_the_books(floor: Floor) -> str:
    open_a_store(floor.shop)
    return str(sell(floor.shop, over_the_counter(("SHIRT", 7))).body["order_id"])


def on_the_books_since(floor: Floor) -> str:
    order_id = not_on_the_books(floor)
    deliver(floor.shop, "SHIRT", 2)
    return order_id


STATES: tuple[Callable[[Floor], str], ...] = (
    *(placed, confirmed, allocated, being_picked, held, overpaid, gone, in_trouble, arrived, coming_back),
    *(cancelled, refund_failed, disputed, expired, forgotten, of_a_marketplace),
    *(on_invoice, not_on_the_books, on_the_books_since),
)


# ---- trying everything -----------------------------------------------------------------------------------------------


def offered(shop: Shop, order_id: str, staff: Any) -> list[Any]:
    answer = shop.call("customer_service.api", "GET /orders/{id}/actions", path={"id": order_id}, staff=staff)
    assert answer.status == 200, answer
    found: list[Any] = answer.body["actions"]
    return found


def route_of(action: Any) -> tuple[str, str, dict[str, str]]:
    """The handler, the route and its path parameters."""
    for entry in ENTRIES:
        for route in import_module(f"functions.{entry}").ROUTES:
            method, path = route.split(" ")
            pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path))
            match = re.fullmatch(pattern, action["path"])
            if match and method == action["method"]:
                return entry, route, match.groupdict()
    raise AssertionError(f"no route for {action['method']} {action['path']}")


def do(shop: Shop, order_id: str, action: Any, staff: Any, key: str) -> Answer:
    """What the agent's screen would send."""
    entry, route, path = route_of(action)
    body = action["body"]
    if action["action"] == "change_address":
        body = {**checkout()["shipping_address"], **shop.app.orders.require(order_id).address, "line2": "at the back"}
    headers = {"authorization": f"Bearer {json.dumps(staff)}"}
    if action["idempotency_key"]:
        headers["idempotency-key"] = key
    return shop.call(entry, route, body, path=path, headers=headers, staff=staff)


class Saved:
    """The tables as they are, to go back to."""

    def __init__(self, shop: Shop) -> None:
        self.tables = [shop.app.orders.table, shop.app.inventory.table]
        self.items = [self._read(table) for table in self.tables]

    def restore(self) -> None:
        for table, items in zip(self.tables, self.items, strict=True):
            now = self._read(table)
            for key in now.keys() - items.keys():
                table.client.delete_item(TableName=table.name, Key=table.key(*key))
            for key, item in items.items():
                if now.get(key) != item:
                    table.client.put_item(TableName=table.name, Item=to_item(item))

    def _read(self, table: Any) -> dict[tuple[str, str], Any]:
        pages = table.client.get_paginator("scan").paginate(TableName=table.name)
        items = [from_item(item) for page in pages for item in page["Items"]]
        return {(item["pk"], item["sk"]): item for item in items}


@pytest.fixture
def floor(shop: Shop) -> Floor:
    mailbox = Mailbox()
    object.__setattr__(shop.app.telling, "notifier", lambda: mailbox)
    object.__setattr__(shop.app.settings, "mails_are_sent", "yes")
    shop.app.__dict__["staff_tokens"] = KnownStaff()
    shop.stock_up("SHIRT", 20)
    shop.stock_up("MUG", 20, price=700)
    return Floor(shop)


@pytest.mark.parametrize(
    ("state", "staff"),
    [*((state, OPS) for state in STATES), *((state, AGENT) for state in (held, gone, refund_failed))],
    ids=lambda each: each.__name__ if callable(each) else each["cognito:groups"],
)
def test_what_is_offered_works_and_what_is_not_is_refused(
    floor: Floor, state: Callable[[Floor], str], staff: dict[str, str]
) -> None:
    shop = floor.shop
    order_id = state(floor)
    saved = Saved(shop)
    actions = offered(shop, order_id, staff)
    assert Saved(shop).items == saved.items, "offering wrote something"
    for number, action in enumerate(actions):
        before = shop.app.orders.require(order_id)
        answer = do(shop, order_id, action, staff, f"action-{number:04d}")
        after = shop.app.orders.require(order_id)
        told = (action, answer.status, answer.body)
        if action["allowed"]:
            assert answer.status < 300, told
            assert after.payment.refund_due - before.payment.refund_due == action["refund"] or (
                action["refund"] == 0 and after.payment.refund_due < before.payment.refund_due
            ), told
            assert ("stop_fulfillment" in after.effects and "stop_fulfillment" not in before.effects) == (
                action["stops_warehouse"]
            ), told
        elif action["why_not"]["code"] == "nothing_to_do":
            assert answer.status < 300, told
            assert after == before, told
        else:
            assert answer.status >= 400, told
            assert answer.body["code"] == action["why_not"]["code"], told
            assert after == before, told
        saved.restore()


def allowed(shop: Shop, order_id: str, staff: Any = OPS) -> set[str]:
    return {action["action"] for action in offered(shop, order_id, staff) if action["allowed"]}


def test_actions_tell_the_money_and_what_becomes_of_the_warehouse(floor: Floor) -> None:
    order_id = being_picked(floor)
    by_name = {action["action"]: action for action in offered(floor.shop, order_id, AGENT)}
    cancel = by_name["cancel"]
    assert (cancel["refund"], cancel["stops_warehouse"]) == (5297, True)
    assert cancel["consequences"] == [
        "The order is cancelled then.",
        "$52.97 goes back to the customer.",
        "3 units go back on sale.",
        "The warehouse is stopped; what was picked goes back to its shelf.",
    ]
    assert by_name["edit"]["why_not"]["code"] == "picking_begun"
    assert by_name["refund_full"]["refund"] == 5297
    assert by_name["return"]["why_not"]["code"] == "invalid_request"


def test_what_is_offered_follows_the_state(floor: Floor) -> None:
    order_id = gone(floor)
    assert {"return", "refund_full", "refund_lines", "note"} <= allowed(floor.shop, order_id)
    assert not {"cancel", "edit", "change_address", "payment_link"} & allowed(floor.shop, order_id)
    assert "refund_withdraw" not in allowed(floor.shop, order_id)


def test_only_ops_are_offered_what_only_ops_may(floor: Floor) -> None:
    order_id = held(floor)
    assert "release_fraud" in allowed(floor.shop, order_id, OPS)
    assert "release_fraud" not in allowed(floor.shop, order_id, AGENT)
    assert "release_address" in allowed(floor.shop, order_id, AGENT)


def test_money_and_goods_at_a_counter_are_offered_with_their_consequences(floor: Floor) -> None:
    shop = floor.shop
    waiting = {action["action"]: action for action in offered(shop, placed(floor), TILL)}
    assert waiting["payment"]["consequences"] == [
        "The order is confirmed then.",
        "What the customer began to pay online is called off.",
        "$52.97 is booked as paid.",
    ]
    assert waiting["payment"]["body"]["amount"] == 5297
    assert waiting["bank_transfer"]["why_not"]["code"] == "forbidden"
    assert waiting["hand_over"]["why_not"]["code"] == "no_counter"
    order_id = on_the_books_since(floor)
    counter = {action["action"]: action for action in offered(shop, order_id, TILL)}
    assert counter["hand_over"]["consequences"] == [
        "The order is completed then.",
        "2 units leave the books.",
        "The inventory hold is off.",
    ]
    assert {"hand_over", "hand_over_found"} <= allowed(shop, order_id, OPS)
    assert "payment" not in allowed(shop, order_id, OPS)
