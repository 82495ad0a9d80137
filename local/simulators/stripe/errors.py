"""How Stripe says no."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An error answer. Only when work had begun (``executed``) is it kept for its idempotency key."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        code: str | None = None,
        param: str | None = None,
        *,
        executed: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.executed = executed
        fields = {"type": kind, "message": message, "code": code, "param": param, **more}
        if code:
            fields["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        self.error = {name: value for name, value in fields.items() if value is not None}


def invalid(message: str, *, code: str | None = None, param: str | None = None) -> ApiError:
    """A request that cannot be carried out as it stands; nothing was begun."""
    return ApiError(400, "invalid_request_error", message, code, param)


def missing(kind: str, object_id: str, *, param: str, status: int = 404) -> ApiError:
    """An id that names nothing."""
    return ApiError(status, "invalid_request_error", f"No such {kind}: '{object_id}'", "resource_missing", param)


def refused(message: str, *, code: str | None = None, param: str | None = None, **more: Any) -> ApiError:
    """A request that was understood and does not fit the state of things."""
    return ApiError(400, "invalid_request_error", message, code, param, executed=True, **more)
