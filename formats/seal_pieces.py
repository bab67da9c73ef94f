"""Sealed files made piece by piece: any part of one, when it is asked for, without the rest being made or kept."""

from __future__ import annotations

from collections.abc import Callable

from formats.seal_header import KeySource, header_bytes
from formats.seal_payload import CHUNK, SEALED, chunk_count, chunk_nonce, payload_cipher, sealed_size


class SealedPieces:
    """The sealed file of a content, to be read from anywhere: the very bytes that `SealingWriter` writes.

    ``read`` gives any part of the content (offset, length), ``size`` is that of the whole in bytes; ``seed`` and
    ``context`` are as with `SealingWriter`, with its warning. Raises `Malformed` for what is no recipient.
    """

    def __init__(
        self, read: Callable[[int, int], bytes], size: int, recipient: str, *, seed: bytes, context: bytes
    ) -> None:
        keys = KeySource(seed, context)
        file_key, nonce = keys.file_key(), keys.payload_nonce()
        self._read, self._size = read, size
        self._head = header_bytes(file_key, [recipient], keys) + nonce
        self._cipher = payload_cipher(file_key, nonce)

    @property
    def size(self) -> int:
        """Bytes of the sealed file."""
        return sealed_size(self._size, 1)

    def read(self, offset: int, length: int) -> bytes:
        """A piece of the sealed file, shorter at its end; empty where the content is not all there any more."""
        head, end = len(self._head), min(offset + length, self.size)
        piece = self._head[offset:end]
        if end <= head:
            return piece
        start = max(offset - head, 0)
        first, last = start // SEALED, (end - head - 1) // SEALED
        wanted = min((last + 1) * CHUNK, self._size) - first * CHUNK
        plain = memoryview(self._read(first * CHUNK, wanted))
        if len(plain) != wanted:
            return b""
        final = max(1, chunk_count(self._size, CHUNK)) - 1
        chunks = b"".join(
            self._cipher.encrypt(
                chunk_nonce(n, last=n == final), plain[(n - first) * CHUNK : (n + 1 - first) * CHUNK], None
            )
            for n in range(first, last + 1)
        )
        return piece + chunks[start - first * SEALED : end - head - first * SEALED]
