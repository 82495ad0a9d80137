"""Lambda as our functions meet it: execution environments, contexts, time limits and the events of every source."""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tests.simulation.scheduler import Crash, Scheduler, Task
from tests.simulation.template import ACCOUNT, REGION, Function

Handler = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Context:
    """What Lambda passes beside the event."""

    function_name: str
    aws_request_id: str
    deadline: float
    now: Callable[[], float]
    memory_limit_in_mb: int = 512
    function_version: str = "1"

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}:live"

    @property
    def log_group_name(self) -> str:
        return f"/aws/lambda/{self.function_name}"

    @property
    def log_stream_name(self) -> str:
        return "simulation"

    def get_remaining_time_in_millis(self) -> int:
        """Until Lambda kills the invocation."""
        return max(0, int((self.deadline - self.now()) * 1000))


class Environments:
    """Loaded copies of entry modules. One copy serves one invocation at a time, as in Lambda."""

    def __init__(self) -> None:
        self._idle: dict[Path, list[ModuleType]] = {}
        self._count = 0
        self._sources: dict[Path, CodeType] = {}

    def replace(self, path: Path, code: CodeType) -> None:
        """Other code for an entry, from now on: how mutants get in."""
        self._sources[path] = code
        self._idle.pop(path, None)

    def take(self, path: Path) -> ModuleType:
        """A copy that nobody uses: a warm one if there is one."""
        idle = self._idle.setdefault(path, [])
        return idle.pop() if idle else self._load(path)

    def give_back(self, path: Path, module: ModuleType) -> None:
        """Keep a copy warm."""
        self._idle.setdefault(path, []).append(module)

    def _load(self, path: Path) -> ModuleType:
        self._count += 1
        name = f"functions.{path.parent.name}.{path.stem}__{self._count}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(str(path))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        if path in self._sources:
            exec(self._sources[path], module.__dict__)  # noqa: S102
        else:
            spec.loader.exec_module(module)
        return module


class Lambdas:
    """Invokes functions as tasks of the scheduler."""

    def __init__(self, scheduler: Scheduler, environments: Environments, enter: Callable[[Function], None]) -> None:
        self.scheduler, self.environments, self.enter = scheduler, environments, enter
        self.invocations = 0
        self.on_error: Callable[[Function, BaseException], None] | None = None
        self.overrides: dict[str, Handler] = {}
        """Handlers given directly, by function name: for the harness's own tests."""

    def invoke(
        self, function: Function, event: Any, on_done: Callable[[Task], None] | None = None, who: str = ""
    ) -> Task:
        """Start an invocation. Its task's ``error`` is what a caller would see as a function error."""
        self.invocations += 1
        number = self.invocations
        now = lambda: self.scheduler.clock.now  # noqa: E731
        context = Context(function.name, f"request-{number}", now() + function.timeout, now)
        # What crosses the border is JSON, as it is in Lambda: no shared objects.
        event = json.loads(json.dumps(event))

        def body() -> Any:
            override = self.overrides.get(function.name)
            if override:
                return _crossing(override(event, context))
            module = self.environments.take(function.path)
            try:
                result = _crossing(getattr(module, function.attribute)(event, context))
            except Crash:
                raise
            except Exception as error:
                self.environments.give_back(function.path, module)
                if self.on_error:
                    self.on_error(function, error)
                raise
            self.environments.give_back(function.path, module)
            return result

        task = self.scheduler.spawn(f"{function.short}#{number}{who}", body, limit=function.timeout, on_done=on_done)
        task.on_resume = lambda: self.enter(function)
        return task


def _crossing(result: Any) -> Any:
    return json.loads(json.dumps(result))


# ---- events ------------------------------------------------------------------------------------------------------


def http_event(
    method: str,
    path: str,
    *,
    body: bytes | str | Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    claims: Mapping[str, Any] | None = None,
    route: str | None = None,
    parameters: Mapping[str, str] | None = None,
    now: float = 0.0,
    binary: bool = False,
) -> dict[str, Any]:
    """An HTTP API event, payload format 2.0."""
    if isinstance(body, Mapping):
        body = json.dumps(body)
    raw = body.encode() if isinstance(body, str) else body
    context: dict[str, Any] = {
        "accountId": ACCOUNT,
        "apiId": "api",
        "domainName": "api.example.test",
        "domainPrefix": "api",
        "http": {
            "method": method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": "192.0.2.1",
            "userAgent": "simulation",
        },
        "requestId": "http",
        "routeKey": route or f"{method} {path}",
        "stage": "$default",
        "time": "15/Jan/2027:08:00:00 +0000",
        "timeEpoch": int(now * 1000),
    }
    if claims is not None:
        context["authorizer"] = {"jwt": {"claims": dict(claims), "scopes": None}}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route or f"{method} {path}",
        "rawPath": path,
        "rawQueryString": "&".join(f"{name}={value}" for name, value in (query or {}).items()),
        "headers": {name.lower(): value for name, value in (headers or {}).items()},
        "requestContext": context,
        "isBase64Encoded": binary,
    }
    if query:
        event["queryStringParameters"] = dict(query)
    if parameters:
        event["pathParameters"] = dict(parameters)
    if raw is not None:
        event["body"] = base64.b64encode(raw).decode() if binary else raw.decode()
    return event


def queue_event(queue: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """An SQS batch."""
    return {
        "Records": [
            {
                "messageId": message["id"],
                "receiptHandle": message["receipt_handle"],
                "body": message["body"],
                "attributes": {
                    "ApproximateReceiveCount": str(message["receive_count"]),
                    "SentTimestamp": str(int(message["sent_at"] * 1000)),
                    "SenderId": ACCOUNT,
                    "ApproximateFirstReceiveTimestamp": str(int((message["first_receive_at"] or 0) * 1000)),
                },
                "messageAttributes": {
                    name: {**{key[0].lower() + key[1:]: value for key, value in attribute.items()}}
                    for name, attribute in message["message_attributes"].items()
                },
                "md5OfBody": message["md5_body"],
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
                "awsRegion": REGION,
            }
            for message in messages
        ]
    }
