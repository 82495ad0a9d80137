"""AWS's list prices and what an order comes to under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.life import Usage

# us-east-1, US dollars, without free tiers and discounts; Lambda is the first tier on arm64. Where they are published:
# aws.amazon.com under dynamodb/pricing/on-demand, lambda/pricing, step-functions/pricing, sqs/pricing,
# api-gateway/pricing and cloudwatch/pricing. Entered in November 2026 without a way to open those pages from here:
# compare before quoting.
DYNAMODB_WRITE_UNIT = 0.625 / 1e6
DYNAMODB_READ_UNIT = 0.125 / 1e6
LAMBDA_REQUEST = 0.20 / 1e6
LAMBDA_GB_SECOND = 0.0000133334
STEP_FUNCTIONS_TRANSITION = 0.025 / 1e3
SQS_REQUEST = 0.40 / 1e6
API_GATEWAY_REQUEST = 1.00 / 1e6
LOGS_GB = 0.50

MEMORY_MB = 512
STRETCH = 1769 / MEMORY_MB
"""Lambda gives a whole core at 1,769 MB and less in proportion."""
AWS_CALL_MS = 8
OTHER_CALL_MS = 300


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill: what an order used, and dollars for a thousand orders."""

    what: str
    used: float
    unit: str
    price: str
    dollars: float


def gb_seconds(usage: Usage) -> float:
    """Lambda's billed duration: see ``STRETCH``, ``AWS_CALL_MS`` and ``OTHER_CALL_MS``."""
    seconds = sum(
        each.cpu * STRETCH + each.aws_calls * AWS_CALL_MS / 1000 + each.other_calls * OTHER_CALL_MS / 1000
        for each in usage.functions.values()
    )
    return seconds * MEMORY_MB / 1024


def bill(usage: Usage) -> Sequence[Line]:
    """The bill for one order's usage."""
    gigabytes = usage.log_bytes / 1e9

    def line(what: str, used: float, unit: str, price: str, each: float) -> Line:
        return Line(what, used, unit, price, 1000 * used * each)

    return [
        line("DynamoDB writes", usage.write_units, "units", "0.625 a million", DYNAMODB_WRITE_UNIT),
        line("DynamoDB reads", usage.read_units, "units", "0.125 a million", DYNAMODB_READ_UNIT),
        line("Lambda", usage.invocations, "invocations", "0.20 a million", LAMBDA_REQUEST),
        line("Lambda time", gb_seconds(usage), "GB-s", "0.0000133334 a GB-s", LAMBDA_GB_SECOND),
        line("Step Functions", len(usage.transitions), "transitions", "0.025 a thousand", STEP_FUNCTIONS_TRANSITION),
        line("SQS", sum(usage.sqs.values()), "requests", "0.40 a million", SQS_REQUEST),
        line("API Gateway", sum(usage.requests.values()), "requests", "1.00 a million", API_GATEWAY_REQUEST),
        Line("CloudWatch Logs", usage.log_bytes, "bytes", "0.50 a GB", 1000 * gigabytes * LOGS_GB),
    ]
