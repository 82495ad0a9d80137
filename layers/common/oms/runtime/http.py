"""HTTP on API Gateway's HTTP API, payload 2.0: requests in, JSON or problem+json (RFC 9457) out.

API Gateway has already matched the route, so a function is a table from route key to a callable.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from oms.runtime import errors
from oms.runtime.cards import find_card
from oms.runtime.dynamo import Contention
from oms.runtime.telemetry import logger

if TYPE_CHECKING:
    from pydantic import BaseModel

MAX_BODY_BYTES = 256 * 1024

# The one table from error to answer.
_ANSWERS: dict[type[Exception], tuple[int, str, str]] = {
    errors.InvalidRequest: (422, "invalid_request", "The request has errors"),
    errors.CardDataRefused: (422, "card_data_refused", "The request contains a card number"),
    errors.MalformedRequest: (400, "malformed_request", "The request cannot be read"),
    errors.RequestTooLarge: (413, "request_too_large", "The request is too large"),
    errors.UnsupportedMedia: (415, "unsupported_media_type", "The request is not JSON"),
    errors.Unauthenticated: (401, "unauthenticated", "Not authenticated"),
    errors.SignatureRejected: (412, "signature_rejected", "The signature does not hold"),
    errors.WebhookRefused: (400, "webhook_refused", "The webhook cannot be trusted"),
    errors.Forbidden: (403, "forbidden", "Not allowed"),
    errors.NotFound: (404, "not_found", "Not found"),
    errors.Conflict: (409, "conflict", "Not possible in the present state"),
    errors.PreconditionFailed: (412, "precondition_failed", "Changed in the meantime"),
    errors.IdempotencyKeyReused: (422, "idempotency_key_reused", "The idempotency key was used for another request"),
    errors.OutOfStock: (409, "out_of_stock", "Out of stock"),
    errors.Unavailable: (503, "unavailable", "Temporarily unavailable"),
    Contention: (503, "busy", "Too many requests for the same items"),
}

Model = TypeVar("Model", bound="BaseModel")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request; header names are lower case."""

    route: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    claims: Mapping[str, Any]
    request_id: str

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> ApiRequest:
        """From API Gateway's event, payload version 2.0."""
        raw = event.get("body") or ""
        body = base64.b64decode(raw) if event.get("isBase64Encoded") else raw.encode()
        context = event.get("requestContext", {})
        return cls(
            route=event["routeKey"],
            path=event.get("pathParameters") or {},
            query=event.get("queryStringParameters") or {},
            headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
            body=body,
            claims=context.get("authorizer", {}).get("jwt", {}).get("claims") or {},
            request_id=context.get("requestId", "-"),
        )

    def json(self) -> Any:
        """The body as JSON.

        Raises ``RequestTooLarge``, ``UnsupportedMedia``, ``MalformedRequest``, and ``CardDataRefused`` for a body with
        a card number anywhere in it, whatever form it is for.
        """
        if len(self.body) > MAX_BODY_BYTES:
            raise errors.RequestTooLarge(f"The body may have {MAX_BODY_BYTES} bytes; this one has {len(self.body)}.")
        if "json" not in self.headers.get("content-type", "application/json"):
            raise errors.UnsupportedMedia("Send the body as application/json.")
        try:
            parsed = json.loads(self.body)
            where_card = find_card(parsed)
        except (ValueError, RecursionError) as error:
            where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            raise errors.MalformedRequest(f"The body is not valid JSON{where}.") from None
        if where_card is not None:
            raise errors.CardDataRefused(
                "This reads like a card number. Cards are given to the payment provider, never to us.",
                fields=[(where_card, "must not contain a card number")],
            )
        return parsed

    def parse(self, model: type[Model]) -> Model:
        """The body as ``model``. Raises ``InvalidRequest`` naming each field that is wrong."""
        return checked(model, self.json())

    def if_match(self) -> int | None:
        """The version that the caller read, from ``If-Match``; None without one. Raises ``InvalidRequest``."""
        told = self.headers.get("if-match", "").strip()
        if told in ("", "*"):
            return None
        bare = told.removeprefix("W/").strip('"')
        if not (bare.isascii() and bare.isdigit()):
            raise field_problem([("If-Match", "the version that was read, as in ETag")])
        return int(bare)

    def idempotency_key(self) -> str:
        """The ``Idempotency-Key`` header, 8 to 128 printable characters. Raises ``InvalidRequest``."""
        key = self.headers.get("idempotency-key", "")
        if not (8 <= len(key) <= 128 and key.isascii() and key.isprintable()):
            raise errors.InvalidRequest(
                "Every POST that creates something needs an Idempotency-Key.",
                fields=[("Idempotency-Key", "8 to 128 printable ASCII characters, new for each new request")],
            )
        return key

    @property
    def groups(self) -> frozenset[str]:
        """The caller's staff groups; API Gateway flattens the claim to ``[agent ops]``."""
        return groups_of(self.claims)

    @property
    def actor(self) -> str:
        """Who is calling, for the history: a staff member's user name."""
        return f"staff:{self.claims.get('cognito:username') or self.claims.get('username') or 'unknown'}"

    def require_group(self, *allowed: str) -> None:
        """Raises ``Forbidden`` unless the caller is in one of the groups."""
        if not self.groups & set(allowed):
            raise errors.Forbidden(f"This needs one of the groups: {', '.join(allowed)}.")


def groups_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """Cognito's groups, whether they come as a list or flattened by API Gateway."""
    value = claims.get("cognito:groups", ())
    if isinstance(value, str):
        value = value.strip("[]").replace(",", " ").split()
    return frozenset(value)


def _field_error(entry: Mapping[str, Any]) -> tuple[str, str]:
    path = ""
    for part in entry["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "(body)", entry["msg"].removeprefix("Value error, ")


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """What a route answers; ``payload=None`` sends no body, bytes go as they are (say their type in ``headers``)."""

    status: int
    payload: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


Route = Callable[[ApiRequest], ApiResponse]


def dispatch(event: Mapping[str, Any], routes: Mapping[str, Route]) -> dict[str, Any]:
    """Answer one event. Known errors become problems; an unknown one is a 500 that tells only the request id."""
    request = ApiRequest.of(event)
    try:
        return _render(routes[request.route](request))
    except Exception as error:
        return _render(problem(error, request.request_id))


def problem(error: Exception, request_id: str) -> ApiResponse:
    """The problem+json answer to an error."""
    known = _ANSWERS.get(type(error))
    if known is None:
        logger.exception("unexpected_error", gateway_request_id=request_id)
        known = (500, "internal_error", "Something went wrong on our side")
    status, code, title = known
    body: dict[str, Any] = {"type": f"urn:problem:{code}", "title": title, "status": status, "code": code}
    headers = {"content-type": "application/problem+json"}
    retry_after = 1 if isinstance(error, Contention) else None
    if isinstance(error, errors.DomainError):
        body["detail"] = error.detail
        if error.fields:
            body["errors"] = [{"field": name, "message": message} for name, message in error.fields]
        body.update(error.extra)
        retry_after = error.retry_after
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    body["request_id"] = request_id
    return ApiResponse(status, body, headers)


def _render(response: ApiResponse) -> dict[str, Any]:
    headers = {"content-type": "application/json", "cache-control": "no-store", **response.headers}
    if isinstance(response.payload, bytes):
        body = base64.b64encode(response.payload).decode()
        return {"statusCode": response.status, "headers": headers, "body": body, "isBase64Encoded": True}
    body = "" if response.payload is None else json.dumps(response.payload, separators=(",", ":"), ensure_ascii=False)
    return {"statusCode": response.status, "headers": headers, "body": body, "isBase64Encoded": False}


def checked(model: type[Model], value: Any) -> Model:
    """``value`` as ``model``. Raises ``InvalidRequest`` naming each field that is wrong."""
    from pydantic import ValidationError

    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise errors.InvalidRequest(
            "See errors for what to change.", fields=[_field_error(entry) for entry in error.errors()]
        ) from None


def field_problem(fields: Sequence[tuple[str, str]]) -> errors.InvalidRequest:
    """An ``InvalidRequest`` for rules that a form cannot state by itself."""
    return errors.InvalidRequest("See errors for what to change.", fields=fields)
