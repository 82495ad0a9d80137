"""What people may demand of their data: recorded once, with a deadline and who asked, until it is done.

A demand comes from a marketplace's callback or from staff for a customer, and asks to *erase* or to *report*. It is
open in one place and done in another, so the open ones are found by one query. What is done tells no more whom it
concerned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from oms.channels.port import PersonDemand
from oms.orders.forms import Form
from oms.orders.store import DynamoOrders, months_back
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import ConditionsFailed, Item
from oms.runtime.http import field_problem
from oms.runtime.paging import Page

DEADLINE = timedelta(days=30)
"""What the marketplaces and the law allow."""
SOON = timedelta(days=5)
"""So long before its deadline a demand is overdue, for whoever has to do something about it."""
SECOND_THOUGHTS = timedelta(hours=24)
"""An erasure that an agent asked for begins so much later: nobody can take one back, so ops may stop it."""
BY_STAFF = "staff"
"""Stands where a marketplace's demand names its channel."""
PERSON_QUEUE, ERASURE_QUEUE = "person", "erasure"
"""In the index of work, by deadline: demands that somebody has to answer, and those that are carried out by themselves.
"""
PAGE = 50
_LONGEST_HOLD = timedelta(days=3653)
_OPEN = "PERSONS#open"
_LOOKED_BACK = 3
"""Demands that were done are found by their id in so many months."""
_MOST_SHOWN = 20
_KEPT = ("channel", "event_id", "kind", "everybody", "reason", "asked_by", "confirmed_by", "received_at", "deadline")
"""What is known of a demand that is done."""


class AskForm(Form):
    """``POST /persons/exports`` and ``/persons/erasures``: whose data, by any of their identities, and on what ground.
    A ground is chosen, since free text would name people in a record that outlives them."""

    customer_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{20}$")]
    reason: Literal["asked_by_customer", "asked_by_authority", "no_longer_needed"] = "asked_by_customer"


class CloseDemandForm(Form):
    """``POST /persons/demands/{id}/close``: how it ended; ``erase_everybody`` lets the erasure of all who bought on a
    channel begin, which closes the demand when it is done."""

    outcome: Literal["handed_over", "nothing_kept", "withdrawn", "refused", "done_by_hand", "erase_everybody"]


class HoldPersonForm(Form):
    """``PUT /persons/{id}/hold``: the last day (UTC) of it, such as ``2027-06-30``, within ten years; null ends it."""

    until: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None

    def moment(self, now: datetime) -> datetime | None:
        """When it ends; None for now. Raises ``InvalidRequest``."""
        if self.until is None:
            return None
        try:
            ends = datetime.combine(date.fromisoformat(self.until), time(), UTC) + timedelta(days=1)
        except (ValueError, OverflowError):
            raise field_problem([("until", "a day such as 2027-06-30")]) from None
        if not now < ends <= now + _LONGEST_HOLD:
            raise field_problem([("until", "a day that has not passed, within ten years")])
        return ends


@dataclass(frozen=True, slots=True)
class KeepDemands:
    """The record of demands."""

    orders: DynamoOrders
    clock: Clock

    def record(self, channel: str, event_id: str, demand: PersonDemand, **more: Any) -> bool:
        """Keep a demand, once; whether it was new."""
        now = self.clock()
        told: Item = {
            "entity": "person_demand",
            "channel": channel,
            "event_id": event_id,
            "kind": demand.kind,
            "buyer_ids": list(demand.buyer_ids),
            "order_ids": list(demand.order_ids),
            "everybody": demand.everybody,
            "received_at": to_text(now),
            "deadline": to_text(now + DEADLINE),
            **more,
        }
        table, key = self.orders.table, f"{channel}#{event_id}"
        told["work_queue"] = PERSON_QUEUE if _needs_somebody(told) else ERASURE_QUEUE
        told["work_rank"] = f"{told['deadline']}#{key}"
        try:
            table.transact(
                [
                    self.orders.inbox("person", key, now),
                    table.put("open", {"pk": _OPEN, "sk": key, **told}, None),
                ]
            )
        except ConditionsFailed:
            return False
        telemetry.count("PersonDemands", channel=channel)
        telemetry.logger.info("person_demand_recorded", channel=channel, kind=demand.kind)
        return True

    def ask(
        self, kind: str, form: AskForm, identities: Sequence[str], *, actor: str, key: str, at_once: bool
    ) -> tuple[Item, bool]:
        """Record what staff ask for a customer with these identities, once a ``key``, and whether it was new. Unless
        ``at_once`` it begins after ``SECOND_THOUGHTS``. Raises ``IdempotencyKeyReused``."""
        event_id = hashlib.sha256(f"{actor}\x1f{kind}\x1f{key}".encode()).hexdigest()[:20]
        not_before = self.clock() + (timedelta() if at_once else SECOND_THOUGHTS)
        new = self.record(
            BY_STAFF,
            event_id,
            PersonDemand(kind),
            asked_for=form.customer_id,
            customer_ids=sorted({form.customer_id, *identities}),
            reason=form.reason,
            asked_by=actor,
            not_before=to_text(not_before),
        )
        found = self.find(f"{BY_STAFF}.{event_id}")
        if found.get("asked_for", form.customer_id) != form.customer_id or found["reason"] != form.reason:
            raise errors.IdempotencyKeyReused("This key was used for another request; use a new key for a new one.")
        return found, new

    def open_demands(self) -> Iterator[Item]:
        """Demands that are not done, in no particular order."""
        return self.orders.table.query(_OPEN)

    def get_open(self, channel: str, event_id: str) -> Item | None:
        """A demand that is not done; None for any other."""
        return self.orders.table.get(_OPEN, f"{channel}#{event_id}")

    def find(self, demand_id: str) -> Item:
        """A demand that is open or was done lately. Raises ``NotFound``."""
        table, key = self.orders.table, _key_of(demand_id)
        month = to_text(self.clock())[:7]
        for pk in (_OPEN, *(f"PERSONS#done#{each}" for each in islice(months_back(month), _LOOKED_BACK))):
            found = table.get(pk, key)
            if found:
                return found
        raise errors.NotFound("There is no such demand.")

    def listed(self, month: str, cursor: str) -> dict[str, Any]:
        """A page of the open demands, or of those that were done in a month. Raises ``InvalidRequest``."""
        page = Page.of(cursor, PAGE)
        pk = f"PERSONS#done#{month}" if month else _OPEN
        found = self.orders.table.query(pk, after=page.after, limit=PAGE + 1)
        shown, following = page.cut([(item["sk"], item) for item in found])
        return {"demands": [demand_view(item, self.clock) for item in shown], "next_cursor": following}

    def confirm(self, demand: Item, actor: str) -> Item:
        """Let the erasure of everybody who bought on a channel begin. Raises ``Conflict``."""
        if demand["pk"] != _OPEN or demand["kind"] != "erase" or not demand["everybody"]:
            raise errors.Conflict("Only the erasure of a whole channel has to be confirmed, while it is open.")
        self.note(demand, confirmed_by=actor, work_queue=ERASURE_QUEUE)
        return self.find(_id_of(demand))

    def note(self, demand: Item, **facts: Any) -> None:
        """Write down how far an open demand has come."""
        names = {f"#{name}": name for name in facts}
        sets = ", ".join(f"#{name} = :{name}" for name in facts)
        self.orders.table.write_one(
            self.orders.table.update(
                "demand",
                (demand["pk"], demand["sk"]),
                f"SET {sets}",
                "attribute_exists(pk)",
                names,
                {f":{name}": value for name, value in facts.items()},
            )
        )

    def close(self, demand: Item, outcome: str, *, by: str = "system", orders: Sequence[str] = ()) -> Item:
        """Move a demand to those that are done, without whom it concerned. Again is harmless.

        The ids of ``orders`` that were erased stay, which name nobody any more: whoever restores a table to a moment
        before has to erase them there again.
        """
        if demand["pk"] != _OPEN:
            return demand
        now, table = self.clock(), self.orders.table
        done = {
            **{name: demand[name] for name in _KEPT if name in demand},
            "pk": f"PERSONS#done#{to_text(now)[:7]}",
            "sk": demand["sk"],
            "entity": "person_demand_done",
            "outcome": outcome,
            "erasing": list(orders),
            "done_by": by,
            "done_at": to_text(now),
        }
        try:
            table.transact([table.delete("open", (_OPEN, demand["sk"])), table.put("done", done, None)])
        except ConditionsFailed:
            return self.find(_id_of(demand))
        telemetry.logger.info("person_demand_done", channel=demand["channel"], kind=demand["kind"], outcome=outcome)
        return done


def demand_view(item: Item, clock: Clock) -> dict[str, Any]:
    """A demand as staff see it."""
    is_open = item["pk"] == _OPEN
    return {
        "demand_id": _id_of(item),
        "kind": item["kind"],
        "channel": item["channel"],
        "status": "open" if is_open else "done",
        "customer_id": item.get("asked_for"),
        "buyer_ids": list(item.get("buyer_ids", ())),
        "external_ids": list(item.get("order_ids", ())),
        "everybody": item["everybody"],
        "needs_somebody": is_open and _needs_somebody(item),
        "reason": item.get("reason"),
        "asked_by": item.get("asked_by"),
        "confirmed_by": item.get("confirmed_by"),
        "received_at": item["received_at"],
        "deadline": item["deadline"],
        "overdue": is_open and from_text(item["deadline"]) <= clock() + SOON,
        "begins_at": item.get("not_before"),
        "waits_for": [
            {"order_id": order_id, "because": why} for order_id, why in sorted(item.get("waiting", {}).items())
        ][:_MOST_SHOWN],
        "made_at": item.get("made_at"),
        "outcome": item.get("outcome"),
        "order_ids": list(item.get("erasing", ())),
        "done_by": item.get("done_by"),
        "done_at": item.get("done_at"),
    }


def _needs_somebody(demand: Item) -> bool:
    """Whether a person of ours has to hand a file over, or to say that everybody is to be erased."""
    return demand["kind"] != "erase" or (demand["everybody"] and "confirmed_by" not in demand)


def _id_of(item: Item) -> str:
    return f"{item['channel']}.{item['event_id']}"


def _key_of(demand_id: str) -> str:
    channel, _, event_id = demand_id.partition(".")
    return f"{channel}#{event_id}"
