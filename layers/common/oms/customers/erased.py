"""Who was erased lately: what copies of people, such as the files of campaigns, ask before they are handed out."""

from __future__ import annotations

from datetime import datetime, timedelta

from oms.runtime.clock import to_text
from oms.runtime.dynamo import Table, Write

_PK = "PERSONS#erased"
_REMEMBERED = timedelta(days=9)


def erased(table: Table, customer_id: str, now: datetime) -> Write:
    """The action that notes an erasure, in the transaction that carries it out. It names a hash."""
    ends = int((now + _REMEMBERED).timestamp())
    item = {"pk": _PK, "sk": customer_id, "entity": "person_erased", "at": to_text(now), "ttl": ends}
    return table.put("erased", item, None)


def erased_since(table: Table, since: datetime) -> dict[str, str]:
    """Which identities were erased since then, at most eight days ago, and when."""
    found = {item["sk"]: item["at"] for item in table.query(_PK)}
    return {name: at for name, at in found.items() if at >= to_text(since)}
