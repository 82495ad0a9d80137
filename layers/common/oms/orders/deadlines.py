"""By when somebody has to look at an order again. No open order is without a deadline."""

from __future__ import annotations

from datetime import datetime, timedelta

from oms.orders.model import OPEN, Effect, Order, Status
from oms.runtime.clock import from_text, to_text

DRAFT = timedelta(minutes=2)
"""How long a very large order may take to gather its stock."""
EFFECT = timedelta(minutes=5)
"""How long outside work may take before it is asked for again."""
BACKORDER = timedelta(hours=1)
"""How often stock is looked for again for a remainder that waits."""
FULFILLMENT = timedelta(hours=24)
"""How long the floor may take before somebody is told."""
SECURE_BEFORE = timedelta(hours=24)
"""How long before it lapses an authorisation is made sure of."""
COLLECT_WITHIN = timedelta(days=7)
"""How long a parcel waits at a counter; one that becomes ready later lets the whole order wait as long again."""
COLLECT_REMIND_BEFORE = timedelta(days=2)


def next_deadline(order: Order, now: datetime) -> str | None:
    """The moment the sweep should take the order up, or None when nothing can be overdue any more."""
    if not order.committed:
        return to_text(now + DRAFT)
    moments: list[datetime] = []
    # A held order starts when its last hold is released; until then nobody need be asked again.
    if any(effect is not Effect.START_FULFILLMENT or not order.holds for effect in order.effects):
        moments.append(now + EFFECT)
    if order.status is Status.PLACED:
        moments.append(from_text(order.expires_at))
    elif order.status in (Status.CONFIRMED, Status.IN_FULFILLMENT):
        moments.append(now + (BACKORDER if order.backordered_at and not order.holds else FULFILLMENT))
    if order.payment.authorized and order.status in OPEN and Effect.SECURE_AUTHORIZATION not in order.effects:
        moments.append(from_text(order.payment.authorized_until) - SECURE_BEFORE)
    if order.payment.credit and "payment" not in order.holds:
        moments.append(from_text(order.payment.due_at))
    if order.collect_by and order.status in OPEN and not order.holds:
        moments.append(from_text(order.collect_remind_at or order.collect_by))
    if order.return_deadline:
        moments.append(from_text(order.return_deadline))
    moments.extend(from_text(hold.deadline) for hold in order.holds.values())
    return to_text(min(moments)) if moments else None
