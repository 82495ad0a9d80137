"""From a paid order to its tracking number, through the real handlers and the workflow's own definition."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from functions.fulfillment import workflow
from functions.inventory_sync import confirm_shipment
from oms.channels.port import (
    ChannelRefused,
    ChannelUnavailable,
    ExternalAddress,
    ExternalLine,
    ExternalOrder,
    ShippedParcel,
)
from oms.fulfillment.facilities import put_facility
from oms.fulfillment.offering import OfferTasks
from oms.fulfillment.pausing import RunSuperseded
from oms.inventory.model import Movement
from oms.orders.model import Effect, Event
from oms.orders.store import Change
from tests.support.floor import ORIGIN, Floor
from tests.support.shop import Answer, Context, Shop, checkout


@pytest.fixture
def floor(shop: Shop) -> Floor:
    return Floor(shop)


def paid(floor: Floor, *lines: tuple[str, int], key: str = "checkout-0001", **changes: object) -> Answer:
    """A paid order whose workflow has run as far as it can."""
    shop = floor.shop
    placed = shop.place(checkout(*lines, **changes), key=key)
    assert placed.status == 201, placed
    shop.pay(placed)
    shop.deliver_all()
    floor.settle()
    return placed


def test_a_paid_order_is_picked_packed_shipped_and_shows_tracking(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 10, barcodes=("4006381333931",))
    order = paid(floor)
    assert shop.read(order)["status"] == "in_fulfillment"
    (task,) = floor.work("pick")["tasks"]
    assert task["units"][0]["bin"] == "A-01"
    assert task["units"][0]["barcodes"] == ["4006381333931"]
    assert shop.app.inventory.locations("SHIRT")["main"].allocated == 2

    floor.do_all()

    seen = shop.read(order)
    assert seen["status"] == "completed"
    (shipment,) = seen["shipments"]
    assert shipment["status"] == "shipped"
    assert shipment["tracking_number"]
    place = shop.app.inventory.locations("SHIRT")["main"]
    assert (place.on_hand, place.allocated) == (8, 0)
    assert shop.identity_holds("SHIRT")
    assert floor.workflows.states == ["Allocate", "Parcels", "Pick", "Pack", "Ship"]
    events = [event["type"] for event in shop.app.orders.verified_history(order.body["order_id"])]
    assert events[-5:] == ["OrderAllocated", "PickingStarted", "ShipmentPicked", "ShipmentPacked", "ShipmentShipped"]


# ---- scans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scan", "code"),
    [
        ({"sku": "MUG"}, "wrong_item"),
        ({"barcode": "0000000000000"}, "unknown_barcode"),
        ({"sku": "SHIRT", "quantity": 3}, "too_many"),
        ({"sku": "SHIRT", "bin": "B-07"}, "wrong_bin"),
    ],
)
def test_a_wrong_scan_is_refused_with_what_was_expected_and_changes_nothing(
    floor: Floor, scan: dict[str, object], code: str
) -> None:
    floor.shop.stock_up("SHIRT", 10)
    floor.shop.stock_up("MUG", 10)
    order = paid(floor)
    (task,) = floor.work()["tasks"]
    before = floor.shop.app.orders.parts(order.body["order_id"], "SHIPMENT#")
    answer = floor.post(task["task_id"], "scans", scan)
    assert (answer.status, answer.body["code"]) == (409, code)
    assert answer.body["expected"] == [{"sku": "SHIRT", "quantity": 2, "scanned": 0, "remaining": 2}]
    assert answer.body["scanned"]
    assert floor.shop.app.orders.parts(order.body["order_id"], "SHIPMENT#") == before


def test_one_scan_sent_twice_counts_once_and_is_answered_alike(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10, barcodes=("4006381333931",))
    paid(floor)
    task = floor.work()["tasks"][0]["task_id"]
    first = floor.post(task, "scans", {"barcode": "4006381333931"}, key="scan-0001")
    assert first.body == {"task_id": task, "sku": "SHIRT", "quantity": 2, "scanned": 1, "remaining": 1}
    assert floor.post(task, "scans", {"barcode": "4006381333931"}, key="scan-0001") == first
    assert floor.post(task, "scans", {"sku": "SHIRT"}, key="scan-0001").status == 422
    assert floor.post(task, "scans", {"sku": "SHIRT"}, key="scan-0002").body["scanned"] == 2


def test_a_task_is_complete_when_every_unit_was_scanned_and_says_so_again(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    paid(floor)
    task = floor.work("pick")["tasks"][0]["task_id"]
    assert floor.post(task, "start").body["status"] == "picking"
    refused = floor.post(task, "complete")
    assert (refused.status, refused.body["code"]) == (409, "task_incomplete")
    assert refused.body["expected"][0]["remaining"] == 2
    floor.post(task, "scans", {"sku": "SHIRT", "quantity": 2})
    done = floor.post(task, "complete")
    assert done.body == {"task_id": task, "state": "done", "status": "picked"}
    assert floor.work("pick")["tasks"] == []
    floor.settle()
    assert floor.work()["tasks"][0]["kind"] == "pack"
    assert floor.post(task, "complete") == done
    late = floor.post(task, "scans", {"sku": "SHIRT"})
    assert (late.status, late.body["code"]) == (409, "task_not_open")


def test_only_the_warehouse_works_and_unknown_tasks_are_not_found(floor: Floor) -> None:
    assert floor.post("x.1-pick", "start", staff={"cognito:groups": "[agent ops]"}).status == 403
    for task in ("x.1-pick", "x-pick", "nonsense", "x.1-fly"):
        assert floor.post(task, "start").status == 404


def test_a_scan_names_one_item(floor: Floor) -> None:
    for body in ({}, {"sku": "SHIRT", "barcode": "4006381333931"}, {"sku": "SHIRT", "quantity": 0}):
        assert floor.post("x.1-pick", "scans", body).status == 422


def test_work_is_shown_by_priority_then_age_and_in_pages(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oms.fulfillment.floor.PAGE", 2)
    floor.shop.stock_up("SHIRT", 20)
    old = paid(floor, key="checkout-0001")
    floor.shop.later(minutes=1)
    young = paid(floor, key="checkout-0002")
    rush = paid(floor, key="checkout-0003", shipping_method="express")
    first = floor.work()
    second = floor.work(cursor=first["next_cursor"])
    shown = [task["order_id"] for page in (first, second) for task in page["tasks"]]
    assert shown == [order.body["order_id"] for order in (rush, old, young)]
    assert second["next_cursor"] is None
    assert first["tasks"][0]["priority"]["codes"] == "NR"


# ---- the workflow ----------------------------------------------------------------------------------------------------


def test_a_wait_that_runs_out_is_offered_again_and_the_old_token_is_dead(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = paid(floor)
    (execution,) = floor.workflows.executions.values()
    (old,) = execution.waits
    floor.shop.later(hours=8, minutes=1)
    floor.workflows.time_out(old)
    floor.settle()
    (new,) = execution.waits
    (item,) = floor.shop.app.orders.parts(order.body["order_id"], "SHIPMENT#")
    assert (item["task"]["token"], item["task"]["attempts"]) == (new, 2)
    floor.do_all()
    assert floor.shop.read(order)["status"] == "completed"


def test_a_task_whose_end_nobody_heard_of_goes_on_after_the_wait(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = paid(floor)
    (task,) = floor.work()["tasks"]
    floor.deaf = True
    floor.do(task)
    floor.deaf = False
    assert floor.work()["tasks"] == []
    (execution,) = floor.workflows.executions.values()
    floor.workflows.time_out(*execution.waits)
    floor.do_all()
    assert floor.shop.read(order)["status"] == "completed"


def test_an_order_whose_run_was_lost_gets_another_one(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = paid(floor)
    (execution,) = floor.workflows.executions.values()
    execution.status, execution.waits = "ABORTED", set()
    floor.shop.later(hours=25)
    floor.shop.sweep()
    floor.do_all()
    assert floor.shop.read(order)["status"] == "completed"
    assert list(floor.workflows.executions) == [execution.name, f"{execution.name}-1"]


def test_a_cancelled_order_stops_its_run_and_gives_everything_back(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 10)
    order = paid(floor)
    assert floor.place() == (10, 2)
    task = floor.work()["tasks"][0]["task_id"]
    floor.post(task, "start")
    assert shop.cancel(order).status == 200
    floor.settle()
    assert floor.place() == (10, 0)
    assert shop.available() == 10
    assert [execution.status for execution in floor.workflows.executions.values()] == ["ABORTED"]
    assert floor.work()["tasks"] == []
    assert floor.post(task, "scans", {"sku": "SHIRT"}).body["code"] == "task_not_open"
    assert "stop_fulfillment" not in floor.order(order).effects
    assert shop.read(order)["shipments"][0]["status"] == "cancelled"
    shop.app.orders.verified_history(order.body["order_id"])


def test_a_held_order_starts_when_it_is_released(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 10)
    placed = shop.place()
    floor.hold(placed.body["order_id"])
    shop.pay(placed)
    shop.deliver_all()
    floor.settle()
    assert floor.workflows.executions == {}
    floor.release(placed.body["order_id"])
    floor.do_all()
    assert shop.read(placed)["status"] == "completed"


def test_a_hold_between_packing_and_shipping_keeps_the_parcel_until_it_is_released(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 10)
    order = paid(floor)
    floor.do(floor.work()["tasks"][0])
    floor.hold(order.body["order_id"])
    floor.do(floor.work()["tasks"][0])
    assert shop.read(order)["shipments"][0]["status"] == "packed"
    assert floor.label_count() == 0
    floor.release(order.body["order_id"])
    assert shop.read(order)["status"] == "completed"
    first, second = floor.workflows.executions.values()
    assert (first.status, second.name) == ("SUCCEEDED", f"{first.name}-1")


def test_a_step_of_a_run_that_has_a_successor_is_refused(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = paid(floor)
    floor.hold(order.body["order_id"])
    (execution,) = floor.workflows.executions.values()
    floor.workflows.time_out(*execution.waits)
    floor.settle()
    floor.release(order.body["order_id"])
    offers = OfferTasks(floor.shop.app.orders, floor.shop.app.clock)
    with pytest.raises(RunSuperseded):
        offers.offer(f"{order.body['order_id']}.1", "pick", "a late token", execution.name)
    floor.do_all()
    assert floor.shop.read(order)["status"] == "completed"


def test_a_hold_stops_the_order_even_where_the_engine_loses_the_name_of_an_error(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = workflow.handler

    def nameless(event: dict[str, object], context: object) -> object:
        try:
            return named(event, context)
        except Exception as error:
            raise RuntimeError(str(error)) from None

    monkeypatch.setattr(workflow, "handler", nameless)
    floor.shop.stock_up("SHIRT", 10)
    order = paid(floor)
    floor.do(floor.work()["tasks"][0])
    floor.hold(order.body["order_id"], "fraud")
    floor.do(floor.work()["tasks"][0])
    assert list(floor.order(order).holds) == ["fraud"]
    floor.release(order.body["order_id"])
    floor.do_all()
    assert floor.shop.read(order)["status"] == "completed"


# ---- labels and money ------------------------------------------------------------------------------------------------


def test_a_label_whose_purchase_went_unheard_is_found_and_not_bought_twice(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = paid(floor)
    floor.carrier_fails({"method": "POST", "path": "/buy", "status": 503, "after_effect": True})
    floor.do_all()
    assert floor.shop.read(order)["status"] == "completed"
    assert floor.label_count() == 1


def test_a_carrier_that_stays_away_brings_the_order_before_a_person(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = paid(floor)
    floor.carrier_fails(down=True)
    floor.do_all()
    assert floor.order(order).holds["operator"].reason == "fulfilment failed: CarrierUnavailable"
    floor.carrier_fails()
    floor.release(order.body["order_id"])
    assert floor.shop.read(order)["status"] == "completed"
    assert floor.label_count() == 1


def test_an_address_that_the_carrier_refuses_holds_the_order(floor: Floor) -> None:
    floor.shop.stock_up("ANVIL", 10, weight_grams=50_000)
    order = paid(floor, ("ANVIL", 1))
    floor.do_all()
    held = floor.order(order)
    assert list(held.holds) == ["address"]
    assert [execution.status for execution in floor.workflows.executions.values()] == ["SUCCEEDED"]
    assert floor.shop.identity_holds("ANVIL")


def test_a_label_is_given_back_when_the_order_ends_while_it_is_bought(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 10)
    order = paid(floor)
    send = shop.app.transport

    def cancelled_meanwhile(request: object, *, timeout: float) -> object:
        answer = send(request, timeout=timeout)  # type: ignore[arg-type]
        if request.url.endswith("/buy"):  # type: ignore[attr-defined]
            assert shop.cancel(order).status == 200
        return answer

    shop.app.transport = cancelled_meanwhile  # type: ignore[assignment]
    floor.do_all()
    assert floor.label_count() == 0
    assert floor.place() == (10, 0)
    assert shop.identity_holds("SHIRT")


def test_a_label_that_was_bought_before_a_crash_is_given_back_after_the_cancellation(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 10)
    order = paid(floor)
    # The label is bought, the answer lost, and the step never runs again because the order is cancelled.
    floor.carrier_fails(*[{"method": "POST", "path": "/buy", "status": 503, "after_effect": True}], down=False)
    send = shop.app.transport

    def dying(request: object, *, timeout: float) -> object:
        answer = send(request, timeout=timeout)  # type: ignore[arg-type]
        if request.url.endswith("/buy"):  # type: ignore[attr-defined]
            floor.carrier_fails(down=True)
        return answer

    shop.app.transport = dying  # type: ignore[assignment]
    floor.do_all()
    assert shop.cancel(order).status == 200
    floor.carrier_fails()
    assert floor.label_count() == 1
    assert Effect.VOID_LABEL in floor.order(order).effects
    assert confirm(order.body["order_id"]) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert floor.label_count() == 0
    shop.later(minutes=3)
    for _ in range(2):
        assert confirm(order.body["order_id"]) == {"batchItemFailures": []}
    assert Effect.VOID_LABEL not in floor.order(order).effects
    assert shop.app.orders.verified_history(order.body["order_id"])[-1]["type"] == "LabelsVoided"


def test_no_label_is_bought_for_a_parcel_that_money_does_not_cover(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    order = paid(floor)

    def owing(seen):
        payment = replace(seen.payment, refund_due=1)
        return Change(replace(seen, payment=payment), Event("RefundRequested", "test", "test"))

    floor.shop.app.orders.change(order.body["order_id"], owing, floor.shop.now)
    floor.do_all()
    assert list(floor.order(order).holds) == ["payment"]
    assert floor.place() == (10, 2)
    assert floor.label_count() == 0


# ---- short picks and missing stock -----------------------------------------------------------------------------------


def test_a_short_pick_that_nothing_replaces_waits_for_customer_service_and_the_books_balance(
    floor: Floor,
) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 2)
    order = paid(floor)
    task = floor.work()["tasks"][0]["task_id"]
    floor.post(task, "scans", {"sku": "SHIRT"})
    body = {"sku": "SHIRT", "quantity": 1, "reason": "bin is empty"}
    assert floor.post(task, "short", {**body, "quantity": 2}).body["code"] == "too_many"
    assert floor.post(task, "short", body).status == 200
    assert floor.post(task, "short", body).body["code"] == "task_not_open"
    floor.settle()
    held = floor.order(order)
    assert (list(held.holds), held.holds["inventory"].owner, dict(held.oversold)) == (
        ["inventory"],
        "customer service",
        {"SHIRT": 1},
    )
    assert floor.place() == (1, 1)
    assert shop.identity_holds("SHIRT")
    assert shop.app.inventory.movements("SHIRT")[0]["reason"] == "bin is empty"

    floor.release(order.body["order_id"])
    assert list(floor.order(order).holds) == ["inventory"], "there is still nothing to send"

    shop.app.inventory.move(Movement("receive", "SHIRT", 5, "main", "A-01", "delivery", "staff:kim", "again", shop.now))
    floor.release(order.body["order_id"])
    assert shop.available() == 4
    floor.do_all()
    seen = shop.read(order)
    assert seen["status"] == "completed"
    assert [entry["status"] for entry in seen["shipments"]] == ["shipped", "shipped"]
    assert floor.place() == (4, 0)
    assert shop.identity_holds("SHIRT")
    shop.app.orders.verified_history(order.body["order_id"])


def test_a_short_pick_is_sourced_again_at_once_and_a_parcel_of_which_nothing_was_found_ends(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 4)
    order = paid(floor)
    task = floor.work()["tasks"][0]["task_id"]
    floor.post(task, "short", {"sku": "SHIRT", "quantity": 2, "reason": "bin is empty"})
    floor.do_all()
    assert [entry["status"] for entry in shop.read(order)["shipments"]] == ["cancelled", "shipped"]
    assert floor.place() == (0, 0)
    assert shop.identity_holds("SHIRT")


def test_a_kit_that_lacks_a_part_sets_its_other_parts_free(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("CUP", 4)
    shop.stock_up("PLATE", 8)
    shop.stock_up("SET", 0, kit={"CUP": 1, "PLATE": 2})
    order = paid(floor, ("SET", 2), ("PLATE", 1))
    assert floor.place("PLATE") == (8, 5)
    task = floor.work()["tasks"][0]["task_id"]
    floor.post(task, "scans", {"sku": "CUP"})
    floor.post(task, "scans", {"sku": "PLATE", "quantity": 2})
    floor.post(task, "short", {"sku": "PLATE", "quantity": 3, "reason": "broken"})
    # The loose plate is missing first; two more spoil one set, whose cup becomes free.
    assert floor.place("PLATE") == (5, 2)
    assert floor.place("CUP") == (4, 1)
    assert shop.identity_holds("CUP", "PLATE")
    floor.do_all()
    seen = shop.read(order)
    assert seen["status"] == "completed"
    assert [line["shipped"] for line in seen["lines"]] == [2, 1]
    assert (floor.place("CUP"), floor.place("PLATE")) == ((2, 0), (0, 0))
    assert shop.identity_holds("CUP", "PLATE")


def test_a_short_order_can_still_be_cancelled(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 2)
    order = paid(floor)
    task = floor.work()["tasks"][0]["task_id"]
    floor.post(task, "short", {"sku": "SHIRT", "quantity": 1, "reason": "bin is empty"})
    assert shop.cancel(order).status == 200
    floor.settle()
    assert (floor.place(), shop.available()) == ((1, 0), 1)
    assert shop.identity_holds("SHIRT")


# ---- large orders ----------------------------------------------------------------------------------------------------


def test_an_order_of_many_skus_leaves_in_several_parcels_and_can_be_cancelled_whole(floor: Floor) -> None:
    skus = [f"SKU-{number:03d}" for number in range(50)]
    floor.shop.stock_many(skus, 5)
    order = paid(floor, *((sku, 1) for sku in skus))
    parcels = floor.shop.read(order)["shipments"]
    assert [len(parcel["units"]) for parcel in parcels] == [45, 5]
    (execution,) = floor.workflows.executions.values()
    assert len(execution.waits) == 2
    assert {floor.place(sku) for sku in skus} == {(5, 1)}
    assert floor.shop.cancel(order).status == 200
    floor.settle()
    assert {floor.place(sku) for sku in skus} == {(5, 0)}
    assert {floor.shop.available(sku) for sku in skus} == {5}
    assert floor.order(order).effects == (Effect.REFUND,)


# ---- marketplaces ----------------------------------------------------------------------------------------------------


class Marketplace:
    """A channel that remembers what it was told, and fails when asked to."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ShippedParcel]] = []
        self.down = False
        self.refuses = False

    def confirm_shipment(self, external_id: str, parcel: ShippedParcel) -> None:
        if self.down:
            raise ChannelUnavailable("down")
        if self.refuses:
            raise ChannelRefused("the receipt is cancelled")
        self.told.append((external_id, parcel))


def sold_on_etsy(floor: Floor, *lines: ExternalLine) -> str:
    """An order that a marketplace has sold already."""
    now = floor.shop.now
    total = sum(line.quantity * line.unit_price for line in lines)
    external = ExternalOrder(
        external_id="receipt-1",
        buyer_id="77",
        buyer_name="Grace Hopper",
        buyer_email=None,
        address=ExternalAddress("Grace Hopper", "1 Navy Yard", "Arlington", "22202", "US", region="VA"),
        lines=lines,
        currency="USD",
        items_total=total,
        shipping_total=0,
        tax_total=0,
        discount_total=100,
        grand_total=total - 100,
        paid=True,
        cancelled=False,
        placed_at=now,
        updated_at=now,
    )
    order = floor.shop.app.placing.take_in("etsy", external)
    assert order is not None
    floor.settle()
    return order.order_id


def confirm(order_id: str) -> object:
    record = {"messageId": "m1", "body": json.dumps({"order_id": order_id})}
    return confirm_shipment.handler({"Records": [record]}, Context())


def test_a_marketplace_is_told_of_each_parcel_once(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Marketplace()
    monkeypatch.setattr(floor.shop.app, "channel", lambda name: channel)
    floor.shop.stock_up("SHIRT", 10)
    order_id = sold_on_etsy(floor, ExternalLine("transaction-9", "SHIRT", "Shirt", 2, 1999))
    floor.do_all()
    assert floor.shop.app.orders.require(order_id).effects == (Effect.CONFIRM_SHIPMENT,)
    channel.down = True
    assert confirm(order_id) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    channel.down = False
    # Whether the channel heard of it is not known, so nobody else may tell it at the same time.
    assert confirm(order_id) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert channel.told == []
    floor.shop.later(minutes=2)
    for _ in range(3):
        assert confirm(order_id) == {"batchItemFailures": []}
    ((external_id, parcel),) = channel.told
    assert external_id == "receipt-1"
    assert dict(parcel.lines) == {"transaction-9": 2}
    assert parcel.tracking_number
    order = floor.shop.app.orders.require(order_id)
    assert (order.status.value, order.effects) == ("completed", ())
    floor.shop.app.orders.verified_history(order_id)


def test_a_channel_that_refuses_a_confirmation_is_not_asked_for_ever(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Marketplace()
    channel.refuses = True
    monkeypatch.setattr(floor.shop.app, "channel", lambda name: channel)
    floor.shop.stock_up("SHIRT", 10)
    order_id = sold_on_etsy(floor, ExternalLine("transaction-9", "SHIRT", "Shirt", 2, 1999))
    floor.do_all()
    for _ in range(2):
        assert confirm(order_id) == {"batchItemFailures": []}
    order = floor.shop.app.orders.require(order_id)
    assert (order.effects, list(order.holds)) == ((), ["operator"])
    assert "the receipt is cancelled" in order.holds["operator"].reason


def test_units_that_a_marketplace_sold_without_stock_wait_for_stock(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("SHIRT", 1)
    order_id = sold_on_etsy(floor, ExternalLine("transaction-9", "SHIRT", "Shirt", 3, 1999))
    order = shop.app.orders.require(order_id)
    assert (order.status.value, list(order.holds), dict(order.oversold)) == ("confirmed", ["inventory"], {"SHIRT": 2})
    assert floor.place() == (1, 0)
    shop.app.inventory.move(Movement("receive", "SHIRT", 5, "main", "A-01", "delivery", "staff:kim", "more", shop.now))
    floor.release(order_id)
    assert shop.app.orders.require(order_id).oversold == {}
    assert (shop.available(), floor.place()) == (3, (6, 3))
    floor.do_all()
    assert shop.app.orders.require(order_id).status.value == "completed"
    assert shop.identity_holds("SHIRT")


# ---- facilities and repetition ---------------------------------------------------------------------------------------


def test_an_order_that_no_facility_has_whole_leaves_from_two(floor: Floor) -> None:
    shop = floor.shop
    put_facility(shop.app.inventory, ORIGIN, shop.now, "store-2")
    shop.stock_up("SHIRT", 2)
    shop.app.inventory.move(Movement("receive", "SHIRT", 1, "store-2", "", "delivery", "staff:kim", "store", shop.now))
    order = paid(floor, ("SHIRT", 3))
    assert [(s["facility"], s["units"][0]["quantity"]) for s in shop.read(order)["shipments"]] == [
        ("main", 2),
        ("store-2", 1),
    ]
    floor.do_all()
    assert shop.read(order)["status"] == "in_fulfillment"
    for _ in ("pick", "pack"):
        floor.do(floor.work(facility="store-2")["tasks"][0])
    assert shop.read(order)["status"] == "completed"
    assert floor.label_count() == 2


def test_every_step_may_run_twice(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    once = workflow.handler
    monkeypatch.setattr(workflow, "handler", lambda event, context: (once(event, context), once(event, context))[1])
    floor.shop.stock_up("SHIRT", 10)
    order = paid(floor)
    floor.do_all()
    assert floor.shop.read(order)["status"] == "completed"
    assert floor.label_count() == 1
    assert floor.place() == (8, 0)
    assert len(floor.shop.read(order)["shipments"]) == 1


def test_a_facility_without_an_address_says_so(floor: Floor) -> None:
    floor.shop.app.inventory.table.transact(
        [floor.shop.app.inventory.table.delete("facility", ("FACILITY#main", "FACILITY"))]
    )
    floor.shop.stock_up("SHIRT", 10)
    order = paid(floor)
    floor.do_all()
    assert floor.order(order).holds["operator"].reason == "fulfilment failed: FacilityUnknown"
