"""Exports for campaigns on the real handlers: interrupted, repeated, and without whoever must not be in them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import boto3
import pyarrow
import pytest
from pyarrow import parquet

from oms.customers import campaign_exports
from oms.customers.campaign_exports import ExportSegments, Overtaken
from oms.customers.people import person_from_item
from oms.customers.segments import condition_of
from oms.messages.preferences import BOUNCED, Wish
from oms.orders.placing import customer_id_for
from oms.runtime.dynamo import from_item
from tests.component.test_customers import kept, sold
from tests.component.test_segments import a_person
from tests.support.athena import views
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop

EVERYBODY = {"field": "orders", "at_least": 1}


@pytest.fixture(autouse=True)
def _restorable(shop: Shop) -> None:
    """As the template has it, and moto wants it for a table's export."""
    on = {"PointInTimeRecoveryEnabled": True}
    boto3.client("dynamodb").update_continuous_backups(
        TableName=shop.app.orders.table.name, PointInTimeRecoverySpecification=on
    )


def ask(shop: Shop, key: str = "campaign-0001", **changes: Any) -> Answer:
    """Ask for an export."""
    body = {"conditions": EVERYBODY, "purpose": "marketing", **changes}
    headers = {"idempotency-key": key}
    return shop.call("customer_service.customers", "POST /campaigns/exports", body, headers=headers, staff=STAFF_CLAIMS)


def opened(shop: Shop, key: str = "campaign-0001", **changes: Any) -> str:
    answer = ask(shop, key, **changes)
    assert answer.status == 201, answer
    return str(answer.body["id"])


def state(shop: Shop, export_id: str) -> Any:
    route, path = "GET /campaigns/exports/{id}", {"id": export_id}
    answer = shop.call("customer_service.customers", route, path=path, staff=STAFF_CLAIMS)
    assert answer.status == 200, answer
    return answer.body


def go_on(shop: Shop, export_id: str) -> None:
    """Give the worker one message."""
    record = {"messageId": "m", "body": json.dumps({"export_id": export_id})}
    handler = import_module("functions.customer_service.export").handler
    assert handler({"Records": [record]}, Context(remaining_ms=600_000)) == {"batchItemFailures": []}


def work(shop: Shop, *, times: int = 10) -> None:
    """Give the worker what waits in the queue, message after message."""
    for _ in range(times):
        for message in shop.queued("campaign-exports"):
            go_on(shop, message["export_id"])


def content(shop: Shop, export: Any) -> bytes:
    """The file behind the link."""
    assert export["status"] == "completed", export
    return bytes(shop.app.files.read(urlsplit(export["download"]["url"]).path.removeprefix("/files/").lstrip("/")))


def rows(shop: Shop, export: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content(shop, export).decode())))


def done(shop: Shop, key: str = "campaign-0001", **changes: Any) -> Any:
    """An export from the asking to the file."""
    export_id = opened(shop, key, **changes)
    work(shop)
    return state(shop, export_id)


def emails(shop: Shop, export: Any) -> set[str]:
    return {row["email"] for row in rows(shop, export)}


def wants(shop: Shop, name: str, *, marketing: bool = True) -> None:
    """Somebody says whether marketing is welcome."""
    wish = Wish((), marketing, "phone", "", "test")
    shop.app.keeping.prefer(customer_id_for(f"{name}@example.com"), wish)


def a_fan(shop: Shop, name: str, **figures: Any) -> str:
    """A customer who wants marketing."""
    wants(shop, name)
    return a_person(shop, name, marketing=True, **figures)


def _until_it_ends(shop: Shop, export_id: str) -> None:
    """One message after the other, as often as an export of these tests takes."""
    for _ in range(5):
        shop.app.campaign_exports.work(export_id, lambda: True)


class TestWhoIsInAnExport:
    def test_marketing_reaches_whoever_asked_for_it_at_an_address_that_takes_mail(self, shop: Shop) -> None:
        for name in ("ada", "bob", "eve"):
            a_fan(shop, name)
        a_person(shop, "silent")
        shop.app.message_preferences.suppress("EVE@example.com", BOUNCED, shop.now)
        export = done(shop)
        assert emails(shop, export) == {"ada@example.com", "bob@example.com"}
        assert (export["looked_at"], export["people"], export["percent"]) == (4, 2, 100)

    def test_analysis_has_everybody_and_nobody_s_contact(self, shop: Shop) -> None:
        people = {a_person(shop, name) for name in ("ada", "bob")}
        first, second = done(shop, purpose="analysis"), done(shop, "campaign-0002", purpose="analysis")
        told = rows(shop, first)
        assert len({row["person"] for row in told}) == 2
        assert not {"email", "name", "customer_id"} & told[0].keys()
        assert not any(secret in content(shop, first).decode() for secret in ("example.com", "Ada", *people))
        # Two files cannot be laid side by side to follow somebody from one to the other.
        assert not {row["person"] for row in told} & {row["person"] for row in rows(shop, second)}

    def test_a_segment_is_exported_as_it_was_when_the_export_was_asked_for(self, shop: Shop) -> None:
        a_fan(shop, "ada", units=5)
        a_fan(shop, "bob", units=1)
        path = {"name": "big"}
        for conditions, status in (({"field": "units", "at_least": 5}, 200), (EVERYBODY, 200)):
            route, body = "PUT /segments/{name}", {"conditions": conditions}
            saved = shop.call("customer_service.customers", route, body, path=path, staff=STAFF_CLAIMS)
            assert saved.status == status
            opened(shop, conditions=None, segment="big")
        work(shop)
        assert emails(shop, state(shop, opened(shop, conditions=None, segment="big"))) == {"ada@example.com"}

    def test_consent_taken_back_while_the_export_runs_is_respected(self, shop: Shop) -> None:
        a_fan(shop, "ada")
        a_fan(shop, "bob")
        export_id = opened(shop)
        work(shop, times=1)
        assert state(shop, export_id)["status"] == "composing"
        wants(shop, "ada", marketing=False)
        shop.app.message_preferences.suppress("bob@example.com", BOUNCED, shop.now)
        work(shop)
        export = state(shop, export_id)
        assert rows(shop, export) == []
        assert export["left_out"] == {"no_consent": 1, "suppressed": 1}

    def test_consent_taken_back_after_the_file_was_made_is_respected_within_the_hour(self, shop: Shop) -> None:
        a_fan(shop, "ada")
        export = done(shop)
        wants(shop, "ada", marketing=False)
        shop.later(minutes=59)
        assert state(shop, export["id"])["download"]
        shop.later(minutes=1)
        assert (state(shop, export["id"])["status"], state(shop, export["id"])["download"]) == ("running", None)
        work(shop)
        assert rows(shop, state(shop, export["id"])) == []

    def test_two_who_become_one_while_the_export_runs_are_written_to_once(self, shop: Shop) -> None:
        ada, bob = a_fan(shop, "ada"), a_fan(shop, "bob")
        export_id = opened(shop)
        work(shop, times=1)
        export = shop.app.campaign_exports.require(export_id)
        (part,) = export.parts
        first = json.loads(shop.app.files.read(f"{export.prefix}/parts/{part}").splitlines()[0])
        both = {**first, "identities": {ada: "", bob: ""}}
        shop.app.campaign_exports._save(export, parts=(shop.app.campaign_exports._part(export, [both]), part))
        work(shop)
        export = state(shop, export_id)
        assert (export["people"], export["left_out"]) == (1, {"twice": 2})

    def test_somebody_with_two_profiles_is_written_to_once(self, shop: Shop) -> None:
        a_fan(shop, "ada")
        etsy = customer_id_for("etsy:77")
        shop.stock_up("MUG", 10)
        kept(shop, sold(shop, "etsy", "77", "Ada@example.com"))
        shop.app.keeping.prefer(etsy, Wish((), True, "phone", "", "test"))
        export = done(shop)
        assert (export["looked_at"], export["people"], export["left_out"]) == (2, 1, {"twice": 1})


class TestTheErased:
    @pytest.fixture(autouse=True)
    def _a_buyer(self, shop: Shop) -> None:
        shop.stock_up("MUG", 100)
        self.order = sold(shop, "etsy", "77", "ada@example.com")
        kept(shop, self.order)

    def _erase(self, shop: Shop) -> None:
        """Etsy demands that its buyer is forgotten, and the profile has not heard of it yet."""
        shop.app.ending.cancel_by_channel(self.order.order_id, "etsy")
        assert shop.app.erasing.forget(self.order.order_id, "demand etsy#demand-1") == ""

    def _people(self, shop: Shop, export_id: str) -> int:
        work(shop)
        export = state(shop, export_id)
        assert len(rows(shop, export)) == export["people"]
        return int(export["people"])

    def test_somebody_erased_while_the_export_runs_is_not_in_the_file(self, shop: Shop) -> None:
        a_person(shop, "bob")
        export_id = opened(shop, purpose="analysis")
        work(shop, times=1)
        shop.later(minutes=1)
        self._erase(shop)
        assert self._people(shop, export_id) == 1
        assert state(shop, export_id)["left_out"] == {"erased": 1}

    def test_no_link_leads_to_somebody_who_was_erased_after_the_file_was_made(self, shop: Shop) -> None:
        export = done(shop, purpose="analysis")
        assert export["people"] == 1
        old = shop.app.campaign_exports.require(export["id"]).file
        shop.later(minutes=1)
        self._erase(shop)
        assert (state(shop, export["id"])["status"], state(shop, export["id"])["download"]) == ("running", None)
        assert self._people(shop, export["id"]) == 0
        assert shop.app.files.size(old) is None

    def test_an_export_asked_for_before_the_profile_is_gone_leaves_them_out(self, shop: Shop) -> None:
        shop.later(minutes=1)
        self._erase(shop)
        assert self._people(shop, opened(shop, purpose="analysis")) == 0
        kept(shop, self.order)
        assert self._people(shop, opened(shop, "campaign-0002", purpose="analysis")) == 0

    def test_who_buys_again_afterwards_is_a_customer_again(self, shop: Shop) -> None:
        shop.later(minutes=1)
        self._erase(shop)
        kept(shop, self.order)
        shop.later(minutes=1)
        kept(shop, sold(shop, "etsy", "77", "ada@example.com", "receipt-2"))
        assert self._people(shop, opened(shop, purpose="analysis")) == 1

    def test_a_table_s_export_from_before_is_not_handed_out_any_more(self, shop: Shop) -> None:
        export_id = opened(shop, purpose="analysis", how="table")
        _table_exported(shop, export_id)
        assert state(shop, export_id)["table"]
        shop.later(minutes=1)
        self._erase(shop)
        assert (state(shop, export_id)["status"], state(shop, export_id)["table"]) == ("outdated", None)


class TestInterruptedAndRepeated:
    @pytest.fixture(autouse=True)
    def _many(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.people = {a_person(shop, f"buyer{number}") for number in range(23)}
        monkeypatch.setattr(campaign_exports, "CHUNK", 5)

    def _complete(self, shop: Shop, export_id: str) -> None:
        """Everybody is in the file, once."""
        work(shop)
        export = state(shop, export_id)
        told = [row["person"] for row in rows(shop, export)]
        assert len(told) == len(set(told)) == len(self.people) == export["people"] == export["looked_at"]

    @pytest.mark.parametrize("crash_at", range(1, 12))
    def test_a_worker_that_dies_anywhere_leaves_the_rest_to_the_next_one(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, crash_at: int
    ) -> None:
        export_id, calls = opened(shop, purpose="analysis"), iter(range(1, 1000))
        shop.queued("campaign-exports")

        def dying(call: Any) -> Any:
            def called(*arguments: Any, **named: Any) -> Any:
                number = next(calls)
                if number == crash_at and crash_at % 2:
                    raise KeyboardInterrupt
                answer = call(*arguments, **named)
                if number == crash_at:
                    raise KeyboardInterrupt
                return answer

            return called

        with monkeypatch.context() as patched:
            patched.setattr(type(shop.app.files), "put", dying(type(shop.app.files).put))
            patched.setattr(ExportSegments, "_write", dying(ExportSegments._write))
            with pytest.raises(KeyboardInterrupt):
                _until_it_ends(shop, export_id)
        shop.app.campaign_exports.work(export_id, lambda: True)  # the message comes again
        self._complete(shop, export_id)

    def test_a_slow_worker_s_chunk_does_not_end_up_in_the_faster_one_s(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        export_id = opened(shop, purpose="analysis")
        slow = shop.app.campaign_exports.require(export_id)
        work(shop, times=1)
        a_person(shop, "newcomer")
        monkeypatch.setattr(campaign_exports, "CHUNK", 7)
        with pytest.raises(Overtaken):
            shop.app.campaign_exports._gather(slow, lambda: True)
        work(shop)
        self._complete(shop, export_id)

    def test_a_message_again_changes_nothing(self, shop: Shop) -> None:
        export_id = opened(shop, purpose="analysis")
        work(shop)
        before = shop.app.campaign_exports.require(export_id)
        for _ in range(2):
            shop.app.campaign_exports.work(export_id, lambda: True)
        assert shop.app.campaign_exports.require(export_id) == before
        shop.app.campaign_exports.work("no-such-export", lambda: True)

    def test_more_people_than_one_file_takes_are_said_to_be_too_many(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(campaign_exports, "MAX_PEOPLE", 12)
        export_id = opened(shop, purpose="analysis")
        work(shop)
        go_on(shop, export_id)
        export = state(shop, export_id)
        assert (export["status"], export["detail"][:20], export["looked_at"]) == ("failed", "More than 12 people:", 15)

    def test_time_that_does_not_suffice_is_given_again(self, shop: Shop) -> None:
        export_id = opened(shop, purpose="analysis")
        shop.queued("campaign-exports")
        for _ in range(5):
            shop.app.campaign_exports.work(export_id, partial(next, iter([True, False])))
            assert shop.queued("campaign-exports") == [{"export_id": export_id}]
        shop.app.campaign_exports.work(export_id, lambda: True)
        self._complete(shop, export_id)

    def test_a_composer_that_was_overtaken_leaves_no_file(self, shop: Shop) -> None:
        export_id = opened(shop, purpose="analysis")
        while state(shop, export_id)["status"] != "composing":
            work(shop, times=1)
        slow = shop.app.campaign_exports.require(export_id)
        work(shop)
        with pytest.raises(Overtaken):
            shop.app.campaign_exports._compose(slow)
        found = boto3.client("s3").list_objects_v2(Bucket="files", Prefix=slow.prefix)["Contents"]
        assert len([each for each in found if "/parts/" not in each["Key"]]) == 1


class TestTheFiles:
    def test_no_cell_is_a_formula(self, shop: Shop) -> None:
        for number, name in enumerate(("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "plain")):
            at = "2026-01-01T00:00:00.000Z"
            wants(shop, f"n{number}")
            contact = {"name": {"value": name, "at": at}, "email": {"value": f"n{number}@example.com", "at": at}}
            a_person(shop, f"n{number}", contact=contact)
        told = content(shop, done(shop)).decode()
        names = [row["name"] for row in csv.DictReader(io.StringIO(told))]
        assert sorted(names) == sorted(["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@SUM(A1)", "'\tx", "plain"])

    def test_parquet_has_types(self, shop: Shop) -> None:
        counted = {"spent": {"EUR": 1, "USD": 4200}, "skus": {"MUG": 2}, "channels": {"web": 1}}
        a_fan(shop, "ada", units=2, **counted)
        table = parquet.read_table(io.BytesIO(content(shop, done(shop, format="parquet"))))
        (row,) = table.to_pylist()
        assert (row["email"], row["name"], row["units"]) == ("ada@example.com", "Ada", 2)
        assert row["first_order_at"] == datetime.fromtimestamp(int(shop.now.timestamp()), UTC)
        assert {name: dict(row[name]) for name in counted} == counted
        assert (row["days_between_orders"], row["methods"]) == (None, [])
        kinds = {field.name: field.type for field in table.schema}
        assert (kinds["orders"], kinds["last_order_at"]) == (pyarrow.int64(), pyarrow.timestamp("ms", tz="UTC"))
        assert kinds["skus"] == pyarrow.map_(pyarrow.string(), pyarrow.int64())

    def test_parquet_of_nobody_has_the_columns(self, shop: Shop) -> None:
        table = parquet.read_table(io.BytesIO(content(shop, done(shop, purpose="analysis", format="parquet"))))
        assert (table.num_rows, table.schema.names[0]) == (0, "person")

    def test_a_link_ends_and_so_does_the_file(self, shop: Shop) -> None:
        export = done(shop, purpose="analysis")
        assert "Expires=" in export["download"]["url"] or "X-Amz-Expires=3600" in export["download"]["url"]
        shop.later(days=7)
        assert (state(shop, export["id"])["status"], state(shop, export["id"])["download"]) == ("expired", None)
        assert shop.queued("campaign-exports") == []
        go_on(shop, export["id"])
        assert shop.app.campaign_exports.require(export["id"]).revision == 2


class TestTheWholeTable:
    def test_the_query_chooses_the_same_people_from_the_table_s_export(self, shop: Shop) -> None:
        people = [a_person(shop, f"buyer{number}", units=number, skus={"MUG": number}) for number in range(6)]
        condition = {"all": [{"field": "sku", "any_of": ["MUG"], "at_least": 3}, {"field": "units", "at_most": 4}]}
        export_id = opened(shop, purpose="analysis", how="table", conditions=condition)
        assert state(shop, export_id)["table"] is None
        _table_exported(shop, export_id)
        export = state(shop, export_id)
        assert (export["status"], export["format"]) == ("completed", "dynamodb_json")
        assert export["table"]["data"].startswith(f"s3://files/campaigns/{export_id}/AWSDynamoDB/")
        assert condition_of(export["conditions"]) == condition_of(condition)
        profiles = [person_from_item(item).profile() for item in _exported(export_id) if item["entity"] == "person"]
        with views(profiles) as database:
            chosen = {row[0] for row in database.execute(export["table"]["query"])}
        assert chosen == {people[3], people[4]}

    def test_asking_twice_starts_one_export(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        export_id = opened(shop, purpose="analysis", how="table")
        asked: list[Any] = []
        client = shop.app.orders.table.client
        client.meta.events.register(
            "provide-client-params.dynamodb.ExportTableToPointInTime", lambda params, **_: asked.append(params)
        )
        stale = shop.app.campaign_exports.require(export_id)
        shop.app.campaign_exports._export_table(stale)
        with pytest.raises(Overtaken):
            shop.app.campaign_exports._export_table(stale)
        assert [each["ClientToken"] for each in asked] == [export_id, export_id]
        assert {each["S3Prefix"] for each in asked} == {f"campaigns/{export_id}"}

    @pytest.mark.parametrize(
        ("told", "status", "detail"),
        [
            ({"ExportStatus": "IN_PROGRESS"}, "running", None),
            ({"ExportStatus": "FAILED", "FailureCode": "S3NoSuchBucket"}, "failed", "DynamoDB: S3NoSuchBucket"),
        ],
    )
    def test_an_export_is_followed_until_it_ends(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, told: Any, status: str, detail: str | None
    ) -> None:
        class Client:
            def export_table_to_point_in_time(self, **_: Any) -> Any:
                return {"ExportDescription": {"ExportArn": "arn:x/export/1", "ExportStatus": "IN_PROGRESS"}}

            def describe_export(self, **_: Any) -> Any:
                return {"ExportDescription": told}

            def __getattr__(self, name: str) -> Any:
                return getattr(client, name)

        export_id = opened(shop, purpose="analysis", how="table")
        client = shop.app.orders.table.client
        monkeypatch.setattr(shop.app.orders.table, "client", Client())
        for _ in range(2):
            shop.app.campaign_exports.work(export_id, lambda: True)
        assert (state(shop, export_id)["status"], state(shop, export_id)["detail"]) == (status, detail)


def _table_exported(shop: Shop, export_id: str) -> None:
    """moto writes a table's export in a thread, and the message that asks again waits a minute."""
    work(shop)
    for _ in range(200):
        if shop.app.campaign_exports.require(export_id).status == "completed":
            return
        time.sleep(0.05)
        go_on(shop, export_id)


def _exported(export_id: str) -> list[dict[str, Any]]:
    """The items of a table's export, as they lie in the bucket."""
    s3 = boto3.client("s3")
    found = s3.list_objects_v2(Bucket="files", Prefix=f"campaigns/{export_id}/AWSDynamoDB/")["Contents"]
    bodies = [
        s3.get_object(Bucket="files", Key=each["Key"])["Body"].read() for each in found if "/data/" in each["Key"]
    ]
    lines = [line for body in bodies for line in gzip.decompress(body).splitlines()]
    return [from_item(json.loads(line)["Item"]) for line in lines]


class TestAsking:
    @pytest.mark.parametrize(
        "changes",
        [
            {"conditions": None},
            {"segment": "big"},
            {"purpose": "spam"},
            {"format": "xls"},
            {"how": "table"},
        ],
    )
    def test_what_cannot_be_exported_is_refused(self, shop: Shop, changes: Any) -> None:
        assert ask(shop, **changes).status == 422

    def test_an_unknown_segment_is_refused(self, shop: Shop) -> None:
        assert ask(shop, conditions=None, segment="unknown").status == 404

    def test_a_request_again_is_the_same_export_and_another_one_needs_another_key(self, shop: Shop) -> None:
        assert opened(shop) == opened(shop)
        assert ask(shop, format="parquet").status == 422
        assert opened(shop, "campaign-0002", format="parquet") != opened(shop)

    def test_only_ops_export(self, shop: Shop) -> None:
        agent = {**STAFF_CLAIMS, "cognito:groups": "[agent]"}
        for route in ("POST /campaigns/exports", "GET /campaigns/exports/{id}"):
            answer = shop.call("customer_service.customers", route, {}, path={"id": "x"}, staff=agent)
            assert answer.status == 403
