"""What the request path asks of DynamoDB as the catalogue grows: the same, or somebody reads what they should not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from typing import Any

from benchmarks import shop
from benchmarks.meter import Meter, connect, straight
from benchmarks.report import Progress, table
from oms.channels.sync import changes_in
from oms.inventory.model import Listing
from oms.runtime.dynamo import to_item
from tests.simulation.backend import Cloud, dynamodb

SIZES = (1_000, 100_000, 1_000_000)
LISTED = 100_000
"""So many SKUs have their five listings; the listings of a million would not fit into memory."""
CHANNELS = ("amazon", "ebay", "etsy", "shopify", "webhook")
_STAFF = {"cognito:groups": "[ops]", "cognito:username": "benchmark"}
_ORIGINAL = "SKU-0000000"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request cost."""

    what: str
    trips: int
    write_units: float
    read_units: float


def measure(progress: Progress, sizes: Sequence[int] = SIZES) -> dict[int, list[Asked]]:
    """Fill the catalogue to each size in turn and make the same requests of the same SKU."""
    cloud = Cloud(shop.template(), straight)
    cloud.reset()
    meter = Meter(cloud)
    app = shop.open_shop(connect(shop.dynamodb_client(), cloud))
    name = app.inventory.table.name
    with shop.logs_in(StringIO()):
        shop.stock_up(app, [_ORIGINAL], 100_000)
        for channel in CHANNELS:
            app.inventory.put_listing(Listing(_ORIGINAL, channel, _ORIGINAL), app.clock())
        everything = [item for part in dynamodb._tables[name]["items"].values() for item in part.values()]
        copied = [_Copied.of(item) for item in everything]
        unlisted = [each for each in copied if each.item["entity"]["S"] not in ("listing", "sync")]
        asked: dict[int, list[Asked]] = {}
        there = 1
        for size in sizes:
            for number in range(there, size):
                progress.step(f"growth: {size:,} SKUs", number, size)
                _add(name, copied if number < LISTED else unlisted, f"SKU-{number:07d}")
            there = size
            requests = _requests(app, size)
            # What a function reads once a minute is not what a request costs.
            _expect(201, shop.place(import_module("functions.place_order.api").handler, _one_line(), f"first-{size}"))
            asked[size] = [_metered(meter, what, ask) for what, ask in requests.items()]
    return asked


@dataclass(frozen=True, slots=True)
class _Copied:
    """An item of the first SKU, and those of its attributes that name the SKU, as JSON; copies share the others."""

    item: Mapping[str, Any]
    named: Mapping[str, str]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> _Copied:
        told = {name: json.dumps(value) for name, value in item.items()}
        folded = _ORIGINAL.lower()
        return cls(item, {name: text for name, text in told.items() if folded in text.lower()})

    def under(self, sku: str) -> dict[str, Any]:
        """The same item of another SKU."""
        changed = {
            name: json.loads(text.replace(_ORIGINAL, sku).replace(_ORIGINAL.lower(), sku.lower()))
            for name, text in self.named.items()
        }
        return {**self.item, **changed}


def _add(name: str, items: Sequence[_Copied], sku: str) -> None:
    """A SKU with its items, past the API: what is measured is reading beside them."""
    stored = dynamodb._tables[name]["items"]
    for each in items:
        item = each.under(sku)
        stored[item["pk"]["S"]][item["sk"]["S"]] = item


def _requests(app: Any, size: int) -> dict[str, Callable[[], None]]:
    place = import_module("functions.place_order.api").handler
    stock = import_module("functions.inventory_sync.stock_api").handler
    level = app.inventory.table.get(f"SKU#{_ORIGINAL}", "STOCK#0")
    record = {"dynamodb": {"NewImage": to_item(level), "SequenceNumber": "1"}}
    return {
        "`POST /orders`, one line": lambda: _expect(201, shop.place(place, _one_line(), f"grow-{size}")),
        "`GET /stock/{sku}`": lambda: _expect(200, _get(stock, "GET /stock/{sku}", {"sku": _ORIGINAL}, {})),
        "`GET /products?q=…`, the first 20": lambda: _expect(
            200, _get(stock, "GET /products", {}, {"q": "sku", "limit": "20"})
        ),
        "a change told to five channels": lambda: _told(app, record),
    }


def _one_line() -> dict[str, Any]:
    return shop.checkout([_ORIGINAL])


def _told(app: Any, record: Mapping[str, Any]) -> None:
    if len(changes_in([record], app.inventory, CHANNELS)) != len(CHANNELS):
        raise RuntimeError("a channel did not hear of the change")


def _get(handler: Any, route: str, path: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
    event = {
        "version": "2.0",
        "routeKey": route,
        "pathParameters": dict(path),
        "queryStringParameters": dict(query),
        "headers": {},
        "requestContext": {"requestId": "growth", "authorizer": {"jwt": {"claims": _STAFF}}},
    }
    answer: dict[str, Any] = handler(event, None)
    return answer


def _expect(status: int, answer: Mapping[str, Any]) -> None:
    if answer["statusCode"] != status:
        raise RuntimeError(f"answered {answer['statusCode']}: {answer['body']}")


def _metered(meter: Meter, what: str, ask: Callable[[], None]) -> Asked:
    meter.reset()
    ask()
    return Asked(what, meter.round_trips(), meter.write_units, meter.read_units)


def render(asked: Mapping[int, Sequence[Asked]]) -> str:
    """The section about growth."""
    sizes = sorted(asked)
    rows = [["round trips / write units / read units", *(f"{size:,} SKUs" for size in sizes)]]
    flat = True
    for index, first in enumerate(asked[sizes[0]]):
        cells = [asked[size][index] for size in sizes]
        flat &= all((each.trips, each.write_units) == (first.trips, first.write_units) for each in cells)
        rows.append([first.what, *(f"{each.trips} / {each.write_units:g} / {each.read_units:g}" for each in cells)])
    return "\n".join(
        [
            "## As the catalogue grows",
            "",
            f"**{'The request path costs the same' if flat else 'The request path grows'}** from {sizes[0]:,} SKUs to "
            f"{sizes[-1]:,}.",
            "",
            "The same requests of one SKU through the real handlers, with so many others really in the table",
            "(MiniStack's DynamoDB in process, each with its search index, the first "
            f"{LISTED:,} with five listings too).",
            "What does grow with the catalogue is the read-back of every listing, four times an hour, and exports.",
            "",
            table(rows),
        ]
    )
