"""``python -m oms.fulfillment.picking INSTANCE.json`` prints batches, routes and the total as JSON.

Exit codes: 0 done, 2 the instance or the arguments are wrong (the reason is on stderr). ``-`` reads standard input.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from oms.fulfillment.picking.batching import METHODS, Effort, solve
from oms.fulfillment.picking.instance import InstanceInvalid, read, solution_view
from oms.fulfillment.picking.routing import POLICIES


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, solve, print."""
    options = _parser().parse_args(arguments)
    try:
        text = sys.stdin.read() if options.instance == "-" else Path(options.instance).read_text(encoding="utf-8")
        reading = read(text)
    except OSError as error:
        return _refused(options.instance, error.strerror or str(error))
    except UnicodeDecodeError:
        return _refused(options.instance, "is not UTF-8 text")
    except InstanceInvalid as error:
        return _refused(options.instance, str(error))
    effort = Effort(options.seconds, options.rounds, options.seed)
    solution = solve(reading.instance, options.method, POLICIES[options.policy], effort)
    print(json.dumps(solution_view(reading, solution, options.method, options.policy), indent=1))
    return 0


def _refused(name: str, reason: str) -> int:
    print(f"{name}: {reason}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m oms.fulfillment.picking", description="Batches orders and routes pickers."
    )
    parser.add_argument("instance", help="a JSON file (docs/picking.md), or - for standard input")
    parser.add_argument("--policy", choices=list(POLICIES), default="optimal", help="how pickers walk")
    parser.add_argument("--method", choices=list(METHODS), default="best", help="how orders are batched")
    parser.add_argument("--seconds", type=_seconds, default=4.0, help="how long best may search (4)")
    parser.add_argument("--rounds", type=_rounds, help="at most so many rounds of searching: repeatable everywhere")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the search (1)")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError
    return seconds


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < 1:
        raise ValueError
    return rounds


if __name__ == "__main__":
    sys.exit(main())
