"""The two views over a table's export that ``docs/campaigns.md`` makes in Athena, made in SQLite instead."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from oms.customers.people import Profile
from oms.customers.segments import span_ms

KINDS = ("spent", "channels", "countries", "methods", "skus")


@contextmanager
def views(profiles: Iterable[Profile]) -> Iterator[sqlite3.Connection]:
    """A database with ``people`` and ``people_counts`` of these profiles."""
    database = sqlite3.connect(":memory:")
    database.execute(
        "CREATE TABLE people (person_id TEXT, orders INT, cancelled INT, units INT,"
        " first_order_at TEXT, last_order_at TEXT, span_ms INT, marketing BOOLEAN)"
    )
    database.execute("CREATE TABLE people_counts (person_id TEXT, kind TEXT, name TEXT, n INT)")
    for each in profiles:
        times = each.first_order_at, each.last_order_at
        row = (each.person_id, each.orders, each.cancelled, each.units, *times, span_ms(*times), each.marketing)
        database.execute("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        counts = [(each.person_id, kind, name, n) for kind in KINDS for name, n in getattr(each, kind).items()]
        database.executemany("INSERT INTO people_counts VALUES (?, ?, ?, ?)", counts)
    try:
        yield database
    finally:
        database.close()
