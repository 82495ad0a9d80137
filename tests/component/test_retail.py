"""Real customers through the real handlers: what the shop knows of them is what the file says."""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from benchmarks.report import Progress
from benchmarks.retail import Loaded, load, of_customers
from local.replay import plan, read_rows
from tests.simulation.backend import connected

ORDERS = Path(__file__).resolve().parents[3] / "shared" / "data" / "online_retail.csv.gz"
INVOICES, CUSTOMERS = 500, 24

pytestmark = pytest.mark.skipif(
    not ORDERS.exists(), reason=f"the real orders are not here: {ORDERS.name} belongs in {ORDERS.parent}"
)


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    done = load(of_customers(plan(read_rows(ORDERS), INVOICES), CUSTOMERS), Progress())
    with connected(done.shop.cloud):
        yield done


def pence(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def rows_of_customers(loaded: Loaded) -> Iterator[dict[str, str]]:
    """The file's own rows of the customers and invoices that were loaded."""
    invoices = {order.key.partition("-")[0] for order in loaded.plan.orders}
    with gzip.open(ORDERS, "rt", newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["InvoiceNo"] in invoices and row["StockCode"].upper() in loaded.plan.prices:
                yield row


def test_everybody_s_figures_are_the_file_s(loaded: Loaded) -> None:
    called_off = {each.order.partition("-")[0] for each in loaded.plan.cancellations}
    units: Counter[str] = Counter()
    orders: defaultdict[str, set[str]] = defaultdict(set)
    last: dict[str, str] = {}
    spent: Counter[str] = Counter()
    for row in rows_of_customers(loaded):
        who, quantity = row["CustomerID"], int(row["Quantity"])
        if quantity <= 0 or Decimal(row["UnitPrice"]) <= 0:
            continue
        tax = Decimal("0.2") if row["Country"] == "United Kingdom" else None
        price = loaded.plan.prices[row["StockCode"].upper()]
        units[who] += quantity
        if row["InvoiceNo"] not in orders[who]:
            orders[who].add(row["InvoiceNo"])
            spent[who] += 399 + (pence(399 * tax) if tax else 0)
        spent[who] += price * quantity + (pence(price * quantity * tax) if tax else 0)
        last[who] = max(last.get(who, ""), row["InvoiceDate"][:16])
    whole = {who for who, invoices in orders.items() if not invoices & called_off}
    british = {order.customer for order in loaded.plan.orders if order.country == "United Kingdom"}
    profiles = {mail.removeprefix("customer-").partition("@")[0]: each for mail, each in loaded.shop.profiles().items()}
    assert len(whole) > CUSTOMERS // 2
    assert profiles.keys() == orders.keys()
    for who in whole:
        told = profiles[who]
        assert (told.orders, told.units) == (len(orders[who]), units[who]), who
        assert told.last_order_at[:16] == last[who].replace(" ", "T"), who
        if who in british:
            assert told.spent == {"GBP": spent[who]}, who
    assert len(whole & british) > CUSTOMERS // 3


def test_what_was_called_off_was_paid_back(loaded: Loaded) -> None:
    orders = [loaded.shop.app.orders.require(order_id) for order_id in loaded.order_ids.values()]
    assert not any(order.payment.refund_due for order in orders)
    back = {order.order_id for order in orders if order.payment.refunded}
    assert back == {loaded.order_ids[each.order] for each in loaded.plan.cancellations}
    spent: Counter[str] = Counter()
    for order in orders:
        spent[order.customer["email"]] += order.payment.captured - order.payment.refunded
    assert {mail: each.spent["GBP"] for mail, each in loaded.shop.profiles().items()} == spent
