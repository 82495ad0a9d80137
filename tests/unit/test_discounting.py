"""Discounts and what a till charged: shares that add up, whatever the numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oms.inventory.model import Product
from oms.orders import pricing
from oms.orders.discounting import Limits, discounts_of, limits_of, within
from oms.orders.staff_forms import DiscountForm, StaffLineForm

AMOUNTS = st.integers(0, 100_000)
COUNTRIES = st.sampled_from(["US", "DE", "FI", "GB"])
BASKETS = st.lists(st.tuples(st.integers(1, 50_000), st.integers(1, 20)), min_size=1, max_size=8)


def _wanted(basket: list[tuple[int, int]]) -> list[tuple[Product, int]]:
    return [(Product(f"S{n}", "", price, "USD"), units) for n, (price, units) in enumerate(basket)]


@given(AMOUNTS, st.lists(AMOUNTS, min_size=1, max_size=12))
def test_shares_add_up_and_follow_their_weights(amount: int, weights: list[int]) -> None:
    shares = pricing.share(amount, weights)
    assert sum(shares) == amount
    whole = sum(weights)
    if whole:
        for one, weight in zip(shares, weights, strict=True):
            assert abs(one - amount * weight / whole) <= 1


@given(BASKETS, st.integers(1, 100), COUNTRIES)
def test_a_discount_by_percent_is_within_a_limit_by_the_same_percent(
    basket: list[tuple[int, int]], percent: int, country: str
) -> None:
    wanted = _wanted(basket)
    off = DiscountForm(percent=percent, reason="staff")
    lines = [StaffLineForm(sku=product.sku, quantity=units, discount=off) for product, units in wanted]
    found = discounts_of(wanted, lines, None)
    whole = discounts_of(wanted, [StaffLineForm(sku=p.sku, quantity=n) for p, n in wanted], off)
    priced = pricing.price(wanted, country=country, currency="USD", shipping_method="pickup", discounts=whole.by_line)
    limits = Limits(percent, 10**9)
    assert within(limits, priced.totals.items, found.total)
    assert within(limits, priced.totals.items, whole.total)
    assert priced.totals.discount == whole.total
    assert all(0 <= line.discount <= line.unit_price * line.quantity for line in priced.lines)


@given(BASKETS, st.integers(1, 2_000_000), COUNTRIES)
def test_what_was_charged_is_the_total_to_the_cent(basket: list[tuple[int, int]], total: int, country: str) -> None:
    wanted = _wanted(basket)
    priced = pricing.price(wanted, country=country, currency="USD", shipping_method="pickup")
    charged = pricing.charged(priced, total, country)
    assert charged.totals.total == total
    for line in charged.lines:
        assert line.discount >= 0
        assert line.tax >= 0
        assert pricing.value_of(line, line.quantity, 0) >= 0
    assert pricing.refund_for_lines({line.number: line.quantity for line in charged.lines}, charged.lines) == total


def test_somebody_in_two_groups_has_the_wider_limits() -> None:
    limits = {"agent": {"percent": 15, "amount": 50}, "pos": {"percent": 10, "amount": 90, "invoice": 7}}
    assert limits_of(["agent", "pos", "warehouse"], limits) == Limits(15, 90, 7)
    assert limits_of(["warehouse"], limits) == Limits()
