"""``python -m benchmarks.retail ONLINE_RETAIL.csv.gz [--customers N]`` loads the file's customers through the real
handlers and writes what the shop knows of them then: ``retail.md``.

Every invoice of a known customer is an order at its own time: placed by ``POST /orders``, paid at Stripe's simulator,
confirmed by its signed webhook, told by the stream to the relay and by a queue to the keeper of profiles; what was
called off is cancelled and paid back. DynamoDB and SQS are MiniStack's, in this process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "layers" / "common"))

from benchmarks import shop  # noqa: E402
from benchmarks.meter import straight  # noqa: E402
from benchmarks.report import Progress, table  # noqa: E402
from local.replay import Plan, PlannedCancellation, PlannedOrder, plan, read_rows  # noqa: E402
from local.simulators.core import Delivery, Request  # noqa: E402
from local.simulators.inprocess import transport_to  # noqa: E402
from local.simulators.stripe import StripeCore  # noqa: E402
from oms import bootstrap  # noqa: E402
from oms.customers.people import SHARDS, Profile  # noqa: E402
from oms.customers.segments import condition_of, matches  # noqa: E402
from oms.inventory.model import Movement, Product  # noqa: E402
from oms.orders.access import issue_token  # noqa: E402
from oms.runtime.clock import from_text  # noqa: E402
from oms.runtime.settings import Settings  # noqa: E402
from tests.simulation.backend import Cloud, connected, dynamodb  # noqa: E402

RESULTS = Path(__file__).with_name("retail.md")
CURRENCY = "GBP"
_FUNCTIONS = (
    "place_order/api",
    "place_order/relay",
    "payment_webhook/webhook",
    "payment_webhook/settle",
    "customer_service/keep",
)
_READERS = {"PaymentWorkQueue": "payment_webhook.settle", "CustomersQueue": "customer_service.keep"}
_SEEN = 5_000
"""So many records of a stream are kept at a time: all of them would not fit into memory."""


class RetailShop:
    """The shop of the file, whose clock is set to the invoice at hand."""

    def __init__(self) -> None:
        self.now = datetime(2010, 12, 1, tzinfo=UTC)
        self.deliveries: list[Delivery] = []
        self.stripe = StripeCore(
            lambda: self.now.timestamp(),
            self.deliveries.append,
            callback_url="http://oms/webhooks/stripe",
            webhook_secret=shop.SECRETS["StripeSecret"]["webhook_secrets"][0],
        )
        template = shop.template()
        self.cloud = Cloud(template, straight)
        self.cloud.reset()
        environment: dict[str, str] = {}
        for name in _FUNCTIONS:
            environment.update(template.function_at(name).environment)
        clients: dict[str, Any] = {
            "dynamodb": shop.dynamodb_client(),
            "sqs": shop.client("sqs"),
            "secretsmanager": shop.SecretsClient(),
        }
        self.app = bootstrap.App(
            settings=Settings.from_environment(environment), clock=lambda: self.now, client=clients.__getitem__
        )
        self.app.transport = transport_to({"stripe": self.stripe})
        bootstrap.use(self.app)
        self._read = 0

    def open(self, made: Plan) -> None:
        """The catalogue at the file's prices, and more of everything than will be sold."""
        for sku in made.skus:
            self.app.inventory.put_product(Product(sku, sku, made.prices[sku], CURRENCY), self.now)
            units = made.sold[sku] + 1
            self.app.inventory.move(
                Movement("receive", sku, units, "main", "A-01", "opening stock", "staff:load", sku, self.now)
            )
        self._forget()

    def order(self, planned: PlannedOrder) -> str:
        """Place, pay and count one order; its id."""
        self.now = max(self.now, _time(planned.at))
        answer = self._call(
            "place_order.api", "POST /orders", planned.body(""), {"idempotency-key": f"invoice-{planned.key}"}
        )
        intent = answer["payment"]["client_secret"].split("_secret_")[0]
        card = json.dumps({"payment_intent": intent, "payment_method": "pm_card_visa"}).encode()
        paid = self.stripe.handle(Request.to("POST", "/_sim/pay", {"content-type": "application/json"}, card))
        if paid.status != 200:
            raise RuntimeError(f"order {planned.key} is not paid: {paid.body.decode()}")
        self._settle()
        return str(answer["order_id"])

    def cancel(self, order_id: str, planned: PlannedCancellation) -> None:
        """Call units off and pay them back."""
        self.now = max(self.now, _time(planned.at))
        lines = [{"line": line, "quantity": units} for line, units in sorted(planned.lines.items())]
        # The token that the order came with may have ended long ago; whoever asks by then gets another from an agent.
        token = issue_token(order_id, self.now + timedelta(days=1), self.app.token_keys())
        self._call(
            "place_order.api",
            "POST /orders/{id}/cancel",
            {"lines": lines, "reason": "called off"},
            {"order-token": token, "idempotency-key": f"{planned.key}-{order_id}"},
            {"id": order_id},
        )
        self._settle()

    def profiles(self) -> dict[str, Profile]:
        """Everybody, by e-mail."""
        people = (person.profile() for shard in range(SHARDS) for person in self.app.people.in_shard(shard))
        return {profile.email: profile for profile in people}

    # ---- what AWS does between the functions -------------------------------------------------------------------------

    def _call(
        self, entry: str, route: str, body: Any, headers: Mapping[str, str], path: Mapping[str, str] | None = None
    ) -> Any:
        event = {
            "version": "2.0",
            "routeKey": route,
            "headers": {"content-type": "application/json", **headers},
            "pathParameters": dict(path or {}),
            "requestContext": {"requestId": "load"},
            "body": body if isinstance(body, str) else json.dumps(body),
            "isBase64Encoded": False,
        }
        answer = _handler(entry)(event, shop.Context())
        if answer["statusCode"] >= 300:
            raise RuntimeError(f"{route}: {answer['statusCode']} {answer['body']}")
        return json.loads(answer["body"])

    def _settle(self) -> None:
        """Webhooks, the stream and the queues, until nothing is left to do."""
        while self.deliveries or self._stream() or any(map(self._queue, _READERS)):
            waiting, self.deliveries[:] = self.deliveries[:], []
            for each in waiting:
                headers = {name.lower(): value for name, value in each.headers.items()}
                self._call("payment_webhook.webhook", "POST /webhooks/stripe", each.body.decode(), headers)

    def _stream(self) -> bool:
        records = self.cloud.records("OrdersTable", self._read)
        self._read += len(records)
        if records:
            _done(_handler("place_order.relay")({"Records": records}, shop.Context()))
            self._forget()
        return bool(records)

    def _forget(self) -> None:
        """Drop what was read of the streams, and messages for listeners that are not part of the load."""
        for name in ("OrdersTable", "InventoryTable"):
            held = dynamodb._stream_records.get(name) or []
            if name == "InventoryTable" or (len(held) > _SEEN and self._read == self._end(name)):
                dynamodb._stream_trimmed[name] = self._end(name)
                held.clear()
        for name in ("MessagesQueue", "PublicEventsQueue", "PaymentEventsQueue"):
            self.cloud.messages(name).clear()

    def _end(self, name: str) -> int:
        return int(dynamodb._stream_trimmed.get(name, 0)) + len(dynamodb._stream_records.get(name) or [])

    def _queue(self, name: str) -> bool:
        messages = self.cloud.messages(name)
        bodies = [message["body"] if "body" in message else message["Body"] for message in messages]
        messages.clear()
        if bodies:
            records = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
            _done(_handler(_READERS[name])({"Records": records}, shop.Context()))
        return bool(bodies)


def _handler(entry: str) -> Any:
    return import_module(f"functions.{entry}").handler


def _done(answer: Mapping[str, Any]) -> None:
    if answer["batchItemFailures"]:
        raise RuntimeError(f"not done: {answer}")


def _time(told: str) -> datetime:
    return datetime.fromisoformat(told).replace(tzinfo=UTC)


# ---- loading ---------------------------------------------------------------------------------------------------------


def of_customers(made: Plan, wanted: int | None = None) -> Plan:
    """Only what known customers bought: all of them, or ``wanted`` of them spread evenly over their numbers."""
    known = sorted({order.customer for order in made.orders if order.customer})
    chosen = set(known[:: max(1, len(known) // wanted)][:wanted] if wanted else known)
    orders = [order for order in made.orders if order.customer in chosen]
    keys = {order.key for order in orders}
    sold: Counter[str] = Counter()
    for order in orders:
        for sku, units in order.lines:
            sold[sku] += units
    return Plan(
        prices={sku: made.prices[sku] for sku in sold},
        sold=sold,
        orders=orders,
        cancellations=[each for each in made.cancellations if each.order in keys],
    )


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded, and how long it took."""

    plan: Plan
    shop: RetailShop
    order_ids: Mapping[str, str]
    seconds: float


def load(made: Plan, progress: Progress) -> Loaded:
    """Everything in the order in which it happened."""
    began = time.perf_counter()
    opened = RetailShop()
    ids: dict[str, str] = {}
    with shop.logs_in(StringIO()), connected(opened.cloud):
        opened.open(made)
        events: list[PlannedOrder | PlannedCancellation] = sorted(
            [*made.orders, *made.cancellations], key=lambda each: (each.at, isinstance(each, PlannedCancellation))
        )
        for number, event in enumerate(events):
            if isinstance(event, PlannedOrder):
                ids[event.key] = opened.order(event)
            else:
                opened.cancel(ids[event.order], event)
            if number % 100 == 0:
                progress.say(f"retail: {number:,} of {len(events):,} orders and cancellations")
    return Loaded(made, opened, ids, time.perf_counter() - began)


# ---- what the shop knows then ----------------------------------------------------------------------------------------

SEGMENTS: Mapping[str, dict[str, Any]] = {
    "spent £1,000 or more": {"field": "spent", "currency": CURRENCY, "at_least": 100_000},
    "five orders or more": {"field": "orders", "at_least": 5},
    "one order only": {"field": "orders", "at_least": 1, "at_most": 1},
    "good, and not seen for 90 days": {
        "all": [
            {"field": "spent", "currency": CURRENCY, "at_least": 100_000},
            {"field": "days_since_last_order", "at_least": 90},
        ]
    },
    "outside the United Kingdom": {"not": {"field": "country", "any_of": ["GB"]}},
    "bought the cake stand (22423)": {"field": "sku", "any_of": ["22423"]},
}


def render(loaded: Loaded) -> str:
    """The page about the loaded shop."""
    opened, made = loaded.shop, loaded.plan
    with connected(opened.cloud):
        profiles = list(opened.profiles().values())
        orders = [opened.app.orders.require(order_id) for order_id in loaded.order_ids.values()]
    revenue = sum(profile.spent.get(CURRENCY, 0) for profile in profiles)
    if revenue != sum(order.payment.captured - order.payment.refunded for order in orders):
        raise RuntimeError("the profiles do not add up to the orders")
    rows = [["segment", "customers", "of all", "of what was spent"]]
    for name, document in SEGMENTS.items():
        condition = condition_of(document)
        found = [profile for profile in profiles if matches(condition, profile, opened.now)]
        spent = sum(profile.spent.get(CURRENCY, 0) for profile in found)
        rows.append([name, f"{len(found):,}", f"{len(found) / len(profiles):.0%}", f"{spent / revenue:.0%}"])
    codes = Counter(code for order in orders for code in order.priority_codes)
    told = [["code", "orders", "of all"]]
    told += [[f"{code} ({_CODES[code]})", f"{n:,}", f"{n / len(orders):.0%}"] for code, n in sorted(codes.items())]
    latest = [order for order in orders if from_text(order.placed_at) > opened.now - timedelta(days=1)]
    queue = [["invoice", "placed", "score", "codes", "units", "total", "orders before"]]
    keys = {order_id: key for key, order_id in loaded.order_ids.items()}
    for order in sorted(latest, key=lambda each: (-each.priority_score, each.placed_at))[:10]:
        units = sum(line.open for line in order.lines)
        queue.append(
            [
                keys[order.order_id],
                order.placed_at[11:16],
                str(order.priority_score),
                order.priority_codes or "–",
                f"{units:,}",
                f"£{order.totals.total / 100:,.2f}",
                str(order.orders_before),
            ]
        )
    return "\n".join(
        [
            "# A real shop's customers",
            "",
            "Written by `python -m benchmarks.retail` from the public *Online Retail* file (UCI, CC BY 4.0).",
            "",
            f"**{len(profiles):,} customers, {len(orders):,} orders and {len(made.cancellations):,} cancellations**",
            "went through the real handlers, each at its own time: placed, paid at Stripe's simulator, confirmed by",
            "its webhook, told by the stream and a queue to the keeper of profiles. Prices are the catalogue's, those",
            f"that most customers paid, shipping and tax ours. {revenue / 100:,.0f} pounds were spent and kept,",
            "by the profiles as by the orders; `tests/component/test_retail.py` works figures out another way, from",
            "the file.",
            f"It took {loaded.seconds / len(orders) * 1000:.0f} ms an order on one core, the database (MiniStack's, in",
            "this process) included.",
            "",
            "## Segments",
            "",
            table(rows),
            "",
            "## Priority",
            "",
            "By the rules that hold until a merchant writes others, and by what was known when each order came:",
            "",
            table(told),
            "",
            f"The last day's {len(latest)} orders as the warehouse sees them, the first ten:",
            "",
            table(queue),
            "",
        ]
    )


_CODES = {
    "F": "frequent customer",
    "L": "large ticket",
    "M": "many units",
    "N": "new customer",
    "P": "promised for a day",
    "R": "rush",
}


def main() -> int:
    """Load and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retail", description="Load real customers.")
    parser.add_argument("orders", type=Path, help="the Online Retail file")
    parser.add_argument("--customers", type=int, help="so many, spread over all of them, to the terminal")
    arguments = parser.parse_args()
    made = of_customers(plan(read_rows(arguments.orders)), arguments.customers)
    page = render(load(made, Progress()))
    if arguments.customers:
        print(page)
    else:
        RESULTS.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
