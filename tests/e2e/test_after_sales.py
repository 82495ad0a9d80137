"""After the sale, on the deployed stack: returns, edits, refunds, disputes, and money taken parcel by parcel."""

from __future__ import annotations

from typing import Any

import pytest

from local.client import Client
from local.reports import Stage
from tests.e2e.people import People

SALEM = {
    "name": "Ada Byron",
    "line1": "1 Other Street",
    "city": "Salem",
    "region": "OR",
    "postal_code": "97301",
    "country": "US",
}


@pytest.fixture
def people(client: Client, stage: Stage) -> People:
    return People(client, stage)


def test_a_return_is_labelled_inspected_and_paid_less_its_label_and_another_one_is_exchanged(
    people: People, sku: str
) -> None:
    client = people.client
    mug = f"{sku}-M"
    client.stock_up(sku, 10)
    client.stock_up(mug, 10, price=700)
    placed = people.sent((sku, 3), (mug, 1))
    wanted = {"lines": [{"line": 1, "quantity": 2, "reason": "too_small"}]}
    asked = people.ask_as(placed, "POST", "returns", wanted)
    assert (asked["number"], asked["status"]) == (1, "approved")
    label = people.ask_as(placed, "POST", "returns/1/label")["label"]
    client.sim("carrier", "POST", "/_sim/track", {"tracking_code": label["tracking_number"], "status": "in_transit"})
    people.until("the carrier has it", lambda: returns(people, placed)[0]["status"] == "in_transit")
    for grade in ("resellable", "damaged"):
        scan = {"facility": "main", "sku": sku, "quantity": 1, "grade": grade}
        people.ask("warehouse", "POST", f"/warehouse/returns/{asked['return_id']}/scans", scan)
    done = people.ask("warehouse", "POST", f"/warehouse/returns/{asked['return_id']}/complete")
    # The damaged one is worth nothing, and the customer's own reason makes the label the customer's.
    assert (done["status"], done["refunded"]) == ("refunded", 1999 - label["amount"])
    paid_back(people, placed, done["refunded"])
    stock = client.stock(sku)
    assert (stock["available"], stock["on_hand"], stock["facilities"]["main"]["quarantined"]) == (8, 9, 1)

    swap = {"lines": [{"line": 2, "quantity": 1, "reason": "wrong_item"}], "exchange": [{"sku": mug, "quantity": 1}]}
    asked = people.ask_as(placed, "POST", "returns", swap)
    scan = {"facility": "main", "sku": mug, "quantity": 1, "grade": "resellable"}
    people.ask("warehouse", "POST", f"/warehouse/returns/{asked['return_id']}/scans", scan)
    done = people.ask("warehouse", "POST", f"/warehouse/returns/{asked['return_id']}/complete")
    assert (done["status"], done["refunded"]) == ("exchanged", 0)
    exchange = {"order_id": done["exchange_order"]}
    people.pick_and_pack(exchange)
    people.until("it is sent", lambda: client.order_as_staff(exchange["order_id"])["status"] == "completed")
    assert client.stock(mug)["on_hand"] == 9
    asked = people.ask_as(placed, "POST", "returns", {"lines": [{"line": 1, "quantity": 1, "reason": "other"}]})
    decided = people.ask_as(placed, "POST", "returns/3/decision", {"decision": "cancel", "reason": "I keep it"})
    assert (asked["number"], decided["status"]) == (3, "cancelled")


def returns(people: People, placed: Any) -> Any:
    return people.ask_as(placed, "GET", "returns")["returns"]


def paid_back(people: People, placed: Any, amount: int) -> Any:
    """Wait until so much has been given back and the provider has said so; the order."""

    def seen() -> Any:
        order = people.client.order(placed)
        done = {each["status"] for each in order["refunds"]} == {"succeeded"}
        return order if done and order["payment"]["refunded"] == amount else None

    return people.until(f"{amount} are given back", seen)


def test_an_edit_is_previewed_carried_out_and_paid_and_the_parcel_goes_to_the_new_address(
    people: People, sku: str
) -> None:
    client = people.client
    mug = f"{sku}-M"
    client.stock_up(sku, 10)
    client.stock_up(mug, 10, price=700)
    placed = people.paid((sku, 2))
    people.task(placed, "pick")
    more = {"lines": [{"line": 1, "quantity": 3}, {"sku": mug, "quantity": 1}]}
    shown, done = edited(people, placed, more)
    assert shown["due"] == 1999 + 700
    people.client.sim(
        "stripe", "POST", "/_sim/pay", {"payment_intent": done["client_secret"], "payment_method": "pm_card_visa"}
    ).expect(200)
    people.until(
        "the difference is paid", lambda: client.order(placed)["payment"]["captured"] == placed["total"] + 2699
    )
    fewer = {"lines": [{"line": 1, "quantity": 1}]}
    shown, done = edited(people, placed, fewer)
    assert (shown["refund"], done["client_secret"]) == (2 * 1999, None)
    paid_back(people, placed, 2 * 1999)
    people.ask_as(placed, "PATCH", "address", SALEM)
    people.pick_and_pack(placed)
    people.until("it is sent", lambda: client.order(placed)["status"] == "completed")
    order = client.order(placed)
    assert order["shipping_address"]["city"] == "Salem"
    assert order["payment"]["captured"] - order["payment"]["refunded"] == 1999 + 700 + 599
    assert (client.stock(sku)["available"], client.stock(mug)["available"]) == (9, 9)


def edited(people: People, placed: Any, body: Any) -> tuple[Any, Any]:
    """Preview an edit and confirm it, with another preview as often as the order goes on in between."""

    def confirmed() -> Any:
        shown = people.ask_as(placed, "POST", "edits/preview", body)
        path, told = f"/orders/{placed['order_id']}/edits", {**body, "preview": shown["preview"]}
        client, token = people.client, placed["order_token"]
        answer = client.api("POST", path, told, order_token=token, key=client.new_key())
        return (shown, answer.body) if answer.status == 200 else None

    return tuple(people.until("the edit is carried out", confirmed))


def test_an_agent_gives_money_back_for_goodwill_lines_and_shipping_and_a_refused_refund_is_withdrawn(
    people: People, sku: str
) -> None:
    client = people.client
    client.stock_up(sku, 10)
    placed = people.paid((sku, 4))
    path = f"/orders/{placed['order_id']}/refunds"
    people.task(placed, "pick")
    client.cancel(placed, {"lines": [{"line": 1, "quantity": 1}]}, client.new_key()).expect(200)
    paid_back(people, placed, 1999)
    people.pick_and_pack(placed)
    people.until("it is sent", lambda: client.order(placed)["status"] == "completed")
    people.ask("agent", "POST", path, {"kind": "amount", "amount": 300, "reason": "goodwill"})
    people.ask("agent", "POST", path, {"kind": "lines", "lines": [{"line": 1, "quantity": 1}], "reason": "damaged"})
    people.ask("agent", "POST", path, {"kind": "shipping", "reason": "late"})
    paid_back(people, placed, 1999 + 300 + 1999 + 599)
    fault = {"status": 400, "code": "charge_disputed", "type": "invalid_request_error", "path": "/v1/refunds"}
    client.sim("stripe", "POST", "/_sim/faults", {"next": [{**fault, "method": "POST"}]}).expect(200)
    people.ask("agent", "POST", path, {"kind": "amount", "amount": 100, "reason": "goodwill"})

    def last() -> Any:
        return people.ask("agent", "GET", path)["refunds"][-1]

    people.until("the bank refuses it", lambda: last()["status"] == "failed")
    client.sim("stripe", "POST", "/_sim/faults", {"next": [{**fault, "method": "POST"}]}).expect(200)
    people.ask("agent", "POST", f"{path}/{last()['refund_id']}/retry")
    people.until("and again", lambda: last()["status"] == "failed")
    people.ask("ops", "POST", f"{path}/{last()['refund_id']}/withdraw", {"reason": "a voucher instead"})
    order = client.order_as_staff(placed["order_id"])
    assert (last()["status"], order["holds"]) == ("withdrawn", {})
    assert order["payment"]["refunded"] == 1999 + 300 + 1999 + 599


@pytest.mark.parametrize("outcome", ["won", "lost"])
def test_a_dispute_holds_the_order_is_answered_and_its_outcome_moves_the_money(
    people: People, sku: str, outcome: str
) -> None:
    client = people.client
    client.stock_up(sku, 10)
    placed = people.paid((sku, 1))
    intent = placed["payment"]["client_secret"].split("_secret_")[0]
    dispute = client.sim("stripe", "POST", "/_sim/disputes", {"payment_intent": intent}).expect(200)["id"]
    path = f"/orders/{placed['order_id']}/disputes/{dispute}/evidence"

    def order() -> Any:
        return client.order_as_staff(placed["order_id"])

    def evidence() -> Any:
        return people.ask("agent", "GET", path)

    people.until("the order is held", lambda: "dispute" in order()["holds"])
    assert evidence()["evidence"]["customer_name"] == "Ada Byron"
    people.ask("agent", "POST", path, {"confirm": True, "statement": "Ada has it."})
    people.until("the evidence is in", lambda: evidence()["evidence_status"] == "submitted")
    client.sim("stripe", "POST", "/_sim/disputes", {"dispute": dispute, "outcome": outcome}).expect(200)
    people.until("its outcome is known", lambda: evidence()["status"] == outcome)
    assert order()["payment"]["disputed"] == (0 if outcome == "won" else placed["total"])
    if outcome == "won":
        people.until("the order goes on", lambda: not order()["holds"])
        people.work_off(placed)


def test_what_is_only_authorised_is_taken_parcel_by_parcel(people: People, sku: str) -> None:
    client = people.client
    mug = f"{sku}-M"
    client.stock_up(sku, 10)
    client.put_product(mug, price=700).expect(200)
    facility = f"f{sku[5:].lower()}"
    people.ask("ops", "PUT", f"/facilities/{facility}", client_sender(people))
    there = {"type": "receive", "sku": mug, "quantity": 5, "facility": facility, "reason": "delivery"}
    people.ask("ops", "POST", "/stock/movements", there)
    placed = people.paid((sku, 2), (mug, 1), capture="on_shipment")
    assert client.order(placed)["payment"]["captured"] == 0
    people.pick_and_pack(placed)
    people.until("the first parcel is paid", lambda: client.order(placed)["payment"]["captured"] == 2 * 1999)
    people.pick_and_pack(placed, facility)
    order = people.until("the rest is", lambda: (seen := client.order(placed))["status"] == "completed" and seen)
    assert (order["payment"]["captured"], order["payment"]["authorized"]) == (placed["total"], 0)


def client_sender(people: People) -> Any:
    """The address of the main facility."""
    seen = people.ask("ops", "GET", "/facilities/main")
    return {"address": seen["address"], "phone": seen["phone"]}
