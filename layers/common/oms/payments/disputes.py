"""What speaks for us in a dispute: gathered from the order, shown to an agent, handed in when the agent confirms."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from oms.orders.forms import Form
from oms.orders.model import Effect, Event, Order
from oms.orders.store import Change, DynamoOrders, order_key
from oms.payments.news import DECIDED
from oms.runtime import errors
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Item

_LONGEST = 20_000
"""Characters of free text; the provider takes more, its readers do not."""


class EvidenceForm(Form):
    """``POST /orders/{id}/disputes/{dispute}/evidence``: the agent has read it, adds a word, and it goes."""

    confirm: Literal[True]
    statement: Annotated[str, StringConstraints(strip_whitespace=True, max_length=4000)] = ""


class CloseCaseForm(Form):
    """``POST /payments/cases/{kind}/{case}/close``: how it was put right."""

    outcome: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=200)]


@dataclass(frozen=True, slots=True)
class AnswerDisputes:
    """The agent's side of a dispute."""

    orders: DynamoOrders
    clock: Clock

    def gathered(self, order_id: str, dispute_id: str, statement: str = "") -> tuple[Item, dict[str, str]]:
        """The dispute as we know it and the evidence, in the provider's words. Raises ``NotFound``."""
        order = self.orders.require(order_id)
        item = self.orders.table.get(order_key(order_id), f"DISPUTE#{dispute_id}")
        if item is None:
            raise errors.NotFound("There is no such dispute.")
        return item, self._evidence(order, statement)

    def submit(self, order_id: str, dispute_id: str, *, statement: str, actor: str) -> Item:
        """Freeze the evidence and have it handed in, once: a provider takes it for good.

        Again is harmless. Raises ``NotFound``, and ``Conflict`` when the dispute is decided or its time is over.
        """
        now = self.clock()

        def decide(order: Order) -> Change | None:
            item, evidence = self.gathered(order_id, dispute_id, statement)
            if item.get("evidence_status"):
                return None
            if item["status"] in DECIDED:
                raise errors.Conflict(f"This dispute is {item['status']}.")
            if item["due_by"] and item["due_by"] <= to_text(now):
                raise errors.Conflict("The time for evidence is over.")
            mark = self.orders.table.update(
                "dispute",
                (item["pk"], item["sk"]),
                "SET evidence = :evidence, evidence_status = :confirmed, confirmed_by = :actor",
                "attribute_not_exists(evidence_status)",
                values={":evidence": evidence, ":confirmed": "confirmed", ":actor": actor},
            )
            event = Event("EvidenceConfirmed", actor, dispute_id, {"dispute": dispute_id, "fields": sorted(evidence)})
            return Change(order.with_effects(Effect.SUBMIT_EVIDENCE), event, [mark])

        with suppress(ConditionsFailed):  # Another agent was first.
            self.orders.change(order_id, decide, now)
        return self.gathered(order_id, dispute_id)[0]

    def _evidence(self, order: Order, statement: str) -> dict[str, str]:
        shipments = [item for item in self.orders.parts(order.order_id, "SHIPMENT#") if item.get("label")]
        address = ", ".join(str(order.address[name]) for name in _ADDRESS if order.address.get(name))
        told = {
            "customer_name": order.customer.get("name", ""),
            "customer_email_address": order.customer.get("email", ""),
            "product_description": ", ".join(f"{line.quantity} × {line.sku}" for line in order.lines),
            "shipping_address": address,
            "service_date": order.placed_at[:10],
            "shipping_carrier": ", ".join(dict.fromkeys(item["label"]["carrier"] for item in shipments)),
            "shipping_tracking_number": ", ".join(item["label"]["tracking_number"] for item in shipments),
            "shipping_date": ", ".join(str(item.get("shipped_at", ""))[:10] for item in shipments),
            "uncategorized_text": self._story(order, statement),
        }
        return {name: text for name, text in told.items() if text}

    def _story(self, order: Order, statement: str) -> str:
        """What the agent says, what the customer wrote, and the proven history, newest cut off last.

        What we wrote among ourselves is no bank's business.
        """
        told = (note for note in self.orders.parts(order.order_id, "NOTE#") if note["by_customer"] and "text" in note)
        notes = [f"{note['at']} customer: {note['text']}" for note in told]
        history = [f"{item['at']} {item['type']}" for item in self.orders.parts(order.order_id, "EVENT#")]
        paragraphs = [statement, "\n".join(notes), "\n".join(history)]
        return "\n\n".join(each for each in paragraphs if each)[:_LONGEST]


_ADDRESS = ("name", "line1", "line2", "postal_code", "city", "region", "country")


def dispute_view(item: Mapping[str, Any], evidence: Mapping[str, str]) -> dict[str, Any]:
    """A dispute and its evidence: what was handed in, or what would be."""
    return {
        "dispute_id": item["dispute_id"],
        "status": item["status"],
        "reason": item["reason"],
        "amount": item["amount"],
        "currency": item["currency"],
        "due_by": item["due_by"] or None,
        "evidence_status": item.get("evidence_status", "open"),
        "submitted_at": item.get("submitted_at"),
        "evidence": dict(item.get("evidence", evidence)),
    }
