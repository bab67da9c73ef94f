"""The contents of a parcel: its packages with their listings, and what lies in every archive.

JSON lines, gzip-compressed (RFC 1952) and, in an encrypted parcel, encrypted after that. First a header; then for each
package a line that names it, followed by the lines of its listing; then for each archive a line that counts its
members, followed by a line a member, in stored order. A member holds a run of bytes of one content: whole files as
their path in the package, a file cut in parts as ``path.001``, ``path.002``, with the suffix of the member's codec.
After the archives there may be sections, each begun by a line that names it. This release knows one, ``delta``: on
which versions the parcel builds, and how contents are made from theirs (`formats.delta.rows`).
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Annotated, BinaryIO, cast

from formats.codecs import CODECS, NAMES
from formats.delta.rows import (
    DELTA_LINES,
    MAX_BASE_VERSIONS,
    BaseVersionRow,
    RecipeCheck,
    RecipeRow,
    StepRow,
    in_order,
)
from formats.documents.contents_stream import LineStream, Run
from formats.documents.fields import Package, Parcel, Version
from formats.documents.listing import LINES, MAX_LINE, Entry, ListingCheck, ListingSummary
from formats.errors import FormatError, MalformedError, UnexpectedError, UnknownFormatError
from formats.names import check_member, fold
from formats.records import (
    OPTIONAL,
    Count,
    Digest,
    LineCodec,
    LineReader,
    NamedRecord,
    Number,
    Record,
    Row,
    base64_text,
    integer,
    join,
    matching,
    read,
    read_named,
    read_rows,
    text,
)

MAX_MEMBERS = 65_536
"""Members in one archive, so that an archive's own list always fits in memory."""
MAX_PACKAGES = 100_000
APART = 1024
"""Entries of the smallest listing, and members of the smallest archive, whose lines are compressed apart."""
MAX_DEFINITION = 1 << 16
"""Base64 characters of the largest package definition, with its signature, that is accepted."""
DELTA = "delta"
"""The name of the section that says on which versions the parcel builds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header(NamedRecord):
    """The first line."""

    NAME = "contents"

    parcel: Parcel
    packages: Annotated[int, integer(1, MAX_PACKAGES)]
    archives: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageHeader(Record):
    """A package version in a parcel; its name as the sender has it, and the summary of its listing.

    ``definition``: the package definition that the package's own source site signed, the bytes of its envelope;
    whichever site the parcel comes from, a version is what its source site says. Empty where the sender does not have
    it.
    """

    package: Package
    version: Version
    name: Annotated[str, text(1000)]
    listing: ListingSummary
    definition: Annotated[bytes, base64_text(MAX_DEFINITION), OPTIONAL] = b""


class _ArchiveRow(Row, tag="a", frozen=True, kw_only=True):
    """The line before the members of an archive; ``members`` is how many follow."""

    archive: Number
    members: Annotated[int, integer(1, MAX_MEMBERS)]


class _SectionRow(Row, tag="s", frozen=True, kw_only=True):
    """The line before a section: its kind, and the number of lines that follow."""

    kind: Annotated[str, text(100)]
    lines: Count


class MemberRecord(Row, tag="m", frozen=True, kw_only=True):
    """One member of an archive: a run of bytes of one content.

    ``size`` bytes are stored under ``name``; they hold ``length`` bytes from ``offset`` of the content whose SHA-256
    is ``sha256`` and whose whole size is ``of`` bytes. ``coding`` names the codec (`formats.codecs.CODECS`). In a solid
    group the first member has the size of the group, and the others have 0.
    """

    name: str
    size: Count
    sha256: Digest
    of: Number
    offset: Count
    length: Number
    coding: Annotated[str, matching(NAMES)]


def _judge_member(member: MemberRecord) -> None:
    """Raise `FormatError` where the name is not portable or the sizes do not fit each other."""
    check_member(member.name, place="name")
    if member.offset + member.length > member.of:
        raise MalformedError("reaches past the end of its content", place="length")
    if CODECS[member.coding].as_is and member.size != member.length:
        raise MalformedError("a stored member has the size of what it holds", place="size")
    if not member.size and not CODECS[member.coding].solid:
        raise MalformedError("a member of no bytes, and not of a solid group", place="size")


MEMBER_LINES: LineCodec[MemberRecord] = LineCodec(MemberRecord, _judge_member)
"""Reads and writes the lines of an archive's members."""
_HEADER_LINES: LineCodec[_ArchiveRow | _SectionRow] = LineCodec(_ArchiveRow | _SectionRow, lambda _: None)


def _header_row(line: bytes, place: str) -> _ArchiveRow | _SectionRow:
    """The line before the members of an archive, or before a section."""
    return _HEADER_LINES.decode([line], lambda _: place)[0]


@dataclass(kw_only=True, slots=True)
class KeptRuns:
    """The lines of long listings and archives as a gauge compressed them, in ``file``, for contents that have the same.

    ``packages`` are known by the SHA-256 of their listings, ``archives`` by their numbers.
    """

    file: BinaryIO
    packages: dict[str, Run] = field(default_factory=dict)
    archives: dict[int, Run] = field(default_factory=dict)

    def packages_alone(self) -> KeptRuns:
        """The same without archives."""
        return KeptRuns(file=self.file, packages=self.packages)


class _ContentsLines:
    """The lines of contents in order: packages, each with its listing, then archives."""

    _stream: LineStream
    _keep: BinaryIO | None = None

    def _begin(self, *, parcel: str, packages: int, archives: int) -> None:
        self._stream.put(_Header(parcel=parcel, packages=packages, archives=archives).json() + b"\n")

    def package(self, header: PackageHeader, lines: Iterable[bytes]) -> None:
        """Write a package and the ``lines`` of its listing, each with its newline."""
        self._stream.put(header.json() + b"\n")
        if header.listing.entries >= APART:
            self._package_run(header, self._stream.apart(lines, self._keep))
            return
        for line in lines:
            self._stream.put(line)

    def archive(self, number: int, members: Sequence[MemberRecord]) -> None:
        """Write the member list of an archive."""
        self._archive_row(number, len(members))
        if len(members) >= APART:
            pieces = (members[at : at + APART] for at in range(0, len(members), APART))
            run = self._stream.apart(map(MEMBER_LINES.encode, pieces), self._keep)
            self._archive_run(number, Run(at=run.at, size=run.size, lines=len(members)))
        else:
            self._stream.put(MEMBER_LINES.encode(members))

    def _archive_row(self, number: int, members: int) -> None:
        self._stream.put(_HEADER_LINES.line(_ArchiveRow(archive=number, members=members)))

    def _package_run(self, header: PackageHeader, run: Run) -> None:
        """Take note of the lines of a listing, which were compressed apart."""

    def _archive_run(self, number: int, run: Run) -> None:
        """Take note of the lines of an archive, which were compressed apart."""

    def delta(self, versions: Sequence[BaseVersionRow], recipes: Iterable[bytes], *, lines: int) -> None:
        """Write the section with the ``versions`` that the parcel builds on, after the archives.

        ``recipes`` are the lines of all recipes, as `DELTA_LINES` writes them, ``lines`` in number.
        """
        self._stream.put(_HEADER_LINES.line(_SectionRow(kind=DELTA, lines=len(versions) + lines)))
        self._stream.put(DELTA_LINES.encode(versions))
        for data in recipes:
            self._stream.put(data)


class ContentsWriter(_ContentsLines):
    """Writes contents. Close it to finish the file."""

    def __init__(
        self, out: BinaryIO, *, parcel: str, packages: int, archives: int, kept: KeptRuns | None = None
    ) -> None:
        """``out`` gets the gzip stream; it is not closed. ``kept``: what need not be compressed again."""
        self._stream = LineStream(out.write)
        self._kept = kept
        self._begin(parcel=parcel, packages=packages, archives=archives)

    def package(self, header: PackageHeader, lines: Iterable[bytes]) -> None:
        """See above; the ``lines`` are not asked for where they are kept."""
        run = None if self._kept is None else self._kept.packages.get(header.listing.sha256)
        if self._kept is None or run is None:
            super().package(header, lines)
            return
        self._stream.put(header.json() + b"\n")
        self._stream.again(run, self._kept.file)

    def kept_archive(self, number: int) -> bool:
        """Write the member list of an archive if it is kept; whether it was."""
        run = None if self._kept is None else self._kept.archives.get(number)
        if self._kept is None or run is None:
            return False
        self._archive_row(number, run.lines)
        self._stream.again(run, self._kept.file)
        return True

    def close(self) -> None:
        """Finish the gzip stream."""
        self._stream.finish()


class ContentsGauge(_ContentsLines):
    """The size of contents that are not written; a copy of it goes on with other archives for the same packages.

    What is compressed apart is kept in the file ``keep``, those archives that the last copy was told.
    """

    def __init__(self, *, parcel: str, packages: int, archives: int, keep: BinaryIO | None = None) -> None:
        self._count = 0
        self._stream = LineStream(self._add)
        self._keep = keep
        self._kept = KeptRuns(file=keep) if keep is not None else None
        self._last: KeptRuns | None = None
        self._begin(parcel=parcel, packages=packages, archives=archives)

    def _add(self, data: bytes) -> None:
        self._count += len(data)

    def _package_run(self, header: PackageHeader, run: Run) -> None:
        if self._kept is not None:
            self._kept.packages[header.listing.sha256] = run

    def _archive_run(self, number: int, run: Run) -> None:
        if self._kept is not None:
            self._kept.archives[number] = run

    @property
    def kept(self) -> KeptRuns | None:
        """What was compressed apart."""
        return self._kept

    def copy(self) -> ContentsGauge:
        """Another one, which has counted the same so far. The archives that an earlier copy was told are forgotten."""
        other = copy(self)
        other._stream = self._stream.copy(other._add)
        other._count = self._count
        if self._kept is not None:
            if self._last is not None:
                self._last.archives.clear()
            end = max((run.at + run.size for run in self._kept.packages.values()), default=0)
            self._kept.file.seek(end)
            self._kept.file.truncate()
            self._last = other._kept = self._kept.packages_alone()
        return other

    @property
    def size(self) -> int:
        """Bytes of the contents so far, were they finished now."""
        other = copy(self)
        other._stream = self._stream.copy(other._add)
        other._count = self._count
        other._stream.finish()
        return other._count


class _Lines(io.RawIOBase):
    """What one gzip stream holds, as raw bytes; nothing may follow it (`gzip.GzipFile` would take more streams)."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._inflate = zlib.decompressobj(wbits=31)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._inflate.eof:
            pending = self._inflate.unconsumed_tail or self._source.read(1 << 16)
            try:
                data = self._inflate.decompress(pending, len(buffer))
            except zlib.error:
                raise MalformedError("not a gzip stream, or altered", place="contents") from None
            if data:
                buffer[: len(data)] = data
                return len(data)
            if not pending:
                raise MalformedError("gzip stream is cut short", place="contents")
        if self._inflate.unused_data or self._source.read(1):
            raise MalformedError("goes on after the end of the gzip stream", place="contents")
        return 0


class ContentsReader:
    """Reads contents in one pass: call `packages` to its end, then `archives` to its end.

    Raises `MalformedError`, `IllegalNameError`, `TooLargeError` or `UnknownFormatError` on the way; never holds more
    than one line and one archive's member list.
    """

    def __init__(self, source: BinaryIO, *, parcel: str, archives: int) -> None:
        buffered = cast(BinaryIO, io.BufferedReader(_Lines(source), 1 << 18))
        self._lines = LineReader(buffered, longest=MAX_LINE, place="contents")
        header = read_named(_Header, self._lines.line() or b"", place="contents")
        if header.parcel != parcel:
            raise UnexpectedError(f"contents are of parcel {header.parcel}, not {parcel}", place="contents.parcel")
        if header.archives != archives:
            raise MalformedError(f"{header.archives} archives where there are {archives}", place="contents.archives")
        self._packages, self._archives = header.packages, archives

    def _line(self) -> bytes:
        line = self._lines.line()
        if line is None:
            raise MalformedError("ends early", place="contents")
        return line

    def packages(self) -> Iterator[tuple[PackageHeader, Iterator[Entry]]]:
        """Each package with its entries, which must be read to their end before the next package is asked for."""
        seen: set[tuple[str, int]] = set()
        for n in range(self._packages):
            place = f"contents.packages[{n}]"
            header = read(PackageHeader, self._line(), place=place)
            if (header.package, header.version) in seen:
                raise MalformedError(f"{header.package}:{header.version} is listed twice", place=place)
            seen.add((header.package, header.version))
            yield header, self._entries(header)

    def _entries(self, header: PackageHeader) -> Iterator[Entry]:
        check = ListingCheck()
        name = f"{header.package}:{header.version}"
        rows = read_rows(self._lines, LINES, count=header.listing.entries, place=lambda n: f"{name}[{n}]")
        for entry, line in rows:
            check.add(entry, line)
            yield entry
        if check.summary() != header.listing:
            raise MalformedError("listing does not have the digest and sums given for it", place=name)

    def archives(self) -> Iterator[tuple[int, list[MemberRecord]]]:
        """Each archive's number and members, names distinct even where case and Unicode form are ignored."""
        for number in range(1, self._archives + 1):
            place = f"contents.archives[{number}]"
            row = _header_row(self._line(), place)
            if not isinstance(row, _ArchiveRow):
                raise MalformedError("a section where an archive is due", place=place)
            if row.archive != number:
                raise MalformedError(f"{row.archive} where {number} is due", place=f"{place}.archive")
            yield number, self._members(row.members, place)

    def delta(self) -> DeltaReader | None:
        """The section that says on which versions the parcel builds; None where it builds on none.

        Raises `UnknownFormatError` for a section that this release does not know, `MalformedError` for anything else.
        """
        line = self._lines.line()
        if line is None:
            return None
        row = _header_row(line, "contents")
        if not isinstance(row, _SectionRow):
            raise MalformedError("goes on after its end", place="contents")
        if row.kind != DELTA:
            raise UnknownFormatError(f"a section {row.kind!a}, which this release does not know", place="contents")
        return DeltaReader(self._lines, row.lines)

    def _members(self, count: int, place: str) -> list[MemberRecord]:
        rows = read_rows(self._lines, MEMBER_LINES, count=count, place=lambda n: f"{place}[{n}]")
        members = [member for member, _ in rows]
        if len({fold(member.name) for member in members}) != len(members):
            raise MalformedError("two members of the same name", place=place)
        return members


class DeltaReader:
    """The section of a parcel's contents that says how contents are made from those of other versions.

    ``versions``: those it builds on. Call `recipes` to its end: the contents end there, too.
    """

    def __init__(self, lines: LineReader, count: int) -> None:
        """``lines`` stand behind the first line of the section, which says that it has ``count`` more."""
        self._reader = lines
        self._rows = (row for row, _ in read_rows(lines, DELTA_LINES, count=count, place=_delta_place))
        self._at = 0
        self._count = count
        versions: list[BaseVersionRow] = []
        self._next = self._row()
        while isinstance(self._next, BaseVersionRow):
            versions.append(self._next)
            if len(versions) > MAX_BASE_VERSIONS:
                raise MalformedError(f"more than {MAX_BASE_VERSIONS} versions", place=self._place())
            self._next = self._row()
        if not versions or not in_order(versions):
            raise MalformedError("versions that it builds on, one or more, each once, in order", place=_delta_place(0))
        self.versions = tuple(versions)

    def _place(self) -> str:
        return _delta_place(self._at - 1)

    def _row(self) -> BaseVersionRow | RecipeRow | StepRow | None:
        self._at += 1
        return next(self._rows, None)

    def recipes(self) -> Iterator[tuple[RecipeRow, Iterator[StepRow]]]:
        """Each recipe with its steps, judged; these must be read to their end before the next recipe is asked for.

        Raises `MalformedError` for a recipe that does not make just its content, one that is made twice, and one that
        copies from a content which another recipe makes.
        """
        made: set[bytes] = set()
        bases: set[bytes] = set()
        while self._next is not None:
            recipe, place = self._next, self._place()
            if not isinstance(recipe, RecipeRow):
                raise MalformedError("a recipe is due", place=place)
            if bytes.fromhex(recipe.sha256) in made:
                raise MalformedError(f"content {recipe.sha256} is made twice", place=place)
            made.add(bytes.fromhex(recipe.sha256))
            bases.update(bytes.fromhex(sha256) for sha256, _ in recipe.bases)
            if not made.isdisjoint(bases):
                raise MalformedError("copies from a content that a recipe makes", place=join(place, "bases"))
            yield recipe, self._steps(recipe, place)
            self._next = self._row()
        if self._reader.line() is not None:
            raise MalformedError("goes on after its end", place="contents")

    def _steps(self, recipe: RecipeRow, place: str) -> Iterator[StepRow]:
        check = RecipeCheck(recipe)
        for _ in range(recipe.steps):
            step = self._row()
            if step is None or isinstance(step, (BaseVersionRow, RecipeRow)):
                raise MalformedError("ends before its last step", place=place)
            try:
                check.add(step)
            except FormatError as error:
                raise type(error)(error.message, place=join(self._place(), error.place)) from None
            yield step
        try:
            check.finish()
        except FormatError as error:
            raise type(error)(error.message, place=join(place, error.place)) from None


def _delta_place(number: int) -> str:
    return f"contents.delta[{number}]"
