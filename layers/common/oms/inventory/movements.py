"""Movements: every change of physical stock, typed, with its cause and its actor, each in one transaction.

A movement says what happened at one facility; the journal in the SKU's partition is never changed, only added to. What
comes in is offered to waiting orders first (``backorders``); what goes away must not be promised to anybody.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from oms.inventory import backorders, supplies
from oms.inventory.model import (
    DAMAGED,
    DOCK,
    QUARANTINE,
    Location,
    Movement,
    Product,
    Shelf,
    expires_before,
    lot_of,
    spread,
)
from oms.inventory.store import DynamoInventory, bin_name, on_shelves, sku_key, unnamed_seen, unpacked
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
    """Bins and lots whose count must still be what it was."""
    spent: tuple[str, ...] = ()
    """Lots that are gone and need not be remembered."""


def move(inventory: DynamoInventory, movement: Movement, more: Sequence[Write] = ()) -> dict[str, Any]:
    """Carry out a movement once per key, with what else belongs to it (``more``), and return its record.

    receive and return_ add; adjust adds or removes; damage and quarantine set units aside, release takes them back
    from quarantine, scrap lets damaged ones go; count sets a bin to what was counted; put_away changes the bin; consign
    gives units to a retailer, who reports them sold (consign_sold) or sends them back (consign_return).
    Raises ``NotFound`` for an unknown SKU, ``InvalidRequest`` when lots have to be told, ``Conflict`` when units are
    not there or promised already, and ``IdempotencyKeyReused``.
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
    quantity, home = movement.quantity, movement.bin or DOCK
    match movement.kind:
        case "receive" | "return" | "transfer_in" | "consign_return":
            counters = {"on_hand": quantity, "unallocated": quantity}
            return Effect(counters | _into(home, movement), quantity, spent=place.spent)
        case "return_quarantined":
            counters = {"on_hand": quantity, "quarantined": quantity}
            return Effect(counters | _into(QUARANTINE, movement), spent=place.spent)
        case "adjust" if quantity > 0:
            counters = {"on_hand": quantity, "unallocated": quantity}
            return Effect(counters | _into(home, movement), quantity, spent=place.spent)
        case "consign_sold":
            return Effect({})
        case "adjust" | "transfer_out" | "consign":
            units = abs(quantity)
            out, seen = _out_of(place, movement, units)
            return Effect({"on_hand": -units, "unallocated": -units, **out}, -units, seen)
        case "damage":
            out, seen = _out_of(place, movement, quantity)
            counters = {"damaged": quantity, "unallocated": -quantity}
            return Effect({**counters, **_into(DAMAGED, movement), **out}, -quantity, seen)
        case "quarantine":
            out, seen = _out_of(place, movement, quantity)
            counters = {"quarantined": quantity, "unallocated": -quantity}
            return Effect({**counters, **_into(QUARANTINE, movement), **out}, -quantity, seen)
        case "release":
            out, seen = _out_of_staging(place, movement, QUARANTINE)
            counters = {"quarantined": -quantity, "unallocated": quantity}
            return Effect({**counters, **out, **_into(home, movement)}, quantity, seen)
        case "scrap":
            out, seen = _out_of_staging(place, movement, DAMAGED)
            return Effect({"on_hand": -quantity, "damaged": -quantity, **out}, seen=seen)
        case "put_away":
            moved, seen = _out_of(place, movement, quantity)
            for name, units in _into(movement.to_bin, movement).items():
                moved[name] = moved.get(name, 0) + units
            return Effect(moved, seen=seen)
        case "count":
            # What was counted is only right about the units that were there when the difference was worked out.
            lies = on_shelves(place.shelves(home))
            found = _into(home, movement)
            seen = {bin_name(home): 0, **dict.fromkeys(found, 0), **lies}
            changes = {name: found.get(name, 0) - units for name, units in seen.items()}
            delta = changes[bin_name(home)]
            return Effect({"on_hand": delta, "unallocated": delta, **changes}, delta, seen, place.spent)
        case _:
            raise ValueError(f"there is no movement {movement.kind}")


def _into(name: str, movement: Movement) -> dict[str, int]:
    """The change of the bin that a movement's units come into."""
    unnamed = abs(movement.quantity) - sum(movement.lots.values())
    return on_shelves({(name, ""): unnamed, **{(name, key): units for key, units in movement.lots.items()}})


def _out_of(place: Location, movement: Movement, units: int) -> tuple[dict[str, int], dict[str, int]]:
    """The bins that give units away, and what must still stand: the one that was named and no other, else as a picker
    would take them; of the lots that were named, and otherwise of no known lot."""
    taken: dict[Shelf, int] = {}
    for key, wanted in {"": units - sum(movement.lots.values()), **movement.lots}.items():
        left = wanted
        for (name, lot), there in place.fefo().items():
            if lot == key and name == (movement.bin or name):
                taken[name, lot] = min(left, there)
                left -= taken[name, lot]
        if left:
            raise _lacking(place, movement, key, wanted - left)
    return on_shelves(taken, -1), unnamed_seen(place, taken)


def _lacking(place: Location, movement: Movement, key: str, held: int) -> errors.DomainError:
    where = f"Bin {movement.bin} of {movement.facility}" if movement.bin else movement.facility
    lot, expires = lot_of(key)
    what = " ".join((f"lot {lot}" * bool(lot), f"expiring {expires}" * bool(expires))).strip()
    told = f"{where} has {held} units of {movement.sku}{f', {what}' if what else ''}."
    others = {name: lots for name, lots in place.lots.items() if name == (movement.bin or name)}
    if not key and any(key for lots in others.values() for key in lots):
        told = f"{where} has {held} units of {movement.sku} of which no lot is known: name the lots."
    return errors.Conflict(told, extra={"available": held})


def _out_of_staging(place: Location, movement: Movement, name: str) -> tuple[dict[str, int], dict[str, int]]:
    """The same for a bin that units are set aside in."""
    unnamed = movement.quantity - sum(movement.lots.values())
    if place.lots.get(name) and unnamed > place.of_no_lot(name):
        raise _lacking(place, movement, "", place.of_no_lot(name))
    taken = {(name, ""): unnamed, **{(name, key): units for key, units in movement.lots.items()}}
    return on_shelves(taken, -1), unnamed_seen(place, taken)


_COMES_IN = frozenset({"receive", "return", "return_quarantined", "transfer_in", "consign_return", "adjust"})
_FOR_SALE = frozenset({"receive", "return", "adjust", "release"})
_SHELVED = frozenset({"receive", "return", "transfer_in", "consign_return", "adjust", "release", "count"})


def require_lots(product: Product, movement: Movement) -> None:
    """Raises ``InvalidRequest`` unless what comes in of a product that tracks lots says of which, as its ``track``
    asks, and keeps long enough to be taken in for sale."""
    comes = movement.kind in _COMES_IN and movement.quantity > 0
    if product.tracks_lots and (comes or movement.kind == "count"):
        asked = [what for what in ("lot", "expiry") if what in product.track]
        told = [dict(zip(("lot", "expiry"), lot_of(key), strict=True)) for key in movement.lots]
        named = sum(movement.lots.values())
        if named != movement.quantity or any(not each[what] for each in told for what in asked):
            what = " and ".join(asked)
            need = f"{movement.sku} needs the {what} of every unit; {named} of {movement.quantity} have a lot"
            raise errors.InvalidRequest("See errors for what to change.", fields=[("lots", need)])
    today = movement.at.date().isoformat()
    expired = [key for key in movement.lots if expires_before(key, today)]
    if expired and movement.kind in _FOR_SALE and movement.quantity > 0:
        told_day = f"expired on {lot_of(expired[0])[1]}: it cannot be taken in for sale"
        raise errors.InvalidRequest("See errors for what to change.", fields=[("lots", told_day)])


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
        **({"lots": dict(movement.lots)} if movement.lots else {}),
    }


def writes_of(inventory: DynamoInventory, product: Product, movement: Movement, effect: Effect) -> list[Write]:
    """The actions of a movement with its journal entry, for whoever makes it part of a larger transaction.

    The journal's ``journal`` label fails when this movement was made before. Raises ``InvalidRequest`` when lots have
    to be told.
    """
    require_lots(product, movement)
    writes = [journal(inventory, record_of(movement, effect))]
    if any(effect.place.values()) or effect.seen:
        seen, at = effect.seen or None, movement.at
        place = inventory.place(
            "place", movement.sku, movement.facility, effect.place, at, seen=seen, spent=effect.spent
        )
        writes.append(place)
    if movement.kind in _SHELVED and movement.quantity > 0 and any(lot_of(key)[1] for key in movement.lots):
        writes.append(inventory.look_at_expiry(movement.sku, movement.at))
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
    if any("#" in name for name in lacking) and not movement.bin and movement.kind not in _FROM_STAGING:
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
    lots: Mapping[str, int] | None = None,
) -> list[Write]:
    """The actions that take back what a customer sent: to ``stock`` (sold again, waiting orders first) or to
    ``quarantine`` (kept apart until it is released or scrapped).

    ``cause`` names the return and its line: with one cause, a SKU comes back once, whatever is retried. The actions
    fail with ``ConditionsFailed``: ``journal`` when it came back before, anything else when somebody came between
    (call this again: it reads anew). One transaction takes each SKU once. Raises ``NotFound``, ``InvalidRequest`` when
    ``lots`` have to be told, and, for a kit, ``Conflict``: return its parts.
    """
    kind = {"stock": "return", "quarantine": "return_quarantined"}[to]
    # The journal's key holds the time, so the marker is what makes the movement happen once.
    movement = Movement(
        kind,
        sku,
        quantity,
        facility,
        bin,
        reason,
        actor,
        f"{cause}:{sku}:{to}",
        now,
        cause=cause,
        lots=lots or {},
    )
    product = stocked(inventory, sku)
    effect = effect_of(movement, inventory.location(sku, facility) if lots else Location(sku, facility))
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
    lot: str = ""
    picked_lots: Mapping[str, int] = field(default_factory=dict)


def write_off(
    inventory: DynamoInventory, loss: Loss, *, reason: str, actor: str, cause: str, now: datetime
) -> list[Write]:
    """The actions that take a loss off the books, out of the bin and lot where it was looked for, with the movement
    that says why. Units that nobody may pick because their lot does not keep are not lost: they go into quarantine.
    Raises ``Conflict`` when no bin has that many units."""
    place = inventory.location(loss.sku, loss.facility)
    product = inventory.product(loss.sku) if place.lots else None
    until = product.keeps_until(now) if product else ""
    taken = place.picks(loss.quantity, loss.bin, loss.lot, until)
    if sum(taken.values()) < loss.quantity:
        raise errors.Conflict(f"The bins of {loss.facility} have {sum(taken.values())} units of {loss.sku}.")
    expired = {(QUARANTINE, key): units for (_, key), units in taken.items() if expires_before(key, until)}
    gone = loss.quantity - sum(expired.values())
    changes = Counter(
        {
            "on_hand": -gone,
            "quarantined": loss.quantity - gone,
            "allocated": -loss.quantity - loss.freed,
            "unallocated": loss.freed,
        }
    )
    for each in (on_shelves(taken, -1), on_shelves(expired), unpacked(loss.picked, loss.picked_lots)):
        changes.update(each)
    record = {
        "movement_id": hashlib.sha256(f"{cause}\x1f{loss.sku}".encode()).hexdigest()[:20],
        "type": "short",
        "sku": loss.sku,
        "quantity": loss.quantity,
        "change": -loss.quantity,
        "on_hand": -gone,
        "facility": loss.facility,
        "bin": next(iter(taken), ("", ""))[0],
        "to_bin": "",
        "reason": reason,
        "cause": cause,
        "actor": actor,
        "at": to_text(now),
    }
    label, seen = f"write off {loss.sku}", unnamed_seen(place, taken) or None
    place_write = inventory.place(label, loss.sku, loss.facility, changes, now, seen=seen)
    return [place_write, journal(inventory, record)]
