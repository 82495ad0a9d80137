"""Instances and solutions as JSON: read exactly, checked with the place of every mistake, and shown in the same units.

The format is described in ``docs/picking.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from oms.fulfillment.picking.batching import Batch, Instance, Pick, PickOrder, Solution
from oms.fulfillment.picking.layout import Layout, Spot

_DECIMALS: Final = 6
_LARGEST: Final = 10**9
_MOST_CELLS: Final = 100_000


class InstanceInvalid(Exception):
    """The text is no instance; the message says where and what."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)


@dataclass(frozen=True, slots=True)
class Reading:
    """An instance in integers, and how many of its units make one of the text's."""

    instance: Instance
    scale: int

    def show(self, length: int) -> int | float:
        """A length in the units of the text, without rounding."""
        whole, rest = divmod(length, self.scale)
        return whole if not rest else float(Decimal(length) / self.scale)


def read(text: str) -> Reading:
    """The instance in a JSON text. Raises ``InstanceInvalid``."""
    try:
        document = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InstanceInvalid(f"line {error.lineno}, column {error.colno}", error.msg) from None
    except (ValueError, ArithmeticError):
        raise InstanceInvalid("", "a number in the JSON is too long") from None
    except RecursionError:
        raise InstanceInvalid("", "the JSON is nested too deeply") from None
    top = _object(document, "", required=("layout", "capacity", "orders"))
    layout, scale = _layout(top["layout"])
    capacity = _whole(top["capacity"], "capacity", 1)
    orders = tuple(
        _order(entry, f"orders[{number}]", layout, capacity) for number, entry in enumerate(_list(top, "", "orders"))
    )
    first: dict[str, int] = {}
    for number, order in enumerate(orders):
        if order.order_id in first:
            raise InstanceInvalid(
                f"orders[{number}].id", f"{order.order_id} is orders[{first[order.order_id]}] already"
            )
        first[order.order_id] = number
    return Reading(Instance(layout, capacity, orders), scale)


def _layout(value: object) -> tuple[Layout, int]:
    distances = ("aisle_spacing", "cell_length", "cross_aisle_offset")
    entry = _object(
        value, "layout", ("aisles", "cells", *distances), optional=("back_cross_aisle_offset", "depot_offset")
    )
    aisles, cells = (_whole(entry[name], f"layout.{name}", 1) for name in ("aisles", "cells"))
    if aisles * cells > _MOST_CELLS:
        raise InstanceInvalid("layout", f"{aisles} aisles of {cells} cells are more than {_MOST_CELLS} cells")
    numbers = [_distance(entry[name], f"layout.{name}") for name in distances]
    numbers.append(_distance(entry.get("back_cross_aisle_offset", numbers[-1]), "layout.back_cross_aisle_offset"))
    numbers.append(_distance(entry.get("depot_offset", 0), "layout.depot_offset"))
    scale = 1
    while any(number * scale % 1 for number in numbers):
        scale *= 10
    return Layout(aisles, cells, *(int(number * scale) for number in numbers)), scale


def _order(value: object, where: str, layout: Layout, capacity: int) -> PickOrder:
    entry = _object(value, where, ("id", "picks"))
    order_id = entry["id"]
    if isinstance(order_id, bool) or not isinstance(order_id, str | int) or order_id == "":
        raise InstanceInvalid(f"{where}.id", "must be a text or a whole number")
    picks = tuple(
        _pick(pick, f"{where}.picks[{number}]", layout) for number, pick in enumerate(_list(entry, where, "picks"))
    )
    if not picks:
        raise InstanceInvalid(f"{where}.picks", "must not be empty")
    order = PickOrder(str(order_id), picks)
    if order.items > capacity:
        raise InstanceInvalid(where, f"has {order.items} items, and the capacity is {capacity}")
    return order


def _pick(value: object, where: str, layout: Layout) -> Pick:
    entry = _object(value, where, ("aisle", "cell"), optional=("quantity",))
    aisle = _whole(entry["aisle"], f"{where}.aisle", 0, layout.aisles - 1)
    cell = _whole(entry["cell"], f"{where}.cell", 0, layout.cells - 1)
    return Pick(Spot(aisle, cell), _whole(entry.get("quantity", 1), f"{where}.quantity", 1))


# ---- values --------------------------------------------------------------------------------------------------------


def _refuse_constant(name: str) -> object:
    raise InstanceInvalid("", f"{name} is not a number that JSON allows")


def _object(value: object, where: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InstanceInvalid(where, "must be an object")
    prefix = f"{where}." if where else ""
    for name in required:
        if name not in value:
            raise InstanceInvalid(f"{prefix}{name}", "is missing")
    for name in value:
        if name not in required and name not in optional:
            raise InstanceInvalid(f"{prefix}{name}", f"is not known here; known: {', '.join((*required, *optional))}")
    return value


def _list(entry: Mapping[str, Any], where: str, name: str) -> list[Any]:
    value = entry[name]
    if not isinstance(value, list):
        raise InstanceInvalid(f"{where}.{name}" if where else name, "must be a list")
    return value


def _whole(value: object, where: str, least: int, most: int = _LARGEST) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InstanceInvalid(where, f"must be a whole number from {least} to {most}")
    return value


def _distance(value: object, where: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= value <= _LARGEST:
        raise InstanceInvalid(where, f"must be a number from 0 to {_LARGEST}")
    number = Decimal(value)
    if int(number.as_tuple().exponent) < -_DECIMALS:
        raise InstanceInvalid(where, f"has more than {_DECIMALS} decimals")
    return number


# ---- showing -------------------------------------------------------------------------------------------------------


def solution_view(reading: Reading, solution: Solution, method: str, policy: str) -> dict[str, Any]:
    """A solution as it is printed."""
    return {
        "method": method,
        "policy": policy,
        "total": reading.show(solution.total),
        "proven_optimal": solution.proven,
        "batches": [_batch_view(reading, batch) for batch in solution.batches],
    }


def _batch_view(reading: Reading, batch: Batch) -> dict[str, Any]:
    layout = reading.instance.layout
    return {
        "orders": [order.order_id for order in batch.orders],
        "items": batch.items,
        "length": reading.show(batch.route.length),
        "picks": [{"aisle": spot.aisle, "cell": spot.cell} for spot in batch.route.picks(layout)],
        "route": [{"aisle": spot.aisle, "cell": _cell_name(layout, spot)} for spot in batch.route.path],
    }


def _cell_name(layout: Layout, spot: Spot) -> int | str:
    return {-1: "back", layout.cells: "front"}.get(spot.cell, spot.cell)
