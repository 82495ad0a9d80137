"""The pure rules of coupons: what they take off, how it is shared, and by what a person is known again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.orders import pricing
from oms.orders.coupon_book import mailbox_of, phone_of, place_of
from oms.orders.coupons import Coupon, check, check_together, in_turn, shared, take_off
from oms.orders.model import Line, Order, Payment, Status, Totals
from oms.runtime import errors

NOW = "2026-11-23T09:00:00.000Z"


def an_order(*lines: tuple[int, int], country: str = "GB", **changes: Any) -> Order:
    """Lines are (unit price, quantity)."""
    made = tuple(
        Line(number, f"S{number}", quantity, price, tax=pricing.tax_on(price * quantity, country))
        for number, (price, quantity) in enumerate(lines, start=1)
    )
    tax = sum(line.tax for line in made) + pricing.tax_on(399, country)
    order = Order(
        order_id="o",
        channel="web",
        status=Status.PLACED,
        customer={"id": "c"},
        address={"country": country},
        lines=made,
        currency="GBP",
        totals=Totals(sum(price * quantity for price, quantity in lines), 399, tax),
        payment=Payment(),
        placed_at=NOW,
        expires_at=NOW,
    )
    return replace(order, **changes)


def why_not(coupon: Coupon, order: Order) -> str:
    try:
        check(coupon, order, NOW)
    except errors.Conflict as refused:
        return str(refused.extra["code"])
    return ""


@given(
    st.dictionaries(st.integers(1, 200), st.integers(0, 10**7), min_size=1, max_size=30).flatmap(
        lambda worth: st.tuples(st.just(worth), st.integers(0, sum(worth.values())))
    )
)
def test_shares_add_up_to_the_discount_and_none_is_more_than_its_part(case: tuple[dict[int, int], int]) -> None:
    worth, amount = case
    shares = shared(amount, worth)
    assert sum(shares.values()) == amount
    assert all(0 <= shares[number] <= worth[number] for number in worth)


@given(
    st.lists(st.tuples(st.integers(1, 100_000), st.integers(1, 20)), min_size=1, max_size=8),
    st.lists(
        st.one_of(
            st.integers(1, 100).map(lambda percent: Coupon(f"P{percent}", "percent", percent=percent)),
            st.integers(1, 10**6).map(lambda amount: Coupon(f"A{amount}", "amount", amounts={"GBP": amount})),
            st.just(Coupon("FREE", "shipping")),
        ),
        max_size=3,
    ),
)
def test_what_comes_off_is_what_the_totals_and_the_lines_say(
    lines: list[tuple[int, int]], coupons: list[Coupon]
) -> None:
    before = after = an_order(*lines)
    off = 0
    for coupon in in_turn(coupons):
        after, goods, _ = take_off(coupon, after)
        off += goods
    assert after.totals.discount == sum(line.discount for line in after.lines) == off
    assert after.totals.items == before.totals.items
    assert all(0 <= line.discount <= line.unit_price * line.quantity for line in after.lines)
    shipping_tax = pricing.tax_on(after.totals.shipping, "GB")
    assert after.totals.tax == sum(line.tax for line in after.lines) + shipping_tax
    assert 0 <= after.totals.total <= before.totals.total
    everything = {line.number: line.quantity for line in after.lines}
    paid = pricing.refund_for_lines(everything, after.lines) + pricing.shipping_paid(after.totals, after.lines)
    assert paid == after.totals.total


def test_a_percentage_is_of_the_goods_it_is_for_and_shared_by_price() -> None:
    coupon = Coupon("TEN", "percent", percent=10, skus=("S1", "S3"))
    after, off, _ = take_off(coupon, an_order((1000, 1), (5000, 1), (335, 1)))
    assert (off, [line.discount for line in after.lines]) == (134, [100, 0, 34])


def test_shares_of_the_price_come_off_before_fixed_amounts() -> None:
    fixed, tenth = Coupon("A", "amount", amounts={"GBP": 500}), Coupon("B", "percent", percent=10)
    assert in_turn([fixed, tenth]) == [tenth, fixed]


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        ({}, ""),
        ({"active": False}, "coupon_inactive"),
        ({"starts_at": "2026-11-23T09:00:00.001Z"}, "coupon_not_started"),
        ({"starts_at": NOW}, ""),
        ({"ends_at": NOW}, "coupon_expired"),
        ({"ends_at": "2026-11-23T09:00:00.001Z"}, ""),
        ({"skus": ("OTHER",)}, "coupon_not_applicable"),
        ({"minimum": {"GBP": 2000}}, ""),
        ({"minimum": {"GBP": 2001}}, "coupon_minimum"),
        ({"minimum": {"USD": 1}}, "coupon_currency"),
        ({"minimum_units": 3}, "coupon_minimum"),
        ({"kind": "amount", "amounts": {"USD": 100}}, "coupon_currency"),
    ],
)
def test_terms_say_by_a_code_why_they_do_not_hold(terms: dict[str, Any], problem: str) -> None:
    coupon = replace(Coupon("TEN", "percent", percent=10), **terms)
    assert why_not(coupon, an_order((1000, 2))) == problem


def test_a_coupon_is_alone_unless_each_of_them_allows_others() -> None:
    alone, open_one = Coupon("A", "shipping"), Coupon("B", "shipping", exclusive=False)
    check_together([alone])
    check_together([open_one] * 3)
    for wrong in ([alone, open_one], [open_one] * 4):
        with pytest.raises(errors.Conflict):
            check_together(wrong)


def test_a_person_is_known_again_by_mailbox_phone_and_house() -> None:
    assert mailbox_of("A.da+shop@GoogleMail.com") == mailbox_of("ada@gmail.com")
    assert mailbox_of("a.da@example.com") != mailbox_of("ada@example.com")
    assert phone_of("+1 (503) 555-0100") == phone_of("503 555 0100")
    home = {"line1": "12 Analytical Road", "line2": "", "postal_code": "SW1A 1AA", "country": "GB"}
    spelled = {**home, "line1": "12, analytical rd.", "line2": "Flat 7", "postal_code": "sw1a1aa"}
    assert place_of(home) == place_of(spelled)
    assert place_of(home) != place_of({**home, "line1": "13 Analytical Road"})
