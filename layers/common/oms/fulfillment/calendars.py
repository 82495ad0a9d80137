"""When a facility works and when carriers collect there: from a moment to the collection that a parcel can still catch.

Days and hours are the facility's own, in its time zone; what leaves here is UTC again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HORIZON_DAYS = 60
_LAST_MINUTE = "23:59"


def zone(name: str) -> tzinfo:
    """A time zone by name; UTC also where no zone data is installed. Raises ``ValueError`` for one that is not there,
    be it misspelt or its data missing."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = bool(available_timezones())
        wanted = "must be the name of a time zone, for example Europe/Berlin"
        raise ValueError(wanted if known else "only UTC works: no time zone data is installed") from None


class NeverOpen(Exception):
    """A facility that does not open within two months ships nothing."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """``opening`` maps days to (from, to); without any the facility never closes. ``cut_offs`` maps shipping methods
    (``*`` is all the others) to the hour when the carrier collects; without one that is when the facility closes.
    ``handling_days`` says how many working days a method may wait after the first collection that it could catch."""

    time_zone: str = "UTC"
    opening: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    holidays: frozenset[str] = frozenset()
    cut_offs: Mapping[str, str] = field(default_factory=dict)
    handling_days: Mapping[str, int] = field(default_factory=dict)

    def works_on(self, day: date) -> bool:
        """Whether the facility opens on that day."""
        return day.isoformat() not in self.holidays and (not self.opening or DAYS[day.weekday()] in self.opening)

    def collection(self, day: date, method: str) -> datetime:
        """When parcels of a method are collected on a working day."""
        closes = self.opening[DAYS[day.weekday()]][1] if self.opening else _LAST_MINUTE
        at = self.cut_offs.get(method) or self.cut_offs.get("*") or closes
        return datetime.combine(day, time.fromisoformat(at), zone(self.time_zone)).astimezone(UTC)

    def collections(
        self, now: datetime, method: str, has_room: Callable[[date], bool] = lambda day: True
    ) -> tuple[datetime, datetime]:
        """The next collection that a parcel can catch on a day with room for it, and the one that it has to catch.
        Raises ``NeverOpen``."""
        day = now.astimezone(zone(self.time_zone)).date()
        found: datetime | None = None
        left = self.handling_days.get(method, self.handling_days.get("*", 0))
        for _ in range(_HORIZON_DAYS):
            if self.works_on(day):
                at = self.collection(day, method)
                if found is not None:
                    left -= 1
                elif at > now and has_room(day):
                    found = at
                if found is not None and left <= 0:
                    return found, at
            day += timedelta(days=1)
        raise NeverOpen

    def local_day(self, moment: datetime) -> date:
        """The facility's own date."""
        return moment.astimezone(zone(self.time_zone)).date()
