"""A channel sells while we push: what was sold there is never put on sale again. Shopify, Amazon, a storefront."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from oms.channels.port import ListingRef, Quantity, RowResult
from oms.channels.sync import Changed, SyncChannel
from oms.runtime.clock import to_text
from tests.support.marketplaces import Rig
from tests.support.shop import Shop


class Sells:
    """The rig's channel, where something happens between our reading and our writing, once."""

    def __init__(self, rig: Rig, happens: Any) -> None:
        self._rig, self._happens = rig, happens
        self.name, self.limits = rig.channel.name, rig.channel.limits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rig.channel, name)

    def read_quantities(self, listings: Sequence[ListingRef]) -> Mapping[str, int]:
        return self._rig.channel.read_quantities(listings)

    def push_quantities(self, rows: Sequence[Quantity]) -> Sequence[RowResult]:
        happens, self._happens = self._happens, None
        if happens:
            happens()
        return self._rig.channel.push_quantities(rows)


def listed(shop: Shop, name: str, shows: int) -> Rig:
    rig = Rig(name, now=shop.now.timestamp())
    shop.stock_up("SHIRT", 10)
    shop.list_on(name, "SHIRT", listing_id=rig.list_sku("SHIRT", shows).listing_id)
    return rig


def push(shop: Shop, channel: Any) -> dict[str, str]:
    inventory = shop.app.inventory
    sync = SyncChannel(channel, inventory, shop.app.health, shop.app.placing.take_in, shop.app.clock, "run-1")
    return sync.push([Changed("SHIRT", to_text(shop.now))])


def tell(shop: Shop, rig: Rig, order_id: str) -> None:
    """The channel's message reaches us."""
    order = rig.channel.fetch_order(order_id)
    assert order is not None
    shop.app.placing.take_in(rig.name, order)


def hold_one_back(shop: Shop, name: str) -> None:
    listing = shop.app.inventory.listings("SHIRT")[name]
    shop.app.inventory.put_listing(replace(listing, buffer=1), shop.now)


def test_a_sale_between_reading_and_writing_is_heard_of_before_shopify_is_written(shop: Shop) -> None:
    rig = listed(shop, "shopify", 3)
    assert push(shop, rig.channel) == {}
    rig.faults(callbacks="never")
    hold_one_back(shop, "shopify")
    channel = Sells(rig, lambda: rig.buy({"SHIRT": 2}))
    assert "heard of" in push(shop, channel)["SHIRT"]
    assert rig.shown("SHIRT") == 8
    assert push(shop, channel) == {}
    assert (shop.available(), rig.shown("SHIRT")) == (8, 7)


@pytest.mark.parametrize("name", ["shopify", "webhook"])
def test_a_sale_that_nobody_told_us_of_is_taken_in_before_the_push(shop: Shop, name: str) -> None:
    rig = listed(shop, name, 3)
    assert push(shop, rig.channel) == {}
    rig.faults(callbacks="never")
    order_id = rig.buy({"SHIRT": 4})
    hold_one_back(shop, name)
    assert push(shop, rig.channel) == {}
    assert (shop.available(), rig.shown("SHIRT")) == (6, 5)
    assert shop.order_of(name, order_id).external_id == order_id


def test_what_amazon_has_not_applied_is_not_acknowledged(shop: Shop) -> None:
    rig = listed(shop, "amazon", 3)
    rig.control("POST", "config", {"apply_seconds": 90})
    assert "not applied" in push(shop, rig.channel)["SHIRT"]
    state = shop.app.inventory.channel_states("amazon", ["SHIRT"])["SHIRT"]
    assert state.acknowledged is None
    shop.later(seconds=120)
    rig.now += 120
    assert push(shop, rig.channel) == {}
    state = shop.app.inventory.channel_states("amazon", ["SHIRT"])["SHIRT"]
    assert (state.acknowledged, rig.shown("SHIRT")) == (10, 10)


def test_what_amazon_applies_late_is_not_taken_for_a_sale(shop: Shop) -> None:
    rig = listed(shop, "amazon", 3)
    assert push(shop, rig.channel) == {}
    rig.control("POST", "config", {"apply_seconds": 90})
    for number in range(3):
        shop.place(key=f"checkout-000{number}")
        # Each push finds what the one before asked for, applied by now, and not what was acknowledged.
        assert "not applied" in push(shop, rig.channel)["SHIRT"]
        shop.later(seconds=120)
        rig.now += 120
        assert rig.shown("SHIRT") == shop.available()
    assert push(shop, rig.channel) == {}
    assert (shop.available(), rig.shown("SHIRT")) == (4, 4)
    state = shop.app.inventory.channel_states("amazon", ["SHIRT"])["SHIRT"]
    assert (state.acknowledged, state.asked, state.presumed_at) == (4, None, "")


def test_a_sale_at_amazon_is_seen_while_it_has_not_applied_what_it_was_asked_for(shop: Shop) -> None:
    rig = listed(shop, "amazon", 3)
    assert push(shop, rig.channel) == {}
    rig.control("POST", "config", {"apply_seconds": 90})
    shop.place()
    assert "not applied" in push(shop, rig.channel)["SHIRT"]
    shop.later(seconds=120)
    rig.now += 120
    order_id = rig.buy({"SHIRT": 4})
    assert push(shop, rig.channel) == {}
    assert (shop.available(), rig.shown("SHIRT")) == (8, 4)
    tell(shop, rig, order_id)
    assert push(shop, rig.channel) == {}
    assert (shop.available(), rig.shown("SHIRT")) == (4, 4)


def test_what_amazon_seems_to_have_sold_stays_off_sale_until_its_message_comes(shop: Shop) -> None:
    rig = listed(shop, "amazon", 3)
    assert push(shop, rig.channel) == {}
    order_id = rig.buy({"SHIRT": 4})
    hold_one_back(shop, "amazon")
    assert push(shop, rig.channel) == {}
    # Nobody told us yet, and a search would show it minutes later: nine may be sold, four of them seem to be.
    assert (shop.available(), rig.shown("SHIRT")) == (10, 5)
    tell(shop, rig, order_id)
    assert push(shop, rig.channel) == {}
    assert (shop.available(), rig.shown("SHIRT")) == (6, 5)


def test_a_listing_edited_at_amazon_is_repaired_once_no_sale_explains_it(shop: Shop) -> None:
    rig = listed(shop, "amazon", 3)
    assert push(shop, rig.channel) == {}
    rig.channel.push_quantities([Quantity(ListingRef("SHIRT", "SHIRT"), 4, version=1)])
    assert push(shop, rig.channel) == {}
    hold_one_back(shop, "amazon")
    assert push(shop, rig.channel) == {}
    assert rig.shown("SHIRT") == 3
    shop.later(minutes=30)
    rig.now += 1800
    assert push(shop, rig.channel) == {}
    assert rig.shown("SHIRT") == 9


def test_a_sale_that_was_heard_of_costs_no_search(shop: Shop) -> None:
    rig = listed(shop, "webhook", 0)
    assert push(shop, rig.channel) == {}
    order_id = rig.buy({"SHIRT": 4})
    tell(shop, rig, order_id)
    hold_one_back(shop, "webhook")
    before = rig.calls("orders.read")
    assert push(shop, rig.channel) == {}
    assert (rig.shown("SHIRT"), rig.calls("orders.read") - before) == (5, 0)
