"""What operators may send about products, stock and listings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from oms.inventory.barcodes import kind_of
from oms.inventory.finding import Search
from oms.inventory.model import DOCK, STAGING, lot_key
from oms.orders.forms import Currency, Form, ShortText, Sku

FACILITY_PATTERN = r"^[a-z0-9][a-z0-9-]{0,31}$"
Code = Annotated[str, StringConstraints(pattern=FACILITY_PATTERN)]
Barcode = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{4,32}$")]
BarcodeKind = Literal["ean-8", "upc-a", "ean-13", "gtin-14", "isbn-10", "isbn-13", "internal"]
Units = Annotated[int, Field(ge=0, le=10_000_000)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=200)]


def _of_the_shop(code: str) -> str:
    if code in STAGING - {DOCK}:
        raise ValueError(f"{code} is kept by the system")
    return code


BinCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$"), AfterValidator(_of_the_shop)]


def _day(value: object) -> object:
    return date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else value


Day = Annotated[date, BeforeValidator(_day)]
LotCode = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,80}$")]


class LotForm(Form):
    """Units of one lot: its number, the last day on which it may be sold, or both."""

    lot: LotCode | None = None
    expires: Day | None = None
    quantity: Annotated[int, Field(ge=1, le=10_000_000)]

    @property
    def key(self) -> str:
        return lot_key(self.lot or "", self.expires.isoformat() if self.expires else "")

    @model_validator(mode="after")
    def _names_a_lot(self) -> LotForm:
        if not self.key:
            raise ValueError("a lot needs its number, its expiry, or both")
        return self


def lots_told(lots: Sequence[LotForm]) -> dict[str, int]:
    """Units by lot."""
    total: Counter[str] = Counter()
    for lot in lots:
        total[lot.key] += lot.quantity
    return dict(total)


Lots = Annotated[list[LotForm], Field(max_length=50)]


def _fit(lots: Sequence[LotForm], quantity: int) -> None:
    if sum(lot.quantity for lot in lots) > abs(quantity):
        raise ValueError("lots have more units than quantity")


def _moment(value: object) -> object:
    """JSON has no moments, and a strict form takes no text for one."""
    if not isinstance(value, str):
        return value
    with suppress(ValueError):
        read = datetime.fromisoformat(value)
        if 2000 <= read.year < 3000:
            return read
    raise ValueError("must be a moment such as 2026-12-24T08:00:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


class PriceForm(Form):
    """Minor units of a currency that we sell in."""

    amount: Annotated[int, Field(ge=1, le=100_000_000)]
    currency: Currency


class KitPartForm(Form):
    """A part of a kit."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=999)]


class VendorForm(Form):
    """Who supplies it: cost in minor units, lead time in days."""

    vendor: ShortText
    vendor_sku: ShortText | None = None
    cost: Annotated[int, Field(ge=0)] | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    lead_time_days: Annotated[int, Field(ge=0, le=730)] | None = None
    preferred: bool = False


class ProductForm(Form):
    """``PUT /products/{sku}``.

    A barcode of 8, 12, 13 or 14 digits must have its check digit, unless ``barcode_kinds`` declares it ``internal``.
    ``track`` is what the floor must capture of every unit; a lot that does not keep for ``min_life_days`` yet is not
    sold. ``hs_code`` and ``origin_country`` are for customs.
    """

    sku: Sku
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    price: PriceForm
    barcodes: list[Barcode] = Field(default_factory=list, max_length=20)
    barcode_kinds: dict[Barcode, BarcodeKind] = Field(default_factory=dict, max_length=20)
    specs: dict[ShortText, Annotated[str, StringConstraints(max_length=500)]] = Field(
        default_factory=dict, max_length=50
    )
    weight_grams: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    dimensions_mm: (
        Annotated[list[Annotated[int, Field(ge=1, le=100_000)]], Field(min_length=3, max_length=3)] | None
    ) = None
    track: list[Literal["serial", "lot", "expiry"]] = Field(default_factory=list, max_length=3)
    min_life_days: Annotated[int, Field(ge=0, le=3_650)] = 0
    hs_code: Annotated[str, StringConstraints(pattern=r"^[0-9]{6,12}$")] | None = None
    origin_country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    vendors: list[VendorForm] = Field(default_factory=list, max_length=20)
    archived: bool | None = None
    kit: list[KitPartForm] = Field(default_factory=list, max_length=20)
    stripes: Annotated[int, Field(ge=1, le=64)] = 1
    safety_stock: Units = 0
    low_stock_at: Units | None = None
    backorder: bool = False

    @model_validator(mode="after")
    def _parts_are_distinct(self) -> ProductForm:
        parts = [part.sku for part in self.kit]
        if len(set(parts)) != len(parts):
            raise ValueError("kit names a SKU twice")
        if self.sku in parts:
            raise ValueError("a kit cannot contain itself")
        if len(set(self.barcodes)) != len(self.barcodes):
            raise ValueError("barcodes names one twice")
        if len(set(self.track)) != len(self.track):
            raise ValueError("track names one twice")
        names = [(vendor.vendor, vendor.vendor_sku) for vendor in self.vendors]
        if len(set(names)) != len(names):
            raise ValueError("vendors names a vendor twice with the same vendor_sku")
        if sum(vendor.preferred for vendor in self.vendors) > 1:
            raise ValueError("vendors can have one preferred vendor only")
        strangers = sorted(self.barcode_kinds.keys() - set(self.barcodes))
        if strangers:
            raise ValueError(f"barcode_kinds names {strangers[0]}, which is not among the barcodes")
        self.kinds()
        return self

    def kinds(self) -> dict[str, str]:
        """The kind of every barcode, declared or plain to see."""
        return {code: kind_of(code, self.barcode_kinds.get(code)) for code in self.barcodes}


class SearchForm(Form):
    """``GET /products``: everything that is given must hold. ``q`` are beginnings of words of the title."""

    model_config = ConfigDict(strict=False)

    q: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)] = ""
    sku: Annotated[str, StringConstraints(strip_whitespace=True, max_length=50)] = ""
    barcode: Annotated[str, StringConstraints(max_length=80)] = ""
    vendor: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)] = ""
    vendor_sku: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)] = ""
    spec: Annotated[str, StringConstraints(pattern=r"^[^:]{1,100}:.{1,100}$")] = ""
    archived: Literal["true", "false", "any"] = "false"
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str, StringConstraints(max_length=2000)] | None = None

    @model_validator(mode="after")
    def _vendor_is_named(self) -> SearchForm:
        if self.vendor_sku and not self.vendor:
            raise ValueError("vendor_sku needs vendor: vendors number their goods as they like")
        return self

    def search(self) -> Search:
        """What is looked for."""
        name, _, value = self.spec.partition(":")
        archived = None if self.archived == "any" else self.archived == "true"
        spec = (name, value) if self.spec else None
        return Search(self.q, self.sku, self.barcode, self.vendor, self.vendor_sku, spec, archived)


class JobForm(Form):
    """``POST /products/imports`` and ``/products/exports``. ``dry_run`` checks rows and writes none."""

    format: Literal["csv", "jsonl"] = "csv"
    dry_run: bool = False


class MovementForm(Form):
    """``POST /stock/movements``. ``adjust`` may be negative; ``count`` is what was found in the bin, zero included.

    ``put_away`` moves units from ``bin`` (else from where they lie) into ``to_bin``; ``release`` takes them out of
    quarantine into ``bin``; ``scrap`` lets damaged units go. Units without a ``bin`` lie on the dock. ``lots`` are the
    units by lot of a product that tracks them: what is not named there is of no known lot.
    """

    type: Literal[
        "receive",
        "adjust",
        "damage",
        "count",
        "quarantine",
        "release",
        "scrap",
        "put_away",
        "consign",
        "consign_sold",
        "consign_return",
    ]
    sku: Sku
    quantity: Annotated[int, Field(ge=-10_000_000, le=10_000_000)]
    facility: Code = "main"
    bin: BinCode | None = None
    to_bin: BinCode | None = None
    retailer: ShortText | None = None
    lots: Lots = Field(default_factory=list)
    reason: Reason

    @model_validator(mode="after")
    def _quantity_fits(self) -> MovementForm:
        _fit(self.lots, self.quantity)
        if self.type == "adjust" and self.quantity == 0:
            raise ValueError("quantity of adjust must not be 0")
        if self.type == "count" and self.quantity < 0:
            raise ValueError("quantity of count must not be negative")
        if self.type not in ("adjust", "count") and self.quantity < 1:
            raise ValueError(f"quantity of {self.type} must be at least 1")
        if (self.type == "put_away") != (self.to_bin is not None):
            raise ValueError("to_bin belongs to put_away, and to nothing else")
        if self.type.startswith("consign") != (self.retailer is not None):
            raise ValueError("retailer belongs to consigned units, and to nothing else")
        return self


class TransferForm(Form):
    """``POST /stock/transfers``: units leave ``origin`` for ``target``."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=10_000_000)]
    origin: Code
    target: Code
    bin: BinCode | None = None
    lots: Lots = Field(default_factory=list)
    expected_at: Moment | None = None
    reason: Reason

    @model_validator(mode="after")
    def _goes_somewhere(self) -> TransferForm:
        _fit(self.lots, self.quantity)
        if self.origin == self.target:
            raise ValueError("origin and target are the same: put_away moves units within a facility")
        return self


class TransferReceiptForm(Form):
    """``POST /stock/transfers/{id}/receipt``: what arrived, zero included. ``lots`` may stay away when everything that
    was sent has arrived."""

    quantity: Units
    bin: BinCode | None = None
    lots: Lots = Field(default_factory=list)

    @model_validator(mode="after")
    def _lots_fit(self) -> TransferReceiptForm:
        _fit(self.lots, self.quantity)
        return self


class CountForm(Form):
    """``POST /stock/counts``: a bin is to be counted, SKU by SKU."""

    facility: Code = "main"
    bin: BinCode = DOCK
    skus: list[Sku] = Field(min_length=1, max_length=50)
    reason: Reason


class CountResultForm(Form):
    """``POST /stock/counts/{id}/results``: what the counter found."""

    sku: Sku
    quantity: Units
    lots: Lots = Field(default_factory=list)

    @model_validator(mode="after")
    def _lots_fit(self) -> CountResultForm:
        _fit(self.lots, self.quantity)
        return self


class SupplyForm(Form):
    """``PUT /stock/{sku}/supplies/{supply}``: units that are not here yet; zero removes it."""

    kind: Literal["en_route", "at_vendor"]
    quantity: Units
    party: ShortText | None = None
    expected_at: Moment | None = None


class PurchaseLineForm(Form):
    """Units of one SKU."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=10_000_000)]


class PurchaseForm(Form):
    """``POST /purchases``. Without ``expected_at`` the products' lead times for this vendor tell."""

    vendor: ShortText
    lines: list[PurchaseLineForm] = Field(min_length=1, max_length=30)
    expected_at: Moment | None = None

    @model_validator(mode="after")
    def _lines_are_distinct(self) -> PurchaseForm:
        if len({line.sku for line in self.lines}) != len(self.lines):
            raise ValueError("lines names a SKU twice")
        return self


class ReceiptForm(Form):
    """``POST /purchases/{id}/receipts``: what came of one line, more or less than was ordered."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=10_000_000)]
    facility: Code = "main"
    bin: BinCode | None = None
    lots: Lots = Field(default_factory=list)

    @model_validator(mode="after")
    def _lots_fit(self) -> ReceiptForm:
        _fit(self.lots, self.quantity)
        return self


class CloseForm(Form):
    """``POST /purchases/{id}/close``: nothing more is expected."""

    reason: Reason


class ZoneForm(Form):
    """``PUT /facilities/{facility}/zones/{zone}``: a part of the floor and the bins in it."""

    name: ShortText
    bins: list[BinCode] = Field(default_factory=list, max_length=5_000)

    @model_validator(mode="after")
    def _bins_are_distinct(self) -> ZoneForm:
        if len(set(self.bins)) != len(self.bins):
            raise ValueError("bins names one twice")
        return self


class ListingForm(Form):
    """``PUT /stock/{sku}/listings/{channel}``; ``{}`` lists on default terms."""

    listing_id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)] | None = None
    buffer: Units = 0
    percent: Annotated[int, Field(ge=1, le=100)] = 100
    max_listed: Units | None = None
    end_when: Units = 0

    def terms(self) -> dict[str, Any]:
        """The terms without the listing's id."""
        return self.model_dump(exclude={"listing_id"})
