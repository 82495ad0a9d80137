"""What can go wrong with a call, as data: each kind says where it may strike and what it does.

``Plane`` decides whether a call is struck. A random plane draws a handful of kinds and rates from the seed (so that one
run is throttled, another one crashes, a third one has a bad Stripe); an explicit plane strikes the calls it is told to.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.simulation.backend import Answer, Call, answer, aws_error
from tests.simulation.scheduler import Crash, Scheduler


class Refused(Exception):
    """No connection: the call had no effect."""


class Lost(Exception):
    """The call may have had its effect, but no answer came."""


class Cut(Lost):
    """The connection broke while the answer was on its way."""


Execute = Callable[[], Answer]


class Grounds(Protocol):
    """What a fault may use besides the call."""

    scheduler: Scheduler
    rng: random.Random

    def stale(self, call: Call, execute: Execute) -> Answer:
        """Answer a read from the past."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault on a call."""

    name: str
    story: str
    strikes: Callable[[Call], bool]
    act: Callable[[Grounds, Call, Execute], Answer]


KINDS: dict[str, Kind] = {}


def _kind(strikes: Callable[[Call], bool]) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    def register(act: Callable[..., Answer]) -> Callable[..., Answer]:
        KINDS[act.__name__] = Kind(act.__name__, (act.__doc__ or "").strip(), strikes, act)
        return act

    return register


# ---- where -------------------------------------------------------------------------------------------------------


def anywhere(call: Call) -> bool:
    return True


def aws(call: Call) -> bool:
    return call.service in {"dynamodb", "sqs", "stepfunctions", "secretsmanager", "sesv2"}


def http(call: Call) -> bool:
    return not aws(call)


def _dynamodb(call: Call) -> bool:
    return call.service == "dynamodb"


def _transaction(call: Call) -> bool:
    return call.operation in {"TransactWriteItems", "TransactGetItems"}


def _write_transaction(call: Call) -> bool:
    return call.operation == "TransactWriteItems"


def _stripe(call: Call) -> bool:
    return call.service == "stripe"


def _stripe_write(call: Call) -> bool:
    return call.service == "stripe" and call.mutates


def _index_read(call: Call) -> bool:
    return call.operation == "Query" and "IndexName" in call.data


def _lazy_read(call: Call) -> bool:
    if call.operation == "BatchGetItem":
        return any(not each.get("ConsistentRead") for each in call.data["RequestItems"].values())
    return (
        call.operation in {"GetItem", "Query"} and not call.data.get("ConsistentRead") and "IndexName" not in call.data
    )


def _batch(call: Call) -> bool:
    return call.operation in {"BatchGetItem", "BatchWriteItem", "SendMessageBatch"}


def _write(call: Call) -> bool:
    return call.mutates


# ---- processes ---------------------------------------------------------------------------------------------------


@_kind(anywhere)
def crash_before(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The process dies before the call leaves it."""
    raise Crash(call.site)


@_kind(_write)
def crash_after(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The process dies once the call has had its effect and before it sees the answer."""
    execute()
    raise Crash(call.site)


@_kind(anywhere)
def slow_past_timeout(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The call works but takes so long that Lambda kills the invocation."""
    result = execute()
    grounds.scheduler.sleep(901.0)
    return result


@_kind(anywhere)
def pause_before(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The process is frozen for a few seconds before the call."""
    grounds.scheduler.sleep(grounds.rng.uniform(0.5, 4.0))
    return execute()


@_kind(anywhere)
def pause_after(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The effect is there at once, the answer takes a few seconds."""
    result = execute()
    grounds.scheduler.sleep(grounds.rng.uniform(0.5, 4.0))
    return result


# ---- the network -------------------------------------------------------------------------------------------------


@_kind(anywhere)
def refused(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The connection is refused: no effect."""
    raise Refused(call.site)


@_kind(anywhere)
def request_lost(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The request never arrives and no answer comes: looks like ``answer_lost`` but has no effect."""
    raise Lost(call.site)


@_kind(_write)
def answer_lost(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The call takes effect and its answer never arrives."""
    execute()
    raise Lost(call.site)


@_kind(_write)
def connection_cut(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The call takes effect and the connection breaks before the answer is complete."""
    execute()
    raise Cut(call.site)


# ---- AWS ---------------------------------------------------------------------------------------------------------


@_kind(aws)
def throttled(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The service refuses for its rate."""
    code = "RequestThrottled" if call.service == "sqs" else "ThrottlingException"
    return aws_error(code, "Rate exceeded")


@_kind(_dynamodb)
def capacity_exceeded(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """A partition is hot: no effect."""
    return aws_error("ProvisionedThroughputExceededException", "The level of configured throughput was exceeded")


@_kind(aws)
def internal_error(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """500 without an effect."""
    return aws_error("InternalServerError", "Internal server error", 500)


@_kind(lambda call: aws(call) and call.mutates)
def internal_error_after(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """500 although the call took effect."""
    execute()
    return aws_error("InternalServerError", "Internal server error", 500)


@_kind(aws)
def unavailable(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """503 without an effect."""
    return aws_error("ServiceUnavailable", "Service unavailable", 503)


@_kind(_transaction)
def transaction_conflict(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """Another transaction holds one of the items: cancelled, nothing written."""
    count = len(call.data["TransactItems"])
    struck = grounds.rng.randrange(count)
    reasons = [
        {"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}
        if n == struck
        else {"Code": "None"}
        for n in range(count)
    ]
    return _cancelled(reasons)


@_kind(_transaction)
def transaction_throttled(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The transaction is cancelled because one of its items was throttled."""
    reasons = [{"Code": "None"} for _ in call.data["TransactItems"]]
    reasons[-1] = {"Code": "ThrottlingError", "Message": "Throughput exceeds the current capacity"}
    return _cancelled(reasons)


@_kind(_write_transaction)
def transaction_in_progress(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The same token is still being worked on."""
    return aws_error(
        "TransactionInProgressException", "The transaction with the given request token is already in progress."
    )


def _cancelled(reasons: list[dict[str, Any]]) -> Answer:
    codes = ", ".join(reason["Code"] for reason in reasons)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return aws_error("TransactionCanceledException", message, CancellationReasons=reasons)


@_kind(_index_read)
def stale_index(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """A secondary index lags behind its table."""
    return grounds.stale(call, execute)


@_kind(_lazy_read)
def stale_read(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """A read that did not ask for consistency is served by a lagging replica."""
    return grounds.stale(call, execute)


@_kind(_batch)
def partial_batch(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """A batch call succeeds for some of its entries only."""
    data = json.loads(json.dumps(call.data))
    if call.operation == "SendMessageBatch":
        if len(data["Entries"]) < 2:
            return execute()
        failed = data["Entries"].pop()
        call.data["Entries"][:] = data["Entries"]
        status, headers, body = execute()
        payload = json.loads(body)
        payload["Failed"] = [{"Id": failed["Id"], "SenderFault": False, "Code": "InternalError", "Message": "lost"}]
        return answer(payload, status, {name: value for name, value in headers.items() if name != "x-amz-crc32"})
    member = "Keys" if call.operation == "BatchGetItem" else None
    left: dict[str, Any] = {}
    for table, request in call.data["RequestItems"].items():
        entries = request["Keys"] if member else request
        if len(entries) > 1:
            kept = entries.pop()
            left[table] = {**request, "Keys": [kept]} if member else [kept]
    status, headers, body = execute()
    payload = json.loads(body)
    payload["UnprocessedKeys" if member else "UnprocessedItems"] = left
    return answer(payload, status)


# ---- other people's services -------------------------------------------------------------------------------------


@_kind(http)
def http_500(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """500 without an effect."""
    return _problem(500)


@_kind(lambda call: http(call) and call.mutates)
def http_500_after(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """500 although the work was done."""
    execute()
    return _problem(500)


@_kind(http)
def http_503(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """The service is down for maintenance."""
    return _problem(503)


@_kind(http)
def http_429(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """Too many requests; come back in a moment."""
    return (
        429,
        {"content-type": "application/json", "retry-after": "2"},
        b'{"error":{"message":"slow down","type":"rate"}}',
    )


@_kind(http)
def http_garbage(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """A proxy answers 502 with a page that is not JSON."""
    return 502, {"content-type": "text/html"}, b"<html>Bad gateway</html>"


@_kind(_stripe_write)
def stripe_replays_500(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """Stripe failed once with this key and repeats that answer to whoever comes with it again."""
    grounds.stripe_poison(call)  # type: ignore[attr-defined]
    return _problem(500)


@_kind(_stripe)
def stripe_key_in_use(grounds: Grounds, call: Call, execute: Execute) -> Answer:
    """409: another request with the same idempotency key is under way."""
    body = {"error": {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "in use"}}
    return answer(body, 409)


def _problem(status: int) -> Answer:
    body = {"error": {"type": "api_error", "message": "An unknown error occurred"}}
    return status, {"content-type": "application/json"}, json.dumps(body).encode()


# ---- faults that are not about a call ------------------------------------------------------------------------------

DELIVERY: Mapping[str, str] = {
    "duplicate_delivery": "a queue message is delivered again after it was done",
    "concurrent_delivery": "two consumers get the same queue message at the same time",
    "reordered_delivery": "queue messages come in another order than they were sent",
    "delayed_delivery": "a queue message or webhook comes late",
    "stream_replay": "a stream batch is delivered again although it succeeded",
    "poison_message": "a queue delivers a message nobody of ours wrote",
    "stream_lost": "records are trimmed before they were read",
    "webhook_duplicate": "a provider delivers an event twice, under the same id",
    "webhook_reordered": "a provider's events come in another order than they happened",
    "webhook_late": "an event comes hours or days after it happened",
    "webhook_lost": "an event never comes",
    "tick_missed": "the scheduler skips a tick",
    "tick_twice": "the scheduler fires twice for one tick",
    "clock_skew": "one process's clock runs ahead or behind by some seconds",
    "cold_start": "the process's caches are gone",
    "task_repeated": "Step Functions runs a task's function twice",
    "token_lost": "the workflow's task was handed out, but nobody answers it in time",
    "stripe_down": "Stripe does not answer anybody for a while",
    "channel_down": "one channel does not answer for a while",
}
"""Faults of deliveries, processes and time, struck by the pumps and the world."""


@dataclass(slots=True)
class Plane:
    """Decides, counts and remembers which faults struck where."""

    rng: random.Random
    rates: Mapping[str, float] = field(default_factory=dict)
    at: Mapping[int, str] = field(default_factory=dict)
    """Explicit strikes: number of the call (from 0) to the fault's name."""
    budget: int = 10_000
    active: bool = True
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    number: int = -1

    @classmethod
    def drawn(cls, rng: random.Random, *, intensity: float = 1.0) -> Plane:
        """A seed's own climate: some kinds, each with a rate of its own."""
        names = [*KINDS, *DELIVERY]
        chosen = rng.sample(names, k=rng.randint(3, min(16, len(names))))
        rates = {name: rng.choice((0.005, 0.02, 0.06)) * intensity for name in sorted(chosen)}
        for name in rates:
            if name in DELIVERY:
                rates[name] = min(0.5, rates[name] * 5)
        return cls(rng, rates, budget=rng.choice((1, 3, 10, 30, 60)))

    def choose(self, call: Call) -> Kind | None:
        """The fault that strikes this call, if any."""
        self.number += 1
        self.seen[call.site] += 1
        if self.number in self.at:
            kind = KINDS[self.at[self.number]]
            if kind.strikes(call):
                self.count(kind.name, call.site)
                return kind
            return None
        if not self.active or self.budget <= 0 or not self.rates:
            return None
        for name, rate in self.rates.items():
            kind_or_none = KINDS.get(name)
            if kind_or_none and kind_or_none.strikes(call) and self.rng.random() < rate:
                self.budget -= 1
                self.count(name, call.site)
                return kind_or_none
        return None

    def strikes(self, name: str, site: str) -> bool:
        """Does this delivery fault strike here?"""
        self.seen[site] += 1
        if not self.active or self.budget <= 0 or self.rng.random() >= self.rates.get(name, 0.0):
            return False
        self.budget -= 1
        self.count(name, site)
        return True

    def count(self, name: str, site: str) -> None:
        """Note that a fault struck."""
        self.struck[name, site] += 1

    def heal(self) -> None:
        """No more faults from here on."""
        self.active = False


def matrix(struck: Mapping[tuple[str, str], int], kinds: Iterable[str] = (*KINDS, *DELIVERY)) -> str:
    """Fault kinds by call site, as a readable table."""
    sites = sorted({site for _, site in struck})
    names = [name for name in kinds if any(kind == name for kind, _ in struck)]
    lines = ["fault kind".ljust(24) + "total  call sites struck"]
    for name in names:
        hits = {site: struck[name, site] for site in sites if struck.get((name, site))}
        shown = ", ".join(f"{site} ×{count}" for site, count in sorted(hits.items(), key=lambda hit: (-hit[1], hit[0])))
        lines.append(f"{name.ljust(24)}{sum(hits.values()):5d}  {shown}")
    return "\n".join(lines)
