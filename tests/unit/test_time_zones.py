"""Facilities' calendars and the shop's own time need zones, and Lambda's system has none to rely on."""

from __future__ import annotations

import zoneinfo
from pathlib import Path

from oms.fulfillment.calendars import zone

PINS = Path(__file__).parents[2] / "layers" / "common" / "requirements.txt"


def test_zones_are_known_where_the_system_has_none_and_come_with_the_layer() -> None:
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert str(zone("Europe/Berlin")) == "Europe/Berlin"
    finally:
        zoneinfo.reset_tzpath()
    assert "\ntzdata==" in PINS.read_text()
