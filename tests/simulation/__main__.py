"""``python -m tests.simulation``: many seeds with a report, or one seed with its readable trace."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.simulation.faults import DELIVERY, KINDS, matrix
from tests.simulation.template import ROOT
from tests.simulation.world import Result, World

BEGIN = 1
UNMODELLED = (
    "AWS's own implementation: DynamoDB and SQS are MiniStack's, Step Functions and the reading of roles are ours",
    "API Gateway, authorizers and throttling; Cognito; CloudWatch; more than one region",
    "what Stripe, Etsy, eBay and EasyPost do beyond their published contracts",
    "faults inside one process between two calls other than its death",
)


@dataclass(slots=True)
class Report:
    """What many runs showed together."""

    seeds: int = 0
    steps: int = 0
    calls: int = 0
    looks: int = 0
    virtual_seconds: float = 0.0
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    tally: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[int, str]] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one run in."""
        self.seeds += 1
        self.steps += result.steps
        self.calls += result.calls
        self.looks += result.looks
        self.virtual_seconds += result.virtual_seconds
        self.struck.update(result.struck)
        self.seen.update(result.seen)
        self.tally.update(result.tally)
        self.orders.update(result.orders)
        if result.violation:
            self.violations.append((result.seed, result.violation))

    def text(self) -> str:
        """The report as people read it."""
        faults = sum(self.struck.values())
        never = [name for name in (*KINDS, *DELIVERY) if not any(kind == name for kind, _ in self.struck)]
        lines = [
            matrix(self.struck),
            "",
            f"seeds {self.seeds}   steps {self.steps:,}   AWS calls {self.calls:,}   states checked {self.looks:,}",
            f"faults {faults:,} of {len({kind for kind, _ in self.struck})} kinds at "
            f"{len({site for _, site in self.struck})} of {len(self.seen)} sites",
            f"virtual time {self.virtual_seconds / 86_400:,.1f} days",
            "story  " + ", ".join(f"{name} {count}" for name, count in sorted(self.tally.items())),
            "orders " + ", ".join(f"{name} {count}" for name, count in sorted(self.orders.items())),
        ]
        if never:
            lines.append("kinds that never struck: " + ", ".join(never))
        lines += [f"not modelled: {what}" for what in UNMODELLED]
        if self.violations:
            lines += [f"VIOLATION seed {seed}: {what}\n  {replay(seed)}" for seed, what in self.violations]
        else:
            bound = 300.0 / max(1, self.seeds)
            lines.append(f"violations 0: with 95 % confidence fewer than {bound:.3g} % of seeds would show one")
        return "\n".join(lines)


def replay(seed: int) -> str:
    """The command that shows a seed again."""
    return f"make simulate SEED={seed}"


def run(seed: int) -> Result:
    """One seed, without its text."""
    return World(seed).run()


def run_many(seeds: Iterable[int], processes: int, on_result: Callable[[Result], None]) -> Report:
    """Run seeds, in several processes if that is wanted."""
    report = Report()

    def take(results: Iterator[Result]) -> None:
        for result in results:
            report.add(result)
            on_result(result)

    if processes <= 1:
        take(map(run, seeds))
        return report
    with get_context("fork").Pool(processes, initializer=_quiet) as pool:
        take(pool.imap_unordered(run, seeds, chunksize=4))
    return report


def _quiet() -> None:
    warnings.filterwarnings("ignore")


def _show(seed: int) -> int:
    result = World(seed, keep_trace=True).run()
    print(result.trace)
    told = ", ".join(f"{name} {count}" for name, count in sorted(result.tally.items()))
    print(
        f"\nseed {seed}: {result.steps} steps, {result.calls} AWS calls, {result.virtual_seconds:.0f} virtual seconds"
    )
    print(told)
    print(f"trace {result.digest}")
    print(f"VIOLATION {result.violation}" if result.violation else "every promise held")
    return 1 if result.violation else 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many seeds to run; without it, one seed is shown step by step")
    parser.add_argument("--seed", type=int, default=BEGIN, help="the first seed, or the one to show")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--digest", action="store_true", help="print only the trace's hash")
    options = parser.parse_args()
    _quiet()
    if options.digest:
        print(run(options.seed).digest)
        return 0
    if options.seeds is None:
        return _show(options.seed)
    started, shown = time.perf_counter(), 0.0

    def progress(result: Result) -> None:
        nonlocal shown
        if result.violation:
            print(f"VIOLATION seed {result.seed}: {result.violation}\n  {replay(result.seed)}", flush=True)
        now = time.perf_counter()
        if now - shown > 5:
            shown = now
            print(f"… seed {result.seed}, {now - started:.0f} s", file=sys.stderr, flush=True)

    report = run_many(range(options.seed, options.seed + options.seeds), options.processes, progress)
    print(report.text())
    print(f"{report.seeds / (time.perf_counter() - started):.1f} seeds a second in {options.processes} processes")
    return 1 if report.violations else 0


def digest_elsewhere(seed: int, hash_seed: str) -> str:
    """A seed's trace hash from a fresh process with another ``PYTHONHASHSEED``."""
    path = os.pathsep.join([str(ROOT / "layers" / "common"), str(ROOT)])
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    command = [sys.executable, "-W", "ignore", "-m", "tests.simulation", "--seed", str(seed), "--digest"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
