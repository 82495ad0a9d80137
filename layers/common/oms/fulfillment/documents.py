"""What the house prints: packing slips, pick lists, receipts, and labels for bins, totes and parcels, as PDF or ZPL.

The font is DejaVu Sans, which ships with the layer: it has Latin, Greek, Cyrillic, Armenian and Georgian letters.
Chinese, Japanese and Korean ones are set in the fonts that PDF readers bring. Arabic and Hebrew are not set from the
right, and Indian scripts not at all.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oms.fulfillment.carrier import Address
from oms.fulfillment.shipments import Shipment
from oms.inventory.model import Product
from oms.orders.model import Order

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

_FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
_MM = 72 / 25.4
_MARGIN = 15.0
_GREY, _LIGHT, _INK = 0.45, 0.85, 0.0
# Where the letters of a language come from that DejaVu has not: fonts which PDF readers have.
_ASIAN = (
    ((0x3040, 0x30FF), "HeiseiKakuGo-W5"),
    ((0xAC00, 0xD7AF), "HYGothic-Medium"),
    ((0x2E80, 0x9FFF), "STSong-Light"),
    ((0xFF00, 0xFFEF), "HeiseiKakuGo-W5"),
)


@dataclass(frozen=True, slots=True)
class Label:
    """A label: its code, which the barcode carries, and what a person reads."""

    code: str
    title: str
    note: str = ""


@cache
def _fonts() -> frozenset[int]:
    """Register the fonts, once; the letters that DejaVu has."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFont

    font = TTFont("DejaVu", str(_FONT))
    pdfmetrics.registerFont(font)
    for name in sorted({name for _, name in _ASIAN}):
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    return frozenset(font.face.charToGlyph)


def _runs(text: str) -> list[tuple[str, str]]:
    """The text in runs of one font each."""
    known = _fonts()
    runs: list[tuple[str, str]] = []
    for letter in text:
        point = ord(letter)
        name = "DejaVu"
        if point not in known:
            name = next((font for (first, last), font in _ASIAN if first <= point <= last), "DejaVu")
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + letter)
        else:
            runs.append((name, letter))
    return runs


class _Sheet:
    """A page in millimetres from its upper left corner."""

    def __init__(self, width: float, height: float, title: str) -> None:
        from reportlab.pdfgen.canvas import Canvas

        _fonts()
        self.width, self.height = width, height
        self._buffer = io.BytesIO()
        # Invariant: the same document has the same bytes, whoever prints it again.
        self.canvas: Canvas = Canvas(self._buffer, pagesize=(width * _MM, height * _MM), invariant=1)
        self.canvas.setTitle(title)
        self.y = _MARGIN

    def text(self, x: float, y: float, text: str, size: float = 9, *, grey: float = _INK, right: bool = False) -> float:
        """Set a line with its base at y; how wide it is."""
        from reportlab.pdfbase.pdfmetrics import stringWidth

        runs = _runs(text)
        width = sum(stringWidth(part, font, size) for font, part in runs)
        at = x * _MM - (width if right else 0)
        self.canvas.setFillGray(grey)
        for font, part in runs:
            self.canvas.setFont(font, size)
            self.canvas.drawString(at, (self.height - y) * _MM, part)
            at += stringWidth(part, font, size)
        return float(width / _MM)

    def fitted(self, x: float, y: float, text: str, size: float, width: float, *, grey: float = _INK) -> None:
        """Set a line that is made smaller until it fits, down to two thirds, and then shortened."""
        from reportlab.pdfbase.pdfmetrics import stringWidth

        shown, least = text, size * 2 / 3
        while size > least and sum(stringWidth(part, font, size) for font, part in _runs(shown)) > width * _MM:
            size -= 0.25
        while shown and sum(stringWidth(part, font, size) for font, part in _runs(shown)) > width * _MM:
            shown = shown[:-2].rstrip() + "…" if len(shown) > 2 else ""
        self.text(x, y, shown, size, grey=grey)

    def rule(self, y: float, *, grey: float = _LIGHT, x: float = _MARGIN) -> None:
        self.canvas.setStrokeGray(grey)
        self.canvas.setLineWidth(0.6)
        self.canvas.line(x * _MM, (self.height - y) * _MM, (self.width - x) * _MM, (self.height - y) * _MM)

    def box(self, x: float, y: float, side: float) -> None:
        """An empty square to tick."""
        self.canvas.setStrokeGray(_GREY)
        self.canvas.rect(x * _MM, (self.height - y) * _MM, side * _MM, side * _MM)

    def badge(self, x: float, y: float, text: str) -> float:
        """White on black, for what must not be overlooked; where it ends."""
        from reportlab.pdfbase.pdfmetrics import stringWidth

        width = stringWidth(text, "DejaVu", 10) / _MM + 4
        self.canvas.setFillGray(_INK)
        self.canvas.roundRect(x * _MM, (self.height - y - 1.6) * _MM, width * _MM, 6 * _MM, 1.2 * _MM, stroke=0, fill=1)
        self.text(x + 2, y, text, 10, grey=1.0)
        return float(x + width + 2)

    def code128(self, x: float, y: float, code: str, width: float, height: float) -> None:
        """A Code 128 that is ``width`` wide with its quiet zones, its top at y."""
        self.bars(code, x, self.height - y - height, width, height)

    def bars(self, code: str, x: float, y: float, width: float, height: float) -> None:
        """The same from the lower left corner, as the canvas has it."""
        from reportlab.graphics.barcode.code128 import Code128

        natural = Code128(code, barWidth=1.0, quiet=1).width
        bars = Code128(code, barWidth=width * _MM / natural, barHeight=height * _MM, quiet=1)
        self.canvas.setFillGray(_INK)
        bars.drawOn(self.canvas, x * _MM, y * _MM)

    def matrix(self, x: float, y: float, code: str, side: float) -> None:
        """A QR code, its upper left corner at x and y."""
        from reportlab.graphics import renderPDF
        from reportlab.graphics.barcode.qr import QrCodeWidget
        from reportlab.graphics.shapes import Drawing

        widget = QrCodeWidget(code, barLevel="M")
        left, low, right, high = widget.getBounds()
        scale = side * _MM / max(right - left, high - low)
        drawing = Drawing(side * _MM, side * _MM, transform=[scale, 0, 0, scale, 0, 0])
        drawing.add(widget)
        renderPDF.draw(drawing, self.canvas, x * _MM, (self.height - y - side) * _MM)

    def next_page(self) -> None:
        self.canvas.showPage()
        self.y = _MARGIN

    def done(self) -> bytes:
        self.canvas.showPage()
        self.canvas.save()
        return self._buffer.getvalue()


# ---- packing slip ----------------------------------------------------------------------------------------------------


def packing_slip(order: Order, shipment: Shipment, products: Mapping[str, Product], sender: Address) -> bytes:
    """What lies in the parcel for whoever opens it, A4; it never tells a price, so it may lie in a gift as it is."""
    sheet = _Sheet(210, 297, f"Packing slip {shipment.shipment_id}")
    _slip_head(sheet, order, shipment, sender)
    lines = [(unit.sku, unit.quantity) for unit in shipment.units]
    for sku, units in lines:
        if sheet.y > 258:
            sheet.next_page()
            _table_head(sheet)
        product = products.get(sku)
        sheet.text(24, sheet.y, str(units), 11, right=True)
        sheet.fitted(32, sheet.y, product.title if product else sku, 10, 110)
        sheet.fitted(148, sheet.y, sku, 8, 47, grey=_GREY)
        for capture in [each for each in shipment.captures if each.sku == sku]:
            sheet.y += 4.5
            read = [("serial ", capture.serial), ("lot ", capture.lot), ("best before ", capture.expires)]
            told = " · ".join(name + value for name, value in read if value)
            sheet.fitted(32, sheet.y, told, 7.5, 160, grey=_GREY)
        sheet.y += 3
        sheet.rule(sheet.y)
        sheet.y += 6.5
    sheet.text(_MARGIN, sheet.y + 1, f"{sum(units for _, units in lines)} items in this parcel", 9, grey=_GREY)
    message = str(order.gift.get("message", ""))
    if message:
        _gift_message(sheet, message)
    return sheet.done()


def _slip_head(sheet: _Sheet, order: Order, shipment: Shipment, sender: Address) -> None:
    sheet.text(_MARGIN, 22, sender.name, 15)
    sheet.text(_MARGIN, 28, ", ".join(_lines(sender)[1:]), 8, grey=_GREY)
    sheet.matrix(172, 10, shipment.shipment_id, 24)
    sheet.code128(_MARGIN, 277, shipment.shipment_id, 180, 9)
    sheet.text(_MARGIN + 4, 290, shipment.shipment_id, 6.5, grey=_GREY)
    sheet.rule(36)
    sheet.text(_MARGIN, 44, "Packing slip" if not order.gift else "A gift for you", 18)
    x = 125.0
    for code in order.priority_codes:
        x = sheet.badge(x, 43, code)
    if order.gift:
        sheet.badge(x, 43, "GIFT")
    sheet.text(_MARGIN, 54, "Ship to", 7.5, grey=_GREY)
    sheet.y = 59
    for line in _address_lines(order.address):
        sheet.fitted(_MARGIN, sheet.y, line, 10, 95)
        sheet.y += 5
    facts = [("Order", order.order_id), ("Ordered", order.placed_at[:10]), ("Parcel", str(shipment.number))]
    for number, (name, value) in enumerate(facts):
        sheet.text(125, 54 + 9 * number, name, 7.5, grey=_GREY)
        sheet.fitted(125, 58.5 + 9 * number, value, 9, 70)
    sheet.y = max(sheet.y, 86) + 6
    _table_head(sheet)


def _table_head(sheet: _Sheet) -> None:
    sheet.text(24, sheet.y, "Qty", 7.5, grey=_GREY, right=True)
    sheet.text(32, sheet.y, "Item", 7.5, grey=_GREY)
    sheet.text(148, sheet.y, "SKU", 7.5, grey=_GREY)
    sheet.rule(sheet.y + 2, grey=_INK)
    sheet.y += 9


def _gift_message(sheet: _Sheet, message: str) -> None:
    lines = _wrapped(message, 12, 160)
    if sheet.y + 20 + 7 * len(lines) > 272:
        sheet.next_page()
    sheet.y += 16
    sheet.rule(sheet.y - 7)
    for line in lines:
        sheet.text(_MARGIN, sheet.y, line, 12)
        sheet.y += 7


def _wrapped(text: str, size: float, width: float) -> list[str]:
    from reportlab.pdfbase.pdfmetrics import stringWidth

    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}".strip()
            if line and sum(stringWidth(part, font, size) for font, part in _runs(longer)) > width * _MM:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


# ---- pick list -------------------------------------------------------------------------------------------------------


def pick_list(walk: Mapping[str, Any]) -> bytes:
    """A walk on paper, A4, for the day on which the scanners are dead: bins in walking order, each with its barcode,
    what to take, and into which slot it goes with the priority codes of its parcel. ``walk`` is as the device shows it.
    """
    sheet = _Sheet(210, 297, f"Pick list {walk['walk_id']}")
    codes = {each["slot"]: each["codes"] for each in walk["shipments"]}
    alone = len(codes) == 1
    _pick_head(sheet, walk)
    for stop in walk["stops"]:
        if sheet.y > 272:
            sheet.next_page()
            _pick_head(sheet, walk)
        name = stop["bin"] or "—"
        sheet.box(_MARGIN, sheet.y + 3, 4)
        sheet.fitted(23, sheet.y + 1, name, 13, 34)
        if stop["bin"]:
            sheet.code128(56, sheet.y - 5, name, 44, 8)
        sheet.text(114, sheet.y + 1, str(stop["remaining"]), 15, right=True)
        sheet.fitted(120, sheet.y - 1.5, stop["title"] or stop["sku"], 9, 75)
        slots = "  ".join(
            codes[each["slot"]] if alone else _into(each, codes[each["slot"]])
            for each in stop["into"]
            if each["quantity"] > each["picked"]
        )
        lot = " ".join(filter(None, (stop.get("lot") and f"lot {stop['lot']}", stop.get("expires"))))
        told = "   ".join(filter(None, (stop["sku"], lot, slots)))
        sheet.fitted(120, sheet.y + 2.7, told, 7, 75, grey=_GREY)
        sheet.rule(sheet.y + 6)
        sheet.y += 14
    return sheet.done()


def _into(place: Mapping[str, Any], codes: str) -> str:
    name = place["tote"] or f"slot {place['slot']}"
    return " ".join(filter(None, (name, codes, f"× {place['quantity'] - place['picked']}")))


def _pick_head(sheet: _Sheet, walk: Mapping[str, Any]) -> None:
    sheet.text(_MARGIN, 22, f"Pick list · {walk['method']}" + (f" · zone {walk['zone']}" if walk["zone"] else ""), 15)
    left = walk["units"] - walk["picked"]
    metres = f"{walk['length_cm'] / 100:.0f} m · " if walk["length_cm"] else ""
    told = f"{walk['facility']} · {len(walk['shipments'])} parcels · {left} units · {metres}{len(walk['stops'])} stops"
    sheet.text(_MARGIN, 28, told, 9, grey=_GREY)
    sheet.code128(125, 13, walk["walk_id"], 72, 11)
    sheet.text(195, 28, walk["walk_id"], 7, grey=_GREY, right=True)
    sheet.rule(33, grey=_INK)
    sheet.y = 42


# ---- receipts --------------------------------------------------------------------------------------------------------

_SLIP = 80.0
_EDGE = 5.0


def receipt(told: Mapping[str, Any]) -> bytes:
    """A till's slip, 80 millimetres wide and as long as it needs; ``told`` is the receipt as the API shows it."""
    currency = told["currency"]
    rows: list[tuple[str, str, float]] = [(told["merchant"]["name"], "", 11)]
    rows += [(row, "", 7.5) for row in told["merchant"]["store"]]
    if told["merchant"]["tax_id"]:
        rows.append((told["merchant"]["tax_id"], "", 7.5))
    rows += [("", "", 0), (told["sold_at"][:16].replace("T", " ") + " UTC", "", 7.5), (told["order_id"], "", 6.5)]
    rows.append(("", "", 0))
    for line in told["lines"]:
        price = _money(line["unit_price"] * line["quantity"])
        rows.append((f"{line['quantity']} × {line['title']}", price, 9))
        if line["quantity"] > 1:
            rows.append((f"    {_money(line['unit_price'])} each", "", 7))
        if line["discount"]:
            rows.append(("    discount", f"−{_money(line['discount'])}", 7.5))
    if told["shipping"]:
        rows.append(("Shipping", _money(told["shipping"]), 9))
    rows.append(("", "", 0))
    for tax in told["taxes"]:
        rate = f" {tax['basis_points'] / 100:g} %" if tax["basis_points"] is not None else ""
        rows.append((f"Tax{rate} on {_money(tax['net'])}", _money(tax["tax"]), 8))
    rows += [(f"Total {currency}", _money(told["total"]), 12), ("", "", 0)]
    for payment in told["payments"]:
        method = payment["method"].replace("_", " ")
        kind = "" if payment["kind"] == "paid" else f" ({payment['kind'].replace('_', ' ')})"
        rows.append((f"{method}{kind}", _money(payment["amount"]), 9))
        if payment["reference"]:
            rows.append((f"    {payment['reference']}", "", 7))
    if told["due"]:
        until = f" by {told['due_at'][:10]}" if told["due_at"] else ""
        rows.append((f"Due{until}", _money(told["due"]), 9))
    height = 22 + 2 * _EDGE + sum(5.2 if size >= 9 else 3.8 for _, _, size in rows)
    sheet = _Sheet(_SLIP, height, f"Receipt {told['order_id']}")
    y = _EDGE + 4
    for left, right, size in rows:
        if not size:
            sheet.rule(y - 2, x=_EDGE)
        else:
            sheet.fitted(_EDGE, y, left, size, _SLIP - 2 * _EDGE - (20 if right else 0))
            if right:
                sheet.text(_SLIP - _EDGE, y, right, size, right=True)
        y += 5.2 if size >= 9 else 3.8
    sheet.matrix((_SLIP - 20) / 2, y, told["order_id"], 20)
    return sheet.done()


def _money(amount: int) -> str:
    """Minor units as people read them; every currency of ours has a hundred of them."""
    return f"{amount // 100}.{amount % 100:02d}"


# ---- labels ----------------------------------------------------------------------------------------------------------


def labels_pdf(labels: Sequence[Label]) -> bytes:
    """Labels of 100 by 50 millimetres, one a page: a Code 128 for the hand, a QR code for the camera."""
    sheet = _Sheet(100, 50, "Labels")
    for number, label in enumerate(labels):
        if number:
            sheet.next_page()
        sheet.fitted(5, 16, label.title, 30, 64)
        sheet.fitted(5, 22, label.note, 8, 64, grey=_GREY)
        sheet.code128(2, 29, label.code, 96, 14)
        sheet.text(7, 47, label.code, 7, grey=_GREY)
        sheet.matrix(72, 3, label.code, 25)
    return sheet.done()


def parcel_label(order: Order, shipment: Shipment, sender: Address) -> bytes:
    """The house's own label on a parcel, 100 by 150 millimetres: what it is and where it goes. The carrier's label is
    the carrier's."""
    sheet = _Sheet(100, 150, f"Parcel {shipment.shipment_id}")
    sheet.fitted(6, 10, ", ".join(_lines(sender)), 6.5, 72, grey=_GREY)
    y = 22.0
    for number, line in enumerate(_address_lines(order.address)):
        sheet.fitted(6, y, line, 15 if number == 0 else 12, 74)
        y += 7.5
    x = 6.0
    for code in order.priority_codes:
        x = sheet.badge(x, y + 9, code)
    if order.gift:
        x = sheet.badge(x, y + 9, "GIFT")
    sheet.text(78, y + 9, f"Parcel {shipment.number}", 11, right=True)
    sheet.text(78, y + 15, order.shipping_method, 9, grey=_GREY, right=True)
    if shipment.box:
        kilos = f"{shipment.box.weight_grams / 1000:.2f} kg"
        sheet.text(78, y + 20, f"{kilos}  {shipment.box.carton}", 9, grey=_GREY, right=True)
    sheet.matrix(4, y + 13, shipment.shipment_id, 40)
    sheet.text(6, 142, shipment.shipment_id, 7, grey=_GREY)
    # Along the side: across, the bars of so long an id would be finer than a thermal printer's dots.
    sheet.canvas.saveState()
    sheet.canvas.translate(sheet.width * _MM, 0)
    sheet.canvas.rotate(90)
    sheet.bars(shipment.shipment_id, 4, 3, 142, 14)
    sheet.canvas.restoreState()
    return sheet.done()


# ---- thermal printers ------------------------------------------------------------------------------------------------


def labels_zpl(labels: Sequence[Label]) -> bytes:
    """The same labels for a thermal printer of 203 dots an inch."""
    return "".join(
        "^XA^CI28^PW800^LL400"
        f"^FO40,40^A0N,110,90^FB520,1^FD{_escaped(label.title)}^FS"
        f"^FO40,160^A0N,30,28^FB520,1^FD{_escaped(label.note)}^FS"
        f"^FO40,215^BY2^BCN,120,Y,N,N^FD{_escaped(label.code)}^FS"
        f"^FO590,50^BQN,2,6^FDMA,{_escaped(label.code)}^FS"
        "^XZ\n"
        for label in labels
    ).encode()


def parcel_label_zpl(order: Order, shipment: Shipment, sender: Address) -> bytes:
    """The parcel's own label for a thermal printer of 203 dots an inch."""
    marks = " ".join([*order.priority_codes, *(["GIFT"] if order.gift else [])])
    address = "".join(
        f"^FO50,{120 + 55 * number}^A0N,{48 if number == 0 else 40},{44 if number == 0 else 36}^FD{_escaped(line)}^FS"
        for number, line in enumerate(_address_lines(order.address))
    )
    return (
        "^XA^CI28^PW800^LL1200"
        f"^FO50,40^A0N,26,24^FD{_escaped(', '.join(_lines(sender)))}^FS^FO50,85^GB700,2,2^FS{address}"
        f"^FO50,520^GB700,2,2^FS^FO50,550^A0N,60,56^FD{_escaped(marks)}^FS"
        f"^FO450,550^A0N,50,46^FDParcel {shipment.number}^FS"
        f"^FO50,640^BQN,2,7^FDMA,{shipment.shipment_id}^FS"
        f"^FO50,950^BY1^BCN,140,Y,N,N^FD{shipment.shipment_id}^FS^XZ\n"
    ).encode()


def _escaped(text: str) -> str:
    """Text in a field of ZPL, in which a caret or a tilde begins a command."""
    return text.replace("^", " ").replace("~", " ")


def _address_lines(address: Mapping[str, str]) -> list[str]:
    place = f"{address.get('city', '')} {address.get('region', '')} {address.get('postal_code', '')}"
    lines = [address.get("name", ""), address.get("line1", ""), address.get("line2", ""), " ".join(place.split())]
    return [line for line in [*lines, address.get("country", "")] if line]


def _lines(address: Address) -> list[str]:
    place = f"{address.city} {address.region} {address.postal_code}".split()
    lines = [address.name, address.line1, address.line2, " ".join(place), address.country]
    return [line for line in lines if line]
