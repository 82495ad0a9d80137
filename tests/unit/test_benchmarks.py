"""The arithmetic behind the recorded figures."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import prices, startup
from benchmarks.life import Invocations, Usage
from benchmarks.meter import read_units
from benchmarks.report import table


def an_item(kilobytes: int) -> dict[str, Any]:
    return {"pk": {"S": "x" * (kilobytes * 1024 - 2)}}


@pytest.mark.parametrize(
    ("operation", "data", "payload", "units"),
    [
        ("GetItem", {"ConsistentRead": True}, {"Item": an_item(5)}, 2.0),
        ("GetItem", {}, {"Item": an_item(1)}, 0.5),
        ("GetItem", {"ConsistentRead": True}, {}, 1.0),
        ("TransactGetItems", {}, {"Responses": [{"Item": an_item(1)}, {}]}, 4.0),
        ("Query", {"ConsistentRead": True}, {"Items": [an_item(1)] * 5}, 2.0),
        (
            "BatchGetItem",
            {"RequestItems": {"T": {"Keys": [{}, {}, {}], "ConsistentRead": True}}},
            {"Responses": {"T": [an_item(1), an_item(5)]}},
            4.0,
        ),
    ],
)
def test_reads_cost_what_dynamodb_asks_for_their_size(operation, data, payload, units):
    assert read_units(operation, data, payload) == units


def test_a_bill_adds_up_to_a_thousand_orders():
    usage = Usage(write_units=80, read_units=40, functions={"place": Invocations(10)}, transitions=["Pick"] * 4)
    dollars = {line.what: line.dollars for line in prices.bill(usage)}
    assert dollars["DynamoDB writes"] == pytest.approx(0.05)
    assert dollars["DynamoDB reads"] == pytest.approx(0.005)
    assert dollars["Lambda"] == pytest.approx(0.002)
    assert dollars["Step Functions"] == pytest.approx(0.1)


def test_a_function_that_waits_is_billed_for_waiting():
    usage = Usage(functions={"ship": Invocations(1, cpu=0.0, aws_calls=0, other_calls=2)})
    assert prices.gb_seconds(usage) == pytest.approx(0.3)


def test_import_costs_are_summed_by_package():
    report = """import time: self [us] | cumulative | imported package
import time:      1000 |       3000 | pydantic
import time:      2000 |       2000 |   pydantic.main
import time:       500 |        500 | oms.orders.model
import time:       250 |        250 | json
"""
    assert startup.own_costs(report) == {"pydantic": 3.0, "oms.orders": 0.5, "the standard library": 0.25}


def test_the_first_row_of_a_table_is_its_head():
    assert table([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"
