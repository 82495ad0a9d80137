"""What is printed: every barcode is read back, every name stands on the paper, and no gift tells a price."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pypdfium2
import pytest
import zxingcpp

from oms.fulfillment.carrier import Address
from oms.fulfillment.documents import (
    Label,
    labels_pdf,
    labels_zpl,
    packing_slip,
    parcel_label,
    parcel_label_zpl,
    pick_list,
)
from oms.fulfillment.shipments import Box, Capture, Shipment, ShipmentStatus, Unit
from oms.fulfillment.walking import walk_view
from oms.fulfillment.walks import Stop, Walk
from oms.inventory.model import Product
from oms.orders.model import Line, Order, Payment, Status, Totals
from oms.runtime.clock import to_text

NOW = to_text(datetime(2026, 11, 23, 9, 0, tzinfo=UTC))
SENDER = Address("Our warehouse", "1 Dock Street", "Portland", "97209", "US", region="OR")
ORDER_ID = "bbd5ba71-3b1e-5f0a-9d0e-9c3b6a1d2f7e"


def an_order(**changes: Any) -> Order:
    order = Order(
        order_id=ORDER_ID,
        channel="web",
        status=Status.IN_FULFILLMENT,
        customer={"id": "c"},
        address={
            "name": "Zażółć Gęślą-Jaźń Ωμέγα Щедрин",
            "line1": "Łódzka 12 / 北京路 5",
            "city": "Łódź",
            "postal_code": "90-001",
            "country": "PL",
        },
        lines=(Line(1, "SHIRT", 2, 1999), Line(2, "SERUM", 1, 4500)),
        currency="USD",
        totals=Totals(8498, 500, 0),
        payment=Payment(),
        placed_at=NOW,
        expires_at=NOW,
        priority_codes="LR",
    )
    return replace(order, **changes)


SHIPMENT = Shipment(
    ORDER_ID,
    1,
    "main",
    ShipmentStatus.PACKED,
    (Unit(1, "SHIRT", 2), Unit(2, "SERUM", 1)),
    box=Box(830, "M", 306, 206, 156),
    captures=(Capture("SERUM", 1, lot="L-77", expires="2027-06-30"),),
)
PRODUCTS = {
    "SHIRT": Product("SHIRT", "Oxford shirt, blue", 1999, "USD"),
    "SERUM": Product("SERUM", "Hyaluronsäure-Serum 30 ml", 4500, "USD"),
}
WALK = Walk(
    "main.4f6a5f458bcf-001-1",
    "main",
    "cluster",
    (f"{ORDER_ID}.1", "2c.1"),
    (
        Stop("01-02-B", "SHIRT", {f"{ORDER_ID}.1": 2, "2c.1": 1}, {"2c.1": 1}),
        Stop("03-11-A", "SERUM", {f"{ORDER_ID}.1": 1}),
        Stop("", "SOCK", {"2c.1": 3}),
    ),
    7,
    "9999#x",
    NOW,
    length_cm=8_400,
    totes={"2c.1": "T-17"},
)


def read(document: bytes, page: int = 0) -> tuple[str, dict[str, set[str]]]:
    """The text of a page, and what a scanner reads on it, by format."""
    pdf = pypdfium2.PdfDocument(document)
    text = pdf[page].get_textpage().get_text_range()
    picture = pdf[page].render(scale=3).to_numpy()
    found: dict[str, set[str]] = {}
    for code in zxingcpp.read_barcodes(picture):
        found.setdefault(str(code.format).replace(" ", "").split(".")[-1].lower(), set()).add(code.text)
    return text, found


def test_a_packing_slip_names_what_is_inside_and_its_barcode_is_the_parcel() -> None:
    text, codes = read(packing_slip(an_order(), SHIPMENT, PRODUCTS, SENDER))
    assert codes["code128"] == codes["qrcode"] == {f"{ORDER_ID}.1"}
    for expected in ("Oxford shirt, blue", "Hyaluronsäure-Serum", "lot L-77", "best before 2027-06-30"):
        assert expected in text
    for expected in ("Zażółć Gęślą-Jaźń", "Ωμέγα", "Щедрин", "Łódź"):
        assert expected in text


def test_a_gift_has_its_message_and_nothing_ever_tells_a_price() -> None:
    gift = an_order(gift={"wrap": "paper", "message": "Alles Gute zum Geburtstag!\nDeine Oma"})
    text, _ = read(packing_slip(gift, SHIPMENT, PRODUCTS, SENDER))
    assert "A gift for you" in text
    assert "GIFT" in text
    assert "Alles Gute zum Geburtstag!" in text
    assert "Deine Oma" in text
    for slip in (text, read(packing_slip(an_order(), SHIPMENT, PRODUCTS, SENDER))[0]):
        assert not any(price in slip for price in ("19.99", "1999", "45.00", "4500", "84.98", "USD", "$"))


def test_a_long_slip_goes_on_on_the_next_page() -> None:
    units = tuple(Unit(1, f"SKU-{n}", 1) for n in range(60))
    document = packing_slip(an_order(), replace(SHIPMENT, units=units), {}, SENDER)
    pdf = pypdfium2.PdfDocument(document)
    text = "".join(page.get_textpage().get_text_range() for page in pdf)
    assert len(pdf) > 1
    assert all(f"SKU-{n}" in text for n in range(60))


def test_a_pick_list_has_the_bins_in_walking_order_with_their_barcodes() -> None:
    text, codes = read(pick_list(walk_view(WALK, PRODUCTS, {})))
    assert codes["code128"] == {"main.4f6a5f458bcf-001-1", "01-02-B", "03-11-A"}
    assert text.index("01-02-B") < text.index("03-11-A")
    assert "T-17" in text
    assert "84 m" in text


@pytest.mark.parametrize("letters", ["FP", "LMNPR"])
def test_priority_codes_are_printed_on_slip_label_and_pick_list(letters: str) -> None:
    order, parcel = an_order(priority_codes=letters), replace(SHIPMENT, box=None)
    for document in (packing_slip(order, parcel, PRODUCTS, SENDER), parcel_label(order, parcel, SENDER)):
        assert [word for word in read(document)[0].split() if word in tuple("FLMNPR")] == list(letters)
    several = read(pick_list(walk_view(WALK, PRODUCTS, {"2c.1": letters, f"{ORDER_ID}.1": "N"})))[0]
    for told in (f"T-17 {letters} × 3", "slot 1 N × 2"):
        assert told in several
    stops = tuple(Stop(stop.bin, stop.sku, {"2c.1": 1}) for stop in WALK.stops)
    alone = replace(WALK, shipments=("2c.1",), stops=stops)
    assert letters in read(pick_list(walk_view(alone, PRODUCTS, {"2c.1": letters})))[0].split()


@pytest.mark.parametrize("code", ["A", "01-02-B", "TOTE-0017", "AISLE.12-CELL.45-LEVEL.7"])
def test_labels_are_read_by_the_hand_scanner_and_by_the_camera(code: str) -> None:
    document = labels_pdf([Label(code, code, "bin · main"), Label("T-2", "T-2", "tote · main")])
    _, codes = read(document)
    assert codes["code128"] == {code}
    assert codes["qrcode"] == {code}
    assert read(document, 1)[1]["code128"] == {"T-2"}


def test_a_parcel_s_own_label_says_where_it_goes_and_what_it_is() -> None:
    text, codes = read(parcel_label(an_order(gift={"wrap": "none"}), SHIPMENT, SENDER))
    assert codes["code128"] == codes["qrcode"] == {f"{ORDER_ID}.1"}
    assert "0.83 kg" in text
    assert "GIFT" in text
    assert "90-001" in text


def test_a_thermal_printer_gets_whole_labels_and_no_stray_commands() -> None:
    address = {**an_order().address, "name": "Eve ^XZ ~JA"}
    zpl = parcel_label_zpl(an_order(address=address), SHIPMENT, SENDER).decode()
    assert zpl.count("^XA") == zpl.count("^XZ") == 1
    assert "~" not in zpl
    assert f"^FD{ORDER_ID}.1^FS" in zpl
    assert "Łódź" in zpl
    assert labels_zpl([Label("B-1", "B-1"), Label("B-2", "B-2")]).count(b"^XA") == 2


def test_the_same_document_has_the_same_bytes() -> None:
    assert packing_slip(an_order(), SHIPMENT, PRODUCTS, SENDER) == packing_slip(an_order(), SHIPMENT, PRODUCTS, SENDER)
