"""Planning a floor: from parcels that wait to walks, as the schedule and ``POST /warehouse/{facility}/waves`` do it."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.report import Progress, table
from oms.fulfillment.floorplan import FloorPlan, Rules, site_from
from oms.fulfillment.planning import Place, Waiting, arrange

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SIZES = (100, 1_000, 10_000)
LAYOUT = {
    "aisles": 10,
    "cells": 45,
    "aisle_spacing_cm": 500,
    "cell_length_cm": 100,
    "front_offset_cm": 100,
    "back_offset_cm": 100,
    "depot_offset_cm": 150,
}


@dataclass(frozen=True, slots=True)
class Planned:
    """One plan: how long it took, and the way that it asks for against a way for each parcel."""

    parcels: int
    seconds: float
    walks: int
    metres: float
    alone: float


def measure(progress: Progress, sizes: Sequence[int] = SIZES) -> list[Planned]:
    """Plan each size once."""
    return [_measured(progress, size) for size in sizes]


def _measured(progress: Progress, size: int) -> Planned:
    progress.say(f"planning {size:,} waiting parcels")
    parcels = waiting(size)
    site = site_from(LAYOUT)
    together = FloorPlan("main", site, Rules(search_seconds=0))
    begun = time.perf_counter()
    found = arrange(parcels, together, NOW)
    seconds = time.perf_counter() - begun
    alone = arrange(parcels, FloorPlan("main", site, Rules(walk_units=1, search_seconds=0)), NOW)
    walks = sum(len(release.walks) for release in found.releases)
    return Planned(size, seconds, walks, found.length_cm / 100, alone.length_cm / 100)


def waiting(count: int, seed: int = 7) -> list[Waiting]:
    """Parcels of one to four units, most of them from the front half of the floor."""
    chance = random.Random(seed)
    parcels = []
    for number in range(count):
        bins = [
            f"{chance.randint(1, 10):02d}-{int(45 * chance.random() ** 2) + 1:02d}" for _ in range(chance.randint(1, 4))
        ]
        places = {Place(name, f"SKU-{name}"): bins.count(name) for name in bins}
        parcels.append(Waiting(f"order-{number:05d}.1", places, f"9999#{number:05d}"))
    return parcels


def render(planned: Sequence[Planned]) -> str:
    """The section of the report."""
    rows = [
        [
            f"{each.parcels:,}",
            f"{each.seconds:.2f} s",
            f"{each.walks:,}",
            f"{each.metres:,.0f} m",
            f"{each.alone:,.0f} m",
            f"{1 - each.metres / each.alone:.0%}",
        ]
        for each in planned
    ]
    head = ["waiting parcels", "planned in", "walks", "way", "one by one", "saved"]
    return (
        "## Planning a floor\n\n"
        "One block of 10 aisles and 45 cells, 1 to 4 units a parcel, carts of 30 units, no time for searching: what\n"
        "the planner does when it is in a hurry. It takes up to 500 parcels at a time.\n\n" + table([head, *rows])
    )
