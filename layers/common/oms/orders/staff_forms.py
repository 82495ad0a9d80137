"""What staff send: orders by phone and at a till, drafts of them, and how they are paid."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, EmailStr, Field, StringConstraints, model_validator

from oms.orders.forms import AddressForm, CouponCode, Day, Form, GiftForm, LineForm, ShortText
from oms.orders.pricing import CURRENCIES, SHIPPING

Reference = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
"""A terminal's receipt, an invoice's number."""
FacilityCode = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a time as in RFC 3339") from None
    if moment.tzinfo is None:
        raise ValueError("must say its time zone")
    return text


class DiscountForm(Form):
    """Minor units or percent off, before tax, and why."""

    amount: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    percent: Annotated[int, Field(ge=1, le=100)] | None = None
    reason: Literal["damaged", "goodwill", "loyalty", "price_match", "promotion", "staff", "other"]

    @model_validator(mode="after")
    def _is_one(self) -> DiscountForm:
        if (self.amount is None) == (self.percent is None):
            raise ValueError("must have either an amount or a percent")
        return self


class StaffLineForm(LineForm):
    """One SKU, how many, and what is taken off."""

    discount: DiscountForm | None = None


class StaffCustomerForm(Form):
    """Who buys, as far as they say."""

    email: Annotated[EmailStr, StringConstraints(max_length=254)] | None = None
    name: ShortText | None = None
    phone: Annotated[str, StringConstraints(pattern=r"^\+?[0-9 ().-]{5,30}$")] | None = None


class DraftForm(Form):
    """``POST /staff/drafts`` and ``PUT /staff/drafts/{id}``: an order as far as it has come."""

    channel: Literal["phone", "pos"]
    currency: str
    lines: Annotated[list[StaffLineForm], Field(max_length=200, default_factory=list)]
    customer: StaffCustomerForm | None = None
    shipping_address: AddressForm | None = None
    shipping_method: str = "standard"
    counter: FacilityCode | None = None
    """The store that hands the goods over at once; they are sent or collected later without one."""
    discount: DiscountForm | None = None
    coupons: Annotated[list[CouponCode], Field(min_length=1, max_length=3)] | None = None
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] | None = None
    gift: GiftForm | None = None
    deliver_by: Day | None = None
    """A day on which the customer was told to have it."""

    @model_validator(mode="after")
    def _is_offered(self) -> DraftForm:
        if self.currency not in CURRENCIES:
            raise ValueError(f"currency must be one of {', '.join(sorted(CURRENCIES))}")
        if self.shipping_method not in SHIPPING:
            raise ValueError(f"shipping_method must be one of {', '.join(sorted(SHIPPING))}")
        if len(set(self.codes)) < len(self.codes):
            raise ValueError("coupons: each once")
        if self.counter and self.channel != "pos":
            raise ValueError("counter is for channel pos: goods are handed over at a till only")
        return self

    @property
    def codes(self) -> list[str]:
        """The coupons to redeem."""
        return self.coupons or []

    @property
    def method(self) -> str:
        """How it leaves: nothing is charged for what is handed over."""
        return "pickup" if self.counter else self.shipping_method


class StaffPaymentForm(Form):
    """How an order by staff is paid: by a link that the customer gets, or by what was taken or granted."""

    method: Literal["card_link", "card_terminal", "cash", "invoice"]
    reference: Reference | None = None
    terms_days: Annotated[int, Field(ge=1, le=120)] | None = None
    """Within how many days an invoice is to be paid; 30 unless it says."""

    @model_validator(mode="after")
    def _fits_its_method(self) -> StaffPaymentForm:
        if self.method == "card_terminal" and not self.reference:
            raise ValueError("reference: a card terminal's payment needs the number on its receipt")
        if self.method == "card_link" and self.reference:
            raise ValueError("reference: a link has none")
        if self.terms_days and self.method != "invoice":
            raise ValueError("terms_days is for invoices")
        return self


class StaffOrderForm(DraftForm):
    """``POST /staff/orders``."""

    lines: Annotated[list[StaffLineForm], Field(min_length=1, max_length=200)]
    payment: StaffPaymentForm
    taken_at: Annotated[str, StringConstraints(max_length=40), AfterValidator(_moment)] | None = None
    """When a till sold it, by its own clock."""
    charged_total: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """What a till charged in all, tax included: it has happened, whatever our prices are by now."""

    @model_validator(mode="after")
    def _can_be_placed(self) -> StaffOrderForm:
        customer = self.customer or StaffCustomerForm()
        if self.counter:
            if self.payment.method == "card_link":
                raise ValueError("payment: goods that are handed over at once are paid at once, not by a link")
            if self.shipping_address:
                raise ValueError("shipping_address: goods that are handed over at once are not sent")
        else:
            if not (customer.name and (customer.email or customer.phone)):
                raise ValueError("customer must have a name, and an email or a phone number")
            if not self.shipping_address:
                raise ValueError("shipping_address must be given unless a counter hands the goods over")
        if self.payment.method == "card_link" and not customer.email:
            raise ValueError("customer.email must be given: the link is sent there")
        if self.charged_total and not (self.counter and self.payment.method in ("card_terminal", "cash")):
            raise ValueError("charged_total is for money that was taken at a counter")
        if self.charged_total and self.coupons:
            raise ValueError(
                "coupons: none is redeemed after charged_total was taken; tell what it took off as a discount"
            )
        if self.taken_at and self.channel != "pos":
            raise ValueError("taken_at is for tills")
        return self


class PlaceDraftForm(Form):
    """``POST /staff/drafts/{id}/place``: how it is paid."""

    payment: StaffPaymentForm


class HandOverForm(Form):
    """``POST /staff/orders/{id}/hand-over``: why the goods were there although the books did not have them."""

    found: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=200)] | None = None


class TenderForm(Form):
    """``POST /staff/orders/{id}/payments``: money that was taken for an order that is not paid yet."""

    method: Literal["card_terminal", "cash", "bank_transfer"]
    amount: Annotated[int, Field(ge=1, le=100_000_000)]
    reference: Reference
