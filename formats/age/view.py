"""Encrypts content of known size while it is read, from any byte on, with the bytes that `EncryptingWriter` makes."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import BinaryIO

from formats.age.header import KeySource, header_bytes
from formats.age.payload import CHUNK, ENCRYPTED_CHUNK, TAG, chunk_count, chunk_nonce, payload_cipher, pool
from formats.errors import UnreadableError
from formats.streams import View

_AT_ONCE = 8
"""Chunks of plain content read at once."""
_MUCH = 32
"""Chunks from which a second thread is worth it, because encrypting them takes longer than waking it."""


class EncryptedView(View):
    """The encrypted file of ``size`` bytes of ``plain``, readable and seekable; one thread at a time may use it.

    ``plain`` is seekable, used by nobody else, and closed with the view. For ``seed`` and ``context``, see
    `EncryptingWriter`: the same content gives the same bytes, and **no other content may ever be encrypted with them**.
    The view does not check the content, so compare what it gives with a digest before anybody else gets it.

    Raises what `header_bytes` raises. Reading raises `UnreadableError` where the content ends early, and what reading
    the content raises.
    """

    def __init__(self, plain: BinaryIO, size: int, recipients: Sequence[str], *, seed: bytes, context: bytes) -> None:
        keys = KeySource(seed, context)
        file_key, nonce = keys.file_key(), keys.payload_nonce()
        self._plain = plain
        self._plain_size = size
        self._cipher = payload_cipher(file_key, nonce)
        self._head = header_bytes(file_key, recipients, keys) + nonce
        self._chunks = max(1, chunk_count(size, CHUNK))
        super().__init__(len(self._head) + size + self._chunks * TAG)
        self._reading = Lock()
        self._buffers: list[bytearray] = []
        # The chunk of which a part was read last: a caller that reads on asks for the rest of it next.
        self._part = -1, b""

    def _fill(self, into: memoryview) -> int:
        if self._position < len(self._head):
            data = self._head[self._position : self._position + len(into)]
            into[: len(data)] = data
            return len(data)
        chunk, within = divmod(self._position - len(self._head), ENCRYPTED_CHUNK)
        whole = min(len(into) // ENCRYPTED_CHUNK, self._chunks - 1 - chunk)
        if within == 0 and whole > 0:
            self._read_and_encrypt(chunk, whole, into)
            return whole * ENCRYPTED_CHUNK
        if self._part[0] != chunk:
            encrypted = bytearray(self._length(chunk) + TAG)
            self._read_and_encrypt(chunk, 1, memoryview(encrypted))
            self._part = chunk, bytes(encrypted)
        data = self._part[1][within : within + len(into)]
        into[: len(data)] = data
        return len(data)

    def _length(self, chunk: int) -> int:
        """Bytes of plain content in a chunk."""
        return min(CHUNK, self._plain_size - chunk * CHUNK)

    def _read_and_encrypt(self, first: int, count: int, into: memoryview) -> None:
        """Encrypt chunks into ``into``. Where they are many, two threads read and encrypt in turn."""
        starts = iter(range(0, count, _AT_ONCE))

        def work(buffer: bytearray) -> None:
            nonlocal starts
            while True:
                with self._reading:
                    try:
                        at = next(starts, None)
                        if at is None:
                            return
                        some = min(_AT_ONCE, count - at)
                        plain = self._read(first + at, some, buffer)
                    except BaseException:
                        # The other thread does not read on behind the place that was not read.
                        starts = iter(range(0))
                        raise
                self._encrypt(first + at, plain, into[at * ENCRYPTED_CHUNK :])

        if count < _MUCH:
            work(self._buffer(0))
            return
        other = pool().submit(work, self._buffer(1))
        try:
            work(self._buffer(0))
        finally:
            # Wait for the other thread: the caller must not go on with memory that is still written to.
            if not other.cancel():
                other.result()

    def _buffer(self, number: int) -> bytearray:
        while len(self._buffers) <= number:
            self._buffers.append(bytearray(_AT_ONCE * CHUNK))
        return self._buffers[number]

    def _read(self, first: int, count: int, buffer: bytearray) -> memoryview:
        """Read the content of chunks into ``buffer``."""
        size = (count - 1) * CHUNK + self._length(first + count - 1)
        plain = memoryview(buffer)[:size]
        self._plain.seek(first * CHUNK)
        done = 0
        while done < size:
            more = self._plain.readinto(plain[done:])  # type: ignore[attr-defined]  # every binary file has it
            if not more:
                raise UnreadableError(f"content ends {size - done} bytes early", place=f"chunk {first + done // CHUNK}")
            done += more
        return plain

    def _encrypt(self, first: int, plain: memoryview, into: memoryview) -> None:
        for n in range(max(1, chunk_count(len(plain), CHUNK))):
            piece = plain[n * CHUNK : (n + 1) * CHUNK]
            nonce = chunk_nonce(first + n, last=first + n == self._chunks - 1)
            self._cipher.encrypt_into(
                nonce, piece, None, into[n * ENCRYPTED_CHUNK : n * ENCRYPTED_CHUNK + len(piece) + TAG]
            )

    def close(self) -> None:
        """Close the content."""
        self._plain.close()
        super().close()
