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
