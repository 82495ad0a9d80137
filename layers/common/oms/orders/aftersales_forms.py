"""What clients may send after the sale: refunds, returns, and what the warehouse says of what came back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from oms.inventory.forms import Day, LotCode
from oms.orders.forms import AddressForm, Form, ShortText, Sku
from oms.orders.returning import REASONS

Why = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=200)]
Count = Annotated[int, Field(ge=1, le=999)]
LineNumber = Annotated[int, Field(ge=1, le=999)]
_REASONS = "|".join(REASONS)


class UnitsForm(Form):
    """Units of one line."""

    line: LineNumber
    quantity: Count


class RefundForm(Form):
    """``POST /orders/{id}/refunds``: money back while the goods stay where they are."""

    kind: Literal["full", "amount", "lines", "shipping"]
    amount: Annotated[int, Field(ge=1)] | None = None
    lines: Annotated[list[UnitsForm], Field(min_length=1, max_length=200)] | None = None
    reason: Literal["goodwill", "late", "damaged", "wrong_item", "price_adjustment", "duplicate", "other"]
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""

    @model_validator(mode="after")
    def _says_how_much(self) -> RefundForm:
        if (self.amount is not None) != (self.kind == "amount"):
            raise ValueError("amount belongs to the kind amount, and to no other")
        if (self.lines is not None) != (self.kind == "lines"):
            raise ValueError("lines belong to the kind lines, and to no other")
        return self


class GivenBackForm(Form):
    """``POST /orders/{id}/refunds/{refund}/given-back``: how a person gave the money back, and its receipt."""

    method: Literal["cash", "card_terminal", "bank_transfer"]
    reference: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]


class WithdrawForm(Form):
    """``POST /orders/{id}/refunds/{refund}/withdraw``: why the money is not owed after all."""

    reason: Why


class ReturnLineForm(Form):
    """Units of one line that come back, and why."""

    line: LineNumber
    quantity: Count
    reason: Annotated[str, StringConstraints(pattern=f"^({_REASONS})$")]


class ExchangeLineForm(Form):
    """What the customer wants instead."""

    sku: Sku
    quantity: Count


class ReturnForm(Form):
    """``POST /orders/{id}/returns``: what comes back, and whether for money or for something else."""

    lines: Annotated[list[ReturnLineForm], Field(min_length=1, max_length=40)]
    exchange: Annotated[list[ExchangeLineForm], Field(min_length=1, max_length=40)] | None = None

    @model_validator(mode="after")
    def _names_a_line_once(self) -> ReturnForm:
        if len({line.line for line in self.lines}) < len(self.lines):
            raise ValueError("a line is named twice")
        return self


class ReturnDecisionForm(Form):
    """``POST /orders/{id}/returns/{number}/decision``."""

    decision: Literal["approve", "reject", "sent", "cancel", "close"]
    reason: Why


class ReturnScanForm(Form):
    """``POST /warehouse/returns/{id}/scans``: units that came back, as they were found."""

    facility: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,30}$")]
    sku: Sku | None = None
    barcode: ShortText | None = None
    quantity: Count = 1
    grade: Literal["resellable", "damaged"]
    lot: LotCode | None = None
    expires: Day | None = None

    @model_validator(mode="after")
    def _names_one(self) -> ReturnScanForm:
        if (self.sku is None) == (self.barcode is None):
            raise ValueError("give either sku or barcode")
        return self


class EditLineForm(Form):
    """A line's new quantity (0 takes it out), or a product that joins the order."""

    line: LineNumber | None = None
    sku: Sku | None = None
    quantity: Annotated[int, Field(ge=0, le=999)]

    @model_validator(mode="after")
    def _names_one(self) -> EditLineForm:
        if (self.line is None) == (self.sku is None):
            raise ValueError("give either line or sku")
        if self.sku is not None and not self.quantity:
            raise ValueError("a product that joins needs a quantity")
        return self


class EditForm(Form):
    """``POST /orders/{id}/edits/preview``."""

    lines: Annotated[list[EditLineForm], Field(default_factory=list, max_length=40)]
    shipping_address: AddressForm | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> EditForm:
        if not self.lines and self.shipping_address is None:
            raise ValueError("say what to change")
        named = [line.line or line.sku for line in self.lines]
        if len(set(named)) < len(named):
            raise ValueError("a line or product is named twice")
        return self


class ConfirmEditForm(EditForm):
    """``POST /orders/{id}/edits``: the same, and the preview that it confirms."""

    preview: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
