"""The story that ``make run`` plays on a running cloud: a delivery, sales on every channel, a parcel, a declined card.

    python -m local.story        exit code 1 and a clear line when something does not become true in time

Every line that it prints has been checked, and it may be played again and again: each time with a shirt of its own.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local import cloud
from local.client import Client, Unexpected, checkout, gtin
from local.cloud import CHANNELS, Endpoints
from local.console import Trouble, fail
from local.reports import Stage, TimedOut, money, table

NAMES = {"etsy": "Etsy", "ebay": "eBay", "shopify": "Shopify", "amazon": "Amazon", "webhook": "own shop"}
EVERYWHERE = "all five channels"
SALES = (("etsy", 4, 496), ("ebay", 5, 491), ("shopify", 3, 488), ("amazon", 2, 486), ("webhook", 2, 484))
"""Who sells how many, and what is left everywhere."""
PATIENCE = 90.0
"""Seconds within which anything but an expiry has to come true on a laptop."""


class Untrue(Exception):
    """Something that the story tells did not happen."""


@dataclass(frozen=True, slots=True)
class Sale:
    """Units sold, and how long each channel took to acknowledge the new quantity."""

    where: str
    units: int
    left: int
    milliseconds: Mapping[str, int]


@dataclass(slots=True)
class Outcome:
    """What was true at the end; the closing table shows it and the end-to-end test looks at it."""

    sku: str
    shown: dict[str, int] = field(default_factory=dict)
    stock: dict[str, Any] = field(default_factory=dict)
    sales: list[Sale] = field(default_factory=list)
    orders: dict[str, Any] = field(default_factory=dict)
    tracking: str = ""
    refused_scan: dict[str, Any] = field(default_factory=dict)


class Story:
    """One performance."""

    def __init__(self, client: Client, stage: Stage) -> None:
        self.client = client
        self.stage = stage
        run = secrets.token_hex(3).upper()
        self.sku = f"SHIRT-{run}"
        self.scarf = f"SCARF-{run}"
        # Numbers that begin with 2 are for a shop's own use.
        self.barcode = gtin(f"2{int(run, 16):010d}")
        self.outcome = Outcome(self.sku)

    def play(self) -> Outcome:
        """All of it. Raises ``Untrue`` or ``TimedOut`` at the first thing that is not as told."""
        self.receive_shirts()
        self.sell_on_marketplaces()
        placed = self.sell_in_the_storefront()
        self.ship(placed)
        self.decline_a_card()
        self.refuse_strangers(placed)
        self.close(placed)
        return self.outcome

    # ---- the chapters --------------------------------------------------------------------------------------------

    def receive_shirts(self) -> None:
        self.stage.heading("Stock")
        client = self.client
        shirt: dict[str, Any] = {"title": "Organic cotton shirt", "barcodes": [self.barcode], "weight_grams": 220}
        client.put_product(self.sku, price=2_500, **shirt).expect(200)
        client.put_product(self.scarf, price=3_900, title="Wool scarf", weight_grams=150).expect(200)
        for channel in CHANNELS:
            client.list_on(channel, self.sku)
        self.stage.tell(f"{self.sku} is in the catalogue, and listed on {', '.join(NAMES.values())}")
        client.move_stock("receive", self.sku, 500, reason="delivery of the story").expect(201)
        self.stage.tell("500 shirts are received")
        self._everywhere(500)

    def sell_on_marketplaces(self) -> None:
        self.stage.heading("Marketplaces")
        for channel, units, left in SALES:
            moment = datetime.now(UTC)
            order = self.client.buy_on(channel, [(self.sku, units)], buyer="Grace Hopper")
            how = "tells our queue" if channel == "amazon" else "sends its signed callback"
            self.stage.tell(f"{NAMES[channel]} sells {units} (its order {order}) and {how}")
            self._sold(NAMES[channel], units, left, moment)

    def sell_in_the_storefront(self) -> dict[str, Any]:
        self.stage.heading("Storefront")
        moment = datetime.now(UTC)
        placed: dict[str, Any] = self.client.place(checkout((self.sku, 2))).expect(201)
        total = money(placed["total"], placed["currency"])
        self.stage.tell(f"Ada orders 2: order {placed['order_id'][:8]}, {total}, stock held until {_time_of(placed)}")
        self._sold("storefront", 2, 482, moment)
        self.client.pay(placed).expect(200)
        self.stage.tell("she pays by card; Stripe sends its signed webhook")
        self._until("the order is paid and confirmed", lambda: self._payment(placed) == "captured")
        self._told_by_mail(placed, "is confirmed")
        return placed

    def ship(self, placed: Mapping[str, Any]) -> None:
        self.stage.heading("Warehouse")
        for kind in ("pick", "pack"):
            task_id = self._offered(placed, kind)
            self.client.task(task_id, "start").expect(200)
            if kind == "pack":
                self._try_a_wrong_scan(task_id)
            for number in (1, 2):
                self.client.task(task_id, "scans", {"barcode": self.barcode}).expect(200, 201)
                self.stage.tell(f"{kind}: {number} of 2 scanned")
            self.client.task(task_id, "complete").expect(200)
        self._until("the carrier sells a label and the parcel leaves", lambda: self._shipped(placed) != [])
        (parcel,) = self._shipped(placed)
        self.outcome.tracking = parcel["tracking_number"]
        self.stage.tell(f"the order shows its tracking: {parcel['carrier']} {parcel['tracking_number']}")
        self._told_by_mail(placed, "is on its way")
        self._until("the order is completed", lambda: self.client.order(placed)["status"] == "completed")

    def _try_a_wrong_scan(self, task_id: str) -> None:
        answer = self.client.task(task_id, "scans", {"sku": self.scarf})
        _require(answer.status == 409, f"a wrong scan is refused with 409, and the answer was {answer.status}")
        self.outcome.refused_scan = answer.body
        self.stage.tell(f"a scarf is scanned by mistake and refused: “{answer.body['detail']}”", "✗")

    def decline_a_card(self) -> None:
        self.stage.heading("A declined card")
        placed = self.client.place(
            checkout((self.sku, 3), customer={"email": "bob@example.com", "name": "Bob"})
        ).expect(201)
        self.stage.tell(f"Bob orders 3: order {placed['order_id'][:8]}")
        self._everywhere(479)
        answer = self.client.pay(placed, "pm_card_visa_chargeDeclined")
        _require(answer.status == 402, f"the card is declined with 402, and the answer was {answer.status}")
        self.stage.tell(f"his card is declined: {answer.body['error']['message']}", "✗")
        expires = datetime.fromisoformat(placed["expires_at"])
        left = (expires - datetime.now(UTC)).total_seconds()
        self.stage.wait(
            f"the time to pay ends at {_time_of(placed)}",
            lambda: datetime.now(UTC) > expires,
            seconds=left + 5,
        )
        # The schedule runs the sweep every minute; whoever watches need not wait for it.
        self.client.sweep()
        self._until("the sweep expires the order", lambda: self.client.order(placed)["status"] == "expired")
        self._everywhere(482)
        order = self.client.order(placed)
        _require(not order["shipments"], "nothing of the declined order ships")
        _require(order["payment"]["captured"] == 0, "no money of the declined order is taken")
        self.stage.tell("nothing was shipped, no money was taken, and the 3 shirts are for sale again")
        self.outcome.orders["declined"] = order

    def refuse_strangers(self, placed: Mapping[str, Any]) -> None:
        self.stage.heading("A stranger")
        for token in (None, "1f.guessed"):
            answer = self.client.api("GET", f"/orders/{placed['order_id']}", order_token=token)
            _require(answer.status == 404, f"a stranger gets 404, and the answer was {answer.status}")
        self.stage.tell("knows the order's number but not its token: 404, as if there were no such order", "✗")

    def close(self, placed: Mapping[str, Any]) -> None:
        outcome = self.outcome
        outcome.orders["storefront"] = self.client.order(placed)
        outcome.stock = self.client.stock(self.sku)
        outcome.shown = {channel: self.client.shown(channel, self.sku) for channel in CHANNELS}
        outcome.orders |= self._marketplace_orders()
        stock = outcome.stock
        _require(outcome.shown == dict.fromkeys(CHANNELS, 482), f"every channel shows 482: {outcome.shown}")
        _require(stock["available"] == 482, f"482 are available: {stock}")
        _require(stock["on_hand"] == 498, f"498 are on hand after 2 left: {stock}")
        promised = stock["reserved"] + stock["allocated"]
        _require(promised == 16, f"16 are promised to the marketplaces' buyers: {stock}")
        for name in CHANNELS:
            _require(name in outcome.orders, f"the sale on {NAMES[name]} is one order, waiting to be picked")

    # ---- looking -------------------------------------------------------------------------------------------------

    def _sold(self, where: str, units: int, left: int, moment: datetime) -> None:
        self._everywhere(left)
        told = self.client.stock(self.sku)["channels"]
        taken = {
            name: int((datetime.fromisoformat(told[name]["acknowledged_at"]) - moment).total_seconds() * 1000)
            for name in CHANNELS
        }
        self.outcome.sales.append(Sale(where, units, left, taken))

    def _everywhere(self, quantity: int) -> None:
        """Wait until the record has it, every channel shows it, and every channel has acknowledged it."""

        def shown() -> bool:
            stock = self.client.stock(self.sku)
            acknowledged = [stock["channels"].get(name, {}).get("acknowledged") for name in CHANNELS]
            seen = [self.client.shown(name, self.sku) for name in CHANNELS]
            return {stock["available"], *acknowledged, *seen} == {quantity}

        self._until(f"{quantity} available, and {quantity} on {EVERYWHERE}", shown)

    def _marketplace_orders(self) -> dict[str, Any]:
        """The marketplaces' orders of this shirt, found as the warehouse finds them: they wait to be picked."""
        orders = {}
        for task in self.client.open_tasks():
            if any(unit["sku"] == self.sku for unit in task["units"]):
                order = self.client.order_as_staff(task["order_id"])
                orders[order["channel"]] = order
        return orders

    def _told_by_mail(self, placed: Mapping[str, Any], what: str) -> None:
        """Wait until the customer's mailbox holds the mail, sent to her."""
        subject = f"Order {placed['order_id'][:8].upper()} {what}"
        to = checkout()["customer"]["email"]
        self._until(f"Ada has a mail: “{subject}”", lambda: self.client.mails(placed).get(subject) == to)

    def _payment(self, placed: Mapping[str, Any]) -> str:
        return str(self.client.order(placed)["payment"]["status"])

    def _offered(self, placed: Mapping[str, Any], kind: str) -> str:
        """Wait for the order's task of this kind; its id."""
        offered: list[Any] = []

        def is_there() -> bool:
            offered[:] = [task for task in [self.client.task_of(placed["order_id"], kind)] if task]
            return bool(offered)

        self._until(f"a {kind} task is offered", is_there)
        return str(offered[0]["task_id"])

    def _shipped(self, placed: Mapping[str, Any]) -> list[Any]:
        parcels = self.client.order(placed)["shipments"]
        return [each for each in parcels if each["status"] == "shipped" and each["tracking_number"]]

    def _until(self, what: str, is_true: Callable[[], bool]) -> None:
        self.stage.wait(what, is_true, PATIENCE)


def play(endpoints: Endpoints, stage: Stage | None = None) -> Outcome:
    """Play the story; what was true at the end. Raises ``Untrue``, ``TimedOut`` or ``Unexpected``."""
    return Story(Client(endpoints), stage or Stage()).play()


def closing(outcome: Outcome) -> str:
    """The last page: what each channel shows, the stock, the money, and how fast the channels heard of each sale."""
    stock = outcome.stock
    shown = [["channel", "shows"], *([NAMES[name], str(outcome.shown[name])] for name in CHANNELS)]
    units = [
        ["stock", "units"],
        ["available", str(stock["available"])],
        ["promised, not yet shipped", str(stock["reserved"] + stock["allocated"])],
        ["on hand", str(stock["on_hand"])],
        ["shipped", str(500 - stock["on_hand"])],
    ]
    names = {**NAMES, "storefront": "storefront, Ada", "declined": "storefront, Bob"}
    paid = [["order", "status", "total", "taken", "given back"]]
    for kind, name in names.items():
        order = outcome.orders[kind]
        payment, currency = order["payment"], order["currency"]
        amounts = (order["total"], payment["captured"], payment["refunded"])
        paid.append([name, order["status"], *(money(amount, currency) for amount in amounts)])
    speed = [["sale", "units", "left", *(f"{NAMES[name]} after" for name in CHANNELS)]]
    for sale in outcome.sales:
        times = [f"{sale.milliseconds[name]:,} ms" for name in CHANNELS]
        speed.append([sale.where, str(sale.units), str(sale.left), *times])
    return "\n\n".join(table(each) for each in (shown, units, paid, speed))


def _time_of(placed: Mapping[str, Any]) -> str:
    return datetime.fromisoformat(placed["expires_at"]).astimezone().strftime("%H:%M:%S")


def _require(true: bool, what: str) -> None:
    if not true:
        raise Untrue(what)


def main() -> int:
    """Play on this checkout's running cloud."""
    stage = Stage()
    try:
        outcome = play(cloud.default().endpoints(), stage)
    except Trouble as trouble:
        return fail(trouble)
    except (Untrue, TimedOut, Unexpected) as wrong:
        return fail(Untrue(f"  The story stopped after {time.monotonic() - stage.started:.1f} s. {wrong}"))
    print(f"\n{closing(outcome)}\n\n  The story ends well, after {time.monotonic() - stage.started:.1f} s.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
