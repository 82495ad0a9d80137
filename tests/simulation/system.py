"""The whole system in one process: ``functions/``, wired by ``template.yaml``, around simulated services.

``System`` builds everything for one run and holds no opinion about what happens in it: a world lets actors loose on it,
an exhaustive search runs two handlers against each other, a test calls one handler.
"""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from local.simulators.amazon import AmazonCore
from local.simulators.core import Delivery, Request, Response
from local.simulators.easypost import EasyPostCore
from local.simulators.ebay import EbayCore
from local.simulators.etsy import EtsyCore
from local.simulators.shopify import LOCATION_ID, ShopifyCore
from local.simulators.stripe.core import StripeCore
from local.simulators.subscriber import SubscriberCore
from local.simulators.webhook import WebhookCore
from oms.payments.watching import TYPES
from tests.simulation import template as templates
from tests.simulation.backend import Call, Cloud, connected
from tests.simulation.determinism import deterministic
from tests.simulation.faults import Plane
from tests.simulation.gate import Gate
from tests.simulation.lambdas import Environments, Lambdas, http_event
from tests.simulation.pumps import Pump, QueuePump, SchedulePump, StreamPump
from tests.simulation.scheduler import Scheduler, Task
from tests.simulation.services import Wire
from tests.simulation.template import Function, Template
from tests.simulation.trace import Trace
from tests.simulation.workflow import Workflows
from tests.support.rights import Watch

os.environ["POWERTOOLS_METRICS_DISABLED"] = "true"
logging.getLogger("botocore").setLevel(logging.WARNING)
for _name in ("dynamodb", "sqs"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_PARAMETERS = {
    "Stage": "sim",
    "LogLevel": "ERROR",
    "StripeApiBase": "https://stripe.test",
    "EtsyApiBase": "https://etsy.test",
    "EbayApiBase": "https://ebay.test",
    "ShopifyApiBase": "https://shopify.test",
    "AmazonApiBase": "https://amazon.test",
    "WebhookApiBase": "https://webhook.test",
    "CarrierApiBase": "https://easypost.test",
    "MailFrom": "orders@shop.test",
}
_STRIPE_SECRET = "whsec_simulation"
_ETSY_SECRET = "whsec_c2ltdWxhdGlvbg=="
_OUR_SECRET = "whsec_b3VyIG1lc3NhZ2Vz"
_STOREFRONT_SECRET = "whsec_c3RvcmVmcm9udA=="
_EVENTS = list(TYPES)
_DEFECTS = (AttributeError, KeyError, TypeError, IndexError, NameError, AssertionError, ArithmeticError)
_OUR_DEFECTS = frozenset({"IllegalTransition", "IllegalMove", "HistoryBroken", "SettingsInvalid"})

CHANNELS = ("etsy", "ebay", "shopify", "amazon", "webhook")

_environments = Environments()


def secrets() -> dict[str, dict[str, Any]]:
    """The secrets of a run, by the ids that the template gives them."""
    return {
        "StripeSecret": {"api_key": "sk_test_simulation", "webhook_secrets": [_STRIPE_SECRET]},
        "SealingSecret": {"keys": ["a-key-that-seals-secrets-in-the-simulation"]},
        "OrderTokenSecret": {"keys": ["a-key-for-order-tokens-in-the-simulation"]},
        "EtsySecret": {
            "api_key": "key:shared",
            "access_token": "1.token",
            "shop_id": "77",
            "webhook_secrets": [_ETSY_SECRET],
        },
        "EbaySecret": {
            "access_token": "token",
            "verification_token": "v" * 40,
            "endpoint": "https://api.example.test/channels/ebay/callbacks",
            "marketplace_id": "EBAY_US",
            "merchant_location_key": "main",
        },
        "ShopifySecret": {
            "access_token": "token",
            "shop_domain": "sim-shop.myshopify.com",
            "location_id": LOCATION_ID,
            "webhook_secrets": ["app-secret"],
        },
        "AmazonSecret": {"access_token": "Atza|token", "seller_id": "A2SELLER", "marketplace_id": "ATVPDKIKX0DER"},
        "WebhookSecret": {"signing_secret": _OUR_SECRET, "webhook_secrets": [_STOREFRONT_SECRET]},
        "CarrierSecret": {"api_key": "EZTK_simulation", "webhook_secrets": ["carrier"]},
    }


class Mail:
    """Webhooks and callbacks on their way to us, until they are delivered, late, twice or never."""

    def __init__(self, system: System) -> None:
        self.name = "callbacks"
        self.system = system
        self.waiting: list[tuple[float, int, str, Delivery, int]] = []
        self._count = 0

    def post(self, source: str, delivery: Delivery, *, delay: float = 0.0, attempt: int = 1) -> None:
        """Take a delivery from a simulator."""
        plane, rng = self.system.plane, self.system.rng
        site = f"{source} → webhook"
        if attempt == 1:
            if source != "stripe" and plane.strikes("webhook_lost", site):
                return
            if plane.strikes("webhook_late", site):
                delay += rng.choice((60.0, 3600.0, 2400.0, 7200.0))
            if plane.strikes("webhook_duplicate", site):
                self._add(delay + rng.choice((0.0, 5.0, 1000.0)), source, delivery, 99)
        self._add(delay, source, delivery, attempt)

    def _add(self, delay: float, source: str, delivery: Delivery, attempt: int) -> None:
        self._count += 1
        self.waiting.append((self.system.clock.now + delay, self._count, source, delivery, attempt))

    def ready(self, now: float) -> bool:
        return any(due <= now for due, *_ in self.waiting)

    def next_time(self, now: float) -> float | None:
        return max(now, min(due for due, *_ in self.waiting)) if self.waiting else None

    def idle(self) -> bool:
        return not self.waiting

    def deliver(self, now: float) -> None:
        due = sorted(entry for entry in self.waiting if entry[0] <= now)
        pick = 0
        if len(due) > 1 and self.system.plane.strikes("webhook_reordered", "any → webhook"):
            pick = self.system.rng.randrange(len(due))
        entry = due[pick]
        self.waiting.remove(entry)
        _, _, source, delivery, attempt = entry
        if source == "amazon":
            # Amazon calls nobody: it sends to our queue.
            data = {"QueueUrl": self.system.cloud.queue_url("AmazonEventsQueue"), "MessageBody": delivery.body.decode()}
            self.system.cloud.execute("sqs", "SendMessage", data)
            return
        channel = ("POST /channels/{channel}/callbacks", "place_order/callback", {"channel": source})
        carrier = ("POST /webhooks/carriers/{carrier}", "fulfillment/carrier_webhook", {"carrier": source})
        route, entry_name, parameters = {
            "stripe": ("POST /webhooks/stripe", "payment_webhook/webhook", {}),
            "easypost": carrier,
        }.get(source, channel)

        def done(task: Task) -> None:
            status = task.result["statusCode"] if task.error is None else 500
            core = self.system.cores[source]
            if attempt == 99:
                return
            again = core.delivered(delivery, status) if hasattr(core, "delivered") else delivery
            if status >= 300 and again is not None and attempt < 12:
                self.post(source, again, delay=min(3600.0, 10.0 * 3**attempt), attempt=attempt + 1)

        self.system.call(
            entry_name,
            route,
            parameters=parameters,
            body=delivery.body,
            headers=delivery.headers,
            on_done=done,
            who=f" {source}",
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What an HTTP client got; status 0 means that it got nothing."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class System:
    """Everything of one run. Use it inside ``running``."""

    def __init__(self, seed: int | str, plane: Plane, *, keep_trace: bool = False, pumps: bool = True) -> None:
        self.seed = seed
        self.plane = plane
        self.rng = random.Random(f"system {seed}")
        self.trace = Trace(keep=keep_trace)
        self.scheduler = Scheduler()
        self.template: Template = load()
        self.gate = Gate(self.scheduler, plane, self.trace)
        self.cloud = Cloud(self.template, self.gate)
        self.gate.cloud = self.cloud
        self.lambdas = Lambdas(self.scheduler, _environments, self._enter)
        self.defects: list[str] = []
        """Errors that only a defect of ours explains."""
        self.rights = Watch(refused=self.defects.append)
        self.lambdas.on_error = lambda function, error: self.note_error(function.short, error)
        self.sold: dict[str, list[str]] = {name: [] for name in CHANNELS}
        """Order numbers of what the marketplaces sold."""
        self.tenders: dict[tuple[str, str], int] = {}
        """What tills took, by order and key."""
        self._apps: dict[str, Any] = {}
        self._with_pumps = pumps
        self.pumps: list[Pump] = []

    @contextmanager
    def running(self) -> Iterator[System]:
        """Freeze time, connect the clients and clean up afterwards."""
        from oms import bootstrap
        from oms.runtime import telemetry

        with ExitStack() as stack:
            self.clock = stack.enter_context(deterministic(self.seed, self.scheduler.sleep))
            self.scheduler.clock = self.clock
            self.cloud.reset()
            self.cloud.secrets = secrets()
            stack.enter_context(connected(self.cloud))
            handler = _Defects(self)
            stack.callback(setattr, telemetry, "_record", telemetry._record)
            # Metrics go to stdout, which nobody reads here.
            telemetry._record = lambda *args: None
            log = logging.getLogger(telemetry.logger.name)
            before, log.handlers, log.propagate = log.handlers, [handler], False
            log.setLevel(logging.ERROR)
            stack.callback(setattr, log, "handlers", before)
            stack.callback(bootstrap.use, None)
            stack.callback(self.scheduler.abandon)
            self._make_services()
            yield self

    def _make_services(self) -> None:
        clock = lambda: self.clock.now  # noqa: E731
        self.mail = Mail(self)
        base = "https://api.example.test"
        held = secrets()
        self.stripe = StripeCore(
            clock,
            lambda delivery: self.mail.post("stripe", delivery),
            callback_url=f"{base}/webhooks/stripe",
            webhook_secret=_STRIPE_SECRET,
        )
        self.stripe.endpoint.enabled = set(_EVENTS)
        self.etsy = EtsyCore(
            clock,
            lambda delivery: self.mail.post("etsy", delivery),
            shop_id=int(held["EtsySecret"]["shop_id"]),
            api_key=held["EtsySecret"]["api_key"],
            access_token=held["EtsySecret"]["access_token"],
            webhook_secret=_ETSY_SECRET,
            callback_url=f"{base}/channels/etsy/callbacks",
        )
        self.ebay = EbayCore(
            clock,
            lambda delivery: self.mail.post("ebay", delivery),
            access_token=held["EbaySecret"]["access_token"],
            verification_token=held["EbaySecret"]["verification_token"],
            callback_url=held["EbaySecret"]["endpoint"],
        )
        self.shopify = ShopifyCore(
            clock,
            lambda delivery: self.mail.post("shopify", delivery),
            access_token=held["ShopifySecret"]["access_token"],
            shop_domain=held["ShopifySecret"]["shop_domain"],
            webhook_secret=held["ShopifySecret"]["webhook_secrets"][0],
            callback_url=f"{base}/channels/shopify/callbacks",
        )
        self.amazon = AmazonCore(
            clock,
            lambda delivery: self.mail.post("amazon", delivery),
            **held["AmazonSecret"],
            callback_url="sqs+https://sqs.test/amazon",
        )
        self.webhook = WebhookCore(
            clock,
            lambda delivery: self.mail.post("webhook", delivery),
            signing_secret=_OUR_SECRET,
            webhook_secret=_STOREFRONT_SECRET,
            callback_url=f"{base}/channels/webhook/callbacks",
        )
        self.subscriber = SubscriberCore(clock, lambda delivery: None)
        self.easypost = EasyPostCore(
            clock,
            lambda delivery: self.mail.post("easypost", delivery),
            callback_url=f"{base}/webhooks/carriers/easypost",
            webhook_secret=held["CarrierSecret"]["webhook_secrets"][0],
        )
        self.cores: dict[str, Any] = {
            "stripe": self.stripe,
            "etsy": self.etsy,
            "ebay": self.ebay,
            "shopify": self.shopify,
            "amazon": self.amazon,
            "webhook": self.webhook,
            "easypost": self.easypost,
            "subscriber": self.subscriber,
        }
        self.wire = Wire(self.gate, self.cores)
        self.gate.poison = self._poison_stripe
        self.workflows = Workflows(
            self.template.machine, self.scheduler, self.lambdas, self._function, self.plane, self.rng
        )
        self.cloud.stepfunctions = self.workflows
        if self._with_pumps:
            self.pumps = [self.mail, *(pump for source in self.template.sources if (pump := self._pump(source)))]

    def _pump(self, source: templates.Source) -> Pump | None:
        function = self.template.functions.get(source.function)
        if function is None or not function.path.exists():
            return None
        rng = random.Random(f"{source.target} {source.function} {self.seed}")
        match source.kind:
            case "stream":
                return StreamPump(source, function, self.cloud, self.lambdas, self.plane, rng)
            case "queue":
                return QueuePump(source, function, self.cloud, self.lambdas, self.plane, rng)
            case _:
                return SchedulePump(source, function, self.lambdas, self.plane, lambda: self.clock.now)

    def _function(self, name: str) -> Function:
        return self.template.functions[name.rpartition(":")[2] if name.startswith("arn:") else name]

    def _poison_stripe(self, call: Call) -> None:
        key = call.data["headers"].get("idempotency-key")
        if key:
            self.stripe._faults.next.append({"status": 500, "stored": True, "method": "POST"})

    # ---- processes -----------------------------------------------------------------------------------------------

    def _enter(self, function: Function) -> None:
        from oms import bootstrap

        bootstrap.use(self._app(function))

    def _app(self, function: Function) -> Any:
        app = self._apps.get(function.name)
        if app is not None:
            return app
        from oms.bootstrap import App
        from oms.runtime.settings import Settings

        skew = 0.0
        if self.plane.strikes("clock_skew", function.short):
            skew = self.rng.choice((-20.0, -3.0, 3.0, 20.0))
        clock = lambda: datetime.fromtimestamp(self.clock.now, UTC) + timedelta(seconds=skew)  # noqa: E731
        settings = Settings.from_environment(function.environment)
        app = App(settings=settings, clock=clock, client=self.rights.client)
        app.transport = app.subscriber_transport = self.wire
        self._apps[function.name] = app
        return app

    def note_error(self, where: str, error: BaseException | None) -> None:
        """Remember an error if nothing but a defect of ours explains it."""
        self.trace.note(self.clock.now, "error", f"{where}: {type(error).__name__}: {str(error)[:300]}")
        poisoned = any(kind == "poison_message" for kind, _ in self.plane.struck)
        if not poisoned and (isinstance(error, _DEFECTS) or type(error).__name__ in _OUR_DEFECTS):
            self.defects.append(f"{where}: {type(error).__name__}: {error}")

    def forget(self, function: Function) -> None:
        """The next invocation of a function starts cold."""
        self._apps.pop(function.name, None)

    # ---- calling our API -----------------------------------------------------------------------------------------

    def call(
        self,
        entry: str,
        route: str,
        *,
        parameters: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        groups: tuple[str, ...] = (),
        query: Mapping[str, str] | None = None,
        on_done: Callable[[Task], None] | None = None,
        who: str = "",
        user: str = "kim",
    ) -> Task:
        """Start a request to one of our HTTP functions."""
        function = self.template.function_at(entry)
        if self.plane.strikes("cold_start", function.short):
            self.forget(function)
        method, _, path = route.partition(" ")
        for name, value in (parameters or {}).items():
            path = path.replace(f"{{{name}}}", value)
        claims = {"cognito:username": user, "cognito:groups": f"[{' '.join(groups)}]"} if groups else None
        event = http_event(
            method,
            path,
            body=body,
            headers={"content-type": "application/json", **(headers or {})},
            query=query,
            claims=claims,
            route=route,
            parameters=parameters,
            now=self.clock.now,
        )
        return self.lambdas.invoke(function, event, on_done, who)

    def request(self, entry: str, route: str, **kwargs: Any) -> Reply:
        """Call one of our HTTP functions from a task and wait for the answer."""
        task = self.call(entry, route, **kwargs)
        self.scheduler.wait(task.done)
        return reply_of(task)

    def control(self, service: str, method: str, path: str, body: Any = None) -> Response:
        """Work a simulator's own controls: no interleaving, no faults."""
        raw = json.dumps(body).encode() if body is not None else b""
        response: Response = self.cores[service].handle(Request.to(method, path, {}, raw))
        self.cloud.writes += 1
        return response


def reply_of(task: Task) -> Reply:
    """What the client of a finished request got."""
    if task.error is not None or not task.result:
        return Reply(500, None)
    body = task.result.get("body")
    return Reply(int(task.result["statusCode"]), json.loads(body) if body else None)


class _Defects(logging.Handler):
    """Listens for logged exceptions that no fault of the environment explains."""

    def __init__(self, system: System) -> None:
        super().__init__(logging.ERROR)
        self.system = system

    def emit(self, record: logging.LogRecord) -> None:
        self.system.note_error(record.getMessage(), record.exc_info[1] if record.exc_info else None)


def load() -> Template:
    """Our template, pointed at the simulators."""
    return templates.load(parameters=tuple(sorted(_PARAMETERS.items())))
