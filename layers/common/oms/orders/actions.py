"""What may be done about an order as it stands: each action with its consequences, or why it is not to be had.

Nothing here knows the rules. Each action is rehearsed: the use case behind its route decides as it always does, on a
store that writes nothing and hands back what would have been written. So what is offered is what the route would do,
and what is not offered is told in the route's own words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Never

from oms.fulfillment.counter import CounterSales
from oms.fulfillment.tracking import Troubles
from oms.messages.kinds import Due
from oms.messages.languages import language
from oms.messages.payment_links import SendPaymentLinks
from oms.messages.telling import resendable
from oms.orders import pricing
from oms.orders.crediting import Credit, CreditOrders
from oms.orders.editing import Edit, EditOrders
from oms.orders.ending import EndOrders
from oms.orders.holding import RELEASED_BY, HoldOrders
from oms.orders.model import HOLD_KINDS, OPEN, Effect, Order, Status
from oms.orders.notes import NoteForm, WriteNotes
from oms.orders.refunds import STILL_DUE
from oms.orders.returning import OPEN as RETURN_OPEN
from oms.orders.returning import ReturnLine
from oms.orders.returns import Asked, ReturnOrders
from oms.orders.store import Change, DynamoOrders
from oms.payments.coverage import due
from oms.payments.disputes import AnswerDisputes
from oms.payments.tenders import RecordTenders
from oms.runtime import errors
from oms.runtime.clock import Clock
from oms.runtime.http import problem

AGENTS = ("agent", "ops")
SELLERS = ("agent", "ops", "pos")
_ACTOR, _KEY, _REASON = "staff:rehearsal", "rehearsal", "the customer asked for it"
_ENGLISH = language("en")
_DECISIONS = ("approve", "reject", "sent", "cancel", "close")


class Rehearsed(Exception):
    """A use case has decided: this is what it would have written (None: there is nothing to do)."""

    def __init__(self, change: Change | None) -> None:
        super().__init__()
        self.change = change


class RehearsedOrders(DynamoOrders):
    """Orders that can be read, and whose changes end as ``Rehearsed`` before anything is written."""

    def change(
        self, order_id: str, decide: Callable[[Order], Change | None], now: datetime, *, attempts: int = 1
    ) -> Never:
        """Decide, and write nothing."""
        raise Rehearsed(decide(self.require(order_id)))


@dataclass(frozen=True, slots=True)
class Attempt:
    """An action and its rehearsal. ``body`` is one with which the route would do it; None where a form with the
    customer's own words or address belongs there. ``adds`` are consequences that no change of the order shows."""

    name: str
    method: str
    path: str
    do: str
    run: Callable[[], object]
    body: Mapping[str, Any] | None = None
    key: bool = False
    groups: tuple[str, ...] = AGENTS
    adds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OfferActions:
    """The table of actions. Its use cases are those of the routes, on a store that writes nothing."""

    orders: RehearsedOrders
    ending: EndOrders
    editing: EditOrders
    crediting: CreditOrders
    holding: HoldOrders
    returns: ReturnOrders
    notes: WriteNotes
    payment_links: SendPaymentLinks
    disputes: AnswerDisputes
    tenders: RecordTenders
    counter_sales: CounterSales
    troubles: Troubles
    clock: Clock
    sends_mails: bool

    def view(self, order_id: str, groups: frozenset[str]) -> dict[str, Any]:
        """What a caller of these groups may do. Raises ``NotFound``."""
        order = self.orders.require(order_id)
        return {
            "order_id": order_id,
            "status": order.status.value,
            "version": order.version,
            "actions": [_rehearse(order, attempt, groups) for attempt in self._table(order, groups)],
        }

    def _table(self, order: Order, groups: frozenset[str]) -> Iterator[Attempt]:
        yield from self._cancelling(order)
        yield from self._editing(order)
        yield from self._holding(order)
        yield from self._refunding(order, unlimited="ops" in groups)
        yield from self._selling(order)
        yield from self._returning(order)
        yield from self._telling(order)
        yield from self._settling(order)

    def _cancelling(self, order: Order) -> Iterator[Attempt]:
        order_id, path = order.order_id, f"/orders/{order.order_id}/cancel"
        yield Attempt(
            "cancel",
            "POST",
            path,
            "Cancel all that has not left.",
            lambda: self.ending.cancel(order_id, reason=_REASON, actor=_ACTOR, key=_KEY),
            {"reason": _REASON},
            key=True,
        )
        line = next((each.number for each in order.lines if each.open), 1)
        yield Attempt(
            "cancel_lines",
            "POST",
            path,
            "Cancel some units; told here for one unit of the first line that has any.",
            lambda: self.ending.cancel_lines(order_id, {line: 1}, reason=_REASON, actor=_ACTOR, key=_KEY),
            {"reason": _REASON, "lines": [{"line": line, "quantity": 1}]},
            key=True,
        )

    def _editing(self, order: Order) -> Iterator[Attempt]:
        order_id, first = order.order_id, order.lines[0]
        units = first.quantity - first.cancelled
        yield Attempt(
            "edit",
            "POST",
            f"/orders/{order_id}/edits/preview",
            "Change what is ordered: preview it, then confirm the preview.",
            lambda: self.editing.preview(order_id, Edit({first.number: units}, {}, None)),
            {"lines": [{"line": first.number, "quantity": units}]},
            adds=("The preview says what it costs more or less; nothing changes until it is confirmed.",),
        )
        elsewhere = {**order.address, "line2": f"{order.address.get('line2', '')} ."}
        yield Attempt(
            "change_address",
            "PATCH",
            f"/orders/{order_id}/address",
            "Send what has not left to another address.",
            lambda: self.editing.change_address(order_id, elsewhere, actor=_ACTOR),
        )

    def _holding(self, order: Order) -> Iterator[Attempt]:
        order_id = order.order_id
        kind = next((each for each in ("operator", *sorted(HOLD_KINDS)) if each not in order.holds), "operator")
        yield Attempt(
            "hold",
            "POST",
            f"/orders/{order_id}/holds",
            "Stop the order until somebody releases it.",
            lambda: self.holding.put(order_id, kind, reason=_REASON, owner="customer service", hours=24, actor=_ACTOR),
            {"kind": kind, "reason": _REASON},
            adds=("Its owner is reminded after a day.",),
        )
        for held in sorted(order.holds):

            def release(held: str = held) -> object:
                return self.holding.release(order_id, held, reason=_REASON, actor=_ACTOR)

            yield Attempt(
                f"release_{held}",
                "DELETE",
                f"/orders/{order_id}/holds/{held}",
                f"Take the {held} hold off ({order.holds[held].reason}).",
                release,
                {"reason": _REASON},
                groups=RELEASED_BY[held],
            )

    def _refunding(self, order: Order, *, unlimited: bool) -> Iterator[Attempt]:
        order_id = order.order_id
        line = next((each.number for each in order.lines if each.kept), 1)
        kinds: tuple[tuple[str, str, int, dict[int, int]], ...] = (
            ("full", "Give everything back that can be; the goods stay where they are.", 0, {}),
            ("amount", "Give a sum back; told here for the least there is.", 1, {}),
            ("lines", "Give the price of units back that the customer keeps; told here for one.", 0, {line: 1}),
            ("shipping", "Give the shipping back.", 0, {}),
        )
        for kind, do, amount, lines in kinds:
            body: dict[str, Any] = {"kind": kind, "reason": "other"}
            body |= {"amount": amount} if amount else {}
            body |= {"lines": [{"line": number, "quantity": units} for number, units in lines.items()]} if lines else {}

            def give(kind: str = kind, amount: int = amount, lines: Mapping[int, int] = lines) -> object:
                credit = Credit(kind, amount, lines, "other", "")
                return self.crediting.give(order_id, credit, actor=_ACTOR, unlimited=unlimited, key=_KEY)

            yield Attempt(f"refund_{kind}", "POST", f"/orders/{order_id}/refunds", do, give, body, key=True)
        for item in self.orders.parts(order_id, "REFUND#"):
            if item["status"] in STILL_DUE - {"requested"}:
                yield from self._refund(order, item["refund_id"], _ENGLISH.money(item["amount"], item["currency"]))

    def _refund(self, order: Order, refund_id: str, amount: str) -> Iterator[Attempt]:
        order_id, path = order.order_id, f"/orders/{order.order_id}/refunds/{refund_id}"
        yield Attempt(
            "refund_retry",
            "POST",
            f"{path}/retry",
            f"Have {amount} sent back once more.",
            lambda: self.crediting.retry(order_id, refund_id, actor=_ACTOR),
        )
        yield Attempt(
            "refund_given_back",
            "POST",
            f"{path}/given-back",
            f"Note that {amount} was given back another way.",
            lambda: self.tenders.given_back(order_id, refund_id, method="cash", reference="receipt", agent=_ACTOR),
            {"method": "cash", "reference": "receipt"},
        )
        yield Attempt(
            "refund_withdraw",
            "POST",
            f"{path}/withdraw",
            f"Note that {amount} is not owed after all.",
            lambda: self.tenders.withdraw(order_id, refund_id, reason=_REASON, agent=_ACTOR),
            {"reason": _REASON},
            groups=("ops",),
        )

    def _selling(self, order: Order) -> Iterator[Attempt]:
        order_id, path, amount = order.order_id, f"/staff/orders/{order.order_id}", max(1, due(order))
        money = _ENGLISH.money(amount, order.currency)

        def take(method: Literal["cash", "bank_transfer"]) -> object:
            return self.tenders.record(order_id, method, amount, reference="receipt", agent=_ACTOR, key=_KEY)

        yield Attempt(
            "payment",
            "POST",
            f"{path}/payments",
            "Take money for the order; told here for all that is due, in cash.",
            lambda: take("cash"),
            {"method": "cash", "amount": amount, "reference": "receipt"},
            key=True,
            groups=SELLERS,
            adds=(f"{money} is booked as paid.",),
        )
        yield Attempt(
            "bank_transfer",
            "POST",
            f"{path}/payments",
            "Note that the customer paid all that is due by a bank transfer.",
            lambda: take("bank_transfer"),
            {"method": "bank_transfer", "amount": amount, "reference": "receipt"},
            key=True,
            groups=("ops",),
            adds=(f"{money} is booked as paid.",),
        )
        yield Attempt(
            "hand_over",
            "POST",
            f"{path}/hand-over",
            "Let what went over the counter leave the books of the store, as far as they have it.",
            lambda: self.counter_sales.go_on(order_id, actor=_ACTOR),
            groups=SELLERS,
        )
        yield Attempt(
            "hand_over_found",
            "POST",
            f"{path}/hand-over",
            "Say why the goods were there although the books did not have them; then all of it leaves.",
            lambda: self.counter_sales.go_on(order_id, actor=_ACTOR, found=_REASON),
            {"found": _REASON},
            groups=("ops",),
            adds=("What the books lack is entered first.",),
        )

    def _returning(self, order: Order) -> Iterator[Attempt]:
        order_id, path = order.order_id, f"/orders/{order.order_id}/returns"
        line = next((each for each in order.lines if each.kept), order.lines[0])
        worth = pricing.value_of(line, 1, line.cancelled + line.credited + line.returned)
        yield Attempt(
            "return",
            "POST",
            path,
            "Open a return; told here for one unit of the first line that can come back.",
            lambda: self.returns.ask(
                order_id, Asked((ReturnLine(line.number, 1, "damaged"),), {}), actor=_ACTOR, staff=True, key=_KEY
            ),
            {"lines": [{"line": line.number, "quantity": 1, "reason": "damaged"}]},
            key=True,
            adds=(f"Up to {_ENGLISH.money(worth, order.currency)} goes back once it was inspected.",),
        )
        for one in self.returns.of(order_id):
            for decision in _DECISIONS if one.status in RETURN_OPEN else ():

                def decide(number: int = one.number, decision: str = decision) -> object:
                    return self.returns.decide(order_id, number, decision, reason=_REASON, actor=_ACTOR)

                yield Attempt(
                    f"return_{decision}",
                    "POST",
                    f"{path}/{one.number}/decision",
                    f"Note of return {one.number}: {decision}.",
                    decide,
                    {"decision": decision, "reason": _REASON},
                )

    def _telling(self, order: Order) -> Iterator[Attempt]:
        order_id, path = order.order_id, f"/orders/{order.order_id}"
        yield Attempt(
            "note",
            "POST",
            f"{path}/notes",
            "Keep what was said.",
            lambda: self.notes.add(order_id, NoteForm(text="note"), author=_ACTOR, key=_KEY),
            {"text": "note"},
            key=True,
            groups=SELLERS,
        )
        yield Attempt(
            "ask",
            "POST",
            f"{path}/notes",
            "Ask the customer something by mail.",
            lambda: self.notes.add(order_id, NoteForm(text="question", question=True), author=_ACTOR, key=_KEY),
            {"text": "question", "question": True},
            key=True,
            groups=SELLERS,
            adds=("The customer gets a mail with a link to answer by.",),
        )
        yield Attempt(
            "payment_link",
            "POST",
            f"{path}/payment-link",
            "Send the customer the link by which they pay.",
            lambda: self.payment_links.send(order_id, actor=_ACTOR, key=_KEY),
            key=True,
            groups=SELLERS,
            adds=("The customer gets a mail.",),
        )
        try:
            called_for = [due.kind for due in self._called_for(order)]
        except errors.Conflict:
            called_for = []
        for kind in dict.fromkeys(called_for or ("confirmed",)):

            def resend(kind: str = kind) -> object:
                if kind not in [due.kind for due in self._called_for(order)]:
                    raise errors.NotFound("This order calls for no such message.")
                return None

            yield Attempt(
                f"resend_{kind}",
                "POST",
                f"{path}/messages/{kind}/resend",
                f"Send the message {kind.replace('_', ' ')} again.",
                resend,
                key=True,
                adds=("The customer gets the mail once more.",),
            )

    def _called_for(self, order: Order) -> list[Due]:
        return resendable(self.orders, order, self.clock(), sends=self.sends_mails)

    def _settling(self, order: Order) -> Iterator[Attempt]:
        order_id = order.order_id
        for item in self.orders.parts(order_id, "TROUBLE#"):
            shipment_id = item["shipment_id"]
            if "work_queue" in item:

                def settle(shipment_id: str = shipment_id) -> object:
                    return self.troubles.close(shipment_id, reason=_REASON, actor=_ACTOR)

                yield Attempt(
                    "settle_parcel",
                    "DELETE",
                    f"/parcels/{shipment_id}/exception",
                    f"Note that parcel {shipment_id.rpartition('.')[2]} needs nobody any more.",
                    settle,
                    {"reason": _REASON},
                )
        for item in self.orders.parts(order_id, "DISPUTE#"):
            dispute_id = item["dispute_id"]

            def submit(dispute_id: str = dispute_id) -> object:
                return self.disputes.submit(order_id, dispute_id, statement="", actor=_ACTOR)

            yield Attempt(
                "submit_evidence",
                "POST",
                f"/orders/{order_id}/disputes/{dispute_id}/evidence",
                "Hand the evidence in, for good.",
                submit,
                {"confirm": True},
            )


# ---- what it would bring ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a rehearsal ended."""

    allowed: bool
    change: Change | None = None
    code: str = ""
    detail: str = ""


def _rehearse(order: Order, attempt: Attempt, groups: frozenset[str]) -> dict[str, Any]:
    outcome = _outcome(attempt, groups)
    refund, stops, words = 0, False, list[str]()
    if outcome.allowed:
        if outcome.change:
            refund, stops, words = _consequences(order, outcome.change.order)
        words += attempt.adds
    return {
        "action": attempt.name,
        "do": attempt.do,
        "method": attempt.method,
        "path": attempt.path,
        "body": dict(attempt.body) if attempt.body is not None else None,
        "idempotency_key": attempt.key,
        "allowed": outcome.allowed,
        "why_not": None if outcome.allowed else {"code": outcome.code, "detail": outcome.detail},
        "consequences": words,
        "refund": refund,
        "stops_warehouse": stops,
    }


def _outcome(attempt: Attempt, groups: frozenset[str]) -> _Outcome:
    if not groups & set(attempt.groups):
        return _Outcome(False, code="forbidden", detail=f"This needs one of the groups: {', '.join(attempt.groups)}.")
    try:
        attempt.run()
    except Rehearsed as rehearsed:
        if rehearsed.change is None:
            return _Outcome(False, code="nothing_to_do", detail="That is done already.")
        return _Outcome(True, rehearsed.change)
    except errors.DomainError as refused:
        told = problem(refused, "").payload
        return _Outcome(False, code=told["code"], detail=told["detail"])
    return _Outcome(True)


def _consequences(before: Order, after: Order) -> tuple[int, bool, list[str]]:
    """Minor units that go back, whether the warehouse is stopped, and everything that follows in words."""
    words = []
    if after.status is not before.status:
        words.append(f"The order is {after.status.value.replace('_', ' ')} then.")
    refund = after.payment.refund_due - before.payment.refund_due
    if refund > 0:
        words.append(f"{_ENGLISH.money(refund, before.currency)} goes back to the customer.")
    new = set(after.effects) - set(before.effects)
    if Effect.CANCEL_INTENT in new:
        if after.status is Status.CONFIRMED:
            words.append("What the customer began to pay online is called off.")
        else:
            words.append("It cannot be paid any more, and money that is only set aside is let go.")
    left = _shipped(after) - _shipped(before)
    if left:
        words.append(f"{left} unit{'' if left == 1 else 's'} leave{'s' if left == 1 else ''} the books.")
    units = sum(before.promised().values()) - sum(after.promised().values()) - left
    if units > 0:
        words.append(f"{units} unit{'' if units == 1 else 's'} go back on sale.")
    stops = Effect.STOP_FULFILLMENT in new
    if stops:
        words.append("The warehouse is stopped; what was picked goes back to its shelf.")
    elif after.runs > before.runs:
        words.append("The warehouse begins anew with what is left.")
    if Effect.VOID_LABEL in new:
        words.append("A label goes back to the carrier.")
    words += [f"The {kind} hold is off." for kind in sorted(before.holds.keys() - after.holds.keys())]
    words += [f"A hold of kind {kind} is on it." for kind in sorted(after.holds.keys() - before.holds.keys())]
    goes_on = before.holds and not after.holds and after.status in OPEN and Effect.START_FULFILLMENT in after.effects
    if goes_on:
        words.append("Work on it goes on by itself.")
    if Effect.SUBMIT_EVIDENCE in new:
        words.append("The provider takes the evidence once.")
    return max(0, refund), stops, words


def _shipped(order: Order) -> int:
    return sum(sum(line.units(line.shipped).values()) for line in order.lines)
