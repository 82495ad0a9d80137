"""After the sale, for customers and agents: returns from the request to the label, edits and addresses."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.orders.admission import admit
from oms.orders.aftersales_forms import ConfirmEditForm, EditForm, ReturnDecisionForm, ReturnForm
from oms.orders.editing import Edit
from oms.orders.forms import AddressForm
from oms.orders.notes import MessageForm, message_view
from oms.orders.reading import order_view
from oms.orders.returning import ReturnLine, return_view
from oms.orders.returns import Asked
from oms.runtime import errors
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point

AGENTS = ("agent", "ops")
STAFF = ("agent", "warehouse", "ops", "pos")


def ask(request: ApiRequest) -> ApiResponse:
    """Ask for a return."""
    caller = admit(request, app(), *AGENTS)
    key = request.idempotency_key()
    form = request.parse(ReturnForm)
    asked = Asked(
        tuple(ReturnLine(line.line, line.quantity, line.reason) for line in form.lines),
        {line.sku: line.quantity for line in form.exchange or ()},
    )
    answer = app().returns.ask(caller.order.order_id, asked, actor=caller.actor, staff=caller.staff, key=key)
    return ApiResponse(201, answer)


def read(request: ApiRequest) -> ApiResponse:
    """List an order's returns."""
    caller = admit(request, app(), *STAFF)
    return ApiResponse(200, {"returns": [return_view(one) for one in app().returns.of(caller.order.order_id)]})


def decide(request: ApiRequest) -> ApiResponse:
    """Approve, reject or close a return; its customer may cancel it, or say that it is on its way."""
    caller = admit(request, app(), *AGENTS)
    form = request.parse(ReturnDecisionForm)
    if not caller.staff and form.decision not in ("cancel", "sent"):
        raise errors.Forbidden("Only customer service decides this.")
    found = app().returns.decide(
        caller.order.order_id, _number(request), form.decision, reason=form.reason, actor=caller.actor
    )
    return ApiResponse(200, return_view(found))


def label(request: ApiRequest) -> ApiResponse:
    """Buy the label of an approved return, or show the one it has."""
    from oms.fulfillment.carrier import CarrierRefused, CarrierUnavailable

    caller = admit(request, app(), *AGENTS)
    try:
        found = app().returns.label(caller.order.order_id, _number(request), app().carrier)
    except CarrierUnavailable:
        raise errors.Unavailable("The carrier does not answer. Send the same request again.", retry_after=5) from None
    except CarrierRefused:
        raise errors.Conflict("The carrier does not take this parcel.", extra={"code": "carrier_refused"}) from None
    return ApiResponse(200, return_view(found))


def preview(request: ApiRequest) -> ApiResponse:
    """Say what an edit would cost and take."""
    caller = admit(request, app(), *AGENTS)
    return ApiResponse(200, app().editing.preview(caller.order.order_id, _edit(request.parse(EditForm))))


def edit(request: ApiRequest) -> ApiResponse:
    """Carry out what was previewed."""
    caller = admit(request, app(), *AGENTS)
    key = request.idempotency_key()
    form = request.parse(ConfirmEditForm)
    answer = app().editing.confirm(caller.order.order_id, _edit(form), form.preview, actor=caller.actor, key=key)
    return ApiResponse(200, answer)


def change_address(request: ApiRequest) -> ApiResponse:
    """Send what has not left to another address."""
    caller = admit(request, app(), *AGENTS)
    address = request.parse(AddressForm).model_dump(exclude_none=True)
    order = app().editing.change_address(caller.order.order_id, address, actor=caller.actor)
    return ApiResponse(200, order_view(app().orders, order, staff=caller.staff))


def write(request: ApiRequest) -> ApiResponse:
    """Keep what the customer writes about their order."""
    caller = admit(request, app())
    if caller.staff:
        raise errors.Forbidden("Staff keep notes: POST /orders/{id}/notes.")
    key = request.idempotency_key()
    return ApiResponse(201, message_view(app().notes.say(caller.order.order_id, request.parse(MessageForm), key=key)))


def _edit(form: EditForm) -> Edit:
    address = form.shipping_address
    return Edit(
        {line.line: line.quantity for line in form.lines if line.line is not None},
        {line.sku: line.quantity for line in form.lines if line.sku is not None},
        address.model_dump(exclude_none=True) if address else None,
    )


def _number(request: ApiRequest) -> int:
    number = request.path["number"]
    if not (number.isascii() and number.isdigit() and len(number) < 4):
        raise errors.NotFound("There is no such return.")
    return int(number)


ROUTES = {
    "POST /orders/{id}/returns": ask,
    "GET /orders/{id}/returns": read,
    "POST /orders/{id}/returns/{number}/decision": decide,
    "POST /orders/{id}/returns/{number}/label": label,
    "POST /orders/{id}/edits/preview": preview,
    "POST /orders/{id}/edits": edit,
    "PATCH /orders/{id}/address": change_address,
    "POST /orders/{id}/messages": write,
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
