"""Marketplaces' orders into ours, where one that cannot be read is reported and never hides the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from oms.channels.port import ChannelRefused, ExternalOrder
from oms.runtime import telemetry

Parse = Callable[[Mapping[str, Any]], ExternalOrder]


def bare(text: str) -> str:
    """Only the letters and digits, in capitals: as tracking numbers and carriers' names are compared. eBay takes no
    other in a tracking number."""
    return re.sub(r"[^0-9A-Za-z]", "", text).upper()


def read_order(channel: str, parse: Parse, told: Mapping[str, Any]) -> ExternalOrder:
    """One order. Raises ``ChannelRefused`` when its shape or its amounts make no sense."""
    try:
        return parse(told)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise ChannelRefused(f"{channel} shows an order that cannot be read: {error!r}") from error


def read_orders(
    channel: str, parse: Parse, id_field: str, orders: Iterable[Mapping[str, Any]]
) -> Iterator[ExternalOrder]:
    """Many orders: those that cannot be read are counted and named in the log, for a person to look at."""
    for told in orders:
        try:
            yield read_order(channel, parse, told)
        except ChannelRefused as error:
            telemetry.count("ChannelOrdersUnreadable", channel=channel)
            telemetry.logger.error(
                "channel_order_unreadable",
                channel=channel,
                external_id=str(told.get(id_field)),
                reason=str(error),
            )
