"""Every event in plain words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oms.orders import returns
from oms.orders.model import Order
from oms.orders.words import SENTENCES, Told, sentence
from tests.unit.test_order_rules import an_order

ROOT = Path(__file__).parents[2]
_TYPE = re.compile(r"[A-Z][a-z]+([A-Z][a-z]+)+")


def texts(tree: ast.AST) -> Iterator[str]:
    for each in ast.walk(tree):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def _emitted(source: Path) -> Iterator[str]:
    """The types of event that a module may write: what it names where it makes an event, and, where it makes one from
    a variable, every word of its own that could be a type."""
    tree = ast.parse(source.read_text())
    vague = False
    metrics = {
        id(each)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "count"
        for each in ast.walk(call)
    }
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "id", "")
        if name == "Event" and call.args:
            told = call.args[0]
            if isinstance(told, ast.JoinedStr):
                continue
            vague |= not isinstance(told, ast.Constant)
            yield from texts(told)
        elif name == "replace":
            yield from (text for keyword in call.keywords if keyword.arg == "type" for text in texts(keyword.value))
    if vague:
        yield from (
            each.value
            for each in ast.walk(tree)
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in metrics
        )


def emitted() -> set[str]:
    sources = [*(ROOT / "layers/common/oms").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    named = {told for source in sources for told in _emitted(source) if _TYPE.fullmatch(told)}
    return named | {f"Return{said}" for said in returns._SAID.values()}


def test_every_event_that_the_code_writes_has_words() -> None:
    assert emitted() - SENTENCES.keys() == set()


def test_no_words_are_kept_for_events_that_nobody_writes() -> None:
    assert SENTENCES.keys() - emitted() == set()


def test_the_list_of_events_in_the_docs_is_the_list_of_those_that_are_written() -> None:
    text = (ROOT / "docs/events.md").read_text()
    listed = text.partition("Types:")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == set(SENTENCES)


@pytest.fixture
def order() -> Order:
    return replace(an_order(), currency="USD")


@pytest.mark.parametrize("kind", sorted(SENTENCES))
def test_an_event_with_little_to_tell_still_makes_a_sentence(kind: str, order: Order) -> None:
    event = {"type": kind, "actor": "staff:sam", "cause": "because.", "data": {}}
    told = sentence(Told(event, order))
    assert told[0].isupper() or told.startswith("sam"), told
    assert re.search(r"[^.]\.$", told), told


def test_sentences_show_money_titles_parcels_and_carriers(order: Order) -> None:
    def tell(kind: str, actor: str = "system", cause: str = "workflow", **data: object) -> str:
        event = {"type": kind, "actor": actor, "cause": cause, "data": data}
        return sentence(Told(event, order, {"SHIRT": "Blue shirt"}, {1: "USPS 9400"}))

    assert tell("PaymentCaptured", "stripe", amount=123456) == "Stripe took $1,234.56 for the order."
    assert tell("ShipmentShipped", shipment=1, facility="main") == "Parcel 1 by USPS 9400 left main."
    assert (
        tell("LinesCancelled", "customer", "changed my mind", units={"1": 2}, refund=1999)
        == "The customer cancelled 2 × Blue shirt; $19.99 goes back. Reason: changed my mind."
    )
    assert (
        tell("OrderHeld", "staff:sam", "odd address", hold="address", owner="risk")
        == "sam put an address hold on the order, for risk to decide. Reason: odd address."
    )
    waits = {"SHIRT": {"units": 1, "expected_at": ""}}
    assert (
        tell("OrderPlaced", "customer", "POST /orders", units=2, total=4597, backordered=waits)
        == "The customer ordered 2 units for $45.97 through the web shop. 1 × Blue shirt had to be waited for."
    )
    by_phone = Told(
        {"type": "OrderPlaced", "actor": "staff:sam", "cause": "", "data": {}}, replace(order, channel="phone")
    )
    assert sentence(by_phone) == "sam took an order of the goods by phone."
    assert tell("SomethingQuiteNew") == "Something quite new (the system)."
