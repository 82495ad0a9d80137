"""How fulfilment stops and begins anew: holds, and which workflow run has the word.

At most one run works on an order. ``Order.runs`` counts the restarts, and a run whose number is behind has been
followed by another: whatever it still does is refused. An order that stops keeps ``START_FULFILLMENT`` among its
effects, so that it starts again as soon as nothing holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from oms.fulfillment.shipments import change_with_shipments, parse_shipment_id
from oms.orders.model import Effect, Event, Hold, Order, Status
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text

ALIVE = frozenset({Status.CONFIRMED, Status.IN_FULFILLMENT})
HOLD_FOR = timedelta(hours=4)
"""How soon the owner of a hold has to act before it is brought up again."""


class OrderHeld(Exception):
    """Something holds the order: no work on it until somebody releases it."""


class RunSuperseded(Exception):
    """Another run has taken the order over."""


class ParcelClosed(Exception):
    """The parcel does not take this step any more: it is short, cancelled or gone."""


_SAID_ALREADY = OrderHeld.__name__
"""The error that ends a run in good order: the hold says why. Other orderly ends have changed the order themselves."""


def run_name(order_id: str, runs: int) -> str:
    """The name of a run: executions are named by the order, restarts by their number too."""
    return order_id if runs == 0 else f"{order_id}-{runs}"


def run_number(order_id: str, run: str) -> int:
    """The inverse of ``run_name``."""
    return int(run.removeprefix(order_id).removeprefix("-") or 0)


def require_run(order: Order, run: str) -> None:
    """Raises ``RunSuperseded`` when this run has a successor."""
    if run_number(order.order_id, run) < order.runs:
        raise RunSuperseded(run)


def require_released(order: Order) -> None:
    """Raises ``OrderHeld`` naming the holds."""
    if order.holds:
        raise OrderHeld(", ".join(sorted(order.holds)))


def begun_anew(order: Order) -> Order:
    """The order asking for its next run."""
    return replace(order.with_effects(Effect.START_FULFILLMENT), runs=order.runs + 1)


def held(order: Order, kind: str, reason: str, owner: str, now: datetime) -> Order:
    """The order stopped by a hold, unless one of that kind is there; once it is released, the next run begins."""
    hold = Hold(reason, owner, to_text(now), to_text(now + HOLD_FOR))
    return replace(begun_anew(order), holds={kind: hold, **order.holds})


@dataclass(frozen=True, slots=True)
class PauseFulfillment:
    """The compensation of every workflow step."""

    orders: DynamoOrders
    clock: Clock

    @contextmanager
    def parking(self, order_id: str, run: str, shipment_id: str = "") -> Iterator[None]:
        """Park the order as soon as a step meets a hold. The workflow's catch would do it too, but the name of an
        error, or the error of a step that waits, does not reach every engine."""
        try:
            yield
        except OrderHeld:
            self.park(order_id, run, OrderHeld.__name__, shipment_id)
            raise

    def park(self, order_id: str, run: str, error: str, shipment_id: str = "") -> None:
        """End a run that met ``error``: the order is left so that a later run can take over from where this one was.

        An error that nobody foresaw puts the order before a person. Repeating is harmless.
        """
        now = self.clock()

        def decide(order: Order) -> Change | None:
            if order.status not in ALIVE or run_number(order_id, run) < order.runs:
                return None
            data = {"error": error, "shipment": parse_shipment_id(shipment_id)[1] if shipment_id else None}
            event = Event("FulfillmentPaused", "system", "workflow", data)
            if error == _SAID_ALREADY:
                return Change(begun_anew(order), event)
            return Change(held(order, "operator", f"fulfilment failed: {error}", "fulfilment", now), event)

        order = change_with_shipments(self.orders, order_id, decide, now)
        telemetry.logger.warning("fulfillment_paused", order_id=order_id, error=error, holds=sorted(order.holds))
