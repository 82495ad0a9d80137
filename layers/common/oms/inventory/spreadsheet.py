"""Products as rows of a spreadsheet: cells in and out.

A CSV row changes only the columns that the file has; an empty cell empties its field. Prices are decimal, several codes
stand with spaces between, ``kit`` is ``SKU:2|SKU:1``, ``specs`` and ``vendors`` are JSON, and ``spec:<name>`` is a
column for one specification. What is exported and imported again changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oms.inventory.barcodes import kind_of
from oms.runtime.cells import plain

COLUMNS = (
    "sku",
    "title",
    "price",
    "currency",
    "barcodes",
    "barcode_kinds",
    "specs",
    "weight_grams",
    "dimensions_mm",
    "vendors",
    "track",
    "min_life_days",
    "hs_code",
    "origin_country",
    "kit",
    "stripes",
    "safety_stock",
    "low_stock_at",
    "backorder",
    "archived",
)
SPEC = "spec:"
DELIMITERS = ",;\t|"
_PRICE = re.compile(r"([0-9]{1,7})(?:[.,]([0-9]{1,2}))?")


def cells_of(document: Mapping[str, Any]) -> list[str]:
    """A product's cells in the order of ``COLUMNS``."""
    price, size = document["price"], document["dimensions_mm"]
    declared = {code: kind for code, kind in document["barcode_kinds"].items() if kind != _by_its_looks(code)}
    told = {
        **document,
        "price": f"{price['amount'] // 100}.{price['amount'] % 100:02d}",
        "currency": price["currency"],
        "barcodes": " ".join(document["barcodes"]),
        "barcode_kinds": " ".join(f"{code}:{kind}" for code, kind in declared.items()),
        "specs": _json(document["specs"]),
        "dimensions_mm": "x".join(map(str, size)) if size else "",
        "vendors": _json(document["vendors"]),
        "track": " ".join(document["track"]),
        "kit": "|".join(f"{part['sku']}:{part['quantity']}" for part in document["kit"]),
        "backorder": "true" if document["backorder"] else "false",
        "archived": "true" if document["archived"] else "false",
    }
    return ["" if told[name] is None else str(told[name]) for name in COLUMNS]


def _by_its_looks(code: str) -> str:
    try:
        return kind_of(code)
    except ValueError:
        return ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else ""


def strangers(header: Sequence[str]) -> list[str]:
    """Columns that mean nothing to us, and those that stand twice."""
    known = [name for name in header if name in COLUMNS or (name.startswith(SPEC) and len(name) > len(SPEC))]
    return [name for name in header if name not in known or header.count(name) > 1]


class CellsWrong(Exception):
    """Cells that cannot be read, by column."""

    def __init__(self, wrong: Sequence[tuple[str, str]]) -> None:
        super().__init__(", ".join(name for name, _ in wrong))
        self.wrong = tuple(wrong)


def with_cells(document: Mapping[str, Any], row: Mapping[str, str]) -> dict[str, Any]:
    """The product's document with a row's cells in it. Raises ``CellsWrong``."""
    result = dict(document)
    wrong: list[tuple[str, str]] = []
    for name, raw in row.items():
        cell = plain(raw)
        try:
            if name.startswith(SPEC):
                specs = {key: value for key, value in result.get("specs", {}).items() if key != name[len(SPEC) :]}
                result["specs"] = {**specs, name[len(SPEC) :]: cell} if cell else specs
            elif name in ("price", "currency"):
                _set_price(result, name, cell.strip())
            elif cell.strip() or name == "title":
                result[name] = _READ.get(name, str)(cell if name in ("title", "specs") else cell.strip())
            else:
                result.pop(name, None)
        except (ValueError, TypeError) as error:
            wrong.append((name, str(error)))
    if "barcodes" in row and "barcode_kinds" not in row:
        kinds = result.get("barcode_kinds", {})
        result["barcode_kinds"] = {code: kinds[code] for code in result.get("barcodes", ()) if code in kinds}
    if wrong:
        raise CellsWrong(wrong)
    return result


def _set_price(document: dict[str, Any], name: str, cell: str) -> None:
    price = dict(document.get("price", {}))
    if name == "currency":
        price["currency"] = cell
    else:
        match = _PRICE.fullmatch(cell)
        if not match:
            raise ValueError("a price like 19.99")
        price["amount"] = int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0"))
    document["price"] = price


def _whole(cell: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", cell):
        raise ValueError("a whole number")
    return int(cell)


def _yes_or_no(cell: str) -> bool:
    if cell.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return cell.lower() == "true"


def _size(cell: str) -> list[int]:
    return [_whole(part.strip()) for part in cell.lower().split("x")]


def _kinds(cell: str) -> dict[str, str]:
    if not all(":" in pair for pair in cell.split()):
        raise ValueError("barcodes with their kinds, like 4006381333931:ean-13")
    return {code: kind for code, _, kind in (pair.partition(":") for pair in cell.split())}


def _kit(cell: str) -> list[dict[str, Any]]:
    parts = [part.rpartition(":") for part in cell.split("|")]
    if not all(sku.strip() for sku, _, _ in parts):
        raise ValueError("parts like SHIRT:2|MUG:1")
    return [{"sku": sku.strip(), "quantity": _whole(each.strip())} for sku, _, each in parts]


def _from_json(cell: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise ValueError("not valid JSON") from None


_READ: Mapping[str, Callable[[str], Any]] = {
    "barcodes": str.split,
    "barcode_kinds": _kinds,
    "specs": _from_json,
    "vendors": _from_json,
    "track": str.split,
    "dimensions_mm": _size,
    "kit": _kit,
    "weight_grams": _whole,
    "stripes": _whole,
    "min_life_days": _whole,
    "safety_stock": _whole,
    "low_stock_at": _whole,
    "backorder": _yes_or_no,
    "archived": _yes_or_no,
}
