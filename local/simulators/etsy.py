"""A simulated Etsy: one shop's listings, receipts, shipments and signed callbacks, by Open API v3."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from local.simulators.core import Clock, Deliver, Delivery, Request, Response
from local.simulators.marketplace import Marketplace, Purchase, Refused, TokenBucket, Tokens, only, whole

SHOP_ID = 1001
API_KEY = "etsy-sim-key:etsy-sim-shared"
ACCESS_TOKEN = "1001.etsy-sim-token"  # noqa: S105 - the simulator's own
REFRESH_TOKEN = "refresh-token-0"  # noqa: S105 - the simulator's own
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"etsy simulator webhook key 01").decode()

MAX_QUANTITY = 999
_FIRST_TIMESTAMP = 946_684_800
_SIZE = 513
"""The property by which a simulated listing's products differ."""
_READINESS = 71
_CARRIERS = {"usps", "ups", "fedex", "dhl", "other"}
_ON_PROPERTY = ("price_on_property", "quantity_on_property", "sku_on_property", "readiness_state_on_property")
_UPDATABLE = """
    image_ids title description materials should_auto_renew shipping_profile_id return_policy_id
    shop_section_id item_weight item_length item_width item_height item_weight_unit item_dimensions_unit
    is_taxable taxonomy_id tags who_made when_made featured_rank is_personalizable personalization_is_required
    personalization_char_count_max personalization_instructions state is_supply production_partner_ids type
"""
_TRACKING = """
    tracking_code carrier_name send_bcc note_to_buyer mail_class weight weight_units length width height
    dimension_units shipping_label_cost shipping_label_currency revenue_eligibility ship_from_country
    ship_to_country incoterm customs_data duty_amount duty_currency ship_date
"""
_SORTS = {"created": "created_timestamp", "updated": "updated_timestamp", "receipt_id": "receipt_id"}
_ASCENDING = {"asc", "ascending", "up"}
_DESCENDING = {"desc", "descending", "down"}


@dataclass(slots=True)
class _Listing:
    listing_id: int
    title: str
    currency: str
    created: int
    updated: int
    products: list[dict[str, Any]] = field(default_factory=list)
    on_property: dict[str, list[int]] = field(default_factory=dict)
    state: str = "active"


class EtsyCore(Marketplace):
    """One Etsy shop. Credentials and limits are keyword arguments and ``/_sim/config`` keys."""

    def __init__(
        self,
        clock: Clock,
        deliver: Deliver,
        *,
        shop_id: int = SHOP_ID,
        api_key: str = API_KEY,
        access_token: str = ACCESS_TOKEN,
        refresh_token: str = REFRESH_TOKEN,
        token_seconds: float = 0.0,
        webhook_secret: str = WEBHOOK_SECRET,
        callback_url: str = "",
        per_second: int = 10,
        per_day: int = 10_000,
    ) -> None:
        super().__init__(clock, deliver, callback_url)
        self._credentials = {
            "api_key": api_key,
            "webhook_secret": webhook_secret,
            "signature_style": "list",
        }
        self.tokens = Tokens(clock, access_token, refresh_token, seconds=token_seconds, rotates=True)
        self.shop_id = shop_id
        self._listings: dict[int, _Listing] = {}
        self._by_sku: dict[str, _Listing] = {}
        self._receipts: dict[int, dict[str, Any]] = {}
        self._mails: dict[int, int] = {}
        self._set_limits(per_second, per_day)
        listings, receipts = "/v3/application/listings", "/v3/application/shops/{shop}/receipts"
        self.route("POST", "/v3/public/oauth/token", "renewToken", self._renew)
        self.route("GET", f"{listings}/batch/inventory", "getListingsInventoryByListingIds", self._batch)
        self.route("GET", f"{listings}/{{listing}}/inventory", "getListingInventory", self._get_inventory)
        self.route("PUT", f"{listings}/{{listing}}/inventory", "updateListingInventory", self._put_inventory)
        self.route("PATCH", "/v3/application/shops/{shop}/listings/{listing}", "updateListing", self._update)
        self.route("GET", receipts, "getShopReceipts", self._get_receipts)
        self.route("GET", f"{receipts}/{{receipt}}", "getShopReceipt", self._get_receipt)
        self.route("POST", f"{receipts}/{{receipt}}/tracking", "createReceiptShipment", self._ship)

    def authorize(self, request: Request) -> None:
        """Both the application's key and the seller's token."""
        if request.path == "/v3/public/oauth/token":
            return
        if request.headers.get("x-api-key") != self._credentials["api_key"]:
            raise Refused(403, "Invalid API key")
        if not self.tokens.accepts(request.headers.get("authorization", "").removeprefix("Bearer ")):
            raise Refused(401, "invalid_token")

    def _renew(self, request: Request, _: Mapping[str, str]) -> Response:
        return self.tokens.renew(request, {"client_id": self._credentials["api_key"].split(":")[0]})

    def refusal(self, refused: Refused) -> Response:
        """Etsy's errors are one sentence."""
        return Response.of(refused.status, {"error": refused.message})

    def throttled(self, retry_after: float | None) -> Response:
        """429 with the budgets' headers and the seconds to wait."""
        headers = {} if retry_after is None else {"retry-after": str(max(1, math.ceil(retry_after)))}
        return Response.of(429, {"error": "Has exceeded quota"}, {**self._budget(), **headers})

    def limit(self) -> float:
        """Both budgets must have room; the call counts against both only then."""
        if self._day.left() < 1:
            return self._day.take()
        return self._second.take() or self._day.take()

    def finished(self, response: Response) -> Response:
        """Every answer tells what is left of the budgets."""
        return Response(response.status, {**response.headers, **self._budget()}, response.body)

    def configure(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Credentials, limits, and ``signature_style``: ``list`` as sent, or ``bare`` as documented."""
        wanted = dict(told)
        self._set_limits(
            int(wanted.pop("per_second", self._second.capacity)),
            int(wanted.pop("per_day", self._day.capacity)),
        )
        self.shop_id = int(wanted.pop("shop_id", self.shop_id))
        if "access_token" in wanted:
            refresh, seconds = wanted.pop("refresh_token", REFRESH_TOKEN), float(wanted.pop("token_seconds", 0))
            self.tokens.start(str(wanted.pop("access_token")), str(refresh), seconds)
        if unknown := sorted(set(wanted) - set(self._credentials)):
            raise ValueError(f"no such setting: {', '.join(unknown)}")
        self._credentials.update({name: str(value) for name, value in wanted.items()})
        return {"shop_id": self.shop_id}

    def put_on_sale(self, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        """One SKU, or ``{"title", "products": [{"sku", "price_minor", "quantity"}]}`` for a set of variants.

        Without quantities a listing starts inactive, since Etsy has none at zero. With ``"shared": true`` the
        products share one quantity, as a seller's may.
        """
        wanted = told.get("products") or [told]
        known = [self._by_sku[str(each["sku"])] for each in wanted if str(each["sku"]) in self._by_sku]
        if known:
            return [{"sku": str(each["sku"]), "listing_id": str(known[0].listing_id)} for each in wanted]
        now = int(self.clock())
        listing = _Listing(
            self.next_number("listing", 500_000_001),
            str(told.get("title") or wanted[0]["sku"]),
            str(told.get("currency", "USD")),
            now,
            now,
        )
        quantities = [int(each.get("quantity", 0)) for each in wanted]
        if not sum(quantities):
            listing.state, quantities = "inactive", [1, *quantities[1:]]
        several = len(wanted) > 1
        for position, (each, quantity) in enumerate(zip(wanted, quantities, strict=True)):
            listing.products.append(self._new_product(listing, each, quantity, position if several else None))
        varied = [_SIZE] if several else []
        listing.on_property = {
            "price_on_property": varied,
            "quantity_on_property": [] if told.get("shared") else varied,
            "sku_on_property": varied,
            "readiness_state_on_property": [],
        }
        self._listings[listing.listing_id] = listing
        self._by_sku.update((str(each["sku"]), listing) for each in wanted)
        return [{"sku": str(each["sku"]), "listing_id": str(listing.listing_id)} for each in wanted]

    def shown(self, sku: str) -> int | None:
        """Nothing of a listing that is not active."""
        listing = self._by_sku.get(sku)
        if listing is None:
            return None
        product = self._product_of(listing, sku)
        if product is None or listing.state != "active" or not product["offerings"][0]["is_enabled"]:
            return 0
        return int(product["offerings"][0]["quantity"])

    def sell(self, purchase: Purchase) -> str:
        """Products that share their quantity fall together; a listing without any is sold out."""
        now = int(self.clock())
        receipt_id = self.next_number("receipt", 3_000_000_001)
        transactions = []
        for sku, quantity in purchase.lines:
            listing = self._by_sku[sku]
            product = self._product_of(listing, sku)
            if product is None:
                raise ValueError(f"{sku} has left its listing")
            pool = _pool(product, listing.on_property["quantity_on_property"])
            for each in listing.products:
                if _pool(each, listing.on_property["quantity_on_property"]) == pool:
                    each["offerings"][0]["quantity"] -= quantity
            if not _total(listing.products, listing.on_property["quantity_on_property"]):
                listing.state = "sold_out"
            listing.updated = now
            transactions.append(self._transaction(receipt_id, listing, product, quantity, purchase))
        self._receipts[receipt_id] = self._new_receipt(receipt_id, transactions, purchase)
        if purchase.paid:
            self._announce("order.paid", receipt_id)
        return str(receipt_id)

    def cancel(self, order_id: str) -> bool:
        """The receipt is kept, marked cancelled; quantities stay as they are."""
        receipt = self._receipts.get(int(order_id))
        if receipt is None:
            return False
        receipt["status"] = "canceled"
        self._touch(receipt)
        self._announce("order.canceled", receipt["receipt_id"])
        return True

    def refund(self, order_id: str, amount: int, removed: Mapping[str, int]) -> bool:
        """Told by no event: only reading the receipt shows it."""
        receipt = self._receipts.get(int(order_id))
        if receipt is None:
            return False
        currency = receipt["grandtotal"]["currency_code"]
        money = {"amount": amount, "divisor": 100, "currency_code": currency}
        made = {"amount": money, "created_timestamp": int(self.clock()), "reason": "", "note_from_issuer": ""}
        receipt["refunds"].append({**made, "status": "complete"})
        receipt["status"] = "partially refunded"
        self._touch(receipt)
        return True

    def order_report(self, order_id: str) -> dict[str, Any] | None:
        """With the number of mails that the buyer was sent."""
        receipt = self._receipts.get(int(order_id))
        if receipt is None:
            return None
        return {
            "order_id": order_id,
            "cancelled": receipt["status"] == "canceled",
            "lines": [{"sku": each["sku"], "quantity": each["quantity"]} for each in receipt["transactions"]],
            "shipments": [
                {"carrier": each["carrier_name"], "tracking_number": each["tracking_code"], "lines": {}}
                for each in receipt["shipments"]
            ],
            "mails": self._mails.get(receipt["receipt_id"], 0),
        }

    # Listings.

    def _get_inventory(self, request: Request, arguments: Mapping[str, str]) -> Response:
        listing = self._listing(arguments["listing"])
        includes = request.first("includes")
        if includes not in ("", "Listing"):
            raise Refused(400, "Invalid value for includes")
        answer = _inventory(listing)
        if includes:
            answer["listing"] = self._resource(listing)
        return Response.of(200, answer)

    def _batch(self, request: Request, _: Mapping[str, str]) -> Response:
        ids = [each for value in request.query.get("listing_ids", []) for each in value.split(",")]
        if not 1 <= len(ids) <= 100:
            raise Refused(400, "Expected 1 to 100 listing_ids")
        listings = [self._listing(each) for each in ids]
        results = [{**self._resource(each), "inventory": _inventory(each)} for each in listings]
        return Response.of(200, {"count": len(results), "results": results})

    def _put_inventory(self, request: Request, arguments: Mapping[str, str]) -> Response:
        listing = self._listing(arguments["listing"])
        told = only(_json(request), {"products", *_ON_PROPERTY}, {"products"}, "Array contains invalid keys")
        on_property = {name: list(told.get(name) or []) for name in _ON_PROPERTY}
        if not isinstance(told["products"], list) or not told["products"]:
            raise Refused(400, "Expected products")
        products = [self._replacement(listing, each) for each in told["products"]]
        if {each["sku"] for each in products} & set(self.faults.reject_skus):
            raise Refused(400, "The listing cannot be updated")
        if len(products) > 1 and not all(each["property_values"] for each in products):
            raise Refused(400, "Property values can't be empty")
        if len({_pool(each, None) for each in products}) < len(products):
            raise Refused(400, "Products need distinct property values")
        _consistent(products, on_property["quantity_on_property"], "quantity")
        _consistent(products, on_property["price_on_property"], "price")
        _consistent(products, on_property["readiness_state_on_property"], "readiness_state_id")
        _consistent(products, on_property["sku_on_property"], "sku")
        total = _total(products, on_property["quantity_on_property"])
        if total > MAX_QUANTITY:
            raise Refused(400, f"/quantity : cannot be greater than {MAX_QUANTITY}")
        if not any(each["offerings"][0]["quantity"] and each["offerings"][0]["is_enabled"] for each in products):
            raise Refused(400, "One offering must have quantity greater than 0")
        for sku in [sku for sku, kept in self._by_sku.items() if kept is listing]:
            del self._by_sku[sku]
        listing.products, listing.on_property = products, on_property
        listing.updated = int(self.clock())
        self._by_sku.update((each["sku"], listing) for each in products)
        return Response.of(200, _inventory(listing))

    def _update(self, request: Request, arguments: Mapping[str, str]) -> Response:
        self._own(arguments)
        listing = self._listing(arguments["listing"])
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            raise Refused(400, "Expected a form")
        form = parse_qs(request.body.decode(), keep_blank_values=True)
        if set(form) - set(_UPDATABLE.split()):
            raise Refused(400, "Array contains invalid keys")
        state = form.get("state", [listing.state])[0]
        if state not in ("active", "inactive") and "state" in form:
            raise Refused(400, "Invalid value for state")
        if state == "active" and not _total(listing.products, listing.on_property["quantity_on_property"]):
            raise Refused(400, "A listing without quantity cannot be active")
        listing.state = state
        listing.title = form.get("title", [listing.title])[0]
        listing.updated = int(self.clock())
        return Response.of(200, self._resource(listing))

    def _replacement(self, listing: _Listing, told: Any) -> dict[str, Any]:
        only(told, {"sku", "property_values", "offerings"}, {"offerings"}, "Array contains invalid keys")
        values = told.get("property_values", [])
        for value in values:
            only(
                value,
                {"property_id", "property_name", "scale_id", "value_ids", "values"},
                {"property_id", "value_ids", "values"},
                "Array contains invalid keys",
            )
        if not isinstance(told["offerings"], list) or len(told["offerings"]) != 1:
            raise Refused(400, "Expected one offering")
        required = {"price", "quantity", "is_enabled", "readiness_state_id"}
        offering = only(told["offerings"][0], required, required, "Array contains invalid keys")
        price = offering["price"]
        if isinstance(price, bool) or not isinstance(price, int | float) or price <= 0:
            raise Refused(400, "Expected price to be a float")
        if not isinstance(offering["is_enabled"], bool):
            raise Refused(400, "Expected is_enabled to be a boolean")
        if offering["readiness_state_id"] is not None:
            whole(offering["readiness_state_id"], 1, 2**63, "Invalid readiness_state_id")
        quantity = whole(offering["quantity"], 0, MAX_QUANTITY, f"quantity : 0 to {MAX_QUANTITY}")
        same = [each for each in listing.products if _pool(each, None) == _pool({"property_values": values}, None)]
        return {
            "product_id": same[0]["product_id"] if same else self.next_number("product", 7_000_000_001),
            "sku": str(told.get("sku") or ""),
            "is_deleted": False,
            "offerings": [
                {
                    "offering_id": same[0]["offerings"][0]["offering_id"]
                    if same
                    else self.next_number("offering", 8_000_000_001),
                    "quantity": quantity,
                    "is_enabled": offering["is_enabled"],
                    "is_deleted": False,
                    "price": _money(int((Decimal(str(price)) * 100).to_integral_value()), listing.currency),
                    "readiness_state_id": offering["readiness_state_id"],
                }
            ],
            "property_values": [
                {
                    "property_id": value["property_id"],
                    "property_name": value.get("property_name"),
                    "scale_id": value.get("scale_id"),
                    "scale_name": None,
                    "value_ids": value["value_ids"],
                    "values": value["values"],
                }
                for value in values
            ],
        }

    def _new_product(
        self, listing: _Listing, told: Mapping[str, Any], quantity: int, position: int | None
    ) -> dict[str, Any]:
        values = (
            []
            if position is None
            else [
                {
                    "property_id": _SIZE,
                    "property_name": "Size",
                    "scale_id": None,
                    "value_ids": [9001 + position],
                    "values": [str(told.get("option", f"option {position + 1}"))],
                }
            ]
        )
        product = self._replacement(
            listing,
            {
                "sku": str(told["sku"]),
                "property_values": values,
                "offerings": [
                    {
                        "price": int(told.get("price_minor", 1000)) / 100,
                        "quantity": min(quantity, MAX_QUANTITY),
                        "is_enabled": True,
                        "readiness_state_id": _READINESS,
                    }
                ],
            },
        )
        return product

    def _listing(self, listing_id: str) -> _Listing:
        listing = self._listings.get(int(listing_id)) if listing_id.isascii() and listing_id.isdigit() else None
        if listing is None:
            raise Refused(404, "Resource not found")
        return listing

    def _resource(self, listing: _Listing) -> dict[str, Any]:
        price = min((each["offerings"][0]["price"]["amount"] for each in listing.products), default=0)
        return {
            "listing_id": listing.listing_id,
            "user_id": self.shop_id,
            "shop_id": self.shop_id,
            "title": listing.title,
            "description": listing.title,
            "state": listing.state,
            "created_timestamp": listing.created,
            "updated_timestamp": listing.updated,
            "quantity": _total(listing.products, listing.on_property["quantity_on_property"]),
            "has_variations": len(listing.products) > 1,
            "listing_type": "physical",
            "price": _money(price, listing.currency),
        }

    @staticmethod
    def _product_of(listing: _Listing, sku: str) -> dict[str, Any] | None:
        return next((each for each in listing.products if each["sku"] == sku), None)

    # Receipts.

    def _get_receipts(self, request: Request, arguments: Mapping[str, str]) -> Response:
        self._own(arguments)
        limit = _number(request, "limit", 25, 1, 100)
        offset = _number(request, "offset", 0, 0, 2**31)
        sort_on, order = request.first("sort_on", "created"), request.first("sort_order", "desc")
        if sort_on not in _SORTS or order not in _ASCENDING | _DESCENDING:
            raise Refused(400, "Invalid sort")
        passes = _filter(request)
        found = [each for each in self._receipts.values() if passes(each)]
        found.sort(key=lambda each: (each[_SORTS[sort_on]], each["receipt_id"]), reverse=order in _DESCENDING)
        page = [self._as_shown(each) for each in found[offset : offset + limit]]
        return Response.of(200, {"count": len(found), "results": page})

    def _get_receipt(self, _: Request, arguments: Mapping[str, str]) -> Response:
        return Response.of(200, self._as_shown(self._receipt(arguments)))

    def _ship(self, request: Request, arguments: Mapping[str, str]) -> Response:
        receipt = self._receipt(arguments)
        told = only(_json(request), set(_TRACKING.split()), set(), "Array contains invalid keys")
        code, carrier = told.get("tracking_code"), told.get("carrier_name")
        if receipt["status"] == "canceled":
            raise Refused(400, "The receipt is canceled")
        if bool(code) != bool(carrier):
            raise Refused(400, "tracking_code and carrier_name go together")
        dear = receipt["country_iso"] == "US" and receipt["grandtotal"]["amount"] > 1000
        if not code and (dear or receipt["country_iso"] == "IN"):
            raise Refused(400, "tracking_code and carrier_name are required for this receipt")
        if carrier and carrier not in _CARRIERS:
            raise Refused(400, "The carrier is not supported")
        if code:
            receipt["shipments"].append(
                {
                    "receipt_shipping_id": self.next_number("shipment", 6_000_000_001),
                    "shipment_notification_timestamp": int(self.clock()),
                    "carrier_name": carrier,
                    "tracking_code": code,
                }
            )
        receipt["is_shipped"], receipt["status"] = True, "completed"
        self._mails[receipt["receipt_id"]] = self._mails.get(receipt["receipt_id"], 0) + 1
        self._touch(receipt)
        self._announce("order.shipped", receipt["receipt_id"])
        return Response.of(200, receipt)

    def _as_shown(self, receipt: dict[str, Any]) -> dict[str, Any]:
        return self.legible(str(receipt["receipt_id"]), receipt, "grandtotal")

    def _receipt(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        self._own(arguments)
        number = arguments["receipt"]
        receipt = self._receipts.get(int(number)) if number.isascii() and number.isdigit() else None
        if receipt is None:
            raise Refused(404, "Resource not found")
        return receipt

    def _own(self, arguments: Mapping[str, str]) -> None:
        if arguments["shop"] != str(self.shop_id):
            raise Refused(403, "The token's user does not own this shop")

    def _transaction(
        self,
        receipt_id: int,
        listing: _Listing,
        product: Mapping[str, Any],
        quantity: int,
        purchase: Purchase,
    ) -> dict[str, Any]:
        now = int(self.clock())
        promised = int(datetime.fromisoformat(purchase.promised_at).timestamp()) if purchase.promised_at else None
        return {
            "transaction_id": self.next_number("transaction", 4_000_000_001),
            "title": listing.title,
            "seller_user_id": self.shop_id,
            "buyer_user_id": int(purchase.buyer.get("id", 2001)),
            "created_timestamp": now,
            "paid_timestamp": now if purchase.paid else None,
            "shipped_timestamp": None,
            "expected_ship_date": promised,
            "quantity": quantity,
            "receipt_id": receipt_id,
            "is_digital": False,
            "listing_id": listing.listing_id,
            "transaction_type": "listing",
            "product_id": product["product_id"],
            "sku": product["sku"],
            "price": dict(product["offerings"][0]["price"]),
            "shipping_cost": _money(0, listing.currency),
            "variations": [
                {
                    "property_id": value["property_id"],
                    "value_id": value["value_ids"][0],
                    "formatted_name": value["property_name"],
                    "formatted_value": value["values"][0],
                }
                for value in product["property_values"]
            ],
            "buyer_coupon": 0,
            "shop_coupon": 0,
        }

    def _new_receipt(self, receipt_id: int, transactions: list[dict[str, Any]], purchase: Purchase) -> dict[str, Any]:
        now = int(self.clock())
        currency = transactions[0]["price"]["currency_code"]
        total = sum(each["price"]["amount"] * each["quantity"] for each in transactions)
        buyer = purchase.buyer
        address = {
            "first_line": str(buyer.get("line1", "12 Elm Street")),
            "second_line": buyer.get("line2"),
            "city": str(buyer.get("city", "Portland")),
            "state": buyer.get("region", "OR"),
            "zip": str(buyer.get("postal_code", "97201")),
        }
        return {
            "receipt_id": receipt_id,
            "receipt_type": 0,
            "seller_user_id": self.shop_id,
            "buyer_user_id": int(buyer.get("id", 2001)),
            "buyer_email": buyer.get("email"),
            "name": str(buyer.get("name", "Sim Buyer")),
            **(dict.fromkeys(address) if buyer.get("address_withheld") else address),
            "country_iso": str(buyer.get("country", "US")),
            "status": "paid" if purchase.paid else "payment processing",
            "payment_method": "cc",
            "is_paid": purchase.paid,
            "is_shipped": False,
            "created_timestamp": now,
            "updated_timestamp": now,
            "is_gift": False,
            "gift_message": "",
            "grandtotal": _money(total - purchase.discount + purchase.shipping + purchase.tax, currency),
            "subtotal": _money(total - purchase.discount, currency),
            "total_price": _money(total, currency),
            "total_shipping_cost": _money(purchase.shipping, currency),
            "total_tax_cost": _money(purchase.tax, currency),
            "total_vat_cost": _money(0, currency),
            "discount_amt": _money(purchase.discount, currency),
            "shipments": [],
            "transactions": transactions,
            "refunds": [],
        }

    def _touch(self, receipt: dict[str, Any]) -> None:
        receipt["updated_timestamp"] = max(int(self.clock()), receipt["updated_timestamp"])

    # Callbacks and budgets.

    def _announce(self, event: str, receipt_id: int) -> None:
        path = f"/v3/application/shops/{self.shop_id}/receipts/{receipt_id}"
        resource = f"https://openapi.etsy.com{path}"
        payload = {"event_type": event, "resource_url": resource, "shop_id": self.shop_id}
        body = json.dumps(payload, separators=(",", ":")).encode()
        message_id = f"msg_{self.next_number('message', 1):08d}"

        def build() -> Delivery:
            timestamp = str(int(self.clock()))
            key = base64.b64decode(self._credentials["webhook_secret"].removeprefix("whsec_"))
            signed = f"{message_id}.{timestamp}.".encode() + body
            signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
            headers = {
                "content-type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": timestamp,
                "webhook-signature": ("v1," if self._credentials["signature_style"] == "list" else "") + signature,
            }
            return Delivery(self.callback_url, headers, body)

        self.notify(build)

    def _set_limits(self, per_second: int, per_day: int) -> None:
        self._second = TokenBucket(per_second, 1.0, self.clock)
        self._day = TokenBucket(per_day, 86_400.0, self.clock)

    def _budget(self) -> dict[str, str]:
        return {
            "x-limit-per-second": str(self._second.capacity),
            "x-remaining-this-second": str(self._second.left()),
            "x-limit-per-day": str(self._day.capacity),
            "x-remaining-today": str(self._day.left()),
        }


def _money(amount: int, currency: str) -> dict[str, Any]:
    return {"amount": amount, "divisor": 100, "currency_code": currency}


def _inventory(listing: _Listing) -> dict[str, Any]:
    return {"products": listing.products, **listing.on_property}


def _json(request: Request) -> Any:
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused(400, "Expected JSON")
    return request.json()


def _number(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.first(name, str(default))
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise Refused(400, f"Invalid value for {name}")
    return int(text)


def _filter(request: Request) -> Callable[[Mapping[str, Any]], bool]:
    windows = {
        stamp: (
            _number(request, f"min_{name}", _FIRST_TIMESTAMP, _FIRST_TIMESTAMP, 2**40),
            _number(request, f"max_{name}", 2**40, _FIRST_TIMESTAMP, 2**40),
        )
        for name, stamp in (("created", "created_timestamp"), ("last_modified", "updated_timestamp"))
    }

    def passes(receipt: Mapping[str, Any]) -> bool:
        flags = {
            "was_paid": receipt["is_paid"],
            "was_shipped": receipt["is_shipped"],
            "was_canceled": receipt["status"] == "canceled",
        }
        return all(low <= receipt[stamp] <= high for stamp, (low, high) in windows.items()) and all(
            request.first(name) in ("", str(value).lower()) for name, value in flags.items()
        )

    return passes


def _pool(product: Mapping[str, Any], on: Iterable[int] | None) -> tuple[Any, ...]:
    """The product's values of the given properties, or of all."""
    chosen = None if on is None else set(on)
    values = [each for each in product["property_values"] if chosen is None or each["property_id"] in chosen]
    return tuple(sorted((each["property_id"], tuple(each["value_ids"])) for each in values))


def _total(products: list[dict[str, Any]], quantity_on: list[int]) -> int:
    """Products that agree in the varied properties share one number, and count once."""
    return sum({_pool(each, quantity_on): each["offerings"][0]["quantity"] for each in products}.values())


def _consistent(products: list[dict[str, Any]], on: list[int], name: str) -> None:
    met: dict[tuple[Any, ...], Any] = {}
    for product in products:
        value = product["sku"] if name == "sku" else product["offerings"][0][name]
        if met.setdefault(_pool(product, on), value) != value:
            raise Refused(400, f"{name} varies, but {name}_on_property does not say by what")
