"""Customers: who they are over all channels, what they bought, and which of them are one."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.customers.forms import ChangeCustomerForm, MergeForm
from oms.customers.joining import merge_view
from oms.customers.views import found_view, person_view
from oms.orders.listing import list_orders
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point

AGENTS = ("agent", "ops", "pos")


def find(request: ApiRequest) -> ApiResponse:
    """Find customers as somebody types."""
    request.require_group(*AGENTS)
    return ApiResponse(200, found_view(app().people, request.query.get("q", "")))


def read(request: ApiRequest) -> ApiResponse:
    """Show a person, asked for by any of their identities."""
    request.require_group(*AGENTS)
    return _shown(request)


def orders(request: ApiRequest) -> ApiResponse:
    """List a person's orders through all channels."""
    request.require_group(*AGENTS)
    person = app().people.of(request.path["id"])
    wanted = {name: request.query.get(name, "") for name in ("status", "channel", "cursor")}
    customers = sorted({request.path["id"], *person.identities})
    return ApiResponse(200, list_orders(app().orders, app().clock(), customers=customers, **wanted))


def change(request: ApiRequest) -> ApiResponse:
    """Write down what is known of a person beside their orders."""
    request.require_group("agent", "ops")
    form = request.parse(ChangeCustomerForm)
    app().changing_people.change(request.path["id"], form.told(), request.if_match())
    return _shown(request)


def join(request: ApiRequest) -> ApiResponse:
    """Make two people one."""
    request.require_group("agent", "ops")
    key = request.idempotency_key()
    form = request.parse(MergeForm)
    record = app().joining.join(request.path["id"], form.with_, reason=form.reason, actor=request.actor, key=key)
    return ApiResponse(201, merge_view(record))


def part(request: ApiRequest) -> ApiResponse:
    """Take a joining back."""
    request.require_group("agent", "ops")
    return ApiResponse(
        200, merge_view(app().joining.part(request.path["id"], request.path["merge"], actor=request.actor))
    )


def _shown(request: ApiRequest) -> ApiResponse:
    view = person_view(app().people, app().joining, request.path["id"])
    return ApiResponse(200, view, {"etag": f'"{view["version"]}"'})


ROUTES = {
    "GET /customers": find,
    "GET /customers/{id}": read,
    "GET /customers/{id}/orders": orders,
    "PATCH /customers/{id}": change,
    "POST /customers/{id}/merges": join,
    "DELETE /customers/{id}/merges/{merge}": part,
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
