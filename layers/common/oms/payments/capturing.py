"""Taking authorised money: what a parcel needs as it leaves, and what would lapse otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from oms.orders.model import Effect, Event, Hold, Order
from oms.orders.store import Change, DynamoOrders
from oms.payments.apply import PROVIDER, ApplyPayments, fact_of
from oms.payments.coverage import owed
from oms.payments.port import Intent, PaymentGateway, PaymentRefused
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text


@dataclass(frozen=True, slots=True)
class CaptureMoney:
    """Safe to repeat and to interleave: what the provider holds is read, and written down, before more is taken."""

    orders: DynamoOrders
    gateway: Callable[[], PaymentGateway]
    payments: ApplyPayments
    clock: Clock

    def for_parcel(self, order: Order, needed: int, *, last: bool, parcel: str) -> Order:
        """Take what is missing of ``needed`` for the parcel; with the ``last`` one the rest is let go.

        Where the provider cannot take an authorisation in parts, the whole is taken with the first parcel. The order
        comes back as it is then; whether that is enough is for the dispatch to decide. Raises
        ``PaymentProviderUnavailable``.
        """
        if not order.payment.authorized or (order.payment.settled >= needed and not last):
            return order
        return self._take(order, needed, final=last, cause=parcel)

    def all_of(self, order: Order) -> Order:
        """Take all that the order still costs before its authorisation lapses. Raises
        ``PaymentProviderUnavailable``."""
        return self._take(order, owed(order), final=True, cause="deadline")

    def _take(self, order: Order, needed: int, *, final: bool, cause: str) -> Order:
        gateway = self.gateway()
        intent = gateway.get_intent(order.payment.intent)
        order = self._written_down(order, intent)
        if order.payment.intent != intent.id:
            return self._take(order, needed, final=final, cause=cause)  # It was renewed meanwhile.
        missing = needed - order.payment.settled
        if intent.status != "requires_capture" or (missing <= 0 and not final):
            return order
        if missing <= 0:
            # Nothing more is owed: the rest goes back to the customer's bank.
            return self._written_down(order, gateway.cancel_intent(intent.id))
        if not final and not intent.multicapture:
            final, missing = True, owed(order) - order.payment.settled
        amount = min(missing, intent.amount_capturable)
        key = f"capture:{intent.id}:{cause}:{intent.amount_received + amount}"
        try:
            intent = gateway.capture_intent(intent.id, amount, received=intent.amount_received, final=final, key=key)
        except PaymentRefused as refused:
            now = self.orders.require(order.order_id)
            if now.payment.intent != intent.id:
                return self._take(now, needed, final=final, cause=cause)
            telemetry.count("CapturesRefused")
            telemetry.logger.warning("capture_refused", order_id=order.order_id, code=refused.code)
            self._hold(order.order_id, intent.id, refused.code)
            intent = gateway.get_intent(intent.id)
        telemetry.count("Captures")
        return self._written_down(order, intent)

    def _written_down(self, order: Order, intent: Intent) -> Order:
        source = f"read:{intent.id}:{intent.status}:{intent.amount_received}"
        fact = fact_of(intent, order.order_id, source)
        if fact is None:
            return order
        self.payments.apply(fact)
        return self.orders.require(order.order_id)

    def _hold(self, order_id: str, intent_id: str, code: str) -> None:
        now = self.clock()

        def decide(order: Order) -> Change | None:
            if "payment" in order.holds or order.payment.intent != intent_id:
                return None
            hold = Hold(f"capture refused: {code}", "finance", to_text(now), to_text(now + timedelta(hours=4)))
            event = Event("CaptureRefused", PROVIDER, code)
            return Change(
                replace(order.without_effect(Effect.SECURE_AUTHORIZATION), holds={**order.holds, "payment": hold}),
                event,
            )

        self.orders.change(order_id, decide, now)
