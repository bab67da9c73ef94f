"""How large the archives of a plan are, for one limit after another. Pure: no input or output, no clock.

Naming a million members takes seconds. Where no content is cut, the members are the same whatever the limit: then their
sums are kept, and other limits are tried by these alone.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from courier.parcel.archive_plan import ARCHIVE_OVERHEAD, MOST_MEMBERS, PlannedArchive, largest_part, member_overhead
from formats.archive import ArchiveGauge, archive_size
from formats.archive.header import number_size
from formats.codecs import CODECS

_FIXED = member_overhead("") - 2
"""What `member_overhead` counts beside the bytes of a name and the zero after it."""


class ArchiveSizes:
    """The exact sizes of archives before encryption, where each member takes the most that it can.

    They are counted archive by archive (`count`), then ``sizes`` has them all; ``content`` and ``packed`` are bytes of
    content, and most bytes that those members take which are not stored as they are.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.content = self.packed = 0
        self._is_whole = True
        """Whether no content is cut, and none is in a solid group."""
        self._costs = array("Q", [0])
        self._data = array("Q", [0])
        self._lengths = array("Q", [0])
        """Sums over the members up to each: what `plan_archives` counts, bytes in archives, those of `number_size`."""
        self._longest: dict[str, int] = {}
        """The longest member of each coding."""

    def count(self, archives: Iterable[PlannedArchive]) -> Iterator[tuple[PlannedArchive, list[int]]]:
        """Go through the archives of a plan, each with the most bytes that its members take."""
        for archive in archives:
            most = archive.most
            for member, size in zip(archive.members, most, strict=True):
                content = member.content
                self.content += member.length
                if not content.codec.as_is:
                    self.packed += size
                if self._is_whole:
                    self._is_whole = member.length == content.size and not content.codec.solid
                    self._add(size, member_overhead(member.name))
                    if member.length > self._longest.get(content.coding, 0):
                        self._longest[content.coding] = member.length
            if self._is_whole:
                end = len(self._costs) - 1
                self.sizes.append(self._size(end - len(most), end))
            else:
                self.sizes.append(archive_size(m.stored(size) for m, size in zip(archive.members, most, strict=True)))
            yield archive, most

    def _add(self, size: int, overhead: int) -> None:
        self._costs.append(self._costs[-1] + size + overhead)
        self._data.append(self._data[-1] + size)
        self._lengths.append(self._lengths[-1] + number_size(size))

    def _size(self, begin: int, end: int) -> int:
        """The size of the archive of the members from ``begin`` to before ``end``."""
        data = self._data[end] - self._data[begin]
        return ArchiveGauge.of_stored(
            count=end - begin,
            names=self._costs[end] - self._costs[begin] - data - _FIXED * (end - begin),
            data=data,
            sizes=self._lengths[end - 1] - self._lengths[begin],
        ).size

    def at(self, limit: int) -> list[int] | None:
        """The sizes of the archives of at most ``limit`` bytes; None where contents are cut then, or were before."""
        if not self._is_whole or any(
            length > largest_part(CODECS[coding], limit) for coding, length in self._longest.items()
        ):
            return None
        sizes, begin, last = [], 0, len(self._costs) - 1
        while begin < last:
            fits = bisect_right(self._costs, self._costs[begin] + limit - ARCHIVE_OVERHEAD, begin + 1, last + 1) - 1
            end = min(max(fits, begin + 1), begin + MOST_MEMBERS)
            sizes.append(self._size(begin, end))
            begin = end
        return sizes
