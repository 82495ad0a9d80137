"""Messages to customers: which are due, how they read, and what each answer of SES means."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from oms.fulfillment.shipments import Label, Shipment, ShipmentStatus, Unit
from oms.messages.kinds import CAUSES, CHANNELS_THAT_TELL, KINDS, Due, due_messages
from oms.messages.languages import language
from oms.messages.notifier import Mail, NotSent, Refused, Uncertain
from oms.messages.rendering import Merchant, render
from oms.messages.ses import SesNotifier
from oms.orders.model import Line, Order, Payment, Status, Totals
from oms.orders.paying import unpayable
from oms.orders.returning import Return, ReturnLabel, ReturnLine, ReturnStatus
from oms.runtime.clock import to_text

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SHOP = Merchant(
    "Corner Shop",
    reply_to="help@shop.test",
    order_url="https://shop.test/orders/{order_id}",
    pay_url="https://shop.test/pay?o={order_id}&t={token}",
)


def an_order(status: Status = Status.CONFIRMED, **changes: Any) -> Order:
    order = Order(
        order_id="bbd5ba71-0000-5000-8000-000000000000",
        channel="web",
        status=status,
        customer={"id": "c1", "name": "Ada <b>Byron</b>", "email": "ada@example.com"},
        address={
            "name": "Ada Byron",
            "line1": "12 Row & Co",
            "city": "Portland",
            "postal_code": "97201",
            "country": "US",
        },
        lines=(Line(1, "SHIRT", 3, 1999), Line(2, "MUG", 1, 900, cancelled=1)),
        currency="USD",
        totals=Totals(6897, 599, 0),
        payment=Payment("captured", "stripe", "pi_1", captured=7496),
        placed_at=to_text(NOW),
        expires_at=to_text(NOW + timedelta(minutes=30)),
    )
    return replace(order, **changes)


def happened(*types: str, **data: Any) -> list[dict[str, Any]]:
    return [{"n": n, "type": type, "at": to_text(NOW), "data": data} for n, type in enumerate(types, 1)]


def due(order: Order, events: list[dict[str, Any]], now: datetime = NOW) -> list[tuple[str, str]]:
    return [(each.kind, each.about) for each in due_messages(order, events, now)]


# ---- which are due -------------------------------------------------------------------------------------------------


def test_a_paid_order_is_confirmed_once_whatever_else_is_paid() -> None:
    events = happened("OrderPlaced", "PaymentAuthorized", "PaymentCaptured")
    assert due(an_order(), events) == [("confirmed", "order")]


def test_an_unpaid_order_is_not_confirmed() -> None:
    assert due(an_order(Status.PLACED), happened("OrderPlaced")) == []


def test_an_order_cancelled_before_it_was_confirmed_is_only_cancelled() -> None:
    events = happened("OrderPlaced", "PaymentCaptured", "OrderCancelled")
    assert due(an_order(Status.CANCELLED), events) == [("cancelled", "order")]


def test_each_parcel_is_told_by_itself() -> None:
    events = [*happened("ShipmentShipped", shipment=1), *happened("ShipmentShipped", shipment=2)]
    assert due(an_order(Status.IN_FULFILLMENT), events) == [("shipped", "1"), ("shipped", "2")]


def test_a_declined_card_is_told_after_a_while_and_only_while_the_order_can_still_be_paid() -> None:
    events, unpaid = happened("OrderPlaced", "PaymentFailed", status="placed"), Payment("failed", "stripe")
    order = an_order(Status.PLACED, payment=unpaid)
    assert due(order, events) == []
    assert due(order, events, NOW + timedelta(minutes=6)) == [("payment_failed", "order")]
    assert due(an_order(), events, NOW + timedelta(minutes=6)) == []


def test_each_link_that_was_asked_for_is_told_as_long_as_there_is_something_to_pay() -> None:
    events = happened("OrderPlaced", "PaymentLinkSent", "PaymentLinkSent")
    unpaid = an_order(Status.PLACED, payment=Payment("pending", "stripe"))
    assert due(unpaid, events) == [("payment_link", "2"), ("payment_link", "3")]
    assert due(unpaid, events, NOW + timedelta(minutes=30)) == []
    assert due(replace(unpaid, status=Status.CANCELLED), events) == []


@pytest.mark.parametrize(
    ("status", "payment", "code"),
    [
        (Status.PLACED, Payment("pending", "stripe"), ""),
        (Status.PLACED, Payment("failed", "stripe"), ""),
        (Status.PLACED, Payment("processing", "stripe"), "processing"),
        (Status.PLACED, Payment("captured", "cash", captured=100), "part_paid"),
        (Status.PLACED, Payment("pending", "etsy"), "paid_elsewhere"),
        (Status.CONFIRMED, Payment("captured", "stripe", captured=7496), "paid"),
        (Status.EXPIRED, Payment("pending", "stripe"), "expired"),
        (Status.CANCELLED, Payment("cancelled", "stripe"), "cancelled"),
    ],
)
def test_why_an_order_cannot_be_paid_has_a_code(status: Status, payment: Payment, code: str) -> None:
    assert unpayable(an_order(status, payment=payment), NOW) == code


@pytest.mark.parametrize("channel", sorted(CHANNELS_THAT_TELL))
def test_a_marketplace_writes_to_its_buyers_itself(channel: str) -> None:
    assert due(an_order(channel=channel), happened("OrderPlaced", "PaymentCaptured")) == []


# ---- how they read -------------------------------------------------------------------------------------------------

PARCEL = Shipment(
    order_id="o",
    number=1,
    facility="main",
    status=ShipmentStatus.SHIPPED,
    units=(Unit(1, "SHIRT", 2),),
    label=Label("USPS", "Priority", "9400 1&2", "trk", "https://label", 700, "USD"),
)
BACK = Return(
    order_id="o",
    number=1,
    status=ReturnStatus.APPROVED,
    lines=(ReturnLine(1, 2, "too_small"),),
    requested_by="customer",
    requested_at=to_text(NOW),
    deadline=to_text(NOW + timedelta(days=14)),
    label=ReturnLabel("USPS", "9400 1&2", "trk", "https://label/?a=1&b=2", 700, "USD"),
)
DATA: dict[str, dict[str, Any]] = {"lines_cancelled": {"units": {"2": 1}, "refund": 900}, "refunded": {"amount": 900}}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_message_reads_whole_as_text_and_as_a_page(kind: str) -> None:
    told = Due(kind, "order", 1, to_text(NOW), DATA.get(kind, {}))
    parcel = PARCEL if kind == "shipped" else None
    mail = render(told, an_order(), SHOP, {"SHIRT": "A <shirt>"}, parcel, BACK if "return" in kind else None)
    assert "BBD5BA71" in mail.subject
    assert "\n" not in mail.subject
    for whole in (mail.text, mail.html):
        assert "BBD5BA71" in whole
        assert "https://shop.test/orders/bbd5ba71-0000-5000-8000-000000000000" in whole
        assert not re.search(r"\{\{|\{%|None|Undefined|built-in", whole)
    assert "<b>Byron" not in mail.html
    assert "<shirt>" not in mail.html
    assert "Ada <b>Byron</b>" in mail.text
    assert "\n\n\n" not in mail.text.strip()


def test_a_parcel_is_told_with_its_own_items_and_its_tracking() -> None:
    mail = render(Due("shipped", "1", 5, to_text(NOW), {}), an_order(), SHOP, {}, PARCEL)
    assert "2 × SHIRT" in mail.text
    assert "USPS 9400 1&2" in mail.text
    assert "tLabels=9400%201%262" in mail.text
    assert "9400 1&amp;2" in mail.html
    assert "Part of your order" in mail.text


def test_a_payment_link_names_the_order_and_carries_its_token() -> None:
    mail = render(Due("payment_link", "2", 2, to_text(NOW), {}), an_order(Status.PLACED), SHOP, {}, token="5f.a-b_c")
    assert "pay?o=bbd5ba71-0000-5000-8000-000000000000&t=5f.a-b_c\n" in mail.text
    assert "pay?o=bbd5ba71-0000-5000-8000-000000000000&amp;t=5f.a-b_c" in mail.html
    assert "payment of $74.96" in mail.text


def test_a_return_is_told_with_what_comes_back_until_when_and_its_label() -> None:
    mail = render(Due("return_label", "1", 9, to_text(NOW), {}), an_order(), SHOP, {}, None, BACK)
    assert "The label: https://label/?a=1&b=2" in mail.text
    assert "give it to USPS by 7 December 2026, 09:00 UTC" in mail.text
    assert "2 × SHIRT" in mail.text
    assert "MUG" not in mail.text
    assert 'href="https://label/?a=1&amp;b=2"' in mail.html


def test_a_return_that_is_approved_at_once_is_told_by_its_label_and_one_that_waited_also_by_itself() -> None:
    order = an_order(Status.COMPLETED)
    at_once = [*happened("ReturnRequested", **{"return": 1}), *happened("ReturnLabelled", **{"return": 1})]
    assert due(order, at_once) == [("return_label", "1")]
    waited = [*happened("ReturnApproved", **{"return": 2}), *happened("ReturnLabelled", **{"return": 2})]
    assert due(order, waited) == [("return_approved", "2"), ("return_label", "2")]


def test_cancelled_lines_are_told_with_what_is_given_back() -> None:
    mail = render(Due("lines_cancelled", "4", 4, to_text(NOW), DATA["lines_cancelled"]), an_order(), SHOP, {})
    assert "1 × MUG: $9.00" in mail.text
    assert "SHIRT" not in mail.text
    assert "We give you back $9.00" in mail.text


@pytest.mark.parametrize(
    ("minor", "currency", "told"),
    [
        (5599, "USD", "$55.99"),
        (123456789, "EUR", "€1,234,567.89"),
        (5, "GBP", "£0.05"),
        (-900, "USD", "−$9.00"),
        (1500, "JPY", "¥1,500"),
        (1234, "KWD", "1.234 KWD"),
        (1050, "CHF", "10.50 CHF"),
    ],
)
def test_amounts_are_written_by_their_currency(minor: int, currency: str, told: str) -> None:
    assert language("en").money(minor, currency) == told


def test_a_language_without_texts_falls_back_to_english() -> None:
    assert language("tlh").code == "en"


def test_times_are_told_in_the_shop_s_zone() -> None:
    mail = render(Due("confirmed", "order", 2, to_text(NOW), {}), an_order(), replace(SHOP, zone="Europe/Berlin"), {})
    assert "23 November 2026, 10:00 CET" in mail.text
    unknown = render(Due("confirmed", "order", 2, to_text(NOW), {}), an_order(), replace(SHOP, zone="Mars/North"), {})
    assert "23 November 2026, 09:00 UTC" in unknown.text


# ---- SES -----------------------------------------------------------------------------------------------------------


class Ses:
    """A client that answers one way."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.sent: list[dict[str, Any]] = []

    def send_email(self, **request: Any) -> dict[str, str]:
        if self.error:
            raise self.error
        self.sent.append(request)
        return {"MessageId": "m-1"}


def answered(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "SendEmail",
    )


MAIL = Mail("ada@example.com", "Hello", "text", "<p>text</p>", {"order": "o", "mail": "confirmed-order-0"})


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (answered("MessageRejected", 400), Refused),
        (answered("TooManyRequestsException", 429), NotSent),
        (answered("SendingPausedException", 400), NotSent),
        (answered("InternalServiceError", 500), Uncertain),
        (EndpointConnectionError(endpoint_url="https://email"), NotSent),
        (ReadTimeoutError(endpoint_url="https://email"), Uncertain),
    ],
)
def test_what_ses_answers_says_whether_the_mail_left(error: Exception, means: type[Exception]) -> None:
    with pytest.raises(means):
        SesNotifier(Ses(error), sender="orders@shop.test").send(MAIL)


def test_a_mail_goes_out_as_text_and_html_with_its_tags() -> None:
    client = Ses()
    SesNotifier(client, sender="orders@shop.test", reply_to="help@shop.test", configuration_set="set").send(MAIL)
    (request,) = client.sent
    assert request["Content"]["Simple"]["Body"].keys() == {"Text", "Html"}
    assert request["EmailTags"] == [
        {"Name": "mail", "Value": "confirmed-order-0"},
        {"Name": "order", "Value": "o"},
    ]
    assert request["ConfigurationSetName"] == "set"


def test_every_kind_has_causes_and_templates() -> None:
    assert {cause for kind in KINDS.values() for cause in kind.causes} == CAUSES
