"""Money that is only authorised when an order is paid, and taken as its parcels leave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oms.fulfillment.facilities import put_facility
from oms.inventory.model import Movement
from oms.orders.model import Effect
from oms.payments import ledger
from oms.payments.gateway import StripeGateway
from oms.payments.port import PaymentProviderUnavailable
from tests.support.floor import ORIGIN, Floor
from tests.support.shop import Answer, Shop, checkout


@pytest.fixture
def floor(shop: Shop) -> Floor:
    floor = Floor(shop)
    put_facility(shop.app.inventory, ORIGIN, shop.now, "east")
    return floor


def two_parcels(floor: Floor, method: str = "pm_card_visa") -> Answer:
    """An authorised order of 2 shirts at 19.99 and 1 mug at 7.00 that leaves from two places, shipping 5.99."""
    shop = floor.shop
    shop.stock_up("SHIRT", 10)
    shop.stock_up("MUG", 0, price=700)
    shop.app.inventory.move(Movement("receive", "MUG", 5, "east", "A-01", "delivery", "staff:kim", "mugs", shop.now))
    placed = shop.place(checkout(("SHIRT", 2), ("MUG", 1), capture="on_shipment"))
    shop.pay(placed, method)
    shop.deliver_all()
    return placed


def unreachable(*_: Any) -> Any:
    raise PaymentProviderUnavailable


def work_at(floor: Floor, facility: str) -> None:
    floor.settle()
    while tasks := floor.work(facility=facility)["tasks"]:
        floor.do(tasks[0])


def money(shop: Shop, placed: Answer) -> tuple[int, int, int]:
    payment = shop.read(placed)["payment"]
    return payment["authorized"], payment["captured"], payment["due"]


def books_balance(shop: Shop, placed: Answer) -> bool:
    """Whether every entry adds up to zero and the sums are Stripe's."""
    entries = shop.app.orders.parts(placed.body["order_id"], "MONEY#")
    return (
        all(sum(entry["postings"].values()) == 0 for entry in entries)
        and ledger.sums(entries)["captured"] == shop.stripe_totals()["captured"]
    )


def test_each_parcel_takes_its_own_money_and_the_last_one_lets_the_rest_go(floor: Floor) -> None:
    shop = floor.shop
    placed = two_parcels(floor)
    total = placed.body["total"]
    assert (shop.read(placed)["status"], money(shop, placed)) == ("confirmed", (total, 0, total))
    floor.settle()
    work_at(floor, "main")
    assert money(shop, placed) == (total - 3998, 3998, total - 3998)
    work_at(floor, "east")
    shop.deliver_all()
    assert (shop.read(placed)["status"], money(shop, placed)) == ("completed", (0, total, 0))
    assert books_balance(shop, placed)


def test_over_a_cancelled_line_less_is_taken_and_nothing_has_to_be_refunded(floor: Floor) -> None:
    shop = floor.shop
    placed = two_parcels(floor)
    assert shop.cancel(placed, {"lines": [{"line": 2, "quantity": 1}]}, key="cancel-0001").status == 200
    assert shop.read(placed)["refunds"] == []
    floor.settle()
    work_at(floor, "main")
    shop.deliver_all()
    assert money(shop, placed) == (0, placed.body["total"] - 700, 0)
    assert shop.stripe_totals()["captured"] == placed.body["total"] - 700
    assert books_balance(shop, placed)


def test_where_the_account_cannot_capture_in_parts_the_first_parcel_takes_the_whole(floor: Floor) -> None:
    shop = floor.shop
    shop.stripe.account.multicapture = False
    placed = two_parcels(floor)
    floor.settle()
    work_at(floor, "main")
    assert money(shop, placed) == (0, placed.body["total"], 0)
    work_at(floor, "east")
    assert shop.read(placed)["status"] == "completed"
    assert books_balance(shop, placed)


def test_cancelling_lets_an_authorisation_go(floor: Floor) -> None:
    shop = floor.shop
    placed = two_parcels(floor)
    shop.cancel(placed)
    shop.settle(placed)
    shop.deliver_all()
    assert money(shop, placed) == (0, 0, 0)
    assert shop.read(placed)["payment"]["status"] == "cancelled"
    assert shop.stripe_totals() == {"authorized": 0, "captured": 0, "refunded": 0, "disputed": 0}


def test_an_authorisation_is_taken_before_it_lapses(floor: Floor) -> None:
    shop = floor.shop
    placed = two_parcels(floor)
    shop.settle(placed)
    order = floor.order(placed)
    assert shop.read(placed)["payment"]["authorization_expires_at"] == "2026-11-30T09:00:00.000Z"
    shop.later(days=6, minutes=1)
    shop.sweep()
    assert Effect.SECURE_AUTHORIZATION in floor.order(placed).effects
    shop.settle(placed)
    shop.deliver_all()
    assert money(shop, placed) == (0, placed.body["total"], 0)
    assert order.payment.authorized_until
    assert not floor.order(placed).payment.authorized_until
    assert books_balance(shop, placed)


@pytest.fixture
def renewing(floor: Floor) -> Shop:
    floor.shop.app.placing = replace(floor.shop.app.placing, lapsing="renew")
    return floor.shop


def lapsing(floor: Floor, method: str = "pm_card_visa") -> Answer:
    """An authorised order whose money would be let go tomorrow."""
    placed = two_parcels(floor, method)
    floor.shop.settle(placed)
    floor.shop.later(days=6, minutes=1)
    floor.shop.sweep()
    return placed


def test_an_authorisation_is_renewed_before_it_lapses_and_pays_for_the_parcels(floor: Floor, renewing: Shop) -> None:
    placed = lapsing(floor)
    for _ in range(2):
        renewing.settle(placed)
        renewing.deliver_all()
    total = placed.body["total"]
    assert money(renewing, placed) == (total, 0, total)
    assert [each["status"] for each in renewing.stripe.account.all("payment_intent")] == [
        "canceled",
        "requires_capture",
    ]
    assert renewing.read(placed)["payment"]["authorization_expires_at"] == "2026-12-06T09:01:00.000Z"
    renewing.later(days=3)
    floor.settle()
    work_at(floor, "main")
    assert money(renewing, placed) == (total - 3998, 3998, total - 3998)
    assert (dict(floor.order(placed).holds), books_balance(renewing, placed)) == ({}, True)


@pytest.mark.parametrize("died_after", ["asking", "the webhook"])
def test_a_renewal_that_died_half_way_asks_the_bank_only_once(floor: Floor, renewing: Shop, died_after: str) -> None:
    placed = lapsing(floor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StripeGateway, "cancel_intent", unreachable)
        with pytest.raises(AssertionError):
            renewing.settle(placed)
    if died_after == "the webhook":
        renewing.deliver_all()
    assert renewing.stripe_totals()["authorized"] == 2 * placed.body["total"]
    renewing.cancel(placed, {"lines": [{"line": 2, "quantity": 1}]}, key="cancel-0001")
    renewing.later(days=0, hours=21)
    renewing.settle(placed)
    renewing.deliver_all()
    assert renewing.stripe_totals()["authorized"] == placed.body["total"] == money(renewing, placed)[0]
    assert books_balance(renewing, placed)


def test_where_the_bank_refuses_a_renewal_the_money_is_taken_early(floor: Floor, renewing: Shop) -> None:
    placed = lapsing(floor, "pm_card_chargeCustomerFail")
    renewing.settle(placed)
    renewing.deliver_all()
    assert money(renewing, placed) == (0, placed.body["total"], 0)
    assert books_balance(renewing, placed)


def test_an_order_cancelled_in_the_middle_of_a_renewal_lets_both_authorisations_go(
    floor: Floor, renewing: Shop
) -> None:
    placed = lapsing(floor)
    order = floor.order(placed)
    renewing.app.settling()._renewal(order)
    renewing.app.gateway().renew_intent(order.payment.intent, 4000, order_id=order.order_id, key="died after this")
    renewing.cancel(placed)
    for _ in range(2):
        renewing.settle(placed)
        renewing.deliver_all()
    assert (renewing.stripe_totals()["authorized"], money(renewing, placed)) == (0, (0, 0, 0))
    assert books_balance(renewing, placed)


def test_a_lapsed_authorisation_pays_for_no_parcel(floor: Floor) -> None:
    shop = floor.shop
    placed = two_parcels(floor)
    shop.later(days=8)
    floor.settle()
    work_at(floor, "main")
    order = floor.order(placed)
    assert (list(order.holds), order.payment.covers) == (["payment"], 0)
    assert floor.place() == (10, 2)


def test_a_parcel_waits_while_the_provider_does_not_answer_and_then_takes_its_money_once(floor: Floor) -> None:
    shop = floor.shop
    placed = two_parcels(floor)
    shop.stripe._faults.next.append({"status": 500, "after_effect": True, "method": "POST", "path": "/capture"})
    floor.settle()
    work_at(floor, "main")
    assert shop.stripe_totals()["captured"] == 3998
    assert money(shop, placed)[1] == 3998
