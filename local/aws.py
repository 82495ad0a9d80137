"""MiniStack as we run it: ``python -m local.aws`` starts the local AWS, changed where a laptop or the truth needs it.

Like Lambda, MiniStack gives every concurrent request a process of its own, and it unpacks the code and the layer anew
for each, inside the server: about a second each time, during which nothing else is served. Sixty-four buyers at once
on a cold cloud then all time out. So here:

* code and layer are unpacked once per content and shared by the processes that run it;
* at most ``OMS_LAMBDA_CONCURRENCY`` requests (16 by default) run behind the HTTP API at a time, and more wait their
  turn. Nothing behind the API calls the API and waits for it, so nobody waits for himself;
* stream records that a function reports as failed come again, with their batch; MiniStack would skip them;
* a function's error has the name of its class, by which the workflow retries and catches; MiniStack gives all one name;
* a batch on SQS is allowed by the permission for one message, as on AWS; MiniStack asks for an action of its own
  (``sqs:SendMessageBatch``) that AWS does not know;
* answering a task's token is allowed on the state machine, as on AWS; MiniStack asks for it on ``*``;
* a table's export is allowed on the table and on the export, as on AWS, and writes the table's items into the bucket;
  MiniStack asks for it on ``*`` and writes nothing;
* a request counts as one over TLS, which policies demand, although nothing here leaves the machine and none is used;
* an alarm over several metrics is created as one over the first of them; MiniStack knows no metric math, and no alarm
  fires here anyway.

Everything else, the evaluation of IAM policies included, is MiniStack's own.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONCURRENCY = int(os.environ.get("OMS_LAMBDA_CONCURRENCY", "16"))

_ABOUT_EXPORTS = (".ExportTableToPointInTime", ".DescribeExport")
_unpacking = threading.Lock()


class SharedArchive(zipfile.ZipFile):
    """A deployment package that is unpacked once; ``extractall`` then only links to the result."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:24]
        self._unpacked = Path(tempfile.gettempdir()) / f"package-{digest}"

    def namelist(self) -> list[str]:
        """What is left to check for paths that lead outside: nothing, where it was checked already."""
        return [] if self._unpacked.exists() else super().namelist()

    def extractall(self, path: Any = None, members: Any = None, pwd: Any = None) -> None:
        with _unpacking:
            if not self._unpacked.exists():
                unfinished = self._unpacked.with_suffix(".unfinished")
                shutil.rmtree(unfinished, ignore_errors=True)
                super().extractall(unfinished, members, pwd)
                unfinished.rename(self._unpacked)
        os.rmdir(path)
        os.symlink(self._unpacked, path)


def _as_on_aws(result: dict[str, Any], event: Any) -> dict[str, Any]:
    """What a function did, with the failures that MiniStack would overlook."""
    body = result.get("body")
    if not isinstance(body, dict):
        return result
    if body.get("errorType") == "Runtime.HandlerError":
        raised = re.match(r"(?:\w+\.)*(\w+)(?::|$)", str(result.get("log", "")).rstrip().rpartition("\n")[2])
        return {**result, "body": {**body, "errorType": raised.group(1)}} if raised else result
    records = (event.get("Records") if isinstance(event, dict) else None) or [{}]
    failed = records[0].get("eventSource") == "aws:dynamodb" and body.get("batchItemFailures")
    return {**result, "error": True} if failed else result


def _one_metric(alarm: Mapping[str, Any]) -> dict[str, Any]:
    """An alarm over several metrics as one over the first of them."""
    told = next((each["MetricStat"] for each in alarm.get("Metrics") or () if "MetricStat" in each), None)
    if told is None:
        return dict(alarm)
    rest = {name: value for name, value in alarm.items() if name != "Metrics"}
    return {**rest, **told["Metric"], "Period": told["Period"], "Statistic": "Maximum"}


def _export_items(tables: Mapping[str, Any], put_object: Any, asked: Mapping[str, Any], answer: Any) -> None:
    """Write a table's items where DynamoDB writes those of an export: lines of JSON, compressed."""
    told = json.loads(answer[2]).get("ExportDescription")
    if not told or told["ExportArn"] in _exported:
        return
    _exported.add(told["ExportArn"])
    items = tables[asked["TableArn"].rpartition("/")[2]]["items"]
    lines = [json.dumps({"Item": item}) + "\n" for of_partition in items.values() for item in of_partition.values()]
    number = told["ExportArn"].rpartition("/")[2]
    key = "/".join(filter(None, [asked.get("S3Prefix"), "AWSDynamoDB", number, "data", "items.json.gz"]))
    put_object(asked["S3Bucket"], key, gzip.compress("".join(lines).encode()), {})


_exported: set[str] = set()


def main() -> None:
    from ministack import app
    from ministack.core import iam_actions, lambda_runtime
    from ministack.services import apigateway, dynamodb, lambda_svc, s3, stepfunctions
    from ministack.services.cloudformation import provisioners

    lambda_runtime.zipfile = types.SimpleNamespace(
        ZipFile=SharedArchive, BadZipFile=zipfile.BadZipFile, LargeZipFile=zipfile.LargeZipFile
    )
    invoke, turns = apigateway._invoke_lambda_proxy, asyncio.Semaphore(CONCURRENCY)

    async def invoke_in_turn(*arguments: Any, **named: Any) -> Any:
        async with turns:
            return await invoke(*arguments, **named)

    apigateway._invoke_lambda_proxy = invoke_in_turn
    action_of = iam_actions.extract_iam_action

    def action_as_on_aws(*arguments: Any, **named: Any) -> str | None:
        action: str | None = action_of(*arguments, **named)
        return action.removesuffix("Batch") if action and action.startswith("sqs:") else action

    iam_actions.extract_iam_action = action_as_on_aws
    resource_of = iam_actions.extract_resource_arn

    def resource_as_on_aws(service: str, method: str, path: str, headers: Mapping[str, str], *rest: Any) -> str:
        resource: str = resource_of(service, method, path, headers, *rest)
        if service == "states" and ".SendTask" in headers.get("x-amz-target", ""):
            # A token here does not know its state machine, but the stack has only one.
            return next(iter(stepfunctions._state_machines), resource)
        if service == "dynamodb" and headers.get("x-amz-target", "").endswith(_ABOUT_EXPORTS):
            asked = json.loads(rest[0])
            return str(asked.get("TableArn") or asked["ExportArn"])
        return resource

    iam_actions.extract_resource_arn = resource_as_on_aws
    export = dynamodb._export_table_to_point_in_time

    def export_as_on_aws(asked: Mapping[str, Any]) -> Any:
        answer = export(asked)
        if answer[0] == 200:
            _export_items(dynamodb._tables, s3._put_object, asked, answer)
        return answer

    dynamodb._export_table_to_point_in_time = export_as_on_aws
    pin_origin = app.pin_request_origin

    def origin_as_on_aws(source_ip: str, _: bool) -> None:
        pin_origin(source_ip, True)

    app.pin_request_origin = origin_as_on_aws
    alarm_record = provisioners._cw_metric_alarm_record

    def alarm_as_on_aws(name: str, properties: Mapping[str, Any]) -> Any:
        return alarm_record(name, _one_metric(properties))

    provisioners._cw_metric_alarm_record = alarm_as_on_aws
    execute = lambda_svc._execute_function

    def execute_as_on_aws(function: Any, event: Any) -> Any:
        return _as_on_aws(execute(function, event), event)

    lambda_svc._execute_function = execute_as_on_aws
    app.main()


if __name__ == "__main__":
    main()
