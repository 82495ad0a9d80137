"""Addresses that others choose: what we send to, and what we never do."""

from __future__ import annotations

import pytest

from oms.runtime.outbound import HttpRequest, Unreachable
from oms.webhooks.egress import UrlRefused, addresses_of, check_url, is_public, pinned_transport

NASTY = [
    "http://erp.merchant.example/",
    "ftp://erp.merchant.example/",
    "file:///etc/passwd",
    "gopher://erp.merchant.example/",
    "https://user:password@erp.merchant.example/",
    "https://erp.merchant.example@169.254.169.254/",
    "https://127.0.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[fd00:ec2::254]/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://localhost/",
    "https://intranet/",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://1.0.0.127.in-addr.arpa/",
    "https://erp.merchant.example:22/",
    "https://erp.merchant.example:0/",
    "https://erp.merchant.example:99999/",
    "https://erp.merchant.example\\@127.0.0.1/",
    "https://erp.merchant.example/#fragment",
    "https://erp.merchant.example/\r\nHost: other",
    "https://erp.merchant.ex\u0430mple/",
    "https://①②⑦.⓪.⓪.①/",
    "https://",
    "//erp.merchant.example/",
    "https://..example/",
    "https://[/",
    "https://erp.merchant.example/" + "a" * 2000,
]


@pytest.mark.parametrize("url", NASTY)
def test_a_url_that_could_reach_what_only_we_can_reach_is_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        check_url(url, local=False)


@pytest.mark.parametrize("url", ["https://erp.merchant.example/hooks?a=b", "https://erp.merchant.example:8443/"])
def test_a_public_https_url_is_taken(url: str) -> None:
    assert check_url(url, local=False).hostname == "erp.merchant.example"


def test_only_the_local_stage_may_use_http_and_only_to_this_machine() -> None:
    assert check_url("http://127.0.0.1:4570/subscriber/", local=True).port == 4570
    for url in ("http://10.0.0.1/", "http://erp.merchant.example/"):
        with pytest.raises(UrlRefused):
            check_url(url, local=True)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1"),  # noqa: S104
        *("192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    ],
)
def test_an_address_that_is_not_the_internet_s_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8"])
def test_an_address_of_the_internet_is(address: str) -> None:
    assert is_public(address)


def test_a_name_with_one_private_address_among_others_is_refused() -> None:
    parts = check_url("https://erp.merchant.example/", local=False)
    with pytest.raises(UrlRefused):
        addresses_of(parts, lambda host, port: ["93.184.216.34", "10.0.0.1"], local=False)


def test_the_transport_refuses_before_it_connects() -> None:
    send = pinned_transport(local=False, resolve=lambda host, port: ["169.254.169.254"])
    with pytest.raises(Unreachable, match="not public"):
        send(HttpRequest("POST", "https://erp.merchant.example/"), timeout=1.0)
