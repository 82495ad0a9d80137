"""Metrics leave with the run that counted them, in as few lines as CloudWatch needs."""

from __future__ import annotations

import json

import pytest

from oms.runtime import telemetry


@pytest.fixture(autouse=True)
def _metrics_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED", raising=False)
    telemetry._metrics.clear_metrics()


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [{name: value for name, value in line.items() if name not in ("_aws", "service")} for line in lines]


def test_a_run_tells_all_of_a_channel_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    @telemetry.entry_point
    def handler(event: dict[str, object], context: object) -> None:
        telemetry.count("OrdersPlaced", channel="etsy")
        telemetry.count("OrderValue", 1999, channel="etsy")
        telemetry.count("OrdersPlaced", channel="ebay")
        telemetry.count("OrdersPlaced", channel="etsy")
        telemetry.count("OrdersExpired")

    handler({}, None)
    assert told(capsys) == [
        {"OrdersExpired": [1.0]},
        {"channel": "etsy", "OrdersPlaced": [1.0, 1.0], "OrderValue": [1999.0]},
        {"channel": "ebay", "OrdersPlaced": [1.0]},
    ]
    handler({}, None)
    assert len(told(capsys)) == 3


def test_a_run_that_fails_tells_what_it_had_counted(capsys: pytest.CaptureFixture[str]) -> None:
    @telemetry.entry_point
    def handler(event: dict[str, object], context: object) -> None:
        telemetry.count("ChannelPushFailures", channel="etsy")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        handler({}, None)
    assert told(capsys) == [{"channel": "etsy", "ChannelPushFailures": [1.0]}]
