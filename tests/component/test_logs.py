"""What must not be kept or said: personal data in logs, and secrets and card numbers anywhere.

The canary sends thousands of requests, messages and answers full of marked personal data, and no mark is in any log.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from local import openapi
from local.simulators.core import Request
from oms.messages.notifier import Mail
from oms.runtime.outbound import HttpRequest, HttpResponse
from tests.support.floor import Floor
from tests.support.logs import everything_said
from tests.support.shop import (
    CHANNELS,
    QUEUES,
    STAFF_CLAIMS,
    STRIPE_SECRET,
    Answer,
    Context,
    Shop,
    _everything,
    checkout,
)

SEED = 20261126
MARK, PHONE, CARD = "Qxzanary", "73198420657", "4242424242424242"
PERSONAL = (
    f"Ada {MARK} Byron",
    f"{MARK}.ada@example.com",
    f"12 {MARK} Row",
    f"+1 {PHONE[:3]} {PHONE[3:7]}-{PHONE[7:]}",
    PHONE,
    f"pi_3{MARK}_secret_{MARK}",
    f"1f.{MARK}{MARK}",
    "4242 4242 4242 4242",
    "4242-42424242-4242",
    CARD,
    f"leave it with {MARK}, tel. {PHONE}; card {CARD}",
)
NOISE: tuple[Any, ...] = (None, True, -1, 0, 1.5, 10**30, "", [], {}, [[]], "SHIRT", "\u0000")


def marks_in(said: str, *secrets: str) -> list[str]:
    """What of the marks can be read in it, however numbers are grouped."""
    squeezed = re.sub(r"[ \-.]", "", said)
    found = [mark for mark in (PHONE, CARD) if mark in squeezed]
    return found + [mark for mark in (MARK, *secrets) if mark.lower() in said.lower()]


def around(said: str, mark: str) -> str:
    """Where a mark was found, for whoever has to find out why."""
    at = max(said.lower().find(mark.lower()), 0)
    return said[max(0, at - 1500) : at + 200]


# ---- what comes in ---------------------------------------------------------------------------------------------------


def corrupt(dice: random.Random, value: Any, times: int) -> Any:
    """The same with a few places replaced, dropped or added to."""
    for _ in range(times):
        value = _corrupt_once(dice, value)
    return value


def _corrupt_once(dice: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and dice.random() < 0.9:
        name = dice.choice(list(value))
        if dice.random() < 0.1:
            return {each: inner for each, inner in value.items() if each != name}
        if dice.random() < 0.1:
            return {**value, dice.choice(PERSONAL): dice.choice(PERSONAL)}
        return {**value, name: _corrupt_once(dice, value[name])}
    if isinstance(value, list) and value and dice.random() < 0.9:
        at = dice.randrange(len(value))
        return [*value[:at], _corrupt_once(dice, value[at]), *value[at + 1 :]]
    return dice.choice(PERSONAL if dice.random() < 0.7 else NOISE)


def filled(dice: random.Random, schema: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that a schema of ours allows, more or less, with a person in every text; forms within forms end."""
    if "$ref" in schema:
        return filled(dice, _document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]], name, depth + 1)
    if "anyOf" in schema:
        choices = [each for each in schema["anyOf"] if each.get("type") == "null"] if depth > 3 else []
        return filled(dice, dice.choice(choices or schema["anyOf"]), name, depth)
    if "enum" in schema or "const" in schema:
        return dice.choice(schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "object":
            told = {each: filled(dice, inner, each, depth) for each, inner in schema.get("properties", {}).items()}
            return {
                each: value for each, value in told.items() if each in schema.get("required", ()) or dice.random() < 0.6
            }
        case "array":
            return [filled(dice, schema.get("items", {}), name, depth) for _ in range(dice.choice((1, 1, 2)))]
        case "integer" | "number":
            return dice.choice((1, 2, 3, int(PHONE)))
        case "boolean":
            return dice.random() < 0.5
        case "null":
            return None
    usual = {"sku": "SHIRT", "currency": "USD", "country": "US", "facility": "main", "email": PERSONAL[1]}
    return usual[name] if name in usual and dice.random() < 0.8 else dice.choice(PERSONAL)


@cache
def _document() -> dict[str, Any]:
    return openapi.document()


@cache
def _routes() -> list[tuple[str, str]]:
    """(module, route) of every route of every function."""
    modules = [".".join(path.with_suffix("").parts) for path in sorted(Path("functions").glob("*/*.py"))]
    return [(name, route) for name in modules for route in getattr(import_module(name), "ROUTES", ())]


def a_request(dice: random.Random, route: str, ids: list[str]) -> dict[str, Any]:
    """One request for a route, valid in its form once in a while."""
    method, path = route.split(" ")
    operation = _document()["paths"][path][method.lower()]
    content = operation.get("requestBody", {}).get("content", {"": {"schema": {"type": "object"}}})
    (form,) = content.values()
    value = corrupt(dice, filled(dice, form["schema"]), dice.choice((0, 0, 1, 2)))
    body = json.dumps(value)
    if dice.random() < 0.1:
        body = dice.choice((body[: len(body) // 2], dice.choice(PERSONAL), "[" * 2000, f'{{"{PERSONAL[0]}": NaN}}'))
    said = lambda: dice.choice(PERSONAL)  # noqa: E731
    headers = {
        "content-type": "application/json" if dice.random() < 0.95 else said(),
        "idempotency-key": dice.choice((said(), f"key-{dice.random()}")),
        "order-token": said(),
        "stripe-signature": said(),
        "user-agent": said(),
        **({"authorization": f"Bearer {said()}"} if dice.random() < 0.1 else {}),
        **({"if-match": said()} if dice.random() < 0.1 else {}),
    }
    usual = {"sku": "SHIRT", "channel": dice.choice(CHANNELS), "facility": "main", "kind": "confirmed"}
    named = {each: usual.get(each) or dice.choice(ids) for each in re.findall(r"{(\w+)}", path)}
    return {
        "version": "2.0",
        "routeKey": route,
        "headers": headers,
        "pathParameters": {name: said() if dice.random() < 0.3 else value for name, value in named.items()},
        "queryStringParameters": {
            each["name"]: said()
            for each in operation.get("parameters", [])
            if each["in"] == "query" and dice.random() < 0.5
        },
        "requestContext": {
            "requestId": "req-1",
            **({"authorizer": {"jwt": {"claims": STAFF_CLAIMS}}} if dice.random() < 0.85 else {}),
        },
        "isBase64Encoded": False,
        "body": body,
    }


class Keeping:
    """A notifier that keeps what it is given."""

    def __init__(self, mails: list[Mail]) -> None:
        self.mails = mails

    def send(self, mail: Mail) -> str:
        self.mails.append(mail)
        return f"m-{len(self.mails)}"


@pytest.fixture
def dice() -> random.Random:
    return random.Random(SEED)


def everything_in(shop: Shop, name: str) -> Iterator[Any]:
    """What waits in a queue."""
    while messages := shop.queued(name):
        yield from messages


def test_thousands_of_fuzzed_requests_leave_no_trace_of_a_person(shop: Shop, dice: random.Random) -> None:
    shop.stock_up("SHIRT", 10_000)
    secrets: list[str] = []
    statuses: dict[int, int] = {}
    with everything_said() as said:
        ids = ["00000000-0000-5000-8000-000000000000", "1", "main"]
        for number in range(40):
            body = checkout(("SHIRT", 1), customer={"email": PERSONAL[1], "name": PERSONAL[0]})
            body["shipping_address"] |= {"name": PERSONAL[0], "line1": PERSONAL[2]}
            placed = shop.place(body, key=f"checkout-{number:04d}")
            assert placed.status == 201, placed
            ids.append(placed.body["order_id"])
            secrets += [placed.body["payment"]["client_secret"], placed.body["order_token"]]
        for _ in range(3000):
            module, route = dice.choice(_routes())
            answer = import_module(module).handler(a_request(dice, route, ids), Context())
            statuses[answer["statusCode"]] = statuses.get(answer["statusCode"], 0) + 1
    heard = said.getvalue()
    waiting = "\n".join(str(each) for name in (*QUEUES, *CHANNELS) for each in everything_in(shop, name))
    assert waiting
    assert (found := marks_in(waiting, *secrets)) == [], around(waiting, found[0])
    assert heard.count('"order_placed"') >= 40
    assert statuses.keys() >= {200, 400, 403, 404, 422}, statuses
    assert (found := marks_in(heard, *secrets)) == [], around(heard, found[0])
    assert 500 not in statuses, around(heard, "unexpected_error")


WORKERS = (
    *("messages.notify", "messages.publish", "messages.deliver", "messages.feedback"),
    *("payment_webhook.settle", "payment_webhook.apply_event", "place_order.import_orders"),
    *("inventory_sync.confirm_shipment", "inventory_sync.catalogue_job", "customer_service.keep"),
    "customer_service.export",
)
TELLING = {"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bouncedRecipients": [{}]}, "mail": {}}


def test_messages_that_nobody_can_read_leave_none_either(shop: Shop, dice: random.Random) -> None:
    names = (
        *("order_id", "number", "type", "sku", "subscription_id", "job_id"),
        *("export_id", "channel", "external_id", "id", "data"),
    )
    with everything_said() as said:
        for _ in range(400):
            told: Any = {name: dice.choice((*PERSONAL, *NOISE)) for name in names if dice.random() < 0.8}
            told = {**told, **TELLING} if dice.random() < 0.2 else told
            body = json.dumps(corrupt(dice, told, 2)) if dice.random() < 0.9 else dice.choice(PERSONAL)
            record = {
                "messageId": "m",
                "body": body,
                "receiptHandle": "r",
                "attributes": {"ApproximateReceiveCount": "1"},
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:etsy",
            }
            import_module(f"functions.{dice.choice(WORKERS)}").handler({"Records": [record]}, Context())
    heard = said.getvalue()
    assert heard.count('"record_failed"') > 50
    assert (found := marks_in(heard)) == [], around(heard, found[0])


def test_what_stripe_and_the_marketplaces_tell_leaves_none_whatever_they_answer(
    shop: Shop, dice: random.Random
) -> None:
    works: Callable[..., HttpResponse] = shop.app.transport

    def fuzzed(request: HttpRequest, *, timeout: float) -> HttpResponse:
        answer = works(request, timeout=timeout)
        try:
            told = corrupt(dice, json.loads(answer.body), dice.choice((0, 1, 2)))
        except ValueError:
            return answer
        status = dice.choice((answer.status, answer.status, answer.status, 400, 500))
        return HttpResponse(status, answer.headers, json.dumps(told).encode())

    shop.stock_up("SHIRT", 1000)
    placed = shop.place()
    shop.pay(placed)
    events = [json.loads(each.body) for each in shop.deliveries if each.url.endswith("/webhooks/stripe")]
    shop.deliveries.clear()
    buyer = {"buyer": PERSONAL[0], "lines": [{"sku": "SHIRT", "quantity": 1}]}
    with everything_said() as said:
        shop.app.transport = fuzzed
        for _ in range(120):
            event = json.loads(json.dumps(dice.choice(events)))
            event["data"]["object"] |= {"receipt_email": PERSONAL[1], "shipping": {"name": PERSONAL[0]}}
            shop.deliver(shop.signed_by_stripe(corrupt(dice, event, dice.choice((0, 1, 3)))))
        for name in CHANNELS:
            shop.list_on(name)
            for _ in range(12):
                core = getattr(shop, name)
                sold = core.handle(Request.to("POST", "/_sim/purchases", {}, json.dumps(buyer).encode())).json()
                message = {"channel": name, "external_id": str(sold.get("order_id", "1"))}
                record = {"messageId": "m", "body": json.dumps(message)}
                import_module("functions.place_order.import_orders").handler({"Records": [record]}, Context())
    heard = said.getvalue()
    assert heard.count('"record_failed"') > 5
    assert (found := marks_in(heard)) == [], around(heard, found[0])


# ---- a whole life ----------------------------------------------------------------------------------------------------


def kept_by(shop: Shop) -> str:
    """Every item of every table, and what waits in every queue."""
    tables = (shop.app.orders.table, shop.app.inventory.table)
    kept = [str(item) for table in tables for item in _everything(table)]
    for name in (*QUEUES, *CHANNELS):
        while waiting := shop.queued(name):
            kept += map(str, waiting)
    return "\n".join(kept)


def listeners_hear(shop: Shop, order: Answer, subscription: str) -> None:
    """The relay, the mails and the webhooks of all that happened to an order."""
    events = shop.app.orders.parts(order.body["order_id"], "EVENT#")
    told = json.dumps({"order_id": order.body["order_id"], "number": events[-1]["n"], "type": "any"})
    for worker, body in (
        ("messages.notify", told),
        ("messages.publish", told),
        ("messages.deliver", json.dumps({"subscription_id": subscription})),
    ):
        records = {"Records": [{"messageId": "m", "body": body}]}
        assert import_module(f"functions.{worker}").handler(records, Context()) == {"batchItemFailures": []}


def test_no_secret_and_no_card_is_kept_or_said_in_an_order_s_whole_life(shop: Shop) -> None:
    mails: list[Mail] = []
    object.__setattr__(shop.app.telling, "notifier", lambda: Keeping(mails))
    with everything_said() as said:
        floor = Floor(shop)
        shop.stock_up("SHIRT", 10)
        asked = {"url": "https://erp.merchant.example/hooks", "types": ["order.placed", "shipment.shipped"]}
        headers = {"idempotency-key": "erp-0001"}
        subscribed = shop.call(
            "messages.api", "POST /webhooks/subscriptions", asked, headers=headers, staff=STAFF_CLAIMS
        )
        shipped, cancelled = shop.place(), shop.place(key="checkout-0002")
        for placed in (shipped, cancelled):
            again = checkout(("SHIRT", 1), customer={"email": "ada@example.com", "name": "4242 4242 4242 4242"})
            assert shop.place(again, key="checkout-0003").body["code"] == "card_data_refused"
            shop.pay(placed)
        shop.deliver_all()
        noted = {"kind": "fraud", "reason": f"card {CARD} was used", "hours": 2}
        path = {"id": shipped.body["order_id"]}
        held = shop.call("customer_service.api", "POST /orders/{id}/holds", noted, path=path, staff=STAFF_CLAIMS)
        assert (held.status, held.body["errors"][0]["field"]) == (422, "reason")
        assert shop.cancel(cancelled).status == 200
        shop.settle(cancelled)
        floor.settle()
        floor.do_all()
        assert shop.read(shipped)["status"] == "completed"
        shop.refund_in_dashboard(shipped, 500)
        shop.deliver_all()
        shop.news()
        assert shop.read(shipped)["payment"]["refunded"] == 500
        for placed in (shipped, cancelled):
            listeners_hear(shop, placed, subscribed.body["subscription_id"])
    assert len(mails) >= 4
    assert len(shop.subscriber.heard) == 3
    everything = "\n".join(
        (
            kept_by(shop),
            said.getvalue(),
            str(floor.workflows.executions),
            str(mails),
            *(mail.text + mail.html for mail in mails),
            *(each.body.decode() for each in shop.subscriber.heard),
        )
    )
    assert shipped.body["order_id"] in everything
    secrets = [STRIPE_SECRET, "sk_test_local", subscribed.body["secret"]]
    for placed in (shipped, cancelled):
        whole = placed.body["payment"]["client_secret"]
        secrets += [whole, whole.split("_secret_")[1], placed.body["order_token"]]
    for secret in secrets:
        assert secret not in everything
    assert CARD not in re.sub(r"[ \-.]", "", everything)
