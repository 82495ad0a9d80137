"""The local cloud's commands."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from local import cloud
from local.aws import _export_items
from local.console import Trouble
from local.processes import free_port


def test_run_leaves_a_cloud_alone_that_is_up_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second ``make run`` is refused with a message, and does not stop the first one."""

    class Running(cloud.Cloud):
        stopped = False

        def up(self, parameters: object = None) -> cloud.Endpoints:
            raise Trouble("Port 4566 is taken by this checkout's own cloud, which is up already.")

        def down(self) -> list[str]:
            self.stopped = True
            return []

    monkeypatch.setattr("signal.signal", lambda *_: None)
    running = Running(free_port(), free_port(), tmp_path)
    with pytest.raises(Trouble, match="is taken"):
        cloud.run(running)
    assert not running.stopped


def test_a_table_s_export_writes_its_items_once() -> None:
    """MiniStack answers, and leaves the bucket empty."""
    item = {"pk": {"S": "PEOPLE#1"}, "sk": {"S": "ada"}}
    tables = {"Orders": {"items": {"PEOPLE#1": {"ada": item}}}}
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/Orders"
    headers: dict[str, str] = {}
    answer = (200, headers, json.dumps({"ExportDescription": {"ExportArn": f"{arn}/export/0179-ab"}}).encode())
    asked = {"TableArn": arn, "S3Bucket": "files", "S3Prefix": "campaigns/1"}
    put: list[tuple[Any, ...]] = []
    for _ in range(2):
        _export_items(tables, lambda *told: put.append(told), asked, answer)
    ((bucket, key, body, _),) = put
    assert (bucket, key) == ("files", "campaigns/1/AWSDynamoDB/0179-ab/data/items.json.gz")
    assert json.loads(gzip.decompress(body)) == {"Item": item}
