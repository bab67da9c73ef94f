"""The listing of a package version: every file, folder and link it holds, one canonical JSON array a line.

Entries stand in path order (component by component, so that a folder comes right before what is in it), every folder
is listed, and the SHA-256 of the lines is the identity of the content. Streams in both directions: a listing of a
million entries is never in memory as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, BinaryIO

from formats.blocks import BLOCK
from formats.digest import sha256_hex
from formats.errors import FormatError, IllegalNameError, MalformedError, TooLargeError
from formats.holes import BLOCK as HOLE_BLOCK
from formats.holes import check_holes, hole_bytes
from formats.names import MAX_PATH, MAX_TARGET, check_path, check_target
from formats.records import (
    MAX_INT,
    Count,
    Digest,
    LineCodec,
    LineReader,
    Record,
    Row,
    changed,
    integer,
    matching,
    read_rows,
)

MAX_LINE = 1 << 21
"""Bytes in one line with its newline: a path of 4,000 control characters, six bytes each in JSON, and 65,536 holes of
a file of up to 64 PiB fit."""
MAX_AWAITED = 1 << 27
"""Bytes that are kept at most for files whose further names are still to come; this bounds the memory of a reader."""
_LONGEST_PLAIN = 6 * (MAX_PATH + MAX_TARGET) + 512
"""Bytes of the longest line without holes: two texts, six bytes for each of theirs, two digests and some numbers."""
_LONGEST_RUN = 2 * 21
"""Bytes that a hole, and the data before it, take in a line at most."""
_TOGETHER = 256
"""Entries that are written together."""
_AWAITED = 200
"""Bytes beside its path that a file takes there."""
EMPTY = sha256_hex(b"")
"""SHA-256 of no bytes."""
FIRST_TIME, LAST_TIME = -62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1
"""The first and last time that an entry can have, years 1 to 9999, in nanoseconds since 1970 (UTC)."""

Mode = Annotated[int, integer(0, 0o7777)]
"""Permission bits with set-user-ID, set-group-ID and sticky, as POSIX has them."""
BlockTable = Annotated[str, matching("([0-9a-f]{64})?")]
"""SHA-256 of a content's block table: 32 bytes for each block of 1 MiB. Empty for a content of one block or less."""


class FileEntry(Row, tag="f", frozen=True, kw_only=True):
    """A regular file.

    ``mtime_ns`` is in nanoseconds since 1970 (UTC), ``size`` in bytes, ``sha256`` over all its bytes, the zeros of
    holes included. ``blocks``: see `BlockTable`. ``holes``: its hole map (`formats.holes`). ``further_names``: how many
    `HardLinkEntry` name this file.
    """

    path: str
    mtime_ns: int
    mode: Mode
    size: Count
    sha256: Digest
    blocks: BlockTable = ""
    holes: tuple[Count, ...] = ()
    further_names: Count = 0


class FolderEntry(Row, tag="d", frozen=True, kw_only=True):
    """A folder; ``mtime_ns`` in nanoseconds since 1970 (UTC)."""

    path: str
    mtime_ns: int
    mode: Mode


class LinkEntry(Row, tag="l", frozen=True, kw_only=True):
    """A symbolic link. ``target`` is kept as data, wherever it leads; nothing here follows it."""

    path: str
    mtime_ns: int
    target: str


class HardLinkEntry(Row, tag="h", frozen=True, kw_only=True):
    """A further name of the file at ``first``, which stands earlier in the listing and is a `FileEntry`."""

    path: str
    first: str


Entry = FileEntry | FolderEntry | LinkEntry | HardLinkEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class ListingSummary(Record):
    """What identifies a listing: SHA-256 of its lines, number of entries and files, bytes of all files.

    A file with several names counts once. ``holes``: how many of the bytes are zeros in holes, which take no room where
    the file system can leave them out.
    """

    sha256: Digest
    entries: Count
    files: Count
    bytes: Count
    holes: Count

    def check(self) -> None:
        """Raise `MalformedError` where there are more bytes in holes than in all files."""
        if self.holes > self.bytes:
            raise MalformedError(f"more than the {self.bytes} bytes of all files", place="holes")

    @property
    def allocated(self) -> int:
        """Bytes that the files take on a disk whose file system knows holes."""
        return self.bytes - self.holes

    @property
    def longest(self) -> int:
        """Bytes that a listing with this summary has at most."""
        runs = self.holes // HOLE_BLOCK + self.files  # every hole has a block at least, but for one at a file's end
        return min(self.entries * MAX_LINE, self.entries * _LONGEST_PLAIN + runs * _LONGEST_RUN)


def path_key(path: str) -> list[bytes]:
    """The order of a listing: by component, each compared as UTF-8 bytes."""
    return path.encode("utf-8", "surrogatepass").split(b"/")


def _judge(entry: Entry) -> None:
    """Raise `FormatError` for an entry that breaks a rule which concerns it alone."""
    check_path(entry.path, place="path")
    match entry:
        case FileEntry():
            # Empty files are made, not looked up, so an empty file's digest would never be checked.
            if (entry.size == 0) != (entry.sha256 == EMPTY):
                raise MalformedError("the SHA-256 of no bytes goes with size 0, and no other", place="sha256")
            if (entry.size > BLOCK) != bool(entry.blocks):
                raise MalformedError(
                    f"a file of more than {BLOCK} bytes has a block table, and no other", place="blocks"
                )
            if entry.holes:
                check_holes(entry.holes, entry.size)
        case LinkEntry():
            check_target(entry.target, place="target")
        case HardLinkEntry():
            check_path(entry.first, place="first")
            return
    if not FIRST_TIME <= entry.mtime_ns <= LAST_TIME:
        raise MalformedError("a time outside the years 1 to 9999", place="mtime_ns")


LINES: LineCodec[Entry] = LineCodec(Entry, _judge)
"""Reads and writes the lines of a listing."""


class ListingCheck:
    """Judges a listing entry by entry and sums it up: order, parents, hard links, digest.

    Feed every entry with its line through `add`; `summary` gives the result. Raises `MalformedError` when an entry is
    out of order, is listed twice or has no folder listed above it (so no entry passes through a link), and when the
    further names of a file are not as many as it says; `TooLargeError` beyond `MAX_AWAITED`, and when all files
    together have more bytes than an integer of ours counts.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._folder: bytes | None = None
        """The folder of the last entry, which is listed; None before the first."""
        self._name = b""
        """Its name there."""
        self._folders: list[bytes] = []
        """The folder that was listed last, or one above it."""
        self._entries = self._files = self._bytes = self._holes = 0
        self._names: dict[str, int] = {}
        """How many further names are still to come, for each file that has such."""
        self._awaited = 0
        """The bytes that these take."""

    def add(self, entry: Entry, line: bytes) -> None:
        """Take the next entry; ``line`` is with its newline."""
        self.add_entry(entry)
        self.add_lines(line)

    def add_lines(self, lines: bytes) -> None:
        """Take the lines of entries that were taken by `add_entry`, each with its newline."""
        self._hash.update(lines)

    def add_entry(self, entry: Entry) -> None:
        """Take the next entry without its line, which is to come before the `summary`."""
        path = entry.path.encode("utf-8", "surrogatepass")
        folder, _, name = path.rpartition(b"/")
        if folder != self._folder or name <= self._name:
            self._enter(path, entry.path)
        self._folder, self._name = folder, name
        self._entries += 1
        if isinstance(entry, FileEntry):
            self._files += 1
            self._bytes += entry.size
            if self._bytes > MAX_INT:
                raise TooLargeError(f"with it, all files together have more than {MAX_INT} bytes", place=entry.path)
            if entry.holes:
                self._holes += hole_bytes(entry.holes)
            if entry.further_names:
                self._await_names(entry)
        elif isinstance(entry, FolderEntry):
            self._folders = path.split(b"/")
        elif isinstance(entry, HardLinkEntry):
            self._take_name(entry)

    def _enter(self, path: bytes, place: str) -> None:
        """Judge an entry that does not simply follow the last one in its folder."""
        key = path.split(b"/")
        if self._folder is not None:
            above = self._folder.split(b"/") if self._folder else []
            if key <= [*above, self._name]:
                raise MalformedError("out of order or listed twice", place=place)
        parent = key[:-1]
        while self._folders != parent[: len(self._folders)]:
            self._folders.pop()
        if self._folders != parent:
            raise MalformedError("its folder is not listed", place=place)

    def _await_names(self, entry: FileEntry) -> None:
        self._names[entry.path] = entry.further_names
        self._awaited += len(entry.path) + _AWAITED
        if self._awaited > MAX_AWAITED:
            raise TooLargeError("too many files whose further names are still to come", place=entry.path)

    def _take_name(self, entry: HardLinkEntry) -> None:
        left = self._names.pop(entry.first, 0)
        if not left:
            raise MalformedError(f"no file with a further name stands at {entry.first!a}", place=entry.path)
        if left > 1:
            self._names[entry.first] = left - 1
        else:
            self._awaited -= len(entry.first) + _AWAITED

    def summary(self) -> ListingSummary:
        """The summary of what has been added; raises `MalformedError` where further names are missing."""
        if self._names:
            raise MalformedError("has fewer further names than it says", place=next(iter(self._names)))
        return ListingSummary(
            sha256=self._hash.hexdigest(),
            entries=self._entries,
            files=self._files,
            bytes=self._bytes,
            holes=self._holes,
        )


def read_listing(
    source: BinaryIO, *, expected: ListingSummary | None = None, place: str = "listing"
) -> Iterator[Entry]:
    """The entries of a listing, judged on the way; at its end it must match ``expected`` if given.

    Raises `MalformedError`, `IllegalNameError`, `TooLargeError` and `UnknownFormatError`; also at the end, when the
    listing is not the expected one.
    """
    for entry, _ in read_listing_rows(source, expected=expected, place=place):
        yield entry


def read_listing_rows(
    source: BinaryIO, *, expected: ListingSummary | None = None, place: str = "listing"
) -> Iterator[tuple[Entry, bytes]]:
    """As `read_listing`, each entry with its line and newline."""
    check = ListingCheck()
    reader = LineReader(source, longest=MAX_LINE, place=place)
    for entry, line in read_rows(reader, LINES, place=lambda n: f"{place}:{n + 1}"):
        check.add(entry, line)
        yield entry, line
    found = check.summary()
    if expected is not None and found != expected:
        raise MalformedError("is not the listing its package definition names", place=place)


def without_hard_links(entries: Iterable[Entry]) -> Iterator[FileEntry | FolderEntry | LinkEntry]:
    """The entries with each further name of a file as a file of its own, for what knows no hard links."""
    several_names: dict[str, FileEntry] = {}
    for entry in entries:
        if isinstance(entry, HardLinkEntry):
            file = several_names.pop(entry.first)
            if file.further_names > 1:
                several_names[entry.first] = changed(file, further_names=file.further_names - 1)
            yield changed(file, path=entry.path, further_names=0)
        elif isinstance(entry, FileEntry) and entry.further_names:
            several_names[entry.path] = entry
            yield changed(entry, further_names=0)
        else:
            yield entry


def write_listing(entries: Iterable[Entry], out: BinaryIO) -> ListingSummary:
    """Write ``entries`` (in path order) as lines and return their summary; raises as `ListingCheck.add` does."""
    check = ListingCheck()
    every = iter(entries)
    while batch := list(islice(every, _TOGETHER)):
        lines = _lines_of(batch)
        for entry in batch:
            check.add_entry(entry)
        check.add_lines(lines)
        out.write(lines)
    return check.summary()


def _lines_of(entries: Sequence[Entry]) -> bytes:
    """The lines of ``entries``; raises as `entry_line` does."""
    try:
        lines = LINES.lines(entries)
    except (FormatError, UnicodeEncodeError):
        return b"".join(map(entry_line, entries))
    return lines if len(lines) <= MAX_LINE else b"".join(map(entry_line, entries))


def entry_line(entry: Entry) -> bytes:
    """The line of ``entry``, with its newline; raises `FormatError` where no listing may hold it."""
    try:
        line = LINES.line(entry)
    except UnicodeEncodeError:
        raise IllegalNameError("name is not valid Unicode", place=ascii(entry.path)) from None
    except FormatError as error:
        raise type(error)(error.message, place=entry.path) from None
    if len(line) > MAX_LINE:
        raise TooLargeError(f"line longer than {MAX_LINE} bytes", place=entry.path)
    return line
