"""The pure rules of orders: states, totals, history, tokens, priorities, deadlines."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.inventory.model import Listing, Product, Take, demand, even_shares, home_stripe, spread
from oms.orders import history, pricing, priority
from oms.orders.access import issue_token, token_opens
from oms.orders.deadlines import next_deadline
from oms.orders.model import (
    NEXT,
    Backordered,
    Effect,
    Hold,
    IllegalTransition,
    Line,
    Order,
    Payment,
    Status,
    Totals,
    home_seed,
    order_id_for,
)
from oms.orders.store import order_from_item, order_to_item
from oms.payments import ledger
from oms.runtime.clock import from_text, to_text
from oms.runtime.dynamo import from_item, to_item

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def an_order(**changes: object) -> Order:
    order = Order(
        order_id=order_id_for("web", "key-0001"),
        channel="web",
        status=Status.PLACED,
        customer={"id": "c1", "email": "ada@example.com", "name": "Ada"},
        address={"name": "Ada", "line1": "1 Row", "city": "London", "postal_code": "SW1A 1AA", "country": "GB"},
        lines=(Line(1, "SHIRT", 3, 1000, tax=601), Line(2, "SET", 2, 500, parts={"MUG": 2, "SHIRT": 1})),
        currency="GBP",
        totals=Totals(4000, 399, 681),
        payment=Payment("pending", "stripe"),
        placed_at=to_text(NOW),
        expires_at=to_text(NOW + timedelta(minutes=30)),
    )
    return replace(order, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("before", list(Status))
@pytest.mark.parametrize("after", list(Status))
def test_only_the_moves_in_the_table_are_legal(before: Status, after: Status) -> None:
    order = an_order(status=before)
    if after in NEXT[before]:
        assert order.moved_to(after).status is after
    else:
        with pytest.raises(IllegalTransition):
            order.moved_to(after)


def test_an_order_holds_the_parts_of_its_kits_until_it_ends() -> None:
    order = an_order(oversold={"SHIRT": 1})
    assert order.promised() == {"MUG": 4, "SHIRT": 5}
    assert order.held_stock() == {"MUG": 4, "SHIRT": 4}
    assert replace(order, status=Status.EXPIRED).promised() == {}


@pytest.mark.parametrize(
    ("oversold", "waiting"),
    [
        ({"SHIRT": 1}, {2: 1}),
        ({"SHIRT": 4}, {1: 2, 2: 2}),
        ({"MUG": 3}, {2: 2}),
        ({"MUG": 1, "SHIRT": 2}, {2: 2}),
        ({}, {}),
    ],
)
def test_the_first_lines_are_served_first_and_a_kit_waits_whole(
    oversold: dict[str, int], waiting: dict[int, int]
) -> None:
    order = an_order(oversold=oversold, backordered=(Backordered(2, 1, "2026-12-24T08:00:00.000Z"),))
    assert order.waiting() == waiting
    assert order_from_item(from_item(to_item(order_to_item(order, NOW)))) == order


def test_an_order_survives_its_item() -> None:
    order = an_order(
        effects=(Effect.REFUND,),
        holds={"fraud": Hold("odd", "risk", to_text(NOW), to_text(NOW))},
        oversold={"SHIRT": 1},
        note="ring twice",
        shipping_method="express",
        version=4,
        head=b"\x01" * 32,
        request_digest=b"\x02" * 32,
    )
    assert order_from_item(from_item(to_item(order_to_item(order, NOW)))) == order


def test_ten_lines_fit_in_a_kilobyte() -> None:
    lines = tuple(Line(n, f"SKU-{n:05d}", 2, 1999, tax=333) for n in range(1, 11))
    item = to_item(order_to_item(an_order(lines=lines, version=1, head=b"h" * 32, request_digest=b"d" * 32), NOW))
    assert item_size(item) <= 1024


def item_size(item: dict[str, object]) -> int:
    """DynamoDB's own arithmetic: UTF-8 names and values, 3 bytes a container, 1 an entry, about half a byte a digit."""

    def size(attribute: object) -> int:
        assert isinstance(attribute, dict)
        ((kind, value),) = attribute.items()
        if kind == "S":
            return len(value.encode())
        if kind == "B":
            return len(value)
        if kind == "N":
            return len(value.lstrip("-")) // 2 + 2
        if kind == "M":
            return 3 + sum(len(key.encode()) + 1 + size(inner) for key, inner in value.items())
        if kind == "L":
            return 3 + sum(1 + size(inner) for inner in value)
        return 1

    return sum(len(key.encode()) + size(value) for key, value in item.items())


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 40_000)), min_size=1, max_size=9), st.sampled_from("DE US"))
def test_totals_are_the_sum_of_what_is_shown(rows: list[tuple[int, int]], country: str) -> None:
    wanted = [(Product(f"S{n}", "x", price, "EUR"), quantity) for n, (quantity, price) in enumerate(rows)]
    priced = pricing.price(wanted, country=country, currency="EUR", shipping_method="standard")
    assert priced.totals.total == sum(q * p for q, p in rows) + sum(line.tax for line in priced.lines) + 499 + (
        pricing.tax_on(499, country)
    )


@given(st.integers(1, 50), st.integers(0, 9999), st.integers(0, 700), st.lists(st.integers(1, 5), max_size=20))
def test_cancelling_a_line_piece_by_piece_gives_back_exactly_what_was_paid(
    quantity: int, tax: int, off: int, pieces: list[int]
) -> None:
    line, back = Line(1, "S", quantity, 700, discount=off * quantity, tax=tax), 0
    for piece in [*pieces, quantity]:
        units = min(piece, line.open)
        piece_back = pricing.refund_for_lines({1: units}, (line,))
        assert piece_back >= 0
        back += piece_back
        line = replace(line, cancelled=line.cancelled + units)
    assert (line.open, back) == (0, (700 - off) * quantity + tax)


def test_a_discount_is_taken_off_before_tax() -> None:
    wanted = [(Product("S", "x", 1_000, "EUR"), 2), (Product("T", "x", 500, "EUR"), 1)]
    priced = pricing.price(wanted, country="DE", currency="EUR", shipping_method="standard", discounts={1: 400})
    assert [(line.discount, line.tax) for line in priced.lines] == [(400, 304), (0, 95)]
    assert (priced.totals.discount, priced.totals.total) == (400, 2_500 - 400 + 304 + 95 + 499 + 95)


def test_history_shows_every_kind_of_tampering() -> None:
    events, head = [], b""
    for number, kind in enumerate(("OrderPlaced", "PaymentCaptured", "ShipmentShipped"), start=1):
        event = {"type": kind, "actor": "system", "cause": "test", "data": {"n": number}}
        head = history.link(head, number, to_text(NOW), event)
        events.append({"n": number, "at": to_text(NOW), **event, "hash": head})
    history.verify(events, head, 3)
    spoiled = {
        "edited": [events[0], {**events[1], "actor": "mallory"}, events[2]],
        "removed": [events[0], events[2]],
        "cut off": events[:2],
        "reordered": [events[1], events[0], events[2]],
        "rewritten": [events[0], {**events[1], "cause": "x", "hash": events[2]["hash"]}, events[2]],
    }
    for broken in spoiled.values():
        with pytest.raises(history.HistoryBroken):
            history.verify(broken, head, 3)


def test_a_token_opens_its_own_order_until_it_ends_under_any_of_the_keys() -> None:
    token = issue_token("order-1", NOW + timedelta(days=1), ["new", "old"])
    assert token_opens(token, "order-1", NOW, ["newest", "new"])
    assert not token_opens(token, "order-2", NOW, ["new"])
    assert not token_opens(token, "order-1", NOW + timedelta(days=2), ["new"])
    assert not token_opens(token, "order-1", NOW, ["other"])
    stretched = f"{int((NOW + timedelta(days=9)).timestamp()):x}.{token.partition('.')[2]}"
    assert not token_opens(stretched, "order-1", NOW + timedelta(days=2), ["new"])
    for garbage in ("", ".", "zz.zz", "1.é", "-1."):
        assert not token_opens(garbage, "order-1", NOW, ["new"])


def codes_of(order: Order, **rules: Any) -> str:
    return priority.rated(order, replace(priority.Rules(), **rules)).priority_codes


def test_codes_follow_from_the_order_and_the_rules() -> None:
    plain = an_order(lines=(Line(1, "S", 1, 100),), totals=Totals(100, 0, 0))
    assert codes_of(plain) == ""
    assert codes_of(replace(plain, lines=(Line(1, "S", 5, 20),), shipping_method="express")) == "MR"
    assert codes_of(replace(plain, lines=(Line(1, "S", 5, 20),)), many_units=6) == ""
    assert codes_of(replace(plain, totals=Totals(20_000, 0, 0))) == "L"
    assert codes_of(replace(plain, totals=Totals(20_000, 0, 0)), large_ticket={"JPY": 1}) == ""
    assert codes_of(replace(plain, orders_before=0)) == "N"
    assert codes_of(replace(plain, orders_before=2)) == ""
    assert codes_of(replace(plain, orders_before=3)) == "F"
    assert codes_of(replace(plain, orders_before=3), weights={"N": 1}) == ""
    day = (from_text(plain.placed_at).date() + timedelta(days=3)).isoformat()
    assert codes_of(replace(plain, promised_for=day)) == "P"
    assert codes_of(replace(plain, promised_for=day), promised_days=2) == ""


def test_an_order_carries_its_score_and_which_rules_gave_it() -> None:
    order = an_order(lines=(Line(1, "S", 9, 1),), totals=Totals(30_000, 0, 0))
    rated = priority.rated(order, replace(priority.Rules(), version=4))
    assert (rated.priority_codes, rated.priority_score, rated.priority_rules) == ("LM", 30, 4)


@pytest.mark.parametrize("status", list(Status))
def test_every_open_order_has_a_deadline(status: Status) -> None:
    order = an_order(status=status)
    assert (next_deadline(order, NOW) is not None) == (status in {"placed", "confirmed", "in_fulfillment"})
    assert next_deadline(order.with_effects(Effect.REFUND), NOW) is not None
    assert next_deadline(replace(order, committed=False), NOW) is not None


def test_a_held_order_is_looked_at_when_its_hold_is_due_and_not_before() -> None:
    waiting = an_order(status=Status.CONFIRMED).with_effects(Effect.START_FULFILLMENT)
    due = to_text(NOW + timedelta(hours=3))
    held = replace(waiting, holds={"fraud": Hold("odd", "risk", to_text(NOW), due)})
    assert next_deadline(waiting, NOW) == to_text(NOW + timedelta(minutes=5))
    assert next_deadline(held, NOW) == due


KINDS = (
    *("authorized", "released", "captured", "credit", "refund_due", "refunded", "refund_failed"),
    *("refund_withdrawn", "disputed", "dispute_won", "dispute_lost", "fee"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_postings_of_every_entry_add_up_to_zero(kind: str) -> None:
    entry = ledger.Entry(kind, "stripe", "x", 100, "USD", "test", drawn=40, on_credit=30)
    assert entry.postings
    assert sum(entry.postings.values()) == 0


def test_an_entry_from_before_double_entry_is_read_as_if_it_had_been_written_today() -> None:
    old = {"kind": "captured", "provider": "stripe", "object_id": "pi_1", "amount": 100, "currency": "USD"}
    assert ledger.balances([old]) == {"clearing:stripe": 100, "customer": -100}


def test_a_capture_uses_up_its_authorisation_and_pays_its_invoice() -> None:
    payment = Payment("pending", "stripe", capture="on_shipment", credit=30)
    payment = ledger.with_entry(payment, ledger.Entry("authorized", "stripe", "pi_1", 100, "USD", "test"))
    assert (payment.covers, payment.settled) == (130, 30)
    capture = ledger.Entry("captured", "stripe", "pi_1", 60, "USD", "test", drawn=60, on_credit=30)
    payment = ledger.with_entry(payment, capture)
    assert (payment.authorized, payment.captured, payment.credit, payment.covers) == (40, 60, 0, 100)


def test_the_ledger_derives_the_status_from_its_sums() -> None:
    payment = Payment("pending", "stripe")
    steps = [
        ("authorized", 100, "authorized"),
        ("released", 100, "cancelled"),
        ("captured", 100, "captured"),
        ("refund_due", 100, "captured"),
        ("refunded", 30, "partially_refunded"),
        ("refunded", 70, "refunded"),
    ]
    for kind, amount, status in steps:
        payment = ledger.with_entry(payment, ledger.Entry(kind, "stripe", "x", amount, "USD", "test"))
        assert payment.status == status
    assert payment.covers == 0


def test_times_read_back_as_they_were_written_and_sort_as_text() -> None:
    moments = [NOW, NOW + timedelta(milliseconds=1), NOW + timedelta(days=400)]
    assert [from_text(to_text(moment)) for moment in moments] == moments
    assert sorted(map(to_text, moments)) == list(map(to_text, moments))


# ---- stock -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9), st.integers(1, 60), st.integers(0, 99))
def test_a_spread_covers_all_that_can_be_covered_and_no_more(stock: list[int], wanted: int, seed: int) -> None:
    home = home_stripe(seed, len(stock))
    takes = spread("S", wanted, stock, home)
    assert sum(take.quantity for take in takes) == min(wanted, sum(stock))
    assert all(0 < take.quantity <= stock[take.stripe] for take in takes)
    assert len({take.stripe for take in takes}) == len(takes)
    if stock[home] >= wanted:
        assert takes == [Take("S", home, wanted)]


@given(st.integers(0, 999), st.integers(1, 64))
def test_shares_are_even_and_complete(quantity: int, stripes: int) -> None:
    shares = even_shares(quantity, stripes)
    assert sum(shares) == quantity
    assert max(shares) - min(shares) <= 1


def test_demand_adds_up_lines_and_kit_parts() -> None:
    kit = Product("SET", "x", 1, "USD", kit={"SHIRT": 2, "MUG": 1})
    shirt = Product("SHIRT", "x", 1, "USD")
    assert demand([(kit, 2), (shirt, 3), (shirt, 1)]) == {"MUG": 2, "SHIRT": 8}


@pytest.mark.parametrize(
    ("terms", "available", "shown"),
    [
        ({}, 484, 484),
        ({"buffer": 5}, 484, 479),
        ({"buffer": 5}, 3, 0),
        ({"percent": 50}, 485, 242),
        ({"max_listed": 10}, 484, 10),
        ({"end_when": 3}, 3, 0),
        ({"end_when": 3}, 4, 4),
        ({"buffer": 4, "percent": 50, "max_listed": 3}, 14, 3),
    ],
)
def test_terms_decide_what_a_channel_shows(terms: dict[str, int], available: int, shown: int) -> None:
    assert Listing("S", "etsy", "1", **terms).quantity_for(available) == shown


def test_orders_are_spread_over_stripes() -> None:
    counts = [0] * 8
    for number in range(4000):
        counts[home_stripe(home_seed(order_id_for("web", f"key-{number}")), 8)] += 1
    assert min(counts) > 400
