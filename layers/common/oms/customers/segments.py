"""Segments: which people, as conditions that are data. They are asked of a profile, or written as SQL for a large shop.

A condition looks at the profile alone and at the moment that it is asked for, so both ways, ``matches`` and ``to_sql``,
choose the same people. As an item, in answers and in requests a condition is the same plain document:
``{"all": […]}``, ``{"any": […]}``, ``{"not": …}``, or a field with what is asked of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from oms.customers.people import Profile
from oms.runtime.clock import from_text, to_text

AGES = {"days_since_first_order": "first_order_at", "days_since_last_order": "last_order_at"}
GAP = "days_between_orders"
MONEY = ("spent", "average_order")
NAMES = {"channel": "channels", "country": "countries", "method": "methods", "sku": "skus"}
CONSENT = "marketing"
_DAY_MS = 86_400_000
_COLUMNS = {"orders": "orders", "cancelled_orders": "cancelled", "units": "units"}


@dataclass(frozen=True, slots=True)
class All:
    """Every one of these."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Everybody else."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Between:
    """A number within bounds, both included; None is no bound. Days are whole ones, and somebody without an order has
    none. ``average_order`` is what was spent in ``currency`` over all orders, of those who spent in it."""

    field: str
    at_least: int | None = None
    at_most: int | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Has:
    """One of these channels, countries, payment methods or SKUs with so many orders, of a SKU so many units."""

    field: str
    any_of: tuple[str, ...]
    at_least: int = 1


@dataclass(frozen=True, slots=True)
class Welcomes:
    """Whether marketing is welcome."""

    wanted: bool


Condition = All | AnyOf | Not | Between | Has | Welcomes


def condition_of(document: Mapping[str, Any]) -> Condition:
    """The condition that a document describes, which a form has found to be one."""
    match document:
        case {"all": parts}:
            return All(tuple(condition_of(part) for part in parts))
        case {"any": parts}:
            return AnyOf(tuple(condition_of(part) for part in parts))
        case {"not": part}:
            return Not(condition_of(part))
        case {"field": name, "any_of": names}:
            return Has(name, tuple(names), document.get("at_least", 1))
        case {"is": wanted}:
            return Welcomes(wanted)
    bounds = document.get("at_least"), document.get("at_most")
    return Between(document["field"], *bounds, document.get("currency", ""))


def document_of(condition: Condition) -> dict[str, Any]:
    """The inverse of ``condition_of``."""
    match condition:
        case All(parts):
            return {"all": [document_of(part) for part in parts]}
        case AnyOf(parts):
            return {"any": [document_of(part) for part in parts]}
        case Not(part):
            return {"not": document_of(part)}
        case Has(name, names, least):
            return {"field": name, "any_of": list(names), "at_least": least}
        case Welcomes(wanted):
            return {"field": CONSENT, "is": wanted}
        case Between(name, least, most, currency):
            told = {"field": name, "currency": currency or None, "at_least": least, "at_most": most}
            return {key: value for key, value in told.items() if value is not None}


# ---- asked of a profile --------------------------------------------------------------------------------------------


def matches(condition: Condition, profile: Profile, now: datetime) -> bool:
    """Whether somebody belongs to the segment at this moment."""
    match condition:
        case All(parts):
            return all(matches(part, profile, now) for part in parts)
        case AnyOf(parts):
            return any(matches(part, profile, now) for part in parts)
        case Not(part):
            return not matches(part, profile, now)
        case Has(name, names, least):
            counted: Mapping[str, int] = getattr(profile, NAMES[name])
            return any(counted.get(each, 0) >= least for each in names)
        case Welcomes(wanted):
            return profile.marketing is wanted
        case Between():
            return _between(condition, profile, now)


def _between(asked: Between, profile: Profile, now: datetime) -> bool:
    if asked.field in AGES:
        at: str = getattr(profile, AGES[asked.field])
        after, until = _window(asked, now)
        return bool(at) and after < at <= until
    if asked.field == GAP:
        gap = profile.days_between_orders
        return gap is not None and _within(asked, gap)
    if asked.field == "average_order":
        spent = profile.spent.get(asked.currency, 0)
        return spent != 0 and profile.orders > 0 and _within(asked, spent, profile.orders)
    if asked.field == "spent":
        return _within(asked, profile.spent.get(asked.currency, 0))
    return _within(asked, getattr(profile, _COLUMNS[asked.field]))


def _within(asked: Between, value: int, times: int = 1) -> bool:
    """Whether the value lies within so many times the bounds."""
    at_least = asked.at_least is None or value >= asked.at_least * times
    return at_least and (asked.at_most is None or value <= asked.at_most * times)


def _window(asked: Between, now: datetime) -> tuple[str, str]:
    """After which moment, and until which, something is so many whole days ago."""
    after = "" if asked.at_most is None else to_text(now - timedelta(days=asked.at_most + 1))
    until = "9999" if asked.at_least is None else to_text(now - timedelta(days=asked.at_least))
    return after, until


def span_ms(first: str, last: str) -> int:
    """Milliseconds from the first order to the last; 0 without orders."""
    return (from_text(last) - from_text(first)) // timedelta(milliseconds=1) if first and last else 0


# ---- written as SQL ------------------------------------------------------------------------------------------------


def to_sql(condition: Condition, now: datetime) -> str:
    """A query for the ids of the same people, over two views that ``docs/campaigns.md`` makes of a table's export.

    ``people(person_id, orders, cancelled, units, first_order_at, last_order_at, span_ms, marketing)`` has a row for
    each person, ``people_counts(person_id, kind, name, n)`` one for each thing that is counted by name.
    """
    return f"SELECT p.person_id FROM people p WHERE {_sql(condition, now)} ORDER BY p.person_id"  # noqa: S608


def _sql(condition: Condition, now: datetime) -> str:
    match condition:
        case All(parts):
            return "(" + " AND ".join(_sql(part, now) for part in parts) + ")"
        case AnyOf(parts):
            return "(" + " OR ".join(_sql(part, now) for part in parts) + ")"
        case Not(part):
            return f"(NOT {_sql(part, now)})"
        case Has(name, names, least):
            among = ", ".join(map(_quoted, names))
            return _counted(f"c.kind = {_quoted(NAMES[name])} AND c.name IN ({among}) AND c.n >= {least}")
        case Welcomes(wanted):
            return f"(p.marketing = {str(wanted).lower()})"
        case Between():
            return _between_sql(condition, now)


def _between_sql(asked: Between, now: datetime) -> str:
    if asked.field in AGES:
        column = f"p.{AGES[asked.field]}"
        after, until = map(_quoted, _window(asked, now))
        return f"({column} <> '' AND {column} > {after} AND {column} <= {until})"
    if asked.field == GAP:
        # The profile's figure is whole days: one of 7 is less than 8.
        most = None if asked.at_most is None else asked.at_most + 1
        told = _bounds("p.span_ms", asked.at_least, f" * {_DAY_MS} * (p.orders - 1)", most, "<")
        return f"(p.orders > 1 AND {told})"
    if asked.field in MONEY:
        of_currency = f"c.kind = 'spent' AND c.name = {_quoted(asked.currency)} AND c.n <> 0"
        if asked.field == "average_order":
            average = _bounds("c.n", asked.at_least, " * q.orders", asked.at_most)
            return f"(p.orders > 0 AND {_counted(f'{of_currency} AND {average}')})"
        found = _counted(f"{of_currency} AND {_bounds('c.n', asked.at_least, '', asked.at_most)}")
        # Who never spent in it has spent nothing.
        return f"({found} OR NOT {_counted(of_currency)})" if _within(asked, 0) else found
    return f"({_bounds(f'p.{_COLUMNS[asked.field]}', asked.at_least, '', asked.at_most)})"


def _counted(where: str) -> str:
    found = "SELECT c.person_id FROM people_counts c JOIN people q ON q.person_id = c.person_id"
    return f"(p.person_id IN ({found} WHERE {where}))"


def _bounds(value: str, least: int | None, times: str, most: int | None, up_to: str = "<=") -> str:
    told = [
        *([f"{value} >= {least}{times}"] if least is not None else []),
        *([f"{value} {up_to} {most}{times}"] if most is not None else []),
    ]
    return " AND ".join(told)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
