"""Customers: who they are over all channels, segments and exports of them, their orders' urgency, their coupons, and
what they demand of their data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oms.bootstrap import app
from oms.customers import rewards
from oms.customers.demands import AskForm, CloseDemandForm, HoldPersonForm, demand_view
from oms.customers.forms import ChangeCustomerForm, MergeForm
from oms.customers.joining import merge_view
from oms.customers.reward_forms import RewardRulesForm
from oms.customers.segment_book import count_view, page_view, segment_view
from oms.customers.segment_forms import NAME_PATTERN, CampaignExportForm, PreviewForm, SegmentForm
from oms.customers.segments import document_of
from oms.customers.views import found_view, person_view, summary
from oms.orders.coupon_book import coupon_view
from oms.orders.coupon_forms import CouponForm, CouponTermsForm
from oms.orders.listing import list_orders
from oms.orders.priority_forms import PriorityRehearsalForm, PriorityRulesForm
from oms.orders.priority_rules import current_rules, put_rules, rehearse, rules_to_item
from oms.runtime.clock import to_text
from oms.runtime.http import ApiRequest, ApiResponse, dispatch, field_problem
from oms.runtime.telemetry import entry_point

STAFF = ("agent", "warehouse", "ops", "pos")
AGENTS = ("agent", "ops", "pos")


def find(request: ApiRequest) -> ApiResponse:
    """Find customers as somebody types, or list those of a segment; its first page also tells how many they are."""
    request.require_group(*AGENTS)
    if name := request.query.get("segment", ""):
        segment, cursor = app().segments.require(name), request.query.get("cursor", "")
        return ApiResponse(200, page_view(app().segments.look(segment.condition, cursor, counting=not cursor), cursor))
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


def priority_rules(request: ApiRequest) -> ApiResponse:
    """Show the priority rules."""
    request.require_group(*STAFF)
    return ApiResponse(200, rules_to_item(current_rules(app().orders.table)))


def replace_priority_rules(request: ApiRequest) -> ApiResponse:
    """Replace the priority rules; orders that are placed or edited from now on follow them."""
    request.require_group("ops")
    rules = request.parse(PriorityRulesForm).as_rules()
    return ApiResponse(200, rules_to_item(put_rules(app().orders.table, rules, actor=request.actor, now=app().clock())))


def rehearse_priority_rules(request: ApiRequest) -> ApiResponse:
    """Say what rules would make of the last orders."""
    request.require_group("ops")
    form = request.parse(PriorityRehearsalForm)
    return ApiResponse(200, rehearse(app().orders, form.as_rules(), form.last, app().clock()))


def add_coupon(request: ApiRequest) -> ApiResponse:
    """Make a coupon; its code is its key, so the same again is answered as the first time."""
    request.require_group("ops")
    coupon = request.parse(CouponForm).as_coupon()
    made = app().coupons.add(coupon, actor=request.actor, now=app().clock())
    return ApiResponse(201, coupon_view(made), {"location": f"/coupons/{made.code}", "etag": f'"{made.version}"'})


def list_coupons(request: ApiRequest) -> ApiResponse:
    """List the merchant's coupons by code."""
    request.require_group(*AGENTS)
    return ApiResponse(200, app().coupons.page(request.query.get("cursor", "")))


def read_coupon(request: ApiRequest) -> ApiResponse:
    """Show a coupon and how many orders carry it."""
    request.require_group(*AGENTS)
    coupon = app().coupons.require(request.path["code"].upper())
    return ApiResponse(200, coupon_view(coupon, app().coupons.used(coupon)), {"etag": f'"{coupon.version}"'})


def change_coupon(request: ApiRequest) -> ApiResponse:
    """Change a coupon's terms for orders that are placed from now on."""
    request.require_group("ops")
    changes = request.parse(CouponTermsForm).changes()
    code, seen = request.path["code"].upper(), request.if_match()
    after = app().coupons.change(code, changes, seen=seen, actor=request.actor, now=app().clock())
    return ApiResponse(200, coupon_view(after), {"etag": f'"{after.version}"'})


def reward_rules(request: ApiRequest) -> ApiResponse:
    """Show the milestones."""
    request.require_group(*AGENTS)
    return ApiResponse(200, rewards.rules_to_item(rewards.current_rules(app().orders.table)))


def replace_reward_rules(request: ApiRequest) -> ApiResponse:
    """Replace the milestones; what was earned stays as it is."""
    request.require_group("ops")
    rules = request.parse(RewardRulesForm).as_rules()
    after = rewards.put_rules(app().orders.table, rules, actor=request.actor, now=app().clock())
    return ApiResponse(200, rewards.rules_to_item(after))


def rewards_of(request: ApiRequest) -> ApiResponse:
    """Show what a person has earned."""
    request.require_group(*AGENTS)
    found = app().earning.of(request.path["id"])
    return ApiResponse(200, {"rewards": [rewards.reward_view(reward) for reward in found]})


def put_segment(request: ApiRequest) -> ApiResponse:
    """Save a segment."""
    request.require_group("ops")
    name = request.path["name"]
    if not re.fullmatch(NAME_PATTERN, name):
        raise field_problem([("name", "lower-case letters, digits and hyphens, 40 at most")])
    condition = request.parse(SegmentForm).condition()
    saved = app().segments.put(name, condition, request.actor, request.if_match())
    return ApiResponse(200, segment_view(saved), {"etag": f'"{saved.version}"'})


def get_segment(request: ApiRequest) -> ApiResponse:
    """Show a segment."""
    request.require_group(*AGENTS)
    found = app().segments.require(request.path["name"])
    return ApiResponse(200, segment_view(found), {"etag": f'"{found.version}"'})


def delete_segment(request: ApiRequest) -> ApiResponse:
    """Forget a segment."""
    request.require_group("ops")
    app().segments.delete(request.path["name"])
    return ApiResponse(200, {"deleted": request.path["name"]})


def list_segments(request: ApiRequest) -> ApiResponse:
    """Show the segments by name."""
    request.require_group(*AGENTS)
    found, cursor = app().segments.all(request.query.get("cursor", ""))
    return ApiResponse(200, {"segments": [segment_view(each) for each in found], "next_cursor": cursor})


def preview_segment(request: ApiRequest) -> ApiResponse:
    """Count whom conditions choose, and show the first of them; nothing is saved."""
    request.require_group(*AGENTS)
    form = request.parse(PreviewForm)
    look = app().segments.look(form.condition(), show=form.show)
    return ApiResponse(200, {"count": count_view(look), "customers": [summary(each) for each in look.shown]})


def open_export(request: ApiRequest) -> ApiResponse:
    """Export the people of a segment."""
    request.require_group("ops")
    form = request.parse(CampaignExportForm)

    def conditions() -> Mapping[str, Any]:
        if form.conditions:
            return form.conditions.document()
        return document_of(app().segments.require(form.segment or "").condition)

    export = app().campaign_exports.open(
        request.idempotency_key(),
        request.actor,
        purpose=form.purpose,
        format=form.format,
        how=form.how,
        segment=form.segment or "",
        conditions=conditions,
        asked=form.model_dump(by_alias=True),
    )
    return ApiResponse(201, app().campaign_exports.view(export), {"location": f"/campaigns/exports/{export.export_id}"})


def show_export(request: ApiRequest) -> ApiResponse:
    """How far an export is, and a link to its file."""
    request.require_group("ops")
    return ApiResponse(200, app().campaign_exports.view(app().campaign_exports.require(request.path["id"])))


# ---- persons and their data ------------------------------------------------------------------------------------------


def demands(request: ApiRequest) -> ApiResponse:
    """List what people demand that is not done, or what was done in a month."""
    request.require_group("agent", "ops")
    month, cursor = request.query.get("month", ""), request.query.get("cursor", "")
    return ApiResponse(200, app().demands.listed(month, cursor))


def read_demand(request: ApiRequest) -> ApiResponse:
    """Show how far a demand has come, and to ops the link to the file of an export."""
    request.require_group("agent", "ops")
    found = app().demands.find(request.path["id"])
    link = app().exporting_people.link(found) if "ops" in request.groups else None
    return ApiResponse(200, {**demand_view(found, app().clock), "link": link})


def close_demand(request: ApiRequest) -> ApiResponse:
    """Write down how a person of ours brought a demand to its end, or let the erasure of everybody begin."""
    request.require_group("ops")
    form = request.parse(CloseDemandForm)
    found = app().demands.find(request.path["id"])
    if form.outcome == "erase_everybody":
        found = app().demands.confirm(found, request.actor)
        app().queue_person_demand(found["channel"], found["event_id"])
        return _demand(200, found)
    return _demand(200, app().demands.close(found, form.outcome, by=request.actor))


def export_person(request: ApiRequest) -> ApiResponse:
    """Ask for everything that is kept of a person."""
    request.require_group("agent", "ops")
    return _ask(request, "report", at_once=True)


def erase_person(request: ApiRequest) -> ApiResponse:
    """Ask for a person to be forgotten: at once if ops ask, after a day for agents."""
    request.require_group("agent", "ops")
    return _ask(request, "erase", at_once="ops" in request.groups)


def hold_person(request: ApiRequest) -> ApiResponse:
    """Let nothing of a person be erased before a time, because the law asks for it; or no longer."""
    request.require_group("ops")
    form, customer_id, erasing = request.parse(HoldPersonForm), request.path["id"], app().erasing
    until = form.moment(app().clock())
    held = erasing.hold(customer_id, until, request.actor) if until else erasing.release(customer_id)
    told = {"customer_id": customer_id, "identities": held, "until": to_text(until) if until else None}
    return ApiResponse(200, told)


def _ask(request: ApiRequest, kind: str, *, at_once: bool) -> ApiResponse:
    key = request.idempotency_key()
    form = request.parse(AskForm)
    person = app().people.of(form.customer_id)
    found, new = app().demands.ask(kind, form, list(person.identities), actor=request.actor, key=key, at_once=at_once)
    if new and at_once:
        app().queue_person_demand(found["channel"], found["event_id"])
    return _demand(202, found)


def _demand(status: int, demand: dict[str, Any]) -> ApiResponse:
    return ApiResponse(status, demand_view(demand, app().clock))


ROUTES = {
    "POST /campaigns/exports": open_export,
    "GET /campaigns/exports/{id}": show_export,
    "GET /customers": find,
    "PUT /segments/{name}": put_segment,
    "GET /segments/{name}": get_segment,
    "DELETE /segments/{name}": delete_segment,
    "GET /segments": list_segments,
    "POST /segments/preview": preview_segment,
    "GET /customers/{id}": read,
    "GET /customers/{id}/orders": orders,
    "PATCH /customers/{id}": change,
    "POST /customers/{id}/merges": join,
    "DELETE /customers/{id}/merges/{merge}": part,
    "GET /customers/{id}/rewards": rewards_of,
    "GET /rewards/rules": reward_rules,
    "PUT /rewards/rules": replace_reward_rules,
    "GET /priority/rules": priority_rules,
    "PUT /priority/rules": replace_priority_rules,
    "POST /priority/rehearsals": rehearse_priority_rules,
    "POST /coupons": add_coupon,
    "GET /coupons": list_coupons,
    "GET /coupons/{code}": read_coupon,
    "PATCH /coupons/{code}": change_coupon,
    "GET /persons/demands": demands,
    "GET /persons/demands/{id}": read_demand,
    "POST /persons/demands/{id}/close": close_demand,
    "POST /persons/exports": export_person,
    "POST /persons/erasures": erase_person,
    "PUT /persons/{id}/hold": hold_person,
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
