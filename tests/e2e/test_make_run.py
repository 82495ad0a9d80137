"""The story of ``make run``, as it is told."""

from __future__ import annotations

import io

import pytest

from local import story
from local.cloud import Endpoints
from local.reports import Stage


@pytest.mark.slow
def test_the_story_is_true(endpoints: Endpoints) -> None:
    told = io.StringIO()
    outcome = story.play(endpoints, Stage(told))
    assert outcome.shown == dict.fromkeys(story.NAMES, 482)
    assert outcome.tracking
    assert outcome.refused_scan["code"] == "wrong_item"
    assert outcome.orders["storefront"]["status"] == "completed"
    assert outcome.orders["declined"]["status"] == "expired"
    assert [sale.left for sale in outcome.sales] == [496, 491, 488, 486, 484, 482]
    page = story.closing(outcome)
    assert all(word in page for word in (*story.NAMES.values(), "482", "498", "55.99 USD"))
