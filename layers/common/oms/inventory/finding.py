"""By what a product is found: the entries of the inverted index that its own transaction keeps, and what a search is.

An entry is an item of its own, ``FIND#<what>#…``, whose sort key begins with what people type, so a search is one query
of a prefix. Words are told apart from words by letters and digits only, without accents and case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from oms.inventory.model import Product

MAX_WORDS = 20
"""So many different words of a title are found; the rest is read only."""
_LONGEST = 100
_WORD = re.compile(r"[^\W_]+")

Key = tuple[str, str]
INITIALS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""What a SKU can begin with, in the order of a list of all products."""


def folded(text: str) -> str:
    """``text`` as it is compared: no case, no accents, no space around it."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char)).strip()[:_LONGEST]


def words(text: str) -> list[str]:
    """The different words of a text in their order."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(char for char in plain if not unicodedata.combining(char))
    return list(dict.fromkeys(word[:_LONGEST] for word in _WORD.findall(bare)))


def by_sku(prefix: str) -> Key:
    """Where SKUs that begin so stand."""
    return f"FIND#sku#{folded(prefix)[:1]}", folded(prefix)


def by_word(prefix: str) -> Key:
    """Where words that begin so stand; a single letter finds only the word that it is."""
    return f"FIND#word#{prefix[:2]}", prefix if len(prefix) > 1 else f"{prefix}#"


def by_vendor(vendor: str, vendor_sku: str = "") -> Key:
    """Where what a vendor supplies stands, by the vendor's own SKUs."""
    return f"FIND#vendor#{folded(vendor)}", folded(vendor_sku)


def by_spec(name: str, value: str) -> Key:
    """Where products with this value of a specification stand."""
    return f"FIND#spec#{folded(name)}#{folded(value)}", ""


def entries(product: Product) -> dict[Key, str]:
    """Every entry of a product, with the words that are told with it."""
    found: dict[Key, str] = {}
    title = words(product.title)[:MAX_WORDS]
    pk, _ = by_sku(product.sku)
    found[pk, f"{folded(product.sku)}#{product.sku}"] = ""
    for word in title:
        found[by_word(word)[0], f"{word}#{product.sku}"] = " ".join(title)
    for vendor in product.vendors:
        pk, prefix = by_vendor(vendor["vendor"], vendor.get("vendor_sku") or "")
        found[pk, f"{prefix}#{product.sku}"] = ""
    for name, value in product.specs.items():
        found[by_spec(name, value)[0], product.sku] = ""
    return found


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; everything that is given must hold. ``archived`` None means both."""

    text: str = ""
    sku: str = ""
    barcode: str = ""
    vendor: str = ""
    vendor_sku: str = ""
    spec: tuple[str, str] | None = None
    archived: bool | None = False

    def places(self) -> list[Key]:
        """Partitions and prefixes that hold all that can match, in order; the narrowest way there is."""
        if self.sku:
            return [by_sku(self.sku)]
        if self.vendor:
            return [by_vendor(self.vendor, self.vendor_sku)]
        if self.spec:
            return [by_spec(*self.spec)]
        if typed := words(self.text):
            return [by_word(max(typed, key=len))]
        return [(f"FIND#sku#{initial}", "") for initial in INITIALS]

    def may_match(self, told: str) -> bool:
        """Whether the words told with an entry leave it possible; an entry without words does."""
        return not told or self._in_title(told.split(" "))

    def matches(self, product: Product) -> bool:
        """Whether all that is asked for holds of a product."""
        return (
            (self.archived is None or product.archived == self.archived)
            and folded(product.sku).startswith(folded(self.sku))
            and self._in_title(words(product.title))
            and all(self._holds(product))
        )

    def _in_title(self, title: list[str]) -> bool:
        return all(any(word.startswith(typed) for word in title) for typed in words(self.text))

    def _holds(self, product: Product) -> Iterator[bool]:
        if self.vendor:
            wanted, own = folded(self.vendor), folded(self.vendor_sku)
            yield any(
                folded(each["vendor"]) == wanted and folded(each.get("vendor_sku") or "").startswith(own)
                for each in product.vendors
            )
        if self.spec:
            name, value = map(folded, self.spec)
            yield any(folded(known) == name and folded(said) == value for known, said in product.specs.items())


def leads(product: Product, place: Key, sort_key: str) -> bool:
    """Whether this entry is the one of all that a place holds of a product under which it is shown: once, that is."""
    pk, prefix = place
    return sort_key == min((sk for at, sk in entries(product) if at == pk and sk.startswith(prefix)), default="")
