"""Printing: from a parcel's or a label's id to the document, in as few reads as it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oms.fulfillment import documents
from oms.fulfillment.facilities import facility_address
from oms.fulfillment.floorplan import FloorPlan, floor_plan
from oms.fulfillment.shipments import DynamoShipments, Shipment
from oms.inventory.model import Product
from oms.inventory.store import DynamoInventory
from oms.orders.store import DynamoOrders


@dataclass(frozen=True, slots=True)
class Printing:
    """The use cases of the house's printers."""

    orders: DynamoOrders
    inventory: DynamoInventory

    def parcel(self, shipment_id: str) -> tuple[Shipment, dict[str, Product]]:
        """A parcel and its products. Raises ``NotFound``."""
        shipment = DynamoShipments(self.orders.table).get(shipment_id)
        return shipment, self._products(shipment)

    def plan(self, facility: str) -> FloorPlan:
        """What the facility told of itself."""
        return floor_plan(self.inventory, facility)

    def packing_slip(self, shipment_id: str) -> bytes:
        """A PDF. Raises ``NotFound``."""
        shipment, products = self.parcel(shipment_id)
        order = self.orders.require(shipment.order_id)
        return documents.packing_slip(order, shipment, products, facility_address(self.inventory, shipment.facility))

    def parcel_label(self, shipment_id: str, *, zpl: bool = False) -> bytes:
        """A PDF, or ZPL. Raises ``NotFound``."""
        shipment = DynamoShipments(self.orders.table).get(shipment_id)
        order = self.orders.require(shipment.order_id)
        sender = facility_address(self.inventory, shipment.facility)
        draw = documents.parcel_label_zpl if zpl else documents.parcel_label
        return draw(order, shipment, sender)

    def labels(self, facility: str, kind: str, codes: Sequence[str], *, zpl: bool = False) -> bytes:
        """Labels for bins or totes: a PDF, or ZPL."""
        told = [documents.Label(code, code, f"{kind} · {facility}") for code in codes]
        return documents.labels_zpl(told) if zpl else documents.labels_pdf(told)

    def _products(self, shipment: Shipment) -> dict[str, Product]:
        found: Mapping[str, Product] = self.inventory.products(shipment.required)
        return dict(found)
