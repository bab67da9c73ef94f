"""Members of archives that other tools made, whatever their format, and where their bytes go."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from formats.errors import MalformedError, TooLargeError

MAX_FILES = 262_144
"""Files and folders in an archive at most: py7zr keeps about 3 KB for each."""
MAX_RATIO = 10_000
"""How many times its own size the content of an archive may have; a file of zeros packs some 7,000 times."""
MAX_TARGET = 4095
"""Bytes of a symbolic link's target at most."""


class Kind(Enum):
    """What a member of an archive is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "symbolic link"
    SAME = "hard link"


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignMember:
    """One member: its path as a package takes it, ``size`` in bytes, time (UTC, nanoseconds) and permission bits.

    ``mtime_ns`` and ``mode`` are None where the archive does not tell them. ``target``: what a symbolic link holds, or
    the path of the file that a hard link is a further name of.
    """

    path: str
    kind: Kind
    size: int
    mtime_ns: int | None
    mode: int | None
    target: str = ""


class Sink(Protocol):
    """Where the bytes of one file go."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""

    def close(self) -> None:
        """All bytes have come; that they have their checksum is known once reading goes on."""


def is_damage(error: OSError) -> bool:
    """Whether a decoder raised this for bytes that are not what they say; the system's own errors have a number.

    bz2 does so: "Invalid data stream".
    """
    return error.errno is None


class Counted:
    """A sink that takes just the bytes its member declares; raises `TooLargeError` or `MalformedError` otherwise."""

    def __init__(self, member: ForeignMember, sink: Sink) -> None:
        self._member = member
        self._sink = sink
        self.count = 0

    def write(self, data: bytes, /) -> int:
        """Take the next bytes."""
        self.count += len(data)
        if self.count > self._member.size:
            raise TooLargeError(f"more than the {self._member.size} bytes declared", place=self._member.path)
        self._sink.write(data)
        return len(data)

    def close(self) -> None:
        """End the member, which must be whole."""
        if self.count != self._member.size:
            raise MalformedError(f"{self.count} bytes where {self._member.size} are declared", place=self._member.path)
        self._sink.close()


class LinkTarget:
    """A sink that keeps what a symbolic link points to."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes, /) -> None:
        """Take the next bytes, `MAX_TARGET` in all at most."""
        self._data += data
        if len(self._data) > MAX_TARGET:
            raise TooLargeError(f"link target of more than {MAX_TARGET} bytes")

    def close(self) -> None:
        """Nothing more comes."""

    def text(self, *, place: str) -> str:
        """The target; raises `MalformedError` where it is not UTF-8."""
        try:
            return self._data.decode()
        except UnicodeDecodeError:
            raise MalformedError("link target is not valid UTF-8", place=place) from None
