"""Our requests and the simulators' answers against the marketplaces' own published contracts and vectors.

The contracts may not be copied into this repository: they are read from ``../shared/facts`` where it exists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from openapi_schema_validator import OAS30Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from oms.channels.ebay import EbayChannel
from oms.channels.port import Callback, PersonDemand, Quantity, ShippedParcel, SignatureInvalid
from oms.runtime.outbound import HttpRequest, HttpResponse
from tests.support.marketplaces import SECRETS, Rig, answering

FACTS = Path(__file__).resolve().parents[2].parent / "shared" / "facts"
pytestmark = pytest.mark.skipif(
    not FACTS.is_dir(),
    reason="The published contracts are not here (../shared/facts): our copies may not be distributed.",
)

CONTRACTS = {
    "etsy": {"": "etsy/etsy-openapi-v3.trimmed.oas3.json"},
    "ebay": {
        "/sell/inventory/v1": "ebay/ebay-sell-inventory-1.17.4.trimmed.oas3.json",
        "/sell/fulfillment/v1": "ebay/ebay-sell-fulfillment-1.20.4.trimmed.oas3.json",
        "/commerce/notification/v1": "ebay/ebay-commerce-notification-1.5.1.trimmed.oas3.json",
    },
}
NOT_IN_THE_EXCERPT = re.compile(r"/sell/inventory/v1/offer/[^/]+(/withdraw|/publish)?")
"""Offers are ended and published by operations that the excerpt of eBay's contract leaves out."""
CALLED = {
    "etsy": {
        "createReceiptShipment",
        "getListingInventory",
        "getListingsInventoryByListingIds",
        "getShopReceipt",
        "getShopReceipts",
        "updateListing",
        "updateListingInventory",
    },
    "ebay": {
        "bulkGetInventoryItem",
        "bulkUpdatePriceQuantity",
        "createShippingFulfillment",
        "getOrder",
        "getOrders",
        "getPublicKey",
        "getShippingFulfillments",
    },
}


@dataclass(frozen=True)
class Operation:
    """One operation of a contract, found by a request."""

    contract: Mapping[str, Any]
    told: Mapping[str, Any]

    def complaints(self, value: Any, schema: Mapping[str, Any]) -> list[str]:
        """What is wrong with a value, names that the contract does not declare included."""
        root = DRAFT202012.create_resource({"$id": "urn:contract", **self.contract})
        absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:contract#/'))
        validator = OAS30Validator(absolute, registry=Registry().with_resource("urn:contract", root))
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
        return errors + list(self._undeclared(value, schema, "$"))

    def _undeclared(self, value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
        schema = self._resolved(schema)
        if isinstance(value, dict) and "properties" in schema:
            for name, member in value.items():
                if name not in schema["properties"]:
                    yield f"{path}.{name} is not declared"
                else:
                    yield from self._undeclared(member, schema["properties"][name], f"{path}.{name}")
        elif isinstance(value, list) and "items" in schema:
            for position, member in enumerate(value):
                yield from self._undeclared(member, schema["items"], f"{path}[{position}]")

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema or "oneOf" in schema:
            reference = schema.get("$ref") or schema["oneOf"][0]["$ref"]
            schema = self.contract["components"]["schemas"][reference.rpartition("/")[2]]
        return schema


def operation(channel: str, request: HttpRequest) -> Operation | None:
    path = urlsplit(request.url).path
    for base, name in CONTRACTS[channel].items():
        contract = json.loads((FACTS / name).read_text())
        # A literal path comes before one with an argument in its place.
        for template in sorted(contract["paths"], key=lambda each: each.count("{")):
            pattern = re.escape(base) + re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            told = contract["paths"][template].get(request.method.lower())
            if told and re.fullmatch(pattern, path):
                return Operation(contract, told)
    return None


def typed(text: str, schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "integer":
        return int(text)
    if schema.get("type") == "array":
        return [typed(each, schema["items"]) for each in text.split(",")]
    return text


def request_complaints(found: Operation, request: HttpRequest) -> list[str]:
    complaints = []
    declared = {each["name"]: each for each in found.told.get("parameters", []) if each["in"] == "query"}
    for name, text in parse_qsl(urlsplit(request.url).query):
        if name not in declared:
            complaints.append(f"the parameter {name} is not declared")
        else:
            schema = declared[name]["schema"]
            complaints += found.complaints(typed(text, schema), schema)
    accepted = found.told.get("requestBody", {}).get("content", {})
    if not request.body:
        return complaints + (["the body is missing"] if accepted else [])
    kind = request.headers["content-type"]
    if kind not in accepted:
        return [*complaints, f"{kind} is not accepted"]
    body = dict(parse_qsl(request.body.decode())) if "form" in kind else json.loads(request.body)
    return complaints + found.complaints(body, accepted[kind]["schema"])


def response_complaints(found: Operation, response: HttpResponse) -> list[str]:
    responses = found.told["responses"]
    if str(response.status) not in responses:
        return [f"the status {response.status} is not declared"]
    # eBay declares 207 without a body: it is the one of 200.
    declared = responses["200" if response.status == 207 else str(response.status)]
    content = declared.get("content", {}).get("application/json")
    return found.complaints(response.json(), content["schema"]) if content and response.body else []


def story(rig: Rig) -> None:
    """Everything that an adapter does, on listings and orders of every kind that the simulators make."""
    listings = [rig.list_sku("A", 5), rig.list_sku("B", 0), rig.list_sku("C", 3)]
    if rig.name == "etsy":
        products = [{"sku": "S", "quantity": 2}, {"sku": "M", "quantity": 3}]
        rig.control("POST", "listings", {"title": "Shirt", "products": products})
    for quantities in ((4, 2, 0), (0, 0, 1), (3, 3, 3)):
        rig.channel.push_quantities(
            [Quantity(each, quantity) for each, quantity in zip(listings, quantities, strict=True)]
        )
    rig.faults(reject_skus=["C"])
    rig.channel.push_quantities([Quantity(each, 9) for each in listings])
    rig.faults()
    rig.channel.read_quantities(listings)
    buyer = {"name": "Ada", "email": "ada@example.org", "line2": "Flat 2"}
    plain = rig.buy({"A": 1})
    rich = rig.buy({"A": 1, "C": 2}, buyer=buyer, shipping_minor=500, tax_minor=99, discount_minor=50)
    if rig.name == "etsy":
        rig.buy({"M": 1}, buyer={"address_withheld": True})
    for callback in rig.callbacks():
        rig.hear(callback)
    for order_id in (plain, rich, "12345"):
        rig.channel.fetch_order(order_id)
    rig.channel.confirm_shipment(plain, ShippedParcel("USPS", "9400 1", rig.moment))
    rig.channel.confirm_shipment(plain, ShippedParcel("USPS", "9400 1", rig.moment))
    rig.control("POST", "cancel", {"order_id": rich})
    list(rig.channel.orders_since(rig.moment - timedelta(days=1)))


@pytest.mark.parametrize("channel", ["etsy", "ebay"])
def test_requests_and_answers_keep_to_the_published_contract(channel: str) -> None:
    rig = Rig(channel)
    story(rig)
    complaints: dict[str, set[str]] = {}
    seen = set()
    for request, response in rig.exchanges:
        if NOT_IN_THE_EXCERPT.fullmatch(urlsplit(request.url).path):
            continue
        found = operation(channel, request)
        assert found, f"{request.method} {request.url} is no operation"
        name = found.told["operationId"]
        seen.add(name)
        wrong = request_complaints(found, request) + response_complaints(found, response)
        if wrong:
            complaints.setdefault(name, set()).update(wrong)
    assert complaints == {}
    assert seen == CALLED[channel]


def vectors(name: str) -> Any:
    return json.loads((FACTS / name).read_text()) if FACTS.is_dir() else {"signature_vectors": []}


@pytest.mark.parametrize(
    "vector", vectors("ebay/ebay-signature-vectors.json")["signature_vectors"], ids=lambda each: each["name"]
)
def test_ebays_own_signature_vectors(vector: dict[str, Any]) -> None:
    channel = answering("ebay", (200, vector["public_key_response"]))
    assert isinstance(channel, EbayChannel)
    headers = {"x-ebay-signature": vector["x_ebay_signature"]}
    callback = Callback("POST", headers, {}, vector["body"].encode())
    now = datetime(2026, 11, 1, tzinfo=UTC)
    if not vector["valid"]:
        with pytest.raises(SignatureInvalid):
            channel.read_callback(callback, now)
        return
    (notice,) = channel.read_callback(callback, now)
    assert notice.demand == PersonDemand("erase", ("test_user", "ma8vp1jySJC"))


def test_etsys_signature_vector() -> None:
    (vector,) = [each for each in vectors("webhook-vectors.json") if each["provider"] == "etsy"]
    rig = Rig("etsy")
    rig.secret = {**SECRETS["etsy"], "shop_id": "42", "webhook_secrets": [vector["secret"]]}
    callback = Callback("POST", vector["headers"], {}, vector["body"].encode())
    now = datetime.fromtimestamp(int(vector["headers"]["webhook-timestamp"]), UTC)
    (notice,) = rig.channel.read_callback(callback, now)
    assert (notice.kind, notice.external_id, notice.event_id) == ("order.created", "54321", "msg_2test")


def test_ebays_challenge_vector() -> None:
    (vector,) = [each for each in vectors("webhook-vectors.json") if each["provider"] == "ebay challenge"]
    rig = Rig("ebay")
    rig.secret = {
        **SECRETS["ebay"],
        "verification_token": vector["verification_token"],
        "endpoint": vector["endpoint"],
    }
    answer = rig.channel.challenge(Callback("GET", {}, {"challenge_code": vector["challenge_code"]}, b""))
    assert answer is not None
    assert answer.json() == {"challengeResponse": vector["challengeResponse"]}
