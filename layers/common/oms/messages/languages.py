"""How a language writes amounts, days and lists. Its texts are the templates in the folder of its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

_SIGNS: Mapping[str, str] = {"USD": "$", "EUR": "€", "GBP": "£", "CAD": "CA$", "AUD": "A$", "JPY": "¥"}
# Minor units in a major one, as ISO 4217 has them, where they are not a hundred.
_DECIMALS: Mapping[str, int] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV"), 0),
    **dict.fromkeys(("XAF", "XOF", "XPF", "ISK"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


@dataclass(frozen=True, slots=True)
class Language:
    """One language. ``money`` takes minor units and a currency; ``moment`` a time and the zone to tell it in."""

    code: str
    money: Callable[[int, str], str]
    moment: Callable[[datetime, tzinfo], str]


def _english_money(minor: int, currency: str) -> str:
    places = _DECIMALS.get(currency, 2)
    whole, part = divmod(abs(minor), 10**places)
    figure = f"{whole:,}" + (f".{part:0{places}d}" if places else "")
    sign = "−" if minor < 0 else ""
    return f"{sign}{_SIGNS[currency]}{figure}" if currency in _SIGNS else f"{sign}{figure} {currency}"


def _english_moment(moment: datetime, zone: tzinfo) -> str:
    there = moment.astimezone(zone)
    name = "UTC" if zone is UTC else there.strftime("%Z")
    return f"{there.day} {there.strftime('%B %Y, %H:%M')} {name}"


LANGUAGES: Mapping[str, Language] = {"en": Language("en", _english_money, _english_moment)}


def language(code: str) -> Language:
    """The language, or English where there is none of that code."""
    return LANGUAGES.get(code, LANGUAGES["en"])
