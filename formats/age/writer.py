"""Encrypts content of unknown size while it is written."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from formats.age.header import KeySource, header_bytes
from formats.age.passphrase import passphrase_header
from formats.age.payload import CHUNK, ENCRYPTED_CHUNK, TAG, chunk_nonce, payload_cipher
from formats.streams import Stream

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class EncryptingWriter(Stream):
    """A stream that encrypts what is written into it, and writes the encrypted file to ``out``, forward only.

    Only `close` completes the encrypted file; it leaves ``out`` open and not flushed. After an error, or where a
    ``with`` block ends with one, the last chunk is missing, so that nobody can decrypt what was written.

    Without ``seed`` all keys are random. With a ``seed`` of 32 bytes, which must be kept as secret as a private key,
    they are derived from it and ``context`` (see `KeySource`), so that the same content for the same recipients gives
    the same bytes. **Never encrypt two different contents with one seed and context:** whoever has both encrypted files
    can then read much of them without a key. So ``context`` names all that determines the content: not only the parcel
    and the number of the archive, but the digest of the build or, best, of the archive's definition.

    With a ``passphrase`` the file is encrypted to that, with random keys and to nobody else.

    Raises `MalformedError` or `TooLargeError` for the recipients (see `header_bytes`), and ValueError for a seed of
    another length, a seed without context, or a context without seed.
    """

    def __init__(
        self,
        out: BinaryIO,
        recipients: Sequence[str],
        *,
        seed: bytes | None = None,
        context: bytes = b"",
        passphrase: str = "",
    ) -> None:
        if passphrase and (recipients or seed is not None):
            raise ValueError("a passphrase stands alone")
        keys = KeySource(seed, context)
        file_key, nonce = keys.file_key(), keys.payload_nonce()
        self._out = out
        self._cipher = payload_cipher(file_key, nonce)
        # The last chunk has another nonce, so a full chunk is kept here until there is more.
        self._chunk = memoryview(bytearray(CHUNK))
        self._filled = 0
        self._number = 0
        self._encrypted = memoryview(bytearray(ENCRYPTED_CHUNK))
        header = passphrase_header(file_key, passphrase) if passphrase else header_bytes(file_key, recipients, keys)
        out.write(header + nonce)

    def readable(self) -> bool:
        """False."""
        return False

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes of plain content written so far."""
        return self._number * CHUNK + self._filled

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data``; returns its size in bytes."""
        if self.closed:
            raise ValueError("write to a closed encrypted file")
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
        """Write what remains and complete the file; does nothing after `abort` or after a `write` that raised."""
        if self.closed:
            return
        try:
            self._encrypt(last=True)
        finally:
            self.abort()

    def abort(self) -> None:
        """Stop without completing the file, which nobody can decrypt then."""
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        # The base class would close, and so complete a file that was given up.
        self.abort()
