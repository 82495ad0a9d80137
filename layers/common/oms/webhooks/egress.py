"""HTTP to addresses that others choose. Whoever can name a URL must not reach what only we can reach.

The host is resolved once, every address it has must be public, and the connection goes to the address that was checked,
so that a name cannot change its mind in between. No redirects, no proxies, little time, and the answer's body is not
read. Only a local stage may use plain HTTP, and only to its own machine.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from oms.runtime.outbound import HttpRequest, HttpResponse, Transport, Unreachable

Resolve = Callable[[str, int], Sequence[str]]

CONNECT_SECONDS = 3.0
_PORTS = frozenset({443, 8443})
_EMBEDDING = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


class UrlRefused(ValueError):
    """Not an address that we send to; ``str`` says why, to the person who gave it."""


def check_url(url: str, *, local: bool) -> SplitResult:
    """The parts of a URL that we may send to, as far as its spelling tells. Raises ``UrlRefused``."""
    if len(url) > 2000 or not url.isascii() or not url.isprintable() or any(each in url for each in " \\<>\"'"):
        raise UrlRefused("must be a plain URL of at most 2000 characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UrlRefused("is not a URL") from None
    host = parts.hostname or ""
    if parts.username is not None or parts.password is not None:
        raise UrlRefused("must not carry a user or a password")
    if parts.fragment:
        raise UrlRefused("must not carry a fragment")
    if local and host in ("127.0.0.1", "localhost") and parts.scheme == "http":
        return parts
    if parts.scheme != "https":
        raise UrlRefused("must begin with https://")
    if port is not None and port not in _PORTS:
        raise UrlRefused("may use the ports 443 and 8443 only")
    # A name with a public ending. Numbers in any spelling (0x7f.1, 2130706433) end in something that is no letter.
    labels = host.rstrip(".").split(".")
    if len(labels) < 2 or not all(labels) or not labels[-1].isalpha():
        raise UrlRefused("must name a public host")
    if labels[-1] in ("local", "localhost", "internal", "home", "lan", "corp", "arpa"):
        raise UrlRefused("must name a public host")
    return parts


def is_public(address: str) -> bool:
    """Whether an address is one of the internet's, whatever it is wrapped in."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and any(ip in network for network in _EMBEDDING):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def addresses_of(parts: SplitResult, resolve: Resolve, *, local: bool) -> Sequence[str]:
    """The addresses behind a checked URL, all of them public. Raises ``UrlRefused`` and ``Unreachable``."""
    host = parts.hostname or ""
    if local and parts.scheme == "http":
        return ("127.0.0.1",)
    try:
        found = resolve(host, parts.port or 443)
    except OSError as error:
        raise Unreachable(f"{host} cannot be resolved: {error}") from error
    if not found or not all(is_public(address) for address in found):
        raise UrlRefused(f"{host} leads to an address that is not public")
    return found


def resolve_by_dns(host: str, port: int) -> Sequence[str]:
    """Every address of a host."""
    return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})


def pinned_transport(*, local: bool, resolve: Resolve = resolve_by_dns) -> Transport:
    """A transport that reaches only what ``check_url`` and ``is_public`` let through."""

    def send(request: HttpRequest, *, timeout: float) -> HttpResponse:
        try:
            parts = check_url(request.url, local=local)
            address = addresses_of(parts, resolve, local=local)[0]
        except UrlRefused as refused:
            raise Unreachable(f"refused: {refused}") from None
        return _within(timeout, lambda: _exchange(parts, address, request, timeout))

    return send


def _exchange(parts: SplitResult, address: str, request: HttpRequest, timeout: float) -> HttpResponse:
    import urllib3

    host = parts.hostname or ""
    limits = urllib3.Timeout(connect=CONNECT_SECONDS, read=timeout)
    pool: Any
    if parts.scheme == "https":
        # The certificate must be the name's, though the connection goes to the address.
        pool = urllib3.HTTPSConnectionPool(
            address, parts.port or 443, server_hostname=host, assert_hostname=host, timeout=limits, retries=False
        )
    else:
        pool = urllib3.HTTPConnectionPool(address, parts.port or 80, timeout=limits, retries=False)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {**request.headers, "host": parts.netloc}
    try:
        answer = pool.urlopen(
            request.method, target, body=request.body, headers=headers, redirect=False, preload_content=False
        )
        return HttpResponse(answer.status)
    except urllib3.exceptions.HTTPError as error:
        raise Unreachable(type(error).__name__) from error
    finally:
        pool.close()


def _within(seconds: float, exchange: Callable[[], HttpResponse]) -> HttpResponse:
    """The whole exchange within a time, however slowly its bytes drip: a socket's time-out begins anew at each."""
    ended: list[HttpResponse | Exception] = []

    def run() -> None:
        try:
            ended.append(exchange())
        except Exception as error:
            ended.append(error)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(seconds + CONNECT_SECONDS)
    if not ended:
        raise Unreachable("no answer in time")
    if isinstance(ended[0], Exception):
        raise ended[0]
    return ended[0]
