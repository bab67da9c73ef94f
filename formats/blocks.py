"""Block maps: the SHA-256 of every block of a file, so that damage is located, not only detected.

A file of a parcel (an archive or a parity file) consists of blocks of the block size of the parcel; the last block may
be shorter. The block table of a parcel holds the digests of all blocks of all its files, 32 bytes each, in the order of
the packing list, which has the SHA-256 of the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO, Self

from formats.digest import SideHash, SideWork
from formats.errors import MalformedError

if TYPE_CHECKING:
    from mmap import mmap

BLOCK = 1 << 20
"""Bytes in a block: 1 MiB. A file under 4 GiB has at most 4,096 blocks."""
DIGEST = 32


def block_count(size: int, block_size: int = BLOCK) -> int:
    """Number of blocks of a file of ``size`` bytes."""
    return -(-size // block_size)


def block_length(size: int, index: int, block_size: int = BLOCK) -> int:
    """Bytes in block ``index`` of a file of ``size`` bytes."""
    return min(block_size, size - index * block_size)


class BlockDigests:
    """Hashes a stream block by block, from pieces of any size."""

    def __init__(self, block_size: int = BLOCK) -> None:
        self._size = block_size
        self._block = hashlib.sha256()
        self._filled = 0
        self._digests = bytearray()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(data).cast("B")
        while view:
            part = view[: self._size - self._filled]
            self._block.update(part)
            self._filled += len(part)
            if self._filled == self._size:
                self._close()
            view = view[len(part) :]

    def _close(self) -> None:
        self._digests += self._block.digest()
        self._block = hashlib.sha256()
        self._filled = 0

    def finish(self) -> bytes:
        """The digests of the blocks, 32 bytes each."""
        if self._filled:
            self._close()
        return bytes(self._digests)


class BlockHasher:
    """Hashes a stream as a whole and block by block, from pieces of any size."""

    def __init__(self, block_size: int = BLOCK) -> None:
        self._whole = hashlib.sha256()
        self._blocks = BlockDigests(block_size)
        self.count = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(data).cast("B")
        self._whole.update(view)
        self.count += len(view)
        self._blocks.update(view)

    def finish(self) -> tuple[str, bytes]:
        """The SHA-256 of the whole in hexadecimal, and the digests of its blocks, 32 bytes each."""
        return self._whole.hexdigest(), self._blocks.finish()


class SideBlockHasher:
    """Hashes a stream as a whole and block by block, each in a thread of its own. A context manager.

    Bytes given to `update` must not change afterwards.
    """

    def __init__(self) -> None:
        self._whole = SideHash()
        self._blocks = _SideBlocks()

    @property
    def count(self) -> int:
        """Bytes taken so far."""
        return self._whole.count

    @property
    def works(self) -> tuple[SideWork, ...]:
        """What each thread does, for who hands the bytes to all of them himself instead of to `update`."""
        return self._whole, self._blocks

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        for work in self.works:
            work.update(data)

    def finish(self) -> tuple[str, bytes]:
        """The SHA-256 of the whole in hexadecimal, and the digests of its blocks, 32 bytes each.

        There are no digests of blocks where the stream is one block or less: its only one is that of the whole.
        """
        return self._whole.hexdigest(), self._blocks.finish() if self.count > BLOCK else b""

    def finish_all(self) -> tuple[str, bytes]:
        """The same as `BlockHasher.finish`: the only block of a stream has its digest too."""
        return self._whole.hexdigest(), self._blocks.finish()

    def close(self) -> None:
        """End the threads."""
        self._whole.close()
        self._blocks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _SideBlocks(SideWork):
    def __init__(self) -> None:
        super().__init__()
        self._digests = BlockDigests()

    def _take(self, data: bytes | memoryview) -> None:
        self._digests.update(data)

    def finish(self) -> bytes:
        self._settle()
        return self._digests.finish()


class BlockTable:
    """The block table of a parcel whose files have ``sizes`` bytes."""

    def __init__(self, table: bytes | mmap, sizes: Sequence[int], block_size: int = BLOCK) -> None:
        """``table`` may be a memory-mapped file. Raises `MalformedError` if its length does not fit the sizes."""
        counts = [block_count(size, block_size) for size in sizes]
        if len(table) != sum(counts) * DIGEST:
            raise MalformedError(
                f"block table has {len(table)} bytes, {sum(counts) * DIGEST} expected", place="blocks.bin"
            )
        self._table = table
        self._starts = [0, *accumulate(counts)]
        self.sizes = tuple(sizes)
        self.block_size = block_size

    def count(self, file: int) -> int:
        """Number of blocks of file number ``file`` (from 0)."""
        return self._starts[file + 1] - self._starts[file]

    def _check(self, file: int, block: int) -> None:
        if not (0 <= file < len(self.sizes) and 0 <= block < self.count(file)):
            raise IndexError(f"file {file} has no block {block}")

    def digest(self, file: int, block: int) -> bytes:
        """The digest of block ``block`` of file ``file``, 32 bytes; raises `IndexError` if there is no such block."""
        self._check(file, block)
        at = (self._starts[file] + block) * DIGEST
        return self._table[at : at + DIGEST]

    def length(self, file: int, block: int) -> int:
        """Bytes in block ``block`` of file ``file``; raises `IndexError` if there is no such block."""
        self._check(file, block)
        return block_length(self.sizes[file], block, self.block_size)

    def is_good(self, file: int, block: int, data: bytes | memoryview) -> bool:
        """Whether ``data`` is block ``block`` of file ``file``."""
        return hashlib.sha256(data).digest() == self.digest(file, block)

    def bad_blocks(
        self, source: BinaryIO, file: int, here: Sequence[int], progress: Callable[[int], None] = lambda _: None
    ) -> Iterator[int]:
        """Read a file in ``source``, and yield its bad blocks; those that are 0 in ``here`` are left out.

        ``progress`` is told the bytes read.
        """
        for block, is_here in enumerate(here):
            if is_here:
                source.seek(block * self.block_size)
                data = source.read(self.length(file, block))
                if not self.is_good(file, block, data):
                    yield block
                progress(len(data))


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted numbers as inclusive ranges: 1, 2, 3, 7 becomes (1, 3), (7, 7)."""
    result: list[tuple[int, int]] = []
    for number in numbers:
        if result and result[-1][1] + 1 == number:
            result[-1] = (result[-1][0], number)
        else:
            result.append((number, number))
    return result
