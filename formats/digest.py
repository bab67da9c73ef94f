"""SHA-256, the only digest of this project; documents hold it as 64 lower-case hexadecimal characters."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Self

from formats.errors import DigestMismatchError, MalformedError

CHUNK = 4 << 20
"""Bytes read at a time where data are copied and hashed; 4 MiB was measured best for hashing in a thread."""

_HEX = re.compile(r"[0-9a-f]{64}")


def sha256_hex(data: bytes | bytearray | memoryview) -> str:
    """SHA-256 of ``data`` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def check_digest(text: str, *, place: str = "") -> str:
    """Return ``text`` if it is a SHA-256 in lower-case hexadecimal; raise `MalformedError` otherwise."""
    if not _HEX.fullmatch(text):
        raise MalformedError("not a SHA-256 in 64 lower-case hexadecimal characters", place=place)
    return text


def chunks(source: BinaryIO, size: int = CHUNK) -> Iterator[bytes]:
    """Read ``source`` to its end in pieces of at most ``size`` bytes."""
    while data := source.read(size):
        yield data


class SideWork:
    """Work on a stream, done by a thread of its own while the caller reads and writes. A context manager.

    A subclass implements `_take`. Bytes given to `update` must not change afterwards. Small pieces are collected until
    they are worth a thread, so content of less than `_BATCH` bytes needs none. At most `_BEHIND` batches wait.
    """

    _BATCH = 2 << 20
    _BEHIND = 2

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._done = 0
        self._batch: list[bytes | memoryview] = []
        self._batch_size = 0
        self.count = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        self.count += len(data)
        self._batch.append(data)
        self._batch_size += len(data)
        if self._batch_size < self._BATCH:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        if len(self._waiting) >= self._BEHIND:
            self._await_one()
        self._waiting.append((self._batch_size, self._pool.submit(self._take_all, self._batch)))
        self._batch, self._batch_size = [], 0

    def wait_for(self, count: int) -> None:
        """Return once the first ``count`` bytes were worked on, so that their memory may be used again."""
        while self._done < count:
            if self._waiting:
                self._await_one()
            else:
                self._take_rest()

    def _await_one(self) -> None:
        size, work = self._waiting.popleft()
        work.result()
        self._done += size

    def _take(self, data: bytes | memoryview) -> None:
        """Work on the next bytes, in the thread."""
        raise NotImplementedError

    def _take_all(self, batch: list[bytes | memoryview]) -> None:
        for data in batch:
            self._take(data)

    def _settle(self) -> None:
        """Have all bytes worked on that were given so far."""
        while self._waiting:
            self._await_one()
        self._take_rest()

    def _take_rest(self) -> None:
        self._take_all(self._batch)
        self._done += self._batch_size
        self._batch, self._batch_size = [], 0

    def close(self) -> None:
        """End the thread."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SideHash(SideWork):
    """SHA-256 of a stream, computed by a thread of its own while the caller reads and writes."""

    def __init__(self) -> None:
        super().__init__()
        self._hash = hashlib.sha256()

    def _take(self, data: bytes | memoryview) -> None:
        self._hash.update(data)

    def hexdigest(self) -> str:
        """SHA-256 of all bytes given so far."""
        self._settle()
        return self._hash.hexdigest()


class HashingReader:
    """A readable stream that hashes and counts what is read; `verify` compares it with what was expected."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes from the source."""
        data = self._source.read(size)
        self._hash.update(data)
        self.count += len(data)
        return data

    def hexdigest(self) -> str:
        """SHA-256 of all that has been read so far."""
        return self._hash.hexdigest()

    def verify(self, *, size: int, sha256: str, place: str) -> None:
        """Raise `DigestMismatchError` unless exactly ``size`` bytes of digest ``sha256`` have been read."""
        if self.count != size:
            raise DigestMismatchError(f"{self.count} bytes where {size} are listed", place=place)
        if self.hexdigest() != sha256:
            raise DigestMismatchError("content differs from its listed SHA-256", place=place)
