"""Products and stock as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oms.inventory.backorders import Queue
from oms.inventory.barcodes import INTERNAL
from oms.inventory.model import Listing, Location, Product, lot_of
from oms.inventory.store import ChannelState
from oms.inventory.supplies import Supply


def product_view(product: Product) -> dict[str, Any]:
    """A product in the shape in which it is put."""
    return {
        "sku": product.sku,
        "title": product.title,
        "price": {"amount": product.price, "currency": product.currency},
        "barcodes": list(product.barcodes),
        "barcode_kinds": {code: product.barcode_kinds.get(code, INTERNAL) for code in product.barcodes},
        "specs": dict(product.specs),
        "weight_grams": product.weight_grams,
        "dimensions_mm": list(product.dimensions_mm) if product.dimensions_mm else None,
        "vendors": [dict(vendor) for vendor in product.vendors],
        "track": list(product.track),
        "min_life_days": product.min_life_days,
        "hs_code": product.hs_code or None,
        "origin_country": product.origin_country or None,
        "kit": [{"sku": sku, "quantity": each} for sku, each in product.kit.items()],
        "stripes": product.stripes,
        "safety_stock": product.safety_stock,
        "low_stock_at": product.low_stock_at,
        "backorder": product.backorder,
        "archived": product.archived,
        "version": product.version,
    }


def listing_view(listing: Listing) -> dict[str, Any]:
    """A channel's terms for a SKU."""
    return {
        "sku": listing.sku,
        "channel": listing.channel,
        "listing_id": listing.listing_id,
        "buffer": listing.buffer,
        "percent": listing.percent,
        "max_listed": listing.max_listed,
        "end_when": listing.end_when,
    }


def lots_view(place: Location) -> list[dict[str, Any]]:
    """Units by bin and lot, where lots are known; what expires first stands first."""
    found = [(lot_of(key), name, units) for name, lots in place.lots.items() for key, units in lots.items()]
    found.sort(key=lambda each: (each[0][1] or "~", each[0][0], each[1]))
    return [
        {"bin": name, "lot": lot or None, "expires": expires or None, "units": units}
        for (lot, expires), name, units in found
    ]


def stock_view(
    sku: str,
    available: int,
    locations: Mapping[str, Location],
    states: Mapping[str, ChannelState],
    queue: Queue,
    supplies: Sequence[Supply],
) -> dict[str, Any]:
    """Stock of a SKU. ``reserved`` is what orders hold and no parcel has been assigned yet: the units that are sound
    and on hand, less those allocated to parcels, those kept for waiting orders and those that may still be promised."""
    on_hand = sum(place.on_hand for place in locations.values())
    damaged = sum(place.damaged for place in locations.values())
    quarantined = sum(place.quarantined for place in locations.values())
    allocated = sum(place.allocated for place in locations.values())
    return {
        "sku": sku,
        "available": available,
        "reserved": on_hand - damaged - quarantined - allocated - queue.earmarked - available,
        "allocated": allocated,
        "on_hand": on_hand,
        "damaged": damaged,
        "quarantined": quarantined,
        "backordered": queue.waiting,
        "earmarked": queue.earmarked,
        "supplies": [supply.view() for supply in supplies],
        "facilities": {
            name: {
                "on_hand": place.on_hand,
                "allocated": place.allocated,
                "damaged": place.damaged,
                "quarantined": place.quarantined,
                "bins": dict(place.bins),
                "lots": lots_view(place),
            }
            for name, place in sorted(locations.items())
        },
        "channels": {
            name: {
                "published": state.published,
                "acknowledged": state.acknowledged,
                "acknowledged_at": state.acknowledged_at or None,
                "lag_ms": state.lag_ms,
                **({"failure": state.failure} if state.failure else {}),
            }
            for name, state in sorted(states.items())
        },
    }
