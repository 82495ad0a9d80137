"""A channel that is down, slow or wrong: left alone, asked at its own pace, read back and repaired with a reason."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.component.test_channels import buys, control, on_sale, push, shown, spread_word
from tests.support.shop import CHANNELS, STAFF_CLAIMS, Context, Shop

MESSAGE = {"sku": "SHIRT", "changed_at": "2026-11-23T09:00:00.000Z", "force": True}


def listed(shop: Shop, channel: str) -> Shop:
    shop.stock_up("SHIRT", 50)
    on_sale(shop, channel, "SHIRT", 0)
    spread_word(shop)
    assert shown(shop, channel) == 50
    return shop


def calls(shop: Shop, channel: str) -> int:
    return sum(control(shop, channel, "GET", "/_sim/calls")["counts"].values())


def told(shop: Shop, channel: str) -> dict[str, Any]:
    body = shop.call("inventory_sync.stock_api", "GET /channels", staff=STAFF_CLAIMS).body
    return next(each for each in body["channels"] if each["channel"] == channel)


def reconcile() -> dict[str, dict[str, int]]:
    report: dict[str, dict[str, int]] = import_module("functions.inventory_sync.reconcile").handler({}, Context())
    return report


def test_a_channel_that_is_down_costs_nothing_until_one_worker_probes_it(shop: Shop) -> None:
    listed(shop, "webhook")
    control(shop, "webhook", "POST", "/_sim/faults", {"fail": 1000})
    for _ in range(5):
        assert push(shop, "webhook", [MESSAGE]) == ["m0"]
    standing = told(shop, "webhook")
    assert (standing["breaker"], standing["backlog"] >= 0) == ("open", True)
    assert standing["paused_until"]
    before = calls(shop, "webhook")
    for _ in range(3):
        assert push(shop, "webhook", [MESSAGE]) == ["m0"]
    assert calls(shop, "webhook") == before
    shop.later(seconds=30)
    assert push(shop, "webhook", [MESSAGE]) == ["m0"]  # The probe fails, and the pause is twice as long.
    assert calls(shop, "webhook") == before + 1
    shop.later(seconds=20)
    assert push(shop, "webhook", [MESSAGE]) == ["m0"]
    assert calls(shop, "webhook") == before + 1
    control(shop, "webhook", "POST", "/_sim/faults", {"reset": True})
    shop.later(seconds=60)
    assert push(shop, "webhook", [MESSAGE]) == []
    assert told(shop, "webhook")["breaker"] == "closed"


def test_only_one_worker_probes(shop: Shop) -> None:
    health = shop.app.health
    limits = shop.app.channel("ebay").limits
    for _ in range(5):
        health.failed("ebay", "no answer")
    shop.later(seconds=20)
    assert health.admit("ebay", limits, "first", 1) == 0
    assert health.admit("ebay", limits, "second", 1) > 0
    assert health.admit("ebay", limits, "first", 1) == 0


def test_a_pause_that_a_channel_asks_for_holds_for_every_worker_and_the_rate_is_halved(shop: Shop) -> None:
    health, limits = shop.app.health, shop.app.channel("ebay").limits
    health.throttled("ebay", limits, 90)
    assert 89 < health.admit("ebay", limits, "anybody", 1) <= 90
    shop.later(seconds=91)
    assert health.admit("ebay", limits, "anybody", 1) == 0
    assert health.read("ebay").rate == limits.requests_per_second / 2


def test_workers_share_one_rate(shop: Shop) -> None:
    health, limits = shop.app.health, shop.app.channel("etsy").limits
    admitted = sum(health.admit("etsy", limits, f"worker-{n % 3}", 10) == 0 for n in range(10))
    assert admitted == 3  # Two seconds ahead of ten calls a second, and not one more.
    shop.later(seconds=3)
    assert health.admit("etsy", limits, "worker-1", 10) == 0


def test_the_last_of_a_days_budget_is_kept_for_what_sold_out(shop: Shop) -> None:
    health, limits = shop.app.health, shop.app.channel("etsy").limits
    for _ in range(98):
        shop.later(seconds=60)
        assert health.admit("etsy", limits, "w", 100) == 0
    shop.later(seconds=60)
    assert health.admit("etsy", limits, "w", 100) > 3600
    assert health.admit("etsy", limits, "w", 100, urgent=True) == 0
    shop.later(hours=24)
    assert health.admit("etsy", limits, "w", 100) == 0


def test_what_etsy_says_of_its_budget_is_believed(shop: Shop) -> None:
    listed(shop, "etsy")
    control(shop, "etsy", "POST", "/_sim/config", {"per_day": 400})
    push(shop, "etsy", [MESSAGE])
    assert told(shop, "etsy")["calls_per_day"] == 400


def test_ebay_keeps_its_last_revisions_of_a_listing_for_zero(shop: Shop) -> None:
    listed(shop, "ebay")
    table = shop.app.inventory.table
    table.write_one(table.update("sync", ("SKU#SHIRT", "SYNC#ebay"), "SET revisions = :n", None, values={":n": 245}))
    shop.place()
    assert push(shop, "ebay", [MESSAGE]) == []
    assert shown(shop, "ebay") == 50
    shop.list_on("ebay", "SHIRT", listing_id=shop.app.inventory.listings("SHIRT")["ebay"].listing_id, end_when=50)
    assert push(shop, "ebay", [MESSAGE]) == []
    assert shown(shop, "ebay") == 0


def test_what_sold_out_is_told_before_everything_else(shop: Shop) -> None:
    for sku, units in (("A", 9), ("B", 9), ("Z", 0)):
        shop.stock_up(sku, units)
        on_sale(shop, "amazon", sku, 3)
    messages = [{"sku": sku, "changed_at": "2026-11-23T09:00:00.000Z"} for sku in ("A", "B", "Z")]
    assert push(shop, "amazon", messages) == []
    last = control(shop, "amazon", "GET", "/_sim/calls")["last"]
    assert next(each for each in last if each["operation"] == "patchListingsItem")["path"].endswith("/Z")


def test_a_days_lost_stream_is_recovered_from_the_tables(shop: Shop) -> None:
    shop.stock_up("SHIRT", 50)
    for channel in CHANNELS:
        on_sale(shop, channel, "SHIRT", 0)
    spread_word(shop)
    for number in range(3):
        shop.place(key=f"checkout-{number:04d}")  # No stream tells anybody, all day long.
        shop.later(hours=7)
    report = reconcile()
    assert {channel: report[channel]["lost_push"] for channel in CHANNELS} == dict.fromkeys(CHANNELS, 1)
    for channel in CHANNELS:
        assert push(shop, channel, shop.queued(channel)) == []
        assert shown(shop, channel) == 44
    assert all(counts["behind"] == counts["drifted"] == 0 for counts in reconcile().values())


def test_a_difference_is_explained_and_kept(shop: Shop) -> None:
    listed(shop, "webhook")
    shop.webhook._items["SHIRT"].quantity = 30  # Somebody edits the page of the storefront.
    assert reconcile()["webhook"]["edited_there"] == 1
    run = told(shop, "webhook")["reconcile"]
    (difference,) = run["differences"]
    assert (difference["sku"], difference["shown"], difference["should_show"]) == ("SHIRT", 30, 50)
    assert difference["explanation"] == "somebody changed the quantity at the channel"
    assert run["is_complete"]
    assert push(shop, "webhook", shop.queued("webhook")) == []
    assert shown(shop, "webhook") == 50


def test_a_sale_that_only_the_reconcile_hears_of_is_taken_in(shop: Shop) -> None:
    listed(shop, "shopify")
    order_id = buys(shop, "shopify", 4)
    shop.deliveries.clear()
    assert reconcile()["shopify"]["sale_unheard"] == 1
    assert shop.order_of("shopify", order_id).external_id == order_id
    assert shop.available() == 46


def test_a_reconcile_that_runs_out_of_time_goes_on_where_it_stopped(shop: Shop) -> None:
    shop.stock_many([f"S{n:03d}" for n in range(5)], 3)
    for n in range(5):
        on_sale(shop, "webhook", f"S{n:03d}", 0)
    runs = []
    for _ in range(4):
        reconciling = shop.app.reconciling("webhook", lambda changes: None)
        object.__setattr__(reconciling, "page", 2)
        runs.append(reconciling.run(lambda: False).compared)
    assert runs == [2, 2, 1, 2]
