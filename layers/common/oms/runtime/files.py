"""Files in the private bucket: written, read as streams, and handed to people as links that end.

A key says by its first part what a file is and so how long it is kept (the bucket's lifecycle rules in the template).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from botocore.exceptions import ClientError

_PART_BYTES = 8 * 1024 * 1024
"""S3 wants 5 MiB at least for every part of an upload but the last."""
_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Files:
    """One bucket. ``client`` is an S3 client that signs with version 4."""

    client: Any
    bucket: str

    def put(self, key: str, body: bytes | IO[bytes], content_type: str) -> None:
        """Write a file whole, over whatever was there."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

    def size(self, key: str) -> int | None:
        """Its bytes; None when there is no such file."""
        try:
            return int(self.client.head_object(Bucket=self.bucket, Key=key)["ContentLength"])
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "NotFound"):
                raise
            return None

    def open(self, key: str, start: int = 0) -> Any:
        """A stream of its bytes from ``start`` on, which must lie within it; read in pieces, close when done."""
        span: Mapping[str, str] = {"Range": f"bytes={start}-"} if start else {}
        return self.client.get_object(Bucket=self.bucket, Key=key, **span)["Body"]

    def read(self, key: str) -> bytes:
        """A small file whole."""
        with self.open(key) as stream:
            content: bytes = stream.read()
        return content

    def join(self, parts: Iterable[str], key: str, content_type: str, head: bytes = b"") -> None:
        """Write ``head`` and then the files ``parts``, one after the other, as one file, without holding it whole."""
        with self.writing(key, content_type) as target:
            target.write(head)
            for part in parts:
                with self.open(part) as stream:
                    while piece := stream.read(_PIECE_BYTES):
                        target.write(piece)

    @contextmanager
    def writing(self, key: str, content_type: str) -> Iterator[Upload]:
        """A file that is written piece by piece; it is there, whole, after the block, and not at all if that failed."""
        where = {"Bucket": self.bucket, "Key": key}
        opened = self.client.create_multipart_upload(**where, ContentType=content_type)
        upload = Upload(self.client, {**where, "UploadId": opened["UploadId"]})
        yield upload
        upload.finish()

    def delete(self, key: str) -> None:
        """Delete a file, if it is there."""
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def upload_link(self, key: str, seconds: int) -> str:
        """An address to which anybody may ``PUT`` this one file until it ends."""
        link: str = self.client.generate_presigned_url(
            "put_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds
        )
        return link

    def download_link(self, key: str, seconds: int, filename: str = "") -> str:
        """An address from which anybody may ``GET`` this one file until it ends, saved as ``filename``."""
        saved = {"ResponseContentDisposition": f'attachment; filename="{filename}"'} if filename else {}
        link: str = self.client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key, **saved}, ExpiresIn=seconds
        )
        return link


@dataclass(slots=True)
class Upload:
    """A file on its way to the bucket, which holds no more than a part of it."""

    client: Any
    upload: Mapping[str, str]
    closed: bool = False
    _waiting: bytearray = field(default_factory=bytearray)
    _sent: list[dict[str, Any]] = field(default_factory=list)
    _size: int = 0

    def write(self, data: bytes) -> int:
        """Add to the file."""
        self._waiting += data
        self._size += len(data)
        if len(self._waiting) >= _PART_BYTES:
            self._send()
        return len(data)

    def tell(self) -> int:
        """How long the file is so far."""
        return self._size

    def flush(self) -> None:
        """Parts leave when they are large enough."""

    def close(self) -> None:
        """Whoever wrote is done; the file's owner finishes it."""

    def finish(self) -> None:
        """Make the file of what was written."""
        if self._waiting or not self._sent:
            self._send()
        self.client.complete_multipart_upload(**self.upload, MultipartUpload={"Parts": self._sent})

    def _send(self) -> None:
        number = len(self._sent) + 1
        answer = self.client.upload_part(**self.upload, PartNumber=number, Body=bytes(self._waiting))
        self._sent.append({"ETag": answer["ETag"], "PartNumber": number})
        self._waiting.clear()
