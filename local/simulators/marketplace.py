"""What the simulated marketplaces share: routing, limits, faults, callbacks and the ``/_sim`` routes.

* ``POST /_sim/listings`` ``{"skus": [{"sku", "title", "price_minor", "currency", "quantity"?}]}`` or one such
  object: put SKUs on sale. ``GET /_sim/listings/{sku}``: what buyers see.
* ``POST /_sim/purchases`` ``{"lines", "buyer"?}``: a buyer orders. ``POST /_sim/cancel`` ``{"order_id"}``.
  ``POST /_sim/refunds`` ``{"order_id", "amount_minor", "removed"?: {sku: units}}``.
  ``GET /_sim/orders/{id}``: what the seller told about an order.
* ``POST /_sim/config``: the callback's address, credentials, limits. ``POST /_sim/faults``: what goes wrong
  next (see ``Faults``). ``POST /_sim/deliver``: let held callbacks go. ``GET /_sim/calls``: what was asked.
* ``POST /_sim/privacy``: a person is to be forgotten. Shopify: ``{"topic", "payload"}``; eBay: ``{"order_id"}``.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import parse_qs, unquote

from local.simulators.core import Clock, Deliver, Delivery, Request, Response

Handler = Callable[[Request, Mapping[str, str]], Response]
_REMEMBERED_CALLS = 1000


class Refused(Exception):
    """A request that the marketplace refuses; each marketplace has its own shape for the answer."""

    def __init__(self, status: int, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class TokenBucket:
    """``capacity`` calls at once, refilled evenly over ``seconds``, on the given clock."""

    def __init__(self, capacity: int, seconds: float, clock: Clock) -> None:
        self.capacity = capacity
        self._rate = capacity / seconds
        self._clock = clock
        self._tokens = float(capacity)
        self._filled_at = clock()

    def take(self, tokens: int = 1) -> float:
        """Take so many tokens and return 0, or return the seconds until there are enough."""
        self._fill()
        if self._tokens >= tokens:
            self._tokens -= tokens
            return 0.0
        return (tokens - self._tokens) / self._rate

    def left(self) -> int:
        """Whole tokens left."""
        self._fill()
        return int(self._tokens)

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(float(self.capacity), self._tokens + max(0.0, now - self._filled_at) * self._rate)
        self._filled_at = now


class Tokens:
    """Access tokens of an OAuth 2 refresh: each lives so many seconds, and so does a refresh token only once used.

    With ``seconds`` 0 the first token never lapses, as long as nobody renews it.
    """

    def __init__(self, clock: Clock, access: str, refresh: str, *, seconds: float, rotates: bool) -> None:
        self._clock = clock
        self._rotates = rotates
        self._count = 0
        self.start(access, refresh, seconds)

    def start(self, access: str, refresh: str, seconds: float) -> None:
        """Forget all tokens but these."""
        self.refresh, self.seconds = refresh, seconds
        self._valid = {access: self._clock() + seconds if seconds else float("inf")}

    def accepts(self, access: str) -> bool:
        """Whether the token is one of ours that has not lapsed."""
        return self._valid.get(access, 0.0) > self._clock()

    def renew(self, request: Request, client: Mapping[str, str]) -> Response:
        """RFC 6749, section 6; ``client`` are further form fields that have to be just so."""
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        wanted = {"grant_type": "refresh_token", "refresh_token": self.refresh, **client}
        if form != wanted:
            return Response.of(400, {"error": "invalid_grant"})
        self._count += 1
        access, lives = f"renewed-token-{self._count}", self.seconds or 3600.0
        self._valid[access] = self._clock() + lives
        answer: dict[str, Any] = {"access_token": access, "token_type": "Bearer", "expires_in": int(lives)}
        if self._rotates:
            self.refresh = f"refresh-token-{self._count}"
            answer["refresh_token"] = self.refresh
        return Response.of(200, answer)


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong next. The counters count API calls (not ``/_sim`` ones) and run down to zero."""

    operations: tuple[str, ...] = ()
    """Only calls of these operations are hit; empty means all."""
    skip: int = 0
    """Let so many calls pass first."""
    throttle: int = 0
    retry_after: float | None = 1.0
    fail: int = 0
    status: int = 503
    lose_answers: int = 0
    """Act, then answer 504: the caller cannot know."""
    latency_ms: int = 0
    """Told to the host in ``x-sim-latency-ms``; a core never sleeps."""
    reject_skus: tuple[str, ...] = ()
    """Quantity updates of these SKUs are refused."""
    garbled_orders: tuple[str, ...] = ()
    """These orders are shown without their amounts."""
    callbacks: str = "once"
    """``once``, ``twice``, ``never``, or ``held`` for ``hold_seconds`` or until ``/_sim/deliver``; ``reversed`` is held
    as well, and the newest leaves first."""
    hold_seconds: float = 60.0

    @classmethod
    def parse(cls, told: Mapping[str, Any], before: Faults) -> Faults:
        """Change what is named, keep the rest; ``{"reset": true}`` starts from none."""
        known = {each.name for each in fields(cls)}
        wanted: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in told.items()
        }
        base = cls() if wanted.pop("reset", False) else before
        if unknown := sorted(set(wanted) - known):
            raise ValueError(f"no such fault: {', '.join(unknown)}")
        return replace(base, **wanted)


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    name: str
    handler: Handler


@dataclass(slots=True)
class _Held:
    due: float
    build: Callable[[], Delivery]


@dataclass(frozen=True, slots=True)
class Purchase:
    """A buyer's order before the marketplace gives it its own shape. Amounts are minor units."""

    lines: tuple[tuple[str, int], ...]
    buyer: Mapping[str, Any] = field(default_factory=dict)
    shipping: int = 0
    tax: int = 0
    discount: int = 0
    paid: bool = True
    promised_at: str = ""
    """Until when the buyer was told to have it, on Etsy when it is to leave; RFC 3339, or nothing was told."""

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Purchase:
        """From ``{"lines": [{"sku", "quantity"}], "buyer"?, "shipping_minor"?, "tax_minor"?, …}``."""
        wanted: Counter[str] = Counter()
        for line in told["lines"]:
            if int(line["quantity"]) < 1:
                raise ValueError("a quantity is below one")
            wanted[str(line["sku"])] += int(line["quantity"])
        if not wanted:
            raise ValueError("no lines")
        return cls(
            tuple(wanted.items()),
            dict(told.get("buyer") or {}),
            int(told.get("shipping_minor", 0)),
            int(told.get("tax_minor", 0)),
            int(told.get("discount_minor", 0)),
            bool(told.get("paid", True)),
            str(told.get("promised_at", "")),
        )


class Marketplace:
    """Base of the simulated marketplaces; a subclass adds its API's routes and keeps listings and orders."""

    def __init__(self, clock: Clock, deliver: Deliver, callback_url: str) -> None:
        self.clock = clock
        self.callback_url = callback_url
        self.faults = Faults()
        self._deliver = deliver
        self._held: list[_Held] = []
        self._counters: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._calls: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED_CALLS)
        self._routes: list[_Route] = []
        self._controls: list[_Route] = []
        self._add(self._controls, "POST", "/_sim/listings", "list", self._sim_list)
        self._add(self._controls, "GET", "/_sim/listings/{sku}", "shown", self._sim_shown)
        self._add(self._controls, "POST", "/_sim/purchases", "purchase", self._sim_purchase)
        self._add(self._controls, "POST", "/_sim/cancel", "cancel", self._sim_cancel)
        self._add(self._controls, "POST", "/_sim/refunds", "refund", self._sim_refund)
        self._add(self._controls, "GET", "/_sim/orders/{id}", "order", self._sim_order)
        self._add(self._controls, "POST", "/_sim/config", "config", self._sim_config)
        self._add(self._controls, "POST", "/_sim/faults", "faults", self._sim_faults)
        self._add(self._controls, "POST", "/_sim/deliver", "deliver", self._sim_deliver)
        self._add(self._controls, "GET", "/_sim/calls", "calls", self._sim_calls)

    def handle(self, request: Request) -> Response:
        """Answer one request; held callbacks that are due go out first."""
        self._release(self.clock())
        if request.path.startswith("/_sim/"):
            return self._control(request)
        found = self._find(self._routes, request)
        if found is None:
            return self.refusal(Refused(404, f"No resource at {request.method} {request.path}"))
        route, arguments = found
        route = replace(route, name=self.operation(route.name, request))
        response = self._guarded(route, request, arguments)
        self._calls.append({"operation": route.name, "path": request.path, "status": response.status})
        if self.faults.latency_ms:
            latency = {"x-sim-latency-ms": str(self.faults.latency_ms)}
            response = replace(response, headers={**response.headers, **latency})
        return response

    def route(self, method: str, path: str, name: str, handler: Handler) -> None:
        """Add an operation of the marketplace's API; ``{name}`` in the path is an argument."""
        self._add(self._routes, method, path, name, handler)

    def control(self, method: str, path: str, name: str, handler: Handler) -> None:
        """Add something that only tests and stories ask of this marketplace."""
        self._add(self._controls, method, path, name, handler)

    def next_number(self, kind: str, first: int = 1) -> int:
        """The next number of a kind: the same in every run."""
        self._counters[kind] += 1
        return first + self._counters[kind] - 1

    def notify(self, build: Callable[[], Delivery]) -> None:
        """Send a callback as the faults say; it is built, and so signed, when it leaves."""
        if not self.callback_url or self.faults.callbacks == "never":
            return
        if self.faults.callbacks in ("held", "reversed"):
            self._held.append(_Held(self.clock() + self.faults.hold_seconds, build))
            return
        for _ in range(2 if self.faults.callbacks == "twice" else 1):
            self._deliver(build())

    def legible(self, order_id: str, order: dict[str, Any], amounts: str) -> dict[str, Any]:
        """The order as it is shown: without its amounts where the faults say so."""
        if order_id not in self.faults.garbled_orders:
            return order
        return {name: value for name, value in order.items() if name != amounts}

    def operation(self, name: str, request: Request) -> str:
        """What a call is counted as and hit by faults as, where its route alone does not say."""
        return name

    # What a marketplace must say for itself.

    def authorize(self, request: Request) -> None:
        """Raise ``Refused`` unless the request carries the right credentials."""
        raise NotImplementedError

    def refusal(self, refused: Refused) -> Response:
        """An error answer in the marketplace's shape."""
        raise NotImplementedError

    def throttled(self, retry_after: float | None) -> Response:
        """A 429 in the marketplace's shape."""
        raise NotImplementedError

    def limit(self) -> float:
        """Take this call from the budgets: 0, or the seconds to wait."""
        raise NotImplementedError

    def finished(self, response: Response) -> Response:
        """The answer with the marketplace's usual headers."""
        return response

    def configure(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Take configuration over and above the callback's address."""
        raise NotImplementedError

    def put_on_sale(self, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Create a listing; answers ``[{"sku", "listing_id"}]``. A SKU on sale already keeps its listing."""
        raise NotImplementedError

    def shown(self, sku: str) -> int | None:
        """What buyers can have; None for a SKU that was never listed."""
        raise NotImplementedError

    def sell(self, purchase: Purchase) -> str:
        """Lower the quantities, make the order, send its callbacks; the order's id."""
        raise NotImplementedError

    def cancel(self, order_id: str) -> bool:
        """Cancel an order on the marketplace; False if there is none."""
        raise NotImplementedError

    def refund(self, order_id: str, amount: int, removed: Mapping[str, int]) -> bool:
        """Give money back there, and take units out of the order where the marketplace can; False where it is not done
        by the marketplace, or there is no such order."""
        return False

    def order_report(self, order_id: str) -> dict[str, Any] | None:
        """``{"order_id", "cancelled", "lines", "shipments", …}`` as far as the marketplace was told."""
        raise NotImplementedError

    # How a call is answered.

    def _guarded(self, route: _Route, request: Request, arguments: Mapping[str, str]) -> Response:
        self._counts[route.name] += 1
        try:
            self.authorize(request)
            hit = self._next_fault(route.name)
            if hit == "throttle":
                return self.throttled(self.faults.retry_after)
            wait = self.limit()
            if wait > 0:
                return self.throttled(wait)
            if hit == "fail":
                return self.refusal(Refused(self.faults.status, "The simulator was told to fail."))
            response = self.finished(route.handler(request, arguments))
        except Refused as refused:
            return self.finished(self.refusal(refused))
        except (ValueError, KeyError, TypeError, AttributeError):
            return self.finished(self.refusal(Refused(400, "The request cannot be read.")))
        if hit == "lose_answers":
            return self.refusal(Refused(504, "The answer was lost."))
        return response

    def _next_fault(self, operation: str) -> str:
        if self.faults.operations and operation not in self.faults.operations:
            return ""
        for name in ("skip", "throttle", "fail", "lose_answers"):
            left = getattr(self.faults, name)
            if left > 0:
                self.faults = replace(self.faults, **{name: left - 1})
                return name
        return ""

    def _release(self, now: float) -> None:
        due = [held for held in self._held if held.due <= now]
        self._held = [held for held in self._held if held.due > now]
        for held in reversed(due) if self.faults.callbacks == "reversed" else due:
            self._deliver(held.build())

    def _control(self, request: Request) -> Response:
        found = self._find(self._controls, request)
        if found is None:
            return Response.of(404, {"error": "no such control"})
        route, arguments = found
        try:
            return route.handler(request, arguments)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return Response.of(400, {"error": f"{type(error).__name__}: {error}"})

    def _sim_list(self, request: Request, _: Mapping[str, str]) -> Response:
        told = request.json()
        listed = [row for each in told.get("skus", [told]) for row in self.put_on_sale(each)]
        return Response.of(201, {"listings": listed})

    def _sim_shown(self, _: Request, arguments: Mapping[str, str]) -> Response:
        quantity = self.shown(arguments["sku"])
        if quantity is None:
            return Response.of(404, {"error": "never listed"})
        return Response.of(200, {"sku": arguments["sku"], "quantity": quantity})

    def _sim_purchase(self, request: Request, _: Mapping[str, str]) -> Response:
        purchase = Purchase.parse(request.json())
        for sku, quantity in purchase.lines:
            shown = self.shown(sku)
            if shown is None:
                return Response.of(404, {"error": "never listed", "sku": sku})
            if shown < quantity:
                return Response.of(409, {"error": "not enough", "sku": sku, "quantity": shown})
        return Response.of(201, {"order_id": self.sell(purchase)})

    def _sim_cancel(self, request: Request, _: Mapping[str, str]) -> Response:
        order_id = str(request.json()["order_id"])
        if not self.cancel(order_id):
            return Response.of(404, {"error": "no such order"})
        return Response.of(200, {"order_id": order_id})

    def _sim_refund(self, request: Request, _: Mapping[str, str]) -> Response:
        told = request.json()
        order_id = str(told["order_id"])
        removed = {str(sku): int(units) for sku, units in (told.get("removed") or {}).items()}
        if not self.refund(order_id, int(told["amount_minor"]), removed):
            return Response.of(404, {"error": "no such order, or no refunds here"})
        return Response.of(200, {"order_id": order_id})

    def _sim_order(self, _: Request, arguments: Mapping[str, str]) -> Response:
        report = self.order_report(arguments["id"])
        return Response.of(404, {"error": "no such order"}) if report is None else Response.of(200, report)

    def _sim_config(self, request: Request, _: Mapping[str, str]) -> Response:
        told = dict(request.json())
        self.callback_url = str(told.pop("callback_url", self.callback_url))
        return Response.of(200, {"callback_url": self.callback_url, **self.configure(told)})

    def _sim_faults(self, request: Request, _: Mapping[str, str]) -> Response:
        self.faults = Faults.parse(request.json(), self.faults)
        return Response.of(200, {each.name: getattr(self.faults, each.name) for each in fields(Faults)})

    def _sim_deliver(self, _: Request, __: Mapping[str, str]) -> Response:
        held = len(self._held)
        self._release(float("inf"))
        return Response.of(200, {"delivered": held})

    def _sim_calls(self, request: Request, _: Mapping[str, str]) -> Response:
        last = max(0, int(request.first("last", "20")))
        calls = list(self._calls)[-last:] if last else []
        return Response.of(200, {"counts": dict(self._counts), "last": calls})

    @staticmethod
    def _add(routes: list[_Route], method: str, path: str, name: str, handler: Handler) -> None:
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))
        routes.append(_Route(method, pattern, name, handler))

    @staticmethod
    def _find(routes: list[_Route], request: Request) -> tuple[_Route, Mapping[str, str]] | None:
        for route in routes:
            match = route.pattern.fullmatch(request.path)
            if match and route.method == request.method:
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        return None


def only(told: Any, allowed: set[str], required: set[str], complaint: str) -> dict[str, Any]:
    """The object, if it holds the required keys and no others than allowed; ``Refused`` (400) if not."""
    if not isinstance(told, dict) or set(told) - allowed or required - set(told):
        raise Refused(400, complaint)
    return told


def whole(value: Any, low: int, high: int, complaint: str) -> int:
    """An integer between the bounds; ``Refused`` (400) for anything else, booleans and floats included."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refused(400, complaint)
    return value
