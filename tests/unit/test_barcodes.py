"""Which barcodes the catalogue takes, and how a scanner finds them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from oms.inventory.barcodes import claims, kind_of, lookup_key
from oms.inventory.forms import ProductForm


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("73513537", "ean-8"),
        ("036000291452", "upc-a"),
        ("4006381333931", "ean-13"),
        ("98412345678908", "gtin-14"),
        ("0471117099", "internal"),
        ("X-00012345", "internal"),
        ("20240001-99", "internal"),
    ],
)
def test_a_code_tells_its_kind_by_its_looks(code: str, kind: str) -> None:
    assert kind_of(code) == kind


@pytest.mark.parametrize("code", ["73513536", "036000291453", "4006381333932", "98412345678909"])
def test_a_wrong_check_digit_is_refused_and_the_right_one_named(code: str) -> None:
    with pytest.raises(ValueError, match=r"its last digit should be \d; .* as internal"):
        kind_of(code)


def test_a_code_of_one_s_own_may_look_like_a_gtin_when_it_is_declared() -> None:
    assert kind_of("4006381333932", "internal") == "internal"


@pytest.mark.parametrize(
    ("code", "declared", "why"),
    [
        ("0471117099", "isbn-13", "not a valid ISBN-13"),
        ("0471117098", "isbn-10", "not a valid ISBN-10"),
        ("978-0-471-11709-4", "isbn-13", "without hyphens and spaces: 9780471117094"),
        ("036000291452", "ean-13", "not 13 digits"),
    ],
)
def test_a_declared_kind_must_hold(code: str, declared: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        kind_of(code, declared)


def test_a_upc_is_found_by_twelve_digits_and_by_thirteen() -> None:
    assert lookup_key("036000291452") == lookup_key("0036000291452")


def test_a_book_is_found_by_the_bar_printed_on_it() -> None:
    assert lookup_key("9780471117094") in claims({"0471117099": kind_of("0471117099", "isbn-10")})


def test_a_form_says_which_barcode_is_wrong() -> None:
    told = {"sku": "A", "title": "A", "price": {"amount": 1, "currency": "USD"}}
    with pytest.raises(ValidationError, match="4006381333932 looks like EAN-13"):
        ProductForm.model_validate({**told, "barcodes": ["4006381333932"]})
    with pytest.raises(ValidationError, match="not among the barcodes"):
        ProductForm.model_validate({**told, "barcode_kinds": {"4006381333932": "internal"}})
