"""The warehouse's devices: the next work, and what was started, scanned, missed and completed."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.fulfillment.floor import Floor, Scanned
from oms.fulfillment.forms import ScanForm, ShortForm
from oms.fulfillment.putbacks import open_put_backs, put_back_done
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point

GROUP = "warehouse"


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
    scanned = Scanned(form.sku or "", form.barcode or "", form.quantity, form.bin or "")
    return ApiResponse(200, floor.scan(request.path["id"], scanned, request.actor, _key(request)))


def short(request: ApiRequest) -> ApiResponse:
    """Report units that are not there."""
    floor = _floor(request)
    form = request.parse(ShortForm)
    return ApiResponse(200, floor.short(request.path["id"], form.sku, form.quantity, form.reason, request.actor))


def complete(request: ApiRequest) -> ApiResponse:
    """Finish a task."""
    return ApiResponse(200, _floor(request).complete(request.path["id"], request.actor))


def put_backs(request: ApiRequest) -> ApiResponse:
    """List what was picked and belongs on its shelf again, the oldest first."""
    floor = _floor(request)
    cursor = request.query.get("cursor", "")
    return ApiResponse(200, open_put_backs(floor.orders.table, floor.inventory, request.path["facility"], cursor))


def put_back(request: ApiRequest) -> ApiResponse:
    """Say that the units lie on their shelf again."""
    floor, now = _floor(request), app().clock()
    return ApiResponse(200, put_back_done(floor.orders.table, floor.inventory, request.path["id"], request.actor, now))


def _floor(request: ApiRequest) -> Floor:
    request.require_group(GROUP)
    parts = app()
    return Floor(parts.orders, parts.inventory, parts.clock)


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
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
