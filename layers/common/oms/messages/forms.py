"""What staff may ask about messages, and what customers may wish."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from oms.messages.kinds import KINDS
from oms.messages.preferences import Wish
from oms.orders.forms import Form


def _optional(kind: str) -> str:
    if kind not in KINDS or KINDS[kind].required:
        choices = sorted(name for name, each in KINDS.items() if not each.required)
        raise ValueError(f"must be one of {', '.join(choices)}: the others are owed to the customer")
    return kind


class ResendForm(Form):
    """``POST /orders/{id}/messages/{kind}/resend``: about which parcel, say; the latest if left out."""

    about: Annotated[str, StringConstraints(max_length=40)] = ""


class SettleMailForm(Form):
    """``DELETE /orders/{id}/messages/{kind}/exception``: why nobody has to see to it any more."""

    reason: Literal["told_another_way", "not_needed", "cannot_be_reached"]


class MessagePreferencesForm(Form):
    """``PUT /customers/{id}/message-preferences``, and of an order for its customer."""

    off: Annotated[list[Annotated[str, AfterValidator(_optional)]], Field(max_length=20, default_factory=list)]
    marketing: bool = False
    source: Literal["phone", "mail", "paper", "counter", "web"] = "phone"
    """How they said so to whoever writes it down; of customers who do it themselves it is ``link``."""
    wording: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,40}$")] = ""
    """The version of the words that they agreed to."""

    def wish(self, actor: str) -> Wish:
        """What they want."""
        source = "link" if actor == "customer" else self.source
        return Wish(tuple(self.off), self.marketing, source, self.wording, actor)
