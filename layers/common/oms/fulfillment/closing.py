"""The end of a facility's day: a manifest for each carrier, and what should have left and did not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from oms.fulfillment.carrier import Carrier, CarrierRefused, Manifest
from oms.fulfillment.facilities import facility_key
from oms.fulfillment.shipments import DynamoShipments, Shipment, shipment_from_item
from oms.inventory.store import DynamoInventory
from oms.orders.store import DynamoOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text

MOST_ON_ONE = 500
_SHOWN_LATE = 200
_KINDS = ("pick", "pack")


@dataclass(frozen=True, slots=True)
class CloseDay:
    """Handing the day's parcels over. May be done as often as one likes: a parcel is on one manifest."""

    orders: DynamoOrders
    inventory: DynamoInventory
    clock: Clock
    carrier: Callable[[], Carrier]

    def close(self, facility: str) -> dict[str, Any]:
        """Make the manifests of everything that has a label and is on none, and name the parcels that are late.
        Raises ``CarrierUnavailable``: what was made is kept, and the next call goes on."""
        made: list[dict[str, Any]] = []
        waiting = self._queued(f"{facility}#manifest", MOST_ON_ONE)
        named = sorted(((one.label.carrier, one) for one in waiting if one.label), key=lambda each: each[0])
        for carrier, parcels in groupby(named, key=lambda each: each[0]):
            made += self._manifests(facility, carrier, [parcel for _, parcel in parcels])
        now = to_text(self.clock())
        late = [
            {"shipment_id": one.shipment_id, "status": one.status.value, "ship_by": one.ship_by}
            for kind in _KINDS
            for one in self._queued(f"{facility}#{kind}", _SHOWN_LATE)
            if one.ship_by and one.ship_by <= now
        ]
        if late:
            telemetry.count("ParcelsLate", len(late))
        return {"facility": facility, "manifests": made, "late": late}

    def manifests(self, facility: str) -> list[dict[str, Any]]:
        """The latest manifests, newest first."""
        found = self.inventory.table.query(facility_key(facility), "MANIFEST#", limit=100, newest_first=True)
        return [_manifest_view(item) for item in found]

    def _queued(self, queue: str, limit: int) -> list[Shipment]:
        found = self.orders.table.query_index("work", "work_queue = :queue", {":queue": queue}, limit=limit)
        keys = [(item["pk"], item["sk"]) for item in found]
        items = self.orders.table.batch_get(keys)
        return [
            shipment_from_item(item)
            for item in items
            if item.get("entity") == "shipment" and item.get("work_queue") == queue
        ]

    def _manifests(self, facility: str, carrier: str, parcels: Sequence[Shipment]) -> list[dict[str, Any]]:
        """The manifests that these parcels are on: one, unless an earlier call got only half its way."""
        made = []
        left = list(parcels)
        while left:
            manifest = self._ask(left)
            on_it = [one for one in left if one.label and one.label.tracking_number in manifest.tracking_numbers]
            if not on_it:
                break
            made.append(self._record(facility, carrier, manifest))
            for parcel in on_it:
                self._mark(parcel, manifest.manifest_id)
            left = [one for one in left if one not in on_it]
        return made

    def _ask(self, parcels: Sequence[Shipment]) -> Manifest:
        """A manifest of all of them; where one is on a manifest already, that of the first alone."""
        try:
            return self.carrier().manifest([one.carrier_shipment_id for one in parcels])
        except CarrierRefused:
            if len(parcels) == 1:
                raise
            return self.carrier().manifest([parcels[0].carrier_shipment_id])

    def _record(self, facility: str, carrier: str, manifest: Manifest) -> dict[str, Any]:
        now = to_text(self.clock())
        item = {
            "pk": facility_key(facility),
            "sk": f"MANIFEST#{now[:10]}#{manifest.manifest_id}",
            "entity": "manifest",
            "manifest_id": manifest.manifest_id,
            "carrier": carrier,
            "form_url": manifest.form_url,
            "parcels": len(manifest.tracking_numbers),
            "made_at": now,
        }
        self.inventory.table.transact([self.inventory.table.put("manifest", item, None)])
        telemetry.count("ManifestsMade")
        return _manifest_view(item)

    def _mark(self, parcel: Shipment, manifest_id: str) -> None:
        def on(seen: Shipment) -> Shipment | None:
            return None if seen.manifest_id else replace(seen, manifest_id=manifest_id)

        DynamoShipments(self.orders.table).change(parcel.shipment_id, on)


def _manifest_view(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("manifest_id", "carrier", "form_url", "parcels", "made_at")}
