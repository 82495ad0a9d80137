"""EasyPostCarrier against the local EasyPost, in process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.simulators.core import Delivery, Request
from local.simulators.easypost import EasyPostCore, sign
from local.simulators.inprocess import transport_to
from oms.fulfillment.carrier import (
    Address,
    CarrierRefused,
    CarrierUnavailable,
    Customs,
    CustomsItem,
    Parcel,
    TrackingStatus,
)
from oms.fulfillment.easypost import EasyPostCarrier, SignatureInvalid, read_tracker, verify
from oms.runtime.outbound import HttpRequest, HttpResponse, Unreachable

SHOP = Address("Jack Sparrow", "388 Townsend St", "San Francisco", "94107", "US", "Apt 20", "CA", "5555555555")
HOME = Address("Elizabeth Swan", "179 N Harbor Dr", "Redondo Beach", "90277", "US", region="CA")
ABROAD = Address("Ada Byron", "12 Analytical Row", "London", "N1 9GU", "GB")
PARCEL = Parcel(weight_grams=436)
AUTH = {"authorization": "Basic RVpUSzo="}
SHIRTS = Customs((CustomsItem("Cotton shirt", 2, 3998, "USD", 400, "610910", "PT"),), "Kim Dock")


class Bench:
    """A carrier, the EasyPost behind it, and a line between them that can break."""

    def __init__(self) -> None:
        self.sent: list[Delivery] = []
        self.requests: list[HttpRequest] = []
        self.lose_answers = 0
        self.core = EasyPostCore(lambda: 1_800_000_000.0, self.sent.append)
        self._reach = transport_to({"easypost": self.core})
        self.carrier = EasyPostCarrier("EZTK_bench", api_base="http://easypost/", transport=self._send)

    def _send(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        self.requests.append(request)
        answer = self._reach(request, timeout=timeout)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unreachable("cut off")
        return answer

    def fail_next(self, **fault: Any) -> None:
        self.core.handle(Request.to("POST", "/_sim/faults", {}, json.dumps({"next": [fault]}).encode()))

    def labels(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.core.handle(Request.to("GET", "/_sim/labels")).json()
        return found

    def last_body(self) -> Any:
        return json.loads(self.requests[-1].body)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_quote_names_its_rates_in_minor_units(bench: Bench) -> None:
    quote = bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)
    assert [(rate.service, rate.amount, rate.currency, rate.delivery_days) for rate in quote.rates] == [
        ("Express", 3415, "USD", 1),
        ("Priority", 742, "USD", 2),
        ("GroundAdvantage", 607, "USD", 3),
    ]
    assert quote.label is None


def test_grams_become_ounces_and_millimetres_inches_never_rounded_down(bench: Bench) -> None:
    bench.carrier.quote("parcel-1", SHOP, HOME, Parcel(436, 254, 203, 101))
    told = bench.last_body()["shipment"]["parcel"]
    assert told == {"weight": 15.4, "length": 10.0, "width": 8.0, "height": 4.0}


@pytest.mark.parametrize(("grams", "ounces"), [(1, 0.1), (28, 1.0), (29, 1.1), (454, 16.1), (31_751, 1120.0)])
def test_weights_are_declared_to_the_tenth_of_an_ounce(bench: Bench, grams: int, ounces: float) -> None:
    bench.carrier.quote("parcel-1", SHOP, HOME, Parcel(grams))
    assert bench.last_body()["shipment"]["parcel"]["weight"] == ounces


def test_addresses_leave_out_what_is_not_known(bench: Bench) -> None:
    bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)
    assert bench.last_body()["shipment"]["to_address"] == {
        "name": "Elizabeth Swan",
        "street1": "179 N Harbor Dr",
        "city": "Redondo Beach",
        "state": "CA",
        "zip": "90277",
        "country": "US",
    }


def test_an_address_without_rates_is_refused_with_the_carriers_words(bench: Bench) -> None:
    nowhere = Address("A", "invalid", "Nowhere", "00000", "US")
    with pytest.raises(CarrierRefused, match="Address not found"):
        bench.carrier.quote("parcel-1", SHOP, nowhere, PARCEL)


def test_a_parcel_too_heavy_is_refused(bench: Bench) -> None:
    with pytest.raises(CarrierRefused, match="too heavy"):
        bench.carrier.quote("parcel-1", SHOP, HOME, Parcel(40_000))


def test_a_bought_label_has_what_the_parcel_needs(bench: Bench) -> None:
    quote = bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)
    label = bench.carrier.buy(quote.carrier_shipment_id, quote.rates[1].id)
    assert (label.carrier, label.service, label.amount, label.currency) == ("USPS", "Priority", 742, "USD")
    assert label.tracking_number
    assert label.tracker_id.startswith("trk_")
    assert label.label_url.endswith(".pdf")


def test_buying_twice_answers_with_the_same_label(bench: Bench) -> None:
    quote = bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)
    first = bench.carrier.buy(quote.carrier_shipment_id, quote.rates[2].id)
    assert bench.carrier.buy(quote.carrier_shipment_id, quote.rates[0].id) == first
    assert [label["reference"] for label in bench.labels()] == ["parcel-1"]


def test_a_label_whose_answer_was_lost_is_found_again(bench: Bench) -> None:
    quote = bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)
    bench.lose_answers = 1
    with pytest.raises(CarrierUnavailable):
        bench.carrier.buy(quote.carrier_shipment_id, quote.rates[0].id)
    found = bench.carrier.find(quote.carrier_shipment_id).label
    assert found is not None
    assert bench.carrier.buy(quote.carrier_shipment_id, quote.rates[0].id) == found
    assert len(bench.labels()) == 1


@pytest.mark.parametrize("status", [401, 409, 429, 500, 503])
def test_an_easypost_in_trouble_is_unavailable_not_a_refusal(bench: Bench, status: int) -> None:
    bench.fail_next(status=status)
    with pytest.raises(CarrierUnavailable):
        bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)


def test_an_unknown_shipment_is_refused(bench: Bench) -> None:
    with pytest.raises(CarrierRefused, match="could not be found"):
        bench.carrier.find("shp_none")


def test_an_unknown_rate_is_refused(bench: Bench) -> None:
    quote = bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)
    with pytest.raises(CarrierRefused):
        bench.carrier.buy(quote.carrier_shipment_id, "rate_none")
    assert bench.labels() == []


def test_voiding_again_or_without_a_label_is_harmless(bench: Bench) -> None:
    quote = bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)
    bench.carrier.void(quote.carrier_shipment_id)
    bench.carrier.buy(quote.carrier_shipment_id, quote.rates[0].id)
    bench.carrier.void(quote.carrier_shipment_id)
    bench.carrier.void(quote.carrier_shipment_id)
    assert [label["refund_status"] for label in bench.labels()] == ["submitted"]


def test_a_label_in_use_cannot_be_voided(bench: Bench) -> None:
    quote = bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)
    label = bench.carrier.buy(quote.carrier_shipment_id, quote.rates[0].id)
    told = json.dumps({"tracker": label.tracker_id, "status": "in_transit"}).encode()
    bench.core.handle(Request.to("POST", "/_sim/track", {}, told))
    with pytest.raises(CarrierRefused):
        bench.carrier.void(quote.carrier_shipment_id)


def test_prices_are_read_without_floats(bench: Bench) -> None:
    def answer(request: HttpRequest, *, timeout: float) -> HttpResponse:
        rate = {"carrier": "A", "service": "B", "delivery_days": None}
        rates = [
            {**rate, "id": "1", "rate": "1.15", "currency": "USD"},
            {**rate, "id": "2", "rate": "1200", "currency": "JPY"},
            {**rate, "id": "3", "rate": "2.345", "currency": "KWD"},
            {**rate, "id": "4", "rate": "0.285", "currency": "EUR"},
        ]
        shipment = {"id": "shp_1", "rates": rates, "postage_label": None, "selected_rate": None}
        return HttpResponse(200, {}, json.dumps(shipment).encode())

    carrier = EasyPostCarrier("EZTK_bench", api_base="http://easypost", transport=answer)
    assert [rate.amount for rate in carrier.find("shp_1").rates] == [115, 1200, 2345, 29]


def test_an_answer_that_is_no_json_is_no_answer(bench: Bench) -> None:
    def answer(request: HttpRequest, *, timeout: float) -> HttpResponse:
        return HttpResponse(200, {}, b"<html>")

    carrier = EasyPostCarrier("EZTK_bench", api_base="http://easypost", transport=answer)
    with pytest.raises(CarrierUnavailable):
        carrier.find("shp_1")


def test_a_return_label_brings_the_parcel_back_where_it_came_from(bench: Bench) -> None:
    quote = bench.carrier.quote("return-1", SHOP, HOME, PARCEL, is_return=True)
    label = bench.carrier.buy(quote.carrier_shipment_id, quote.rates[2].id)
    told = json.loads(bench.requests[0].body)["shipment"]
    assert (told["is_return"], told["to_address"]["name"]) == (True, "Elizabeth Swan")
    made = bench.core.handle(Request.to("GET", f"/v2/shipments/{quote.carrier_shipment_id}", AUTH)).json()
    assert (made["from_address"]["name"], made["to_address"]["name"]) == ("Elizabeth Swan", "Jack Sparrow")
    assert label.tracking_number


def test_a_parcel_that_crosses_a_border_tells_customs_what_it_carries(bench: Bench) -> None:
    with pytest.raises(CarrierRefused, match="customs_info"):
        bench.carrier.quote("parcel-1", SHOP, ABROAD, PARCEL)
    assert bench.carrier.quote("parcel-1", SHOP, ABROAD, PARCEL, customs=SHIRTS).rates
    told = bench.last_body()["shipment"]["customs_info"]
    assert told["customs_signer"] == "Kim Dock"
    assert told["customs_items"] == [
        {
            "description": "Cotton shirt",
            "quantity": 2,
            "value": 39.98,
            "currency": "USD",
            "weight": 14.2,
            "origin_country": "PT",
            "hs_tariff_number": "610910",
        }
    ]


def test_a_manifest_lists_its_parcels_and_is_answered_again_when_its_answer_was_lost(bench: Bench) -> None:
    shipments = []
    for number in range(2):
        quote = bench.carrier.quote(f"parcel-{number}", SHOP, HOME, PARCEL)
        bench.carrier.buy(quote.carrier_shipment_id, quote.rates[0].id)
        shipments.append(quote.carrier_shipment_id)
    bench.lose_answers = 1
    with pytest.raises(CarrierUnavailable):
        bench.carrier.manifest(shipments)
    manifest = bench.carrier.manifest(shipments)
    assert list(manifest.tracking_numbers) == [label["tracking_code"] for label in bench.labels()]
    assert manifest.form_url.endswith(".pdf")


def test_parcels_without_a_label_get_no_manifest(bench: Bench) -> None:
    quote = bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)
    with pytest.raises(CarrierRefused, match="postage"):
        bench.carrier.manifest([quote.carrier_shipment_id])


def test_a_label_that_is_sold_but_not_shown_yet_is_asked_for_again(bench: Bench) -> None:
    quote = bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)
    bench.fail_next(label_late=True, path="/buy")
    with pytest.raises(CarrierUnavailable):
        bench.carrier.buy(quote.carrier_shipment_id, quote.rates[0].id)
    assert bench.carrier.buy(quote.carrier_shipment_id, quote.rates[0].id).tracking_number
    assert len(bench.labels()) == 1


@pytest.mark.parametrize(
    ("told", "detail", "meant"),
    [
        ("unknown", "unknown", "unknown"),
        ("pre_transit", "label_created", "label_created"),
        ("in_transit", "arrived_at_facility", "in_transit"),
        ("in_transit", "delivery_exception", "attempt_failed"),
        ("in_transit", "lost", "exception"),
        ("out_for_delivery", "out_for_delivery", "out_for_delivery"),
        ("available_for_pickup", "arrived_at_pickup_location", "available_for_pickup"),
        ("delivered", "arrived_at_destination", "delivered"),
        ("return_to_sender", "return", "returned"),
        ("failure", "failure", "exception"),
        ("error", "unknown", "exception"),
        ("a word of tomorrow", "", "unknown"),
    ],
)
def test_easypost_s_words_become_ours(told: str, detail: str, meant: str) -> None:
    tracker = {"id": "trk_1", "status": told, "status_detail": detail, "updated_at": "2026-11-24T00:00:00Z"}
    assert read_tracker(tracker).status is TrackingStatus(meant)


def test_a_sighting_is_as_old_as_its_latest_scan(bench: Bench) -> None:
    quote = bench.carrier.quote("parcel-1", SHOP, HOME, PARCEL)
    label = bench.carrier.buy(quote.carrier_shipment_id, quote.rates[0].id)
    told = json.dumps({"tracker": label.tracker_id, "status": "in_transit"}).encode()
    bench.core.handle(Request.to("POST", "/_sim/track", {}, told))
    seen = bench.carrier.sighting(label.tracker_id)
    assert (seen.status, seen.tracking_number) == (TrackingStatus.IN_TRANSIT, label.tracking_number)
    assert seen.at == "2027-01-15T08:00:00Z"


# ---- the vendor's own vector (examples, MIT) -------------------------------------------------------------------------

SECRET = "s\u00e9cret"
BODY = b'{"id":"evt_1","description":"tracker.updated","result":{"id":"trk_1","weight":614.4}}'


def test_a_signature_made_with_any_of_our_secrets_holds() -> None:
    verify(BODY, sign(SECRET, BODY), ["another", SECRET])


@pytest.mark.parametrize(
    ("body", "signature", "secrets"),
    [
        (BODY + b" ", sign(SECRET, BODY), [SECRET]),
        (json.dumps(json.loads(BODY)).encode(), sign(SECRET, BODY), [SECRET]),
        (BODY, sign("secret", BODY), [SECRET]),
        (BODY, "", [SECRET]),
        (BODY, sign(SECRET, BODY).removeprefix("hmac-sha256-hex="), [SECRET]),
        (BODY, sign(SECRET, BODY).upper(), [SECRET]),
        (BODY, sign("", BODY), [""]),
        (BODY, sign(SECRET, BODY), []),
        (BODY, "hmac-sha256-hex=\u00fc", [SECRET]),
    ],
    ids=[
        "longer",
        "written anew",
        "wrong secret",
        "none",
        "bare",
        "shouted",
        "empty secret",
        "no secrets",
        "not ascii",
    ],
)
def test_anything_else_does_not(body: bytes, signature: str, secrets: list[str]) -> None:
    with pytest.raises(SignatureInvalid):
        verify(body, signature, secrets)
