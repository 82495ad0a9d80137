"""From the stream of order changes to the queues of those who do the outside work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oms.orders.model import Effect
from oms.runtime.dynamo import from_attribute

# Stock is given back by whoever ended the order and, failing that, by the sweep; the rest is done by others.
_PAYMENT = frozenset(
    {
        Effect.CANCEL_INTENT,
        Effect.REFUND,
        Effect.READ_AUTHORIZATION,
        Effect.SECURE_AUTHORIZATION,
        Effect.SUBMIT_EVIDENCE,
    }
)


def new_effects(record: Mapping[str, Any]) -> frozenset[Effect]:
    """The effects that a stream record of an order asks for: those it added, or all of them when it was driven on."""
    change = record["dynamodb"]
    new, old = change.get("NewImage", {}), change.get("OldImage", {})
    wanted = _effects(new)
    if _number(new, "redriven") != _number(old, "redriven"):
        return wanted
    return wanted - _effects(old)


def wants_payment_work(effects: frozenset[Effect]) -> bool:
    """Whether the payment worker has something to do."""
    return bool(effects & _PAYMENT)


def wants_shipment_confirmation(effects: frozenset[Effect]) -> bool:
    """Whether a marketplace has to be told of a parcel."""
    return Effect.CONFIRM_SHIPMENT in effects


def wants_labels_voided(effects: frozenset[Effect]) -> bool:
    """Whether a carrier may have to take labels back."""
    return Effect.VOID_LABEL in effects


def _effects(image: Mapping[str, Any]) -> frozenset[Effect]:
    return frozenset(Effect(name) for name in from_attribute(image["effects"])) if "effects" in image else frozenset()


def _number(image: Mapping[str, Any], name: str) -> int:
    return int(from_attribute(image[name])) if name in image else 0
