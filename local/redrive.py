"""Play back what failed for good: ``python -m local.redrive [--stack oms-prod] QUEUE``.

``QUEUE`` is a name from the template (``EtsyDeadLetters``, or ``EtsyQueue`` for short), ``list`` to see what waits
where, or ``all``. Works on AWS and on the local cloud; everything behind it is safe to run twice.

A dead-letter queue's messages go back to their source. A failure of a stream names only where in the stream it was,
so the records are read again from there and given to the same function; after a day the stream has forgotten them,
and the sweep and the reconcile repair what they did not do. A scheduled run that could not be started is started.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import boto3
from botocore.exceptions import ClientError

from local import build, cloud
from local.console import Trouble, fail, say

STREAM_FAILURES = ("OrdersStreamFailures", "InventoryStreamFailures")
SCHEDULE_FAILURES = ("ScheduleFailures",)
Client = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Stack:
    """The queues of a deployed stack by their names in the template."""

    queues: Mapping[str, str]
    client: Client

    @classmethod
    def named(cls, name: str, client: Client) -> Stack:
        pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
        resources = (resource for page in pages for resource in page["StackResourceSummaries"])
        return cls(
            {
                resource["LogicalResourceId"]: resource["PhysicalResourceId"]
                for resource in resources
                if resource["ResourceType"] == "AWS::SQS::Queue"
            },
            client,
        )

    def dead_letters(self) -> dict[str, str]:
        """URL by name of every queue that nothing consumes."""
        return {name: url for name, url in sorted(self.queues.items()) if name.endswith(("DeadLetters", "Failures"))}

    def waiting(self, url: str) -> int:
        asked = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(asked["Attributes"]["ApproximateNumberOfMessages"])

    def redrive(self, name: str) -> int:
        """Play one queue back; how many messages left it."""
        if name.endswith("Queue"):
            name = name.removesuffix("Queue") + "DeadLetters"
        url = self.dead_letters().get(name)
        if url is None:
            raise Trouble(f"There is no queue {name}. There are: {', '.join(self.dead_letters())}")
        if name in STREAM_FAILURES:
            return self._each(url, self._replay_stream)
        if name in SCHEDULE_FAILURES:
            return self._each(url, self._run_schedule)
        return self._send_back(name, url)

    # -- queues -------------------------------------------------------------------------------------------------------

    def _send_back(self, name: str, url: str) -> int:
        sqs = self.client("sqs")
        waiting = self.waiting(url)
        if not waiting:
            return 0
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        try:
            sqs.start_message_move_task(SourceArn=arn)
            return waiting
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"InvalidAction", "UnsupportedOperation", "NotImplemented"}:
                raise
        source = self.queues[name.removesuffix("DeadLetters") + "Queue"]
        return self._each(url, lambda message: sqs.send_message(QueueUrl=source, MessageBody=message["Body"]))

    def _each(self, url: str, play: Callable[[Mapping[str, Any]], object]) -> int:
        """Give every message to ``play`` and delete it; one that fails stays and stops the rest."""
        sqs = self.client("sqs")
        done = 0
        for message in self._messages(url):
            play(message)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            done += 1
        return done

    def _messages(self, url: str) -> Iterator[Mapping[str, Any]]:
        while True:
            answer = self.client("sqs").receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=120, MessageAttributeNames=["All"]
            )
            if not answer.get("Messages"):
                return
            yield from answer["Messages"]

    # -- streams and schedules ----------------------------------------------------------------------------------------

    def _replay_stream(self, message: Mapping[str, Any]) -> None:
        failure = json.loads(message["Body"])
        batch = failure["DDBStreamBatchInfo"]
        records = list(self._records(batch))
        if not records:
            say("    the stream has forgotten these records; the sweep and the reconcile have repaired them")
            return
        self._invoke(failure["requestContext"]["functionArn"], {"Records": records})

    def _records(self, batch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        streams = self.client("dynamodbstreams")
        try:
            iterator = streams.get_shard_iterator(
                StreamArn=batch["streamArn"],
                ShardId=batch["shardId"],
                ShardIteratorType="AT_SEQUENCE_NUMBER",
                SequenceNumber=batch["startSequenceNumber"],
            )["ShardIterator"]
        except (streams.exceptions.TrimmedDataAccessException, streams.exceptions.ResourceNotFoundException):
            return
        last = int(batch["endSequenceNumber"])
        while iterator:
            answer = streams.get_records(ShardIterator=iterator)
            for record in answer["Records"]:
                if int(record["dynamodb"]["SequenceNumber"]) > last:
                    return
                yield _as_lambda_sees_it(record, batch["streamArn"])
            if not answer["Records"]:
                return
            iterator = answer.get("NextShardIterator")

    def _run_schedule(self, message: Mapping[str, Any]) -> None:
        attributes = message.get("MessageAttributes", {})
        target = attributes.get("TARGET_ARN", {}).get("StringValue", "")
        if not target:
            raise Trouble("A message of ScheduleFailures names no target; the schedule itself runs again by the clock.")
        self._invoke(target, json.loads(message["Body"] or "{}"))

    def _invoke(self, function: str, event: Mapping[str, Any]) -> None:
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
        result = json.loads(answer["Payload"].read() or b"null")
        if answer.get("FunctionError") or (isinstance(result, dict) and result.get("batchItemFailures")):
            raise Trouble(f"{function} failed again: {json.dumps(result)[:500]}")


def _as_lambda_sees_it(record: dict[str, Any], stream: str) -> dict[str, Any]:
    """A record as the event source mapping hands it over: the time as a number, and where it came from."""
    change = dict(record["dynamodb"])
    change["ApproximateCreationDateTime"] = change["ApproximateCreationDateTime"].timestamp()
    return {**record, "dynamodb": change, "eventSourceARN": stream}


def client_for(stack: str) -> Client:
    """Clients of the local cloud for its own stack, of AWS with the caller's credentials for any other."""
    if stack == build.STACK:
        os.environ.update(build.aws_environment(cloud.default().endpoints()["aws_endpoint"]))
    make: Any = boto3.client  # typed by the names of services; ours are variables
    return cast(Client, make)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.redrive", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stack", default=build.STACK)
    parser.add_argument("queue")
    asked = parser.parse_args(arguments)
    try:
        stack = Stack.named(asked.stack, client_for(asked.stack))
        if asked.queue == "list":
            for name, url in stack.dead_letters().items():
                say(f"  {name:28} {stack.waiting(url)}")
            return 0
        names = list(stack.dead_letters()) if asked.queue == "all" else [asked.queue]
        for name in names:
            say(f"  {name:28} {stack.redrive(name)} played back")
    except Trouble as trouble:
        return fail(trouble)
    return 0


if __name__ == "__main__":
    sys.exit(main())
