"""Movements: every change of physical stock, typed, with its cause and its actor, each in one transaction.

A movement says what happened at one facility; the journal in the SKU's partition is never changed, only added to. What
comes in is offered to waiting orders first (``backorders``); what goes away must not be promised to anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from oms.inventory import backorders, supplies
from oms.inventory.model import DAMAGED, DOCK, PACKING, QUARANTINE, Location, Movement, Product, spread
from oms.inventory.store import DynamoInventory, bin_name, sku_key
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Write

_REPLAY_WINDOW = timedelta(days=35)
_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class Effect:
    """What a movement changes: counters and bins of the place, and the units that may be promised."""

    place: Mapping[str, int]
    sellable: int = 0
    seen: Mapping[str, int] = field(default_factory=dict)
    """Bins whose count must still be what it was."""


def move(inventory: DynamoInventory, movement: Movement, more: Sequence[Write] = ()) -> dict[str, Any]:
    """Carry out a movement once per key, with what else belongs to it (``more``), and return its record.

    receive and return_ add; adjust adds or removes; damage and quarantine set units aside, release takes them back
    from quarantine, scrap lets damaged ones go; count sets a bin to what was counted; put_away changes the bin; consign
    gives units to a retailer, who reports them sold (consign_sold) or sends them back (consign_return).
    Raises ``NotFound`` for an unknown SKU, ``Conflict`` when units are not there or promised already, and
    ``IdempotencyKeyReused``.
    """
    product = stocked(inventory, movement.sku)
    for attempt in range(_ATTEMPTS):
        done = inventory.table.get(f"OPERATION#movement#{movement.key}", "OPERATION")
        if done:
            return _replayed(movement, done)
        try:
            effect = effect_of(movement, inventory.location(movement.sku, movement.facility))
            record = record_of(movement, effect)
            writes = [_marker(inventory, movement, record), *writes_of(inventory, product, movement, effect), *more]
            try:
                inventory.table.transact(writes)
            except ConditionsFailed as failed:
                refuse_if_missing(movement, effect, failed)
                inventory.table.back_off(attempt)
                continue
        except errors.DomainError:
            # Perhaps the same request, sent twice, has just taken what is missing now.
            if done := inventory.table.get(f"OPERATION#movement#{movement.key}", "OPERATION"):
                return _replayed(movement, done)
            raise
        return record
    raise Contention(f"movement of {movement.sku}")


def stocked(inventory: DynamoInventory, sku: str) -> Product:
    """The product with stock of its own. Raises ``NotFound``, and ``Conflict`` for a kit."""
    product = inventory.product(sku)
    if product is None:
        raise errors.NotFound(f"There is no product {sku}.")
    if product.kit:
        raise errors.Conflict(f"{sku} is a kit: its stock is that of its parts.")
    return product


def effect_of(movement: Movement, place: Location) -> Effect:
    """What a movement changes at a place that stands so. Raises ``Conflict`` when the bins have too few units."""
    quantity, home = movement.quantity, bin_name(movement.bin or DOCK)
    match movement.kind:
        case "receive" | "return" | "transfer_in" | "consign_return":
            return Effect({"on_hand": quantity, "unallocated": quantity, home: quantity}, quantity)
        case "return_quarantined":
            return Effect({"on_hand": quantity, "quarantined": quantity, bin_name(QUARANTINE): quantity})
        case "adjust" if quantity > 0:
            return Effect({"on_hand": quantity, "unallocated": quantity, home: quantity}, quantity)
        case "consign_sold":
            return Effect({})
        case "adjust" | "transfer_out" | "consign":
            units = abs(quantity)
            return Effect({"on_hand": -units, "unallocated": -units, **_out_of(place, movement, units)}, -units)
        case "damage":
            counters = {"damaged": quantity, "unallocated": -quantity, bin_name(DAMAGED): quantity}
            return Effect({**counters, **_out_of(place, movement, quantity)}, -quantity)
        case "quarantine":
            counters = {"quarantined": quantity, "unallocated": -quantity, bin_name(QUARANTINE): quantity}
            return Effect({**counters, **_out_of(place, movement, quantity)}, -quantity)
        case "release":
            counters = {"quarantined": -quantity, "unallocated": quantity, bin_name(QUARANTINE): -quantity}
            return Effect({**counters, home: quantity}, quantity)
        case "scrap":
            return Effect({"on_hand": -quantity, "damaged": -quantity, bin_name(DAMAGED): -quantity})
        case "put_away":
            moved = _out_of(place, movement, quantity)
            return Effect({**moved, bin_name(movement.to_bin): moved.get(bin_name(movement.to_bin), 0) + quantity})
        case "count":
            lies = place.bins.get(movement.bin or DOCK, 0)
            delta = quantity - lies
            # What was counted is only right about the units that were there when the difference was worked out.
            return Effect({"on_hand": delta, "unallocated": delta, home: delta}, delta, {home: lies})
        case _:
            raise ValueError(f"there is no movement {movement.kind}")


def _out_of(place: Location, movement: Movement, units: int) -> dict[str, int]:
    """The bins that give units away: the one that was named and no other, else as a picker would take them."""
    if movement.bin:
        held = place.pickable.get(movement.bin, 0)
        taken = {movement.bin: min(units, held)}
    else:
        taken = place.picks(units)
        held = sum(taken.values())
    if held < units:
        where = f"Bin {movement.bin} of {movement.facility}" if movement.bin else movement.facility
        raise errors.Conflict(f"{where} has {held} units of {movement.sku}.", extra={"available": held})
    return {bin_name(name): -count for name, count in taken.items()}


def record_of(movement: Movement, effect: Effect) -> dict[str, Any]:
    """The movement as it stands in the journal: ``change`` is that of what may be promised, ``on_hand`` that of what
    lies there."""
    return {
        "movement_id": movement.movement_id,
        "type": movement.kind,
        "sku": movement.sku,
        "quantity": movement.quantity,
        "change": effect.sellable,
        "on_hand": effect.place.get("on_hand", 0),
        "facility": movement.facility,
        "bin": movement.bin,
        "to_bin": movement.to_bin,
        "reason": movement.reason,
        "cause": movement.cause,
        "actor": movement.actor,
        "at": to_text(movement.at),
    }


def writes_of(inventory: DynamoInventory, product: Product, movement: Movement, effect: Effect) -> list[Write]:
    """The actions of a movement with its journal entry, for whoever makes it part of a larger transaction.

    The journal's ``journal`` label fails when this movement was made before.
    """
    writes = [journal(inventory, record_of(movement, effect))]
    if any(effect.place.values()) or effect.seen:
        writes.append(
            inventory.place(
                "place", movement.sku, movement.facility, effect.place, movement.at, seen=effect.seen or None
            )
        )
    if movement.kind in supplies.CONSIGNED:
        writes.append(supplies.consigned(inventory, movement))
    return writes + _promise(inventory, product, effect.sellable, f"movement:{movement.kind}", movement.at)


def _promise(inventory: DynamoInventory, product: Product, change: int, cause: str, now: datetime) -> list[Write]:
    if change > 0:
        return backorders.arrival(inventory, product, change, cause, now)
    if change == 0:
        return []
    stock = inventory.stripes(product)
    if sum(stock) < -change:
        raise errors.Conflict(
            f"Only {sum(stock)} units of {product.sku} are not promised to orders; {-change} would be taken.",
            extra={"available": sum(stock)},
        )
    return [inventory.take(take, cause, now) for take in spread(product.sku, -change, stock, 0)]


def journal(inventory: DynamoInventory, record: Mapping[str, Any]) -> Write:
    """The action that adds a movement to the SKU's journal, once."""
    sk = f"MOVEMENT#{record['at']}#{record['movement_id']}"
    return inventory.table.put("journal", {"pk": sku_key(record["sku"]), "sk": sk, "entity": "movement", **record})


def refuse_if_missing(movement: Movement, effect: Effect, failed: ConditionsFailed) -> None:
    """Raises ``Conflict`` when the place lacks what the movement needs; otherwise it may be tried again."""
    if failed.of("supply"):
        raise errors.Conflict(f"{movement.party} does not have that many units of {movement.sku}.")
    refused = failed.of("place")
    if refused is None:
        return
    stands = refused.old or {}
    lacking = [name for name, change in effect.place.items() if change < 0 and stands.get(name, 0) < -change]
    if any(stands.get(name, 0) != units for name, units in effect.seen.items()) or not lacking:
        return
    if any(name.startswith("bin#") for name in lacking) and not movement.bin and movement.kind not in _FROM_STAGING:
        return  # The bins changed since they were read: look again.
    raise errors.Conflict(f"{movement.facility} does not have that many free units of {movement.sku}.")


_FROM_STAGING = frozenset({"release", "scrap"})


def _replayed(movement: Movement, done: Item) -> dict[str, Any]:
    if done["digest"] != movement.digest():
        raise errors.IdempotencyKeyReused("This key was used for another movement.")
    record: dict[str, Any] = done["record"]
    return record


def _marker(inventory: DynamoInventory, movement: Movement, record: Mapping[str, Any]) -> Write:
    return inventory.table.put(
        "once",
        {
            "pk": f"OPERATION#movement#{movement.key}",
            "sk": "OPERATION",
            "entity": "operation",
            "digest": movement.digest(),
            "record": dict(record),
            "ttl": int((movement.at + _REPLAY_WINDOW).timestamp()),
        },
    )


# ---- parts of larger transactions ------------------------------------------------------------------------------------


def return_units(
    inventory: DynamoInventory,
    sku: str,
    quantity: int,
    *,
    facility: str,
    to: str,
    cause: str,
    reason: str,
    actor: str,
    now: datetime,
    bin: str = "",
) -> list[Write]:
    """The actions that take back what a customer sent: to ``stock`` (sold again, waiting orders first) or to
    ``quarantine`` (kept apart until it is released or scrapped).

    ``cause`` names the return and its line: with one cause, a SKU comes back once, whatever is retried. The actions
    fail with ``ConditionsFailed``: ``journal`` when it came back before, anything else when somebody came between
    (call this again: it reads anew). One transaction takes each SKU once. Raises ``NotFound`` and, for a kit,
    ``Conflict``: return its parts.
    """
    kind = {"stock": "return", "quarantine": "return_quarantined"}[to]
    # The journal's key holds the time, so the marker is what makes the movement happen once.
    movement = Movement(kind, sku, quantity, facility, bin, reason, actor, f"{cause}:{sku}:{to}", now, cause=cause)
    product = stocked(inventory, sku)
    effect = effect_of(movement, Location(sku, facility))
    marker = _marker(inventory, movement, record_of(movement, effect))
    return [Write("journal", marker.action), *writes_of(inventory, product, movement, effect)]


@dataclass(frozen=True, slots=True)
class Loss:
    """Allocated units that are not there, and ``freed`` further ones of the SKU that are set free with them; so many
    of those were ``picked`` already."""

    sku: str
    facility: str
    quantity: int
    freed: int = 0
    picked: int = 0
    bin: str = ""


def write_off(
    inventory: DynamoInventory, loss: Loss, *, reason: str, actor: str, cause: str, now: datetime
) -> list[Write]:
    """The actions that take a loss off the books, out of the bin where it was looked for, with the movement that says
    why. Raises ``Conflict`` when no bin has that many units."""
    place = inventory.location(loss.sku, loss.facility)
    taken = place.picks(loss.quantity, loss.bin)
    if sum(taken.values()) < loss.quantity:
        raise errors.Conflict(f"The bins of {loss.facility} have {sum(taken.values())} units of {loss.sku}.")
    changes: dict[str, int] = {
        "on_hand": -loss.quantity,
        "allocated": -loss.quantity - loss.freed,
        "unallocated": loss.freed,
        **{bin_name(name): -units for name, units in taken.items()},
    }
    if loss.picked:
        changes[bin_name(PACKING)] = -loss.picked
        changes[bin_name(DOCK)] = changes.get(bin_name(DOCK), 0) + loss.picked
    record = {
        "movement_id": hashlib.sha256(f"{cause}\x1f{loss.sku}".encode()).hexdigest()[:20],
        "type": "short",
        "sku": loss.sku,
        "quantity": loss.quantity,
        "change": -loss.quantity,
        "on_hand": -loss.quantity,
        "facility": loss.facility,
        "bin": next(iter(taken), ""),
        "to_bin": "",
        "reason": reason,
        "cause": cause,
        "actor": actor,
        "at": to_text(now),
    }
    place_write = inventory.place(f"write off {loss.sku}", loss.sku, loss.facility, changes, now)
    return [place_write, journal(inventory, record)]
