"""Pick-up in store: parcels that wait at a counter, the code that their customer shows, and handing them over.

The code follows from the order and a key, so it is stored nowhere. Collecting and the end of an order that nobody
collects are changes of the same order under its version: whichever is first, the other finds nothing to do.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from oms.fulfillment.dispatch import departure
from oms.fulfillment.pausing import ALIVE
from oms.fulfillment.refusing import refusal
from oms.fulfillment.shipments import (
    LEFT,
    DynamoShipments,
    Shipment,
    ShipmentStatus,
    change_with_shipments,
    parse_shipment_id,
    shipment_from_item,
)
from oms.inventory.store import DynamoInventory
from oms.orders.model import Event, Order, Status
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.paging import Page

PAGE = 25
_ALPHABET = "23456789BCDFGHJKLMNPQRSTVWXZ"
"""Nothing that reads like something else, and no words."""
_LENGTH = 8


def collection_code(order_id: str, key: str) -> str:
    """What the customer shows at the counter, such as ``7KQ2-M9XB``: the same for all parcels of the order."""
    number = int.from_bytes(hmac.new(key.encode(), f"collect\x1f{order_id}".encode(), hashlib.sha256).digest(), "big")
    letters = ""
    for _ in range(_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[index]
    return f"{letters[:4]}-{letters[4:]}"


def code_opens(code: str, order_id: str, keys: Sequence[str]) -> bool:
    """Whether a code is the order's, by any of the keys, however it was typed."""
    typed = "".join(letter for letter in code.upper() if letter.isalnum()).encode()
    return any(hmac.compare_digest(collection_code(order_id, key).replace("-", "").encode(), typed) for key in keys)


@dataclass(frozen=True, slots=True)
class Proof:
    """Why somebody may have a parcel: the code, or the ``identity`` paper on which staff read the customer's name."""

    code: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class PickUps:
    """The counter of a store."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    def waiting(self, facility: str, cursor: str) -> dict[str, Any]:
        """A page of the parcels that wait to be collected, the longest first. Raises ``InvalidRequest``."""
        page = Page.of(cursor, PAGE)
        found = self.orders.table.query_index(
            "work",
            "work_queue = :queue AND work_rank > :after",
            {":queue": f"{facility}#pickup", ":after": page.after or " "},
            limit=PAGE + 1,
        )
        keys, following = page.cut([(item["work_rank"], (item["pk"], item["sk"])) for item in found])
        items = {(item["pk"], item["sk"]): item for item in self.orders.table.batch_get(keys)}
        parcels = [shipment_from_item(items[key]) for key in keys if key in items]
        orders = {order.order_id: order for order in self.orders.read_all([one.order_id for one in parcels])}
        return {
            "facility": facility,
            "pickups": [
                _view(parcel, orders[parcel.order_id])
                for parcel in parcels
                if parcel.waits_for_customer and parcel.order_id in orders
            ],
            "next_cursor": following,
        }

    def collect(self, shipment_id: str, proof: Proof, keys: Sequence[str], actor: str) -> dict[str, Any]:
        """Hand a parcel over: it leaves the books and is delivered at once. Again is harmless.

        Raises ``NotFound``, and ``Conflict``: wrong_code, not_waiting (its order has ended, or it is not packed yet),
        order_held, or unpaid, after which a hold is on the order.
        """
        order_id, _ = parse_shipment_id(shipment_id)
        if proof.code and not code_opens(proof.code, order_id, keys):
            telemetry.count("WrongCollectionCodes")
            raise refusal("wrong_code", "This code does not belong to this parcel.")
        shipments, now = DynamoShipments(self.orders.table), self.clock()

        def hand_over(order: Order) -> Change | None:
            parcels = shipments.of(order_id)
            seen = next((one for one in parcels if one.shipment_id == shipment_id), None)
            seen = seen or shipments.get(shipment_id)
            if seen.ready_at and seen.status in LEFT:
                return None
            if order.status not in ALIVE or not seen.waits_for_customer:
                raise refusal("not_waiting", f"This parcel is {seen.status.value} and does not wait to be collected.")
            if order.holds:
                raise refusal("order_held", "The order is held.", holds=sorted(order.holds))
            gone = seen.moved_to(ShipmentStatus.SHIPPED).moved_to(ShipmentStatus.DELIVERED)
            gone = replace(gone, task=None, shipped_at=to_text(now), delivered_at=to_text(now))
            others = [one for one in parcels if one.number != seen.number]
            if not any(one.waits_for_customer for one in others):
                order = replace(order, collect_by="", collect_remind_at="")
            verified = "code" if proof.code else proof.identity
            event = Event("ShipmentCollected", actor, "collected", {"verified": verified})
            change = departure(self.orders, self.inventory, order, seen, gone, event, now)
            if change.order.status is Status.COMPLETED and not any(
                one.status is ShipmentStatus.SHIPPED for one in others
            ):
                change = replace(change, order=replace(change.order, delivered_at=to_text(now)))
            return change

        order = change_with_shipments(self.orders, order_id, hand_over, now)
        parcel = shipments.get(shipment_id)
        if parcel.status not in LEFT:
            raise refusal("unpaid", "Money does not cover this parcel.", holds=sorted(order.holds))
        telemetry.count("ParcelsCollected")
        telemetry.logger.info("parcel_collected", shipment_id=shipment_id)
        return _view(parcel, order)


def _view(parcel: Shipment, order: Order) -> dict[str, Any]:
    return {
        "shipment_id": parcel.shipment_id,
        "order_id": order.order_id,
        "status": parcel.status.value,
        "facility": parcel.facility,
        "name": order.customer.get("name", ""),
        "units": [{"sku": sku, "quantity": units} for sku, units in parcel.required.items()],
        "tote": parcel.tote or None,
        "ready_at": parcel.ready_at,
        "collect_by": order.collect_by or None,
        "collected_at": parcel.delivered_at or None,
    }
