"""Which words of a carrier are news."""

from __future__ import annotations

import itertools
import random

import pytest

from oms.fulfillment.carrier import Sighting, TrackingStatus
from oms.fulfillment.shipments import Tracking
from oms.fulfillment.tracking import moves_on, stage


def told(status: str, minute: int) -> Sighting:
    return Sighting("trk_1", "1Z", TrackingStatus(status), "", f"2026-11-24T10:{minute:02d}:00.000Z")


def state(sighting: Sighting) -> Tracking:
    return Tracking(sighting.status.value, sighting.at, "", "")


@pytest.mark.parametrize(
    ("seen", "after", "news"),
    [
        (("label_created", 1), ("in_transit", 2), True),
        (("in_transit", 2), ("label_created", 3), False),
        (("in_transit", 2), ("in_transit", 2), False),
        (("in_transit", 2), ("in_transit", 3), True),
        (("in_transit", 2), ("exception", 3), True),
        (("exception", 3), ("in_transit", 4), True),
        (("exception", 3), ("in_transit", 2), False),
        (("in_transit", 2), ("exception", 2), True),
        (("exception", 2), ("in_transit", 2), False),
        (("exception", 3), ("delivered", 4), True),
        (("in_transit", 3), ("delivered", 2), False),
        (("in_transit", 3), ("delivered", 3), True),
        (("delivered", 4), ("in_transit", 5), False),
        (("delivered", 4), ("delivered", 5), False),
        (("delivered", 4), ("returned", 5), True),
        (("returned", 5), ("delivered", 6), False),
    ],
)
def test_news_is_later_and_never_leads_back(seen: tuple[str, int], after: tuple[str, int], news: bool) -> None:
    assert moves_on(state(told(*seen)), told(*after)) is news


def test_the_first_word_is_news() -> None:
    assert moves_on(None, told("unknown", 0))


def test_in_whatever_order_scans_arrive_the_stage_never_falls_and_the_last_scan_wins() -> None:
    scans = [told(*each) for each in (("label_created", 1), ("in_transit", 2), ("exception", 3), ("in_transit", 4))]
    rng = random.Random(7)
    for order in itertools.permutations([*scans, told("delivered", 5)]):
        seen: Tracking | None = None
        for sighting in rng.sample(order, len(order)) + list(order):
            if moves_on(seen, sighting):
                before = stage(TrackingStatus(seen.status)) if seen else 0
                assert stage(sighting.status) >= before
                seen = state(sighting)
        assert seen
        assert seen.status == "delivered"
