"""Rewards: milestones of what a person has spent are given once, as a gift with the next order or as a coupon."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest

from oms.customers.rewards import Milestone, Rules, Terms, put_rules
from oms.orders.editing import Edit
from oms.orders.model import Order
from oms.orders.placing import customer_id_for
from oms.runtime import errors
from tests.component.test_coupons import before_writing
from tests.support.floor import Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop, checkout

ADA = "ada@example.com"
GIFT = Milestone("hundred", "USD", 4000, ("MUG", "PEN"), Terms("percent", percent=10, days=30))
COUPON = Milestone("hundred", "USD", 4000, (), Terms("amount", amounts={"USD": 500}, days=30))


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    shop.stock_up("SHIRT", 100)
    shop.stock_up("MUG", 10, price=700)
    shop.stock_up("PEN", 10, price=300)
    return shop


def promise(shop: Shop, *milestones: Milestone) -> None:
    put_rules(shop.app.orders.table, Rules(milestones), actor="staff:kim", now=shop.now)
    shop.later(seconds=61)


def place(shop: Shop, key: str, *lines: tuple[str, int], email: str = ADA, line1: str = "", **changes: Any) -> Answer:
    address = {**checkout()["shipping_address"], **({"line1": line1} if line1 else {})}
    body = checkout(*lines, customer={"email": email, "name": "Ada Byron"}, shipping_address=address, **changes)
    placed = shop.place(body, key=key)
    assert placed.status == 201, placed
    return placed


def keep(shop: Shop, placed: Answer) -> None:
    import_module("functions.customer_service.keep").record(placed.body["order_id"])


def buy(shop: Shop, key: str, *lines: tuple[str, int], **changes: Any) -> Answer:
    """An order that was paid and counts."""
    placed = place(shop, key, *lines, **changes)
    shop.pay(placed)
    shop.deliver_all()
    keep(shop, placed)
    return placed


def refund(shop: Shop, placed: Answer) -> None:
    """The order is cancelled and its money has gone back."""
    assert shop.cancel(placed).status == 200
    shop.settle(placed)
    shop.news()
    keep(shop, placed)


def order_of(shop: Shop, placed: Answer) -> Order:
    return shop.app.orders.require(placed.body["order_id"])


def gifts(order: Order) -> list[str]:
    return [order.lines[reward.line - 1].sku for reward in order.rewards]


def states(shop: Shop, email: str = ADA) -> list[str]:
    return [reward.state for reward in shop.app.earning.of(customer_id_for(email))]


def told(shop: Shop, placed: Answer) -> list[str]:
    events = shop.app.orders.parts(placed.body["order_id"], "EVENT#")
    return [event["type"] for event in events if event["type"].startswith("Reward")]


def code(shop: Shop, email: str = ADA) -> str:
    (reward,) = shop.app.earning.of(customer_id_for(email))
    return reward.code


def test_a_gift_comes_with_the_next_order_and_its_unit_is_taken_like_any_other(stocked: Shop) -> None:
    promise(stocked, GIFT)
    first = buy(stocked, "order-0001", ("SHIRT", 3))
    assert (states(stocked), told(stocked, first)) == (["waiting"], ["RewardEarned"])
    second = order_of(stocked, place(stocked, "order-0002", ("SHIRT", 1)))
    assert (gifts(second), second.lines[1].unit_price, second.totals.items) == (["MUG"], 0, 1999)
    assert (stocked.available("MUG"), states(stocked)) == (9, ["used"])
    assert gifts(order_of(stocked, place(stocked, "order-0003", ("SHIRT", 1)))) == []
    assert stocked.identity_holds("MUG", "SHIRT")


def test_a_reward_is_given_once_whatever_is_told_again(stocked: Shop) -> None:
    promise(stocked, GIFT)
    first = buy(stocked, "order-0001", ("SHIRT", 3))
    for _ in range(3):
        keep(stocked, first)
    second = buy(stocked, "order-0002", ("SHIRT", 3))
    keep(stocked, first)
    assert told(stocked, first) + told(stocked, second) == ["RewardEarned"]
    assert states(stocked) == ["used"]


def test_who_has_spent_less_gets_nothing_and_neither_does_an_order_before_it_is_paid(stocked: Shop) -> None:
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 1))
    keep(stocked, place(stocked, "order-0002", ("SHIRT", 9)))
    assert states(stocked) == []


def test_an_order_that_ends_lets_its_gift_wait_for_the_next_one(stocked: Shop) -> None:
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 3))
    second = place(stocked, "order-0002", ("SHIRT", 1))
    assert [stocked.cancel(second).status for _ in range(2)] == [200, 200]
    assert (states(stocked), stocked.available("MUG")) == (["waiting"], 10)
    assert gifts(order_of(stocked, place(stocked, "order-0003", ("SHIRT", 1)))) == ["MUG"]


def test_a_gift_that_is_out_of_stock_is_substituted(stocked: Shop) -> None:
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 3))
    place(stocked, "order-0002", ("MUG", 10), email="bo@example.com", line1="2 Other Row")
    assert gifts(order_of(stocked, place(stocked, "order-0003", ("SHIRT", 1)))) == ["PEN"]


def test_a_gift_that_cannot_be_had_becomes_a_coupon_that_the_customer_is_told_of(stocked: Shop) -> None:
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 3))
    place(stocked, "order-0002", ("MUG", 10), ("PEN", 10), email="bo@example.com", line1="2 Other Row")
    third = buy(stocked, "order-0003", ("SHIRT", 1))
    assert (gifts(order_of(stocked, third)), states(stocked)) == ([], ["coupon"])
    assert told(stocked, third) == ["RewardEarned"]
    keep(stocked, third)
    assert told(stocked, third) == ["RewardEarned"]
    assert place(stocked, "order-0004", ("SHIRT", 1), coupon=code(stocked)).body["totals"]["discount"] == 200


def test_who_orders_the_last_one_of_the_gift_s_sku_is_not_refused_for_the_gift(stocked: Shop) -> None:
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 3))
    order = order_of(stocked, place(stocked, "order-0002", ("MUG", 10)))
    assert (gifts(order), stocked.available("MUG")) == (["PEN"], 0)
    refused = stocked.place(checkout(("MUG", 1)), key="order-0003")
    assert (refused.status, refused.body["code"]) == (409, "out_of_stock")


def test_a_very_large_order_brings_no_gift_and_the_next_one_does(stocked: Shop) -> None:
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 3))
    skus = [f"SKU-{n:02d}" for n in range(44)]
    stocked.stock_many(skus, 5)
    assert gifts(order_of(stocked, place(stocked, "order-0002", *((sku, 1) for sku in skus)))) == []
    assert states(stocked) == ["waiting"]
    assert gifts(order_of(stocked, place(stocked, "order-0003", ("SHIRT", 1)))) == ["MUG"]


def test_a_coupon_is_the_person_s_own_and_for_one_order(stocked: Shop) -> None:
    promise(stocked, COUPON)
    buy(stocked, "order-0001", ("SHIRT", 3))
    body = checkout(("SHIRT", 1), coupon=code(stocked), customer={"email": "bo@example.com", "name": "Bo"})
    assert stocked.place(body, key="order-0002").body["code"] == "coupon_unknown"
    assert place(stocked, "order-0003", ("SHIRT", 1), coupon=code(stocked)).body["totals"]["discount"] == 500
    again = stocked.place(checkout(("SHIRT", 1), coupon=code(stocked)), key="order-0004")
    assert again.body["code"] == "coupon_used_up"
    stocked.later(days=31)
    assert stocked.app.coupons.page("")["coupons"] == []


@pytest.mark.parametrize(("milestone", "state"), [(GIFT, "waiting"), (COUPON, "coupon")])
def test_an_unused_reward_is_withdrawn_below_its_milestone_and_comes_back_above_it(
    stocked: Shop, milestone: Milestone, state: str
) -> None:
    promise(stocked, milestone)
    first = buy(stocked, "order-0001", ("SHIRT", 3))
    before = code(stocked)
    refund(stocked, first)
    assert (states(stocked), told(stocked, first)) == (["withdrawn"], ["RewardEarned", "RewardWithdrawn"])
    if before:
        refused = stocked.place(checkout(("SHIRT", 1), coupon=before), key="order-0002")
        assert refused.body["code"] == "coupon_inactive"
    buy(stocked, "order-0003", ("SHIRT", 3))
    assert (states(stocked), code(stocked)) == ([state], before)


@pytest.mark.parametrize("milestone", [GIFT, COUPON])
def test_a_reward_that_was_used_stays_whatever_goes_back(stocked: Shop, milestone: Milestone) -> None:
    promise(stocked, milestone)
    first = buy(stocked, "order-0001", ("SHIRT", 3))
    before = states(stocked)
    place(stocked, "order-0002", ("SHIRT", 1), **({"coupon": code(stocked)} if code(stocked) else {}))
    refund(stocked, first)
    assert states(stocked) == (["used"] if before == ["waiting"] else ["coupon"])
    assert told(stocked, first) == ["RewardEarned"]


def join(shop: Shop, email: str, to: str) -> None:
    """An agent finds that two are one."""
    one, other = customer_id_for(to), customer_id_for(email)
    shop.app.joining.join(one, other, reason="the same person", actor="staff:kim", key="join-0001")


def test_persons_who_turn_out_to_be_one_have_a_milestone_once(stocked: Shop) -> None:
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 3))
    stocked.later(minutes=1)
    last = buy(stocked, "order-0002", ("SHIRT", 3), email="ada@work.example", line1="2 Work Row")
    join(stocked, "ada@work.example", ADA)
    keep(stocked, last)
    assert sorted(states(stocked)) == ["waiting", "withdrawn"]
    keep(stocked, last)
    assert sorted(states(stocked)) == ["waiting", "withdrawn"]


@pytest.mark.parametrize("first", [ADA, "ada@work.example"])
def test_whoever_had_it_before_they_were_joined_does_not_get_it_again(stocked: Shop, first: str) -> None:
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 3), email=first)
    other = ({ADA, "ada@work.example"} - {first}).pop()
    last = buy(stocked, "order-0002", ("SHIRT", 1), email=other, line1="2 Work Row")
    join(stocked, "ada@work.example", ADA)
    keep(stocked, last)
    assert states(stocked) == ["waiting"]
    stocked.now += timedelta(minutes=1)
    assert gifts(order_of(stocked, place(stocked, "order-0003", ("SHIRT", 1), email=other))) == ["MUG"]


def test_of_two_orders_at_one_moment_one_gets_the_gift(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 3))
    client = stocked.app.orders.table.client
    before_writing(monkeypatch, client, lambda: place(stocked, "order-0002", ("SHIRT", 1)))
    place(stocked, "order-0003", ("SHIRT", 1))
    orders = stocked.app.orders.latest(3, stocked.now)
    assert sorted(map(gifts, orders)) == [[], [], ["MUG"]]
    assert (stocked.available("MUG"), states(stocked)) == (9, ["used"])


def test_one_that_is_joined_while_it_is_looked_at_is_looked_at_again(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    promise(stocked, GIFT)
    work = buy(stocked, "order-0001", ("SHIRT", 3), email="ada@work.example", line1="2 Work Row")
    assert states(stocked, "ada@work.example") == ["waiting"]
    home = buy(stocked, "order-0002", ("SHIRT", 1))
    promise_more = Milestone("more", "USD", 3000, ("PEN",))
    put_rules(stocked.app.orders.table, Rules((promise_more,), 1), actor="staff:kim", now=stocked.now)
    stocked.later(seconds=61)
    before_writing(monkeypatch, stocked.app.orders.table.client, lambda: join(stocked, "ada@work.example", ADA))
    keep(stocked, work)
    keep(stocked, home)
    rewards = stocked.app.earning.of(customer_id_for(ADA))
    assert sorted(reward.milestone for reward in rewards) == ["hundred", "more"]


@pytest.mark.parametrize(
    ("email", "line1"), [("ad.a+again@googlemail.com", "7 New Road"), ("ada3@example.com", "1 Analytical Row")]
)
def test_the_same_mailbox_or_a_third_person_of_one_house_gets_no_more(stocked: Shop, email: str, line1: str) -> None:
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 3), email="ada@gmail.com", line1="1 Analytical Row")
    buy(stocked, "order-0002", ("SHIRT", 3), email="ada2@example.com", line1="1 analytical row")
    buy(stocked, "order-0003", ("SHIRT", 3), email=email, line1=line1)
    assert [len(states(stocked, each)) for each in ("ada@gmail.com", "ada2@example.com", email)] == [1, 1, 0]


@pytest.mark.parametrize("taken", [False, True])
def test_late_money_revives_an_order_with_its_gift_or_without_one_that_came_with_another(
    stocked: Shop, taken: bool
) -> None:
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 3))
    late = place(stocked, "order-0002", ("SHIRT", 1))
    stocked.pay(late)
    stocked.later(minutes=31)
    stocked.sweep()
    if taken:
        assert gifts(order_of(stocked, place(stocked, "order-0003", ("SHIRT", 1)))) == ["MUG"]
    stocked.news()
    order = order_of(stocked, late)
    assert (order.status, gifts(order)) == ("confirmed", [] if taken else ["MUG"])
    assert order.owed() == ({"SHIRT": 1} if taken else {"SHIRT": 1, "MUG": 1})
    assert (stocked.available("MUG"), states(stocked)) == (9, ["used"])
    assert stocked.identity_holds("MUG", "SHIRT")


def test_a_gift_stays_one_and_is_not_sent_alone(stocked: Shop) -> None:
    floor = Floor(stocked)
    promise(stocked, GIFT)
    buy(stocked, "order-0001", ("SHIRT", 3))
    placed = buy(stocked, "order-0002", ("SHIRT", 1))
    floor.settle()
    order_id = placed.body["order_id"]
    for wrong in ({2: 2}, {1: 0}):
        with pytest.raises(errors.InvalidRequest):
            stocked.app.editing.preview(order_id, Edit(wrong, {}, None))
    stocked.cancel(placed, {"lines": [{"line": 1, "quantity": 1}]}, key="cancel-0001")
    assert (order_of(stocked, placed).status, states(stocked)) == ("cancelled", ["waiting"])


def test_the_customer_is_written_to(stocked: Shop) -> None:
    promise(stocked, COUPON)
    first = buy(stocked, "order-0001", ("SHIRT", 3))
    number = order_of(stocked, first).version
    record = {"messageId": "m1", "body": f'{{"order_id": "{first.body["order_id"]}", "number": {number}}}'}
    sent: list[Any] = []

    class Mailer:
        def send(self, mail: Any) -> str:
            sent.append(mail)
            return "mail-1"

    stocked.app.telling = replace(stocked.app.telling, notifier=Mailer)
    import_module("functions.messages.notify").handler({"Records": [record]}, Context())
    (mail,) = [mail for mail in sent if code(stocked) in mail.text]
    assert "takes $5.00 off" in mail.text
    assert code(stocked) in mail.html


def test_operators_set_milestones_and_agents_see_what_a_customer_has(stocked: Shop) -> None:
    def ask(route: str, body: Any = None, group: str = "ops", **more: Any) -> Answer:
        staff = {**STAFF_CLAIMS, "cognito:groups": f"[{group}]"}
        return stocked.call("customer_service.customers", route, body, staff=staff, **more)

    gift = {"name": "hundred", "currency": "USD", "spent": 4000, "gift": ["MUG"]}
    body = {"version": 0, "milestones": [{**gift, "coupon": {"kind": "percent", "percent": 10}}]}
    assert ask("PUT /rewards/rules", body).body["version"] == 1
    assert ask("PUT /rewards/rules", body).status == 409
    assert ask("GET /rewards/rules", group="agent").body["milestones"][0]["coupon"]["days"] == 365
    for wrong in (
        [{**gift, "gift": []}],
        [gift, gift],
        [{**gift, "currency": "XXX"}],
        [{**gift, "coupon": {"kind": "percent"}}],
    ):
        assert ask("PUT /rewards/rules", {"version": 1, "milestones": wrong}).status == 422
    assert ask("PUT /rewards/rules", body, group="agent").status == 403
    stocked.later(seconds=61)
    first = buy(stocked, "order-0001", ("SHIRT", 3))
    seen = ask("GET /customers/{id}/rewards", group="agent", path={"id": customer_id_for(ADA)}).body["rewards"]
    assert [(each["milestone"], each["state"], each["earned_by"]) for each in seen] == [
        ("hundred", "waiting", first.body["order_id"])
    ]
