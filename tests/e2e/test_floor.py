"""The warehouse, the counter, the vendor and the carrier, on the deployed stack."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from local.client import Client
from local.reports import Stage
from tests.e2e.inside import Inside
from tests.e2e.people import People

LAYOUT = {
    "aisles": 4,
    "cells": 10,
    "aisle_spacing_cm": 300,
    "cell_length_cm": 100,
    "front_offset_cm": 100,
    "back_offset_cm": 100,
}


@pytest.fixture
def people(client: Client, stage: Stage) -> People:
    return People(client, stage)


@pytest.fixture
def place(people: People, sku: str) -> str:
    """A facility of the test's own at the address of the main one: nobody else's parcels are on its floor."""
    return a_place(people, f"f{sku[5:].lower()}")


def a_place(people: People, code: str, **more: Any) -> str:
    main = people.ask("ops", "GET", "/facilities/main")
    people.ask("ops", "PUT", f"/facilities/{code}", {"address": main["address"], "phone": main["phone"], **more})
    return code


def stocked(people: People, sku: str, place: str, units: int, **product: Any) -> None:
    """A product that lies in that facility only."""
    people.client.put_product(sku, **product).expect(200)
    body = {"type": "receive", "sku": sku, "quantity": units, "facility": place, "bin": "01-01", "reason": "delivery"}
    people.ask("ops", "POST", "/stock/movements", body)


def test_a_cart_is_filled_on_one_walk_a_cancelled_parcel_is_put_back_and_a_short_one_is_sourced_again(
    people: People, sku: str, place: str
) -> None:
    client = people.client
    stocked(people, sku, place, 8)
    people.ask("ops", "PUT", f"/warehouse/{place}/layout", LAYOUT)
    people.ask("ops", "PUT", f"/warehouse/{place}/rules", {"methods": [{"method": "cluster"}], "cart_slots": 3})
    by_parcel = {f"{placed['order_id']}.1": placed for placed in (people.paid((sku, 2)) for _ in range(3))}
    for placed in by_parcel.values():
        people.task(placed, "pick", place)
    assert people.ask("warehouse", "POST", f"/warehouse/{place}/waves/preview", {})["walks"]
    wave = people.ask("warehouse", "POST", f"/warehouse/{place}/waves", {})
    assert wave["wave_id"] in str(people.ask("warehouse", "GET", f"/warehouse/{place}/waves"))
    walk = people.ask("warehouse", "POST", f"/warehouse/{place}/next")["walk"]
    path = f"/warehouse/walks/{walk['walk_id']}"
    paper = people.client.api("GET", f"{path}/pick-list", staff="warehouse")
    assert paper.status == 200
    for slot in range(1, 4):
        people.ask("warehouse", "POST", f"{path}/scans", {"tote": f"{place}-T{slot}", "slot": slot})
    (stop,) = people.ask("warehouse", "GET", path)["stops"]
    for into, units in zip(stop["into"], (2, 2, 1), strict=True):
        scan = {"sku": sku, "quantity": units, "bin": "01-01", "tote": into["tote"]}
        people.ask("warehouse", "POST", f"{path}/scans", scan)
    dead, alive, short = (by_parcel[each["shipment_id"]] for each in walk["shipments"])
    client.cancel(dead).expect(200)
    missing = {"bin": "01-01", "sku": sku, "quantity": 1, "reason": "bin is empty"}
    assert len(people.ask("warehouse", "POST", f"{path}/short", missing)["short"]) == 1
    done = people.ask("warehouse", "POST", f"{path}/complete")
    assert (done["state"], done["put_back"]) == ("picked", {sku: 2})
    assert people.ask("warehouse", "GET", f"/warehouse/waves/{wave['wave_id']}")["walks"][0]["state"] == "picked"
    (back,) = put_backs(people, place)
    people.ask("warehouse", "POST", f"/warehouse/putbacks/{back['putback_id']}/done")
    assert put_backs(people, place) == []
    people.work_off(alive, place)
    people.work_off(short, place)
    assert len(client.order(short)["shipments"]) == 2
    stock = people.until(
        "the units of the dead order are free", lambda: (now := client.stock(sku))["available"] == 3 and now
    )
    assert (stock["on_hand"], stock["facilities"][place]["allocated"]) == (3, 0)


def test_a_parcel_is_labelled_followed_to_its_door_and_on_the_day_s_manifest(
    people: People, inside: Inside, sku: str, place: str
) -> None:
    client = people.client
    stocked(people, sku, place, 10)
    placed, spoiled, dead = (people.paid((sku, 1)) for _ in range(3))
    people.pick_and_pack(placed, place)
    people.until("it is sent", lambda: client.order(placed)["status"] == "completed")
    (parcel,) = client.order(placed)["shipments"]
    shipment = f"{placed['order_id']}.1"
    for paper in ("packing-slip", "label", "cartons"):
        assert client.api("GET", f"/warehouse/shipments/{shipment}/{paper}", staff="warehouse").status == 200
    labels = {"kind": "bin", "codes": ["01-01"]}
    assert client.api("POST", f"/warehouse/{place}/labels", labels, staff="warehouse").status == 200
    (manifest,) = people.ask("ops", "POST", f"/facilities/{place}/close")["manifests"]
    assert manifest["parcels"] == 1
    assert people.ask("ops", "GET", f"/facilities/{place}/manifests")["manifests"] == [manifest]
    for status, ours in (("in_transit", "in_transit"), ("failure", "exception"), ("delivered", "delivered")):
        told = {"tracking_code": parcel["tracking_number"], "status": status}
        client.sim("carrier", "POST", "/_sim/track", told).expect(200)
        if status == "failure":
            people.until(
                "a person is asked", lambda: shipment in str(people.ask("agent", "GET", "/parcels/exceptions"))
            )
            people.ask("agent", "DELETE", f"/parcels/{shipment}/exception", {"reason": "the carrier found it"})
        people.until(f"it is {status}", partial(is_seen_as, client, placed, ours))
    assert client.order(placed)["delivered_at"]

    # The carrier sells a label and says no: the parcel leaves with one by hand, and the spare one goes back.
    people.do(people.task(spoiled, "pick", place))
    pack = people.task(spoiled, "pack", place)
    fault = {"status": 422, "after_effect": True, "path": "/buy"}
    client.sim("carrier", "POST", "/_sim/faults", {"next": [fault]}).expect(200)
    people.do(pack)
    people.until("it waits for a person", lambda: "address" in client.order_as_staff(spoiled["order_id"])["holds"])
    by_hand = {"carrier": "Bike Courier", "tracking_number": f"BC-{place}"}
    people.ask("ops", "PUT", f"/parcels/{spoiled['order_id']}.1/label", by_hand)
    people.work_off(spoiled, place)
    assert client.order(spoiled)["shipments"][0]["tracking_number"] == f"BC-{place}"
    # Its queue waits for two minutes, in which a step that died may still be buying.
    inside.hand_over("ConfirmShipmentFunction", {"order_id": spoiled["order_id"]})
    assert paid_labels(client, spoiled) == 0

    people.do(people.task(dead, "pick", place))
    client.cancel(dead).expect(200)
    (back,) = people.until(
        "it is put back", lambda: people.ask("warehouse", "GET", f"/warehouse/{place}/putbacks")["putbacks"]
    )
    people.ask(
        "warehouse", "POST", f"/warehouse/putbacks/{back['putback_id']}/done", {"units": [{"sku": sku, "bin": "02-01"}]}
    )
    assert client.stock(sku)["facilities"][place]["bins"]["02-01"] == 1


def in_trouble(people: People) -> set[str]:
    """Parcels that a person has to look at."""
    return {each["shipment_id"] for each in people.ask("agent", "GET", "/parcels/exceptions")["parcels"]}


def put_backs(people: People, place: str) -> Any:
    """Units that belong on their shelf again."""
    return people.ask("warehouse", "GET", f"/warehouse/{place}/putbacks")["putbacks"]


def is_seen_as(client: Client, placed: Any, status: str) -> bool:
    """Whether the carrier's last word of the order's parcel is this."""
    tracking = client.order(placed)["shipments"][0]["tracking"]
    return bool(tracking) and tracking["status"] == status


def paid_labels(client: Client, placed: Any) -> int:
    """Labels of an order's parcels that are bought and not given back."""
    labels = client.sim("carrier", "GET", "/_sim/labels").expect(200)
    ours = [each for each in labels if placed["order_id"] in str(each)]
    return sum(1 for label in ours if not label["refund_status"])


def test_a_parcel_is_collected_with_its_code_and_a_vendor_sends_for_us(people: People, sku: str, place: str) -> None:
    client = people.client
    store = a_place(people, f"s{sku[5:].lower()}", kind="store", pickup=True, ships=False)
    stocked(people, sku, store, 5)
    placed = people.paid((sku, 1), shipping_method="pickup")
    people.pick_and_pack(placed, store)
    order = people.until("it waits at the counter", lambda: (seen := client.order(placed))["collect_by"] and seen)
    counter = people.ask("warehouse", "GET", f"/warehouse/{store}/pickups")["pickups"]
    assert [each["shipment_id"] for each in counter] == [f"{placed['order_id']}.1"]
    path = f"/warehouse/pickups/{placed['order_id']}.1/collect"
    assert client.api("POST", path, {"code": "2222-2222"}, staff="warehouse").status == 409
    people.ask("warehouse", "POST", path, {"code": order["collection_code"]})
    assert client.order(placed)["status"] == "completed"

    vendor = a_place(people, f"v{sku[5:].lower()}", kind="vendor")
    made = f"{sku}-V"
    stocked(people, made, vendor, 5)
    first, second = people.paid((made, 1)), people.paid((made, 1))

    def asked() -> Any:
        found = people.ask("ops", "GET", f"/vendors/{vendor}/requests")["requests"]
        return found if len(found) == 2 else None

    people.until("the vendor is asked", asked)
    sent = {"carrier": "UPS", "service": "Ground", "tracking_number": "1Z999AA10123456784"}
    people.ask("ops", "POST", f"/vendors/requests/{first['order_id']}.1/confirm", sent)
    people.until("the vendor has sent it", lambda: client.order(first)["status"] == "completed")
    stocked(people, made, place, 5)
    people.ask("ops", "POST", f"/vendors/requests/{second['order_id']}.1/decline", {"reason": "out of stock"})
    people.pick_and_pack(second, place)
    people.until("we have sent it", lambda: client.order(second)["status"] == "completed")
    assert [each["facility"] for each in client.order(second)["shipments"] if each["status"] == "shipped"] == [place]
    rules = people.ask("ops", "GET", "/routing/rules")
    assert people.ask("ops", "POST", "/routing/dry-runs", {"rules": rules["rules"], "last": 5})
