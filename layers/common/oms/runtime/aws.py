"""AWS clients, made once per process.

``botocore`` makes the very clients that ``boto3.client`` returns; what ``boto3`` would add is imports, which every cold
start would pay for (``benchmarks/results.md``).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import botocore.session
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

_OWN: dict[str, Config] = {
    # Links to files are signed by version 4: newer regions and encrypted buckets take nothing else.
    "s3": _CONFIG.merge(Config(signature_version="s3v4")),
    # SES keeps no idempotency keys, so only the caller knows what a repeat would do.
    "sesv2": _CONFIG.merge(Config(retries={"mode": "standard", "total_max_attempts": 1})),
}


@cache
def _session() -> Any:
    return botocore.session.get_session()


@cache
def client(service: str) -> Any:
    """The process's low-level client; region, credentials and endpoint come from the environment."""
    return _session().create_client(service, config=_OWN.get(service, _CONFIG))
