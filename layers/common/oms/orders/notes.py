"""What agents and customers wrote about an order, kept beside its history: a note is a person's words and goes when the
person is forgotten, while history only says that there was one.

A note may be a question to the customer, which goes to them by mail, and a note may answer another. A question waits
for its answer, and what a customer wrote waits for ours, in the queue of work with an owner and a deadline.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from oms.messages.kinds import CHANNELS_THAT_TELL
from oms.orders.access import CUSTOMER
from oms.orders.forms import Form
from oms.orders.model import Event, Order
from oms.orders.once import answer_with, answered, digest_of
from oms.orders.store import Change, DynamoOrders, order_key
from oms.runtime import errors
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Item, Table, Write

MOST_NOTES = 50
"""Who has more to say about one order has another place for it."""
MOST_OF_A_CUSTOMER, MOST_A_DAY = 25, 8
"""So much a customer may write about an order themselves, in all and within a day: there is room left for us."""
REPLY_WITHIN = timedelta(hours=24)
"""By when a customer should have our answer."""
QUESTION_QUEUE = "question"
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
NoteId = Annotated[str, StringConstraints(pattern=r"^\d{6}$")]


class NoteForm(Form):
    """``POST /orders/{id}/notes``: what was said, whether the customer said it or is asked, and what it answers."""

    text: Words
    by_customer: bool = False
    question: bool = False
    """To the customer, who gets it by mail."""
    hours: Annotated[int, Field(ge=1, le=720)] = 72
    """By when a question should be answered."""
    in_reply_to: NoteId | None = None

    @model_validator(mode="after")
    def _is_asked_by_us(self) -> NoteForm:
        if self.question and self.by_customer:
            raise ValueError("a question to the customer is not by the customer")
        return self


class MessageForm(Form):
    """``POST /orders/{id}/messages``: what the customer writes, and to which question."""

    text: Words
    in_reply_to: NoteId | None = None


@dataclass(frozen=True, slots=True)
class WriteNotes:
    """Notes are only ever added."""

    orders: DynamoOrders
    clock: Clock

    def add(self, order_id: str, form: NoteForm, *, author: str, key: str) -> Item:
        """Add the note once per ``key`` and return it.

        Raises ``NotFound``, ``IdempotencyKeyReused``, ``InvalidRequest`` for an answer to nothing, and ``Conflict`` for
        an order whose person was forgotten, that has notes enough, or whose customer cannot be asked.
        """
        now, table = self.clock(), self.orders.table
        digest = digest_of([form.text, form.by_customer, form.question, form.in_reply_to])
        sk = ""

        def decide(order: Order) -> Change | None:
            nonlocal sk
            found = answered(table, order_id, "note", key, digest)
            if found:
                sk = found["note"]
                return None
            if not names_somebody(order):
                raise errors.Conflict("The person of this order was forgotten.", extra={"code": "person_erased"})
            before = self.listed(order_id)
            if len(before) >= MOST_NOTES:
                raise errors.Conflict(f"An order has at most {MOST_NOTES} notes.", extra={"code": "too_many_notes"})
            if author == CUSTOMER:
                _require_patience(before, now)
            if form.question:
                _require_askable(order)
            answers = _answered(before, form, author)
            sk = f"NOTE#{order.version + 1:06d}"
            note = {
                "pk": order_key(order_id),
                "sk": sk,
                "entity": "note",
                "text": form.text,
                "author": author,
                "by_customer": form.by_customer,
                "at": to_text(now),
                **({"in_reply_to": answers["sk"].removeprefix("NOTE#")} if answers else {}),
                **_waiting(order, sk, form, author, answers, now),
            }
            # The kept answer names the note and holds none of its words.
            kept = answer_with(table, order_id, "note", key, digest, {"note": sk}, now)
            data = {"by_customer": form.by_customer, **({"question": True} if form.question else {})}
            writes = [table.put("note", note), kept]
            if answers and "work_queue" in answers:
                writes.append(_settled(table, answers, sk))
            return Change(order, Event("NoteAdded", author, "note", data), writes)

        self.orders.change(order_id, decide, now)
        return next(note for note in self.listed(order_id) if note["sk"] == sk)

    def say(self, order_id: str, form: MessageForm, *, key: str) -> Item:
        """Keep what the customer writes themselves, as the answer to what they were asked last unless they say to what.

        Raises as ``add`` does, and ``Conflict`` when they have written too much.
        """
        told = NoteForm(text=form.text, by_customer=True, in_reply_to=form.in_reply_to)
        return self.add(order_id, told, author=CUSTOMER, key=key)

    def listed(self, order_id: str) -> list[Item]:
        """An order's notes, oldest first."""
        return self.orders.parts(order_id, "NOTE#")


def names_somebody(order: Order) -> bool:
    """Whether the order names its person, or they were forgotten."""
    return bool({"email", "name", "phone"} & order.customer.keys()) or bool(order.address.keys() - {"country"})


def _require_askable(order: Order) -> None:
    if order.channel in CHANNELS_THAT_TELL or not order.customer.get("email"):
        raise errors.Conflict("The order has no address to write to.", extra={"code": "no_address"})


def _require_patience(before: Iterable[Item], now: datetime) -> None:
    written = [note["at"] for note in before if note["author"] == CUSTOMER]
    today = [at for at in written if at > to_text(now - timedelta(days=1))]
    if len(written) >= MOST_OF_A_CUSTOMER or len(today) >= MOST_A_DAY:
        raise errors.Conflict("That is a lot of messages; we have them all.", extra={"code": "too_many_messages"})


def _answered(before: list[Item], form: NoteForm, author: str) -> Item | None:
    """The note that this one answers. Raises ``InvalidRequest`` for one that is not there."""
    if form.in_reply_to:
        found = next((note for note in before if note["sk"] == f"NOTE#{form.in_reply_to}"), None)
        # A customer sees what they were asked, and what they wrote, and nothing else.
        if found is None or (author == CUSTOMER and not (found.get("question") or found["by_customer"])):
            wrong = [("in_reply_to", "a note of this order")]
            raise errors.InvalidRequest("See errors for what to change.", fields=wrong)
        return found
    open_questions = [note for note in before if note.get("question") and "work_queue" in note]
    return open_questions[-1] if author == CUSTOMER and open_questions else None


def _waiting(order: Order, sk: str, form: NoteForm, author: str, answers: Item | None, now: datetime) -> Item:
    """What puts a note before somebody: a question until it is answered, a customer's message until we have replied."""
    if form.question:
        owner, deadline = author.removeprefix("staff:"), to_text(now + timedelta(hours=form.hours))
    elif author == CUSTOMER:
        owner = answers["owner"] if answers and answers.get("question") else "customer service"
        deadline = to_text(now + REPLY_WITHIN)
    else:
        return {}
    return {
        **({"question": True} if form.question else {}),
        "owner": owner,
        "deadline": deadline,
        "work_queue": QUESTION_QUEUE,
        "work_rank": f"{deadline}#{order.order_id}#{sk.removeprefix('NOTE#')}",
    }


def _settled(table: Table, note: Item, answer: str) -> Write:
    return table.update(
        "answered",
        (note["pk"], note["sk"]),
        "SET answered_by = :answer REMOVE work_queue, work_rank",
        values={":answer": answer.removeprefix("NOTE#")},
    )


def note_view(note: Item) -> dict[str, Any]:
    """A note; its text is null once its person was forgotten."""
    return {
        "note_id": note["sk"].removeprefix("NOTE#"),
        "text": note.get("text"),
        "author": note["author"],
        "by_customer": note["by_customer"],
        "at": note["at"],
        "question": note.get("question", False),
        "in_reply_to": note.get("in_reply_to"),
        "owner": note.get("owner"),
        "deadline": note.get("deadline") if "work_queue" in note else None,
        "answered_by": note.get("answered_by"),
    }


def message_view(note: Item) -> dict[str, Any]:
    """What a customer wrote, as they see it."""
    return {
        "note_id": note["sk"].removeprefix("NOTE#"),
        "text": note.get("text"),
        "at": note["at"],
        "in_reply_to": note.get("in_reply_to"),
    }


def notes_view(order_id: str, notes: Iterable[Item]) -> dict[str, Any]:
    """All notes of an order."""
    return {"order_id": order_id, "notes": [note_view(note) for note in notes]}
