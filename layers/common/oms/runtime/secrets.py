"""Secrets from Secrets Manager, kept for five minutes so that a rotation reaches every process without a deploy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

TTL_SECONDS = 300.0


class Secrets:
    """JSON secrets by id. A process keeps serving the cached value if a refresh fails."""

    def __init__(self, client: Callable[[], Any], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._monotonic = monotonic
        self._cache: dict[str, tuple[float, dict[str, Any]]] = {}

    def get(self, secret_id: str) -> dict[str, Any]:
        """The secret's JSON object."""
        cached = self._cache.get(secret_id)
        now = self._monotonic()
        if cached and now - cached[0] < TTL_SECONDS:
            return cached[1]
        try:
            return self.fresh(secret_id)
        except Exception:
            if cached:
                return cached[1]
            raise

    def fresh(self, secret_id: str) -> dict[str, Any]:
        """The secret as it is this moment."""
        answer = self._client().get_secret_value(SecretId=secret_id)
        value: dict[str, Any] = json.loads(answer["SecretString"])
        self._cache[secret_id] = (self._monotonic(), value)
        return value

    def put(self, secret_id: str, value: Mapping[str, Any]) -> None:
        """Make this the secret's value; the one before stays behind as its previous version."""
        self._client().put_secret_value(SecretId=secret_id, SecretString=json.dumps(dict(value)))

    def forget(self, secret_id: str) -> None:
        """Ask for it anew the next time."""
        self._cache.pop(secret_id, None)
