"""POST /orders, GET /orders/{id} and its payment, POST /orders/{id}/cancel: the shopper's side of an order."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.messages.forms import MessagePreferencesForm
from oms.orders.admission import admit
from oms.orders.forms import CancelOrderForm, PlaceOrderForm
from oms.orders.notes import names_somebody
from oms.orders.reading import order_view, payment_view, placement_view
from oms.orders.store import AlreadyApplied
from oms.runtime import errors
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point

STAFF = ("agent", "warehouse", "ops", "pos")


def place(request: ApiRequest) -> ApiResponse:
    """Place an order and open its payment."""
    key = request.idempotency_key()
    placement = app().placing.place(request.parse(PlaceOrderForm), key)
    return ApiResponse(201, placement_view(placement), {"location": f"/orders/{placement.order.order_id}"})


def read(request: ApiRequest) -> ApiResponse:
    """Show an order to its customer or to staff."""
    caller = admit(request, app(), *STAFF)
    waits = caller.order.collect_by and not caller.staff
    code = app().collection_code(caller.order.order_id) if waits else ""
    return ApiResponse(200, order_view(app().orders, caller.order, staff=caller.staff, collection_code=code))


def payment(request: ApiRequest) -> ApiResponse:
    """Give what a browser needs to pay an order, as long as there is something to pay."""
    order = admit(request, app(), "agent", "pos", "ops").order
    return ApiResponse(200, payment_view(order, app().placing.payment(order)))


def cancel(request: ApiRequest) -> ApiResponse:
    """Cancel an order, or some of its lines, for its customer or an agent."""
    caller = admit(request, app(), "agent", "ops")
    form = request.parse(CancelOrderForm) if request.body else CancelOrderForm()
    order_id, actor = caller.order.order_id, caller.actor
    wanted: dict[int, int] = {}
    for line in form.lines or ():
        wanted[line.line] = wanted.get(line.line, 0) + line.quantity
    key = request.idempotency_key() if wanted or "idempotency-key" in request.headers else ""
    ending = app().ending
    try:
        if wanted:
            order = ending.cancel_lines(order_id, wanted, reason=form.reason, actor=actor, key=key)
        else:
            order = ending.cancel(order_id, reason=form.reason, actor=actor, key=key)
    except AlreadyApplied:
        order = app().orders.require(order_id)
    return ApiResponse(200, order_view(app().orders, order, staff=caller.staff))


def put_preferences(request: ApiRequest) -> ApiResponse:
    """Let the customer of an order say what they do not want to hear of, and whether marketing is welcome."""
    caller = admit(request, app(), "agent", "ops")
    form = request.parse(MessagePreferencesForm)
    if not names_somebody(caller.order):
        raise errors.Conflict("The person of this order was forgotten.", extra={"code": "person_erased"})
    app().keeping.prefer(caller.order.customer["id"], form.wish(caller.actor))
    return ApiResponse(200, {"off": sorted(set(form.off)), "marketing": form.marketing})


# Built while the function starts, when it has a whole processor, rather than in somebody's request.
PlaceOrderForm.model_rebuild()

ROUTES = {
    "POST /orders": place,
    "GET /orders/{id}": read,
    "GET /orders/{id}/payment": payment,
    "POST /orders/{id}/cancel": cancel,
    "PUT /orders/{id}/message-preferences": put_preferences,
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
