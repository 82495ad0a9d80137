"""A simulated system of the merchant's own that listens to our webhooks: it keeps them, and fails as it is told to.

Whatever is POSTed to ``/`` is kept. ``GET /_sim/messages`` shows it, ``POST /_sim/config {"status": 503}`` makes it
refuse from now on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local.simulators.core import Clock, Deliver, Request, Response


@dataclass(frozen=True, slots=True)
class Heard:
    """One message that was taken."""

    headers: dict[str, str]
    body: bytes
    told: dict[str, Any]


class SubscriberCore:
    """Takes everything; a receiver of ours would verify, and forget what it has seen by its number."""

    def __init__(self, clock: Clock, deliver: Deliver) -> None:
        self.heard: list[Heard] = []
        self.status = 200

    def handle(self, request: Request) -> Response:
        """Take a message, or answer a test."""
        if request.path == "/_sim/messages":
            return Response.of(200, {"messages": [{"headers": each.headers, **each.told} for each in self.heard]})
        if request.path == "/_sim/config":
            self.status = int(request.json()["status"])
            return Response.of(200, {"status": self.status})
        if request.method != "POST":
            return Response.of(404, {"error": "POST webhooks here"})
        if self.status < 300:
            self.heard.append(Heard(dict(request.headers), request.body, request.json()))
        return Response.of(self.status, {})
