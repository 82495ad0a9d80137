"""HTTP to other people's services, behind one call that tests and the simulation can replace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol


class Unreachable(Exception):
    """No answer came: refused, timed out or cut off. Whether the other side acted is unknown."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One outgoing request; ``body`` is sent byte for byte."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back; header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; ``ValueError`` when it is not."""
        return json.loads(self.body or b"null")


class Transport(Protocol):
    """Sends a request once. Retrying is the caller's decision, since only the caller knows what is safe to repeat."""

    def __call__(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        """Return the answer whatever its status, or raise ``Unreachable``."""
        ...


@cache
def urllib3_transport() -> Transport:
    """The transport that really sends: pooled connections, no redirects, no retries."""
    import urllib3

    pool = urllib3.PoolManager(maxsize=4)

    def send(request: HttpRequest, *, timeout: float) -> HttpResponse:
        try:
            answer = pool.request(
                request.method,
                request.url,
                body=request.body or None,
                headers=dict(request.headers),
                timeout=urllib3.Timeout(connect=min(2.0, timeout), read=timeout),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(str(error)) from error
        lowered = {name.lower(): value for name, value in answer.headers.items()}
        return HttpResponse(answer.status, lowered, answer.data)

    return send
