"""Orders that staff have begun: saved by one, resumed by any, priced as things stand, and placed once.

A draft takes no stock and holds no price. It ends in the transaction that places it, under the version that was read,
so an edit in between is not lost and two who place it make one order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from oms.inventory.backorders import queue_of
from oms.inventory.model import Product
from oms.inventory.supplies import expected_for, supplies_of
from oms.orders.discounting import within
from oms.orders.forms import Form
from oms.orders.model import Order, order_id_for
from oms.orders.once import digest_of
from oms.orders.placing import request_digest
from oms.orders.reading import coupons_view, totals_of
from oms.orders.selling import SellByStaff, Seller, address_of
from oms.orders.staff_forms import DraftForm, PlaceDraftForm, StaffOrderForm
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.dynamo import ConditionsFailed, Item, Table
from oms.runtime.http import checked
from oms.runtime.paging import Page

KEPT = timedelta(days=7)
"""How long a draft lives after it was last saved; its customer's data goes with it."""
PAGE = 25
_SK = "DRAFT"


@dataclass(frozen=True, slots=True)
class KeepDrafts:
    """The use cases of drafts."""

    selling: SellByStaff

    @property
    def _table(self) -> Table:
        return self.selling.placing.orders.table

    def _now(self) -> datetime:
        return self.selling.placing.clock()

    def open(self, form: DraftForm, key: str, seller: Seller) -> dict[str, Any]:
        """Save a new draft, once a key. Raises ``IdempotencyKeyReused``."""
        told = _told(form)
        draft_id = order_id_for("draft", f"{seller.actor}\x1f{key}")
        item = self._item(draft_id, 1, told, seller.actor, seller.actor, digest_of(told))
        try:
            self._table.transact([self._table.put("saved", item)])
        except ConditionsFailed:
            found = self._table.get(_pk(draft_id), _SK)
            if found is None or found["opened_as"] != item["opened_as"]:
                raise errors.IdempotencyKeyReused("This key was used for another draft.") from None
            item = found
        return self._view(item, seller)

    def read(self, draft_id: str, seller: Seller) -> dict[str, Any]:
        """A draft, priced as things stand. Raises ``NotFound``."""
        return self._view(self._get(draft_id), seller)

    def listed(self, agent: str, cursor: str) -> dict[str, Any]:
        """A page of the drafts that somebody has open, the one saved last first. Raises ``InvalidRequest``."""
        page = Page.of(cursor, PAGE)
        found = self._table.query_index(
            "work",
            "work_queue = :queue" + (" AND work_rank < :after" if page.after else ""),
            {":queue": f"draft#{agent}", **({":after": page.after} if page.after else {})},
            newest_first=True,
            limit=PAGE + 1,
        )
        keys, following = page.cut([(item["work_rank"], (item["pk"], item["sk"])) for item in found])
        items = {(item["pk"], item["sk"]): item for item in self._table.batch_get(keys)}
        now = to_text(self._now())
        return {
            "drafts": [_summary(items[key]) for key in keys if key in items and items[key]["expires_at"] > now],
            "next_cursor": following,
        }

    def save(self, draft_id: str, form: DraftForm, seen: int, seller: Seller) -> dict[str, Any]:
        """Save a draft over the version that was read. Raises ``NotFound``, and ``PreconditionFailed`` when somebody
        else saved it since."""
        before = self._get(draft_id)
        item = self._item(draft_id, seen + 1, _told(form), before["owner"], seller.actor, before["opened_as"])
        self._write(draft_id, seen, self._table.put("saved", item, "version = :seen", values={":seen": seen}))
        return self._view(item, seller)

    def drop(self, draft_id: str, seen: int | None) -> None:
        """Throw a draft away, under the version that was read if one is told; again is harmless.

        Raises ``PreconditionFailed``.
        """
        item = self._table.get(_pk(draft_id), _SK)
        if item is not None:
            version = item["version"] if seen is None else seen
            self._write(draft_id, version, self._ending(draft_id, version))

    def place(self, draft_id: str, form: PlaceDraftForm, key: str, seen: int | None, seller: Seller) -> dict[str, Any]:
        """Place a draft, which ends it. A draft is one order, whoever places it and how often.

        Raises what ``SellByStaff.place`` does, ``NotFound``, ``PreconditionFailed`` when it was saved since it was
        read, and ``Conflict`` with the order when somebody else placed it.
        """
        order_id = order_id_for("draft-placed", draft_id)
        digest = request_digest({"draft": draft_id, "key": key, **form.model_dump(mode="json", exclude_none=True)})
        item = self._table.get(_pk(draft_id), _SK)
        try:
            if item is None or item["expires_at"] <= to_text(self._now()):
                return self._placed(draft_id, order_id, digest, seller)
            if seen is not None and item["version"] != seen:
                raise _changed(item["version"])
            wanted = checked(StaffOrderForm, {**item["form"], "payment": form.payment.model_dump(exclude_none=True)})
            ending = self._ending(draft_id, item["version"])
            return self.selling.place_as(wanted, order_id, digest, seller, f"draft {draft_id}", (ending,))
        except errors.IdempotencyKeyReused:
            raise errors.Conflict(
                "This draft has been placed.", extra={"code": "draft_placed", "order_id": order_id}
            ) from None
        except ConditionsFailed as failed:
            if failed.of("saved") is None:
                raise
            raise _changed(None) from None

    def _placed(self, draft_id: str, order_id: str, digest: bytes, seller: Seller) -> dict[str, Any]:
        answer = self.selling.answer_again(order_id, digest, seller)
        if answer is None:
            raise errors.NotFound("There is no such draft.")
        return answer

    # ---- items -----------------------------------------------------------------------------------------------------

    def _item(
        self, draft_id: str, version: int, form: Mapping[str, Any], owner: str, saved_by: str, opened_as: str
    ) -> Item:
        now = self._now()
        return {
            "pk": _pk(draft_id),
            "sk": _SK,
            "entity": "draft",
            "draft_id": draft_id,
            "form": dict(form),
            "owner": owner,
            "saved_by": saved_by,
            "saved_at": to_text(now),
            "expires_at": to_text(now + KEPT),
            "opened_as": opened_as,
            "version": version,
            "work_queue": f"draft#{owner}",
            "work_rank": f"{to_text(now)}#{draft_id}",
            "ttl": int((now + KEPT).timestamp()),
        }

    def _get(self, draft_id: str) -> Item:
        item = self._table.get(_pk(draft_id), _SK)
        if item is None or item["expires_at"] <= to_text(self._now()):
            raise errors.NotFound("There is no such draft.")
        return item

    def _ending(self, draft_id: str, version: int) -> Any:
        return self._table.delete("saved", (_pk(draft_id), _SK), "version = :seen", values={":seen": version})

    def _write(self, draft_id: str, seen: int, write: Any) -> None:
        try:
            self._table.transact([write])
        except ConditionsFailed:
            raise _changed(self._get(draft_id)["version"]) from None

    # ---- how it stands ---------------------------------------------------------------------------------------------

    def _view(self, item: Item, seller: Seller) -> dict[str, Any]:
        form = checked(DraftForm, item["form"])
        return {**_summary(item), "form": item["form"], "now": self._as_things_stand(item["draft_id"], form, seller)}

    def _as_things_stand(self, draft_id: str, form: DraftForm, seller: Seller) -> dict[str, Any]:
        """What the order would cost, what there is of it, and what stands in its way; nothing is taken, held or
        redeemed."""
        placing, problems = self.selling.placing, list[tuple[str, str]]()
        products = placing.products([line.sku for line in form.lines])
        store = None
        if form.counter:
            try:
                store = self.selling.store(form.counter)
            except errors.InvalidRequest as error:
                problems += error.fields
        address = {"country": "", "line1": "", **address_of(form, store)}
        order = None
        if form.lines:
            try:
                basket = self.selling.basket(form, products, address["country"])
                priced = basket.priced
                order = self.selling.order(form, draft_id, basket, address, self._now())
                limits = self.selling.limits_of(seller)
                if not within(limits, priced.totals.items, basket.discounts.total):
                    problems.append(("discount", "is beyond your limit"))
                order = placing.coupons.tried(order, form.codes, self._now())
            except errors.InvalidRequest as error:
                problems += error.fields
            except errors.Conflict as refused:
                problems.append(("coupons", refused.detail))
        known = [products[line.sku] for line in form.lines if line.sku in products]
        offered = placing.inventory.offered(known) if known else {}
        return {
            "currency": form.currency,
            "totals": totals_of(order.totals) if order else None,
            "coupons": coupons_view(order) if order else [],
            "lines": [
                self._line(number, line, products.get(line.sku), offered, order)
                for number, line in enumerate(form.lines, start=1)
            ],
            "problems": [{"field": field, "message": message} for field, message in problems],
        }

    def _line(
        self, number: int, line: Any, product: Product | None, offered: Mapping[str, int], order: Order | None
    ) -> dict[str, Any]:
        cost = order.lines[number - 1] if order else None
        available = offered.get(line.sku, 0)
        lacking = max(0, line.quantity - available)
        return {
            "line": number,
            "sku": line.sku,
            "title": product.title if product else None,
            "quantity": line.quantity,
            "unit_price": product.price if product else None,
            "discount": cost.discount if cost else None,
            "tax": cost.tax if cost else None,
            "available": available,
            "lacking": lacking,
            "backorder": product.backorder if product else False,
            "expected_at": self._expected(product, lacking) if product and lacking else None,
        }

    def _expected(self, product: Product, lacking: int) -> str | None:
        """When what lacks should be there, by what is on its way."""
        inventory, dates = self.selling.placing.inventory, []
        for sku, units in product.parts(lacking).items():
            queue = queue_of(inventory, sku)
            dates.append(expected_for(supplies_of(inventory, sku), queue.waiting - queue.earmarked + units))
        return max(dates) if all(dates) else None


def _told(form: Form) -> dict[str, Any]:
    return form.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def _pk(draft_id: str) -> str:
    return f"DRAFT#{draft_id}"


def _changed(version: int | None) -> errors.PreconditionFailed:
    return errors.PreconditionFailed("The draft was saved since it was read.", extra={"version": version})


def _summary(item: Item) -> dict[str, Any]:
    form = item["form"]
    customer = form.get("customer", {})
    return {
        "draft_id": item["draft_id"],
        "version": item["version"],
        "owner": item["owner"],
        "saved_by": item["saved_by"],
        "saved_at": item["saved_at"],
        "expires_at": item["expires_at"],
        "channel": form["channel"],
        "customer_name": customer.get("name"),
        "units": sum(line["quantity"] for line in form.get("lines", [])),
    }
