"""Imports and exports on the deployed stack: the bucket, its rights and its links are the template's."""

from __future__ import annotations

from typing import Any

from local.client import Client
from local.reports import Stage

PATIENCE = 60.0


def finished(client: Client, stage: Stage, kind: str, job: Any) -> Any:
    """The job once it has ended."""

    def read() -> Any:
        return client.api("GET", f"/products/{kind}s/{job['id']}", staff="ops").expect(200)

    stage.wait(f"the {kind} ends", lambda: read()["status"] in ("completed", "failed"), PATIENCE)
    return read()


def test_a_file_is_imported_row_by_row_and_exported_again(client: Client, stage: Stage, sku: str) -> None:
    body = f"sku,title,price,currency\n{sku},Mug,1.50,USD\n{sku}-X,,2,USD\n".encode()
    headers = {"content-type": "text/csv"}
    job = client.api("POST", "/products/imports", body, staff="ops", key=client.new_key(), headers=headers).expect(201)
    done = finished(client, stage, "import", job)
    assert (done["status"], done["counts"]) == ("completed", {"created": 1, "failed": 1})
    assert [(wrong["line"], wrong["field"]) for wrong in done["errors"]] == [(3, "title")]
    job = client.api("POST", "/products/exports", {"format": "csv"}, staff="ops", key=client.new_key()).expect(201)
    done = finished(client, stage, "export", job)
    assert done["status"] == "completed"
    assert sku in str(client.request("GET", done["download"]["url"]).body)
