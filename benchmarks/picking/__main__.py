"""``python -m benchmarks.picking`` writes ``results.md`` and ``results.csv``; ``--improve SECONDS`` searches longer for
better totals instead and keeps them in ``best_known.csv``."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "layers" / "common"))

from benchmarks.picking.measure import HERE, improve_known, measure, render, write_data  # noqa: E402
from benchmarks.report import Progress  # noqa: E402


def main() -> None:
    """Measure, or improve what is known."""
    parser = argparse.ArgumentParser("python -m benchmarks.picking", description=__doc__)
    parser.add_argument("--improve", type=float, metavar="SECONDS", help="search so long on every instance not proven")
    parser.add_argument("--seed", type=int, default=2, help="the seed of that search (2)")
    options = parser.parse_args()
    progress = Progress()
    if options.improve is not None:
        improve_known(options.improve, options.seed, progress)
        return
    result = measure(progress)
    made = (
        f"Made by `python -m benchmarks.picking` with Python {platform.python_version()}, one process on "
        f"{os.cpu_count()} cores at a load of {os.getloadavg()[0]:.0f}: seconds are elapsed time, neighbours included."
    )
    (HERE / "results.md").write_text(f"# Picking\n\n{made}\n\n{render(result)}\n", encoding="utf-8")
    write_data(result, HERE / "results.csv")
    progress.say(f"written: {HERE.relative_to(ROOT) / 'results.md'}")


if __name__ == "__main__":
    main()
