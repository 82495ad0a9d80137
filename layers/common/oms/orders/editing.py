"""Changing an order before its goods are picked: more, less, something else, another address; first as a preview of the
money and the stock, then exactly that preview in one transaction.

What the change costs more is asked for, and the order waits under a ``payment`` hold until it is covered; what it costs
less goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from oms.fulfillment.pausing import begun_anew
from oms.fulfillment.shipments import (
    INLINE_PLACES,
    LEFT,
    DynamoShipments,
    ShipmentStatus,
    cancellation,
    change_with_shipments,
)
from oms.fulfillment.withdrawing import repack
from oms.inventory.model import Product, home_stripe, spread
from oms.inventory.store import DynamoInventory
from oms.orders import pricing
from oms.orders.holding import AWAITS_CUSTOMER
from oms.orders.model import Effect, Event, Hold, Line, Order, Status, home_seed
from oms.orders.once import answer_with, answered, digest_of
from oms.orders.priority import rated
from oms.orders.priority_rules import current_rules
from oms.orders.refunds import request_refund
from oms.orders.reservation import INLINE_SKUS, Reservations
from oms.orders.store import Change, DynamoOrders
from oms.payments.coverage import overpaid, owed
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Item, Write

if TYPE_CHECKING:
    from oms.payments.port import PaymentGateway

PAY_WITHIN = timedelta(days=3)
_ALIVE = frozenset({Status.CONFIRMED, Status.IN_FULFILLMENT})


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to change: new quantities by line number (0 takes a line out), units by SKU that join, the address."""

    lines: Mapping[int, int]
    added: Mapping[str, int]
    address: Mapping[str, str] | None

    def told(self) -> list[Any]:
        """What makes two edits the same."""
        return [{str(line): units for line, units in self.lines.items()}, dict(self.added), self.address]


@dataclass(frozen=True, slots=True)
class EditOrders:
    """Previews and the changes that confirm them."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock
    gateway: Callable[[], PaymentGateway]

    def preview(self, order_id: str, edit: Edit) -> dict[str, Any]:
        """What the edit would cost and take. It holds for the order as it is now: any change of it asks for another.

        Raises ``NotFound``, ``InvalidRequest``, and ``Conflict`` when picking has begun.
        """
        order = self.orders.require(order_id)
        self._require_editable(order)
        products = self._products(order, edit)
        after = edited(order, edit, products)
        delta = _stock_delta(order, after)
        taken = {sku: units for sku, units in delta.items() if units > 0}
        stock = {sku: self.inventory.level(sku).available for sku in taken}
        return {
            "preview": preview_of(order, edit),
            "order_id": order_id,
            "currency": order.currency,
            **_money(order, after),
            "lines": [
                {"line": line.number, "sku": line.sku, "quantity": line.quantity - line.cancelled, "tax": line.tax}
                for line in after.lines
            ],
            "stock": [
                {"sku": sku, "needed": units, "available": stock[sku], "enough": stock[sku] >= units}
                for sku, units in sorted(taken.items())
            ],
        }

    def confirm(self, order_id: str, edit: Edit, preview: str, *, actor: str, key: str) -> dict[str, Any]:
        """Carry out exactly what was previewed, once per ``key``, and ask for the money that is due.

        Raises ``NotFound``, ``IdempotencyKeyReused``, ``OutOfStock``, ``Conflict`` when the order has changed since
        the preview, and ``Unavailable`` when the edit stands but the payment provider does not answer.
        """
        now, table = self.clock(), self.orders.table
        digest = digest_of([edit.told(), preview])
        answer: Item = {}

        def decide(order: Order) -> Change | None:
            nonlocal answer
            known = answered(table, order_id, "edit", key, digest)
            if known:
                answer = known
                return None
            if preview != preview_of(order, edit):
                raise errors.Conflict(
                    "The order has changed since this preview: ask for another.", extra={"code": "preview_outdated"}
                )
            self._require_editable(order)
            after = rated(edited(order, edit, self._products(order, edit)), current_rules(table))
            money = _money(order, after)
            after, writes = self._restocked(order, after, now)
            after, again = self._laid_out_anew(after, now)
            if money["due"]:
                reason = f"{AWAITS_CUSTOMER} {money['due']}"
                hold = Hold(reason, "customer service", to_text(now), to_text(now + PAY_WITHIN))
                after = replace(after, holds={**after.holds, "payment": hold})
            # Of money that is only authorised, less will be taken; only what we have too much of goes back.
            back = min(money["refund"], overpaid(after)) if after.payment.authorized else money["refund"]
            after, refund = request_refund(table, after, back, "order edited", now)
            data = {
                "lines": {str(line): units for line, units in edit.lines.items()},
                "added": dict(edit.added),
                "address": edit.address is not None,
                **money,
            }
            answer = {"order_id": order_id, "currency": order.currency, "part": f"edit-{order.version + 1}", **money}
            kept = answer_with(table, order_id, "edit", key, digest, answer, now)
            return Change(after, Event("OrderEdited", actor, "edit", data), [*writes, *again, *refund, kept])

        change_with_shipments(self.orders, order_id, decide, now)
        telemetry.count("OrdersEdited")
        told = {name: value for name, value in answer.items() if name != "part"}
        return {**told, "client_secret": self._asked_for(answer) if answer["due"] else None}

    def _asked_for(self, answer: Item) -> str:
        from oms.payments.port import PaymentProviderUnavailable

        try:
            intent = self.gateway().open_intent(
                answer["order_id"], answer["due"], answer["currency"], part=answer["part"]
            )
        except PaymentProviderUnavailable:
            raise errors.Unavailable(
                "The edit stands, but the payment provider does not answer. Send the same request again.",
                retry_after=5,
            ) from None
        return intent.client_secret

    def change_address(self, order_id: str, address: Mapping[str, str], *, actor: str) -> Order:
        """Send what has not left to another address; again is harmless.

        Boxes that are packed, and may have a label with the old address, are packed anew and their labels given back.
        Raises ``NotFound``, and ``Conflict`` when a parcel has left or the price would change: that takes an edit.
        """
        now = self.clock()

        def decide(order: Order) -> Change | None:
            if dict(order.address) == dict(address) and "address" not in order.holds:
                return None
            if order.status not in _ALIVE and order.status is not Status.PLACED:
                raise errors.Conflict(f"The order is {order.status.value}.", extra={"code": "not_editable"})
            if any(line.shipped for line in order.lines):
                raise errors.Conflict("A parcel has left for the old address.", extra={"code": "already_left"})
            moved = edited(order, Edit({}, {}, address), {})
            if moved.totals != order.totals:
                raise errors.Conflict(
                    "The new address changes the price: preview and confirm an edit.", extra={"code": "price_changes"}
                )
            boxes = repack(self.orders.table, self.inventory, order, now)
            holds = {kind: hold for kind, hold in order.holds.items() if kind != "address"}
            after = replace(moved, holds=holds, shipments=boxes.shipments)
            if boxes.spare_label:
                after = after.with_effects(Effect.VOID_LABEL)
            if boxes.restarts and Effect.START_FULFILLMENT not in after.effects:
                after = begun_anew(after)
            data = {"country": address["country"], "repacked": boxes.shipments - order.shipments}
            return Change(after, Event("AddressChanged", actor, "address", data), boxes.writes)

        return change_with_shipments(self.orders, order_id, decide, now)

    # ---- inside --------------------------------------------------------------------------------------------------

    def _require_editable(self, order: Order) -> None:
        if order.external_id:
            raise errors.Conflict(
                f"This sale belongs to {order.channel}: it is changed there.", extra={"code": "channel_owns_sale"}
            )
        if order.status not in _ALIVE or order.exchange_of or order.chunks or order.oversold:
            raise errors.Conflict(
                "Only paid orders that have all their units can be edited; this one is "
                f"{order.status.value}{', waiting for stock' if order.oversold else ''}.",
                extra={"code": "not_editable"},
            )
        begun = [
            one
            for one in DynamoShipments(self.orders.table).of(order.order_id)
            if one.status in LEFT or (one.open and one.status is not ShipmentStatus.ALLOCATED)
        ]
        if begun:
            raise errors.Conflict("Picking has begun: cancel lines instead.", extra={"code": "picking_begun"})

    def _products(self, order: Order, edit: Edit) -> dict[str, Product]:
        products = self.inventory.products(edit.added)
        wrong = [
            ("lines", f"there is no product {sku} in {order.currency}")
            for sku in edit.added
            if sku not in products or products[sku].currency != order.currency
        ]
        wrong += [("lines", f"there is no line {line}") for line in edit.lines if line > len(order.lines)]
        given = {reward.line for reward in order.rewards}
        wrong += [
            ("lines", f"line {line} is a gift: there is one of it")
            for line, units in edit.lines.items()
            if line in given and units > 1
        ]
        if wrong:
            raise errors.InvalidRequest("See errors for what to change.", fields=wrong)
        return products

    def _restocked(self, order: Order, after: Order, now: datetime) -> tuple[Order, list[Write]]:
        """What the edited order needs more is taken, what it needs less is given back."""
        delta = _stock_delta(order, after)
        if len(delta) > INLINE_SKUS:
            raise errors.Conflict(f"Change at most {INLINE_SKUS} SKUs at once.", extra={"code": "too_many"})
        less = {sku: -units for sku, units in delta.items() if units < 0}
        after, writes = Reservations(self.orders, self.inventory).release(after, now, less)
        more = {sku: units for sku, units in delta.items() if units > 0}
        products = self.inventory.products(more)
        short: list[dict[str, object]] = []
        for sku, units in sorted(more.items()):
            stock = self.inventory.stripes(products[sku]) if sku in products else [0]
            home = home_stripe(home_seed(order.order_id), products[sku].stripes) if sku in products else 0
            takes = spread(sku, units, stock, home)
            if sum(take.quantity for take in takes) < units:
                short.append({"sku": sku, "requested": units, "available": sum(stock)})
            writes = [*writes, *(self.inventory.take(take, f"order:{order.order_id}", now) for take in takes)]
        if short:
            names = ", ".join(str(entry["sku"]) for entry in short)
            raise errors.OutOfStock(f"Not enough stock of {names}.", extra={"items": short})
        return after, writes

    def _laid_out_anew(self, after: Order, now: datetime) -> tuple[Order, list[Write]]:
        """Parcels that nobody has begun are given up, and the order is allocated anew."""
        if after.status is not Status.IN_FULFILLMENT:
            return after, []
        items = self.orders.parts(after.order_id, "SHIPMENT#")
        writes = cancellation(self.orders.table, self.inventory, items, now)
        if len(writes) > INLINE_PLACES:
            raise errors.Conflict("The order has too many parcels to be edited.", extra={"code": "too_many"})
        return (after if Effect.START_FULFILLMENT in after.effects else begun_anew(after)), writes


def preview_of(order: Order, edit: Edit) -> str:
    """The name of a preview: of this edit, on this version of the order."""
    return digest_of([order.order_id, order.version, edit.told()])[:32]


def edited(order: Order, edit: Edit, products: Mapping[str, Product]) -> Order:
    """The order with other lines, address and totals: old lines keep their prices, new ones have today's, and tax
    follows the address. Raises ``InvalidRequest`` when nothing would be left."""
    address = edit.address or order.address
    country, moved = address["country"], address["country"] != order.address["country"]
    if order.external_id or not (edit.lines or edit.added or moved):
        return replace(order, address=dict(address))
    lines: list[Line] = []
    for line in order.lines:
        now = line.quantity - line.cancelled
        wanted = edit.lines.get(line.number, now)
        more = max(0, wanted - now)
        grown = replace(line, quantity=line.quantity + more, cancelled=line.cancelled + max(0, now - wanted))
        if more or moved:
            grown = replace(grown, tax=pricing.tax_on(line.unit_price * grown.quantity - line.discount, country))
        lines.append(grown)
    for sku, units in edit.added.items():
        product = products[sku]
        tax = pricing.tax_on(product.price * units, country)
        lines.append(Line(len(lines) + 1, sku, units, product.price, tax=tax, parts=product.kit))
    if not any(line.open for line in replace(order, lines=tuple(lines)).bought):
        raise errors.InvalidRequest(
            "See errors for what to change.", fields=[("lines", "nothing would be left: cancel the order")]
        )
    shipping_tax = order.totals.tax - sum(line.tax for line in order.lines)
    if moved:
        shipping_tax = pricing.tax_on(order.totals.shipping, country)
    totals = replace(
        order.totals,
        items=sum(line.unit_price * line.quantity for line in lines),
        tax=sum(line.tax for line in lines) + shipping_tax,
    )
    return replace(order, lines=tuple(lines), totals=totals, address=dict(address))


def _stock_delta(order: Order, after: Order) -> dict[str, int]:
    before, then = order.owed(), after.owed()
    delta = {sku: then.get(sku, 0) - before.get(sku, 0) for sku in sorted(before.keys() | then.keys())}
    return {sku: units for sku, units in delta.items() if units}


def _money(order: Order, after: Order) -> dict[str, int]:
    before, then = owed(order), owed(after)
    return {"before": before, "after": then, "due": max(0, then - before), "refund": max(0, before - then)}
