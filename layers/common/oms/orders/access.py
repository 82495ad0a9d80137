"""The token that lets a shopper see and cancel their own order, and nobody else's.

It is an HMAC over the order's id and the token's end, so nothing is stored; the same order always gets the same token
while the signing key lasts, which a repeated placement relies on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

CUSTOMER = "customer"
"""The actor of whoever holds an order's token."""


def issue_token(order_id: str, ends: datetime, keys: Sequence[str]) -> str:
    """A token for this order until ``ends``, signed with the first key."""
    end = int(ends.timestamp())
    return f"{end:x}.{_signature(order_id, end, keys[0])}"


def token_opens(token: str, order_id: str, now: datetime, keys: Sequence[str]) -> bool:
    """Whether the token was issued for this order, by any of the keys, and has not ended."""
    end_text, _, signature = token.partition(".")
    try:
        end = int(end_text, 16)
    except ValueError:
        return False
    if end < now.timestamp():
        return False
    offered = signature.encode("utf-8", "replace")
    return any(hmac.compare_digest(_signature(order_id, end, key).encode(), offered) for key in keys)


def _signature(order_id: str, end: int, key: str) -> str:
    digest = hmac.new(key.encode(), f"{order_id}\x1f{end}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:24]).decode()
