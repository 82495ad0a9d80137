"""Step Functions on virtual time: the part of the Amazon States Language (JSONPath) that our workflow uses.

Executions are tasks of the scheduler, so states interleave with everything else. Errors of the API are AWS's own:
``ExecutionAlreadyExists``, ``ExecutionDoesNotExist``, ``InvalidToken`` and ``TaskTimedOut``.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.simulation.backend import Answer, answer, aws_error
from tests.simulation.faults import Plane
from tests.simulation.lambdas import Lambdas
from tests.simulation.scheduler import Event, Scheduler, Task, TimedOut
from tests.simulation.template import ACCOUNT, REGION, Function


class StateError(Exception):
    """An error that a state meets and a Retry or Catch may name."""

    def __init__(self, name: str, cause: str = "") -> None:
        super().__init__(f"{name}: {cause}")
        self.name, self.cause = name, cause


class Stopped(BaseException):
    """The execution was stopped while this branch was waiting."""


@dataclass(slots=True)
class Token:
    """A callback that a task waits for."""

    value: str
    event: Event = field(default_factory=Event)
    output: Any = None
    error: StateError | None = None
    open: bool = True
    beats: int = 0


@dataclass(slots=True)
class Execution:
    """One execution."""

    name: str
    arn: str
    input: str
    started: float
    status: str = "RUNNING"
    output: Any = None
    error: str = ""
    cause: str = ""
    states: list[str] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)


class Workflows:
    """One state machine and its executions."""

    def __init__(
        self,
        definition: Mapping[str, Any],
        scheduler: Scheduler,
        lambdas: Lambdas,
        functions: Callable[[str], Function],
        plane: Plane,
        rng: random.Random,
    ) -> None:
        self.definition, self.scheduler, self.lambdas = definition, scheduler, lambdas
        self.functions, self.plane, self.rng = functions, plane, rng
        self.executions: dict[str, Execution] = {}
        self.tokens: dict[str, Token] = {}

    # ---- the service's API ---------------------------------------------------------------------------------------

    def __call__(self, operation: str, data: Mapping[str, Any]) -> Answer:
        handler = getattr(self, f"_{operation}", None)
        if handler is None:
            return aws_error("UnknownOperationException", operation)
        result: Answer = handler(data)
        return result

    def _StartExecution(self, data: Mapping[str, Any]) -> Answer:
        name, text = data["name"], data.get("input", "{}")
        arn = f"{data['stateMachineArn'].replace(':stateMachine:', ':execution:')}:{name}"
        known = self.executions.get(name)
        if known:
            if known.status == "RUNNING" and known.input == text:
                return answer({"executionArn": arn, "startDate": known.started})
            return aws_error("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        execution = Execution(name, arn, text, self.scheduler.clock.now)
        self.executions[name] = execution
        self._branch(execution, f"workflow:{name[:8]}", lambda: self._drive(execution))
        return answer({"executionArn": arn, "startDate": execution.started})

    def _StopExecution(self, data: Mapping[str, Any]) -> Answer:
        execution = next((each for each in self.executions.values() if each.arn == data["executionArn"]), None)
        if execution is None:
            return aws_error("ExecutionDoesNotExist", f"Execution Does Not Exist: '{data['executionArn']}'")
        if execution.status == "RUNNING":
            execution.status, execution.error = "ABORTED", data.get("error", "")
            for task in execution.tasks:
                task.kill(Stopped())
        return answer({"stopDate": self.scheduler.clock.now})

    def _DescribeExecution(self, data: Mapping[str, Any]) -> Answer:
        execution = next((each for each in self.executions.values() if each.arn == data["executionArn"]), None)
        if execution is None:
            return aws_error("ExecutionDoesNotExist", f"Execution Does Not Exist: '{data['executionArn']}'")
        return answer(
            {
                "executionArn": execution.arn,
                "stateMachineArn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:machine",
                "name": execution.name,
                "status": execution.status,
                "startDate": execution.started,
                "input": execution.input,
            }
        )

    def _SendTaskSuccess(self, data: Mapping[str, Any]) -> Answer:
        return self._answer_token(data, lambda token: setattr(token, "output", json.loads(data["output"])))

    def _SendTaskFailure(self, data: Mapping[str, Any]) -> Answer:
        error = StateError(data.get("error", "States.TaskFailed"), data.get("cause", ""))
        return self._answer_token(data, lambda token: setattr(token, "error", error))

    def _SendTaskHeartbeat(self, data: Mapping[str, Any]) -> Answer:
        token = self.tokens.get(data["taskToken"])
        if token is None:
            return aws_error("InvalidToken", "Invalid Token: 'Invalid token'")
        if not token.open:
            return aws_error("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        token.beats += 1
        return answer({})

    def _answer_token(self, data: Mapping[str, Any], apply: Callable[[Token], None]) -> Answer:
        token = self.tokens.get(data["taskToken"])
        if token is None:
            return aws_error("InvalidToken", "Invalid Token: 'Invalid token'")
        if not token.open:
            code = self.rng.choice(("TaskTimedOut", "TaskTimedOut", "TaskDoesNotExist"))
            return aws_error(code, "Task Timed Out: 'Provided task does not exist anymore'")
        token.open = False
        apply(token)
        token.event.set()
        return answer({})

    # ---- running -------------------------------------------------------------------------------------------------

    def _branch(self, execution: Execution, name: str, body: Callable[[], Any]) -> Task:
        task = self.scheduler.spawn(name, body)
        execution.tasks.append(task)
        return task

    def _drive(self, execution: Execution) -> None:
        limit = self.definition.get("TimeoutSeconds")
        me = self.scheduler.current
        if limit and me:
            me.deadline = self.scheduler.clock.now + float(limit)
        context = {
            "Execution": {"Id": execution.arn, "Name": execution.name, "Input": json.loads(execution.input)},
            "StateMachine": {"Name": "machine"},
        }
        try:
            execution.output = self._machine(execution, self.definition, json.loads(execution.input), context)
            execution.status = "SUCCEEDED"
        except StateError as error:
            execution.status, execution.error, execution.cause = "FAILED", error.name, error.cause
        except TimedOut:
            execution.status, execution.error = "TIMED_OUT", "States.Timeout"
            for task in execution.tasks:
                if task is not me:
                    task.kill(Stopped())
        except Stopped:
            execution.status = "ABORTED"

    def _machine(self, execution: Execution, machine: Mapping[str, Any], data: Any, context: Mapping[str, Any]) -> Any:
        name = machine["StartAt"]
        while True:
            state = machine["States"][name]
            execution.states.append(name)
            try:
                data, following = self._state(execution, name, state, data, context)
            except StateError as error:
                handler = next((each for each in state.get("Catch", ()) if _named(each, error)), None)
                if handler is None:
                    raise
                data = _place(handler.get("ResultPath", "$"), data, {"Error": error.name, "Cause": error.cause})
                following = handler["Next"]
            if following is None:
                return data
            name = following

    def _state(
        self, execution: Execution, name: str, state: Mapping[str, Any], data: Any, context: Mapping[str, Any]
    ) -> tuple[Any, str | None]:
        raw = data
        context = {**context, "State": {"Name": name, "EnteredTime": _time(self.scheduler.clock.now), "RetryCount": 0}}
        chosen = select(state.get("InputPath", "$"), raw, context) if state.get("InputPath", "$") is not None else {}
        following = None if state.get("End") else state.get("Next")
        match state["Type"]:
            case "Pass":
                result = state.get(
                    "Result", fill(state["Parameters"], chosen, context) if "Parameters" in state else chosen
                )
            case "Succeed":
                return chosen, None
            case "Fail":
                error = select(state["ErrorPath"], chosen, context) if "ErrorPath" in state else state.get("Error", "")
                cause = select(state["CausePath"], chosen, context) if "CausePath" in state else state.get("Cause", "")
                raise StateError(str(error), str(cause))
            case "Choice":
                for rule in state["Choices"]:
                    if _holds(rule, chosen, context):
                        return chosen, rule["Next"]
                if "Default" not in state:
                    raise StateError("States.NoChoiceMatched", name)
                return chosen, state["Default"]
            case "Wait":
                seconds = state.get("Seconds")
                if seconds is None:
                    seconds = select(state["SecondsPath"], chosen, context)
                self.scheduler.sleep(float(seconds))
                result = chosen
            case "Task" | "Map" | "Parallel" as kind:
                work = {"Task": self._task, "Map": self._map, "Parallel": self._parallel}[kind]
                result = self._retried(state, context, lambda attempt: work(execution, name, state, chosen, attempt))
                if "ResultSelector" in state:
                    result = fill(state["ResultSelector"], result, context)
            case other:
                raise ValueError(f"the simulation knows no {other} state")
        merged = _place(state.get("ResultPath", "$"), raw, result)
        output = state.get("OutputPath", "$")
        return (select(output, merged, context) if output is not None else {}), following

    def _retried(
        self, state: Mapping[str, Any], context: Mapping[str, Any], work: Callable[[Mapping[str, Any]], Any]
    ) -> Any:
        attempts: dict[int, int] = {}
        while True:
            number = sum(attempts.values())
            try:
                return work({**context, "State": {**context["State"], "RetryCount": number}})
            except StateError as error:
                position, rule = next(
                    ((n, each) for n, each in enumerate(state.get("Retry", ())) if _named(each, error)), (0, None)
                )
                made = attempts.get(position, 0)
                if rule is None or made >= rule.get("MaxAttempts", 3):
                    raise
                attempts[position] = made + 1
                delay = rule.get("IntervalSeconds", 1) * rule.get("BackoffRate", 2.0) ** made
                delay = min(delay, rule.get("MaxDelaySeconds", delay))
                if rule.get("JitterStrategy") == "FULL":
                    delay *= self.rng.random()
                self.scheduler.sleep(delay)

    # ---- work states ---------------------------------------------------------------------------------------------

    def _task(
        self, execution: Execution, name: str, state: Mapping[str, Any], data: Any, context: Mapping[str, Any]
    ) -> Any:
        resource: str = state["Resource"]
        waits = resource.endswith(".waitForTaskToken")
        token = None
        if waits:
            token = Token(f"token-{len(self.tokens) + 1}-{execution.name}")
            self.tokens[token.value] = token
            context = {**context, "Task": {"Token": token.value}}
        parameters = fill(state["Parameters"], data, context) if "Parameters" in state else data
        limit = state.get("TimeoutSeconds")
        if "TimeoutSecondsPath" in state:
            limit = select(state["TimeoutSecondsPath"], data, context)
        started = self.scheduler.clock.now
        try:
            if ":states:::lambda:invoke" in resource:
                function = self.functions(parameters["FunctionName"])
                result = self._invoke(function, parameters.get("Payload", {}), limit)
            elif ":states:::" not in resource:
                function = self.functions(resource)
                return self._invoke(function, parameters, limit)
            else:
                raise ValueError(f"the simulation knows no {resource}")
            if token is None:
                return {"Payload": result, "StatusCode": 200, "ExecutedVersion": "1"}
            return self._await(token, started, limit, state.get("HeartbeatSeconds"))
        finally:
            if token is not None:
                token.open = False

    def _await(self, token: Token, started: float, limit: float | None, heartbeat: float | None) -> Any:
        while not token.event.is_set:
            left = None if limit is None else started + float(limit) - self.scheduler.clock.now
            beats = token.beats
            pause = min((each for each in (left, heartbeat) if each is not None), default=None)
            if self.scheduler.wait(token.event, pause):
                break
            if limit is not None and self.scheduler.clock.now >= started + float(limit):
                raise StateError("States.Timeout")
            if heartbeat is not None and token.beats == beats:
                raise StateError("States.HeartbeatTimeout")
        if token.error:
            raise token.error
        return token.output

    def _invoke(self, function: Function, payload: Any, limit: float | None) -> Any:
        if self.plane.strikes("task_repeated", f"workflow → {function.short}"):
            # Lambda ran the function but its answer was lost; Step Functions invokes it again.
            first = self.lambdas.invoke(function, payload)
            self.scheduler.wait(first.done, limit)
        task = self.lambdas.invoke(function, payload)
        if not self.scheduler.wait(task.done, limit):
            raise StateError("States.Timeout")
        if task.error is None:
            return task.result
        if isinstance(task.error, TimedOut):
            raise StateError("Sandbox.Timedout", f"{function.name} timed out")
        if isinstance(task.error, Exception):
            cause = {"errorType": type(task.error).__name__, "errorMessage": str(task.error)}
            raise StateError(type(task.error).__name__, json.dumps(cause))
        raise StateError("Runtime.ExitError", f"{function.name} exited")

    def _map(
        self, execution: Execution, name: str, state: Mapping[str, Any], data: Any, context: Mapping[str, Any]
    ) -> Any:
        items = select(state.get("ItemsPath", "$"), data, context)
        machine = state.get("ItemProcessor") or state["Iterator"]
        template = state.get("ItemSelector") or state.get("Parameters")
        limit = int(state.get("MaxConcurrency", 0)) or len(items) or 1
        results: list[Any] = [None] * len(items)
        waiting = list(enumerate(items))
        running: list[tuple[int, Task]] = []
        while waiting or running:
            while waiting and len(running) < limit:
                index, item = waiting.pop(0)
                inner = {**context, "Map": {"Item": {"Index": index, "Value": item}}}
                given = fill(template, data, inner) if template is not None else item
                body = _bind(self._machine, execution, machine, given, inner)
                running.append((index, self._branch(execution, f"workflow:{execution.name[:8]}/{index}", body)))
            self._first(execution, running)
            for index, task in [pair for pair in running if pair[1].done.is_set]:
                running.remove((index, task))
                results[index] = task.result
        return results

    def _parallel(
        self, execution: Execution, name: str, state: Mapping[str, Any], data: Any, context: Mapping[str, Any]
    ) -> Any:
        given = fill(state["Parameters"], data, context) if "Parameters" in state else data
        tasks = [
            (
                n,
                self._branch(
                    execution,
                    f"workflow:{execution.name[:8]}/{n}",
                    _bind(self._machine, execution, each, given, context),
                ),
            )
            for n, each in enumerate(state["Branches"])
        ]
        results: list[Any] = [None] * len(tasks)
        while tasks:
            self._first(execution, tasks)
            for index, task in [pair for pair in tasks if pair[1].done.is_set]:
                tasks.remove((index, task))
                results[index] = task.result
        return results

    def _first(self, execution: Execution, running: list[tuple[int, Task]]) -> None:
        """Wait until one branch has ended; the first failure ends the others."""
        self.scheduler.wait(_AnyOf(task for _, task in running))  # type: ignore[arg-type]
        for _, task in running:
            if task.done.is_set and task.error is not None:
                for _, other in running:
                    if not other.done.is_set:
                        other.kill(Stopped())
                if isinstance(task.error, StateError | Stopped):
                    raise task.error
                raise task.error

    def running(self) -> list[Execution]:
        """Executions that have not ended."""
        return [execution for execution in self.executions.values() if execution.status == "RUNNING"]


class _AnyOf:
    """An event that is set as soon as one of several tasks has ended."""

    def __init__(self, tasks: Any) -> None:
        self._tasks = list(tasks)

    @property
    def is_set(self) -> bool:
        return any(task.done.is_set for task in self._tasks)


def _bind(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    return lambda: function(*args)


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _named(rule: Mapping[str, Any], error: StateError) -> bool:
    names = rule["ErrorEquals"]
    if error.name in names or "States.ALL" in names:
        return True
    return "States.TaskFailed" in names and not error.name.startswith("States.")


# ---- JSONPath ----------------------------------------------------------------------------------------------------

_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+|\*)\]|\['([^']+)'\]")
_INTRINSIC = re.compile(r"States\.(\w+)\((.*)\)$", re.S)


def select(path: str, data: Any, context: Mapping[str, Any]) -> Any:
    """The value at a reference path, or of an intrinsic function. A path that leads nowhere fails the state."""
    intrinsic = _INTRINSIC.match(path)
    if intrinsic:
        return _intrinsic(intrinsic.group(1), intrinsic.group(2), data, context)
    if path.startswith("$$"):
        data, path = context, path[1:]
    if not path.startswith("$"):
        raise StateError("States.Runtime", f"{path} is no path")
    return _walk(data, _STEP.findall(path[1:]), path)


def _walk(value: Any, steps: list[tuple[str, str, str]], path: str) -> Any:
    for position, (name, index, quoted) in enumerate(steps):
        if index == "*":
            return [_walk(each, steps[position + 1 :], path) for each in value]
        try:
            value = value[int(index)] if index else value[name or quoted]
        except (KeyError, IndexError, TypeError) as error:
            raise StateError("States.ParameterPathFailure", f"{path} leads nowhere") from error
    return value


def _intrinsic(name: str, text: str, data: Any, context: Mapping[str, Any]) -> Any:
    arguments = [_argument(each.strip(), data, context) for each in _split(text)]
    match name:
        case "Format":
            result = str(arguments[0])
            for value in arguments[1:]:
                result = result.replace("{}", value if isinstance(value, str) else json.dumps(value), 1)
            return result
        case "Array":
            return arguments
        case "JsonToString":
            return json.dumps(arguments[0])
        case "StringToJson":
            return json.loads(arguments[0])
        case "ArrayLength":
            return len(arguments[0])
        case "MathAdd":
            return arguments[0] + arguments[1]
        case _:
            raise ValueError(f"the simulation knows no States.{name}")


def _split(text: str) -> list[str]:
    parts, depth, quoted, start = [], 0, False, 0
    for position, letter in enumerate(text):
        if letter == "'":
            quoted = not quoted
        elif not quoted and letter in "([":
            depth += 1
        elif not quoted and letter in ")]":
            depth -= 1
        elif letter == "," and not depth and not quoted:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]] if text.strip() else []


def _argument(text: str, data: Any, context: Mapping[str, Any]) -> Any:
    if text.startswith("'"):
        return text[1:-1]
    if text.startswith(("$", "States.")):
        return select(text, data, context)
    return json.loads(text)


def fill(template: Any, data: Any, context: Mapping[str, Any]) -> Any:
    """A payload template with its paths replaced."""
    if isinstance(template, Mapping):
        return {
            (key[:-2] if key.endswith(".$") else key): (
                select(value, data, context) if key.endswith(".$") else fill(value, data, context)
            )
            for key, value in template.items()
        }
    if isinstance(template, list):
        return [fill(each, data, context) for each in template]
    return template


def _place(path: str | None, data: Any, result: Any) -> Any:
    if path is None:
        return data
    steps = [name or quoted for name, _, quoted in _STEP.findall(path[1:])]
    if not steps:
        return result
    root = dict(data) if isinstance(data, Mapping) else {}
    node = root
    for step in steps[:-1]:
        node[step] = dict(node.get(step) or {})
        node = node[step]
    node[steps[-1]] = result
    return root


def _holds(rule: Mapping[str, Any], data: Any, context: Mapping[str, Any]) -> bool:
    if "And" in rule:
        return all(_holds(each, data, context) for each in rule["And"])
    if "Or" in rule:
        return any(_holds(each, data, context) for each in rule["Or"])
    if "Not" in rule:
        return not _holds(rule["Not"], data, context)
    try:
        value, present = select(rule["Variable"], data, context), True
    except StateError:
        value, present = None, False
    ((kind, wanted),) = ((key, inner) for key, inner in rule.items() if key not in {"Variable", "Next", "Comment"})
    if kind == "IsPresent":
        return present is wanted
    if not present:
        raise StateError("States.Runtime", f"{rule['Variable']} leads nowhere")
    if kind == "IsNull":
        return (value is None) is wanted
    if kind.endswith("Path"):
        kind, wanted = kind.removesuffix("Path"), select(wanted, data, context)
    if kind == "BooleanEquals":
        return value is wanted
    kinds = (str,) if kind.startswith("String") else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool):
        return False
    match kind.removeprefix("String").removeprefix("Numeric"):
        case "Equals":
            return bool(value == wanted)
        case "LessThan":
            return bool(value < wanted)
        case "LessThanEquals":
            return bool(value <= wanted)
        case "GreaterThan":
            return bool(value > wanted)
        case "GreaterThanEquals":
            return bool(value >= wanted)
        case other:
            raise ValueError(f"the simulation knows no {other} comparison")
