"""Stripe's request bodies: nested form fields, read strictly against what an operation accepts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from local.simulators.stripe.errors import invalid

Parser = Callable[[str, Any], Any]
"""Turns the raw value of the named parameter into ours, or raises ``ApiError``."""

_CODES = (
    "aed ars aud bgn brl cad chf clp cny cop czk dkk eur gbp hkd huf idr ils inr isk jpy krw kwd "
    "mxn myr nok nzd pen php pln ron rsd sar sek sgd thb try twd uah usd uyu vnd zar"
)
CURRENCIES = frozenset(_CODES.split())
_SEGMENT = re.compile(r"\[([^\[\]]*)\]")


def decode(encoded: str) -> dict[str, Any]:
    """``a[b]=1&c[]=x&c[]=y`` as nested dicts; a list is a dict with the keys "0", "1", …"""
    decoded: dict[str, Any] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        head, *_ = name.split("[", 1)
        node, key = decoded, head
        for segment in _SEGMENT.findall(name):
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                raise invalid("A parameter is both a value and a container.", param=name)
            node, key = child, segment or str(len(child))
        node[key] = value
    return decoded


def read(
    raw: Mapping[str, Any], accepted: Mapping[str, Parser], *, required: tuple[str, ...] = (), at: str = ""
) -> dict[str, Any]:
    """The parameters, parsed. Unknown ones and missing ones are refused, as Stripe refuses them."""
    for name in raw:
        if name == "payment_method_types" and not at:
            raise invalid(
                "payment_method_types can no longer be set; use automatic_payment_methods instead.",
                code="payment_method_types_no_longer_supported",
                param=name,
            )
        path = _path(at, name)
        if name not in accepted:
            raise invalid(f"Received unknown parameter: {path}", code="parameter_unknown", param=path)
    for name in required:
        path = _path(at, name)
        if raw.get(name, "") == "":
            raise invalid(f"Missing required param: {path}.", code="parameter_missing", param=path)
    return {name: accepted[name](_path(at, name), value) for name, value in raw.items()}


def text(maximum: int = 5000) -> Parser:
    """A string that is not empty."""

    def parse(name: str, raw: Any) -> str:
        if not isinstance(raw, str):
            raise invalid("Invalid string.", param=name)
        if raw == "":
            raise invalid("An empty string is not a value.", code="parameter_invalid_empty", param=name)
        if len(raw) > maximum:
            raise invalid(f"At most {maximum} characters.", code="parameter_invalid_string_too_long", param=name)
        return raw

    return parse


def integer(minimum: int = 0) -> Parser:
    """A whole number of at least ``minimum``."""

    def parse(name: str, raw: Any) -> int:
        if not isinstance(raw, str) or not re.fullmatch(r"-?\d{1,18}", raw):
            raise invalid("Invalid integer.", code="parameter_invalid_integer", param=name)
        if int(raw) < minimum:
            raise invalid(f"Must be at least {minimum}.", code="parameter_invalid_integer", param=name)
        return int(raw)

    return parse


def flag(name: str, raw: Any) -> bool:
    """``true`` or ``false``."""
    if raw not in ("true", "false"):
        raise invalid("Must be true or false.", param=name)
    return bool(raw == "true")


def choice(*values: str) -> Parser:
    """One of ``values``."""

    def parse(name: str, raw: Any) -> str:
        if raw not in values:
            raise invalid(f"Must be one of {', '.join(values)}.", param=name)
        return str(raw)

    return parse


def currency(name: str, raw: Any) -> str:
    """A three-letter code, lower case."""
    if not isinstance(raw, str) or raw.lower() not in CURRENCIES:
        raise invalid("Invalid currency.", param=name)
    return raw.lower()


def metadata(name: str, raw: Any) -> dict[str, str]:
    """At most 50 keys of 40 characters with values of 500; an empty value unsets its key."""
    if raw == "":
        return {}
    if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
        raise invalid("Metadata is a set of key and text pairs.", param=name)
    if len(raw) > 50 or any(len(key) > 40 or len(value) > 500 for key, value in raw.items()):
        raise invalid("Metadata is too long.", param=name)
    return dict(raw)


def mapping(accepted: Mapping[str, Parser], *, required: tuple[str, ...] = ()) -> Parser:
    """A nested object."""

    def parse(name: str, raw: Any) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise invalid("Invalid object.", param=name)
        return read(raw, accepted, required=required, at=name)

    return parse


def sequence(item: Parser) -> Parser:
    """A list."""

    def parse(name: str, raw: Any) -> list[Any]:
        if not isinstance(raw, dict) or not all(key.isdigit() for key in raw):
            raise invalid("Invalid array.", param=name)
        return [item(f"{name}[{key}]", raw[key]) for key in sorted(raw, key=int)]

    return parse


def moment(name: str, raw: Any) -> dict[str, int]:
    """A time or a range of times, as Stripe's lists filter by ``created``."""
    if isinstance(raw, dict):
        bounds = mapping({bound: integer() for bound in ("gt", "gte", "lt", "lte")})
        parsed: dict[str, int] = bounds(name, raw)
        return parsed
    exact = integer()(name, raw)
    return {"gte": exact, "lte": exact}


def unmodelled(names: str) -> dict[str, Parser]:
    """Published parameters which this core does not act on, and so refuses; names are separated by blanks."""

    def refuse(name: str, raw: Any) -> Any:
        raise invalid("The local Stripe does not model this.", code="not_simulated", param=name)

    return dict.fromkeys(names.split(), refuse)


def _path(at: str, name: str) -> str:
    return f"{at}[{name}]" if at else name
