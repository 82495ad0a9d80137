"""A person's right to be forgotten: recorded with a deadline, carried out once, and proven afterwards.

What names a person goes out of the orders that have ended; what a shop has to keep (what was sold, for how much, to
which country) stays, and so does the history, which never held a person. Orders that are still on their way keep their
address until they have ended: the demand waits for them. A demand is open in one place and done in another, so that the
open ones are found by one query.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from oms.channels.port import PersonDemand
from oms.customers.erased import erased
from oms.orders.finding import FindOrders
from oms.orders.model import OPEN, Event, Order, order_id_for
from oms.orders.notes import forgotten
from oms.orders.placing import customer_id_for
from oms.orders.store import Change, DynamoOrders
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Write
from oms.runtime.paging import Page

DEADLINE = timedelta(days=30)
"""What the marketplaces and the law allow."""
_OPEN = "PERSONS#open"
_ATTEMPTS = 8
_PAGE = 50
_KEPT_OF_AN_ADDRESS = ("country",)


@dataclass(frozen=True, slots=True)
class EraseCustomers:
    """Demands about persons, from whatever channel they come."""

    orders: DynamoOrders
    clock: Clock
    finding: FindOrders

    def record(self, channel: str, event_id: str, demand: PersonDemand) -> bool:
        """Keep a demand, once; whether it was new."""
        now = self.clock()
        told = {
            "entity": "person_demand",
            "channel": channel,
            "event_id": event_id,
            "kind": demand.kind,
            "buyer_ids": list(demand.buyer_ids),
            "order_ids": list(demand.order_ids),
            "everybody": demand.everybody,
            "received_at": to_text(now),
            "deadline": to_text(now + DEADLINE),
        }
        table = self.orders.table
        key = f"{channel}#{event_id}"
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

    def open_demands(self) -> Iterator[Item]:
        """Demands that are not done, in no particular order."""
        return self.orders.table.query(_OPEN)

    def listed(self, cursor: str) -> dict[str, Any]:
        """A page of the open demands, for the people who answer them. Raises ``InvalidRequest``."""
        page = Page.of(cursor, _PAGE)
        later = (each for each in self.open_demands() if each["sk"] > page.after)
        shown, more = page.cut([(each["sk"], each) for each in islice(later, page.size + 1)])
        return {"demands": [demand_view(each) for each in shown], "next_cursor": more}

    def close(self, channel: str, event_id: str, *, outcome: str, actor: str) -> Item:
        """Record how a person answered a demand that the system cannot carry out by itself; again is harmless.

        Raises ``NotFound``, and ``Conflict`` for one that is carried out without anybody.
        """
        key = f"{channel}#{event_id}"
        demand = self.orders.table.get(_OPEN, key)
        if demand is not None:
            if not _needs_somebody(demand):
                raise errors.Conflict("This demand is carried out by itself.", extra={"code": "carried_out_by_itself"})
            with suppress(ConditionsFailed):  # Somebody closed it just now.
                self._close(key, demand, 0, {"outcome": outcome, "closed_by": actor})
        now = self.clock()
        for month in (to_text(now)[:7], to_text(now.replace(day=1) - timedelta(days=1))[:7]):
            done = self.orders.table.get(f"PERSONS#done#{month}", key)
            if done is not None:
                return done
        raise errors.NotFound("There is no such demand.")

    def carry_out(self, channel: str, event_id: str) -> bool:
        """Do what the demand asks, as far as it can be done now; whether nothing is left of it. Again is harmless.

        A report, and the demand of a whole shop, are for a person of ours: they stay open until somebody closes them.
        """
        key = f"{channel}#{event_id}"
        demand = self.orders.table.get(_OPEN, key)
        if demand is None:
            return True
        if _needs_somebody(demand):
            return False
        orders = [self.orders.get(order_id) for order_id in self._orders_of(demand)]
        waiting = [order for order in orders if order is not None and not self._erase(order, key)]
        if waiting:
            return False
        with suppress(ConditionsFailed):  # Another worker closed it just now.
            self._close(key, demand, len(orders))
        return True

    def carry_out_all(self) -> dict[str, int]:
        """Try every open demand; how many are open still, and how many of those are past their deadline."""
        counts = {"open": 0, "overdue": 0}
        for demand in list(self.open_demands()):
            if self.carry_out(demand["channel"], demand["event_id"]):
                continue
            counts["open"] += 1
            counts["overdue"] += demand["deadline"] < to_text(self.clock() + timedelta(days=5))
        if counts["overdue"]:
            telemetry.count("PersonDemandsOverdue", counts["overdue"])
        return counts

    def _orders_of(self, demand: Item) -> Sequence[str]:
        channel = demand["channel"]
        found = [order_id_for(channel, external_id) for external_id in demand["order_ids"]]
        for buyer in demand["buyer_ids"]:
            customer = customer_id_for(f"{channel}:{buyer}")
            items = self.orders.table.query_index("by-customer", "customer_id = :customer", {":customer": customer})
            found += [item["pk"].removeprefix("ORDER#") for item in items]
        return list(dict.fromkeys(found))

    def _erase(self, order: Order, key: str) -> bool:
        """Whether the order holds nothing of the person any more."""
        if order.status in OPEN:
            return False

        def decide(order: Order) -> Change | None:
            if order.status in OPEN or not {"email", "name"} & order.customer.keys():
                return None
            after = replace(
                order,
                customer={"id": customer_id_for(f"erased:{order.order_id}")},
                address={name: order.address[name] for name in _KEPT_OF_AN_ADDRESS if name in order.address},
                note="",
                rewards=(),
                coupons=tuple(replace(coupon, counted=()) for coupon in order.coupons),
            )
            event = Event("PersonErased", "system", f"demand {key}")
            gone = erased(self.orders.table, order.customer["id"], self.clock())
            forgetting = [*forgotten(self.orders, order.order_id), *_evidence_forgotten(self.orders, order.order_id)]
            return Change(after, event, [*forgetting, *self.finding.forgetting(order), gone])

        for attempt in range(_ATTEMPTS):
            try:
                return self.orders.change(order.order_id, decide, self.clock()).status not in OPEN
            except ConditionsFailed:
                self.orders.table.back_off(attempt)  # What finds the order was being kept just then.
        raise Contention(f"erasing order {order.order_id}")

    def _close(self, key: str, demand: Item, orders: int, answer: Mapping[str, str] | None = None) -> None:
        """Move the demand to those that are done, without whom it concerned."""
        now: datetime = self.clock()
        table = self.orders.table
        done = {
            "pk": f"PERSONS#done#{to_text(now)[:7]}",
            "sk": key,
            "entity": "person_demand_done",
            "kind": demand["kind"],
            "orders": orders,
            "received_at": demand["received_at"],
            "done_at": to_text(now),
            **(answer or {}),
        }
        table.transact([table.delete("open", (_OPEN, key)), table.put("done", done, None)])
        telemetry.logger.info("person_demand_done", channel=demand["channel"], kind=demand["kind"], orders=orders)


def _needs_somebody(demand: Item) -> bool:
    return bool(demand["kind"] != "erase" or demand["everybody"])


def _evidence_forgotten(orders: DynamoOrders, order_id: str) -> list[Write]:
    """The actions that take a person out of what was handed in against disputes: the bank has it."""
    return [
        orders.table.update("dispute", (item["pk"], item["sk"]), "REMOVE evidence", None)
        for item in orders.parts(order_id, "DISPUTE#")
        if "evidence" in item
    ]


def demand_view(demand: Item) -> dict[str, Any]:
    """An open demand: whom the channel named, in its own numbers, and whether somebody of ours has to answer it."""
    names = ("channel", "event_id", "kind", "everybody", "buyer_ids", "order_ids", "received_at", "deadline")
    return {**{name: demand[name] for name in names}, "needs_somebody": _needs_somebody(demand)}


def done_view(done: Item) -> dict[str, Any]:
    """A demand that is done: when, and how it was answered if a person did."""
    channel, _, event_id = done["sk"].partition("#")
    told = {name: done[name] for name in ("kind", "received_at", "done_at")}
    return {"channel": channel, "event_id": event_id, **told, "outcome": done.get("outcome")}
