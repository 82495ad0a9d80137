"""What an order costs its customer by now, and how much of that has to be paid before its parcels leave."""

from __future__ import annotations

from dataclasses import replace

from oms.orders import pricing
from oms.orders.model import Order, Status


def owed(order: Order) -> int:
    """What the customer has to pay in all: the total less cancelled lines and concessions; nothing once it is dead."""
    if order.status in (Status.CANCELLED, Status.EXPIRED):
        return 0
    cancelled = {line.number: line.cancelled for line in order.lines}
    untouched = [replace(line, cancelled=0) for line in order.lines]
    return order.totals.total - pricing.refund_for_lines(cancelled, untouched) - order.payment.conceded


def money_needed(order: Order) -> int:
    """What must have been paid for everything that has left, in minor units: the goods with their tax, and with the
    last parcel all that the customer owes, shipping and discounts included."""
    everything = owed(order)
    if not any(line.open for line in order.lines):
        return everything
    gone = sum(pricing.value_of(line, line.shipped, 0) for line in order.lines)
    return min(gone, everything)


def due(order: Order) -> int:
    """What the customer still has to pay: authorised money and credit are not paid yet."""
    payment = order.payment
    return max(0, owed(order) - (payment.settled - payment.credit))


def overpaid(order: Order) -> int:
    """What we hold beyond what the order costs, an open authorisation set against it first."""
    return max(0, order.payment.settled - owed(order))
