"""What counts as a human touch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from oms.customers.touches import ORDINARY, TOUCHES, in_words, reasons
from oms.orders.words import SENTENCES
from tests.unit.test_words import ROOT, emitted, texts


def _by_people(source: Path) -> Iterator[str]:
    """Types of event whose actor is handed in, and so may be one of the staff."""
    for call in ast.walk(ast.parse(source.read_text())):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Event" and len(call.args) > 1:
            kind, actor = call.args[:2]
            if isinstance(actor, ast.Name) and actor.id in {"actor", "agent", "author"}:
                yield from SENTENCES.keys() & set(texts(kind))


def test_whatever_staff_may_do_is_a_touch_or_ordinary_work() -> None:
    sources = [*(ROOT / "layers/common/oms").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    by_people = {kind for source in sources for kind in _by_people(source)}
    assert by_people - TOUCHES.keys() - ORDINARY.keys() == set()
    assert TOUCHES.keys() & ORDINARY.keys() == set()
    assert (TOUCHES.keys() | ORDINARY.keys()) - emitted() == set()


def test_only_what_staff_did_is_a_touch() -> None:
    def event(kind: str, actor: str, **data: str) -> dict[str, object]:
        return {"type": kind, "actor": actor, "data": data}

    history = [
        event("OrderPlaced", "staff:sam"),
        event("OrderCancelled", "customer"),
        event("ShipmentPicked", "staff:kim"),
        event("HoldReleased", "staff:kim", hold="fraud"),
        event("HoldReleased", "staff:kim", hold="fraud"),
        event("NoteAdded", "staff:kim"),
    ]
    assert reasons(history) == {"HoldReleased:fraud", "NoteAdded"}
    assert in_words("HoldReleased:fraud") == "a hold had to be released (fraud)"
