"""Access tokens that expire: renewed ahead of time, once, into the secret that everybody reads."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import boto3
import pytest

from local.simulators import amazon, ebay, etsy
from oms.channels.port import ChannelRefused, ChannelUnavailable
from oms.runtime.clock import to_text
from tests.component.test_channels import control
from tests.support.shop import Context, Shop

HOUR = 3600
EXPIRING = {
    "etsy": {"refresh_token": etsy.REFRESH_TOKEN},
    "ebay": {"refresh_token": ebay.REFRESH_TOKEN, "client_id": ebay.CLIENT[0], "client_secret": ebay.CLIENT[1]},
    "amazon": {"refresh_token": amazon.REFRESH_TOKEN, "client_id": amazon.CLIENT[0], "client_secret": amazon.CLIENT[1]},
}


def secret_of(channel: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(boto3.client("secretsmanager").get_secret_value(SecretId=channel)["SecretString"])
    return told


def expires(shop: Shop, channel: str, seconds: int, **changes: Any) -> None:
    """The channel's token lives so long, and the secret says so."""
    object.__setattr__(shop.app.settings, f"{channel}_oauth_base", f"http://{channel}")
    secret = {**secret_of(channel), **EXPIRING[channel], **changes}
    shop.later(seconds=0)
    ends = to_text(shop.now.replace(microsecond=0).fromtimestamp(shop.now.timestamp() + seconds, shop.now.tzinfo))
    shop.app.secrets.put(channel, {**secret, "expires_at": ends})
    shop.app.secrets.forget(channel)
    token = {"access_token": secret["access_token"], "refresh_token": secret["refresh_token"], "token_seconds": seconds}
    control(shop, channel, "POST", "/_sim/config", token)


def renewals(shop: Shop, channel: str) -> int:
    return int(control(shop, channel, "GET", "/_sim/calls")["counts"].get("renewToken", 0))


@pytest.mark.parametrize("channel", sorted(EXPIRING))
def test_a_token_is_renewed_before_it_lapses_and_the_old_one_is_good_until_then(shop: Shop, channel: str) -> None:
    expires(shop, channel, HOUR)
    poll = import_module("functions.place_order.poll_channels").handler
    poll({}, Context())
    assert renewals(shop, channel) == 0
    shop.later(minutes=45)
    poll({}, Context())
    poll({}, Context())
    assert renewals(shop, channel) == 1
    secret = secret_of(channel)
    assert secret["access_token"] == "renewed-token-1"
    shop.later(minutes=30)
    assert list(shop.app.channel(channel).orders_since(shop.now)) == []
    shop.app.secrets.put(channel, {**secret, "access_token": "a lapsed one"})
    shop.app.secrets.forget(channel)
    with pytest.raises(ChannelUnavailable):
        list(shop.app.channel(channel).orders_since(shop.now))


def test_a_new_refresh_token_replaces_the_one_that_was_used_and_nothing_else_changes(shop: Shop) -> None:
    expires(shop, "etsy", HOUR, webhook_secrets=["whsec_bmV3", "whsec_b2xk"])
    before = secret_of("etsy")
    shop.later(minutes=50)
    assert shop.app.renew_token("etsy", "run-1")
    after = secret_of("etsy")
    assert after["refresh_token"] == "refresh-token-1"
    assert {name for name in after if after[name] != before.get(name)} == {
        "access_token",
        "refresh_token",
        "expires_at",
    }
    shop.later(minutes=50)
    assert shop.app.renew_token("etsy", "run-2")


def test_two_runs_at_once_renew_once(shop: Shop) -> None:
    expires(shop, "etsy", HOUR)
    shop.later(minutes=50)
    outcome = []
    real = shop.app.transport

    def meanwhile(request: Any, *, timeout: float) -> Any:
        shop.app.__dict__["transport"] = real
        outcome.append(shop.app.renew_token("etsy", "run-2"))
        return real(request, timeout=timeout)

    shop.app.__dict__["transport"] = meanwhile
    assert shop.app.renew_token("etsy", "run-1")
    assert (outcome, renewals(shop, "etsy")) == ([False], 1)


def test_a_refresh_token_that_is_not_taken_is_said_without_being_told(shop: Shop) -> None:
    expires(shop, "amazon", HOUR)
    shop.app.secrets.put("amazon", {**secret_of("amazon"), "refresh_token": "stolen and revoked"})
    shop.app.secrets.forget("amazon")
    shop.later(minutes=50)
    with pytest.raises(ChannelRefused) as caught:
        shop.app.renew_token("amazon", "run-1")
    assert "stolen" not in str(caught.value)


def test_a_channel_whose_tokens_do_not_expire_is_left_alone(shop: Shop) -> None:
    assert not shop.app.renew_token("shopify", "run-1")
    assert not shop.app.renew_token("etsy", "run-1")  # No refresh token: somebody else renews it.
