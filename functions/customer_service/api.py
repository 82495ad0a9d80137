"""What staff see and do about an order: its verified history, its holds, and its refunds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from oms.bootstrap import app
from oms.customers.automation import day_of
from oms.fulfillment.tracking import Troubles
from oms.orders.aftersales_forms import GivenBackForm, RefundForm, WithdrawForm
from oms.orders.crediting import Credit, refunds_view
from oms.orders.forms import HoldForm, ReleaseForm
from oms.orders.holding import RELEASED_BY
from oms.orders.listing import list_orders
from oms.orders.notes import NoteForm, note_view, notes_view
from oms.orders.outlook import facts_of, outlook
from oms.orders.reading import order_view
from oms.orders.story import timeline_view
from oms.payments.cases import KINDS, case_view
from oms.payments.disputes import CloseCaseForm, EvidenceForm, dispute_view
from oms.runtime import errors
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point

SAID = ("q", "number", "email", "phone", "tracking", "name", "postcode", "last4", "date")
STAFF = ("agent", "warehouse", "ops", "pos")


def list_all(request: ApiRequest) -> ApiResponse:
    """List orders, newest first: everybody's or one customer's."""
    request.require_group(*STAFF)
    wanted = {name: request.query.get(name, "") for name in ("status", "channel", "cursor")}
    customers = [request.query["customer"]] if request.query.get("customer") else []
    return ApiResponse(200, list_orders(app().orders, app().clock(), customers=customers, **wanted))


def find(request: ApiRequest) -> ApiResponse:
    """Find orders by anything that a caller can say."""
    request.require_group("agent", "ops", "pos")
    return ApiResponse(200, app().finding.find({name: request.query.get(name, "") for name in SAID}))


def timeline(request: ApiRequest) -> ApiResponse:
    """Tell an order's whole story, and whether its hashes prove it."""
    request.require_group(*STAFF)
    order = app().orders.require(request.path["id"])
    private = bool(request.groups & {"agent", "ops", "pos"})
    return ApiResponse(200, timeline_view(app().orders, app().inventory, order, private=private))


def why_late(request: ApiRequest) -> ApiResponse:
    """Say what an order waits for, whose turn it is, and what happens if nothing is done."""
    request.require_group(*STAFF)
    order = app().orders.require(request.path["id"])
    return ApiResponse(200, outlook(order, facts_of(app().orders, app().inventory, order), app().clock()))


def actions(request: ApiRequest) -> ApiResponse:
    """Say what the caller may do about an order, what follows from it, and why the rest is not to be had."""
    request.require_group("agent", "ops", "pos")
    return ApiResponse(200, app().offering.view(request.path["id"], request.groups))


def add_note(request: ApiRequest) -> ApiResponse:
    """Keep what was said about an order."""
    request.require_group("agent", "ops", "pos")
    key = request.idempotency_key()
    note = app().notes.add(request.path["id"], request.parse(NoteForm), author=request.actor, key=key)
    return ApiResponse(201, note_view(note))


def payment_link(request: ApiRequest) -> ApiResponse:
    """Have the customer sent the link by which they pay."""
    request.require_group("agent", "ops", "pos")
    key = request.idempotency_key()
    return ApiResponse(202, app().payment_links.send(request.path["id"], actor=request.actor, key=key))


def notes(request: ApiRequest) -> ApiResponse:
    """List what was said about an order."""
    request.require_group("agent", "ops", "pos")
    order = app().orders.require(request.path["id"])
    return ApiResponse(200, notes_view(order.order_id, app().notes.listed(order.order_id)))


def hold(request: ApiRequest) -> ApiResponse:
    """Stop an order until somebody releases it."""
    request.require_group("agent", "ops")
    form = request.parse(HoldForm)
    order = app().holding.put(
        request.path["id"],
        form.kind,
        reason=form.reason,
        owner=form.owner,
        hours=form.hours,
        actor=request.actor,
    )
    return ApiResponse(200, order_view(app().orders, order, staff=True))


def release(request: ApiRequest) -> ApiResponse:
    """Let a held order go on."""
    kind = request.path["kind"]
    if kind not in RELEASED_BY:
        raise errors.NotFound(f"There is no hold of kind {kind}.")
    request.require_group(*RELEASED_BY[kind])
    form = request.parse(ReleaseForm)
    order = app().holding.release(request.path["id"], kind, reason=form.reason, actor=request.actor)
    return ApiResponse(200, order_view(app().orders, order, staff=True))


def evidence(request: ApiRequest) -> ApiResponse:
    """Show a dispute with what speaks for us."""
    request.require_group("agent", "ops")
    item, gathered = app().disputes.gathered(request.path["id"], request.path["dispute"])
    return ApiResponse(200, dispute_view(item, gathered))


def submit_evidence(request: ApiRequest) -> ApiResponse:
    """Hand the evidence in, for good."""
    request.require_group("agent", "ops")
    form = request.parse(EvidenceForm)
    order_id, dispute = request.path["id"], request.path["dispute"]
    item = app().disputes.submit(order_id, dispute, statement=form.statement, actor=request.actor)
    return ApiResponse(200, dispute_view(item, {}))


def cases(request: ApiRequest) -> ApiResponse:
    """List what disagrees about money, a kind at a time."""
    request.require_group("ops")
    kind = request.query.get("kind", KINDS[0])
    if kind not in KINDS:
        raise errors.NotFound(f"There is no kind {kind} of case.")
    closed = request.query.get("status") == "closed"
    found, cursor = app().cases.listed(kind, closed=closed, limit=50, after=request.query.get("cursor", ""))
    return ApiResponse(200, {"cases": [case_view(item) for item in found], "cursor": cursor or None})


def close_case(request: ApiRequest) -> ApiResponse:
    """Note how a case was put right."""
    request.require_group("ops")
    form = request.parse(CloseCaseForm)
    kind, case_id = request.path["kind"], request.path["case"]
    now = app().clock()
    return ApiResponse(
        200, case_view(app().cases.close(kind, case_id, outcome=form.outcome, actor=request.actor, now=now))
    )


def parcel_exceptions(request: ApiRequest) -> ApiResponse:
    """List the parcels that need a person, the most urgent first."""
    request.require_group("agent", "ops", "warehouse")
    return ApiResponse(200, Troubles(app().orders, app().clock).page(request.query.get("cursor")))


def close_parcel_exception(request: ApiRequest) -> ApiResponse:
    """Say that a parcel needs nobody any more."""
    request.require_group("agent", "ops")
    form = request.parse(ReleaseForm)
    troubles = Troubles(app().orders, app().clock)
    return ApiResponse(200, troubles.close(request.path["id"], reason=form.reason, actor=request.actor))


def open_holds(request: ApiRequest) -> ApiResponse:
    """List the open holds of a kind, those of one owner if one is named."""
    request.require_group(*STAFF)
    query = request.query
    return ApiResponse(
        200, app().holding.open_holds(query.get("kind", ""), query.get("owner", ""), query.get("cursor", ""))
    )


def work(request: ApiRequest) -> ApiResponse:
    """List everything that waits for a person, the most urgent first."""
    request.require_group("agent", "ops")
    query = request.query
    return ApiResponse(
        200,
        app().worklist.page(query.get("owner", ""), query.get("cursor", ""), ops="ops" in request.groups),
    )


def automation(request: ApiRequest) -> ApiResponse:
    """Tell how many orders nobody had to touch, and why the others were touched."""
    request.require_group("agent", "ops")
    today = app().clock().date()
    first = day_of(request.query.get("from", (today - timedelta(days=29)).isoformat()), "from")
    last = day_of(request.query.get("to", today.isoformat()), "to")
    return ApiResponse(200, app().touches.report(first, last))


def refund(request: ApiRequest) -> ApiResponse:
    """Give money back without a return."""
    request.require_group("agent", "ops")
    key = request.idempotency_key()
    form = request.parse(RefundForm)
    lines: dict[int, int] = {}
    for line in form.lines or ():
        lines[line.line] = lines.get(line.line, 0) + line.quantity
    answer = app().crediting.give(
        request.path["id"],
        Credit(form.kind, form.amount or 0, lines, form.reason, form.note),
        actor=request.actor,
        unlimited="ops" in request.groups,
        key=key,
    )
    return ApiResponse(201, answer)


def refunds(request: ApiRequest) -> ApiResponse:
    """List an order's refunds and where each stands."""
    request.require_group("agent", "ops")
    return ApiResponse(200, refunds_view(app().orders, app().orders.require(request.path["id"])))


def retry(request: ApiRequest) -> ApiResponse:
    """Have a refund that failed sent once more."""
    request.require_group("agent", "ops")
    app().crediting.retry(request.path["id"], request.path["refund"], actor=request.actor)
    return refunds(request)


def given_back(request: ApiRequest) -> ApiResponse:
    """Note that a person gave a refund's money back."""
    request.require_group("agent", "ops")
    form = request.parse(GivenBackForm)
    app().tenders.given_back(
        request.path["id"],
        request.path["refund"],
        method=form.method,
        reference=form.reference,
        agent=request.actor,
    )
    return refunds(request)


def withdraw(request: ApiRequest) -> ApiResponse:
    """Note that a refund's money is not owed after all."""
    request.require_group("ops")
    form = request.parse(WithdrawForm)
    app().tenders.withdraw(request.path["id"], request.path["refund"], reason=form.reason, agent=request.actor)
    return refunds(request)


ROUTES = {
    "GET /orders": list_all,
    "GET /holds": open_holds,
    "GET /orders/find": find,
    "GET /work": work,
    "GET /reports/automation": automation,
    "GET /orders/{id}/timeline": timeline,
    "GET /orders/{id}/outlook": why_late,
    "GET /orders/{id}/actions": actions,
    "POST /orders/{id}/notes": add_note,
    "GET /orders/{id}/notes": notes,
    "POST /orders/{id}/payment-link": payment_link,
    "POST /orders/{id}/holds": hold,
    "DELETE /orders/{id}/holds/{kind}": release,
    "GET /orders/{id}/disputes/{dispute}/evidence": evidence,
    "POST /orders/{id}/disputes/{dispute}/evidence": submit_evidence,
    "GET /payments/cases": cases,
    "POST /payments/cases/{kind}/{case}/close": close_case,
    "GET /parcels/exceptions": parcel_exceptions,
    "DELETE /parcels/{id}/exception": close_parcel_exception,
    "POST /orders/{id}/refunds": refund,
    "GET /orders/{id}/refunds": refunds,
    "POST /orders/{id}/refunds/{refund}/retry": retry,
    "POST /orders/{id}/refunds/{refund}/given-back": given_back,
    "POST /orders/{id}/refunds/{refund}/withdraw": withdraw,
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
