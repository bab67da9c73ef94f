"""Planning the archives of a parcel: what goes into which archive, and which archive onto which volume.

The archive is the unit of work: a complete 7z file under 4 GiB that never crosses volumes. A content is cut into parts
only if it does not fit into one archive. Archives are filled in order, then placed on the first volume that has room.
Pure: no input or output, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from courier.errors import NoSpaceError, UsageError
from courier.site.store.key_set import KeySet
from formats.archive import Member
from formats.codecs import CODECS, Codec, SolidCodec
from formats.documents.packing import MAX_VOLUMES
from formats.holes import HoleMap, hole_runs
from formats.names import MAX_MEMBER, fold, is_portable
from formats.records import Many

ARCHIVE_LIMIT = (1 << 32) - 2048
"""Bytes of the largest archive: it fits on FAT32 and into one extent of ISO 9660."""
LEAST_ARCHIVE = 64 << 10
"""Bytes of the smallest archive worth making; a medium with less room than this is too small."""
MOST_MEMBERS = 8192
"""Members of one archive at most, fewer than a reader takes: each step that makes or reads an archive holds the list of
its members, some 4 KB for each (decision 0038)."""


class Content(Many, frozen=True, kw_only=True):
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


class PlannedMember(Many, frozen=True, kw_only=True):
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
        if not any(member.content.codec.solid for member in self.members):
            return [member.most for member in self.members]
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
    return (2 * len(name) if name.isascii() else len(name.encode("utf-16-le"))) + 48


ARCHIVE_OVERHEAD = 512
"""Most bytes that a 7z file spends on itself."""
_NAME_ROOM = 4 * MAX_MEMBER + 48
"""`member_overhead` of the longest member name there can be (200 characters outside the basic plane)."""


def plan_archives(contents: Iterable[Content], limit: int, names: bytearray | None = None) -> Iterator[PlannedArchive]:
    """Fill archives of at most ``limit`` bytes with ``contents`` in order.

    Within an archive, what is packed together comes last, so that its groups are large. ``names``: gets a byte for each
    content: 1 where its members are named by its digest.
    """
    return _filled(_named(contents, limit, names), limit)


def plan_archives_again(contents: Iterable[Content], limit: int, names: bytes) -> Iterator[PlannedArchive]:
    """As `plan_archives`, where no content is cut with this limit nor with that with which it filled ``names``."""
    return _filled(_named_again(contents, names), limit)


def _filled(members: Iterable[PlannedMember], limit: int) -> Iterator[PlannedArchive]:
    taken: list[PlannedMember] = []
    filled, number = ARCHIVE_OVERHEAD, 1
    for member in members:
        cost = member.most + member_overhead(member.name)
        if taken and (filled + cost > limit or len(taken) == MOST_MEMBERS):
            yield _archive(number, taken)
            taken, filled, number = [], ARCHIVE_OVERHEAD, number + 1
        taken.append(member)
        filled += cost
    if taken:
        yield _archive(number, taken)


def _archive(number: int, members: Sequence[PlannedMember]) -> PlannedArchive:
    solid = [CODECS[member.content.coding].solid for member in members]
    if any(solid):
        members = sorted(members, key=lambda member: member.content.codec.solid)
    return PlannedArchive(number=number, members=tuple(members))


class _Names:
    """The member names of a parcel: each is used once and none is a folder of another, even where case is ignored.

    Of each name a digest is kept. Two names of one digest, which nobody has ever seen, would count as the same name.
    """

    def __init__(self) -> None:
        self._taken = KeySet(_KEY)
        self._is_folder = bytearray()
        """Whether each of them is a folder, by its number."""
        self._last = ""
        """The folder of the last name that was taken: most names are in that of the name before."""

    def take_one(self, name: str) -> bool:
        """Take the name of a whole content if it is free; say whether it was."""
        folded = fold(name)
        folder = folded.rpartition("/")[0]
        if folder != self._last:
            return self._take([folded], folder)
        if not self._taken.add(blake2b(folded.encode(), digest_size=_KEY).digest()):
            return False
        self._is_folder.append(False)
        return True

    def take(self, names: Sequence[str]) -> bool:
        """Take ``names``, all in one folder, if all of them are free; say whether they were."""
        folded = [fold(name) for name in names]
        return self._take(folded, folded[0].rpartition("/")[0])

    def _take(self, folded: Sequence[str], folder: str) -> bool:
        above = [] if folder == self._last else [_key(one) for one in (folder, *_folders(folder))]
        if any(self._is_file(key) for key in above):
            return False
        keys = [_key(name) for name in folded]
        if any(key in self._taken for key in keys):
            return False
        for key in keys:
            self._taken.add(key)
            self._is_folder.append(False)
        for key in above:
            if self._taken.add(key):
                self._is_folder.append(True)
        self._last = folder
        return True

    def _is_file(self, key: bytes) -> bool:
        number = self._taken.find(key)
        return number >= 0 and not self._is_folder[number]


_KEY = 16
"""Bytes of the digest that is kept of a name."""


def _key(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=_KEY).digest()


def _folders(path: str) -> Iterator[str]:
    """The folders above a path."""
    return (path[:at] for at, character in enumerate(path) if character == "/")


def largest_part(codec: Codec, limit: int) -> int:
    """Bytes of the largest content that is not cut in archives of at most ``limit`` bytes."""
    return codec.fits(limit - ARCHIVE_OVERHEAD - _NAME_ROOM)


def _named(contents: Iterable[Content], limit: int, by_digest: bytearray | None) -> Iterator[PlannedMember]:
    """The members of the contents. Whoever goes through ``contents`` once more finds the same names."""
    taken = _Names()
    rooms = {coding: largest_part(codec, limit) for coding, codec in CODECS.items()}
    for content in contents:
        coding, size = content.coding, content.size
        room, suffix = rooms[coding], CODECS[coding].suffix
        if size <= room:
            name = f"{content.folder}/{content.path}{suffix}"
            of_digest = not is_portable(name) or not taken.take_one(name)
            if of_digest:
                name = f"content/{content.sha256}{suffix}"
                taken.take_one(name)
            yield PlannedMember(name=name, content=content, offset=0, length=size)
        else:
            names, of_digest = _names_of_parts(content, room, taken)
            for n, name in enumerate(names):
                offset = n * room
                yield PlannedMember(name=name, content=content, offset=offset, length=min(room, size - offset))
        if by_digest is not None:
            by_digest.append(of_digest)


def _names_of_parts(content: Content, room: int, taken: _Names) -> tuple[list[str], bool]:
    """The names of the members of a content that is cut, and whether they are of its digest."""
    parts = -(-content.size // room)
    width = max(3, len(str(parts)))
    ends = [f".{n + 1:0{width}d}{content.codec.suffix}" for n in range(parts)]
    names = [f"{content.folder}/{content.path}{end}" for end in ends]
    if all(map(is_portable, names)) and taken.take(names):
        return names, False
    names = [f"content/{content.sha256}{end}" for end in ends]
    taken.take(names)
    return names, True


def _named_again(contents: Iterable[Content], by_digest: bytes) -> Iterator[PlannedMember]:
    suffixes = {coding: codec.suffix for coding, codec in CODECS.items()}
    for content, of_digest in zip(contents, by_digest, strict=True):
        stem = f"content/{content.sha256}" if of_digest else f"{content.folder}/{content.path}"
        name = f"{stem}{suffixes[content.coding]}"
        yield PlannedMember(name=name, content=content, offset=0, length=content.size)


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
