"""Card numbers have no place here: a body with something that reads like one is refused before anything else sees it.

What reads like one: 13 to 19 digits, in groups or not, with a brand's prefix and length and a good check digit, in any
value or name of the body. What looks like it and is none: ids, phone numbers (written with a plus), and article
numbers (GTIN), which have a check digit of their own: those of thirteen digits anywhere, those of fourteen in fields
that hold such codes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

CODE_FIELDS = frozenset({"barcode", "barcodes", "code", "gtin"})

_DIGITS = re.compile(r"\d+(?:[ \-._/·\u00a0\u2007-\u2015\u202f]{1,2}\d+)*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Prefix and lengths, as the brands publish them: Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay,
# Maestro.
_BRANDS = (
    (re.compile(r"4"), {13, 16, 19}),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), {16}),
    (re.compile(r"3[47]"), {15}),
    (re.compile(r"30[0-5]|309|3[689]"), {14, 16, 17, 18, 19}),
    (re.compile(r"6011|64[4-9]|65"), {16, 17, 18, 19}),
    (re.compile(r"352[89]|35[3-8]"), {16, 17, 18, 19}),
    (re.compile(r"62|81"), {16, 17, 18, 19}),
    (re.compile(r"50|5[6-8]|6"), {13, 14, 15, 16, 17, 18, 19}),
)


def find_card(node: Any) -> str | None:
    """The path of the first value or name that reads like a card number, or None. The path tells no number."""
    return next(_search(node, "", ""), None)


def _search(node: Any, path: str, name: str) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if reads_like_card(key):
                yield path or "(body)"
                continue
            yield from _search(value, f"{path}.{key}" if path else key, key)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _search(value, f"{path}[{index}]", name)
    elif isinstance(node, str | int | float) and reads_like_card(_spelled(node), code=name in CODE_FIELDS):
        yield path or "(body)"


def _spelled(value: str | int | float) -> str:
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def reads_like_card(text: str, *, code: bool = False) -> bool:
    """Whether some run of digits in a text could be a card's; ``code``: in a field that holds article numbers."""
    if len(text) < 13 or _UUID.fullmatch(text):
        return False
    plain = "".join(
        str(unicodedata.decimal(each, each)) if each.isdecimal() else each
        for each in unicodedata.normalize("NFKC", text)
        if unicodedata.category(each) != "Cf"  # zero width: it would hide a number from us and from no reader
    )
    for run in _DIGITS.finditer(plain):
        if plain[: run.start()].endswith("+"):
            continue
        groups = re.findall(r"\d+", run.group())
        for first in range(len(groups)):
            number = ""
            for group in groups[first:]:
                number += group
                if len(number) > 19:
                    break
                if len(number) >= 13 and _is_card(number, code):
                    return True
    return False


def _is_card(number: str, code: bool) -> bool:
    if len(number) <= (14 if code else 13) and _is_gtin(number):
        return False
    if not any(len(number) in lengths and prefix.match(number) for prefix, lengths in _BRANDS):
        return False
    doubled = [int(each) * (1 + place % 2) for place, each in enumerate(reversed(number))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _is_gtin(number: str) -> bool:
    return sum(int(each) * (3 if place % 2 else 1) for place, each in enumerate(reversed(number))) % 10 == 0
