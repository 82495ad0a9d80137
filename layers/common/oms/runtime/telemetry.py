"""One logger and one metrics sink for every function.

An event is a name and fields, never a sentence and never personal data. What an error says may quote a person, an
answer or a whole form, so of an error only its class, its code and where it came from are told. A metric is a business
word with the service and at most the channel as its dimensions. The names below are those that the alarms and the
dashboard use.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import EphemeralMetrics, Metrics, MetricUnit

NAMESPACE = "OrderManagement"


class Discreet(LambdaPowertoolsFormatter):
    """Tells errors without their words. What is safe to tell of one, and helps, is added to it as a note."""

    def __init__(self) -> None:
        super().__init__(serialize_stacktrace=False)

    def formatException(self, ei: Any) -> str:
        """The chain of errors, the first one first: the lines of code, and each error's class and code."""
        told: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None:
            code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
            name = f"{type(error).__module__}.{type(error).__qualname__}"
            told.insert(0, "".join(traceback.format_list(traceback.extract_tb(error.__traceback__))) + f"{name} {code}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(each.rstrip() for each in told)


logger = Logger(logger_formatter=Discreet())
_metrics = Metrics(namespace=NAMESPACE)
_by_channel: dict[str, EphemeralMetrics] = {}
"""What a run has to tell of each channel, in one line a channel: CloudWatch charges for lines."""

Handler = Callable[[dict[str, Any], Any], Any]


def count(name: str, value: int = 1, *, channel: str | None = None) -> None:
    """Add to a counter."""
    _record(name, value, MetricUnit.Count, channel)


def milliseconds(name: str, value: float, *, channel: str | None = None) -> None:
    """Record a duration."""
    _record(name, value, MetricUnit.Milliseconds, channel)


def _record(name: str, value: float, unit: MetricUnit, channel: str | None) -> None:
    metrics = _metrics if channel is None else _metrics_of(channel)
    metrics.add_metric(name=name, unit=unit, value=value)


def _metrics_of(channel: str) -> EphemeralMetrics:
    if channel not in _by_channel:
        _by_channel[channel] = EphemeralMetrics(namespace=NAMESPACE)
        _by_channel[channel].add_dimension(name="channel", value=channel)
    return _by_channel[channel]


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
            while _by_channel:
                _by_channel.pop(next(iter(_by_channel))).flush_metrics()

    return wrapped
