"""The workflow's definition, walked: every state is entered and every way out of it taken, each of its catches too."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.simulation.template import load
from tests.simulation.test_engine import FUNCTION, Bench, engine
from tests.simulation.workflow import Workflows

DEFINITION: Mapping[str, Any] = load().machine
PICK_PACK_SHIP = DEFINITION["States"]["Parcels"]["ItemProcessor"]
MOST_TRANSITIONS = 6
"""What the plain order may cost."""

Edge = tuple[str, str]


class OrderHeld(Exception):
    pass


class RunSuperseded(Exception):
    pass


class ParcelClosed(Exception):
    pass


class CarrierUnavailable(Exception):
    pass


class Broken(Exception):
    """What nobody foresaw."""


@dataclass
class Steps:
    """The function behind the workflow: what each step meets before it works, and people who do tasks."""

    meets: dict[str, list[type[Exception]]] = field(default_factory=dict)
    forgets: int = 0
    """So many offers that nobody hears of."""
    shorts: bool = False
    asked: list[str] = field(default_factory=list)
    bench: Bench | None = None
    flows: Workflows | None = None

    def __call__(self, event: Any, context: Any) -> Any:
        step = event["step"]
        self.asked.append(step)
        if self.meets.get(step):
            raise self.meets[step].pop(0)(step)
        if step == "allocate":
            return {"order_id": event["order_id"], "shipments": [f"{event['order_id']}.1"]}
        if step.startswith("offer"):
            if self.forgets:
                self.forgets -= 1
            else:
                self._done(event["task_token"])
        return {}

    def _done(self, token: str) -> None:
        assert self.bench
        assert self.flows
        flows, sleep = self.flows, self.bench.scheduler.sleep

        def person() -> None:
            sleep(60)
            if self.shorts:
                flows("SendTaskFailure", {"taskToken": token, "error": "ShortPick"})
            else:
                flows("SendTaskSuccess", {"taskToken": token, "output": "{}"})

        self.bench.scheduler.spawn("person", person)


def walk(steps: Steps) -> tuple[list[str], str]:
    """The states that a run of one parcel enters, and how it ends."""
    with engine() as bench:
        bench.handle(steps)
        flows = Workflows(
            DEFINITION, bench.scheduler, bench.lambdas, lambda name: FUNCTION, bench.plane, random.Random(1)
        )
        steps.bench, steps.flows = bench, flows
        data = {"stateMachineArn": "arn:aws:states:r:a:stateMachine:m", "name": "o1", "input": '{"order_id": "o1"}'}
        flows("StartExecution", data)
        bench.scheduler.run(lambda count: 0)
        return flows.executions["o1"].states, flows.executions["o1"].status


def failing(error: type[Exception], times: int = 40) -> list[type[Exception]]:
    """An error that outlasts every retry."""
    return [error] * times


WALKS: dict[str, tuple[Steps, list[str], str]] = {
    "plain": (Steps(), ["Allocate", "Parcels", "Pick", "Pack", "Ship"], "SUCCEEDED"),
    "held before it began": (
        Steps({"allocate": [OrderHeld]}),
        ["Allocate", "Park", "Parked"],
        "SUCCEEDED",
    ),
    "cannot even be parked": (
        Steps({"allocate": [RunSuperseded], "park": failing(Broken)}),
        ["Allocate", "Park", "NotParkedAtAll"],
        "FAILED",
    ),
    "a short pick": (
        Steps(shorts=True),
        ["Allocate", "Parcels", "Pick", "ParkParcel", "ParcelParked", "Parked"],
        "SUCCEEDED",
    ),
    "closed before packing": (
        Steps({"offer_pack": [ParcelClosed]}),
        ["Allocate", "Parcels", "Pick", "Pack", "ParkParcel", "ParcelParked", "Parked"],
        "SUCCEEDED",
    ),
    "no carrier for too long": (
        Steps({"ship": failing(CarrierUnavailable)}),
        ["Allocate", "Parcels", "Pick", "Pack", "Ship", "ParkParcel", "ParcelParked", "Parked"],
        "SUCCEEDED",
    ),
    "a parcel that cannot be parked parks its order": (
        Steps({"ship": [OrderHeld], "park": failing(Broken, 13)}),
        ["Allocate", "Parcels", "Pick", "Pack", "Ship", "ParkParcel", "NotParked", "Park", "Parked"],
        "SUCCEEDED",
    ),
}


@pytest.mark.parametrize("name", WALKS)
def test_a_run_takes_its_way(name: str) -> None:
    steps, states, status = WALKS[name]
    again = Steps({step: list(errors) for step, errors in steps.meets.items()}, steps.forgets, steps.shorts)
    assert walk(again) == (states, status)


def test_every_state_is_entered_and_every_way_out_of_it_is_taken() -> None:
    taken = {edge for _, states, _ in WALKS.values() for edge in itertools.pairwise(states)}
    entered = {state for _, states, _ in WALKS.values() for state in states}
    every = dict(DEFINITION["States"]) | dict(PICK_PACK_SHIP["States"])
    assert every.keys() == entered
    missing = [edge for edge in ways_out(DEFINITION) | ways_out(PICK_PACK_SHIP) if edge not in taken]
    assert not missing, f"nothing walks {missing}"


def ways_out(machine: Mapping[str, Any]) -> set[Edge]:
    """(state, next) for each transition and each catch. A map is left by a failure from the state that failed."""
    edges: set[Edge] = set()
    for name, state in machine["States"].items():
        if "Next" in state:
            edges.add((name, state["Next"]))
        if state["Type"] != "Map":
            edges |= {(name, rule["Next"]) for rule in state.get("Catch", ())}
            continue
        edges.add((name, state["ItemProcessor"]["StartAt"]))
        for rule in state["Catch"]:
            ends = [
                inner
                for inner, told in state["ItemProcessor"]["States"].items()
                if told["Type"] == "Fail" and (told["Error"] in rule["ErrorEquals"])
            ]
            ends = ends or ["NotParked"]
            edges |= {(inner, rule["Next"]) for inner in ends}
    return edges


def test_the_plain_order_costs_no_more_transitions_than_promised() -> None:
    states, _ = walk(Steps())
    assert len(states) <= MOST_TRANSITIONS


def test_an_offer_that_nobody_heard_of_is_made_again_under_a_new_token() -> None:
    steps = Steps(forgets=2)
    assert walk(steps) == (["Allocate", "Parcels", "Pick", "Pack", "Ship"], "SUCCEEDED")
    assert steps.asked == ["allocate", *["offer_pick"] * 3, "offer_pack", "ship"]


def test_every_wait_for_a_person_ends_and_every_step_has_a_limit() -> None:
    for name, state in {**DEFINITION["States"], **PICK_PACK_SHIP["States"]}.items():
        if state["Type"] == "Task":
            assert state["TimeoutSeconds"] <= 8 * 3600, name
            assert any("States.ALL" in rule["ErrorEquals"] for rule in state["Catch"]), name
            assert json.dumps(state["Parameters"]).count("$$.Execution.Name") == 1, name
