"""``make conformance``: what an author of a channel reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def conformance(channel: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "layers" / "common")}
    command = [sys.executable, "-m", "tests.conformance", channel]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_report_says_sentence_by_sentence_what_is_kept() -> None:
    told = conformance("webhook")
    assert told.returncode == 0, told.stdout + told.stderr
    lines = told.stdout.splitlines()
    assert lines[0] == "webhook"
    assert sum(line.startswith("  ✓ ") for line in lines) > 20
    assert not [line for line in lines if line.startswith("  ✗ ")]


def test_a_channel_that_does_not_exist_is_named_with_those_that_do() -> None:
    told = conformance("amazonn")
    assert (told.returncode, told.stdout) == (2, "")
    assert "There is no channel amazonn; there are etsy, ebay," in told.stderr
