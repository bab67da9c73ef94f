"""The members of an archive that was built, as its recipe keeps them: field by field, one JSON array for each field.

Most that is done with a recipe concerns a field or two of all members. So a record is made of a member only where
somebody asks for records. Pure: no input or output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from courier.parcel.archive_plan import Content, PlannedMember
from formats.archive.header import Columns
from formats.codecs import CODECS
from formats.records import MAX_INT, LineCodec, Many, Row, changed


class RecipeMember(Many, frozen=True, kw_only=True):
    """A member of an archive that takes ``size`` bytes there, and holds a run of a content.

    ``at``: where these bytes begin, in the content (not compressed) or in the archive's pack (compressed). ``crc32`` is
    that of the member: of these bytes or, in a solid group, of the run. The bytes of a group are those of its first
    member.
    """

    planned: PlannedMember
    size: int
    crc32: int
    at: int


class RecipeColumns(Row, tag="members", frozen=True, kw_only=True):
    """The members of a recipe, field by field: what composes the archive needs no record for each of them.

    ``digests`` has the SHA-256 of all contents in hexadecimal, one after the other, ``of`` their sizes; ``times`` are
    in nanoseconds since 1970. The other fields are those of `RecipeMember`, `PlannedMember` and `Content`.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    crc32s: tuple[int, ...]
    ats: tuple[int, ...]
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]
    digests: str
    of: tuple[int, ...]
    times: tuple[str | int, ...]
    folders: tuple[str, ...]
    paths: tuple[str, ...]
    codings: tuple[str, ...]

    @classmethod
    def of_members(cls, members: Sequence[RecipeMember]) -> RecipeColumns:
        """Those of ``members``."""
        planned = [member.planned for member in members]
        contents = [one.content for one in planned]
        return cls(
            names=tuple([one.name for one in planned]),
            sizes=tuple([member.size for member in members]),
            crc32s=tuple([member.crc32 for member in members]),
            ats=tuple([member.at for member in members]),
            offsets=tuple([one.offset for one in planned]),
            lengths=tuple([one.length for one in planned]),
            digests="".join([content.sha256 for content in contents]),
            of=tuple([content.size for content in contents]),
            times=tuple([_written_time(content.mtime_ns) for content in contents]),
            folders=tuple([content.folder for content in contents]),
            paths=tuple([content.path for content in contents]),
            codings=tuple([content.coding for content in contents]),
        )

    def members(self) -> Iterator[RecipeMember]:
        """The members, each as a record."""
        for name, size, crc32, at, offset, length, sha256, of, time, folder, path, coding in zip(
            self.names,
            self.sizes,
            self.crc32s,
            self.ats,
            self.offsets,
            self.lengths,
            self.contents(),
            self.of,
            self.times,
            self.folders,
            self.paths,
            self.codings,
            strict=True,
        ):
            content = Content(sha256=sha256, size=of, mtime_ns=int(time), folder=folder, path=path, coding=coding)
            planned = PlannedMember(name=name, content=content, offset=offset, length=length)
            yield RecipeMember(planned=planned, size=size, crc32=crc32, at=at)

    def contents(self) -> Iterator[str]:
        """The SHA-256 of the content of each member."""
        return (self.digests[at : at + HEX] for at in range(0, len(self.digests), HEX))

    def are_planned(self, members: Sequence[PlannedMember]) -> bool:
        """Whether these are the members of a plan."""
        planned = self.of_members([RecipeMember(planned=one, size=0, crc32=0, at=0) for one in members])
        return changed(planned, sizes=self.sizes, crc32s=self.crc32s, ats=self.ats) == self

    def stored(self) -> bytes:
        """For each member, whether it is stored as it is."""
        if all(CODECS[coding].as_is for coding in set(self.codings)):
            return b"\1" * len(self.codings)
        return bytes([CODECS[coding].as_is for coding in self.codings])

    def archive(self) -> Columns:
        """The members as they are in the archive."""
        if not any(CODECS[coding].solid for coding in set(self.codings)):
            return Columns(names=self.names, sizes=self.sizes, times_ns=tuple(map(int, self.times)), crc32s=self.crc32s)
        solid = [CODECS[coding].solid for coding in self.codings]
        return Columns(
            names=self.names,
            sizes=[
                length if of_group else size
                for length, size, of_group in zip(self.lengths, self.sizes, solid, strict=True)
            ],
            times_ns=tuple(map(int, self.times)),
            crc32s=self.crc32s,
            packed=[size if group else None for size, group in zip(self.sizes, solid, strict=True)],
        )


HEX = 64
"""Digits of a SHA-256."""
COLUMNS: LineCodec[RecipeColumns] = LineCodec(RecipeColumns, lambda _: None)
"""Reads and writes the members of a recipe, all in one line."""


def _written_time(mtime_ns: int) -> str | int:
    """A time as JSON holds it: integers of more than 64 bits as decimal digits."""
    return mtime_ns if abs(mtime_ns) <= MAX_INT else str(mtime_ns)
