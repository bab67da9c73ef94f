"""7z archives for other tools to read, written through py7zr: all files of a package, packed with LZMA2 or stored.

The same members make the same bytes (py7zr alone would stamp the present time). An archive may be split into parts, as
7-Zip splits them: ``NAME.7z.001`` and so on.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, cast

from formats.archive.foreign_member import ForeignMember, Kind
from formats.archive.header import from_filetime, to_filetime
from formats.errors import DigestMismatchError

_UNIX = 0x8000
_FOLDER = 0x10
_ARCHIVE = 0x20
_REPARSE = 0x400
LEVELS = {"none": None, "fast": 1, "best": 6}
"""LZMA2 presets by the operator's word; None stores members as they are."""


class Parts(io.RawIOBase):
    """One stream that is written to several files of ``limit`` bytes each; what ``open_part`` gives is closed here.

    It may be written to again where something was written before, as the writer of 7z does with its first 32 bytes.
    """

    def __init__(self, open_part: Callable[[int], BinaryIO], limit: int) -> None:
        """``open_part(n)`` opens part ``n``, from 1, for writing; ``limit`` is in bytes, 0 for a single part."""
        self._open = open_part
        self._limit = limit or 1 << 62
        self._parts: list[BinaryIO] = []
        self._at = 0
        self._size = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position, in bytes from the beginning of the first part."""
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position that has been written, or to the end."""
        self._at = offset + {0: 0, 1: self._at, 2: self._size}[whence]
        return self._at

    def write(self, data: Any, /) -> int:
        """Write all of ``data``, over as many parts as it takes."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            number, offset = divmod(self._at, self._limit)
            while len(self._parts) <= number:
                self._parts.append(self._open(len(self._parts) + 1))
            piece = view[done : done + self._limit - offset]
            self._parts[number].seek(offset)
            self._parts[number].write(piece)
            done += len(piece)
            self._at += len(piece)
        self._size = max(self._size, self._at)
        return len(view)

    def close(self) -> None:
        """Close every part."""
        for part in self._parts:
            part.close()
        super().close()

    @property
    def count(self) -> int:
        """How many parts there are."""
        return len(self._parts)


class _Content(io.BufferedIOBase):
    """What py7zr reads a member from: it wants to seek to the end for the size, then reads once."""

    def __init__(self, member: ForeignMember, source: BinaryIO, progress: Callable[[int], None]) -> None:
        self._member = member
        self._source = source
        self._progress = progress
        self._at = 0
        self._left = member.size

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Only ever to the end and back to the beginning."""
        self._at = self._member.size if whence == io.SEEK_END else offset
        return self._at

    def tell(self) -> int:
        """The position, in bytes."""
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes; raises `DigestMismatchError` where the content is not of the size it should have."""
        data = self._source.read(self._left if size is None or size < 0 else min(size, self._left))
        if not data and self._left:
            raise DigestMismatchError("ends before its size", place=self._member.path)
        self._left -= len(data)
        self._progress(len(data))
        return data


def write_7z(
    out: Parts,
    members: Iterable[tuple[ForeignMember, Callable[[], BinaryIO]]],
    *,
    level: int | None,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write ``members``, each with what opens its content (not called for folders and links), as one archive.

    ``level`` is an LZMA2 preset, or None to store. Hard links are written as files of their own: 7z has none.
    """
    import py7zr

    filters: list[dict[str, int]] = [{"id": py7zr.FILTER_COPY}]
    if level is not None:
        filters = [{"id": py7zr.FILTER_LZMA2, "preset": level}]
    with _writer()(cast(Any, out), "w", filters=filters) as archive:
        for member, open_content in members:
            archive.member = member
            if member.kind is Kind.LINK:
                archive.writef(io.BytesIO(member.target.encode()), member.path)
            elif member.kind is Kind.FOLDER:
                archive.writef(io.BytesIO(), member.path)
            else:
                with open_content() as source:
                    archive.writef(_Content(member, source, progress), member.path)


def _writer() -> Any:
    """py7zr's writer, with the times and attributes of our members in place of its own."""
    import py7zr
    from py7zr.helpers import ArchiveTimestamp

    class Writer(py7zr.SevenZipFile):
        member: ForeignMember

        # py7zr has a static method there, which it calls on the instance.
        def _make_file_info_from_name(self, bio: Any, size: int, _arcname: str) -> Any:  # type: ignore[override]
            member = self.member
            time = ArchiveTimestamp(to_filetime(member.mtime_ns or from_filetime(0)))
            # A folder has no stream; py7zr writes one for whatever has data.
            data = {} if member.kind is Kind.FOLDER else {"data": bio}
            return data | {
                "origin": None,
                "filename": member.path,
                "uncompressed": size,
                "emptystream": member.kind is Kind.FOLDER,
                "attributes": _attributes(member),
                "creationtime": time,
                "lastwritetime": time,
                "lastaccesstime": time,
            }

    return Writer


def _attributes(member: ForeignMember) -> int:
    """Attributes of Windows, and the mode of POSIX in the upper half."""
    kinds = {Kind.FOLDER: (stat.S_IFDIR, _FOLDER), Kind.LINK: (stat.S_IFLNK, _REPARSE)}
    kind, low = kinds.get(member.kind, (stat.S_IFREG, _ARCHIVE))
    mode = member.mode if member.mode is not None else 0o755 if member.kind is Kind.FOLDER else 0o644
    return (kind | mode) << 16 | _UNIX | low
