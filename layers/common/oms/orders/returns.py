"""Returns from the request to the money: asked for, approved, labelled, received unit by unit, and settled once.

Every change of a return's state is one transaction with its order, whose version it assumes; so more than was shipped
can never be claimed, and nothing is paid for twice. What the warehouse scans in between changes the return alone,
together with the stock that comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from oms.fulfillment.shipments import LEFT, DynamoShipments, Shipment, change_with_shipments
from oms.inventory.movements import return_units
from oms.inventory.store import DynamoInventory
from oms.orders.crediting import refundable
from oms.orders.exchanging import exchange
from oms.orders.model import Event, Order
from oms.orders.once import answer_with, answered, digest_of
from oms.orders.refunds import request_refund
from oms.orders.returning import (
    OPEN,
    UNDELIVERABLE,
    UNDERWAY,
    Return,
    ReturnLabel,
    ReturnLine,
    ReturnPolicy,
    ReturnStatus,
    put_return,
    return_from_item,
    return_key,
    return_view,
    settlement,
)
from oms.orders.store import Change, DynamoOrders
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Write

if TYPE_CHECKING:
    from oms.fulfillment.carrier import Carrier

_ATTEMPTS = 8
_DECIDE = timedelta(days=2)
_INSPECT = timedelta(days=3)
_AGAIN = timedelta(days=1)

Step = tuple[Order, Return, Event, list[Write]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a customer wants to send back, and what they want instead of money."""

    lines: tuple[ReturnLine, ...]
    exchange: Mapping[str, int]

    def digest(self) -> str:
        """What makes two requests the same."""
        return digest_of([[[line.line, line.quantity, line.reason] for line in self.lines], dict(self.exchange)])


@dataclass(frozen=True, slots=True)
class ReturnOrders:
    """The use cases of returns."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock
    policy: ReturnPolicy

    # ---- asking and deciding -------------------------------------------------------------------------------------

    def ask(self, order_id: str, asked: Asked, *, actor: str, staff: bool, key: str) -> Item:
        """Ask for a return, once per ``key``; within the window it is approved at once unless an agent has to.

        Staff may ask after the window. Raises ``NotFound``, ``IdempotencyKeyReused``, ``InvalidRequest`` for units
        that the customer does not have, and ``Conflict`` when nothing may be returned.
        """
        now, table = self.clock(), self.orders.table
        answer: Item = {}

        def decide(order: Order) -> Change | None:
            nonlocal answer
            found = answered(table, order_id, "return", key, asked.digest())
            if found:
                answer = found
                return None
            self._require_returnable(order, asked, staff, now)
            approved = staff or self.policy.approval == "policy"
            new = Return(
                order_id=order_id,
                number=order.returns + 1,
                status=ReturnStatus.APPROVED if approved else ReturnStatus.REQUESTED,
                lines=asked.lines,
                requested_by=actor,
                requested_at=to_text(now),
                deadline=to_text(now + (timedelta(days=self.policy.send_days) if approved else _DECIDE)),
                exchange=asked.exchange,
                restocking_percent=self.policy.restocking_percent,
                damaged_percent=self.policy.damaged_percent,
                label_paid_by=self.policy.label_paid_by,
            )
            after = _claimed(order, {line.line: line.quantity for line in asked.lines})
            after = replace(after, returns=new.number, return_deadline=self._earliest(order, new))
            data = {
                "return": new.number,
                "status": new.status.value,
                "units": {str(line.line): line.quantity for line in asked.lines},
                "reasons": sorted({line.reason for line in asked.lines}),
            }
            answer = return_view(new)
            kept = answer_with(table, order_id, "return", key, asked.digest(), answer, now)
            return Change(after, Event("ReturnRequested", actor, "return", data), [put_return(table, None, new), kept])

        change_with_shipments(self.orders, order_id, decide, now)
        telemetry.count("ReturnsRequested")
        return answer

    def _require_returnable(self, order: Order, asked: Asked, staff: bool, now: datetime) -> None:
        if order.external_id:
            raise errors.Conflict(
                f"This sale belongs to {order.channel}: its return begins there.", extra={"code": "channel_owns_sale"}
            )
        kept = {line.number: line.kept for line in order.lines}
        wrong = [
            (f"lines[{index}]", f"{kept.get(each.line, 0)} units of line {each.line} can be returned")
            for index, each in enumerate(asked.lines)
            if each.quantity > kept.get(each.line, 0)
        ]
        if wrong:
            raise errors.InvalidRequest("See errors for what to change.", fields=wrong)
        left = [one.shipped_at for one in DynamoShipments(self.orders.table).of(order.order_id) if one.status in LEFT]
        if not staff and from_text(max(left)) + timedelta(days=self.policy.window_days) < now:
            raise errors.Conflict(
                f"Returns are taken for {self.policy.window_days} days: ask customer service.",
                extra={"code": "return_window_over"},
            )

    def decide(self, order_id: str, number: int, decision: str, *, reason: str, actor: str) -> Return:
        """An agent approves, rejects or closes a return, or it is cancelled or on its way; again is harmless.

        Raises ``NotFound``, and ``Conflict`` when it has gone on.
        """
        now = self.clock()
        status = {
            "approve": ReturnStatus.APPROVED,
            "reject": ReturnStatus.REJECTED,
            "sent": ReturnStatus.IN_TRANSIT,
            "cancel": ReturnStatus.CANCELLED,
            "close": ReturnStatus.CLOSED,
        }[decision]

        def step(order: Order, found: Return) -> Step | None:
            if found.status is status:
                return None
            if found.status not in UNDERWAY:
                raise errors.Conflict(
                    f"The return is {found.status.value}.",
                    extra={"code": "return_state", "return_status": found.status.value},
                )
            after = found.moved_to(status)
            if status in OPEN:
                after = replace(after, deadline=to_text(now + timedelta(days=self.policy.send_days)))
            else:
                order = _claimed(order, {line.line: -line.quantity for line in found.lines})
            event = Event(f"Return{_SAID[status]}", actor, reason, {"return": number})
            return order, after, event, []

        return self._change(order_id, number, step)

    # ---- the label -----------------------------------------------------------------------------------------------

    def label(self, order_id: str, number: int, carrier: Carrier) -> Return:
        """Buy the label for an approved return, once, and answer the same one ever after. It goes to the facility that
        sent the first parcel.

        The carrier's shipment is written down before anything is bought for it. Raises ``NotFound``, ``Conflict``,
        and the carrier's own errors.
        """
        from oms.fulfillment.carrier import Parcel
        from oms.fulfillment.facilities import address_of, facility_address
        from oms.fulfillment.labelling import UNIT_GRAMS, Terms, choose_rate
        from oms.fulfillment.tracking import return_tracker

        order, found = self.orders.require(order_id), self.require(order_id, number)
        if found.label:
            return found
        if found.status is not ReturnStatus.APPROVED:
            raise errors.Conflict(
                f"The return is {found.status.value}: a label is for approved ones.", extra={"code": "return_state"}
            )
        if not found.carrier_shipment_id:
            facility = next(
                one.facility for one in DynamoShipments(self.orders.table).of(order_id) if one.status in LEFT
            )
            products = self.inventory.products(found.expected(order))
            grams = sum(
                units * (products[sku].weight_grams or UNIT_GRAMS if sku in products else UNIT_GRAMS)
                for sku, units in found.expected(order).items()
            )
            quote = carrier.quote(
                f"{found.return_id}.return",
                facility_address(self.inventory, facility),
                address_of(order.address, order.customer),
                Parcel(grams),
                is_return=True,
            )

            def remember(seen: Return) -> Return | None:
                return (
                    None
                    if seen.carrier_shipment_id
                    else replace(seen, carrier_shipment_id=quote.carrier_shipment_id, facility=facility)
                )

            found = self._alone(order_id, number, remember)
        quote = carrier.find(found.carrier_shipment_id)
        bought = quote.label or carrier.buy(found.carrier_shipment_id, choose_rate(quote.rates, Terms(), None).id)
        label = ReturnLabel(
            bought.carrier, bought.tracking_number, bought.tracker_id, bought.label_url, bought.amount, bought.currency
        )

        def labelled(order: Order, seen: Return) -> Step | None:
            if seen.label:
                return None
            event = Event("ReturnLabelled", "system", "return", {"return": number, "carrier": label.carrier})
            now, table = self.clock(), self.orders.table
            watched = [return_tracker(table, seen.return_id, label.tracker_id, now)] if label.tracker_id else []
            return order, replace(seen, label=label), event, watched

        return self._change(order_id, number, labelled)

    # ---- on the road ---------------------------------------------------------------------------------------------

    def brought_back(self, order: Order, parcel: Shipment) -> tuple[Order, list[Write], int]:
        """The order with a return of what the carrier brings back to us, the action that opens it and its number, for
        the transaction in which the parcel turns: so it opens once. Units that another return claims are left out; a
        marketplace's sale, or a parcel of which the customer keeps nothing, has none (0)."""
        kept = {line.number: line.kept for line in order.lines}
        units = {line: min(count, kept[line]) for line, count in parcel.lines(order).items() if kept[line] > 0}
        if order.external_id or not units:
            return order, [], 0
        now = self.clock()
        new = Return(
            order_id=order.order_id,
            number=order.returns + 1,
            status=ReturnStatus.IN_TRANSIT,
            lines=tuple(ReturnLine(line, count, UNDELIVERABLE) for line, count in sorted(units.items())),
            requested_by="carrier",
            requested_at=to_text(now),
            deadline=to_text(now + timedelta(days=self.policy.send_days)),
            label_paid_by="merchant",
            facility=parcel.facility,
        )
        after = replace(_claimed(order, units), returns=new.number)
        after = replace(after, return_deadline=self._earliest(order, new))
        return after, [put_return(self.orders.table, None, new)], new.number

    def on_its_way(self, order_id: str, number: int, carrier: str) -> Return:
        """The carrier has the parcel: an approved return is in transit; one that has gone on stays as it is."""
        now = self.clock()

        def step(order: Order, found: Return) -> Step | None:
            if found.status is not ReturnStatus.APPROVED:
                return None
            after = found.moved_to(ReturnStatus.IN_TRANSIT)
            after = replace(after, deadline=to_text(now + timedelta(days=self.policy.send_days)))
            return (
                order,
                after,
                Event("ReturnSent", f"carrier:{carrier}", "the carrier says so", {"return": number}),
                [],
            )

        return self._change(order_id, number, step)

    # ---- receiving -----------------------------------------------------------------------------------------------

    def scan(
        self,
        return_id: str,
        *,
        sku: str,
        quantity: int,
        grade: str,
        facility: str,
        actor: str,
        key: str,
        lot: str = "",
    ) -> dict[str, Any]:
        """Take units back as they were found, of this ``lot`` (``lot_key``), once per ``key``: what is like new may be
        sold again, what is damaged is kept apart. The first one says that the return has come.

        Raises ``NotFound``, ``IdempotencyKeyReused``, ``InvalidRequest`` when the lot has to be told, and ``Conflict``
        for units that are not expected.
        """
        order_id, number = parse_return_id(return_id)
        digest = digest_of([sku, quantity, grade, facility, *([lot] if lot else [])])
        kind = f"return-scan-{number}"
        for attempt in range(_ATTEMPTS):
            order, found = self.orders.require(order_id), self.require(order_id, number)
            # Looked up after the return was read: a repeat that ran beside this one would make its units too many.
            known = answered(self.orders.table, order_id, kind, key, digest)
            if known:
                return known
            if found.status in UNDERWAY:
                self._receive(order_id, number, facility, actor)
                continue
            if found.status is not ReturnStatus.RECEIVED:
                raise errors.Conflict(f"The return is {found.status.value}.", extra={"code": "return_state"})
            expected, came = found.expected(order).get(sku, 0), found.came(sku)
            if came + quantity > expected:
                raise errors.Conflict(
                    f"{expected - came} more units of {sku} belong to this return.",
                    extra={"code": "not_expected", "expected": expected, "received": came},
                )
            units = found.graded.get(grade, {})
            after = replace(found, graded={**found.graded, grade: {**units, sku: units.get(sku, 0) + quantity}})
            answer = {
                "return_id": return_id,
                "sku": sku,
                "grade": grade,
                "expected": expected,
                "received": came + quantity,
            }
            now = self.clock()
            try:
                self.orders.table.transact(
                    [
                        put_return(self.orders.table, found, after),
                        answer_with(self.orders.table, order_id, kind, key, digest, answer, now),
                        *return_units(
                            self.inventory,
                            sku,
                            quantity,
                            facility=facility,
                            to="stock" if grade == "resellable" else "quarantine",
                            cause=f"return:{return_id}:{found.version}",
                            reason=f"return: {grade}",
                            actor=actor,
                            now=now,
                            lots={lot: quantity} if lot else {},
                        ),
                    ]
                )
            except ConditionsFailed:
                self.orders.table.back_off(attempt)
                continue
            return answer
        raise Contention(f"return {return_id}")

    def _receive(self, order_id: str, number: int, facility: str, actor: str) -> None:
        now = self.clock()

        def step(order: Order, found: Return) -> Step | None:
            if found.status not in UNDERWAY:
                return None
            after = found.moved_to(ReturnStatus.RECEIVED)
            after = replace(after, facility=facility, deadline=to_text(now + _INSPECT))
            return order, after, Event("ReturnReceived", actor, "return", {"return": number, "facility": facility}), []

        self._change(order_id, number, step)

    def complete(self, return_id: str, *, actor: str) -> Return:
        """End the inspection: what did not come is missing and stays with the customer; the rest is paid back, or
        exchanged for what they wanted if it is there. Again gives the same answer.

        Raises ``NotFound``, and ``Conflict`` when nothing has come yet.
        """
        order_id, number = parse_return_id(return_id)

        def step(order: Order, found: Return) -> Step | None:
            if found.status not in OPEN:
                return None
            return self._settled(order, found.moved_to(ReturnStatus.INSPECTED), actor)

        found = self._change(order_id, number, step)
        telemetry.count("ReturnsSettled")
        return found

    def _settled(self, order: Order, found: Return, actor: str) -> Step:
        now = self.clock()
        what = settlement(order, found)
        missing = {line.line: line.quantity - what.accepted[line.line] for line in found.lines}
        after = _claimed(order, {line: -units for line, units in missing.items()})
        found = replace(found, worth=what.worth)
        data: dict[str, Any] = {
            "return": found.number,
            "accepted": {str(line): units for line, units in what.accepted.items()},
            "missing": {str(line): units for line, units in missing.items() if units},
            "worth": what.worth,
            "label_fee": what.fee,
        }
        if not any(what.accepted.values()):
            done = found.moved_to(ReturnStatus.REJECTED)
            return after, done, Event("ReturnRejected", actor, "nothing came back", data), []
        # More than was captured is worth nothing: it was given back before.
        worth = max(0, min(what.worth, refundable(order)))
        if found.exchange:
            swap = exchange(self.orders, self.inventory, after, found, worth, now)
            if swap:
                after = replace(after, moved_credit=after.moved_credit + swap.used)
                after, refund = request_refund(
                    self.orders.table, after, worth - swap.used, _cause(found), now, concession=True
                )
                done = replace(
                    found.moved_to(ReturnStatus.EXCHANGED), exchange_order=swap.order_id, refunded=worth - swap.used
                )
                told = {**data, "exchange_order": swap.order_id, "credit": swap.used, "refund": worth - swap.used}
                return after, done, Event("ReturnExchanged", actor, "return", told), [*swap.writes, *refund]
        after, refund = request_refund(self.orders.table, after, worth, _cause(found), now, concession=True)
        status = ReturnStatus.REFUNDED if refund else ReturnStatus.CLOSED
        done = replace(found.moved_to(status), refunded=worth if refund else 0)
        return after, done, Event("ReturnRefunded", actor, "return", {**data, "refund": done.refunded}), refund

    # ---- deadlines -----------------------------------------------------------------------------------------------

    def lapse(self, order_id: str) -> None:
        """Take up returns whose deadline has passed: what was never sent is closed, what waits for us is brought
        before somebody again."""
        now = self.clock()
        for item in self.orders.parts(order_id, "RETURN#"):
            number = item["number"]

            def step(order: Order, found: Return) -> Step | None:
                if found.status not in OPEN or found.deadline > to_text(now):
                    return None
                if found.status in (ReturnStatus.APPROVED, ReturnStatus.IN_TRANSIT):
                    order = _claimed(order, {line.line: -line.quantity for line in found.lines})
                    event = Event("ReturnClosed", "system", "it was never sent", {"return": found.number})
                    return order, found.moved_to(ReturnStatus.CLOSED), event, []
                telemetry.count("ReturnsOverdue")
                telemetry.logger.warning("return_overdue", return_id=found.return_id, status=found.status.value)
                event = Event("DeadlinePassed", "system", "deadline passed", {"return": found.number})
                return order, replace(found, deadline=to_text(now + _AGAIN)), event, []

            self._change(order_id, number, step)

    # ---- inside --------------------------------------------------------------------------------------------------

    def require(self, order_id: str, number: int) -> Return:
        """One return. Raises ``NotFound``."""
        item = self.orders.table.get(*return_key(order_id, number))
        if item is None:
            raise errors.NotFound("There is no such return.")
        return return_from_item(item)

    def of(self, order_id: str) -> list[Return]:
        """An order's returns by number."""
        return [return_from_item(item) for item in self.orders.parts(order_id, "RETURN#")]

    def _change(self, order_id: str, number: int, step: Callable[[Order, Return], Step | None]) -> Return:
        """Change a return together with its order; begun again when somebody came between."""
        found: Return | None = None

        def decide(order: Order) -> Change | None:
            nonlocal found
            seen = found = self.require(order_id, number)
            result = step(order, seen)
            if result is None:
                return None
            order, found, event, writes = result
            order = replace(order, return_deadline=self._earliest(order, found))
            return Change(order, event, [put_return(self.orders.table, seen, found), *writes])

        change_with_shipments(self.orders, order_id, decide, self.clock())
        if found is None:
            raise errors.NotFound("There is no such return.")
        return found

    def _alone(self, order_id: str, number: int, change: Callable[[Return], Return | None]) -> Return:
        for attempt in range(_ATTEMPTS):
            seen = self.require(order_id, number)
            after = change(seen)
            if after is None:
                return seen
            try:
                self.orders.table.transact([put_return(self.orders.table, seen, after)])
            except ConditionsFailed:
                self.orders.table.back_off(attempt)
                continue
            return replace(after, version=seen.version + 1)
        raise Contention(f"return {order_id}.{number}")

    def _earliest(self, order: Order, changed: Return) -> str:
        """By when somebody has to look at one of the order's open returns."""
        every = [one for one in self.of(order.order_id) if one.number != changed.number]
        return min((one.deadline for one in (*every, changed) if one.status in OPEN), default="")


_SAID = {
    ReturnStatus.APPROVED: "Approved",
    ReturnStatus.REJECTED: "Rejected",
    ReturnStatus.IN_TRANSIT: "Sent",
    ReturnStatus.CANCELLED: "Cancelled",
    ReturnStatus.CLOSED: "Closed",
}


def parse_return_id(return_id: str) -> tuple[str, int]:
    """The order's id and the return's number. Raises ``NotFound``."""
    order_id, _, number = return_id.rpartition(".")
    if not order_id or not (number.isascii() and number.isdigit()):
        raise errors.NotFound("There is no such return.")
    return order_id, int(number)


def _claimed(order: Order, units: Mapping[int, int]) -> Order:
    lines = tuple(replace(line, returned=line.returned + units.get(line.number, 0)) for line in order.lines)
    return replace(order, lines=lines)


def _cause(found: Return) -> str:
    return f"return {found.number}"
