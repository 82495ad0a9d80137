"""Customers are told through the real relay and worker: each thing once, whatever is delivered twice or dies."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest

from local.simulators.core import Delivery, Request
from local.simulators.ses import SesCore
from oms.messages.notifier import Mail, NotSent, Refused, Uncertain
from oms.runtime.dynamo import to_item
from tests.component.test_returns import after_sales, ask
from tests.support.floor import Floor
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


def test_who_sends_something_back_gets_the_label_by_mail(shop: Shop, mailbox: Mailbox) -> None:
    floor = Floor(shop)
    shop.stock_up("SHIRT", 10)
    order = shop.place()
    shop.pay(order)
    shop.deliver_all()
    floor.do_all()
    assert ask(shop, order, (1, 1, "too_small")).body["status"] == "approved"
    label = after_sales(shop, order, "POST /orders/{id}/returns/{number}/label", number="1").body["label"]
    events = shop.app.orders.parts(order.body["order_id"], "EVENT#")
    assert events[-1]["type"] == "ReturnLabelled"
    for _ in range(2):
        assert notify(shop, order, events[-1]["n"])
    assert told(shop, order) == [("confirmed", "sent"), ("return_label", "sent"), ("shipped", "sent")]
    assert label["tracking_number"] in mailbox.mails[-1].text


# ---- payment links -------------------------------------------------------------------------------------------------

POS = {"cognito:groups": "[pos]", "cognito:username": "pat"}


def ask_for_link(shop: Shop, order: Answer, key: str = "link-0001", staff: dict[str, str] = POS) -> Answer:
    path, headers = {"id": order.body["order_id"]}, {"idempotency-key": key}
    route = "POST /orders/{id}/payment-link"
    return shop.call("customer_service.api", route, path=path, headers=headers, staff=staff)


def payment(shop: Shop, order: Answer, token: str) -> Answer:
    path, headers = {"id": order.body["order_id"]}, {"order-token": token}
    return shop.call("place_order.api", "GET /orders/{id}/payment", path=path, headers=headers)


def test_who_orders_by_phone_is_mailed_one_link_that_opens_the_order_s_own_payment_until_it_is_paid(
    shop: Shop, mailbox: Mailbox
) -> None:
    shop.stock_up("SHIRT", 10)
    order, other = shop.place(), shop.place(key="checkout-0002")
    asked = ask_for_link(shop, order)
    assert (asked.status, asked.body["event"]) == (202, 2)
    assert ask_for_link(shop, order) == asked
    for message in relay(shop, order) * 2:
        assert notify(shop, order, message["number"])
    assert told(shop, order) == [("payment_link", "sent")]
    (mail,) = mailbox.mails
    (token,) = re.findall(rf"https://shop.test/pay/{order.body['order_id']}#(\S+)", mail.text)
    opened = payment(shop, order, token)
    assert opened.body == {
        **order.body["payment"],
        "amount": order.body["total"],
        "currency": "USD",
        "expires_at": order.body["expires_at"],
    }
    assert payment(shop, other, token).status == 404
    kept = [str(item) for item in shop.app.orders.parts(order.body["order_id"], "")]
    assert not [item for item in kept if token in item or opened.body["client_secret"] in item]
    shop.pay(order)
    assert payment(shop, order, token).body["code"] == "paid"  # Before we have been told so.
    shop.deliver_all()
    refused = payment(shop, order, token)
    assert (refused.status, refused.body["code"]) == (409, "paid")
    assert ask_for_link(shop, order) == asked
    assert ask_for_link(shop, order, "link-0002").body["code"] == "paid"


def test_a_link_is_worth_nothing_once_its_order_has_ended_and_is_not_mailed_then(shop: Shop, mailbox: Mailbox) -> None:
    shop.stock_up("SHIRT", 10)
    late, left = shop.place(), shop.place(key="checkout-0002")
    for order in (late, left):
        assert ask_for_link(shop, order).status == 202
    shop.cancel(left)
    shop.later(minutes=31)
    for order, code in ((late, "expired"), (left, "cancelled")):
        assert payment(shop, order, order.body["order_token"]).body["code"] == code
        assert ask_for_link(shop, order, "link-0002").body["code"] == code
        assert notify(shop, order, 2)
    assert not [mail for mail in mailbox.mails if "/pay/" in mail.text]


def test_a_payment_that_is_opened_late_is_still_the_order_s_only_one(shop: Shop, mailbox: Mailbox) -> None:
    shop.stock_up("SHIRT", 10)
    object.__setattr__(shop.app.placing, "unpaid_expiry", timedelta(days=7))
    order = shop.place()
    shop.later(days=2)  # Stripe has forgotten the key by now.
    assert (
        payment(shop, order, order.body["order_token"]).body["client_secret"] == order.body["payment"]["client_secret"]
    )
    shop.stripe_is(down=True)
    assert payment(shop, order, order.body["order_token"]).status == 503


def test_a_link_is_sent_by_who_sells_and_only_where_there_is_a_page_to_pay_on(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    order = shop.place()
    assert ask_for_link(shop, order, staff={"cognito:groups": "[warehouse]"}).status == 403
    object.__setattr__(shop.app.payment_links, "pay_url", "")
    assert ask_for_link(shop, order).body["code"] == "no_pay_page"


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
    assert staff(shop, f"GET {route}", id=customer).body == {"off": [], "marketing": False, "consents": []}
    owed = staff(shop, f"PUT {route}", {"off": ["refunded"]}, id=customer)
    assert (owed.status, owed.body["errors"][0]["field"]) == (422, "off[0]")
    assert staff(shop, f"PUT {route}", {"off": ["expired", "shipped"]}, id=customer).status == 200
    assert staff(shop, f"GET {route}", id=customer).body["off"] == ["expired", "shipped"]
    shop.later(minutes=31)
    shop.sweep()
    assert notify(shop, placed, 2)
    (item,) = shop.app.orders.parts(placed.body["order_id"], "MAIL#")
    assert (item["kind"], item["status"], item["reason"]) == ("expired", "suppressed", "not wanted")
    assert mailbox.mails == []


# ---- what SES says became of them ----------------------------------------------------------------------------------


def ses_says(kind: str, outcome: dict[str, Any], order: Answer, to: str = "ada@example.com") -> str:
    """An event record as SES publishes it to a topic whose subscription delivers it as it is."""
    mail = {
        "timestamp": "2026-11-23T09:00:01.123Z",
        "source": "Corner Shop <orders@shop.test>",
        "sourceArn": "arn:aws:ses:us-east-1:123456789012:identity/shop.test",
        "sendingAccountId": "123456789012",
        "messageId": "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000",
        "destination": [to],
        "headersTruncated": False,
        "headers": [{"name": "To", "value": to}, {"name": "Subject", "value": "Order 12345678 is confirmed"}],
        "commonHeaders": {"from": ["orders@shop.test"], "to": [to], "subject": "Order 12345678 is confirmed"},
        "tags": {
            "ses:configuration-set": ["mails"],
            "ses:source-ip": ["192.0.2.0"],
            "ses:from-domain": ["shop.test"],
            "ses:caller-identity": ["notify"],
            "order": [order.body["order_id"]],
            "mail": ["confirmed-order-0"],
        },
    }
    outcome = {"timestamp": "2026-11-23T09:00:02.669Z", "feedbackId": "01000157c44f053b-61b59c11-000000", **outcome}
    return json.dumps({"eventType": kind, kind.lower(): outcome, "mail": mail})


def bounce(kind: str, subtype: str, **who: str) -> dict[str, Any]:
    failed = {"action": "failed", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown", **who}
    return {
        "bounceType": kind,
        "bounceSubType": subtype,
        "bouncedRecipients": [failed],
        "reportingMTA": "dsn; mta.example.com",
    }


def hear(shop: Shop, *messages: str) -> bool:
    """Run the worker on a batch; whether it is done with all of it."""
    records = [{"messageId": f"m{n}", "body": body} for n, body in enumerate(messages)]
    answer = import_module("functions.messages.feedback").handler({"Records": records}, Context())
    return answer == {"batchItemFailures": []}


def suppressed(shop: Shop, address: str = "ada@example.com") -> str:
    return shop.app.message_preferences.of("nobody", address).suppressed


def test_an_address_that_bounced_for_good_gets_no_more_mail(shop: Shop, paid: Answer, mailbox: Mailbox) -> None:
    assert notify(shop, paid, 2)
    # The mail was forwarded: the bounce names whom it reached, and we wrote to Ada.
    said = ses_says("Bounce", bounce("Permanent", "General", emailAddress="ada@elsewhere.example"), paid)
    assert hear(shop, "Successfully validated SNS topic for Amazon SES event publishing.", said, said)
    assert (suppressed(shop), suppressed(shop, "ada@elsewhere.example")) == ("bounced", "")
    assert told(shop, paid) == [("confirmed", "bounced")]
    assert resend(shop, paid, "again-01").body["reason"] == "address bounced"
    assert len(mailbox.mails) == 1
    assert staff(shop, "GET /orders/{id}/messages", id=paid.body["order_id"]).body["messages"][0]["status"] == "bounced"


def test_who_complains_is_left_alone_also_when_he_bounces_afterwards(
    shop: Shop, paid: Answer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED", raising=False)  # The simulation's modules switch them off.
    to = {"emailAddress": "ada@example.com"}
    complaint = {
        "complainedRecipients": [to],
        "userAgent": "Yahoo!-Mail-Feedback/2.0",
        "complaintFeedbackType": "abuse",
    }
    assert hear(shop, ses_says("Complaint", {**complaint, "arrivalDate": "2026-11-23T09:00:02.000Z"}, paid))
    assert hear(shop, ses_says("Bounce", bounce("Permanent", "OnAccountSuppressionList", **to), paid))
    assert suppressed(shop, " ADA@example.com") == "complained"
    assert '"AddressesSuppressed":[1.0]' in capsys.readouterr().out


def test_what_passes_condemns_nobody(shop: Shop, paid: Answer) -> None:
    to = {"emailAddress": "ada@example.com"}
    assert hear(
        shop,
        ses_says("Bounce", bounce("Transient", "MailboxFull", **to), paid),
        ses_says("Bounce", bounce("Undetermined", "Undetermined", **to), paid),
        ses_says("Complaint", {"complainedRecipients": [to], "complaintFeedbackType": "not-spam"}, paid),
        ses_says("Delivery", {"recipients": ["ada@example.com"], "processingTimeMillis": 3}, paid),
    )
    assert suppressed(shop) == ""
    assert not hear(shop, '{"no": "event"}')


def test_the_simulated_ses_reports_as_the_real_one_does(shop: Shop, paid: Answer) -> None:
    reports: list[Delivery] = []
    core = SesCore(lambda: shop.now.timestamp(), reports.append)
    core.handle(Request.to("POST", "/_sim/config", {}, b'{"callback_url": "sqs+http://queue"}'))
    body = {"Text": {"Data": "text"}, "Html": {"Data": "<p>text</p>"}}
    request = {
        "FromEmailAddress": "orders@shop.test",
        "Destination": {"ToAddresses": ["bounce@example.com"]},
        "Content": {"Simple": {"Subject": {"Data": "Hello"}, "Body": body}},
        "ConfigurationSetName": "mails",
        "EmailTags": [
            {"Name": "order", "Value": paid.body["order_id"]},
            {"Name": "mail", "Value": "confirmed-order-0"},
        ],
    }
    path = "/v2/email/outbound-emails"
    assert core.handle(Request.to("POST", path, {}, json.dumps(request).encode())).status == 200
    (report,) = reports
    assert hear(shop, report.body.decode())
    assert suppressed(shop, "bounce@example.com") == "bounced"


def waiting(shop: Shop) -> list[tuple[str, str]]:
    """The mails in the work list, with what to do next."""
    found = shop.call("customer_service.api", "GET /work", staff=AGENT).body["work"]
    return [(each["about"], each["next"]["method"]) for each in found if each["kind"] == "mail"]


@pytest.mark.parametrize("failure", [Uncertain("ReadTimeoutError"), Refused("MessageRejected")])
def test_a_mail_that_did_not_leave_is_work_until_it_was_sent_again(
    shop: Shop, paid: Answer, mailbox: Mailbox, failure: Exception
) -> None:
    mailbox.fails = failure
    assert notify(shop, paid, 2)
    assert waiting(shop) == [("confirmed#order#0", "POST")]
    assert resend(shop, paid, "again-01").status == 200
    assert [about for about, _ in waiting(shop)] == ["confirmed#order#0", "confirmed#order#1"]
    mailbox.fails = None
    assert resend(shop, paid, "again-02").body["status"] == "sent"
    assert waiting(shop) == []


def test_a_mail_that_came_back_is_work_until_somebody_notes_why_not(shop: Shop, paid: Answer, mailbox: Mailbox) -> None:
    route, order_id = "DELETE /orders/{id}/messages/{kind}/exception", paid.body["order_id"]
    assert notify(shop, paid, 2)
    reason = {"reason": "told_another_way"}
    assert staff(shop, route, reason, id=order_id, kind="confirmed").status == 404
    said = ses_says("Bounce", bounce("Permanent", "General", emailAddress="ada@example.com"), paid)
    assert hear(shop, said)
    assert waiting(shop) == [("confirmed#order#0", "DELETE")]
    assert staff(shop, route, {"reason": "because"}, id=order_id, kind="confirmed").status == 422
    settled = staff(shop, route, reason, id=order_id, kind="confirmed")
    assert [each["settled"] for each in settled.body["messages"]] == ["told_another_way"]
    assert staff(shop, route, {"reason": "not_needed"}, id=order_id, kind="confirmed").body == settled.body
    assert hear(shop, said), "SES tells things twice"
    assert waiting(shop) == []
    story = shop.call("customer_service.api", "GET /orders/{id}/timeline", path={"id": order_id}, staff=AGENT)
    assert "noted: told another way." in str(story.body)
