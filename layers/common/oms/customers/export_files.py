"""The files that exports of people leave: CSV that no spreadsheet runs, and Parquet with typed columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from oms.runtime.cells import line_of
from oms.runtime.clock import from_text

TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
WHO = {"marketing": ("email", "name", "customer_id"), "analysis": ("person",)}
FIGURES = {
    "orders": "orders",
    "cancelled_orders": "cancelled",
    "units": "units",
    "days_between_orders": "days_between_orders",
    "first_order_at": "first_order_at",
    "last_order_at": "last_order_at",
    "spent": "spent",
    "channels": "channels",
    "countries": "countries",
    "methods": "methods",
    "skus": "skus",
}
"""Columns, and what of a profile they tell. ``spent`` is minor units by currency."""
_TIMES = ("first_order_at", "last_order_at")
_COUNTED = ("spent", "channels", "countries", "methods", "skus")

Row = Mapping[str, Any]


class Target(Protocol):
    """Where a file goes."""

    def write(self, data: bytes) -> int: ...


class Sheet(Protocol):
    """A file that takes rows."""

    def write(self, rows: Sequence[Row]) -> None: ...


@contextmanager
def sheet(format: str, purpose: str, target: Target) -> Iterator[Sheet]:
    """A file of a format, with its columns, finished at the end of the block."""
    columns = (*WHO[purpose], *FIGURES)
    if format == "csv":
        yield _Csv(columns, target)
        return
    parquet = _Parquet(columns, target)
    yield parquet
    parquet.close()


class _Csv:
    def __init__(self, columns: Sequence[str], target: Target) -> None:
        self._columns, self._target = columns, target
        target.write(line_of(columns))

    def write(self, rows: Sequence[Row]) -> None:
        self._target.write(b"".join(line_of(_cell(row[name]) for name in self._columns) for row in rows))


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return "|".join(f"{name}:{count}" for name, count in value.items())
    return "" if value is None else str(value)


class _Parquet:
    """One row group for each part, so that no more than a part is in memory."""

    def __init__(self, columns: Sequence[str], target: Target) -> None:
        import pyarrow
        from pyarrow import parquet

        kinds = {
            **{name: pyarrow.int64() for name in FIGURES},
            **{name: pyarrow.timestamp("ms", tz="UTC") for name in _TIMES},
            **{name: pyarrow.map_(pyarrow.string(), pyarrow.int64()) for name in _COUNTED},
        }
        self._schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in columns])
        self._table = pyarrow.Table.from_pylist
        self._writer = parquet.ParquetWriter(pyarrow.PythonFile(target, mode="w"), self._schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> None:
        told = [{name: _value(name, row[name]) for name in self._schema.names} for row in rows]
        self._writer.write_table(self._table(told, self._schema))

    def close(self) -> None:
        self._writer.close()


def _value(name: str, value: Any) -> Any:
    if name in _TIMES:
        return from_text(value) if value else None
    return list(value.items()) if name in _COUNTED else value
