"""The archives of a parcel for one limit after another, whose members are named once. Pure: no input or output.

Finding names that no two members share takes most of the time of a plan. They are the same for every limit with which
no content is cut: so a byte for each content is kept, whether it is named by its digest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from courier.parcel.archive_plan import PlannedArchive, largest_part, plan_archives, plan_archives_again
from courier.parcel.content_table import ContentTable
from courier.parcel.made_anew import MadeAnew
from formats.codecs import CODECS


class ArchiveNames:
    """Makes the archives of ``contents``, and remembers the names of members that are no parts."""

    def __init__(self, contents: ContentTable) -> None:
        self._contents = contents
        self._by_digest: bytes | None = None

    def _any_cut(self, limit: int) -> bool:
        """Whether a content is too large for an archive of at most ``limit`` bytes."""
        return any(size > largest_part(CODECS[coding], limit) for coding, size in self._contents.longest.items())

    def archives(self, limit: int) -> Iterator[PlannedArchive]:
        """The archives of at most ``limit`` bytes, as `plan_archives` makes them."""
        if self._any_cut(limit):
            return plan_archives(self._contents, limit)
        if self._by_digest is not None:
            return plan_archives_again(self._contents, limit, self._by_digest)
        return self._first(limit)

    def _first(self, limit: int) -> Iterator[PlannedArchive]:
        names = bytearray()
        yield from plan_archives(self._contents, limit, names)
        self._by_digest = bytes(names)

    def planned(self, limit: int, count: int) -> Collection[PlannedArchive]:
        """The same, ``count`` in number, to be gone through many times."""
        return MadeAnew(lambda: self.archives(limit), count)
