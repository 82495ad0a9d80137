"""How long a function takes from a fresh interpreter to its first AWS client, beside the least that boto3 allows."""

from __future__ import annotations

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.report import Progress, table
from local.build import ROOT

STATE = ROOT / "local" / ".state"
REFERENCE = 'import boto3; boto3.client("dynamodb")'
# What a function does first with AWS, after its entry module has been imported.
FIRST_CLIENT = "from oms.bootstrap import app; app().orders"
AIM = 0.75
_AWS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "ORDERS_TABLE": "orders",
    "INVENTORY_TABLE": "inventory",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One program to start: its code, and the directories it finds its modules in."""

    name: str
    code: str
    path: tuple[Path, ...] = ()


@dataclass(slots=True)
class Timing:
    """Seconds of every run of one case."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Import:
    """A package and what importing it cost, with everything that it was the first to import."""

    name: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """Medians in milliseconds by case, and what dominates the start of ``place_order/api``."""

    runs: int
    cpu: Mapping[str, float]
    wall: Mapping[str, float]
    imports: Sequence[Import]
    functions: Sequence[str]

    def ratio(self, name: str) -> float:
        """Start-up beyond bare Python, against the reference's."""
        bare = self.cpu["bare"]
        return (self.cpu[name] - bare) / (self.cpu["reference"] - bare)


def build_layer() -> Path:
    """The layer as it is shipped, built for this interpreter: trimmed and compiled."""
    destination = STATE / "benchmarks" / "layer"
    shutil.rmtree(destination, ignore_errors=True)
    builder = ROOT / "layers" / "common" / "build_layer.py"
    subprocess.run(
        [sys.executable, str(builder), str(destination), "--target", "local"],
        check=True,
        env={**os.environ, "OMS_LAYER_CACHE": str(STATE / "libraries")},
    )
    return destination / "python"


def entry_points() -> list[Path]:
    """Every Lambda entry, by file."""
    return sorted(path for path in (ROOT / "functions").glob("*/*.py"))


def measure(progress: Progress, runs: int = 15) -> Result:
    """Start every case ``runs`` times, in turn, so that whatever slows the machine slows all of them alike."""
    layer = build_layer()
    with tempfile.TemporaryDirectory() as folder:
        cases = [Case("bare", "pass"), Case("reference", REFERENCE, (Path(sysconfig.get_path("purelib")),))]
        cases.append(Case("boto3 of the layer", REFERENCE, (layer,)))
        functions = []
        for entry in entry_points():
            # As in Lambda: sources only, in a place where nothing can be compiled beside them.
            home = Path(folder) / entry.parent.name
            home.mkdir(exist_ok=True)
            shutil.copy(entry, home)
            functions.append(f"{entry.parent.name}/{entry.stem}")
            cases.append(Case(functions[-1], f"import {entry.stem}; {FIRST_CLIENT}", (layer, home)))
        timings = compare(cases, runs, progress)
        imports = slowest_imports(next(case for case in cases if case.name == "place_order/api"))
    return Result(
        runs,
        {name: 1000 * statistics.median(timing.cpu) for name, timing in timings.items()},
        {name: 1000 * statistics.median(timing.wall) for name, timing in timings.items()},
        imports,
        functions,
    )


def compare(cases: Sequence[Case], runs: int, progress: Progress) -> dict[str, Timing]:
    """Time the cases in alternation, after one run each that warms the file cache."""
    timings = {case.name: Timing() for case in cases}
    for case in cases:
        _start(case, compile_beside=case.name == "reference")
    for number in range(runs):
        progress.step("start-up", number, runs)
        for case in cases:
            cpu, wall = _start(case)
            timings[case.name].cpu.append(cpu)
            timings[case.name].wall.append(wall)
    return timings


def _start(case: Case, *, compile_beside: bool = False) -> tuple[float, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run([*_command(), "-c", case.code], check=True, env=_environment(case, compile_beside), cwd="/")
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall


def _command(*options: str) -> list[str]:
    # Without ``site``: nothing of the development environment is looked at unless a case names it.
    return [sys.executable, "-S", *options]


def _environment(case: Case, compile_beside: bool = False) -> dict[str, str]:
    environment = {**_AWS, "PATH": os.defpath, "PYTHONPATH": os.pathsep.join(str(each) for each in case.path)}
    return environment if compile_beside else {**environment, "PYTHONDONTWRITEBYTECODE": "1"}


_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| ( *)([\w.]+)$")


def slowest_imports(case: Case, count: int = 12) -> list[Import]:
    """The packages that cost most, each with all that it was the first to import; medians of five runs."""
    seen: dict[str, list[float]] = {}
    for _ in range(5):
        done = subprocess.run(
            [*_command("-X", "importtime"), "-c", case.code],
            check=True,
            env=_environment(case),
            cwd="/",
            capture_output=True,
            text=True,
        )
        for name, cost in own_costs(done.stderr).items():
            seen.setdefault(name, []).append(cost)
    medians = [Import(name, statistics.median(costs)) for name, costs in seen.items()]
    return sorted(medians, key=lambda each: -each.milliseconds)[:count]


def own_costs(report: str) -> dict[str, float]:
    """Milliseconds by top-level package (two levels for ours) from the report of ``-X importtime``: self times only,
    so that they add up."""
    costs: dict[str, float] = {}
    for line in report.splitlines():
        match = _LINE.match(line)
        if match:
            parts = match.group(4).split(".")
            name = ".".join(parts[:2]) if parts[0] in {"oms", "botocore"} else parts[0]
            name = name if parts[0] not in sys.stdlib_module_names else "the standard library"
            costs[name] = costs.get(name, 0.0) + int(match.group(1)) / 1000
    return costs


def render(result: Result) -> str:
    """The section of the report."""
    rows = [["program", "CPU", "elapsed", "beyond bare Python", "ratio"]]
    for name in ("bare", "reference", "boto3 of the layer", *result.functions):
        beyond = result.cpu[name] - result.cpu["bare"]
        ratio = "–" if name == "bare" else f"{result.ratio(name):.2f}"
        rows.append([name, f"{result.cpu[name]:.0f} ms", f"{result.wall[name]:.0f} ms", f"{beyond:.0f} ms", ratio])
    costs = [["imported by place_order/api", "milliseconds"]]
    costs += [[each.name, f"{each.milliseconds:.1f}"] for each in result.imports]
    place = result.ratio("place_order/api")
    verdict = "met" if place <= AIM else "missed"
    return "\n".join(
        [
            "## Start-up of each function",
            "",
            f"**place_order/api: {place:.2f}** of the reference, beyond bare Python (aim: at most {AIM}: {verdict}).",
            "",
            f"A new interpreter imports the entry module and makes the first AWS client; {result.runs} runs of each",
            "program in alternation, medians. Our functions run on the layer as it is shipped (trimmed botocore,",
            "compiled files; the entry module itself is compiled at every start, as in Lambda). *reference* is",
            f"`{REFERENCE}` on an ordinary, untrimmed install that a first run has compiled.",
            "CPU is user and system time of the process, which neighbours on the machine disturb least; the ratios are",
            "made of it.",
            "",
            table(rows),
            "",
            "What the start of place_order/api is spent on (`-X importtime`, self times summed by package, medians of",
            "5 runs; importtime itself makes everything slower, so compare them with one another):",
            "",
            table(costs),
        ]
    )
