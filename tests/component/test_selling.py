"""Selling by staff: by phone and at a counter, with drafts, limits, late repeats and receipts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from oms.customers.figures import contribution_of
from oms.inventory.backorders import queue_of
from oms.orders.model import Order, Status
from tests.component.test_coupons import before_writing, offer, used
from tests.component.test_rewards import GIFT, gifts, promise, states
from tests.component.test_rewards import buy as earn
from tests.support.shop import Answer, Shop, checkout
from tests.support.till import (
    AGENT,
    CARD,
    OPS,
    TILL,
    at_the_store,
    by_phone,
    deliver,
    due_of,
    history,
    mails,
    order_of,
    over_the_counter,
    sell,
    with_a_store,
)


@pytest.fixture
def store(shop: Shop) -> Shop:
    """A warehouse with ten shirts and mugs, and a store with five shirts."""
    return with_a_store(shop)


class TestAtTheCounter:
    def test_a_sale_is_paid_handed_over_and_off_the_books_in_one_transaction(
        self, store: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = type(store.app.orders.table)
        transact, transactions = table.transact, list[int]()

        def counted(self: Any, writes: Any, **told: Any) -> None:
            transactions.append(len(writes))
            transact(self, writes, **told)

        monkeypatch.setattr(table, "transact", counted)
        sold = sell(store, over_the_counter())
        monkeypatch.undo()
        assert sold.status == 201, sold
        assert (sold.body["status"], sold.body["total"], sold.body["not_on_the_books"]) == ("completed", 3998, {})
        assert len(transactions) == 1
        order = order_of(store, sold)
        assert (order.payment.status, order.payment.captured, order.payment.provider) == ("captured", 3998, "cash")
        assert history(store, sold) == ["OrderPlaced", "PaymentCaptured", "ShipmentCollected"]
        assert (at_the_store(store), store.available()) == (3, 13)
        assert store.identity_holds("SHIRT")
        seen = store.read(sold)
        assert [(parcel["facility"], parcel["status"]) for parcel in seen["shipments"]] == [("store", "delivered")]
        assert (seen["counter"], seen["delivered_at"]) == ("store", "2026-11-23T09:00:00.000Z")

    def test_a_walk_in_is_nobody_and_gets_no_mail(self, store: Shop) -> None:
        first, second = sell(store, over_the_counter()), sell(store, over_the_counter(), "till-3-0002")
        one, other = order_of(store, first), order_of(store, second)
        assert one.customer.keys() == {"id"}
        assert one.customer["id"] != other.customer["id"]
        for kind in mails(store, first):
            assert store.app.telling.why_not(one, due_of(store, first, kind)) == "no address"

    def test_somebody_who_says_an_address_gets_a_confirmation(self, store: Shop) -> None:
        sold = sell(store, over_the_counter(customer={"email": "ada@example.com"}))
        assert mails(store, sold) == ["confirmed"]

    def test_the_address_of_the_store_is_not_the_customer_s(self, store: Shop) -> None:
        told = contribution_of(
            order_of(store, sell(store, over_the_counter(customer={"email": "ada@example.com"}))), []
        )
        assert told is not None
        assert (told.channel, told.address) == ("pos", {})
        assert contribution_of(order_of(store, sell(store, over_the_counter(), "till-3-0002")), []) is None

    def test_the_same_sale_again_is_one_sale_even_days_later(self, store: Shop) -> None:
        body = over_the_counter(taken_at="2026-11-23T09:59:30+01:00")
        first = sell(store, body)
        store.later(days=5)
        assert sell(store, body).body == first.body
        assert at_the_store(store) == 3
        assert first.body["taken_at"] == "2026-11-23T08:59:30.000Z"
        changed = sell(store, over_the_counter(("SHIRT", 1)))
        assert (changed.status, changed.body["code"]) == (422, "idempotency_key_reused")

    def test_a_till_that_was_alone_for_a_day_tells_late_by_its_own_clock(self, store: Shop) -> None:
        store.later(hours=24)
        sold = sell(store, over_the_counter(taken_at="2026-11-23T10:00:00Z"))
        assert (sold.status, sold.body["placed_at"]) == (201, "2026-11-24T09:00:00.000Z")
        (entry,) = store.app.orders.parts(sold.body["order_id"], "MONEY#")
        assert (entry["at"], entry["taken_at"]) == ("2026-11-24T09:00:00.000Z", "2026-11-23T10:00:00.000Z")

    @pytest.mark.parametrize("taken_at", ["2026-11-21T08:59:00Z", "2026-11-23T09:06:00Z"])
    def test_a_till_whose_clock_is_wrong_is_told_so(self, store: Shop, taken_at: str) -> None:
        sold = sell(store, over_the_counter(taken_at=taken_at))
        assert sold.status == 422
        assert "48 hours" in sold.body["errors"][0]["message"]

    def test_a_kit_leaves_as_its_parts(self, store: Shop) -> None:
        store.stock_up("SET", 0, price=2200, kit={"SHIRT": 1, "MUG": 1})
        deliver(store, "MUG", 2)
        sold = sell(store, over_the_counter(("SET", 2), ("SHIRT", 1)))
        assert sold.body["status"] == "completed", sold
        assert (at_the_store(store), at_the_store(store, "MUG")) == (2, 0)
        assert store.identity_holds("SHIRT", "MUG")

    def test_a_basket_too_large_for_one_transaction_leaves_in_several(self, store: Shop) -> None:
        skus = [f"P{number:03d}" for number in range(60)]
        store.stock_many(skus, 3)
        for sku in skus:
            deliver(store, sku, 2)
        sold = sell(store, over_the_counter(*[(sku, 1) for sku in skus]))
        assert (sold.status, sold.body["status"], sold.body["not_on_the_books"]) == (201, "completed", {}), sold
        assert not order_of(store, sold).holds
        assert history(store, sold).count("ShipmentCollected") == 3
        assert store.identity_holds(*skus)

    def test_only_an_open_store_hands_goods_over(self, store: Shop) -> None:
        assert sell(store, over_the_counter(counter="main")).body["errors"][0]["field"] == "counter"


class TestWhatTheBooksDoNotHave:
    def test_goods_that_the_store_lacks_are_recorded_held_and_counted(self, store: Shop) -> None:
        sold = sell(store, over_the_counter(("SHIRT", 7)))
        assert (sold.status, sold.body["not_on_the_books"]) == (201, {"SHIRT": 2}), sold
        order = order_of(store, sold)
        assert (order.status, order.holds["inventory"].owner) == (Status.IN_FULFILLMENT, "store")
        assert (at_the_store(store), store.available()) == (0, 8)
        assert store.identity_holds("SHIRT")
        counts = store.app.inventory.table.query_index("queues", "queue = :q", {":q": "counts#store"})
        assert [item["skus"] for item in counts] == [["SHIRT"]]

    def test_goods_that_were_promised_to_others_are_sold_beyond_the_stock(self, store: Shop) -> None:
        assert store.place(checkout(("SHIRT", 15))).status == 201
        sold = sell(store, over_the_counter(("SHIRT", 2)))
        order = order_of(store, sold)
        assert (sold.status, dict(order.oversold), order.status) == (201, {"SHIRT": 2}, Status.CONFIRMED)
        assert order.payment.captured == 3998
        assert store.identity_holds("SHIRT")

    def test_once_the_books_are_right_what_has_gone_leaves_them(self, store: Shop) -> None:
        sold = sell(store, over_the_counter(("SHIRT", 7)))
        deliver(store, "SHIRT", 3)
        path = {"id": sold.body["order_id"]}
        refused = store.call(
            "customer_service.api",
            "DELETE /orders/{id}/holds/{kind}",
            {"reason": "looks fine"},
            path={**path, "kind": "inventory"},
            staff=OPS,
        )
        assert (refused.status, refused.body["code"]) == (409, "not_on_the_books")
        for _ in range(2):
            done = store.call("place_order.staff", "POST /staff/orders/{id}/hand-over", path=path, staff=TILL)
            assert (done.status, done.body["status"], done.body["holds"]) == (200, "completed", {})
        assert at_the_store(store) == 1
        assert store.identity_holds("SHIRT")

    @pytest.mark.parametrize("promised", [0, 13, 15])
    def test_goods_that_were_there_all_the_same_come_onto_the_books_and_leave_them(
        self, store: Shop, promised: int
    ) -> None:
        if promised:
            assert store.place(checkout(("SHIRT", promised))).status == 201
        sold = sell(store, over_the_counter(("SHIRT", 7)))
        before = at_the_store(store)
        path, body = {"id": sold.body["order_id"]}, {"found": "a box behind the counter"}
        route = "POST /staff/orders/{id}/hand-over"
        assert store.call("place_order.staff", route, body, path=path, staff=TILL).status == 403
        for _ in range(2):
            done = store.call("place_order.staff", route, body, path=path, staff=OPS)
            assert (done.status, done.body["status"], done.body["oversold"]) == (200, "completed", {}), done
        assert at_the_store(store) == before
        assert store.available() == 15 - promised - min(5, 15 - promised)
        assert store.identity_holds("SHIRT")
        assert queue_of(store.app.inventory, "SHIRT").waiting == 0
        explained = store.call("inventory_sync.stock_api", "GET /explain/stock/{sku}", path={"sku": "SHIRT"}, staff=OPS)
        assert explained.body["adds_up"], explained

    def test_oversold_goods_leave_once_units_came_in_for_them(self, store: Shop) -> None:
        store.place(checkout(("SHIRT", 15)))
        body = over_the_counter(("SHIRT", 2))
        sold = sell(store, body)
        deliver(store, "SHIRT", 2)
        store.app.backorders.fill("SHIRT")
        assert sell(store, body).body["status"] == "completed", sold
        assert not order_of(store, sold).oversold
        assert store.identity_holds("SHIRT")

    def test_lines_that_were_scanned_by_mistake_are_cancelled_and_their_money_is_given_back(self, store: Shop) -> None:
        sold = sell(store, over_the_counter(("SHIRT", 7)))
        path = {"id": sold.body["order_id"]}
        store.app.ending.cancel_lines(path["id"], {1: 2}, reason="scanned twice", actor="staff:sam", key="cancel-1")
        order = order_of(store, sold)
        assert (order.status, order.payment.refund_due) == (Status.COMPLETED, 2 * 1999)
        assert store.identity_holds("SHIRT")


class TestWhatATillCharged:
    @pytest.mark.parametrize("charged", [3500, 4100, 1])
    def test_what_was_charged_is_what_it_cost_and_ops_are_told(self, store: Shop, charged: int) -> None:
        deliver(store, "MUG", 3)
        sold = sell(store, over_the_counter(("SHIRT", 1), ("MUG", 3), charged_total=charged))
        assert (sold.status, sold.body["total"], sold.body["our_total"]) == (201, charged, 3499), sold
        order = order_of(store, sold)
        assert order.payment.captured == charged
        assert sum(line.unit_price * line.quantity - line.discount + line.tax for line in order.lines) == charged
        cases = store.call("customer_service.api", "GET /payments/cases", query={"kind": "price_difference"}, staff=OPS)
        (case,) = cases.body["cases"]
        assert case["data"]["by"] == "staff:till-3"

    def test_a_price_that_was_charged_waits_for_somebody_in_the_work_list(self, store: Shop) -> None:
        sell(store, over_the_counter(charged_total=3500))
        (work,) = store.call("customer_service.api", "GET /work", staff=OPS).body["work"]
        assert (work["kind"], work["what"]) == ("case", "A till charged 3500 where our price is 3998.")

    def test_what_was_charged_by_our_prices_is_nobodys_case(self, store: Shop) -> None:
        sold = sell(store, over_the_counter(charged_total=3998))
        assert sold.body["our_total"] is None
        assert store.app.cases.listed("price_difference", closed=False, limit=5)[0] == []

    def test_a_discount_beyond_the_limit_that_was_given_already_is_a_case(self, store: Shop) -> None:
        lines = [{"sku": "SHIRT", "quantity": 1, "discount": {"percent": 50, "reason": "damaged"}}]
        body = over_the_counter(lines=lines, charged_total=999)
        sold = sell(store, body)
        assert (sold.status, sold.body["total"]) == (201, 999)
        ((case,), _) = store.app.cases.listed("price_difference", closed=False, limit=5)
        assert case["data"]["beyond_limit"]


class TestByPhone:
    def test_an_order_on_an_invoice_is_confirmed_and_due_on_its_terms(self, store: Shop) -> None:
        placed = sell(store, by_phone(payment={"method": "invoice", "terms_days": 14, "reference": "R-7"}), staff=AGENT)
        order = order_of(store, placed)
        assert (placed.status, order.status, order.channel) == (201, Status.CONFIRMED, "phone")
        assert (order.payment.credit, placed.body["payment"]["due_at"]) == (4597, "2026-12-07T09:00:00.000Z")
        assert [effect.value for effect in order.effects] == ["start_fulfillment"]
        assert history(store, placed) == ["OrderPlaced", "CreditGranted"]
        assert mails(store, placed) == ["confirmed"]

    def test_an_order_to_be_paid_by_link_waits_with_its_stock_and_the_link_is_mailed(self, store: Shop) -> None:
        placed = sell(store, by_phone(payment={"method": "card_link"}), staff=AGENT)
        assert (placed.body["status"], placed.body["expires_at"]) == ("placed", "2026-11-24T09:00:00.000Z")
        assert mails(store, placed) == ["payment_link"]
        path = {"id": placed.body["order_id"]}
        token = {"order-token": placed.body["order_token"]}
        pay = store.call("place_order.api", "GET /orders/{id}/payment", path=path, headers=token)
        assert (pay.status, pay.body["amount"]) == (200, placed.body["total"])
        store.later(hours=24, minutes=1)
        store.sweep()
        assert (order_of(store, placed).status, store.available()) == (Status.EXPIRED, 15)
        assert "payment_link" not in mails(store, placed)

    def test_money_of_a_link_is_taken_as_the_shop_takes_it(self, store: Shop) -> None:
        placing = replace(store.app.placing, capture_mode="on_shipment")
        store.app.selling = replace(store.app.selling, placing=placing)
        placed = sell(store, by_phone(payment={"method": "card_link"}), staff=AGENT)
        assert order_of(store, placed).payment.capture == "on_shipment"

    def test_money_that_is_taken_later_confirms_the_order_once(self, store: Shop) -> None:
        placed = sell(store, by_phone(payment={"method": "card_link"}), staff=AGENT)
        body = {"method": "cash", "amount": placed.body["total"], "reference": "till 3"}
        path = {"id": placed.body["order_id"]}
        for _ in range(2):
            taken = store.call(
                "place_order.staff",
                "POST /staff/orders/{id}/payments",
                body,
                path=path,
                headers={"idempotency-key": "payment-0001"},
                staff=TILL,
            )
            assert (taken.status, taken.body["status"]) == (200, "confirmed"), taken
        assert order_of(store, placed).payment.captured == placed.body["total"]
        transfer = {**body, "method": "bank_transfer"}
        refused = store.call(
            "place_order.staff",
            "POST /staff/orders/{id}/payments",
            transfer,
            path=path,
            headers={"idempotency-key": "payment-0002"},
            staff=AGENT,
        )
        assert refused.status == 403

    def test_an_order_that_is_sent_may_be_refused(self, store: Shop) -> None:
        placed = sell(store, by_phone(("SHIRT", 16)), staff=AGENT)
        assert (placed.status, placed.body["code"]) == (409, "out_of_stock")

    @pytest.mark.parametrize(
        ("changes", "where"),
        [
            ({"payment": {"method": "card_link"}, "customer": {"name": "Ada", "phone": "+1 503 555 0100"}}, "email"),
            ({"customer": {"name": "Ada"}}, "email or a phone"),
            ({"counter": "store"}, "counter"),
            ({"payment": {"method": "card_terminal"}}, "reference"),
            ({"shipping_address": None}, "shipping_address"),
            ({"charged_total": 5}, "charged_total"),
            ({"price": 1}, "price"),
        ],
    )
    def test_what_cannot_be_is_told(self, store: Shop, changes: dict[str, Any], where: str) -> None:
        refused = sell(store, by_phone(**changes), staff=AGENT)
        assert refused.status == 422
        assert where in str(refused.body["errors"])


class TestLimits:
    @pytest.mark.parametrize(
        ("staff", "channel", "status"),
        [(AGENT, "phone", 201), (AGENT, "pos", 403), (TILL, "pos", 201), (TILL, "phone", 403), (OPS, "pos", 201)],
    )
    def test_each_group_sells_through_its_own_channel(
        self, store: Shop, staff: Mapping[str, str], channel: str, status: int
    ) -> None:
        assert sell(store, by_phone(channel=channel, payment=CARD), staff=staff).status == status

    def test_the_warehouse_sells_nothing(self, store: Shop) -> None:
        picker = {"cognito:groups": "[warehouse]", "cognito:username": "bo"}
        assert sell(store, over_the_counter(), staff=picker).status == 403

    def test_a_discount_is_taken_off_before_tax_for_a_reason(self, store: Shop) -> None:
        lines = [{"sku": "SHIRT", "quantity": 2, "discount": {"amount": 98, "reason": "damaged"}}]
        lines.append({"sku": "MUG", "quantity": 1})
        body = by_phone(lines=lines, discount={"percent": 10, "reason": "loyalty"})
        body["shipping_address"] = {
            "name": "Ada Byron",
            "line1": "Hauptstr. 1",
            "city": "Berlin",
            "postal_code": "10115",
            "country": "DE",
        }
        placed = sell(store, body, staff=AGENT)
        assert placed.status == 201, placed
        totals = placed.body["totals"]
        assert (totals["items"], totals["discount"]) == (4498, 98 + 440)
        lines_of = order_of(store, placed).lines
        assert [line.tax for line in lines_of] == [
            round((line.unit_price * line.quantity - line.discount) * 0.19) for line in lines_of
        ]
        (first, *_) = store.app.orders.parts(placed.body["order_id"], "EVENT#")
        assert first["data"]["discounts"] == [
            {"line": 1, "amount": 98, "reason": "damaged"},
            {"amount": 440, "reason": "loyalty"},
        ]

    @pytest.mark.parametrize(
        ("staff", "percent", "status"), [(AGENT, 15, 201), (AGENT, 16, 403), (OPS, 60, 201), (TILL, 11, 403)]
    )
    def test_a_discount_beyond_the_limit_is_refused_with_the_limit(
        self, store: Shop, staff: Mapping[str, str], percent: int, status: int
    ) -> None:
        channel = "pos" if staff is TILL else "phone"
        body = by_phone(channel=channel, payment=CARD, discount={"percent": percent, "reason": "goodwill"})
        answer = sell(store, body, staff=staff)
        assert answer.status == status, answer
        if status == 403:
            assert answer.body["code"] == "over_discount_limit"
            assert answer.body["limit"]["percent"] == (10 if staff is TILL else 15)
            assert store.available() == 15

    def test_a_discount_is_at_most_what_something_costs(self, store: Shop) -> None:
        lines = [{"sku": "MUG", "quantity": 1, "discount": {"amount": 501, "reason": "other"}}]
        refused = sell(store, by_phone(lines=lines), staff=OPS)
        assert refused.body["errors"][0]["field"] == "lines[0].discount.amount"

    @pytest.mark.parametrize(("staff", "status"), [(AGENT, 403), (OPS, 201)])
    def test_an_invoice_is_limited(self, store: Shop, staff: Mapping[str, str], status: int) -> None:
        store.stock_up("SOFA", 3, price=60_000)
        placed = sell(store, by_phone(("SOFA", 1)), staff=staff)
        assert placed.status == status
        if status == 403:
            assert (placed.body["code"], placed.body["limit"]) == ("over_credit_limit", {"invoice": 50_000})


class TestFaults:
    @pytest.mark.parametrize("lost", ["before", "after"])
    def test_a_till_that_hears_nothing_sends_again_and_sold_once(
        self, store: Shop, lost: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = type(store.app.orders.table)
        transact = table.transact

        def dies(self: Any, writes: Any, **told: Any) -> None:
            if lost == "after":
                transact(self, writes, **told)
            raise RuntimeError("the connection is gone")

        monkeypatch.setattr(table, "transact", dies)
        assert sell(store, over_the_counter()).status == 500
        monkeypatch.undo()
        assert sell(store, over_the_counter()).body["status"] == "completed"
        assert (at_the_store(store), store.available()) == (3, 13)
        assert store.identity_holds("SHIRT")

    def test_a_large_basket_that_dies_anywhere_is_finished_by_the_repeat(
        self, store: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        skus = [f"P{number:03d}" for number in range(50)]
        store.stock_many(skus, 3)
        for sku in skus:
            deliver(store, sku, 2)
        body = over_the_counter(*[(sku, 1) for sku in skus])
        table = type(store.app.orders.table)
        transact, left = table.transact, 0

        def dies(self: Any, writes: Any, **told: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise RuntimeError("the process is gone")
            transact(self, writes, **told)

        for steps in range(1, 9):
            left = steps
            monkeypatch.setattr(table, "transact", dies)
            sell(store, body)
            monkeypatch.undo()
        assert sell(store, body).body["status"] == "completed"
        assert store.identity_holds(*skus)

    def test_two_tills_at_the_last_unit_sell_what_they_sold(self, store: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        counter = type(store.app.counter_sales)
        places, others = counter.places, list[str]()

        def interrupted(self: Any, order: Order) -> Any:
            """Between looking at the shelf and writing, the other till sells."""
            found = places(self, order)
            if not others:
                others.append("till-4-0001")
                assert sell(store, over_the_counter(("SHIRT", 5)), others[0]).body["status"] == "completed"
            return found

        monkeypatch.setattr(counter, "places", interrupted)
        sold = sell(store, over_the_counter(("SHIRT", 1)))
        assert (sold.status, sold.body["not_on_the_books"]) == (201, {"SHIRT": 1})
        assert at_the_store(store) == 0
        assert store.identity_holds("SHIRT")


def redeem_online(shop: Shop, code: str, key: str = "online-0001") -> Answer:
    """A shopper uses a coupon at the storefront."""
    return shop.place(checkout(coupon=code, customer={"email": f"{key}@example.com", "name": "Bob"}), key=key)


class TestCoupons:
    def test_an_agent_redeems_a_coupon_after_the_discount_and_grants_the_rest_on_invoice(self, store: Shop) -> None:
        offer(store, limit=1)
        off = {"percent": 10, "reason": "goodwill"}
        sold = sell(store, by_phone(discount=off, coupons=["ten"]), staff=AGENT)
        assert sold.status == 201, sold
        goods = 2 * 1999 - 399
        assert sold.body["totals"]["discount"] == 399 + 360
        order = order_of(store, sold)
        (entry,) = store.app.orders.parts(order.order_id, "MONEY#")
        assert entry["amount"] == order.payment.credit == sold.body["total"] == goods - 360 + 599
        assert (used(store), store.read(sold)["coupons"]) == (1, [{"code": "TEN", "discount": 360, "shipping": 0}])
        assert "our_total" not in store.app.orders.parts(order.order_id, "EVENT#")[0]["data"]
        assert store.cancel(sold).status == 200
        assert used(store) == 0

    def test_credit_is_limited_by_what_is_left_to_pay(self, store: Shop) -> None:
        offer(store, percent=90)
        dear = by_phone(("SHIRT", 14), discount=None)
        store.stock_up("SHIRT", 0, price=200_000)
        assert sell(store, dear, "phone-0001", AGENT).body["code"] == "over_credit_limit"
        assert sell(store, {**dear, "coupons": ["TEN"]}, "phone-0002", OPS).status == 201

    def test_a_till_redeems_before_it_takes_the_money_and_not_after(self, store: Shop) -> None:
        offer(store, limit=2)
        sold = sell(store, over_the_counter(coupons=["TEN"]))
        assert (sold.status, sold.body["total"], sold.body["status"]) == (201, 3998 - 400, "completed"), sold
        late = sell(store, over_the_counter(coupons=["TEN"], charged_total=3598), "till-3-0002")
        assert late.status == 422
        assert "charged_total" in late.body["errors"][0]["message"]
        assert used(store) == 1

    def test_nothing_to_pay_is_confirmed_without_money(self, store: Shop) -> None:
        offer(store, percent=100, exclusive=False)
        offer(store, "SHIPFREE", "shipping", exclusive=False)
        sold = sell(store, by_phone(coupons=["TEN", "SHIPFREE"]), staff=AGENT)
        assert (sold.body["status"], sold.body["total"]) == ("confirmed", 0), sold
        assert sold.body["payment"] == {"method": "", "due_at": None}
        given = sell(store, over_the_counter(coupons=["TEN"]))
        assert (given.body["status"], given.body["total"]) == ("completed", 0), given
        for each in (sold, given):
            assert store.app.orders.parts(each.body["order_id"], "MONEY#") == []

    def test_a_limit_by_customer_needs_a_customer_and_the_store_is_nobodys_address(self, store: Shop) -> None:
        offer(store, per_customer=1)
        nobody = sell(store, over_the_counter(coupons=["TEN"]))
        assert (nobody.status, nobody.body["code"]) == (409, "coupon_needs_customer")
        for number, (email, code) in enumerate([("ada", 201), ("bob", 201), ("ada", 409)]):
            customer = {"email": f"{email}@example.com"}
            body = over_the_counter(("SHIRT", 1), coupons=["TEN"], customer=customer)
            assert sell(store, body, f"till-3-000{number}").status == code

    @pytest.mark.parametrize("first", ["till", "storefront"])
    def test_of_a_till_and_the_storefront_one_gets_the_last_use(
        self, store: Shop, first: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        offer(store, limit=1)
        faster = list[Answer]()
        at_the_till, online = (
            lambda: sell(store, over_the_counter(coupons=["TEN"])),
            lambda: redeem_online(store, "TEN"),
        )
        slow, fast = (online, at_the_till) if first == "till" else (at_the_till, online)
        before_writing(monkeypatch, store.app.orders.table.client, lambda: faster.append(fast()))
        lost = slow()
        assert (faster[0].status, lost.status, lost.body["code"]) == (201, 409, "coupon_used_up")
        assert (used(store), store.available()) == (1, 13)
        assert store.identity_holds("SHIRT")

    @pytest.mark.parametrize("lost", ["before", "after"])
    def test_a_till_that_hears_nothing_redeems_once(
        self, store: Shop, lost: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        offer(store, limit=1)
        table = type(store.app.orders.table)
        transact = table.transact

        def dies(self: Any, writes: Any, **told: Any) -> None:
            if lost == "after":
                transact(self, writes, **told)
            raise RuntimeError("the connection is gone")

        monkeypatch.setattr(table, "transact", dies)
        assert sell(store, over_the_counter(coupons=["TEN"])).status == 500
        monkeypatch.undo()
        first = sell(store, over_the_counter(coupons=["TEN"]))
        assert (first.status, first.body["total"]) == (201, 3598)
        assert sell(store, over_the_counter(coupons=["TEN"])).body == first.body
        assert (used(store), at_the_store(store)) == (1, 3)

    def test_a_gift_joins_an_order_by_phone_and_waits_while_its_customer_buys_over_the_counter(
        self, store: Shop
    ) -> None:
        promise(store, GIFT)
        ada = {"email": "ada@example.com", "name": "Ada Byron"}
        store.stock_up("PEN", 10, price=300)
        earn(store, "order-0001", ("SHIRT", 3))
        counter = sell(store, over_the_counter(("SHIRT", 1), customer=ada))
        assert order_of(store, counter).rewards == ()
        assert states(store) == ["waiting"]
        offer(store)
        sent = order_of(store, sell(store, by_phone(customer=ada, coupons=["TEN"]), "phone-0001", AGENT))
        assert (gifts(sent), [line.sku for line in sent.lines], states(store)) == (["MUG"], ["SHIRT", "MUG"], ["used"])
        assert sent.payment.credit == sent.totals.total
        assert store.identity_holds("MUG", "SHIRT")
