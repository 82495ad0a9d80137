"""AWS in process: MiniStack's own DynamoDB and SQS behind botocore, without HTTP, signatures or threads.

``Endpoint._send`` is where botocore would open a connection, once per attempt and inside its retry loop. There the
request is handed to the active ``Cloud``, which passes it through the gate (interleaving and faults) to the service.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import botocore.endpoint
import botocore.signers
import botocore.useragent
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from local.simulators.core import Request
from local.simulators.ses import SesCore
from tests.simulation.template import Template


def _import_ministack() -> tuple[Any, Any]:
    """Import MiniStack's modules without their background threads: a thread that sweeps has no seed."""
    start = threading.Thread.start
    threading.Thread.start = lambda self: None  # type: ignore[method-assign]
    try:
        from ministack.services import dynamodb, sqs
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
    return dynamodb, sqs


dynamodb, sqs = _import_ministack()

# Pure functions of an expression's text, called over and over with the same few texts.
_tokens = lru_cache(4096)(dynamodb._tokenize)
dynamodb._tokenize = lambda expression: list(_tokens(expression))
dynamodb._condition_syntax_error = lru_cache(4096)(dynamodb._condition_syntax_error)

Answer = tuple[int, Mapping[str, str], bytes]
Image = dict[str, Any]

_SERVICES = {
    "DynamoDB_20120810": "dynamodb",
    "AmazonSQS": "sqs",
    "AWSStepFunctions": "stepfunctions",
    "secretsmanager": "secretsmanager",
}
_READS = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})
_JSON = {"Content-Type": "application/x-amz-json-1.0"}
_PRODUCT = tuple(f"{os.sep}{part}{os.sep}" for part in ("oms", "functions", "simulation"))
_BELOW = tuple(
    f"{os.sep}{part}"
    for part in (
        "runtime",
        "store.py",
        "bootstrap.py",
        "channels/http.py",
        "backend.py",
        "scheduler.py",
        "gate.py",
        "faults.py",
        "services.py",
    )
)
_GLUE = ("<", "TransportClient.", "_past_stored_failures", "Lambdas.", "EasyPostCarrier._call")


@dataclass(slots=True, frozen=True)
class Call:
    """One outgoing request of our code, before it is carried out."""

    service: str
    operation: str
    caller: str
    """Module and function of ours that made it: with the operation, the call site."""
    data: Mapping[str, Any]
    mutates: bool

    @property
    def site(self) -> str:
        return f"{self.caller} → {self.service}.{self.operation}"

    def touched(self) -> set[str]:
        """The items, queues or addresses that it concerns; two calls without a common one commute."""
        if self.service == "dynamodb":
            return set(_keys(self.operation, self.data))
        for name in ("QueueUrl", "url", "SecretId"):
            if name in self.data:
                return {str(self.data[name])}
        return {self.service}

    def places(self) -> set[str]:
        """What it touches by partition (an index is its whole table): enough to tell calls that cannot meet."""
        if self.service != "dynamodb":
            return {self.service} | self.touched()
        found = set()
        for key in self.touched():
            table, _, rest = key.partition("/")
            if "[" in table or "[" in key.split("/")[0]:
                table = key.partition("[")[0]
                value = self.data.get("ExpressionAttributeValues", {}).get(":pk", {}).get("S")
                found.add(f"{table}/*" if "IndexName" in self.data or value is None else f"{table}/{value}")
            else:
                found.add(f"{table}/{rest.rpartition('/')[0]}")
        return found


class Gate(Protocol):
    """Stands between our code and every service."""

    def __call__(self, call: Call, execute: Callable[[], Answer]) -> Answer: ...


def answer(payload: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON answer as AWS sends it."""
    return status, {**_JSON, **(headers or {})}, json.dumps(payload).encode()


def aws_error(code: str, message: str, status: int = 400, **extra: Any) -> Answer:
    """An error as AWS sends it."""
    return answer({"__type": code, "message": message, "Message": message, **extra}, status, {"x-amzn-errortype": code})


def calling_function() -> str:
    """The nearest function of ours up the stack, skipping the plumbing that every call shares."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if any(part in path for part in _PRODUCT) and not any(part in path for part in _BELOW):
            name = frame.f_code.co_qualname.rpartition("<locals>.")[2]
            if not name.startswith(_GLUE):
                return f"{Path(path).stem}.{name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"


def _keys(operation: str, data: Mapping[str, Any]) -> Iterator[str]:
    def key(table: str, item: Mapping[str, Any]) -> str:
        return f"{table}/{item.get('pk', {}).get('S')}/{item.get('sk', {}).get('S')}"

    if "TransactItems" in data:
        for entry in data["TransactItems"]:
            for action in entry.values():
                yield key(action["TableName"], action.get("Item") or action["Key"])
    elif "RequestItems" in data:
        for table, request in data["RequestItems"].items():
            entries = request["Keys"] if isinstance(request, dict) else []
            yield from (key(table, entry) for entry in entries)
    elif "Key" in data or "Item" in data:
        yield key(data["TableName"], data.get("Key") or data["Item"])
    else:
        values = data.get("ExpressionAttributeValues", {})
        yield f"{data.get('TableName')}[{data.get('IndexName', '')}]{json.dumps(values, sort_keys=True)}"


class Cloud:
    """DynamoDB, SQS, Secrets Manager and (through ``stepfunctions``) the workflow service of one run."""

    def __init__(self, template: Template, gate: Gate) -> None:
        self.template, self.gate = template, gate
        self.calls = 0
        self.writes = 0
        """Grows with every call that may have changed something: checkers look only when it moved."""
        self.secrets: dict[str, dict[str, Any]] = {}
        self.ses = SesCore(lambda: 0.0, lambda delivery: None)
        self.stepfunctions: Callable[[str, Mapping[str, Any]], Answer] | None = None

    def reset(self) -> None:
        """Empty tables, streams, queues and mailboxes, made from the template."""
        self.ses.letters.clear()
        dynamodb.reset()
        sqs.reset()
        dynamodb._stream_seq_counter = 0
        dynamodb._txn_token_sweep_at = 0.0
        for table in self.template.tables:
            self._make("dynamodb", "CreateTable", table)
        for queue in self.template.queues:
            self._make("sqs", "CreateQueue", queue)

    def _make(self, service: str, operation: str, data: Mapping[str, Any]) -> None:
        status, _, body = self.execute(service, operation, data)
        if status != 200:
            raise RuntimeError(f"{operation}: {body.decode()}")

    # ---- the wire ------------------------------------------------------------------------------------------------

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Answer one attempt of one botocore call."""
        if "X-Amz-Target" in request.headers:
            prefix, _, operation = str(_text(request.headers["X-Amz-Target"])).partition(".")
            service = _SERVICES[prefix]
        else:
            service, operation = "sesv2", "SendEmail"  # the one service that we call by paths
        body = request.body
        data: dict[str, Any] = json.loads(body) if body else {}  # type: ignore[arg-type]
        call = Call(
            service, operation, calling_function(), data, operation not in _READS and service != "secretsmanager"
        )
        self.calls += 1
        status, headers, content = self.gate(call, lambda: self.execute(service, operation, data))
        response: Any = AWSResponse(request.url, status, dict(headers), None)  # type: ignore[arg-type]
        response._content = content
        return response

    def execute(self, service: str, operation: str, data: Mapping[str, Any]) -> Answer:
        """Carry a call out: no interleaving, no faults."""
        if service == "secretsmanager":
            return self._secret(data)
        if service == "stepfunctions":
            if self.stepfunctions is None:
                raise RuntimeError("no workflow service in this run")
            self.writes += 1
            return self.stepfunctions(operation, data)
        if service == "sesv2":
            self.writes += 1
            raw = json.dumps(data).encode()
            sent = self.ses.handle(Request.to("POST", "/v2/email/outbound-emails", {}, raw))
            return sent.status, sent.headers, sent.body
        if operation not in _READS:
            self.writes += 1
        module, prefix = (dynamodb, "DynamoDB_20120810") if service == "dynamodb" else (sqs, "AmazonSQS")
        work = module.handle_request(
            "POST", "/", {"x-amz-target": f"{prefix}.{operation}", "host": ""}, json.dumps(data).encode(), {}
        )
        try:
            work.send(None)
        except StopIteration as stop:
            status, headers, content = stop.value
            return status, headers, content if isinstance(content, bytes) else content.encode()
        work.close()
        raise RuntimeError(f"{operation} would wait")

    def _secret(self, data: Mapping[str, Any]) -> Answer:
        secret = self.secrets.get(data["SecretId"])
        if secret is None:
            return aws_error("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        return answer({"ARN": data["SecretId"], "Name": data["SecretId"], "SecretString": json.dumps(secret)})

    # ---- looking without touching --------------------------------------------------------------------------------

    def items(self, table: str) -> Iterator[Image]:
        """Every item of a table as DynamoDB stores it; not a copy."""
        for partition in dynamodb._tables[table]["items"].values():
            yield from partition.values()

    def item(self, table: str, pk: str, sk: str) -> Image | None:
        """One item as DynamoDB stores it; not a copy."""
        found: Image | None = dynamodb._tables[table]["items"].get(pk, {}).get(sk)
        return found

    def plant(self, table: str, pk: str, sk: str, item: Image | None) -> None:
        """Corrupt a table behind everybody's back: only for showing that a checker sees it."""
        stored = dynamodb._tables[table]
        if item is None:
            dynamodb._remove_item(stored, pk, sk)
        else:
            dynamodb._set_item(stored, pk, sk, item)
        self.writes += 1

    def records(self, table: str, position: int) -> list[dict[str, Any]]:
        """The table's stream from an absolute position on."""
        found: list[dict[str, Any]] = dynamodb._stream_records.get(table) or []
        return found[position - dynamodb._stream_trimmed.get(table, 0) :]

    def queue(self, name: str) -> dict[str, Any]:
        """A queue's live state, by name."""
        found: dict[str, Any] = sqs._queues[sqs._queue_name_to_url[name]]
        return found

    def queue_url(self, name: str) -> str:
        """The URL under which our code knows a queue."""
        return str(sqs._queue_name_to_url[name])

    def messages(self, name: str) -> list[dict[str, Any]]:
        """The messages of a queue, visible or not."""
        found: list[dict[str, Any]] = self.queue(name)["messages"]
        return found

    @contextmanager
    def as_of(self, table: str, records: int) -> Iterator[None]:
        """Show a table as it stood so many changes ago: what a lagging index or replica still shows."""
        stored = dynamodb._tables[table]
        now = stored["items"]
        past = type(now)(dict, {pk: dict(partition) for pk, partition in now.items()})
        stream = dynamodb._stream_records.get(table) or []
        for record in reversed(stream[len(stream) - records :] if records else []):
            change = record["dynamodb"]
            pk, sk = change["Keys"]["pk"]["S"], change["Keys"]["sk"]["S"]
            if "OldImage" in change:
                past[pk][sk] = change["OldImage"]
            else:
                past[pk].pop(sk, None)
        stored["items"] = past
        stored.pop(dynamodb._INDEX_MEMBERS, None)
        try:
            yield
        finally:
            stored["items"] = now
            stored.pop(dynamodb._INDEX_MEMBERS, None)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


# ---- plugging into botocore --------------------------------------------------------------------------------------

_active: Cloud | None = None
_original_send = botocore.endpoint.Endpoint._send  # type: ignore[attr-defined]
_original_sign = botocore.signers.RequestSigner.sign
_original_agent = botocore.useragent.UserAgentString.to_string


def _send(self: botocore.endpoint.Endpoint, request: AWSPreparedRequest) -> Any:
    return _active.send(request) if _active else _original_send(self, request)


def _sign(self: botocore.signers.RequestSigner, *args: Any, **kwargs: Any) -> None:
    # Nobody checks signatures here, and they cost more than the calls.
    if _active is None:
        _original_sign(self, *args, **kwargs)


def _agent(self: botocore.useragent.UserAgentString) -> str:
    return "simulation" if _active else str(_original_agent(self))


botocore.endpoint.Endpoint._send = _send  # type: ignore[attr-defined]
botocore.useragent.UserAgentString.to_string = _agent  # type: ignore[method-assign]
botocore.signers.RequestSigner.sign = _sign  # type: ignore[method-assign]


@contextmanager
def connected(cloud: Cloud) -> Iterator[Cloud]:
    """Every botocore client of the process talks to ``cloud`` for the duration."""
    global _active
    environment = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "simulation",
        "AWS_SECRET_ACCESS_KEY": "none",
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    _active = cloud
    try:
        yield cloud
    finally:
        _active = None
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def host_of(url: str) -> str:
    """The host of an address, which says whose service it is."""
    return urlsplit(url).hostname or ""


def plain(value: Mapping[str, Any]) -> Any:
    """One attribute as Python: numbers as int, sets as sorted lists."""
    ((kind, inner),) = value.items()
    if kind == "N":
        return int(inner)
    if kind == "M":
        return {name: plain(entry) for name, entry in inner.items()}
    if kind == "L":
        return [plain(entry) for entry in inner]
    if kind in {"SS", "NS", "BS"}:
        return sorted(inner)
    return None if kind == "NULL" else inner


def plain_item(item: Image) -> dict[str, Any]:
    """A stored item as Python values."""
    return {name: plain(value) for name, value in item.items()}


def plain_items(items: Iterable[Image]) -> Iterator[dict[str, Any]]:
    """Stored items as Python values."""
    return (plain_item(item) for item in items)
