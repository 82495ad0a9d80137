"""Customers and those who serve them, on the deployed stack: who they are, what they are sold and given, and how they
and their orders are found."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from local.client import Client, checkout
from local.reports import Stage
from tests.e2e.people import People
from tests.e2e.test_floor import a_place, stocked
from tests.e2e.test_telling import command

RULES_ARE_KNOWN_AFTER = 62.0
"""Seconds; functions that ask at every order keep rules for a minute."""


@pytest.fixture
def people(client: Client, stage: Stage) -> People:
    return People(client, stage)


@dataclass(frozen=True, slots=True)
class Promised:
    """Rules that a merchant wrote at ``at`` of the monotonic clock, for orders in Canadian dollars: nobody else's."""

    gift: str
    before: dict[str, Any]
    at: float

    def wait(self) -> None:
        """Wait until every function goes by them."""
        time.sleep(max(0.0, self.at + RULES_ARE_KNOWN_AFTER - time.monotonic()))


@pytest.fixture(scope="module", autouse=True)
def promised(client: Client) -> Iterator[Promised]:
    """Milestones and priorities are written first, so that they are known by the time the last test asks."""
    gift = client.stock_up(f"GIFT-{time.time_ns()}", 5, currency="CAD", price=900)
    coupon = {"kind": "amount", "amounts": {"CAD": 700}, "days": 30}
    milestones = [
        {"name": "gift", "currency": "CAD", "spent": 5000, "gift": [gift]},
        {"name": "thanks", "currency": "CAD", "spent": 5000, "coupon": coupon},
    ]
    version = client.api("GET", "/rewards/rules", staff="ops").expect(200)["version"]
    body = {"version": version, "milestones": milestones}
    assert client.api("PUT", "/rewards/rules", body, staff="ops").expect(200)["version"] == version + 1
    before = client.api("GET", "/priority/rules", staff="ops").expect(200)
    rules = {**before, "large_ticket": {**before["large_ticket"], "CAD": 8000}}
    after = client.api("PUT", "/priority/rules", rules, staff="ops").expect(200)
    assert after == {**rules, "version": before["version"] + 1}
    assert client.api("PUT", "/priority/rules", rules, staff="ops").status == 409
    yield Promised(gift, before, time.monotonic())
    client.api("PUT", "/rewards/rules", {"version": version + 1, "milestones": []}, staff="ops").expect(200)
    back = {**before, "version": after["version"]}
    client.api("PUT", "/priority/rules", back, staff="ops").expect(200)


def by_phone(people: People, sku: str, units: int, **changes: Any) -> Any:
    """An order that an agent takes, on an invoice."""
    body = {**checkout((sku, units)), "channel": "phone", "payment": {"method": "invoice"}, **changes}
    return people.ask("agent", "POST", "/staff/orders", body)


def customer_of(people: People, placed: Any) -> str:
    """The identity that an order was placed under."""
    return str(people.client.order_as_staff(placed["order_id"])["customer"]["id"])


def known(people: People, customer: str, orders: int) -> Any:
    """The person that an identity belongs to, once so many orders count."""

    def seen() -> Any:
        answer = people.client.api("GET", f"/customers/{customer}", staff="agent")
        return answer.body if answer.status == 200 and answer.body["orders"] == orders else None

    return people.until(f"{orders} orders count", seen)


def found(people: People, **said: str) -> dict[str, str]:
    """By what each order was found."""
    answer = people.ask("agent", "GET", f"/orders/find?{urlencode(said)}")
    return {each["order_id"]: each["found_by"] for each in answer["orders"]}


def test_somebody_who_buys_by_web_and_by_phone_is_one_and_is_joined_with_another_and_parted_again(
    people: People, sku: str
) -> None:
    client = people.client
    client.stock_up(sku, 20)
    word = re.sub(r"\d", lambda digit: "ghijklmnop"[int(digit[0])], sku[5:].lower())
    ada = {"email": f"{word}@example.com", "name": f"Ada {word}"}
    web = people.paid((sku, 1), customer=ada)
    phone = by_phone(people, sku, 2, customer=ada)
    customer = customer_of(people, web)
    assert customer_of(people, phone) == customer
    person = known(people, customer, 2)
    assert (person["channels"], person["units"], person["spent"]) == ({"web": 1, "phone": 1}, 3, {"USD": web["total"]})
    listed = people.ask("agent", "GET", f"/customers/{customer}/orders")["orders"]
    assert [each["order_id"] for each in listed] == [phone["order_id"], web["order_id"]]
    (line,) = people.ask("agent", "GET", f"/customers?q={word[:6]}")["customers"]
    assert (line["customer_id"], line["email"], line["orders"]) == (customer, ada["email"], 2)

    other = by_phone(people, sku, 1, customer={"email": f"{word}@work.example", "name": "A. Byron"})
    second = customer_of(people, other)
    known(people, second, 1)
    path = f"/customers/{customer}"
    joined = people.ask("agent", "POST", f"{path}/merges", {"with": second, "reason": "called us"})
    one = known(people, second, 3)
    assert sorted(one["identities"]) == sorted([customer, second])
    assert people.ask("agent", "GET", path)["units"] == 4
    assert len(people.ask("agent", "GET", f"{path}/orders")["orders"]) == 3
    people.ask("agent", "DELETE", f"{path}/merges/{joined['merge_id']}")
    parted = [known(people, each, orders) for each, orders in ((customer, 2), (second, 1))]
    assert [each["units"] for each in parted] == [3, 1]
    assert parted[0]["merges"][0]["undone_at"]

    seen = {"if-match": f'"{parted[0]["version"]}"'}
    wrote = {"note": "rings twice", "phone": "+1 503 555 0177"}
    changed = client.api("PATCH", path, wrote, staff="agent", headers=seen).expect(200)
    assert (changed["note"], changed["phone"]) == ("rings twice", "+1 503 555 0177")
    assert client.api("PATCH", path, wrote, staff="agent", headers=seen).status == 412

    both = {each["order_id"]: "email" for each in (web, phone)}
    people.until("both are found by e-mail", lambda: found(people, email=ada["email"]) == both)
    assert set(found(people, name=f"Ada {word}", postcode="97201")) == set(both)
    today = datetime.now(UTC).date().isoformat()
    people.until("the card finds it", lambda: found(people, q=f"4242 {today}").get(web["order_id"]) == "card")
    people.pick_and_pack(web)
    people.until("it is sent", lambda: client.order(web)["status"] == "completed")
    number = client.order(web)["shipments"][0]["tracking_number"]
    people.until("the parcel finds it", lambda: found(people, tracking=number) == {web["order_id"]: "tracking"})


def test_who_answers_the_phone_is_told_the_story_what_it_waits_for_and_what_may_be_done(
    people: People, sku: str
) -> None:
    client = people.client
    client.stock_up(sku, 5, title="Blue shirt")
    email = f"{sku.lower()}@example.com"
    placed = people.paid((sku, 2), customer={"email": email, "name": "Ada Byron"})
    path = f"/orders/{placed['order_id']}"
    people.task(placed, "pick")
    told = people.ask("agent", "GET", f"{path}/timeline")
    sentences = [each["sentence"] for each in told["story"]]
    assert told["proven"]
    assert "The customer ordered 2 units for $45.97 through the web shop." in sentences, sentences
    assert "The system planned parcel 1 from main." in sentences, sentences
    late = people.ask("agent", "GET", f"{path}/outlook")
    assert "pick" in [wait["on"] for wait in late["waits"]], late
    assert late["sentence"].startswith("The order has waited for "), late

    before = touched(people)
    asked = people.ask("agent", "POST", f"{path}/notes", {"text": "Is the gate locked?", "question": True})
    people.until("the question is mailed", lambda: any("question" in subject for subject in client.mails(placed)))
    assert ("question", asked["note_id"]) in work(people, placed)
    reply = people.ask_as(placed, "POST", "messages", {"text": "It is open.", "in_reply_to": asked["note_id"]})
    assert work(people, placed) == [("question", reply["note_id"])]
    people.ask("agent", "POST", f"{path}/notes", {"text": "Told the carrier.", "in_reply_to": reply["note_id"]})
    assert work(people, placed) == []
    thread = people.ask("agent", "GET", f"{path}/notes")["notes"]
    assert [each["text"] for each in thread] == ["Is the gate locked?", "It is open.", "Told the carrier."]

    people.until("it is counted as touched", lambda: touched(people) > before)

    offered = {each["action"]: each for each in people.ask("agent", "GET", f"{path}/actions")["actions"]}
    cancel = offered["cancel"]
    assert (cancel["allowed"], cancel["refund"]) == (True, placed["total"]), cancel
    people.ask("agent", cancel["method"], cancel["path"], cancel["body"])
    people.until("the money goes back", lambda: client.order(placed)["payment"]["refunded"] == placed["total"])
    assert (client.order(placed)["status"], client.stock(sku)["available"]) == ("cancelled", 5)


def touched(people: People) -> int:
    """How many orders somebody wrote a note about."""
    report = people.ask("agent", "GET", "/reports/automation")
    assert report["orders"] >= report["untouched"]
    return sum(each["orders"] for each in report["reasons"] if each["reason"] == "NoteAdded")


def work(people: People, placed: Any) -> list[tuple[str, str]]:
    """What waits for a person about an order."""
    entries: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = people.ask("ops", "GET", f"/work?{urlencode({'cursor': cursor} if cursor else {})}")
        entries += page["work"]
        cursor = page["next_cursor"]
    return [(each["kind"], each["about"]) for each in entries if each["order_id"] == placed["order_id"]]


def test_a_till_places_a_draft_and_sells_what_goes_at_once_whatever_it_sends_again(people: People, sku: str) -> None:
    client = people.client
    store = a_place(people, f"s{sku[5:].lower()}", kind="store", pickup=True, ships=False)
    stocked(people, sku, store, 5)
    body: dict[str, Any] = {
        "channel": "pos",
        "counter": store,
        "currency": "USD",
        "lines": [{"sku": sku, "quantity": 2}],
        "discount": {"percent": 10, "reason": "loyalty"},
    }
    saved = people.ask("pos", "POST", "/staff/drafts", body)
    draft = f"/staff/drafts/{saved['draft_id']}"
    assert saved["now"]["totals"]["total"] == 3599
    seen = {"if-match": f'"{saved["version"]}"'}
    one = {**body, "lines": [{"sku": sku, "quantity": 1}]}
    assert client.api("PUT", draft, one, staff="pos", headers=seen).expect(200)["version"] == saved["version"] + 1
    assert client.api("PUT", draft, body, staff="pos", headers=seen).status == 412
    assert saved["draft_id"] in str(people.ask("pos", "GET", "/staff/drafts"))
    sold = people.ask("pos", "POST", f"{draft}/place", {"payment": {"method": "cash"}})
    assert (sold["status"], sold["total"], sold["totals"]["discount"]) == ("completed", 1800, 199)
    assert client.api("GET", draft, staff="pos").status == 404

    key, sale = client.new_key(), {**body, "payment": {"method": "card_terminal", "reference": "0042"}}
    first, again = (client.api("POST", "/staff/orders", sale, staff="pos", key=key).expect(201) for _ in range(2))
    assert (first, first["status"], first["not_on_the_books"]) == (again, "completed", {})
    stock = client.stock(sku)
    assert (stock["on_hand"], stock["available"], stock["facilities"][store]["allocated"]) == (2, 2, 0)
    more = people.ask("pos", "POST", "/staff/orders", {**sale, "lines": [{"sku": sku, "quantity": 3}]})
    assert more["not_on_the_books"] == {sku: 1}
    box = {"found": "a box behind the counter"}
    handed = people.ask("ops", "POST", f"/staff/orders/{more['order_id']}/hand-over", box)
    assert (handed["status"], handed["holds"]) == ("completed", {})
    assert client.stock(sku)["on_hand"] == 0
    assert people.ask("ops", "GET", f"/explain/stock/{sku}")["adds_up"]

    path, token = f"/orders/{first['order_id']}/receipt", first["order_token"]
    told = client.api("GET", path, order_token=token).expect(200)
    assert (told["total"], told["discount"], told["due"]) == (3599, 399, 0)
    assert [(each["method"], each["reference"]) for each in told["payments"]] == [("card_terminal", "0042")]
    slip = client.api("GET", f"{path}?format=pdf", staff="pos")
    assert (slip.status, slip.body[:5]) == (200, "%PDF-")


def test_an_order_by_phone_is_mailed_its_link_and_paid_at_the_till_instead(people: People, sku: str) -> None:
    client = people.client
    client.stock_up(sku, 5)
    customer = {"email": f"{sku.lower()}@example.com", "name": "Ada Byron"}
    placed = by_phone(people, sku, 1, customer=customer, payment={"method": "card_link"})
    assert placed["status"] == "placed"
    people.until("the link is mailed", lambda: customer["email"] in client.mails(placed).values())
    path, key = f"/staff/orders/{placed['order_id']}/payments", client.new_key()
    body = {"method": "cash", "amount": placed["total"], "reference": "till 3"}
    for _ in range(2):
        taken = client.api("POST", path, body, staff="pos", key=key).expect(200)
        assert (taken["status"], taken["payment"]["captured"]) == ("confirmed", placed["total"])
    assert client.api("POST", path, {**body, "method": "bank_transfer"}, staff="pos", key=key).status == 403
    people.pick_and_pack(placed)
    people.until("it is sent", lambda: client.order(placed)["status"] == "completed")


def test_a_coupon_is_used_up_to_its_limit_and_an_order_that_ends_gives_it_back(people: People, sku: str) -> None:
    client = people.client
    client.stock_up(sku, 10)
    code = f"TEN{sku[5:]}"
    people.ask("ops", "POST", "/coupons", {"code": code, "kind": "percent", "percent": 10, "limit": 1, "skus": [sku]})

    def used() -> int:
        return int(people.ask("agent", "GET", f"/coupons/{code}")["used"])

    first = client.place(checkout((sku, 2), coupon=code.lower())).expect(201)
    assert (first["totals"]["discount"], first["total"], used()) == (400, 2 * 1999 - 400 + 599, 1)
    refused = client.place(checkout((sku, 1), coupon=code))
    assert (refused.status, refused.body["code"]) == (409, "coupon_used_up")
    client.cancel(first).expect(200)
    assert used() == 0
    second = people.paid((sku, 1), coupon=code)
    assert client.order(second)["coupons"] == [{"code": code, "discount": 200, "shipping": 0}]
    assert client.order(second)["payment"]["captured"] == 1999 - 200 + 599
    people.ask("ops", "PATCH", f"/coupons/{code}", {"limit": 2})
    told = by_phone(people, sku, 1, coupons=[code])
    assert (told["totals"]["discount"], used()) == (200, 2)
    people.ask("ops", "PATCH", f"/coupons/{code}", {"limit": 3, "active": False})
    late = client.place(checkout((sku, 1), coupon=code))
    assert (late.status, late.body["code"], used()) == (409, "coupon_inactive", 2)
    assert client.stock(sku)["available"] == 8


def test_a_tracked_product_comes_in_by_lot_and_the_lot_that_expires_first_goes_first(people: People, sku: str) -> None:
    client = people.client
    place = a_place(people, f"f{sku[5:].lower()}")
    client.put_product(sku, track=["lot", "expiry"]).expect(200)
    body = {"type": "receive", "sku": sku, "quantity": 5, "facility": place, "bin": "01-01", "reason": "delivery"}
    assert client.api("POST", "/stock/movements", body, staff="ops", key=client.new_key()).status == 422
    late = {"lot": "L-2", "expires": "2031-06-30", "quantity": 3}
    early = {"lot": "L-1", "expires": "2030-12-31", "quantity": 2}
    people.ask("ops", "POST", "/stock/movements", {**body, "lots": [late, early]})
    placed = people.paid((sku, 3))
    pick = people.task(placed, "pick", place)
    assert [(each["lot"], each["quantity"]) for each in pick["units"][0]["lots"]] == [("L-1", 2), ("L-2", 1)]
    wrong = client.task(pick["task_id"], "scans", {"sku": sku, "lot": "L-2", "quantity": 2})
    assert (wrong.status, wrong.body["code"]) == (409, "too_many")
    for kind in ("pick", "pack"):
        task = people.task(placed, kind, place)
        for lot in task["units"][0]["lots"]:
            scan = {"sku": sku, "quantity": lot["quantity"], "lot": lot["lot"], "expires": lot["expires"]}
            client.task(task["task_id"], "scans", scan).expect(200)
        client.task(task["task_id"], "complete").expect(200)
    people.until("it is sent", lambda: client.order(placed)["status"] == "completed")
    gone, left = (people.ask("ops", "GET", f"/stock/{sku}/lots/{lot}") for lot in ("L-1", "L-2"))
    assert (gone["stock"], [each["units"] for each in left["stock"]]) == ([], [2])
    for lot, units in ((gone, 2), (left, 1)):
        assert [(each["order_id"], each["units"], each["status"]) for each in lot["shipments"]] == [
            (placed["order_id"], units, "shipped")
        ]


@pytest.mark.slow
def test_who_has_spent_enough_gets_a_gift_and_a_coupon_with_the_next_order_which_has_the_new_priority(
    people: People, promised: Promised, sku: str
) -> None:
    client = people.client
    client.stock_up(sku, 20, currency="CAD")
    ada = {"email": f"{sku.lower()}@example.com", "name": "Ada Byron"}
    # The promise of two to a house is not this test's: each run has a house of its own.
    address = {**checkout()["shipping_address"], "line1": f"{int(sku[5:], 16)} Analytical Row"}
    usual = {"customer": ada, "currency": "CAD", "shipping_address": address}
    promised.wait()
    first = people.paid((sku, 3), **usual)
    customer = customer_of(people, first)
    codes = client.order_as_staff(first["order_id"])["priority"]["codes"]
    assert "L" not in codes

    def earned() -> bool:
        return states(people, customer) == {"gift": "waiting", "thanks": "coupon"}

    people.until("both are earned", earned)
    rewards = people.ask("agent", "GET", f"/customers/{customer}/rewards")["rewards"]
    assert {each["earned_by"] for each in rewards} == {first["order_id"]}
    (code,) = [each["coupon"] for each in rewards if each["coupon"]]
    stranger = checkout((sku, 1), currency="CAD", coupon=code, customer={"email": "bo@example.com", "name": "Bo"})
    assert client.place(stranger).body["code"] == "coupon_unknown"
    second = people.paid((sku, 4), coupon=code, **usual)
    order = client.order_as_staff(second["order_id"])
    assert [(line["sku"], line["quantity"], line["unit_price"]) for line in order["lines"]] == [
        (sku, 4, 1999),
        (promised.gift, 1, 0),
    ]
    assert order["payment"]["captured"] == 4 * 1999 - 700 + 799
    assert client.stock(promised.gift)["available"] == 4
    assert states(people, customer)["gift"] == "used"
    assert "L" in order["priority"]["codes"]
    tried = people.ask("ops", "POST", "/priority/rehearsals", {**promised.before, "last": 50})
    (ours,) = [each for each in tried["orders"] if each["order_id"] == second["order_id"]]
    assert (ours["changed"], "L" in ours["before"]["codes"], "L" in ours["after"]["codes"]) == (True, True, False)

    client.cancel(second).expect(200)
    assert (states(people, customer)["gift"], client.stock(promised.gift)["available"]) == ("waiting", 5)
    third = by_phone(people, sku, 1, coupons=[code], **usual)
    assert third["totals"]["discount"] == 700
    assert [line["sku"] for line in client.order(third)["lines"]] == [sku, promised.gift]


def states(people: People, customer: str) -> dict[str, str]:
    """What has become of a person's rewards, by milestone."""
    rewards = people.ask("agent", "GET", f"/customers/{customer}/rewards")["rewards"]
    return {each["milestone"]: each["state"] for each in rewards}


def test_the_rebuild_of_customers_finds_nothing_that_the_stream_did_not_keep(people: People) -> None:
    client = people.client
    queue = client.resource("CustomersQueue")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def idle() -> bool:
        told = client.aws("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return all(told[name] == "0" for name in names)

    people.until("everything has been heard", idle)
    told = command(client, "local.customers")
    orders, customers = (int(count) for count in re.findall(r"(\d+) (?:orders|customers) looked at", told))
    assert orders >= customers > 0, told
    assert re.search(r"\b0 were not counted as they are", told), told
    assert re.search(r"\b0 differed", told), told
