"""What agents and customers wrote about an order, kept beside its history: a note is a person's words and goes when the
person is forgotten, while history only says that there was one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import StringConstraints

from oms.orders.forms import Form
from oms.orders.model import Event, Order
from oms.orders.once import answer_with, answered, digest_of
from oms.orders.store import Change, DynamoOrders, order_key
from oms.runtime import errors
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Item, Write

MOST_NOTES = 50
"""An order's notes fit into the one transaction that forgets a person."""


class NoteForm(Form):
    """``POST /orders/{id}/notes``: what was said, and whether the customer said it."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    by_customer: bool = False


@dataclass(frozen=True, slots=True)
class WriteNotes:
    """Notes are only ever added."""

    orders: DynamoOrders
    clock: Clock

    def add(self, order_id: str, form: NoteForm, *, author: str, key: str) -> Item:
        """Add the note once per ``key`` and return it.

        Raises ``NotFound``, ``IdempotencyKeyReused``, and ``Conflict`` for an order whose person was forgotten or that
        has notes enough.
        """
        now, table = self.clock(), self.orders.table
        digest = digest_of([form.text, form.by_customer])
        sk = ""

        def decide(order: Order) -> Change | None:
            nonlocal sk
            found = answered(table, order_id, "note", key, digest)
            if found:
                sk = found["note"]
                return None
            if not {"email", "name"} & order.customer.keys():
                raise errors.Conflict("The person of this order was forgotten.", extra={"code": "person_erased"})
            if len(self.listed(order_id)) >= MOST_NOTES:
                raise errors.Conflict(f"An order has at most {MOST_NOTES} notes.", extra={"code": "too_many_notes"})
            sk = f"NOTE#{order.version + 1:06d}"
            note = {
                "pk": order_key(order_id),
                "sk": sk,
                "entity": "note",
                "text": form.text,
                "author": author,
                "by_customer": form.by_customer,
                "at": to_text(now),
            }
            # The kept answer names the note and holds none of its words.
            kept = answer_with(table, order_id, "note", key, digest, {"note": sk}, now)
            event = Event("NoteAdded", author, "note", {"by_customer": form.by_customer})
            return Change(order, event, [table.put("note", note), kept])

        self.orders.change(order_id, decide, now)
        return next(note for note in self.listed(order_id) if note["sk"] == sk)

    def listed(self, order_id: str) -> list[Item]:
        """An order's notes, oldest first."""
        return self.orders.parts(order_id, "NOTE#")


def forgotten(orders: DynamoOrders, order_id: str) -> list[Write]:
    """The actions that take a person's words out of an order's notes; who wrote them and when stays."""
    return [
        orders.table.update("note", (order_key(order_id), note["sk"]), "REMOVE #text", None, {"#text": "text"})
        for note in orders.parts(order_id, "NOTE#")
    ]


def note_view(note: Item) -> dict[str, Any]:
    """A note; its text is null once its person was forgotten."""
    return {
        "note_id": note["sk"].removeprefix("NOTE#"),
        "text": note.get("text"),
        "author": note["author"],
        "by_customer": note["by_customer"],
        "at": note["at"],
    }


def notes_view(order_id: str, notes: Iterable[Item]) -> dict[str, Any]:
    """All notes of an order."""
    return {"order_id": order_id, "notes": [note_view(note) for note in notes]}
