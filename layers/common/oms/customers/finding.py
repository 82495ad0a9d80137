"""By what a customer is found: words of names, e-mail, phone, postcode, each from its beginning.

An entry is an item of its own, ``FIND#customer#…``, that the customer's identity keeps with it: it is written and
deleted in the transactions that change what the identity says, so nothing is found of somebody who was forgotten.
Entries name identities, so joining two people changes none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oms.inventory.finding import folded, words

MAX_TERMS = 40
"""So many different terms of one identity are found; the rest is read only."""
SHORTEST = 2
_NUMBER = re.compile(r"[0-9 +()./-]+")
_PHONE_STARTS = 4
"""A phone is also found without its country's code, of which we do not know how long it is."""
_PHONE_DIGITS = 6

Key = tuple[str, str]


def terms(
    names: Iterable[str], emails: Iterable[str], phones: Iterable[str], postcodes: Iterable[str]
) -> tuple[str, ...]:
    """Everything by which somebody with these is found, the most telling first."""
    found: dict[str, None] = {}
    for email in emails:
        found[folded(email)] = None
    for phone in phones:
        found.update(dict.fromkeys(_numbers(phone)))
    for name in names:
        found.update(dict.fromkeys(words(name)))
    for postcode in postcodes:
        parts = words(postcode)
        whole = "".join(parts)
        found.update(dict.fromkeys([whole, _bare(whole) if whole.isdigit() else whole, *parts]))
    return tuple(term for term in found if len(term) >= SHORTEST)[:MAX_TERMS]


def typed(text: str) -> list[str]:
    """What somebody typed as beginnings of terms, which must all be found; the longest is the first."""
    if _NUMBER.fullmatch(text.strip()):
        # A phone or a postcode, however it is set.
        return [bare] if len(bare := _bare(text)) >= SHORTEST else []
    parts: list[str] = []
    for part in text.split():
        parts += [folded(part)] if "@" in part else words(part)
    return sorted((part for part in parts if len(part) >= SHORTEST), key=len, reverse=True)


def place(term: str) -> Key:
    """Where terms that begin so stand."""
    return f"FIND#customer#{term[:SHORTEST]}", term


def entry(term: str, customer_id: str) -> dict[str, str]:
    """The item by which an identity is found under a term."""
    pk, prefix = place(term)
    return {"pk": pk, "sk": f"{prefix}#{customer_id}", "entity": "find", "identity": customer_id}


def matches(found: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether each wanted beginning is one of some term."""
    known = list(found)
    return all(any(term.startswith(each) for term in known) for each in wanted)


def _numbers(phone: str) -> Iterator[str]:
    digits = _bare(phone)
    for start in range(_PHONE_STARTS):
        if start == 0 or len(digits) - start >= _PHONE_DIGITS:
            yield digits[start:]


def _bare(number: str) -> str:
    """The digits, without the zeros that are dialled before a country's or a town's code."""
    digits = "".join(char for char in number if char.isdigit())
    return digits.removeprefix("00") if digits.startswith("00") else digits.removeprefix("0")
