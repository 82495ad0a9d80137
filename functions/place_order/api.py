"""POST /orders, GET /orders/{id}, POST /orders/{id}/cancel: the shopper's side of an order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from oms.bootstrap import App, app
from oms.orders.access import token_opens
from oms.orders.forms import CancelOrderForm, PlaceOrderForm
from oms.orders.model import Order
from oms.orders.reading import order_view, placement_view
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
    order, staff = _authorised(request, app(), *STAFF)
    return ApiResponse(200, order_view(app().orders, order, staff=staff))


def cancel(request: ApiRequest) -> ApiResponse:
    """Cancel an order, or some of its lines, for its customer or an agent."""
    order, staff = _authorised(request, app(), "agent", "ops")
    form = request.parse(CancelOrderForm) if request.body else CancelOrderForm()
    actor = request.actor if staff else "customer"
    wanted: dict[int, int] = {}
    for line in form.lines or ():
        wanted[line.line] = wanted.get(line.line, 0) + line.quantity
    key = request.idempotency_key() if wanted or "idempotency-key" in request.headers else ""
    ending = app().ending
    try:
        if wanted:
            order = ending.cancel_lines(order.order_id, wanted, reason=form.reason, actor=actor, key=key)
        else:
            order = ending.cancel(order.order_id, reason=form.reason, actor=actor, key=key)
    except AlreadyApplied:
        order = app().orders.require(order.order_id)
    return ApiResponse(200, order_view(app().orders, order, staff=staff))


def _authorised(request: ApiRequest, parts: App, *groups: str) -> tuple[Order, bool]:
    """The order, if the caller holds its token or is staff of one of the groups. Anyone else learns nothing."""
    order_id = request.path["id"]
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer:
        known = replace(request, claims=parts.staff_tokens.claims(bearer))
        known.require_group(*groups)
        return parts.orders.require(order_id), True
    token = request.headers.get("order-token", "")
    if not token_opens(token, order_id, parts.clock(), parts.token_keys()):
        raise errors.NotFound("There is no such order.")
    return parts.orders.require(order_id), False


# Built while the function starts, when it has a whole processor, rather than in somebody's request.
PlaceOrderForm.model_rebuild()

ROUTES = {"POST /orders": place, "GET /orders/{id}": read, "POST /orders/{id}/cancel": cancel}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
