"""Whom not to write to: what a customer does not want to hear of, and addresses that mail must not go to any more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from oms.runtime.clock import to_text
from oms.runtime.dynamo import Item, Table, Write

# SES's words for why an address is no good, in ours.
BOUNCED, COMPLAINED = "bounced", "complained"


@dataclass(frozen=True, slots=True)
class Preferences:
    """``off`` are the kinds that the customer does not want; marketing is sent only to those who asked for it."""

    off: frozenset[str] = frozenset()
    marketing: bool = False
    suppressed: str = ""
    """Why nothing at all goes to this address; empty when mail may."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a customer wants to hear of, how they said so, and by which version of the words that they agreed to."""

    off: tuple[str, ...]
    marketing: bool
    source: str
    wording: str
    actor: str


@dataclass(frozen=True, slots=True)
class KeepPreferences:
    """Preferences by customer, suppressions by a digest of the address: neither tells who it is about."""

    table: Table

    def of(self, customer_id: str, address: str) -> Preferences:
        """One read for both."""
        return self.of_many([(customer_id, address)])[customer_id, address]

    def of_many(self, whom: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Preferences]:
        """The same of many customers with an address each."""
        pairs = list(dict.fromkeys(whom))
        keys = [key for customer, address in pairs for key in _keys(customer, address)]
        found = {(item["pk"], item["sk"]): item for item in self.table.batch_get(keys)}
        return {pair: _preferences(*(found.get(key, {}) for key in _keys(*pair))) for pair in pairs}

    def read(self, customer_id: str) -> Preferences:
        """What the customer asked for."""
        return _preferences(self.table.get(f"CUSTOMER#{customer_id}", "MESSAGES") or {}, {})

    def changing(self, customer_id: str, wish: Wish, now: datetime) -> list[Write]:
        """The actions that replace what the customer asked for, over what was read, and add it to the history of their
        consent; none when it is what they asked for already."""
        pk = f"CUSTOMER#{customer_id}"
        kept = self.table.get(pk, "MESSAGES")
        said = {"off": sorted(set(wish.off)), "marketing": wish.marketing}
        if kept and {name: kept[name] for name in said} == said:
            return []
        number = kept.get("number", 0) + 1 if kept else 1
        told = {**said, "number": number, "changed_by": wish.actor, "changed_at": to_text(now)}
        how = {"source": wish.source, "wording": wish.wording}
        condition = "#number = :seen" if kept else "attribute_not_exists(pk)"
        names, values = ({"#number": "number"}, {":seen": number - 1}) if kept else (None, None)
        preferences = {"pk": pk, "sk": "MESSAGES", "entity": "preferences", **told}
        consent = {"pk": pk, "sk": f"CONSENT#{number:06d}", "entity": "consent", **told, **how}
        return [
            self.table.put("preferences", preferences, condition, names, values),
            self.table.put("consent", consent),
        ]

    def history(self, customer_id: str) -> list[dict[str, Any]]:
        """What the customer wanted and when, how it was told and by which wording, the latest first."""
        shown = ("marketing", "off", "source", "wording", "changed_by", "changed_at")
        found = self.table.query(f"CUSTOMER#{customer_id}", "CONSENT#", newest_first=True)
        return [{name: item[name] for name in shown} for item in found]

    def suppressed(self, address: str) -> str:
        """Why nothing goes to this address; empty when mail may."""
        return str((self.table.get(_address_key(address), "SUPPRESSED") or {}).get("reason", ""))

    def suppress(self, address: str, reason: str, now: datetime) -> bool:
        """Never write to this address again; False when that was so already."""
        return self.table.write_one(
            self.table.update(
                "suppression",
                (_address_key(address), "SUPPRESSED"),
                "SET entity = :entity, reason = :reason, #at = :at",
                "attribute_not_exists(pk)",
                names={"#at": "at"},
                values={":entity": "suppression", ":reason": reason, ":at": to_text(now)},
            )
        )


def _keys(customer_id: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (f"CUSTOMER#{customer_id}", "MESSAGES"), (_address_key(address), "SUPPRESSED")


def _preferences(kept: Item, suppressed: Item) -> Preferences:
    return Preferences(frozenset(kept.get("off", ())), kept.get("marketing", False), suppressed.get("reason", ""))


def _address_key(address: str) -> str:
    return f"ADDRESS#{hashlib.sha256(address.strip().lower().encode()).hexdigest()[:32]}"
