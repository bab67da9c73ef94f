"""Writing sealed files: sealing while the content is written, its first 64 KiB at last."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from formats.seal_header import KeySource, header_bytes
from formats.seal_payload import (
    BATCH,
    CHUNK,
    SEALED,
    TAG,
    THREADS,
    UNDER_WAY,
    Stream,
    chunk_nonce,
    payload_cipher,
    sealed_size,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


_FULL = BATCH * CHUNK


class _Sealer:
    """What the threads of a `SealingWriter` do; they know this and not the writer, which so can be collected."""

    def __init__(self, cipher: ChaCha20Poly1305, out: BinaryIO) -> None:
        self._cipher = cipher
        self._out = out
        self._spare: deque[bytearray] = deque()

    def buffer(self) -> bytearray:
        """Room for a sealed batch; used again and again, since fresh memory costs as much as sealing."""
        try:
            return self._spare.pop()
        except IndexError:
            return bytearray(BATCH * SEALED)

    def emit(
        self, plain: memoryview, number: int, *, last: bool, owned: bytearray | None, before: Future[None] | None
    ) -> None:
        """Seal a batch that begins with chunk ``number``, and write it when the batch before is written."""
        buffer = self.buffer()
        sealed = memoryview(buffer)
        end = 0
        for at in range(0, len(plain) or 1, CHUNK):
            chunk = plain[at : at + CHUNK]
            start, end = end, end + len(chunk) + TAG
            nonce = chunk_nonce(number + at // CHUNK, last=last and at + CHUNK >= len(plain))
            self._cipher.encrypt_into(nonce, chunk, None, sealed[start:end])
        if before is not None:
            before.result()
        self._out.write(sealed[:end])
        self._spare.append(buffer)
        if owned is not None:
            self._spare.append(owned)


class SealingWriter(Stream):
    """A stream to write plain content into, which writes the sealed file to ``out``.

    ``out`` is buffered, and nobody else's until `close`, which ends the sealed file and leaves ``out`` open, at its
    end and not flushed; threads write to it. If ``out`` is seekable (it may have content before), the first 64 KiB of
    content are kept and written last: up to there `seek` goes back and `write` overwrites, as the writers of archives
    do. If it is not, it is written once from beginning to end.

    `close` alone makes a whole file: after an error, at the end of a ``with`` block that one leaves, or if it is
    forgotten, the last chunk is not there, so that nobody opens what there is.

    Without ``seed`` all keys are random. With a ``seed`` of 32 bytes, which is kept as secret as a private key, they
    are derived from it and ``context`` (see `KeySource`), and the same content for the same recipients gives the same
    bytes. **One seed and context must never seal two different contents:** whoever has both sealed files then reads
    much of them without any key. So ``context`` names what determines every byte of the content: not only the parcel
    and the archive's number, but the digest of the build or, best, of the archive's definition.

    Raises `Malformed` and `TooLarge` for the recipients (see `header_bytes`), ValueError for a seed of another length,
    or for one without context or the other way round; what writing raises comes with this write or a later one.
    """

    _pool: ThreadPoolExecutor | None = None

    def __init__(
        self,
        out: BinaryIO,
        recipients: Sequence[str],
        *,
        seed: bytes | None = None,
        context: bytes = b"",
        threads: int = THREADS,
    ) -> None:
        keys = KeySource(seed, context)
        file_key, nonce = keys.file_key(), keys.payload_nonce()
        self._out = out
        self._threads = threads
        self._sealer = _Sealer(payload_cipher(file_key, nonce), out)
        self._head = bytearray() if out.seekable() else None
        self._next = 0
        # The batch that is not full, or may be the last: in memory of our own, or a part of what was written.
        self._batch = memoryview(b"")
        self._filled = 0
        self._owned: bytearray | None = None
        self._position = 0
        self._size = 0
        self._under_way: deque[Future[None]] = deque()
        self._newest: Future[None] | None = None
        out.write(header_bytes(file_key, recipients, keys) + nonce)
        self._payload = out.tell() if self._head is not None else 0

    def readable(self) -> bool:
        """False."""
        return False

    def writable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """Whether `seek` may go back into the first 64 KiB."""
        return self._head is not None

    def tell(self) -> int:
        """Position in the plain content."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to the end of what is written, or back into its first 64 KiB; raises `io.UnsupportedOperation` else."""
        target = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if target != self._size and not (self._head is not None and 0 <= target <= len(self._head)):
            raise io.UnsupportedOperation("a sealed file is rewritten in its first 64 KiB only")
        self._position = target
        return target

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data``, at the end or over what is in the first 64 KiB; returns its size in bytes."""
        if self.closed:
            raise ValueError("write to a closed seal")
        view = memoryview(data).cast("B")
        size = len(view)
        if self._position < self._size:
            self._overwrite(view)
        else:
            try:
                self._append(view, lasting=isinstance(data, bytes))
            except BaseException:
                self.abort()
                raise
            self._size += size
        self._position += size
        return size

    def _overwrite(self, view: memoryview) -> None:
        end = self._position + len(view)
        if self._head is None or end > len(self._head):
            raise io.UnsupportedOperation("a sealed file is rewritten in its first 64 KiB only")
        self._head[self._position : end] = view

    def _append(self, view: memoryview, *, lasting: bool) -> None:
        if self._head is not None:
            if self._next == 0:
                room = CHUNK - len(self._head)
                self._head += view[:room]
                view = view[room:]
            if view and self._next == 0:
                self._out.write(bytes(SEALED))
                self._next = 1
        # The last chunk is sealed in another way, so a full batch stays until there is more.
        while view:
            if self._filled == _FULL:
                self._submit(last=False)
            if not self._filled and lasting and len(view) >= _FULL:
                self._batch, self._filled = view[:_FULL], _FULL
                view = view[_FULL:]
                continue
            if not self._filled:
                self._owned = self._sealer.buffer()
                self._batch = memoryview(self._owned)[:_FULL]
            count = min(len(view), _FULL - self._filled)
            self._batch[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]

    def _submit(self, *, last: bool) -> None:
        """Have the batch sealed and written, in its turn."""
        plain, number, owned = self._batch[: self._filled], self._next, self._owned
        self._batch, self._filled, self._owned = memoryview(b""), 0, None
        self._next += BATCH
        # A file of one batch needs no thread.
        if self._threads < 2 or (last and self._newest is None):
            self._sealer.emit(plain, number, last=last, owned=owned, before=None)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="seal")
        # Batches start in their order, so the one that a batch waits for has its thread already.
        before = self._newest
        self._newest = self._pool.submit(self._sealer.emit, plain, number, last=last, owned=owned, before=before)
        self._under_way.append(self._newest)
        if len(self._under_way) > UNDER_WAY:
            self._under_way.popleft().result()

    def close(self) -> None:
        """Write what remains and end the sealed file; does nothing after a `write` that raised, or `abort`."""
        if self.closed:
            return
        try:
            self._finish()
        finally:
            self.abort()

    def _finish(self) -> None:
        spilt = self._head is None or self._next > 0
        if spilt:
            self._submit(last=True)
        if self._newest is not None:
            self._newest.result()
        if self._head is not None:
            end = self._out.tell()
            self._out.seek(self._payload)
            self._sealer.emit(memoryview(self._head), 0, last=not spilt, owned=None, before=None)
            if spilt:
                self._out.seek(end)

    def abort(self) -> None:
        """Stop without ending the sealed file, which nobody can open then."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
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


def seal_stream(
    source: BinaryIO,
    out: BinaryIO,
    recipients: Sequence[str],
    *,
    seed: bytes | None = None,
    context: bytes = b"",
    threads: int = THREADS,
) -> int:
    """Seal ``source`` from where it stands to its end; returns the size of the sealed file in bytes.

    The rest is as with `SealingWriter`, above all what it says of ``seed`` and ``context``.
    """
    with SealingWriter(out, recipients, seed=seed, context=context, threads=threads) as writer:
        # The first chunk goes its own way; read apart from the rest, it leaves whole batches, which are not copied.
        data = source.read(CHUNK)
        while data:
            writer.write(data)
            data = source.read(_FULL)
    return sealed_size(writer.tell(), len(recipients))
