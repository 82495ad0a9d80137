"""What a warehouse device may send."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from oms.orders.forms import Form, ShortText, Sku

Units = Annotated[int, Field(ge=1, le=99_999)]


class ScanForm(Form):
    """One item under the scanner, or several of them counted: by its barcode, or by its SKU where it has none."""

    barcode: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,80}$")] | None = None
    sku: Sku | None = None
    quantity: Units = 1
    bin: Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,40}$")] | None = None

    @model_validator(mode="after")
    def _names_one_item(self) -> ScanForm:
        if (self.barcode is None) == (self.sku is None):
            raise ValueError("send either barcode or sku")
        return self


class ShortForm(Form):
    """Units that are not where they should be."""

    sku: Sku
    quantity: Units
    reason: ShortText
