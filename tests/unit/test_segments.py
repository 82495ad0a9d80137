"""Segments: what a condition asks of a profile, and that SQL over a table's export chooses the same people."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations_with_replacement, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oms.customers.people import Profile
from oms.customers.segment_forms import SegmentForm
from oms.customers.segments import AGES, GAP, MONEY, condition_of, document_of, matches, to_sql
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.http import checked
from tests.support.athena import views

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_profile(**changes: Any) -> Profile:
    told: dict[str, Any] = {
        **{name: "" for name in ("person_id", "name", "email", "phone", "note", "first_order_at", "last_order_at")},
        **{name: 0 for name in ("orders", "cancelled", "units", "version")},
        **{name: {} for name in ("spent", "channels", "countries", "methods", "skus")},
        **{name: () for name in ("identities", "addresses", "verified")},
        "marketing": False,
        **changes,
    }
    return Profile(**{name: value for name, value in told.items() if name in Profile.__slots__})


def days_ago(days: float) -> str:
    return to_text(NOW - timedelta(days=days))


def asks(profile: Profile, **condition: Any) -> bool:
    form = checked(SegmentForm, {"conditions": condition})
    return matches(form.condition(), profile, NOW)


def test_bounds_belong_to_what_they_allow() -> None:
    three = a_profile(orders=3)
    assert asks(three, field="orders", at_least=3)
    assert asks(three, field="orders", at_most=3)
    assert not asks(three, field="orders", at_least=4)


def test_an_order_of_29_days_and_23_hours_is_not_30_days_ago() -> None:
    somebody = a_profile(orders=1, last_order_at=days_ago(29.96))
    assert not asks(somebody, field="days_since_last_order", at_least=30)
    assert asks(somebody, field="days_since_last_order", at_most=29)


def test_who_never_ordered_has_no_last_order_however_long_ago() -> None:
    assert not asks(a_profile(), field="days_since_last_order", at_least=0)
    assert not asks(a_profile(), field="days_since_last_order", at_most=1000)


def test_who_never_spent_in_a_currency_spent_nothing_in_it_and_has_no_average() -> None:
    somebody = a_profile(orders=2, spent={"USD": 5000})
    assert asks(somebody, field="spent", currency="EUR", at_most=0)
    assert asks(somebody, field="average_order", currency="USD", at_least=2500)
    assert not asks(somebody, field="average_order", currency="EUR", at_most=2500)


def test_orders_a_week_apart() -> None:
    weekly = a_profile(orders=5, first_order_at=days_ago(28), last_order_at=days_ago(0))
    assert asks(weekly, field="days_between_orders", at_most=7)
    assert not asks(weekly, field="days_between_orders", at_most=6)
    assert not asks(a_profile(orders=1), field="days_between_orders", at_most=7)


def test_any_of_several_skus_with_so_many_units() -> None:
    somebody = a_profile(skus={"MUG": 2, "HAT": 1})
    assert asks(somebody, field="sku", any_of=["SHIRT", "MUG"])
    assert not asks(somebody, field="sku", any_of=["SHIRT", "MUG"], at_least=3)


@pytest.mark.parametrize(
    ("condition", "field", "message"),
    [
        ({"field": "colour", "at_least": 1}, "conditions.field", "'orders'"),
        ({"field": "orders", "any_of": ["x"]}, "conditions", "orders takes at_least and at_most, and not any_of"),
        ({"field": "orders"}, "conditions", "orders needs at_least, at_most or both"),
        ({"field": "spent", "at_least": 1}, "conditions", "spent needs currency"),
        ({"field": "sku"}, "conditions", "sku needs any_of"),
        ({"field": "orders", "at_least": "1"}, "conditions.at_least", "integer"),
        ({"field": "orders", "more_than": 1}, "conditions.more_than", "Extra inputs"),
        ({"all": [{"field": "marketing", "is": True}, {}]}, "conditions.all[1]", "give one of all, any, not and field"),
        ({"all": []}, "conditions.all", "at least 1"),
        ({"not": {"field": "units", "at_least": 2, "at_most": 1}}, "conditions.not", "more than at_most"),
    ],
)
def test_what_is_wrong_with_a_condition_is_told_where_it_is(condition: Any, field: str, message: str) -> None:
    with pytest.raises(errors.InvalidRequest) as refused:
        checked(SegmentForm, {"conditions": condition})
    ((where, what),) = refused.value.fields
    assert where == field
    assert message in what


def test_conditions_end_somewhere() -> None:
    deep: Any = {"field": "marketing", "is": True}
    for _ in range(8):
        deep = {"not": deep}
    with pytest.raises(errors.InvalidRequest, match="errors"):
        checked(SegmentForm, {"conditions": deep})


CURRENCIES, PLACES = st.sampled_from(["USD", "EUR"]), st.sampled_from(["US", "O'B", "x-1"])
FEW = st.integers(0, 4)
BOUNDS = st.sampled_from([{"at_least": 1}, {"at_most": 2}, {"at_least": 0}, {"at_most": 0}]) | st.tuples(FEW, FEW).map(
    lambda pair: {"at_least": min(pair), "at_most": max(pair)}
)
LEAVES = st.one_of(
    st.builds(
        lambda name, bounds: {"field": name, **bounds},
        st.sampled_from([*("orders", "cancelled_orders", "units"), *AGES, GAP]),
        BOUNDS,
    ),
    st.builds(
        lambda name, currency, bounds: {"field": name, "currency": currency, **bounds},
        st.sampled_from(["spent", "average_order"]),
        CURRENCIES,
        BOUNDS,
    ),
    st.builds(
        lambda name, names, least: {"field": name, "any_of": names, "at_least": least},
        st.sampled_from(["channel", "country", "method", "sku"]),
        st.lists(PLACES, min_size=1, max_size=2),
        st.integers(1, 3),
    ),
    st.builds(lambda wanted: {"field": "marketing", "is": wanted}, st.booleans()),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"all": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=6,
)
COUNTED = st.dictionaries(PLACES, st.integers(1, 4), max_size=2)
# Whole days and the milliseconds about them are where two ways of counting days would differ.
MOMENTS = st.builds(
    lambda days, ms: to_text(NOW - timedelta(days=days, milliseconds=ms)), FEW, st.sampled_from([-1, 0, 1])
)


@st.composite
def profiles(draw: Any) -> Profile:
    orders = draw(FEW)
    times = sorted(draw(st.lists(MOMENTS, min_size=2, max_size=2))) if orders else ["", ""]
    return a_profile(
        orders=orders,
        cancelled=draw(FEW),
        units=draw(FEW),
        spent=draw(st.dictionaries(CURRENCIES, st.integers(-1, 6).filter(bool), max_size=2)),
        **{name: draw(COUNTED) for name in ("channels", "countries", "methods", "skus")},
        first_order_at=times[0],
        last_order_at=times[1],
        marketing=draw(st.booleans()),
    )


@given(CONDITIONS)
def test_a_condition_is_a_document_and_back(document: Any) -> None:
    assert checked(SegmentForm, {"conditions": document})
    condition = condition_of(document)
    assert condition_of(document_of(condition)) == condition


@settings(max_examples=300, deadline=None)
@given(CONDITIONS, st.lists(profiles(), min_size=1, max_size=8))
def test_sql_chooses_the_same_people(document: Any, people: list[Profile]) -> None:
    named = [replace(profile, person_id=f"person-{number}") for number, profile in enumerate(people)]
    condition = condition_of(document)
    with views(named) as database:
        chosen = [row[0] for row in database.execute(to_sql(condition, NOW))]
    assert chosen == [profile.person_id for profile in named if matches(condition, profile, NOW)]


def test_sql_agrees_at_every_bound() -> None:
    moments = [
        NOW - timedelta(days=days, milliseconds=more)
        for days, more in product(range(5), (-1, 0, 1))
        if days or more >= 0
    ]
    people = [
        a_profile(
            person_id=f"{orders}-{number:03d}",
            orders=orders,
            cancelled=number % 3,
            units=number % 5,
            spent={"USD": number % 7} if number % 7 else {},
            first_order_at=to_text(min(pair)) if orders else "",
            last_order_at=to_text(max(pair)) if orders else "",
        )
        for orders in range(4)
        for number, pair in enumerate(combinations_with_replacement(moments, 2))
    ]
    bounds = [{name: bound} for name in ("at_least", "at_most") for bound in range(5)]
    numbers = ("orders", "cancelled_orders", "units", *AGES, GAP)
    asked = [{"field": name, **bound} for name in numbers for bound in bounds]
    asked += [{"field": name, "currency": "USD", **bound} for name in MONEY for bound in bounds]
    with views(people) as database:
        for document in asked:
            condition = condition_of(document)
            chosen = [row[0] for row in database.execute(to_sql(condition, NOW))]
            assert chosen == [person.person_id for person in people if matches(condition, person, NOW)], document
