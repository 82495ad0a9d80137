"""Spreadsheets: what is exported and imported again is the same, and no cell runs."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from oms.inventory.catalogue import document, product_of
from oms.inventory.forms import ProductForm
from oms.inventory.rows import FileUnreadable, Lines, csv_records, header_of, json_records
from oms.inventory.spreadsheet import COLUMNS, CellsWrong, cells_of, with_cells
from oms.runtime.cells import line_of, neutral, plain
from oms.runtime.http import checked

text: some.SearchStrategy[str] = some.text(
    some.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40
).filter(str.strip)
printable = text.filter(lambda value: value.strip().isprintable())
skus = some.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._/ +-]{0,20}[A-Za-z0-9]\Z")
products = some.fixed_dictionaries(
    {
        "sku": skus,
        "title": text,
        "price": some.fixed_dictionaries(
            {"amount": some.integers(1, 99_999_999), "currency": some.sampled_from(["EUR", "USD"])}
        ),
        "barcodes": some.sets(some.sampled_from(["036000291452", "X-1-2", "73513537"])).map(sorted),
        "specs": some.dictionaries(printable, some.text(some.characters(exclude_categories=["Cs"])), max_size=3),
        "weight_grams": some.integers(0, 9999),
        "dimensions_mm": some.none() | some.lists(some.integers(1, 999), min_size=3, max_size=3),
        "vendors": some.lists(
            some.fixed_dictionaries(
                {"vendor": printable, "cost": some.integers(0, 999), "preferred": some.just(False)}
            ),
            max_size=2,
            unique_by=lambda vendor: str(vendor["vendor"]).strip(),
        ),
        "track": some.sampled_from([[], ["lot"], ["serial", "expiry"]]),
        "hs_code": some.none() | some.just("610910"),
        "origin_country": some.none() | some.just("PT"),
        "kit": some.sampled_from([[], [{"sku": "P 1", "quantity": 2}, {"sku": "P+2", "quantity": 1}]]),
        "archived": some.booleans(),
        "low_stock_at": some.none() | some.integers(0, 9),
    }
)


def told(form: dict[str, Any]) -> dict[str, Any]:
    return document(product_of(checked(ProductForm, form), None))


def read(content: bytes) -> list[tuple[int, tuple[str, ...], str]]:
    """Line, cells and problem of every record behind the header."""
    lines = Lines(io.BytesIO(content))
    _, delimiter = header_of(lines)
    return [(raw.line, raw.cells, raw.problem) for raw in csv_records(lines, delimiter)]


@given(products, products)
@settings(max_examples=40, deadline=None)
def test_an_export_is_imported_as_the_same_product_whatever_was_there(form: Any, before: Any) -> None:
    exported = told(form)
    lines = Lines(io.BytesIO(line_of(COLUMNS) + line_of(cells_of(exported))))
    header, delimiter = header_of(lines)
    (raw,) = csv_records(lines, delimiter)
    assert not raw.problem
    row = dict(zip(header, raw.cells, strict=True))
    sku = plain(row.pop("sku"))
    for document_before in ({"sku": sku}, {**told(before), "sku": sku}):
        assert told(with_cells(document_before, row)) == exported


@given(some.text())
def test_a_cell_is_neutral_and_comes_back(value: str) -> None:
    assert plain(neutral(value)) == value
    assert not neutral(value).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_gets_an_apostrophe(cell: str) -> None:
    (row,) = csv.reader(io.StringIO(line_of([cell]).decode(), newline=""))
    assert row == ["'" + cell]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    content = "\ufeffSKU,Title,Price,spec:Color\r\nA,x,1.50,red\r\n".replace(",", delimiter).encode()
    lines = Lines(io.BytesIO(content))
    assert header_of(lines) == (["sku", "title", "price", "spec:Color"], delimiter)
    assert [raw.cells for raw in csv_records(lines, delimiter)] == [("A", "x", "1.50", "red")]


def test_quoted_newlines_and_inches_keep_their_lines() -> None:
    assert read(b'sku,title\nA,"two\nlines, ""so"""\nB,12" pipe\n\nC,x\n') == [
        (2, ("A", 'two\nlines, "so"'), ""),
        (4, ("B", '12" pipe'), ""),
        (6, ("C", "x"), ""),
    ]


def test_what_cannot_be_read_is_a_problem_of_its_own_line_only() -> None:
    found = read(b'sku,title\nA,\xe9t\xe9\nB,"open\nC,x\nD,y')
    assert [(line, bool(problem)) for line, _, problem in found] == [(2, True), (3, True), (4, False), (5, False)]
    assert "not UTF-8 at byte 3 of line 2" in found[0][2]
    assert found[1][2] == "a quote opens here and never closes"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfes\0k\0u\0", "UTF-16"),
        (b"sku,colour\n", "colour"),
        (b"sku,sku\n", "stand twice"),
        (b"title,price\n", "no column sku"),
        (b"", "columns|no column"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_whole(content: bytes, why: str) -> None:
    with pytest.raises(FileUnreadable, match=why):
        read(content)


@given(some.integers(1, 400))
def test_reading_goes_on_from_every_checkpoint(piece: int) -> None:
    content = b"".join(f'S{n},"line\n{n}"\r\n'.encode() for n in range(20))
    whole = list(csv_records(Lines(io.BytesIO(content)), ","))
    stop = whole[piece % len(whole)]
    rest = list(csv_records(Lines(io.BytesIO(content[stop.end :]), stop.end, stop.next_line), ","))
    assert whole == whole[: piece % len(whole) + 1] + rest


def test_lines_of_json_are_read_one_by_one() -> None:
    found = list(json_records(Lines(io.BytesIO(b'\xef\xbb\xbf{"sku":"A"}\n\n{"sku":"\xff"}\n{"sku":"C"}'))))
    assert [(raw.line, bool(raw.problem)) for raw in found] == [(1, False), (3, True), (4, False)]


def test_cells_say_what_is_wrong_with_them() -> None:
    row = {"price": "a lot", "weight_grams": "1.5", "specs": "{", "kit": ":2", "archived": "maybe"}
    with pytest.raises(CellsWrong) as refused:
        with_cells({"sku": "A"}, row)
    assert [name for name, _ in refused.value.wrong] == list(row)
