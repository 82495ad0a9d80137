"""The whole life of an order in one process, and everything about it that AWS puts on a bill."""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from benchmarks import shop
from benchmarks.meter import Meter
from oms.fulfillment.facilities import put_facility
from oms.inventory.model import Listing, Movement, Product
from oms.runtime import telemetry
from tests.simulation.backend import host_of
from tests.simulation.faults import Plane
from tests.simulation.pumps import Pump, SchedulePump
from tests.simulation.scheduler import Task
from tests.simulation.staff import DOCK
from tests.simulation.system import Reply, System, reply_of

CHANNELS = ("etsy", "ebay")
_SHORT_REQUEST_ID = re.compile(r'"request-\d+"')
_REQUEST_ID = '"00000000-0000-4000-8000-000000000000"'
_OVERHEAD = 26
"""Bytes that CloudWatch Logs adds to every event before it bills them."""


class Largest(random.Random):
    """Dice that always show the largest batch: nothing waits longer than it must."""

    def randint(self, a: int, b: int) -> int:
        return b

    def randrange(self, *args: Any, **kwargs: Any) -> int:
        return 0


@dataclass(slots=True)
class Invocations:
    """How often a function ran and how long it was busy: seconds of CPU of our code, and calls that it waited for."""

    count: int = 0
    cpu: float = 0.0
    aws_calls: int = 0
    other_calls: int = 0


@dataclass(slots=True)
class Usage:
    """What one or many orders used."""

    write_units: float = 0.0
    index_units: float = 0.0
    read_units: float = 0.0
    functions: dict[str, Invocations] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    """Through API Gateway, by route."""
    sqs: Counter[str] = field(default_factory=Counter)
    """Requests that SQS bills, ours and the event source's."""
    transitions: list[str] = field(default_factory=list)
    log_events: int = 0
    log_bytes: int = 0
    outside: Counter[str] = field(default_factory=Counter)
    """Calls to other people's services, by service and what was asked."""

    @property
    def invocations(self) -> int:
        return sum(each.count for each in self.functions.values())


class Life:
    """The simulation's system without faults, telling its metrics and logs, moved on in a fixed order."""

    def __init__(self, latencies: Mapping[str, float] | None = None) -> None:
        self.latencies = latencies or {}
        """How long other people's services take to answer, in virtual seconds; those not named take no time."""
        self.system = System("benchmark", Plane(random.Random(0)))
        self.log = StringIO()
        self.last_calls: dict[str, float] = {}
        """When each service was called last, in virtual time."""
        self.refused: Counter[str] = Counter()
        """Calls that a service answered with 429."""
        self._executions: dict[str, int] = {}

    @contextmanager
    def running(self) -> Iterator[Life]:
        """Set everything up, with what the functions log in ``self.log``."""
        metrics, record = telemetry._metrics, telemetry._record
        before = os.environ.pop("POWERTOOLS_METRICS_DISABLED", None)  # the simulation wants none
        log = logging.getLogger(telemetry.logger.name)
        handlers = list(log.handlers)
        try:
            with self.system.running():
                telemetry._metrics, telemetry._record = metrics, record
                log.handlers = handlers
                log.setLevel("INFO")
                with shop.logs_in(self.log):
                    self._listen()
                    yield self
        finally:
            if before is not None:
                os.environ["POWERTOOLS_METRICS_DISABLED"] = before

    def _listen(self) -> None:
        system = self.system
        self.meter = Meter(system.cloud)
        self._stranger = 0.0
        for name, core in system.cores.items():
            core.handle = self._timed(name, core.handle)
        self._exchange = system.wire.exchange
        system.wire.exchange = self._slow_exchange  # type: ignore[method-assign]
        self._invoke = system.lambdas.invoke
        system.lambdas.invoke = self._counted_invoke  # type: ignore[method-assign]
        self._call = system.call
        system.call = self._counted_call  # type: ignore[method-assign]
        for pump in system.pumps:
            if hasattr(pump, "rng"):
                pump.rng = Largest()
        self.reset()

    # ---- the story -----------------------------------------------------------------------------------------------

    def furnish(self, skus: Mapping[str, int], channels: tuple[str, ...] = CHANNELS) -> None:
        """Products with stock, listed on the channels, and a dock for parcels."""
        app = self.system._app(self.system.template.function_at("inventory_sync/stock_api"))
        now = datetime.fromtimestamp(self.system.clock.now, UTC)
        put_facility(app.inventory, DOCK, now, "main")
        for sku, units in skus.items():
            app.inventory.put_product(Product(sku, sku.title(), 1999, "USD", (f"code-{sku}",), {}, 200), now)
            app.inventory.move(Movement("receive", sku, units, "main", "A1", "opening stock", "system", sku, now))
            for channel in channels:
                told = {"sku": sku, "title": sku, "price_minor": 2500, "currency": "USD", "quantity": 0}
                listed = self.system.control(channel, "POST", "/_sim/listings", told).json()["listings"][0]
                app.inventory.put_listing(Listing(sku, channel, listed["listing_id"]), now)
        self.settle()

    def request(self, entry: str, route: str, **kwargs: Any) -> Reply:
        """One request to a function, answered, and nothing after it."""
        task = self.system.call(entry, route, **kwargs)
        while not task.done.is_set:
            self._resume(next(each for each in self.system.scheduler.runnable() if each is task))
        return reply_of(task)

    def settle(self, horizon: float = 60.0, longest: float = 3600.0) -> None:
        """Deliver and run until nothing moves any more within ``horizon`` seconds, but clocks and people, or until
        ``longest`` have passed: what never comes to rest is shown by what it has not done."""
        end = self.system.clock.now + longest
        self._run(lambda: min(end, self.system.clock.now + horizon))

    def run_until(self, moment: float) -> None:
        """Deliver and run what comes until ``moment``."""
        self._run(lambda: moment)
        self.system.clock.advance_to(moment)

    def _run(self, limit: Callable[[], float]) -> None:
        scheduler, clock = self.system.scheduler, self.system.clock
        while True:
            ready = scheduler.runnable()
            if ready:
                self._resume(ready[0])
                continue
            pump = next((each for each in self._pumps() if each.ready(clock.now)), None)
            if pump:
                pump.deliver(clock.now)
                continue
            coming = [moment for moment in (scheduler.next_wake(), *self._due()) if moment and moment > clock.now]
            if not coming or min(coming) > limit():
                return
            clock.advance_to(min(coming) + 1e-6)  # the clock keeps microseconds, and moments may have more

    def _pumps(self) -> list[Pump]:
        return [pump for pump in self.system.pumps if not isinstance(pump, SchedulePump)]

    def _due(self) -> Iterator[float | None]:
        return (pump.next_time(self.system.clock.now) for pump in self._pumps())

    def _resume(self, task: Task) -> None:
        began = time.thread_time() - self.meter.cpu - self._stranger
        self.system.scheduler.resume(task)
        spent = time.thread_time() - self.meter.cpu - self._stranger - began
        function = self._running.get(task.number)
        if function:
            function.cpu += spent
            if task.pending is not None and hasattr(task.pending, "service"):
                if task.pending.service in self.system.cores:
                    function.other_calls += 1
                else:
                    function.aws_calls += 1

    # ---- counting ------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Count from here."""
        self.meter.reset()
        self.log.seek(0)
        self.log.truncate()
        self._usage = Usage()
        self._running: dict[int, Invocations] = {}
        executions = self.system.workflows.executions
        self._executions = {name: len(each.states) for name, each in executions.items()}

    def usage(self) -> Usage:
        """What was used since ``reset``."""
        usage, meter = self._usage, self.meter
        usage.write_units, usage.index_units = meter.write_units, meter.index_units
        usage.read_units = meter.read_units
        for name, count in meter.calls.items():
            service, _, operation = name.partition(".")
            if service == "sqs":
                usage.sqs[f"{operation} by our functions"] += count
        for name, execution in self.system.workflows.executions.items():
            usage.transitions += execution.states[self._executions.get(name, 0) :]
        text = _SHORT_REQUEST_ID.sub(_REQUEST_ID, self.log.getvalue())
        lines = [line.encode() for line in text.splitlines() if line]
        usage.log_events, usage.log_bytes = len(lines), sum(len(line) + _OVERHEAD for line in lines)
        return usage

    def _counted_invoke(self, function: Any, event: Any, *args: Any, **kwargs: Any) -> Task:
        records = event.get("Records", [{}]) if isinstance(event, dict) else [{}]
        if records[0].get("eventSource") == "aws:sqs":
            self._usage.sqs["ReceiveMessage by the event source"] += 1
            self._usage.sqs["DeleteMessageBatch by the event source"] += 1
            self._tell_apart(records)
        task = self._invoke(function, event, *args, **kwargs)
        name = f"{function.path.parent.name}/{function.short}"
        seen = self._usage.functions.setdefault(name, Invocations())
        seen.count += 1
        self._running[task.number] = seen
        return task

    def _tell_apart(self, records: list[dict[str, Any]]) -> None:
        """Every message its own receipt: the simulation gives a batch one, and a pause is asked for by receipt."""
        received = {record["messageId"]: record for record in records}
        for message in self.system.cloud.messages(records[0]["eventSourceARN"].rpartition(":")[2]):
            record = received.get(message["id"])
            if record:
                message["receipt_handle"] = record["receiptHandle"] = f"{record['receiptHandle']}-{message['id']}"

    def _counted_call(self, entry: str, route: str, **kwargs: Any) -> Task:
        self._usage.requests[route] += 1
        return self._call(entry, route, **kwargs)

    def _slow_exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Any:
        answer = self._exchange(method, url, headers, body)
        seconds = self.latencies.get(host_of(url).partition(".")[0])
        if seconds:
            self.system.scheduler.sleep(seconds)
        return answer

    def _timed(self, name: str, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def timed(request: Any) -> Any:
            if not request.path.startswith("/_sim/"):
                self._usage.outside[f"{name} {request.method} {request.path}"] += 1
                self.last_calls[name] = self.system.clock.now
            began = time.thread_time()
            try:
                response = handle(request)
            finally:
                self._stranger += time.thread_time() - began
            self.refused[name] += response.status == 429
            return response

        return timed
