"""Card numbers are found however they are written, and other numbers are left alone."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.runtime import errors
from oms.runtime.cards import find_card, reads_like_card
from oms.runtime.http import ApiRequest

TEST_CARDS = (
    *("4242424242424242", "4000056655665556", "5555555555554444", "2223003122003222", "378282246310005"),
    *("6011111111111117", "3056930009020004", "36227206271667", "3566002020360505", "6200000000000005"),
    *("4222222222222", "4000000000000000006"),
)


@pytest.mark.parametrize("number", TEST_CARDS)
@given(
    before=st.sampled_from(["", "card ", "12 ", "no.: "]),
    after=st.sampled_from(["", " 12/27", ", cvc 123", "!"]),
    groups=st.lists(st.integers(1, 6), max_size=8),
    separator=st.sampled_from([" ", "-", ".", "\u00a0", " - "[:2]]),
)
def test_a_card_number_is_found_in_any_spelling(
    number: str, before: str, after: str, groups: list[int], separator: str
) -> None:
    parts, rest = [], number
    for size in groups:
        parts.append(rest[:size])
        rest = rest[size:]
    spelled = separator.join(part for part in (*parts, rest) if part)
    grouped = before + spelled + after
    if not (number == "4222222222222" and before):
        assert reads_like_card(grouped)


def test_other_scripts_and_hidden_characters_do_not_hide_one() -> None:
    assert reads_like_card("４２４２ ４２４２ ４２４２ ４２４２")
    assert reads_like_card("٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢")
    assert reads_like_card("4242\u200b4242\u200b4242\u200b4242")


@given(st.uuids())
def test_an_id_of_ours_is_none(value: uuid.UUID) -> None:
    assert not reads_like_card(str(value))


@given(st.integers(0, 10**12 - 1))
def test_an_article_number_is_none(digits: int) -> None:
    body = f"{digits:012d}"
    check = -sum(int(each) * (3 if place % 2 == 0 else 1) for place, each in enumerate(reversed(body))) % 10
    assert not reads_like_card(body + str(check))
    assert find_card({"barcodes": [{"code": "0" + body + str(check)}]}) is None


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424241",  # a wrong check digit
        "9400111899223100001234",  # USPS
        "1Z999AA10123456784",  # UPS
        "+4917012345678",
        "2026-11-23T09:00:00.000Z",
        "12 Analytical Row, Portland 97201",
        "pi_4242424242424242abc"[:10],
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert not reads_like_card(text)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"note": "4242 4242 4242 4242"}, "note"),
        ({"lines": [{"sku": "A"}, {"sku": "4242-4242-4242-4242"}]}, "lines[1].sku"),
        ({"quantity": 4242424242424242}, "quantity"),
        ({"quantity": 4242424242424242.0}, "quantity"),
        ({"4242424242424242": "x"}, "(body)"),
        ("4242424242424242", "(body)"),
    ],
)
def test_a_body_with_a_card_is_refused_and_told_where_but_not_what(body: Any, field: str) -> None:
    request = ApiRequest("POST /orders", {}, {}, {}, json.dumps(body).encode(), {}, "r")
    with pytest.raises(errors.CardDataRefused) as refused:
        request.json()
    assert refused.value.fields[0][0] == field
    assert "4242" not in str(refused.value.detail) + str(refused.value.fields)
