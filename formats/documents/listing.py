"""The listing of a package version: every file, folder and link it holds, one canonical JSON line each.

Entries stand in path order (component by component, so that a folder comes right before what is in it), every folder
is listed, and the SHA-256 of the lines is the identity of the content. Streams in both directions: a listing of a
million entries is never in memory as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO

from formats.digest import sha256_hex
from formats.documents.fields import Path
from formats.errors import FormatError, IllegalNameError, MalformedError, TooLargeError
from formats.names import check_link, check_path
from formats.records import Count, Digest, Key, Record, Text, Time, read

MAX_LINE = 1 << 18
"""Bytes in one line: a path of 32,000 and a link target of 4,095 control characters, six bytes each in JSON, fit."""
EMPTY = sha256_hex(b"")
"""SHA-256 of no bytes."""

Modified = Annotated[Time, Key("mtime")]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEntry(Record):
    """A regular file: ``size`` in bytes, ``sha256`` of its content, ``mtime_ns`` UTC, and its executable bit."""

    TAG = ("kind", "file")

    path: Path
    size: Count
    sha256: Digest
    mtime_ns: Modified
    executable: bool

    def check(self) -> None:
        """Raise `MalformedError` for an empty file with another digest than that of no bytes, or the reverse.

        Empty files are made, not looked up, so an empty file's digest would never be checked.
        """
        if (self.size == 0) != (self.sha256 == EMPTY):
            raise MalformedError("the SHA-256 of no bytes goes with size 0, and no other", place="sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderEntry(Record):
    """A folder."""

    TAG = ("kind", "folder")

    path: Path
    mtime_ns: Modified


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkEntry(Record):
    """A symbolic link that stays inside the package."""

    TAG = ("kind", "link")

    path: Path
    target: Text
    mtime_ns: Modified

    def check(self) -> None:
        """Raise `IllegalNameError` for a link that leads out of the package."""
        check_link(self.path, self.target, place="target")


Entry = FileEntry | FolderEntry | LinkEntry
_ANY_ENTRY: Any = Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class ListingSummary(Record):
    """What identifies a listing: SHA-256 of its lines, number of entries and files, bytes of all files."""

    sha256: Digest
    entries: Count
    files: Count
    bytes: Count


def path_key(path: str) -> list[bytes]:
    """The order of a listing: by component, each compared as UTF-8 bytes."""
    return path.encode("utf-8", "surrogatepass").split(b"/")


def entry_line(entry: Entry) -> bytes:
    """The line of ``entry``, with its newline."""
    return entry.json() + b"\n"


def parse_entry(line: bytes, *, place: str = "") -> Entry:
    """The entry of one line (without newline); raises `MalformedError` or `IllegalNameError`."""
    entry: Entry = read(_ANY_ENTRY, line, place=place)
    return entry


class ListingCheck:
    """Judges a listing entry by entry and sums it up: order, parents, links, digest.

    Feed every entry with its line through `add`; `summary` gives the result. Raises `MalformedError` when an entry is
    out of order, is listed twice or has no folder listed above it (so no entry passes through a link).
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._last: list[bytes] = []
        self._folders: list[bytes] = []
        self._entries = self._files = self._bytes = 0

    def add(self, entry: Entry, line: bytes) -> None:
        """Take the next entry; ``line`` is with its newline."""
        key = path_key(entry.path)
        if key <= self._last:
            raise MalformedError("out of order or listed twice", place=entry.path)
        parent = key[:-1]
        while self._folders != parent[: len(self._folders)]:
            self._folders.pop()
        if self._folders != parent:
            raise MalformedError("its folder is not listed", place=entry.path)
        if isinstance(entry, FolderEntry):
            self._folders = key
        elif isinstance(entry, FileEntry):
            self._files += 1
            self._bytes += entry.size
        self._last = key
        self._entries += 1
        self._hash.update(line)

    def summary(self) -> ListingSummary:
        """The summary of what has been added."""
        return ListingSummary(
            sha256=self._hash.hexdigest(), entries=self._entries, files=self._files, bytes=self._bytes
        )


def read_lines(source: BinaryIO, *, place: str) -> Iterator[bytes]:
    """The newline-ended lines of ``source``, without the newline; raises `TooLargeError` or `MalformedError`."""
    number = 0
    while line := source.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise TooLargeError(f"line longer than {MAX_LINE} bytes", place=f"{place}:{number}")
        if not line.endswith(b"\n"):
            raise MalformedError("last line is cut short", place=f"{place}:{number}")
        yield line[:-1]


def read_listing(
    source: BinaryIO, *, expected: ListingSummary | None = None, place: str = "listing"
) -> Iterator[Entry]:
    """The entries of a listing, judged on the way; at its end it must match ``expected`` if given.

    Raises `MalformedError`, `IllegalNameError`, `TooLargeError`; also at the end, when the listing is not the expected
    one.
    """
    check = ListingCheck()
    for number, line in enumerate(read_lines(source, place=place), 1):
        entry = parse_entry(line, place=f"{place}:{number}")
        check.add(entry, line + b"\n")
        yield entry
    if expected is not None and check.summary() != expected:
        raise MalformedError("is not the listing its package definition names", place=place)


def write_listing(entries: Iterable[Entry], out: BinaryIO) -> ListingSummary:
    """Write ``entries`` (in path order) as lines and return their summary; raises as `ListingCheck.add` does."""
    check = ListingCheck()
    for entry in entries:
        try:
            line = entry_line(entry)
            check_path(entry.path)
            if isinstance(entry, LinkEntry):
                check_link(entry.path, entry.target)
        except UnicodeEncodeError:
            raise IllegalNameError("name is not valid Unicode", place=ascii(entry.path)) from None
        except FormatError as error:
            raise type(error)(error.message, place=error.place or entry.path) from None
        check.add(entry, line)
        out.write(line)
    return check.summary()
