"""Other people's services in process: outgoing HTTP is a call like any other, answered by the simulator cores."""

from __future__ import annotations

import re
from collections.abc import Mapping

from local.simulators.core import Core, Request
from oms.runtime.outbound import HttpRequest, HttpResponse, Unreachable
from tests.simulation.backend import Answer, Call, calling_function, host_of
from tests.simulation.faults import Lost, Refused
from tests.simulation.gate import Gate

_ID = re.compile(r"/[^/]*\d[^/]*")
_VERSION = re.compile(r"/v\d+(?=/)")


def template_of(path: str) -> str:
    """A path with its ids taken out, so that one call site has one name."""
    kept = _VERSION.search(path)
    masked = _ID.sub("/*", path[kept.end() :] if kept else path)
    return (path[: kept.end()] if kept else "") + masked


class Wire:
    """Carries outgoing requests through the gate to the core that serves their host."""

    def __init__(self, gate: Gate, cores: Mapping[str, Core]) -> None:
        self.gate, self.cores = gate, cores

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """One request and its answer; raises the gate's ``Refused`` or ``Lost``."""
        service = host_of(url).partition(".")[0]
        core = self.cores[service]
        target = url.partition("://")[2].partition("/")[2]
        request = Request.to(method, f"/{target}", headers, body)
        mutates = method not in {"GET", "HEAD"}
        call = Call(
            service,
            f"{method} {template_of(request.path)}",
            calling_function(),
            {"url": f"{method} {request.path}", "headers": request.headers},
            mutates,
        )

        def execute() -> Answer:
            response = core.handle(request)
            return response.status, response.headers, response.body

        status, answered, content = self.gate.through(call, execute)
        return status, {name.lower(): value for name, value in answered.items()}, content

    def __call__(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        """The product's ``Transport``."""
        try:
            status, headers, body = self.exchange(request.method, request.url, request.headers, request.body)
        except Refused as error:
            raise Unreachable("connection refused") from error
        except Lost as error:
            self.gate.scheduler.sleep(timeout)
            raise Unreachable("no answer") from error
        return HttpResponse(status, headers, body)
