"""What must hold after every step, whatever happened, and what must hold once the faults have stopped.

Checkers read DynamoDB's own storage and the simulators' own books, never through the layer that injects faults. After
each step they look at what changed (the tables' streams tell), and at everything that a change may have broken.
"""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from oms.fulfillment import shipments as parcels
from oms.fulfillment import walks
from oms.messages.kinds import CHANNELS_THAT_TELL, KINDS, TOO_LATE, due_messages
from oms.orders import history, pricing, returning
from oms.orders.model import NEXT, OPEN, Status
from oms.orders.refunds import STILL_DUE
from oms.orders.returning import return_from_item
from oms.orders.store import order_from_item
from oms.payments import ledger
from oms.payments.news import DECIDED
from oms.runtime.clock import from_text
from tests.simulation.backend import plain_item

if TYPE_CHECKING:
    from tests.simulation.system import System

Item = dict[str, Any]
Key = tuple[str, str]


class Violation(AssertionError):
    """A promise was broken. ``name`` is the checker's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


@dataclass(slots=True)
class Change:
    """One change of one item, decoded."""

    table: str
    key: Key
    old: Item | None
    new: Item | None

    @property
    def entity(self) -> str:
        return str((self.new or self.old or {}).get("entity"))


@dataclass(slots=True)
class Books:
    """A decoded copy of both tables, kept up to date, with what the checkers need to look up."""

    system: System
    items: dict[str, dict[Key, Item]] = field(default_factory=lambda: {"OrdersTable": {}, "InventoryTable": {}})
    partitions: dict[str, dict[str, dict[str, Item]]] = field(
        default_factory=lambda: {"OrdersTable": defaultdict(dict), "InventoryTable": defaultdict(dict)}
    )
    holders: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """SKU to the orders that hold or held some of it."""
    tasks: set[Key] = field(default_factory=set)
    walks: set[Key] = field(default_factory=set)
    """Walks that have not ended."""
    """Shipments with an open task."""
    held: set[str] = field(default_factory=set)
    """Orders under a hold."""
    _position: dict[str, int] = field(default_factory=lambda: {"OrdersTable": 0, "InventoryTable": 0})

    def advance(self) -> list[Change]:
        """Take in what changed since the last call."""
        changes = []
        for table in self.items:
            records = self.system.cloud.records(table, self._position[table])
            self._position[table] += len(records)
            for record in records:
                images = record["dynamodb"]
                key = (images["Keys"]["pk"]["S"], images["Keys"]["sk"]["S"])
                old = decoded(images["OldImage"]) if "OldImage" in images else None
                new = decoded(images["NewImage"]) if "NewImage" in images else None
                self._keep(table, key, new)
                changes.append(Change(table, key, old, new))
        return changes

    def reread(self) -> None:
        """Forget the copy and read the tables themselves."""
        for table in self.items:
            self.items[table].clear()
            self.partitions[table].clear()
            self._position[table] = len(self.system.cloud.records(table, 0))
            for image in self.system.cloud.items(table):
                item = decoded(image)
                self._keep(table, (item["pk"], item["sk"]), item)

    def _keep(self, table: str, key: Key, new: Item | None) -> None:
        if key[1].startswith("SHIPMENT#"):
            task = (new or {}).get("task") or {}
            (self.tasks.add if task.get("state") == "open" else self.tasks.discard)(key)
        if key[1] == "WALK":
            (self.walks.add if (new or {}).get("state") in walks.OPEN else self.walks.discard)(key)
        if key[1] == "ORDER":
            (self.held.add if (new or {}).get("holds") else self.held.discard)(key[0])
        if new is None:
            self.items[table].pop(key, None)
            self.partitions[table][key[0]].pop(key[1], None)
            return
        self.items[table][key] = new
        self.partitions[table][key[0]][key[1]] = new
        if new.get("entity") == "order":
            for sku in order_from_item(new).owed():
                self.holders[sku].add(key[0])

    def order(self, pk: str) -> dict[str, Item]:
        """Everything about one order, by sort key."""
        return self.partitions["OrdersTable"].get(pk, {})

    def orders(self) -> Iterator[tuple[str, Item]]:
        """Every order with its partition's name."""
        for (pk, sk), item in self.items["OrdersTable"].items():
            if sk == "ORDER":
                yield pk, item

    def sku(self, sku: str) -> dict[str, Item]:
        """Everything about one SKU, by sort key."""
        return self.partitions["InventoryTable"].get(f"SKU#{sku}", {})

    def available(self, sku: str) -> int:
        """Units that may be promised."""
        return sum(item["available"] for item in self.sku(sku).values() if item["entity"] == "stock")


def decoded(image: Mapping[str, Any]) -> Item:
    """An item as Python values, bytes as bytes."""
    item = plain_item(dict(image))
    for name in ("head", "hash", "digest"):
        if isinstance(item.get(name), str) and image[name].get("B") is not None:
            item[name] = base64.b64decode(item[name])
    return item


def starting(items: Mapping[str, Item], prefix: str) -> list[Item]:
    """The items of a partition whose sort key has a prefix, in order."""
    return [items[sk] for sk in sorted(items) if sk.startswith(prefix)]


Safety = Callable[[Books, list[Change]], None]
Liveness = Callable[[Books], None]
SAFETY: dict[str, Safety] = {}
LIVENESS: dict[str, Liveness] = {}


def safety(check: Safety) -> Safety:
    """Register a check that runs after every step."""
    SAFETY[check.__name__] = check
    return check


def liveness(check: Liveness) -> Liveness:
    """Register a check that runs once everything has come to rest."""
    LIVENESS[check.__name__] = check
    return check


def require(holds: bool, name: str, message: str) -> None:
    """Raise ``Violation`` unless it holds."""
    if not holds:
        raise Violation(name, message)


def _orders_in(changes: list[Change]) -> set[str]:
    return {change.key[0] for change in changes if change.table == "OrdersTable" and change.key[0].startswith("ORDER#")}


def _skus_touched(books: Books, changes: list[Change]) -> set[str]:
    touched: set[str] = set()
    for change in changes:
        if change.table == "InventoryTable":
            if change.entity in {"stock", "location", "backorders"}:
                touched.add(change.key[0].removeprefix("SKU#"))
            continue
        if change.entity == "order":
            for image in (change.old, change.new):
                if image:
                    order = order_from_item(image)
                    touched.update(sku for line in order.lines for sku in line.units(1))
        elif change.entity in {"reservation", "release"}:
            touched.update((change.new or change.old or {}).get("units", {}))
    return touched


# ---- stock ---------------------------------------------------------------------------------------------------------


def held_units(items: Mapping[str, Item]) -> dict[str, int]:
    """Units by SKU that one order really holds: taken from ``available`` and neither shipped nor given back."""
    item = items.get("ORDER")
    if item is None:
        return {}
    order = order_from_item(item)
    held: dict[str, int] = defaultdict(int)
    if not order.committed:
        for mark in starting(items, "RESERVATION#"):
            for sku, units in mark["units"].items():
                held[sku] += units
        return held
    if order.status in OPEN or "release_stock" in order.effects:
        held.update(order.held_stock())
    if order.status not in OPEN:
        for mark in starting(items, "RELEASE#"):
            for sku, units in mark["units"].items():
                held[sku] -= units
    return held


@safety
def stock_identity(books: Books, changes: list[Change]) -> None:
    """Available plus promised equals what lies on the shelves and can be sold."""
    for sku in _skus_touched(books, changes):
        items = books.sku(sku)
        places = starting(items, "LOCATION#")
        shelf = sum(place["on_hand"] - place["damaged"] - place["quarantined"] for place in places)
        available = books.available(sku) + items.get("BACKORDERS", {}).get("earmarked", 0)
        held = sum(held_units(books.order(pk)).get(sku, 0) for pk in books.holders[sku])
        require(
            available + held == shelf,
            "stock_identity",
            f"{sku}: available and earmarked {available} + promised {held} ≠ sellable on the shelves {shelf}",
        )


@safety
def queues_are_the_orders_that_wait(books: Books, changes: list[Change]) -> None:
    """Who waits for a SKU stands in its queue with what it lacks, and the queue's count is their sum."""
    for sku in _skus_touched(books, changes):
        items = books.sku(sku)
        queued = {item["order_id"]: item["units"] for item in starting(items, "BACKORDER#")}
        waits = {}
        for pk in books.holders[sku]:
            item = books.order(pk).get("ORDER")
            order = order_from_item(item) if item else None
            if order and order.status in OPEN and order.committed and not order.chunks and order.oversold.get(sku):
                waits[order.order_id] = order.oversold[sku]
        head = items.get("BACKORDERS", {"waiting": 0, "earmarked": 0})
        require(queued == waits, "queues_are_the_orders_that_wait", f"{sku}: queued {queued}, waiting {waits}")
        total = sum(queued.values())
        require(head["waiting"] == total, "queues_are_the_orders_that_wait", f"{sku}: {head} for {total} units")
        require(head["earmarked"] >= 0, "queues_are_the_orders_that_wait", f"{sku}: {head}")


def _new_movements(changes: list[Change]) -> list[Item]:
    """The movements of one step; none when everything is looked at at once, which tells nothing of steps."""
    if any(change.entity == "product" and change.old is None for change in changes):
        return []
    return [change.new for change in changes if change.entity == "movement" and change.new and change.old is None]


@safety
def arrivals_serve_the_queue_first(books: Books, changes: list[Change]) -> None:
    """Units that come in go on sale only as far as nobody waits for them."""
    for sku in {item["sku"] for item in _new_movements(changes) if item["change"] > 0}:
        head = books.sku(sku).get("BACKORDERS", {"waiting": 0, "earmarked": 0})
        offered = sum(
            (change.new or {}).get("available", 0) - (change.old or {}).get("available", 0)
            for change in changes
            if change.entity == "stock" and change.key[0] == f"SKU#{sku}"
        )
        served = head["earmarked"] >= head["waiting"] or offered <= 0
        require(served, "arrivals_serve_the_queue_first", f"{sku}: {offered} put on sale while {head}")


@safety
def counts_leave_what_was_counted(books: Books, changes: list[Change]) -> None:
    """When a count is written down, its bin holds what was found."""
    for found in _new_movements(changes):
        if found["type"] == "count":
            place = books.sku(found["sku"]).get(f"LOCATION#{found['facility']}", {})
            holds = place.get(f"bin#{found['bin'] or 'DOCK'}", 0)
            name = "counts_leave_what_was_counted"
            require(holds == found["quantity"], name, f"{found['sku']}: {found['quantity']} found, {holds} on record")


@safety
def transit_is_accounted_for(books: Books, changes: list[Change]) -> None:
    """What left for another facility stands among the supplies until it is received, and then no more; both ends are
    movements."""
    touched = {change.key[0] for change in changes if change.entity == "transfer"}
    touched |= {
        change.key[1].replace("SUPPLY#transfer.", "TRANSFER#")
        for change in changes
        if change.key[1].startswith("SUPPLY#transfer.")
    }
    for pk in sorted(touched):
        item = books.items["InventoryTable"].get((pk, "TRANSFER"))
        if item is None:
            raise Violation("transit_is_accounted_for", f"{pk} is outside and was never shipped")
        of_sku = books.sku(item["sku"])
        outside = of_sku.get(f"SUPPLY#transfer.{item['transfer_id']}", {}).get("quantity", 0)
        under_way = item["state"] == "in_transit"
        due = item["quantity"] if under_way else 0
        require(outside == due, "transit_is_accounted_for", f"{pk}: {due} in transit, {outside} among the supplies")
        cause = f"transfer:{item['transfer_id']}"
        moved = {each["type"]: each["on_hand"] for each in starting(of_sku, "MOVEMENT#") if each["cause"] == cause}
        meant = {"transfer_out": -item["quantity"], **({} if under_way else {"transfer_in": item["received"]})}
        require(moved == meant, "transit_is_accounted_for", f"{pk}: moved {moved} instead of {meant}")


_COUNTERS = ("on_hand", "allocated", "unallocated", "damaged", "quarantined")


@safety
def nothing_negative(books: Books, changes: list[Change]) -> None:
    """No counter of units is below zero, and each place's counters add up."""
    for change in changes:
        item = change.new
        if item is None or change.table != "InventoryTable":
            continue
        if item["entity"] == "stock":
            require(item["available"] >= 0, "nothing_negative", f"{change.key}: {item['available']} available")
        if item["entity"] == "location":
            counters = {name: item[name] for name in _COUNTERS}
            bins = {name: units for name, units in item.items() if name.startswith("bin#")}
            require(min((*counters.values(), *bins.values())) >= 0, "nothing_negative", f"{change.key}: {item}")
            whole = sum(counters.values()) - counters["on_hand"]
            require(whole == counters["on_hand"], "nothing_negative", f"{change.key}: {counters} do not add up")
            require(sum(bins.values()) == whole, "nothing_negative", f"{change.key}: {bins} are not {whole} units")
            apart = (counters["damaged"], counters["quarantined"])
            kept = (bins.get("bin#DAMAGED", 0), bins.get("bin#QUARANTINE", 0))
            require(apart == kept, "nothing_negative", f"{change.key}: {apart} set apart, {kept} in their bins")


@safety
def lots_are_what_lies_in_bins(books: Books, changes: list[Change]) -> None:
    """No bin holds more of its lots than units; of a product told apart by lot, every unit is of one."""
    for change in changes:
        if change.entity != "location" or change.new is None:
            continue
        lots: Counter[str] = Counter()
        for name, units in change.new.items():
            if name.startswith("lot#"):
                require(units >= 0, "lots_are_what_lies_in_bins", f"{change.key}: {units} of {name}")
                lots[name.split("#")[1]] += units
        tracked = "lot" in books.sku(change.new["sku"]).get("PRODUCT", {}).get("track", ())
        for name in change.new:
            if name.startswith("bin#"):
                there, known = change.new[name], lots.pop(name.removeprefix("bin#"), 0)
                fits = known == there if tracked else known <= there
                require(fits, "lots_are_what_lies_in_bins", f"{change.key}: {there} in {name}, {known} of its lots")
        require(not +lots, "lots_are_what_lies_in_bins", f"{change.key}: {dict(lots)} in no bin")


@safety
def own_sales_never_oversold(books: Books, changes: list[Change]) -> None:
    """Only a marketplace's sale may be written down as oversold; ours only by what a picker then did not find, and
    when it is made of products that may be backordered, as the customer is told."""
    missed: dict[str, int] = defaultdict(int)
    for change in changes:
        if change.entity == "movement" and change.new and change.new["type"] == "short":
            missed[change.new["sku"]] += change.new["quantity"]
    for change in changes:
        if change.entity != "order" or change.new is None or change.new["channel"] != "web":
            continue
        before = (change.old or {}).get("oversold", {})
        made = change.new["version"] == 1
        if made:
            order = order_from_item(change.new)
            told = {each.line: each.quantity for each in order.backordered}
            waits = order.waiting()
            require(told == waits, "own_sales_never_oversold", f"{change.key[0]}: told of {told}, lacking {waits}")
        for sku, units in change.new.get("oversold", {}).items():
            more = units - before.get(sku, 0)
            may = more <= missed[sku] or (made and books.sku(sku)["PRODUCT"]["backorder"])
            require(may, "own_sales_never_oversold", f"{change.key[0]}: {more} more of {sku}")


@safety
def movements_have_causes(books: Books, changes: list[Change]) -> None:
    """What lies at a place changes only together with a movement or a dispatch, and by as much."""
    moved: dict[tuple[str, str], int] = defaultdict(int)
    explained: dict[tuple[str, str], int] = defaultdict(int)
    for change in changes:
        if change.entity == "location":
            place = change.new or change.old or {}
            old, new = change.old or {}, change.new or {}
            moved[place["sku"], place["facility"]] += new.get("on_hand", 0) - old.get("on_hand", 0)
        if change.entity == "movement" and change.new and change.old is None:
            item = change.new
            explained[item["sku"], item["facility"]] += item["on_hand"]
            told = bool(item["reason"] and item["cause"] and item["actor"])
            require(told, "movements_have_causes", f"{change.key} has no reason")
        if change.entity == "shipment" and change.new:
            before = change.old["status"] if change.old else ""
            # What is collected at a counter is shipped and delivered at once.
            parcel = parcels.shipment_from_item(change.new)
            if parcel.status in parcels.LEFT and before not in parcels.LEFT:
                for sku, units in parcel.required.items():
                    explained[sku, parcel.facility] -= units
    for spot, units in moved.items():
        require(
            units == explained[spot],
            "movements_have_causes",
            f"{spot}: on hand changed by {units}, explained are {explained[spot]}",
        )


# ---- orders --------------------------------------------------------------------------------------------------------


@safety
def legal_transitions(books: Books, changes: list[Change]) -> None:
    """An order moves only along its table, one version at a time, and is never lost."""
    for change in changes:
        if change.entity != "order":
            continue
        old, new = change.old, change.new
        if new is None:
            require(old is not None and old.get("committed") is False, "legal_transitions", f"{change.key[0]} vanished")
            continue
        if old is None:
            expected = {"placed"} if new["channel"] == "web" else {"confirmed"}
            require(new["status"] in expected, "legal_transitions", f"{change.key[0]} begins as {new['status']}")
            continue
        if old.get("committed") is False and new.get("committed") is False:
            continue
        require(
            new["version"] == old["version"] + 1,
            "legal_transitions",
            f"{change.key[0]}: version {old['version']} → {new['version']}",
        )
        if old["status"] != new["status"]:
            require(
                Status(new["status"]) in NEXT[Status(old["status"])],
                "legal_transitions",
                f"{change.key[0]}: {old['status']} → {new['status']}",
            )


@safety
def gapless_history(books: Books, changes: list[Change]) -> None:
    """Every version has its event, and the chain of hashes proves it."""
    for pk in _orders_in(changes):
        items = books.order(pk)
        order = items.get("ORDER")
        if order is None or order.get("committed") is False:
            continue
        try:
            history.verify(starting(items, "EVENT#"), order["head"], order["version"])
        except history.HistoryBroken as broken:
            raise Violation("gapless_history", f"{pk}: {broken}") from None


_APPEND_ONLY = {"event", "money", "movement", "inbox"}


@safety
def written_once(books: Books, changes: list[Change]) -> None:
    """History, money, movements and the inbox are only ever added to (DynamoDB's own clean-up of old ones aside)."""
    now = books.system.clock.now
    for change in changes:
        if change.entity in _APPEND_ONLY and change.old is not None:
            expired = change.new is None and change.old.get("ttl", now + 1) <= now
            require(expired, "written_once", f"{change.key} was {'removed' if change.new is None else 'changed'}")


@safety
def one_effect_per_event(books: Books, changes: list[Change]) -> None:
    """One event of a provider, one entry in the history."""
    for pk in _orders_in(changes):
        causes = [
            (event["cause"])
            for event in starting(books.order(pk), "EVENT#")
            if event["actor"] == "stripe" and event["cause"].startswith("evt_")
        ]
        require(len(causes) == len(set(causes)), "one_effect_per_event", f"{pk}: {causes}")


@safety
def one_order_per_sale(books: Books, changes: list[Change]) -> None:
    """A marketplace's order number stands on one order of ours."""
    new = [c.new for c in changes if c.entity == "order" and c.old is None and c.new and c.new.get("external_id")]
    if not new:
        return
    numbers = [(item["channel"], item["external_id"]) for _, item in books.orders() if item.get("external_id")]
    require(len(numbers) == len(set(numbers)), "one_order_per_sale", f"{sorted(numbers)}")


@safety
def open_orders_have_deadlines(books: Books, changes: list[Change]) -> None:
    """No order that somebody still has to act on is without a moment at which it is looked at again."""
    for change in changes:
        item = change.new
        if change.entity != "order" or item is None:
            continue
        waits = Status(item["status"]) in OPEN or item.get("effects") or item.get("holds")
        require(not waits or "next_deadline" in item, "open_orders_have_deadlines", f"{change.key[0]} {item['status']}")


# ---- money ---------------------------------------------------------------------------------------------------------


@safety
def ledger_sums(books: Books, changes: list[Change]) -> None:
    """What the order says of its money is what its ledger adds up to, and no more goes back than came."""
    for pk in _orders_in(changes):
        items = books.order(pk)
        if "ORDER" not in items:
            continue
        order = order_from_item(items["ORDER"])
        entries = [entry for entry in starting(items, "MONEY#") if entry["currency"] == order.currency]
        total = ledger.sums(entries)
        paid = order.payment
        said = (paid.captured, paid.refunded, paid.authorized)
        summed = (
            total["captured"],
            total["refunded"] - total["refund_failed"],
            total["authorized"] - total["released"] - total["drawn"],
        )
        require(said == summed, "ledger_sums", f"{pk}: says {said}, ledger {summed}")
        due = sum(item["amount"] for item in starting(items, "REFUND#") if item["status"] in STILL_DUE)
        require(paid.refund_due == due, "ledger_sums", f"{pk}: owes {paid.refund_due}, requested {due}")
        require(paid.refunded + paid.refund_due <= paid.captured, "ledger_sums", f"{pk}: {paid}")


@safety
def books_balance(books: Books, changes: list[Change]) -> None:
    """Every entry's debits equal its credits, and the accounts say what the order's sums say."""
    for pk in _orders_in(changes):
        items = books.order(pk)
        if "ORDER" not in items:
            continue
        entries = [entry for entry in starting(items, "MONEY#") if entry["currency"] == items["ORDER"]["currency"]]
        for entry in entries:
            require(not sum(entry["postings"].values()), "books_balance", f"{pk}: {entry['sk']} {entry['postings']}")
        paid = order_from_item(items["ORDER"]).payment
        accounts = ledger.balances(entries)
        payable = -accounts.get("refunds_payable", 0)
        require(payable == paid.refund_due, "books_balance", f"{pk}: payable {payable}, due {paid.refund_due}")
        require(accounts.get("authorizations", 0) == paid.authorized >= 0, "books_balance", f"{pk}: {accounts}, {paid}")


def stripe_money(system: System, order_id: str) -> tuple[int, int]:
    """What Stripe took and gave back for an order."""
    account = system.stripe.account
    intents = {i["id"]: i for i in account.all("payment_intent") if i["metadata"].get("order_id") == order_id}
    taken = sum(intent["amount_received"] for intent in intents.values())
    back = sum(
        refund["amount"]
        for refund in account.all("refund")
        if refund["payment_intent"] in intents and refund["status"] in ("succeeded", "pending")
    )
    return taken, back


def through_stripe(items: Mapping[str, Item]) -> tuple[int, int]:
    """What an order's ledger says that Stripe took and gave back; tills and people have their own entries."""
    total = ledger.sums(entry for entry in starting(items, "MONEY#") if entry["provider"] == "stripe")
    return total["captured"], total["refunded"] - total["refund_failed"]


def order_by_intent(system: System) -> dict[str, str]:
    """The orders that Stripe's payments are for."""
    return {each["id"]: each["metadata"].get("order_id", "") for each in system.stripe.account.all("payment_intent")}


def sent_back_unheard(system: System, items: Mapping[str, Item], order_id: str) -> int:
    """Refunds of an order that a bank has sent back, and we do not know it yet."""
    ours = order_by_intent(system)
    return sum(
        refund["amount"]
        for refund in system.stripe.account.all("refund")
        if refund["status"] == "failed"
        and ours[refund["payment_intent"]] == order_id
        and f"MONEY#refund_failed#{refund['id']}" not in items
    )


@safety
def decisions_stand(books: Books, changes: list[Change]) -> None:
    """What a bank has decided about a dispute is never taken back."""
    for change in changes:
        if change.entity == "dispute" and change.new and change.old and change.old["status"] in DECIDED:
            told = f"{change.key}: {change.old['status']} → {change.new['status']}"
            require(change.new["status"] == change.old["status"], "decisions_stand", told)


@safety
def ledger_never_ahead_of_stripe(books: Books, changes: list[Change]) -> None:
    """We never write down money that Stripe did not move, and Stripe never gives back more than we asked for."""
    for pk in _orders_in(changes):
        items = books.order(pk)
        if "ORDER" not in items or items["ORDER"]["channel"] != "web":
            continue
        captured, refunded = through_stripe(items)
        taken, back = stripe_money(books.system, pk.removeprefix("ORDER#"))
        require(captured <= taken, "ledger_never_ahead_of_stripe", f"{pk}: captured {captured}, Stripe {taken}")
        news = sent_back_unheard(books.system, items, pk.removeprefix("ORDER#"))
        told = f"{pk}: refunded {refunded}, Stripe {back}, sent back and not heard of {news}"
        require(refunded <= back + news, "ledger_never_ahead_of_stripe", told)
        due = [item for item in starting(items, "REFUND#") if item["status"] in STILL_DUE]
        asked = refunded + sum(item["amount"] for item in due if item["provider"] == "stripe")
        require(back <= asked, "ledger_never_ahead_of_stripe", f"{pk}: Stripe gave back {back}, asked for {asked}")


@safety
def paid_before_confirmed(books: Books, changes: list[Change]) -> None:
    """A shopper's order is confirmed, picked or shipped only on money that covers all of it."""
    for change in changes:
        new = change.new
        if change.entity != "order" or new is None or new["channel"] != "web":
            continue
        moved = change.old is None or change.old["status"] != new["status"]
        order = order_from_item(new)
        if moved and order.status is Status.CONFIRMED and not _accepted(books.order(change.key[0]), order.version):
            paid = order.payment.captured + order.payment.authorized + order.payment.credit
            require(
                paid >= order.totals.total, "paid_before_confirmed", f"{change.key[0]}: {paid} of {order.totals.total}"
            )
        shipped = sum(line.shipped for line in order.lines)
        before = sum(line.shipped for line in order_from_item(change.old).lines) if change.old else 0
        if shipped > before:
            owed = sum(pricing.value_of(line, line.shipped, line.cancelled) for line in order.lines)
            require(
                order.payment.settled >= owed, "paid_before_confirmed", f"{change.key[0]}: {order.payment} for {owed}"
            )
            require("payment" not in order.holds, "paid_before_confirmed", f"{change.key[0]} shipped while held")


def _accepted(items: Mapping[str, Item], version: int) -> bool:
    """Whether a person took responsibility for less money than was owed."""
    return bool(items.get(f"EVENT#{version:06d}", {}).get("type") == "HoldReleased")


# ---- parcels -------------------------------------------------------------------------------------------------------


@safety
def legal_parcel_moves(books: Books, changes: list[Change]) -> None:
    """A shipment moves only along its table and never backwards in time."""
    for change in changes:
        if change.entity != "shipment" or change.new is None or change.old is None:
            continue
        old, new = change.old["status"], change.new["status"]
        if old != new:
            allowed = parcels.NEXT[parcels.ShipmentStatus(old)]
            if change.new.get("ready_at") and old == "packed":
                # What is collected at a counter has left and arrived in one move.
                allowed |= {parcels.ShipmentStatus.DELIVERED}
            require(parcels.ShipmentStatus(new) in allowed, "legal_parcel_moves", f"{change.key}: {old} → {new}")


@safety
def tracking_never_goes_back(books: Books, changes: list[Change]) -> None:
    """What a carrier tells late or twice does not move a parcel to an earlier stage, or to an earlier scan of one."""
    from oms.fulfillment.carrier import TrackingStatus
    from oms.fulfillment.tracking import stage

    for change in changes:
        if change.entity != "shipment" or change.new is None or change.old is None or "tracking" not in change.old:
            continue
        old, new = change.old["tracking"], change.new.get("tracking", {})
        require(bool(new), "tracking_never_goes_back", f"{change.key}: {old['status']} was forgotten")
        before, after = stage(TrackingStatus(old["status"])), stage(TrackingStatus(new["status"]))
        told = f"{change.key}: {old['status']} at {old['at']} → {new['status']} at {new['at']}"
        require((after, new["at"]) >= (before, old["at"]), "tracking_never_goes_back", told)


@safety
def one_label_for_each_parcel(books: Books, changes: list[Change]) -> None:
    """No two parcels carry the same label, and a tracker leads to the parcel that carries its label."""
    for change in changes:
        if change.entity == "shipment" and change.new is not None and change.new.get("label", {}).get("tracker_id"):
            if change.new["status"] == "packed":
                continue
            tracker = books.items["OrdersTable"].get((f"TRACKER#{change.new['label']['tracker_id']}", "TRACKER"), {})
            require(
                tracker.get("shipment_id") == change.new["shipment_id"],
                "one_label_for_each_parcel",
                f"{change.key}: its tracker leads to {tracker.get('shipment_id')}",
            )


@safety
def one_parcel_per_unit(books: Books, changes: list[Change]) -> None:
    """No unit of an order is in two live parcels, and the order counts as shipped what its parcels carried."""
    for pk in _orders_in(changes):
        items = books.order(pk)
        shipments = [parcels.shipment_from_item(item) for item in starting(items, "SHIPMENT#")]
        if not shipments or "ORDER" not in items:
            continue
        order = order_from_item(items["ORDER"])
        live = [parcel for parcel in shipments if parcel.status is not parcels.ShipmentStatus.CANCELLED]
        for line in order.lines:
            for sku, each in line.units(1).items():
                inside = sum(
                    unit.quantity
                    for parcel in live
                    for unit in parcel.units
                    if unit.line == line.number and unit.sku == sku
                )
                allowed = (line.quantity - line.cancelled) * each
                require(
                    inside <= allowed, "one_parcel_per_unit", f"{pk} line {line.number}: {inside} of {allowed} {sku}"
                )
                left = sum(
                    unit.quantity
                    for parcel in live
                    if parcel.status in parcels.LEFT
                    for unit in parcel.units
                    if unit.line == line.number and unit.sku == sku
                )
                require(left == line.shipped * each, "one_parcel_per_unit", f"{pk} line {line.number}: {left} left")


@safety
def returns_never_exceed_what_left(books: Books, changes: list[Change]) -> None:
    """No more units of a line are claimed by returns or paid back than have left, and what a return counts came."""
    for pk in _orders_in(changes):
        items = books.order(pk)
        if "ORDER" not in items:
            continue
        order = order_from_item(items["ORDER"])
        claimed: dict[int, int] = defaultdict(int)
        for item in starting(items, "RETURN#"):
            found = return_from_item(item)
            for sku, units in found.expected(order).items():
                require(found.came(sku) <= units, "returns_never_exceed_what_left", f"{pk}: {found.came(sku)} of {sku}")
            if found.status in returning.OPEN:
                for each in found.lines:
                    claimed[each.line] += each.quantity
        for line in order.lines:
            gone = line.returned + line.credited
            told = f"{pk} line {line.number}: {gone} of {line.shipped}, {claimed[line.number]} claimed"
            require(line.returned >= 0 and gone <= line.shipped, "returns_never_exceed_what_left", told)
            require(claimed[line.number] <= line.returned, "returns_never_exceed_what_left", told)


@safety
def never_more_back_than_captured(books: Books, changes: list[Change]) -> None:
    """What was given back, is on its way, or pays for an exchange, was captured."""
    for pk in _orders_in(changes):
        if "ORDER" in books.order(pk):
            order = order_from_item(books.order(pk)["ORDER"])
            back = order.payment.refunded + order.payment.refund_due + order.moved_credit
            told = f"{pk}: {back} of {order.payment.captured}"
            require(back <= order.payment.captured, "never_more_back_than_captured", told)


@safety
def dead_orders_have_no_parcels(books: Books, changes: list[Change]) -> None:
    """Nobody picks, packs or ships for an order that is over."""
    for pk in _orders_in(changes):
        items = books.order(pk)
        if items.get("ORDER", {}).get("status") in {"cancelled", "expired"}:
            left = [one["sk"] for one in starting(items, "SHIPMENT#") if parcels.shipment_from_item(one).open]
            require(not left, "dead_orders_have_no_parcels", f"{pk}: {left} still open")


@safety
def allocated_units_are_in_parcels(books: Books, changes: list[Change]) -> None:
    """What a place has set aside is exactly what its live parcels wait for."""
    if not any(change.entity in {"location", "shipment"} for change in changes):
        return
    wanted: dict[tuple[str, str], int] = defaultdict(int)
    for item in books.items["OrdersTable"].values():
        if item["entity"] != "shipment":
            continue
        parcel = parcels.shipment_from_item(item)
        if (parcel.open and parcel.status.value != "planned") or parcel.owes_places:
            for sku, units in parcel.required.items():
                wanted[sku, parcel.facility] += units
    for item in books.items["InventoryTable"].values():
        if item["entity"] == "location":
            expected = wanted[item["sku"], item["facility"]]
            require(
                item["allocated"] == expected,
                "allocated_units_are_in_parcels",
                f"{item['sku']} at {item['facility']}: {item['allocated']} allocated, parcels wait for {expected}",
            )


@safety
def one_label_per_parcel(books: Books, changes: list[Change]) -> None:
    """A parcel that left carries a label that its carrier sold."""
    for change in changes:
        if change.entity == "shipment" and change.new and change.new["status"] == "shipped":
            parcel = parcels.shipment_from_item(change.new)
            require(parcel.label is not None, "one_label_per_parcel", f"{change.key} left without a label")


@safety
def done_tasks_saw_everything(books: Books, changes: list[Change]) -> None:
    """A parcel counts as picked (and packed) only when every unit was scanned."""
    for change in changes:
        if change.entity != "shipment" or change.new is None:
            continue
        parcel = parcels.shipment_from_item(change.new)
        for kind in ("pick", "pack"):
            if parcel.status in parcels.DONE_IN[kind]:
                require(
                    dict(parcel.scanned(kind)) == parcel.required,
                    "done_tasks_saw_everything",
                    f"{change.key} is {parcel.status}, {kind} saw {parcel.scanned(kind)} of {parcel.required}",
                )


@safety
def a_parcel_is_on_one_walk(books: Books, changes: list[Change]) -> None:
    """A parcel names at most one walk (nobody here has zones), which has not ended and knows the parcel."""
    touched: dict[str, Item] = {}
    for change in changes:
        if change.entity == "shipment" and change.new and change.new.get("walks"):
            touched[change.new["shipment_id"]] = change.new
        if change.entity == "walk" and change.new:
            for shipment_id in change.new["shipments"]:
                order_id, _, number = shipment_id.rpartition(".")
                item = books.order(f"ORDER#{order_id}").get(f"SHIPMENT#{int(number):03d}", {})
                if item.get("walks"):
                    touched[shipment_id] = item
    for shipment_id, item in touched.items():
        name = "a_parcel_is_on_one_walk"
        require(len(item["walks"]) == 1, name, f"{shipment_id} is on {item['walks']}")
        walk = books.items["OrdersTable"].get((f"WALK#{item['walks'][0]}", "WALK"))
        known = walk is not None and walk["state"] in walks.OPEN and shipment_id in walk["shipments"]
        require(known, name, f"{shipment_id} names {item['walks'][0]}, which is {walk and walk['state']}")


@safety
def a_unit_is_picked_once(books: Books, changes: list[Change]) -> None:
    """No walk gets more for a parcel than it needs, and no parcel has more than belongs in it."""
    for change in changes:
        if change.entity == "walk" and change.new:
            for stop in walks.walk_from_item(change.new).stops:
                over = {each: units for each, units in stop.got.items() if units > stop.need.get(each, 0)}
                require(not over, "a_unit_is_picked_once", f"{change.key[0]} at {stop.bin}: {over} too many")
        if change.entity == "shipment" and change.new:
            parcel = parcels.shipment_from_item(change.new)
            over = {sku: units for sku, units in parcel.picked.items() if units > parcel.required.get(sku, 0)}
            require(not over, "a_unit_is_picked_once", f"{change.key}: {over} picked of {parcel.required}")


@safety
def leases_are_never_shared(books: Books, changes: list[Change]) -> None:
    """A walk changes hands only after its lease, by the clock of whoever takes it, or when it was given up."""
    for change in changes:
        if change.entity != "walk" or change.new is None or change.old is None:
            continue
        before, after = walks.walk_from_item(change.old), walks.walk_from_item(change.new)
        if before.picker and after.picker and before.picker != after.picker:
            taken = from_text(after.lease_until) - timedelta(minutes=after.lease_minutes)
            told = f"{change.key[0]}: {after.picker} took it from {before.picker} before {before.lease_until}"
            require(taken >= from_text(before.lease_until), "leases_are_never_shared", told)


@safety
def work_in_process_is_counted(books: Books, changes: list[Change]) -> None:
    """A floor counts the units of the walks that have not ended, no more and no less."""
    floors = {change.new["facility"] for change in changes if change.entity == "walk" and change.new}
    floors |= {change.key[0].removeprefix("FLOOR#") for change in changes if change.entity == "floor"}
    for facility in floors:
        counted = books.items["OrdersTable"].get((f"FLOOR#{facility}", "FLOOR"), {}).get("units", 0)
        items = [books.items["OrdersTable"][key] for key in books.walks]
        units = sum(item["released"] for item in items if item["facility"] == facility)
        require(counted == units, "work_in_process_is_counted", f"{facility} counts {counted}, its walks {units}")


@safety
def coupons_are_what_live_orders_carry(books: Books, changes: list[Change]) -> None:
    """A coupon's uses, in all and by whom, are those of the orders that carry it and did not end, never over its
    limit."""
    codes = {change.key[0].removeprefix("COUPON#") for change in changes if change.key[0].startswith("COUPON#")}
    for change in changes:
        codes |= {told[0] for told in (change.new or {}).get("coupons", []) if change.entity == "order"}
    for code in codes:
        items = books.partitions["OrdersTable"].get(f"COUPON#{code}", {})
        live = [item for _, item in books.orders() if item["status"] not in ("cancelled", "expired")]
        carried = [
            told for item in live if item.get("committed", True) for told in item.get("coupons", []) if told[0] == code
        ]
        used = sum(item["used"] for item in starting(items, "USES#"))
        limit = items.get("COUPON", {}).get("limit", used)
        by = Counter(sk for told in carried for sk in told[4])
        counted = {sk: item["used"] for sk, item in items.items() if sk.startswith("BY#") and item["used"]}
        holds = used == len(carried) and used <= limit and counted == dict(by)
        told = f"{code} counts {used} of {limit} and {counted}, orders carry {len(carried)} and {dict(by)}"
        require(holds, "coupons_are_what_live_orders_carry", told)


@safety
def held_orders_do_not_leave(books: Books, changes: list[Change]) -> None:
    """No parcel leaves while anything holds its order."""
    for change in changes:
        if change.entity == "shipment" and change.new and change.new["status"] == "shipped":
            if change.old is None or change.old["status"] == "shipped":
                continue
            holds = books.order(change.key[0])["ORDER"].get("holds")
            require(not holds, "held_orders_do_not_leave", f"{change.key} left while held: {holds}")


# ---- channels ------------------------------------------------------------------------------------------------------


@safety
def channels_never_go_back(books: Books, changes: list[Change]) -> None:
    """What a channel acknowledged never becomes an older state of the record again."""
    for change in changes:
        if change.entity == "sync" and change.old and change.new:
            before, after = change.old.get("acknowledged_version", 0), change.new.get("acknowledged_version", 0)
            require(after >= before, "channels_never_go_back", f"{change.key}: version {before} → {after}")


@safety
def no_defects(books: Books, changes: list[Change]) -> None:
    """No exception that only a defect of ours explains."""
    require(not books.system.defects, "no_defects", "; ".join(books.system.defects))


# ---- what customers are told -----------------------------------------------------------------------------------------


@safety
def each_mail_once(books: Books, changes: list[Change]) -> None:
    """No two mails have one cause, and none was sent without a claim."""
    seen: set[tuple[str, str]] = set()
    for letter in books.system.cloud.ses.letters:
        key = (letter.tags["order"], letter.tags["mail"])
        require(key not in seen, "each_mail_once", f"{letter.subject}: twice to {key}")
        seen.add(key)
        claim = books.order(f"ORDER#{key[0]}").get(f"MAIL#{key[1].replace('-', '#')}")
        require(claim is not None, "each_mail_once", f"{letter.subject}: nobody claimed {key}")


@safety
def mails_tell_what_is_committed(books: Books, changes: list[Change]) -> None:
    """A mail is about an event of its order that calls for such a mail, and never about a marketplace's sale."""
    for change in changes:
        if change.entity != "mail" or change.new is None:
            continue
        items, mail = books.order(change.key[0]), change.new
        event = items.get(f"EVENT#{mail['event']:06d}")
        told = event is not None and event["type"] in KINDS[mail["kind"]].causes
        require(told, "mails_tell_what_is_committed", f"{change.key}: event {mail['event']} is {event}")
        channel = items["ORDER"]["channel"]
        require(channel not in CHANNELS_THAT_TELL, "mails_tell_what_is_committed", f"{change.key}: {channel}")


@safety
def logs_have_no_gaps(books: Books, changes: list[Change]) -> None:
    """A subscription's log is numbered from one to its head, and holds each event of an order once and in turn."""
    for pk in {change.key[0] for change in changes if change.key[0].startswith("WEBHOOK#")}:
        items = books.partitions["OrdersTable"][pk]
        entries = starting(items, "LOG#")
        numbers = [entry["seq"] for entry in entries]
        last = items["HEAD"]["last"]
        require(numbers == list(range(1, last + 1)), "logs_have_no_gaps", f"{pk}: head {last}, entries {numbers}")
        latest: dict[str, int] = {}
        for entry in entries:
            turn = entry["n"] > latest.get(entry["order_id"], 0)
            require(turn, "logs_have_no_gaps", f"{pk}: {entry['seq']} is event {entry['n']} out of turn")
            latest[entry["order_id"]] = entry["n"]


@safety
def subscribers_hear_in_turn(books: Books, changes: list[Change]) -> None:
    """What a subscriber hears for the first time is the number after the last one that it heard."""
    known = 0
    for heard in books.system.subscriber.heard:
        number = heard.told["sequence"]
        require(number <= known + 1, "subscribers_hear_in_turn", f"{number} after {known}")
        known = max(known, number)


# ---- at rest -------------------------------------------------------------------------------------------------------


@liveness
def every_order_ends(books: Books) -> None:
    """Every order is over, or a person has been told to look at it by a certain time."""
    for pk, item in books.orders():
        require(item.get("committed") is not False, "every_order_ends", f"{pk} is still a draft")
        over = item["status"] in {"completed", "cancelled", "expired"}
        held = bool(item.get("holds"))
        require(over or held, "every_order_ends", f"{pk} is {item['status']} for ever: {item.get('effects')}")


@liveness
def nobody_waits_beside_stock(books: Books) -> None:
    """Units that came in are with the orders that wait, or on sale; only a stream that lost records may leave a gap."""
    if any(kind == "stream_lost" for kind, _ in books.system.plane.struck):
        return
    for (pk, sk), head in books.items["InventoryTable"].items():
        if sk == "BACKORDERS":
            available = books.available(pk.removeprefix("SKU#"))
            idle = head["earmarked"] or (head["waiting"] and available)
            require(not idle, "nobody_waits_beside_stock", f"{pk}: {available} available, {head}")


@liveness
def no_work_left(books: Books) -> None:
    """Nothing that an order asked of the outside is undone."""
    for pk, item in books.orders():
        require(
            not item.get("effects") or bool(item.get("holds")),
            "no_work_left",
            f"{pk} {item['status']}: {item.get('effects')}",
        )


@liveness
def queues_are_empty(books: Books) -> None:
    """No message waits, in a queue or among the dead letters."""
    for queue in books.system.template.queues:
        left = books.system.cloud.messages(queue["QueueName"])
        require(
            not left,
            "queues_are_empty",
            f"{queue['QueueName']}: {[m['body'] for m in left][:3]}",
        )


@liveness
def money_agrees_with_stripe(books: Books) -> None:
    """Every cent that Stripe took is in the ledger, and kept only for orders that are alive or were fulfilled."""
    for pk, item in books.orders():
        if item["channel"] != "web":
            continue
        paid = order_from_item(item).payment
        taken, back = stripe_money(books.system, pk.removeprefix("ORDER#"))
        require(
            through_stripe(books.order(pk)) == (taken, back),
            "money_agrees_with_stripe",
            f"{pk}: {paid}, Stripe {taken}, {back}",
        )
        total = order_from_item(item).totals.total
        kept = paid.captured - paid.refunded - paid.disputed
        require(kept <= total or bool(item.get("holds")), "money_agrees_with_stripe", f"{pk}: kept {kept} of {total}")
        if item["status"] in {"cancelled", "expired"} and not item.get("holds"):
            # Who got everything back and then won at the bank has it twice: a loss, and none of ours to prevent.
            twice = paid.disputed > 0 and paid.refunded == paid.captured
            require(twice or not kept, "money_agrees_with_stripe", f"{pk} is {item['status']} and kept {kept}")


@liveness
def tenders_are_booked_once(books: Books) -> None:
    """What a till took is in the ledger, as much as it was and no more."""
    taken: defaultdict[str, int] = defaultdict(int)
    for (order_id, _), amount in books.system.tenders.items():
        taken[f"ORDER#{order_id}"] += amount
    for pk, _ in books.orders():
        entries = starting(books.order(pk), "MONEY#captured#")
        booked = sum(entry["amount"] for entry in entries if entry["provider"] in ("cash", "card_terminal"))
        require(booked == taken[pk], "tenders_are_booked_once", f"{pk}: booked {booked}, tills took {taken[pk]}")


@liveness
def disputes_agree_with_stripe(books: Books) -> None:
    """Every dispute of an order's payment is known with the bank's last word, and so is the money that it holds."""
    ours = order_by_intent(books.system)
    for dispute in books.system.stripe.account.all("dispute"):
        order_id = ours[dispute["payment_intent"]]
        item = books.order(f"ORDER#{order_id}").get(f"DISPUTE#{dispute['id']}", {})
        told = f"{order_id}: {dispute['status']} at Stripe, {item.get('status')} here"
        require(item.get("status") == dispute["status"], "disputes_agree_with_stripe", told)


@liveness
def dead_orders_cannot_be_paid(books: Books) -> None:
    """No intent of an order that is over can still be paid."""
    payable = {"requires_payment_method", "requires_confirmation", "requires_action", "requires_capture"}
    for pk, item in books.orders():
        if item["channel"] == "web" and item["status"] in {"cancelled", "expired"}:
            for intent in books.system.stripe.account.all("payment_intent"):
                if intent["metadata"].get("order_id") == pk.removeprefix("ORDER#"):
                    require(intent["status"] not in payable, "dead_orders_cannot_be_paid", f"{pk}: {intent['status']}")


@liveness
def channels_show_the_record(books: Books) -> None:
    """Every listing shows what its terms make of what may be promised."""
    from oms.inventory.model import Listing

    for (pk, sk), item in books.items["InventoryTable"].items():
        if item["entity"] != "listing":
            continue
        names = ("sku", "channel", "listing_id", "buffer", "percent", "max_listed", "end_when")
        listing = Listing(**{name: item[name] for name in names})
        target = listing.quantity_for(_sellable(books, item["sku"]))
        shown = books.system.cores[item["channel"]].shown(item["sku"])
        require(shown == min(target, 999), "channels_show_the_record", f"{pk} {sk}: shows {shown}, should {target}")


def _sellable(books: Books, sku: str) -> int:
    product = books.sku(sku).get("PRODUCT")
    kit = product["kit"] if product else {}
    if kit:
        return min(books.available(part) // each for part, each in kit.items())
    return books.available(sku)


@liveness
def every_marketplace_sale_is_here(books: Books) -> None:
    """What a marketplace sold, and did not cancel before we heard of it, is an order of ours."""
    known = {(item["channel"], item["external_id"]) for _, item in books.orders() if item.get("external_id")}
    for channel, numbers in books.system.sold.items():
        for number in numbers:
            report = books.system.cores[channel].order_report(number)
            require(
                (channel, number) in known or bool(report and report["cancelled"]),
                "every_marketplace_sale_is_here",
                f"{channel} {number} never became an order",
            )


def labels(system: System, reference: str) -> list[dict[str, Any]]:
    """Labels that were bought for a parcel and not given back."""
    bought = system.control("easypost", "GET", f"/_sim/labels?reference={reference}").json()
    return [label for label in bought if not label["refund_status"]]


@liveness
def marketplaces_know_their_parcels(books: Books) -> None:
    """A marketplace was told of every parcel of its orders, once."""
    for pk, item in books.orders():
        if not item.get("external_id"):
            continue
        left = [each for each in starting(books.order(pk), "SHIPMENT#") if each["status"] in parcels.LEFT]
        report = books.system.cores[item["channel"]].order_report(item["external_id"])
        if report and report["cancelled"]:
            continue
        numbers = sorted(parcel["tracking_number"] for parcel in (report or {}).get("shipments", []))
        ours = sorted(each["label"]["tracking_number"] for each in left)
        require(
            numbers == ours, "marketplaces_know_their_parcels", f"{pk}: shipped {ours}, the channel knows {numbers}"
        )


@liveness
def walks_end(books: Books) -> None:
    """Every walk has been picked or taken back."""
    require(not books.walks, "walks_end", f"{sorted(books.walks)} have not ended")


@liveness
def workflows_end(books: Books) -> None:
    """No execution runs for an order that is over."""
    for execution in books.system.workflows.running():
        item = books.order(f"ORDER#{execution.name[:36]}").get("ORDER", {})
        over = item.get("status") in {"completed", "cancelled", "expired"}
        require(
            not over, "workflows_end", f"{execution.name} runs in {execution.states[-1]} though {item.get('status')}"
        )


@liveness
def every_label_is_used(books: Books) -> None:
    """One label for each parcel that left, none for one that did not."""
    for item in list(books.items["OrdersTable"].values()):
        if item["entity"] == "shipment":
            parcel = parcels.shipment_from_item(item)
            count = len(labels(books.system, parcel.shipment_id))
            expected = {1} if parcel.status in parcels.LEFT else {0} if not parcel.open else {0, 1}
            require(
                count in expected,
                "every_label_is_used",
                f"{parcel.shipment_id} is {parcel.status} and has {count} labels",
            )


@liveness
def customers_were_told(books: Books) -> None:
    """What an order calls for was sent, or it is known why not; only a stream that lost records may leave a gap."""
    if any(kind == "stream_lost" for kind, _ in books.system.plane.struck):
        return
    now = datetime.fromtimestamp(books.system.clock.now, UTC)
    for pk, item in books.orders():
        items = books.order(pk)
        for due in due_messages(order_from_item(item), starting(items, "EVENT#"), now):
            mail = items.get(f"MAIL#{due.kind}#{due.about}#0")
            ended = mail is not None and mail["status"] in {"sent", "suppressed", "failed", "uncertain"}
            late = from_text(due.at) < now - TOO_LATE
            require(ended or late, "customers_were_told", f"{pk}: {due.kind} {due.about} is {mail}")


@liveness
def profiles_are_what_orders_say(books: Books) -> None:
    """Each customer's figures are the sum over their orders; only a stream that lost records may leave a gap."""
    if any(kind == "stream_lost" for kind, _ in books.system.plane.struck):
        return
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for _, item in books.orders():
        order = order_from_item(item)
        if order.status in (Status.PLACED, Status.EXPIRED) or not order.committed or not order.customer.get("name"):
            continue
        total = said[order.customer["id"]]
        if order.status is Status.CANCELLED:
            total["cancelled"] += 1
            continue
        total["orders"] += 1
        total["units"] += sum(line.quantity - line.cancelled - line.returned for line in order.lines)
        total[order.currency] += order.payment.captured - order.payment.refunded
    kept: dict[str, Counter[str]] = {}
    for item in books.items["OrdersTable"].values():
        if item["entity"] == "person":
            for name, identity in item["identities"].items():
                figures = identity["figures"]
                counted = {each: figures.get(each, 0) for each in ("orders", "cancelled", "units")}
                kept[name] = Counter({**counted, **figures.get("spent", {})})
    for name in sorted(said.keys() | kept.keys()):
        # Counters are equal when they differ in nothing but zeros.
        same = said.get(name, Counter()) == kept.get(name, Counter())
        require(same, "profiles_are_what_orders_say", f"{name}: {said.get(name)} is kept as {kept.get(name)}")


@liveness
def subscribers_heard_everything(books: Books) -> None:
    """Every number of the log has arrived."""
    for (pk, sk), item in books.items["OrdersTable"].items():
        if sk == "HEAD" and pk.startswith("WEBHOOK#"):
            heard = {each.told["sequence"] for each in books.system.subscriber.heard}
            missing = sorted(set(range(1, item["last"] + 1)) - heard)
            require(not missing, "subscribers_heard_everything", f"{pk}: {missing} never arrived")


class Inspector:
    """Runs the checkers of one run."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.books = Books(system)
        self._writes = -1
        self.looks = 0
        self.after_change: list[Callable[[Books], None]] = []
        """Told of every state, for checks that follow one request."""

    def look(self) -> None:
        """Check safety, if anything was written since the last look."""
        if self.system.cloud.writes == self._writes and not self.system.defects:
            return
        self._writes = self.system.cloud.writes
        changes = self.books.advance()
        self.looks += 1
        if not changes and not self.system.defects:
            return
        for check in SAFETY.values():
            check(self.books, changes)
        for told in self.after_change:
            told(self.books)

    def look_at_everything(self) -> None:
        """Check safety on the tables as they are, as if all of it had just been written."""
        self.books.reread()
        everything = [
            Change(table, key, None, item) for table, items in self.books.items.items() for key, item in items.items()
        ]
        skipped = {"own_sales_never_oversold", "legal_transitions", "movements_have_causes", "paid_before_confirmed"}
        for name, check in SAFETY.items():
            if name not in skipped:
                check(self.books, everything)

    def at_rest(self) -> None:
        """Check liveness."""
        self.books.reread()
        for check in LIVENESS.values():
            check(self.books)
