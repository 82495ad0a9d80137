"""What operators may send about facilities and routing."""

from __future__ import annotations

from datetime import date, time
from typing import Annotated, Literal

from pydantic import EmailStr, Field, StringConstraints, field_validator, model_validator

from oms.fulfillment.calendars import DAYS, Calendar, zone
from oms.fulfillment.carrier import Address
from oms.fulfillment.facilities import Facility
from oms.fulfillment.labelling import Terms
from oms.fulfillment.routing import Rule, Rules
from oms.inventory.forms import FACILITY_PATTERN
from oms.orders.forms import AddressForm, Form, ShortText

Code = Annotated[str, StringConstraints(pattern=FACILITY_PATTERN)]
Hour = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50)]
Degrees = Annotated[float, Field(ge=-180, le=180, strict=False)]
Point = Annotated[list[Degrees], Field(min_length=2, max_length=2)]
Method = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z][a-z0-9_-]{0,31})$")]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class HoursForm(Form):
    """From when until when a facility is open on a day."""

    opens: Hour
    closes: Hour

    @model_validator(mode="after")
    def _closes_later(self) -> HoursForm:
        if time.fromisoformat(self.opens) >= time.fromisoformat(self.closes):
            raise ValueError("closes must be later than opens")
        return self


class FacilityForm(Form):
    """``PUT /facilities/{facility}``: where parcels come from, when, and how many a day. Without ``opening`` it never
    closes; ``cut_offs`` and ``handling_days`` go by shipping method, ``*`` for the others; ``cost`` is minor units a
    parcel; ``coordinates`` are latitude and longitude; ``email`` is where a vendor is told what to send."""

    address: AddressForm
    phone: Annotated[str, StringConstraints(pattern=r"^\+?[0-9 ().-]{5,30}$")] | None = None
    email: Annotated[EmailStr, StringConstraints(max_length=254)] | None = None
    kind: Literal["warehouse", "store", "vendor"] = "warehouse"
    time_zone: str = "UTC"
    opening: dict[Day, HoursForm] = Field(default_factory=dict)
    holidays: list[str] = Field(default_factory=list, max_length=400)
    cut_offs: dict[Method, Hour] = Field(default_factory=dict, max_length=20)
    handling_days: dict[Method, Annotated[int, Field(ge=0, le=30)]] = Field(default_factory=dict, max_length=20)
    daily_orders: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    daily_units: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    ships: bool = True
    pickup: bool = False
    active: bool = True
    cost: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    coordinates: Point | None = None

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        zone(value)
        return value

    @field_validator("holidays")
    @classmethod
    def _are_dates(cls, value: list[str]) -> list[str]:
        for each in value:
            try:
                date.fromisoformat(each)
            except ValueError:
                raise ValueError(f"{each} is no date like 2026-12-25") from None
        return value

    @model_validator(mode="after")
    def _only_vendors_are_written_to(self) -> FacilityForm:
        if self.email and self.kind != "vendor":
            raise ValueError("email is for vendors: nobody else is written to")
        return self

    def facility(self, code: str) -> Facility:
        """The facility that it describes."""
        return Facility(
            code=code,
            address=Address(**self.address.model_dump(exclude_none=True), phone=self.phone or ""),
            kind=self.kind,
            calendar=Calendar(
                time_zone=self.time_zone,
                opening={
                    day: (self.opening[day].opens, self.opening[day].closes) for day in DAYS if day in self.opening
                },
                holidays=frozenset(self.holidays),
                cut_offs=self.cut_offs,
                handling_days=self.handling_days,
            ),
            daily_orders=self.daily_orders,
            daily_units=self.daily_units,
            ships=self.ships,
            pickup=self.pickup,
            active=self.active,
            cost=self.cost,
            point=(self.coordinates[0], self.coordinates[1]) if self.coordinates else None,
            email=self.email or "",
        )


class WhenForm(Form):
    """Which orders a rule speaks of: one value of every condition that is given must hold."""

    countries: list[Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]] | None = None
    skus: list[Word] | None = None
    channels: list[Word] | None = None
    methods: list[Word] | None = None
    codes: list[Annotated[str, StringConstraints(pattern=r"^[A-Z]$")]] | None = None


class RuleForm(Form):
    """One rule. ``prefer`` and ``exclude`` name facilities, best first; ``exclude`` may name a kind as well. ``whole``
    lets nothing leave before everything can."""

    name: ShortText
    when: WhenForm = Field(default_factory=WhenForm)
    prefer: list[Code] = Field(default_factory=list, max_length=50)
    exclude: list[Code] = Field(default_factory=list, max_length=50)
    max_parcels: Annotated[int, Field(ge=1, le=99)] | None = None
    whole: bool = False


class TermsForm(Form):
    """A shipping method: at the door within so many days of the order, by these carriers and services only."""

    days: Annotated[int, Field(ge=0, le=90)] | None = None
    carriers: list[Word] = Field(default_factory=list, max_length=20)
    services: list[Word] = Field(default_factory=list, max_length=50)


class RoutingRulesForm(Form):
    """``PUT /routing/rules``: all rules, in the order in which they are asked. ``version`` is the one that they
    replace, 0 for none. ``places`` gives postal prefixes (``US-972``) a latitude and a longitude."""

    version: Annotated[int, Field(ge=0)]
    rules: list[RuleForm] = Field(max_length=200)
    places: dict[Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}-[A-Z0-9]{1,10}$")], Point] = Field(
        default_factory=dict, max_length=1000
    )

    methods: dict[Method, TermsForm] = Field(default_factory=dict, max_length=50)

    @model_validator(mode="after")
    def _names_are_distinct(self) -> RoutingRulesForm:
        if len({rule.name for rule in self.rules}) != len(self.rules):
            raise ValueError("rules names one twice")
        return self

    def as_rules(self) -> Rules:
        """The rules that it describes."""
        return Rules(
            rules=tuple(
                Rule(
                    name=rule.name,
                    when={name: tuple(values) for name, values in rule.when.model_dump(exclude_none=True).items()},
                    prefer=tuple(rule.prefer),
                    exclude=tuple(rule.exclude),
                    max_parcels=rule.max_parcels,
                    whole=rule.whole,
                )
                for rule in self.rules
            ),
            places={prefix: (point[0], point[1]) for prefix, point in self.places.items()},
            methods={
                method: Terms(told.days, tuple(told.carriers), tuple(told.services))
                for method, told in self.methods.items()
            },
            version=self.version,
        )


class DryRunForm(RoutingRulesForm):
    """``POST /routing/dry-runs``: rules to try on the last orders that were planned."""

    version: Annotated[int, Field(ge=0)] = 0
    last: Annotated[int, Field(ge=1, le=100)] = 50


class DeclineForm(Form):
    """``POST /vendors/requests/{id}/decline``: why a vendor does not send a parcel."""

    reason: ShortText


class LabelForm(Form):
    """``PUT /parcels/{id}/label``: the label that somebody put on a parcel by hand."""

    carrier: ShortText
    service: Annotated[str, StringConstraints(strip_whitespace=True, max_length=50)] = ""
    tracking_number: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 -]{3,49}$")]
