"""Telling vendors who send for us: what to send, and what not to send any more, each once.

A request that is not wanted any more when it comes to be sent is claimed as suppressed, so that a late worker cannot
send it after its withdrawal; and who never got the request is not told of the withdrawal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from oms.fulfillment.dropship import is_open
from oms.fulfillment.facilities import facilities
from oms.fulfillment.shipments import DynamoShipments, Shipment
from oms.messages.kinds import VENDOR_KINDS, Due
from oms.messages.notifier import Mail
from oms.messages.rendering import render_purchase
from oms.messages.telling import Telling, sort_key_of_tag, tags
from oms.orders.model import Order
from oms.orders.store import order_key
from oms.runtime import errors
from oms.runtime.dynamo import Item

PREFIX = "VENDORMAIL#"


@dataclass(frozen=True, slots=True)
class TellVendors(Telling):
    """What vendors are told of the parcels that they were asked to send."""

    def due(self, order: Order, events: Sequence[Item], now: datetime) -> Iterable[Due]:
        """A message for each request, reduction and withdrawal."""
        for event in events:
            for kind in VENDOR_KINDS.values():
                if event["type"] not in kind.causes:
                    continue
                if event["type"] == "PurchaseDeclined" and not event["data"].get("late"):
                    continue
                reduced = kind.name == "purchase_reduced"
                about = str(event["n"] if reduced else event["data"]["shipment"])
                yield Due(kind.name, about, event["n"], event["at"], event["data"])

    def claims(self, order_id: str) -> list[Item]:
        """The messages to vendors."""
        return list(self.orders.parts(order_id, PREFIX))

    def why_not(self, order: Order, due: Due) -> str:
        """No address, none that may be written to, a request that is withdrawn, or a vendor who never got it."""
        address = self._address(due)
        if not address:
            return "no address"
        if suppressed := self.preferences.suppressed(address):
            return f"address {suppressed}"
        if due.kind == "purchase_requested":
            return "" if is_open(self._parcel(order, due)) else "not wanted any more"
        key = sort_key_of_tag(f"purchase_requested-{due.data['shipment']}-0")
        asked = self.orders.table.get(order_key(order.order_id), key)
        return "the request was not sent" if asked is None or asked["status"] == "suppressed" else ""

    def mail(self, order: Order, due: Due, copy: int) -> Mail:
        """The message in words for a vendor."""
        parcel = self._parcel(order, due)
        skus = sorted({unit.sku for unit in parcel.units} | due.data.get("units", {}).keys())
        titles = {sku: product.title for sku, product in self.inventory.products(skus).items()}
        until = parcel.purchase.deadline if parcel.purchase else ""
        told = render_purchase(due, order, self.merchant, titles, parcel, until)
        return Mail(self._address(due), told.subject, told.text, told.html, tags(order, due, copy))

    def resendable(self, order: Order, now: datetime) -> list[Due]:
        """What the order's vendors were told. Raises ``Conflict`` where no mail is set up."""
        if self.notifier is None:
            raise errors.Conflict("No mail is set up: MailFrom is empty.")
        return list(self.due(order, self.orders.parts(order.order_id, "EVENT#"), now))

    def _parcel(self, order: Order, due: Due) -> Shipment:
        return DynamoShipments(self.orders.table).get(f"{order.order_id}.{due.data['shipment']}")

    def _address(self, due: Due) -> str:
        found = facilities(self.inventory, [due.data["facility"]]).get(due.data["facility"])
        return found.email if found else ""
