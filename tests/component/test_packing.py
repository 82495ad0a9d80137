"""Packing: cartons, the scale, what has to be read from units, and what is printed."""

from __future__ import annotations

from typing import Any

import pypdfium2
import pytest

from oms.fulfillment.carrier import Parcel
from oms.fulfillment.dispatch import parcel_of
from oms.fulfillment.shipments import shipment_from_item
from tests.component.test_fulfillment import paid
from tests.component.test_walks import call, put
from tests.support.floor import Floor
from tests.support.shop import Shop

CARTONS = [
    {"code": "S", "inner_mm": [200, 150, 100], "tare_grams": 80, "cost": 40},
    {"code": "L", "inner_mm": [400, 300, 250], "tare_grams": 300, "cost": 120},
]


@pytest.fixture
def floor(shop: Shop) -> Floor:
    return Floor(shop)


def picked(floor: Floor, *lines: tuple[str, int], **changes: Any) -> str:
    """The pack task of an order that has been picked."""
    paid(floor, *lines, **changes)
    floor.do(floor.work("pick")["tasks"][0])
    return str(floor.work("pack")["tasks"][0]["task_id"])


def test_a_parcel_is_packed_into_the_carton_it_fits_and_weighed(floor: Floor) -> None:
    assert put(floor, "cartons", {"cartons": CARTONS}).status == 200
    floor.shop.stock_up("SHIRT", 10, weight_grams=250, dimensions_mm=(190, 140, 40))
    task = picked(floor, ("SHIRT", 2))
    shipment = task.removesuffix("-pack")
    suggested = call(floor, "GET /warehouse/shipments/{id}/cartons", id=shipment).body
    assert suggested["cartons"] == [
        {"carton": "S", "inner_mm": [200, 150, 100], "units": {"SHIRT": 2}, "weight_grams": 580}
    ]
    floor.post(task, "scans", {"sku": "SHIRT", "quantity": 2})
    assert floor.post(task, "complete", {"carton": "XXL"}).body["code"] == "unknown_carton"
    light = floor.post(task, "complete", {"carton": "S", "weight_grams": 330})
    assert (light.status, light.body["code"]) == (409, "wrong_weight")
    assert light.body["expected"] == {"weight_grams": 580, "tolerance_grams": 50}
    assert floor.post(task, "complete", {"carton": "S", "weight_grams": 600}).status == 200
    floor.settle()
    (item,) = floor.shop.app.orders.parts(shipment.removesuffix(".1"), "SHIPMENT#")
    assert item["status"] == "shipped"
    assert parcel_of(shipment_from_item(item), {}) == Parcel(600, 206, 156, 106)


def test_a_product_that_asks_for_it_is_packed_with_its_serial_lot_and_expiry(floor: Floor) -> None:
    floor.shop.stock_up("PHONE", 10, track=("serial",))
    floor.shop.stock_up("SERUM", 10, lots={"2027-06-30#L-7": 10}, track=("lot", "expiry"))
    task = picked(floor, ("PHONE", 2), ("SERUM", 1))

    def refused(body: dict[str, Any]) -> str:
        answer = floor.post(task, "scans", body)
        assert answer.status == 409, answer
        return str(answer.body["code"])

    assert refused({"sku": "PHONE"}) == "capture_needed"
    assert refused({"sku": "PHONE", "quantity": 2, "serial": "S-1"}) == "one_at_a_time"
    assert floor.post(task, "scans", {"sku": "PHONE", "serial": "S-1"}).status == 200
    assert refused({"sku": "PHONE", "serial": "S-1"}) == "serial_scanned"
    assert floor.post(task, "scans", {"sku": "PHONE", "serial": "S-2"}).status == 200
    assert refused({"sku": "SERUM", "lot": "L-7"}) == "capture_needed"
    assert refused({"sku": "SERUM", "lot": "L-7", "expires": "2026-11-22"}) == "expired"
    assert floor.post(task, "scans", {"sku": "SERUM", "lot": "L-7", "expires": "soon"}).status == 422
    assert floor.post(task, "scans", {"sku": "SERUM", "lot": "L-7", "expires": "2027-06-30"}).status == 200
    assert floor.post(task, "complete").status == 200
    slip = call(floor, "GET /warehouse/shipments/{id}/packing-slip", id=task.removesuffix("-pack"))
    text = pypdfium2.PdfDocument(slip.body)[0].get_textpage().get_text_range()
    assert "serial S-2" in text
    assert "best before 2027-06-30" in text


def test_what_is_printed_comes_as_it_is(floor: Floor) -> None:
    floor.shop.stock_up("SHIRT", 10)
    task = picked(floor, ("SHIRT", 1), gift={"message": "For you"})
    shipment = task.removesuffix("-pack")
    slip = call(floor, "GET /warehouse/shipments/{id}/packing-slip", id=shipment)
    assert (slip.status, slip.headers["content-type"], slip.body[:5]) == (200, "application/pdf", b"%PDF-")
    assert "For you" in pypdfium2.PdfDocument(slip.body)[0].get_textpage().get_text_range()
    route = "GET /warehouse/shipments/{id}/label"
    staff = {"cognito:groups": "[warehouse]"}
    zpl = floor.shop.call(
        "fulfillment.warehouse_api", route, path={"id": shipment}, query={"format": "zpl"}, staff=staff
    )
    assert (zpl.headers["content-type"], zpl.body[:3]) == ("application/zpl", b"^XA")
    labels = {"kind": "tote", "codes": ["T-1", "T-2"]}
    printed = call(floor, "POST /warehouse/{facility}/labels", labels, facility="main")
    assert len(pypdfium2.PdfDocument(printed.body)) == 2
    assert call(floor, "GET /warehouse/shipments/{id}/packing-slip", id="nothing.1").status == 404
