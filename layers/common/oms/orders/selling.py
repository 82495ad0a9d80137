"""Selling by staff: orders that an agent takes by phone, and what a till sells.

An order by phone is like a shopper's: its stock is taken with it, it may be refused, and it is sent. What a till hands
over at once has happened: it is recorded with its money, its stock and its leaving in one transaction, and is never
refused for lack of stock or for the price that was charged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from oms.fulfillment.counter import CounterSales, hand_over, missing
from oms.fulfillment.facilities import Facility, facilities
from oms.inventory.model import Product
from oms.orders import pricing
from oms.orders.discounting import Discounts, Limits, discounts_of, limits_of, require_credit, require_within, within
from oms.orders.model import Effect, Event, Order, Payment, Status, order_id_for
from oms.orders.paying import CARD_LINK
from oms.orders.placing import (
    PlaceOrders,
    count_placed,
    customer_id_for,
    first_facts,
    priceable,
    request_digest,
)
from oms.orders.reading import backordered_view, totals_view
from oms.orders.reservation import Placed
from oms.orders.store import OrderExists, order_key
from oms.payments import ledger
from oms.payments.cases import PRICE_DIFFERENCE, Cases
from oms.runtime import errors, telemetry
from oms.runtime.clock import from_text, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Write
from oms.runtime.http import field_problem

if TYPE_CHECKING:
    from oms.orders.staff_forms import DraftForm, StaffOrderForm

TAKEN_BACK, TAKEN_AHEAD = timedelta(hours=48), timedelta(minutes=5)
"""How far a till's clock may be behind ours when it tells us, and ahead."""
_TERMS_DAYS = 30
_ATTEMPTS = 8
SOLD_BY: Mapping[str, frozenset[str]] = {
    "phone": frozenset({"agent", "ops"}),
    "pos": frozenset({"pos", "ops"}),
}
"""The staff groups that sell through a channel."""


@dataclass(frozen=True, slots=True)
class Seller:
    """Who of the staff sells."""

    actor: str
    groups: frozenset[str]

    def require_channel(self, channel: str) -> None:
        """Raises ``Forbidden`` when this is not one of the seller's channels."""
        if not self.groups & SOLD_BY[channel]:
            raise errors.Forbidden(
                f"Selling through {channel} needs one of the groups: {', '.join(sorted(SOLD_BY[channel]))}."
            )


@dataclass(frozen=True, slots=True)
class Basket:
    """What a sale costs, and what was taken off it."""

    wanted: Sequence[tuple[Product, int]]
    priced: pricing.Priced
    discounts: Discounts
    country: str


@dataclass(frozen=True, slots=True)
class SellByStaff:
    """The use cases of agents and tills. One idempotency key is one sale, however late it is sent again."""

    placing: PlaceOrders
    limits: Mapping[str, Mapping[str, int]]
    """``Limits`` by staff group."""
    link_life: timedelta
    """How long an order that is to be paid by a link waits for it."""
    pay_url: str
    """Empty where no link can be sent."""

    def place(self, form: StaffOrderForm, key: str, seller: Seller) -> dict[str, Any]:
        """Place an order once per channel and ``key``, and say what the request is answered.

        Raises ``IdempotencyKeyReused``, ``InvalidRequest``, ``Forbidden`` above the seller's limits, ``Conflict``, also
        for a coupon that does not hold, and ``OutOfStock`` for what is not handed over at once.
        """
        digest = request_digest(form.model_dump(mode="json", exclude_none=True))
        return self.place_as(form, order_id_for(form.channel, key), digest, seller, "POST /staff/orders")

    def place_as(
        self,
        form: StaffOrderForm,
        order_id: str,
        digest: bytes,
        seller: Seller,
        cause: str,
        writes: tuple[Write, ...] = (),
    ) -> dict[str, Any]:
        """The same under an id of the caller's. ``writes`` join the transaction, and ``ConditionsFailed`` is raised
        when a condition of theirs does not hold."""
        seller.require_channel(form.channel)
        try:
            order = self._create(form, order_id, digest, seller, cause, writes)
        except OrderExists as exists:
            order = self.placing.same_request(exists.found, digest)
        except (errors.DomainError, ConditionsFailed):
            # A repeat is answered as the first time, whatever has become of the goods, the prices or the clock.
            found = self.placing.orders.get(order_id)
            if found is None:
                raise
            order = self.placing.same_request(found, digest)
        return self._finished(order, seller)

    def answer_again(self, order_id: str, digest: bytes, seller: Seller) -> dict[str, Any] | None:
        """The answer to a repeat; None when there is no such order. Raises ``IdempotencyKeyReused``."""
        found = self.placing.orders.get(order_id)
        return self._finished(self.placing.same_request(found, digest), seller) if found else None

    def _finished(self, order: Order, seller: Seller) -> dict[str, Any]:
        if order.counter and order.promised():
            # Too much for one transaction, or for the books; whoever died in between is met by the till's repeat.
            counter = CounterSales(self.placing.orders, self.placing.inventory, self.placing.clock)
            order = counter.go_on(order.order_id, actor=seller.actor)
        return self._answer(order)

    def basket(self, form: DraftForm, products: Mapping[str, Product], country: str) -> Basket:
        """What an order costs now. Raises ``InvalidRequest``."""
        wanted = priceable(form.lines, form.currency, products, archived=bool(form.counter))
        discounts = discounts_of(wanted, form.lines, form.discount)
        priced = pricing.price(
            wanted,
            country=country,
            currency=form.currency,
            shipping_method=form.method,
            discounts=discounts.by_line,
        )
        return Basket(wanted, priced, discounts, country)

    def limits_of(self, seller: Seller) -> Limits:
        """What the seller may grant."""
        return limits_of(seller.groups, self.limits)

    def store(self, code: str) -> Facility:
        """A facility that hands goods over. Raises ``InvalidRequest``."""
        found = facilities(self.placing.inventory, [code]).get(code)
        if found is None or not found.pickup or not found.active:
            raise field_problem([("counter", f"{code} is no open store that hands goods over")])
        return found

    # ---- placing ---------------------------------------------------------------------------------------------------

    def _create(
        self,
        form: StaffOrderForm,
        order_id: str,
        digest: bytes,
        seller: Seller,
        cause: str,
        writes: tuple[Write, ...],
    ) -> Order:
        now = self.placing.clock()
        taken_at = _taken_at(form, now)
        if form.deliver_by and form.deliver_by < to_text(now)[:10]:
            raise field_problem([("deliver_by", "must not be over")])
        store = self.store(form.counter) if form.counter else None
        address = address_of(form, store)
        products = self.placing.products([line.sku for line in form.lines])
        basket = self.basket(form, products, address["country"])
        limits, offered = self.limits_of(seller), basket
        facts: dict[str, Any] = {}
        if form.charged_total is None:
            require_within(limits, basket.priced.totals.items, basket.discounts.total)
        elif form.charged_total != basket.priced.totals.total:
            basket = replace(basket, priced=pricing.charged(basket.priced, form.charged_total, basket.country))
        ours = offered.priced.totals.total
        if basket.priced.totals.total <= 0:
            raise field_problem([("discount", "leaves nothing to pay")])
        if form.payment.method == CARD_LINK and not self.pay_url:
            raise errors.Conflict("No link can be sent: MerchantPayUrl is empty.", extra={"code": "no_pay_page"})
        if basket.discounts.told:
            facts["discounts"] = [dict(each) for each in basket.discounts.told]
        if taken_at:
            facts["taken_at"] = taken_at
        beyond = not within(limits, offered.priced.totals.items, offered.discounts.total)
        if form.charged_total is not None and (form.charged_total != ours or beyond):
            # It has happened, so it is no error of the request; somebody may want to know why.
            facts |= {"our_total": ours, "beyond_limit": beyond}
            charged = {"charged": form.charged_total, "ours": ours, "beyond_limit": beyond, "by": seller.actor}
            data = {"order_id": order_id, **charged}
            writes = (*writes, Cases(self.placing.orders.table).opening(PRICE_DIFFERENCE, order_id, now, data))
            telemetry.count("TillPriceDifferences")
        order = self.order(form, order_id, basket, address, now)
        order = replace(order, request_digest=digest, taken_at=taken_at)

        def sell(order: Order, joined: tuple[Write, ...], known: Mapping[str, Product]) -> Order:
            return self._sell(order, form, seller, cause, facts, known, now, joined)

        def with_gifts(order: Order, joined: tuple[Write, ...]) -> Order:
            if order.counter:
                # What is handed over has left with its customer: nothing can be put beside it any more.
                return sell(order, (*writes, *joined), products)
            return self.placing.gifts.place(order, (*writes, *joined), products, now, sell)

        order = self.placing.coupons.place(order, form.codes, now, with_gifts)
        count_placed(order)
        if order.counter and order.oversold:
            telemetry.count("OversoldUnits", sum(order.oversold.values()), channel=order.channel)
            telemetry.logger.warning(
                "order_oversold", order_id=order_id, channel=order.channel, units=dict(order.oversold)
            )
        return order

    def order(self, form: DraftForm, order_id: str, basket: Basket, address: Mapping[str, str], now: datetime) -> Order:
        """The order that a form asks for, before coupons, gifts and its payment."""
        return Order(
            order_id=order_id,
            channel=form.channel,
            status=Status.PLACED,
            customer=_customer(form, order_id),
            address=address,
            lines=basket.priced.lines,
            currency=form.currency,
            totals=basket.priced.totals,
            payment=Payment(),
            placed_at=to_text(now),
            expires_at=to_text(now),
            shipping_method=form.method,
            note=form.note or "",
            gift=form.gift.told() if form.gift else {},
            promised_for=form.deliver_by or "",
            counter=form.counter or "",
        )

    def _sell(
        self,
        order: Order,
        form: StaffOrderForm,
        seller: Seller,
        cause: str,
        facts: Mapping[str, Any],
        products: Mapping[str, Product],
        now: datetime,
        writes: tuple[Write, ...],
    ) -> Order:
        """Make an order whose total is final, with its money."""
        total = order.totals.total
        if form.payment.method == "invoice":
            require_credit(self.limits_of(seller), total)
        entry = _entry(form, order.order_id, total, seller, order.taken_at) if total else None
        order = self._paid(order, form, entry, now)
        if order.status is Status.CONFIRMED and not order.counter:
            order = order.with_effects(Effect.START_FULFILLMENT)
        order = self.placing.rated(order)
        if total:
            facts = {"method": form.payment.method, **facts}
        told = [Event("OrderPlaced", seller.actor, cause, {**first_facts(order), **facts})]
        if entry:
            told.append(_money_event(entry, cause))
            writes = (*writes, ledger.append(self.placing.orders.table, order.order_id, entry, now))
        return self._reserve(order, told, products, now, writes)

    def _paid(self, order: Order, form: StaffOrderForm, entry: ledger.Entry | None, now: datetime) -> Order:
        if not order.totals.total:
            # Nothing is to be paid, so nothing is waited for.
            return order.moved_to(Status.CONFIRMED)
        if entry is None:
            payment, expires = self.placing.own_payment(), to_text(now + self.link_life)
            return replace(order, payment=payment, expires_at=expires)
        payment = ledger.with_entry(Payment(), entry)
        if form.payment.method == "invoice":
            days = form.payment.terms_days or _TERMS_DAYS
            payment = replace(payment, due_at=to_text(now + timedelta(days=days)))
        return replace(order.moved_to(Status.CONFIRMED), payment=payment)

    def _reserve(
        self, order: Order, told: list[Event], products: Mapping[str, Product], now: datetime, writes: tuple[Write, ...]
    ) -> Order:
        """Create the order with its stock; with its leaving, if it is handed over at once."""
        placing = self.placing
        counter = CounterSales(placing.orders, placing.inventory, placing.clock)
        for attempt in range(_ATTEMPTS):
            places = counter.places(order) if order.counter else {}

            def finish(short: Order, first: Event) -> Placed:
                events = [first, *told[1:]]
                if not order.counter:
                    return Placed(short, tuple(events))
                left = hand_over(placing.orders, placing.inventory, short, places, now)  # noqa: B023 - used at once
                if left.parcel:
                    events.append(left.event(told[0].actor, told[0].cause))
                events[0] = replace(first, data={**first.data, "status": str(left.order.status)})
                return Placed(left.order, tuple(events), left.writes)

            try:
                return placing.reservations.create(
                    order,
                    told[0],
                    products,
                    now,
                    may_oversell=bool(order.counter),
                    writes=writes,
                    finish=finish,
                )
            except ConditionsFailed as failed:
                # Somebody took from the same shelf since it was read; what else is refused is for the caller.
                if not all(refusal.write.label.startswith(("hand over ", "take ")) for refusal in failed.refusals):
                    raise
                placing.orders.table.back_off(attempt)
        raise Contention(f"counter sale {order.order_id}")

    # ---- answers ---------------------------------------------------------------------------------------------------

    def _answer(self, order: Order) -> dict[str, Any]:
        """What the request is answered: the order as it stands."""
        first = self.placing.orders.table.get(order_key(order.order_id), "EVENT#000001") or {}
        facts = first.get("data", {})
        by_link = facts.get("method") == CARD_LINK
        return {
            "order_id": order.order_id,
            "channel": order.channel,
            "status": order.status.value,
            "currency": order.currency,
            "total": order.totals.total,
            "totals": totals_view(order),
            "payment": {"method": facts.get("method", ""), "due_at": order.payment.due_at or None},
            "our_total": facts.get("our_total"),
            "order_token": self.placing.token(order),
            "placed_at": order.placed_at,
            "taken_at": order.taken_at or None,
            "expires_at": order.expires_at if by_link else None,
            "backordered": backordered_view(order),
            "not_on_the_books": missing(order),
        }


def _taken_at(form: StaffOrderForm, now: datetime) -> str:
    if not form.taken_at:
        return ""
    taken = from_text(form.taken_at).astimezone(UTC)
    if not now - TAKEN_BACK <= taken <= now + TAKEN_AHEAD:
        hours, minutes = int(TAKEN_BACK.total_seconds() // 3600), int(TAKEN_AHEAD.total_seconds() // 60)
        wrong = f"at most {hours} hours before {to_text(now)} and {minutes} minutes after it; check the till's clock"
        raise field_problem([("taken_at", wrong)])
    return to_text(taken)


def address_of(form: DraftForm, store: Facility | None) -> dict[str, str]:
    """Where the goods go: for what is handed over, the store, whose country's tax it is."""
    if store is None:
        return form.shipping_address.model_dump(exclude_none=True) if form.shipping_address else {}
    told = store.address
    return {
        "name": told.name,
        "line1": told.line1,
        "line2": told.line2,
        "city": told.city,
        "region": told.region,
        "postal_code": told.postal_code,
        "country": told.country,
    }


def _customer(form: DraftForm, order_id: str) -> dict[str, str]:
    """Who buys. Somebody who says nothing is a customer of their own: walk-ins are not one person."""
    told = form.customer.model_dump(exclude_none=True) if form.customer else {}
    identity = f"walk-in:{order_id}"
    if told.get("phone"):
        identity = "phone:" + "".join(letter for letter in told["phone"] if letter.isdigit())
    if told.get("email"):
        identity = told["email"]
    return {"id": customer_id_for(identity), **told}


def _entry(form: StaffOrderForm, order_id: str, total: int, seller: Seller, taken_at: str) -> ledger.Entry | None:
    """The ledger's entry for what was taken or granted; None for what a link brings."""
    method = form.payment.method
    if method == CARD_LINK:
        return None
    return ledger.Entry(
        "credit" if method == "invoice" else "captured",
        method,
        f"{method}:{order_id}:sale",
        total,
        form.currency,
        "sale by staff",
        reference=form.payment.reference or "",
        agent=seller.actor,
        taken_at=taken_at,
    )


def _money_event(entry: ledger.Entry, cause: str) -> Event:
    data = {
        "method": entry.provider,
        "amount": entry.amount,
        "currency": entry.currency,
        "reference": entry.reference,
        "total": entry.amount,
    }
    return Event("CreditGranted" if entry.kind == "credit" else "PaymentCaptured", entry.agent, cause, data)
