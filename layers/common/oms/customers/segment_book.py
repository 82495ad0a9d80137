"""Segments as they are saved, and the people of one: counted and listed by reading people shard after shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from oms.customers.people import SHARDS, People, Person, Profile
from oms.customers.segments import Condition, condition_of, document_of, matches
from oms.customers.views import summary
from oms.runtime import errors
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import ConditionsFailed, Item, Table
from oms.runtime.paging import Page

READ_AT_ONCE = 2000
"""So many people one request reads at most. Who has more gets a part of the count, and the whole of it in an export."""
PAGE = 50
_PK = "SEGMENTS"


@dataclass(frozen=True, slots=True)
class Segment:
    """A saved segment; ``version`` counts how often it was saved."""

    name: str
    condition: Condition
    version: int
    changed_by: str
    changed_at: str


@dataclass(frozen=True, slots=True)
class Look:
    """What reading people found: those to show, how many belong of how many that were read, and where to go on."""

    shown: list[Profile]
    count: int
    looked_at: int
    complete: bool
    """Whether everybody behind the cursor was read."""
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class KeepSegments:
    """Saved segments."""

    table: Table
    people: People
    clock: Clock

    def put(self, name: str, condition: Condition, actor: str, seen: int | None) -> Segment:
        """Save a segment, over version ``seen`` when that is given. Raises ``PreconditionFailed``."""
        while True:
            known = self.find(name)
            version = known.version if known else 0
            if seen is not None and seen != version:
                raise errors.PreconditionFailed("Somebody changed the segment in between: read it again.")
            made = Segment(name, condition, version + 1, actor, to_text(self.clock()))
            held = "version = :seen" if known else "attribute_not_exists(pk)"
            values = {":seen": version} if known else None
            try:
                self.table.transact([self.table.put("segment", _to_item(made), held, values=values)])
            except ConditionsFailed:
                continue
            return made

    def find(self, name: str) -> Segment | None:
        """A segment, if there is one of this name."""
        item = self.table.get(_PK, name)
        return _from_item(item) if item else None

    def require(self, name: str) -> Segment:
        """A segment. Raises ``NotFound``."""
        found = self.find(name)
        if found is None:
            raise errors.NotFound(f"There is no segment {name}.")
        return found

    def delete(self, name: str) -> None:
        """Forget a segment; exports that were made of it stay. Raises ``NotFound``."""
        try:
            self.table.transact([self.table.delete("segment", (_PK, name))])
        except ConditionsFailed:
            raise errors.NotFound(f"There is no segment {name}.") from None

    def all(self, cursor: str) -> tuple[list[Segment], str | None]:
        """Segments by name, a page at a time. Raises ``InvalidRequest`` for a cursor that is none of ours."""
        page = Page.of(cursor, PAGE)
        items = self.table.query(_PK, limit=page.size + 1, after=page.after)
        return page.cut([(item["sk"], _from_item(item)) for item in items])

    def look(self, condition: Condition, cursor: str = "", show: int = PAGE, *, counting: bool = True) -> Look:
        """The next people of a segment. ``counting`` reads on behind the last that is shown, as far as one request may.

        Raises ``InvalidRequest`` for a cursor that is none of ours.
        """
        shown: list[Profile] = []
        count = looked_at = 0
        last = showed_until = Page.of(cursor, show).after
        now = self.clock()
        more = False
        for place, person in walk(self.people, last):
            if looked_at == READ_AT_ONCE or (len(shown) == show and not counting):
                more = True
                break
            looked_at, last = looked_at + 1, place
            profile = person.profile()
            if matches(condition, profile, now):
                count += 1
                if len(shown) < show:
                    shown.append(profile)
                    showed_until = place
        unseen = count > len(shown)
        behind = showed_until if unseen else last
        return Look(shown, count, looked_at, not more, Page.cursor(behind) if more or unseen else None)


def walk(people: People, after: str = "") -> Iterator[tuple[str, Person]]:
    """Everybody, with the place behind which a walk goes on. Raises ``InvalidRequest`` for a place that is none."""
    shard, _, person_id = after.partition("#")
    if after and not (shard.isascii() and shard.isdigit() and person_id):
        wrong = [("cursor", "take it from next_cursor")]
        raise errors.InvalidRequest("See errors for what to change.", fields=wrong)
    for number in range(int(shard or 0), SHARDS):
        for person in people.in_shard(number, person_id):
            yield f"{number}#{person.person_id}", person
        person_id = ""


def segment_view(segment: Segment) -> dict[str, Any]:
    """A segment as staff see it."""
    return {
        "name": segment.name,
        "conditions": document_of(segment.condition),
        "version": segment.version,
        "changed_by": segment.changed_by,
        "changed_at": segment.changed_at,
    }


def count_view(look: Look) -> dict[str, Any]:
    """How many belong to a segment, and whether that is all of them."""
    return {"people": look.count, "looked_at": look.looked_at, "complete": look.complete}


def page_view(look: Look, cursor: str) -> dict[str, Any]:
    """The page of a segment's people behind a cursor; the first one tells how many they are."""
    counted = {} if cursor else {"count": count_view(look)}
    return {"customers": [summary(each) for each in look.shown], "next_cursor": look.next_cursor, **counted}


def _to_item(segment: Segment) -> Item:
    told = segment_view(segment)
    return {"pk": _PK, "sk": told.pop("name"), "entity": "segment", **told}


def _from_item(item: Item) -> Segment:
    condition = condition_of(item["conditions"])
    return Segment(item["sk"], condition, item["version"], item["changed_by"], item["changed_at"])
