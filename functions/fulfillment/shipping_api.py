"""Facilities, routing and the end of the day: where orders leave from, why, and with which papers."""

from __future__ import annotations

import re
from typing import Any

from oms.bootstrap import app
from oms.fulfillment.carrier import CarrierRefused, CarrierUnavailable
from oms.fulfillment.closing import CloseDay
from oms.fulfillment.dropship import DropShip
from oms.fulfillment.facilities import Facility, facilities, facility_codes, facility_view, save_facility
from oms.fulfillment.handlabels import LabelByHand
from oms.fulfillment.rehearsing import RehearseRules
from oms.fulfillment.resourcing import ResourceParcels
from oms.fulfillment.routing_forms import DeclineForm, DryRunForm, FacilityForm, LabelForm, RoutingRulesForm
from oms.fulfillment.rules import current_rules, put_rules, rules_view
from oms.fulfillment.shipments import Label
from oms.inventory.forms import FACILITY_PATTERN
from oms.runtime import errors
from oms.runtime.http import ApiRequest, ApiResponse, dispatch, field_problem
from oms.runtime.telemetry import entry_point

STAFF = ("agent", "warehouse", "ops", "pos")
_REHEARSAL_SECONDS = 15.0


def put_facility(request: ApiRequest) -> ApiResponse:
    """Create or replace a facility; one that closes gives its parcels to others."""
    request.require_group("ops")
    code = request.path["facility"]
    if not re.fullmatch(FACILITY_PATTERN, code):
        raise field_problem([("facility", "lower-case letters, digits and hyphens, 32 at most")])
    facility = request.parse(FacilityForm).facility(code)
    parts = app()
    save_facility(parts.inventory, facility, parts.clock())
    if not facility.active:
        ResourceParcels(parts.orders, parts.inventory, parts.clock).close(code)
    return ApiResponse(200, facility_view(facility))


def get_facility(request: ApiRequest) -> ApiResponse:
    """Show a facility."""
    request.require_group(*STAFF)
    return ApiResponse(200, facility_view(_facility(request.path["facility"])))


def list_facilities(request: ApiRequest) -> ApiResponse:
    """Show all facilities."""
    request.require_group(*STAFF)
    found = facilities(app().inventory, facility_codes(app().inventory))
    return ApiResponse(200, {"facilities": [facility_view(found[code]) for code in sorted(found)]})


def get_rules(request: ApiRequest) -> ApiResponse:
    """Show the routing rules."""
    request.require_group(*STAFF)
    return ApiResponse(200, rules_view(current_rules(app().inventory)))


def replace_rules(request: ApiRequest) -> ApiResponse:
    """Replace the routing rules; orders that are planned from now on follow them."""
    request.require_group("ops")
    rules = request.parse(RoutingRulesForm).as_rules()
    return ApiResponse(200, rules_view(put_rules(app().inventory, rules, actor=request.actor, now=app().clock())))


def rehearse_rules(request: ApiRequest) -> ApiResponse:
    """Say what rules would do to the last orders."""
    request.require_group("ops")
    form = request.parse(DryRunForm)
    parts = app()
    ends = parts.monotonic() + _REHEARSAL_SECONDS
    rehearsal = RehearseRules(parts.orders, parts.inventory, parts.clock)
    return ApiResponse(200, rehearsal.run(form.as_rules(), form.last, lambda: ends - parts.monotonic()))


def close_day(request: ApiRequest) -> ApiResponse:
    """Make the carriers' manifests, and say what should have left by now and has not."""
    request.require_group("ops", "warehouse")
    code = _facility(request.path["facility"]).code
    try:
        return ApiResponse(200, _closing().close(code))
    except CarrierUnavailable:
        raise errors.Unavailable("The carrier does not answer; what was made is kept.", retry_after=30) from None
    except CarrierRefused as refused:
        raise errors.Conflict(f"The carrier makes no manifest: {refused}.") from None


def list_manifests(request: ApiRequest) -> ApiResponse:
    """Show the latest manifests of a facility."""
    request.require_group(*STAFF)
    code = _facility(request.path["facility"]).code
    return ApiResponse(200, {"facility": code, "manifests": _closing().manifests(code)})


def put_label(request: ApiRequest) -> ApiResponse:
    """Put a label on a parcel by hand."""
    request.require_group("ops", "warehouse")
    form = request.parse(LabelForm)
    by_hand = LabelByHand(app().orders, app().clock)
    shipment = by_hand.put(request.path["id"], form.carrier, form.service, form.tracking_number, request.actor)
    told = {"carrier": form.carrier, "service": form.service, "tracking_number": form.tracking_number}
    return ApiResponse(200, {"shipment_id": shipment.shipment_id, "status": shipment.status.value, **told})


def list_requests(request: ApiRequest) -> ApiResponse:
    """Show what a vendor has been asked to send and has not answered."""
    request.require_group(*STAFF)
    code = _facility(request.path["facility"]).code
    return ApiResponse(200, _vendors().open_at(code, request.query.get("cursor", "")))


def confirm_request(request: ApiRequest) -> ApiResponse:
    """Say that a vendor sends a parcel, and with which label."""
    request.require_group("ops", "warehouse")
    form = request.parse(LabelForm)
    label = Label(form.carrier, form.service, form.tracking_number, "", "", 0, "")
    return ApiResponse(200, _vendors().confirm(request.path["id"], label, request.actor))


def decline_request(request: ApiRequest) -> ApiResponse:
    """Say that a vendor does not send a parcel."""
    request.require_group("ops", "warehouse")
    form = request.parse(DeclineForm)
    return ApiResponse(200, _vendors().decline(request.path["id"], form.reason, request.actor))


def _vendors() -> DropShip:
    return DropShip(app().orders, app().inventory, app().clock)


def _closing() -> CloseDay:
    parts = app()
    return CloseDay(parts.orders, parts.inventory, parts.clock, lambda: parts.carrier)


def _facility(code: str) -> Facility:
    found = facilities(app().inventory, [code]).get(code)
    if found is None:
        raise errors.NotFound(f"There is no facility {code}.")
    return found


ROUTES = {
    "PUT /facilities/{facility}": put_facility,
    "GET /facilities/{facility}": get_facility,
    "GET /facilities": list_facilities,
    "GET /routing/rules": get_rules,
    "PUT /routing/rules": replace_rules,
    "POST /routing/dry-runs": rehearse_rules,
    "POST /facilities/{facility}/close": close_day,
    "GET /facilities/{facility}/manifests": list_manifests,
    "PUT /parcels/{id}/label": put_label,
    "GET /vendors/{facility}/requests": list_requests,
    "POST /vendors/requests/{id}/confirm": confirm_request,
    "POST /vendors/requests/{id}/decline": decline_request,
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
