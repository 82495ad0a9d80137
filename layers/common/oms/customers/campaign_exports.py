"""Exports of a segment's people for campaigns: one file that a link leads to, or the whole table for Athena.

A message in the queue is the order to go on with an export; its record moves on under a condition, so of two workers on
one export the slower one stops. Whom the conditions choose is gathered chunk by chunk into parts whose names are their
content's, and in the end the file is made of them: then it is asked again who was erased, who still wants marketing and
whose address still may be written to. A link is given only to a file from which everybody is gone who was erased before
the link was asked for, and for marketing everybody who did not consent within the hour; otherwise it is made again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from oms.customers.erased import erased_since
from oms.customers.export_files import FIGURES, TYPES, sheet
from oms.customers.matching import is_relay
from oms.customers.people import SHARDS, People, Person
from oms.customers.segment_book import walk
from oms.customers.segments import condition_of, matches, to_sql
from oms.messages.preferences import KeepPreferences
from oms.orders.once import digest_of
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import ConditionsFailed
from oms.runtime.files import Files

CHUNK = 1000
"""People read at a time; after each the export's record moves on."""
MAX_PEOPLE = 500_000
"""So many people are one file, which one worker makes in its time."""
LINK_SECONDS = 3600
LIVES = timedelta(days=7)
"""So long the bucket keeps files of campaigns, and a link can be had."""
ASKED_WITHIN = timedelta(hours=1)
"""So fresh consent is when the link to a file for marketing is given."""
LAG = timedelta(days=1)
"""By then at the latest a profile is gone after its person was erased."""
_KEPT = timedelta(days=35)
_ASK_AGAIN_SECONDS = 60

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Export:
    """One export. ``revision`` grows with every write of it."""

    export_id: str
    purpose: str
    format: str
    how: str
    segment: str
    conditions: Mapping[str, Any]
    actor: str
    digest: str
    salt: str
    """Pseudonyms are made with it: those of two exports cannot be laid side by side."""
    created_at: str
    status: str = "queued"
    cursor: str = ""
    looked_at: int = 0
    found: int = 0
    parts: tuple[str, ...] = ()
    file: str = ""
    people: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    free_of: str = ""
    """Which erasures the file is free of."""
    checked_at: str = ""
    table_export: str = ""
    detail: str = ""
    revision: int = 0

    @property
    def ends(self) -> datetime:
        """From when on its files may be gone."""
        return from_text(self.created_at) + LIVES

    @property
    def prefix(self) -> str:
        """Where its files are."""
        return f"campaigns/{self.export_id}"


class Overtaken(Exception):
    """Another worker was faster."""


@dataclass(frozen=True, slots=True)
class ExportSegments:
    """The use cases of exports. ``enqueue`` takes an export's id and how many seconds the message waits."""

    people: People
    preferences: KeepPreferences
    files: Files
    table_arn: str
    enqueue: Callable[[str, int], None]
    clock: Clock

    # ---- what people ask for ---------------------------------------------------------------------------------------

    def open(
        self,
        key: str,
        actor: str,
        *,
        purpose: str,
        format: str,
        how: str,
        segment: str,
        conditions: Callable[[], Mapping[str, Any]],
        asked: Mapping[str, Any],
    ) -> Export:
        """Begin an export once per key. Raises ``IdempotencyKeyReused``, and what ``conditions`` raises."""
        export_id = hashlib.sha256(f"campaign\x1f{key}".encode()).hexdigest()[:24]
        digest = digest_of(asked)
        export = self.find(export_id)
        if export is None:
            told = (purpose, format, how, segment, conditions(), actor, digest, secrets.token_hex(16))
            export = Export(export_id, *told, to_text(self.clock()))
            try:
                self._write(export, "attribute_not_exists(pk)")
                telemetry.count("CampaignExportsStarted")
            except Overtaken:
                export = self.require(export_id)
        if export.digest != digest:
            raise errors.IdempotencyKeyReused("This key was used for another request.")
        if export.status == "queued":
            self.enqueue(export_id, 0)
        return export

    def find(self, export_id: str) -> Export | None:
        """An export, if there is one."""
        item = self.people.table.get(f"CAMPAIGN#{export_id}", "EXPORT")
        if item is None:
            return None
        held = {name: item[name] for name in Export.__slots__ if name in item}
        return Export(**{**held, "parts": tuple(held["parts"])})

    def require(self, export_id: str) -> Export:
        """An export. Raises ``NotFound``."""
        export = self.find(export_id)
        if export is None:
            raise errors.NotFound(f"There is no export {export_id}.")
        return export

    def view(self, export: Export) -> dict[str, Any]:
        """An export as staff see it, with a link where its file may be fetched; one that may not is made again."""
        status, result = export.status, None
        if status != "failed" and self.clock() >= export.ends:
            status = "expired"
        elif status == "completed" and not self._is_current(export):
            status = "outdated" if export.how == "table" else "running"
            if export.how == "file":
                self.enqueue(export.export_id, 0)
        elif status == "completed":
            result = self._table_view(export) if export.how == "table" else self._link(export)
        return {
            "id": export.export_id,
            "status": status,
            "purpose": export.purpose,
            "format": export.format if export.how == "file" else "dynamodb_json",
            "how": export.how,
            "segment": export.segment or None,
            "conditions": export.conditions,
            "created_at": export.created_at,
            "created_by": export.actor,
            "expires_at": to_text(export.ends),
            "percent": 100 if export.status == "completed" else _percent(export),
            "looked_at": export.looked_at,
            "people": export.people if export.file else export.found,
            "left_out": dict(export.left_out),
            "checked_at": export.checked_at or None,
            "detail": export.detail or None,
            "download": result if export.how == "file" else None,
            "table": result if export.how == "table" else None,
        }

    def _link(self, export: Export) -> dict[str, str]:
        name = f"{export.segment or 'people'}.{export.format}"
        return {"method": "GET", "url": self.files.download_link(export.file, LINK_SECONDS, name)}

    def _table_view(self, export: Export) -> dict[str, str]:
        number = export.table_export.rpartition("/")[2]
        data = f"s3://{self.files.bucket}/{export.prefix}/AWSDynamoDB/{number}/data/"
        return {"data": data, "query": to_sql(condition_of(export.conditions), from_text(export.created_at))}

    # ---- the work --------------------------------------------------------------------------------------------------

    def work(self, export_id: str, has_time: Callable[[], bool]) -> None:
        """Go on with an export while there is time, then queue the rest of it. Again is no harm."""
        export = self.find(export_id)
        if export is None or export.status == "failed" or self.clock() >= export.ends:
            return
        try:
            if export.how == "table":
                self._export_table(export)
            elif export.status in ("composing", "completed"):
                self._compose(export)
            else:
                self._gather(export, has_time)
        except Overtaken:
            telemetry.logger.info("campaign_export_overtaken", export_id=export_id)

    def _gather(self, export: Export, has_time: Callable[[], bool]) -> None:
        condition, asked_at = condition_of(export.conditions), from_text(export.created_at)
        while export.status != "composing" and has_time():
            if export.found > MAX_PEOPLE:
                self._fail(export, f"More than {MAX_PEOPLE} people: ask for fewer, or for the whole table.")
                return
            read = list(islice(walk(self.people, export.cursor), CHUNK))
            chosen = [person for _, person in read if matches(condition, person.profile(), asked_at)]
            rows = [_row(person, export.purpose) for person in chosen]
            if export.purpose == "marketing":
                rows = [row for row, reason in self._asked_again(rows) if not reason]
            export = self._save(
                export,
                status="running" if len(read) == CHUNK else "composing",
                cursor=read[-1][0] if read else export.cursor,
                looked_at=export.looked_at + len(read),
                found=export.found + len(chosen),
                parts=(*export.parts, *([self._part(export, rows)] if rows else [])),
            )
        # The file is made by a worker that has all its time.
        self.enqueue(export.export_id, 0)

    def _part(self, export: Export, rows: Sequence[Row]) -> str:
        """Write a part. Its name is its content's: a worker that was overtaken cannot write into the faster one's."""
        content = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
        name = f"{len(export.parts):06d}-{hashlib.sha256(content).hexdigest()[:16]}"
        self.files.put(f"{export.prefix}/parts/{name}", content, "application/x-ndjson")
        return name

    def _compose(self, export: Export) -> None:
        if export.status == "completed" and self._is_current(export):
            return
        erased = self._erased(export)
        checked_at = to_text(self.clock())
        file = f"{export.prefix}/{secrets.token_hex(8)}"
        left_out: dict[str, int] = {}
        people = 0
        with (
            self.files.writing(file, TYPES[export.format]) as target,
            sheet(export.format, export.purpose, target) as out,
        ):
            seen: set[str] = set()
            for name in export.parts:
                kept: list[Row] = []
                for row, reason in self._checked(export, name, erased, seen):
                    if reason:
                        left_out[reason] = left_out.get(reason, 0) + 1
                    else:
                        kept.append(row)
                out.write(kept)
                people += len(kept)
        told = {"people": people, "left_out": left_out, "free_of": digest_of(erased), "checked_at": checked_at}
        try:
            self._save(export, status="completed", file=file, **told)
        except Overtaken:
            self.files.delete(file)
            raise
        if export.file:
            self.files.delete(export.file)
        telemetry.count("CampaignPeopleExported", people)
        telemetry.logger.info("campaign_export_completed", export_id=export.export_id, people=people)

    def _checked(
        self, export: Export, part: str, erased: Mapping[str, str], seen: set[str]
    ) -> Iterator[tuple[Row, str]]:
        """A part's rows as the file has them, each with why it must not be in it."""
        rows = [json.loads(line) for line in self.files.read(f"{export.prefix}/parts/{part}").splitlines()]
        asked = self._asked_again(rows) if export.purpose == "marketing" else [(row, "") for row in rows]
        for row, reason in asked:
            identities: Mapping[str, str] = row["identities"]
            if any(erased.get(name, "") > last_order_at for name, last_order_at in identities.items()):
                reason = "erased"
            # Two who were joined while the export ran were read once apart and once together; and nobody is written to
            # twice who has two profiles.
            known_by = {*identities, row.get("email", "").lower()} - {""}
            if not reason and not seen.isdisjoint(known_by):
                reason = "twice"
            if not reason:
                seen |= known_by
            pseudonym = hmac.new(export.salt.encode(), row["customer_id"].encode(), hashlib.sha256).hexdigest()[:32]
            yield {**row, "person": pseudonym}, reason

    def _asked_again(self, rows: Sequence[Row]) -> list[tuple[Row, str]]:
        """Rows with the address of theirs that marketing may be written to, or with why there is none."""
        pairs = [(identity, email) for row in rows for identity, email in row["emails"]]
        known = self.preferences.of_many(pairs)
        asked: list[tuple[Row, str]] = []
        for row in rows:
            wanted = [pair for pair in map(tuple, row["emails"]) if known[pair].marketing]
            free = [email for identity, email in wanted if not known[identity, email].suppressed]
            reason = "" if free else "suppressed" if wanted else "no_consent"
            asked.append(({**row, "email": free[0] if free else ""}, reason))
        return asked

    def _erased(self, export: Export) -> dict[str, str]:
        return erased_since(self.people.table, from_text(export.created_at) - LAG)

    def _is_current(self, export: Export) -> bool:
        """Whether nobody was erased since the file was made, and consent was asked for lately if it rests on it."""
        fresh = self.clock() < from_text(export.checked_at) + ASKED_WITHIN
        return digest_of(self._erased(export)) == export.free_of and (fresh or export.purpose != "marketing")

    # ---- the whole table -------------------------------------------------------------------------------------------

    def _export_table(self, export: Export) -> None:
        dynamodb = self.people.table.client
        if export.status == "completed":
            return
        if not export.table_export:
            free_of = digest_of(self._erased(export))
            # The token makes a repeat after a crash the same export.
            answer = dynamodb.export_table_to_point_in_time(
                TableArn=self.table_arn,
                S3Bucket=self.files.bucket,
                S3Prefix=export.prefix,
                S3SseAlgorithm="AES256",
                ExportFormat="DYNAMODB_JSON",
                ClientToken=export.export_id,
            )["ExportDescription"]
            export = self._save(export, status="running", table_export=answer["ExportArn"], free_of=free_of)
        else:
            answer = dynamodb.describe_export(ExportArn=export.table_export)["ExportDescription"]
        match answer["ExportStatus"]:
            case "COMPLETED":
                self._save(
                    export,
                    status="completed",
                    looked_at=answer.get("ItemCount", 0),
                    checked_at=to_text(self.clock()),
                )
            case "FAILED":
                self._fail(export, f"DynamoDB: {answer.get('FailureCode', 'unknown')}")
            case _:
                self.enqueue(export.export_id, _ASK_AGAIN_SECONDS)

    # ---- the record ------------------------------------------------------------------------------------------------

    def _fail(self, export: Export, why: str) -> None:
        self._save(export, status="failed", detail=why)
        telemetry.count("CampaignExportsFailed")

    def _save(self, export: Export, **changes: Any) -> Export:
        """Move the export on from where it was read. Raises ``Overtaken``."""
        moved = replace(export, **changes, revision=export.revision + 1)
        self._write(moved, "revision = :seen", {":seen": export.revision})
        return moved

    def _write(self, export: Export, condition: str, values: Mapping[str, Any] | None = None) -> None:
        table = self.people.table
        ends = int((self.clock() + _KEPT).timestamp())
        key = {"pk": f"CAMPAIGN#{export.export_id}", "sk": "EXPORT", "entity": "campaign_export", "ttl": ends}
        try:
            table.transact([table.put("export", {**key, **asdict(export)}, condition, values=values)])
        except ConditionsFailed:
            raise Overtaken(export.export_id) from None


def _percent(export: Export) -> int:
    """People are spread evenly over the shards, so the shard tells how far it is."""
    if export.status == "composing":
        return 95
    return int(export.cursor.partition("#")[0] or 0) * 95 // SHARDS


def _row(person: Person, purpose: str) -> Row:
    """A person for the parts of an export: what its file may show, and whose it is."""
    profile = person.profile()
    row: Row = {
        "customer_id": person.person_id,
        "identities": {name: each.figures.last_order_at for name, each in person.identities.items()},
        **{name: getattr(profile, told) for name, told in FIGURES.items()},
    }
    if purpose == "marketing":
        row["name"] = profile.name
        row["emails"] = list(_emails(person))
    return row


def _emails(person: Person) -> Iterable[tuple[str, str]]:
    """Identities with their e-mail, whoever ordered last first, without those that marketplaces put in between."""
    told = [(each.figures.last_order_at, name, each.contact("email")) for name, each in person.identities.items()]
    return [(name, email) for _, name, email in sorted(told, reverse=True) if email and not is_relay(email)]
