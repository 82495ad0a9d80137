"""Cells of a spreadsheet, written so that none of them is run as a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")


def neutral(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe stands before what could be one."""
    return f"'{text}" if text.startswith((*_DANGEROUS, "'")) else text


def plain(cell: str) -> str:
    """The inverse of ``neutral``; an apostrophe before anything else is a part of the text."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*_DANGEROUS, "'")) else cell


def line_of(cells: Iterable[str]) -> bytes:
    """One CSV record, every cell neutral."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow([neutral(cell) for cell in cells])
    return written.getvalue().encode()
