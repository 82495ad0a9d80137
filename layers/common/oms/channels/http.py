"""One way to call a marketplace: what an answer means for trying again is decided here, for all adapters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar
from urllib.parse import urlencode

from oms.channels.port import Callback, ChannelRefused, ChannelThrottled, ChannelUnavailable, Quota
from oms.runtime.clock import Clock, utc_now
from oms.runtime.outbound import HttpRequest, HttpResponse, Transport, Unreachable

TIMEOUT_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 86_400.0
_DETAIL_LENGTH = 200
_QUOTA_HEADERS = ("x-limit-per-second", "x-limit-per-day", "x-remaining-today")
"""Etsy tells its limits so. Amazon tells a rate for each operation, which its adapter keeps; Shopify's points come back
by themselves and are told with a refusal; eBay tells nothing."""


class ChannelApi:
    """A marketplace's HTTP API: sends with credentials, and turns failures into the port's exceptions.

    ``headers`` is asked on every call, since access tokens are renewed while a process lives. ``pause`` is
    the wait after a 429 that names none. The host comes from configuration: no URL in an answer is followed.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        transport: Transport,
        headers: Callable[[], Mapping[str, str]],
        pause: float,
        clock: Clock = utc_now,
    ) -> None:
        self._name = name
        self._base = base_url.rstrip("/")
        self._transport = transport
        self._headers = headers
        self._pause = pause
        self._clock = clock
        self.quota = Quota()
        """What the latest answers said of the limits."""

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        payload: Any = None,
        form: Mapping[str, str] | None = None,
        sign: Callable[[bytes], Mapping[str, str]] | None = None,
        also: Sequence[int] = (),
    ) -> HttpResponse:
        """Send once. Returns 2xx answers and those in ``also``; raises for every other. ``sign`` makes headers of
        the body's bytes.

        An expired token (401) and a conflict with another change (409) count as unavailable: the same call
        succeeds once the secret is renewed, or the other change is over.
        """
        headers = {"accept": "application/json", **self._headers()}
        body = b""
        if payload is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(payload, separators=(",", ":")).encode()
        elif form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
            body = urlencode(form).encode()
        if sign is not None:
            headers.update(sign(body))
        url = f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            response = self._transport(HttpRequest(method, url, headers, body), timeout=TIMEOUT_SECONDS)
        except Unreachable as error:
            raise ChannelUnavailable(f"{self._name} did not answer {method} {path}") from error
        self._learn(response)
        if 200 <= response.status < 300 or response.status in also:
            return response
        said = f"{self._name} answered {response.status} to {method} {path}: {refusal_text(response)}"
        refusal: Exception = ChannelRefused(said)
        if response.status == 429:
            refusal = ChannelThrottled(said, self._retry_after(response))
        elif response.status >= 500 or response.status in (401, 408, 409):
            refusal = ChannelUnavailable(said)
        refusal.add_note(f"{self._name} answered {response.status} to {method}")
        raise refusal

    def _learn(self, response: HttpResponse) -> None:
        told = {name: response.headers.get(name, "") for name in _QUOTA_HEADERS}
        numbers = {name: int(value) for name, value in told.items() if re.fullmatch(r"[0-9]{1,9}", value)}
        if numbers:
            self.quota = Quota(
                numbers.get("x-limit-per-second", 0),
                numbers.get("x-limit-per-day", 0),
                numbers.get("x-remaining-today"),
            )

    def document(self, response: HttpResponse) -> dict[str, Any]:
        """The answer as a JSON object; a proxy's error page in its place counts as no answer."""
        try:
            value = response.json()
        except ValueError as error:
            raise ChannelUnavailable(f"{self._name} answered something that is not JSON") from error
        if not isinstance(value, dict):
            raise ChannelUnavailable(f"{self._name} answered something that is not an object")
        return value

    def _retry_after(self, response: HttpResponse) -> float:
        told = response.headers.get("retry-after", "")
        try:
            seconds = float(told)
        except ValueError:
            seconds = self._until(told)
        return min(seconds, LONGEST_PAUSE_SECONDS) if seconds > 0 else self._pause

    def _until(self, date: str) -> float:
        """The seconds until an HTTP date; 0 when it is none."""
        try:
            return (parsedate_to_datetime(date) - self._clock()).total_seconds()
        except (ValueError, TypeError):
            return 0.0


class Credentials(Protocol):
    """What a channel's secret holds."""

    @classmethod
    def parse(cls, secret: Mapping[str, Any]) -> Self:
        """From the secret's JSON; ``KeyError`` names what is missing."""
        ...


Known = TypeVar("Known", bound=Credentials)


class HttpChannel(Generic[Known]):
    """What adapters stand on that speak HTTPS: the API, and credentials that are read again on every call."""

    name: ClassVar[str]
    pause_seconds: ClassVar[float]
    """The wait after a 429 that names none."""
    _known: ClassVar[type[Any]]

    def __init__(
        self, base_url: str, credentials: Callable[[], Known], transport: Transport, clock: Clock = utc_now
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._api = ChannelApi(self.name, base_url, transport, self._headers, self.pause_seconds, clock)

    @classmethod
    def from_secret(
        cls, base_url: str, secret: Callable[[], Mapping[str, Any]], transport: Transport, clock: Clock = utc_now
    ) -> Self:
        """Build from the secret's JSON, read again on every call."""
        return cls(base_url, lambda: cls._known.parse(secret()), transport, clock)

    def quota(self) -> Quota:
        """What the latest answers said of the limits."""
        return self._api.quota

    def challenge(self, callback: Callback) -> HttpResponse | None:
        """None for a channel that has no endpoint prove itself by a challenge."""
        return None

    def _headers(self) -> Mapping[str, str]:
        """What every request carries."""
        return {}


def refusal_text(response: HttpResponse) -> str:
    """What an error answer says, shortened for a log line."""
    try:
        value = response.json()
    except ValueError:
        return "no explanation"
    if isinstance(value, dict):
        if isinstance(value.get("error"), str):
            return str(value["error"])[:_DETAIL_LENGTH]
        if isinstance(value.get("errors"), list):
            return error_text(value["errors"]) or "no explanation"
    return "no explanation"


def error_text(errors: Sequence[Any]) -> str:
    """A list of ``{"errorId", "message"}`` in one line."""
    known = [each for each in errors if isinstance(each, dict)]
    told = [f"{each.get('errorId', '?')} {each.get('message', '')}" for each in known]
    return "; ".join(told)[:_DETAIL_LENGTH]
