"""Shopify and Amazon against what they publish: a GraphQL schema, Swagger contracts, a notification's schema.

The contracts may not be copied into this repository: they are read from ``../shared/facts`` where it exists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from graphql import (
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    get_named_type,
    parse,
    validate,
)
from jsonschema import Draft4Validator, Draft7Validator

from local.simulators import shopify as shopify_simulator
from oms.channels.amazon import parse_notification
from oms.channels.port import Callback
from oms.runtime.outbound import HttpRequest, HttpResponse
from tests.contract.test_channel_contracts import FACTS, story
from tests.support.marketplaces import SECRETS, Rig, shopify_callback

pytestmark = pytest.mark.skipif(
    not FACTS.is_dir(),
    reason="The published contracts are not here (../shared/facts): our copies may not be distributed.",
)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


# Shopify.


@cache
def admin() -> GraphQLSchema:
    return build_schema((FACTS / "shopify/admin-2026-10.trimmed.graphql").read_text())


@pytest.fixture(scope="module")
def shopify() -> Rig:
    rig = Rig("shopify")
    story(rig)
    return rig


def shopify_complaints(request: HttpRequest, response: HttpResponse) -> list[str]:
    """What is wrong with a request, or with an answer's data when it is read through the published schema."""
    asked = json.loads(request.body)
    document = parse(asked["query"])
    if wrong := validate(admin(), document):
        return [str(error) for error in wrong]

    def as_answered(source: Any, info: Any, **arguments: Any) -> Any:
        return source[info.path.key]

    data = response.json()["data"]
    result = execute_sync(admin(), document, data, None, asked["variables"], field_resolver=as_answered)
    return [str(error) for error in result.errors or []] + ([] if result.data == data else ["the data differ"])


def test_shopifys_requests_and_answers_keep_to_the_published_schema(shopify: Rig) -> None:
    complaints = {text for exchange in shopify.exchanges for text in shopify_complaints(*exchange)}
    assert complaints == set()
    asked = set()
    for request, _ in shopify.exchanges:
        (definition,) = parse(json.loads(request.body)["query"]).definitions
        assert isinstance(definition, OperationDefinitionNode)
        assert definition.name
        asked.add(definition.name.value)
    assert asked == {"levels", "setQuantities", "order", "orders", "fulfillments", "fulfillmentOrders", "fulfill"}


def test_no_query_of_ours_is_deprecated_or_costs_too_much(shopify: Rig) -> None:
    for request, response in shopify.exchanges:
        document = json.loads(request.body)["query"]
        assert "V2(" not in document
        assert response.json()["extensions"]["cost"]["requestedQueryCost"] <= 1000


def test_the_simulated_schema_is_a_part_of_the_published_one() -> None:
    differences = []
    for name, ours in shopify_simulator._SCHEMA.type_map.items():
        theirs = admin().type_map.get("QueryRoot" if name == "Query" else name)
        if not isinstance(ours, GraphQLObjectType | GraphQLInputObjectType) or name.startswith("__"):
            continue
        known: Mapping[str, Any] = getattr(theirs, "fields", {})
        for field_name, field in ours.fields.items():
            published = known.get(field_name)
            if published is None:
                differences.append(f"{name}.{field_name} is not published")
                continue
            kinds = str(field.type), str(published.type)
            named = get_named_type(published.type)
            # Enumerations are text in the simulated schema: the values are checked in answers.
            same = kinds[0] == kinds[1] or kinds[0].replace("String", named.name) == kinds[1]
            if not same:
                differences.append(f"{name}.{field_name}: {kinds}")
            for argument in getattr(field, "args", {}):
                if argument not in published.args:
                    differences.append(f"{name}.{field_name}({argument}) is not published")
    assert differences == []


def test_the_published_schema_still_asks_for_the_key() -> None:
    directive = admin().get_directive("idempotent")
    assert directive is not None
    assert str(directive.args["key"].type) == "String!"


def test_shopifys_signature_vector() -> None:
    vectors = json.loads((FACTS / "webhook-vectors.json").read_text())
    (vector,) = [each for each in vectors if each["provider"] == "shopify"]
    headers = {name.lower(): value for name, value in vector["other_headers"].items()}
    headers[vector["header"].lower()] = vector["value"]
    callback = Callback("POST", headers, {}, vector["body"].encode())
    rig = Rig("shopify")
    shop = {**SECRETS["shopify"], "shop_domain": "example.myshopify.com"}
    rig.secret = {**shop, "webhook_secrets": ["the next one", vector["secret"]]}
    (notice,) = rig.channel.read_callback(callback, NOW)
    assert notice.kind == "order.created"
    assert notice.external_id == "1073459969"
    assert notice.event_id == "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"


def test_every_documented_order_names_itself() -> None:
    samples = json.loads((FACTS / "shopify/orders-rest-2026-07.samples.json").read_text())
    rig = Rig("shopify")
    for sample in samples:
        callback = shopify_callback(json.dumps(sample).encode(), topic="orders/updated")
        (notice,) = rig.channel.read_callback(callback, NOW)
        assert sample["admin_graphql_api_id"].endswith(f"/{notice.external_id}")


# Amazon.

AMAZON = (
    "amazon/listingsItems_2021-08-01.trimmed.json",
    "amazon/orders_2026-01-01.json",
    "amazon/ordersV0.trimmed.json",
)


@pytest.fixture(scope="module")
def amazon() -> Rig:
    rig = Rig("amazon")
    story(rig)
    rig.channel.fetch_order(rig.buy({"A": 1}, paid=False))
    return rig


@cache
def swagger(name: str) -> Mapping[str, Any]:
    contract: dict[str, Any] = json.loads((FACTS / name).read_text())
    return contract


def amazon_operation(request: HttpRequest) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    path = urlsplit(request.url).path
    for name in AMAZON:
        for template, operations in swagger(name)["paths"].items():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            if request.method.lower() in operations and re.fullmatch(pattern, path):
                return swagger(name), operations[request.method.lower()]
    return None


def swagger_complaints(contract: Mapping[str, Any], value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a value, names that the contract does not declare included."""
    for error in Draft4Validator({**schema, "definitions": contract["definitions"]}).iter_errors(value):
        yield f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
    yield from undeclared(contract, value, schema, "$")


def undeclared(contract: Mapping[str, Any], value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    while "$ref" in schema:
        schema = contract["definitions"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, dict) and "properties" in schema:
        for name, member in value.items():
            if name not in schema["properties"]:
                yield f"{path}.{name} is not declared"
            else:
                yield from undeclared(contract, member, schema["properties"][name], f"{path}.{name}")
    elif isinstance(value, list) and "items" in schema:
        for member in value:
            yield from undeclared(contract, member, schema["items"], f"{path}[]")


def amazon_complaints(request: HttpRequest, response: HttpResponse) -> tuple[str, list[str]]:
    found = amazon_operation(request)
    assert found, f"{request.method} {request.url} is no operation"
    contract, told = found
    wrong: list[str] = []
    declared = {each["name"]: each for each in told["parameters"] if each["in"] == "query"}
    given = dict(parse_qsl(urlsplit(request.url).query))
    wrong += [f"{name} is not declared" for name in given if name not in declared]
    wrong += [f"{name} is required" for name, each in declared.items() if each.get("required") and name not in given]
    for name, text in given.items():
        values = text.split(",") if declared[name]["type"] == "array" else []
        allowed = declared[name].get("items", {}).get("enum")
        wrong += [f"{name}: {value} is not allowed" for value in values if allowed and value not in allowed]
    for body in (each for each in told["parameters"] if each["in"] == "body"):
        wrong += swagger_complaints(contract, json.loads(request.body), body["schema"])
    answer = told["responses"].get(str(response.status))
    if answer is None:
        wrong.append(f"the status {response.status} is not declared")
    elif answer.get("schema"):
        wrong += swagger_complaints(contract, response.json(), answer["schema"])
    return str(told["operationId"]), wrong


def test_amazons_requests_and_answers_keep_to_the_published_contracts(amazon: Rig) -> None:
    complaints: dict[str, set[str]] = {}
    seen = set()
    for exchange in amazon.exchanges:
        name, wrong = amazon_complaints(*exchange)
        seen.add(name)
        if wrong:
            complaints.setdefault(name, set()).update(wrong)
    assert complaints == {}
    assert seen == {"getListingsItem", "patchListingsItem", "searchOrders", "getOrder", "confirmShipment"}


@cache
def order_change() -> Mapping[str, Any]:
    schema: dict[str, Any] = json.loads((FACTS / "amazon/OrderChangeNotification.json").read_text())
    return schema


def test_the_published_notification_is_read() -> None:
    (example,) = order_change()["examples"]
    notice = parse_notification(json.dumps(example), "A3TH9S8BH6GOGM")
    assert notice is not None
    assert notice.kind == "order.created"
    assert notice.external_id == "903-8868176-2219830"
    assert notice.event_id == "d0e9e693-c3ad-4373-979f-ed4ec98dd746"


def test_the_simulated_notifications_keep_to_the_published_schema(amazon: Rig) -> None:
    validator = Draft7Validator(order_change())
    assert amazon.delivered
    for delivery in amazon.delivered:
        assert [error.message for error in validator.iter_errors(json.loads(delivery.body))] == []
