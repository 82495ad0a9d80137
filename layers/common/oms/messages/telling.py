"""Telling customers, and others whom an order concerns, each thing once.

SES keeps no idempotency keys, so a message is claimed before it is sent and marked afterwards. Who dies between the
two leaves a claim of which nobody can say whether its mail left: it is never sent again by itself, shows as
``uncertain``, raises an alarm, and an agent may send it again. A confirmation that is missing is asked for; one that
came twice is a complaint.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from oms.fulfillment.facilities import facility_address
from oms.fulfillment.shipments import Shipment, shipment_from_item
from oms.inventory.store import DynamoInventory
from oms.messages.kinds import CHANNELS_THAT_TELL, KINDS, MAIL_QUEUE, TOO_LATE, VENDOR_KINDS, Due, due_messages
from oms.messages.notifier import Mail, Notifier, NotSent, Refused, Uncertain
from oms.messages.preferences import KeepPreferences
from oms.messages.rendering import Collection, Merchant, render
from oms.orders.model import Order
from oms.orders.returning import return_from_item, return_key
from oms.orders.store import DynamoOrders, order_key
from oms.runtime import errors, telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import ConditionsFailed, Item

ATTEMPT = timedelta(minutes=2)
"""Longer than the function may run: an attempt that began before has ended, one way or another."""

_SEEN_TO_WITHIN = timedelta(days=1)
"""How soon somebody should see to a mail that did not arrive."""
_ABOUT_PARCELS = frozenset({"shipped", "ready_for_pickup", "pickup_reminder"})


class NotToldYet(Exception):
    """Somebody is at it, or the mail could not leave now: ask again."""


@dataclass(frozen=True, slots=True)
class Telling(ABC):
    """Sends what an order calls for and has not been told yet. Safe to repeat at any time."""

    orders: DynamoOrders
    inventory: DynamoInventory
    preferences: KeepPreferences
    notifier: Callable[[], Notifier] | None
    """None where no mail is set up: then nothing is claimed, and nobody is told."""
    merchant: Merchant
    clock: Clock

    @abstractmethod
    def due(self, order: Order, events: Sequence[Item], now: datetime) -> Iterable[Due]:
        """What should have been told by now, oldest cause first."""

    @abstractmethod
    def claims(self, order_id: str) -> list[Item]:
        """The order's messages to whom this tells."""

    @abstractmethod
    def why_not(self, order: Order, due: Due) -> str:
        """Why a message is not sent; empty when it may be."""

    @abstractmethod
    def mail(self, order: Order, due: Due, copy: int) -> Mail:
        """The message as it stands now."""

    @abstractmethod
    def resendable(self, order: Order, now: datetime) -> list[Due]:
        """What may be sent again. Raises ``Conflict`` when nothing may be."""

    def tell(self, order_id: str, number: int) -> None:
        """Everything that is due, since a message about an earlier event may have been lost.

        Raises ``NotToldYet`` when the message about event ``number`` has to be tried again.
        """
        order = self.orders.get(order_id) if self.notifier else None
        if order is None:
            return
        now = self.clock()
        claims = {item["sk"]: item for item in self.claims(order_id)}
        for due in self.due(order, self.orders.parts(order_id, "EVENT#"), now):
            claim = claims.get(_sort_key(due, 0))
            if claim is None and due.number != number and from_text(due.at) < now - TOO_LATE:
                continue
            if claim is None or claim["status"] == "waiting":
                self._send(order, due, 0, now)
            elif claim["status"] == "sending":
                self._look_again(order, due, claim, now, ours=due.number == number)

    def resend(self, order_id: str, kind: str, about: str, actor: str, key: str) -> Item:
        """Send one message again because somebody asked; one ``key`` sends once.

        Raises ``NotFound`` when the order has had no such message and calls for none, ``Conflict`` when nothing may
        be sent, ``IdempotencyKeyReused`` when the key asked for another message, ``Unavailable`` while
        the mail cannot leave or somebody is at it.
        """
        order = self.orders.require(order_id)
        now, asked = self.clock(), about
        called_for = self.resendable(order, now)
        copies = self.claims(order_id)
        mine = next((item for item in copies if item.get("key") == key), None)
        if mine is not None:
            if (mine["kind"], mine["asked"]) != (kind, asked):
                raise errors.IdempotencyKeyReused("This key sent another message.")
            if mine["status"] not in ("waiting", "sending"):
                return mine
            # Of what has happened since, nothing may change which message this key stands for.
            about = mine["about"]
        matching = [due for due in called_for if due.kind == kind and about in ("", due.about)]
        if not matching:
            raise errors.NotFound("This order calls for no such message.")
        due = matching[-1]
        used = [item["copy"] for item in copies if (item["kind"], item["about"]) == (due.kind, due.about)]
        copy = mine["copy"] if mine is not None else max(used, default=0) + 1
        try:
            if mine is not None and mine["status"] == "sending":
                self._look_again(order, due, mine, now, ours=True)
            else:
                # Those that this one is sent in place of need nobody any more, once it is on its way.
                instead = tuple(
                    item["sk"]
                    for item in copies
                    if (item["kind"], item["about"]) == (due.kind, due.about) and "work_queue" in item
                )
                self._send(order, due, copy, now, actor=actor, key=key, asked=asked, instead_of=instead)
        except NotToldYet:
            raise errors.Unavailable("The mail cannot leave at the moment.", retry_after=30) from None
        sent = self.orders.table.get(order_key(order_id), _sort_key(due, copy))
        if sent is None or sent.get("key") != key:
            raise errors.Conflict("Somebody else sent this message again at the same moment.")
        return sent

    def settle(self, order_id: str, kind: str, *, reason: str, actor: str) -> list[Item]:
        """Note that an order's mails of a kind which did not arrive need nobody any more, and why; again is harmless.
        Raises ``NotFound`` when there are none."""
        self.orders.require(order_id)
        found = [item for item in self.claims(order_id) if item["kind"] == kind and "troubled_at" in item]
        if not found:
            raise errors.NotFound("No such message has failed.")
        for item in found:
            self.orders.table.write_one(
                self.orders.table.update(
                    "mail",
                    (item["pk"], item["sk"]),
                    "SET settled = :reason, settled_by = :actor, settled_at = :now REMOVE work_queue, work_rank",
                    "attribute_exists(work_queue)",
                    values={":reason": reason, ":actor": actor, ":now": to_text(self.clock())},
                )
            )
        return [item for item in self.claims(order_id) if item["sk"] in {each["sk"] for each in found}]

    # ---- one message -----------------------------------------------------------------------------------------------

    def _send(
        self,
        order: Order,
        due: Due,
        copy: int,
        now: datetime,
        *,
        actor: str = "system",
        key: str = "",
        asked: str = "",
        instead_of: tuple[str, ...] = (),
    ) -> None:
        claim = {
            "pk": order_key(order.order_id),
            "sk": _sort_key(due, copy),
            "entity": "mail",
            "kind": due.kind,
            "about": due.about,
            "copy": copy,
            "event": due.number,
            "at": to_text(now),
            "actor": actor,
            **({"key": key, "asked": asked} if key else {}),
        }
        why_not = self.why_not(order, due)
        if why_not:
            self._claim({**claim, "status": "suppressed", "reason": why_not})
            return
        if self.notifier is None:
            return
        mail = self.mail(order, due, copy)
        if not self._claim({**claim, "status": "sending"}):
            return
        try:
            message_id = self.notifier().send(mail)
        except Refused as refused:
            telemetry.count("MailsRefused")
            self._mark(claim, "failed", {"reason": str(refused), **self._for_somebody(claim)})
        except Uncertain as uncertain:
            self._mark_uncertain(claim, str(uncertain))
        except NotSent as cause:
            self._mark(claim, "waiting", {"reason": str(cause)})
            raise NotToldYet(str(cause)) from None
        else:
            self._mark(claim, "sent", {"message_id": message_id}, instead_of)

    def _look_again(self, order: Order, due: Due, claim: Item, now: datetime, *, ours: bool) -> None:
        if from_text(claim["at"]) > now - ATTEMPT:
            if ours:
                raise NotToldYet("somebody is sending it")
            return
        self._mark_uncertain({"pk": order_key(order.order_id), "sk": claim["sk"], "at": claim["at"]}, "interrupted")

    # ---- claims ----------------------------------------------------------------------------------------------------

    def _claim(self, claim: Item) -> bool:
        """Whether this attempt is ours: nobody claimed the message before, or its last attempt certainly failed."""
        try:
            self.orders.table.transact(
                [
                    self.orders.table.put(
                        "mail",
                        claim,
                        "attribute_not_exists(pk) OR #s = :waiting",
                        names={"#s": "status"},
                        values={":waiting": "waiting"},
                    )
                ]
            )
        except ConditionsFailed:
            return False
        return True

    def _mark(self, claim: Item, status: str, facts: Mapping[str, str], instead_of: tuple[str, ...] = ()) -> bool:
        """Write down how this attempt ended, and that those which it was sent instead of need nobody any more; False
        when somebody did before."""
        sets = "".join(f", {name} = :{name}" for name in facts)
        values = {f":{name}": value for name, value in facts.items()}
        ended = self.orders.table.update(
            "mail",
            (claim["pk"], claim["sk"]),
            f"SET #s = :status, ended_at = :now{sets}",
            "#s = :sending AND #at = :at",
            names={"#s": "status", "#at": "at"},
            values={
                ":status": status,
                ":now": to_text(self.clock()),
                ":sending": "sending",
                ":at": claim["at"],
                **values,
            },
        )
        if not instead_of:
            return self.orders.table.write_one(ended)
        done = [
            self.orders.table.update("instead", (claim["pk"], sk), "REMOVE work_queue, work_rank", None)
            for sk in instead_of
        ]
        try:
            self.orders.table.transact([ended, *done])
        except ConditionsFailed:
            return False
        return True

    def _for_somebody(self, claim: Item) -> dict[str, str]:
        return for_somebody(claim["pk"].removeprefix("ORDER#"), claim["sk"], self.clock())

    def _mark_uncertain(self, claim: Item, reason: str) -> None:
        if self._mark(claim, "uncertain", {"reason": reason, **self._for_somebody(claim)}):
            telemetry.count("MailsUncertain")
            telemetry.logger.warning("mail_uncertain", order_id=claim["pk"].removeprefix("ORDER#"), mail=claim["sk"])


@dataclass(frozen=True, slots=True)
class TellCustomers(Telling):
    """What customers are told."""

    collection_code: Callable[[str], str]
    """What the customer of an order shows at a counter."""
    order_token: Callable[[Order], str]
    """What opens an order to its customer."""

    def due(self, order: Order, events: Sequence[Item], now: datetime) -> Iterable[Due]:
        """What the order's history and state call for."""
        return due_messages(order, events, now)

    def claims(self, order_id: str) -> list[Item]:
        """The customer's messages."""
        return list(self.orders.parts(order_id, "MAIL#"))

    def resendable(self, order: Order, now: datetime) -> list[Due]:
        """Whatever the order calls for."""
        return resendable(self.orders, order, now, sends=self.notifier is not None)

    def why_not(self, order: Order, due: Due) -> str:
        """No address, none that may be written to, or not wanted."""
        address = order.customer.get("email", "")
        if not address:
            return "no address"
        preferences = self.preferences.of(order.customer["id"], address)
        if preferences.suppressed:
            return f"address {preferences.suppressed}"
        if due.kind in preferences.off and not KINDS[due.kind].required:
            return "not wanted"
        if due.kind == "payment_link" and not self.merchant.pay_url:
            return "no pay page"
        return ""

    def mail(self, order: Order, due: Due, copy: int) -> Mail:
        """The message in the customer's words."""
        shipment, coming = None, None
        if due.kind in _ABOUT_PARCELS:
            number = int(due.about)
            item = self.orders.table.get(order_key(order.order_id), f"SHIPMENT#{number:03d}")
            shipment = shipment_from_item(item) if item else None
        if due.kind in ("return_approved", "return_label"):
            item = self.orders.table.get(*return_key(order.order_id, int(due.about)))
            coming = return_from_item(item) if item else None
        skus = {line.sku for line in order.lines} | ({unit.sku for unit in shipment.units} if shipment else set())
        skus |= {due.data["sku"]} if due.kind == "reward_earned" and "sku" in due.data else set()
        titles = {sku: product.title for sku, product in self.inventory.products(sorted(skus)).items()}
        collection = self._collection(due, order, shipment)
        token = self.order_token(order) if due.kind in ("payment_link", "question") else ""
        asked = self._question(order, due) if due.kind == "question" else ""
        rendered = render(due, order, self.merchant, titles, shipment, coming, collection, token, asked)
        told = tags(order, due, copy)
        return Mail(order.customer["email"], rendered.subject, rendered.text, rendered.html, told)

    def _question(self, order: Order, due: Due) -> str:
        note = self.orders.table.get(order_key(order.order_id), f"NOTE#{due.number:06d}")
        return str((note or {}).get("text", ""))

    def _collection(self, due: Due, order: Order, shipment: Shipment | None) -> Collection | None:
        if due.kind == "shipped" or shipment is None:
            return None
        place = facility_address(self.inventory, shipment.facility)
        town = f"{place.city} {place.postal_code}"
        rows = (place.name, place.line1, place.line2, town, place.country)
        return Collection(self.collection_code(order.order_id), tuple(row for row in rows if row))


def resendable(orders: DynamoOrders, order: Order, now: datetime, *, sends: bool) -> list[Due]:
    """The messages that the order calls for, any of which may be sent again where mails are sent at all.

    Raises ``Conflict`` when nothing may be sent to its customer.
    """
    if not sends:
        raise errors.Conflict("No mail is set up: MailFrom is empty.")
    if order.channel in CHANNELS_THAT_TELL:
        raise errors.Conflict(f"{order.channel} writes to its buyers itself.")
    return list(due_messages(order, orders.parts(order.order_id, "EVENT#"), now))


def for_somebody(order_id: str, sk: str, now: datetime) -> dict[str, str]:
    """The attributes by which a mail that did not arrive, or may not have, waits for a person."""
    rank = f"{to_text(now + _SEEN_TO_WITHIN)}#{order_id}#{sk}"
    return {"work_queue": MAIL_QUEUE, "work_rank": rank, "troubled_at": to_text(now)}


def mail_view(item: Mapping[str, object]) -> dict[str, object]:
    """A message as customer service sees it."""
    return {
        "to": "vendor" if item["kind"] in VENDOR_KINDS else "customer",
        "kind": item["kind"],
        "about": item["about"],
        "copy": item["copy"],
        "event": item["event"],
        "status": item["status"],
        "reason": item.get("reason"),
        "at": item["at"],
        "by": item["actor"],
        "settled": item.get("settled"),
    }


def _sort_key(due: Due, copy: int) -> str:
    return sort_key_of_tag(_tag(due, copy))


def _tag(due: Due, copy: int) -> str:
    return f"{due.kind}-{due.about}-{copy}"


def tags(order: Order, due: Due, copy: int) -> dict[str, str]:
    """What a mail carries so that its claim is found again."""
    return {"order": order.order_id, "mail": _tag(due, copy)}


def sort_key_of_tag(tag: str) -> str:
    """The claim's key for what a mail's tag calls it."""
    kind, about, copy = tag.split("-")
    return f"{'VENDORMAIL' if kind in VENDOR_KINDS else 'MAIL'}#{kind}#{about}#{copy}"
