"""Selling by phone and at a till: orders, drafts of them, money that was taken, and receipts."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.orders.admission import admit
from oms.orders.reading import order_view
from oms.orders.selling import Seller
from oms.orders.staff_forms import DraftForm, HandOverForm, PlaceDraftForm, StaffOrderForm, TenderForm
from oms.runtime.http import ApiRequest, ApiResponse, dispatch, field_problem
from oms.runtime.telemetry import entry_point

SELLERS = ("agent", "ops", "pos")


def place(request: ApiRequest) -> ApiResponse:
    """Place an order by phone, or record what a till sold."""
    seller = _seller(request)
    key = request.idempotency_key()
    answer = app().selling.place(request.parse(StaffOrderForm), key, seller)
    return ApiResponse(201, answer, {"location": f"/orders/{answer['order_id']}"})


def take_payment(request: ApiRequest) -> ApiResponse:
    """Record money that was taken for an order."""
    request.require_group(*SELLERS)
    key = request.idempotency_key()
    form = request.parse(TenderForm)
    if form.method == "bank_transfer":
        request.require_group("ops")
    order = app().tenders.record(
        request.path["id"], form.method, form.amount, reference=form.reference, agent=request.actor, key=key
    )
    return ApiResponse(200, order_view(app().orders, order, staff=True))


def hand_over(request: ApiRequest) -> ApiResponse:
    """Let goods leave the books that went over the counter: as far as the books have them, or all that were there."""
    request.require_group(*SELLERS)
    form = request.parse(HandOverForm) if request.body else HandOverForm()
    if form.found:
        # It enters stock, as movements do.
        request.require_group("ops")
    order = app().counter_sales.go_on(request.path["id"], actor=request.actor, found=form.found or "")
    return ApiResponse(200, order_view(app().orders, order, staff=True))


def open_draft(request: ApiRequest) -> ApiResponse:
    """Save a new draft."""
    seller = _seller(request)
    key = request.idempotency_key()
    return _draft(app().drafts.open(request.parse(DraftForm), key, seller), 201)


def list_drafts(request: ApiRequest) -> ApiResponse:
    """List the open drafts of the caller, or of somebody else."""
    seller = _seller(request)
    owner = request.query.get("owner", "")
    return ApiResponse(
        200, app().drafts.listed(f"staff:{owner}" if owner else seller.actor, request.query.get("cursor", ""))
    )


def read_draft(request: ApiRequest) -> ApiResponse:
    """Show a draft, priced as things stand."""
    return _draft(app().drafts.read(request.path["id"], _seller(request)))


def save_draft(request: ApiRequest) -> ApiResponse:
    """Save a draft over the version that was read."""
    seller, seen = _seller(request), request.if_match()
    if seen is None:
        raise field_problem([("If-Match", "the version that was read, as in ETag")])
    return _draft(app().drafts.save(request.path["id"], request.parse(DraftForm), seen, seller))


def drop_draft(request: ApiRequest) -> ApiResponse:
    """Throw a draft away."""
    request.require_group(*SELLERS)
    app().drafts.drop(request.path["id"], request.if_match())
    return ApiResponse(200, {"draft_id": request.path["id"], "dropped": True})


def place_draft(request: ApiRequest) -> ApiResponse:
    """Place a draft, which ends it."""
    seller = _seller(request)
    key = request.idempotency_key()
    form = request.parse(PlaceDraftForm)
    answer = app().drafts.place(request.path["id"], form, key, request.if_match(), seller)
    return ApiResponse(201, answer, {"location": f"/orders/{answer['order_id']}"})


def receipt(request: ApiRequest) -> ApiResponse:
    """Give the receipt of an order, as JSON or as it is printed."""
    order = admit(request, app(), *SELLERS).order
    if request.query.get("format") == "pdf" or "application/pdf" in request.headers.get("accept", ""):
        return ApiResponse(200, app().receipts.slip(order), {"content-type": "application/pdf"})
    return ApiResponse(200, app().receipts.receipt(order))


def _seller(request: ApiRequest) -> Seller:
    request.require_group(*SELLERS)
    return Seller(request.actor, request.groups)


def _draft(view: dict[str, Any], status: int = 200) -> ApiResponse:
    return ApiResponse(status, view, {"etag": f'"{view["version"]}"'})


# Built while the function starts, when it has a whole processor, rather than in somebody's request.
StaffOrderForm.model_rebuild()

ROUTES = {
    "POST /staff/orders": place,
    "POST /staff/orders/{id}/payments": take_payment,
    "POST /staff/orders/{id}/hand-over": hand_over,
    "POST /staff/drafts": open_draft,
    "GET /staff/drafts": list_drafts,
    "GET /staff/drafts/{id}": read_draft,
    "PUT /staff/drafts/{id}": save_draft,
    "DELETE /staff/drafts/{id}": drop_draft,
    "POST /staff/drafts/{id}/place": place_draft,
    "GET /orders/{id}/receipt": receipt,
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
