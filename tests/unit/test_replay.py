"""How rows of the real shop's file become orders, and how everything else in it is called."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import pytest

from local.console import Trouble
from local.replay import _PLACES, PlannedOrder, Row, address_in, minor, plan, read_rows, sku_of
from local.reports import money, percentile, table
from oms.orders.forms import AddressForm, PlaceOrderForm


def row(invoice: str = "536365", code: str = "85123A", quantity: int = 6, price: str = "2.55", **more: str) -> Row:
    customer, country = more.get("customer", "17850"), more.get("country", "United Kingdom")
    return Row(invoice, code, quantity, Decimal(price), customer, country, "2010-12-01 08:26")


def test_rows_of_one_invoice_are_one_order_with_its_lines_in_order() -> None:
    made = plan([row(), row(code="71053", quantity=2), row("536366", "22633", 1)])
    assert [(order.key, order.lines) for order in made.orders] == [
        ("536365", (("85123A", 6), ("71053", 2))),
        ("536366", (("22633", 1),)),
    ]
    assert made.sold == {"85123A": 6, "71053": 2, "22633": 1}
    assert made.rows == {"sold": 3}


def test_the_limit_counts_invoices_with_goods() -> None:
    made = plan([row("1", "POST", 1), row("2"), row("C3", quantity=-1, customer="9"), row("4"), row("5")], limit=2)
    assert [order.key for order in made.orders] == ["2", "4"]
    assert made.notes["invoices without goods"] == 1


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("POST", "postage (our own table charges shipping)"),
        ("DOT", "postage (our own table charges shipping)"),
        ("D", "discounts given by hand"),
        ("m", "manual entries"),
        ("BANK CHARGES", "bank charges"),
        ("AMAZONFEE", "marketplace fees"),
        ("gift_0001_20", "gift vouchers"),
        ("S", "samples"),
        ("CRUK", "donations"),
        ("PADS", "packing material"),
        ("??", "codes that name no product"),
    ],
)
def test_rows_that_are_no_goods_are_counted_by_name(code: str, name: str) -> None:
    made = plan([row(code=code), row()])
    assert made.rows == {name: 1, "sold": 1}
    assert made.skus == ["85123A"]


def test_goods_without_a_price_are_not_sold() -> None:
    made = plan([row(price="0.00"), row(price="0.001"), row(code="71053")])
    assert made.rows["goods without a price (given away, found or mistyped)"] == 2
    assert made.orders[0].lines == (("71053", 6),)


def test_a_write_off_is_booked_and_received_for() -> None:
    made = plan([row(), row("536589", quantity=-10, price="0", customer="")])
    assert made.written_off == {"85123A": 10}
    assert made.rows["stock written off"] == 1


def test_write_offs_of_what_is_not_sold_are_counted_only() -> None:
    assert plan([row(), row("536589", "21777", -10, "0")]).written_off == {}


def test_a_cancellation_takes_back_the_latest_lines_of_its_customer() -> None:
    made = plan([row("1", quantity=6), row("2", quantity=4), row("C3", quantity=-5)])
    assert [(each.order, dict(each.lines)) for each in made.cancellations] == [("2", {1: 4}), ("1", {1: 1})]
    assert made.rows["cancellations of an earlier order"] == 1


def test_units_are_cancelled_once() -> None:
    made = plan([row("1", quantity=6), row("C2", quantity=-4), row("C3", quantity=-4)])
    assert len(made.cancellations) == 1
    assert made.rows["returns of goods bought before the file begins"] == 1


@pytest.mark.parametrize("stranger", [row("C3", customer="9", quantity=-1), row("C3", customer="", quantity=-1)])
def test_nobody_cancels_what_somebody_else_bought(stranger: Row) -> None:
    assert plan([row("1"), row("1b", customer=""), stranger]).cancellations == []


def test_a_discount_on_a_cancelling_invoice_is_a_discount() -> None:
    made = plan([row("C1", "D", -1, "27.50")])
    assert made.rows == {"discounts given by hand": 1}


def test_more_units_than_a_line_takes_are_several_lines() -> None:
    made = plan([row(quantity=2500)])
    assert made.orders[0].lines == (("85123A", 999), ("85123A", 999), ("85123A", 502))
    assert made.notes["lines of more than 999 units, split"] == 1


def test_more_lines_than_an_order_takes_are_several_orders() -> None:
    made = plan([row(code=f"1{number:04d}") for number in range(450)])
    assert [(order.key, len(order.lines)) for order in made.orders] == [
        ("536365-1", 200),
        ("536365-2", 200),
        ("536365-3", 50),
    ]
    assert made.notes["orders of more than 200 lines, split"] == 1


def test_the_catalogue_has_the_price_that_most_customers_paid() -> None:
    made = plan([row("1", price="2.55"), row("2", price="2.55"), row("3", price="5.06")])
    assert made.prices == {"85123A": 255}
    assert made.notes["lines sold at another price than the catalogue's"] == 1


def test_codes_are_spelled_in_one_way() -> None:
    assert {sku_of("85123a"), sku_of(" 85123A ")} == {"85123A"}
    assert sku_of("gift_0001:20£") == "GIFT_0001-20-"
    assert sku_of("/odd") == "ODD"


@pytest.mark.parametrize(("price", "pence"), [("2.55", 255), ("0.005", 1), ("0.001", 0), ("11062.06", 1106206)])
def test_pounds_become_pence(price: str, pence: int) -> None:
    assert minor(Decimal(price)) == pence


@pytest.mark.parametrize("country", [*_PLACES, "Unspecified", "European Community"])
def test_every_country_of_the_file_has_an_address_that_we_would_take(country: str) -> None:
    assert AddressForm.model_validate(address_in(country, "Guest")).country


def test_a_planned_order_is_a_form_that_we_would_take() -> None:
    guest = PlannedOrder("536365", "", "Unspecified", (("85123A", 6),), "2010-12-01 08:26").body("-R2")
    assert PlaceOrderForm.model_validate(guest).lines[0].sku == "85123A-R2"
    assert guest["customer"]["email"] == "guest-536365@example.com"
    known = PlannedOrder("536365", "17850", "EIRE", (), "2010-12-01 08:26").body("")
    assert known["customer"]["email"] == "customer-17850@example.com"


def test_a_file_is_read_with_or_without_compression(tmp_path: Path) -> None:
    head = "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
    text = f"{head}\n536365,85123A,6,2010-12-01 08:26:00,2.55,17850,EIRE\n"
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert list(read_rows(tmp_path / "a.csv")) == list(read_rows(tmp_path / "a.csv.gz")) == [row(country="EIRE")]


@pytest.mark.parametrize("content", [None, "a,b\n1,2\n", "InvoiceNo,StockCode,Quantity,UnitPrice\n1,2,many,3\n"])
def test_a_file_that_is_another_is_refused_with_its_name(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "orders.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Trouble, match=r"orders\.csv"):
        list(read_rows(path))


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, percent) for percent in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([], 50) == 0
    assert percentile([7.0], 99) == 7


def test_tables_put_figures_to_the_right() -> None:
    assert table([["what", "n"], ["a", "5"], ["bb", "123"]]) == ("  what    n\n  ────  ───\n  a       5\n  bb    123")


def test_money_is_written_as_people_write_it() -> None:
    assert [money(amount, "GBP") for amount in (5, 123456, -250)] == ["0.05 GBP", "1,234.56 GBP", "-2.50 GBP"]
