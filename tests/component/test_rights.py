"""What moto does not do: a function that does more than its role allows fails the test that saw it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.template import ROOT
from tests.support.shop import Shop, open_shop


def run_as(entry: str, code: str, shop: Shop) -> None:
    """Run a line as if it stood in a function's file."""
    names: dict[str, Any] = {"app": shop.app}
    exec(compile(code, str(ROOT / f"functions/{entry}.py"), "exec"), names)  # noqa: S102


@pytest.mark.parametrize(
    ("entry", "code", "refused"),
    [
        (
            "messages/feedback",
            "app.inventory.table.get('SKU#A', 'STOCK#0')",
            "MailFeedbackFunction may not dynamodb:GetItem on InventoryTable",
        ),
        (
            "messages/publish",
            "app.orders.table.transact([app.orders.table.delete('gone', ('A', 'B'), None)])",
            "PublishFunction may not dynamodb:DeleteItem on OrdersTable",
        ),
        (
            "messages/publish",
            "app.secrets.get('sealing')",
            "PublishFunction may not secretsmanager:GetSecretValue on SealingSecret",
        ),
        (
            "inventory_sync/stock_api",
            "app.files.put('labels/1.pdf', b'', 'application/pdf')",
            "StockApiFunction may not s3:PutObject on FilesBucket/labels/1.pdf",
        ),
        (
            "payment_webhook/settle",
            "app.queue_catalogue_job('1')",
            "SettlePaymentsFunction may not sqs:SendMessage on CatalogueJobsQueue",
        ),
    ],
)
def test_a_call_that_its_role_does_not_allow_fails_the_test(entry: str, code: str, refused: str) -> None:
    with pytest.raises(AssertionError, match=refused), open_shop() as shop:
        run_as(entry, code, shop)


def test_a_call_that_its_role_allows_is_none_of_its_business(shop: Shop) -> None:
    run_as("messages/publish", "app.orders.table.get('A', 'B')", shop)
    run_as("inventory_sync/stock_api", "app.files.put('imports/1.csv', b'', 'text/csv')", shop)
    run_as("inventory_sync/sync_channel", "app.secrets.get('amazon')", shop)


def test_what_a_test_does_itself_needs_no_right(shop: Shop) -> None:
    shop.app.orders.table.get("A", "B")
    assert not shop.refused
