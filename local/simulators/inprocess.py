"""A ``Transport`` that reaches simulator cores without a network, for tests and the simulation."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from local.simulators.core import Core, Request
from oms.runtime.outbound import HttpRequest, HttpResponse, Transport, Unreachable


def transport_to(cores: Mapping[str, Core]) -> Transport:
    """Requests go to the core named by the host of their address: ``http://stripe/v1/refunds``."""

    def send(request: HttpRequest, *, timeout: float) -> HttpResponse:
        parts = urlsplit(request.url)
        core = cores.get(parts.hostname or "")
        if core is None:
            raise Unreachable(f"Nothing answers at {parts.hostname}.")
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        answer = core.handle(Request.to(request.method, target, request.headers, request.body))
        return HttpResponse(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.body)

    return send
