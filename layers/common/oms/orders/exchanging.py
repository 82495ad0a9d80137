"""Exchanges: a new order for what the customer wants instead, its stock taken in the transaction that settles the
return, and paid for by what came back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from oms.inventory.model import demand, home_stripe, spread
from oms.inventory.store import DynamoInventory
from oms.orders import pricing
from oms.orders.model import Effect, Event, Order, Payment, Status, home_seed, order_id_for
from oms.orders.priority import rated
from oms.orders.priority_rules import current_rules
from oms.orders.refunds import request_refund
from oms.orders.returning import Return
from oms.orders.store import AlreadyApplied, Change, DynamoOrders
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Write

PAY_WITHIN = timedelta(days=3)
"""How long the customer has for what the exchange costs more."""


@dataclass(frozen=True, slots=True)
class Swap:
    """The new order: ``used`` is how much of the return's worth pays for it."""

    order_id: str
    used: int
    writes: list[Write]


def exchange(
    orders: DynamoOrders, inventory: DynamoInventory, order: Order, found: Return, worth: int, now: datetime
) -> Swap | None:
    """The new order with its stock, or None when it cannot be had: then the money goes back.

    What it costs more than ``worth`` waits for its payment like any order; what it costs less is the caller's to give
    back. Shipping is on the shop. The actions fail when somebody takes the stock in between: call this again.
    """
    products = inventory.products(found.exchange)
    parts = {part for product in products.values() for part in product.kit} - products.keys()
    stocked = {**products, **(inventory.products(parts) if parts else {})}
    if products.keys() != found.exchange.keys() or any(one.currency != order.currency for one in products.values()):
        return None
    wanted = [(products[sku], units) for sku, units in found.exchange.items()]
    priced = pricing.price(
        wanted, country=order.address["country"], currency=order.currency, shipping_method=order.shipping_method
    )
    items, tax = priced.totals.items, sum(line.tax for line in priced.lines)
    used = min(worth, items + tax)
    totals = replace(priced.totals, shipping=0, tax=tax, discount=used)
    order_id = order_id_for("exchange", found.return_id)
    takes: list[Write] = []
    for sku, units in demand(wanted).items():
        if sku not in stocked:
            return None
        home = home_stripe(home_seed(order_id), stocked[sku].stripes)
        planned = spread(sku, units, inventory.stripes(stocked[sku]), home)
        if sum(take.quantity for take in planned) < units:
            return None
        takes += [inventory.take(take, f"order:{order_id}", now) for take in planned]
    paid = not totals.total
    new = Order(
        order_id=order_id,
        channel=order.channel,
        status=Status.CONFIRMED if paid else Status.PLACED,
        customer=order.customer,
        address=order.address,
        lines=priced.lines,
        currency=order.currency,
        totals=totals,
        payment=Payment() if paid else Payment(status="pending", provider="stripe"),
        placed_at=to_text(now),
        expires_at=to_text(now + PAY_WITHIN),
        shipping_method=order.shipping_method,
        orders_before=order.orders_before,
        exchange_of=found.return_id,
        effects=(Effect.START_FULFILLMENT,) if paid else (),
    )
    new = rated(new, current_rules(orders.table))
    event = Event("OrderPlaced", "system", f"exchange for {found.return_id}", {"channel": new.channel, "credit": used})
    _, creation = orders.creation(new, event, now)
    return Swap(order_id, used, [*(_named(write) for write in creation), *takes])


def _named(write: Write) -> Write:
    """The new order's actions under a label of their own: ``order`` means the order that is being changed."""
    return replace(write, label=f"exchange {write.label}")


def give_credit_back(orders: DynamoOrders, order: Order, now: datetime) -> None:
    """An exchange that ended gives what the return was worth back as money, once, from the order that was paid."""
    first, _, _ = order.exchange_of.rpartition(".")

    def owed(before: Order) -> Change | None:
        if orders.has_seen("exchange-credit", order.order_id):
            raise AlreadyApplied
        credit = order.totals.discount - sum(line.discount for line in order.lines)
        after = replace(before, moved_credit=before.moved_credit - credit)
        why = "the exchange was cancelled"
        after, refund = request_refund(orders.table, after, credit, why, now, concession=True)
        event = Event("ExchangeCancelled", "system", "the exchange ended", {"refund": credit})
        return Change(after, event, [*refund, orders.inbox("exchange-credit", order.order_id, now)])

    def done(ended: Order) -> Change | None:
        if Effect.RETURN_CREDIT not in ended.effects:
            return None
        return Change(
            ended.without_effect(Effect.RETURN_CREDIT), Event("CreditReturned", "system", f"return {order.exchange_of}")
        )

    with suppress(AlreadyApplied):
        orders.change(first, owed, now)
    orders.change(order.order_id, done, now)
