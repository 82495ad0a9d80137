"""Everything that waits for a person outside the warehouse, in one list, the most urgent first, each with its owner,
its age, its deadline and the next step.

Each kind stands in a queue of its own in the index of work, by deadline. A page merges the queues where the last one
stopped. Holds stand by owner first, so each owner's are a queue of their own; the owners are found by jumping from one
to the next.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from oms.customers.demands import ERASURE_QUEUE, PERSON_QUEUE, SOON
from oms.fulfillment.tracking import TROUBLE_QUEUE
from oms.messages.kinds import MAIL_QUEUE, VENDOR_KINDS
from oms.orders.holding import AWAITS_CUSTOMER
from oms.orders.model import HOLD_KINDS
from oms.orders.notes import QUESTION_QUEUE
from oms.orders.returning import RETURN_QUEUE, ReturnStatus
from oms.orders.store import BACKORDER_QUEUE, DynamoOrders, hold_queue
from oms.orders.words import moment
from oms.payments.cases import CASE_QUEUE, PRICE_DIFFERENCE
from oms.payments.settle import BY_HAND, REFUND_FAILED
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import Item
from oms.runtime.paging import Page

PAGE = 50
_LOOKS = 400
"""So many entries are read for one page at most: of an owner who has little, pages may be short."""
_AFTER_DATES = "3"
"""Sorts behind every moment of this millennium."""

Key = tuple[str, str, str, tuple[str, str]]
"""Deadline, queue, rank, and where the item is."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: in words, and the route that does it."""

    do: str
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Work:
    """One thing that waits for a person."""

    kind: str
    """hold, parcel, case, return, backorder, question, mail or person."""
    about: str
    """Which hold, parcel, case, return, note, mail or demand."""
    order_id: str
    what: str
    owner: str
    since: str
    deadline: str
    next: Step


@dataclass(frozen=True, slots=True)
class ListWork:
    """The list that customer service works off."""

    orders: DynamoOrders
    clock: Clock

    def page(self, owner: str, cursor: str, *, ops: bool) -> dict[str, Any]:
        """A page of what is open, of one owner when one is named; cases of money and demands about persons are for
        ``ops``.

        A page may hold fewer than there are: only a cursor of null is the end. Raises ``InvalidRequest``.
        """
        now = self.clock()
        after = Page.of(cursor, PAGE).after
        found = heapq.merge(*self._queues(owner, after.partition("|")[0], now, ops=ops))
        shown: list[Work] = []
        last: Key | None = None
        keys = (key for key in found if not after or _text(key) > after)
        for _ in range(_LOOKS // PAGE):
            chunk = list(islice(keys, PAGE))
            items = {(item["pk"], item["sk"]): item for item in self.orders.table.batch_get([key[3] for key in chunk])}
            for key in chunk:
                last = key
                item = items.get(key[3], {})
                # What the index still shows may have been settled a moment ago.
                work = _work(item) if item.get("work_rank") == key[2] else None
                if work and owner in ("", work.owner):
                    shown.append(work)
                    if len(shown) == PAGE:
                        return _page(shown, last, now)
            if len(chunk) < PAGE:
                return _page(shown, None, now)
        return _page(shown, last, now)

    def _queues(self, owner: str, since: str, now: datetime, *, ops: bool) -> Iterator[Iterator[Key]]:
        for kind in sorted(HOLD_KINDS):
            queue = hold_queue(kind)
            for each in [owner] if owner else self._owners(queue):
                yield self._between(queue, f"{each}#{since}", f"{each}#{_AFTER_DATES}")
        yield self._between(TROUBLE_QUEUE, since, _AFTER_DATES)
        yield self._between(QUESTION_QUEUE, since, _AFTER_DATES)
        yield self._between(RETURN_QUEUE, since, _AFTER_DATES)
        # A promise that has not passed yet is no exception.
        yield self._between(BACKORDER_QUEUE, since, to_text(now))
        yield self._between(MAIL_QUEUE, since, _AFTER_DATES)
        if ops:
            yield self._between(CASE_QUEUE, since, _AFTER_DATES)
            yield self._between(PERSON_QUEUE, since, _AFTER_DATES)
            # What is carried out by itself needs somebody only when its deadline is near.
            yield self._between(ERASURE_QUEUE, since, to_text(now + SOON))

    def _owners(self, queue: str) -> Iterator[str]:
        """Who has holds in a queue, by one look each."""
        after = " "
        while True:
            values = {":queue": queue, ":after": after}
            first = list(
                self.orders.table.query_index(
                    "work", "work_queue = :queue AND work_rank > :after", values, limit=1, page_size=1
                )
            )
            if not first:
                return
            owner = first[0]["work_rank"].rsplit("#", 2)[0]
            yield owner
            after = f"{owner}#{_AFTER_DATES}"

    def _between(self, queue: str, first: str, last: str) -> Iterator[Key]:
        if first > last:
            return
        found = self.orders.table.query_index(
            "work",
            "work_queue = :queue AND work_rank BETWEEN :first AND :last",
            {":queue": queue, ":first": first or " ", ":last": last},
            page_size=PAGE,
        )
        for item in found:
            rank = item["work_rank"]
            deadline = rank.rsplit("#", 2)[1] if queue.startswith("hold#") else rank.partition("#")[0]
            yield deadline, queue, rank, (item["pk"], item["sk"])


def _text(key: Key) -> str:
    return "|".join(key[:3])


def _page(shown: list[Work], last: Key | None, now: datetime) -> dict[str, Any]:
    return {"work": [_view(work, now) for work in shown], "next_cursor": Page.cursor(_text(last)) if last else None}


def _view(work: Work, now: datetime) -> dict[str, Any]:
    return {
        "kind": work.kind,
        "about": work.about,
        "order_id": work.order_id or None,
        "what": work.what,
        "owner": work.owner,
        "since": work.since,
        "age_hours": max(0, int((now - from_text(work.since)).total_seconds() // 3600)),
        "deadline": work.deadline or None,
        "overdue": bool(work.deadline) and work.deadline <= to_text(now),
        "next": {"do": work.next.do, "method": work.next.method, "path": work.next.path},
    }


# ---- each kind in words ----------------------------------------------------------------------------------------------


def _work(item: Item) -> Work | None:
    maker = _MAKERS.get(item["entity"])
    return maker(item) if maker else None


def _hold(item: Item) -> Work:
    order_id, kind = item["pk"].removeprefix("ORDER#"), item["kind"]
    return Work(
        "hold",
        kind,
        order_id,
        f"A {kind} hold stops the order: {item['reason']}.",
        item["owner"],
        item["since"],
        item["deadline"],
        hold_step(order_id, kind, item["reason"]),
    )


def hold_step(order_id: str, kind: str, reason: str) -> Step:
    """What the owner of a hold does about it."""
    order = f"/orders/{order_id}"
    release = f"{order}/holds/{kind}"
    if kind == "payment" and reason.startswith(REFUND_FAILED):
        say = "Send the refund again, or give the money back another way and note it."
        return Step(say, "POST", f"{order}/refunds/{{refund}}/retry")
    if kind == "payment" and reason.startswith(BY_HAND):
        return Step(
            "Give the money back and note how.",
            "POST",
            f"{order}/refunds/{{refund}}/given-back",
        )
    if kind == "payment" and reason.startswith(AWAITS_CUSTOMER):
        return Step("Remind the customer to pay; the hold ends by itself when they have.", "POST", f"{order}/notes")
    told: Mapping[str, Step] = {
        "payment": Step("Accept the money as it is, with a reason, or cancel the order.", "DELETE", release),
        "address": Step("Put the address right; that ends the hold.", "PATCH", f"{order}/address"),
        "inventory": Step(
            "Receive stock, and it goes on by itself, or cancel what cannot come.", "POST", f"{order}/cancel"
        ),
        "fraud": Step("Look at the payment, then release the order or cancel it.", "DELETE", release),
        "dispute": Step(
            "Read the evidence and hand it in before the bank decides.",
            "POST",
            f"{order}/disputes/{{dispute}}/evidence",
        ),
    }
    return told.get(kind) or Step("Settle what the reason says, then release the order.", "DELETE", release)


def _trouble(item: Item) -> Work:
    shipment_id = item["shipment_id"]
    detail = f" ({item['detail'].replace('_', ' ')})" if item["detail"] else ""
    return Work(
        "parcel",
        shipment_id,
        item["pk"].removeprefix("ORDER#"),
        f"Parcel {shipment_id.rpartition('.')[2]} is in trouble: {item['kind'].replace('_', ' ')}{detail}.",
        item["owner"],
        item["since"],
        item["deadline"],
        Step(
            "Ask the carrier, tell the customer, then note it as settled.",
            "DELETE",
            f"/parcels/{shipment_id}/exception",
        ),
    )


def _case(item: Item) -> Work:
    kind, case_id, data = item["kind"], item["case_id"], item["data"]
    what, do = f"The books disagree: {kind.replace('_', ' ')} {case_id}.", "Put it right at the provider"
    if kind == PRICE_DIFFERENCE:
        what, do = f"A till charged {data['charged']} where our price is {data['ours']}.", "Ask whoever sold it"
    return Work(
        "case",
        f"{kind}/{case_id}",
        str(data.get("order_id") or ""),
        what,
        "finance",
        item["opened_at"],
        item["deadline"],
        Step(
            f"{do}, then close the case with what was done.",
            "POST",
            f"/payments/cases/{kind}/{case_id}/close",
        ),
    )


def _return(item: Item) -> Work:
    order_id, number = item["pk"].removeprefix("ORDER#"), item["number"]
    asked = item["status"] == ReturnStatus.REQUESTED
    decide = Step("Approve or reject it.", "POST", f"/orders/{order_id}/returns/{number}/decision")
    inspect = Step("Finish its inspection.", "POST", f"/warehouse/returns/{order_id}.{number}/complete")
    return Work(
        "return",
        f"{order_id}.{number}",
        order_id,
        f"Return {number} waits for {'a decision' if asked else 'its inspection'}.",
        "customer service" if asked else "returns",
        item["requested_at"],
        item["deadline"],
        decide if asked else inspect,
    )


def _backorder(item: Item) -> Work:
    order_id = item["pk"].removeprefix("ORDER#")
    promised = item["work_rank"].partition("#")[0]
    return Work(
        "backorder",
        order_id,
        order_id,
        f"The customer was told to expect what is missing by {moment(promised)}, and it is not there.",
        "customer service",
        promised,
        promised,
        Step("Ask the customer whether to wait or cancel what is missing.", "POST", f"/orders/{order_id}/notes"),
    )


def _question(item: Item) -> Work:
    order_id, note_id = item["pk"].removeprefix("ORDER#"), item["sk"].removeprefix("NOTE#")
    ours = item.get("question", False)
    ask = "Ask the customer another way, and note the answer."
    return Work(
        "question",
        note_id,
        order_id,
        "A question to the customer waits for its answer." if ours else "The customer wrote, and nobody has replied.",
        item["owner"],
        item["at"],
        item["deadline"],
        Step(ask if ours else "Reply, or note what was done, as a reply to it.", "POST", f"/orders/{order_id}/notes"),
    )


def _mail(item: Item) -> Work:
    order_id, kind = item["pk"].removeprefix("ORDER#"), item["kind"]
    message, to = f"/orders/{order_id}/messages/{kind}", "vendor" if kind in VENDOR_KINDS else "customer"
    again = Step("Send it again, or tell them another way and note it.", "POST", f"{message}/resend")
    elsewhere = Step(f"Tell the {to} another way, then note it.", "DELETE", f"{message}/exception")
    fates = {"failed": "could not be sent", "uncertain": "may not have been sent", "bounced": "came back"}
    return Work(
        "mail",
        item["sk"].partition("#")[2],
        order_id,
        f"The message {kind.replace('_', ' ')} to the {to} {fates[item['status']]}.",
        "customer service",
        item["troubled_at"],
        item["work_rank"].partition("#")[0],
        elsewhere if item["status"] == "bounced" else again,
    )


def _person(item: Item) -> Work:
    demand = f"/persons/demands/{item['channel']}.{item['event_id']}"
    what = f"Somebody has to see to what {item['channel']} demands about a person: to {item['kind']}."
    step = Step("Do it, then close it with how it ended.", "POST", f"{demand}/close")
    if item["work_queue"] == ERASURE_QUEUE:
        what = f"What {item['channel']} demanded is not done: a person is still not erased."
        step = Step("See what it waits for and end that; it is carried out by itself then.", "GET", demand)
    return Work("person", item["sk"], "", what, "ops", item["received_at"], item["deadline"], step)


_MAKERS = {
    "note": _question,
    "hold": _hold,
    "trouble": _trouble,
    "case": _case,
    "return": _return,
    "order": _backorder,
    "mail": _mail,
    "person_demand": _person,
}
