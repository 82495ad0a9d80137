"""The local Stripe's answers against the published schemas, our requests against the published parameters.

The response schemas are those of 2023-08-16, which 2026's examples still satisfy; the parameters are 2026's.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from local.simulators.core import Delivery, Request, Response
from local.simulators.inprocess import transport_to
from local.simulators.stripe import StripeCore, contract
from oms.payments.gateway import StripeGateway, TransportClient
from oms.payments.port import PaymentProviderUnavailable, PaymentRefused
from oms.payments.watching import TYPES
from oms.runtime.outbound import HttpRequest, HttpResponse

jsonschema = pytest.importorskip("jsonschema")

FACTS = Path(__file__).resolve().parents[2].parent / "shared" / "facts" / "stripe"
pytestmark = pytest.mark.skipif(
    not FACTS.exists(),
    reason="Stripe's published contract is not beside this checkout (../shared/facts/stripe)",
)
CARDS = [
    "pm_card_visa",
    "pm_card_amex",
    "pm_card_chargeDeclined",
    "pm_card_authenticationRequired",
    "pm_card_refundFail",
    "pm_card_pendingRefund",
    "pm_card_createDispute",
    "pm_usBankAccount_processing",
]
OPERATIONS = {
    "POST /v1/payment_intents": contract.CREATE_INTENT,
    "POST /v1/payment_intents/{intent}": contract.UPDATE_INTENT,
    "POST /v1/payment_intents/{intent}/confirm": contract.CONFIRM_INTENT,
    "POST /v1/payment_intents/{intent}/capture": contract.CAPTURE_INTENT,
    "POST /v1/payment_intents/{intent}/cancel": contract.CANCEL_INTENT,
    "POST /v1/refunds": contract.CREATE_REFUND,
    "POST /v1/customers": contract.CREATE_CUSTOMER,
}


class Recorder:
    """A core that remembers every exchange."""

    def __init__(self, core: StripeCore) -> None:
        self.core = core
        self.exchanges: list[tuple[Request, Response]] = []

    def handle(self, request: Request) -> Response:
        response = self.core.handle(request)
        self.exchanges.append((request, response))
        return response


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """What 2026-10-28.endive accepts, by operation."""
    types = json.loads((FACTS / "stripe-2026-10-28.types.json").read_text())
    found: dict[str, Any] = types
    return found


@pytest.fixture(scope="module")
def schemas() -> Any:
    """The published response schemas, with JSON Schema's null for OpenAPI's ``nullable``."""
    document = json.loads((FACTS / "stripe-2023-08-16.trimmed.oas3.json").read_text())
    return _without_nullable(document["components"])


@pytest.fixture(scope="module")
def story() -> Recorder:
    """A life of the account in which everything happens that the core can do."""
    now = [1_800_000_000.0]
    sent: list[Delivery] = []
    core = StripeCore(lambda: now[0], sent.append, callback_url="https://oms.example/webhook")
    recorder = Recorder(core)
    reach = transport_to({"stripe": recorder})

    def send(request: HttpRequest, *, timeout: float) -> HttpResponse:
        return reach(request, timeout=timeout)

    gateway = StripeGateway(
        "sk_test_contract",
        ["whsec_local"],
        api_base="http://stripe",
        http_client=TransportClient(send),
        max_network_retries=0,
    )

    def play(path: str, **told: Any) -> Any:
        return core.handle(Request.to("POST", f"/_sim/{path}", {}, json.dumps(told).encode())).json()

    def call(method: str, target: str, form: str = "") -> Any:
        headers = {"authorization": "Bearer sk_test_contract"}
        return recorder.handle(Request.to(method, target, headers, form.encode())).json()

    for manual in (False, True):
        for card in CARDS:
            intent = gateway.open_intent(f"{card}-{manual}", 2500, "USD", manual_capture=manual)
            play("pay", payment_intent=intent.id, payment_method=card)
            play("authenticate", payment_intent=intent.id)
            play("settle", payment_intent=intent.id)
            if gateway.get_intent(intent.id).status == "requires_capture":
                call("POST", f"/v1/payment_intents/{intent.id}/capture", "amount_to_capture=2000")
            paid = gateway.cancel_intent(intent.id)
            if paid.amount_received and "Dispute" not in card:
                gateway.refund(intent.id, 500, refund_id=f"{card}-{manual}", reason="requested_by_customer")
            if paid.charge_id:
                call(
                    "GET",
                    f"/v1/charges/{paid.charge_id}?expand[]=balance_transaction&expand[]=payment_intent",
                )
    declined = gateway.open_intent("declined", 2500, "USD")
    confirm = "payment_method=pm_card_chargeDeclined&return_url=https://shop.example"
    call("POST", f"/v1/payment_intents/{declined.id}/confirm", confirm)
    call(
        "POST",
        f"/v1/payment_intents/{declined.id}",
        "description=again&shipping[name]=A&shipping[address][line1]=B",
    )
    uncaptured = gateway.open_intent("lapses", 2500, "USD", manual_capture=True)
    play("pay", payment_intent=uncaptured.id, payment_method="pm_card_visa")
    for dispute in core.account.all("dispute"):
        gateway.submit_evidence(dispute["id"], {"uncategorized_text": "signed for"}, key=f"evidence:{dispute['id']}")
    now[0] += 8 * 86_400
    core.tick()
    for dispute in core.account.all("dispute"):
        play("disputes", dispute=dispute["id"], outcome="won")
        call("GET", f"/v1/disputes/{dispute['id']}")
    parts = gateway.open_intent("in parts", 2500, "USD", manual_capture=True)
    play("pay", payment_intent=parts.id, payment_method="pm_card_visa")
    assert gateway.get_intent(parts.id).multicapture
    gateway.capture_intent(parts.id, 1000, received=0, final=False, key="capture:1")
    gateway.capture_intent(parts.id, 500, received=1000, final=True, key="capture:2")
    for card in ("pm_card_visa", "pm_card_chargeCustomerFail"):
        kept = gateway.open_intent(f"kept {card}", 2500, "USD", manual_capture=True, keep_card=True)
        play("pay", payment_intent=kept.id, payment_method=card)
        with suppress(PaymentRefused):
            renewed = gateway.renew_intent(kept.id, 2000, order_id="kept", key=f"renew:{card}")
            assert gateway.renew_intent(kept.id, 2000, order_id="kept", key="another key") == renewed
            assert (renewed.status, renewed.renews, renewed.amount_capturable) == ("requires_capture", kept.id, 2000)
    for customer in core.account.all("customer"):
        call("GET", f"/v1/customers/{customer['id']}")
    review = play("reviews", payment_intent=parts.id)["id"]
    assert gateway.get_warning(review).open
    play("reviews", review=review)
    warning = play("fraud_warnings", payment_intent=parts.id)["id"]
    assert gateway.get_warning(warning).open
    began = datetime.fromtimestamp(1_800_000_000, UTC)
    assert list(gateway.movements(began, datetime.fromtimestamp(now[0] + 1, UTC)))
    assert list(gateway.events(began, TYPES, undelivered=True))
    play("faults", next=[{"status": 500}])
    with pytest.raises(PaymentProviderUnavailable):
        gateway.get_intent(declined.id)
    call("POST", "/v1/payment_intents", "amount=2500")
    call("GET", "/v1/payment_intents?limit=100")
    call("GET", "/v1/refunds?limit=100")
    call("GET", "/v1/events?limit=100")
    for method in core.account.all("payment_method"):
        call("GET", f"/v1/payment_methods/{method['id']}")
    return recorder


def test_every_answer_has_a_published_shape(story: Recorder, schemas: Any) -> None:
    kinds = set()
    for _, response in story.exchanges:
        for kind, shape in _objects(response.json()):
            if kind in schemas["schemas"]:
                _validate(kind, shape, schemas)
            kinds.add(kind)
    assert kinds == {
        *("payment_intent", "charge", "refund", "dispute", "event", "payment_method", "error"),
        *("balance_transaction", "review", "radar.early_fraud_warning", "customer"),
    }


def test_every_event_carries_a_published_object_and_type(
    story: Recorder, schemas: Any, published: dict[str, Any]
) -> None:
    events = story.core.account.all("event")
    for event in events:
        _validate("event", event, schemas)
        if event["data"]["object"]["object"] in schemas["schemas"]:
            _validate(event["data"]["object"]["object"], event["data"]["object"], schemas)
    told = {event["type"] for event in events}
    assert told <= set(published["event_types"])
    assert set(TYPES) <= set(published["event_types"])
    assert {"refund.failed", "charge.expired", "payment_intent.processing", "charge.dispute.closed"} <= told


def test_every_balance_transaction_has_a_published_shape(story: Recorder, schemas: Any) -> None:
    transactions = story.core.account.all("balance_transaction")
    for transaction in transactions:
        _validate("balance_transaction", transaction, schemas)
    assert {each["type"] for each in transactions} == {"charge", "refund", "refund_failure", "adjustment"}


@pytest.mark.parametrize("kind", ["payment_intent", "charge", "refund", "dispute", "event"])
def test_every_field_of_2026_and_no_other_is_shown(story: Recorder, published: dict[str, Any], kind: str) -> None:
    optional = {
        "payment_intent": {"allowed_payment_method_types", "hooks", "managed_payments", "payment_details"}
        | {"payment_record", "presentment_details"},
        "charge": {
            "authorization_code",
            "level3",
            "presentment_details",
            "radar_options",
            "refunds",
            "source",
        }
        | {"transfer"},
        "refund": {"description", "failure_balance_transaction", "failure_reason", "instructions_email"}
        | {"next_action", "pending_reason", "presentment_details"},
        "dispute": {"intended_submission_method", "network_reason_code"},
        "event": {"account", "context"},
    }[kind]
    fields = set(next(iter(published["objects"][kind].values()))) - {"OBJECT_NAME"}
    shown = {name for shape in story.core.account.all(kind) for name in shape}
    assert shown <= fields
    assert fields - shown <= optional


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_core_knows_every_published_parameter_and_no_other(published: dict[str, Any], operation: str) -> None:
    parameters = next(iter(published["request_params"][operation].values()))
    assert set(OPERATIONS[operation]) == set(parameters)


def test_the_gateway_sends_only_published_parameters(story: Recorder, published: dict[str, Any]) -> None:
    sent = set()
    for request, _ in story.exchanges:
        if request.method != "POST" or "idempotency-key" not in request.headers:
            continue
        operation = _operation(request.path)
        if operation not in published["request_params"]:
            continue  # The collected contract has no request parameters of disputes.
        names = {name.partition("[")[0] for name, _ in parse_qsl(request.body.decode())}
        assert names <= set(next(iter(published["request_params"][operation].values())))
        assert request.headers["stripe-version"] == published["api_version"]
        sent.add(operation)
    assert sent == {
        "POST /v1/payment_intents",
        "POST /v1/payment_intents/{intent}/capture",
        "POST /v1/payment_intents/{intent}/cancel",
        "POST /v1/refunds",
        "POST /v1/customers",
    }


def _operation(path: str) -> str:
    parts = path.split("/")
    if parts[2] == "payment_intents" and len(parts) > 3:
        parts[3] = "{intent}"
    return "POST " + "/".join(parts)


def _objects(answer: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "error" in answer:
        yield "error", answer
    elif answer["object"] == "list":
        assert set(answer) == {"object", "data", "has_more", "url"}
        for item in answer["data"]:
            yield item["object"], item
    else:
        yield answer["object"], answer


def _validate(kind: str, shape: dict[str, Any], schemas: Any) -> None:
    root = {"$ref": f"#/components/schemas/{kind}", "components": schemas}
    best = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(root).iter_errors(shape))
    assert best is None, f"{kind} at {best.json_path}: {best.message[:300]}"


def _without_nullable(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _without_nullable(value) for name, value in node.items() if name != "nullable"}
    if node.get("nullable") is not True:
        return plain
    return {"anyOf": [copy.copy(plain), {"type": "null"}]}
