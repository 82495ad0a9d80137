"""What a facility tells of its floor: where bins are, how work is released, and which cartons there are.

All of it is optional. Without a layout, walks follow the bins' names; without rules nothing is planned by itself and
every parcel is picked alone, as its task says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from oms.fulfillment.facilities import facility_key
from oms.fulfillment.picking.layout import Layout, Spot
from oms.fulfillment.picking.planner import BinScheme
from oms.inventory.store import DynamoInventory
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Write

PLANNED_KEY = "PLANNING"
"""The partition that says of which facilities the work is released by itself."""
METHODS = ("single", "batch", "zone", "wave", "cluster")


@dataclass(frozen=True, slots=True)
class Zone:
    """Aisles that one picker stays in, both ends included, counted from 1."""

    name: str
    first_aisle: int
    last_aisle: int


@dataclass(frozen=True, slots=True)
class Site:
    """A floor: its block, and its zones if it is split."""

    scheme: BinScheme
    zones: tuple[Zone, ...] = ()

    def zone_of(self, name: str) -> str:
        """The zone of a bin; empty where there are none, or the bin has no place."""
        spot = self.scheme.spot(name)
        if spot is None:
            return ""
        return next((zone.name for zone in self.zones if zone.first_aisle <= spot.aisle + 1 <= zone.last_aisle), "")


@dataclass(frozen=True, slots=True)
class MethodRule:
    """A method for the parcels that meet every condition given; the first rule that fits decides."""

    method: str
    min_units: int | None = None
    max_units: int | None = None
    min_zones: int | None = None
    codes: str = ""
    """The parcel has one of these priority codes."""


DEFAULT_METHODS = (
    MethodRule("single", codes="R"),
    MethodRule("single", min_units=12),
    MethodRule("zone", min_zones=2),
    MethodRule("cluster", max_units=8),
    MethodRule("batch"),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a facility releases work. ``work_in_process`` and ``walk_units`` count units; a cluster cart has
    ``cart_slots`` totes (0: there are no such carts); a wave leaves ``lead_minutes`` before its cut-off."""

    automatic: bool = False
    work_in_process: int = 400
    walk_units: int = 30
    cart_slots: int = 0
    lead_minutes: int = 120
    lease_minutes: int = 15
    search_seconds: int = 2
    weight_tolerance_grams: int = 50
    weight_tolerance_percent: int = 5
    methods: tuple[MethodRule, ...] = DEFAULT_METHODS


@dataclass(frozen=True, slots=True)
class Carton:
    """A carton: inner measures in millimetres, what it weighs empty, and what it may hold, in grams."""

    code: str
    inner_mm: tuple[int, int, int]
    tare_grams: int = 0
    max_grams: int = 30_000
    cost: int = 0
    """Minor units of the house's own currency: what a carton costs, to choose among those that fit."""
    wall_mm: int = 3

    @property
    def outer_mm(self) -> tuple[int, int, int]:
        """What a carrier measures."""
        length, width, height = (side + 2 * self.wall_mm for side in self.inner_mm)
        return length, width, height


@dataclass(frozen=True, slots=True)
class FloorPlan:
    """Everything a facility told, with what stands for the rest."""

    facility: str
    site: Site | None = None
    rules: Rules = field(default_factory=Rules)
    cartons: tuple[Carton, ...] = ()


def floor_plan(inventory: DynamoInventory, facility: str) -> FloorPlan:
    """The floor plan of a facility, in one read."""
    pk = facility_key(facility)
    items = {
        item["sk"]: item for item in inventory.table.batch_get([(pk, sk) for sk in ("LAYOUT", "RULES", "CARTONS")])
    }
    layout, rules, cartons = items.get("LAYOUT"), items.get("RULES"), items.get("CARTONS")
    return FloorPlan(
        facility,
        site_from(layout["layout"]) if layout else None,
        rules_from(rules["rules"]) if rules else Rules(),
        tuple(carton_from(each) for each in cartons["cartons"]) if cartons else (),
    )


def floor_view(inventory: DynamoInventory, facility: str) -> dict[str, Any]:
    """The floor plan as it is shown; ``layout`` is null while there is none."""
    item = inventory.table.get(facility_key(facility), "LAYOUT")
    plan = floor_plan(inventory, facility)
    return {
        "facility": facility,
        "layout": item["layout"] if item else None,
        "rules": _rules_told(plan.rules),
        "cartons": [_carton_told(carton) for carton in plan.cartons],
    }


def put_layout(inventory: DynamoInventory, facility: str, layout: Mapping[str, Any], now: datetime) -> None:
    """Create or replace the layout, as the form had it. Raises ``ValueError`` for measures that make no floor."""
    site_from(layout)
    _put(inventory, facility, "LAYOUT", "layout", layout, now)


def put_rules(inventory: DynamoInventory, facility: str, rules: Rules, now: datetime) -> None:
    """Create or replace the rules, and say whether the schedule plans this facility."""
    entry = {
        "pk": PLANNED_KEY,
        "sk": facility_key(facility),
        "entity": "planned_facility",
        "facility": facility,
        "automatic": rules.automatic,
    }
    listed = inventory.table.put("planned", entry, None)
    _put(inventory, facility, "RULES", "rules", _rules_told(rules), now, listed)


def put_cartons(inventory: DynamoInventory, facility: str, cartons: Sequence[Carton], now: datetime) -> None:
    """Create or replace the carton catalogue."""
    _put(inventory, facility, "CARTONS", "cartons", [_carton_told(carton) for carton in cartons], now)


def planned_facilities(inventory: DynamoInventory) -> list[str]:
    """The facilities whose work is released by itself."""
    return [item["facility"] for item in inventory.table.query(PLANNED_KEY) if item["automatic"]]


def _put(inventory: DynamoInventory, facility: str, sk: str, name: str, told: Any, now: datetime, *more: Write) -> None:
    item = {
        "pk": facility_key(facility),
        "sk": sk,
        "entity": f"facility_{name}",
        "facility": facility,
        name: told,
        "updated_at": to_text(now),
    }
    inventory.table.transact([inventory.table.put(name, item, None), *more])


def _rules_told(rules: Rules) -> dict[str, Any]:
    methods = [
        {name: value for name, value in asdict(method).items() if value not in (None, "")} for method in rules.methods
    ]
    return {**asdict(rules), "methods": methods}


def _carton_told(carton: Carton) -> dict[str, Any]:
    return {**asdict(carton), "inner_mm": list(carton.inner_mm)}


def site_from(told: Mapping[str, Any]) -> Site:
    """A layout as it is kept: centimetres; aisles and cells counted from 1, cells from the front."""
    block = Layout(
        told["aisles"],
        told["cells"],
        told["aisle_spacing_cm"],
        told["cell_length_cm"],
        told["front_offset_cm"],
        told["back_offset_cm"],
        told["depot_offset_cm"],
    )
    places = {
        name: Spot(place["aisle"] - 1, block.cells - place["cell"]) for name, place in told.get("bins", {}).items()
    }
    zones = tuple(Zone(each["name"], each["first_aisle"], each["last_aisle"]) for each in told.get("zones", ()))
    return Site(BinScheme(block, places), zones)


def rules_from(told: Mapping[str, Any]) -> Rules:
    """Rules as they are kept, or as the form had them; what was not told has its default."""
    methods = tuple(MethodRule(**method) for method in told.get("methods", ())) or DEFAULT_METHODS
    return Rules(**{**{name: told[name] for name in Rules.__slots__ if name in told}, "methods": methods})


def carton_from(told: Mapping[str, Any]) -> Carton:
    """A carton as it is kept."""
    length, width, height = told["inner_mm"]
    return Carton(**{**told, "inner_mm": (length, width, height)})
