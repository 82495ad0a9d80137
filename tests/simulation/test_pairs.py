"""Every order of calls of the handlers that meet, and a fault at each of them.

``SIMULATION_PAIRS=full`` searches every fault under every interleaving, which takes long.
"""

from __future__ import annotations

import os

from tests.simulation.backend import Call
from tests.simulation.pairs import PAIRS, Pair, Scene, conflict, interleavings, invoke, place, play, search_all


def test_no_meeting_of_two_handlers_breaks_a_promise() -> None:
    full = os.environ.get("SIMULATION_PAIRS") == "full"
    findings = list(search_all([pair.name for pair in PAIRS], processes=2, full=full))
    violations = [violation for finding in findings for violation in finding.violations]
    assert not violations, "\n".join(violations[:20])
    assert len(findings) == len(PAIRS)
    assert all(finding.schedules > 1 for finding in findings)
    assert sum(finding.faults for finding in findings) > 1000


def test_every_order_of_two_writes_to_one_item_is_walked() -> None:
    pair = Pair("two sales", lambda scene: scene.stock(2), (place("one"), place("two")), lambda scene: True)
    firsts = set()
    for _, run in interleavings(pair):
        assert run.violation == ""
        calls = ((point.chosen, point.options[point.chosen]) for point in run.points)
        firsts.add(next(who for who, call in calls if call is not None and call.mutates))
    # Whose read comes first makes no difference, so not every order of those is walked; of the writes it is.
    assert firsts == {0, 1}


def test_a_schedule_is_followed_to_the_letter() -> None:
    pair = PAIRS[0]
    assert [point.chosen for point in play(pair, [1, 0, 1, 0]).points][:4] == [1, 0, 1, 0]


def test_calls_on_different_items_commute_and_a_write_and_a_read_of_one_item_do_not() -> None:
    def call(operation: str, key: str, mutates: bool) -> Call:
        data = {"TableName": "T", "Key": {"pk": {"S": key}, "sk": {"S": "x"}}}
        return Call("dynamodb", operation, "somebody", data, mutates)

    assert not conflict(call("UpdateItem", "a", True), call("UpdateItem", "b", True))
    assert conflict(call("UpdateItem", "a", True), call("GetItem", "a", False))
    assert not conflict(call("GetItem", "a", False), call("GetItem", "a", False))


def test_a_broken_outcome_is_reported() -> None:
    def setting(scene: Scene) -> None:
        scene.stock(1)

    pair = Pair("impossible", setting, (invoke("place_order/sweep", {}), place("one")), lambda scene: False)
    assert "outcome" in play(pair).violation
