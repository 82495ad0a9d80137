"""Which channels exist. A new one is a module that passes the conformance suite, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol

from oms.channels.port import Channel
from oms.runtime.clock import Clock, utc_now
from oms.runtime.outbound import Transport

_ADAPTERS = {
    "etsy": "oms.channels.etsy:EtsyChannel",
    "ebay": "oms.channels.ebay:EbayChannel",
    "shopify": "oms.channels.shopify:ShopifyChannel",
    "amazon": "oms.channels.amazon:AmazonChannel",
    "webhook": "oms.channels.webhook:WebhookChannel",
}


class UnknownChannel(LookupError):
    """No adapter carries this name."""


class SecretSource(Protocol):
    """Where credentials come from; asked on every call, so that a renewed token is used without a restart."""

    def get(self, secret_id: str) -> Mapping[str, Any]:
        """The secret's JSON object."""
        ...


def channel_names() -> tuple[str, ...]:
    """Every channel, in a stable order."""
    return tuple(_ADAPTERS)


def build(name: str, settings: object, secrets: SecretSource, transport: Transport, clock: Clock = utc_now) -> Channel:
    """The channel's adapter. ``settings`` holds ``<name>_api_base`` and ``<name>_secret_id``.

    Raises ``UnknownChannel``. The adapter's module is imported here and not before.
    """
    try:
        module, _, attribute = _ADAPTERS[name].partition(":")
    except KeyError as error:
        raise UnknownChannel(name) from error
    connect: Callable[..., Channel] = getattr(import_module(module), attribute).from_secret
    secret_id = getattr(settings, f"{name}_secret_id")
    return connect(getattr(settings, f"{name}_api_base"), lambda: secrets.get(secret_id), transport, clock)
