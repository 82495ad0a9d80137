"""The local Stripe."""

from local.simulators.stripe.core import StripeCore
from local.simulators.stripe.webhooks import sign

__all__ = ["StripeCore", "sign"]
