"""The local cloud: MiniStack and our simulators, with the template deployed as it is to AWS.

    python -m local.cloud up        start, deploy, write endpoints.json, return
    python -m local.cloud deploy    deploy what changed to the running cloud
    python -m local.cloud status    what runs where
    python -m local.cloud down      stop everything, free the ports
    python -m local.cloud run       up, play the story, stay up until Ctrl-C, down

Ports come from OMS_CLOUD_PORT and OMS_SIM_PORT. All state is under ``local/.state`` and dies with the cloud; what is
built stays, so the next start takes seconds. Tests take a cloud of their own:

    with local.cloud.running() as endpoints: ...

The cloud runs with IAM evaluated: MiniStack takes the key ``test`` for the account's root, which deploys; every
function runs with its own role's credentials and may do what that role's policy says, nothing else.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import boto3

from local import build
from local.console import Trouble, fail, say, step
from local.processes import Background, free_port, is_taken

STATE = build.ROOT / "local" / ".state"
CHANNELS = ("etsy", "ebay", "shopify", "amazon", "webhook")
GROUPS = ("agent", "warehouse", "ops", "pos")
# Long enough to pay with a card by hand, short enough to watch an order expire.
UNPAID_EXPIRY_SECONDS = "30"

# Nothing ships from a facility without an address.
SENDER = {
    "address": {
        "name": "Corner Shop",
        "line1": "417 Montgomery Street",
        "city": "San Francisco",
        "region": "CA",
        "postal_code": "94104",
        "country": "US",
    },
    "phone": "4155550100",
}

Endpoints = dict[str, Any]


class Cloud:
    """One local cloud with its ports and its state folder."""

    def __init__(self, cloud_port: int, sim_port: int, state: Path) -> None:
        self.cloud_port = cloud_port
        self.sim_port = sim_port
        self.state = state
        self.endpoint = f"http://127.0.0.1:{cloud_port}"
        self.simulators = f"http://127.0.0.1:{sim_port}"
        self.background = Background(state)
        self._environment = build.aws_environment(self.endpoint)

    # -- life ---------------------------------------------------------------------------------------------------------

    def up(self, parameters: Mapping[str, str] | None = None) -> Endpoints:
        """Start and deploy; the endpoints, which also stand in ``endpoints.json``."""
        self._refuse_taken_ports()
        try:
            with step("starting the local cloud and the simulators"):
                self._start()
            return self.deploy(parameters)
        except BaseException:
            self.down()
            raise

    def deploy(self, parameters: Mapping[str, str] | None = None) -> Endpoints:
        """Build and deploy what changed, fill in secrets and people, tell the simulators where to call."""
        with step("building the layer for this machine"):
            build.build(self._environment)
        with step("deploying template.yaml with sam"):
            build.deploy(self._environment, {**self._parameters(), **(parameters or {})})
        with step("secrets, staff, callbacks, a facility"):
            endpoints = self._furnish()
        with step("warming the functions up"):
            self._warm_up(endpoints)
        return endpoints

    def down(self) -> list[str]:
        """Stop everything; the names of what ran."""
        stopped = self.background.stop()
        shutil.rmtree(self.state / "tmp", ignore_errors=True)
        for name in ("endpoints.json", "secrets.json", "simulators.json"):
            (self.state / name).unlink(missing_ok=True)
        return stopped

    def endpoints(self) -> Endpoints:
        """What ``up`` wrote. ``Trouble`` when nothing is up."""
        try:
            endpoints: Endpoints = json.loads((self.state / "endpoints.json").read_text())
        except OSError:
            raise Trouble("The local cloud is not up: `make up` starts it.") from None
        return endpoints

    # -- starting -----------------------------------------------------------------------------------------------------

    def _refuse_taken_ports(self) -> None:
        ours = self.background.running()
        for port, variable in ((self.cloud_port, "OMS_CLOUD_PORT"), (self.sim_port, "OMS_SIM_PORT")):
            if not is_taken(port):
                continue
            if port in ours.values():
                raise Trouble(
                    f"Port {port} is taken by this checkout's own cloud, which is up already.\n"
                    "`make down` stops it; `python -m local.cloud deploy` brings it up to date."
                )
            raise Trouble(
                f"Port {port} is taken by another program. Stop it, or choose another port with {variable}, "
                f"for example: {variable}={port + 100} make run"
            )

    def _start(self) -> None:
        temporary = self.state / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        # MiniStack hands its environment on to the functions: their endpoint is its own default, and credentials are
        # the ones of their role.
        inherited = {name: value for name, value in self._environment.items() if not name.startswith("AWS_")}
        cloud = {
            **inherited,
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.cloud_port),
            "MINISTACK_REGION": build.REGION,
            "TMPDIR": str(temporary),
            "MINISTACK_WORKER_THREADS": "96",  # 64 buyers at once, and room for what they cause
            "LAMBDA_WARM_TTL_SECONDS": "3600",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
        }
        self.background.start("cloud", ["-m", "local.aws"], cloud, self.cloud_port)
        self.background.start(
            "simulators",
            [
                *("-m", "local.simulators", "--port", str(self.sim_port)),
                *("--state-file", str(self.state / "simulators.json")),
            ],
            inherited,
            self.sim_port,
        )
        self.background.await_ready("cloud", f"{self.endpoint}/_ministack/ready")
        self.background.await_ready("simulators", f"{self.simulators}/stripe/_sim/config")

    # -- deploying ----------------------------------------------------------------------------------------------------

    def _parameters(self) -> dict[str, str]:
        stripe = {} if _real_stripe_key() else {"StripeApiBase": f"{self.simulators}/stripe"}
        return {
            "Stage": "local",
            "StaffTokenMinutes": "1440",
            "StaffKeysBase": self.endpoint,
            "UnpaidExpirySeconds": os.environ.get("OMS_UNPAID_EXPIRY_SECONDS", UNPAID_EXPIRY_SECONDS),
            "EtsyApiBase": f"{self.simulators}/etsy",
            "EbayApiBase": f"{self.simulators}/ebay",
            "ShopifyApiBase": f"{self.simulators}/shopify",
            "AmazonApiBase": f"{self.simulators}/amazon",
            "WebhookApiBase": f"{self.simulators}/webhook",
            "EtsyOauthBase": f"{self.simulators}/etsy",
            "EbayOauthBase": f"{self.simulators}/ebay",
            "AmazonOauthBase": f"{self.simulators}/amazon",
            "CarrierApiBase": f"{self.simulators}/easypost",
            "MerchantName": SENDER["address"]["name"],  # type: ignore[index]
            "MerchantPayUrl": "https://corner-shop.example/pay/{order_id}#{token}",
            "MailFrom": "orders@corner-shop.example",
            "MailIdentity": "corner-shop.example",
            "MailReplyTo": "help@corner-shop.example",
            "MailApiBase": f"{self.simulators}/ses",
            **stripe,
        }

    def _furnish(self) -> Endpoints:
        outputs = self._outputs()
        # The path form needs neither a Host header nor a name that resolves.
        api = f"{self.endpoint}/_aws/execute-api/{outputs['ApiId']}"
        values = self._secret_values(api)
        manager = self._client("secretsmanager")
        for name, value in values.items():
            manager.put_secret_value(SecretId=outputs[f"{name}SecretId"], SecretString=json.dumps(value))
        self._tell_simulators(api, values, outputs)
        endpoints: Endpoints = {
            "api": api,
            "orders_table": outputs["OrdersTable"],
            "inventory_table": outputs["InventoryTable"],
            "files_bucket": outputs["FilesBucket"],
            "state_machine_arn": outputs["StateMachineArn"],
            "aws_endpoint": self.endpoint,
            "region": build.REGION,
            "stripe": f"{self.simulators}/stripe",
            "channels": {name: f"{self.simulators}/{name}" for name in CHANNELS},
            "carrier": f"{self.simulators}/easypost",
            "mailbox": f"{self.simulators}/ses/",
            "tokens": self._tokens(outputs["StaffPoolId"], outputs["StaffClientId"]),
            "webhook_secrets": {
                "stripe": values["Stripe"]["webhook_secrets"][0],
                "etsy": values["Etsy"]["webhook_secrets"][0],
                "ebay": values["Ebay"]["verification_token"],
                "shopify": values["Shopify"]["webhook_secrets"][0],
                "webhook": values["Webhook"]["webhook_secrets"][0],
                "carrier": values["Carrier"]["webhook_secrets"][0],
            },
            "stack": build.STACK,
            "logs": str(self.state),
        }
        _send("PUT", f"{api}/facilities/main", SENDER, endpoints["tokens"]["ops"])
        written = self.state / "endpoints.json"
        written.write_text(json.dumps(endpoints, indent=2))
        written.chmod(0o600)
        return endpoints

    def _outputs(self) -> dict[str, str]:
        (stack,) = self._client("cloudformation").describe_stacks(StackName=build.STACK)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def _secret_values(self, api: str) -> dict[str, dict[str, Any]]:
        """Made at the first deploy and kept for the next ones: running functions remember them for a while."""
        kept = self.state / "secrets.json"
        if kept.exists():
            values: dict[str, dict[str, Any]] = json.loads(kept.read_text())
            return values
        real = _real_stripe_key()
        values = {
            "Stripe": {
                "api_key": real or "sk_test_local",
                "webhook_secrets": [os.environ["STRIPE_WEBHOOK_SECRET"] if real else "whsec_" + _random()],
            },
            "OrderToken": {"keys": [_random()]},
            "Sealing": {"keys": [_random()]},
            "Etsy": {
                "api_key": "etsy-local-keystring:etsy-local-shared-secret",
                "access_token": "12345678.etsy-local-token",
                "shop_id": "1000001",
                "webhook_secrets": ["whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()],
            },
            "Ebay": {
                "access_token": "ebay-local-token",
                "verification_token": _random(),
                "endpoint": f"{api}/channels/ebay/callbacks",
                "marketplace_id": "EBAY_US",
                "merchant_location_key": "main",
            },
            "Shopify": {
                "access_token": "shopify-local-token",
                "shop_domain": "local-shop.myshopify.com",
                "location_id": "70000000001",
                "webhook_secrets": [_random()],
            },
            "Amazon": {
                "access_token": "amazon-local-token",
                "seller_id": "A2LOCALSELLER1",
                "marketplace_id": "ATVPDKIKX0DER",
            },
            "Webhook": {
                "signing_secret": "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode(),
                "webhook_secrets": ["whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()],
            },
            "Carrier": {"api_key": "EZTK-local", "webhook_secrets": [_random()]},
        }
        kept.write_text(json.dumps(values))
        kept.chmod(0o600)
        return values

    def _tell_simulators(self, api: str, values: Mapping[str, Mapping[str, Any]], outputs: Mapping[str, str]) -> None:
        etsy, ebay, shopify, amazon = values["Etsy"], values["Ebay"], values["Shopify"], values["Amazon"]
        told: dict[str, dict[str, Any]] = {
            "stripe": {
                "callback_url": f"{api}/webhooks/stripe",
                "webhook_secret": values["Stripe"]["webhook_secrets"][0],
            },
            "etsy": {
                "callback_url": f"{api}/channels/etsy/callbacks",
                "webhook_secret": etsy["webhook_secrets"][0],
                "api_key": etsy["api_key"],
                "access_token": etsy["access_token"],
                "shop_id": etsy["shop_id"],
            },
            "ebay": {
                "callback_url": ebay["endpoint"],
                "access_token": ebay["access_token"],
                "verification_token": ebay["verification_token"],
            },
            "shopify": {
                "callback_url": f"{api}/channels/shopify/callbacks",
                "access_token": shopify["access_token"],
                "shop_domain": shopify["shop_domain"],
                "webhook_secret": shopify["webhook_secrets"][0],
            },
            # Amazon calls nobody: it sends to the queue, as the real one does.
            "amazon": {"callback_url": f"sqs+{outputs['AmazonEventsQueueUrl']}", **amazon},
            # SES publishes to a topic, which passes it on as it is.
            "ses": {"callback_url": f"sqs+{outputs['MailFeedbackQueueUrl']}"},
            "webhook": {
                "callback_url": f"{api}/channels/webhook/callbacks",
                "signing_secret": values["Webhook"]["signing_secret"],
                "webhook_secret": values["Webhook"]["webhook_secrets"][0],
            },
            "easypost": {
                "callback_url": f"{api}/webhooks/carriers/easypost",
                "webhook_secret": values["Carrier"]["webhook_secrets"][0],
            },
        }
        for name, body in told.items():
            _send("POST", f"{self.simulators}/{name}/_sim/config", body)

    def _tokens(self, pool: str, client: str) -> dict[str, str]:
        """One member of staff per group, named like it, and a day's token for each."""
        cognito = self._client("cognito-idp")
        tokens = {}
        for group in GROUPS:
            password = f"Aa1-{_random()}"
            with suppress(cognito.exceptions.UsernameExistsException):
                cognito.admin_create_user(
                    UserPoolId=pool, Username=group, TemporaryPassword=password, MessageAction="SUPPRESS"
                )
            cognito.admin_set_user_password(UserPoolId=pool, Username=group, Password=password, Permanent=True)
            cognito.admin_add_user_to_group(UserPoolId=pool, Username=group, GroupName=group)
            answer = cognito.admin_initiate_auth(
                UserPoolId=pool,
                ClientId=client,
                AuthFlow="ADMIN_USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": group, "PASSWORD": password},
            )
            tokens[group] = answer["AuthenticationResult"]["AccessToken"]
        return tokens

    def _warm_up(self, endpoints: Endpoints) -> None:
        """Start a process or a few for each function on the way from a sale to the channels.

        An unknown path and an empty batch are answered without touching any data.
        """
        functions = self._client("lambda")
        mappings = functions.list_event_source_mappings()["EventSourceMappings"]
        calls = [partial(_invoke_empty_batch, functions, mapping["FunctionArn"]) for mapping in mappings]
        paths = ["/orders/warm-up"] * 4 + ["/channels/none/callbacks"] * 2
        calls += [partial(_knock, endpoints["api"] + path) for path in paths]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda call: call(), calls))

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.endpoint,
            region_name=build.REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the local cloud's root
        )


def _invoke_empty_batch(functions: Any, alias: str) -> None:
    functions.invoke(FunctionName=alias, Payload=b'{"Records": []}')


def _knock(url: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=30):  # noqa: S310 - our own process on this machine
            pass
    except urllib.error.HTTPError:
        pass


def _send(method: str, url: str, body: Mapping[str, Any], token: str = "") -> None:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(  # noqa: S310 - our own process on this machine
        url, json.dumps(body).encode(), headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310
            pass
    except urllib.error.HTTPError as error:
        raise Trouble(f"{url} answered {error.code}: {error.read().decode(errors='replace')}") from error


def _random() -> str:
    return secrets.token_hex(20)


def _real_stripe_key() -> str:
    """A Stripe test key from the environment, with which Stripe itself is used. A live key is refused."""
    key = os.environ.get("STRIPE_API_KEY", "")
    if key and not key.startswith(("sk_test_", "rk_test_")):
        raise Trouble("STRIPE_API_KEY is not a test key; the local cloud takes test keys only.")
    if key and not os.environ.get("STRIPE_WEBHOOK_SECRET"):
        raise Trouble("STRIPE_API_KEY is set: set STRIPE_WEBHOOK_SECRET too (`stripe listen` prints one).")
    return key


def default() -> Cloud:
    """The cloud of this checkout."""
    ports = [int(os.environ.get(name, standard)) for name, standard in _PORTS]
    return Cloud(ports[0], ports[1], Path(os.environ.get("OMS_STATE", STATE)))


_PORTS = (("OMS_CLOUD_PORT", "4566"), ("OMS_SIM_PORT", "4570"))


@contextmanager
def running(
    *, ports: tuple[int, int] | None = None, parameters: Mapping[str, str] | None = None
) -> Iterator[Endpoints]:
    """A cloud for the length of a ``with``, on free ports and in a state folder of its own; yields its endpoints.

    ``parameters`` override the template's, for example ``{"UnpaidExpirySeconds": "10"}``. The folder stands in
    ``endpoints["logs"]`` and is kept when the body fails.
    """
    cloud_port, sim_port = ports or (free_port(), free_port())
    state = STATE / "own" / str(cloud_port)
    cloud = Cloud(cloud_port, sim_port, state)
    try:
        yield cloud.up(parameters)
    except BaseException:
        cloud.down()
        raise
    cloud.down()
    shutil.rmtree(state, ignore_errors=True)


def show(endpoints: Endpoints) -> None:
    """What a person wants to know about a running cloud."""
    rows = {
        "API": endpoints["api"],
        "AWS endpoint": f"{endpoints['aws_endpoint']}  (region {endpoints['region']}, IAM evaluated)",
        "Stripe simulator": endpoints["stripe"],
        **{f"{name} simulator": url for name, url in endpoints["channels"].items()},
        "carrier simulator": endpoints["carrier"],
        "mailbox": f"{endpoints['mailbox']}  (every mail to a customer; open it in a browser)",
        "everything else": f"{endpoints['logs']}/endpoints.json",
        "logs": f"{endpoints['logs']}/*.log",
    }
    for name, value in rows.items():
        say(f"    {name:18} {value}")


def run(cloud: Cloud) -> int:
    """Up, the story, stay up until Ctrl-C, down."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell script's background job starts without it
    started = time.monotonic()
    endpoints = cloud.up()  # cleans up after itself; a cloud that was up already is not ours to stop
    try:
        say(f"  up in {time.monotonic() - started:.1f} s")
        story = subprocess.run([sys.executable, "-m", "local.story"], cwd=build.ROOT)
        say()
        show(endpoints)
        if story.returncode:
            return story.returncode
        say("  Ctrl-C stops everything.")
        signal.pause()
    except KeyboardInterrupt:
        say()
    finally:
        with step("stopping"):
            cloud.down()
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.cloud", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=("up", "down", "status", "deploy", "run"))
    command = parser.parse_args(arguments).command
    cloud = default()
    try:
        if command == "run":
            return run(cloud)
        if command == "up":
            show(cloud.up())
        elif command == "deploy":
            cloud.endpoints()
            show(cloud.deploy())
        elif command == "down":
            stopped = cloud.down()
            say(f"stopped: {', '.join(stopped)}" if stopped else "nothing was up")
        else:
            ports = cloud.background.running()
            say("\n".join(f"{name} on port {port}" for name, port in ports.items()) or "nothing is up")
            if ports:
                show(cloud.endpoints())
    except Trouble as trouble:
        return fail(trouble)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
