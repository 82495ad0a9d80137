"""The conformance suite as a command: what an adapter must do, and whether it does.

    python -m tests.conformance etsy        one channel; ``all`` runs every one
    make conformance CHANNEL=etsy

Every line of the report is a sentence about the channel, with a tick or a cross; the first crosses come with their
reason. ``docs/adding-a-channel.md`` says how a new channel takes part.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from oms.channels.registry import channel_names

SUITE = Path(__file__).parent / "contract" / "test_channel_conformance.py"
MOST_REASONS = 5


class Report:
    """A pytest plugin that keeps what happened by sentence."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.outcomes: dict[str, list[str]] = defaultdict(list)
        self.reasons: list[tuple[str, str]] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Only this channel's cases."""
        items[:] = [item for item in items if self.channel in re.split(r"[\[\]-]", item.name)]

    def pytest_runtest_logreport(self, report: Any) -> None:
        """One case is over, or could not begin."""
        if report.when == "call" or report.outcome != "passed":
            sentence = re.sub(r"\[.*", "", report.nodeid.rpartition("::")[2]).removeprefix("test_").replace("_", " ")
            self.outcomes[sentence].append(report.outcome)
            if report.outcome == "failed":
                self.reasons.append((sentence, str(report.longrepr).strip().splitlines()[-1]))

    def lines(self) -> list[str]:
        """The report."""
        told = [f"{self.channel}"]
        for sentence, outcomes in self.outcomes.items():
            mark = "✗" if "failed" in outcomes else "–" if "passed" not in outcomes else "✓"
            cases = f" ({len(outcomes)} cases)" if len(outcomes) > 1 else ""
            told.append(f"  {mark} {sentence}{cases}")
        for sentence, reason in self.reasons[:MOST_REASONS]:
            told.append(f"    {sentence}: {reason}")
        failed = sum("failed" in outcomes for outcomes in self.outcomes.values())
        told.append(f"  {len(self.outcomes) - failed} of {len(self.outcomes)} kept")
        return told


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("channel", nargs="?", default="all")
    asked = parser.parse_args(arguments)
    wanted = channel_names() if asked.channel == "all" else (asked.channel,)
    failed = False
    for name in wanted:
        if name not in channel_names():
            print(f"There is no channel {name}; there are {', '.join(channel_names())}.", file=sys.stderr)
            return 2
        report = Report(name)
        # Without a terminal pytest knows none of its options, those that the project always gives included.
        options = [str(SUITE), "-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider"]
        failed |= pytest.main(options, plugins=[report]) not in (0, 5)
        print("\n".join(report.lines()), end="\n\n")
        failed |= not report.outcomes
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
