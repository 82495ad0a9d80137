"""Stories in which no promise is broken, and each of them told the same way twice.

``SIMULATION_SEEDS`` runs more or fewer than sixty, which take some four minutes on two cores; ``make simulate SEEDS=…``
runs as many as there is time for.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.__main__ import digest_elsewhere, replay, run, run_many
from tests.simulation.faults import KINDS
from tests.simulation.world import World

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "60"))

REGRESSIONS = {
    2: "our own intent stayed payable when money came by another one; a bought label was not given back",
    45: "an unreadable message made its whole batch fail",
    83: "a marketplace's sale whose callback was lost was never found",
    95: "two workers told a marketplace of one parcel at once",
    118: "a marketplace that refuses a shipment's confirmation was told of it for ever",
}
"""Seeds that once showed a defect, and which."""


def test_no_promise_is_broken_in_any_seed() -> None:
    report = run_many(range(1, SEEDS + 1), processes=2, on_result=lambda result: None)
    assert not report.violations, "\n".join(f"{what}\n  {replay(seed)}" for seed, what in report.violations)
    struck = {kind for kind, _ in report.struck}
    assert len(struck) >= 25, f"only {sorted(struck)} struck"
    assert report.orders["completed"] > SEEDS / 2, "the stories hardly sell anything"


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_a_seed_that_once_showed_a_defect_shows_none(seed: int) -> None:
    assert run(seed).violation == "", REGRESSIONS[seed]


def test_a_seed_is_the_same_story_in_another_process_and_with_other_hashes() -> None:
    here = run(7)
    assert {digest_elsewhere(7, "0"), digest_elsewhere(7, "4242")} == {here.digest}


def test_two_seeds_are_two_stories() -> None:
    assert run(7).digest != run(8).digest


def test_without_faults_nothing_is_struck() -> None:
    result = World(3, faults=False).run()
    assert not result.violation
    assert not result.struck


def test_a_trace_names_every_call_with_its_caller_and_what_it_touched() -> None:
    text = World(7, keep_trace=True).run().trace
    assert "→ dynamodb.TransactWriteItems 200" in text
    assert "OrdersTable/ORDER#" in text
    assert any(f"⚡ {kind}" in text for kind in KINDS)
