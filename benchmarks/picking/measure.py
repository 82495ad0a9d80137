"""Total distance by batching method and by routing policy, with times, gaps and proofs."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.picking.instances import UNIT, Case, cases, open_shipments
from benchmarks.report import Progress, table
from oms.fulfillment.picking import exact
from oms.fulfillment.picking.batching import EXACT_ORDERS, METHODS, WINDOW, Effort, bare, solve
from oms.fulfillment.picking.routing import OPTIMAL, POLICIES, Meter

HERE = Path(__file__).parent
BEST_KNOWN = HERE / "best_known.csv"
SECONDS = 4.0
AIM_SMALL, AIM_LARGE, AIM_SECONDS = 0.02, 0.08, 5.0
_OTHERS = ("single", "fcfs", "seed", "savings")


@dataclass(frozen=True, slots=True)
class Known:
    """The shortest total that any run has found, whether it is proven to be the least, and what none can undercut."""

    total: int
    proven: bool
    bound: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One instance: totals and seconds by method, totals of our batches by routing policy."""

    case: Case
    totals: Mapping[str, int]
    seconds: Mapping[str, float]
    policies: Mapping[str, int]
    proven: bool
    known: Known

    @property
    def gap(self) -> float:
        """Of ours above the best known."""
        return self.totals["best"] / self.known.total - 1

    def saved(self, other: str) -> float:
        """What ours walks less than another method, as a share of that."""
        return 1 - self.totals["best"] / self.totals[other]


@dataclass(frozen=True, slots=True)
class Planned:
    """How long it takes to plan so many open shipments by a method."""

    shipments: int
    method: str
    seconds: float
    walks: int
    total: int


@dataclass(frozen=True, slots=True)
class Result:
    rows: Sequence[Row]
    planned: Sequence[Planned]


def measure(progress: Progress) -> Result:
    """Run every method on every instance once."""
    known = read_known()
    rows: list[Row] = []
    chosen = list(cases())
    for number, case in enumerate(chosen):
        progress.step("picking", number, len(chosen))
        rows.append(_row(case, known.get(case.name)))
    progress.say("picking: planning time")
    return Result(rows, [_planned(count, method) for count in (100, 1_000, 10_000) for method in ("fcfs", "best")])


def _row(case: Case, known: Known | None) -> Row:
    instance = case.instance()
    totals: dict[str, int] = {}
    seconds: dict[str, float] = {}
    policies: dict[str, int] = {}
    proven = False
    for method in METHODS:
        began = time.perf_counter()
        solution = solve(instance, method, effort=Effort(SECONDS))
        seconds[method] = time.perf_counter() - began
        totals[method] = solution.total
        if method == "best":
            proven = solution.proven
            spots = [[pick.spot for order in batch.orders for pick in order.picks] for batch in solution.batches]
            for name, policy in POLICIES.items():
                policies[name] = sum(policy.route(instance.layout, each).length for each in spots)
    best = Known(totals["best"], proven)
    if known is not None and known.total <= best.total:
        best = Known(known.total, known.proven or proven, known.bound)
    elif known is not None:
        best = Known(best.total, proven, known.bound)
    return Row(case, totals, seconds, policies, proven, best)


def _planned(count: int, method: str) -> Planned:
    instance = open_shipments(count)
    began = time.perf_counter()
    # No searching beyond what the simple methods find: this asks how the effort grows.
    solution = solve(instance, method, effort=Effort(0.0))
    return Planned(count, method, time.perf_counter() - began, len(solution.batches), solution.total)


# ---- the best known ------------------------------------------------------------------------------------------------


def read_known() -> dict[str, Known]:
    """The best totals of earlier and longer runs, by instance."""
    if not BEST_KNOWN.exists():
        return {}
    with BEST_KNOWN.open(newline="", encoding="utf-8") as file:
        return {
            row["instance"]: Known(
                int(row["total"]), row["proven"] == "yes", int(row["bound"]) if row.get("bound") else None
            )
            for row in csv.DictReader(file)
        }


def improve_known(seconds: float, seed: int, progress: Progress) -> None:
    """Search so long on every instance that is not proven; write down what is better, and a bound if one is found."""
    known = read_known()
    for case in cases():
        before = known.get(case.name)
        if before is not None and before.proven:
            continue
        instance = case.instance()
        solution = solve(instance, effort=Effort(seconds, seed=seed))
        total = solution.total if before is None else min(before.total, solution.total)
        bound = before.bound if before is not None else None
        if bound is None and not solution.proven:
            problem = bare(instance, instance.orders, Meter(instance.layout, OPTIMAL))
            bound = exact.lower_bound(problem, time.monotonic() + 3 * seconds, time.monotonic)
        known[case.name] = Known(total, solution.proven or total == bound, bound)
        write_known(known)
        progress.say(f"{case.name}: {before.total if before else '–'} → {known[case.name].total}")


def write_known(known: Mapping[str, Known]) -> None:
    """Keep the best totals, in half cells."""
    with BEST_KNOWN.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["instance", "total", "proven", "bound"])
        for name, each in known.items():
            writer.writerow([name, each.total, "yes" if each.proven else "no", each.bound])


# ---- showing -------------------------------------------------------------------------------------------------------


def write_data(result: Result, path: Path) -> None:
    """Every figure as CSV; lengths in cells."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        head = ["orders", "cells", "capacity", "storage", *METHODS, *(f"{method}_seconds" for method in METHODS)]
        writer.writerow([*head, *(f"best_routed_{policy}" for policy in POLICIES), "best_known", "proven", "bound"])
        for row in result.rows:
            case = row.case
            totals = [row.totals[method] / UNIT for method in METHODS]
            seconds = [f"{row.seconds[method]:.3f}" for method in METHODS]
            routed = [row.policies[policy] / UNIT for policy in POLICIES]
            bound = row.known.bound / UNIT if row.known.bound else None
            told = [row.known.total / UNIT, "yes" if row.known.proven else "no", bound]
            writer.writerow([case.orders, case.cells, case.capacity, case.storage, *totals, *seconds, *routed, *told])


def render(result: Result) -> str:
    """The section of the report."""
    small = [row for row in result.rows if row.case.small]
    large = [row for row in result.rows if not row.case.small]
    worse = sum(row.totals["best"] > row.totals["savings"] for row in result.rows)
    longest = max(row.seconds["best"] for row in result.rows)
    return "\n".join(
        [
            "## Picking: distance walked",
            "",
            f"**At most {_most(small)} above the best known total with 20 orders** (aim: {AIM_SMALL:.0%}: "
            f"{_verdict(all(row.gap <= AIM_SMALL for row in small))}), **{_most(large)} with 60 and 100** (aim: "
            f"{AIM_LARGE:.0%}: {_verdict(all(row.gap <= AIM_LARGE for row in large))}), **in at most {longest:.1f} s** "
            f"(aim: {AIM_SECONDS:.0f} s: {_verdict(longest <= AIM_SECONDS)}); worse than savings on {worse} of "
            f"{len(result.rows)} instances.",
            f"With 20 orders {sum(row.proven for row in small)} of {len(small)} totals are proven to be the least of",
            f"all in the same time, and {sum(row.known.proven for row in small)} in longer runs.",
            "",
            "Ten aisles, orders of 5 to 25 items, optimal routes, one run each with seed 1; lengths in cells. *Best*",
            f"is our method with {SECONDS:.0f} s; up to {EXACT_ORDERS} orders it attempts a proof. *Savings* is Clarke",
            "and Wright's with savings worked out anew. *Best known* is the shortest total of any run, longer ones",
            "included (`best_known.csv`); **bold** is proven to be the least. Nobody else has solved these instances:",
            "where it is not bold, the gap says what longer searching gains, and the least total lies between *bound*",
            "(where there is one: the linear relaxation over all groups that fit) and *best known*.",
            "",
            table(_totals(result.rows)),
            "",
            "Walking saved by *best*, means (and range):",
            "",
            table(_saved(result.rows)),
            "",
            "The batches of *best* walked by simpler policies, above the optimal routes:",
            "",
            table(_routed(result.rows)),
            "",
            "Planning open shipments (1 to 4 units, capacity 30, storage by class): `fcfs`, and `best` without time",
            f"for searching, which is the best of the simple methods in windows of {WINDOW}:",
            "",
            table(_plans(result.planned)),
        ]
    )


def _totals(rows: Sequence[Row]) -> list[list[str]]:
    head = ["orders × cells, storage, capacity", *_OTHERS, "best", "best known", "bound", "gap", "time"]
    shown = [head]
    for row in rows:
        case, known = row.case, f"{row.known.total / UNIT:.0f}"
        name = f"{case.orders} × {case.cells}, {case.storage}, {case.capacity}"
        totals = [f"{row.totals[method] / UNIT:.0f}" for method in (*_OTHERS, "best")]
        told = f"**{known}**" if row.known.proven else known
        least = None if row.known.proven else row.known.bound
        bound = "" if least is None else f"{least / UNIT:.0f}"
        shown.append([name, *totals, told, bound, f"{row.gap:.1%}", f"{row.seconds['best']:.1f} s"])
    return shown


def _saved(rows: Sequence[Row]) -> list[list[str]]:
    shown = [["orders", *(f"against {method}" for method in _OTHERS)]]
    for orders in sorted({row.case.orders for row in rows}):
        shares = {method: [row.saved(method) for row in rows if row.case.orders == orders] for method in _OTHERS}
        shown.append(
            [str(orders)]
            + [f"{statistics.mean(each):.1%} ({min(each):.1%} to {max(each):.1%})" for each in shares.values()]
        )
    return shown


def _routed(rows: Sequence[Row]) -> list[list[str]]:
    shown = [["policy", "uniform", "by class"]]
    for policy in POLICIES:
        means = []
        for storage in ("uniform", "abc"):
            of_kind = [row.policies for row in rows if row.case.storage == storage]
            means.append(statistics.mean(lengths[policy] / lengths["optimal"] - 1 for lengths in of_kind))
        shown.append([policy, *(f"{mean:.1%}" for mean in means)])
    return shown


def _plans(planned: Sequence[Planned]) -> list[list[str]]:
    shown = [["shipments, method", "time", "walks", "length"]]
    for plan in planned:
        name = f"{plan.shipments:,}, {plan.method}"
        shown.append([name, f"{plan.seconds:.2f} s", f"{plan.walks:,}", f"{plan.total / UNIT:,.0f}"])
    return shown


def _most(rows: Sequence[Row]) -> str:
    return f"{max(row.gap for row in rows):.1%}"


def _verdict(met: bool) -> str:
    return "met" if met else "missed"
