"""StripeGateway against the local Stripe, in process and through the official SDK."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import stripe

from local.simulators.core import Delivery, Request, Response
from local.simulators.inprocess import transport_to
from local.simulators.stripe import StripeCore, sign
from oms.payments.gateway import API_VERSION, StripeGateway, TransportClient
from oms.payments.port import Intent, PaymentProviderUnavailable, PaymentRefused, WebhookRejected
from oms.runtime.outbound import HttpRequest, HttpResponse, Unreachable

START = 1_800_000_000.0
DAY = 86_400.0
SECRET = "whsec_local"
VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "facts" / "webhook-vectors.json"


class Bench:
    """A gateway, the Stripe behind it, and a line between them that can break."""

    def __init__(
        self, *, api_key: str = "sk_test_bench", retries: int = 0, secrets: tuple[str, ...] = (SECRET,)
    ) -> None:
        self.now = START
        self.sent: list[Delivery] = []
        self.requests: list[HttpRequest] = []
        self.lose_answers = 0
        self.core = StripeCore(lambda: self.now, self.sent.append, callback_url="https://oms.example/webhook")
        self._reach = transport_to({"stripe": self.core})
        self.gateway = StripeGateway(
            api_key,
            secrets,
            api_base="http://stripe",
            http_client=TransportClient(self._send),
            max_network_retries=retries,
        )

    def _send(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        self.requests.append(request)
        answer = self._reach(request, timeout=timeout)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unreachable("cut off")
        return answer

    def play(self, path: str, told: Mapping[str, Any]) -> Response:
        return self.core.handle(Request.to("POST", f"/_sim/{path}", {}, json.dumps(told).encode()))

    def fail_next(self, **fault: Any) -> None:
        self.play("faults", {"next": [fault]})

    def intents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.core.handle(Request.to("GET", "/_sim/intents")).json()
        return found

    def paid_intent(self, amount: int = 2500, card: str = "pm_card_visa") -> Intent:
        intent = self.gateway.open_intent("order-1", amount, "EUR")
        self.play("pay", {"payment_intent": intent.client_secret, "payment_method": card})
        return self.gateway.get_intent(intent.id)

    def authorized_intent(self) -> Intent:
        intent = self.gateway.open_intent("order-1", 2500, "EUR", manual_capture=True)
        self.play("pay", {"payment_intent": intent.id, "payment_method": "pm_card_visa"})
        return self.gateway.get_intent(intent.id)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_pinned_version_is_the_one_the_sdk_sends() -> None:
    assert stripe.api_version == API_VERSION


def test_an_order_gets_an_intent_that_names_it(bench: Bench) -> None:
    intent = bench.gateway.open_intent("order-1", 2500, "EUR")
    assert (intent.order_id, intent.amount, intent.currency) == ("order-1", 2500, "EUR")
    assert intent.status == "requires_payment_method"
    assert intent.client_secret.startswith(f"{intent.id}_secret_")
    assert bench.intents()[0]["automatic_payment_methods"] == {"enabled": True, "allow_redirects": "always"}


def test_opening_twice_meets_the_same_intent(bench: Bench) -> None:
    first = bench.gateway.open_intent("order-1", 2500, "EUR")
    assert bench.gateway.open_intent("order-1", 2500, "EUR") == first
    assert len(bench.intents()) == 1


def test_opening_again_with_another_amount_is_refused(bench: Bench) -> None:
    bench.gateway.open_intent("order-1", 2500, "EUR")
    with pytest.raises(PaymentRefused) as refusal:
        bench.gateway.open_intent("order-1", 2600, "EUR")
    assert refusal.value.code == "idempotency_error"


def test_a_lost_answer_does_not_make_a_second_intent() -> None:
    bench = Bench(retries=1)
    bench.lose_answers = 1
    intent = bench.gateway.open_intent("order-1", 2500, "EUR")
    assert [found["id"] for found in bench.intents()] == [intent.id]


def test_a_failure_that_stripe_stored_does_not_block_the_order_for_a_day(bench: Bench) -> None:
    bench.fail_next(status=500, after_effect=True)
    with pytest.raises(PaymentProviderUnavailable):
        bench.gateway.open_intent("order-1", 2500, "EUR")
    intent = bench.gateway.open_intent("order-1", 2500, "EUR")
    assert bench.gateway.open_intent("order-1", 2500, "EUR") == intent
    assert intent.status == "requires_payment_method"


@pytest.mark.parametrize("status", [429, 500, 503, 409])
def test_a_stripe_in_trouble_is_unavailable_not_a_refusal(bench: Bench, status: int) -> None:
    bench.fail_next(status=status)
    with pytest.raises(PaymentProviderUnavailable):
        bench.gateway.open_intent("order-1", 2500, "EUR")


def test_a_stripe_that_does_not_answer_is_unavailable(bench: Bench) -> None:
    bench.lose_answers = 1
    with pytest.raises(PaymentProviderUnavailable):
        bench.gateway.get_intent("pi_1")


def test_a_wrong_api_key_is_for_operators_to_mend_and_no_refusal() -> None:
    with pytest.raises(PaymentProviderUnavailable):
        Bench(api_key="sk_live_never").gateway.get_intent("pi_1")


def test_an_unknown_intent_is_refused_with_stripes_code(bench: Bench) -> None:
    with pytest.raises(PaymentRefused) as refusal:
        bench.gateway.get_intent("pi_none")
    assert refusal.value.code == "resource_missing"


def test_an_amount_below_stripes_minimum_is_refused(bench: Bench) -> None:
    with pytest.raises(PaymentRefused) as refusal:
        bench.gateway.open_intent("order-1", 10, "EUR")
    assert refusal.value.code == "amount_too_small"


def test_a_paid_intent_shows_what_was_received(bench: Bench) -> None:
    intent = bench.paid_intent()
    assert (intent.status, intent.amount_received) == ("succeeded", 2500)
    assert intent.charge_id is not None


def test_manual_capture_authorises_first(bench: Bench) -> None:
    intent = bench.authorized_intent()
    assert (intent.status, intent.amount_capturable, intent.amount_received) == ("requires_capture", 2500, 0)


def test_an_open_intent_can_be_cancelled_any_number_of_times(bench: Bench) -> None:
    intent = bench.gateway.open_intent("order-1", 2500, "EUR")
    assert bench.gateway.cancel_intent(intent.id).status == "canceled"
    assert bench.gateway.cancel_intent(intent.id).status == "canceled"


def test_cancelling_a_paid_intent_says_that_it_was_paid(bench: Bench) -> None:
    intent = bench.paid_intent()
    assert bench.gateway.cancel_intent(intent.id).status == "succeeded"


def test_a_refusal_to_cancel_is_not_remembered_against_the_next_try(bench: Bench) -> None:
    intent = bench.gateway.open_intent("order-1", 2500, "EUR")
    told = {"payment_intent": intent.id}
    bench.play("pay", {**told, "payment_method": "pm_usBankAccount_processing"})
    assert bench.gateway.cancel_intent(intent.id).status == "processing"
    bench.play("settle", {**told, "outcome": "failed"})
    assert bench.gateway.cancel_intent(intent.id).status == "canceled"


def test_cancelling_releases_an_authorisation(bench: Bench) -> None:
    intent = bench.authorized_intent()
    released = bench.gateway.cancel_intent(intent.id)
    assert (released.status, released.amount_capturable) == ("canceled", 0)


def test_a_refund_carries_our_id_and_reason(bench: Bench) -> None:
    intent = bench.paid_intent()
    refund = bench.gateway.refund(intent.id, 1000, refund_id="refund-1", reason="size too small")
    assert (refund.status, refund.amount, refund.currency) == ("succeeded", 1000, "EUR")
    params = bench.requests[-1].body.decode()
    assert "metadata[refund_id]=refund-1" in params
    assert "metadata[reason]=size+too+small" in params
    assert "&reason=" not in params


def test_a_reason_that_stripe_knows_is_passed_on(bench: Bench) -> None:
    intent = bench.paid_intent()
    bench.gateway.refund(intent.id, 1000, refund_id="refund-1", reason="duplicate")
    assert "&reason=duplicate" in bench.requests[-1].body.decode()


def test_repeating_a_refund_gives_nothing_back_twice(bench: Bench) -> None:
    intent = bench.paid_intent()
    first = bench.gateway.refund(intent.id, 1000, refund_id="refund-1", reason="duplicate")
    assert bench.gateway.refund(intent.id, 1000, refund_id="refund-1", reason="duplicate") == first
    bench.gateway.refund(intent.id, 500, refund_id="refund-2", reason="duplicate")
    assert _refunded(bench) == 1500


def test_a_refund_is_found_again_after_stripe_has_forgotten_its_key(bench: Bench) -> None:
    intent = bench.paid_intent()
    first = bench.gateway.refund(intent.id, 1000, refund_id="refund-1", reason="duplicate")
    bench.now += 2 * DAY
    assert bench.gateway.refund(intent.id, 1000, refund_id="refund-1", reason="duplicate").id == first.id
    assert _refunded(bench) == 1000


def test_a_refund_behind_a_stored_failure_is_found_and_not_repeated(bench: Bench) -> None:
    intent = bench.paid_intent()
    bench.fail_next(status=500, after_effect=True, method="POST", path="/v1/refunds")
    with pytest.raises(PaymentProviderUnavailable):
        bench.gateway.refund(intent.id, 1000, refund_id="refund-1", reason="duplicate")
    assert bench.gateway.refund(intent.id, 1000, refund_id="refund-1", reason="duplicate").status == "succeeded"
    assert _refunded(bench) == 1000


def test_a_stored_failure_without_effect_is_overcome_with_another_key(bench: Bench) -> None:
    intent = bench.paid_intent()
    bench.fail_next(status=500, stored=True, method="POST", path="/v1/refunds")
    with pytest.raises(PaymentProviderUnavailable):
        bench.gateway.refund(intent.id, 1000, refund_id="refund-1", reason="duplicate")
    bench.gateway.refund(intent.id, 1000, refund_id="refund-1", reason="duplicate")
    assert _refunded(bench) == 1000


def test_more_than_was_paid_cannot_be_given_back(bench: Bench) -> None:
    intent = bench.paid_intent()
    bench.gateway.refund(intent.id, 2000, refund_id="refund-1", reason="duplicate")
    with pytest.raises(PaymentRefused):
        bench.gateway.refund(intent.id, 501, refund_id="refund-2", reason="duplicate")


def test_a_refund_found_among_more_than_a_page_of_them(bench: Bench) -> None:
    intent = bench.paid_intent(amount=50_000)
    for number in range(105):
        bench.gateway.refund(intent.id, 1, refund_id=f"refund-{number}", reason="duplicate")
    bench.now += 2 * DAY
    bench.gateway.refund(intent.id, 1, refund_id="refund-0", reason="duplicate")
    assert _refunded(bench) == 105


def test_an_event_is_returned_once_its_signature_holds(bench: Bench) -> None:
    bench.gateway.open_intent("order-1", 2500, "EUR")
    delivery = bench.sent[0]
    event = bench.gateway.verify_event(delivery.body, delivery.headers["stripe-signature"], START)
    assert event["type"] == "payment_intent.created"
    assert event["data"]["object"]["metadata"] == {"order_id": "order-1"}


def test_both_secrets_count_while_one_replaces_the_other() -> None:
    gateway = Bench(secrets=("whsec_new", "whsec_old")).gateway
    body = b'{"object":"event","id":"evt_1"}'
    for secret in ("whsec_new", "whsec_old"):
        assert gateway.verify_event(body, sign(secret, int(START), body), START)["id"] == "evt_1"


@pytest.mark.parametrize("offset", [-301, 301])
def test_an_event_from_another_time_is_rejected_past_and_future(bench: Bench, offset: int) -> None:
    body = b'{"object":"event"}'
    with pytest.raises(WebhookRejected, match="timestamp"):
        bench.gateway.verify_event(body, sign(SECRET, int(START) + offset, body), START)


@pytest.mark.parametrize("offset", [-300, 300])
def test_an_event_at_the_edge_of_the_tolerance_is_accepted(bench: Bench, offset: int) -> None:
    body = b'{"object":"event"}'
    assert bench.gateway.verify_event(body, sign(SECRET, int(START) + offset, body), START)


@pytest.mark.parametrize(
    "signature",
    ["", "nonsense", "t=1800000000", "t=x,v1=00", "v1=00", "t=1800000000,v0=00", "t=1800000000,v1=é", "t"],
)
def test_a_signature_that_proves_nothing_is_rejected(bench: Bench, signature: str) -> None:
    with pytest.raises(WebhookRejected, match="signature"):
        bench.gateway.verify_event(b'{"object":"event"}', signature, START)


def test_a_time_written_strangely_is_read_as_it_was_verified(bench: Bench) -> None:
    body = b'{"object":"event"}'
    signature = sign(SECRET, int(START), body).replace(f"t={int(START)}", f"t={int(START)}=9")
    assert bench.gateway.verify_event(body, signature, START)


def test_a_changed_body_is_rejected(bench: Bench) -> None:
    signature = sign(SECRET, int(START), b'{"object":"event","amount":1}')
    with pytest.raises(WebhookRejected, match="signature"):
        bench.gateway.verify_event(b'{"object":"event","amount":9}', signature, START)


@pytest.mark.parametrize("body", [b"[]", b"not json", b'{"object":"charge"}', b"\xff\xfe"])
def test_a_signed_body_that_is_no_event_is_rejected(bench: Bench, body: bytes) -> None:
    with pytest.raises(WebhookRejected):
        bench.gateway.verify_event(body, sign(SECRET, int(START), body), START)


@pytest.mark.skipif(not VECTORS.exists(), reason="the published vectors are not beside this checkout (../shared/facts)")
def test_the_published_signature_vector_holds() -> None:
    vectors = json.loads(VECTORS.read_text())
    vector = next(each for each in vectors if each["provider"] == "stripe")
    body, at = vector["body"].encode(), 1_761_955_200
    assert sign(vector["secret"], at, body) == vector["value"]
    gateway = Bench(secrets=(vector["secret"],)).gateway
    assert gateway.verify_event(body, vector["value"], at)["id"] == "evt_test_webhook"


def test_neither_errors_nor_logs_show_a_client_secret(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    intent = bench.paid_intent()
    bench.fail_next(status=500)
    with pytest.raises(PaymentProviderUnavailable) as unavailable:
        bench.gateway.get_intent(intent.id)
    with pytest.raises(PaymentRefused) as refused:
        bench.gateway.refund(intent.id, 9_999_999, refund_id="refund-1", reason="duplicate")
    shown = caplog.text + repr(unavailable.value) + repr(refused.value) + repr(refused.value.__cause__)
    assert "_secret_" not in shown


def test_the_port_can_be_imported_without_loading_stripe() -> None:
    script = "import sys, oms.payments.port, oms.payments.settle; sys.exit('stripe' in sys.modules)"
    layer = Path(__file__).resolve().parents[2] / "layers" / "common"
    finished = subprocess.run([sys.executable, "-c", script], cwd=layer, check=False)
    assert finished.returncode == 0


def _refunded(bench: Bench) -> int:
    totals = bench.core.handle(Request.to("GET", "/_sim/totals")).json()
    return int(totals["currencies"]["eur"]["refunded"])
