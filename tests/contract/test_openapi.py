"""The contract is one thing: the file, the forms, the handlers' route tables and the template's routes."""

from __future__ import annotations

import json
from importlib import import_module

from openapi_spec_validator import validate

from local import openapi
from tests.contract.test_template import ROUTES

HTTP_ENTRIES = (
    "functions.place_order.api",
    "functions.place_order.callback",
    "functions.payment_webhook.webhook",
    "functions.inventory_sync.stock_api",
    "functions.fulfillment.warehouse_api",
    "functions.fulfillment.carrier_webhook",
    "functions.fulfillment.shipping_api",
    "functions.customer_service.api",
    "functions.messages.api",
    "functions.customer_service.aftersales",
    "functions.customer_service.customers",
    "functions.place_order.staff",
)


def test_the_committed_file_is_what_the_code_says() -> None:
    assert openapi.TARGET.read_text() == openapi.text(), "make openapi writes it anew"


def test_the_file_is_valid_openapi() -> None:
    validate(json.loads(openapi.text()))


def test_every_route_has_a_handler_a_description_and_a_place_in_the_template() -> None:
    handled = {route for entry in HTTP_ENTRIES for route in import_module(entry).ROUTES}
    described = {operation.route for operation in openapi.OPERATIONS}
    routed = {route["RouteKey"] for route in ROUTES.values()}
    assert handled == described == routed
