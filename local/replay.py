"""Real orders through the HTTP API: the rows of UCI Online Retail become products, stock, orders and cancellations.

    python -m local.replay online_retail.csv.gz --limit 200 --concurrency 8 [--pay] [--stock 5]

The cloud must be up. What the file contains besides sales (postage, write-offs, vouchers, …) is counted by name, never
dropped in silence. Exit code 1 when at the end a unit is missing or there are too many. A further run on the same
cloud gets SKUs of its own, so that its figures are its own.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from local import cloud
from local.client import Answer, Client, promised
from local.cloud import Endpoints
from local.console import Trouble, fail, say
from local.reports import Bar, percentile, table

MOST_LINES = 200
MOST_UNITS = 999
CURRENCY = "GBP"
_PATIENCE = 6
"""How often a request is sent while the answer is "later"; every time with its key."""
_CONFIRMED_WITHIN = 60.0
_COUNTED_WITHIN = 300.0

T = TypeVar("T")
R = TypeVar("R")

# ---- the file --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a line of an invoice. Invoices that begin with C cancel, those with A adjust the books."""

    invoice: str
    code: str
    quantity: int
    price: Decimal
    customer: str
    country: str
    at: str
    """When, local time to the minute: ``2010-12-01 08:26``."""


def read_rows(path: Path) -> Iterator[Row]:
    """The file's rows in order. Raises ``Trouble`` when it is not such a file."""
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8") as lines:
            for each in csv.DictReader(lines):
                yield Row(
                    each["InvoiceNo"].strip(),
                    each["StockCode"].strip(),
                    int(each["Quantity"]),
                    Decimal(each["UnitPrice"]),
                    each["CustomerID"].strip(),
                    each["Country"].strip(),
                    each["InvoiceDate"][:16],
                )
    except FileNotFoundError:
        raise Trouble(f"There is no file {path}.") from None
    except (KeyError, ValueError, ArithmeticError, OSError) as error:
        raise Trouble(f"{path} is not the Online Retail file: {error!r}") from error


# Codes that stand for money or paper rather than for goods on a shelf.
_NO_GOODS = {
    "POST": "postage (our own table charges shipping)",
    "DOT": "postage (our own table charges shipping)",
    "C2": "postage (our own table charges shipping)",
    "D": "discounts given by hand",
    "M": "manual entries",
    "S": "samples",
    "B": "bad debt",
    "BANK CHARGES": "bank charges",
    "AMAZONFEE": "marketplace fees",
    "CRUK": "donations",
    "PADS": "packing material",
}
_UNSAFE = re.compile(r"[^A-Z0-9._/ +-]+")


def sku_of(code: str) -> str:
    """A stock code as our SKU: upper case (the file spells some codes both ways), nothing that we do not allow."""
    return _UNSAFE.sub("-", code.strip().upper()).lstrip("._/ +-")[:50]


def minor(price: Decimal) -> int:
    """Pounds to pence, rounded half up."""
    return int((price * 100).quantize(Decimal(1), ROUND_HALF_UP))


def not_goods(row: Row) -> str | None:
    """Why a row does not concern goods, in a merchant's words; None if it does."""
    code = row.code.upper()
    if code in _NO_GOODS:
        return _NO_GOODS[code]
    if code.startswith("GIFT_"):
        return "gift vouchers"
    if not any(character.isdigit() for character in code):
        return "codes that name no product"
    return None


# ---- where it goes ---------------------------------------------------------------------------------------------------

# City, region and postal code that the post of each country in the file would deliver to.
_PLACES: Mapping[str, tuple[str, str, str, str]] = {
    "Australia": ("AU", "Sydney", "NSW", "2000"),
    "Austria": ("AT", "Wien", "", "1010"),
    "Bahrain": ("BH", "Manama", "", "317"),
    "Belgium": ("BE", "Bruxelles", "", "1000"),
    "Brazil": ("BR", "São Paulo", "SP", "01310-100"),
    "Canada": ("CA", "Toronto", "ON", "M5H 2N2"),
    "Channel Islands": ("JE", "St Helier", "", "JE2 3QA"),
    "Cyprus": ("CY", "Nicosia", "", "1010"),
    "Czech Republic": ("CZ", "Praha", "", "110 00"),
    "Denmark": ("DK", "København", "", "1050"),
    "EIRE": ("IE", "Dublin", "Co. Dublin", "D02 X285"),
    "Finland": ("FI", "Helsinki", "", "00100"),
    "France": ("FR", "Paris", "", "75001"),
    "Germany": ("DE", "Berlin", "", "10115"),
    "Greece": ("GR", "Athina", "", "105 57"),
    "Hong Kong": ("HK", "Central", "Hong Kong Island", ""),
    "Iceland": ("IS", "Reykjavík", "", "101"),
    "Israel": ("IL", "Tel Aviv", "", "6120101"),
    "Italy": ("IT", "Milano", "MI", "20121"),
    "Japan": ("JP", "Chiyoda-ku", "Tokyo", "100-0001"),
    "Lebanon": ("LB", "Beirut", "", "1100"),
    "Lithuania": ("LT", "Vilnius", "", "01103"),
    "Malta": ("MT", "Valletta", "", "VLT 1117"),
    "Netherlands": ("NL", "Amsterdam", "", "1012 JS"),
    "Norway": ("NO", "Oslo", "", "0150"),
    "Poland": ("PL", "Warszawa", "", "00-001"),
    "Portugal": ("PT", "Lisboa", "", "1100-148"),
    "RSA": ("ZA", "Cape Town", "", "8001"),
    "Saudi Arabia": ("SA", "Riyadh", "", "11564"),
    "Singapore": ("SG", "Singapore", "", "049483"),
    "Spain": ("ES", "Madrid", "Madrid", "28001"),
    "Sweden": ("SE", "Stockholm", "", "111 29"),
    "Switzerland": ("CH", "Zürich", "", "8001"),
    "USA": ("US", "Portland", "OR", "97201"),
    "United Arab Emirates": ("AE", "Dubai", "Dubai", ""),
    "United Kingdom": ("GB", "London", "", "EC1A 1BB"),
}
_HOME = "United Kingdom"


def is_country(name: str) -> bool:
    """Whether a parcel can be sent there: the file also knows "Unspecified" and "European Community"."""
    return name in _PLACES


def address_in(country: str, name: str) -> dict[str, str]:
    """A plausible address in a country as the file names it; at home where it names none."""
    code, city, region, postal_code = _PLACES.get(country, _PLACES[_HOME])
    address = {"name": name, "line1": "1 Market Square", "city": city, "postal_code": postal_code, "country": code}
    return {**address, "region": region} if region else address


# ---- the plan --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """One order to place; ``key`` is unique in the file."""

    key: str
    customer: str
    country: str
    lines: tuple[tuple[str, int], ...]
    at: str

    def body(self, suffix: str) -> dict[str, Any]:
        """The request."""
        name = f"Customer {self.customer}" if self.customer else "Guest"
        mail = f"customer-{self.customer}" if self.customer else f"guest-{self.key}"
        return {
            "customer": {"name": name, "email": f"{mail}@example.com"},
            "shipping_address": address_in(self.country, name),
            "lines": [{"sku": sku + suffix, "quantity": units} for sku, units in self.lines],
            "currency": CURRENCY,
        }


@dataclass(frozen=True, slots=True)
class PlannedCancellation:
    """Units by line of one order that the customer called off, and the invoice that says so."""

    key: str
    order: str
    lines: Mapping[int, int]
    at: str


@dataclass(slots=True)
class Plan:
    """What the rows ask for, and how many of them were what."""

    prices: dict[str, int] = field(default_factory=dict)
    sold: Counter[str] = field(default_factory=Counter)
    written_off: Counter[str] = field(default_factory=Counter)
    orders: list[PlannedOrder] = field(default_factory=list)
    cancellations: list[PlannedCancellation] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    """Rows by what became of them."""
    notes: Counter[str] = field(default_factory=Counter)
    """Invoices and lines that were changed on their way into an order."""

    @property
    def skus(self) -> list[str]:
        return sorted(self.prices)


def plan(rows: Iterable[Row], limit: int | None = None) -> Plan:
    """Turn rows into orders, until ``limit`` invoices have become orders."""
    made = Plan()
    seen: defaultdict[str, Counter[int]] = defaultdict(Counter)
    sales: list[Row] = []
    bought: defaultdict[tuple[str, str], list[_Bought]] = defaultdict(list)
    invoices = 0
    for invoice in _invoices(rows):
        if limit is not None and invoices >= limit:
            break
        if invoice[0].invoice.startswith("C"):
            _plan_cancellation(invoice, bought, made)
            continue
        goods = [row for row in invoice if _is_sale(row, made)]
        if not goods:
            made.notes["invoices without goods"] += 1
            continue
        invoices += 1
        sales += goods
        for row in goods:
            seen[sku_of(row.code)][minor(row.price)] += 1
        _plan_orders(goods, bought, made)
    # The catalogue has one price: the one that most customers paid.
    made.prices = {sku: max(prices, key=lambda price: (prices[price], price)) for sku, prices in seen.items()}
    changed = sum(minor(row.price) != made.prices[sku_of(row.code)] for row in sales)
    made.notes["lines sold at another price than the catalogue's"] += changed
    made.notes = +made.notes
    # Only what is in the catalogue can be written off.
    made.written_off = Counter({sku: units for sku, units in made.written_off.items() if sku in made.prices})
    return made


@dataclass(slots=True)
class _Bought:
    """Units of a planned order's line that have not been called off."""

    order: str
    line: int
    units: int


def _invoices(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows by invoice, in the order in which the invoices begin."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.invoice, []).append(row)
    yield from grouped.values()


def _is_sale(row: Row, made: Plan) -> bool:
    """Whether a row of an ordinary invoice sells goods; if not, it is counted for what it is."""
    reason = not_goods(row)
    if reason is None and row.quantity < 0:
        reason = "stock written off"
        made.written_off[sku_of(row.code)] -= row.quantity
    elif reason is None and minor(row.price) < 1:
        reason = "goods without a price (given away, found or mistyped)"
    made.rows[reason or "sold"] += 1
    return reason is None


def _plan_orders(goods: Sequence[Row], bought: Mapping[tuple[str, str], list[_Bought]], made: Plan) -> None:
    """An invoice's goods as one order, or several where it has more lines than an order may have."""
    first = goods[0]
    lines = [piece for row in goods for piece in _pieces(row)]
    made.notes[f"lines of more than {MOST_UNITS} units, split"] += sum(row.quantity > MOST_UNITS for row in goods)
    made.notes["orders of guests"] += not first.customer
    made.notes["orders without a country, sent home"] += not is_country(first.country)
    parts = [lines[start : start + MOST_LINES] for start in range(0, len(lines), MOST_LINES)]
    made.notes[f"orders of more than {MOST_LINES} lines, split"] += len(parts) > 1
    for number, part in enumerate(parts):
        key = first.invoice if len(parts) == 1 else f"{first.invoice}-{number + 1}"
        made.orders.append(PlannedOrder(key, first.customer, first.country, tuple(part), first.at))
        for line, (sku, units) in enumerate(part, start=1):
            made.sold[sku] += units
            bought[first.customer, sku].append(_Bought(key, line, units))


def _pieces(row: Row) -> list[tuple[str, int]]:
    """A row as lines of at most ``MOST_UNITS``."""
    whole, rest = divmod(row.quantity, MOST_UNITS)
    return [(sku_of(row.code), units) for units in [MOST_UNITS] * whole + [rest] * bool(rest)]


def _plan_cancellation(invoice: Sequence[Row], bought: Mapping[tuple[str, str], list[_Bought]], made: Plan) -> None:
    """Find what a cancelling invoice takes back among what its customer bought before, the latest first."""
    called_off: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for row in invoice:
        reason = not_goods(row)
        if reason is None:
            taken = _take_back(row, bought) if row.customer else []
            for each, units in taken:
                called_off[each.order][each.line] += units
            reason = "cancellations of an earlier order" if taken else "returns of goods bought before the file begins"
        made.rows[reason] += 1
    for order, lines in called_off.items():
        made.cancellations.append(PlannedCancellation(invoice[0].invoice, order, dict(lines), invoice[0].at))


def _take_back(row: Row, bought: Mapping[tuple[str, str], list[_Bought]]) -> list[tuple[_Bought, int]]:
    """The lines that cover a cancelled quantity, and how much of each; nothing unless they cover all of it."""
    lines = bought.get((row.customer, sku_of(row.code)), [])
    wanted = -row.quantity
    if wanted <= 0 or sum(each.units for each in lines) < wanted:
        return []
    taken = []
    for each in reversed(lines):
        units = min(each.units, wanted)
        if units:
            each.units -= units
            wanted -= units
            taken.append((each, units))
    return taken


# ---- carrying it out -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Result:
    """What happened."""

    accepted: dict[str, Any] = field(default_factory=dict)
    """The placement by the order's key."""
    refused: Counter[str] = field(default_factory=Counter)
    cancelled: Counter[str] = field(default_factory=Counter)
    unpaid: Counter[str] = field(default_factory=Counter)
    not_booked: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    retries: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    """SKUs whose units do not add up, and how."""


class Replay:
    """One run against a running cloud."""

    def __init__(self, client: Client, made: Plan, concurrency: int, stock: int | None = None) -> None:
        self.client = client
        self.plan = made
        self.result = Result()
        self._concurrency = concurrency
        self._stock = stock
        self._suffix = self._free_suffix()

    def run(self, *, pay: bool = False) -> Result:
        """Products, stock, orders, cancellations, write-offs, and then the count."""
        self._each("products", self.plan.skus, self._put)
        self._each("stock received", self.plan.skus, self._receive)
        started = time.perf_counter()
        self._each("orders", self.plan.orders, self._place)
        self.result.seconds = time.perf_counter() - started
        if pay:
            self._each("payments", list(self.result.accepted.values()), self._pay)
        if self.plan.cancellations:
            self._each("cancellations", self.plan.cancellations, self._cancel)
        if self.plan.written_off:
            self._each("write-offs", sorted(self.plan.written_off.items()), self._write_off)
        self._count()
        return self.result

    def _free_suffix(self) -> str:
        """What makes this run's SKUs its own: nothing the first time on a cloud."""
        if not self.plan.skus:
            return ""
        for run in range(1, 1000):
            suffix = "" if run == 1 else f"-R{run}"
            path = f"/products/{quote(self.plan.skus[0] + suffix, safe='')}"
            if self.client.api("GET", path, staff="ops").status == 404:
                return suffix
        raise Trouble("This cloud has seen a thousand replays: `make down` and `make up` give a fresh one.")

    def _each(self, label: str, items: Sequence[T], do: Callable[[T], R]) -> list[R]:
        bar = Bar(label, len(items))

        def one(item: T) -> R:
            try:
                return do(item)
            finally:
                bar.step()

        with ThreadPoolExecutor(self._concurrency) as pool:
            done = list(pool.map(one, items))
        bar.end()
        return done

    def _persist(self, send: Callable[[], Answer]) -> Answer:
        """Send again while the answer is "later": the same request with the same key, as a good client does."""
        for attempt in range(_PATIENCE):
            answer = send()
            if answer.status not in (0, 429, 500, 502, 503, 504):
                break
            self.result.retries += 1
            time.sleep(min(5.0, float(answer.headers.get("retry-after", 0.2 * 2**attempt))))
        return answer

    def _put(self, sku: str) -> None:
        price = self.plan.prices[sku]
        self._persist(lambda: self.client.put_product(sku + self._suffix, price=price, currency=CURRENCY)).expect(200)

    def _receive(self, sku: str) -> None:
        needed = self.plan.sold[sku] + self.plan.written_off[sku]
        units = needed if self._stock is None else self._stock
        if units:
            self._move("receive", sku, units, "delivery for the replay").expect(201)

    def _write_off(self, item: tuple[str, int]) -> None:
        sku, units = item
        answer = self._move("adjust", sku, -units, "written off in the file")
        if answer.status != 201:
            self.result.not_booked[_why(answer)] += 1

    def _move(self, kind: str, sku: str, units: int, reason: str) -> Answer:
        name, key = sku + self._suffix, self.client.new_key()
        return self._persist(lambda: self.client.move_stock(kind, name, units, reason=reason, key=key))

    def _place(self, order: PlannedOrder) -> None:
        body, key = order.body(self._suffix), f"{self.client.new_key()}-{order.key}"
        started = time.perf_counter()
        answer = self._persist(lambda: self.client.place(body, key))
        self.result.latencies.append(time.perf_counter() - started)
        if answer.status == 201:
            self.result.accepted[order.key] = answer.body
        else:
            self.result.refused[_why(answer)] += 1

    def _pay(self, placed: Mapping[str, Any]) -> None:
        answer = self._persist(lambda: self.client.pay(placed))
        if answer.status != 200:
            self.result.unpaid[f"answer {answer.status}"] += 1
            return
        deadline = time.monotonic() + _CONFIRMED_WITHIN
        while self.client.order(placed)["payment"]["status"] != "captured":
            if time.monotonic() > deadline:
                self.result.unpaid[f"no webhook within {_CONFIRMED_WITHIN:.0f} s"] += 1
                return
            time.sleep(0.3)

    def _cancel(self, wanted: PlannedCancellation) -> None:
        placed = self.result.accepted.get(wanted.order)
        if placed is None:
            self.result.cancelled["not needed: the order had been refused"] += 1
            return
        open_lines = {line["line"]: line["quantity"] - line["cancelled"] for line in self.client.order(placed)["lines"]}
        whole = all(units == wanted.lines.get(line, 0) for line, units in open_lines.items() if units)
        lines = [{"line": line, "quantity": units} for line, units in sorted(wanted.lines.items())]
        body = {"reason": f"invoice {wanted.key}"} | ({} if whole else {"lines": lines})
        key = f"{self.client.new_key()}-{wanted.key}"
        answer = self._persist(lambda: self.client.cancel(placed, body, key))
        kind = "whole order" if whole else "some lines"
        self.result.cancelled[f"{kind}: {'done' if answer.status == 200 else _why(answer)}"] += 1

    # ---- the count -----------------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Units available and units promised must be the units on hand, for every SKU.

        Orders go on living while they are counted: they expire, and very large ones give back step by step. So the
        promises are read before and after the stock, and only what stays the same and still does not add up is wrong.
        """
        skus = [sku + self._suffix for sku in self.plan.skus]
        buyers: defaultdict[str, list[Any]] = defaultdict(list)
        for order in self.plan.orders:
            if placed := self.result.accepted.get(order.key):
                for sku in {sku for sku, _ in order.lines}:
                    buyers[sku + self._suffix].append(placed)
        before, label = self._promises(skus, buyers, "counting"), "counting"
        deadline = time.monotonic() + _COUNTED_WITHIN
        while True:
            levels = self._each(f"{label}: stock", skus, self.client.stock)
            after = self._promises(skus, buyers, label)
            self.result.wrong = {
                level["sku"]: _difference(level, before[level["sku"]], after[level["sku"]])
                for level in levels
                if before[level["sku"]] != after[level["sku"]]
                or level["available"] + after[level["sku"]] != level["on_hand"] - level["damaged"]
            }
            if not self.result.wrong or time.monotonic() > deadline:
                return
            skus, before, label = sorted(self.result.wrong), after, "counting again"
            time.sleep(1.0)

    def _promises(self, skus: Sequence[str], buyers: Mapping[str, Sequence[Any]], label: str) -> Counter[str]:
        """Units that the run's orders with these SKUs hold, by SKU."""
        placements = {placed["order_id"]: placed for sku in skus for placed in buyers.get(sku, ())}
        total: Counter[str] = Counter()
        for owed in self._each(f"{label}: orders", list(placements.values()), self._owed):
            total.update(owed)
        return total

    def _owed(self, placed: Mapping[str, Any]) -> dict[str, int]:
        return promised(self.client.order(placed))


def _difference(level: Mapping[str, Any], before: int, after: int) -> str:
    if before != after:
        return f"its orders kept changing: {before} promised, then {after}"
    return f"{level['available']} available + {after} promised ≠ {level['on_hand']} on hand"


def _why(answer: Answer) -> str:
    """A refusal in few words: its code (a conflict says which), or where it has none its status."""
    if not isinstance(answer.body, dict) or "code" not in answer.body:
        return f"answer {answer.status}"
    code = str(answer.body["code"])
    return str(answer.body["detail"]) if code == "conflict" else code


# ---- the report ------------------------------------------------------------------------------------------------------


def report(made: Plan, result: Result, concurrency: int) -> str:
    """The whole run on one page."""
    times = result.latencies
    placed = len(made.orders)
    figures = [
        ["orders", ""],
        ["sent", f"{placed:,}"],
        ["accepted", f"{len(result.accepted):,}"],
        *([f"refused: {why}", f"{count:,}"] for why, count in result.refused.most_common()),
        *([f"not paid: {why}", f"{count:,}"] for why, count in result.unpaid.most_common()),
        *([f"cancelled, {how}", f"{count:,}"] for how, count in result.cancelled.most_common()),
        *([f"write-offs not booked: {why}", f"{count:,}"] for why, count in result.not_booked.most_common()),
        ["sent again because the answer was “later”", f"{result.retries:,}"],
        [f"orders a second, {concurrency} at a time", f"{placed / max(result.seconds, 0.001):,.1f}"],
        *([f"latency p{percent} (ms)", f"{percentile(times, percent) * 1000:,.0f}"] for percent in (50, 95, 99)),
    ]
    became = [["rows of the file", ""], *([what, f"{count:,}"] for what, count in made.rows.most_common())]
    noted = [["on the way", ""], *([what, f"{count:,}"] for what, count in made.notes.most_common())]
    pages = [table(figures), table(became), *([table(noted)] if made.notes else [])]
    if result.wrong:
        shown = [f"    {sku}: {how}" for sku, how in list(result.wrong.items())[:20]]
        pages.append("\n".join([f"  THE STOCK DOES NOT ADD UP for {len(result.wrong)} SKUs:", *shown]))
    else:
        pages.append(f"  available + promised = on hand, for each of {len(made.prices):,} SKUs")
    return "\n\n".join(pages)


def replay(
    endpoints: Endpoints,
    path: Path,
    *,
    limit: int | None = None,
    concurrency: int = 8,
    pay: bool = False,
    stock: int | None = None,
) -> tuple[Plan, Result]:
    """Replay a file on a running cloud. Raises ``Trouble`` when the file cannot be read."""
    made = plan(read_rows(path), limit)
    client = Client(endpoints, connections=concurrency)
    return made, Replay(client, made, concurrency, stock).run(pay=pay)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.replay", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("orders", type=Path, help="online_retail.csv.gz")
    parser.add_argument("--limit", type=int, help="so many of the file's orders (default: all)")
    parser.add_argument("--concurrency", type=int, default=8, help="requests at a time (default: 8)")
    parser.add_argument("--pay", action="store_true", help="pay each order by card")
    parser.add_argument("--stock", type=int, help="units received of each SKU (default: what the file sells)")
    asked = parser.parse_args(arguments)
    try:
        made, result = replay(
            cloud.default().endpoints(),
            asked.orders,
            limit=asked.limit,
            concurrency=asked.concurrency,
            pay=asked.pay,
            stock=asked.stock,
        )
    except Trouble as trouble:
        return fail(trouble)
    except KeyboardInterrupt:
        return 130
    say(f"\n{report(made, result, asked.concurrency)}")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
