"""What an order says about whoever bought it, and what all of somebody's orders say together.

Figures are a function of the contributions and of nothing else, so the ones that the stream keeps and the ones that a
rebuild finds are the same. ``changed`` works out a difference where that is possible and gives up where it is not, for
example when the latest order stops counting: then ``folded`` reads them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from oms.orders.model import Order, Status
from oms.runtime.dynamo import Item

MAX_SKUS = 300
"""So many SKUs of one customer are counted by themselves, those bought most; ``skus_cut`` says that there were more."""
MAX_ADDRESSES = 5
CONTACT = ("name", "email", "phone")
_METHODS = frozenset({"authorized", "captured", "credit"})
_Spelled = tuple[tuple[str, str], ...]
_COUNTED = ("spent", "channels", "countries", "methods", "skus")


@dataclass(frozen=True, slots=True)
class Contribution:
    """One order, as its customer's figures see it. ``counts`` is false for one that was cancelled: it tells whom to
    call, and no figures."""

    order_id: str
    version: int
    placed_at: str
    counts: bool
    channel: str
    country: str
    currency: str
    spent: int
    """Captured less refunded, minor units of ``currency``."""
    skus: Mapping[str, int]
    """Units that were neither cancelled nor sent back."""
    methods: tuple[str, ...]
    """How it was paid: ``stripe``, a marketplace, or what an agent took, such as ``cash``."""
    contact: Mapping[str, str] = field(default_factory=dict)
    address: Mapping[str, str] = field(default_factory=dict)

    @property
    def at(self) -> str:
        """Sorts orders by when they were placed; no two have the same."""
        return f"{self.placed_at}#{self.order_id}"

    def told(self) -> tuple[Any, ...]:
        """Everything but the version it was made from."""
        return tuple(getattr(self, spec.name) for spec in fields(self) if spec.name != "version")


def contribution_of(order: Order, money: Iterable[Mapping[str, Any]]) -> Contribution | None:
    """What an order contributes, given its ledger; None before it is confirmed, and when it names nobody."""
    contact = {name: order.customer[name] for name in CONTACT if order.customer.get(name)}
    if order.status in (Status.PLACED, Status.EXPIRED) or not contact:
        return None
    kept = {line.sku: 0 for line in order.lines}
    for line in order.lines:
        kept[line.sku] += line.quantity - line.cancelled - line.returned
    return Contribution(
        order_id=order.order_id,
        version=order.version,
        placed_at=order.placed_at,
        counts=order.status is not Status.CANCELLED,
        channel=order.channel,
        country=order.address.get("country", ""),
        currency=order.currency,
        spent=order.payment.captured - order.payment.refunded,
        skus=_positive(kept),
        methods=tuple(sorted({entry["provider"] for entry in money if entry["kind"] in _METHODS})),
        contact=contact,
        # That of a sale at a counter is the store's.
        address={} if order.counter else {name: value for name, value in sorted(order.address.items()) if value},
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """What the orders of one identity add up to."""

    orders: int = 0
    cancelled: int = 0
    units: int = 0
    spent: Mapping[str, int] = field(default_factory=dict)
    channels: Mapping[str, int] = field(default_factory=dict)
    countries: Mapping[str, int] = field(default_factory=dict)
    methods: Mapping[str, int] = field(default_factory=dict)
    skus: Mapping[str, int] = field(default_factory=dict)
    skus_cut: bool = False
    first_order_at: str = ""
    last_order_at: str = ""
    contact: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By ``name``, ``email`` and ``phone``: the ``value`` of the latest order that told one, and ``at`` which."""
    addresses: tuple[Mapping[str, Any], ...] = ()
    """The last different ones, the latest first: ``at`` which order, and the ``address``."""

    @property
    def empty(self) -> bool:
        """Whether no order says anything."""
        return not (self.orders or self.cancelled)


def folded(contributions: Iterable[Contribution]) -> Figures:
    """The figures of these orders, in whatever order they come."""
    total: dict[str, Counter[str]] = {name: Counter() for name in ("numbers", *_COUNTED)}
    times: list[str] = []
    contact: dict[str, dict[str, str]] = {}
    addresses: dict[_Spelled, str] = {}
    for each in contributions:
        _count(total, each, 1)
        if each.counts:
            times.append(each.placed_at)
        _tell(each, contact, addresses)
    return _figures(total, min(times, default=""), max(times, default=""), contact, addresses)


def changed(figures: Figures, old: Contribution | None, new: Contribution | None) -> Figures | None:
    """The figures after one order's contribution became another; None when they have to be folded anew."""
    if figures.skus_cut and _skus(old) != _skus(new):
        return None
    contact = {name: dict(told) for name, told in figures.contact.items()}
    addresses = {tuple(sorted(told["address"].items())): told["at"] for told in figures.addresses}
    if old and (new is None or (old.contact, old.address) != (new.contact, new.address)):
        return None
    stops = bool(old and old.counts and not (new and new.counts))
    if old and stops and old.placed_at in (figures.first_order_at, figures.last_order_at):
        return None
    total = {name: Counter(getattr(figures, name)) for name in _COUNTED}
    total["numbers"] = Counter(orders=figures.orders, cancelled=figures.cancelled, units=figures.units)
    if old:
        _count(total, old, -1)
    times = [moment for moment in (figures.first_order_at, figures.last_order_at) if moment]
    if new:
        _count(total, new, 1)
        if new.counts:
            times.append(new.placed_at)
        _tell(new, contact, addresses)
    after = _figures(total, min(times, default=""), max(times, default=""), contact, addresses)
    # What was cut off before is not known here, so what was cut stays so until all is read again.
    return replace(after, skus_cut=after.skus_cut or figures.skus_cut)


def _tell(each: Contribution, contact: dict[str, dict[str, str]], addresses: dict[_Spelled, str]) -> None:
    """Who and where an order says its customer is; of two the later order is believed."""
    for name, value in each.contact.items():
        if each.at > contact.get(name, {}).get("at", ""):
            contact[name] = {"value": value, "at": each.at}
    spelled = tuple(sorted(each.address.items()))
    if spelled:
        addresses[spelled] = max(each.at, addresses.get(spelled, ""))


def _skus(contribution: Contribution | None) -> Mapping[str, int]:
    return contribution.skus if contribution and contribution.counts else {}


def _count(total: Mapping[str, Counter[str]], each: Contribution, sign: int) -> None:
    if not each.counts:
        total["numbers"]["cancelled"] += sign
        return
    total["numbers"]["orders"] += sign
    total["numbers"]["units"] += sign * sum(each.skus.values())
    total["spent"][each.currency] += sign * each.spent
    total["channels"][each.channel] += sign
    if each.country:
        total["countries"][each.country] += sign
    for method in each.methods:
        total["methods"][method] += sign
    for sku, units in each.skus.items():
        total["skus"][sku] += sign * units


def _figures(
    total: Mapping[str, Counter[str]],
    first: str,
    last: str,
    contact: Mapping[str, Mapping[str, str]],
    addresses: Mapping[_Spelled, str],
) -> Figures:
    numbers = total["numbers"]
    skus = sorted(((sku, units) for sku, units in total["skus"].items() if units), key=lambda each: (-each[1], each[0]))
    latest = sorted(addresses.items(), key=lambda each: each[1], reverse=True)[:MAX_ADDRESSES]
    return Figures(
        orders=numbers["orders"],
        cancelled=numbers["cancelled"],
        units=numbers["units"],
        **{name: _nonzero(total[name]) for name in ("spent", "channels", "countries", "methods")},
        skus=dict(sorted(skus[:MAX_SKUS])),
        skus_cut=len(skus) > MAX_SKUS,
        first_order_at=first,
        last_order_at=last,
        contact=dict(sorted(contact.items())),
        addresses=tuple({"at": at, "address": dict(spelled)} for spelled, at in latest),
    )


def _nonzero(counted: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in sorted(counted.items()) if count}


def _positive(counted: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in sorted(counted.items()) if count > 0}


def figures_to_item(figures: Figures) -> Item:
    """Figures as a map within an item; what is empty is left out."""
    told = {spec.name: getattr(figures, spec.name) for spec in fields(figures)}
    return {name: value for name, value in told.items() if value}


def figures_from_item(item: Item) -> Figures:
    """The inverse of ``figures_to_item``."""
    return Figures(**{**item, "addresses": tuple(item.get("addresses", ()))})


def contribution_to_item(contribution: Contribution) -> Item:
    """A contribution as the values of an item."""
    return {spec.name: getattr(contribution, spec.name) for spec in fields(contribution)}


def contribution_from_item(item: Item) -> Contribution:
    """The inverse of ``contribution_to_item``."""
    told = {spec.name: item[spec.name] for spec in fields(Contribution)}
    return Contribution(**{**told, "methods": tuple(told["methods"])})
