"""What coupons take off an order: the merchant's terms, whether they hold for an order, and how a discount is shared
over its lines so that the shares add up to it exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from oms.orders import pricing
from oms.orders.model import Line, Order
from oms.runtime import errors

MOST = 3
"""So many coupons an order may carry, when each of them allows others beside it."""
PERCENT, AMOUNT, SHIPPING = "percent", "amount", "shipping"
_SEQUENCE = (PERCENT, AMOUNT, SHIPPING)


@dataclass(frozen=True, slots=True)
class Coupon:
    """Terms of one code. Amounts are minor units by currency, times RFC 3339 text; empty ones set no bound."""

    code: str
    kind: str
    """``percent`` or ``amount`` off the goods, or free ``shipping``."""
    percent: int = 0
    amounts: Mapping[str, int] = field(default_factory=dict)
    limit: int | None = None
    """How many orders may carry it at most."""
    per_customer: int | None = None
    """How many orders of one person, who is also known again by mailbox and by phone."""
    per_address: int | None = None
    """How many orders that go to one address, whoever they are from."""
    starts_at: str = ""
    ends_at: str = ""
    minimum: Mapping[str, int] = field(default_factory=dict)
    """What the goods it is for must cost at least, before any coupon."""
    minimum_units: int = 0
    skus: tuple[str, ...] = ()
    """The goods it is for; none for all of them."""
    exclusive: bool = True
    """Whether it allows no other coupon beside it."""
    active: bool = True
    person: str = ""
    """The only person who may use it, of those it was given to personally."""
    version: int = 0

    def is_for(self, line: Line) -> bool:
        """Whether it takes something off a line: not off a gift."""
        return line.unit_price > 0 and (not self.skus or line.sku in self.skus)


def inconsistent(coupon: Coupon) -> list[tuple[str, str]]:
    """What does not fit together in its terms, by field."""
    wrong: list[tuple[str, str]] = []
    if (coupon.kind == PERCENT) != bool(coupon.percent):
        wrong.append(("percent", "goes with the kind percent, and only with it"))
    if (coupon.kind == AMOUNT) != bool(coupon.amounts):
        wrong.append(("amounts", "go with the kind amount, and only with it"))
    if coupon.ends_at and coupon.ends_at <= coupon.starts_at:
        wrong.append(("ends_at", "must be later than starts_at"))
    return wrong


def refused(code: str, problem: str, detail: str, **extra: object) -> errors.Conflict:
    """The refusal of a coupon; ``problem`` joins ``coupon_`` to its stable code."""
    return errors.Conflict(detail, extra={"code": f"coupon_{problem}", "coupon": code, **extra})


def unknown(code: str) -> errors.Conflict:
    """The refusal that does not tell a code nobody made from one that is somebody else's."""
    return refused(code, "unknown", f"There is no coupon {code}.")


def check(coupon: Coupon, order: Order, now: str) -> None:
    """Raises ``Conflict`` with a code that says why the coupon does not hold for this order at ``now``."""
    code = coupon.code
    if not coupon.active:
        raise refused(code, "inactive", f"{code} is not valid at the moment.")
    if coupon.starts_at and now < coupon.starts_at:
        raise refused(code, "not_started", f"{code} is not valid yet.", starts_at=coupon.starts_at)
    if coupon.ends_at and now >= coupon.ends_at:
        raise refused(code, "expired", f"{code} has expired.", ends_at=coupon.ends_at)
    lines = [line for line in order.lines if coupon.is_for(line)]
    if not lines:
        raise refused(code, "not_applicable", f"{code} is for none of these articles.")
    if (coupon.kind == AMOUNT and order.currency not in coupon.amounts) or (
        coupon.minimum and order.currency not in coupon.minimum
    ):
        raise refused(code, "currency", f"{code} does not hold for orders in {order.currency}.")
    least = coupon.minimum.get(order.currency, 0)
    worth = sum(line.unit_price * line.quantity for line in lines)
    units = sum(line.quantity for line in lines)
    if worth < least or units < coupon.minimum_units:
        raise refused(
            code, "minimum", f"{code} needs a larger order.", minimum=least, minimum_units=coupon.minimum_units
        )


def check_together(coupons: Sequence[Coupon]) -> None:
    """Raises ``Conflict`` when these coupons may not be used with each other."""
    alone = next((coupon for coupon in coupons if coupon.exclusive), None)
    if len(coupons) > MOST or (alone and len(coupons) > 1):
        code = alone.code if alone else coupons[-1].code
        raise refused(code, "not_combinable", f"{code} cannot be used with these coupons.", most=1 if alone else MOST)


def in_turn(coupons: Sequence[Coupon]) -> list[Coupon]:
    """Coupons in the order in which they take off: shares of the price before fixed amounts, then shipping."""
    return sorted(coupons, key=lambda coupon: (_SEQUENCE.index(coupon.kind), coupon.code))


def take_off(coupon: Coupon, order: Order) -> tuple[Order, int, int]:
    """The order with less to pay, and what came off its goods and its shipping.

    A line's tax follows what is left of its price. Never more than the goods cost after earlier discounts.
    """
    country = order.address["country"]
    if coupon.kind == SHIPPING:
        off = order.totals.shipping
        tax = order.totals.tax - pricing.tax_on(off, country)
        return replace(order, totals=replace(order.totals, shipping=0, tax=tax)), 0, off
    left = {line.number: line.unit_price * line.quantity - line.discount for line in order.lines if coupon.is_for(line)}
    whole = sum(left.values())
    wanted = (whole * coupon.percent + 50) // 100 if coupon.kind == PERCENT else coupon.amounts[order.currency]
    off = min(wanted, whole)
    shares = shared(off, left)
    lines = tuple(
        _discounted(line, shares[line.number], country) if shares.get(line.number) else line for line in order.lines
    )
    tax = order.totals.tax + sum(line.tax for line in lines) - sum(line.tax for line in order.lines)
    totals = replace(order.totals, tax=tax, discount=order.totals.discount + off)
    return replace(order, lines=lines, totals=totals), off, 0


def shared(amount: int, worth: Mapping[int, int]) -> dict[int, int]:
    """``amount`` in shares by worth, each at most what it is a share of, together exactly ``amount``.

    The shares are differences of running totals, so what is rounded off one goes to the next. ``amount`` is at most
    what all is worth.
    """
    whole = sum(worth.values())
    shares: dict[int, int] = {}
    passed = 0
    for number, each in worth.items():
        before = amount * passed // whole if whole else 0
        passed += each
        shares[number] = (amount * passed // whole if whole else 0) - before
    return shares


def _discounted(line: Line, more: int, country: str) -> Line:
    discount = line.discount + more
    return replace(line, discount=discount, tax=pricing.tax_on(line.unit_price * line.quantity - discount, country))
