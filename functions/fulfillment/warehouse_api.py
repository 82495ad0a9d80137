"""The warehouse's devices: the next work, and what was started, scanned, missed and completed; and the floor itself."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from oms.bootstrap import app
from oms.fulfillment.floor import Floor, Scanned
from oms.fulfillment.forms import (
    CollectForm,
    CompleteForm,
    PutBackForm,
    ScanForm,
    ShortForm,
    SkipForm,
    WalkScanForm,
    WalkShortForm,
    facility_code,
)
from oms.fulfillment.lots import LotRead
from oms.fulfillment.packing import BoxTold
from oms.fulfillment.putbacks import open_put_backs, put_back_done
from oms.fulfillment.walking import Walking, WalkInput
from oms.inventory.barcodes import read_barcode
from oms.inventory.model import lot_key
from oms.orders.aftersales_forms import ReturnScanForm
from oms.orders.returning import return_view
from oms.runtime import errors
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point

if TYPE_CHECKING:
    from oms.fulfillment.pickups import PickUps
    from oms.fulfillment.printing import Printing
    from oms.fulfillment.waves import PlanWork, WaveRequest

GROUP = "warehouse"


# ---- tasks: one parcel at a time -------------------------------------------------------------------------------------


def work(request: ApiRequest) -> ApiResponse:
    """List open tasks, the most urgent first."""
    floor = _floor(request)
    query = request.query
    return ApiResponse(200, floor.work(request.path["facility"], query.get("kind"), query.get("cursor")))


def start(request: ApiRequest) -> ApiResponse:
    """Begin a task."""
    return ApiResponse(200, _floor(request).start(request.path["id"], request.actor))


def scan(request: ApiRequest) -> ApiResponse:
    """Count items into a task; a scan sent again under its Idempotency-Key counts once."""
    floor = _floor(request)
    form = request.parse(ScanForm)
    scanned = Scanned(
        form.sku or "",
        form.barcode or "",
        form.quantity,
        form.bin or "",
        form.serial or "",
        form.lot or "",
        _day(form.expires),
    )
    return ApiResponse(200, floor.scan(request.path["id"], scanned, request.actor, _key(request)))


def short(request: ApiRequest) -> ApiResponse:
    """Report units that are not there."""
    floor = _floor(request)
    form = request.parse(ShortForm)
    lot = LotRead(form.lot or "", _day(form.expires))
    answer = floor.short(request.path["id"], form.sku, form.quantity, form.reason, request.actor, lot=lot)
    return ApiResponse(200, answer)


def complete(request: ApiRequest) -> ApiResponse:
    """Finish a task."""
    floor = _floor(request)
    form = request.parse(CompleteForm) if request.body else CompleteForm()
    told = BoxTold(form.weight_grams or 0, form.carton or "", form.reason or "")
    return ApiResponse(200, floor.complete(request.path["id"], request.actor, told))


def put_backs(request: ApiRequest) -> ApiResponse:
    """List what was picked and belongs on its shelf again, the oldest first."""
    floor = _floor(request)
    cursor = request.query.get("cursor", "")
    return ApiResponse(200, open_put_backs(floor.orders.table, floor.inventory, request.path["facility"], cursor))


def put_back(request: ApiRequest) -> ApiResponse:
    """Say that the units lie on their shelf again."""
    floor, now = _floor(request), app().clock()
    form = request.parse(PutBackForm) if request.body else PutBackForm()
    into = {unit.sku: unit.bin for unit in form.units}
    table, putback_id = floor.orders.table, request.path["id"]
    return ApiResponse(200, put_back_done(table, floor.inventory, putback_id, into, request.actor, now))


def scan_return(request: ApiRequest) -> ApiResponse:
    """Take returned units back as they were found."""
    floor = _floor(request)
    key = request.idempotency_key()
    form = request.parse(ReturnScanForm)
    told = read_barcode(form.barcode or "")
    sku = form.sku or floor.inventory.sku_of_barcode(told.code)
    lot = lot_key(form.lot or told.lot, _day(form.expires) or told.expires)
    if not sku:
        raise errors.Conflict("No product has this barcode.", extra={"code": "unknown_barcode"})
    answer = app().returns.scan(
        request.path["id"],
        sku=sku,
        quantity=form.quantity,
        grade=form.grade,
        facility=form.facility,
        actor=request.actor,
        key=key,
        lot=lot,
    )
    return ApiResponse(200, answer)


def complete_return(request: ApiRequest) -> ApiResponse:
    """End the inspection of a return: what did not come is missing, the rest is settled."""
    _floor(request)
    return ApiResponse(200, return_view(app().returns.complete(request.path["id"], actor=request.actor)))


def pickups(request: ApiRequest) -> ApiResponse:
    """List parcels that wait at the counter."""
    request.require_group(GROUP, "pos")
    facility = facility_code(request.path["facility"])
    return ApiResponse(200, _pickups().waiting(facility, request.query.get("cursor", "")))


def collect(request: ApiRequest) -> ApiResponse:
    """Hand a parcel to its customer."""
    from oms.fulfillment.pickups import Proof

    request.require_group(GROUP, "pos")
    form = request.parse(CollectForm)
    proof = Proof(form.code or "", form.identity or "")
    return ApiResponse(200, _pickups().collect(request.path["id"], proof, app().token_keys(), request.actor))


# ---- walks: many parcels at a time -----------------------------------------------------------------------------------


def next_walk(request: ApiRequest) -> ApiResponse:
    """Give this picker a walk, or the one they have."""
    return ApiResponse(200, _walking(request).next(facility_code(request.path["facility"]), request.actor))


def show_walk(request: ApiRequest) -> ApiResponse:
    """Show a pick list."""
    return ApiResponse(200, _walking(request).show(request.path["id"]))


def start_walk(request: ApiRequest) -> ApiResponse:
    """Take a certain walk."""
    return ApiResponse(200, _walking(request).start(request.path["id"], request.actor))


def scan_walk(request: ApiRequest) -> ApiResponse:
    """Scan a bin, an item or a tote."""
    walking = _walking(request)
    form = request.parse(WalkScanForm)
    read = WalkInput(
        form.bin or "",
        form.sku or "",
        form.barcode or "",
        form.quantity,
        form.tote or "",
        form.slot or 0,
        form.lot or "",
        _day(form.expires),
    )
    return ApiResponse(200, walking.scan(request.path["id"], read, request.actor, _key(request)))


def short_walk(request: ApiRequest) -> ApiResponse:
    """Report units that are not in their bin."""
    walking = _walking(request)
    form = request.parse(WalkShortForm)
    lot, name = LotRead(form.lot or "", _day(form.expires)), form.bin or ""
    answer = walking.short(request.path["id"], name, form.sku, form.quantity, form.reason, request.actor, lot)
    return ApiResponse(200, answer)


def skip_bin(request: ApiRequest) -> ApiResponse:
    """Leave a bin for the end of the walk."""
    walking = _walking(request)
    return ApiResponse(200, walking.skip(request.path["id"], request.parse(SkipForm).bin, request.actor))


def hand_over(request: ApiRequest) -> ApiResponse:
    """Give a walk up as it is."""
    return ApiResponse(200, _walking(request).hand_over(request.path["id"], request.actor))


def complete_walk(request: ApiRequest) -> ApiResponse:
    """Finish a walk and the picks of its parcels."""
    return ApiResponse(200, _walking(request).complete(request.path["id"], request.actor))


# ---- waves: work released to the floor -------------------------------------------------------------------------------


def preview_wave(request: ApiRequest) -> ApiResponse:
    """Show what a wave would be."""
    planner = _planner(request)
    return ApiResponse(200, planner.preview(_wave(request, "preview")))


def release_wave(request: ApiRequest) -> ApiResponse:
    """Plan and release a wave."""
    planner = _planner(request)
    return ApiResponse(201, planner.release(_wave(request, request.idempotency_key())))


def list_waves(request: ApiRequest) -> ApiResponse:
    """List waves, the newest first."""
    planner = _planner(request)
    return ApiResponse(200, planner.waves(facility_code(request.path["facility"]), request.query.get("cursor")))


def show_wave(request: ApiRequest) -> ApiResponse:
    """Show a wave and how far its walks are."""
    return ApiResponse(200, _planner(request).show(request.path["id"]))


def cancel_wave(request: ApiRequest) -> ApiResponse:
    """Take back the walks of a wave that nobody has begun."""
    return ApiResponse(200, _planner(request).cancel(request.path["id"]))


# ---- what is printed -------------------------------------------------------------------------------------------------


def suggest_cartons(request: ApiRequest) -> ApiResponse:
    """Suggest cartons for a parcel."""
    from oms.fulfillment.packing import suggest, suggestion_view

    printing = _printing(request)
    shipment, products = printing.parcel(request.path["id"])
    plan = printing.plan(shipment.facility)
    return ApiResponse(200, suggestion_view(shipment, suggest(shipment.required, products, plan.cartons)))


def packing_slip(request: ApiRequest) -> ApiResponse:
    """Print what lies in a parcel."""
    return _printed(_printing(request).packing_slip(request.path["id"]))


def parcel_label(request: ApiRequest) -> ApiResponse:
    """Print the house's own label of a parcel."""
    zpl = request.query.get("format") == "zpl"
    return _printed(_printing(request).parcel_label(request.path["id"], zpl=zpl), zpl=zpl)


def pick_list(request: ApiRequest) -> ApiResponse:
    """Print a walk."""
    from oms.fulfillment.documents import pick_list

    return _printed(pick_list(_walking(request).show(request.path["id"])))


def print_labels(request: ApiRequest) -> ApiResponse:
    """Print labels for bins or totes."""
    from oms.fulfillment.forms import LabelsForm

    printing = _printing(request)
    form = request.parse(LabelsForm)
    zpl = form.format == "zpl"
    facility = facility_code(request.path["facility"])
    return _printed(printing.labels(facility, form.kind, form.codes, zpl=zpl), zpl=zpl)


# ---- the floor itself ------------------------------------------------------------------------------------------------


def show_floor(request: ApiRequest) -> ApiResponse:
    """Show a floor's layout, rules and cartons."""
    from oms.fulfillment.floorplan import floor_view

    request.require_group(GROUP, "ops")
    return ApiResponse(200, floor_view(app().inventory, facility_code(request.path["facility"])))


def put_layout(request: ApiRequest) -> ApiResponse:
    """Say where the aisles, zones and bins of a facility are."""
    from oms.fulfillment import floorplan
    from oms.fulfillment.forms import LayoutForm

    request.require_group("ops")
    facility = facility_code(request.path["facility"])
    form = request.parse(LayoutForm)
    floorplan.put_layout(app().inventory, facility, form.model_dump(), app().clock())
    return ApiResponse(200, floorplan.floor_view(app().inventory, facility))


def put_rules(request: ApiRequest) -> ApiResponse:
    """Say how a facility releases its work."""
    from oms.fulfillment import floorplan
    from oms.fulfillment.forms import RulesForm

    request.require_group("ops")
    facility = facility_code(request.path["facility"])
    rules = floorplan.rules_from(request.parse(RulesForm).model_dump(exclude_none=True))
    floorplan.put_rules(app().inventory, facility, rules, app().clock())
    return ApiResponse(200, floorplan.floor_view(app().inventory, facility))


def put_cartons(request: ApiRequest) -> ApiResponse:
    """Say which cartons a facility packs into."""
    from oms.fulfillment import floorplan
    from oms.fulfillment.forms import CartonsForm

    request.require_group("ops")
    facility = facility_code(request.path["facility"])
    cartons = [floorplan.carton_from(carton.model_dump()) for carton in request.parse(CartonsForm).cartons]
    floorplan.put_cartons(app().inventory, facility, cartons, app().clock())
    return ApiResponse(200, floorplan.floor_view(app().inventory, facility))


# ---- inside ----------------------------------------------------------------------------------------------------------


def _floor(request: ApiRequest) -> Floor:
    request.require_group(GROUP)
    parts = app()
    return Floor(parts.orders, parts.inventory, parts.clock)


def _walking(request: ApiRequest) -> Walking:
    return Walking(_floor(request))


def _planner(request: ApiRequest) -> PlanWork:
    """The planner brings the optimiser along, which no scan needs."""
    from oms.fulfillment.waves import PlanWork

    request.require_group(GROUP, "ops")
    parts = app()
    return PlanWork(parts.orders, parts.inventory, parts.clock)


def _pickups() -> PickUps:
    from oms.fulfillment.pickups import PickUps

    parts = app()
    return PickUps(parts.orders, parts.inventory, parts.clock)


def _printing(request: ApiRequest) -> Printing:
    from oms.fulfillment.printing import Printing

    request.require_group(GROUP)
    parts = app()
    return Printing(parts.orders, parts.inventory)


def _printed(document: bytes, *, zpl: bool = False) -> ApiResponse:
    return ApiResponse(200, document, {"content-type": "application/zpl" if zpl else "application/pdf"})


def _wave(request: ApiRequest, key: str) -> WaveRequest:
    from oms.fulfillment.forms import WaveForm
    from oms.fulfillment.waves import WaveRequest

    form = request.parse(WaveForm) if request.body else WaveForm()
    facility = facility_code(request.path["facility"])
    return WaveRequest(facility, key, request.actor, form.cut_off or "", form.limit)


def _day(day: date | None) -> str:
    return day.isoformat() if day else ""


def _key(request: ApiRequest) -> str:
    """A scan creates nothing, so its key is the device's choice; without one every scan counts."""
    return request.idempotency_key() if "idempotency-key" in request.headers else ""


ROUTES = {
    "GET /warehouse/{facility}/work": work,
    "POST /warehouse/tasks/{id}/start": start,
    "POST /warehouse/tasks/{id}/scans": scan,
    "POST /warehouse/tasks/{id}/short": short,
    "POST /warehouse/tasks/{id}/complete": complete,
    "GET /warehouse/{facility}/putbacks": put_backs,
    "POST /warehouse/putbacks/{id}/done": put_back,
    "GET /warehouse/{facility}/pickups": pickups,
    "POST /warehouse/pickups/{id}/collect": collect,
    "POST /warehouse/{facility}/next": next_walk,
    "GET /warehouse/walks/{id}": show_walk,
    "POST /warehouse/walks/{id}/start": start_walk,
    "POST /warehouse/walks/{id}/scans": scan_walk,
    "POST /warehouse/walks/{id}/short": short_walk,
    "POST /warehouse/walks/{id}/skip": skip_bin,
    "POST /warehouse/walks/{id}/hand-over": hand_over,
    "POST /warehouse/walks/{id}/complete": complete_walk,
    "POST /warehouse/{facility}/waves/preview": preview_wave,
    "POST /warehouse/{facility}/waves": release_wave,
    "GET /warehouse/{facility}/waves": list_waves,
    "GET /warehouse/waves/{id}": show_wave,
    "POST /warehouse/waves/{id}/cancel": cancel_wave,
    "GET /warehouse/shipments/{id}/cartons": suggest_cartons,
    "GET /warehouse/shipments/{id}/packing-slip": packing_slip,
    "GET /warehouse/shipments/{id}/label": parcel_label,
    "GET /warehouse/walks/{id}/pick-list": pick_list,
    "POST /warehouse/{facility}/labels": print_labels,
    "GET /warehouse/{facility}/floor": show_floor,
    "PUT /warehouse/{facility}/layout": put_layout,
    "PUT /warehouse/{facility}/rules": put_rules,
    "PUT /warehouse/{facility}/cartons": put_cartons,
    "POST /warehouse/returns/{id}/scans": scan_return,
    "POST /warehouse/returns/{id}/complete": complete_return,
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
