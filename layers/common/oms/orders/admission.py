"""Who may do what to an order on the routes that its customer and the staff share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oms.orders.access import CUSTOMER, token_opens
from oms.orders.model import Order
from oms.runtime import errors
from oms.runtime.http import ApiRequest

if TYPE_CHECKING:
    from oms.bootstrap import App


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may act on the order: its customer, or one of the staff."""

    order: Order
    actor: str
    groups: frozenset[str]
    """The staff groups; none for the customer."""

    @property
    def staff(self) -> bool:
        """Whether it is one of the staff."""
        return self.actor != CUSTOMER


def admit(request: ApiRequest, parts: App, *groups: str, customer: bool = True) -> Caller:
    """The caller, if they hold the order's token or are staff of one of the groups. Anyone else learns nothing.

    Raises ``NotFound``, ``Unauthenticated``, ``Forbidden``.
    """
    order_id = request.path["id"]
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer:
        known = replace(request, claims=parts.staff_tokens.claims(bearer))
        known.require_group(*groups)
        return Caller(parts.orders.require(order_id), known.actor, known.groups)
    token = request.headers.get("order-token", "")
    if not customer or not token_opens(token, order_id, parts.clock(), parts.token_keys()):
        raise errors.NotFound("There is no such order.")
    return Caller(parts.orders.require(order_id), CUSTOMER, frozenset())
