"""What the template promises: nothing asynchronous without its four parts, no permission too many, no open route."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from local import redrive
from oms.channels import registry
from oms.channels.tokens import GRANTS
from oms.orders.listening import LISTENERS

ROOT = Path(__file__).resolve().parents[2]

# Everything else needs a staff token. The functions behind these check a token or a signature of their own.
PUBLIC_ROUTES = {
    "POST /orders": "anybody may order",
    "GET /orders/{id}": "the order's own token, or a staff token, checked in the function",
    "GET /orders/{id}/payment": "the order's own token, or a staff token, checked in the function",
    "GET /orders/{id}/receipt": "the order's own token, or a staff token, checked in the function",
    "POST /orders/{id}/cancel": "the order's own token, or a staff token, checked in the function",
    "PUT /orders/{id}/message-preferences": "the order's own token, or a staff token, checked in the function",
    "POST /orders/{id}/returns": "the order's own token, or a staff token, checked in the function",
    "GET /orders/{id}/returns": "the order's own token, or a staff token, checked in the function",
    "POST /orders/{id}/returns/{number}/decision": "the order's own token, or a staff token, checked in the function",
    "POST /orders/{id}/returns/{number}/label": "the order's own token, or a staff token, checked in the function",
    "POST /orders/{id}/edits/preview": "the order's own token, or a staff token, checked in the function",
    "POST /orders/{id}/edits": "the order's own token, or a staff token, checked in the function",
    "PATCH /orders/{id}/address": "the order's own token, or a staff token, checked in the function",
    "POST /orders/{id}/messages": "the order's own token, checked in the function",
    "POST /channels/{channel}/callbacks": "signed by the marketplace",
    "GET /channels/{channel}/callbacks": "eBay's challenge",
    "POST /webhooks/stripe": "signed by Stripe",
    "POST /webhooks/carriers/{carrier}": "signed by the carrier",
}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: ``!GetAtt A.B`` becomes ``{"Fn::GetAtt": "A.B"}``."""


def _intrinsic(loader: yaml.Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _intrinsic)

TEMPLATE: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
GLOBALS: dict[str, Any] = TEMPLATE["Globals"]["Function"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """Properties by name of every resource of a type."""
    return {name: each.get("Properties", {}) for name, each in RESOURCES.items() if each["Type"] == kind}


FUNCTIONS = of_type("AWS::Serverless::Function")
QUEUES = of_type("AWS::SQS::Queue")
ALARMS = of_type("AWS::CloudWatch::Alarm")
ROUTES = of_type("AWS::ApiGatewayV2::Route")


def target(reference: Any) -> str:
    """The resource that ``!Ref``, ``!GetAtt`` or ``!Sub`` points to."""
    if "Ref" in reference:
        return str(reference["Ref"]).split(".")[0]
    if "Fn::GetAtt" in reference:
        return str(reference["Fn::GetAtt"]).split(".")[0]
    return str(re.findall(r"\$\{(\w+)", reference["Fn::Sub"])[-1])


def events(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(function, properties) of every event of a kind."""
    for name, function in FUNCTIONS.items():
        for event in function.get("Events", {}).values():
            if event["Type"] == kind:
                yield name, event["Properties"]


def statements(function: str) -> list[dict[str, Any]]:
    """The statements of a function's own role."""
    role = RESOURCES[target(FUNCTIONS[function]["Role"])]["Properties"]
    return [each for policy in role["Policies"] for each in policy["PolicyDocument"]["Statement"]]


def allows(function: str, action: str, resource: str) -> bool:
    """Whether a function's role allows an action on a resource of the template."""
    for statement in statements(function):
        resources = statement["Resource"]
        listed = resources if isinstance(resources, list) else [resources]
        if action in statement["Action"] and resource in [target(each) for each in listed]:
            return True
    return False


def alarmed(metric: str, dimension: str, resource: str) -> bool:
    """Whether some alarm watches a metric of a resource."""
    return any(
        watched["MetricName"] == metric
        and any(
            each["Name"] == dimension and not isinstance(each["Value"], str) and target(each["Value"]) == resource
            for each in watched["Dimensions"]
        )
        for alarm in ALARMS.values()
        for watched in [alarm, *(each["MetricStat"]["Metric"] for each in _metrics_of(alarm))]
        if "Dimensions" in watched
    )


def kept_for_good(queue: str) -> None:
    """A queue of failures keeps them for a fortnight, has an alarm, and can be played back."""
    assert QUEUES[queue]["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert alarmed("ApproximateNumberOfMessagesVisible", "QueueName", queue), f"no alarm on {queue}"
    stack = redrive.Stack(queues=dict.fromkeys(QUEUES, "https://queue.example"), client=lambda service: None)
    assert queue in stack.dead_letters(), f"make redrive does not know {queue}"


CONSUMED = [(name, target(properties["Queue"]), properties) for name, properties in events("SQS")]
STREAMED = list(events("DynamoDB"))
SCHEDULED = list(events("ScheduleV2"))


class TestQueues:
    @pytest.mark.parametrize(("function", "queue", "properties"), CONSUMED, ids=[name for name, *_ in CONSUMED])
    def test_a_consumed_queue_has_its_four_parts(self, function: str, queue: str, properties: dict[str, Any]) -> None:
        policy = QUEUES[queue]["RedrivePolicy"]
        assert policy["maxReceiveCount"] >= 3, "retries"
        kept_for_good(target(policy["deadLetterTargetArn"]))
        assert alarmed("ApproximateAgeOfOldestMessage", "QueueName", queue), f"nobody sees that {queue} waits"
        assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]

    @pytest.mark.parametrize(("function", "queue", "properties"), CONSUMED, ids=[name for name, *_ in CONSUMED])
    def test_a_message_stays_hidden_for_six_times_its_function(
        self, function: str, queue: str, properties: dict[str, Any]
    ) -> None:
        timeout = FUNCTIONS[function].get("Timeout", GLOBALS["Timeout"])
        window = properties.get("MaximumBatchingWindowInSeconds", 0)
        assert QUEUES[queue]["VisibilityTimeout"] >= 6 * timeout + window

    def test_a_queue_has_a_consumer_or_is_one_of_failures(self) -> None:
        consumed = {queue for _, queue, _ in CONSUMED}
        assert {name for name in QUEUES if not name.endswith(("DeadLetters", "Failures"))} == consumed

    def test_failures_are_played_back_by_the_way_they_came(self) -> None:
        destinations = {target(each["DestinationConfig"]["OnFailure"]["Destination"]) for _, each in STREAMED}
        assert destinations == set(redrive.STREAM_FAILURES)
        assert {target(each["DeadLetterConfig"]["Arn"]) for _, each in SCHEDULED} == set(redrive.SCHEDULE_FAILURES)

    def test_a_dead_letter_queue_is_named_after_its_source(self) -> None:
        # The redrive finds the source by the name.
        for name, queue in QUEUES.items():
            if "RedrivePolicy" in queue:
                assert (
                    target(queue["RedrivePolicy"]["deadLetterTargetArn"]) == name.removesuffix("Queue") + "DeadLetters"
                )


class TestMails:
    def test_whoever_sends_mail_sends_it_under_the_configuration_set(self) -> None:
        senders = [name for name, each in FUNCTIONS.items() if "MAIL_FROM" in each["Environment"]["Variables"]]
        assert senders
        for name in senders:
            told = FUNCTIONS[name]["Environment"]["Variables"]["MAIL_CONFIGURATION_SET"]
            assert allows(name, "ses:SendEmail", target(told)), name
            assert allows(name, "ses:SendEmail", "MailIdentity"), name

    def test_what_ses_says_reaches_its_queue_as_it_is_and_nobody_else_says_it(self) -> None:
        (destination,) = of_type("AWS::SES::ConfigurationSetEventDestination").values()
        assert set(destination["EventDestination"]["MatchingEventTypes"]) == {"bounce", "complaint"}
        topic = target(destination["EventDestination"]["SnsDestination"]["TopicARN"])
        (subscription,) = [
            each for each in of_type("AWS::SNS::Subscription").values() if target(each["TopicArn"]) == topic
        ]
        assert subscription["RawMessageDelivery"] is True
        assert target(subscription["Endpoint"]) in {queue for _, queue, _ in CONSUMED}
        (publishers,) = [
            each["PolicyDocument"]["Statement"]
            for each in of_type("AWS::SNS::TopicPolicy").values()
            if topic in map(target, each["Topics"])
        ]
        (senders,) = [
            each["PolicyDocument"]["Statement"]
            for each in of_type("AWS::SQS::QueuePolicy").values()
            if target(subscription["Endpoint"]) in map(target, each["Queues"])
        ]
        for statement in (*publishers, *senders):
            (condition,) = statement["Condition"].values()
            assert "AWS:SourceArn" in condition


class TestStreams:
    @pytest.mark.parametrize(("function", "properties"), STREAMED, ids=[name for name, _ in STREAMED])
    def test_a_stream_reader_has_its_four_parts(self, function: str, properties: dict[str, Any]) -> None:
        assert properties["StartingPosition"] == "TRIM_HORIZON"
        assert properties["BisectBatchOnFunctionError"] is True
        assert 3 <= properties["MaximumRetryAttempts"] <= 10
        assert properties["MaximumRecordAgeInSeconds"] <= 21_600
        assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        failures = target(properties["DestinationConfig"]["OnFailure"]["Destination"])
        kept_for_good(failures)
        assert allows(function, "sqs:SendMessage", failures), f"{function} may not report its failures"
        assert alarmed("IteratorAge", "FunctionName", function), f"nobody sees that {function} is late"

    @pytest.mark.parametrize(("function", "properties"), STREAMED, ids=[name for name, _ in STREAMED])
    def test_a_stream_reader_is_woken_only_by_entities_that_exist(
        self, function: str, properties: dict[str, Any]
    ) -> None:
        source = "".join(path.read_text() for path in (ROOT / "layers" / "common" / "oms").rglob("*.py"))
        for each in properties["FilterCriteria"]["Filters"]:
            wanted = json.loads(each["Pattern"])["dynamodb"]["NewImage"]["entity"]["S"]
            for entity in wanted:
                assert f'"{entity}"' in source, f"{function} waits for {entity}, which nobody writes"

    def test_a_stream_has_at_most_two_readers(self) -> None:
        readers = [target(properties["Stream"]) for _, properties in STREAMED]
        assert all(readers.count(table) <= 2 for table in readers)

    def test_the_relay_is_woken_by_the_events_that_somebody_listens_for_and_by_no_others(self) -> None:
        (patterns,) = [each["FilterCriteria"]["Filters"] for name, each in STREAMED if name == "RelayFunction"]
        images = [json.loads(each["Pattern"])["dynamodb"]["NewImage"] for each in patterns]
        (wanted,) = [image["type"]["S"] for image in images if image["entity"]["S"] == ["event"]]
        assert wanted == sorted({type for listener in LISTENERS for type in listener.types})


class TestSchedules:
    @pytest.mark.parametrize(("function", "properties"), SCHEDULED, ids=[name for name, _ in SCHEDULED])
    def test_a_schedule_has_its_four_parts(self, function: str, properties: dict[str, Any]) -> None:
        assert properties["RetryPolicy"]["MaximumRetryAttempts"] >= 1
        kept_for_good(target(properties["DeadLetterConfig"]["Arn"]))
        assert alarmed("Errors", "FunctionName", function)


class TestPermissions:
    @pytest.mark.parametrize("function", sorted(FUNCTIONS))
    def test_a_role_names_every_action_and_resource(self, function: str) -> None:
        for statement in statements(function):
            assert statement["Effect"] == "Allow"
            for action in statement["Action"]:
                assert "*" not in action, f"{function}: {action}"
            resources = statement["Resource"]
            for resource in resources if isinstance(resources, list) else [resources]:
                assert resource != "*", f"{function}: {statement['Sid']}"

    def test_no_policy_anywhere_has_a_wildcard_action(self) -> None:
        actions = [
            action
            for kind in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
            for properties in of_type(kind).values()
            for action in _actions(properties)
        ]
        assert actions
        assert not [action for action in actions if "*" in action]

    @pytest.mark.parametrize("function", sorted(FUNCTIONS))
    def test_a_function_has_a_role_of_its_own(self, function: str) -> None:
        assert [name for name, each in FUNCTIONS.items() if each["Role"] == FUNCTIONS[function]["Role"]] == [function]

    @pytest.mark.parametrize("function", sorted(FUNCTIONS))
    def test_a_function_is_told_the_names_of_what_it_may_use(self, function: str) -> None:
        environment = FUNCTIONS[function]["Environment"]["Variables"]
        for variable, value in environment.items():
            if variable.endswith("_SECRET_ID"):
                assert allows(function, "secretsmanager:GetSecretValue", target(value)), f"{function}: {variable}"
            if variable.endswith("_QUEUE_URL"):
                assert allows(function, "sqs:SendMessage", target(value)), f"{function}: {variable}"


class TestRoutes:
    @pytest.mark.parametrize("name", sorted(ROUTES))
    def test_a_route_is_public_on_purpose_or_needs_a_staff_token(self, name: str) -> None:
        route = ROUTES[name]
        if route["RouteKey"] in PUBLIC_ROUTES:
            assert route["AuthorizationType"] == "NONE"
            return
        assert route["AuthorizationType"] == "JWT", f"{route['RouteKey']} is open to everybody"
        assert target(route["AuthorizerId"]) == "StaffAuthorizer"

    def test_every_public_route_exists(self) -> None:
        assert PUBLIC_ROUTES.keys() <= {route["RouteKey"] for route in ROUTES.values()}

    @pytest.mark.parametrize("integration", sorted(of_type("AWS::ApiGatewayV2::Integration")))
    def test_an_integration_may_call_its_function(self, integration: str) -> None:
        called = RESOURCES[integration]["Properties"]["IntegrationUri"]
        permitted = [each["FunctionName"] for each in of_type("AWS::Lambda::Permission").values()]
        assert called in permitted

    def test_routes_and_handlers_agree(self) -> None:
        """What a function dispatches is what the API sends to it."""
        for function, properties in FUNCTIONS.items():
            handled = _route_table(ROOT / properties["CodeUri"] / (properties["Handler"].split(".")[0] + ".py"))
            integrations = [
                name
                for name, each in of_type("AWS::ApiGatewayV2::Integration").items()
                if target(each["IntegrationUri"]) == function
            ]
            sent = {route["RouteKey"] for route in ROUTES.values() if target(route["Target"]) in integrations}
            assert handled == sent, function


class TestMetrics:
    def test_every_metric_that_an_alarm_or_the_dashboard_names_is_emitted(self) -> None:
        named = {alarm["MetricName"] for alarm in ALARMS.values() if alarm.get("Namespace") == "OrderManagement"}
        watched = [each["MetricStat"]["Metric"] for each in _watched_by_metric_math()]
        named |= {metric["MetricName"] for metric in watched if metric["Namespace"] == "OrderManagement"}
        body = json.loads(re.sub(r"\$\{[^}]*\}", "x", RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]))
        shown = [metric for widget in body["widgets"] for metric in widget["properties"]["metrics"]]
        named |= {metric[1] for metric in shown if metric[0] == "OrderManagement"}
        source = "".join(
            path.read_text() for folder in ("layers", "functions") for path in (ROOT / folder).rglob("*.py")
        )
        assert not sorted(name for name in named if f'"{name}"' not in source)

    def test_an_alarm_s_service_is_one_that_some_function_has(self) -> None:
        services = {each["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] for each in FUNCTIONS.values()}
        for name, alarm in ALARMS.items():
            for dimension in alarm.get("Dimensions", []):
                if dimension["Name"] == "service":
                    assert dimension["Value"] in services, name
        for each in _watched_by_metric_math():
            metric = each["MetricStat"]["Metric"]
            dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
            assert metric["Namespace"] != "OrderManagement" or dimensions["service"] in services

    def test_an_alarm_over_all_channels_leaves_none_out(self) -> None:
        for name, alarm in ALARMS.items():
            if "Metrics" in alarm:
                seen = [
                    dimension["Value"]
                    for each in alarm["Metrics"]
                    if "MetricStat" in each
                    for dimension in each["MetricStat"]["Metric"]["Dimensions"]
                    if dimension["Name"] == "channel"
                ]
                if not seen:
                    continue
                expiring = name == "ChannelTokensAlarm"
                assert sorted(seen) == sorted(GRANTS if expiring else registry.channel_names()), name

    def test_what_an_alarm_over_several_resources_watches_stands_on_the_dashboard(self) -> None:
        body = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
        for each in _watched_by_metric_math():
            metric = each["MetricStat"]["Metric"]
            for dimension in metric["Dimensions"]:
                if not isinstance(dimension["Value"], str):
                    shown = f'"{metric["MetricName"]}", "{dimension["Name"]}", "${{{_spelled(dimension["Value"])}}}"'
                    assert shown in body, shown

    @pytest.mark.parametrize("alarm", sorted(ALARMS))
    def test_an_alarm_tells_somebody_and_says_what_is_wrong(self, alarm: str) -> None:
        assert ALARMS[alarm]["AlarmActions"] == [{"Ref": "AlarmTopic"}]
        assert ALARMS[alarm]["AlarmDescription"].endswith((".", "it."))
        assert ALARMS[alarm]["TreatMissingData"] == "notBreaching"

    @pytest.mark.parametrize("function", sorted(FUNCTIONS))
    def test_a_function_that_fails_is_noticed(self, function: str) -> None:
        assert alarmed("Errors", "FunctionName", function)


class TestFunctions:
    @pytest.mark.parametrize("function", sorted(FUNCTIONS))
    def test_a_function_is_one_file_that_exists(self, function: str) -> None:
        properties = FUNCTIONS[function]
        module, _, name = properties["Handler"].partition(".")
        assert name == "handler"
        assert (ROOT / properties["CodeUri"] / f"{module}.py").is_file()

    def test_every_file_is_a_function(self) -> None:
        entries = {str(path.relative_to(ROOT)) for path in (ROOT / "functions").glob("*/*.py")}
        declared = {each["CodeUri"] + each["Handler"].removesuffix(".handler") + ".py" for each in FUNCTIONS.values()}
        assert entries == declared

    @pytest.mark.parametrize("path", sorted((ROOT / "functions").glob("*/*.py")), ids=lambda path: path.stem)
    def test_a_function_never_imports_its_sibling(self, path: Path) -> None:
        siblings = {each.stem for each in path.parent.glob("*.py")}
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not imported & (siblings | {"functions"})

    @pytest.mark.parametrize("function", sorted(FUNCTIONS))
    def test_a_function_is_published_whenever_anything_of_it_changes(self, function: str) -> None:
        assert FUNCTIONS[function]["AutoPublishAliasAllProperties"] is True
        assert GLOBALS["AutoPublishAlias"] == "live"


class TestData:
    @pytest.mark.parametrize("table", sorted(of_type("AWS::DynamoDB::Table")))
    def test_a_table_can_be_restored_and_is_encrypted(self, table: str) -> None:
        properties = RESOURCES[table]["Properties"]
        assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert properties["SSESpecification"] == {"SSEEnabled": True}
        assert properties["DeletionProtectionEnabled"] == {"Fn::If": ["IsProd", True, False]}
        assert RESOURCES[table]["UpdateReplacePolicy"] == "Retain"

    @pytest.mark.parametrize("bucket", sorted(of_type("AWS::S3::Bucket")))
    def test_a_bucket_is_private_and_encrypted_and_forgets(self, bucket: str) -> None:
        properties = RESOURCES[bucket]["Properties"]
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
        assert {rule["Status"] for rule in properties["LifecycleConfiguration"]["Rules"]} == {"Enabled"}
        assert RESOURCES[bucket]["UpdateReplacePolicy"] == "Retain"

    @pytest.mark.parametrize("queue", sorted(QUEUES))
    def test_a_queue_is_encrypted(self, queue: str) -> None:
        assert QUEUES[queue]["SqsManagedSseEnabled"] is True


class TestRequirements:
    @pytest.mark.parametrize(
        "path",
        [*ROOT.glob("requirements*.txt"), *ROOT.glob("layers/*/requirements.txt")],
        ids=lambda path: str(path.relative_to(ROOT)),
    )
    def test_pins_carry_hashes_and_no_registry(self, path: Path) -> None:
        text = path.read_text()
        pins = re.findall(r"^[A-Za-z0-9_.\-\[\]]+==", text, re.M)
        assert pins
        assert len(re.findall(r"\\\n    --hash=sha256:", text)) >= len(pins)
        assert "://" not in text
        assert "index-url" not in text

    def test_the_layer_and_the_tools_pin_the_same_versions(self) -> None:
        def pinned(path: Path) -> dict[str, str]:
            return dict(re.findall(r"^([A-Za-z0-9_.\-]+)==([^ ;\\]+)", path.read_text(), re.M))

        tools = pinned(ROOT / "requirements-dev.txt")
        for layer in ROOT.glob("layers/*/requirements.txt"):
            assert pinned(layer).items() <= tools.items()


def _watched_by_metric_math() -> list[dict[str, Any]]:
    return [each for alarm in ALARMS.values() for each in _metrics_of(alarm)]


def _metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics that an alarm computes with."""
    return [each for each in alarm.get("Metrics", []) if "MetricStat" in each]


def _spelled(reference: dict[str, Any]) -> str:
    """A reference to a resource or its attribute, as ``Fn::Sub`` spells it."""
    name: str = reference.get("Ref") or reference["Fn::GetAtt"]
    return name


def _actions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        found = node.get("Action", [])
        yield from [found] if isinstance(found, str) else found
        for value in node.values():
            yield from _actions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _actions(value)


def _route_table(path: Path) -> set[str]:
    """The keys of the literal ``ROUTES`` of a function; empty where there is none."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ROUTES":
            assert isinstance(node.value, ast.Dict)
            return {ast.literal_eval(key) for key in node.value.keys if key is not None}
    return set()


def test_what_the_template_becomes_fits_into_one_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    document = yaml_parse((ROOT / "template.yaml").read_text())
    for resource in document["Resources"].values():
        for name in resource.get("Properties", {}).keys() & {"CodeUri", "DefinitionUri", "ContentUri"}:
            resource["Properties"][name] = "s3://packages/what-sam-uploads"
    managed: Any = SimpleNamespace(load=lambda: {})
    expanded = Translator(managed, Parser()).translate(document, {})
    assert len(expanded["Resources"]) <= 500
