"""Imports and exports on the real handlers: interrupted, repeated, cancelled, and told row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from oms.inventory.model import Product
from tests.support.shop import STAFF_CLAIMS, Shop, open_shop

HEAD = "sku,title,price,currency,barcodes,kit\n"


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with open_shop() as opened:
        yield opened


def api(shop: Shop, route: str, body: Any = None, job: str = "", kind: str = "application/json", **query: str) -> Any:
    headers = {"content-type": kind, "idempotency-key": query.pop("key", "import-key-0001")}
    answer = shop.call(
        "inventory_sync.stock_api", route, body, headers=headers, path={"id": job}, query=query, staff=STAFF_CLAIMS
    )
    assert answer.status in (200, 201), answer
    return answer.body


def send(shop: Shop, content: str, key: str, kind: str = "text/csv", **query: str) -> Any:
    return api(shop, "POST /products/imports", content, kind=kind, key=key, **query)


def state(shop: Shop, job: Any) -> Any:
    return api(shop, f"GET /products/{job['kind']}s/{{id}}", job=job["id"])


def work(shop: Shop, job: Any, chunks: int = 1_000) -> Any:
    """One worker, which has time for so many chunks."""
    left = iter(range(chunks))
    shop.app.catalogue_jobs.work(job["id"], lambda: next(left, None) is not None)
    return state(shop, job)


def fetched(shop: Shop, job: Any) -> str:
    return shop.app.files.read(urlsplit(job["download"]["url"]).path.removeprefix("/files/").lstrip("/")).decode()


def test_rows_are_applied_and_the_others_explained(shop: Shop) -> None:
    content = (
        HEAD + "I-1,Mug,12.50,USD,036000291452,\n"
        'I-SET,"Two\nmugs",20,USD,,I-1:2\n'
        "I-2,Bad,,USD,,\n"
        "I-3,Bad,1,USD,036000291453,\n"
        "I-1,Again,1,USD,,\n"
        "I-4,Taken,1,USD,0036000291452,\n"
        "I-5,=cmd|' /C',1,USD,,\n"
    )
    job = send(shop, content, "import-0001")
    done = work(shop, job)
    assert (done["status"], done["rows"]) == ("completed", 7)
    assert done["counts"] == {"created": 3, "failed": 4}
    assert [(each["line"], each["sku"], each["field"]) for each in done["errors"]] == [
        (5, "I-2", "price"),
        (6, "I-3", "(body)"),
        (7, "", "sku"),
        (8, "I-4", "barcodes"),
    ]
    assert fetched(shop, done).splitlines()[0] == "line,sku,field,message"
    assert len(fetched(shop, done).splitlines()) == 5
    assert shop.app.catalogue.inventory.products(["I-SET"])["I-SET"].kit == {"I-1": 2}
    again = work(shop, send(shop, content, "import-0002"))
    assert again["counts"] == {"unchanged": 3, "failed": 4}
    assert send(shop, content, "import-0001")["id"] == job["id"]


def test_a_dry_run_writes_nothing_and_finds_the_same_faults(shop: Shop) -> None:
    shop.app.inventory.put_product(Product("D-0", "x", 1, "USD", ("D-CODE",)), shop.now)
    content = HEAD + "D-1,x,1,USD,,\nD-2,x,1,USD,D-CODE,\nD-3,x,1,USD,,NONE:1\n"
    done = work(shop, send(shop, content, "dry-run-0001", dry_run="true"))
    assert done["counts"] == {"created": 1, "failed": 2}
    assert shop.app.inventory.products(["D-1", "D-2", "D-3"]) == {}


def test_a_worker_that_dies_or_runs_out_of_time_is_followed_by_another(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oms.inventory.jobs._CHUNK", 3)
    content = "".join(
        json.dumps({"sku": f"W-{n}", "title": f"W {n}", "price": {"amount": 5, "currency": "USD"}}) + "\n"
        for n in range(8)
    )
    job = send(shop, content, "worker-0001", kind="application/x-ndjson")
    first = work(shop, job, chunks=1)
    assert (first["status"], first["rows"], first["counts"]) == ("running", 3, {"created": 3})
    save, jobs = type(shop.app.catalogue_jobs)._save, shop.app.catalogue_jobs

    def dies(self: Any, job: Any, **changes: Any) -> Any:
        raise ConnectionError("no more")

    monkeypatch.setattr(type(jobs), "_save", dies)
    with pytest.raises(ConnectionError):
        work(shop, job)
    monkeypatch.setattr(type(jobs), "_save", save)
    shop.app.catalogue.patch("W-4", {"title": "Changed by hand meanwhile"})
    done = work(shop, job)
    assert (done["status"], done["rows"], done["counts"]) == ("completed", 8, {"created": 8})
    assert shop.app.inventory.products(["W-4"])["W-4"].title == "Changed by hand meanwhile"
    assert work(shop, job) == done


def test_a_cancelled_import_stops_and_keeps_its_report(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oms.inventory.jobs._CHUNK", 1)
    job = send(shop, HEAD + "C-1,,1,USD,,\nC-2,x,1,USD,,\nC-3,x,1,USD,,\n", "cancel-0001")
    work(shop, job, chunks=2)
    api(shop, "POST /products/imports/{id}/cancel", job=job["id"])
    done = work(shop, job)
    assert (done["status"], done["counts"]) == ("cancelled", {"created": 1, "failed": 1})
    assert shop.app.inventory.products(["C-3"]) == {}
    assert "C-1" in fetched(shop, done)


def test_a_large_file_is_uploaded_to_a_link_and_then_started(shop: Shop) -> None:
    job = api(shop, "POST /products/imports", {"format": "csv"}, key="upload-0001")
    assert job["status"] == "awaiting_upload"
    early = shop.call(
        "inventory_sync.stock_api", "POST /products/imports/{id}/start", path={"id": job["id"]}, staff=STAFF_CLAIMS
    )
    assert early.status == 409
    key = f"imports/{job['id']}/source"
    assert key in job["upload"]["url"]
    boto3.client("s3").put_object(Bucket="files", Key=key, Body=b"sku;title;price;currency\nU-1;x;1,50;EUR\n")
    assert api(shop, "POST /products/imports/{id}/start", job=job["id"])["status"] == "queued"
    assert work(shop, job)["counts"] == {"created": 1}
    assert shop.app.inventory.products(["U-1"])["U-1"].price == 150


def test_a_file_of_another_kind_fails_whole(shop: Shop) -> None:
    done = work(shop, send(shop, "sku,colour\nA,red\n", "unknown-0001"))
    assert (done["status"], done["rows"]) == ("failed", 0)
    assert "colour" in done["detail"]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_export_imported_again_changes_nothing(shop: Shop, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oms.inventory.jobs._EXPORT_CHUNK", 5)
    shop.app.inventory.put_product(
        Product("E-1", "=SUM(A1)", 199, "EUR", ("E-01",), {"note": '\'quoted\n"x"'}, archived=True), shop.now
    )
    job = api(shop, "POST /products/exports", {"format": kind}, key=f"export-{kind}-01")
    work(shop, job, chunks=1)
    done = work(shop, job)
    content = fetched(shop, done)
    assert done["status"] == "completed"
    assert ",=SUM" not in content
    types = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
    again = work(shop, send(shop, content, f"reimport-{kind}-01", kind=types[kind]))
    assert again["counts"] == {"unchanged": done["rows"]}


def test_the_queue_s_function_works_on_jobs(shop: Shop) -> None:
    from functions.inventory_sync.catalogue_job import handler
    from tests.support.shop import Context

    job = send(shop, HEAD + "Q-1,x,1,USD,,\n", "queue-0001")
    record = {"messageId": "m1", "body": json.dumps({"job_id": job["id"]})}
    assert handler({"Records": [record]}, Context()) == {"batchItemFailures": []}
    assert state(shop, job)["status"] == "completed"
