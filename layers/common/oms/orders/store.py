"""The orders table: every key, every item shape, and the one way in which an order changes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from oms.orders import history
from oms.orders.deadlines import next_deadline
from oms.orders.model import (
    OPEN,
    Backordered,
    Effect,
    Event,
    Hold,
    Line,
    Order,
    Payment,
    Redeemed,
    Rewarded,
    Status,
    Totals,
    home_seed,
)
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Table, Write

DEADLINE_SHARDS = 8
MONTH_SHARDS = 4
"""Over how many keys of the index a month's orders are spread: one key takes some 1,000 writes a second."""
INBOX_DAYS = 35
BACKORDER_QUEUE = "backorder"
"""Orders of which something is waited for, by the date that their customer was told."""
_ATTEMPTS = 12
_PAGE = 100


class AlreadyApplied(Exception):
    """This event had its effect before."""


class OrderExists(Exception):
    """The order that was to be created is there; ``found`` is how it stands (perhaps still a draft)."""

    def __init__(self, found: Order) -> None:
        super().__init__(found.order_id)
        self.found = found


@dataclass(frozen=True, slots=True)
class Change:
    """A new state of an order with the event that explains it and whatever else must happen with it or not at all.

    ``guard`` is a further condition on the order as stored, with its values.
    """

    order: Order
    event: Event
    writes: Sequence[Write] = ()
    guard: str = ""
    guard_values: Mapping[str, Any] | None = None


def order_key(order_id: str) -> str:
    """The partition of everything about an order."""
    return f"ORDER#{order_id}"


class DynamoOrders:
    """Orders, their history, and the inbox of events they have seen."""

    def __init__(self, table: Table) -> None:
        self.table = table

    # ---- reading -------------------------------------------------------------------------------------------------

    def get(self, order_id: str) -> Order | None:
        """The order, or None; one that is still gathering its stock is None as well."""
        order = self.get_draft_or_order(order_id)
        return order if order and order.committed else None

    def get_draft_or_order(self, order_id: str) -> Order | None:
        """The order even while it is still gathering its stock."""
        item = self.table.get(order_key(order_id), "ORDER")
        return order_from_item(item) if item else None

    def require(self, order_id: str) -> Order:
        """The order. Raises ``NotFound``."""
        order = self.get(order_id)
        if order is None:
            raise errors.NotFound("There is no such order.")
        return order

    def parts(self, order_id: str, prefix: str) -> list[Item]:
        """Items beside an order: ``EVENT#``, ``MONEY#``, ``SHIPMENT#``, ``REFUND#``."""
        return list(self.table.query(order_key(order_id), prefix))

    def verified_history(self, order_id: str) -> list[Item]:
        """The whole history. Raises ``HistoryBroken`` when its hashes do not hold."""
        order = self.require(order_id)
        events = self.parts(order_id, "EVENT#")
        history.verify(events, order.head, order.version)
        return events

    def due(self, shard: int, now: datetime) -> Iterator[str]:
        """Ids of orders whose deadline has passed, earliest first, by the index, a page at a time as they are asked
        for: read each again before acting."""
        found = self.table.query_index(
            "by-deadline",
            "due_shard = :shard AND next_deadline <= :now",
            {":shard": str(shard), ":now": to_text(now)},
        )
        return (item["pk"].removeprefix("ORDER#") for item in found)

    def read_all(self, order_ids: Sequence[str]) -> list[Order]:
        """Orders as they are now, in the order of their ids; absent ones and drafts are left out."""
        items = self.table.batch_get([(order_key(order_id), "ORDER") for order_id in order_ids])
        found = {order.order_id: order for order in map(order_from_item, items) if order.committed}
        return [found[order_id] for order_id in order_ids if order_id in found]

    def placed_in(self, month: str, until: str) -> Iterator[tuple[str, str]]:
        """(placed at, id) of the orders of a month such as ``2026-11`` up to a moment, newest first, by the index."""
        shards = [
            self.table.query_index(
                "by-month",
                "placed_month = :month AND created_at <= :until",
                {":month": f"{month}#{shard}", ":until": until},
                newest_first=True,
                page_size=_PAGE,
            )
            for shard in range(MONTH_SHARDS)
        ]
        return heapq.merge(*(map(_placed, shard) for shard in shards), reverse=True)

    def placed_by(self, customers: Sequence[str], until: str) -> Iterator[tuple[str, str]]:
        """(placed at, id) of these customers' orders up to a moment, newest first, by the index."""
        each = [
            self.table.query_index(
                "by-customer",
                "customer_id = :customer AND created_at <= :until",
                {":customer": customer_id, ":until": until},
                newest_first=True,
                page_size=_PAGE,
            )
            for customer_id in customers
        ]
        return heapq.merge(*(map(_placed, found) for found in each), reverse=True)

    def placed_until(self, until: str, months: int) -> Iterator[tuple[str, str]]:
        """(placed at, id) of everybody's orders up to a moment, newest first, through so many months."""
        for month in islice(months_back(until), months):
            yield from self.placed_in(month, until)

    def latest(self, count: int, now: datetime, months: int = 12) -> list[Order]:
        """The last orders that were placed, newest first: what a dry run of rules looks at."""
        return self.read_all([order_id for _, order_id in islice(self.placed_until(to_text(now), months), count)])

    # ---- writing -------------------------------------------------------------------------------------------------

    def creation(self, order: Order, event: Event, now: datetime, *also: Event) -> tuple[Order, list[Write]]:
        """The order and the actions that create it with its first event, and with those that happened in the same
        moment: a sale at a counter is placed, paid and handed over at once."""
        order, told = self._told(replace(order, committed=True), [event, *also], now)
        after, writes = self._step(order, [event, *also][-1], now, condition="attribute_not_exists(pk)", values=None)
        return after, [*writes, *told]

    def draft(self, order: Order, now: datetime) -> Write:
        """The action that reserves the id of a very large order before its stock is gathered."""
        return self.table.put("order", order_to_item(replace(order, committed=False), now))

    def commit_draft(self, order: Order, event: Event, now: datetime, *also: Event) -> tuple[Order, list[Write]]:
        """The actions that turn a draft into an order, unless somebody has begun to undo it."""
        order, told = self._told(replace(order, committed=True), [event, *also], now)
        after, writes = self._step(
            order,
            [event, *also][-1],
            now,
            condition="committed = :no AND attribute_not_exists(aborting)",
            values={":no": False},
        )
        return after, [*writes, *told]

    def _told(self, order: Order, events: Sequence[Event], now: datetime) -> tuple[Order, list[Write]]:
        """The order with all but the last of these events in its history, and the actions that write them."""
        writes = []
        for event in events[:-1]:
            order, entry = self._entry(order, event, now)
            writes.append(entry)
        return order, writes

    def _entry(self, order: Order, event: Event, now: datetime) -> tuple[Order, Write]:
        number = order.version + 1
        at = to_text(now)
        cause, words = history.told_apart(event.actor, event.cause)
        told = {"type": event.type, "actor": event.actor, "cause": cause, "data": dict(event.data)}
        head = history.link(order.head, number, at, told)
        entry = {
            "pk": order_key(order.order_id),
            "sk": f"EVENT#{number:06d}",
            "entity": "event",
            "n": number,
            "at": at,
            **told,
            "hash": head,
            **words,
        }
        return replace(order, version=number, head=head), self.table.put("event", entry)

    def change(
        self, order_id: str, decide: Callable[[Order], Change | None], now: datetime, *, attempts: int = _ATTEMPTS
    ) -> Order:
        """Read, decide, write under the version that was read; again from the start when somebody came between.

        ``decide`` returns None when there is nothing to do. Conditions of its own writes that fail are raised as
        ``ConditionsFailed``, except the inbox's and the ledger's, which are ``AlreadyApplied``.
        Raises ``NotFound`` and ``Contention``.
        """
        for attempt in range(attempts):
            order = self.require(order_id)
            change = decide(order)
            if change is None:
                return order
            try:
                return self.apply(order, change, now)
            except ConditionsFailed as failed:
                # An entry of the ledger that we name ourselves is numbered by what was read: it proves nothing when
                # somebody came between.
                if failed.of("inbox") or (failed.of("money") and not failed.of("order")):
                    raise AlreadyApplied from None
                if not failed.of("order"):
                    raise
                self.table.back_off(attempt)
        raise Contention(f"order {order_id}")

    def apply(self, seen: Order, change: Change, now: datetime) -> Order:
        """Write one change of an order that was read at ``seen.version``. Raises ``ConditionsFailed``."""
        condition = "version = :seen" + (f" AND {change.guard}" if change.guard else "")
        values = {":seen": seen.version, **(change.guard_values or {})}
        after, writes = self._step(
            change.order, change.event, now, condition=condition, values=values, holds=seen.holds
        )
        self.table.transact([*writes, *change.writes])
        return after

    def _step(
        self,
        order: Order,
        event: Event,
        now: datetime,
        *,
        condition: str,
        values: Mapping[str, Any] | None,
        holds: Mapping[str, Hold] | None = None,
    ) -> tuple[Order, list[Write]]:
        after, entry = self._entry(order, event, now)
        return after, [
            self.table.put("order", order_to_item(after, now), condition, values=values),
            entry,
            *self._hold_writes(order, holds or {}),
        ]

    def _hold_writes(self, order: Order, before: Mapping[str, Hold]) -> list[Write]:
        """The actions that keep the work list of holds true to a change of the order: an item a hold, in the index of
        work while it lasts."""
        writes: list[Write] = []
        for kind in sorted(before.keys() | order.holds.keys()):
            hold = order.holds.get(kind)
            if hold == before.get(kind):
                continue
            item: Item = {"pk": order_key(order.order_id), "sk": f"HOLD#{kind}", "entity": "hold", "kind": kind}
            if hold:
                item |= {
                    **_hold_to_item(hold),
                    "work_queue": hold_queue(kind),
                    "work_rank": f"{hold.owner}#{hold.deadline}#{order.order_id}",
                }
            writes.append(self.table.put("hold", item, None))
        return writes

    def has_seen(self, source: str, event_id: str) -> bool:
        """Whether an outside event had its effect: to answer a repeat well; the guard is ``inbox``."""
        return self.table.get(f"INBOX#{source}#{event_id}", "INBOX") is not None

    def inbox(self, source: str, event_id: str, now: datetime) -> Write:
        """The action that claims an outside event, or fails with the label ``inbox`` when it had its effect."""
        return self.table.put(
            "inbox",
            {
                "pk": f"INBOX#{source}#{event_id}",
                "sk": "INBOX",
                "entity": "inbox",
                "at": to_text(now),
                "ttl": int((now + timedelta(days=INBOX_DAYS)).timestamp()),
            },
        )


def order_to_item(order: Order, now: datetime) -> Item:
    """The order's item. Short names and absent zeros keep a ten-line order within a kilobyte: it is written whole
    at every step, and DynamoDB bills each kilobyte twice inside a transaction."""
    item: Item = {
        "pk": order_key(order.order_id),
        "sk": "ORDER",
        "entity": "order",
        "channel": order.channel,
        "status": str(order.status),
        "customer": {key: value for key, value in order.customer.items() if value and key != "id"},
        "customer_id": order.customer["id"],
        "address": {key: value for key, value in order.address.items() if value},
        "lines": [_line_to_item(line) for line in order.lines],
        "currency": order.currency,
        "totals": _without_zeros(
            {
                "items": order.totals.items,
                "shipping": order.totals.shipping,
                "tax": order.totals.tax,
                "discount": order.totals.discount,
            }
        ),
        "payment": _payment_to_item(order.payment),
        "created_at": order.placed_at,
        "placed_month": f"{order.placed_at[:7]}#{home_seed(order.order_id) % MONTH_SHARDS}",
        "expires_at": order.expires_at,
        "digest": order.request_digest,
        "version": order.version,
        "head": order.head,
    }
    optional = {
        "external_id": order.external_id,
        "method": "" if order.shipping_method == "standard" else order.shipping_method,
        "note": order.note,
        "gift": dict(order.gift),
        "score": order.priority_score,
        "codes": order.priority_codes,
        "rules": order.priority_rules,
        "promised_for": order.promised_for,
        "holds": {kind: _hold_to_item(hold) for kind, hold in order.holds.items()},
        "oversold": dict(order.oversold),
        "backordered": [[told.line, told.quantity, told.expected_at] for told in order.backordered],
        "effects": [str(effect) for effect in order.effects],
        "redriven": order.redriven,
        "runs": order.runs,
        "shipments": order.shipments,
        "backordered_at": order.backordered_at,
        "delivered_at": order.delivered_at,
        "collect_by": order.collect_by,
        "collect_remind_at": order.collect_remind_at,
        "returns": order.returns,
        "return_deadline": order.return_deadline,
        "exchange_of": order.exchange_of,
        "moved_credit": order.moved_credit,
        "counter": order.counter,
        "taken_at": order.taken_at,
        "coupons": [
            [each.code, each.discount, each.shipping, each.stripe, list(each.counted)] for each in order.coupons
        ],
        "rewards": [[each.customer_id, each.milestone, each.line] for each in order.rewards],
        "chunks": order.chunks,
    }
    item.update({key: value for key, value in optional.items() if value})
    if order.orders_before is not None:
        item["nth"] = order.orders_before
    if not order.committed:
        item["committed"] = False
    deadline = next_deadline(order, now)
    if deadline:
        item["due_shard"] = str(home_seed(order.order_id) % DEADLINE_SHARDS)
        item["next_deadline"] = deadline
    promised = _promised_to_wait(order)
    if promised:
        item |= {"work_queue": BACKORDER_QUEUE, "work_rank": f"{promised}#{order.order_id}"}
    return item


def _promised_to_wait(order: Order) -> str:
    """The earliest date that the customer was told for units that still are not there; empty when there is none."""
    waiting = order.waiting() if order.backordered and order.status in OPEN else {}
    return min(
        (told.expected_at for told in order.backordered if told.line in waiting and told.expected_at), default=""
    )


def order_from_item(item: Item) -> Order:
    """The inverse of ``order_to_item``."""
    totals, payment = item["totals"], item["payment"]
    return Order(
        order_id=item["pk"].removeprefix("ORDER#"),
        channel=item["channel"],
        status=Status(item["status"]),
        customer={"id": item["customer_id"], **item["customer"]},
        address=item["address"],
        lines=tuple(_line_from_item(number, line) for number, line in enumerate(item["lines"], start=1)),
        currency=item["currency"],
        totals=Totals(
            totals.get("items", 0), totals.get("shipping", 0), totals.get("tax", 0), totals.get("discount", 0)
        ),
        payment=Payment(**{name: value for name, value in payment.items() if name not in _DERIVED}),
        placed_at=item["created_at"],
        expires_at=item["expires_at"],
        request_digest=item["digest"],
        external_id=item.get("external_id", ""),
        shipping_method=item.get("method", "standard"),
        note=item.get("note", ""),
        gift=item.get("gift", {}),
        priority_score=item.get("score", 0),
        priority_codes=item.get("codes", ""),
        priority_rules=item.get("rules", 0),
        orders_before=item.get("nth"),
        promised_for=item.get("promised_for", ""),
        holds={kind: Hold(**hold) for kind, hold in item.get("holds", {}).items()},
        oversold=item.get("oversold", {}),
        backordered=tuple(Backordered(*told) for told in item.get("backordered", [])),
        effects=tuple(Effect(name) for name in item.get("effects", [])),
        redriven=item.get("redriven", 0),
        runs=item.get("runs", 0),
        shipments=item.get("shipments", 0),
        backordered_at=item.get("backordered_at", ""),
        delivered_at=item.get("delivered_at", ""),
        collect_by=item.get("collect_by", ""),
        collect_remind_at=item.get("collect_remind_at", ""),
        returns=item.get("returns", 0),
        return_deadline=item.get("return_deadline", ""),
        exchange_of=item.get("exchange_of", ""),
        moved_credit=item.get("moved_credit", 0),
        counter=item.get("counter", ""),
        taken_at=item.get("taken_at", ""),
        coupons=tuple(map(_redeemed_from_item, item.get("coupons", []))),
        rewards=tuple(Rewarded(*told) for told in item.get("rewards", [])),
        chunks=item.get("chunks", 0),
        committed=item.get("committed", True),
        version=item["version"],
        head=item["head"],
    )


_DERIVED = frozenset({"covers", "settled"})
"""Sums that stand on the item for conditions only."""


def _payment_to_item(payment: Payment) -> Item:
    item = _without_zeros({spec.name: getattr(payment, spec.name) for spec in fields(payment)})
    if payment.covers:
        item["covers"] = payment.covers
    if payment.authorized:
        # Only then does it differ from what covers.
        item["settled"] = payment.settled
    return item


def months_back(moment: str) -> Iterator[str]:
    """The month of a moment and those before it, such as ``2026-11``, without end."""
    year, month = int(moment[:4]), int(moment[5:7])
    while True:
        yield f"{year:04d}-{month:02d}"
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)


def _placed(indexed: Item) -> tuple[str, str]:
    return indexed["created_at"], indexed["pk"].removeprefix("ORDER#")


def hold_queue(kind: str) -> str:
    """The queue of work in which the open holds of a kind stand, by owner and deadline."""
    return f"hold#{kind}"


def _hold_to_item(hold: Hold) -> Item:
    return {"reason": hold.reason, "owner": hold.owner, "since": hold.since, "deadline": hold.deadline}


def _redeemed_from_item(told: Sequence[Any]) -> Redeemed:
    code, discount, shipping, stripe, counted = told
    return Redeemed(code, discount, shipping, stripe, tuple(counted))


def _line_to_item(line: Line) -> Item:
    item: Item = {"sku": line.sku, "qty": line.quantity, "price": line.unit_price}
    optional = {
        "discount": line.discount,
        "tax": line.tax,
        "cancelled": line.cancelled,
        "shipped": line.shipped,
        "returned": line.returned,
        "credited": line.credited,
        "parts": dict(line.parts),
        "ext": line.external_id,
    }
    return {**item, **{key: value for key, value in optional.items() if value}}


def _line_from_item(number: int, item: Item) -> Line:
    return Line(
        number=number,
        sku=item["sku"],
        quantity=item["qty"],
        unit_price=item["price"],
        discount=item.get("discount", 0),
        tax=item.get("tax", 0),
        cancelled=item.get("cancelled", 0),
        shipped=item.get("shipped", 0),
        returned=item.get("returned", 0),
        credited=item.get("credited", 0),
        parts=item.get("parts", {}),
        external_id=item.get("ext", ""),
    )


def _without_zeros(values: Mapping[str, Any]) -> Item:
    return {key: value for key, value in values.items() if value}
