"""Files in the private bucket: written, read as streams, and handed to people as links that end.

A key says by its first part what a file is and so how long it is kept (the bucket's lifecycle rules in the template).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
        where = {"Bucket": self.bucket, "Key": key}
        upload = {
            **where,
            "UploadId": self.client.create_multipart_upload(**where, ContentType=content_type)["UploadId"],
        }
        sent: list[dict[str, Any]] = []
        waiting = bytearray(head)

        def send() -> None:
            number = len(sent) + 1
            answer = self.client.upload_part(**upload, PartNumber=number, Body=bytes(waiting))
            sent.append({"ETag": answer["ETag"], "PartNumber": number})
            waiting.clear()

        for part in parts:
            with self.open(part) as stream:
                while piece := stream.read(_PIECE_BYTES):
                    waiting += piece
                    if len(waiting) >= _PART_BYTES:
                        send()
        if waiting or not sent:
            send()
        self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": sent})

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
