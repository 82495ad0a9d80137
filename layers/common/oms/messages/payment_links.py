"""Sending a customer who ordered by phone or at a counter the link by which they pay themselves.

The link is to the merchant's own page and carries the order's token, so nothing new is kept and nothing new can leak:
the page asks for the order's payment, which is refused once there is nothing to pay.
"""

from __future__ import annotations

from dataclasses import dataclass

from oms.messages.kinds import CHANNELS_THAT_TELL
from oms.orders.model import Event, Order
from oms.orders.once import answer_with, answered, digest_of
from oms.orders.paying import not_payable, unpayable
from oms.orders.store import Change, DynamoOrders
from oms.runtime import errors
from oms.runtime.clock import Clock
from oms.runtime.dynamo import Item


@dataclass(frozen=True, slots=True)
class SendPaymentLinks:
    """Notes in the order's history that a link is to be sent; whoever tells customers sends it."""

    orders: DynamoOrders
    clock: Clock
    pay_url: str
    """Empty where no link can be sent."""

    def send(self, order_id: str, *, actor: str, key: str) -> Item:
        """Have one link sent per ``key``, and return what the request is answered.

        Raises ``NotFound``, and ``Conflict`` when the order cannot be paid or nobody can be written to.
        """
        now, table = self.clock(), self.orders.table
        digest = digest_of("payment link")
        answer: Item = {}

        def decide(order: Order) -> Change | None:
            nonlocal answer
            found = answered(table, order_id, "payment-link", key, digest)
            if found:
                answer = found
                return None
            why_not = unpayable(order, now)
            if why_not:
                raise not_payable(why_not)
            if not self.pay_url:
                raise errors.Conflict(
                    "No link can be sent: MerchantPayUrl or MailFrom is empty.", extra={"code": "no_pay_page"}
                )
            if order.channel in CHANNELS_THAT_TELL or not order.customer.get("email"):
                raise errors.Conflict("The order has no address to write to.", extra={"code": "no_address"})
            answer = {"order_id": order_id, "event": order.version + 1, "expires_at": order.expires_at}
            kept = answer_with(table, order_id, "payment-link", key, digest, answer, now)
            return Change(order, Event("PaymentLinkSent", actor, "payment link"), [kept])

        self.orders.change(order_id, decide, now)
        return answer
