"""What operators may send about priority."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from oms.orders.forms import Form
from oms.orders.pricing import SHIPPING
from oms.orders.priority import Rules

Code = Literal["F", "L", "M", "N", "P", "R"]
Amount = Annotated[int, Field(ge=1, le=1_000_000_000)]


class PriorityRulesForm(Form):
    """``PUT /priority/rules``: all of them. ``version`` is the one that they replace, 0 for none; a code that
    ``weights`` leaves out is not given any more; ``large_ticket`` is minor units by currency."""

    version: Annotated[int, Field(ge=0)]
    weights: dict[Code, Annotated[int, Field(ge=0, le=1000)]]
    many_units: Annotated[int, Field(ge=1, le=100_000)]
    large_ticket: dict[Annotated[str, Field(pattern=r"^[A-Z]{3}$")], Amount] = Field(max_length=50)
    frequent_orders: Annotated[int, Field(ge=1, le=10_000)]
    rush_methods: list[str] = Field(max_length=20)
    promised_days: Annotated[int, Field(ge=0, le=365)]

    @field_validator("rush_methods")
    @classmethod
    def _are_offered(cls, value: list[str]) -> list[str]:
        if unknown := set(value) - set(SHIPPING):
            raise ValueError(f"there is no shipping method {', '.join(sorted(unknown))}")
        return value

    def as_rules(self) -> Rules:
        """The rules that it describes."""
        return Rules(
            weights={str(code): weight for code, weight in self.weights.items()},
            many_units=self.many_units,
            large_ticket=dict(self.large_ticket),
            frequent_orders=self.frequent_orders,
            rush_methods=tuple(self.rush_methods),
            promised_days=self.promised_days,
            version=self.version,
        )


class PriorityRehearsalForm(PriorityRulesForm):
    """``POST /priority/rehearsals``: rules to try on the last orders."""

    version: Annotated[int, Field(ge=0)] = 0
    last: Annotated[int, Field(ge=1, le=500)] = 100
