"""SHA-256, the one digest of this project: as 64 lower-case hexadecimal characters in documents."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from formats.errors import DigestMismatchError, MalformedError

CHUNK = 4 << 20
"""Bytes read at a time where data are copied and hashed (4 MiB: measured best for a hashing side thread)."""

_WORTH_A_THREAD = 256 << 10
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


class SideHash:
    """SHA-256 of a stream, taken by a thread of its own while the caller reads and writes; use it as a context manager.

    What is given to `update` is not to be changed afterwards. At most `_BEHIND` pieces wait.
    """

    _BEHIND = 2

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()
        self.count = 0

    def update(self, data: bytes) -> None:
        """Take the next bytes; small pieces are not worth a thread."""
        self.count += len(data)
        if self._pool is None and len(data) < _WORTH_A_THREAD:
            self._hash.update(data)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        if len(self._waiting) >= self._BEHIND:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._hash.update, data))

    def hexdigest(self) -> str:
        """SHA-256 of all that was given so far."""
        while self._waiting:
            self._waiting.popleft().result()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Give the thread back."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __enter__(self) -> SideHash:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class HashingReader:
    """A readable stream that hashes and counts what passes; `verify` says whether it was the right content."""

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
        """SHA-256 of what has been read so far."""
        return self._hash.hexdigest()

    def verify(self, *, size: int, sha256: str, place: str) -> None:
        """Raise `DigestMismatchError` unless exactly ``size`` bytes of digest ``sha256`` have been read."""
        if self.count != size:
            raise DigestMismatchError(f"{self.count} bytes where {size} are listed", place=place)
        if self.hexdigest() != sha256:
            raise DigestMismatchError("content differs from its listed SHA-256", place=place)
