"""Giving rewards to those who have reached a milestone, and taking unused ones back from those who fell below it.

Whoever looks decides by the person and the rewards as they are, and writes under the version of the person that was
read: so joining two persons, or an order that counts at the same moment, makes it look again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from oms.customers.people import People, Person, person_key
from oms.customers.rewards import (
    COUPON,
    USED,
    WAITING,
    WITHDRAWN,
    Milestone,
    Reward,
    Rules,
    coupon_of,
    reward_from_item,
    reward_key,
    reward_to_item,
    rewards_of,
)
from oms.orders.coupon_book import CouponBook, face, mailbox_of, phone_of, place_of
from oms.orders.model import Event, Order
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Write

_ATTEMPTS = 12
_BY = "reward-by"


@dataclass(frozen=True, slots=True)
class _Step:
    """One thing to do about a milestone, with the event that tells it."""

    event: str
    reward: Reward
    writes: Sequence[Write]


@dataclass(frozen=True, slots=True)
class EarnRewards:
    """Called for each order that changed, after it counts in its customer's profile."""

    orders: DynamoOrders
    people: People
    coupons: CouponBook
    rules: Callable[[], Rules]
    clock: Clock

    def earn(self, order_id: str) -> None:
        """Bring the rewards of an order's customer up to date. Again, late or beside others changes nothing twice.
        Raises ``Contention``."""
        rules = self.rules()
        order = self.orders.get(order_id) if rules.milestones else None
        if order is None:
            return
        for milestone in rules.milestones:
            self._settle(order, milestone)

    def of(self, customer_id: str) -> list[Reward]:
        """What the person behind a customer id was given."""
        return rewards_of(self.people.table, sorted({customer_id, *self.people.of(customer_id).identities}))

    def _settle(self, order: Order, milestone: Milestone) -> None:
        for attempt in range(_ATTEMPTS):
            now = self.clock()
            person = self.people.of(order.customer["id"])
            step = self._next(order, person, milestone, now)
            if step is None:
                return
            event = Event(step.event, "system", f"milestone {milestone.name}", _facts(step.reward, order.currency, now))
            writes = [self._unchanged(person), *step.writes]
            try:
                self.orders.change(order.order_id, _noting(event, writes), now)
            except ConditionsFailed as failed:
                if failed.of(_BY) and not failed.of("person"):
                    telemetry.count("RewardsRefused")
                    return
                self.people.table.back_off(attempt)
                continue
            telemetry.count("RewardsEarned" if step.event == "RewardEarned" else "RewardsWithdrawn")
        raise Contention(f"rewards of order {order.order_id}")

    def _next(self, order: Order, person: Person, milestone: Milestone, now: datetime) -> _Step | None:
        identities = sorted(person.identities) or [order.customer["id"]]
        spent = person.profile().spent.get(milestone.currency, 0) if person.identities else 0
        items = self.people.table.batch_get([reward_key(identity, milestone.name) for identity in identities])
        found = sorted(map(reward_from_item, items), key=lambda reward: (reward.state != USED, reward.earned_at))
        valid = [reward for reward in found if reward.state != WITHDRAWN]
        if spent < milestone.spent or len(valid) > 1:
            # Joined persons may have got it twice before they were known to be one.
            unused = valid if spent < milestone.spent else valid[1:]
            return next((step for reward in unused if (step := self._withdrawal(reward, now))), None)
        if valid:
            return self._telling(valid[0]) if not valid[0].told else None
        return self._revival(found[0], now) if found else self._gain(order, person, milestone, now)

    def _gain(self, order: Order, person: Person, milestone: Milestone, now: datetime) -> _Step:
        reward = Reward(
            customer_id=person.person_id,
            milestone=milestone.name,
            state=WAITING,
            earned_at=to_text(now),
            earned_by=order.order_id,
            gift=milestone.gift,
            terms=milestone.coupon,
        )
        writes = list(self._counted(order, milestone))
        if not milestone.gift:
            coupon = coupon_of(reward, now)
            reward = replace(reward, state=COUPON, code=coupon.code)
            writes += self.coupons.creation(coupon, actor="system", now=now)
        return _Step("RewardEarned", reward, [self.people.table.put("reward", reward_to_item(reward)), *writes])

    def _counted(self, order: Order, milestone: Milestone) -> Iterator[Write]:
        """The actions that count a milestone by what its person is known again by, each refused beyond its limit."""
        pk = f"MILESTONE#{milestone.name}"
        known = (
            ("mailbox", mailbox_of(order.customer.get("email", "")), 1),
            ("phone", phone_of(order.customer.get("phone", "")), milestone.per_address),
            ("place", place_of(order.address), milestone.per_address),
        )
        for kind, value, most in known:
            if value:
                yield self.people.table.update(
                    _BY,
                    (pk, face(kind, milestone.name, value)),
                    "SET entity = :entity ADD used :one",
                    "attribute_not_exists(used) OR used < :most",
                    values={":entity": "milestone_by", ":one": 1, ":most": most},
                )

    def _withdrawal(self, reward: Reward, now: datetime) -> _Step | None:
        """What takes an unused reward back; None for one that was used."""
        switched = self.coupons.switched(reward.code, active=False, now=now) if reward.state == COUPON else []
        if reward.state == USED or switched is None:
            return None
        return _Step("RewardWithdrawn", reward, [self._becomes(reward, WITHDRAWN), *switched])

    def _revival(self, reward: Reward, now: datetime) -> _Step | None:
        """What gives a reward again that was taken back, as it was."""
        switched = self.coupons.switched(reward.code, active=True, now=now) if reward.code else []
        if switched is None:
            return None
        return _Step("RewardEarned", reward, [self._becomes(reward, COUPON if reward.code else WAITING), *switched])

    def _telling(self, reward: Reward) -> _Step:
        told = self.people.table.update(
            "reward", reward.key, "SET told = :yes", "told = :no", values={":yes": True, ":no": False}
        )
        return _Step("RewardEarned", reward, [told])

    def _becomes(self, reward: Reward, state: str) -> Write:
        return self.people.table.update(
            "reward",
            reward.key,
            "SET #state = :state",
            "#state = :seen",
            names={"#state": "state"},
            values={":state": state, ":seen": reward.state},
        )

    def _unchanged(self, person: Person) -> Write:
        condition = "version = :seen" if person.stored else "attribute_not_exists(pk)"
        values = {":seen": person.version} if person.stored else None
        return self.people.table.check("person", person_key(person.person_id), condition, values=values)


def _noting(event: Event, writes: Sequence[Write]) -> Callable[[Order], Change]:
    return lambda order: Change(order, event, writes)


def _facts(reward: Reward, currency: str, now: datetime) -> dict[str, Any]:
    facts: dict[str, Any] = {"milestone": reward.milestone, "kind": "coupon" if reward.code else "gift"}
    if reward.code and reward.terms:
        facts |= {"coupon": reward.code, "takes_off": reward.terms.kind, "days": reward.terms.days}
        facts |= {"percent": reward.terms.percent, "amount": reward.terms.amounts.get(currency, 0)}
    elif reward.gift:
        facts["sku"] = reward.gift[0]
    return facts
