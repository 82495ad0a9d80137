"""What staff may say of customers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from oms.customers.figures import MAX_ADDRESSES
from oms.orders.forms import AddressForm, Form, ShortText


def _lines(text: str) -> str:
    if not all(line.isprintable() for line in text.split("\n")):
        raise ValueError("must not contain control characters")
    return text


class MergeForm(Form):
    """``POST /customers/{id}/merges``: whom with, and why."""

    with_: Annotated[str, Field(alias="with"), StringConstraints(pattern=r"^[0-9a-f]{20}$")]
    reason: ShortText


class ChangeCustomerForm(Form):
    """``PATCH /customers/{id}``: what is left out stays; null takes away what staff wrote down, and what orders say
    shows again. ``verified`` are those of e-mail and phone that the caller knows to be this person's own."""

    name: ShortText | None = None
    phone: Annotated[str, StringConstraints(pattern=r"^\+?[0-9 ().-]{5,30}$")] | None = None
    addresses: Annotated[list[AddressForm], Field(max_length=MAX_ADDRESSES)] | None = None
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000), AfterValidator(_lines)] | None = (
        None
    )
    verified: list[Literal["email", "phone"]] | None = None

    def told(self) -> dict[str, Any]:
        """What was given, null included."""
        return self.model_dump(include=self.model_fields_set, exclude_unset=True)
