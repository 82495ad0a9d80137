"""One logger and one metrics sink for every function.

An event is a name and fields, never a sentence and never personal data; a metric is a business word with the service
and at most the channel as its dimensions. The names below are those that the alarms and the dashboard use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit, single_metric

NAMESPACE = "OrderManagement"

logger = Logger()
_metrics = Metrics(namespace=NAMESPACE)

Handler = Callable[[dict[str, Any], Any], Any]


def count(name: str, value: int = 1, *, channel: str | None = None) -> None:
    """Add to a counter."""
    _record(name, value, MetricUnit.Count, channel)


def milliseconds(name: str, value: float, *, channel: str | None = None) -> None:
    """Record a duration."""
    _record(name, value, MetricUnit.Milliseconds, channel)


def _record(name: str, value: float, unit: MetricUnit, channel: str | None) -> None:
    if channel is None:
        _metrics.add_metric(name=name, unit=unit, value=value)
        return
    with single_metric(name=name, unit=unit, value=value, namespace=NAMESPACE) as metric:
        metric.add_dimension(name="channel", value=channel)


def entry_point(handler: Handler) -> Handler:
    """Wrap a Lambda entry: its log lines carry the request id, and its metrics leave whatever happens."""

    @wraps(handler)
    def wrapped(event: dict[str, Any], context: Any) -> Any:
        logger.append_keys(request_id=getattr(context, "aws_request_id", "-"))
        try:
            return handler(event, context)
        finally:
            if _metrics.metric_set:
                _metrics.flush_metrics()

    return wrapped
