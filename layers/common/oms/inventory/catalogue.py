"""The catalogue: products put, patched, archived and found."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from oms.inventory.barcodes import INTERNAL
from oms.inventory.finding import Search, leads
from oms.inventory.forms import ProductForm
from oms.inventory.model import Product
from oms.inventory.store import DynamoInventory
from oms.inventory.views import product_view
from oms.runtime import errors
from oms.runtime.clock import Clock
from oms.runtime.http import checked, field_problem

PAGE = 25
_LOOKED_AT = 600
"""So many entries are looked at for one page; a rare combination takes more pages, never a long wait."""
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The use cases of products."""

    inventory: DynamoInventory
    clock: Clock

    def put(self, form: ProductForm, expected: int | None = None) -> Product:
        """Create or replace a product; what the form does not say of archiving stays.

        Raises ``PreconditionFailed`` when ``expected`` is not its version, ``Conflict`` when a barcode is another's,
        and ``InvalidRequest`` for a kit whose parts cannot be parts.
        """
        return self._change(form.sku, lambda seen: product_of(form, seen), expected)

    def patch(self, sku: str, patch: Mapping[str, Any], expected: int | None = None) -> Product:
        """Apply a JSON merge patch (RFC 7396) to a product as it stands when it is written, so that patches at the same
        time do not lose one another. Raises what ``put`` does, and ``NotFound``."""
        if not isinstance(patch, dict):
            raise errors.MalformedRequest("A patch is a JSON object.")
        if patch.get("sku", sku) != sku:
            raise field_problem([("sku", f"must be {sku}; a SKU cannot be changed")])
        asked = dict(patch)
        version = asked.pop("version", expected)
        if version is not None and (not isinstance(version, int) or (expected not in (None, version))):
            raise field_problem([("version", "the version that was read, and the same as If-Match")])

        def patched(seen: Product | None) -> Product:
            if seen is None:
                raise errors.NotFound(f"There is no product {sku}.")
            return product_of(checked(ProductForm, merged(document(seen), asked)), seen)

        return self._change(sku, patched, version)

    def _change(self, sku: str, decide: Callable[[Product | None], Product], expected: int | None) -> Product:
        def decided(seen: Product | None) -> Product:
            if expected is not None and (seen.version if seen else 0) != expected:
                raise errors.PreconditionFailed(
                    f"{sku} has changed since it was read.", extra={"version": seen.version if seen else None}
                )
            return decide(seen)

        return self.inventory.change_product(sku, decided, self.clock())

    def find(self, search: Search, cursor: str | None, size: int = PAGE) -> tuple[list[Product], str | None]:
        """A page of products and the cursor of the next. A page may be short, even empty, before the last one."""
        if search.barcode:
            owner = self.inventory.sku_of_barcode(search.barcode)
            product = self.inventory.product(owner) if owner else None
            return ([product] if product and search.matches(product) else []), None
        places = search.places()
        at, after = _read_cursor(cursor, len(places)) if cursor else (0, "")
        shown: list[Product] = []
        looked_at = 0
        for number in range(at, len(places)):
            place = places[number]
            while looked_at < _LOOKED_AT:
                found = list(self.inventory.entries_at(place, after, limit=_BATCH))
                looked_at += len(found)
                known = self.inventory.products(
                    entry["sku"] for entry in found if search.may_match(entry.get("words", ""))
                )
                for entry in found:
                    after = entry["sk"]
                    product = known.get(entry["sku"])
                    if product and search.matches(product) and leads(product, place, after):
                        shown.append(product)
                        if len(shown) == size:
                            return shown, _cursor(number, after)
                if len(found) < _BATCH:
                    break
            else:
                return shown, _cursor(number, after)
            after = ""
        return shown, None


def product_of(form: ProductForm, seen: Product | None) -> Product:
    """The product that a form describes, in place of the one that was seen."""
    vendors = [vendor.model_dump(exclude_none=True) for vendor in form.vendors]
    for vendor in vendors:
        if "cost" in vendor:
            vendor.setdefault("currency", form.price.currency)
    return Product(
        sku=form.sku,
        title=form.title,
        price=form.price.amount,
        currency=form.price.currency,
        barcodes=tuple(form.barcodes),
        barcode_kinds={code: kind for code, kind in form.kinds().items() if kind != INTERNAL},
        specs=form.specs,
        weight_grams=form.weight_grams,
        dimensions_mm=(form.dimensions_mm[0], form.dimensions_mm[1], form.dimensions_mm[2])
        if form.dimensions_mm
        else None,
        vendors=tuple(vendors),
        track=tuple(form.track),
        min_life_days=form.min_life_days,
        hs_code=form.hs_code or "",
        origin_country=form.origin_country or "",
        kit={part.sku: part.quantity for part in form.kit},
        stripes=form.stripes,
        safety_stock=form.safety_stock,
        low_stock_at=form.low_stock_at,
        backorder=form.backorder,
        imported=seen.imported if seen else {},
        archived=bool(seen and seen.archived) if form.archived is None else form.archived,
    )


def document(product: Product) -> dict[str, Any]:
    """A product as the form that would put it."""
    told = product_view(product)
    del told["version"]
    return told


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396: objects are merged member by member, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _cursor(place: int, after: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([place, after]).encode()).decode()


def _read_cursor(cursor: str, places: int) -> tuple[int, str]:
    try:
        place, after = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        if not (isinstance(place, int) and 0 <= place < places and isinstance(after, str) and after):
            raise ValueError(cursor)
    except (binascii.Error, ValueError, TypeError):
        raise field_problem([("cursor", "take it from next_cursor, with the same search")]) from None
    return place, after
