"""The merchant's own storefront: what its messages say, how they are signed, and what is refused of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from local.simulators.inprocess import transport_to
from local.simulators.webhook import WebhookCore
from oms.channels.port import (
    ChannelRefused,
    ChannelUnavailable,
    ListingRef,
    Quantity,
    ShippedParcel,
    SignatureInvalid,
)
from oms.channels.webhook import WebhookChannel, WebhookCredentials
from oms.runtime.outbound import HttpRequest
from tests.support.marketplaces import SECRETS, START, Rig, answering, webhook_callback


@pytest.fixture
def rig() -> Rig:
    return Rig("webhook")


def an_order(rig: Rig, **changes: Any) -> dict[str, Any]:
    rig.list_sku("A", 9)
    rig.buy({"A": 2}, buyer={"email": "ada@example.org"})
    order: dict[str, Any] = json.loads(rig.delivered[-1].body)["data"]
    return {**order, **changes}


def event(order: Any, kind: str = "order.created") -> bytes:
    return json.dumps({"type": kind, "data": order}).encode()


# Callbacks.


def test_the_order_comes_along(rig: Rig) -> None:
    order = an_order(rig)
    (notice,) = rig.hear(rig.callbacks()[0])
    assert notice.order == rig.channel.fetch_order(order["id"])


def test_an_order_that_cannot_be_read_is_named_all_the_same(rig: Rig) -> None:
    callback = webhook_callback(event(an_order(rig, total="19.99")), rig.now)
    (notice,) = rig.channel.read_callback(callback, rig.moment)
    assert notice.external_id == "web-1001"
    assert notice.order is None


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("order.created", ["order.created"]),
        ("order.updated", ["order.created"]),
        ("order.cancelled", ["order.cancelled"]),
        ("page.viewed", []),
    ],
)
def test_each_event_has_its_word(rig: Rig, kind: str, words: list[str]) -> None:
    callback = webhook_callback(event(an_order(rig), kind), rig.now)
    assert [each.kind for each in rig.channel.read_callback(callback, rig.moment)] == words


def test_both_secrets_hold_while_one_is_replaced(rig: Rig) -> None:
    body = event(an_order(rig))
    (old,) = rig.secret["webhook_secrets"]
    rig.secret["webhook_secrets"] = ["whsec_bmV4dA==", old]
    for secret in ("whsec_bmV4dA==", old):
        assert rig.channel.read_callback(webhook_callback(body, rig.now, secret=secret), rig.moment)


def test_without_a_secret_nobody_is_believed(rig: Rig) -> None:
    rig.secret["webhook_secrets"] = []
    with pytest.raises(SignatureInvalid):
        rig.channel.read_callback(webhook_callback(event(an_order(rig)), rig.now), rig.moment)


# What we say.


def same(moment: datetime) -> datetime:
    return moment


def test_what_we_say_is_signed_for_its_moment() -> None:
    now = datetime.fromtimestamp(START, UTC)
    core = WebhookCore(lambda: START, lambda _: None)
    secret = WebhookCredentials.parse(SECRETS["webhook"])
    for late, answers in ((0, True), (299, True), (301, False), (-301, False)):
        moment = now + timedelta(seconds=late)
        channel = WebhookChannel(
            "http://webhook", lambda: secret, transport_to({"webhook": core}), partial(same, moment)
        )
        if answers:
            assert channel.fetch_order("web-1") is None
        else:
            with pytest.raises(ChannelUnavailable):
                channel.fetch_order("web-1")


def test_a_shipment_is_named_by_its_cause(rig: Rig) -> None:
    order = an_order(rig)
    requests: list[HttpRequest] = []
    channel = answering("webhook", *[(200, {"order": order}), (200, {})] * 2, sent=requests)
    for number in ("1Z 999", "1z999"):
        channel.confirm_shipment(order["id"], ShippedParcel("UPS", number, rig.moment))
    first, second = (request for request in requests if b"order.shipped" in request.body)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


def test_an_older_number_does_not_replace_a_newer_one(rig: Rig) -> None:
    listing = rig.list_sku("A", 5)
    rig.channel.push_quantities([Quantity(listing, 3, version=8)])
    (late,) = rig.channel.push_quantities([Quantity(listing, 4, version=7)])
    assert rig.shown("A") == 3
    assert late.quantity == 3


def test_a_row_that_the_answer_leaves_out_is_tried_again() -> None:
    channel = answering("webhook", (200, {"results": []}))
    (result,) = channel.push_quantities([Quantity(ListingRef("A", "page-A"), 3)])
    assert (result.accepted, result.retryable) == (False, True)


def test_what_nobody_asked_for_is_not_read() -> None:
    channel = answering("webhook", (200, {"quantities": [{"sku": "OTHER", "quantity": 1}]}))
    assert channel.read_quantities([ListingRef("A", "page-A")]) == {}


# Orders.


@pytest.mark.parametrize(
    "changes",
    [
        {"total": 19.99},
        {"total": "1999"},
        {"total": -1},
        {"total": True},
        {"lines": [{"id": "1", "sku": "A", "quantity": 1.5, "unit_price": 1}]},
        {"placed_at": "2026-11-23T10:00:00"},
        {"placed_at": "yesterday"},
        {"address": {}},
        {"buyer": None},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(rig: Rig, changes: dict[str, Any]) -> None:
    channel = answering("webhook", (200, {"order": an_order(rig, **changes)}))
    with pytest.raises(ChannelRefused):
        channel.fetch_order("web-1001")


@pytest.mark.parametrize("paid", [1, "yes", None, False])
def test_only_true_is_paid(rig: Rig, paid: object) -> None:
    order = answering("webhook", (200, {"order": an_order(rig, paid=paid)})).fetch_order("web-1001")
    assert order is not None
    assert not order.paid


def test_pages_that_go_round_in_a_circle_end() -> None:
    page = (200, {"orders": [], "cursor": "again"})
    channel = answering("webhook", page, page, page)
    with pytest.raises(ChannelUnavailable, match="circle"):
        list(channel.orders_since(datetime(2026, 11, 1, tzinfo=UTC)))
