"""Coupons as they are kept, and how an order redeems them: in the transaction that makes it exist, and given back in
the one that ends it.

Uses are counted beside the terms, under the version of the terms that a redemption read: whoever changes the terms
moves the version, so nobody redeems by terms that are gone. A coupon without a limit counts in several places, since
nothing is compared with their sum and everybody may write it at once.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from oms.orders import coupons
from oms.orders.coupons import Coupon, refused, unknown
from oms.orders.model import Order, Redeemed, home_seed
from oms.runtime import errors
from oms.runtime.clock import to_text
from oms.runtime.dynamo import ConditionsFailed, Contention, Item, Refusal, Table, Write
from oms.runtime.paging import Page

STRIPES = 16
"""In so many places the uses of a coupon without a limit are counted."""
_LISTED = "COUPONS"
_PAGE = 50
_ATTEMPTS = 6
_USE, _BY = "coupon ", "coupon-by "
_SAME_MAILBOX = {"googlemail.com": "gmail.com"}
_SHORT = {"street": "st", "road": "rd", "avenue": "ave", "lane": "ln", "drive": "dr", "strasse": "str"}


def coupon_key(code: str) -> str:
    """The partition of everything about a coupon."""
    return f"COUPON#{code}"


@dataclass(frozen=True, slots=True)
class CouponBook:
    """Coupons in the orders table."""

    table: Table
    person_of: Callable[[str], str]
    """The id of the person that a customer id belongs to."""

    # ---- terms -----------------------------------------------------------------------------------------------------

    def find(self, codes: Sequence[str]) -> dict[str, Coupon]:
        """The coupons of these codes that there are."""
        items = self.table.batch_get([(coupon_key(code), "COUPON") for code in codes])
        return {coupon.code: coupon for coupon in map(coupon_from_item, items)}

    def require(self, code: str) -> Coupon:
        """A coupon. Raises ``NotFound``."""
        item = self.table.get(coupon_key(code), "COUPON")
        if item is None:
            raise errors.NotFound("There is no such coupon.")
        return coupon_from_item(item)

    def add(self, coupon: Coupon, *, actor: str, now: datetime) -> Coupon:
        """Make a new coupon; the same terms again are answered as the first time. Raises ``Conflict`` when the code
        stands for other terms."""
        try:
            self.table.transact(self.creation(coupon, actor=actor, now=now))
        except ConditionsFailed:
            found = self.require(coupon.code)
            if replace(found, version=0) != replace(coupon, version=0):
                raise errors.Conflict("There is a coupon of this code.", extra={"code": "coupon_exists"}) from None
            return found
        return replace(coupon, version=1)

    def creation(self, coupon: Coupon, *, actor: str, now: datetime) -> list[Write]:
        """The actions that make a coupon. One that belongs to a person is not in the list of all."""
        made = replace(coupon, version=1)
        pk = coupon_key(made.code)
        told = {**coupon_to_item(made), "by": actor, "at": to_text(now)}
        writes = [self.table.put("coupon", {"pk": pk, "sk": "COUPON", "entity": "coupon", **told})]
        for stripe in range(_stripes(made)):
            uses = {"pk": pk, "sk": _uses(stripe), "entity": "coupon_uses", "used": 0, "version": 1}
            writes.append(self.table.put("uses", uses))
        if not made.person:
            listed = {"pk": _LISTED, "sk": made.code, "entity": "coupon_listed"}
            writes.append(self.table.put("listed", listed, None))
        return writes

    def change(self, code: str, changes: Mapping[str, Any], *, seen: int | None, actor: str, now: datetime) -> Coupon:
        """Change terms; what was redeemed stays as it is. Raises ``NotFound``, ``PreconditionFailed`` when ``seen`` is
        not the version any more, ``InvalidRequest``, and ``Contention``."""
        for attempt in range(_ATTEMPTS):
            before = self.require(code)
            if seen is not None and before.version != seen:
                raise errors.PreconditionFailed("The coupon has changed: read it again.")
            after = replace(before, **changes)
            if (after.limit is None) != (before.limit is None):
                wrong = [("limit", "cannot be given to a coupon without one, nor taken away: make another coupon")]
                raise errors.InvalidRequest("See errors for what to change.", fields=wrong)
            if wrong := coupons.inconsistent(after):
                raise errors.InvalidRequest("See errors for what to change.", fields=wrong)
            if after == before:
                return before
            try:
                self.table.transact(self._rewriting(before, after, actor, now))
            except ConditionsFailed:
                self.table.back_off(attempt)
                continue
            return replace(after, version=before.version + 1)
        raise Contention(f"coupon {code}")

    def switched(self, code: str, *, active: bool, now: datetime) -> list[Write] | None:
        """The actions that switch a coupon off or on as long as no order carries it; none are needed when it stands so
        already. None when it has been used."""
        coupon = self.require(code)
        if self.used(coupon):
            return None
        if coupon.active is active:
            return []
        return self._rewriting(coupon, replace(coupon, active=active), "system", now, condition="used = :none")

    def _rewriting(
        self, before: Coupon, after: Coupon, actor: str, now: datetime, *, condition: str | None = None
    ) -> list[Write]:
        pk, version = coupon_key(before.code), before.version + 1
        told = {**coupon_to_item(replace(after, version=version)), "by": actor, "at": to_text(now)}
        item = {"pk": pk, "sk": "COUPON", "entity": "coupon", **told}
        seen, none = {":seen": before.version}, {":none": 0} if condition else {}
        return [
            self.table.put("coupon", item, "version = :seen", values=seen),
            *(
                self.table.update(
                    "uses", (pk, _uses(stripe)), "SET version = :next", condition, values={":next": version, **none}
                )
                for stripe in range(_stripes(before))
            ),
        ]

    def page(self, cursor: str) -> dict[str, Any]:
        """The merchant's coupons by code, a page at a time."""
        page = Page.of(cursor, _PAGE)
        listed = [item["sk"] for item in self.table.query(_LISTED, limit=page.size + 1, after=page.after)]
        codes, more = page.cut([(code, code) for code in listed])
        found = self.find(codes) if codes else {}
        return {"coupons": [coupon_view(found[code]) for code in codes if code in found], "next_cursor": more}

    def used(self, coupon: Coupon) -> int:
        """How many orders carry it."""
        return sum(item["used"] for item in self.table.query(coupon_key(coupon.code), "USES#"))

    # ---- redeeming -------------------------------------------------------------------------------------------------

    def place(
        self, order: Order, codes: Sequence[str], now: datetime, create: Callable[[Order, tuple[Write, ...]], Order]
    ) -> Order:
        """Take the coupons off an order that is about to be made, and make it: ``create`` gets it with the actions that
        belong into the transaction which makes it exist.

        Raises ``Conflict`` with the reason when a coupon does not hold or is used up, and whatever ``create`` does.
        """
        if not codes:
            return create(order, ())
        for attempt in range(_ATTEMPTS):
            redeemed, writes = self._redeemed(order, codes, now)
            try:
                return create(redeemed, tuple(writes))
            except ConditionsFailed as failed:
                self._explain(failed, redeemed)
                self.table.back_off(attempt)
        raise Contention(f"coupons of {order.order_id}")

    def tried(self, order: Order, codes: Sequence[str], now: datetime) -> Order:
        """The order as the coupons would leave it now; nothing is redeemed. Raises what ``place`` does of them."""
        if not codes:
            return order
        after, _ = self._redeemed(order, codes, now)
        terms = self.find(codes)
        for redeemed in after.coupons:
            if problem := _spent(self.table, terms[redeemed.code], redeemed):
                raise problem
        return after

    def _redeemed(self, order: Order, codes: Sequence[str], now: datetime) -> tuple[Order, list[Write]]:
        found = self.find(codes)
        person = self.person_of(order.customer["id"])
        for code in codes:
            if code not in found or not self._belongs(found[code], person):
                raise unknown(code)
        wanted = coupons.in_turn(list(found.values()))
        coupons.check_together(wanted)
        writes: list[Write] = []
        after = order
        for coupon in wanted:
            coupons.check(coupon, order, to_text(now))
            if coupon.per_customer and not (order.customer.get("email") or order.customer.get("phone")):
                detail = f"{coupon.code} is limited by customer: it needs an email or a phone number."
                raise refused(coupon.code, "needs_customer", detail)
            after, off, shipping = coupons.take_off(coupon, after)
            counted = tuple(faces(coupon, person, order)) if coupon.per_customer or coupon.per_address else ()
            stripe = home_seed(order.order_id) % _stripes(coupon)
            redeemed = Redeemed(coupon.code, off, shipping, stripe, counted)
            after = replace(after, coupons=(*after.coupons, redeemed))
            writes += _counting(self.table, coupon, redeemed)
        return after, writes

    def _belongs(self, coupon: Coupon, person: str) -> bool:
        return not coupon.person or person in (coupon.person, self.person_of(coupon.person))

    def _explain(self, failed: ConditionsFailed, order: Order) -> None:
        """Raise what the refusals of a redemption mean; return when the terms changed in between. Refusals that are
        not ours are raised as they came."""
        ours = [refusal for refusal in failed.refusals if refusal.write.label.startswith((_USE, _BY))]
        if not ours:
            raise failed
        for refusal in ours:
            code = refusal.write.label.removeprefix(_USE).removeprefix(_BY)
            if refusal.write.label.startswith(_BY):
                raise _already_used(code)
            if not _terms_changed(refusal):
                raise _used_up(code)


def _counting(table: Table, coupon: Coupon, redeemed: Redeemed) -> list[Write]:
    """The actions that count a redemption, each refused beyond its limit."""
    pk = coupon_key(coupon.code)
    condition, values = "version = :seen", {":seen": coupon.version, ":one": 1}
    if coupon.limit is not None:
        condition, values = f"{condition} AND used < :limit", {**values, ":limit": coupon.limit}
    key = (pk, _uses(redeemed.stripe))
    writes = [table.update(_USE + coupon.code, key, "ADD used :one", condition, values=values)]
    for face in redeemed.counted:
        most = _most(coupon, face)
        writes.append(
            table.update(
                _BY + coupon.code,
                (pk, face),
                "SET entity = :entity ADD used :one",
                "attribute_not_exists(used) OR used < :most",
                values={":entity": "coupon_by", ":one": 1, ":most": most},
            )
        )
    return writes


def _spent(table: Table, coupon: Coupon, redeemed: Redeemed) -> errors.Conflict | None:
    """Why a redemption would be refused by what was counted so far; None when it would not."""
    uses = _uses(redeemed.stripe)
    pk = coupon_key(coupon.code)
    used = {sk: (table.get(pk, sk) or {"used": 0})["used"] for sk in (uses, *redeemed.counted)}
    if any(used[face] >= _most(coupon, face) for face in redeemed.counted):
        return _already_used(coupon.code)
    if coupon.limit is not None and used[uses] >= coupon.limit:
        return _used_up(coupon.code)
    return None


def _already_used(code: str) -> errors.Conflict:
    return refused(code, "already_used", f"{code} has been used as often as it may be.")


def _used_up(code: str) -> errors.Conflict:
    return refused(code, "used_up", f"{code} has been used up.")


# ---- ending, and coming back -----------------------------------------------------------------------------------------


def redeemed_again(table: Table, order: Order) -> list[Write] | None:
    """The actions by which an order that had ended redeems its coupons once more, or None when others have used them
    up. It was made in time, so dates and terms are not asked again."""
    writes: list[Write] = []
    for redeemed in order.coupons:
        item = table.get(coupon_key(redeemed.code), "COUPON")
        if item is None:
            return None
        coupon = coupon_from_item(item)
        if _spent(table, coupon, redeemed):
            return None
        writes += _counting(table, coupon, redeemed)
    return writes


def give_back(table: Table, redeemed: Sequence[Redeemed]) -> list[Write]:
    """The actions that give a dying order's coupons back, for the transaction that ends it: only that one has them."""
    return [
        table.update(_USE + each.code, (coupon_key(each.code), sk), "ADD used :less", values={":less": -1})
        for each in redeemed
        for sk in (_uses(each.stripe), *each.counted)
    ]


# ---- by whom ---------------------------------------------------------------------------------------------------------


def faces(coupon: Coupon, person: str, order: Order) -> Iterator[str]:
    """What a use of a coupon is counted by, as far as its terms limit it: the person, their mailbox, their phone, and
    the address that it goes to, unless it goes over a counter. Digests of the coupon's own: nobody can tell from them
    who it was, or that the same person used another."""
    if coupon.per_customer:
        yield face("person", coupon.code, person)
        if mailbox := mailbox_of(order.customer.get("email", "")):
            yield face("mailbox", coupon.code, mailbox)
        if phone := phone_of(order.customer.get("phone", "")):
            yield face("phone", coupon.code, phone)
    if _per_address(coupon) and not order.counter:
        yield face("place", coupon.code, place_of(order.address))


def mailbox_of(email: str) -> str:
    """The mailbox behind an address: what follows a plus is the sender's own word, and Gmail reads no dots."""
    local, _, domain = email.strip().lower().rpartition("@")
    domain = _SAME_MAILBOX.get(domain, domain)
    local = local.partition("+")[0]
    if domain == "gmail.com":
        local = local.replace(".", "")
    return f"{local}@{domain}" if local else ""


def phone_of(phone: str) -> str:
    """The last nine digits: numbers come with and without their country."""
    digits = re.sub(r"\D", "", phone)
    return digits[-9:] if len(digits) >= 7 else ""


def place_of(address: Mapping[str, str]) -> str:
    """A house, however it is spelled: country, postcode, and the street's letters and digits. The second line is left
    out, because anybody can write another flat there."""
    plain = unicodedata.normalize("NFKD", address["line1"].casefold())
    words = re.findall(r"[a-z0-9]+", "".join(sign for sign in plain if not unicodedata.combining(sign)))
    street = "".join(sorted(_SHORT.get(word, word) for word in words)) or plain
    postcode = re.sub(r"[^A-Z0-9]", "", address.get("postal_code", "").upper())
    return f"{address['country']}|{postcode}|{street}"


def face(kind: str, code: str, value: str) -> str:
    """The key under which something is counted by what a person is known again by; ``code`` is what is counted."""
    return f"BY#{kind}#{hashlib.blake2s(f'{code}|{value}'.encode(), digest_size=12).hexdigest()}"


def _per_address(coupon: Coupon) -> int | None:
    return coupon.per_customer if coupon.per_address is None else coupon.per_address


def _most(coupon: Coupon, face: str) -> int:
    """How often at most by this; a limit that was taken away since does not bind."""
    most = _per_address(coupon) if face.startswith("BY#place#") else coupon.per_customer
    return most or 1_000_000_000


def _terms_changed(refusal: Refusal) -> bool:
    seen = int(refusal.write.action["Update"]["ExpressionAttributeValues"][":seen"]["N"])
    return refusal.old is None or refusal.old["version"] != seen


def _stripes(coupon: Coupon) -> int:
    return STRIPES if coupon.limit is None else 1


def _uses(stripe: int) -> str:
    return f"USES#{stripe:02d}"


# ---- shapes ----------------------------------------------------------------------------------------------------------


def coupon_to_item(coupon: Coupon) -> Item:
    """Terms as an item's attributes; what sets no bound is left out, except its version."""
    told = {spec.name: getattr(coupon, spec.name) for spec in fields(coupon)}
    told["skus"] = list(coupon.skus)
    kept = {"code", "kind", "version", "exclusive", "active"}
    return {name: value for name, value in told.items() if name in kept or value}


def coupon_from_item(item: Item) -> Coupon:
    """The inverse of ``coupon_to_item``."""
    names = {spec.name for spec in fields(Coupon)}
    told = {name: value for name, value in item.items() if name in names}
    return Coupon(**{**told, "skus": tuple(told.get("skus", ()))})


def coupon_view(coupon: Coupon, used: int | None = None) -> dict[str, Any]:
    """A coupon as staff see it."""
    view: dict[str, Any] = {
        "code": coupon.code,
        "kind": coupon.kind,
        "percent": coupon.percent or None,
        "amounts": dict(coupon.amounts),
        "limit": coupon.limit,
        "per_customer": coupon.per_customer,
        "per_address": coupon.per_address,
        "starts_at": coupon.starts_at or None,
        "ends_at": coupon.ends_at or None,
        "minimum": dict(coupon.minimum),
        "minimum_units": coupon.minimum_units,
        "skus": list(coupon.skus),
        "exclusive": coupon.exclusive,
        "active": coupon.active,
        "personal": bool(coupon.person),
        "version": coupon.version,
    }
    return view if used is None else {**view, "used": used}
