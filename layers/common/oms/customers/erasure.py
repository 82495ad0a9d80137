"""A person's right to be forgotten: recorded with a deadline, carried out once, and proven afterwards.

What names a person goes out of the orders that have ended; what a shop has to keep (what was sold, for how much, to
which country) stays, and so does the history, which never held a person. Orders that are still on their way keep their
address until they have ended: the demand waits for them. A demand is open in one place and done in another, so that the
open ones are found by one query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from oms.channels.port import PersonDemand
from oms.customers.erased import erased
from oms.orders.finding import FindOrders
from oms.orders.model import OPEN, Event, Order, order_id_for
from oms.orders.notes import forgotten
from oms.orders.placing import customer_id_for
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item

DEADLINE = timedelta(days=30)
"""What the marketplaces and the law allow."""
_OPEN = "PERSONS#open"
_ATTEMPTS = 8
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

    def carry_out(self, channel: str, event_id: str) -> bool:
        """Do what the demand asks, as far as it can be done now; whether nothing is left of it. Again is harmless.

        A report, and the demand of a whole shop, are for a person of ours: they stay open until somebody closes them.
        """
        key = f"{channel}#{event_id}"
        demand = self.orders.table.get(_OPEN, key)
        if demand is None:
            return True
        if demand["kind"] != "erase" or demand["everybody"]:
            return False
        orders = [self.orders.get(order_id) for order_id in self._orders_of(demand)]
        waiting = [order for order in orders if order is not None and not self._erase(order, key)]
        if waiting:
            return False
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
            return Change(
                after, event, [*forgotten(self.orders, order.order_id), *self.finding.forgetting(order), gone]
            )

        for attempt in range(_ATTEMPTS):
            try:
                return self.orders.change(order.order_id, decide, self.clock()).status not in OPEN
            except ConditionsFailed:
                self.orders.table.back_off(attempt)  # What finds the order was being kept just then.
        raise Contention(f"erasing order {order.order_id}")

    def _close(self, key: str, demand: Item, orders: int) -> None:
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
        }
        table.transact([table.delete("open", (_OPEN, key), None), table.put("done", done, None)])
        telemetry.logger.info("person_erased", channel=demand["channel"], orders=orders)
