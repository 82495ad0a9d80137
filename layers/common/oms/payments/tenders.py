"""Money that does not come through the shopper's browser: tills, terminals, links by e-mail, invoices on terms.

It stands in the same ledger under its own provider, with a reference and whoever took it. ``POST /staff/orders`` and
the till call ``RecordTenders.record``; finance calls the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from oms.fulfillment.shipments import change_with_shipments
from oms.orders.model import OPEN, Effect, Event, Order, Status
from oms.orders.refunds import take_credit_back
from oms.orders.store import AlreadyApplied, Change, DynamoOrders
from oms.payments import ledger
from oms.payments.coverage import owed
from oms.payments.settle import mark_refund, without_refund_hold
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Item, Write

Method = Literal["card_terminal", "cash", "bank_transfer", "invoice"]
"""A ``card_link`` is no tender: it is the order's own intent, whose client secret ``PlaceOrders`` gives, and its money
comes through the provider's webhook."""


@dataclass(frozen=True, slots=True)
class RecordTenders:
    """Each call has one effect per ``key``; the same key again is answered with the order as it is."""

    orders: DynamoOrders
    clock: Clock

    def record(
        self,
        order_id: str,
        method: Method,
        amount: int,
        *,
        reference: str,
        agent: str,
        key: str,
        terms: timedelta = timedelta(days=30),
        fee: int = 0,
    ) -> Order:
        """Book money that an agent took, in minor units of the order's currency.

        An ``invoice`` is explicit credit: the order is covered and may ship, and is due after ``terms``; whatever comes
        later by another method pays it. An order that is covered whole is confirmed. ``fee`` is what the method costs
        us, kept apart. Raises ``NotFound``, and ``Conflict`` for an order that is over or for more than it costs.
        """
        now = self.clock()
        once = f"{order_id}:{key}"

        def decide(order: Order) -> Change | None:
            if self.orders.has_seen("tender", once):
                return None
            if order.status not in OPEN and not order.payment.credit:
                raise errors.Conflict(f"The order is {order.status.value}: it takes no more money.")
            missing = owed(order) - order.payment.settled
            most = missing if method == "invoice" else missing + order.payment.credit
            if not 0 < amount <= most:
                raise errors.Conflict(f"The order still costs {most}.", extra={"due": most})
            kind = "credit" if method == "invoice" else "captured"
            entry = ledger.Entry(
                kind,
                method,
                f"{method}:{once}",
                amount,
                order.currency,
                f"tender {key}",
                on_credit=0 if method == "invoice" else min(amount, order.payment.credit),
                reference=reference,
                agent=agent,
            )
            writes: list[Write] = [
                ledger.append(self.orders.table, order_id, entry, now),
                self.orders.inbox("tender", once, now),
            ]
            if fee:
                charged = replace(entry, kind="fee", amount=fee, on_credit=0)
                writes.append(ledger.append(self.orders.table, order_id, charged, now))
            payment = ledger.with_entry(order.payment, entry)
            if method == "invoice":
                payment = replace(payment, due_at=to_text(now + terms))
            after = replace(order, payment=payment)
            if order.status is Status.PLACED and after.payment.covers >= owed(order):
                after = after.moved_to(Status.CONFIRMED).with_effects(Effect.START_FULFILLMENT, Effect.CANCEL_INTENT)
            data = {"method": method, "amount": amount, "currency": order.currency, "reference": reference}
            name = "CreditGranted" if method == "invoice" else "PaymentCaptured"
            return Change(after, Event(name, agent, f"tender {key}", data), writes)

        try:
            order = self.orders.change(order_id, decide, now)
        except AlreadyApplied:
            order = self.orders.require(order_id)
        telemetry.count("TendersRecorded")
        return order

    # ---- refunds that need a person ------------------------------------------------------------------------------

    def given_back(self, order_id: str, refund_id: str, *, method: str, reference: str, agent: str) -> Order:
        """Finance or a till gave a refund's money to the customer that no provider could send.

        Raises ``NotFound``, and ``Conflict`` for a refund that does not wait for a person. Again is harmless.
        """
        now = self.clock()

        def decide(order: Order) -> Change | None:
            item = self._refund(order_id, refund_id)
            if item["status"] == "succeeded":
                return None
            if item["status"] not in ("by_hand", "failed"):
                raise errors.Conflict(f"The refund is {item['status']}.", extra={"code": "refund_state"})
            entry = ledger.Entry(
                "refunded",
                method,
                f"{method}:{refund_id}",
                item["amount"],
                item["currency"],
                refund_id,
                intent=item["intent"],
                reference=reference,
                agent=agent,
            )
            after = replace(order, payment=ledger.with_entry(order.payment, entry))
            after = without_refund_hold(after, self.orders.parts(order_id, "REFUND#"), item)
            changes = {"given_back_by": method, "reference": reference, "succeeded_at": to_text(now)}
            data = {"amount": item["amount"], "method": method}
            return Change(
                after,
                Event("RefundSucceeded", agent, refund_id, data),
                [
                    ledger.append(self.orders.table, order_id, entry, now),
                    mark_refund(self.orders, order_id, item, "succeeded", changes),
                ],
            )

        return self._change(order_id, decide)

    def withdraw(self, order_id: str, refund_id: str, *, reason: str, agent: str) -> Order:
        """The money is not owed after all, for example because the bank took it back already; what was conceded for it
        is owed again. Raises ``NotFound``, and ``Conflict`` for a refund that does not wait for a person."""
        now = self.clock()

        def decide(order: Order) -> Change | None:
            item = self._refund(order_id, refund_id)
            if item["status"] == "withdrawn":
                return None
            if item["status"] not in ("failed", "by_hand"):
                raise errors.Conflict(f"The refund is {item['status']}.", extra={"code": "refund_state"})
            entry = ledger.Entry(
                "refund_withdrawn",
                item.get("provider", "stripe"),
                refund_id,
                item["amount"],
                item["currency"],
                reason,
                intent=item["intent"],
                agent=agent,
            )
            payment = ledger.with_entry(order.payment, entry)
            if item.get("concession"):
                payment = replace(payment, conceded=payment.conceded - item["amount"])
            others = self.orders.parts(order_id, "REFUND#")
            after = without_refund_hold(replace(order, payment=payment), others, item)
            mark = mark_refund(self.orders, order_id, item, "withdrawn", {"withdrawn_for": reason})
            after, credit = take_credit_back(self.orders.table, after, item, others)
            writes = [ledger.append(self.orders.table, order_id, entry, now), mark, *credit]
            return Change(after, Event("RefundWithdrawn", agent, reason, {"amount": item["amount"]}), writes)

        return self._change(order_id, decide)

    def _change(self, order_id: str, decide: Callable[[Order], Change | None]) -> Order:
        return change_with_shipments(self.orders, order_id, decide, self.clock())

    def _refund(self, order_id: str, refund_id: str) -> Item:
        for item in self.orders.parts(order_id, "REFUND#"):
            if item["refund_id"] == refund_id:
                return item
        raise errors.NotFound("There is no such refund.")
