"""Vendors who send for us are told by mail what to send and what not to send any more, each once."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from oms.fulfillment.facilities import Facility, save_facility
from oms.messages.notifier import NotSent, Refused
from tests.component.test_dropship import LABEL, answer, events
from tests.component.test_fulfillment import paid
from tests.component.test_messages import Mailbox, mailbox, relay
from tests.component.test_routing import call, stock
from tests.support.floor import ORIGIN, Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop

__all__ = ["mailbox"]
VENDOR = "orders@maker.example"


@pytest.fixture
def floor(shop: Shop) -> Floor:
    """A vendor who has all there is and is written to."""
    floor = Floor(shop)
    save_facility(shop.app.inventory, Facility("maker", ORIGIN, kind="vendor", email=VENDOR), shop.now)
    stock(floor, "SHIRT", maker=5)
    return floor


def notify(floor: Floor, order: Answer, times: int = 1) -> None:
    """Play all of the order's events through relay and worker, and those that the worker's own changes make."""
    seen = -1
    while seen != len(events(floor, order)):
        seen = len(events(floor, order))
        for message in relay(floor.shop, order) * times:
            body = (
                f'{{"order_id": "{message["order_id"]}", "number": {message["number"]}, "type": "{message["type"]}"}}'
            )
            record = {"messageId": "m1", "body": body}
            import_module("functions.messages.notify").handler({"Records": [record]}, Context())


def to_vendor(box: Mailbox) -> list[str]:
    return [mail.subject for mail in box.mails if mail.to == VENDOR]


def fates(floor: Floor, order: Answer) -> list[tuple[str, str, Any]]:
    path = {"id": order.body["order_id"]}
    told = floor.shop.call("messages.api", "GET /orders/{id}/messages", path=path, staff=STAFF_CLAIMS)
    return [(one["kind"], one["status"], one["reason"]) for one in told.body["messages"] if one["to"] == "vendor"]


def kinds(floor: Floor, order: Answer) -> list[tuple[str, str]]:
    return [(kind, status) for kind, status, _ in fates(floor, order)]


def test_a_vendor_gets_the_request_once_and_of_the_customer_only_the_address(floor: Floor, mailbox: Mailbox) -> None:
    order = paid(floor)
    notify(floor, order, times=2)
    (mail,) = [mail for mail in mailbox.mails if mail.to == VENDOR]
    assert "2 × " in mail.text
    assert "24 November 2026" in mail.text
    seen = floor.shop.app.orders.require(order.body["order_id"])
    assert seen.address["line1"] in mail.text
    assert seen.address["name"] in mail.text
    assert seen.customer["email"] not in mail.text + mail.html
    assert kinds(floor, order) == [("purchase_requested", "sent")]


def test_a_cancelled_order_tells_its_vendor_once(floor: Floor, mailbox: Mailbox) -> None:
    order = paid(floor)
    notify(floor, order)
    floor.shop.cancel(order)
    floor.settle()
    notify(floor, order, times=2)
    assert kinds(floor, order) == [("purchase_requested", "sent"), ("purchase_cancelled", "sent")]
    assert events(floor, order).count("PurchaseCancelled") == 1
    assert answer(floor, "confirm", order, LABEL).body["code"] == "not_asked"


def test_units_that_are_cancelled_are_taken_back_from_the_vendor_once(floor: Floor, mailbox: Mailbox) -> None:
    order = paid(floor)
    notify(floor, order)
    floor.shop.app.ending.cancel_lines(order.body["order_id"], {1: 1}, reason="r", actor="agent", key="k")
    notify(floor, order, times=2)
    assert kinds(floor, order) == [("purchase_requested", "sent"), ("purchase_reduced", "sent")]
    reduced = [mail for mail in mailbox.mails if mail.to == VENDOR][-1]
    assert reduced.text.count("1 × ") == 2, "one not to be sent, one that is left"
    assert answer(floor, "confirm", order, LABEL).status == 200
    assert floor.place(facility="maker") == (4, 0)


def test_a_request_that_was_withdrawn_before_it_was_sent_is_never_sent(floor: Floor, mailbox: Mailbox) -> None:
    order = paid(floor)
    floor.shop.cancel(order)
    notify(floor, order)
    assert to_vendor(mailbox) == []
    assert fates(floor, order) == [
        ("purchase_requested", "suppressed", "not wanted any more"),
        ("purchase_cancelled", "suppressed", "the request was not sent"),
    ]


def test_a_mail_that_could_not_leave_is_sent_later_and_one_that_was_refused_is_seen(
    floor: Floor, mailbox: Mailbox
) -> None:
    order = paid(floor)
    mailbox.fails = NotSent("TooManyRequestsException")
    notify(floor, order)
    assert kinds(floor, order) == [("purchase_requested", "waiting")]
    mailbox.fails = None
    notify(floor, order)
    assert kinds(floor, order) == [("purchase_requested", "sent")]
    mailbox.fails = Refused("MessageRejected")
    floor.shop.cancel(order)
    notify(floor, order)
    assert kinds(floor, order)[-1] == ("purchase_cancelled", "failed")
    mailbox.fails = None
    again = floor.shop.call(
        "messages.api",
        "POST /orders/{id}/messages/{kind}/resend",
        path={"id": order.body["order_id"], "kind": "purchase_cancelled"},
        headers={"idempotency-key": "once-again-please"},
        staff=STAFF_CLAIMS,
    )
    assert (again.status, again.body["to"], again.body["status"]) == (200, "vendor", "sent")


def test_a_vendor_whose_time_ran_out_is_told(floor: Floor, mailbox: Mailbox) -> None:
    order = paid(floor)
    notify(floor, order)
    floor.shop.later(hours=24, minutes=1)
    (waiting,) = [each for each in floor.workflows.executions.values() if each.status == "RUNNING"]
    floor.workflows.time_out(next(iter(waiting.waits)))
    floor.settle()
    notify(floor, order)
    assert kinds(floor, order) == [("purchase_requested", "sent"), ("purchase_cancelled", "sent")]


def test_a_vendor_who_declined_is_not_told_not_to_send(floor: Floor, mailbox: Mailbox) -> None:
    order = paid(floor)
    notify(floor, order)
    answer(floor, "decline", order, {"reason": "out of stock"})
    notify(floor, order)
    assert kinds(floor, order) == [("purchase_requested", "sent")]


def test_another_address_is_a_request_of_its_own(floor: Floor, mailbox: Mailbox) -> None:
    order = paid(floor)
    notify(floor, order)
    seen = floor.shop.app.orders.require(order.body["order_id"])
    there = {**seen.address, "line1": "99 Other Street"}
    floor.shop.app.editing.change_address(order.body["order_id"], there, actor="agent")
    floor.settle()
    notify(floor, order)
    assert kinds(floor, order).count(("purchase_requested", "sent")) == 2
    assert kinds(floor, order).count(("purchase_cancelled", "sent")) == 1
    assert any("99 Other Street" in mail.text for mail in mailbox.mails if mail.to == VENDOR)
    assert floor.place(facility="maker") == (5, 2)


@pytest.mark.parametrize("first", ["sent", "cancelled"])
def test_cancelling_races_the_vendor_s_sent(
    floor: Floor, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Each comes between the other's reading and writing: whoever wrote first decides, and the vendor hears of it."""
    order = paid(floor)
    notify(floor, order)
    table, answers = type(floor.shop.app.orders.table), list[Answer]()
    transact, begun = table.transact, list[bool]()

    def between(self: Any, writes: Any, *args: Any, **more: Any) -> Any:
        if not begun:
            begun.append(True)
            if first == "sent":
                answers.append(
                    call(floor, "POST /vendors/requests/{id}/confirm", LABEL, id=f"{order.body['order_id']}.1")
                )
            else:
                answers.append(floor.shop.cancel(order))
        return transact(self, writes, *args, **more)

    monkeypatch.setattr(table, "transact", between)
    if first == "sent":
        late: Answer = floor.shop.cancel(order)
    else:
        late = call(floor, "POST /vendors/requests/{id}/confirm", LABEL, id=f"{order.body['order_id']}.1")
    assert answers[0].status == 200
    assert (late.status, late.body.get("code")) == ((200, None) if first == "sent" else (409, "not_asked"))
    floor.settle()
    notify(floor, order)
    assert kinds(floor, order) == [("purchase_requested", "sent"), ("purchase_cancelled", "sent")]
    assert floor.shop.read(order)["status"] == "cancelled"
    assert floor.shop.identity_holds("SHIRT")


def test_a_box_at_the_vendor_that_loses_units_is_asked_for_anew(floor: Floor, mailbox: Mailbox) -> None:
    order = paid(floor)
    notify(floor, order)
    assert call(floor, "POST /vendors/requests/{id}/confirm", LABEL, id=f"{order.body['order_id']}.1").status == 200
    floor.shop.app.ending.cancel_lines(order.body["order_id"], {1: 1}, reason="r", actor="agent", key="k")
    floor.settle()
    notify(floor, order)
    assert [status for kind, status in kinds(floor, order) if kind == "purchase_cancelled"] == ["sent"]
    (asked,) = call(floor, "GET /vendors/{facility}/requests", facility="maker").body["requests"]
    assert asked["units"] == [{"sku": "SHIRT", "quantity": 1}]
    assert floor.shop.identity_holds("SHIRT")


def test_only_vendors_are_written_to(floor: Floor) -> None:
    address = {
        "name": "M",
        "line1": "1 Way",
        "city": "Portland",
        "region": "OR",
        "postal_code": "97201",
        "country": "US",
    }
    form = {"address": address, "kind": "vendor", "email": VENDOR}
    done = call(floor, "PUT /facilities/{facility}", form, facility="maker")
    assert (done.status, done.body["email"]) == (200, VENDOR)
    wrong = call(floor, "PUT /facilities/{facility}", {**form, "kind": "store"}, facility="maker")
    assert wrong.status == 422
    assert "email is for vendors" in str(wrong.body)
