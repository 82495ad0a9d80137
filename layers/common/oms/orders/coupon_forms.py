"""What operators may send about coupons."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from oms.orders.coupons import Coupon, inconsistent
from oms.orders.forms import CouponCode, Form, Sku
from oms.orders.pricing import CURRENCIES
from oms.runtime.clock import to_text

Amounts = dict[str, Annotated[int, Field(ge=1, le=1_000_000_000)]]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class CouponTermsForm(Form):
    """``PATCH /coupons/{code}``: the terms that change. ``null`` takes a bound away; ``limit`` can be raised and
    lowered, but a coupon has one for ever or never. Times are RFC 3339 with their zone."""

    percent: Annotated[int, Field(ge=1, le=100)] | None = None
    amounts: Amounts = Field(default_factory=dict, max_length=20)
    limit: Count | None = None
    per_customer: Count | None = None
    per_address: Count | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    minimum: Amounts = Field(default_factory=dict, max_length=20)
    minimum_units: Annotated[int, Field(ge=0, le=100_000)] = 0
    skus: list[Sku] = Field(default_factory=list, max_length=200)
    exclusive: bool = True
    active: bool = True

    @field_validator("amounts", "minimum")
    @classmethod
    def _are_in_our_currencies(cls, value: dict[str, int]) -> dict[str, int]:
        if unknown := set(value) - CURRENCIES:
            raise ValueError(f"we do not sell in {', '.join(sorted(unknown))}")
        return value

    @field_validator("starts_at", "ends_at")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("must be a time such as 2026-12-24T18:00:00Z") from None
        if moment.tzinfo is None:
            raise ValueError("must say its zone, such as 2026-12-24T18:00:00Z")
        return to_text(moment)

    def changes(self) -> dict[str, Any]:
        """What was sent, as the coupon keeps it."""
        sent = self.model_dump(include=self.model_fields_set & set(CouponTermsForm.model_fields))
        empty: dict[str, Any] = {"percent": 0, "starts_at": "", "ends_at": ""}
        told: dict[str, Any] = {name: empty.get(name) if value is None else value for name, value in sent.items()}
        return {**told, "skus": tuple(told["skus"])} if "skus" in told else told


class CouponForm(CouponTermsForm):
    """``POST /coupons``: a code and what it takes off."""

    code: CouponCode
    kind: Literal["percent", "amount", "shipping"]

    @model_validator(mode="after")
    def _fits_its_kind(self) -> CouponForm:
        if wrong := inconsistent(self.as_coupon()):
            raise ValueError("; ".join(f"{name} {what}" for name, what in wrong))
        return self

    def as_coupon(self) -> Coupon:
        """The coupon that it describes."""
        return Coupon(self.code, self.kind, **self.changes())
