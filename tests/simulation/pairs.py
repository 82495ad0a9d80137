"""Two handlers at once, exhaustively: every order of their calls, and one fault at every call.

Without faults all interleavings are walked, except those that differ only in the order of calls that cannot influence
each other (sleep sets). With a fault, every call is struck by each kind that may strike it, under every schedule that
lets one handler run up to one of its writes, then the other one to its end, then the first (``--full``: six kinds
instead of two, and under every interleaving). Of three handlers, and of ``long`` pairs, the first 200 interleavings and
those schedules are walked, and no fault strikes, unless ``--full`` asks for it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

from oms.fulfillment.dispatch import ShipParcels
from oms.fulfillment.facilities import DEFAULT_FACILITY, Facility, put_facility, save_facility
from oms.fulfillment.floorplan import Rules, put_rules
from oms.inventory.model import QUARANTINE, Listing, Location, Movement, Product
from oms.orders.coupons import Coupon
from oms.orders.editing import Edit, preview_of
from oms.orders.model import OPEN
from oms.orders.store import order_from_item
from oms.payments.coverage import overpaid, owed
from tests.simulation import actors, checkers, staff
from tests.simulation.backend import Call
from tests.simulation.checkers import Inspector, Violation, labels
from tests.simulation.faults import Plane
from tests.simulation.scheduler import Task
from tests.simulation.system import Reply, System, reply_of

FAULTS = ("crash_before", "answer_lost")
MORE_FAULTS = (*FAULTS, "crash_after", "internal_error_after", "transaction_conflict", "http_500_after")
Start = Callable[["Scene"], Task]


class Scene:
    """A small shop in one process, and helpers to bring it to where two handlers meet."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.inspector = Inspector(system)
        self.order_id = ""
        self.token: dict[str, str] = {}
        self.secret = ""
        self.deliveries: list[Any] = []
        self.replies: list[Reply] = []
        self.external = ""
        self.transfer = ""
        self.walk: dict[str, Any] = {}
        self.orders_bought: list[str] = []

    # ---- setting the scene ---------------------------------------------------------------------------------------

    def stock(self, units: int, *, stripes: int = 1, channel: str = "", backorder: bool = False) -> Scene:
        """One product with so many units."""
        system = self.system
        app = system._app(system.template.function_at("inventory_sync/stock_api"))
        now = datetime.fromtimestamp(system.clock.now, UTC)
        product = Product("A", "A", 1000, "USD", ("code-A",), {}, 200, stripes=stripes, backorder=backorder)
        app.inventory.put_product(product, now)
        put_facility(app.inventory, staff.DOCK, now)
        if units:
            app.inventory.move(Movement("receive", "A", units, "main", "A1", "opening stock", "system", "open-A", now))
        if channel:
            told = {"sku": "A", "title": "A", "price_minor": 2500, "currency": "USD", "quantity": units}
            listed = system.control(channel, "POST", "/_sim/listings", told).json()["listings"][0]
            app.inventory.put_listing(Listing("A", channel, listed["listing_id"]), now)
        return self

    def lots(self, **units: int) -> Scene:
        """One product, told apart by lots of so many units: one that lasts today, and one that lasts for years."""
        app = self.system._app(self.system.template.function_at("inventory_sync/stock_api"))
        now = datetime.fromtimestamp(self.system.clock.now, UTC)
        app.inventory.put_product(Product("A", "A", 1000, "USD", ("code-A",), {}, 200, track=("lot", "expiry")), now)
        put_facility(app.inventory, staff.DOCK, now)
        told = {LOTS[name]: count for name, count in units.items()}
        received = Movement(
            "receive", "A", sum(told.values()), "main", "A1", "opening stock", "system", "open-A", now, lots=told
        )
        app.inventory.move(received)
        return self

    def on_a_walk(self) -> Scene:
        """The parcel of a confirmed order is on a walk that kim has taken."""
        app = self.system._app(self.system.template.function_at("inventory_sync/stock_api"))
        put_rules(app.inventory, "main", Rules(search_seconds=0), datetime.fromtimestamp(self.system.clock.now, UTC))
        self.offered().do(wave)
        self.walk = self.do(next_walk()).body["walk"]
        return self

    def at_the_counter(self) -> Scene:
        """A paid order whose parcel waits to be collected."""
        app = self.system._app(self.system.template.function_at("inventory_sync/stock_api"))
        shop = Facility(DEFAULT_FACILITY, staff.DOCK, kind="store", pickup=True)
        save_facility(app.inventory, shop, datetime.fromtimestamp(self.system.clock.now, UTC))
        self.placed(shipping_method="pickup").paid_at_stripe().do(webhook())
        self.prepared().do(step("ship", shipment=True))
        return self

    def coupon(self, limit: int) -> Scene:
        """A coupon that so many orders may carry."""
        app = self.system._app(self.system.template.function_at("customer_service/customers"))
        now = datetime.fromtimestamp(self.system.clock.now, UTC)
        coupon = Coupon(actors.COUPON, "percent", percent=10, limit=limit, per_customer=limit)
        app.coupons.add(coupon, actor="staff:kim", now=now)
        return self

    def do(self, start: Start) -> Reply:
        """Let one handler run alone to its end."""
        task = start(self)
        self.system.scheduler.run(lambda count: 0, after=self.inspector.look)
        return reply_of(task) if task.result and "statusCode" in task.result else Reply(0, task.result)

    def placed(self, quantity: int = 1, **changes: Any) -> Scene:
        """An order that waits for its payment."""
        reply = self.do(place("the-order", quantity, **changes))
        self.order_id, self.secret = reply.body["order_id"], reply.body["payment"]["client_secret"]
        self.token = {"order-token": reply.body["order_token"]}
        return self

    def paid_at_stripe(self, card: str = "pm_card_visa") -> Scene:
        """The customer pays, or tries to; the webhook is on its way."""
        self.system.control("stripe", "POST", "/_sim/pay", {"payment_intent": self.secret, "payment_method": card})
        self.deliveries = [entry[3] for entry in self.system.mail.waiting]
        self.system.mail.waiting.clear()
        return self

    def shipped_east(self, quantity: int) -> Scene:
        """Units on their way to another facility."""
        body = {"sku": "A", "quantity": quantity, "origin": "main", "target": "east", "reason": "east runs low"}
        self.transfer = self.do(stock_work("POST /transfers", body)).body["transfer_id"]
        return self

    def confirmed(self, quantity: int = 1) -> Scene:
        """A paid order."""
        self.placed(quantity).paid_at_stripe()
        self.do(webhook())
        return self

    def lapsing(self) -> Scene:
        """A packed order whose money is only set aside, and has to be set aside anew."""
        app = self.system._app(self.system.template.function_at("place_order/api"))
        app.placing = replace(app.placing, lapsing="renew")
        self.placed(capture="on_shipment").paid_at_stripe().do(webhook())
        self.prepared().later(6 * 86_400 + 60).do(sweep)
        return self

    def sent_back(self) -> Scene:
        """A cancelled order whose refund the customer's bank has sent back."""
        self.placed().paid_at_stripe("pm_card_refundFail").do(webhook())
        self.do(cancel())
        self.do(settle)
        self.later(300).system.stripe.tick()
        self.system.mail.waiting.clear()
        return self

    def disputed(self) -> Scene:
        """The card holder's bank takes the order's payment back; we have not heard of it."""
        self.system.control("stripe", "POST", "/_sim/disputes", {"payment_intent": self.secret})
        self.system.mail.waiting.clear()
        return self

    def two_refunds(self) -> Scene:
        """An order of which one refund was sent back by the bank, unheard of, and another one is still to be sent."""
        self.shipped(2).do(refund(500, "goodwill-one"))
        self.do(settle)
        told = {"refund": self.system.stripe.account.all("refund")[0]["id"], "outcome": "failed"}
        self.system.control("stripe", "POST", "/_sim/settle", told)
        self.system.mail.waiting.clear()
        self.do(refund(700, "goodwill-two"))
        return self

    def capture_failed(self) -> Scene:
        """A packed order for whose capture Stripe has stored a failure of its own."""
        self.set_aside()
        gone = {"status": 503, "method": "POST"}
        faults = {"next": [{"status": 500, "stored": True, "method": "POST"}, *[gone] * 10]}
        self.system.control("stripe", "POST", "/_sim/faults", faults)
        self.do(step("ship", shipment=True))
        self.system.control("stripe", "POST", "/_sim/faults", {})
        return self

    def set_aside(self, quantity: int = 1) -> Scene:
        """A packed order whose money is only set aside."""
        self.placed(quantity, capture="on_shipment").paid_at_stripe().do(webhook())
        return self.prepared(quantity)

    def allocated(self, quantity: int = 1) -> Scene:
        """An order whose parcel waits for its picker, the workflow's tokens given by hand."""
        self.confirmed(quantity)
        return self.offered()

    def offered(self) -> Scene:
        """The parcel of a confirmed order is offered to the pickers."""
        self.do(step("allocate"))
        self.do(step("offer_pick", shipment=True, token="token-pick"))
        return self

    def packed(self, quantity: int = 1) -> Scene:
        """An order whose parcel waits for its label."""
        self.confirmed(quantity)
        return self.prepared(quantity)

    def prepared(self, quantity: int = 1) -> Scene:
        """The parcel of a confirmed order is picked and packed."""
        self.offered()
        for kind in ("pick", "pack"):
            if kind == "pack":
                self.do(step("offer_pack", shipment=True, token="token-pack"))
            for number in range(quantity):
                self.do(floor(kind, "scans", {"barcode": "code-A"}, key=f"scan-{kind}-{number}"))
            self.do(floor(kind, "complete"))
        return self

    def shipped(self, quantity: int = 1) -> Scene:
        """An order whose parcel has left."""
        self.packed(quantity)
        self.do(step("ship", shipment=True))
        return self

    def returning(self, quantity: int = 1) -> Scene:
        """An order of which one unit is to come back."""
        self.shipped(quantity)
        self.do(ask_return("return-first"))
        return self

    def labelled(self) -> Scene:
        """A packed order whose label was bought by a step that died before its parcel left."""
        self.packed()
        app = self.system._app(self.system.template.function_at("fulfillment/workflow"))
        shipping = ShipParcels(app.orders, app.inventory, app.clock, lambda: app.carrier, app.capturing.for_parcel)
        shipping._label(app.orders.require(self.order_id), shipping.shipments.get(f"{self.order_id}.1"))
        return self

    def underpaid(self) -> Scene:
        """A packed order on which too little was paid, and which finance let go on all the same."""
        self.placed()
        self.secret = actors.other_intent(self.system, self.order_id, 200)
        self.paid_at_stripe()
        self.do(webhook())
        self.do(release)
        return self.prepared()

    def sold_on(self, channel: str, quantity: int = 1) -> Scene:
        """A marketplace sold something; its callback is on its way."""
        lines = [{"sku": "A", "quantity": quantity}]
        answer = self.system.control(channel, "POST", "/_sim/purchases", {"lines": lines, "buyer": {}})
        self.external = answer.json()["order_id"]
        self.deliveries = [entry[3] for entry in self.system.mail.waiting]
        self.system.mail.waiting.clear()
        return self

    def on_the_road(self, *statuses: str) -> Scene:
        """A parcel that left and was scanned so often; the carrier's words are on their way."""
        self.packed().do(step("ship", shipment=True))
        self.system.mail.waiting.clear()
        label = self.inspector.books.order(f"ORDER#{self.order_id}")["SHIPMENT#001"]["label"]
        for status in statuses:
            self.later(60)
            told = {"tracker": label["tracker_id"], "status": status}
            self.system.control("easypost", "POST", "/_sim/track", told)
        self.deliveries = [entry[3] for entry in self.system.mail.waiting]
        self.system.mail.waiting.clear()
        return self

    def later(self, seconds: float) -> Scene:
        """Time passes."""
        self.system.clock.advance(seconds)
        return self

    # ---- looking -------------------------------------------------------------------------------------------------

    def order(self) -> Any:
        """The order as it is written."""
        return order_from_item(self.inspector.books.order(f"ORDER#{self.order_id}")["ORDER"])

    def orders(self) -> list[Any]:
        """Every order."""
        return [order_from_item(item) for _, item in self.inspector.books.orders()]

    def place(self) -> Location:
        """Where the units are."""
        app = self.system._app(self.system.template.function_at("inventory_sync/stock_api"))
        found: Location = app.inventory.location("A", "main")
        return found

    def put_backs(self) -> list[dict[str, Any]]:
        """What has to go, or went, back to its shelf."""
        return [item for item in self.inspector.books.items["OrdersTable"].values() if item["entity"] == "putback"]

    def available(self) -> int:
        """Units that may be promised."""
        return self.inspector.books.available("A")

    def acknowledged(self, channel: str) -> int | None:
        """What the channel last acknowledged, as it is written."""
        found: int | None = self.inspector.books.sku("A").get(f"SYNC#{channel}", {}).get("acknowledged")
        return found

    def statuses(self) -> list[int]:
        """The two answers' statuses, sorted."""
        return sorted(reply.status for reply in self.replies)


# ---- handlers ------------------------------------------------------------------------------------------------------


def place(key: str, quantity: int = 1, **changes: Any) -> Start:
    """POST /orders."""
    body: dict[str, Any] = {
        "customer": {"email": "shopper@example.org", "name": "Sam Shopper"},
        "shipping_address": actors.ADDRESS,
        "lines": [{"sku": "A", "quantity": quantity}],
        "currency": "USD",
        **changes,
    }
    return lambda scene: scene.system.call(
        "place_order/api", actors.PLACE, body=body, headers={"idempotency-key": f"key-for-{key}"}
    )


def bought(scene: Scene, *emails: str) -> Scene:
    """A paid order of each of these customers, one after the other."""
    scene.stock(len(emails))
    for number, email in enumerate(emails):
        reply = scene.do(place(f"order-{number}", customer={"email": email, "name": "Sam Shopper"}))
        scene.secret = reply.body["payment"]["client_secret"]
        scene.orders_bought.append(reply.body["order_id"])
        scene.paid_at_stripe().later(1).do(webhook())
    return scene


def keep(number: int) -> Start:
    """The customers queue has a message of one of the orders that were bought."""

    def event(scene: Scene) -> dict[str, Any]:
        body = json.dumps({"order_id": scene.orders_bought[number], "number": 2, "type": "PaymentCaptured"})
        return {"Records": [{"messageId": "message-1", "body": body}]}

    return invoke("customer_service/keep", event)


def join(first: int, other: int) -> Start:
    """POST /customers/{id}/merges: who bought these two orders is one person."""

    def start(scene: Scene) -> Task:
        ids = [scene.inspector.books.order(f"ORDER#{each}")["ORDER"]["customer_id"] for each in scene.orders_bought]
        return scene.system.call(
            "customer_service/customers",
            "POST /customers/{id}/merges",
            parameters={"id": ids[first]},
            body={"with": ids[other], "reason": "called us"},
            headers={"idempotency-key": "merge-key"},
            groups=("agent",),
        )

    return start


def cancel(lines: Any = None, key: str = "cancel-key") -> Start:
    """POST /orders/{id}/cancel."""
    body = {"reason": "changed my mind", **({"lines": lines} if lines else {})}
    return lambda scene: scene.system.call(
        "place_order/api",
        actors.CANCEL,
        parameters={"id": scene.order_id},
        body=body,
        headers={**scene.token, "idempotency-key": key},
    )


def webhook(index: int = -1) -> Start:
    """POST /webhooks/stripe with one of the deliveries."""

    def start(scene: Scene) -> Task:
        delivery = scene.deliveries[index]
        return scene.system.call(
            "payment_webhook/webhook", "POST /webhooks/stripe", body=delivery.body, headers=delivery.headers
        )

    return start


def callback(channel: str) -> Start:
    """POST /channels/{channel}/callbacks."""

    def start(scene: Scene) -> Task:
        delivery = scene.deliveries[0]
        return scene.system.call(
            "place_order/callback",
            "POST /channels/{channel}/callbacks",
            parameters={"channel": channel},
            body=delivery.body,
            headers=delivery.headers,
        )

    return start


def carrier_word(index: int) -> Start:
    """POST /webhooks/carriers/{carrier} with one of the deliveries."""

    def start(scene: Scene) -> Task:
        delivery = scene.deliveries[index]
        return scene.system.call(
            "fulfillment/carrier_webhook",
            "POST /webhooks/carriers/{carrier}",
            parameters={"carrier": "easypost"},
            body=delivery.body,
            headers=delivery.headers,
        )

    return start


def stock_work(route: str, body: Any, key: str = "movement-key", **parameters: str) -> Start:
    """A request of the stock office."""
    return lambda scene: scene.system.call(
        "inventory_sync/stock_api",
        route,
        parameters=parameters,
        body=body,
        headers={"idempotency-key": key},
        groups=("ops",),
    )


def movement(kind: str, quantity: int, key: str = "movement-key", **told: str) -> Start:
    """POST /stock/movements."""
    body = {"type": kind, "sku": "A", "quantity": quantity, "facility": "main", "reason": "routine", **told}
    return stock_work("POST /stock/movements", body, key)


def receipt(quantity: int) -> Start:
    """POST /transfers/{id}/receipt."""
    return lambda scene: stock_work(
        "POST /transfers/{id}/receipt", {"quantity": quantity}, "receipt-key", id=scene.transfer
    )(scene)


def restripe(stripes: int) -> Start:
    """PUT /products/{sku}: the product sold from another number of counters."""
    body = {"sku": "A", "title": "A", "price": {"amount": 1000, "currency": "USD"}, "barcodes": ["code-A"]}
    return stock_work("PUT /products/{sku}", {**body, "stripes": stripes}, sku="A")


def invoke(entry: str, event: Any) -> Start:
    """A function that no client calls."""

    def start(scene: Scene) -> Task:
        given = event(scene) if callable(event) else event
        return scene.system.lambdas.invoke(scene.system.template.function_at(entry), given)

    return start


sweep = invoke("place_order/sweep", {})
fill = invoke(
    "inventory_sync/watch_stock",
    {"Records": [{"eventID": "1", "dynamodb": {"SequenceNumber": "1", "NewImage": {"sku": {"S": "A"}}}}]},
)


def message(entry: str, body: Callable[[Scene], Any], queue: str = "Queue") -> Start:
    """A function behind a queue."""
    return invoke(
        entry,
        lambda scene: {
            "Records": [
                {
                    "messageId": "message-1",
                    "body": json.dumps(body(scene)),
                    "receiptHandle": "receipt",
                    "attributes": {"ApproximateReceiveCount": "1"},
                    "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{queue}",
                }
            ]
        },
    )


settle = message("payment_webhook/settle", lambda scene: {"order_id": scene.order_id})


def refund_news(kind: str) -> Start:
    """The queue of payment events tells of the one refund."""
    return message(
        "payment_webhook/apply_event",
        lambda scene: {
            "id": f"evt_{kind}",
            "type": kind,
            "data": {"object": {"id": scene.system.stripe.account.all("refund")[0]["id"]}},
        },
    )


def dispute_news(kind: str) -> Start:
    """The queue of payment events tells of the one dispute."""
    return message(
        "payment_webhook/apply_event",
        lambda scene: {
            "id": f"evt_{kind}",
            "type": f"charge.dispute.{kind}",
            "data": {"object": {"id": scene.system.stripe.account.all("dispute")[0]["id"]}},
        },
    )


def bank_decides(outcome: str) -> Start:
    """The bank has its last word about the one dispute."""

    def start(scene: Scene) -> Task:
        told = {"dispute": scene.system.stripe.account.all("dispute")[0]["id"], "outcome": outcome}
        body = json.dumps(told).encode()
        decide = lambda: scene.system.wire.exchange("POST", "https://stripe.test/_sim/disputes", {}, body)  # noqa: E731
        return scene.system.scheduler.spawn("bank", decide)

    return start


parcels = message("inventory_sync/confirm_shipment", lambda scene: {"order_id": scene.order_id})


def import_order(channel: str) -> Start:
    """The queue of marketplace orders."""
    return message("place_order/import_orders", lambda scene: {"channel": channel, "external_id": scene.external})


def sync(function: str, sku: str = "A") -> Start:
    """A channel's queue."""

    def start(scene: Scene) -> Task:
        target = next(source for source in scene.system.template.sources if source.target == function)
        event = {
            "Records": [
                {
                    "messageId": "message-1",
                    "body": json.dumps({"sku": sku, "changed_at": "2027-01-15T08:00:00.000Z"}),
                    "receiptHandle": "receipt",
                    "attributes": {"ApproximateReceiveCount": "1"},
                    "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{function}",
                }
            ]
        }
        return scene.system.lambdas.invoke(scene.system.template.functions[target.function], event)

    return start


def step(name: str, *, shipment: bool = False, token: str = "") -> Start:
    """A step of the workflow."""

    def event(scene: Scene) -> dict[str, Any]:
        given: dict[str, Any] = {"step": name, "order_id": scene.order_id, "run": scene.order_id}
        if shipment:
            given["shipment"] = f"{scene.order_id}.1"
        if token:
            given["task_token"] = token
        return given

    return invoke("fulfillment/workflow", event)


def release(scene: Scene) -> Task:
    """Finance lets an order go on."""
    return scene.system.call(
        "customer_service/api",
        "DELETE /orders/{id}/holds/{kind}",
        parameters={"id": scene.order_id, "kind": "payment"},
        body={"reason": "as agreed"},
        groups=("ops",),
    )


def hold(scene: Scene) -> Task:
    """An agent stops the order."""
    return scene.system.call(
        "customer_service/api",
        "POST /orders/{id}/holds",
        parameters={"id": scene.order_id},
        body={"kind": "fraud", "reason": "looks odd", "owner": "risk", "hours": 4},
        groups=("agent",),
    )


def floor(kind: str, what: str, body: Any = None, key: str = "") -> Start:
    """A warehouse device."""
    return lambda scene: scene.system.call(
        "fulfillment/warehouse_api",
        f"POST /warehouse/tasks/{{id}}/{what}",
        parameters={"id": f"{scene.order_id}.1-{kind}"},
        body=body,
        headers={"idempotency-key": key} if key else {},
        groups=("warehouse",),
    )


def device(route: str, body: Any = None, key: str = "", picker: str = "kim", **parameters: str) -> Start:
    """A picker's or a counter's device."""
    return lambda scene: scene.system.call(
        "fulfillment/warehouse_api",
        route,
        parameters={"facility": "main", **parameters},
        body=body,
        headers={"idempotency-key": key} if key else {},
        groups=("warehouse",),
        user=picker,
    )


wave = device("POST /warehouse/{facility}/waves", {}, "wave-key")


def next_walk(picker: str = "kim") -> Start:
    """The device asks for a walk."""
    return device("POST /warehouse/{facility}/next", picker=picker)


def walk(what: str, key: str = "", picker: str = "kim") -> Start:
    """The device scans one unit on the walk, or ends it."""
    body = {"barcode": "code-A", "bin": "A1"} if what == "scans" else None
    return lambda scene: device(f"POST /warehouse/walks/{{id}}/{what}", body, key, picker, id=scene.walk["walk_id"])(
        scene
    )


def put_away(scene: Scene) -> Task:
    """The device says that the one put-back is done."""
    return device("POST /warehouse/putbacks/{id}/done", id=scene.put_backs()[0]["putback_id"])(scene)


def collect(scene: Scene) -> Task:
    """The counter hands the parcel over."""
    told = {"identity": "passport"}
    return device("POST /warehouse/pickups/{id}/collect", told, id=f"{scene.order_id}.1")(scene)


def customer(method: str, path: str, body: Any, key: str = "") -> Start:
    """The order's customer, after the sale."""
    headers = {"idempotency-key": key} if key else {}
    return lambda scene: scene.system.call(
        "customer_service/aftersales",
        f"{method} /orders/{{id}}/{path}",
        parameters={"id": scene.order_id},
        body=body,
        headers={**scene.token, **headers},
    )


def ask_return(key: str) -> Start:
    """POST /orders/{id}/returns of one unit."""
    return customer("POST", "returns", {"lines": [{"line": 1, "quantity": 1, "reason": "damaged"}]}, key)


def refund(amount: int, key: str) -> Start:
    """POST /orders/{id}/refunds."""
    return lambda scene: scene.system.call(
        "customer_service/api",
        "POST /orders/{id}/refunds",
        parameters={"id": scene.order_id},
        body={"kind": "amount", "amount": amount, "reason": "goodwill"},
        headers={"idempotency-key": key},
        groups=("ops",),
    )


def tender(amount: int) -> Start:
    """A till takes cash."""

    def start(scene: Scene) -> Task:
        app = scene.system._app(scene.system.template.function_at("customer_service/api"))
        take = lambda: app.tenders.record(scene.order_id, "cash", amount, reference="7", agent="staff:kim", key="cash")  # noqa: E731
        return scene.system.scheduler.spawn("till", lambda: {"version": take().version})

    return start


def came_back(what: str, key: str = "") -> Start:
    """The warehouse takes a return back, or ends its inspection."""
    unit = {"facility": "main", "sku": "A", "quantity": 1, "grade": "resellable"}
    return lambda scene: scene.system.call(
        "fulfillment/warehouse_api",
        f"POST /warehouse/returns/{{id}}/{what}",
        parameters={"id": f"{scene.order_id}.1"},
        body=unit if what == "scans" else None,
        headers={"idempotency-key": key} if key else {},
        groups=("warehouse",),
    )


def edit(quantity: int, key: str) -> Start:
    """POST /orders/{id}/edits, as previewed on the version that the scene is at."""
    body = {"lines": [{"line": 1, "quantity": quantity}]}

    def start(scene: Scene) -> Task:
        shown = preview_of(scene.order(), Edit({1: quantity}, {}, None))
        return customer("POST", "edits", {**body, "preview": shown}, key)(scene)

    return start


# ---- the pairs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """Two handlers (or more) that meet, and what must come of it when nothing fails."""

    name: str
    setting: Callable[[Scene], object]
    handlers: tuple[Start, ...]
    outcome: Callable[[Scene], bool]
    long: bool = False
    """Whether its handlers make too many calls to walk every interleaving: it is searched as three handlers are."""


def _one_sale(scene: Scene) -> bool:
    return scene.statuses() == [201, 409] and scene.available() == 0


def _paid_or_given_back(scene: Scene) -> bool:
    order = scene.order()
    if order.status.value in {"cancelled", "expired"}:
        return bool(order.payment.captured == order.payment.refunded + order.payment.refund_due)
    return order.status.value == "confirmed" and bool(order.payment.captured == order.totals.total)


def _delivered_once(scene: Scene) -> bool:
    items = scene.inspector.books.order(f"ORDER#{scene.order_id}")
    told = [item for sk, item in items.items() if sk.startswith("EVENT#") and item["type"] == "ShipmentDelivered"]
    return items["SHIPMENT#001"]["status"] == "delivered" and len(told) == 1


def _ended_once(scene: Scene) -> bool:
    return scene.order().status.value in {"cancelled", "expired"} and scene.available() == 1


def _one_refund(scene: Scene) -> bool:
    refunds = scene.system.stripe.account.all("refund")
    return len(refunds) == 1 and scene.order().payment.refunded == scene.order().totals.total


def _at_stripe(scene: Scene) -> Counter[str]:
    """How many intents are in which state."""
    return Counter(intent["status"] for intent in scene.system.stripe.account.all("payment_intent"))


def _renewed(scene: Scene) -> bool:
    order = scene.order()
    return order.payment.authorized == order.totals.total and _at_stripe(scene) == {
        "canceled": 1,
        "requires_capture": 1,
    }


def _taken_or_let_go(scene: Scene) -> bool:
    """Either the parcel left and its money was taken, or nothing of it is ours in the end."""
    if not _ship_or_cancel(scene):
        return False
    for _ in range(2):
        scene.do(settle)
    payment, kept = scene.order().payment, scene.order().totals.total
    if scene.order().status.value == "cancelled":
        kept = 0
    return (
        payment.captured - payment.refunded == kept
        and (payment.authorized, payment.refund_due) == (0, 0)
        and _at_stripe(scene)["requires_capture"] == 0
    )


def _ship_or_cancel(scene: Scene) -> bool:
    order = scene.order()
    return (order.status.value == "completed") != (order.status.value == "cancelled")


def _without_one(scene: Scene) -> bool:
    """One of two units is cancelled, or both have left; what is cancelled may be sold again."""
    line = scene.order().lines[0]
    told = (line.cancelled, scene.available(), scene.replies[1].status)
    return told == (1, 1, 200) or (line.shipped == 2 and told == (0, 0, 409))


def _disputed_and_held(scene: Scene) -> bool:
    """The money is with the bank and the order waits for a person, whether its parcel has left or not."""
    order, items = scene.order(), scene.inspector.books.order(f"ORDER#{scene.order_id}")
    left = items["SHIPMENT#001"]["status"] == "shipped"
    return (
        order.payment.disputed == order.totals.total
        and "dispute" in order.holds
        and order.status.value == ("completed" if left else "in_fulfillment")
    )


def _won_in_the_end(scene: Scene) -> bool:
    scene.do(dispute_news("closed"))
    disputes = [item for sk, item in scene.inspector.books.order(f"ORDER#{scene.order_id}").items() if "DISPUTE#" in sk]
    order = scene.order()
    return [item["status"] for item in disputes] == ["won"] and not order.holds and not order.payment.disputed


def _taken_for_what_left(scene: Scene) -> bool:
    """Asked once more, the parcel leaves, and what was taken for it is what the customer owes."""
    scene.do(step("ship", shipment=True))
    order = scene.order()
    return order.status.value == "completed" and not order.holds and bool(order.payment.settled == owed(order))


def _label_given_back(scene: Scene) -> bool:
    scene.later(180).do(parcels)
    return scene.order().status.value == "cancelled" and not labels(scene.system, f"{scene.order_id}.1")


def _shown(channel: str) -> Callable[[Scene], bool]:
    return lambda scene: bool(scene.system.cores[channel].shown("A") == scene.available())


def _all_served(scene: Scene) -> bool:
    """Once the queue was looked at, nobody waits and nothing is kept."""
    scene.do(fill)
    pool = scene.inspector.books.sku("A").get("BACKORDERS", {}).get("earmarked", 0)
    return not any(order.oversold for order in scene.orders() if order.status in OPEN) and not pool


def _first_in_rank_served(scene: Scene) -> bool:
    """Of those who wait, the one with the higher priority got the unit."""
    ranked = sorted(scene.orders(), key=lambda order: (-order.priority_score, order.placed_at))
    return [sum(order.oversold.values()) for order in ranked] == [0, *[1] * (len(ranked) - 1)]


def _dead_placed(scene: Scene) -> object:
    return scene.stock(1), scene.placed().later(1900)


LOTS = {"today": "2027-01-15#L-1", "long": "2029-06-30#L-2"}


def _picked_by_walk(scene: Scene, units: int) -> bool:
    """The walk has ended, its parcel has so many units, and the floor has nothing in process."""
    items = scene.inspector.books.order(f"ORDER#{scene.order_id}")
    checkers.walks_end(scene.inspector.books)
    return items["SHIPMENT#001"]["picked"] == {"A": units} and items["SHIPMENT#001"]["status"] == "picked"


def _scan_or_cancel(scene: Scene) -> bool:
    """The order is cancelled, and what the picker had got of it goes back to its shelf, and nothing else."""
    scene.do(walk("complete"))
    checkers.walks_end(scene.inspector.books)
    back = [item["units"] for item in scene.put_backs()]
    ends = [{"A": 1}] if scene.replies[0].ok else []
    return (
        scene.replies[0].status in (200, 409)
        and scene.order().status.value == "cancelled"
        and back == ends
        and scene.available() == 1
        and scene.place().allocated == 0
    )


def _one_of_them_ends_it(scene: Scene) -> bool:
    """Who had the walk ends it and there is nothing to take over, or the other has it, and ends it."""
    taken = bool(scene.replies[1].body["walk"])
    if taken:
        scene.do(walk("complete", picker="lee"))
    return taken == (scene.replies[0].status == 409) and _picked_by_walk(scene, 1)


def _nothing_to_walk_for(scene: Scene) -> bool:
    """The order is cancelled; a walk that was released for it asks for nothing and ends."""
    found = scene.do(next_walk()).body["walk"]
    if found:
        scene.walk = found
        scene.do(walk("complete"))
    checkers.walks_end(scene.inspector.books)
    return _ended_once(scene) and not scene.put_backs() and scene.place().allocated == 0


def _back_on_its_shelf(scene: Scene) -> bool:
    first, second = scene.replies
    return scene.statuses() == [200, 200] and first.body == second.body and scene.place().bins == {"A1": 2}


def _collected_or_ended(scene: Scene) -> bool:
    """The customer has the parcel and we its money, or it is here and its money goes back."""
    order = scene.order()
    if order.status.value == "completed":
        return (scene.available(), order.payment.captured, order.payment.refund_due) == (0, order.totals.total, 0)
    ended = scene.replies[0].status == 409 and _ended_once(scene)
    return ended and bool(order.payment.captured == order.payment.refunded + order.payment.refund_due)


ONE_UNIT = [{"line": 1, "quantity": 1}]


def _counted(scene: Scene, orders: int) -> bool:
    """Whether one person bought so many orders, and every profile is what the orders say."""
    checkers.profiles_are_what_orders_say(scene.inspector.books)
    people = [item for item in scene.inspector.books.items["OrdersTable"].values() if item["entity"] == "person"]
    return [sum(each["figures"]["orders"] for each in one["identities"].values()) for one in people] == [orders]


_SAM, _PAT = "sam@example.org", "pat@example.org"

PAIRS = (
    Pair(
        "keep ‖ keep of one customer's orders",
        lambda s: bought(s, _SAM, _SAM),
        (keep(0), keep(1)),
        lambda s: _counted(s, 2),
        long=True,
    ),
    Pair(
        "keep ‖ join of its customer",
        lambda s: (bought(s, _SAM, _PAT, _PAT), s.do(keep(0)), s.do(keep(1))),
        (keep(2), join(0, 1)),
        lambda s: _counted(s, 3),
    ),
    Pair("place ‖ place on the last unit", lambda s: s.stock(1), (place("one"), place("two")), _one_sale),
    Pair(
        "place ‖ place with one key",
        lambda s: s.stock(2),
        (place("same"), place("same")),
        lambda s: s.statuses() == [201, 201] and s.replies[0].body == s.replies[1].body and s.available() == 1,
    ),
    Pair(
        "steal ‖ steal over two stripes",
        lambda s: s.stock(3, stripes=2),
        (place("one", 2), place("two", 2)),
        lambda s: s.statuses() == [201, 409] and s.available() == 1,
    ),
    Pair(
        "place ‖ expire of the order that holds the unit",
        _dead_placed,
        (place("other"), sweep),
        lambda s: s.order().status.value == "expired" and s.available() == (0 if s.replies[0].ok else 1),
    ),
    Pair(
        "pay ‖ expire",
        lambda s: (s.stock(1), s.placed().later(1900).paid_at_stripe()),
        (webhook(), sweep),
        _paid_or_given_back,
    ),
    Pair(
        "pay ‖ cancel", lambda s: (s.stock(1), s.placed().paid_at_stripe()), (webhook(), cancel()), _paid_or_given_back
    ),
    Pair(
        "webhook ‖ the same webhook",
        lambda s: (s.stock(1), s.placed().paid_at_stripe()),
        (webhook(), webhook()),
        lambda s: s.order().version == 2 and s.order().payment.captured == s.order().totals.total,
    ),
    Pair(
        "declined webhook ‖ the same webhook",
        lambda s: (s.stock(1), s.placed().paid_at_stripe("pm_card_visa_chargeDeclined")),
        (webhook(), webhook()),
        lambda s: s.order().version == 2 and s.order().payment.status == "failed",
    ),
    Pair("cancel ‖ cancel", lambda s: (s.stock(1), s.placed()), (cancel(), cancel()), _ended_once),
    Pair("cancel ‖ expire", lambda s: (s.stock(1), s.placed().later(1900)), (cancel(), sweep), _ended_once),
    Pair("sweep ‖ sweep", lambda s: (s.stock(1), s.placed().later(1900)), (sweep, sweep), _ended_once),
    Pair(
        "place ‖ place on the last use of a coupon",
        lambda s: s.stock(2).coupon(1),
        (place("one", coupon=actors.COUPON), place("two", coupon=actors.COUPON)),
        lambda s: s.statuses() == [201, 409] and s.available() == 1,
    ),
    Pair(
        "place ‖ cancel of the order that has the coupon",
        lambda s: s.stock(2).coupon(1).placed(coupon=actors.COUPON),
        (place("other", coupon=actors.COUPON), cancel()),
        lambda s: s.order().status.value == "cancelled" and s.available() == (1 if s.replies[0].ok else 2),
    ),
    Pair(
        "place ‖ money for the expired order that had the coupon",
        lambda s: (
            s.stock(2).coupon(1).placed(coupon=actors.COUPON).later(1900).paid_at_stripe(),
            s.do(sweep),
        ),
        (place("other", coupon=actors.COUPON), webhook()),
        lambda s: s.order().status.value == ("expired" if s.replies[0].ok else "confirmed") and s.available() == 1,
    ),
    Pair(
        "cancel a line ‖ cancel a line, one key",
        lambda s: (s.stock(3), s.confirmed(3)),
        (cancel([{"line": 1, "quantity": 1}]), cancel([{"line": 1, "quantity": 1}])),
        lambda s: s.order().lines[0].cancelled == 1 and s.available() == 1,
    ),
    Pair(
        "cancel a line ‖ cancel all",
        lambda s: (s.stock(3), s.confirmed(3)),
        (cancel([{"line": 1, "quantity": 1}]), cancel()),
        lambda s: _paid_or_given_back(s) and s.order().status.value == "cancelled" and s.available() == 3,
    ),
    Pair(
        "cancel a line ‖ allocate",
        lambda s: (s.stock(2), s.confirmed(2)),
        (step("allocate"), cancel(ONE_UNIT)),
        _without_one,
    ),
    Pair(
        "cancel a line ‖ scan",
        lambda s: (s.stock(2), s.allocated(2)),
        (floor("pick", "scans", {"sku": "A", "quantity": 2}), cancel(ONE_UNIT)),
        _without_one,
    ),
    Pair(
        "cancel a line ‖ complete",
        lambda s: (s.stock(2), s.allocated(2), s.do(floor("pick", "scans", {"sku": "A", "quantity": 2}))),
        (floor("pick", "complete"), cancel(ONE_UNIT)),
        _without_one,
    ),
    Pair(
        "cancel a line ‖ short",
        lambda s: (s.stock(2), s.allocated(2)),
        (floor("pick", "short", {"sku": "A", "quantity": 1, "reason": "bin is empty"}), cancel(ONE_UNIT)),
        lambda s: s.order().lines[0].cancelled == 1 and s.replies[1].status == 200,
    ),
    Pair(
        "cancel a line ‖ ship",
        lambda s: (s.stock(2), s.packed(2)),
        (step("ship", shipment=True), cancel(ONE_UNIT)),
        _without_one,
    ),
    Pair(
        "cancel a line ‖ cancel a line of a packed parcel",
        lambda s: (s.stock(3), s.packed(3)),
        (cancel(ONE_UNIT, key="cancel-one"), cancel(ONE_UNIT, key="cancel-two")),
        lambda s: s.order().lines[0].cancelled == 2 and s.available() == 2 and s.statuses() == [200, 200],
    ),
    Pair(
        "return ‖ return of the same unit",
        lambda s: (s.stock(1), s.shipped()),
        (ask_return("return-one"), ask_return("return-two")),
        lambda s: s.statuses() == [201, 422] and s.order().lines[0].returned == 1,
    ),
    Pair(
        "return scan ‖ the same scan",
        lambda s: (s.stock(1), s.returning()),
        (came_back("scans", "return-scan"), came_back("scans", "return-scan")),
        lambda s: s.statuses() == [200, 200] and s.available() == 1,
    ),
    Pair(
        "return complete ‖ complete",
        lambda s: (s.stock(2), s.returning(2), s.do(came_back("scans", "return-scan"))),
        (came_back("complete"), came_back("complete")),
        lambda s: s.statuses() == [200, 200] and s.order().payment.refund_due == 1000,
    ),
    Pair(
        "goodwill ‖ goodwill beyond what was paid",
        lambda s: (s.stock(1), s.shipped()),
        (refund(1000, "goodwill-one"), refund(1000, "goodwill-two")),
        lambda s: s.statuses() == [201, 409] and s.order().payment.refund_due == 1000,
    ),
    Pair(
        "edit ‖ cancel a line",
        lambda s: (s.stock(3), s.confirmed(2)),
        (edit(3, "edit-more"), cancel(ONE_UNIT)),
        lambda s: s.replies[1].status == 200 and s.available() == (1 if s.replies[0].ok else 2),
    ),
    Pair(
        "edit ‖ allocate",
        lambda s: (s.stock(3), s.confirmed(2)),
        (edit(1, "edit-less"), step("allocate")),
        lambda s: s.available() == (2 if s.replies[0].ok else 1),
    ),
    Pair(
        "edit ‖ place on the last unit",
        lambda s: (s.stock(3), s.confirmed(2)),
        (edit(3, "edit-more"), place("other")),
        lambda s: s.statuses() in ([200, 409], [201, 409]) and s.available() == 0,
    ),
    Pair(
        "refund.failed ‖ refund.updated",
        lambda s: (s.stock(1), s.sent_back()),
        (refund_news("refund.failed"), refund_news("refund.updated")),
        lambda s: (s.order().payment.refunded, s.order().payment.refund_due) == (0, s.order().totals.total),
    ),
    Pair(
        "refund.failed ‖ refund of another part",
        lambda s: (s.stock(2), s.two_refunds()),
        (refund_news("refund.failed"), settle),
        lambda s: (
            (s.order().payment.refunded, s.order().payment.refund_due) == (700, 500) and "payment" in s.order().holds
        ),
        long=True,
    ),
    Pair(
        "tender ‖ the same tender",
        lambda s: (s.stock(1), s.placed()),
        (tender(1599), tender(1599)),
        lambda s: (
            all(reply.body for reply in s.replies)
            and s.order().status.value == "confirmed"
            and s.order().payment.captured == s.order().totals.total
        ),
    ),
    Pair(
        "dispute ‖ ship",
        lambda s: (s.stock(1), s.packed().disputed()),
        (dispute_news("created"), step("ship", shipment=True)),
        _disputed_and_held,
    ),
    Pair(
        "dispute opened ‖ the bank decides ‖ dispute closed",
        lambda s: (s.stock(1), s.confirmed().disputed()),
        (dispute_news("created"), bank_decides("won"), dispute_news("closed")),
        _won_in_the_end,
    ),
    Pair(
        "capture once more ‖ a till takes a part",
        lambda s: (s.stock(1), s.capture_failed()),
        (step("ship", shipment=True), tender(500)),
        _taken_for_what_left,
        long=True,
    ),
    Pair(
        "capture ‖ cancel a line",
        lambda s: (s.stock(2), s.set_aside(2)),
        (step("ship", shipment=True), cancel(ONE_UNIT)),
        lambda s: not overpaid(s.order()) and not s.order().holds,
        long=True,
    ),
    Pair(
        "capture ‖ cancel",
        lambda s: (s.stock(1), s.set_aside()),
        (step("ship", shipment=True), cancel()),
        _taken_or_let_go,
        long=True,
    ),
    Pair(
        "renew ‖ renew",
        lambda s: (s.stock(1), s.lapsing()),
        (settle, settle),
        _renewed,
        long=True,
    ),
    Pair(
        "renew ‖ ship",
        lambda s: (s.stock(1), s.lapsing()),
        (settle, step("ship", shipment=True)),
        lambda s: (
            s.order().status.value == "completed"
            and s.order().payment.captured == s.order().totals.total
            and (s.do(settle), s.do(settle), s.order().payment.authorized)[-1] == 0
            and _at_stripe(s)["requires_capture"] == 0
        ),
        long=True,
    ),
    Pair(
        "renew ‖ cancel",
        lambda s: (s.stock(1), s.lapsing()),
        (settle, cancel()),
        lambda s: (
            (s.do(settle), s.do(settle), s.order().payment.authorized)[-1] == 0
            and _at_stripe(s)["requires_capture"] == 0
        ),
        long=True,
    ),
    Pair("refund ‖ refund", lambda s: (s.stock(1), s.confirmed().do(cancel())), (settle, settle), _one_refund),
    Pair(
        "cancel the intent ‖ pay at the last moment",
        lambda s: (s.stock(1), s.placed().paid_at_stripe(), s.do(cancel())),
        (settle, webhook()),
        _paid_or_given_back,
    ),
    Pair(
        "callback ‖ the same callback",
        lambda s: (s.stock(1, channel="etsy"), s.sold_on("etsy")),
        (callback("etsy"), callback("etsy")),
        lambda s: len(s.orders()) == 1 and s.available() == 0 and not s.orders()[0].oversold,
    ),
    Pair(
        "callback ‖ import from the queue",
        lambda s: (s.stock(1, channel="ebay"), s.sold_on("ebay")),
        (callback("ebay"), import_order("ebay")),
        lambda s: len(s.orders()) == 1 and s.available() == 0,
    ),
    Pair(
        "callback ‖ place on the last unit",
        lambda s: (s.stock(1, channel="etsy"), s.sold_on("etsy")),
        (callback("etsy"), place("web")),
        lambda s: sum(sum(o.oversold.values()) for o in s.orders()) == len(s.orders()) - 1 and s.available() == 0,
    ),
    Pair(
        "callback ‖ sync of the sold listing",
        lambda s: (
            s.stock(2, channel="etsy"),
            s.do(sync("EtsyQueue")),
            s.sold_on("etsy"),
            s.do(movement("receive", 1)),
        ),
        (callback("etsy"), sync("EtsyQueue")),
        lambda s: len(s.orders()) == 1 and s.available() == 2,
    ),
    Pair(
        "sync ‖ sync",
        lambda s: (s.stock(2, channel="ebay"), s.do(movement("receive", 1))),
        (sync("EbayQueue"), sync("EbayQueue")),
        _shown("ebay"),
    ),
    Pair(
        "sync ‖ receive ‖ sync",
        lambda s: s.stock(2, channel="ebay"),
        (sync("EbayQueue"), movement("receive", 1), sync("EbayQueue")),
        lambda s: s.acknowledged("ebay") in {None, s.system.ebay.shown("A")},
    ),
    Pair(
        "adjust ‖ place on the last unit",
        lambda s: s.stock(1),
        (movement("adjust", -1), place("one")),
        lambda s: s.statuses() in ([201, 409],) and s.available() == 0,
    ),
    Pair(
        "count ‖ place",
        lambda s: s.stock(2),
        (movement("count", 1), place("one")),
        lambda s: s.replies[0].status in {201, 409} and s.replies[1].ok,
    ),
    Pair(
        "count of the bin ‖ place",
        lambda s: s.stock(2),
        (movement("count", 1, bin="A1"), place("one")),
        lambda s: s.statuses() == [201, 201] and s.available() == 0,
    ),
    Pair(
        "count of the bin ‖ receive into it",
        lambda s: s.stock(2),
        (movement("count", 1, bin="A1"), movement("receive", 2, "receive-key", bin="A1")),
        lambda s: s.statuses() == [201, 201] and s.available() in {1, 3},
    ),
    Pair(
        "receive ‖ place on a SKU that is waited for",
        lambda s: (s.stock(0, backorder=True), s.placed()),
        (movement("receive", 2), place("other")),
        lambda s: s.statuses() == [201, 201] and _all_served(s) and s.available() == 0,
    ),
    Pair(
        "receive ‖ the first who waits",
        lambda s: s.stock(0, backorder=True),
        (movement("receive", 2), place("one")),
        lambda s: s.statuses() == [201, 201] and _all_served(s) and s.available() == 1,
    ),
    Pair(
        "receive of a transfer ‖ place on a SKU that is waited for",
        lambda s: (s.stock(2, backorder=True), s.shipped_east(2), s.placed()),
        (receipt(2), place("other")),
        lambda s: s.statuses() == [201, 201] and _all_served(s) and s.available() == 0,
    ),
    Pair(
        "receive of a transfer ‖ the same receipt",
        lambda s: (s.stock(2), s.shipped_east(2)),
        (receipt(2), receipt(2)),
        lambda s: s.statuses() == [201, 201] and s.replies[0].body == s.replies[1].body and s.available() == 2,
    ),
    Pair(
        "adjust ‖ the same adjust of the last unit",
        lambda s: s.stock(1),
        (movement("adjust", -1), movement("adjust", -1)),
        lambda s: s.statuses() == [201, 201] and s.replies[0].body == s.replies[1].body and s.available() == 0,
    ),
    Pair(
        "restripe ‖ place",
        lambda s: s.stock(2, stripes=2),
        (restripe(1), place("one", 2)),
        lambda s: s.statuses() == [200, 201] and s.available() == 0,
    ),
    Pair(
        "fill ‖ fill of orders with different priorities",
        lambda s: (
            s.stock(0, backorder=True),
            s.do(place("patient")),
            s.later(60).do(place("urgent", shipping_method="express")),
            s.do(movement("receive", 1)),
        ),
        (fill, fill),
        _first_in_rank_served,
    ),
    Pair(
        "fill ‖ cancel",
        lambda s: (s.stock(0, backorder=True), s.placed(), s.do(movement("receive", 1))),
        (fill, cancel()),
        lambda s: s.order().status.value == "cancelled" and _all_served(s) and s.available() == 1,
    ),
    Pair(
        "receive ‖ receive with one key",
        lambda s: s.stock(1),
        (movement("receive", 2), movement("receive", 2)),
        lambda s: s.available() == 3,
    ),
    Pair(
        "allocate ‖ allocate",
        lambda s: (s.stock(2), s.confirmed(2)),
        (step("allocate"), step("allocate")),
        lambda s: s.order().shipments == 1 and s.order().status.value == "in_fulfillment",
    ),
    Pair(
        "allocate ‖ cancel",
        lambda s: (s.stock(1), s.confirmed()),
        (step("allocate"), cancel()),
        _ended_once,
    ),
    Pair(
        "scan ‖ the same scan",
        lambda s: (s.stock(2), s.allocated(2)),
        (
            floor("pick", "scans", {"barcode": "code-A"}, "scan-key"),
            floor("pick", "scans", {"barcode": "code-A"}, "scan-key"),
        ),
        lambda s: s.statuses() == [200, 200] and s.replies[0].body == s.replies[1].body,
    ),
    Pair(
        "scan ‖ another scan of the last unit",
        lambda s: (s.stock(1), s.allocated(1)),
        (floor("pick", "scans", {"barcode": "code-A"}), floor("pick", "scans", {"barcode": "code-A"})),
        lambda s: s.statuses() == [200, 409],
    ),
    Pair(
        "complete ‖ the last scan",
        lambda s: (s.stock(1), s.allocated(1)),
        (floor("pick", "complete"), floor("pick", "scans", {"barcode": "code-A"})),
        lambda s: s.replies[1].ok and s.replies[0].status in {200, 409},
    ),
    Pair(
        "short ‖ cancel",
        lambda s: (s.stock(1), s.allocated()),
        (floor("pick", "short", {"sku": "A", "quantity": 1, "reason": "bin is empty"}), cancel()),
        lambda s: s.order().status.value == "cancelled",
    ),
    Pair(
        "a walk's scan ‖ the same scan",
        lambda s: (s.stock(2), s.confirmed(2), s.on_a_walk()),
        (walk("scans", "walk-scan"), walk("scans", "walk-scan")),
        lambda s: (
            s.statuses() == [200, 200]
            and s.replies[0].body == s.replies[1].body
            and bool(s.do(walk("scans", "walk-scan-2")).body["walk_remaining"] == 0)
        ),
    ),
    Pair(
        "a walk's scan ‖ cancel",
        lambda s: (s.stock(1), s.confirmed(), s.on_a_walk()),
        (walk("scans", "walk-scan"), cancel()),
        _scan_or_cancel,
        long=True,
    ),
    Pair(
        "end of a walk ‖ another picker takes it over",
        lambda s: (s.stock(1), s.confirmed(), s.on_a_walk().do(walk("scans")), s.later(1000)),
        (walk("complete"), next_walk("lee")),
        _one_of_them_ends_it,
        long=True,
    ),
    Pair(
        "wave ‖ cancel",
        lambda s: (s.stock(1), s.allocated()),
        (wave, cancel()),
        _nothing_to_walk_for,
        long=True,
    ),
    Pair(
        "put-back ‖ put-back",
        lambda s: (s.stock(2), s.packed().do(cancel())),
        (put_away, put_away),
        _back_on_its_shelf,
        long=True,
    ),
    Pair(
        "collected ‖ cancel",
        lambda s: (s.stock(1), s.at_the_counter()),
        (collect, cancel()),
        _collected_or_ended,
        long=True,
    ),
    Pair(
        "collected ‖ not collected in time",
        lambda s: (s.stock(1), s.at_the_counter().later(8 * 86_400)),
        (collect, sweep),
        _collected_or_ended,
        long=True,
    ),
    Pair(
        "expiry of a lot ‖ pick of what is left of it",
        lambda s: (s.lots(today=2), s.allocated().later(86_400)),
        (sweep, floor("pick", "scans", {"barcode": "code-A", "lot": "L-1", "expires": "2027-01-15"})),
        lambda s: s.replies[1].status == 409 and s.place().lots[QUARANTINE] == {LOTS["today"]: 1} and not s.available(),
        long=True,
    ),
    Pair(
        "expiry of a lot ‖ pick of another one",
        lambda s: (s.lots(today=1, long=1), s.allocated().later(86_400)),
        (sweep, floor("pick", "scans", {"barcode": "code-A", "lot": "L-2", "expires": "2029-06-30"})),
        lambda s: (
            s.replies[1].ok
            and s.place().lots[QUARANTINE] == {LOTS["today"]: 1}
            and s.inspector.books.order(f"ORDER#{s.order_id}")["SHIPMENT#001"]["lots"] == {"A": {LOTS["long"]: 1}}
            and (s.available(), s.place().allocated) == (0, 1)
        ),
        long=True,
    ),
    Pair(
        "carrier ‖ carrier",
        lambda s: (s.stock(1), s.on_the_road("in_transit", "delivered")),
        (carrier_word(0), carrier_word(1)),
        _delivered_once,
    ),
    Pair(
        "the same word ‖ the same word",
        lambda s: (s.stock(1), s.on_the_road("delivered")),
        (carrier_word(0), carrier_word(0)),
        _delivered_once,
    ),
    Pair("ship ‖ cancel", lambda s: (s.stock(1), s.packed()), (step("ship", shipment=True), cancel()), _ship_or_cancel),
    Pair(
        "cancel ‖ cancel of a parcel with a label",
        lambda s: (s.stock(1), s.labelled()),
        (cancel(), cancel()),
        _label_given_back,
    ),
    Pair(
        "ship ‖ hold",
        lambda s: (s.stock(1), s.packed()),
        (step("ship", shipment=True), hold),
        lambda s: (
            s.order().status.value
            == ("completed" if s.replies[1].status == 409 or not s.order().holds else "in_fulfillment")
        ),
    ),
    Pair(
        "ship ‖ ship of a parcel that is not paid for",
        lambda s: (s.stock(1), s.underpaid()),
        (step("ship", shipment=True), step("ship", shipment=True)),
        lambda s: s.order().status.value == "in_fulfillment" and "payment" in s.order().holds,
    ),
    Pair(
        "ship ‖ ship",
        lambda s: (s.stock(1), s.packed()),
        (step("ship", shipment=True), step("ship", shipment=True)),
        lambda s: s.order().status.value == "completed" and len(labels(s.system, f"{s.order_id}.1")) == 1,
    ),
)


# ---- running one schedule --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Point:
    """One choice of a run: who could go on, with what, and who did."""

    options: dict[int, Call | None]
    chosen: int
    asleep: frozenset[int]


@dataclass(slots=True)
class Run:
    """One run of a pair."""

    points: list[Point] = field(default_factory=list)
    calls: int = 0
    violation: str = ""
    redundant: bool = False
    struck: bool = False


def conflict(one: Call | None, other: Call | None) -> bool:
    """Can the order of these two calls matter? Whole partitions are compared; an index touches its whole table."""
    if one is None or other is None or not (one.mutates or other.mutates):
        return False
    mine, theirs = one.places(), other.places()
    if mine & theirs:
        return True
    wide = {place.partition("/")[0] for place in mine | theirs if place.endswith("/*")}
    return any(place.partition("/")[0] in wide for place in mine) and any(
        place.partition("/")[0] in wide for place in theirs
    )


def play(
    pair: Pair, schedule: Sequence[int] = (), asleep: frozenset[int] = frozenset(), fault: tuple[int, str] | None = None
) -> Run:
    """Set the scene, then let the handlers go on in the order of ``schedule`` (handlers by number), and after its end
    whoever is first and not asleep."""
    plane = Plane(random.Random(0))
    system = System(pair.name, plane, pumps=False)
    run = Run()
    with system.running():
        scene = Scene(system)
        try:
            pair.setting(scene)
            plane.number = -1
            plane.at = dict([fault]) if fault else {}
            tasks = [handler(scene) for handler in pair.handlers]
            _interleave(system, scene, tasks, schedule, asleep, run)
            run.calls = plane.number + 1
            run.struck = bool(plane.struck)
            plane.at = {}
            scene.replies = [
                reply_of(task) if task.result and "statusCode" in task.result else Reply(0, task.result)
                for task in tasks
            ]
            if not fault and not pair.outcome(scene):
                raise Violation(
                    "outcome", f"answers {scene.replies}, orders {scene.orders()}, {scene.available()} available"
                )
        except Violation as broken:
            run.violation = str(broken)
    return run


def _interleave(
    system: System, scene: Scene, tasks: list[Task], schedule: Sequence[int], asleep: frozenset[int], run: Run
) -> None:
    scheduler = system.scheduler
    numbers = {task: number for number, task in enumerate(tasks)}
    sleeping: frozenset[int] = frozenset()
    while scheduler.tasks:
        ready = [task for task in scheduler.runnable() if task in numbers]
        if not ready:
            moment = scheduler.next_wake()
            if moment is None:
                raise Violation("deadlock", ", ".join(task.name for task in scheduler.tasks))
            system.clock.advance_to(moment)
            continue
        options = {numbers[task]: task.pending if isinstance(task.pending, Call) else None for task in ready}
        position = len(run.points)
        if position < len(schedule):
            chosen = schedule[position] if schedule[position] in options else min(options)
            if position == len(schedule) - 1:
                sleeping = asleep
        else:
            awake = [number for number in options if number not in sleeping]
            run.redundant = run.redundant or not awake
            chosen = min(awake or options)
        run.points.append(Point(options, chosen, sleeping))
        if position >= len(schedule):
            sleeping = frozenset(n for n in sleeping if not conflict(options.get(n), options[chosen]))
        scheduler.resume(tasks[chosen])
        scene.inspector.look()


# ---- searching -------------------------------------------------------------------------------------------------------


def interleavings(
    pair: Pair, fault: tuple[int, str] | None = None, limit: int = 5000
) -> Iterator[tuple[list[int], Run]]:
    """Every schedule that can make a difference, with its run."""
    waiting: list[tuple[list[int], frozenset[int]]] = [([], frozenset())]
    done = 0
    while waiting and done < limit:
        prefix, asleep = waiting.pop()
        run = play(pair, prefix, asleep, fault)
        done += 1
        path = [point.chosen for point in run.points]
        if not run.redundant:
            yield path, run
        for position in range(len(prefix), len(run.points)):
            point = run.points[position]
            before = {point.chosen}
            for other in sorted(set(point.options) - point.asleep - {point.chosen}):
                still = (point.asleep | before) - {other}
                after = frozenset(n for n in still if not conflict(point.options.get(n), point.options[other]))
                waiting.append(([*path[:position], other], after))
                before.add(other)


def simple_schedules(pair: Pair) -> list[list[int]]:
    """Each handler first, interrupted once: before it begins, or before one of its writes."""
    found: list[list[int]] = []
    for first in range(len(pair.handlers)):
        alone = play(pair, [first] * 200)
        own = [point.options[first] for point in alone.points if point.chosen == first]
        others = [n for n in range(len(pair.handlers)) if n != first]
        turns = [0, *(n for n, call in enumerate(own) if call is not None and call.mutates)]
        found += [[first] * count + [n for n in others for _ in range(200)] for count in turns]
    return found


@dataclass(slots=True)
class Finding:
    """What the search of one pair found."""

    name: str
    schedules: int = 0
    runs: int = 0
    faults: int = 0
    violations: list[str] = field(default_factory=list)


def search(pair: Pair, *, full: bool = False, stop_at_first: bool = False) -> Finding:
    """All interleavings, then one fault at every call."""
    finding = Finding(pair.name)
    longest = 0
    crowd = pair.long or len(pair.handlers) > 2
    for path, run in interleavings(pair, limit=200 if crowd and not full else 5000):
        finding.schedules += 1
        finding.runs += 1
        longest = max(longest, run.calls)
        if run.violation:
            finding.violations.append(f"{pair.name} {path}: {run.violation}")
            if stop_at_first:
                return finding
    schedules = [] if full else simple_schedules(pair)
    if crowd:
        for schedule in schedules:
            run = play(pair, schedule)
            finding.runs += 1
            if run.violation:
                finding.violations.append(f"{pair.name} {_short(schedule)}: {run.violation}")
        schedules = []
    for number in range(longest if schedules or full else 0):
        for kind in MORE_FAULTS if full else FAULTS:
            runs = (
                interleavings(pair, (number, kind))
                if full
                else ((schedule, play(pair, schedule, fault=(number, kind))) for schedule in schedules)
            )
            for path, run in runs:
                finding.runs += 1
                finding.faults += run.struck
                if not run.struck:
                    break  # This kind may not strike this call.
                if run.violation:
                    finding.violations.append(f"{pair.name} {kind} at call {number} {_short(path)}: {run.violation}")
                    if stop_at_first:
                        return finding
    return finding


def _short(path: Sequence[int]) -> str:
    counts = Counter(path)
    return str(list(path)) if len(path) < 60 else f"{path[0]}×{counts[path[0]]} then the other"


def _search(job: tuple[str, bool]) -> Finding:
    warnings.filterwarnings("ignore")
    name, full = job
    return search(next(pair for pair in PAIRS if pair.name == name), full=full)


def search_all(names: Sequence[str], processes: int = 2, *, full: bool = False) -> Iterator[Finding]:
    """Search pairs in several processes."""
    jobs = [(name, full) for name in names]
    if processes <= 1:
        yield from map(_search, jobs)
        return
    with get_context("fork").Pool(processes) as pool:
        yield from pool.imap_unordered(_search, jobs)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.pairs", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every fault under every interleaving; takes long")
    parser.add_argument("--only", default="", help="pairs whose name contains this")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    names = [pair.name for pair in PAIRS if options.only in pair.name]
    started, runs, bad = time.perf_counter(), 0, 0
    for finding in search_all(names, options.processes, full=options.full):
        runs += finding.runs
        bad += len(finding.violations)
        print(f"{finding.name}: {finding.schedules} interleavings, {finding.faults} with a fault", flush=True)
        for violation in finding.violations[:5]:
            print(f"  VIOLATION {violation}")
    print(f"{len(names)} pairs, {runs} runs, {bad} violations, {time.perf_counter() - started:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
