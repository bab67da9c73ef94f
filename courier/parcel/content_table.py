"""The contents of a parcel, each once, in little memory: some 60 bytes for each, and a few for its path.

A plan is made of numbers alone, and goes through the contents several times; so they are kept in columns, and the paths
packed, as neighbours in a listing have most of theirs in common.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Collection, Iterator

from courier.parcel.archive_plan import Content
from courier.site.store.key_set import KeySet
from formats.codecs import CODECS
from formats.holes import HoleMap, hole_bytes

_CODINGS = tuple(CODECS)
_NEAR = -(1 << 63), 1 << 63
_TOGETHER = 1024
"""Paths that are packed together."""


class ContentTable(Collection[Content]):
    """Contents in the order in which they were added; the first of each SHA-256 counts.

    ``bytes``: of all of them; ``allocated``: the same without holes; ``all_as_is``: whether none is compressed;
    ``longest``: bytes of the longest of each coding.
    """

    def __init__(self) -> None:
        self.bytes = self.allocated = 0
        self.all_as_is = True
        self.longest: dict[str, int] = {}
        self._digests = KeySet(32)
        self._sizes = array("Q")
        self._times = array("q")
        self._codings = bytearray()
        self._far: dict[int, int] = {}
        """Times before 1678 or after 2262, which take more than 64 bits."""
        self._holes: dict[int, HoleMap] = {}
        self._folders: list[str] = []
        self._begins: list[int] = []
        """The number of the first content of each folder."""
        self._packed: list[bytes] = []
        self._paths: list[str] = []
        """The last paths, which are not packed yet."""

    def folder(self, name: str) -> None:
        """Name the folder in which the contents that are added next occur."""
        self._folders.append(name)
        self._begins.append(len(self._digests))

    def add(
        self, sha256: str, size: int, mtime_ns: int, path: str, coding: Callable[[], str], holes: HoleMap = ()
    ) -> None:
        """Add a content, unless it was added before. The fields are those of `Content`; ``coding`` gives its coding."""
        if not self._digests.add(bytes.fromhex(sha256)):
            return
        name = coding()
        if holes:
            self._holes[len(self._sizes)] = holes
        if not _NEAR[0] <= mtime_ns < _NEAR[1]:
            self._far[len(self._times)] = mtime_ns
            mtime_ns = 0
        self._sizes.append(size)
        self._times.append(mtime_ns)
        self._codings.append(_CODINGS.index(name))
        self._paths.append(path)
        self.bytes += size
        if size > self.longest.get(name, 0):
            self.longest[name] = size
        self.allocated += size - hole_bytes(holes) if holes else size
        self.all_as_is = self.all_as_is and CODECS[name].as_is
        if len(self._paths) == _TOGETHER:
            self._packed.append(_pack(self._paths))
            self._paths = []

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, content: object) -> bool:
        return isinstance(content, Content) and any(one == content for one in self)

    def __iter__(self) -> Iterator[Content]:
        ends = [*self._begins, len(self)][1:]  # none where the table is empty: all is held there already
        paths = self._all_paths()
        for folder, begin, end in zip(self._folders, self._begins, ends, strict=True):
            for number in range(begin, end):
                yield Content(
                    sha256=self._digests[number].hex(),
                    size=self._sizes[number],
                    mtime_ns=self._far.get(number, self._times[number]) if self._far else self._times[number],
                    folder=folder,
                    path=next(paths),
                    coding=_CODINGS[self._codings[number]],
                    holes=self._holes.get(number, ()) if self._holes else (),
                )

    def _all_paths(self) -> Iterator[str]:
        for packed in self._packed:
            yield from zlib.decompress(packed).decode().split("\0")
        yield from self._paths


def _pack(paths: list[str]) -> bytes:
    return zlib.compress("\0".join(paths).encode(), 1)
