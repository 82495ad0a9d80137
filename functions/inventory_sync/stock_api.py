"""Products, stock, movements and channel listings, for operators and staff."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from oms.bootstrap import app
from oms.channels.overview import overview
from oms.channels.registry import channel_names
from oms.fulfillment.facilities import Zone, put_zone, zones
from oms.fulfillment.recalling import recall
from oms.inventory.alerts import open_alerts
from oms.inventory.backorders import queue_of
from oms.inventory.counting import CountStock
from oms.inventory.explaining import explain
from oms.inventory.forms import (
    FACILITY_PATTERN,
    CloseForm,
    CountForm,
    CountResultForm,
    JobForm,
    ListingForm,
    MovementForm,
    ProductForm,
    PurchaseForm,
    ReceiptForm,
    SearchForm,
    SupplyForm,
    TransferForm,
    TransferReceiptForm,
    ZoneForm,
    lots_told,
)
from oms.inventory.model import Listing, Movement, Product
from oms.inventory.purchasing import PurchaseStock, Receipt
from oms.inventory.supplies import Supply, put_supply, supplies_of
from oms.inventory.transfers import Shipping, TransferStock
from oms.inventory.views import listing_view, product_view, stock_view
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.http import ApiRequest, ApiResponse, checked, dispatch, field_problem
from oms.runtime.telemetry import entry_point

_FORMATS = {"text/csv": "csv", "application/x-ndjson": "jsonl", "application/jsonl": "jsonl"}
MAX_DIRECT_BYTES = 4 * 1024 * 1024
STAFF = ("agent", "warehouse", "ops", "pos")


def put_product(request: ApiRequest) -> ApiResponse:
    """Create or replace a product."""
    request.require_group("ops")
    form = request.parse(ProductForm)
    if form.sku != request.path["sku"]:
        raise field_problem([("sku", f"must be {request.path['sku']}, as in the path")])
    return _told(app().catalogue.put(form, request.if_match()))


def patch_product(request: ApiRequest) -> ApiResponse:
    """Change what a JSON merge patch names."""
    request.require_group("ops")
    return _told(app().catalogue.patch(request.path["sku"], request.json(), request.if_match()))


def get_product(request: ApiRequest) -> ApiResponse:
    """Show a product and where it is listed."""
    request.require_group(*STAFF)
    product = _product(request)
    listings = app().inventory.listings(product.sku)
    return _told(product, listings={name: listing_view(listing) for name, listing in sorted(listings.items())})


def find_products(request: ApiRequest) -> ApiResponse:
    """List products, all or those that are looked for."""
    request.require_group(*STAFF)
    form = checked(SearchForm, dict(request.query))
    found, more = app().catalogue.find(form.search(), form.cursor, form.limit)
    offered = app().inventory.offered(found) if found else {}
    shown = [{**product_view(product), "available": offered[product.sku]} for product in found]
    return ApiResponse(200, {"products": shown, "next_cursor": more})


def open_import(request: ApiRequest) -> ApiResponse:
    """Begin an import: a small file comes as the body, a large one is uploaded to the link in the answer."""
    request.require_group("ops")
    key = request.idempotency_key()
    sent = _FORMATS.get(request.headers.get("content-type", "").split(";")[0].strip())
    form = checked(JobForm, {"dry_run": request.query.get("dry_run") == "true"}) if sent else request.parse(JobForm)
    body = request.body if sent else None
    if body and len(body) > MAX_DIRECT_BYTES:
        raise errors.RequestTooLarge(f"A body may have {MAX_DIRECT_BYTES} bytes; upload a larger file to a link.")
    jobs = app().catalogue_jobs
    job = jobs.open("import", key, sent or form.format, request.actor, dry_run=form.dry_run, body=body)
    return ApiResponse(201, jobs.view(job))


def start_import(request: ApiRequest) -> ApiResponse:
    """Say that the file has been uploaded."""
    request.require_group("ops")
    jobs = app().catalogue_jobs
    return ApiResponse(200, jobs.view(jobs.start(jobs.get("import", request.path["id"]))))


def cancel_import(request: ApiRequest) -> ApiResponse:
    """Stop an import; what it has applied stays."""
    request.require_group("ops")
    jobs = app().catalogue_jobs
    return ApiResponse(200, jobs.view(jobs.cancel(jobs.get("import", request.path["id"]))))


def get_import(request: ApiRequest) -> ApiResponse:
    """How far an import is, and what was wrong."""
    request.require_group("ops")
    return ApiResponse(200, app().catalogue_jobs.view(app().catalogue_jobs.get("import", request.path["id"])))


def open_export(request: ApiRequest) -> ApiResponse:
    """Begin an export of all products."""
    request.require_group("ops")
    key = request.idempotency_key()
    form = request.parse(JobForm) if request.body else JobForm()
    jobs = app().catalogue_jobs
    return ApiResponse(201, jobs.view(jobs.open("export", key, form.format, request.actor)))


def get_export(request: ApiRequest) -> ApiResponse:
    """How far an export is, and where to fetch it."""
    request.require_group("ops")
    return ApiResponse(200, app().catalogue_jobs.view(app().catalogue_jobs.get("export", request.path["id"])))


def _told(product: Product, **more: Any) -> ApiResponse:
    return ApiResponse(200, {**product_view(product), **more}, {"etag": f'"{product.version}"'})


def get_stock(request: ApiRequest) -> ApiResponse:
    """Show what is available, reserved, allocated and on hand, and what each channel shows."""
    request.require_group(*STAFF)
    product = _product(request)
    inventory = app().inventory
    level = inventory.sellable(product.sku, replace(product, archived=False))
    view = stock_view(
        product.sku,
        level.available,
        inventory.locations(product.sku),
        inventory.states_of(product.sku),
        queue_of(inventory, product.sku),
        supplies_of(inventory, product.sku),
    )
    if product.kit:
        # A kit has no units of its own: what is on hand or reserved is told of its parts.
        view |= {"reserved": 0, "kit": dict(product.kit)}
    return ApiResponse(200, view)


def show_lot(request: ApiRequest) -> ApiResponse:
    """Show where a lot is: what lies of it, and which orders got units of it."""
    request.require_group(*STAFF)
    sku, lot = _product(request).sku, request.path["lot"]
    return ApiResponse(200, recall(app().orders, app().inventory, sku, lot, request.query.get("cursor", "")))


def move_stock(request: ApiRequest) -> ApiResponse:
    """Receive, adjust, count, set apart, release, scrap or put away units."""
    request.require_group("ops", "warehouse")
    key = request.idempotency_key()
    form = request.parse(MovementForm)
    movement = Movement(
        kind=form.type,
        sku=form.sku,
        quantity=form.quantity,
        facility=form.facility,
        bin=form.bin or "",
        reason=form.reason,
        actor=request.actor,
        key=key,
        at=app().clock(),
        to_bin=form.to_bin or "",
        party=form.retailer or "",
        lots=lots_told(form.lots),
    )
    return ApiResponse(201, app().inventory.move(movement))


def put_listing(request: ApiRequest) -> ApiResponse:
    """List a SKU on a channel, or change its terms there."""
    request.require_group("ops")
    channel = request.path["channel"]
    if channel not in channel_names():
        raise errors.NotFound(f"There is no channel {channel}; there are {', '.join(channel_names())}.")
    product = _product(request)
    form = request.parse(ListingForm) if request.body else ListingForm()
    known = app().inventory.listings(product.sku).get(channel)
    listing_id = form.listing_id or (known.listing_id if known else product.sku)
    listing = Listing(sku=product.sku, channel=channel, listing_id=listing_id, **form.terms())
    app().inventory.put_listing(listing, app().clock())
    return ApiResponse(200, {"sku": product.sku, "channel": channel, "listing_id": listing_id, **form.terms()})


def get_channels(request: ApiRequest) -> ApiResponse:
    """How every channel stands: breaker, backlog, lag and the last reconcile."""
    request.require_group("ops", "agent")
    return ApiResponse(200, overview(channel_names(), app().inventory, app().channel_backlog, app().clock))


def stock_alerts(request: ApiRequest) -> ApiResponse:
    """List what runs low or is oversold, a page at a time."""
    request.require_group(*STAFF)
    return ApiResponse(200, open_alerts(app().inventory, request.query.get("cursor")))


def explain_stock(request: ApiRequest) -> ApiResponse:
    """Tell why this number: the chain of causes, to a channel's acknowledgement if one is named."""
    request.require_group(*STAFF)
    product = _product(request)
    if product.kit:
        raise errors.Conflict(f"{product.sku} is a kit: ask for its parts, {', '.join(product.kit)}.")
    return ApiResponse(200, explain(app().inventory, product, request.query.get("channel")))


def put_outside_supply(request: ApiRequest) -> ApiResponse:
    """Say what is on its way or at a vendor."""
    request.require_group("ops")
    product, form = _product(request), request.parse(SupplyForm)
    code = _facility_code(request.path["supply"])
    supply = Supply(code, form.kind, form.quantity, form.party or "", _moment(form.expected_at))
    app().inventory.table.transact([put_supply(app().inventory, product.sku, supply, app().clock())])
    return ApiResponse(200, {"sku": product.sku, **supply.view()})


def ship_transfer(request: ApiRequest) -> ApiResponse:
    """Send units to another facility."""
    request.require_group("ops", "warehouse")
    key, form = request.idempotency_key(), request.parse(TransferForm)
    shipping = Shipping(
        sku=form.sku,
        quantity=form.quantity,
        origin=form.origin,
        target=form.target,
        bin=form.bin or "",
        expected_at=_moment(form.expected_at),
        reason=form.reason,
        lots=lots_told(form.lots),
    )
    return ApiResponse(201, _transfers().ship(shipping, request.actor, key))


def receive_transfer(request: ApiRequest) -> ApiResponse:
    """Take in what arrived of a transfer."""
    request.require_group("ops", "warehouse")
    key, form = request.idempotency_key(), request.parse(TransferReceiptForm)
    lots = lots_told(form.lots)
    told = _transfers().receive(request.path["id"], form.quantity, form.bin or "", request.actor, key, lots)
    return ApiResponse(201, told)


def show_transfer(request: ApiRequest) -> ApiResponse:
    """Show a transfer."""
    request.require_group(*STAFF)
    return ApiResponse(200, _transfers().show(request.path["id"]))


def list_transfers(request: ApiRequest) -> ApiResponse:
    """List what is in transit."""
    request.require_group(*STAFF)
    return ApiResponse(200, _transfers().under_way(request.query.get("cursor")))


def ask_count(request: ApiRequest) -> ApiResponse:
    """Ask for a bin to be counted."""
    request.require_group("ops")
    key, form = request.idempotency_key(), request.parse(CountForm)
    skus = list(dict.fromkeys(form.skus))
    return ApiResponse(201, _counts().ask(form.facility, form.bin, skus, form.reason, request.actor, key))


def list_counts(request: ApiRequest) -> ApiResponse:
    """List what is to be counted at a facility."""
    request.require_group("ops", "warehouse")
    facility = _facility_code(request.query.get("facility", "main"))
    return ApiResponse(200, _counts().open_at(facility, request.query.get("cursor")))


def show_count(request: ApiRequest) -> ApiResponse:
    """Show what is to be counted, and nothing of what should be there."""
    request.require_group("ops", "warehouse")
    return ApiResponse(200, _counts().show(request.path["id"]))


def count_found(request: ApiRequest) -> ApiResponse:
    """Write down what was counted."""
    request.require_group("ops", "warehouse")
    key, form = request.idempotency_key(), request.parse(CountResultForm)
    lots = lots_told(form.lots)
    return ApiResponse(201, _counts().found(request.path["id"], form.sku, form.quantity, request.actor, key, lots))


def count_variance(request: ApiRequest) -> ApiResponse:
    """Show what a finished count found against what the record had."""
    request.require_group("ops")
    return ApiResponse(200, _counts().report(request.path["id"]))


def order_purchase(request: ApiRequest) -> ApiResponse:
    """Order from a vendor."""
    request.require_group("ops")
    key, form = request.idempotency_key(), request.parse(PurchaseForm)
    lines = {line.sku: line.quantity for line in form.lines}
    told = _purchases().order(form.vendor, lines, _moment(form.expected_at), request.actor, key)
    return ApiResponse(201, told)


def list_purchases(request: ApiRequest) -> ApiResponse:
    """List purchases that something is expected of."""
    request.require_group(*STAFF)
    return ApiResponse(200, _purchases().still_open(request.query.get("cursor")))


def show_purchase(request: ApiRequest) -> ApiResponse:
    """Show a purchase."""
    request.require_group(*STAFF)
    return ApiResponse(200, _purchases().show(request.path["id"]))


def receive_purchase(request: ApiRequest) -> ApiResponse:
    """Take in units of a purchase."""
    request.require_group("ops", "warehouse")
    key, form = request.idempotency_key(), request.parse(ReceiptForm)
    receipt = Receipt(form.sku, form.quantity, form.facility, form.bin or "", lots_told(form.lots))
    return ApiResponse(201, _purchases().receive(request.path["id"], receipt, request.actor, key))


def close_purchase(request: ApiRequest) -> ApiResponse:
    """Expect nothing more of a purchase."""
    request.require_group("ops")
    key, form = request.idempotency_key(), request.parse(CloseForm)
    return ApiResponse(201, _purchases().close(request.path["id"], form.reason, request.actor, key))


def _transfers() -> TransferStock:
    return TransferStock(app().inventory, app().clock)


def _counts() -> CountStock:
    return CountStock(app().inventory, app().clock)


def _purchases() -> PurchaseStock:
    return PurchaseStock(app().inventory, app().clock)


def _moment(moment: datetime | None) -> str:
    return to_text(moment.astimezone(UTC)) if moment else ""


def put_facility_zone(request: ApiRequest) -> ApiResponse:
    """Say which bins a part of a facility has."""
    request.require_group("ops")
    form = request.parse(ZoneForm)
    facility, code = _facility_code(request.path["facility"]), _facility_code(request.path["zone"])
    put_zone(app().inventory, facility, Zone(code, form.name, tuple(form.bins)), app().clock())
    return ApiResponse(200, {"facility": facility, "zone": code, "name": form.name, "bins": form.bins})


def list_zones(request: ApiRequest) -> ApiResponse:
    """Show a facility's zones."""
    request.require_group(*STAFF)
    facility = _facility_code(request.path["facility"])
    found = [
        {"facility": facility, "zone": zone.code, "name": zone.name, "bins": list(zone.bins)}
        for zone in zones(app().inventory, facility)
    ]
    return ApiResponse(200, {"zones": found})


def _facility_code(text: str) -> str:
    if not re.fullmatch(FACILITY_PATTERN, text):
        raise field_problem([("facility", "lower-case letters, digits and hyphens, 32 at most")])
    return text


def _product(request: ApiRequest) -> Product:
    sku = request.path["sku"]
    product = app().inventory.product(sku)
    if product is None:
        raise errors.NotFound(f"There is no product {sku}.")
    return product


ROUTES = {
    "PUT /products/{sku}": put_product,
    "PATCH /products/{sku}": patch_product,
    "GET /products/{sku}": get_product,
    "GET /products": find_products,
    "POST /products/imports": open_import,
    "POST /products/imports/{id}/start": start_import,
    "POST /products/imports/{id}/cancel": cancel_import,
    "GET /products/imports/{id}": get_import,
    "POST /products/exports": open_export,
    "GET /products/exports/{id}": get_export,
    "GET /stock/{sku}": get_stock,
    "GET /stock/{sku}/lots/{lot}": show_lot,
    "POST /stock/movements": move_stock,
    "PUT /stock/{sku}/listings/{channel}": put_listing,
    "GET /channels": get_channels,
    "GET /alerts/stock": stock_alerts,
    "GET /explain/stock/{sku}": explain_stock,
    "PUT /stock/{sku}/supplies/{supply}": put_outside_supply,
    "POST /transfers": ship_transfer,
    "GET /transfers": list_transfers,
    "GET /transfers/{id}": show_transfer,
    "POST /transfers/{id}/receipt": receive_transfer,
    "POST /counts": ask_count,
    "GET /counts": list_counts,
    "GET /counts/{id}": show_count,
    "POST /counts/{id}/results": count_found,
    "GET /counts/{id}/variance": count_variance,
    "POST /purchases": order_purchase,
    "GET /purchases": list_purchases,
    "GET /purchases/{id}": show_purchase,
    "POST /purchases/{id}/receipts": receive_purchase,
    "POST /purchases/{id}/close": close_purchase,
    "PUT /facilities/{facility}/zones/{zone}": put_facility_zone,
    "GET /facilities/{facility}/zones": list_zones,
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
