"""What staff may send about segments and campaigns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from oms.customers.segments import AGES, CONSENT, GAP, MONEY, NAMES, Condition, condition_of
from oms.orders.forms import Form

MAX_CONDITIONS = 100
MAX_DEPTH = 8
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,39}$"
_MAX_DAYS = 36_500
_DAYS = (*AGES, GAP)

FieldName = Literal[
    "orders",
    "cancelled_orders",
    "units",
    "days_since_first_order",
    "days_since_last_order",
    "days_between_orders",
    "spent",
    "average_order",
    "channel",
    "country",
    "method",
    "sku",
    "marketing",
]
Bound = Annotated[int, Field(ge=0, le=1_000_000_000_000)]
Value = Annotated[str, StringConstraints(min_length=1, max_length=50)]
_GROUPS = ("all", "any", "not")
_ASKED = ("at_least", "at_most", "currency", "any_of", "is")


class ConditionForm(Form):
    """One condition: a group (``all``, ``any``, ``not``), or a ``field`` with what is asked of it. Amounts are minor
    units; bounds belong to what they allow."""

    all: list[ConditionForm] | None = Field(None, min_length=1, max_length=50)
    any: list[ConditionForm] | None = Field(None, min_length=1, max_length=50)
    not_: ConditionForm | None = Field(None, alias="not")
    field: FieldName | None = None
    at_least: Bound | None = None
    at_most: Bound | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    any_of: list[Value] | None = Field(None, min_length=1, max_length=100)
    is_: bool | None = Field(None, alias="is")

    @model_validator(mode="after")
    def _asks_one_thing(self) -> ConditionForm:
        told = self.document()
        if sum(name in told for name in (*_GROUPS, "field")) != 1:
            raise ValueError("give one of all, any, not and field")
        asked = [name for name in _ASKED if name in told]
        if self.field is None:
            if asked:
                raise ValueError(f"{', '.join(asked)} belong to a field")
            return self
        needed, allowed = _asked_of(self.field)
        if wrong := [name for name in asked if name not in allowed]:
            raise ValueError(f"{self.field} takes {_listed(allowed)}, and not {', '.join(wrong)}")
        if missing := [name for name in needed if name not in asked]:
            raise ValueError(f"{self.field} needs {', '.join(missing)}")
        if not asked or asked == ["currency"]:
            raise ValueError(f"{self.field} needs at_least, at_most or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError("at_least is more than at_most")
        if self.field in _DAYS and max(self.at_least or 0, self.at_most or 0) > _MAX_DAYS:
            raise ValueError(f"{_MAX_DAYS} days at most")
        return self

    def document(self) -> dict[str, Any]:
        """The condition as plain data."""
        return self.model_dump(by_alias=True, exclude_none=True)


def _asked_of(field: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a field needs, and what it takes."""
    if field in MONEY:
        return ("currency",), ("currency", "at_least", "at_most")
    if field in NAMES:
        return ("any_of",), ("any_of", "at_least")
    if field == CONSENT:
        return ("is",), ("is",)
    return (), ("at_least", "at_most")


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(names)


def _checked_size(form: ConditionForm | None) -> ConditionForm | None:
    if form is not None and _depth(form) > MAX_DEPTH:
        raise ValueError(f"conditions may stand within each other {MAX_DEPTH} deep")
    if form is not None and _count(form) > MAX_CONDITIONS:
        raise ValueError(f"a segment may have {MAX_CONDITIONS} conditions")
    return form


def _parts(form: ConditionForm) -> list[ConditionForm]:
    return [*(form.all or ()), *(form.any or ()), *([form.not_] if form.not_ else ())]


def _depth(form: ConditionForm) -> int:
    return 1 + max((_depth(part) for part in _parts(form)), default=0)


def _count(form: ConditionForm) -> int:
    return 1 + sum(_count(part) for part in _parts(form))


class SegmentForm(Form):
    """``PUT /segments/{name}``."""

    conditions: ConditionForm

    _size = field_validator("conditions")(_checked_size)

    def condition(self) -> Condition:
        """The condition that it describes."""
        return condition_of(self.conditions.document())


class PreviewForm(SegmentForm):
    """``POST /segments/preview``: conditions that are not saved, and how many people to show."""

    show: Annotated[int, Field(ge=0, le=50)] = 10


class CampaignExportForm(Form):
    """``POST /campaigns/exports``. ``how`` is ``file`` for one file, or ``table`` for an export of the whole table that
    Athena reads."""

    segment: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    conditions: ConditionForm | None = None
    purpose: Literal["marketing", "analysis"]
    format: Literal["csv", "parquet"] = "csv"
    how: Literal["file", "table"] = "file"

    _size = field_validator("conditions")(_checked_size)

    @model_validator(mode="after")
    def _says_whom(self) -> CampaignExportForm:
        if (self.segment is None) == (self.conditions is None):
            raise ValueError("give either segment or conditions")
        if self.how == "table" and self.purpose == "marketing":
            raise ValueError("a table's export is for analysis: it cannot leave out who wants no marketing")
        return self
