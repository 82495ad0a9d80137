"""The merchant's Stripe account: intents, charges, refunds and disputes, and the money they move."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Callable
from typing import Any

from local.simulators.core import Clock
from local.simulators.stripe import cards, shapes
from local.simulators.stripe.cards import Card
from local.simulators.stripe.errors import ApiError, invalid, missing, refused
from local.simulators.stripe.shapes import Json

SMALLEST = {"usd": 50, "eur": 50, "cad": 50, "aud": 50, "chf": 50, "gbp": 30, "jpy": 50}
LARGEST = 99_999_999
CONFIRMABLE = {"requires_payment_method", "requires_confirmation"}
CANCELLABLE = {*CONFIRMABLE, "requires_action", "requires_capture"}
AUTHORIZATION_SECONDS = 7 * 86_400
REFUND_SECONDS = 60
"""How long the refunds that do not settle at once take."""
MULTICAPTURE_LIMIT = 50


class Account:
    """Objects are kept in their wire shape; only what the wire does not show stands beside them."""

    def __init__(self, clock: Clock, seed: str) -> None:
        self._clock = clock
        self._seed = seed
        self._counters: dict[str, int] = {}
        self._objects: dict[str, Json] = {}
        self._kinds: dict[str, list[Json]] = {}
        self._cards: dict[str, Card | None] = {}
        self._captures: dict[str, int] = {}
        self._in_parts: set[str] = set()
        self._spent: set[str] = set()
        """Payment methods that were used without being kept: they cannot be used again."""
        self.multicapture = True
        """Whether this account may capture an authorisation in parts."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._cause: Json = {"id": None, "idempotency_key": None}
        self._unsent: list[Json] = []

    # ---- what the rest of the core asks for

    def new_id(self, prefix: str) -> str:
        """Ids count upwards, so a run can be replayed; the seed keeps two runs apart."""
        self._counters[prefix] = self._counters.get(prefix, 0) + 1
        return f"{prefix}_{self._seed}{self._counters[prefix]:012d}"

    def begin(self, request_id: str | None, idempotency_key: str | None) -> None:
        """Name the cause of the events that follow."""
        self._cause = {"id": request_id, "idempotency_key": idempotency_key}

    def take_events(self) -> list[Json]:
        """The events since the last call."""
        events, self._unsent = self._unsent, []
        return events

    def tick(self) -> None:
        """Do what has fallen due: refunds settle, authorisations lapse."""
        while self._due and self._due[0][0] <= self._clock():
            _, _, action = heapq.heappop(self._due)
            self.begin(None, None)
            action()

    def find(self, kind: str, object_id: str, *, param: str, status: int = 404) -> Json:
        """The object, which may be changed in place."""
        found = self._objects.get(object_id)
        if found is None or found["object"] != kind:
            raise missing(kind, object_id, param=param, status=status)
        return found

    def any(self, object_id: str) -> Json | None:
        """The object with this id, of whatever kind."""
        return self._objects.get(object_id)

    def all(self, kind: str) -> list[Json]:
        """Every object of a kind, oldest first."""
        return self._kinds.get(kind, [])

    # ---- customers

    def create_customer(self, params: Json) -> Json:
        """Somebody new, perhaps with a payment method that an intent kept for later."""
        method = None
        if "payment_method" in params:
            method = self.find("payment_method", params["payment_method"], param="payment_method", status=400)
            if method["customer"]:
                raise refused("The payment method has already been attached to a customer.", param="payment_method")
            self._check_not_spent(method)
        customer = self._keep(shapes.customer(self.new_id("cus"), self._now(), params))
        if method:
            method["customer"] = customer["id"]
            self._emit("payment_method.attached", method)
        self._emit("customer.created", customer)
        return customer

    def _check_not_spent(self, method: Json) -> None:
        if method["id"] in self._spent:
            raise refused(
                "This PaymentMethod was used before without being attached to a Customer, and may not be used again.",
                param="payment_method",
            )

    # ---- payment intents

    def create_intent(self, params: Json) -> Json:
        """A new intent, confirmed at once where that is asked for."""
        _check_amount(params["amount"], params["currency"])
        if "customer" in params:
            self.find("customer", params["customer"], param="customer", status=400)
        if params.get("off_session") and not params.get("confirm"):
            raise invalid("off_session is for intents that are confirmed at once.", param="off_session")
        method = self._method(params)
        shape = shapes.intent(self.new_id("pi"), self._now(), params)
        shape["metadata"] = _set_only(shape["metadata"])
        if params.get("confirm"):
            if method is None:
                raise invalid("Nothing to confirm with.", code="parameter_missing", param="payment_method")
            _check_return(shape, params)
        intent = self._keep(shape)
        options = params.get("payment_method_options", {}).get("card", {})
        if options.get("request_multicapture") == "if_available" and self.multicapture:
            self._in_parts.add(intent["id"])
        if method:
            intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
        self._emit("payment_intent.created", intent)
        return self.confirm(intent, params) if params.get("confirm") else intent

    def update_intent(self, intent: Json, params: Json) -> Json:
        """Change what has not been decided yet."""
        method = self._method(params)
        fixed = {"amount", "currency", "capture_method"} & params.keys()
        if intent["status"] not in {*CONFIRMABLE, "requires_action"} and (fixed or method):
            raise self._unexpected(intent, "updated")
        merged = intent | params
        _check_amount(merged["amount"], merged["currency"])
        metadata = intent["metadata"] | params.get("metadata", {})
        plain = {"amount", "currency", "capture_method", "description", "receipt_email", "shipping"}
        plain |= {"statement_descriptor", "statement_descriptor_suffix"}
        intent |= {name: params[name] for name in plain & params.keys()}
        intent["metadata"] = _set_only(metadata)
        if method:
            intent |= {"payment_method": method["id"], "status": "requires_confirmation", "next_action": None}
        return intent

    def confirm(self, intent: Json, params: Json) -> Json:
        """Try to pay; a decline is an error answer and leaves its trace on the intent."""
        if intent["status"] not in CONFIRMABLE:
            raise self._unexpected(intent, "confirmed")
        method = self._method(params)
        if method:
            intent["payment_method"] = method["id"]
        if intent["payment_method"] is None:
            raise self._unexpected(intent, "confirmed without a payment method")
        _check_return(intent, params)
        card = self._cards[intent["payment_method"]]
        if card and card.authenticate:
            if params.get("off_session") or params.get("error_on_requires_action"):
                raise self._decline(intent, ("authentication_required", "authentication_required"))
            intent["status"] = "requires_action"
            intent["next_action"] = (
                {
                    "type": "redirect_to_url",
                    "redirect_to_url": {
                        "return_url": params["return_url"],
                        "url": f"https://hooks.stripe.com/redirect/authenticate/{intent['id']}",
                    },
                }
                if params.get("return_url")
                else {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
            )
            self._emit("payment_intent.requires_action", intent)
            return intent
        return self._charge(intent)

    def authenticate(self, intent: Json, succeeded: bool) -> Json:
        """The customer comes back from 3-D Secure."""
        if intent["status"] != "requires_action":
            raise self._unexpected(intent, "authenticated")
        intent["next_action"] = None
        if not succeeded:
            self._fail(intent, ("payment_intent_authentication_failure", None), charge=None)
            return intent
        return self._charge(intent)

    def capture(self, intent: Json, params: Json) -> Json:
        """Take what was authorised, or part of it; the rest is let go unless more captures are to come."""
        if intent["status"] != "requires_capture":
            raise self._unexpected(intent, "captured")
        available: int = intent["amount_capturable"]
        amount: int = params.get("amount_to_capture", available)
        if amount > available:
            raise refused("Not as much was authorised.", code="amount_too_large", param="amount_to_capture")
        if not params.get("final_capture", True) and intent["id"] not in self._in_parts:
            raise refused("Multiple captures are not available for this payment.", param="final_capture")
        self._captures[intent["id"]] = self._captures.get(intent["id"], 0) + 1
        if self._captures[intent["id"]] > MULTICAPTURE_LIMIT:
            raise refused(f"At most {MULTICAPTURE_LIMIT} captures are possible.", param="intent")
        intent["metadata"] |= params.get("metadata", {})
        charge = self._objects[intent["latest_charge"]]
        final = params.get("final_capture", True) or amount == available
        charge["captured"] = True
        charge["amount_captured"] += amount
        charge["balance_transaction"] = self._move(charge, amount, "charge", fee=_fee(amount))
        intent["amount_received"] += amount
        intent["amount_capturable"] = 0 if final else available - amount
        self._emit("charge.captured", charge)
        if final:
            intent["status"] = "succeeded"
            self._emit("payment_intent.succeeded", intent)
        else:
            self._emit("payment_intent.amount_capturable_updated", intent)
        return intent

    def cancel(self, intent: Json, reason: str | None) -> Json:
        """Give up on the payment and let go of what was authorised."""
        if intent["status"] not in CANCELLABLE:
            raise self._unexpected(intent, "canceled")
        if intent["status"] == "requires_capture":
            charge = self._objects[intent["latest_charge"]]
            if not charge["captured"]:
                charge |= {"amount_refunded": charge["amount"], "refunded": True}
                self._emit("charge.expired" if reason == "automatic" else "charge.refunded", charge)
        intent |= {
            "amount_capturable": 0,
            "canceled_at": self._now(),
            "cancellation_reason": reason,
            "next_action": None,
            "status": "canceled",
        }
        self._emit("payment_intent.canceled", intent)
        return intent

    def settle_intent(self, intent: Json, succeeded: bool) -> Json:
        """A bank debit that was processing comes to its end."""
        if intent["status"] != "processing":
            raise self._unexpected(intent, "settled")
        charge = self._objects[intent["latest_charge"]]
        if succeeded:
            self._collect(intent, charge)
        else:
            self._fail(intent, ("payment_method_provider_decline", None), charge)
        return intent

    # ---- refunds

    def create_refund(self, params: Json) -> Json:
        """Give money back, never more than was taken."""
        charge = self._refundable(params)
        remaining = charge["amount_captured"] - charge["amount_refunded"]
        if remaining == 0:
            raise refused("Charge has already been refunded.", code="charge_already_refunded")
        if charge["disputed"]:
            raise refused("A disputed charge cannot be refunded.", code="charge_disputed")
        amount = params.get("amount", remaining)
        if amount > remaining:
            raise refused(f"{amount} is more than the {remaining} left to refund.", param="amount")
        card = self._cards[charge["payment_method"]]
        behaviour = card.refund if card else "pending"
        status = "pending" if behaviour == "pending" else "succeeded"
        refund = self._keep(shapes.refund(self.new_id("re"), self._now(), charge, amount, params, status))
        refund["balance_transaction"] = self._move(charge, -amount, "refund", source=refund["id"])
        before = copy.deepcopy(charge)
        self._count_refund(charge, amount)
        self._emit("refund.created", refund)
        self._emit("charge.refunded", charge, before)
        if behaviour != "succeeded":
            self._later(REFUND_SECONDS, lambda: self._settle_if_open(refund, behaviour == "pending"))
        return refund

    def settle_refund(self, refund: Json, succeeded: bool) -> Json:
        """The last word about a refund; a failed one puts the money back into the merchant's balance."""
        if refund["status"] in {"failed", "canceled"} or (succeeded and refund["status"] != "pending"):
            raise refused(f"This refund is {refund['status']} already.")
        before = copy.deepcopy(refund)
        if succeeded:
            refund["status"] = "succeeded"
        else:
            charge = self._objects[refund["charge"]]
            refund["status"] = "failed"
            refund["failure_reason"] = "expired_or_canceled_card"
            refund["failure_balance_transaction"] = self._move(
                charge, refund["amount"], "refund_failure", source=refund["id"]
            )
            self._count_refund(charge, -refund["amount"])
            self._emit("refund.failed", refund, before)
        self._emit("refund.updated", refund, before)
        self._emit("charge.refund.updated", refund, before)
        return refund

    # ---- disputes

    def open_dispute(self, charge: Json, reason: str) -> Json:
        """The bank takes the money back until the dispute is decided."""
        if charge["disputed"] or not charge["captured"]:
            raise refused("This charge cannot be disputed.")
        charge["disputed"] = True
        dispute = self._keep(shapes.dispute(self.new_id("dp"), self._now(), charge, reason))
        self._dispute_money(dispute, charge, -dispute["amount"], fee=1500)
        self._emit("charge.dispute.created", dispute)
        self._emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def update_dispute(self, dispute: Json, params: Json) -> Json:
        """Evidence, which counts once it is submitted, and only in time."""
        if dispute["status"] not in {"needs_response", "warning_needs_response"}:
            raise refused("This dispute does not take evidence any more.")
        if self._clock() > dispute["evidence_details"]["due_by"]:
            raise refused("The time for evidence is over.")
        before = copy.deepcopy(dispute)
        dispute["evidence"] |= params.get("evidence", {})
        dispute["evidence_details"]["has_evidence"] = bool(dispute["evidence"])
        dispute["metadata"] = _set_only(dispute["metadata"] | params.get("metadata", {}))
        if params.get("submit", True):
            dispute["evidence_details"]["submission_count"] += 1
            dispute["status"] = "under_review"
        self._emit("charge.dispute.updated", dispute, before)
        return dispute

    # ---- doubts

    def open_review(self, charge: Json, reason: str) -> Json:
        """A rule sends the payment to a person."""
        review = self._keep(shapes.review(self.new_id("prv"), self._now(), charge, reason))
        charge["review"] = review["id"]
        self._emit("review.opened", review)
        return review

    def close_review(self, review: Json, reason: str) -> Json:
        """The person has looked."""
        if not review["open"]:
            raise refused("This review is closed.")
        review |= {"open": False, "closed_reason": reason, "reason": reason}
        self._emit("review.closed", review)
        return review

    def warn_of_fraud(self, charge: Json, kind: str) -> Json:
        """The card holder's bank reports the payment."""
        warning = self._keep(shapes.fraud_warning(self.new_id("issfr"), self._now(), charge, kind))
        self._emit("radar.early_fraud_warning.created", warning)
        return warning

    def close_dispute(self, dispute: Json, won: bool) -> Json:
        """The bank decides."""
        if dispute["status"] in {"won", "lost"}:
            raise refused("This dispute is closed.")
        before = copy.deepcopy(dispute)
        dispute["status"] = "won" if won else "lost"
        if won:
            self._dispute_money(dispute, self._objects[dispute["charge"]], dispute["amount"])
            self._emit("charge.dispute.funds_reinstated", dispute)
        self._emit("charge.dispute.closed", dispute, before)
        return dispute

    # ---- parts

    def method_named(self, name: str) -> Json:
        """A payment method made from a test name, a test card's number, or found by its id."""
        known = self._objects.get(name)
        if known and known["object"] == "payment_method":
            return known
        card = cards.by_payment_method(name) or cards.by_number(name)
        if card is None and name != cards.BANK_DEBIT:
            raise missing("PaymentMethod", name, param="payment_method", status=400)
        return self._keep_method(card)

    def _method(self, params: Json) -> Json | None:
        name, data = params.get("payment_method"), params.get("payment_method_data")
        if name and name.isdigit():
            raise missing("PaymentMethod", name, param="payment_method", status=400)
        if name:
            return self.method_named(name)
        if not data:
            return None
        token = data["card"]["token"]
        card = cards.by_token(token)
        if card is None:
            raise missing("token", token, param="payment_method_data[card][token]", status=400)
        return self._keep_method(card)

    def _keep_method(self, card: Card | None) -> Json:
        method = self._keep(shapes.payment_method(self.new_id("pm"), self._now(), card))
        self._cards[method["id"]] = card
        return method

    def _charge(self, intent: Json) -> Json:
        method = self._objects[intent["payment_method"]]
        card = self._cards[method["id"]]
        self._check_not_spent(method)
        if method["customer"] and method["customer"] != intent["customer"]:
            raise refused("The PaymentMethod belongs to another customer.", param="payment_method")
        if not method["customer"] and not intent["setup_future_usage"]:
            self._spent.add(method["id"])
        if card and card.decline:
            raise self._decline(intent, card.decline)
        if card and card.once and intent["customer"]:
            raise self._decline(intent, ("card_declined", "generic_decline"))
        charge = self._new_charge(intent)
        intent |= {"next_action": None, "last_payment_error": None}
        if card is None:
            intent["status"] = "processing"
            self._emit("charge.pending", charge)
            self._emit("payment_intent.processing", intent)
        elif intent["capture_method"] == "manual":
            charge |= {"status": "succeeded", "paid": True}
            intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
            self._emit("charge.succeeded", charge)
            self._emit("payment_intent.amount_capturable_updated", intent)
            self._later(AUTHORIZATION_SECONDS, lambda: self._lapse(intent))
        else:
            self._collect(intent, charge)
            if card.dispute:
                self.open_dispute(charge, card.dispute)
        return intent

    def _collect(self, intent: Json, charge: Json) -> None:
        amount = intent["amount"]
        charge |= {"status": "succeeded", "paid": True, "captured": True, "amount_captured": amount}
        intent |= {"status": "succeeded", "amount_received": amount}
        if intent["capture_method"] == "automatic":
            charge["balance_transaction"] = self._move(charge, amount, "charge", fee=_fee(amount))
        self._emit("charge.succeeded", charge)
        self._emit("payment_intent.succeeded", intent)
        if intent["capture_method"] == "automatic_async":
            # Asynchronous capture is the default since 2024: the balance follows in an event of its own.
            before = copy.deepcopy(charge)
            charge["balance_transaction"] = self._move(charge, amount, "charge", fee=_fee(amount))
            self._emit("charge.updated", charge, before)

    def _decline(self, intent: Json, decline: tuple[str, str | None]) -> ApiError:
        charge = self._new_charge(intent)
        error = self._fail(intent, decline, charge)
        return ApiError(402, "card_error", executed=True, **error, payment_intent=copy.deepcopy(intent))

    def _fail(self, intent: Json, decline: tuple[str, str | None], charge: Json | None) -> Json:
        code, decline_code = decline
        error: Json = {"message": "The payment was declined.", "code": code}
        if decline_code:
            error["decline_code"] = decline_code
        if charge:
            error["charge"] = charge["id"]
            charge |= {"status": "failed", "failure_code": code, "failure_message": error["message"]}
            charge["outcome"] |= {
                "network_status": "declined_by_network",
                "reason": decline_code,
                "seller_message": error["message"],
                "type": "issuer_declined",
            }
            self._emit("charge.failed", charge)
        error["payment_method"] = copy.deepcopy(self._objects[intent["payment_method"]])
        intent |= {
            "last_payment_error": {"type": "card_error", **error},
            "payment_method": None,
            "status": "requires_payment_method",
        }
        self._emit("payment_intent.payment_failed", intent)
        return error

    def _new_charge(self, intent: Json) -> Json:
        method = self._objects[intent["payment_method"]]
        shape = shapes.charge(
            self.new_id("ch"),
            self._now(),
            intent,
            method,
            self._cards[method["id"]],
            before=self._now() + AUTHORIZATION_SECONDS,
            multicapture=intent["id"] in self._in_parts,
        )
        intent["latest_charge"] = shape["id"]
        return self._keep(shape)

    def _lapse(self, intent: Json) -> None:
        if intent["status"] == "requires_capture":
            self.cancel(intent, "automatic")

    def _settle_if_open(self, refund: Json, succeeded: bool) -> None:
        if refund["status"] == ("pending" if succeeded else "succeeded"):
            self.settle_refund(refund, succeeded)

    def _refundable(self, params: Json) -> Json:
        if ("charge" in params) == ("payment_intent" in params):
            raise invalid("Either charge or payment_intent.", code="parameter_missing", param="payment_intent")
        if "charge" in params:
            charge = self.find("charge", params["charge"], param="charge", status=400)
        else:
            intent = self.find("payment_intent", params["payment_intent"], param="payment_intent", status=400)
            if not intent["amount_received"]:
                raise self._unexpected(intent, "refunded")
            charge = self._objects[intent["latest_charge"]]
        if not charge["captured"]:
            raise refused("This charge was never captured.", code="charge_not_refundable", param="charge")
        return charge

    def _count_refund(self, charge: Json, amount: int) -> None:
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]

    def _dispute_money(self, dispute: Json, charge: Json, amount: int, fee: int = 0) -> None:
        txn = self._move(charge, amount, "adjustment", source=dispute["id"], fee=fee)
        dispute["balance_transactions"].append(copy.deepcopy(self._objects[txn]))

    def _move(self, charge: Json, amount: int, kind: str, *, source: str | None = None, fee: int = 0) -> str:
        txn = shapes.balance_transaction(
            self.new_id("txn"), self._now(), charge["currency"], amount, kind, source or charge["id"], fee
        )
        return str(self._keep(txn)["id"])

    def _unexpected(self, intent: Json, what: str) -> ApiError:
        return refused(
            f"This PaymentIntent cannot be {what}: it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
            payment_intent=copy.deepcopy(intent),
        )

    def _emit(self, kind: str, about: Json, before: Json | None = None) -> None:
        changed = {name: before[name] for name in before if before[name] != about[name]} if before else None
        snapshot = copy.deepcopy(about)
        event = shapes.event(self.new_id("evt"), self._now(), kind, snapshot, changed, dict(self._cause))
        self._unsent.append(self._keep(event))

    def _keep(self, shape: Json) -> Json:
        self._objects[shape["id"]] = shape
        self._kinds.setdefault(shape["object"], []).append(shape)
        return shape

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._counters["due"] = self._counters.get("due", 0) + 1
        heapq.heappush(self._due, (self._clock() + seconds, self._counters["due"], action))

    def _now(self) -> int:
        return int(self._clock())


def totals(account: Account) -> dict[str, Any]:
    """What money moved, by currency and by the order named in the metadata."""
    currencies: dict[str, dict[str, int]] = {}
    orders: dict[str, dict[str, Any]] = {}
    statuses: dict[str, int] = {}
    for intent in account.all("payment_intent"):
        statuses[intent["status"]] = statuses.get(intent["status"], 0) + 1
        charge = account.any(intent["latest_charge"]) if intent["latest_charge"] else None
        money = {
            "authorized": intent["amount_capturable"],
            "captured": intent["amount_received"],
            "refunded": charge["amount_refunded"] if charge and charge["captured"] else 0,
            "disputed": intent["amount_received"] if charge and charge["disputed"] else 0,
        }
        nothing = dict.fromkeys(money, 0)
        order = orders.setdefault(intent["metadata"].get("order_id", ""), {"intents": [], **nothing})
        order["intents"].append(intent["id"])
        for row in (currencies.setdefault(intent["currency"], dict(nothing)), order):
            for name, amount in money.items():
                row[name] += amount
    return {"currencies": currencies, "orders": orders, "intents": statuses}


def _check_amount(amount: int, currency: str) -> None:
    if amount < SMALLEST.get(currency, 1):
        raise invalid("The amount is below the minimum.", code="amount_too_small", param="amount")
    if amount > LARGEST:
        raise invalid("The amount is above the maximum.", code="amount_too_large", param="amount")


def _check_return(intent: Json, params: Json) -> None:
    automatic = intent["automatic_payment_methods"]
    if automatic and automatic["allow_redirects"] == "always" and not params.get("return_url"):
        raise invalid(
            "Some of the enabled payment methods redirect the customer: give a return_url, "
            "or set automatic_payment_methods[allow_redirects] to never.",
            param="return_url",
        )


def _set_only(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if value != ""}


def _fee(amount: int) -> int:
    return (amount * 29 + 500) // 1000 + 30
