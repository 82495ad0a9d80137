"""Stripe's documented test payment methods: their names, their numbers, and what each of them does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """A test card. The empty defaults are those of the card that simply works."""

    number: str
    brand: str = "visa"
    funding: str = "credit"
    decline: tuple[str, str] | None = None
    """Error code and decline code."""
    authenticate: bool = False
    """Asks for 3-D Secure before it pays."""
    refund: str = "succeeded"
    """What refunds do: succeeded, pending (then succeeded) or failed (after having succeeded)."""
    dispute: str | None = None
    """The reason of the dispute that follows the payment at once."""
    once: bool = False
    """Pays while its holder is there, and is declined when it is asked again through a customer."""


BANK_DEBIT = "pm_usBankAccount_processing"
"""Stays ``processing`` until somebody settles it."""

_DECLINED = "card_declined"
_CARDS = {
    "visa": Card("4242424242424242"),
    "visa_debit": Card("4000056655665556", funding="debit"),
    "mastercard": Card("5555555555554444", brand="mastercard"),
    "amex": Card("378282246310005", brand="amex"),
    "chargeDeclined": Card("4000000000000002", decline=(_DECLINED, "generic_decline")),
    "chargeDeclinedInsufficientFunds": Card("4000000000009995", decline=(_DECLINED, "insufficient_funds")),
    "chargeDeclinedLostCard": Card("4000000000009987", decline=(_DECLINED, "lost_card")),
    "chargeDeclinedStolenCard": Card("4000000000009979", decline=(_DECLINED, "stolen_card")),
    "chargeDeclinedExpiredCard": Card("4000000000000069", decline=("expired_card", "expired_card")),
    "chargeDeclinedIncorrectCvc": Card("4000000000000127", decline=("incorrect_cvc", "incorrect_cvc")),
    "chargeDeclinedProcessingError": Card("4000000000000119", decline=("processing_error",) * 2),
    "chargeCustomerFail": Card("4000000000000341", once=True),
    "authenticationRequired": Card("4000002760003184", authenticate=True),
    "threeDSecure2Required": Card("4000000000003220", authenticate=True),
    "refundFail": Card("4000000000005126", refund="failed"),
    "pendingRefund": Card("4000000000007726", refund="pending"),
    "createDispute": Card("4000000000000259", dispute="fraudulent"),
    "createDisputeProductNotReceived": Card("4000000000002685", dispute="product_not_received"),
}
_BY_NUMBER = {card.number: card for card in _CARDS.values()}


def by_payment_method(name: str) -> Card | None:
    """``pm_card_visa``, and the long form ``pm_card_visa_chargeDeclined``."""
    return _CARDS.get(name.removeprefix("pm_card_")) or _CARDS.get(name.removeprefix("pm_card_visa_"))


def by_token(token: str) -> Card | None:
    """``tok_visa``: what a card number becomes before it may reach a server."""
    return _CARDS.get(token.removeprefix("tok_")) if token.startswith("tok_") else None


def by_number(number: str) -> Card | None:
    """A number as a customer types it into the browser's form."""
    return _BY_NUMBER.get(number.replace(" ", ""))
