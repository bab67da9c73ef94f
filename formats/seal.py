"""Encryption: the age format (age-encryption.org/v1), streaming in, random access out.

Written over `cryptography`'s primitives (X25519, HKDF-SHA256, ChaCha20-Poly1305 over 64 KiB chunks), because the
bindings there are measured at an eighth of their speed and only read forwards (decision 4 of the design).
"""

from __future__ import annotations

import hashlib
import io
import secrets
from collections.abc import Sequence
from typing import BinaryIO, cast

from formats.errors import Malformed
from formats.seal_header import (
    FILE_KEY,
    Header,
    Identity,
    header_size,
    hkdf,
    make_header,
    parse_recipient,
    read_header,
)

__all__ = ["CHUNK", "Identity", "OpenedSeal", "SealingWriter", "open_sealed", "parse_recipient", "sealed_size"]

CHUNK = 64 << 10
TAG = 16
NONCE = 16
BATCH = 64
"""Chunks that are sealed and written together (4 MiB)."""


def sealed_size(plain: int, recipients: int) -> int:
    """Exact bytes of a sealed file of ``plain`` bytes for so many recipients."""
    chunks = max(1, -(-plain // CHUNK))
    return header_size(recipients) + NONCE + plain + chunks * TAG


def _chunk_nonce(index: int, *, last: bool) -> bytes:
    return index.to_bytes(11, "big") + (b"\1" if last else b"\0")


class SealingWriter(io.RawIOBase):
    """Seals what is written to it. Closing it inside a ``with`` that ends well finishes the file.

    Bytes are written in order; only the first `CHUNK` bytes may be written again, after seeking back, until the end:
    they are kept in memory, because an archive's first bytes are known last. ``out`` is seekable and at offset 0.

    With ``seed`` (32 secret bytes) and ``context`` all keys are derived from the two, so that the same plain bytes
    make the same file again. A (seed, context) pair must never serve two different plain texts: they would share a
    key stream. Without a seed, keys are fresh.
    """

    def __init__(
        self, out: BinaryIO, recipients: Sequence[str], *, seed: bytes | None = None, context: bytes = b""
    ) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        super().__init__()
        if not recipients:
            raise Malformed("sealed for no recipient")
        if seed is None:
            material = secrets.token_bytes(FILE_KEY + NONCE + 32 * len(recipients))
        else:
            # 8,160 bytes is what one HKDF gives; recipients beyond that get a derivation each, as all do.
            info = b"courier seal v1\0" + hashlib.sha256(context).digest()
            material = hkdf(seed, salt=b"", info=info, length=FILE_KEY + NONCE)
            material += b"".join(
                hkdf(seed, salt=n.to_bytes(4, "big") + r.encode(), info=info) for n, r in enumerate(recipients)
            )
        file_key, nonce, rest = material[:FILE_KEY], material[FILE_KEY : FILE_KEY + NONCE], material[FILE_KEY + NONCE :]
        ephemerals = [rest[n : n + 32] for n in range(0, len(rest), 32)]
        self._out = out
        self._aead = ChaCha20Poly1305(hkdf(file_key, salt=nonce, info=b"payload"))
        header = make_header(file_key, recipients, ephemerals) + nonce
        out.write(header)
        self._payload = len(header)
        self._first = bytearray()
        self._pending = bytearray()
        self._sealed = 1  # chunks on their way out, the first one always last of all
        self._size = 0
        self._at = 0
        self._failed = False
        self._placed = False

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """Within the first chunk."""
        return True

    def tell(self) -> int:
        """Position in the plain bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to the end, or back into the first chunk; raises `ValueError` for any other place."""
        at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        if at != self._size and not 0 <= at < min(CHUNK, self._size):
            raise ValueError("only the first chunk of a sealed file can be written again")
        self._at = at
        return at

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Take the next bytes, or bytes of the first chunk again."""
        view = memoryview(data).cast("B")
        count = len(view)
        if self._at < CHUNK:
            part = view[: CHUNK - self._at]
            self._first[self._at : self._at + len(part)] = part
            self._at += len(part)
            self._size = max(self._size, self._at)
            view = view[len(part) :]
            if len(view) and self._at != self._size:
                self._failed = True
                raise ValueError("only the first chunk of a sealed file can be written again")
        while len(view):
            part = view[: BATCH * CHUNK + 1 - len(self._pending)]
            self._pending += part
            self._at += len(part)
            self._size += len(part)
            view = view[len(part) :]
            if len(self._pending) > BATCH * CHUNK:
                self._seal_pending(BATCH * CHUNK)
        return count

    def _seal_pending(self, count: int, *, final: bool = False) -> None:
        """Seal the first ``count`` pending bytes; at least one byte stays behind unless they are the final ones."""
        if not self._placed:
            # Room for the first chunk, which is written when everything else is.
            self._out.seek(self._payload + CHUNK + TAG)
            self._placed = True
        with memoryview(self._pending) as view:
            pieces = []
            for start in range(0, count, CHUNK):
                chunk = view[start : min(start + CHUNK, count)]
                last = final and start + CHUNK >= count
                pieces.append(self._aead.encrypt(_chunk_nonce(self._sealed, last=last), chunk, None))
                chunk.release()
                self._sealed += 1
        self._out.write(b"".join(pieces))
        del self._pending[:count]

    def __exit__(self, kind: object, *rest: object) -> None:
        self._failed = self._failed or kind is not None
        self.close()

    def close(self) -> None:
        """Seal what is left, then the first chunk. After an error nothing is finished."""
        if self.closed:
            return
        try:
            if not self._failed:
                only = not self._pending and not self._placed
                if self._pending:
                    self._seal_pending(len(self._pending), final=True)
                self._out.seek(self._payload)
                self._out.write(self._aead.encrypt(_chunk_nonce(0, last=only), bytes(self._first), None))
                self._out.seek(0, io.SEEK_END)
        finally:
            super().close()


class OpenedSeal(io.RawIOBase):
    """The plain bytes of a sealed file: seekable, every chunk authenticated before a byte of it is given out.

    Reading raises `Malformed` where the file was altered, cut or extended.
    """

    def __init__(self, source: BinaryIO, header: Header, file_key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        super().__init__()
        source.seek(header.length)
        nonce = source.read(NONCE)
        if len(nonce) != NONCE:
            raise Malformed("cut short before its payload", place="age file")
        self._source = source
        self._aead = ChaCha20Poly1305(hkdf(file_key, salt=nonce, info=b"payload"))
        self._start = header.length + NONCE
        sealed = source.seek(0, io.SEEK_END) - self._start
        self._chunks = -(-sealed // (CHUNK + TAG))
        self.size = sealed - self._chunks * TAG
        last = sealed - (self._chunks - 1) * (CHUNK + TAG)
        if self._chunks == 0 or last < TAG or (last == TAG and self._chunks > 1):
            raise Malformed("cut short, or with an empty last chunk", place="age file")
        # The last chunk says whether the file ends where it should.
        self._batch: tuple[int, bytes] = (0, b"")
        self._batch = (self._chunks - 1, self._open(self._chunks - 1, 1))
        self._at = 0

    def _open(self, first: int, count: int) -> bytes:
        """Plain bytes of ``count`` chunks from ``first``."""
        from cryptography.exceptions import InvalidTag

        self._source.seek(self._start + first * (CHUNK + TAG))
        sealed = self._source.read(count * (CHUNK + TAG))
        view = memoryview(sealed)
        pieces = []
        for n in range(count):
            chunk = view[n * (CHUNK + TAG) : (n + 1) * (CHUNK + TAG)]
            index = first + n
            try:
                plain = self._aead.decrypt(_chunk_nonce(index, last=index == self._chunks - 1), chunk, None)
            except (InvalidTag, ValueError):
                raise Malformed(f"chunk {index} was altered, cut or moved", place="age file") from None
            pieces.append(plain)
        return pieces[0] if count == 1 else b"".join(pieces)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Position in the plain bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go anywhere; past the end nothing is read."""
        self._at = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence] + offset)
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill ``buffer`` as far as the file goes."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._at < self.size:
            index, within = divmod(self._at, CHUNK)
            first, plain = self._batch
            offset = (index - first) * CHUNK + within
            if not 0 <= offset < len(plain) or index < first:
                wanted = min(-(-(within + len(view) - done) // CHUNK), BATCH, self._chunks - index)
                plain = self._open(index, wanted)
                self._batch, offset = (index, plain), within
            part = plain[offset : offset + len(view) - done]
            view[done : done + len(part)] = part
            done += len(part)
            self._at += len(part)
        return done

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes; fewer only at the end."""
        left = max(0, self.size - self._at)
        buffer = bytearray(left if size < 0 else min(size, left))
        self.readinto(memoryview(buffer))
        return bytes(buffer)


def open_sealed(source: BinaryIO, identities: Sequence[Identity]) -> BinaryIO:
    """The plain bytes of the sealed file ``source`` (seekable).

    Raises `NotForUs` when none of ``identities`` opens it, `UnknownFormat` for what is not age version 1 (an armored
    file too), `Malformed` for a damaged one.
    """
    source.seek(0)
    header = read_header(source)
    return cast(BinaryIO, OpenedSeal(source, header, header.file_key(identities)))


