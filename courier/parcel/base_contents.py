"""The contents that a delta builds on, numbered, so that blocks of them can be asked for like those of archives.

Sender and receiver number them alike: after the last archive, in ascending order of their SHA-256. A sender keeps the
list in the folder of the parcel, ``bases``, a line each: SHA-256 and size; the contents of the parcel may be encrypted
for others. A receiver makes it from the contents.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from courier.files import write_atomic
from formats.blocks import BLOCK, block_count
from formats.documents.packing import MAX_ARCHIVES
from formats.documents.repair import MAX_BLOCKS

BASES = "bases"


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseContent:
    """A content that a delta builds on: its number in requests, its SHA-256, and its size in bytes."""

    number: int
    sha256: str
    size: int

    @property
    def blocks(self) -> int:
        """How many blocks it has."""
        return block_count(self.size)

    def length(self, block: int) -> int:
        """Bytes of a block."""
        return min(BLOCK, self.size - block * BLOCK)


class BaseContents:
    """The contents that a delta builds on; those beyond what a request can number are left out.

    So is one of more blocks than a request can name. Its size is only what the sender says: nothing is reserved for it.
    """

    def __init__(self, archives: int, contents: Iterable[tuple[str, int]]) -> None:
        """``archives``: how many the parcel has; ``contents``: SHA-256 and size of each, once, in any order."""
        self._archives = archives
        nameable = (one for one in contents if block_count(one[1]) <= MAX_BLOCKS)
        self._contents = heapq.nsmallest(MAX_ARCHIVES - archives, nameable)

    def __iter__(self) -> Iterator[BaseContent]:
        for n, (sha256, size) in enumerate(self._contents, self._archives + 1):
            yield BaseContent(number=n, sha256=sha256, size=size)

    def find(self, number: int) -> BaseContent | None:
        """The content with this number; None where it is that of an archive, or of nothing."""
        at = number - self._archives - 1
        if not 0 <= at < len(self._contents):
            return None
        sha256, size = self._contents[at]
        return BaseContent(number=number, sha256=sha256, size=size)

    def save(self, folder: Path) -> None:
        """Keep the list in the folder of a parcel."""
        text = "".join(f"{sha256} {size}\n" for sha256, size in self._contents)
        write_atomic(folder / BASES, text.encode(), private=True)

    @classmethod
    def load(cls, folder: Path, archives: int) -> BaseContents:
        """The list in the folder of a parcel; an empty one where there is none."""
        return cls(archives, base_list(folder))


def base_list(folder: Path) -> list[tuple[str, int]]:
    """SHA-256 and size of each content that the parcel in ``folder`` builds on; none for one that is no delta."""
    try:
        lines = (folder / BASES).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(sha256, int(size)) for sha256, _, size in (line.partition(" ") for line in lines)]
