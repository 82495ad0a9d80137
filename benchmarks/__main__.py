"""``make bench``: measure everything and write ``benchmarks/results.md``.

    python -m benchmarks [--quick] [--only SECTION] [--output FILE]

``--quick`` counts little and writes nothing unless a file is named: for working on the benchmarks themselves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from benchmarks import bill, bursts, floor, growth, hot_sku, imports, machine, placing, planning, startup, throughput
from benchmarks.report import Progress

RESULTS = Path(__file__).with_name("results.md")
SECTIONS = ("startup", "placing", "bill", "throughput", "bursts", "hot_sku", "growth", "imports", "planning", "floor")
"""In the order of the report."""


def main() -> int:
    """Run every section, in the order of the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure speed and cost.")
    parser.add_argument("--quick", action="store_true", help="few repetitions; the report goes to the terminal")
    parser.add_argument("--output", type=Path, help=f"where to write the report (benchmarks/{RESULTS.name})")
    parser.add_argument("--only", choices=SECTIONS, help="one section, to the terminal")
    arguments = parser.parse_args()
    only: str | None = arguments.only
    output: Path | None = arguments.output or (None if arguments.quick or only else RESULTS)

    progress = Progress()
    busy = machine.load()
    sections = _sections(progress, quick=arguments.quick)
    written = [sections[name]() for name in ([only] if only else SECTIONS)]
    progress.say("done")

    report = "\n\n".join(
        [
            "# Results",
            f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d at %H:%M} UTC; do not edit. Figures compare\n"
            "within this run only: the reference and ours were measured side by side on one machine:\n"
            f"{machine.describe()}. Load average when it began: {busy}, when it ended: {machine.load()}.",
            *written,
        ]
    )
    if output is None:
        print(report)
    else:
        output.write_text(report + "\n")
        print(f"wrote {output}")
    return 0


def _sections(progress: Progress, *, quick: bool) -> dict[str, Callable[[], str]]:
    """How each section is measured and written; what two of them show is measured once."""
    placed = cache(lambda: placing.measure(progress, orders=50 if quick else 500))
    return {
        "startup": lambda: startup.render(startup.measure(progress, runs=3 if quick else 15)),
        "placing": lambda: placing.render_cost(placed()),
        "bill": lambda: bill.render(bill.measure(progress)),
        "throughput": lambda: throughput.render(
            throughput.measure(progress, orders=20 if quick else 200), placing.render_cpu(placed())
        ),
        "bursts": lambda: bursts.render(bursts.measure(progress, orders=200 if quick else bursts.ORDERS)),
        "hot_sku": lambda: hot_sku.render(hot_sku.measure(progress, units=2_000 if quick else hot_sku.UNITS)),
        "growth": lambda: growth.render(growth.measure(progress, (100, 1_000) if quick else growth.SIZES)),
        "imports": lambda: imports.render(imports.measure(progress, 500 if quick else imports.ROWS)),
        "planning": lambda: planning.render(planning.measure(progress, (100, 1_000) if quick else planning.SIZES)),
        "floor": lambda: floor.render(floor.measure(progress, 6 if quick else floor.ORDERS)),
    }


if __name__ == "__main__":
    sys.exit(main())
