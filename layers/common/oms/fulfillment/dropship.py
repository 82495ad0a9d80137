"""Vendors who send for us: a parcel that is planned at one becomes a request to buy, and not work on a floor of ours.

The request stands on its parcel with a deadline. Confirmed, it comes with the vendor's tracking, and the workflow goes
on to let the parcel leave. Declined, or not answered in time, its units are planned elsewhere, and that vendor is not
asked for this order again. What is cancelled of a request becomes an event of its own, from which the vendor is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from oms.fulfillment.facilities import VENDOR, facilities
from oms.fulfillment.offering import OfferTasks
from oms.fulfillment.pausing import ALIVE, RunSuperseded, begun_anew, require_released, require_run
from oms.fulfillment.refusing import refusal
from oms.fulfillment.shipments import (
    DynamoShipments,
    Label,
    Purchase,
    Shipment,
    ShipmentStatus,
    change_with_shipments,
    freed_places,
    parse_shipment_id,
    shipment_from_item,
)
from oms.inventory.model import by_lot
from oms.inventory.store import DynamoInventory
from oms.orders.model import Event, Order
from oms.orders.store import Change, DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Write
from oms.runtime.paging import Page

ANSWER_WITHIN = timedelta(hours=24)
"""How long a vendor may take; looked at whenever the workflow's wait is renewed."""
KIND = "vendor"
PAGE = 25


@dataclass(frozen=True, slots=True)
class DropShip:
    """Asking vendors, and what they answer."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock

    @property
    def shipments(self) -> DynamoShipments:
        return DynamoShipments(self.orders.table)

    def sends(self, shipment_id: str) -> bool:
        """Whether a vendor sends this parcel."""
        code = self.shipments.get(shipment_id).facility
        found = facilities(self.inventory, [code]).get(code)
        return found is not None and found.kind == VENDOR

    def ask(self, shipment_id: str, token: str, run: str) -> None:
        """Ask the vendor, once a parcel, and let the workflow wait for the answer under this token.

        Raises ``OrderHeld``, ``ParcelClosed``, and ``RunSuperseded``, also when the vendor has let the deadline pass.
        """
        order_id, number = parse_shipment_id(shipment_id)
        now = self.clock()

        def decide(order: Order) -> Change | None:
            seen = self.shipments.get(shipment_id)
            if order.status not in ALIVE or seen.purchase or seen.status is not ShipmentStatus.ALLOCATED:
                return None
            require_run(order, run)
            require_released(order)
            asked = Purchase("asked", to_text(now), to_text(now + ANSWER_WITHIN), seen.required)
            data = {"shipment": number, "facility": seen.facility, "until": asked.deadline}
            event = Event("PurchaseRequested", "system", "workflow", data)
            return Change(order, event, [self.shipments.put(seen, replace(seen, purchase=asked))])

        change_with_shipments(self.orders, order_id, decide, now)
        purchase = self.shipments.get(shipment_id).purchase
        if purchase and purchase.state == "asked" and purchase.deadline <= to_text(now):
            self._ended(shipment_id, "no answer in time", "system", late=True)
            raise RunSuperseded("the vendor has not answered")
        OfferTasks(self.orders, self.clock).offer(shipment_id, KIND, token, run)

    def open_at(self, facility: str, cursor: str) -> dict[str, Any]:
        """A page of what a vendor has been asked and has not answered. Raises ``InvalidRequest``."""
        page = Page.of(cursor, PAGE)
        found = self.orders.table.query_index(
            "work",
            "work_queue = :queue AND work_rank > :after",
            {":queue": f"{facility}#{KIND}", ":after": page.after or " "},
            limit=PAGE + 1,
        )
        keys, following = page.cut([(item["work_rank"], (item["pk"], item["sk"])) for item in found])
        items = {(item["pk"], item["sk"]): item for item in self.orders.table.batch_get(keys)}
        parcels = [shipment_from_item(items[key]) for key in keys if key in items]
        open_ones = [parcel for parcel in parcels if is_open(parcel)]
        return {"facility": facility, "requests": [_view(parcel) for parcel in open_ones], "next_cursor": following}

    def confirm(self, shipment_id: str, label: Label, actor: str) -> dict[str, Any]:
        """The vendor sends the parcel with this label; again with the same one is harmless.

        Raises ``NotFound``, and ``Conflict`` (not_asked) when no answer is waited for, order_held, or when the vendor's
        stock does not have the units.
        """
        order_id, number = parse_shipment_id(shipment_id)
        now = self.clock()

        def decide(order: Order) -> Change | None:
            seen = self.shipments.get(shipment_id)
            known = replace(label, currency=order.currency)
            if seen.purchase and seen.purchase.state == "confirmed" and seen.label == known:
                return None
            _require_open(order, seen)
            picked = seen.moved_to(ShipmentStatus.PICKING).moved_to(ShipmentStatus.PICKED)
            after = replace(
                picked.moved_to(ShipmentStatus.PACKED),
                picked=seen.required,
                packed=seen.required,
                label=known,
                task=replace(seen.task, state="done") if seen.task else None,
                purchase=replace(seen.purchase, state="confirmed") if seen.purchase else None,
            )
            event = Event("PurchaseConfirmed", actor, "vendor", {"shipment": number, "facility": seen.facility})
            taken, lots = self._taken(seen)
            return Change(order, event, [self.shipments.put(seen, replace(after, lots=lots)), *taken])

        change_with_shipments(self.orders, order_id, decide, now)
        telemetry.count("PurchasesConfirmed")
        return _view(self.shipments.get(shipment_id))

    def decline(self, shipment_id: str, reason: str, actor: str) -> dict[str, Any]:
        """The vendor does not send the parcel: its units are planned elsewhere. Again is harmless. Raises like
        ``confirm``."""
        self._ended(shipment_id, reason, actor)
        return _view(self.shipments.get(shipment_id))

    def note_withdrawn(self, order_id: str) -> None:
        """Note what was cancelled of the order's requests since they were made, once each. Safe to repeat at any
        time."""
        for parcel in self.shipments.of(order_id):
            if _withdrawn(parcel):
                self._note_withdrawn(parcel.shipment_id)

    def _note_withdrawn(self, shipment_id: str) -> None:
        order_id, number = parse_shipment_id(shipment_id)

        def decide(order: Order) -> Change | None:
            seen = self.shipments.get(shipment_id)
            units = _withdrawn(seen)
            if seen.purchase is None or not units:
                return None
            data = {"shipment": number, "facility": seen.facility, "units": dict(units)}
            if seen.status is ShipmentStatus.CANCELLED:
                event = Event("PurchaseCancelled", "system", "cancelled", data)
                purchase = replace(seen.purchase, state="cancelled")
            else:
                event = Event("PurchaseReduced", "system", "cancelled in part", {**data, "left": seen.required})
                purchase = replace(seen.purchase, units=seen.required)
            return Change(order, event, [self.shipments.put(seen, replace(seen, purchase=purchase))])

        change_with_shipments(self.orders, order_id, decide, self.clock())

    def _ended(self, shipment_id: str, reason: str, actor: str, *, late: bool = False) -> None:
        order_id, number = parse_shipment_id(shipment_id)
        now = self.clock()

        def decide(order: Order) -> Change | None:
            seen = self.shipments.get(shipment_id)
            if seen.purchase and seen.purchase.state == "declined":
                return None
            _require_open(order, seen)
            after = replace(
                seen.moved_to(ShipmentStatus.CANCELLED),
                task=None,
                cancelled_at=to_text(now),
                purchase=replace(seen.purchase, state="declined") if seen.purchase else None,
            )
            data = {"shipment": number, "facility": seen.facility, **({"late": True} if late else {})}
            event = Event("PurchaseDeclined", actor, reason, data)
            writes = [self.shipments.put(seen, after), *freed_places(self.inventory, [seen], now)]
            return Change(begun_anew(order), event, writes)

        change_with_shipments(self.orders, order_id, decide, now)
        telemetry.count("PurchasesDeclined")
        telemetry.logger.warning("purchase_declined", shipment_id=shipment_id)

    def _taken(self, parcel: Shipment) -> tuple[list[Write], dict[str, dict[str, int]]]:
        """The actions that take a parcel's units from the vendor's shelves, as a pick would, and their lots by SKU."""
        now, writes, lots = self.clock(), list[Write](), dict[str, dict[str, int]]()
        for sku, units in parcel.required.items():
            place = self.inventory.location(sku, parcel.facility)
            taken = place.picks(units, keeps_until=now.date().isoformat())
            writes.append(self.inventory.pick(place, taken, now))
            if named := by_lot(taken):
                lots[sku] = named
        return writes, lots


def declined_by(parcels: Sequence[Shipment]) -> frozenset[str]:
    """The vendors who have declined a parcel of an order."""
    return frozenset(one.facility for one in parcels if one.purchase and one.purchase.state == "declined")


def is_open(parcel: Shipment) -> bool:
    """Whether the vendor who was asked for this parcel may still answer."""
    asked = parcel.purchase is not None and parcel.purchase.state == "asked"
    return asked and parcel.status is ShipmentStatus.ALLOCATED


def _withdrawn(parcel: Shipment) -> Mapping[str, int]:
    """Units by SKU that the vendor was asked for, and of whose end nobody has taken note yet."""
    purchase = parcel.purchase
    if purchase is None or purchase.state in ("declined", "cancelled"):
        return {}
    if parcel.status is ShipmentStatus.CANCELLED:
        return purchase.units or parcel.required
    less = {sku: units - parcel.required.get(sku, 0) for sku, units in purchase.units.items()}
    return {sku: units for sku, units in less.items() if units > 0}


def _require_open(order: Order, parcel: Shipment) -> None:
    if order.status not in ALIVE or not is_open(parcel):
        raise refusal("not_asked", f"No vendor is asked for this parcel: it is {parcel.status.value}.")
    if order.holds:
        raise refusal("order_held", "The order is held.", holds=sorted(order.holds))


def _view(parcel: Shipment) -> dict[str, Any]:
    purchase = parcel.purchase
    return {
        "shipment_id": parcel.shipment_id,
        "facility": parcel.facility,
        "state": purchase.state if purchase else "asked",
        "status": parcel.status.value,
        "units": [{"sku": sku, "quantity": units} for sku, units in parcel.required.items()],
        "asked_at": purchase.asked_at if purchase else None,
        "deadline": purchase.deadline if purchase else None,
        "tracking_number": parcel.label.tracking_number if parcel.label else None,
    }
