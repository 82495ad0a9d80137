"""Whom not to write to: what a customer does not want to hear of, and addresses that mail must not go to any more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from oms.runtime.clock import to_text
from oms.runtime.dynamo import Item, Table

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

    def put(self, customer_id: str, *, off: Iterable[str], marketing: bool, actor: str, now: datetime) -> None:
        """Replace what the customer asked for."""
        item = {
            "pk": f"CUSTOMER#{customer_id}",
            "sk": "MESSAGES",
            "entity": "preferences",
            "off": sorted(off),
            "marketing": marketing,
            "changed_by": actor,
            "changed_at": to_text(now),
        }
        self.table.transact([self.table.put("preferences", item, condition=None)])

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
