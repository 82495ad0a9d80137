"""Packing: which carton, what the scale should show, and what the carrier is told of the parcel as it was packed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from typing import Any

from oms.fulfillment.carrier import Parcel
from oms.fulfillment.floorplan import Carton, FloorPlan
from oms.fulfillment.lots import LotRead, lot_view
from oms.fulfillment.refusing import refusal, refuse_scan
from oms.fulfillment.shipments import Box, Capture, Shipment
from oms.inventory.model import Product

_UNITS_AT_MOST = 400
"""Of more units than that nobody is told how to lay them."""
_CANDIDATES, _RESTARTS = 20_000, 4
"""How hard the packer looks: counted, not timed, so that the same parcel gets the same carton everywhere."""
_SAFETY_MS = 5_000


@dataclass(frozen=True, slots=True)
class BoxTold:
    """What the packer's device says of a finished parcel; ``reason`` is why a wrong weight is right."""

    weight_grams: int = 0
    carton: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Filled:
    """A carton and the units that go into it."""

    carton: Carton
    units: Mapping[str, int]
    grams: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Cartons for a parcel, and the units for which none is known: unmeasured, or too large for all of them."""

    cartons: tuple[Filled, ...]
    left_out: Mapping[str, int]


def suggest(required: Mapping[str, int], products: Mapping[str, Product], cartons: Sequence[Carton]) -> Suggestion:
    """The fewest and cheapest cartons that the packer finds within its effort; the same for the same parcel."""
    # Its classes are made at run time, which a type checker does not see.
    packvium: Any = import_module("packvium")
    measured = {sku: units for sku, units in required.items() if sku in products and products[sku].dimensions_mm}
    left_out = {sku: units for sku, units in required.items() if sku not in measured}
    if not measured or not cartons or sum(measured.values()) > _UNITS_AT_MOST:
        return Suggestion((), dict(required))
    items = [
        packvium.Item(
            id=sku,
            dimensions=packvium.Dimensions.mm(*(products[sku].dimensions_mm or ())),
            weight=packvium.Weight.of(products[sku].weight_grams, "g"),
            quantity=units,
        )
        for sku, units in sorted(measured.items())
    ]
    containers = [
        packvium.Container(
            id=carton.code,
            inner_dimensions=packvium.Dimensions.mm(*carton.inner_mm),
            tare_weight=packvium.Weight.of(carton.tare_grams, "g"),
            max_payload=packvium.Weight.of(carton.max_grams, "g"),
            cost_minor=carton.cost,
        )
        for carton in sorted(cartons, key=lambda each: each.code)
    ]
    config = packvium.PackingConfig(
        profile=packvium.SolverProfile.FAST,
        time_limit_ms=_SAFETY_MS,
        effort_budget=packvium.EffortBudget(max_candidates_evaluated=_CANDIDATES, max_restarts=_RESTARTS),
    )
    result = packvium.Packer(config).pack(items, containers)
    known = {carton.code: carton for carton in cartons}
    filled = tuple(
        _filled(known[packed.container.id], packed.expand_placements(), products) for packed in result.containers
    )
    for unpacked in result.unpacked:
        sku = unpacked.instance.item.id
        left_out[sku] = left_out.get(sku, 0) + 1
    return Suggestion(filled, left_out)


def _filled(carton: Carton, placements: Iterable[Any], products: Mapping[str, Product]) -> Filled:
    units: dict[str, int] = {}
    for placement in placements:
        sku = placement.instance.item.id
        units[sku] = units.get(sku, 0) + 1
    grams = carton.tare_grams + sum(products[sku].weight_grams * count for sku, count in units.items())
    return Filled(carton, dict(sorted(units.items())), grams)


def captured(shipment: Shipment, read: Capture, track: Sequence[str], now: datetime) -> Shipment:
    """The parcel with what was read from these units, where their product asks for it.

    Raises ``Conflict``: ``capture_needed`` names what was not read, ``one_at_a_time`` since a serial number is one
    unit's, ``serial_scanned`` for one that is in the parcel, ``expired`` for units that may not be sold any more,
    ``wrong_lot`` for units of a lot that was not picked for the parcel.
    """
    told = {"serial": read.serial, "lot": read.lot, "expiry": read.expires}
    lacking = [what for what in track if not told[what]]
    scanned = {"sku": read.sku, "quantity": read.quantity, **{what: value for what, value in told.items() if value}}
    if lacking:
        refuse_scan("capture_needed", f"{read.sku} needs its {' and '.join(lacking)}.", list(track), scanned)
    if read.serial and read.quantity != 1:
        refuse_scan("one_at_a_time", "A serial number belongs to one unit: scan each.", {"quantity": 1}, scanned)
    if read.serial and any(each.sku == read.sku and each.serial == read.serial for each in shipment.captures):
        refuse_scan("serial_scanned", f"Serial number {read.serial} is in this parcel already.", None, scanned)
    if read.expires and read.expires < now.date().isoformat():
        refuse_scan("expired", f"This expired on {read.expires}: put it into quarantine.", None, scanned)
    if not any(told.values()):
        return shipment
    if (read.lot or read.expires) and not _was_picked(shipment, read):
        picked = [{**lot_view(key), "quantity": units} for key, units in sorted(shipment.lots[read.sku].items())]
        refuse_scan("wrong_lot", "Units of other lots were picked for this parcel.", picked, scanned)
    return replace(shipment, captures=(*shipment.captures, read))


def _was_picked(shipment: Shipment, read: Capture) -> bool:
    """Whether so many units of that lot were picked for the parcel and are not packed yet, as far as lots are known."""
    lots = shipment.lots.get(read.sku, {})
    if sum(lots.values()) < shipment.picked.get(read.sku, 0):
        return True
    wanted = LotRead(read.lot, read.expires)
    room = sum(units for key, units in lots.items() if wanted.names(key))
    packed = [each for each in shipment.captures if each.sku == read.sku]
    return read.quantity + sum(each.quantity for each in packed if LotRead(each.lot, each.expires) == wanted) <= room


def suggestion_view(shipment: Shipment, suggestion: Suggestion) -> dict[str, Any]:
    """A suggestion as the packer's device shows it."""
    return {
        "shipment_id": shipment.shipment_id,
        "cartons": [
            {
                "carton": filled.carton.code,
                "inner_mm": list(filled.carton.inner_mm),
                "units": dict(filled.units),
                "weight_grams": filled.grams,
            }
            for filled in suggestion.cartons
        ],
        "left_out": dict(suggestion.left_out),
    }


def boxed(shipment: Shipment, told: BoxTold, products: Mapping[str, Product], plan: FloorPlan) -> Box | None:
    """The parcel's box as it was told; None when nothing was.

    Raises ``Conflict``: ``unknown_carton``, or ``wrong_weight`` when the scale shows something else than the units and
    the carton weigh, by more than the facility tolerates, and nobody says why.
    """
    carton = next((each for each in plan.cartons if each.code == told.carton), None)
    if told.carton and carton is None:
        codes = [each.code for each in plan.cartons]
        raise refusal("unknown_carton", f"There is no carton {told.carton}.", expected=codes, scanned=told.carton)
    if not told.weight_grams and carton is None:
        return None
    expected = expected_grams(shipment.required, products, carton)
    if told.weight_grams and expected is not None and not told.reason:
        rules = plan.rules
        tolerance = max(rules.weight_tolerance_grams, expected * rules.weight_tolerance_percent // 100)
        if abs(told.weight_grams - expected) > tolerance:
            raise refusal(
                "wrong_weight",
                f"The parcel should weigh {expected} g, give or take {tolerance}; the scale shows {told.weight_grams}.",
                expected={"weight_grams": expected, "tolerance_grams": tolerance},
                scanned={"weight_grams": told.weight_grams},
            )
    sides = carton.outer_mm if carton else (0, 0, 0)
    return Box(told.weight_grams or expected or 0, told.carton, *sides)


def expected_grams(required: Mapping[str, int], products: Mapping[str, Product], carton: Carton | None) -> int | None:
    """What a parcel should weigh; None when a product's weight is not known."""
    weights = [products[sku].weight_grams * units if sku in products else 0 for sku, units in required.items()]
    if not all(weights):
        return None
    return sum(weights) + (carton.tare_grams if carton else 0)


def as_packed(shipment: Shipment, guess: Parcel) -> Parcel:
    """What the carrier is told: the scale and the carton where they are known, and the guess for the rest."""
    box = shipment.box
    if box is None:
        return guess
    sides = (box.length_mm, box.width_mm, box.height_mm)
    if not box.carton:
        sides = (guess.length_mm, guess.width_mm, guess.height_mm)
    return Parcel(box.weight_grams or guess.weight_grams, *sides)
