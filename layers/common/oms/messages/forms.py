"""What staff may ask about messages."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from oms.messages.kinds import KINDS
from oms.orders.forms import Form


def _optional(kind: str) -> str:
    if kind not in KINDS or KINDS[kind].required:
        choices = sorted(name for name, each in KINDS.items() if not each.required)
        raise ValueError(f"must be one of {', '.join(choices)}: the others are owed to the customer")
    return kind


class ResendForm(Form):
    """``POST /orders/{id}/messages/{kind}/resend``: about which parcel, say; the latest if left out."""

    about: Annotated[str, StringConstraints(max_length=40)] = ""


class MessagePreferencesForm(Form):
    """``PUT /customers/{id}/message-preferences``."""

    off: Annotated[list[Annotated[str, AfterValidator(_optional)]], Field(max_length=20, default_factory=list)]
    marketing: bool = False
