"""What waits for a person, in one list."""

from __future__ import annotations

from typing import Any

import pytest

from oms.channels.port import PersonDemand
from oms.inventory.supplies import Supply, put_supply
from oms.payments.cases import BREAK
from tests.component.test_returns import scan
from tests.component.test_shipping import seen, shipped
from tests.support.floor import Floor
from tests.support.shop import STAFF_CLAIMS, Answer, Shop, checkout

AGENT = {"cognito:groups": "[agent]", "cognito:username": "sam"}


def work(shop: Shop, staff: Any = STAFF_CLAIMS, **query: str) -> list[Any]:
    """Every page of the list."""
    found: list[Any] = []
    cursor = ""
    while True:
        asked = {**query, **({"cursor": cursor} if cursor else {})}
        answer = shop.call("customer_service.api", "GET /work", query=asked, staff=staff)
        assert answer.status == 200, answer
        found += answer.body["work"]
        cursor = answer.body["next_cursor"]
        if not cursor:
            return found


def hold(shop: Shop, order: Answer, kind: str, owner: str, hours: int) -> None:
    body = {"kind": kind, "reason": "odd", "owner": owner, "hours": hours}
    path = {"id": order.body["order_id"]}
    answer = shop.call("customer_service.api", "POST /orders/{id}/holds", body, path=path, staff=STAFF_CLAIMS)
    assert answer.status == 200, answer


def busy(shop: Shop) -> dict[str, Answer]:
    """A shop with one of each kind of work."""
    floor = Floor(shop)
    shop.stock_up("SHIRT", 20)
    lost, back = shipped(floor, ("SHIRT", 1), key="order-lost"), shipped(floor, ("SHIRT", 1), key="order-back")
    for delivery in seen(floor, lost, "failure"):
        shop.deliver(delivery)
    asked = shop.call(
        "customer_service.aftersales",
        "POST /orders/{id}/returns",
        {"lines": [{"line": 1, "quantity": 1, "reason": "damaged"}]},
        path={"id": back.body["order_id"]},
        headers={"order-token": back.body["order_token"], "idempotency-key": "return-0001"},
    )
    assert scan(shop, asked.body, "SHIRT", 1, "damaged", "scan-0001").status == 200
    held = shop.place(checkout(("SHIRT", 1)), key="order-held")
    hold(shop, held, "fraud", "risk", 2)
    hold(shop, held, "operator", "finance", 30)
    shop.app.cases.open(BREAK, "pi_1", shop.now, {"ours": 1, "theirs": 2})
    shop.stock_up("LAMP", 0, backorder=True)
    coming = Supply("po-1", "en_route", 5, expected_at="2026-11-24T08:00:00.000Z")
    shop.app.inventory.table.transact([put_supply(shop.app.inventory, "LAMP", coming, shop.now)])
    waits = shop.place(checkout(("LAMP", 1)), key="order-waits")
    assert waits.body["backordered"][0]["expected_at"], waits
    shop.pay(waits)
    shop.deliver_all()
    return {"lost": lost, "back": back, "held": held, "waits": waits}


@pytest.mark.parametrize("page", [1, 2, 50])
def test_the_list_holds_each_kind_once_the_most_urgent_first(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("oms.orders.worklist.PAGE", page)
    orders = busy(shop)
    shop.later(hours=26)
    found = work(shop)
    assert [(each["kind"], each["owner"], each["overdue"]) for each in found] == [
        ("case", "finance", False),
        ("hold", "risk", True),
        ("backorder", "customer service", True),
        ("parcel", "customer service", True),
        ("hold", "finance", False),
        ("return", "returns", False),
    ]
    by_kind = {each["kind"]: each for each in found}
    assert by_kind["parcel"]["order_id"] == orders["lost"].body["order_id"]
    assert by_kind["parcel"]["age_hours"] == 26
    assert by_kind["backorder"]["order_id"] == orders["waits"].body["order_id"]
    assert by_kind["hold"]["next"]["path"] == f"/orders/{orders['held'].body['order_id']}/holds/operator"
    assert all(each["next"]["do"].endswith(".") for each in found)


def test_each_owner_has_a_list_and_agents_see_no_cases(shop: Shop) -> None:
    busy(shop)
    assert [each["kind"] for each in work(shop, owner="risk")] == ["hold"]
    assert [each["kind"] for each in work(shop, owner="finance")] == ["case", "hold"]
    assert [each["kind"] for each in work(shop, AGENT, owner="finance")] == ["hold"]
    assert work(shop, owner="nobody") == []


def test_what_is_settled_leaves_the_list(shop: Shop) -> None:
    orders = busy(shop)
    shop.app.cases.close(BREAK, "pi_1", outcome="ours was wrong", actor="staff:kim", now=shop.now)
    for kind in ("fraud", "operator"):
        shop.app.holding.release(orders["held"].body["order_id"], kind, reason="fine", actor="staff:kim")
    shop.app.returns.complete(f"{orders['back'].body['order_id']}.1", actor="staff:kim")
    shop.cancel(orders["waits"])
    shop.later(hours=30)
    assert [each["kind"] for each in work(shop)] == ["parcel"]


def test_demands_about_persons_are_work_for_ops(shop: Shop) -> None:
    def shown() -> list[str]:
        return [each["about"] for each in work(shop) if each["kind"] == "person"]

    demands = shop.app.demands
    demands.record("shopify", "report-1", PersonDemand("report", ("7",)))
    demands.record("shopify", "erase-1", PersonDemand("erase", ("7",)))
    demands.record("shopify", "everybody-1", PersonDemand("erase", everybody=True))
    (first, second) = work(shop)
    assert [first["about"], second["about"]] == ["shopify#everybody-1", "shopify#report-1"]
    assert (first["owner"], second["next"]["path"]) == ("ops", "/persons/demands/shopify.report-1/close")
    assert work(shop, AGENT) == []
    demands.confirm(demands.find("shopify.everybody-1"), "staff:kim")
    assert shown() == ["shopify#report-1"], "what was confirmed is carried out by itself"
    shop.later(days=26)
    assert shown() == ["shopify#erase-1", "shopify#everybody-1", "shopify#report-1"]
    demands.close(demands.find("shopify.report-1"), "handed_over", by="staff:kim")
    demands.close(demands.find("shopify.erase-1"), "erased")
    assert shown() == ["shopify#everybody-1"]
