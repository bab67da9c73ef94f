"""What a store keeps of each block of a content of more than one: its SHA-256, and its CRC-32.

The SHA-256 of the block table is in listings. The CRC-32s stand behind it: archives name that of each member before its
first byte, and of blocks they combine, so that the content need not be read for it. What is kept ends with a CRC-32 of
itself, so that nobody takes damage of it for damage of the content.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from formats.blocks import BLOCK, DIGEST, SideBlockHasher, block_count
from formats.crc32 import SIZE, BlockCrcs
from formats.digest import SideWork, sha256_hex

ROW = DIGEST + SIZE
"""Bytes that a block adds to what is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockSums:
    """The block table of a content (32 bytes a block), and the CRC-32 of each block (4 bytes, little-endian)."""

    digests: bytes
    crcs: bytes

    @property
    def sha256(self) -> str:
        """The SHA-256 of the block table."""
        return sha256_hex(self.digests)

    def encode(self) -> bytes:
        """The bytes that a store keeps: the table, the CRC-32s, and the CRC-32 of all this."""
        kept = self.digests + self.crcs
        return kept + zlib.crc32(kept).to_bytes(SIZE, "little")

    @classmethod
    def parse(cls, data: bytes, size: int) -> BlockSums | None:
        """What `encode` made for a content of ``size`` bytes; None for anything else."""
        end = block_count(size) * DIGEST
        if len(data) != sums_size(size) or int.from_bytes(data[-SIZE:], "little") != zlib.crc32(data[:-SIZE]):
            return None
        return cls(digests=data[:end], crcs=data[end:-SIZE])


def needs_table(size: int) -> bool:
    """Whether a content of ``size`` bytes has more than one block."""
    return size > BLOCK


def sums_size(size: int) -> int:
    """Bytes of the sums that are kept for a content of ``size`` bytes."""
    return block_count(size) * ROW + SIZE if needs_table(size) else 0


class ContentHasher:
    """Hashes a content as a whole, and takes the sums of its blocks, each in a thread of its own. A context manager.

    Bytes given to `update` must not change afterwards.
    """

    def __init__(self) -> None:
        self._hasher = SideBlockHasher()
        self._crcs = _SideCrcs()

    @property
    def count(self) -> int:
        """Bytes taken so far."""
        return self._hasher.count

    @property
    def works(self) -> tuple[SideWork, ...]:
        """See `SideBlockHasher.works`."""
        return *self._hasher.works, self._crcs

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        for work in self.works:
            work.update(data)

    def finish(self) -> tuple[str, BlockSums | None]:
        """The SHA-256 of the whole in hexadecimal, and the sums of its blocks; None where there is but one block."""
        sha256, digests = self._hasher.finish()
        return sha256, BlockSums(digests=digests, crcs=self._crcs.finish()) if digests else None

    def close(self) -> None:
        """End the threads."""
        self._hasher.close()
        self._crcs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _SideCrcs(SideWork):
    def __init__(self) -> None:
        super().__init__()
        self._crcs = BlockCrcs(BLOCK)

    def _take(self, data: bytes | memoryview) -> None:
        self._crcs.update(data)

    def finish(self) -> bytes:
        self._settle()
        return self._crcs.finish()


def sums_of(
    pieces: Iterable[bytes], progress: Callable[[int], None] = lambda _: None
) -> tuple[str, int, BlockSums | None]:
    """The SHA-256, the bytes and the sums of a content; ``progress`` is told the bytes of each piece."""
    with ContentHasher() as hasher:
        for data in pieces:
            hasher.update(data)
            progress(len(data))
        sha256, sums = hasher.finish()
        return sha256, hasher.count, sums
