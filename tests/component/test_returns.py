"""After the sale: refunds that agents decide, and returns from the request to the money."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from functions.fulfillment import track_parcels
from local.simulators.core import Request, Response
from oms.payments.settle import mark_refund
from tests.support.floor import Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop, checkout

AGENT = {"cognito:groups": "[agent]", "cognito:username": "sam"}
OPS = {"cognito:groups": "[ops]", "cognito:username": "kim"}


@pytest.fixture
def floor(shop: Shop) -> Floor:
    shop.stock_up("SHIRT", 10)
    shop.stock_up("MUG", 10, price=700)
    return Floor(shop)


def shipped(floor: Floor, *lines: tuple[str, int]) -> Answer:
    placed = floor.shop.place(checkout(*lines or (("SHIRT", 2), ("MUG", 1))))
    floor.shop.pay(placed)
    floor.shop.deliver_all()
    floor.do_all()
    return placed


def refund(shop: Shop, order: Answer, body: Any, key: str = "refund-0001", staff: Any = AGENT) -> Answer:
    return shop.call(
        "customer_service.api",
        "POST /orders/{id}/refunds",
        body,
        path={"id": order.body["order_id"]},
        headers={"idempotency-key": key},
        staff=staff,
    )


def after_sales(shop: Shop, order: Answer, route: str, body: Any = None, key: str = "", **path: str) -> Answer:
    headers = {"order-token": order.body["order_token"], **({"idempotency-key": key} if key else {})}
    return shop.call(
        "customer_service.aftersales", route, body, path={"id": order.body["order_id"], **path}, headers=headers
    )


def ask(shop: Shop, order: Answer, *lines: tuple[int, int, str], key: str = "return-0001", **more: Any) -> Answer:
    body = {"lines": [{"line": n, "quantity": units, "reason": why} for n, units, why in lines], **more}
    return after_sales(shop, order, "POST /orders/{id}/returns", body, key)


def scan(shop: Shop, found: Mapping[str, Any], sku: str, units: int, grade: str, key: str) -> Answer:
    return shop.call(
        "fulfillment.warehouse_api",
        "POST /warehouse/returns/{id}/scans",
        {"facility": "main", "sku": sku, "quantity": units, "grade": grade},
        path={"id": found["return_id"]},
        headers={"idempotency-key": key},
        staff=STAFF_CLAIMS,
    )


def complete(shop: Shop, found: Mapping[str, Any]) -> Any:
    answer = shop.call(
        "fulfillment.warehouse_api",
        "POST /warehouse/returns/{id}/complete",
        path={"id": found["return_id"]},
        staff=STAFF_CLAIMS,
    )
    assert answer.status == 200, answer
    return answer.body


# ---- refunds ---------------------------------------------------------------------------------------------------------


def test_an_agent_gives_goodwill_once_and_within_the_limit(floor: Floor) -> None:
    shop = floor.shop
    order = shipped(floor)
    body = {"kind": "amount", "amount": 500, "reason": "goodwill", "note": "late by a week"}
    first, again = refund(shop, order, body), refund(shop, order, body)
    assert (first.status, again.body) == (201, first.body)
    assert refund(shop, order, {**body, "amount": 600}).status == 422
    shop.settle(order)
    assert shop.stripe_totals()["refunded"] == 500
    high = {"kind": "lines", "lines": [{"line": 1, "quantity": 2}], "reason": "damaged"}
    object.__setattr__(shop.app.crediting, "agent_limit", 1000)
    refused = refund(shop, order, high, "refund-0002")
    assert (refused.status, refused.body["code"]) == (403, "over_agent_limit")
    assert refund(shop, order, high, "refund-0003", OPS).body["amount"] == 2 * 1999
    more = refund(shop, order, {"kind": "amount", "amount": 9999, "reason": "goodwill"}, "refund-0004", OPS)
    assert (more.status, more.body["code"], more.body["refundable"]) == (409, "more_than_captured", 5297 - 500 - 3998)
    assert refund(shop, order, {**high, "lines": [{"line": 1, "quantity": 1}]}, "refund-0005", OPS).status == 422
    told = shop.call(
        "customer_service.api", "GET /orders/{id}/refunds", path={"id": order.body["order_id"]}, staff=AGENT
    )
    assert [(each["amount"], each["failure"]) for each in told.body["refunds"]] == [(500, None), (3998, None)]


def test_shipping_is_given_back_once_and_only_by_agents(floor: Floor) -> None:
    shop = floor.shop
    order = shipped(floor)
    body = {"kind": "shipping", "reason": "late"}
    assert refund(shop, order, body, staff={"cognito:groups": "[warehouse]"}).status == 403
    assert refund(shop, order, body).body["amount"] == 599
    assert refund(shop, order, body, "refund-0002").body["code"] == "already_refunded"
    rest = refund(shop, order, {"kind": "full", "reason": "other", "note": "closed account"}, "refund-0003", OPS)
    assert rest.body["amount"] == 5297 - 599


def test_a_refund_that_failed_is_seen_and_sent_again(floor: Floor) -> None:
    shop = floor.shop
    order = shipped(floor)
    refund(shop, order, {"kind": "amount", "amount": 500, "reason": "goodwill"})
    real = shop.stripe.handle

    def refused(request: Request) -> Any:
        if request.method == "POST" and request.path == "/v1/refunds":
            body = {"error": {"type": "invalid_request_error", "code": "charge_disputed", "message": "no"}}
            return Response.of(400, body)
        return real(request)

    shop.stripe.handle = refused  # type: ignore[method-assign]
    shop.settle(order)
    shop.stripe.handle = real  # type: ignore[method-assign]
    (failed,) = shop.call(
        "customer_service.api", "GET /orders/{id}/refunds", path={"id": order.body["order_id"]}, staff=AGENT
    ).body["refunds"]
    assert (failed["status"], failed["failure"]) == ("failed", "charge_disputed")
    path = {"id": order.body["order_id"], "refund": failed["refund_id"]}
    for _ in range(2):
        again = shop.call("customer_service.api", "POST /orders/{id}/refunds/{refund}/retry", path=path, staff=AGENT)
        assert (again.status, again.body["refunds"][0]["status"]) == (200, "requested")
    shop.settle(order)
    assert shop.stripe_totals()["refunded"] == 500
    assert floor.order(order).holds == {}


def test_a_credit_that_is_withdrawn_lets_its_units_and_its_shipping_be_asked_for_again(floor: Floor) -> None:
    shop = floor.shop
    order = shipped(floor)
    bodies = {
        "credit-0001": {"kind": "lines", "lines": [{"line": 1, "quantity": 2}], "reason": "damaged"},
        "credit-0002": {"kind": "shipping", "reason": "late"},
    }
    route = "POST /orders/{id}/refunds/{refund}/withdraw"
    for key, body in bodies.items():
        asked = refund(shop, order, body, key)
        assert asked.status == 201, asked
        (item,) = [
            each for each in shop.app.orders.parts(order.body["order_id"], "REFUND#") if each["status"] != "withdrawn"
        ]
        mark = mark_refund(shop.app.orders, order.body["order_id"], item, "failed", {"failure": "declined"})
        shop.app.orders.table.transact([mark])
        path = {"id": order.body["order_id"], "refund": item["refund_id"]}
        for _ in range(2):
            told = shop.call("customer_service.api", route, {"reason": "a voucher instead"}, path=path, staff=OPS)
            assert told.status == 200, told
    assert [line.credited for line in floor.order(order).lines] == [0, 0]
    object.__setattr__(shop.app.crediting, "agent_limit", 2 * 1999 + 599)
    again = [refund(shop, order, body, f"again-{key}").body["amount"] for key, body in bodies.items()]
    assert again == [2 * 1999, 599]


# ---- returns ---------------------------------------------------------------------------------------------------------


def test_a_return_is_labelled_received_unit_by_unit_and_paid_once(floor: Floor) -> None:
    shop = floor.shop
    order = shipped(floor)
    asked = ask(shop, order, (1, 2, "too_small"), (2, 1, "damaged"))
    assert (asked.status, asked.body["status"]) == (201, "approved")
    assert ask(shop, order, (1, 2, "too_small"), (2, 1, "damaged")).body == asked.body
    more = ask(shop, order, (1, 1, "too_small"), key="return-0002")
    assert (more.status, more.body["errors"][0]["message"]) == (422, "0 units of line 1 can be returned")
    labels = [after_sales(shop, order, "POST /orders/{id}/returns/{number}/label", number="1") for _ in range(2)]
    assert labels[0].body["label"] is not None
    assert labels[0].body == labels[1].body
    sold = shop.easypost.handle(Request.to("GET", "/_sim/labels")).json()
    assert len(sold) == 2

    assert [scan(shop, asked.body, "SHIRT", 1, "resellable", "scan-0001").body for _ in range(2)][1]["received"] == 1
    assert scan(shop, asked.body, "MUG", 1, "damaged", "scan-0002").status == 200
    assert scan(shop, asked.body, "MUG", 1, "damaged", "scan-0003").body["code"] == "not_expected"
    place = shop.app.inventory.location("SHIRT", "main")
    assert (place.on_hand, shop.available("SHIRT")) == (9, 9)
    assert shop.app.inventory.location("MUG", "main").quarantined == 1

    done = complete(shop, asked.body)
    # One shirt is missing and stays the customer's; the mug was our fault, so the label is ours too.
    assert (done["status"], done["worth"], done["refunded"]) == ("refunded", 1999 + 700, 1999 + 700)
    assert complete(shop, asked.body) == done
    shop.settle(order)
    assert shop.stripe_totals()["refunded"] == 2699
    assert [line.returned for line in floor.order(order).lines] == [1, 1]
    assert shop.identity_holds("SHIRT", "MUG")
    shop.app.orders.verified_history(order.body["order_id"])


def test_what_the_customer_changed_their_mind_about_costs_a_fee_and_the_label(floor: Floor) -> None:
    shop = floor.shop
    object.__setattr__(shop.app.returns.policy, "restocking_percent", 10)
    order = shipped(floor)
    asked = ask(shop, order, (1, 2, "changed_mind")).body
    label = after_sales(shop, order, "POST /orders/{id}/returns/{number}/label", number="1").body["label"]
    scan(shop, asked, "SHIRT", 1, "resellable", "scan-0001")
    scan(shop, asked, "SHIRT", 1, "damaged", "scan-0002")
    assert complete(shop, asked)["refunded"] == 1999 - 199 - label["amount"]


def test_an_exchange_takes_its_stock_at_once_and_settles_the_difference(floor: Floor) -> None:
    shop = floor.shop
    order = shipped(floor)
    asked = ask(shop, order, (1, 1, "wrong_item"), exchange=[{"sku": "MUG", "quantity": 2}]).body
    scan(shop, asked, "SHIRT", 1, "resellable", "scan-0001")
    done = complete(shop, asked)
    assert (done["status"], done["refunded"]) == ("exchanged", 1999 - 1400)
    assert (shop.available("MUG"), shop.available("SHIRT")) == (7, 9)
    swap = shop.app.orders.require(done["exchange_order"])
    assert (swap.status, swap.totals.total, swap.totals.discount) == ("confirmed", 0, 1400)
    floor.do_all()
    assert shop.app.orders.require(done["exchange_order"]).status == "completed"
    assert shop.identity_holds("SHIRT", "MUG")


def test_an_exchange_that_is_cancelled_gives_what_came_back_as_money_once(floor: Floor) -> None:
    shop = floor.shop
    order = shipped(floor)
    asked = ask(shop, order, (2, 1, "wrong_item"), exchange=[{"sku": "SHIRT", "quantity": 1}]).body
    scan(shop, asked, "MUG", 1, "resellable", "scan-0001")
    done = complete(shop, asked)
    swap = shop.app.orders.require(done["exchange_order"])
    # It costs more, so it waits for its payment, and that never comes.
    assert (swap.status, swap.totals.total) == ("placed", 1299)
    shop.later(days=4)
    shop.sweep()
    shop.sweep()
    swap = shop.app.orders.require(done["exchange_order"])
    assert (swap.status, swap.effects) == ("expired", ("cancel_intent",))
    assert floor.order(order).payment.refund_due == 700
    assert (floor.order(order).moved_credit, shop.available("SHIRT")) == (0, 8)
    assert shop.identity_holds("SHIRT", "MUG")


def test_a_return_that_is_never_sent_is_closed_and_its_units_may_be_asked_for_again(floor: Floor) -> None:
    shop = floor.shop
    order = shipped(floor)
    ask(shop, order, (1, 2, "too_large"))
    shop.later(days=15)
    shop.sweep()
    (found,) = after_sales(shop, order, "GET /orders/{id}/returns").body["returns"]
    assert (found["status"], floor.order(order).lines[0].returned) == ("closed", 0)
    again = ask(shop, order, (1, 2, "too_large"), key="return-0002")
    assert again.body["number"] == 2
    body = {"decision": "approve", "reason": "as agreed"}
    decided = after_sales(shop, order, "POST /orders/{id}/returns/{number}/decision", body, number="2")
    assert decided.status == 403
    shop.later(days=20)
    late = ask(shop, order, (2, 1, "other"), key="return-0003")
    assert (late.status, late.body["code"]) == (409, "return_window_over")


def test_a_return_is_in_transit_once_its_carrier_has_scanned_its_label(floor: Floor) -> None:
    shop = floor.shop
    order = shipped(floor)
    asked = ask(shop, order, (1, 1, "too_small")).body
    labelled = after_sales(shop, order, "POST /orders/{id}/returns/{number}/label", number=str(asked["number"])).body
    shop.deliveries.clear()
    told = {"tracking_code": labelled["label"]["tracking_number"], "status": "in_transit"}
    assert shop.easypost.handle(Request.to("POST", "/_sim/track", {}, json.dumps(told).encode())).status == 200
    for delivery in shop.deliveries * 2:
        assert shop.deliver(delivery).status == 200
    (found,) = shop.app.returns.of(order.body["order_id"])
    assert found.status.value == "in_transit"
    events = [event["type"] for event in shop.app.orders.verified_history(order.body["order_id"])]
    assert events.count("ReturnSent") == 1


def test_a_scan_of_a_return_label_that_no_webhook_told_is_asked_for(floor: Floor) -> None:
    shop = floor.shop
    order = shipped(floor)
    asked = ask(shop, order, (1, 1, "too_small")).body
    labelled = after_sales(shop, order, "POST /orders/{id}/returns/{number}/label", number=str(asked["number"])).body
    told = {"tracking_code": labelled["label"]["tracking_number"], "status": "in_transit"}
    assert shop.easypost.handle(Request.to("POST", "/_sim/track", {}, json.dumps(told).encode())).status == 200
    shop.deliveries.clear()
    shop.later(hours=13)
    track_parcels.handler({}, Context())
    (found,) = shop.app.returns.of(order.body["order_id"])
    assert found.status.value == "in_transit"
