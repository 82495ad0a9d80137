"""eBay (Sell APIs): stock stands at two levels, answers speak row by row, callbacks are signed by ECDSA."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from oms.channels.amounts import minor_digits, minor_from_text
from oms.channels.http import HttpChannel, error_text
from oms.channels.port import (
    Callback,
    Capabilities,
    ChannelRefused,
    ChannelUnavailable,
    ExternalAddress,
    ExternalLine,
    ExternalOrder,
    Limits,
    ListingRef,
    Notice,
    PersonDemand,
    Quantity,
    Reason,
    RowResult,
    ShippedParcel,
    SignatureInvalid,
    promised_day,
)
from oms.channels.reading import bare, read_order, read_orders
from oms.runtime.clock import Clock, from_text, to_text, utc_now
from oms.runtime.outbound import HttpResponse, Transport

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

MAX_QUANTITY = 99_999
POLL_OVERLAP = timedelta(minutes=10)
KEY_LIFETIME = timedelta(hours=1)
UNKNOWN_KEYS_REMEMBERED = 20
_BATCH = 25
_PAGE = 200
_PAUSE_SECONDS = 60.0
_INVENTORY = "/sell/inventory/v1"
_FULFILLMENT = "/sell/fulfillment/v1"

_INVALID_QUANTITY = 25004
_INVALID_ORDER = 32100
_SYSTEM_ERROR = 25001
_PAID = frozenset({"PAID", "PARTIALLY_REFUNDED", "FULLY_REFUNDED"})
_REFUND_REASONS = {
    Reason.BUYER_ASKED: "BUYER_CANCEL",
    Reason.OUT_OF_STOCK: "SELLER_CANCEL",
    Reason.RETURNED: "BUYER_RETURN",
    Reason.OTHER: "OTHER_ADJUSTMENT",
}
_CARRIERS = {"usps": "USPS", "ups": "UPS", "fedex": "FedEx", "dhl": "DHL", "dhlexpress": "DHL"}


@dataclass(frozen=True, slots=True)
class EbayCredentials:
    """``verification_token`` and ``endpoint`` are what was entered with eBay for the callback's URL."""

    access_token: str = field(repr=False)
    verification_token: str = field(repr=False)
    endpoint: str
    marketplace_id: str

    @classmethod
    def parse(cls, secret: Mapping[str, Any]) -> EbayCredentials:
        """From the secret's JSON; ``KeyError`` names what is missing."""
        return cls(
            str(secret["access_token"]),
            str(secret["verification_token"]),
            str(secret["endpoint"]),
            str(secret["marketplace_id"]),
        )


class EbayChannel(HttpChannel[EbayCredentials]):
    """Adapter for one eBay seller account. One serves a process: it keeps eBay's public keys for an hour."""

    name = "ebay"
    pause_seconds = _PAUSE_SECONDS
    _known = EbayCredentials
    capabilities = Capabilities(refunds=True)
    limits = Limits(
        batch_size=_BATCH,
        max_quantity=MAX_QUANTITY,
        requests_per_second=5.0,
        requests_per_day=5_000,
        revisions_per_day=250,
    )

    def __init__(
        self, base_url: str, credentials: Callable[[], EbayCredentials], transport: Transport, clock: Clock = utc_now
    ) -> None:
        super().__init__(base_url, credentials, transport, clock)
        self._keys: dict[str, tuple[datetime, EllipticCurvePublicKey | None]] = {}

    def challenge(self, callback: Callback) -> HttpResponse | None:
        """Prove that the endpoint is ours: the hash of the challenge, the token and the endpoint's URL."""
        code = callback.query.get("challenge_code")
        if callback.method != "GET" or not code:
            return None
        credentials = self._credentials()
        proof = hashlib.sha256(f"{code}{credentials.verification_token}{credentials.endpoint}".encode())
        body = json.dumps({"challengeResponse": proof.hexdigest()}).encode()
        return HttpResponse(200, {"content-type": "application/json"}, body)

    def read_callback(self, callback: Callback, now: datetime) -> Sequence[Notice]:
        """Verify, then name the order: once for each of its lines, so an order may be named repeatedly.

        Raises ``ChannelUnavailable`` when the public key cannot be had: eBay then delivers again.
        """
        topic, event_id, data = self._verified(callback, now)
        if topic == "MARKETPLACE_ACCOUNT_DELETION":
            # Orders name their buyer by the user name; the id is what stays when that changes.
            buyers = tuple(str(data[name]) for name in ("username", "userId") if data.get(name))
            if not buyers:
                raise SignatureInvalid("the notification does not name a user")
            return [Notice("person", "", event_id, demand=PersonDemand("erase", buyers))]
        if topic != "ORDER_CONFIRMATION":
            return []
        order = data.get("order")
        order_id = order.get("orderId") if isinstance(order, dict) else None
        if not isinstance(order_id, str) or not order_id:
            raise SignatureInvalid("the notification does not name an order")
        return [Notice("order.created", order_id, event_id)]

    def fetch_order(self, external_id: str) -> ExternalOrder | None:
        """The order by eBay's order id."""
        order = self._order(external_id)
        return None if order is None else read_order(self.name, _order, order)

    def orders_since(self, since: datetime) -> Iterator[ExternalOrder]:
        """Orders changed since then, less an overlap.

        eBay cannot sort by change and the window has no end, so orders only ever enter it while the pages are
        read: one may come twice, none is skipped. All pages are read before the first order is handed out.
        """
        start = to_text(since - POLL_OVERLAP)
        found: dict[str, dict[str, Any]] = {}
        offset = 0
        while True:
            query: dict[str, str | int] = {
                "filter": f"lastmodifieddate:[{start}..]",
                "limit": _PAGE,
                "offset": offset,
            }
            page = self._api.document(self._api.send("GET", f"{_FULFILLMENT}/order", query=query))
            told = page.get("orders") or []
            found.update((str(order["orderId"]), order) for order in told)
            offset += _PAGE
            if len(told) < _PAGE:
                break
        orders = read_orders(self.name, _order, "orderId", found.values())
        yield from sorted(orders, key=lambda order: order.updated_at)

    def read_quantities(self, listings: Sequence[ListingRef]) -> Mapping[str, int]:
        """Each SKU's ship-to-home quantity, which eBay lowers with every sale as it does the offer's."""
        skus = list(dict.fromkeys(each.sku for each in listings))
        shown: dict[str, int] = {}
        for start in range(0, len(skus), _BATCH):
            payload = {"requests": [{"sku": sku} for sku in skus[start : start + _BATCH]]}
            path = f"{_INVENTORY}/bulk_get_inventory_item"
            answer = self._api.document(self._api.send("POST", path, payload=payload))
            for row in answer.get("responses") or []:
                if row.get("statusCode") == 200:
                    availability = (row.get("inventoryItem") or {}).get("availability") or {}
                    level = availability.get("shipToLocationAvailability") or {}
                    shown[str(row["sku"])] = int(level.get("quantity") or 0)
                elif row.get("statusCode", 0) >= 500:
                    raise ChannelUnavailable(f"ebay could not read {row.get('sku')}")
        return shown

    def push_quantities(self, rows: Sequence[Quantity]) -> Sequence[RowResult]:
        """Set the SKU's and the offer's quantity in one call, then try refused rows another way."""
        if len(rows) > self.limits.batch_size:
            raise ValueError(f"at most {self.limits.batch_size} rows")
        if not rows:
            return []
        asked = [Quantity(row.listing, max(0, min(row.quantity, MAX_QUANTITY))) for row in rows]
        return [
            self._settle(row, answer) if row.listing.listing_id and answer.is_unsettled else answer.result(row)
            for row, answer in zip(asked, self._update(asked, with_offers=True), strict=True)
        ]

    def confirm_shipment(self, external_id: str, parcel: ShippedParcel) -> None:
        """Record the parcel unless it is recorded. Without lines it holds everything that has not left."""
        path = f"{_FULFILLMENT}/order/{quote(external_id, safe='')}/shipping_fulfillment"
        told = self._api.document(self._api.send("GET", path)).get("fulfillments") or []
        tracking = bare(parcel.tracking_number)
        if tracking and any(_tracking_of(each) == tracking for each in told):
            return
        lines = dict(parcel.lines) or self._unshipped(external_id, told)
        if not lines or (not tracking and any(_is_untracked(each, lines) for each in told)):
            return
        payload: dict[str, Any] = {
            "lineItems": [{"lineItemId": line, "quantity": quantity} for line, quantity in lines.items()],
            "shippedDate": to_text(parcel.shipped_at),
        }
        if tracking:
            payload["trackingNumber"] = tracking
            payload["shippingCarrierCode"] = _CARRIERS.get(bare(parcel.carrier).lower(), "Other")
        self._api.send("POST", path, payload=payload)

    def cancel_order(self, external_id: str, reason: Reason) -> None:
        """The Sell APIs have no way to cancel: it is done in the seller hub, and ends here too."""
        raise ChannelRefused("ebay has no way to cancel an order")

    def refund_up_to(self, external_id: str, total: int, reason: Reason) -> None:
        """Refunds are carried out later, so those under way count as given."""
        order = self._order(external_id)
        if order is None:
            raise ChannelRefused(f"ebay knows no order {external_id}")
        currency = str(order["pricingSummary"]["total"]["currency"])
        made = (order.get("paymentSummary") or {}).get("refunds") or []
        given = sum(_minor(each.get("amount"), currency) for each in made if each.get("refundStatus") != "FAILED")
        if given >= total:
            return
        digits = minor_digits(currency)
        value = f"{Decimal(total - given).scaleb(-digits):.{digits}f}"
        payload = {
            "reasonForRefund": _REFUND_REASONS[reason],
            "orderLevelRefundAmount": {"value": value, "currency": currency},
        }
        self._api.send("POST", f"{_FULFILLMENT}/order/{quote(external_id, safe='')}/issue_refund", payload=payload)

    def _headers(self) -> Mapping[str, str]:
        credentials = self._credentials()
        return {
            "authorization": f"Bearer {credentials.access_token}",
            "x-ebay-c-marketplace-id": credentials.marketplace_id,
        }

    def _verified(self, callback: Callback, now: datetime) -> tuple[str, str, dict[str, Any]]:
        """Topic, notification id and data of a notification whose signature holds."""
        proof = _read_proof(callback.headers.get("x-ebay-signature", ""))
        key = self._public_key(proof.key_id, now)
        if key is None:
            raise SignatureInvalid("eBay knows no such key")
        _verify(key, proof, callback.body)
        try:
            envelope = json.loads(callback.body)
            notification = envelope["notification"]
            data = notification["data"]
            return envelope["metadata"]["topic"], str(notification["notificationId"]), dict(data)
        except (ValueError, KeyError, TypeError) as error:
            raise SignatureInvalid("the body is not an eBay notification") from error

    def _public_key(self, key_id: str, now: datetime) -> EllipticCurvePublicKey | None:
        """eBay's key, from eBay's own host, kept for an hour.

        Anyone can name a key that does not exist; after a number of them in an hour no more are looked up, so
        that forged callbacks cannot use up our calls.
        """
        self._keys = {name: kept for name, kept in self._keys.items() if now - kept[0] < KEY_LIFETIME}
        if key_id in self._keys:
            return self._keys[key_id][1]
        if sum(key is None for _, key in self._keys.values()) >= UNKNOWN_KEYS_REMEMBERED:
            raise SignatureInvalid("too many unknown keys")
        path = f"/commerce/notification/v1/public_key/{key_id}"
        response = self._api.send("GET", path, also=(400, 404))
        key = _load_key(self._api.document(response)) if response.status == 200 else None
        self._keys[key_id] = (now, key)
        return key

    def _order(self, external_id: str) -> dict[str, Any] | None:
        path = f"{_FULFILLMENT}/order/{quote(external_id, safe='')}"
        response = self._api.send("GET", path, also=(400, 404))
        if response.status == 200:
            return self._api.document(response)
        if response.status == 400 and _INVALID_ORDER not in _error_ids(self._api.document(response)):
            raise ChannelRefused(f"ebay refused to show order {external_id}")
        return None

    def _unshipped(self, external_id: str, told: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        order = self._order(external_id)
        if order is None:
            raise ChannelRefused(f"ebay knows no order {external_id}")
        left = {str(line["lineItemId"]): int(line["quantity"]) for line in order["lineItems"]}
        for fulfillment in told:
            for line in fulfillment.get("lineItems") or []:
                line_id = str(line["lineItemId"])
                left[line_id] = left.get(line_id, 0) - int(line.get("quantity") or 0)
        return {line: quantity for line, quantity in left.items() if quantity > 0}

    def _update(self, rows: Sequence[Quantity], *, with_offers: bool) -> list[_Answer]:
        """One bulk call; row by row if eBay refuses it as a whole, as its own guides disagree on its size."""
        payload = {"requests": [_request(row, with_offers) for row in rows]}
        path = f"{_INVENTORY}/bulk_update_price_quantity"
        response = self._api.send("POST", path, payload=payload, also=(400,))
        if response.status == 400 and len(rows) > 1:
            return self._one_by_one(rows, with_offers)
        said = self._api.document(response)
        if response.status == 400:
            errors = said.get("errors") or []
            said = {"responses": [{"sku": rows[0].listing.sku, "statusCode": 400, "errors": errors}]}
        return [_Answer.of(row.listing, said.get("responses") or []) for row in rows]

    def _one_by_one(self, rows: Sequence[Quantity], with_offers: bool) -> list[_Answer]:
        answers: list[_Answer] = []
        for row in rows:
            try:
                answers += self._update([row], with_offers=with_offers)
            except ChannelUnavailable as error:
                if not answers:
                    raise
                untried = _Answer(detail=str(error), retryable=True)
                return answers + [untried] * (len(rows) - len(answers))
        return answers

    def _settle(self, row: Quantity, answer: _Answer) -> RowResult:
        """Bring a refused row to its quantity another way, where eBay has one; or report the refusal."""
        try:
            return self._another_way(row, answer)
        except ChannelRefused as error:
            return RowResult(row.listing.sku, False, 0, str(error))
        except ChannelUnavailable as error:
            return RowResult(row.listing.sku, False, 0, str(error), retryable=True)

    def _another_way(self, row: Quantity, answer: _Answer) -> RowResult:
        if answer.offer_done:
            # A SKU may not go below its offer. The offer is lower now, so the SKU can follow.
            return self._update([row], with_offers=False)[0].result(row)
        offer = f"{_INVENTORY}/offer/{quote(row.listing.listing_id, safe='')}"
        response = self._api.send("GET", offer, also=(404,))
        if response.status == 404:
            return answer.result(row)
        told = self._api.document(response)
        if told.get("status") == "PUBLISHED":
            if row.quantity > 0 or _INVALID_QUANTITY not in answer.error_ids:
                if answer.sku_done:
                    self._level_with_buyers(row, int(told.get("availableQuantity") or 0))
                return answer.result(row)
            # Without the seller's out-of-stock control a live listing cannot stand at zero: it has to end.
            self._api.send("POST", f"{offer}/withdraw")
        alone = self._update([row], with_offers=False)[0]
        if row.quantity == 0 or not alone.accepted:
            return alone.result(row)
        try:
            self._api.send("POST", f"{offer}/publish")
        except (ChannelRefused, ChannelUnavailable):
            self._level_with_buyers(row, 0)
            raise
        return self._update([row], with_offers=True)[0].result(row)

    def _level_with_buyers(self, row: Quantity, offered: int) -> None:
        """The SKU took a number that its offer did not. Only the SKU's is cheap to read, so it is put to what
        buyers see: a later look must not take this push for done."""
        if offered < row.quantity:
            self._update([Quantity(row.listing, offered)], with_offers=False)


@dataclass(frozen=True, slots=True)
class _Proof:
    """What ``X-EBAY-SIGNATURE`` holds."""

    key_id: str
    digest: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the rows of a bulk answer say of one request: they come apart for the SKU and for its offer."""

    accepted: bool = False
    sku_done: bool = False
    offer_done: bool = False
    error_ids: frozenset[int] = frozenset()
    detail: str = ""
    retryable: bool = False

    @classmethod
    def of(cls, listing: ListingRef, responses: Sequence[Mapping[str, Any]]) -> _Answer:
        rows = [row for row in responses if row.get("sku") == listing.sku]
        if not rows:
            return cls(detail="ebay's answer leaves this SKU out", retryable=True)
        bad = [row for row in rows if not 200 <= int(row.get("statusCode") or 0) < 300]
        errors = [error for row in bad for error in row.get("errors") or []]
        offers = [row for row in rows if row.get("offerId")]
        levels = [row for row in rows if not row.get("offerId")]
        return cls(
            accepted=not bad,
            sku_done=bool(levels) and not any(row in bad for row in levels),
            offer_done=bool(offers) and not any(row in bad for row in offers),
            error_ids=frozenset(int(error.get("errorId") or 0) for error in errors),
            detail=error_text(errors) or ("refused without a reason" if bad else ""),
            retryable=any(int(row.get("statusCode") or 0) >= 500 for row in bad)
            or any(error.get("errorId") == _SYSTEM_ERROR for error in errors),
        )

    @property
    def is_unsettled(self) -> bool:
        """Saying the same again would not help, or only the SKU's level took the number."""
        return not self.accepted and (not self.retryable or self.sku_done)

    def result(self, row: Quantity) -> RowResult:
        """In the port's words."""
        quantity = row.quantity if self.accepted else 0
        return RowResult(row.listing.sku, self.accepted, quantity, self.detail, self.retryable)


def _request(row: Quantity, with_offers: bool) -> dict[str, Any]:
    """Both levels, since buyers see the smaller of the two."""
    request: dict[str, Any] = {
        "sku": row.listing.sku,
        "shipToLocationAvailability": {"quantity": row.quantity},
    }
    if with_offers and row.listing.listing_id:
        request["offers"] = [{"offerId": row.listing.listing_id, "availableQuantity": row.quantity}]
    return request


def _read_proof(header: str) -> _Proof:
    try:
        claimed = json.loads(base64.b64decode(header, validate=True))
        algorithm, key_id, digest = claimed["alg"], claimed["kid"], claimed["digest"]
        signature = base64.b64decode(claimed["signature"], validate=True)
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SignatureInvalid("the signature header is missing or malformed") from error
    if str(algorithm).lower() != "ecdsa":
        raise SignatureInvalid("the signature is of another kind")
    # The key's id becomes part of a URL on eBay's host, so nothing but an id may pass.
    if not isinstance(key_id, str) or not re.fullmatch(r"[0-9A-Za-z-]{1,64}", key_id):
        raise SignatureInvalid("the key's id is malformed")
    return _Proof(key_id, str(digest).upper().replace("-", ""), signature)


def _load_key(answer: Mapping[str, Any]) -> EllipticCurvePublicKey | None:
    """The key of eBay's answer, whose PEM stands on one line; None when it is not a P-256 key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    text = re.sub(r"-----[A-Z ]+-----|\s", "", str(answer.get("key") or ""))
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    return None


def _verify(key: EllipticCurvePublicKey, proof: _Proof, body: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    # eBay signs with SHA-1; a forgery would need a second preimage, which SHA-1 still resists.
    digests: dict[str, hashes.HashAlgorithm] = {"SHA1": hashes.SHA1(), "SHA256": hashes.SHA256()}  # noqa: S303
    if proof.digest not in digests:
        raise SignatureInvalid("the signature's digest is not one we accept")
    try:
        key.verify(proof.signature, body, ec.ECDSA(digests[proof.digest]))
    except InvalidSignature as error:
        raise SignatureInvalid("the signature does not match the body") from error


def _order(order: Mapping[str, Any]) -> ExternalOrder:
    prices = order["pricingSummary"]
    currency = str(prices["total"]["currency"])

    def money(amount: Mapping[str, Any] | None) -> int:
        return _minor(amount, currency)

    ship_to, country = _recipient(order)
    where = ship_to.get("contactAddress") or {}
    buyer = order.get("buyer") or {}
    payment = order.get("orderPaymentStatus")
    untouched = order.get("orderFulfillmentStatus") == "NOT_STARTED"
    return ExternalOrder(
        external_id=str(order["orderId"]),
        buyer_id=str(buyer.get("username") or ""),
        buyer_name=ship_to.get("fullName") or "",
        buyer_email=ship_to.get("email") or (buyer.get("buyerRegistrationAddress") or {}).get("email") or None,
        address=ExternalAddress(
            name=ship_to.get("fullName") or "",
            line1=where.get("addressLine1") or "",
            line2=where.get("addressLine2") or "",
            city=where.get("city") or "",
            region=where.get("stateOrProvince") or "",
            postal_code=where.get("postalCode") or "",
            country=country,
        ),
        lines=tuple(
            ExternalLine(
                external_line_id=str(line["lineItemId"]),
                sku=line.get("sku") or "",
                title=line.get("title") or "",
                quantity=int(line["quantity"]),
                unit_price=money(line.get("lineItemCost")) // max(1, int(line["quantity"])),
            )
            for line in order["lineItems"]
        ),
        currency=currency,
        items_total=money(prices.get("priceSubtotal")),
        shipping_total=money(prices.get("deliveryCost")),
        tax_total=money(prices.get("tax")),
        # eBay writes reductions as negative amounts; an adjustment may go either way.
        discount_total=abs(money(prices.get("priceDiscount")))
        + abs(money(prices.get("deliveryDiscount")))
        - money(prices.get("adjustment")),
        grand_total=money(prices["total"]),
        paid=payment in _PAID,
        # A refund in full before anything left is a cancellation by another name.
        cancelled=(order.get("cancelStatus") or {}).get("cancelState") == "CANCELED"
        or (payment == "FULLY_REFUNDED" and untouched),
        placed_at=from_text(order["creationDate"]),
        updated_at=from_text(order["lastModifiedDate"]),
        promised_for=promised_day(
            from_text(each["maxEstimatedDeliveryDate"])
            for each in (line.get("lineItemFulfillmentInstructions") or {} for line in order["lineItems"])
            if each.get("maxEstimatedDeliveryDate")
        ),
        refunded_total=sum(
            money(refund.get("amount"))
            for refund in (order.get("paymentSummary") or {}).get("refunds") or []
            if refund.get("refundStatus") == "REFUNDED"
        ),
        # A seller abroad is charged in a currency of their own, which these books do not hold.
        fees=money(fee) if (fee := order.get("totalMarketplaceFee") or {}).get("currency") == currency else 0,
    )


def _recipient(order: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Whom to ship to, and the country; an order to be collected has only the buyer's country."""
    for instruction in order.get("fulfillmentStartInstructions") or []:
        ship_to = (instruction.get("shippingStep") or {}).get("shipTo")
        if ship_to:
            return ship_to, str((ship_to.get("contactAddress") or {}).get("countryCode") or "")
    tax_address = (order.get("buyer") or {}).get("taxAddress") or {}
    return {}, str(tax_address.get("countryCode") or "")


def _minor(amount: Mapping[str, Any] | None, currency: str) -> int:
    if not amount:
        return 0
    if amount.get("currency") != currency:
        raise ChannelRefused("an order mixes currencies")
    return minor_from_text(str(amount["value"]), currency)


def _error_ids(answer: Mapping[str, Any]) -> set[int]:
    return {int(error.get("errorId") or 0) for error in answer.get("errors") or []}


def _tracking_of(fulfillment: Mapping[str, Any]) -> str:
    return bare(str(fulfillment.get("shipmentTrackingNumber") or ""))


def _is_untracked(fulfillment: Mapping[str, Any], lines: Mapping[str, int]) -> bool:
    told = {str(each["lineItemId"]): each.get("quantity") for each in fulfillment.get("lineItems") or []}
    return not _tracking_of(fulfillment) and told == dict(lines)
