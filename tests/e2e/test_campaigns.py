"""Segments and exports on the deployed stack: the queue, the layer that writes Parquet, the bucket and its rights."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest
import urllib3
from pyarrow import parquet

from local.client import Client, checkout
from local.reports import Stage

PATIENCE = 90.0


@pytest.fixture
def buyer(client: Client, stage: Stage, sku: str) -> Any:
    """Somebody who bought this SKU and wants marketing, as soon as their profile is known."""
    client.stock_up(sku, 5)
    customer = {"email": f"{sku.lower()}@example.com", "name": "=Ada"}
    placed = client.place(checkout((sku, 2), customer=customer)).expect(201)
    client.pay(placed).expect(200)
    conditions = {"conditions": {"field": "sku", "any_of": [sku]}}
    client.api("PUT", f"/segments/{sku.lower()}", conditions, staff="ops").expect(200)

    def listed() -> Any:
        return client.api("GET", f"/customers?segment={sku.lower()}", staff="agent").expect(200)["customers"]

    stage.wait("the profile is there", lambda: len(listed()) == 1, PATIENCE)
    (person,) = listed()
    wants = {"off": [], "marketing": True}
    client.api("PUT", f"/customers/{person['customer_id']}/message-preferences", wants, staff="agent").expect(200)
    return person


def exported(client: Client, stage: Stage, sku: str, **changes: Any) -> Any:
    """An export of the SKU's segment, once it has ended."""
    body = {"segment": sku.lower(), "purpose": "analysis", **changes}
    made = client.api("POST", "/campaigns/exports", body, staff="ops", key=client.new_key()).expect(201)

    def read() -> Any:
        return client.api("GET", f"/campaigns/exports/{made['id']}", staff="ops").expect(200)

    stage.wait("the export ends", lambda: read()["status"] in ("completed", "failed"), PATIENCE)
    export = read()
    assert export["status"] == "completed", export
    return export


def fetched(export: Any) -> bytes:
    """What the link leads to, as it is."""
    answer = urllib3.request("GET", export["download"]["url"])
    assert answer.status == 200
    return bytes(answer.data)


def test_a_segment_s_people_are_exported_behind_a_link(client: Client, stage: Stage, sku: str, buyer: Any) -> None:
    export = exported(client, stage, sku, purpose="marketing")
    assert (export["people"], export["left_out"]) == (1, {})
    told = fetched(export).decode()
    assert f"{buyer['email']},'=Ada," in told
    again = exported(client, stage, sku, format="parquet")
    table = parquet.read_table(io.BytesIO(fetched(again)))
    assert [(row["units"], dict(row["skus"])) for row in table.to_pylist()] == [(2, {sku: 2})]
    assert "email" not in table.schema.names


@pytest.mark.slow
def test_the_whole_table_is_exported_for_athena(client: Client, stage: Stage, sku: str, buyer: Any) -> None:
    table = exported(client, stage, sku, how="table")["table"]
    assert f"'{sku}'" in table["query"]
    bucket, _, prefix = table["data"].removeprefix("s3://").partition("/")
    s3 = client.aws("s3")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    files = [gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys]
    people = [
        json.loads(line)["Item"]["sk"]["S"] for file in files for line in file.splitlines() if b'"person"' in line
    ]
    assert buyer["customer_id"] in people
