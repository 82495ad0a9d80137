"""Who a bearer token belongs to, on the routes that shoppers and staff share.

API Gateway checks the tokens of staff routes; a route that shoppers use as well has no authorizer, so its function
checks a token itself when one is offered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from oms.runtime import errors
from oms.runtime.outbound import HttpRequest, Transport, Unreachable

_KEYS_SECONDS = 3600.0
_LEEWAY_SECONDS = 30


class StaffTokens:
    """Verifies Cognito's JSON web tokens against the pool's published keys, which are kept for an hour."""

    def __init__(self, issuer: str, jwks_url: str, transport: Transport, monotonic: Callable[[], float]) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._transport = transport
        self._monotonic = monotonic
        self._keys: dict[str, Any] = {}
        self._fetched = float("-inf")

    def claims(self, token: str) -> Mapping[str, Any]:
        """The claims of a valid token. Raises ``Unauthenticated``, or ``Unavailable`` when the keys cannot be had."""
        import jwt

        try:
            key = self._key(jwt.get_unverified_header(token).get("kid", ""))
            return jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"verify_aud": False, "require": ["exp", "iss"]},
            )
        except jwt.PyJWTError:
            raise errors.Unauthenticated("The bearer token is not valid.") from None

    def _key(self, kid: str) -> Any:
        import jwt

        age = self._monotonic() - self._fetched
        # An unknown key may be a new one, so the set is read again, but not for every forged token.
        if age > _KEYS_SECONDS or (kid not in self._keys and age > 60):
            try:
                answer = self._transport(HttpRequest("GET", self._jwks_url), timeout=5.0)
            except Unreachable:
                raise errors.Unavailable("Staff tokens cannot be checked at the moment.", retry_after=5) from None
            self._keys = {key["kid"]: jwt.PyJWK(key, "RS256").key for key in answer.json()["keys"]}
            self._fetched = self._monotonic()
        try:
            return self._keys[kid]
        except KeyError:
            raise errors.Unauthenticated("The bearer token is not valid.") from None
