"""Cancelling while the warehouse is at work: parcels lose what is no longer wanted, the rest goes on."""

from __future__ import annotations

import pytest

from oms.fulfillment.facilities import put_facility
from oms.inventory.model import DOCK, PACKING, Movement
from tests.support.floor import ORIGIN, Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Shop, checkout


@pytest.fixture
def floor(shop: Shop) -> Floor:
    shop.stock_up("SHIRT", 10)
    shop.stock_up("MUG", 10, price=700)
    return Floor(shop)


def paid(floor: Floor, *lines: tuple[str, int]) -> Answer:
    placed = floor.shop.place(checkout(*lines or (("SHIRT", 3), ("MUG", 1))))
    floor.shop.pay(placed)
    floor.shop.deliver_all()
    floor.settle()
    return placed


def without(floor: Floor, order: Answer, *lines: tuple[int, int], key: str = "cancel-0001") -> Answer:
    wanted = [{"line": line, "quantity": quantity} for line, quantity in lines]
    answer = floor.shop.cancel(order, {"lines": wanted}, key=key)
    floor.settle()
    return answer


def put_backs(floor: Floor) -> list[dict[str, int]]:
    answer = floor.shop.call(
        "fulfillment.warehouse_api",
        "GET /warehouse/{facility}/putbacks",
        path={"facility": "main"},
        staff=STAFF_CLAIMS,
    )
    assert answer.status == 200, answer
    return [{unit["sku"]: unit["quantity"] for unit in each["units"]} for each in answer.body["putbacks"]]


def balanced(floor: Floor, order: Answer) -> None:
    assert floor.shop.identity_holds("SHIRT", "MUG")
    floor.shop.app.orders.verified_history(order.body["order_id"])


def test_units_are_taken_out_of_a_parcel_that_is_being_picked_and_the_picker_is_told(floor: Floor) -> None:
    order = paid(floor)
    task = floor.work()["tasks"][0]["task_id"]
    floor.post(task, "scans", {"sku": "SHIRT", "quantity": 3})
    answer = without(floor, order, (1, 2))
    assert (answer.status, answer.body["payment"]["refund_due"]) == (200, 2 * 1999)
    (shown,) = floor.work()["tasks"]
    assert [(unit["sku"], unit["quantity"], unit["remaining"]) for unit in shown["units"]] == [
        ("MUG", 1, 1),
        ("SHIRT", 1, 0),
    ]
    assert put_backs(floor) == [{"SHIRT": 2}]
    bins = floor.shop.app.inventory.location("SHIRT", "main").bins
    assert (bins[PACKING], bins[DOCK]) == (1, 2)
    assert (floor.place("SHIRT"), floor.shop.available()) == ((10, 1), 9)
    floor.do_all()
    assert floor.shop.read(order)["status"] == "completed"
    assert without(floor, order, (1, 2)).status == 200  # The same request again changes nothing.
    balanced(floor, order)


def test_a_packed_parcel_is_opened_and_packed_anew_without_what_was_cancelled(floor: Floor) -> None:
    order = paid(floor)
    floor.do(floor.work("pick")["tasks"][0])
    pack = floor.work("pack")["tasks"][0]
    floor.carrier_fails(down=True)
    for unit in pack["units"]:
        floor.post(pack["task_id"], "scans", {"sku": unit["sku"], "quantity": unit["remaining"]})
    floor.post(pack["task_id"], "complete")
    assert without(floor, order, (2, 1)).status == 200
    floor.carrier_fails()
    floor.settle()
    assert put_backs(floor) == [{"MUG": 1}]
    (again,) = floor.work()["tasks"]
    assert (again["kind"], [unit["sku"] for unit in again["units"]]) == ("pack", ["SHIRT"])
    floor.do_all()
    assert [each["status"] for each in floor.shop.read(order)["shipments"]] == ["cancelled", "shipped"]
    assert (floor.place("MUG"), floor.label_count()) == ((10, 0), 1)
    balanced(floor, order)


def test_units_that_were_not_found_can_be_cancelled_and_then_nobody_waits_for_them(floor: Floor) -> None:
    order = paid(floor)
    shop = floor.shop
    shop.app.inventory.move(
        Movement("adjust", "MUG", -9, "main", "A-01", "broken shelf", "staff:kim", "no more mugs", shop.now)
    )
    task = floor.work()["tasks"][0]["task_id"]
    floor.post(task, "short", {"sku": "MUG", "quantity": 1, "reason": "bin is empty"})
    floor.settle()
    assert dict(floor.order(order).oversold) == {"MUG": 1}
    assert without(floor, order, (2, 1)).status == 200
    assert (dict(floor.order(order).oversold), floor.order(order).holds) == ({}, {})
    floor.do_all()
    assert floor.shop.read(order)["status"] == "completed"
    balanced(floor, order)


def test_the_rest_of_an_order_of_which_a_parcel_has_left_can_be_cancelled_once(floor: Floor) -> None:
    shop = floor.shop
    put_facility(shop.app.inventory, ORIGIN, shop.now, "east")
    shop.app.inventory.move(
        Movement("receive", "SHIRT", 4, "east", "E-01", "delivery", "staff:kim", "receive-east", shop.now)
    )
    order = paid(floor, ("SHIRT", 12))
    floor.do(floor.work("pick")["tasks"][0])
    floor.do(floor.work("pack")["tasks"][0])
    assert shop.read(order)["lines"][0]["shipped"] == 10
    answers = [shop.cancel(order, key="cancel-rest") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    floor.settle()
    seen = shop.read(order)
    assert (seen["status"], seen["lines"][0]["cancelled"], seen["payment"]["refund_due"]) == ("completed", 2, 2 * 1999)
    assert [each["status"] for each in seen["shipments"]] == ["shipped", "cancelled"]
    assert floor.place("SHIRT", "east") == (4, 0)
    assert not {execution.status for execution in floor.workflows.executions.values()} & {"RUNNING"}
    balanced(floor, order)
    gone = shop.cancel(order, key="cancel-more")
    assert (gone.status, gone.body["code"]) == (409, "already_left")


def test_a_finished_put_back_leaves_the_list(floor: Floor) -> None:
    order = paid(floor)
    floor.post(floor.work()["tasks"][0]["task_id"], "scans", {"sku": "MUG"})
    assert floor.shop.cancel(order).status == 200
    assert put_backs(floor) == [{"MUG": 1}]
    (item,) = floor.shop.app.orders.parts(order.body["order_id"], "PUTBACK#")
    done = [finish(floor, item["putback_id"]) for _ in range(2)]
    assert (done[0].status, done[0].body["done_at"] is not None, done[1]) == (200, True, done[0])
    assert put_backs(floor) == []


def finish(floor: Floor, putback_id: str, *units: dict[str, str]) -> Answer:
    return floor.shop.call(
        "fulfillment.warehouse_api",
        "POST /warehouse/putbacks/{id}/done",
        {"units": list(units)} if units else None,
        path={"id": putback_id},
        staff=STAFF_CLAIMS,
    )


def test_units_that_were_put_back_lie_in_their_bin_and_no_longer_on_the_dock(floor: Floor) -> None:
    order = paid(floor, ("SHIRT", 3))
    inventory = floor.shop.app.inventory
    before = dict(inventory.location("SHIRT", "main").bins)
    floor.post(floor.work()["tasks"][0]["task_id"], "scans", {"sku": "SHIRT", "quantity": 3})
    floor.shop.cancel(order)
    assert inventory.location("SHIRT", "main").bins["DOCK"] == 3 + before.get("DOCK", 0)
    (item,) = floor.shop.app.orders.parts(order.body["order_id"], "PUTBACK#")
    wrong = finish(floor, item["putback_id"], {"sku": "MUG", "bin": "Z-09"})
    assert (wrong.status, wrong.body["errors"][0]["message"]) == (422, "MUG is not part of this put-back")
    done = finish(floor, item["putback_id"], {"sku": "SHIRT", "bin": "Z-09"})
    assert done.body["units"] == [{"sku": "SHIRT", "quantity": 3, "bin": "Z-09"}]
    assert finish(floor, item["putback_id"]) == done
    bins = inventory.location("SHIRT", "main").bins
    assert (bins["Z-09"], bins.get("DOCK", 0)) == (3, before.get("DOCK", 0))
    (told,) = [each for each in inventory.movements("SHIRT") if each["type"] == "put_away"]
    assert (told["quantity"], told["cause"]) == (3, f"order:{order.body['order_id']}")
    balanced(floor, order)
