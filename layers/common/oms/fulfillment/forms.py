"""What a warehouse device may send."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from oms.inventory.forms import FACILITY_PATTERN, BinCode, Day, LotCode
from oms.inventory.model import STAGING
from oms.orders.forms import Form, ShortText, Sku
from oms.runtime.http import field_problem

Units = Annotated[int, Field(ge=1, le=99_999)]
Barcode = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,80}$")]
Scan = Annotated[str, StringConstraints(pattern=r"^[\x1d\x21-\x7e]{1,120}$")]
"""What a scanner sends: a GS1 element string has separators (FNC1) in it."""
BinName = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,40}$")]
ToteCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,31}$")]
Centimetres = Annotated[int, Field(ge=0, le=100_000)]


class ScanForm(Form):
    """One item under the scanner, or several of them counted: by its barcode, or by its SKU where it has none."""

    barcode: Scan | None = None
    sku: Sku | None = None
    quantity: Units = 1
    bin: BinName | None = None
    serial: Barcode | None = None
    lot: LotCode | None = None
    expires: Day | None = None

    @model_validator(mode="after")
    def _names_one_item(self) -> ScanForm:
        if (self.barcode is None) == (self.sku is None):
            raise ValueError("send either barcode or sku")
        return self


class CollectForm(Form):
    """``POST /warehouse/pickups/{id}/collect``: the code that the customer shows, or the paper on which their name was
    read."""

    code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 -]{8,12}$")] | None = None
    identity: Literal["passport", "identity_card", "driving_licence"] | None = None

    @model_validator(mode="after")
    def _names_one_proof(self) -> CollectForm:
        if (self.code is None) == (self.identity is None):
            raise ValueError("send either code or identity")
        return self


class PutBackUnit(Form):
    """Where the units of a SKU were put."""

    sku: Sku
    bin: BinCode

    @model_validator(mode="after")
    def _is_a_shelf(self) -> PutBackUnit:
        if self.bin in STAGING:
            raise ValueError(f"{self.bin} is no shelf")
        return self


class PutBackForm(Form):
    """What lies in another bin than the one that was proposed."""

    units: Annotated[list[PutBackUnit], Field(max_length=50)] = Field(default_factory=list)


class ShortForm(Form):
    """Units that are not where they should be, perhaps of a certain lot."""

    sku: Sku
    quantity: Units
    lot: LotCode | None = None
    expires: Day | None = None
    reason: ShortText


class CompleteForm(Form):
    """What a packer's device may say of a finished parcel; ``reason`` is why a weight that looks wrong is right."""

    weight_grams: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    carton: ToteCode | None = None
    reason: ShortText | None = None


class LabelsForm(Form):
    """``POST /warehouse/{facility}/labels``: labels for bins or totes, as PDF or for a thermal printer."""

    kind: Literal["bin", "tote"]
    codes: Annotated[list[ToteCode], Field(min_length=1, max_length=200)]
    format: Literal["pdf", "zpl"] = "pdf"


class WalkScanForm(Form):
    """A scan on a walk: the bin that the picker stands at, an item (with its bin, and on a cluster cart its tote), or a
    tote for a slot of the cart."""

    bin: BinName | None = None
    barcode: Scan | None = None
    sku: Sku | None = None
    quantity: Units = 1
    tote: ToteCode | None = None
    slot: Annotated[int, Field(ge=1, le=99)] | None = None
    lot: LotCode | None = None
    expires: Day | None = None

    @model_validator(mode="after")
    def _names_something(self) -> WalkScanForm:
        if self.barcode is not None and self.sku is not None:
            raise ValueError("send either barcode or sku")
        if self.slot is not None and self.tote is None:
            raise ValueError("a slot needs the tote that goes there")
        if self.barcode is None and self.sku is None and self.bin is None and self.slot is None:
            raise ValueError("send a bin, an item, or a tote with its slot")
        return self


class WalkShortForm(Form):
    """Units that are not in their bin, perhaps of a certain lot; a SKU without a bin has none here."""

    bin: BinName | None = None
    sku: Sku
    quantity: Units
    lot: LotCode | None = None
    expires: Day | None = None
    reason: ShortText


class SkipForm(Form):
    """A bin to come back to at the end of the walk."""

    bin: BinName


class WaveForm(Form):
    """``POST /warehouse/{facility}/waves``: everything that waits, or what has to leave by ``cut_off``."""

    cut_off: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$")] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 500


class AisleZoneForm(Form):
    """Aisles that one picker stays in, both ends included."""

    name: Name
    first_aisle: Annotated[int, Field(ge=1)]
    last_aisle: Annotated[int, Field(ge=1)]


class PlaceForm(Form):
    """Where a bin is whose name does not say it; aisles from the depot and cells from the front, both from 1."""

    aisle: Annotated[int, Field(ge=1)]
    cell: Annotated[int, Field(ge=1)]


class LayoutForm(Form):
    """``PUT /warehouse/{facility}/layout``: one rectangular block of parallel aisles, the depot at the front of the
    first one. Bins named ``<aisle>-<cell>`` need no entry; others without one are picked by eye."""

    aisles: Annotated[int, Field(ge=1, le=200)]
    cells: Annotated[int, Field(ge=1, le=500)]
    aisle_spacing_cm: Centimetres
    cell_length_cm: Centimetres
    front_offset_cm: Centimetres
    back_offset_cm: Centimetres
    depot_offset_cm: Centimetres = 0
    zones: list[AisleZoneForm] = Field(default_factory=list, max_length=8)
    bins: dict[BinName, PlaceForm] = Field(default_factory=dict, max_length=4_000)

    @model_validator(mode="after")
    def _makes_a_floor(self) -> LayoutForm:
        taken: dict[int, str] = {}
        for zone in self.zones:
            if not zone.first_aisle <= zone.last_aisle <= self.aisles:
                raise ValueError(f"zone {zone.name} must be within aisles 1 to {self.aisles}")
            for aisle in range(zone.first_aisle, zone.last_aisle + 1):
                if aisle in taken:
                    raise ValueError(f"aisle {aisle} is in zone {taken[aisle]} and in zone {zone.name}")
                taken[aisle] = zone.name
        if self.zones and len(taken) < self.aisles:
            missing = next(aisle for aisle in range(1, self.aisles + 1) if aisle not in taken)
            raise ValueError(f"aisle {missing} is in no zone")
        if len({zone.name for zone in self.zones}) < len(self.zones):
            raise ValueError("two zones have one name")
        for name, place in self.bins.items():
            if place.aisle > self.aisles or place.cell > self.cells:
                raise ValueError(f"bin {name} is outside the block")
        return self


class MethodRuleForm(Form):
    """A method, and the parcels it is for: every condition given must hold; the first rule that fits decides."""

    method: Literal["single", "batch", "zone", "wave", "cluster"]
    min_units: Units | None = None
    max_units: Units | None = None
    min_zones: Annotated[int, Field(ge=2, le=8)] | None = None
    codes: Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,12}$")] | None = None


class RulesForm(Form):
    """``PUT /warehouse/{facility}/rules``: how work is released; ``automatic`` lets the schedule do it."""

    automatic: bool = False
    work_in_process: Annotated[int, Field(ge=1, le=100_000)] = 400
    walk_units: Annotated[int, Field(ge=1, le=1_000)] = 30
    cart_slots: Annotated[int, Field(ge=0, le=40)] = 0
    lead_minutes: Annotated[int, Field(ge=0, le=1_440)] = 120
    lease_minutes: Annotated[int, Field(ge=1, le=240)] = 15
    search_seconds: Annotated[int, Field(ge=0, le=5)] = 2
    weight_tolerance_grams: Annotated[int, Field(ge=0, le=10_000)] = 50
    weight_tolerance_percent: Annotated[int, Field(ge=0, le=50)] = 5
    methods: Annotated[list[MethodRuleForm], Field(min_length=1, max_length=20)] | None = None


class CartonForm(Form):
    """A carton: inner sides and its wall in millimetres, grams, and what it costs in minor units."""

    code: ToteCode
    inner_mm: Annotated[list[Annotated[int, Field(ge=10, le=3_000)]], Field(min_length=3, max_length=3)]
    tare_grams: Annotated[int, Field(ge=0, le=50_000)] = 0
    max_grams: Annotated[int, Field(ge=1, le=1_000_000)] = 30_000
    cost: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    wall_mm: Annotated[int, Field(ge=0, le=50)] = 3


class CartonsForm(Form):
    """``PUT /warehouse/{facility}/cartons``: the whole catalogue."""

    cartons: list[CartonForm] = Field(max_length=40)

    @model_validator(mode="after")
    def _are_distinct(self) -> CartonsForm:
        if len({carton.code for carton in self.cartons}) < len(self.cartons):
            raise ValueError("two cartons have one code")
        return self


def facility_code(text: str) -> str:
    """A facility's code from a path. Raises ``InvalidRequest``."""
    if not re.fullmatch(FACILITY_PATTERN, text):
        raise field_problem([("facility", "lower-case letters, digits and hyphens, 32 at most")])
    return text
