"""Placing orders: the shopper's own, which may be refused, and the marketplaces', which have happened already."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from oms.customers.giving import GiveGifts
from oms.inventory.model import Product
from oms.inventory.store import DynamoInventory
from oms.orders import pricing, priority
from oms.orders.access import issue_token
from oms.orders.coupon_book import CouponBook
from oms.orders.model import (
    ON_SHIPMENT,
    RENEW,
    Effect,
    Event,
    Hold,
    Line,
    Order,
    Payment,
    Status,
    Totals,
    order_id_for,
)
from oms.orders.paying import PROVIDER, not_payable, spent, unpayable
from oms.orders.reservation import Reservations
from oms.orders.store import AlreadyApplied, Change, DynamoOrders, OrderExists
from oms.payments import ledger
from oms.payments.port import KEYS_LAST, Intent, PaymentGateway, PaymentProviderUnavailable, PaymentRefused
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import Write
from oms.runtime.http import field_problem

if TYPE_CHECKING:
    from oms.channels.port import ExternalOrder
    from oms.orders.forms import LineForm, PlaceOrderForm

WEB = "web"
_PENDING_FOR = timedelta(days=21)
"""Longer than a marketplace lets an order wait for its payment: it cancels such orders itself."""
_CUSTOMERS = uuid.UUID("5d3c8f0a-0b1e-5c52-8e62-1f7c3a9d4e21")


@dataclass(frozen=True, slots=True)
class Placement:
    """A placed order with what the shopper's browser needs to pay and to come back."""

    order: Order
    client_secret: str
    """Empty when nothing is to be paid."""
    order_token: str


@dataclass(frozen=True, slots=True)
class PlaceOrders:
    """The use cases of placing, with everything they touch."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock
    gateway: Callable[[], PaymentGateway]
    token_keys: Callable[[], Sequence[str]]
    unpaid_expiry: timedelta
    token_life: timedelta
    coupons: CouponBook
    gifts: GiveGifts
    priority_rules: Callable[[], priority.Rules]
    orders_of: Callable[[str], int | None]
    """How many orders the person behind a customer id has made; None when that is not known."""
    capture_mode: str = "automatic"
    """``automatic`` or ``on_shipment``, for orders that do not say."""
    lapsing: str = "capture"
    """What happens to an authorisation that would lapse: ``capture`` takes it early, ``renew`` renews it."""

    @property
    def reservations(self) -> Reservations:
        return Reservations(self.orders, self.inventory)

    def place(self, form: PlaceOrderForm, key: str) -> Placement:
        """Place a shopper's order and open its payment.

        The same key and body give the same answer, however late. Raises ``IdempotencyKeyReused``, ``OutOfStock``,
        ``InvalidRequest`` for SKUs that cannot be bought so, ``Conflict`` for a coupon that does not hold, and
        ``Unavailable`` when the order stands but the payment provider does not answer.
        """
        digest = request_digest(form.model_dump(mode="json", exclude_none=True))
        order_id = order_id_for(WEB, key)
        try:
            order = self._create(form, order_id, digest)
        except OrderExists as exists:
            order = self.same_request(exists.found, digest)
        except errors.DomainError:
            # A repeat is answered as the first time, even if the product has since been sold out or withdrawn.
            found = self.orders.get(order_id)
            if found is None:
                raise
            order = self.same_request(found, digest)
        free = not order.payment.provider
        return Placement(order, "" if free else self._own_intent(order).client_secret, self.token(order))

    def token(self, order: Order) -> str:
        """The order's own token: the same one at every call while the signing key lasts."""
        ends = from_text(order.placed_at) + self.token_life
        return issue_token(order.order_id, ends, self.token_keys())

    def payment(self, order: Order) -> Intent:
        """The order's own intent while the order can be paid by it.

        Raises ``Conflict`` with the reason as its code when it cannot, ``Unavailable`` when the provider does not
        answer.
        """
        why_not = unpayable(order, self.clock())
        if why_not:
            raise not_payable(why_not)
        intent = self._own_intent(order, fresh=True)
        why_not = spent(intent)
        if why_not:
            raise not_payable(why_not)
        return intent

    def _create(self, form: PlaceOrderForm, order_id: str, digest: bytes) -> Order:
        now = self.clock()
        products = self.products([line.sku for line in form.lines])
        wanted = priceable(form.lines, form.currency, products)
        priced = pricing.price(
            wanted,
            country=form.shipping_address.country,
            currency=form.currency,
            shipping_method=form.shipping_method,
        )
        if form.deliver_by and form.deliver_by < to_text(now)[:10]:
            raise field_problem([("deliver_by", "must not be over")])
        order = Order(
            order_id=order_id,
            channel=WEB,
            status=Status.PLACED,
            customer={"id": customer_id_for(form.customer.email), **form.customer.model_dump(exclude_none=True)},
            address=form.shipping_address.model_dump(exclude_none=True),
            lines=priced.lines,
            currency=form.currency,
            totals=priced.totals,
            payment=self.own_payment(form.capture),
            placed_at=to_text(now),
            expires_at=to_text(now + self.unpaid_expiry),
            request_digest=digest,
            shipping_method=form.shipping_method,
            note=form.note or "",
            gift=form.gift.told() if form.gift else {},
            promised_for=form.deliver_by or "",
        )
        try:
            reserve = partial(self._reserve, now=now)
            order = self.coupons.place(
                order, form.codes, now, lambda taken, writes: self.gifts.place(taken, writes, products, now, reserve)
            )
        except errors.OutOfStock:
            telemetry.count("OrdersRefused")
            raise
        count_placed(order)
        return order

    def _reserve(
        self, order: Order, writes: tuple[Write, ...], products: Mapping[str, Product], *, now: datetime
    ) -> Order:
        if not order.totals.total:
            # Nothing is to be paid, so nothing is waited for.
            order = replace(order.moved_to(Status.CONFIRMED), payment=Payment()).with_effects(Effect.START_FULFILLMENT)
        order = self.rated(order)
        event = Event("OrderPlaced", "customer", "POST /orders", first_facts(order))
        return self.reservations.create(order, event, products, now, writes=writes)

    def own_payment(self, capture: str | None = None) -> Payment:
        """The payment of an order that its customer will pay by its own intent, in the shop's mode unless one is
        told."""
        mode = ON_SHIPMENT if (capture or self.capture_mode) == ON_SHIPMENT else ""
        renew = mode == ON_SHIPMENT and self.lapsing == RENEW
        return Payment(status="pending", provider=PROVIDER, capture=mode, renew=renew)

    def rated(self, order: Order) -> Order:
        """A new order with how many its customer had before, and the codes that the merchant's rules give it."""
        known = replace(order, orders_before=self.orders_of(order.customer["id"]))
        return priority.rated(known, self.priority_rules())

    def products(self, skus: Sequence[str]) -> dict[str, Product]:
        """Products by SKU, with those that kits among them consist of."""
        products = self.inventory.products(skus, fresh=False)
        parts = {part for product in products.values() for part in product.kit} - products.keys()
        return {**products, **(self.inventory.products(parts, fresh=False) if parts else {})}

    def same_request(self, found: Order, digest: bytes) -> Order:
        """The order that a repeat meets. Raises ``IdempotencyKeyReused`` when another request placed it."""
        if found.request_digest != digest:
            raise errors.IdempotencyKeyReused("This key was used for another order; use a new key for a new order.")
        if not found.committed:
            raise errors.Unavailable("This order is still being placed.", retry_after=1)
        return found

    def _own_intent(self, order: Order, *, fresh: bool = False) -> Intent:
        gateway = self.gateway()
        try:
            if order.payment.intent:
                return gateway.get_intent(order.payment.intent)
            found = self._first_intent(gateway, order)
            # Who repeats a key is answered as the first time, however the intent stands by now.
            return gateway.get_intent(found.id) if fresh else found
        except PaymentProviderUnavailable:
            raise errors.Unavailable(
                "The order stands, but the payment provider does not answer. Send the same request again.",
                extra={"order_id": order.order_id},
                retry_after=5,
            ) from None
        except PaymentRefused as refused:
            raise errors.Conflict(
                "The payment provider does not take this payment.", extra={"provider_code": refused.code}
            ) from None

    def _first_intent(self, gateway: PaymentGateway, order: Order) -> Intent:
        if self.clock() - from_text(order.placed_at) > KEYS_LAST:
            found = gateway.find_intent(order.order_id)
            if found:
                return found
        return gateway.open_intent(
            order.order_id,
            order.totals.total,
            order.currency,
            manual_capture=order.payment.capture == ON_SHIPMENT,
            keep_card=order.payment.renew,
        )

    # ---- marketplaces ----------------------------------------------------------------------------------------------

    def take_in(self, channel: str, external: ExternalOrder) -> Order | None:
        """Take in a marketplace's order once, however it reaches us. None while it is not paid, unless it takes units
        off sale already: then it holds its stock, and waits.

        What we have no stock for is recorded as oversold and held for a person. An order that the marketplace
        cancelled before we heard of it is not taken in.
        """
        order_id = order_id_for(channel, external.external_id)
        known = self.orders.get(order_id)
        if known:
            return self._paid_since(known, channel, external) if external.paid else known
        if external.cancelled or not (external.paid or external.reserves):
            return None
        now = self.clock()
        products = self.products([line.sku for line in external.lines])
        unknown = [line.sku for line in external.lines if line.sku not in products]
        # A SKU we do not know sells nothing of ours: it is oversold as a whole and waits for a person.
        for line in external.lines:
            products.setdefault(line.sku, Product(line.sku, line.title, line.unit_price, external.currency))
        order = self._from_external(channel, external, order_id, products, to_text(now))
        entry = _paid_there(channel, external)
        money: tuple[Write, ...] = ()
        if external.paid:
            order = replace(order, payment=ledger.with_entry(order.payment, entry))
            money = (ledger.append(self.orders.table, order_id, entry, now),)
        else:
            order = replace(
                order.without_effect(Effect.START_FULFILLMENT),
                status=Status.PLACED,
                payment=Payment(status="pending", provider=channel),
                expires_at=to_text(now + _PENDING_FOR),
            )
        if unknown:
            hold = Hold("unknown SKU", "catalogue", to_text(now), to_text(now + timedelta(hours=4)))
            order = replace(order, holds={"inventory": hold})
        event = Event(
            "OrderPlaced", f"channel:{channel}", f"{channel} order {external.external_id}", first_facts(order)
        )
        try:
            order = self.reservations.create(
                order,
                event,
                products,
                now,
                may_oversell=True,
                writes=money,
            )
        except OrderExists as exists:
            return exists.found
        if order.oversold:
            telemetry.count("OversoldUnits", sum(order.oversold.values()), channel=channel)
            telemetry.logger.warning("order_oversold", order_id=order_id, channel=channel, units=dict(order.oversold))
        count_placed(order)
        return order

    def _paid_since(self, order: Order, channel: str, external: ExternalOrder) -> Order:
        """A pending order's payment came through: its amounts and its address are told only now."""
        now = self.clock()
        entry = _paid_there(channel, external)

        def decide(order: Order) -> Change | None:
            if order.status is not Status.PLACED:
                return None
            products = {line.sku: Product(line.sku, "", 0, external.currency, kit=line.parts) for line in order.lines}
            prices = {line.external_line_id: line.unit_price for line in external.lines}
            known = [line for line in external.lines if line.sku in products]
            told = self._from_external(
                channel, replace(external, lines=tuple(known)), order.order_id, products, order.placed_at
            )
            after = replace(
                order.moved_to(Status.CONFIRMED),
                customer=told.customer,
                address=told.address,
                currency=told.currency,
                totals=told.totals,
                lines=tuple(
                    replace(line, unit_price=prices.get(line.external_id, line.unit_price)) for line in order.lines
                ),
                payment=ledger.with_entry(order.payment, entry),
                priority_score=told.priority_score,
                priority_codes=told.priority_codes,
                priority_rules=told.priority_rules,
                orders_before=told.orders_before,
                promised_for=told.promised_for,
            ).with_effects(Effect.START_FULFILLMENT)
            event = Event(
                "PaymentCaptured", f"channel:{channel}", entry.cause, {"amount": entry.amount, "total": entry.amount}
            )
            return Change(after, event, [ledger.append(self.orders.table, order.order_id, entry, now)])

        if order.status is not Status.PLACED:
            return order
        try:
            return self.orders.change(order.order_id, decide, now)
        except AlreadyApplied:
            return self.orders.require(order.order_id)

    def _from_external(
        self, channel: str, external: ExternalOrder, order_id: str, products: Mapping[str, Product], now: str
    ) -> Order:
        address = external.address
        lines = tuple(
            Line(
                number=number,
                sku=line.sku,
                quantity=line.quantity,
                unit_price=line.unit_price,
                parts=products[line.sku].kit,
                external_id=line.external_line_id,
            )
            for number, line in enumerate(external.lines, start=1)
        )
        # What the buyer paid is the truth; marketplaces differ in whether their parts include tax and coupons.
        listed = external.items_total + external.shipping_total + external.tax_total
        totals = Totals(
            external.items_total, external.shipping_total, external.tax_total, listed - external.grand_total
        )
        order = Order(
            order_id=order_id,
            channel=channel,
            status=Status.CONFIRMED,
            customer={
                # Buyers whom the channel does not name are not all one customer.
                "id": customer_id_for(f"{channel}:{external.buyer_id or f'order:{external.external_id}'}"),
                "name": external.buyer_name,
                "email": external.buyer_email or "",
            },
            address={
                "name": address.name,
                "line1": address.line1,
                "line2": address.line2,
                "city": address.city,
                "region": address.region,
                "postal_code": address.postal_code,
                "country": address.country,
            },
            lines=lines,
            currency=external.currency,
            totals=totals,
            payment=Payment(),
            placed_at=now,
            expires_at=now,
            external_id=external.external_id,
            promised_for=external.promised_for,
        )
        return self.rated(order).with_effects(Effect.START_FULFILLMENT)


def _paid_there(channel: str, external: ExternalOrder) -> ledger.Entry:
    return ledger.Entry(
        "captured",
        channel,
        external.external_id,
        external.grand_total,
        external.currency,
        f"{channel} order",
        fee=external.fees,
    )


def request_digest(body: Mapping[str, Any]) -> bytes:
    """What must be equal for two requests with one key to be the same request."""
    spelled = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(spelled.encode()).digest()


def customer_id_for(identity: str) -> str:
    """A customer's id: the same person by the same e-mail (or marketplace account), and no way back from it."""
    return uuid.uuid5(_CUSTOMERS, identity.strip().lower()).hex[:20]


def priceable(
    lines: Sequence[LineForm], currency: str, products: Mapping[str, Product], *, archived: bool = False
) -> list[tuple[Product, int]]:
    """The products of an order's lines; ``archived`` ones too where the goods are gone already.

    Raises ``InvalidRequest`` naming each line that cannot be sold so.
    """
    wrong: list[tuple[str, str]] = []
    wanted: list[tuple[Product, int]] = []
    for index, line in enumerate(lines):
        product = products.get(line.sku)
        if product is None:
            wrong.append((f"lines[{index}].sku", f"there is no product {line.sku}"))
        elif product.archived and not archived:
            wrong.append((f"lines[{index}].sku", f"{line.sku} is no longer sold"))
        elif product.currency != currency:
            wrong.append((f"lines[{index}].sku", f"{line.sku} is sold in {product.currency}, not {currency}"))
        else:
            wanted.append((product, line.quantity))
    if wrong:
        raise field_problem(wrong)
    return wanted


def first_facts(order: Order) -> dict[str, Any]:
    """What the first event tells: the order in figures, and no person."""
    facts: dict[str, Any] = {
        "channel": order.channel,
        "status": str(order.status),
        "lines": len(order.lines),
        "units": sum(line.quantity for line in order.lines),
        "total": order.totals.total,
        "currency": order.currency,
    }
    if order.rewards:
        facts["gifts"] = [order.lines[each.line - 1].sku for each in order.rewards]
    if order.coupons:
        facts["coupons"] = [each.code for each in order.coupons]
    if order.external_id:
        facts["external_id"] = order.external_id
    return facts


def count_placed(order: Order) -> None:
    """Count and log a new order."""
    telemetry.count("OrdersPlaced", channel=order.channel)
    telemetry.count("OrderValue", order.totals.total, channel=order.channel)
    telemetry.logger.info(
        "order_placed",
        order_id=order.order_id,
        channel=order.channel,
        total_minor=order.totals.total,
        currency=order.currency,
        lines=len(order.lines),
    )
