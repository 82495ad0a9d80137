"""Which offer of a carrier is taken, and what customs are told of a parcel that crosses a border."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from oms.fulfillment.carrier import Address, CarrierRefused, Customs, CustomsItem, Rate
from oms.fulfillment.shipments import Shipment
from oms.inventory.model import Product
from oms.orders.model import Line, Order

UNIT_GRAMS = 250
"""What a unit weighs whose product does not say."""
_UNTOLD_DAYS = 99


@dataclass(frozen=True, slots=True)
class Terms:
    """What a shipping method promises and allows: at the door within ``days`` of the order, by one of ``carriers`` and
    ``services``; without any, by all."""

    days: int | None = None
    carriers: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    def allow(self, rate: Rate) -> bool:
        """Whether a merchant wants this offer at all."""
        wanted = not self.carriers or rate.carrier in self.carriers
        return wanted and (not self.services or rate.service in self.services)

    def days_left(self, placed_at: datetime, now: datetime) -> int | None:
        """How many days the carrier may take for the parcel to come as promised; none promised, none counted."""
        if self.days is None:
            return None
        return max(0, (placed_at + timedelta(days=self.days) - now).days)


USUAL = {"express": Terms(days=2)}
"""What methods promise as long as the merchant's rules do not say otherwise."""


def choose_rate(rates: tuple[Rate, ...], terms: Terms, days_left: int | None) -> Rate:
    """The cheapest offer that comes in time; when none does, the fastest, then the cheapest. An offer that does not
    say how long it takes is late. Raises ``CarrierRefused`` without any."""
    offers = [rate for rate in rates if terms.allow(rate)]
    if not offers:
        raise CarrierRefused("no carrier offers to take this parcel there")
    in_time = [rate for rate in offers if days_left is None or _days(rate) <= days_left]
    if in_time:
        return min(in_time, key=lambda rate: (rate.amount, _days(rate), rate.id))
    return min(offers, key=lambda rate: (_days(rate), rate.amount, rate.id))


def _days(rate: Rate) -> int:
    return _UNTOLD_DAYS if rate.delivery_days is None else rate.delivery_days


def customs_of(order: Order, shipment: Shipment, origin: Address, products: Mapping[str, Product]) -> Customs | None:
    """The declaration of a parcel that crosses a border; None for any other. Goods are declared line by line, as they
    were sold and at their price: a kit is one kind of goods. What a product does not say was made where it leaves."""
    if origin.country == order.address["country"]:
        return None
    items = []
    for number, units in sorted(shipment.lines(order).items()):
        line = order.lines[number - 1]
        product = products.get(line.sku)
        items.append(
            CustomsItem(
                description=product.title if product else line.sku,
                quantity=units,
                value=max(1, line.unit_price * units - line.discount * units // line.quantity),
                currency=order.currency,
                weight_grams=max(1, _grams(line, units, products)),
                hs_code=product.hs_code if product else "",
                origin_country=(product.origin_country if product else "") or origin.country,
            )
        )
    return Customs(tuple(items), origin.name)


def _grams(line: Line, units: int, products: Mapping[str, Product]) -> int:
    grams = 0
    for sku, quantity in line.units(units).items():
        product = products.get(sku)
        grams += quantity * (product.weight_grams if product and product.weight_grams else UNIT_GRAMS)
    return grams
