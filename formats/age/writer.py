"""Writing a sealed file from beginning to end, for content that comes bit by bit and of no known size."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from formats.age.header import KeySource, header_bytes
from formats.age.payload import CHUNK, ENCRYPTED_CHUNK, TAG, chunk_nonce, payload_cipher
from formats.streams import Stream

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class EncryptingWriter(Stream):
    """A stream to write plain content into, which writes the sealed file to ``out``, forward only.

    `close` ends the sealed file and leaves ``out`` open and not flushed. It alone makes a whole file: after an error,
    at the end of a ``with`` block that one leaves, or if it is forgotten, the last chunk is not there, so that nobody
    opens what there is.

    Without ``seed`` all keys are random. With a ``seed`` of 32 bytes, which is kept as secret as a private key, they
    are derived from it and ``context`` (see `KeySource`), and the same content for the same recipients gives the same
    bytes. **One seed and context must never seal two different contents:** whoever has both sealed files then reads
    much of them without any key. So ``context`` names what determines every byte of the content: not only the parcel
    and the archive's number, but the digest of the build or, best, of the archive's definition.

    Raises `MalformedError` and `TooLargeError` for the recipients (see `header_bytes`), ValueError for a seed of
    another length, or for one without context or the other way round.
    """

    def __init__(
        self, out: BinaryIO, recipients: Sequence[str], *, seed: bytes | None = None, context: bytes = b""
    ) -> None:
        keys = KeySource(seed, context)
        file_key, nonce = keys.file_key(), keys.payload_nonce()
        self._out = out
        self._cipher = payload_cipher(file_key, nonce)
        # The last chunk is sealed in another way, so a full one stays here until there is more.
        self._chunk = memoryview(bytearray(CHUNK))
        self._filled = 0
        self._number = 0
        self._encrypted = memoryview(bytearray(ENCRYPTED_CHUNK))
        out.write(header_bytes(file_key, recipients, keys) + nonce)

    def readable(self) -> bool:
        """False."""
        return False

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes of plain content that were written."""
        return self._number * CHUNK + self._filled

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data``; returns its size in bytes."""
        if self.closed:
            raise ValueError("write to a closed seal")
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view):
                if self._filled == CHUNK:
                    self._encrypt(last=False)
                count = min(len(view) - done, CHUNK - self._filled)
                self._chunk[self._filled : self._filled + count] = view[done : done + count]
                self._filled += count
                done += count
        except BaseException:
            self.abort()
            raise
        return done

    def _encrypt(self, *, last: bool) -> None:
        encrypted = self._encrypted[: self._filled + TAG]
        self._cipher.encrypt_into(chunk_nonce(self._number, last=last), self._chunk[: self._filled], None, encrypted)
        self._out.write(encrypted)
        self._number += 1
        self._filled = 0

    def close(self) -> None:
        """Write what remains and end the sealed file; does nothing after a `write` that raised, or `abort`."""
        if self.closed:
            return
        try:
            self._encrypt(last=True)
        finally:
            self.abort()

    def abort(self) -> None:
        """Stop without ending the sealed file, which nobody can open then."""
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        # The base class would close, and so make a whole file of what was given up.
        self.abort()
