"""Lots on the floor: which one a picker is told to take, and whether what was scanned is it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from oms.fulfillment.refusing import refuse_scan
from oms.inventory.model import Location, Product, Shelf, expires_before, lot_of


@dataclass(frozen=True, slots=True)
class LotRead:
    """What a scanner read of a lot: its number, its expiry, or both."""

    lot: str = ""
    expires: str = ""

    def may_be(self, key: str) -> bool:
        """Whether what was read, if anything, does not speak against this lot."""
        lot, expires = lot_of(key)
        return self.lot in ("", lot) and self.expires in ("", expires)

    def names(self, key: str) -> bool:
        """Whether it is this lot: by its number, or by its expiry where it has no number."""
        return self.may_be(key) and bool(self.lot if lot_of(key)[0] else self.expires)


NO_LOT = LotRead()


def lot_view(key: str) -> dict[str, Any]:
    """A lot as a device shows it; nothing where units are not told apart."""
    lot, expires = lot_of(key)
    return {"lot": lot or None, "expires": expires or None} if key else {}


def require_lot(sku: str, lots: Sequence[str], read: LotRead, expected: Any, scanned: Mapping[str, Any]) -> int:
    """The index of the lot that was read among those to be taken; where none is told apart, the first.

    Raises ``Conflict``: ``capture_needed`` when it was not read, ``wrong_lot`` when it is another.
    """
    found = next((number for number, key in enumerate(lots) if not key or read.names(key)), None)
    if found is not None:
        return found
    names = ", ".join(" expiring ".join(filter(None, lot_of(key))) for key in lots)
    if read == NO_LOT:
        refuse_scan("capture_needed", f"{sku} is told apart by lot: scan which one, {names}.", expected, scanned)
    refuse_scan("wrong_lot", f"Take {names}, which expires first; scanned was another lot.", expected, scanned)


def refuse_expired(key: str, now: datetime, expected: Any, scanned: Mapping[str, Any]) -> None:
    """Raises ``Conflict`` (expired) for a lot that must not be sold any more."""
    if expires_before(key, now.date().isoformat()):
        told = f"This expired on {lot_of(key)[1]}: report it short and leave it."
        refuse_scan("expired", told, expected, scanned)


def to_take(place: Location, product: Product | None, units: int, now: datetime) -> list[tuple[Shelf, int]]:
    """From which bins and lots the next ``units`` are to be picked; fewer when no more may be."""
    found: list[tuple[Shelf, int]] = []
    for shelf, there in place.fefo(product.keeps_until(now) if product else "").items():
        if units > 0:
            found.append((shelf, min(units, there)))
            units -= there
    return found


def chosen(
    place: Location,
    product: Product | None,
    remaining: int,
    quantity: int,
    name: str,
    read: LotRead,
    now: datetime,
    scanned: Mapping[str, Any],
) -> dict[Shelf, int]:
    """The bin and lot that units scanned into a pick come from: one of those that the picker was told.

    Raises ``Conflict``: ``wrong_bin``, ``capture_needed``, ``wrong_lot``, ``expired``, and ``too_many`` for more than
    are to be taken of that lot.
    """
    told = to_take(place, product, remaining, now)
    expected = shelves_view(told)
    if read != NO_LOT:
        lots = {key for lots in place.lots.values() for key in lots if read.names(key)}
        if lots and all(expires_before(key, product.keeps_until(now) if product else "") for key in lots):
            when = lot_of(min(lots))[1]
            refuse_scan("expired", f"This expires on {when}, which is too soon to be sold.", expected, scanned)
    at_hand = [(shelf, units) for shelf, units in told if name in ("", shelf[0])]
    if not at_hand:
        first = told[0][0][0] if told else None
        where = f"is to be picked from {first}, not from {name}" if first else "has no lot here that may be sold"
        refuse_scan("wrong_bin", f"{place.sku} {where}.", expected, {**scanned, "bin": name, "expected_bin": first})
    shelf, units = at_hand[require_lot(place.sku, [shelf[1] for shelf, _ in at_hand], read, expected, scanned)]
    if quantity > units:
        refuse_scan(
            "too_many", f"{units} more are to be taken of this lot; scanned were {quantity}.", expected, scanned
        )
    return {shelf: quantity}


def shelves_view(told: Sequence[tuple[Shelf, int]]) -> list[dict[str, Any]]:
    """Where to take what, as a device shows it."""
    return [{"bin": name, **lot_view(key), "quantity": units} for (name, key), units in told]
