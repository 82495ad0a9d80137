"""Pick-up in store: no label, a code, a counter, and an end for what nobody collects."""

from __future__ import annotations

from typing import Any

import pytest

from functions.place_order import sweep
from oms.fulfillment.facilities import Facility, save_facility
from oms.fulfillment.pickups import PickUps, Proof, code_opens, collection_code
from oms.inventory.model import Movement
from oms.messages.kinds import due_messages
from oms.orders.ending import EndOrders
from oms.orders.model import Status
from tests.component.test_fulfillment import paid
from tests.support.floor import ORIGIN, Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop


@pytest.fixture
def floor(shop: Shop) -> Floor:
    """A warehouse that only ships, and a store that only hands out."""
    floor = Floor(shop)
    shop.stock_up("SHIRT", 10)
    save_facility(shop.app.inventory, Facility("store", ORIGIN, kind="store", pickup=True, ships=False), shop.now)
    there = Movement("receive", "SHIRT", 5, "store", "S-01", "delivered", "staff:kim", "to-the-store", shop.now)
    shop.app.inventory.move(there)
    return floor


def waiting(floor: Floor) -> Answer:
    """An order whose parcel lies at the counter."""
    order = paid(floor, shipping_method="pickup")
    floor.settle()
    while tasks := floor.work(facility="store")["tasks"]:
        floor.do(tasks[0])
    return order


def collect(floor: Floor, order: Answer, **proof: str) -> Answer:
    path = {"id": f"{order.body['order_id']}.1"}
    route = "POST /warehouse/pickups/{id}/collect"
    return floor.shop.call("fulfillment.warehouse_api", route, proof, path=path, staff=STAFF_CLAIMS)


def counter(floor: Floor) -> Any:
    route = "GET /warehouse/{facility}/pickups"
    path = {"facility": "store"}
    return floor.shop.call("fulfillment.warehouse_api", route, path=path, staff=STAFF_CLAIMS).body["pickups"]


def told(floor: Floor, order: Answer) -> list[str]:
    orders = floor.shop.app.orders
    events = orders.parts(order.body["order_id"], "EVENT#")
    return [due.kind for due in due_messages(floor.order(order), events, floor.shop.now)]


def test_a_parcel_waits_at_the_counter_of_a_store_until_its_code_is_shown(floor: Floor) -> None:
    order = waiting(floor)
    seen = floor.shop.read(order)
    (parcel,) = seen["shipments"]
    assert (seen["status"], parcel["facility"], parcel["status"]) == ("in_fulfillment", "store", "packed")
    assert (parcel["carrier"], floor.label_count()) == (None, 0)
    assert seen["collect_by"] == "2026-11-30T09:00:00.000Z"
    assert [(each["shipment_id"], each["status"]) for each in counter(floor)] == [(f"{seen['order_id']}.1", "packed")]
    assert told(floor, order)[-1] == "ready_for_pickup"
    assert seen["collection_code"] not in str(floor.shop.app.orders.parts(seen["order_id"], ""))

    wrong = collect(floor, order, code="2222-2222")
    assert (wrong.status, wrong.body["code"]) == (409, "wrong_code")
    done = collect(floor, order, code=seen["collection_code"].lower())
    assert (done.status, done.body["status"]) == (200, "delivered"), done
    assert collect(floor, order, identity="passport").body == done.body, "again is harmless"
    seen = floor.shop.read(order)
    assert (seen["status"], seen["collect_by"], seen["delivered_at"]) == ("completed", None, "2026-11-23T09:00:00.000Z")
    assert (floor.place(facility="store"), counter(floor)) == ((3, 0), [])
    assert floor.shop.identity_holds("SHIRT")
    assert "ready_for_pickup" not in told(floor, order)


def test_a_parcel_that_waits_keeps_its_run_ended_and_its_mail_tells_code_and_place(floor: Floor) -> None:
    order = waiting(floor)
    runs = floor.order(order).runs
    floor.shop.later(hours=25)
    sweep.handler({}, Context())
    floor.settle()
    assert floor.order(order).runs == runs
    telling = floor.shop.app.telling
    due = list(
        due_messages(floor.order(order), floor.shop.app.orders.parts(order.body["order_id"], "EVENT#"), floor.shop.now)
    )
    mail = telling.mail(floor.order(order), due[-1], 0)
    assert floor.shop.read(order)["collection_code"] in mail.text
    assert ORIGIN.line1 in mail.text
    assert ORIGIN.line1 in mail.html


def test_what_nobody_collects_is_reminded_of_then_cancelled_and_refunded(floor: Floor) -> None:
    order = waiting(floor)
    floor.shop.later(days=5, minutes=1)
    sweep.handler({}, Context())
    sweep.handler({}, Context())
    events = [event["type"] for event in floor.shop.app.orders.verified_history(order.body["order_id"])]
    assert events.count("PickupReminder") == 1
    assert told(floor, order)[-1] == "pickup_reminder"
    floor.shop.later(days=2)
    sweep.handler({}, Context())
    floor.settle()
    seen = floor.shop.read(order)
    assert (seen["status"], seen["collect_by"]) == ("cancelled", None)
    assert seen["payment"]["refund_due"] == seen["payment"]["captured"] > 0
    assert collect(floor, order, identity="passport").body["code"] == "not_waiting"
    assert floor.place(facility="store") == (5, 0)
    assert floor.shop.identity_holds("SHIRT")


@pytest.mark.parametrize("first", ["collect", "expire"])
def test_collecting_and_expiring_at_once_have_one_outcome(
    floor: Floor, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    order = waiting(floor)
    parts = floor.shop.app
    order_id = order.body["order_id"]
    floor.shop.later(days=7, minutes=1)
    pickups = PickUps(parts.orders, parts.inventory, parts.clock)
    ending = EndOrders(parts.orders, parts.inventory, parts.clock)
    apply, others = parts.orders.apply, list[str]()

    def interrupted(seen: Any, change: Any, now: Any) -> Any:
        """Between reading and writing, the other one goes first."""
        if not others:
            others.append(first)
            if first == "collect":
                pickups.collect(f"{order_id}.1", Proof(identity="passport"), [], "staff:kim")
            else:
                ending.end_uncollected(order_id)
        return apply(seen, change, now)

    monkeypatch.setattr(parts.orders, "apply", interrupted)
    if first == "collect":
        ending.end_uncollected(order_id)
    else:
        assert collect(floor, order, identity="passport").body["code"] == "not_waiting"
    expected = Status.COMPLETED if first == "collect" else Status.CANCELLED
    assert floor.order(order).status is expected
    assert floor.order(order).payment.refund_due == (0 if first == "collect" else floor.order(order).payment.captured)
    assert floor.place(facility="store") == ((3, 0) if first == "collect" else (5, 0))


def test_a_code_is_the_orders_own_and_forgives_how_it_is_typed() -> None:
    code = collection_code("order-1", "key")
    assert len(code) == 9
    assert code_opens(code.replace("-", " ").lower(), "order-1", ["newer", "key"])
    assert not code_opens(code, "order-2", ["key"])
    assert not code_opens("", "order-1", ["key"])
