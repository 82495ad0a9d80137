"""The Standard Webhooks scheme: HMAC-SHA256 over ``id.timestamp.body``, sent just now, under any of our secrets."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from oms.channels.port import Callback, SignatureInvalid

TOLERANCE = timedelta(minutes=5)


def verify(callback: Callback, secrets: Sequence[str], now: datetime, *, whose: str) -> str:
    """The message's id, once its signature is proven. Raises ``SignatureInvalid``, or ``ValueError`` for a secret that
    cannot be one."""
    try:
        message_id = callback.headers["webhook-id"]
        timestamp = callback.headers["webhook-timestamp"]
        signature = callback.headers["webhook-signature"]
    except KeyError as error:
        raise SignatureInvalid(f"the header {error} is missing") from error
    if not message_id:
        raise SignatureInvalid("the message has no id")
    if not re.fullmatch(r"[0-9]{1,10}", timestamp):
        raise SignatureInvalid("the timestamp is not a number of seconds")
    if abs(now - datetime.fromtimestamp(int(timestamp), UTC)) > TOLERANCE:
        raise SignatureInvalid("the timestamp is too far from now")
    # A list of ``v1,<base64>``; Etsy documents the bare value. Other versions cannot match.
    offered = [each.removeprefix("v1,").encode() for each in signature.split()]
    matched = False
    for secret in secrets:
        expected = _digest(_key(secret, whose), message_id, timestamp, callback.body)
        for each in offered:
            matched |= hmac.compare_digest(expected, each)
    if not matched:
        raise SignatureInvalid("no signature matches")
    return message_id


def sign(secret: str, message_id: str, now: datetime, body: bytes, *, whose: str) -> dict[str, str]:
    """The headers that prove a message of ours."""
    timestamp = str(int(now.timestamp()))
    digest = _digest(_key(secret, whose), message_id, timestamp, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{digest.decode()}",
    }


def _digest(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())


def _key(secret: str, whose: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError(f"{whose} webhook secret is not base64") from error
    if not key:
        raise ValueError(f"{whose} webhook secret is empty")
    return key
