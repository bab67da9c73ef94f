"""Planning the archives of a parcel: what goes into which archive, and which archive onto which volume.

The archive is the unit of work: a complete 7z file under 4 GiB that never crosses volumes. A content is cut into parts
only if it does not fit into one archive. Archives are filled in order, then placed on the first volume that has room.
Pure: no input or output, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from courier.errors import NoSpaceError, UsageError
from formats.archive import Member
from formats.codecs import CODECS, Codec, SolidCodec
from formats.documents.contents import MAX_MEMBERS
from formats.documents.packing import MAX_VOLUMES
from formats.holes import HoleMap, hole_runs
from formats.names import MAX_MEMBER, fold, is_portable

ARCHIVE_LIMIT = (1 << 32) - 2048
"""Bytes of the largest archive: it fits on FAT32 and into one extent of ISO 9660."""
LEAST_ARCHIVE = 64 << 10
"""Bytes of the smallest archive worth making; a medium with less room than this is too small."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """A content to ship, once however many packages hold it.

    ``folder`` and ``path`` say where it occurs first; ``coding`` is the name of its codec, ``holes`` its hole map.
    """

    sha256: str
    size: int
    mtime_ns: int
    folder: str
    path: str
    coding: str
    holes: HoleMap = ()

    @property
    def codec(self) -> Codec:
        """How it is stored."""
        return CODECS[self.coding]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedMember:
    """A run of ``length`` bytes from ``offset`` of a content, to be stored as member ``name``."""

    name: str
    content: Content
    offset: int
    length: int

    @property
    def most(self) -> int:
        """Most bytes it takes in the archive; exact for content that is stored as it is.

        A codec makes next to nothing of a hole: less than a byte of 1,024, and some at its edges.
        """
        codec, end = self.content.codec, self.offset + self.length
        if codec.as_is or not self.content.holes:
            return codec.bound(self.length)
        inside = [
            min(end, offset + length) - max(self.offset, offset)
            for offset, length in hole_runs(self.content.holes)
            if offset < end and offset + length > self.offset
        ]
        return codec.bound(self.length - sum(inside)) + sum(inside) // 1024 + 64 * len(inside)

    def stored(self, size: int) -> Member:
        """The member of an archive that it becomes; ``size``: the bytes that it takes there (`PlannedArchive.most`)."""
        content = self.content
        if content.codec.solid:
            return Member(name=self.name, size=self.length, mtime_ns=content.mtime_ns, packed=size)
        return Member(name=self.name, size=size, mtime_ns=content.mtime_ns)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedArchive:
    """An archive: its number, from 1, and its members in stored order."""

    number: int
    members: tuple[PlannedMember, ...]

    @property
    def most(self) -> list[int]:
        """Most bytes that each member takes: the first of a solid group those of the group, its others none."""
        sizes: list[int] = []
        for group in packed_together(self.members):
            sizes += [sum(member.most for member in group), *[0] * (len(group) - 1)]
        return sizes


def packed_together(members: Iterable[PlannedMember]) -> Iterator[tuple[PlannedMember, ...]]:
    """The solid groups of an archive's members, in order; a member that is stored comes alone.

    Members of a solid codec that follow each other are a group, as many as have at most a run of it together. The same
    members make the same groups, so that an archive can be made again.
    """
    group: list[PlannedMember] = []
    filled = 0
    for member in members:
        codec = member.content.codec
        fits = (
            bool(group)
            and isinstance(codec, SolidCodec)
            and codec is group[0].content.codec
            and filled + member.length <= codec.run
        )
        if group and not fits:
            yield tuple(group)
            group, filled = [], 0
        group.append(member)
        filled += member.length
    if group:
        yield tuple(group)


def member_overhead(name: str) -> int:
    """Most bytes that a 7z header spends on one member."""
    return len(name.encode("utf-16-le")) + 48


ARCHIVE_OVERHEAD = 512
"""Most bytes that a 7z file spends on itself."""
_NAME_ROOM = 4 * MAX_MEMBER + 48
"""`member_overhead` of the longest member name there can be (200 characters outside the basic plane)."""


def plan_archives(contents: Iterable[Content], limit: int) -> Iterator[PlannedArchive]:
    """Fill archives of at most ``limit`` bytes with ``contents`` in order.

    Within an archive, what is packed together comes last, so that its groups are large.
    """
    taken = _Names()
    members: list[PlannedMember] = []
    filled, number = ARCHIVE_OVERHEAD, 1
    for content in contents:
        for member in _members(content, limit, taken):
            cost = member.most + member_overhead(member.name)
            if members and (filled + cost > limit or len(members) == MAX_MEMBERS):
                yield _archive(number, members)
                members, filled, number = [], ARCHIVE_OVERHEAD, number + 1
            members.append(member)
            filled += cost
    if members:
        yield _archive(number, members)


def _archive(number: int, members: Sequence[PlannedMember]) -> PlannedArchive:
    return PlannedArchive(number=number, members=tuple(sorted(members, key=lambda member: member.content.codec.solid)))


class _Names:
    """The member names of a parcel: each is used once and none is a folder of another, even where case is ignored."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def take(self, names: Sequence[str]) -> bool:
        """Take ``names`` if all of them are free; say whether they were."""
        folded = [fold(name) for name in names]
        above = {name[:at] for name in folded for at, c in enumerate(name) if c == "/"}
        if not (self._files.isdisjoint(folded) and self._folders.isdisjoint(folded) and self._files.isdisjoint(above)):
            return False
        self._files.update(folded)
        self._folders |= above
        return True


def _members(content: Content, limit: int, taken: _Names) -> Iterator[PlannedMember]:
    room = content.codec.fits(limit - ARCHIVE_OVERHEAD - _NAME_ROOM)
    parts = -(-content.size // room)
    width = max(3, len(str(parts)))
    suffixes = [f".{n + 1:0{width}d}" for n in range(parts)] if parts > 1 else [""]
    suffixes = [suffix + content.codec.suffix for suffix in suffixes]
    names = [f"{content.folder}/{content.path}{suffix}" for suffix in suffixes]
    if not all(is_portable(name) for name in names) or not taken.take(names):
        names = [f"content/{content.sha256}{suffix}" for suffix in suffixes]
        taken.take(names)
    for n, name in enumerate(names):
        offset = n * room
        yield PlannedMember(name=name, content=content, offset=offset, length=min(room, content.size - offset))


def place_on_volumes(costs: Sequence[int], room: int) -> list[int]:
    """The volume, from 1, of each archive: the first that has room.

    ``costs`` are the bytes the archives take on a medium, ``room`` those that a volume has for them. Raises
    `NoSpaceError` for a cost above ``room``, `UsageError` for more than `MAX_VOLUMES` volumes.
    """
    if max(costs, default=0) > room:
        raise NoSpaceError(
            f"an archive takes {max(costs):,} bytes, a volume has {room:,}", hint="choose a larger medium"
        )
    free: list[int] = []
    result = []
    first_open, least = 0, min(costs, default=0)
    for cost in costs:
        while first_open < len(free) and free[first_open] < least:
            first_open += 1
        at = next((n for n in range(first_open, len(free)) if free[n] >= cost), len(free))
        if at == len(free):
            free.append(room)
        free[at] -= cost
        result.append(at + 1)
    if len(free) > MAX_VOLUMES:
        raise UsageError(
            f"that makes {len(free)} volumes; a parcel has at most {MAX_VOLUMES}", hint="choose a larger medium"
        )
    return result


def take_turns(costs: Sequence[int], free: Sequence[int]) -> list[int | None]:
    """The drive, from 0, that each volume goes to, the drives used in turn; None if no drive has room for it.

    ``costs`` are the bytes that the volumes need, ``free`` those that the drives have.
    """
    left = list(free)
    result: list[int | None] = []
    turn = 0
    for cost in costs:
        drives = [(turn + n) % len(left) for n in range(len(left))]
        at = next((drive for drive in drives if left[drive] >= cost), None)
        if at is not None:
            left[at] -= cost
            turn = at + 1
        result.append(at)
    return result
