"""What an order costs: our prices, our shipping table, our tax table. Nothing that a client says enters here.

Amounts are minor units. Tax is added to prices, worked out a line at a time and rounded half up, which is how invoices
are checked; shipping is taxed at the same rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from oms.inventory.model import Product
from oms.orders.model import Line, Totals

# Flat charges by method and currency. A merchant edits this table; a method or currency missing here is not offered.
SHIPPING: Mapping[str, Mapping[str, int]] = {
    "standard": {"USD": 599, "EUR": 499, "GBP": 399, "CAD": 799, "AUD": 899},
    "express": {"USD": 1499, "EUR": 1299, "GBP": 999, "CAD": 1999, "AUD": 1999},
    "pickup": {"USD": 0, "EUR": 0, "GBP": 0, "CAD": 0, "AUD": 0},
}

CURRENCIES = frozenset(SHIPPING["standard"])

# Standard rates in hundredths of a percent for the countries in which the merchant collects tax; none elsewhere.
# EU rates: taxation-customs.ec.europa.eu, standard VAT rates; UK: gov.uk/vat-rates.
TAX_BASIS_POINTS: Mapping[str, int] = {
    "AT": 2000,
    "BE": 2100,
    "DE": 1900,
    "DK": 2500,
    "ES": 2100,
    "FI": 2550,
    "FR": 2000,
    "GB": 2000,
    "IE": 2300,
    "IT": 2200,
    "NL": 2100,
    "PT": 2300,
    "SE": 2500,
}


NO_DISCOUNTS: Mapping[int, int] = {}


@dataclass(frozen=True, slots=True)
class Priced:
    """Lines with their tax, and the totals."""

    lines: tuple[Line, ...]
    totals: Totals


def tax_on(amount: int, country: str) -> int:
    """Tax on a net amount, rounded half up."""
    return (amount * TAX_BASIS_POINTS.get(country, 0) + 5_000) // 10_000


def price(
    wanted: Sequence[tuple[Product, int]],
    *,
    country: str,
    currency: str,
    shipping_method: str,
    discounts: Mapping[int, int] = NO_DISCOUNTS,
) -> Priced:
    """Price lines that all are in ``currency`` with a shipping method that is offered in it.

    ``discounts`` are by line number and at most what the line costs.
    """
    lines = tuple(
        Line(
            number=number,
            sku=product.sku,
            quantity=quantity,
            unit_price=product.price,
            discount=discounts.get(number, 0),
            tax=tax_on(product.price * quantity - discounts.get(number, 0), country),
            parts=product.kit,
        )
        for number, (product, quantity) in enumerate(wanted, start=1)
    )
    shipping = SHIPPING[shipping_method][currency]
    items = sum(line.unit_price * line.quantity for line in lines)
    tax = sum(line.tax for line in lines) + tax_on(shipping, country)
    return Priced(lines, Totals(items, shipping, tax, sum(line.discount for line in lines)))


def charged(priced: Priced, total: int, country: str) -> Priced:
    """The same lines for ``total`` in all, tax included, where no shipping is charged: what a till took is what they
    cost, whatever we think of it. The difference is spread by what each line costs; a line that was cheaper has a
    discount, one that was dearer another price."""
    basis = 10_000 + TAX_BASIS_POINTS.get(country, 0)
    gross = share(total, [line.unit_price * line.quantity - line.discount + line.tax for line in priced.lines])
    lines = []
    for line, amount in zip(priced.lines, gross, strict=True):
        net = (amount * 10_000 + basis // 2) // basis
        price = max(line.unit_price, -(-net // line.quantity))
        lines.append(replace(line, unit_price=price, discount=price * line.quantity - net, tax=amount - net))
    items = sum(line.unit_price * line.quantity for line in lines)
    tax, discount = sum(line.tax for line in lines), sum(line.discount for line in lines)
    return Priced(tuple(lines), Totals(items, 0, tax, discount))


def share(amount: int, weights: Sequence[int]) -> list[int]:
    """``amount`` in shares by weight that add up to it, each within one of its exact part; evenly without weights."""
    weights = weights if sum(weights) else [1] * len(weights)
    whole, given, before = sum(weights), 0, 0
    shares = []
    for weight in weights:
        before += weight
        shares.append(amount * before // whole - given)
        given += shares[-1]
    return shares


def refund_for_lines(cancelled: Mapping[int, int], lines: Sequence[Line]) -> int:
    """What the customer gets back for ``cancelled`` units by line number: price and the share of the line's tax."""
    return sum(value_of(line, cancelled.get(line.number, 0), line.cancelled) for line in lines)


def value_of(line: Line, units: int, given: int) -> int:
    """What ``units`` of a line are worth, price and tax less discount, after ``given`` units of it were given back.

    Shares of tax and discount are differences of running totals, so that giving a line back piece by piece gives back
    exactly what was paid for it.
    """
    extra = line.tax - line.discount
    before = extra * given // line.quantity
    after = extra * (given + units) // line.quantity
    return line.unit_price * units + after - before


def shipping_paid(totals: Totals, lines: Sequence[Line]) -> int:
    """What was charged for shipping, its tax included."""
    return totals.shipping + totals.tax - sum(line.tax for line in lines)
