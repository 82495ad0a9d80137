"""What every simulator core shares: a request, a response, a delivery, and the rules that keep cores replayable.

A core is a state machine over ``handle(request) -> response``. It does no I/O, starts no thread, never sleeps, and
takes its clock and its deliveries from outside, so that the same core serves ``make run`` over HTTP and the
deterministic simulation in process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

Clock = Callable[[], float]
"""Epoch seconds, UTC."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as a core sees it: header names are lower case, ``query`` keeps repeated values."""

    method: str
    path: str
    query: Mapping[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def to(cls, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Request:
        """Build a request from a target such as ``/v1/refunds?limit=3``."""
        parts = urlsplit(target)
        lowered = {name.lower(): value for name, value in (headers or {}).items()}
        return cls(method, parts.path, parse_qs(parts.query, keep_blank_values=True), lowered, body)

    def first(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def json(self) -> Any:
        """The body as JSON; ``ValueError`` when it is not."""
        return json.loads(self.body or b"null")


@dataclass(frozen=True, slots=True)
class Response:
    """What a core answers."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(cls, status: int, payload: Any = None, headers: Mapping[str, str] | None = None) -> Response:
        """A JSON answer; ``payload=None`` sends no body."""
        if payload is None:
            return cls(status, dict(headers or {}))
        body = json.dumps(payload, separators=(",", ":")).encode()
        return cls(status, {"content-type": "application/json", **(headers or {})}, body)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body or b"null")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook or callback on its way out; whoever hosts the core decides when, how often and in what order."""

    url: str
    headers: Mapping[str, str]
    body: bytes


Deliver = Callable[[Delivery], None]


class Core(Protocol):
    """A simulated service."""

    def handle(self, request: Request) -> Response:
        """Answer one request. Never raises for bad input: bad input has an answer of its own."""
        ...
