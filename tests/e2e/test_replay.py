"""The first 200 orders of a real shop, where the file is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.cloud import Endpoints
from local.replay import replay, report

ORDERS = Path(__file__).resolve().parents[3] / "shared" / "data" / "online_retail.csv.gz"


@pytest.mark.slow
@pytest.mark.skipif(
    not ORDERS.exists(), reason=f"the real orders are not here: {ORDERS.name} belongs in {ORDERS.parent}"
)
def test_the_first_200_real_orders_are_taken_and_every_unit_is_accounted_for(endpoints: Endpoints) -> None:
    made, result = replay(endpoints, ORDERS, limit=200, concurrency=8)
    print(report(made, result, 8))
    assert len(made.orders) >= 200
    assert len(result.accepted) == len(made.orders), result.refused
    assert result.wrong == {}
    assert sum(made.rows.values()) > 4_000
