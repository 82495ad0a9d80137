"""What SES says became of our mails: whose address is no good, or who complained, is not written to again.

SES publishes an event for each, at least once and in no order. A bounce that may pass, such as a full mailbox, condemns
nobody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oms.messages.preferences import BOUNCED, COMPLAINED, KeepPreferences
from oms.messages.telling import for_somebody, sort_key_of_tag
from oms.orders.store import DynamoOrders, order_key
from oms.runtime import telemetry
from oms.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class HearOfMails:
    """Suppresses addresses, and shows the mail as one that was not read. Safe to repeat."""

    orders: DynamoOrders
    preferences: KeepPreferences
    clock: Clock

    def hear(self, message: str) -> None:
        """One message of the topic. Raises ``ValueError`` or ``KeyError`` for one that is no event of SES's."""
        if not message.startswith("{"):
            return  # SES tries a new topic with a sentence.
        event = json.loads(message)
        reason, addresses = condemned(event)
        for address in addresses:
            if self.preferences.suppress(address, reason, self.clock()):
                telemetry.count("AddressesSuppressed")
        if reason:
            self._show(event["mail"].get("tags", {}), reason)

    def _show(self, tags: Mapping[str, Any], reason: str) -> None:
        (order_id,), (mail,) = tags.get("order", [""]), tags.get("mail", [""])
        if order_id and mail:
            sk = sort_key_of_tag(mail)
            # Whoever complained has read it; whom it did not reach somebody has to tell another way.
            more = for_somebody(order_id, sk, self.clock()) if reason == BOUNCED else {}
            sets = "".join(f", {name} = :{name}" for name in more)
            self.orders.table.write_one(
                self.orders.table.update(
                    "mail",
                    (order_key(order_id), sk),
                    f"SET #s = :reason{sets}",
                    "attribute_exists(pk) AND #s <> :reason",
                    names={"#s": "status"},
                    values={":reason": reason, **{f":{name}": value for name, value in more.items()}},
                )
            )


def condemned(event: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Why mail must go to which addresses no more, by an event record of SES's; ``("", [])`` when it may."""
    match event["eventType"]:
        case "Bounce" if event["bounce"]["bounceType"] == "Permanent":
            return BOUNCED, _written_to(event, event["bounce"]["bouncedRecipients"])
        # "not-spam" takes a complaint back that a mail service had made by itself.
        case "Complaint" if event["complaint"].get("complaintFeedbackType") != "not-spam":
            return COMPLAINED, _written_to(event, event["complaint"]["complainedRecipients"])
    return "", []


def _written_to(event: Mapping[str, Any], recipients: list[Mapping[str, str]]) -> list[str]:
    """A bounce names who was reached in the end, which a forwarding may have changed: what counts is whom we wrote to,
    as far as that was one person."""
    destination = event["mail"]["destination"]
    return list(destination) if len(destination) == 1 else [each["emailAddress"] for each in recipients]
