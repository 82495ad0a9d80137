"""``python -m oms.fulfillment.picking``: instances as JSON, solutions as JSON, and mistakes told by their place."""

from __future__ import annotations

import copy
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from oms.fulfillment.picking.__main__ import main
from oms.fulfillment.picking.instance import InstanceInvalid, read

INSTANCE: dict[str, Any] = {
    "layout": {
        "aisles": 2,
        "cells": 3,
        "aisle_spacing": 2.4,
        "cell_length": 1,
        "cross_aisle_offset": 0.5,
        "depot_offset": 1.25,
    },
    "capacity": 4,
    "orders": [
        {"id": "a", "picks": [{"aisle": 0, "cell": 2}, {"aisle": 1, "cell": 0, "quantity": 2}]},
        {"id": 7, "picks": [{"aisle": 1, "cell": 1}]},
    ],
}


def changed(path: str, value: Any) -> str:
    """The instance with the value at a path such as ``orders.0.id`` replaced, as text."""
    document = copy.deepcopy(INSTANCE)
    *way, name = path.split(".")
    place: Any = document
    for each in way:
        place = place[int(each) if each.isdigit() else each]
    place[int(name) if name.isdigit() else name] = value
    return json.dumps(document)


def run(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *options: str
) -> dict[str, Any]:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert main(["-", *options]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def test_a_solution_is_printed_in_the_units_of_the_instance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "instance.json").write_text(json.dumps(INSTANCE))
    assert main([str(tmp_path / "instance.json")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {
        "method": "best",
        "policy": "optimal",
        "total": 2.5 + 4.8 + 6,
        "proven_optimal": True,
        "batches": [
            {
                "orders": ["a", "7"],
                "items": 4,
                "length": 13.3,
                "picks": [{"aisle": 0, "cell": 2}, {"aisle": 1, "cell": 1}, {"aisle": 1, "cell": 0}],
                "route": [
                    {"aisle": 0, "cell": "front"},
                    {"aisle": 0, "cell": 2},
                    {"aisle": 0, "cell": "front"},
                    {"aisle": 1, "cell": "front"},
                    {"aisle": 1, "cell": 1},
                    {"aisle": 1, "cell": 0},
                    {"aisle": 1, "cell": "front"},
                    {"aisle": 0, "cell": "front"},
                ],
            }
        ],
    }


def test_policy_and_method_are_chosen_on_the_command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--policy", "return", "--method", "single", "--seconds", "0.5", "--seed", "9", "--rounds", "5")
    printed = run(json.dumps(INSTANCE), capsys, monkeypatch, *options)
    assert (printed["policy"], printed["method"], printed["proven_optimal"]) == ("return", "single", False)
    assert [batch["length"] for batch in printed["batches"]] == [2.5 + 4.8 + 1 + 5, 2.5 + 4.8 + 3]


def test_the_back_may_be_further_away_than_the_front() -> None:
    layout = read(changed("layout.back_cross_aisle_offset", 2)).instance.layout
    assert (layout.front_offset, layout.back_offset, layout.depot_offset) == (50, 200, 125)


def test_distances_are_exact() -> None:
    reading = read(changed("layout.aisle_spacing", 0.000001))
    assert (reading.scale, reading.instance.layout.aisle_spacing) == (10**6, 1)
    assert (reading.show(3 * 10**6), reading.show(3), reading.show(10**15 + 1)) == (3, 0.000003, 1000000000.000001)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "line 1, column 2: Expecting property name"),
        ("[]", "must be an object"),
        ("{}", "layout: is missing"),
        ('{"capacity": NaN}', "NaN is not a number"),
        ('{"capacity": 1e99999999999999999999}', "a number in the JSON is too long"),
        (f'{{"capacity": {"9" * 5000}}}', "a number in the JSON is too long"),
        ("[" * 100_000, "the JSON is nested too deeply"),
        (changed("layout", 3), "layout: must be an object"),
        (changed("layout.cells", 0), "layout.cells: must be a whole number from 1 to"),
        (changed("layout.cells", True), "layout.cells: must be a whole number"),
        (changed("layout.cells", 100_000), "layout: 2 aisles of 100000 cells are more than"),
        (changed("layout.aisle_spacing", -1), "layout.aisle_spacing: must be a number from 0 to"),
        (changed("layout.aisle_spacing", "5"), "layout.aisle_spacing: must be a number"),
        (changed("layout.depot_offset", 0.1234567), "layout.depot_offset: has more than 6 decimals"),
        (changed("layout.blocks", 2), "layout.blocks: is not known here; known: aisles, cells"),
        (changed("capacity", 2.5), "capacity: must be a whole number"),
        (changed("orders", {}), "orders: must be a list"),
        (changed("orders.1", "a"), "orders[1]: must be an object"),
        (changed("orders.1.id", None), "orders[1].id: must be a text or a whole number"),
        (changed("orders.1.id", "a"), "orders[1].id: a is orders[0] already"),
        (changed("orders.1.picks", []), "orders[1].picks: must not be empty"),
        (changed("orders.1.picks", 1), "orders[1].picks: must be a list"),
        (changed("orders.1.picks.0.aisle", 2), "orders[1].picks[0].aisle: must be a whole number from 0 to 1"),
        (changed("orders.1.picks.0.cell", 3), "orders[1].picks[0].cell: must be a whole number from 0 to 2"),
        (changed("orders.0.picks.1.quantity", 0), "orders[0].picks[1].quantity: must be a whole number from 1"),
        (changed("orders.0.picks.1.quantity", 9), "orders[0]: has 10 items, and the capacity is 4"),
    ],
)
def test_a_mistake_is_told_by_its_place(text: str, told: str) -> None:
    with pytest.raises(InstanceInvalid) as caught:
        read(text)
    assert str(caught.value).startswith(told)


def test_a_wrong_instance_ends_with_code_2_and_nothing_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, binary = tmp_path / "wrong.json", tmp_path / "binary.json"
    wrong.write_text(changed("orders.1.picks.0.cell", 3))
    binary.write_bytes(b"\xff\xfe")
    for path, told in (
        (wrong, "orders[1].picks[0].cell: must be"),
        (binary, "is not UTF-8 text"),
        (tmp_path / "absent.json", "No such file"),
    ):
        assert main([str(path)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith(f"{path}: {told}")


@pytest.mark.parametrize(
    "options",
    [["--policy", "zigzag"], ["--method", "guess"], ["--seconds", "-1"], ["--seconds", "nan"], ["--rounds", "0"]],
)
def test_a_wrong_option_ends_with_code_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["-", *options])
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_the_documented_example_gives_the_documented_solution(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = (Path(__file__).parents[2] / "docs" / "picking.md").read_text(encoding="utf-8")
    instance, solution = re.findall(r"```json\n(.*?)```", document, re.DOTALL)
    assert run(instance, capsys, monkeypatch) == json.loads(solution)
