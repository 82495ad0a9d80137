"""Receipts: what was sold, the tax by rate, and how it was paid, as JSON and as a till's slip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oms.fulfillment.facilities import facilities
from oms.inventory.store import DynamoInventory
from oms.orders import pricing
from oms.orders.model import Line, Order
from oms.orders.store import DynamoOrders
from oms.payments.coverage import due, owed
from oms.runtime import errors

_MONEY = {"captured": "paid", "credit": "on_account", "refunded": "refunded"}
"""What a receipt calls the entries of the ledger that it shows."""


@dataclass(frozen=True, slots=True)
class GiveReceipts:
    """``merchant`` and ``tax_id`` stand at the head of a receipt; either may be empty."""

    orders: DynamoOrders
    inventory: DynamoInventory
    merchant: str
    tax_id: str

    def receipt(self, order: Order) -> dict[str, Any]:
        """The receipt of an order as it stands: without the units that were cancelled, with every payment and refund.

        Raises ``Conflict`` as long as nothing was paid or granted.
        """
        money = [item for item in self.orders.parts(order.order_id, "MONEY#") if item["kind"] in _MONEY]
        if not money:
            raise errors.Conflict("Nothing was paid yet: there is no receipt.", extra={"code": "nothing_paid"})
        titles = {sku: product.title for sku, product in self._products(order).items()}
        country = order.address.get("country", "")
        lines = [_line(line, titles) for line in order.lines if line.quantity > line.cancelled]
        shipping = order.totals.shipping
        shipping_tax = order.totals.tax - sum(line.tax for line in order.lines)
        # Where a marketplace told the tax of a whole order, no line knows its own.
        by_line = pricing.tax_on(shipping, country) == shipping_tax
        net = sum(line["net"] for line in lines) + shipping
        tax = sum(line["tax"] for line in lines) + shipping_tax
        rate = pricing.TAX_BASIS_POINTS.get(country, 0) if by_line and order.external_id == "" else None
        taxes = [{"basis_points": rate, "net": net, "tax": tax}] if tax or rate else []
        paid = Counter[str]()
        for item in money:
            paid[item["kind"]] += item["amount"]
        return {
            "order_id": order.order_id,
            "merchant": {"name": self.merchant, "tax_id": self.tax_id or None, "store": self._store(order)},
            "channel": order.channel,
            "sold_at": order.taken_at or order.placed_at,
            "customer": order.customer.get("name") or None,
            "currency": order.currency,
            "lines": lines,
            "shipping": shipping,
            "discount": sum(line["discount"] for line in lines),
            "taxes": taxes,
            "total": owed(order),
            "payments": [
                {
                    "kind": _MONEY[item["kind"]],
                    "method": item["provider"],
                    "amount": item["amount"],
                    "reference": item.get("reference") or None,
                    "at": item.get("taken_at") or item["at"],
                }
                for item in sorted(money, key=lambda item: (item["at"], item["sk"]))
            ],
            "due": due(order),
            "due_at": order.payment.due_at or None,
        }

    def slip(self, order: Order) -> bytes:
        """The same as a PDF for a printer of 80 millimetres. Raises what ``receipt`` does."""
        from oms.fulfillment.documents import receipt

        return receipt(self.receipt(order))

    def _products(self, order: Order) -> Mapping[str, Any]:
        return self.inventory.products([line.sku for line in order.lines], fresh=False)

    def _store(self, order: Order) -> list[str]:
        """The address of the counter; empty for what was not sold at one."""
        place = facilities(self.inventory, [order.counter]).get(order.counter) if order.counter else None
        if place is None:
            return []
        told = place.address
        rows = (told.name, told.line1, told.line2, f"{told.postal_code} {told.city}".strip(), told.country)
        return [row for row in rows if row]


def _line(line: Line, titles: Mapping[str, str]) -> dict[str, Any]:
    """A line as far as it was not cancelled, with the shares of discount and tax that its units still have."""
    units = line.quantity - line.cancelled
    tax = line.tax - line.tax * line.cancelled // line.quantity
    gross = pricing.value_of(line, units, line.cancelled)
    return {
        "line": line.number,
        "sku": line.sku,
        "title": titles.get(line.sku, line.sku),
        "quantity": units,
        "unit_price": line.unit_price,
        "discount": line.unit_price * units - (gross - tax),
        "net": gross - tax,
        "tax": tax,
        "gross": gross,
    }
