"""Decrypts files from any byte on, and gives nothing that is not authenticated."""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from formats.age.header import MAX_HEADER, NONCE_SIZE, Identity, parse_header, unwrap_file_key
from formats.age.passphrase import is_for_passphrase, unwrap_by_passphrase
from formats.age.payload import CHUNK, ENCRYPTED_CHUNK, TAG, chunk_count, chunk_nonce, payload_cipher, pool
from formats.errors import DigestMismatchError, MalformedError, UnreadableError
from formats.streams import View

_BATCH = 16
"""Chunks (1 MiB) decrypted at once where a file is read in order."""
_AHEAD = 3
"""The most batches decrypted ahead of the reader."""


class _Opener:
    """What the threads of a `DecryptedFile` work on. They hold no reference to the stream, so that it can be freed."""

    def __init__(self, cipher: ChaCha20Poly1305, source: BinaryIO, payload: int, end: int) -> None:
        size = end - payload
        self.chunks = chunk_count(size, ENCRYPTED_CHUNK)
        self.size = size - self.chunks * TAG
        if self.chunks == 0 or size - (self.chunks - 1) * ENCRYPTED_CHUNK < TAG + (self.chunks > 1):
            raise MalformedError("the encrypted file ends within a chunk", place=f"chunk {max(0, self.chunks - 1)}")
        self._cipher = cipher
        self._source = source
        self._payload = payload
        self._lock = threading.Lock()
        self._spare: deque[bytearray] = deque()

    def load(self, first: int, count: int) -> memoryview:
        """Decrypt ``count`` chunks from ``first`` on; hand the memory back by `take_back` afterwards."""
        size = min(count * CHUNK, self.size - first * CHUNK)
        encrypted_length = size + count * TAG
        with self._lock:
            encrypted = memoryview(_read(self._source, self._payload + first * ENCRYPTED_CHUNK, encrypted_length))
        if len(encrypted) != encrypted_length:
            raise UnreadableError(
                "the encrypted file has become shorter", place=f"chunk {first + len(encrypted) // ENCRYPTED_CHUNK}"
            )
        try:
            buffer = self._spare.pop()
        except IndexError:
            buffer = bytearray(_BATCH * CHUNK)
        plain = memoryview(buffer)[:size]
        for n in range(count):
            chunk = encrypted[n * ENCRYPTED_CHUNK : (n + 1) * ENCRYPTED_CHUNK]
            last = first + n == self.chunks - 1
            try:
                self._cipher.decrypt_into(
                    chunk_nonce(first + n, last=last), chunk, None, plain[n * CHUNK : (n + 1) * CHUNK]
                )
            except InvalidTag:
                raise self._fault_of(first + n, chunk, last=last) from None
        return plain

    def _fault_of(self, number: int, chunk: memoryview, *, last: bool) -> DigestMismatchError | MalformedError:
        """What is wrong with a chunk. If it fits the opposite of ``last``, the file was cut or extended."""
        place = f"chunk {number}"
        try:
            self._cipher.decrypt(chunk_nonce(number, last=not last), chunk, None)
        except InvalidTag:
            return DigestMismatchError("altered, damaged or out of its place", place=place)
        if last:
            return MalformedError("the encrypted file is cut off after this chunk, which is not its last", place=place)
        return MalformedError("the encrypted file goes on after this chunk, which is its last", place=place)

    def take_back(self, plain: memoryview) -> None:
        """Use the memory of ``plain`` again."""
        if isinstance(plain.obj, bytearray):
            self._spare.append(plain.obj)


def _read(source: BinaryIO, offset: int, size: int) -> bytes:
    """Up to ``size`` bytes from ``offset``, fewer at the end only; raises `UnreadableError` where the medium fails."""
    pieces = []
    try:
        source.seek(offset)
        while size and (data := source.read(size)):
            pieces.append(data)
            size -= len(data)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error), place=f"byte {offset}") from error
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class DecryptedFile(View):
    """The plain content of an encrypted file, readable from any byte on; made by `open_encrypted`.

    `read` and `readinto` give all the bytes asked for, fewer only at the end, and none that is not authenticated. They
    raise `DigestMismatchError` for a chunk that is altered, damaged or out of its place, `MalformedError` where the
    file was cut or extended, and `UnreadableError` where the medium fails. One thread at a time may use it. Closing it
    leaves the source open.
    """

    def __init__(self, opener: _Opener) -> None:
        super().__init__(opener.size)
        self._opener = opener
        self._ahead: deque[tuple[int, int, Future[memoryview]]] = deque()
        self._window = 1
        # Only a valid last chunk says that the file is whole, and so how long it is (c2sp.org/age, Payload).
        self._first = opener.chunks - 1
        self._plain = opener.load(self._first, 1)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read ``size`` bytes, fewer at the end only; without a size all there is."""
        left = max(0, self.size - self._position)
        size = left if size is None or size < 0 else min(size, left)
        piece = self._piece()
        if size <= len(piece):
            self._position += size
            return bytes(piece[:size])
        whole = io.BytesIO()
        while size:
            piece = self._piece()[:size]
            whole.write(piece)
            self._position += len(piece)
            size -= len(piece)
        return whole.getvalue()

    def readall(self) -> bytes:
        """Read all there is to the end."""
        return self.read()

    def _fill(self, into: memoryview) -> int:
        piece = self._piece()[: len(into)]
        into[: len(piece)] = piece
        return len(piece)

    def _piece(self) -> memoryview:
        """The content from the present position to the end of its batch; nothing at the end of the file."""
        if self.closed:
            raise ValueError("read of a closed stream")
        if self._position >= self.size:
            return memoryview(b"")
        if not 0 <= self._position - self._first * CHUNK < len(self._plain):
            self._go_to(self._position // CHUNK)
        return self._plain[self._position - self._first * CHUNK :]

    def _go_to(self, chunk: int) -> None:
        """Make the batch that begins with ``chunk`` the present one.

        While a file is read in order, batches double up to 1 MiB, and from then on the next ones are decrypted ahead.
        After a seek, only the one chunk is decrypted.
        """
        follows = chunk == self._first + chunk_count(len(self._plain), CHUNK)
        self._window = min(2 * self._window, _BATCH) if follows else 1
        self._opener.take_back(self._plain)
        self._plain = memoryview(b"")
        self._first = chunk
        if self._ahead and self._ahead[0][0] == chunk:
            _, count, batch = self._ahead.popleft()
            self._look_ahead(chunk + count)
            self._plain = batch.result()
            return
        self._forget_ahead()
        count = min(self._window, self._opener.chunks - chunk)
        if self._window == _BATCH:
            self._look_ahead(chunk + count)
        self._plain = self._opener.load(chunk, count)

    def _look_ahead(self, chunk: int) -> None:
        """Begin to decrypt the batches from ``chunk`` on, as far as that has not begun."""
        if self._ahead:
            first, count, _ = self._ahead[-1]
            chunk = first + count
        while len(self._ahead) < _AHEAD and chunk < self._opener.chunks:
            count = min(_BATCH, self._opener.chunks - chunk)
            self._ahead.append((chunk, count, pool().submit(self._opener.load, chunk, count)))
            chunk += count

    def close(self) -> None:
        """Release memory. The source stays open, and this stream does not read it any more."""
        self._forget_ahead()
        super().close()

    def _forget_ahead(self) -> None:
        jobs = [job for _, _, job in self._ahead]
        self._ahead.clear()
        wait([job for job in jobs if not job.cancel()])


def needs_passphrase(source: BinaryIO) -> bool:
    """Whether the encrypted file ``source``, which is seekable, is encrypted to a passphrase.

    Raises as `open_encrypted` does for what is not an encrypted file.
    """
    return is_for_passphrase(parse_header(_read(source, 0, MAX_HEADER)))


def open_encrypted(source: BinaryIO, identities: Sequence[Identity], *, passphrase: str = "") -> DecryptedFile:
    """Open the encrypted file ``source``, which is seekable, and used by nobody else while it is read.

    The header and the last chunk are read and authenticated here, so that a file that was cut or extended is refused
    before any content is given. With a ``passphrase`` that opens it, and no identity. Raises `NotForUsError` if none
    opens it (also where only a key of another kind would), `UnknownFormatError` for other versions of age and its ASCII
    armour, `MalformedError` or `TooLargeError` for what is not an encrypted file, `DigestMismatchError` where it was
    altered or damaged, and `UnreadableError` where the medium fails.
    """
    try:
        end = source.seek(0, os.SEEK_END)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error
    start = _read(source, 0, MAX_HEADER)
    header = parse_header(start)
    if passphrase:
        file_key = unwrap_by_passphrase(start, header, passphrase)
    else:
        file_key = unwrap_file_key(start, header, identities)
    nonce = _read(source, header.size, NONCE_SIZE)
    if len(nonce) != NONCE_SIZE:
        raise MalformedError("the encrypted file ends in its nonce", place="payload")
    return DecryptedFile(_Opener(payload_cipher(file_key, nonce), source, header.size + NONCE_SIZE, end))
