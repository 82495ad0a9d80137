"""Segments: saved, counted and listed on the real handlers."""

from __future__ import annotations

from typing import Any

import pytest

from oms.customers.figures import Figures
from oms.customers.people import Identity, Person
from oms.customers.segment_book import PAGE, KeepSegments
from oms.orders.placing import customer_id_for
from oms.runtime.clock import to_text
from tests.component.test_customers import buy, kept
from tests.support.shop import STAFF_CLAIMS, Answer, Shop

BIG = {"field": "units", "at_least": 3}


def call(shop: Shop, route: str, body: Any = None, name: str = "", **headers: str) -> Answer:
    path = {"name": name}
    entry = "customer_service.customers"
    return shop.call(entry, route, body, path=path, headers=headers, staff=STAFF_CLAIMS)


def preview(shop: Shop, condition: Any, show: int = 10) -> Any:
    answer = call(shop, "POST /segments/preview", {"conditions": condition, "show": show})
    assert answer.status == 200, answer
    return answer.body


def a_person(shop: Shop, name: str, *, marketing: bool = False, **figures: Any) -> str:
    """Somebody who is known already, with an e-mail; their id."""
    email = f"{name}@example.com"
    person_id = customer_id_for(email)
    at = to_text(shop.now)
    contact = {"email": {"value": email, "at": at}, "name": {"value": name.title(), "at": at}}
    known = {"orders": 1, "units": 1, "first_order_at": at, "last_order_at": at, "contact": contact, **figures}
    made = Person(person_id).with_identity(person_id, Identity(Figures(**known), marketing))
    shop.app.orders.table.transact(shop.app.people.writes(shop.now, (Person(person_id), made)))
    return person_id


def listed_behind(shop: Shop, cursor: str = "") -> Answer:
    """A page of the segment ``big``."""
    query = {"segment": "big", "cursor": cursor}
    return shop.call("customer_service.customers", "GET /customers", query=query, staff=STAFF_CLAIMS)


def ids(customers: Any) -> set[str]:
    return {each["customer_id"] for each in customers}


def test_a_segment_is_whom_its_conditions_choose_among_those_who_bought(shop: Shop) -> None:
    shop.stock_up("SHIRT", 100)
    ada = buy(shop, ("SHIRT", 3))
    bob = buy(shop, ("SHIRT", 1), key="checkout-0002", customer={"email": "bob@example.com", "name": "Bob"})
    kept(shop, ada, bob)
    found = preview(shop, {"all": [BIG, {"field": "sku", "any_of": ["SHIRT"]}, {"field": "country", "any_of": ["US"]}]})
    assert found["count"] == {"people": 1, "looked_at": 2, "complete": True}
    assert [each["email"] for each in found["customers"]] == ["ada@example.com"]
    assert preview(shop, {"field": "method", "any_of": ["stripe"]})["count"]["people"] == 2


def test_a_segment_is_saved_changed_read_listed_and_forgotten(shop: Shop) -> None:
    saved = call(shop, "PUT /segments/{name}", {"conditions": BIG}, "big")
    assert (saved.status, saved.body["version"], saved.headers["etag"]) == (200, 1, '"1"')
    assert call(shop, "GET /segments/{name}", name="big").body["conditions"] == BIG
    stale = call(shop, "PUT /segments/{name}", {"conditions": {"not": BIG}}, "big", **{"if-match": '"7"'})
    assert stale.status == 412
    changed = call(shop, "PUT /segments/{name}", {"conditions": {"not": BIG}}, "big", **{"if-match": '"1"'})
    assert changed.body["version"] == 2
    assert [each["name"] for each in call(shop, "GET /segments").body["segments"]] == ["big"]
    assert call(shop, "DELETE /segments/{name}", name="big").status == 200
    assert call(shop, "GET /segments/{name}", name="big").status == 404
    assert call(shop, "DELETE /segments/{name}", name="big").status == 404


def test_who_saves_over_somebody_else_s_segment_in_the_same_moment_has_the_last_word(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, seen = KeepSegments.find, [None]
    call(shop, "PUT /segments/{name}", {"conditions": BIG}, "raced")
    monkeypatch.setattr(KeepSegments, "find", lambda self, name: seen.pop() if seen else find(self, name))
    again = call(shop, "PUT /segments/{name}", {"conditions": {"not": BIG}}, "raced")
    assert again.body["version"] == 2


def test_people_are_listed_page_by_page_each_once(shop: Shop) -> None:
    wanted = {a_person(shop, f"buyer{number}", units=3 + number) for number in range(PAGE + 5)}
    for number in range(5):
        a_person(shop, f"other{number}")
    call(shop, "PUT /segments/{name}", {"conditions": BIG}, "big")
    listed: list[str] = []
    answer = listed_behind(shop).body
    assert answer["count"] == {"people": PAGE + 5, "looked_at": PAGE + 10, "complete": True}
    while True:
        listed += [each["customer_id"] for each in answer["customers"]]
        if not answer["next_cursor"]:
            break
        answer = listed_behind(shop, answer["next_cursor"]).body
        assert "count" not in answer
    assert sorted(listed) == sorted(wanted)


def test_a_request_reads_so_many_people_and_says_that_its_count_is_a_part(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {a_person(shop, f"buyer{number}", units=3) for number in range(5)}
    monkeypatch.setattr("oms.customers.segment_book.READ_AT_ONCE", 2)
    call(shop, "PUT /segments/{name}", {"conditions": BIG}, "big")
    assert preview(shop, BIG, show=1)["count"] == {"people": 2, "looked_at": 2, "complete": False}
    listed: set[str] = set()
    cursor: Any = ""
    for _ in range(3):
        answer = listed_behind(shop, cursor).body
        listed |= ids(answer["customers"])
        cursor = answer["next_cursor"]
    assert (listed, cursor) == (wanted, None)


@pytest.mark.parametrize("cursor", ["x", "PyM=", "OTk="])
def test_a_cursor_of_somebody_s_own_is_refused(shop: Shop, cursor: str) -> None:
    call(shop, "PUT /segments/{name}", {"conditions": BIG}, "big")
    assert listed_behind(shop, cursor).status == 422


def test_only_ops_save_segments(shop: Shop) -> None:
    agent = {**STAFF_CLAIMS, "cognito:groups": "[agent]"}
    path = {"name": "big"}
    for route in ("PUT /segments/{name}", "DELETE /segments/{name}"):
        answer = shop.call("customer_service.customers", route, {"conditions": BIG}, path=path, staff=agent)
        assert answer.status == 403
    assert call(shop, "PUT /segments/{name}", {"conditions": BIG}, "Not a name").status == 422
