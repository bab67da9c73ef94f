"""The contents of a parcel: its packages with their listings, and what lies in every archive.

JSON lines, gzip-compressed (RFC 1952) and, in an encrypted parcel, encrypted after that. First a header; then for each
package a line that names it, followed by the lines of its listing; then for each archive a line that counts its
members, followed by a line a member, in stored order. A member holds a run of bytes of one content: whole files as
their path in the package, a file cut in parts as ``path.001``, ``path.002``, with the suffix of the member's codec.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from formats.codecs import CODECS, NAMES
from formats.documents.listing import (
    Entry,
    ListingCheck,
    ListingSummary,
    entry_line,
    parse_entry,
    read_lines,
)
from formats.errors import MalformedError, TooLargeError, UnexpectedError, UnknownFormatError
from formats.names import MAX_VERSION, check_member, check_package, check_parcel, fold
from formats.records import Fields, decode, encode

HEADER = "courier-contents/1"
MAX_MEMBERS = 65_536
"""Members in one archive, so that an archive's own list always fits in memory."""
MAX_PACKAGES = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageHeader:
    """A package version in a parcel; its name as the sender has it, and the summary of its listing."""

    package: str
    version: int
    name: str
    listing: ListingSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberRecord:
    """One member of an archive: a run of bytes of one content.

    ``size`` bytes are stored under ``name``; they hold ``length`` bytes from ``offset`` of the content whose SHA-256
    is ``sha256`` and whose whole size is ``of`` bytes. ``coding`` names the codec (`formats.codecs.CODECS`).
    """

    name: str
    size: int
    sha256: str
    of: int
    offset: int
    length: int
    coding: str

    def line(self) -> bytes:
        """The member's line, with its newline."""
        return (
            encode(
                {
                    "name": self.name,
                    "size": self.size,
                    "sha256": self.sha256,
                    "of": self.of,
                    "offset": self.offset,
                    "length": self.length,
                    "coding": self.coding,
                }
            )
            + b"\n"
        )

    @classmethod
    def parse(cls, line: bytes, *, place: str) -> MemberRecord:
        """From a line; raises `MalformedError` or `IllegalNameError`."""
        fields = Fields(decode(line, place=place), place)
        member = cls(
            name=check_member(fields.text("name"), place=fields.at("name")),
            size=fields.integer("size", minimum=1),
            sha256=fields.digest("sha256"),
            of=fields.integer("of", minimum=1),
            offset=fields.integer("offset"),
            length=fields.integer("length", minimum=1),
            coding=fields.text("coding", pattern=NAMES),
        )
        if member.offset + member.length > member.of:
            raise MalformedError("reaches past the end of its content", place=fields.at("length"))
        if CODECS[member.coding].as_is and member.size != member.length:
            raise MalformedError("a stored member has the size of what it holds", place=fields.at("size"))
        return member


class ContentsWriter:
    """Writes contents in order: packages, each with its entries, then archives. Close it to finish the file."""

    def __init__(self, out: BinaryIO, *, parcel: str, packages: int, archives: int) -> None:
        """``out`` gets the gzip stream; it is not closed."""
        # mtime=0 and no file name: the same contents make the same bytes.
        packed = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=out, mtime=0)
        self._lines = io.BufferedWriter(packed, 1 << 16)
        header = {"format": HEADER, "parcel": parcel, "packages": packages, "archives": archives}
        self._lines.write(encode(header) + b"\n")

    def package(self, header: PackageHeader, entries: Iterable[Entry]) -> None:
        """Write a package and its listing."""
        record = {
            "package": header.package,
            "version": header.version,
            "name": header.name,
            "listing": header.listing.record(),
        }
        self._lines.write(encode(record) + b"\n")
        for entry in entries:
            self._lines.write(entry_line(entry))

    def archive(self, number: int, members: Sequence[MemberRecord]) -> None:
        """Write the member list of an archive."""
        self._lines.write(encode({"archive": number, "members": len(members)}) + b"\n")
        for member in members:
            self._lines.write(member.line())

    def close(self) -> None:
        """Finish the gzip stream."""
        self._lines.close()


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
        self._lines = read_lines(buffered, place="contents")
        fields = Fields(decode(next(self._lines, b""), place="contents:1"), "contents")
        if fields.text("format") != HEADER:
            raise UnknownFormatError(f"not {HEADER}", place="contents.format")
        found = check_parcel(fields.text("parcel"), place=fields.at("parcel"))
        if found != parcel:
            raise UnexpectedError(f"contents are of parcel {found}, not {parcel}", place=fields.at("parcel"))
        self._packages = fields.integer("packages", minimum=1, maximum=MAX_PACKAGES)
        self._archives = fields.integer("archives", minimum=archives, maximum=archives)

    def _line(self) -> bytes:
        line = next(self._lines, None)
        if line is None:
            raise MalformedError("ends early", place="contents")
        return line

    def packages(self) -> Iterator[tuple[PackageHeader, Iterator[Entry]]]:
        """Each package with its entries, which must be read to their end before the next package is asked for."""
        seen: set[tuple[str, int]] = set()
        for n in range(self._packages):
            place = f"contents.packages[{n}]"
            fields = Fields(decode(self._line(), place=place), place)
            header = PackageHeader(
                package=check_package(fields.text("package"), place=fields.at("package")),
                version=fields.integer("version", minimum=1, maximum=MAX_VERSION),
                name=fields.text("name", longest=1000),
                listing=ListingSummary.parse(fields.object("listing")),
            )
            if (header.package, header.version) in seen:
                raise MalformedError(f"{header.package}:{header.version} stands twice", place=place)
            seen.add((header.package, header.version))
            yield header, self._entries(header)

    def _entries(self, header: PackageHeader) -> Iterator[Entry]:
        check = ListingCheck()
        place = f"{header.package}:{header.version}"
        for n in range(header.listing.entries):
            line = self._line()
            entry = parse_entry(line, place=f"{place}[{n}]")
            check.add(entry, line + b"\n")
            yield entry
        if check.summary() != header.listing:
            raise MalformedError("listing does not have the digest and sums given for it", place=place)

    def archives(self) -> Iterator[tuple[int, list[MemberRecord]]]:
        """Each archive's number and members, names distinct even where case and Unicode form are ignored."""
        for n in range(1, self._archives + 1):
            place = f"contents.archives[{n}]"
            fields = Fields(decode(self._line(), place=place), place)
            fields.integer("archive", minimum=n, maximum=n)
            count = fields.integer("members", minimum=1)
            if count > MAX_MEMBERS:
                raise TooLargeError(f"more than {MAX_MEMBERS} members", place=place)
            members = [MemberRecord.parse(self._line(), place=f"{place}[{m}]") for m in range(count)]
            if len({fold(member.name) for member in members}) != count:
                raise MalformedError("two members of the same name", place=place)
            yield n, members
        if next(self._lines, None) is not None:
            raise MalformedError("goes on after its end", place="contents")
