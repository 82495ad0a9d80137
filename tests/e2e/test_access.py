"""Who may do what: on the API, and, one level below, in IAM."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.client import Client, checkout

STAFF_ROUTES = [
    ("PUT", "/products/X"),
    ("GET", "/products/X"),
    ("GET", "/stock/X"),
    ("POST", "/stock/movements"),
    ("PUT", "/stock/X/listings/etsy"),
    ("GET", "/warehouse/main/work"),
    ("POST", "/warehouse/tasks/x-pick/scans"),
]


@pytest.fixture(scope="module")
def placed(client: Client) -> Any:
    return client.place(checkout((client.stock_up("PRIVATE", 5), 1))).expect(201)


@pytest.mark.parametrize(("method", "path"), STAFF_ROUTES)
def test_staff_routes_are_shut_to_everybody_without_a_token(client: Client, method: str, path: str) -> None:
    assert client.api(method, path, {}).status == 401


def test_a_forged_staff_token_is_refused(client: Client) -> None:
    head, payload, signature = client.endpoints["tokens"]["ops"].split(".")
    forged = f"{head}.{payload}.{signature[:-6]}AAAAAA"
    answer = client.api("GET", "/stock/PRIVATE", headers={"authorization": f"Bearer {forged}"})
    assert answer.status == 401


def test_a_forged_staff_token_opens_no_order(client: Client, placed: Any) -> None:
    head, payload, signature = client.endpoints["tokens"]["agent"].split(".")
    forged = f"{head}.{payload}.{signature[:-6]}AAAAAA"
    answer = client.api("GET", f"/orders/{placed['order_id']}", headers={"authorization": f"Bearer {forged}"})
    assert answer.status == 401


@pytest.mark.parametrize(
    ("staff", "method", "path", "body"),
    [
        ("agent", "PUT", "/products/X", {}),
        ("warehouse", "PUT", "/stock/X/listings/etsy", {}),
        ("agent", "POST", "/stock/movements", {}),
        ("agent", "GET", "/warehouse/main/work", None),
        ("ops", "POST", "/warehouse/tasks/x-pick/complete", None),
    ],
)
def test_staff_of_another_group_are_refused(client: Client, staff: str, method: str, path: str, body: Any) -> None:
    answer = client.api(method, path, body, staff=staff, key=client.new_key())
    assert (answer.status, answer.body["code"]) == (403, "forbidden")


@pytest.mark.parametrize("token", [None, "", "1f.guessed", "ffffffff.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
def test_a_stranger_learns_nothing_of_an_order(client: Client, placed: Any, token: str | None) -> None:
    known = client.api("GET", f"/orders/{placed['order_id']}", order_token=token)
    unknown = client.api("GET", "/orders/00000000-0000-5000-8000-000000000000", order_token=token)
    assert known.status == unknown.status == 404
    assert {**known.body, "request_id": ""} == {**unknown.body, "request_id": ""}


def test_the_token_of_one_order_opens_no_other(client: Client, placed: Any) -> None:
    other = client.place(checkout(("PRIVATE", 1))).expect(201)
    answer = client.api("GET", f"/orders/{placed['order_id']}", order_token=other["order_token"])
    assert answer.status == 404
    cancelled = client.api("POST", f"/orders/{placed['order_id']}/cancel", order_token=other["order_token"])
    assert cancelled.status == 404


def test_an_agent_reads_any_order_and_sees_what_customers_do_not(client: Client, placed: Any) -> None:
    seen = client.order_as_staff(placed["order_id"])
    assert seen["order_id"] == placed["order_id"]
    assert "priority" in seen
    assert "priority" not in client.order(placed)


@pytest.mark.parametrize("path", ["/webhooks/stripe", "/channels/etsy/callbacks", "/channels/ebay/callbacks"])
def test_a_callback_that_nobody_signed_is_refused(client: Client, path: str) -> None:
    assert client.api("POST", path, {"id": "evt_1", "type": "payment_intent.succeeded"}).status in (400, 412)


def test_a_function_can_do_what_its_role_says_and_nothing_else(client: Client) -> None:
    role = client.aws("iam").get_role(RoleName=client.resource("ConfirmShipmentRole"))["Role"]["Arn"]
    lent = client.aws("sts").assume_role(RoleArn=role, RoleSessionName="e2e")["Credentials"]
    tables = boto3.client(
        "dynamodb",
        endpoint_url=client.endpoints["aws_endpoint"],
        region_name=client.endpoints["region"],
        aws_access_key_id=lent["AccessKeyId"],
        aws_secret_access_key=lent["SecretAccessKey"],
        aws_session_token=lent["SessionToken"],
    )
    orders, inventory = client.endpoints["orders_table"], client.endpoints["inventory_table"]
    key = {"pk": {"S": "ORDER#none"}, "sk": {"S": "ORDER"}}
    assert "Item" not in tables.get_item(TableName=orders, Key=key)
    with pytest.raises(ClientError, match="AccessDenied"):
        tables.scan(TableName=orders, Limit=1)
    with pytest.raises(ClientError, match="AccessDenied"):
        tables.put_item(TableName=inventory, Item=key)
