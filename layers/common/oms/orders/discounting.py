"""What staff take off: on a line or on the whole order, before tax, for a reason, and within their limit.

A discount on the whole order becomes discounts of its lines by what each costs, so tax, returns and refunds need to
know lines only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oms.inventory.model import Product
from oms.orders.pricing import share
from oms.runtime import errors
from oms.runtime.http import field_problem

if TYPE_CHECKING:
    from oms.orders.staff_forms import DiscountForm, StaffLineForm


@dataclass(frozen=True, slots=True)
class Limits:
    """What one of the staff may grant on one order: a discount up to ``percent`` of the goods and ``amount`` minor
    units, and ``invoice`` minor units on credit."""

    percent: int = 0
    amount: int = 0
    invoice: int = 0


@dataclass(frozen=True, slots=True)
class Discounts:
    """Minor units by line number, and each discount as it was given, for the history."""

    by_line: Mapping[int, int]
    told: tuple[Mapping[str, Any], ...] = ()

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.by_line.values())


def limits_of(groups: Iterable[str], limits: Mapping[str, Mapping[str, int]]) -> Limits:
    """The limits of somebody in these groups: the widest that any of them has."""
    own = [limits[group] for group in groups if group in limits]
    names = ("percent", "amount", "invoice")
    return Limits(*(max((each.get(name, 0) for each in own), default=0) for name in names))


def discounts_of(
    wanted: Sequence[tuple[Product, int]], lines: Sequence[StaffLineForm], whole: DiscountForm | None
) -> Discounts:
    """What is taken off each line; the order's own discount is on what the lines' leave. ``wanted`` has a product and a
    quantity for each of ``lines``. Raises ``InvalidRequest`` for more than something costs."""
    costs = [product.price * quantity for product, quantity in wanted]
    off = [0] * len(costs)
    told: list[Mapping[str, Any]] = []
    for index, line in enumerate(lines):
        if line.discount:
            off[index] = _amount(line.discount, costs[index], f"lines[{index}].discount")
            told.append({"line": index + 1, "amount": off[index], "reason": line.discount.reason})
    if whole:
        left = [cost - taken for cost, taken in zip(costs, off, strict=True)]
        amount = _amount(whole, sum(left), "discount")
        off = [taken + more for taken, more in zip(off, share(amount, left), strict=True)]
        told.append({"amount": amount, "reason": whole.reason})
    return Discounts({number: taken for number, taken in enumerate(off, start=1) if taken}, tuple(told))


def within(limits: Limits, items: int, discount: int) -> bool:
    """Whether a discount on goods of ``items`` is within what somebody may give."""
    return discount <= min(limits.amount, items * limits.percent // 100)


def require_within(limits: Limits, items: int, discount: int) -> None:
    """Raises ``Forbidden`` with the limit when it is not."""
    if not within(limits, items, discount):
        raise errors.Forbidden(
            f"You may take off {limits.percent} percent of the goods and {limits.amount} at most; ask ops.",
            extra={
                "code": "over_discount_limit",
                "discount": discount,
                "limit": {"percent": limits.percent, "amount": limits.amount},
            },
        )


def require_credit(limits: Limits, amount: int) -> None:
    """Raises ``Forbidden`` with the limit when so much may not be had on credit."""
    if amount > limits.invoice:
        raise errors.Forbidden(
            f"You may sell for {limits.invoice} on an invoice; ask ops.",
            extra={"code": "over_credit_limit", "amount": amount, "limit": {"invoice": limits.invoice}},
        )


def _amount(discount: DiscountForm, cost: int, field: str) -> int:
    # Rounded down, so that many small ones by percent stay within a limit by percent.
    amount = discount.amount if discount.amount is not None else cost * (discount.percent or 0) // 100
    if amount > cost:
        raise field_problem([(f"{field}.amount", f"at most {cost}, which is what it costs")])
    return amount
