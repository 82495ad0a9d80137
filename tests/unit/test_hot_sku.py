"""Many buyers of one SKU at once: our code under the benchmark's model of DynamoDB's locks and limits."""

from __future__ import annotations

import pytest

from benchmarks.hot_sku import FlashSale


@pytest.mark.parametrize("seed", range(3))
def test_every_unit_is_sold_once_and_nobody_is_refused_before(seed: int) -> None:
    sale = FlashSale(8, 120, 400.0, 160, seed=seed).run()
    assert (len(sale.accepted), sale.left, sale.refused_early, sale.gave_up) == (120, 0, 0, 0)
    assert sale.refused == 40


@pytest.mark.parametrize("plan", [{0.1: 8}, {0.1: 2}, {0.05: 9, 0.2: 1}])
def test_the_number_of_stripes_changes_while_selling_without_a_refusal(plan: dict[float, int]) -> None:
    for seed in range(3):
        sale = FlashSale(4, 120, 250.0, 150, plan, seed).run()
        assert (len(sale.accepted), sale.left, sale.refused_early) == (120, 0, 0)


def test_a_striped_sku_sells_faster_than_a_single_counter() -> None:
    striped, single = FlashSale(16, 300, 700.0, 300).run(), FlashSale(1, 300, 700.0, 300).run()
    assert striped.rate > 5 * single.rate
