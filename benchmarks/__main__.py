"""``make bench``: measure everything and write ``benchmarks/results.md``.

    python -m benchmarks [--quick] [--output FILE]

``--quick`` counts little and writes nothing unless a file is named: for working on the benchmarks themselves.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import bill, bursts, hot_sku, machine, placing, planning, startup, throughput
from benchmarks.report import Progress

RESULTS = Path(__file__).with_name("results.md")


def main() -> int:
    """Run every section, in the order of the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure speed and cost.")
    parser.add_argument("--quick", action="store_true", help="few repetitions; the report goes to the terminal")
    parser.add_argument("--output", type=Path, help=f"where to write the report (benchmarks/{RESULTS.name})")
    arguments = parser.parse_args()
    quick: bool = arguments.quick
    output: Path | None = arguments.output or (None if quick else RESULTS)

    progress = Progress()
    busy = machine.load()
    started = startup.measure(progress, runs=3 if quick else 15)
    placed = placing.measure(progress, orders=50 if quick else 500)
    whole = bill.measure(progress)
    rate = throughput.measure(progress, orders=20 if quick else 200)
    burst = bursts.measure(progress, orders=200 if quick else bursts.ORDERS)
    hot = hot_sku.measure(progress, units=2_000 if quick else hot_sku.UNITS)
    planned = planning.measure(progress, (100, 1_000) if quick else planning.SIZES)
    progress.say("done")

    report = "\n\n".join(
        [
            "# Results",
            f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d at %H:%M} UTC; do not edit. Figures compare\n"
            "within this run only: the reference and ours were measured side by side on one machine:\n"
            f"{machine.describe()}. Load average when it began: {busy}, when it ended: {machine.load()}.",
            startup.render(started),
            placing.render_cost(placed),
            bill.render(whole),
            throughput.render(rate, placing.render_cpu(placed)),
            bursts.render(burst),
            hot_sku.render(hot),
            planning.render(planned),
        ]
    )
    if output is None:
        print(report)
    else:
        output.write_text(report + "\n")
        print(f"wrote {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
