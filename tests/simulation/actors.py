"""Who acts on the system from outside: each is a plain function that runs as a task, with the world's dice in hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from local.simulators.core import Request
from oms.inventory.model import Movement
from oms.runtime.errors import Conflict
from tests.simulation.checkers import Books, Violation
from tests.simulation.system import CHANNELS, Reply, System

if TYPE_CHECKING:
    from tests.simulation.world import World

ADDRESS = {
    "name": "Sam Shopper",
    "line1": "1 Main Street",
    "city": "Springfield",
    "region": "IL",
    "postal_code": "62701",
    "country": "US",
}
COUPON = "SIM"
"""A coupon that only a few orders may carry."""
PLACE, CANCEL, READ = "POST /orders", "POST /orders/{id}/cancel", "GET /orders/{id}"


def bind(function: Callable[..., None], *args: Any) -> Callable[[], None]:
    """A task's body."""
    return lambda: function(*args)


def receive(app: Any, sku: str, quantity: int, facility: str, now: datetime) -> None:
    """Stock from before the story."""
    app.inventory.move(
        Movement("receive", sku, quantity, facility, "A1", "opening stock", "system", f"open-{sku}-{facility}", now)
    )


class Watch:
    """Follows what was available while a request was under way: a refusal needs evidence."""

    def __init__(self, world: World, wanted: Mapping[str, int]) -> None:
        self.world, self.wanted = world, wanted
        self.least = {sku: world.inspector.books.available(sku) for sku in wanted}

    def __enter__(self) -> Watch:
        self.world.inspector.after_change.append(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self.world.inspector.after_change.remove(self._look)

    def _look(self, books: Books) -> None:
        for sku in self.least:
            self.least[sku] = min(self.least[sku], books.available(sku))

    def check(self, reply: Reply) -> None:
        """Every SKU that was refused must have been short at some moment of the request."""
        for item in (reply.body or {}).get("items", []):
            least = self.least.get(item["sku"], 0)
            if item["sku"] in self.world.backordered:
                raise Violation("refused_only_when_short", f"{item['sku']} may be backordered and was refused")
            if least >= self.wanted.get(item["sku"], 0):
                raise Violation(
                    "refused_only_when_short",
                    f"{item['sku']}: wanted {self.wanted}, never fewer than {least} available",
                )


# ---- shoppers ------------------------------------------------------------------------------------------------------


def shopper(world: World, number: int) -> None:
    """Places an order, perhaps more than once, and pays it, or does not, or changes their mind."""
    rng, system = world.rng, world.system
    skus = rng.sample(world.skus, k=min(len(world.skus), rng.choice((1, 1, 2))))
    lines = [{"sku": sku, "quantity": rng.choice((1, 1, 1, 2, 3))} for sku in skus]
    body = {
        "customer": {"email": f"shopper{number}@example.org", "name": "Sam Shopper"},
        "shipping_address": ADDRESS,
        "lines": lines,
        "currency": "USD",
        "capture": "on_shipment" if number % 2 else "automatic",
    }
    if number % 3 == 0:
        body["coupon"] = COUPON
    key = f"checkout-{world.seed}-{number}"
    placed = _place(world, body, key)
    if placed is None:
        return
    world.tally["orders placed"] += 1
    if ("ORDER#" + placed.body["order_id"], "ORDER") not in world.inspector.books.items["OrdersTable"]:
        raise Violation("an_answer_is_true", f"order {placed.body['order_id']} was promised and does not exist")
    if rng.random() < 0.25:
        again = _place(world, body, key, repeated=True)
        if again is not None and again.body != placed.body:
            raise Violation("same_request_same_answer", f"{placed.body} ≠ {again.body}")
    if rng.random() < 0.1:
        _expect_key_refused(world, body, key)
    plan = rng.choice(
        (
            *("pay", "pay", "pay", "pay", "pay", "decline", "late", "abandon", "cancel", "pay and cancel"),
            *("cancel and pay", "lines", "lines and all", "twice", "too little", "forge"),
        )
    )
    world.tally[f"plan: {plan}"] += 1
    order_id, secret = placed.body["order_id"], placed.body["payment"]["client_secret"]
    token = {"order-token": placed.body["order_token"]}
    system.scheduler.sleep(rng.choice((0.0, 0.5, 30.0)))
    match plan:
        case "pay":
            pay(world, secret)
        case "decline":
            pay(world, secret, "pm_card_visa_chargeDeclined")
            system.scheduler.sleep(rng.choice((1.0, 60.0)))
            pay(world, secret)
        case "late":
            system.scheduler.sleep(rng.choice((1795.0, 1800.0, 1801.0, 1830.0, 1900.0, 5400.0)))
            pay(world, secret)
        case "cancel":
            _cancel(world, order_id, token)
        case "pay and cancel":
            pay(world, secret)
            system.scheduler.sleep(rng.choice((0.0, 0.0, 1.0, 400.0)))
            _cancel(world, order_id, token)
        case "cancel and pay":
            other = world.spawn(f"impatient {number}", bind(_cancel, world, order_id, token))
            pay(world, secret)
            system.scheduler.wait(other.done)
        case "lines" | "lines and all":
            pay(world, secret)
            system.scheduler.sleep(rng.choice((0.0, 2.0, 30.0)))
            _cancel(world, order_id, token, lines=[{"line": 1, "quantity": 1}])
            if plan == "lines and all":
                _cancel(world, order_id, token)
        case "twice":
            pay(world, secret)
            pay(world, other_intent(system, order_id, placed.body["total"]))
        case "too little":
            pay(world, other_intent(system, order_id, 200))
        case "forge":
            _forge(world, order_id, placed.body["total"])
        case _:
            pass
    if rng.random() < 0.2:
        system.request("place_order/api", READ, parameters={"id": order_id}, headers=token)


def _place(world: World, body: dict[str, Any], key: str, *, repeated: bool = False) -> Reply | None:
    """Send the request until it is answered, or until patience runs out."""
    wanted: dict[str, int] = {}
    for line in body["lines"]:
        for sku, units in world.wanted[line["sku"]].items():
            wanted[sku] = wanted.get(sku, 0) + units * line["quantity"]
    for _ in range(world.rng.choice((2, 4, 6))):
        with Watch(world, wanted) as seen:
            reply = world.system.request("place_order/api", PLACE, body=body, headers={"idempotency-key": key})
        if reply.ok:
            return reply
        code = (reply.body or {}).get("code")
        if code == "out_of_stock":
            world.tally["orders refused"] += 1
            if repeated:
                raise Violation("same_request_same_answer", f"answered 201 before, now {reply}")
            seen.check(reply)
            return None
        if code == "coupon_used_up" and not repeated:
            world.tally["coupons refused"] += 1
            body.pop("coupon")  # They order without it.
            continue
        if reply.status in (400, 404, 412, 413, 415, 422):
            raise Violation("a_good_request_is_taken", f"{reply}")
        world.tally[f"placement answered {reply.status}"] += 1
        world.system.scheduler.sleep(world.rng.choice((0.2, 2.0, 30.0)))
    return None


def _expect_key_refused(world: World, body: Mapping[str, Any], key: str) -> None:
    other = {**body, "note": "another request"}
    reply = world.system.request("place_order/api", PLACE, body=other, headers={"idempotency-key": key})
    if reply.ok or (reply.status < 500 and (reply.body or {}).get("code") != "idempotency_key_reused"):
        raise Violation("a_key_is_one_request", f"{reply}")


def pay(world: World, secret: str, card: str = "pm_card_visa") -> bool:
    """The browser pays at Stripe."""
    answer = world.system.control("stripe", "POST", "/_sim/pay", {"payment_intent": secret, "payment_method": card})
    world.tally["payments" if answer.status == 200 else "payments declined"] += 1
    return answer.status == 200


def other_intent(system: System, order_id: str, amount: int) -> str:
    """A payment for the order that somebody made in Stripe's dashboard."""
    form = urlencode(
        {
            "amount": amount,
            "currency": "usd",
            "metadata[order_id]": order_id,
            "automatic_payment_methods[enabled]": "true",
        }
    )
    headers = {"authorization": "Bearer sk_test_simulation", "content-type": "application/x-www-form-urlencoded"}
    request = Request.to("POST", "/v1/payment_intents", headers, form.encode())
    answer = system.stripe.handle(request)
    while answer.status >= 500:  # an answer that was spoilt for a call of ours which died before it: one clicks again
        answer = system.stripe.handle(request)
    if answer.status != 200:
        raise RuntimeError(f"the dashboard cannot make an intent: {answer.body!r}")
    return str(answer.json()["client_secret"])


def _forge(world: World, order_id: str, amount: int) -> None:
    """Somebody tells us that an order was paid, without Stripe's signature."""
    intent = {
        "id": "pi_forged",
        "object": "payment_intent",
        "amount": amount,
        "amount_received": amount,
        "currency": "usd",
        "metadata": {"order_id": order_id},
        "last_payment_error": None,
    }
    event = {"id": "evt_forged", "object": "event", "type": "payment_intent.succeeded", "data": {"object": intent}}
    signature = f"t={int(world.system.clock.now)},v1={'0' * 64}"
    reply = world.system.request(
        "payment_webhook/webhook", "POST /webhooks/stripe", body=event, headers={"stripe-signature": signature}
    )
    if reply.ok:
        raise Violation("forged_events_are_refused", f"{reply}")


def _cancel(world: World, order_id: str, token: Mapping[str, str], lines: Any = None) -> None:
    body: dict[str, Any] = {"reason": "changed my mind"}
    if lines:
        body["lines"] = lines
    headers = {**token, "idempotency-key": f"cancel-{order_id}"}
    for _ in range(3):
        reply = world.system.request("place_order/api", CANCEL, parameters={"id": order_id}, body=body, headers=headers)
        if reply.status < 500:
            world.tally["cancelled" if reply.ok else "cancel refused"] += 1
            return
        world.system.scheduler.sleep(world.rng.choice((0.5, 5.0)))


# ---- money that comes by another way, or goes back ----------------------------------------------------------------


def till(world: World, number: int) -> None:
    """Somebody orders at the counter and pays in cash or at the terminal, in one or two parts; perhaps a card pays as
    well, or they change their mind."""
    rng, system = world.money_rng, world.system
    body = {
        "customer": {"email": f"counter{number}@example.org", "name": "Sam Shopper"},
        "shipping_address": ADDRESS,
        "lines": [{"sku": rng.choice(world.skus), "quantity": 1}],
        "currency": "USD",
    }
    placed = _place(world, body, f"counter-{world.seed}-{number}")
    if placed is None:
        return
    order_id, total = placed.body["order_id"], placed.body["total"]
    plan = rng.choice(("pay", "pay", "late", "card as well", "cancel"))
    world.tally[f"till: {plan}"] += 1
    other = None
    if plan == "late":
        system.scheduler.sleep(rng.choice((1795.0, 1801.0, 1900.0)))
    elif plan == "card as well":
        pay(world, placed.body["payment"]["client_secret"])
    elif plan == "cancel":
        token = {"order-token": placed.body["order_token"]}
        other = world.spawn(f"undecided {number}", bind(_cancel, world, order_id, token), rng.choice((0.0, 2.0)))
    first = rng.choice((total, total, total // 3))
    for turn, amount in enumerate(part for part in (first, total - first) if part):
        _take(world, order_id, rng.choice(("cash", "card_terminal")), amount, f"till-{number}-{turn}")
        system.scheduler.sleep(rng.choice((0.0, 5.0)))
    if other is not None:
        system.scheduler.wait(other.done)


def _take(world: World, order_id: str, method: Any, amount: int, key: str) -> None:
    """The till books what it was given, as often as it takes to learn whether it was booked; else it hands it back."""
    system = world.system
    entry = system.template.function_at("customer_service/api")
    booked = False
    while not booked:

        def book() -> None:
            tenders = system._app(entry).tenders
            tenders.record(order_id, method, amount, reference=key, agent="staff:kim", key=key)

        task = system.scheduler.spawn(f"till {key}", book, limit=entry.timeout)
        system.scheduler.wait(task.done)
        if isinstance(task.error, Conflict):
            world.tally["tenders refused"] += 1
            return
        booked = task.error is None
        if task.error is not None:
            system.note_error("till", task.error)
            system.scheduler.sleep(world.money_rng.choice((0.5, 5.0)))
    system.tenders[order_id, key] = amount
    world.tally[f"tenders: {method}"] += 1
    if world.money_rng.random() < 0.3:
        again = system.scheduler.spawn(f"till {key} again", book, limit=entry.timeout)
        system.scheduler.wait(again.done)
        if isinstance(again.error, Conflict):
            raise Violation("same_request_same_answer", f"tender {key} was booked before, now {again.error}")


def bank(world: World) -> None:
    """A card holder's bank takes back a payment and decides later, or sends back a refund that had been accepted."""
    rng, system = world.money_rng, world.system
    plan = rng.choice(("dispute", "dispute", "send back"))
    for _ in range(12):
        kind, status = ("payment_intent", "succeeded") if plan == "dispute" else ("refund", "succeeded")
        found = [each["id"] for each in system.stripe.account.all(kind) if each["status"] == status]
        if found and plan == "send back":
            told = {"refund": rng.choice(found), "outcome": "failed"}
            if system.control("stripe", "POST", "/_sim/settle", told).status == 200:
                world.tally["bank: refund sent back"] += 1
            return
        if found:
            opened = system.control("stripe", "POST", "/_sim/disputes", {"payment_intent": rng.choice(found)})
            if opened.status == 200:
                world.tally["bank: disputed"] += 1
                system.scheduler.sleep(rng.choice((0.0, 1.0, 60.0, 2400.0)))
                told = {"dispute": opened.json()["id"], "outcome": rng.choice(("won", "lost"))}
                system.control("stripe", "POST", "/_sim/disputes", told)
                world.tally[f"bank: {told['outcome']}"] += 1
            return
        system.scheduler.sleep(rng.choice((1.0, 20.0, 200.0)))


# ---- marketplaces --------------------------------------------------------------------------------------------------


def marketplace_buyer(world: World, number: int) -> None:
    """Buys what a marketplace shows, and sometimes cancels there."""
    rng, system = world.rng, world.system
    for _ in range(rng.randint(1, 3)):
        shown = [
            (channel, sku, quantity)
            for channel in CHANNELS
            for sku in world.skus
            if (quantity := system.cores[channel].shown(sku))
        ]
        if shown:
            channel, sku, quantity = shown[rng.randrange(len(shown))]
            lines = [{"sku": sku, "quantity": rng.randint(1, min(2, quantity))}]
            answer = system.control(channel, "POST", "/_sim/purchases", {"lines": lines, "buyer": {}})
            if answer.status == 201:
                world.tally[f"{channel} sales"] += 1
                order_id = answer.json()["order_id"]
                system.sold[channel].append(order_id)
                if rng.random() < 0.2:
                    system.scheduler.sleep(rng.choice((0.0, 1.0, 60.0)))
                    system.control(channel, "POST", "/_sim/cancel", {"order_id": order_id})
                    world.tally[f"{channel} cancellations"] += 1
                    if channel == "ebay":
                        _tell_of_cancellation(world, order_id)
        system.scheduler.sleep(rng.choice((1.0, 10.0, 200.0)))


def _tell_of_cancellation(world: World, order_id: str) -> None:
    """eBay announces no cancellation: here an operator queues the order again."""
    data = {
        "QueueUrl": world.system.cloud.queue_url("ChannelEventsQueue"),
        "MessageBody": json.dumps({"channel": "ebay", "external_id": order_id}),
    }
    world.system.cloud.execute("sqs", "SendMessage", data)


# ---- operators -----------------------------------------------------------------------------------------------------


def operator(world: World, number: int) -> None:
    """Receives, corrects, counts and writes off stock, and changes how a product is sold."""
    rng = world.rng
    for turn in range(rng.randint(1, 3)):
        sku = rng.choice(world.stocked)
        kind = rng.choice(("receive", "receive", "adjust", "damage", "count", "stripes"))
        if kind == "stripes":
            _restripe(world, sku)
        else:
            quantity = {
                "receive": rng.randint(1, 3),
                "adjust": rng.choice((-1, 1, -2)),
                "damage": 1,
                "count": rng.randint(0, 6),
            }[kind]
            body = {"type": kind, "sku": sku, "quantity": quantity, "facility": "main", "reason": "routine"}
            headers = {"idempotency-key": f"movement-{number}-{turn}"}
            _persist(world, "POST /stock/movements", body, headers)
        world.system.scheduler.sleep(rng.choice((0.5, 20.0)))


def _restripe(world: World, sku: str) -> None:
    body = {
        "sku": sku,
        "title": sku,
        "price": {"amount": 1000 + 100 * ord(sku[0]), "currency": "USD"},
        "barcodes": [f"code-{sku}"],
        "stripes": world.rng.choice((1, 2, 4)),
        "backorder": sku in world.backordered,
    }
    _persist(world, "PUT /products/{sku}", body, {}, parameters={"sku": sku})


def stock_clerk(world: World, number: int) -> None:
    """Receives what orders wait for, sends units to the other facility and takes them in there, and counts bins."""
    rng = world.stock_rng
    for turn in range(rng.randint(2, 4)):
        key = {"idempotency-key": f"clerk-{number}-{turn}-of-{world.seed}"}
        waited = [sku for sku in world.stocked if world.inspector.books.sku(sku).get("BACKORDERS", {}).get("waiting")]
        kind = rng.choice(("receive", "transfer", "count", "stripes"))
        sku = rng.choice(waited or world.stocked)
        match kind:
            case "receive":
                body = {"type": "receive", "sku": sku, "quantity": rng.randint(1, 3), "reason": "delivery"}
                _persist(world, "POST /stock/movements", body, key)
            case "transfer":
                _transfer(world, sku, key)
            case "count":
                _count(world, sku, key)
            case _:
                _restripe(world, sku)
        world.system.scheduler.sleep(rng.choice((0.5, 20.0)))


def _transfer(world: World, sku: str, key: Mapping[str, str]) -> None:
    rng, sent = world.stock_rng, world.stock_rng.randint(1, 2)
    body = {"sku": sku, "quantity": sent, "origin": "main", "target": "east", "reason": "east runs low"}
    shipped = _persist(world, "POST /transfers", body, key)
    if shipped is None or not shipped.ok:
        return
    world.tally["transfers"] += 1
    world.system.scheduler.sleep(rng.choice((0.5, 60.0)))
    arrived = {"quantity": max(0, sent + rng.choice((-1, 0, 0, 0, 1)))}
    where = {"id": shipped.body["transfer_id"]}
    _persist(world, "POST /transfers/{id}/receipt", arrived, key, parameters=where)


def _count(world: World, sku: str, key: Mapping[str, str]) -> None:
    rng = world.stock_rng
    body = {"bin": rng.choice(("A1", "DOCK")), "skus": [sku], "reason": "monthly"}
    asked = _persist(world, "POST /counts", body, key)
    if asked is None or not asked.ok:
        return
    world.tally["counts"] += 1
    world.system.scheduler.sleep(rng.choice((0.5, 20.0)))
    found = {"sku": sku, "quantity": rng.randint(0, 5)}
    _persist(world, "POST /counts/{id}/results", found, key, parameters={"id": asked.body["count_id"]})


def _persist(world: World, route: str, body: Any, headers: Mapping[str, str], **kwargs: Any) -> Reply | None:
    for _ in range(3):
        reply = world.system.request(
            "inventory_sync/stock_api", route, body=body, headers=headers, groups=("ops",), **kwargs
        )
        if reply.status < 500:
            world.tally[f"stock work answered {reply.status}"] += 1
            return reply
        world.system.scheduler.sleep(1.0)
    return None


def outage(world: World, name: str) -> None:
    """A service is gone for a while."""
    service = "stripe" if name == "stripe_down" else world.rng.choice(CHANNELS)
    world.system.gate.outages.add(service)
    world.system.plane.count(name, service)
    world.system.scheduler.sleep(world.rng.choice((5.0, 60.0, 900.0)))
    world.system.gate.outages.discard(service)
