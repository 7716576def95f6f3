"""A far store of blobs: S3 and what speaks like it, through boto3 (the extra `s3`), which signs, retries and sends what
is large in parts. It waits in threads of a number of their own, so that a slow store takes none from others.

It knows buckets, keys and sizes, nothing of whose they are. What a store answers is never passed on: its errors have
keys and what was signed in them. Neighbours: `blobs`, whose `Store` this is, and decision 0018.
"""

import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, TypeVar

import anyio.to_thread

from kit.blobs import PIECE, Content
from kit.errors import Unavailable

PART = 8 << 20
"""Bytes of one part of a large file: so much of it is in memory."""
ANSWER_S = 30.0
"""The longest that a store may say nothing while something is written or deleted,"""
READ_S = 15.0
"""and the longest that a reader waits: for the beginning, and for each further piece."""
CONNECT_S = 5.0
TRIES = 3
READ_TRIES = 2
THREADS = 16
"""For reading; as many more are for writing."""
LISTED = 500
"""Names that one look brings."""
HINT = "`preloop doctor` tries it: it writes, reads and deletes. [storage] says which store it is."
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a store is. `endpoint` is '' for AWS itself; without a key the AWS_… variables and the machine's own role
    are asked."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""


class Objects:
    """One bucket, below one prefix. Made, it has asked nobody; ModuleNotFoundError without the extra."""

    def __init__(self, address: Address, *, answer_s: float = ANSWER_S, read_s: float = READ_S) -> None:
        self._s3 = _client(address, answer_s, TRIES)
        self._reads = _client(address, read_s, READ_TRIES)
        self._parts = _parts()
        self._bucket = address.bucket
        self._below = f"{address.prefix}/" if address.prefix else ""
        self._read_s = read_s
        self._writing, self._reading = anyio.CapacityLimiter(THREADS), anyio.CapacityLimiter(THREADS)

    async def take(self, name: str, content: BinaryIO | bytes) -> None:
        its = self._named(name)
        if isinstance(content, bytes):
            await self._write(partial(self._s3.put_object, **its, Body=content))
        else:
            send = partial(self._s3.upload_fileobj, content, *its.values(), Config=self._parts)
            await self._write(send)

    async def open(self, name: str) -> Content | None:
        found = await self._read(partial(_unless_missing, self._reads.get_object, **self._named(name)))
        return Content(found["ContentLength"], self._pieces(found["Body"])) if found else None

    async def _pieces(self, body: Any) -> AsyncIterator[bytes]:  # noqa: ANN401 - botocore's stream
        try:
            while piece := await self._read(partial(body.read, PIECE)):
                yield piece
        finally:
            body.close()

    async def delete(self, names: Collection[str]) -> None:
        for name in names:  # one by one: not every store takes many at once
            await self._write(partial(_unless_missing, self._s3.delete_object, **self._named(name)))

    async def names(self, folder: str) -> AsyncIterator[list[str]]:
        below = f"{self._below}{folder}/"
        asked = self._reads.get_paginator("list_objects_v2")
        pages = iter(asked.paginate(Bucket=self._bucket, Prefix=below, PaginationConfig={"PageSize": LISTED}))
        while (page := await self._read(partial(next, pages, None))) is not None:
            yield [one["Key"].removeprefix(self._below) for one in page.get("Contents", ())]

    async def tried(self) -> None:
        """Write, read, list and delete something small, or Unavailable."""
        name, content = f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(64)
        await self.take(name, content)
        found = await self.open(name)
        read = b"".join([piece async for piece in found.pieces]) if found else b""
        listed = [each async for names in self.names("doctor") for each in names]
        await self.delete([name])
        if read != content or name not in listed or await self.open(name) is not None:
            raise Unavailable("storage_unavailable", "The object store does not keep what it is given.", HINT)

    def _named(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._below + name}

    async def _write(self, call: Callable[[], T]) -> T:
        """Nobody who stops waits for it: what is sent then is sent again, and is the same."""
        with _told():
            return await anyio.to_thread.run_sync(call, limiter=self._writing, abandon_on_cancel=True)

    async def _read(self, call: Callable[[], T]) -> T:
        with _told(), anyio.fail_after(self._read_s):
            return await anyio.to_thread.run_sync(call, limiter=self._reading, abandon_on_cancel=True)


def _parts() -> Any:  # noqa: ANN401 - boto3's
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)


def _client(address: Address, silent_s: float, tries: int) -> Any:  # noqa: ANN401 - boto3's
    from boto3 import Session
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=silent_s,
        retries={"total_max_attempts": tries, "mode": "standard"},
        max_pool_connections=THREADS,
        s3={"addressing_style": "path" if address.endpoint else "auto"},
        request_checksum_calculation="when_required",  # S3's own newer checksums are not known to every store
        response_checksum_validation="when_required",
    )
    return Session().client(
        "s3",
        endpoint_url=address.endpoint or None,
        region_name=address.region or "us-east-1",
        aws_access_key_id=address.access_key_id or None,
        aws_secret_access_key=address.secret_access_key or None,
        verify=ssl.get_default_verify_paths().cafile,  # SSL_CERT_FILE's, or boto3's own
        config=config,
    )


@contextmanager
def _told() -> Iterator[None]:
    """Whatever goes wrong as Unavailable, in words of ours."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _unavailable(_said(error)) from error
    except (BotoCoreError, ResponseParserError, OSError) as error:  # TimeoutError is an OSError
        raise _unavailable("is out of reach, or does not answer in time") from error


def _said(error: Any) -> str:  # noqa: ANN401 - botocore's ClientError
    if error.response["Error"].get("Code") == "NoSuchBucket":
        return "has no such bucket"
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "refuses our key" if status in (401, 403) else f"answers with status {status}"


def _unavailable(what: str) -> Unavailable:
    return Unavailable("storage_unavailable", f"The object store {what}.", HINT)


def _unless_missing(call: Callable[..., T], **asked: str) -> T | None:
    """None where the object is not there."""
    from botocore.exceptions import ClientError

    try:
        return call(**asked)
    except ClientError as error:
        if error.response["Error"].get("Code") != "NoSuchKey":
            raise
        return None
