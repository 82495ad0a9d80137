"""A local cloud of the tests' own, for the whole run: the template as deployed, IAM evaluated, ports that are free.

While writing tests, ``OMS_E2E=up pytest tests/e2e`` takes the cloud of ``make up`` instead, without its wait.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from local import cloud
from local.client import Client, checkout
from local.cloud import Endpoints
from local.reports import Stage
from tests.e2e.inside import Inside

EXPIRY_SECONDS = 30
"""Longer than any test leaves its orders unpaid; short enough to see some expire."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than ten seconds; -m 'not slow' leaves it out")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The replay comes last: what it leaves in streams and queues takes minutes, and others would wait behind it."""
    items.sort(key=lambda item: item.path.name == "test_replay.py")


@pytest.fixture(scope="session")
def endpoints() -> Iterator[Endpoints]:
    if os.environ.get("OMS_E2E") == "up":
        yield cloud.default().endpoints()
        return
    with cloud.running(parameters={"UnpaidExpirySeconds": str(EXPIRY_SECONDS)}) as running:
        yield running


@pytest.fixture(scope="session")
def client(endpoints: Endpoints) -> Client:
    return Client(endpoints, connections=80)


@pytest.fixture(scope="session")
def inside(client: Client) -> Inside:
    return Inside(client)


@dataclass(frozen=True, slots=True)
class Abandoned:
    """An order that nobody pays for."""

    sku: str
    received: int
    placed: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="session", autouse=True)
def abandoned(client: Client) -> Abandoned:
    """Placed first, so that it has expired by the time a test asks."""
    sku = client.stock_up(f"ABANDONED-{secrets.token_hex(4)}", 10)
    return Abandoned(sku, 10, client.place(checkout((sku, 4))).expect(201))


@pytest.fixture
def sku() -> str:
    """A SKU that no other test has."""
    return f"TEST-{secrets.token_hex(4).upper()}"


@pytest.fixture
def stage() -> Stage:
    """For waiting: what is awaited stands in the failure."""
    return Stage()
