"""The one place that every call of our code passes: here others get their turn, and here faults strike."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from tests.simulation.backend import Answer, Call
from tests.simulation.faults import Cut, Execute, Lost, Plane, Refused
from tests.simulation.scheduler import Crash, Scheduler
from tests.simulation.trace import Trace

if TYPE_CHECKING:
    from tests.simulation.backend import Cloud


class Gate:
    """Interleaves, strikes and records calls. Outside a task (the world itself) calls pass untouched."""

    def __init__(self, scheduler: Scheduler, plane: Plane, trace: Trace) -> None:
        self.scheduler, self.plane, self.trace = scheduler, plane, trace
        self.rng: random.Random = plane.rng
        self.cloud: Cloud | None = None
        self.before_call: Callable[[Call], None] | None = None
        self.poison: Callable[[Call], None] | None = None
        self.outages: set[str] = set()
        """Services that answer nobody at the moment."""

    def __call__(self, call: Call, execute: Execute) -> Answer:
        """For AWS: network faults come out as botocore's exceptions."""
        address = f"https://{call.service}"
        try:
            return self.through(call, execute)
        except Refused as error:
            raise EndpointConnectionError(endpoint_url=address) from error
        except Cut as error:
            raise ConnectionClosedError(endpoint_url=address) from error
        except Lost as error:
            raise ReadTimeoutError(endpoint_url=address) from error

    def through(self, call: Call, execute: Execute) -> Answer:
        """Give way, then let the call happen, or what a fault makes of it."""
        task = self.scheduler.current
        if task is None:
            return execute()
        self.scheduler.give_way(call)
        if self.before_call:
            self.before_call(call)
        if call.service in self.outages:
            self.note(task.name, call, "nobody answers")
            raise Refused(call.site)
        kind = self.plane.choose(call)
        if kind is None:
            result = execute()
            self.note(task.name, call, _outcome(result))
            return result
        self.note(task.name, call, f"⚡ {kind.name}")
        try:
            result = kind.act(self, call, execute)
        except (Refused, Lost, Crash):
            raise
        self.note(task.name, call, f"⚡ {kind.name}: {_outcome(result)}")
        return result

    def note(self, who: str, call: Call, outcome: str) -> None:
        """Record a step with what it touched."""
        subject = ""
        if self.trace.lines is not None:
            subject = " " + ", ".join(sorted(call.touched()))[:200]
        self.trace.note(self.scheduler.clock.now, who, f"{call.site} {outcome}")
        if subject and self.trace.lines:
            self.trace.lines[-1] += subject

    def stale(self, call: Call, execute: Execute) -> Answer:
        """Answer a read as some changes ago."""
        if self.cloud is None:
            return execute()
        table = call.data.get("TableName") or next(iter(call.data["RequestItems"]))
        with self.cloud.as_of(str(table), self.rng.randint(1, 8)):
            return execute()

    def stripe_poison(self, call: Call) -> None:
        """Let Stripe keep a 500 for this call's idempotency key."""
        if self.poison:
            self.poison(call)


def _outcome(result: Answer) -> str:
    status, _, body = result
    if status < 400:
        return str(status)
    try:
        payload = json.loads(body)
    except ValueError:
        return str(status)
    return f"{status} {payload.get('__type') or payload.get('code') or ''}".strip()
