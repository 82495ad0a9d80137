"""AWS clients, made once per process."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

# Short timeouts and few attempts: an answer that has not come by then is asked for again by whoever waits, and every
# write is safe to repeat. ``standard`` retries throttles, 5xx and lost connections; not transaction conflicts.
_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 3},
    connect_timeout=1,
    read_timeout=5,
    tcp_keepalive=True,
    max_pool_connections=4,
)


@cache
def client(service: str) -> Any:
    """The process's low-level client; region, credentials and endpoint come from the environment."""
    make: Any = boto3.client  # its stubs want a literal name
    return make(service, config=_CONFIG)
