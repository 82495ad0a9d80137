"""A person's data: told on demand, gone on demand, and gone from everywhere that docs/privacy.md names.

The canary is a customer all of whose words and data are marked: they buy, return, complain and are written about, and
once they are erased no mark is in any item of any table, while every history still proves itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import boto3
import pytest

from oms.channels.port import PersonDemand
from oms.customers.forgetting import BLANKED, REMOVED
from oms.customers.retention import RetainOrders
from oms.messages.notifier import Mail
from oms.orders import history
from oms.orders.model import Event
from oms.orders.placing import customer_id_for
from oms.orders.store import Change
from oms.runtime import errors
from tests.component.test_customers import Client, buy, kept, sold
from tests.component.test_shipping import seen
from tests.support.floor import Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop, _everything, checkout

AGENT = {"cognito:groups": "[agent]", "cognito:username": "sam"}
OPS = {"cognito:groups": "[ops]", "cognito:username": "kim"}
MARK, PHONE = "Qxzanary", "73198420657"
EMAIL = f"ada.{MARK.lower()}@example.com"
CUSTOMER = customer_id_for(EMAIL)
SIGNER = "John Tester"
WORDS = f"Ada {MARK} called from {PHONE}"


@pytest.fixture(autouse=True)
def _stocked(shop: Shop) -> None:
    shop.stock_up("SHIRT", 100)
    shop.stock_up("MUG", 100, price=500)


@pytest.fixture
def floor(shop: Shop) -> Floor:
    return Floor(shop)


def call(shop: Shop, route: str, body: Any = None, *, staff: Any = OPS, key: str = "", **path: str) -> Answer:
    headers = {"idempotency-key": key} if key else {}
    return shop.call("customer_service.customers", route, body, path=path, headers=headers, staff=staff)


def ask(shop: Shop, kind: str, customer_id: str = CUSTOMER, *, key: str = "demand-0001", staff: Any = OPS) -> Answer:
    return call(shop, f"POST /persons/{kind}", {"customer_id": customer_id}, key=key, staff=staff)


def of(shop: Shop, demand: Answer) -> Any:
    answer = call(shop, "GET /persons/demands/{id}", id=demand.body["demand_id"])
    assert answer.status == 200, answer
    return answer.body


def schedule(shop: Shop) -> None:
    """What the schedule does every five minutes."""
    import_module("functions.place_order.poll_channels").handler({}, Context())
    shop.serve_people()


def marked(shop: Shop, key: str = "checkout-0001", email: str = EMAIL) -> Answer:
    """A paid order full of marks."""
    placed = shop.place(
        checkout(
            ("SHIRT", 1),
            customer={"email": email, "name": f"Ada {MARK}", "phone": f"+{PHONE}"},
            note=f"ring at {MARK}",
            gift={"message": f"from your {MARK}"},
        )
        | {"shipping_address": an_address()},
        key=key,
    )
    assert placed.status == 201, placed
    shop.pay(placed)
    shop.deliver_all()
    return placed


def an_address() -> dict[str, str]:
    usual = checkout(("SHIRT", 1))["shipping_address"]
    return {**usual, "name": f"Ada {MARK}", "line1": f"12 {MARK} Row"}


def service(shop: Shop, order: Answer, route: str, body: Any, key: str = "", **path: str) -> Answer:
    entry = "customer_service.aftersales" if "returns" in route else "customer_service.api"
    headers = {"order-token": order.body["order_token"], **({"idempotency-key": key} if key else {})}
    answer = shop.call(
        entry, route, body, path={"id": order.body["order_id"], **path}, headers=headers, staff=STAFF_CLAIMS
    )
    assert answer.status < 300, answer
    return answer


def a_whole_life(floor: Floor) -> list[str]:
    """Everything in which a person may leave a trace; the orders."""
    shop, mails = floor.shop, list[Mail]()

    class Mailbox:
        def send(self, mail: Mail) -> str:
            mails.append(mail)
            return f"m-{len(mails)}"

    object.__setattr__(shop.app.telling, "notifier", Mailbox)
    subscribed = shop.call(
        "messages.api",
        "POST /webhooks/subscriptions",
        {"url": "https://erp.merchant.example/hooks", "types": ["order.placed", "shipment.shipped"]},
        headers={"idempotency-key": "erp-0001"},
        staff=STAFF_CLAIMS,
    )
    first = marked(shop)
    hold = {"kind": "fraud", "reason": WORDS, "owner": "risk", "hours": 2}
    service(shop, first, "POST /orders/{id}/holds", hold)
    service(shop, first, "DELETE /orders/{id}/holds/{kind}", {"reason": f"{MARK} is known"}, kind="fraud")
    for number, by_customer in enumerate((True, False)):
        said = {"text": WORDS, "by_customer": by_customer}
        service(shop, first, "POST /orders/{id}/notes", said, key=f"note-000{number}")
    floor.do_all()
    for delivery in (*seen(floor, first, "failure"), *seen(floor, first, "delivered")):
        shop.deliver(delivery)
    shop.later(minutes=10)
    goodwill = {"kind": "amount", "amount": 100, "reason": "goodwill", "note": WORDS}
    service(shop, first, "POST /orders/{id}/refunds", goodwill, key="refund-0001")
    shop.settle(first)
    returned = {"lines": [{"line": 1, "quantity": 1, "reason": "damaged"}]}
    service(shop, first, "POST /orders/{id}/returns", returned, key="return-0001")
    closed = {"decision": "cancel", "reason": f"{MARK} keeps it"}
    service(shop, first, "POST /orders/{id}/returns/{number}/decision", closed, number="1")
    second = marked(shop, key="checkout-0002")
    cancelled = {"reason": f"{MARK} does not want it"}
    assert shop.cancel(second, cancelled).status == 200
    shop.settle(second)
    shop.news()
    disputed = marked(shop, key="checkout-0003")
    floor.do_all()
    shop.stripe_plays("disputes", payment_intent=shop.intent_of(disputed))
    shop.news()
    (dispute,) = shop.app.orders.parts(disputed.body["order_id"], "DISPUTE#")
    evidence = {"confirm": True, "statement": WORDS}
    told = {"dispute": dispute["dispute_id"]}
    service(shop, disputed, "POST /orders/{id}/disputes/{dispute}/evidence", evidence, **told)
    shop.settle(disputed)
    shop.news()
    orders = [placed.body["order_id"] for placed in (first, second, disputed)]
    for order_id in orders:
        events = shop.app.orders.parts(order_id, "EVENT#")
        message = json.dumps({"order_id": order_id, "number": events[-1]["n"], "type": "any"})
        for worker, body in (
            ("messages.notify", message),
            ("messages.publish", message),
            ("messages.deliver", json.dumps({"subscription_id": subscribed.body["subscription_id"]})),
        ):
            import_module(f"functions.{worker}").handler({"Records": [{"messageId": "m", "body": body}]}, Context())
    bought = sold(shop, "etsy", f"{MARK}-77", EMAIL)
    shop.app.ending.cancel_by_channel(bought.order_id, "etsy")
    kept(shop, *orders, bought)
    other = bought.customer["id"]
    joined = {"with": other, "reason": WORDS}
    assert call(shop, "POST /customers/{id}/merges", joined, id=CUSTOMER, key="merge-0001").status in (201, 409)
    said = {"note": WORDS, "phone": f"+{PHONE}", "addresses": [an_address()]}
    assert call(shop, "PATCH /customers/{id}", said, id=CUSTOMER).status == 200
    wish = {"marketing": True, "source": "mail", "wording": "2026-11"}
    prefers(shop, CUSTOMER, wish)
    assert len(mails) >= 3
    return [*orders, bought.order_id]


def prefers(shop: Shop, customer_id: str, wish: Any) -> None:
    route = "PUT /customers/{id}/message-preferences"
    assert shop.call("messages.api", route, wish, path={"id": customer_id}, staff=AGENT).status == 200


def traces(shop: Shop, *more: str) -> list[str]:
    """Every item of both tables in which a mark can be read, however it is spelled."""
    marks = [MARK.lower(), SIGNER.lower(), CUSTOMER, *more]
    found = []
    for table in (shop.app.orders.table, shop.app.inventory.table):
        for item in _everything(table):
            said = str(item).lower()
            if item["entity"] == "person_erased":
                continue  # The id alone, for nine days: docs/privacy.md says why.
            if any(mark in said for mark in marks) or PHONE in re.sub(r"[ \-.()]", "", said):
                found.append(f"{item['entity']}: {item}")
    return found


def decided(shop: Shop, order_id: str) -> None:
    """The bank says who won."""
    dispute = shop.app.orders.parts(order_id, "DISPUTE#")[0]["dispute_id"]
    shop.stripe_plays("disputes", dispute=dispute, outcome="won")
    shop.news()


def test_of_a_person_who_was_erased_nothing_is_left_and_every_history_still_proves_itself(floor: Floor) -> None:
    shop = floor.shop
    orders = a_whole_life(floor)
    before = {item.split(":")[0] for item in traces(shop)}
    assert before >= {"order", "event", "note", "credit", "refund", "sighting", "dispute"}
    table = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in _rows())))
    assert before <= table, f"not in docs/privacy.md: {before - table}"
    assert {*REMOVED, *BLANKED} <= table
    assert before >= {"person", "find", "merge", "contribution", "consent", "preferences", "money"}
    demand = ask(shop, "erasures")
    assert demand.status == 202, demand
    shop.serve_people()
    assert {each["because"] for each in of(shop, demand)["waits_for"]} == {"dispute"}
    decided(shop, orders[2])
    schedule(shop)
    done = of(shop, demand)
    assert (done["status"], done["outcome"], done["customer_id"]) == ("done", "erased", None)
    assert done["order_ids"] == sorted(orders)
    assert traces(shop) == []
    for order_id in orders:
        order = shop.app.orders.require(order_id)
        assert set(order.address) == {"country"}
        assert order.lines
        assert order.totals.total
        assert shop.app.orders.verified_history(order_id)
        story = service_story(shop, order_id)
        assert story["proven"]
        assert MARK not in str(story)


def _rows() -> list[str]:
    """The table of what is kept in the orders table."""
    told = Path("docs/privacy.md").read_text().split("## Elsewhere")[0]
    return [line for line in told.splitlines() if line.startswith("| `")]


def service_story(shop: Shop, order_id: str) -> Any:
    route = "GET /orders/{id}/timeline"
    return shop.call("customer_service.api", route, path={"id": order_id}, staff=STAFF_CLAIMS).body


# ---- erasing ---------------------------------------------------------------------------------------------------------


class Dies(Exception):
    """The process ends."""


class Dying:
    """DynamoDB, where the process dies at one of its writes: before it, or when it is done and nobody was told."""

    def __init__(self, client: Any, at: int, *, done: bool) -> None:
        self._client, self._left, self._done = client, at, done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return self._dying(method) if name in ("transact_write_items", "update_item") else method

    def _dying(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(**asked: Any) -> Any:
            self._left -= 1
            if self._left == -1 and not self._done:
                raise Dies
            answer = method(**asked)
            if self._left == -1:
                raise Dies
            return answer

        return call


def a_short_life(shop: Shop, number: int) -> tuple[str, list[str]]:
    """Somebody with two cancelled orders of ours, written about, and their identity."""
    email = f"ada.{MARK.lower()}{number}@example.com"
    placed = [buy(shop, key=f"checkout-{number}-{each}", customer={"email": email, "name": MARK}) for each in (1, 2)]
    orders = [str(each.body["order_id"]) for each in placed]
    for each in placed:
        service(shop, each, "POST /orders/{id}/notes", {"text": WORDS}, key="note-0001")
        shop.cancel(each, {"reason": f"{MARK} said so"})
        shop.settle(each)
    shop.news()
    kept(shop, *orders)
    customer_id = customer_id_for(email)
    prefers(shop, customer_id, {"marketing": True})
    return customer_id, orders


@pytest.mark.parametrize("done", [False, True])
def test_who_dies_between_any_two_writes_of_an_erasure_is_followed_by_the_schedule(shop: Shop, done: bool) -> None:
    table = shop.app.orders.table
    for number in range(30):
        customer_id, orders = a_short_life(shop, number)
        asked = ask(shop, "erasures", customer_id, key=f"demand-{number:04d}")
        shop.queued("customers")
        works = table.client
        table.client = Dying(works, number, done=done)
        died = False
        try:
            shop.app.serving_people.carry_out("staff", asked.body["demand_id"].partition(".")[2], lambda: 60.0)
        except Dies:
            died = True
        finally:
            table.client = works
        schedule(shop)
        assert of(shop, asked)["status"] == "done"
        assert traces(shop, customer_id) == []
        for order_id in orders:
            types = [event["type"] for event in shop.app.orders.verified_history(order_id)]
            assert types.count("PersonErased") == 1
        if not died:
            assert number > 5
            return
    raise AssertionError("an erasure takes more writes than were tried")


def test_an_erasure_twice_is_harmless_and_a_late_message_brings_nobody_back(shop: Shop) -> None:
    customer_id, orders = a_short_life(shop, 0)
    first = ask(shop, "erasures", customer_id)
    again = ask(shop, "erasures", customer_id)
    assert (again.status, again.body["demand_id"]) == (202, first.body["demand_id"])
    shop.serve_people()
    versions = [shop.app.orders.require(order_id).version for order_id in orders]
    assert ask(shop, "erasures", customer_id).body["status"] == "done"
    ask(shop, "erasures", customer_id, key="demand-0002")
    shop.serve_people()
    kept(shop, *orders)
    assert [shop.app.orders.require(order_id).version for order_id in orders] == versions
    assert shop.app.people.profile(customer_id) is None
    assert traces(shop, customer_id) == []


def test_who_counts_an_order_while_it_is_erased_does_not_bring_its_person_back(shop: Shop) -> None:
    customer_id, orders = a_short_life(shop, 0)
    table = shop.app.orders.table
    order = shop.app.orders.require(orders[0])
    shop.app.orders.change(orders[0], lambda seen: Change(seen, Event("Looked", "system", "test")), shop.now)
    works = table.client
    ask(shop, "erasures", customer_id)
    table.client = Client(works, shop.serve_people, None)
    try:
        shop.app.keeping.keep(order.order_id)
    finally:
        table.client = works
    assert shop.app.people.profile(customer_id) is None
    assert traces(shop, customer_id) == []


def test_a_key_is_one_request(shop: Shop) -> None:
    assert ask(shop, "erasures").status == 202
    other = ask(shop, "erasures", customer_id_for("bob@example.com"))
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")
    assert ask(shop, "exports").body["kind"] == "report"  # A key of its own for each route.
    assert call(shop, "POST /persons/erasures", {"customer_id": EMAIL}, key="demand-0003").status == 422


def test_what_an_agent_asks_for_begins_after_a_day_so_that_ops_can_stop_it(shop: Shop) -> None:
    customer_id, _ = a_short_life(shop, 0)
    asked = ask(shop, "erasures", customer_id, staff=AGENT)
    assert asked.body["begins_at"] == "2026-11-24T09:00:00.000Z"
    schedule(shop)
    assert of(shop, asked)["status"] == "open"
    stopped = ask(shop, "erasures", customer_id, key="demand-0002", staff=AGENT)
    close = "POST /persons/demands/{id}/close"
    assert call(shop, close, {"outcome": "withdrawn"}, staff=AGENT, id=stopped.body["demand_id"]).status == 403
    closed = call(shop, close, {"outcome": "withdrawn"}, id=stopped.body["demand_id"])
    assert (closed.body["status"], closed.body["outcome"], closed.body["done_by"]) == ("done", "withdrawn", "staff:kim")
    shop.later(hours=25)
    schedule(shop)
    assert of(shop, asked)["outcome"] == "erased"
    assert of(shop, stopped)["outcome"] == "withdrawn"


def test_an_order_on_its_way_is_waited_for(shop: Shop) -> None:
    placed = marked(shop)
    kept(shop, placed)
    asked = ask(shop, "erasures")
    shop.serve_people()
    assert of(shop, asked)["waits_for"] == [{"order_id": placed.body["order_id"], "because": "order"}]
    assert shop.app.orders.require(placed.body["order_id"]).customer["email"] == EMAIL
    shop.cancel(placed)
    schedule(shop)
    assert of(shop, asked)["waits_for"][0]["because"] == "refund"
    shop.settle(placed)
    shop.news()
    schedule(shop)
    assert of(shop, asked)["outcome"] == "erased"
    assert traces(shop) == []


def test_what_the_law_wants_kept_is_kept_until_it_does_not(shop: Shop) -> None:
    customer_id, orders = a_short_life(shop, 0)
    held = call(shop, "PUT /persons/{id}/hold", {"until": "2027-01-31"}, id=customer_id)
    assert (held.status, held.body["until"]) == (200, "2027-02-01T00:00:00.000Z")
    assert call(shop, "PUT /persons/{id}/hold", {"until": "2026-11-22"}, id=customer_id).status == 422
    asked = ask(shop, "erasures", customer_id)
    shop.serve_people()
    assert {each["because"] for each in of(shop, asked)["waits_for"]} == {"legal_hold"}
    assert shop.app.erasing.forget(orders[0], "test") == "legal_hold"
    assert call(shop, "PUT /persons/{id}/hold", {"until": None}, id=customer_id).body["until"] is None
    schedule(shop)
    assert of(shop, asked)["outcome"] == "erased"
    assert traces(shop, customer_id) == []


def test_a_hold_that_comes_just_before_the_write_stops_it(shop: Shop) -> None:
    customer_id, orders = a_short_life(shop, 0)
    table = shop.app.orders.table
    works = table.client
    until = shop.now + timedelta(days=9)
    table.client = Client(works, lambda: shop.app.erasing.hold(customer_id, until, "staff:kim"), None)
    try:
        assert shop.app.erasing.forget(orders[0], "test") == "legal_hold"
    finally:
        table.client = works
    assert shop.app.orders.require(orders[0]).customer["name"] == MARK


def test_a_note_that_comes_just_before_the_write_goes_too(shop: Shop) -> None:
    _, orders = a_short_life(shop, 0)
    table = shop.app.orders.table
    works = table.client

    def noted() -> None:
        table.client = works
        form = import_module("oms.orders.notes").NoteForm(text=WORDS)
        shop.app.notes.add(orders[0], form, author="staff:kim", key="note-0009")

    table.client = Client(works, noted, None)
    assert shop.app.erasing.forget(orders[0], "test") == ""
    counted = ("contribution", "contributed", "person")  # These follow by the stream, or by whoever carries out.
    assert not [item for item in traces(shop) if orders[0] in item and not item.startswith(counted)]


# ---- history ---------------------------------------------------------------------------------------------------------


def test_words_are_no_part_of_the_chain_and_cannot_be_changed_while_they_are_there(shop: Shop) -> None:
    _, orders = a_short_life(shop, 0)
    order = shop.app.orders.require(orders[0])
    events = shop.app.orders.parts(orders[0], "EVENT#")
    said = [event for event in events if "said" in event]
    assert [history.why(event) for event in said] == [f"{MARK} said so"]
    assert MARK not in str([{name: event[name] for name in event if name != "said"} for event in events])
    history.verify([{**event, "said": None} for event in events], order.head, order.version)
    said[0]["said"]["text"] = "somebody else said so"
    with pytest.raises(history.HistoryBroken, match="words"):
        history.verify(events, order.head, order.version)


# ---- telling ---------------------------------------------------------------------------------------------------------


def exported(shop: Shop, demand: Answer) -> Any:
    found = call(shop, "GET /persons/demands/{id}", id=demand.body["demand_id"])
    assert "X-Amz-Expires=900" in found.body["link"], found
    key = re.search(r"exports/persons/[^?]+", found.body["link"])
    assert key is not None
    return json.loads(boto3.client("s3").get_object(Bucket="files", Key=key[0])["Body"].read())


def test_a_person_is_told_everything_over_all_their_identities(floor: Floor) -> None:
    shop = floor.shop
    orders = a_whole_life(floor)
    asked = ask(shop, "exports", staff=AGENT)
    assert (asked.status, asked.body["asked_by"], asked.body["received_at"]) == (
        202,
        "staff:sam",
        "2026-11-23T10:10:00.000Z",
    )
    assert call(shop, "GET /persons/demands/{id}", id=asked.body["demand_id"]).body["link"] is None
    shop.serve_people()
    assert call(shop, "GET /persons/demands/{id}", staff=AGENT, id=asked.body["demand_id"]).body["link"] is None
    told = exported(shop, asked)
    assert [order["order_id"] for order in told["orders"]] == sorted(orders, key=lambda one: _placed(shop, one))
    first = next(order for order in told["orders"] if order["order_id"] == orders[0])
    assert first["customer"] == {"email": EMAIL, "name": f"Ada {MARK}", "phone": f"+{PHONE}"}
    assert first["shipping_address"]["line1"] == f"12 {MARK} Row"
    assert [note["text"] for note in first["notes"]] == [WORDS, WORDS]
    assert {mail["kind"] for mail in first["messages"]} >= {"confirmed"}
    assert {entry["kind"] for entry in first["payments"]} >= {"captured"}
    assert first["gift"]["message"] == f"from your {MARK}"
    assert WORDS in [event["why"] for event in first["history"]]
    (profile,) = told["profiles"]
    assert profile["note"] == WORDS
    assert profile["marketing"] is True
    kinds = {item["kind"] for items in told["kept_by_identity"].values() for item in items}
    assert {"consent", "preferences"} <= kinds
    assert "kim" not in json.dumps(told)
    assert {card["last4"] for card in first["cards"]} == {"4242"}
    assert "424242" not in json.dumps(told)
    assert of(shop, asked)["status"] == "open"  # Until somebody has handed it over.
    closed = call(shop, "POST /persons/demands/{id}/close", {"outcome": "handed_over"}, id=asked.body["demand_id"])
    assert closed.body["status"] == "done"


def _placed(shop: Shop, order_id: str) -> tuple[str, str]:
    return shop.app.orders.require(order_id).placed_at, order_id


def test_an_export_is_made_once_and_again_when_its_file_is_about_to_go(shop: Shop) -> None:
    customer_id, _ = a_short_life(shop, 0)
    asked = ask(shop, "exports", customer_id)
    schedule(shop)
    first = of(shop, asked)["made_at"]
    shop.later(days=1)
    schedule(shop)
    assert of(shop, asked)["made_at"] == first
    shop.later(days=6)
    assert call(shop, "GET /persons/demands/{id}", id=asked.body["demand_id"]).body["link"] is None
    schedule(shop)
    assert of(shop, asked)["made_at"] != first
    assert exported(shop, asked)["identities"] == [customer_id]


# ---- what marketplaces demand ----------------------------------------------------------------------------------------


def test_a_shopify_customer_s_request_is_made_handed_over_and_closed(shop: Shop) -> None:
    bought = sold(shop, "shopify", "1", f"{MARK}@example.com", "1001")
    kept(shop, bought)
    shop.shopify.announce_privacy("customers/data_request", {"customer": {"id": 1}, "orders_requested": [1001]})
    shop.deliver_all()
    shop.serve_people()
    (listed,) = call(shop, "GET /persons/demands", staff=AGENT).body["demands"]
    assert (listed["channel"], listed["kind"], listed["buyer_ids"], listed["overdue"]) == (
        "shopify",
        "report",
        ["1"],
        False,
    )
    asked = Answer(200, {}, listed)
    (order,) = exported(shop, asked)["orders"]
    assert order["external_id"] == "1001"
    closed = call(shop, "POST /persons/demands/{id}/close", {"outcome": "handed_over"}, id=listed["demand_id"])
    assert closed.status == 200
    assert call(shop, "GET /persons/demands").body["demands"] == []
    (done,) = _done(shop)
    assert (done["outcome"], done["buyer_ids"], done["done_by"]) == ("handed_over", [], "staff:kim")


def _done(shop: Shop) -> Any:
    query = {"month": "2026-11"}
    return shop.call("customer_service.customers", "GET /persons/demands", query=query, staff=OPS).body["demands"]


def test_a_shop_that_left_is_erased_once_ops_say_so_and_no_other_channel_s_orders_are(shop: Shop) -> None:
    gone = [sold(shop, "shopify", f"b-{each}", external_id=f"200{each}") for each in range(3)]
    waits = sold(shop, "shopify", "b-9", external_id="2009")
    stays = sold(shop, "etsy", "77")
    for order in (*gone, stays):
        shop.app.ending.cancel_by_channel(order.order_id, order.channel)
    kept(shop, *gone, waits, stays)
    shop.shopify.announce_privacy("shop/redact", {})
    shop.deliver_all()
    schedule(shop)
    (listed,) = call(shop, "GET /persons/demands").body["demands"]
    assert listed["everybody"]
    assert shop.app.orders.require(gone[0].order_id).customer["name"] == "Ada B."
    confirm, told = "POST /persons/demands/{id}/close", {"outcome": "erase_everybody"}
    assert call(shop, confirm, told, staff=AGENT, id=listed["demand_id"]).status == 403
    assert call(shop, confirm, told, id=listed["demand_id"]).body["status"] == "open"
    shop.serve_people()
    assert [set(shop.app.orders.require(order.order_id).customer) for order in gone] == [{"id"}] * 3
    assert shop.app.orders.require(stays.order_id).customer["name"] == "Ada B."
    (left,) = call(shop, "GET /persons/demands").body["demands"]
    assert left["waits_for"] == []
    assert left["channel"] == "retention"
    shop.app.ending.cancel_by_channel(waits.order_id, "shopify")
    schedule(shop)
    assert call(shop, "GET /persons/demands").body["demands"] == []
    assert set(shop.app.orders.require(waits.order_id).customer) == {"id"}


# ---- consent ---------------------------------------------------------------------------------------------------------


def consents(shop: Shop, customer_id: str) -> Any:
    route = "GET /customers/{id}/message-preferences"
    return shop.call("messages.api", route, path={"id": customer_id}, staff=AGENT).body["consents"]


def test_consent_is_kept_with_when_and_how_and_the_profile_knows_at_once(shop: Shop) -> None:
    placed = buy(shop)
    kept(shop, placed)
    customer_id = shop.app.orders.require(placed.body["order_id"]).customer["id"]
    prefers(shop, customer_id, {"marketing": True, "source": "paper", "wording": "2026-11.v2"})
    prefers(shop, customer_id, {"marketing": True, "source": "phone", "wording": "2026-12"})
    profile = shop.app.people.profile(customer_id)
    assert profile
    assert profile.marketing
    shop.later(days=1)
    route, path = "PUT /orders/{id}/message-preferences", {"id": placed.body["order_id"]}
    told = {"marketing": False, "off": ["shipped"]}
    token = {"order-token": placed.body["order_token"]}
    assert shop.call("place_order.api", route, told, path=path, headers={"order-token": "x"}).status == 404
    answer = shop.call("place_order.api", route, told, path=path, headers=token)
    assert (answer.status, answer.body) == (200, {"off": ["shipped"], "marketing": False})
    profile = shop.app.people.profile(customer_id)
    assert profile
    assert not profile.marketing
    assert [
        (each["marketing"], each["source"], each["wording"], each["changed_by"]) for each in consents(shop, customer_id)
    ] == [(False, "link", "", "customer"), (True, "paper", "2026-11.v2", "staff:sam")]


def test_two_wishes_at_once_are_both_in_the_history_and_the_profile_has_the_last(shop: Shop) -> None:
    placed = buy(shop)
    kept(shop, placed)
    customer_id = shop.app.orders.require(placed.body["order_id"]).customer["id"]
    table = shop.app.orders.table
    works = table.client

    def meanwhile() -> None:
        table.client = works
        prefers(shop, customer_id, {"marketing": False, "off": ["shipped"]})

    table.client = Client(works, meanwhile, None)
    prefers(shop, customer_id, {"marketing": True})
    assert [each["marketing"] for each in consents(shop, customer_id)] == [True, False]
    profile = shop.app.people.profile(customer_id)
    assert profile
    assert profile.marketing


# ---- retention -------------------------------------------------------------------------------------------------------


def retaining(shop: Shop, years: int = 10) -> RetainOrders:
    return replace(shop.app.serving_people.retaining, years=years)


def test_people_go_out_of_orders_that_are_old_enough_without_a_demand(shop: Shop) -> None:
    customer_id, orders = a_short_life(shop, 0)
    waiting = marked(shop)
    kept(shop, waiting)
    shop.later(days=365 * 10)
    assert retaining(shop).run(lambda: 60.0) == 0
    assert retaining(shop, years=0).run(lambda: 60.0) == 0
    shop.later(days=40)
    assert retaining(shop).run(lambda: 60.0) == 2
    assert traces(shop, customer_id)
    assert not [item for item in traces(shop, customer_id) if orders[0] in item]
    (left,) = call(shop, "GET /persons/demands").body["demands"]
    assert (left["channel"], left["demand_id"]) == ("retention", f"retention.{waiting.body['order_id']}")
    shop.app.ending.cancel(waiting.body["order_id"], reason="never sent", actor="staff:kim", key="")
    shop.settle(waiting)
    shop.news()
    schedule(shop)
    assert traces(shop, customer_id) == []


def test_the_walk_goes_on_where_it_stopped_and_looks_at_no_month_twice(shop: Shop) -> None:
    lives = []
    for number in range(3):
        lives += a_short_life(shop, number)[1]
        shop.later(days=31)
    shop.later(days=365 * 10 + 40)
    cleared, runs = 0, 0
    while True:
        count = retaining(shop).run(lambda: 0.0)
        cleared, runs = cleared + count, runs + 1
        if cleared == 6:
            break
        assert runs < 400
    assert runs > 3
    looked: Iterator[Any] = iter(lives)
    assert all(set(shop.app.orders.require(order_id).customer) == {"id"} for order_id in looked)
    while retaining(shop).run(lambda: 60.0):
        pass
    mark = shop.app.orders.table.get("PERSONS", "RETENTION")
    assert retaining(shop).run(lambda: 60.0) == 0
    assert shop.app.orders.table.get("PERSONS", "RETENTION") == mark


def test_a_demand_that_cannot_be_carried_out_does_not_stop_the_others(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id, _ = a_short_life(shop, 0)
    shop.app.demands.record("etsy", "broken", PersonDemand("erase", buyer_ids=("1",)), order_ids=None)
    asked = ask(shop, "erasures", customer_id)
    schedule(shop)
    assert of(shop, asked)["status"] == "done"


def test_who_is_forgotten_can_wish_nothing(shop: Shop) -> None:
    placed = buy(shop)
    shop.cancel(placed)
    shop.settle(placed)
    shop.news()
    assert shop.app.erasing.forget(placed.body["order_id"], "test") == ""
    headers, path = {"order-token": placed.body["order_token"]}, {"id": placed.body["order_id"]}
    route = "PUT /orders/{id}/message-preferences"
    answer = shop.call("place_order.api", route, {"marketing": True}, path=path, headers=headers)
    assert (answer.status, answer.body["code"]) == (409, "person_erased")


def test_an_unknown_demand_is_not_found_and_one_person_s_erasure_is_not_everybody_s(shop: Shop) -> None:
    close = "POST /persons/demands/{id}/close"
    assert call(shop, "GET /persons/demands/{id}", id="staff.nothing").status == 404
    assert call(shop, close, {"outcome": "refused"}, id="staff.nothing").status == 404
    with pytest.raises(errors.NotFound):
        shop.app.demands.find("nothing")
    asked = ask(shop, "erasures", staff=AGENT)
    assert call(shop, close, {"outcome": "erase_everybody"}, id=asked.body["demand_id"]).status == 409
