"""The local EasyPost beside EasyPost's own recorded answers."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from local.simulators.core import Delivery, Request, Response
from local.simulators.easypost import MAGIC, EasyPostCore, sign
from oms.fulfillment.easypost import verify

FACTS = Path(__file__).resolve().parents[2].parent / "shared" / "facts" / "shipping"
recorded = pytest.mark.skipif(
    not FACTS.exists(),
    reason="EasyPost's recorded answers are not beside this checkout (../shared/facts/shipping)",
)
ADDRESS = {
    "name": "A",
    "street1": "1 Main St",
    "city": "Salem",
    "state": "OR",
    "zip": "97301",
    "country": "US",
}
SHIPMENT = {
    "from_address": ADDRESS,
    "to_address": ADDRESS,
    "parcel": {"weight": 15.4, "length": 10, "width": 8, "height": 4},
    "reference": "parcel-1",
}


class Account:
    """A shipper with a webhook."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.sent: list[Delivery] = []
        self.core = EasyPostCore(lambda: self.now, self.sent.append)

    def call(self, method: str, path: str, told: Any = None) -> Response:
        headers = {"authorization": "Basic " + b64encode(b"EZTK_1:").decode()}
        body = b"" if told is None else json.dumps(told).encode()
        return self.core.handle(Request.to(method, path, headers, body))

    def bought(self) -> Any:
        shipment = self.call("POST", "/v2/shipments", {"shipment": SHIPMENT}).json()
        rate = {"rate": {"id": shipment["rates"][0]["id"]}}
        return self.call("POST", f"/v2/shipments/{shipment['id']}/buy", rate).json()

    def track(self, **told: str) -> Response:
        return self.call("POST", "/_sim/track", told)


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture(scope="module")
def pairs() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FACTS / "easypost-recorded-pairs.json").read_text())
    return found


def error_code(response: Response) -> tuple[int, str]:
    return response.status, response.json()["error"]["code"]


@recorded
def test_a_recorded_shipment_is_answered_in_the_recorded_shape(account: Account, pairs: dict[str, Any]) -> None:
    exchange = pairs["test_shipment_create"][0]
    answer = account.call("POST", "/v2/shipments", exchange["request"]["body"])
    assert answer.status == exchange["response"]["status"]["code"]
    _same_shape(answer.json(), exchange["response"]["body"], "shipment")


@recorded
def test_a_bought_label_is_answered_in_the_recorded_shape(account: Account, pairs: dict[str, Any]) -> None:
    created, bought = pairs["test_shipment_buy"]
    shipment = account.call("POST", "/v2/shipments", created["request"]["body"]).json()
    rate = {"rate": {"id": shipment["rates"][2]["id"]}}
    answer = account.call("POST", f"/v2/shipments/{shipment['id']}/buy", rate)
    assert answer.status == bought["response"]["status"]["code"]
    _same_shape(answer.json(), bought["response"]["body"], "shipment")
    assert answer.json()["selected_rate"]["rate"] == bought["response"]["body"]["selected_rate"]["rate"]
    assert answer.json()["fees"] == bought["response"]["body"]["fees"]


@recorded
def test_a_refund_is_answered_as_recorded(account: Account, pairs: dict[str, Any]) -> None:
    exchange = pairs["test_shipment_refund"][1]
    answer = account.call("POST", f"/v2/shipments/{account.bought()['id']}/refund", {})
    assert answer.status == exchange["response"]["status"]["code"]
    assert answer.json()["refund_status"] == exchange["response"]["body"]["refund_status"]


@recorded
def test_new_rates_are_answered_in_the_recorded_shape(account: Account, pairs: dict[str, Any]) -> None:
    shipment = account.call("POST", "/v2/shipments", {"shipment": SHIPMENT}).json()
    answer = account.call("POST", f"/v2/shipments/{shipment['id']}/rerate", {}).json()
    _same_shape(answer, pairs["test_shipment_regenerate_rates"][1]["response"]["body"], "rates")
    assert answer["rates"][0]["id"] != shipment["rates"][0]["id"]


@recorded
def test_a_tracker_is_answered_in_the_recorded_shape(account: Account, pairs: dict[str, Any]) -> None:
    created, found = pairs["test_tracker_retrieve"]
    tracker = account.call("POST", "/v2/trackers", created["request"]["body"]).json()
    answer = account.call("GET", f"/v2/trackers/{tracker['id']}")
    assert answer.status == found["response"]["status"]["code"]
    _same_shape(answer.json(), found["response"]["body"], "tracker", but={"carrier_detail"})
    assert answer.json()["status"] == found["response"]["body"]["status"]


@recorded
@pytest.mark.parametrize(("name", "index"), [("test_error", 0), ("test_address_verify_invalid_address", 1)])
def test_a_mistake_is_answered_as_recorded(account: Account, pairs: dict[str, Any], name: str, index: int) -> None:
    exchange = pairs[name][index]
    if index:
        address = account.call("POST", "/v2/addresses", pairs[name][0]["request"]["body"])
        assert address.status == pairs[name][0]["response"]["status"]["code"]
        answer = account.call("GET", f"/v2/addresses/{address.json()['id']}/verify")
    else:
        answer = account.call("POST", "/v2/shipments", exchange["request"]["body"])
    assert answer.status == exchange["response"]["status"]["code"]
    assert answer.json() == exchange["response"]["body"]


@recorded
def test_the_vendors_signature_vector_holds() -> None:
    vector = json.loads((FACTS / "easypost-webhook-vector.json").read_text())
    body = vector["body"].encode()
    assert sign(vector["secret"], body) == vector["header"]
    verify(body, vector["header"], [vector["secret"]])


@recorded
def test_a_webhook_has_the_vendors_shape(account: Account) -> None:
    hook = {"webhook": {"url": "https://oms.example/easypost", "webhook_secret": "sécret"}}
    assert account.call("POST", "/v2/webhooks", hook).status == 201
    account.track(tracker=account.bought()["tracker"]["id"], status="in_transit")
    delivery = account.sent[-1]
    event = json.loads(delivery.body)
    _same_shape(event, json.loads((FACTS / "easypost-event-body.json").read_text()), "event", but={"carrier_detail"})
    assert (event["description"], event["previous_attributes"]) == ("tracker.updated", {"status": "unknown"})
    assert delivery.headers["x-hmac-signature"] == sign("sécret", delivery.body)


def test_a_second_label_for_a_shipment_is_refused(account: Account) -> None:
    shipment = account.bought()
    again = account.call("POST", f"/v2/shipments/{shipment['id']}/buy", {"rate": shipment["rates"][1]})
    assert error_code(again) == (422, "SHIPMENT.POSTAGE.EXISTS")
    assert [label["tracking_code"] for label in account.call("GET", "/_sim/labels?reference=parcel-1").json()] == [
        shipment["tracking_code"]
    ]


def test_without_a_key_nothing_is_answered(account: Account) -> None:
    assert account.core.handle(Request.to("GET", "/v2/shipments/shp_1")).status == 401


@pytest.mark.parametrize(("code", "status"), MAGIC.items())
def test_magic_tracking_codes_have_their_documented_status(account: Account, code: str, status: str) -> None:
    tracker = account.call("POST", "/v2/trackers", {"tracker": {"tracking_code": code}}).json()
    assert tracker["status"] == status


def test_a_scan_moves_the_shipment_and_its_tracker(account: Account) -> None:
    shipment = account.bought()
    for status in ("pre_transit", "in_transit", "delivered"):
        account.track(tracking_code=shipment["tracking_code"], status=status)
    found = account.call("GET", f"/v2/shipments/{shipment['id']}").json()
    assert (found["status"], found["tracker"]["status"]) == ("delivered", "delivered")
    assert len(found["tracker"]["tracking_details"]) == 3


def test_a_failed_delivery_is_to_be_tried_again_and_then_given_up(account: Account) -> None:
    account.call("POST", "/_sim/config", {"callback_url": "https://oms.example/easypost", "webhook_secret": "s"})
    account.bought()
    delivery: Delivery | None = account.sent[0]
    attempts = 0
    while delivery is not None:
        attempts += 1
        delivery = account.core.delivered(delivery, 500)
    deliveries = account.call("GET", "/_sim/deliveries").json()
    assert len(deliveries[0]["attempts"]) == attempts > 1
    assert deliveries[0]["delivered"] is False


def test_webhooks_are_lost_doubled_and_turned_round_on_request(account: Account) -> None:
    account.call("POST", "/_sim/config", {"callback_url": "https://oms.example/easypost", "webhook_secret": "s"})
    account.call("POST", "/_sim/bad-post", {"drop": 1})
    code = account.bought()["tracking_code"]
    assert account.sent == []
    account.call("POST", "/_sim/bad-post", {"hold": 2})
    account.track(tracking_code=code, status="in_transit")
    account.track(tracking_code=code, status="delivered")
    assert account.sent == []
    account.call("POST", "/_sim/release")
    assert [json.loads(delivery.body)["result"]["status"] for delivery in account.sent] == ["delivered", "in_transit"]
    account.call("POST", "/_sim/bad-post", {"duplicate": 1})
    account.track(tracking_code=code, status="in_transit")
    assert account.sent[-1] == account.sent[-2]


def test_a_parcel_is_on_one_scan_form_only(account: Account) -> None:
    form = {"scan_form": {"shipments": [{"id": account.bought()["id"]}]}}
    assert account.call("POST", "/v2/scan_forms", form).status == 201
    assert error_code(account.call("POST", "/v2/scan_forms", form)) == (422, "SCAN_FORM.EXISTS")


def test_an_effect_can_hide_behind_a_failure(account: Account) -> None:
    account.call("POST", "/_sim/faults", {"next": [{"status": 500, "after_effect": True, "path": "/buy"}]})
    shipment = account.call("POST", "/v2/shipments", {"shipment": SHIPMENT}).json()
    path = f"/v2/shipments/{shipment['id']}"
    assert account.call("POST", f"{path}/buy", {"rate": shipment["rates"][0]}).status == 500
    assert account.call("GET", path).json()["postage_label"] is not None


@pytest.mark.parametrize("body", [b"\xff", b"[]", b'{"shipment": 1}', b'{"shipment": {"parcel": {}}}'])
def test_nonsense_has_an_answer(account: Account, body: bytes) -> None:
    headers = {"authorization": "Basic " + b64encode(b"EZTK_1:").decode()}
    assert account.core.handle(Request.to("POST", "/v2/shipments", headers, body)).status in (400, 422)


def _same_shape(ours: Any, theirs: Any, at: str, but: frozenset[str] | set[str] = frozenset()) -> None:
    """Every field of theirs, no other, and the same types where theirs is not null."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        free = at in {"event.previous_attributes", "shipment.options"}
        assert free or ours.keys() == theirs.keys(), at
        for name in theirs.keys() & ours.keys() - but:
            _same_shape(ours[name], theirs[name], f"{at}.{name}", but)
    elif isinstance(theirs, list) and isinstance(ours, list):
        for item in ours[:1] if theirs else []:
            _same_shape(item, theirs[0], f"{at}[]", but)
    elif theirs is not None and ours is not None:
        assert type(ours) is type(theirs), at
