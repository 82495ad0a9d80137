"""Gifts that a person has earned come with their next order: a line that costs nothing, its unit taken like any other,
in the transaction that makes the order exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from botocore.exceptions import ClientError

from oms.customers.people import People
from oms.customers.rewards import COUPON, USE, USED, WAITING, Reward, Rules, coupon_of, rewards_of, use
from oms.inventory.model import Product
from oms.orders.coupon_book import CouponBook
from oms.orders.model import Line, Order, Rewarded
from oms.orders.reservation import INLINE_SKUS
from oms.runtime import errors
from oms.runtime.dynamo import ConditionsFailed, Write

MOST = 3
"""So many gifts come with one order."""

Create = Callable[[Order, tuple[Write, ...], Mapping[str, Product]], Order]


@dataclass(frozen=True, slots=True)
class GiveGifts:
    """Adds what waits for a customer to an order that is about to be made."""

    people: People
    coupons: CouponBook
    rules: Callable[[], Rules]
    products: Callable[[Sequence[str]], dict[str, Product]]

    def place(
        self, order: Order, writes: tuple[Write, ...], products: Mapping[str, Product], now: datetime, create: Create
    ) -> Order:
        """Make the order with the gifts that wait for its customer: ``create`` gets it with the actions that belong
        into its transaction. Of each gift the first SKU that can be had; one that cannot be had at all becomes its
        coupon, or waits; with a very large order none comes. Raises whatever ``create`` does about the rest."""
        waiting = self._waiting(order.customer["id"])
        choices = {reward.key: list(reward.gift) for reward in waiting}
        known = {**products, **self._giftable(waiting, products)}
        while True:
            chosen = [(reward, self._first(choices[reward.key], known)) for reward in waiting]
            given = [(reward, sku) for reward, sku in chosen if sku]
            gone = [reward for reward, sku in chosen if not sku and reward.terms]
            uses = [use(self.people.table, reward, order.order_id) for reward, _ in given]
            turns = [write for reward in gone for write in self._turned(reward, now)]
            whole, all_writes = _with_gifts(order, given, known), (*writes, *uses, *turns)
            if len(whole.owed()) > INLINE_SKUS - len(all_writes):
                # Taken in chunks, which a repeat must find as they were: what waits for the customer may be other then.
                return create(order, writes, products)
            try:
                return create(whole, all_writes, known)
            except errors.OutOfStock as short:
                lacking = {str(entry["sku"]) for entry in short.extra["items"]}
                tried = [(reward, sku) for reward, sku in given if lacking & {sku, *known[sku].kit}]
                if not tried:
                    raise
                for reward, sku in tried:
                    choices[reward.key].remove(sku)
            except ConditionsFailed as failed:
                lost = {refusal.write.label for refusal in failed.refusals if refusal.write.label.startswith(USE)}
                if not lost:
                    raise
                # Another order was faster: it has the gift.
                waiting = [each for each in waiting if f"{USE}{each.customer_id} {each.milestone}" not in lost]

    def _waiting(self, customer_id: str) -> list[Reward]:
        if not self.rules().version:
            return []
        try:
            person = self.people.of(customer_id)
            found = rewards_of(self.people.table, sorted(person.identities))
        except ClientError:
            return []  # No sale waits for its gift: it comes with the next one.
        # Joined persons may wait twice for what they get once.
        waiting = {reward.milestone: reward for reward in found if reward.state == WAITING}
        had = {reward.milestone for reward in found if reward.state in (USED, COUPON)}
        return [reward for name, reward in waiting.items() if name not in had][:MOST]

    def _giftable(self, waiting: Sequence[Reward], products: Mapping[str, Product]) -> dict[str, Product]:
        wanted = sorted({sku for reward in waiting for sku in reward.gift} - products.keys())
        found = self.products(wanted) if wanted else {}
        # Nobody waits for a gift that is not there.
        return {sku: replace(product, backorder=False) for sku, product in found.items() if sku not in products}

    @staticmethod
    def _first(choices: Sequence[str], known: Mapping[str, Product]) -> str:
        return next((sku for sku in choices if sku in known and not known[sku].archived), "")

    def _turned(self, reward: Reward, now: datetime) -> list[Write]:
        coupon = coupon_of(reward, now)
        table = self.people.table
        return [
            table.update(
                f"{USE}{reward.customer_id} {reward.milestone}",
                reward.key,
                "SET #state = :coupon, code = :code, told = :no",
                "#state = :waiting",
                names={"#state": "state"},
                values={":coupon": COUPON, ":waiting": WAITING, ":code": coupon.code, ":no": False},
            ),
            *self.coupons.creation(coupon, actor="system", now=now),
        ]


def _with_gifts(order: Order, given: Sequence[tuple[Reward, str]], known: Mapping[str, Product]) -> Order:
    lines, rewards = list(order.lines), list(order.rewards)
    for reward, sku in given:
        lines.append(Line(len(lines) + 1, sku, 1, 0, parts=known[sku].kit))
        rewards.append(Rewarded(reward.customer_id, reward.milestone, len(lines)))
    return replace(order, lines=tuple(lines), rewards=tuple(rewards))
