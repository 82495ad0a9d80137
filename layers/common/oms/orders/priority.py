"""The short codes that tell the warehouse what an order is: M many items, L large ticket, F frequent customer, N new
customer, R rush, P promised for a day. A merchant's rules say when each applies and what it weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from oms.orders.model import Order
from oms.orders.pricing import CURRENCIES
from oms.runtime.clock import from_text

CODES = "FLMNPR"


@dataclass(frozen=True, slots=True)
class Rules:
    """When the codes apply, and their weights; a code without a weight is not given."""

    weights: Mapping[str, int] = field(default_factory=lambda: {"F": 15, "L": 20, "M": 10, "N": 5, "P": 30, "R": 40})
    many_units: int = 5
    large_ticket: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(sorted(CURRENCIES), 20_000))
    """Minor units by currency from which an order is large; in others none is."""
    frequent_orders: int = 3
    """So many earlier orders make a customer a frequent one."""
    rush_methods: tuple[str, ...] = ("express",)
    promised_days: int = 3
    """A promised day within so many days of the order makes it a promised one. Marketplaces promise most orders for
    within the week, and a code that most orders have says nothing."""
    version: int = 0
    """0 for what holds until somebody writes rules."""

    def codes(self, order: Order) -> str:
        """The codes of an order in the order of the alphabet, for example ``LR``."""
        large = self.large_ticket.get(order.currency)
        before = order.orders_before
        holds = {
            "F": before is not None and before >= self.frequent_orders,
            "L": large is not None and order.totals.total >= large,
            "M": sum(line.quantity - line.cancelled for line in order.lines) >= self.many_units,
            "N": before == 0,
            "P": self._promised(order),
            "R": order.shipping_method in self.rush_methods,
        }
        return "".join(code for code in CODES if holds[code] and code in self.weights)

    def score(self, codes: str) -> int:
        """What codes weigh together: the higher, the sooner it is picked."""
        return sum(self.weights[code] for code in codes)

    def _promised(self, order: Order) -> bool:
        if not order.promised_for:
            return False
        last = from_text(order.placed_at).date() + timedelta(days=self.promised_days)
        return date.fromisoformat(order.promised_for) <= last


def rated(order: Order, rules: Rules) -> Order:
    """The order with the score and the codes that the rules give it, and the version of the rules that gave them."""
    codes = rules.codes(order)
    return replace(order, priority_score=rules.score(codes), priority_codes=codes, priority_rules=rules.version)
