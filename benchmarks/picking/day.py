"""``python -m benchmarks.picking.day ONLINE_RETAIL.csv.gz`` plans the picking of one real day and writes what walking
together saves: ``day.md`` and ``day.png``.

The day is the one with the median number of invoices. What sells most lies nearest to the depot, as a warehouse would
slot it; a cart takes so many order lines, and each line is one stop.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "layers" / "common"))

from benchmarks.picking.measure import HERE  # noqa: E402
from benchmarks.report import Progress, table  # noqa: E402
from oms.fulfillment.picking.batching import Effort, Instance, Pick, PickOrder, solve  # noqa: E402
from oms.fulfillment.picking.layout import Layout, Spot  # noqa: E402

BLOCK = Layout(20, 45, 500, 100, 100, 100, 150)
LEVELS = 4
"""Bins above one another in a cell."""
CART = 60
METHODS = {
    "single": "one by one",
    "fcfs": "as they came",
    "savings": "savings",
    "best": "ours",
}


@dataclass(frozen=True, slots=True)
class Day:
    """One day's orders: stock codes by invoice, in the order of their coming, and where each code lies."""

    date: str
    invoices: Mapping[str, tuple[str, ...]]
    places: Mapping[str, Spot]

    def instance(self) -> Instance:
        """The orders that fit a cart, and larger ones in cartfuls."""
        orders: list[PickOrder] = []
        for invoice, codes in self.invoices.items():
            for part, first in enumerate(range(0, len(codes), CART)):
                spots = [self.places[code] for code in codes[first : first + CART]]
                orders.append(PickOrder(f"{invoice}.{part + 1}", tuple(Pick(spot) for spot in spots)))
        return Instance(BLOCK, CART, tuple(orders))


def read(path: Path) -> Day:
    """The median day of the file."""
    days: dict[str, dict[str, dict[str, None]]] = {}
    sold: Counter[str] = Counter()
    with gzip.open(path, "rt", newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            code = row["StockCode"].strip().upper()
            if int(row["Quantity"]) < 1 or row["InvoiceNo"].startswith("C") or not any(map(str.isdigit, code)):
                continue
            sold[code] += 1
            days.setdefault(row["InvoiceDate"][:10], {}).setdefault(row["InvoiceNo"], {})[code] = None
    ordered = sorted(days, key=lambda date: (len(days[date]), date))
    date = ordered[len(ordered) // 2]
    spots = sorted(
        (Spot(aisle, cell) for aisle in range(BLOCK.aisles) for cell in range(BLOCK.cells)),
        key=lambda spot: (spot.aisle * BLOCK.aisle_spacing + BLOCK.depth(spot.cell), spot),
    )
    places = {code: spots[min(rank // LEVELS, len(spots) - 1)] for rank, (code, _) in enumerate(sold.most_common())}
    return Day(date, {invoice: tuple(codes) for invoice, codes in days[date].items()}, places)


def main() -> None:
    """Plan the day by each method, and write what came of it."""
    parser = argparse.ArgumentParser("python -m benchmarks.picking.day", description=__doc__)
    parser.add_argument("orders", type=Path, help="the Online Retail file (UCI, CC BY 4.0), gzipped CSV")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long ours may search (20)")
    options = parser.parse_args()
    progress = Progress()
    day = read(options.orders)
    instance = day.instance()
    metres: dict[str, float] = {}
    walks: dict[str, int] = {}
    for method, name in METHODS.items():
        progress.say(f"{day.date}: {len(instance.orders)} cartfuls, {name}")
        solution = solve(instance, method, effort=Effort(options.seconds))
        metres[method], walks[method] = solution.total / 100, len(solution.batches)
    rows = [["method", "walks", "way", "saved"]]
    for method, name in METHODS.items():
        saved = 1 - metres[method] / metres["single"]
        rows.append([name, f"{walks[method]:,}", f"{metres[method] / 1000:,.2f} km", f"{saved:.0%}"])
    stops = sum(len(codes) for codes in day.invoices.values())
    text = (
        "# One day of the Online Retail data\n\n"
        f"Made by `python -m benchmarks.picking.day` from the public file (UCI, CC BY 4.0): {day.date}, the day with\n"
        f"the median number of invoices, {len(day.invoices)} of them with {stops:,} lines. One block of "
        f"{BLOCK.aisles} aisles and {BLOCK.cells} cells,\nwhat sells most nearest to the depot, carts of {CART} lines, "
        f"{options.seconds:.0f} s of searching on {os.cpu_count()} cores shared with others.\n\n"
        f"{table(rows)}\n\n![metres walked by method](day.png)\n"
    )
    (HERE / "day.md").write_text(text, encoding="utf-8")
    draw(day, metres, HERE / "day.png")
    progress.say(f"written: {(HERE / 'day.md').relative_to(ROOT)}")


def draw(day: Day, metres: Mapping[str, float], path: Path) -> None:
    """Bars by method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [METHODS[method] for method in metres]
    kilometres = [length / 1000 for length in metres.values()]
    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), dpi=110)
    bars = axes.barh(names[::-1], kilometres[::-1], color=["#1f6f54", "#b8b8b8", "#b8b8b8", "#8a8a8a"], height=0.62)
    for bar, length in zip(bars, kilometres[::-1], strict=True):
        saved = 1 - length / kilometres[0]
        told = f"{length:.1f} km" + (f"  −{saved:.0%}" if saved > 0.005 else "")
        axes.text(bar.get_width() + kilometres[0] * 0.01, bar.get_y() + bar.get_height() / 2, told, va="center")
    axes.set_xlim(0, kilometres[0] * 1.22)
    axes.set_title(f"Kilometres walked for the {len(day.invoices)} orders of {day.date}", loc="left", fontsize=11)
    axes.set_xticks([])
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
