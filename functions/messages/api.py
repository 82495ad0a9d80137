"""What customers were told and may be told, and what the merchant's own systems are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from oms.bootstrap import app
from oms.messages.forms import MessagePreferencesForm, ResendForm, SettleMailForm
from oms.messages.kinds import KINDS, VENDOR_KINDS
from oms.messages.telling import mail_view
from oms.runtime import errors
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point
from oms.webhooks.forms import ChangeSubscriptionForm, ReplayForm, RotateSecretForm, SubscriptionForm
from oms.webhooks.reading import deliveries_view, subscription_view

STAFF = ("agent", "ops")


def messages(request: ApiRequest) -> ApiResponse:
    """What an order's customer was told, and vendors who send for us."""
    request.require_group(*STAFF)
    order = app().orders.require(request.path["id"])
    told = [*app().telling.claims(order.order_id), *app().telling_vendors.claims(order.order_id)]
    mails = sorted(told, key=lambda item: (item["at"], item["event"]))
    return ApiResponse(200, {"order_id": order.order_id, "messages": [mail_view(item) for item in mails]})


def resend(request: ApiRequest) -> ApiResponse:
    """Send one message again."""
    request.require_group(*STAFF)
    kind = request.path["kind"]
    if kind not in KINDS.keys() | VENDOR_KINDS.keys():
        raise errors.NotFound(f"There is no message {kind}.")
    form = request.parse(ResendForm) if request.body else ResendForm()
    telling = app().telling_vendors if kind in VENDOR_KINDS else app().telling
    sent = telling.resend(request.path["id"], kind, form.about, request.actor, request.idempotency_key())
    return ApiResponse(200, mail_view(sent))


def settle(request: ApiRequest) -> ApiResponse:
    """Note that a message which did not arrive needs nobody any more."""
    request.require_group(*STAFF)
    order_id, kind = request.path["id"], request.path["kind"]
    form = request.parse(SettleMailForm)
    telling = app().telling_vendors if kind in VENDOR_KINDS else app().telling
    settled = telling.settle(order_id, kind, reason=form.reason, actor=request.actor)
    return ApiResponse(200, {"order_id": order_id, "messages": [mail_view(item) for item in settled]})


def read_preferences(request: ApiRequest) -> ApiResponse:
    """What a customer does not want to hear of, and what they agreed to when, how and by which words."""
    request.require_group(*STAFF)
    kept = app().message_preferences.read(request.path["id"])
    told = app().message_preferences.history(request.path["id"])
    return ApiResponse(200, {"off": sorted(kept.off), "marketing": kept.marketing, "consents": told})


def put_preferences(request: ApiRequest) -> ApiResponse:
    """Replace what a customer does not want to hear of."""
    request.require_group(*STAFF)
    form = request.parse(MessagePreferencesForm)
    app().keeping.prefer(request.path["id"], form.wish(request.actor))
    return ApiResponse(200, {"off": sorted(set(form.off)), "marketing": form.marketing})


def subscribe(request: ApiRequest) -> ApiResponse:
    """Subscribe a system of the merchant's; its secret is shown in this answer and nowhere else."""
    request.require_group("ops")
    form = request.parse(SubscriptionForm)
    app().check_subscriber(form.url)
    made, secret = app().subscriptions.create(
        form.url, form.types, form.include, request.idempotency_key(), app().clock()
    )
    location = {"location": f"/webhooks/subscriptions/{made.id}"}
    return ApiResponse(201, {**subscription_view(made), "secret": secret}, location)


def subscriptions(request: ApiRequest) -> ApiResponse:
    """Everybody who is subscribed."""
    request.require_group("ops")
    return ApiResponse(200, {"subscriptions": [subscription_view(each) for each in app().subscriptions.all()]})


def subscription(request: ApiRequest) -> ApiResponse:
    """One subscription, and how far it is delivered."""
    request.require_group("ops")
    found = app().subscriptions.require(request.path["id"])
    return ApiResponse(200, subscription_view(found, app().subscriptions.state(found.id)))


def change(request: ApiRequest) -> ApiResponse:
    """Change a subscription, disable it, or enable it again."""
    request.require_group("ops")
    form = request.parse(ChangeSubscriptionForm)
    if form.url is not None:
        app().check_subscriber(form.url)
    changes: dict[str, Any] = form.model_dump(exclude_none=True, exclude={"enabled"})
    changes.update({name: frozenset(changes[name]) for name in ("types", "include") if name in changes})
    if form.enabled is not None:
        changes.update(status="active" if form.enabled else "disabled", reason="" if form.enabled else request.actor)
    found = app().subscriptions.require(request.path["id"])
    after = app().subscriptions.change(found, **changes) if changes else found
    if form.enabled:
        app().delivering.resume(after.id)
    return ApiResponse(200, subscription_view(after))


def unsubscribe(request: ApiRequest) -> ApiResponse:
    """End a subscription."""
    request.require_group("ops")
    app().subscriptions.delete(request.path["id"], app().clock())
    return ApiResponse(200, {"deleted": request.path["id"]})


def rotate(request: ApiRequest) -> ApiResponse:
    """Make a new secret; the present one signs beside it for a while."""
    request.require_group("ops")
    form = request.parse(RotateSecretForm) if request.body else RotateSecretForm()
    found = app().subscriptions.require(request.path["id"])
    until = app().clock() + timedelta(hours=form.hours)
    after, secret = app().subscriptions.rotate(found, until, request.idempotency_key())
    return ApiResponse(200, {**subscription_view(after), "secret": secret})


def deliveries(request: ApiRequest) -> ApiResponse:
    """A subscription's log, newest first."""
    request.require_group("ops")
    found = app().subscriptions.require(request.path["id"])
    return ApiResponse(200, deliveries_view(app().subscriptions, found, request.query.get("cursor", "")))


def replay(request: ApiRequest) -> ApiResponse:
    """Deliver again from a number on, or skip to one."""
    request.require_group("ops")
    form = request.parse(ReplayForm)
    last = app().delivering.replay(request.path["id"], form.sequence)
    return ApiResponse(200, {"from": form.sequence, "to": last})


ROUTES = {
    "GET /orders/{id}/messages": messages,
    "POST /orders/{id}/messages/{kind}/resend": resend,
    "DELETE /orders/{id}/messages/{kind}/exception": settle,
    "GET /customers/{id}/message-preferences": read_preferences,
    "PUT /customers/{id}/message-preferences": put_preferences,
    "POST /webhooks/subscriptions": subscribe,
    "GET /webhooks/subscriptions": subscriptions,
    "GET /webhooks/subscriptions/{id}": subscription,
    "PATCH /webhooks/subscriptions/{id}": change,
    "DELETE /webhooks/subscriptions/{id}": unsubscribe,
    "POST /webhooks/subscriptions/{id}/secret": rotate,
    "GET /webhooks/subscriptions/{id}/deliveries": deliveries,
    "POST /webhooks/subscriptions/{id}/replay": replay,
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
