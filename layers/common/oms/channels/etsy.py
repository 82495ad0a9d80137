"""Etsy (Open API v3): orders are receipts, stock is a listing's whole inventory, callbacks are thin."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from oms.channels import standard_webhooks
from oms.channels.amounts import minor_from_fraction
from oms.channels.http import HttpChannel
from oms.channels.port import (
    Callback,
    Capabilities,
    ChannelRefused,
    ChannelThrottled,
    ChannelUnavailable,
    ExternalAddress,
    ExternalLine,
    ExternalOrder,
    Limits,
    ListingRef,
    Notice,
    Quantity,
    Reason,
    RowResult,
    ShippedParcel,
    SignatureInvalid,
    promised_day,
)
from oms.channels.reading import bare, read_order, read_orders

MAX_QUANTITY = 999
"""What Etsy lets one listing show, all its variants together."""
POLL_OVERLAP = timedelta(minutes=10)
_BATCH_READ = 100
_PAGE = 100
_FIRST_TIMESTAMP = 946_684_800
_PAUSE_SECONDS = 1.0

_KINDS = {
    "order.paid": "order.created",
    "order.canceled": "order.cancelled",
    "order.shipped": "order.shipped",
}
_RECEIPT_PATH = re.compile(r"/v3/application/shops/[0-9]{1,19}/receipts/([0-9]{1,19})")
_NUMBER = re.compile(r"[0-9]{1,19}")
_CARRIERS = {"usps": "usps", "ups": "ups", "fedex": "fedex", "dhl": "dhl", "dhlexpress": "dhl"}


@dataclass(frozen=True, slots=True)
class EtsyCredentials:
    """``api_key`` is ``keystring:shared_secret``; two webhook secrets hold while one is being replaced."""

    api_key: str = field(repr=False)
    access_token: str = field(repr=False)
    shop_id: str
    webhook_secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def parse(cls, secret: Mapping[str, Any]) -> EtsyCredentials:
        """From the secret's JSON; ``KeyError`` names what is missing."""
        return cls(
            str(secret["api_key"]),
            str(secret["access_token"]),
            str(secret["shop_id"]),
            tuple(secret["webhook_secrets"]),
        )


class EtsyChannel(HttpChannel[EtsyCredentials]):
    """Adapter for one Etsy shop."""

    name = "etsy"
    pause_seconds = _PAUSE_SECONDS
    _known = EtsyCredentials
    capabilities = Capabilities()
    # A listing costs a read and a write, so that five of them fit the ten calls that Etsy allows in a second.
    limits = Limits(
        batch_size=5,
        max_quantity=MAX_QUANTITY,
        requests_per_second=10.0,
        requests_per_day=10_000,
        calls_per_batch=1,
        calls_per_row=2,
    )

    def read_callback(self, callback: Callback, now: datetime) -> Sequence[Notice]:
        """Verify by the Standard Webhooks scheme, then name the receipt.

        The payload holds a URL of the receipt. It is never fetched: only the receipt's number is taken from
        it, and the receipt is read from our own shop on the configured host.
        """
        credentials = self._credentials()
        event_id = standard_webhooks.verify(callback, credentials.webhook_secrets, now, whose="an Etsy")
        try:
            payload = json.loads(callback.body)
            kind, shop = str(payload["event_type"]), str(payload["shop_id"])
            path = urlsplit(str(payload["resource_url"])).path
        except (ValueError, KeyError, TypeError) as error:
            raise SignatureInvalid("the body is not an Etsy event") from error
        if shop != credentials.shop_id:
            raise SignatureInvalid("the event is another shop's")
        if kind not in _KINDS:
            return []
        receipt = _RECEIPT_PATH.fullmatch(path)
        if receipt is None:
            raise SignatureInvalid("the event does not name a receipt")
        return [Notice(_KINDS[kind], receipt.group(1), event_id)]

    def fetch_order(self, external_id: str) -> ExternalOrder | None:
        """The receipt as an order."""
        receipt = self._receipt(external_id)
        return None if receipt is None else read_order(self.name, _order, receipt)

    def orders_since(self, since: datetime) -> Iterator[ExternalOrder]:
        """Receipts changed since then, less an overlap, by time of change.

        Pages continue from the last time seen rather than by offset, because a receipt that changes meanwhile
        moves to the end and would shift another across a page border unseen. Offsets serve within one second.
        """
        moment = max(int((since - POLL_OVERLAP).timestamp()), _FIRST_TIMESTAMP)
        offset = 0
        seen: set[tuple[int, int]] = set()
        while True:
            page = self._receipts(moment, offset)
            versions = {(each["receipt_id"], each["updated_timestamp"]): each for each in page}
            fresh = [each for version, each in versions.items() if version not in seen]
            seen.update(versions)
            yield from read_orders(self.name, _order, "receipt_id", fresh)
            if len(page) < _PAGE:
                return
            last = page[-1]["updated_timestamp"]
            moment, offset = (last, 0) if last > moment else (moment, offset + _PAGE)

    def read_quantities(self, listings: Sequence[ListingRef]) -> Mapping[str, int]:
        """What buyers can have now: a listing that is not active shows nothing."""
        ids = list(dict.fromkeys(each.listing_id for each in listings if _NUMBER.fullmatch(each.listing_id)))
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), _BATCH_READ):
            found.update(self._listings(ids[start : start + _BATCH_READ]))
        shown: dict[str, int] = {}
        for each in listings:
            listing = found.get(each.listing_id)
            quantity = None if listing is None else _Stock(listing.get("inventory") or {}).quantity_of(each.sku)
            if listing is not None and quantity is not None:
                shown[each.sku] = quantity if listing.get("state") == "active" else 0
        return shown

    def push_quantities(self, rows: Sequence[Quantity]) -> Sequence[RowResult]:
        """Replace each listing's inventory, read just before it is written.

        There is no write by SKU: everything else of the listing is sent back as it was read, so the read is
        never older than one call. Rows of one listing share a write. When Etsy stops answering midway the
        rows already done keep their result and the rest come back retryable; it raises only if none is done.
        """
        if len(rows) > self.limits.batch_size:
            raise ValueError(f"at most {self.limits.batch_size} rows")
        groups: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(row.listing.listing_id, []).append(index)
        results: dict[int, RowResult] = {}
        failures: list[ChannelUnavailable] = []
        for listing_id, indexes in groups.items():
            group = [rows[index] for index in indexes]
            if _stops(failures):
                answers = [_retry(row, str(failures[-1])) for row in group]
            else:
                try:
                    answers = self._push_listing(listing_id, group)
                except ChannelUnavailable as error:
                    failures.append(error)
                    answers = [_retry(row, str(error)) for row in group]
                except ChannelRefused as error:
                    answers = [RowResult(row.listing.sku, False, 0, str(error)) for row in group]
            results.update(zip(indexes, answers, strict=True))
        if failures and all(result.retryable for result in results.values()):
            raise failures[-1]
        return [results[index] for index in range(len(rows))]

    def confirm_shipment(self, external_id: str, parcel: ShippedParcel) -> None:
        """Add the parcel to the receipt unless it is there: Etsy writes to the buyer on every success."""
        receipt = self._receipt(external_id)
        if receipt is None:
            raise ChannelRefused(f"etsy knows no receipt {external_id}")
        if _is_told(receipt, parcel.tracking_number):
            return
        tracking = (
            {"tracking_code": parcel.tracking_number, "carrier_name": _carrier(parcel.carrier)}
            if parcel.tracking_number
            else {}
        )
        self._api.send("POST", f"{self._shop()}/receipts/{external_id}/tracking", payload=tracking)

    def cancel_order(self, external_id: str, reason: Reason) -> None:
        """Etsy's API has no way to cancel: it is done in the shop manager, and ends here too."""
        raise ChannelRefused("etsy has no way to cancel an order")

    def refund_up_to(self, external_id: str, total: int, reason: Reason) -> None:
        """Etsy's API has no way to give money back."""
        raise ChannelRefused("etsy has no way to refund an order")

    def _headers(self) -> Mapping[str, str]:
        credentials = self._credentials()
        return {"x-api-key": credentials.api_key, "authorization": f"Bearer {credentials.access_token}"}

    def _shop(self) -> str:
        return f"/v3/application/shops/{self._credentials().shop_id}"

    def _receipt(self, external_id: str) -> dict[str, Any] | None:
        if not _NUMBER.fullmatch(external_id):
            return None
        response = self._api.send("GET", f"{self._shop()}/receipts/{external_id}", also=(404,))
        return None if response.status == 404 else self._api.document(response)

    def _receipts(self, moment: int, offset: int) -> list[dict[str, Any]]:
        query: dict[str, str | int] = {
            "min_last_modified": moment,
            "sort_on": "updated",
            "sort_order": "asc",
            "limit": _PAGE,
            "offset": offset,
        }
        answer = self._api.document(self._api.send("GET", f"{self._shop()}/receipts", query=query))
        return list(answer.get("results", ()))

    def _listings(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Listings by id. One unknown id fails a whole batch, so such a batch is halved until it is found."""
        path = "/v3/application/listings/batch/inventory"
        response = self._api.send("GET", path, query={"listing_ids": ",".join(ids)}, also=(404,))
        if response.status != 404:
            return {str(each["listing_id"]): each for each in self._api.document(response).get("results", ())}
        if len(ids) == 1:
            return {}
        middle = len(ids) // 2
        return {**self._listings(ids[:middle]), **self._listings(ids[middle:])}

    def _push_listing(self, listing_id: str, rows: Sequence[Quantity]) -> list[RowResult]:
        path = f"/v3/application/listings/{listing_id}/inventory"
        if not _NUMBER.fullmatch(listing_id):
            raise ChannelRefused(f"{listing_id!r} is no Etsy listing id")
        response = self._api.send("GET", path, query={"includes": "Listing"})
        inventory = self._api.document(response)
        state = str((inventory.get("listing") or {}).get("state", "active"))
        stock = _Stock(inventory)
        before = stock.body()
        if state != "active":
            # Etsy cannot hold a listing at zero, so a listing that we took off sale keeps the numbers of its
            # last day. Only what this push says is known: nothing else may come back on sale with it.
            stock.clear()
        results = stock.apply(rows)
        accepted = any(result.accepted for result in results)
        if not accepted:
            return results
        if stock.total() == 0:
            if state == "active":
                self._set_state(listing_id, "inactive")
            return results
        if state not in ("active", "inactive", "sold_out"):
            return [RowResult(row.listing.sku, False, 0, f"the listing is {state}") for row in rows]
        if stock.body() != before:
            written = self._api.document(self._api.send("PUT", path, payload=stock.body()))
            results = [_confirmed(result, _Stock(written)) for result in results]
        if state != "active":
            self._set_state(listing_id, "active")
        return results

    def _set_state(self, listing_id: str, state: str) -> None:
        self._api.send("PATCH", f"{self._shop()}/listings/{listing_id}", form={"state": state})


class _Stock:
    """A listing's inventory as it was read, made into the body that replaces it.

    Products that agree in the properties of ``quantity_on_property`` share one number: their *pool*. With
    that list empty the whole listing is one pool. Our stock is per SKU, so a pool of several is taken apart.
    """

    def __init__(self, inventory: Mapping[str, Any]) -> None:
        self._products = [each for each in inventory.get("products", ()) if not each.get("is_deleted")]
        self._on = {
            name: list(inventory.get(name) or ())
            for name in (
                "price_on_property",
                "quantity_on_property",
                "sku_on_property",
                "readiness_state_on_property",
            )
        }
        self._pools: dict[tuple[Any, ...], int] = {}
        for product in self._products:
            offerings = [each for each in product["offerings"] if not each.get("is_deleted")]
            self._pools[self._pool(product)] = sum(int(each["quantity"]) for each in offerings)

    def total(self) -> int:
        """What the listing shows in all."""
        return sum(self._pools.values())

    def quantity_of(self, sku: str) -> int | None:
        """What the listing shows of a SKU; None when it does not hold it."""
        pools = self._pools_of(sku)
        return sum(self._pools[pool] for pool in pools) if pools else None

    def clear(self) -> None:
        """Set everything to zero."""
        self._pools = dict.fromkeys(self._pools, 0)

    def apply(self, rows: Sequence[Quantity]) -> list[RowResult]:
        """Set the rows' quantities and say, in the rows' order, what became of each."""
        if any(len(skus) > 1 for skus in self._skus().values()):
            self._take_apart()
        # Decreases come first, so that an increase finds the room that they leave under the ceiling.
        growth = [row.quantity - (self.quantity_of(row.listing.sku) or 0) for row in rows]
        results: dict[int, RowResult] = {}
        for index in sorted(range(len(rows)), key=growth.__getitem__):
            results[index] = self._apply(rows[index])
        return [results[index] for index in range(len(rows))]

    def body(self) -> dict[str, Any]:
        """The request that replaces the inventory: ids, deletion marks and scale names are refused there."""
        return {"products": [self._product(each) for each in self._products], **self._on}

    def _apply(self, row: Quantity) -> RowResult:
        sku = row.listing.sku
        pools = self._pools_of(sku)
        if not pools:
            return RowResult(sku, False, 0, "the listing has no such SKU")
        if len(pools) > 1 or len(self._skus()[pools[0]]) > 1:
            return RowResult(sku, False, 0, "the listing does not tell this SKU's quantity from another")
        room = MAX_QUANTITY - (self.total() - self._pools[pools[0]])
        granted = max(0, min(row.quantity, room))
        self._pools[pools[0]] = granted
        clamped = row.quantity > granted
        return RowResult(sku, True, granted, f"a listing shows {MAX_QUANTITY} at most" if clamped else "")

    def _skus(self) -> dict[tuple[Any, ...], set[str]]:
        skus: dict[tuple[Any, ...], set[str]] = {}
        for product in self._products:
            skus.setdefault(self._pool(product), set()).add(product.get("sku") or "")
        return skus

    def _pools_of(self, sku: str) -> list[tuple[Any, ...]]:
        return [pool for pool, skus in self._skus().items() if sku in skus]

    def _take_apart(self) -> None:
        shared = {id(each): self._pools[self._pool(each)] for each in self._products}
        every = {value["property_id"] for each in self._products for value in each.get("property_values", ())}
        self._on["quantity_on_property"] = self._on["sku_on_property"] or sorted(every)
        self._pools = {self._pool(each): shared[id(each)] for each in self._products}

    def _pool(self, product: Mapping[str, Any]) -> tuple[Any, ...]:
        on = self._on["quantity_on_property"]
        values = [value for value in product.get("property_values", ()) if value["property_id"] in on]
        return tuple(sorted((value["property_id"], tuple(value.get("value_ids", ()))) for value in values))

    def _product(self, product: Mapping[str, Any]) -> dict[str, Any]:
        live = [each for each in product["offerings"] if not each.get("is_deleted")]
        quantity = self._pools[self._pool(product)]
        # A product has one offering in practice; were there more, the first carries the number.
        quantities = [quantity, *[0] * (len(live) - 1)]
        return {
            "sku": product.get("sku") or "",
            "property_values": [
                {
                    key: value[key]
                    for key in ("property_id", "property_name", "scale_id", "value_ids", "values")
                    if key in value
                }
                for value in product.get("property_values", ())
            ],
            "offerings": [
                {
                    "price": offering["price"]["amount"] / offering["price"]["divisor"],
                    "quantity": each,
                    "is_enabled": offering["is_enabled"],
                    "readiness_state_id": offering.get("readiness_state_id"),
                }
                for offering, each in zip(live, quantities, strict=True)
            ],
        }


def _order(receipt: Mapping[str, Any]) -> ExternalOrder:
    currency = str(receipt["grandtotal"]["currency_code"])

    def money(name: str) -> int:
        return _minor(receipt.get(name), currency)

    status = receipt.get("status")
    return ExternalOrder(
        external_id=str(receipt["receipt_id"]),
        buyer_id=str(receipt.get("buyer_user_id") or ""),
        buyer_name=receipt.get("name") or "",
        buyer_email=receipt.get("buyer_email") or None,
        address=ExternalAddress(
            name=receipt.get("name") or "",
            line1=receipt.get("first_line") or "",
            line2=receipt.get("second_line") or "",
            city=receipt.get("city") or "",
            region=receipt.get("state") or "",
            postal_code=receipt.get("zip") or "",
            country=receipt.get("country_iso") or "",
        ),
        lines=tuple(
            ExternalLine(
                external_line_id=str(each["transaction_id"]),
                sku=each.get("sku") or "",
                title=each.get("title") or "",
                quantity=int(each["quantity"]),
                unit_price=_minor(each.get("price"), currency),
            )
            for each in receipt.get("transactions", ())
        ),
        currency=currency,
        items_total=money("total_price"),
        shipping_total=money("total_shipping_cost"),
        tax_total=money("total_tax_cost") + money("total_vat_cost"),
        discount_total=money("discount_amt"),
        grand_total=money("grandtotal"),
        paid=bool(receipt.get("is_paid")),
        # A refund in full before anything left is a cancellation by another name.
        cancelled=status == "canceled" or (status == "fully refunded" and not receipt.get("is_shipped")),
        placed_at=_moment(receipt, "created_timestamp", "create_timestamp"),
        updated_at=_moment(receipt, "updated_timestamp", "update_timestamp"),
        refunded_total=sum(_minor(refund.get("amount"), currency) for refund in receipt.get("refunds") or ()),
        promised_for=promised_day(
            datetime.fromtimestamp(int(each["expected_ship_date"]), UTC)
            for each in receipt.get("transactions", ())
            if each.get("expected_ship_date")
        ),
    )


def _minor(money: Mapping[str, Any] | None, currency: str) -> int:
    if not money:
        return 0
    if money["currency_code"] != currency:
        raise ChannelRefused("a receipt mixes currencies")
    return minor_from_fraction(money["amount"], money["divisor"], currency)


def _moment(receipt: Mapping[str, Any], *names: str) -> datetime:
    return datetime.fromtimestamp(next(receipt[name] for name in names if name in receipt), UTC)


def _is_told(receipt: Mapping[str, Any], tracking_number: str) -> bool:
    if not tracking_number:
        return bool(receipt.get("is_shipped"))
    told = {bare(each.get("tracking_code") or "") for each in receipt.get("shipments", ())}
    return bare(tracking_number) in told


def _carrier(name: str) -> str:
    return _CARRIERS.get(bare(name).lower(), "other")


def _stops(failures: Iterable[ChannelUnavailable]) -> bool:
    """One listing may fail by itself; a throttle, or a second failure, is Etsy's own trouble."""
    met = list(failures)
    return len(met) > 1 or any(isinstance(each, ChannelThrottled) for each in met)


def _retry(row: Quantity, detail: str) -> RowResult:
    return RowResult(row.listing.sku, False, 0, detail, retryable=True)


def _confirmed(result: RowResult, written: _Stock) -> RowResult:
    """An accepted row counts only if Etsy's answer shows its number."""
    shown = written.quantity_of(result.sku)
    if not result.accepted or shown == result.quantity:
        return result
    return RowResult(result.sku, False, shown or 0, "etsy answered with another quantity", retryable=True)
