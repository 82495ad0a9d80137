"""Secrets from Secrets Manager, kept for five minutes so that a rotation reaches every process without a deploy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
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
            answer = self._client().get_secret_value(SecretId=secret_id)
        except Exception:
            if cached:
                return cached[1]
            raise
        value: dict[str, Any] = json.loads(answer["SecretString"])
        self._cache[secret_id] = (now, value)
        return value
