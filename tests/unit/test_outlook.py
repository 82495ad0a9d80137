"""Why is it late? Every wait that exists, from the order and what stands beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from oms.fulfillment.shipments import Purchase, Shipment, ShipmentStatus, Task, Unit
from oms.orders.model import Backordered, Effect, Hold, Order, Payment, Status
from oms.orders.outlook import Facts, outlook, waits
from oms.orders.returning import OPEN, Return, ReturnLine, ReturnStatus
from oms.runtime.clock import to_text
from tests.unit.test_order_rules import NOW, an_order

AT = to_text(NOW)


def later(**delta: float) -> str:
    return to_text(NOW + timedelta(**delta))


def parcel(status: ShipmentStatus, **changes: Any) -> Shipment:
    base = Shipment("o", 1, "main", status, (Unit(1, "SHIRT", 3),), created_at=AT, ship_by=later(hours=8))
    return replace(base, **changes)


def coming_back(status: ReturnStatus) -> Return:
    return Return("o", 1, status, (ReturnLine(1, 1, "other"),), "customer", AT, later(days=2))


def refund(status: str) -> dict[str, Any]:
    told = {"refund_id": "o:3", "amount": 500, "currency": "GBP", "status": status, "provider": "stripe"}
    return {**told, "requested_at": AT}


def facts(**changes: Any) -> Facts:
    return Facts(changed_at=AT, **changes)


def shipped_parts(order: Order) -> Order:
    return replace(order, lines=tuple(replace(line, shipped=line.quantity) for line in order.lines))


MOVING = Status.IN_FULFILLMENT
HOLD = Hold("odd address", "risk", AT, later(hours=4))
TASK = Task("pick", "t", "open", AT, later(hours=4))
TROUBLE = {"shipment_id": "o.1", "kind": "silent", "owner": "customer service", "since": AT, "deadline": later(days=2)}
ASKED = Purchase("asked", AT, later(hours=24))
P = ShipmentStatus


@pytest.mark.parametrize(
    ("order", "beside", "on", "owner", "until"),
    [
        (an_order(), facts(), "payment", "the customer", later(minutes=30)),
        (
            an_order(payment=Payment("processing", "stripe")),
            facts(),
            "payment",
            "the customer's bank",
            later(minutes=30),
        ),
        (an_order(status=Status.CONFIRMED), facts(), "start", "the system", later(hours=24)),
        (
            an_order(status=Status.CONFIRMED, effects=(Effect.START_FULFILLMENT,)),
            facts(),
            "start",
            "the system",
            later(minutes=5),
        ),
        (an_order(status=MOVING, holds={"fraud": HOLD}), facts(), "hold", "risk", later(hours=4)),
        (an_order(status=MOVING, oversold={"SHIRT": 1}), facts(), "stock", "inventory", ""),
        (
            an_order(status=MOVING, oversold={"SHIRT": 1}, backordered_at=AT),
            facts(supplies={"SHIRT": later(days=5)}),
            "stock",
            "inventory",
            later(days=2),
        ),
        (an_order(status=MOVING), facts(shipments=[parcel(P.PLANNED)]), "pick", "the floor of main", later(hours=8)),
        (
            an_order(status=MOVING),
            facts(shipments=[parcel(P.ALLOCATED, task=TASK)]),
            "pick",
            "the floor of main",
            later(hours=4),
        ),
        (
            an_order(status=MOVING),
            facts(shipments=[parcel(P.ALLOCATED, purchase=ASKED)]),
            "vendor",
            "main",
            later(hours=24),
        ),
        (an_order(status=MOVING), facts(shipments=[parcel(P.PICKING)]), "pick", "the floor of main", later(hours=8)),
        (an_order(status=MOVING), facts(shipments=[parcel(P.SHORT)]), "stock", "inventory", ""),
        (an_order(status=MOVING), facts(shipments=[parcel(P.PICKED)]), "pack", "the floor of main", later(hours=8)),
        (an_order(status=MOVING), facts(shipments=[parcel(P.PACKED)]), "departure", "the system", later(hours=8)),
        (
            an_order(status=MOVING, collect_by=later(days=7)),
            facts(shipments=[parcel(P.PACKED, ready_at=AT)]),
            "pickup",
            "the customer",
            later(days=7),
        ),
        (
            an_order(status=Status.COMPLETED),
            facts(shipments=[parcel(P.SHIPPED, shipped_at=AT)]),
            "delivery",
            "the carrier",
            later(days=7),
        ),
        (an_order(status=Status.COMPLETED), facts(troubles=[TROUBLE]), "trouble", "customer service", later(days=2)),
        (
            an_order(status=Status.COMPLETED, payment=Payment("credit", "invoice", credit=900, due_at=later(days=30))),
            facts(),
            "invoice",
            "the customer",
            later(days=30),
        ),
        (an_order(status=Status.CANCELLED), facts(refunds=[refund("requested")]), "refund", "the system", ""),
        (
            an_order(status=Status.CANCELLED),
            facts(refunds=[refund("sent")]),
            "refund",
            "Stripe and the customer's bank",
            "",
        ),
        (an_order(status=Status.CANCELLED), facts(refunds=[refund("failed")]), "refund", "finance", ""),
        (an_order(status=Status.CANCELLED), facts(refunds=[refund("by_hand")]), "refund", "finance", ""),
    ],
)
def test_each_wait_has_an_owner_a_deadline_and_what_comes_next(
    order: Order, beside: Facts, on: str, owner: str, until: str
) -> None:
    first = waits(order, beside)[0]
    assert (first.on, first.owner, first.since, first.until) == (on, owner, AT, until)
    told = outlook(order, beside, NOW)["sentence"]
    assert owner in told
    assert first.then in told


@pytest.mark.parametrize("status", sorted(OPEN - {ReturnStatus.INSPECTED}))
def test_an_open_return_waits_for_somebody(status: ReturnStatus) -> None:
    (wait,) = waits(an_order(status=Status.COMPLETED), facts(returns=[coming_back(status)]))
    assert (wait.on, wait.until) == ("return", later(days=2))


@pytest.mark.parametrize("effect", [one for one in Effect if one not in (Effect.START_FULFILLMENT, Effect.REFUND)])
def test_work_that_is_due_outside_is_named(effect: Effect) -> None:
    (wait,) = waits(an_order(status=Status.CANCELLED, effects=(effect,)), facts())
    assert (wait.on, wait.about, wait.until) == ("system", effect.value, later(minutes=5))


def test_what_is_over_waits_for_nothing() -> None:
    done = shipped_parts(an_order(status=Status.COMPLETED))
    arrived = facts(shipments=[parcel(P.DELIVERED, shipped_at=AT, delivered_at=later(days=2))])
    told = outlook(done, arrived, NOW)
    assert told["waits"] == []
    assert told["sentence"] == "The order waits for nothing: all of it has arrived or was settled."
    for status in (Status.CANCELLED, Status.EXPIRED):
        assert outlook(an_order(status=status), facts(refunds=[refund("succeeded")]), NOW)["waits"] == []


def test_a_hold_stands_before_all_else_in_the_sentence() -> None:
    order = an_order(status=MOVING, holds={"address": HOLD})
    told = outlook(order, facts(shipments=[parcel(P.ALLOCATED)]), NOW)
    assert told["sentence"] == (
        "The order has waited for somebody to release the address hold (odd address) "
        "since 23 November 2026, 09:00 UTC; it is the turn of risk, who has until 23 November 2026, 13:00 UTC. "
        "If nothing is done, its owner is reminded and has another day."
    )
    assert [wait["on"] for wait in told["waits"]] == ["hold", "pick"]


def test_late_means_later_than_was_promised() -> None:
    order = an_order(status=MOVING, backordered=(Backordered(1, 1, later(days=1)),), oversold={"SHIRT": 1})
    on_time = outlook(order, facts(supplies={"SHIRT": later(days=1)}), NOW)
    assert (on_time["late"], on_time["promised_at"], on_time["expected_at"]) == (False, later(days=1), later(days=1))
    slipped = outlook(order, facts(supplies={"SHIRT": later(days=3)}), NOW)
    assert (slipped["late"], slipped["expected_at"]) == (True, later(days=3))
    assert slipped["sentence"].endswith(
        "It was promised to leave by 24 November 2026, 09:00 UTC and is now expected to leave by "
        "26 November 2026, 09:00 UTC."
    )
    nobody_knows = outlook(order, facts(supplies={"SHIRT": ""}), NOW + timedelta(days=2))
    assert (nobody_knows["late"], nobody_knows["expected_at"]) == (True, None)


def test_a_parcel_that_left_in_time_is_not_late() -> None:
    done = shipped_parts(an_order(status=Status.COMPLETED))
    left = facts(shipments=[parcel(P.SHIPPED, shipped_at=later(hours=2))])
    told = outlook(done, left, NOW + timedelta(days=4))
    assert (told["late"], told["expected_at"], told["promised_at"]) == (False, later(hours=2), later(hours=8))


def test_a_deadline_that_has_passed_is_marked() -> None:
    order = an_order(status=MOVING, holds={"address": HOLD})
    (wait,) = outlook(order, facts(), NOW + timedelta(hours=5))["waits"]
    assert wait["overdue"]
