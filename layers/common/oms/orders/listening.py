"""Who hears of an order's events: each listener has a queue of its own and names the types that it wants.

A new listener is one line here, one queue in the template, and its types in the filter of the relay's stream, so that
events which nobody wants cost nothing. A message says which event of which order; the listener reads the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from oms.customers.changes import CHANGES
from oms.customers.touches import TOUCHES
from oms.messages.kinds import CAUSES, SECOND_THOUGHTS, VENDOR_CAUSES
from oms.webhooks.events import PUBLIC


@dataclass(frozen=True, slots=True)
class Listener:
    """``queue`` is the setting that holds the queue's URL; ``delays`` are seconds that some types wait first."""

    queue: str
    types: frozenset[str]
    delays: Mapping[str, int] = field(default_factory=dict)


LISTENERS = (
    Listener("messages_queue_url", CAUSES | VENDOR_CAUSES, {"PaymentFailed": int(SECOND_THOUGHTS.total_seconds()) + 5}),
    Listener("public_events_queue_url", frozenset(PUBLIC)),
    Listener("customers_queue_url", CHANGES | TOUCHES.keys() | {"ShipmentCollected", "ReturnLabelled"}),
)


def order_event(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """What listeners are told of a stream record; None for one that is no event of an order."""
    image = record["dynamodb"].get("NewImage", {})
    if image.get("entity", {}).get("S") != "event":
        return None
    order_id = image["pk"]["S"].removeprefix("ORDER#")
    return {"order_id": order_id, "number": int(image["n"]["N"]), "type": image["type"]["S"]}


def listeners_of(event: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The queue setting and the delay in seconds of everybody who wants this event."""
    for listener in LISTENERS:
        if event["type"] in listener.types:
            yield listener.queue, listener.delays.get(event["type"], 0)
