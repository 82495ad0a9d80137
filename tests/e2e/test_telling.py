"""Who is told what, on the deployed stack: subscribers, customers, marketplaces; and who is forgotten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from local import build
from local.client import Client, checkout
from local.reports import Stage
from oms.orders.model import order_id_for
from tests.e2e.inside import Inside
from tests.e2e.people import People


@pytest.fixture
def people(client: Client, stage: Stage) -> People:
    return People(client, stage)


def test_a_subscriber_hears_signed_events_in_turn_and_again_when_asked(people: People, sku: str) -> None:
    client = people.client
    client.stock_up(sku, 5)
    url = client.endpoints["stripe"].removesuffix("stripe") + "subscriber"
    types = ["order.placed", "payment.captured", "order.cancelled", "refund.sent"]
    subscription = people.ask("ops", "POST", "/webhooks/subscriptions", {"url": f"{url}/", "types": types})
    path = f"/webhooks/subscriptions/{subscription['subscription_id']}"
    placed = people.paid((sku, 1))
    client.cancel(placed).expect(200)

    def heard() -> list[Any]:
        messages: list[Any] = client.request("GET", f"{url}/_sim/messages").expect(200)["messages"]
        return [each for each in messages if placed["order_id"] in json.dumps(each)]

    people.until("all of it is heard", lambda: len(heard()) == len(types))
    assert [each["type"] for each in heard()] == types
    sequences = [each["sequence"] for each in heard()]
    assert sequences == sorted(sequences)
    first = heard()[0]
    assert "webhook-signature" in first["headers"]
    people.ask("ops", "POST", f"{path}/replay", {"sequence": sequences[-1]})
    people.until("the last one again", lambda: [each["type"] for each in heard()] == [*types, types[-1]])
    log = people.ask("ops", "GET", f"{path}/deliveries")["deliveries"]
    assert {each["status"] for each in log} == {"delivered"}
    assert people.ask("ops", "POST", f"{path}/secret", {"hours": 0})["secret"] != subscription["secret"]
    assert people.ask("ops", "PATCH", path, {"enabled": False})["status"] == "disabled"
    assert path.rsplit("/", 1)[-1] in str(people.ask("ops", "GET", "/webhooks/subscriptions"))
    people.ask("ops", "DELETE", path)
    assert client.api("GET", path, staff="ops").status == 404


def test_a_customer_gets_a_link_to_pay_and_mails_as_wanted_and_again(people: People, sku: str) -> None:
    client = people.client
    client.stock_up(sku, 5)
    email = f"{sku.lower()}@example.com"
    placed = client.place(checkout((sku, 1), customer={"email": email, "name": "Ada Byron"})).expect(201)
    people.ask("agent", "POST", f"/orders/{placed['order_id']}/payment-link")
    people.until("the link is mailed", lambda: email in client.mails(placed).values())
    shown = client.api("GET", f"/orders/{placed['order_id']}/payment", order_token=placed["order_token"]).expect(200)
    paid = {"payment_intent": shown["client_secret"], "payment_method": "pm_card_visa"}
    client.sim("stripe", "POST", "/_sim/pay", paid).expect(200)
    people.until("it is confirmed", lambda: any("confirmed" in subject for subject in client.mails(placed)))
    path = f"/orders/{placed['order_id']}/messages"
    again = people.ask("agent", "POST", f"{path}/confirmed/resend", {})
    assert (again["copy"], again["status"]) == (1, "sent")
    assert {each["status"] for each in people.ask("agent", "GET", path)["messages"]} == {"sent"}
    customer = client.order_as_staff(placed["order_id"])["customer"]["id"]
    wishes = f"/customers/{customer}/message-preferences"
    people.ask("agent", "PUT", wishes, {"off": ["shipped"], "marketing": False})
    assert people.ask("agent", "GET", wishes)["off"] == ["shipped"]
    people.pick_and_pack(placed)
    people.until(
        "the mail that is not wanted is noted",
        lambda: (
            ("shipped", "suppressed")
            in [(each["kind"], each["status"]) for each in people.ask("agent", "GET", path)["messages"]]
        ),
    )
    assert not any("on its way" in subject for subject in client.mails(placed))


def test_the_commands_repair_channels_and_play_back_what_failed(people: People, sku: str) -> None:
    client = people.client
    client.stock_up(sku, 7)
    for channel in ("webhook", "etsy"):
        client.list_on(channel, sku)
    people.until("both show it", lambda: client.shown("webhook", sku) == client.shown("etsy", sku) == 7)
    sold_unheard(client, "webhook", sku, 1)
    assert "webhook" in command(client, "local.reconcile")
    people.until("the unheard sale is taken in", lambda: client.stock(sku)["available"] == 6)
    people.until("all channels know", lambda: client.shown("etsy", sku) == client.shown("webhook", sku) == 6)
    external_id = sold_unheard(client, "etsy", sku, 2)
    failed = client.resource("ChannelEventsDeadLetters")
    message = json.dumps({"channel": "etsy", "external_id": external_id})
    client.aws("sqs").send_message(QueueUrl=failed, MessageBody=message)
    assert "ChannelEventsDeadLetters" in command(client, "local.redrive", "list")
    assert "1 played back" in command(client, "local.redrive", "ChannelEventsQueue")
    people.until("the failed sale is taken in", lambda: client.stock(sku)["available"] == 4)


def sold_unheard(client: Client, channel: str, sku: str, units: int) -> str:
    """A sale whose callback never comes; its number there."""
    client.sim(channel, "POST", "/_sim/faults", {"callbacks": "never"}).expect(200)
    try:
        return client.buy_on(channel, [(sku, units)])
    finally:
        client.sim(channel, "POST", "/_sim/faults", {"callbacks": "once"}).expect(200)


def command(client: Client, module: str, *arguments: str) -> str:
    """Run a command as its make target does, on this cloud; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=build.ROOT,
        env={**os.environ, "OMS_STATE": client.endpoints["logs"]},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("channel", ["ebay", "shopify"])
def test_a_person_whom_a_marketplace_names_is_forgotten(people: People, inside: Inside, sku: str, channel: str) -> None:
    client = people.client
    client.stock_up(sku, 10)
    client.list_on(channel, sku)
    people.until("it is on sale", lambda: client.shown(channel, sku) == 10)
    external_id = client.buy_on(channel, [(sku, 1)], buyer="Grace Hopper")
    order_id = order_id_for(channel, external_id)
    people.until("the sale is an order", lambda: client.api("GET", f"/orders/{order_id}", staff="agent").status == 200)
    assert "Grace" in str(client.order_as_staff(order_id))
    client.sim(channel, "POST", "/_sim/cancel", {"order_id": external_id}).expect(200)
    # eBay tells nobody of a cancellation: it is found the next time that its orders are read.
    inside.hand_over("ImportOrdersFunction", {"channel": channel, "external_id": external_id})
    assert client.order_as_staff(order_id)["status"] == "cancelled"
    payload = {"customer": {"id": 1}, "orders_to_redact": [int(external_id)]} if channel == "shopify" else {}
    told = {"topic": "customers/redact", "payload": payload, "order_id": external_id}
    client.sim(channel, "POST", "/_sim/privacy", told).expect(200)
    people.until("the person is forgotten", lambda: "Grace" not in str(client.order_as_staff(order_id)))
    assert inside.history(order_id)[-1] == "PersonErased"
