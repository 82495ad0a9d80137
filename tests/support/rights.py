"""What each function may do, as the template's roles have it, held against what its code does while tests run.

moto and the simulation evaluate no policies. Every call that leaves a process has the file of a function among its
callers, so ``Watch`` knows whose role would have been asked, and what it would have refused.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from oms.runtime import aws
from oms.runtime.secrets import Secrets
from tests.simulation.template import ROOT, load

_FUNCTIONS = str(ROOT / "functions")
_PREFIXES = {"stepfunctions": "states", "sesv2": "ses"}
# What S3 asks for where the name of the operation is not the name of the right.
_S3 = {
    "HeadObject": "GetObject",
    "ListObjectsV2": "ListBucket",
    "ListObjects": "ListBucket",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
}
_IN_TRANSACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
_ANY = ("ses", "states")
"""Services with one thing to act on: their resource is not compared, only their verb."""


@cache
def may(function: str, action: str, resource: str) -> bool:
    """Whether a role allows a function, by its logical name, an action on a resource, by its logical name and path."""
    return any(
        action in actions and (action.split(":")[0] in _ANY or any(fnmatchcase(resource, each) for each in resources))
        for actions, resources in load().rights[function]
    )


@cache
def _functions_at(path: str) -> tuple[str, ...]:
    """The functions that this file is the entry of: one, or one for each channel."""
    return tuple(name for name, each in load().functions.items() if str(each.path) == path)


@dataclass(slots=True)
class Watch:
    """Tells what roles would have refused. ``names`` gives the logical names of what a test calls otherwise."""

    refused: Callable[[str], None]
    names: Mapping[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """The process's client, watched by whoever asked last."""
        made = aws.client(service)
        made.meta.events.register("provide-client-params", _told, unique_id="rights")
        _told.watch = self  # type: ignore[attr-defined]
        return made

    def note(self, action: str, resource: str) -> None:
        """A call of ours. What is not called by a function's code, a test's own for example, needs no right."""
        entry = _entry()
        if entry is None:
            return
        functions = _functions_at(entry)
        if functions and not any(may(function, action, resource) for function in functions):
            self.refused(f"{' or '.join(functions)} may not {action} on {resource}: see its role in template.yaml")

    def of(self, service: str, client: Any) -> Any:
        """A stand-in of a client, watched: its methods are the operations in snake case."""
        return _Stand(self, service, client)

    def name(self, physical: str) -> str:
        """The logical name for a name, a URL or an ARN."""
        last = re.split(r"[/:]", physical)[-1]
        return self.names.get(last, last)


class WatchedSecrets(Secrets):
    """A process keeps secrets, and all functions of a test share one: each is noted whenever it is wanted."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(lambda: watch.client("secretsmanager"))
        self._watch = watch

    def get(self, secret_id: str) -> dict[str, Any]:
        self._watch.note("secretsmanager:GetSecretValue", self._watch.name(secret_id))
        return super().get(secret_id)


@dataclass(frozen=True, slots=True)
class _Stand:
    watch: Watch
    service: str
    client: Any

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self.client, operation)
        verb = "".join(part.title() for part in operation.split("_"))

        def call(**params: Any) -> Any:
            self.watch.note(f"{self.service}:{verb}", "")
            return method(**params)

        return call


def _told(params: Mapping[str, Any], model: Any, **_: Any) -> None:
    watch: Watch = _told.watch  # type: ignore[attr-defined]
    service = str(model.service_model.service_name)
    for action, resource in _asked(service, str(model.name), params, watch.name):
        watch.note(action, resource)


def _asked(
    service: str, operation: str, params: Mapping[str, Any], name: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    """The rights that a call asks for."""
    match service, operation:
        case "dynamodb", "TransactWriteItems":
            for entry in params["TransactItems"]:
                ((kind, action),) = entry.items()
                yield f"dynamodb:{_IN_TRANSACTIONS[kind]}", name(action["TableName"])
        case "dynamodb", "TransactGetItems":
            for entry in params["TransactItems"]:
                yield "dynamodb:GetItem", name(entry["Get"]["TableName"])
        case "dynamodb", "BatchGetItem" | "BatchWriteItem":
            for table in params["RequestItems"]:
                yield f"dynamodb:{operation}", name(table)
        case "dynamodb", "ExportTableToPointInTime":
            yield f"dynamodb:{operation}", name(params["TableArn"])
            for verb in ("PutObject", "PutObjectAcl", "AbortMultipartUpload"):
                yield f"s3:{verb}", f"{name(params['S3Bucket'])}/{params['S3Prefix']}/AWSDynamoDB"
        case "dynamodb", "DescribeExport":
            table, _, number = params["ExportArn"].partition("/import/")  # what moto calls it
            yield f"dynamodb:{operation}", f"{name(table)}/export/{number}"
        case "dynamodb", _:
            index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
            yield f"dynamodb:{operation}", name(params["TableName"]) + index
        case "s3", _:
            bucket, key = name(params["Bucket"]), params.get("Key")
            yield f"s3:{_S3.get(operation, operation)}", f"{bucket}/{key}" if key else bucket
        case "sqs", _:
            yield f"sqs:{operation.removesuffix('Batch')}", name(params["QueueUrl"])
        case "secretsmanager", _:
            yield f"secretsmanager:{operation}", name(params["SecretId"])
        case _:
            yield f"{_PREFIXES.get(service, service)}:{operation}", ""


def _entry() -> str | None:
    frame: Any = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_FUNCTIONS):
            return str(Path(path))
        frame = frame.f_back
    return None
