"""Event source mappings and schedules with Lambda's semantics, driven one delivery at a time by the world.

A pump never acts by itself. It says how many deliveries it could make now, and makes one when it is told to. So the
order in which streams, queues and clocks reach our functions is the seed's choice, like everything else.
"""

from __future__ import annotations

import json
import random
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.simulation.backend import Cloud, sqs
from tests.simulation.faults import Plane
from tests.simulation.lambdas import Lambdas, queue_event
from tests.simulation.scheduler import Task
from tests.simulation.template import Function, Source, matches


class Pump(Protocol):
    """Something that can deliver."""

    name: str

    def ready(self, now: float) -> bool:
        """Could it deliver now?"""
        ...

    def deliver(self, now: float) -> None:
        """Make one delivery."""
        ...

    def next_time(self, now: float) -> float | None:
        """When it will be ready if nothing else happens; None when it has nothing."""
        ...

    def idle(self) -> bool:
        """Nothing to deliver and nothing in flight."""
        ...


@dataclass(slots=True)
class _Batch:
    records: list[dict[str, Any]]
    attempts: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class _Shard:
    waiting: deque[dict[str, Any]] = field(default_factory=deque)
    batches: deque[_Batch] = field(default_factory=deque)
    busy: bool = False


class StreamPump:
    """A DynamoDB stream mapping: shards, order per item, bisect, partial failures, retries, age, destination."""

    SHARDS = 3

    def __init__(
        self, source: Source, function: Function, cloud: Cloud, lambdas: Lambdas, plane: Plane, rng: random.Random
    ) -> None:
        self.source, self.function, self.cloud, self.lambdas = source, function, cloud, lambdas
        self.plane, self.rng = plane, rng
        self.name = f"{source.target} stream → {function.short}"
        self.abandoned: list[dict[str, Any]] = []
        """Records that were given up, as the on-failure destination would hear of them."""
        self._position = 0
        self._shards = [_Shard() for _ in range(self.SHARDS)]

    def _fetch(self) -> None:
        records = self.cloud.records(self.source.target, self._position)
        self._position += len(records)
        for record in records:
            if self.source.patterns and not any(matches(pattern, record) for pattern in self.source.patterns):
                continue
            key = record["dynamodb"]["Keys"]["pk"]["S"]
            self._shards[zlib.crc32(key.encode()) % self.SHARDS].waiting.append(record)

    def _open(self, now: float) -> list[_Shard]:
        self._fetch()
        return [
            shard
            for shard in self._shards
            if not shard.busy and (shard.waiting or (shard.batches and shard.batches[0].not_before <= now))
        ]

    def ready(self, now: float) -> bool:
        return bool(self._open(now))

    def next_time(self, now: float) -> float | None:
        if self.ready(now):
            return now
        times = [shard.batches[0].not_before for shard in self._shards if shard.batches and not shard.busy]
        return min(times) if times else None

    def idle(self) -> bool:
        self._fetch()
        return not any(shard.waiting or shard.batches or shard.busy for shard in self._shards)

    def deliver(self, now: float) -> None:
        shards = self._open(now)
        shard = shards[self.rng.randrange(len(shards))]
        if shard.batches:
            if shard.batches[0].not_before > now:
                return
            batch = shard.batches.popleft()
        else:
            if self.plane.strikes("stream_lost", self.name):
                shard.waiting.clear()
                return
            size = min(len(shard.waiting), self.rng.randint(1, self.source.batch_size))
            batch = _Batch([shard.waiting.popleft() for _ in range(size)])
        if self._too_old(batch, now):
            return
        shard.busy = True
        self._invoke(shard, batch)

    def _too_old(self, batch: _Batch, now: float) -> bool:
        fresh = [
            record
            for record in batch.records
            if now - record["dynamodb"]["ApproximateCreationDateTime"] <= self.source.max_age
        ]
        self._give_up([record for record in batch.records if record not in fresh])
        batch.records = fresh
        return not fresh

    def _invoke(self, shard: _Shard, batch: _Batch) -> None:
        def done(task: Task) -> None:
            shard.busy = False
            self._settle(shard, batch, task)

        self.lambdas.invoke(self.function, {"Records": batch.records}, done)

    def _settle(self, shard: _Shard, batch: _Batch, task: Task) -> None:
        now = self.lambdas.scheduler.clock.now
        records = batch.records
        if task.error is None:
            failed = (task.result or {}).get("batchItemFailures", []) if self.source.partial else []
            names = {entry["itemIdentifier"] for entry in failed}
            numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
            if names and not names <= set(numbers):
                start = 0
            elif names:
                # Lambda's checkpoint is the lowest sequence number that failed: all after it come again.
                start = min(position for position, number in enumerate(numbers) if number in names)
            else:
                if self.plane.strikes("stream_replay", self.name):
                    shard.batches.appendleft(_Batch(records, 0, now))
                return
            # What was checkpointed is done; what remains starts as it would after a bisect of this batch.
            self._retry(shard, _Batch(records[start:], batch.attempts), now, bisect=False)
            return
        self._retry(shard, batch, now, bisect=self.source.bisect)

    def _retry(self, shard: _Shard, batch: _Batch, now: float, *, bisect: bool) -> None:
        attempts = batch.attempts + 1
        if attempts > self.source.retries:
            self._give_up(batch.records)
            return
        delay = now + min(60.0, 0.5 * 2**attempts)
        if bisect and len(batch.records) > 1:
            middle = len(batch.records) // 2
            shard.batches.appendleft(_Batch(batch.records[middle:], attempts, delay))
            shard.batches.appendleft(_Batch(batch.records[:middle], attempts, delay))
        else:
            shard.batches.appendleft(_Batch(batch.records, attempts, delay))

    def _give_up(self, records: list[dict[str, Any]]) -> None:
        if not records:
            return
        self.abandoned.extend(records)
        if self.source.on_failure in sqs._queue_name_to_url:
            note = {
                "requestContext": {"functionArn": self.function.name, "condition": "RetryAttemptsExhausted"},
                "DDBStreamBatchInfo": {
                    "startSequenceNumber": records[0]["dynamodb"]["SequenceNumber"],
                    "endSequenceNumber": records[-1]["dynamodb"]["SequenceNumber"],
                    "batchSize": len(records),
                },
            }
            data = {"QueueUrl": self.cloud.queue_url(self.source.on_failure), "MessageBody": json.dumps(note)}
            self.cloud.execute("sqs", "SendMessage", data)

    def skip_to_end(self) -> None:
        """Forget everything unread, as if the mapping had been made anew with LATEST."""
        self._fetch()
        for shard in self._shards:
            shard.waiting.clear()


class QueuePump:
    """An SQS mapping: visibility, duplicates, any order, partial failures, receive counts and the dead-letter queue."""

    def __init__(
        self, source: Source, function: Function, cloud: Cloud, lambdas: Lambdas, plane: Plane, rng: random.Random
    ) -> None:
        self.source, self.function, self.cloud, self.lambdas = source, function, cloud, lambdas
        self.plane, self.rng = plane, rng
        self.name = f"{source.target} → {function.short}"
        self.in_flight = 0
        self.limit = 2

    def _visible(self, now: float) -> list[dict[str, Any]]:
        queue = self.cloud.queue(self.source.target)
        if not queue["messages"]:
            return []
        sqs._expire_retained(queue)
        sqs._dlq_sweep(queue)
        return [message for message in queue["messages"] if message["visible_at"] <= now]

    def ready(self, now: float) -> bool:
        return self.in_flight < self.limit and bool(self._visible(now))

    def next_time(self, now: float) -> float | None:
        times = [message["visible_at"] for message in self.cloud.messages(self.source.target)]
        return max(now, min(times)) if times else None

    def idle(self) -> bool:
        return self.in_flight == 0 and not self.cloud.messages(self.source.target)

    def deliver(self, now: float) -> None:
        queue = self.cloud.queue(self.source.target)
        visible = self._visible(now)
        if self.plane.strikes("delayed_delivery", self.name):
            visible[0]["visible_at"] = now + self.rng.choice((5.0, 120.0, 3600.0))
            return
        if self.plane.strikes("reordered_delivery", self.name):
            self.rng.shuffle(visible)
        batch = visible[: self.rng.randint(1, max(1, self.source.batch_size))]
        if self.plane.strikes("poison_message", self.name):
            self._poison()
        twice = self.plane.strikes("concurrent_delivery", self.name)
        timeout = float(queue["attributes"]["VisibilityTimeout"])
        for place, message in enumerate(batch):
            message["receive_count"] += 1
            message["receipt_handle"] = f"receipt-{self.lambdas.invocations}-{place}-{message['receive_count']}"
            message["first_receive_at"] = message.get("first_receive_at") or now
            message["visible_at"] = now if twice else now + timeout
        self.in_flight += 1
        event = queue_event(self.source.target, batch)

        def done(task: Task) -> None:
            self.in_flight -= 1
            self._settle(batch, task)

        self.lambdas.invoke(self.function, event, done)

    def _poison(self) -> None:
        body = self.rng.choice(("not json", '{"unexpected": true}', "[]", '{"order_id": 7}'))
        data = {"QueueUrl": self.cloud.queue_url(self.source.target), "MessageBody": body}
        self.cloud.execute("sqs", "SendMessage", data)
        self.cloud.messages(self.source.target)[-1]["poison"] = True

    def _settle(self, batch: list[dict[str, Any]], task: Task) -> None:
        if task.error is not None:
            return
        failed = (task.result or {}).get("batchItemFailures", []) if self.source.partial else []
        names = {entry["itemIdentifier"] for entry in failed}
        if names - {message["id"] for message in batch}:
            return
        done = [message for message in batch if message["id"] not in names]
        if done and self.plane.strikes("duplicate_delivery", self.name):
            late = done.pop()
            late["visible_at"] = self.lambdas.scheduler.clock.now + self.rng.choice((0.0, 1.0, 600.0))
        messages = self.cloud.messages(self.source.target)
        gone = {id(message) for message in done}
        messages[:] = [message for message in messages if id(message) not in gone]


class SchedulePump:
    """EventBridge Scheduler: one tick a period, sometimes twice, sometimes never."""

    def __init__(
        self,
        source: Source,
        function: Function,
        lambdas: Lambdas,
        plane: Plane,
        clock: Callable[[], float],
    ) -> None:
        self.source, self.function, self.lambdas, self.plane = source, function, lambdas, plane
        self.name = f"schedule {source.target} → {function.short}"
        self._next = clock() + source.every
        self.ticks = 0

    def ready(self, now: float) -> bool:
        return now >= self._next

    def next_time(self, now: float) -> float | None:
        return self._next

    def idle(self) -> bool:
        return True

    def deliver(self, now: float) -> None:
        # Ticks that were due while time leapt are not made up for.
        self._next = now + self.source.every
        if self.plane.strikes("tick_missed", self.name):
            return
        if self.plane.strikes("tick_twice", self.name):
            self.fire()
        self.fire()

    def fire(self) -> None:
        """Start one run now."""
        self.ticks += 1
        self.lambdas.invoke(self.function, json.loads(self.source.payload))


def dead_letters(cloud: Cloud) -> dict[str, list[dict[str, Any]]]:
    """Messages in queues that other queues name as their dead-letter queue."""
    names = set()
    for queue in cloud.template.queues:
        policy = queue["Attributes"].get("RedrivePolicy")
        if policy:
            names.add(str(json.loads(policy)["deadLetterTargetArn"]).rpartition(":")[2])
    return {name: cloud.messages(name) for name in sorted(names)}


def redrive(cloud: Cloud) -> int:
    """What an operator does after the alarm: move dead letters back to the queues that they came from; how many."""
    moved = 0
    for queue in cloud.template.queues:
        policy = queue["Attributes"].get("RedrivePolicy")
        if not policy:
            continue
        letters = cloud.messages(str(json.loads(policy)["deadLetterTargetArn"]).rpartition(":")[2])
        source = cloud.messages(queue["QueueName"])
        arn = cloud.queue(queue["QueueName"])["attributes"]["QueueArn"]
        for message in [each for each in letters if each["sys"].get("DeadLetterQueueSourceArn") == arn]:
            letters.remove(message)
            if message.get("poison"):
                continue  # Nobody of ours wrote it: the operator throws it away.
            message["receive_count"] = 0
            source.append(message)
            moved += 1
    return moved
