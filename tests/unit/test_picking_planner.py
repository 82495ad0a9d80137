"""The port to the warehouse: shipments and bins by name, walks in return."""

from __future__ import annotations

import pytest

from oms.fulfillment.picking.batching import Effort
from oms.fulfillment.picking.layout import Layout, Spot
from oms.fulfillment.picking.planner import BinScheme, ShipmentPicks, SingleBlockPlanner, Walk, WalkPlanner

FLOOR = Layout(aisles=9, cells=20, aisle_spacing=5, cell_length=1, front_offset=1, back_offset=1)
BINS = BinScheme(FLOOR)


def a_planner(capacity: int = 10, bins: BinScheme = BINS) -> WalkPlanner:
    return SingleBlockPlanner(bins, capacity, effort=Effort(10, 50))


@pytest.mark.parametrize(
    ("name", "spot"),
    [
        ("01-01", Spot(0, 19)),
        ("7-12", Spot(6, 8)),
        ("07-12-B", Spot(6, 8)),
        ("G-12.left", Spot(6, 8)),
        ("09-20", Spot(8, 0)),
        ("10-01", None),
        ("01-21", None),
        ("00-01", None),
        ("01-00", None),
        ("J-01", None),
        ("DOCK", None),
        ("01-01B", None),
        ("", None),
    ],
)
def test_a_bin_is_read_from_its_name(name: str, spot: Spot | None) -> None:
    assert BINS.spot(name) == spot


def test_a_bin_may_be_placed_by_hand_and_cells_counted_from_the_back() -> None:
    bins = BinScheme(FLOOR, {"DOCK": Spot(0, 19), "01-01": Spot(8, 0), "GONE": Spot(9, 0)}, cells_from_back=True)
    assert [bins.spot(name) for name in ("DOCK", "01-01", "02-01", "GONE")] == [
        Spot(0, 19),
        Spot(8, 0),
        Spot(1, 0),
        None,
    ]


def test_shipments_that_lie_together_share_a_walk_and_bins_are_in_walking_order() -> None:
    plan = a_planner(capacity=4).plan(
        [
            ShipmentPicks("far", {"09-20": 1, "09-03-B": 1, "09-03-A": 1}),
            ShipmentPicks("near", {"01-02": 2}),
            ShipmentPicks("far too", {"09-10": 1}),
            ShipmentPicks("near too", {"A-02": 1, "01-01": 1}),
        ]
    )
    assert plan.walks == (
        Walk(("far", "far too"), ("09-03-A", "09-03-B", "09-10", "09-20"), 4, 2 * 8 * 5 + 40),
        Walk(("near", "near too"), ("01-01", "01-02", "A-02"), 4, 4),
    )
    assert plan.length == 124
    assert plan.without_place == ()


def test_a_shipment_beyond_the_cart_walks_alone_and_one_without_a_place_is_named() -> None:
    plan = a_planner(capacity=4).plan(
        [
            ShipmentPicks("plain", {"01-02": 2}),
            ShipmentPicks("lost", {"01-01": 1, "DOCK": 1}),
            ShipmentPicks("large", {"01-02": 5}),
            ShipmentPicks("empty", {}),
        ]
    )
    assert [(walk.shipment_ids, walk.units) for walk in plan.walks] == [(("plain",), 2), (("large",), 5)]
    assert plan.without_place == ("lost", "empty")


def test_no_shipments_are_no_walks() -> None:
    assert a_planner().plan([]).walks == ()
