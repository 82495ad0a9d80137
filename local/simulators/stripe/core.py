"""The local Stripe: the payment part of its HTTP API, stateful and as strict as the original.

``/v1/…`` is what Stripe publishes; ``/_sim/…`` plays the parts of the customer, the banks and bad luck:

- ``POST config`` ``{"callback_url"?, "webhook_secret"?, "enabled_events"?, "multicapture"?}``: the webhook endpoint,
  and whether the account may capture in parts.
- ``POST faults`` ``{"down"?, "next"?: […]}``: what goes wrong, see ``Faults``; ``{}`` ends it.
- ``POST pay`` ``{"payment_intent", "payment_method"}``: the browser confirms, by intent id or client secret,
  with a test payment method's name or a test card's number.
- ``POST authenticate`` ``{"payment_intent", "outcome"?: "succeeded"|"failed"}``: 3-D Secure comes to its end.
- ``POST settle`` ``{"payment_intent"|"refund", "outcome"?}``: a bank debit or a refund comes to its end.
- ``POST disputes`` ``{"payment_intent", "reason"?}`` opens one, ``{"dispute", "outcome"?: "won"|"lost"}``
  decides it.
- ``POST reviews`` ``{"payment_intent"}`` opens one, ``{"review", "outcome"?: "approved"|"refunded_as_fraud"}`` closes
  it; ``POST fraud_warnings`` ``{"payment_intent"}``: the bank believes that it is fraud.
- ``GET intents?order_id=``, ``GET totals``: what there is, and what money moved.
- ``GET deliveries``: webhooks sent, with every attempt; ``POST deliveries`` ``{"event"}`` sends one again.
"""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from local.simulators.core import Clock, Deliver, Delivery, Request, Response
from local.simulators.stripe import contract, forms
from local.simulators.stripe.account import Account, totals
from local.simulators.stripe.errors import ApiError, invalid, refused
from local.simulators.stripe.forms import Parser
from local.simulators.stripe.shapes import API_VERSION, Json
from local.simulators.stripe.webhooks import Endpoint

KEY_SECONDS = 86_400
"""How long Stripe promises to remember an idempotency key."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One route: what it accepts, and who answers."""

    method: str
    path: re.Pattern[str]
    answer: Callable[..., Json]
    accepts: Mapping[str, Parser]
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """The first answer to an idempotency key."""

    request: tuple[str, str, str]
    response: Response
    at: float


@dataclass(slots=True)
class Faults:
    """Bad luck to come: ``down`` refuses everything, each entry of ``next`` spoils one request.

    An entry is ``{"status"?, "after_effect"?, "stored"?, "latency_ms"?, "method"?, "path"?}``: act first and
    then fail (``after_effect``), keep the failure for the idempotency key (``stored``, the default after an
    effect), only for requests with this method and this part of a path. The host does the waiting.
    """

    down: bool = False
    next: list[Json] = field(default_factory=list)

    def take(self, request: Request) -> Json | None:
        """The fault for this request, used up."""
        if self.down:
            return {"status": 503}
        for index, fault in enumerate(self.next):
            if fault.get("method", request.method) == request.method and fault.get("path", "") in request.path:
                return self.next.pop(index)
        return None


class StripeCore:
    """Answers requests; events go to ``deliver`` once the request that caused them is done."""

    def __init__(
        self,
        clock: Clock,
        deliver: Deliver,
        *,
        callback_url: str = "",
        webhook_secret: str = "whsec_local",  # noqa: S107 - a default for the local stand-in, secret to nobody
        seed: str = "0",
    ) -> None:
        self._clock = clock
        self.account = Account(clock, seed)
        self.endpoint = Endpoint(clock, deliver, callback_url, webhook_secret)
        self._faults = Faults()
        self._keys: dict[str, Kept] = {}
        self._operations = self._routes()

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        self.tick()
        response = self._control(request) if request.path.startswith("/_sim/") else self._api(request)
        self._send_events()
        return response

    def tick(self) -> None:
        """Do what time alone brings about, and forget old idempotency keys."""
        self.account.tick()
        self._send_events()
        horizon = self._clock() - KEY_SECONDS
        while self._keys and next(iter(self._keys.values())).at <= horizon:
            del self._keys[next(iter(self._keys))]

    def delivered(self, delivery: Delivery, status: int) -> Delivery | None:
        """The host tells how an attempt went (0: no answer) and learns what to try next, if anything."""
        return self.endpoint.delivered(delivery, status)

    # ---- the published API

    def _api(self, request: Request) -> Response:
        fault = self._faults.take(request)
        if fault is None:
            return self._attempt(request, None)
        response = self._attempt(request, fault if "status" in fault else None)
        latency = {"x-sim-latency-ms": str(fault.get("latency_ms", 0))}
        return replace(response, headers={**response.headers, **latency})

    def _attempt(self, request: Request, fault: Json | None) -> Response:
        request_id = self.account.new_id("req")
        headers = {"request-id": request_id, "stripe-version": API_VERSION}
        early = fault is not None and not fault.get("after_effect")
        if fault and early and not fault.get("stored"):
            return _failure(fault, headers)
        try:
            fingerprint = self._admit(request)
            key = request.headers.get("idempotency-key", "")
            if request.method == "POST" and (kept := self._keys.get(key)):
                return _replay(kept, fingerprint)
            self.account.begin(request_id, key or None)
            if fault and early:
                response, executed = _failure(fault, headers), True
            else:
                response, executed = self._execute(request, headers)
        except ApiError as error:
            return Response.of(error.status, {"error": error.error}, headers)
        shown = _failure(fault, headers) if fault else response
        if key and executed and request.method == "POST":
            stored = shown if fault and fault.get("stored", True) else response
            self._keys[key] = Kept(fingerprint, stored, self._clock())
        return shown

    def _admit(self, request: Request) -> tuple[str, str, str]:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        key = credentials
        if scheme.lower() == "basic":
            try:
                key = base64.b64decode(credentials, validate=True).decode().partition(":")[0]
            except ValueError:
                key = ""
        if not key:
            raise ApiError(401, "invalid_request_error", "You did not provide an API key.")
        if not re.fullmatch(r"(sk|rk)_test_\w+", key):
            # A live key must never reach a stand-in, and a publishable one may do nothing here.
            raise ApiError(401, "invalid_request_error", f"Invalid API Key provided: {key[:8]}…")
        version = request.headers.get("stripe-version", API_VERSION)
        if version != API_VERSION:
            raise invalid(f"The local Stripe speaks {API_VERSION}, not {version}.")
        key_length = len(request.headers.get("idempotency-key", ""))
        if key_length > 255:
            raise ApiError(400, "idempotency_error", "An idempotency key has at most 255 characters.")
        return self._fingerprint(request)

    def _execute(self, request: Request, headers: Mapping[str, str]) -> tuple[Response, bool]:
        """The answer, and whether it is one to remember under the idempotency key."""
        for operation in self._operations:
            matched = operation.path.fullmatch(request.path)
            if matched and operation.method == request.method:
                params = forms.read(_raw(request), operation.accepts, required=operation.required)
                try:
                    shape = operation.answer(*matched.groups(), params)
                    answer = self._expanded(copy.deepcopy(shape), params.get("expand", []))
                except ApiError as error:
                    if not error.executed:
                        raise
                    return Response.of(error.status, {"error": error.error}, headers), True
                return Response.of(200, answer, headers), True
        raise ApiError(404, "invalid_request_error", f"Unrecognized request URL ({request.method}: {request.path}).")

    def _fingerprint(self, request: Request) -> tuple[str, str, str]:
        return request.method, request.path, json.dumps(_raw(request), sort_keys=True)

    def _routes(self) -> list[Operation]:
        account = self.account

        def at(pattern: str) -> re.Pattern[str]:
            return re.compile(pattern.replace("{id}", r"([^/]+)"))

        def get(path: str, kind: str) -> Operation:
            return Operation(
                "GET",
                at(path),
                lambda object_id, _: account.find(kind, object_id, param="id"),
                contract.RETRIEVE,
            )

        def post(path: str, work: Callable[[Json, Json], Json], accepts: Mapping[str, Parser]) -> Operation:
            def answer(intent_id: str, params: Json) -> Json:
                return work(account.find("payment_intent", intent_id, param="intent"), params)

            return Operation("POST", at(path), answer, accepts)

        def cancel(intent: Json, params: Json) -> Json:
            return account.cancel(intent, params.get("cancellation_reason"))

        def update_dispute(dispute_id: str, params: Json) -> Json:
            return account.update_dispute(account.find("dispute", dispute_id, param="dispute"), params)

        intents = "/v1/payment_intents"
        one = intents + "/{id}"
        needed = ("amount", "currency")
        return [
            Operation("POST", at(intents), account.create_intent, contract.CREATE_INTENT, needed),
            Operation("GET", at(intents), self._list_intents, contract.LIST_INTENTS),
            Operation("GET", at(intents + "/search"), self._search_intents, contract.SEARCH_INTENTS, ("query",)),
            Operation("POST", at("/v1/customers"), account.create_customer, contract.CREATE_CUSTOMER),
            get("/v1/customers/{id}", "customer"),
            get(one, "payment_intent"),
            post(one, account.update_intent, contract.UPDATE_INTENT),
            post(one + "/confirm", account.confirm, contract.CONFIRM_INTENT),
            post(one + "/capture", account.capture, contract.CAPTURE_INTENT),
            post(one + "/cancel", cancel, contract.CANCEL_INTENT),
            Operation("POST", at("/v1/refunds"), account.create_refund, contract.CREATE_REFUND),
            Operation("GET", at("/v1/refunds"), self._list_refunds, contract.LIST_REFUNDS),
            get("/v1/refunds/{id}", "refund"),
            get("/v1/charges/{id}", "charge"),
            get("/v1/disputes/{id}", "dispute"),
            Operation("POST", at("/v1/disputes/{id}"), update_dispute, contract.UPDATE_DISPUTE),
            get("/v1/reviews/{id}", "review"),
            get("/v1/radar/early_fraud_warnings/{id}", "radar.early_fraud_warning"),
            Operation("GET", at("/v1/balance_transactions"), self._list_movements, contract.LIST_MOVEMENTS),
            get("/v1/payment_methods/{id}", "payment_method"),
            get("/v1/balance_transactions/{id}", "balance_transaction"),
            Operation("GET", at("/v1/events"), self._list_events, contract.LIST_EVENTS),
            get("/v1/events/{id}", "event"),
        ]

    def _list_intents(self, params: Json) -> Json:
        wanted = {"customer": params["customer"]} if "customer" in params else {}
        found = [each for each in self.account.all("payment_intent") if wanted.items() <= each.items()]
        return self._list("/v1/payment_intents", found, params)

    def _search_intents(self, params: Json) -> Json:
        """Only the query that we ask: by one value of the metadata."""
        asked = re.fullmatch(r"metadata\['(\w+)'\]:'([^']*)'", params["query"])
        if asked is None:
            raise invalid("The local Stripe does not model this query.", code="not_simulated", param="query")
        name, value = asked.groups()
        found = [each for each in reversed(self.account.all("payment_intent")) if each["metadata"].get(name) == value]
        limit = params.get("limit", 10)
        return {
            "object": "search_result",
            "data": found[:limit],
            "has_more": len(found) > limit,
            "next_page": None,
            "url": "/v1/payment_intents/search",
        }

    def _list_movements(self, params: Json) -> Json:
        wanted = {name: params[name] for name in ("source", "type") if name in params}
        found = [each for each in self.account.all("balance_transaction") if wanted.items() <= each.items()]
        return self._list("/v1/balance_transactions", found, params)

    def _list_refunds(self, params: Json) -> Json:
        wanted = {name: params[name] for name in ("charge", "payment_intent") if name in params}
        refunds = [refund for refund in self.account.all("refund") if wanted.items() <= refund.items()]
        return self._list("/v1/refunds", refunds, params)

    def _list_events(self, params: Json) -> Json:
        kinds = params.get("types") or ([params["type"]] if "type" in params else None)
        success = params.get("delivery_success")
        events = [
            event
            for event in self.account.all("event")
            if (kinds is None or event["type"] in kinds)
            and (success is None or success == (event["pending_webhooks"] == 0))
        ]
        return self._list("/v1/events", events, params)

    def _list(self, url: str, oldest_first: list[Json], params: Json) -> Json:
        """A page, newest first."""
        limit = params.get("limit", 10)
        if limit > 100:
            raise invalid("A page has at most 100 objects.", code="parameter_invalid_integer", param="limit")
        bounds = params.get("created", {})
        found = [
            item
            for item in reversed(oldest_first)
            if bounds.get("gte", 0) <= item["created"] <= bounds.get("lte", item["created"])
            and bounds.get("gt", -1) < item["created"] < bounds.get("lt", item["created"] + 1)
        ]
        ids = [item["id"] for item in found]
        if (after := params.get("starting_after")) in ids:
            found = found[ids.index(after) + 1 :]
        elif (before := params.get("ending_before")) in ids:
            found = found[max(0, ids.index(before) - limit) : ids.index(before)]
        return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": url}

    def _expanded(self, shape: Json, paths: list[str]) -> Json:
        for path in paths:
            self._expand(shape, path.split("."), path)
        return shape

    def _expand(self, shape: Json, names: list[str], path: str) -> None:
        name, *rest = names
        value = shape.get(name)
        if name == "data" and isinstance(value, list) and rest:
            for item in value:
                self._expand(item, rest, path)
            return
        if isinstance(value, str):
            value = copy.deepcopy(self.account.any(value))
            if value is None:
                raise refused(f"This property cannot be expanded ({path}).", param="expand")
            shape[name] = value
        elif name not in shape:
            raise refused(f"This property cannot be expanded ({path}).", param="expand")
        if rest and isinstance(value, dict):
            self._expand(value, rest, path)

    def _send_events(self) -> None:
        for event in self.account.take_events():
            self.endpoint.send(event)

    # ---- the parts of others

    def _control(self, request: Request) -> Response:
        try:
            body = request.json() or {}
            return Response.of(200, self._play(f"{request.method} {request.path}", body, request))
        except ApiError as error:
            return Response.of(error.status, {"error": error.error})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return Response.of(400, {"error": {"type": "invalid_request_error", "message": repr(error)}})

    def _play(self, route: str, body: Json, request: Request) -> Any:
        account = self.account
        account.begin(None, None)
        match route:
            case "POST /_sim/config":
                self.endpoint.url = body.get("callback_url", self.endpoint.url)
                self.endpoint.secret = body.get("webhook_secret", self.endpoint.secret)
                self.endpoint.enabled = set(body.get("enabled_events", self.endpoint.enabled))
                account.multicapture = bool(body.get("multicapture", account.multicapture))
                return {"callback_url": self.endpoint.url, "enabled_events": sorted(self.endpoint.enabled)}
            case "POST /_sim/faults":
                self._faults = Faults(bool(body.get("down", False)), list(body.get("next", [])))
                return {"down": self._faults.down, "next": self._faults.next}
            case "POST /_sim/pay":
                intent = self._intent_for_browser(body["payment_intent"])
                method = account.method_named(body["payment_method"])
                return account.confirm(
                    intent, {"payment_method": method["id"], "return_url": "https://shop.example/return"}
                )
            case "POST /_sim/authenticate":
                intent = self._intent_for_browser(body["payment_intent"])
                return account.authenticate(intent, _outcome(body, "succeeded", "failed"))
            case "POST /_sim/settle" if "refund" in body:
                refund = account.find("refund", body["refund"], param="refund")
                return account.settle_refund(refund, _outcome(body, "succeeded", "failed"))
            case "POST /_sim/settle":
                intent = self._intent_for_browser(body["payment_intent"])
                return account.settle_intent(intent, _outcome(body, "succeeded", "failed"))
            case "POST /_sim/disputes" if "dispute" in body:
                dispute = account.find("dispute", body["dispute"], param="dispute")
                return account.close_dispute(dispute, _outcome(body, "won", "lost"))
            case "POST /_sim/disputes":
                return account.open_dispute(self._charge_of(body), body.get("reason", "fraudulent"))
            case "POST /_sim/reviews" if "review" in body:
                outcome = "approved" if _outcome(body, "approved", "refunded_as_fraud") else "refunded_as_fraud"
                return account.close_review(account.find("review", body["review"], param="review"), outcome)
            case "POST /_sim/reviews":
                return account.open_review(self._charge_of(body), "rule")
            case "POST /_sim/fraud_warnings":
                return account.warn_of_fraud(self._charge_of(body), "made_with_stolen_card")
            case "GET /_sim/intents":
                order_id = request.first("order_id")
                intents = account.all("payment_intent")
                return [i for i in intents if not order_id or i["metadata"].get("order_id") == order_id]
            case "GET /_sim/deliveries":
                return self.endpoint.report()
            case "POST /_sim/deliveries":
                self.endpoint.send(account.find("event", body["event"], param="event"))
                return {"event": body["event"]}
            case "GET /_sim/totals":
                return totals(account)
        raise ApiError(404, "invalid_request_error", f"There is no {route}.")

    def _charge_of(self, body: Json) -> Json:
        intent = self._intent_for_browser(body["payment_intent"])
        return self.account.find("charge", intent["latest_charge"] or "", param="payment_intent")

    def _intent_for_browser(self, name: str) -> Json:
        """By id, or by the client secret, which is all a browser has."""
        intent = self.account.find("payment_intent", name.partition("_secret_")[0], param="payment_intent")
        if "_secret_" in name and name != intent["client_secret"]:
            raise invalid("The client secret does not match.", param="client_secret")
        return intent


def _raw(request: Request) -> dict[str, Any]:
    if request.method == "POST":
        return forms.decode(request.body.decode(errors="replace"))
    return forms.decode(urlencode(request.query, doseq=True))


def _replay(kept: Kept, fingerprint: tuple[str, str, str]) -> Response:
    if kept.request != fingerprint:
        raise ApiError(400, "idempotency_error", "This key was first used with other parameters.")
    first = kept.response
    return Response(first.status, {**first.headers, "idempotent-replayed": "true"}, first.body)


def _failure(fault: Json, headers: Mapping[str, str]) -> Response:
    status = int(fault["status"])
    error = {"type": "api_error", "message": "Something went wrong on Stripe's side."}
    if code := {409: "lock_timeout", 429: "rate_limit"}.get(status):
        error |= {"type": "invalid_request_error", "code": code}
    # Stripe answers a stored failure the same way again, and says that asking at once is useless.
    retry = {"stripe-should-retry": "false"} if status >= 500 and fault.get("after_effect") else {}
    return Response.of(status, {"error": error}, {**headers, **retry})


def _outcome(body: Json, good: str, bad: str) -> bool:
    if (outcome := body.get("outcome", good)) not in (good, bad):
        raise invalid(f"The outcome is {good} or {bad}.", param="outcome")
    return bool(outcome == good)
