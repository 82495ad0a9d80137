"""Whose identities are one person: joined by what was verified or by hand, parted again, and found as one types."""

from __future__ import annotations

from typing import Any

import pytest

from oms.messages.notifier import Mail
from oms.orders.model import Order
from tests.component.test_customers import ADA, buy, figures, kept, meanwhile, profile, sold
from tests.support.shop import STAFF_CLAIMS, Answer, Shop, checkout

POS = {**STAFF_CLAIMS, "cognito:groups": "[pos]"}


@pytest.fixture(autouse=True)
def _stocked(shop: Shop) -> None:
    shop.stock_up("SHIRT", 100)
    shop.stock_up("MUG", 100, price=500)


@pytest.fixture
def mails(shop: Shop) -> list[Mail]:
    """Every mail that left; they all arrive."""
    found: list[Mail] = []

    class Mailbox:
        def send(self, mail: Mail) -> str:
            found.append(mail)
            return f"m-{len(found)}"

    object.__setattr__(shop.app.telling, "notifier", Mailbox)
    return found


def call(shop: Shop, route: str, body: Any = None, *, staff: Any = STAFF_CLAIMS, **more: Any) -> Answer:
    path: dict[str, str] = {name: more.pop(name) for name in ("id", "merge") if name in more}
    return shop.call("customer_service.customers", route, body, path=path, staff=staff, **more)


def join(shop: Shop, first: str, other: str, key: str = "merge-0001", reason: str = "called us") -> Answer:
    body = {"with": other, "reason": reason}
    return call(shop, "POST /customers/{id}/merges", body, id=first, headers={"idempotency-key": key})


def part(shop: Shop, customer_id: str, merge: Any) -> Answer:
    return call(shop, "DELETE /customers/{id}/merges/{merge}", id=customer_id, merge=merge["merge_id"])


def change(shop: Shop, customer_id: str, body: Any, version: int | None = None) -> Answer:
    headers = {} if version is None else {"if-match": f'"{version}"'}
    return call(shop, "PATCH /customers/{id}", body, id=customer_id, headers=headers)


def found(shop: Shop, text: str) -> list[str]:
    answer = call(shop, "GET /customers", query={"q": text})
    assert answer.status == 200, answer
    return [each["name"] for each in answer.body["customers"]]


def bought_here(shop: Shop, **changes: Any) -> Answer:
    """A paid order of ours, counted."""
    order = buy(shop, **changes)
    kept(shop, order)
    return order


def bought_on(shop: Shop, channel: str, buyer: str, email: str = "", external_id: str = "receipt-1") -> Order:
    """A marketplace's order, counted."""
    order = sold(shop, channel, buyer, email, external_id)
    kept(shop, order)
    return order


def told_and_read(shop: Shop, order: Answer) -> None:
    """The order's mail arrives, and its customer's profile is looked at again later."""
    shop.app.telling.tell(order.body["order_id"], 2)
    shop.later(hours=2)
    kept(shop, order)


def without(view: Any, *names: str) -> dict[str, Any]:
    return {name: value for name, value in view.items() if name not in names}


class TestByWhatIsVerified:
    def test_a_mail_that_arrived_joins_a_shopper_with_a_marketplace_s_buyer(
        self, shop: Shop, mails: list[Mail]
    ) -> None:
        order = bought_here(shop)
        etsy = bought_on(shop, "etsy", "77", "Ada@Example.com ")
        assert figures(shop)[0] == 1
        told_and_read(shop, order)
        assert len(mails) == 1
        assert figures(shop) == (2, 4, {"USD": order.body["total"] + 1000})
        shown = profile(shop, etsy.customer["id"])
        assert shown["channels"] == {"etsy": 1, "web": 1}
        assert [(each["by_what"], each["by"]) for each in shown["merges"]] == [("email", "system")]

    @pytest.mark.parametrize("came_back", ["bounced", "complained"])
    def test_a_mail_that_came_back_verifies_nothing(self, shop: Shop, mails: list[Mail], came_back: str) -> None:
        order = bought_here(shop)
        bought_on(shop, "etsy", "77", "ada@example.com")
        shop.app.telling.tell(order.body["order_id"], 2)
        (mail,) = shop.app.orders.parts(order.body["order_id"], "MAIL#")
        key, values = (mail["pk"], mail["sk"]), {":why": came_back}
        table = shop.app.orders.table
        table.write_one(table.update("mail", key, "SET #s = :why", names={"#s": "status"}, values=values))
        shop.later(hours=2)
        kept(shop, order)
        assert figures(shop)[0] == 1

    def test_a_mail_that_may_still_come_back_verifies_nothing_yet(self, shop: Shop, mails: list[Mail]) -> None:
        order = bought_here(shop)
        bought_on(shop, "etsy", "77", "ada@example.com")
        shop.app.telling.tell(order.body["order_id"], 2)
        kept(shop, order)
        assert figures(shop)[0] == 1

    def test_an_address_that_a_marketplace_puts_in_between_never_joins(self, shop: Shop) -> None:
        relay = "x7y8z9@marketplace.amazon.de"
        orders = [bought_on(shop, name, "77", relay, f"order-{name}") for name in ("amazon", "ebay")]
        assert {figures(shop, order.customer["id"])[0] for order in orders} == {1}

    def test_two_marketplaces_that_told_the_same_address_sold_to_one_person(self, shop: Shop) -> None:
        first = bought_on(shop, "etsy", "77", "ada@example.com")
        second = bought_on(shop, "shopify", "99", "ada@example.com", "order-2")
        assert profile(shop, first.customer["id"]) == profile(shop, second.customer["id"])
        assert figures(shop, first.customer["id"])[0] == 2

    def test_a_phone_joins_only_when_an_agent_says_whose_it_is(self, shop: Shop) -> None:
        bought_here(shop, customer={"email": "ada@example.com", "name": "Ada Byron", "phone": "+1 503 555 0100"})
        other = {"email": "countess@example.com", "name": "A. Lovelace", "phone": "+15035550100"}
        bought_here(shop, key="checkout-0002", customer=other)
        assert figures(shop)[0] == 1
        assert change(shop, ADA, {"verified": ["phone"]}).status == 200
        assert figures(shop)[0] == 1
        (listed,) = call(shop, "GET /customers", query={"q": "lovelace"}).body["customers"]
        assert change(shop, listed["customer_id"], {"verified": ["phone"]}).body["orders"] == 2
        assert profile(shop)["verified"] == ["phone"]
        assert change(shop, ADA, {"verified": []}).body["verified"] == []

    def test_nothing_is_verified_that_is_not_known(self, shop: Shop) -> None:
        bought_here(shop)
        answer = change(shop, ADA, {"verified": ["phone"]})
        assert (answer.status, answer.body["errors"][0]["field"]) == (422, "verified")


class TestByHand:
    def test_two_people_become_one_and_apart_they_are_as_if_they_had_never_been(self, shop: Shop) -> None:
        bought_here(shop)
        etsy = bought_on(shop, "etsy", "77")
        before = profile(shop), profile(shop, etsy.customer["id"])
        joined = join(shop, ADA, etsy.customer["id"])
        assert joined.status == 201
        assert (joined.body["by"], joined.body["reason"]) == ("staff:kim", "called us")
        shown = profile(shop, etsy.customer["id"])
        assert (shown["customer_id"], shown["orders"], len(shown["identities"])) == (ADA, 2, 2)
        undone = part(shop, ADA, joined.body)
        assert (undone.status, undone.body["undone_by"]) == (200, "staff:kim")
        after = profile(shop), profile(shop, etsy.customer["id"])
        assert [without(each, "version", "merges") for each in after] == [
            without(each, "version", "merges") for each in before
        ]
        assert [each["undone_at"] is None for each in after[0]["merges"]] == [False]

    def test_what_is_ordered_in_between_goes_with_whoever_ordered_it(self, shop: Shop) -> None:
        bought_here(shop)
        etsy = bought_on(shop, "etsy", "77")
        joined = join(shop, ADA, etsy.customer["id"])
        bought_on(shop, "etsy", "77", external_id="receipt-2")
        bought_here(shop, key="checkout-0002")
        assert figures(shop)[0] == 4
        part(shop, ADA, joined.body)
        assert (figures(shop)[0], figures(shop, etsy.customer["id"])[0]) == (2, 2)

    def test_whom_somebody_parted_is_not_joined_by_itself_again(self, shop: Shop) -> None:
        first = bought_on(shop, "etsy", "77", "ada@example.com")
        second = bought_on(shop, "shopify", "99", "ada@example.com", "order-2")
        (merge,) = profile(shop, first.customer["id"])["merges"]
        part(shop, first.customer["id"], merge)
        bought_on(shop, "shopify", "99", "ada@example.com", "order-3")
        bought_on(shop, "etsy", "77", "ada@example.com", "receipt-4")
        assert [figures(shop, each.customer["id"])[0] for each in (first, second)] == [2, 2]
        assert join(shop, first.customer["id"], second.customer["id"]).status == 201

    def test_a_request_again_joins_once_and_its_key_joins_nobody_else(self, shop: Shop) -> None:
        bought_here(shop)
        etsy, ebay = bought_on(shop, "etsy", "77"), bought_on(shop, "ebay", "78", external_id="order-2")
        first, again = (join(shop, ADA, etsy.customer["id"]) for _ in range(2))
        assert (first.status, first.body) == (again.status, again.body)
        assert join(shop, ADA, ebay.customer["id"]).body["code"] == "idempotency_key_reused"
        assert join(shop, ADA, etsy.customer["id"], key="merge-0002").body["code"] == "one_customer"
        assert join(shop, ADA, "0" * 20, key="merge-0003").status == 404
        assert join(shop, "0" * 20, ADA, key="merge-0004").status == 404
        assert join(shop, ADA, ebay.customer["id"], key="merge-0005", reason="").status == 422

    def test_joinings_within_joinings_are_taken_back_in_any_order(self, shop: Shop) -> None:
        ids = [bought_on(shop, "etsy", name, external_id=f"receipt-{name}").customer["id"] for name in "abc"]
        inner = join(shop, ids[1], ids[2], key="merge-0001").body
        outer = join(shop, ids[0], ids[1], key="merge-0002").body
        assert figures(shop, ids[2])[0] == 3
        assert part(shop, ids[0], inner).status == 200
        assert [figures(shop, each)[0] for each in ids] == [2, 2, 1]
        assert part(shop, ids[0], outer).status == 200
        assert [figures(shop, each)[0] for each in ids] == [1, 1, 1]
        assert part(shop, ids[0], outer).status == 200
        assert part(shop, ids[2], outer).status == 404

    def test_an_order_that_is_counted_while_its_customer_is_joined_is_counted_once(self, shop: Shop) -> None:
        bought_here(shop)
        etsy = bought_on(shop, "etsy", "77")
        other = sold(shop, "etsy", "77", external_id="receipt-2")
        meanwhile(shop, before=lambda: join(shop, ADA, etsy.customer["id"]))
        kept(shop, other)
        assert figures(shop)[0] == 3
        third = sold(shop, "etsy", "77", external_id="receipt-3")
        (merge,) = profile(shop)["merges"]
        meanwhile(shop, before=lambda: kept(shop, third))
        part(shop, ADA, merge)
        assert (figures(shop)[0], figures(shop, etsy.customer["id"])[0]) == (1, 3)

    def test_two_who_join_the_same_people_the_other_way_round_join_them_once(self, shop: Shop) -> None:
        bought_here(shop)
        etsy = bought_on(shop, "etsy", "77")
        meanwhile(shop, before=lambda: join(shop, etsy.customer["id"], ADA, key="merge-0002"))
        assert join(shop, ADA, etsy.customer["id"]).body["code"] == "one_customer"
        assert (figures(shop)[0], len(profile(shop)["merges"])) == (2, 1)

    def test_tills_read_customers_and_join_none(self, shop: Shop) -> None:
        bought_here(shop)
        body = {"with": ADA, "reason": "called us"}
        headers = {"idempotency-key": "merge-0001"}
        assert call(shop, "POST /customers/{id}/merges", body, id=ADA, headers=headers, staff=POS).status == 403
        assert call(shop, "PATCH /customers/{id}", {"note": "x"}, id=ADA, staff=POS).status == 403
        assert call(shop, "GET /customers/{id}", id=ADA, staff=POS).status == 200


class TestWhatAgentsWriteDown:
    def test_it_goes_before_what_orders_say_and_can_be_taken_away(self, shop: Shop) -> None:
        bought_here(shop)
        version = profile(shop)["version"]
        address = {**checkout()["shipping_address"], "line1": "2 New Street"}
        body = {"name": "Ada Lovelace", "phone": "+15035550100", "note": "rings twice", "addresses": [address]}
        answer = change(shop, ADA, body, version)
        assert answer.status == 200
        assert (answer.body["name"], answer.body["phone"], answer.body["note"]) == (
            "Ada Lovelace",
            "+15035550100",
            "rings twice",
        )
        assert [each["line1"] for each in answer.body["addresses"]] == ["2 New Street", "12 Analytical Row"]
        assert answer.headers["etag"] == f'"{version + 1}"'
        bought_here(shop, key="checkout-0002")
        assert profile(shop)["name"] == "Ada Lovelace"
        assert change(shop, ADA, {"name": None}).body["name"] == "Ada Byron"

    def test_over_what_somebody_else_changed_nothing_is_written(self, shop: Shop) -> None:
        bought_here(shop)
        version = profile(shop)["version"]
        bought_here(shop, key="checkout-0002")
        answer = change(shop, ADA, {"note": "rings twice"}, version)
        assert (answer.status, answer.body["version"]) == (412, version + 1)
        assert change(shop, "0" * 20, {"note": "x"}).status == 404
        assert change(shop, ADA, {"addresses": [{"name": "Ada"}]}).status == 422

    def test_consent_shows_in_the_profile(self, shop: Shop) -> None:
        bought_here(shop)
        answer = shop.call(
            "messages.api",
            "PUT /customers/{id}/message-preferences",
            {"off": [], "marketing": True},
            path={"id": ADA},
            staff=STAFF_CLAIMS,
        )
        assert answer.status == 200
        assert profile(shop)["marketing"] is True


class TestFinding:
    @pytest.mark.parametrize(
        "text",
        ["ad", "BYR", "ada byr", "ada@ex", "97201", "9720", "503 555", "+1 (503)", "001503555", "0503555", "byron 97"],
    )
    def test_customers_are_found_by_the_beginning_of_what_a_caller_says(self, shop: Shop, text: str) -> None:
        bought_here(shop, customer={"email": "ada@example.com", "name": "Ada Byron", "phone": "+1 503 555 0100"})
        assert found(shop, text) == ["Ada Byron"]

    @pytest.mark.parametrize("text", ["yron", "ada hopper", "xx", "97202"])
    def test_what_does_not_begin_so_is_not_found(self, shop: Shop, text: str) -> None:
        bought_here(shop)
        assert found(shop, text) == []

    @pytest.mark.parametrize("text", ["", "a", " ", "+-"])
    def test_less_than_two_letters_are_too_few(self, shop: Shop, text: str) -> None:
        answer = call(shop, "GET /customers", query={"q": text})
        assert (answer.status, answer.body["errors"][0]["field"]) == (422, "q")

    def test_umlauts_and_accents_are_found_without_and_joined_people_once(self, shop: Shop) -> None:
        bought_here(shop, customer={"email": "zoe@example.com", "name": "Zoë Müller"})
        etsy = bought_on(shop, "etsy", "77")
        assert found(shop, "zoe mul") == ["Zoë Müller"]
        (listed,) = call(shop, "GET /customers", query={"q": "muller"}).body["customers"]
        join(shop, listed["customer_id"], etsy.customer["id"])
        (again,) = call(shop, "GET /customers", query={"q": "ada"}).body["customers"]
        assert again["customer_id"] == listed["customer_id"]

    def test_a_name_that_agents_wrote_down_is_found_as_long_as_it_stands(self, shop: Shop) -> None:
        bought_here(shop)
        change(shop, ADA, {"name": "Countess of Lovelace"})
        assert found(shop, "countess") == ["Countess of Lovelace"]
        change(shop, ADA, {"name": None})
        assert found(shop, "countess") == []
        assert found(shop, "byron") == ["Ada Byron"]


def test_a_person_s_orders_are_those_of_all_their_identities_the_newest_first(shop: Shop) -> None:
    orders = []
    for number in range(3):
        orders.append(buy(shop, key=f"checkout-{number:04}").body["order_id"])
        shop.later(hours=1)
        orders.append(sold(shop, "etsy", "77", external_id=f"receipt-{number}").order_id)
        shop.later(hours=1)
    kept(shop, *orders)
    join(shop, ADA, shop.app.orders.require(orders[1]).customer["id"])
    answer = call(shop, "GET /customers/{id}/orders", id=ADA)
    assert [order["order_id"] for order in answer.body["orders"]] == orders[::-1]
    only = call(shop, "GET /customers/{id}/orders", id=ADA, query={"channel": "etsy"})
    assert [order["order_id"] for order in only.body["orders"]] == orders[5::-2]
