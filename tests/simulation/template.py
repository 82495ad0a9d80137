"""What ``template.yaml`` says about tables, queues, functions and the workflow: the simulation cannot drift from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT, REGION = "000000000000", "us-east-1"


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags turned into their long forms."""


def _tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = str(value).split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tag)


@dataclass(frozen=True, slots=True)
class Source:
    """One event source mapping."""

    function: str
    kind: str
    """``stream``, ``queue`` or ``schedule``."""
    target: str
    """The table, the queue, or the schedule's name."""
    batch_size: int = 10
    patterns: tuple[Mapping[str, Any], ...] = ()
    bisect: bool = False
    retries: int = 10_000
    max_age: float = 86_400.0
    partial: bool = False
    on_failure: str = ""
    every: float = 60.0
    payload: str = "{}"


@dataclass(frozen=True, slots=True)
class Function:
    """One Lambda function."""

    name: str
    path: Path
    attribute: str
    timeout: float
    environment: Mapping[str, str]

    @property
    def short(self) -> str:
        """Its entry file without directories, for traces."""
        return self.path.stem


@dataclass(slots=True)
class Template:
    """The parts that a run needs."""

    tables: list[dict[str, Any]] = field(default_factory=list)
    queues: list[dict[str, Any]] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    ttl: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    """The workflow's definition, its substitutions made."""
    rights: dict[str, list[tuple[frozenset[str], tuple[str, ...]]]] = field(default_factory=dict)
    """By function, what its role allows: actions, and the names of resources with what of them behind a slash."""

    def function_at(self, entry: str) -> Function:
        """The function whose entry is ``functions/<entry>.py``; its logical name may change, its file does not."""
        found = [each for each in self.functions.values() if str(each.path).endswith(f"/functions/{entry}.py")]
        if found:
            return found[0]
        path = ROOT / "functions" / f"{entry}.py"
        if not path.exists():
            raise LookupError(f"there is no functions/{entry}.py")
        tables = {"ORDERS_TABLE": "OrdersTable", "INVENTORY_TABLE": "InventoryTable"}
        return Function(entry, path, "handler", 30.0, tables)


@cache
def load(path: Path = ROOT / "template.yaml", parameters: tuple[tuple[str, str], ...] = ()) -> Template:
    """Read a SAM template, with some of its parameters set."""
    document = yaml.load(path.read_text(), _Loader)  # noqa: S506 - a SafeLoader with tags
    return parse(document, path.parent, dict(parameters))


def parse(document: Mapping[str, Any], root: Path, parameters: Mapping[str, str] | None = None) -> Template:
    """Turn a template's document into what a run needs."""
    return _Reader(document, root, parameters or {}).read()


_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}


class _Reader:
    def __init__(self, document: Mapping[str, Any], root: Path, parameters: Mapping[str, str]) -> None:
        self.document, self.root = document, root
        self.resources: Mapping[str, Any] = document["Resources"]
        self.parameters = (
            {name: spec.get("Default", "") for name, spec in document.get("Parameters", {}).items()}
            | {"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::StackName": "oms"}
            | dict(parameters)
        )

    def read(self) -> Template:
        template = Template()
        machines = []
        for name, resource in self.resources.items():
            properties = resource.get("Properties", {})
            match resource["Type"]:
                case "AWS::DynamoDB::Table":
                    template.tables.append(self._table(name, properties))
                    ttl = self.value(properties.get("TimeToLiveSpecification", {}))
                    if ttl:
                        template.ttl[name] = ttl["AttributeName"]
                case "AWS::SQS::Queue":
                    template.queues.append(self._queue(name, properties))
                case "AWS::Serverless::Function":
                    template.functions[name] = self._function(name, properties)
                    template.rights[name] = self._rights(self.value(properties["Role"]) if "Role" in properties else "")
                    template.sources.extend(self._sources(name, properties.get("Events", {})))
                case "AWS::Lambda::EventSourceMapping":
                    function = self.value(properties["FunctionName"])
                    template.sources.append(self._mapping(str(function), properties))
                case "AWS::Scheduler::Schedule":
                    template.sources.append(self._schedule(name, properties))
                case "AWS::Serverless::StateMachine" | "AWS::StepFunctions::StateMachine":
                    machines.append(properties)
                case _:
                    pass
        # A queue must exist before another one names it as its dead-letter queue.
        template.queues.sort(key=lambda queue: "RedrivePolicy" in queue["Attributes"])
        for properties in machines:
            template.machine = self._machine(properties)
        return template

    # ---- intrinsic functions -------------------------------------------------------------------------------------

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.value(entry) for entry in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((key, inner),) = node.items()
            if key == "Ref":
                return self._ref(str(inner))
            if key == "Fn::GetAtt":
                return self._attribute(*([str(part) for part in inner]))
            if key == "Fn::Sub":
                return self._substitute(inner)
            if key == "Fn::If":
                return self.value(inner[1] if self._holds({"Condition": inner[0]}) else inner[2])
            if key == "Fn::Join":
                return inner[0].join(str(self.value(entry)) for entry in inner[1])
            if key == "Fn::ToJsonString":
                return json.dumps(self.value(inner))
        resolved = {key: self.value(inner) for key, inner in node.items()}
        return {key: inner for key, inner in resolved.items() if inner is not None}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return None
        if name in self.parameters:
            return self.parameters[name]
        if name.endswith(".Alias"):
            return name.removesuffix(".Alias")
        kind = self.resources.get(name, {}).get("Type")
        if kind == "AWS::SQS::Queue":
            return f"http://localhost:4566/{ACCOUNT}/{name}"
        if kind in {"AWS::Serverless::StateMachine", "AWS::StepFunctions::StateMachine"}:
            return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"
        return name

    def _attribute(self, name: str, attribute: str) -> str:
        kind = self.resources.get(name, {}).get("Type")
        if attribute == "StreamArn":
            return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}/stream/1"
        if kind == "AWS::SQS::Queue" and attribute == "Arn":
            return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
        return name

    def _substitute(self, inner: Any) -> str:
        text, extra = (inner, {}) if isinstance(inner, str) else (inner[0], inner[1])

        def one(match: re.Match[str]) -> str:
            name = match.group(1)
            if name in extra:
                return str(self.value(extra[name]))
            if "." in name and not name.endswith(".Alias"):
                return self._attribute(*name.split(".", 1))
            return str(self._ref(name))

        return re.sub(r"\$\{([^}!]+)\}", one, text)

    def _holds(self, condition: Any) -> bool:
        ((key, inner),) = condition.items()
        match key:
            case "Condition":
                return self._holds(self.document["Conditions"][inner])
            case "Fn::Equals":
                return str(self.value(inner[0])) == str(self.value(inner[1]))
            case "Fn::Not":
                return not self._holds(inner[0])
            case "Fn::And":
                return all(self._holds(entry) for entry in inner)
            case _:
                return any(self._holds(entry) for entry in inner)

    # ---- resources -----------------------------------------------------------------------------------------------

    def _table(self, name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        wanted = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
        table = {key: self.value(properties[key]) for key in wanted if key in properties}
        stream = self.value(properties.get("StreamSpecification"))
        if stream:
            table["StreamSpecification"] = {"StreamEnabled": True, **stream}
        return {"TableName": name, **table}

    def _queue(self, name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        wanted = ("VisibilityTimeout", "MessageRetentionPeriod", "DelaySeconds")
        attributes = {key: str(self.value(properties[key])) for key in wanted if key in properties}
        if "RedrivePolicy" in properties:
            attributes["RedrivePolicy"] = json.dumps(self.value(properties["RedrivePolicy"]))
        return {"QueueName": name, "Attributes": attributes}

    def _function(self, name: str, properties: Mapping[str, Any]) -> Function:
        defaults = self.document.get("Globals", {}).get("Function", {})
        variables = {
            **defaults.get("Environment", {}).get("Variables", {}),
            **properties.get("Environment", {}).get("Variables", {}),
        }
        module, _, attribute = str(self.value(properties.get("Handler", defaults.get("Handler", "")))).rpartition(".")
        code = str(self.value(properties.get("CodeUri", defaults.get("CodeUri", "."))))
        return Function(
            name,
            (self.root / code / f"{module}.py").resolve(),
            attribute,
            float(self.value(properties.get("Timeout", defaults.get("Timeout", 3)))),
            {key: str(self.value(value)) for key, value in variables.items()},
        )

    def _rights(self, role: str) -> list[tuple[frozenset[str], tuple[str, ...]]]:
        found = []
        for policy in self.resources.get(role, {}).get("Properties", {}).get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                resource = self.value(statement["Resource"])
                listed = resource if isinstance(resource, list) else [resource]
                names = tuple(str(each).rpartition(":")[2] for each in listed)
                found.append((frozenset(statement["Action"]), names))
        return found

    def _sources(self, function: str, events: Mapping[str, Any]) -> list[Source]:
        found = []
        for name, event in events.items():
            properties = event.get("Properties", {})
            match event["Type"]:
                case "DynamoDB":
                    found.append(self._mapping(function, {"EventSourceArn": properties["Stream"], **properties}))
                case "SQS":
                    found.append(self._mapping(function, {"EventSourceArn": properties["Queue"], **properties}))
                case "Schedule" | "ScheduleV2":
                    expression = str(self.value(properties.get("ScheduleExpression", properties.get("Schedule"))))
                    payload = str(self.value(properties.get("Input", "{}")))
                    found.append(Source(function, "schedule", name, every=_seconds(expression), payload=payload))
                case _:
                    pass
        return found

    def _schedule(self, name: str, properties: Mapping[str, Any]) -> Source:
        target = properties["Target"]
        arn = target["Arn"]
        function = str(self.value(arn)).removesuffix(".Alias")
        expression = str(self.value(properties["ScheduleExpression"]))
        payload = str(self.value(target.get("Input", "{}")))
        return Source(function, "schedule", name, every=_seconds(expression), payload=payload)

    def _mapping(self, function: str, properties: Mapping[str, Any]) -> Source:
        arn = str(self.value(properties["EventSourceArn"]))
        stream = ":table/" in arn
        target = arn.split("/")[1] if stream else arn.rpartition(":")[2]
        filters = self.value(properties.get("FilterCriteria", {})).get("Filters", [])
        failure = self.value(properties.get("DestinationConfig", {})).get("OnFailure", {}).get("Destination", "")
        retries = int(properties.get("MaximumRetryAttempts", -1))
        return Source(
            function.removesuffix(".Alias"),
            "stream" if stream else "queue",
            target,
            batch_size=int(self.value(properties.get("BatchSize", 100 if stream else 10))),
            patterns=tuple(json.loads(entry["Pattern"]) for entry in filters),
            bisect=bool(properties.get("BisectBatchOnFunctionError", False)),
            retries=retries if retries >= 0 else 10_000,
            max_age=float(properties.get("MaximumRecordAgeInSeconds", 86_400)),
            partial="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
            on_failure=str(failure).rpartition(":")[2],
        )

    def _machine(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        text = (self.root / str(properties["DefinitionUri"])).read_text()
        for name, value in self.value(properties.get("DefinitionSubstitutions", {})).items():
            text = text.replace(f"${{{name}}}", str(value))
        definition: dict[str, Any] = json.loads(text)
        return definition


def _seconds(expression: str) -> float:
    match = _RATE.fullmatch(expression)
    if not match:
        raise ValueError(f"the simulation knows rate(…) schedules, not {expression}")
    return float(match.group(1)) * _SECONDS[match.group(2)]


# ---- event patterns ----------------------------------------------------------------------------------------------


def matches(pattern: Any, event: Any) -> bool:
    """Does an event pass one ``FilterCriteria`` pattern?"""
    for key, wanted in pattern.items():
        if key == "$or":
            if not any(matches(each, event) for each in wanted):
                return False
            continue
        present = isinstance(event, Mapping) and key in event
        value = event[key] if present else None
        if isinstance(wanted, Mapping):
            if not matches(wanted, value if present else {}):
                return False
        elif not any(_rule(rule, value, present) for rule in wanted):
            return False
    return True


def _rule(rule: Any, value: Any, present: bool) -> bool:
    if isinstance(value, list):
        return any(_rule(rule, each, present) for each in value)
    if not isinstance(rule, Mapping):
        return present and rule == value
    ((kind, operand),) = rule.items()
    match kind:
        case "exists":
            return present is bool(operand)
        case "prefix":
            return present and str(value).startswith(operand)
        case "suffix":
            return present and str(value).endswith(operand)
        case "equals-ignore-case":
            return present and str(value).lower() == operand.lower()
        case "anything-but":
            if isinstance(operand, Mapping):
                return present and not _rule(operand, value, present)
            return present and value not in (operand if isinstance(operand, list) else [operand])
        case _:
            raise ValueError(f"unknown filter rule {kind}")
