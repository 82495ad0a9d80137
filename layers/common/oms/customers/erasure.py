"""A person's right to be forgotten, carried out: over one channel's orders, or over all that we know of a person.

Orders that somebody still has to do something about keep their person, and the demand waits for them. Each step may be
done again: whoever dies between two of them is followed by the schedule, which finds the demand open. History stays and
still proves itself, because it never held a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from oms.channels.port import PersonDemand
from oms.customers.demands import KeepDemands
from oms.customers.erased import erased
from oms.customers.forgetting import clear, cleared, needed_for, parts_of, without_person
from oms.customers.keeping import KeepPeople
from oms.customers.people import People, customer_key, merges_key
from oms.orders.coupon_book import coupon_key
from oms.orders.finding import FindOrders
from oms.orders.model import Event, Order, order_id_for
from oms.orders.notes import names_somebody
from oms.orders.placing import customer_id_for
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Write

RETAINED = "retention"
"""Stands where a demand names its channel when an order is older than people are kept and must wait nevertheless."""
_ATTEMPTS = 8
_AT_ONCE = 50
_MONTHS = 240
"""No shop's orders are older than twenty years."""
_HOLD = "LEGALHOLD"


@dataclass(frozen=True, slots=True)
class EraseCustomers:
    """The one who takes people out of orders and of everything beside them."""

    orders: DynamoOrders
    demands: KeepDemands
    people: People
    keeping: KeepPeople
    finding: FindOrders
    clock: Clock

    # ---- demands ---------------------------------------------------------------------------------------------------

    def carry_out(self, demand: Item, time_left: Callable[[], float]) -> bool:
        """Do what a demand to erase asks, as far as it can be done now; whether nothing is left of it. Again is
        harmless. The erasure of everybody on a channel begins once somebody of ours has confirmed it."""
        if demand["everybody"]:
            return bool(demand.get("confirmed_by")) and self._everybody(demand, time_left)
        customers, order_ids = self.concerned(demand)
        every = sorted({*order_ids, *demand.get("erasing", ())})
        if set(customers) - set(demand.get("customer_ids", ())) or every != demand.get("erasing"):
            # Before anything goes: who comes after us must still know of each of them.
            self.demands.note(demand, customer_ids=customers, erasing=every)
        if any(self._is_held(customer_id) for customer_id in customers):
            self.demands.note(demand, waiting={order_id: "legal_hold" for order_id in order_ids})
            return False
        waiting: dict[str, str] = {}
        for order_id in order_ids:
            if time_left() < _RESERVE:
                return False
            needed = self.forget(order_id, f"demand {demand['channel']}#{demand['event_id']}")
            if needed:
                waiting[order_id] = needed
            else:
                self.keeping.keep(order_id)
        if waiting:
            self.demands.note(demand, waiting=waiting)
            return False
        # Who orders again while we are at it stays for the next run.
        if not all([self._wipe(customer_id) for customer_id in customers]):
            return False
        self.demands.close(demand, "erased", orders=every)
        return True

    def concerned(self, demand: Item) -> tuple[list[str], list[str]]:
        """The identities and the orders that a demand names, those of a whole person included if it means one."""
        channel = demand["channel"]
        customers = {customer_id_for(f"{channel}:{buyer}") for buyer in demand["buyer_ids"]}
        if "asked_for" in demand:
            customers |= {*demand["customer_ids"], *self.people.of(demand["asked_for"]).identities}
        else:
            customers |= set(demand.get("customer_ids", ()))
        found = [order_id_for(channel, external_id) for external_id in demand["order_ids"]]
        if channel == RETAINED:
            found = list(demand["order_ids"])
        for customer_id in sorted(customers):
            found += [order_id for _, order_id in self.orders.placed_by([customer_id], to_text(self.clock()))]
            # The index may lag, and forgets an order as soon as its person is gone from it.
            contributions = self.orders.table.query(customer_key(customer_id), "CONTRIB#")
            found += [item["sk"].removeprefix("CONTRIB#") for item in contributions]
        return sorted(customers), list(dict.fromkeys(found))

    def _everybody(self, demand: Item, time_left: Callable[[], float]) -> bool:
        """Forget all who bought on a channel, a page of its orders after the other, going on where the last run
        stopped; orders that must wait become demands of their own."""
        until = demand.get("walked_to") or to_text(self.clock())
        page: list[tuple[str, str]] = []
        for placed in self.orders.placed_until(until, _MONTHS):
            page.append(placed)
            if len(page) < _AT_ONCE:
                continue
            self._page(page, demand["channel"])
            self.demands.note(demand, walked_to=page[-1][0])
            page = []
            if time_left() < _RESERVE:
                return False
        self._page(page, demand["channel"])
        self.demands.close(demand, "erased")
        return True

    def _page(self, page: Sequence[tuple[str, str]], channel: str) -> None:
        found = self.orders.read_all([order_id for _, order_id in page])
        self.forget_all((order for order in found if order.channel == channel), f"everybody on {channel}")

    # ---- orders ----------------------------------------------------------------------------------------------------

    def forget_all(self, orders: Iterable[Order], why: str) -> int:
        """Forget the people of these orders; those that must wait are recorded as demands. How many were forgotten."""
        count = 0
        for order in orders:
            if not names_somebody(order):
                continue
            if self.forget(order.order_id, why):
                self.demands.record(RETAINED, order.order_id, PersonDemand("erase", order_ids=(order.order_id,)))
            else:
                self.keeping.keep(order.order_id)
                self._wipe(order.customer["id"])
                count += 1
        return count

    def forget(self, order_id: str, why: str) -> str:
        """Take the person out of an order and of what stands beside it; empty when that is done, or else what they
        are still needed for. Again is harmless. Raises ``Contention``."""
        for attempt in range(_ATTEMPTS):
            order = self.orders.get(order_id)
            if order is None:
                return ""
            needed = needed_for(order, parts_of(self.orders, order_id)) or self._held(order)
            if needed:
                return needed
            try:
                clear(self.orders, order_id)
                return self._forget(order_id, why)
            except ConditionsFailed:
                # Somebody changed what was to go, or wants it kept.
                self.orders.table.back_off(attempt)
        raise Contention(f"erasing order {order_id}")

    def _forget(self, order_id: str, why: str) -> str:
        needed, left = "", list[Write]()

        def decide(order: Order) -> Change | None:
            nonlocal needed, left
            parts = parts_of(self.orders, order_id)
            needed, left = needed_for(order, parts), list(cleared(self.orders.table, parts))
            if needed or not names_somebody(order):
                return None
            noted = erased(self.orders.table, order.customer["id"], self.clock())
            writes = [self._not_held(order.customer["id"]), noted, *left, *self.finding.forgetting(order)]
            left = []
            return Change(without_person(order), Event("PersonErased", "system", why), writes)

        self.orders.change(order_id, decide, self.clock())
        if left and not needed:
            # Written by somebody who did not know that the person is gone.
            self.orders.table.transact(left)
        return needed

    # ---- holds that the law asks for -------------------------------------------------------------------------------

    def hold(self, customer_id: str, until: datetime, actor: str) -> list[str]:
        """Let nothing of a person be erased before a time, over all their identities, which are returned."""
        identities = self._identities(customer_id)
        table, now = self.orders.table, self.clock()
        for each in identities:
            item = {"pk": customer_key(each), "sk": _HOLD, "entity": "legal_hold"}
            told = {"until": to_text(until), "by": actor, "at": to_text(now), "ttl": int(until.timestamp())}
            table.transact([table.put("hold", {**item, **told}, None)])
        telemetry.logger.info("person_held", customer_id=customer_id, until=to_text(until))
        return identities

    def release(self, customer_id: str) -> list[str]:
        """Let a person's data be erased again, over all their identities; again is harmless."""
        identities, table = self._identities(customer_id), self.orders.table
        for each in identities:
            table.transact([table.delete("hold", (customer_key(each), _HOLD), None)])
        return identities

    def _identities(self, customer_id: str) -> list[str]:
        return sorted({customer_id, *self.people.of(customer_id).identities})

    def _held(self, order: Order) -> str:
        return "legal_hold" if self._is_held(order.customer["id"]) else ""

    def _is_held(self, customer_id: str) -> bool:
        item = self.orders.table.get(customer_key(customer_id), _HOLD)
        return bool(item and from_text(item["until"]) > self.clock())

    def _not_held(self, customer_id: str) -> Write:
        return self.orders.table.check(
            "hold",
            (customer_key(customer_id), _HOLD),
            "attribute_not_exists(pk) OR #until <= :now",
            {"#until": "until"},
            {":now": to_text(self.clock())},
        )

    # ---- identities ------------------------------------------------------------------------------------------------

    def _wipe(self, customer_id: str) -> bool:
        """Delete what is kept of an identity that has no orders any more: its part of the profile, wishes, consent,
        rewards, joinings. Whether nothing is left of it."""
        table = self.orders.table
        if next(self.orders.placed_by([customer_id], to_text(self.clock())), None):
            return False
        self.keeping.refresh(customer_id)
        left = [*table.query(customer_key(customer_id)), *table.query(merges_key(customer_id))]
        if any(item["entity"] == "contribution" for item in left):
            return False
        for code in [item["code"] for item in left if item["entity"] == "reward" and item.get("code")]:
            left += table.query(coupon_key(code))  # Theirs alone.
        writes = [table.delete(item["entity"], (item["pk"], item["sk"]), None) for item in left]
        for start in range(0, len(writes), _AT_ONCE):
            table.transact(writes[start : start + _AT_ONCE])
        return True


_RESERVE = 10.0
"""Seconds that a page takes at most."""
