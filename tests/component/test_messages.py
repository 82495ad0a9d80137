"""Customers are told through the real relay and worker: each thing once, whatever is delivered twice or dies."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from oms.messages.notifier import Mail, NotSent, Refused, Uncertain
from oms.runtime.dynamo import to_item
from tests.support.shop import Answer, Context, Shop


class Mailbox:
    """A notifier that keeps what it was given, or fails as it is told to."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.fails: Exception | None = None

    def send(self, mail: Mail) -> str:
        if self.fails:
            raise self.fails
        self.mails.append(mail)
        return f"m-{len(self.mails)}"

    @property
    def subjects(self) -> list[str]:
        return [mail.subject for mail in self.mails]


@pytest.fixture
def mailbox(shop: Shop) -> Mailbox:
    found = Mailbox()
    object.__setattr__(shop.app.telling, "notifier", lambda: found)
    return found


def relay(shop: Shop, order: Answer) -> list[dict[str, Any]]:
    """Play the order's events to the relay, as its stream would; what reached the messages queue."""
    records = [
        {
            "eventName": "INSERT",
            "dynamodb": {
                "SequenceNumber": str(event["n"]),
                "Keys": to_item({"pk": event["pk"], "sk": event["sk"]}),
                "NewImage": to_item({name: value for name, value in event.items() if name != "hash"}),
            },
        }
        for event in shop.app.orders.parts(order.body["order_id"], "EVENT#")
    ]
    answer = import_module("functions.place_order.relay").handler({"Records": records}, Context())
    assert answer == {"batchItemFailures": []}
    return shop.queued("messages")


def notify(shop: Shop, order: Answer, number: int) -> bool:
    """Run the worker for one event; whether it is done with it."""
    body = f'{{"order_id": "{order.body["order_id"]}", "number": {number}, "type": "any"}}'
    record = {"messageId": "m1", "body": body}
    answer = import_module("functions.messages.notify").handler({"Records": [record]}, Context())
    return answer == {"batchItemFailures": []}


def told(shop: Shop, order: Answer) -> list[tuple[str, str]]:
    return [(item["kind"], item["status"]) for item in shop.app.orders.parts(order.body["order_id"], "MAIL#")]


@pytest.fixture
def paid(shop: Shop) -> Answer:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    shop.deliver_all()
    return placed


def test_an_order_s_events_reach_the_worker_and_its_customer_once(shop: Shop, paid: Answer, mailbox: Mailbox) -> None:
    messages = relay(shop, paid)
    assert [message["type"] for message in messages] == ["OrderPlaced", "PaymentCaptured"]
    for message in messages * 2:
        assert notify(shop, paid, message["number"])
    number = paid.body["order_id"][:8].upper()
    assert mailbox.subjects == [f"Order {number} is confirmed"]
    assert mailbox.mails[0].to == "ada@example.com"
    assert told(shop, paid) == [("confirmed", "sent")]


def test_a_later_event_tells_what_an_earlier_one_s_lost_message_should_have(
    shop: Shop, paid: Answer, mailbox: Mailbox
) -> None:
    shop.cancel(paid)
    shop.settle(paid)
    last = len(shop.app.orders.parts(paid.body["order_id"], "EVENT#"))
    assert notify(shop, paid, last)
    assert told(shop, paid) == [("cancelled", "sent"), ("refunded", "sent")]
    assert "$45.97" in mailbox.mails[0].text


def test_a_mail_that_certainly_did_not_leave_is_sent_later(shop: Shop, paid: Answer, mailbox: Mailbox) -> None:
    mailbox.fails = NotSent("TooManyRequestsException")
    assert not notify(shop, paid, 2)
    mailbox.fails = None
    assert notify(shop, paid, 2)
    assert told(shop, paid) == [("confirmed", "sent")]


@pytest.mark.parametrize(
    ("failure", "status"), [(Uncertain("ReadTimeoutError"), "uncertain"), (Refused("MessageRejected"), "failed")]
)
def test_a_mail_that_may_have_left_or_never_will_is_not_sent_again(
    shop: Shop, paid: Answer, mailbox: Mailbox, failure: Exception, status: str
) -> None:
    mailbox.fails = failure
    assert notify(shop, paid, 2)
    mailbox.fails = None
    assert notify(shop, paid, 2)
    assert (told(shop, paid), mailbox.mails) == ([("confirmed", status)], [])


def test_who_dies_while_sending_leaves_a_claim_that_is_called_uncertain(
    shop: Shop, paid: Answer, mailbox: Mailbox
) -> None:
    class Killed(BaseException):
        pass

    mailbox.fails = Killed()  # type: ignore[assignment]
    with pytest.raises(Killed):
        notify(shop, paid, 2)
    mailbox.fails = None
    assert not notify(shop, paid, 2)
    shop.later(minutes=3)
    assert notify(shop, paid, 2)
    assert (told(shop, paid), mailbox.mails) == ([("confirmed", "uncertain")], [])


def test_what_is_not_wanted_or_cannot_arrive_is_claimed_and_not_sent(
    shop: Shop, paid: Answer, mailbox: Mailbox
) -> None:
    shop.app.message_preferences.suppress("Ada@Example.com", "bounced", shop.now)
    assert notify(shop, paid, 2)
    (item,) = shop.app.orders.parts(paid.body["order_id"], "MAIL#")
    assert (item["status"], item["reason"], mailbox.mails) == ("suppressed", "address bounced", [])
    assert "ada" not in str(item).lower()


# ---- what staff see and do -----------------------------------------------------------------------------------------

AGENT = {"cognito:groups": "[agent]", "cognito:username": "alex"}


def staff(shop: Shop, route: str, body: Any = None, key: str = "", **path: str) -> Answer:
    headers = {"idempotency-key": key} if key else {}
    return shop.call("messages.api", route, body, headers=headers, path=path, staff=AGENT)


def resend(shop: Shop, order: Answer, key: str, kind: str = "confirmed", body: Any = None) -> Answer:
    route = "POST /orders/{id}/messages/{kind}/resend"
    return staff(shop, route, body, key, id=order.body["order_id"], kind=kind)


def test_staff_see_what_a_customer_was_told_and_why_not(shop: Shop, paid: Answer, mailbox: Mailbox) -> None:
    path = {"id": paid.body["order_id"]}
    assert notify(shop, paid, 2)
    shop.app.message_preferences.suppress("ada@example.com", "complained", shop.now)
    shop.later(minutes=1)
    assert resend(shop, paid, "again-01").body["status"] == "suppressed"
    told = staff(shop, "GET /orders/{id}/messages", **path).body["messages"]
    assert [(each["copy"], each["status"], each["reason"], each["by"]) for each in told] == [
        (0, "sent", None, "system"),
        (1, "suppressed", "address complained", "staff:alex"),
    ]
    assert len(mailbox.mails) == 1
    for claims in (None, {"cognito:groups": "[warehouse]"}):
        assert shop.call("messages.api", "GET /orders/{id}/messages", path=path, staff=claims).status == 403


def test_a_message_is_sent_again_once_a_key(shop: Shop, paid: Answer, mailbox: Mailbox) -> None:
    assert notify(shop, paid, 2)
    first = resend(shop, paid, "again-01")
    assert (first.status, first.body["copy"], first.body["status"]) == (200, 1, "sent")
    assert resend(shop, paid, "again-01") == first
    assert resend(shop, paid, "again-02").body["copy"] == 2
    assert len(mailbox.mails) == 3
    assert resend(shop, paid, "again-01", body={"about": "1"}).body["code"] == "idempotency_key_reused"
    assert resend(shop, paid, "again-03", kind="refunded").status == 404
    assert resend(shop, paid, "again-04", kind="newsletter").status == 404


def test_a_copy_that_did_not_leave_leaves_under_the_same_key(shop: Shop, paid: Answer, mailbox: Mailbox) -> None:
    mailbox.fails = NotSent("TooManyRequestsException")
    assert resend(shop, paid, "again-01").status == 503
    mailbox.fails = None
    assert resend(shop, paid, "again-01").body["status"] == "sent"
    assert len(mailbox.mails) == 1


def test_who_dies_while_sending_a_copy_leaves_it_uncertain(shop: Shop, paid: Answer, mailbox: Mailbox) -> None:
    mailbox.fails = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        resend(shop, paid, "again-01")
    mailbox.fails = None
    assert resend(shop, paid, "again-01").status == 503
    shop.later(minutes=3)
    assert resend(shop, paid, "again-01").body["status"] == "uncertain"
    assert mailbox.mails == []


def test_a_customer_s_preferences_hold_for_what_is_not_owed_to_him(shop: Shop, mailbox: Mailbox) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    customer = shop.app.orders.require(placed.body["order_id"]).customer["id"]
    route = "/customers/{id}/message-preferences"
    assert staff(shop, f"GET {route}", id=customer).body == {"off": [], "marketing": False}
    owed = staff(shop, f"PUT {route}", {"off": ["refunded"]}, id=customer)
    assert (owed.status, owed.body["errors"][0]["field"]) == (422, "off[0]")
    assert staff(shop, f"PUT {route}", {"off": ["expired", "shipped"]}, id=customer).status == 200
    assert staff(shop, f"GET {route}", id=customer).body == {"off": ["expired", "shipped"], "marketing": False}
    shop.later(minutes=31)
    shop.sweep()
    assert notify(shop, placed, 2)
    (item,) = shop.app.orders.parts(placed.body["order_id"], "MAIL#")
    assert (item["kind"], item["status"], item["reason"]) == ("expired", "suppressed", "not wanted")
    assert mailbox.mails == []
