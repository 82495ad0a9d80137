"""Access tokens that expire are renewed here, in one place and long before they lapse.

Etsy's and Amazon's live an hour, eBay's two; Shopify's and the storefront's do not expire. One scheduled function
renews what lapses soon and puts it back into the secret, so that every other function only reads, and the five minutes
for which it remembers a secret are no danger. A secret without a refresh token is left as it is: somebody else renews
it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from oms.channels.port import ChannelRefused, ChannelUnavailable
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import Table
from oms.runtime.outbound import HttpRequest, Transport, Unreachable
from oms.runtime.secrets import Secrets

RENEW_BEFORE = timedelta(minutes=20)
"""Three runs of the schedule and one memory of a secret fit into it."""
_LEASE = timedelta(seconds=60)
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Grant:
    """How one channel is asked for a new token: form fields, and what goes into headers."""

    path: str
    fields: Callable[[Mapping[str, Any]], Mapping[str, str]]
    headers: Callable[[Mapping[str, Any]], Mapping[str, str]]


def _etsy_fields(secret: Mapping[str, Any]) -> Mapping[str, str]:
    # Etsy's client is the keystring, the first half of the API key.
    return {"client_id": str(secret["api_key"]).split(":", 1)[0]}


def _basic(secret: Mapping[str, Any]) -> Mapping[str, str]:
    told = f"{secret['client_id']}:{secret['client_secret']}".encode()
    return {"authorization": f"Basic {base64.b64encode(told).decode()}"}


GRANTS: Mapping[str, Grant] = {
    "etsy": Grant("/v3/public/oauth/token", _etsy_fields, lambda secret: {}),
    "ebay": Grant("/identity/v1/oauth2/token", lambda secret: {}, _basic),
    "amazon": Grant(
        "/auth/o2/token",
        lambda secret: {"client_id": str(secret["client_id"]), "client_secret": str(secret["client_secret"])},
        lambda secret: {},
    ),
}


@dataclass(frozen=True, slots=True)
class RenewTokens:
    """Renews a channel's token when it lapses soon; one run at a time, since a refresh token may be good only once."""

    table: Table
    secrets: Secrets
    put_secret: Callable[[str, Mapping[str, Any]], None]
    transport: Transport
    clock: Clock
    owner: str

    def renew(self, channel: str, secret_id: str, base_url: str) -> bool:
        """Whether a new token was put into the secret. Raises ``ChannelUnavailable``, and ``ChannelRefused`` when the
        refresh token is not taken: then the merchant has to authorise us anew."""
        grant = GRANTS.get(channel)
        if grant is None or not self._is_due(self.secrets.get(secret_id)) or not self._lease(channel):
            return False
        try:
            # Whoever held the lease before may have renewed it, and an operator may have changed the rest.
            secret = self.secrets.fresh(secret_id)
            if not self._is_due(secret):
                return False
            renewed = self._ask(channel, grant, base_url, secret)
            self.put_secret(secret_id, {**secret, **renewed})
            self.secrets.forget(secret_id)
        finally:
            self._end_lease(channel)
        telemetry.count("ChannelTokensRenewed", channel=channel)
        telemetry.logger.info("channel_token_renewed", channel=channel, expires_at=renewed["expires_at"])
        return True

    def _is_due(self, secret: Mapping[str, Any]) -> bool:
        if not secret.get("refresh_token"):
            return False
        expires = str(secret.get("expires_at") or "")
        return not secret.get("access_token") or not expires or from_text(expires) - self.clock() < RENEW_BEFORE

    def _ask(self, channel: str, grant: Grant, base_url: str, secret: Mapping[str, Any]) -> dict[str, str]:
        form = {"grant_type": "refresh_token", "refresh_token": str(secret["refresh_token"]), **grant.fields(secret)}
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
            **grant.headers(secret),
        }
        request = HttpRequest("POST", base_url.rstrip("/") + grant.path, headers, urlencode(form).encode())
        asked_at = self.clock()
        try:
            response = self.transport(request, timeout=_TIMEOUT_SECONDS)
        except Unreachable as error:
            raise ChannelUnavailable(f"{channel} did not answer for a new token") from error
        # Nothing of the answer may reach a log: it holds tokens.
        if response.status >= 500 or response.status == 429:
            raise ChannelUnavailable(f"{channel} answered {response.status} for a new token")
        if response.status != 200:
            raise ChannelRefused(f"{channel} answered {response.status} for a new token")
        return _renewed(channel, response.json(), asked_at)

    def _lease(self, channel: str) -> bool:
        now = self.clock()
        write = self.table.update(
            "token",
            (f"CHANNEL#{channel}", "TOKEN"),
            "SET entity = :entity, lease_owner = :owner, lease_until = :until",
            "attribute_not_exists(lease_until) OR lease_until < :now",
            values={
                ":entity": "token_lease",
                ":owner": self.owner,
                ":now": to_text(now),
                ":until": to_text(now + _LEASE),
            },
        )
        return self.table.write_one(write)

    def _end_lease(self, channel: str) -> None:
        key, owner = (f"CHANNEL#{channel}", "TOKEN"), {":owner": self.owner}
        self.table.write_one(
            self.table.update("token", key, "REMOVE lease_until, lease_owner", "lease_owner = :owner", values=owner)
        )


def _renewed(channel: str, answer: Any, asked_at: datetime) -> dict[str, str]:
    try:
        token, seconds = str(answer["access_token"]), int(answer["expires_in"])
    except (KeyError, TypeError, ValueError) as error:
        raise ChannelUnavailable(f"{channel} answered without a token") from error
    renewed = {"access_token": token, "expires_at": to_text(asked_at + timedelta(seconds=seconds))}
    if answer.get("refresh_token"):
        renewed["refresh_token"] = str(answer["refresh_token"])
    return renewed
