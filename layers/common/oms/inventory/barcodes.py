"""Barcodes: what kind one is, and by which keys a scanner finds it.

A code that is nothing but 8, 12, 13 or 14 digits is taken for a GTIN (EAN-8, UPC-A, EAN-13, GTIN-14) and its last digit
must be the check digit of the others: a typing error would send parcels astray. Everything else is a code of the
merchant's own. A code of one's own that happens to look like a GTIN is allowed when it is declared ``internal``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

INTERNAL = "internal"
KINDS = ("ean-8", "upc-a", "ean-13", "gtin-14", "isbn-10", "isbn-13", INTERNAL)

_BY_LENGTH = {8: "ean-8", 12: "upc-a", 13: "ean-13", 14: "gtin-14"}
_NAMES = {"ean-8": "EAN-8", "upc-a": "UPC", "ean-13": "EAN-13", "gtin-14": "GTIN-14"}


def kind_of(code: str, declared: str | None = None) -> str:
    """The kind of a code as declared, or as it looks. Raises ``ValueError`` saying what a merchant can do about it."""
    if declared == INTERNAL:
        return INTERNAL
    if declared in ("isbn-10", "isbn-13"):
        return _isbn(code, declared)
    looks_like = _BY_LENGTH.get(len(code)) if code.isascii() and code.isdigit() else None
    if declared is not None and looks_like != declared:
        digits = next(length for length, kind in _BY_LENGTH.items() if kind == declared)
        raise ValueError(f"{code} is not {digits} digits, which {_NAMES[declared]} is")
    if looks_like is None:
        return INTERNAL
    from stdnum import ean

    if not ean.is_valid(code):
        raise ValueError(
            f"{code} looks like {_NAMES[looks_like]}, but its last digit should be {ean.calc_check_digit(code[:-1])}; "
            f"correct it, or declare it in barcode_kinds as {INTERNAL} if it is a code of your own"
        )
    return looks_like


def _isbn(code: str, declared: str) -> str:
    from stdnum import isbn

    plain = isbn.compact(code)
    if plain != code:
        raise ValueError(f"{code} is written without hyphens and spaces: {plain}")
    if not isbn.is_valid(code) or len(code) != int(declared[-2:]):
        raise ValueError(f"{code} is not a valid {declared.upper()}")
    return declared


@dataclass(frozen=True, slots=True)
class Read:
    """What a barcode says: the code to look the SKU up by, and perhaps of which unit or lot it is."""

    code: str
    lot: str = ""
    expires: str = ""
    serial: str = ""


_SEPARATOR = "\x1d"
_SYMBOLOGY = ("]C1", "]d2", "]Q3", "]e0")


def read_barcode(code: str) -> Read:
    """A barcode as it was scanned. A GS1 element string, as scanners send it or as it is printed beneath the bars,
    ``(01)…(17)…(10)…``, also tells the lot, the expiry and the serial number; any other code is only itself."""
    plain = code
    if code.startswith(_SYMBOLOGY):
        plain = code[3:]
    elif code.startswith("(01)"):
        plain = re.sub(r"\((\d{2,4})\)", rf"{_SEPARATOR}\1", code)
    elif _SEPARATOR not in code:
        return Read(code)
    from stdnum import exceptions, gs1_128

    try:
        told = gs1_128.info(plain.strip(_SEPARATOR), separator=_SEPARATOR)
    except (exceptions.ValidationError, ValueError):
        return Read(code)
    day = told.get("17") or told.get("15")
    expires = day.isoformat() if day else ""
    return Read(str(told.get("01", code)), str(told.get("10", "")), expires, str(told.get("21", "")))


def claims(kinds: Mapping[str, str]) -> dict[str, str]:
    """The keys under which codes of these kinds are found, each with its code: a key belongs to one SKU only."""
    found = {lookup_key(code): code for code in kinds}
    for code, kind in kinds.items():
        if kind == "isbn-10":
            from stdnum import isbn

            # What is printed on the book is the bar of its ISBN-13.
            found.setdefault(lookup_key(isbn.to_isbn13(code)), code)
    return found


def lookup_key(code: str) -> str:
    """The key of a code as it was scanned. GTINs are padded to 14 digits, because scanners read the same UPC-A as 12
    digits or as 13."""
    return code.zfill(14) if len(code) in _BY_LENGTH and code.isascii() and code.isdigit() else code
