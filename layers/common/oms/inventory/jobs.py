"""Imports and exports of the catalogue: jobs that go on from their checkpoint when a worker dies or has no time left.

A message in the queue is the order to work on a job; its checkpoint moves on under a condition, so of two workers on
one job the slower one stops. A row that comes twice is known by the mark that it left on its product, and what it did
the first time is what it is counted as. Files: ``imports/<id>/…`` and ``exports/<id>/…`` in the bucket.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import Any

from oms.inventory.catalogue import Catalogue, document, merged, product_of
from oms.inventory.finding import Search
from oms.inventory.forms import ProductForm
from oms.inventory.model import Product
from oms.inventory.rows import FileUnreadable, Lines, Raw, csv_records, header_of, json_records
from oms.inventory.spreadsheet import COLUMNS, CellsWrong, cells_of, with_cells
from oms.inventory.store import claims_of
from oms.runtime import errors, telemetry
from oms.runtime.cells import line_of, plain
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed
from oms.runtime.files import Files
from oms.runtime.http import checked

MAX_ROWS = 100_000
MAX_BYTES = 1024**3
LINK_SECONDS = 3600
_CHUNK = 100
_EXPORT_CHUNK = 1000
_SAMPLE = 20
_KEPT = timedelta(days=35)
_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
FINISHED = frozenset({"completed", "failed", "cancelled"})

Wrong = tuple[int, str, str, str]
"""Line, SKU, field, message."""


@dataclass(frozen=True, slots=True)
class Job:
    """One import or export. ``revision`` grows with every write of it."""

    job_id: str
    kind: str
    format: str
    actor: str
    digest: str
    created_at: str
    status: str = "awaiting_upload"
    dry_run: bool = False
    size: int = 0
    header: tuple[str, ...] = ()
    delimiter: str = ""
    offset: int = 0
    line: int = 1
    cursor: str = ""
    rows: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    sample: tuple[Sequence[Any], ...] = ()
    parts: int = 0
    detail: str = ""
    result: bool = False
    revision: int = 0

    @property
    def source(self) -> str:
        return f"imports/{self.job_id}/source"

    def part(self, number: int) -> str:
        return f"{self.kind}s/{self.job_id}/parts/{number:06d}"

    @property
    def outcome(self) -> str:
        """The file that a finished job leaves: the report of an import, the products of an export."""
        return f"{self.kind}s/{self.job_id}/" + ("report.csv" if self.kind == "import" else f"products.{self.format}")

    def counted(self, outcomes: Mapping[str, int]) -> dict[str, int]:
        return {name: self.counts.get(name, 0) + outcomes.get(name, 0) for name in self.counts.keys() | outcomes.keys()}


class Overtaken(Exception):
    """Somebody else has changed the job: it was cancelled, or another worker was faster."""


@dataclass(frozen=True, slots=True)
class CatalogueJobs:
    """The use cases of imports and exports."""

    catalogue: Catalogue
    files: Files
    clock: Clock
    enqueue: Callable[[str], None]
    at_once: int = 4

    # ---- what people ask for -------------------------------------------------------------------------------------

    def open(
        self, kind: str, key: str, format: str, actor: str, *, dry_run: bool = False, body: bytes | None = None
    ) -> Job:
        """Make a job once per key, and begin it where nothing is left to wait for. Raises ``IdempotencyKeyReused``."""
        job_id = hashlib.sha256(f"{kind}\x1f{key}".encode()).hexdigest()[:24]
        told = f"{format}\x1f{dry_run}\x1f".encode() + (b"-" if body is None else body)
        digest = hashlib.sha256(told).hexdigest()
        job = Job(job_id, kind, format, actor, digest, to_text(self.clock()), dry_run=dry_run)
        try:
            self._write(job, "attribute_not_exists(pk)")
        except Overtaken:
            job = self.get(kind, job_id)
            if job.digest != digest:
                raise errors.IdempotencyKeyReused("This key was used for another request.") from None
        if job.status != "awaiting_upload" or (kind == "import" and body is None):
            return job
        if body is not None:
            self.files.put(job.source, body, _TYPES[format])
        return self.start(job)

    def get(self, kind: str, job_id: str) -> Job:
        """A job. Raises ``NotFound``."""
        item = self.catalogue.inventory.table.get(f"JOB#{job_id}", "JOB")
        if item is None or item["kind"] != kind:
            raise errors.NotFound(f"There is no {kind} {job_id}.")
        held = {name: item[name] for name in Job.__slots__ if name in item}
        return Job(**{**held, "header": tuple(held["header"]), "sample": tuple(held["sample"])})

    def start(self, job: Job) -> Job:
        """Begin an import whose file has been uploaded; again is no harm. Raises ``Conflict`` while it is missing.

        The message leaves first: whoever finds the job waiting begins it, so a crash in between loses nothing.
        """
        if job.status in FINISHED:
            return job
        if job.kind == "import" and not self.files.size(job.source):
            raise errors.Conflict("The file has not been uploaded yet, or it is empty.")
        self.enqueue(job.job_id)
        if job.status == "awaiting_upload":
            try:
                return self._save(job, status="queued")
            except Overtaken:
                return self.get(job.kind, job.job_id)
        return job

    def cancel(self, job: Job) -> Job:
        """Let a job stop at its next checkpoint. What was applied stays."""
        while job.status not in FINISHED:
            try:
                job = self._save(job, status="cancelled")
            except Overtaken:
                job = self.get(job.kind, job.job_id)
                continue
            self.enqueue(job.job_id)
        return job

    def view(self, job: Job) -> dict[str, Any]:
        """A job as the API shows it."""
        told: dict[str, Any] = {
            "id": job.job_id,
            "kind": job.kind,
            "status": job.status,
            "format": job.format,
            "dry_run": job.dry_run,
            "created_at": job.created_at,
            "created_by": job.actor,
            "rows": job.rows,
            "counts": dict(job.counts),
            "percent": 100 if job.status == "completed" else job.offset * 100 // job.size if job.size else 0,
            "errors": [
                {"line": line, "sku": sku, "field": name, "message": message} for line, sku, name, message in job.sample
            ],
            "detail": job.detail or None,
            "upload": None,
            "download": None,
        }
        if job.kind == "import" and job.status == "awaiting_upload":
            told["upload"] = {"method": "PUT", "url": self.files.upload_link(job.source, LINK_SECONDS)}
        if job.result:
            name = job.outcome.rpartition("/")[2]
            told["download"] = {"method": "GET", "url": self.files.download_link(job.outcome, LINK_SECONDS, name)}
        return told

    # ---- the work ------------------------------------------------------------------------------------------------

    def work(self, job_id: str, has_time: Callable[[], bool]) -> None:
        """Work on a job while there is time, then queue the rest of it."""
        item = self.catalogue.inventory.table.get(f"JOB#{job_id}", "JOB")
        if item is None:
            return
        job = self.get(item["kind"], job_id)
        try:
            if job.status not in FINISHED:
                job = self._import(job, has_time) if job.kind == "import" else self._export(job, has_time)
            if job.status not in FINISHED:
                self.enqueue(job_id)
                return
            self._finish(job)
        except Overtaken:
            telemetry.logger.info("job_overtaken", job_id=job_id)

    def _finish(self, job: Job) -> None:
        if job.result or not (job.parts or (job.kind == "export" and job.status == "completed")):
            return
        head = b""
        if job.kind == "import":
            head = line_of(("line", "sku", "field", "message"))
        elif job.format == "csv":
            head = line_of(COLUMNS)
        kind = _TYPES["csv" if job.kind == "import" else job.format]
        self.files.join([job.part(number) for number in range(job.parts)], job.outcome, kind, head)
        self._save(job, result=True)

    def _export(self, job: Job, has_time: Callable[[], bool]) -> Job:
        while has_time():
            written, found, cursor = bytearray(), 0, job.cursor or None
            while found < _EXPORT_CHUNK:
                products, cursor = self.catalogue.find(Search(archived=None), cursor, 100)
                for product in products:
                    told = document(product)
                    written += line_of(cells_of(told)) if job.format == "csv" else _json_line(told)
                found += len(products)
                if cursor is None:
                    break
            self.files.put(job.part(job.parts), bytes(written), _TYPES[job.format])
            job = self._save(
                job,
                status="running" if cursor else "completed",
                cursor=cursor or "",
                parts=job.parts + 1,
                rows=job.rows + found,
            )
            if job.status == "completed":
                return job
        return job

    def _import(self, job: Job, has_time: Callable[[], bool]) -> Job:
        try:
            if not job.size:
                job = self._begin(job)
            with self.files.open(job.source, job.offset) if job.offset < job.size else _Nothing() as stream:
                lines = Lines(stream, job.offset, job.line)
                records = csv_records(lines, job.delimiter) if job.format == "csv" else json_records(lines)
                while has_time():
                    chunk = list(islice(records, min(_CHUNK, MAX_ROWS - job.rows) or 1))
                    if chunk and job.rows >= MAX_ROWS:
                        raise FileUnreadable(f"Only the first {MAX_ROWS} rows were read; split the file.")
                    job = self._advance(job, chunk)
                    if job.status == "completed":
                        break
        except FileUnreadable as unreadable:
            return self._save(job, status="failed", detail=str(unreadable))
        return job

    def _begin(self, job: Job) -> Job:
        size = self.files.size(job.source)
        if not size:
            raise FileUnreadable("There is no file.")
        if size > MAX_BYTES:
            raise FileUnreadable("The file is larger than a gigabyte.")
        if job.format != "csv":
            return self._save(job, status="running", size=size)
        with self.files.open(job.source) as stream:
            lines = Lines(stream)
            header, delimiter = header_of(lines)
        return self._save(
            job,
            status="running",
            size=size,
            header=tuple(header),
            delimiter=delimiter,
            offset=lines.offset,
            line=lines.line,
        )

    def _advance(self, job: Job, chunk: Sequence[Raw]) -> Job:
        if not chunk:
            return self._save(job, status="completed", offset=job.size)
        outcomes, wrong = self._apply(job, chunk)
        if wrong:
            written = b"".join(line_of(map(str, each)) for each in wrong)
            self.files.put(job.part(job.parts), written, _TYPES["csv"])
        return self._save(
            job,
            offset=chunk[-1].end,
            line=chunk[-1].next_line,
            rows=job.rows + len(chunk),
            counts=job.counted(outcomes),
            parts=job.parts + bool(wrong),
            sample=(*job.sample, *wrong)[:_SAMPLE],
        )

    def _apply(self, job: Job, chunk: Sequence[Raw]) -> tuple[dict[str, int], list[Wrong]]:
        """Every row by itself; what became of them, and what is wrong with the others."""
        wrong: list[Wrong] = []
        rows: list[Row] = []
        lines: dict[str, int] = {}
        for raw in chunk:
            try:
                row = _row(job, raw)
                if row.sku in lines:
                    raise CellsWrong([("sku", f"stands on line {lines[row.sku]} already")])
            except CellsWrong as found:
                wrong += [(raw.line, "", name, message) for name, message in found.wrong]
                continue
            lines[row.sku] = row.line
            rows.append(row)
        known = self.catalogue.inventory.products(row.sku for row in rows)
        outcomes: dict[str, int] = {}

        def one(row: Row) -> tuple[Row, str, Sequence[tuple[str, str]]]:
            try:
                return row, self._apply_row(job, row, known.get(row.sku)), ()
            except CellsWrong as found:
                return row, "failed", found.wrong
            except errors.DomainError as refused:
                return row, "failed", refused.fields or [("", refused.detail)]

        # Kits come after the products that they may consist of.
        alone = [row for row in rows if not row.is_kit]
        with ThreadPoolExecutor(self.at_once) as pool:
            done = [*pool.map(one, alone), *map(one, (row for row in rows if row.is_kit))]
        for row, outcome, fields in done:
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            wrong += [(row.line, row.sku, name, message) for name, message in fields]
        if unread := len(chunk) - len(rows):
            outcomes["failed"] = outcomes.get("failed", 0) + unread
        return outcomes, sorted(wrong)

    def _apply_row(self, job: Job, row: Row, known: Product | None) -> str:
        outcome = "unchanged"

        def decide(seen: Product | None) -> Product:
            nonlocal outcome
            mark = seen.imported if seen else {}
            if seen and mark.get("job") == job.job_id:
                if mark["line"] != row.line:
                    raise CellsWrong([("sku", f"stands on line {mark['line']} already")])
                outcome = mark["as"]
                return seen
            wanted = product_of(checked(ProductForm, row.change(document(seen) if seen else {"sku": row.sku})), seen)
            outcome = "updated" if seen else "created"
            return replace(wanted, imported={"job": job.job_id, "line": row.line, "as": outcome})

        if job.dry_run:
            wanted = decide(known)
            self._could_be(wanted)
            return "unchanged" if known and _same(wanted, known) else outcome
        if known and _same(decide(known), known):
            return outcome if known.imported.get("job") == job.job_id else "unchanged"
        stored = self.catalogue.inventory.change_product(row.sku, decide, self.clock())
        return outcome if stored.imported.get("job") == job.job_id else "unchanged"

    def _could_be(self, product: Product) -> None:
        """What the write would refuse, as far as it can be read. Raises ``CellsWrong``."""
        inventory = self.catalogue.inventory
        wrong = []
        for code in claims_of(product).values():
            owner = inventory.sku_of_barcode(code)
            if owner not in (None, product.sku):
                wrong.append(("barcodes", f"{code} belongs to {owner}"))
        parts = inventory.products(product.kit)
        wrong += [("kit", f"{sku} is not a product that can be a part") for sku in product.kit if not _part(parts, sku)]
        if wrong:
            raise CellsWrong(wrong)

    # ---- the record ----------------------------------------------------------------------------------------------

    def _save(self, job: Job, **changes: Any) -> Job:
        """Move the job on from where it was read. Raises ``Overtaken``."""
        moved = replace(job, **changes, revision=job.revision + 1)
        self._write(moved, "revision = :seen", {":seen": job.revision})
        return moved

    def _write(self, job: Job, condition: str, values: Mapping[str, Any] | None = None) -> None:
        table = self.catalogue.inventory.table
        ends = int((self.clock() + _KEPT).timestamp())
        item = {"pk": f"JOB#{job.job_id}", "sk": "JOB", "entity": "job", "ttl": ends, **asdict(job)}
        try:
            table.transact([table.put("job", item, condition, values=values)])
        except ConditionsFailed:
            raise Overtaken(job.job_id) from None


@dataclass(frozen=True, slots=True)
class Row:
    """One row that can be read: which product, and what it makes of the product's document."""

    line: int
    sku: str
    is_kit: bool
    change: Callable[[Mapping[str, Any]], Any]


class _Nothing:
    """The stream behind the end of a file."""

    def read(self, size: int) -> bytes:
        return b""

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _row(job: Job, raw: Raw) -> Row:
    if raw.problem:
        raise CellsWrong([("", raw.problem)])
    if job.format == "jsonl":
        return _json_row(raw)
    if len(raw.cells) > len(job.header) and any(raw.cells[len(job.header) :]):
        raise CellsWrong([("", f"{len(raw.cells)} cells, but there are {len(job.header)} columns")])
    cells = dict(zip(job.header, raw.cells, strict=False))
    sku = plain(cells.pop("sku", "")).strip()
    if not sku:
        raise CellsWrong([("sku", "is missing")])
    return Row(raw.line, sku, bool(cells.get("kit", "").strip()), lambda seen: with_cells(seen, cells))


def _json_row(raw: Raw) -> Row:
    try:
        patch = json.loads(raw.cells[0])
    except (ValueError, RecursionError):
        raise CellsWrong([("", "not valid JSON")]) from None
    if not isinstance(patch, dict) or not isinstance(patch.get("sku"), str) or not patch["sku"]:
        raise CellsWrong([("sku", "every line is an object with a sku")])
    return Row(raw.line, patch["sku"], bool(patch.get("kit")), lambda seen: merged(seen, patch))


def _json_line(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _same(wanted: Product, seen: Product) -> bool:
    carried = {"version": seen.version, "stripe_span": seen.stripe_span, "used_in": seen.used_in}
    return replace(wanted, **carried, imported=seen.imported) == seen  # type: ignore[arg-type]


def _part(parts: Mapping[str, Product], sku: str) -> bool:
    return sku in parts and not parts[sku].kit and not parts[sku].archived
