"""What operators may send about rewards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from oms.customers.rewards import Milestone, Rules, Terms
from oms.orders.coupon_forms import Amounts
from oms.orders.coupons import Coupon, inconsistent
from oms.orders.forms import Currency, Form, Sku


class RewardCouponForm(Form):
    """What a reward's coupon takes off, and for how many days it holds."""

    kind: Literal["percent", "amount", "shipping"]
    percent: Annotated[int, Field(ge=1, le=100)] | None = None
    amounts: Amounts = Field(default_factory=dict, max_length=20)
    minimum: Amounts = Field(default_factory=dict, max_length=20)
    days: Annotated[int, Field(ge=1, le=3650)] = 365

    @model_validator(mode="after")
    def _fits_its_kind(self) -> RewardCouponForm:
        if wrong := inconsistent(Coupon("-", self.kind, self.percent or 0, self.amounts)):
            raise ValueError("; ".join(f"{name} {what}" for name, what in wrong))
        return self

    def as_terms(self) -> Terms:
        """The terms that it describes."""
        return Terms(self.kind, self.percent or 0, self.amounts, self.minimum, self.days)


class MilestoneForm(Form):
    """What a person gets who has spent so much: a ``gift``, of which the first SKU that can be had is given, a
    ``coupon``, or the coupon in place of a gift that cannot be had."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    currency: Currency
    spent: Annotated[int, Field(ge=1, le=1_000_000_000_000)]
    gift: list[Sku] = Field(default_factory=list, max_length=5)
    coupon: RewardCouponForm | None = None
    per_address: Annotated[int, Field(ge=1, le=1000)] = 2

    @model_validator(mode="after")
    def _gives_something(self) -> MilestoneForm:
        if not (self.gift or self.coupon):
            raise ValueError("needs a gift or a coupon")
        return self


class RewardRulesForm(Form):
    """``PUT /rewards/rules``: all milestones. ``version`` is the one that they replace, 0 for none."""

    version: Annotated[int, Field(ge=0)]
    milestones: list[MilestoneForm] = Field(max_length=50)

    @model_validator(mode="after")
    def _names_are_distinct(self) -> RewardRulesForm:
        if len({each.name for each in self.milestones}) != len(self.milestones):
            raise ValueError("milestones names one twice")
        return self

    def as_rules(self) -> Rules:
        """The rules that it describes."""
        return Rules(
            tuple(
                Milestone(
                    name=each.name,
                    currency=each.currency,
                    spent=each.spent,
                    gift=tuple(each.gift),
                    coupon=each.coupon.as_terms() if each.coupon else None,
                    per_address=each.per_address,
                )
                for each in self.milestones
            ),
            self.version,
        )
