"""The files port on moto's S3."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from oms.runtime.files import Files
from tests.support.shop import open_shop


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    with open_shop() as shop:
        yield shop.app.files


def test_a_file_is_read_as_a_stream_from_anywhere_in_it(files: Files) -> None:
    files.put("imports/1", b"0123456789", "text/csv")
    assert files.size("imports/1") == 10
    assert files.size("imports/2") is None
    with files.open("imports/1", start=7) as stream:
        assert stream.read() == b"789"


def test_parts_are_joined_in_order_however_large(files: Files) -> None:
    pieces = [bytes([number]) * 3_000_000 for number in range(6)]
    for number, piece in enumerate(pieces):
        files.put(f"exports/part-{number}", piece, "text/csv")
    files.join([f"exports/part-{number}" for number in range(6)], "exports/whole", "text/csv", head=b"head\n")
    assert files.read("exports/whole") == b"head\n" + b"".join(pieces)
    files.join([], "exports/empty", "text/csv")
    assert files.read("exports/empty") == b""


def test_a_link_ends_and_is_for_one_file_and_one_verb(files: Files) -> None:
    query = parse_qs(urlsplit(files.download_link("exports/1", 600, "products.csv")).query)
    assert query["X-Amz-Expires"] == ["600"]
    assert query["response-content-disposition"] == ['attachment; filename="products.csv"']
    assert urlsplit(files.upload_link("imports/1", 600)).path.endswith("/imports/1")
