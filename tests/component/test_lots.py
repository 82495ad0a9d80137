"""Lots in stock: told when they come in, picked by expiry, taken off sale by the clock, and found again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from functions.place_order import sweep
from oms.inventory.expiring import TakeOffExpired
from oms.inventory.model import Movement
from oms.runtime.dynamo import Table
from tests.component.test_fulfillment import paid
from tests.component.test_returns import ask
from tests.component.test_stock import move, stock
from tests.component.test_walks import call, next_walk, on, wave
from tests.support.floor import Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Context, Shop

EARLY, LATE = "2026-12-31#L-1", "2027-06-30#L-2"
TRACK = ("lot", "expiry")


@pytest.fixture
def floor(shop: Shop) -> Floor:
    return Floor(shop)


def lot(number: str, expires: str, units: int) -> dict[str, Any]:
    return {"lot": number, "expires": expires, "quantity": units}


def staff(shop: Shop, route: str, body: Any = None, key: str = "", **path: str) -> Answer:
    headers = {"idempotency-key": key} if key else {}
    return shop.call("inventory_sync.stock_api", route, body, path=path, headers=headers, staff=STAFF_CLAIMS)


def lots(shop: Shop, facility: str = "main") -> dict[tuple[str, str], int]:
    """Units of the serum by bin and lot."""
    place = shop.app.inventory.location("SERUM", facility)
    return {(name, key): units for name, there in place.lots.items() for key, units in there.items()}


def serum(shop: Shop, early: int = 3, late: int = 5, **product: Any) -> None:
    shop.stock_up("SERUM", early + late, lots={LATE: late, EARLY: early}, track=TRACK, **product)


def received(shop: Shop, key: str, bin: str, lots: Mapping[str, int]) -> None:
    units = sum(lots.values())
    told = Movement("receive", "SERUM", units, "main", bin, "delivery", "staff:kim", key, shop.now, lots=lots)
    shop.app.inventory.move(told)


# ---- coming in -------------------------------------------------------------------------------------------------------


def test_what_tracks_lots_is_received_by_lot_or_not_at_all(shop: Shop) -> None:
    shop.stock_up("SERUM", 0, track=TRACK)
    some = {"sku": "SERUM", "quantity": 5, "bin": "A-01"}
    for told in ([], [{"lot": "L-1", "quantity": 5}], [lot("L-1", "2027-01-31", 4)], [lot("L-1", "2026-11-22", 5)]):
        answer = move(shop, f"refused-{told}"[:40], **some, lots=told)
        assert (answer.status, answer.body["errors"][0]["field"]) == (422, "lots"), answer
    assert move(shop, "too-many", **some, lots=[lot("L-1", "2027-01-31", 6)]).status == 422
    assert stock(shop, "SERUM")["on_hand"] == 0

    told = [lot("L-2", "2027-06-30", 3), lot("L-1", "2027-01-31", 2)]
    first = move(shop, "receive-1", **some, lots=told)
    assert (first.status, move(shop, "receive-1", **some, lots=told).body) == (201, first.body)
    assert move(shop, "receive-1", **some, lots=[lot("L-1", "2027-01-31", 5)]).status == 422, "another movement"
    assert stock(shop, "SERUM")["facilities"]["main"]["lots"] == [
        {"bin": "A-01", "lot": "L-1", "expires": "2027-01-31", "units": 2},
        {"bin": "A-01", "lot": "L-2", "expires": "2027-06-30", "units": 3},
    ]
    assert shop.identity_holds("SERUM")


def test_purchases_transfers_and_counts_tell_lots(shop: Shop) -> None:
    shop.stock_up("SERUM", 0, track=TRACK)
    ordered = {"vendor": "Lab", "lines": [{"sku": "SERUM", "quantity": 6}]}
    purchase = staff(shop, "POST /purchases", ordered, "purchase-1").body["purchase_id"]
    receipt = {"sku": "SERUM", "quantity": 6, "bin": "A-01"}
    assert staff(shop, "POST /purchases/{id}/receipts", receipt, "receipt-0", id=purchase).status == 422
    by_lot = {**receipt, "lots": [lot("L-1", "2026-12-31", 2), lot("L-2", "2027-06-30", 4)]}
    assert staff(shop, "POST /purchases/{id}/receipts", by_lot, "receipt-1", id=purchase).status == 201

    sent = {"sku": "SERUM", "quantity": 3, "origin": "main", "target": "annex", "reason": "needed there"}
    refused = staff(shop, "POST /transfers", sent, "transfer-0")
    assert (refused.status, "name the lots" in refused.body["detail"]) == (409, True)
    named = {**sent, "lots": [lot("L-1", "2026-12-31", 1), lot("L-2", "2027-06-30", 2)]}
    transfer = staff(shop, "POST /transfers", named, "transfer-1").body
    assert [each["units"] for each in transfer["lots"]] == [1, 2]
    route = "POST /transfers/{id}/receipt"
    lost = staff(shop, route, {"quantity": 2}, "arrived-0", id=transfer["transfer_id"])
    assert lost.status == 422, "which of them arrived?"
    assert staff(shop, route, {"quantity": 3}, "arrived-1", id=transfer["transfer_id"]).status == 201
    assert lots(shop, "annex") == {("DOCK", EARLY): 1, ("DOCK", LATE): 2}

    told = {"facility": "main", "bin": "A-01", "skus": ["SERUM"], "reason": "cycle count"}
    count = staff(shop, "POST /counts", told, "count-0001").body["count_id"]
    route = "POST /counts/{id}/results"
    assert staff(shop, route, {"sku": "SERUM", "quantity": 3}, "counted-0", id=count).status == 422
    found = {"sku": "SERUM", "quantity": 3, "lots": [lot("L-2", "2027-06-30", 1), lot("L-3", "2027-09-30", 2)]}
    assert staff(shop, route, found, "counted-1", id=count).status == 201
    assert lots(shop) == {("A-01", LATE): 1, ("A-01", "2027-09-30#L-3"): 2}
    assert shop.identity_holds("SERUM")


def test_what_goes_names_its_lot_and_lots_that_are_gone_are_forgotten(shop: Shop) -> None:
    serum(shop)
    some = {"sku": "SERUM", "quantity": 3, "bin": "A-01", "reason": "leaking"}
    assert move(shop, "damage-0000", type="damage", **some).status == 409
    assert move(shop, "damage-0001", type="damage", **some, lots=[lot("L-9", "2026-12-31", 3)]).status == 409
    assert move(shop, "damage-0002", type="damage", **some, lots=[lot("L-1", "2026-12-31", 3)]).status == 201
    assert lots(shop) == {("DAMAGED", EARLY): 3, ("A-01", LATE): 5}
    scrap = {"type": "scrap", "sku": "SERUM", "quantity": 3, "reason": "leaking"}
    assert move(shop, "scrapped-1", **scrap, lots=[lot("L-1", "2026-12-31", 3)]).status == 201
    away = {"type": "put_away", "sku": "SERUM", "quantity": 2, "bin": "A-01", "to_bin": "B-01", "reason": "room"}
    assert move(shop, "put-away-1", **away, lots=[lot("L-2", "2027-06-30", 2)]).status == 201
    received(shop, "more-0001", "A-01", {LATE: 1})
    place = shop.app.inventory.location("SERUM", "main")
    assert (lots(shop), place.spent) == ({("A-01", LATE): 4, ("B-01", LATE): 2}, ())
    assert shop.identity_holds("SERUM")


# ---- picking ---------------------------------------------------------------------------------------------------------


def test_what_expires_first_is_picked_first_and_no_other_scan_counts(floor: Floor) -> None:
    shop = floor.shop
    serum(shop, barcodes=("4006381333931",))
    received(shop, "expiring", "A-00", {"2026-11-23#L-0": 1})
    shop.now += timedelta(days=1)
    order = paid(floor, ("SERUM", 4))
    (task,) = floor.work("pick")["tasks"]
    assert task["units"][0]["lots"] == [
        {"bin": "A-01", "lot": "L-1", "expires": "2026-12-31", "quantity": 3},
        {"bin": "A-01", "lot": "L-2", "expires": "2027-06-30", "quantity": 1},
    ]

    def refused(**body: Any) -> str:
        before = floor.shop.app.orders.parts(order.body["order_id"], "SHIPMENT#")
        answer = floor.post(task["task_id"], "scans", {"sku": "SERUM", **body})
        assert answer.status == 409, answer
        assert floor.shop.app.orders.parts(order.body["order_id"], "SHIPMENT#") == before
        return str(answer.body["code"])

    assert refused() == "capture_needed"
    assert refused(lot="L-9") == "wrong_lot"
    assert refused(lot="L-1", expires="2027-12-31") == "wrong_lot"
    assert refused(lot="L-0") == "expired"
    assert refused(lot="L-2", quantity=2) == "too_many"
    assert refused(lot="L-1", bin="B-01") == "wrong_bin"
    gs1 = "(01)04006381333931(17)261231(10)L-1"
    for _ in range(2):
        read = {"barcode": gs1, "quantity": 3}
        answer = call(floor, "POST /warehouse/tasks/{id}/scans", read, key="scan-0001", id=task["task_id"])
        assert (answer.status, answer.body["scanned"]) == (200, 3), answer
    assert floor.post(task["task_id"], "scans", {"sku": "SERUM", "lot": "L-2"}).status == 200
    assert floor.post(task["task_id"], "complete").status == 200
    assert lots(shop)["PACKING", EARLY] == 3
    floor.settle()

    (pack,) = floor.work("pack")["tasks"]
    wrong = {"sku": "SERUM", "lot": "L-2", "expires": "2027-06-30", "quantity": 2}
    assert floor.post(pack["task_id"], "scans", wrong).body["code"] == "wrong_lot"
    floor.do(pack)
    assert ("PACKING", EARLY) not in lots(shop)
    found = staff(shop, "GET /stock/{sku}/lots/{lot}", sku="SERUM", lot="L-2").body
    assert found["stock"] == [{"facility": "main", "bin": "A-01", "expires": "2027-06-30", "units": 4}]
    (parcel,) = found["shipments"]
    assert (parcel["order_id"], parcel["units"], parcel["status"]) == (order.body["order_id"], 1, "shipped")
    assert shop.identity_holds("SERUM")


def test_a_walk_says_which_lot_and_a_lot_that_is_not_there_is_replaced_by_the_next(floor: Floor) -> None:
    shop = floor.shop
    serum(shop)
    for number in range(2):
        paid(floor, ("SERUM", 2), key=f"checkout-000{number}")
    wave(floor)
    walk = next_walk(floor)
    assert [(stop["lot"], stop["quantity"]) for stop in walk["stops"]] == [("L-1", 3), ("L-2", 1)]

    def scan(**body: Any) -> Answer:
        return on(floor, walk, "scans", {"sku": "SERUM", "bin": "A-01", **body})

    assert scan().body["code"] == "capture_needed"
    assert scan(lot="L-3").body["code"] == "wrong_lot"
    assert scan(lot="L-2", quantity=2).body["code"] == "too_many"
    assert scan(lot="L-1", quantity=2).status == 200
    missing = {"sku": "SERUM", "bin": "A-01", "lot": "L-1", "quantity": 1, "reason": "not there"}
    after = on(floor, walk, "short", missing)
    assert (after.status, after.body["short"]) == (200, [])
    assert [(stop["lot"], stop["remaining"]) for stop in after.body["stops"]] == [("L-1", 0), ("L-2", 2)]
    assert scan(lot="L-2", quantity=2).status == 200
    assert on(floor, walk, "complete").status == 200
    assert lots(shop) == {("PACKING", EARLY): 2, ("PACKING", LATE): 2, ("A-01", LATE): 3}
    floor.do_all()
    assert lots(shop) == {("A-01", LATE): 3}
    assert shop.identity_holds("SERUM")


def test_a_cancelled_parcel_s_lots_go_back_to_the_dock_and_onto_their_shelf(floor: Floor) -> None:
    shop = floor.shop
    serum(shop)
    order = paid(floor, ("SERUM", 4))
    floor.do(floor.work("pick")["tasks"][0])
    assert shop.cancel(order).status == 200
    assert lots(shop) == {("DOCK", EARLY): 3, ("DOCK", LATE): 1, ("A-01", LATE): 4}
    (back,) = call(floor, "GET /warehouse/{facility}/putbacks", facility="main").body["putbacks"]
    assert [each["quantity"] for each in back["units"][0]["lots"]] == [3, 1]
    for _ in range(2):
        put = {"units": [{"sku": "SERUM", "bin": "B-02"}]}
        assert call(floor, "POST /warehouse/putbacks/{id}/done", put, id=back["putback_id"]).status == 200
    assert lots(shop) == {("B-02", EARLY): 3, ("B-02", LATE): 1, ("A-01", LATE): 4}
    assert shop.identity_holds("SERUM")


def test_a_return_comes_back_into_its_lot(floor: Floor) -> None:
    shop = floor.shop
    serum(shop)
    order = paid(floor, ("SERUM", 1))
    floor.do_all()
    found = ask(shop, order, (1, 1, "changed_mind")).body
    route = "POST /warehouse/returns/{id}/scans"
    body = {"facility": "main", "sku": "SERUM", "quantity": 1, "grade": "resellable"}
    assert call(floor, route, body, key="return-scan-0", id=found["return_id"]).status == 422
    told = {**body, "lot": "L-1", "expires": "2026-12-31"}
    assert call(floor, route, told, key="return-scan-1", id=found["return_id"]).status == 200
    assert lots(shop)["DOCK", EARLY] == 1
    assert shop.identity_holds("SERUM")


# ---- expiring --------------------------------------------------------------------------------------------------------


def sweep_now(shop: Shop) -> dict[str, int]:
    return sweep.handler({}, Context(remaining_ms=60_000))


def expiries(shop: Shop) -> list[dict[str, Any]]:
    return [each for each in shop.app.inventory.movements("SERUM") if each["type"] == "quarantine"]


def test_an_expired_lot_is_taken_off_sale_once_whoever_looks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    serum(shop)
    sweep_now(shop)
    assert (shop.available("SERUM"), expiries(shop)) == (8, [])
    shop.now += timedelta(days=39)
    write, other = Table.transact, TakeOffExpired(shop.app.inventory, shop.app.clock)

    def between(self: Table, writes: Any, **how: Any) -> None:
        monkeypatch.setattr(Table, "transact", write)
        other.look("SERUM")
        write(self, writes, **how)

    monkeypatch.setattr(Table, "transact", between)
    for _ in range(2):
        assert sweep_now(shop)["failed"] == 0
    assert [(each["quantity"], each["reason"], each["lots"]) for each in expiries(shop)] == [(3, "expired", {EARLY: 3})]
    assert shop.available("SERUM") == 5
    assert lots(shop) == {("QUARANTINE", EARLY): 3, ("A-01", LATE): 5}
    mark = shop.app.inventory.table.get("SKU#SERUM", "EXPIRY")
    assert mark is not None
    assert mark["queue_rank"].startswith("2027-07-01T00:00"), "the next lot's turn"
    assert shop.identity_holds("SERUM")
    back = {"type": "release", "sku": "SERUM", "quantity": 3, "reason": "try again"}
    assert move(shop, "release-1", **back, lots=[lot("L-1", "2026-12-31", 3)]).status == 422


def test_a_run_that_dies_between_two_lots_is_finished_by_the_next(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    serum(shop)
    shop.now += timedelta(days=400)
    write, calls = Table.transact, iter(range(9))

    def dies(self: Table, writes: Any, **how: Any) -> None:
        if next(calls) == 1:
            raise RuntimeError("the lights went out")
        write(self, writes, **how)

    monkeypatch.setattr(Table, "transact", dies)
    assert sweep_now(shop)["failed"] == 1
    monkeypatch.setattr(Table, "transact", write)
    assert (shop.available("SERUM"), sweep_now(shop)["failed"]) == (5, 0)
    assert sorted(each["quantity"] for each in expiries(shop)) == [3, 5]
    assert shop.available("SERUM") == 0
    mark = shop.app.inventory.table.get("SKU#SERUM", "EXPIRY")
    assert mark is not None
    assert "queue" not in mark, "nothing is left to look at"
    assert shop.identity_holds("SERUM")


def test_promised_units_that_expired_go_short_and_into_quarantine(floor: Floor) -> None:
    shop = floor.shop
    serum(shop, early=2, late=1)
    order = paid(floor, ("SERUM", 3))
    shop.now += timedelta(days=39)
    sweep_now(shop)
    assert expiries(shop) == [], "they are in a parcel"
    (task,) = floor.work("pick")["tasks"]
    assert [each["lot"] for each in task["units"][0]["lots"]] == ["L-2"]
    assert floor.post(task["task_id"], "scans", {"sku": "SERUM", "lot": "L-2"}).status == 200
    gone = floor.post(task["task_id"], "short", {"sku": "SERUM", "quantity": 2, "reason": "expired"})
    assert gone.status == 200, gone
    place = shop.app.inventory.location("SERUM", "main")
    assert (place.on_hand, place.quarantined, lots(shop)["QUARANTINE", EARLY]) == (3, 2, 2)
    assert floor.order(order).oversold == {"SERUM": 2}
    assert shop.identity_holds("SERUM")


def test_a_longer_minimum_life_takes_lots_off_sale_and_out_of_picks(floor: Floor) -> None:
    shop = floor.shop
    serum(shop)
    sweep_now(shop)
    told = {"min_life_days": 60}
    assert staff(shop, "PATCH /products/{sku}", told, sku="SERUM").body["min_life_days"] == 60
    paid(floor, ("SERUM", 1))
    assert floor.work("pick")["tasks"][0]["units"][0]["lots"][0]["lot"] == "L-2"
    sweep_now(shop)
    assert (shop.available("SERUM"), lots(shop)["QUARANTINE", EARLY]) == (4, 3)
    assert shop.identity_holds("SERUM")


def test_units_from_before_lots_were_tracked_are_picked_without_one(floor: Floor) -> None:
    shop = floor.shop
    shop.stock_up("SERUM", 2)
    told = {"track": list(TRACK)}
    assert staff(shop, "PATCH /products/{sku}", told, sku="SERUM").status == 200
    received(shop, "with-lots", "B-01", {EARLY: 1})
    paid(floor, ("SERUM", 3))
    (task,) = floor.work("pick")["tasks"]
    assert [each.get("lot") for each in task["units"][0]["lots"]] == ["L-1", None]
    assert floor.post(task["task_id"], "scans", {"sku": "SERUM", "lot": "L-1"}).status == 200
    assert floor.post(task["task_id"], "scans", {"sku": "SERUM", "quantity": 2}).status == 200
    assert floor.post(task["task_id"], "complete").status == 200
    assert shop.app.inventory.location("SERUM", "main").of_no_lot("PACKING") == 2
