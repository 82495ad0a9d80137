"""Marketplaces' amounts in minor units, exactly: never through a float, never rounded in silence."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from oms.channels.port import ChannelRefused

_WITHOUT_MINOR_UNIT = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_WITH_THREE_DIGITS = "BHD IQD JOD KWD LYD OMR TND"


def minor_digits(currency: str) -> int:
    """How many digits ISO 4217 gives the currency's minor unit."""
    if currency in _WITHOUT_MINOR_UNIT.split():
        return 0
    return 3 if currency in _WITH_THREE_DIGITS.split() else 2


def minor_from_text(value: str, currency: str) -> int:
    """``"12.5"`` dollars are 1250 cents. Raises ``ChannelRefused`` for what the currency cannot express."""
    try:
        amount = Decimal(value)
    except InvalidOperation as error:
        raise ChannelRefused("an amount is not a number") from error
    return _whole(amount, currency)


def minor_from_fraction(amount: int, divisor: int, currency: str) -> int:
    """``amount / divisor`` of the currency in minor units, with the same refusal."""
    if divisor <= 0:
        raise ChannelRefused("an amount has no divisor")
    return _whole(Decimal(amount) / Decimal(divisor), currency)


def _whole(amount: Decimal, currency: str) -> int:
    if not amount.is_finite():
        raise ChannelRefused("an amount is not a number")
    scaled = amount.scaleb(minor_digits(currency))
    if scaled != scaled.to_integral_value():
        raise ChannelRefused(f"an amount is finer than {currency} can express")
    return int(scaled)
