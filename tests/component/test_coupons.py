"""Coupons: redeemed in the transaction that makes the order exist, counted against their limits, and given back in the
one that ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oms.orders.coupons import Coupon
from oms.orders.editing import Edit
from oms.orders.forms import PlaceOrderForm
from oms.orders.placing import customer_id_for
from oms.runtime import errors
from oms.runtime.http import checked
from tests.support.floor import Floor
from tests.support.shop import Answer, Shop, checkout

PRICE, SHIPPING = 1999, 599


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    shop.stock_up("SHIRT", 100)
    shop.stock_up("MUG", 100, price=700)
    return shop


def offer(shop: Shop, code: str = "TEN", kind: str = "percent", **terms: Any) -> Coupon:
    if kind == "percent":
        terms.setdefault("percent", 10)
    return shop.app.coupons.add(Coupon(code, kind, **terms), actor="staff:kim", now=shop.now)


def buy(shop: Shop, code: str, key: str, *lines: tuple[str, int], email: str = "", **changes: Any) -> Answer:
    customer = {"email": email or f"{key}@example.com", "name": "Ada Byron"}
    if "phone" in changes:
        customer["phone"] = changes.pop("phone")
    number = sum(map(ord, key))
    address = {**checkout()["shipping_address"], "line1": changes.pop("line1", f"{number} {key} Row")}
    return shop.place(checkout(*lines, coupon=code, customer=customer, shipping_address=address, **changes), key=key)


def used(shop: Shop, code: str = "TEN") -> int:
    return shop.app.coupons.used(shop.app.coupons.require(code))


def test_a_coupon_is_a_discount_of_its_lines_and_the_customer_pays_the_rest(stocked: Shop) -> None:
    offer(stocked, skus=("SHIRT",))
    placed = buy(stocked, "ten", "order-0001", ("SHIRT", 1), ("MUG", 1))
    assert placed.status == 201, placed
    assert placed.body["totals"] == {
        "items": PRICE + 700,
        "shipping": SHIPPING,
        "tax": 0,
        "discount": 200,
        "total": PRICE + 700 + SHIPPING - 200,
    }
    stocked.pay(placed)
    stocked.deliver_all()
    seen = stocked.read(placed)
    assert seen["coupons"] == [{"code": "TEN", "discount": 200, "shipping": 0}]
    assert [line["discount"] for line in seen["lines"]] == [200, 0]
    assert (seen["status"], seen["payment"]["captured"]) == ("confirmed", placed.body["total"])


def test_free_shipping_takes_the_charge_and_its_tax_off(stocked: Shop) -> None:
    offer(stocked, "SHIPFREE", "shipping")
    totals = buy(stocked, "SHIPFREE", "order-0001").body["totals"]
    assert (totals["shipping"], totals["discount"], totals["total"]) == (0, 0, 2 * PRICE)


def test_a_repeat_is_answered_as_the_first_time_though_the_coupon_is_used_up_and_over(stocked: Shop) -> None:
    offer(stocked, limit=1, ends_at="2026-11-23T09:10:00.000Z")
    first = buy(stocked, "TEN", "order-0001")
    stocked.later(minutes=20)
    assert buy(stocked, "TEN", "order-0001").body == first.body
    assert used(stocked) == 1
    assert buy(stocked, "TEN", "order-0002").body["code"] == "coupon_expired"


def test_a_code_that_is_somebody_else_s_reads_like_one_that_nobody_made(stocked: Shop) -> None:
    offer(stocked, "MINE", person=customer_id_for("ada@example.com"))
    answers = [buy(stocked, code, "order-0001") for code in ("MINE", "NONE")]
    assert [(answer.status, answer.body["code"]) for answer in answers] == [(409, "coupon_unknown")] * 2
    assert answers[0].body["detail"].replace("MINE", "NONE") == answers[1].body["detail"]
    assert buy(stocked, "MINE", "order-0002", email="ada@example.com").status == 201


@pytest.mark.parametrize(
    "same",
    [
        {"email": "ada@gmail.com"},
        {"email": "a.d.a+two@gmail.com"},
        {"phone": "+1 503 555 0100"},
        {"line1": "12 analytical row."},
    ],
)
def test_a_customer_s_limit_finds_the_same_person_behind_another_name(stocked: Shop, same: dict[str, str]) -> None:
    offer(stocked, per_customer=1)
    first = {"email": "ada@gmail.com", "phone": "503-555-0100", "line1": "12 Analytical Row"}
    assert buy(stocked, "TEN", "order-0001", **first).status == 201
    assert buy(stocked, "TEN", "order-0002").status == 201
    again = buy(stocked, "TEN", "order-0003", **same)
    assert (again.status, again.body["code"]) == (409, "coupon_already_used")
    assert used(stocked) == 2


def test_a_merchant_may_allow_more_orders_to_one_address_than_to_one_person(stocked: Shop) -> None:
    offer(stocked, per_customer=1, per_address=2)
    answers = [buy(stocked, "TEN", f"order-000{n}", line1="1 Office Park") for n in range(3)]
    assert [answer.status for answer in answers] == [201, 201, 409]


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_an_order_that_ends_gives_its_coupon_back_once(stocked: Shop, end: str) -> None:
    offer(stocked, limit=1, per_customer=1)
    placed = buy(stocked, "TEN", "order-0001", email="ada@example.com")
    assert buy(stocked, "TEN", "order-0002").body["code"] == "coupon_used_up"
    if end == "cancelled":
        assert [stocked.cancel(placed).status for _ in range(2)] == [200, 200]
    else:
        stocked.later(minutes=31)
        stocked.sweep()
        stocked.sweep()
    assert stocked.read(placed)["status"] == end
    assert used(stocked) == 0
    assert buy(stocked, "TEN", "order-0003", email="ada@example.com").status == 201
    assert used(stocked) == 1


def test_cancelling_a_line_keeps_the_coupon_and_gives_back_what_was_paid_for_it(stocked: Shop) -> None:
    offer(stocked, limit=1)
    placed = buy(stocked, "TEN", "order-0001", ("SHIRT", 1), ("MUG", 1))
    stocked.pay(placed)
    stocked.deliver_all()
    stocked.cancel(placed, {"lines": [{"line": 1, "quantity": 1}]}, key="cancel-0001")
    order = stocked.app.orders.require(placed.body["order_id"])
    assert (order.payment.refund_due, used(stocked)) == (PRICE - 199, 1)


@pytest.mark.parametrize("taken", [False, True])
def test_late_money_revives_an_order_only_while_its_coupon_can_still_be_had(stocked: Shop, taken: bool) -> None:
    offer(stocked, limit=1)
    placed = buy(stocked, "TEN", "order-0001")
    stocked.pay(placed)
    stocked.later(minutes=31)
    stocked.sweep()
    if taken:
        assert buy(stocked, "TEN", "order-0002").status == 201
    stocked.news()
    seen = stocked.read(placed)
    assert seen["status"] == ("expired" if taken else "confirmed")
    assert seen["payment"]["refund_due"] == (placed.body["total"] if taken else 0)
    assert used(stocked) == 1


def test_an_order_that_costs_nothing_is_confirmed_without_a_payment(stocked: Shop) -> None:
    floor = Floor(stocked)
    offer(stocked, "ALL", percent=100, exclusive=False)
    offer(stocked, "SHIPFREE", "shipping", exclusive=False)
    body = checkout(coupons=["ALL", "SHIPFREE"])
    placed = stocked.place(body)
    assert (placed.status, placed.body["status"], placed.body["total"]) == (201, "confirmed", 0)
    assert placed.body["payment"]["client_secret"] is None
    assert stocked.place(body).body == placed.body
    floor.settle()
    assert len(floor.work()["tasks"]) == 1
    assert stocked.cancel(placed).body["status"] == "cancelled"
    assert (used(stocked, "ALL"), used(stocked, "SHIPFREE"), stocked.available()) == (0, 0, 100)


def test_several_coupons_are_taken_when_each_allows_others(stocked: Shop) -> None:
    offer(stocked, "TEN", exclusive=False)
    offer(stocked, "FIVE", "amount", amounts={"USD": 500}, exclusive=False)
    offer(stocked, "SHIPFREE", "shipping", exclusive=False)
    offer(stocked, "ALONE")
    body = checkout(coupons=["shipfree", "five", "ten"])
    totals = stocked.place(body).body["totals"]
    assert (totals["shipping"], totals["discount"]) == (0, 400 + 500)
    refused = stocked.place(checkout(coupons=["TEN", "ALONE"]), key="order-0002")
    assert (refused.status, refused.body["code"]) == (409, "coupon_not_combinable")
    for wrong in (["TEN", "ten"], [], ["A"] * 4, ["bad code"]):
        assert stocked.place(checkout(coupons=wrong), key="order-0003").status == 422
    assert stocked.place(checkout(coupon="TEN", coupons=["FIVE"]), key="order-0003").status == 422


def test_a_very_large_order_redeems_with_its_commit_or_takes_nothing(stocked: Shop) -> None:
    skus = [f"SKU-{n:02d}" for n in range(60)]
    stocked.stock_many(skus, 5)
    offer(stocked, limit=1)
    lines = [(sku, 1) for sku in skus]
    first = buy(stocked, "TEN", "order-0001", *lines)
    assert (first.status, first.body["totals"]["discount"], used(stocked)) == (201, 600, 1)
    late = buy(stocked, "TEN", "order-0002", *lines)
    assert (late.status, late.body["code"]) == (409, "coupon_used_up")
    assert {stocked.available(sku) for sku in skus} == {4}
    assert stocked.cancel(first).status == 200
    assert (used(stocked), {stocked.available(sku) for sku in skus}) == (0, {5})
    assert buy(stocked, "TEN", "order-0003", *lines).status == 201


def test_new_terms_hold_from_the_moment_they_are_written(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(stocked)
    book, table = stocked.app.coupons, stocked.app.orders.table
    before_writing(
        monkeypatch,
        table.client,
        lambda: book.change("TEN", {"active": False}, seen=None, actor="staff:kim", now=stocked.now),
    )
    refused = buy(stocked, "TEN", "order-0001")
    assert (refused.status, refused.body["code"]) == (409, "coupon_inactive")
    assert (used(stocked), stocked.available()) == (0, 100)


def test_terms_are_changed_and_what_does_not_fit_is_refused(stocked: Shop) -> None:
    offer(stocked, limit=3)
    book = stocked.app.coupons
    changed = book.change("TEN", {"percent": 20, "limit": 1}, seen=1, actor="staff:kim", now=stocked.now)
    assert (changed.percent, changed.limit, changed.version) == (20, 1, 2)
    with pytest.raises(errors.PreconditionFailed):
        book.change("TEN", {"percent": 30}, seen=1, actor="staff:kim", now=stocked.now)
    for wrong in ({"limit": None}, {"amounts": {"USD": 5}}, {"percent": 0}):
        with pytest.raises(errors.InvalidRequest):
            book.change("TEN", wrong, seen=None, actor="staff:kim", now=stocked.now)
    with pytest.raises(errors.Conflict):
        offer(stocked, percent=50)
    assert [coupon["code"] for coupon in book.page("")["coupons"]] == ["TEN"]


def test_of_twenty_customers_who_race_for_five_uses_exactly_five_get_one(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All have read the coupon before any of them writes."""
    offer(stocked, limit=5, per_customer=1)
    placing, client = stocked.app.placing, stocked.app.orders.table.client
    everybody, one_at_a_time = threading.Barrier(20), threading.RLock()
    waited = threading.local()
    for name in ("transact_write_items", "get_item", "batch_get_item", "query"):
        monkeypatch.setattr(client, name, _taking_turns(name, getattr(client, name), everybody, one_at_a_time, waited))

    def place(number: int) -> str:
        body = checkout(
            ("SHIRT", 1),
            coupon="TEN",
            customer={"email": f"buyer-{number}@example.com", "name": "Buyer"},
            shipping_address={**checkout()["shipping_address"], "line1": f"{number} Row"},
        )
        form = checked(PlaceOrderForm, body)
        try:
            placing._create(form, f"order-{number}", b"")
        except errors.Conflict as refused:
            return str(refused.extra["code"])
        return "placed"

    with ThreadPoolExecutor(20) as people:
        outcomes = list(people.map(place, range(20)))
    assert sorted(outcomes) == ["coupon_used_up"] * 15 + ["placed"] * 5
    assert (used(stocked), stocked.available()) == (5, 95)


def _taking_turns(
    name: str,
    call: Callable[..., Any],
    everybody: threading.Barrier,
    one_at_a_time: threading.RLock,
    waited: threading.local,
) -> Callable[..., Any]:
    def turn(**request: Any) -> Any:
        if name == "transact_write_items" and not hasattr(waited, "once"):
            waited.once = True
            everybody.wait(60)
        with one_at_a_time:
            return call(**request)

    return turn


def before_writing(monkeypatch: pytest.MonkeyPatch, client: Any, somebody_else: Callable[[], object]) -> None:
    """Somebody else comes between reading and the first transaction."""
    call = client.transact_write_items

    def late(**request: Any) -> Any:
        monkeypatch.setattr(client, "transact_write_items", call)
        somebody_else()
        return call(**request)

    monkeypatch.setattr(client, "transact_write_items", late)


def ask(shop: Shop, route: str, body: Any = None, *, group: str = "ops", **told: Any) -> Answer:
    staff = {"cognito:groups": f"[{group}]", "cognito:username": "kim"}
    return shop.call("customer_service.customers", route, body, staff=staff, **told)


def test_operators_make_and_change_coupons_and_agents_read_them(stocked: Shop) -> None:
    body = {"code": "spring", "kind": "percent", "percent": 10, "ends_at": "2026-12-24T18:00:00+01:00"}
    made = [ask(stocked, "POST /coupons", body) for _ in range(2)]
    assert [answer.status for answer in made] == [201, 201]
    assert (made[0].body, made[0].body["ends_at"]) == (made[1].body, "2026-12-24T17:00:00.000Z")
    assert ask(stocked, "POST /coupons", {**body, "percent": 11}).body["code"] == "coupon_exists"
    path = {"code": "Spring"}
    assert ask(stocked, "PATCH /coupons/{code}", {"active": False}, path=path).body["version"] == 2
    stale = ask(stocked, "PATCH /coupons/{code}", {"active": True}, path=path, headers={"if-match": '"1"'})
    assert stale.status == 412
    assert ask(stocked, "PATCH /coupons/{code}", {"active": True, "ends_at": None}, path=path).status == 200
    assert buy(stocked, "SPRING", "order-0001").status == 201
    seen = ask(stocked, "GET /coupons/{code}", group="agent", path=path).body
    assert (seen["used"], seen["ends_at"], seen["version"]) == (1, None, 3)
    assert ask(stocked, "GET /coupons", group="agent").body["coupons"][0]["code"] == "SPRING"
    assert ask(stocked, "GET /coupons/{code}", path={"code": "NONE"}).status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"percent": 0},
        {"percent": None},
        {"amounts": {"USD": 5}},
        {"kind": "amount"},
        {"kind": "shipping"},
        {"starts_at": "2026-12-24"},
        {"starts_at": "2026-12-25T00:00:00Z", "ends_at": "2026-12-24T00:00:00Z"},
        {"limit": 0},
        {"minimum": {"XXX": 5}},
        {"code": "no spaces"},
        {"price": 3},
    ],
)
def test_terms_that_do_not_fit_are_refused(shop: Shop, wrong: dict[str, Any]) -> None:
    body = {"code": "SPRING", "kind": "percent", "percent": 10, **wrong}
    assert ask(shop, "POST /coupons", body).status == 422


@pytest.mark.parametrize("route", ["POST /coupons", "PATCH /coupons/{code}"])
def test_agents_do_not_make_coupons(shop: Shop, route: str) -> None:
    assert ask(shop, route, {}, group="agent", path={"code": "X"}).status == 403


def test_an_edit_keeps_the_discount_and_what_is_taken_out_gives_back_what_was_paid_for_it(stocked: Shop) -> None:
    floor = Floor(stocked)
    offer(stocked, limit=1)
    placed = buy(stocked, "TEN", "order-0001", ("SHIRT", 2), ("MUG", 1))
    stocked.pay(placed)
    stocked.deliver_all()
    floor.settle()
    order_id = placed.body["order_id"]
    whole = stocked.app.orders.require(order_id)
    edit = Edit({1: 1}, {"MUG": 1}, None)
    shown = stocked.app.editing.preview(order_id, edit)
    assert (shown["due"], shown["refund"]) == (0, PRICE + -whole.lines[0].discount // 2 - 700)
    stocked.app.editing.confirm(order_id, edit, shown["preview"], actor="staff:kim", key="edit-0001")
    edited = stocked.app.orders.require(order_id)
    assert [line.discount for line in edited.lines] == [line.discount for line in whole.lines] + [0]
    assert (edited.totals.discount, edited.coupons, used(stocked)) == (whole.totals.discount, whole.coupons, 1)
