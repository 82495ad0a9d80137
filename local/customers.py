"""Make all customers' profiles anew from their orders, while the shop goes on, and say how many differed.

python -m local.customers --stack oms-local
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from local import build
from local.console import Trouble, fail, say
from local.redrive import client_for

Run = Callable[[dict[str, Any]], dict[str, Any]]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.customers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stack", default=build.STACK)
    asked = parser.parse_args(arguments)
    try:
        told = rebuild(function_of(asked.stack))
    except Trouble as trouble:
        return fail(trouble)
    say(f"  {told['orders']} orders looked at, {told['orders_differed']} were not counted as they are")
    say(f"  {told['people']} customers looked at, {told['people_differed']} differed from their orders")
    return 0


def rebuild(run: Run) -> Counter[str]:
    """Call the function until it has nothing left; what it counted altogether."""
    counted: Counter[str] = Counter()
    following: dict[str, Any] | None = {}
    while following is not None:
        told = run(following)
        following = told.pop("next")
        counted.update(told)
    return counted


def function_of(stack: str) -> Run:
    """The function of a stack that keeps customers. Raises ``Trouble`` when it fails: start again, nothing is lost."""
    client = client_for(stack)
    found = client("cloudformation").describe_stack_resources(
        StackName=stack, LogicalResourceId="KeepCustomersFunction"
    )
    name = found["StackResources"][0]["PhysicalResourceId"]

    def run(at: dict[str, Any]) -> dict[str, Any]:
        answer = client("lambda").invoke(FunctionName=name, Qualifier="live", Payload=json.dumps(at).encode())
        result: dict[str, Any] = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise Trouble(f"The rebuild failed: {result}")
        return result

    return run


if __name__ == "__main__":
    sys.exit(main())
