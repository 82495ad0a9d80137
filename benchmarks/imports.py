"""A large file into the catalogue: rows a second, calls a row, and how much of it is in memory at a time."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, StringIO
from itertools import count
from typing import Any

from benchmarks import shop
from benchmarks.meter import Meter, connect, straight
from benchmarks.report import Progress, table
from oms.inventory.catalogue import Catalogue
from oms.inventory.jobs import CatalogueJobs
from oms.inventory.rows import Lines, csv_records, header_of
from oms.runtime.files import Files
from tests.simulation.backend import Cloud

ROWS = 20_000
_CHUNKS_A_RUN = 50
"""So many chunks of a hundred rows one worker does before its time is up here."""


@dataclass(frozen=True, slots=True)
class Run:
    """One import of the whole file."""

    what: str
    rows: int
    outcome: str
    workers: int
    cpu: float
    database: float
    calls: float


@dataclass(frozen=True, slots=True)
class Result:
    """Both imports, and what reading the file took in memory."""

    runs: tuple[Run, ...]
    file_bytes: int
    peak_bytes: int


class _Bucket:
    """As much of S3 as an import without errors asks for."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> None:
        self._files[Key] = Body

    def head_object(self, *, Key: str, **_: Any) -> dict[str, int]:
        return {"ContentLength": len(self._files[Key])}

    def get_object(self, *, Key: str, Range: str = "bytes=0-", **_: Any) -> dict[str, Any]:
        return {"Body": BytesIO(self._files[Key][int(Range.removeprefix("bytes=").rstrip("-")) :])}


def measure(progress: Progress, rows: int = ROWS) -> Result:
    """Import a file of new products, and the same file again."""
    cloud = Cloud(shop.template(), straight)
    cloud.reset()
    meter = Meter(cloud)
    app = shop.open_shop(connect(shop.dynamodb_client(), cloud))
    catalogue = Catalogue(app.inventory, app.clock)
    waiting: list[str] = []
    jobs = CatalogueJobs(catalogue, Files(_Bucket(), "files"), app.clock, waiting.append, at_once=1)
    body = _file(rows)
    runs = []
    with shop.logs_in(StringIO()):
        for what in ("new products", "the same file again"):
            meter.reset()
            began, database = time.process_time(), meter.cpu
            job = jobs.open("import", what, "csv", "benchmark", body=body)
            workers = 0
            while waiting:
                progress.say(f"imports: {what}, row {jobs.get('import', job.job_id).rows:,}")
                workers += 1
                jobs.work(waiting.pop(), _some_time())
            done = jobs.get("import", job.job_id)
            ((outcome, number),) = ((name, number) for name, number in done.counts.items() if number)
            if (done.status, number) != ("completed", rows):
                raise RuntimeError(f"{done.status}: {done.counts}")
            cpu, inside = time.process_time() - began, meter.cpu - database
            runs.append(Run(what, rows, outcome, workers, cpu - inside, inside, meter.round_trips() / rows))
    return Result(tuple(runs), len(body), _peak_of_reading(body))


def _some_time() -> Callable[[], bool]:
    left = count(_CHUNKS_A_RUN, -1)
    return lambda: next(left) > 0


def _file(rows: int) -> bytes:
    lines = ["sku,title,price,currency,weight_grams"]
    lines += [f"IMPORT-{number:06d},Organic cotton shirt {number},19.99,USD,220" for number in range(rows)]
    return "\n".join([*lines, ""]).encode()


def _peak_of_reading(body: bytes) -> int:
    lines = Lines(BytesIO(body))
    _, delimiter = header_of(lines)
    tracemalloc.start()
    for _ in csv_records(lines, delimiter):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def render(result: Result) -> str:
    """The section about imports."""
    rows = [["a CSV file", "rows", "became", "workers", "rows a second of our CPU", "DynamoDB calls a row"]]
    rows += [
        [
            each.what,
            f"{each.rows:,}",
            each.outcome,
            str(each.workers),
            f"{each.rows / each.cpu:,.0f}",
            f"{each.calls:.2f}",
        ]
        for each in result.runs
    ]
    return "\n".join(
        [
            "## A large import",
            "",
            f"**{result.runs[0].rows:,} rows, all of them applied**, in {result.runs[0].workers} turns of a worker,",
            f"each going on from the last checkpoint. Reading the file of {result.file_bytes / 1e6:.1f} MB takes",
            f"{result.peak_bytes / 1024:,.0f} KiB at its peak: it is streamed.",
            "",
            "The real job on MiniStack's DynamoDB in process, whose own CPU "
            f"({sum(each.database for each in result.runs):.0f} s in both runs) is not",
            "counted; one row at a time, where a function writes four at once.",
            "",
            table(rows),
        ]
    )
