"""What operators may ask of subscriptions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from oms.orders.forms import Form
from oms.webhooks.events import TYPES


def _known(type: str) -> str:
    if type not in TYPES:
        raise ValueError(f"must be one of {', '.join(sorted(TYPES))}")
    return type


Url = Annotated[str, Field(min_length=8, max_length=2000)]
Types = Annotated[list[Annotated[str, AfterValidator(_known)]], Field(min_length=1, max_length=50)]
Include = Annotated[list[Literal["customer", "shipping_address"]], Field(max_length=2)]


class SubscriptionForm(Form):
    """``POST /webhooks/subscriptions``: where, what of, and which personal data besides ids and figures."""

    url: Url
    types: Types
    include: Annotated[Include, Field(default_factory=list)]


class ChangeSubscriptionForm(Form):
    """``PATCH /webhooks/subscriptions/{id}``: what is left out stays."""

    url: Url | None = None
    types: Types | None = None
    include: Include | None = None
    enabled: bool | None = None


class RotateSecretForm(Form):
    """``POST /webhooks/subscriptions/{id}/secret``: for how many hours the present secret signs as well."""

    hours: Annotated[int, Field(ge=0, le=168)] = 24


class ReplayForm(Form):
    """``POST /webhooks/subscriptions/{id}/replay``: from which number on."""

    sequence: Annotated[int, Field(ge=1)]
