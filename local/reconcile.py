"""Read every channel back now, as the schedule does every quarter of an hour, and say what differed and why.

python -m local.reconcile --stack oms-local
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import boto3

from local import build, cloud
from local.console import Trouble, fail, say
from local.reports import table

COUNTS = ("compared", "behind", "drifted")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.reconcile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stack", default=build.STACK)
    asked = parser.parse_args(arguments)
    try:
        report = run(asked.stack)
    except Trouble as trouble:
        return fail(trouble)
    say(table(rows(report)))
    return 0


def run(stack: str) -> dict[str, dict[str, int]]:
    """Run the function of a stack; what it counted, by channel. Raises ``Trouble`` when it failed."""
    client = _clients(stack)
    found = client("cloudformation").describe_stack_resources(StackName=stack, LogicalResourceId="ReconcileFunction")
    name = found["StackResources"][0]["PhysicalResourceId"]
    answer = client("lambda").invoke(FunctionName=name, Qualifier="live", Payload=b"{}")
    result: dict[str, Any] = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise Trouble(f"The reconcile failed: {result}")
    return result


def rows(report: dict[str, dict[str, int]]) -> list[list[str]]:
    """The counts as a table; causes are the counts beyond the three."""
    told = [["channel", *COUNTS, "why"]]
    for channel, counts in report.items():
        causes = [f"{name} {count}" for name, count in counts.items() if name not in COUNTS]
        told.append([channel, *(str(counts[name]) for name in COUNTS), ", ".join(causes) or "-"])
    return told


def _clients(stack: str) -> Any:
    if stack != build.STACK:
        return boto3.client
    endpoints = cloud.default().endpoints()

    def client(service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=endpoints["aws_endpoint"],
            region_name=endpoints["region"],
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the local cloud's root
        )

    return client


if __name__ == "__main__":
    sys.exit(main())
