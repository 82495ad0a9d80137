"""Customers: who they are over all channels."""

from __future__ import annotations

from typing import Any

from oms.bootstrap import app
from oms.customers.views import profile_view
from oms.runtime import errors
from oms.runtime.http import ApiRequest, ApiResponse, dispatch
from oms.runtime.telemetry import entry_point

AGENTS = ("agent", "ops", "pos")


def read(request: ApiRequest) -> ApiResponse:
    """Show a person, asked for by any of their identities."""
    request.require_group(*AGENTS)
    profile = app().people.profile(request.path["id"])
    if profile is None:
        raise errors.NotFound("There is no such customer.")
    return ApiResponse(200, profile_view(profile), {"etag": f'"{profile.version}"'})


ROUTES = {
    "GET /customers/{id}": read,
}


@entry_point
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda entry."""
    return dispatch(event, ROUTES)
