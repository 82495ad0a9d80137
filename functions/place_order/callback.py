"""POST and GET /channels/{channel}/callbacks: a marketplace says that something happened to an order."""

from __future__ import annotations

import json
from typing import Any

from oms.bootstrap import app
from oms.channels.port import Callback, ChannelUnavailable, Notice, SignatureInvalid
from oms.channels.registry import channel_names
from oms.runtime import errors, telemetry
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point


def receive(request: ApiRequest) -> ApiResponse:
    """Verify the sender, then take in what it tells of. What cannot be fetched now is queued, never lost."""
    name = request.path["channel"]
    if name not in channel_names():
        raise errors.NotFound(f"There is no channel {name}.")
    channel = app().channel(name)
    callback = Callback(request.route.split(" ", 1)[0], request.headers, request.query, request.body)
    challenge = channel.challenge(callback)
    if challenge is not None:
        return ApiResponse(challenge.status, json.loads(challenge.body))
    try:
        notices = channel.read_callback(callback, app().clock())
    except SignatureInvalid as invalid:
        telemetry.count("CallbacksRejected", channel=name)
        raise errors.SignatureRejected(f"The callback was refused: {invalid}.") from None
    except ChannelUnavailable:
        raise errors.Unavailable("The sender cannot be verified at the moment.", retry_after=5) from None
    for notice in notices:
        _take_in(name, notice)
    return ApiResponse(200, {"received": len(notices)})


def _take_in(name: str, notice: Notice) -> None:
    if notice.demand is not None:
        # Not answered before it is recorded: the channel calls again.
        if app().demands.record(name, notice.event_id, notice.demand):
            app().queue_person_demand(name, notice.event_id)
        return
    try:
        if notice.order is None:
            app().importing.take_up(name, notice.external_id)
        else:
            app().importing.take(name, notice.order)
    except Exception:
        # Whatever went wrong, the queue remembers: the marketplace would stop calling long before it is mended.
        telemetry.logger.exception("callback_queued", channel=name, external_id=notice.external_id)
        app().queue_channel_event(name, notice.external_id)


ROUTES = {"POST /channels/{channel}/callbacks": receive, "GET /channels/{channel}/callbacks": receive}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
