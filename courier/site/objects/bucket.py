"""A bucket: objects by name, through obstore, with errors that say which bucket, what was asked of it and what to do.

An object is written once, under a name that none had before, and never changed. What the object store does not take or
give at once is asked for again, after longer and longer waits; obstore does that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import CourierError, NotFoundError, RefusedError, UnreachableError, UsageError
from courier.site.objects.connection import FEW_TRIES, TRIES, at_endpoint, open_bucket, require_obstore

if TYPE_CHECKING:
    from obstore.store import S3Store

LARGEST = 5 << 40
"""Bytes of the largest object that S3 keeps."""
_PART, _MOST_PARTS = 8 << 20, 9_000
"""Bytes of a part of an upload, at least; S3 takes 10,000 parts at most."""
_UNDER_WAY = 64 << 20
"""Bytes of one upload that are in memory at once."""
_PIECE, _STRETCH = 4 << 20, 256 << 20
"""Bytes of a piece, and of what one request gives: with `REQUEST_MINUTES`, 1 MB a second is enough."""
_RETRY_SECONDS = 120
"""How long one request is tried again."""
_FORM = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9.-]{2,62})(?P<prefix>(?:/[^/\0]+)*)/?")
_HINT = "write it like s3://BUCKET/PREFIX"
_ELSEWHERE = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException")
_ANSWER = re.compile(r"<Code>([A-Za-z]+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketAddress:
    """A bucket and the prefix of every object in it that is ours; ``prefix`` has no ``/`` at its ends."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """An object: its name below the prefix, and its bytes."""

    name: str
    size: int


def parse_bucket(text: str) -> BucketAddress:
    """The address of a bucket; raises `UsageError` for what is none, or holds a key or a password."""
    if "@" in text or "?" in text:
        raise UsageError(
            "the address of the store holds more than bucket and prefix",
            hint=f"{_HINT}; the key belongs into $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY",
        )
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"{text[:80]!r} is no address of a bucket", hint=_HINT)
    return BucketAddress(bucket=match["bucket"], prefix=match["prefix"].strip("/"))


class Bucket:
    """The objects below a prefix of a bucket. Several threads may use it at once.

    Endpoint, region and key come from the environment, by the names that all programs for S3 know:
    ``AWS_ENDPOINT_URL``, ``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``. Every method raises
    `NotFoundError` for a bucket that is not there, `RefusedError` where the key may not do it, and `UnreachableError`
    where the object store does not answer or reports a fault of its own.
    """

    def __init__(self, address: BucketAddress, *, retry_seconds: float = _RETRY_SECONDS) -> None:
        """``retry_seconds``: how long a call is tried again. Raises `UsageError` without the extra that this needs."""
        require_obstore()
        self.address = address
        self._retry_seconds = retry_seconds
        self._opened: S3Store | None = None

    @property
    def _store(self) -> S3Store:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self, *, tries: int = TRIES) -> S3Store:
        where = self.address
        return open_bucket(where.bucket, where.prefix, shown=str(where), seconds=self._retry_seconds, tries=tries)

    def put_bytes(self, name: str, data: bytes) -> None:
        """Write an object, under a name that none but an earlier try of ours can have."""
        import obstore

        with self._explained("write", name):
            obstore.put(self._store, name, data, use_multipart=False)

    def put_new(self, name: str, data: bytes) -> None:
        """Write an object where there is none of that name; raises `FileExistsError`.

        An object store that knows no conditional writes is asked first whether there is one: of two that do so in the
        same moment, the object of the later one stays.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        with self._explained("write", name):
            try:
                # Few tries: obstore tries again too where it was told that this is not implemented.
                obstore.put(self._open(tries=FEW_TRIES), name, data, mode="create", use_multipart=False)
                return
            except (AlreadyExistsError, PreconditionError):
                raise FileExistsError(name) from None
            except BaseError as error:
                if _code(str(error)) != "NotImplemented" and _status(str(error)) != "501":
                    raise
        if self.size(name) is not None:
            raise FileExistsError(name)
        self.put_bytes(name, data)

    def put_file(self, name: str, path: Path) -> None:
        """Write an object with the bytes of a file, in parts where it is large, each with its SHA-256.

        Raises `RefusedError` for a file of more than `LARGEST` bytes.
        """
        import obstore

        size = path.stat().st_size
        if size > LARGEST:
            raise RefusedError(
                f"{self.address}: a content of {size:,} bytes, where an object has {LARGEST:,} at most",
                hint="cut the image into several files before it is added",
                code=Code.TOO_LARGE,
            )
        if size <= _PART:
            self.put_bytes(name, path.read_bytes())
            return
        part = max(_PART, -(-size // _MOST_PARTS))
        with self._explained("write", name):
            at_once = max(1, _UNDER_WAY // part)
            obstore.put(self._store, name, path, use_multipart=True, chunk_size=part, max_concurrency=at_once)
        if self.size(name) != size:
            raise UnreachableError(
                f"{self.address}: {name} did not arrive whole", hint="give the same command again", code=Code.STORE
            )

    def size(self, name: str) -> int | None:
        """The bytes of an object; None where there is none."""
        import obstore

        with self._explained("read", name):
            try:
                return obstore.head(self._store, name)["size"]
            except FileNotFoundError:
                return None

    def read(self, name: str, start: int, length: int) -> bytes:
        """Bytes of an object from ``start`` on, fewer where it ends before; raises `FileNotFoundError`."""
        import obstore

        if length <= 0:
            return b""
        with self._explained("read", name):
            try:
                return bytes(obstore.get_range(self._store, name, start=start, length=length))
            except OSError:
                raise
            except Exception as error:
                if _status(str(error)) == "416":
                    return b""
                raise

    def pieces(self, name: str) -> Iterator[bytes]:
        """All bytes of an object, in pieces; raises `FileNotFoundError`.

        They are asked for in stretches, as one request that lasted for hours would be cut.
        """
        import obstore

        at, stretch = 0, _STRETCH
        while stretch == _STRETCH:
            stretch = 0
            with self._explained("read", name):
                try:
                    answer = obstore.get(self._store, name, options={"range": (at, at + _STRETCH)})
                except OSError:
                    raise
                except Exception as error:
                    if at and _status(str(error)) == "416":
                        return
                    raise
                for piece in answer.stream(min_chunk_size=_PIECE):
                    stretch += len(piece)
                    yield bytes(piece)
            at += stretch

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """Every object whose name begins with ``folder/``, in no particular order. It takes long in a large bucket."""
        import obstore

        with self._explained("list", folder):
            for batch in obstore.list(self._store, prefix=folder, chunk_size=1000):
                for one in batch:
                    yield ObjectInfo(name=one["path"], size=one["size"])

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; one that is not there is no error."""
        import obstore

        batch = list(names)
        for at in range(0, len(batch), 1000):
            with self._explained("delete", batch[at]):
                obstore.delete(self._store, batch[at : at + 1000])

    @contextmanager
    def _explained(self, verb: str, name: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as error:
            if _code(str(error)) == "NoSuchBucket":
                raise self._no_bucket() from None
            raise FileNotFoundError(2, "No such object", f"{self.address}/{name}") from None
        except BaseError as error:
            raise self._error(verb, name, str(error)) from None

    def _no_bucket(self) -> CourierError:
        return NotFoundError(
            f"there is no bucket {self.address.bucket}{at_endpoint()}",
            hint="make it with the tools of the object store, or check its name, $AWS_ENDPOINT_URL and $AWS_REGION",
            code=Code.STORE,
        )

    def _error(self, verb: str, name: str, text: str) -> CourierError:
        where = f"store {self.address}"
        code, status = _code(text), _status(text)
        if code == "NoSuchBucket":
            return self._no_bucket()
        if code in ("RequestTimeTooSkewed", "RequestExpired"):
            message = f"{where}: the object store says that this computer's clock is wrong"
            return RefusedError(message, hint="set the clock right, then give the same command again", code=Code.CLOCK)
        if code in _ELSEWHERE or "redirect without LOCATION" in text:
            message = f"{where}: the bucket is in another region, or at another endpoint"
            return RefusedError(message, hint="set $AWS_REGION and $AWS_ENDPOINT_URL to the bucket's", code=Code.STORE)
        if status in ("401", "403"):
            said = f" ({code})" if code else ""
            message = f"{where}: the key may not {verb} {name}{said}"
            hint = "it needs the rights to list, read and write below the prefix, and to delete where space is to come"
            return RefusedError(message, hint=f"{hint} back; check $AWS_ACCESS_KEY_ID too", code=Code.STORE)
        said = " ".join(text.partition("\n\nDebug")[0].split()).rpartition(" - ")[2]
        why = code or (f"status {status}" if status else said[-160:])
        return UnreachableError(
            f"{where}: could not {verb} {name}{at_endpoint()}: {why}",
            hint="is the object store up, and is $AWS_ENDPOINT_URL right? Then give the same command again",
            code=Code.STORE,
        )


def _code(text: str) -> str:
    match = _ANSWER.search(text)
    return match[1] if match else ""


def _status(text: str) -> str:
    match = _STATUS.search(text)
    return match[1] if match else ""
