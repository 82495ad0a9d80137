"""What every test stands on: no real credentials, one region, no network by accident."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_ACCOUNT_ID_ENDPOINT_MODE="disabled",
    POWERTOOLS_SERVICE_NAME="test",
    POWERTOOLS_METRICS_NAMESPACE="OrderManagement",
)


@pytest.fixture
def shop() -> Iterator[object]:
    """The real handlers on moto tables, with simulator cores in place of Stripe, marketplaces and the carrier."""
    from tests.support.shop import open_shop

    with open_shop() as opened:
        yield opened
