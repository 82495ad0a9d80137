"""The fault catalogue of payments, P1 to P14: what happens when each of them strikes.

What only interleaving shows (P5 to P9: a crash or another handler between any two calls) is walked exhaustively in
``tests/simulation/pairs.py``: *pay ‖ expire*, *pay ‖ cancel*, *refund ‖ refund*, *cancel a line ‖ cancel all*.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from oms.payments import ledger
from oms.payments.port import PaymentProviderUnavailable
from tests.support.shop import STAFF_CLAIMS, Answer, Shop, checkout


def paid(shop: Shop, method: str = "pm_card_visa", key: str = "checkout-0001", **changes: Any) -> Answer:
    shop.stock_up("SHIRT", 10)
    placed = shop.place(checkout(**changes), key=key)
    shop.pay(placed, method)
    shop.deliver_all()
    return placed


def payment(shop: Shop, placed: Answer) -> Any:
    return shop.read(placed)["payment"]


def books_agree(shop: Shop, placed: Answer) -> bool:
    """Whether every entry adds up to zero and the sums are Stripe's."""
    entries = shop.app.orders.parts(placed.body["order_id"], "MONEY#")
    sums, stripe = ledger.sums(entries), shop.stripe_totals()
    return (
        all(sum(ledger.postings_of(entry).values()) == 0 for entry in entries)
        and sums["captured"] == stripe["captured"]
        and sums["refunded"] - sums["refund_failed"] == stripe["refunded"]
    )


def cases(shop: Shop, kind: str, **query: str) -> Any:
    answer = shop.call("customer_service.api", "GET /payments/cases", query={"kind": kind, **query}, staff=STAFF_CLAIMS)
    assert answer.status == 200, answer
    return answer.body["cases"]


def about_refund(shop: Shop, placed: Answer, refund: Any, what: str, body: Any = None, groups: str = "ops") -> Answer:
    path = {"id": placed.body["order_id"], "refund": refund["refund_id"]}
    route = f"POST /orders/{{id}}/refunds/{{refund}}/{what}"
    claims = {**STAFF_CLAIMS, "cognito:groups": f"[{groups}]"}
    return shop.call("customer_service.api", route, body, path=path, staff=claims)


def test_p1_a_duplicate_webhook_has_one_effect(shop: Shop) -> None:
    placed = paid(shop)
    event = next(each for each in shop.stripe.account.all("event") if each["type"] == "payment_intent.succeeded")
    for told in (event, {**event, "id": "evt_another_for_the_same_change"}):
        assert shop.deliver(shop.signed_by_stripe(told)).status == 200
    assert payment(shop, placed)["captured"] == placed.body["total"]
    assert books_agree(shop, placed)


def test_p2_what_comes_out_of_order_never_moves_anything_back(shop: Shop) -> None:
    placed = paid(shop, capture="on_shipment")
    order = shop.app.orders.require(placed.body["order_id"])
    shop.app.capturing.for_parcel(order, placed.body["total"], last=True, parcel="1")
    late = shop.waiting("payment_intent.succeeded")
    shop.deliver_all()
    early = next(e for e in shop.stripe.account.all("event") if e["type"].endswith("amount_capturable_updated"))
    for told in (json.loads(late.body), early, {**early, "id": "evt_again"}):
        shop.deliver(shop.signed_by_stripe(told))
    assert (payment(shop, placed)["captured"], payment(shop, placed)["authorized"]) == (placed.body["total"], 0)
    assert books_agree(shop, placed)


def test_p3_a_webhook_a_month_late_has_the_same_effect_once(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    delivery = shop.waiting("payment_intent.succeeded")
    shop.deliveries.clear()
    shop.later(days=30)
    for _ in range(2):
        shop.deliver(shop.signed_by_stripe(json.loads(delivery.body)))
    assert shop.read(placed)["status"] == "confirmed"
    assert books_agree(shop, placed)


def test_p4_money_for_an_order_that_never_appears_is_a_case_and_goes_back_after_its_deadline(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = {"order_id": "00000000-0000-0000-0000-000000000000"}
    intent = shop.foreign_intent(Answer(201, {}, placed), 1200)
    event = json.loads(shop.waiting("payment_intent.succeeded").body)
    shop.deliveries.clear()
    assert shop.deliver(shop.signed_by_stripe(event)).status == 200
    (message,) = shop.queued("payment-events")
    assert "client_secret" not in json.dumps(message)
    from functions.payment_webhook import apply_event
    from tests.support.shop import Context

    record = {"messageId": "m1", "body": json.dumps(message)}
    assert apply_event.handler({"Records": [record]}, Context())["batchItemFailures"]
    assert [case["case_id"] for case in cases(shop, "payment_without_order")] == [intent]
    shop.later(hours=49)
    for _ in range(2):
        shop.watch(hours=2)
    assert shop.stripe_totals()["refunded"] == 1200
    assert cases(shop, "payment_without_order") == []
    assert [c["outcome"] for c in cases(shop, "payment_without_order", status="closed")] == ["refunded"]


def test_p5_money_after_the_reservation_expired_takes_stock_again_or_goes_back(shop: Shop) -> None:
    shop.stock_up("SHIRT", 2)
    placed = shop.place()
    shop.pay(placed)
    shop.later(minutes=31)
    shop.sweep()
    shop.place(checkout(("SHIRT", 1)), key="checkout-0002")
    shop.deliver_all()
    shop.settle(placed)
    assert (shop.read(placed)["status"], payment(shop, placed)["status"]) == ("expired", "refunded")
    assert books_agree(shop, placed)


def test_p6_a_placement_repeated_after_a_timeout_is_one_order_and_one_intent(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    shop.stripe_plays("faults", next=[{"status": 500, "after_effect": True, "stored": False}] * 2)
    first = shop.place()
    second = shop.place()
    assert (first.status, second.status) == (503, 201)
    assert shop.place().body == second.body
    assert shop.available() == 8
    assert len(shop.stripe.account.all("payment_intent")) == 1


def test_p7_an_order_that_ends_owes_its_refund_in_the_same_write(shop: Shop) -> None:
    placed = paid(shop)
    shop.cancel(placed)
    order = shop.app.orders.require(placed.body["order_id"])
    (refund,) = shop.app.orders.parts(placed.body["order_id"], "REFUND#")
    assert (order.payment.refund_due, refund["status"], shop.available()) == (placed.body["total"], "requested", 10)


def test_p8_a_crash_after_the_refund_makes_no_second_one_even_when_its_key_is_forgotten(shop: Shop) -> None:
    placed = paid(shop)
    shop.cancel(placed)
    (item,) = shop.app.orders.parts(placed.body["order_id"], "REFUND#")
    shop.app.gateway().refund(item["intent"], item["amount"], refund_id=item["refund_id"], reason="died after this")
    shop.later(days=3)
    shop.settle(placed)
    assert len(shop.stripe.account.all("refund")) == 1
    assert books_agree(shop, placed)


def test_p9_more_is_never_given_back_than_came_whoever_asks(shop: Shop) -> None:
    placed = paid(shop)
    order = shop.app.orders.require(placed.body["order_id"])
    shop.refund_in_dashboard(placed, 1000)
    shop.news()
    assert payment(shop, placed)["refunded"] == 1000
    shop.cancel(placed)
    for _ in range(2):
        shop.settle(placed)
    assert payment(shop, placed)["refunded"] == order.payment.captured == shop.stripe_totals()["refunded"]
    assert books_agree(shop, placed)


def test_p10_a_dispute_holds_the_order_moves_the_money_and_follows_its_outcome(shop: Shop) -> None:
    placed = paid(shop)
    dispute = shop.stripe_plays("disputes", payment_intent=shop.intent_of(placed))["id"]
    shop.news()
    order = shop.app.orders.require(placed.body["order_id"])
    assert (list(order.holds), order.payment.disputed, order.payment.covers) == (["dispute"], placed.body["total"], 0)
    path = {"id": placed.body["order_id"], "dispute": dispute}
    route = "orders/{id}/disputes/{dispute}/evidence"
    shown = shop.call("customer_service.api", f"GET /{route}", path=path, staff=STAFF_CLAIMS)
    assert shown.body["evidence"]["customer_name"] == "Ada Byron"
    told = {"confirm": True, "statement": "The parcel was signed for."}
    for _ in range(2):
        sent = shop.call("customer_service.api", f"POST /{route}", told, path=path, staff=STAFF_CLAIMS)
        assert sent.body["evidence_status"] == "confirmed"
    shop.settle(placed)
    shop.settle(placed)
    assert shop.app.gateway().get_dispute(dispute).status == "under_review"
    shop.stripe_plays("disputes", dispute=dispute, outcome="won")
    shop.news()
    order = shop.app.orders.require(placed.body["order_id"])
    assert (dict(order.holds), order.payment.disputed, order.payment.covers) == ({}, 0, placed.body["total"])
    assert books_agree(shop, placed)


def test_notes_are_kept_once_tell_history_nothing_and_speak_for_us_where_the_customer_wrote_them(shop: Shop) -> None:
    placed = paid(shop)
    path = {"id": placed.body["order_id"]}

    def note(text: str, key: str, **told: Any) -> Answer:
        body, headers = {"text": text, **told}, {"idempotency-key": key}
        return shop.call(
            "customer_service.api", "POST /orders/{id}/notes", body, path=path, headers=headers, staff=STAFF_CLAIMS
        )

    first = note("It came, thank you! Ada", "note-0001", by_customer=True)
    assert (first.status, note("It came, thank you! Ada", "note-0001", by_customer=True).body) == (201, first.body)
    assert note("Something else", "note-0001").status == 422
    assert note("Ada calls every day", "note-0002").body["author"] == "staff:kim"
    listed = shop.call("customer_service.api", "GET /orders/{id}/notes", path=path, staff=STAFF_CLAIMS).body["notes"]
    assert [(each["text"], each["by_customer"]) for each in listed] == [
        ("It came, thank you! Ada", True),
        ("Ada calls every day", False),
    ]
    order_id = placed.body["order_id"]
    assert "Ada" not in str([*shop.app.orders.parts(order_id, "EVENT#"), *shop.app.orders.parts(order_id, "ONCE#")])
    dispute = shop.stripe_plays("disputes", payment_intent=shop.intent_of(placed))["id"]
    shop.news()
    route = "GET /orders/{id}/disputes/{dispute}/evidence"
    shown = shop.call("customer_service.api", route, path={**path, "dispute": dispute}, staff=STAFF_CLAIMS)
    story = shown.body["evidence"]["uncategorized_text"]
    assert "customer: It came, thank you!" in story
    assert "every day" not in story


def test_p10_a_refund_that_the_bank_sends_back_is_due_again_and_finance_puts_it_right(shop: Shop) -> None:
    placed = paid(shop, "pm_card_refundFail")
    shop.cancel(placed)
    shop.settle(placed)
    shop.news()
    shop.later(minutes=5)
    shop.stripe.tick()
    shop.news()
    order = shop.app.orders.require(placed.body["order_id"])
    assert (order.payment.refunded, order.payment.refund_due) == (0, placed.body["total"])
    assert order.holds["payment"].owner == "finance"
    (refund,) = shop.read(placed)["refunds"]
    assert refund["status"] == "failed"
    for _ in range(2):
        told = about_refund(shop, placed, refund, "given-back", {"method": "bank_transfer", "reference": "SEPA-1"})
        assert [(each["status"], each["reference"]) for each in told.body["refunds"]] == [("succeeded", "SEPA-1")]
    assert about_refund(shop, placed, refund, "withdraw", {"reason": "too late"}).body["code"] == "refund_state"
    assert shop.app.orders.require(order.order_id).holds == {}
    assert (payment(shop, placed)["refunded"], payment(shop, placed)["refund_due"]) == (placed.body["total"], 0)
    entries = shop.app.orders.parts(order.order_id, "MONEY#")
    assert ledger.balances(entries) == {
        "clearing:bank_transfer": -placed.body["total"],
        "clearing:stripe": placed.body["total"],
    }


def test_p10_a_refund_that_failed_late_is_sent_again_and_late_words_of_the_first_attempt_change_nothing(
    shop: Shop,
) -> None:
    placed = paid(shop, "pm_card_refundFail")
    shop.cancel(placed)
    shop.settle(placed)
    shop.later(minutes=5)
    shop.stripe.tick()
    shop.news()
    (refund,) = shop.read(placed)["refunds"]
    words = [each for each in shop.stripe.account.all("event") if each["type"] == "refund.failed"]
    assert about_refund(shop, placed, refund, "retry").body["refunds"][0]["status"] == "requested"
    shop.deliver(shop.signed_by_stripe({**words[0], "id": "evt_late"}))
    shop.news()
    shop.settle(placed)
    shop.news()
    assert (payment(shop, placed)["refunded"], payment(shop, placed)["refund_due"]) == (placed.body["total"], 0)
    assert books_agree(shop, placed)


def test_a_refund_that_is_withdrawn_is_not_owed_any_more_and_what_it_conceded_is(shop: Shop) -> None:
    placed = paid(shop, "pm_card_refundFail")
    body = {"kind": "amount", "amount": 500, "reason": "goodwill"}
    headers, path = {"idempotency-key": "goodwill-0001"}, {"id": placed.body["order_id"]}
    shop.call("customer_service.api", "POST /orders/{id}/refunds", body, headers=headers, path=path, staff=STAFF_CLAIMS)
    shop.settle(placed)
    shop.later(minutes=5)
    shop.stripe.tick()
    shop.news()
    (refund,) = shop.read(placed)["refunds"]
    assert about_refund(shop, placed, refund, "withdraw", {"reason": "kept it"}, groups="agent").status == 403
    for _ in range(2):
        told = about_refund(shop, placed, refund, "withdraw", {"reason": "the bank took it back"})
        assert [each["status"] for each in told.body["refunds"]] == ["withdrawn"]
    order = shop.app.orders.require(placed.body["order_id"])
    assert (order.payment.refund_due, order.payment.conceded, dict(order.holds)) == (0, 0, {})
    assert books_agree(shop, placed)


def test_p10_a_bank_debit_is_under_way_for_days_before_it_counts(shop: Shop) -> None:
    placed = paid(shop, "pm_usBankAccount_processing")
    assert (shop.read(placed)["status"], payment(shop, placed)["status"]) == ("placed", "processing")
    shop.stripe_plays("settle", payment_intent=shop.intent_of(placed))
    shop.deliver_all()
    assert shop.read(placed)["status"] == "confirmed"


def test_p11_another_amount_or_currency_is_held_and_never_accepted(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.foreign_intent(placed, 200)
    shop.deliver_all()
    order = shop.app.orders.require(placed.body["order_id"])
    assert (order.status.value, list(order.holds)) == ("placed", ["payment"])


def test_p12_a_stored_failure_is_passed_by_with_another_key_and_one_refund(shop: Shop) -> None:
    placed = paid(shop)
    shop.cancel(placed)
    shop.stripe_plays("faults", next=[{"status": 500, "after_effect": True, "method": "POST", "path": "/v1/refunds"}])
    with pytest.raises(PaymentProviderUnavailable):
        shop.app.settling().settle(placed.body["order_id"])
    shop.settle(placed)
    assert len(shop.stripe.account.all("refund")) == 1
    assert books_agree(shop, placed)


def test_p13_while_stripe_is_down_the_order_stands_and_the_client_is_told_to_come_again(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    shop.stripe_is(down=True)
    refused = shop.place()
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    shop.stripe_is(down=False)
    assert shop.place().status == 201


def test_p14_events_that_never_came_are_found_by_asking(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    shop.deliveries.clear()
    shop.later(minutes=20)
    assert shop.watch() == {"missed": 2}
    shop.news()
    assert shop.read(placed)["status"] == "confirmed"
    assert [card["last4"] for card in shop.app.orders.parts(placed.body["order_id"], "CARD#")] == ["4242"]
    assert shop.watch() == {"missed": 0}


def test_the_books_are_held_against_stripe_and_a_break_is_a_case_that_mends_nothing(shop: Shop) -> None:
    placed = paid(shop)
    lost = shop.foreign_intent(placed, 1200)
    shop.deliveries.clear()
    shop.later(hours=1)
    assert shop.watch(hours=2)["breaks"] == 1
    shop.watch(hours=2)
    (case,) = cases(shop, "break")
    assert (case["data"]["intent"], case["data"]["ledger"], case["data"]["provider"]) == (lost, 0, 1200)
    fees = [e for e in shop.app.orders.parts(placed.body["order_id"], "MONEY#") if e["kind"] == "fee"]
    assert len(fees) == 2
    assert payment(shop, placed)["captured"] == placed.body["total"]
    route = "POST /payments/cases/{kind}/{case}/close"
    path = {"kind": "break", "case": case["case_id"]}
    done = shop.call("customer_service.api", route, {"outcome": "refunded"}, path=path, staff=STAFF_CLAIMS)
    assert (done.body["status"], cases(shop, "break")) == ("closed", [])


def enter(shop: Shop, placed: Answer, intent: str, amount: int) -> None:
    """Somebody's mistake: an entry for money that Stripe never moved."""
    entry = ledger.Entry("captured", "stripe", intent, amount, "USD", "a mistake")
    shop.app.orders.table.transact([ledger.append(shop.app.orders.table, placed.body["order_id"], entry, shop.now)])


def test_an_entry_for_which_stripe_has_nothing_is_found_from_our_side(shop: Shop) -> None:
    placed = paid(shop)
    enter(shop, placed, "pi_gone", 1200)
    still = shop.place(checkout(capture="on_shipment"), key="checkout-0002")
    shop.pay(still)
    shop.deliver_all()
    enter(shop, still, shop.intent_of(still), 700)
    assert shop.watch(hours=2)["breaks"] == 0, "what is being written is left alone"
    shop.later(hours=1)
    assert [shop.watch(hours=2)["breaks"] for _ in range(2)] == [2, 0]
    found = {case["case_id"]: (case["data"]["ledger"], case["data"]["provider"]) for case in cases(shop, "break")}
    assert found == {"pi_gone:captured": (1200, 0), f"{shop.intent_of(still)}:captured": (700, 0)}


def test_the_daily_walk_over_open_payments_goes_on_where_the_last_run_stopped(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oms.payments.auditing._AT_ONCE", 1)
    old = paid(shop, capture="on_shipment")
    new = paid(shop, key="checkout-0002", capture="on_shipment")
    shop.later(hours=5)
    enter(shop, old, "pi_gone", 1200)
    shop.later(hours=5)
    assert new.body["order_id"] != old.body["order_id"]
    reports = [shop.watch(hours=2, seconds=seconds) for seconds in (1, 1, 1, 900)]
    assert sum(report["walked"] for report in reports) == 2
    assert [report["breaks"] for report in reports].count(1) == 1
    shop.later(hours=21)
    assert shop.watch(hours=2)["walked"] == 2


@pytest.mark.parametrize("other", [{"livemode": True}, {"account": "acct_of_somebody_else"}])
def test_an_event_of_another_mode_or_account_is_refused_and_changes_nothing(shop: Shop, other: dict[str, Any]) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    shop.pay(placed)
    told = json.loads(shop.waiting("payment_intent.succeeded").body) | other
    shop.deliveries.clear()
    assert shop.deliver(shop.signed_by_stripe(told)).status == 400
    assert (shop.read(placed)["status"], shop.queued("payment-events")) == ("placed", [])


def test_events_that_stripe_could_not_deliver_are_asked_for_though_others_come(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    lost, heard = shop.place(), shop.place(key="checkout-0002")
    shop.pay(lost)
    shop.deliveries.clear()
    shop.later(minutes=20)
    shop.pay(heard)
    for delivery in list(shop.deliveries):
        shop.stripe.delivered(delivery, shop.deliver(shop.signed_by_stripe(json.loads(delivery.body))).status)
    shop.deliveries.clear()
    assert shop.watch() == {"missed": 2}
    shop.news()
    assert (shop.read(lost)["status"], shop.read(heard)["status"]) == ("confirmed", "confirmed")


def test_a_review_holds_the_order_and_its_approval_lets_it_go(shop: Shop) -> None:
    placed = paid(shop)
    review = shop.stripe_plays("reviews", payment_intent=shop.intent_of(placed))["id"]
    shop.news()
    assert list(shop.app.orders.require(placed.body["order_id"]).holds) == ["fraud"]
    shop.stripe_plays("reviews", review=review, outcome="approved")
    shop.news()
    assert not shop.app.orders.require(placed.body["order_id"]).holds


def test_a_fraud_warning_holds_or_refunds_as_the_shop_is_set_up(shop: Shop) -> None:
    placed = paid(shop)
    object.__setattr__(shop.app.settings, "fraud_action", "refund")
    shop.stripe_plays("fraud_warnings", payment_intent=shop.intent_of(placed))
    shop.news()
    shop.settle(placed)
    assert (shop.read(placed)["status"], payment(shop, placed)["status"]) == ("cancelled", "refunded")


@pytest.mark.parametrize("part", [1000, None])
def test_what_a_card_pays_beyond_what_a_till_took_goes_back(shop: Shop, part: int | None) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    total, order_id = placed.body["total"], placed.body["order_id"]
    shop.app.tenders.record(order_id, "cash", part or total, reference="till 3", agent="staff:kim", key="tender-1")
    shop.pay(placed)
    shop.news()
    shop.settle(placed)
    shown = payment(shop, placed)
    assert (shown["captured"] - total, shown["refunded"]) == (part or total, part or total)
    assert shop.stripe_totals()["refunded"] == (part or total)
    assert shop.read(placed)["status"] == "confirmed"


def test_tills_and_invoices_stand_in_the_same_ledger_once_a_key(shop: Shop) -> None:
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    total, order_id, tenders = placed.body["total"], placed.body["order_id"], shop.app.tenders
    for _ in range(2):
        tenders.record(order_id, "cash", 1000, reference="till 3", agent="staff:kim", key="tender-1")
    assert (shop.read(placed)["status"], payment(shop, placed)["captured"]) == ("placed", 1000)
    tenders.record(
        order_id, "invoice", total - 1000, reference="R-7", agent="staff:kim", key="tender-2", terms=timedelta(days=14)
    )
    shown = payment(shop, placed)
    assert (shop.read(placed)["status"], shown["credit"], shown["due"]) == ("confirmed", total - 1000, total - 1000)
    tenders.record(order_id, "bank_transfer", total - 1000, reference="SEPA", agent="staff:kim", key="tender-3", fee=35)
    assert (payment(shop, placed)["credit"], payment(shop, placed)["due"]) == (0, 0)
    accounts = ledger.balances(shop.app.orders.parts(order_id, "MONEY#"))
    assert accounts["customer"] == -total
    assert accounts["fees:bank_transfer"] == 35
    shop.cancel(placed)
    shop.settle(placed)
    assert {refund["status"] for refund in shop.read(placed)["refunds"]} == {"by_hand"}
