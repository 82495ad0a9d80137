"""Rows out of a file that is never held whole: each with its line and where in the file the next one begins, so that
reading goes on from there after a crash."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from oms.inventory.spreadsheet import DELIMITERS, strangers
from oms.runtime.cells import plain

MAX_RECORD_BYTES = 128 * 1024
_PIECE = 64 * 1024
_BOM = b"\xef\xbb\xbf"


class FileUnreadable(Exception):
    """The file as a whole cannot be imported; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Raw:
    """One record as it stands in the file. ``end`` is the offset, ``next_line`` the line behind it."""

    line: int
    end: int
    next_line: int
    cells: tuple[str, ...] = ()
    problem: str = ""


@dataclass(slots=True)
class Lines:
    """Physical lines of a stream from an offset on; lines can be given back."""

    stream: Any
    offset: int = 0
    line: int = 1
    _buffer: bytearray = field(default_factory=bytearray)
    _ended: bool = False
    _back: deque[bytes] = field(default_factory=deque)

    def take(self) -> bytes | None:
        """The next line with its end; None at the end of the file. Raises ``FileUnreadable``."""
        found = self._back.popleft() if self._back else self._read()
        if found is not None:
            self.offset += len(found)
            self.line += 1
        return found

    def give_back(self, lines: list[bytes]) -> None:
        """Let these lines, the last ones taken, be taken again."""
        self._back.extendleft(reversed(lines))
        self.offset -= sum(map(len, lines))
        self.line -= len(lines)

    def _read(self) -> bytes | None:
        searched = 0
        while (at := self._buffer.find(b"\n", searched)) < 0 and not self._ended:
            if len(self._buffer) > MAX_RECORD_BYTES:
                raise FileUnreadable(f"Line {self.line} is longer than {MAX_RECORD_BYTES // 1024} KB.")
            searched = len(self._buffer)
            piece = self.stream.read(_PIECE)
            self._ended = not piece
            self._buffer += piece
        size = at + 1 if at >= 0 else len(self._buffer)
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found or None


def header_of(lines: Lines) -> tuple[list[str], str]:
    """The columns and the delimiter, the one under which most columns are known. Raises ``FileUnreadable``."""
    first = lines.take() or b""
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FileUnreadable("The file is UTF-16; save it as CSV UTF-8.")
    try:
        text = first.removeprefix(_BOM).decode()
    except UnicodeDecodeError:
        raise FileUnreadable("The first line is not UTF-8; save the file as CSV UTF-8.") from None

    def read(delimiter: str) -> list[str]:
        cells = next(csv.reader([text], delimiter=delimiter), [])
        return [_column(plain(cell)) for cell in cells]

    header, delimiter = max(
        ((read(each), each) for each in DELIMITERS), key=lambda found: len(found[0]) - 2 * len(strangers(found[0]))
    )
    if wrong := strangers(header):
        raise FileUnreadable(
            f"The first line must name columns; these are not known or stand twice: {', '.join(wrong)}"
        )
    if "sku" not in header:
        raise FileUnreadable("There is no column sku.")
    return header, delimiter


def _column(cell: str) -> str:
    bare = cell.strip()
    return bare if bare.lower().startswith("spec:") else bare.lower().replace(" ", "_")


def csv_records(lines: Lines, delimiter: str) -> Iterator[Raw]:
    """CSV records from where the lines stand; what cannot be read is a problem of its own line only."""
    taken: list[bytes] = []
    broken = ""

    def feed() -> Iterator[str]:
        nonlocal broken
        while (line := lines.take()) is not None:
            taken.append(line)
            if sum(map(len, taken)) > MAX_RECORD_BYTES:
                raise csv.Error("unexpected end of data")
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                broken = f"not UTF-8 at byte {error.start + 1} of line {lines.line - 1}; save the file as CSV UTF-8"
                text = line.decode(errors="replace")
            yield text.replace("\0", "\ufffd")

    reader = csv.reader(feed(), delimiter=delimiter, strict=True)
    while True:
        taken.clear()
        broken = ""
        begun = lines.line
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if len(taken) > 1:
                lines.give_back(taken[1:])
            what = "a quote opens here and never closes" if "end of data" in str(error) else str(error)
            reader = csv.reader(feed(), delimiter=delimiter, strict=True)
            yield Raw(begun, lines.offset, lines.line, problem=broken or what)
            continue
        if cells:
            yield Raw(begun, lines.offset, lines.line, tuple(cells), broken)


def json_records(lines: Lines) -> Iterator[Raw]:
    """Lines of JSON, their text in the only cell; empty ones are left out."""
    while (line := lines.take()) is not None:
        begun = lines.line - 1
        try:
            text = line.removeprefix(_BOM if begun == 1 else b"").decode().strip()
        except UnicodeDecodeError as error:
            yield Raw(begun, lines.offset, lines.line, problem=f"not UTF-8 at byte {error.start + 1}")
            continue
        if text:
            yield Raw(begun, lines.offset, lines.line, (text,))
