"""Every kind of fault does what its name says: the right error, with or without the effect, after the right time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from local.simulators.core import Request, Response
from oms.runtime.outbound import HttpRequest, Unreachable
from tests.simulation.backend import Cloud, connected
from tests.simulation.determinism import EPOCH, deterministic
from tests.simulation.faults import DELIVERY, KINDS, Plane, matrix
from tests.simulation.gate import Gate
from tests.simulation.scheduler import Crash, Scheduler, TimedOut, random_chooser
from tests.simulation.services import Wire, template_of
from tests.simulation.template import parse
from tests.simulation.trace import Trace

TEMPLATE = parse(
    {
        "Resources": {
            "Things": {
                "Type": "AWS::DynamoDB::Table",
                "Properties": {
                    "BillingMode": "PAY_PER_REQUEST",
                    "AttributeDefinitions": [
                        {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "colour")
                    ],
                    "KeySchema": [
                        {"AttributeName": "pk", "KeyType": "HASH"},
                        {"AttributeName": "sk", "KeyType": "RANGE"},
                    ],
                    "GlobalSecondaryIndexes": [
                        {
                            "IndexName": "by-colour",
                            "KeySchema": [{"AttributeName": "colour", "KeyType": "HASH"}],
                            "Projection": {"ProjectionType": "ALL"},
                        }
                    ],
                    "StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"},
                },
            },
            "Letters": {"Type": "AWS::SQS::Queue", "Properties": {}},
        }
    },
    None,  # type: ignore[arg-type]
)

KEY = {"pk": {"S": "a"}, "sk": {"S": "a"}}


class Counter:
    """A service that counts what reached it."""

    def __init__(self) -> None:
        self.count = 0

    def handle(self, request: Request) -> Response:
        self.count += request.method == "POST"
        return Response.of(200, {"count": self.count})


@dataclass
class Outcome:
    result: Any
    error: BaseException | None
    effects: int
    elapsed: float
    plane: Plane


@dataclass
class Bench:
    """One call under one fault."""

    cloud: Cloud
    scheduler: Scheduler
    wire: Wire
    dynamodb: Any
    sqs: Any

    def write(self) -> Any:
        return self.dynamodb.update_item(
            TableName="Things",
            Key=KEY,
            UpdateExpression="ADD n :one SET colour = :c",
            ExpressionAttributeValues={":one": {"N": "1"}, ":c": {"S": "red"}},
        )

    def transact(self) -> Any:
        update = {
            "TableName": "Things",
            "Key": KEY,
            "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
        other = {"TableName": "Things", "Item": {"pk": {"S": "b"}, "sk": {"S": "b"}}}
        return self.dynamodb.transact_write_items(TransactItems=[{"Update": update}, {"Put": other}])

    def read_index(self) -> Any:
        return self.dynamodb.query(
            TableName="Things",
            IndexName="by-colour",
            KeyConditionExpression="colour = :c",
            ExpressionAttributeValues={":c": {"S": "red"}},
        )["Count"]

    def read(self) -> Any:
        return self.dynamodb.get_item(TableName="Things", Key=KEY).get("Item")

    def read_batch(self) -> Any:
        keys = [KEY, {"pk": {"S": "b"}, "sk": {"S": "b"}}]
        return self.dynamodb.batch_get_item(RequestItems={"Things": {"Keys": keys, "ConsistentRead": True}})

    def send_batch(self) -> Any:
        entries = [{"Id": str(n), "MessageBody": "x"} for n in range(2)]
        return self.sqs.send_message_batch(QueueUrl=self.cloud.queue_url("Letters"), Entries=entries)

    def post(self) -> Any:
        return self.wire(HttpRequest("POST", "https://stripe.test/v1/refunds", {}, b"{}"), timeout=3.0)

    def effects(self) -> int:
        item = self.cloud.item("Things", "a", "a")
        core: Any = self.wire.cores["stripe"]
        return int(item["n"]["N"] if item and "n" in item else 0) + core.count + len(self.cloud.messages("Letters"))


def struck(
    kind: str, call: Callable[[Bench], Any], *, attempts: int = 1, before: Callable[[Bench], Any] | None = None
) -> Outcome:
    """Let ``kind`` strike the first call of a task that makes ``call``."""
    scheduler = Scheduler()
    plane = Plane(random.Random(1), at={0: kind} if kind else {})
    gate = Gate(scheduler, plane, Trace())
    with deterministic(1, scheduler.sleep) as clock:
        scheduler.clock = clock
        cloud = Cloud(TEMPLATE, gate)
        gate.cloud = cloud
        cloud.reset()
        with connected(cloud):
            session = botocore.session.get_session()
            config = Config(retries={"mode": "standard", "total_max_attempts": attempts}, region_name="us-east-1")
            clients = [session.create_client(name, config=config) for name in ("dynamodb", "sqs")]
            bench = Bench(cloud, scheduler, Wire(gate, {"stripe": Counter()}), *clients)
            if before:
                before(bench)
            task = scheduler.spawn("bench", lambda: call(bench), limit=30.0)
            scheduler.run(random_chooser(random.Random(1)))
            return Outcome(task.result, task.error, bench.effects(), clock.now - EPOCH, plane)


def code_of(outcome: Outcome) -> str:
    assert isinstance(outcome.error, ClientError)
    return str(outcome.error.response["Error"]["Code"])


TESTED: set[str] = set()


def of(kind: str) -> str:
    """Name a kind, and remember that it was tested."""
    TESTED.add(kind)
    return kind


def test_without_a_fault_the_call_has_its_effect_once() -> None:
    assert struck("", Bench.write).effects == 1
    assert struck("", Bench.post).effects == 1


@pytest.mark.parametrize("call", [Bench.write, Bench.post], ids=["aws", "http"])
def test_crash_before_leaves_no_effect_and_no_exception_that_our_code_could_catch(call: Any) -> None:
    outcome = struck(of("crash_before"), call)
    assert isinstance(outcome.error, Crash)
    assert not isinstance(outcome.error, Exception)
    assert outcome.effects == 0


@pytest.mark.parametrize("call", [Bench.write, Bench.transact, Bench.post])
def test_crash_after_leaves_the_effect(call: Any) -> None:
    outcome = struck(of("crash_after"), call)
    assert isinstance(outcome.error, Crash)
    assert outcome.effects == 1


@pytest.mark.parametrize("call", [Bench.write, Bench.post])
def test_slow_past_timeout_has_the_effect_and_kills_the_invocation_at_its_limit(call: Any) -> None:
    outcome = struck(of("slow_past_timeout"), call)
    assert isinstance(outcome.error, TimedOut)
    assert outcome.effects == 1
    assert outcome.elapsed == pytest.approx(30.0)


@pytest.mark.parametrize("kind", ["pause_before", "pause_after"])
def test_a_pause_takes_time_and_nothing_else(kind: str) -> None:
    outcome = struck(of(kind), Bench.write)
    assert outcome.error is None
    assert outcome.effects == 1
    assert 0.5 <= outcome.elapsed <= 4.0


def test_refused_has_no_effect() -> None:
    outcome = struck(of("refused"), Bench.write)
    assert isinstance(outcome.error, EndpointConnectionError)
    assert outcome.effects == 0
    assert isinstance(struck("refused", Bench.post).error, Unreachable)


def test_request_lost_has_no_effect_and_looks_like_a_timeout() -> None:
    outcome = struck(of("request_lost"), Bench.write)
    assert isinstance(outcome.error, ReadTimeoutError)
    assert outcome.effects == 0


def test_answer_lost_has_the_effect_and_looks_like_a_timeout() -> None:
    outcome = struck(of("answer_lost"), Bench.write)
    assert isinstance(outcome.error, ReadTimeoutError)
    assert outcome.effects == 1
    web = struck("answer_lost", Bench.post)
    assert isinstance(web.error, Unreachable)
    assert web.effects == 1
    assert web.elapsed == pytest.approx(3.0)


def test_a_lost_answer_makes_the_sdk_repeat_an_update_but_not_a_transaction() -> None:
    assert struck("answer_lost", Bench.write, attempts=3).effects == 2
    assert struck("answer_lost", Bench.transact, attempts=3).effects == 1


def test_connection_cut_has_the_effect() -> None:
    outcome = struck(of("connection_cut"), Bench.write)
    assert isinstance(outcome.error, ConnectionClosedError)
    assert outcome.effects == 1


@pytest.mark.parametrize(
    ("kind", "code", "effects"),
    [
        ("throttled", "ThrottlingException", 0),
        ("capacity_exceeded", "ProvisionedThroughputExceededException", 0),
        ("internal_error", "InternalServerError", 0),
        ("internal_error_after", "InternalServerError", 1),
        ("unavailable", "ServiceUnavailable", 0),
    ],
)
def test_aws_errors_carry_their_code(kind: str, code: str, effects: int) -> None:
    outcome = struck(of(kind), Bench.write)
    assert code_of(outcome) == code
    assert outcome.effects == effects


def test_the_sdk_repeats_what_was_throttled_and_sleeps_virtually() -> None:
    outcome = struck("throttled", Bench.write, attempts=3)
    assert outcome.error is None
    assert outcome.effects == 1
    assert outcome.elapsed > 0


@pytest.mark.parametrize(
    ("kind", "reason"), [("transaction_conflict", "TransactionConflict"), ("transaction_throttled", "ThrottlingError")]
)
def test_a_cancelled_transaction_says_why_and_writes_nothing(kind: str, reason: str) -> None:
    outcome = struck(of(kind), Bench.transact, attempts=3)
    assert code_of(outcome) == "TransactionCanceledException"
    assert isinstance(outcome.error, ClientError)
    reasons = outcome.error.response["CancellationReasons"]
    assert reason in {each["Code"] for each in reasons}
    assert len(reasons) == 2
    assert outcome.effects == 0


def test_transaction_in_progress_is_an_error_of_its_own() -> None:
    outcome = struck(of("transaction_in_progress"), Bench.transact)
    assert code_of(outcome) == "TransactionInProgressException"
    assert outcome.effects == 0


def test_a_stale_index_does_not_show_the_latest_write() -> None:
    assert struck("", Bench.read_index, before=Bench.write).result == 1
    assert struck(of("stale_index"), Bench.read_index, before=Bench.write).result == 0


def test_a_stale_read_shows_the_item_as_it_was() -> None:
    assert struck("", Bench.read, before=Bench.write).result is not None
    assert struck(of("stale_read"), Bench.read, before=Bench.write).result is None


def test_a_partial_batch_leaves_entries_undone() -> None:
    sent = struck(of("partial_batch"), Bench.send_batch)
    assert [len(sent.result[part]) for part in ("Successful", "Failed")] == [1, 1]
    assert sent.effects == 1
    read = struck("partial_batch", Bench.read_batch)
    assert len(read.result["UnprocessedKeys"]["Things"]["Keys"]) == 1


@pytest.mark.parametrize(
    ("kind", "status", "effects"),
    [
        ("http_500", 500, 0),
        ("http_500_after", 500, 1),
        ("http_503", 503, 0),
        ("http_429", 429, 0),
        ("http_garbage", 502, 0),
        ("stripe_replays_500", 500, 0),
        ("stripe_key_in_use", 409, 0),
    ],
)
def test_http_errors_carry_their_status(kind: str, status: int, effects: int) -> None:
    outcome = struck(of(kind), Bench.post)
    assert outcome.result.status == status
    assert outcome.effects == effects


def test_a_fault_strikes_only_where_it_may() -> None:
    assert struck("stale_index", Bench.write).effects == 1
    assert struck("http_500", Bench.write).error is None


def test_what_struck_is_counted_by_kind_and_call_site() -> None:
    outcome = struck("crash_before", Bench.write)
    assert dict(outcome.plane.struck) == {("crash_before", "test_faults.Bench.write → dynamodb.UpdateItem"): 1}
    assert "test_faults.Bench.write → dynamodb.UpdateItem ×1" in matrix(outcome.plane.struck)


def test_a_call_site_has_one_name_whatever_the_ids_in_its_address() -> None:
    assert template_of("/v1/payment_intents/pi_123/cancel") == "/v1/payment_intents/*/cancel"


def test_every_kind_of_fault_on_calls_is_tested_above() -> None:
    assert set(KINDS) == TESTED
    assert len(KINDS) + len(DELIVERY) >= 25
