"""Drafts: saved by one, resumed by another, priced as things stand, placed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from oms.inventory.supplies import Supply, put_supply
from oms.orders.model import Status
from tests.component.test_coupons import offer, used
from tests.support.shop import Answer, Shop, checkout
from tests.support.till import AGENT, CASH, OPS, TILL, by_phone, history, order_of, over_the_counter, with_a_store

ROUTE = "/staff/drafts/{id}"
INVOICE = {"method": "invoice"}
LEE = {"cognito:groups": "[agent]", "cognito:username": "lee"}


@pytest.fixture
def store(shop: Shop) -> Shop:
    """A warehouse with ten shirts and mugs, and a store with five shirts."""
    return with_a_store(shop)


def draft(**changes: Any) -> dict[str, Any]:
    """An order by phone as far as it has come."""
    body = {name: value for name, value in by_phone().items() if name != "payment"}
    return {**body, **changes}


def open_draft(
    shop: Shop, body: Mapping[str, Any], key: str = "draft-0001", staff: Mapping[str, str] = AGENT
) -> Answer:
    headers = {"idempotency-key": key}
    return shop.call("place_order.staff", "POST /staff/drafts", dict(body), headers=headers, staff=staff)


def ask(
    shop: Shop,
    method: str,
    saved: Answer,
    body: Any = None,
    *,
    version: int | None = None,
    staff: Mapping[str, str] = AGENT,
) -> Answer:
    headers = {"if-match": f'"{version}"'} if version is not None else {}
    path = {"id": saved.body["draft_id"]}
    return shop.call("place_order.staff", f"{method} {ROUTE}", body, path=path, headers=headers, staff=staff)


def place(
    shop: Shop,
    saved: Answer,
    payment: Mapping[str, Any] = INVOICE,
    key: str = "place-0001",
    staff: Mapping[str, str] = AGENT,
    version: int | None = None,
) -> Answer:
    headers = {"idempotency-key": key, **({"if-match": f'"{version}"'} if version is not None else {})}
    path, body = {"id": saved.body["draft_id"]}, {"payment": dict(payment)}
    return shop.call("place_order.staff", f"POST {ROUTE}/place", body, path=path, headers=headers, staff=staff)


def test_a_draft_shows_price_and_stock_as_they_stand_and_takes_nothing(store: Shop) -> None:
    saved = open_draft(store, draft())
    assert (saved.status, saved.body["now"]["totals"]["total"]) == (201, 4597), saved
    assert [line["available"] for line in saved.body["now"]["lines"]] == [15]
    store.stock_up("SHIRT", 0, price=2500)
    assert store.place(checkout(("SHIRT", 14))).status == 201
    seen = ask(store, "GET", saved).body["now"]
    assert (seen["totals"]["total"], seen["lines"][0]["available"], seen["lines"][0]["lacking"]) == (5599, 1, 1)
    assert store.available() == 1


def test_what_lacks_is_shown_with_the_day_it_should_come(store: Shop) -> None:
    store.stock_up("SHIRT", 0, backorder=True)
    coming = Supply("truck-1", "en_route", 30, expected_at="2026-12-01T00:00:00.000Z")
    store.app.inventory.table.transact([put_supply(store.app.inventory, "SHIRT", coming, store.now)])
    (line,) = open_draft(store, draft(lines=[{"sku": "SHIRT", "quantity": 20}])).body["now"]["lines"]
    assert (line["lacking"], line["backorder"], line["expected_at"]) == (5, True, "2026-12-01T00:00:00.000Z")


def test_what_stands_in_the_way_is_told_and_the_draft_is_saved_all_the_same(store: Shop) -> None:
    lines = [{"sku": "SHIRT", "quantity": 1}, {"sku": "NOBODY-KNOWS", "quantity": 1}]
    saved = open_draft(store, {"channel": "phone", "currency": "USD", "lines": lines})
    assert (saved.status, saved.body["now"]["totals"]) == (201, None)
    assert saved.body["now"]["problems"] == [{"field": "lines[1].sku", "message": "there is no product NOBODY-KNOWS"}]
    off = draft(discount={"percent": 40, "reason": "goodwill"})
    assert open_draft(store, off, "draft-0002").body["now"]["problems"][0]["message"] == "is beyond your limit"
    assert open_draft(store, {"channel": "phone", "currency": "USD"}, "draft-0003").status == 201


def test_any_agent_resumes_a_draft_and_two_do_not_overwrite_each_other(store: Shop) -> None:
    saved = open_draft(store, draft())
    assert saved.headers["etag"] == '"1"'
    mine = ask(store, "PUT", saved, draft(lines=[{"sku": "MUG", "quantity": 3}]), version=1, staff=LEE)
    assert (mine.status, mine.body["version"], mine.body["saved_by"]) == (200, 2, "staff:lee")
    late = ask(store, "PUT", saved, draft(), version=1)
    assert (late.status, late.body["code"], late.body["version"]) == (412, "precondition_failed", 2)
    assert ask(store, "PUT", saved, draft()).status == 422, "without a version nobody knows what is overwritten"
    assert ask(store, "DELETE", saved, version=1).status == 412
    assert ask(store, "DELETE", saved, version=2).status == 200
    assert ask(store, "GET", saved).status == 404
    assert ask(store, "DELETE", saved).status == 200


def test_a_draft_saved_twice_under_one_key_is_one_draft(store: Shop) -> None:
    first = open_draft(store, draft())
    assert open_draft(store, draft()).body == first.body
    assert open_draft(store, draft(note="blue ones")).status == 422
    assert open_draft(store, draft(), staff=LEE).body["draft_id"] != first.body["draft_id"], "a key is its caller's own"


def test_an_agent_lists_open_drafts_the_latest_first(store: Shop) -> None:
    for number in range(27):
        open_draft(store, draft(), f"draft-{number:04d}")
        store.later(seconds=1)
    open_draft(store, draft(), "draft-9999", staff=LEE)

    def listed(**query: str) -> Any:
        return store.call("place_order.staff", "GET /staff/drafts", query=query, staff=AGENT).body

    page = listed()
    rest = listed(cursor=page["next_cursor"])
    assert (len(page["drafts"]), len(rest["drafts"]), rest["next_cursor"]) == (25, 2, None)
    saved_at = [each["saved_at"] for each in (*page["drafts"], *rest["drafts"])]
    assert saved_at == sorted(saved_at, reverse=True)
    assert len(listed(owner="lee")["drafts"]) == 1
    store.later(days=7)
    assert listed()["drafts"] == []


def test_a_draft_that_nobody_took_up_for_a_week_is_gone(store: Shop) -> None:
    saved = open_draft(store, draft())
    store.later(days=7)
    assert ask(store, "GET", saved).status == 404
    assert ask(store, "PUT", saved, draft(), version=1).status == 404
    assert place(store, saved).status == 404


def test_placing_a_draft_ends_it_and_a_repeat_is_answered_like_the_first(store: Shop) -> None:
    saved = open_draft(store, draft())
    placed = place(store, saved)
    assert (placed.status, placed.body["status"]) == (201, "confirmed"), placed
    assert ask(store, "GET", saved).status == 404
    store.later(days=8)
    assert place(store, saved).body == placed.body
    other = place(store, saved, key="place-0002", staff=LEE)
    assert (other.status, other.body["code"], other.body["order_id"]) == (
        409,
        "draft_placed",
        placed.body["order_id"],
    )
    assert store.available() == 13


def test_a_till_places_its_draft_over_the_counter(store: Shop) -> None:
    body = {name: value for name, value in over_the_counter().items() if name != "payment"}
    saved = open_draft(store, body, staff=TILL)
    assert place(store, saved, CASH).status == 403, "an agent does not sell at a till"
    placed = place(store, saved, CASH, staff=TILL)
    assert (placed.body["status"], history(store, placed)[-1]) == ("completed", "ShipmentCollected")


def test_a_draft_that_is_not_complete_is_not_placed(store: Shop) -> None:
    saved = open_draft(store, draft(lines=[], customer={"name": "Ada"}))
    refused = place(store, saved)
    assert refused.status == 422
    assert ask(store, "GET", saved).status == 200


def test_a_draft_out_of_stock_stays_a_draft(store: Shop) -> None:
    saved = open_draft(store, draft(lines=[{"sku": "SHIRT", "quantity": 16}]))
    assert place(store, saved).body["code"] == "out_of_stock"
    assert ask(store, "GET", saved).body["version"] == 1


def test_two_agents_who_place_one_draft_at_once_make_one_order(store: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = open_draft(store, draft())
    table, others = type(store.app.orders.table), list[Answer]()
    transact = table.transact

    def interrupted(self: Any, writes: Any, **told: Any) -> None:
        """Between reading and writing, the other agent places it."""
        if not others:
            others.append(saved)
            others[0] = place(store, saved, key="place-0002", staff=LEE)
        transact(self, writes, **told)

    monkeypatch.setattr(table, "transact", interrupted)
    mine = place(store, saved)
    assert others[0].status == 201
    assert (mine.status, mine.body["code"]) == (409, "draft_placed"), mine
    assert (store.available(), order_of(store, others[0]).status) == (13, Status.CONFIRMED)
    assert store.identity_holds("SHIRT")


def test_a_draft_that_was_saved_meanwhile_is_not_placed_as_it_was(store: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = open_draft(store, draft())
    assert place(store, saved, version=7).status == 412
    table, others = type(store.app.orders.table), list[Answer]()
    transact = table.transact

    def interrupted(self: Any, writes: Any, **told: Any) -> None:
        if not others:
            others.append(saved)
            others[0] = ask(store, "PUT", saved, draft(lines=[{"sku": "MUG", "quantity": 1}]), version=1, staff=LEE)
        transact(self, writes, **told)

    monkeypatch.setattr(table, "transact", interrupted)
    mine = place(store, saved)
    assert (others[0].status, mine.status) == (200, 412)
    assert store.available() == 15
    assert place(store, saved, staff=OPS).body["total"] == 500 + 599


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_placing_that_died_is_finished_by_the_repeat(store: Shop, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = open_draft(store, draft())
    table = type(store.app.orders.table)
    transact = table.transact

    def dies(self: Any, writes: Any, **told: Any) -> None:
        if lost == "after":
            transact(self, writes, **told)
        raise RuntimeError("the process is gone")

    monkeypatch.setattr(table, "transact", dies)
    assert place(store, saved).status == 500
    monkeypatch.undo()
    assert ask(store, "GET", saved).status == (200 if lost == "before" else 404), (
        "it ends with the order, or not at all"
    )
    assert place(store, saved).status == 201
    assert store.available() == 13


def test_a_draft_shows_what_its_coupons_would_take_off_and_redeems_when_it_is_placed(store: Shop) -> None:
    offer(store, limit=1, per_customer=1)
    saved = open_draft(store, draft(coupons=["ten"]))
    seen = saved.body["now"]
    assert (seen["coupons"], seen["problems"]) == ([{"code": "TEN", "discount": 400, "shipping": 0}], [])
    assert (seen["totals"]["total"], seen["lines"][0]["discount"], used(store)) == (4197, 400, 0)
    placed = place(store, saved)
    assert (placed.status, placed.body["total"], used(store)) == (201, 4197, 1), placed
    assert place(store, saved).body == placed.body
    assert used(store) == 1


def test_a_draft_tells_why_a_coupon_does_not_hold_and_is_not_placed_with_it(store: Shop) -> None:
    offer(store, limit=1)
    saved = open_draft(store, draft(coupons=["TEN"]))
    assert store.place(checkout(("MUG", 1), coupon="TEN")).status == 201
    seen = ask(store, "GET", saved).body["now"]
    assert (seen["coupons"], seen["totals"]["total"]) == ([], 4597)
    assert seen["problems"] == [{"field": "coupons", "message": "TEN has been used up."}]
    refused = place(store, saved)
    assert (refused.status, refused.body["code"]) == (409, "coupon_used_up")
    without = ask(store, "PUT", saved, draft(), version=1)
    assert place(store, without, key="place-0002").status == 201


def test_a_draft_without_address_and_customer_shows_what_is_known_of_its_coupons(store: Shop) -> None:
    offer(store)
    body = {"channel": "phone", "currency": "USD", "lines": [{"sku": "MUG", "quantity": 1}], "coupons": ["TEN"]}
    assert open_draft(store, body).body["now"]["totals"]["discount"] == 50
    offer(store, "ONCE", per_customer=1)
    (problem,) = open_draft(store, {**body, "coupons": ["ONCE"]}, "draft-0002").body["now"]["problems"]
    assert "needs an email or a phone" in problem["message"]
