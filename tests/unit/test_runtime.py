"""Transactions, HTTP shaping, settings, secrets and staff tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from oms.runtime import errors, telemetry
from oms.runtime.batch import process_queue, process_stream
from oms.runtime.dynamo import ConditionsFailed, Contention, Table, from_item, to_item
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.outbound import HttpRequest, HttpResponse, Unreachable
from oms.runtime.secrets import Secrets
from oms.runtime.settings import Settings, SettingsInvalid
from oms.runtime.staff import StaffTokens
from tests.support.logs import everything_said

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(min_size=1, max_size=9), VALUES, max_size=6))
def test_items_read_back_as_they_were_written(item: dict[str, Any]) -> None:
    assert from_item(to_item(item)) == item


def test_a_float_has_no_place_in_an_item() -> None:
    with pytest.raises(TypeError):
        to_item({"price": 19.99})


class FakeDynamo:
    """Answers ``transact_write_items`` with what it was told to."""

    def __init__(self, *answers: list[str] | None) -> None:
        self.answers = list(answers)
        self.calls = 0

    def transact_write_items(self, **_: Any) -> dict[str, Any]:
        self.calls += 1
        codes = self.answers.pop(0)
        if codes is None:
            return {}
        reasons = [{"Code": code, "Item": {"pk": {"S": "there"}}} for code in codes]
        response = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
        raise ClientError(response, "TransactWriteItems")  # type: ignore[arg-type]


def table(client: Any) -> Table:
    return Table(client, "t", sleep=lambda _: None)


def writes(target: Table) -> list[Any]:
    return [target.put("first", {"pk": "a", "sk": "b"}), target.put("second", {"pk": "c", "sk": "d"})]


def test_a_conflict_is_tried_again_and_a_failed_condition_is_not() -> None:
    client = FakeDynamo(["TransactionConflict", "None"], ["None", "ThrottlingError"], None)
    table(client).transact(writes(table(client)))
    assert client.calls == 3
    client = FakeDynamo(["TransactionConflict", "ConditionalCheckFailed"])
    with pytest.raises(ConditionsFailed) as failed:
        table(client).transact(writes(table(client)))
    assert [refusal.write.label for refusal in failed.value.refusals] == ["second"]
    assert failed.value.refusals[0].old == {"pk": "there"}


def test_conflicts_without_end_are_contention() -> None:
    with pytest.raises(Contention):
        table(FakeDynamo(*[["TransactionConflict"]] * 50)).transact(writes(table(None)))


def test_other_reasons_are_our_own_defects_and_come_through() -> None:
    with pytest.raises(ClientError):
        table(FakeDynamo(["ValidationError", "None"])).transact(writes(table(None)))


# ---- HTTP ------------------------------------------------------------------------------------------------------------


def event(route: str = "GET /x", **changes: Any) -> dict[str, Any]:
    return {"routeKey": route, "headers": {}, "requestContext": {"requestId": "r1"}, **changes}


def answering(route: Callable[[ApiRequest], ApiResponse]) -> dict[str, Any]:
    return dispatch(event(), {"GET /x": route})


def test_an_unknown_error_tells_only_the_request_id() -> None:
    def broken(request: ApiRequest) -> ApiResponse:
        raise RuntimeError("the password is swordfish")

    answer = answering(broken)
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["code"], body["request_id"]) == (500, "internal_error", "r1")
    assert "swordfish" not in answer["body"]


def test_every_domain_error_has_an_answer() -> None:
    for name in dir(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.DomainError) and kind is not errors.DomainError:

            def raising(request: ApiRequest, kind: type[errors.DomainError] = kind) -> ApiResponse:
                raise kind("why", extra={"code": "finer"}, retry_after=7)

            answer = answering(raising)
            assert 400 <= answer["statusCode"] < 600
            assert answer["statusCode"] != 500, kind
            assert answer["headers"]["content-type"] == "application/problem+json"
            assert answer["headers"]["retry-after"] == "7"
            assert json.loads(answer["body"])["code"] == "finer"


def test_a_body_may_come_base64_encoded() -> None:
    request = ApiRequest.of(event(body=base64.b64encode(b'{"a": 1}').decode(), isBase64Encoded=True))
    assert request.json() == {"a": 1}


def test_a_nested_bomb_is_a_malformed_request() -> None:
    with pytest.raises(errors.MalformedRequest):
        ApiRequest.of(event(body="[" * 100_000)).json()


@pytest.mark.parametrize("claim", ["[agent ops]", "[agent, ops]", ["agent", "ops"], "agent ops"])
def test_groups_are_read_however_they_are_spelled(claim: Any) -> None:
    request = ApiRequest.of(event(requestContext={"authorizer": {"jwt": {"claims": {"cognito:groups": claim}}}}))
    assert request.groups == {"agent", "ops"}
    request.require_group("ops")
    with pytest.raises(errors.Forbidden):
        request.require_group("warehouse")


# ---- batches -------------------------------------------------------------------------------------------------------


def failing_on(bad: str) -> Callable[[Any], None]:
    def handle(record: Any) -> None:
        seen.append(record["body"])
        if record["body"] == bad:
            raise RuntimeError("no")

    seen: list[str] = []
    handle.seen = seen  # type: ignore[attr-defined]
    return handle


def test_a_queue_gets_back_only_what_failed() -> None:
    records = [{"messageId": name, "body": name} for name in "abc"]
    assert process_queue({"Records": records}, failing_on("b")) == {"batchItemFailures": [{"itemIdentifier": "b"}]}


def test_a_stream_stops_at_what_failed_so_that_nothing_overtakes_it() -> None:
    records = [{"dynamodb": {"SequenceNumber": name}, "body": name} for name in "abc"]
    handle = failing_on("b")
    assert process_stream({"Records": records}, handle) == {"batchItemFailures": [{"itemIdentifier": "b"}]}
    assert handle.seen == ["a", "b"]  # type: ignore[attr-defined]


# ---- settings and secrets ------------------------------------------------------------------------------------------


def test_settings_come_from_the_environment() -> None:
    settings = Settings.from_environment(
        {"ORDERS_TABLE": "o", "UNPAID_EXPIRY_SECONDS": "60", "CHANNEL_QUEUE_URLS": '{"etsy": "q"}', "HOME": "/"}
    )
    assert (settings.orders_table, settings.unpaid_expiry_seconds) == ("o", 60)
    assert settings.channel_queue_urls == {"etsy": "q"}
    with pytest.raises(SettingsInvalid, match="INVENTORY_TABLE is not set"):
        settings.require("inventory_table")
    with pytest.raises(SettingsInvalid, match="UNPAID_EXPIRY_SECONDS"):
        Settings.from_environment({"UNPAID_EXPIRY_SECONDS": "soon"})


def test_a_secret_is_fetched_again_after_five_minutes_and_survives_an_outage() -> None:
    answers: list[Any] = ['{"v": 1}', '{"v": 2}', RuntimeError("down")]
    now = [0.0]

    class Client:
        def get_secret_value(self, **_: Any) -> dict[str, str]:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return {"SecretString": answer}

    secrets = Secrets(Client, lambda: now[0])
    assert secrets.get("s") == secrets.get("s") == {"v": 1}
    now[0] = 301
    assert secrets.get("s") == {"v": 2}
    now[0] = 700
    assert secrets.get("s") == {"v": 2}
    with pytest.raises(IndexError):
        secrets.get("another")


# ---- staff tokens --------------------------------------------------------------------------------------------------

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ISSUER = "https://cognito.test/pool"


def staff_tokens(fetched: list[str], up: bool = True) -> StaffTokens:
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "k1"}

    def transport(request: HttpRequest, *, timeout: float) -> HttpResponse:
        fetched.append(request.url)
        if not up:
            raise Unreachable("down")
        return HttpResponse(200, {}, json.dumps({"keys": [jwk]}).encode())

    return StaffTokens(ISSUER, "https://keys.test", transport, lambda: 0.0)


def signed(key: Any = KEY, kid: str = "k1", algorithm: str = "RS256", **claims: Any) -> str:
    body = {"iss": ISSUER, "exp": 4_000_000_000, "cognito:groups": ["agent"], **claims}
    return jwt.encode(body, key, algorithm=algorithm, headers={"kid": kid})


def test_a_staff_token_is_believed_when_the_pool_signed_it() -> None:
    fetched: list[str] = []
    tokens = staff_tokens(fetched)
    assert tokens.claims(signed())["cognito:groups"] == ["agent"]
    tokens.claims(signed())
    assert len(fetched) == 1


@pytest.mark.parametrize(
    "token",
    [
        signed(OTHER),
        signed(kid="k2"),
        signed(iss="https://elsewhere"),
        signed(exp=1),
        signed("a shared secret that is long enough to be one", algorithm="HS256"),
        jwt.encode({"iss": ISSUER, "exp": 4_000_000_000}, "", algorithm="none", headers={"kid": "k1"}),
        "not.a.token",
        "",
    ],
)
def test_any_other_token_is_not(token: str) -> None:
    fetched: list[str] = []
    tokens = staff_tokens(fetched)
    for _ in range(5):
        with pytest.raises(errors.Unauthenticated):
            tokens.claims(token)
    assert len(fetched) <= 1, "forged tokens must not make us fetch keys again and again"


def test_keys_that_cannot_be_had_are_not_the_callers_fault() -> None:
    with pytest.raises(errors.Unavailable):
        staff_tokens([], up=False).claims(signed())


def test_a_log_line_tells_an_error_without_its_words() -> None:
    refused = ClientError({"Error": {"Code": "ValidationException", "Message": "bad: ada@example.com"}}, "PutItem")
    with everything_said() as said:
        try:
            try:
                raise refused
            except ClientError as cause:
                cause.add_note("while nobody looked")
                raise KeyError("ada@example.com") from cause
        except KeyError:
            telemetry.logger.exception("record_failed", record="m")
        telemetry.logger.info("nothing_failed")
    failed, fine = (json.loads(line) for line in said.getvalue().splitlines())
    assert "ada@example.com" not in failed["exception"].replace('raise KeyError("ada@example.com")', "")
    first, last = (
        failed["exception"].index("ClientError ValidationException"),
        failed["exception"].index("builtins.KeyError"),
    )
    assert first < last
    assert "test_runtime.py" in failed["exception"]
    assert failed["exception_name"] == "KeyError"
    assert "exception" not in fine
