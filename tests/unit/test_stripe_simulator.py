"""The local Stripe as its callers see it: strict about requests, faithful about money and events."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from local.simulators.core import Delivery, Request, Response
from local.simulators.stripe import StripeCore, sign
from local.simulators.stripe.cards import by_number, by_payment_method, by_token

START = 1_800_000_000.0
DAY = 86_400.0
Params = Mapping[str, Any]


class Account:
    """A merchant with a webhook endpoint, and every other part that can be played."""

    def __init__(self) -> None:
        self.now = START
        self.sent: list[Delivery] = []
        self.core = StripeCore(lambda: self.now, self.sent.append, callback_url="https://oms.example/webhook")

    def call(self, method: str, path: str, params: Params | None = None, *, key: str = "", **headers: str) -> Response:
        encoded = urlencode(params or {})
        sent = {"authorization": "Bearer sk_test_1", **headers, **({"idempotency-key": key} if key else {})}
        if method == "GET":
            return self.core.handle(Request.to("GET", f"{path}?{encoded}", sent))
        return self.core.handle(Request.to(method, path, sent, encoded.encode()))

    def post(self, path: str, params: Params | None = None, *, key: str = "") -> Any:
        return self.call("POST", path, params, key=key).json()

    def get(self, path: str, params: Params | None = None) -> Any:
        return self.call("GET", path, params).json()

    def play(self, path: str, **told: Any) -> Any:
        answer = self.core.handle(Request.to("POST", f"/_sim/{path}", {}, json.dumps(told).encode()))
        assert answer.status in (200, 402), answer.json()
        return answer.json()

    def intent(self, **params: Any) -> Any:
        return self.post("/v1/payment_intents", {"amount": 2500, "currency": "eur", **params})

    def paid(self, card: str = "pm_card_visa", **params: Any) -> Any:
        intent = self.intent(**params)
        self.play("pay", payment_intent=intent["client_secret"], payment_method=card)
        return self.get(f"/v1/payment_intents/{intent['id']}")

    def charge_of(self, intent: Mapping[str, Any]) -> Any:
        current = self.get(f"/v1/payment_intents/{intent['id']}")
        return self.get(f"/v1/charges/{current['latest_charge']}")

    def events(self) -> list[str]:
        return [json.loads(delivery.body)["type"] for delivery in self.sent]


@pytest.fixture
def account() -> Account:
    return Account()


def error_of(response: Response) -> tuple[int, str | None, str | None]:
    error = response.json()["error"]
    return response.status, error.get("code"), error.get("param")


# ---- strictness


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"currency": "eur"}, "parameter_missing", "amount"),
        ({"amount": 2500}, "parameter_missing", "currency"),
        ({"amount": 2500, "currency": "eur", "amuont": 1}, "parameter_unknown", "amuont"),
        (
            {"amount": 2500, "currency": "eur", "shipping[name]": "A", "shipping[address][zip]": "1"},
            "parameter_unknown",
            "shipping[address][zip]",
        ),
        ({"amount": "25.00", "currency": "eur"}, "parameter_invalid_integer", "amount"),
        ({"amount": -5, "currency": "eur"}, "parameter_invalid_integer", "amount"),
        ({"amount": 10, "currency": "usd"}, "amount_too_small", "amount"),
        ({"amount": 100_000_000, "currency": "usd"}, "amount_too_large", "amount"),
        ({"amount": 2500, "currency": "euros"}, None, "currency"),
        ({"amount": 2500, "currency": "eur", "capture_method": "later"}, None, "capture_method"),
        ({"amount": 2500, "currency": "eur", "metadata": "x"}, None, "metadata"),
        ({"amount": 2500, "currency": "eur", "expand[0]": "nothing"}, None, "expand"),
        ({"amount": 2500, "currency": "eur", "customer": "cus_1"}, "resource_missing", "customer"),
        (
            {"amount": 2500, "currency": "eur", "statement_descriptor": "x" * 23},
            "parameter_invalid_string_too_long",
            "statement_descriptor",
        ),
        (
            {"amount": 2500, "currency": "eur", "payment_method_types[]": "card"},
            "payment_method_types_no_longer_supported",
            "payment_method_types",
        ),
    ],
)
def test_a_request_that_does_not_fit_is_refused_by_name(
    account: Account, params: Params, code: str | None, param: str
) -> None:
    assert error_of(account.call("POST", "/v1/payment_intents", params)) == (400, code, param)


@pytest.mark.parametrize("credentials", ["", "Bearer ", "Bearer sk_live_1", "Bearer pk_test_1", "Basic !!!"])
def test_only_a_secret_test_key_is_let_in(account: Account, credentials: str) -> None:
    assert account.call("GET", "/v1/events", authorization=credentials).status == 401


def test_basic_authorisation_works_as_well_as_bearer(account: Account) -> None:
    credentials = "Basic " + b64encode(b"sk_test_1:").decode()
    assert account.call("GET", "/v1/events", authorization=credentials).status == 200


def test_another_api_version_is_refused(account: Account) -> None:
    headers = {"authorization": "Bearer sk_test_1", "stripe-version": "2023-08-16"}
    assert account.core.handle(Request.to("GET", "/v1/events", headers)).status == 400


def test_an_unknown_address_is_404(account: Account) -> None:
    assert account.call("POST", "/v1/coffee").status == 404


def test_every_answer_names_its_request(account: Account) -> None:
    first, second = account.call("GET", "/v1/events"), account.call("GET", "/v1/coffee")
    assert first.headers["request-id"] != second.headers["request-id"]


# ---- idempotency


def test_the_same_key_and_parameters_get_the_very_first_answer(account: Account) -> None:
    path, params = "/v1/payment_intents", {"amount": 2500, "currency": "eur"}
    first = account.call("POST", path, params, key="k")
    account.post(f"{path}/{first.json()['id']}/cancel")
    again = account.call("POST", path, params, key="k")
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"


def test_the_same_key_with_other_parameters_is_an_idempotency_error(account: Account) -> None:
    account.call("POST", "/v1/payment_intents", {"amount": 2500, "currency": "eur"}, key="k")
    other = account.call("POST", "/v1/payment_intents", {"amount": 2501, "currency": "eur"}, key="k")
    assert other.status == 400
    assert other.json()["error"]["type"] == "idempotency_error"


def test_a_stored_500_is_answered_again(account: Account) -> None:
    account.play("faults", next=[{"status": 500, "after_effect": True}])
    params = {"amount": 2500, "currency": "eur"}
    assert [account.call("POST", "/v1/payment_intents", params, key="k").status for _ in range(2)] == [
        500,
        500,
    ]
    assert len(account.get("/v1/payment_intents")["data"]) == 1


def test_a_decline_is_kept_for_its_key(account: Account) -> None:
    path = f"/v1/payment_intents/{account.intent()['id']}/confirm"
    params = {"payment_method": "pm_card_chargeDeclined", "return_url": "https://shop.example"}
    first = account.call("POST", path, params, key="k")
    assert account.call("POST", path, params, key="k").body == first.body
    assert account.events().count("charge.failed") == 1


def test_a_request_that_failed_validation_leaves_its_key_free(account: Account) -> None:
    assert account.call("POST", "/v1/payment_intents", {"amount": 1}, key="k").status == 400
    assert account.call("POST", "/v1/payment_intents", {"amount": 2500, "currency": "eur"}, key="k").status == 200


def test_keys_are_forgotten_after_a_day(account: Account) -> None:
    params = {"amount": 2500, "currency": "eur"}
    first = account.post("/v1/payment_intents", params, key="k")
    account.now += DAY - 1
    assert account.post("/v1/payment_intents", params, key="k")["id"] == first["id"]
    account.now += 1
    assert account.post("/v1/payment_intents", params, key="k")["id"] != first["id"]


# ---- paying


def test_names_numbers_and_tokens_mean_the_same_card() -> None:
    card = by_number("4000 0000 0000 0002")
    assert card is not None
    assert card == by_payment_method("pm_card_chargeDeclined") == by_token("tok_chargeDeclined")
    assert by_payment_method("pm_card_visa_chargeDeclined") == card


def test_a_card_number_is_not_taken_by_the_api(account: Account) -> None:
    intent = account.intent()
    refused = account.call("POST", f"/v1/payment_intents/{intent['id']}", {"payment_method": "4242424242424242"})
    assert error_of(refused) == (400, "resource_missing", "payment_method")


def test_a_token_becomes_a_payment_method(account: Account) -> None:
    intent = account.intent(
        **{
            "confirm": "true",
            "payment_method_data[type]": "card",
            "payment_method_data[card][token]": "tok_mastercard",
        }
    )
    assert intent["status"] == "succeeded"
    assert account.get(f"/v1/payment_methods/{intent['payment_method']}")["card"]["brand"] == "mastercard"


def test_a_payment_sends_its_events_in_order(account: Account) -> None:
    account.paid()
    assert account.events() == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
    ]


@pytest.mark.parametrize(
    ("card", "code", "decline"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("4000000000009995", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    ],
)
def test_a_declined_card_leaves_the_intent_open_for_another(
    account: Account, card: str, code: str, decline: str
) -> None:
    intent = account.paid(card)
    assert intent["status"] == "requires_payment_method"
    assert (intent["last_payment_error"]["code"], intent["last_payment_error"]["decline_code"]) == (
        code,
        decline,
    )
    assert account.events()[1:] == ["charge.failed", "payment_intent.payment_failed"]
    account.play("pay", payment_intent=intent["id"], payment_method="pm_card_visa")
    assert account.get(f"/v1/payment_intents/{intent['id']}")["status"] == "succeeded"


def test_confirming_through_the_api_answers_402_on_a_decline(account: Account) -> None:
    intent = account.intent()
    declined = account.call(
        "POST", f"/v1/payment_intents/{intent['id']}/confirm", {"payment_method": "pm_card_chargeDeclined"}
    )
    error = declined.json()["error"]
    assert declined.status == 402
    assert (error["type"], error["payment_intent"]["status"]) == ("card_error", "requires_payment_method")


def test_redirecting_methods_need_a_return_url(account: Account) -> None:
    refused = account.call(
        "POST",
        "/v1/payment_intents",
        {
            "amount": 2500,
            "currency": "eur",
            "automatic_payment_methods[enabled]": "true",
            "confirm": "true",
            "payment_method": "pm_card_visa",
        },
    )
    assert error_of(refused) == (400, None, "return_url")
    assert account.get("/v1/payment_intents")["data"] == []


@pytest.mark.parametrize(("outcome", "status"), [("succeeded", "succeeded"), ("failed", "requires_payment_method")])
def test_3d_secure_waits_for_the_customer(account: Account, outcome: str, status: str) -> None:
    intent = account.paid("pm_card_authenticationRequired")
    assert intent["status"] == "requires_action"
    assert intent["next_action"]["type"] == "redirect_to_url"
    account.play("authenticate", payment_intent=intent["id"], outcome=outcome)
    assert account.get(f"/v1/payment_intents/{intent['id']}")["status"] == status


def test_a_card_that_asks_for_3d_secure_declines_without_the_customer(account: Account) -> None:
    declined = account.call(
        "POST",
        "/v1/payment_intents",
        {
            "amount": 2500,
            "currency": "eur",
            "confirm": "true",
            "off_session": "true",
            "payment_method": "pm_card_authenticationRequired",
        },
    )
    assert (declined.status, declined.json()["error"]["code"]) == (402, "authentication_required")


def test_a_bank_debit_is_processing_until_it_settles(account: Account) -> None:
    intent = account.paid("pm_usBankAccount_processing")
    assert intent["status"] == "processing"
    account.play("settle", payment_intent=intent["id"])
    assert account.get(f"/v1/payment_intents/{intent['id']}")["amount_received"] == 2500


def test_a_browser_needs_the_right_client_secret(account: Account) -> None:
    intent = account.intent()
    told = {"payment_intent": f"{intent['id']}_secret_guess", "payment_method": "pm_card_visa"}
    answer = account.core.handle(Request.to("POST", "/_sim/pay", {}, json.dumps(told).encode()))
    assert answer.status == 400


# ---- capturing and cancelling


def test_a_partial_capture_lets_the_rest_go(account: Account) -> None:
    intent = account.paid(capture_method="manual")
    captured = account.post(f"/v1/payment_intents/{intent['id']}/capture", {"amount_to_capture": 1000})
    assert captured["status"] == "succeeded"
    assert (captured["amount_received"], captured["amount_capturable"]) == (1000, 0)
    assert account.charge_of(intent)["amount_captured"] == 1000


def test_several_captures_add_up_where_the_account_may_make_them(account: Account) -> None:
    options = {"payment_method_options[card][request_multicapture]": "if_available"}
    path = f"/v1/payment_intents/{account.paid(capture_method='manual', **options)['id']}/capture"
    first = account.post(path, {"amount_to_capture": 1000, "final_capture": "false"})
    assert (first["status"], first["amount_capturable"]) == ("requires_capture", 1500)
    last = account.post(path)
    assert (last["status"], last["amount_received"]) == ("succeeded", 2500)


def test_an_authorisation_cannot_be_captured_in_parts_unless_that_was_asked_for(account: Account) -> None:
    path = f"/v1/payment_intents/{account.paid(capture_method='manual')['id']}/capture"
    refused = account.call("POST", path, {"amount_to_capture": 1000, "final_capture": "false"})
    assert error_of(refused)[0] == 400


def test_more_than_was_authorised_cannot_be_captured(account: Account) -> None:
    path = f"/v1/payment_intents/{account.paid(capture_method='manual')['id']}/capture"
    assert error_of(account.call("POST", path, {"amount_to_capture": 2501}))[0] == 400


def test_an_authorisation_lapses_after_seven_days(account: Account) -> None:
    intent = account.paid(capture_method="manual")
    account.now += 7 * DAY
    lapsed = account.get(f"/v1/payment_intents/{intent['id']}")
    assert (lapsed["status"], lapsed["cancellation_reason"]) == ("canceled", "automatic")
    assert account.events()[-2:] == ["charge.expired", "payment_intent.canceled"]


@pytest.mark.parametrize("operation", ["cancel", "confirm", "capture"])
def test_a_paid_intent_cannot_be_changed_any_more(account: Account, operation: str) -> None:
    intent = account.paid()
    refused = account.call("POST", f"/v1/payment_intents/{intent['id']}/{operation}")
    assert error_of(refused)[:2] == (400, "payment_intent_unexpected_state")


def test_an_update_merges_metadata_and_unsets_empty_values(account: Account) -> None:
    intent = account.intent(**{"metadata[a]": "1", "metadata[b]": "2"})
    updated = account.post(
        f"/v1/payment_intents/{intent['id']}", {"metadata[b]": "", "metadata[c]": "3", "amount": 2600}
    )
    assert (updated["metadata"], updated["amount"]) == ({"a": "1", "c": "3"}, 2600)


# ---- refunds and disputes


def test_refunds_never_exceed_the_charge(account: Account) -> None:
    told = {"payment_intent": account.paid()["id"]}
    account.post("/v1/refunds", {**told, "amount": 2000})
    assert error_of(account.call("POST", "/v1/refunds", {**told, "amount": 501})) == (400, None, "amount")
    account.post("/v1/refunds", told)
    assert error_of(account.call("POST", "/v1/refunds", told))[1] == "charge_already_refunded"


def test_a_refund_by_charge_is_the_same_refund(account: Account) -> None:
    intent = account.paid()
    refund = account.post("/v1/refunds", {"charge": intent["latest_charge"]})
    assert (refund["payment_intent"], refund["amount"]) == (intent["id"], 2500)
    assert account.charge_of(intent)["refunded"] is True


def test_what_was_not_paid_cannot_be_refunded(account: Account) -> None:
    refused = account.call("POST", "/v1/refunds", {"payment_intent": account.intent()["id"]})
    assert error_of(refused)[1] == "payment_intent_unexpected_state"


def test_a_pending_refund_settles_later(account: Account) -> None:
    refund = account.post("/v1/refunds", {"payment_intent": account.paid("pm_card_pendingRefund")["id"]})
    assert refund["status"] == "pending"
    account.now += 60
    assert account.get(f"/v1/refunds/{refund['id']}")["status"] == "succeeded"
    assert account.events()[-2:] == ["refund.updated", "charge.refund.updated"]


def test_a_refund_that_fails_later_gives_the_money_back_to_the_charge(account: Account) -> None:
    intent = account.paid("pm_card_refundFail")
    refund = account.post("/v1/refunds", {"payment_intent": intent["id"]})
    assert refund["status"] == "succeeded"
    account.now += 60
    failed = account.get(f"/v1/refunds/{refund['id']}")
    assert (failed["status"], failed["failure_reason"]) == ("failed", "expired_or_canceled_card")
    assert account.charge_of(intent)["amount_refunded"] == 0
    assert "refund.failed" in account.events()


def test_a_disputed_card_is_disputed_at_once_and_cannot_be_refunded(account: Account) -> None:
    intent = account.paid("pm_card_createDispute")
    assert account.charge_of(intent)["disputed"] is True
    assert account.events()[-2:] == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    assert error_of(account.call("POST", "/v1/refunds", {"payment_intent": intent["id"]}))[1] == "charge_disputed"


@pytest.mark.parametrize(
    ("outcome", "events"),
    [
        ("won", ["charge.dispute.funds_reinstated", "charge.dispute.closed"]),
        ("lost", ["charge.dispute.funds_withdrawn", "charge.dispute.closed"]),
    ],
)
def test_a_dispute_is_decided(account: Account, outcome: str, events: list[str]) -> None:
    dispute = account.play("disputes", payment_intent=account.paid()["id"])
    account.play("disputes", dispute=dispute["id"], outcome=outcome)
    assert account.get(f"/v1/disputes/{dispute['id']}")["status"] == outcome
    assert account.events()[-2:] == events


def test_totals_follow_the_money(account: Account) -> None:
    first = account.paid(**{"metadata[order_id]": "order-1"})
    account.post("/v1/refunds", {"payment_intent": first["id"], "amount": 700})
    account.paid(**{"metadata[order_id]": "order-2", "capture_method": "manual"})
    totals = account.core.handle(Request.to("GET", "/_sim/totals")).json()
    assert totals["currencies"]["eur"] == {
        "authorized": 2500,
        "captured": 2500,
        "refunded": 700,
        "disputed": 0,
    }
    assert totals["orders"]["order-1"]["refunded"] == 700


# ---- events and webhooks


def test_a_webhook_is_signed_at_the_time_it_leaves(account: Account) -> None:
    account.intent()
    delivery = account.sent[0]
    assert delivery.headers["stripe-signature"] == sign("whsec_local", int(START), delivery.body)


def test_only_subscribed_events_are_sent(account: Account) -> None:
    account.play("config", enabled_events=["payment_intent.succeeded"])
    account.paid()
    assert account.events() == ["payment_intent.succeeded"]


def test_a_failed_delivery_is_signed_anew_and_stays_in_the_list_of_failures(account: Account) -> None:
    account.intent()
    account.now += 600
    again = account.core.delivered(account.sent[0], 503)
    assert again is not None
    assert again.headers["stripe-signature"] == sign("whsec_local", int(START) + 600, again.body)
    assert len(account.get("/v1/events", {"delivery_success": "false"})["data"]) == 1
    assert account.core.delivered(again, 200) is None
    assert account.get("/v1/events", {"delivery_success": "false"})["data"] == []


def test_deliveries_are_given_up_and_can_be_sent_again_by_hand(account: Account) -> None:
    account.intent()
    delivery: Delivery | None = account.sent[0]
    attempts = 0
    while delivery is not None:
        attempts += 1
        delivery = account.core.delivered(delivery, 0)
    report = account.core.handle(Request.to("GET", "/_sim/deliveries")).json()
    assert len(report[0]["attempts"]) == attempts > 1
    account.play("deliveries", event=report[0]["event"])
    assert len(account.sent) == 2


def test_events_are_listed_newest_first_by_type_and_page(account: Account) -> None:
    for _ in range(3):
        account.intent()
    page = account.get("/v1/events", {"type": "payment_intent.created", "limit": 2})
    assert page["has_more"] is True
    rest = account.get("/v1/events", {"limit": 2, "starting_after": page["data"][-1]["id"]})
    assert [each["id"] for each in page["data"] + rest["data"]] == sorted(
        (each["id"] for each in page["data"] + rest["data"]), reverse=True
    )
    assert rest["has_more"] is False


def test_events_can_be_listed_from_a_time_on(account: Account) -> None:
    account.intent()
    account.now += 100
    account.intent()
    assert len(account.get("/v1/events", {"created[gt]": int(START)})["data"]) == 1


def test_an_event_names_the_request_behind_it(account: Account) -> None:
    account.call("POST", "/v1/payment_intents", {"amount": 2500, "currency": "eur"}, key="cause")
    assert json.loads(account.sent[0].body)["request"]["idempotency_key"] == "cause"


def test_references_expand_on_request(account: Account) -> None:
    intent = account.paid()
    path = f"/v1/payment_intents/{intent['id']}"
    charge = account.get(path, {"expand[]": "latest_charge.balance_transaction"})["latest_charge"]
    assert charge["balance_transaction"]["net"] == 2500 - 103
    listed = account.get("/v1/payment_intents", {"expand[]": "data.latest_charge"})
    assert listed["data"][0]["latest_charge"]["id"] == charge["id"]


# ---- bad luck, and the same luck twice


def test_a_stripe_that_is_down_answers_503_until_it_is_up(account: Account) -> None:
    account.play("faults", down=True)
    assert account.call("GET", "/v1/events").status == 503
    account.play("faults")
    assert account.call("GET", "/v1/events").status == 200


def test_latency_is_told_to_the_host(account: Account) -> None:
    account.play("faults", next=[{"latency_ms": 9000}])
    assert account.call("GET", "/v1/events").headers["x-sim-latency-ms"] == "9000"


@pytest.mark.parametrize("body", [b"\xff", b"{}", b"[1]", b'{"payment_intent": 1}'])
def test_a_control_request_that_makes_no_sense_has_an_answer(account: Account, body: bytes) -> None:
    assert account.core.handle(Request.to("POST", "/_sim/pay", {}, body)).status in (400, 404)


def test_two_runs_are_the_same_to_the_byte() -> None:
    runs = []
    for _ in range(2):
        account = Account()
        account.post("/v1/refunds", {"payment_intent": account.paid("pm_card_refundFail")["id"]}, key="r")
        account.now += DAY
        account.intent()
        runs.append([(delivery.headers, delivery.body) for delivery in account.sent])
    assert runs[0] == runs[1]
