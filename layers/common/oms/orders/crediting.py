"""Refunds that an agent decides: goodwill, a price that was wrong, shipping, goods that the customer keeps.

Whatever is given is written with the version of the order that was read, so never more goes back than was captured
and is not on its way back already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from oms.fulfillment.shipments import change_with_shipments
from oms.orders import pricing
from oms.orders.model import Effect, Event, Order
from oms.orders.once import answer_with, answered, digest_of
from oms.orders.refunds import request_refund
from oms.orders.store import Change, DynamoOrders, order_key
from oms.payments.settle import mark_refund, without_refund_hold
from oms.runtime import errors
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Item


@dataclass(frozen=True, slots=True)
class Credit:
    """What an agent wants to give back. ``kind`` is full, amount, lines or shipping."""

    kind: str
    amount: int
    lines: Mapping[int, int]
    reason: str
    note: str

    def digest(self) -> str:
        """What makes two requests the same."""
        lines = {str(line): units for line, units in self.lines.items()}
        return digest_of([self.kind, self.amount, lines, self.reason, self.note])


@dataclass(frozen=True, slots=True)
class CreditOrders:
    """Giving money back without a return."""

    orders: DynamoOrders
    clock: Clock
    agent_limit: int
    """Minor units that agents may give on one order; ``ops`` may give more."""

    def give(self, order_id: str, credit: Credit, *, actor: str, unlimited: bool, key: str) -> Item:
        """Ask for the refund once per ``key`` and say what was asked for.

        Raises ``NotFound``, ``IdempotencyKeyReused``, ``InvalidRequest``, ``Forbidden`` above the agent's limit, and
        ``Conflict`` when so much cannot go back.
        """
        now, table = self.clock(), self.orders.table
        answer: Item = {}

        def decide(order: Order) -> Change | None:
            nonlocal answer
            found = answered(table, order_id, "refund", key, credit.digest())
            if found:
                answer = found
                return None
            if order.external_id:
                raise errors.Conflict(
                    f"This sale belongs to {order.channel}: refund it there.", extra={"code": "channel_owns_sale"}
                )
            given = [each for each in self.orders.parts(order_id, "CREDIT#") if not each.get("withdrawn")]
            amount = _amount(order, credit, given)
            if not unlimited and amount + sum(each["amount"] for each in given if each["limited"]) > self.agent_limit:
                raise errors.Forbidden(
                    f"Agents give at most {self.agent_limit} on one order; ask ops.",
                    extra={"code": "over_agent_limit", "limit": self.agent_limit},
                )
            why = f"{credit.kind}: {credit.reason}"
            after, writes = request_refund(table, order, amount, why, now, concession=True)
            if after.payment.refund_due - order.payment.refund_due != amount:
                raise _too_much(order)
            lines = tuple(
                replace(each, credited=each.credited + credit.lines.get(each.number, 0)) for each in order.lines
            )
            number = order.version + 1
            answer = {
                "credit_id": f"{order_id}.{number}",
                "kind": credit.kind,
                "amount": amount,
                "currency": order.currency,
                "reason": credit.reason,
                "refund_due": after.payment.refund_due,
                "requested_at": to_text(now),
            }
            record = {
                "pk": order_key(order_id),
                "sk": f"CREDIT#{number:06d}",
                "entity": "credit",
                "kind": credit.kind,
                "amount": amount,
                "reason": credit.reason,
                "note": credit.note,
                "actor": actor,
                "limited": not unlimited,
                "units": {str(line): units for line, units in credit.lines.items()},
                "at": to_text(now),
            }
            data: dict[str, Any] = {"kind": credit.kind, "amount": amount}
            if credit.lines:
                data["units"] = record["units"]
            event = Event("RefundRequested", actor, credit.reason, data)
            kept = answer_with(table, order_id, "refund", key, credit.digest(), answer, now)
            return Change(replace(after, lines=lines), event, [*writes, table.put("credit", record), kept])

        self.orders.change(order_id, decide, now)
        return answer

    def retry(self, order_id: str, refund_id: str, *, actor: str) -> None:
        """Have a refund that failed sent once more, as an attempt of its own; again is harmless.

        Raises ``NotFound``, and ``Conflict`` when it did not fail.
        """

        def decide(order: Order) -> Change | None:
            items = self.orders.parts(order_id, "REFUND#")
            item = next((each for each in items if each["refund_id"] == refund_id), None)
            if item is None:
                raise errors.NotFound("There is no such refund.")
            if item["status"] == "requested":
                return None
            if item["status"] != "failed":
                raise errors.Conflict(f"The refund is {item['status']}.", extra={"code": "refund_state"})
            after = without_refund_hold(order.with_effects(Effect.REFUND), items, item)
            attempt = item.get("attempt", 1) + 1
            # What the provider made before is another attempt's, and may still be told about.
            changes = {"attempt": attempt, "provider_refund": "", "requested_at": to_text(self.clock())}
            mark = mark_refund(self.orders, order_id, item, "requested", changes)
            event = Event("RefundRetried", actor, item["reason"], {"amount": item["amount"], "attempt": attempt})
            return Change(after, event, [mark])

        change_with_shipments(self.orders, order_id, decide, self.clock())


def refunds_view(orders: DynamoOrders, order: Order) -> dict[str, Any]:
    """Every refund with its state and, when it failed, the provider's word for why; and what may still go back."""
    return {
        "order_id": order.order_id,
        "currency": order.currency,
        "refundable": refundable(order),
        "refunds": [
            {
                "refund_id": item["refund_id"],
                "amount": item["amount"],
                "status": item["status"],
                "reason": item["reason"],
                "requested_at": item["requested_at"],
                "failure": item.get("failure"),
                "given_back_by": item.get("given_back_by"),
                "reference": item.get("reference"),
            }
            for item in orders.parts(order.order_id, "REFUND#")
        ],
    }


def refundable(order: Order) -> int:
    """What may still be given back, in minor units."""
    payment = order.payment
    return payment.captured - payment.refunded - payment.refund_due - payment.disputed - order.moved_credit


def _amount(order: Order, credit: Credit, given: list[Item]) -> int:
    if credit.kind == "full":
        amount = refundable(order)
    elif credit.kind == "amount":
        amount = credit.amount
    elif credit.kind == "shipping":
        if any(each["kind"] in ("shipping", "full") for each in given):
            raise errors.Conflict("Shipping was given back before.", extra={"code": "already_refunded"})
        amount = pricing.shipping_paid(order.totals, order.lines)
    else:
        amount = _of_lines(order, credit.lines)
    if amount > refundable(order) or amount <= 0:
        raise _too_much(order)
    return amount


def _of_lines(order: Order, wanted: Mapping[int, int]) -> int:
    lines = {line.number: line for line in order.lines}
    wrong = [
        (f"lines[{index}]", f"the customer has {lines[number].kept if number in lines else 0} units of line {number}")
        for index, (number, units) in enumerate(wanted.items())
        if number not in lines or units > lines[number].kept
    ]
    if wrong:
        raise errors.InvalidRequest("See errors for what to change.", fields=wrong)
    return sum(
        pricing.value_of(
            lines[number], units, lines[number].cancelled + lines[number].returned + lines[number].credited
        )
        for number, units in wanted.items()
    )


def _too_much(order: Order) -> errors.Conflict:
    left = refundable(order)
    return errors.Conflict(
        f"{left} can be given back: no more was captured that is not on its way back already.",
        extra={"code": "more_than_captured", "refundable": left},
    )
