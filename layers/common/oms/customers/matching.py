"""When two identities are one person: the rules.

What joins is a *verified* e-mail or phone, the same for both. An e-mail is verified when mail about a paid order went
to it and did not come back; marketplaces write to their buyers themselves, so what they told with a paid order counts
as well. Addresses that a marketplace puts in between never join anybody. A phone is verified when an agent says so,
and an e-mail may be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from oms.messages.kinds import CHANNELS_THAT_TELL
from oms.orders.model import Order, Status
from oms.runtime.clock import from_text

KINDS = ("email", "phone")
BOUNCES_WITHIN = timedelta(hours=1)
"""A mail to an address that does not exist has come back by then, almost always within seconds."""
_RELAYS = ("marketplace.amazon.", "members.ebay.", "guest.", "relay.")


def is_relay(email: str) -> bool:
    """Whether a marketplace put this address between the buyer and us."""
    domain = email.rpartition("@")[2].lower()
    return any(domain.startswith(relay) for relay in _RELAYS)


def counts(order: Order) -> bool:
    """Whether an order can verify anything: somebody paid for it."""
    return order.status in (Status.CONFIRMED, Status.IN_FULFILLMENT, Status.COMPLETED)


def verified_email(order: Order, mails: Iterable[Mapping[str, Any]], now: datetime) -> str:
    """The e-mail that an order with these mails verifies; empty when it does none."""
    email = order.customer.get("email", "")
    if not email or is_relay(email) or not counts(order):
        return ""
    if order.channel in CHANNELS_THAT_TELL:
        return email
    arrived = any(mail["status"] == "sent" and now - from_text(mail["at"]) >= BOUNCES_WITHIN for mail in mails)
    return email if arrived and not any(mail["status"] in ("bounced", "complained") for mail in mails) else ""


def claim(kind: str, value: str) -> str:
    """What stands for an e-mail or a phone, the same however it is written, and tells nobody's."""
    plain = value.strip().lower() if kind == "email" else "".join(char for char in value if char.isdigit())
    return f"{kind}#{hashlib.sha256(plain.encode()).hexdigest()[:32]}"


def claim_key(claim: str) -> tuple[str, str]:
    """Where it stands which identity verified it first."""
    return f"MATCH#{claim}", "MATCH"
