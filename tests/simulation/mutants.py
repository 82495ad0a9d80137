"""Our own code, broken on purpose: each mutant drops one thing that a promise rests on, and must be noticed.

A mutant is a piece of source and what to put in its place. The changed module is compiled and its functions get the new
code in a forked process; then the pairs that concern it are searched, and after them seeds are run, until a checker
speaks. A mutant that survives is a hole in the checks; one whose source is gone must be rewritten.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import re
import sys
import time
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.simulation import system as systems
from tests.simulation.pairs import PAIRS, search
from tests.simulation.template import ROOT
from tests.simulation.world import World

LAYER = ROOT / "layers" / "common"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One way to break the code. ``module`` is ``oms.…`` or ``functions/…``; ``pairs`` is a part of pairs' names."""

    name: str
    module: str
    old: str
    new: str
    pairs: str = ""
    seeds: int = 60
    also: tuple[tuple[str, str, str], ...] = ()
    """Further changes, where two layers guard the same promise and only their loss together can be noticed."""


MUTANTS = (
    # ---- placing and stock
    Mutant(
        "an order's id is random instead of derived from its key",
        "oms.orders.placing",
        "order_id = order_id_for(WEB, key)",
        "order_id = order_id_for(WEB, key + str(uuid.uuid4()))",
        "place with one key",
    ),
    Mutant(
        "a key may be used for another request",
        "oms.orders.placing",
        "if found.request_digest != digest:",
        "if False:",
        seeds=120,
    ),
    Mutant(
        "a repeat does not meet its own order",
        "oms.orders.reservation",
        'def _raise_if_exists(self, order_id: str, failed: ConditionsFailed) -> None:\n        if failed.of("order"):',
        "def _raise_if_exists(self, order_id: str, failed: ConditionsFailed) -> None:\n        if False:",
        "place with one key",
    ),
    Mutant(
        "a marketplace's sale is refused when stock is short",
        "oms.orders.placing",
        "may_oversell=True,",
        "may_oversell=False,",
        "callback ‖ place",
    ),
    Mutant(
        "a marketplace's money is not written down",
        "oms.orders.placing",
        "money = (ledger.append(self.orders.table, order_id, entry, now),)",
        "money = ()",
        "callback ‖ the same",
    ),
    Mutant(
        "stock is taken without a condition",
        "oms.inventory.store",
        '"available >= :q",\n            names=names',
        '"attribute_exists(pk)",\n            names=names',
        "last unit",
    ),
    Mutant(
        "a sale is refused when its home stripe is empty",
        "oms.orders.reservation",
        "if self.products[sku].stripe_span == 1 or not self._covered(",
        "if True or (",
        "steal",
        also=(("oms.orders.reservation", "            if self._covered(sku, stock[sku]):", "            if False:"),),
    ),
    Mutant(
        "whoever joins the queue while units come in is overlooked",
        "oms.inventory.backorders",
        """        conditions.append("version = :seen")\n        values[":seen"] = seen.version""",
        "        pass",
        "receive ‖",
        also=(
            (
                "oms.inventory.backorders",
                'return [inventory.table.check("queue", (_pk(product.sku), QUEUE), unchanged, values=values), *gives]',
                "return gives",
            ),
        ),
    ),
    Mutant(
        "what comes in is not kept for those who wait",
        "oms.inventory.backorders",
        "kept = min(quantity, max(0, queue.waiting - queue.earmarked))",
        "kept = 0",
        "waited for",
    ),
    Mutant(
        "the queue is served the wrong way round",
        "oms.inventory.backorders",
        "{_TOP_SCORE - min(score, _TOP_SCORE):04d}",
        "{min(score, _TOP_SCORE):04d}",
        "different priorities",
    ),
    Mutant(
        "a count is written over what changed since",
        "oms.inventory.movements",
        "delta, {home: lies})",
        "delta)",
        "count of the bin ‖ receive",
    ),
    Mutant(
        "units in transit are not among the supplies",
        "oms.inventory.transfers",
        "                supplies.put_supply(self.inventory, shipping.sku, supply, now),\n",
        "",
        "transfer",
    ),
    Mutant(
        "an order is created though it exists",
        "oms.orders.store",
        'condition="attribute_not_exists(pk)", values=None)',
        'condition="attribute_not_exists(pk) OR attribute_exists(pk)", values=None)',
        "place with one key",
        also=(("oms.orders.store", 'self.table.put("event", entry),', 'self.table.put("event", entry, None),'),),
    ),
    Mutant(
        "a transaction is split into its actions",
        "oms.runtime.dynamo",
        "answer = self.client.transact_write_items(TransactItems=[write.action for write in writes], **extra)",
        "answer = [self.client.transact_write_items(TransactItems=[write.action], **extra) for write in writes][-1]",
        "last unit",
    ),
    Mutant(
        "a conflict counts as success",
        "oms.runtime.dynamo",
        "                self.back_off(attempt)\n                continue\n            if self.consumed:",
        "                return\n            if self.consumed:",
        seeds=200,
    ),
    Mutant(
        "stock of an ended order is not given back",
        "oms.orders.ending",
        "after, gives = self.reservations.release(after, now)\n",
        "gives = []\n",
        "cancel ‖ cancel",
    ),
    Mutant(
        "cancelled units stay set aside for their parcel",
        "oms.fulfillment.withdrawing",
        "in sorted((+freed).items())",
        "in ()",
        "cancel a line ‖ scan",
    ),
    Mutant(
        "a return claims units that another return has claimed",
        "oms.orders.returns",
        "after = _claimed(order, {line.line: line.quantity for line in asked.lines})",
        "after = order",
        "return ‖ return",
    ),
    Mutant(
        "a return is settled twice",
        "oms.orders.returns",
        "if found.status not in OPEN:\n                return None\n            return self._settled",
        "return self._settled",
        "return complete",
        also=(("oms.orders.returning", "if status not in NEXT[self.status]:", "if False:"),),
    ),
    Mutant(
        "what is on its way back already may be given back again",
        "oms.orders.crediting",
        "payment.captured - payment.refunded - payment.refund_due - payment.disputed - order.moved_credit",
        "payment.captured",
        "goodwill",
        also=(
            (
                "oms.orders.refunds",
                "amount = min(amount, payment.captured - payment.refunded - payment.refund_due - payment.disputed)",
                "amount = min(amount, payment.captured)",
            ),
        ),
    ),
    Mutant(
        "an edit is carried out on an order that has changed since its preview",
        "oms.orders.editing",
        "if preview != preview_of(order, edit):",
        "if False:",
        "edit ‖ cancel",
    ),
    Mutant(
        "an edit takes no stock",
        "oms.orders.editing",
        'writes = [*writes, *(self.inventory.take(take, f"order:{order.order_id}", now) for take in takes)]',
        "writes = [*writes]",
        "edit ‖ place",
    ),
    Mutant(
        "cancelled units stay in the parcel",
        "oms.fulfillment.withdrawing",
        "smaller = replace(shipment, units=units_of(order, kept))",
        "smaller = shipment",
        "cancel a line ‖ scan",
    ),
    Mutant(
        "stock is given back twice",
        "oms.orders.ending",
        "event, [*gives, *stops, *refund])",
        "event, [*gives, *stops, *refund, self.orders.table.transact(gives)][:-1])",
        "cancel ‖ cancel",
    ),
    Mutant(
        "a movement has no marker for its key",
        "oms.inventory.movements",
        "writes = [_marker(inventory, movement, record), *writes_of(inventory, product, movement, effect), *more]",
        "writes = [*writes_of(inventory, product, movement, effect), *more]",
        "receive ‖ receive",
    ),
    Mutant(
        "a movement leaves no journal",
        "oms.inventory.movements",
        "writes = [journal(inventory, record_of(movement, effect))]",
        "writes = []",
        "adjust",
    ),
    Mutant(
        "promised units are adjusted away",
        "oms.inventory.movements",
        "if sum(stock) < -change:",
        "if False:",
        "adjust",
    ),
    # ---- money
    Mutant(
        "an event is not claimed in the inbox",
        "oms.payments.apply",
        "return replace(change, writes=[*change.writes, self.orders.inbox(PROVIDER, fact.source, now)])",
        "return change",
        "declined webhook",
    ),
    Mutant(
        "captured money is not in the ledger",
        "oms.payments.apply",
        "writes = [ledger.append(self.orders.table, order.order_id, entry, now)]",
        "writes = []",
        "pay ‖ cancel",
    ),
    Mutant(
        "an order is confirmed whatever was paid",
        "oms.payments.apply",
        "if fact.amount not in expected:\n                reason",
        "if False:\n                reason",
        seeds=120,
    ),
    Mutant(
        "a late payment confirms without stock",
        "oms.payments.apply",
        "takes = None if fact.amount != order.totals.total else self._retake(order, now)",
        "takes = []",
        "pay ‖ expire",
    ),
    Mutant(
        "money for a cancelled order is kept",
        "oms.payments.apply",
        'return self._give_back(order, fact, came, "the order was cancelled", event, writes, now)',
        "return Change(order, event, writes)",
        "pay ‖ cancel",
    ),
    Mutant(
        "an order paid twice keeps both",
        "oms.payments.apply",
        "if came and paid_before >= order.totals.total",
        "if False and paid_before >= order.totals.total",
        seeds=200,
        also=(("oms.payments.apply", "surplus = min(came, overpaid(order))", "surplus = 0"),),
    ),
    Mutant(
        "what came beyond what is owed is kept",
        "oms.payments.apply",
        "surplus = min(came, overpaid(order))",
        "surplus = 0",
        "capture ‖ cancel a line",
    ),
    Mutant(
        "every attempt to renew an authorisation asks the bank again",
        "oms.payments.settle",
        "key=f\"renew:{order.order_id}:{item['intent']}\"",
        'key=str(__import__("uuid").uuid4())',
        "renew ‖ renew",
        also=(("oms.payments.gateway", '.get("renews") == intent_id', '.get("renews") == "nothing"'),),
    ),
    Mutant(
        "a capture's key does not say the sum",
        "oms.payments.capturing",
        'key = f"capture:{intent.id}:{cause}:{intent.amount_received + amount}"',
        'key = f"capture:{intent.id}:{cause}"',
        "capture once more",
    ),
    Mutant(
        "a dispute moves back",
        "oms.payments.news",
        '(item["status"] == dispute.status or item["status"] in DECIDED)',
        'item["status"] == dispute.status',
        "dispute opened",
        also=(
            (
                "oms.payments.news",
                'status = item["status"] if item and item["status"] in DECIDED else dispute.status',
                "status = dispute.status",
            ),
        ),
    ),
    Mutant(
        "a tender that is sent again is refused",
        "oms.payments.tenders",
        'if self.orders.has_seen("tender", once):\n                return None',
        'if self.orders.has_seen("tender", once):\n                once_more = True',
        "tender ‖",
    ),
    Mutant(
        "a renewed authorisation is never let go",
        "oms.payments.settle",
        'self._apply(order, self.gateway.cancel_intent(item["intent"]))',
        "pass",
        "renew ‖ renew",
    ),
    Mutant(
        "a refund that a bank sent back is booked as often as it is told",
        "oms.payments.news",
        'if status is None or status == item["status"] or status not in NEXT[item["status"]]:',
        "if status is None:",
        "refund.failed ‖",
        also=(
            (
                "oms.payments.news",
                '"refund_failed", PROVIDER, refund.id, refund.amount',
                '"refund_failed", PROVIDER, refund.id + str(order.version), refund.amount',
            ),
        ),
    ),
    Mutant(
        "a refund has a new key each time",
        "oms.payments.settle",
        "refund_id=attempt_id(item), reason",
        'refund_id=attempt_id(item) + str(__import__("uuid").uuid4()), reason',
        "refund ‖ refund",
    ),
    Mutant(
        "a sent refund is not in the ledger",
        "oms.payments.settle",
        "ledger.append(self.orders.table, order_id, entry, now),\n                    mark",
        "mark",
        "refund ‖ refund",
    ),
    Mutant(
        "more is refunded than is left",
        "oms.orders.refunds",
        "amount = min(amount, payment.captured - payment.refunded - payment.refund_due - payment.disputed)",
        "amount = min(amount, payment.captured)",
        "cancel a line ‖ cancel all",
        also=(("oms.orders.refunds", 'left[refund["intent"]] -= refund["amount"]', 'left[refund["intent"]] -= 0'),),
    ),
    Mutant(
        "a cancelled order's money is not refunded",
        "oms.orders.ending",
        "after, refund = request_refund(self.orders.table, after, order.payment.captured, reason, now)",
        "refund = []",
        "pay ‖ cancel",
    ),
    Mutant(
        "a dead order's intent stays payable",
        "oms.orders.ending",
        "if not order.external_id and order.payment.captured < order.totals.total:",
        "if False:",
    ),
    Mutant(
        "a webhook's signature is not checked",
        "oms.payments.gateway",
        "if not any(_signed_with(secret, body, signature) for secret in self._webhook_secrets):",
        "if False:",
        seeds=120,
    ),
    # ---- the life of an order
    Mutant(
        "a paid order expires",
        "oms.orders.ending",
        "if order.status is not Status.PLACED or order.expires_at > to_text(self.clock()):",
        "if order.status in (Status.CANCELLED, Status.EXPIRED) or order.expires_at > to_text(self.clock()):",
        "pay ‖ expire",
    ),
    Mutant(
        "a line is cancelled once for every request",
        "oms.orders.ending",
        "return Change(after, replace(event, data=data), [*gives, *refund, *inbox])",
        "return Change(after, replace(event, data=data), [*gives, *refund])",
        "cancel a line",
    ),
    Mutant(
        "an order that has left is cancelled",
        "oms.orders.ending",
        "or any(line.shipped for line in order.lines):\n            raise _gone()",
        "and False:\n            raise _gone()",
        "ship ‖ cancel",
        also=(
            ("oms.fulfillment.shipments", "if any(shipment.status in LEFT for shipment in shipments):", "if False:"),
        ),
    ),
    Mutant(
        "parcels of a cancelled order stay",
        "oms.orders.ending",
        "[*gives, *stops, *refund])",
        "[*gives, *refund])",
        "allocate ‖ cancel",
    ),
    Mutant(
        "the workflow of a cancelled order runs on",
        "oms.orders.ending",
        "if order.status is Status.IN_FULFILLMENT:\n            after = after.with_effects(Effect.STOP_FULFILLMENT)",
        "if False:\n            after = after.with_effects(Effect.STOP_FULFILLMENT)",
        seeds=120,
    ),
    Mutant(
        "the version of an order is not compared",
        "oms.orders.store",
        'condition = "version = :seen" + (',
        'condition = "(version = :seen OR version <> :seen)" + (',
        "cancel ‖ cancel",
        also=(("oms.orders.store", 'self.table.put("event", entry),', 'self.table.put("event", entry, None),'),),
    ),
    Mutant(
        "the history's hashes are not chained",
        "oms.orders.store",
        "head = history.link(order.head, number, at, told)",
        'head = history.link(b"", number, at, told)',
        "webhook ‖ the same",
    ),
    Mutant(
        "a change leaves no event",
        "oms.orders.store",
        '            self.table.put("event", entry),\n',
        "",
        "cancel ‖ cancel",
    ),
    Mutant(
        "a confirmed order has no deadline",
        "oms.orders.store",
        "    if deadline:\n",
        "    if deadline and order.status is Status.PLACED:\n",
        "allocate ‖ cancel",
    ),
    Mutant(
        "nobody is told of refunds to make",
        "functions/place_order/relay.py",
        "if wants_payment_work(effects):",
        "if False:",
        seeds=120,
    ),
    Mutant(
        "overdue work is not driven on",
        "oms.orders.sweeping",
        "self.orders.change(order_id, self._drive_on, now)",
        "pass",
        seeds=200,
    ),
    # ---- the warehouse
    Mutant(
        "a parcel leaves on no money",
        "oms.fulfillment.dispatch",
        "        if order.payment.settled < needed:\n            return",
        "        if False:\n            return",
        "not paid for",
        also=(
            (
                "oms.fulfillment.dispatch",
                "        if order.payment.settled < needed:\n            self",
                "        if False:\n            self",
            ),
            (
                "oms.fulfillment.dispatch",
                'return Change(after, event, writes, PAID_FOR, {":needed": needed})',
                "return Change(after, event, writes)",
            ),
        ),
    ),
    Mutant(
        "a held order leaves",
        "oms.fulfillment.dispatch",
        "            require_released(order)\n            left = replace(",
        "            left = replace(",
        "ship ‖ hold",
    ),
    Mutant(
        "a parcel leaves and its units stay on the books",
        "oms.fulfillment.dispatch",
        "inventory.dispatch(sku, shipment.facility, units, now) for sku, units in shipment.required.items()",
        "inventory.dispatch(sku, shipment.facility, units, now) for sku, units in ()",
        "ship ‖ ship",
    ),
    Mutant(
        "what has left is not counted on the order's lines",
        "oms.fulfillment.dispatch",
        "replace(line, shipped=line.shipped + carried.get(line.number, 0))",
        "replace(line, shipped=line.shipped)",
        "ship ‖ ship",
    ),
    Mutant(
        "the carrier's shipment is not written down before a label is bought",
        "oms.fulfillment.dispatch",
        "return replace(seen, carrier_shipment_id=quote.carrier_shipment_id)",
        "return None",
        "ship ‖ ship",
    ),
    Mutant(
        "units are allocated to two parcels",
        "oms.fulfillment.allocation",
        "        if shipment.open:\n            for number, units in shipment.lines(order).items():",
        "        if False:\n            for number, units in shipment.lines(order).items():",
        seeds=200,
    ),
    Mutant(
        "a wrong item is taken into a parcel",
        "oms.fulfillment.floor",
        "elif wanted is None:",
        "elif False:",
        seeds=120,
    ),
    Mutant(
        "more units are scanned than belong in a parcel",
        "oms.fulfillment.floor",
        'elif scanned.quantity > wanted["remaining"]:',
        "elif False:",
        "another scan",
    ),
    Mutant(
        "a scan sent again counts again",
        "oms.fulfillment.floor",
        "known = next((scan for scan in shipment.scans if scan.key == marker), None) if marker else None",
        "known = None",
        "the same scan",
    ),
    Mutant(
        "a task is completed without its scans",
        "oms.fulfillment.floor",
        "if lacking:",
        "if False:",
        "complete ‖",
    ),
    Mutant(
        "missing units stay on the books",
        "oms.fulfillment.floor",
        "oversold = {**order.oversold, sku: order.oversold.get(sku, 0) + quantity}",
        "oversold = dict(order.oversold)",
        "short ‖ cancel",
    ),
    Mutant(
        "the marketplace is not told of its parcel",
        "oms.fulfillment.confirmation",
        "                self._tell(order, shipment)\n",
        "",
        seeds=60,
    ),
    Mutant(
        "a label of a parcel that will not leave is kept",
        "oms.fulfillment.voiding",
        "carrier.void(spare_label)",
        "pass",
        "a parcel with a label",
    ),
    Mutant(
        "a carrier's late word moves a parcel back",
        "oms.fulfillment.tracking",
        "    return after == before and told.at > seen.at and told.status not in FINAL\n",
        "    return True\n",
        "carrier ‖ carrier",
    ),
    Mutant(
        "a marketplace that refuses a confirmation is asked for ever",
        "oms.fulfillment.confirmation",
        "self._give_up(order_id, str(refused))\n                return",
        "raise",
        seeds=120,
    ),
    Mutant(
        "a walk is taken from whoever has it",
        "oms.fulfillment.walking",
        'if walk.state == "open" and not walk.held_by(now):',
        'if walk.state == "open":',
    ),
    Mutant(
        "a walk that has ended stays in process",
        "oms.fulfillment.walking",
        'return replace(seen, state="picked", lease_until=""), [self.walks.less_in_process(seen), *back]',
        'return replace(seen, state="picked", lease_until=""), []',
    ),
    Mutant(
        "a scan on a walk counts as often as it is sent",
        "oms.fulfillment.walking",
        "known = next((scan for scan in walk.scans if scan.key == marker), None) if marker else None",
        "known = None if marker else next((scan for scan in walk.scans if scan.key == marker), None)",
    ),
    Mutant(
        "a parcel that was cancelled stays on its walk",
        "oms.fulfillment.shipments",
        "walks=() if stops else self.walks)",
        "walks=self.walks)",
    ),
    # ---- channels
    Mutant(
        "a sale whose callback is lost is never found",
        "oms.channels.importing",
        "for external in self.channel(name).orders_since(mark):",
        "for external in ():",
        seeds=200,
        also=(("oms.channels.sync", "for order in self.channel.orders_since(since):", "for order in ():"),),
    ),
    Mutant(
        "two runs push one listing at a time",
        "oms.inventory.store",
        '"attribute_not_exists(lease_until) OR lease_until < :now OR lease_owner = :owner"',
        '"attribute_not_exists(nothing) OR lease_until < :now OR lease_owner = :owner"',
        "sync ‖ receive ‖ sync",
    ),
    Mutant(
        "a quantity is acknowledged and never pushed",
        "oms.channels.sync",
        "results.update((result.sku, result) for result in self.channel.push_quantities(rows))",
        "results.update((row.listing.sku, RowResult(row.listing.sku, True, row.quantity)) for row in rows)",
        "sync ‖ sync",
    ),
)


# ---- breaking ------------------------------------------------------------------------------------------------------


class Stale(Exception):
    """The source that a mutant changes is not there any more."""


def break_code(mutant: Mutant) -> None:
    """Change the code of this process."""
    changes: dict[str, list[tuple[str, str]]] = {}
    for module, old, new in ((mutant.module, mutant.old, mutant.new), *mutant.also):
        changes.setdefault(module, []).append((old, new))
    for module, pieces in changes.items():
        path = ROOT / module if module.startswith("functions/") else LAYER / f"{module.replace('.', '/')}.py"
        source = path.read_text()
        for old, new in pieces:
            source = _replaced(source, old, new, f"{mutant.name}, {path.relative_to(ROOT)}")
        compiled = compile(source, str(path), "exec")
        if module.startswith("functions/"):
            systems._environments.replace(path, compiled)
        else:
            _transplant(importlib.import_module(module), compiled)


def _replaced(source: str, old: str, new: str, where: str) -> str:
    """The source with one piece changed; line breaks may have moved."""
    if source.count(old) == 1:
        return source.replace(old, new)
    loose = re.compile(r"\s+".join(re.escape(word) for word in old.split()))
    if len(loose.findall(source)) != 1:
        raise Stale(f"{where}: {len(loose.findall(source))} places for {old!r}")
    return loose.sub(lambda _: new.strip(), source)


def _transplant(module: types.ModuleType, compiled: types.CodeType) -> None:
    """Give every function of a loaded module the code that it has in the changed source."""
    codes = {code.co_qualname: code for code in _codes(compiled)}
    for function in _functions(module):
        code = codes.get(function.__qualname__)
        if code is not None and code.co_freevars == function.__code__.co_freevars:
            function.__code__ = code


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _codes(constant)


def _functions(module: types.ModuleType) -> Iterator[types.FunctionType]:
    for holder in [module, *(entry for entry in vars(module).values() if isinstance(entry, type))]:
        for member in vars(holder).values():
            for inner in (
                member,
                getattr(member, "__func__", None),
                getattr(member, "fget", None),
                member.func if isinstance(member, cached_property) else None,
                getattr(member, "__wrapped__", None),
            ):
                if isinstance(inner, types.FunctionType) and inner.__module__ == module.__name__:
                    yield inner


# ---- noticing ------------------------------------------------------------------------------------------------------


def notice(mutant: Mutant, first_seed: int = 0) -> tuple[int, str]:
    """What noticed the mutant and by which seed (0: a pair did); empty if nothing did."""
    break_code(mutant)
    seed = 0
    try:
        for pair in PAIRS if not first_seed else ():
            if mutant.pairs and mutant.pairs in pair.name:
                finding = search(pair, stop_at_first=True)
                if finding.violations:
                    return 0, f"pair after {finding.runs} runs: {finding.violations[0][:160]}"
        for seed in range(max(1, first_seed), mutant.seeds + 1):
            result = World(seed).run()
            if result.violation:
                return seed, f"seed {seed}: {result.violation[:160]}"
    except Exception as error:  # the broken code broke the story itself: noticed as well
        return seed, f"{type(error).__name__}: {str(error)[:160]}"
    return 0, ""


def _in_child(mutant: Mutant, first_seed: int, pipe: Any) -> None:
    warnings.filterwarnings("ignore")
    try:
        pipe.send(("", *notice(mutant, first_seed)))
    except Stale as stale:
        pipe.send((str(stale), 0, ""))
    pipe.close()


@dataclass(slots=True)
class _Trial:
    mutant: Mutant
    child: Any
    pipe: Any
    started: float


def judge(mutants: tuple[Mutant, ...], processes: int) -> Iterator[tuple[Mutant, str, str, float]]:
    """Every mutant with what was wrong with it, what noticed it, and the seconds it took; forked from here, so that
    everything is imported once. A seed that fails with the whole code as well notices nothing."""
    context = multiprocessing.get_context("fork")
    World(0, faults=False).run()
    sound: dict[int, bool] = {0: True}
    waiting = [(mutant, 0) for mutant in mutants]
    running: list[_Trial] = []
    while waiting or running:
        while waiting and len(running) < processes:
            mutant, first_seed = waiting.pop(0)
            here, there = context.Pipe(duplex=False)
            child = context.Process(target=_in_child, args=(mutant, first_seed, there))
            child.start()
            there.close()
            running.append(_Trial(mutant, child, here, time.perf_counter()))
        for trial in list(running):
            if not trial.pipe.poll(0.05):
                continue
            try:
                stale, seed, noticed = trial.pipe.recv()
            except EOFError:
                stale, seed, noticed = "", 0, "the process died"
            trial.child.join()
            running.remove(trial)
            if seed not in sound:
                sound[seed] = not World(seed).run().violation
            if sound[seed]:
                yield trial.mutant, stale, noticed, time.perf_counter() - trial.started
            else:
                waiting.insert(0, (trial.mutant, seed + 1))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    chosen = tuple(mutant for mutant in MUTANTS if options.only in mutant.name)
    bad = 0
    started = time.perf_counter()
    for mutant, stale, noticed, seconds in judge(chosen, options.processes):
        bad += not noticed
        word = "killed" if noticed else "STALE" if stale else "SURVIVED"
        print(f"{word:8s} {seconds:5.1f} s  {mutant.name}: {stale or noticed}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} mutants killed in {time.perf_counter() - started:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
