"""Figures are a function of the orders: whatever happens to those, a difference says the same as adding all up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from oms.customers.figures import (
    Contribution,
    Figures,
    changed,
    contribution_from_item,
    contribution_to_item,
    figures_from_item,
    figures_to_item,
    folded,
)
from oms.runtime.dynamo import from_item, to_item

ORDERS = tuple(f"order-{number}" for number in range(6))
FEW = st.sampled_from(("a", "b", "c"))
ADDRESSES = st.dictionaries(st.sampled_from(("city", "country")), FEW)
BLOCKS = st.integers(0, 5).map(lambda block: {f"{block}-{number}": 1 + number % 7 for number in range(150)})
COUNTS = st.dictionaries(FEW, st.integers(1, 9), max_size=3)


@st.composite
def contributions(draw: st.DrawFn, many: bool = False) -> Contribution:
    """What an order may say; when it was placed never changes. Six with ``many`` say more than figures keep."""
    order_id = draw(st.sampled_from(ORDERS))
    return Contribution(
        order_id=order_id,
        version=draw(st.integers(1, 9)),
        placed_at=f"2026-11-2{ORDERS.index(order_id) // 2}T09:00:00.000Z",
        counts=draw(st.booleans()),
        channel=draw(FEW),
        country=draw(st.sampled_from(("", "US", "DE"))),
        currency=draw(st.sampled_from(("USD", "EUR"))),
        spent=draw(st.integers(-500, 5000)),
        skus=draw(BLOCKS if many else COUNTS),
        methods=tuple(sorted(draw(st.sets(FEW)))),
        contact=draw(st.dictionaries(st.sampled_from(("name", "email", "phone")), FEW, min_size=1)),
        address=draw(ADDRESSES if not many else st.just({"city": order_id})),
    )


STEPS = st.lists(st.one_of(contributions(), st.sampled_from(ORDERS)), max_size=30)
"""An order says something else, or nothing any more."""


MANY = st.lists(st.one_of(contributions(many=True), st.sampled_from(ORDERS)), max_size=30)


def follow(steps: list[Contribution | str]) -> None:
    """Let orders change one after the other, and hold the figures that are kept against those added up."""
    known: dict[str, Contribution] = {}
    kept = Figures()
    for step in steps:
        order_id = step if isinstance(step, str) else step.order_id
        new = None if isinstance(step, str) else step
        found = changed(kept, known.pop(order_id, None), new)
        if new:
            known[order_id] = new
        kept = found if found is not None else folded(known.values())
        assert kept == folded(known.values())


@settings(max_examples=100)
@given(MANY)
def test_that_holds_when_there_are_more_skus_and_addresses_than_are_kept(steps: list[Contribution | str]) -> None:
    follow(steps)


@settings(max_examples=300)
@given(STEPS)
def test_a_difference_says_the_same_as_adding_all_up(steps: list[Contribution | str]) -> None:
    follow(steps)


@given(st.permutations(ORDERS), st.lists(contributions(), unique_by=lambda each: each.order_id))
def test_in_which_order_they_come_does_not_matter(sequence: list[str], orders: list[Contribution]) -> None:
    turned = sorted(orders, key=lambda each: sequence.index(each.order_id))
    assert folded(turned) == folded(orders)


@given(st.lists(contributions(), unique_by=lambda each: each.order_id))
def test_nothing_is_lost_on_the_way_to_the_table_and_back(orders: list[Contribution]) -> None:
    kept = folded(orders)
    assert figures_from_item(from_item(to_item(figures_to_item(kept)))) == kept
    for each in orders:
        assert contribution_from_item(from_item(to_item(contribution_to_item(each)))) == each


def test_a_single_new_order_needs_nobody_to_read_the_others() -> None:
    first = Contribution("1", 1, "2026-11-20T09:00:00.000Z", True, "web", "US", "USD", 500, {"MUG": 1}, ("stripe",))
    second = Contribution("2", 1, "2026-11-21T09:00:00.000Z", True, "web", "US", "USD", 700, {"MUG": 2}, ("cash",))
    kept = changed(folded([first]), None, second)
    assert kept is not None
    assert (kept.orders, kept.units, kept.spent) == (2, 3, {"USD": 1200})
    assert (kept.first_order_at, kept.last_order_at) == (first.placed_at, second.placed_at)


def test_an_order_that_is_cancelled_leaves_the_figures_and_not_the_contact() -> None:
    bought = Contribution(
        "1", 1, "2026-11-20T09:00:00.000Z", True, "web", "US", "USD", 500, {"MUG": 1}, ("stripe",), {"name": "Ada"}
    )
    gone = folded([Contribution(**{**contribution_to_item(bought), "counts": False, "spent": 0})])
    assert (gone.orders, gone.cancelled, gone.spent, gone.last_order_at) == (0, 1, {}, "")
    assert gone.contact["name"]["value"] == "Ada"
