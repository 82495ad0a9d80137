"""The secrets of a deployed stack: which values are missing, and putting them there.

    python -m local.fill_secrets --stack oms-prod [--report]

Makes what we choose ourselves (the keys of order tokens and of sealed secrets, eBay's verification token and endpoint,
what signs our messages to a storefront) and asks for the rest, unseen; an empty answer leaves a value for later.
``--report`` only makes and lists, it asks nothing.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import json
import secrets
import sys
from typing import Any

import boto3

from local.console import say

NAMES = ("Stripe", "OrderToken", "Sealing", "Etsy", "Ebay", "Shopify", "Amazon", "Webhook", "Carrier")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.fill_secrets", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stack", required=True)
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args(arguments)
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName=asked.stack)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    manager = boto3.client("secretsmanager")
    missing = []
    for name in NAMES:
        secret_id = outputs[f"{name}SecretId"]
        value: dict[str, Any] = json.loads(manager.get_secret_value(SecretId=secret_id)["SecretString"])
        before = json.dumps(value, sort_keys=True)
        value.pop("unset", None)
        _make_our_own(name, value, outputs["ApiUrl"])
        for field in [field for field, content in value.items() if not content]:
            answer = "" if asked.report else getpass.getpass(f"{name}.{field} (Enter leaves it): ").strip()
            if not answer:
                missing.append(f"{name}.{field}")
            else:
                value[field] = answer.split(",") if isinstance(value[field], list) else answer
        if json.dumps(value, sort_keys=True) != before:
            manager.put_secret_value(SecretId=secret_id, SecretString=json.dumps(value))
    say(f"still without a value: {', '.join(missing)}" if missing else "every secret has its values")
    say(f"Stripe calls     {outputs['ApiUrl']}/webhooks/stripe")
    say(f"marketplaces     {outputs['ApiUrl']}/channels/<etsy, ebay, shopify or webhook>/callbacks")
    say(f"Amazon sends to   {outputs['AmazonEventsQueueArn']}")
    say(f"EasyPost calls   {outputs['ApiUrl']}/webhooks/carriers/easypost")
    return 0


def _make_our_own(name: str, value: dict[str, Any], api: str) -> None:
    if name in ("OrderToken", "Sealing") and not value["keys"]:
        value["keys"] = [secrets.token_hex(32)]
    if name == "Webhook" and not value["signing_secret"]:
        value["signing_secret"] = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    if name == "Ebay":
        value["verification_token"] = value["verification_token"] or secrets.token_hex(32)
        value["endpoint"] = value["endpoint"] or f"{api}/channels/ebay/callbacks"


if __name__ == "__main__":
    sys.exit(main())
