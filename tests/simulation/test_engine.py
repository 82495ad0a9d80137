"""The machinery itself: time, tasks, streams, queues and the workflow behave as AWS says they do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.backend import Cloud, connected
from tests.simulation.determinism import EPOCH, deterministic
from tests.simulation.faults import Plane
from tests.simulation.gate import Gate
from tests.simulation.lambdas import Environments, Lambdas
from tests.simulation.pumps import QueuePump, StreamPump, dead_letters, redrive
from tests.simulation.scheduler import Crash, Event, Scheduler
from tests.simulation.template import Function, Source, Template, load, matches, parse
from tests.simulation.test_faults import TEMPLATE
from tests.simulation.trace import Trace
from tests.simulation.workflow import Workflows, fill, select

FUNCTION = Function("Work", Path("work.py"), "handler", 30.0, {})
FIRST = lambda count: 0  # noqa: E731


class Bench:
    """An engine without our handlers."""

    def __init__(self, template: Template = TEMPLATE) -> None:
        self.plane = Plane(random.Random(1))
        self.scheduler = Scheduler()
        self.gate = Gate(self.scheduler, self.plane, Trace())
        self.cloud = Cloud(template, self.gate)
        self.lambdas = Lambdas(self.scheduler, Environments(), lambda function: None)
        self.seen: list[Any] = []

    def handle(self, handler: Any) -> None:
        """What the function does with an event."""
        self.lambdas.overrides["Work"] = handler

    def put(self, pk: str, **values: str) -> None:
        item = {"pk": {"S": pk}, "sk": {"S": "x"}, **{name: {"S": value} for name, value in values.items()}}
        self.cloud.execute("dynamodb", "PutItem", {"TableName": "Things", "Item": item})

    def send(self, body: str) -> None:
        data = {"QueueUrl": self.cloud.queue_url("Letters"), "MessageBody": body}
        self.cloud.execute("sqs", "SendMessage", data)

    def pump(self, pump: Any, seconds: float = 3600.0) -> None:
        """Deliver for so long."""
        end = self.scheduler.clock.now + seconds
        while self.scheduler.clock.now < end:
            if self.scheduler.tasks:
                self.scheduler.run(FIRST)
            elif pump.ready(self.scheduler.clock.now):
                pump.deliver(self.scheduler.clock.now)
            else:
                moment = pump.next_time(self.scheduler.clock.now)
                if moment is None:
                    return
                self.scheduler.clock.advance_to(moment)


@contextmanager
def engine(template: Template = TEMPLATE) -> Iterator[Bench]:
    bench = Bench(template)
    with deterministic(1, bench.scheduler.sleep) as clock:
        bench.scheduler.clock = clock
        bench.cloud.reset()
        with connected(bench.cloud):
            yield bench


# ---- time and tasks ---------------------------------------------------------------------------------------------


def test_time_moves_only_when_everybody_waits() -> None:
    with engine() as bench:
        order: list[tuple[str, float]] = []

        def wait(name: str, seconds: float) -> None:
            bench.scheduler.sleep(seconds)
            order.append((name, bench.scheduler.clock.now - EPOCH))

        bench.scheduler.spawn("long", lambda: wait("long", 10))
        bench.scheduler.spawn("short", lambda: wait("short", 3))
        bench.scheduler.run(FIRST)
        assert order == [("short", 3.0), ("long", 10.0)]


def test_a_task_past_its_limit_is_killed_where_it_waits() -> None:
    with engine() as bench:
        task = bench.scheduler.spawn("slow", lambda: bench.scheduler.sleep(100), limit=30)
        bench.scheduler.run(FIRST)
        assert isinstance(task.error, Crash)
        assert bench.scheduler.clock.now == EPOCH + 30


def test_a_wait_ends_with_its_event_or_with_its_time() -> None:
    with engine() as bench:
        event, answers = Event(), []
        bench.scheduler.spawn("first", lambda: answers.append(bench.scheduler.wait(event, 5)))
        bench.scheduler.run(FIRST)
        event.set()
        bench.scheduler.spawn("second", lambda: answers.append(bench.scheduler.wait(event, 5)))
        bench.scheduler.run(FIRST)
        assert answers == [False, True]


# ---- streams ------------------------------------------------------------------------------------------------------

STREAM = Source("Work", "stream", "Things", batch_size=10, bisect=True, retries=3, partial=True)


def _keys(event: Any) -> list[str]:
    return [record["dynamodb"]["Keys"]["pk"]["S"] for record in event["Records"]]


def test_a_stream_delivers_every_record_and_each_item_in_order() -> None:
    with engine() as bench:
        bench.handle(
            lambda event, context: bench.seen.extend(r["dynamodb"]["NewImage"]["n"]["S"] for r in event["Records"])
        )
        for number in range(20):
            bench.put(f"item-{number % 4}", n=f"{number % 4}:{number:02d}")
        pump = StreamPump(STREAM, FUNCTION, bench.cloud, bench.lambdas, bench.plane, random.Random(3))
        bench.pump(pump)
        for item in "0123":
            mine = [seen for seen in bench.seen if seen.startswith(item)]
            assert mine == sorted(mine)
            assert len(mine) == 5


def test_a_poison_record_is_found_by_bisecting_and_given_up_after_its_retries() -> None:
    with engine() as bench:

        def handler(event: Any, context: Any) -> None:
            if "poison" in _keys(event):
                raise ValueError("poison")
            bench.seen.extend(_keys(event))

        bench.handle(handler)
        for name in ("a", "b", "poison", "c", "d"):
            bench.put(name)
        pump = StreamPump(STREAM, FUNCTION, bench.cloud, bench.lambdas, bench.plane, random.Random(3))
        bench.pump(pump)
        assert sorted(bench.seen) == ["a", "b", "c", "d"]
        assert [record["dynamodb"]["Keys"]["pk"]["S"] for record in pump.abandoned] == ["poison"]


def test_a_partial_failure_brings_back_what_failed_and_all_after_it() -> None:
    with engine() as bench:
        calls: list[list[str]] = []

        def handler(event: Any, context: Any) -> Any:
            calls.append([record["dynamodb"]["NewImage"]["n"]["S"] for record in event["Records"]])
            if len(calls) == 1 and len(event["Records"]) > 1:
                second = event["Records"][1]["dynamodb"]["SequenceNumber"]
                return {"batchItemFailures": [{"itemIdentifier": second}]}
            return {"batchItemFailures": []}

        bench.handle(handler)
        for number in range(4):
            bench.put("one", n=str(number))
        rng = random.Random(3)
        rng.randint = lambda low, high: high  # type: ignore[method-assign,assignment]
        bench.pump(StreamPump(STREAM, FUNCTION, bench.cloud, bench.lambdas, bench.plane, rng))
        assert calls == [["0", "1", "2", "3"], ["1", "2", "3"]]


def test_records_that_no_pattern_lets_through_are_not_delivered() -> None:
    with engine() as bench:
        bench.handle(lambda event, context: bench.seen.extend(_keys(event)))
        pattern = {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": ["good", {"prefix": "fine"}]}}}}
        source = replace(STREAM, patterns=(pattern,))
        for name, kind in (("a", "good"), ("b", "bad"), ("c", "fine-too")):
            bench.put(name, kind=kind)
        bench.put("a", kind="fine-again")
        bench.pump(StreamPump(source, FUNCTION, bench.cloud, bench.lambdas, bench.plane, random.Random(3)))
        assert sorted(bench.seen) == ["a", "c"]


@pytest.mark.parametrize(
    ("pattern", "event", "passes"),
    [
        ({"a": [1]}, {"a": 1}, True),
        ({"a": [{"exists": False}]}, {}, True),
        ({"a": {"b": [{"exists": True}]}}, {"a": {}}, False),
        ({"a": [{"anything-but": ["x"]}]}, {"a": "y"}, True),
        ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": "xy"}, False),
        ({"$or": [{"a": [1]}, {"b": [2]}]}, {"b": 2}, True),
        ({"a": [1]}, {"a": [2, 1]}, True),
    ],
)
def test_filter_patterns(pattern: Any, event: Any, passes: bool) -> None:
    assert matches(pattern, event) is passes


# ---- queues -------------------------------------------------------------------------------------------------------

QUEUE = Source("Work", "queue", "Letters", batch_size=10, partial=True)
WITH_DEAD_LETTERS = parse(
    {
        "Resources": {
            "Dead": {"Type": "AWS::SQS::Queue", "Properties": {}},
            "Letters": {
                "Type": "AWS::SQS::Queue",
                "Properties": {
                    "VisibilityTimeout": 60,
                    "RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 3},
                },
            },
        }
    },
    Path(),
)


def test_only_what_failed_comes_back_and_after_its_receives_it_is_a_dead_letter() -> None:
    with engine(WITH_DEAD_LETTERS) as bench:

        def handler(event: Any, context: Any) -> Any:
            bench.seen.extend(record["body"] for record in event["Records"])
            failed = [record["messageId"] for record in event["Records"] if record["body"] == "bad"]
            return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}

        bench.handle(handler)
        for body in ("good", "bad"):
            bench.send(body)
        pump = QueuePump(QUEUE, FUNCTION, bench.cloud, bench.lambdas, bench.plane, random.Random(3))
        bench.pump(pump)
        assert bench.seen.count("good") == 1
        assert bench.seen.count("bad") == 3
        assert [message["body"] for message in dead_letters(bench.cloud)["Dead"]] == ["bad"]
        assert redrive(bench.cloud) == 1
        assert [message["body"] for message in bench.cloud.messages("Letters")] == ["bad"]


def test_a_crash_leaves_the_whole_batch_for_later() -> None:
    with engine(WITH_DEAD_LETTERS) as bench:

        def handler(event: Any, context: Any) -> Any:
            bench.seen.append(bench.scheduler.clock.now)
            if len(bench.seen) == 1:
                raise Crash("killed")

        bench.handle(handler)
        bench.send("x")
        bench.pump(QueuePump(QUEUE, FUNCTION, bench.cloud, bench.lambdas, bench.plane, random.Random(3)))
        assert bench.seen == [EPOCH, EPOCH + 60]
        assert bench.cloud.messages("Letters") == []


# ---- the workflow -------------------------------------------------------------------------------------------------


def _run(definition: Any, handler: Any, before: Any = None) -> tuple[Bench, Workflows]:
    with engine() as bench:
        bench.handle(handler)
        flows = Workflows(
            definition, bench.scheduler, bench.lambdas, lambda name: FUNCTION, bench.plane, random.Random(1)
        )
        data = {"stateMachineArn": "arn:aws:states:r:a:stateMachine:m", "name": "one", "input": '{"items": [1, 2, 3]}'}
        flows("StartExecution", data)
        if before:
            before(bench, flows)
        bench.scheduler.run(FIRST)
        bench.seen.append(bench.scheduler.clock.now - EPOCH)
        return bench, flows


INVOKE = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke"}


def test_a_map_runs_its_items_and_keeps_their_order() -> None:
    inner = {
        **INVOKE,
        "Parameters": {"FunctionName": "Work", "Payload": {"n.$": "$"}},
        "OutputPath": "$.Payload",
        "End": True,
    }
    machine = {"StartAt": "Do", "States": {"Do": inner}}
    definition = {
        "StartAt": "All",
        "States": {"All": {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": machine, "End": True}},
    }
    _, flows = _run(definition, lambda event, context: event["n"] * 10)
    assert flows.executions["one"].output == [10, 20, 30]


def test_retries_wait_longer_each_time_and_then_the_error_is_caught() -> None:
    task = {
        **INVOKE,
        "Parameters": {"FunctionName": "Work", "Payload": {}},
        "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 2}],
        "Catch": [{"ErrorEquals": ["ValueError"], "ResultPath": "$.failure", "Next": "Caught"}],
        "End": True,
    }

    def handler(event: Any, context: Any) -> None:
        raise ValueError("no")

    bench, flows = _run({"StartAt": "Do", "States": {"Do": task, "Caught": {"Type": "Succeed"}}}, handler)
    assert flows.executions["one"].status == "SUCCEEDED"
    assert flows.executions["one"].output["failure"]["Error"] == "ValueError"
    assert bench.seen[-1] == 8.0


def test_a_wait_for_a_token_ends_with_the_token_and_a_used_token_is_refused() -> None:
    task = {
        **INVOKE,
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Parameters": {"FunctionName": "Work", "Payload": {"token.$": "$$.Task.Token"}},
        "TimeoutSeconds": 100,
        "End": True,
    }
    tokens: list[str] = []

    def answer(bench: Bench, flows: Workflows) -> None:
        def scanner() -> None:
            bench.scheduler.sleep(40)
            data = {"taskToken": tokens[0], "output": '{"done": true}'}
            bench.seen.append(flows("SendTaskSuccess", data)[0])
            bench.seen.append(flows("SendTaskSuccess", data)[0])
            bench.seen.append(flows("SendTaskSuccess", {**data, "taskToken": "never made"})[2])

        bench.scheduler.spawn("scanner", scanner)

    bench, flows = _run({"StartAt": "Wait", "States": {"Wait": task}}, lambda e, c: tokens.append(e["token"]), answer)
    assert flows.executions["one"].output == {"done": True}
    assert bench.seen[:2] == [200, 400]
    assert b"InvalidToken" in bench.seen[2]
    _, silent = _run({"StartAt": "Wait", "States": {"Wait": task}}, lambda e, c: None)
    assert (silent.executions["one"].status, silent.executions["one"].error) == ("FAILED", "States.Timeout")


def test_a_name_starts_one_execution_and_a_stopped_one_stays_stopped() -> None:
    wait = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}}

    def stop(bench: Bench, flows: Workflows) -> None:
        data = {"stateMachineArn": "arn:aws:states:r:a:stateMachine:m", "name": "one"}
        assert flows("StartExecution", {**data, "input": '{"items": [1, 2, 3]}'})[0] == 200
        assert b"ExecutionAlreadyExists" in flows("StartExecution", {**data, "input": "{}"})[2]
        assert flows("StopExecution", {"executionArn": "arn:aws:states:r:a:execution:m:one"})[0] == 200
        assert b"ExecutionDoesNotExist" in flows("StopExecution", {"executionArn": "arn:other"})[2]

    _, flows = _run(wait, lambda e, c: None, stop)
    assert flows.executions["one"].status == "ABORTED"


def test_paths_and_payload_templates() -> None:
    context = {"Execution": {"Name": "run"}, "Map": {"Item": {"Value": 7}}}
    data = {"a": {"b": [{"c": 1}, {"c": 2}]}}
    assert select("$.a.b[*].c", data, context) == [1, 2]
    assert select("States.Format('{}-{}', $$.Execution.Name, $.a.b[1].c)", data, context) == "run-2"
    assert fill({"x.$": "$$.Map.Item.Value", "y": {"z.$": "$.a.b[0]"}}, data, context) == {"x": 7, "y": {"z": {"c": 1}}}


# ---- our template -------------------------------------------------------------------------------------------------


def test_our_template_is_understood() -> None:
    template = load()
    assert {table["TableName"] for table in template.tables} == {"OrdersTable", "InventoryTable"}
    assert all(table["StreamSpecification"]["StreamEnabled"] for table in template.tables)
    kinds = {source.kind for source in template.sources}
    assert kinds == {"stream", "queue", "schedule"}
    for source in template.sources:
        assert template.functions[source.function].path.exists(), source.function
        if source.kind == "stream":
            assert source.partial, f"{source.function} reports no partial failures"
            assert source.retries < 10_000, f"{source.function} retries for ever"
    assert template.machine["StartAt"]
