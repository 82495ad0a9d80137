"""Rewards for what a person has spent: the merchant's milestones, and one item for each that a person has reached.

A reward is a gift that comes with the next order, or a coupon of the person's own. The item's key is the person and the
milestone, so it can be given once whatever is retried; what became of it is its state.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from oms.customers.people import customer_key
from oms.orders.coupons import Coupon
from oms.orders.model import Order
from oms.runtime import rules as kept
from oms.runtime.clock import to_text
from oms.runtime.dynamo import Item, Table, Write

WAITING, USED, COUPON, WITHDRAWN = "waiting", "used", "coupon", "withdrawn"
"""A gift that waits for an order, one that came with an order, a coupon that was given, and one taken back unused."""
_KIND = "REWARDS"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a reward's coupon takes off, and for how many days."""

    kind: str
    percent: int = 0
    amounts: Mapping[str, int] = field(default_factory=dict)
    minimum: Mapping[str, int] = field(default_factory=dict)
    days: int = 365


@dataclass(frozen=True, slots=True)
class Milestone:
    """What a person gets who has spent so much, in minor units of ``currency``, over all their orders."""

    name: str
    currency: str
    spent: int
    gift: tuple[str, ...] = ()
    """SKUs of which the first that can be had comes with the next order; none for a coupon."""
    coupon: Terms | None = None
    """The coupon, or what the gift becomes when none of its SKUs can be had; without it the gift waits longer."""
    per_address: int = 2
    """How many persons of one house or one phone may get it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All milestones."""

    milestones: tuple[Milestone, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class Reward:
    """A milestone that a person reached. ``customer_id`` is whom it was given to, the person's id at that time."""

    customer_id: str
    milestone: str
    state: str
    earned_at: str
    earned_by: str
    """The order that reached the milestone."""
    gift: tuple[str, ...] = ()
    terms: Terms | None = None
    code: str = ""
    used_in: str = ""
    told: bool = True
    """Whether the customer was told of it in its present form."""

    @property
    def key(self) -> tuple[str, str]:
        """Where it stands."""
        return reward_key(self.customer_id, self.milestone)


def reward_key(customer_id: str, milestone: str) -> tuple[str, str]:
    """Where a person's reward for a milestone stands."""
    return customer_key(customer_id), f"REWARD#{milestone}"


def current_rules(table: Table) -> Rules:
    """The milestones as they are now; none if nobody wrote any."""
    item = kept.current(table, _KIND)
    return rules_from_item(item) if item else Rules()


def put_rules(table: Table, rules: Rules, *, actor: str, now: datetime) -> Rules:
    """Replace version ``rules.version``; rewards that were earned stay as they were. Raises ``Conflict``."""
    after = replace(rules, version=rules.version + 1)
    kept.put(table, _KIND, "reward_rules", rules_to_item(after), seen=rules.version, actor=actor, now=now)
    return after


def rewards_of(table: Table, identities: Sequence[str]) -> list[Reward]:
    """Everything that a person of these identities was given, the oldest first."""
    items = [item for identity in identities for item in table.query(customer_key(identity), "REWARD#")]
    return sorted(map(reward_from_item, items), key=lambda reward: (reward.earned_at, reward.milestone))


def coupon_of(reward: Reward, now: datetime) -> Coupon:
    """The coupon that a reward is, or becomes: one order's, and nobody else's. Its code follows from the reward, so a
    repeat makes the same one."""
    terms = reward.terms or Terms("shipping")
    name = hashlib.blake2s(f"{reward.customer_id}|{reward.milestone}".encode(), digest_size=10).digest()
    return Coupon(
        code=f"THANKS-{base64.b32encode(name).decode()}",
        kind=terms.kind,
        percent=terms.percent,
        amounts=terms.amounts,
        minimum=terms.minimum,
        limit=1,
        ends_at=to_text(now + timedelta(days=terms.days)),
        exclusive=False,
        person=reward.customer_id,
    )


# ---- gifts in orders -------------------------------------------------------------------------------------------------


def give_back(table: Table, order: Order) -> list[Write]:
    """The actions that let the gifts of an order which ends unsent wait for the next one."""
    return [
        table.update(
            "gift",
            reward_key(gift.customer_id, gift.milestone),
            "SET #state = :waiting REMOVE used_in",
            "used_in = :order",
            names={"#state": "state"},
            values={":waiting": WAITING, ":order": order.order_id},
        )
        for gift in order.rewards
    ]


def given_again(table: Table, order: Order) -> tuple[Order, list[Write]]:
    """An order that had ended with those of its gifts that still wait, and the actions that use them; lines of gifts
    that another order has brought since are cancelled."""
    writes: list[Write] = []
    lost: set[int] = set()
    for gift in order.rewards:
        item = table.get(*reward_key(gift.customer_id, gift.milestone))
        if item and item["state"] == WAITING:
            writes.append(use(table, reward_from_item(item), order.order_id))
        else:
            lost.add(gift.line)
    lines = tuple(replace(line, cancelled=line.quantity) if line.number in lost else line for line in order.lines)
    return replace(order, lines=lines, rewards=tuple(gift for gift in order.rewards if gift.line not in lost)), writes


def use(table: Table, reward: Reward, order_id: str) -> Write:
    """The action that gives a waiting gift to an order."""
    return table.update(
        f"{USE}{reward.customer_id} {reward.milestone}",
        reward.key,
        "SET #state = :used, used_in = :order",
        "#state = :waiting",
        names={"#state": "state"},
        values={":used": USED, ":waiting": WAITING, ":order": order_id},
    )


USE = "gift "


# ---- shapes ----------------------------------------------------------------------------------------------------------


def rules_to_item(rules: Rules) -> Item:
    """Milestones as an item, and as staff write and read them."""
    return {
        "version": rules.version,
        "milestones": [
            {**asdict(each), "gift": list(each.gift), "coupon": asdict(each.coupon) if each.coupon else None}
            for each in rules.milestones
        ],
    }


def rules_from_item(item: Item) -> Rules:
    """The inverse of ``rules_to_item``."""
    return Rules(
        tuple(
            Milestone(
                **{**told, "gift": tuple(told["gift"]), "coupon": Terms(**told["coupon"]) if told["coupon"] else None}
            )
            for told in item["milestones"]
        ),
        item["version"],
    )


def reward_to_item(reward: Reward) -> Item:
    """A reward as an item."""
    pk, sk = reward.key
    told = {**asdict(reward), "gift": list(reward.gift), "terms": asdict(reward.terms) if reward.terms else None}
    return {"pk": pk, "sk": sk, "entity": "reward", **{name: value for name, value in told.items() if value != ""}}


def reward_from_item(item: Item) -> Reward:
    """The inverse of ``reward_to_item``."""
    names = set(Reward.__dataclass_fields__)
    told = {name: value for name, value in item.items() if name in names}
    return Reward(**{**told, "gift": tuple(told["gift"]), "terms": Terms(**told["terms"]) if told["terms"] else None})


def reward_view(reward: Reward) -> dict[str, Any]:
    """A reward as staff see it."""
    return {
        "milestone": reward.milestone,
        "state": reward.state,
        "gift": list(reward.gift),
        "coupon": reward.code or None,
        "earned_at": reward.earned_at,
        "earned_by": reward.earned_by,
        "used_in": reward.used_in or None,
    }
